#!/usr/bin/env python3
"""Checks what cannot be run here: docker-compose.yml and the files it mounts.

YAML and JSON parse, every path of the repository that they name exists, the data sources and the
dashboard fit together, the service names are those of the Prometheus configuration, and promtool
accepts that.
"""
import glob
import json
import os
import re
import subprocess
import sys

import yaml

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
ok = True


def report(name, problems):
    global ok
    for problem in problems:
        print("      ", problem)
    print(("FAILED " if problems else "ok     ") + name)
    ok = ok and not problems


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file) if path.endswith(".json") else yaml.safe_load(file)


def parse_all(paths):
    for path in paths:
        try:
            load(path)
        except (ValueError, yaml.YAMLError) as error:
            yield f"{path}: {error}"


def missing_paths(compose):
    for name, service in compose["services"].items():
        build = service.get("build")
        if build and not os.path.isfile(os.path.join(build["context"], build["dockerfile"])):
            yield f"{name}: {build['dockerfile']}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and not os.path.exists(source):
                yield f"{name}: {source}"
            elif not source.startswith(".") and source not in compose["volumes"]:
                yield f"{name}: no volume {source}"
        for other in service.get("depends_on", []):
            if other not in compose["services"]:
                yield f"{name}: no service {other}"
    with open("contrib/docker/Dockerfile", encoding="utf-8") as file:
        for source in re.findall(r"^COPY (?!--from)(\S+)", file.read(), re.M):
            if not os.path.exists(source):
                yield f"Dockerfile: {source}"


def unknown_hosts(compose, prometheus, sources):
    text = json.dumps([prometheus, sources])
    for host in re.findall(r'"(?:http://)?([a-z-]+):\d+', text):
        if host not in compose["services"]:
            yield f"no service {host}"


def dashboard_problems(paths, uids):
    for path in paths:
        board = load(path)
        ids = [panel["id"] for panel in board["panels"]]
        if len(ids) != len(set(ids)):
            yield f"{path}: panel ids are not unique"
        for panel in board["panels"]:
            for source in [panel["datasource"]] + [t["datasource"] for t in panel["targets"]]:
                if uids.get(source["uid"]) != source["type"]:
                    yield f"{path}: {panel['title']}: no data source {source}"
            for target in panel["targets"]:
                if not target.get("expr") and not target.get("rawSql"):
                    yield f"{path}: {panel['title']}: a target asks nothing"


def promtool(path):
    run = subprocess.run(["promtool", "check", "config", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    return [] if run.returncode == 0 else [run.stdout]


def main():
    dashboards = glob.glob("contrib/grafana/dashboards/*.json")
    files = ["docker-compose.yml"] + glob.glob("contrib/**/*.yml", recursive=True) + dashboards
    report("YAML and JSON files parse", list(parse_all(files)))
    compose = load("docker-compose.yml")
    prometheus = load("contrib/prometheus/prometheus.yml")
    sources = load("contrib/grafana/provisioning/datasources/promgres.yml")
    report("docker-compose.yml names files that exist", list(missing_paths(compose)))
    report("hosts of the configurations are services", list(unknown_hosts(compose, prometheus, sources)))
    uids = {source["uid"]: source["type"] for source in sources["datasources"]}
    report("dashboards use the provisioned data sources", list(dashboard_problems(dashboards, uids)))
    report("promtool accepts the Prometheus configuration", promtool("contrib/prometheus/prometheus.yml"))
    scripts = ["contrib/docker/init.sh", "contrib/setup/install.sh", "contrib/setup/radosgw", "contrib/demo/run", "contrib/demo/bucket.sh", "test/run"]
    report("shell scripts parse", [s for s in scripts if subprocess.run(["bash", "-n", s]).returncode])
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()

"""The systems that are measured: started on ports of their own in a directory of their own, asked over HTTP."""
import glob
import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", ".."))
TICK = os.sysconf("SC_CLK_TCK")
HERE = f". {shlex.quote(TOP)}/contrib/setup/common.sh; "

def shell(command, **more):
    return subprocess.run(["bash", "-c", HERE + command], check=True, stdout=subprocess.PIPE, encoding="utf-8", **more).stdout


def processes(pid):
    """A process and its descendants."""
    found = [pid]
    for one in found:
        try:
            for task in glob.glob(f"/proc/{one}/task/*/children"):
                with open(task) as f:
                    found += [int(child) for child in f.read().split()]
        except OSError:
            pass
    return found


def cpu_s(pid):
    """CPU time of a process, its children, and what they left behind."""
    ticks = 0
    for one in processes(pid):
        try:
            with open(f"/proc/{one}/stat") as f:
                ticks += sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:15])
        except OSError:
            pass
    return ticks / TICK


def memory(pid):
    """Proportional memory of a process and its children, in bytes."""
    kb = 0
    for one in processes(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup") as f:
                kb += int(re.search(r"^Pss: +(\d+)", f.read(), re.M).group(1))
        except (OSError, AttributeError):
            pass
    return kb * 1024


class Peak(threading.Thread):
    """The greatest memory a process and its children had, looked at twice a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.bytes, self.over = pid, 0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.5):
            self.bytes = max(self.bytes, memory(self.pid))

    def stop(self):
        self.over.set()
        self.join()
        return self.bytes


class System:
    def __init__(self, work, port):
        self.work, self.port, self.pid = work, port, None

    def get(self, path, **params):
        """Seconds of one request on a connection of its own that is open already, and the body."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        c.connect()
        body = urllib.parse.urlencode(params)
        began = time.perf_counter()
        if params:
            c.request("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})
        else:
            c.request("GET", path)
        answer = c.getresponse()
        text = answer.read()
        took = time.perf_counter() - began
        c.close()
        if answer.status != 200:
            raise RuntimeError(f"{path} {params}: {answer.status} {text[:300]}")
        return took, text

    def ready(self):
        try:
            return json.loads(self.get("/api/v1/query", query="vector(1)")[1])["status"] == "success"
        except (OSError, RuntimeError, ValueError, http.client.HTTPException):
            return False

    def wait(self, seconds=120):
        end = time.time() + seconds
        while not self.ready():
            if time.time() > end:
                sys.exit(f"{self.name} does not answer on port {self.port}")
            time.sleep(0.02)

    def wal_bytes(self):
        return None


class Promgres(System):
    name = "promgres"

    def __init__(self, work, port, pg_port):
        super().__init__(work, port)
        self.pg_port, self.data = pg_port, f"{work}/promgres"
        self.bin = shell(f'make_private_server {shlex.quote(TOP)} {work}/server && echo "$private_bin"').strip()
        self.as_server(f"{self.bin}/initdb -D {self.data} -A trust -E UTF8 --locale=C.UTF-8 >/dev/null")
        conf = f"""port = {pg_port}
listen_addresses = ''
unix_socket_directories = '{work}'
shared_buffers = 1GB
max_wal_size = 8GB
shared_preload_libraries = 'promgres'
promgres.listen_addresses = '127.0.0.1'
promgres.port = {port}
"""
        self.as_server(f"tee -a {self.data}/postgresql.conf >/dev/null", input=conf)
        self.start()
        self.ask("CREATE EXTENSION promgres")
        self.wait()

    @staticmethod
    def as_server(command, **more):
        return shell(f"run_as_server {command}", **more)

    def start(self):
        self.as_server(f"{self.bin}/pg_ctl -D {self.data} -l {self.work}/log -w -t 120 start >/dev/null")
        with open(f"{self.data}/postmaster.pid") as f:
            self.pid = int(f.readline())

    def ask(self, sql):
        """What statements print, each in a transaction of its own."""
        return self.as_server(f"{self.bin}/psql -XAtq -v ON_ERROR_STOP=1 -h {self.work} -p {self.pg_port} -d postgres", input=sql).strip()

    def settle(self):
        self.ask("CALL prom.merge()")
        self.ask("VACUUM (ANALYZE)")

    def disk_bytes(self):
        return int(self.ask("SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
                            " AND relnamespace = 'prom'::regnamespace"))

    def wal_bytes(self):
        return int(self.ask("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))

    def kill(self):
        for one in processes(self.pid):
            try:
                os.kill(one, signal.SIGKILL)
            except OSError:
                pass
        while any(os.path.exists(f"/proc/{one}") for one in processes(self.pid)):
            time.sleep(0.01)

    def stop(self):
        self.as_server(f"{self.bin}/pg_ctl -D {self.data} -m immediate stop >/dev/null")


class Peer(System):
    def __init__(self, work, port):
        super().__init__(work, port)
        self.data = f"{work}/{self.name}"
        os.makedirs(self.data)
        self.start()
        self.wait()

    def start(self):
        with open(f"{self.work}/{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.work)
        self.pid = self.process.pid

    def disk_bytes(self):
        return int(shell(f"du -sb {self.data}").split()[0])

    def kill(self):
        self.process.kill()
        self.process.wait()

    stop = kill


class VictoriaMetrics(Peer):
    name = "victoria-metrics"

    def command(self):
        return ["victoria-metrics", f"-storageDataPath={self.data}", f"-httpListenAddr=127.0.0.1:{self.port}", "-retentionPeriod=10y",
                "-search.latencyOffset=0s", "-search.disableCache", "-search.maxUniqueTimeseries=1000000",
                "-search.maxQueryDuration=5m"]

    def settle(self):
        self.get("/internal/force_flush")
        self.get("/internal/force_merge")
        time.sleep(15)


class Prometheus(Peer):
    name = "prometheus"

    def command(self):
        with open(f"{self.work}/prometheus.yml", "w") as f:
            f.write("global: {}\n")
        return ["prometheus", "--config.file=prometheus.yml", f"--storage.tsdb.path={self.data}", "--log.level=error",
                f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-remote-write-receiver",
                "--storage.tsdb.retention.time=10y", "--query.max-samples=500000000"]

    def settle(self):
        # It compacts its head once a minute while there is something to.
        before = -1
        while before != self.disk_bytes():
            before = self.disk_bytes()
            time.sleep(65)

    def wal_bytes(self):
        return int(shell(f"du -sb {self.data}/wal").split()[0])

"""A real Prometheus that scrapes itself and writes into promgres through all faults.

It is given one address for good; the front passes its connections on to whichever server is primary.
"""
import os
import re
import selectors
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request

from server import DATABASE, free_port, wait_for

COMPARE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools", "compare_tsdb.py")


class Front(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, server):
        super().__init__(("127.0.0.1", 0), Passing)
        self.primary = server
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Passing(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            with socket.create_connection(("127.0.0.1", self.server.primary.gateway), timeout=60) as other, \
                    selectors.DefaultSelector() as ready:
                ready.register(self.request, selectors.EVENT_READ, other)
                ready.register(other, selectors.EVENT_READ, self.request)
                while True:
                    for event, _ in ready.select():
                        data = event.fileobj.recv(65536)
                        if not data:
                            return
                        event.data.sendall(data)
        except OSError:
            return


class Prometheus:
    def __init__(self, work, server):
        self.server, self.work, self.front, self.port = server, work, Front(server), free_port()
        config = os.path.join(work, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: prometheus
    static_configs: [{{targets: ['127.0.0.1:{self.port}']}}]
remote_write:
  - url: http://127.0.0.1:{self.front.server_address[1]}/api/v1/write
    queue_config: {{batch_send_deadline: 1s, max_backoff: 1s}}
""")
        with open(os.path.join(work, "prometheus.log"), "ab") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={work}/tsdb",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: self.metric("prometheus_remote_storage_samples_total", 0) > 0, "Prometheus has sent something")
        self.start = time.time() + 1

    def metric(self, name, default=None):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return default
        found = re.search(rf"^{name}\{{.*\}} (\S+)$", text, re.M)
        return float(found.group(1)) if found else default

    def compare(self):
        """(what is wrong, what was compared): its own TSDB against promgres."""
        end = time.time()
        wait_for(lambda: self.metric("prometheus_remote_storage_queue_highest_sent_timestamp_seconds", 0) > end + 2,
                 "Prometheus has sent everything")
        env = dict(os.environ, PGHOST=self.work, PGPORT=str(self.server.port), PGDATABASE=DATABASE, PGUSER="postgres")
        run = subprocess.run([sys.executable, COMPARE, "samples", "--prometheus", f"http://127.0.0.1:{self.port}",
                              "--start", f"{self.start:.3f}", "--end", f"{end:.3f}", "--wait", "120"],
                             env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=600)
        lines = run.stdout.strip().splitlines()
        wrong = lines[-20:] if run.returncode != 0 else []
        for name in ("failed", "dropped"):
            lost = self.metric(f"prometheus_remote_storage_samples_{name}_total", 0)
            if lost:
                wrong.append(f"Prometheus: {lost:.0f} samples {name}")
        return wrong, lines[-1] if lines else ""

    def end(self):
        self.process.terminate()
        self.process.wait(30)
        self.front.shutdown()

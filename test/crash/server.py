"""A PostgreSQL server with promgres that can be killed, filled up and replaced by its standby.

The metrics are in a database of their own, whose tablespace and write-ahead log may be on small file
systems: then full() and full_wal() can leave no byte free on them and free them again.  Whoever asks
for .gateway gets the port of the server that is the primary now.
"""
import os
import random
import shutil
import signal
import socket
import subprocess
import time

DATABASE = "metrics"
MARGIN = 64 * 1024          # bytes that a full disk has left, so that it fills in mid-page and mid-row


class Failure(Exception):
    """Something that must happen did not."""


def free_port():
    """Below those that the kernel gives to connections: one of these may be taken again before it is bound."""
    while True:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", random.SystemRandom().randrange(10000, 32768)))
                return s.getsockname()[1]
            except OSError:
                pass


def wait_for(condition, what, seconds=180):
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f"timed out waiting until {what}")
        time.sleep(0.05)


class Server:
    def __init__(self, work, small=None, small_wal=None):
        self.work = work
        self.small = small
        self.small_wal = small_wal
        self.generation = 0
        self.port = free_port()
        self.gateway = free_port()
        self.data = self.path(work, "data")

    # ------------------------------------------------------------ places

    def path(self, parent, name):
        return os.path.join(parent, f"{name}{self.generation}")

    @property
    def log(self):
        return os.path.join(self.work, "server.log")

    # ------------------------------------------------------------ making, starting

    def make(self):
        command = ["initdb", "-D", self.data, "-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8", "-U", "postgres", "--wal-segsize=1"]
        if self.small_wal:
            command += ["--waldir", self.path(self.small_wal, "wal")]
        self.run(*command)
        self.configure(f"""
listen_addresses = ''
unix_socket_directories = '{self.work}'
fsync = off
full_page_writes = on
max_connections = 40
shared_buffers = 64MB
max_wal_size = 64MB
min_wal_size = 4MB
checkpoint_timeout = 30s
wal_level = replica
max_wal_senders = 4
wal_keep_size = 0
autovacuum_naptime = 1s
temp_tablespaces = 'pg_default'
restart_after_crash = on
log_line_prefix = '%m [%p] %b %e '
shared_preload_libraries = 'promgres'
promgres.database = '{DATABASE}'
promgres.listen_addresses = '127.0.0.1'
promgres.merge_age = 1s
promgres.request_timeout = 10s
""")
        self.configure_ports()
        self.start()
        place = ""
        if self.small:
            os.mkdir(self.path(self.small, "space"))
            self.sql(f"CREATE TABLESPACE small LOCATION '{self.path(self.small, 'space')}'", "postgres")
            place = " TABLESPACE small"
        self.sql(f"CREATE DATABASE {DATABASE}{place}", "postgres")
        self.sql("CREATE EXTENSION promgres; CREATE EXTENSION amcheck")

    def configure(self, text):
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as f:
            f.write(text)

    def configure_ports(self):
        self.configure(f"port = {self.port}\npromgres.port = {self.gateway}\n")

    def run(self, *command, check=True, timeout=300):
        with open(os.path.join(self.work, "commands.log"), "ab") as log:
            status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    timeout=timeout).returncode
        if check and status != 0:
            raise Failure(f"{' '.join(command)}: status {status}, see {log.name}")
        return status == 0

    def pg_ctl(self, *words, check=True):
        return self.run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "180", *words, check=check)

    def start(self):
        """Start it as soon as the orphans of a killed postmaster have left."""
        wait_for(lambda: self.pg_ctl("start", check=False), "the server has started")

    def stop(self, mode):
        return self.pg_ctl("-m", mode, "stop")

    # ------------------------------------------------------------ asking

    def psql(self, sql, database=DATABASE, timeout=300):
        """(status, output, errors)"""
        run = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.work, "-p", str(self.port),
                              "-U", "postgres", "-d", database, "-c", sql],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             encoding="utf-8", timeout=timeout)
        return run.returncode, run.stdout, run.stderr

    def sql(self, sql, database=DATABASE):
        status, out, err = self.psql(sql, database)
        if status != 0:
            raise Failure(f"{sql[:200]}: {err}")
        return out.rstrip("\n")

    def start_psql(self, *statements):
        """A psql that runs these on its own, each by itself, and the pid of its backend."""
        commands = [word for sql in ("SELECT pg_backend_pid()",) + statements for word in ("-c", sql)]
        psql = subprocess.Popen(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.work, "-p", str(self.port), "-U", "postgres",
                                 "-d", DATABASE] + commands,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return psql, int(psql.stdout.readline())

    def answers(self):
        return self.psql("SELECT 1")[0] == 0

    # ------------------------------------------------------------ processes

    @property
    def postmaster(self):
        with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as f:
            return int(f.readline())

    def processes(self, part):
        """Pids of the postmaster's children that have this in their title."""
        found = []
        postmaster = self.postmaster
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
                if parent != postmaster:
                    continue
                with open(f"/proc/{name}/cmdline", encoding="utf-8", errors="replace") as f:
                    title = f.read()
            except OSError:
                continue
            if part in title:
                found.append(int(name))
        return sorted(found)

    def kill_postmaster(self):
        pid = self.postmaster
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid), "the postmaster is gone")

    def kill_child(self, pid):
        """Kill a process; whether it was still there.  The postmaster then restarts all of them."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        wait_for(lambda: not alive(pid), "it is gone, which the postmaster then knows")
        return True

    # ------------------------------------------------------------ disks

    def full(self, directory):
        """Leave hardly a byte free there; the ballast, to be removed."""
        ballast = os.path.join(directory, "ballast")

        def fill():
            room = os.statvfs(directory)
            try:
                with open(ballast, "wb") as f:
                    os.posix_fallocate(f.fileno(), 0, max(room.f_bavail * room.f_frsize - MARGIN, 1))
                return True
            except OSError:         # the server was faster
                return False
        wait_for(fill, f"{directory} is full")
        return ballast

    # ------------------------------------------------------------ standby

    def make_standby(self):
        """A synchronous standby, streaming; what is acknowledged from now on is on it too."""
        standby = Server(self.work, self.small, self.small_wal)
        standby.generation = self.generation + 1
        standby.data = standby.path(self.work, "data")
        command = ["pg_basebackup", "-D", standby.data, "-R", "-c", "fast", "-h", self.work, "-p", str(self.port),
                   "-U", "postgres", "-X", "stream", "--no-sync"]
        if self.small:
            os.mkdir(standby.path(self.small, "space"))
            command += ["-T", f"{self.path(self.small, 'space')}={standby.path(self.small, 'space')}"]
        if self.small_wal:
            command += ["--waldir", standby.path(self.small_wal, "wal")]
        self.run(*command)
        standby.configure_ports()
        standby.start()
        wait_for(lambda: self.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1",
                 "the standby streams")
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.sql("SELECT pg_reload_conf()")
        wait_for(lambda: self.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1",
                 "the standby is synchronous")
        return standby

    def become(self, standby):
        """The standby is promoted and takes our place; what is left of us is removed."""
        old_data = self.data
        old_places = [self.path(parent, name) for parent, name in
                      ((self.small, "space"), (self.small_wal, "wal")) if parent]
        self.generation, self.data = standby.generation, standby.data
        self.port, self.gateway = standby.port, standby.gateway
        self.pg_ctl("promote")
        self.sql("ALTER SYSTEM RESET synchronous_standby_names")
        self.sql("SELECT pg_reload_conf()")
        for place in [old_data] + old_places:
            shutil.rmtree(place, ignore_errors=True)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

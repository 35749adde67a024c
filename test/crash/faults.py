"""The faults.  Each is a function of a Round: it does its harm while the senders go on, brings the
server back where that needs a hand, and returns a few words on how it went.

They are dealt from a bag, so that a run of as many rounds as there are faults has each of them once.
"""
import os
import random
import time

from server import alive, wait_for

BACKENDS = ("promgres ingest", "promgres maintenance", "promgres query", "promgres control")


class Round:
    def __init__(self, server, rng, senders):
        self.server, self.rng, self.senders = server, rng, senders

    def sleep(self, most):
        time.sleep(self.rng.uniform(0, most))

    def backend(self, application):
        """Pid of a backend of the workers: those of the gateway come with the first request."""
        def look():
            status, out, _ = self.server.psql(
                f"SELECT pid FROM pg_stat_activity WHERE application_name = '{application}' AND backend_type = 'client backend'"
                " ORDER BY state = 'active' DESC, state_change DESC LIMIT 1")
            return status == 0 and out.strip()
        return int(wait_for(look, f"there is a backend of {application}"))

    def worker(self, title):
        return wait_for(lambda: self.server.processes(title), f"there is a {title}")[0]

    def answered(self, family):
        """How many answers of this hundred the senders have got."""
        return sum(n for s in self.senders for status, n in list(s.statuses.items()) if status // 100 == family)

    def pile_up(self):
        """Let fresh rows gather, and begin to merge them; the psql and the process that do so."""
        self.server.sql("ALTER SYSTEM SET promgres.merge_age = '1h'")
        self.server.sql("SELECT pg_reload_conf()")
        time.sleep(self.rng.uniform(1, 2.5))
        merge = self.server.start_psql("CALL prom.merge()")
        self.sleep(0.06)
        return merge

    def merged_on(self):
        self.server.sql("ALTER SYSTEM RESET promgres.merge_age")
        self.server.sql("SELECT pg_reload_conf()")


def kill_ingest_backend(r):
    """kill -9 of an ingest backend"""
    r.server.kill_child(r.backend("promgres ingest"))


def kill_gateway(r):
    """kill -9 of the gateway"""
    r.server.kill_child(r.worker("promgres gateway"))


def kill_maintenance(r):
    """kill -9 of the maintenance worker"""
    r.server.kill_child(r.worker("promgres maintenance"))


def kill_maintenance_backend(r):
    """kill -9 of the backend that maintenance uses"""
    r.server.kill_child(r.backend("promgres maintenance"))


def kill_any(r):
    """kill -9 of any process of the server"""
    title = r.rng.choice(("checkpointer", "background writer", "walwriter", "logical replication launcher"))
    r.server.kill_child(r.worker(title))
    return title


def kill_merge(r):
    """kill -9 of a backend that merges"""
    merge, pid = r.pile_up()
    r.server.kill_child(pid)
    cut = merge.wait(300) != 0
    wait_for(r.server.answers, "the server is back")
    r.merged_on()
    return "under way" if cut else "it had just ended"


def kill_compaction(r):
    """kill -9 of a backend that compacts"""
    r.server.sql("CALL prom.merge()")
    day = r.server.sql("SELECT max(day) FROM prom.stat_rows() WHERE stage = 'warm'")
    # One takes some milliseconds: they are made to follow one another, from rows that say they are loose.
    again = ("UPDATE prom.warm SET gen = 127 WHERE gen = 128", f"CALL prom.compact('{day}')")
    compaction, pid = r.server.start_psql(*again * 50)
    r.sleep(0.3)
    doing = r.server.sql(f"SELECT state || ' ' || query FROM pg_stat_activity WHERE pid = {pid}")
    r.server.kill_child(pid)
    cut = compaction.wait(300) != 0
    wait_for(r.server.answers, "the server is back")
    return "it had just ended" if not cut else "under way" if doing.startswith("active CALL") else "between two"


def kill_postmaster(r):
    """kill -9 of the postmaster"""
    r.sleep(0.5)
    r.server.kill_postmaster()
    r.server.start()


def kill_postmaster_twice(r):
    """kill -9 of the postmaster, and again as soon as it has started"""
    for _ in range(2):
        r.server.kill_postmaster()
        r.server.start()
        r.sleep(0.2)


def stop_in_merge(r):
    """pg_ctl stop -m immediate during a merge"""
    merge, _ = r.pile_up()
    r.server.stop("immediate")
    cut = merge.wait(300) != 0
    r.server.start()
    r.merged_on()
    return "under way" if cut else "it had just ended"


def restart_fast(r):
    """pg_ctl restart -m fast"""
    r.server.stop("fast")
    r.server.start()


def terminate_all(r):
    """pg_terminate_backend on everything of promgres, again and again"""
    pids = 0
    for _ in range(r.rng.randrange(3, 12)):
        pids += int(r.server.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                                 " WHERE application_name LIKE 'promgres%' OR backend_type LIKE 'promgres%'"))
        r.sleep(0.3)
    return f"{pids} terminations"


def cancel_all(r):
    """pg_cancel_backend on everything of promgres, again and again"""
    for _ in range(20):
        r.server.sql("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'promgres%'")
        r.sleep(0.05)


def full_disk(r):
    """full disk below the tables"""
    before = r.answered(5)
    ballast = r.server.full(r.server.small)
    try:
        wait_for(lambda: r.answered(5) > before, "writes are refused for want of space")
        r.server.sql("SELECT count(*) FROM prom.query('count(crash_mark)', to_timestamp(1700000060))")
        time.sleep(r.rng.uniform(0.2, 2))
    finally:
        os.remove(ballast)
    return f"{r.answered(5) - before} answers were 5xx"


def full_wal(r):
    """full disk below the write-ahead log"""
    server = r.server
    ballast = server.full(server.small_wal)
    postmaster = server.postmaster
    try:
        wait_for(lambda: server.psql("SELECT pg_logical_emit_message(false, 'crash', repeat('x', 700000))")[0] != 0,
                 "the log finds no room")
        wait_for(lambda: not alive(postmaster) or server.answers(), "the server is down, or up again")
        time.sleep(r.rng.uniform(0, 1))
    finally:
        os.remove(ballast)
    if alive(postmaster):
        wait_for(lambda: not alive(postmaster) or server.answers(), "the server is down, or up again")
    if not alive(postmaster):
        server.start()
        return "the server went down"
    return "the server came back by itself"


def promote_standby(r):
    """kill -9 of the primary, promotion of its standby"""
    standby = r.server.make_standby()
    r.sleep(1.5)
    r.server.kill_postmaster()
    wait_for(lambda: not [pid for pid in orphans_of(r.server)], "the orphans of the primary have left")
    r.server.become(standby)


def orphans_of(server):
    """Processes that still work in the data directory of a dead postmaster."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/cwd") == server.data:
                found.append(int(name))
        except OSError:
            continue
    return found


ALWAYS = (kill_ingest_backend, kill_gateway, kill_maintenance, kill_maintenance_backend, kill_any, kill_merge, kill_compaction,
          kill_postmaster, kill_postmaster_twice, stop_in_merge, restart_fast, terminate_all, cancel_all, promote_standby)

# What a fault may leave in the server log, besides the signal 9 that it sent.
PANICS = (full_wal,)


def deal(server, seed):
    """An endless row of faults: every bag has each once."""
    faults = list(ALWAYS)
    if server.small:
        faults.append(full_disk)
    if server.small_wal:
        faults.append(full_wal)
    rng = random.Random(f"{seed}/faults")
    while True:
        rng.shuffle(faults)
        yield from faults

#!/usr/bin/env python3
"""Crash rounds: senders write, something is killed, and what was acknowledged must be there, once.

  crash.py WORK-DIRECTORY ROUNDS SEED [--small DIRECTORY] [--small-wal DIRECTORY]

Start it by test/crash/run, which makes the directories and the server's programs.  Each round deals one
fault (faults.py) while senders (sender.py) and a real Prometheus write, waits until the server is
back, stops the senders and looks at everything (check.py).  After some rounds, an era, all is merged
and looked at again, and the samples of the era are deleted, which must leave nothing.  Prints TAP.
Same seed: same faults in the same order, and the same bodies.  The first failure ends the run.
"""
import argparse
import http.client
import random
import re
import shutil
import signal
import sys
import time
import traceback

import check
import faults
from prometheus import Prometheus
from sender import ACKNOWLEDGED, Sender
from server import Failure, Server, wait_for

ERA = 4                     # rounds
SENDERS = 4
BAD_LINE = re.compile(r"PANIC:|TRAP:|terminated by signal (?!9\b)|exited with exit code (?![012]\b)| XX\w{3} ")


class Tap:
    n = 0
    failed = 0

    def ok(self, wrong, name):
        self.n += 1
        print(f"{'not ok' if wrong else 'ok'} {self.n} - {name}", flush=True)
        for line in wrong[:40]:
            print(f"#   {line}", flush=True)
        if wrong:
            self.failed += 1
            raise Failure("the first failure ends the run")


class Log:
    """What the server has logged since the last look."""

    def __init__(self, server):
        self.server, self.at = server, 0

    def bad(self, fault):
        with open(self.server.log, encoding="utf-8", errors="replace") as f:
            f.seek(self.at)
            lines = f.readlines()
            self.at = f.tell()
        wrong = [line.rstrip() for line in lines if BAD_LINE.search(line)]
        return [] if fault in faults.PANICS else wrong


def ready(server):
    def look():
        connection = http.client.HTTPConnection("127.0.0.1", server.gateway, timeout=5)
        try:
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
    wait_for(look, "the gateway is ready")


def settle(server, senders):
    """Let bodies under way come to their end, in the senders and in the server."""
    for s in senders:
        s.go.clear()
    for s in senders:
        if not s.pause():
            raise Failure(f"sender {s.number} gets no answer")
    wait_for(lambda: server.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%prom.ingest(%'"
                                " AND pid <> pg_backend_pid() AND state <> 'idle'") == "0",
             "nothing is under way: a killed gateway may have left an ingest behind")


def one_round(server, rng, era, senders, fault, log, merge):
    """(what is wrong, how it went)"""
    for s in senders:
        s.go.set()
    ready(server)
    time.sleep(rng.uniform(0.3, 1.2))
    words = fault(faults.Round(server, rng, senders))
    wait_for(server.answers, "the server answers")
    ready(server)
    begun = [len(s.state) for s in senders]
    wait_for(lambda: all(len(s.state) > n + 1 for s, n in zip(senders, begun)), "every sender goes on")
    settle(server, senders)
    wrong, n = check.samples(server, era, senders)
    wrong += check.orphans(server) + log.bad(fault)
    if merge and not wrong:
        wrong += check.merged(server) + check.samples(server, era, senders)[0]
    states = [state for s in senders for state in s.state]
    given_up = sum(state != ACKNOWLEDGED for state in states)
    name = fault.__doc__ + (f" ({words})" if words else "")
    return wrong, f"{name}: {len(states)} bodies, {given_up} given up, {n} samples"


def delete_era(server, era):
    """What is wrong after the samples of an era were deleted."""
    server.sql(f"""SELECT prom.delete_series('{{era="{era}"}}')""")
    left = server.sql(f"""
        SELECT 'series are left', count(*) FROM prom.series WHERE labels['era'] = '{era}' HAVING count(*) > 0
        UNION ALL SELECT 'samples are left', count(*) FROM prom.samples_of('{{era="{era}"}}') HAVING count(*) > 0""")
    return left.splitlines() + check.orphans(server)


def rounds(tap, server, count, seed):
    bag = faults.deal(server, seed)
    log = Log(server)
    era, senders, faced = 0, [], 0
    for number in range(count):
        if not senders:
            senders = [Sender(server, seed, era, i) for i in range(SENDERS)]
            for s in senders:
                s.start()
        rng = random.Random(f"{seed}/round/{number}")
        begun = time.monotonic()
        last = number % ERA == ERA - 1 or number == count - 1
        wrong, name = one_round(server, rng, era, senders, next(bag), log, last or rng.random() < 0.4)
        tap.ok(wrong, f"round {number + 1}: {name}, {time.monotonic() - begun:.1f} s")
        if last:
            for s in senders:
                s.end()
                faced += s.state.count(ACKNOWLEDGED)
            tap.ok(delete_era(server, era), f"era {era}: deleted, nothing is left of it")
            era, senders = era + 1, []
    return faced


def harm(tap, server, seed):
    """The checks of every round notice what they are there for.  Ruins the tables, so it comes last."""
    senders = [Sender(server, seed, "harm", 0)]
    senders[0].start()
    senders[0].go.set()
    wait_for(lambda: len(senders[0].state) > 20, "some bodies are written")
    settle(server, senders)
    tap.ok(check.merged(server) + check.samples(server, "harm", senders)[0], "before harm is done, all is well")
    for name, wrong in check.teeth(server, "harm", senders):
        tap.ok(wrong, f"it is noticed when {name}")
    senders[0].end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("rounds", type=int)
    parser.add_argument("seed")
    parser.add_argument("--small", help="small file system for the tables")
    parser.add_argument("--small-wal", help="small file system for the write-ahead log")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interrupted"))
    tap = Tap()
    server = Server(args.work, args.small, args.small_wal)
    prometheus = None
    begun = time.monotonic()
    print(f"# {args.rounds} rounds, seed {args.seed}", flush=True)
    try:
        server.make()
        if shutil.which("prometheus"):
            ready(server)
            prometheus = Prometheus(args.work, server)
        else:
            print("# SKIP a real Prometheus as a sender: it is not installed")
        faced = rounds(tap, server, args.rounds, args.seed)
        if prometheus:
            wrong, words = prometheus.compare()
            tap.ok(wrong, f"Prometheus' own samples are there, bit for bit: {words}")
            prometheus.end()
            prometheus = None
        harm(tap, server, args.seed)
        print(f"# {args.rounds} rounds: {faced} bodies acknowledged, {time.monotonic() - begun:.0f} s, seed {args.seed}")
    except Exception as failure:        # of whatever kind: the run has failed, and the server must be stopped
        if not tap.failed:
            tap.n += 1
            tap.failed += 1
            print(f"not ok {tap.n} - the run went on", *traceback.format_exception(failure), sep="\n# ")
    finally:
        if prometheus:
            prometheus.end()
        server.pg_ctl("-m", "immediate", "stop", check=False)
    print(f"1..{tap.n}", flush=True)
    return 1 if tap.failed or tap.n == 0 else 0


if __name__ == "__main__":
    sys.exit(main())

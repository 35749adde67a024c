"""Senders whose bodies are known beforehand, and the record of what became of each.

A body is a function of (seed, sender, number): nothing of it has to be kept.  It holds
  - one sample of a series named after the body, which tells later whether the body is there;
  - the next samples of the sender's own series, and of some that only this body has (churn);
  - sometimes samples of days long past;
  - and again, with another value, samples of the body before it: the later one counts.
A sender posts one body after the other.  One that gets no 2xx is either posted again until it does,
as Prometheus would, or given up: then it must be there whole or not at all.
"""
import http.client
import os
import random
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "contrib", "setup"))
from prompb import WRITE_HEADERS, field, labels, sample, snappy

BASE_MS = 1_700_000_000_000
DAY_MS = 86_400_000
STEP_MS = 1000
SERIES = 40                 # lasting series of a sender
RUN = 3                     # samples of each in a body
PAUSE_S = 0.01              # between bodies: what is checked is the record, not the speed

ACKNOWLEDGED, OPEN, THERE, ABSENT = "acknowledged", "open", "there", "absent"


def encode(series):
    """[(labels, [(t_ms, value), ...]), ...] as a compressed WriteRequest."""
    return snappy(b"".join(field(1, labels(sorted(pairs.items())) + b"".join(sample(t, v) for t, v in samples))
                           for pairs, samples in series))


# ---------------------------------------------------------------- bodies

def body(seed, era, sender, number):
    """The series of a body, as for encode(); the first is its mark."""
    rng = random.Random(f"{seed}/{era}/{sender}/{number}")
    common = {"era": str(era), "sender": str(sender)}
    start = BASE_MS + number * RUN * STEP_MS
    series = [({"__name__": "crash_mark", "body": str(number), **common}, [(start, float(number))])]
    late = rng.randrange(1, 12) * DAY_MS if rng.random() < 0.1 else 0
    for i in range(SERIES):
        samples = [(start + k * STEP_MS, round(rng.gauss(i, 1), rng.choice((0, 2, 15)))) for k in range(RUN)]
        if number > 0 and i % 8 == 0:
            samples.insert(0, (start - STEP_MS, -float(number)))
        if late and i % 5 == 0:
            samples.insert(0, (start - late, float(i)))
        series.append(({"__name__": f"crash_{i % 7}_total", "i": str(i), **common}, samples))
    for i in range(rng.randrange(3)):
        series.append(({"__name__": "crash_churn", "of": f"{number}.{i}", **common},
                       [(start + k * STEP_MS, float(k)) for k in range(RUN)]))
    return series


def size(series):
    return sum(len(samples) for _, samples in series)


# ---------------------------------------------------------------- a sender

class Sender(threading.Thread):
    def __init__(self, server, seed, era, number):
        super().__init__(daemon=True)
        self.server, self.seed, self.era, self.number = server, seed, era, number
        self.rng = random.Random(f"{seed}/{era}/{number}/patience")
        self.state = []             # of each body
        self.posted = []            # how often each may have been stored
        self.refused = []           # what a sender must never see: the body would be lost
        self.statuses = {}
        self.go, self.idle, self.ended = threading.Event(), threading.Event(), False
        self.connection = None

    def run(self):
        while True:
            if not self.go.is_set():
                self.idle.set()
                self.go.wait()
                self.idle.clear()
            if self.ended:
                return
            self.one()
            time.sleep(PAUSE_S)

    def one(self):
        number = len(self.state)
        data = encode(body(self.seed, self.era, self.number, number))
        self.state.append(OPEN)
        self.posted.append(0)
        patient = self.rng.random() < 0.7
        while True:
            self.posted[number] += 1
            status = self.post(data)
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status // 100 == 2:
                self.state[number] = ACKNOWLEDGED
                return
            if status // 100 == 4:
                self.refused.append(f"body {number} of sender {self.number}: {status}")
                return
            if self.ended or (not patient and status != 1):
                return
            time.sleep(0.05)

    def post(self, data):
        """The status; 0: no answer; 1: not even a connection, so the server has not seen it."""
        if self.connection is None or self.connection.port != self.server.gateway:
            self.drop()
            self.connection = http.client.HTTPConnection("127.0.0.1", self.server.gateway, timeout=180)
            try:
                self.connection.connect()
            except OSError:
                self.drop()
                return 1
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.connection.request("POST", "/api/v1/write", data, WRITE_HEADERS)
            answer = self.connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            self.drop()
            return 0

    def drop(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def pause(self, seconds=300):
        """Let the body under way come to its end; whether it did."""
        self.go.clear()
        return self.idle.wait(seconds)

    def end(self):
        self.ended = True
        self.go.set()
        self.join(300)
        self.drop()

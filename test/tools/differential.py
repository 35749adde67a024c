#!/usr/bin/env python3
"""Ask random queries of promgres and of a real Prometheus, over the same random samples.

  differential.py --prometheus URL --promgres URL [--seed N] [--queries N] [--shift DAYS]
                  [--between COMMAND] [--native] [--verbose]
      Writes the same samples to both by remote write (Prometheus needs --web.enable-remote-write-receiver
      and an empty TSDB; promgres has promgres.promql_experimental on), then asks random expressions, made
      of nothing but what promgres offers, as instant and as range queries.  Both must give the same
      series, times and values, or both an error.

The seed decides everything, and is printed; --shift moves the samples by as many days, so that one pair of
servers serves several runs.  Sent to a Prometheus 2, which differs from Prometheus 3, whose rules promgres
follows; so the samples and queries keep away from what changed:

  edges of windows      samples lie on odd milliseconds, all that a query says is even; times of queries and "@" are
                        not divisible by 4 ms, all durations are, so no step of a subquery is at an edge, as
                        long as it is not inside another
  holt_winters          is called double_exponential_smoothing since: the name is changed for Prometheus
  rate near zero        counters that touch zero have no gaps; those with gaps are negative or far from it
  names                 unary minus is only asked of selectors with one name, atan2 only of scalars

With --native, a quarter of the queries is about native histograms (Prometheus needs
--enable-feature=native-histograms), as far as Prometheus 2.42 knows them as Prometheus 3 does:

  counters              start far above zero, and resets leave them there: a rate looks where that is now
  histogram_quantile    is only asked at the edges of buckets, between which interpolation is another one now
  functions             rate and increase, histogram_count and histogram_sum, +, sum, count, sets and the windows that
                        count; the others passed over histograms, or lost them

Three kinds of answers are counted as known, and not as differences: duplicates on the left of a filter between
vectors, which Prometheus 3 looks for before it compares; histograms that + drops because one counter was reset
and the other was not, which Prometheus 3 warns of; and an error below scalar() where there is no series that the
scalar is for.  Warnings are not compared: Prometheus 2 has none.

Beyond 1e308 a number is taken for infinity: Go's exp on amd64 is that from about 709.44 on, 0.3 too early.

Values are multiples of 1/8, so that the order of additions does not matter.  Standard library only.  Ends
with 0 if no answer differs.
"""
import argparse
import http.client
import json
import math
import random
import shlex
import struct
import subprocess
import sys
import urllib.parse

from compare_tsdb import series_key    # and where prompb is
from prompb import WRITE_HEADERS, field, labels, sample, snappy, varint, zigzag

START_MS = 1_700_000_000_000
LENGTH_MS = 2 * 3600 * 1000
SLICE_MS = 600_000              # Prometheus takes nothing that is much older than its newest sample
DAY_MS = 86_400_000
STALE = struct.pack("<Q", 0x7FF0000000000002)
TOLERANCE = 1e-9


# ---------------------------------------------------------------- samples

class Series:
    def __init__(self, labels, samples, number=2):
        self.labels = labels
        self.samples = samples  # (t_ms, 8 bytes), or with the number of histograms (t_ms, message)
        self.number = number


def bits(value):
    return struct.pack("<d", value)


def make_times(rng, interval, begin, end, jitter=0, gaps=0.0):
    """Odd milliseconds from begin to end, with holes."""
    times, t = [], begin + rng.randrange(interval)
    while t < end:
        if rng.random() < gaps:
            t += interval * rng.randrange(1, 30)
            continue
        at = t + (rng.randrange(-jitter, jitter + 1) if jitter else 0)
        if not times or at | 1 > times[-1]:
            times.append(at | 1)
        t += interval
    return times


def dense_counter(rng, times):
    value, samples, speed = 0.0, [], rng.choice((1, 8, 400))
    for t in times:
        samples.append((t, bits(value)))
        value = 0.0 if rng.random() < 0.02 else value + rng.randrange(0, 8 * speed) / 8
    return samples


def sparse_counter(rng, times):
    """Below zero with resets, or so far above that it never seems to begin in a window."""
    negative = rng.random() < 0.5
    base = -1e6 if negative else 1e9
    value, samples = base, []
    for t in times:
        samples.append((t, bits(value)))
        value = base if negative and rng.random() < 0.05 else value + rng.randrange(0, 80) / 8
    return samples


def gauge(rng, times):
    odd = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0]
    spoilt = rng.random() < 0.3
    value, samples = 0.0, []
    for t in times:
        value = rng.choice((value, rng.randrange(-800, 800) / 8))
        samples.append((t, bits(rng.choice(odd) if spoilt and rng.random() < 0.1 else value)))
    return samples


def mark_stale(rng, samples):
    """A series ends with a marker here and there, and comes back or not."""
    out = []
    for i, (t, value) in enumerate(samples):
        out.append((t, STALE if i and rng.random() < 0.03 else value))
    return out


def encode_histogram(t, schema, total, zero, sides):
    """One of integers, as remote write has it; sides: offset and counts, negative and positive."""
    count = zero + sum(sum(counts) for _, counts in sides)
    body = (field(1, count) + b"\x19" + bits(total) + field(4, zigzag(schema)) + b"\x29" + bits(2.0 ** -20)
            + field(6, zero))
    for number, (offset, counts) in zip((8, 11), sides):
        if counts:
            deltas = b"".join(varint(zigzag(n - before)) for n, before in zip(counts, [0] + counts))
            body += field(number, field(1, zigzag(offset)) + field(2, len(counts))) + field(number + 1, deltas)
    return body + field(15, t)


def native_counter(rng, times):
    """Grows from far above zero; now and then it falls by a tenth, or a bucket is added."""
    schema, base, total = rng.choice((-1, 0, 2)), 1_000_000, 0.0
    negative = [base] * rng.randrange(3)
    positive = [base] * rng.randrange(1, 6)
    offset, zero, samples = rng.randrange(-4, 4), base, []
    for t in times:
        for side in (negative, positive):
            for i in range(len(side)):
                side[i] += rng.randrange(5)
        total += rng.randrange(80) / 8
        if rng.random() < 0.02:
            positive.append(rng.randrange(1, 9))
        if rng.random() < 0.01:
            negative, positive, zero = [n * 9 // 10 for n in negative], [n * 9 // 10 for n in positive], zero * 9 // 10
        samples.append((t, encode_histogram(t, schema, total, zero, ((1, negative), (offset, positive)))))
    return samples


def make_native(rng, start):
    found = []
    for instance in ("a:1", "b:2", "c'd"):
        for job in ("api", "web"):
            interval = rng.choice((5, 15, 30, 60)) * 1000
            times = make_times(rng, interval, start, start + LENGTH_MS, interval // 10, 0.02)
            found.append(Series({"__name__": "dur", "instance": instance, "job": job}, native_counter(rng, times), 4))
    return found


def make_series(rng, start):
    end = start + LENGTH_MS
    found = []

    def life():
        if rng.random() < 0.7:
            return start, end
        begin = start + rng.randrange(LENGTH_MS // 2)
        return begin, begin + rng.randrange(LENGTH_MS // 8, LENGTH_MS // 2)

    def some(labels):
        return {name: value for name, value in labels.items() if rng.random() < 0.9 or name == "__name__"}

    for instance in ("a:1", "b:2", "c'd", "e\"\\f$$"):
        for job in ("api", "web"):
            base = {"instance": instance, "job": job}
            interval = rng.choice((5, 15, 30, 60)) * 1000
            found += [
                Series({**base, "__name__": "req_total", "code": code},
                       dense_counter(rng, make_times(rng, interval, *life())))
                for code in ("200", "404", "500")]
            found += [
                Series(some({**base, "__name__": name, "dev": dev}),
                       mark_stale(rng, kind(rng, make_times(rng, interval, *life(), interval // 10, 0.03))))
                for name, kind in (("bytes_total", sparse_counter), ("temp", gauge), ("load", gauge))
                for dev in ("x", "y", "ž")]
            found.append(Series({**base, "__name__": "up"}, mark_stale(
                rng, [(t, bits(float(rng.random() < 0.8))) for t in make_times(rng, interval, *life())])))
            counts = [0.0] * 5
            times = make_times(rng, interval, start, end)
            buckets = [[] for _ in counts]
            for t in times:
                for i in range(len(counts)):
                    grown = rng.randrange(4) if t != times[0] and rng.random() < 0.8 else 0
                    for j in range(i, len(counts)):
                        counts[j] += grown
                    buckets[i].append(None)
                for i, count in enumerate(counts):
                    buckets[i][-1] = (t, bits(count))
            for le, samples in zip(("0.1", "0.5", "1", "2.5", "+Inf"), buckets):
                found.append(Series({**base, "__name__": "lat_bucket", "le": le}, samples))
    # the lookback finds some of its samples
    found.append(Series({"__name__": "rare"}, gauge(rng, make_times(rng, 280_000, start, end))))
    unique = {}
    for series in found:
        if series.samples:
            unique.setdefault(series_key(series.labels), series)
    return list(unique.values())


def write(server, series, start):
    """In slices of time, all series in each."""
    sent = 0
    for begin in range(start, start + LENGTH_MS + DAY_MS, SLICE_MS):
        request = b""
        for one in series:
            part = [s for s in one.samples if begin <= s[0] < begin + SLICE_MS]
            if not part:
                continue
            body = labels(sorted(one.labels.items()))
            for t, value in part:
                body += sample(t, value) if one.number == 2 else field(one.number, value)
            request += field(1, body)
            sent += len(part)
        if request:
            status, text = server.post("/api/v1/write", snappy(request), WRITE_HEADERS)
            if status // 100 != 2:
                sys.exit(f"{server.name} does not take the samples: {status} {text[:300]!r}")
        elif begin > start + LENGTH_MS:
            break
    return sent


# ---------------------------------------------------------------- queries

METRICS = {"req_total": ("instance", "job", "code"), "bytes_total": ("instance", "job", "dev"),
           "temp": ("instance", "job", "dev"), "load": ("instance", "job", "dev"),
           "up": ("instance", "job"), "lat_bucket": ("instance", "job", "le"), "rare": ()}
VALUES = {"instance": ("a:1", "b:2", "c'd", "e\"\\f$$", "none"), "job": ("api", "web", ""),
          "code": ("200", "404", "500"), "dev": ("x", "y", "ž"), "le": ("0.1", "1", "+Inf")}
PATTERNS = {"instance": ("a.*", ".*", ".+", "a:1|b:2", "(a|b):[0-9]", "[^a].*", "nothing"),
            "job": ("api|web", "a.*", "", ".*b"), "code": ("[45]..", "200|404", "2.*|.*4"),
            "dev": ("x|y", "[xž]", ".", ""), "le": ("[+]Inf|1", "0[.].*")}
OVER_TIME = ("sum", "avg", "min", "max", "count", "last", "present")
AGGREGATES = ("sum", "avg", "min", "max", "count")
RATES = ("rate", "increase", "irate", "delta", "idelta")
PHIS = ("0.5", "0.9", "0", "1", "-1", "2", "scalar(up{job='api',instance='a:1'})")
FUNCTIONS = ("abs", "sqrt", "exp", "ln", "sin", "atan", "deg", "timestamp", "absent", "sort")
JUMPING = ("ceil", "floor", "sgn", "round", "hour", "day_of_week", "month", "minute")   # of exact values alone
ARITHMETIC = ("+", "-", "*", "/", "^")   # % would show the least difference of its operands large
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


def quote(rng, text):
    if "`" not in text and rng.random() < 0.3:
        return f"`{text}`"
    mark = rng.choice("\"'")
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


class Maker:
    """Random expressions."""

    def __init__(self, rng, start, has_native):
        self.rng = rng
        self.start = start
        self.has_native = has_native
        self.in_subquery = False

    def duration(self):
        return self.rng.choice(("30s", "1m", "2m", "5m", "10m", "1h", "90s", "7m30s", "4004ms"))

    def matcher(self, label):
        rng = self.rng
        op = rng.choice(("=", "!=", "=~", "!~"))
        return f"{label}{op}{quote(rng, rng.choice(VALUES[label] if op in ('=', '!=') else PATTERNS[label]))}"

    def selector(self, name=None):
        rng = self.rng
        if name is None and rng.random() < 0.08:
            names = rng.sample(sorted(METRICS), 2)
            return "{__name__=~%s%s}" % (quote(rng, "|".join(names)),
                                         "," + self.matcher("job") if rng.random() < 0.5 else "")
        name = name or rng.choice(sorted(METRICS))
        labels = [label for label in METRICS[name] if rng.random() < 0.3]
        text = name + ("{" + ",".join(map(self.matcher, labels)) + "}" if labels else "")
        return text

    def offset(self):
        text = ""
        if self.rng.random() < 0.15:
            text = f" offset {self.rng.choice(('', '', '-'))}{self.duration()}"
        if self.rng.random() < 0.05:
            at = self.start + 4 * self.rng.randrange(LENGTH_MS // 4) + 2
            text += self.rng.choice((" @ start()", " @ end()", f" @ {at / 1000:.3f}"))
        return text

    def range(self, depth, name=None, exact=False):
        """A range selector, or a subquery of few steps, of exact values if what sees it jumps."""
        rng = self.rng
        if depth <= 0 or name or self.in_subquery or rng.random() < 0.7:
            return f"{self.selector(name)}[{self.duration()}]{self.offset()}"
        width, step = rng.choice((("1m", "8s"), ("5m", "20s"), ("10m", "1m"), ("7m30s", ""), ("1h", "4m")))
        self.in_subquery = True
        inner = self.selector() if exact else self.vector(depth - 1)
        self.in_subquery = False
        return f"({inner})[{width}:{step}]{self.offset()}"

    def labels(self):
        names = ("instance", "job", "code", "dev", "le", "nosuch", "__name__")
        return ", ".join(self.rng.sample(names, self.rng.randrange(0, 4)))

    def number(self):
        return self.rng.choice(("0", "1", "-1", "2", "0.5", "100", "3.25", "-7", "NaN", "Inf", "-Inf", "1e3", "0x10"))

    def scalar(self, depth):
        rng = self.rng
        kind = rng.random()
        if depth <= 0 or kind < 0.5:
            return self.number()
        if kind < 0.65:
            return "time()"
        if kind < 0.8:
            return f"scalar({self.vector(depth - 1)})"
        if kind < 0.9:
            return f"({self.scalar(depth - 1)} {rng.choice(COMPARISONS)} bool {self.scalar(depth - 1)})"
        return f"({self.scalar(depth - 1)} {rng.choice(ARITHMETIC + ('%', 'atan2'))} {self.scalar(depth - 1)})"

    def window(self, depth):
        rng = self.rng
        kind = rng.random()
        if kind < 0.4:
            rate = rng.choice(RATES)
            name = rng.choice(("req_total", "bytes_total", "lat_bucket")) if rate in ("rate", "increase") else None
            return f"{rate}({self.range(depth, name, True)})"
        if kind < 0.8:
            return f"{rng.choice(OVER_TIME)}_over_time({self.range(depth)})"
        if kind < 0.86:
            samples = self.range(depth)
            # a parameter that is not constant made Prometheus 2 move the window of "@" with the steps
            return f"quantile_over_time({rng.choice(PHIS[:-1] if ' @ ' in samples else PHIS)}, {samples})"
        if kind < 0.9:
            return f"{rng.choice(('changes', 'resets'))}({self.range(depth, None, True)})"
        if kind < 0.94:
            return f"absent_over_time({self.range(depth)})"
        factors = rng.choice(("0.5, 0.5", "0.125, 0.75", "0.25, scalar(vector(0.5))", "1, 0.5", "0.5, 0"))
        return f"double_exponential_smoothing({self.range(depth)}, {factors})"

    def function(self, depth):
        """Of values, dates and labels."""
        rng = self.rng
        kind = rng.random()
        inner = self.vector(depth - 1)
        if kind < 0.35:
            name = rng.choice(FUNCTIONS)
            # of a selector with "@" and an offset, Prometheus 2 takes the offset off twice
            return f"{'abs' if name == 'timestamp' and ' @ ' in inner and ' offset ' in inner else name}({inner})"
        if kind < 0.5:
            return f"{rng.choice(JUMPING)}({self.selector()})"
        if kind < 0.6:
            return f"clamp({inner}, {self.scalar(depth - 1)}, {self.scalar(depth - 1)})"
        if kind < 0.7:
            if rng.random() < 0.3:
                return f"round({self.selector()}, {rng.choice(('1', '0.5', '-2', '8'))})"
            return f"{rng.choice(('clamp_min', 'clamp_max'))}({inner}, {rng.choice(('1', '0.5', '-2', '8'))})"
        if kind < 0.85:
            return (f"label_replace({inner}, {quote(rng, rng.choice(('x', 'job', 'instance')))}, "
                    f"{quote(rng, rng.choice(('$1', 'a-${1}', '')))}, {quote(rng, rng.choice(('instance', 'code', 'x')))}, "
                    f"{quote(rng, rng.choice(('(.).*', '(.*):.*', '', 'nosuch')))})")
        return f"label_join({inner}, {quote(rng, rng.choice(('x', 'job')))}, {quote(rng, '/')}, \"instance\", \"code\")"

    def aggregate(self, depth):
        rng = self.rng
        op, inner = rng.choice(AGGREGATES), self.vector(depth - 1)
        if rng.random() < 0.2:
            return f"{op}({inner})"
        group = f"{rng.choice(('by', 'without'))} ({self.labels()})"
        return f"{op} {group} ({inner})" if rng.random() < 0.5 else f"{op}({inner}) {group}"

    def matching(self):
        rng = self.rng
        if rng.random() < 0.35:
            return ""
        return f" {rng.choice(('on', 'ignoring'))}({self.labels()})"

    def pair(self, depth):
        """An operator between vectors, sides often alike so that something matches."""
        rng = self.rng
        left = self.vector(depth - 1)
        right = self.vector(depth - 1)
        matching = self.matching()
        kind = rng.random()
        if kind < 0.35:
            name = rng.choice(("temp", "load", "up", "req_total"))
            left, right, matching = self.selector(name), self.selector(name), rng.choice(("", matching))
            if rng.random() < 0.2:
                return f"({left} %{matching} {right})"
        elif kind < 0.7:
            group = rng.choice(("instance", "instance, job", "job", "code, job"))
            left = f"{rng.choice(AGGREGATES)} by ({group}) ({left})"
            right = f"{rng.choice(AGGREGATES)} by ({group}) ({right})"
            matching = rng.choice(("", f" on({group})", " ignoring(code)"))
        if rng.random() < 0.25:
            return f"({left} {rng.choice(('and', 'or', 'unless'))}{matching} {right})"
        if matching and rng.random() < 0.2:
            matching += f" {rng.choice(('group_left', 'group_right'))}({rng.choice(('', '', 'dev', 'nosuch'))})"
        if rng.random() < 0.5:
            op = rng.choice(ARITHMETIC)
        else:
            op = rng.choice(COMPARISONS) + rng.choice(("", " bool"))
        return f"({left} {op}{matching} {right})"

    def vector(self, depth):
        rng = self.rng
        kind = rng.random()
        if depth <= 0 or kind < 0.15:
            return self.selector() + self.offset()
        if kind < 0.4:
            return self.window(depth)
        if kind < 0.5:
            return self.function(depth)
        if kind < 0.65:
            return self.aggregate(depth)
        if kind < 0.78:
            return self.pair(depth)
        if kind < 0.88:
            op = rng.choice(ARITHMETIC + COMPARISONS + tuple(c + " bool" for c in COMPARISONS))
            sides = [self.vector(depth - 1), self.scalar(depth - 1)]
            rng.shuffle(sides)
            return f"({sides[0]} {op} {sides[1]})"
        if kind < 0.91:
            return f"vector({self.scalar(depth - 1)})"
        if kind < 0.94:
            return f"(-{self.selector(rng.choice(sorted(METRICS)))})"
        buckets = rng.choice(("rate(lat_bucket[{d}])", "sum by (le, job) (rate(lat_bucket[{d}]))", "lat_bucket",
                              "sum by (le) (lat_bucket)", "{s}"))
        phi = rng.choice(PHIS)
        return f"histogram_quantile({phi}, {buckets.format(d=self.duration(), s=self.selector())})"

    def native_range(self):
        return f"{self.native_selector()}[{self.duration()}]{self.offset()}"

    def native_selector(self):
        labels = [label for label in ("instance", "job") if self.rng.random() < 0.3]
        return "dur" + ("{" + ",".join(map(self.matcher, labels)) + "}" if labels else "")

    def native(self, depth):
        """Vectors of native histograms."""
        rng = self.rng
        kind = rng.random()
        if depth <= 0 or kind < 0.15:
            return self.native_selector() + self.offset()
        if kind < 0.45:
            return f"{rng.choice(('rate', 'increase'))}({self.native_range()})"
        if kind < 0.75:
            return f"sum {rng.choice(('by', 'without'))} ({rng.choice(('', 'job', 'instance', 'job, nosuch'))}) ({self.native(depth - 1)})"
        if kind < 0.85:
            group = rng.choice(("job", "instance"))
            return f"(sum by ({group}) ({self.native(depth - 1)}) + sum by ({group}) ({self.native(depth - 1)}))"
        return f"({self.native(depth - 1)} {rng.choice(('and', 'or', 'unless'))}{self.matching()} {self.native(depth - 1)})"

    def of_native(self):
        """What is known of them."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.4:
            return self.native(rng.randrange(0, 4))
        if kind < 0.7:
            return f"{rng.choice(('histogram_count', 'histogram_sum'))}({self.native(rng.randrange(0, 4))})"
        if kind < 0.8:
            return f"histogram_quantile({rng.choice(('0', '1', '-1', '2'))}, {self.native(rng.randrange(0, 4))})"
        if kind < 0.9:
            return f"count {rng.choice(('by', 'without'))} (job) ({self.native(rng.randrange(0, 3))})"
        return f"{rng.choice(('count', 'present'))}_over_time({self.native_range()})"

    def query(self):
        rng = self.rng
        if self.has_native and rng.random() < 0.25:
            return self.of_native(), "both"
        kind = rng.random()
        if kind < 0.05:
            return self.scalar(3), "both"
        if kind < 0.1:
            return f"{self.selector()}[{self.duration()}]{self.offset()}", "instant"
        return self.vector(rng.randrange(0, 4)), "both"


# ---------------------------------------------------------------- servers and answers

class Server:
    def __init__(self, name, url):
        self.name = name
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=180)

    def post(self, path, body, headers):
        try:
            self.connection.request("POST", path, body, headers)
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (http.client.HTTPException, ConnectionError):
            # the server has closed an idle connection
            self.connection.close()
            self.connection.request("POST", path, body, headers)
            answer = self.connection.getresponse()
            return answer.status, answer.read()

    def ask(self, path, form):
        status, text = self.post(path, urllib.parse.urlencode(form).encode(),
                                 {"Content-Type": "application/x-www-form-urlencoded"})
        try:
            return json.loads(text)
        except ValueError:
            sys.exit(f"{self.name} answers {status} {text[:300]!r} to {form}")


def same_value(a, b):
    if isinstance(a, dict) or isinstance(b, dict):
        return isinstance(a, dict) and isinstance(b, dict) and same_histogram(a, b)
    a, b = float(a), float(b)
    if max(abs(a), abs(b)) == math.inf and min(abs(a), abs(b)) > 1e308:
        return (a > 0) == (b > 0)
    return a == b or math.isnan(a) and math.isnan(b) or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def same_histogram(a, b):
    ours, theirs = b.get("buckets", []), a.get("buckets", [])
    return (len(ours) == len(theirs) and all(same_value(a[k], b[k]) for k in ("count", "sum")) and
            all(x[0] == y[0] and all(map(same_value, x[1:], y[1:])) for x, y in zip(theirs, ours)))


def points(data):
    """By series, in the order of time; a value is a text, or a native histogram."""
    if data["resultType"] in ("scalar", "string"):
        return {"": [data["result"]]}
    return {series_key(s["metric"]): sorted(s.get("values", []) + s.get("histograms", []) +
                                            [s[k] for k in ("value", "histogram") if k in s], key=lambda p: p[0])
            for s in data["result"]}


def difference(want, got):
    """None, or in what they differ."""
    if want["status"] != got["status"]:
        return f"Prometheus: {want.get('error', 'success')}; promgres: {got.get('error', 'success')}"
    if want["status"] == "error":
        if want["errorType"] != got["errorType"]:
            return f"Prometheus: {want['errorType']} {want['error']}; promgres: {got['errorType']} {got['error']}"
        return None
    want, got = want["data"], got["data"]
    if want["resultType"] != got["resultType"]:
        return f"result types {want['resultType']} and {got['resultType']}"
    theirs, mine = points(want), points(got)
    if got["resultType"] in ("vector", "matrix") and len(mine) != len(got["result"]):
        return "a series came twice"
    if got["resultType"] == "matrix":
        order = [sorted((n.encode(), v.encode()) for n, v in s["metric"].items()) for s in got["result"]]
        if order != sorted(order):
            return "promgres did not sort the series"
    for key in sorted(theirs.keys() | mine.keys()):
        a, b = theirs.get(key, []), mine.get(key, [])
        if [t for t, _ in a] != [t for t, _ in b]:
            return f"{key}: Prometheus has points {a[:3]}…({len(a)}), promgres {b[:3]}…({len(b)})"
        for (t, x), (_, y) in zip(a, b):
            if not same_value(x, y):
                return f"{key} at {t}: Prometheus {x}, promgres {y}"
    return None


def is_known(expr, want, got):
    if want["status"] == "success":
        if got["status"] == "error":
            return got["error"].startswith("multiple matches for labels: many-to-one")
        return any("conflicting counter resets during histogram addition" in text for text in got.get("warnings", ()))
    return ("scalar(" in expr and got["status"] == "success" and not got["data"]["result"] and
            want["errorType"] == "execution")


def compare(args, rng, start):
    prometheus, promgres = Server("Prometheus", args.prometheus), Server("promgres", args.promgres)
    series = make_series(rng, start) + (make_native(rng, start) if args.native else [])
    counts = {write(server, series, start) for server in (prometheus, promgres)}
    print(f"{len(series)} series, {counts.pop()} samples", flush=True)

    if args.between:
        subprocess.run(shlex.split(args.between), check=True)

    maker = Maker(rng, start, args.native)
    tally = {"differ": 0, "errors of both": 0, "empty": 0, "known": 0}
    for _ in range(args.queries):
        expr, kinds = maker.query()
        at = start + 4 * rng.randrange(-150_000, (LENGTH_MS + 600_000) // 4) + 2
        if kinds == "instant" or rng.random() < 0.4:
            call = "query", {"query": expr, "time": f"{at / 1000:.3f}"}
        else:
            step = 4 * rng.choice((250, 1812, 3750, 15_000, 75_000))
            end = at + step * rng.randrange(0, 120)
            call = "query_range", {"query": expr, "start": f"{at / 1000:.3f}", "end": f"{end / 1000:.3f}",
                                   "step": f"{step / 1000:.3f}"}
        old = {**call[1], "query": expr.replace("double_exponential_smoothing", "holt_winters")}
        want, got = prometheus.ask("/api/v1/" + call[0], old), promgres.ask("/api/v1/" + call[0], call[1])
        why = difference(want, got)
        if args.verbose:
            print(call, why or "same")
        if why and is_known(expr, want, got):
            tally["known"] += 1
        elif why:
            tally["differ"] += 1
            print(f"{call[0]} {json.dumps(call[1], ensure_ascii=False)}\n    {why}", flush=True)
        elif want["status"] == "error":
            tally["errors of both"] += 1
        elif not want["data"]["result"]:
            tally["empty"] += 1
    print(f"{args.queries} queries: " + ", ".join(f"{n} {what}" for what, n in tally.items()))
    return tally["differ"] == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", required=True, metavar="URL")
    parser.add_argument("--promgres", required=True, metavar="URL")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--queries", type=int, default=600, metavar="N")
    parser.add_argument("--shift", type=int, default=0, metavar="DAYS")
    parser.add_argument("--between", metavar="COMMAND", help="run this after the writes, ahead of the queries")
    parser.add_argument("--native", action="store_true", help="also native histograms")
    parser.add_argument("--verbose", action="store_true", help="show all queries, not only those that differ")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    sys.exit(0 if compare(args, random.Random(args.seed), START_MS + args.shift * DAY_MS) else 1)


if __name__ == "__main__":
    main()

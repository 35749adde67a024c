#!/usr/bin/env python3
"""Run Prometheus promqltest scripts (*.test) against a server over HTTP.

The data of each `load` goes in by remote_write 1.0, each `eval` is asked of
/api/v1/query or /api/v1/query_range, and the answer is compared with the
script's expectation. `clear` runs --clear-cmd. Standard library only.
"""
import argparse
import glob
import json
import math
import os
import re
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

EPSILON = 1e-6              # relative error allowed, as in promqltest
STALE_BITS = 0x7FF0000000000002
STALE = object()            # a staleness marker in a series of values
MIN_NORMAL = sys.float_info.min
CUSTOM_BUCKETS = -53        # schema of native histograms with custom buckets


class ScriptError(Exception):
    pass


# ---------------------------------------------------------------- values

class Histogram:
    """A float native histogram; pos and neg map bucket index to count."""

    HINTS = {"unknown": 0, "reset": 1, "not_reset": 2, "gauge": 3}

    def __init__(self, schema=0, count=0.0, total=0.0, zero=0.0, width=0.0,
                 custom=(), pos=None, neg=None, hint=0):
        self.schema, self.count, self.sum = schema, count, total
        self.zero, self.width, self.custom = zero, width, tuple(custom)
        self.pos, self.neg, self.hint = pos or {}, neg or {}, hint

    @classmethod
    def parse(cls, text):
        """Parse what stands between {{ and }}."""
        d = {}
        for key, val in re.findall(r"(\w+):(\[[^\]]*\]|\S+)", text):
            if val[0] == "[":
                d[key] = [float(x) for x in val[1:-1].split()]
            else:
                d[key] = val if key == "counter_reset_hint" else float(val)
        unknown = set(d) - {"schema", "count", "sum", "z_bucket", "z_bucket_w", "custom_values",
                            "buckets", "offset", "n_buckets", "n_offset", "counter_reset_hint"}
        if unknown:
            raise ScriptError(f"histogram keys {unknown}")

        def spread(key, offset):
            first = int(d.get(offset, 0))
            return {first + i: c for i, c in enumerate(d.get(key, []))}
        return cls(int(d.get("schema", 0)), d.get("count", 0.0), d.get("sum", 0.0),
                   d.get("z_bucket", 0.0), d.get("z_bucket_w", 0.0), d.get("custom_values", ()),
                   spread("buckets", "offset"), spread("n_buckets", "n_offset"),
                   cls.HINTS[d.get("counter_reset_hint", "unknown")])

    def plus(self, other, sign):
        """self + sign * other, for the a+bxN notation."""
        if self.custom != other.custom and CUSTOM_BUCKETS in (self.schema, other.schema):
            raise ScriptError("sum of histograms with different custom buckets")
        width = max(self.width, other.width)
        schema = min(self.schema, other.schema)
        res = Histogram(schema, self.count + sign * other.count, self.sum + sign * other.sum,
                        self.zero + sign * other.zero, width, self.custom, hint=self.hint)
        for src, f in ((self, 1), (other, sign)):
            for mine, theirs in ((res.pos, src.pos), (res.neg, src.neg)):
                for i, c in theirs.items():
                    i = ((i - 1) >> (src.schema - schema)) + 1 if src.schema > schema else i
                    if c and schema != CUSTOM_BUCKETS and bound(i - 1, schema) < width > src.width:
                        raise ScriptError("sum of histograms with overlapping zero buckets")
                    mine[i] = mine.get(i, 0.0) + f * c
        return res

    def buckets(self):
        """The non-empty buckets as the HTTP API lists them: [boundaries, lower, upper, count]."""
        out = []
        for i in sorted(self.neg, reverse=True):
            hi = -bound(i - 1, self.schema)
            out.append([1, -bound(i, self.schema), -self.width if -self.width < hi else hi, self.neg[i]])
        if self.zero > 0:
            out.append([3, -self.width, self.width, self.zero])
        for i in sorted(self.pos):
            if self.schema == CUSTOM_BUCKETS:
                edges = (-math.inf,) + self.custom + (math.inf,)
                out.append([3 if i == 0 else 0, edges[i], edges[i + 1], self.pos[i]])
            else:
                lo = bound(i - 1, self.schema)
                out.append([0, max(lo, self.width), bound(i, self.schema), self.pos[i]])
        return [b for b in out if b[3] != 0]

    def __repr__(self):
        return f"{{{{count:{self.count:g} sum:{self.sum:g} buckets:{self.buckets()}}}}}"


def bound(i, schema):
    e = i / 2.0 ** schema
    return sys.float_info.max if e == 1024 else math.inf if e > 1024 else 2.0 ** e


def nhcb(series):
    """The custom-bucket histogram series that a load_with_nhcb adds to its classic ones."""
    groups = {}
    for labels, points in series:
        m = re.fullmatch(r"(.*)_(bucket|sum|count)", labels.get("__name__", ""))
        if not m or (m[2] == "bucket" and "le" not in labels):
            continue
        key = dict(labels, __name__=m[1])
        try:
            le = float(key.pop("le", "nan"))
        except ValueError:
            continue
        if m[2] == "bucket" and math.isnan(le):
            continue
        group = groups.setdefault(tuple(sorted(key.items())), {})
        for t, v in points:
            if isinstance(v, float):
                at = group.setdefault(t, {"buckets": {}})
                if m[2] == "bucket":
                    at["buckets"].setdefault(le, v)
                else:
                    at[m[2]] = v
    out = []
    for key, group in groups.items():
        points = []
        for t, at in sorted(group.items()):
            les = sorted(at["buckets"])
            count = at.get("count", at["buckets"][les[-1]] if les else 0.0)
            at["buckets"].setdefault(math.inf, count)
            les = sorted(at["buckets"])
            cum = [at["buckets"][le] for le in les]
            pos = {i: c - (cum[i - 1] if i else 0.0) for i, c in enumerate(cum)}
            points.append((t, Histogram(CUSTOM_BUCKETS, count, at.get("sum", 0.0),
                                        custom=les[:-1], pos=pos)))
        out.append((dict(key), points))
    return out


def almost(want, got):
    if want == got or (math.isnan(want) and math.isnan(got)):
        return True
    total, diff = abs(want) + abs(got), abs(want - got)
    if want == 0 or got == 0 or total < MIN_NORMAL:
        return diff < EPSILON * MIN_NORMAL
    return diff / min(total, sys.float_info.max) < EPSILON


def same(want, got):
    """Compare an expected value with one of the API's (a string, or a histogram object)."""
    if isinstance(want, Histogram) != isinstance(got, dict):
        return False
    if not isinstance(want, Histogram):
        return want is not STALE and almost(want, float(got))
    if not almost(want.count, float(got["count"])) or not almost(want.sum, float(got["sum"])):
        return False
    mine, theirs = want.buckets(), got.get("buckets", [])
    return len(mine) == len(theirs) and all(
        m[0] == int(t[0]) and all(almost(a, float(b)) for a, b in zip(m[1:], t[1:]))
        for m, t in zip(mine, theirs))


# ---------------------------------------------------------------- the script language

UNITS = {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000, "w": 604800000, "y": 31536000000}
NUMBER = r"(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[Ii]nf|[Nn]a[Nn])"
HIST = r"\{\{([^}]*)\}\}"
ITEM = re.compile(rf"(?:(?P<blank>_)|(?P<stale>stale)|(?P<num>[+-]?{NUMBER})(?P<step>[+-]{NUMBER})?"
                  rf"|{HIST}(?:(?P<sign>[+-]){HIST})?)(?:x(?P<times>\d+))?(?=\s|$)")
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{3}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.S)
QUOTED = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'|`[^`]*`"
LABEL = re.compile(rf"\s*({QUOTED}|[A-Za-z_]\w*)\s*(?:=\s*({QUOTED}))?\s*(,|(?=\}}))")


def duration(text):
    """A Prometheus duration in ms."""
    if text == "0":
        return 0
    parts = re.findall(r"(\d+)(ms|[smhdwy])", text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ScriptError(f"duration {text!r}")
    return sum(int(n) * UNITS[u] for n, u in parts)


def number(text):
    try:
        return float(int(text, 0))
    except ValueError:
        return float(text)


def unquote(text):
    """Undo a Go string literal."""
    body = text[1:-1]
    if text[0] == "`":
        return body
    simple = dict(zip("abfnrtv", "\a\b\f\n\r\t\v"))

    def one(m):
        e = m[1]
        if e[0] in "uU":
            return chr(int(e[1:], 16))
        if len(e) == 3:     # a byte: \xHH or \OOO
            return bytes([int(e[1:], 16) if e[0] == "x" else int(e, 8)]).decode("latin-1")
        return simple.get(e, e)
    if re.search(r"\\(x|[0-7]{3})", body):      # bytes of UTF-8
        return ESCAPE.sub(one, body).encode("latin-1").decode("utf-8", "surrogateescape")
    return ESCAPE.sub(one, body)


def parse_labels(text):
    """Split `name{label="value", ...} rest` into (labels, rest)."""
    m = re.match(r"[A-Za-z_:][\w:]*", text)
    labels = {"__name__": m[0]} if m else {}
    rest = text[m.end():] if m else text
    if m := re.match(r"\s*\{(?!\{)", rest):
        pos = m.end()
        while not (m := re.compile(r"\s*\}").match(rest, pos)):
            m = LABEL.match(rest, pos)
            if not m:
                raise ScriptError(f"labels {text!r}")
            name = unquote(m[1]) if m[1][0] in "\"'`" else m[1]
            if m[2] is None:
                labels["__name__"] = name
            else:
                labels[name] = unquote(m[2])
            pos = m.end()
        rest = rest[m.end():]
    elif not labels:
        raise ScriptError(f"series {text!r}")
    return {k: v for k, v in labels.items() if v}, rest


def parse_values(text):
    """Expand a series notation to a list of float, Histogram, STALE or None (no point)."""
    out, pos = [], 0
    while pos < len(text.rstrip()):
        if text[pos].isspace():
            pos += 1
            continue
        m = ITEM.match(text, pos)
        if not m:
            raise ScriptError(f"values {text[pos:]!r}")
        pos = m.end()
        times = int(m["times"]) if m["times"] else None
        if m["blank"]:
            out += [None] * (1 if times is None else times)
            continue
        if m["stale"]:
            val, step = STALE, None
        elif m["num"]:
            val, step = float(m["num"]), float(m["step"]) if m["step"] else None
        else:
            val = Histogram.parse(m[5])
            step = Histogram.parse(m[7]) if m["sign"] else None
        for i in range((times or 0) + 1):
            out.append(val)
            if isinstance(step, Histogram):
                val = val.plus(step, 1 if m["sign"] == "+" else -1) if i < (times or 0) else val
            elif step is not None:
                val += step
    return out


class Load:
    def __init__(self, line, step, with_nhcb):
        self.line, self.step, self.with_nhcb = line, step, with_nhcb
        self.series, self.start_timestamps = {}, set()

    def add(self, text):
        if re.match(r"\S+@st\s", text):
            self.start_timestamps.add(parse_labels(text)[0]["__name__"])
            return
        labels, values = parse_labels(text)
        self.series[tuple(sorted(labels.items()))] = [
            (i * self.step, v) for i, v in enumerate(parse_values(values)) if v is not None]

    def batches(self):
        """Lists of (labels, points) to be written one after the other: a series with
        both floats and histograms is cut so that each is written in the order of time."""
        series = [(dict(k), v) for k, v in self.series.items()]
        rounds = []
        for labels, points in series:
            runs = []
            for p in points:
                kind = isinstance(p[1], Histogram)
                if not runs or (runs[-1][0] != kind and p[1] is not STALE):
                    runs.append((kind, []))
                runs[-1][1].append(p)
            for n, (kind, run) in enumerate(runs):
                rounds += [([], []) for _ in range(n + 1 - len(rounds))]
                rounds[n][kind].append((labels, run))
        out = [batch for r in rounds for batch in r if batch]
        return out + ([nhcb(series)] if self.with_nhcb else [])


class Eval:
    def __init__(self, line, mod, expr, start, end=None, step=0):
        self.line, self.expr, self.is_range = line, expr, end is not None
        self.start, self.end, self.step = start, start if end is None else end, step
        self.at = start
        self.expected, self.scalar, self.string = {}, None, ""
        self.want = {mod: [("regex", "")]} if mod else {}
        self.range_vector = False

    def add(self, text):
        """Take one line of the expectation; False ends the block early."""
        if text.startswith("expected_fail_"):
            kind, arg = text.split(None, 1)
            self.want["fail"] = [("regex" if kind.endswith("regexp") else "msg", arg)]
            return False
        m = re.fullmatch(r"expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)", text)
        if m:
            self.start, self.end, self.step = map(duration, m.groups())
            self.at, self.range_vector = self.end, True
            return True
        if text.startswith("expect string"):
            self.string = unquote(text[len("expect string"):].strip())
            return True
        if text.split()[0] == "expect":
            m = re.fullmatch(r"expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?", text)
            if not m:
                raise ScriptError(text)
            self.want.setdefault(m[1], []).append((m[2] or "regex", (m[3] or "").strip()))
            return True
        try:
            self.scalar = number(text)
            return False
        except ValueError:
            pass
        labels, values = parse_labels(text)
        self.expected[tuple(sorted(labels.items()))] = parse_values(values)
        return True


def parse_script(text):
    """The commands of a script: Load, Eval, or "clear"."""
    lines = [s.strip() for s in text.split("\n")]
    lines = ["" if s.startswith("#") else s for s in lines]
    cmds, i = [], 0
    while i < len(lines):
        line, no = lines[i], i + 1
        i += 1
        if not line:
            continue
        try:
            if line.split()[0].lower() == "clear":
                cmds.append("clear")
                continue
            if m := re.fullmatch(r"load(_with_nhcb)?\s+(.+?)", line):
                cmd = Load(no, duration(m[2]), bool(m[1]))
            elif m := re.fullmatch(r"eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)", line):
                cmd = Eval(no, m[1], m[3], duration(m[2] or "0"))
            elif m := re.fullmatch(r"eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)"
                                   r"\s+step\s+(.+?)\s+(.+)", line):
                cmd = Eval(no, m[1], m[5], *map(duration, m.groups()[1:4]))
            else:
                raise ScriptError(f"command {line!r}")
            cmds.append(cmd)
            more = True
            while more and i < len(lines) and lines[i]:
                no = i + 1
                more = cmd.add(lines[i]) is not False
                i += 1
        except (ScriptError, ValueError, KeyError) as e:
            raise ScriptError(f"line {no}: {e}") from e
    return cmds


# ---------------------------------------------------------------- remote_write 1.0

def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def pb(field, value):
    """One protobuf field: bytes or str, float, or int."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return varint(field << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(field << 3 | 1) + struct.pack("<d", value)
    return varint(field << 3) + varint(value)


def zigzag(n):
    return n << 1 if n >= 0 else (-n << 1) - 1


def pb_sample(value, t):
    bits = struct.pack("<Q", STALE_BITS) if value is STALE else struct.pack("<d", value)
    return b"\x09" + bits + b"\x10" + varint(t)


def pb_histogram(h, t):
    out = pb(2, h.count) + pb(3, h.sum) + pb(4, zigzag(h.schema)) + pb(5, h.width) + pb(7, h.zero)
    for field, counts in ((8, h.neg), (11, h.pos)):
        spans, last = [], None
        for i in sorted(counts):
            if last is not None and i == last + 1:
                spans[-1][1] += 1
            else:
                spans.append([i if last is None else i - last - 1, 1])
            last = i
        out += b"".join(pb(field, pb(1, zigzag(o)) + pb(2, n)) for o, n in spans)
        if counts:
            out += pb(field + 2, b"".join(struct.pack("<d", counts[i]) for i in sorted(counts)))
    out += pb(14, h.hint) + pb(15, t)
    return out + (pb(16, struct.pack(f"<{len(h.custom)}d", *h.custom)) if h.custom else b"")


def pb_series(labels, points, base_ms=0):
    out = bytearray().join(pb(1, pb(1, k) + pb(2, v)) for k, v in sorted(labels.items()))
    hist = any(isinstance(v, Histogram) for _, v in points)
    for t, v in points:
        if isinstance(v, Histogram):
            out += pb(4, pb_histogram(v, t + base_ms))
        elif hist:      # a staleness marker between histograms is a histogram too
            stale, = struct.unpack("<d", struct.pack("<Q", STALE_BITS))
            out += pb(4, pb_histogram(Histogram(total=stale), t + base_ms))
        else:
            out += pb(2, pb_sample(v, t + base_ms))
    return pb(1, bytes(out))


def write_request(series, base_ms=0):
    """The body of a remote_write request for [(labels, [(ms, value)])]."""
    return snappy(b"".join(pb_series(labels, points, base_ms) for labels, points in series))


def snappy(data):
    """The snappy block format, as literals only."""
    out = [varint(len(data))]
    for i in range(0, len(data), 65536):
        part = data[i:i + 65536]
        out += [b"\xf4", struct.pack("<H", len(part) - 1), part]
    return b"".join(out)


class Server:
    def __init__(self, url, write_url=None, headers=(), method="GET", timeout=180):
        self.url, self.write_url = (url or "").rstrip("/"), write_url
        self.headers, self.method, self.timeout = dict(headers), method, timeout

    def write(self, body):
        """Send a write_request; return an error text or None."""
        req = urllib.request.Request(self.write_url, body, {
            "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0", **self.headers})
        try:
            urllib.request.urlopen(req, timeout=self.timeout).close()
        except urllib.error.HTTPError as e:
            return f"HTTP {e.code} {e.read(300).decode('utf-8', 'replace').strip()}"
        except OSError as e:
            return str(e)

    def query(self, **params):
        """Ask for an instant or (given start=) a range query; return (HTTP status, JSON)."""
        url = self.url + "/api/v1/" + ("query_range" if "start" in params else "query")
        data = urllib.parse.urlencode(params, errors="surrogateescape")
        if self.method == "GET":
            req = urllib.request.Request(f"{url}?{data}", headers=self.headers)
        else:
            req = urllib.request.Request(url, data.encode(), self.headers)
        try:
            with urllib.request.urlopen(req, timeout=self.timeout) as r:
                return r.status, json.load(r)
        except urllib.error.HTTPError as e:
            body = e.read()
            try:
                return e.code, json.loads(body)
            except ValueError:
                return e.code, {"status": "?", "error": body[:300].decode("utf-8", "replace")}
        except (OSError, ValueError) as e:
            return 0, {"status": "?", "error": str(e)}


# ---------------------------------------------------------------- evaluation

AT = re.compile(r"@(\s*)([+-]?)((?:\d+(?:ms|[smhdwy]))+|0x[0-9a-fA-F]+|[\d.]+(?:[eE][+-]?\d+)?)(?![\w.])")
ABSOLUTE = re.compile(r"\b(?:time|minute|hour|month|year|day_of_\w+|days_in_month)\(\s*\)"
                      r"|\b(?:timestamp|ts_of_\w+)\s*\(|(?<!@)(?<!@ )\b(?:start|end)\(\)", re.I)


def names(expr):
    return set(re.findall(r"[A-Za-z_:][\w:]*", expr))


def show(labels):
    labels = dict(labels)
    name = labels.pop("__name__", "")
    return name + "{" + ", ".join(f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in labels.items()) + "}"


class Mismatch(Exception):
    pass


class Runner:
    def __init__(self, server, base, opts):
        self.server, self.base, self.opts = server, base, opts
        self.dirty = True
        self.reset()

    def reset(self):
        self.load_errors, self.native, self.start_timestamps = [], set(), set()

    def clear(self):
        if self.dirty:
            subprocess.run(self.opts.clear_cmd, shell=True, check=True, stdout=subprocess.DEVNULL)
            self.dirty = False
        self.reset()

    def load(self, cmd):
        self.dirty = True
        self.note(cmd)
        for batch in cmd.batches():
            err = self.server.write(write_request(batch, self.base * 1000))
            if err:
                what = ", ".join(sorted({s[0].get("__name__", "?") for s in batch}))
                self.load_errors.append(f"line {cmd.line}: load of {what[:80]}: {err}")
        if self.opts.flush_cmd:
            subprocess.run(self.opts.flush_cmd, shell=True, check=True, stdout=subprocess.DEVNULL)

    def note(self, cmd):
        """Remember which metrics of the section have native histograms or start timestamps."""
        self.start_timestamps |= cmd.start_timestamps
        for key, points in cmd.series.items():
            name = dict(key).get("__name__", "")
            if any(isinstance(v, Histogram) for _, v in points):
                self.native.add(name)
            elif cmd.with_nhcb:
                self.native.add(re.sub("_(bucket|count|sum)$", "", name))

    def is_native(self, cmd):
        return bool(names(cmd.expr) & self.native) or any(
            isinstance(v, Histogram) for vals in cmd.expected.values() for v in vals)

    def skip_reason(self, cmd):
        if names(cmd.expr) & self.start_timestamps:
            return "start timestamps (@st) can't be sent by remote_write 1.0"
        if self.opts.skip_native and self.is_native(cmd):
            return "native histograms (--skip-native)"
        if self.base and ABSOLUTE.search(cmd.expr):
            return "depends on absolute time (needs --base 0)"

    def params(self, cmd):
        def shift(m):
            at = duration(m[3]) / 1000 if m[3][-1] in "smhdwy" else number(m[3])
            return f"@{m[1]}{self.base + (-at if m[2] == '-' else at):.3f}"
        expr = AT.sub(shift, cmd.expr) if self.base else cmd.expr
        if cmd.is_range:
            return {"query": expr, "start": self.sec(cmd.start), "end": self.sec(cmd.end), "step": cmd.step / 1000}
        return {"query": expr, "time": self.sec(cmd.at)}

    def sec(self, ms):
        return f"{self.base + ms / 1000:.3f}"

    def run(self, cmd):
        """Run an Eval; raise Mismatch when it does not give what it should."""
        try:
            self.run_checks(cmd)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as e:
            raise Mismatch(f"malformed answer: {e!r}") from e

    def run_checks(self, cmd):
        params = self.params(cmd)
        self.check(cmd, *self.server.query(**params))
        if (self.opts.also_range and not cmd.is_range and "fail" not in cmd.want and "ordered" not in cmd.want
                and not cmd.range_vector and cmd.string is None and not re.search(r"(start|end|range|step)\(\)", cmd.expr)):
            status, res = self.server.query(query=params["query"], start=self.sec(cmd.at - 60000),
                                            end=self.sec(cmd.at + 60000), step=60)
            try:
                self.check(cmd, status, res, only=self.base + cmd.at / 1000)
            except Mismatch as e:
                raise Mismatch(f"as a range query: {e}") from e

    def check(self, cmd, status, res, only=None):
        """Compare an answer with the expectation; `only`: that one step of a range answer."""
        if res.get("status") != "success":
            if "fail" not in cmd.want or res.get("status") != "error" or not 400 <= status < 500:
                raise Mismatch(f"HTTP {status}: {res.get('error')}")
            for kind, want in cmd.want["fail"] if self.opts.annotations == "full" else ():
                if not (re.search(want, res["error"]) if kind == "regex" else want in res["error"]):
                    raise Mismatch(f"error is {res['error']!r}, wanted {kind} {want!r}")
            return
        if "fail" in cmd.want:
            raise Mismatch(f"should fail, but gave {json.dumps(res['data'])[:300]}")
        if self.opts.annotations != "none" and only is None:
            self.check_annotations(cmd, res)
        kind, result = res["data"]["resultType"], res["data"]["result"]
        if only is not None and kind == "matrix":
            result = [{"metric": s["metric"], "value" if k == "values" else "histogram": p}
                      for s in result for k in ("values", "histograms") for p in s.get(k, [])
                      if abs(p[0] - only) < 0.0005]
            if cmd.scalar is not None:
                kind, result = "scalar", result[0]["value"] if result else [only, "nan"]
            else:
                kind = "vector"
        if kind == "string":
            if result[1] != cmd.string:
                raise Mismatch(f"string {result[1]!r}, wanted {cmd.string!r}")
        elif (kind == "scalar") != (cmd.scalar is not None):
            raise Mismatch(f"wanted {'a scalar' if cmd.scalar is not None else 'no scalar'}, got {kind} {str(result)[:300]}")
        elif kind == "scalar":
            if not almost(cmd.scalar, float(result[1])):
                raise Mismatch(f"scalar {result[1]}, wanted {cmd.scalar:g}")
        else:
            (self.check_vector if kind == "vector" else self.check_matrix)(cmd, result)

    def check_annotations(self, cmd, res):
        for kind, key in (("warn", "warnings"), ("info", "infos")):
            got = res.get(key) or []
            if got and "no_" + kind in cmd.want:
                raise Mismatch(f"unexpected {key}: {got}")
            want = cmd.want.get(kind, [])
            # what histograms that were not loaded would have told can't be expected
            if want and not got and self.opts.skip_native and self.native:
                continue
            if want and not got:
                raise Mismatch(f"no {key}, wanted {want}")
            if self.opts.annotations == "full" and want:
                hit = [[bool(re.search(w, g)) if k == "regex" else w in (g, re.sub(r" \(\d+:\d+\)$", "", g))
                        for g in got] for k, w in want]
                if not all(map(any, hit)) or not all(map(any, zip(*hit))):
                    raise Mismatch(f"{key} are {got}, wanted {want}")

    def keyed(self, cmd, result):
        """Pairs of label set and series, each checked to be expected and there once."""
        seen = set()
        for s in result:
            key = tuple(sorted(s["metric"].items()))
            if key not in cmd.expected:
                raise Mismatch(f"unexpected {show(key)}: {json.dumps({k: v for k, v in s.items() if k != 'metric'})[:300]}")
            if key in seen:
                raise Mismatch(f"twice: {show(key)}")
            seen.add(key)
            yield key, s
        for key in cmd.expected:
            if key not in seen:
                raise Mismatch(f"missing {show(key)} {str(cmd.expected[key])[:300]}")

    def check_vector(self, cmd, result):
        order = list(cmd.expected)
        for pos, (key, s) in enumerate(self.keyed(cmd, result)):
            if "ordered" in cmd.want and order[pos] != key:
                raise Mismatch(f"{show(key)} at position {pos + 1}, wanted {show(order[pos])} there")
            got = s["histogram"][1] if "histogram" in s else s["value"][1]
            if not same(cmd.expected[key][0], got):
                raise Mismatch(f"{show(key)} is {json.dumps(got)}, wanted {cmd.expected[key][0]}")

    def check_matrix(self, cmd, result):
        if self.opts.sorted and cmd.is_range:
            keys = [sorted(s["metric"].items()) for s in result]
            if keys != sorted(keys):
                raise Mismatch("series not sorted by labels")
        for key, s in self.keyed(cmd, result):
            got = {round((t - self.base) * 1000): v for k in ("values", "histograms") for t, v in s.get(k, [])}
            want = {cmd.start + i * cmd.step: v for i, v in enumerate(cmd.expected[key]) if v is not None}
            for t in sorted(set(got) | set(want)):
                if t not in got or t not in want or not same(want[t], got[t]):
                    raise Mismatch(f"{show(key)} at {t / 1000:g}s is {json.dumps(got.get(t))}, "
                                   f"wanted {want.get(t)}; all: {json.dumps(list(got.values()))[:300]}")


# ---------------------------------------------------------------- command line

def script_files(args):
    paths = []
    for p in args.testdata:
        paths += sorted(glob.glob(os.path.join(p, "*.test"))) if os.path.isdir(p) else [p]
    return [p for p in paths if not args.file or any(re.search(f, os.path.basename(p)) for f in args.file)]


def read_script(path):
    with open(path, encoding="utf-8") as f:
        try:
            return parse_script(f.read())
        except ScriptError as e:
            sys.exit(f"{path}: {e}")


def describe(cmd):
    when = f"range {cmd.start / 1000:g}..{cmd.end / 1000:g} step {cmd.step / 1000:g}" if cmd.is_range else f"at {cmd.at / 1000:g}"
    return f"{when}s: {cmd.expr}"


def run_file(path, runner, args):
    """Run (or with --list only judge) each case of a file; yield result records."""
    name = os.path.basename(path)
    cmds = read_script(path)
    excluded = set()
    if args.exclude and os.path.exists(other := os.path.join(args.exclude, name)):
        excluded = {(c.line, c.expr) for c in read_script(other) if isinstance(c, Eval)}
    section = 1
    runner.reset() if args.list else runner.clear()
    for cmd in cmds:
        if cmd == "clear":
            section += 1
            runner.reset() if args.list else runner.clear()
        elif isinstance(cmd, Load):
            runner.note(cmd) if args.list else runner.load(cmd)
        elif (cmd.line, cmd.expr) not in excluded:
            rec = {"file": name, "line": cmd.line, "section": section, "case": describe(cmd),
                   "native": runner.is_native(cmd), "status": "passed"}
            reason = runner.skip_reason(cmd)
            if reason:
                rec.update(status="skipped", why=reason)
            elif not args.list:
                try:
                    runner.run(cmd)
                except Mismatch as e:
                    rec.update(status="failed", why=str(e))
                    if runner.load_errors:
                        rec["load_errors"] = list(runner.load_errors)
            yield rec


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--testdata", action="append", required=True, metavar="DIR", help="folder of *.test files, or one file; may be repeated")
    p.add_argument("--file", action="append", metavar="PATTERN", help="only the files whose name matches this regexp; may be repeated")
    p.add_argument("--exclude", metavar="DIR", help="leave out the cases that the file of the same name there has at the same line")
    p.add_argument("--url", help="base of the HTTP API: /api/v1/query follows")
    p.add_argument("--write-url", help="remote_write address (default: URL/api/v1/write)")
    p.add_argument("--clear-cmd", help="shell command that leaves the server without data")
    p.add_argument("--flush-cmd", help="shell command run after each load, until what was written can be queried")
    p.add_argument("--base", default="0", help="time in Unix seconds that stands for the scripts' 0; 'auto': ten days ago, "
                   "rounded down to whole weeks so that steps and weekdays keep their alignment (default: 0)")
    p.add_argument("--annotations", choices=("none", "presence", "full"), default="none",
                   help="check that warnings and infos are there as expected, or also their and the errors' text (default: none)")
    p.add_argument("--also-range", action="store_true", help="ask each instant query as a range query too, as promqltest does")
    p.add_argument("--sorted", action="store_true", help="range answers must be sorted by labels, as promqltest wants")
    p.add_argument("--skip-native", action="store_true", help="skip cases about native histograms")
    p.add_argument("--method", choices=("GET", "POST"), default="GET")
    p.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    p.add_argument("--list", action="store_true", help="only count the cases")
    p.add_argument("--json", metavar="FILE", help="write all results there ('-': standard output, instead of the table)")
    p.add_argument("-v", "--verbose", action="store_true", help="print each failing case")
    args = p.parse_args()
    if not args.list and not (args.url and args.clear_cmd):
        p.error("--url and --clear-cmd are needed, or --list")
    week = 7 * 86400
    base = int(time.time() - 10 * 86400) // week * week if args.base == "auto" else int(args.base)
    server = Server(args.url, args.write_url or f"{(args.url or '').rstrip('/')}/api/v1/write",
                    [h.split(": ", 1) for h in args.header], args.method)
    runner = Runner(server, base, args)
    out = sys.stderr if args.json == "-" else sys.stdout
    records, rows = [], {}
    files = script_files(args)
    if not files:
        p.error("no test files")
    for path in files:
        row = rows[path] = {"passed": 0, "failed": 0, "skipped": 0}
        try:
            for rec in run_file(path, runner, args):
                records.append(rec)
                row[rec["status"]] += 1
                if args.verbose and rec["status"] == "failed":
                    print(f"FAIL {rec['file']}:{rec['line']} {rec['case']}\n     {rec['why']}", file=out)
                    for e in rec.get("load_errors", ()):
                        print(f"     ({e})", file=out)
        except subprocess.CalledProcessError as e:
            sys.exit(f"{path}: {e}")
        word = "cases" if args.list else "passed"
        print(f"{os.path.basename(path):28} {row['passed']:5} {word}" +
              ("" if args.list else f" {row['failed']:5} failed") + f" {row['skipped']:5} skipped", file=out, flush=True)
    total = {k: sum(r[k] for r in rows.values()) for k in ("passed", "failed", "skipped")}
    native = [r["status"] for r in records if r["native"]]
    whys = {}
    for r in records:
        if r["status"] == "skipped":
            whys[r["why"]] = whys.get(r["why"], 0) + 1
    for why, n in whys.items():
        print(f"skipped {n}: {why}", file=out)
    print(f"of these about native histograms: {len(native)} cases, {native.count('passed')} "
          f"{'to run' if args.list else 'passed'}", file=out)
    if args.list:
        print(f"{sum(total.values())} cases, {total['passed']} to run, {total['skipped']} skipped", file=out)
    else:
        print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped", file=out)
    if args.json:
        with sys.stdout if args.json == "-" else open(args.json, "w", encoding="utf-8") as f:
            json.dump({"total": total, "files": rows, "cases": records}, f, indent=1)
    sys.exit(1 if total["failed"] else 0)


if __name__ == "__main__":
    main()

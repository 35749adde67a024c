"""The script language of promqltest: text -> the commands Load, Eval and "clear"."""
import re

from values import STALE, Histogram, nhcb


class ScriptError(Exception):
    pass


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

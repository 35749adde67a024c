"""A script's commands are run: what is loaded, what is asked, and whether the answer is the expected one."""
import json
import re
import subprocess

from script import duration, number
from server import write_request
from values import Histogram, almost, same

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

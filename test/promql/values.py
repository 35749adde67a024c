"""Values of the scripts: floats, native histograms, staleness; and when an answer's value is the same."""
import math
import re
import sys

EPSILON = 1e-6              # relative error allowed, as in promqltest
STALE = object()            # a staleness marker in a series of values
MIN_NORMAL = sys.float_info.min
CUSTOM_BUCKETS = -53        # schema of native histograms with custom buckets


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
            raise ValueError(f"histogram keys {unknown}")

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
            raise ValueError("sum of histograms with different custom buckets")
        width = max(self.width, other.width)
        schema = min(self.schema, other.schema)
        res = Histogram(schema, self.count + sign * other.count, self.sum + sign * other.sum,
                        self.zero + sign * other.zero, width, self.custom, hint=self.hint)
        for src, f in ((self, 1), (other, sign)):
            for mine, theirs in ((res.pos, src.pos), (res.neg, src.neg)):
                for i, c in theirs.items():
                    i = ((i - 1) >> (src.schema - schema)) + 1 if src.schema > schema else i
                    if c and schema != CUSTOM_BUCKETS and bound(i - 1, schema) < width > src.width:
                        raise ValueError("sum of histograms with overlapping zero buckets")
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

"""The server that is asked: samples go in by remote write 1.0, queries are asked over the HTTP API."""
import json
import os
import struct
import sys
import urllib.error
import urllib.parse
import urllib.request

from values import STALE, Histogram

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "contrib", "setup"))
from prompb import WRITE_HEADERS, field, labels, sample, snappy, zigzag

STALE_BITS = struct.pack("<Q", 0x7FF0000000000002)


def histogram(h, t):
    out = field(2, h.count) + field(3, h.sum) + field(4, zigzag(h.schema)) + field(5, h.width) + field(7, h.zero)
    for number, counts in ((8, h.neg), (11, h.pos)):
        spans, last = [], None
        for i in sorted(counts):
            if last is not None and i == last + 1:
                spans[-1][1] += 1
            else:
                spans.append([i if last is None else i - last - 1, 1])
            last = i
        out += b"".join(field(number, field(1, zigzag(o)) + field(2, n)) for o, n in spans)
        if counts:
            out += field(number + 2, b"".join(struct.pack("<d", counts[i]) for i in sorted(counts)))
    out += field(14, h.hint) + field(15, t)
    return out + (field(16, struct.pack(f"<{len(h.custom)}d", *h.custom)) if h.custom else b"")


def timeseries(metric, points, base_ms=0):
    out = bytearray(labels(sorted(metric.items())))
    hist = any(isinstance(v, Histogram) for _, v in points)
    for t, v in points:
        if isinstance(v, Histogram):
            out += field(4, histogram(v, t + base_ms))
        elif hist:      # a staleness marker between histograms is a histogram too
            stale, = struct.unpack("<d", STALE_BITS)
            out += field(4, histogram(Histogram(total=stale), t + base_ms))
        else:
            out += sample(t + base_ms, STALE_BITS if v is STALE else v)
    return field(1, bytes(out))


def write_request(series, base_ms=0):
    """The body of a remote_write request for [(labels, [(ms, value)])]."""
    return snappy(b"".join(timeseries(metric, points, base_ms) for metric, points in series))


class Server:
    def __init__(self, url, write_url=None, headers=(), method="GET", timeout=180):
        self.url, self.write_url = (url or "").rstrip("/"), write_url
        self.headers, self.method, self.timeout = dict(headers), method, timeout

    def write(self, body):
        """Send a write_request; return an error text or None."""
        req = urllib.request.Request(self.write_url, body, {**WRITE_HEADERS, **self.headers})
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

"""Recorded series, and how they are sent: what replay, rollup and blocks share."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "setup"))
from prompb import WRITE_HEADERS, field, labels, sample


def pairs_of(text):
    """The label set as pairs; the text is as Prometheus prints it."""
    out, i = [], text.index("{") + 1
    while text[i] != "}":
        name, i = text[i:text.index("=", i)], text.index("=", i) + 2
        value = ""
        while text[i] != '"':
            if text[i] == "\\":
                i += 1
                value += {"n": "\n"}.get(text[i], text[i])
            else:
                value += text[i]
            i += 1
        i += 1
        while text[i] in ", ":
            i += 1
        out.append((name, value))
    return out


def read(path):
    """[(target, labels, times, value bits)]"""
    with open(path, "rb") as f:
        data = f.read()
    if data[:8] != b"PMDS0001":
        raise SystemExit(f"{path} is no such file (is it still packed?)")
    nseries, at, out = struct.unpack_from("<I", data, 28)[0], 32, []
    for _ in range(nseries):
        target, _, length = struct.unpack_from("<III", data, at)
        text = data[at + 12:at + 12 + length].decode()
        n = struct.unpack_from("<I", data, at + 12 + length)[0]
        at += 16 + length
        out.append((target, pairs_of(text), struct.unpack_from(f"<{n}q", data, at), struct.unpack_from(f"<{n}Q", data, at + 8 * n)))
        at += 16 * n
    return out


def head(pairs, number):
    """The label set as protobuf; each copy of a target is an instance of its own."""
    if number:
        pairs = sorted(pairs + [("replica", str(number))])
    return labels(pairs)


def post(connection, packed):
    """Send a body of remote write 1.0."""
    connection.request("POST", "/api/v1/write", packed, WRITE_HEADERS)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status // 100 != 2:
        raise SystemExit(f"{answer.status} {text[:300]}")


def bodies(series, every, times, targets, end_ms):
    """Bodies in the order of time, the last sample at end_ms, and how many samples each has."""
    first = min(s[2][0] for s in series)
    last = max(s[2][-1] for s in series)
    shift = end_ms - (last + (times - 1) * (last - first + every * 1000))
    scrapes = {}
    for target, pairs, ts, bits in series:
        heads = [head(pairs, number) for number in range(targets)]
        for k in range(0, len(ts), every):
            scrapes.setdefault((ts[k], target), []).append((heads, bits[k]))
    order = sorted(scrapes)
    for turn in range(times):
        base = shift + turn * (last - first + every * 1000)
        for key in order:
            out = []
            for number in range(targets):
                for heads, bits in scrapes[key]:
                    out.append(field(1, heads[number] + sample(key[0] + base, struct.pack("<Q", bits))))
                yield b"".join(out), len(out)
                out = []

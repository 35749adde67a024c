#!/usr/bin/env python3
"""Ask a remote read endpoint and print what it answers, a sample a line: labels, time, bits of the value, or the
populated buckets of a native histogram and the rest of it as JSON.

    remote_read.py URL samples|chunks|chunks-of-any-size START_MS END_MS NAME=VALUE|NAME!=VALUE|NAME=~RE|NAME!~RE ...

A matcher "--" begins another query.  What is wrong with the answer's form ends it with status 1: CRC, order of
series, chunks that overlap, more than 120 samples in a
chunk, counters that fall in one.  Prints the HTTP status and the text of an error.
"""
import json
import os
import re
import struct
import sys
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "contrib", "setup"))
from prompb import READ_HEADERS, field, fields, get_varint, signed, snappy, unsnappy, unzigzag


CRC = []
for i in range(256):
    c = i
    for _ in range(8):
        c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    CRC.append(c)


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = CRC[(c ^ b) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF


class Bits:
    def __init__(self, data):
        self.n, self.left = int.from_bytes(data, "big"), len(data) * 8

    def get(self, n):
        self.left -= n
        assert self.left >= 0, "end of the chunk"
        return self.n >> self.left & ((1 << n) - 1)

    def width(self):
        i = 0
        while i < 8 and self.get(1):
            i += 1
        return (0, 3, 6, 9, 12, 18, 25, 56, 64)[i]

    def signed(self):
        width = self.width()
        v = self.get(width)
        return v - (1 << width) if width and v > 1 << (width - 1) else v

    def unsigned(self):
        return self.get(self.width())

    def varint(self):
        n = shift = 0
        while True:
            c = self.get(8)
            n |= (c & 127) << shift
            shift += 7
            if c < 128:
                return n


def xor_chunk(data):
    bits = Bits(data)
    count = bits.get(16)
    z = bits.varint()
    t, v = z >> 1 ^ -(z & 1), bits.get(64)
    samples = [(t, v)]
    delta = leading = trailing = 0
    while len(samples) < count:
        if len(samples) == 1:
            delta = bits.varint()
        else:
            width = 0
            for width in (0, 14, 17, 20, 64):
                if width == 64 or not bits.get(1):
                    break
            if width:
                dod = bits.get(width)
                if dod > 1 << (width - 1):
                    dod -= 1 << width
                delta += dod
        t += delta
        if bits.get(1):
            if bits.get(1):
                leading, significant = bits.get(5), bits.get(6) or 64
                trailing = 64 - leading - significant
            v ^= bits.get(64 - leading - trailing) << trailing
        samples.append((t, v))
    assert bits.left < 8, "bytes behind the chunk"
    return samples


def read_labels(found):
    pairs = []
    for label in found:
        f = dict(fields(label))
        pairs.append((f.get(1, b"").decode(), f.get(2, b"").decode()))
    assert pairs == sorted(pairs), "order of labels"
    return pairs


def show(query, pairs, samples):
    for t, v in samples:
        text = f"{v:016x}" if isinstance(v, int) else json.dumps(v, sort_keys=True)
        print(query, json.dumps(dict(pairs), sort_keys=True, ensure_ascii=False), t, text)


# ---- native histograms ----

CUSTOM = -53


def double(bits):
    return struct.unpack(">d", bits.to_bytes(8, "big"))[0]


def histogram(is_int, gauge, schema, width, count, zero, total, spans, buckets, custom):
    """As printed: spans and counts of both sides, positive first, become buckets by index."""
    out = {"int": int(is_int), "gauge": int(gauge), "schema": schema, "width": width, "count": count, "zero": zero,
           "sum": "nan" if total != total else total, "custom": custom}
    for side, name in enumerate(("buckets", "n_buckets")):
        indexes = []
        at = 0
        for offset, length in spans[side]:
            at += offset
            indexes += range(at, at + length)
            at += length
        assert len(indexes) == len(buckets[side]), "buckets and spans"
        out[name] = {str(i): n for i, n in zip(indexes, buckets[side]) if n}
    return out


def packed(data):
    at, out = 0, []
    while at < len(data):
        n, at = get_varint(data, at)
        out.append(n)
    return out


def doubles(data):
    return [v[0] for v in struct.iter_unpack("<d", data)]


def histogram_message(data):
    found = list(fields(data))
    f = dict(found)
    is_int = 2 not in f
    get = lambda n: struct.unpack("<d", f.get(n, bytes(8)))[0]
    sides = ((11, 12, 13), (8, 9, 10))
    spans, buckets = [], []
    for span, deltas, counts in sides:
        spans.append([(unzigzag(s.get(1, 0)), s.get(2, 0)) for s in (dict(fields(v)) for n, v in found if n == span)])
        if is_int:
            total, side = 0, []
            for d in packed(f.get(deltas, b"")):
                total += unzigzag(d)
                side.append(total)
            buckets.append(side)
        else:
            buckets.append(doubles(f.get(counts, b"")))
    count, zero = (f.get(1, 0), f.get(6, 0)) if is_int else (get(2), get(7))
    return signed(f.get(15, 0)), histogram(is_int, f.get(14, 0) == 3, unzigzag(f.get(4, 0)), get(5), count, zero, get(3), spans, buckets,
                                           doubles(f.get(16, b"")))


class Column:
    """A number of each sample of a chunk: whole ones by the change of their change, floats by XOR."""

    def __init__(self):
        self.v = self.change = self.leading = self.trailing = 0
        self.first = True

    def whole(self, bits, unsigned=False):
        if self.first:
            self.v = bits.unsigned() if unsigned else bits.signed()
        else:
            self.change += bits.signed()
            self.v += self.change
        self.first = False
        return self.v

    def float(self, bits):
        if self.first:
            self.v = bits.get(64)
        elif bits.get(1):
            if bits.get(1):
                self.leading, significant = bits.get(5), bits.get(6) or 64
                self.trailing = 64 - self.leading - significant
            self.v ^= bits.get(64 - self.leading - self.trailing) << self.trailing
        self.first = False
        return double(self.v)


def histogram_chunk(data, is_int):
    bits = Bits(data)
    count, flags = bits.get(16), bits.get(8) >> 6
    width = bits.get(8)
    width = 0 if width == 0 else double(bits.get(64)) if width == 255 else 2.0 ** (width - 244)
    schema = bits.signed()
    spans = []
    for _ in range(2):
        side = []
        for _ in range(bits.unsigned()):
            length = bits.unsigned()
            side.append((bits.signed(), length))
        spans.append(side)
    custom = []
    if schema == CUSTOM:
        for _ in range(bits.unsigned()):
            v = bits.unsigned()
            custom.append((v - 1) / 1000 if v else double(bits.get(64)))
    columns = [Column() for _ in range(4)]
    sides = [[Column() for _ in range(sum(length for _, length in side))] for side in spans]
    out, last = [], None
    for _ in range(count):
        t = columns[0].whole(bits)
        n, zero = (c.whole(bits, True) if is_int else c.float(bits) for c in columns[1:3])
        total = columns[3].float(bits)
        buckets = []
        for side in sides:
            found, at = [], 0
            for c in side:
                at = at + c.whole(bits) if is_int else c.float(bits)
                found.append(at)
            buckets.append(found)
        now = [n, zero] + buckets[0] + buckets[1]
        assert last is None or flags == 3 or all(a <= b for a, b in zip(last, now)), "a counter that falls in a chunk"
        last = now
        out.append((t, histogram(is_int, flags == 3, schema, width, n, zero, total, spans, buckets, custom)))
    assert bits.left < 8, "bytes behind the chunk"
    return out


def decode_chunk(kind, data):
    assert kind in (1, 2, 3), "type of a chunk"
    return xor_chunk(data) if kind == 1 else histogram_chunk(data, kind == 2)


# ---- answers ----


def take_samples(body):
    for query, (_, result) in enumerate(fields(unsnappy(body))):
        last = None
        for _, series in fields(result):
            found = list(fields(series))
            pairs = read_labels(v for n, v in found if n == 1)
            assert last is None or last < pairs, "order of series"
            last = pairs
            samples = []
            for sample in (dict(fields(v)) for n, v in found if n == 2):
                samples.append((signed(sample.get(2, 0)), int.from_bytes(sample.get(1, b""), "little")))
            samples += [histogram_message(v) for n, v in found if n == 4]
            show(query, pairs, sorted(samples, key=lambda s: s[0]))


def take_chunks(body, most):
    at = 0
    last = None
    while at < len(body):
        n, at = get_varint(body, at)
        crc, frame = body[at:at + 4], body[at + 4:at + 4 + n]
        at += 4 + n
        assert len(frame) == n, "length of the frame"
        assert n <= 1 << 20, "frames have a limit"
        assert int.from_bytes(crc, "big") == crc32c(frame), "CRC"
        found = list(fields(frame))
        query = dict(found).get(2, 0)
        for series in (v for number_, v in found if number_ == 1):
            parts = list(fields(series))
            pairs = read_labels(v for n_, v in parts if n_ == 1)
            for chunk in (dict(fields(v)) for n_, v in parts if n_ == 2):
                samples = decode_chunk(chunk[3], chunk[4])
                assert 1 <= len(samples) <= most, "size"
                assert samples[0][0] == signed(chunk.get(1, 0)) and samples[-1][0] == signed(chunk.get(2, 0)), "times of the chunk"
                now = (query, pairs, samples[0][0])
                assert last is None or last < now, "order of series and chunks"
                last = (query, pairs, samples[-1][0])
                show(query, pairs, samples)


def request(kind, start, end, matchers):
    out = b""
    queries = [[]]
    for m in matchers:
        if m == "--":
            queries.append([])
        else:
            queries[-1].append(re.match(r"(.*?)(!=|=~|!~|=)(.*)$", m, re.S).groups())
    for query in queries:
        body = field(1, start) + field(2, end)
        for name, op, value in query:
            body += field(3, field(1, ("=", "!=", "=~", "!~").index(op)) + field(2, name) + field(3, value))
        out += field(1, body)
    return snappy(out + (field(2, 1) if kind != "samples" else b""))


def main():
    url, kind, start, end = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, data=request(kind, start, end, sys.argv[5:]), headers=READ_HEADERS))
    except urllib.error.HTTPError as e:
        print(e.code, e.read().decode())
        return
    body = answer.read()
    if kind == "samples":
        assert answer.headers["Content-Type"] == "application/x-protobuf" and answer.headers["Content-Encoding"] == "snappy", "headers"
        take_samples(body)
    else:
        assert answer.headers["Content-Type"].startswith("application/x-streamed-protobuf"), "headers"
        assert answer.headers["Content-Encoding"] is None, "headers"
        take_chunks(body, 120 if kind == "chunks" else 65535)


if __name__ == "__main__":
    main()

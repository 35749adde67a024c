#!/usr/bin/env python3
"""Ask a remote read endpoint and print what it answers, a sample a line: labels, time, bits of the value.

    remote_read.py URL samples|chunks START_MS END_MS NAME=VALUE|NAME!=VALUE|NAME=~RE|NAME!~RE ...

A matcher "--" begins another query.  What is wrong with the answer's form ends it with status 1: CRC, order of
series, chunks that overlap, more than 120 samples in a chunk.  Prints the HTTP status and the text of an error.
"""
import json
import re
import struct
import sys
import urllib.error
import urllib.request


def put_varint(n):
    out = b""
    n &= (1 << 64) - 1
    while True:
        low = n & 127
        n >>= 7
        out += bytes([low | 128 if n else low])
        if not n:
            return out


def message(number, body):
    return put_varint(number << 3 | 2) + put_varint(len(body)) + body


def number(field, n):
    return put_varint(field << 3) + put_varint(n)


def snappy(data):
    out = put_varint(len(data))
    for at in range(0, len(data), 65536):
        part = data[at:at + 65536]
        out += b"\xf4" + struct.pack("<H", len(part) - 1) + part
    return out


def get_varint(data, at):
    n = shift = 0
    while True:
        c = data[at]
        at += 1
        n |= (c & 127) << shift
        shift += 7
        if c < 128:
            return n, at


def unsnappy(data):
    size, at = get_varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            n = tag >> 2
            if n >= 60:
                extra = n - 59
                n = int.from_bytes(data[at:at + extra], "little")
                at += extra
            out += data[at:at + n + 1]
            at += n + 1
            continue
        if tag & 3 == 1:
            n, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[at]
            at += 1
        else:
            width = 2 if tag & 3 == 2 else 4
            n, offset = (tag >> 2) + 1, int.from_bytes(data[at:at + width], "little")
            at += width
        for _ in range(n):
            out.append(out[-offset])
    assert len(out) == size, "length of the snappy block"
    return bytes(out)


def fields(data):
    at = 0
    while at < len(data):
        tag, at = get_varint(data, at)
        if tag & 7 == 0:
            value, at = get_varint(data, at)
        elif tag & 7 == 1:
            value, at = data[at:at + 8], at + 8
        else:
            assert tag & 7 == 2, "wire type"
            n, at = get_varint(data, at)
            value, at = data[at:at + n], at + n
            assert len(value) == n, "length of a field"
        yield tag >> 3, value


def signed(n):
    return n - (1 << 64) if n >> 63 else n


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
    for t, bits in samples:
        print(query, json.dumps(dict(pairs), sort_keys=True, ensure_ascii=False), t, f"{bits:016x}")


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
            show(query, pairs, samples)


def take_chunks(body):
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
                samples = xor_chunk(chunk[4])
                assert chunk[3] == 1 and 1 <= len(samples) <= 120, "type and size"
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
        body = number(1, start) + number(2, end)
        for name, op, value in query:
            body += message(3, number(1, ("=", "!=", "=~", "!~").index(op)) + message(2, name.encode()) + message(3, value.encode()))
        out += message(1, body)
    return snappy(out + (number(2, 1) if kind == "chunks" else b""))


def main():
    url, kind, start, end = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Read-Version": "0.1.0"}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, data=request(kind, start, end, sys.argv[5:]), headers=headers))
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
        take_chunks(body)


if __name__ == "__main__":
    main()

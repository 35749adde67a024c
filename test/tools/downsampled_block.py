#!/usr/bin/env python3
"""Writes blocks as Thanos downsamples them.

    downsampled_block.py DIRECTORY RESOLUTION_MS WINDOWS [LABEL=VALUE ...] < lines

A line is a series' labels as JSON, a tab, a time in ms, a tab, a value; series sorted, times ascending.  A block of
300000 is made of the samples, one of 3600000 of what that would have been; a chunk has about WINDOWS
windows.  The labels are the external ones of meta.json.  Prints the block's name.

Windows are [k * resolution, (k + 1) * resolution), stamped with their last millisecond, but not after the last
sample of the chunk.  The counter begins with the first sample, goes on with the total of each window, resets
taken out, and ends with the value of the last sample, at the time of the last window.
"""

import hashlib
import json
import math
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "contrib", "setup"))
from prompb import varint, zigzag

FIVE_MINUTES = 300000
KINDS = ("count", "sum", "min", "max", "counter")


# ---- downsampling


class Window:
    def __init__(self):
        self.count = 0
        self.sum = 0.0
        self.min = math.inf
        self.max = -math.inf
        self.total = 0.0
        self.before = None

    def clear(self):
        self.count, self.sum, self.min, self.max = 0, 0.0, math.inf, -math.inf

    def add(self, v):
        if self.before is None:
            self.total = v
        elif v < self.before:
            self.total += v
        else:
            self.total += v - self.before
        self.before = v
        self.count += 1
        self.sum += v
        self.min = min(self.min, v)
        self.max = max(self.max, v)


def window_of(t, resolution):
    return t - t % resolution + resolution - 1


def each_window(samples, resolution, take):
    """Calls take(stamp, window) for each; the last stamp."""
    w = Window()
    stamp = None
    for t, v in samples:
        if stamp is None or t > stamp:
            if stamp is not None:
                take(stamp, w)
            w.clear()
            stamp = min(window_of(t, resolution), samples[-1][0])
        w.add(v)
    take(stamp, w)
    return stamp


def from_samples(samples, resolution):
    """One chunk."""
    out = {kind: [] for kind in KINDS}
    out["counter"].append(samples[0])

    def take(stamp, w):
        for kind, v in zip(KINDS, (w.count, w.sum, w.min, w.max, w.total)):
            out[kind].append((stamp, float(v)))

    last = each_window(samples, resolution, take)
    out["counter"].append((last, samples[-1][1]))
    return out


def from_chunks(chunks, resolution):
    """One chunk of finer ones."""
    out = {kind: [] for kind in KINDS}
    for kind, field in (("count", "sum"), ("sum", "sum"), ("min", "min"), ("max", "max")):
        samples = [s for chunk in chunks for s in chunk[kind]]
        each_window(samples, resolution, lambda t, w: out[kind].append((t, float(getattr(w, field)))))
    total, before, before_t, samples = 0.0, None, None, []
    for t, v in (s for chunk in chunks for s in chunk["counter"]):
        if before is None:
            total = v
        elif t == before_t:
            before = v
            continue
        else:
            total += v if v < before else v - before
        before, before_t = v, t
        samples.append((t, total))
    out["counter"].append(samples[0])
    last = each_window(samples, resolution, lambda t, w: out["counter"].append((t, w.total)))
    out["counter"].append((last, before))
    return out


def chunks_of(samples, resolution, windows):
    chunks = []
    while samples:
        end = window_of(samples[0][0], FIVE_MINUTES) + (windows - 1) * FIVE_MINUTES
        n = sum(1 for t, _ in samples if t <= end)
        chunks.append(from_samples(samples[:n], FIVE_MINUTES))
        samples = samples[n:]
    if resolution == FIVE_MINUTES:
        return chunks
    at_once = max(1, resolution // FIVE_MINUTES)
    return [from_chunks(chunks[i:i + at_once], resolution) for i in range(0, len(chunks), at_once)]


# ---- bytes


TABLE = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
    TABLE.append(i)


def crc(data):
    c = 0xFFFFFFFF
    for b in data:
        c = TABLE[(c ^ b) & 0xFF] ^ c >> 8
    return struct.pack(">I", c ^ 0xFFFFFFFF)


class Bits:
    def __init__(self):
        self.text = []

    def put(self, v, n):
        self.text.append(format(v & (1 << n) - 1, f"0{n}b"))

    def put_bytes(self, data):
        for b in data:
            self.put(b, 8)

    def done(self):
        text = "".join(self.text)
        text += "0" * (-len(text) % 8)
        return int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:]


def bits_of(v):
    return struct.unpack(">Q", struct.pack(">d", v))[0]


def xor_chunk(samples):
    out = Bits()
    out.put(len(samples), 16)
    window = None
    for i, (t, v) in enumerate(samples):
        if i == 0:
            out.put_bytes(varint(zigzag(t)))
            out.put(bits_of(v), 64)
        else:
            delta = t - samples[i - 1][0]
            if i == 1:
                out.put_bytes(varint(delta))
            else:
                change = delta - before
                for prefix, size, width in ((2, 2, 14), (6, 3, 17), (14, 4, 20), (15, 4, 64)):
                    if change == 0:
                        out.put(0, 1)
                        break
                    if -(1 << width - 1) < change <= 1 << width - 1:
                        out.put(prefix, size)
                        out.put(change, width)
                        break
            before = delta
            x = bits_of(v) ^ bits_of(samples[i - 1][1])
            if x == 0:
                out.put(0, 1)
                continue
            leading, trailing = min(64 - x.bit_length(), 31), (x & -x).bit_length() - 1
            if window and leading >= window[0] and trailing >= window[1]:
                out.put(2, 2)
            else:
                window = (leading, trailing)
                out.put(3, 2)
                out.put(leading, 5)
                out.put(64 - leading - trailing & 63, 6)
            out.put(x >> window[1], 64 - window[0] - window[1])
    return out.done()


def aggregate_chunk(chunk):
    out = b""
    for kind in KINDS:
        data = xor_chunk(chunk[kind])
        out += varint(len(data)) + b"\x01" + data
    return out


# ---- files


def write_block(directory, resolution, external, series):
    name = "01" + format(resolution, "08d") + format(int(hashlib.sha256(str(series).encode()).hexdigest(), 16) % 10**16, "016d")
    path = os.path.join(directory, name)
    os.makedirs(path + "/chunks")
    segment = bytearray(struct.pack(">IB3x", 0x85BD40DD, 1))
    places = []
    for _, chunks in series:
        refs = []
        for chunk in chunks:
            data = b"\xff" + aggregate_chunk(chunk)
            times = [t for kind in KINDS for t, _ in chunk[kind]]
            refs.append((min(times), max(times), len(segment)))
            segment += varint(len(data) - 1) + data + crc(data)
        places.append(refs)
    with open(path + "/chunks/000001", "wb") as f:
        f.write(segment)
    with open(path + "/index", "wb") as f:
        f.write(index(series, places))
    first = min(r[0] for refs in places for r in refs)
    last = max(r[1] for refs in places for r in refs)
    meta = {"ulid": name, "minTime": first, "maxTime": last + 1, "version": 1,
            "compaction": {"level": 3, "sources": [name]},
            "thanos": {"version": 1, "labels": external, "downsample": {"resolution": resolution}, "source": "compactor"}}
    with open(path + "/meta.json", "w") as f:
        json.dump(meta, f)
    return name


def index(series, places):
    symbols = sorted({""} | {s for labels, _ in series for pair in labels.items() for s in pair}, key=lambda s: s.encode())
    number = {s: i for i, s in enumerate(symbols)}
    body = struct.pack(">I", len(symbols)) + b"".join(varint(len(s.encode())) + s.encode() for s in symbols)
    out = bytearray(struct.pack(">IB", 0xBAAAD700, 2))
    symbols_at = len(out)
    out += struct.pack(">I", len(body)) + body + crc(body)
    out += b"\0" * (-len(out) % 16)
    series_at = len(out)
    ids = []
    for (labels, _), refs in zip(series, places):
        out += b"\0" * (-len(out) % 16)
        ids.append(len(out) // 16)
        entry = varint(len(labels))
        for pair in sorted(labels.items(), key=lambda p: p[0].encode()):
            entry += b"".join(varint(number[s]) for s in pair)
        entry += varint(len(refs))
        for i, (first, last, ref) in enumerate(refs):
            if i == 0:
                entry += varint(zigzag(first)) + varint(last - first) + varint(ref)
            else:
                entry += varint(first - refs[i - 1][1]) + varint(last - first) + varint(zigzag(ref - refs[i - 1][2]))
        out += varint(len(entry)) + entry + crc(entry)
    series_end = len(out)
    body = struct.pack(">I", len(ids)) + b"".join(struct.pack(">I", i) for i in ids)
    out += b"\0" * (-len(out) % 4)
    postings_at = len(out)
    out += struct.pack(">I", len(body)) + body + crc(body)
    body = struct.pack(">I", 1) + varint(2) + b"\0\0" + varint(postings_at)
    table_at = len(out)
    out += struct.pack(">I", len(body)) + body + crc(body)
    toc = struct.pack(">6Q", symbols_at, series_at, series_end, 0, postings_at, table_at)
    return bytes(out + toc + crc(toc))


def main():
    directory, resolution, windows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    external = dict(pair.split("=", 1) for pair in sys.argv[4:])
    found = {}
    for line in sys.stdin:
        labels, t, v = line.rstrip("\n").split("\t")
        if not math.isnan(float(v)):
            found.setdefault(labels, []).append((int(t), float(v)))
    series = sorted(((json.loads(labels), samples) for labels, samples in found.items()), key=lambda s: sorted(s[0].items()))
    print(write_block(directory, resolution, external, [(labels, chunks_of(samples, resolution, windows)) for labels, samples in series]))


main()

#!/usr/bin/env python3
"""Some days of generated counters, sent to promgres as a Prometheus would send them: remote write 1.0, with old timestamps.

    history.py URL FROM TO        (seconds since 1970; a sample of each series a minute, half a minute past it)

Each of the cities of a shop has a counter of orders for each way to pay.  Prints how many series and samples were taken.
"""
import random
import struct
import sys
import urllib.request

CITIES = ["Berlin", "Lisbon", "Oslo", "Prague", "Vienna"]
WAYS = ["card", "cash", "invoice", "transfer"]


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, data):
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def series(labels, samples):
    out = b"".join(field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in sorted(labels.items()))
    return field(1, out + b"".join(field(2, b"\x09" + struct.pack("<d", v) + b"\x10" + varint(t)) for t, v in samples))


def snappy(data):
    """Snappy's block format with literals alone: it is small enough."""
    out = [varint(len(data))]
    for at in range(0, len(data), 65536):
        part = data[at : at + 65536]
        out.append(b"\xf4" + struct.pack("<H", len(part) - 1) + part)
    return b"".join(out)


def main():
    url, first, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(1)
    counters = [({"__name__": "shop_orders_total", "job": "shop", "city": city, "paid_by": way}, [0.0]) for city in CITIES for way in WAYS]
    sent = 0
    # A request has what came in within an hour.
    for begin in range(first, end, 3600):
        body = b""
        for labels, count in counters:
            samples = []
            for t in range(begin + 30, min(begin + 3600, end), 60):
                count[0] += chance.randrange(10)
                samples.append((t * 1000, count[0]))
            if samples:
                body += series(labels, samples)
                sent += len(samples)
        if body:
            urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/write", snappy(body), {
                "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}), timeout=60)
    print(f"{len(counters)} series, {sent} samples")


main()

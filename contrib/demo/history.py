#!/usr/bin/env python3
"""Some days of generated counters, sent to promgres as a Prometheus would send them: remote write 1.0, with old timestamps.

    history.py URL FROM TO        (seconds since 1970; a sample of each series a minute, half a minute past it)

Each of the cities of a shop has a counter of orders for each way to pay.  Prints how many series and samples were taken.
"""
import os
import random
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "setup"))
from prompb import WRITE_HEADERS, field, labels, sample, snappy

CITIES = ["Berlin", "Lisbon", "Oslo", "Prague", "Vienna"]
WAYS = ["card", "cash", "invoice", "transfer"]


def main():
    url, first, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(1)
    counters = [({"__name__": "shop_orders_total", "job": "shop", "city": city, "paid_by": way}, [0.0]) for city in CITIES for way in WAYS]
    sent = 0
    # A request has what came in within an hour.
    for begin in range(first, end, 3600):
        body = b""
        for pairs, count in counters:
            samples = []
            for t in range(begin + 30, min(begin + 3600, end), 60):
                count[0] += chance.randrange(10)
                samples.append(sample(t * 1000, count[0]))
            if samples:
                body += field(1, labels(sorted(pairs.items())) + b"".join(samples))
                sent += len(samples)
        if body:
            urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/write", snappy(body), WRITE_HEADERS), timeout=60)
    print(f"{len(counters)} series, {sent} samples")


main()

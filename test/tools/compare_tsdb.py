#!/usr/bin/env python3
"""Compare what a Prometheus holds with what promgres got from it, bit for bit.

  compare_tsdb.py samples --prometheus URL --start T --end T [--psql "COMMAND"] [--wait S]
      Every sample of Prometheus' own TSDB with T <= t <= T must be in promgres, with the same label
      set, the same timestamp and the same 64 bits, and promgres must have no other.

  compare_tsdb.py queries --prometheus URL --promgres URL --start T --end T FILE...
      Every query of the files must give the same answer from both HTTP APIs.  A line is
      "instant EXPR" or "range EXPR"; '#' opens a comment.

Prometheus is read through its remote read API, which hands out samples as they are stored, stale
markers included.  promgres is read with psql (the --psql command line; give the connection in the
PG* variables).  Times are Unix seconds.  Standard library only.  Ends with 0 only if all is equal.
"""
import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "contrib", "setup"))
from prompb import READ_HEADERS, field, fields, signed, snappy, unsnappy

STALE = "7ff0000000000002"
TOLERANCE = 1e-9            # relative; sums may be added up in another order


# ---------------------------------------------------------------- samples

def series_key(labels):
    return json.dumps(labels, sort_keys=True, ensure_ascii=False)


def prometheus_samples(url, start_ms, end_ms):
    """{series: {t_ms: bits in hex}} as the TSDB has it."""
    matcher = field(1, 2) + field(2, b"__name__") + field(3, b".+")     # type RE
    query = field(1, start_ms) + field(2, end_ms) + field(3, matcher)
    request = urllib.request.Request(url.rstrip("/") + "/api/v1/read", snappy(field(1, query)), READ_HEADERS)
    with urllib.request.urlopen(request, timeout=120) as answer:
        body = unsnappy(answer.read())
    found = {}
    for _, result in fields(body):
        for _, series in fields(result):
            labels, samples = {}, {}
            for number, value in fields(series):
                if number == 1:
                    pair = dict(fields(value))
                    labels[pair[1].decode()] = pair.get(2, b"").decode()
                elif number == 2:
                    sample = dict(fields(value))
                    samples[signed(sample.get(2, 0))] = sample.get(1, bytes(8))[::-1].hex()
            found.setdefault(series_key(labels), {}).update(samples)
    return found


SQL = """
SELECT pg_catalog.jsonb_build_array(labels::jsonb,
       pg_catalog.string_agg(t_ms || ':' || pg_catalog.encode(pg_catalog.float8send(value), 'hex'), ' '))
FROM prom.samples_of('{{__name__=~".+"}}', pg_catalog.to_timestamp({start}), pg_catalog.to_timestamp({end}))
GROUP BY labels
"""


def promgres_samples(psql, start_ms, end_ms):
    """The same from SQL, and the number of samples that came twice."""
    # A millisecond off on both sides, cut here: whichever ends the function includes.
    sql = SQL.format(start=f"{(start_ms - 1) / 1000:.3f}", end=f"{(end_ms + 1) / 1000:.3f}")
    run = subprocess.run(psql + ["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql],
                         stdout=subprocess.PIPE, check=True, encoding="utf-8")
    found, twice = {}, 0
    for line in run.stdout.splitlines():
        labels, samples = json.loads(line)
        mine = found.setdefault(series_key(labels), {})
        for item in samples.split():
            t, bits = item.split(":")
            if start_ms <= int(t) <= end_ms:
                twice += int(t) in mine
                mine[int(t)] = bits
    return {key: samples for key, samples in found.items() if samples}, twice


def differences(want, got):
    """(kind, series, t_ms, bits there, bits here) for each sample that is not equal."""
    for key in want.keys() | got.keys():
        theirs, mine = want.get(key, {}), got.get(key, {})
        if theirs == mine:
            continue
        for t in sorted(theirs.keys() | mine.keys()):
            if theirs.get(t) != mine.get(t):
                kind = "missing" if t not in mine else "too many" if t not in theirs else "other bits"
                yield kind, key, t, theirs.get(t), mine.get(t)


def compare_samples(args):
    start_ms, end_ms = round(args.start * 1000), round(args.end * 1000)
    deadline = time.monotonic() + args.wait
    while True:
        want = prometheus_samples(args.prometheus, start_ms, end_ms)
        got, twice = promgres_samples(shlex.split(args.psql), start_ms, end_ms)
        diffs = list(differences(want, got))
        # Only what is missing may still come.
        if not diffs or any(d[0] != "missing" for d in diffs) or time.monotonic() > deadline:
            break
        time.sleep(1)
    for diff in diffs[:10]:
        print("%s: %s at %d ms: Prometheus %s, promgres %s" % diff)
    values = [bits for samples in want.values() for bits in samples.values()]
    print(f"{len(want)} series, {len(values)} samples, {values.count(STALE)} stale markers: "
          f"{len(diffs)} differ, {twice} came twice")
    return not diffs and not twice and bool(values)


# ---------------------------------------------------------------- queries

def ask(url, path, params):
    request = urllib.request.Request(url.rstrip("/") + "/api/v1/" + path, urllib.parse.urlencode(params).encode())
    try:
        with urllib.request.urlopen(request, timeout=180) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode("utf-8", "replace")
        return {"status": "error", "error": f"HTTP {error.code}: {text[:200]}"}
    except OSError as error:
        return {"status": "error", "error": str(error)}


def close(a, b):
    a, b = float(a), float(b)
    return a == b or math.isnan(a) and math.isnan(b) or math.isclose(a, b, rel_tol=TOLERANCE)


def points(data):
    """{series: [(t, value)]} of the data part of an answer."""
    if data["resultType"] in ("scalar", "string"):
        return {"": [data["result"]]}
    return {series_key(s["metric"]): s["values"] if "values" in s else [s["value"]] for s in data["result"]}


def same_answer(want, got):
    """None, or what is not the same."""
    if want["status"] != "success" or got["status"] != "success":
        return f"Prometheus: {want.get('error', 'success')}; promgres: {got.get('error', 'success')}"
    want, got = want["data"], got["data"]
    if want["resultType"] != got["resultType"]:
        return f"result types {want['resultType']} and {got['resultType']}"
    theirs, mine = points(want), points(got)
    if len(mine) != len(got["result"]) and got["resultType"] in ("vector", "matrix"):
        return "a series came twice"
    for key in theirs.keys() | mine.keys():
        a, b = theirs.get(key, []), mine.get(key, [])
        if [t for t, _ in a] != [t for t, _ in b]:
            return f"{key}: {len(a)} points in Prometheus, {len(b)} in promgres, or other times"
        for (t, x), (_, y) in zip(a, b):
            if not close(x, y):
                return f"{key} at {t}: Prometheus {x}, promgres {y}"
    return None


def quiet_moment(args):
    """The part of a second (ms) farthest from every sample, so that none lies on the edge of a window:
    Prometheus 2 counts its left edge in, Prometheus 3 and promgres do not."""
    found = prometheus_samples(args.prometheus, round(args.start * 1000), round(args.end * 1000))
    taken = {t % 1000 for samples in found.values() for t in samples}

    def distance(ms):
        return min((min((ms - t) % 1000, (t - ms) % 1000) for t in taken), default=1000)
    return max(range(1000), key=distance)


def read_queries(paths):
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for line in file:
                kind, _, expr = line.strip().partition(" ")
                if kind in ("instant", "range"):
                    yield kind, expr.strip()
                elif kind and not kind.startswith("#"):
                    sys.exit(f"{path}: cannot read: {line}")


def compare_queries(args):
    ms = quiet_moment(args)
    start = math.floor(args.start) + 1 + ms / 1000
    end = math.floor(args.end) - 1 + ms / 1000
    failed = count = empty = 0
    for kind, expr in read_queries(args.files):
        if kind == "instant":
            call = "query", {"query": expr, "time": f"{end:.3f}"}
        else:
            call = "query_range", {"query": expr, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": "1"}
        want, got = ask(args.prometheus, *call), ask(args.promgres, *call)
        why = same_answer(want, got)
        count += 1
        empty += want["status"] == "success" and not want["data"]["result"]
        if why:
            failed += 1
            print(f"{kind} {expr}\n    {why}")
        elif want["status"] == "success" and not want["data"]["result"]:
            print(f"{kind} {expr}\n    has an empty answer, which proves nothing")
    print(f"{count} queries: {failed} differ, {empty} have an empty answer")
    return not failed and not empty and count > 0


# ---------------------------------------------------------------- command line

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("samples", "queries"))
    parser.add_argument("files", nargs="*", metavar="FILE", help="queries to ask")
    parser.add_argument("--prometheus", required=True, metavar="URL")
    parser.add_argument("--promgres", metavar="URL", help="needed for queries")
    parser.add_argument("--psql", default="psql", metavar="COMMAND")
    parser.add_argument("--start", type=float, required=True)
    parser.add_argument("--end", type=float, required=True)
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="how long missing samples may still come")
    args = parser.parse_intermixed_args()
    if args.what == "samples":
        sys.exit(0 if compare_samples(args) else 1)
    if not args.promgres or not args.files:
        parser.error("queries needs --promgres and files")
    sys.exit(0 if compare_queries(args) else 1)


if __name__ == "__main__":
    main()

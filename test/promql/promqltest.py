#!/usr/bin/env python3
"""Run Prometheus promqltest scripts (*.test) against a server over HTTP.

The data of each `load` goes in by remote_write 1.0, each `eval` is asked of
/api/v1/query or /api/v1/query_range, and the answer is compared with the
script's expectation. `clear` runs --clear-cmd. Standard library only.
"""
import argparse
import glob
import json
import os
import re
import subprocess
import sys
import time

from runner import Mismatch, Runner
from script import Eval, Load, ScriptError, parse_script
from server import Server


def script_files(args):
    paths = []
    for p in args.testdata:
        paths += sorted(glob.glob(os.path.join(p, "*.test"))) if os.path.isdir(p) else [p]
    return [p for p in paths if not args.file or any(re.search(f, os.path.basename(p)) for f in args.file)]


def read_script(path):
    with open(path, encoding="utf-8") as f:
        try:
            return parse_script(f.read())
        except ScriptError as e:
            sys.exit(f"{path}: {e}")


def describe(cmd):
    when = f"range {cmd.start / 1000:g}..{cmd.end / 1000:g} step {cmd.step / 1000:g}" if cmd.is_range else f"at {cmd.at / 1000:g}"
    return f"{when}s: {cmd.expr}"


def run_file(path, runner, args):
    """Run (or with --list only judge) each case of a file; yield result records."""
    name = os.path.basename(path)
    cmds = read_script(path)
    excluded = set()
    if args.exclude and os.path.exists(other := os.path.join(args.exclude, name)):
        excluded = {(c.line, c.expr) for c in read_script(other) if isinstance(c, Eval)}
    section = 1
    runner.reset() if args.list else runner.clear()
    for cmd in cmds:
        if cmd == "clear":
            section += 1
            runner.reset() if args.list else runner.clear()
        elif isinstance(cmd, Load):
            runner.note(cmd) if args.list else runner.load(cmd)
        elif (cmd.line, cmd.expr) not in excluded:
            rec = {"file": name, "line": cmd.line, "section": section, "case": describe(cmd),
                   "native": runner.is_native(cmd), "status": "passed"}
            reason = runner.skip_reason(cmd)
            if reason:
                rec.update(status="skipped", why=reason)
            elif not args.list:
                try:
                    runner.run(cmd)
                except Mismatch as e:
                    rec.update(status="failed", why=str(e))
                    if runner.load_errors:
                        rec["load_errors"] = list(runner.load_errors)
            yield rec


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--testdata", action="append", required=True, metavar="DIR", help="folder of *.test files, or one file; may be repeated")
    p.add_argument("--file", action="append", metavar="PATTERN", help="only the files whose name matches this regexp; may be repeated")
    p.add_argument("--exclude", metavar="DIR", help="leave out the cases that the file of the same name there has at the same line")
    p.add_argument("--url", help="base of the HTTP API: /api/v1/query follows")
    p.add_argument("--write-url", help="remote_write address (default: URL/api/v1/write)")
    p.add_argument("--clear-cmd", help="shell command that leaves the server without data")
    p.add_argument("--flush-cmd", help="shell command run after each load, until what was written can be queried")
    p.add_argument("--base", default="0", help="time in Unix seconds that stands for the scripts' 0; 'auto': ten days ago, "
                   "rounded down to whole weeks so that steps and weekdays keep their alignment (default: 0)")
    p.add_argument("--annotations", choices=("none", "presence", "full"), default="none",
                   help="check that warnings and infos are there as expected, or also their and the errors' text (default: none)")
    p.add_argument("--also-range", action="store_true", help="ask each instant query as a range query too, as promqltest does")
    p.add_argument("--sorted", action="store_true", help="range answers must be sorted by labels, as promqltest wants")
    p.add_argument("--skip-native", action="store_true", help="skip cases about native histograms")
    p.add_argument("--method", choices=("GET", "POST"), default="GET")
    p.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    p.add_argument("--list", action="store_true", help="only count the cases")
    p.add_argument("--json", metavar="FILE", help="write all results there ('-': standard output, instead of the table)")
    p.add_argument("-v", "--verbose", action="store_true", help="print each failing case")
    args = p.parse_args()
    if not args.list and not (args.url and args.clear_cmd):
        p.error("--url and --clear-cmd are needed, or --list")
    week = 7 * 86400
    base = int(time.time() - 10 * 86400) // week * week if args.base == "auto" else int(args.base)
    server = Server(args.url, args.write_url or f"{(args.url or '').rstrip('/')}/api/v1/write",
                    [h.split(": ", 1) for h in args.header], args.method)
    runner = Runner(server, base, args)
    out = sys.stderr if args.json == "-" else sys.stdout
    records, rows = [], {}
    files = script_files(args)
    if not files:
        p.error("no test files")
    for path in files:
        row = rows[path] = {"passed": 0, "failed": 0, "skipped": 0}
        try:
            for rec in run_file(path, runner, args):
                records.append(rec)
                row[rec["status"]] += 1
                if args.verbose and rec["status"] == "failed":
                    print(f"FAIL {rec['file']}:{rec['line']} {rec['case']}\n     {rec['why']}", file=out)
                    for e in rec.get("load_errors", ()):
                        print(f"     ({e})", file=out)
        except subprocess.CalledProcessError as e:
            sys.exit(f"{path}: {e}")
        word = "cases" if args.list else "passed"
        print(f"{os.path.basename(path):28} {row['passed']:5} {word}" +
              ("" if args.list else f" {row['failed']:5} failed") + f" {row['skipped']:5} skipped", file=out, flush=True)
    total = {k: sum(r[k] for r in rows.values()) for k in ("passed", "failed", "skipped")}
    native = [r["status"] for r in records if r["native"]]
    whys = {}
    for r in records:
        if r["status"] == "skipped":
            whys[r["why"]] = whys.get(r["why"], 0) + 1
    for why, n in whys.items():
        print(f"skipped {n}: {why}", file=out)
    print(f"of these about native histograms: {len(native)} cases, {native.count('passed')} "
          f"{'to run' if args.list else 'passed'}", file=out)
    if args.list:
        print(f"{sum(total.values())} cases, {total['passed']} to run, {total['skipped']} skipped", file=out)
    else:
        print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped", file=out)
    if args.json:
        with sys.stdout if args.json == "-" else open(args.json, "w", encoding="utf-8") as f:
            json.dump({"total": total, "files": rows, "cases": records}, f, indent=1)
    sys.exit(1 if total["failed"] else 0)


if __name__ == "__main__":
    main()

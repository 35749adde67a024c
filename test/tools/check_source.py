#!/usr/bin/env python3
"""The rules of the source that a program can check: check_source.py [promgres.so]

Exported names begin with the extension's prefix, includes run downhill, plain C stays plain, every
file opens with a header, the parts of the SQL script comment on what they make, and no program lies about.
"""
import os
import re
import subprocess
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

# What a room may include, besides itself and common.
BELOW = {
    "common": set(),
    "histogram": set(),
    "wire": {"histogram"},
    "chunk": {"histogram"},
    "series": set(),
    "tier": set(),
    "store": {"histogram", "wire", "chunk", "series"},
    "ingest": {"histogram", "wire", "chunk", "series", "store"},
    "archive": {"histogram", "chunk", "series", "tier", "store"},
    "select": {"histogram", "chunk", "series", "store", "archive"},
    "block": {"histogram", "wire", "chunk", "series", "tier", "store", "select"},
    "vals": {"histogram", "chunk", "series", "store", "select"},
    "promql": {"histogram", "chunk", "series", "tier", "store", "select", "vals"},
    "api": {"histogram", "wire", "chunk", "series", "tier", "store", "ingest", "select", "vals", "promql"},
}

# Symbols that PostgreSQL, C++ or the linker want.
OWN = re.compile(r"^(prom_|promql_|pg_finfo_prom|_PG_init$|Pg_magic_func$|_init$|_fini$|_Z|_?__)")

ok = True


def report(name, problems):
    global ok
    for problem in problems:
        print("      ", problem)
    print(("FAILED " if problems else "ok     ") + name)
    ok = ok and not problems


def sources(*endings):
    for folder, _, files in os.walk(os.path.join(TOP, "src")):
        for file in sorted(files):
            if file.endswith(endings) and file not in ("gram.c", "gram.h", "scan.c"):
                path = os.path.join(folder, file)
                with open(path, encoding="utf-8") as f:
                    yield os.path.relpath(path, os.path.join(TOP, "src")), f.read()


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", library], stdout=subprocess.PIPE, check=True, encoding="utf-8")
    for line in out.stdout.splitlines():
        kind, name = line.split()[-2:]
        if kind in "TDBRG" and not OWN.match(name):
            yield f"{name} ({kind})"


def uphill():
    for path, text in sources(".c", ".h", ".cc", ".l", ".y"):
        room = path.split("/")[0]
        if room == path:        # main.c
            continue
        for include in re.findall(r'#include "(\w+)/[\w.]+"', text):
            if include in BELOW and include not in BELOW[room] | {room, "common"}:
                yield f"{path} includes {include}"


def not_plain():
    """wire/, the codecs, signing and XML compile without a server."""
    for path, text in sources(".c", ".h"):
        if path.startswith("wire/") or re.match(r"chunk/codec|tier/(sigv4|xml)|histogram/(histogram|check|reduce)", path):
            for include in re.findall(r"#include [<\"]([\w/.]+)[>\"]", text):
                if include in ("postgres.h", "fmgr.h", "miscadmin.h") or re.match(
                        r"(utils|catalog|access|executor|storage|lib|nodes)/", include):
                    yield f"{path} includes {include}"


def headless():
    for path, text in sources(".c", ".h", ".cc", ".l", ".y"):
        start = re.sub(r"^%\w*( \w+)? *\{\s*", "", text) if path.endswith((".l", ".y")) else text
        if not start.startswith("/*\n * " + os.path.basename(path) + "\n"):
            yield path


def uncommented():
    folder = os.path.join(TOP, "sql", "install")
    text = ""
    for file in sorted(os.listdir(folder)):
        with open(os.path.join(folder, file), encoding="utf-8") as f:
            text += f.read()
    text = re.sub(r"--.*", "", text)
    for kind, name in re.findall(r"^CREATE (?:OR REPLACE )?(TABLE|VIEW|SEQUENCE|TYPE|FUNCTION|PROCEDURE|AGGREGATE|OPERATOR(?! CLASS| FAMILY))\s+([\w.]+[^\s(;]*)",
                                 text, re.M):
        if not re.search(rf"COMMENT ON {kind}\s+{re.escape(name)}(?![\w])", text):
            yield f"{kind} {name}"


def built():
    """Programs that somebody built into the tree, where the next commit would take them along."""
    for folder, folders, files in os.walk(TOP):
        folders[:] = [f for f in folders if f not in (".git", "node_modules", "bin")]
        for path in (os.path.join(folder, f) for f in sorted(files) if not f.endswith((".o", ".so", ".bc"))):
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    if f.read(4) == b"\x7fELF":
                        yield os.path.relpath(path, TOP)


def main():
    library = sys.argv[1] if len(sys.argv) > 1 else None
    if library:
        report("exported symbols have the prefix",
               list(exported(library)) if os.path.exists(library) else [f"no {library}"])
    report("includes run downhill", list(uphill()))
    report("plain C includes no server header", list(not_plain()))
    report("every source file opens with its header", list(headless()))
    report("everything in the SQL script has a comment", list(uncommented()))
    report("no program was built into the tree", list(built()))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()

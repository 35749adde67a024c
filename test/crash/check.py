"""What must hold after every fault: the samples that the record expects, and tables without orphans."""
import struct

import sender as load
from sender import ABSENT, OPEN, THERE

# Each gives rows only if something is wrong.
ORPHANS = {
    "fresh samples of series that are not there": """
        SELECT f.shard, x.id, count(*) FROM prom.fresh f, unnest(prom._sids(f.data)) x(id)
        WHERE NOT EXISTS (SELECT FROM prom.series s WHERE s.shard = f.shard AND s.sid = x.id) GROUP BY 1, 2""",
    "warm samples of series that are not there": """
        SELECT w.shard, x.id, count(*) FROM prom.warm w, unnest(prom._sids(w.data)) x(id)
        WHERE NOT EXISTS (SELECT FROM prom.series s WHERE s.shard = w.shard AND s.sid = x.id) GROUP BY 1, 2""",
    "warm rows of another block or day than they say": """
        SELECT tableoid::regclass, w.block, w.t_min, w.seq FROM prom.warm w
        WHERE EXISTS (SELECT FROM unnest(prom._sids(w.data)) x(id) WHERE x.id >> 6 <> w.block)
            OR w.t_min / 86400000 <> w.t_max / 86400000 OR w.t_min > w.t_max""",
    "rows that say other things than their chunk": """
        SELECT 'warm', w.seq FROM prom.warm w,
            LATERAL (SELECT count(*) AS n, min(t_ms) AS t_min, max(t_ms) AS t_max FROM prom.samples(w.data)) x
        WHERE (w.samples, w.t_min, w.t_max) IS DISTINCT FROM (x.n, x.t_min, x.t_max)
        UNION ALL
        SELECT 'fresh', f.seq FROM prom.fresh f,
            LATERAL (SELECT count(*) AS n, min(t_ms) AS t_min, max(t_ms) AS t_max, min(sid) AS a, max(sid) AS b FROM prom.samples(f.data)) x
        WHERE (f.samples, f.t_min, f.t_max, f.sid_min, f.sid_max) IS DISTINCT FROM (x.n, x.t_min, x.t_max, x.a, x.b)""",
    "series ids given twice": "SELECT shard, sid, count(*) FROM prom.series GROUP BY 1, 2 HAVING count(*) > 1",
    "label sets with two series": "SELECT shard, labels::text, count(*) FROM prom.series GROUP BY 1, 2 HAVING count(*) > 1",
    "exemplars of series that are not there": """
        SELECT e.shard, e.sid, count(*) FROM prom.exemplar e
        WHERE NOT EXISTS (SELECT FROM prom.series s WHERE s.shard = e.shard AND s.sid = e.sid) GROUP BY 1, 2""",
    "shards that have another number of series than they say": """
        SELECT h.shard, h.series FROM prom.shard h
        WHERE h.series <> (SELECT count(*) FROM prom.series s WHERE s.shard = h.shard)""",
    "metrics that have another number of series than they say": """
        SELECT m.name, m.series, s.n FROM prom.metric m
        FULL JOIN (SELECT shard, labels['__name__'] AS name, count(*) AS n FROM prom.series GROUP BY 1, 2) s USING (shard, name)
        WHERE m.series IS DISTINCT FROM s.n""",
    "ids that would be given again": """
        WITH piece AS (
            SELECT shard, 'of ' || name AS name, next_sid, end_sid FROM prom.metric WHERE next_sid < end_sid
            UNION ALL SELECT shard, 'shared', next_sid, (next_sid / 64 + 1) * 64 FROM prom.shard WHERE next_sid % 64 > 0)
        SELECT s.sid FROM prom.series s JOIN piece p ON p.shard = s.shard AND s.sid >= p.next_sid AND s.sid < p.end_sid
        UNION ALL SELECT q.next_sid FROM piece p JOIN piece q ON p.shard = q.shard AND p.next_sid <= q.next_sid AND q.next_sid < p.end_sid AND p.name <> q.name
        UNION ALL SELECT s.sid FROM prom.series s JOIN prom.shard h USING (shard) WHERE s.sid >> 6 >= h.next_block""",
    "labels of series that prom.label_value lacks": """
        SELECT DISTINCT p.key, p.value FROM prom.series s, jsonb_each_text(s.labels::jsonb) p
        EXCEPT SELECT name, value FROM prom.label_value""",
    "labels of no series in prom.label_value": """
        SELECT name, value FROM prom.label_value
        EXCEPT SELECT p.key, p.value FROM prom.series s, jsonb_each_text(s.labels::jsonb) p""",
    "row numbers that would be drawn again": """
        SELECT q.seq, s.last_value FROM (SELECT seq FROM prom.fresh UNION ALL SELECT seq FROM prom.warm) q, prom.store_seq s
        WHERE q.seq > s.last_value""",
}

# Heap against index: what an index scan does not show would be lost without a word.
INDEXES = """
SELECT count(bt_index_check(i.indexrelid, true)) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
WHERE c.relnamespace = 'prom'::regnamespace AND c.relkind = 'i' AND i.indisvalid
"""

# The same for the index that selectors use; bt_index_check knows nothing of GIN.
UNFOUND = """
SELECT 'series that the index of pairs does not find: ' || count(*) FROM (SELECT shard, sid, labels FROM prom.series OFFSET 0) s
WHERE NOT EXISTS (SELECT FROM prom.series x
    WHERE prom._label_pairs(x.labels) @> prom._label_pairs(s.labels) AND x.shard + 0 = s.shard AND x.sid + 0 = s.sid)
HAVING count(*) > 0
"""


def orphans(server):
    """What is wrong, in words; one round trip."""
    sql = " UNION ALL ".join(
        f"SELECT '{name}: ' || count(*) || ', first ' || coalesce((array_agg(x))[1]::text, '') FROM ({query}) x HAVING count(*) > 0"
        for name, query in ORPHANS.items())
    wrong = server.sql(f"SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off; {sql}")
    server.sql(INDEXES)
    wrong += server.sql(f"SET enable_seqscan = off; SET enable_indexscan = off; {UNFOUND}")
    return wrong.splitlines()


def bits(value):
    return struct.pack(">d", value).hex()


def stored(server, era):
    """{(name, sender, which): {t_ms: bits}} by the public way of reading."""
    out = server.sql(f"""
        SELECT labels['__name__'], labels['sender'], coalesce(labels['body'], labels['i'], labels['of']),
            string_agg(t_ms || '=' || encode(float8send(value), 'hex'), ' ')
        FROM prom.samples_of('{{era="{era}"}}', '-infinity', 'infinity') GROUP BY labels""")
    found = {}
    twice = []
    for line in out.splitlines():
        name, sender, which, text = line.split("|")
        samples = [item.split("=") for item in text.split()]
        mine = found.setdefault((name, sender, which), {})
        for t, value in samples:
            if int(t) in mine:
                twice.append(f"{name} {sender} {which} at {t}")
            mine[int(t)] = value
    return found, twice


def key(labels):
    return labels["__name__"], labels["sender"], labels.get("body") or labels.get("i") or labels.get("of")


def expected(senders, found):
    """
    What must be there.  An open body is there if its mark is; which of the two is then settled for
    all checks to come.
    """
    want = {}
    for s in senders:
        for number, state in enumerate(s.state):
            series = load.body(s.seed, s.era, s.number, number)
            if state == OPEN:
                state = s.state[number] = THERE if key(series[0][0]) in found else ABSENT
            if state == ABSENT:
                continue
            for labels, samples in series:
                mine = want.setdefault(key(labels), {})
                for t, value in samples:
                    mine[t] = bits(value)
    return want


def differences(want, found):
    """In words, the first few of each kind."""
    wrong = []
    for name in sorted(want.keys() | found.keys()):
        a, b = want.get(name, {}), found.get(name, {})
        if a == b:
            continue
        for t in sorted(a.keys() | b.keys()):
            if a.get(t) != b.get(t):
                kind = "lost" if t not in b else "out of nowhere" if t not in a else "another value"
                wrong.append(f"{kind}: {'/'.join(name)} at {t}: expected {a.get(t)}, found {b.get(t)}")
    return wrong[:20] + ([f"and {len(wrong) - 20} more"] if len(wrong) > 20 else [])


def samples(server, era, senders):
    """(what is wrong, samples there)"""
    found, twice = stored(server, era)
    want = expected(senders, found)
    wrong = differences(want, found) + [f"twice: {item}" for item in twice[:5]]
    n = sum(map(len, want.values()))

    # A query counts them once.
    counted = server.sql(f"""
        SELECT sum(value)::int8 FROM prom.query('sum(count_over_time({{era="{era}"}}[40d]))',
            to_timestamp({(load.BASE_MS + 20 * load.DAY_MS) // 1000}))""") or "0"
    if int(counted) != n:
        wrong.append(f"count_over_time says {counted} samples, there are {n}")

    # Rows hold no more than was posted: every attempt may have left its samples, none leaves more.
    held = int(server.sql(f"""
        SELECT coalesce(sum(n), 0) FROM (
            SELECT count(*) AS n FROM prom.fresh f, prom.samples(f.data) x JOIN prom.series s ON s.sid = x.sid AND s.labels['era'] = '{era}'
            UNION ALL
            SELECT count(*) FROM prom.warm w, prom.samples(w.data) x JOIN prom.series s ON s.sid = x.sid AND s.labels['era'] = '{era}') h"""))
    most = sum(posted * load.size(load.body(s.seed, s.era, s.number, number))
               for s in senders for number, posted in enumerate(s.posted))
    if not n <= held <= most:
        wrong.append(f"rows hold {held} samples, {n} are there, {most} at most were posted")
    for s in senders:
        wrong += [f"refused: {item}" for item in s.refused]
    return wrong, n


def merged(server):
    """Merge everything, and compact it; what is wrong.  The maintenance worker may be at it too."""
    for _ in range(200):
        server.sql("CALL prom.merge()")
        left = server.sql("SELECT count(*) FROM prom.fresh")
        if left == "0":
            for day in server.sql("SELECT DISTINCT day FROM prom.stat_rows() WHERE stage = 'warm'").split():
                server.sql(f"CALL prom.compact('{day}')")
            return []
    return [f"{left} rows stay fresh however often they are merged"]


# ---------------------------------------------------------------- that all this can fail

# Harm done on purpose, in this order, and a word of what must be said of it.
HARM = {
    "a warm row is gone": (
        "DELETE FROM prom.warm WHERE (t_min, seq) = (SELECT t_min, seq FROM prom.warm WHERE shard = 0 AND prom._sids(data) && (SELECT array_agg(sid) FROM prom.series WHERE labels['era'] = '{era}') LIMIT 1)",
        "lost: "),
    "every row is there twice": (
        "INSERT INTO prom.warm SELECT shard, block, t_min, nextval('prom.store_seq'), t_max, gen, samples, data FROM prom.warm",
        "at most were posted"),
    "a value is another": (
        "INSERT INTO prom.fresh (shard, sid_min, sid_max, t_min, t_max, samples, seq, data)"
        " SELECT 0, sid, sid, {t}, {t}, 1, nextval('prom.store_seq'), prom.chunk_build(0::int2, sid, ARRAY[{t}::int8], ARRAY[0.5])"
        " FROM prom.series WHERE labels['era'] = '{era}' AND labels['i'] = '0' LIMIT 1",
        "another value: "),
    "a label is not in prom.label_value": (
        "DELETE FROM prom.label_value WHERE name = 'era' AND value = '{era}'", "that prom.label_value lacks"),
    # (among them the one that was just given a sample: the others may have lost theirs with the row)
    "a series is gone": (
        "DELETE FROM prom.series WHERE labels['era'] = '{era}' AND labels['i'] = '0'", "of series that are not there"),
    "numbers are drawn again": ("SELECT setval('prom.store_seq', 1)", "that would be drawn again"),
}


def teeth(server, era, senders):
    """Do harm; [(what, what is wrong)], which is that the checks above have not noticed."""
    result = []
    for name, (sql, word) in HARM.items():
        before = samples(server, era, senders)[0] + orphans(server)
        server.sql(sql.replace("{era}", str(era)).replace("{t}", str(load.BASE_MS)))
        said = [line for line in samples(server, era, senders)[0] + orphans(server) if line not in before]
        noticed = any(word in line for line in said)
        result.append((name, [] if noticed else ["the checks say only:"] + said[-10:]))
    return result

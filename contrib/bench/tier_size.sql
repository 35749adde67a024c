-- Bytes per sample of a day, compacted and in a bucket: psql -f contrib/bench/tier_size.sql, in an empty database whose
-- promgres.tier_server is set, promgres.tier_after and promgres.tier_rollups_after -1.  960 series at 15 s: counters, gauges with two decimals, and constants, a third each.
\set QUIET on
SET client_min_messages = warning;
SELECT setseed(0.5);
SELECT 1700006400000 AS day \gset
CREATE TEMP TABLE made AS
SELECT s.sid, prom.chunk_build(0::int2, s.sid, v.t, v.v, 'warm') AS data
FROM (SELECT i, d.sid FROM generate_series(1, 960) i, prom.series_id(prom.labels(jsonb_build_object('__name__', 'bench_' || i % 3, 'i', i::text))) d) s,
	LATERAL (SELECT array_agg(t ORDER BY n) AS t, array_agg(v ORDER BY n) AS v FROM (
		SELECT n, :day + n * 15000 + s.i % 3 AS t, CASE s.i % 3 WHEN 0 THEN sum(floor(random() * 20)) OVER (ORDER BY n) WHEN 1 THEN round((50 + 10 * sin(n / 300.0 + s.i) + random())::numeric, 2) ELSE s.i END::float8 AS v
		FROM generate_series(0, 5759) n) x) v;
SELECT prom._make_day(:day) \g /dev/null
INSERT INTO prom.warm SELECT 0, b.block, :day + b.part * 21600000, nextval('prom.store_seq'), :day + (b.part + 1) * 21600000, 0, 0, b.data FROM (
	SELECT m.sid >> 6 AS block, p.part, prom.chunk_merge(prom._only(m.data, ARRAY[m.sid], :day + p.part * 21600000 - 1, :day + (p.part + 1) * 21600000 - 1), 0) AS data
	FROM made m, generate_series(0, 3) p (part) GROUP BY 1, 2) b;
UPDATE prom.warm w SET samples = (prom.chunk_info(w.data)).samples, t_min = c.first, t_max = c.last
	FROM (SELECT x.block, x.seq, min(s.t_ms) AS first, max(s.t_ms) AS last FROM prom.warm x, prom.samples(x.data) s GROUP BY 1, 2) c WHERE c.block = w.block AND c.seq = w.seq;
INSERT INTO prom.compaction (shard, day, seq) SELECT 0, :day, last_value FROM prom.store_seq ON CONFLICT DO NOTHING;
CALL prom.compact(to_timestamp(:day / 1000)::date);
CALL prom.downsample('0 s');
VACUUM FULL prom.warm;
\set QUIET off
SELECT 'local, compacted' AS "where", sum(w.samples) AS samples, round(sum(pg_column_size(w.data))::numeric / sum(w.samples), 3) AS "chunks, B/sample",
	round(pg_total_relation_size((SELECT d.day FROM prom._days() d WHERE d.t_min = :day))::numeric / sum(w.samples), 3) AS "all in", count(*) AS rows FROM prom.warm w;
SELECT r.resolution, sum(r.samples) AS points, round(sum(pg_column_size(r.data))::numeric / sum(r.samples), 3) AS "chunks, B/point" FROM prom.rollup r GROUP BY 1 ORDER BY 1;
\timing on
CALL prom.tier(to_timestamp(:day / 1000) - interval '1 day', to_timestamp(:day / 1000) + interval '2 days');
\timing off
SELECT o.resolution, count(*) AS objects, sum(o.samples) AS samples, sum(o.chunks) AS chunks, round(sum(o.bytes)::numeric / sum(o.samples), 3) AS "B/sample",
	round(sum(length(o.directory))::numeric / sum(o.samples), 4) AS "of this: directory" FROM prom.tier_object o GROUP BY 1 ORDER BY 1;

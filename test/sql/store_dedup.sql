-- Replicas of a series become one: the algorithms, then queries.  What is expected was worked out by hand.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET timezone = 'UTC';

-- Replicas are written as "seconds:value ...", each of a shard of its own.
CREATE FUNCTION pg_temp.dedup(method text, counter bool, VARIADIC replicas text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg((p.t_ms / 1000.0)::float8 || ':' || p.value, ' ' ORDER BY p.t_ms)
	FROM (SELECT prom._deduplicated(prom.chunk_build(r.n::int2, 1,
			(SELECT array_agg((split_part(s, ':', 1)::numeric * 1000)::int8 ORDER BY i) FROM regexp_split_to_table(r.text, ' ') WITH ORDINALITY AS s(s, i)),
			(SELECT array_agg(split_part(s, ':', 2)::float8 ORDER BY i) FROM regexp_split_to_table(r.text, ' ') WITH ORDINALITY AS s(s, i))), 0,
			(SELECT array_agg(CASE WHEN i = 1 THEN (i << 32) + 1 ELSE ~((i << 32) + 1) END ORDER BY i) FROM generate_series(1::int8, cardinality(replicas)) i),
			-1, 10000000, method, counter) AS chunk
		FROM unnest(replicas) WITH ORDINALITY AS r(text, n)) AS d, prom.samples(d.chunk) AS p
$$;

-- a is taken at 10, 20, 30.  Then b counts from 30 + 2 * 10 on, which is 52, and a from 52 + 2 * 22 on: it is over.
SELECT m, pg_temp.dedup(m, false, '10:1 20:2 30:3 70:7 80:8', '12:1 22:2 32:2.5 42:4 52:5 62:6 72:7 82:8')
FROM unnest(ARRAY['penalty', 'seamless', 'chain']) m;

-- as long as there is no interval b counts from 1 + 5 on, so both are taken once, and then b has the shorter penalty
SELECT m, pg_temp.dedup(m, false, '1:1 16:1 31:1 46:1', '8:2 23:2 38:2') FROM unnest(ARRAY['penalty', 'seamless']) m;

-- of equal times a's; a that has lost one scrape is not left (and seamless not missed); b that begins earlier is the first
SELECT m, pg_temp.dedup(m, false, '10:1 20:1 30:1', '10:2 20:2 30:2') FROM unnest(ARRAY['penalty', 'seamless', 'chain']) m;
SELECT m, pg_temp.dedup(m, false, '10:1 20:1 40:1 50:1', '11:2 21:2 31:2 41:2 51:2') FROM unnest(ARRAY['penalty', 'seamless']) m;
SELECT m, pg_temp.dedup(m, false, '20:1 30:1 40:1', '5:2 15:2 25:2 35:2') FROM unnest(ARRAY['penalty', 'seamless']) m;

-- a replica alone is as it is; a second one without samples in the range changes nothing
SELECT m, pg_temp.dedup(m, true, '10:3 20:2 30:1'), pg_temp.dedup(m, true, '10:3 20:2', '99999:1') FROM unnest(ARRAY['penalty', 'chain']) m;

-- three: the first two, and that with the third.  The gap from 20 to 50 makes its penalty 60, to 110; then it is 20.
SELECT m, pg_temp.dedup(m, false, '10:1 20:2', '12:5 22:5 50:5 60:6', '11:9 130:9') FROM unnest(ARRAY['penalty', 'seamless', 'chain']) m;

-- counters: b is 2 behind at 52, and so lifted by 2; seamless: 15 behind at 32
SELECT m, pg_temp.dedup(m, true, '10:100 20:110 30:120', '12:90 22:100 32:105 42:112 52:118 62:125') FROM unnest(ARRAY['penalty', 'seamless', 'chain']) m;
SELECT pg_temp.dedup('penalty', false, '10:100 20:110 30:120', '12:90 22:100 32:105 42:112 52:118 62:125');
-- until it is reset itself: 5 is what it has counted since
SELECT m, pg_temp.dedup(m, true, '10:100 20:110 30:120', '12:90 22:100 32:105 42:112 52:118 62:5 72:9') FROM unnest(ARRAY['penalty', 'seamless']) m;
-- a reset that it has on the way there is the first replica's, too
SELECT m, pg_temp.dedup(m, true, '10:100 20:110 30:3 40:6', '12:101 22:111 32:4 42:7 52:8 62:9 72:10') FROM unnest(ARRAY['penalty', 'seamless']) m;
-- NaN is no number to be behind of, nor does it hide a reset
SELECT m, pg_temp.dedup(m, true, '10:100 20:NaN', '42:90 52:NaN 62:7 72:8') FROM unnest(ARRAY['penalty', 'seamless']) m;

-- Counters of two servers with lost scrapes, outages and wobbling clocks: of each of them either algorithm puts out some
-- samples, later and later, that never fall; seamless leaves no hole where a server has no outage.
CREATE FUNCTION pg_temp.noise(seed int, i int, k int) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$ SELECT (hashint4extended(i, seed * 100 + k) & 65535) / 65536.0::float8 $$;
CREATE TABLE pg_temp.scrapes AS
SELECT seed, r, t_ms, 1000 + floor(t_ms / 100.0) - CASE WHEN pg_temp.noise(seed, i, 10 + r) < 0.2 THEN 3 ELSE 0 END AS value
FROM generate_series(1, 40) seed, generate_series(1, 2) r, generate_series(1, 200) i,
	LATERAL (SELECT (i * 1000 + r * 1000 * pg_temp.noise(seed, 0, r) + 50 * pg_temp.noise(seed, i, 2 + r))::int8 AS t_ms) t
WHERE pg_temp.noise(seed, i, 4 + r) > 0.02 AND pg_temp.noise(seed, i / 20, 6 + r) > 0.15;
CREATE TABLE pg_temp.merged AS
SELECT m, seed, p.t_ms, p.value
FROM (SELECT m, seed, prom._deduplicated(c, 0, ARRAY[1, ~((1::int8 << 32) + 1)], -1, 10000000, m, true) AS chunk
	FROM unnest(ARRAY['penalty', 'seamless']) m, (SELECT seed, prom.chunk_build((r - 1)::int2, 1, array_agg(t_ms ORDER BY t_ms), array_agg(value ORDER BY t_ms)) AS c
		FROM (SELECT seed, r, t_ms, max(value) OVER (PARTITION BY seed, r ORDER BY t_ms) AS value FROM pg_temp.scrapes) s GROUP BY seed, r) c
	GROUP BY m, seed) d, prom.samples(d.chunk) p;
SELECT m, count(DISTINCT seed) AS pairs, count(*) > 40 * 120 AS many,
	bool_and(EXISTS (SELECT FROM pg_temp.scrapes s WHERE s.seed = d.seed AND s.t_ms = d.t_ms)) AS all_scraped,
	bool_and(t_ms > before_ms) AS ascending, bool_and(value >= before) AS never_fall
FROM (SELECT *, lag(t_ms, 1, 0::int8) OVER w AS before_ms, lag(value, 1, 0::float8) OVER w AS before FROM pg_temp.merged WINDOW w AS (PARTITION BY m, seed ORDER BY t_ms)) d
GROUP BY m ORDER BY m;
-- holes that a scrape of either could fill, behind regular samples
SELECT count(*) FILTER (WHERE m = 'penalty') > 0 AS penalty, count(*) FILTER (WHERE m = 'seamless') AS seamless
FROM (SELECT *, lead(t_ms) OVER w AS next_ms, lag(t_ms) OVER w AS before_ms FROM pg_temp.merged WINDOW w AS (PARTITION BY m, seed ORDER BY t_ms)) d
WHERE next_ms - t_ms > 1600 AND t_ms - before_ms BETWEEN 900 AND 1100
	AND EXISTS (SELECT FROM pg_temp.scrapes s WHERE s.seed = d.seed AND s.t_ms > d.t_ms + 120 AND s.t_ms < d.next_ms - 120);

SELECT pg_temp.dedup('majority', false, '1:1', '2:1');
SELECT prom._deduplicated(prom.chunk_build(0::int2, 1, '{1}', '{1}'), NULL, '{1}', 0, 1, 'penalty', false);
SELECT prom._deduplicated(prom.chunk_build(0::int2, 1, '{1}', '{1}'), 0, '{1,NULL}', 0, 1, 'penalty', false);
SELECT prom._replicas('{0,0,1}', '{7,8,9}', ARRAY['{r="b"}', '{r="c"}', '{r="a"}']::prom.labels[]);
SELECT prom._replicas('{0}', '{7,8}', ARRAY['{r="b"}', '{r="c"}']::prom.labels[]);
SELECT * FROM prom._replica_blocks(ARRAY[(1::int8 << 32) + 9, ~7::int8, ~64::int8, 8]);

-- Queries.  Series of two servers, 130 of them in several blocks, one with a gap: fresh, then half merged, then all.
SELECT sum(samples) FROM prom.ingest((SELECT array_agg(body) FROM (
	SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(ARRAY['__name__', 'c_total', 'n', n::text, 'r', r],
		(SELECT array_agg(i * 10000 + CASE r WHEN 'b' THEN 3000 ELSE 0 END ORDER BY i) FROM generate_series(1, 30) i WHERE r = 'b' OR i NOT BETWEEN 11 AND 18),
		(SELECT array_agg(i * n * 10 + CASE r WHEN 'b' THEN 3 * n ELSE 0 END ORDER BY i) FROM generate_series(1, 30) i WHERE r = 'b' OR i NOT BETWEEN 11 AND 18)) ORDER BY n)) AS body
	FROM generate_series(1, 130) n, unnest(ARRAY['a', 'b']) r GROUP BY r ORDER BY r) b));
SELECT count(*) FROM prom.query('c_total', to_timestamp(300));
SET promgres.replica_labels = 'r';
CREATE FUNCTION pg_temp.answers() RETURNS TABLE (query text, answer text) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH query IN ARRAY ARRAY['count(c_total)', 'c_total{n="7"}', 'count by (r) (c_total{r="b"})', 'sum(rate(c_total[200s]))', 'max(irate(c_total[60s] offset 100s))',
		'sum(resets(c_total[300s]))', 'sum(count_over_time(c_total[300s]))', 'max(quantile_over_time(0.5, c_total[100s]))', 'sum(rate(c_total[200s:20s]))',
		'sum(increase(c_total[200s] anchored))', 'max(predict_linear(c_total{n="1"}[100s], 10))', 'count(c_total{r="a"} == on(n) c_total{r="b"})'] LOOP
		answer := (SELECT string_agg(labels || ' ' || round(value::numeric, 6), ', ' ORDER BY labels) FROM prom.query(query, to_timestamp(300)));
		RETURN NEXT;
	END LOOP;
END $$;
SET promgres.promql_experimental = on;
SET client_min_messages = warning;
SELECT * FROM pg_temp.answers();
CREATE TEMP TABLE fresh AS SELECT * FROM pg_temp.answers();
CALL prom.merge();
SELECT * FROM pg_temp.answers() EXCEPT TABLE fresh;
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,c_total,n,7,r,a}', '{301000}', '{2107}'), pg_temp.series('{__name__,c_total,n,7,r,b}', '{300500}', '{2103.5}'))]);
SELECT * FROM prom.query('c_total{n="7"}[25s]', to_timestamp(302));
-- on all steps, from any part of the range
SELECT count(*), min(value), max(value) FROM prom.query_range('rate(c_total{n="1"}[40s])', to_timestamp(50), to_timestamp(300), '5s') WHERE NOT (value BETWEEN 0.9 AND 1.1);
SET promgres.dedup_algorithm = seamless;
SELECT count(*), min(value), max(value) FROM prom.query_range('rate(c_total{n="1"}[40s])', to_timestamp(50), to_timestamp(300), '5s') WHERE NOT (value BETWEEN 0.9 AND 1.1);
SELECT max(value) FROM prom.query_range('time() - timestamp(c_total{n="1"})', to_timestamp(50), to_timestamp(300), '1s');
SET promgres.dedup_algorithm = chain;
SELECT count(*) FROM prom.query('c_total{n="1"}[300s]', to_timestamp(300));
RESET promgres.dedup_algorithm;

-- others than these have no replicas; labels that nobody has change nothing
SET promgres.replica_labels = 'zone, "r"';
SELECT value FROM prom.query('count(c_total)', to_timestamp(300));
SET promgres.dedup = off;
SELECT value FROM prom.query('count(c_total)', to_timestamp(300));
SELECT count(*) FROM prom.samples_of('c_total{n="1"}');
RESET promgres.dedup;
SELECT count(*) FROM prom.samples_of('c_total{n="1"}');
SET promgres.replica_labels = 'a b';
SET promgres.replica_labels = 'r,__name__';

-- staleness markers and histograms take part
SET promgres.replica_labels = 'r';
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(
	pg_temp.series_of('{__name__,g,r,a}', pg_temp.sample(10000, float8send(1)), pg_temp.sample(20000, float8send(1)), pg_temp.sample(30000, '\x7ff0000000000002')),
	pg_temp.series_of('{__name__,g,r,b}', pg_temp.sample(12000, float8send(1)), pg_temp.sample(22000, float8send(1)), pg_temp.sample(32000, '\x7ff0000000000002')))]);
SELECT * FROM prom.query_range('g', to_timestamp(10), to_timestamp(60), '5s');
SELECT histograms FROM prom.ingest(ARRAY[pg_temp.body(
	pg_temp.series_of('{__name__,h,r,a}', pg_temp.histogram(10000, 1, 1, '{0,1}', '{1}'), pg_temp.histogram(20000, 2, 2, '{0,1}', '{2}')),
	pg_temp.series_of('{__name__,h,r,b}', pg_temp.histogram(12000, 1, 1, '{0,1}', '{1}'), pg_temp.histogram(22000, 2, 2, '{0,1}', '{2}'),
		pg_temp.histogram(32000, 3, 3, '{0,1}', '{3}'), pg_temp.histogram(42000, 4, 4, '{0,1}', '{4}'), pg_temp.histogram(52000, 5, 5, '{0,1}', '{5}')))]);
SELECT labels, "time", histogram FROM prom.query('h[1m]', to_timestamp(60));
SELECT value FROM prom.query('histogram_count(increase(h[60s]))', to_timestamp(60));

-- what a query may hold is bounded as ever
SET promgres.query_max_samples = 1000;
SELECT count(*) FROM prom.query('rate(c_total[5m])', to_timestamp(300));
RESET promgres.query_max_samples;
SET promgres.query_max_series = 200;
SELECT count(*) FROM prom.query('rate(c_total[5m])', to_timestamp(300));
RESET promgres.query_max_series;

-- row security: of replicas that the caller does not see nothing is told
CREATE ROLE regress_dedup_reader;
GRANT prom_reader TO regress_dedup_reader;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY replica_b ON prom.series FOR SELECT TO regress_dedup_reader USING (labels::jsonb ->> 'r' = 'b' AND labels::jsonb ->> '__name__' IN ('c_total', 'h'));
SET ROLE regress_dedup_reader;
SELECT value FROM prom.query('count({__name__=~".+"})', to_timestamp(300));
SELECT min("time"), count(*) FROM prom.query('c_total{n="1"}[300s]', to_timestamp(300));
SELECT count(*) FROM prom.query('c_total{r="a"}', to_timestamp(300));
RESET ROLE;
DROP POLICY replica_b ON prom.series;
ALTER TABLE prom.series DISABLE ROW LEVEL SECURITY;
DROP OWNED BY regress_dedup_reader;
DROP ROLE regress_dedup_reader;
SELECT prom.delete_series('{__name__=~"c_total|g|h"}') AS removed;

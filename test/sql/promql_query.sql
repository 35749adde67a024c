-- PromQL in SQL: prom.query, prom.query_range, prom.to_sql; the join with other tables; what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- a counter every 15 s on three instances, one reset and one that ends; half of it merged
SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(
	ARRAY['__name__', 'requests_total', 'instance', i::text, 'job', CASE WHEN i < 3 THEN 'web' ELSE 'db' END],
	(SELECT array_agg(t * 15000 ORDER BY t) FROM generate_series(0, 40) t),
	(SELECT array_agg(CASE WHEN t > 20 AND i = 2 THEN t - 21 ELSE t * i END ORDER BY t) FROM generate_series(0, 40) t))))
	FROM generate_series(1, 3) i)]);
CALL prom.merge();
SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(
	ARRAY['__name__', 'requests_total', 'instance', i::text, 'job', CASE WHEN i < 3 THEN 'web' ELSE 'db' END],
	(SELECT array_agg(t * 15000 ORDER BY t) FROM generate_series(41, 80) t),
	(SELECT array_agg(CASE WHEN i = 2 THEN t - 21 ELSE t * i END ORDER BY t) FROM generate_series(41, 80) t))))
	FROM generate_series(1, 3) i)]);
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.snappy(pg_temp.field(1, pg_temp.label('__name__', 'requests_total') ||
	pg_temp.label('instance', '3') || pg_temp.label('job', 'db') || pg_temp.sample(1215000, '\x7ff0000000000002')))]);
SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(
	ARRAY['__name__', 'latency_bucket', 'le', le], '{0,15000,30000,45000,60000}', ARRAY[0, n, 2 * n, 3 * n, 4 * n]::float8[])))
	FROM (VALUES ('0.1', 2), ('0.5', 6), ('+Inf', 10)) v(le, n))]);

SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,same,instance,1,job,web}', '{0,30000}', '{0,1}'))]);

SELECT * FROM prom.query('requests_total', to_timestamp(600)) ORDER BY 1;
SELECT * FROM prom.query('requests_total', to_timestamp(1300)) ORDER BY 1;
SELECT * FROM prom.query('requests_total{instance="1"}[31s]', to_timestamp(60)) ORDER BY 1, 2;
SELECT * FROM prom.query('requests_total{instance="1"} offset 10m', to_timestamp(700));
SELECT * FROM prom.query_range('sum by (job) (rate(requests_total[1m]))', to_timestamp(300), to_timestamp(420), '1 minute');
SELECT * FROM prom.query_range('increase(requests_total{job="web"}[2m])', to_timestamp(315), to_timestamp(345), '15 s');
SELECT * FROM prom.query('histogram_quantile(0.5, latency_bucket)', to_timestamp(60));
SELECT * FROM prom.query('1 + 2 * scalar(count(requests_total)) > bool 6', to_timestamp(60));
SELECT * FROM prom.query('vector(time()) - 1', to_timestamp(60.5));
SELECT * FROM prom.query('requests_total / on (instance, job) (requests_total > 30)', to_timestamp(300));
SELECT * FROM prom.query('requests_total > ignoring (le) requests_total - 1', to_timestamp(300)) ORDER BY 1;
SELECT * FROM prom.query('nosuch', to_timestamp(60));

-- joined with a table of the business
CREATE TEMP TABLE team (instance text, owner text);
INSERT INTO team VALUES ('1', 'alice'), ('2', 'bob');
SELECT t.owner, q.value FROM prom.query('rate(requests_total[5m])', to_timestamp(600)) q
	JOIN team t ON t.instance = q.labels::jsonb->>'instance' ORDER BY 1;

-- what to_sql gives can be run by itself and gives the same rows
CREATE FUNCTION pg_temp.run(sql text) RETURNS TABLE (labels prom.labels, "time" timestamptz, value float8, histogram prom.histogram) LANGUAGE plpgsql AS
$$ BEGIN RETURN QUERY EXECUTE sql; END $$;
CREATE FUNCTION pg_temp.compare(expr text, OUT rows_of_query int8, OUT only_query int8, OUT only_sql int8) LANGUAGE sql AS $$
	WITH q AS (SELECT * FROM prom.query_range(expr, to_timestamp(0), to_timestamp(300), '30 s')),
		s AS (SELECT * FROM pg_temp.run(prom.to_sql(expr, to_timestamp(0), to_timestamp(300), '30 s')))
	SELECT (SELECT count(*) FROM q), (SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE s) x), (SELECT count(*) FROM (TABLE s EXCEPT ALL TABLE q) x)
$$;
SELECT e AS expression, c.* FROM (VALUES ('requests_total'), ('sum(rate(requests_total[1m])) by (job)'),
	('requests_total > on (instance) requests_total{job="web"} - 100'), ('requests_total == ignoring (x) requests_total'),
	('histogram_quantile(0.9, rate(latency_bucket[1m]))'), ('time() - 5'), ('-{__name__=~"requests_total"}'),
	('avg without (instance) (requests_total offset 1m)'), ('topk by (job) (1, requests_total) or requests_total * 0'),
	('requests_total - on (job) group_left sum by (job) (requests_total) unless requests_total > 100'), ('count_values("v", requests_total)'),
	('requests_total * on (job) group_left (le) same'), ('requests_total{job="it''s \\ \"quoted\""}')) v(e), pg_temp.compare(e) c;
SELECT count(*) FROM pg_temp.run(prom.to_sql('requests_total[1m]', to_timestamp(60), to_timestamp(60), '1 s'));
SELECT prom.to_sql('sum by (job) (rate(requests_total{job!="x"}[5m])) > 0.5', to_timestamp(0), to_timestamp(60), '15 s');

-- what is refused
CREATE FUNCTION pg_temp.try(expr text, a timestamptz, b timestamptz, step interval) RETURNS text LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
	SELECT count(*) INTO n FROM prom.query_range(expr, a, b, step);
	RETURN n || ' rows';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT v.*, pg_temp.try(expr, to_timestamp(a), to_timestamp(b), step) FROM (VALUES
	('up', 0, 60, interval '0'), ('up', 0, 60, interval '-1 s'), ('up', 60, 0, interval '1 s'), ('up', 0, 11001, interval '1 s'),
	('up', 0, 11000, interval '1 s'), ('up', 0, 60, interval '1 month'), ('up', 0, 60, interval '0.1 ms'),
	('up[5m]', 0, 60, interval '1 s'), ('"text"', 0, 60, interval '1 s'), ('', 0, 60, interval '1 s'), ('sum(', 0, 60, interval '1 s'),
	('histogram_avg(up)', 0, 60, interval '1 s'), ('topk(NaN, up)', 0, 60, interval '1 s'), ('limitk(1, up)', 0, 60, interval '1 s'), ('nosuch(up)', 0, 60, interval '1 s'),
	('up{a=~"(a+)+$"}', 0, 60, interval '1 s'), ('up{a=~"(?=a)"}', 0, 60, interval '1 s'),
	('requests_total - on () requests_total', 0, 60, interval '15 s'), ('requests_total - on (job) sum by (job) (requests_total)', 0, 60, interval '15 s'),
	('rate({__name__=~"requests_total|same"}[1m])', 0, 60, interval '15 s')) v(expr, a, b, step);
SELECT pg_temp.try('up', '-infinity', 'infinity', '1 s');
SELECT left(pg_temp.try(repeat('(', 10000) || '1' || repeat(')', 10000), to_timestamp(0), to_timestamp(1), '1 s'), 100);
SELECT left(pg_temp.try('1' || repeat('+1', 10000), to_timestamp(0), to_timestamp(1), '1 s'), 100);
SET promgres.query_max_samples = 100;
SELECT pg_temp.try('requests_total', to_timestamp(0), to_timestamp(1200), '15 s');
RESET promgres.query_max_samples;
SET promgres.lookback_delta = '20 s';
SELECT count(*) FROM prom.query('requests_total', to_timestamp(1230));
RESET promgres.lookback_delta;

-- the caller's rights hold
CREATE ROLE regress_prom_reader;
SET ROLE regress_prom_reader;
SELECT left(pg_temp.try('requests_total', to_timestamp(0), to_timestamp(60), '15 s'), 23) AS try;
SELECT * FROM prom.query('requests_total');
SELECT * FROM prom.query('1', to_timestamp(60));
SELECT * FROM prom.query_range('sum(rate(requests_total[1m])) by (job)', to_timestamp(0), to_timestamp(60), '15 s');
RESET ROLE;
GRANT prom_reader TO regress_prom_reader;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY web ON prom.series TO regress_prom_reader USING (prom.label(labels, 'job') = 'web');
SET ROLE regress_prom_reader;
SELECT * FROM prom.query('requests_total', to_timestamp(60)) ORDER BY 1;
SELECT prom.delete_series('requests_total');
RESET ROLE;
DROP POLICY web ON prom.series;
ALTER TABLE prom.series DISABLE ROW LEVEL SECURITY;
DROP ROLE regress_prom_reader;

SELECT prom.delete_series('{__name__=~".+"}');

-- PromQL: subqueries and "@" as SQL, and their limits; what they mean is in test/promql.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';

SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(
	ARRAY['__name__', 'requests_total', 'instance', i::text],
	(SELECT array_agg(t * 15000 ORDER BY t) FROM generate_series(0, 80) t),
	(SELECT array_agg(t * i ORDER BY t) FROM generate_series(0, 80) t))))
	FROM generate_series(1, 2) i)]);

SELECT prom.to_sql('max_over_time((time() - vector(1))[5m:1m] offset 30s)', to_timestamp(600), to_timestamp(720), '1 min');
SELECT prom.to_sql('vector(1)[1m:30s] @ 100', to_timestamp(600), to_timestamp(600), '1 min');
SELECT prom.to_sql('avg_over_time(vector(1)[30s:7m])', to_timestamp(600), to_timestamp(600), '1 min');
SELECT substring(prom.to_sql('quantile_over_time(scalar(requests_total), requests_total[1m] @ end() offset 1m)', to_timestamp(600), to_timestamp(720), '1 min'),
	'prom._window\(''quantile_over_time[^\n]*') AS leaf;

-- what to_sql gives can be run by itself and gives the same rows
CREATE FUNCTION pg_temp.run(sql text) RETURNS TABLE (labels prom.labels, "time" timestamptz, value float8, histogram prom.histogram) LANGUAGE plpgsql AS
$$ BEGIN RETURN QUERY EXECUTE sql; END $$;
CREATE FUNCTION pg_temp.compare(expr text, OUT rows_of_query int8, OUT only_query int8, OUT only_sql int8) LANGUAGE sql AS $$
	WITH q AS (SELECT * FROM prom.query_range(expr, to_timestamp(0), to_timestamp(300), '30 s')),
		s AS (SELECT * FROM pg_temp.run(prom.to_sql(expr, to_timestamp(0), to_timestamp(300), '30 s')))
	SELECT (SELECT count(*) FROM q), (SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE s) x), (SELECT count(*) FROM (TABLE s EXCEPT ALL TABLE q) x)
$$;
SELECT e AS expression, c.* FROM (VALUES ('requests_total @ 60'), ('max_over_time(sum(rate(requests_total[1m]))[5m:30s] @ end())'),
	('quantile_over_time(scalar(requests_total{instance="1"}) / 100, requests_total[1m])'),
	('predict_linear((requests_total * 2)[5m:], time())'), ('count_over_time(requests_total[1s:7m])')) v(e), pg_temp.compare(e) c;
SELECT * FROM prom.query('rate(requests_total[1m])[1m:30s]', to_timestamp(600)) ORDER BY 1, 2;

-- each step of a range query is what an instant query gives there
CREATE FUNCTION pg_temp.differ(expr text, OUT rows_of_range int8, OUT only_range int8, OUT only_instant int8) LANGUAGE sql AS $$
	WITH r AS (SELECT * FROM prom.query_range(expr, to_timestamp(0), to_timestamp(900), '90 s')),
		i AS (SELECT q.* FROM generate_series(0, 900, 90) t, prom.query(expr, to_timestamp(t)) q)
	SELECT (SELECT count(*) FROM r), (SELECT count(*) FROM (TABLE r EXCEPT ALL TABLE i) x), (SELECT count(*) FROM (TABLE i EXCEPT ALL TABLE r) x)
$$;
SELECT e AS expression, d.* FROM (VALUES ('sum_over_time(requests_total[1m:7s])'), ('rate(requests_total[100s:20s] offset 11s)'),
	('avg_over_time(rate(requests_total[1m])[3m:1m] @ 500)'), ('stddev_over_time((requests_total - 3 * (requests_total offset 70s))[5m:13s])'),
	('predict_linear(requests_total[1m] @ 500, 60)'), ('max_over_time(deriv(requests_total[1m])[10m:1m] offset -1m)')) v(e), pg_temp.differ(e) d;

SET promgres.subquery_step = '10 s';
SELECT * FROM prom.query('count_over_time(vector(1)[1m:])', to_timestamp(600));
RESET promgres.subquery_step;
SELECT * FROM prom.query('count_over_time(vector(1)[1m:])', to_timestamp(600));

-- limits
SELECT * FROM prom.query('count_over_time(vector(1)[1000s:1ms])', to_timestamp(600));
SELECT * FROM prom.query('count_over_time(vector(1)[1001s:1ms])', to_timestamp(600));
SELECT * FROM prom.query('sum(sum_over_time(max_over_time(up[5m:1ms])[100d:1s]))', to_timestamp(600));
SELECT * FROM prom.query('count_over_time(requests_total[100y] @ -9223372036853000)', to_timestamp(600));
SELECT * FROM prom.query('count_over_time(vector(1)[100y:90y] @ 9223372036853000)', to_timestamp(600));
SELECT * FROM prom.query('requests_total @ 9223372036853000 offset -100y', to_timestamp(600));
SELECT * FROM prom.query('count_over_time(vector(1)[100y:90y] @ -9223372036853000 offset 100y)', to_timestamp(600));
\set VERBOSITY terse
SET promgres.query_max_samples = 100;
SELECT * FROM prom.query('count_over_time(vector(1)[100s:1s])', to_timestamp(600));
SELECT * FROM prom.query('count_over_time(vector(1)[101s:1s])', to_timestamp(600));
RESET promgres.query_max_samples;

SELECT prom.delete_series('{__name__=~".+"}');

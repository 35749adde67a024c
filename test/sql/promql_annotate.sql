-- Annotations: warnings and infos of a query, as notices with an SQLSTATE of their own.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';

SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(
	ARRAY['__name__', 'annotated' || i, 'le', 'x' || i], '{0,15000,30000,45000,60000}', ARRAY[0, i, 2 * i, 3 * i, 4 * i]::float8[])))
	FROM generate_series(1, 12) i)]);

-- each text once, of its last place, in the order of the query
SELECT value FROM prom.query('quantile(2, annotated1) + quantile(-1, annotated1) + quantile(2, annotated1) + on() sum(rate(annotated2[1m]))', to_timestamp(60));
-- both have their SQLSTATE
\set VERBOSITY sqlstate
SELECT value FROM prom.query('quantile(2, annotated1) + on() sum(rate(annotated2[1m]))', to_timestamp(60));
\set VERBOSITY default
SET client_min_messages = 'warning';
SELECT value FROM prom.query('quantile(2, annotated1) + on() sum(rate(annotated2[1m]))', to_timestamp(60));
RESET client_min_messages;
-- ten of each, and how many more
SELECT count(*) FROM prom.query('histogram_quantile(0.5, {__name__=~"annotated.*"})', to_timestamp(60));
SELECT count(*) FROM prom.query_range('rate({__name__=~"annotated.*"}[1m])', to_timestamp(60), to_timestamp(60), '15 s');
-- a range query whose quantile is another one at each step: each is told, but for the aggregation
SELECT count(*) FROM prom.query_range('histogram_quantile(time() / 10, nosuch)', to_timestamp(0), to_timestamp(30), '15 s');
SELECT count(*) FROM prom.query_range('quantile(time() / 10, nosuch)', to_timestamp(0), to_timestamp(60), '15 s');

-- nothing is told by translating or explaining, nor of a query that fails
SELECT length(prom.to_sql('quantile(2, annotated1)', to_timestamp(60), to_timestamp(60), '1 min')) > 0 AS translated;
EXPLAIN (COSTS off) SELECT prom._check_quantile('const(2)', true, '1:1'), prom._annotate('info', 'x', '1:1');
\set VERBOSITY terse
SELECT * FROM prom.query('quantile(2, annotated1) or topk(NaN, annotated1)', to_timestamp(60));
\set VERBOSITY default
-- what an earlier query kept does not come back
SELECT value FROM prom.query('vector(1)', to_timestamp(60));
DO $$
BEGIN
	BEGIN
		PERFORM prom.query('quantile(2, annotated1) or topk(NaN, annotated1)', to_timestamp(60));
	EXCEPTION WHEN OTHERS THEN
		RAISE NOTICE 'failed: %', sqlerrm;
	END;
	PERFORM prom.query('quantile(3, annotated1)', to_timestamp(60));
END $$;

-- pasted SQL tells at once, each text the first time in a statement
SELECT prom._annotate('warning', 'careful', '1:1'), prom._annotate('warning', 'careful', '2:7'), prom._annotate('info', 'careful', '3:1');
SELECT prom._annotate('notice', 'careful', '1:1');
SELECT count(prom._annotate('info', 'number ' || i, '1:1')) FROM generate_series(1, 12) i;
CREATE FUNCTION pg_temp.pasted(expr text) RETURNS TABLE (labels prom.labels, "time" timestamptz, value float8, histogram prom.histogram) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE prom.to_sql(expr, to_timestamp(60), to_timestamp(60), '1 min');
END $$;
SELECT value FROM pg_temp.pasted('sum(rate(annotated2[1m])) + quantile(1.5, annotated1)');

-- with labels for types it is those that tell a counter
SET promgres.promql_type_and_unit_labels = on;
SELECT value FROM prom.query('rate(annotated2[1m])', to_timestamp(60));
RESET promgres.promql_type_and_unit_labels;

-- values without a step are none once what was noted in them is told
SELECT prom._note('[1 _]', '{}', '1:1', false), prom._note('[_ _]', '{}', '1:1', false) IS NULL AS nothing, prom._note('[_]', '+', '1:1') IS NULL AS of_operator;
SELECT prom._note_quantile('[1 _ 1]', '[0 2 -0.5]', '1:1');
-- numbers as Go prints them
SELECT prom._check_quantile(v, false, '1:1') FROM unnest('{const(NaN),const(+Inf),const(-1e-05),const(-0.0001),const(100000),const(1000000),const(1.25e+21),const(12345.678)}'::prom.vals[]) v;

-- removal of names at the end
SET promgres.promql_delayed_name_removal = on;
SELECT labels, value FROM prom.query('sort_desc(rate({__name__=~"annotated[12]"}[1m]))', to_timestamp(60));
SELECT labels, value FROM prom.query('sum by (__name__) (rate(annotated2[1m]))', to_timestamp(60));
SELECT prom.to_sql('vector(1) * 2', to_timestamp(60), to_timestamp(60), '1 min');
RESET promgres.promql_delayed_name_removal;

-- workers tell it, too
SELECT count(set_config(name, 'on', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
EXPLAIN (COSTS off) SELECT prom._note_quantile('[1]', 'const(2)', '1:1');
SELECT prom._note_quantile('[1]', 'const(2)', '1:1');
SELECT count(set_config(name, 'off', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');

-- notes of operators and aggregations: told, and nothing is left if there is no value
SELECT prom._note(prom._arith('</', '[1]', '[2]'), '</', '1:1');
SELECT prom._note(prom._arith('+', '[1 {{count:1 sum:1 buckets:[1]}}]', '[2 3]'), '+', '1:2');
SELECT prom._note_aggregate(prom._agg_max(v), 'max', 'm', '1:3') FROM unnest('{"[1 {{count:1 sum:1 buckets:[1]}}]","[5 _]"}'::prom.vals[]) v;
SELECT prom._note_aggregate(prom._agg_sum(v), 'sum', 'm', '1:4')
	FROM unnest(ARRAY['[{{count:1 sum:1 buckets:[1]}}]', '[{{schema:-53 count:1 sum:1 custom_values:[1] buckets:[1 0]}}]']::prom.vals[]) v;
EXPLAIN (COSTS off) SELECT * FROM (SELECT prom._note(prom._arith('</', '[1]', '[2]'), '</', '1:1') AS vals OFFSET 0) AS x WHERE vals IS NOT NULL;
SELECT prom.to_sql('topk(1, m) + sum(m)', to_timestamp(60), to_timestamp(60), '1 min') ~ 'prom._note\(.*prom._note_aggregate\(' AS translated;

SELECT * FROM prom.delete_series('{__name__=~"annotated.*"}');

-- Queries over raw samples and rollups: what is read of which time, and that no boundary shows.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET search_path = public, prom;
SET extra_float_digits = 0;
SET client_min_messages = warning;

SET timezone = 'UTC';

-- Three days, a sample each five minutes: a counter with resets, a steady one, a gauge, a constant, one with
-- gaps, one that ends, and one with samples right at the ends of windows and days.
SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(ARRAY['__name__', 'm', 'kind', kind], t, v) ORDER BY kind))
	FROM (SELECT kind, array_agg(t ORDER BY i) AS t, array_agg(v ORDER BY i) AS v
		FROM generate_series(0, 863) i, LATERAL (VALUES
			('counter', 7000 + i * 300000::int8, (i * 97) % 20000 + i % 5 * 10),
			('steady', 7000 + i * 300000::int8, 3.0 * i),
			('gauge', 7000 + i * 300000::int8, (i * 37) % 101 - 50 + i / 1024.0),
			('constant', 7000 + i * 300000::int8, 5),
			('sparse', CASE WHEN i % 17 = 0 THEN 7000 + i * 300000::int8 END, i % 29),
			('ended', CASE WHEN i < 401 THEN 7000 + i * 300000::int8 END, i % 16),
			('sharp', (i + 1) * 300000::int8, (i * 11) % 23)) s(kind, t, v)
		WHERE t IS NOT NULL GROUP BY kind) s)]);
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,m,kind,ended}', pg_temp.sample(7000 + 401 * 300000, '\x7ff0000000000002')))]);
CALL prom.merge();

-- An expression by raw samples and by rollups: points, those that only one of them has, the greatest difference.
CREATE FUNCTION pg_temp.both(e text, start_s int8, end_s int8, step interval, resolution text DEFAULT '1h',
	OUT points int8, OUT only_raw int8, OUT only_rolled int8, OUT off float8) LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE raw AS SELECT * FROM prom.query_range(e, to_timestamp(start_s), to_timestamp(end_s), step);
	PERFORM set_config('promgres.max_source_resolution', resolution, false);
	CREATE TEMP TABLE rolled AS SELECT * FROM prom.query_range(e, to_timestamp(start_s), to_timestamp(end_s), step);
	PERFORM set_config('promgres.max_source_resolution', 'raw', false);
	SELECT count(*), count(*) FILTER (WHERE b.value IS NULL), count(*) FILTER (WHERE a.value IS NULL),
		max(CASE WHEN a.value = b.value THEN 0 ELSE abs(a.value - b.value) / greatest(abs(a.value), abs(b.value)) END)
	INTO points, only_raw, only_rolled, off FROM raw a FULL JOIN rolled b USING (labels, "time");
	DROP TABLE raw, rolled;
END $$;

-- 20 minutes for the first two days, an hour for the first one
SET promgres.rollup_resolutions = '20min, 1h';
CALL prom.downsample('0');
DELETE FROM prom.rollup WHERE day >= CASE resolution WHEN 3600 THEN 86400000 ELSE 172800000 END;
UPDATE prom.level SET until_ms = CASE resolution WHEN 3600 THEN 86400000 ELSE 172800000 END;

-- what is chosen: by the setting, by the range, by the step
CREATE FUNCTION pg_temp.reads(e text, resolution text, step interval DEFAULT '1h', start_s int8 DEFAULT 3600, end_s int8 DEFAULT 259200) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	told jsonb;
BEGIN
	PERFORM set_config('promgres.max_source_resolution', resolution, false);
	told := CASE WHEN step IS NULL THEN prom.explain_json(e, to_timestamp(end_s)) ELSE prom.explain_json(e, to_timestamp(start_s), to_timestamp(end_s), step) END;
	RESET promgres.max_source_resolution;
	RETURN coalesce((SELECT string_agg((n->>'node') || ': ' || (SELECT string_agg((r->>'resolution') || CASE WHEN r ? 'mixed' THEN '*' ELSE '' END, ' ' ORDER BY (r->>'from_ms')::int8) FROM jsonb_array_elements(n->'resolutions') r), ', ')
		FROM jsonb_array_elements(told->'nodes') n WHERE n ? 'resolutions'), 'raw');
END $$;
SELECT e, r, pg_temp.reads(e, r) FROM unnest(ARRAY['m', 'sum_over_time(m[2h])', 'sum_over_time(m[1h])', 'sum_over_time(m[59m])', 'rate(m[2h])', 'rate(m[1h])', 'rate(m[30m])']) e,
	unnest(ARRAY['raw', '20min', '1h', 'auto']) r;
SELECT step, pg_temp.reads('m', 'auto', step) FROM unnest(ARRAY['1h', '99min', '100min', '5h']::interval[]) step;
SELECT e, pg_temp.reads(e, 'auto', NULL, end_s => 86400) FROM unnest(ARRAY['m', 'sum_over_time(m[2h])', 'sum_over_time(m[30m])', 'max_over_time(m[12h:20m])', 'max_over_time(m[12h:100m])', 'm @ 90000', 'm offset -1h']) e;
SET promgres.max_source_resolution_instant = '20min';
SELECT pg_temp.reads('sum_over_time(m[2h])', 'auto', NULL, end_s => 86400);
SET promgres.max_source_resolution_instant = 0;
SELECT pg_temp.reads('sum_over_time(m[2h])', 'auto', NULL, end_s => 86400);
RESET promgres.max_source_resolution_instant;
SELECT pg_temp.reads('max_over_time(sum_over_time(m[2h])[6h:1h])', r) FROM unnest(ARRAY['raw', '1h', 'auto']) r;
SET promgres.max_source_resolution = 'coarse';
SET promgres.max_source_resolution = '-1';
SET promgres.max_source_resolution = '300';
SHOW promgres.max_source_resolution;
RESET promgres.max_source_resolution;

SET promgres.max_source_resolution = '1h';
SELECT t FROM prom.explain('sum(rate(m[2h]))', to_timestamp(7200), to_timestamp(259200), '1h') t WHERE t ~ 'reads|Partitions';
\pset format unaligned
SELECT prom.to_sql('avg_over_time(m[2h])', to_timestamp(43200), to_timestamp(259200), '1h');
\pset format aligned
RESET promgres.max_source_resolution;

-- exact at steps and ranges of whole windows, across both boundaries
SELECT f, (pg_temp.both(f || '_over_time(m[' || range || '])', 0, 259200, '1h')).* FROM unnest(ARRAY['min', 'max', 'sum', 'avg', 'count', 'present', 'last']) f,
	unnest(ARRAY['1h', '3h', '1d']) range;
SELECT (pg_temp.both('m', 0, 259200, '1h')).*;
SELECT (pg_temp.both('timestamp(m)', 0, 259200, '1h')).*;
SELECT (pg_temp.both('max_over_time(m[2h] offset 1h)', 0, 259200, '1h')).*;
SELECT (pg_temp.both('count_over_time(m[6h] @ 100800)', 0, 259200, '1h')).*;
SELECT (pg_temp.both('sum_over_time(m[6h])', 0, 259200, '20min', '20min')).*;
SELECT (pg_temp.both('m', 0, 259200, '20min', '20min')).*;

-- what a counter rises by is not lost between the last samples of windows; between stamps the answer is that of the last one
SELECT f, range, step, points, only_raw, only_rolled, off < 0.01 AS near FROM unnest(ARRAY['rate', 'increase', 'delta', 'deriv', 'irate']) f,
	unnest(ARRAY['2h', '1d']::interval[]) range, unnest(ARRAY['1h', '7min']::interval[]) step,
	pg_temp.both(format('%s(m{kind="steady"}[%ss])', f, extract(epoch FROM range)::int), 3600 + extract(epoch FROM range)::int8, 259200, step)
WHERE step = '1h' OR f = 'rate';
SELECT points, only_raw, only_rolled, off < 0.01 AS near FROM pg_temp.both('increase(m{kind="counter"}[6h])', 21600, 259200, '1h');
SELECT (pg_temp.both('resets(m{kind="counter"}[6h])', 21600, 259200, '1h')).only_rolled;

-- between stamps the answer is that of the last one
SET promgres.max_source_resolution = '1h';
SELECT count(*), count(*) FILTER (WHERE a.value = b.value) AS same
FROM prom.query_range('sum_over_time(m{kind!="ended"}[3h])', to_timestamp(10800 + 600), to_timestamp(86400), '1h') a
JOIN prom.query_range('sum_over_time(m{kind!="ended"}[3h])', to_timestamp(10800), to_timestamp(86400), '1h') b ON a.labels = b.labels AND a."time" = b."time" + interval '10 min';
-- and of a window that is cut its share
SELECT value FROM prom.query('count_over_time(m{kind="steady"}[90m])', to_timestamp(36000));
SELECT value FROM prom.query('avg_over_time(m{kind="constant"}[90m])', to_timestamp(36000));
RESET promgres.max_source_resolution;

-- extended ranges
SET promgres.promql_experimental = on;
SELECT e, (pg_temp.both(e, 7200, 259200, '1h')).* FROM unnest(ARRAY['increase(m{kind="counter"}[6h] anchored)', 'increase(m{kind="steady"}[6h] smoothed)', 'm{kind="steady"} smoothed']) e;
RESET promgres.promql_experimental;

-- Of one series the raw samples of the second day are gone: it gets rollups, and all others what they got
CREATE FUNCTION pg_temp.all_of(step interval) RETURNS TABLE (e text, labels prom.labels, "time" timestamptz, value float8) LANGUAGE sql AS $$
	SELECT e, q.labels, q."time", q.value FROM unnest(ARRAY['m', 'sum_over_time(m[2h])', 'min_over_time(m[2h])', 'max_over_time(m[2h])', 'count_over_time(m[2h])', 'avg_over_time(m[2h])', 'increase(m[2h])']) e,
		prom.query_range(e, to_timestamp(0), to_timestamp(259200), step) q $$;
CREATE TEMP TABLE hourly AS SELECT * FROM pg_temp.all_of('1h');
CREATE TEMP TABLE often AS SELECT * FROM pg_temp.all_of('7min');
CREATE TEMP TABLE whole AS SELECT * FROM prom.warm WHERE t_min >= 86400000 AND t_min < 172800000;
UPDATE prom.warm w SET data = prom._without(w.data, ARRAY(SELECT sid FROM prom.series WHERE labels->>'kind' = 'gauge'), 0, 300000000) WHERE t_min >= 86400000 AND t_min < 172800000;
INSERT INTO prom.expired VALUES (0, 86400000, '{"all": false, "gone": ["{kind=\"gauge\"}"], "stay": null}', 1);
SELECT t FROM prom.explain('m', to_timestamp(90000), to_timestamp(259200), '1h') t WHERE t ~ 'reads';
SELECT e, pg_temp.reads(e, 'raw') FROM unnest(ARRAY['m', 'm{kind="gauge"}', 'm{kind=~"g.*"}', 'm{kind="steady"}', 'm{kind!="gauge"}', 'other']) e;
SELECT pg_temp.reads('m', '1h');
SELECT e, count(*) AS points, count(*) FILTER (WHERE a.value IS DISTINCT FROM b.value) AS others
FROM hourly a FULL JOIN pg_temp.all_of('1h') b USING (e, labels, "time") WHERE e <> 'increase(m[2h])' GROUP BY 1 ORDER BY 1;
SELECT labels->>'kind' AS kind, count(*) AS points, count(*) FILTER (WHERE a.value IS DISTINCT FROM b.value) > 0 AS others
FROM often a FULL JOIN pg_temp.all_of('7min') b USING (e, labels, "time") GROUP BY 1 ORDER BY 1;
SELECT count(*) AS left, count(*) FILTER (WHERE (t_ms - 7000) % 1200000 = 1200000 - 300000 OR t_ms = 86407000) AS last FROM prom.samples_of('m{kind="gauge"}') WHERE t_ms > 86400000 AND t_ms <= 172800000;
SELECT prom._api_series(ARRAY['m{kind="gauge"}'], 90000000, 100000000, 0);
-- and the same the other way round: of a day that is gone something stays
UPDATE prom.expired SET rules = '{"all": true, "gone": null, "stay": ["{kind=~\"c.*|e.*|s.*\"}"]}';
INSERT INTO prom.level VALUES (0, 172800000, NULL);
SELECT e, count(*) AS points, count(*) FILTER (WHERE a.value IS DISTINCT FROM b.value) AS others
FROM hourly a FULL JOIN pg_temp.all_of('1h') b USING (e, labels, "time") WHERE e <> 'increase(m[2h])' AND "time" > to_timestamp(93600) GROUP BY 1 ORDER BY 1;
SELECT pg_temp.reads('m', 'raw', start_s => 93600), pg_temp.reads('m{kind="gauge"}', 'raw', start_s => 93600);
DELETE FROM prom.level WHERE resolution = 0;
DELETE FROM prom.expired;
DELETE FROM prom.warm WHERE t_min >= 86400000 AND t_min < 172800000;
INSERT INTO prom.warm SELECT * FROM whole;
DROP TABLE hourly, often, whole;

-- Raw samples of the first day are gone: what asks for them gets what there is
CREATE TEMP TABLE was AS SELECT * FROM prom.samples_of('m');
CREATE TEMP TABLE summed AS SELECT * FROM prom.query_range('sum_over_time(m[2h])', to_timestamp(0), to_timestamp(259200), '1h');
DELETE FROM prom.warm WHERE t_min < 86400000;
INSERT INTO prom.level VALUES (0, 86400000, NULL);
SELECT pg_temp.reads('m', 'raw'), pg_temp.reads('m', '1h'), pg_temp.reads('m', 'raw', start_s => 90300);
SELECT count(*) AS points, count(*) FILTER (WHERE a.value IS DISTINCT FROM b.value) AS others FROM summed a
FULL JOIN prom.query_range('sum_over_time(m[2h])', to_timestamp(0), to_timestamp(259200), '1h') b USING (labels, "time");
SELECT t_ms <= 86400000 AS gone, count(*), count(w.value) AS as_it_was FROM prom.samples_of('m') s LEFT JOIN was w USING (labels, t_ms, value) GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM prom.query('m{kind="steady"}[1d]', to_timestamp(86400));
-- also to windows shorter than what is left
SELECT e, round(value::numeric, 6) FROM unnest(ARRAY['rate(m{kind="steady"}[5m])', 'increase(m{kind="steady"}[5m])', 'count_over_time(m{kind="steady"}[5m])',
	'avg_over_time(m{kind="constant"}[5m])', 'm{kind="constant"}']) e, prom.query(e, to_timestamp(50000));
SELECT labels FROM prom.query('m', to_timestamp(172800 - 1));

-- the 20 minutes are gone, too
UPDATE prom.level SET from_ms = 86400000 WHERE resolution = 1200;
DELETE FROM prom.rollup WHERE resolution = 1200 AND day < 86400000;
SELECT pg_temp.reads('m', 'raw'), pg_temp.reads('m', '20min'), pg_temp.reads('m', 'auto', '50min');
SELECT count(*) AS points, count(*) FILTER (WHERE a.value IS DISTINCT FROM b.value) AS others FROM summed a
FULL JOIN prom.query_range('sum_over_time(m[2h])', to_timestamp(0), to_timestamp(259200), '1h') b USING (labels, "time");

-- names and values of labels of series that only rollups hold
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,left,x,1}', '{3600000,7200000}', '{1,2}'))]);
CALL prom.merge();
CALL prom.downsample('0');
DELETE FROM prom.warm WHERE t_min < 86400000;
SELECT prom._api_series('{left,other}', 0, 4000000, 0);
SELECT prom._api_series('{left,other}', 7200001, 9000000, 0);
SELECT prom._api_label_values('x', '{left}', 0, 86400000, 0);
SELECT prom._api_label_values('x', '{}', 0, 86400000, 0);
SELECT prom._api_label_values('x', '{}', 86400001, 90000000, 0);

-- row security: of rollups, too, only what may be seen
CREATE ROLE rollup_reader;
GRANT prom_reader TO rollup_reader;
CREATE ROLE rollup_all BYPASSRLS;
GRANT prom_reader TO rollup_all;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY rollup_kinds ON prom.series TO rollup_reader USING (labels->>'kind' IN ('steady', 'gauge'));
SET promgres.max_source_resolution = '1h';
CREATE TEMP TABLE visible AS SELECT * FROM prom.query_range('{__name__=~"m|left"}', to_timestamp(0), to_timestamp(259200), '1h');
GRANT SELECT ON visible TO rollup_reader;
SET ROLE rollup_reader;
SELECT labels->>'kind' AS kind, count(*), count(*) FILTER (WHERE q.value IS DISTINCT FROM v.value) AS others
FROM prom.query_range('{__name__=~"m|left"}', to_timestamp(0), to_timestamp(259200), '1h') q FULL JOIN visible v USING (labels, "time") WHERE q.value IS NOT NULL GROUP BY 1 ORDER BY 1;
SELECT prom._api_series('{left,m}', 0, 4000000, 0);
SELECT count(*) FROM prom._rollup_rows;
SELECT count(*) FROM prom._visible_rollup(0::int2, ARRAY(SELECT generate_series(0, 50000)), 3600, '{1}', 0, 86400000) v, prom.samples(v.data);
SELECT count(*) FROM prom.rollup;
RESET ROLE;
SET ROLE rollup_all;
SELECT count(DISTINCT labels) FROM prom.query('{__name__=~"m|left"}', to_timestamp(7300));
RESET ROLE;
DROP POLICY rollup_kinds ON prom.series;
ALTER TABLE prom.series DISABLE ROW LEVEL SECURITY;
DROP TABLE visible;
DROP OWNED BY rollup_reader, rollup_all;
DROP ROLE rollup_reader, rollup_all;
RESET promgres.max_source_resolution;

-- nonsense in the SQL of a leaf
SELECT prom._stitched('rate', prom._steps_chunk('[1 2 3]', 10, 10), 0, '{0}', 30, 1, 1, 20, '{1}');
SELECT prom._stitched('rate', prom._steps_chunk('[1 2 3]', 10, 10), 0, '{0}', 30, 1, 1, 20, '{}');
SELECT prom._stitched('rate', prom._steps_chunk('[1 2 3]', 10, 10), 0, '{0}', 30, 1, 1, 20, '{10,0,10,5}');
SELECT prom._stitched('rate', prom._steps_chunk('[1 2 3]', 10, 10), 0, '{0}', 30, 1, 1, 20, '{10,-86401}');
SELECT prom._stitched('rate', prom._steps_chunk('[1 2 3]', 10, 10), 0, '{0}', 30, 1, 1, 20, NULL);
SELECT (prom._stitched('rate', prom._steps_chunk('[1 2 3]', 10, 10), 0, '{0}', 30, 1, 1, 20, '{9223372036854775807,0}'))[1];

-- raw samples alone are read as if there were no rollups
DELETE FROM prom.level;
SELECT prom.to_sql('sum_over_time(m[2h])', to_timestamp(7200), to_timestamp(172800), '1h') ~ 'stitched|rollup' AS is_stitched;

-- nothing stays for other tests
SELECT prom.delete_series('{__name__=~"m|left"}');
DELETE FROM prom.rollup;
DELETE FROM prom.rollup_due;

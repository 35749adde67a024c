-- prom.collect_series: series without samples go after a grace period, and what only they had.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE TEMP VIEW left_over AS
	SELECT s.labels, s.empty_since IS NOT NULL AS empty FROM prom.series s ORDER BY 1;

SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(
	pg_temp.series('{__name__,old,k,a}', '{1000}', '{1}'),
	pg_temp.series('{__name__,old,k,b}', '{1000,86401000}', '{1,2}'),
	pg_temp.series('{__name__,gone,k,a,only,here}', '{2000}', '{1}'))]);
CALL prom.merge();
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,fresh}', '{3000}', '{1}'))]);
SELECT sid AS made FROM prom.series_id('{__name__="never", k="c"}') \gset

-- nothing is removed that has samples, in whatever stage; what has none is marked first
CALL prom.collect_series();
TABLE left_over;

-- a day is dropped
DROP TABLE prom.warm_19700101;
CALL prom.collect_series('1 hour');
TABLE left_over;

-- one of them gets samples again: it starts anew
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,old,k,a}', '{4000}', '{1}'))]);
CALL prom.collect_series('1 hour');
TABLE left_over;

-- the time is over
CALL prom.collect_series('0');
TABLE left_over;
SELECT name, value FROM prom.label_value ORDER BY 1, 2;
SELECT name FROM prom.metric WHERE name IN ('fresh', 'gone', 'never', 'old') ORDER BY 1;

-- back again, with another id
SELECT sid > :made AS another FROM prom.series_id('{__name__="never", k="c"}');
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,gone,k,a,only,here}', '{5000}', '{1}'))]);
SELECT labels, t_ms FROM prom.samples_of('gone');

-- a damaged row that may come back keeps its series
CREATE FUNCTION pg_temp.raw(bytea, bytea) RETURNS prom.chunk LANGUAGE internal IMMUTABLE STRICT AS 'byteacat';
UPDATE prom.fresh SET data = pg_temp.raw('\x00', '') WHERE t_min = 5000;
\set VERBOSITY terse
SELECT prom.quarantine_damaged();
\set VERBOSITY default
CALL prom.collect_series('0');
SELECT labels FROM left_over WHERE empty;
DELETE FROM prom.quarantine;
CALL prom.collect_series('0');
TABLE left_over;

-- step by step, over the gaps; and not where old samples only are seen
BEGIN;
SELECT count(sid) FROM generate_series(1, 100) i, prom.series_id(prom.labels(jsonb_build_object('__name__', 'many', 'i', i::text)));
SELECT prom._collect_step(0, 1, '1 day') > 0 AS more, prom._collect_step(1000000, 1, '1 day') AS none;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT prom._collect_step(0, 1, '1 day');
ROLLBACK;
BEGIN;
CALL prom.collect_series();
ROLLBACK;

SELECT prom.delete_series('{__name__=~".+"}');
SELECT (SELECT count(*) FROM prom.series) AS series, (SELECT count(*) FROM prom.label_value) AS label_values;

-- the work is for a series, not for each pair of them: calls of functions are counted, for 600 series of which half lie in a
-- bucket and the others go
BEGIN;
SET LOCAL track_functions = 'all';
CREATE TEMP TABLE made AS SELECT i, s.* FROM generate_series(1, 600) i,
	prom.series_id(prom.labels(jsonb_build_object('__name__', 'half', 'i', i::text, 'job', (i % 3)::text))) s;
INSERT INTO prom.tier_series SELECT shard, sid >> 6, bit_or(1::int8 << (sid & 63)) FROM made WHERE i % 2 = 0 GROUP BY 1, 2;
SELECT prom._collect_step(0, 10000000, '0');
SELECT count(*), count(*) FILTER (WHERE prom.label(s.labels, 'i')::int4 % 2 = 0) AS in_bucket FROM prom.series s WHERE prom.label(s.labels, '__name__') = 'half';
SELECT count(*) AS labels FROM prom.label_value v WHERE v.name = 'i' OR (v.name = 'job' AND v.value IN ('0', '1', '2'));
SELECT f.name, coalesce(pg_stat_get_xact_function_calls(f.name::regprocedure), 0) <= f.most AS few_calls
FROM (VALUES ('prom._tier_keeps(int2,int4[])', 2), ('prom._label_eq(prom.labels,text,text)', 1000), ('prom._label_pairs(prom.labels)', 3000)) f(name, most);
ROLLBACK;

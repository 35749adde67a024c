-- prom.collect_series: series without samples go after a grace period, and what only they had.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
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
SELECT prom._collect_step(0, 1, '1 day') > 0 AS more, prom._collect_step(1000000, 1, '1 day') AS none;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT prom._collect_step(0, 1, '1 day');
ROLLBACK;
BEGIN;
CALL prom.collect_series();
ROLLBACK;

SELECT prom.delete_series('{__name__=~".+"}');
SELECT (SELECT count(*) FROM prom.series) AS series, (SELECT count(*) FROM prom.label_value) AS label_values;

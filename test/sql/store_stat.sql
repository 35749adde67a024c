-- prom.stat_ingest, prom.stat_merge, prom.stat_rows.  Counters are there if promgres is preloaded, and
-- all of them are NULL if not; what is compared here is what has been added.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set block_lib :srcdir '/lib/block.sql'
\set ECHO none
\i :lib
\i :block_lib
\set ECHO all
SET timezone = 'UTC';

CREATE TEMP TABLE before AS SELECT i.*, m.steps, m.fresh_rows_merged, m.warm_rows_merged, m.rows_written, m.samples_written, m.seconds, m.series_collected
	FROM prom.stat_ingest i, prom.stat_merge m;
SELECT num_nulls(since, calls, samples, steps, seconds) IN (0, 5) AS all_or_none FROM before;

CALL pg_temp.own_block('s');
SET promgres.ingest_max_ahead = '1h';
SELECT samples, error IS NOT NULL AS told FROM prom.ingest(ARRAY[
	pg_temp.body(pg_temp.series('{__name__,s,k,a}', '{1000,2000,-5}', '{1,2,3}'), pg_temp.series('{k,a}', '{1}', '{1}'), pg_temp.series('{__name__,s,k,b}', '{1000}', '{1}')),
	'\x05', NULL]);
SET promgres.ingest_max_age = '1h';
SELECT samples, error FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,s,k,a}', '{3000}', '{1}'))]);
RESET promgres.ingest_max_age;
-- rolled back: not counted
BEGIN;
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,s,k,c}', '{3000}', '{1}'))]);
ROLLBACK;
SELECT fresh_rows, late_rows, fresh_samples, fresh_bytes > 0 AS bytes, oldest_age >= '0' AS age FROM prom.stat_merge;
SELECT stage, day, gen, "rows", samples, bytes > 0 AS bytes FROM prom.stat_rows();
SELECT prom._merge_step(0::int2, 1000);
SELECT fresh_rows, late_rows, fresh_samples, fresh_bytes, oldest_age FROM prom.stat_merge;
SELECT stage, day, gen, "rows", samples, bytes > 0 AS bytes FROM prom.stat_rows();
SELECT count(*) FROM prom.stat_rows('1970-01-02', '1970-01-03');

-- counters are of the server: what others do meanwhile may be in them, too
SELECT bool_and(coalesce(grown, since IS NULL)) AS grown FROM (
	SELECT b.since, unnest(ARRAY[i.calls >= b.calls + 2, i.bodies >= b.bodies + 4, i.bytes > b.bytes, i.samples >= b.samples + 3,
		i.series_created >= b.series_created + 2, i.bodies_refused >= b.bodies_refused + 2, i.series_refused >= b.series_refused + 1,
		i.samples_out_of_bounds >= b.samples_out_of_bounds + 2, i.last_ingest > b.since, m.steps >= b.steps + 1,
		m.fresh_rows_merged >= b.fresh_rows_merged + 1, m.rows_written >= b.rows_written + 1, m.samples_written >= b.samples_written + 3, m.seconds > b.seconds, m.last_merge > b.since]) AS grown
	FROM before b, prom.stat_ingest i, prom.stat_merge m) x;
SELECT prom._stat('no such');
SELECT count(*) AS without_comment FROM pg_attribute WHERE attrelid IN ('prom.stat_merge'::regclass, 'prom.stat_ingest'::regclass)
	AND attnum > 0 AND col_description(attrelid, attnum) IS NULL;

SELECT prom.delete_series('s');

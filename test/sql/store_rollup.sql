-- Rollups: what raw samples say, window by window, however late they come.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set block_lib :srcdir '/lib/block.sql'
\set rollup_lib :srcdir '/lib/rollup.sql'
\set ECHO none
\i :lib
\i :block_lib
\i :rollup_lib
\set ECHO all
SET client_min_messages = warning;
\set VERBOSITY terse
SET timezone = 'UTC';
CREATE FUNCTION pg_temp.raw(bytea, bytea) RETURNS prom.chunk LANGUAGE internal IMMUTABLE STRICT AS 'byteacat';
-- This day, 2001-09-09, and the two hours after its midnight.
\set day 999993600000
-- A series with a sample each "every" seconds in this time; "val" is of i, which counts them.
CREATE PROCEDURE pg_temp.put(metric text, n text, begins int8, ends int8, every numeric, val text) LANGUAGE plpgsql AS $$
DECLARE
	t	int8[];
	v	float8[];
BEGIN
	EXECUTE format('SELECT array_agg(($1 + i * $3 * 1000)::int8 ORDER BY i), array_agg((%s)::float8 ORDER BY i) FROM generate_series(0, (($2 - $1) / ($3 * 1000))::int) i', val)
	INTO t, v USING begins, ends, every;
	PERFORM prom.ingest(ARRAY[pg_temp.body(pg_temp.series(ARRAY['__name__', metric, 'n', n], t, v))]);
END $$;
CREATE FUNCTION pg_temp.of(metrics text, OUT m5 text, OUT h1 text) LANGUAGE sql AS
$$ SELECT pg_temp.wrong(metrics, 300)::text, pg_temp.wrong(metrics, 3600)::text $$;
CREATE TEMP VIEW made AS SELECT prom._stat('rollup_windows') AS windows, prom._stat('rollup_samples') AS samples;
CREATE TEMP VIEW marks AS SELECT d.day - 999993600000 AS after, m.name, d.hours::bit(24) FROM prom.rollup_due d JOIN metric_block m USING (shard, block)
	WHERE m.name LIKE 'ru\_%' ORDER BY 1, 2;

-- counters: no reset, one in hours, several in a window, one at the first sample of a window, one at each sample
CALL pg_temp.own_block('ru_c', 'ru_g', 'ru_s', 'ru_h', 'ru_q');
CALL pg_temp.put('ru_c', 'steady', :day, :day + 93600000, 15, 'i * 3');
CALL pg_temp.put('ru_c', 'hours', :day + 5000, :day + 93600000, 15, 'i % 1001 * 2 + i');
CALL pg_temp.put('ru_c', 'minutes', :day + 7, :day + 43200000, 10, 'i * i % 17 + 1000 / (1 + i % 7)');
CALL pg_temp.put('ru_c', 'edge', :day, :day + 43200000, 60, 'greatest(i - 1, 0) % 5 * 10 + 1');
CALL pg_temp.put('ru_c', 'each', :day, :day + 43200000, 60, '100000 - i');
-- gauges: negative, with fractions, huge
CALL pg_temp.put('ru_g', 'noise', :day, :day + 93600000, 15, 'i * 7919 % 1009 - 500');
CALL pg_temp.put('ru_g', 'roots', :day, :day + 43200000, 15, 'sqrt(i)');
CALL pg_temp.put('ru_g', 'constant', :day, :day + 93600000, 30, '42');
-- NaN now and then, all of an hour, infinities
CALL pg_temp.put('ru_g', 'nan', :day, :day + 43200000, 30, $$CASE WHEN i BETWEEN 240 AND 360 OR i % 11 = 0 THEN 'NaN'::float8 WHEN i % 1000 = 500 THEN '-Infinity' WHEN i > 1300 THEN 'Infinity' ELSE i % 50 END$$);
-- begins and ends in a window, with a gap, and then one sample
CALL pg_temp.put('ru_s', 'short', :day + 7213000, :day + 7999000, 15, 'i');
CALL pg_temp.put('ru_s', 'short', :day + 20000001, :day + 20500000, 15, '7 - i % 3');
CALL pg_temp.put('ru_s', 'short', :day + 80000000, :day + 80000000, 1, '1');
CALL pg_temp.put('ru_s', 'sparse', :day + 86400000, :day + 259200000, 10000, 'i % 4');
CALL pg_temp.put('ru_s', 'midnight', :day + 172800000, :day + 172800000, 1, '5');
-- stale: in a window, at its end, alone in one, at the beginning of a day, before a drop
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,ru_s,n,stale}', VARIADIC (
	SELECT array_agg(pg_temp.sample(:day + 60000 * i, CASE WHEN i IN (0, 7, 10, 11, 12, 13, 14, 15, 16, 30, 31, 40, 1440, 1441) THEN '\x7ff0000000000002'::bytea ELSE float8send(100 + i % 9) END) ORDER BY i)
	FROM generate_series(0, 1500) i)))]);
CALL prom.merge();
SELECT prom._rolled_until();
CALL prom.downsample('0 s');
SELECT * FROM pg_temp.of('ru_c');
SELECT * FROM pg_temp.of('ru_g');
SELECT * FROM pg_temp.of('ru_s');
SELECT resolution, from_ms, until_ms > :day + 259200000 AS done FROM prom.level;
SELECT prom._rolled_until() = min(until_ms) AS same FROM prom.level WHERE resolution > 0;
TABLE prom.rollup_open;
-- an increase is the same: last value less first one and the values before drops, from what is left as from all
WITH raw AS (SELECT sid, t_ms, value FROM pg_temp.raw('ru_c') WHERE day = :day),
	points AS (SELECT sid, t_ms, value FROM pg_temp.stored('ru_c', 3600) WHERE day = :day AND part IN (1, 2)),
	increase AS (
		SELECT x, sid, (array_agg(value ORDER BY t_ms DESC))[1] - (array_agg(value ORDER BY t_ms))[1] + coalesce(sum(before) FILTER (WHERE value < before), 0) AS rise
		FROM (SELECT *, lag(value) OVER (PARTITION BY x, sid ORDER BY t_ms) AS before FROM (SELECT 'raw' AS x, * FROM raw UNION ALL SELECT 'points', * FROM points) a) b
		GROUP BY 1, 2)
SELECT s.labels::text, r.rise, r.rise - p.rise AS difference FROM increase r JOIN increase p USING (sid) JOIN prom.series s USING (sid)
WHERE r.x = 'raw' AND p.x = 'points' ORDER BY 1;

-- minima and maxima of windows are those of "last" with "min" and "max", which are only there where they differ
WITH raw AS (SELECT sid, ceil(t_ms / 300000.0) AS w, min(value), max(value) FROM pg_temp.raw('ru_[cgs]') WHERE live AND value <> 'NaN' GROUP BY 1, 2),
	points AS (SELECT sid, ceil(t_ms / 300000.0) AS w, min(value) FILTER (WHERE part IN (1, 5)) AS min, max(value) FILTER (WHERE part IN (1, 6)) AS max
		FROM pg_temp.stored('ru_[cgs]', 300) WHERE value <> 'NaN' GROUP BY 1, 2)
SELECT count(*) > 900 AS windows, count(*) FILTER (WHERE r.min IS DISTINCT FROM p.min OR r.max IS DISTINCT FROM p.max) AS wrong FROM raw r LEFT JOIN points p USING (sid, w);
SELECT part, count(*) FROM pg_temp.stored('ru_c', 300) p JOIN prom.series s USING (sid) WHERE s.labels::text ~ 'steady' GROUP BY 1 ORDER BY 1;

-- nothing is made twice
CREATE TEMP TABLE earlier AS TABLE made;
CALL prom.downsample('0 s');
SELECT m.windows - t.windows AS windows, m.samples - t.samples AS samples FROM made m, earlier t;

-- late samples: the hours are marked, and these windows are made again, with the first ones after them
CREATE TEMP TABLE rows AS SELECT resolution, block, part, day, seq, xmin::text AS written FROM prom.rollup;
CALL pg_temp.put('ru_c', 'steady', :day + 18000001, :day + 18000001, 1, '1');
CALL pg_temp.put('ru_c', 'steady', :day + 21600000, :day + 21600000, 1, '10000');
CALL prom.merge();
TABLE marks;
SELECT prom._rolled_until() - :day;
CALL prom.downsample('1 hour');
TABLE marks;
DELETE FROM earlier;
INSERT INTO earlier TABLE made;
CALL prom.downsample('0 s');
TABLE marks;
SELECT m.windows - t.windows AS windows, m.samples - t.samples AS samples FROM made m, earlier t;
SELECT * FROM pg_temp.of('ru_c');
-- other blocks, and other days, are as they were
SELECT m.name, count(*) FILTER (WHERE r.xmin::text <> o.written) > 0 AS rewritten, array_agg(DISTINCT r.day - :day) FILTER (WHERE r.xmin::text <> o.written) AS day
FROM prom.rollup r JOIN rows o USING (resolution, block, part, day, seq) JOIN metric_block m USING (block) WHERE m.name ~ '^ru_' GROUP BY 1 ORDER BY 1;
-- far from the next sample; before the first of a day; at midnight; a series that is new there; a stale marker; a value replaced
CALL pg_temp.put('ru_s', 'short', :day + 10000000, :day + 10000000, 1, '9');
CALL pg_temp.put('ru_s', 'sparse', :day + 86400001, :day + 86400001, 1, '77');
CALL prom.merge();
CALL prom.downsample('0 s');
SELECT * FROM pg_temp.of('ru_s');
CALL pg_temp.put('ru_s', 'late', :day, :day + 172800000, 86400, 'i');
CALL pg_temp.put('ru_s', 'short', :day + 7999000, :day + 7999000, 1, '0');
CALL prom.merge();
TABLE marks;
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,ru_s,n,stale}',
	pg_temp.sample(:day + 60000 * 25, '\x7ff0000000000002'), pg_temp.sample(:day + 60000 * 55 + 1, '\x7ff0000000000002')))]);
CALL prom.merge();
CALL prom.downsample('0 s');
SELECT * FROM pg_temp.of('ru_s');
-- a day at random, one hour after the other
SELECT setseed(0.5);
CREATE PROCEDURE pg_temp.random_late(rounds int) LANGUAGE plpgsql AS $$
DECLARE
	t	int8;
BEGIN
	FOR i IN 1..rounds LOOP
		t := 999993600000 + (random() * 90000000)::int8;
		CALL pg_temp.put('ru_' || (ARRAY['c', 'g', 's'])[1 + i % 3], (ARRAY['minutes', 'noise', 'stale', 'hours', 'roots', 'short'])[1 + i % 6],
			t, t, 1, '1 + ' || (random() * 300)::int);
		IF i % 3 = 0 THEN
			CALL prom.merge();
			CALL prom.downsample('0 s');
		END IF;
	END LOOP;
END $$;
CALL pg_temp.random_late(60);
SELECT * FROM pg_temp.of('ru_c');
SELECT * FROM pg_temp.of('ru_g');
SELECT * FROM pg_temp.of('ru_s');

-- native histograms: last, and what a reset needs; count and sum; none for min and max
SELECT histograms FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,ru_h,n,1}', VARIADIC (
	SELECT array_agg(pg_temp.histogram(:day + 60000 * i, 10 * (1 + i % 7), 2.5 * (1 + i % 7), '{0,2}', ARRAY[4 * (1 + i % 7), 6 * (1 + i % 7)]) ORDER BY i)
	FROM generate_series(1, 15) i)), pg_temp.series_of('{__name__,ru_h,n,often}', VARIADIC (
	SELECT array_agg(pg_temp.histogram(:day + 60000 * i, 10 * (1 + i % 2), 1, '{0,1}', ARRAY[10 * (1 + i % 2)]) ORDER BY i)
	FROM generate_series(1, 8) i))), pg_temp.body(pg_temp.series_of('{__name__,ru_h,n,gauge}', VARIADIC (
	SELECT array_agg(pg_temp.histogram(:day + 60000 * i, 10 * (8 - i), 1, '{0,1}', ARRAY[10 * (8 - i)], hint => 3) ORDER BY i)
	FROM generate_series(1, 6) i)))]);
CALL prom.merge();
CALL prom.downsample('0 s');
SELECT s.labels::text, p.part, p.t_ms - :day AS t_ms, p.value, p.histogram FROM pg_temp.stored('ru_h', 300) p JOIN prom.series s USING (shard, sid) ORDER BY 1, 2, 3;

-- deleting: gone at once, and the windows at the edges are made again
SELECT prom.delete_series('{__name__=~"ru_c|ru_g"}', to_timestamp((:day + 3700000) / 1000.0), to_timestamp((:day + 10000000) / 1000.0));
SELECT count(*) FROM pg_temp.stored('ru_c|ru_g', 300) WHERE t_ms BETWEEN :day + 3700000 AND :day + 10000000;
SELECT count(*) FROM pg_temp.stored('ru_c|ru_g', 3600) WHERE t_ms BETWEEN :day + 3700000 AND :day + 10000000 + 3599999 AND part > 2;
TABLE marks;
CALL prom.downsample('0 s');
SELECT * FROM pg_temp.of('ru_c');
SELECT * FROM pg_temp.of('ru_g');
-- a series, as a whole
SELECT prom.delete_series('ru_c{n="each"}');
SELECT * FROM pg_temp.of('ru_c');
CALL prom.downsample('0 s');
SELECT * FROM pg_temp.of('ru_c');

-- a damaged row is set aside by whoever meets it; when it comes back its hours are marked
CALL pg_temp.put('ru_q', '1', :day, :day + 7200000, 60, 'i');
CALL prom.merge();
CREATE TEMP TABLE whole AS SELECT w.data FROM prom.warm w JOIN metric_block m USING (shard, block) WHERE m.name = 'ru_q';
UPDATE prom.warm w SET data = pg_temp.raw('\xc7010203', '') FROM metric_block m WHERE m.name = 'ru_q' AND w.block = m.block AND w.t_min = :day;
CALL prom.downsample('0 s');
SELECT * FROM pg_temp.of('ru_q');
TABLE marks;
UPDATE prom.quarantine q SET data = prom._chunk_send(w.data) FROM whole w WHERE q.t_min = :day;
SELECT prom.quarantine_retry();
TABLE marks;
CALL prom.downsample('0 s');
SELECT * FROM pg_temp.of('ru_q');
-- damaged rollups of a day are made from raw samples as a whole
UPDATE prom.rollup r SET data = pg_temp.raw('\xc7010203', '') FROM metric_block m WHERE m.name = 'ru_q' AND r.block = m.block AND r.part = 1 AND r.resolution = 300 AND r.day = :day;
CALL pg_temp.put('ru_q', '1', :day + 1, :day + 1, 60, '100');
CALL prom.merge();
CALL prom.downsample('0 s');
SELECT * FROM pg_temp.of('ru_q');

-- resolutions: one that is new is made from the oldest samples on, one that is not wanted any more stays, and stays right
SET promgres.rollup_resolutions = '2h, 1d';
SELECT prom._rolled_until();
CALL prom.downsample('0 s');
SELECT pg_temp.wrong('ru_[cgsq]', 300)::text AS m5, pg_temp.wrong('ru_[cgsq]', 7200)::text AS h2, pg_temp.wrong('ru_[cgsq]', 86400)::text AS d1;
CALL pg_temp.put('ru_g', 'noise', :day + 80000000, :day + 80000000, 1, '10000');
CALL prom.merge();
CALL prom.downsample('0 s');
SELECT pg_temp.wrong('ru_[cgsq]', 300)::text AS m5, pg_temp.wrong('ru_[cgsq]', 7200)::text AS h2, pg_temp.wrong('ru_[cgsq]', 86400)::text AS d1;
SELECT resolution, from_ms, until_ms > :day AS until FROM prom.level ORDER BY 1;
SET promgres.rollup_resolutions = '';
SELECT prom._rolled_until();
CALL prom.downsample('0 s');
SET promgres.rollup_resolutions = '5min,7200s ,1d';
SELECT prom._rollup_resolutions();
SET promgres.rollup_resolutions = '5min, 5min';
SET promgres.rollup_resolutions = '1h, 5min';
SET promgres.rollup_resolutions = '7min';
SET promgres.rollup_resolutions = '1.5s';
SET promgres.rollup_resolutions = '500ms';
SET promgres.rollup_resolutions = '0';
SET promgres.rollup_resolutions = '-5min';
SET promgres.rollup_resolutions = '2d';
SET promgres.rollup_resolutions = '1h,';
SET promgres.rollup_resolutions = 'often';
SET promgres.rollup_resolutions = '1s,2s,3s,4s,5s,6s,8s,9s,10s';
SET promgres.rollup_resolutions = '00000000000000000000000000000001h';
RESET promgres.rollup_resolutions;
\set VERBOSITY default
SET promgres.rollup_resolutions = '5 minutes';
\set VERBOSITY terse

-- where raw samples are gone rollups stay, and their series; late samples change nothing; what is deleted goes
SELECT count(*) AS points FROM pg_temp.stored('ru_', 3600) WHERE day = :day;
INSERT INTO prom.level VALUES (0, :day + 86400000);
DELETE FROM prom.warm WHERE t_min >= :day AND t_min < :day + 86400000;
CALL pg_temp.put('ru_g', 'noise', :day + 80000000, :day + 80000000, 1, '20000');
CALL prom.merge();
CALL pg_temp.put('ru_g', 'noise', :day + 86400000, :day + 86400000, 1, '20000');
CALL prom.merge();
TABLE marks;
CALL prom.downsample('0 s');
SELECT count(*) AS points FROM pg_temp.stored('ru_', 3600) WHERE day = :day;
DELETE FROM prom.warm WHERE t_min >= :day AND t_min < :day + 86400000;
SELECT s.labels::text FROM prom.series s WHERE s.labels::text ~ 'ru_[cgqh]' AND s.sid = ANY (prom._empty_series(0::int2, (SELECT array_agg(sid ORDER BY sid) FROM prom.series)));
SELECT prom.delete_series('ru_q', to_timestamp((:day + 1800000) / 1000.0));
SELECT t_ms - :day AS t_ms, part, value FROM pg_temp.stored('ru_q', 300) ORDER BY 1, 2;
SELECT prom.delete_series('ru_q');
SELECT (SELECT count(*) FROM prom.series WHERE labels::text ~ 'ru_q') AS series, (SELECT count(*) FROM pg_temp.stored('ru_q', 300)) AS points;
-- a resolution that was not wanted for so long goes on with what there is
UPDATE prom.level SET until_ms = :day WHERE resolution = 3600;
CALL prom.downsample('0 s');
SELECT from_ms, until_ms > :day + 86400000 AS until FROM prom.level WHERE resolution = 3600;

-- killed in the middle of a day: steps go on where they were
UPDATE prom.level SET until_ms = :day + 86400000 WHERE resolution = 300;
SELECT prom._downsample_step('0 s');
SELECT shard, day - :day AS day, resolutions, next_block FROM prom.rollup_open;
SELECT rolled_until, rolling_day, blocks_done, blocks > 0 AS blocks, blocks_due, windows_made > 0 AS windows FROM prom.stat_rollup;
BEGIN;
SELECT prom._downsample_step('0 s');
ROLLBACK;
-- who writes samples meanwhile leaves a mark
CALL pg_temp.put('ru_g', 'noise', :day + 86400001, :day + 86400001, 1, '30000');
CALL prom.merge();
TABLE marks;
CALL prom.downsample('0 s');
SELECT count(*) FROM pg_temp.expected('ru_[cgs]', 300) e FULL JOIN pg_temp.stored('ru_[cgs]', 300) s USING (shard, sid, part, day, t_ms)
WHERE day > :day AND float8send(e.value) IS DISTINCT FROM float8send(s.value) AND part <> 4;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT prom._rollup_due_step(0::int2, 0);
ROLLBACK;

-- nobody reads rows of rollups but who sees all series, nor makes them but an administrator
SET ROLE prom_reader;
SELECT count(*) > 0 AS rows FROM prom._rollup_rows;
SELECT count(*) FROM prom.rollup;
SELECT resolution, "from", until > '2001-09-10' AS until FROM prom.levels ORDER BY 1;
SELECT rolled_until > '2001-09-10' AS rolled FROM prom.stat_rollup;
CALL prom.downsample();
RESET ROLE;
SET ROLE pg_monitor;
SELECT rolled_until > '2001-09-10' AS rolled, (SELECT count(*) > 0 FROM prom.levels) AS levels FROM prom.stat_rollup;
RESET ROLE;
DELETE FROM prom.level;
DELETE FROM prom.rollup;
SELECT prom.delete_series('{__name__=~"ru_.*"}') > 0 AS deleted;

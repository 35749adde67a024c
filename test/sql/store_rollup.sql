-- Rollups: what raw samples say, window by window, however late they come.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set rollup_lib :srcdir '/lib/rollup.sql'
\set ECHO none
\i :lib
\i :rollup_lib
\set ECHO all
\set VERBOSITY terse
SET timezone = 'UTC';
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
CREATE TEMP VIEW marks AS SELECT d.day - 999993600000 AS after, m.name, d.hours::bit(24) FROM prom.rollup_due d JOIN prom.metric m USING (shard, block)
	WHERE m.name LIKE 'ru\_%' ORDER BY 1, 2;

-- counters: no reset, one in hours, several in a window, one at the first sample of a window, one at each sample
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
CALL pg_temp.put('ru_g', 'nan', :day, :day + 43200000, 30, $$CASE WHEN i BETWEEN 240 AND 360 OR i % 11 = 0 THEN 'NaN' WHEN i % 1000 = 500 THEN '-Infinity' WHEN i > 1300 THEN 'Infinity' ELSE i % 50 END$$);
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

-- nothing is made twice
SELECT pg_stat_force_next_flush() IS NULL;
CREATE TEMP TABLE then AS TABLE made;
CALL prom.downsample('0 s');
SELECT m.windows - t.windows AS windows, m.samples - t.samples AS samples FROM made m, then t;

-- late samples: the hours are marked, and these windows are made again, with the first ones after them
CREATE TEMP TABLE rows AS SELECT resolution, block, part, day, seq, xmin::text FROM prom.rollup;
CALL pg_temp.put('ru_c', 'steady', :day + 18000001, :day + 18000001, 1, '1');
CALL pg_temp.put('ru_c', 'steady', :day + 21600000, :day + 21600000, 1, '10000');
CALL prom.merge();
TABLE marks;
SELECT prom._rolled_until() - :day;
CALL prom.downsample('1 hour');
TABLE marks;
DELETE FROM then;
INSERT INTO then TABLE made;
CALL prom.downsample('0 s');
TABLE marks;
SELECT m.windows - t.windows AS windows, m.samples - t.samples AS samples FROM made m, then t;
SELECT * FROM pg_temp.of('ru_c');
-- other blocks, and other days, are as they were
SELECT m.name, count(*) FILTER (WHERE r.xmin::text <> o.xmin) > 0 AS rewritten, array_agg(DISTINCT r.day - :day) FILTER (WHERE r.xmin::text <> o.xmin) AS day
FROM prom.rollup r JOIN rows o USING (resolution, block, part, day, seq) JOIN prom.metric m USING (block) WHERE m.name ~ '^ru_' GROUP BY 1 ORDER BY 1;
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

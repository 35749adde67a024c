-- How long samples are kept: rules, and what goes when.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set block_lib :srcdir '/lib/block.sql'
\set ECHO none
\i :lib
\i :block_lib
\set ECHO all
\set SHOW_CONTEXT never

-- ---- rules

SELECT prom.set_retention(NULL, raw => '1 day');
SELECT prom.set_retention(NULL, raw => '-1 day');
SELECT prom.set_retention(NULL);
SELECT prom.set_retention('rate(m[5m])', raw => '3 days');
SELECT prom.set_retention('m offset 5m', raw => '3 days');
SELECT prom.set_retention(NULL, raw => '3 days', rollups => '{"7min": "1 day"}');
SELECT prom.set_retention(NULL, raw => '3 days', rollups => '[]');
SELECT prom.set_retention(NULL, rollups => '{"5min": "90 days"}');
SELECT prom.set_retention(NULL, raw => '3 days', rollups => '{"5min": "1 year", "1h": "90 days"}');
SELECT prom.set_retention(NULL, raw => '15 days', rollups => '{"5min": "90 days", "1h": "1 year"}');
SELECT prom.set_retention('{job  =  "dev"}', raw => '2 hours');
SELECT prom.set_retention('{job  =  "dev"}', raw => '100 days');
SELECT prom.set_retention('{job  =  "dev"}', raw => '3 days');
SELECT prom.set_retention('{job="dev"}', raw => '4 days');
-- for ever, all levels of it
SELECT prom.set_retention('slo', raw => '0', rollups => '{"5min": "0", "1h": "0"}');
SELECT * FROM prom.retention ORDER BY selector NULLS FIRST, resolution;
-- the rule follows the default where it does not say, and so the default may not go below it
SELECT prom.set_retention(NULL, raw => '3 days', rollups => '{"5min": "3 days"}');
SELECT prom.reset_retention('{job="none"}');
SELECT prom.reset_retention('slo');
SELECT selector, resolution FROM prom.retention WHERE selector = 'slo';

-- ---- what goes

-- A day that is so many days ago, at noon; three series a day: of the default, of a shorter and of a longer rule.
-- No rule ends within a day of one of them, so that midnight may come meanwhile.
CREATE TEMP TABLE today AS SELECT floor(extract(epoch FROM clock_timestamp()) / 86400)::int8 AS number;
CREATE FUNCTION pg_temp.day(ago int) RETURNS int8 LANGUAGE sql AS $$ SELECT (number - ago) * 86400000 FROM pg_temp.today $$;
CREATE FUNCTION pg_temp.write(ago int) RETURNS int8 LANGUAGE sql AS
$$ SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(VARIADIC ARRAY(SELECT pg_temp.series(ARRAY['__name__', 'm', 'job', j],
	ARRAY[pg_temp.day(ago) + 43200000, pg_temp.day(ago) + 43260000], ARRAY[ago, ago + 0.5]::float8[]) FROM unnest(ARRAY['app', 'dev', 'slo']) j))]) $$;
CREATE VIEW pg_temp.kept AS
SELECT labels['job'] AS job, string_agg(((pg_temp.day(0) - floor(t_ms / 86400000) * 86400000) / 86400000)::text, ' ' ORDER BY t_ms) FILTER (WHERE t_ms % 86400000 = 43200000) AS days_ago
FROM prom.samples_of('m') GROUP BY 1 ORDER BY 1;
-- (in one block of ids, whatever there was before)
CALL pg_temp.own_block('m');
-- How many partitions go is also a matter of what tests before this one have left.
SET client_min_messages = warning;
SELECT sum(pg_temp.write(ago)) FROM unnest('{30,20,17,10,6,1}'::int[]) ago;
CALL prom.merge();
SELECT * FROM pg_temp.kept;

-- Raw samples stay until rollups have been made of them.
SELECT prom.set_retention('{job="slo"}', raw => '25 days');
CALL prom.retain();
SELECT * FROM pg_temp.kept;
SELECT phase ~ '^prom.warm_\d+ waits for its rollups$' AS waits, failures, error FROM prom.jobs WHERE name = 'retain';
INSERT INTO prom.level SELECT r, 0, pg_temp.day(7) FROM unnest('{300,3600}'::int4[]) r ON CONFLICT (resolution) DO UPDATE SET from_ms = 0, until_ms = excluded.until_ms;
DELETE FROM prom.rollup_due;
CALL prom.retain();
SELECT * FROM pg_temp.kept;
SELECT (pg_temp.day(0) - from_ms) / 86400000 AS raw_since_days_ago FROM prom.level WHERE resolution = 0;
UPDATE prom.level SET until_ms = pg_temp.day(0) WHERE resolution > 0;
CALL prom.retain();
SELECT * FROM pg_temp.kept;
SELECT rows, failures, error FROM prom.jobs WHERE name = 'retain';
-- What has been looked at is not looked at again, but for what is new.
CALL prom.retain();
SELECT rows FROM prom.jobs WHERE name = 'retain';
SELECT pg_temp.write(17), pg_temp.write(40);
CALL prom.merge();
DELETE FROM prom.rollup_due;
CALL prom.retain();
SELECT * FROM pg_temp.kept;
SELECT count(*) AS partitions FROM prom._days() WHERE t_min < pg_temp.day(0);
-- Each day that was changed is to be compacted, so that its space is given back.
SELECT count(*) AS days FROM prom.compaction c JOIN prom._days() d ON d.t_min = c.day WHERE c.day < pg_temp.day(0);

-- A rule that ends: what was kept by it goes, and the day with it.
SELECT prom.reset_retention('{job="slo"}');
CALL prom.retain();
SELECT * FROM pg_temp.kept;
SELECT count(*) AS partitions FROM prom._days() WHERE t_min < pg_temp.day(0);
SELECT count(*) FROM prom.expired WHERE from_ms < pg_temp.day(14);

-- A rule that is made shorter.
SELECT prom.set_retention('{job="dev"}', raw => '60 hours');
CALL prom.retain();
SELECT * FROM pg_temp.kept;

-- ---- rollups

SELECT prom._make_rollup(300, pg_temp.day(200)), prom._make_rollup(300, pg_temp.day(80)), prom._make_rollup(300, pg_temp.day(20)), prom._make_rollup(3600, pg_temp.day(500));
INSERT INTO prom.rollup SELECT r, s.shard, s.sid >> 6, 1, pg_temp.day(ago), 0, pg_temp.day(ago) + 1, pg_temp.day(ago) + 1, count(*),
	prom.chunk_merge(prom.chunk_build(s.shard, s.sid, ARRAY[pg_temp.day(ago) + 1], ARRAY[1.0]::float8[]), s.sid)
FROM (VALUES (300, 200), (300, 80), (300, 20), (3600, 500)) v(r, ago), prom.series s GROUP BY r, s.shard, s.sid >> 6, ago;
SELECT prom.set_retention('{job="dev"}', rollups => '{"5min": "30 days"}');
SELECT resolution, count(*) FROM prom._parts() WHERE resolution IN (300, 3600) GROUP BY 1 ORDER BY 1;
CALL prom.retain();
-- The oldest ones are gone, and of the series with a rule what is older than that.
SELECT resolution, count(*) FROM prom._parts() WHERE resolution IN (300, 3600) GROUP BY 1 ORDER BY 1;
SELECT r.resolution, (pg_temp.day(0) - r.day) / 86400000 AS days_ago, r.samples, (SELECT string_agg(s.labels['job'], ' ' ORDER BY 1)
	FROM prom.series s WHERE s.sid = ANY (prom._sids(r.data))) AS jobs FROM prom.rollup r ORDER BY 1, 2;
SELECT resolution, from_ms > pg_temp.day(205) AND from_ms <= pg_temp.day(180) OR from_ms > pg_temp.day(560) AND from_ms <= pg_temp.day(450) AS moved FROM prom.level WHERE resolution > 0 ORDER BY 1;

SELECT prom.reset_retention(s) FROM (SELECT DISTINCT selector AS s FROM prom.retention ORDER BY 1) x;
SELECT prom.delete_series('m');
TRUNCATE prom.level, prom.expired, prom.rollup_due;
DELETE FROM prom.compaction;

-- ---- late samples of series whose raw samples retention has removed: the rollups of the others are made again, theirs stay

CALL pg_temp.own_block('m');
SELECT sum(pg_temp.write(ago)) FROM unnest('{6,1}'::int[]) ago;
CALL prom.merge();
CALL prom.downsample('0');
SELECT prom.set_retention('{job="dev"}', raw => '60 hours');
CALL prom.retain();
SELECT rules FROM prom.expired ORDER BY 1;
-- what queries see of all of it, raw samples where they are
CREATE VIEW pg_temp.seen AS SELECT labels['job'] AS job, value FROM prom.query('count_over_time(m[1d])', to_timestamp(pg_temp.day(5) / 1000)) ORDER BY 1;
CREATE VIEW pg_temp.rolled AS SELECT labels['job'] AS job, value FROM prom.query('count_over_time(m[1d])', to_timestamp(pg_temp.day(5) / 1000)) ORDER BY 1;
SET promgres.max_source_resolution = '1h';
SELECT * FROM pg_temp.rolled;
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(VARIADIC ARRAY(SELECT pg_temp.series(ARRAY['__name__', 'm', 'job', j],
	ARRAY[pg_temp.day(6) + 43201000], ARRAY[7]::float8[]) FROM unnest(ARRAY['app', 'dev', 'slo']) j))]);
-- The late sample of the series that has none but that does not hide its rollups, fresh or merged.
RESET promgres.max_source_resolution;
SELECT * FROM pg_temp.seen;
CALL prom.merge();
SELECT * FROM pg_temp.seen;
SELECT labels['job'] AS job, count(*) FROM prom.samples_of('m', to_timestamp(pg_temp.day(6) / 1000), to_timestamp(pg_temp.day(5) / 1000)) GROUP BY 1 ORDER BY 1;
SET promgres.replica_labels = 'replica';
SELECT * FROM pg_temp.seen;
RESET promgres.replica_labels;
SET promgres.max_source_resolution = '1h';
SELECT count(DISTINCT day) AS marks FROM prom.rollup_due;
CALL prom.downsample('0');
CALL prom.retain();
SELECT * FROM pg_temp.rolled;
-- The same where the default removes, and a rule keeps.
SELECT prom.set_retention(NULL, raw => '60 hours'), prom.set_retention('{job="slo"}', raw => '25 days');
CALL prom.retain();
SELECT rules FROM prom.expired ORDER BY 1;
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(VARIADIC ARRAY(SELECT pg_temp.series(ARRAY['__name__', 'm', 'job', j],
	ARRAY[pg_temp.day(6) + 43202000], ARRAY[8]::float8[]) FROM unnest(ARRAY['app', 'dev', 'slo']) j))]);
CALL prom.merge();
RESET promgres.max_source_resolution;
SELECT * FROM pg_temp.seen;
SET promgres.max_source_resolution = '1h';
CALL prom.downsample('0');
CALL prom.retain();
SELECT * FROM pg_temp.rolled;
RESET promgres.max_source_resolution;
SELECT prom.reset_retention(s) FROM (SELECT DISTINCT selector AS s FROM prom.retention ORDER BY 1) x;
SELECT prom.delete_series('m');
TRUNCATE prom.level, prom.expired, prom.rollup_due;
DELETE FROM prom.compaction;

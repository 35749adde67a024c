-- 47_rollup: history in windows of minutes and hours, which stays when raw samples go.

CREATE TABLE prom.rollup (
	resolution	int4 NOT NULL,
	shard		int2 NOT NULL,
	block		int4 NOT NULL,
	part		int2 NOT NULL,
	day			int8 NOT NULL,
	seq			int8 NOT NULL,
	t_min		int8 NOT NULL,
	t_max		int8 NOT NULL,
	samples		int4 NOT NULL,
	data		prom.chunk NOT NULL
) PARTITION BY LIST (resolution);
-- As with prom.warm, each leaf partition has a primary key of its own.
COMMENT ON TABLE prom.rollup IS 'Samples in windows (k*resolution, (k+1)*resolution], stamped with their end: a row holds one part of the points of series of one block (sid >> 6) on one UTC day; partitions by resolution, then by day.';
COMMENT ON COLUMN prom.rollup.resolution IS 'width of a window in seconds';
COMMENT ON COLUMN prom.rollup.part IS '1: the last raw sample of each window, 2: what makes these right for counters that were reset, 3: count, 4: sum, 5: min, 6: max';
COMMENT ON COLUMN prom.rollup.day IS 'beginning of the UTC day (ms since 1970) after which the windows end, 24 hours after it at the latest';
COMMENT ON COLUMN prom.rollup.seq IS 'counts the rows of one part';
COMMENT ON COLUMN prom.rollup.t_min IS 'of the first point, ms since 1970';

CREATE TABLE prom.level (
	resolution	int4 PRIMARY KEY,
	from_ms		int8,
	until_ms	int8
);
COMMENT ON TABLE prom.level IS 'Which resolutions there are, and of what time; 0 seconds is raw.';
COMMENT ON COLUMN prom.level.resolution IS 'seconds; 0: raw samples';
COMMENT ON COLUMN prom.level.from_ms IS 'rollups are complete for times after this, which is the beginning of a UTC day (ms since 1970); of raw, the beginning of the oldest day that is kept (NULL, or no row: nothing was dropped)';
COMMENT ON COLUMN prom.level.until_ms IS 'rollups are complete for times up to this, which is the beginning of a UTC day; of raw, NULL';

CREATE TABLE prom.rollup_open (
	shard		int2 NOT NULL,
	day			int8 NOT NULL,
	resolutions	int4[] NOT NULL,
	next_block	int4 DEFAULT 0,
	PRIMARY KEY (shard, day)
);
COMMENT ON TABLE prom.rollup_open IS 'The day that is being rolled up; a row per shard.';
COMMENT ON COLUMN prom.rollup_open.day IS 'its beginning, ms since 1970';
COMMENT ON COLUMN prom.rollup_open.resolutions IS 'which are made, seconds';
COMMENT ON COLUMN prom.rollup_open.next_block IS 'where the next step begins; NULL: all blocks are done';

CREATE TABLE prom.rollup_due (
	shard		int2 NOT NULL,
	day			int8 NOT NULL,
	block		int4 NOT NULL,
	hours		int4 NOT NULL,
	since		timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (shard, day, block)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE prom.rollup_due IS 'Blocks of series whose samples changed on a day that was rolled up already.';
COMMENT ON COLUMN prom.rollup_due.day IS 'its beginning, ms since 1970; a sample at midnight belongs to the day that ends';
COMMENT ON COLUMN prom.rollup_due.hours IS 'a bit for each hour of the day in which they changed';
COMMENT ON COLUMN prom.rollup_due.since IS 'when they changed first';

SELECT pg_catalog.pg_extension_config_dump('prom.rollup', '');
SELECT pg_catalog.pg_extension_config_dump('prom.level', '');
SELECT pg_catalog.pg_extension_config_dump('prom.rollup_open', '');
SELECT pg_catalog.pg_extension_config_dump('prom.rollup_due', '');

-- For those who see all series; see prom._label_value.
CREATE VIEW prom._rollup_rows WITH (security_barrier) AS
SELECT r.* FROM prom.rollup AS r
WHERE NOT pg_catalog.row_security_active('prom.series'::pg_catalog.regclass);
COMMENT ON VIEW prom._rollup_rows IS 'prom.rollup, for those who see all series.';

CREATE FUNCTION prom._rollup_span(resolution int4) RETURNS int8
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN ceil(resolution * 1000 / 86400.0)::int8 * 86400000;
COMMENT ON FUNCTION prom._rollup_span(int4) IS
'What a partition of a resolution spans, ms: days with about a thousand windows, so that years are few partitions.';

CREATE FUNCTION prom._make_rollup(resolution int4, day int8) RETURNS bool
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	span	int8 := prom._rollup_span(resolution);
	first	int8 := floor(day / span::numeric) * span;
	level	text := 'rollup_' || resolution;
	part	text := level || '_' || to_char(timestamp '1970-01-01' + first / 86400000 * interval '1 day', 'YYYYMMDD');
	owner	text := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'prom.rollup'::regclass);
BEGIN
	-- What is there must not be dropped before the caller has written to it.
	LOCK TABLE prom.rollup IN ROW EXCLUSIVE MODE;
	IF (SELECT c.relispartition FROM pg_class c WHERE c.oid = to_regclass('prom.' || part)) THEN
		RETURN false;
	END IF;
	LOCK TABLE prom.rollup IN SHARE UPDATE EXCLUSIVE MODE;
	IF to_regclass('prom.' || level) IS NULL THEN
		EXECUTE format('CREATE TABLE prom.%I (LIKE prom.rollup INCLUDING DEFAULTS INCLUDING CONSTRAINTS, CHECK (resolution = %s)) PARTITION BY RANGE (day)', level, resolution);
		EXECUTE format('ALTER TABLE prom.%I ENABLE ROW LEVEL SECURITY', level);
		EXECUTE format('ALTER TABLE prom.%I OWNER TO %I', level, owner);
		EXECUTE format('ALTER TABLE prom.rollup ATTACH PARTITION prom.%I FOR VALUES IN (%s)', level, resolution);
		EXECUTE format('ALTER TABLE prom.%I DROP CONSTRAINT %I', level, level || '_resolution_check');
	END IF;
	IF to_regclass('prom.' || part) IS NOT NULL THEN
		RETURN false;
	END IF;
	EXECUTE format('CREATE TABLE prom.%I (LIKE prom.rollup INCLUDING DEFAULTS INCLUDING CONSTRAINTS, CHECK (resolution = %s AND day >= %s AND day < %s)) '
		'WITH (autovacuum_vacuum_scale_factor = 0.05)', part, resolution, first, first + span);
	EXECUTE format('ALTER TABLE prom.%I ADD PRIMARY KEY (shard, block, part, day, seq)', part);
	EXECUTE format('ALTER TABLE prom.%I ENABLE ROW LEVEL SECURITY', part);
	EXECUTE format('ALTER TABLE prom.%I OWNER TO %I', part, owner);
	EXECUTE format('ALTER TABLE prom.%I ATTACH PARTITION prom.%I FOR VALUES FROM (%s) TO (%s)', level, part, first, first + span);
	EXECUTE format('ALTER TABLE prom.%I DROP CONSTRAINT %I', part, part || '_check');
	RETURN true;
END
$$;
COMMENT ON FUNCTION prom._make_rollup(int4, int8) IS
'Makes the partition of prom.rollup for windows of so many seconds that end on a UTC day (its beginning, ms since 1970), unless it is there; true if it was made.';

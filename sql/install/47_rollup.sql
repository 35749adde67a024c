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
COMMENT ON COLUMN prom.rollup.part IS '1: the last raw sample of each window, 2: what makes these right for counters that were reset, 3: count, 4: sum, 5 and 6: min and max where 1 does not say the same';
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

CREATE VIEW prom.levels AS
SELECT pg_catalog.make_interval(secs => l.resolution) AS resolution,
	CASE WHEN l.from_ms OPERATOR(pg_catalog.>=) 0 THEN pg_catalog.to_timestamp(l.from_ms::pg_catalog.float8 OPERATOR(pg_catalog./) 1000::pg_catalog.float8) END AS "from",
	pg_catalog.to_timestamp(l.until_ms::pg_catalog.float8 OPERATOR(pg_catalog./) 1000::pg_catalog.float8) AS until
FROM prom.level l;
COMMENT ON VIEW prom.levels IS 'Which resolutions there are, and of what time.';
COMMENT ON COLUMN prom.levels.resolution IS 'width of a window; 0: raw samples';
COMMENT ON COLUMN prom.levels."from" IS 'rollups are complete for times after this; of raw samples, the beginning of the oldest day that is kept; NULL: all there ever was';
COMMENT ON COLUMN prom.levels.until IS 'rollups are complete for times up to this; of raw samples, NULL';

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

CREATE FUNCTION prom._rollup_resolutions() RETURNS int4[]
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_rollup_resolutions';
COMMENT ON FUNCTION prom._rollup_resolutions() IS 'promgres.rollup_resolutions in seconds, ascending.';

CREATE FUNCTION prom._lock_rollup() RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'prom_lock_rollup';
COMMENT ON FUNCTION prom._lock_rollup() IS
'Waits for a step of rollups to end and keeps others from beginning until the end of the transaction. To be taken before the lock of merges.';

CREATE FUNCTION prom._rolled_until() RETURNS int8
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN prom._rollup_resolutions() = '{}' THEN 9223372036854775807
	ELSE least((SELECT min(coalesce(l.until_ms, -86400000)) FROM unnest(prom._rollup_resolutions()) u LEFT JOIN prom.level l ON l.resolution = u),
		(SELECT min(d.day) FROM prom.rollup_due d)) END;
COMMENT ON FUNCTION prom._rolled_until() IS
'Raw samples up to this time (ms since 1970) are in all rollups, as they are now: they may be dropped. The greatest there is if no rollups are made.';

-- Marks

CREATE FUNCTION prom._rollup_mark(one int2, blocks int4[], t_min int8[], t_max int8[]) RETURNS void
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- The days from "first" to before "next" have rollups, and raw samples; so have days before, of series that a rule keeps.
	first	int8 := coalesce((SELECT l.from_ms FROM prom.level l WHERE l.resolution = 0), -86400000);
	next	int8 := greatest((SELECT max(l.until_ms) FROM prom.level l WHERE l.resolution > 0),
		(SELECT max(o.day) + 86400000 FROM prom.rollup_open o WHERE o.shard = one));
BEGIN
	-- Most samples that are merged are of today.
	IF next IS NULL OR (SELECT min(u) FROM unnest(t_min) u) > next THEN
		RETURN;
	END IF;
	INSERT INTO prom.rollup_due AS x (shard, day, block, hours)
	SELECT one, d.day, u.block, bit_or(((1 << (least(u.t_max - 1 - d.day, 86399999) / 3600000 - greatest(u.t_min - 1 - d.day, 0) / 3600000 + 1)::int4) - 1)
		<< (greatest(u.t_min - 1 - d.day, 0) / 3600000)::int4)
	FROM ROWS FROM (unnest(blocks), unnest(t_min), unnest(t_max)) AS u(block, t_min, t_max)
	CROSS JOIN LATERAL generate_series((floor((u.t_min - 1) / 86400000.0) * 86400000)::int8, u.t_max - 1, 86400000) d(day)
	WHERE (d.day >= first OR EXISTS (SELECT FROM prom.expired e WHERE e.resolution = 0 AND e.from_ms = d.day)) AND d.day < next
	GROUP BY d.day, u.block ORDER BY d.day, u.block
	ON CONFLICT ON CONSTRAINT rollup_due_pkey DO UPDATE SET hours = x.hours | excluded.hours;
END
$$;
COMMENT ON FUNCTION prom._rollup_mark(int2, int4[], int8[], int8[]) IS
'Samples of these blocks changed within these times: marks the hours of those days that have been rolled up, or are just now, and of which there still are raw samples. To be called by whoever changes samples, who holds the merge lock.';

-- Making them

CREATE FUNCTION prom._rollup_day_step(shard int2, day int8) RETURNS void
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'prom_rollup_day_step';
COMMENT ON FUNCTION prom._rollup_day_step(int2, int8) IS
'Makes the rollups of some blocks of a shard on a day that has a row in prom.rollup_open, and notes there how far it came. The caller holds the lock of rollups.';

CREATE FUNCTION prom._rollup_due_step(shard int2, day int8) RETURNS int4
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'prom_rollup_due_step';
COMMENT ON FUNCTION prom._rollup_due_step(int2, int8) IS
'Makes windows of a shard and day again in which samples have changed, of some of the blocks that have a mark in prom.rollup_due, and removes these marks; returns how many. The caller holds the lock of rollups.';

CREATE FUNCTION prom._rollup_is_loaded() RETURNS bool
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	part	regclass;
	number	int8;
BEGIN
	-- Not of prom.warm as a whole, of which each day would be opened.
	FOR part IN SELECT d.day FROM prom._days() d ORDER BY d.t_min LOOP
		-- (less than nothing are those of rows that came back from a bucket, or from the quarantine)
		EXECUTE format('SELECT abs(w.seq) FROM %s w LIMIT 1', part) INTO number;
		IF number IS NOT NULL THEN
			RETURN number <= (SELECT s.last_value FROM prom.store_seq s);
		END IF;
	END LOOP;
	RETURN false;
END
$$;
COMMENT ON FUNCTION prom._rollup_is_loaded() IS
'True when there are warm rows and their numbers have been drawn here; see prom._is_loaded.';

CREATE FUNCTION prom._rollup_last(delay interval) RETURNS int8
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN floor(prom._to_ms(clock_timestamp() - delay) / 86400000.0) * 86400000;
COMMENT ON FUNCTION prom._rollup_last(interval) IS 'The last midnight (UTC, ms since 1970) that is so long ago.';

CREATE FUNCTION prom._downsample_due(delay interval) RETURNS bool
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN EXISTS (SELECT FROM prom.rollup_open o WHERE o.next_block IS NOT NULL)
	OR EXISTS (SELECT FROM prom.rollup_due d WHERE d.since < clock_timestamp() - delay)
	OR EXISTS (SELECT FROM unnest(prom._rollup_resolutions()) u LEFT JOIN prom.level l ON l.resolution = u
		WHERE l.until_ms IS NULL OR l.until_ms < prom._rollup_last(delay));
COMMENT ON FUNCTION prom._downsample_due(interval) IS 'True when prom._downsample_step may have something to do; cheap.';

CREATE FUNCTION prom._rollup_begin(delay interval) RETURNS bool
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted	int4[] := prom._rollup_resolutions();
	last	int8 := prom._rollup_last(delay);
	raw		int8 := coalesce((SELECT l.from_ms FROM prom.level l WHERE l.resolution = 0), -86400000);
	tiered	int8;
	first	int8;
	next	int8;
BEGIN
	IF NOT EXISTS (SELECT FROM unnest(wanted) u LEFT JOIN prom.level l ON l.resolution = u WHERE l.until_ms IS NULL OR l.until_ms < last) THEN
		RETURN false;
	END IF;
	-- No merge may make rows of a day that is passed over, or opened, without seeing that.
	PERFORM prom._lock_merge(h.shard) FROM (SELECT s.shard FROM prom.shard s ORDER BY 1) h;
	-- Of samples that have moved to a bucket no other rollups are made than there were.
	SELECT max(o.day) + 86400000 INTO tiered FROM prom.tier_object o WHERE o.resolution = 0 AND o.deleted IS NULL AND NOT o.read_only;
	raw := greatest(raw, tiered);
	UPDATE prom.level l SET from_ms = raw, until_ms = raw WHERE l.until_ms < tiered AND l.resolution = ANY (wanted);
	-- A new resolution is complete where there were no samples ever.
	INSERT INTO prom.level (resolution, from_ms, until_ms)
		SELECT u, raw, greatest(raw, least(last, (SELECT min(d.t_min) FROM prom._days() d) - 86400000)) FROM unnest(wanted) u
		ON CONFLICT (resolution) DO NOTHING;
	-- One that was not wanted for so long that raw samples are gone meanwhile goes on without them.
	UPDATE prom.level l SET until_ms = raw WHERE l.until_ms < raw AND l.resolution = ANY (wanted);
	SELECT min(l.until_ms) INTO first FROM prom.level l WHERE l.resolution = ANY (wanted);
	IF first >= last THEN
		RETURN false;
	END IF;
	-- The first day with samples from there on; one at midnight belongs to the day that ends.
	SELECT least(last, min(greatest(first, d.t_min - 86400000))) INTO next FROM prom._days() d WHERE d.t_min >= first;
	SELECT least(next, min(l.until_ms)) INTO next FROM prom.level l WHERE l.resolution = ANY (wanted) AND l.until_ms > first;
	IF next > first THEN
		UPDATE prom.level l SET until_ms = next WHERE l.until_ms = first AND l.resolution = ANY (wanted);
	ELSE
		INSERT INTO prom.rollup_open (shard, day, resolutions)
			SELECT h.shard, first, (SELECT array_agg(l.resolution ORDER BY 1) FROM prom.level l WHERE l.until_ms = first AND l.resolution = ANY (wanted))
			FROM prom.shard h;
	END IF;
	RETURN true;
END
$$;
COMMENT ON FUNCTION prom._rollup_begin(interval) IS
'Opens the next day of which rollups are to be made, or passes over days without samples; false if there is none that has been over for so long.';

CREATE FUNCTION prom._rollup_close(day int8) RETURNS void
LANGUAGE sql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	UPDATE prom.level l SET until_ms = _rollup_close.day + 86400000
		FROM (SELECT DISTINCT unnest(o.resolutions) AS resolution FROM prom.rollup_open o WHERE o.day = _rollup_close.day) x
		WHERE l.resolution = x.resolution AND l.until_ms = _rollup_close.day;
	DELETE FROM prom.rollup_open o WHERE o.day = _rollup_close.day;
END;
COMMENT ON FUNCTION prom._rollup_close(int8) IS 'The rollups of a day are complete.';

CREATE FUNCTION prom._downsample_step(delay interval) RETURNS bool
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	next	record;
BEGIN
	IF NOT prom._downsample_due(delay) OR NOT prom._rollup_is_loaded() THEN
		RETURN false;
	END IF;
	PERFORM prom._lock_rollup();
	SELECT o.shard, o.day INTO next FROM prom.rollup_open o WHERE o.next_block IS NOT NULL ORDER BY o.day, o.shard LIMIT 1;
	IF FOUND THEN
		PERFORM prom._rollup_day_step(next.shard, next.day);
		IF NOT EXISTS (SELECT FROM prom.rollup_open o WHERE o.day = next.day AND o.next_block IS NOT NULL) THEN
			PERFORM prom._rollup_close(next.day);
		END IF;
		RETURN true;
	END IF;
	FOR next IN
		SELECT d.shard, d.day FROM prom.rollup_due d WHERE d.since < clock_timestamp() - delay GROUP BY 1, 2 ORDER BY 2 DESC, 1
	LOOP
		IF prom._rollup_due_step(next.shard, next.day) > 0 THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN prom._rollup_begin(delay);
END
$$;
COMMENT ON FUNCTION prom._downsample_step(interval) IS
'Does what is next for rollups, within the calling transaction and a bounded time: some blocks of the day that is being rolled up, or of a day whose samples have changed since, or the next day is opened. Only what is so long ago. False: there is nothing to do. See prom.downsample.';

CREATE VIEW prom.stat_rollup AS
SELECT prom._stat_time('started') AS since,
	CASE WHEN prom._rolled_until() OPERATOR(pg_catalog.<) 9223372036854775807 THEN
		pg_catalog.to_timestamp(prom._rolled_until()::pg_catalog.float8 OPERATOR(pg_catalog./) 1000::pg_catalog.float8) ELSE 'infinity'::pg_catalog.timestamptz END AS rolled_until,
	'1970-01-01'::pg_catalog.date OPERATOR(pg_catalog.+) (o.day OPERATOR(pg_catalog./) 86400000)::pg_catalog.int4 AS rolling_day,
	o.blocks_done,
	o.blocks,
	d.blocks AS blocks_due,
	pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) d.since AS oldest_due_age,
	prom._stat('rollup_steps') AS steps,
	prom._stat('rollup_blocks') AS blocks_made,
	prom._stat('rollup_samples') AS samples_read,
	prom._stat('rollup_windows') AS windows_made,
	prom._stat('rollup_rows') AS rows_written,
	prom._stat('rollup_us') OPERATOR(pg_catalog./) 1e6::pg_catalog.float8 AS seconds,
	prom._stat_time('rollup_last') AS last_step
FROM (SELECT pg_catalog.min(o.day) AS day, pg_catalog.sum(coalesce(o.next_block, h.next_block)) AS blocks_done, pg_catalog.sum(h.next_block) AS blocks
		FROM prom.rollup_open o JOIN prom.shard h USING (shard)) o,
	(SELECT pg_catalog.count(*) AS blocks, pg_catalog.min(due.since) AS since FROM prom.rollup_due due) d;
COMMENT ON VIEW prom.stat_rollup IS 'How far rollups are in this database, and what was done for them since the start of the server, in all databases; what was rolled back is not counted. Counters are NULL if promgres is not preloaded.';
COMMENT ON COLUMN prom.stat_rollup.since IS 'when the server was started';
COMMENT ON COLUMN prom.stat_rollup.rolled_until IS 'samples up to this time are in all rollups, as they are now';
COMMENT ON COLUMN prom.stat_rollup.rolling_day IS 'day whose rollups are being made; NULL: none';
COMMENT ON COLUMN prom.stat_rollup.blocks_done IS 'ids of blocks of series that were looked at for it';
COMMENT ON COLUMN prom.stat_rollup.blocks IS 'of so many';
COMMENT ON COLUMN prom.stat_rollup.blocks_due IS 'blocks of series, on a day each, whose samples have changed since it was rolled up';
COMMENT ON COLUMN prom.stat_rollup.oldest_due_age IS 'how long ago the first of them changed';
COMMENT ON COLUMN prom.stat_rollup.steps IS 'steps, a transaction each';
COMMENT ON COLUMN prom.stat_rollup.blocks_made IS 'blocks, on a day each, whose rollups were made, or made again';
COMMENT ON COLUMN prom.stat_rollup.samples_read IS 'raw samples read for it';
COMMENT ON COLUMN prom.stat_rollup.windows_made IS 'windows of a series and resolution that were made of them';
COMMENT ON COLUMN prom.stat_rollup.rows_written IS 'rows of prom.rollup that were written';
COMMENT ON COLUMN prom.stat_rollup.seconds IS 'time spent in steps';
COMMENT ON COLUMN prom.stat_rollup.last_step IS 'when one was committed last';

-- Made elsewhere

CREATE TABLE prom.rollup_foreign (
	resolution	int4 NOT NULL,
	from_ms		int8 NOT NULL,
	to_ms		int8 NOT NULL,
	selector	text COLLATE "C" NOT NULL,
	PRIMARY KEY (resolution, selector, from_ms)
);
COMMENT ON TABLE prom.rollup_foreign IS 'Rollups that were imported: of this time some series may have no other samples.';
COMMENT ON COLUMN prom.rollup_foreign.resolution IS 'seconds';
COMMENT ON COLUMN prom.rollup_foreign.from_ms IS 'beginning of a UTC day, ms since 1970; exclusive';
COMMENT ON COLUMN prom.rollup_foreign.to_ms IS 'end of a UTC day; inclusive';
COMMENT ON COLUMN prom.rollup_foreign.selector IS 'of which series';

CREATE TABLE prom.rollup_gap (
	resolution	int4 NOT NULL,
	from_ms		int8 NOT NULL,
	to_ms		int8 NOT NULL,
	rules		text NOT NULL
);
COMMENT ON TABLE prom.rollup_gap IS 'Times of which imported series have rollups, but nothing of this resolution; made of prom.rollup_foreign, and read by queries as prom.expired is.';
COMMENT ON COLUMN prom.rollup_gap.resolution IS 'seconds; 0: raw samples';
COMMENT ON COLUMN prom.rollup_gap.from_ms IS 'ms since 1970; of raw samples inclusive, of rollups exclusive';
COMMENT ON COLUMN prom.rollup_gap.rules IS 'of which series, as in prom.expired';

SELECT pg_catalog.pg_extension_config_dump('prom.rollup_foreign', '');
SELECT pg_catalog.pg_extension_config_dump('prom.rollup_gap', '');

CREATE FUNCTION prom._rollup_admit(level int4, first_ms int8, last_ms int8, rule text) RETURNS void
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	raw		int8 := coalesce((SELECT l.from_ms FROM prom.level l WHERE l.resolution = 0), -86400000);
	begins	int8 := floor((first_ms - 1) / 86400000.0) * 86400000;
	ends	int8 := ceil((last_ms + 1) / 86400000.0) * 86400000;
	times	int8multirange;
	part	regclass;
	day		int8;
	filled	bool := false;
BEGIN
	PERFORM prom._lock_rollup();
	PERFORM prom._lock_merge(h.shard) FROM (SELECT s.shard FROM prom.shard s ORDER BY 1) h;
	-- The first day with raw samples.
	FOR part, day IN SELECT d.day, d.t_min FROM prom._days() d ORDER BY d.t_min LOOP
		EXECUTE format('SELECT EXISTS (SELECT FROM %s)', part) INTO filled;
		EXIT WHEN filled;
		day := NULL;
	END LOOP;
	-- As prom._rollup_begin does, which does nothing where there are no raw samples at all.  Whoever writes samples of
	-- a day up to there leaves a mark.
	INSERT INTO prom.level AS l (resolution, from_ms, until_ms)
		VALUES (level, raw, greatest(raw, least(prom._rollup_last('0'), day - 86400000)))
		ON CONFLICT ON CONSTRAINT level_pkey DO UPDATE SET until_ms = excluded.until_ms
			WHERE l.until_ms < excluded.until_ms AND NOT filled;
	-- Before it there was nothing.
	UPDATE prom.level l SET from_ms = begins WHERE l.resolution = level AND l.from_ms > begins;

	SELECT range_agg(int8range(f.from_ms, f.to_ms)) INTO times
	FROM (SELECT f.from_ms, f.to_ms FROM prom.rollup_foreign f WHERE f.resolution = level AND f.selector = rule
		UNION ALL SELECT begins, ends) f;
	DELETE FROM prom.rollup_foreign f WHERE f.resolution = level AND f.selector = rule;
	INSERT INTO prom.rollup_foreign SELECT level, lower(r), upper(r), rule FROM unnest(times) r;
	DELETE FROM prom.rollup_gap;
	INSERT INTO prom.rollup_gap
	SELECT x.resolution, lower(r), upper(r), jsonb_build_object('all', false, 'gone', jsonb_build_array(x.selector), 'stay', NULL)
	FROM (SELECT w.resolution, f.selector,
			range_agg(int8range(f.from_ms, f.to_ms)) FILTER (WHERE f.resolution <> w.resolution)
			- coalesce(range_agg(int8range(f.from_ms, f.to_ms)) FILTER (WHERE f.resolution = w.resolution), '{}') AS times
		FROM (SELECT 0 AS resolution UNION SELECT unnest(prom._rollup_resolutions()) UNION SELECT l.resolution FROM prom.level l) w
		CROSS JOIN prom.rollup_foreign f GROUP BY w.resolution, f.selector) x
	CROSS JOIN LATERAL unnest(x.times) r;
END
$$;
COMMENT ON FUNCTION prom._rollup_admit(int4, int8, int8, text) IS
'Rollups of this time (ms since 1970) and these series are about to be written that were not made of raw samples here: tells queries.';

-- Deleting

CREATE FUNCTION prom._cut_rollup(one int2, sids int4[], from_ms int8, to_ms int8) RETURNS TABLE (part regclass, bytes int8)
LANGUAGE sql STRICT VOLATILE PARALLEL UNSAFE ROWS 10
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- Of the parts that have one value for a whole window, every window goes of which a part is deleted.
	WITH hit AS MATERIALIZED (
		SELECT r.tableoid::regclass AS table, r.resolution, r.block, r.part, r.day, r.seq, prom._taken(r.data, r.samples, x.rest) AS taken, x.rest
		FROM (SELECT s >> 6 AS block, array_agg(s ORDER BY s) AS sids FROM unnest(sids) s GROUP BY 1) b
		JOIN prom.rollup r ON r.block = b.block
		CROSS JOIN LATERAL (SELECT CASE WHEN r.part <= 2 THEN to_ms
			ELSE least(to_ms, 253402300800000) + r.resolution * 1000::int8 - 1 END AS to_ms) u
		CROSS JOIN LATERAL (SELECT prom._without(r.data, b.sids, from_ms, u.to_ms) AS rest OFFSET 0) x
		WHERE r.shard = one AND r.t_max >= from_ms AND r.t_min <= u.to_ms
			AND prom._hits(r.data, b.sids, from_ms, u.to_ms) <> '{}'
	), gone AS (
		DELETE FROM prom.rollup r USING hit h WHERE r.resolution = h.resolution AND r.shard = one AND r.block = h.block
			AND r.part = h.part AND r.day = h.day AND r.seq = h.seq AND h.rest IS NULL
	), less AS (
		UPDATE prom.rollup r SET data = h.rest, samples = (prom.chunk_info(h.rest)).samples FROM hit h
		WHERE r.resolution = h.resolution AND r.shard = one AND r.block = h.block
			AND r.part = h.part AND r.day = h.day AND r.seq = h.seq AND h.rest IS NOT NULL
	)
	SELECT h.table, sum(h.taken)::int8 FROM hit h GROUP BY 1;
END;
COMMENT ON FUNCTION prom._cut_rollup(int2, int4[], int8, int8) IS
'Takes what stands for samples of these series (ascending) with from_ms <= t <= to_ms out of rollups; windows that were not deleted as a whole are made again from what is left, if they are marked. The caller holds the lock of rollups. Returns how much it took out of which partitions.';

-- 43_compact: days that are over get as few rows as possible.

CREATE TABLE prom.compaction (
	shard		int2 NOT NULL,
	day			int8 NOT NULL,
	since		timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	seq			int8 NOT NULL,
	next_block	int4 DEFAULT 0,
	again		bool NOT NULL DEFAULT false,
	PRIMARY KEY (shard, day)
) WITH (fillfactor = 50);
COMMENT ON TABLE prom.compaction IS 'Days with rows that were written since they were compacted.';
COMMENT ON COLUMN prom.compaction.day IS 'its beginning, ms since 1970';
COMMENT ON COLUMN prom.compaction.since IS 'when the first of these rows was written; or when to try again, less promgres.compact_delay';
COMMENT ON COLUMN prom.compaction.seq IS 'what prom.store_seq had come to; while a dump is being restored it is behind, because sequences are set last, and nothing is compacted';
COMMENT ON COLUMN prom.compaction.next_block IS 'where the next step begins; 0: there was none, NULL: all are done, the partition waits for its vacuum';
COMMENT ON COLUMN prom.compaction.again IS 'rows have been written since the first step';

SELECT pg_catalog.pg_extension_config_dump('prom.compaction', '');

CREATE FUNCTION prom._mark_compaction(shard int2, day int8) RETURNS void
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'prom_mark_compaction';
COMMENT ON FUNCTION prom._mark_compaction(int2, int8) IS
'Notes that rows of a day (its beginning, ms since 1970) have changed, so that it is compacted; the caller holds the merge lock.';

CREATE FUNCTION prom._compact_step(shard int2, day_ms int8, every bool) RETURNS bool
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'prom_compact_step';
COMMENT ON FUNCTION prom._compact_step(int2, int8, bool) IS
'Compacts some blocks of a shard on a day that has a mark in prom.compaction, within the calling transaction: those whose rows that are not compacted make an eighth, or (every) all that have such rows. True if there is more to do.';

CREATE FUNCTION prom._compact_next(delay_s int4, OUT work text, OUT shard int2, OUT day int8, OUT part text)
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE WHEN c.next_block IS NULL THEN 'end' WHEN c.next_block = 0 THEN 'begin' ELSE 'go on' END, c.shard, c.day,
		(SELECT d.day::text FROM prom._days() d WHERE d.t_min = c.day)
	FROM prom.compaction c
	WHERE c.seq <= (SELECT s.last_value FROM prom.store_seq s) AND CASE WHEN c.next_block = 0 THEN
			c.day < prom._to_ms(clock_timestamp() - make_interval(secs => delay_s)) - 86400000
			AND c.since < clock_timestamp() - make_interval(secs => delay_s)
			AND NOT EXISTS (SELECT FROM prom.fresh f WHERE f.shard = c.shard AND f.t_max >= c.day AND f.t_min < c.day + 86400000)
		ELSE c.next_block IS NOT NULL
			-- The vacuum is for all shards of the day.
			OR NOT EXISTS (SELECT FROM prom.compaction o WHERE o.day = c.day AND o.next_block > 0) END
	ORDER BY c.next_block = 0, c.day DESC, c.shard LIMIT 1;
END;
COMMENT ON FUNCTION prom._compact_next(int4) IS
'What the maintenance worker is to do: vacuum a partition and begin to compact it, go on, or vacuum it for the end. A day is due so many seconds after it was over and after rows of it were written, when none is fresh.';

CREATE FUNCTION prom._compact_begin(day int8) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	part	regclass;
BEGIN
	SELECT d.day INTO part FROM prom._days() d JOIN pg_class c ON c.oid = d.day
	WHERE d.t_min = _compact_begin.day AND 'toast_tuple_target=8160' = ANY (c.reloptions);
	IF part IS NOT NULL THEN
		EXECUTE format('ALTER TABLE %s SET (toast_tuple_target = 2040)', part);
	END IF;
END
$$;
COMMENT ON FUNCTION prom._compact_begin(int8) IS
'Rows of this day that are larger than a quarter of a page are kept beside the table from now on, where they lie without gaps.';

CREATE FUNCTION prom._compact_retry(one int2, first int8) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	UPDATE prom.compaction c SET next_block = 0, again = false, since = clock_timestamp() + interval '10 minutes' WHERE c.shard = one AND c.day = first;
END;
COMMENT ON FUNCTION prom._compact_retry(int2, int8) IS 'A day could not be compacted: later, so that others are.';

CREATE FUNCTION prom._compact_end(day int8) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM prom.compaction c WHERE c.day = _compact_end.day AND c.next_block IS NULL AND NOT c.again;
	UPDATE prom.compaction c SET next_block = 0, again = false, since = clock_timestamp()
	WHERE c.day = _compact_end.day AND c.next_block IS NULL;
	-- Compacted rows were written behind those that they replace.
	PERFORM prom._slack_add(ARRAY[d.day], ARRAY[prom._room(d.day)]) FROM prom._days() d WHERE d.t_min = _compact_end.day;
END
$$;
COMMENT ON FUNCTION prom._compact_end(int8) IS
'The partition of a compacted day has been vacuumed: removes its marks, or sets them back if rows have been written meanwhile, and notes what room is left in it.';

CREATE PROCEDURE prom.compact(day date)
LANGUAGE plpgsql
AS $$
DECLARE
	first	int8 := (day OPERATOR(pg_catalog.-) '1970-01-01'::pg_catalog.date)::pg_catalog.int8 OPERATOR(pg_catalog.*) 86400000;
	one		int2;
BEGIN
	IF first IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'day must not be null';
	END IF;
	COMMIT;
	FOR one IN SELECT h.shard FROM prom.shard h ORDER BY 1 LOOP
		SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
		PERFORM prom._compact_begin(first);
		PERFORM prom._lock_merge(one);
		INSERT INTO prom.compaction AS c (shard, day, seq) SELECT one, first, s.last_value FROM prom.store_seq s
			ON CONFLICT ON CONSTRAINT compaction_pkey DO UPDATE SET next_block = 0, again = false;
		WHILE prom._compact_step(one, first, true) LOOP
			COMMIT;
			SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
		END LOOP;
		COMMIT;
	END LOOP;
	PERFORM prom._tell(pg_catalog.format(CASE WHEN EXISTS (SELECT FROM prom._parts() p WHERE p.resolution OPERATOR(pg_catalog.=) 0 AND p.from_ms OPERATOR(pg_catalog.=) first)
		THEN '%s is compacted' ELSE 'there are no merged samples of %s' END, pg_catalog.to_char(day, 'YYYY-MM-DD')));
END
$$;
COMMENT ON PROCEDURE prom.compact(date) IS
'Compacts the merged rows of a UTC day, one transaction per step. The maintenance worker does so by itself when a day is over, and gives the space back; call it to force a compaction.';

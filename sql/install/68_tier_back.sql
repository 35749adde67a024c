-- 68_tier_back.sql: samples that come back from the bucket for a while (prom.rehydrate).

CREATE FUNCTION prom._tier_restore(o prom.tier_object, blocks int4[]) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	data	record;
	chunks	prom.chunk[];
	c		prom.tier_object;
	n		int8;
	all_of	int4[];
BEGIN
	-- All that is fetched is here before anything is locked.
	SELECT array_agg(x.block ORDER BY x.n) AS block, array_agg(x.part ORDER BY x.n) AS part, array_agg(x.t_min ORDER BY x.n) AS t_min,
		array_agg(x.t_max ORDER BY x.n) AS t_max, array_agg(x.samples ORDER BY x.n) AS samples, array_agg(x.data ORDER BY x.n) AS data, count(*) AS n
	INTO data FROM prom._tier_chunks(o.server, o.key, o.etag, o.directory, blocks, o.holes, o.resolution) WITH ORDINALITY x (block, part, t_min, t_max, samples, data, n);
	chunks := data.data;
	PERFORM prom._lock_rollup(), prom._lock_merge(o.shard);
	SELECT x.* INTO c FROM prom.tier_object x WHERE x.id = o.id FOR UPDATE;
	IF NOT FOUND OR c.deleted IS NOT NULL OR c.gone && blocks OR c.holes <> o.holes THEN
		RAISE serialization_failure USING MESSAGE = format('object "%s" was changed by somebody else meanwhile', o.key), HINT = 'Try again.';
	END IF;
	IF o.resolution = 0 THEN
		PERFORM prom._make_day(o.day);
		-- Older than all that is here, as it was in the bucket.
		INSERT INTO prom.warm (shard, block, t_min, seq, t_max, gen, samples, data)
		SELECT o.shard, u.block, u.t_min, -nextval('prom.store_seq'), u.t_max, 128, u.samples, u.data
		FROM ROWS FROM (unnest(data.block), unnest(data.t_min), unnest(data.t_max), unnest(data.samples), unnest(chunks)) u (block, t_min, t_max, samples, data);
	ELSE
		PERFORM prom._make_rollup(o.resolution, o.day);
		INSERT INTO prom.rollup (resolution, shard, block, part, day, seq, t_min, t_max, samples, data)
		SELECT o.resolution, o.shard, u.block, u.part, o.day, coalesce((SELECT max(r.seq) + 1 FROM prom.rollup r
				WHERE r.resolution = o.resolution AND r.shard = o.shard AND r.day = o.day AND r.block = u.block AND r.part = u.part), 0)
			+ row_number() OVER (PARTITION BY u.block, u.part ORDER BY u.n), u.t_min, u.t_max, u.samples, u.data
		FROM ROWS FROM (unnest(data.block), unnest(data.part), unnest(data.t_min), unnest(data.t_max), unnest(data.samples), unnest(chunks))
			WITH ORDINALITY u (block, part, t_min, t_max, samples, data, n);
	END IF;
	GET DIAGNOSTICS n = ROW_COUNT;
	all_of := c.gone || blocks;
	UPDATE prom.tier_object x SET gone = all_of,
		deleted = CASE WHEN NOT EXISTS (SELECT FROM prom._tier_entries(x.directory) e WHERE NOT e.block = ANY (all_of)) THEN clock_timestamp() END
	WHERE x.id = o.id;
	PERFORM prom._stat_count('offload_returned', n);
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._tier_restore(prom.tier_object, int4[]) IS
'Brings blocks of an object back as local rows, and the object is not read for them any more; returns how many chunks.';

CREATE FUNCTION prom._tier_restore_step(level int4, one int2, from_ms int8, to_ms int8, blocks int4[]) RETURNS int8
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	o		prom.tier_object;
	few		int4[];
BEGIN
	-- The newest first: each is older than what is here already.
	FOR o IN SELECT x.* FROM prom.tier_object x
		WHERE x.deleted IS NULL AND (level IS NULL OR x.resolution = level) AND (one IS NULL OR x.shard = one) AND x.t_max >= from_ms AND x.t_min <= to_ms
		ORDER BY x.day, x.resolution, x.shard, x.seq DESC, x.id
	LOOP
		-- About 16 MB at a time.
		SELECT array_agg(b.block ORDER BY b.block) INTO few FROM (
			SELECT e.block, sum(sum(e.length)) OVER (ORDER BY e.block) - sum(e.length) AS before FROM prom._tier_entries(o.directory) e
			WHERE NOT e.block = ANY (o.gone) AND (blocks IS NULL OR e.block = ANY (blocks)) GROUP BY 1) b
		WHERE b.before < 16777216;
		CONTINUE WHEN few IS NULL;
		IF o.read_only THEN
			RAISE object_not_in_prerequisite_state USING MESSAGE = format('object "%s" belongs to a bucket that is attached read-only', o.key),
				HINT = 'Its samples can be queried, and not changed here.';
		END IF;
		RETURN prom._tier_restore(o, few);
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION prom._tier_restore_step(int4, int2, int8, int8, int4[]) IS
'Brings the next blocks back that have samples of a time (of these blocks, resolution, and shard; NULL: of all); how many chunks, or NULL if there are no more.';

CREATE PROCEDURE prom.rehydrate(from_time timestamptz, to_time timestamptz, selector text DEFAULT NULL, hold interval DEFAULT '7 days')
LANGUAGE plpgsql
AS $$
DECLARE
	from_ms	int8 := prom._to_ms(from_time);
	to_ms	int8 := prom._to_ms(to_time);
	one		int2;
	blocks	int4[];
	chunks	int8;
	total	int8 := 0;
BEGIN
	IF from_ms IS NULL OR to_ms IS NULL OR hold IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'times must not be null';
	END IF;
	IF from_ms OPERATOR(pg_catalog.>) to_ms THEN
		RAISE invalid_parameter_value USING MESSAGE = 'end must not be before start';
	END IF;
	COMMIT;
	FOR one IN SELECT DISTINCT o.shard FROM prom.tier_objects o ORDER BY 1 LOOP
		SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
		blocks := prom._tier_blocks(one, selector);
		PERFORM prom._tier_hold(one, blocks, from_ms, to_ms, hold);
		COMMIT;
		LOOP
			SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
			chunks := prom._tier_restore_step(NULL, one, from_ms, to_ms, blocks);
			EXIT WHEN chunks IS NULL;
			total := total OPERATOR(pg_catalog.+) chunks;
			COMMIT;
		END LOOP;
	END LOOP;
	PERFORM prom._tell(CASE WHEN total OPERATOR(pg_catalog.>) 0 THEN pg_catalog.format('chunks brought back from the bucket: %s', total)
		ELSE 'nothing was brought back: the bucket has no samples of this time and selector that are not here' END);
END
$$;
COMMENT ON PROCEDURE prom.rehydrate(timestamptz, timestamptz, text, interval) IS
'Brings samples and rollups with a time in this range back from the bucket as local rows, whole days of blocks of 64 series: of all series, or of those that a selector matches. The job "tier" leaves these days alone for so long.';

CREATE FUNCTION prom._tier_blocks(one int2, selector text) RETURNS int4[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	blocks	int4[];
BEGIN
	IF selector IS NOT NULL THEN
		EXECUTE 'SELECT coalesce(array_agg(DISTINCT s.sid >> 6), ''{}'') FROM prom.series s WHERE s.shard = $1 AND ' || prom._selector_sql(selector, 's')
		INTO blocks USING one;
	END IF;
	RETURN blocks;
END
$$;
COMMENT ON FUNCTION prom._tier_blocks(int2, text) IS 'Blocks of a shard that have series which a selector matches; NULL without one: all.';

CREATE FUNCTION prom._tier_hold(one int2, blocks int4[], from_ms int8, to_ms int8, hold interval) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	DELETE FROM prom.tier_hold h WHERE h.until <= clock_timestamp();
	-- Whoever asks again for what is here already wants it for longer.
	UPDATE prom.tier_hold h SET until = clock_timestamp() + hold WHERE h.from_ms <= _tier_hold.to_ms AND h.to_ms >= _tier_hold.from_ms AND h.until < clock_timestamp() + hold;
	INSERT INTO prom.tier_hold (from_ms, to_ms, until) SELECT DISTINCT o.day, o.day + 86399999, clock_timestamp() + hold FROM prom.tier_object o
	WHERE o.deleted IS NULL AND o.shard = one AND o.t_max >= _tier_hold.from_ms AND o.t_min <= _tier_hold.to_ms
		AND EXISTS (SELECT FROM prom._tier_entries(o.directory, o.holes, o.resolution) e WHERE NOT e.block = ANY (o.gone) AND (blocks IS NULL OR e.block = ANY (blocks)))
		AND NOT EXISTS (SELECT FROM prom.tier_hold h WHERE h.from_ms <= o.day AND h.to_ms >= o.day + 86399999 AND h.until >= clock_timestamp() + hold - interval '1 minute');
END;
COMMENT ON FUNCTION prom._tier_hold(int2, int4[], int8, int8, interval) IS
'Days of this time of which objects have samples of these blocks of a shard (NULL: of any), or which are held already, are not moved to the bucket for so long.';

-- 68_tier_gone.sql: what is not to be in the bucket any more: deleted or expired samples, objects and uploads that nobody needs.

CREATE FUNCTION prom._tier_cut(id int8, blocks int4[], masks int8[], from_ms int8, to_ms int8) RETURNS int4[]
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	o		prom.tier_object;
	hit		record;
	window_ms int8 := greatest((SELECT max(l.resolution) FROM prom.level l), 3600) * 1000::int8;
BEGIN
	SELECT x.* INTO STRICT o FROM prom.tier_object x WHERE x.id = _tier_cut.id FOR UPDATE;
	-- What was brought back lies in the bucket still, and must not be found there.
	SELECT array_agg(h.block) AS block, array_agg(h.series) AS series, array_agg(h.t_min) AS t_min, array_agg(h.t_max) AS t_max INTO hit FROM (
		SELECT e.block, bit_or(e.series & w.mask) AS series, min(e.t_min) AS t_min, max(e.t_max) AS t_max
		FROM prom._tier_entries(o.directory, o.holes, o.resolution) e JOIN unnest(blocks, masks) w (block, mask) ON w.block = e.block
		WHERE e.series & w.mask <> 0 AND e.t_max >= from_ms AND e.t_min - o.resolution * 1000::int8 * (e.part > 2)::int4 <= to_ms GROUP BY 1 ORDER BY 1) h;
	IF hit.block IS NULL THEN
		RETURN '{}';
	END IF;
	WITH old AS (
		SELECT max(u.v) FILTER (WHERE u.n % 4 = 1) AS block, max(u.v) FILTER (WHERE u.n % 4 = 2) AS series,
			max(u.v) FILTER (WHERE u.n % 4 = 3) AS first, max(u.v) FILTER (WHERE u.n % 4 = 0) AS last
		FROM unnest(o.holes) WITH ORDINALITY u (v, n) GROUP BY (u.n - 1) / 4
	), merged AS (
		SELECT x.block, bit_or(x.series) AS series, x.first, x.last
		FROM (SELECT old.block, old.series, old.first, old.last FROM old
			UNION ALL SELECT h.block, h.series, from_ms, to_ms FROM unnest(hit.block, hit.series) h (block, series)) x GROUP BY 1, 3, 4
	)
	SELECT array_agg(v.v ORDER BY m.block, m.first, m.last, v.n) INTO o.holes
	FROM merged m, unnest(ARRAY[m.block, m.series, m.first, m.last]) WITH ORDINALITY v (v, n);
	UPDATE prom.tier_object x SET holes = o.holes,
		deleted = coalesce(x.deleted, CASE WHEN NOT EXISTS (
			SELECT FROM prom._tier_entries(o.directory, o.holes, o.resolution) e WHERE NOT e.block = ANY (o.gone)) THEN clock_timestamp() END)
	WHERE x.id = o.id;
	IF o.deleted IS NOT NULL THEN
		RETURN '{}';
	END IF;
	-- A window that is deleted as a whole goes from objects of rollups as well; one at the edge is made again of what is left.
	IF o.resolution = 0 THEN
		PERFORM prom._rollup_mark(o.shard, array_agg(m.block), array_agg(m.t), array_agg(m.t)) FROM (
			SELECT h.block, x.t FROM unnest(hit.block, hit.t_min, hit.t_max) h (block, t_min, t_max), unnest(ARRAY[from_ms, to_ms], ARRAY[greatest(from_ms, 0) - 1, to_ms]) x (t, edge)
			WHERE x.t BETWEEN h.t_min AND h.t_max AND x.edge % window_ms <> 0 AND NOT h.block = ANY (o.gone)) m
		HAVING count(*) > 0;
	END IF;
	RETURN ARRAY(SELECT h.block * 64 + bit FROM unnest(hit.block, hit.series) h (block, series), generate_series(0, 63) bit
		WHERE h.series >> bit & 1 = 1 AND NOT h.block = ANY (o.gone));
END
$$;
COMMENT ON FUNCTION prom._tier_cut(int8, int4[], int8[], int8, int8) IS
'Makes holes in an object: what it has of these series, blocks and a bit for each series of them, with from_ms <= t <= to_ms is not read from now on. Returns the ids of those that it may have had; the caller holds the lock of merges, and that of rollups.';

CREATE FUNCTION prom._tier_delete(one int2, sids int4[], from_ms int8, to_ms int8) RETURNS int4[]
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	o		record;
	wanted	record;
	hit		int4[] := '{}';
BEGIN
	SELECT array_agg(b.block ORDER BY b.block) AS blocks, array_agg(b.mask ORDER BY b.block) AS masks INTO wanted
	FROM (SELECT u >> 6 AS block, bit_or(1::int8 << (u & 63)) AS mask FROM unnest(sids) u GROUP BY 1) b;
	FOR o IN SELECT x.id, x.key, x.server, x.read_only FROM prom.tier_object x
		WHERE x.shard = one AND x.t_max >= from_ms AND x.t_min - x.resolution * 1000::int8 <= to_ms
			AND x.block_min <= wanted.blocks[cardinality(wanted.blocks)] AND x.block_max >= wanted.blocks[1]
		ORDER BY x.id
	LOOP
		hit := hit || prom._tier_cut(o.id, wanted.blocks, wanted.masks, from_ms, to_ms);
		IF o.read_only AND hit <> '{}' THEN
			RAISE object_not_in_prerequisite_state USING MESSAGE = 'some of these samples are in a bucket that is attached read-only',
				DETAIL = format('Object "%s" of bucket "%s" has some of them.', o.key, o.server),
				HINT = 'Delete them where they were written; prom.detach_bucket() removes all of that bucket from here.';
		END IF;
	END LOOP;
	IF hit <> '{}' THEN
		PERFORM prom._tier_forget_series(one, wanted.blocks);
	END IF;
	RETURN hit;
END
$$;
COMMENT ON FUNCTION prom._tier_delete(int2, int4[], int8, int8) IS
'What objects have of these series with from_ms <= t <= to_ms is not read from now on; returns which series they may have had samples of. The caller holds the lock of merges, and that of rollups.';

CREATE FUNCTION prom._tier_expire_step() RETURNS int8
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	next	record;
	here	record;
	wanted	record;
	n		int8 := 0;
BEGIN
	-- One by one in order, so that the functions are called for no more days than need be.
	SELECT d.resolution, d.day, x.rules, x.condition INTO next
	FROM (SELECT DISTINCT o.resolution, o.day FROM prom.tier_object o WHERE o.deleted IS NULL AND NOT o.read_only ORDER BY 1, 2) d
	CROSS JOIN LATERAL prom._expired_series(d.resolution, d.day + 86400000) x
	WHERE x.rules IS NOT NULL AND x.condition <> 'true' AND prom._may_drop(d.resolution, d.day + 86400000)
		AND EXISTS (SELECT FROM prom.tier_object o WHERE o.resolution = d.resolution AND o.day = d.day AND o.deleted IS NULL AND NOT o.read_only AND o.rules IS DISTINCT FROM x.rules)
	LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	PERFORM prom._lock_rollup();
	FOR here IN SELECT x.shard, array_agg(x.id ORDER BY x.id) AS ids FROM prom.tier_object x
		WHERE x.resolution = next.resolution AND x.day = next.day AND x.deleted IS NULL AND NOT x.read_only GROUP BY 1 ORDER BY 1
	LOOP
		PERFORM prom._lock_merge(here.shard);
		EXECUTE 'SELECT array_agg(b.block ORDER BY b.block) AS blocks, array_agg(b.mask ORDER BY b.block) AS masks
			FROM (SELECT s.sid >> 6 AS block, bit_or(1::int8 << (s.sid & 63)) AS mask FROM prom.series s WHERE s.shard = $1 AND ' || next.condition || ' GROUP BY 1) b'
		INTO wanted USING here.shard;
		IF wanted.blocks IS NOT NULL THEN
			DELETE FROM prom.exemplar e USING unnest(wanted.blocks, wanted.masks) w (block, mask)
			WHERE next.resolution = 0 AND e.shard = here.shard AND e.t_ms < next.day + 86400000 AND e.sid >> 6 = w.block AND w.mask >> (e.sid & 63) & 1 = 1;
			SELECT n + count(DISTINCT h) INTO n FROM unnest(here.ids) id, unnest(prom._tier_cut(id, wanted.blocks, wanted.masks, -9223372036854775807, 9223372036854775807)) h;
		END IF;
		UPDATE prom.tier_object x SET rules = next.rules WHERE x.id = ANY (here.ids);
	END LOOP;
	IF next.resolution = 0 THEN
		-- No rollup is made of what is gone; local rows have not been looked at.
		INSERT INTO prom.expired AS e (resolution, from_ms, rules, seq) VALUES (0, next.day, next.rules, -9223372036854775808)
		ON CONFLICT ON CONSTRAINT expired_pkey DO UPDATE SET rules = excluded.rules, seq = excluded.seq WHERE e.rules <> excluded.rules;
	END IF;
	IF (next.rules::jsonb -> 'all')::bool THEN
		PERFORM prom._mark_dropped(next.resolution, next.day + 86400000);
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._tier_expire_step() IS
'Takes series whose time is over, by rules for some of them, out of the objects of the next day that has any; how many series, or NULL if there is no such day.';

CREATE FUNCTION prom._tier_expire() RETURNS int8
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	level	int4;
	until	int8;
	n		int8 := 0;
	k		int8;
BEGIN
	FOR level, until IN
		SELECT d.resolution, max(d.day) + 86400000 FROM (SELECT DISTINCT o.resolution, o.day FROM prom.tier_object o WHERE o.deleted IS NULL AND NOT o.read_only) d
		CROSS JOIN LATERAL prom._expired_series(d.resolution, d.day + 86400000) x WHERE x.condition = 'true' AND prom._may_drop(d.resolution, d.day + 86400000) GROUP BY 1
	LOOP
		UPDATE prom.tier_object o SET deleted = clock_timestamp()
		WHERE o.resolution = level AND o.day < until AND o.deleted IS NULL AND NOT o.read_only;
		GET DIAGNOSTICS k = ROW_COUNT;
		n := n + k;
		PERFORM prom._mark_dropped(level, until);
		DELETE FROM prom.exemplar e WHERE level = 0 AND e.t_ms < until;
		DELETE FROM prom.expired e WHERE e.resolution = level AND e.from_ms < until
			AND NOT EXISTS (SELECT FROM prom._parts() p WHERE p.resolution = level AND p.from_ms = e.from_ms);
	END LOOP;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._tier_expire() IS
'Objects of days of which nothing is to be kept any more are not read from now on; returns how many. Rules for some series are for prom._tier_expire_step.';

CREATE FUNCTION prom._tier_erase(server text, keys text[]) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- What is without a manifest is no object.
	SELECT prom._bucket_delete(server, ARRAY(SELECT left(k, -length('data-0')) || 'manifest.json' FROM unnest(keys) k));
	SELECT prom._bucket_delete(server, keys || ARRAY(SELECT left(k, -length('data-0')) || 'series' FROM unnest(keys) k));
END;
COMMENT ON FUNCTION prom._tier_erase(text, text[]) IS 'Deletes objects of samples from the bucket, keys being those of their data: the manifests first, then the rest.';

CREATE FUNCTION prom._tier_remove(server name) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ids		int8[];
	keys	text[];
BEGIN
	SELECT array_agg(x.id), array_agg(x.key) INTO ids, keys FROM (SELECT o.id, o.key FROM prom.tier_object o
		WHERE o.server = _tier_remove.server AND NOT o.read_only AND o.deleted <= clock_timestamp() - current_setting('promgres.tier_delete_after')::interval
		ORDER BY o.deleted LIMIT 300) x;
	IF ids IS NULL THEN
		RETURN 0;
	END IF;
	PERFORM prom._tier_erase(server, keys);
	DELETE FROM prom.tier_object o WHERE o.id = ANY (ids);
	RETURN cardinality(ids);
END
$$;
COMMENT ON FUNCTION prom._tier_remove(name) IS 'Deletes some of the objects from the bucket that were not needed for promgres.tier_delete_after; returns how many.';

CREATE FUNCTION prom._tier_tidy(server name, age interval) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u		prom.tier_upload;
	stray	record;
	n		int8 := 0;
BEGIN
	-- What was begun and not committed; a request that was on its way when its sender was killed has arrived by now.
	FOR u IN SELECT x.* FROM prom.tier_upload x WHERE x.server = _tier_tidy.server AND x.source IS NULL AND x.started <= clock_timestamp() - age
		ORDER BY x.started LIMIT 100
	LOOP
		PERFORM prom._upload_abort(server, p.key, p.id) FROM prom._bucket_uploads(server, u.key) p;
		PERFORM prom._tier_erase(server, ARRAY[u.key]);
		DELETE FROM prom.tier_upload x WHERE x.server = u.server AND x.key = u.key;
		n := n + 1;
	END LOOP;
	-- The answer to their beginning was lost, or this database was restored from a backup.
	FOR stray IN SELECT x.* FROM prom.tier_cluster c, prom._bucket_uploads(_tier_tidy.server, format('promgres/v1/%s/', c.cluster)) x
		WHERE c.own AND x.begun <= clock_timestamp() - age
			AND NOT EXISTS (SELECT FROM prom.tier_upload k WHERE k.server = _tier_tidy.server AND k.key = x.key AND coalesce(k.upload, x.id) = x.id)
	LOOP
		PERFORM prom._upload_abort(server, stray.key, stray.id);
		n := n + 1;
	END LOOP;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._tier_tidy(name, interval) IS
'Removes what is left in the bucket of uploads that were begun so long ago and never committed, and uploads in parts that are as old and that nobody knows; returns how many.';

CREATE FUNCTION prom._tier_withdraw(server name) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ids		int8[];
	keys	text[];
BEGIN
	SELECT array_agg(x.id), array_agg(x.key) INTO ids, keys FROM (SELECT o.id, o.key FROM prom.tier_object o
		WHERE o.server = _tier_withdraw.server AND NOT o.read_only AND o.deleted IS NOT NULL AND o.holes <> '{}' AND o.manifest ORDER BY o.id LIMIT 300) x;
	IF ids IS NULL THEN
		RETURN 0;
	END IF;
	PERFORM prom._bucket_delete(server, (SELECT array_agg(left(k, -length('data-0')) || 'manifest.json') FROM unnest(keys) k));
	UPDATE prom.tier_object o SET manifest = false WHERE o.id = ANY (ids);
	RETURN cardinality(ids);
END
$$;
COMMENT ON FUNCTION prom._tier_withdraw(name) IS
'Deletes the manifests of some objects that are not needed any more and of which samples were deleted, so that nobody finds these who attaches the bucket; returns how many. The samples stay for promgres.tier_delete_after.';

CREATE FUNCTION prom._tier_rewrite(forced bool) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	o		prom.tier_object;
	key		text;
BEGIN
	-- Not more often than once a day: it is all of the object for each deletion.  What was brought back has gone to another object once
	-- its day has no local rows, and until then prom._tier_returned has to know of it.
	SELECT x.* INTO o FROM prom.tier_object x
	WHERE x.deleted IS NULL AND NOT x.read_only AND (forced OR x.uploaded <= clock_timestamp() - interval '1 day')
		AND CASE WHEN x.holes <> '{}' THEN true WHEN x.gone = '{}' THEN false
			WHEN EXISTS (SELECT FROM prom._parts() p WHERE p.resolution = x.resolution AND p.from_ms <= x.day AND p.to_ms > x.day) THEN false
			ELSE (SELECT 2 * sum(e.length) FILTER (WHERE e.block = ANY (x.gone)) > sum(e.length) FROM prom._tier_entries(x.directory) e) END
	ORDER BY x.day, x.resolution, x.shard, x.id LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	-- Of equal timestamps it counts as the one that it replaces.
	key := format('%s%s-%s/data-0', prom._tier_prefix(o.cluster, o.resolution, o.day, o.shard), o.seq, (extract(epoch FROM clock_timestamp()) * 1000000)::int8);
	INSERT INTO prom.tier_upload (server, key, cluster, resolution, shard, day, seq, replaces)
	VALUES (o.server, key, o.cluster, o.resolution, o.shard, o.day, o.seq, o.id);
	RETURN key;
END
$$;
COMMENT ON FUNCTION prom._tier_rewrite(bool) IS 'Notes that an object is begun that takes the place of the next one of which samples were deleted, or more than half was brought back and is elsewhere by now; its key, or NULL if there is none.';

CREATE FUNCTION prom._tier_forget_series(one int2 DEFAULT NULL, blocks int4[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- Of a shard the caller holds the lock of merges, as do all who add to it.
	IF one IS NULL THEN
		LOCK TABLE prom.tier_series IN SHARE ROW EXCLUSIVE MODE;
	END IF;
	DELETE FROM prom.tier_series t WHERE one IS NULL OR (t.shard = one AND t.block = ANY (blocks));
	INSERT INTO prom.tier_series (shard, block, series)
	SELECT o.shard, e.block, bit_or(e.series) FROM prom.tier_object o, prom._tier_entries(o.directory, o.holes, o.resolution) e
	WHERE o.deleted IS NULL AND NOT e.block = ANY (o.gone) AND (one IS NULL OR (o.shard = one AND e.block = ANY (blocks))) GROUP BY 1, 2;
END
$$;
COMMENT ON FUNCTION prom._tier_forget_series(int2, int4[]) IS
'Makes prom.tier_series anew from the objects that are in use; of these blocks of a shard, or all of it.';

CREATE FUNCTION prom._tier_keeps(one int2, sids int4[]) RETURNS int4[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN coalesce((SELECT array_agg(u ORDER BY u) FROM unnest(sids) u JOIN prom.tier_series t ON t.shard = one AND t.block = u >> 6 AND t.series >> (u & 63) & 1 = 1), '{}');
COMMENT ON FUNCTION prom._tier_keeps(int2, int4[]) IS 'Those of the series of which objects hold samples, or did.';

-- 46_collect: series that have no samples left.

CREATE FUNCTION prom._empty_series(one int2, wanted int4[]) RETURNS int4[]
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- What lies in buckets is known without a look at samples.
	rest	int4[] := prom._tier_keeps(one, wanted);
	first	int8;
	width	int4;
BEGIN
	-- Sets are taken from sets (EXCEPT), which is never done for each id anew, however wrong the planner's estimates are.
	SELECT array_agg(x.u ORDER BY x.u) INTO rest FROM (SELECT unnest(wanted) EXCEPT SELECT unnest(rest)) x(u);
	SELECT array_agg(x.u ORDER BY x.u) INTO rest FROM (SELECT unnest(rest)
		EXCEPT SELECT unnest(prom._sids(f.data)) FROM prom.fresh f
		WHERE f.shard = one AND f.sid_max >= rest[1] AND f.sid_min <= rest[cardinality(rest)]) x(u);
	-- Day by day, the newest first: most series have samples there and are not looked for further.
	FOR first IN
		SELECT d.t_min FROM prom._days() d ORDER BY 1 DESC
	LOOP
		EXIT WHEN rest IS NULL;
		EXECUTE format('SELECT array_agg(x.u ORDER BY x.u) FROM (SELECT unnest($2) '
			'EXCEPT SELECT unnest(prom._sids(w.data)) FROM prom.warm w '
			'WHERE w.shard = $1 AND w.t_min >= %s AND w.t_min < %s '
			'AND w.block = ANY (ARRAY(SELECT DISTINCT b >> 6 FROM unnest($2) b))) x(u)', first, first + 86400000)
		INTO rest USING one, rest;
	END LOOP;
	-- Rollups stay when raw samples go; the coarsest first, which are the fewest rows.
	FOR width IN
		SELECT l.resolution FROM prom.level l WHERE l.resolution > 0 ORDER BY 1 DESC
	LOOP
		EXIT WHEN rest IS NULL;
		SELECT array_agg(x.u ORDER BY x.u) INTO rest FROM (SELECT unnest(rest)
			EXCEPT SELECT unnest(prom._sids(r.data)) FROM prom.rollup r
			WHERE r.resolution = width AND r.shard = one AND r.part = 1
			AND r.block = ANY (ARRAY(SELECT DISTINCT b >> 6 FROM unnest(rest) b))) x(u);
	END LOOP;
	RETURN coalesce(rest, '{}');
END
$$;
COMMENT ON FUNCTION prom._empty_series(int2, int4[]) IS
'Those of the series (ids of a shard, ascending) that have no samples, no points of rollups, and nothing in a bucket. True as long as the caller keeps senders away, by a lock on prom.shard.';

CREATE FUNCTION prom._collect_step(first_block int4, blocks int4, grace interval) RETURNS int4
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	first	int8 := first_block * 64::int8;
	next	int8 := (first_block + blocks::int8) * 64;
	one		int2;
	wanted	int4[];
	empty	int4[];
	due		int4[];
BEGIN
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE feature_not_supported USING MESSAGE = 'series cannot be collected in a transaction that is REPEATABLE READ or SERIALIZABLE',
			HINT = 'Use READ COMMITTED.';
	END IF;
	-- No merge may move samples while they are looked for.
	PERFORM prom._lock_merge(h.shard) FROM (SELECT s.shard FROM prom.shard s ORDER BY 1) h;
	FOR one, wanted IN
		SELECT s.shard, array_agg(s.sid ORDER BY s.sid) FROM prom.series s
		WHERE s.shard IN (SELECT h.shard FROM prom.shard h) AND s.sid >= first AND s.sid < next GROUP BY 1 ORDER BY 1
	LOOP
		empty := prom._empty_series(one, wanted);
		-- (Neither is all of the shard read for want of statistics, because of the range, nor each id compared with each: IN, asked so, is hashed.)
		UPDATE prom.series s SET empty_since = NULL
		WHERE s.shard = one AND s.sid >= first AND s.sid < next AND s.empty_since IS NOT NULL AND s.sid NOT IN (SELECT unnest(empty));
		CONTINUE WHEN empty = '{}';
		UPDATE prom.series s SET empty_since = now()
		WHERE s.shard = one AND s.sid >= first AND s.sid < next AND s.empty_since IS NULL AND (s.sid IN (SELECT unnest(empty))) IS TRUE;

		-- A row that may come back keeps its series.
		SELECT array_agg(s.sid ORDER BY s.sid) INTO due FROM prom.series s
		WHERE s.shard = one AND s.sid >= first AND s.sid < next AND s.empty_since <= now() - grace AND (s.sid IN (SELECT unnest(empty))) IS TRUE
			AND NOT EXISTS (SELECT FROM prom.quarantine q WHERE q.shard = one AND s.sid BETWEEN q.sid_min AND q.sid_max);
		CONTINUE WHEN due IS NULL;
		-- Whoever has written to one of them meanwhile is waited for, and then it is not empty.
		LOCK TABLE prom.shard IN SHARE ROW EXCLUSIVE MODE;
		due := prom._empty_series(one, due);
		DELETE FROM prom.exemplar e WHERE e.shard = one AND e.sid = ANY (due);
		PERFORM prom._stat_count('collected_series',
			prom._remove_series(array_fill(one, ARRAY[cardinality(due)]), due));
	END LOOP;
	RETURN (SELECT min(n.sid) >> 6 FROM prom.shard h
		CROSS JOIN LATERAL (SELECT s.sid FROM prom.series s WHERE s.shard = h.shard AND s.sid >= next ORDER BY s.sid LIMIT 1) n);
END
$$;
COMMENT ON FUNCTION prom._collect_step(int4, int4, interval) IS
'Of series in some blocks of ids, marks those without samples and removes those that have been without them for the grace period; returns the next block that has series, or NULL.';

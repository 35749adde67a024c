-- 65_query: PromQL in SQL.

-- How many rows there will be, told to the planner.

CREATE FUNCTION prom._query_support(internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_query_support';
COMMENT ON FUNCTION prom._query_support(internal) IS 'Planner support of prom.query.';
CREATE FUNCTION prom._query_range_support(internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_query_range_support';
COMMENT ON FUNCTION prom._query_range_support(internal) IS 'Planner support of prom.query_range and prom.graph.';
CREATE FUNCTION prom._samples_of_support(internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_samples_of_support';
COMMENT ON FUNCTION prom._samples_of_support(internal) IS 'Planner support of prom.samples_of.';

CREATE FUNCTION prom.query(expr text, "time" timestamptz DEFAULT pg_catalog.now())
RETURNS TABLE (labels prom.labels, "time" timestamptz, value float8, histogram prom.histogram)
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED ROWS 100 COST 10000 SUPPORT prom._query_support
AS 'MODULE_PATHNAME', 'prom_query';
COMMENT ON FUNCTION prom.query(text, timestamptz) IS
'Evaluates a PromQL expression at one time: a row per series; for a range selector a row per sample. A native histogram is in the column histogram, value is null then.';

CREATE FUNCTION prom.query_range(expr text, start timestamptz, "end" timestamptz, step interval)
RETURNS TABLE (labels prom.labels, "time" timestamptz, value float8, histogram prom.histogram)
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED ROWS 10000 COST 10000 SUPPORT prom._query_range_support
AS 'MODULE_PATHNAME', 'prom_query_range';
COMMENT ON FUNCTION prom.query_range(text, timestamptz, timestamptz, interval) IS
'Evaluates a PromQL expression at start, start + step, ... up to end: a row per series and step that has a value (or, in the column histogram, a native histogram). At most 11,000 steps beyond the first.';

CREATE FUNCTION prom.to_sql(expr text, start timestamptz, "end" timestamptz, step interval) RETURNS text
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'prom_to_sql';
COMMENT ON FUNCTION prom.to_sql(text, timestamptz, timestamptz, interval) IS
'The SQL that prom.query_range runs for these arguments (prom.query''s, if start = end). It gives the same rows when pasted in psql; EXPLAIN shows its plan.';

CREATE FUNCTION prom._selector_sql(selector text, alias text) RETURNS text
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'prom_selector_sql';
COMMENT ON FUNCTION prom._selector_sql(text, text) IS
'The SQL condition by which a PromQL selector picks rows of prom.series under that alias.';

CREATE FUNCTION prom._scan_sql(selector text, from_ms int8, to_ms int8) RETURNS text
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'prom_scan_text';
COMMENT ON FUNCTION prom._scan_sql(text, int8, int8) IS 'The SQL of prom.samples_of; from_ms < t <= to_ms.';

CREATE FUNCTION prom.samples_of(selector text, start timestamptz DEFAULT '-infinity', "end" timestamptz DEFAULT 'infinity')
RETURNS TABLE (labels prom.labels, "time" timestamptz, t_ms int8, value float8, histogram prom.histogram)
LANGUAGE plpgsql STRICT STABLE PARALLEL RESTRICTED ROWS 10000 COST 10000 SUPPORT prom._samples_of_support
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE prom._scan_sql(selector, greatest(prom._to_ms(start) - 1, -9223372036854775807), prom._to_ms("end"));
END
$$;
COMMENT ON FUNCTION prom.samples_of(text, timestamptz, timestamptz) IS
'The stored samples of the series that a PromQL selector matches, start <= time <= end, as they were written: staleness markers (a NaN of its own) included. Of a native histogram value is null, of a float histogram is.';

CREATE FUNCTION prom.exemplars(selector text, start timestamptz DEFAULT '-infinity', "end" timestamptz DEFAULT 'infinity')
RETURNS TABLE (labels prom.labels, exemplar prom.labels, "time" timestamptz, value float8)
LANGUAGE plpgsql STRICT STABLE PARALLEL RESTRICTED ROWS 100 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE 'SELECT s.labels, e.labels, to_timestamp(e.t_ms / 1000.0), e.value
		FROM (SELECT s.shard, array_agg(s.sid) AS sids FROM prom.series s WHERE ' || prom._selector_sql(selector, 's') || ' GROUP BY 1) g
		CROSS JOIN LATERAL prom._visible_exemplars(g.shard, g.sids, $1, $2) e
		JOIN prom.series s ON s.shard = g.shard AND s.sid = e.sid
		ORDER BY s.shard, s.sid, e.t_ms, e.labels'
	USING prom._to_ms(start), prom._to_ms("end");
END
$$;
COMMENT ON FUNCTION prom.exemplars(text, timestamptz, timestamptz) IS
'The exemplars of the series that a PromQL selector matches, start <= time <= end: labels of the series, labels of the exemplar, time and value.';

CREATE FUNCTION prom.delete_series(selector text, start timestamptz DEFAULT '-infinity', "end" timestamptz DEFAULT 'infinity')
RETURNS bigint
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	from_ms	int8 := prom._to_ms(start);
	to_ms	int8 := prom._to_ms("end");
	one		int2;
	wanted	int4[];
	empty	int4[];
	hit		int4[];
	far		int4[];
	touched	int8 := 0;
	parts	regclass[] := '{}';
	sizes	int8[] := '{}';
BEGIN
	PERFORM prom._check_sees_all();
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE feature_not_supported USING MESSAGE = 'series cannot be deleted in a transaction that is REPEATABLE READ or SERIALIZABLE',
			DETAIL = 'It would not see samples that were written since it began, and remove their series.',
			HINT = 'Use READ COMMITTED.';
	END IF;
	IF from_ms > to_ms THEN
		RAISE invalid_parameter_value USING MESSAGE = 'end must not be before start';
	END IF;
	-- A step of rollups would bring back what it has read before.
	PERFORM prom._lock_rollup();
	-- No merge may move samples while they are looked for.
	PERFORM prom._lock_merge(h.shard) FROM (SELECT s.shard FROM prom.shard s ORDER BY 1) h;
	FOR one, wanted IN EXECUTE
		'SELECT s.shard, array_agg(s.sid ORDER BY s.sid) FROM prom.series s WHERE ' || prom._selector_sql(selector, 's') || ' GROUP BY 1 ORDER BY 1'
	LOOP
		far := prom._tier_delete(one, wanted, from_ms, to_ms);
		-- Each row of a block is given the series of its block, and rows of many blocks an array that is not made anew for each.
		WITH b AS MATERIALIZED (SELECT u >> 6 AS block, array_agg(u ORDER BY u) AS sids FROM unnest(wanted) u GROUP BY 1)
		SELECT array_agg(DISTINCT h) INTO hit FROM (
			SELECT unnest(prom._hits(f.data, ARRAY(SELECT unnest(wanted)), from_ms, to_ms)) FROM prom.fresh f
			WHERE f.shard = one AND f.t_max >= from_ms AND f.t_min <= to_ms
				AND f.sid_max >= wanted[1] AND f.sid_min <= wanted[cardinality(wanted)]
			UNION ALL
			SELECT unnest(prom._hits(w.data, b.sids, from_ms, to_ms)) FROM b JOIN prom.warm w ON w.block = b.block
			WHERE w.shard = one AND w.t_max >= from_ms AND w.t_min <= to_ms
				AND w.t_min > greatest(from_ms, 0) - 86400000
			UNION ALL
			SELECT unnest(prom._hits(r.data, b.sids, from_ms, to_ms)) FROM b JOIN prom.rollup r ON r.block = b.block
			WHERE r.shard = one AND r.part = 1 AND r.t_max >= from_ms AND r.t_min <= to_ms) x(h);
		hit := coalesce(hit, '{}');
		SELECT parts || array_agg(c.part), sizes || array_agg(c.bytes) INTO parts, sizes
		FROM (SELECT * FROM prom._cut(one, hit, from_ms, to_ms) UNION ALL SELECT * FROM prom._cut_rollup(one, wanted, from_ms, to_ms)) c;

		-- Series without samples go, too.  The lock keeps senders from writing to one that is going.
		LOCK TABLE prom.shard IN SHARE ROW EXCLUSIVE MODE;
		empty := prom._empty_series(one, wanted);
		WITH gone AS (
			DELETE FROM prom.exemplar e WHERE e.shard = one AND
				(e.sid = ANY (empty) OR (e.sid = ANY (wanted) AND e.t_ms >= from_ms AND e.t_ms <= to_ms))
			RETURNING pg_column_size(e.*) AS size)
		SELECT parts || 'prom.exemplar'::regclass, sizes || sum(g.size) INTO parts, sizes FROM gone g;
		PERFORM prom._remove_series(array_fill(one, ARRAY[cardinality(empty)]), empty);
		SELECT touched + count(DISTINCT u) INTO touched FROM unnest(hit || far || empty) u;
	END LOOP;
	PERFORM prom._slack_add(parts, sizes);
	RETURN touched;
END
$$;
COMMENT ON FUNCTION prom.delete_series(text, timestamptz, timestamptz) IS
'Deletes the samples and exemplars of the matched series with start <= time <= end, and the series that have none left; returns how many series it touched. Samples in a bucket are not read from then on, and leave it with a later run of prom.tier.';

CREATE FUNCTION prom._cut(one int2, sids int4[], from_ms int8, to_ms int8) RETURNS TABLE (part regclass, bytes int8)
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	blocks	int4[];
	t_min	int8[];
	t_max	int8[];
	parts	regclass[];
	sizes	int8[];
BEGIN
	IF cardinality(sids) = 0 THEN
		RETURN;
	END IF;
	WITH hit AS MATERIALIZED (
		SELECT f.ctid AS tid, prom._without(f.data, ARRAY(SELECT unnest(sids)), from_ms, to_ms) AS rest FROM prom.fresh f
		WHERE f.shard = one AND f.t_max >= from_ms AND f.t_min <= to_ms
			AND f.sid_max >= sids[1] AND f.sid_min <= sids[cardinality(sids)]
			AND prom._hits(f.data, ARRAY(SELECT unnest(sids)), from_ms, to_ms) <> '{}'
	), gone AS (
		DELETE FROM prom.fresh f USING hit h WHERE f.ctid = h.tid AND h.rest IS NULL
	)
	UPDATE prom.fresh f SET data = h.rest, samples = (prom.chunk_info(h.rest)).samples
	FROM hit h WHERE f.ctid = h.tid AND h.rest IS NOT NULL;

	WITH hit AS MATERIALIZED (
		SELECT w.block, w.t_min, w.t_max, w.seq, w.tableoid::regclass AS part, prom._taken(w.data, w.samples, x.rest) AS taken, x.rest
		FROM (SELECT u >> 6 AS block, array_agg(u ORDER BY u) AS sids FROM unnest(sids) u GROUP BY 1) b
		JOIN prom.warm w ON w.block = b.block
		CROSS JOIN LATERAL (SELECT prom._without(w.data, b.sids, from_ms, to_ms) AS rest OFFSET 0) x
		WHERE w.shard = one
			AND w.t_max >= from_ms AND w.t_min <= to_ms AND w.t_min > greatest(from_ms, 0) - 86400000
			AND prom._hits(w.data, b.sids, from_ms, to_ms) <> '{}'
	), gone AS (
		DELETE FROM prom.warm w USING hit h
		WHERE w.shard = one AND w.block = h.block AND w.t_min = h.t_min AND w.seq = h.seq AND h.rest IS NULL
	), changed AS (
		-- What was compacted is so no more: the next compaction closes the gaps, and its vacuum gives them back.
		UPDATE prom.warm w SET data = h.rest, samples = (prom.chunk_info(h.rest)).samples, gen = least(w.gen, 127)
		FROM hit h WHERE w.shard = one AND w.block = h.block AND w.t_min = h.t_min AND w.seq = h.seq AND h.rest IS NOT NULL
	)
	SELECT array_agg(h.block), array_agg(greatest(h.t_min, from_ms)), array_agg(least(h.t_max, to_ms)), array_agg(h.part), array_agg(h.taken)
	INTO blocks, t_min, t_max, parts, sizes FROM hit h;
	PERFORM prom._rollup_mark(one, blocks, t_min, t_max);
	PERFORM prom._mark_compaction(one, d) FROM (SELECT DISTINCT (floor(t / 86400000.0) * 86400000)::int8 FROM unnest(t_min) t) x(d);
	RETURN QUERY SELECT u.part, sum(u.bytes)::int8 FROM ROWS FROM (unnest(parts), unnest(sizes)) AS u(part, bytes) GROUP BY 1;
END
$$;
COMMENT ON FUNCTION prom._cut(int2, int4[], int8, int8) IS
'Takes the samples of these series (ascending) with from_ms <= t <= to_ms out of fresh and warm rows; the caller holds the merge lock. Returns how much it took out of which partitions.';

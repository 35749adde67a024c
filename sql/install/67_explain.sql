-- 67_explain: what a query did.

CREATE FUNCTION prom._is_passed(vals prom.vals) RETURNS bool
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_is_passed';
COMMENT ON FUNCTION prom._is_passed(prom.vals) IS 'True. As a condition it keeps a subquery in the plan, so that EXPLAIN tells its time.';

CREATE FUNCTION prom._explain_sql(expr text, start_ms int8, end_ms int8, step_ms int8, instant bool, OUT sql text, OUT nodes jsonb, OUT reads jsonb)
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'prom_explain_sql';
COMMENT ON FUNCTION prom._explain_sql(text, int8, int8, int8, bool) IS
'The SQL of a query with a subquery for each node of the expression, whose alias is the node''s name; the nodes; and the segments of time of which they read rollups.';

CREATE FUNCTION prom._scan_counts(OUT series int8, OUT chunks int8, OUT chunks_used int8, OUT fresh int8, OUT samples int8,
	OUT tier_objects int8, OUT tier_requests int8, OUT tier_bytes int8, OUT tier_needed_bytes int8, OUT tier_hits int8, OUT tier_hit_bytes int8)
LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'prom_scan_counts';
COMMENT ON FUNCTION prom._scan_counts() IS
'What PromQL has read in this statement and process: series; chunks, once for each series read from them, and those that had samples of the time; fresh rows; samples; what of it is in buckets.';

-- Parallel workers would count for themselves; the other settings are those that queries run with.
CREATE FUNCTION prom._explain(expr text, start_ms int8, end_ms int8, step_ms int8, instant bool) RETURNS jsonb
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET max_parallel_workers_per_gather = 0
SET jit = off
SET enable_sort = off
SET enable_incremental_sort = off
AS $$
DECLARE
	query	record;
	before	record;
	after	record;
	plan	json;
	read	record;
	nodes	jsonb;
BEGIN
	query := prom._explain_sql(expr, start_ms, end_ms, step_ms, instant);
	before := prom._scan_counts();
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query.sql INTO plan;
	after := prom._scan_counts();

	WITH RECURSIVE p(part, owner, ancestors) AS (
		SELECT plan::jsonb->0->'Plan', NULL::text, '{}'::text[]
		UNION ALL
		SELECT c, n.name, CASE WHEN n.name IS DISTINCT FROM p.owner THEN p.ancestors || p.owner ELSE p.ancestors END
		FROM p
		CROSS JOIN LATERAL jsonb_array_elements(p.part->'Plans') c
		CROSS JOIN LATERAL (SELECT coalesce((SELECT e->>'node' FROM jsonb_array_elements(query.nodes) e
			WHERE c->>'Node Type' = 'Subquery Scan' AND c->>'Alias' = e->>'node'), p.owner)) n(name)
	), q AS MATERIALIZED (
		SELECT owner, ancestors, part->>'Relation Name' AS relation, part->>'Alias' AS alias,
			(part->>'Actual Rows')::numeric * (part->>'Actual Loops')::numeric AS rows,
			coalesce((part->>'Rows Removed by Filter')::numeric * (part->>'Actual Loops')::numeric, 0) AS removed,
			(part->>'Actual Total Time')::numeric * (part->>'Actual Loops')::numeric AS ms
		FROM p
	), node AS MATERIALIZED (
		SELECT e.e->>'node' AS name, e.o, e.e,
			(SELECT max(q.rows) FROM q WHERE q.alias = e.e->>'node') AS rows,
			coalesce((SELECT max(q.ms) FROM q WHERE q.alias = e.e->>'node'), 0) AS ms,
			-- (a leaf may ask for its series twice, once for fresh rows)
			(SELECT max(q.rows) FROM q WHERE q.owner = e.e->>'node' AND q.relation = 'series') AS matched,
			(SELECT q.ancestors[cardinality(q.ancestors)] FROM q WHERE q.alias = e.e->>'node' LIMIT 1) AS parent
		FROM jsonb_array_elements(query.nodes) WITH ORDINALITY e(e, o)
	)
	SELECT (SELECT coalesce(jsonb_agg(n.e || coalesce((SELECT jsonb_build_object('resolutions', jsonb_agg(r.r - 'node' ORDER BY r.o))
				FROM jsonb_array_elements(query.reads) WITH ORDINALITY r(r, o) WHERE r.r->>'node' = n.name HAVING count(*) > 0), '{}')
			|| jsonb_build_object('series', n.rows, 'matched', n.matched, 'ms', round(n.ms, 3),
			'own_ms', round(greatest(n.ms - coalesce((SELECT sum(m.ms) FROM node m WHERE m.parent = n.name), 0), 0), 3)) ORDER BY n.o), '[]')
			FROM node n) AS nodes,
		coalesce((SELECT sum(n.matched) FROM node n), 0) AS matched,
		(SELECT count(DISTINCT q.relation) FROM q WHERE q.relation ~ '^warm_') AS days,
		(SELECT count(DISTINCT q.relation) FROM q WHERE q.relation ~ '^rollup_') AS rollups,
		coalesce((SELECT sum(q.removed) FROM q WHERE q.relation = 'fresh'), 0) AS fresh_pruned
	INTO read;

	RETURN jsonb_build_object('query', expr, 'nodes', read.nodes,
		'series', jsonb_build_object('matched', read.matched, 'read', after.series - before.series),
		'chunks', jsonb_build_object('read', after.chunks - before.chunks,
			'unused', after.chunks - before.chunks - after.chunks_used + before.chunks_used,
			'days', read.days,
			'days_pruned', (SELECT count(*) FROM pg_inherits i WHERE i.inhparent = 'prom.warm'::regclass) - read.days,
			'rollup_partitions', read.rollups),
		'fresh', jsonb_build_object('read', after.fresh - before.fresh, 'pruned', read.fresh_pruned),
		'samples', after.samples - before.samples,
		'tier', jsonb_build_object('objects', after.tier_objects - before.tier_objects, 'requests', after.tier_requests - before.tier_requests,
			'bytes', after.tier_bytes - before.tier_bytes, 'needed_bytes', after.tier_needed_bytes - before.tier_needed_bytes,
			'cache_hits', after.tier_hits - before.tier_hits, 'cache_hit_bytes', after.tier_hit_bytes - before.tier_hit_bytes),
		'planning_ms', plan->0->'Planning Time', 'execution_ms', plan->0->'Execution Time');
END
$$;
COMMENT ON FUNCTION prom._explain(text, int8, int8, int8, bool) IS 'Runs a query and tells what it did; times in ms.';

CREATE FUNCTION prom.explain_json(expr text, start timestamptz, "end" timestamptz, step interval) RETURNS jsonb
LANGUAGE sql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
RETURN prom._explain(expr, prom._to_ms(start), prom._to_ms("end"), (extract(epoch FROM step) * 1000)::int8, false);
COMMENT ON FUNCTION prom.explain_json(text, timestamptz, timestamptz, interval) IS
'What prom.explain tells, as JSON: per node of the expression series and time, and in all series, chunks, fresh rows and samples.';

CREATE FUNCTION prom.explain_json(expr text, "time" timestamptz DEFAULT pg_catalog.now()) RETURNS jsonb
LANGUAGE sql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
RETURN prom._explain(expr, prom._to_ms("time"), prom._to_ms("time"), 1, true);
COMMENT ON FUNCTION prom.explain_json(text, timestamptz) IS 'The same for an instant query.';

CREATE FUNCTION prom._explain_time(ms int8) RETURNS text
LANGUAGE sql STRICT IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN to_char(timestamp '1970-01-01' + ms / 1000 * interval '1 second', 'YYYY-MM-DD HH24:MI:SS') || ' UTC';
COMMENT ON FUNCTION prom._explain_time(int8) IS 'A time as prom.explain shows it.';

CREATE FUNCTION prom._explain_text(told jsonb) RETURNS SETOF text
LANGUAGE sql STRICT STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT format('%s%s  (series=%s%s time=%s ms, own=%s ms)  %s', repeat('  ', (n->>'depth')::int4), n->>'node', coalesce(n->>'series', '0'),
		coalesce(' of ' || nullif((n->>'matched')::int8, (n->>'series')::int8), ''), n->>'ms', n->>'own_ms',
		CASE WHEN length(n->>'expr') > 80 THEN left(n->>'expr', 79) || '…' ELSE n->>'expr' END)
	FROM jsonb_array_elements(told->'nodes') AS n
	UNION ALL
	SELECT format('%s reads %s', n->>'node', (SELECT string_agg(format('%s%s %s', CASE WHEN r ? 'mixed' THEN 'raw data or ' ELSE '' END,
			prom._resolution_name((r->>'resolution')::int4),
			CASE WHEN o = jsonb_array_length(n->'resolutions') THEN 'from then on' ELSE 'up to ' || prom._explain_time((r->>'until_ms')::int8) END), ', ' ORDER BY o)
		FROM jsonb_array_elements(n->'resolutions') WITH ORDINALITY u(r, o)))
	FROM jsonb_array_elements(told->'nodes') AS n WHERE n ? 'resolutions'
	UNION ALL
	SELECT format('Series: %s matched', told#>>'{series,matched}')
	UNION ALL
	SELECT format('Chunks: %s read, %s of them without samples of the time; days: %s read, %s pruned',
		told#>>'{chunks,read}', told#>>'{chunks,unused}', told#>>'{chunks,days}', told#>>'{chunks,days_pruned}')
	UNION ALL
	SELECT format('Partitions of rollups: %s read', told#>>'{chunks,rollup_partitions}') WHERE (told#>>'{chunks,rollup_partitions}')::int8 > 0
	UNION ALL
	SELECT format('Fresh rows: %s opened, %s pruned', told#>>'{fresh,read}', told#>>'{fresh,pruned}')
	UNION ALL
	SELECT format('Buckets: %s objects read, %s requests for %s bytes, %s chunks from the local cache', told#>>'{tier,objects}', told#>>'{tier,requests}',
		told#>>'{tier,bytes}', told#>>'{tier,cache_hits}') WHERE (told#>>'{tier,objects}')::int8 > 0
	UNION ALL
	SELECT format('Samples decoded: %s', told->>'samples')
	UNION ALL
	SELECT format('Planning: %s ms, execution: %s ms', told->>'planning_ms', told->>'execution_ms');
END;
COMMENT ON FUNCTION prom._explain_text(jsonb) IS 'The rows of prom.explain.';

CREATE FUNCTION prom.explain(expr text, start timestamptz, "end" timestamptz, step interval, plan bool DEFAULT false) RETURNS SETOF text
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE ROWS 20
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_sort = off
SET enable_incremental_sort = off
AS $$
BEGIN
	RETURN QUERY SELECT prom._explain_text(prom.explain_json(expr, start, "end", step));
	IF plan THEN
		RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE) ' || prom.to_sql(expr, start, "end", step);
	END IF;
END
$$;
COMMENT ON FUNCTION prom.explain(text, timestamptz, timestamptz, interval, bool) IS
'Runs a range query and tells what it did: a line per node of the expression, then series, chunks, fresh rows and samples; with "plan" also PostgreSQL''s plan of the SQL of prom.to_sql.';

CREATE FUNCTION prom.explain(expr text, "time" timestamptz DEFAULT pg_catalog.now(), plan bool DEFAULT false) RETURNS SETOF text
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE ROWS 20
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_sort = off
SET enable_incremental_sort = off
AS $$
BEGIN
	RETURN QUERY SELECT prom._explain_text(prom.explain_json(expr, "time"));
	IF plan THEN
		RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE) ' || prom.to_sql(expr, "time", "time", '1s');
	END IF;
END
$$;
COMMENT ON FUNCTION prom.explain(text, timestamptz, bool) IS 'The same for an instant query.';

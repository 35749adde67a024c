-- prom.explain: what a query read, and where its time went.
\getenv srcdir PG_ABS_SRCDIR
\set block_lib :srcdir '/lib/block.sql'
\set ECHO none
\i :block_lib
\set ECHO all
\set SHOW_CONTEXT never
-- what others left behind
SET client_min_messages = warning;
CALL prom.merge();
RESET client_min_messages;
CREATE FUNCTION pg_temp.sample_rows(metric text, n int, from_ms int8, samples int) RETURNS void LANGUAGE sql AS $$
	WITH s AS (SELECT (prom.series_id(prom.labels(jsonb_build_object('__name__', metric, 'i', i::text, 'job', 'j' || i % 2)))).* FROM generate_series(1, n) i)
	INSERT INTO prom.fresh (shard, sid_min, sid_max, t_min, t_max, samples, seq, data)
	SELECT shard, min(sid), max(sid), from_ms, from_ms + (samples - 1) * 15000, count(*) * samples, nextval('prom.store_seq'),
		prom.chunk_merge(prom.chunk_build(shard, sid, (SELECT array_agg(from_ms + t * 15000 ORDER BY t) FROM generate_series(0, samples - 1) t),
			(SELECT array_agg(t::float8 ORDER BY t) FROM generate_series(0, samples - 1) t), 'fresh'), 1)
	FROM s GROUP BY shard;
$$;
CALL pg_temp.own_block('explained', 'explained_too');
SELECT pg_temp.sample_rows('explained', 10, 0, 10);
SELECT pg_temp.sample_rows('explained', 10, 172800000, 10);
CALL prom.merge();
SELECT pg_temp.sample_rows('explained', 4, 172950000, 10);
SELECT pg_temp.sample_rows('explained_too', 3, 0, 10);

-- times differ, and so does how many days others left
CREATE FUNCTION pg_temp.explain(sql text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE sql LOOP
		RETURN NEXT regexp_replace(regexp_replace(line, '[0-9.]+ ms', 'N ms', 'g'), '[0-9]+ pruned$', 'N pruned');
	END LOOP;
END $$;
SELECT pg_temp.explain($$SELECT prom.explain('sum by (job) (rate(explained[5m])) * on (job) group_left () count by (job) (explained_too offset 2d) > 0',
	to_timestamp(172800), to_timestamp(173040), '1 minute')$$);
SELECT pg_temp.explain($$SELECT prom.explain('explained{i="1"}', to_timestamp(135))$$);
SELECT pg_temp.explain($$SELECT prom.explain('max_over_time((explained{i=~"[12]"} + 1)[1m:15s])', to_timestamp(135))$$);
-- nothing there; nothing to read
SELECT pg_temp.explain($$SELECT prom.explain('nosuch', to_timestamp(135))$$);
SELECT pg_temp.explain($$SELECT prom.explain('1 + 1')$$);

-- as JSON; what a node has itself is no more than what it has with those below it
SELECT (j #- '{chunks,days_pruned}'::text[]) - 'nodes'::text - 'planning_ms'::text - 'execution_ms'::text AS told, (j->>'execution_ms')::float8 > 0 AS timed,
	(SELECT bool_and((n->>'own_ms')::numeric <= (n->>'ms')::numeric) FROM jsonb_array_elements(j->'nodes') n) AS own_is_part
FROM prom.explain_json('sum(explained)', to_timestamp(0), to_timestamp(120), '15s') j;
-- with the plan; costs and rows are the planner's business
SELECT count(*) FILTER (WHERE l ~ 'Scan.* on series') > 0 AS scans_series, count(*) FILTER (WHERE l ~ 'Execution Time') AS plans
FROM prom.explain('sum(explained)', to_timestamp(0), to_timestamp(120), '15s', true) l;
SELECT prom.explain('sum(');
SELECT prom.explain('explained', NULL::timestamptz) IS NULL;
SELECT prom.delete_series('{__name__=~"explained.*"}');

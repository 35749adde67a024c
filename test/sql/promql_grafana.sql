-- PromQL in FROM: what Grafana's PostgreSQL data source needs, and how many rows the planner expects.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO';
INSERT INTO prom.metadata VALUES (0, 'http_requests', gen_random_uuid(), 'counter', 'Requests.', '');
WITH s AS (SELECT i, (prom.series_id(prom.labels(jsonb_build_object('__name__', 'http_requests_total', 'code', (200 + i % 2)::text, 'i', i::text)))).*
	FROM generate_series(1, 100) i)
INSERT INTO prom.fresh (shard, sid_min, sid_max, t_min, t_max, samples, seq, data)
SELECT shard, min(sid), max(sid), 0, 600000, 4100, nextval('prom.store_seq'),
	prom.chunk_merge(prom.chunk_build(shard, sid, (SELECT array_agg(t * 15000::int8 ORDER BY t) FROM generate_series(0, 40) t),
		(SELECT array_agg((t * i)::float8 ORDER BY t) FROM generate_series(0, 40) t), 'fresh'), 1)
FROM s GROUP BY shard;
CALL prom.merge();
ANALYZE prom.series;

-- a panel, as Grafana writes the macros $__timeFrom(), $__timeTo() and $__interval
SELECT * FROM prom.graph('sum by (code) (rate(http_requests_total[5m]))', '1970-01-01T00:05:00Z', '1970-01-01T00:06:00Z', '30s');
SELECT * FROM prom.graph('http_requests_total{i="7"}', '1970-01-01T00:00:15.5Z', '1970-01-01T00:00:16Z', '1m');
-- with label columns of its own
SELECT "time", labels['code'] AS code, value
FROM prom.query_range('sum by (code) (http_requests_total)', '1970-01-01T00:05:00Z', '1970-01-01T00:05:30Z', '30s') ORDER BY 1, 2;
-- variables
SELECT * FROM prom.metrics WHERE name = 'http_requests_total';
SELECT * FROM prom.label_names WHERE name IN ('__name__', 'code', 'i') ORDER BY 1;
SELECT value FROM prom.label_values WHERE name = 'code' AND value LIKE '20_' ORDER BY 1;
SELECT prom.legend('{}'), prom.legend('{__name__="up"}'), prom.legend('{__name__="a:b",c="d\"e",f="g"}'), prom.legend('{h="i"}'), prom.legend('{__name__="a.b",c="d"}');

-- rows expected: between half and double of those there are
CREATE FUNCTION pg_temp.estimate(query text, OUT expected float8, OUT rows int8) LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) SELECT * FROM ' || query INTO plan;
	expected := plan->0->'Plan'->'Plan Rows';
	EXECUTE 'SELECT count(*) FROM ' || query INTO rows;
END $$;
SELECT q, rows, CASE WHEN expected BETWEEN rows / 2.0 AND rows * 2 THEN 'well' ELSE expected::text END AS estimated
FROM (VALUES (1, $$prom.query('http_requests_total', to_timestamp(600))$$),
	(2, $$prom.query('http_requests_total{i="7"}', to_timestamp(600))$$),
	(3, $$prom.query('http_requests_total{code="200"}', to_timestamp(600))$$),
	(4, $$prom.query('sum(http_requests_total)', to_timestamp(600))$$),
	(5, $$prom.query('sum by (code) (rate(http_requests_total[5m])) / 2', to_timestamp(600))$$),
	(6, $$prom.query('topk(3, http_requests_total)', to_timestamp(600))$$),
	(7, $$prom.query('http_requests_total or http_requests_total{i="7"}', to_timestamp(600))$$),
	(8, $$prom.query('http_requests_total[5m]', to_timestamp(600))$$),
	(9, $$prom.query_range('http_requests_total', to_timestamp(0), to_timestamp(600), '15s')$$),
	(10, $$prom.graph('sum(http_requests_total)', to_timestamp(0), to_timestamp(600), '15s')$$),
	(11, $$prom.samples_of('http_requests_total{code!="200"}', to_timestamp(0), to_timestamp(600))$$),
	(12, $$prom.query('http_requests_total[1m:2s]', to_timestamp(600))$$)) v(o, q),
	LATERAL pg_temp.estimate(q) ORDER BY o;
-- joined with a table of the business: few series look its rows up, many are hashed
CREATE TEMP TABLE asset AS SELECT n::text AS i, 'owner ' || n % 7 AS owner FROM generate_series(1, 20000) n;
ALTER TABLE asset ADD PRIMARY KEY (i);
ANALYZE asset;
CREATE FUNCTION pg_temp.join_node(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) SELECT * FROM ' || query || ' q JOIN asset a ON a.i = q.labels[''i'']' INTO plan;
	RETURN plan->0->'Plan'->>'Node Type';
END $$;
SELECT q, pg_temp.join_node(q)
FROM (VALUES (1, $$prom.query('http_requests_total{i="7"}', to_timestamp(600))$$),
	(2, $$prom.query('topk(3, http_requests_total)', to_timestamp(600))$$),
	(3, $$prom.query_range('http_requests_total', to_timestamp(0), to_timestamp(600), '1s')$$)) v(o, q) ORDER BY o;
-- a query that is not known yet has the estimate of its declaration
PREPARE later(text) AS SELECT * FROM prom.query($1, to_timestamp(600));
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE later('http_requests_total');
SELECT prom.delete_series('http_requests_total');
DELETE FROM prom.metadata WHERE family = 'http_requests';

-- Aggregations that need all values of a group: quantile, topk, bottomk, count_values.

CREATE TEMP TABLE v (labels prom.labels, x prom.vals);
INSERT INTO v VALUES ('{i="a"}', '[1 5 NaN 3 1]'), ('{i="b"}', '[2 5 1 _ 1]'), ('{i="c"}', '[4 _ _ NaN 1]'), ('{i="d"}', NULL);

SELECT prom._agg_quantile(x, '[0.75 0.5 -1 2 NaN]'), prom._agg_quantile(x, 'const(0.5)') FROM v;
SELECT prom._agg_quantile(x, 'const(1)') AS infinite_neighbour FROM unnest('{[1 +Inf],[2 1]}'::prom.vals[]) x;
SELECT prom._agg_quantile(x, 'const(1)') IS NULL AS nothing FROM v WHERE x IS NULL;

-- k may change from step to step; of equal values the lesser label set comes first
SELECT (unnest(prom._agg_topk(labels, x, '[1 1 2 9 2]'))).* FROM v ORDER BY 1;
SELECT (unnest(prom._agg_bottomk(labels, x, '[1 1 1.9 0 2]'))).* FROM v ORDER BY 1;
SELECT prom._agg_topk(labels, x, 'const(0)') IS NULL AS nothing FROM v;
-- with one step they come in order, NaN last
SELECT prom._agg_topk(l, x, 'const(3)'), prom._agg_bottomk(l, x, 'const(9)')
  FROM (VALUES ('{i="1"}'::prom.labels, '[2]'::prom.vals), ('{i="2"}', '[NaN]'), ('{i="3"}', '[3]'), ('{i="0"}', '[2]')) q(l, x);
SELECT prom._topk_limit('[1 0.5]'), prom._topk_limit('[0 0.5 -Inf]') IS NULL AS never;
SELECT prom._topk_limit('const(NaN)');
SELECT prom._topk_limit('[1 +Inf]');
SELECT prom._topk_limit('[1 -1e19]');

SELECT u.* FROM (SELECT prom._agg_count_values(x) AS found
  FROM unnest('{[1 1e22 -0 NaN 1.5e-10 1e5],[1 2 0 -NaN -Inf -123456789012345680000],[123.456 0.1 1e-5 1e15 123456789.125 -2.5e-300]}'::prom.vals[]) x) q, unnest(found) u ORDER BY value COLLATE "C";
SELECT prom._agg_count_values(x) IS NULL AS nothing FROM v WHERE x IS NULL;

-- what cannot be
SELECT prom._agg_quantile(x, 'const(1)') FROM unnest('{[1 2],[1]}'::prom.vals[]) x;
SELECT prom._agg_quantile('[1 2]', '[1 2 3]');
SELECT prom._agg_count_values('const(1)');
SELECT prom._agg_topk_add(NULL, '{}', '[1]', '[1]');
SELECT prom._agg_rows_combine(NULL, NULL);

-- states travel as text and in binary
CREATE AGGREGATE pg_temp.topk_state(prom.labels, prom.vals, prom.vals) (SFUNC = prom._agg_topk_add, STYPE = prom._agg_rows);
CREATE AGGREGATE pg_temp.count_values_state(prom.vals) (SFUNC = prom._agg_count_values_add, STYPE = prom._agg_rows);
SELECT prom._agg_topk_final(pg_temp.topk_state(labels, x, 'const(1)')::text::prom._agg_rows)::text = prom._agg_topk(labels, x, 'const(1)')::text AS same FROM v;
SELECT pg_temp.count_values_state(x)::text AS state, pg_temp.count_values_state(x)::text::prom._agg_rows::text = pg_temp.count_values_state(x)::text AS same,
       prom._agg_rows_send(pg_temp.count_values_state(x)) FROM unnest('{[1],[2]}'::prom.vals[]) x;
SELECT prom._agg_count_values_final('AgMAAAAAAAEAAAABAAAAFgEAAAAAAQAAAAAAAAABP/AAAAAAAAA='::prom._agg_rows);
SELECT 'AgQAAAAAAAEAAAAAAA=='::prom._agg_rows;
SELECT 'AgMAAAAAAAAAAAAA'::prom._agg_rows;
SELECT 'AgMAAAAAAAIAAAABAAAAFgEAAAAAAQAAAAAAAAABP/AAAAAAAAA='::prom._agg_rows;
SELECT 'AgMAAAAAAAEAAAAB////FgEAAAAAAQAAAAAAAAABP/AAAAAAAAA='::prom._agg_rows;
SELECT 'AgMAAAAAAAEAAAACAAAAFgEAAAAAAQAAAAAAAAABP/AAAAAAAAA='::prom._agg_rows;
SELECT ''::prom._agg_rows;

-- states are pruned as they grow and combined in parallel
CREATE TABLE promql_topk_many AS
  SELECT i % 3 AS g, prom.labels(jsonb_build_object('i', i::text)) AS labels,
    ('[' || i * 7919 % 10007 || ' ' || CASE WHEN i % 2 = 0 THEN '_' ELSE (i * 7907 % 10009)::text END || ' ' || CASE i % 30 WHEN 0 THEN 'NaN' ELSE (i % 4)::text END || ']')::prom.vals AS x
    FROM generate_series(1, 9000) i;
ALTER TABLE promql_topk_many SET (parallel_workers = 2);
ANALYZE promql_topk_many;
CREATE TEMP TABLE chosen AS
  SELECT g, s.step, s.value, i FROM promql_topk_many, jsonb_each_text(labels::jsonb) l(k, i),
    LATERAL (SELECT extract('epoch' FROM "time")::int AS step, value FROM prom._points(x, 0, 1000, 3)) s;
CREATE TEMP TABLE wanted AS
  SELECT g, step, i, value FROM (SELECT *, row_number() OVER (PARTITION BY g, step ORDER BY value = 'NaN', value DESC, i COLLATE "C") AS r FROM chosen) q WHERE r <= 20;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET jit = off;
EXPLAIN (COSTS OFF) SELECT prom._agg_topk(labels, x, 'const(20)') FROM promql_topk_many;
CREATE TEMP TABLE got AS
  SELECT g, extract('epoch' FROM p."time")::int AS step, u.labels::jsonb->>'i' AS i, p.value
    FROM (SELECT g, prom._agg_topk(labels, x, 'const(20)') AS found FROM promql_topk_many GROUP BY g) f, unnest(found) u, prom._points(u.vals, 0, 1000, 3) p;
SELECT count(*) FROM got;
SELECT count(*) FROM (TABLE wanted EXCEPT TABLE got) x;
SELECT g, prom._agg_quantile(x, 'const(0.9)'), cardinality(prom._agg_count_values(x)) AS distinct_values FROM promql_topk_many GROUP BY g ORDER BY g;
SELECT g, step, percentile_cont(0.9) WITHIN GROUP (ORDER BY value) AS wanted FROM chosen WHERE step < 2 GROUP BY g, step ORDER BY g, step;
SELECT step, abs(var_pop(c.value) - s.value) < 1e-6 AS variance FROM chosen c JOIN
  (SELECT extract('epoch' FROM "time")::int AS step, value FROM prom._points((SELECT prom._agg_stdvar(x) FROM promql_topk_many), 0, 1000, 3)) s USING (step)
  WHERE step < 2 GROUP BY step, s.value ORDER BY step;
DROP TABLE promql_topk_many;

-- too much is an error, not the end of memory
SET promgres.query_memory = '4GB';
SELECT prom._agg_count_values(x) FROM (SELECT ('[' || string_agg((i + 20000 * r)::text, ' ') || ']')::prom.vals AS x FROM generate_series(1, 11000) i, generate_series(1, 2) r GROUP BY r) q;

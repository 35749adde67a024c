-- Aggregates over the values of many series.

CREATE TEMP TABLE v (g text, x prom.vals);
INSERT INTO v VALUES ('a', '[1 _ 3 NaN -0]'), ('a', '[2 5 _ 1 -0]'), ('a', '[4 _ _ NaN 0]'), ('b', '[_ _ 1 _ _]'), ('c', NULL);
SELECT g, prom._agg_sum(x), prom._agg_avg(x), prom._agg_min(x), prom._agg_max(x), prom._agg_count(x)
  FROM v GROUP BY g ORDER BY g;
SELECT prom._agg_sum(x) FROM v WHERE false;
-- rows that have all steps are added at once, others step by step: it is the same
SELECT count(*), count(*) FILTER (WHERE replace(a.full::text, ']', ' _]') IS DISTINCT FROM a.gap::text) AS wrong
  FROM (SELECT prom._agg_sum(('[' || x || ' ' || y || ']')::prom.vals) AS full, prom._agg_sum(('[' || x || ' ' || y || ' _]')::prom.vals) AS gap
		FROM generate_series(1, 200) g, generate_series(1, 7) i,
			 LATERAL (SELECT (ARRAY['1', '-0', '0.1', '1e100', '-1e100', '1e308', '-1.7e308', '5e-324', 'NaN', '+Inf', '-Inf', '3'])[1 + (g * i * 7919 + i * i) % 12] AS x,
				(i * g / 7.0 * 10 ^ (g % 20 - i * 2))::float8::text AS y) v
	   GROUP BY g) a;
SELECT g, prom._agg_group(x), prom._agg_stdvar(x), prom._agg_stddev(x) FROM v GROUP BY g ORDER BY g;
SELECT prom._agg_stdvar(x) FROM unnest('{[1 +Inf 1e8],[2 1 1e8],[4 1 1e8]}'::prom.vals[]) x;

-- compensated: nothing is lost to a large value that goes away again
SELECT prom._agg_sum(x), prom._agg_avg(x) FROM unnest('{[1],[1e100],[1],[-1e100]}'::prom.vals[]) x;
-- infinities end compensation; a mean whose sum would overflow does not
SELECT prom._agg_sum(x), prom._agg_avg(x)
  FROM unnest('{[+Inf +Inf 1e308 -Inf],[1 -Inf 1e308 NaN],[1 1 1e308 1]}'::prom.vals[]) x;
SELECT prom._agg_avg(x) FROM (SELECT '[1.7976931348623157e+308 -1e308]'::prom.vals AS x FROM generate_series(1, 10)) q;
-- NaN only from NaN alone
SELECT prom._agg_min(x), prom._agg_max(x) FROM unnest('{[NaN NaN],[NaN 2],[NaN NaN]}'::prom.vals[]) x;

-- what cannot be
SELECT prom._agg_sum(x) FROM unnest('{[1 2],[1]}'::prom.vals[]) x;
SELECT prom._agg_sum('const(1)'::prom.vals);
SELECT prom._agg_sum_add(NULL, '[1]');
SELECT prom._agg_combine(NULL, NULL);

-- exactly one series, or NaN: scalar()
SELECT prom._single(x), prom._scalar(prom._single(x), 3) FROM unnest('{[1 2 _],[_ 3 _]}'::prom.vals[]) x;
SELECT prom._scalar(prom._single(x), 2) FROM v WHERE false;

-- rows of one label set may not share a step
SELECT prom._unique('{a="b"}', x) FROM unnest('{[1 _ _],[_ 2 _]}'::prom.vals[]) x;
SELECT prom._unique('{a="b"}', x) FROM unnest('{[1 _ 1],[_ 2 1]}'::prom.vals[]) x;
SELECT prom._only(x) FROM unnest('{[1 _]}'::prom.vals[]) x;
SELECT prom._only(x) FROM unnest('{[1 _],[_ 2]}'::prom.vals[]) x;

-- states travel as text and in binary
SELECT prom._agg_final(prom._agg_state_in('AgQAAAAAAAIAAAADAAAAAA==')) AS count;
SELECT prom._agg_state_in('AgQAAAAAAAIAAAADAAAAAA==')::text AS same, prom._agg_state_send('AgQAAAAAAAIAAAADAAAAAA==');
SELECT prom._agg_final('AgAAAAAAAAFAFAAAAAAAAAAAAAAAAAAAAAAAAg==') AS sum, 'AgAAAAAAAAFAFAAAAAAAAAAAAAAAAAAAAAAAAg=='::prom._agg_state::text AS same;
SELECT 'AgQAAAAAAAIAAAADAAA='::prom._agg_state;
SELECT 'An8AAAAAAAIAAAADAAAAAA=='::prom._agg_state;
SELECT 'AwQAAAAAAAIAAAADAAAAAA=='::prom._agg_state;
SELECT 'AgQAAH////8AAAADAAAAAA=='::prom._agg_state;
SELECT ''::prom._agg_state;
SELECT '****'::prom._agg_state;

-- in parallel: partial states are combined
CREATE TABLE promql_agg_many AS
  SELECT i % 3 AS g, ('[' || i || ' ' || CASE WHEN i % 2 = 0 THEN '_' ELSE (i % 100)::text END || ' ' || CASE i % 30 WHEN 0 THEN 'NaN' ELSE '0.5' END || ']')::prom.vals AS x
    FROM generate_series(1, 20000) i;
ALTER TABLE promql_agg_many SET (parallel_workers = 2);
ANALYZE promql_agg_many;
CREATE TEMP TABLE serial AS
  SELECT g, prom._agg_sum(x) AS s, prom._agg_avg(x) AS a, prom._agg_min(x) AS lo, prom._agg_max(x) AS hi, prom._agg_count(x) AS n
    FROM promql_agg_many GROUP BY g;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET jit = off;
EXPLAIN (COSTS OFF) SELECT prom._agg_sum(x), prom._agg_avg(x) FROM promql_agg_many;
SELECT g, s, a, lo, hi, n FROM serial ORDER BY g;
SELECT g, prom._agg_sum(x)::text = s::text AS sum, prom._agg_avg(x)::text = a::text AS avg, prom._agg_min(x)::text = lo::text AS min,
       prom._agg_max(x)::text = hi::text AS max, prom._agg_count(x)::text = n::text AS count
  FROM promql_agg_many JOIN serial USING (g) GROUP BY g, s::text, a::text, lo::text, hi::text, n::text ORDER BY g;
-- means that would overflow, duplicates found when states meet
CREATE TABLE promql_agg_great AS SELECT '[1e308 -1e308]'::prom.vals AS x FROM generate_series(1, 5000) i;
ALTER TABLE promql_agg_great SET (parallel_workers = 2);
ANALYZE promql_agg_great;
SELECT abs(value / 1e308) BETWEEN 1 - 1e-12 AND 1 + 1e-12 AS mean FROM (SELECT prom._agg_avg(x) AS a FROM promql_agg_great) q, prom._points(a, 0, 1, 2);
SELECT prom._single(x) IS NULL AS many FROM promql_agg_great;
SELECT prom._unique('{}', x) FROM promql_agg_great;
DROP TABLE promql_agg_many, promql_agg_great;

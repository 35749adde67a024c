-- Values with native histograms: their text and binary forms, and what is computed with them.

-- Both forms keep them.
SELECT '[1 {{schema:0 count:3 sum:5 buckets:[1 2]}} _ NaN]'::prom.vals;
SELECT prom.vals_out(prom.vals_in(prom.vals_out('[{{schema:0 count:3 sum:5 offset:-1 buckets:[1 2] counter_reset_hint:gauge}} 2]'::prom.vals)));
CREATE TEMP TABLE kept (v prom.vals);
INSERT INTO kept VALUES ('[_ {{schema:-53 count:3 sum:5 custom_values:[1 2] buckets:[1 2]}} 7 {{count:1 sum:NaN}}]'), ('[1 2]');
COPY kept TO PROGRAM 'cat > prom_vals_native.bin' (FORMAT binary);
CREATE TEMP TABLE back (v prom.vals);
COPY back FROM PROGRAM 'cat prom_vals_native.bin && rm prom_vals_native.bin' (FORMAT binary);
SELECT v FROM back;

-- What is none is refused.
SELECT '[{{schema:0 count:3]'::prom.vals;
SELECT '[{{schema:0 count:3}}x]'::prom.vals;
SELECT '[{{schema:99 count:3}}]'::prom.vals;
SELECT 'const({{count:1}})'::prom.vals;

-- Equality of histograms is that of all bits.
SELECT h, count(*) FROM (VALUES ('{{count:1 sum:2}}'::prom.histogram), ('{{count:1 sum:2}}'), ('{{count:1 sum:2 counter_reset_hint:gauge}}')) v(h)
GROUP BY h ORDER BY h::text;
SELECT '{{count:1}}'::prom.histogram OPERATOR(prom.=) '{{count:1}}' AS eq, '{{count:1}}'::prom.histogram OPERATOR(prom.<>) '{{count:2}}' AS ne;

-- As rows, and without histograms.
SELECT * FROM prom._points('[1 {{schema:0 count:3 sum:5 buckets:[1 2]}} _ NaN]', 0, 1000, 4);
SELECT prom._floats('[1 {{count:3}} _]'), prom._floats('[{{count:3}}]'), prom._floats('[1]');

SELECT prom._math('abs', '[-1 {{count:3}}]'), prom._math('abs', '[{{count:3}}]') IS NULL AS none, prom._date('minute', '[{{count:3}}]') IS NULL AS none,
	prom._vector(prom._vals(1), 2), prom._scalar('[{{count:3}} 2]', 2), prom._absent('[{{count:3}} _]', 2);

-- Sets, and series of one label set that share no step.
SELECT prom._and('[1 {{count:3}} {{count:4}}]', '[1 {{count:1}} _]'), prom._unless('[1 {{count:3}} {{count:4}}]', '[1 {{count:1}} _]');
SELECT prom._unique('{}', v) FROM (VALUES ('[1 _ _]'::prom.vals), ('[_ {{count:2}} _]'), ('[_ _ {{count:3}}]')) r(v);
SELECT prom._unique('{}', v) FROM (VALUES ('[_ 2]'::prom.vals), ('[_ {{count:2}}]')) r(v);
SELECT prom._unique('{}', v) FROM (VALUES ('[_ {{count:2}}]'::prom.vals), ('[_ {{count:2}}]')) r(v);
SELECT prom._or(b, l, v) FROM (VALUES (true, '{a="1"}'::prom.labels, '[{{count:2}} _ _]'::prom.vals), (false, '{a="1"}', '[{{count:3}} {{count:4}} _]'), (false, '{a="2"}', '[1 _ {{count:5}}]')) r(b, l, v);
SELECT prom._match_arith('+', l, r), prom._match_filter('==', k, l, r) FROM (VALUES ('{a="1"}'::prom.labels, '[1 {{count:2}} {{count:3}}]'::prom.vals, '[1 {{count:2}} 5]'::prom.vals), ('{a="2"}', '[_ _ 5]', '[_ _ 5]')) x(k, l, r);

-- Operators: what each takes, and what it makes absent.
SELECT op, prom._arith(op, '[2 2 {{count:4 sum:6 buckets:[1 3]}} {{count:4 sum:6 buckets:[1 3]}}]', '[3 {{count:2 sum:1 buckets:[2]}} 2 {{count:2 sum:1 buckets:[2]}}]')
FROM unnest('{+,-,*,/,%,^,atan2,</,>/}'::text[]) op;
SELECT op, prom._compare(op, '[2 2 {{count:4}} {{count:4}} {{count:4 counter_reset_hint:gauge}}]', '[3 {{count:2}} 2 {{count:2}} {{count:4}}]', b, false)
FROM unnest('{==,!=,<}'::text[]) op, unnest('{true,false}'::bool[]) b;
SELECT prom._negate('[1 {{count:4 sum:6 buckets:[1 3]}}]');

-- Layouts meet at the coarser one: schema, zero bucket, custom bounds.
SELECT prom._arith('+', '[{{schema:1 count:4 sum:6 buckets:[1 3 5 7]}}]', '[{{schema:0 count:2 sum:1 offset:1 buckets:[2]}}]');
SELECT prom._arith('+', '[{{count:7 sum:6 z_bucket:1 z_bucket_w:0.001 offset:-2 buckets:[1 2 3]}}]', '[{{count:2 sum:1 z_bucket:2 z_bucket_w:0.3}}]') AS populated_bucket_is_not_cut;
SELECT prom._arith('-', '[{{schema:-53 count:9 sum:6 custom_values:[1 2 3] buckets:[1 2 3 3]}}]', '[{{schema:-53 count:2 sum:1 custom_values:[2 4] buckets:[1 1]}}]');
SELECT prom._arith('+', '[{{schema:-53 count:9 sum:6 custom_values:[1] buckets:[9]}}]', '[{{schema:0 count:2 sum:1 buckets:[2]}}]') AS none;
-- 2^1024 and beyond
SELECT prom._arith('+', '[{{schema:8 count:1 sum:1 offset:262144 buckets:[1]}}]', '[{{schema:-4 count:1 sum:1 offset:64 buckets:[1]}}]');
SELECT prom._arith('/', '[{{count:4 sum:6 buckets:[1 3]}}]', prom._vals(0)), prom._arith('*', '[{{count:4 sum:6 buckets:[1 3]}}]', prom._vals(-1));

-- Trimming, in and between buckets, exponential, custom, around zero.
SELECT x, prom._arith('</', h::prom.vals, prom._vals(x)) AS upper, prom._arith('>/', h::prom.vals, prom._vals(x)) AS lower
FROM (VALUES ('[{{count:6 sum:9 z_bucket:2 z_bucket_w:0.5 buckets:[0 1 3]}}]'), ('[{{count:6 sum:9 z_bucket:2 z_bucket_w:0.5 n_buckets:[0 1 3]}}]'),
	('[{{schema:-53 count:6 sum:9 custom_values:[1 2] buckets:[1 2 3]}}]'), ('[{{schema:-53 count:6 sum:9 custom_values:[-2 -1] buckets:[1 2 3]}}]')) v(h),
	unnest('{-Infinity,-3,-1.5,0,0.25,1,1.5,3,Infinity}'::float8[]) x;

-- Aggregates: both kinds at a step give nothing for sum and avg, and numbers only for the rest.
CREATE TEMP TABLE given (i int, l prom.labels, v prom.vals);
INSERT INTO given VALUES
	(1, '{a="1"}', '[1 {{count:4 sum:6 buckets:[1 3]}} {{count:4 sum:6 buckets:[1 3]}} {{schema:-53 count:1 sum:1 custom_values:[1] buckets:[1]}} 5]'),
	(2, '{a="2"}', '[2 {{count:2 sum:1 buckets:[2]}} 7 {{count:2 sum:1 buckets:[2]}} {{count:1 sum:1}}]'),
	(3, '{a="3"}', '[_ {{count:1 sum:1 n_buckets:[1]}} _ _ {{count:1 sum:1}}]');
SELECT prom._agg_sum(v ORDER BY i) AS sum, prom._agg_avg(v ORDER BY i) AS avg FROM given;
SELECT prom._agg_min(v), prom._agg_max(v), prom._agg_count(v), prom._agg_group(v), prom._agg_stdvar(v) FROM given;
SELECT prom._agg_quantile(v, prom._vals(0.5)), prom._agg_topk(l, v, prom._vals(1)), prom._agg_limitk(l, v, prom._vals(9)) IS NOT NULL AS limitk FROM given;
SELECT u.value, u.vals FROM (SELECT prom._agg_count_values(v) AS found FROM given) f, unnest(f.found) u(value, vals) ORDER BY u.value COLLATE "C";
-- A mean goes on where the sum would be infinite.
SELECT prom._agg_avg('[{{count:1 sum:1.7e308}}]') FROM generate_series(1, 3);

-- States travel, and combine: sums, means, duplicates.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
CREATE TABLE vals_native_many (i int, v prom.vals);
ALTER TABLE vals_native_many SET (parallel_workers = 2);
INSERT INTO vals_native_many SELECT i, CASE WHEN i % 3 = 0 THEN '[{{count:1 sum:2 buckets:[1]}} {{count:1 sum:1.7e308}} 1]'
	ELSE '[{{count:2 sum:2 offset:1 buckets:[2]}} {{count:1 sum:1.7e308}} {{count:1}}]' END::prom.vals FROM generate_series(1, 900) i;
ANALYZE vals_native_many;
CREATE FUNCTION pg_temp.uses_workers(sql text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || sql INTO plan;
	RETURN plan::text LIKE '%"Partial"%';
END
$$;
SELECT pg_temp.uses_workers('SELECT prom._agg_sum(v) FROM vals_native_many');
SELECT prom._agg_sum(v) AS sum, (SELECT array_agg(round(value::numeric, 12) ORDER BY "time") FROM prom._points(prom._histogram_value('histogram_count', prom._agg_avg(v)), 0, 1, 3)) AS avg,
	prom._math('round', prom._arith('/', prom._histogram_value('histogram_sum', prom._agg_avg(v)), prom._vals(1.7e308)), prom._vals(1e-6)) AS great FROM vals_native_many;
SELECT prom._agg_sum(v)::text = (SELECT prom._agg_sum(v)::text FROM (SELECT v FROM vals_native_many OFFSET 0) x) AS same FROM vals_native_many;
DROP TABLE vals_native_many;

-- Histograms: quantiles, fractions; one that meets classic buckets has none.
SELECT phi, prom._histogram_quantile(l, v::prom.vals, '1:1', false, 0, 15000, prom._vals(phi)) AS quantile
FROM unnest('{-1,0,0.1,0.5,0.9,1,NaN}'::float8[]) phi, (VALUES ('{a="1"}'::prom.labels,
	'[{{count:6 sum:9 z_bucket:2 z_bucket_w:0.5 buckets:[0 1 3]}} {{count:6 sum:9 z_bucket:2 z_bucket_w:0.5 n_buckets:[0 1 3]}} {{schema:-53 count:6 sum:9 custom_values:[1 2] buckets:[1 2 3]}} {{count:6 sum:NaN buckets:[1 2]}} {{count:0}} 7]')) r(l, v)
GROUP BY phi ORDER BY phi;
SELECT x, prom._histogram_fraction(l, v::prom.vals, '1:1', false, 0, 15000, prom._vals('-Infinity'::float8), prom._vals(x)) AS fraction
FROM unnest('{-Infinity,-3,-1.5,0,0.25,1,1.5,3,Infinity,NaN}'::float8[]) x, (VALUES ('{a="1"}'::prom.labels,
	'[{{count:6 sum:9 z_bucket:2 z_bucket_w:0.5 buckets:[0 1 3]}} {{count:6 sum:9 z_bucket:2 z_bucket_w:0.5 n_buckets:[0 1 3]}} {{schema:-53 count:6 sum:9 custom_values:[1 2] buckets:[1 2 3]}} {{count:6 sum:NaN buckets:[1 2]}} {{count:0}} 7]')) r(l, v)
GROUP BY x ORDER BY x;
SELECT prom._histogram_quantile(l, v, '1:1', false, 0, 15000, prom._vals(0.5)) FROM (VALUES ('{le="1"}'::prom.labels, '[1 1]'::prom.vals), ('{le="+Inf"}', '[2 2]'), ('{}', '[{{count:4 sum:6 buckets:[4]}} _]')) r(l, v);
SELECT prom._histogram_value('histogram_mode', '[1]');
SELECT fn, prom._histogram_value('histogram_' || fn, '[1 {{count:4 sum:6 buckets:[1 3]}} {{schema:-53 count:6 sum:9 custom_values:[1 2] buckets:[0 2 0]}}]') FROM unnest('{count,sum,avg,stdvar,stddev}'::text[]) fn;

-- Windows over values: every function, where kinds meet and where they do not.
SELECT fn, prom._over(fn, '[{{count:1 sum:1 buckets:[1]}} {{count:3 sum:5 buckets:[1 2]}} {{count:2 sum:2 buckets:[2]}} {{count:6 sum:5 buckets:[3 3]}} 5 7]', 0, 15000, 15000, 15000, 5, 45000)
FROM unnest('{rate,increase,delta,irate,idelta,changes,resets,sum_over_time,avg_over_time,min_over_time,count_over_time,present_over_time,first_over_time,last_over_time,stddev_over_time,deriv}'::text[]) fn;
SELECT fn, prom._over(fn, '[{{schema:-53 count:3 sum:5 custom_values:[1 2] buckets:[1 2]}} {{schema:-53 count:5 sum:6 custom_values:[1 3] buckets:[1 4]}} {{count:6 sum:5 buckets:[3 3]}}]', 0, 15000, 15000, 15000, 2, 45000)
FROM unnest('{rate,increase,delta,irate,idelta,resets,sum_over_time,avg_over_time}'::text[]) fn;

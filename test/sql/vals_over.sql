-- Window functions with a parameter or of statistics, over chunks and over values.

CREATE FUNCTION pg_temp.c(t int8[], v float8[], sid int4 DEFAULT 1) RETURNS prom.chunk
	LANGUAGE sql AS $$ SELECT prom.chunk_build(0::int2, sid, (SELECT array_agg(x * 1000 ORDER BY i) FROM unnest(t) WITH ORDINALITY u(x, i)), v) $$;

-- windows with gaps, all at one time, before 1970
SELECT (prom._window('changes', d, 1, '{1}', 20000, 20000, 4, 30000))[1], (prom._window('resets', d, 1, '{1}', 20000, 20000, 4, 30000))[1],
       (prom._window('first_over_time', d, 1, '{1}', 20000, 20000, 4, 30000))[1], (prom._window('changes', d, 1, '{1}', 80000, 0, 3, 70000))[1] AS at_one_time
  FROM pg_temp.c('{10,20,30,40,50,60,70,80}', '{3,NaN,NaN,1,1,5,2,-1}') d;
SELECT (prom._window('deriv', d, 1, '{1}', -10000, 10000, 3, 25000))[1], (prom._window('stddev_over_time', d, 1, '{1}', -10000, 10000, 3, 25000))[1],
       (prom._window('stdvar_over_time', d, 1, '{1}', -10000, 10000, 3, 25000))[1]
  FROM pg_temp.c('{-30,-20,-10,0}', '{1,2,4,8}') d;
-- a great offset does not spoil the deviation, nor a late time the slope
SELECT (prom._window('stdvar_over_time', d, 1, '{1}', 50000, 1, 1, 60000))[1], (prom._window('stddev_over_time', d, 1, '{1}', 50000, 1, 1, 60000))[1]
  FROM pg_temp.c('{10,20,30,40}', '{1000000000001,1000000000002,1000000000003,1000000000004}') d;
SELECT (prom._window('deriv', d, 1, '{1}', 4000000040000, 1, 1, 60000))[1], (prom._window('predict_linear', d, 1, '{1}', 4000000040000, 1, 1, 60000, prom._vals(10), 4000000040000, 1))[1]
  FROM pg_temp.c('{4000000010,4000000020,4000000030,4000000040}', '{1,2,3,4}') d;
-- the line is extended from the step, wherever the window is; the parameter has a value for each step
SELECT (prom._window('predict_linear', d, 1, '{1}', 40000, 0, 3, 40000, prom._vals(5), 40000, 10000))[1] AS under_at,
       (prom._window('predict_linear', d, 1, '{1}', 20000, 10000, 3, 40000, '[0 10 20]', 20000, 10000))[1] AS varying,
       (prom._window('predict_linear', d, 1, '{1}', 20000, 10000, 3, 40000, 'const(NaN)', 20000, 10000))[1] AS nan
  FROM pg_temp.c('{10,20,30,40}', '{1,2,3,4}') d;
SELECT (prom._window('quantile_over_time', d, 1, '{1}', 30000, 10000, 3, 30000, '[0.5 0 0.75]', 0, 0))[1],
       (prom._window('quantile_over_time', d, 1, '{1}', 50000, 0, 5, 50000, '[-1 0 0.5 1 2]', 0, 0))[1]
  FROM pg_temp.c('{10,20,30,40,50}', '{3,1,2,+Inf,-Inf}') d;
-- quantiles are those of sorting: all ranks of 500 values, many of them equal
SELECT count(*), count(*) FILTER (WHERE abs(p.value - sorted[k + 1]) < 1e-9) AS same
  FROM (SELECT ('[' || string_agg(v::text, ' ' ORDER BY i) || ']')::prom.vals AS vals, array_agg(v ORDER BY v) AS sorted
          FROM (SELECT i, (i * 7919 % 211)::float8 AS v FROM generate_series(1, 500) i) raw) x,
       generate_series(0, 499) k,
       prom._points(prom._over('quantile_over_time', vals, 1, 1, 500, 0, 1, 500, prom._vals(k / 499.0), 0, 0), 0, 1, 1) p;

-- over values the same as over a chunk of the same samples
CREATE TEMP TABLE steps AS
  SELECT prom.chunk_build(0::int2, 1, array_agg(i * 1000::int8 ORDER BY i) FILTER (WHERE i % 7 <> 3), array_agg((i * 31 % 17)::float8 ORDER BY i) FILTER (WHERE i % 7 <> 3)) AS d,
         ('[' || string_agg(CASE WHEN i % 7 = 3 THEN '_' ELSE (i * 31 % 17)::text END, ' ' ORDER BY i) || ']')::prom.vals AS v
    FROM generate_series(1, 200) i;
CREATE FUNCTION pg_temp.leaf(name text, more text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	leaf prom.vals;
	over prom.vals;
BEGIN
	EXECUTE format('SELECT (prom._window(%L, d, 1, ''{1}'', 10000, 7000, 35, 20000%s))[1] FROM steps', name, more) INTO leaf;
	EXECUTE format('SELECT prom._over(%L, v, 1000, 1000, 10000, 7000, 35, 20000%s) FROM steps', name, more) INTO over;
	RETURN CASE WHEN prom.vals_send(leaf) = prom.vals_send(over) THEN 'same' ELSE leaf || ' but ' || over END;
END $$;
SELECT name, pg_temp.leaf(name, '') FROM unnest('{rate,increase,delta,irate,idelta,changes,resets,deriv,sum_over_time,avg_over_time,min_over_time,max_over_time,count_over_time,stddev_over_time,stdvar_over_time,first_over_time,last_over_time,present_over_time}'::text[]) name
UNION ALL SELECT name, pg_temp.leaf(name, ', prom._vals(0.3), 10000, 7000') FROM unnest('{quantile_over_time,predict_linear}'::text[]) name;
SELECT prom._over('sum_over_time', '[1 _ 4 NaN _ _]', -2000, 1000, -3000, 1000, 8, 1000) AS one_each,
       prom._over('sum_over_time', '[1 _ 4]', 0, 1000, 5000, 1000, 3, 1000) IS NULL AS nothing,
       prom._over('last_over_time', '[1 2 3]', 0, 1000, 1500, 0, 4, 60000) AS at_one_time;

SELECT t_ms, value FROM prom.samples(prom._steps_chunk('[1 _ NaN -0]', -1000, 1000)) ORDER BY 1;
SELECT prom._steps_chunk('[_ _]', 0, 1) IS NULL AS nothing;

-- arguments out of bounds
SELECT prom._over('nosuch', '[1]', 0, 1, 0, 1, 1, 1);
SELECT prom._over('quantile_over_time', '[1]', 0, 1, 0, 1, 1, 1);
SELECT prom._over('rate', '[1]', 0, 1, 0, 1, 1, 1, prom._vals(1), 0, 1);
SELECT prom._over('no_such', '[1]', 0, 1, 0, 1, 1, 1);
SELECT prom._over('rate', '[1 2]', 0, 0, 0, 1, 1, 1);
SELECT prom._over('rate', 'const(1)', 0, 1, 0, 1, 1, 1);
SELECT prom._over('rate', '[1 2]', 9223372036854775807, 1, 0, 1, 1, 1);
SELECT prom._over('rate', '[1 2]', 0, 1, 0, 9223372036854775807, 3, 1);
SELECT prom._over('rate', '[1 2]', 0, 1, 0, 1, 1000001, 1);
SELECT prom._over('rate', '[1 2]', 0, 1, 0, 1, 1, -1);
SELECT prom._over('predict_linear', '[1 2]', 0, 1, 0, 1, 3, 1, '[1 2]', 0, 1);
SELECT prom._over('predict_linear', '[1 2]', 0, 1, 0, 1, 3, 1, prom._vals(1), 9223372036854775807, 1);
SELECT (prom._window('quantile_over_time', d, 1, '{1}', 0, 1, 3, 1, '[1 2]', 0, 1))[1] FROM pg_temp.c('{0}', '{0}') d;
SELECT (prom._window('quantile_over_time', d, 1, '{1}', 0, 1, 3, 1, NULL, 0, 1))[1] FROM pg_temp.c('{0}', '{0}') d;
SELECT prom._steps_chunk('[1 2]', 0, -1);

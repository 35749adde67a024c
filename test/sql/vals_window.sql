-- Leaves: from chunk rows of one series to its values at all steps.

CREATE FUNCTION pg_temp.c(t int8[], v float8[], sid int4 DEFAULT 1) RETURNS prom.chunk
	LANGUAGE sql AS $$ SELECT prom.chunk_build(0::int2, sid, (SELECT array_agg(x * 1000 ORDER BY i) FROM unnest(t) WITH ORDINALITY u(x, i)), v) $$;
-- bits of values, for what text does not show
CREATE FUNCTION pg_temp.bits(v prom.vals) RETURNS text LANGUAGE sql AS $$ SELECT encode(prom.vals_send(v), 'hex') $$;
-- the stale marker, 0x7ff0000000000002, has no literal
CREATE TEMP TABLE marker (stale float8);
COPY marker FROM PROGRAM $$printf 'PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\001\0\0\0\010\177\360\0\0\0\0\0\002\377\377'$$ (FORMAT binary);

-- extrapolation: towards the ends of the window, half a gap where they are far
SELECT (prom._window('increase', d, 1, '{1}', 60000, 5000, 3, 60000))[1], (prom._window('rate', d, 1, '{1}', 60000, 5000, 3, 60000))[1],
       (prom._window('increase', d, 1, '{1}', 90000, 1, 1, 60000))[1] AS at_90
  FROM pg_temp.c('{0,15,30,45,60}', '{0,10,20,30,40}') d;
SELECT (prom._window('increase', d, 1, '{1}', 60000, 1, 1, 60000))[1], (prom._window('irate', d, 1, '{1}', 60000, 1, 1, 60000))[1],
       (prom._window('delta', d, 1, '{1}', 60000, 1, 1, 60000))[1], (prom._window('idelta', d, 1, '{1}', 60000, 1, 1, 60000))[1]
  FROM pg_temp.c('{15,30,45,60}', '{10,20,5,15}') d;
-- a counter does not reach back beyond its zero point; a gauge does
SELECT (prom._window('increase', d, 1, '{1}', 60000, 1, 1, 60000))[1], (prom._window('increase', d, 1, '{1}', 60000, 1, 1, 300000))[1] AS wide,
       (prom._window('delta', d, 1, '{1}', 60000, 1, 1, 60000))[1]
  FROM pg_temp.c('{15,30,45,60}', '{2,20,38,56}') d;
SELECT (prom._window('rate', d, 1, '{1}', 60000, 1, 1, 60000))[1] AS negative, (prom._window('increase', d, 1, '{1}', 60000, 1, 1, 300000))[1] AS no_zero_point
  FROM pg_temp.c('{15,30,45,60}', '{-2,20,38,56}') d;
SELECT (prom._window('increase', d, 1, '{1}', 60000, 1, 1, 60000))[1] AS unchanged, (prom._window('rate', d, 1, '{1}', 60000, 1, 1, 1100))[1] IS NULL AS one
  FROM pg_temp.c('{15,30,45,60}', '{5,5,5,5}') d;
SELECT (prom._window('rate', d, 1, '{1}', 60000, 1, 1, 60000))[1], (prom._window('irate', d, 1, '{1}', 60000, 1, 1, 60000))[1], (prom._window('idelta', d, 1, '{1}', 45000, 15000, 2, 60000))[1]
  FROM pg_temp.c('{15,30,45,60}', '{1,NaN,+Inf,3}') d;

-- windows are open on the left, closed on the right
SELECT (prom._window('count_over_time', d, 1, '{1}', 0, 10000, 8, 30000))[1], (prom._window('last_over_time', d, 1, '{1}', 0, 10000, 8, 30000))[1],
       (prom._window('sum_over_time', d, 1, '{1}', 0, 10000, 8, 30000))[1], (prom._window('present_over_time', d, 1, '{1}', 0, 10000, 11, 30000))[1]
  FROM pg_temp.c('{0,10,20,30,70}', '{1,2,4,8,16}') d;
SELECT (prom._window('instant', d, 1, '{1}', 300000, 1, 1, 300000))[1] IS NULL AS at_bound, (prom._window('instant', d, 1, '{1}', 299999, 1, 1, 300000))[1] AS inside
  FROM pg_temp.c('{0}', '{7}') d;
-- a range has at each step what the step has alone: long before and after the samples, and at the first and last
SELECT f, count(*), count(x.steps) AS not_empty, count(*) FILTER (WHERE trim(both '[]' FROM x.steps) IS DISTINCT FROM x.alone) AS wrong
  FROM unnest('{increase,count_over_time,last_over_time,max_over_time}'::text[]) f, unnest('{-700,-200,-7,0,30,31,60,89,90,91,200}'::int8[]) start,
       unnest('{1,7,15,30,61}'::int8[]) step, unnest('{1,15,30,100}'::int8[]) range,
       LATERAL (SELECT (SELECT (prom._window(f, d, 1, '{1}', start * 1000, step * 1000, 40, range * 1000))[1]::text FROM pg_temp.c('{30,45,60}', '{1,2,3}') d) AS steps,
			CASE WHEN count(s.o) > 0 THEN string_agg(coalesce(trim(both '[]' FROM s.o), '_'), ' ' ORDER BY i) END AS alone
		FROM (SELECT i, (SELECT (prom._window(f, d, 1, '{1}', (start + step * i) * 1000, 0, 1, range * 1000))[1]::text
			FROM pg_temp.c('{30,45,60}', '{1,2,3}') d) AS o FROM generate_series(0, 39) i) s) x
 GROUP BY f ORDER BY f;
-- series of a block share what follows from the times of their samples: each has at each step what the step has alone
WITH samples AS (SELECT sid, t, (CASE sid WHEN 1 THEN t * 2 WHEN 2 THEN t % 200 WHEN 3 THEN 100 - t WHEN 4 THEN t WHEN 5 THEN (t - 15) / 7.0 + 0.5
			WHEN 6 THEN t * t WHEN 8 THEN CASE WHEN t > 400 THEN 1.5e308 ELSE 1e-310 * t END ELSE 5 END)::float8 + (CASE WHEN sid = 7 AND t = 150 THEN 'NaN' WHEN sid = 7 AND t = 240 THEN 'Infinity' ELSE '0' END)::float8 AS v
		FROM generate_series(1, 8) sid, generate_series(15, 600, 15) t WHERE (sid <> 4 OR t % 30 = 0) AND (sid <> 6 OR t <> 300)),
	 chunks AS (SELECT sid, pg_temp.c(array_agg(t ORDER BY t), array_agg(v ORDER BY t), sid) AS d FROM samples GROUP BY sid)
SELECT f, count(*), count(x.steps) AS not_empty, count(*) FILTER (WHERE trim(both '[]' FROM x.steps) IS DISTINCT FROM x.alone) AS wrong
  FROM unnest('{rate,increase,delta,instant,avg_over_time,sum_over_time,min_over_time}'::text[]) f, unnest('{-100,0,7,300}'::int8[]) start, unnest('{15,37}'::int8[]) step,
       unnest('{20,60,300}'::int8[]) range,
       LATERAL (SELECT prom._window(f, d, 1, '{1,2,3,4,5,6,7,8}', start * 1000, step * 1000, 25, range * 1000) AS all FROM chunks) b, generate_series(1, 8) sid,
       LATERAL (SELECT b.all[sid]::text AS steps,
			CASE WHEN count(s.o) > 0 THEN string_agg(coalesce(trim(both '[]' FROM s.o), '_'), ' ' ORDER BY i) END AS alone
		FROM (SELECT i, (SELECT (prom._window(f, d, 1, ARRAY[sid], (start + step * i) * 1000, 0, 1, range * 1000))[1]::text
			FROM chunks WHERE chunks.sid = x.sid) AS o FROM (SELECT sid) x, generate_series(0, 24) i) s) x
 GROUP BY f ORDER BY f;
-- steps with gaps between their windows
SELECT (prom._window('count_over_time', d, 1, '{1}', 10000, 30000, 3, 10000))[1], (prom._window('max_over_time', d, 1, '{1}', 10000, 30000, 3, 10000))[1],
       (prom._window('increase', d, 1, '{1}', 10000, 30000, 3, 20000))[1]
  FROM pg_temp.c('{1,5,10,15,20,35,38,40,65,70}', '{9,8,7,60,50,4,5,6,1,2}') d;
-- before 1970; all steps at one time; no sample in any window
SELECT (prom._window('last_over_time', d, 1, '{1}', -20000, 10000, 3, 15000))[1], (prom._window('instant', d, 1, '{1}', -10000, 0, 2, 1))[1]
  FROM pg_temp.c('{-30,-20,-10}', '{1,2,3}') d;
SELECT (prom._window('sum_over_time', d, 1, '{1}', 100000, 1000, 5, 50000))[1] IS NULL AS nothing,
       (prom._window('sum_over_time', d, 1, '{2}', 0, 1000, 5, 50000))[1] IS NULL AS other_series
  FROM pg_temp.c('{1,2}', '{1,2}') d;

-- staleness: an instant selector sees the end of the series, a range does not see the marker
SELECT (prom._window('instant', d, 1, '{1}', 0, 10000, 5, 300000))[1], (prom._window('count_over_time', d, 1, '{1}', 0, 10000, 5, 300000))[1],
       (prom._window('last_over_time', d, 1, '{1}', 0, 10000, 5, 300000))[1], (prom._window('delta', d, 1, '{1}', 30000, 1, 1, 40000))[1]
  FROM marker, prom.chunk_build(0::int2, 1, '{0,10000,20000,30000}', ARRAY[1, 2, stale, 4]) d;
SELECT (prom._window('instant', d, 1, '{1}', 0, 10000, 3, 300000))[1] IS NULL AS instant, (prom._window('sum_over_time', d, 1, '{1}', 0, 10000, 3, 300000))[1] IS NULL AS range,
       (prom._samples(d, 1, '{1}', -1, 10000))[1] IS NULL AS samples
  FROM marker, prom.chunk_build(0::int2, 1, '{0}', ARRAY[stale]) d;
-- an ordinary NaN is a value
SELECT (prom._window('instant', d, 1, '{1}', 0, 10000, 2, 5000))[1] FROM pg_temp.c('{0,10}', '{1,NaN}') d;

-- over time: extremes ignore NaN among numbers, -0 and 0 are equal and the first stays
SELECT (prom._window('min_over_time', d, 1, '{1}', 10000, 10000, 6, 20000))[1], (prom._window('max_over_time', d, 1, '{1}', 10000, 10000, 6, 20000))[1]
  FROM pg_temp.c('{10,20,30,40,50,60}', '{3,NaN,NaN,1,+Inf,-Inf}') d;
SELECT (prom._window('min_over_time', d, 1, '{1}', 10000, 10000, 4, 20000))[1], (prom._window('max_over_time', d, 1, '{1}', 10000, 10000, 4, 20000))[1],
       (prom._window('sum_over_time', d, 1, '{1}', 10000, 1, 1, 10000))[1] AS sum, (prom._window('avg_over_time', d, 1, '{1}', 10000, 1, 1, 10000))[1] AS avg
  FROM pg_temp.c('{10,20,30,40}', '{-0,0,0,-0}') d;
-- sums are compensated, infinities end that, means do not overflow
SELECT (prom._window('sum_over_time', d, 1, '{1}', 5000, 1, 1, 10000))[1], (prom._window('avg_over_time', d, 1, '{1}', 5000, 1, 1, 10000))[1]
  FROM pg_temp.c('{1,2,3,4}', '{1,1e100,1,-1e100}') d;
SELECT (prom._window('sum_over_time', d, 1, '{1}', 1000, 1000, 4, 10000))[1], (prom._window('avg_over_time', d, 1, '{1}', 1000, 1000, 4, 10000))[1]
  FROM pg_temp.c('{1,2,3,4}', '{1,+Inf,1e308,-Inf}') d;
SELECT (prom._window('sum_over_time', d, 1, '{1}', 1000, 1000, 4, 10000))[1], (prom._window('avg_over_time', d, 1, '{1}', 1000, 1000, 4, 10000))[1]
  FROM pg_temp.c('{1,2,3,4}', '{1.7976931348623157e308,1.7976931348623157e308,-1.7976931348623157e308,-1.7976931348623157e308}') d;

-- every step against the plain definition, on a jagged counter in overlapping chunks
CREATE TEMP TABLE raw AS
  SELECT i::int8 * 7000 + (i * 7919 % 3000) AS t, CASE WHEN i % 97 = 0 THEN 0 ELSE (i % 97) * 3 + (i * 31 % 11) END::float8 AS v
    FROM generate_series(1, 600) i;
CREATE TEMP TABLE rows AS
  SELECT k AS ord, prom.chunk_build(0::int2, 1, array_agg(t ORDER BY t), array_agg(v ORDER BY t), CASE k % 2 WHEN 0 THEN 'warm' ELSE 'fresh' END) AS data
    FROM (SELECT (t / 7000) % 5 AS k, * FROM raw) x GROUP BY k;
CREATE TEMP TABLE wide (range_ms int8, step_ms int8, n int);
INSERT INTO wide VALUES (60000, 15000, 300), (600000, 10000, 450), (3000, 60000, 80), (4300000, 1000000, 5), (20000, 1, 2500);
CREATE TEMP VIEW expected AS
  SELECT w.*, k, (SELECT array_agg(v ORDER BY t) FROM raw WHERE t > 7000 + k * step_ms - range_ms AND t <= 7000 + k * step_ms) AS vs
    FROM wide w, generate_series(0, w.n - 1) k;
CREATE FUNCTION pg_temp.text_of(xs float8[]) RETURNS text LANGUAGE sql AS $$
  SELECT '[' || string_agg(coalesce(CASE WHEN x = 0 THEN '0' ELSE x::text END, '_'), ' ' ORDER BY i) || ']' FROM unnest(xs) WITH ORDINALITY u(x, i) $$;
CREATE TEMP TABLE answer AS
  SELECT w.*, min_, max_, count_, sum_, last_, increase_ FROM wide w, LATERAL (
    SELECT (prom._window('min_over_time', data, ord, '{1}', 7000, step_ms, n, range_ms))[1] AS min_, (prom._window('max_over_time', data, ord, '{1}', 7000, step_ms, n, range_ms))[1] AS max_,
           (prom._window('count_over_time', data, ord, '{1}', 7000, step_ms, n, range_ms))[1] AS count_, (prom._window('sum_over_time', data, ord, '{1}', 7000, step_ms, n, range_ms))[1] AS sum_,
           (prom._window('last_over_time', data, ord, '{1}', 7000, step_ms, n, range_ms))[1] AS last_, (prom._window('increase', data, ord, '{1}', 7000, step_ms, n, range_ms))[1] AS increase_
      FROM rows) l;
SELECT a.range_ms, a.step_ms, min_::text = e.emin AS min, max_::text = e.emax AS max, sum_::text = e.esum AS sum,
       count_::text = e.ecount AS count, last_::text = e.elast AS last
  FROM answer a, LATERAL (
    SELECT pg_temp.text_of(array_agg((SELECT min(x) FROM unnest(vs) x) ORDER BY k)) AS emin,
           pg_temp.text_of(array_agg((SELECT max(x) FROM unnest(vs) x) ORDER BY k)) AS emax,
           pg_temp.text_of(array_agg((SELECT sum(x) FROM unnest(vs) x) ORDER BY k)) AS esum,
           pg_temp.text_of(array_agg(cardinality(vs)::float8 ORDER BY k)) AS ecount,
           pg_temp.text_of(array_agg(vs[cardinality(vs)] ORDER BY k)) AS elast
      FROM expected e WHERE e.range_ms = a.range_ms) e ORDER BY 1;
-- each step alone and all steps in one go give the same bits
SELECT w.range_ms, count(*), count(DISTINCT one = (SELECT value FROM prom._points(a.increase_, 7000, w.step_ms, w.n) p WHERE p."time" = to_timestamp(0) + (7000 + k * w.step_ms) * interval '1 ms')) AS kinds
  FROM wide w JOIN answer a USING (range_ms), generate_series(0, w.n - 1) k,
       LATERAL (SELECT p.value AS one FROM (SELECT (prom._window('increase', data, ord, '{1}', 7000 + k * w.step_ms, 1, 1, w.range_ms))[1] AS x FROM rows) x, prom._points(x, 0, 1, 1) p) l
 WHERE w.n <= 300
 GROUP BY 1 ORDER BY 1;

-- the order of rows does not matter, whatever function
CREATE FUNCTION pg_temp.leaf(name text, sorted text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer prom.vals;
BEGIN
	EXECUTE format('SELECT (prom._window(%L, data, ord, ''{1}'', 7000, 15000, 280, 60000 ORDER BY %s))[1] FROM rows', name, sorted) INTO answer;
	RETURN pg_temp.bits(answer);
END $$;
SELECT name, pg_temp.leaf(name, 'ord') = pg_temp.leaf(name, 'ord DESC') AS reversed, pg_temp.leaf(name, 'ord') = pg_temp.leaf(name, 'ord * 2 % 5') AS shuffled
  FROM unnest('{instant,rate,increase,delta,irate,idelta,sum_over_time,avg_over_time,min_over_time,max_over_time,count_over_time,last_over_time,present_over_time}'::text[]) name;

-- one time twice: the greater ord wins, wherever its row stands
CREATE TEMP TABLE twice (i int, data prom.chunk, ord int8);
INSERT INTO twice VALUES (1, pg_temp.c('{10,20,30}', '{1,2,3}'), 5), (2, pg_temp.c('{20,40}', '{20,4}'), 7), (3, pg_temp.c('{20,30}', '{200,300}'), 6);
SELECT (SELECT (prom._window('last_over_time', data, ord, '{1}', 10000, 10000, 4, 10000))[1] FROM (SELECT * FROM twice ORDER BY i OFFSET 0) x) AS up,
       (SELECT (prom._window('last_over_time', data, ord, '{1}', 10000, 10000, 4, 10000))[1] FROM (SELECT * FROM twice ORDER BY i DESC OFFSET 0) x) AS down,
       (SELECT (prom._window('count_over_time', data, ord, '{1}', 40000, 1, 1, 40000))[1] FROM twice) AS count;

-- rows of many series, plain chunks among warm ones, NULL rows of an outer join
CREATE TEMP TABLE blocks AS
  SELECT prom.chunk_merge(prom.chunk_build(0::int2, sid, '{1000,2000}', ARRAY[sid, sid + 0.5]), 1) AS data, 1::int8 AS ord FROM generate_series(1, 64) sid
  UNION ALL SELECT prom.chunk_merge(prom.chunk_build(0::int2, sid, '{3000}', ARRAY[-sid::float8]), 1, 'plain'), 2 FROM generate_series(1, 64, 2) sid
  UNION ALL SELECT prom.chunk_build(0::int2, 64, '{500}', ARRAY[1], 'plain'), 3
  UNION ALL SELECT NULL, NULL;
SELECT sum(n) AS samples, bool_and(v::text = CASE WHEN sid % 2 = 1 THEN format('[%s %s %s]', sid, sid + 0.5, -sid) ELSE format('[%s %s _]', sid, sid + 0.5) END) AS right
  FROM generate_series(1, 64) sid, LATERAL (SELECT (prom._window('last_over_time', data, ord, ARRAY[sid], 1000, 1000, 3, 1000))[1] AS v FROM blocks) l,
       LATERAL (SELECT count(*) AS n FROM prom._points(v, 0, 1, 3)) p;
-- the same, hashed: many states at once
SELECT count(*), count(DISTINCT v::text) FROM (SELECT sid, (prom._window('last_over_time', data, ord, ARRAY[sid], 1000, 1000, 3, 1000))[1] AS v FROM blocks, generate_series(1, 64) sid GROUP BY sid) x;
SELECT (prom._window('rate', NULL::prom.chunk, NULL, '{1}', 0, 1, 1, 1))[1] IS NULL AS null_row, (SELECT (prom._window('rate', data, ord, '{1}', 0, 1, 1, 1))[1] FROM blocks WHERE false) IS NULL AS no_row;

-- the samples themselves
SELECT t_ms, value FROM (SELECT (prom._samples(data, ord, '{1}', 10000, 40000))[1] AS s FROM twice) x, prom.samples(s) ORDER BY 1;
SELECT sid, t_ms, value FROM (SELECT (prom._samples(data, ord, '{3}', 1000, 3000))[1] AS s FROM blocks) x, prom.samples(s) ORDER BY 2;
SELECT (prom._samples(data, ord, '{1}', 40000, 90000))[1] IS NULL AS nothing FROM twice;

-- arguments out of bounds
SELECT (prom._window('rate', data, ord, '{1}', 0, 1000, 0, 60000))[1] FROM twice;
SELECT (prom._window('rate', data, ord, '{1}', 0, 1000, 1000001, 60000))[1] FROM twice;
SELECT (prom._window('rate', data, ord, '{1}', 0, 9223372036854775807, 3, 60000))[1] FROM twice;
SELECT (prom._window('rate', data, ord, '{1}', -9223372036854775800, 1, 1, 60000))[1] FROM twice;
SELECT (prom._window('rate', data, ord, '{1}', 0, 1, 1, -1))[1] FROM twice;
SELECT (prom._window('rate', data, NULL, '{1}', 0, 1, 1, 1))[1] FROM twice;
-- many series at once: results in the order of the ids, NULL for what is not there; nothing at all is NULL
SELECT prom._window('last_over_time', data, ord, '{7,3,200,64}', 1000, 1000, 3, 1000) FROM blocks;
SELECT array_agg(v::text ORDER BY n) = (SELECT array_agg(x::text ORDER BY i) FROM unnest((SELECT prom._window('sum_over_time', data, ord, (SELECT array_agg(g) FROM generate_series(1, 64) g), 1000, 1000, 3, 2000) FROM blocks)) WITH ORDINALITY u(x, i)) AS as_alone
  FROM generate_series(1, 64) n, LATERAL (SELECT (prom._window('sum_over_time', data, ord, ARRAY[n], 1000, 1000, 3, 2000))[1] AS v FROM blocks) l;
-- several blocks under way at once, as a hashed aggregate has them: rows come in turn
CREATE TEMPORARY TABLE turns AS
SELECT turn, block, prom.chunk_merge(prom.chunk_build(0::int2, block * 64 + s, ARRAY[turn * 1000, turn * 1000 + 500], ARRAY[block + s, turn]), 1) AS data
  FROM generate_series(1, 30) turn, generate_series(0, 9) block, generate_series(0, 7) s GROUP BY 1, 2 ORDER BY 1, 2;
ANALYZE turns;
SET enable_sort = off;
SET enable_hashagg = on;
WITH at_once AS (
	SELECT block, prom._window('sum_over_time', data, turn, ARRAY[block * 64, block * 64 + 5], 5000, 5000, 5, 4000)::text AS out FROM turns GROUP BY block)
SELECT count(*), count(*) FILTER (WHERE out = (SELECT prom._window('sum_over_time', data, turn, ARRAY[a.block * 64, a.block * 64 + 5], 5000, 5000, 5, 4000)::text
		FROM turns t WHERE t.block = a.block)) AS as_alone FROM at_once a;
RESET enable_sort;
RESET enable_hashagg;
SELECT prom._window('rate', data, ord, '{200}', 1000, 1000, 3, 1000) IS NULL AS no_series, prom._window('rate', data, ord, '{}', 1000, 1000, 3, 1000) IS NULL AS no_ids FROM blocks;
SELECT prom._window('rate', data, ord, '{1,NULL}', 1000, 1000, 3, 1000) FROM blocks;
SELECT prom._window('no_such', data, ord, '{1}', 1000, 1000, 3, 1000) FROM blocks;

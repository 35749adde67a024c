--
-- Merging chunks: every sample once, the later order wins.
--
CREATE FUNCTION pg_temp.show(c prom.chunk) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(format('%s:%s=%s', sid, t_ms, value), ' ' ORDER BY sid, t_ms) FROM prom.samples(c) $$;

-- one after the other
SELECT pg_temp.show(prom.chunk_merge(c, 1)) FROM (VALUES
	(prom.chunk_build(0::int2, 1, '{10,20}', '{1,2}')),
	(prom.chunk_build(0::int2, 1, '{30,40}', '{3,4}'))) v(c);

-- the greater order wins, whichever comes first
SELECT pg_temp.show(prom.chunk_merge(c, ord ORDER BY n)), pg_temp.show(prom.chunk_merge(c, ord ORDER BY n DESC)) FROM (VALUES
	(1, 5, prom.chunk_build(0::int2, 1, '{10,20,30}', '{1,2,3}')),
	(2, 9, prom.chunk_build(0::int2, 1, '{20,25}', '{22,25}')),
	(3, 7, prom.chunk_build(0::int2, 1, '{5,20,30,35}', '{55,99,33,35}'))) v(n, ord, c);

-- with equal order the one added last
SELECT pg_temp.show(prom.chunk_merge(c, 3 ORDER BY n)), pg_temp.show(prom.chunk_merge(c, 3 ORDER BY n DESC)) FROM (VALUES
	(1, prom.chunk_build(0::int2, 1, '{10,20}', '{1,1}')),
	(2, prom.chunk_build(0::int2, 1, '{10,20}', '{2,2}'))) v(n, c);

-- orders over the whole range of int8, and timestamps too
SELECT pg_temp.show(prom.chunk_merge(c, ord)) FROM (VALUES
	((-9223372036854775808)::int8, prom.chunk_build(0::int2, 1, '{-9223372036854775808,0}', '{1,1}')),
	(9223372036854775807, prom.chunk_build(0::int2, 1, '{-9223372036854775808,9223372036854775807}', '{2,2}')),
	(0, prom.chunk_build(0::int2, 1, '{-9223372036854775808,0,9223372036854775807}', '{3,3,3}'))) v(ord, c);

-- series are interleaved, and share their times or not
SELECT style, pg_temp.show(prom.chunk_merge(c, ord, style)), (prom.chunk_info(prom.chunk_merge(c, ord, style))).series
  FROM unnest('{fresh,warm,cold,plain}'::text[]) style, (VALUES
	(1, prom.chunk_build(0::int2, 3, '{10,20}', '{1,2}')),
	(2, prom.chunk_build(0::int2, -3, '{10,20}', '{1,2}')),
	(3, prom.chunk_build(0::int2, 1, '{10}', '{1}')),
	(4, prom.chunk_build(0::int2, 3, '{30}', '{3}', 'plain')),
	(5, prom.chunk_build(0::int2, 2, '{10,20}', '{7,8}', 'fresh'))) v(ord, c)
 GROUP BY style ORDER BY style;

-- equal values of unequal bits are not the same: the later -0 stays
SELECT pg_temp.show(prom.chunk_merge(c, ord)) FROM (VALUES
	(1, prom.chunk_build(0::int2, 1, '{10}', '{0}')),
	(2, prom.chunk_build(0::int2, 1, '{10}', '{-0}'))) v(ord, c);

-- many small chunks in disorder against what SQL says
WITH piece AS (
	SELECT b, sid, style,
	       prom.chunk_build(4::int2, sid, array_agg(t ORDER BY t), array_agg(v ORDER BY t), style) AS c
	  FROM (SELECT b, sid, (array['fresh','warm','cold','plain'])[1 + (b + sid) % 4] AS style,
	               (b * 7919 % 400 + k * (1 + b % 3))::int8 AS t, (b * 1000 + k)::float8 AS v
	          FROM generate_series(1, 200) b, generate_series(1, 5) sid, generate_series(0, 20) k) x
	 GROUP BY b, sid, style),
merged AS (SELECT prom.chunk_merge(c, b ORDER BY b * 31 % 199) AS c FROM piece),
wanted AS (
	SELECT DISTINCT ON (s.sid, s.t_ms) s.sid, s.t_ms, s.value
	  FROM piece, LATERAL prom.samples(c) s ORDER BY s.sid, s.t_ms, b DESC)
SELECT count(*) AS samples, count(*) FILTER (WHERE w.value = m.value) AS same, count(DISTINCT m.shard) AS shards
  FROM wanted w FULL JOIN (SELECT s.* FROM merged, LATERAL prom.samples(c) s) m USING (sid, t_ms);

-- the most that a block holds, and one more
SELECT (prom.chunk_info(prom.chunk_merge(prom.chunk_build(0::int2, s, '{1,2}', '{1,2}'), 0))).series
  FROM generate_series(1, 1024) s;
SELECT prom.chunk_merge(prom.chunk_build(0::int2, s, '{1,2}', '{1,2}'), 0) FROM generate_series(1, 1025) s;
SELECT i.series, i.samples, i.t_min, i.t_max FROM (
	SELECT prom.chunk_merge(prom.chunk_build(0::int2, s, ARRAY[s]::int8[], '{1}', 'fresh'), 0, 'plain') AS c
	  FROM generate_series(1, 5000) s) x, LATERAL prom.chunk_info(c) i;
SELECT i.series, i.samples, i.t_min, i.t_max FROM (
	SELECT prom.chunk_merge(prom.chunk_build(0::int2, s, ARRAY[s, s + s % 7 + 1]::int8[], '{1,2}'), 0, style) AS c
	  FROM generate_series(1, 1024) s, unnest('{fresh,warm,cold}'::text[]) style GROUP BY style) x, LATERAL prom.chunk_info(c) i;

-- pieces of all kinds, in any order, against what SQL makes of them: most cases have some that overlap, and some with equal times
CREATE TEMPORARY TABLE pieces AS
SELECT c, ord, array_agg(first + gap * i ORDER BY i) AS t, array_agg((ord * 100000 + first + gap * i)::float8 ORDER BY i) AS v
  FROM generate_series(1, 120) c, generate_series(1, 12) ord,
       LATERAL (SELECT abs(hashint4(c * 100 + ord) % (100 * c)) AS first, 1 + abs(hashint4(c * 101 + ord) % (1 + c % 5)) AS gap,
                       abs(hashint4(c * 103 + ord) % 40) AS n) p,
       LATERAL generate_series(0, n) i
 GROUP BY c, ord;
WITH merged AS (
	SELECT c, s.t_ms, s.value
	  FROM (SELECT c, prom.chunk_merge(prom.chunk_build(0::int2, 1, t, v), ord ORDER BY hashint4(c + ord)) AS chunk FROM pieces GROUP BY c) m,
	       LATERAL prom.samples(chunk) s),
wanted AS (
	SELECT DISTINCT ON (c, u.t) c, u.t, u.v FROM pieces, LATERAL unnest(t, v) u(t, v) ORDER BY c, u.t, ord DESC)
SELECT (SELECT count(*) > 10000 FROM merged) AS merged, (SELECT count(*) FROM (TABLE merged EXCEPT ALL TABLE wanted) x) AS wrong,
       (SELECT count(*) FROM (TABLE wanted EXCEPT ALL TABLE merged) x) AS missing;
SELECT count(*) AS cases_out_of_order
  FROM (SELECT c, prom.chunk_merge(prom.chunk_build(0::int2, 1, t, v), ord ORDER BY hashint4(c + ord)) AS chunk FROM pieces GROUP BY c) m
 WHERE (SELECT array_agg(t_ms) FROM prom.samples(chunk)) <> (SELECT array_agg(t_ms ORDER BY t_ms) FROM prom.samples(chunk));
-- the same for a leaf, which takes them from packed rows
SELECT count(*) AS cases, count(*) FILTER (WHERE (SELECT array_agg((t_ms, value)::text) FROM prom.samples(chunk)) <>
		(SELECT array_agg((t_ms, value)::text) FROM prom.samples(leaf))) AS differ
  FROM (SELECT c, prom.chunk_merge(prom.chunk_build(0::int2, 1, t, v), ord) AS chunk,
               (prom._samples(prom.chunk_build(0::int2, 1, t, v), ord, '{1}', -1, 100000))[1] AS leaf FROM pieces GROUP BY c) m;

-- nothing, nulls, different shards, unknown style
SELECT prom.chunk_merge(NULL, 1) IS NULL AS none;
SELECT prom.chunk_merge(c, 1) IS NULL AS none FROM (SELECT NULL::prom.chunk WHERE false) v(c);
SELECT pg_temp.show(prom.chunk_merge(c, ord)) FROM (VALUES
	(1, prom.chunk_build(0::int2, 1, '{10}', '{1}')), (2, NULL),
	(NULL, prom.chunk_build(0::int2, 1, '{20}', '{1}'))) v(ord, c);
SELECT prom.chunk_merge(prom.chunk_build(s::int2, 1, '{1}', '{1}'), 0) FROM generate_series(3, 4) s;
SELECT prom.chunk_merge(prom.chunk_build(0::int2, 1, '{1}', '{1}'), 0, 'luke');

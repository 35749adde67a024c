-- /api/v1/series: those series of a selector that have samples of the time, each once and in order.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all

-- 300 series in several blocks: each begins and ends at another time, and all of them pause
SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(
	ARRAY['__name__', CASE WHEN i % 5 = 0 THEN 'n' ELSE 'm' END, 'i', i::text],
	ARRAY[i * 1000, i * 1000 + 7000, 1000000 - i * 1000]::int8[], ARRAY[1, 2, 3]::float8[])))
	FROM generate_series(1, 300) i)]);
SET client_min_messages = warning;
CALL prom.merge();
RESET client_min_messages;
CREATE FUNCTION pg_temp.told(selectors text[], start_ms int8, end_ms int8) RETURNS prom.labels[] LANGUAGE sql AS $$
	SELECT array_agg(e::prom.labels ORDER BY i)
	FROM jsonb_array_elements((SELECT string_agg(x, '')::jsonb FROM prom._api_series(selectors, start_ms, end_ms, 0) x)) WITH ORDINALITY AS u(e, i)
$$;
CREATE FUNCTION pg_temp.sampled(selectors text[], start_ms int8, end_ms int8) RETURNS prom.labels[] LANGUAGE sql AS $$
	SELECT array_agg(DISTINCT s.labels ORDER BY s.labels) FROM unnest(selectors) e, prom.samples_of(e) s WHERE s.t_ms BETWEEN start_ms AND end_ms
$$;
-- before, at both ends of, between and behind the samples of some
SELECT selectors, count(*) AS ranges, count(told) AS answered, min(cardinality(told)) AS least, max(cardinality(told)) AS most,
	count(*) FILTER (WHERE told IS DISTINCT FROM pg_temp.sampled(selectors, start_ms, end_ms)) AS different
FROM (VALUES ('{m}'::text[]), ('{m,n}'), (ARRAY['m{i=~"1.*"}', 'm']), (ARRAY['n{i!="5"}'])) AS v(selectors),
	generate_series(-1000, 1001000, 41000) AS start_ms, unnest(ARRAY[0, 1000, 6500, 300000, 2000000]) AS span, LATERAL (SELECT start_ms + span AS end_ms OFFSET 0) AS e,
	LATERAL (SELECT pg_temp.told(selectors, start_ms, end_ms) AS told OFFSET 0) AS t
GROUP BY 1 ORDER BY 1;
-- fresh samples count as well, of whatever time those beside them are
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,m,i,7}', '{2000000,2001000}', '{1,2}'), pg_temp.series('{__name__,m,i,new}', '{2000500}', '{1}'))]);
SELECT pg_temp.told('{m}', 2000000, 3000000), pg_temp.told('{m}', 2001001, 3000000);
SET client_min_messages = warning;
CALL prom.merge();
RESET client_min_messages;
SELECT pg_temp.told('{m}', 2000600, 3000000), pg_temp.told('{m}', 2001001, 3000000);
-- the limit, and a selector of nothing
SELECT string_agg(x, '') FROM prom._api_series('{m}', 0, 5000000, 2) x;
SELECT string_agg(x, '') FROM prom._api_series('{nothing}', 0, 5000000, 0) x;
SELECT prom._api_series(ARRAY[NULL], 0, 5000000, 0);

-- a row tells of ids in any order which of them it has samples of
SELECT prom._hits(w.data, ARRAY[w.sids[3], w.sids[1], -1, w.sids[2]], w.t_min, w.t_max) = w.sids[1:3] AS all_of, prom._hits(w.data, w.sids, w.t_max + 1, w.t_max + 2)
FROM (SELECT data, t_min, t_max, prom._sids(data) AS sids FROM prom.warm ORDER BY shard, block, seq LIMIT 1) AS w;

SELECT prom.delete_series('{__name__=~".+"}');

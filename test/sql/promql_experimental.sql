-- What Prometheus calls experimental and promgres.promql_experimental offers: times of the query, max_of, min_of, sort_by_label, limitk, limit_ratio.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(
	ARRAY['__name__', 'disk', 'dev', dev, 'kind', kind], '{0,60000,120000}', '{1,2,3}') ORDER BY dev)) FROM (VALUES
	('sda10', 'a'), ('sda9', 'b'), ('sda2', 'a'), ('sda', 'b'), ('sda02x', 'a'), ('9', 'b'), ('sda100000000000000000000000', 'a'), ('sd-1', 'b'), ('sda2b', 'a')) v(dev, kind))]);

CREATE FUNCTION pg_temp.try(expr text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT count(*) FROM prom.query(expr, to_timestamp(60))) || ' rows';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- refused unless the setting says so
SELECT e, pg_temp.try(e) FROM unnest(ARRAY['start()', 'max_of(1, 2)', 'sort_by_label(disk, "dev")', 'limitk(1, disk)', 'limit_ratio(0.5, disk)']) e;
SET promgres.promql_experimental = on;
SELECT e, pg_temp.try(e) FROM unnest(ARRAY['start()', 'max_of(1, 2)', 'sort_by_label(disk, "dev")', 'limitk(1, disk)', 'limit_ratio(1, disk)']) e;

-- seconds of the whole query, in subqueries as well; an instant query has no range and no step
SELECT e, (SELECT string_agg(value::text, ' ' ORDER BY "time") FROM prom.query_range(e, to_timestamp(60.5), to_timestamp(120.5), '20 s')) AS range,
       (SELECT value FROM prom.query(e, to_timestamp(60.5))) AS instant
  FROM unnest(ARRAY['start()', 'end()', 'range()', 'step()', 'vector(end() - start())', 'time() - start()',
	'max_over_time(vector(start())[1m:10s])', 'max_over_time(vector(end())[1m:10s])', 'max_over_time(vector(range())[1m:10s])', 'max_over_time(vector(step())[1m:10s])']) e;

-- infinity beats NaN, which beats all else; steps may differ
SELECT a, b, max.value AS max_of, min.value AS min_of FROM (VALUES ('3', '5'), ('-2', '-5'), ('NaN', '3'), ('3', 'NaN'), ('NaN', 'Inf'), ('-Inf', 'NaN'), ('NaN', 'NaN')) v(a, b),
	prom.query(format('max_of(%s, %s)', a, b), to_timestamp(0)) max, prom.query(format('min_of(%s, %s)', a, b), to_timestamp(0)) min;
SELECT value, 1 / value AS inverse FROM prom.query_range('min_of(time(), 100) - max_of(0, 90)', to_timestamp(80), to_timestamp(120), '20 s');
SELECT prom._math('max_of', 'const(-0)', 'const(0)'), prom._math('min_of', 'const(0)', 'const(-0)'), prom._math('max_of', '[1 5]', '[4 2]');

-- natural order: numbers by their value, missing labels first, then by all labels
SELECT prom.label(labels, 'dev') AS dev FROM prom.query('sort_by_label(disk, "dev")', to_timestamp(60));
SELECT prom.label(labels, 'dev') AS dev FROM prom.query('sort_by_label_desc(disk, "dev")', to_timestamp(60));
SELECT string_agg(prom.label(labels, 'dev'), ' ') FROM prom.query('sort_by_label(disk, "nosuch", "kind")', to_timestamp(60));
SELECT string_agg(prom.label(labels, 'dev'), ' ') FROM prom.query('sort_by_label_desc(disk)', to_timestamp(60));
SELECT string_agg(prom.label(labels, 'dev'), ' ') FROM prom.query('sort_by_label(disk, "it''s", ("kind"))', to_timestamp(60));
-- a range query and a subquery have their own
SELECT count(DISTINCT labels::text), count(*) FROM prom.query_range('sort_by_label(disk, "dev")', to_timestamp(0), to_timestamp(120), '1 min');
SELECT count(*) FROM prom.query('max_over_time(sort_by_label_desc(disk, "dev")[2m:1m])', to_timestamp(120));
SELECT string_agg(v, ' ' ORDER BY prom._labels_order(l, '{x}'), v COLLATE "C"), count(DISTINCT prom._labels_order(l, '{x}'))
  FROM (SELECT v, prom.labels(jsonb_build_object('x', v)) AS l FROM unnest('{a,a1,a01,a1b,a0,a00,ab,a-,é,9,10,010,-1,%,A2,a1b10,a1b9,1a,1}'::text[]) v) q;
SELECT prom._labels_order('{x="a07",y="b"}', '{x,nosuch,y,NULL}'), prom._labels_order('{}', '{}') = '' AS nothing;

-- any k series, but always the same ones
SELECT k, (SELECT count(*) FROM prom.query(format('limitk(%s, disk)', k), to_timestamp(60))) AS of_all,
	(SELECT count(*) FROM prom.query(format('limitk by (kind) (%s, disk)', k), to_timestamp(60))) AS of_each_kind FROM unnest(ARRAY['0', '-1', '0.9', '1', '2.9', '1 + 1', '9', '1e18', 'scalar(vector(3))']) k;
SELECT count(*) FROM prom.query('limitk(4, disk) unless limitk(5, disk)', to_timestamp(60));
SELECT string_agg(n::text, ' ' ORDER BY "time") FROM (SELECT "time", count(*) AS n FROM prom.query_range('limitk(time() / 60 + 1, disk)', to_timestamp(0), to_timestamp(120), '1 min') GROUP BY 1) q;
SELECT count(*) AS differ FROM prom.query_range('limitk without (dev) (2, disk)', to_timestamp(0), to_timestamp(120), '1 min') a
  FULL JOIN (SELECT to_timestamp(60 * i) AS "time", q.labels FROM generate_series(0, 2) i, prom.query('limitk without (dev) (2, disk)', to_timestamp(60 * i)) q) b ON b.labels::text = a.labels::text AND b."time" = a."time"
  WHERE a.value IS NULL OR b.labels IS NULL;
SELECT (unnest(prom._agg_limitk(l, x, '[1 2 9]'))).* FROM (VALUES ('{i="1"}'::prom.labels, '[2 NaN _]'::prom.vals), ('{i="2"}', '[NaN 3 _]'), ('{i="3"}', '[3 _ 1]')) v(l, x) ORDER BY 1;
CREATE AGGREGATE pg_temp.limitk_state(prom.labels, prom.vals, prom.vals) (SFUNC = prom._agg_limitk_add, STYPE = prom._agg_rows);
SELECT cardinality(prom._agg_topk_final(pg_temp.limitk_state(prom.labels(jsonb_build_object('i', i::text)), '[1]', 'const(70)')::text::prom._agg_rows)) FROM generate_series(1, 1000) i;

-- a ratio and what is left of it; the hash is the one of Prometheus
SELECT r, (SELECT string_agg(prom.label(labels, 'dev'), ' ' ORDER BY labels) FROM prom.query(format('limit_ratio(%s, disk)', r), to_timestamp(60))) AS chosen FROM unnest(ARRAY['0', '0.2', '0.5', '-0.5', '-0.8', '1', '-1', '7', '-Inf', '1 - 1']) r;
SELECT count(*) FROM prom.query('limit_ratio(0.3, disk) or limit_ratio(-0.7, disk)', to_timestamp(60));
SELECT count(*) FROM prom.query('limit_ratio(0.3, disk) and limit_ratio(-0.7, disk)', to_timestamp(60));
SELECT n, p, prom._limit_ratio(prom.labels(jsonb_build_object('a', repeat('x', n))), '[1 2]', prom._arith('+', format('[%s %s]', p, p)::prom.vals, '[-1e-15 1e-15]')) AS chosen
  FROM (VALUES (0, 0.9346749315317059), (1, 0.6793160469452194), (20, 0.2517169775909737), (254, 0.8343165535799543), (255, 0.4252170095394317), (65535, 0.3639009419759709)) v(n, p);
SELECT prom._limit_ratio('{a="b"}', '[1 2 _ 4 5]', '[0 1 1 -1 5]'), prom._limit_ratio('{a="b"}', '[1]', '[0]') IS NULL AS nothing;
SELECT prom._ratio_limit('[0 0.5]', '1:13'), prom._ratio_limit('[0 -0]', '1:13') IS NULL AS never;
SELECT prom._limit_ratio('{}', '[1 2]', '[1 2 3]');

-- errors, also if there is nothing to choose from
SELECT e, pg_temp.try(e) FROM unnest(ARRAY['limitk(NaN, nosuch)', 'limitk(1e19, disk)', 'limit_ratio(NaN, nosuch)', 'limit_ratio(0/0, nosuch)', 'limit_ratio(scalar(nosuch), nosuch)', 'limit_ratio(disk, disk)',
	'start(1)', 'max_of(1)', 'max_of(disk, 1)', 'sort_by_label()', 'sort_by_label(disk, dev)', 'limitk(disk)']) e;
RESET promgres.promql_experimental;

SELECT prom.delete_series('{__name__=~".+"}');

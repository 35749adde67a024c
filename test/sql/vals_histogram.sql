-- histogram_quantile, histogram_quantiles and histogram_fraction over classic histograms.

CREATE FUNCTION pg_temp.q(phi text, les text[], counts text[]) RETURNS prom.vals LANGUAGE sql AS $$
  SELECT prom._histogram_quantile(CASE WHEN le IS NULL THEN '{}' ELSE prom.labels(jsonb_build_object('le', le)) END, c::prom.vals, '1:1', false, 0, 15000, phi::prom.vals)
    FROM unnest(les, counts) u(le, c) $$;

SELECT phi, pg_temp.q(format('const(%s)', phi), '{0.1,0.5,+Inf}', '{[2],[6],[10]}') FROM unnest('{0,0.1,0.2,0.5,0.6,0.9,1}'::text[]) phi;
-- the quantile may change from step to step; out of [0,1] it is answered first
SELECT pg_temp.q('[0.1 -1 1.5 NaN 0.5]', '{0.1,0.5,+Inf}', '{[2 2 2 2 0],[6 6 6 6 0],[10 10 10 10 0]}');
SELECT pg_temp.q('[2 -0.1 NaN 0.5]', '{1}', '{[1 1 1 1]}') AS one_bucket;
-- rows in any order
SELECT pg_temp.q('const(0.5)', '{+Inf,0.5,0.1}', '{[10],[6],[2]}');
-- a bucket that comes and goes; no +Inf; only +Inf; nothing at all
SELECT pg_temp.q('const(0.5)', '{0.1,0.5,+Inf}', '{[2 _ 2 _ _],[6 6 6 _ _],[10 10 _ 10 _]}');
-- first bucket at or below zero gives its bound; else it starts at zero
SELECT pg_temp.q('const(0.1)', '{-5,5,+Inf}', '{[4],[8],[10]}') AS below, pg_temp.q('const(0.1)', '{0,5,+Inf}', '{[4],[8],[10]}') AS zero,
       pg_temp.q('const(0.5)', '{-5,5,+Inf}', '{[4],[8],[10]}') AS across;
-- le as Go reads floats; what is none is passed over
SELECT le, pg_temp.q('const(0.5)', ARRAY[le, '+Inf'], '{[6],[10]}')
  FROM unnest('{1,1.0,1e-05,.5,5.,0x1p-2,1E2,+Inf,inf,Infinity,-Inf,-0}'::text[]) le;
SELECT le, pg_temp.q('const(0.5)', ARRAY[le, '1', '+Inf'], '{[1],[6],[10]}')
  FROM unnest('{"",x," 1","1 ",nan,NaN(1),0x1,1e999,1__0,+,1d}'::text[]) le;
SELECT pg_temp.q('const(0.5)', ARRAY[NULL, '1', '+Inf'], '{[1],[6],[10]}') AS without_le, pg_temp.q('const(0.5)', ARRAY[NULL]::text[], '{[1]}') IS NULL AS nothing;
-- equal bounds are one bucket
SELECT pg_temp.q('const(0.5)', '{1,1.0,2,+Inf,inf}', '{[1 2],[1 _],[4 4],[2 8],[2 _]}');
-- counts that fall are lifted; tiny differences are none
SELECT pg_temp.q('const(0.5)', '{1,2,3,+Inf}', '{[4 1],[3 1.0000000000000002],[8 3],[8 4]}');
SELECT pg_temp.q('const(0.5)', '{1,2,+Inf}', '{[NaN 1 +Inf],[1 NaN +Inf],[2 2 +Inf]}');
-- mismatched steps
SELECT pg_temp.q('const(0.5)', '{1,+Inf}', '{[1],[1 2]}');
SELECT pg_temp.q('[0.5 0.5]', '{1,+Inf}', '{[1],[2]}');
-- many buckets
SET promgres.query_max_samples = 5;
SELECT pg_temp.q('const(0.5)', '{1,2,+Inf}', '{[1 1 1],[2 2 2],[3 3 3]}');
RESET promgres.query_max_samples;

-- fractions: between two bounds, each of which may change
CREATE FUNCTION pg_temp.f(lower text, upper text, les text[], counts text[]) RETURNS prom.vals LANGUAGE sql AS $$
  SELECT prom._histogram_fraction(CASE WHEN le IS NULL THEN '{}' ELSE prom.labels(jsonb_build_object('le', le)) END, c::prom.vals, '1:1', false, 0, 15000, lower::prom.vals, upper::prom.vals)
    FROM unnest(les, counts) u(le, c) $$;
SELECT lo, hi, pg_temp.f(format('const(%s)', lo), format('const(%s)', hi), '{0.1,0.5,+Inf}', '{[2],[6],[10]}') AS positive, pg_temp.f(format('const(%s)', lo), format('const(%s)', hi), '{-1,1,+Inf}', '{[2],[6],[10]}') AS across
  FROM (VALUES ('0', '0.1'), ('0.05', '0.3'), ('-5', '5'), ('-Inf', '+Inf'), ('-Inf', '0.3'), ('0.3', '+Inf'), ('-2', '-1.5'), ('0.5', '7'), ('7', '8'), ('0.3', '0.3'), ('0.3', '0.1'), ('NaN', '1'), ('0', 'NaN')) v(lo, hi);
SELECT pg_temp.f('[0 0.1 _ 0]', '[0.5 NaN 1 _]', '{0.1,0.5,+Inf}', '{[2 2 2 2],[6 6 6 6],[10 10 10 10]}') AS steps;
-- counts that fall stay as they are, a bucket alone is a histogram if it has all, rows come in any order
SELECT pg_temp.f('const(1)', 'const(2)', '{+Inf,2,1}', '{[10],[4],[6]}') AS falls, pg_temp.f('const(0)', 'const(1)', '{+Inf}', '{[10]}') AS alone, pg_temp.f('const(-Inf)', 'const(+Inf)', '{+Inf}', '{[10]}') AS whole,
       pg_temp.f('const(0)', 'const(1)', '{1,2}', '{[1],[2]}') AS endless, pg_temp.f('const(0)', 'const(1)', '{1,+Inf}', '{[0],[0]}') AS empty, pg_temp.f('const(0)', 'const(1)', ARRAY[NULL, 'x'], '{[1],[2]}') IS NULL AS nothing;
SELECT pg_temp.f('const(0)', '[1 2]', '{1,+Inf}', '{[1],[2]}');

-- several quantiles: a row for each, and for each value that it takes
CREATE FUNCTION pg_temp.qs(phis text[], les text[], counts text[]) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT u.value || ' ' || u.vals FROM unnest((SELECT prom._histogram_quantiles(prom.labels(jsonb_build_object('le', le)), c::prom.vals, '1:1', false, 0, 15000, phis::prom.vals[]) FROM unnest(les, counts) u(le, c))) u(value, vals) $$;
SELECT pg_temp.qs('{const(0.5),const(0),const(1),const(0.5),const(NaN),const(-1),const(1e6),const(-Infinity)}', '{0.1,0.5,+Inf}', '{[2],[6],[10]}');
SELECT pg_temp.qs('{[0.5 0.9 0.5 _],const(0.25)}', '{0.1,0.5,+Inf}', '{[2 2 2 2],[6 6 6 6],[10 10 10 10]}');
SELECT split_part(pg_temp.qs(ARRAY[format('const(%s)', phi)], '{1,+Inf}', '{[1],[2]}'), ' ', 1) FROM unnest('{0.1,0.123456789012345678,0.0001,0.00001,0.000012345,1e-300,5e-324,10,100000,123456,999999.5,1234567,-0,-0.25,2e22,0.3333333333333333}'::text[]) phi;
SELECT count(*) FROM pg_temp.qs('{[0.5],NULL}', '{1,+Inf}', '{[1],[2]}');
SELECT pg_temp.qs('{"[0.5 0.5]"}', '{1,+Inf}', '{[1],[2]}');

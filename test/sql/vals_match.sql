-- One-to-one vector matching.

CREATE TEMP TABLE r (sig prom.labels, labels prom.labels, v prom.vals);
INSERT INTO r VALUES
  ('{}', '{__name__="up", job="b"}', '[1 _ _]'), ('{}', '{__name__="up", job="a"}', '[_ 2 _]'), ('{}', '{__name__="up", job="c"}', NULL),
  ('{x="1"}', '{x="1", y="2"}', '[_ 5 _]');
SELECT sig, prom._one_side(sig, labels, v) FROM r GROUP BY sig ORDER BY sig;
SELECT prom._one_side(sig, labels, v) IS NULL AS nothing FROM r WHERE v IS NULL;

-- the error names signature and series, these in order of their text
SELECT prom._alone('[1 1]', ARRAY[prom._duplicate('{}', l, '[_ 1]')], 'right') FROM unnest('{"{__name__=\"dup_metric\", label=\"beta\"}","{__name__=\"dup_metric\", label=\"alpha\"}"}'::prom.labels[]) l;
SELECT prom._alone('[1 1 1]', ARRAY[prom._duplicate('{job="x"}', labels, v)], 'right')
  FROM (VALUES ('{n="1"}'::prom.labels, '[1 _ _]'::prom.vals), ('{n="2"}', '[_ 1 _]'), ('{n="3"}', '[_ _ 1]'), ('{n="4"}', NULL), ('{n="5"}', '[_ 1 _]')) q(labels, v);
SELECT prom._one_side('{}', '{}', x) FROM unnest('{[1],[_ 2]}'::prom.vals[]) x;
SELECT prom._one_side(NULL, '{}', '[1]');

-- arithmetic: left rows that take turns are one result; alone they may share steps
SELECT prom._match_arith('+', l, '[10 20 _]') FROM unnest('{[1 _ 3],[_ 2 4]}'::prom.vals[]) l;
SELECT prom._match_arith('+', l, '[_ 20]') FROM unnest('{[1 2],[3 _]}'::prom.vals[]) l;
SELECT prom._match_arith('+', l, '[10 _]') FROM unnest('{[1 2],[1 _]}'::prom.vals[]) l;
SELECT prom._match_arith('/', l, NULL) IS NULL AS no_right FROM unnest('{[1 2]}'::prom.vals[]) l;
SELECT prom._match_arith('/', '[_ 1]', '[1 _]') IS NULL AS nothing;
SELECT prom._match_arith('+', l, '[10 _]') FROM unnest('{[1 2],[1]}'::prom.vals[]) l;
SELECT prom._match_arith('>', '[1]', '[1]');

-- comparison: two partners are an error even if neither is kept
SELECT prom._match_compare('>', l, '[2 2 _]', false), prom._match_compare('>', l, '[2 2 _]', true)
  FROM unnest('{[1 _ 3],[_ 5 4]}'::prom.vals[]) l;
SELECT prom._match_compare('>', '[1 2]', '[2 2]', false) IS NULL AS nothing;
SELECT prom._match_compare('>', l, '[9]', false) FROM unnest('{[1],[2]}'::prom.vals[]) l;
SELECT prom._match_compare('+', '[1]', '[1]', false);

-- filters keep the left labels
SELECT (unnest(prom._match_filter('>', l, v, '[2 2 2 2]'))).*
  FROM (VALUES ('{job="b"}'::prom.labels, '[3 _ _ _]'::prom.vals), ('{job="a"}', '[_ 5 _ _]'), ('{job="b"}', '[_ _ 4 _]'), ('{job="c"}', '[_ _ _ 1]'), ('{job="d"}', NULL)) q(l, v);
SELECT prom._match_filter('>', '{}', '[1]', '[2]') IS NULL AS nothing;
SELECT prom._match_filter('>', l, '[1]', '[2]') FROM unnest('{"{a=\"1\"}","{a=\"2\"}"}'::prom.labels[]) l;
-- grouped
SELECT g, prom._match_filter('<', labels, v, '[2]')
  FROM (SELECT i AS g, prom.labels(jsonb_build_object('i', i::text)) AS labels, ('[' || i || ']')::prom.vals AS v FROM generate_series(0, 3) i) q GROUP BY g ORDER BY g;
-- many rows of one signature
SET promgres.query_max_samples = 5;
SELECT prom._match_filter('<', '{}', v, '[2 2 2]') FROM unnest('{[1 _ _],[_ 1 _],[_ _ 1]}'::prom.vals[]) v;
RESET promgres.query_max_samples;

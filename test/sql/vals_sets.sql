-- Set operators, the one side of a matching, group_left, and labels that come from elsewhere.

SELECT prom._and('[1 2 _ 4]', '[1 _ 1 NaN]'), prom._unless('[1 2 _ 4]', '[1 _ 1 NaN]'), prom._unless('[1 _]', NULL);
SELECT prom._and('[1 _]', '[_ 1]') IS NULL AS no_and, prom._unless('[1 _]', '[1 1]') IS NULL AS no_unless, prom._unless(NULL, '[1]') IS NULL AS no_left;
SELECT prom._and('[1]', '[1 1]');
SELECT prom._unless('[1]', '[1 1]');

-- or: left rows, and right ones where there is no left one; a label set of both becomes one series
CREATE TEMP TABLE o (sig prom.labels, is_left bool, labels prom.labels, v prom.vals);
INSERT INTO o VALUES
  ('{s="1"}', true, '{s="1", a="x"}', '[1 _ _ _]'), ('{s="1"}', true, '{s="1", a="y"}', '[_ 2 _ _]'), ('{s="1"}', true, '{s="1", a="z"}', NULL),
  ('{s="1"}', false, '{s="1", a="x"}', '[9 9 3 _]'), ('{s="1"}', false, '{s="1", b="z"}', '[9 9 4 5]'), ('{s="1"}', false, '{s="1", b="t"}', '[9 9 _ _]'),
  ('{s="2"}', false, '{s="2"}', '[1 1 1 1]'), ('{s="3"}', true, '{s="3"}', '[1 1 1 1]'), ('{s="4"}', true, '{s="4"}', NULL);
SELECT sig, (unnest(prom._or(is_left, labels, v))).* FROM o GROUP BY sig ORDER BY sig, labels;
SELECT prom._or(is_left, '{}', v) FROM (VALUES (true, '[1]'::prom.vals), (true, '[1 2]')) q(is_left, v);
SELECT prom._or(is_left, '{}', v) FROM (VALUES (true, '[1]'::prom.vals), (false, '[1 2]')) q(is_left, v);

-- The one side: its rows, and what it has twice.
CREATE TEMP TABLE r (labels prom.labels, v prom.vals);
INSERT INTO r VALUES ('{n="1"}', '[1 _ 3 _]'), ('{n="2"}', '[_ 2 4 _]'), ('{n="3"}', NULL), ('{n="4"}', '[_ _ 5 _]');
SELECT prom._one_side('{}', labels, v), prom._one_side_rows('{}', labels, v), prom._duplicate('{}', labels, v) FROM r;
SELECT prom._one_side('{}', labels, v), prom._one_side_rows('{}', labels, v), prom._duplicate('{}', labels, v) IS NULL AS unique FROM r WHERE labels::text = '{n="2"}';
SELECT prom._one_side('{}', labels, v) IS NULL AS nothing FROM r WHERE v IS NULL;
SELECT prom._alone('[1 2 _ 4]', ARRAY[d], 'left') AS elsewhere, prom._alone('[1]', NULL, 'left') AS none, prom._alone('[1]', ARRAY[NULL::prom._duplicate_series], 'left') AS null
  FROM (SELECT prom._duplicate('{}', labels, v) AS d FROM r) q;
SELECT prom._alone('[_ _ 1 _]', ARRAY[d], 'left') FROM (SELECT prom._duplicate('{}', labels, v) AS d FROM r) q;
SELECT prom._alone('[1]', ARRAY[d], 'left') FROM (SELECT prom._duplicate('{}', labels, v) AS d FROM r) q;

-- group_left: pairs that make one label set
SELECT prom._group_arith('-', l, r), prom._group_compare('<', l, r, false), prom._group_compare('<', l, r, true)
  FROM (VALUES ('[1 _ 3]'::prom.vals, '[2 2 2]'::prom.vals), ('[_ 5 _]', '[7 7 _]')) q(l, r);
SELECT prom._group_arith('-', l, '[2]') FROM unnest('{[1],[2]}'::prom.vals[]) l;
SELECT prom._group_compare('>', l, '[9]', false) FROM unnest('{[1],[2]}'::prom.vals[]) l;

SELECT prom._labels_take('{a="1", b="2"}', '{a,c,d}', '{a="9", c="8", e="7"}'), prom._labels_take('{a="1"}', '{a}', '{}'), prom._labels_take('{a="1"}', '{}', '{b="1"}');
SELECT prom._labels_set('{a="1"}', 'b', '2'), prom._labels_set('{a="1"}', 'a', '2'), prom._labels_set('{a="1"}', 'a', '');
SELECT prom._labels_set('{}', repeat('x', 1025), '2');

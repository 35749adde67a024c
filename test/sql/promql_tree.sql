-- prom.parse: the tree as /api/v1/parse_query gives it.  prom.format: what is wide is broken into lines.
SELECT jsonb_pretty(prom.parse('sum by (job) (rate(x{a=~"b\\d"}[5m] offset -1m)) / on (job) group_left (z) topk(3, y @ end())'));

-- every kind of node
SELECT e AS expression, prom.parse(e) FROM (VALUES (1, '5m'), (2, '"a\"b"'), (3, '{"a.b", c!~"d"}'), (4, '-(+Inf)'),
	(5, 'x > bool 1'), (6, 'x and ignoring (a) y'), (7, 'x[1h:5m] @ 3.5 offset 1d'), (8, 'x[1h:] @ start()'),
	(9, 'quantile without (a) (0.5, x)'), (10, 'x == bool y'), (11, 'x * on (a) group_right y')) v(o, e) ORDER BY o;

-- how functions say what they take
SELECT e AS expression, prom.parse(e)->'func' AS func, jsonb_array_length(prom.parse(e)->'args') AS args FROM (VALUES
	('time()'), ('minute()'), ('round(x, 2)'), ('label_join(x, "a", ",", "b", "c")'), ('label_replace(x, "a", "b", "c", "d")'),
	('quantile_over_time(0.5, x[1m])')) v(e);

-- what cannot be parsed is told as everywhere
SELECT prom.parse('sum(');
SELECT prom.parse('rate(x)');
SELECT prom.parse(NULL) IS NULL;

-- the depth that the parser takes, the tree has, too
SELECT length(prom.parse(repeat('(', 999) || 'x' || repeat(')', 999))::text) > 0;

SELECT prom.format(e) FROM (VALUES (1, 'sum by(job)(rate(x[5m]))'),
	(2, 'sum without (' || repeat('a', 30) || ') (rate(' || repeat('m', 40) || '[5m])) / ignoring (b) group_left () -' || repeat('n', 40)),
	(3, 'label_replace(' || repeat('m', 90) || ', "a", "$1", "b", "(.*)")'),
	(4, '-(' || repeat('m', 60) || ' > bool ' || repeat('n', 60) || ')'),
	(5, 'topk(3, max_over_time(rate(' || repeat('m', 90) || '[5m])[1h:1m] @ 10 offset 5m))')) v(o, e) ORDER BY o;

-- however it is broken, it is the same expression
SELECT bool_and(prom.parse(prom.format(e)) = prom.parse(e)) FROM (VALUES
	('a + (' || repeat('b * ', 200) || 'c)'), ('sum(' || repeat('abs(', 60) || 'x' || repeat(')', 61)),
	(repeat('-', 120) || 'x'), (repeat('(a or ', 50) || 'b' || repeat(')', 50))) v(e);

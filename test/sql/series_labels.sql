-- The type prom.labels.
SET search_path = prom, public;

-- text in and out
SELECT l::prom.labels FROM unnest(ARRAY[
	'{}', ' { } ', 'up', 'up{}', 'job:errors:rate5m', '{__name__="up",job="x"}', 'up { job = "x" , } ',
	'{z="1",a="2",M="3",_="4"}', '{"my.label"="x", "0"="1", "a b"="c"}', '{"http.requests", code="200"}',
	'{a=''single'', b=`raw \n`}', '{a="", b="x"}', '{"größe"="µ", le="+Inf"}',
	E'{a="tab\there"}'
]) WITH ORDINALITY AS u(l, i) ORDER BY i;
SELECT '{a="\a\b\f\n\r\t\v\\\"\''\x41\101\u00e9\U0001F600", b="\x01\x7f\u0085"}'::prom.labels;
SELECT ('{a="\"\\\n\u00e9"}'::prom.labels)::text::prom.labels = '{a="\"\\\n\u00e9"}'::prom.labels AS round_trip;

-- malformed text
CREATE FUNCTION pg_temp.try(t text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN 'ok: ' || t::prom.labels;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ': ' || SQLERRM || ' ' || detail;
END $$;
SELECT pg_temp.try(t) FROM unnest(ARRAY[
	'', ' ', '{', '}', '{a}', '{a=}', '{a=b}', '{a="b"', '{a="b}', '{a="b"} c', '{a="b" c="d"}', '{,}',
	'{a="b",,}', '{0a="b"}', '{größe="x"}', '{a:b="c"}', 'a.b{}', '{a!="b"}', '{a=~"b"}', '{""="x"}',
	'{a="1",a="2"}', '{a="",a="2"}', 'up{__name__="x"}', '{"up", "down"}', '{a="\q"}', '{a="\x4"}',
	'{a="\400"}', '{a="\ud800"}', '{a="\U00110000"}', '{a="\xff"}', '{a="\x00"}', '{"\xc3"="x"}',
	E'{a="b\nc"}', 'ü{a="1"}', '{a="ü", b}'
]) WITH ORDINALITY AS u(t, i) ORDER BY i;

-- limits of the format
SELECT length(('{a="' || repeat('x', 65535) || '"}')::prom.labels ->> 'a');
SELECT pg_temp.try('{a="' || repeat('x', 65536) || '"}');
SELECT length(('{' || repeat('x', 1024) || '="1"}')::prom.labels::text);
SELECT left(pg_temp.try('{' || repeat('x', 1025) || '="1"}'), 60), right(pg_temp.try('{' || repeat('x', 1025) || '="1"}'), 30);
SELECT count(*) FROM jsonb_each((SELECT ('{' || string_agg(format('l%s="1"', i), ',') || '}')::prom.labels::jsonb FROM generate_series(1, 1024) i));
SELECT pg_temp.try('{' || string_agg(format('l%s="1"', i), ',') || '}') FROM generate_series(1, 10000) i;

-- jsonb
SELECT '{"b":"1","a":"\n","c":""}'::jsonb::prom.labels, prom.labels('{}'::jsonb);
SELECT 'up{b="1",a="\"x\n"}'::prom.labels::jsonb;
SELECT '[]'::jsonb::prom.labels;
SELECT '"x"'::jsonb::prom.labels;
SELECT '{"a":1}'::jsonb::prom.labels;
SELECT '{"a":{"b":"c"}}'::jsonb::prom.labels;
SELECT '{"":"x"}'::jsonb::prom.labels;

-- labels by name
SELECT 'up{job="x"}'::prom.labels ->> 'job' AS job, 'up{job="x"}'::prom.labels ->> '__name__' AS name,
	'up{job="x"}'::prom.labels ->> 'jo' AS jo, 'up{job="x"}'::prom.labels ->> '' AS empty;
SELECT prom._labels_keep('up{a="1",b="2",c="3"}', '{c,a,z,a}'), prom._labels_keep('up{a="1"}', '{}'),
	prom._labels_keep('up{a="1"}', '{NULL,__name__}');
SELECT prom._labels_drop('up{a="1",b="2",c="3"}', '{b,__name__,z}'), prom._labels_drop('{a="1"}', '{__name__}'),
	prom._labels_drop('{a="1"}', '{a}'), prom._labels_drop('{a="1"}', '{}');

-- order: names and values in turn, bytewise, shorter first
SELECT l FROM unnest(ARRAY['{a="2"}', '{a="1",b="1"}', '{a="1"}', '{b="1"}', '{}', '{a="10"}', '{A="1"}',
	'{"é"="1"}', '{a="1",b="0"}', '{ab="1"}']::prom.labels[]) l ORDER BY l;
SELECT a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt
FROM (VALUES ('{a="1"}'::prom.labels, '{a="2"}'::prom.labels), ('{a="1"}', '{a="1"}'), ('{b="1"}', '{a="1"}')) v(a, b);

-- hash and btree classes
CREATE TEMP TABLE l AS
	SELECT prom.labels(jsonb_build_object('__name__', 'm', 'i', i::text)) AS labels, i FROM generate_series(1, 2000) i;
SET enable_sort = off;
SET enable_mergejoin = off;
SET enable_nestloop = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM l a JOIN l b USING (labels);
SELECT count(*) FROM l a JOIN l b USING (labels);
SELECT count(*) FROM (SELECT labels FROM l UNION SELECT labels FROM l) u;
RESET enable_sort;
RESET enable_mergejoin;
RESET enable_nestloop;
CREATE UNIQUE INDEX ON l (labels);
SET enable_seqscan = off;
SELECT i FROM l WHERE labels = 'm{i="77"}';
SELECT count(*) FROM l WHERE labels >= 'm{i="19"}' AND labels < 'm{i="2"}';
RESET enable_seqscan;
SELECT bool_and(prom.labels_hash4(labels) = prom.labels_hash8(labels, 0)::bit(32)::int4), count(DISTINCT prom.labels_hash8(labels, 1)) FROM l;
-- hashes of labels are stored: they are the same for ever
SELECT prom._label_pair('job', 'x'), prom._label_pairs('up{job="x"}'), prom._label_pairs('{}');

-- large sets are stored out of line, compressed or not
CREATE TEMP TABLE big (labels prom.labels);
INSERT INTO big SELECT prom.labels(jsonb_object_agg('l' || i, repeat(md5(i::text), 100))) FROM generate_series(1, 50) i;
SELECT labels ->> 'l7' = repeat(md5('7'), 100), prom._labels_keep(labels, '{l0}') AS none, labels = labels::text::prom.labels FROM big;

-- binary form
SELECT encode(prom.labels_send('{a="1",bc=""}'), 'hex'), encode(prom.labels_send('{}'), 'hex');
CREATE TEMP TABLE bin (labels prom.labels);
CREATE FUNCTION pg_temp.recv(hex text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	value bytea := decode(hex, 'hex');
	-- COPY's binary form: signature, flags, no extension; one field; trailer
	file bytea := '\x5047434f50590aff0d0a00'::bytea || '\x0000000000000000'::bytea
		|| '\x0001'::bytea || int4send(length(value)) || value || '\xffff'::bytea;
	program text;
	result text;
BEGIN
	SELECT 'printf ''' || string_agg(format('\%s%s%s', b >> 6, b >> 3 & 7, b & 7), '' ORDER BY i) || ''''
	INTO program FROM generate_series(0, length(file) - 1) i, get_byte(file, i) b;
	TRUNCATE bin;
	EXECUTE format('COPY bin FROM PROGRAM %L (FORMAT binary)', program);
	SELECT 'ok: ' || labels INTO result FROM bin;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SELECT h, pg_temp.recv(h) FROM unnest(ARRAY[
	'0100', '010101016131', '01020101613101016232',
	'', '01', '00', '0200', '0180', '01ff7f', '0101', '01010101', '0101010161', '0101ffffffffffffffffff016131',
	'010101016100', '0101000161', '010100003131', '0102010162310101613201', '01020101623101016132', '01020101613101016132',
	'01010100613100', '0101010161ff', '01010101ff31', '0101810001613100', '018100', '01010101613100',
	'01010180046131', '010101feffff0f6131'
]) WITH ORDINALITY AS u(h, i) ORDER BY i;

-- subscripts, whatever the search_path
SELECT l['job'], l['nosuch'], l['my.label'], l[NULL], l['job'] = 'x' AS same FROM (SELECT '{__name__="up", job="x", "my.label"="y"}'::prom.labels) s(l);
SELECT ('{a="b"}'::prom.labels)['a']['b'];
SELECT ('{a="b"}'::prom.labels)['a':'b'];
SELECT ('{a="b"}'::prom.labels)[ARRAY['a']];
CREATE TEMP TABLE labelled (l prom.labels);
UPDATE labelled SET l['a'] = 'b';

-- the order is that of names and values, pair by pair, wherever in the bytes two sets differ
WITH value AS (
	SELECT * FROM unnest(ARRAY['', '0', '1', '01', '0123456', '01234567', '01234568', repeat('x', 126), repeat('x', 127), repeat('x', 128), repeat('é', 300)]) AS v
), made AS (
	SELECT jsonb_build_object('a', a.v, 'ab', b.v, 'b', c.v, 'é', d.v)::prom.labels AS l
	FROM value a, value b, (SELECT * FROM value LIMIT 3) c, (SELECT * FROM value WHERE v <> '1' LIMIT 2) d
), told AS (
	SELECT l, coalesce((SELECT array_agg(x ORDER BY key COLLATE "C", i) FROM jsonb_each_text(l::jsonb), unnest(ARRAY[key, value]) WITH ORDINALITY AS u(x, i)),
		'{}') COLLATE "C" AS pairs
	FROM made
)
SELECT count(*), count(*) FILTER (WHERE (a.l < b.l) <> (a.pairs < b.pairs) OR (a.l = b.l) <> (a.pairs = b.pairs) OR (a.l >= b.l) <> (a.pairs >= b.pairs)) AS different
FROM told a, told b;

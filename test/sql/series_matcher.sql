-- Label matchers on label sets, and the hashes that the index on prom.series holds.
SET search_path = prom, public;

CREATE TEMP TABLE s (id int, labels prom.labels);
INSERT INTO s (id, labels) VALUES
	(1, 'up{job="api", instance="a:1"}'),
	(2, 'up{job="api", instance="b:1"}'),
	(3, 'up{job="db"}'),
	(4, 'up'),
	(5, 'down{job="api\ndb"}'),
	(6, '{job="größe"}'),
	(7, 'up{job="a.b"}'),
	(8, 'up{job="it''s \"\\quoted\\\""}'),
	(9, '{}');

-- one matcher; an absent label is the empty string
CREATE FUNCTION pg_temp.matched(name text, op text, value text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(id::text, ' ' ORDER BY id) FROM s
	WHERE CASE op
		WHEN '=' THEN prom._label_eq(labels, name, value)
		WHEN '!=' THEN NOT prom._label_eq(labels, name, value)
		WHEN '=~' THEN prom._label_re(labels, name, value)
		WHEN '!~' THEN NOT prom._label_re(labels, name, value)
	END
$$;
SELECT name, op, value, pg_temp.matched(name, op, value)
FROM (VALUES
	('job', 'api'), ('job', ''), ('job', 'ap'), ('job', 'ap.*'), ('job', 'pi'), ('job', '.*'), ('job', '.+'),
	('job', 'api|db'), ('job', 'api|'), ('job', '|'), ('job', 'api.db'), ('job', 'gr..e'), ('job', 'a\.b'), ('job', 'a.b'),
	('job', '(?i)API'), ('job', '^api$'), ('job', 'it''s "\\quoted\\"'), ('job', '[[:alpha:]]+'), ('job', '\pL+'),
	('__name__', 'up'), ('__name__', ''), ('__name__', 'up|down'), ('instance', '[ab]:1'),
	('instance', '(a|b):1'),
	('nosuch', ''), ('nosuch', 'x?')
) v(name, value) CROSS JOIN (VALUES (1, '='), (2, '!='), (3, '=~'), (4, '!~')) o(i, op)
ORDER BY name COLLATE "C", value COLLATE "C", i;

-- linear time, and the dialect of RE2
SELECT prom._label_re(jsonb_build_object('a', repeat('a', 5000) || '!')::prom.labels, 'a', '(a+)+');
SELECT prom._label_re('{a="b"}', 'a', '(');
SELECT prom._label_re('{a="b"}', 'a', '(?=b)b');
SELECT prom._label_re('{a="b"}', 'a', '(b)\1');
SELECT prom._label_re('{a="b"}', 'a', 'b{1001}');
SELECT prom._label_re('{a="b"}', 'a', '\C');
SELECT prom._label_re('{a="\\C"}', 'a', '\\C'), prom._label_re('{a="\\C"}', 'a', '\Q\C\E');
SELECT prom._label_re('{a="b"}', 'a', repeat('(', 2000) || repeat(')', 2000));
SELECT prom._label_re('{a="b"}', NULL, '.*'), prom._label_eq(NULL, 'a', 'b');

-- what is told from the ends of a value, without RE2, is what RE2 says: label_replace asks it alone
CREATE TEMP TABLE piece AS SELECT * FROM unnest(ARRAY['', 'a', 'b.*', '.+', '[ab]', '(a|bc)', 'é', '\.', 'x?', '(?i)A', '\d{2}', '$', '|', '\x41',
	'\Qa.\E', 'c' || chr(10), '\\b', '[^a]', '\pL', '(?:ab)+', '{a']) AS p;
CREATE TEMP TABLE value AS
SELECT DISTINCT jsonb_build_object('v', x || y || z)::prom.labels AS labels
FROM unnest(ARRAY['', 'a', 'b', 'A', '.', '11', 'é']) x, unnest(ARRAY['', 'ab', 'bc', 'a.']) y, unnest(ARRAY['', 'a', '\b', 'c' || chr(10), '{a']) z;
SELECT count(*), sum(t.matching) AS matching, sum(t.different) AS different
FROM (SELECT DISTINCT x.p || y.p || z AS p FROM piece x, piece y, unnest(ARRAY['', 'a', '\.', '|b', '\\b']) z) AS pattern
CROSS JOIN LATERAL (
	SELECT count(*) FILTER (WHERE prom._label_re(labels, 'v', p)) AS matching,
		count(*) FILTER (WHERE prom._label_re(labels, 'v', p) <> (prom._label_replace(labels, 'out', 'yes', 'v', p) <> labels)) AS different
	FROM value) AS t;

-- more patterns than the cache holds
SELECT count(*) FILTER (WHERE prom._label_re('{a="77"}', 'a', i::text)), count(*) FROM generate_series(1, 300) i, generate_series(1, 3);

-- hashed pairs find what the labels say
SELECT id FROM s WHERE prom._label_pairs(labels) OPERATOR(pg_catalog.@>) ARRAY[prom._label_pair('__name__', 'up'), prom._label_pair('job', 'api')] ORDER BY id;
SELECT prom._label_pair('ab', 'c') <> prom._label_pair('a', 'bc');

-- the same as SQL on prom.series: constants for the index, and a recheck
TRUNCATE prom.series, prom.shard, prom.metric, prom.label_value;
SELECT count(prom.series_id(labels)) FROM s;
SELECT prom._series_where('{}', '{}', '{}');
SELECT prom._series_where('{=}', '{job}', '{api}');
SELECT prom._series_where('{=,=}', '{__name__,job}', '{up,""}');
SELECT prom._series_where('{!=,!=}', '{__name__,job}', '{up,""}');
SELECT prom._series_where('{=~,=~,=~}', '{__name__,job,nosuch}', '{up|down,(?:a\\.b),.*}');
SELECT prom._series_where('{=~,!~}', '{job,job}', '{a.+,api}');
SELECT prom._series_where('{=~,=}', '{instance,instance}', '{.+,a:1}');
SELECT prom._series_where('{=~,!~}', '{job,instance}', '{api|,x|}');
SELECT prom._series_where('{=~}', '{job}', '{zzz.*}'), prom._series_where('{!~}', '{job}', '{.*}'), prom._series_where('{!=}', '{nosuch}', '{""}');
SELECT prom._series_where('{=}', ARRAY['it''s'], ARRAY['a\''b']);
SELECT prom._series_where('{==}', '{job}', '{x}');
SELECT prom._series_where('{=}', '{job,job}', '{x}');
SELECT prom._series_where('{=}', '{job}', '{NULL}');
SELECT prom._series_where('{=~}', '{job}', '{(}');
SELECT prom._series_where('{!~}', '{job}', '{a**}');

-- every pair of matchers finds what testing all series one by one does
CREATE FUNCTION pg_temp.found(ops text[], names text[], vals text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE 'SELECT string_agg(t.id::text, '' '' ORDER BY t.id) FROM prom.series s JOIN s t USING (labels) WHERE '
		|| prom._series_where(ops, names, vals) INTO result;
	RETURN result;
END $$;
CREATE TEMP TABLE m AS
	SELECT op, name, value FROM unnest('{=,!=,=~,!~}'::text[]) op, unnest('{__name__,job,instance,nosuch}'::text[]) name,
		unnest(ARRAY['', 'up', 'api', 'a.*', '.*', '.+', 'api|db', 'a\.b|', '[ab]:1', 'it''s "\\quoted\\"']) value;
SELECT count(*), count(DISTINCT ids) AS answers, bool_and(ids IS NOT DISTINCT FROM pg_temp.found(ARRAY[op], ARRAY[name], ARRAY[value])) AS same
FROM (SELECT *, pg_temp.matched(name, op, value) AS ids FROM m) m;
CREATE TEMP TABLE p AS
	SELECT ARRAY[a.op, b.op] AS ops, ARRAY[a.name, b.name] AS names, ARRAY[a.value, b.value] AS vals,
		(SELECT string_agg(i, ' ' ORDER BY i::int) FROM string_to_table(a.ids, ' ') i JOIN string_to_table(b.ids, ' ') j ON i = j) AS ids
	FROM (SELECT *, pg_temp.matched(name, op, value) AS ids FROM m) a,
		(SELECT *, pg_temp.matched(name, op, value) AS ids FROM m WHERE name IN ('job', '__name__')) b;
SELECT count(*), count(DISTINCT ids) AS answers FROM p;
SELECT * FROM p WHERE ids IS DISTINCT FROM pg_temp.found(ops, names, vals);

-- the text means the same with either setting of standard_conforming_strings
SELECT pg_temp.found('{=}', '{job}', ARRAY['it''s "\quoted\"']);
SET standard_conforming_strings = off;
SELECT pg_temp.found(E'{=}', E'{job}', ARRAY[E'it\'s "\\quoted\\"']);
RESET standard_conforming_strings;

-- too many values for constants: left to the recheck
SELECT count(prom.series_id(jsonb_build_object('__name__', 'many', 'i', i::text)::prom.labels)) FROM generate_series(1, 1100) i;
SELECT prom._series_where('{=~}', '{i}', '{[0-9]+}'), length(prom._series_where('{=~}', '{i}', ARRAY['[0-9]{1,2}'])) > 500 AS constants;
SELECT count(*) FROM prom.series s WHERE prom._label_re(s.labels, 'i', '[0-9]+');

-- the index is used
SELECT prom._series_where('{=,=~}', '{__name__,i}', '{many,77|78}') AS cond \gset
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT labels FROM prom.series s WHERE :cond;
SELECT labels FROM prom.series s WHERE :cond ORDER BY labels;
RESET enable_seqscan;
TRUNCATE prom.series, prom.shard, prom.metric, prom.label_value;

-- what tells texts apart without matching is never wrong: letters at the end, and the least and greatest text that matches
SELECT pattern, value, prom._label_re(prom.labels(jsonb_build_object('__name__', 'm', 'l', value)), 'l', pattern) AS matches, matches AS meant
  FROM (VALUES ('u0[0-4].*7', 'u0417', true), ('u0[0-4].*7', 'u0517', false), ('u0[0-4].*7', 'u0418', false), ('.*\.com', 'x.com', true), ('.*\.com', 'x.org', false),
		('\Qa.*\E7', 'a.*7', true), ('.*\Q7\E', '17', true), ('(?i)x.*AB', 'Xab', true), ('x(?i:.*)AB', 'xab', false), ('.*\d7', '17', true), ('.*\x41', 'zA', true),
		('.*\x417', 'A7', true), ('a|.*b', 'a', true), ('(a|b)7', 'b7', true), ('[a-c]{2}é', 'abé', true), ('[a-c]{2}é', 'abe', false), ('.*7?', '1', true), ('.+', 'é', true),
		('[^a]*', '', true), ('é.*', 'éa', true), ('.*\pLx', 'éx', true), ('a$', 'a', true), ('^a', 'a', true), ('a.*', E'a\n', true)) v(pattern, value, matches)
 WHERE prom._label_re(prom.labels(jsonb_build_object('__name__', 'm', 'l', value)), 'l', pattern) IS DISTINCT FROM matches OR pattern LIKE 'u0%';

-- Names and values that try to break out of the SQL, and surroundings that try to change what it means.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all

-- One series of each kind of text, in name, label name and value; each expression in PromQL's own quotes.
CREATE TEMP TABLE texts (id int, t text, quoted text);
INSERT INTO texts SELECT i, t, '"' || replace(replace(replace(t, '\', '\\'), '"', '\"'), E'\n', '\n') || '"'
	FROM unnest(ARRAY['''', '"', '\', '\''', '$$', '$1', E'\n', 'ž', '''; DROP TABLE prom.series; --', 'E''\x''', '{}', 'NULL', '%s', '(', ')', '/*', '*/', '--', ',']) WITH ORDINALITY u(t, i);
SELECT sum(samples), count(error) FROM prom.ingest(ARRAY(SELECT pg_temp.body(pg_temp.series(ARRAY['__name__', 'm' || t, 'n' || t, 'w', 'v', t, 'le', '+Inf'], '{0}', ARRAY[id]::float8[])) FROM texts ORDER BY id));

-- What to_sql says, executed.
CREATE FUNCTION pg_temp.pasted(expr text) RETURNS TABLE (labels prom.labels, "time" timestamptz, value float8, histogram prom.histogram) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE prom.to_sql(expr, to_timestamp(0), to_timestamp(0), '1 s');
END $$;

CREATE FUNCTION pg_temp.failures(most int DEFAULT 100) RETURNS TABLE (expression text, found text) LANGUAGE plpgsql AS $$
DECLARE
	x		record;
	form	text;
	e		text;
	told	text;
BEGIN
	FOR x IN SELECT id, left(quoted, 1) || 'm' || substr(quoted, 2) AS m, left(quoted, 1) || 'n' || substr(quoted, 2) AS n, quoted AS v FROM texts WHERE id <= most LOOP
		FOREACH form IN ARRAY ARRAY['{@m, @n="w"}', '{@m, "v"=@v}', '{v=@v, @n!="x"}', '{@n=~"w|x", v=@v}', 'sum by (@n) ({@m, v=@v})',
			'sum without (@n) ({@m})', '{@m} + ignoring(@n) ({@m} - {@m})', '{@m} == on(@n, v) {@m}', 'max_over_time({@m}[5m])'] LOOP
			e := replace(replace(replace(form, '@m', x.m), '@n', x.n), '@v', x.v);
			BEGIN
				SELECT string_agg(q.value::text, ' ') INTO told FROM prom.query(e, to_timestamp(0)) q;
				SELECT told || ' ' || string_agg(p.value::text, ' ') INTO told FROM pg_temp.pasted(e) p;
			EXCEPTION WHEN OTHERS THEN
				told := SQLERRM;
			END;
			IF told IS DISTINCT FROM format('%s %s', x.id, x.id) THEN
				RETURN QUERY SELECT e, told;
			END IF;
		END LOOP;
	END LOOP;
END $$;
SELECT * FROM pg_temp.failures();

SET standard_conforming_strings = off;
SET escape_string_warning = off;
SET backslash_quote = off;
SELECT * FROM pg_temp.failures();
RESET standard_conforming_strings;
RESET escape_string_warning;
RESET backslash_quote;

SET quote_all_identifiers = on;
SET array_nulls = off;
SELECT * FROM pg_temp.failures();
RESET quote_all_identifiers;
RESET array_nulls;

-- Parallel plans and other joins.
SELECT count(set_config(name, 'on', false)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT * FROM pg_temp.failures(3);
SET enable_hashjoin = off;
SET enable_hashagg = off;
SELECT * FROM pg_temp.failures(3);
RESET ALL;

-- Operators, functions, types and tables like ours, ahead of the real ones.
CREATE SCHEMA promgres_evil;
SET search_path = promgres_evil, pg_catalog;
CREATE FUNCTION promgres_evil.no(int2, int2) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION promgres_evil.no(int4, int4) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION promgres_evil.no(int8, int8) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION promgres_evil.no(int8, int4) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION promgres_evil.no(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION promgres_evil.no(prom.labels, prom.labels) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION promgres_evil.far(int4, int4) RETURNS int4 LANGUAGE sql AS 'SELECT 99';
DO $$
DECLARE
	op		text;
	sort	text;
BEGIN
	FOREACH op IN ARRAY ARRAY['=', '<', '<=', '>', '>='] LOOP
		FOREACH sort IN ARRAY ARRAY['int2, int2', 'int4, int4', 'int8, int8', 'int8, int4', 'text, text', 'prom.labels, prom.labels'] LOOP
			EXECUTE format('CREATE OPERATOR promgres_evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = promgres_evil.no)',
				op, split_part(sort, ', ', 1), split_part(sort, ', ', 2));
		END LOOP;
	END LOOP;
END $$;
CREATE OPERATOR promgres_evil.>> (LEFTARG = int4, RIGHTARG = int4, FUNCTION = promgres_evil.far);
CREATE TABLE promgres_evil.series ();
CREATE TABLE promgres_evil.warm ();
CREATE TYPE promgres_evil.labels AS (nothing int);
CREATE FUNCTION promgres_evil._label_eq(prom.labels, text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION promgres_evil.unnest(anyarray) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
SELECT value FROM pg_temp.pasted('{__name__="m''"}') UNION ALL SELECT value FROM prom.query('{__name__=~"m['']"}', to_timestamp(0));
SELECT value FROM pg_temp.pasted('histogram_quantile(0.5, {__name__="m''"}) + 1 > {__name__="mž"}') UNION ALL SELECT value FROM pg_temp.pasted('sum by (v) ({__name__="m$$"}) + on() {__name__="mž"}');
SELECT count(*) FROM pg_temp.pasted('{__name__=~"m.+"}[5m]');
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA promgres_evil CASCADE;
RESET client_min_messages;

SELECT prom.delete_series('{__name__=~".+"}');

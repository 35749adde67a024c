-- prom.vals: text and binary form, sources, operators.

-- text: absent is not NaN; digits read back as the same number
SELECT '[1 2 _ NaN]'::prom.vals, '[_]'::prom.vals, 'const(5)'::prom.vals, 'const(NaN)'::prom.vals;
SELECT '[0.1 -0 +Inf -Inf 1e-320 1.7976931348623157e+308 123456789012345680]'::prom.vals;
SELECT '[inf nan 0x10 1e3]'::prom.vals;
SELECT ''::prom.vals;
SELECT '[]'::prom.vals;
SELECT '[1 2'::prom.vals;
SELECT '[1  2]'::prom.vals;
SELECT '[ 1]'::prom.vals;
SELECT E'[\t1]'::prom.vals;
SELECT '[1 2] '::prom.vals;
SELECT '[1,2]'::prom.vals;
SELECT '[1 x]'::prom.vals;
SELECT '[1)'::prom.vals;
SELECT '[__]'::prom.vals;
SELECT 'const(_)'::prom.vals;
SELECT 'const(1 2)'::prom.vals;
SELECT 'const(1'::prom.vals;
SELECT ('[1' || repeat(' 1', 1000000) || ']')::prom.vals;

-- binary: the same value through a file, bit for bit
CREATE TEMP TABLE there (i int, v prom.vals);
CREATE TEMP TABLE back (LIKE there);
INSERT INTO there SELECT i, ('[' || repeat('_ ', i) || '-0 NaN 1e-310' || repeat(' _', 100 - i) || ']')::prom.vals
  FROM generate_series(0, 100) i;
INSERT INTO there VALUES (101, 'const(-0)'), (102, '[_]'), (103, NULL);
SELECT prom.vals_send(v) FROM there WHERE i IN (0, 101, 102) ORDER BY i;
COPY there TO PROGRAM 'cat > promql_vals.tmp' (FORMAT binary);
COPY back FROM PROGRAM 'cat promql_vals.tmp && rm promql_vals.tmp' (FORMAT binary);
SELECT count(*) AS rows, bool_and(prom.vals_send(t.v) = prom.vals_send(b.v)) AS same, bool_and(t.v::text = b.v::text) AS text
  FROM there t JOIN back b USING (i);
-- bytes from strangers
CREATE FUNCTION pg_temp.recv(type text, bytes text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	file bytea = '\x5047434f50590aff0d0a0000000000000000000001'::bytea || int4send(length(bytes) / 2) || decode(bytes, 'hex') || '\xffff';
	program text = 'printf ''' || (SELECT string_agg(format('\%s%s%s', b >> 6, b >> 3 & 7, b & 7), '' ORDER BY i)
									 FROM (SELECT i, get_byte(file, i) AS b FROM generate_series(0, length(file) - 1) i) x) || '''';
	result text;
	detail text;
BEGIN
	EXECUTE format('CREATE TEMP TABLE received (v %s)', type);
	EXECUTE format('COPY received FROM PROGRAM %L (FORMAT binary)', program);
	SELECT v::text INTO result FROM received;
	DROP TABLE received;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN sqlstate || ' ' || sqlerrm || ' ' || detail;
END $$;
SELECT what, pg_temp.recv('prom.vals', bytes) FROM (VALUES
	('good', '01000000000200000000000000024000000000000000'),
	('constant', '01010000000100000000000000014000000000000000'),
	('mixed', '0200000000020000000000000002000000004000000000000000'),
	('mixed, histogram cut off', '0200000000020000000000000002000000504000000000000000'),
	('mixed, no histogram', '0200000000020000000000000002000000080000000800000000'),
	('mixed, constant', '0201000000010000000000000001000000004000000000000000'),
	('unknown format', '03000000000200000000000000024000000000000000'),
	('unknown flag', '01020000000200000000000000024000000000000000'),
	('no steps', '010000000000'),
	('negative steps', '0100ffffffff'),
	('too many steps', '0100000f424100000000000000024000000000000000'),
	('more steps than bytes', '01000001000000000000000000024000000000000000'),
	('bit beyond the end', '01000000000200000000000000044000000000000000'),
	('missing value', '01000000000200000000000000034000000000000000'),
	('surplus value', '01000000000200000000000000004000000000000000'),
	('absent constant', '0101000000010000000000000000'),
	('long constant', '01010000000200000000000000014000000000000000'),
	('truncated', '0100000000')) q(what, bytes);

-- long values survive compression in a table
TRUNCATE back;
INSERT INTO back SELECT n, ('[' || repeat('1 ', n) || '2]')::prom.vals FROM generate_series(1, 5000, 1000) n;
SELECT i, length(v::text), v::text = '[' || repeat('1 ', i) || '2]' AS same FROM back ORDER BY i;

-- sources
SELECT prom._vals(2.5), prom._time(1500, 1000, 3), prom._time(-1, 1, 1);
SELECT prom._vector('const(3)', 4), prom._vector('[1 _ 2]', 3);
SELECT prom._scalar('[1 _ NaN]', 3), prom._scalar(NULL, 2), prom._scalar('const(2)', 2);
SELECT prom._vector('const(3)', 0);
SELECT prom._time(0, 1, 1000001);
SELECT prom._vector('[1 2]', 3);
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT * FROM prom._points('[1 _ NaN -0]', 1000, 500, 4);
SELECT * FROM prom._points('const(7)', 0, 60000, 3);
SELECT * FROM prom._points('[1]', 9223372036854775807, 1, 1);
SELECT * FROM prom._points('[1 2]', 0, 60000, 3);

-- arithmetic: where both are present, IEEE double
SELECT op, prom._arith(op, '[7 -7 _ 2 1 0]', '[3 -3 1 _ 0 0]')
  FROM unnest('{+,-,*,/,%,^,atan2}'::text[]) op;
SELECT prom._arith('%', 'const(7)', 'const(-3)'), prom._arith('%', 'const(-7)', 'const(3)'),
       prom._arith('^', '[2 -8 0]', 'const(0.5)'), prom._arith('/', 'const(1)', '[_ -0 0]');
SELECT prom._arith('+', '[NaN +Inf +Inf]', '[1 -Inf 1]');
SELECT prom._arith('+', '[1 _]', '[_ 1]') IS NULL AS nothing, prom._arith('+', NULL, '[1]') IS NULL AS null_in;
SELECT prom._negate('[1 _ -0 NaN -Inf]'), prom._negate('const(2)');
SELECT prom._arith('+', '[1 2]', '[1 2 3]');
SELECT prom._arith('==', '[1]', '[1]');
SELECT prom._arith('**', '[1]', '[1]');

-- comparison: a filter keeps a side, bool gives 0 or 1; NaN differs from everything
SELECT op, prom._compare(op, '[1 2 3 NaN _ 1]', '[2 2 2 NaN 1 _]', false, false) AS left,
       prom._compare(op, '[1 2 3 NaN _ 1]', '[2 2 2 NaN 1 _]', false, true) AS right,
       prom._compare(op, '[1 2 3 NaN _ 1]', '[2 2 2 NaN 1 _]', true, false) AS bool
  FROM unnest('{==,!=,<,<=,>,>=}'::text[]) op;
SELECT prom._compare('==', 'const(1)', 'const(1)', true, false), prom._compare('>', 'const(2)', '[1 2 3]', false, true);
SELECT prom._compare('>', '[1]', '[2]', false, false) IS NULL AS nothing;
SELECT prom._compare('=~', '[1]', '[1]', false, false);

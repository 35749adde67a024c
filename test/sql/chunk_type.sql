--
-- The type prom.chunk: what goes in comes out, and nothing malformed goes in.
--
SET timezone = 'UTC';
SET extra_float_digits = 1;

-- How an input ends, without raising.
CREATE FUNCTION pg_temp.attempt(input text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN 'accepted: ' || (SELECT count(*) FROM prom.samples(input::prom.chunk)) || ' samples';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN format('%s %s: %s', SQLSTATE, SQLERRM, detail);
END $$;

-- one series there and back, in every style
SELECT style, s.*
  FROM unnest('{fresh,warm,cold,plain}'::text[]) style,
       LATERAL prom.samples(prom.chunk_build(3::int2, 7, '{1000,2000,3001}', '{1.5,NaN,-0}', style)) s;

-- the text form reads back as the same bytes
SELECT c, c::text::prom.chunk::text = c::text AS same
  FROM prom.chunk_build(0::int2, -5, '{1700000000000,1700000015000,1700000030000}', '{1,2,4}') c;

-- any int64 is a timestamp; the ones that timestamptz cannot hold are infinite
SELECT t_ms, "time" FROM prom.samples(prom.chunk_build(0::int2, 1,
	'{-9223372036854775808,-210866803200001,-1,0,9224318015999999,9224318016000000,9223372036854775807}',
	'{0,0,0,0,0,0,0}')::text::prom.chunk);

-- shards and ids at their ends
SELECT shard, sid FROM unnest('{-32768,0,32767}'::int2[]) sh, unnest('{-2147483648,0,2147483647}'::int4[]) i,
	LATERAL prom.samples(prom.chunk_build(sh, i, '{1}', '{1}')::text::prom.chunk);

-- Every bit pattern survives.  A constant that is no decimal ends with its raw bits: put others there.
CREATE TEMP TABLE special (id int4 GENERATED ALWAYS AS IDENTITY, bits text);
INSERT INTO special (bits) VALUES
	('7ff0000000000002'), ('7ff8000000000001'), ('7ff8000000000000'), ('fff8000000000000'),
	('7ff0000000000001'), ('7ff4000000000000'), ('fff00000000000aa'), ('7fffffffffffffff'),
	('ffffffffffffffff'), ('7ff0000000000000'), ('fff0000000000000'), ('8000000000000000'),
	('0000000000000000'), ('0000000000000001'), ('8000000000000001'), ('000fffffffffffff'),
	('0010000000000000'), ('7fefffffffffffff'), ('ffefffffffffffff'), ('4340000000000000'),
	('4340000000000001'), ('433fffffffffffff'), ('3fb999999999999a'), ('3fd3333333333334');

CREATE TEMP VIEW special_chunk AS
SELECT id, bits, (left(prom.chunk_build(0::int2, id, ARRAY[id * 1000], '{NaN}')::text, -16) ||
	substr(bits, 15, 2) || substr(bits, 13, 2) || substr(bits, 11, 2) || substr(bits, 9, 2) ||
	substr(bits, 7, 2) || substr(bits, 5, 2) || substr(bits, 3, 2) || substr(bits, 1, 2))::prom.chunk AS c
  FROM special;

-- alone, and all together as one block of many series, in every style
SELECT count(*) AS patterns, count(*) FILTER (WHERE encode(float8send(value), 'hex') = bits) AS kept
  FROM special_chunk, LATERAL prom.samples(c);
SELECT style, count(*) AS patterns, count(*) FILTER (WHERE encode(float8send(value), 'hex') = bits) AS kept
  FROM unnest('{fresh,warm,cold,plain}'::text[]) style,
       LATERAL (SELECT prom.chunk_merge(c, 0, style) AS merged FROM special_chunk) m,
       LATERAL prom.samples(merged) s, special
 WHERE s.sid = special.id
 GROUP BY style ORDER BY style;

-- the same bits inside one series, among a thousand decimals
WITH made AS (
	SELECT style, prom.chunk_merge(c, 0, style) AS c
	  FROM unnest('{fresh,warm,cold,plain}'::text[]) style,
	       LATERAL (SELECT prom.chunk_build(0::int2, 1, array_agg(g * 1000::int8), array_agg(g / 8.0::float8)) AS c
	                  FROM generate_series(100, 1099) g
	                UNION ALL
	                SELECT prom.chunk_build(0::int2, 1, ARRAY[s.t_ms], ARRAY[s.value])
	                  FROM special_chunk sc, LATERAL prom.samples(sc.c) s) all_chunks
	 GROUP BY style)
SELECT style, count(*) AS samples,
       count(*) FILTER (WHERE encode(float8send(value), 'hex') = bits) AS kept,
       count(*) FILTER (WHERE value = t_ms / 8000.0) AS decimals
  FROM made, LATERAL prom.samples(c) LEFT JOIN special ON t_ms = id * 1000
 GROUP BY style ORDER BY style;

-- columns of many shapes and lengths come back as they were
WITH shape AS (
	SELECT n, kind, array_agg(1700000000000 + g * 15000 + (g * 7919 % 5) ORDER BY g) AS t,
	       array_agg(CASE kind
	                 WHEN 0 THEN 42
	                 WHEN 1 THEN g * 3
	                 WHEN 2 THEN g * 4096 + (g * 31 % 7) * 4096
	                 WHEN 3 THEN (g * 7919 % 1000) / 100.0
	                 WHEN 4 THEN g * 0.1 + g * 1e-9
	                 WHEN 5 THEN sqrt(g::float8)
	                 WHEN 6 THEN (g % 90)::float8
	                 WHEN 7 THEN CASE WHEN g % 13 = 0 THEN 'NaN' ELSE g::float8 END
	                 WHEN 8 THEN CASE WHEN g % 100 = 50 THEN 1e300 ELSE 1 END
	                 ELSE (g * 7919 % 4294967296)::float8 * 1e9
	                 END::float8 ORDER BY g) AS v
	  FROM unnest('{1,2,3,63,64,65,66,127,128,129,130,480,8191,8192}'::int[]) n, generate_series(0, 9) kind,
	       LATERAL generate_series(1::int8, n) g
	 GROUP BY n, kind)
SELECT style, count(*) AS columns, count(*) FILTER (WHERE t = back_t AND v::text = back_v::text) AS same
  FROM shape, unnest('{fresh,warm,cold,plain}'::text[]) style,
       LATERAL (SELECT array_agg(t_ms) AS back_t, array_agg(value) AS back_v
                  FROM prom.samples(prom.chunk_build(1::int2, 1, t, v, style))) back
 GROUP BY style ORDER BY style;

-- prom.chunk_info reads head and directory
SELECT style, i.*
  FROM unnest('{fresh,warm,cold,plain}'::text[]) style,
       LATERAL (SELECT prom.chunk_merge(prom.chunk_build(9::int2, s, '{1000,2000,3000}', '{1,2,3}'), 0, style) AS c
                  FROM generate_series(1, 10) s) m,
       LATERAL prom.chunk_info(c) i;

-- what a chunk cannot be built from
SELECT prom.chunk_build(0::int2, 1, '{}', '{}');
SELECT prom.chunk_build(0::int2, 1, '{1,2}', '{1}');
SELECT prom.chunk_build(0::int2, 1, '{2,2}', '{1,1}');
SELECT prom.chunk_build(0::int2, 1, '{1,NULL}', '{1,1}');
SELECT prom.chunk_build(0::int2, 1, '{{1},{2}}', '{1,1}');
SELECT prom.chunk_build(0::int2, 1, '{1}', '{1}', 'hot');
SELECT prom.chunk_build(0::int2, 1, array_agg(g), array_agg(0::float8)) FROM generate_series(1::int8, 8193) g;
-- but a plain one has no limit
SELECT samples FROM (SELECT prom.chunk_build(0::int2, 1, array_agg(g), array_agg(0::float8), 'plain') AS c
	FROM generate_series(1::int8, 8193) g) x, LATERAL prom.chunk_info(c);

-- malformed text
SELECT 'c104'::prom.chunk;
SELECT '\xc1zz'::prom.chunk;
SELECT ''::prom.chunk;

-- malformed bytes; the good one is: head 10 bytes, ids 2 + 1, three columns of the time directory,
-- two of the series directory, times, values
SELECT prom.chunk_build(0::int2, 5, '{1000,2000,3000}', '{1,2,4}') AS good \gset
SELECT :'good' AS good;
SELECT pg_temp.attempt(:'good');
SELECT what, pg_temp.attempt(input) FROM (VALUES
	('no bytes', '\x'),
	('unknown format', '\xc0'),
	('plain', prom.chunk_build(0::int2, 5, '{1}', '{1}', 'plain')::text),
	('unknown flag', overlay(:'good' placing '24' from 5)),
	('flag of histograms', overlay(:'good' placing '14' from 5)),
	('no ids', overlay(:'good' placing '00' from 5)),
	('shard 40000', overlay(:'good' placing '80f104' from 7 for 2)),
	('no series', overlay(:'good' placing '00' from 9)),
	('1025 series', overlay(:'good' placing '8108' from 9 for 2)),
	('2^63 series', overlay(:'good' placing '80808080808080808001' from 9 for 2)),
	('no end of a number', overlay(:'good' placing 'ffffffffffffffffffffff' from 9 for 2)),
	('more time columns than series', overlay(:'good' placing '02' from 11)),
	('no samples', overlay(:'good' placing '00' from 13)),
	('other number of samples', overlay(:'good' placing '04' from 13)),
	('8193 samples', overlay(:'good' placing '8140' from 13 for 2)),
	('time beyond int64', overlay(:'good' placing 'feffffffffffffffff01' from 15 for 4)),
	('other time range', overlay(:'good' placing 'd10f' from 19 for 4)),
	('ids past the end', overlay(:'good' placing '7f' from 23)),
	('one byte left over', :'good' || '00'),
	('values cut', left(:'good', -2)),
	('claims a checksum', overlay(:'good' placing '06' from 5)),
	('claims zstd', overlay(:'good' placing '05' from 5)),
	('claims fresh values', overlay(:'good' placing '0c' from 5))
) v(what, input);

-- no part of a chunk is a chunk, and none with a bit flipped does harm
CREATE TEMP TABLE victim AS
SELECT style, prom.chunk_merge(prom.chunk_build(0::int2, s, t, v), 0, style)::text::bytea AS c
  FROM unnest('{fresh,warm,cold}'::text[]) style,
       LATERAL (SELECT s, array_agg(g * 1000 + g % 3) AS t, array_agg(g % 7 * s / 10.0::float8) AS v
                  FROM generate_series(1, 5) s, generate_series(1::int8, 90) g GROUP BY s) x
 GROUP BY style;
SELECT style, count(*) FILTER (WHERE pg_temp.attempt(substr(c, 1, cut)::text) LIKE 'accepted%') AS accepted
  FROM victim, LATERAL generate_series(0, length(c) - 1) cut GROUP BY style ORDER BY style;
SELECT style, bool_and(pg_temp.attempt(set_bit(c, b, 1 - get_bit(c, b))::text) IS NOT NULL) AS survived,
       count(*) FILTER (WHERE style = 'cold' AND pg_temp.attempt(set_bit(c, b, 1 - get_bit(c, b))::text) LIKE 'accepted%') AS cold_accepted
  FROM victim, LATERAL generate_series(0, 8 * length(c) - 1) b GROUP BY style ORDER BY style;

-- binary form; a bytea is sent as the same bytes
CREATE TEMP TABLE received (c prom.chunk);
COPY (SELECT c FROM victim ORDER BY style) TO PROGRAM 'cat > prom_chunk_type.bin' (FORMAT binary);
COPY received FROM PROGRAM 'cat prom_chunk_type.bin' (FORMAT binary);
SELECT count(*) FROM received r JOIN victim v ON r.c::text::bytea = v.c;
COPY received TO PROGRAM 'cat > prom_chunk_type.bin' (FORMAT binary);
COPY (SELECT substr(c, 1, 20) FROM victim WHERE style = 'warm') TO PROGRAM 'cat > prom_chunk_type.bin' (FORMAT binary);
\set SHOW_CONTEXT never
COPY received FROM PROGRAM 'cat prom_chunk_type.bin && rm prom_chunk_type.bin' (FORMAT binary);
COPY (SELECT prom.chunk_build(0::int2, 1, '{1}', '{1}', 'plain')) TO PROGRAM 'cat > prom_chunk_type.bin' (FORMAT binary);
COPY received FROM PROGRAM 'cat prom_chunk_type.bin && rm prom_chunk_type.bin' (FORMAT binary);

-- stored out of line, and plain ones with a short header that lies anywhere
CREATE TEMP TABLE stored (odd "char", c prom.chunk);
INSERT INTO stored SELECT 'x', prom.chunk_build(0::int2, 1, array_agg(g), array_agg(sqrt(g::float8)), style)
  FROM unnest('{fresh,warm,cold,plain}'::text[]) style, generate_series(1::int8, 3000) g GROUP BY style;
INSERT INTO stored SELECT 'x', prom.chunk_build(0::int2, 2, '{1}', '{1}', 'plain');
SELECT sid, count(*), sum(value * value)::numeric(20, 3) FROM stored, LATERAL prom.samples(c) GROUP BY sid ORDER BY sid;

-- bytes that went bad where they were stored: a function smuggles them past the checks of the input
CREATE FUNCTION pg_temp.smuggle(bytea, bytea) RETURNS prom.chunk
LANGUAGE internal IMMUTABLE STRICT AS 'byteacat';
CREATE FUNCTION pg_temp.read(c prom.chunk) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN 'read: ' || (SELECT count(*) FROM prom.samples(c)) || ' samples';
EXCEPTION WHEN data_corrupted THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN format('%s %s: %s', SQLSTATE, SQLERRM, detail);
END $$;
SELECT pg_temp.read(pg_temp.smuggle('\xc1', '\x04'));
SELECT pg_temp.read(pg_temp.smuggle('\xc2', '\x00'));
SELECT pg_temp.read(pg_temp.smuggle(set_byte(c, length(c) - 20, 1 + get_byte(c, length(c) - 20)), '')) FROM victim WHERE style = 'cold';
SELECT style, bool_and(pg_temp.read(pg_temp.smuggle(set_bit(c, b, 1 - get_bit(c, b)), '')) IS NOT NULL) AS survived
  FROM (TABLE victim UNION ALL
        SELECT 'plain', substr(prom.chunk_merge(prom.chunk_build(0::int2, s, '{1,2}', '{1,2}'), 0, 'plain')::text, 1)::bytea
          FROM generate_series(1, 3) s) v, LATERAL generate_series(0, 8 * length(c) - 1) b
 GROUP BY style ORDER BY style;

-- What needs no bucket: directories of objects, packed bytes, what is refused, what is marked while samples are in a bucket.
\set VERBOSITY terse
SET timezone = 'UTC';
CREATE TEMP TABLE chunks AS
	SELECT n, prom.chunk_build(0::int2, sid, ARRAY[n * 1000, n * 1000 + 500]::int8[], ARRAY[n, sid]::float8[], 'cold') AS data, sid >> 6 AS block
	FROM (VALUES (1, 64), (2, 127), (3, 130)) v (n, sid);

-- a directory says of each chunk where it is and what it holds
CREATE TEMP TABLE d AS SELECT prom._tier_directory_of(array_agg(data ORDER BY n), array_agg(block ORDER BY n), array_agg(0 ORDER BY n)) AS directory FROM chunks;
SELECT e.block, e.part, e.t_min, e.t_max, e.samples, to_hex(e.series) AS series, e."offset" = 8 + sum(e.length) OVER (ORDER BY e."offset") - e.length AS follows, e.length > 0 AS long
FROM d, prom._tier_entries(d.directory) e;
SELECT count(*) FROM prom._tier_entries(prom._tier_directory_of('{}', '{}', '{}'));
SELECT prom._tier_directory_of(ARRAY[(SELECT data FROM chunks LIMIT 1)], '{1,2}', '{0}');

-- what is none is refused
SELECT count(*) FROM prom._tier_entries('');
SELECT count(*) FROM prom._tier_entries('\x00112233445566778899');
SELECT count(*) FROM d, prom._tier_entries(substr(d.directory, 1, length(d.directory) - 3));
SELECT count(*) FROM prom._tier_entries(prom._tier_pack('\x0201'));
SELECT count(*) FROM prom._tier_entries(prom._tier_pack('\x01ffffffff0f'));
SELECT count(*) FROM prom._tier_entries(prom._tier_pack('\x0100'));

-- packed bytes
SELECT (SELECT array_agg(CASE WHEN length(l) < 10 THEN l ELSE length(l)::text END) FROM prom._tier_lines(prom._tier_pack(convert_to(t, 'UTF8'))) l)
FROM (VALUES (''), ('a'), (E'a\n'), (E'\n\nc\n\nb'), (repeat('labels ', 10000) || E'\nc')) v (t);
SELECT prom._tier_lines('\x');
SELECT prom._tier_lines(prom._tier_pack('\x610a8062'));
SELECT prom._tier_lines(prom._tier_pack('\x610062'));
SELECT prom._tier_lines(set_byte(p, length(p) - 1, 255 - get_byte(p, length(p) - 1))) FROM prom._tier_pack('samples') p;
-- Nothing is asked of a bucket for keys and sizes that cannot be.
CREATE SERVER nowhere FOREIGN DATA WRAPPER promgres_s3 OPTIONS (endpoint 'http://127.0.0.1:9', bucket 'b');
CREATE USER MAPPING FOR CURRENT_USER SERVER nowhere OPTIONS (access_key_id 'AK', secret_access_key 'SK');
SELECT * FROM prom._tier_get_many('nowhere', '{}', '{}');
SELECT * FROM prom._tier_get_many('nowhere', '{a,b}', '{1}');
SELECT * FROM prom._tier_get_many('nowhere', '{a,b}', '{1,0}');
SELECT * FROM prom._tier_get_many('nowhere', '{a,NULL}', '{1,1}');
SELECT * FROM prom._tier_get_many('nowhere', '{a}', '{1073741824}');
SELECT * FROM prom._tier_directories('nowhere', '{a}', '{NULL}', '{55}', '{1}');
SELECT * FROM prom._tier_directories('nowhere', '{a}', '{NULL}', '{56}', '{}');
DROP SERVER nowhere CASCADE;

-- without a bucket there is nothing to do, and by hand an error
CALL prom.tier();
CALL prom.tier('2023-01-01', '2023-01-02');
CALL prom.tier('2023-01-01');
CALL prom.tier('2023-01-02', '2023-01-01');
CALL prom.rehydrate('2023-01-02', '2023-01-01');
CALL prom.rehydrate(NULL, NULL);
CALL prom.rehydrate('2023-01-01', '2023-01-02');
SELECT prom.verify_bucket();
SELECT prom.attach_bucket('no_such_server');
SELECT prom.detach_bucket('no_such_server');
SELECT * FROM prom.verify_bucket('no_such_server');
DELETE FROM prom.tier_hold;

-- when the server goes that an object is found by, that is told, and what to do
\set VERBOSITY default
SELECT * FROM prom.bucket_check('no_such_server');
BEGIN;
CREATE SERVER regress_b FOREIGN DATA WRAPPER promgres_s3 OPTIONS (endpoint 'http://127.0.0.1:1', bucket 'b');
CREATE SERVER regress_c FOREIGN DATA WRAPPER promgres_s3;
INSERT INTO prom.tier_upload (server, key, cluster, resolution, shard, day, seq) VALUES ('regress_b', 'p/data-0', gen_random_uuid(), 0, 0, 0, 1);
DROP SERVER regress_c;
ALTER SERVER regress_b RENAME TO regress_d;
ALTER SERVER regress_d RENAME TO regress_b;
DROP SERVER regress_b CASCADE;
CREATE SERVER regress_b FOREIGN DATA WRAPPER promgres_s3;
DELETE FROM prom.tier_upload WHERE server = 'regress_b';
DROP SERVER regress_b;
ROLLBACK;
\set VERBOSITY terse

-- series of objects are not collected, and samples in them not deleted
BEGIN;
SELECT shard, sid >> 6 AS block, sid & 63 AS bit FROM prom.series_id('{__name__="in_bucket"}') \gset
INSERT INTO prom.tier_object (server, key, cluster, resolution, shard, day, seq, t_min, t_max, block_min, block_max, chunks, samples, series, bytes, etag, sha256, directory)
	SELECT 'b', 'p/data-0', gen_random_uuid(), 0, :shard, 0, 1, 1000, 2000, :block, :block, 1, 2, 1, 100, '"x"', '',
		prom._tier_directory_of(ARRAY[prom.chunk_build(0::int2, :block * 64 + :bit, '{1000,2000}', '{1,2}', 'cold')], ARRAY[:block], '{0}');
SELECT prom._tier_add_series(array_agg(o.id)) FROM prom.tier_object o;
SELECT prom._empty_series(:shard::int2, ARRAY[:block * 64 + :bit]) AS collected;
SELECT prom._tier_has(:shard::int2, 0, :block), prom._tier_has(:shard::int2, -86400000, :block), prom._tier_has(:shard::int2, 86400000, :block), prom._tier_has(:shard::int2, 0, :block + 1);
SAVEPOINT s;
SELECT prom.delete_series('in_bucket', '1970-01-01 00:00:02') AS the_second;
SELECT o.holes = ARRAY[:block, 1::int8 << :bit, 2000, 9223372036854775807] AS hole, o.deleted IS NULL AS in_use, e.series = 1::int8 << :bit AS some_left
	FROM prom.tier_object o, prom._tier_entries(o.directory, o.holes, o.resolution) e;
SELECT prom.delete_series('in_bucket') AS the_rest;
SELECT cardinality(holes) / 4 AS holes, deleted IS NOT NULL AS over FROM prom.tier_object;
SELECT count(*) FROM prom.series WHERE shard = :shard AND sid = :block * 64 + :bit;
ROLLBACK TO s;
UPDATE prom.tier_object SET read_only = true;
SELECT prom.delete_series('in_bucket');
ROLLBACK TO s;
SELECT prom.delete_series('in_bucket', '1970-01-01 00:00:03') AS not_there;
UPDATE prom.tier_object SET gone = ARRAY[:block];
SELECT prom._tier_has(:shard::int2, 0, :block) AS brought_back;
SELECT prom._tier_forget_series();
SELECT prom.delete_series('in_bucket') AS deleted;
ROLLBACK;

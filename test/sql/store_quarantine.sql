-- prom.quarantine: damaged rows are set aside, and everything else goes on.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set block_lib :srcdir '/lib/block.sql'
\set ECHO none
\i :lib
\i :block_lib
\set ECHO all
SET client_min_messages = warning;
\set VERBOSITY terse
SET timezone = 'UTC';

-- Any bytes as a chunk: what no input function lets in.
CREATE FUNCTION pg_temp.raw(bytea, bytea) RETURNS prom.chunk LANGUAGE internal IMMUTABLE STRICT AS 'byteacat';
CREATE FUNCTION pg_temp.bytes(prom.chunk) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT prom._chunk_send($1) $$;
CREATE FUNCTION pg_temp.write(name text, t_ms int8, value float8) RETURNS void LANGUAGE sql AS
$$ SELECT 1 FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series(ARRAY['__name__', name], ARRAY[t_ms], ARRAY[value]))]) $$;
CREATE FUNCTION pg_temp.told(name text) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(t_ms || '=' || value, ' ' ORDER BY t_ms) FROM prom.samples_of(name) $$;
-- A row is known by its only sample's time.
CREATE FUNCTION pg_temp.damage(t int8, data bytea) RETURNS void LANGUAGE sql AS $$
	UPDATE prom.fresh f SET data = pg_temp.raw($2, '') WHERE f.t_min = t;
	UPDATE prom.warm w SET data = pg_temp.raw($2, '') WHERE w.t_min = t;
$$;
CREATE TEMP VIEW aside AS
	SELECT source, t_min, samples, gen, data IS NOT NULL AS bytes, sqlstate, regexp_replace(reason, '[0-9]+', 'N', 'g') AS reason FROM prom.quarantine ORDER BY t_min, id;

-- cut off, of another version, nothing at all: in fresh rows.  A query tells what to do; the merge does it.
CALL pg_temp.own_block('q', 'w', 'other', 'z', 'full');
SELECT pg_temp.write('q', t, t) FROM generate_series(1, 5) t;
SELECT pg_temp.damage(2, substr(pg_temp.bytes(data), 1, length(pg_temp.bytes(data)) - 1)) FROM prom.fresh WHERE t_min = 2;
SELECT pg_temp.damage(3, '\xc7010203');
SELECT pg_temp.damage(4, '');
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT pg_temp.told('q');
\set SHOW_CONTEXT errors
\set VERBOSITY terse
SELECT prom._merge_step(0::int2, 1000);
SELECT pg_temp.told('q'), (SELECT count(*) FROM prom.fresh) AS fresh;
TABLE aside;
SELECT quarantine_rows, fresh_rows FROM prom.stat_merge;
SELECT prom._merge_step(0::int2, 1000);
DELETE FROM prom.quarantine;

-- what the row does not say: shard, series, times
SELECT pg_temp.write('q', t, t) FROM generate_series(11, 16) t;
UPDATE prom.fresh SET data = prom.chunk_build(3::int2, sid_min, '{11}', '{1}') WHERE t_min = 11;
UPDATE prom.fresh SET data = prom.chunk_build(0::int2, sid_min + 1000000, '{12}', '{1}') WHERE t_min = 12;
UPDATE prom.fresh SET data = prom.chunk_build(0::int2, sid_min, '{12,14}', '{1,1}') WHERE t_min = 13;
UPDATE prom.fresh SET data = prom.chunk_build(0::int2, sid_min, '{-5}', '{1}'), t_min = -5, t_max = -5 WHERE t_min = 14;
UPDATE prom.fresh SET data = prom.chunk_build(0::int2, sid_min, '{253402300800000}', '{1}'), t_max = 253402300800000 WHERE t_min = 15;
SELECT prom._merge_step(0::int2, 1000);
SELECT pg_temp.told('q');
TABLE aside;
DELETE FROM prom.quarantine;

-- warm rows: one that is in the way of the eighth, and one that nobody merges
DO $$ BEGIN
	FOR i IN 21..27 LOOP
		PERFORM pg_temp.write('w', i, i), pg_temp.write('other', i, i);
		PERFORM prom._merge_step(0::int2, 1000);
	END LOOP;
END $$;
CREATE TEMP TABLE was AS SELECT pg_temp.bytes(data) AS bytes FROM prom.warm WHERE t_min = 23 AND block = (SELECT sid >> 6 FROM prom.series_id('{__name__="w"}'));
SELECT pg_temp.damage(23, substr(bytes, 1, length(bytes) - 2) || '\xffff') FROM was;
SELECT pg_temp.write('w', 28, 28), pg_temp.write('other', 28, 28);
SELECT prom._merge_step(0::int2, 1000);
SELECT pg_temp.told('w'), pg_temp.told('other');
SELECT source, t_min, gen, sqlstate FROM aside;

-- mended, it comes back; where the same time was stored meanwhile, that counts
SELECT prom.quarantine_retry();
SELECT pg_temp.write('w', 23, -23);
UPDATE prom.quarantine q SET data = bytes FROM was WHERE q.sid_min >> 6 = (SELECT sid >> 6 FROM prom.series_id('{__name__="w"}'));
SELECT prom.quarantine_retry(-1), prom.quarantine_retry((SELECT max(id) FROM prom.quarantine WHERE data = (SELECT bytes FROM was)));
SELECT pg_temp.told('w'), (SELECT count(*) FROM prom.quarantine) AS left;
CALL prom.merge();
SELECT pg_temp.told('w');
SELECT pg_temp.write('w', 30, i) FROM generate_series(1, 9) i;
SELECT prom.quarantine_damaged();
DELETE FROM prom.quarantine;

-- nothing comes back of a series that was deleted
SELECT pg_temp.write('w', 31, 31), pg_temp.write('z', 31, 31);
CREATE TEMP TABLE both_rows AS SELECT pg_temp.bytes(data) AS bytes, t_min FROM prom.fresh WHERE t_min = 31;
SELECT pg_temp.damage(31, '\xc1');
SELECT prom.quarantine_damaged('1970-01-01', '1970-01-01 00:00:00.03'), prom.quarantine_damaged('1970-01-01 00:00:00.031', '1970-01-01 00:00:00.031');
SELECT prom.delete_series('z');
UPDATE prom.quarantine q SET data = b.bytes FROM both_rows b WHERE q.sid_min = (SELECT min(u) FROM unnest(prom._sids(pg_temp.raw(b.bytes, ''))) u);
SELECT prom.quarantine_retry();
SELECT pg_temp.told('w'), pg_temp.told('z');
SELECT count(*) FROM prom.warm w, unnest(prom._sids(w.data)) u WHERE NOT EXISTS (SELECT FROM prom.series s WHERE s.sid = u);

-- a full row, which no merge reads
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,full}',
	(SELECT array_agg(i * 1000 ORDER BY i) FROM generate_series(1, 2000) i), (SELECT array_agg(sqrt(i) ORDER BY i) FROM generate_series(1, 2000) i)))]);
CALL prom.merge();
UPDATE prom.warm SET data = pg_temp.raw(substr(pg_temp.bytes(data), 1, 1000), '') WHERE gen = 127 AND t_min = 1000;
SELECT count(*) FROM prom.samples_of('full');
SELECT pg_temp.write('full', 1, 1);
CALL prom.merge();
SELECT prom.quarantine_damaged();
SELECT count(*) FROM prom.samples_of('full');

-- late rows, and the days after them
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,late}',
	(SELECT array_agg(d * 86400000 ORDER BY d) FROM generate_series(2000, 2099::int8) d), (SELECT array_agg(d ORDER BY d) FROM generate_series(2000, 2099::int8) d)))]);
SELECT prom._merge_step(0::int2, 1000);
SELECT count(*) FILTER (WHERE day IS NOT NULL) AS late, count(*) FROM prom.fresh;
SELECT pg_temp.damage(2001 * 86400000::int8, '\x00');
SELECT prom._merge_step(0::int2, 1000);
SELECT count(*) FROM prom.samples_of('late');

-- what is no damage stays an error
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT prom.quarantine_damaged();
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT prom.quarantine_retry();
ROLLBACK;
SELECT pg_temp.write('q', 99, 99);
BEGIN;
ALTER TABLE prom.warm ADD CHECK (t_min <> 99);
SELECT prom._merge_step(0::int2, 1000);
ROLLBACK;
SELECT coalesce(errors > 0 AND last_error ~ 'check constraint', since IS NULL) AS told FROM prom.stat_merge;
CALL prom.merge();
SELECT pg_temp.told('q');

DELETE FROM prom.quarantine;
SELECT prom.delete_series('{__name__=~".+"}') > 0 AS deleted;
DO $$ DECLARE r regclass; BEGIN
	FOR r IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'prom.warm'::regclass AND inhrelid::regclass::text ~ 'warm_197[5-7]' LOOP
		EXECUTE format('DROP TABLE %s', r);
	END LOOP;
END $$;
SELECT (SELECT count(*) FROM prom.series) AS series, (SELECT count(*) FROM prom.fresh) AS fresh, (SELECT count(*) FROM prom.warm) AS warm;

-- What it takes to remove series: psql -X -v series=100000 -f contrib/bench/remove.sql, as a superuser, in a database of
-- its own without prom tables that hold anything, of a server that merges another one.
--
-- 1. prom.delete_series of all of them, and before that of each tenth, without statistics (the tables have never been analyzed);
-- 2. prom.collect_series where a bucket holds samples of all of them and nothing is here;
-- 3. the same where half of them are in no bucket, and go.
\set ON_ERROR_STOP 1
SET client_min_messages = warning;
SET synchronous_commit = off;
SELECT count(*) > 0 AS used FROM prom.series \gset
\if :used
\echo prom.series is not empty
\quit
\endif
ALTER TABLE prom.series SET (autovacuum_enabled = off);
ALTER TABLE prom.label_value SET (autovacuum_enabled = off);
ALTER TABLE prom.metric SET (autovacuum_enabled = off);

CREATE TEMP TABLE n AS SELECT :series AS series;
CREATE PROCEDURE pg_temp.make() LANGUAGE plpgsql AS $$
DECLARE
	many	int4 := (SELECT series FROM n);
BEGIN
	FOR low IN 0 .. many - 1 BY 2000 LOOP
		PERFORM prom.series_id(prom.labels(jsonb_build_object('__name__', 'm' || i / 1000 || '_total', 'instance', 'i' || i % 1000,
			'pod', 'p' || i, 'job', 'j' || i % 10))) FROM generate_series(low, least(low + 2000, many) - 1) i;
		COMMIT;
	END LOOP;
END $$;
CREATE PROCEDURE pg_temp.make_samples() LANGUAGE sql AS $$
	SELECT prom._make_day(1700006400000);
	INSERT INTO prom.warm (shard, block, t_min, seq, t_max, gen, samples, data)
	SELECT s.shard, s.sid >> 6, 1700006400000, nextval('prom.store_seq'), 1700006520000, 127, count(*) * 8,
		prom.chunk_merge(prom.chunk_build(s.shard, s.sid, ARRAY(SELECT 1700006400000 + i * 15000 FROM generate_series(0, 7) i),
			ARRAY(SELECT i::float8 FROM generate_series(0, 7) i), 'warm'), 1)
	FROM prom.series s GROUP BY 1, 2;
$$;

CALL pg_temp.make();
CALL pg_temp.make_samples();
\timing on
SELECT prom.delete_series('{pod=~".*7"}') AS "deleted, each tenth";
SELECT prom.delete_series('{__name__=~".+"}') AS "deleted, the others";
\timing off

CALL pg_temp.make();
INSERT INTO prom.tier_series SELECT shard, sid >> 6, bit_or(1::int8 << (sid & 63)) FROM prom.series GROUP BY 1, 2;
\timing on
CALL prom.collect_series('0');
\timing off
SELECT count(*) AS "left, all in a bucket" FROM prom.series;
UPDATE prom.tier_series SET series = x'5555555555555555'::int8;
\timing on
CALL prom.collect_series('0');
\timing off
SELECT count(*) AS "left, half in a bucket" FROM prom.series;

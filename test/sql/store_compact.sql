-- Compaction: a day that is over gets as few rows as possible, and says the same as before.
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
CREATE PROCEDURE pg_temp.rounds(name text, first int, last int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN first..last LOOP
		PERFORM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(
			pg_temp.series(ARRAY['__name__', name, 'n', n::text], ARRAY[i * 1000 + n], ARRAY[i * 1.5 + n])))
			FROM generate_series(1, 5) n)]);
		PERFORM prom._merge_step(0::int2, 1000);
	END LOOP;
END $$;
CREATE TEMP VIEW blocks AS
	SELECT m.name, w.gen, count(*) AS rows, sum(w.samples) AS samples FROM prom.warm w
	JOIN metric_block m USING (shard, block) WHERE m.name IN ('a', 'b', 'big', 'c', 'h') GROUP BY 1, 2 ORDER BY 1, 2;
-- of other tests
DELETE FROM prom.compaction;
CREATE TEMP VIEW marks AS SELECT shard, day, next_block, again FROM prom.compaction ORDER BY 1, 2;

-- small rows become one, with the same samples; whoever writes rows of the day leaves a mark
CALL pg_temp.own_block('a', 'b', 'c', 'big', 'h');
CALL pg_temp.rounds('a', 1, 100);
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,c,n,9}',
	(SELECT array_agg(i * 1000 ORDER BY i) FROM generate_series(1, 500) i), (SELECT array_agg(sqrt(i) ORDER BY i) FROM generate_series(1, 500) i)))]);
CALL prom.merge();
CALL pg_temp.rounds('b', 1, 3);
TABLE blocks;
TABLE marks;
CREATE TEMP TABLE before AS SELECT labels::text, t_ms, value FROM prom.samples_of('{__name__=~"a|b"}');
CALL prom.compact('1970-01-01');
TABLE blocks;
TABLE marks;
SELECT count(*) FROM before NATURAL FULL JOIN (SELECT true AS x, labels::text, t_ms, value FROM prom.samples_of('{__name__=~"a|b"}')) AS after WHERE x IS NOT TRUE;
SELECT count(*) FROM before;

-- a step only takes what is worth it: a late row of "c" stays, for "b" the same is an eighth
SELECT prom._compact_end(0);
TABLE marks;
CALL pg_temp.rounds('c', 3, 3);
CALL pg_temp.rounds('b', 4, 5);
TABLE marks;
SELECT prom._compact_step(0::int2, 0, false);
TABLE blocks;
TABLE marks;
-- by hand all of it
CALL prom.compact('1970-01-01');
TABLE blocks;

-- what is written after the pass began is for the next one
CALL pg_temp.rounds('b', 6, 6);
TABLE marks;
SELECT prom._compact_end(0);
TABLE marks;
-- nothing to do without a mark
DELETE FROM prom.compaction;
SELECT prom._compact_step(0::int2, 0, true);

-- the later commit wins: among small, full, compacted and late rows
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,a,n,1}', '{1001,2001}', '{-1,-1}'))]);
CALL prom.merge();
CALL prom.compact('1970-01-01');
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,a,n,1}', '{2001,3001}', '{-2,-2}'))]);
CALL prom.merge();
SELECT t_ms, value FROM prom.samples_of('a{n="1"}') WHERE t_ms < 5000 ORDER BY 1;
CALL prom.compact('1970-01-01');
SELECT t_ms, value FROM prom.samples_of('a{n="1"}') WHERE t_ms < 5000 ORDER BY 1;
TABLE blocks;

-- full rows are taken in as well, and rows cut at slices of the day, not series by series
SELECT samples FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(ARRAY['__name__', 'big', 'n', n::text],
		(SELECT array_agg(i * 5000 ORDER BY i) FROM generate_series(1, 17000) i),
		(SELECT array_agg(CASE WHEN n = 1 THEN sqrt(i) ELSE n END ORDER BY i) FROM generate_series(1, 17000) i))))
	FROM generate_series(1, 20) n)]);
CALL prom.merge();
SELECT gen, count(*) > 20 AS many, sum(samples) FROM prom.warm WHERE block = (SELECT sid >> 6 FROM prom.series_id('{__name__="big", n="1"}')) GROUP BY 1 ORDER BY 1;
CALL prom.compact('1970-01-01');
SELECT gen, count(*), sum(samples), min(t_max - t_min) > 6000000 AS long, max(t_max - t_min) < 30000000 AS cut
FROM prom.warm WHERE block = (SELECT sid >> 6 FROM prom.series_id('{__name__="big", n="1"}')) GROUP BY 1;
SELECT count(*), count(*) FILTER (WHERE value = CASE WHEN labels::jsonb->>'n' = '1' THEN sqrt(t_ms / 5000) ELSE (labels::jsonb->>'n')::int END) AS right_values
FROM prom.samples_of('big');

-- histograms
SELECT samples, histograms FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,h}',
	pg_temp.histogram(1000, 15, 18.4, '{0,2,1,2}', '{1,2,3,4}', schema => 1, zero => 2, width => 0.001, n_spans => '{-3,1,0,1}', n_counts => '{1,2}'))),
	pg_temp.body(pg_temp.series('{__name__,h}', '{1500}', '{7}'))]);
CALL prom.merge();
CREATE TEMP TABLE h AS SELECT t_ms, value, histogram::text FROM prom.samples_of('h');
CALL prom.compact('1970-01-01');
SELECT h.t_ms, n.value, n.histogram::text = h.histogram AS same FROM h JOIN prom.samples_of('h') n USING (t_ms) ORDER BY 1;

-- a damaged row is set aside, and the rest goes on; one that comes back is older than all
CREATE FUNCTION pg_temp.raw(bytea, bytea) RETURNS prom.chunk LANGUAGE internal IMMUTABLE STRICT AS 'byteacat';
CREATE TEMP TABLE kept AS SELECT prom._chunk_send(data) AS data FROM prom.warm WHERE block = (SELECT block FROM metric_block WHERE name = 'b');
UPDATE prom.warm SET data = pg_temp.raw(set_byte(k.data, length(k.data) - 9, get_byte(k.data, length(k.data) - 9) # 16), '') FROM kept k
WHERE block = (SELECT block FROM metric_block WHERE name = 'b');
SELECT count(*) FROM prom.samples_of('b');
CALL pg_temp.rounds('b', 6, 7);
CALL prom.compact('1970-01-01');
TABLE blocks;
SELECT source, gen, sqlstate, reason FROM prom.quarantine;
UPDATE prom.quarantine q SET data = k.data FROM kept k;
SELECT prom.quarantine_retry();
SELECT sign(seq), gen FROM prom.warm WHERE block = (SELECT block FROM metric_block WHERE name = 'b') ORDER BY seq;
CALL prom.compact('1970-01-01');
SELECT gen, samples FROM prom.warm WHERE block = (SELECT block FROM metric_block WHERE name = 'b');
SELECT count(*), count(*) FILTER (WHERE value = (t_ms / 1000) * 1.5 + t_ms % 1000) AS right_values FROM prom.samples_of('b');

-- which day is due: over, long enough, and none of it fresh
UPDATE prom.compaction SET next_block = 0, again = false;
SELECT prom._compact_next(3600);
SELECT work, part FROM prom._compact_next(0);
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,a,n,1}', '{1}', '{1}'))]);
SELECT work, part FROM prom._compact_next(0);
CALL prom.merge();
UPDATE prom.compaction SET next_block = 1, since = 'infinity';
SELECT work, part FROM prom._compact_next(3600);
UPDATE prom.compaction SET next_block = NULL;
SELECT work, part FROM prom._compact_next(3600);
UPDATE prom.compaction SET seq = 1000000000;
SELECT prom._compact_next(0);

-- refusals
CALL prom.compact(NULL);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT prom._compact_step(0::int2, 0, true);
ROLLBACK;
SET ROLE pg_monitor;
CALL prom.compact('1970-01-01');
RESET ROLE;

SELECT prom.delete_series('{__name__=~"a|b|c|h|big"}');
DELETE FROM prom.compaction;

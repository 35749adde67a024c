-- Find or create, and removal.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET search_path = prom, public;
TRUNCATE prom.series, prom.shard, prom.metric, prom.label_value;

SELECT * FROM prom.series_id('up{job="a"}');
SELECT * FROM prom.series_id('{job="a", __name__="up"}');
SELECT * FROM prom.series_id('up{job="b"}');
SELECT * FROM prom.series_id('{job="b"}');
SELECT * FROM prom.series_id('{}');
SELECT s.shard, s.sid, s.labels FROM prom.series s ORDER BY 1, 2;
SELECT shard, name, value FROM prom.label_value ORDER BY name, value;

-- Metrics of few series share a block, in pieces three times as long as what a metric has; one of many gets blocks of its own.
CREATE VIEW pieces AS SELECT labels ->> '__name__' AS metric, sid / 64 AS block, count(*), min(sid % 64), max(sid % 64)
FROM prom.series GROUP BY 1, 2;
SELECT count(prom.series_id(jsonb_build_object('__name__', 'm' || i % 2, 'i', i::text)::prom.labels)) FROM generate_series(1, 300) i;
SELECT * FROM pieces WHERE metric ~ '^m' ORDER BY block, metric;
SELECT name, next_sid, end_sid, series FROM prom.metric ORDER BY name;
SELECT next_block, next_sid FROM prom.shard;

-- Made together they get pieces together, whatever their order; what one takes of the open block ends with it.
SELECT samples FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(ARRAY['__name__', name, 'i', i::text], '{1}', '{1}') ORDER BY i, name))
	FROM (VALUES ('n1', 1), ('n2', 40), ('n3', 30), ('n4', 70), ('n5', 64)) n(name, series), generate_series(1, series) i)]);
SELECT * FROM pieces WHERE metric ~ '^n' ORDER BY block, metric;
DROP VIEW pieces;
DELETE FROM prom.fresh;

-- what a transaction or a subtransaction made and rolled back is unknown afterwards
BEGIN;
SELECT * FROM prom.series_id('gone{i="1"}');
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT * FROM prom.series_id('gone{i="2"}');
ROLLBACK TO a;
SELECT * FROM prom.series_id('gone{i="3"}');
COMMIT;
SELECT count(*) FROM prom.series WHERE labels ->> '__name__' = 'gone';
SELECT * FROM prom.series_id('gone{i="1"}');
SELECT * FROM prom.series_id('gone{i="2"}');
SELECT labels FROM prom.series WHERE labels ->> '__name__' = 'gone' ORDER BY sid;

-- values that are too long for an index key; names that are
SET promgres.max_label_value_length = 0;
SELECT * FROM prom.series_id(jsonb_build_object('__name__', 'long', 'v', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) i))::prom.labels);
SELECT * FROM prom.series_id(jsonb_build_object('__name__', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) i))::prom.labels);
SELECT name, length(value) FROM prom.label_value WHERE length(value) > 1000 ORDER BY name;
SELECT max(length(name)) FROM prom.metric;

-- two label sets with one hash of four bytes are two series
SELECT prom.labels_hash4('c{i="241096"}') = prom.labels_hash4('c{i="279184"}') AS same_hash;
SELECT * FROM prom.series_id('c{i="241096"}');
SELECT * FROM prom.series_id('c{i="279184"}');
SELECT * FROM prom.series_id('c{i="241096"}');

-- removal: labels go with the last series that has them, ids are not given out again
SELECT prom._remove_series('{0,0,0}', '{0,1,123456}');
SELECT name, value FROM prom.label_value WHERE name = 'job' OR value = 'up' ORDER BY name, value;
SELECT prom._remove_series('{0}', ARRAY[(prom.series_id('{job="b"}')).sid]);
SELECT name, value FROM prom.label_value WHERE name = 'job' ORDER BY name, value;
SELECT prom._remove_series('{0}', '{0}'), prom._remove_series('{}', '{}');
SELECT * FROM prom.series_id('up{job="a"}');

-- a removal that is rolled back leaves the old ids valid
BEGIN;
SELECT prom._remove_series('{0}', ARRAY[(prom.series_id('up{job="a"}')).sid]);
SELECT * FROM prom.series_id('up{job="a"}');
ROLLBACK;
SELECT * FROM prom.series_id('up{job="a"}');
BEGIN;
SELECT * FROM prom.series_id('up{job="new"}');
SELECT prom._remove_series('{0}', ARRAY[(prom.series_id('up{job="new"}')).sid]);
COMMIT;
SELECT * FROM prom.series_id('up{job="new"}');
TRUNCATE prom.series;
SELECT * FROM prom.series_id('up{job="a"}');
VACUUM ANALYZE prom.series;
SELECT * FROM prom.series_id('up{job="a"}');

-- nothing is made where nothing may be written
BEGIN READ ONLY;
SELECT * FROM prom.series_id('up{job="readonly"}');
ROLLBACK;
-- the same under an old snapshot
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM prom.series_id('up{job="a"}');
SELECT * FROM prom.series_id('up{job="rr"}');
COMMIT;
SELECT prom.series_id(NULL);

-- the last id
UPDATE prom.shard SET next_block = 33554431, next_sid = 0;
SELECT * FROM prom.series_id('full');

-- the extension is made again in the same session
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION promgres CASCADE;
CREATE EXTENSION promgres;
SELECT * FROM prom.series_id('up{job="other"}');
SELECT * FROM prom.series_id('up{job="a"}');
SELECT count(*) FROM prom.series;
ROLLBACK;
SELECT * FROM prom.series_id('up{job="a"}');
SELECT count(*) FROM prom.series;

TRUNCATE prom.series, prom.shard, prom.metric, prom.label_value;

-- Many that are made one by one in a transaction: the next one looks at no more pages than the first ones.
CREATE FUNCTION pages_of_one_more(name text) RETURNS int8 LANGUAGE plpgsql AS $$
DECLARE
	plan	json;
BEGIN
	EXECUTE format('EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT prom.series_id(%L)', format('{__name__="one_by_one",i="%s"}', name)) INTO plan;
	RETURN (plan->0->'Plan'->>'Shared Hit Blocks')::int8 + (plan->0->'Plan'->>'Shared Read Blocks')::int8;
END
$$;
BEGIN;
SELECT count(prom.series_id(prom.labels(jsonb_build_object('__name__', 'one_by_one', 'i', i::text)))) FROM generate_series(1, 100) i;
SELECT pages_of_one_more('a') AS before \gset
SELECT count(prom.series_id(prom.labels(jsonb_build_object('__name__', 'one_by_one', 'i', i::text)))) FROM generate_series(101, 4000) i;
SELECT pages_of_one_more('b') < :before + 40 AS "about as many pages";
SELECT name, end_sid - next_sid AS left, series FROM prom.metric WHERE name = 'one_by_one';
SAVEPOINT s;
SELECT count(prom.series_id(prom.labels(jsonb_build_object('__name__', 'one_by_one', 'i', i::text)))) FROM generate_series(5001, 5100) i;
ROLLBACK TO s;
SELECT count(prom.series_id(prom.labels(jsonb_build_object('__name__', 'one_by_one', 'i', i::text)))) FROM generate_series(6001, 6010) i;
SELECT m.series, m.series = (SELECT count(*) FROM prom.series s WHERE s.labels['__name__'] = 'one_by_one') AS "counted",
	(SELECT sum(h.series) FROM prom.shard h) = (SELECT count(*) FROM prom.series) AS "and in all"
FROM prom.metric m WHERE m.name = 'one_by_one';
ROLLBACK;
SELECT count(prom.series_id('{__name__="one_by_one"}'));
SELECT series FROM prom.metric WHERE name = 'one_by_one';
DROP FUNCTION pages_of_one_more;
TRUNCATE prom.series, prom.shard, prom.metric, prom.label_value;

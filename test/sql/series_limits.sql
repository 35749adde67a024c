-- Limits on new series: what is refused names metric and setting, the rest is kept.
\set ON_ERROR_STOP on
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
\set ON_ERROR_STOP off
SET search_path = public, prom;
CREATE FUNCTION pg_temp.clear() RETURNS void LANGUAGE sql AS
$$ SELECT prom._remove_series(array_agg(shard), array_agg(sid)) FROM prom.series $$;
CREATE FUNCTION pg_temp.miscounted() RETURNS TABLE (shard int2, name text, said int8, there int8) LANGUAGE sql AS $$
	SELECT m.shard, m.name, m.series::int8, count(s.sid) FROM prom.metric m
	LEFT JOIN prom.series s ON s.shard = m.shard AND prom._metric_key(s.labels) = m.name GROUP BY 1, 2, 3 HAVING m.series <> count(s.sid)
	UNION ALL SELECT h.shard, 'all', h.series, count(s.sid) FROM prom.shard h LEFT JOIN prom.series s ON s.shard = h.shard GROUP BY 1, 3 HAVING h.series <> count(s.sid)
$$;
SELECT pg_temp.clear();
TRUNCATE prom.series, prom.shard, prom.metric, prom.label_value;

-- per metric: those that are there go on, so do other metrics and other bodies of the call
SET promgres.max_series_per_metric = 2;
SELECT * FROM prom.ingest(ARRAY[
	pg_temp.body(pg_temp.series('{__name__,many,i,1}', '{1000}', '{1}'), pg_temp.series('{__name__,many,i,2}', '{1000}', '{1}'),
		pg_temp.series('{__name__,many,i,3}', '{1000,2000,3000}', '{1,2,3}'), pg_temp.series('{__name__,few}', '{1000,2000}', '{1,2}')),
	pg_temp.body(pg_temp.series('{__name__,many,i,4}', '{1000}', '{1}'), pg_temp.series('{__name__,many,i,5}', '{1000}', '{1}')),
	pg_temp.body(pg_temp.series('{__name__,many,i,2}', '{2000}', '{2}'), pg_temp.series('{__name__,other}', '{1000}', '{1}'))]);
SELECT labels, t_ms, value FROM prom.samples_of('{__name__=~".+"}') ORDER BY 1, 2;
-- one refused series twice in a call; nothing but refused ones
SELECT * FROM prom.ingest(ARRAY[
	pg_temp.body(pg_temp.series('{__name__,many,i,3}', '{1000}', '{1}'), pg_temp.series('{__name__,many,i,3}', '{2000}', '{1}')),
	pg_temp.body(pg_temp.series('{__name__,many,i,3}', '{1000}', '{1}'))]);
SELECT * FROM prom.series_id('many{i="3"}');
SELECT * FROM prom.series_id('many{i="1"}');
-- a new metric whose series are all refused leaves no trace
SET promgres.max_series = 4;
SELECT * FROM prom.series_id('nothing{i="1"}');
SELECT name, series FROM prom.metric ORDER BY name;
SELECT * FROM pg_temp.miscounted();

-- in all; a series that goes makes room, one that is rolled back takes none
BEGIN;
SET LOCAL promgres.max_series = 5;
SELECT count(prom.series_id('late{i="1"}'));
ROLLBACK;
SELECT * FROM prom.ingest(ARRAY[
	pg_temp.body(pg_temp.series('{__name__,late}', '{1000}', '{1}'), pg_temp.series('{__name__,few}', '{3000}', '{3}'))]);
SELECT prom.delete_series('many{i="2"}');
SELECT name, series FROM prom.metric ORDER BY name;
SELECT * FROM prom.ingest(ARRAY[
	pg_temp.body(pg_temp.series('{__name__,late}', '{1000}', '{1}'), pg_temp.series('{__name__,later}', '{1000}', '{1}'))]);
SELECT * FROM pg_temp.miscounted();
SELECT prom.delete_series('late');
SELECT name, series FROM prom.metric ORDER BY name;
RESET promgres.max_series;
RESET promgres.max_series_per_metric;

-- labels; a series that was there before its limit stays
SELECT count(prom.series_id('before{path="/a/long/path", verylongname="x"}'));
SET promgres.max_labels_per_series = 3;
SET promgres.max_label_name_length = 9;
SET promgres.max_label_value_length = 10;
SELECT * FROM prom.ingest(ARRAY[
	pg_temp.body(pg_temp.series('{__name__,a,b,1,c,2,d,3}', '{1000}', '{1}'), pg_temp.series('{__name__,a,b,1,c,2}', '{1000}', '{1}')),
	pg_temp.body(pg_temp.series('{__name__,a,verylongname,1}', '{1000}', '{1}')),
	pg_temp.body(pg_temp.series('{__name__,a,path,/a/long/path}', '{1000}', '{1}')),
	pg_temp.body(pg_temp.series('{__name__,before,path,/a/long/path,verylongname,x}', '{1000}', '{1}'))]);
SELECT labels FROM prom.series WHERE labels->>'__name__' IN ('a', 'before') ORDER BY 1;
SELECT prom.series_id(jsonb_build_object('__name__', repeat('ž', 80))::prom.labels);
RESET promgres.max_labels_per_series;
RESET promgres.max_label_name_length;
RESET promgres.max_label_value_length;

-- samples of a body: it is refused whole, the others are not
SET promgres.max_samples_per_request = 3;
SELECT * FROM prom.ingest(ARRAY[
	pg_temp.body(pg_temp.series('{__name__,few}', '{4000,5000}', '{1,1}'), pg_temp.series('{__name__,new}', '{1000,2000}', '{1,1}')),
	pg_temp.body(pg_temp.series('{__name__,few}', '{6000,7000,8000}', '{1,1,1}'))]);
SELECT t_ms FROM prom.samples_of('few') ORDER BY 1;
RESET promgres.max_samples_per_request;

-- who may not administer the server may not lift them
CREATE ROLE regress_prom_sender;
SET ROLE regress_prom_sender;
SET promgres.max_series = 0;
RESET ROLE;
DROP ROLE regress_prom_sender;

-- what goes takes its metric along
SELECT prom.delete_series('{__name__=~".+"}');
SELECT * FROM prom.metric;
SELECT series FROM prom.shard;
TRUNCATE prom.series, prom.shard, prom.metric, prom.label_value;

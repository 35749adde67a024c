-- Exemplars: stored once, read under the row security of their series, gone with them or with age.
\set ON_ERROR_STOP on
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET client_min_messages = warning;
\set ON_ERROR_STOP off
SET timezone = 'UTC';

-- Exemplars of the last minutes, whatever the clock says.
CREATE TABLE clock AS SELECT (extract(epoch FROM now()) * 1000)::int8 AS now_ms;
CREATE FUNCTION pg_temp.ago(seconds int) RETURNS int8 LANGUAGE sql AS $$ SELECT now_ms - seconds * 1000 FROM clock $$;
CREATE FUNCTION pg_temp.bodies() RETURNS bytea[] LANGUAGE sql AS $$ SELECT ARRAY[
	-- with samples, and alone as Prometheus sends them
	pg_temp.body(pg_temp.series_of('{__name__,req,le,1}', pg_temp.sample(pg_temp.ago(60), float8send(5)), pg_temp.exemplar('{trace_id,abc}', 0.5, pg_temp.ago(61))),
		pg_temp.series_of('{__name__,req,le,2}', pg_temp.exemplar('{trace_id,def,span_id,ü}', 1.5, pg_temp.ago(50)), pg_temp.exemplar('{}', 'NaN', pg_temp.ago(40))),
		pg_temp.series_of('{__name__,hist}', pg_temp.histogram(pg_temp.ago(60), 1, 1, '{0,1}', '{1}'), pg_temp.exemplar('{trace_id,h}', 1, pg_temp.ago(60)))),
	-- too old, too far in the future, before 1970, too long, labels that are none; the sample is kept
	pg_temp.body(pg_temp.series_of('{__name__,req,le,3}', pg_temp.sample(pg_temp.ago(60), float8send(6)), pg_temp.exemplar('{trace_id,old}', 1, pg_temp.ago(86500)),
		pg_temp.exemplar('{trace_id,new}', 1, pg_temp.ago(-90000)), pg_temp.exemplar('{trace_id,neg}', 1, -5),
		pg_temp.exemplar(ARRAY['trace_id', repeat('ü', 121)], 1, pg_temp.ago(60)), pg_temp.exemplar('{a,1,a,2}', 1, pg_temp.ago(60)),
		pg_temp.exemplar(ARRAY['trace_id', repeat('ü', 120)], 2, pg_temp.ago(60))))] $$;
SELECT * FROM prom.ingest(pg_temp.bodies());
SELECT labels, exemplar, (extract(epoch FROM "time") * 1000)::int8 - now_ms AS ms, value FROM clock, prom.exemplars('{__name__=~"req|hist"}') ORDER BY 1, 3;
-- as /api/v1/query_exemplars answers
SELECT regexp_replace(a, '"timestamp":[0-9.]+', '"timestamp":T', 'g') AS api FROM prom._api_exemplars('sum(rate(req{le="1"}[5m])) / hist', 0, 9000000000000) a;
-- sent again: once
SELECT body, samples, exemplars, error FROM prom.ingest(pg_temp.bodies());
SELECT count(*) FROM prom.exemplar;
-- matchers, and both ends of the range
SELECT exemplar FROM clock, prom.exemplars('req{le=~"[12]"}', to_timestamp(pg_temp.ago(61) / 1000.0), to_timestamp(pg_temp.ago(50) / 1000.0)) ORDER BY 1;
SELECT prom.exemplars('rate(req[5m])');
-- malformed bytes
SELECT error FROM unnest(ARRAY[pg_temp.field(3, '\x10'), pg_temp.field(3, '\x1000'), pg_temp.field(3, '\x1900'), pg_temp.field(3, pg_temp.field(1, '\x0800'))]) part,
	prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,req}', part))]);

-- row security of prom.series holds
CREATE ROLE regress_prom_exemplar;
GRANT prom_reader TO regress_prom_exemplar;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON prom.series FOR SELECT TO regress_prom_exemplar USING (prom.label(labels, 'le') = '1');
SET ROLE regress_prom_exemplar;
SELECT labels, exemplar FROM prom.exemplars('{__name__=~".+"}');
RESET ROLE;
DROP POLICY visible ON prom.series;
ALTER TABLE prom.series DISABLE ROW LEVEL SECURITY;
REVOKE SELECT ON prom.series, prom.label_value, prom.exemplar FROM regress_prom_exemplar;
DROP ROLE regress_prom_exemplar;

-- deleted with their time and with their series
SELECT prom.delete_series('req{le="1"}', to_timestamp(pg_temp.ago(61) / 1000.0), to_timestamp(pg_temp.ago(60) / 1000.0) - interval '1 ms');
SELECT count(*) FROM prom.exemplars('req{le="1"}');
SELECT prom.delete_series('req{le="3"}', to_timestamp(pg_temp.ago(60) / 1000.0), to_timestamp(pg_temp.ago(60) / 1000.0));
SELECT prom.delete_series('req');
SELECT e.labels, e.value FROM prom.exemplar e;
-- with a series that is collected
SELECT exemplars FROM clock, prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,bare}', pg_temp.exemplar('{trace_id,x}', 1, pg_temp.ago(60))))]);
CALL prom.collect_series('0 s');
SELECT count(*) AS series FROM prom.series WHERE labels['__name__'] = 'bare';
SELECT count(*) AS exemplars FROM prom.exemplar e WHERE NOT EXISTS (SELECT FROM prom.series s WHERE s.shard = e.shard AND s.sid = e.sid);
-- and with age
INSERT INTO prom.exemplar SELECT 0, 1, pg_temp.ago(86410), 1, '{a="b"}';
SELECT prom._drop_exemplars(), count(*) FROM prom.exemplar;
SELECT count(*) FROM prom.exemplar;
SHOW promgres.exemplar_max_age;
DROP TABLE clock;

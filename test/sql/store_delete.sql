-- prom.delete_series: samples in a time range, and series that have none left.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET client_min_messages = warning;
SET timezone = 'UTC';

SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(
	pg_temp.series('{__name__,d,k,a}', '{1000,2000,3000}', '{1,2,3}'),
	pg_temp.series('{__name__,d,k,b}', '{1000,2000}', '{1,2}'),
	pg_temp.series('{__name__,e,k,a}', '{1000}', '{1}'))]);
CALL prom.merge();
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(
	pg_temp.series('{__name__,d,k,a}', '{4000}', '{4}'), pg_temp.series('{__name__,d,k,c}', '{2000}', '{2}'))]);

-- both bounds belong to the range; fresh and warm rows alike
SELECT prom.delete_series('d', to_timestamp(2), to_timestamp(3));
SELECT labels, t_ms, value FROM prom.samples_of('{k=~".+"}') ORDER BY 1, 2;
SELECT labels FROM prom.series ORDER BY 1;
SELECT name, value FROM prom.label_value ORDER BY 1, 2;

-- nothing there to delete
SELECT prom.delete_series('d', to_timestamp(2), to_timestamp(3)), prom.delete_series('nosuch');

-- a series that was removed comes back with a new id
SELECT sid AS old FROM prom.series_id('{__name__="e", k="a"}') \gset
SELECT prom.delete_series('e');
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,e,k,a}', '{5000}', '{5}'))]);
SELECT sid > :old AS new_id FROM prom.series_id('{__name__="e", k="a"}');
SELECT labels, t_ms, value FROM prom.samples_of('e');

-- what is refused
SELECT prom.delete_series('d', to_timestamp(3), to_timestamp(2));
SELECT prom.delete_series('{}');
SELECT prom.delete_series('sum(d)');
SELECT prom.delete_series('d[5m]');
SELECT prom.delete_series('d{k=~"("}');

BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT prom.delete_series('d');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT prom._remove_series('{0}', '{0}');
ROLLBACK;

-- made, deleted and forgotten in one transaction: the id is not used again
BEGIN;
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,gone}', '{1000}', '{1}'))]);
SELECT prom.delete_series('gone');
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,stays}', '{1000}', '{1}'))]);
COMMIT;
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,gone}', '{2000}', '{2}'))]);
SELECT labels, t_ms, value FROM prom.samples_of('{__name__=~"gone|stays"}') ORDER BY 1;
SELECT prom.delete_series('{__name__=~"gone|stays"}');

-- who sees some series only deletes none; the rights to the tables are not needed
BEGIN;
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(
	pg_temp.series('{__name__,mine,team,x}', '{1000,2000}', '{1,2}'), pg_temp.series('{__name__,hidden,team,x}', '{1000}', '{1}'))]);
CREATE ROLE regress_prom_team;
GRANT prom_admin TO regress_prom_team;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON prom.series TO regress_prom_team USING (prom.label(labels, '__name__') = 'mine');
SET ROLE regress_prom_team;
SAVEPOINT a;
SELECT prom.delete_series('mine', to_timestamp(2));
ROLLBACK TO a;
SELECT prom.delete_series('hidden');
ROLLBACK TO a;
RESET ROLE;
DROP POLICY team ON prom.series;
ALTER TABLE prom.series DISABLE ROW LEVEL SECURITY;
SET ROLE regress_prom_team;
SELECT prom.delete_series('mine', to_timestamp(2));
SELECT prom.delete_series('{__name__=~"mine|hidden"}');
RESET ROLE;
SELECT count(*) FROM prom.samples_of('{team=~"x|y.*"}');
ROLLBACK;

-- undone with its transaction
BEGIN;
SELECT prom.delete_series('{__name__=~".+"}');
ROLLBACK;
SELECT count(*) FROM prom.samples_of('{__name__=~".+"}');
SELECT prom.delete_series('{__name__=~".+"}');
SELECT (SELECT count(*) FROM prom.series) AS series, (SELECT count(*) FROM prom.fresh) AS fresh, (SELECT count(*) FROM prom.warm) AS warm;

-- An index that was left half made is removed, but not one that somebody else may be making.
BEGIN;
CREATE INDEX of_others ON prom.series (created);
CREATE INDEX series_hash_idx_ccnew1 ON prom.series (created);
UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('prom.of_others'::regclass, 'prom.series_hash_idx_ccnew1'::regclass);
SELECT prom._reindex('prom.series', false);
ROLLBACK;

-- A table whose room is not to be had is given up, and what was kept from writers is offered to them again.
CREATE TABLE loose (i int);
INSERT INTO loose SELECT generate_series(1, 20000);
DELETE FROM loose WHERE i > 226;
VACUUM (TRUNCATE off) loose;
INSERT INTO prom.slack (part, freed) VALUES ('loose', 1);
SELECT prom._slack_begin('loose');
UPDATE prom.slack SET last_toast = 0 WHERE part = 'loose'::regclass;
SELECT free > 300000 AS offered FROM prom._pages('loose');
SELECT prom._slack_hold('loose');
SELECT free > 300000 AS offered FROM prom._pages('loose');
UPDATE prom.slack SET tries = 10 WHERE part = 'loose'::regclass;
SELECT prom._slack_retry('loose');
SELECT free > 300000 AS offered, (SELECT count(*) FROM prom.slack WHERE part = 'loose'::regclass) AS marks FROM prom._pages('loose');
DROP TABLE loose;

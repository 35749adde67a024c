-- prom.ingest: what is stored, what is refused, and what a body is told.
\set ON_ERROR_STOP on
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET client_min_messages = warning;
\set ON_ERROR_STOP off
SET timezone = 'UTC';
SET search_path = public, prom;

-- two bodies, one call
SELECT * FROM prom.ingest(ARRAY[
	pg_temp.body(pg_temp.series('{__name__,up,job,a}', '{1000,2000}', '{1,0}'),
				 pg_temp.series('{__name__,up,job,b}', '{1000}', '{1}')),
	pg_temp.body(pg_temp.series('{__name__,up,job,a}', '{3000}', '{1}'))]);
SELECT labels, t_ms, value FROM prom.samples_of('up') ORDER BY 1, 2;

-- late and repeated samples: the later write counts, in one call and across calls and merges
SELECT * FROM prom.ingest(ARRAY[
	pg_temp.body(pg_temp.series('{__name__,up,job,a}', '{2000,500}', '{7,5}')),
	pg_temp.body(pg_temp.series('{__name__,up,job,a}', '{2000}', '{8}'))]);
SELECT t_ms, value FROM prom.samples_of('up{job="a"}') ORDER BY 1;
CALL prom.merge();
SELECT count(*) AS fresh FROM prom.fresh;
SELECT t_ms, value FROM prom.samples_of('up{job="a"}') ORDER BY 1;
SELECT * FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,up,job,a}', '{1000}', '{9}'))]);
SELECT t_ms, value FROM prom.samples_of('up{job="a"}') ORDER BY 1;
CALL prom.merge();
SELECT t_ms, value FROM prom.samples_of('up{job="a"}') ORDER BY 1;

-- every bit pattern survives, in fresh and warm rows
CREATE TEMP TABLE bits (t_ms int8, b bytea);
INSERT INTO bits VALUES (1, '\x7ff0000000000002'), (2, '\x7ff8000000000001'), (3, '\xfff8dead00000001'), (4, '\x7ff0000000000000'),
	(5, '\xfff0000000000000'), (6, '\x8000000000000000'), (7, '\x0000000000000001'), (8, '\x3fb999999999999a'), (9, '\x7fefffffffffffff');
SELECT b.* FROM (SELECT pg_temp.field(1, pg_temp.label('__name__', 'bits') || string_agg(pg_temp.sample(t_ms, b), '' ORDER BY t_ms)) AS s FROM bits) x,
	prom.ingest(ARRAY[pg_temp.body(x.s)]) b;
SELECT count(*) FROM bits JOIN prom.samples_of('bits') s USING (t_ms) WHERE float8send(s.value) = b;
CALL prom.merge();
SELECT count(*) FROM bits JOIN prom.samples_of('bits') s USING (t_ms) WHERE float8send(s.value) = b;

-- label names need no order; UTF-8 names and values
SELECT * FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{job,a,__name__,up}', '{4000}', '{4}'),
	pg_temp.series('{"my.métrica ✓",x,__name__,"žluťoučký kůň"}', '{1}', '{1}'))]);
SELECT count(*) FROM prom.series WHERE labels->>'__name__' = 'up';
SELECT labels, value FROM prom.samples_of('{"žluťoučký kůň", "my.métrica ✓"="x"}');

-- bad series and samples are refused, the rest of the body is kept
SELECT * FROM prom.ingest(ARRAY[
	pg_temp.body(pg_temp.series('{__name__,dup,a,1,a,2}', '{1000}', '{1}'), pg_temp.series('{__name__,kept}', '{1000}', '{1}')),
	pg_temp.body(pg_temp.series('{}', '{1000}', '{1}')),
	pg_temp.body(pg_temp.series('{job,x}', '{1000}', '{1}')),
	pg_temp.body(pg_temp.series('{__name__,kept}', '{-1,2000,99999999999999}', '{1,2,3}')),
	pg_temp.body(pg_temp.field(1, pg_temp.field(1, pg_temp.field(1, '__name__') || pg_temp.field(2, '\xff')) || pg_temp.sample(1, float8send(1)))),
	pg_temp.body(pg_temp.field(1, pg_temp.label('__name__', 'histogram') || pg_temp.field(4, '')), pg_temp.series('{__name__,kept}', '{3000}', '{3}'))]);
SELECT t_ms, value FROM prom.samples_of('kept') ORDER BY 1;
SELECT count(*) FROM prom.samples_of('{__name__=~"dup|histogram"}');
SELECT error ~ 'label' AS refused FROM prom.ingest(ARRAY[(SELECT pg_temp.body(pg_temp.series(
	'{__name__,many}' || (SELECT array_agg(x ORDER BY i, x) FROM generate_series(1, 10000) i, unnest(ARRAY['l' || i, 'l' || i]) x), '{1}', '{1}')))]);

-- malformed bodies are refused whole, with the place, and do no harm to the others of the call
SELECT * FROM prom.ingest(ARRAY[
	'\x', '\xff', '\xffffffff0f00', '\xffffffffff', NULL,
	pg_temp.snappy('\x0a'), pg_temp.snappy('\x0aff'), pg_temp.snappy('\x08'), pg_temp.snappy('\x00'),
	substr(pg_temp.body(pg_temp.series('{__name__,cut}', '{1}', '{1}')), 1, 20),
	pg_temp.body(pg_temp.series('{__name__,half}', '{1}', '{1}'), '\x0a05'),
	pg_temp.body(pg_temp.series('{__name__,kept}', '{4000}', '{4}'))]);
SELECT count(*) FROM prom.samples_of('{__name__=~"cut|half"}');
SELECT * FROM prom.ingest('{}');
SELECT * FROM prom.ingest(NULL);

-- metadata
SELECT * FROM prom.ingest(ARRAY[pg_temp.snappy(pg_temp.field(3, '\x0801' || pg_temp.field(2, 'up_total') || pg_temp.field(4, 'how many') || pg_temp.field(5, 's')))]);
SELECT * FROM prom.ingest(ARRAY[pg_temp.snappy(pg_temp.field(3, '\x0801' || pg_temp.field(2, 'up_total') || pg_temp.field(4, 'how many') || pg_temp.field(5, 's')))]);
SELECT family, type, help, unit FROM prom.metadata;

-- an aborted call leaves nothing, and its ids are not remembered
BEGIN;
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,undone}', '{1}', '{1}'))]);
ROLLBACK;
SELECT count(*) FROM prom.series WHERE labels->>'__name__' = 'undone';
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,undone}', '{2}', '{2}'))]);
SELECT labels, t_ms FROM prom.samples_of('undone');

-- not in a transaction that may not write, and not without the right to
BEGIN READ ONLY;
SELECT prom.ingest('{}');
ROLLBACK;
CREATE ROLE regress_prom_nobody;
SET ROLE regress_prom_nobody;
SELECT prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,up,job,a}', '{9000}', '{1}'))]);
RESET ROLE;
DROP ROLE regress_prom_nobody;

SELECT prom.delete_series('{__name__=~".+"}') > 0 AS deleted;
SELECT (SELECT count(*) FROM prom.series) AS series, (SELECT count(*) FROM prom.fresh) AS fresh, (SELECT count(*) FROM prom.warm) AS warm,
	(SELECT count(*) FROM prom.label_value) AS label_values;
TRUNCATE prom.metadata;

-- fresh rows are not toasted, however badly their samples compress
SELECT setseed(0.5) IS NOT NULL;
SELECT samples, error FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(s)) FROM (
	SELECT pg_temp.series(ARRAY['__name__', 'noise', 'n', n::text], array_agg(t ORDER BY t), array_agg(v ORDER BY t)) AS s
	FROM (SELECT n, (random() * 1e12)::int8 AS t, random() * 10 ^ (random() * 300) AS v FROM generate_series(1, 20) n, generate_series(1, 128) i) x
	GROUP BY n ORDER BY n) y)]);
SELECT pg_relation_size(reltoastrelid) AS toasted, reltoastrelid <> 0 AS possible FROM pg_class WHERE oid = 'prom.fresh'::regclass;

-- metadata is bounded: an entry of five bytes takes some hundred times that
SELECT * FROM prom.ingest(ARRAY[pg_temp.snappy(decode(repeat('1a03120161', 50002), 'hex'))]);
SELECT family, type, help, unit FROM prom.metadata;
TRUNCATE prom.metadata;

-- who may not insert may not lock either
CREATE ROLE regress_prom_nobody;
SET ROLE regress_prom_nobody;
BEGIN;
SELECT * FROM prom.ingest('{}');
ROLLBACK;
BEGIN;
SELECT prom._series_removed();
ROLLBACK;
BEGIN;
SELECT prom._lock_merge(0::int2);
ROLLBACK;
RESET ROLE;
DROP ROLE regress_prom_nobody;
SELECT prom.delete_series('noise');

-- a selector looks for fresh rows by ids, also when the planner expects none
CREATE FUNCTION pg_temp.by_ids(expr text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	line	text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || prom.to_sql(expr, to_timestamp(0), to_timestamp(60), '15s') LOOP
		IF line ~ 'Index Cond: .*sid_max >=' THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END
$$;
SELECT sum(samples) FROM generate_series(1, 1500) AS t, prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,up,job,a}', ARRAY[t], '{9}'))]);
CALL prom.merge();
VACUUM (ANALYZE) prom.fresh;
SELECT sum(samples) FROM generate_series(1, 300) AS t, prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,up,job,a}', ARRAY[t], '{9}'))]);
SELECT pg_temp.by_ids('up{job="a"}');
SELECT prom.delete_series('{__name__=~".+"}') > 0 AS deleted;

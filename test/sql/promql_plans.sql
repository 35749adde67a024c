-- PromQL: plans that a backend keeps for queries it is asked again, with other times.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- samples of 50 hours, a minute apart, from 22:00 of a day on; a label is full of what SQL could stumble over
SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(
	ARRAY['__name__', 'planned_total', 'instance', i::text, 'odd', '''1700000000000'' "1700000000001" \ $1 -- {'],
	(SELECT array_agg(1700000000000 - 7 * 3600000 + t * 60000::int8 ORDER BY t) FROM generate_series(0, 3000) t),
	(SELECT array_agg(t * i ORDER BY t) FROM generate_series(0, 3000) t))))
	FROM generate_series(1, 3) i)]);
CALL prom.merge();

CREATE FUNCTION pg_temp.kept() RETURNS int8 LANGUAGE sql AS
$$ SELECT count(*) FROM pg_catalog.pg_backend_memory_contexts WHERE name = 'CachedPlanSource' AND ident LIKE 'SELECT q.labels, p."time"%' $$;
CREATE FUNCTION pg_temp.run(sql text) RETURNS TABLE (labels prom.labels, "time" timestamptz, value float8, histogram prom.histogram) LANGUAGE plpgsql AS
$$ BEGIN RETURN QUERY EXECUTE sql; END $$;
-- a query of so many minutes in hour h against its SQL with all numbers in place
CREATE FUNCTION pg_temp.differ(expr text, h int, minutes int, OUT rows_of_query int8, OUT differ int8) LANGUAGE plpgsql AS $$
DECLARE
	t timestamptz := to_timestamp(1700000000 - 7 * 3600 + h * 3600);
	e timestamptz := to_timestamp(1700000000 - 7 * 3600 + h * 3600 + minutes * 60);
BEGIN
	SELECT count(*) FILTER (WHERE q), count(*) FILTER (WHERE n <> 2) FROM (
		SELECT bool_or(q) AS q, count(*) AS n FROM (
			SELECT true AS q, * FROM prom.query_range(expr, t, e, '1 min')
			UNION ALL SELECT false, * FROM pg_temp.run(prom.to_sql(expr, t, e, '1 min'))) u
		GROUP BY labels, "time", value) g INTO rows_of_query, differ;
END $$;

-- once is not enough; the second time it is kept, for all times of the same days
SELECT pg_temp.kept();
SELECT * FROM pg_temp.differ('planned_total', 3, 20);
SELECT pg_temp.kept();
SELECT * FROM pg_temp.differ('planned_total', 4, 20);
SELECT pg_temp.kept();
SELECT h, d.* FROM generate_series(5, 20, 5) h, pg_temp.differ('planned_total', h, 20) d ORDER BY h;
SELECT pg_temp.kept();

-- over midnight, and the days after it
SELECT h, d.* FROM unnest(ARRAY[1, 8, 9, 1, 25, 26, 27, 49, 50, 1, 26]) h, pg_temp.differ('planned_total', h, 70) d;

-- numbers of a query are its own, whatever they are
SELECT e AS expression, h, d.* FROM (VALUES
	('planned_total * 1700000000000'),
	('planned_total{odd=~"''1700000000000'' .*"} - -1700000000000'),
	('rate(planned_total[5m] offset 1h)'),
	('max_over_time((time() - planned_total)[10m:2m])'),
	('planned_total @ 1700000000.5'),
	('planned_total @ start() + time() * 0'),
	('label_replace(planned_total, "odd", "$1 1700000000000", "instance", "(.*)")'),
	('sum by (odd) (planned_total) / 1e300')) v(e), generate_series(12, 14) h, pg_temp.differ(e, h, 10) d ORDER BY e, h;

-- who is not to see a series does not see it by a plan that another role has made
CREATE ROLE regress_planned;
CREATE ROLE regress_planned_more;
GRANT prom_reader TO regress_planned, regress_planned_more;
CREATE POLICY planned ON prom.series TO regress_planned USING (prom.label(labels, 'instance') = '1');
CREATE POLICY planned_more ON prom.series TO regress_planned_more USING (prom.label(labels, 'instance') <> '1');
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION pg_temp.counted() RETURNS float8 LANGUAGE sql AS
$$ SELECT max(value) FROM prom.query_range('count(planned_total)', to_timestamp(1700000000), to_timestamp(1700000600), '1 min') $$;
SELECT pg_temp.counted(), pg_temp.counted(), pg_temp.counted();
SET ROLE regress_planned;
SELECT pg_temp.counted(), pg_temp.counted(), pg_temp.counted();
SET ROLE regress_planned_more;
SELECT pg_temp.counted();
SET ROLE regress_planned;
SELECT pg_temp.counted();
RESET ROLE;
SELECT pg_temp.counted();
DROP OWNED BY regress_planned, regress_planned_more;
DROP ROLE regress_planned, regress_planned_more;

-- what is written after a plan was kept is seen, in a new partition, too
SELECT sum(samples) FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series(
	ARRAY['__name__', 'planned_total', 'instance', '4'], ARRAY[1700000000000 - 6 * 3600000, 1700000000000 - 4 * 86400000], ARRAY[7, 7]))]);
SELECT value FROM prom.query('planned_total{instance="4"}', to_timestamp(1700000000 - 6 * 3600));
CALL prom.merge();
SELECT value FROM prom.query('planned_total{instance="4"}', to_timestamp(1700000000 - 6 * 3600));
SELECT value FROM prom.query('planned_total{instance="4"}', to_timestamp(1700000000 - 6 * 3600 + 60));
SELECT value FROM prom.query('planned_total{instance="4"}', to_timestamp(1700000000 - 4 * 86400));

-- no more than there may be
SELECT sum((SELECT count(*) FROM prom.query('planned_total + ' || i, to_timestamp(1700000000 + r * 0)))) FROM generate_series(1, 80) i, generate_series(1, 3) r;
SELECT pg_temp.kept();
SET promgres.promql_kept_plans = 5;
SELECT sum((SELECT count(*) FROM prom.query('planned_total * ' || i, to_timestamp(1700000000 + r * 0)))) FROM generate_series(1, 8) i, generate_series(1, 3) r;
SELECT pg_temp.kept();
SET promgres.promql_kept_plans = 0;
SELECT * FROM pg_temp.differ('planned_total', 4, 20);
RESET promgres.promql_kept_plans;

SELECT count(*) > 0 AS deleted FROM prom.delete_series('{__name__="planned_total"}');

-- The merge: days, generations, full rows; and that nothing is lost or doubled on the way.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set block_lib :srcdir '/lib/block.sql'
\set ECHO none
\i :lib
\i :block_lib
\set ECHO all
SET client_min_messages = warning;
SET timezone = 'UTC';

-- a series that crosses midnight, and one far away in time: a partition per day, made on demand
SELECT samples, error FROM prom.ingest(ARRAY[pg_temp.body(
	pg_temp.series('{__name__,edge}', '{86399999,86400000,86400001}', '{1,2,3}'),
	pg_temp.series('{__name__,far}', '{1000000000000}', '{4}'))]);
CALL prom.merge();
SELECT tableoid::regclass, t_min, t_max, gen, samples FROM prom.warm ORDER BY t_min;
SELECT labels, t_ms, value FROM prom.samples_of('{__name__=~"edge|far"}') ORDER BY 1, 2;

-- 200 calls, merged one by one: eight rows of a generation become one of the next
CREATE PROCEDURE pg_temp.rounds(first int, last int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN first..last LOOP
		PERFORM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(
			pg_temp.series(ARRAY['__name__', 'g', 'n', n::text], ARRAY[i * 1000 + n], ARRAY[i * 1.5 + n])))
			FROM generate_series(1, 5) n)]);
		PERFORM prom._merge_step(0::int2, 1000);
	END LOOP;
END $$;
CALL pg_temp.own_block('g', 'big');
CALL pg_temp.rounds(1, 7);
SELECT gen, count(*), sum(samples) FROM prom.warm WHERE block = (SELECT sid >> 6 FROM prom.series_id('{__name__="g", n="1"}')) GROUP BY 1 ORDER BY 1;
CALL pg_temp.rounds(8, 8);
SELECT gen, count(*), sum(samples) FROM prom.warm WHERE block = (SELECT sid >> 6 FROM prom.series_id('{__name__="g", n="1"}')) GROUP BY 1 ORDER BY 1;
CALL pg_temp.rounds(9, 200);
SELECT gen, count(*), sum(samples) FROM prom.warm WHERE block = (SELECT sid >> 6 FROM prom.series_id('{__name__="g", n="1"}')) GROUP BY 1 ORDER BY 1;
SELECT count(*), count(DISTINCT (labels, t_ms)), sum(value), count(*) FILTER (WHERE value = (t_ms / 1000) * 1.5 + t_ms % 1000) AS right_values
FROM prom.samples_of('g');

-- large rows are cut below a page and left alone from then on
SELECT samples FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(ARRAY['__name__', 'big', 'n', n::text],
		(SELECT array_agg(i * 1000 ORDER BY i) FROM generate_series(1, 2000) i),
		(SELECT array_agg(sqrt(i * n) ORDER BY i) FROM generate_series(1, 2000) i))))
	FROM generate_series(1, 3) n)]);
CALL prom.merge();
SELECT gen, count(*) > 1 AS several, sum(samples) FROM prom.warm WHERE block = (SELECT sid >> 6 FROM prom.series_id('{__name__="big", n="1"}')) GROUP BY 1;
SELECT count(*), count(*) FILTER (WHERE value = sqrt((t_ms / 1000) * (labels::jsonb->>'n')::int)) AS right_values FROM prom.samples_of('big');

-- the later commit wins whatever the generation of the rows
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,g,n,1}', '{1001,100001,200001}', '{-1,-1,-1}'))]);
CALL prom.merge();
SELECT t_ms, value FROM prom.samples_of('g{n="1"}') WHERE t_ms IN (1001, 2001, 100001, 200001) ORDER BY 1;
SELECT count(*) FROM prom.samples_of('g');

-- ... and so it does where an older small row is merged again after a full one was written
CREATE PROCEDURE pg_temp.full_row(value float8) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM prom.ingest(ARRAY[pg_temp.body(pg_temp.series(ARRAY['__name__', 'order'],
		(SELECT array_agg(i * 1000 ORDER BY i) FROM generate_series(1, 2000) i),
		(SELECT array_agg(CASE WHEN i IN (1, 2000) THEN value ELSE sqrt(i) END ORDER BY i) FROM generate_series(1, 2000) i)))]);
	PERFORM prom._merge_step(0::int2, 1000);
END $$;
CREATE PROCEDURE pg_temp.small_rows(first int, last int, t_ms int8, value float8) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN first..last LOOP
		PERFORM prom.ingest(ARRAY[pg_temp.body(pg_temp.series(ARRAY['__name__', 'order'], ARRAY[t_ms, 5000000 + i], ARRAY[value, i]))]);
		PERFORM prom._merge_step(0::int2, 1000);
	END LOOP;
END $$;
CALL pg_temp.small_rows(1, 3, 1000, -1);
CALL pg_temp.full_row(-2);
SELECT t_ms, value FROM prom.samples_of('order') WHERE t_ms IN (1000, 2000000) ORDER BY 1;
CALL pg_temp.small_rows(4, 12, 4000000, -3);
SELECT t_ms, value FROM prom.samples_of('order') WHERE t_ms IN (1000, 2000000) ORDER BY 1;
CALL pg_temp.small_rows(13, 16, 2000000, -4);
CALL pg_temp.small_rows(17, 19, 4000000, -5);
CALL pg_temp.full_row(-6);
SELECT t_ms, value FROM prom.samples_of('order') WHERE t_ms IN (1000, 2000000) ORDER BY 1;
CALL pg_temp.small_rows(20, 100, 4000000, -7);
SELECT t_ms, value FROM prom.samples_of('order') WHERE t_ms IN (1000, 2000000, 4000000) ORDER BY 1;

-- one body with samples of 150 days: a step makes partitions for the newest 64 of them and leaves the rest for the next
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,spread}',
	(SELECT array_agg(d * 86400000 ORDER BY d) FROM generate_series(1000, 1149::int8) d), (SELECT array_agg(d ORDER BY d) FROM generate_series(1000, 1149::int8) d)),
	pg_temp.series('{__name__,spread,b,x}', (SELECT array_agg(d * 86400000 ORDER BY d) FROM generate_series(1000, 1149::int8) d), (SELECT array_agg(d ORDER BY d) FROM generate_series(1000, 1149::int8) d)))]);
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,spread}', '{99273600000}', '{-1}'))]);
SELECT prom._merge_step(0::int2, 1);
SELECT count(*) FROM pg_inherits WHERE inhparent = 'prom.warm'::regclass AND inhrelid::regclass::text ~ 'warm_197[23]';
SELECT count(*), count(DISTINCT (labels, t_ms)), count(*) FILTER (WHERE value = t_ms / 86400000) FROM prom.samples_of('spread');
SELECT min(day) / 86400000 AS first, max(day) / 86400000 AS last, count(*) FROM prom.fresh WHERE day IS NOT NULL;

-- what comes meanwhile does not wait for the days that do; what comes for one of them is later than what waits
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,spread}', '{86400000000,86400000001,98323200000}', '{-1,-2,-3}'), pg_temp.series('{__name__,today}', '{172800000000}', '{1}'))]);
SELECT prom._merge_step(0::int2, 1000);
SELECT count(*) FILTER (WHERE day IS NULL) AS fresh, count(*) AS late, min(day) / 86400000 AS first, max(day) / 86400000 AS last FROM prom.fresh;
SELECT t_ms, value FROM prom.samples_of('today') UNION ALL
SELECT t_ms, value FROM prom.samples_of('spread') WHERE value < 0 ORDER BY 1;
DROP TABLE prom.warm_19750624;
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,spread}', '{86400000000,86400000001,98323200000,99273600000}', '{1000,1000,1138,1149}'))]);
CALL prom.merge();
SELECT count(*) AS fresh FROM prom.fresh;
SELECT count(*) FROM pg_inherits WHERE inhparent = 'prom.warm'::regclass AND inhrelid::regclass::text ~ 'warm_197[23]';
SELECT count(*), count(DISTINCT (labels, t_ms)), count(*) FILTER (WHERE value = t_ms / 86400000) FROM prom.samples_of('spread');
DO $$ DECLARE r regclass; BEGIN
	FOR r IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'prom.warm'::regclass AND inhrelid::regclass::text ~ 'warm_197[23]' LOOP
		EXECUTE format('DROP TABLE %s', r);
	END LOOP;
END $$;

-- a merge sees what is committed now: it insists on that itself, whatever the default is
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT prom._merge_step(0::int2, 1000);
ROLLBACK;
SET default_transaction_isolation = 'serializable';
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,g,n,1}', '{1}', '{1}'))]);
CALL prom.merge();
RESET default_transaction_isolation;
SELECT count(*) AS fresh FROM prom.fresh;

-- a day that was detached does not stop the merge when late samples of it come
SELECT prom._make_day(86400000000);
ALTER TABLE prom.warm DETACH PARTITION prom.warm_19720927;
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,late}', '{86400000001}', '{1}'))]);
SELECT prom._merge_step(0::int2, 1000);
SELECT tableoid::regclass, samples FROM prom.warm WHERE t_min = 86400000001;
SELECT prom._make_day(86400000000);
SELECT t_ms, value FROM prom.samples_of('late');
DROP TABLE prom.warm_19720927, prom.warm_19720927_2;

-- days that are over are frozen one by one: which is next
SELECT prom._make_day(86400000000), prom._make_day(253402214400000);
SELECT day, t_min, age >= 0 AS age FROM prom._days() WHERE t_min >= 86400000000 AND t_min < 86500000000 OR t_min > 2e14;
SELECT prom._day_to_freeze(-1) IS NOT NULL AS some, prom._day_to_freeze(2147483647) AS none;
DROP TABLE prom.warm_19720927, prom.warm_99991231;

-- days that have no name
SELECT prom._make_day(-1);
SELECT prom._make_day(253402300800000);
SELECT prom._make_day(NULL);

-- a second merge of a shard does nothing while the first is under way; no shard, no work
SELECT prom._merge_step(0::int2, 1000), prom._merge_step(7::int2, 1000);

-- the worker keeps still while a dump is being restored, which sets the sequence last
SELECT samples FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,g,n,1}', '{300001}', '{1}'))]);
SELECT prom._is_loaded(), prom._merge_due(0, 0);
SELECT last_value FROM prom.store_seq \gset
SELECT setval('prom.store_seq', 1, false);
SELECT prom._is_loaded(), prom._merge_due(0, 0);
SELECT setval('prom.store_seq', :last_value) = :last_value AS set_again;
SELECT prom._is_loaded(), prom._merge_due(0, 0);
CALL prom.merge();
SELECT prom._is_loaded(), prom._merge_due(0, 0);

-- a row of several series stays in its page, however large the columns are that come after small ones
CALL pg_temp.own_block('page');
SELECT samples FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(ARRAY['__name__', 'page', 'n', n::text],
		(SELECT array_agg(n + i * 1000 ORDER BY i) FROM generate_series(1, CASE n % 3 WHEN 0 THEN 900 ELSE 9 END) i),
		(SELECT array_agg(sqrt(i * 1000 + n) ORDER BY i) FROM generate_series(1, CASE n % 3 WHEN 0 THEN 900 ELSE 9 END) i))))
	FROM generate_series(1, 18) n)]);
CALL prom.merge();
SELECT count(*) > 3 AS rows, sum(samples), max(pg_column_size(data)) < 8160 AS small, max(cardinality(prom._sids(data))) > 1 AS shared
FROM prom.warm WHERE block = (SELECT block FROM metric_block WHERE name = 'page');
SELECT count(*), count(*) FILTER (WHERE value = sqrt(t_ms / 1000 * 1000 + (labels['n'])::int)) AS right_values FROM prom.samples_of('page');

SELECT prom.delete_series('{__name__=~".+"}');
SELECT (SELECT count(*) FROM prom.series) AS series, (SELECT count(*) FROM prom.fresh) AS fresh, (SELECT count(*) FROM prom.warm) AS warm;

-- What a query may use: memory, series, samples, time.  Each limit is an error that names its setting.
SET client_min_messages = warning;
WITH s AS (SELECT (prom.series_id(prom.labels(jsonb_build_object('__name__', 'limited', 'i', i::text)))).* FROM generate_series(1, 500) i)
INSERT INTO prom.fresh (shard, sid_min, sid_max, t_min, t_max, samples, seq, data)
SELECT shard, min(sid), max(sid), 0, 600000, 41 * count(*), nextval('prom.store_seq'),
	prom.chunk_merge(prom.chunk_build(shard, sid, (SELECT array_agg(t * 15000::int8 ORDER BY t) FROM generate_series(0, 40) t),
		(SELECT array_agg((t * sid)::float8 ORDER BY t) FROM generate_series(0, 40) t), 'fresh'), 1)
FROM s GROUP BY shard, sid / 64;
CALL prom.merge();

SET promgres.query_memory = '8MB';
-- what keeps all values of a group: 500 series of 3,001 steps are 12 MB
SELECT count(*) FROM prom.query_range('quantile(0.5, limited)', to_timestamp(0), to_timestamp(600), '200ms');
SELECT count(*) FROM prom.query_range('topk(500, limited)', to_timestamp(0), to_timestamp(600), '200ms');
SELECT count(*) FROM prom.query_range('count_values("v", limited)', to_timestamp(0), to_timestamp(600), '200ms');
-- what adds up, and a result that can go to a file, do with little
SELECT count(*) FROM prom.query_range('sum(limited)', to_timestamp(0), to_timestamp(600), '200ms');
SELECT count(*) FROM prom.query_range('limited', to_timestamp(0), to_timestamp(600), '200ms');
RESET promgres.query_memory;
SELECT count(*) FROM prom.query_range('quantile(0.5, limited)', to_timestamp(0), to_timestamp(600), '200ms');

-- series count at the leaves, where samples are read
SET promgres.query_max_series = 499;
SELECT count(*) FROM prom.query('limited', to_timestamp(600));
SELECT count(*) FROM prom.query('limited{i!="1"}', to_timestamp(600));
RESET promgres.query_max_series;
SET promgres.query_max_samples = 1000;
SELECT count(*) FROM prom.query('rate(limited[10m])', to_timestamp(600));
SELECT count(*) FROM prom.query('limited', to_timestamp(600));
RESET promgres.query_max_samples;
SET promgres.query_memory = '1MB';
SET promgres.query_memory = '1000kB';
SELECT prom.delete_series('limited');

-- The HA tracker: of the replicas of a cluster one is stored.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET timezone = 'UTC';

-- off: series are stored as they come
SELECT samples, error FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,x,__replica__,a,cluster,one}', '{1000}', '{1}'))]);
SELECT * FROM prom.ha_clusters;
-- The same bytes are another series when it is on; a body may have several clusters, each with replicas of its own; who has not
-- both labels is in none; the first that comes is elected.  What is dropped counts as taken.
SET promgres.ha_tracker = on;
SELECT samples, error FROM prom.ingest(ARRAY[pg_temp.body(
	pg_temp.series('{__name__,x,__replica__,a,cluster,one}', '{1000,2000}', '{1,2}'),
	pg_temp.series('{__name__,x,__replica__,b,cluster,one}', '{1100,2100}', '{11,12}'),
	pg_temp.series('{__name__,x,__replica__,b,cluster,two}', '{1000}', '{21}'),
	pg_temp.series('{__name__,x,__replica__,a,cluster,two}', '{1000}', '{22}'),
	pg_temp.series('{__name__,x,__replica__,a}', '{1000}', '{31}'),
	pg_temp.series('{__name__,x,cluster,one}', '{3000}', '{32}'),
	pg_temp.series('{__name__,x,__replica__,"",cluster,three}', '{1000}', '{33}'))]);
SELECT cluster, elected, failovers, elected_since = last_seen AS just_elected FROM prom.ha_clusters ORDER BY 1;
SELECT labels, t_ms, value FROM prom.samples_of('x') ORDER BY 1, 2;

-- remote write 2, histograms, exemplars and OTLP alike
SELECT samples, histograms, exemplars, error FROM prom.ingest(ARRAY[pg_temp.request2('{"",__name__,y,__replica__,a,b,cluster,one}',
	pg_temp.series2(pg_temp.refs(1, 2, 3, 4, 6, 7), pg_temp.sample2(1000, 1, 0)), pg_temp.series2(pg_temp.refs(1, 2, 3, 5, 6, 7), pg_temp.sample2(1000, 2, 0)))], '{remote_write_2+snappy}');
SELECT samples, histograms, exemplars, error FROM prom.ingest(ARRAY[pg_temp.body(
	pg_temp.series_of('{__name__,h,__replica__,b,cluster,one}', pg_temp.histogram(1000, 3, 3, '{0,1}', '{3}'), pg_temp.exemplar('{id,1}', 1, (extract(epoch FROM now()) * 1000)::int8)))]);
SELECT samples, error FROM prom.ingest(ARRAY[convert_to($${"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"z","gauge":{"dataPoints":[
	{"asInt":"1","timeUnixNano":"1000000000","attributes":[{"key":"__replica__","value":{"stringValue":"a"}},{"key":"cluster","value":{"stringValue":"one"}}]},
	{"asInt":"2","timeUnixNano":"1000000000","attributes":[{"key":"__replica__","value":{"stringValue":"b"}},{"key":"cluster","value":{"stringValue":"one"}}]}]}}]}]}]}$$, 'UTF8')], '{otlp_json}');
SELECT labels, t_ms, value FROM prom.samples_of('{__name__=~"[yzh]"}') ORDER BY 1;
SELECT count(*) FROM prom.exemplars('h');

-- a new backend knows who is elected; the other is dropped as long as the elected one was heard of
\c -
\set ECHO none
\i :lib
\set ECHO all
SET promgres.ha_tracker = on;
CREATE FUNCTION pg_temp.send(replica text, t_ms int8, v float8, metric text DEFAULT 'w') RETURNS text LANGUAGE sql AS $$
	SELECT samples || coalesce(error, '') FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series(ARRAY['__name__', metric, '__replica__', replica, 'cluster', 'one'], ARRAY[t_ms], ARRAY[v]))]) $$;
SELECT pg_temp.send('b', 1000, 1), pg_temp.send('a', 2000, 2), pg_temp.send('b', 3000, 3);
-- when it was silent for promgres.ha_failover (30 s), another is elected; not earlier
UPDATE prom.ha_replica SET seen_ms = seen_ms - 20000 WHERE cluster = 'one';
\c -
\set ECHO none
\i :lib
\set ECHO all
SET promgres.ha_tracker = on;
CREATE FUNCTION pg_temp.send(replica text, t_ms int8, v float8, metric text DEFAULT 'w') RETURNS text LANGUAGE sql AS $$
	SELECT samples || coalesce(error, '') FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series(ARRAY['__name__', metric, '__replica__', replica, 'cluster', 'one'], ARRAY[t_ms], ARRAY[v]))]) $$;
SELECT pg_temp.send('b', 4000, 4);
UPDATE prom.ha_replica SET seen_ms = seen_ms - 12000 WHERE cluster = 'one';
\c -
\set ECHO none
\i :lib
\set ECHO all
SET promgres.ha_tracker = on;
CREATE FUNCTION pg_temp.send(replica text, t_ms int8, v float8, metric text DEFAULT 'w') RETURNS text LANGUAGE sql AS $$
	SELECT samples || coalesce(error, '') FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series(ARRAY['__name__', metric, '__replica__', replica, 'cluster', 'one'], ARRAY[t_ms], ARRAY[v]))]) $$;
-- an election that is rolled back never was
BEGIN;
SELECT pg_temp.send('c', 5000, 5);
SELECT elected, failovers FROM prom.ha_clusters WHERE cluster = 'one';
ROLLBACK;
SELECT elected, failovers FROM prom.ha_clusters WHERE cluster = 'one';
SELECT pg_temp.send('b', 6000, 6), pg_temp.send('a', 7000, 7), pg_temp.send('c', 8000, 8), pg_temp.send('b', 9000, 9);
SELECT elected, failovers, elected_since <= last_seen AS in_order FROM prom.ha_clusters WHERE cluster = 'one';
SELECT labels, t_ms, value FROM prom.samples_of('w');

-- other labels; bad ones are refused as ever
SET promgres.ha_cluster_label = 'team';
SET promgres.ha_replica_label = 'r';
SELECT samples, error FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series('{__name__,v,r,1,team,t}', '{1000}', '{1}'), pg_temp.series('{__name__,v,r,2,team,t}', '{1000}', '{2}'))]);
SELECT samples, error FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,v}', pg_temp.field(1, pg_temp.field(1, 'r') || pg_temp.field(2, '\xff')),
	pg_temp.label('team', 't'), pg_temp.sample(1000, float8send(3))))]);
SELECT labels, value FROM prom.samples_of('v');
SELECT cluster, elected FROM prom.ha_clusters ORDER BY 1;
SELECT replica_samples > 0 AS counted FROM prom.stat_ingest;
-- who is elected is nobody's business who sees some series only, and nobody elects by hand
CREATE ROLE regress_ha_reader;
GRANT prom_reader TO regress_ha_reader;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
SET ROLE regress_ha_reader;
SELECT * FROM prom.ha_clusters;
SELECT prom._ha_elect('one', 'z', 0, 0, 0);
RESET ROLE;
ALTER TABLE prom.series DISABLE ROW LEVEL SECURITY;
DROP OWNED BY regress_ha_reader;
DROP ROLE regress_ha_reader;
SELECT prom.delete_series('{__name__=~"[v-zh]"}') AS removed;
DELETE FROM prom.ha_replica;
DELETE FROM prom.metadata WHERE family = 'z';

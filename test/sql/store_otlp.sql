-- OTLP: resources, names, units, every kind of data point, in JSON and in protobuf.
\set VERBOSITY terse
SET TIME ZONE 'UTC';
SET client_min_messages = warning;
\i test/lib/body.sql
DELETE FROM prom.metadata;
SELECT (extract(epoch FROM now()) * 1000)::int8 - 10000 AS t \gset
SELECT set_config('test.t', :t::text, false) IS NOT NULL AS set;

-- A request of one resource and scope; "@" in it stands for the time in nanoseconds.
CREATE FUNCTION pg_temp.otlp(metrics text, attributes text DEFAULT '', scope text DEFAULT '{}') RETURNS TABLE (samples int8, histograms int8, exemplars int8, refused int8, error text)
LANGUAGE sql AS $$ SELECT samples, histograms, exemplars, refused, error FROM prom.ingest(ARRAY[convert_to(
	'{"resourceMetrics":[{"resource":{"attributes":[' || attributes || ']},"scopeMetrics":[{"scope":' || scope || ',"metrics":[' ||
	replace(metrics, '@', '"' || current_setting('test.t') || '000000"') || ']}]}]}', 'UTF8')], '{otlp_json}') $$;
CREATE FUNCTION pg_temp.shown(selector text) RETURNS TABLE (labels prom.labels, value float8, histogram prom.histogram) LANGUAGE sql AS
$$ SELECT labels, value, histogram FROM prom.samples_of(selector) ORDER BY labels::text COLLATE "C", t_ms $$;

-- Resource: job, instance, target_info; attributes of all types and shapes.
SELECT * FROM pg_temp.otlp('{"name":"ot.memory.utilization","unit":"1","description":"Used.","gauge":{"dataPoints":[{"timeUnixNano":@,"asDouble":0.5,
	"attributes":[{"key":"a.b","value":{"stringValue":"x"}},{"key":"a_b","value":{"stringValue":"y"}},{"key":"0n","value":{"intValue":"-7"}},{"key":"__kept__","value":{"boolValue":true}},
	{"key":"d","value":{"doubleValue":1.5e-9}},{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"q\"z"},{"intValue":3},{}]}}},
	{"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"doubleValue":100}}]}}},{"key":"raw","value":{"bytesValue":"AAEC/w=="}},{"key":"größe","value":{"stringValue":"é"}}]}]}}',
	'{"key":"service.name","value":{"stringValue":"shop"}},{"key":"service.namespace","value":{"stringValue":"ns"}},{"key":"service.instance.id","value":{"stringValue":"i-1"}},
	{"key":"host.name","value":{"stringValue":"h1"}},{"key":"cloud.zone","value":{"stringValue":"z1"}}');
SELECT labels, value FROM pg_temp.shown('ot_memory_utilization_ratio');
SELECT labels, value FROM pg_temp.shown('target_info');
SELECT * FROM prom.metadata ORDER BY family;

-- Names: unit and type make suffixes, unless they are there.
SELECT * FROM pg_temp.otlp((SELECT string_agg(format('{"name":%s,"unit":%s,%s}', to_json(n), to_json(u), CASE k
		WHEN 'counter' THEN '"sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":@,"asInt":"7"}]}'
		WHEN 'updown' THEN '"sum":{"aggregation_temporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","dataPoints":[{"time_unix_nano":@,"as_int":7}]}'
		ELSE '"gauge":{"dataPoints":[{"timeUnixNano":@,"asInt":7}]}' END), ',')
	FROM (VALUES ('n1.cpu.time', 's', 'counter'), ('n2.total.things', '', 'counter'), ('n3.io', 'By/s', 'gauge'), ('n4.bytes.held', 'By', 'updown'), ('n5.requests', '{request}', 'counter'),
		('n6.speed', 'm/h', 'gauge'), ('n7.ratio', '1', 'gauge'), ('n8.share', '1', 'updown'), ('9n', 'ms', 'gauge'), ('n10..a__b:c', 'Foo Bar', 'gauge'), ('n11.errors', '1/s', 'gauge')) v(n, u, k)));
SELECT DISTINCT labels FROM pg_temp.shown('{__name__=~"_?n?[0-9].*"}') ORDER BY 1;
SET promgres.otlp_translation = 'underscores_without_suffixes';
SELECT samples, error FROM pg_temp.otlp('{"name":"t1.a.b__c","unit":"By","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":@,"asInt":1,"attributes":[{"key":"x.y","value":{"stringValue":"v"}}]}]}}');
SET promgres.otlp_translation = 'utf8_with_suffixes';
SELECT samples, error FROM pg_temp.otlp('{"name":"t1.a","unit":"By","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":@,"asInt":2,"attributes":[{"key":"x.y","value":{"stringValue":"v"}}]}]}}');
SELECT samples, error FROM pg_temp.otlp('{"name":"t1.bytes.total","unit":"By","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":@,"asInt":2}]}}');
SET promgres.otlp_translation = 'none';
SELECT samples, error FROM pg_temp.otlp('{"name":"t1.a","unit":"By","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":@,"asInt":3,"attributes":[{"key":"x.y","value":{"stringValue":"v"}}]}]}}');
RESET promgres.otlp_translation;
SELECT labels, value FROM pg_temp.shown('{__name__=~"t1.*"}');

-- Histograms: classic with exemplars in their buckets, exponential to native, with custom buckets if wanted.
\set classic '{"name":"h.classic","unit":"ms","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":@,"count":"6","sum":12.25,"bucketCounts":["1","2","3"],"explicitBounds":[0.1,100],"exemplars":[{"timeUnixNano":@,"asDouble":50,"spanId":"00f067aa0ba902b7","traceId":"4bf92f3577b34da6a3ce929d0e0e4736","filteredAttributes":[{"key":"user","value":{"stringValue":"me"}}]},{"timeUnixNano":@,"asInt":1000}]}]}}'
SELECT * FROM pg_temp.otlp(:'classic');
SELECT labels, value FROM pg_temp.shown('{__name__=~"h_classic.*"}');
SELECT labels, exemplar, value FROM prom.exemplars('{__name__=~"h_classic.*"}') ORDER BY value;
SET promgres.otlp_custom_buckets = on;
SELECT * FROM pg_temp.otlp(replace(:'classic', 'h.classic', 'h.custom'));
RESET promgres.otlp_custom_buckets;
SELECT * FROM pg_temp.shown('{__name__=~"h_custom.*"}');
SELECT * FROM pg_temp.otlp('{"name":"h.exp","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[
	{"timeUnixNano":@,"count":13,"sum":20,"scale":1,"zeroCount":1,"zeroThreshold":0.25,"positive":{"offset":-1,"bucketCounts":[1,0,2,0,0,0,0,3]},"negative":{"offset":2,"bucketCounts":[6]}},
	{"timeUnixNano":@,"count":4,"sum":5,"scale":9,"positive":{"offset":2,"bucketCounts":["1","3"]},"attributes":[{"key":"fine","value":{"stringValue":"1"}}]},
	{"timeUnixNano":@,"flags":1,"scale":3,"attributes":[{"key":"stale","value":{"stringValue":"1"}}]}]}}');
SELECT labels, histogram FROM pg_temp.shown('h_exp');
SELECT * FROM pg_temp.otlp('{"name":"s.summary","unit":"s","summary":{"dataPoints":[{"timeUnixNano":@,"count":2,"sum":3.5,"quantileValues":[{"quantile":0.5,"value":1},{"quantile":1,"value":2.5}]}]}}');
SELECT labels, value FROM pg_temp.shown('{__name__=~"s_summary.*"}');

-- No recorded value: a staleness marker.
SELECT * FROM pg_temp.otlp('{"name":"g.stale","gauge":{"dataPoints":[{"timeUnixNano":@,"flags":1}]}}');
SELECT encode(float8send(value), 'hex') FROM pg_temp.shown('g_stale');

-- What is refused is told with its metric; the rest is stored.
SELECT * FROM pg_temp.otlp('{"name":"r.delta","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{"timeUnixNano":@,"asInt":1},{"timeUnixNano":@,"asInt":2}]}},
	{"name":"r.good","gauge":{"dataPoints":[{"timeUnixNano":@,"asInt":1}]}}');
SELECT * FROM pg_temp.otlp('{"name":"r.hist","histogram":{"dataPoints":[{"timeUnixNano":@,"count":1}]}},{"name":"...","gauge":{"dataPoints":[{"timeUnixNano":@,"asInt":1}]}}');
SELECT * FROM pg_temp.otlp('{"name":"r.coarse","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":@,"count":1,"scale":-5},{"timeUnixNano":@,"count":1,"scale":53}]}}');
SELECT * FROM pg_temp.otlp('{"name":"r.bounds","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":@,"count":1,"bucketCounts":[1],"explicitBounds":[1,2]},{"timeUnixNano":@,"count":3,"bucketCounts":[1,1,1],"explicitBounds":[2,1]}]}}');
SELECT * FROM pg_temp.otlp('{"name":"r.future","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"9000000000000000000","count":1,"bucketCounts":[1,0],"explicitBounds":[1]}]}}');
SELECT * FROM pg_temp.otlp('{"name":"r.sum","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":@,"count":1,"positive":{"bucketCounts":[5]}}]}}');

-- Settings: promoted attributes, the scope, identity kept, type and unit.
SET promgres.otlp_promote_resource_attributes = 'host.name, k8s.pod';
SET promgres.otlp_scope_labels = on;
SET promgres.otlp_keep_identifying_attributes = on;
SET promgres.ingest_type_and_unit_labels = on;
SELECT samples, error FROM pg_temp.otlp('{"name":"p.promoted","unit":"By/s","gauge":{"dataPoints":[{"timeUnixNano":@,"asInt":1,"attributes":[{"key":"job","value":{"stringValue":"mine"}}]}]}}',
	'{"key":"service.name","value":{"stringValue":"promoter"}},{"key":"host.name","value":{"stringValue":"h1"}},{"key":"cloud.zone","value":{"stringValue":"z1"}}',
	'{"name":"lib","version":"1.2","attributes":[{"key":"a.b","value":{"intValue":"1"}}]}');
SET promgres.otlp_promote_resource_attributes = '*';
SELECT samples, error FROM pg_temp.otlp('{"name":"p.all","gauge":{"dataPoints":[{"timeUnixNano":@,"asInt":1}]}}', '{"key":"service.name","value":{"stringValue":"all"}},{"key":"cloud.zone","value":{"stringValue":"z1"}}');
RESET promgres.otlp_promote_resource_attributes;
RESET promgres.otlp_scope_labels;
RESET promgres.otlp_keep_identifying_attributes;
RESET promgres.ingest_type_and_unit_labels;
SELECT labels, value FROM pg_temp.shown('{__name__=~"p_.*"}');
SELECT labels, value FROM pg_temp.shown('target_info{job=~"promoter|all"}');

-- The same in protobuf: KeyValue, NumberDataPoint, Gauge, Metric, ScopeMetrics, ResourceMetrics.
SELECT pg_temp.field(1, pg_temp.field(2, pg_temp.field(2, pg_temp.field(1, convert_to('pb.gauge', 'UTF8')) || pg_temp.field(5, pg_temp.field(1,
	'\x19'::bytea || pg_temp.little_endian(int8send(:t * 1000000)) || pg_temp.fixed(4, 42) ||
	pg_temp.field(7, pg_temp.field(1, 'k') || pg_temp.field(2, pg_temp.field(1, 'v')))))))) AS pb \gset
SELECT samples, refused, error FROM prom.ingest(ARRAY[:'pb'::bytea, pg_temp.snappy(:'pb'), substr(:'pb'::bytea, 1, 30), pg_temp.field(1, pg_temp.number(2, 1)), ''], '{otlp,otlp+snappy,otlp,otlp,otlp}');
SELECT labels, value FROM pg_temp.shown('pb_gauge');

-- JSON that is none, or is not this.
SELECT refused, error FROM prom.ingest(ARRAY['{'::bytea, '[]', '1', '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":1}]}]}]}', '{"resourceMetrics":[{"scopeMetrics":1}]}',
	'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"x","gauge":{"dataPoints":[{"timeUnixNano":"1x"}]}}]}]}]}', '{"resourceMetrics":[{"resource":{"attributes":[{"key":{}}]}}]}',
	convert_to(repeat('[', 100000), 'UTF8'), convert_to('{"resourceMetrics":{"resource":{"attributes":{"value":' || repeat('{"arrayValue":{"values":', 60) || '1' || repeat('}}', 60) || '}}}}', 'UTF8'),
	'{"unknown":[[{"a":[1,{}]}]],"resourceMetrics":null}'], array_fill('otlp_json'::text, ARRAY[10]));
SELECT points_refused > 0 AS told FROM prom.stat_ingest;

-- Nothing is left for the scripts that follow.
SELECT prom.delete_series('{__name__=~".+"}') > 0 AS deleted;
DELETE FROM prom.metadata;

-- Remote write 2.0: bodies as its senders write them, good and bad, into samples, histograms, exemplars and metadata.
\set VERBOSITY terse
SET TIME ZONE 'UTC';
SET client_min_messages = warning;
\i test/lib/body.sql
DELETE FROM prom.metadata;
SELECT (extract(epoch FROM now()) * 1000)::int8 - 10000 AS t \gset

CREATE FUNCTION pg_temp.put(VARIADIC bodies bytea[]) RETURNS TABLE (body int4, samples int8, histograms int8, exemplars int8, refused int8, error text)
LANGUAGE sql AS $$ SELECT * FROM prom.ingest(bodies, array_fill('remote_write_2+snappy'::text, ARRAY[cardinality(bodies)])) $$;

-- Everything a series can have.
SELECT * FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_requests_total,job,api,"Requests so far.",requests,trace_id,abc}',
	pg_temp.series2(pg_temp.refs(1, 2, 3, 4), pg_temp.sample2(:t, 1, :t - 5000), pg_temp.sample2(:t + 1000, 2, :t - 5000),
		pg_temp.exemplar2('{7,8}', 0.5, :t), pg_temp.metadata2(1, 5, 6))));
SELECT labels, t_ms - :t AS t, value FROM prom.samples_of('w2_requests_total') ORDER BY 2;
SELECT labels, exemplar, value FROM prom.exemplars('w2_requests_total');
SELECT family, type, help, unit FROM prom.metadata ORDER BY 1;

-- The same series as one of version 1, in the same call: a batch takes all formats.
SELECT * FROM prom.ingest(ARRAY[
	pg_temp.body(pg_temp.series('{__name__,w2_requests_total,job,api}', ARRAY[:t + 2000], '{3}')),
	pg_temp.request2('{"",__name__,w2_requests_total,job,api}', pg_temp.series2(pg_temp.refs(1, 2, 3, 4), pg_temp.sample2(:t + 3000, 4, 0)))],
	'{remote_write_1+snappy,remote_write_2+snappy}');
SELECT count(*) FROM prom.series WHERE labels::text LIKE '%w2_requests_total%';
SELECT labels, t_ms - :t AS t, value FROM prom.samples_of('w2_requests_total') ORDER BY 2;

-- Native histograms; metadata of a classic one is of its family.
SELECT * FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_native,w2_classic_bucket,le,+Inf,Help}',
	pg_temp.series2(pg_temp.refs(1, 2), pg_temp.histogram2(pg_temp.histogram(:t, 3, 4.5, '{1,2}', '{1,2}', 0)), pg_temp.metadata2(3, 6, 0)),
	pg_temp.series2(pg_temp.refs(1, 3, 4, 5), pg_temp.sample2(:t, 7, 0), pg_temp.metadata2(3, 6, 0))));
SELECT labels, value, histogram FROM prom.samples_of('w2_native');
SELECT family, type, help FROM prom.metadata WHERE family LIKE 'w2\_%' ORDER BY 1;

-- References unpacked, labels in any order, symbols behind the series that need them.
SELECT * FROM pg_temp.put(pg_temp.snappy(
	pg_temp.series2(pg_temp.number(1, 3), pg_temp.number(1, 4), pg_temp.number(1, 1), pg_temp.number(1, 2), pg_temp.sample2(:t, 5, 0)) ||
	pg_temp.field(4, '') || pg_temp.field(4, '__name__') || pg_temp.field(4, 'w2_loose') || pg_temp.field(4, 'z') || pg_temp.field(4, 'y')));
SELECT labels, value FROM prom.samples_of('w2_loose');

-- One bad series harms no other: no such symbol, a name alone, no name, no samples, a bad exemplar or metadata.
SELECT refused, error FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_good}',
	pg_temp.series2(pg_temp.refs(1, 3), pg_temp.sample2(:t, 1, 0)), pg_temp.series2(pg_temp.refs(1, 2), pg_temp.sample2(:t, 1, 0))));
SELECT refused, error FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_good}', pg_temp.series2(pg_temp.refs(1, 2, 1), pg_temp.sample2(:t, 1, 0))));
SELECT refused, error FROM pg_temp.put(pg_temp.request2('{"",a,b}', pg_temp.series2(pg_temp.refs(1, 2), pg_temp.sample2(:t, 1, 0))));
SELECT refused, error FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_empty,a}', pg_temp.series2(pg_temp.refs(1, 2, 3, 3))));
SELECT refused, error FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_twice}', pg_temp.series2(pg_temp.refs(1, 2, 1, 2), pg_temp.sample2(:t, 1, 0))));
SELECT samples, exemplars, refused, error FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_good}',
	pg_temp.series2(pg_temp.refs(1, 2), pg_temp.sample2(:t, 1, 0), pg_temp.exemplar2('{1,9}', 1, :t), pg_temp.exemplar2('{1,2}', 2, :t))));
SELECT samples, refused, error FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_good}',
	pg_temp.series2(pg_temp.refs(1, 2), pg_temp.sample2(:t, 1, 0), pg_temp.metadata2(1, 77, 0))));
SELECT samples, histograms, refused, error FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_good}',
	pg_temp.series2(pg_temp.refs(1, 2), pg_temp.histogram2(pg_temp.histogram(:t + 1000, 1, 1, '{0,1}', '{5}')), pg_temp.sample2(:t, 1, 0))));

-- Malformed bodies are refused whole: nothing of them stays, not even metadata.
SELECT refused, error FROM pg_temp.put(pg_temp.request2('{x,__name__,w2_first}', pg_temp.series2(pg_temp.refs(1, 2), pg_temp.sample2(:t, 1, 0))));
SELECT refused, error FROM pg_temp.put(pg_temp.snappy(pg_temp.field(4, '') || '\x2a7f'::bytea));
SELECT refused, error FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_gone,help}',
	pg_temp.series2(pg_temp.refs(1, 2), pg_temp.sample2(:t, 1, 0), pg_temp.metadata2(2, 3, 0)), pg_temp.field(5, '\x0a02ffff')));
SELECT refused, error FROM pg_temp.put(pg_temp.snappy(pg_temp.number(5, 1)));
SELECT refused, error FROM pg_temp.put('\x00'::bytea, pg_temp.snappy(''));
SELECT count(*) FROM prom.samples_of('{__name__=~"w2_gone|w2_first"}');
SELECT count(*) FROM prom.metadata WHERE family = 'w2_gone';

-- Metadata that comes again with every series is stored once, and again after its transaction failed.
BEGIN;
SELECT samples FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_back,help}', pg_temp.series2(pg_temp.refs(1, 2), pg_temp.sample2(:t, 1, 0), pg_temp.metadata2(2, 3, 0))));
ROLLBACK;
SELECT samples FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_back,help}', pg_temp.series2(pg_temp.refs(1, 2), pg_temp.sample2(:t, 1, 0), pg_temp.metadata2(2, 3, 0))));
SELECT samples FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_back,help}', pg_temp.series2(pg_temp.refs(1, 2), pg_temp.sample2(:t, 1, 0), pg_temp.metadata2(2, 3, 0))));
SELECT family, type, help FROM prom.metadata WHERE family = 'w2_back';

-- Labels of type and unit, in place of those that were sent.
SET promgres.ingest_type_and_unit_labels = on;
SELECT samples FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_typed,seconds,__type__,nonsense}',
	pg_temp.series2(pg_temp.refs(1, 2, 4, 5), pg_temp.sample2(:t, 1, 0), pg_temp.metadata2(2, 0, 3)),
	pg_temp.series2(pg_temp.refs(1, 2), pg_temp.sample2(:t, 2, 0))));
RESET promgres.ingest_type_and_unit_labels;
SELECT labels, value FROM prom.samples_of('w2_typed') ORDER BY 2;

-- Limits and formats.
SET promgres.max_samples_per_request = 1;
SELECT refused, error FROM pg_temp.put(pg_temp.request2('{"",__name__,w2_good}', pg_temp.series2(pg_temp.refs(1, 2), pg_temp.sample2(:t, 1, 0), pg_temp.sample2(:t + 1, 1, 0))));
RESET promgres.max_samples_per_request;
SELECT * FROM prom.ingest(ARRAY['\x'::bytea], '{remote_write_3}');
SELECT * FROM prom.ingest(ARRAY['\x'::bytea], '{otlp,otlp}');
SELECT samples, error FROM prom.ingest(ARRAY[pg_temp.zstd(pg_temp.series('{__name__,w2_zstd}', ARRAY[:t], '{1}')), pg_temp.zstd('') || pg_temp.zstd(''),
	substr(pg_temp.zstd('abcdef'), 1, 12), pg_temp.zstd('') || '\x00', '\x1f8b08000000000002ff03', ''],
	'{remote_write_1+zstd,remote_write_1+zstd,remote_write_2+zstd,remote_write_2+zstd,remote_write_2+gzip,remote_write_2+gzip}');

-- Nothing is left for the scripts that follow.
SELECT prom.delete_series('{__name__=~".+"}') > 0 AS deleted;
DELETE FROM prom.metadata;

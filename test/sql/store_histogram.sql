-- Native histograms from a remote_write body to disk and back.
\set ON_ERROR_STOP on
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET client_min_messages = warning;
\set ON_ERROR_STOP off
SET timezone = 'UTC';

-- Integers and floats, both sides, gaps, custom bounds, every hint, among floats of the same series.
SELECT * FROM prom.ingest(ARRAY[
	pg_temp.body(
		pg_temp.series_of('{__name__,h,n,1}',
			pg_temp.histogram(1000, 15, 18.4, '{0,2,1,2}', '{1,2,3,4}', schema => 1, zero => 2, width => 0.001, n_spans => '{-3,1,0,1}', n_counts => '{1,2}'),
			pg_temp.histogram(2000, 31, 20.5, '{0,2,1,2}', '{5,2,3,8}', schema => 1, zero => 9, width => 0.001, n_spans => '{-3,1,0,1}', n_counts => '{2,2}', hint => 2)),
		pg_temp.series_of('{__name__,h,n,2}',
			pg_temp.histogram(1000, 6.5, 'Infinity', '{2,3}', '{1.5,0,5}', whole => false, schema => -53, custom => '{0.1,0.5,1,2}', hint => 3)),
		pg_temp.series('{__name__,h,n,1}', '{1500,3000}', '{7,8}')),
	-- the later of two counts, be it a float or a histogram
	pg_temp.body(pg_temp.series_of('{__name__,h,n,1}', pg_temp.histogram(3000, 0, 0, hint => 1), pg_temp.sample(2000, float8send(2))))]);
SELECT labels, t_ms, value, histogram FROM prom.samples_of('h');

-- Stale: kept as the float that says so.
SELECT * FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,h,n,2}',
	pg_temp.field(4, '\x080019'::bytea || pg_temp.little_endian('\x7ff0000000000002') || pg_temp.number(15, 2000))))]);
SELECT t_ms, encode(float8send(value), 'hex') AS bits, histogram FROM prom.samples_of('h{n="2"}') WHERE t_ms = 2000;

-- Packed or not, in several runs, an empty message, a schema that is too fine, whole numbers that no double holds.
SELECT * FROM prom.ingest(ARRAY[pg_temp.body(
	pg_temp.series_of('{__name__,odd,n,1}', pg_temp.field(4, pg_temp.number(1, 11) || pg_temp.number(12, 2) || pg_temp.field(11, pg_temp.number(2, 1)) ||
		pg_temp.field(12, '\x0408') || pg_temp.field(11, pg_temp.number(1, 10) || pg_temp.number(2, 2)) || pg_temp.number(15, 1))),
	pg_temp.series_of('{__name__,odd,n,2}', pg_temp.field(4, '')),
	pg_temp.series_of('{__name__,odd,n,3}', pg_temp.histogram(1, 21, 1, '{-5,3,2,3}', '{1,2,3,4,5,6}', schema => 10)),
	pg_temp.series_of('{__name__,odd,n,4}', pg_temp.histogram(1, 9007199254740995, 1, '{0,1}', '{9007199254740995}')),
	pg_temp.series_of('{__name__,odd,n,5}', pg_temp.field(4, pg_temp.fixed(2, 3) || pg_temp.field(11, pg_temp.number(2, 2)) || pg_temp.fixed(13, 1) || pg_temp.fixed(13, 2) || pg_temp.number(14, 77))))]);
SELECT labels, t_ms, value, histogram FROM prom.samples_of('odd') ORDER BY 1;

-- What is no valid histogram is refused with Prometheus' reason and the series; the rest is kept.
SELECT x.n, b.samples, b.histograms, b.error FROM (VALUES
	(1, pg_temp.histogram(1000, 3, 1, '{0,1}', '{1}')),
	(2, pg_temp.histogram(1000, 1, 1, '{0,1,0,1}', '{1,1}')),
	(3, pg_temp.histogram(1000, 1, 'NaN', '{0,2}', '{1,1}')),
	(4, pg_temp.histogram(1000, 2, 1, '{0,1}', '{1,1}')),
	(5, pg_temp.histogram(1000, 2, 1, '{0,1,-1,1}', '{1,1}')),
	(6, pg_temp.histogram(1000, 0, 1, '{0,2}', '{1,-1}')),
	(7, pg_temp.histogram(1000, 1, 1, '{0,1}', '{-1}', whole => false)),
	(8, pg_temp.histogram(1000, 1, 1, '{0,1}', '{1}', schema => 53)),
	(9, pg_temp.histogram(1000, 1, 1, '{0,1}', '{1}', schema => -5)),
	(10, pg_temp.histogram(1000, 1, 1, '{0,1}', '{1}', custom => '{1}')),
	(11, pg_temp.histogram(1000, 1, 1, '{0,1}', '{1}', schema => -53, custom => '{1,1}')),
	(12, pg_temp.histogram(1000, 1, 1, '{0,1}', '{1}', schema => -53, custom => '{1,Infinity}')),
	(13, pg_temp.histogram(1000, 3, 1, '{0,3}', '{1,1,1}', schema => -53, custom => '{1}')),
	(14, pg_temp.histogram(1000, 1, 1, '{0,1}', '{1}', schema => -53, n_spans => '{0,1}', n_counts => '{0}')),
	(15, pg_temp.histogram(1000, 2, 1, '{0,1}', '{1}', schema => -53, zero => 1)),
	(16, pg_temp.histogram(1000, 1, 1, '{0,1}', '{Infinity}', whole => false)),
	(17, pg_temp.histogram(-1, 1, 1, '{0,1}', '{1}')),
	(18, pg_temp.histogram(1000, 1, 1, '{0,1}', '{1}', width => -1)),
	(19, pg_temp.field(4, pg_temp.number(1, 0) || pg_temp.field(12, decode(repeat('00', 16385), 'hex'))))) x(n, part),
	prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,bad}', x.part), pg_temp.series(ARRAY['__name__', 'good', 'n', x.n::text], '{1}', '{1}'))]) b
ORDER BY 1;
SELECT count(*) FROM prom.samples_of('bad');
-- malformed bytes: nothing of the body
SELECT error FROM unnest(ARRAY[pg_temp.field(4, '\x0a00'), pg_temp.field(4, pg_temp.field(13, '\x00')), pg_temp.field(4, pg_temp.field(12, '\x80')),
	pg_temp.field(4, pg_temp.field(11, '\x0a00'))]) part, prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,bad}', part))]);

-- Thousands of samples through fresh rows and several generations of warm ones.
CREATE TABLE wanted AS SELECT 86400000 + i * 15000 AS t_ms, n, CASE WHEN i % 97 = 5 THEN NULL ELSE
	format('{{schema:3 count:%s sum:%s z_bucket:%s z_bucket_w:1e-128 spans:[-2:3 4:%s] buckets:[%s] int:true}}', i * n * 7 + i + 20 * cut,
		i * 0.1, i * n * 7, cut, array_to_string(ARRAY[i, 0, 0] || array_fill(20, ARRAY[cut]), ' ')) END::prom.histogram AS h, i, cut
FROM generate_series(1, 400) i, generate_series(1, 3) n, LATERAL (SELECT 1 + i / 100 AS cut) c;
DO $$
DECLARE
	part int;
BEGIN
	FOR part IN 0 .. 19 LOOP
		PERFORM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(s)) FROM (
			SELECT pg_temp.series_of(ARRAY['__name__', 'many', 'n', n::text], VARIADIC array_agg(CASE WHEN h IS NULL THEN pg_temp.sample(t_ms, float8send(i)) ELSE
				pg_temp.histogram(t_ms, i * n * 7 + i + 20 * cut, i * 0.1, ARRAY[-2, 3, 4, cut], ARRAY[i, 0, 0]::float8[] || array_fill(20::float8, ARRAY[cut]),
					schema => 3, zero => i * n * 7, width => 1e-128) END ORDER BY i)) AS s
			FROM wanted WHERE i % 20 = part GROUP BY n) x)]);
		IF part % 2 = 1 THEN
			PERFORM prom._merge_step(0::int2, 2000);
		END IF;
	END LOOP;
END
$$;
CREATE VIEW differing AS SELECT count(*) AS samples, count(s.histogram) AS histograms, count(*) FILTER (WHERE w.h::text IS DISTINCT FROM s.histogram::text OR (w.h IS NULL AND s.value <> w.i)) AS differ
FROM wanted w FULL JOIN prom.samples_of('many') s ON s.t_ms = w.t_ms AND prom.label(s.labels, 'n') = w.n::text;
SELECT (SELECT count(*) > 0 FROM prom.fresh) AS fresh, (SELECT count(*) > 0 FROM prom.warm) AS warm, * FROM differing;
CALL prom.merge();
SELECT (SELECT count(*) FROM prom.fresh) AS fresh, (SELECT sum(w.samples) >= 1200 FROM prom.warm w) AS warm, * FROM differing;
-- a histogram is a few bytes
SELECT sum(octet_length(prom._chunk_send(w.data))) / 1200 < 20 AS small FROM prom.warm w WHERE w.t_min >= 86400000;

-- Deleted in part, then with its series.
SELECT prom.delete_series('many{n="2"}', to_timestamp(86400 + 15), to_timestamp(86400 + 15 * 200));
SELECT count(*), count(histogram), min(t_ms) FROM prom.samples_of('many{n="2"}');
SELECT count(*), count(histogram) FROM prom.samples_of('many{n="3"}');
SELECT prom.delete_series('{__name__=~"many|h|odd|good"}');
SELECT count(*) FROM prom.series WHERE prom.label(labels, '__name__') IN ('many', 'h', 'odd', 'good');
DROP VIEW differing;
DROP TABLE wanted;

-- Millions of empty messages do not fill the memory.
SELECT samples, histograms > 3000000 AS many, regexp_replace(error, '[0-9]+', 'N', 'g') AS error
FROM prom.ingest(ARRAY[pg_temp.snappy(pg_temp.field(1, pg_temp.label('__name__', 'empty') || decode(repeat('2200', 4000000), 'hex')))]);
SELECT count(*), count(histogram) FROM prom.samples_of('empty');
SELECT prom.delete_series('empty');

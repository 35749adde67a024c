-- Native histograms: text and binary form, and their way through chunks of every style.

-- Text comes back as it was; the fields that are not given are zero.
SELECT h::prom.histogram FROM (VALUES
	('{{}}'),
	('{{schema:1 count:5 sum:7 z_bucket:1 z_bucket_w:0.001 buckets:[1 2] offset:3 n_buckets:[1] n_offset:-2 counter_reset_hint:gauge}}'),
	('{{schema:-53 count:6 sum:-0 custom_values:[0.5 1 10] buckets:[1 2 3 0]}}'),
	(' {{ count:NaN sum:NaN(7ff0000000000002) buckets:[ -1.5 +Inf ] counter_reset_hint:not_reset }} '),
	('{{schema:8 count:12 sum:1e300 int:true buckets:[3 4 5] spans:[-100000:1 5:2] n_spans:[7:0]}}')) v(h);
SELECT h = h::prom.histogram::text AS same FROM (VALUES
	('{{schema:3 count:1e+17 sum:0.1 z_bucket:0.3 z_bucket_w:2.938735877055719e-39 offset:-7 buckets:[5e-324 1.7976931348623157e+308] counter_reset_hint:reset}}'),
	('{{schema:-4 count:0 sum:NaN(0x7ff8000000000000) n_spans:[0:2 1:1 0:0] n_buckets:[1 2 3]}}')) v(h);

-- What is no histogram.
DO $$
DECLARE
	bad text;
	detail text;
BEGIN
	FOREACH bad IN ARRAY ARRAY['', '{}', '{{', '{{schema:9}}', '{{schema:0.5}}', '{{schema:1000}}', '{{what:1}}', '{{}} x',
		'{{buckets:[1 2}}', '{{buckets:1}}', '{{sum:x}}', '{{sum:1e999}}', '{{counter_reset_hint:no}}', '{{spans:[0]}}',
		'{{spans:[0:1]}}', '{{buckets:[1 2] spans:[0:1]}}', '{{buckets:[1 2] spans:[0:1 -1:1]}}', '{{buckets:[1] offset:2147483647}}',
		'{{custom_values:[1]}}', '{{schema:-53 custom_values:[1 1]}}', '{{schema:-53 custom_values:[2 1]}}',
		'{{schema:-53 custom_values:[NaN]}}', '{{schema:-53 custom_values:[Inf]}}', '{{schema:-53 custom_values:[1] buckets:[1 2 3]}}',
		'{{schema:-53 n_buckets:[1]}}', '{{schema:-53 z_bucket:1}}', '{{schema:-53 z_bucket_w:1}}', '{{schema:-53 buckets:[1] offset:-1}}',
		'{{z_bucket_w:-1}}', '{{z_bucket_w:NaN}}', '{{sum:NaN(1)}}']
	LOOP
		BEGIN
			PERFORM bad::prom.histogram;
			RAISE NOTICE '% was taken', bad;
		EXCEPTION WHEN invalid_text_representation THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
			RAISE NOTICE '%: %', bad, detail;
		END;
	END LOOP;
END
$$;

-- Histograms in chunks: a counter that gets new buckets, floats and a stale marker between, every hint,
-- layouts that alternate, integers and floats, many and few.
CREATE FUNCTION histogram_row(i int) RETURNS prom.histogram LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE
		WHEN i % 50 = 17 THEN NULL
		WHEN i % 37 = 5 THEN format('{{schema:-53 count:%s sum:%s.25 custom_values:[0.1 1 10] buckets:[%s 0 %s 1] counter_reset_hint:gauge}}', 2 * i + 1, i, i, i)
		WHEN i % 41 = 6 THEN format('{{schema:2 count:%s.5 sum:NaN z_bucket:0.5 z_bucket_w:0.01 n_buckets:[%s %s.25] n_offset:%s}}', 2 * i + 9, i, i, i % 7)
		WHEN i = 60 THEN '{{schema:0 count:0 sum:NaN(0x7ff0000000000002)}}'
		WHEN i < 100 THEN format('{{schema:3 count:%s sum:%s z_bucket:%s z_bucket_w:2.938735877055719e-39 spans:[-5:2 3:1] buckets:[%s %s %s] int:true counter_reset_hint:%s}}',
			1 + 7 * i, i * 1.5, i, 2 * i, i, 3 * i + 1, (ARRAY['unknown', 'reset', 'not_reset'])[1 + i % 3])
		ELSE format('{{schema:3 count:%s sum:%s z_bucket:%s z_bucket_w:2.938735877055719e-39 spans:[-5:2 3:2] buckets:[%s %s %s %s] n_spans:[1:1] n_buckets:[%s] int:true}}',
			2 + 9 * i, i * 1.5, i, 2 * i, i, 3 * i + 1, i, i + 1)
		END::prom.histogram
$$;
CREATE TABLE made AS SELECT i, 1000 + i * 15000::int8 AS t_ms, CASE WHEN i = 117 THEN 'NaN' ELSE i * 0.5 END::float8 AS value, histogram_row(i) AS histogram
FROM generate_series(1, 700) i;
CREATE TABLE chunk AS
SELECT style, len, prom.chunk_build(3::int2, 7, array_agg(t_ms ORDER BY i), array_agg(value ORDER BY i), array_agg(histogram ORDER BY i), style) AS data
FROM made, unnest(ARRAY['fresh', 'warm', 'cold', 'plain']) AS style, unnest(ARRAY[1, 5, 7, 8, 20, 700]) AS len
WHERE i <= len GROUP BY style, len;
SELECT c.style, c.len, count(*), count(s.value) AS floats, count(s.histogram) AS histograms,
	bool_and(CASE WHEN m.i = 60 THEN s.histogram IS NULL AND s.value = 'NaN'
		ELSE s.histogram::text IS NOT DISTINCT FROM m.histogram::text AND (s.histogram IS NOT NULL OR s.value = m.value) END) AS same
FROM chunk c, prom.samples(c.data) s JOIN made m ON m.t_ms = s.t_ms
WHERE s.shard = 3 AND s.sid = 7 GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*), bool_and(data::text::prom.chunk::text = data::text) AS same FROM chunk WHERE style <> 'plain';
SELECT max(octet_length(prom._chunk_send(data))) FILTER (WHERE style = 'warm') < 13000 AS small FROM chunk WHERE len = 700;

-- Merged: by order, floats win over histograms and the other way round, none is lost.
SELECT s.t_ms, s.value, s.histogram FROM (
	SELECT prom.chunk_merge(data, ord) AS data FROM (VALUES
		(prom.chunk_build(0::int2, 1, '{1000,2000,3000}', '{0,5,0}', ARRAY['{{count:1 buckets:[1]}}', NULL, '{{count:3 buckets:[3]}}']::prom.histogram[]), 1),
		(prom.chunk_build(0::int2, 1, '{1000,2000,2500}', '{7,0,8}', ARRAY[NULL, '{{count:2 buckets:[2]}}', NULL]::prom.histogram[], 'fresh'), 2),
		(prom.chunk_build(0::int2, 1, '{500,3000}', '{1,2}', 'plain'), 0)) v(data, ord)) m, prom.samples(m.data) s;
WITH part AS (
	SELECT i % 5 AS p, prom.chunk_build(3::int2, 7, array_agg(t_ms ORDER BY i), array_agg(value ORDER BY i), array_agg(histogram ORDER BY i),
		(ARRAY['fresh', 'warm', 'cold', 'plain'])[1 + i % 5 % 4]) AS data
	FROM made GROUP BY i % 5)
SELECT count(*), count(s.histogram) AS histograms, bool_and(m.i = 60 OR s.histogram::text IS NOT DISTINCT FROM m.histogram::text) AS same
FROM (SELECT prom.chunk_merge(data, p) AS data FROM part) p, prom.samples(p.data) s JOIN made m ON m.t_ms = s.t_ms;

-- Hints as queries get them: unknown at first, after a float, a gauge and whatever may be a reset.
SELECT what, prom._chunk_hints(prom.chunk_build(0::int2, 1, ARRAY(SELECT i::int8 FROM generate_series(1, cardinality(h)) i), array_fill(0::float8, ARRAY[cardinality(h)]), h::prom.histogram[])) AS hints FROM (VALUES
	('goes on', ARRAY['{{count:1 buckets:[1] counter_reset_hint:not_reset}}', '{{count:1 buckets:[1]}}', '{{count:9 buckets:[1 5 3]}}', '{{count:10 buckets:[1 5 4] counter_reset_hint:not_reset}}']),
	('count', ARRAY['{{count:2 buckets:[1]}}', '{{count:1 buckets:[1]}}', '{{count:1 buckets:[1]}}']),
	('bucket', ARRAY['{{count:2 buckets:[1 1]}}', '{{count:2 buckets:[0 2]}}']),
	('bucket is not lost when it was empty', ARRAY['{{count:2 buckets:[0 2]}}', '{{count:2 offset:1 buckets:[2]}}']),
	('lost bucket', ARRAY['{{count:2 buckets:[1 1]}}', '{{count:2 buckets:[2]}}', '{{count:3 spans:[0:1 4:1] buckets:[2 1]}}', '{{count:3 spans:[0:1 3:2] buckets:[2 0 1]}}']),
	('negative side', ARRAY['{{count:2 n_buckets:[1 1]}}', '{{count:2 n_buckets:[1]}}']),
	('zero bucket', ARRAY['{{count:2 z_bucket:2}}', '{{count:2 z_bucket:1}}', '{{count:2 z_bucket:1 z_bucket_w:0.1}}']),
	('schema', ARRAY['{{schema:1 count:1 buckets:[1]}}', '{{schema:2 count:1 buckets:[1]}}']),
	('integers', ARRAY['{{count:1 buckets:[1]}}', '{{count:1 buckets:[1] int:true}}']),
	('bounds', ARRAY['{{schema:-53 custom_values:[1]}}', '{{schema:-53 custom_values:[1]}}', '{{schema:-53 custom_values:[2]}}']),
	('sender says reset', ARRAY['{{count:1 buckets:[1]}}', '{{count:5 buckets:[5] counter_reset_hint:reset}}', '{{count:6 buckets:[6]}}']),
	('gauges', ARRAY['{{count:1 counter_reset_hint:gauge}}', '{{count:2 counter_reset_hint:gauge}}', '{{count:3}}', '{{count:3}}']),
	('a float, the end', ARRAY['{{count:1}}', NULL, '{{count:1}}', '{{count:1}}', '{{sum:NaN(7ff0000000000002)}}', '{{count:1}}'])) v(what, h);

-- What cannot be stored.
SELECT prom.chunk_build(0::int2, 1, '{1}', '{0}', ARRAY['{{count:1 buckets:[-1]}}']::prom.histogram[]);
SELECT prom.chunk_build(0::int2, 1, '{1}', '{0}', ARRAY['{{count:3 buckets:[1 1] int:true}}']::prom.histogram[]);
SELECT prom.chunk_build(0::int2, 1, '{1}', '{0}', ARRAY['{{count:1 buckets:[1 1] sum:NaN int:true}}']::prom.histogram[]);
SELECT prom.chunk_build(0::int2, 1, '{1}', '{0}', ARRAY['{{count:1.5 buckets:[1.5] int:true}}']::prom.histogram[]);
SELECT prom.chunk_build(0::int2, 1, '{1}', '{0}', ARRAY['{{count:-1}}']::prom.histogram[]);
SELECT prom.chunk_build(0::int2, 1, '{1,2}', '{0,0}', ARRAY[NULL]::prom.histogram[]);
SELECT count(*) FROM prom.samples(prom.chunk_build(0::int2, 1, '{1}', '{0}', ARRAY['{{count:4 buckets:[9 2 1]}}', NULL]::prom.histogram[]));

-- Every byte of a chunk with histograms spoiled: refused, or read without harm.
DO $$
DECLARE
	good text := (SELECT data::text FROM chunk WHERE style = 'warm' AND len = 20);
	fresh text := (SELECT data::text FROM chunk WHERE style = 'fresh' AND len = 7);
	bad text;
	n int := 0;
BEGIN
	FOREACH bad IN ARRAY ARRAY[good, fresh] LOOP
		FOR i IN 2 .. length(bad) / 2 LOOP
			FOR k IN 1 .. 6 LOOP
				BEGIN
					PERFORM count(s.histogram::text) FROM prom.samples(overlay(bad placing (ARRAY['00', 'ff', '80', '7f', '01', '20'])[k] from 2 * i - 1 for 2)::prom.chunk) s;
				EXCEPTION WHEN invalid_text_representation THEN
					n := n + 1;
				END;
			END LOOP;
			BEGIN
				PERFORM substr(bad, 1, 2 * i)::prom.chunk;
			EXCEPTION WHEN invalid_text_representation THEN
				n := n + 1;
			END;
		END LOOP;
	END LOOP;
	RAISE NOTICE 'many refused: %', n > 500;
END
$$;
DROP TABLE made, chunk;
DROP FUNCTION histogram_row;

-- What Prometheus has behind flags of its parser: computed durations, extended ranges, fill modifiers, info.
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
CREATE FUNCTION pg_temp.shown(e text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	IF prom.format(prom.format(e)) <> prom.format(e) THEN
		RETURN 'printed: ' || prom.format(e) || ', and then: ' || prom.format(prom.format(e));
	END IF;
	RETURN prom.format(e);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || coalesce(nullif(' (' || hint || ')', ' ()'), '');
END $$;
CREATE FUNCTION pg_temp.try(e text, step interval DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	IF step IS NULL THEN
		SELECT count(*) INTO n FROM prom.query(e, to_timestamp(120));
	ELSE
		SELECT count(*) INTO n FROM prom.query_range(e, to_timestamp(60), to_timestamp(120), step);
	END IF;
	RETURN n || ' rows';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- off: Prometheus' words, and the setting as a hint
SELECT e, pg_temp.shown(e) FROM unnest(ARRAY['a[5m*2]', 'a offset (1m)', 'a offset -step()', 'a[5m] anchored', 'a smoothed', '(a[5m]) smoothed', 'a + fill(0) b',
	'a + on (x) group_left fill_left(0) fill_right(1) b', 'info(a)', 'limitk(1, a)', 'mad_over_time(a[5m])']) e;
SET promgres.promql_experimental = on;

-- durations: as they were written, numbers in the units of durations only where they stand alone
SELECT e, pg_temp.shown(e) FROM unnest(ARRAY['a[5m*2]', 'a[300]', 'a[300 * 2]', 'a[(300)]', 'a[((1m + 5) / 2) ^ 2]', 'a[-(1m-2m)]', 'a[- -1m]', 'a[+(1m+1)]', 'a[STEP()]', 'a[Min_Of(step(), 1m):range() / 10]',
	'a[5m+1:]', 'a[1h:1m+1] offset max_of(1, 2)', 'a offset (5m)', 'a offset -(5m)', 'a offset -(5m + 1)', 'a offset +(5m + 1)', 'a offset -step()', 'a offset range()', 'a offset 5m + 1', 'a offset -1 ^ 2',
	'a[5m % 7] @ start() offset (1 + 1)', 'a[1m + 0x10]', 'a[1_0 * 1e1]']) e;
SELECT e, pg_temp.shown(e) FROM unnest(ARRAY['a[1m / 0]', 'a[1m % 0s]', 'a[0]', 'a[(0)]', 'a[-1m]', 'a[1m:-(1m)]', 'a offset (1m / (0))', 'a[1e10]', 'a[1m * 1e10]', 'a[step(]', 'a[step]', 'a[min_of(1)]', 'a[min_of(1,2,3)]',
	'a[1m +]', 'a[(1m]', 'a[1m)]', 'a[b]', 'a[1m < 2m]', 'a[inf]', 'a offset', 'a offset (1m + 1) offset 1m', 'a offset step() [5m]', 'a offset 1m offset step()', 'sum(a)[5m + 1]', '1 offset (1 + 1)']) e;
SELECT e, pg_temp.try(e) AS instant, pg_temp.try(e, '30 s') AS range FROM unnest(ARRAY['rate(a[step()])', 'rate(a[range()])', 'rate(a[1m / step()])', 'a offset (1m % range())', 'rate(a[0.0001 * 2])', 'rate(a[1m - 1m])',
	'a offset (1e9 * 1e9)', 'a offset ((0 - 1) ^ 0.5)', 'max_over_time(a[1m:0 * 1])', 'sum(1 + (a and a offset (1 / (1 - 1))))', 'topk(scalar(a offset (1 / (1 - 1))), a)', 'a[1m / (1 - 1)]']) e;
SELECT pg_temp.shown('a[' || repeat('(', 2000) || '1+1' || repeat(')', 2000) || ']');
SELECT pg_temp.shown('a[1' || repeat('+1', 2000) || ']');
SELECT pg_temp.shown('a offset -' || repeat('(', 900) || '1+1' || repeat(')', 900)) = 'a offset -' || repeat('(', 900) || '1 + 1' || repeat(')', 900) AS deep;

-- anchored and smoothed
SELECT e, pg_temp.shown(e) FROM unnest(ARRAY['a[5m] anchored', 'rate(a[5m]  SMOOTHED offset 1m @ 5)', 'a[5m] offset 1m anchored', 'a smoothed', 'a smoothed @ end()', 'smoothed + anchored{anchored="smoothed"}', 'sum by (smoothed) (anchored)',
	'a[5m] smoothed anchored', 'a[5m] anchored smoothed', 'a anchored', 'a[5m:] anchored', 'a[5m:1m] smoothed', '1 smoothed', 'sum(a) anchored', 'rate(a[5m]) smoothed', '(a[5m]) anchored']) e;
SELECT e, pg_temp.try(e) FROM unnest(ARRAY['rate(nosuch[1m] anchored)', 'deriv(nosuch[1m] anchored)', 'quantile_over_time(0.5, nosuch[1m] smoothed)', 'changes((nosuch[1m] smoothed))', 'absent_over_time(nosuch[1m] smoothed)',
	'double_exponential_smoothing(nosuch[1m] anchored, 5, 5)']) e;

-- fill modifiers
SELECT e, pg_temp.shown(e) FROM unnest(ARRAY['a + fill(0) b', 'a + on(x) fill_left (-1.5) b', 'a + bool fill_right(Inf) b', 'a > bool ignoring(x) group_left(y) fill_right(1) fill_left(2) b', 'a + fill_left(1) fill_right(1) b', 'a + fill_left(1) fill_right(NaN) b',
	'a + fill(+1) fill', 'fill + fill_left', 'fill{fill_right="fill"}', 'sum by (fill, fill_left) (a)',
	'a and fill(0) b', 'a or on (x) fill_left(0) b', 'a + fill(0) 1', '1 + fill_right(0) 1', 'a + fill(0) fill(1) b', 'a + fill_left(0) fill_left(1) b', 'a + fill() b', 'a + fill(b) c', 'a + fill(1m) b', 'a + fill(0) on (x) b', 'fill(0)']) e;

-- info
SELECT e, pg_temp.shown(e) FROM unnest(ARRAY['info(a)', 'info(a, {})', 'info(rate(a[5m]), {x=~".*",__name__="b"})', 'info(a, b)', 'info(a, {"b"})', 'info(a, b{x="y"})', 'info(a, (a))', 'info(a, {x="y"}[5m])', 'info(a, 1)', 'info(a, sum(a))', 'info()', 'info(a, {}, {})', 'info({})']) e;

-- the samples of an extended range, its edges among them
SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(pg_temp.series('{__name__,g}', '{0,10000,20000,30000}', '{1,3,NaN,9}')))]);
SELECT e, (SELECT string_agg(format('%s@%s', value, extract(epoch FROM "time")::float8), ' ' ORDER BY "time") FROM prom.query(e, to_timestamp(0))) AS samples
  FROM unnest(ARRAY['g[20s] @ 25', 'g[20s] anchored @ 25', 'g[20s] smoothed @ 25', 'g[10s] anchored @ 10', 'g[10s] smoothed @ 35', 'g[10s] anchored @ 35', 'g[20s] smoothed @ 5 offset -10s', 'g[1m] smoothed @ 0',
	'g[5m] anchored @ 340', 'g[5m] smoothed @ 340', 'g[5m] smoothed @ -10', 'g[1m] smoothed @ -400', 'g[10s] anchored @ 40', 'g[10 + 1] anchored @ 40']) e;
SELECT (prom._reached_samples(NULL, 0, '{1}', 0, 1, 1, 10, 0, 0))[1];
SELECT (prom._extended('anchored_rate', prom._steps_chunk('[1 2 3]', 10, 10), 0, '{0}', 30, 1, 1, 10, -1, 0))[1];
SELECT (prom._extended('anchored_rate', prom._steps_chunk('[1 2 3]', 10, 10), 0, '{0}', 30, 1, 1, 10, 9223372036854775807, 0))[1];
SELECT (prom._extended('smoothed_rate', prom._steps_chunk('[1 2 3]', 10, 10), 0, '{0}', 30, 1, 1, 10, 0, 9223372036854775807))[1];
SELECT (prom._extended('anchored_rate', prom._steps_chunk('[1 2 3]', 10, 10), 0, '{0}', 30, 1, 1, 10, 10, NULL))[1];

-- info, all of its errors
SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(l::text[], '{60000}', '{1}'))) FROM unnest(ARRAY[
	'{__name__,m,instance,a,job,b}', '{__name__,target_info,instance,a,job,b,x,1}', '{__name__,target_info,instance,a,job,b,x,2}', '{__name__,p,instance,a}', '{__name__,other_info,instance,a,y,1}', '{__name__,more_info,instance,a,y,2}']) l)]);
SELECT e, pg_temp.try(e) FROM unnest(ARRAY['info(m)', 'info(p)', 'info(p, {__name__=~".+_info"})', 'info(p, {__name__=~".+_info",z=""})', 'info(p, {z=~".+"})']) e;

-- extended ranges are of floats, be they evaluated or shown
SELECT samples, histograms FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,native}', pg_temp.histogram(60000, 1, 1, '{0,1}', '{1}')))]);
SELECT e, pg_temp.try(e) FROM unnest(ARRAY['rate(native[2m] anchored)', 'rate(native[2m] smoothed)', 'native[2m] anchored', 'native[2m] smoothed', 'native[2m]']) e;

RESET promgres.promql_experimental;
SELECT prom.delete_series('{__name__=~".+"}');

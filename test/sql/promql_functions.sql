-- PromQL's functions of values, dates and labels, as SQL; the order of a sorted result.

-- functions of values: absent steps stay absent
SELECT f, prom._math(f, '[-2 -0 0 0.5 _ 1 NaN +Inf -Inf]') FROM unnest('{abs,ceil,floor,round,sgn,sqrt,deg,rad}'::text[]) f;
SELECT f, prom._math(f, '[-2 -0 0 _ 1 NaN +Inf -Inf]') FROM unnest('{ln,log2,log10,acosh,atanh}'::text[]) f;
SELECT f, prom._math(f, '[0 _ NaN]') FROM unnest('{exp,sin,cos,tan,asin,acos,atan,sinh,cosh,tanh,asinh}'::text[]) f;
SELECT prom._math('log2', '[8 0.125 1e308 5e-324]'), prom._math('log10', '[1 10 100 1000]');
SELECT count(*) FILTER (WHERE prom._math(f, prom._vals(x))::text = format('const(%s)', y)) AS same, count(*) AS of FROM unnest('{0.1,0.5,0.7,0.99}'::float8[]) x,
	LATERAL (VALUES ('exp', exp(x)), ('ln', ln(x)), ('sqrt', sqrt(x)), ('deg', degrees(x)), ('rad', radians(x)), ('sin', sin(x)), ('cos', cos(x)), ('tan', tan(x)), ('asin', asin(x)),
		('acos', acos(x)), ('atan', atan(x)), ('sinh', sinh(x)), ('cosh', cosh(x)), ('tanh', tanh(x)), ('asinh', asinh(x)), ('atanh', atanh(x))) v(f, y);
SELECT f, prom._math(f, '[-2 -0 0 0.5 _ 1 NaN +Inf -Inf]', a) FROM unnest('{clamp_min,clamp_max}'::text[]) f, unnest('{const(0),const(-0),const(NaN),const(+Inf),const(-Inf)}'::prom.vals[]) a;
SELECT a, prom._math('round', '[0.15 -2.5 2.5 17 _ NaN +Inf]', a) FROM unnest('{const(1),const(0.1),const(5),const(0),const(-1),const(NaN)}'::prom.vals[]) a;
SELECT prom._math('clamp', '[1 2 3 _ NaN +Inf]', '[2 2 2 2 2 2]', '[3 1 2.5 3 3 3]');
SELECT prom._math('clamp', '[1 2]', 'const(2)', 'const(1)') IS NULL AS nothing_left, prom._math('abs', 'const(-1)');
SELECT prom._math('timestamp', '[1 _ NaN]', prom._time(15000, 15000, 3));
SELECT prom._math('nosuch', '[1]');
SELECT prom._math('abs', '[1]', 'const(1)');
SELECT prom._math('clamp', '[1]', 'const(1)');

-- dates: against SQL's own over 25 centuries, then what SQL has not
SELECT count(*), sum((prom._date(field, prom._vals(extract(epoch FROM day)::float8))::text <> format('const(%s)', date_part(part, day)))::int) AS wrong
	FROM generate_series('0001-01-01'::timestamp, '2500-12-31', '7 days 5 hours 43 minutes') day,
		(VALUES ('minute', 'minute'), ('hour', 'hour'), ('day_of_week', 'dow'), ('day_of_month', 'day'), ('day_of_year', 'doy'), ('month', 'month'), ('year', 'year')) v(field, part);
SELECT y, prom._date('days_in_month', ('[' || string_agg(extract(epoch FROM make_timestamp(y, m, 1, 0, 0, 0))::text, ' ' ORDER BY m) || ']')::prom.vals)
	FROM unnest('{1900,2000,2023,2024}'::int[]) y, generate_series(1, 12) m GROUP BY y ORDER BY y;
SELECT f, prom._date(f, '[-1 -0.9 -62135596801 1e18 9.3e18 NaN -Inf _]')
	FROM unnest('{minute,hour,day_of_week,day_of_month,day_of_year,days_in_month,month,year}'::text[]) f;
SELECT prom._date('century', '[1]');

-- absence
SELECT prom._absent('[1 _ NaN]', 3), prom._absent(NULL, 2), prom._absent('[1 2]', 2) IS NULL AS never;
SELECT prom._absent('[_]', NULL) IS NULL AS unknown;
SELECT prom._absent(NULL, 0);

-- label_replace: the template's references, the wrong ones among them
SELECT r, prom._label_replace('{a="x-y-z"}', 'd', r, 'a', '(\w+)-(?P<mid>\w+)-(z)(q)?')
	FROM unnest(array['$1', '${1}2', '$12', '$1x', '$mid', '${mid}_', '$mid_', '$0', '$3$4$5', '$$1', '$$$1', '$', '$-', '${', '${1', '${}', '${1 }', '$01', '$99999999999', '$é', 'é$1é', '']) r;
SELECT prom._label_replace('{a="x",b="y"}', 'b', '$1', 'nosuch', '(.*)') AS removed, prom._label_replace('{a="x"}', 'b', '$1', 'a', '(y)') AS no_match,
	prom._label_replace('{a="xx"}', 'b', '1', 'a', 'x') AS part, prom._label_replace('{a="x\ny"}', 'b', '$1', 'a', 'x.(.)') AS newline,
	prom._label_replace('{a="web"}', 'a', '$1.$2', 'a', '(w|we)(.*)') AS first_alternative;
SELECT length(prom.label(prom._label_replace('{a="x"}', 'b', repeat('$0', 65535), 'a', '.'), 'b'));
SELECT prom._label_replace('{a="x"}', 'b', repeat('$0', 65536), 'a', '.');
SELECT prom._label_replace('{a="x"}', 'b', repeat('y', 100000), 'a', '.');
SELECT prom._label_replace('{a="x"}', repeat('y', 1025), 'y', 'a', '.');
SELECT prom._label_replace('{a="x"}', '', 'y', 'a', 'nosuch');
SELECT prom._label_replace('{a="x"}', 'b', 'y', 'a', '(');

-- label_join
SELECT prom._label_join('{a="x",b="y"}', 'c', '-', '{b,nosuch,a}') AS three, prom._label_join('{a="x",b="y"}', 'a', '-', '{a,a}') AS itself,
	prom._label_join('{a="x",b="y"}', 'b', '', '{nosuch}') AS empty, prom._label_join('{a="x",b="y"}', 'b', '-', '{}') AS none;
SELECT prom._label_join('{a="x"}', 'b', repeat('-', 65536), '{a,a}');
SELECT prom._label_join('{a="x"}', '', '-', '{a}');
SELECT prom._label_join('{a="x"}', 'b', '-', '{a,""}');
SELECT prom._label_join('{a="x"}', 'b', '-', '{a,NULL}');

-- sort keys: NaN is last both ways
SELECT v, rank() OVER (ORDER BY prom._order(v, false)) AS up, rank() OVER (ORDER BY prom._order(v, true)) AS down
	FROM unnest('{[1],[NaN],[-Inf],[+Inf],[-1]}'::prom.vals[]) WITH ORDINALITY u(v, i) ORDER BY i;
SELECT prom._order('[1 2]', false);

-- whole queries
\getenv srcdir PG_ABS_SRCDIR
\set lib :srcdir '/lib/body.sql'
\set ECHO none
\i :lib
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT sum(samples) FROM prom.ingest(ARRAY[(SELECT pg_temp.body(VARIADIC array_agg(pg_temp.series(
	ARRAY['__name__', 'temperature', 'room', room], '{0,60000}', ARRAY[value, value]))) FROM (VALUES ('a', 21.5), ('b', 'NaN'), ('c', -3), ('d', 19)) v(room, value))]);
SELECT labels, value FROM prom.query('sort(temperature)', to_timestamp(60));
SELECT labels, value FROM prom.query('sort_desc(temperature)', to_timestamp(60));
SELECT * FROM prom.query('timestamp(temperature{room="a"})', to_timestamp(90.5));
SELECT labels, value FROM prom.query('label_replace(temperature, "room", "room $1", "room", "([a-c])")', to_timestamp(60)) ORDER BY 1;
SELECT * FROM prom.query('absent(temperature{room="e"})', to_timestamp(60));

-- errors that HTTP answers with 422
CREATE FUNCTION pg_temp.try(expr text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT count(*) FROM prom.query(expr, to_timestamp(60))) || ' rows';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT e, pg_temp.try(e) FROM unnest(ARRAY['label_replace(nosuch, "", "$1", "room", "(.*)")', 'label_replace(nosuch, "a", "$1", "room", "(.*")',
	'label_join(nosuch, "", "-", "room")', 'label_join(nosuch, "a", "-", "")', 'label_replace(temperature, "room", "", "", "")',
	'label_join(temperature, "room", "")', 'label_join(temperature, "room", "-", room)', 'label_replace(temperature, "\xff", "", "", "")', 'abs(1)', 'sort_by_label(temperature, "room")']) e;

SELECT prom.delete_series('{__name__=~".+"}');

-- PromQL as text: what is read, how it is printed, and what is said of what cannot be read.
\pset format unaligned
\pset tuples_only on

-- The canonical form of every expression, and whether it is read back as itself.
CREATE FUNCTION pg_temp.shown(e text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	printed text := prom.format(e);
BEGIN
	RETURN printed || CASE WHEN prom.format(printed) = printed THEN '' ELSE '   -- NOT STABLE' END;
END $$;

-- What is wrong with an expression, first the code.
CREATE FUNCTION pg_temp.fault(e text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN left('accepted: ' || prom.format(e), 160);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || left(SQLERRM, 160);
END $$;

CREATE FUNCTION pg_temp.selector_fault(e text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM prom._selector_sql(e, 's');
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- numbers
SELECT e || ' => ' || pg_temp.shown(e) FROM unnest(ARRAY[
	'1', '1.5', '.5', '1.', '1e3', '1E-3', '0x1F', '0X_1f', '010', '09', '1_000', '1_0.2_5', '123456789.123456789',
	'9223372036854775807', '18446744073709551616', '1e21', '1.7976931348623157e308', '1e-10', '4.9e-324', '0', '-0', 'Inf',
	'+inF', '-Inf', 'nAn', '5m', '-1h30m', '90s', '1500ms', '1y1w1d1h1m1s1ms', '0s', '365d', '12w6d', '14d'
]) WITH ORDINALITY AS x(e, o) ORDER BY o;

-- strings
SELECT e || ' => ' || pg_temp.shown(e) FROM unnest(ARRAY[
	$q$"a'b"$q$, $q$'a"b'$q$, $q$'a\'b'$q$, $q$"a\"b\\"$q$, $q$"\a\b\f\n\r\t\v"$q$, $q$"\x41\101\u00e9\U0001F600\xc3\xa9"$q$,
	'`a\n"b`', E'`a\nb`', '"äöü €"', $q$"\x01\x7f\u0085"$q$, '""'
]) WITH ORDINALITY AS x(e, o) ORDER BY o;

-- selectors
SELECT e || ' => ' || pg_temp.shown(e) FROM unnest(ARRAY[
	'm', 'job:m:rate5m', ':m', 'm{}', 'm{ a = "b" , c!="d",e=~"f.*",g!~"h" , }', '{a="b"}', '{__name__="m"}', '{__name__=~"m.*"}',
	'{"m"}', '{"m", a="b"}', '{a="b", "m.x"}', '{"my.metric","my.label"="x"}', '{"my label"=~"x","a"="b"}', '{"bool"}', '{"inf"}',
	'{"Group_Left",a="b"}', 'm{on="x",by="y",inf="z"}', 'sum', 'avg{a="b"}', 'by', 'or or or', 'unless unless unless', 'offset offset 1m',
	'start{a="b"}', 'step + range + end', 'fill + fill_left', 'anchored', 'm{a=~""} + {b=~".+"}', '{a="x",a!="y"}',
	E'm # comment }\n{ # another\na="b"}\n#last', '{"",a="b"}', 'm{"äöü"="ß"}'
]) WITH ORDINALITY AS x(e, o) ORDER BY o;

-- ranges, offset, @, subqueries
SELECT e || ' => ' || pg_temp.shown(e) FROM unnest(ARRAY[
	'm[5m]', 'm[ 90m ]', 'm[300]', 'm[0.5]', 'm[1h30m] offset 1d', 'm offset 5m', 'm OFFSET -5m', 'm offset +5m', 'm offset 60',
	'm offset 0s offset 1m', 'm @ 123', 'm @ -1.5', 'm @ 1.0005 offset 1h', 'm offset 1h @ 2', 'm @ start()', 'm[5m] @ END()',
	'm @ start()[5m]', 'm[5m:1m]', 'm[5m:]', 'm[1h:30]', 'rate(m[5m])[1h:1m] offset 1d @ end()', '(m)[5m:]', 'sum_over_time(m[5m:] offset 1m)', '-max_over_time((-m)[5m:])',
	'm offset 1h[5m:]', 'sum_over_time(m[5m:1m])', 'a - b offset 5m', 'm offset 1w1d', 'm @ 1e10', 'm[1y]'
]) WITH ORDINALITY AS x(e, o) ORDER BY o;

-- operators
SELECT e || ' => ' || pg_temp.shown(e) FROM unnest(ARRAY[
	'1+2*3', '(1+2)*3', '-2^2', '2^3^2', '2^-1', '2^-x^3', '-a*b', '- - a', '-+a', '-(-1)', '- 1', '1 % 2 atan2 3', 'a==b!=c',
	'a <bool b', 'a>= BOOL 1', '1 == bool 2', 'a</2', 'a >/ b', 'a or b and c unless d', '(a or b)and c', 'a AND b OR c',
	'a+on(x)b', 'a + on() b', 'a + ignoring() b', 'a + ignoring(x,y,) b', 'a * on(x) group_left b', 'a * on(x) group_left() b',
	'a * on(x) group_left(y,"z.z") b', 'a * ignoring(x) group_right (y) (b)', 'a == bool on(x) group_right b', 'a and on(x) b',
	'a unless ignoring(x) b', 'a * on(sum, by, bool, "inf", __name__) b', '1 + on() 2', '1 + ignoring() a', 'a + on(x) (b)'
]) WITH ORDINALITY AS x(e, o) ORDER BY o;

-- calls and aggregations
SELECT e || ' => ' || pg_temp.shown(e) FROM unnest(ARRAY[
	'time()', 'rate( m[5m] )', 'histogram_quantile(0.9,sum by(le)(rate(m_bucket[5m])))', 'round(m)', 'round(m, 0.1)', 'hour()',
	'hour(m)', 'label_join(m,"a",",")', 'label_join(m,"a",",","b","c","d")', 'label_replace(m,"a","$1","b","(.*)")', 'vector(1)',
	'scalar(m)', 'clamp(m,0,1)', 'quantile_over_time(0.5,m[1h])', 'absent(m{a="b"})', 'predict_linear(m[1h],3600)',
	'sum(m)', 'sum by(a)(m)', 'SUM (m) BY (a,b,)', 'sum by()(m)', 'sum without()(m)', 'avg without(a)(m)', 'count(m)', 'min(m)',
	'max(m)', 'group(m)', 'stddev(m)', 'stdvar(m)', 'topk(5,m)', 'bottomk by(a)(5,m)', 'quantile(0.9,m) without (a)',
	'count_values("v",m)', 'sum by (sum,"a.b",on,a:b) (sum)', 'sum(sum(sum(m)))'
]) WITH ORDINALITY AS x(e, o) ORDER BY o;

-- every function is known: too many arguments, and what is said of them
SELECT pg_temp.fault(f || '("x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "x")') FROM unnest(string_to_array(
	'abs absent absent_over_time acos acosh asin asinh atan atanh avg_over_time ceil changes clamp clamp_max clamp_min cos '
	'cosh count_over_time day_of_month day_of_week day_of_year days_in_month deg delta deriv double_exponential_smoothing '
	'end exp first_over_time floor histogram_avg histogram_count histogram_fraction histogram_quantile '
	'histogram_quantiles histogram_stddev histogram_stdvar histogram_sum hour idelta increase info irate label_join '
	'label_replace last_over_time ln log10 log2 mad_over_time max_of max_over_time min_of min_over_time minute month pi '
	'predict_linear present_over_time quantile_over_time rad range rate resets round scalar sgn sin sinh sort '
	'sort_by_label sort_by_label_desc sort_desc sqrt start start_timestamp stddev_over_time stdvar_over_time step '
	'sum_over_time tan tanh time timestamp ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time '
	'ts_of_min_over_time vector year', ' ')) WITH ORDINALITY AS x(f, o) ORDER BY o;

-- the scanner's errors
SELECT e || ' => ' || pg_temp.fault(e) FROM unnest(ARRAY[
	'', '  ', '# only a comment', 'a + (b', 'a)', '(1))', 'a]', '}', 'a[5m]]', 'a[5m', 'a[', 'a[[5m]', 'a[5m:1m', 'a[:5m]', 'a[5m::1m]',
	'a[x]', 'a["5m"]', 'a[5m)]', 'a{', 'a{b="c"', 'a{{', 'a{b:c="d"}', 'a{é="x"}', 'a{!x="y"}', '!x', '!', 'a =~ b', 'a & b', 'é', '$', '.',
	'"abc', '''abc', '`abc', E'"a\nb"', '"\d"', '"\é"', '"abc\', '"\x4"', '"\x', '"\uD800"', '"\U00110000"', '"\400"', '"\''"', '"a\x00b"',
	'"\xff"', 'a{b="\xff"}', 'a{b=~"\xc3"}', '{"\xff"}', '{"\xff"="a"}', '{""="a"}', 'sum by ("\xff") (a)', 'sum by ("") (a)',
	'count_values("a\xc5z", a)', 'count_values("", a)',
	'5x', '1.5m', '1h2', '1_', '1__0', '1e', '1..2', '0x', '0xg', '0b1', '0deadbeef', '2.5.', '1e999', '0x10000000000000000',
	'a[5mm]', 'a[5hs]', 'a[1m1h]', 'a[1m1m]', 'a[300y]', 'a[99999999999999999999y]'
]) WITH ORDINALITY AS x(e, o) ORDER BY o;

-- tokens that do not fit
SELECT e || ' => ' || pg_temp.fault(e) FROM unnest(ARRAY[
	'a b', '1 2', 'a "verylongstring"', 'a "äöüäöüäöüäöü"', 'a 12345678901', 'a 5m', 'a x:y', 'a sum', 'a by', 'a,b', 'a = b', '+', 'a +', '* a', 'bool', 'on', 'group_left',
	'atan2', '()', 'a{b}', 'a{b=}', 'a{b=c}', 'a{b="c" d="e"}', 'a{,}', 'a{b="c",,}', 'a{b=="c"}', 'a{1="c"}', '{"a"=b}', 'sum x', 'sum(a b)',
	'sum by (a) b', 'sum by a', 'sum by (a b) (c)', 'sum by (,a) (b)', 'sum by (1) (b)', 'sum by (a', 'sum(a) by (b) by (c)', 'a + group_left b',
	'a + on b', 'a + on(x) group_left (b+c)', 'a offset', 'a offset b', 'a offset "5m"', 'a @', 'a @ x', 'a @ 5m', 'a @ start', 'a[5m 1m]',
	'a[5m:1m 1m]', 'a[5m:+]', 'a[5m+]', E'a\n  + b\n  c', E'"äö" x'
]) WITH ORDINALITY AS x(e, o) ORDER BY o;

-- what is well formed and means nothing
SELECT e || ' => ' || pg_temp.fault(e) FROM unnest(ARRAY[
	'{}', '{a=""}', '{a=~".*"}', '{a!="b"}', '{a!~".+"}', '{""}', 'm{__name__="x"}', 'm{"x"}', '{__name__="x",__name__="y"}', '{"x","y"}',
	'a{b=~"("}', 'a{b=~")"}', 'a{b=~"[a"}', 'a{b!~"*"}', 'a{b=~"a**"}', 'a{b=~"(?=x)"}', 'a{b=~"(?P<n"}', 'a{b=~"[z-a]"}', 'a{b=~"a{1001}"}', 'a{b=~"\\8"}', 'a{b=~"a\\"}',
	'a[0]', 'a[0s]', 'a[-5m]', 'a[0.0001]', 'a[5m:0s]', 'a[NaN]', 'a[Inf]', 'a[1e20]', 'a offset 1e20', '(a)[5m]', '1[5m]', 'rate(a[5m])[5m]', 'a[5m][5m]', 'a offset 1m [5m]', 'a @ 1 [5m]',
	'a offset 1m offset 2m', 'a @ 1 @ 2', 'a @ start() @ end()', '1 offset 5m', '(a) offset 5m', 'sum(a) @ 1', 'a @ Inf', 'a @ NaN', 'a @ 1e30',
	'a[5m][5m:]', '1[5m:]', '"x"[5m:]', '-a[5m]', '-"x"', 'a[5m] + 1', '1 + a[5m:]', '"x" + 1', '1 == 1', '1  ==  2', '1 + bool 1', 'a and bool b', 'a and 1', '1 or a', '1 unless 1',
	'1 + on(x) a', 'a and on(x) group_left b', 'a + on(x) group_left(x) b', 'abs()', 'abs(a, b)', 'abs(1)', 'abs("x")', 'rate(a)', 'abs(a[5m])', 'time(a)',
	'round()', 'round(a, 1, 2)', 'label_join(a)', 'label_join(a, "b", "c", d)', 'label_replace(a, "b", "c", "d", 1)', 'histogram_quantile(a, b)', 'scalar(1)', 'vector(a)',
	'nosuch(a)', 'Rate(a[5m])', 'sum(a,)', 'sum()', 'sum(1)', 'sum(a[5m])', 'sum(a, b)', 'topk(a)', 'topk("x", a)', 'topk(1, 2)', 'count_values(1, a)', 'quantile(a, b)', 'abs(a,)',
	E'a +\n  rate(b)'
]) WITH ORDINALITY AS x(e, o) ORDER BY o;

-- what is experimental in Prometheus
SELECT e || ' => ' || pg_temp.fault(e) FROM unnest(ARRAY[
	'a[5m] anchored', 'a smoothed', 'limitk(1, a)', 'limit_ratio(0.5, a)', 'limitk(1)', 'info(a)', 'sort_by_label(a, "b")', 'start()', 'step()', 'min_of(1, 2)',
	'a + fill(0) b', 'a + on(x) group_left fill_left(-1) fill_right(NaN) b', 'a[5m+1m]', 'a[(5m)]', 'a[2*step()]', 'a[range()]', 'a[max_of(1m,2m):1m]', 'a[1h:step()]',
	'a offset (1m)', 'a offset -step()', 'a offset min_of(1m, 2m)', 'a + fill(b) c', 'fill(1)'
]) WITH ORDINALITY AS x(e, o) ORDER BY o;

-- match[] and prom.delete_series take a lone selector
SELECT e || ' => ' || pg_temp.selector_fault(e) FROM unnest(ARRAY[
	'm', '{a="b"}', ' m{a!="b"} # x', '{}', '{a!="b"}', '{a=~".*"}', '', 'm offset 5m', 'm @ 1', 'm[5m]', '(m)', 'sum(m)', '1', 'm n', 'm{"x"}'
]) WITH ORDINALITY AS x(e, o) ORDER BY o;

-- too much of everything
SELECT name || ' => ' || pg_temp.fault(e) FROM (VALUES
	(1, '1000 levels', repeat('(', 999) || '1' || repeat(')', 999)),
	(2, '1001 levels', repeat('(', 1000) || '1' || repeat(')', 1000)),
	(3, '10,000 parentheses', repeat('(', 10000) || 'a' || repeat(')', 10000)),
	(4, '10,000 calls', repeat('abs(', 10000) || 'a' || repeat(')', 10000)),
	(5, '10,000 aggregations', repeat('sum by (x) (', 10000) || 'a' || repeat(')', 10000)),
	(6, '10,000 signs', repeat('-', 10000) || 'a'),
	(7, '10,000 powers', repeat('2^', 10000) || '2'),
	(8, '20,000 additions', 'a' || repeat('+a', 20000)),
	(9, '100,000 additions', 'a' || repeat('+a', 100000)),
	(10, '10,000 parentheses in brackets', 'a[' || repeat('(', 10000)),
	(11, '40,000 labels', 'sum by (' || repeat('a,', 40000) || 'b) (1)'),
	(12, '300,000 digits', repeat('9', 300000)),
	(13, '300,000 digits after the point', 'a[0.' || repeat('0', 300000) || '1]'),
	(14, '300,000 digits of a duration', 'a[' || repeat('9', 300000) || 'm]'),
	(15, 'a million quotes', repeat('"', 999999)),
	(16, 'a million backslashes', '"' || repeat('\', 999999)),
	(17, 'more than a megabyte', repeat(' ', 1048577)),
	(18, 'a name of a million characters', repeat('a', 1000000) || '('),
	(19, 'a regex of a million characters', 'a{b=~"' || repeat('x|', 500000) || '"}')
) AS x(o, name, e) ORDER BY o;
SELECT length(prom.format('{a="' || repeat('x', 1000000) || '"}'));
SELECT prom.format(NULL) IS NULL;
SELECT prom.format(repeat(' ', 1048577));

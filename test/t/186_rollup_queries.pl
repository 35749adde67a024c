# Whatever the series, a query over rollups answers what one over raw samples does: exactly for what rollups keep
# (least, greatest, count, sum, average, the newest sample; what a counter rose by), at steps and ranges of whole windows,
# and near to it for rates.  Days are read by this level or that, at random, so that windows run across every kind of boundary.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $seed = $ENV{PROM_SEED} // 20231115;
note("PROM_SEED=$seed");
srand($seed);

my $node = start_node(new_node('primary', 'promgres.rollup_delay' => '-1', 'promgres.rollup_resolutions' => '5min, 1h'));
my $day_ms = 86_400_000;
my $first_ms = 1_700_006_400_000;    # midnight
my $days = 3;
my $scrape_ms = 60_000;

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Samples every minute, more or less; value(n) is the next value, undef leaves it out.
sub points
{
	my ($value, %at) = @_;
	my $phase = $at{sharp} ? 0 : 1 + int(rand($scrape_ms - 1));
	my @points;

	foreach my $n (1 .. $days * $day_ms / $scrape_ms - 2)
	{
		my $v = $value->($n);
		my $jitter = $at{sharp} ? 0 : int(rand(5000)) - 2500;
		push @points, [ $first_ms + $phase + $n * $scrape_ms + $jitter, $v ] if defined $v;
	}
	return @points;
}

sub counter
{
	my ($burst, $resets) = @_;
	my $v = int(rand(1000));

	return sub {
		$v = rand(1) < $resets ? int(rand(3)) : $v + (rand(1) < $burst ? int(rand(100 / $burst)) : 0);
		return $v;
	};
}

my @series = (
	[ { __name__ => 'steady_total' }, points(do { my $v = 0; sub { $v += 30 + rand(1) } }) ],
	[ { __name__ => 'counter_total', kind => 'smooth' }, points(counter(1, 0.002)) ],
	[ { __name__ => 'counter_total', kind => 'bursts' }, points(counter(0.02, 0.002)) ],
	[ { __name__ => 'counter_total', kind => 'resets' }, points(counter(0.5, 0.1)) ],
	[ { __name__ => 'gauge', kind => 'noise' }, points(sub { rand(2) - 1 }) ],
	[ { __name__ => 'gauge', kind => 'wide' }, points(sub { (rand(2) - 1) * 10**int(rand(30) - 15) }) ],
	[ { __name__ => 'gauge', kind => 'sharp' }, points(sub { int(rand(100)) }, sharp => 1) ],
	[ { __name__ => 'gauge', kind => 'constant' }, points(sub { 42 }) ],
	[ { __name__ => 'gauge', kind => 'odd' }, points(sub { rand(1) < 0.003 ? 9**9**9 : rand(1) < 0.01 ? 'nan' : rand(1) < 0.01 ? -0.0 : $_[0] }) ],
	[ { __name__ => 'gauge', kind => 'sparse' }, points(sub { rand(1) < 0.01 ? $_[0] : undef }) ],
	[ { __name__ => 'gauge', kind => 'restarts' }, points(do { my $up = 1; sub {
		my $was = $up;
		$up = !$up if rand(1) < 0.01;
		return $up ? $_[0] : $was ? 'stale' : undef } }) ]);

foreach my $one (@series)
{
	is(remote_write($node, $one)->{status}, 204, join(' ', sort values %{ $one->[0] }));
}
$node->safe_psql('postgres', <<"SQL");
\\i test/lib/body.sql
SELECT * FROM prom.ingest(ARRAY(SELECT pg_temp.body(pg_temp.series_of('{__name__,latency}', VARIADIC array_agg(
	pg_temp.histogram($first_ms + 30000 + n * 300000, 2 * (n % 700) + 1, (n % 700) * 1.5, '{0,2}', ARRAY[n % 700, n % 700 + 1]) ORDER BY n)))
	FROM generate_series(0, 863) n GROUP BY n / 100));
SQL
sql('CALL prom.merge()');
sql(q{CALL prom.downsample('0')});
is(sql("SELECT count(*) FROM prom.level WHERE resolution IN (300, 3600) AND from_ms <= $first_ms AND until_ms >= $first_ms + $days * $day_ms"), 2,
	'rollups are made');

# One expression read both ways; NaN equals NaN.  What is known of resets before the first sample that is read differs.
sql(<<'SQL');
CREATE FUNCTION bare(h prom.histogram) RETURNS text LANGUAGE sql RETURN regexp_replace(h::text, ' counter_reset_hint:[a-z_]+', '');
CREATE FUNCTION compared(e text, rolled text, start_ms int8, end_ms int8, step_s int4, resolution text,
	OUT points int8, OUT missing int8, OUT different int8, OUT farthest float8, OUT example text) LANGUAGE plpgsql SET search_path = public, prom AS $$
BEGIN
	PERFORM set_config('promgres.max_source_resolution', 'raw', true);
	CREATE TEMP TABLE raw AS SELECT * FROM prom.query_range(e, to_timestamp(start_ms / 1000), to_timestamp(end_ms / 1000), make_interval(secs => step_s));
	PERFORM set_config('promgres.max_source_resolution', resolution, true);
	CREATE TEMP TABLE rolled AS SELECT * FROM prom.query_range(rolled, to_timestamp(start_ms / 1000), to_timestamp(end_ms / 1000), make_interval(secs => step_s));
	WITH x AS (SELECT labels, "time", a.value AS raw, b.value AS rolled, a.histogram IS NULL AND a.value IS NULL OR b.histogram IS NULL AND b.value IS NULL AS missing,
			a.value IS DISTINCT FROM b.value OR bare(a.histogram) IS DISTINCT FROM bare(b.histogram) AS different,
			CASE WHEN a.value = b.value THEN 0 ELSE abs(a.value - b.value) / greatest(abs(a.value), abs(b.value)) END AS off
		FROM raw a FULL JOIN rolled b USING (labels, "time"))
	SELECT count(*), count(*) FILTER (WHERE x.missing), count(*) FILTER (WHERE x.different), max(off),
		(array_agg(format('%s at %s: %s, not %s', labels, extract(epoch FROM "time"), x.rolled, x.raw) ORDER BY off DESC NULLS FIRST) FILTER (WHERE x.different))[1]
	INTO points, missing, different, farthest, example FROM x;
	DROP TABLE raw, rolled;
END $$;
SQL

sub both
{
	my ($e, $rolled, $start_ms, $end_ms, $step_s, $resolution) = @_;
	my %told;

	@told{qw(points missing different farthest example)} =
	  split /\|/, $node->safe_psql('postgres', "SET client_min_messages = error; SELECT * FROM compared('$e', '$rolled', $start_ms, $end_ms, $step_s, '$resolution')");
	return \%told;
}

sub told { my ($t) = @_; return join ' ', map { "$_=" . ($t->{$_} // '') } sort keys %$t }

# Levels within random bounds: what is whole stays in place, but may not be read.
sub random_levels
{
	my @bounds = sort { $a <=> $b } map { $first_ms + int(rand($days + 1)) * $day_ms } 1 .. 4;
	my ($a, $b, $c, $d) = @bounds;

	($a, $b, $c, $d) = ($bounds[0], $bounds[2], $bounds[1], $bounds[3]) if rand(1) < 0.5;
	sql("UPDATE prom.level SET from_ms = CASE resolution WHEN 3600 THEN $a ELSE $c END, until_ms = CASE resolution WHEN 3600 THEN $b ELSE $d END WHERE resolution > 0");
	return sprintf '1h of days %d to %d, 5min of %d to %d', map { ($_ - $first_ms) / $day_ms } $a, $b, $c, $d;
}

my @exact = (
	(map { ("${_}_over_time(gauge[%s])", "${_}_over_time(counter_total[%s])") } qw(min max count present last)),
	'count_over_time(latency[%s])', 'gauge', 'counter_total', 'latency', 'timestamp(gauge)', 'last_over_time(latency[%s])',
	'count_over_time(gauge[%s] offset 1h)', 'max_over_time(gauge[%s] @ end())');
my @near = ('sum_over_time(gauge[%s])', 'avg_over_time(gauge[%s])', 'sum_over_time(counter_total[%s])',
	'histogram_count(sum_over_time(latency[%s]))', 'histogram_sum(avg_over_time(latency[%s]))', 'increase(counter_total[%s] anchored)',
	'increase(steady_total[%s] anchored)', 'delta(steady_total[%s] anchored)');
sql('ALTER DATABASE postgres SET promgres.promql_experimental = on');

foreach my $round (1 .. 4)
{
	my $levels = random_levels();

	foreach my $width ([ '1h', 3600 ], [ '5min', 300 ])
	{
		my ($resolution, $s) = @$width;
		my $range_s = $s * (2 + int(rand(20)));
		my $step_s = $s * (1 + int(rand(3)));
		my $end_ms = $first_ms + $days * $day_ms;
		my $start_ms = $end_ms - $step_s * 1000 * int(($end_ms - $first_ms) / ($step_s * 1000) - rand(5));
		my $where = "$levels, at most $resolution, steps of ${step_s}s";

		foreach my $e (map { sprintf $_, "${range_s}s" } @exact)
		{
			my $told = both($e, $e, $start_ms, $end_ms, $step_s, $resolution);
			ok($told->{points} > 0 && $told->{missing} == 0 && $told->{different} == 0, "$e: $where") or diag(told($told));
		}
		foreach my $e (map { sprintf $_, "${range_s}s" } @near)
		{
			my $told = both($e, $e, $start_ms, $end_ms, $step_s, $resolution);
			ok($told->{points} > 0 && $told->{missing} == 0 && $told->{farthest} <= 1e-12, "$e: $where") or diag(told($told));
		}

		# Of a steady counter, rates are within a hundredth; not so where its samples end, which PromQL guesses by their distance.
		foreach my $f ('rate', 'increase', 'deriv', 'delta')
		{
			my $told = both("$f(steady_total[${range_s}s])", "$f(steady_total[${range_s}s])", $start_ms + $range_s * 1000, $end_ms - 1, $step_s, $resolution);
			ok($told->{points} > 0 && $told->{missing} == 0 && $told->{farthest} <= 0.01, "$f of a steady counter, ${range_s}s: $where") or diag(told($told));
		}
	}
}

sql("UPDATE prom.level SET from_ms = $first_ms, until_ms = $first_ms + $days * $day_ms WHERE resolution > 0");

# Over HTTP the request says it, or else the setting: here between two stamps, where the answer is that of the one before.
sub asked
{
	my ($path, $minute, $more) = @_;
	my $t = $first_ms / 1000 + 36_000 + 60 * $minute;
	my $answer = http_json($node, "/api/v1/$path", { query => 'gauge{kind="noise"}', $path eq 'query' ? (time => $t) : (start => $t, end => $t + 36_000, step => 18_000), %{ $more // {} } });

	return join ' ', map { $_->{value} ? $_->{value}[1] : map { $_->[1] } @{ $_->{values} } } @{ $answer->{data}{result} };
}

foreach my $path ('query', 'query_range')
{
	my ($now, $before) = (asked($path, 30), asked($path, 0));

	isnt($now, $before, "$path: there is something to tell apart");
	is(asked($path, 30, { max_source_resolution => $_ }), $before, "$path: at most $_") foreach ('1h', '3600', '5000', '1d', 'auto');
	is(asked($path, 30, { max_source_resolution => $_ }), $now, "$path: at most $_") foreach ('0', '0s', '1m', '0.0001', '');
	sql("ALTER SYSTEM SET promgres.max_source_resolution = 'auto'");
	$node->reload;
	ok(wait_for(sub { asked($path, 30) eq $before }, 'the setting'), "$path: by the setting");
	is(asked($path, 30, { max_source_resolution => '0' }), $now, "$path: the request overrides it");
	sql('ALTER SYSTEM RESET promgres.max_source_resolution');
	$node->reload;
	ok(wait_for(sub { asked($path, 30) eq $now }, 'the setting'), "$path: raw samples are the default");
}

# Of any counter: what it rose by between the samples next to both ends of the range, times the range by the time between
# these.  They are a scrape from the ends at most, and so is the result from what it rose by within the range.
foreach my $range_s (7200, 21600, 86400)
{
	my $told = both("increase(counter_total[${range_s}s] anchored)", "increase(counter_total[${range_s}s])", $first_ms + $range_s * 1000 + 7_200_000,
		$first_ms + $days * $day_ms, 3600, '1h');
	my $bound = 2 * ($scrape_ms + 5000) / 1000 / $range_s;

	ok($told->{points} > 0 && $told->{missing} == 0, "increase of any counter over ${range_s}s") or diag(told($told));
	cmp_ok($told->{farthest}, '<=', $bound, "within two scrapes, $bound") or diag(told($told));
}
done_testing();

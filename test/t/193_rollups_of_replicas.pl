# Replicas and rollups together: of two replicas whose outages alternate, a query that merges them answers from rollups what it
# answers from raw samples, whatever of the time is read from which; nothing is counted twice.  When raw samples are gone, by
# retention of all or of one replica, nothing is missing.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $seed = $ENV{PROM_SEED} // 20231117;
note("PROM_SEED=$seed");
srand($seed);

my $node = start_node(new_node('primary', 'promgres.rollup_delay' => '-1', 'promgres.rollup_resolutions' => '5min, 1h'));
my $day_ms = 86_400_000;
my $first_ms = 1_700_006_400_000;    # midnight
my $days = 3;
my $scrape_ms = 60_000;
my $scrapes = $days * $day_ms / $scrape_ms;

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Outages of a and b in turn: a is up when b is not.  They last two scrapes at least, for less is no outage (dedup.c).
my %down;
for (my ($n, $who) = (100, 'a'); $n < $scrapes - 200; $who = $who eq 'a' ? 'b' : 'a')
{
	my $length = rand(1) < 0.3 ? 2 + int(rand(3)) : 5 + int(rand(150));
	$down{$who}{$_} = 1 foreach $n .. $n + $length - 1;
	$n += $length + 70 + int(rand(150));
}

# What both see of a target: value(n) is that of the scrape n.
my %value = (
	counter_total => do { my $v = 0; [ map { $v = rand(1) < 0.01 ? int(rand(3)) : $v + int(rand(100)) } 0 .. $scrapes ] },
	steady_total => do { my $v = 0; [ map { $v += 30 + rand(1) } 0 .. $scrapes ] },
	gauge => [ map { (rand(2) - 1) * 10**int(rand(6)) } 0 .. $scrapes ]);

# a begins first, so that raw samples are a's to begin with; c, of another shard maybe, has seen little and late.
my %phase = (a => 20_000, b => 23_000, c => 26_000);
foreach my $replica (qw(a b c))
{
	is(remote_write($node, map { my $name = $_; [ { __name__ => $name, r => $replica },
		map { [ $first_ms + $phase{$replica} + $_ * $scrape_ms, $value{$name}[$_] ] }
		grep { $replica eq 'c' ? $_ > 2000 && $_ < 2100 : !$down{$replica}{$_} } 1 .. $scrapes - 2 ] } sort keys %value)->{status}, 204, "samples of $replica");
}
is(remote_write($node, [ { __name__ => 'alone' }, map { [ $first_ms + $_ * $scrape_ms, $_ ] } 1 .. $scrapes - 2 ])->{status}, 204, 'a series without replicas');
sql('CALL prom.merge()');
sql(q{CALL prom.downsample('0')});
sql(q{ALTER DATABASE postgres SET promgres.replica_labels = 'r'; ALTER DATABASE postgres SET promgres.promql_experimental = on});
sql(q{ALTER DATABASE postgres SET promgres.dedup_algorithm = 'seamless'});

# The answers as they were read of raw samples, and how others differ from these.
sql(<<'SQL');
CREATE TABLE asked (e text, start_ms int8, end_ms int8, step_s int4, labels text, "time" timestamptz, value float8);
CREATE FUNCTION answers(e text, start_ms int8, end_ms int8, step_s int4) RETURNS TABLE (labels text, "time" timestamptz, value float8) LANGUAGE sql AS $$
	SELECT labels::text, "time", value FROM prom.query_range(e, to_timestamp(start_ms / 1000), to_timestamp(end_ms / 1000), make_interval(secs => step_s)) $$;
CREATE FUNCTION compared(e text, rolled text, start_ms int8, end_ms int8, step_s int4, resolution text,
	OUT points int8, OUT missing int8, OUT different int8, OUT farthest float8, OUT example text) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
	IF NOT EXISTS (SELECT FROM asked a WHERE (a.e, a.start_ms, a.end_ms, a.step_s) = (e, start_ms, end_ms, step_s)) THEN
		PERFORM set_config('promgres.max_source_resolution', 'raw', true);
		INSERT INTO asked SELECT e, start_ms, end_ms, step_s, x.* FROM answers(e, start_ms, end_ms, step_s) x;
	END IF;
	PERFORM set_config('promgres.max_source_resolution', resolution, true);
	SELECT count(*), count(*) FILTER (WHERE x.missing), count(*) FILTER (WHERE x.off > 0), max(off),
		(array_agg(format('%s at %s: %s, not %s', labels, extract(epoch FROM "time"), x.rolled, x.raw) ORDER BY off DESC NULLS LAST) FILTER (WHERE x.off > 0 OR x.missing))[1]
	INTO points, missing, different, farthest, example
	FROM (SELECT labels, "time", a.value AS raw, b.value AS rolled, a.value IS NULL OR b.value IS NULL AS missing,
			CASE WHEN a.value = b.value THEN 0 ELSE abs(a.value - b.value) / greatest(abs(a.value), abs(b.value)) END AS off
		FROM (SELECT * FROM asked a WHERE (a.e, a.start_ms, a.end_ms, a.step_s) = (e, start_ms, end_ms, step_s)) a
		FULL JOIN answers(rolled, start_ms, end_ms, step_s) b USING (labels, "time")) x;
END $$;
SQL

sub both
{
	my %told;
	@told{qw(points missing different farthest example)} =
	  split /\|/, $node->safe_psql('postgres', sprintf("SET client_min_messages = error; SELECT * FROM compared('%s', '%s', %d, %d, %d, '%s')", @_));
	return \%told;
}

sub told { my ($t) = @_; return join ' ', map { "$_=" . ($t->{$_} // '') } sort keys %$t }

my @exact = ((map { ("${_}_over_time(gauge[%s])", "${_}_over_time(counter_total[%s])") } qw(min max count present last)), 'gauge', 'counter_total', 'alone', 'count_over_time(alone[%s])');
my @near = ('sum_over_time(gauge[%s])', 'avg_over_time(gauge[%s])', 'sum_over_time(counter_total[%s])');

# From the middle of the first day on, so that there is something before each range.
sub check_all
{
	my ($where, $resolution, $s) = @_;
	my $range_s = $s * 5;
	my $step_s = $s * 2;
	my @of = ($first_ms + $day_ms / 2, $first_ms + $days * $day_ms - 2 * 3_600_000, $step_s, $resolution);

	foreach my $e (map { sprintf $_, "${range_s}s" } @exact, @near)
	{
		my $told = both($e, $e, @of);
		my $bound = $e =~ /^(sum|avg)/ ? 1e-9 : 0;
		ok($told->{points} > 0 && $told->{missing} == 0 && $told->{farthest} <= $bound, "$e: $where") or diag(told($told));
	}
	# counters: as near as the pattern of rollups without replicas, and never a reset that was none
	foreach my $f ('rate', 'increase', 'delta')
	{
		my $e = "$f(steady_total[${range_s}s])";
		my $told = both($e, $e, @of);
		ok($told->{points} > 0 && $told->{missing} == 0 && $told->{farthest} <= 0.02, "$f of a steady counter: $where") or diag(told($told));
	}
	# what a counter rose by between the samples next to both ends of the range: resets are counted once
	my $told = both("increase(counter_total[${range_s}s] anchored)", "increase(counter_total[${range_s}s])", @of);
	my $bound = 2 * ($scrape_ms + 5000) / 1000 / $range_s;
	ok($told->{points} > 0 && $told->{missing} == 0 && $told->{farthest} <= $bound, "increase of any counter, within $bound: $where") or diag(told($told));
}

# all of it is a scrape a minute, so that an hour has 60 samples and not 120
is(sql("SELECT min(value), max(value) FROM answers('count_over_time(gauge[1h])', $first_ms + 7200000, $first_ms + $days * $day_ms - 3600000, 3600)"), '60|60', 'raw: every scrape once');
check_all('all rollups', '1h', 3600);
check_all('all rollups', '5min', 300);
is(sql("SET promgres.max_source_resolution = '1h'; SELECT min(value), max(value) FROM answers('count_over_time(gauge[1h])', $first_ms + 7200000, $first_ms + $days * $day_ms - 3600000, 3600)"),
	'60|60', '1h: every scrape once');
foreach my $algorithm (qw(penalty chain seamless))
{
	my ($low, $high) = split /\|/, sql("SET promgres.dedup_algorithm = $algorithm; SET promgres.max_source_resolution = '1h';
		SELECT min(value), max(value) FROM answers('count_over_time(gauge[1h])', $first_ms + 7200000, $first_ms + $days * $day_ms - 3600000, 3600)");
	ok($low >= 58 && $high <= 60, "$algorithm: no window is added to another") or diag("$low to $high");
}

# levels that end in the middle, so that segments follow each other
foreach my $bounds ([ 1, 2, 0, 2 ], [ 0, 1, 1, 2 ], [ 2, 3, 0, 1 ])
{
	my ($a, $b, $c, $d) = map { $first_ms + $_ * $day_ms } @$bounds;
	sql("UPDATE prom.level SET from_ms = CASE resolution WHEN 3600 THEN $a ELSE $c END, until_ms = CASE resolution WHEN 3600 THEN $b ELSE $d END WHERE resolution > 0");
	check_all("1h of days $bounds->[0] to $bounds->[1], 5min of $bounds->[2] to $bounds->[3]", '1h', 3600);
}
sql("UPDATE prom.level SET from_ms = $first_ms, until_ms = $first_ms + $days * $day_ms WHERE resolution > 0");

# raw of some is over in the first two days.  Of all replicas: rollups answer.  Of one: what the other one has in full is told.
sub keep_last_day { my ($selector) = @_; sql("SELECT prom.set_retention('$selector', raw => now() - to_timestamp(($first_ms + 2 * $day_ms) / 1000))"); sql('CALL prom.retain()') }

keep_last_day('{__name__="gauge"}');
is(sql("SET promgres.dedup = off; SELECT count(*) FROM prom.query('count_over_time(gauge[23h])', to_timestamp($first_ms / 1000 + 86400)) q"), 2, 'of each replica something is left');
is(sql("SELECT count(*) FROM prom.warm w, prom.samples(w.data) s JOIN prom.series i USING (sid) WHERE i.labels::text LIKE '%\"gauge\"%' AND s.t_ms < $first_ms + $day_ms * 3 / 2"), 0, 'but no raw sample');
check_all('raw of gauges is over', 'raw', 3600);
keep_last_day('{r="b"}');
foreach my $of ('count_over_time(steady_total%s[20m])', 'max_over_time(steady_total%s[20m])', 'rate(steady_total%s[20m])')
{
	my $told = both((map { sprintf $of, $_ } '{r="a"}', ''), $first_ms + 7_200_000, $first_ms + $day_ms - 7_200_000, 600, 'raw');
	ok($told->{points} > 0 && $told->{missing} == 0 && $told->{different} == 0, "$of: raw of b is over") or diag(told($told));
}

# raw of the first days is gone: nobody asks for rollups, and they answer
sql("DELETE FROM prom.warm WHERE t_min < $first_ms + 2 * $day_ms");
sql("INSERT INTO prom.level (resolution, from_ms) VALUES (0, $first_ms + 2 * $day_ms) ON CONFLICT (resolution) DO UPDATE SET from_ms = excluded.from_ms");
check_all('raw is gone', 'raw', 3600);
check_all('raw is gone', 'raw', 300);
is(http_json($node, '/api/v1/query', { query => 'count(last_over_time(gauge[1h]))', time => $first_ms / 1000 + 7200, 'replicaLabels[]' => 'r' })->{data}{result}[0]{value}[1], 1,
	'over HTTP');

# row security: who sees one replica only gets its windows, who sees all gets what the owner gets
my $counts = "SET promgres.max_source_resolution = '1h'; SELECT string_agg(value::text, ' ' ORDER BY \"time\") FROM prom.query_range('count_over_time(gauge[1h])', to_timestamp($first_ms / 1000 + 7200), to_timestamp($first_ms / 1000 + 86400), '1h')";
sql('CREATE ROLE some_reader; GRANT prom_reader TO some_reader; ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY; CREATE POLICY seen ON prom.series TO some_reader USING (true)');
is(sql("SET ROLE some_reader; $counts"), sql($counts), 'all replicas are seen');
sql(q{ALTER POLICY seen ON prom.series TO some_reader USING (prom.label(labels, 'r') = 'a')});
is(sql("SET ROLE some_reader; $counts"), sql($counts =~ s/gauge/gauge{r="a"}/r), 'one is seen');
$node->stop;
done_testing();

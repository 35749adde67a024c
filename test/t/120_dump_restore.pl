# pg_dump and restore, with the default lock table: the new server has the same samples, gives the same
# answers, and goes on taking writes.

use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $old = start_node(new_node('old'));
my @series = sample_series();

# Half of it merged, half of it fresh, when the dump is made.
is(remote_write($old, @series[0 .. $#series / 2])->{status}, 204, 'first half written');
$old->safe_psql('postgres', 'CALL prom.merge()');
is(remote_write($old, @series[ $#series / 2 + 1 .. $#series ])->{status}, 204, 'second half written');

# Native histograms, merged and fresh, and exemplars.
my $functions = dirname(__FILE__) . '/../lib/body.sql';
foreach my $from (0, 20)
{
	$old->safe_psql('postgres', <<"SQL");
\\i $functions
SELECT * FROM prom.ingest(ARRAY[(SELECT pg_temp.body(pg_temp.series_of('{__name__,native}', VARIADIC array_agg(p))) FROM (
	SELECT pg_temp.histogram(1700000000000 + i * 15000, 5 * i, i / 7.0, '{-2,1,3,2}', ARRAY[i, 2 * i, i]::float8[], schema => 3, zero => i, width => 0.001) AS p
	FROM generate_series($from + 1, $from + 20) i
	UNION ALL SELECT pg_temp.exemplar(ARRAY['trace_id', 'x$from'], 1, (extract(epoch FROM now()) * 1000)::int8)) x)]);
SQL
	$old->safe_psql('postgres', 'CALL prom.merge()') if $from == 0;
}
my $native = q{SELECT count(*), count(histogram), md5(string_agg(histogram::text, ' ' ORDER BY t_ms)) FROM prom.samples_of('native')};
my $exemplars = q{SELECT labels, exemplar, value, "time" FROM prom.exemplars('native') ORDER BY 2};
my ($natives_before, $exemplars_before) = map { $old->safe_psql('postgres', $_) } $native, $exemplars;
like($natives_before, qr/^40\|40\|/, 'native histograms are there');
like($exemplars_before, qr/x0.*\n.*x20/, 'exemplars are there');

my $samples = samples_of($old);
my $answers = sample_answers($old);
cmp_ok(length $samples, '>', 100_000, 'there is something to dump');
unlike($answers, qr/"error"/, 'every question has an answer');

foreach my $format ('plain', 'custom')
{
	my $file = "$PostgreSQL::Test::Utils::tmp_check/dump.$format";
	$old->command_ok([ 'pg_dump', '-F', $format, '-f', $file, 'postgres' ], "$format: dump");

	my $new = new_node("new_$format");
	$new->start;
	if ($format eq 'plain')
	{
		$new->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $file, 'postgres' ], "$format: restore");
	}
	else
	{
		$new->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'postgres', $file ], "$format: restore");
	}
	ok(wait_for(sub { http_get($new, '/-/ready')->{status} == 200 }, 'the gateway is ready'), "$format: gateway ready");
	is(samples_of($new), $samples, "$format: the same samples, bit for bit");
	is(sample_answers($new), $answers, "$format: the same answers");
	is($new->safe_psql('postgres', $native), $natives_before, "$format: the same native histograms");
	is($new->safe_psql('postgres', $exemplars), $exemplars_before, "$format: the same exemplars");

	# Known series keep their ids, new ones get others.
	is(remote_write($new, $series[0], [ { __name__ => 'new_one' }, [ 1_700_000_000_000, 1 ] ])->{status},
		204, "$format: goes on taking writes");
	is($new->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT (shard, sid)), count(*) - count(DISTINCT labels) FROM prom.series'),
		'0|0', "$format: every series once");
	is($new->safe_psql('postgres', q{SELECT count(*) FROM prom.samples_of('{__name__=~".+"}', '-infinity', 'infinity')}),
		1 + scalar(split /\n/, $samples), "$format: what was repeated counts once");
	$new->safe_psql('postgres', 'CALL prom.merge()');
	is(sample_answers($new), $answers, "$format: the same answers after a merge");
	$new->stop;
}

$old->stop;
done_testing();

# pg_dump and restore, with the default lock table: the new server has the same samples, gives the same
# answers, and goes on taking writes.

use strict;
use warnings;

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

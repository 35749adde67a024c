# kill -9 at any moment while samples move to a bucket and back: none is lost, none is there twice.
#
# PROM_ROUNDS: how often (20; with LONG=1 500).  PROM_SEED: when, and whom: the backend, or all of the server.

use strict;
use warnings;

use Bucket;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => bucket_missing() if bucket_missing();

my $rounds = $ENV{PROM_ROUNDS} // ($ENV{LONG} ? 500 : 20);
my $seed = $ENV{PROM_SEED} // ($ENV{LONG} ? int(time) ^ $$ : 1);
note("PROM_SEED=$seed");
srand($seed);

my $s3 = start_radosgw();
my $node = start_node(new_node('primary', 'promgres.merge_age' => '1s', 'promgres.compact_delay' => '-1', 'promgres.rollup_delay' => '-1',
	'promgres.tier_after' => '-1', 'promgres.tier_rollups_after' => '-1', 'promgres.tier_object_size' => '16kB', 'promgres.series_grace' => '-1',
	'promgres.tier_server' => 'b'));
my $day_ms = 1_700_006_400_000;    # a midnight
my $from = "to_timestamp(($day_ms - 86400000) / 1000)";    # a sample at midnight is in rollups of the day before
my $end = "to_timestamp(($day_ms + 3 * 86400000) / 1000)";
my $out = "CALL prom.tier($from, $end)";
my $back = "CALL prom.rehydrate($from, $end, NULL, '0 s')";

sub sql { return $node->safe_psql('postgres', $_[0]) }

make_server($node, 'b', endpoint => "http://127.0.0.1:$s3->{port}", prefix => 'p');
foreach my $m (1 .. 4)
{
	remote_write($node, map { my $i = $_; [ { __name__ => "m_$m", i => $i }, map { [ $day_ms + $_ * 300_000, sqrt($_ * $i + $m) ] } 0 .. 2 * 288 - 1 ] } 1 .. 8)->{status} == 204
	  or die 'not stored';
}
sql("CALL prom.merge(); CALL prom.downsample('0 s')");
my $before = held($node);
like($before, qr/^\d{5,}:\w+ 0$/, 'samples and their rollups');

# How long it takes if nobody is killed: rounds end within this, or after it.
my %takes;
foreach my $call ($out, $back, $out)
{
	my $begin = time;
	sql($call);
	$takes{$call} = time - $begin;
}
my $objects = sql('SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL');
cmp_ok($objects, '>', 4, 'objects that are moved one by one');
is(sql('SELECT (SELECT count(*) FROM prom.warm) + (SELECT count(*) FROM prom.rollup)'), '0', 'all is moved out');
is(held($node), $before, 'and is as it was');

my %killed = (backend => 0, server => 0, 'too late' => 0);
my @wrong;
my $begun = time;
foreach my $round (1 .. $rounds)
{
	my ($told, $err) = ('', '');
	my $call = $round % 2 ? $back : $out;
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT pg_backend_pid()', '-c', $call ], '>', \$told, '2>', \$err);
	$psql->pump until $told =~ /(\d+)\n/ || !$psql->pumpable;
	my $pid = $1;
	my $wait = rand $takes{$call};
	sleep $wait;
	if ($round % 5 == 0)
	{
		kill_server($node);
		$killed{server}++;
		eval { $psql->finish };
		restart_killed($node);
	}
	else
	{
		my $hit = kill_backend($node, $pid);
		$killed{ $hit ? 'backend' : 'too late' }++;
		# (What was killed before leaves less to do, or more; and this machine is faster or slower than it was.)
		$takes{$call} *= $hit ? 1.05 : 0.7;
		eval { $psql->finish };
	}
	my $now = held($node);
	push @wrong, sprintf 'round %d, "%s" killed after %.3f s: %s', $round, $call, $wait, $now if $now ne $before;
	note(sprintf '%d rounds, %d s', $round, time - $begun) if $round % 25 == 0;
}
note(sprintf 'measured: %d rounds in %d s with PROM_SEED=%d: killed %s', $rounds, time - $begun, $seed, join ', ', map { "$_ $killed{$_}" } sort keys %killed);
cmp_ok($killed{backend} + $killed{server}, '>', $rounds / 3, 'many were killed in the middle');
is(join("\n", @wrong), '', "all samples were there each time, once: $before");

# What was killed is done by those who come next, and nothing but what is noted is left over.
sql('DELETE FROM prom.tier_hold');
sql($out) foreach 1 .. 2;
is(sql('SELECT (SELECT count(*) FROM prom.warm) + (SELECT count(*) FROM prom.rollup)'), '0', 'at the end all is in the bucket');
is(held($node), $before, '… equal, and once');
is(sql('SELECT * FROM prom.verify_bucket(read_all => true)'), '', '… and the bucket agrees');
sql("ALTER SYSTEM SET promgres.tier_delete_after = '0'");
$node->reload;
sql("UPDATE prom.tier_upload SET started = started - interval '2 days'");
sql('CALL prom.tier()') foreach 1 .. 2;
is(sql('SELECT count(*) FROM prom.tier_upload'), '0', 'what was left of those that were killed is collected');
is(sql("SELECT count(*) = 3 * (SELECT count(*) FROM prom.tier_object) FROM prom._bucket_list('b', 'promgres/v1/')"), 't', '… and nothing is left that nobody needs');
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal (?!9:)/, 'no process crashed by itself');
done_testing();

# Rollups of several days while backends and the server are killed at random moments: afterwards they are what the
# samples say, nothing is lost and nothing there twice.  A standby has them, and a dump takes them along, in the
# middle of a day as well.  The maintenance worker makes them by itself.

use strict;
use warnings;

use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes 'sleep';

my $node = start_node(new_node('primary', 'promgres.merge_age' => '1s', 'promgres.compact_delay' => '-1', 'promgres.rollup_delay' => '-1'));
my $day_ms = 1_700_006_400_000;    # a midnight
my $library = do { local (@ARGV, $/) = "$FindBin::Bin/../lib/rollup.sql"; <> };
my $blocks = do { local (@ARGV, $/) = "$FindBin::Bin/../lib/block.sql"; <> };

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Wrong points among all of them, of both resolutions; with how many there are.
sub wrong
{
	return $node->safe_psql('postgres', "SET timezone = 'UTC'; SET jit = off; SET work_mem = '64MB'; $library SELECT points > 0, wrong, example FROM pg_temp.wrong('^m_', 300); SELECT points > 0, wrong, example FROM pg_temp.wrong('^m_', 3600)");
}

# Of all points and of whose they are; without a join, which would have to know how many there are.
sub digest
{
	my ($on, $database) = @_;
	return $on->safe_psql($database // 'postgres', <<'SQL');
SET jit = off;
SELECT count(*), sum(hash_record_extended(ROW(r.resolution, r.part, r.day, r.shard, s.sid, s.t_ms, s.value), 0)) FROM prom.rollup r CROSS JOIN prom.samples(r.data) s;
SELECT count(*), sum(hashtextextended(concat_ws(' ', shard, sid, labels), 0)) FROM prom.series
SQL
}

sub merge { return wait_for(sub { sql('CALL prom.merge()'); sql('SELECT count(*) FROM prom.fresh') == 0 }, 'the merge') }

# In the background; killed, together with the server or alone, after a while.
sub downsample_and_kill
{
	my ($after_s, $server) = @_;
	my ($out, $err) = ('', '');
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT pg_backend_pid()', '-c', "CALL prom.downsample('0 s')" ],
		'>', \$out, '2>', \$err);

	$psql->pump until $out =~ /(\d+)\n/ || !$psql->pumpable;
	my $pid = $1;
	sleep $after_s;
	if ($server)
	{
		kill_server($node);
		eval { $psql->finish };
		restart_killed($node);
	}
	else
	{
		kill_backend($node, $pid);
		eval { $psql->finish };
	}
	return;
}

# Three days: a counter that is reset or a gauge each, in so many blocks that a day takes several steps.
sql("$blocks DO \$\$ DECLARE names text[] := ARRAY(SELECT 'm_' || n FROM generate_series(1, 600) n); BEGIN CALL pg_temp.own_block(VARIADIC names); END \$\$");
foreach my $day (0 .. 2)
{
	my @series = map {
		my $n = $_;
		[ { __name__ => "m_$n" }, map { [ $day_ms + $day * 86_400_000 + $_ * 600_000 + $n, $n % 2 ? ($_ * $n) % 997 : $_ % (5 + $n % 40) ] } 0 .. 143 ]
	} 1 .. 600;

	is(remote_write($node, splice @series, 0, 300)->{status}, 204, "samples of day $day") while @series;
}
ok(merge(), 'merged');

srand 42;
foreach my $round (1 .. 6)
{
	my $after = rand 0.5;

	sql('DELETE FROM prom.level; DELETE FROM prom.rollup; DELETE FROM prom.rollup_open') if $round % 3 == 1;
	downsample_and_kill($after, $round % 2);
	note "round $round: killed after $after s, open: " . sql('SELECT day, next_block FROM prom.rollup_open');
}
sql("CALL prom.downsample('0 s')");
is(wrong(), "t|0|\nt|0|", 'after killed runs all points are right');
is(sql('SELECT count(*) FROM prom.rollup_open'), 0, 'no day is left open');

# Late samples everywhere, and kills while their windows are made again.
foreach my $round (1 .. 6)
{
	my @series = map { [ { __name__ => "m_" . (1 + int rand 600) }, [ $day_ms + int(rand 3 * 86_400_000), int rand 1000 ] ] } 1 .. 300;

	is(remote_write($node, @series)->{status}, 204, "late samples of round $round");
	ok(merge(), 'merged');
	downsample_and_kill(rand 0.4, $round % 2);
	note "round $round: " . sql('SELECT count(*) FROM prom.rollup_due') . ' marks are left';
}
sql("CALL prom.downsample('0 s')");
is(wrong(), "t|0|\nt|0|", 'after killed runs over late samples all points are right');
is(sql('SELECT count(*) FROM prom.rollup_due'), 0, 'no mark is left');

my $made = digest($node);
sql('DELETE FROM prom.level; DELETE FROM prom.rollup');
sql("CALL prom.downsample('0 s')");
is(digest($node), $made, 'they are those that are made from scratch');

# Cancelled: the call ends, what its steps have done stays.
sql('DELETE FROM prom.level; DELETE FROM prom.rollup');
my ($status, undef, $err) = $node->psql('postgres', "SET statement_timeout = '3ms'; CALL prom.downsample('0 s')");
isnt($status, 0, 'a call can be cancelled');
like($err, qr/canceling statement/, 'as any statement');

# A dump in the middle of a day.
sql("SELECT prom._downsample_step('0 s')") until sql('SELECT count(*) FROM prom.rollup_open WHERE next_block > 0') > 0;
sql('CREATE DATABASE middle');
$node->command_ok([ 'sh', '-c', 'pg_dump -d "$1" | psql -qX -v ON_ERROR_STOP=1 -d "$2"', 'sh', $node->connstr('postgres'), $node->connstr('middle') ],
	'dump and restore in the middle of a day');
is($node->safe_psql('middle', 'TABLE prom.rollup_open; SELECT * FROM prom.level ORDER BY 1'), sql('TABLE prom.rollup_open; SELECT * FROM prom.level ORDER BY 1'), 'the copy knows how far it was');
$node->safe_psql('middle', "CALL prom.downsample('0 s')");
is(digest($node, 'middle'), $made, 'and goes on from there');

# The worker.
sql("ALTER SYSTEM SET promgres.rollup_delay = 0");
$node->reload;
ok(wait_for(sub { sql('SELECT count(*) FROM prom.rollup_open') == 0 && sql('SELECT min(until_ms) > 1700265600000 FROM prom.level') eq 't' }, 'the worker'), 'the worker makes them by itself');
is(digest($node), $made, 'the same');

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
configure($standby);
$standby->start;
# (the worker's turn is not now)
sql("ALTER SYSTEM SET promgres.rollup_delay = -1");
$node->reload;
is(remote_write($node, [ { __name__ => 'm_1' }, [ $day_ms + 5, 7 ] ])->{status}, 204, 'a late sample');
ok(wait_for(sub { sql('SELECT count(*) FROM prom.rollup_due') == 1 }, 'the mark'), 'marks its window');
# when settings are read again all jobs are run; it would take up to ten minutes otherwise
sql("ALTER SYSTEM SET promgres.rollup_delay = 0");
$node->reload;
ok(wait_for(sub { sql('SELECT count(*) FROM prom.fresh') == 0 && sql('SELECT count(*) FROM prom.rollup_due') == 0 }, 'the worker'), 'is rolled up as well');
isnt(digest($node), $made, 'which changes points');
$node->wait_for_catchup($standby);
is(digest($standby), digest($node), 'a standby has the same');
is($standby->safe_psql('postgres', 'SELECT prom._rolled_until(), blocks_due FROM prom.stat_rollup'), sql('SELECT prom._rolled_until(), blocks_due FROM prom.stat_rollup'), 'and knows how far they are');

sql('CREATE DATABASE copy');
$node->command_ok([ 'sh', '-c', 'pg_dump -d "$1" | psql -qX -v ON_ERROR_STOP=1 -d "$2"', 'sh', $node->connstr('postgres'), $node->connstr('copy') ],
	'dump and restore');
is(digest($node, 'copy'), digest($node), 'a copy has the same');
$node->safe_psql('copy', "CALL prom.downsample('0 s')");
is($node->safe_psql('copy', 'SELECT * FROM prom.level ORDER BY 1'), sql('SELECT * FROM prom.level ORDER BY 1'), 'and nothing to do');

$standby->stop;
$node->stop;
done_testing();

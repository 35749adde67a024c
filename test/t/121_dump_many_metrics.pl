# pg_dump and pg_restore of many metrics over 30 days, into a new server with the default lock table:
# catalog rows and locks grow with days, never with metrics, and the samples are the same.
#
# 5,000 metrics; LONG=1: 100,000.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(time);

my $metrics = $ENV{LONG} ? 100_000 : 5_000;
my $days = 30;
my $start_ms = 1_700_006_400_000;    # midnight
my %defaults = (max_connections => 100, max_locks_per_transaction => 64, shared_buffers => '128MB');

# Rollups have partitions of their own, made when the worker comes to it.
my $old = start_node(new_node('old', %defaults, 'promgres.merge_age' => '1h', 'promgres.rollup_delay' => -1));

# One sample of each metric a day.
sub fill
{
	my ($count) = @_;
	my @names = map { sprintf 'metric_%06d', $_ } 1 .. $count;

	while (my @some = splice @names, 0, 25_000)
	{
		foreach my $day (0 .. $days - 1)
		{
			my @sample = [ $start_ms + 86_400_000 * $day + 3_600_000, $day + 0.5 ];
			my $answer = remote_write($old, map { [ { __name__ => $_ }, @sample ] } @some);
			return $answer->{status} if $answer->{status} != 204;
		}
	}
	return 204;
}

sub catalog_rows
{
	my ($node) = @_;
	return $node->safe_psql('postgres', <<'SQL');
SELECT (SELECT count(*) FROM pg_class) + (SELECT count(*) FROM pg_attribute) + (SELECT count(*) FROM pg_type)
	+ (SELECT count(*) FROM pg_constraint) + (SELECT count(*) FROM pg_depend) + (SELECT count(*) FROM pg_index)
SQL
}

# All samples in one number and their count.
sub digest
{
	my ($node) = @_;
	return $node->safe_psql('postgres', <<'SQL');
SELECT count(*), sum(hashtextextended(labels::text || ' ' || t_ms || ' ' || encode(float8send(value), 'hex'), 0))
FROM prom.samples_of('{__name__=~".+"}', '-infinity', 'infinity')
SQL
}

sub series_counts
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT (shard, sid)), count(DISTINCT labels) FROM prom.series');
}

# Run a program; (seconds, most locks that it held at a time).
sub run_watched
{
	my ($node, $application, @command) = @_;
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGAPPNAME => $application);
	my $begun = time;
	my $most = 0;
	my $out = '';
	my $run = IPC::Run::start(\@command, '<', \undef, '>', \$out, '2>&1');

	while ($run->pumpable)
	{
		my $locks = $node->safe_psql('postgres', "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = '$application'");
		$most = $locks if $locks > $most;
		$run->pump_nb;
	}
	$run->finish;
	is($run->result(0), 0, "$application works") or diag($out);
	return (time - $begun, $most);
}

# New metrics are looked up by index even by a backend that has planned that when there were none.
{
	my @bodies = map {
		my $n = $_;
		unpack 'H*', write_body(map { [ { __name__ => "plan_${n}_$_" }, [ $start_ms, 1 ] ] } 1 .. 300)
	} 1 .. 2;
	my ($status, $out, $err) = $old->psql('postgres', join ";\n", 'BEGIN', q{LOAD 'auto_explain'},
		'SET auto_explain.log_min_duration = 0', 'SET auto_explain.log_analyze = on',
		'SET auto_explain.log_nested_statements = on', 'SET client_min_messages = log',
		(map { "SELECT samples FROM prom.ingest(ARRAY['\\x$_'::bytea])" } @bodies), 'ROLLBACK');
	is($out, "300\n300", 'two bodies of new metrics are stored');
	like($err, qr/metric_pkey/, 'their metrics are looked for');
	# the row of the one shard may be
	unlike($err, qr/Rows Removed by (?:Join )?Filter: \d\d/, 'and nothing is gone through in vain');
}

is(fill(100), 204, 'a hundred metrics are written');
# The worker makes the partitions of today and tomorrow at a time of its own; midnight may be one.
$old->safe_psql('postgres', "SELECT prom._make_day((extract(epoch FROM now() + d * interval '1 day') * 1000)::int8) FROM generate_series(0, 2) d");
$old->safe_psql('postgres', 'CALL prom.merge()');
my $rows_before = catalog_rows($old);

my $begun = time;
is(fill($metrics), 204, "$metrics metrics over $days days are written");
my $written = time - $begun;
$begun = time;
# The worker may be merging, too: then a call of ours leaves that to it.
ok(wait_for(
		sub {
			$old->safe_psql('postgres', 'CALL prom.merge()');
			$old->safe_psql('postgres', 'SELECT count(*) FROM prom.fresh') eq '0';
		},
		'all is merged', 600),
	'and merged');
my $merged = time - $begun;

is($old->safe_psql('postgres', "SELECT count(*) FROM pg_inherits WHERE inhparent = 'prom.warm'::regclass"),
	$days + 3, 'a partition a day, and those of today and after it');
cmp_ok(abs(catalog_rows($old) - $rows_before), '<=', 10, 'the catalog has not grown with the metrics');

my $digest = digest($old);
like($digest, qr/^@{[ $metrics * $days ]}\|/, 'there are as many samples as were written');

my $file = "$PostgreSQL::Test::Utils::tmp_check/dump";
my ($dump_seconds, $dump_locks) = run_watched($old, 'pg_dump', 'pg_dump', '-F', 'custom', '-Z', '1', '-f', $file, 'postgres');

my $new = new_node('new', %defaults);
$new->start;
# In one transaction, which needs most locks.
my ($restore_seconds, $restore_locks) =
  run_watched($new, 'pg_restore', 'pg_restore', '--single-transaction', '--exit-on-error', '-d', 'postgres', $file);

is(digest($new), $digest, 'the same samples, bit for bit');
is(series_counts($new), series_counts($old), 'the same series');
cmp_ok($dump_locks, '<', 64 * 10, 'the dump needs few locks');
cmp_ok($restore_locks, '<', 64 * 30, 'so does the restore');
is(remote_write($new, [ { __name__ => 'metric_000001' }, [ $start_ms, 1 ] ])->{status}, 204, 'it goes on taking writes');
is($new->safe_psql('postgres', 'SELECT count(*) FROM prom.series'), $metrics, 'of series that it knows');

diag(sprintf "measured: %d metrics x %d days, %d samples, dump of %.1f MB: write %.1f s, merge %.1f s, dump %.1f s (%d locks), restore %.1f s (%d locks), %d catalog rows",
	$metrics, $days, $metrics * $days, (-s $file) / 1e6, $written, $merged, $dump_seconds, $dump_locks,
	$restore_seconds, $restore_locks, catalog_rows($old));

$new->stop;
$old->stop;
done_testing();

# Retention as the maintenance worker does it: days go when rollups have been made of them, whole where all series of
# them may go, and series by series where rules differ, with their space; a long query is not in the way of anybody,
# and nobody is in its way; a limit on the size drops the oldest.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(time);

my $node = start_node(new_node('primary', 'promgres.merge_age' => '1s', 'promgres.compact_delay' => '-1', 'promgres.rollup_delay' => '-1'));
my $today = int(time / 86400);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Days ago of which series have raw samples, as stored.
# Days of which there are raw samples of a metric, or of one job's; queries see rollups beyond them.
sub days_of
{
	my ($selector) = @_;
	my ($name, $job) = $selector =~ /^(\w+)(?:\{job="(\w+)"\})?$/ or die "no such selector: $selector";
	my $of_job = $job ? "AND s.labels['job'] = '$job'" : '';
	return sql("SELECT string_agg(d::text, ' ' ORDER BY d DESC) FROM (SELECT DISTINCT $today - floor(x.t_ms / 86400000)::int8 AS d"
		. " FROM prom.warm w, prom.samples(w.data) x JOIN prom.series s USING (sid) WHERE s.labels['__name__'] = '$name' $of_job) y");
}

sub set
{
	my (%setting) = @_;
	sql("ALTER SYSTEM SET promgres.$_ = '$setting{$_}'") foreach sort keys %setting;
	$node->reload;
	return;
}

# A day is compacted, and its files get small.  A snapshot that another query had when the worker vacuumed, one of
# ours even, leaves that to autovacuum, which would take a minute: it is helped along.
sub smaller
{
	my ($ago, $size) = @_;
	my $day = "($today - $ago) * 86400000::int8";

	return 0 unless wait_for(sub { sql("SELECT count(*) FROM prom.compaction WHERE day = $day") == 0 }, 'the compaction');
	my $part = sql("SELECT part FROM prom._parts() WHERE resolution = 0 AND from_ms = $day");
	return wait_for(sub { sql("VACUUM $part"); sql("SELECT pg_total_relation_size('$part')") < $size }, 'the space');
}

# Values that take room, at noon.
sub write_day
{
	my ($ago, @jobs) = @_;
	my $noon_ms = ($today - $ago) * 86_400_000 + 43_200_000;
	return remote_write($node, map { my $job = $_; map { my $i = $_; [ { __name__ => 'm', job => $job, i => $i }, map { [ $noon_ms + $_ * 1000, sqrt($_ * $i) ] } 1 .. 200 ] } 1 .. 60 } @jobs)->{status};
}

is(write_day($_, qw(app dev slo)), 204, "a day that was $_ days ago") foreach 40, 30, 20, 10, 5;
sql('CALL prom.merge()');
is(days_of('m'), '40 30 20 10 5', 'all of them are there');

# ---- not before rollups have been made

my $rules = <<'SQL';
SELECT prom.set_retention(NULL, raw => '15 days', rollups => '{"5min": "90 days", "1h": "1 year"}');
SELECT prom.set_retention('{job="dev"}', raw => '7 days'), prom.set_retention('{job="slo"}', raw => '35 days');
SQL
sql($rules);
my $runs = sql("SELECT runs FROM prom.jobs WHERE name = 'retain'");
$node->reload;
ok(wait_for(sub { sql("SELECT runs FROM prom.jobs WHERE name = 'retain' AND last_success > last_start") > $runs }, 'a run'), 'the worker looks');
sql('SELECT prom.reset_retention(s) FROM (SELECT DISTINCT selector AS s FROM prom.retention) x');
is(days_of('m'), '40 30 20 10 5', 'raw samples stay where no rollups are made of them');
like(sql("SELECT phase FROM prom.jobs WHERE name = 'retain'"), qr/^prom.warm_\d+ waits for its rollups$/, 'and this is said');

my $raw = sql(q{SELECT sum(value) FROM prom.query('sum by (job) (sum_over_time(m[60d]))', now())});
set(rollup_delay => '0', compact_delay => '0');
ok(wait_for(sub { sql("SELECT prom._rolled_until() >= ($today - 1) * 86400000::int8") eq 't' && sql('SELECT count(*) FROM prom.compaction') == 0 }, 'rollups', 120), 'rollups are made, days compacted');
my $size = sql("SELECT pg_total_relation_size(part) FROM prom._parts() WHERE resolution = 0 AND from_ms = ($today - 30) * 86400000::int8");

# ---- a query that reads all the while

set(compact_delay => '-1');
my $reader = $node->background_psql('postgres');
$reader->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM prom.samples_of('m')");
sql($rules);
my $pid = fork // die "fork: $!";
if ($pid == 0)
{
	# what else is asked and sent meanwhile
	my $worst = 0;
	until (-e "$PostgreSQL::Test::Utils::tmp_check/enough")
	{
		my $begun = time;
		http_get($node, "/api/v1/query?query=count(m)&time=" . ($today - 5) * 86400);
		remote_write($node, [ { __name__ => 'other' }, [ $today * 86_400_000 + 1000, 1 ] ]);
		$worst = time - $begun if time - $begun > $worst;
	}
	open my $file, '>', "$PostgreSQL::Test::Utils::tmp_check/worst" or POSIX::_exit(1);
	print $file $worst;
	close $file;
	POSIX::_exit(0);
}
sql('CALL prom.retain()');
like(sql("SELECT phase FROM prom.jobs WHERE name = 'retain'"), qr/^prom.warm_\d+ is being read$/, 'what is read stays');
is($reader->query_safe(q{SELECT count(DISTINCT floor(t_ms / 86400000)) FROM prom.samples_of('m{job="app"}')}), 5, 'the query sees all of it still');
append_to_file("$PostgreSQL::Test::Utils::tmp_check/enough", '');
waitpid $pid, 0;
my $worst = slurp_file("$PostgreSQL::Test::Utils::tmp_check/worst");
cmp_ok($worst, '<', 10, 'nobody waits for long');
diag(sprintf 'measured: slowest query and write while a day could not be dropped: %.0f ms', $worst * 1000);
is(days_of('m{job="app"}'), '40 10 5', 'where a rule keeps some series, the others are taken out row by row, which waits for nobody');
$reader->query_safe('COMMIT');
$reader->quit;

# ---- what goes

sql('CALL prom.retain()');
is(days_of('m{job="app"}'), '10 5', 'what no rule is for is kept for 15 days');
is(days_of('m{job="dev"}'), '5', 'shorter by a rule');
is(days_of('m{job="slo"}'), '30 20 10 5', 'longer by a rule');
is(sql("SELECT $today - from_ms / 86400000 FROM prom.level WHERE resolution = 0"), 19, 'prom.level tells since when all is there');
is(sql("SELECT string_agg(($today - from_ms / 86400000)::text, ' ' ORDER BY from_ms) FROM prom._parts() WHERE resolution = 0 AND from_ms < ($today - 1) * 86400000::int8"),
	'30 20 10 5', 'a day of which nothing is kept is dropped');
is(sql("SELECT failures, error IS NULL FROM prom.jobs WHERE name = 'retain'"), '0|t', 'without an error');
is(sql("SELECT count(*) FROM prom.rollup_due"), 0, 'rollups are not made again of what is left');
# Compaction was off while the query had its snapshot, which would have kept the space.
set(compact_delay => '0');
ok(smaller(30, $size * 0.75), 'a day of which two thirds were taken out takes less space');

# Late samples, of a day that is gone.
is(write_day(40, 'app'), 204, 'samples of a day that is over are taken');
ok(wait_for(sub { sql('SELECT count(*) FROM prom.fresh') == 0 }, 'the merge'), 'and merged');
sql('CALL prom.retain()');
is(days_of('m{job="app"}'), '10 5', 'and go again');

# A day out of which series are deleted is compacted again.
sql(q{SELECT prom.delete_series('m{job=~"app|dev"}')});
my $five = "($today - 5) * 86400000::int8";
ok(wait_for(sub { sql("SELECT count(*) FROM prom.compaction WHERE day = $five") == 0 }, 'the compaction'), 'a day out of which series are deleted is compacted again');
is(sql("SELECT count(*) > 0 AND bool_and(gen = 128) FROM prom.warm WHERE t_min >= $five AND t_min < $five + 86400000"), 't', 'all of it');

# ---- the size

is(write_day($_, map { "big$_" } 1 .. 20), 204, "much of $_ days ago") foreach 10, 9, 8;
sql('CALL prom.merge()');
sql("CALL prom.downsample('0 s')");
my $total = sql('SELECT sum(pg_total_relation_size(part)) + coalesce((SELECT sum(pg_column_size(f.data)) FROM prom.fresh f), 0) FROM prom._parts()');
my $oldest = sql("SELECT sum(pg_total_relation_size(part)) FROM prom._parts() WHERE resolution = 0 AND from_ms < ($today - 9) * 86400000::int8");
my $limit = int(($total - $oldest) / 1024 / 1024) + 1;
cmp_ok($total, '>', $limit * 1024 * 1024, 'more than is to be allowed');
set(retention_size => "${limit}MB");
ok(wait_for(sub { sql("SELECT sum(pg_total_relation_size(part)) + coalesce((SELECT sum(pg_column_size(f.data)) FROM prom.fresh f), 0) <= $limit * 1048576::int8 FROM prom._parts()") eq 't' }, 'the size'), 'the oldest go until the rest is small enough');
like(sql("SELECT string_agg(($today - from_ms / 86400000)::text, ' ' ORDER BY from_ms) FROM prom._parts() WHERE resolution = 0 AND from_ms < ($today - 1) * 86400000::int8"),
	qr/^((30 )?20 )?(10 )?9 8 5$/, 'raw samples, the oldest first');
is(sql("SELECT count(*) > 0 FROM prom._parts() WHERE resolution > 0"), 't', 'rollups stay');
my $level = sql("SELECT $today - from_ms / 86400000 FROM prom.level WHERE resolution = 0");
cmp_ok($level, '<', 30, 'prom.level knows');
set(retention_size => '0');

# Series whose last sample goes are collected; those of which rollups are left are not.
is(sql(q{SELECT count(*) FROM prom.series WHERE prom.label(labels, 'job') = 'slo'}), 60, 'series with rollups stay');
$node->stop;
done_testing();

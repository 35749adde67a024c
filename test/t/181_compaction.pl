# The maintenance worker compacts a day that is over, once no sample of it is fresh: fewer rows, the same samples,
# the space given back, everything frozen.  Late samples are compacted in their turn, and a dump takes along what is due.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary', 'promgres.merge_age' => '1s', 'promgres.compact_delay' => '-1'));
my $start_ms = 1_700_006_400_000;    # noon
my $part = 'prom.warm_20231115';

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub told { return sql("SELECT count(*), sum(value), min(t_ms), max(t_ms) FROM prom.samples_of('m')") }

# Many merges, as a day has them: values that take room.
foreach my $round (1 .. 12)
{
	my @series = map { my $n = $_; [ { __name__ => 'm', n => $n }, map { [ $start_ms + $round * 100_000 + $_ * 1000, sqrt($round * 1000 + $_ * $n) ] } 1 .. 60 ] } 1 .. 20;

	is(remote_write($node, @series)->{status}, 204, "round $round is written");
	sql('CALL prom.merge()');
}
ok(wait_for(sub { sql('SELECT count(*) FROM prom.fresh') == 0 }, 'the merge'), 'everything is merged');
my $before = told();
my $size = sql("SELECT pg_relation_size('$part')");
is(sql("SELECT count(*) FROM prom.warm WHERE gen = 128"), 0, 'nothing is compacted where the setting says never');
is(sql("SELECT days_to_compact FROM prom.stat_merge"), 1, 'but the day is known to be due');

$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'sh', '-c', 'pg_dump -d "$1" | psql -qX -v ON_ERROR_STOP=1 -d "$2"', 'sh', $node->connstr('postgres'), $node->connstr('copy') ],
	'dump and restore');
is($node->safe_psql('copy', 'SELECT count(*), bool_and(c.seq <= s.last_value) FROM prom.compaction c, prom.store_seq s'), '1|t', 'the mark is in it');

sql("ALTER SYSTEM SET promgres.compact_delay = 0");
$node->reload;
ok(wait_for(sub { sql('SELECT count(*) FROM prom.compaction') == 0 }, 'the compaction'), 'the worker compacts it by itself');
is(sql("SELECT bool_and(gen = 128), count(*) < 6 FROM prom.warm"), 't|t', 'into few rows');
is(told(), $before, 'with the same samples');
cmp_ok(sql("SELECT pg_relation_size('$part')"), '<', $size, 'the table gives pages back');
is(sql("SELECT age(relfrozenxid) < 100 FROM pg_class WHERE oid = '$part'::regclass"), 't', 'and frozen');
is(sql("SELECT compact_steps > 0, rows_compacted > 0, compact_seconds > 0, last_compact > since, days_to_compact FROM prom.stat_merge"), 't|t|t|t|0',
	'the counters tell of it');

# Late samples, later than what is there; and some of a metric that opens a block.
sql('UPDATE prom.shard SET next_sid = 0');
is(remote_write($node, [ { __name__ => 'late' }, map { [ $start_ms + $_ * 1000, $_ ] } 1 .. 100 ], [ { __name__ => 'm', n => 1 }, [ $start_ms + 101_000, -1 ] ])->{status},
	204, 'late samples are taken');
ok(wait_for(sub { sql("SELECT count(*) = 0 FROM prom.compaction") eq 't' && sql("SELECT sum(samples) FROM prom.warm") >= 14500 }, 'the late ones'),
	'and merged; the day is gone through again');
is(sql("SELECT w.gen, w.samples FROM prom.warm w JOIN prom.series s ON w.block = prom._block(s.sid) WHERE s.labels['__name__'] = 'late'"), '128|100', 'a new block is compacted');
is(sql("SELECT value FROM prom.samples_of('m{n=\"1\"}') WHERE t_ms = $start_ms + 101000"), -1, 'the later commit wins');
is(sql("SELECT count(*) FROM prom.quarantine"), 0, 'nothing was damaged');

# A day that was dropped leaves nothing to do.
sql("INSERT INTO prom.compaction (shard, day, seq) VALUES (0, 86400000, 1)");
ok(wait_for(sub { sql('SELECT count(*) FROM prom.compaction') == 0 }, 'a day without partition'), 'a mark of a dropped day goes');
done_testing();

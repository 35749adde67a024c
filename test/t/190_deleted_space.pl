# What is deleted gives its space back, and nobody waits for that: days that are over and today's, rollups and exemplars
# take what is left of them takes, some time after prom.delete_series, even if a long query had them in sight; and so do the
# tables of series.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(time);

# (exemplars of today are kept if midnight comes)
my $node = start_node(new_node('primary', 'promgres.merge_age' => '1s', 'promgres.compact_delay' => '-1', 'promgres.rollup_delay' => '-1',
	'promgres.exemplar_max_age' => '30d'));
my $today = int(time / 86400);
srand 1;
my $part_sql = "SELECT part FROM prom._parts() WHERE pg_relation_size(part) > 0 UNION ALL SELECT 'prom.exemplar'";

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Numbers that do not compress.  A quarter of the series of each block of ids stays, and no series of every other block:
# what is left lies all over the files.
sub write_day
{
	my ($ago) = @_;
	my $step_ms = int(86_400_000 / 500);

	foreach my $name (0 .. 7)
	{
		my @series = map { my $i = $_; [ { __name__ => "m$name", i => $i, keep => $name % 2 == 0 || $i % 4 ? 'no' : 'yes' },
			map { [ ($today - $ago) * 86_400_000 + $_ * $step_ms, rand() ] } 1 .. 400 ] } 0 .. 63;
		is(remote_write($node, @series)->{status}, 204, "m$name, $ago days ago");
	}
	return;
}

# Bytes of a partition's table, TOAST table and indexes, and of a copy of it.
sub sizes
{
	my ($part) = @_;

	return split /\|/, sql(<<"SQL");
BEGIN;
CREATE TABLE copied (LIKE $part INCLUDING ALL);
INSERT INTO copied SELECT * FROM $part;
SELECT pg_relation_size(p) + pg_indexes_size(p) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0),
	pg_relation_size(d.oid) + pg_indexes_size(d.oid) + coalesce(pg_relation_size(nullif(d.reltoastrelid, 0)), 0)
FROM (SELECT '$part'::regclass AS p) x JOIN pg_class c ON c.oid = p, pg_class d WHERE d.oid = 'copied'::regclass;
ROLLBACK;
SQL
}

write_day($_) foreach 5, 0;
sql('CALL prom.merge()');
# the worker compacts the day that is over
sql("ALTER SYSTEM SET promgres.compact_delay = '0'");
$node->reload;
ok(wait_for(sub { sql("SELECT count(*) FROM prom.compaction WHERE day < $today * 86400000::int8") == 0 }, 'the compaction'), 'a day is compacted');
sql("ALTER SYSTEM SET promgres.compact_delay = '-1'");
$node->reload;
sql("CALL prom.downsample('0')");
sql("INSERT INTO prom.exemplar SELECT shard, sid, $today * 86400000::int8 + n, n, prom._labels_drop(labels, ARRAY['i']) FROM prom.series, generate_series(1, 40) n");
my @parts = split /\n/, sql($part_sql);
is(scalar @parts, 5, 'two days, rollups of two resolutions, exemplars');
my %whole = map { $_ => (sizes($_))[0] } @parts;

my $kept = sql(q{SELECT count(*), sum(value::numeric) FROM prom.samples_of('{keep="yes"}')});
my $reader = $node->background_psql('postgres');
my $seen = $reader->query_safe(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*), sum(value::numeric) FROM prom.samples_of('{__name__=~"m."}')});
is(sql(q{SELECT prom.delete_series('{keep="no"}')}), 512 - 64, 'seven eighths are deleted');
is(sql('SELECT count(*) FROM prom.slack'), 7, 'all of them are noted, and the tables of series and labels');
my $points = sql(q{SET promgres.max_source_resolution = '1h'; SELECT count(*), sum(value) FROM prom.query_range('sum_over_time(m1[1h])', to_timestamp(} . ($today - 5) * 86400 . '), to_timestamp(' . ($today - 4) * 86400 . "), '1h')");
sql("ALTER SYSTEM SET promgres.compact_delay = '0'");
$node->reload;
ok(wait_for(sub { sql('SELECT count(*) FROM prom.slack WHERE tries > 0') > 0 }, 'a try'), 'what a long query still sees is not to be had');
is($reader->query_safe(q{SELECT count(*), sum(value::numeric) FROM prom.samples_of('{__name__=~"m."}')}), $seen, 'it sees it all the while');
$reader->query_safe('COMMIT');
$reader->quit;
ok(wait_for(sub { sql('SELECT count(*) FROM prom.slack WHERE next_page IS NOT NULL OR (freed >= 65536 AND freed * 8 > pg_total_relation_size(part))') == 0 }, 'the space', 300), 'it is tried again');

foreach my $part (@parts)
{
	my ($size, $copy) = sizes($part);

	diag(sprintf 'measured: %s: %d kB, now %d kB; a copy of what is left: %d kB', $part, $whole{$part} / 1024, $size / 1024, $copy / 1024);
	cmp_ok($size, '<', $copy * 1.15 + 65536, "$part takes what is left of it");
	cmp_ok($size, '<', $whole{$part} / 3, 'which is much less than before');
}
is(sql(q{SELECT count(*), sum(value::numeric) FROM prom.samples_of('{__name__=~"m."}')}), $kept, 'raw samples are those that were kept');
is(sql(q{SET promgres.max_source_resolution = '1h'; SELECT count(*), sum(value) FROM prom.query_range('sum_over_time(m1[1h])', to_timestamp(} . ($today - 5) * 86400 . '), to_timestamp(' . ($today - 4) * 86400 . "), '1h')"), $points, 'and rollups');
is(sql('SELECT count(*) FROM prom.exemplar'), 64 * 40, 'and exemplars');
is(sql('SELECT count(*) FROM pg_index WHERE NOT indisvalid'), 0, 'no index is left half made');

# --- a day whose rows cannot be taken in hand, as if a page of it were damaged, keeps no other from it

my @days = map { ($today - $_) * 86_400_000 } 7, 8;
sql("ALTER SYSTEM SET promgres.compact_delay = '-1'");
$node->reload;
write_day($_) foreach 7, 8;
sql('CALL prom.merge()');
my @table = map { sql("SELECT part FROM prom._parts() WHERE resolution = 0 AND from_ms = $_") } @days;
sql(q{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$});
sql("CREATE TRIGGER refuse BEFORE DELETE ON $table[0] FOR EACH ROW EXECUTE FUNCTION refuse()");
sql("ALTER SYSTEM SET promgres.compact_delay = '0'");
$node->reload;
ok(wait_for(sub { sql("SELECT count(*) FROM prom.compaction WHERE day = $days[1]") == 0 }, 'the compaction'), 'the day before is compacted');
is(sql("SELECT count(*), bool_and(since > clock_timestamp()) FROM prom.compaction WHERE day = $days[0]"), '1|t', 'and it later');
sql("DROP TRIGGER refuse ON $table[0]; ALTER SYSTEM SET promgres.compact_delay = '-1'");
$node->reload;
sql(q{SELECT prom.delete_series('{keep="no"}')});
my ($first, $second) = split /\n/, sql("SELECT part FROM prom.slack WHERE part IN ('$table[0]'::regclass, '$table[1]'::regclass) ORDER BY since");
sql("CREATE TRIGGER refuse BEFORE DELETE ON $first EXECUTE FUNCTION refuse()");
sql("ALTER SYSTEM SET promgres.compact_delay = '0'");
$node->reload;
ok(wait_for(sub { sql("SELECT count(*) FROM prom.slack WHERE part = '$second'::regclass AND tries = 0") == 0 }, 'the other'), 'the other one gets its turn');
is(sql("SELECT tries > 0, next_page IS NULL FROM prom.slack WHERE part = '$first'::regclass"), 't|t', 'and the first gets another');

# --- series that come and go leave no room behind in the tables of series

sql("DROP TRIGGER refuse ON $first; ALTER SYSTEM SET promgres.compact_delay = '0'");
$node->reload;
foreach my $turn (1 .. 4)
{
	foreach my $part (0 .. 3)
	{
		is(remote_write($node, map { [ { __name__ => 'churn', turn => $turn, pod => "$turn-$part-$_" x 4 }, [ $today * 86_400_000, $turn ] ] } 1 .. 1000)->{status}, 204, "series $part of turn $turn");
	}
	is(sql(sprintf q{SELECT prom.delete_series('{__name__="churn",turn="%d"}')}, $turn - 1), 4000, "those of turn " . ($turn - 1) . ' go') if $turn > 1;
}
my $loose = q{SELECT coalesce(string_agg(r || ': ' || free || ' of ' || size, ', ' ORDER BY r), 'none') FROM (
	SELECT c.oid::regclass::text AS r, p.free, pg_relation_size(c.oid) AS size, 0.125 AS most FROM pg_class c, prom._pages(c.oid) p WHERE c.oid IN ('prom.series'::regclass, 'prom.label_value'::regclass)
	UNION ALL SELECT i.indexrelid::regclass::text, prom._index_free(i.indexrelid), pg_relation_size(i.indexrelid), 0.4 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
		WHERE i.indrelid IN ('prom.series'::regclass, 'prom.label_value'::regclass)) x WHERE size > 65536 AND free > most * size};
ok(wait_for(sub { sql("SELECT count(*) FROM prom.slack WHERE part IN ('prom.series'::regclass, 'prom.label_value'::regclass) AND freed >= 65536") == 0 && sql($loose) eq 'none' }, 'the room', 120),
	'the tables of series are not loose, nor their indexes') or diag(sql($loose), sql('SELECT string_agg(k::text, E\'\n\') FROM prom.slack k'));
is(sql(q{SELECT count(*), count(DISTINCT labels), bool_and(labels['turn'] = '4') FROM prom.series WHERE labels['__name__'] = 'churn'}), '4000|4000|t', 'the series of the last turn are there, once each');
is(sql(q{SELECT count(*), sum(value) FROM prom.samples_of('churn')}), '4000|16000', 'and found by their labels');
is(remote_write($node, map { [ { __name__ => 'churn', turn => 4, pod => "4-0-$_" x 4 }, [ $today * 86_400_000 + 1, 5 ] ] } 1 .. 1000)->{status}, 204, 'they are written to again');
is(sql('SELECT count(*) FROM prom.series') , sql('SELECT sum(series) FROM prom.shard'), 'and no other ones are made');
is(sql('SELECT count(*) FROM prom.label_value'), sql('SELECT count(DISTINCT p) FROM prom.series, jsonb_each_text(labels::jsonb) p'), 'the labels are those of the series');
ok(wait_for(sub { sql('SELECT count(*) FROM pg_index WHERE NOT indisvalid') == 0 }, 'the indexes', 60), 'no index is left half made');
$node->stop;
done_testing();

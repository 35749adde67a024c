# Blocks that Thanos has downsampled become rollups: queries answer from them what raw samples answer, once, and not
# longer than they are kept.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

plan skip_all => 'python3 is not installed' unless grep { -x "$_/python3" } split /:/, $ENV{PATH};

my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $functions = "$FindBin::Bin/../lib/body.sql";
my $tool = "$FindBin::Bin/../tools/downsampled_block.py";
my $node = start_node(new_node('primary', 'promgres.rollup_delay' => '-1'));
my $day = 1_700_006_400_000;

sub sql { return $node->safe_psql('postgres', "SET client_min_messages = warning;\n$_[0]") }

# Samples of three days, some seconds off the full minute: counters that are never reset, rarely, several times in a
# window, with fractions and with gaps; gauges.
sub put
{
	my ($n, $every, $value, $days) = @_;
	sql(<<"SQL");
\\i $functions
SELECT prom.ingest(ARRAY[pg_temp.body(pg_temp.series(ARRAY['__name__', 'ds', 'n', '$n'], array_agg(t ORDER BY t), array_agg(v ORDER BY t)))]) FROM (
	SELECT $day + 7000 + i * $every AS t, ($value)::float8 AS v FROM generate_series(0::int8, $days * 86400000 / $every - 1) i) x WHERE v IS NOT NULL;
SQL
	return;
}

my @series = (
	[ 'steady', 15000, 'i * 3' ], [ 'resets', 30000, 'i % 501 * 2 + i % 3' ], [ 'often', 30000, 'i % 37 * 10' ],
	[ 'fraction', 30000, 'sqrt(i % 2003) * 17' ], [ 'gap', 30000, 'CASE WHEN i / 100 % 3 > 0 THEN i END' ],
	[ 'gauge', 30000, '500 + i * 7919 % 1009' ], [ 'flat', 60000, '42' ]);
put(@$_, 3) foreach @series;

sub remove_all
{
	sql(q{SELECT prom.delete_series('{__name__=~".+"}'); CALL prom.merge(); DELETE FROM prom.block_import});
	return;
}

# What queries answer, as a table; steps and ranges are of so many hours.
my @exact = qw(min_over_time max_over_time sum_over_time count_over_time avg_over_time);
my @all = (@exact, qw(rate increase));

sub note_answers
{
	my ($table, $hours, $most) = @_;
	my $list = join ', ', map { "('$_(ds[${hours}h])')" } @all;
	sql(<<"SQL");
SET promgres.max_source_resolution = '$most';
CREATE TABLE $table AS SELECT q, prom.label(x.labels, 'n') AS n, x.time, x.value FROM (VALUES $list, ('ds')) v(q),
	prom.query_range(q, to_timestamp($day / 1000 + 6 * 3600), to_timestamp($day / 1000 + 3 * 86400), '$hours h') x;
SQL
	return;
}

# Where an answer is missing, or off by more than this part.
sub differences
{
	my ($want, $have, $part, $condition) = @_;
	return sql(<<"SQL");
SELECT q, n, count(*), max(abs(b.value - a.value) / greatest(abs(a.value), 1e-9)) FROM $want a FULL JOIN $have b USING (q, n, time)
WHERE ($condition) AND (abs(a.value - b.value) <= $part * abs(a.value)) IS NOT TRUE GROUP BY 1, 2 ORDER BY 1, 2;
SQL
}

my $points = q{SELECT resolution, part, count(*), sum(samples), md5(string_agg(day || data::text, ' ' ORDER BY day, block, seq)) FROM prom.rollup GROUP BY 1, 2 ORDER BY 1, 2};
my $is_exact = sprintf 'q ~ $$^(%s)$$', join '|', @exact;

sql('CALL prom.merge()');
note_answers('raw_2', 2, 'raw');
note_answers('raw_6', 6, 'raw');
# what becomes of these samples here, for comparison
sql(q{CALL prom.downsample('0 s')});
note_answers('own_2', 2, '5min');
note_answers('own_6', 6, '1h');
is(differences('raw_2', 'own_2', 1e-9, $is_exact), '', 'rollups made here say it exactly');

my $lines = sql(q{SELECT concat_ws(E'\t', labels::jsonb, t_ms, value) FROM prom.samples_of('ds') ORDER BY labels::text, t_ms});
my %directory = map { $_ => "$tmp/thanos$_" } qw(300000 3600000);
foreach my $resolution (sort keys %directory)
{
	mkdir $directory{$resolution};
	IPC::Run::run([ 'python3', $tool, $directory{$resolution}, $resolution, 50, 'cluster=eu' ], '<' => \$lines, '>' => \my $name) or die;
	like($name, qr/^\w{26}$/, "a block of $resolution ms is written");
}

foreach my $case ([ 300000, 2, 300 ], [ 3600000, 6, 3600 ])
{
	my ($resolution, $hours, $seconds) = @$case;
	remove_all();
	sql('DELETE FROM prom.level; DELETE FROM prom.rollup; DELETE FROM prom.rollup_foreign; DELETE FROM prom.rollup_gap');
	sql("CALL prom.import_blocks('$directory{$resolution}', external_labels => false)");
	is(sql('SELECT resolution, state, series, refused_series, error FROM prom.block_import'), "$seconds|done|7|0|", "a block of $resolution ms is imported");
	note_answers("got_$hours", $hours, 'raw');
	is(differences("raw_$hours", "got_$hours", 1e-9, $is_exact), '', 'count, sum, min, max are exact');
	is(differences("raw_$hours", "got_$hours", 0.01, q{q ~ '^increase|^ds' AND n <> 'gap' AND (q <> 'ds' OR n NOT IN ('gauge', 'often'))}), '', 'increases and last values are right within 1 %');
	is(differences("raw_$hours", "got_$hours", 0.02, q{q ~ '^rate' AND n <> 'gap'}), '', 'rates within 2 %');
	is(differences("own_$hours", "got_$hours", 0.02, q{q ~ '^(rate|increase)' AND n <> 'gap'}), '', 'as those of rollups made here');
	is(sql("SELECT abs(sum(a.value) - sum(b.value)) < 0.01 * sum(b.value) FROM got_$hours a JOIN own_$hours b USING (q, n, time) WHERE q ~ '^increase' AND n = 'gap'"), 't', 'with gaps, all in all');
	is(sql("SELECT count(*), count(*) FILTER (WHERE a.value BETWEEN b.value AND c.value) FROM got_$hours a, raw_$hours b, raw_$hours c
		WHERE a.q = 'ds' AND (b.n, b.time, c.n, c.time) = (a.n, a.time, a.n, a.time) AND b.q LIKE 'min%' AND c.q LIKE 'max%' AND a.n IN ('gauge', 'often')"),
		$hours == 2 ? '68|68' : '24|24', 'what is no counter has a value of its time');
}

# Once more, and both resolutions together.
my $before = sql($points);
sql("CALL prom.import_blocks('$directory{3600000}', external_labels => false, again => true)");
is(sql($points), $before, 'in again: nothing changes');
sql("CALL prom.import_blocks('$directory{300000}', external_labels => false)");
note_answers('both_2', 2, 'raw');
is(differences('got_2', 'both_2', 0, 'true'), '', 'of two resolutions the finer one answers');
note_answers('both_6', 6, '1h');
is(differences('got_6', 'both_6', 0, 'true'), '', 'unless the coarser one is asked for');

# Raw samples come as well, of some series.
put(@$_, 3) foreach @series[0, 1];
sql('CALL prom.merge()');
note_answers('mixed_2', 2, 'raw');
is(differences('raw_2', 'mixed_2', 1e-9, q{n IN ('steady', 'resets')}), '', 'where raw samples are there, they answer, and nothing counts twice');
is(differences('got_2', 'mixed_2', 0, q{n NOT IN ('steady', 'resets')}), '', 'the others are what they were');
is(sql('SELECT count(*) > 0 FROM prom.rollup_due'), 't', 'raw samples of a day with rollups are marked');
sql(q{CALL prom.downsample('0 s')});
is(sql('SELECT count(*) FROM prom.rollup_due'), '0', 'and rollups made again');
note_answers('redone_2', 2, '5min');
is(differences('own_2', 'redone_2', 1e-9, q{n IN ('steady', 'resets')}), '', 'of them');
is(differences('got_2', 'redone_2', 0, q{n NOT IN ('steady', 'resets')}), '', 'not of others');
$before = sql($points);
sql("CALL prom.import_blocks('$directory{300000}', external_labels => false, again => true)");
is(sql($points), $before, 'what was made of raw samples is not overwritten');

# A raw block that is imported into days with rollups does the same.
mkdir "$tmp/raw";
sql("CALL prom.export_blocks('$tmp/raw', 'ds{n=\"steady\"}')");
sql("CALL prom.import_blocks('$tmp/raw')");
is(sql('SELECT count(*) FROM prom.rollup_due'), '3', 'an imported raw block marks its days');
sql(q{CALL prom.downsample('0 s')});
is(sql('SELECT count(*) FROM prom.rollup_due'), '0', 'which are made again');
note_answers('raw_block_2', 2, '5min');
is(differences('redone_2', 'raw_block_2', 1e-9, 'true'), '', 'to the same');

# Series that have nothing but rollups stay; what is too old goes.
sql(q{CALL prom.collect_series('0')});
is(sql('SELECT count(*) FROM prom.series'), '7', 'series with rollups alone are not collected');
sql(q{SELECT prom.set_retention(NULL, raw => '10 days', rollups => '{"5min": "20 days", "1h": "30 days"}'); CALL prom.retain()});
is(sql('SELECT count(*) FROM prom.rollup'), '0', 'retention drops imported rollups');

# What is refused.
remove_all();
sql(q{SELECT prom.reset_retention(NULL)});
my ($out, $err);
$node->psql('postgres', "SET promgres.rollup_resolutions = '10min'; CALL prom.import_blocks('$directory{300000}')", stderr => \$err);
like($err, qr/block is downsampled to a resolution that is not kept here: 300 s/, 'a resolution that is not kept is refused');
my ($segment) = glob "$directory{300000}/*/chunks/000001";
my $bytes = slurp_file($segment);
substr($bytes, 12, 4) = 'oops';
open my $file, '>:raw', $segment or die;
print $file $bytes;
close $file;
$node->psql('postgres', "CALL prom.import_blocks('$directory{300000}')", stderr => \$err);
like($err, qr/block is damaged: .*\n.*chunks\/000001/, 'damage is reported with its file');

$node->stop;
done_testing();

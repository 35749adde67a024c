# Deleting what is in a bucket: a server whose days are there answers as its twin does that has all of it here, at once; the
# objects are written anew without it; nobody who attaches the bucket then finds it, nor does whoever looks into the bucket.

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

my $s3 = start_radosgw();
my %setting = ('promgres.merge_age' => '1s', 'promgres.compact_delay' => '-1', 'promgres.rollup_delay' => '-1', 'promgres.rollup_resolutions' => '5min,1h',
	'promgres.tier_after' => '-1', 'promgres.tier_rollups_after' => '-1', 'promgres.tier_object_size' => '64kB', 'promgres.series_grace' => '-1');
my $node = start_node(new_node('primary', %setting, 'promgres.tier_server' => 'b'));
my $twin = start_node(new_node('twin', %setting));
my $first_ms = 1_700_006_400_000;    # a midnight
my $days = 3;
my $step_ms = 600_000;

make_server($node, 'b', endpoint => "http://127.0.0.1:$s3->{port}", prefix => 'p');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub error_of
{
	my ($sql) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', '\set VERBOSITY verbose' . "\n" . $sql);
	return $ret == 0 ? "no error: $out" : $err;
}

sub at { my ($day, $ms) = @_; return sprintf 'to_timestamp(%.3f)', ($first_ms + $day * 86_400_000 + ($ms // 0)) / 1000 }

my $from = at(-1);
my $end = at($days + 1);
my $move = "CALL prom.tier($from, $end)";

# --- the same in both

foreach my $m (1 .. 6)
{
	my @series = map { my $i = $_;
		[ { __name__ => "m_$m", i => $i, team => $i % 2 ? 'red' : 'blue', owner => "person$m-$i" },
			map { [ $first_ms + $_ * $step_ms + ($m == 6 ? 0 : $i), sqrt($_ * $i + $m) + ($_ % 97 ? 0 : -50) ] } 0 .. $days * 86_400_000 / $step_ms - 1 ] } 1 .. 20;
	remote_write($_, @series)->{status} == 204 or die 'not stored' foreach $node, $twin;
}
foreach my $n ($node, $twin)
{
	$n->safe_psql('postgres', "CALL prom.merge(); CALL prom.downsample('0 s')");
	$n->safe_psql('postgres', <<'SQL');
CREATE ROLE red LOGIN;
GRANT prom_reader TO red;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY red ON prom.series TO red USING (labels['team'] = 'red');
SQL
}
sql($move);
is(sql('SELECT (SELECT count(*) FROM prom.warm) + (SELECT count(*) FROM prom.rollup)'), '0', 'all is in the bucket');

# What both are asked.  Of rollups what is older than a day is read; "edges" are windows that have to be made again.
my %question = (
	samples => q(SELECT count(*), md5(string_agg(concat_ws(' ', labels, t_ms, value), ',' ORDER BY labels::text, t_ms)) FROM prom.samples_of('{__name__=~"m_.*"}')),
	red => q(SET ROLE red; SELECT count(*), md5(string_agg(concat_ws(' ', labels, t_ms, value), ',' ORDER BY labels::text, t_ms)) FROM prom.samples_of('{__name__=~"m_.*"}')),
	series => q(SELECT count(*), md5(string_agg(labels::text, ',' ORDER BY labels::text)) FROM prom.series),
	values => q(SELECT string_agg(value, ' ' ORDER BY value) FROM prom.label_value WHERE name = 'owner'),
	ranges => sprintf(q(SELECT md5(string_agg(concat_ws(' ', labels, "time", round(value::numeric, 6)), ',' ORDER BY labels::text, "time")) FROM prom.query_range('sum by (__name__, team) (count_over_time({__name__=~"m_.*"}[1h]))', %s, %s, '1h')),
		at(0, 7_200_000), at($days)));
my $rollups = sprintf(q(SET promgres.max_source_resolution = '1h';
	SELECT md5(string_agg(concat_ws(' ', labels, "time", round(value::numeric, 6)), ',' ORDER BY labels::text, "time")) FROM (
		SELECT * FROM prom.query_range('count_over_time({__name__=~"m_.*"}[6h])', %1$s, %2$s, '6h')
		UNION ALL SELECT * FROM prom.query_range('max_over_time({__name__=~"m_.*"}[6h])', %1$s, %2$s, '6h')
		UNION ALL SELECT * FROM prom.query_range('increase({__name__=~"m_.*"}[6h])', %1$s, %2$s, '6h')) x), at(0, 6 * 3_600_000), at($days - 1));

sub answers
{
	my ($n, @names) = @_;
	return join "\n", map { "$_: " . $n->safe_psql('postgres', $question{$_}) } @names ? @names : sort keys %question;
}

my $all = answers($twin);
is(answers($node), $all, 'both know the same');
my $rolled = $twin->safe_psql('postgres', $rollups);
is(sql($rollups), $rolled, '… also by rollups');

# --- deleting

my $deleted = 0;
sub delete_in_both
{
	my ($what, @args) = @_;
	my $call = 'SELECT prom.delete_series(' . join(', ', @args) . ')';
	my $before = answers($node);
	my $touched = $twin->safe_psql('postgres', $call);
	is(sql($call), $touched, "$what: $touched series are touched");
	isnt(answers($node), $before, '… something is gone');
	is(answers($node), answers($twin), '… and all answers are those of the twin, at once');
	$deleted++;
	return;
}

my $objects = sql('SELECT count(*) FROM prom.tier_object');
delete_in_both('a series', q('m_1{i="3"}'));
is(sql(q{SELECT count(*) FROM prom.series WHERE labels['owner'] = 'person1-3'}), '0', '… which is no more');
delete_in_both('a metric', q('m_2'));
delete_in_both('some hours', q('m_3{i=~"1.*"}'), at(0, 5 * 3_600_000 + 180_007), at(1, 7 * 3_600_000));
delete_in_both('more hours that overlap them', q('m_3{i=~".*2"}'), at(1, 3_000_000), at(2, 4_500_000));
delete_in_both('a day', q('m_4{team="blue"}'), at(1, 1), at(2));
delete_in_both('from midnight on', q('m_6{i=~"[1-5]"}'), at(1), at(1, 7_199_999));
delete_in_both('until a time', q('m_5{i="7"}'), q('-infinity'), at(2, 43_200_000));
is(sql('SELECT count(*) FROM prom.tier_object'), $objects, 'no object was written for it');
is(sql('SELECT (SELECT count(*) FROM prom.warm) + (SELECT count(*) FROM prom.rollup)'), '0', 'nor a row');
is(sql(q{SELECT prom.delete_series('m_2')}), '0', 'what is gone is not deleted again');
is(sql(q{SELECT prom.delete_series('m_5{i="7"}', '-infinity', } . at(1) . ')'), '0', '… nor of a series that has some left');

# A sample that comes after the deletion is none of it.
foreach my $n ($node, $twin)
{
	remote_write($n, [ { __name__ => 'm_2', i => 1, owner => 'person2-1', team => 'red' }, [ $first_ms + 3_600_000, 1 ] ],
		[ { __name__ => 'm_3', i => 12, team => 'blue', owner => 'person3-12' }, [ $first_ms + 30 * 3_600_000 + 12, 47 ] ])->{status} == 204 or die 'not stored';
	$n->safe_psql('postgres', 'CALL prom.merge()');
}
is(answers($node), answers($twin), 'what is written after the deletion is there');

# --- rollups: windows at the edges are made again, of local rows

sub settle
{
	sql($move);
	foreach my $round (1 .. 3)
	{
		$_->safe_psql('postgres', "CALL prom.merge(); CALL prom.downsample('0 s')") foreach $node, $twin;
		sql($move);
	}
	return;
}
settle();
is(sql('SELECT (SELECT count(*) FROM prom.rollup_due) + (SELECT count(*) FROM prom.warm) + (SELECT count(*) FROM prom.rollup)'), '0', 'all is in the bucket again')
  or diag(sql('SELECT * FROM prom.rollup_due'));
is(answers($node), answers($twin), 'all samples are those of the twin');
isnt(sql($rollups), $rolled, 'rollups are others');
is(sql($rollups), $twin->safe_psql('postgres', $rollups), '… those of the twin');

# --- the objects are written anew

# What somebody finds in the bucket: samples of each object that has a manifest.
my $found = <<'SQL';
WITH o AS (SELECT x.* FROM prom.tier_object x JOIN prom._bucket_list('b', 'promgres/v1/') l ON l.key = replace(x.key, 'data-0', 'manifest.json') WHERE x.resolution = 0),
	c AS (SELECT c.data FROM o, prom._tier_chunks(o.server, o.key, o.etag, o.directory, ARRAY(SELECT DISTINCT e.block FROM prom._tier_entries(o.directory) e)) c)
SELECT count(*) FROM c, prom.samples(c.data) s
SQL
my $labels_found = <<'SQL';
SELECT count(*) FROM prom._bucket_list('b', 'promgres/v1/') l WHERE l.key LIKE '%/series' AND EXISTS (SELECT FROM prom._tier_lines(prom._bucket_get('b', l.key)) t WHERE t ~ 'person(1-3|2-[2-9])"')
SQL
my $manifests = q{SELECT count(*) FROM prom._bucket_list('b', 'promgres/v1/') l WHERE l.key LIKE '%/manifest.json'};
is(sql(q{SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL AND holes <> '{}'}), '0', 'no object that is read has anything of it');
is(sql(q{SELECT count(*) FROM prom.tier_object WHERE manifest AND deleted IS NOT NULL AND holes <> '{}'}), '0', 'those that had are withdrawn');
cmp_ok(sql(q{SELECT count(*) FROM prom.tier_object WHERE NOT manifest}), '>', 5, '… several');
is(sql($manifests), sql('SELECT count(*) FROM prom.tier_object WHERE manifest'), '… with their manifests');
cmp_ok(sql($labels_found), '>', 0, 'though they are in the bucket, for a restored backup');
is(sql("SELECT object, problem FROM prom.verify_bucket(read_all => true)"), '', 'prom.verify_bucket finds nothing wrong with that');
my $samples = sql($question{samples} =~ s/, md5\(.*?\)\) FROM/ FROM/r);
is(sql($found . " WHERE s.sid IN (SELECT sid FROM prom.series) AND s.t_ms IS NOT NULL") >= $samples ? 1 : 0, 1, 'what is found is what is known');
sql(q{ALTER SYSTEM SET promgres.tier_delete_after = 0});
$node->reload;
sql($move);
is(sql($labels_found), '0', 'then they go, and no label of it is in the bucket');
is(sql($found), $samples, 'nor a sample');
is(sql('SELECT count(*) FROM prom.tier_object WHERE deleted IS NOT NULL'), '0', '… nor is anything noted');
is(answers($node), answers($twin), 'answers are the same');
sql(q{ALTER SYSTEM RESET promgres.tier_delete_after});
$node->reload;

# --- what is brought back is without it

delete_in_both('hours of a day', q('m_1{i="5"}'), at(1, 3_600_001), at(1, 7_200_000));
sql("CALL prom.rehydrate(@{[ at(1) ]}, @{[ at(2) ]}, 'm_1', '0 s')");
cmp_ok(sql('SELECT count(*) FROM prom.warm'), '>', 0, 'a day of it is here');
is(answers($node), answers($twin), '… without what was deleted');
delete_in_both('of what is here, and in the bucket as well', q('m_1{i="6"}'), at(0, 3_600_001), at(3));
cmp_ok(sql(q{SELECT count(*) FROM prom.tier_object WHERE gone <> '{}' AND holes <> '{}'}), '>', 0, 'it is noted as well for what was brought back');
settle();
is(answers($node), answers($twin), 'moved out again');
is(sql($rollups), $twin->safe_psql('postgres', $rollups), '… rollups, too');
is(sql("SELECT object, problem FROM prom.verify_bucket(read_all => true)"), '', '… and verified');

# --- not more often than once a day, unless it is by hand

delete_in_both('a series', q('m_1{i="8"}'));
sql('CALL prom.tier()');
cmp_ok(sql(q{SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL AND holes <> '{}'}), '>', 0, 'an object that was written just now is not written again by the job');
sql(q{UPDATE prom.tier_object SET uploaded = uploaded - interval '2 days'});
sql('CALL prom.tier()');
is(sql(q{SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL AND holes <> '{}'}), '0', 'a day later it is');

# --- races

sub step_rewrite
{
	my $key = sql('SELECT prom._tier_rewrite(true)');
	return ($key, sql("SELECT prom._tier_upload('$key', 0, 0)"));
}
delete_in_both('a series', q('m_1{i="9"}'));
my ($key, $uploaded) = step_rewrite();
is($uploaded, 't', 'an object is being written anew');
delete_in_both('another one meanwhile', q('m_1{i="10"}'));
is(sql("SELECT prom._tier_commit('$key')"), '-1', '… is not taken, as more was deleted');
is(answers($node), answers($twin), '… and all is well');
($key, $uploaded) = step_rewrite();
my $replaced = sql("SELECT replaces FROM prom.tier_upload WHERE key = '$key'");
sql("SELECT prom._tier_restore(o, (SELECT array_agg(DISTINCT e.block) FROM prom._tier_entries(o.directory) e)) FROM prom.tier_object o WHERE id = $replaced");
is(sql("SELECT prom._tier_commit('$key')"), '-1', 'nor if it was brought back');
is(answers($node), answers($twin), '… and all is well');
settle();

# A row is read for an object, and deleted before that is known.
remote_write($_, [ { __name__ => 'm_1', i => 1, team => 'red', owner => 'person1-1' }, map { [ $first_ms + $_ * 1000, $_ ] } 1 .. 10 ]) foreach $node, $twin;
$_->safe_psql('postgres', 'CALL prom.merge()') foreach $node, $twin;
$key = sql("SELECT prom._tier_begin('b', 0, $first_ms, 0::int2)");
is(sql("SELECT prom._tier_upload('$key', 0, 9000000000000000000)"), 't', 'late samples are being moved out');
delete_in_both('some of them', q('m_1{i="1"}'), at(0, 3000), at(0, 5000));
is(sql("SELECT prom._tier_commit('$key')"), '-1', '… they stay');
settle();
is(answers($node), answers($twin), '… all is well');

# --- kill -9 while objects are written anew

sub holds_all { my $x = eval { answers($node, 'samples', 'series') }; return defined $x && $x eq answers($twin, 'samples', 'series') }

srand 1;
my $wrong = 0;
my $killed = 0;
my $took = 0;	# of the first round, which nobody disturbs
foreach my $round (0 .. ($ENV{LONG} ? 100 : 8))
{
	my $call = "SELECT prom.delete_series('m_6{i=\"@{[ 1 + $round % 20 ]}\"}', @{[ at($round % 3, $round * 1000) ]}, @{[ at($round % 3, 40_000_000) ]})";
	$_->safe_psql('postgres', $call) foreach $node, $twin;
	my ($out, $err) = ('', '');
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT pg_backend_pid()', '-c', $move ], '>', \$out, '2>', \$err);
	$psql->pump until $out =~ /(\d+)\n/ || !$psql->pumpable;
	my $pid = $1;
	if ($round == 0)
	{
		my $begun = time;
		$psql->finish;
		$took = time - $begun;
		next;
	}
	sleep rand 0.9 * $took;
	my $hit = kill_backend($node, $pid);
	$killed++ if $hit;
	# (what was killed leaves more to do, and this machine may be faster or slower than it was)
	$took *= $hit ? 1.1 : 0.5;
	eval { $psql->finish };
	$wrong++, diag("round $round") unless holds_all();
}
cmp_ok($killed, '>', 2, "killed $killed times");
is($wrong, 0, 'answers were right each time');
settle();
is(answers($node), answers($twin), 'and are at the end');
is(sql($rollups), $twin->safe_psql('postgres', $rollups), '… also by rollups');

# --- retention of some series

foreach my $n ($node, $twin)
{
	$n->safe_psql('postgres', q{SELECT prom.set_retention('m_4', raw => '30 days')});
	$n->safe_psql('postgres', 'CALL prom.retain()');
	$n->safe_psql('postgres', 'CALL prom.retain()');
}
# (samples_of then reads rollups)
is(sql(q{SELECT count(*) FROM prom.tier_object o, prom._tier_entries(o.directory, o.holes) e, prom.series s
	WHERE o.resolution = 0 AND o.deleted IS NULL AND s.labels['__name__'] = 'm_4' AND e.block = s.sid >> 6 AND e.series >> (s.sid & 63) & 1 = 1}),
	'0', 'a rule for some series reaches objects');
is(answers($node, 'samples', 'series', 'red'), answers($twin, 'samples', 'series', 'red'), '… as it does local rows');
is(sql($rollups), $twin->safe_psql('postgres', $rollups), '… rollups stay');
sql($move);
is(sql(q{SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL AND holes <> '{}'}), '0', 'and the objects are written anew');
remote_write($_, [ { __name__ => 'm_5', i => 1, team => 'red', owner => 'person5-1' }, [ $first_ms + 90_000_000 + 17, 4711 ] ]) foreach $node, $twin;
settle();
is(answers($node, 'samples', 'series', 'red'), answers($twin, 'samples', 'series', 'red'), 'a late sample of the same block and day');
is(sql($rollups), $twin->safe_psql('postgres', $rollups), '… takes no rollups of the series whose raw samples are gone');
sql(q{SELECT prom.reset_retention('m_4')});

# --- bad holes

like(error_of('SELECT * FROM prom._tier_entries((SELECT directory FROM prom.tier_object LIMIT 1), ARRAY[1, 2, 3])'), qr/2202E: holes must be a one-dimensional array/, 'holes of three values');
like(error_of('SELECT * FROM prom._tier_entries((SELECT directory FROM prom.tier_object LIMIT 1), ARRAY[2, 1, 0, 9, 1, 1, 0, 9])'), qr/2202E: holes must ascend by block/, 'holes out of order');

$node->stop;
$twin->stop;
done_testing();

# Old samples move to a bucket and come back, equal sample for sample; whatever is killed when, none is lost and none
# there twice; what is left over is collected; nothing local goes while the bucket fails.

use strict;
use warnings;

use Bucket;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep);

plan skip_all => bucket_missing() if bucket_missing();

my $s3 = start_radosgw(QUOTA => 200_000);
my $proxy = start_proxy($s3->{port});
my $node = start_node(new_node('primary', 'promgres.merge_age' => '1s', 'promgres.compact_delay' => '-1', 'promgres.rollup_delay' => '-1',
	'promgres.tier_after' => '-1', 'promgres.tier_rollups_after' => '-1', 'promgres.tier_object_size' => '64kB', 'promgres.series_grace' => '-1'));
my $day_ms = 1_700_006_400_000;    # a midnight
my $end = "to_timestamp(($day_ms + 4 * 86400000) / 1000)";
my $all = "CALL prom.tier(to_timestamp($day_ms / 1000), $end)";

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub error_of
{
	my ($sql) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', '\set VERBOSITY verbose' . "\n" . $sql);
	return $ret == 0 ? "no error: $out" : $err;
}

sub set
{
	my (%setting) = @_;
	sql("ALTER SYSTEM SET promgres.$_ = '$setting{$_}'") foreach sort keys %setting;
	$node->reload;
	return;
}

# What is in local rows and, by the objects that are in use, in the bucket: all samples and points, with the order in which
# they count.
my $everything = <<'SQL';
SET jit = off;
CREATE TEMP TABLE held AS
	SELECT o.resolution, o.shard, c.part, o.seq - 2000000000000000000 AS ord, c.data
	FROM prom.tier_object o, prom._tier_chunks(o.server, o.key, o.etag, o.directory,
		ARRAY(SELECT DISTINCT e.block FROM prom._tier_entries(o.directory) e WHERE NOT e.block = ANY (o.gone))) c WHERE o.deleted IS NULL;
INSERT INTO held SELECT 0, shard, 0, seq, data FROM prom.warm UNION ALL SELECT 0, shard, 0, seq + 4000000000000000000, data FROM prom.fresh
	UNION ALL SELECT resolution, shard, part, seq, data FROM prom.rollup;
SQL

sub digest
{
	my ($resolution) = @_;
	my $where = defined $resolution ? "h.resolution = $resolution" : 'true';
	return sql($everything . <<"SQL");
SELECT count(*), md5(string_agg(concat_ws(',', x.resolution, x.part, x.sid, x.t_ms, x.value), ' ' ORDER BY x.resolution, x.part, x.sid, x.t_ms))
FROM (SELECT DISTINCT ON (h.resolution, h.part, s.sid, s.t_ms) h.resolution, h.part, s.sid, s.t_ms, s.value FROM held h, prom.samples(h.data) s
	WHERE $where ORDER BY h.resolution, h.part, s.sid, s.t_ms, h.ord DESC) x
SQL
}

# Samples that are there more than once.
sub doubles
{
	return sql($everything . 'SELECT count(*) - count(DISTINCT (h.resolution, h.part, s.sid, s.t_ms)) FROM held h, prom.samples(h.data) s');
}

sub local_rows { return sql('SELECT (SELECT count(*) FROM prom.warm) + (SELECT count(*) FROM prom.rollup)') }

sub write_days
{
	my ($days, $series, $step_s) = @_;
	foreach my $day (@$days)
	{
		foreach my $m (1 .. $series / 20)
		{
			my $from = $day_ms + $day * 86_400_000;
			remote_write($node, map { my $i = $_;
				[ { __name__ => "m_$m", i => $i, job => 'a' }, map { [ $from + $_ * $step_s * 1000, sqrt($_ * $i + $m) ] } 0 .. 86_400 / $step_s - 1 ] } 1 .. 20)->{status} == 204
			  or die 'not stored';
		}
	}
	return;
}

sub settle { return sql("CALL prom.merge(); CALL prom.downsample('0 s')") }

# ---- a round trip

make_server($node, 'b', endpoint => "http://127.0.0.1:$s3->{port}", prefix => 'p');
make_server($node, 'far', endpoint => "http://127.0.0.1:$proxy->{port}", prefix => 'far', request_timeout => '2s', operation_timeout => '4s', retries => 1);
make_server($node, 'tight', endpoint => "http://127.0.0.1:$s3->{port}", bucket => 'full', access_key_id => 'FULL');
like(error_of($all), qr/55000: there is no bucket to move samples to\nDETAIL.*\nHINT:  .*promgres\.tier_server/, 'a bucket is needed');
set(tier_server => 'b');
write_days([ 0 .. 2 ], 100, 300);
settle();
my $before = digest();
my $rows = local_rows();
sql($all);
is(local_rows(), '0', 'all local rows are gone');
is(sql("SELECT count(*) FROM prom._parts()"), '0', 'and their partitions');
is(digest(), $before, 'objects hold every sample and point that was there');
is(doubles(), '0', 'once');
is(sql('SELECT count(*) FROM prom.tier_upload'), '0', 'nothing is left of uploads');
is(sql("SELECT count(DISTINCT resolution), count(*) > 6, bool_and(samples > 0 AND bytes > 100) FROM prom.tier_objects"), '3|t|t', 'of raw samples and both rollups');
is(sql("SELECT count(*), bool_and(prom._tier_directory(server, key, etag, bytes) = directory) FROM prom.tier_object"), sql('SELECT count(*) FROM prom.tier_object') . '|t',
	'the directory in the object is the one here');
is(sql("SELECT count(*) FROM prom._bucket_list('b', 'promgres/v1/')"), 3 * sql('SELECT count(*) FROM prom.tier_object'), 'each has its manifest and series');
sql('CALL prom.collect_series(\'0 s\'); CALL prom.collect_series(\'0 s\')');
is(sql('SELECT count(*) FROM prom.series'), '100', 'series whose samples are all in the bucket are not collected');
like(error_of("SELECT prom.delete_series('m_1')"), qr/55000: some of these samples are in a bucket.*\nDETAIL.*data-0.*\nHINT:.*prom\.rehydrate/, 'samples in the bucket are not deleted, and this is said');
sql("CALL prom.rehydrate(to_timestamp($day_ms / 1000), $end)");
is(digest(), $before, 'and come back as they were');
is(sql('SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL'), '0', 'the objects are not in use then');
sql($all);
is(sql('SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL'), '0', 'for a while these days stay here');
sql('DELETE FROM prom.tier_hold');

# ---- late samples

sql($all);
my $objects = sql('SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL');
remote_write($node, [ { __name__ => 'm_1', i => 1, job => 'a' }, [ $day_ms + 86_400_000 + 1000, -5 ], [ $day_ms + 86_400_000 + 300_000, 77 ] ]);
sql('CALL prom.merge()');
is(sql("SELECT count(*) FROM prom.warm"), '1', 'a late sample is a local row');
my $raw = digest(0);
isnt($raw, (split /\n/, $before)[0], 'and counts');
sql("CALL prom.downsample('0 s')");
is(sql('SELECT count(*) FROM prom.rollup'), '0', 'no rollup is made of it alone');
sql($all);
sql("CALL prom.downsample('0 s')");
is(sql('SELECT count(*) FROM prom.rollup_due'), '0', 'its block is brought back, and then it is');
is(digest(0), $raw, 'raw samples are what they were');
my $late = digest();
is(doubles(), '1', 'only the one that was overwritten has an older value beneath') or diag(sql($everything . 'SELECT h.resolution, h.part, s.sid, s.t_ms, count(*) FROM held h, prom.samples(h.data) s GROUP BY 1, 2, 3, 4 HAVING count(*) > 1 LIMIT 5'));
sql($all);
is(local_rows(), '0', 'a later run folds it into another object');
is(digest(), $late, 'which holds the same');
is(doubles(), '0', 'once');

done_testing();

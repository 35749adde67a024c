# Samples in a bucket are queried as if they were here: the same answers across the boundary, by every way to ask; little more
# is fetched than is needed, and not twice; what the bucket does wrong is said, or left out with a warning.

use strict;
use warnings;

use Bucket;
use IPC::Run qw(run);
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => bucket_missing() if bucket_missing();

my $s3 = start_radosgw();
my $proxy = start_proxy($s3->{port});
my $node = start_node(new_node('primary', 'promgres.rollup_delay' => '-1', 'promgres.rollup_resolutions' => '1h', 'promgres.tier_server' => 'b', 'promgres.tier_after' => '-1', 'promgres.tier_rollups_after' => '-1'));
my $day_ms = 86_400_000;
my $first_ms = 1_700_006_400_000;    # midnight, 2023-11-15
my $days = 4;
my $metrics = 20;

make_server($node, 'b', endpoint => "http://127.0.0.1:$proxy->{port}", prefix => 'p', operation_timeout => '60s', request_timeout => '30s', retries => 1);

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub error_of
{
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n" . $_[0]);
	return $ret == 0 ? "no error: $out" : $err;
}

# --- metrics of 64 series, a sample in 30 minutes

srand(20231115);
foreach my $metric (0 .. $metrics - 1)
{
	my @series;
	foreach my $i (0 .. 63)
	{
		my $v = 0;
		push @series, [ { __name__ => "m${metric}_total", instance => "i$i", team => $i % 2 ? 'red' : 'blue' },
			map { $v = rand(1) < 0.02 ? 0 : $v + rand(1); [ $first_ms + $_ * 1_800_000 + $i + 1, rand(1) < 0.01 ? 'stale' : $v ] } 0 .. $days * 48 - 1 ];
	}
	remote_write($node, @series)->{status} == 204 or die 'not written';
}
# one of them ended after the first day
remote_write($node, [ { __name__ => 'ended' }, [ $first_ms + 1000, 5 ] ]);
sql('CALL prom.merge()');
sql(q{CALL prom.downsample('0')});
sql(<<'SQL');
CREATE ROLE red LOGIN PASSWORD 'red';
GRANT prom_reader TO red;
CREATE ROLE reader LOGIN PASSWORD 'reader';
GRANT prom_reader TO reader;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY red ON prom.series TO red USING (labels['team'] = 'red');
CREATE POLICY reader ON prom.series TO reader USING (true);
SQL

# --- questions, and their answers while all is here

# (ten seconds after samples)
my $t = sub { return sprintf "to_timestamp(%d)", $first_ms / 1000 + int($_[0] * 48) * 1800 + 10 };
my @questions = (
	"SELECT * FROM prom.samples_of('m3_total')",
	"SELECT * FROM prom.samples_of('m3_total', @{[ $t->(0.7) ]}, @{[ $t->(1.3) ]})",
	"SELECT * FROM prom.query_range('m4_total', @{[ $t->(0.4) ]}, @{[ $t->(3.9) ]}, '1h')",
	"SELECT * FROM prom.query_range('sum by (team) (rate(m5_total[2h]))', @{[ $t->(0.1) ]}, @{[ $t->(4) ]}, '2h')",
	"SELECT * FROM prom.query_range('sum by (__name__) (last_over_time({__name__=~\"m1._total\"}[6h]))', @{[ $t->(0) ]}, @{[ $t->(4) ]}, '6h')",
	"SELECT * FROM prom.query('avg_over_time(m7_total{instance=\"i7\"}[3d])', @{[ $t->(3.5) ]})",
	"SELECT * FROM prom.query('quantile_over_time(0.9, m7_total{team=\"red\"}[2d])', @{[ $t->(2.5) ]})",
	"SELECT * FROM prom.query('m8_total @ ' || extract(epoch FROM @{[ $t->(1.5) ]}), @{[ $t->(4) ]})",
	"SELECT * FROM prom.query('ended', @{[ $t->(0) ]} + interval '10 s')",
	(map { "SET promgres.max_source_resolution = '1h'; SELECT * FROM prom.query_range('$_', @{[ $t->(0.25) ]}, @{[ $t->(4) ]}, '6h')" }
		'max_over_time(m9_total[6h])', 'sum_over_time(m9_total[6h])', 'avg_over_time(m9_total[3h])', 'rate(m9_total[6h])', 'count_over_time(m9_total[6h])', 'm9_total'),
	"SET promgres.replica_labels = 'team'; SELECT * FROM prom.query_range('sum(m2_total)', @{[ $t->(0.4) ]}, @{[ $t->(2.9) ]}, '1h')");

my @paths = map { "/api/v1/$_" } (
	"labels?start=@{[ ($first_ms + 3_600_000) / 1000 ]}&end=@{[ ($first_ms + 7_200_000) / 1000 ]}",
	"label/__name__/values?start=@{[ $first_ms / 1000 ]}&end=@{[ ($first_ms + 7_200_000) / 1000 ]}",
	"label/__name__/values?start=@{[ $first_ms / 1000 + 86400 ]}&end=@{[ $first_ms / 1000 + 100000 ]}",
	"series?match[]=ended&start=@{[ $first_ms / 1000 ]}&end=@{[ ($first_ms + 7_200_000) / 1000 ]}",
	"series?match[]=ended&start=@{[ $first_ms / 1000 + 86400 ]}&end=@{[ $first_ms / 1000 + 100000 ]}",
	"query_range?query=sum(m6_total)&start=@{[ $first_ms / 1000 + 10 ]}&end=@{[ $first_ms / 1000 + $days * 86400 ]}&step=3600");

sub http_as
{
	my ($path, $role) = @_;
	my %options = $role ? (headers => { Authorization => 'Basic ' . encode_base64("$role:$role", '') }) : ();
	my $answer = HTTP::Tiny->new(timeout => 180)->get(gateway_url($node, $path), \%options);
	return "$answer->{status} $answer->{content}";
}

sub as
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err, extra_params => [ '-U', $role ]);
	return join("\n", sort split /\n/, $out) . $err;
}

sub answers
{
	my %answer;
	foreach my $role (qw(postgres reader red))
	{
		$answer{"$role: $_"} = as($role, $_) foreach @questions;
		$answer{"$role: $_"} = http_as($_, $role eq 'postgres' ? undef : $role) foreach @paths;
	}
	return \%answer;
}

my $before = answers();
is(join("\n", grep { length($before->{$_}) < 5 } grep { !/ended|'m9_total'/ } keys %$before), '', 'there is something to compare');
my $samples = sql("SELECT count(*), sum(t_ms) FROM prom.samples_of('{__name__=~\".+\"}')");

# --- three days of them in a bucket, raw samples and rollups

sub move_out { return sql(sprintf 'CALL prom.tier(to_timestamp(%d), to_timestamp(%d))', $first_ms / 1000, $first_ms / 1000 + 3 * 86_400) }

move_out();
is(sql("SELECT (SELECT count(*) FROM prom.warm WHERE t_min < $first_ms + 3 * ${day_ms}::int8) + (SELECT count(*) FROM prom.rollup WHERE day < $first_ms + 2 * ${day_ms}::int8)"),
	'0', 'three days are not here any more');

sub log_of { return grep { $_->{method} eq 'GET' } @{ $proxy->log->{requests} } }

$proxy->rules();
my $after = answers();
foreach my $what (sort keys %$before)
{
	is($after->{$what}, $before->{$what}, "as before: $what");
}
is(sql("SELECT count(*), sum(t_ms) FROM prom.samples_of('{__name__=~\".+\"}')"), $samples, 'all samples');

# --- what it takes

sub stat_of { return decode_json(sql('SELECT to_json(s) FROM prom.stat_tier s')) }

sub empty_cache { system('rm', '-rf', $node->data_dir . '/pgsql_tmp.promgres_tier') == 0 or die; return }

my $hits = sub { my ($told) = @_; return $told->{tier} };
my $explain = sub {
	my ($expr, $from, $to, $set) = @_;
	my $told = sql(($set // '') . "SELECT prom.explain_json('$expr', @{[ $t->($from) ]}, @{[ $t->($to) ]}, '1h')");
	return decode_json($told)->{tier};
};

empty_cache();
$proxy->rules();
my $cold = $explain->('m3_total', 0.5, 2.5);
my @gets = log_of();
my $bytes = 0;
$bytes += $_->{headers}{range} =~ /bytes=(\d+)-(\d+)/ ? $2 - $1 + 1 : 1e9 foreach @gets;
is($cold->{objects}, 3, 'three objects are read');
is($cold->{requests}, scalar @gets, 'as many requests as are told');
is($cold->{bytes}, $bytes, 'and bytes');
cmp_ok($cold->{bytes}, '<=', 1.3 * $cold->{needed_bytes}, "bytes fetched: $cold->{bytes}, needed: $cold->{needed_bytes}");
cmp_ok($cold->{bytes}, '<', 0.2 * sql('SELECT sum(bytes) FROM prom.tier_object WHERE resolution = 0'), 'a small part of the objects');
my $warm = $explain->('m3_total', 0.5, 2.5);
is("$warm->{requests} $warm->{bytes} " . ($warm->{cache_hits} > 0), '0 0 1', 'the second time nothing is fetched');
my $other = $explain->('{__name__=~"m1?[1-7]_total"}', 0.5, 2.5);
cmp_ok($other->{bytes}, '<=', 1.3 * $other->{needed_bytes}, 'neighbours: at most 1.3 times the bytes needed') if $other->{needed_bytes};
cmp_ok($other->{requests}, '<', 3 * 8, "and not a request for each block: $other->{requests}");
is($explain->('m3_total', 3.3, 3.9)->{requests}, 0, 'no request for what is here');
like(sql("SELECT string_agg(e, '|') FROM prom.explain('m3_total', @{[ $t->(0.5) ]}, @{[ $t->(2.5) ]}, '1h') e"), qr/Buckets: 3 objects read, 0 requests for 0 bytes, [1-9]\d* chunks from the local cache/,
	'prom.explain says it');
is(sql("SELECT count(*) FROM prom.explain('m3_total', @{[ $t->(0.5) ]}, @{[ $t->(2.5) ]}, '1h', true) e WHERE e ~ 'Incremental Sort|using series_pkey'"), '0',
	'series are found by their labels, not read in the order of blocks');
empty_cache();
my $small = $explain->('{__name__=~"m.*"}', 0, 2.9, "SET promgres.tier_read_memory = '1MB'; ");
cmp_ok($small->{bytes}, '<=', 1.3 * $small->{needed_bytes}, 'with little memory');

# in whatever order the executor asks for blocks: without statistics it may be a hash join that turns it
my $fetched = sub {
	my ($told) = @_;
	return "$told->{objects} objects, $told->{requests} requests, $told->{bytes} bytes";
};
my %cost;
foreach my $memory ('32MB', '1MB')
{
	foreach my $statistics ('ANALYZE prom.series', q{DELETE FROM pg_statistic WHERE starelid = 'prom.series'::regclass}, 'ANALYZE prom.series')
	{
		sql($statistics);
		empty_cache();
		my $told = $fetched->($explain->('{__name__=~"m.*"}', 0, 2.9, "SET promgres.tier_read_memory = '$memory'; "));
		like($told, qr/^3 objects/, "each object is counted once, $memory, $statistics");
		$cost{$memory} //= $told;
		is($told, $cost{$memory}, '… and as much is fetched');
	}
}

# An order of groups of series; what came, and with which requests.
sub read_in_order
{
	my ($order, $group, $set) = @_;
	empty_cache();
	$proxy->rules();
	my $rows = sql(<<"SQL");
$set
SELECT count(*), sum(hashtext(x.data::text)::int8 * (x.ord % 1000)) FROM (
	SELECT g.shard, g.sids FROM (SELECT s.shard, s.sid / $group AS n, array_agg(s.sid) AS sids FROM prom.series s WHERE s.labels['__name__'] ~ '^m' GROUP BY 1, 2) g
	ORDER BY $order OFFSET 0) b
CROSS JOIN LATERAL (SELECT prom.chunk_build(b.shard, v.sid, array_agg(v.t_ms ORDER BY v.t_ms), array_agg(v.value ORDER BY v.t_ms)) AS data, t.ord
	FROM prom._tier(b.shard, b.sids, 0, '{}', $first_ms, $first_ms + 3 * ${day_ms}::int8,
		ARRAY(SELECT s.shard::int8 << 32 | s.sid FROM prom.series s WHERE s.labels['__name__'] ~ '^m')) t, prom.samples(t.data) v WHERE v.sid = ANY (b.sids) GROUP BY v.sid, t.ord) x
SQL
	my $sum = 0;
	my @requests = log_of();
	$sum += $_->{headers}{range} =~ /bytes=(\d+)-(\d+)/ ? $2 - $1 + 1 : 1e9 foreach @requests;
	return ($rows, @requests . " requests, $sum bytes");
}

foreach my $set ('', q{SET promgres.tier_read_memory = '1MB';})
{
	my ($rows, $wire) = read_in_order('shard, n', 64, $set);
	foreach my $case ([ 'shard DESC, n DESC', 64 ], [ 'shard, n DESC', 64 ], [ 'shard, n % 3, n', 64 ], [ 'shard, n', 1 ], [ 'shard, n DESC', 1 ], $set ? () : ([ 'hashint4(n)', 64 ], [ 'hashint4(n)', 1 ]))
	{
		my ($order, $group) = @$case;
		my ($other_rows, $other_wire) = read_in_order($order, $group, $set);
		is($other_rows, $rows, "samples by $group series in the order $order, $set");
		is($other_wire, $wire, '… each span fetched once');
	}
}
my $stat = stat_of();
ok((!grep { $stat->{$_} <= 0 } qw(requests bytes_fetched cache_hits cache_hit_bytes cache_misses cache_bytes)), 'prom.stat_tier counts');
is($stat->{errors}, 0, 'no errors');

# --- the cache: damaged, gone, too small

my @files = glob $node->data_dir . '/pgsql_tmp.promgres_tier/*/*';
cmp_ok(scalar @files, '>', 50, 'files of the cache: ' . @files);
foreach my $n (0 .. $#files)
{
	if ($n % 3 == 0) { open my $f, '+<', $files[$n] or die; seek $f, 10, 0; print $f 'damaged'; close $f }
	elsif ($n % 3 == 1) { truncate $files[$n], 7 }
}
my $check = $questions[2];
is(as('postgres', $check), $before->{"postgres: $check"}, 'damaged files of the cache are not believed');
is(as('postgres', $questions[0]), $before->{"postgres: $questions[0]"}, 'and replaced');
empty_cache();
is(as('postgres', $check), $before->{"postgres: $check"}, 'nor is the cache needed');
sql("ALTER SYSTEM SET promgres.tier_cache_size = '1MB'");
sql('SELECT pg_reload_conf()');
sql(q{SELECT prom.query_range('sum({__name__=~"m.*"})', } . $t->(0) . ', ' . $t->(3) . q{, '1h')}) foreach 1 .. 2;
my $size = 0;
$size += -s $_ foreach glob $node->data_dir . '/pgsql_tmp.promgres_tier/*/*';
cmp_ok($size, '<=', 1024 * 1024, "it stays below its bound: $size bytes");
sql('ALTER SYSTEM SET promgres.tier_cache_size = 0');
sql('SELECT pg_reload_conf()');

# --- of equal times the later object counts, and what is here before all

my $late = "SELECT value FROM prom.query('m0_total{instance=\"i1\"}', @{[ $t->(0) ]} + interval '3 h')";
my $stamp = $first_ms + 6 * 1_800_000 + 2;
sub write_late
{
	my ($value) = @_;
	remote_write($node, [ { __name__ => 'm0_total', instance => 'i1', team => 'red' }, [ $stamp, $value ] ]);
	sql('CALL prom.merge()');
	return;
}
my $late_query = "SELECT value FROM prom.samples_of('m0_total{instance=\"i1\"}', to_timestamp(@{[ ($stamp - 5) / 1000 ]}), to_timestamp(@{[ ($stamp + 5) / 1000 ]}))";
# (by the steps of the job, which would have the day's rollups made again first)
sub move_late
{
	my $key = sql("SELECT prom._tier_begin('b', 0, $first_ms, (SELECT min(shard) FROM prom.series))");
	sql("SELECT prom._tier_upload('$key', 0, 9000000000000000000)");
	sql('DELETE FROM prom.rollup_due');
	return is(sql("SELECT prom._tier_commit('$key')"), '1', 'a late row is moved as well');
}
isnt(sql($late_query), '', 'a sample of the bucket');
write_late(4711);
is(sql($late_query), '4711', 'a late sample that is here counts');
move_late();
is(sql($late_query), '4711', 'also from an object of its own');
write_late(4712);
is(sql($late_query), '4712', 'and what came later still');
move_late();
is(sql($late_query), '4712', 'from the third object');
my @last = split /\n/, sql("SELECT id FROM prom.tier_object WHERE resolution = 0 AND day = $first_ms AND deleted IS NULL ORDER BY seq DESC");
is(scalar @last, 3, 'of that day there are three objects');
sql("UPDATE prom.tier_object SET deleted = now() WHERE id = $last[0]");
is(sql($late_query), '4711', 'an object that is deleted is not read');
sql(qq{UPDATE prom.tier_object SET gone = ARRAY[(SELECT sid >> 6 FROM prom.series WHERE labels['__name__'] = 'm0_total' LIMIT 1)] WHERE id = $last[1]});
isnt(sql($late_query), '4711', 'nor a block that was brought back');
sql("DELETE FROM prom.tier_object WHERE id IN ($last[0], $last[1])");

# --- what the bucket does wrong (more of it: 309)

my $far = "SELECT count(DISTINCT labels) FROM prom.query_range('m4_total', @{[ $t->(0.5) ]}, @{[ $t->(3.9) ]}, '1h')";
my $near = "SELECT count(DISTINCT labels) FROM prom.query_range('m4_total', @{[ $t->(3.2) ]}, @{[ $t->(3.9) ]}, '1h')";

$proxy->rules({ do => 'answer', status => 404, code => 'NoSuchKey' });
like(error_of($far), qr/58P01: could not get object "p\/promgres\/v1\/.*404 NoSuchKey.*HINT: .*promgres\.partial_response/s, 'an object that is missing: the error names it');
is(sql($near), '64', 'what is here is answered');
$proxy->rules();
cmp_ok(stat_of()->{errors}, '>', 0, 'errors are counted');

# --- many objects that a query does not need

sql(<<"SQL");
INSERT INTO prom.tier_object (server, key, cluster, resolution, shard, day, seq, t_min, t_max, block_min, block_max, chunks, samples, series, bytes, etag, sha256, directory)
SELECT 'b', 'none/' || i, o.cluster, 0, o.shard, o.day - (10 + i)::int8 * $day_ms, 1, o.t_min - (10 + i)::int8 * $day_ms, o.t_max - (10 + i)::int8 * $day_ms, 0, 1000, 1, 1, 1, 1, 'x', 'x', o.directory
FROM generate_series(1, 10000) i, (SELECT * FROM prom.tier_object WHERE resolution = 0 AND day = $first_ms) o;
ANALYZE prom.tier_object;
SQL
my $planned = sub { return sql("SELECT count(*) FROM generate_series(1, 2000) i, prom.to_sql('m4_total', @{[ $t->(3.2) ]} + i * interval '1 s', @{[ $t->(3.2) ]} + i * interval '1 s', '1s')") };
my $clock = sub { my ($run) = @_; my @s; foreach (1 .. 5) { my $begin = time; $run->(); push @s, time - $begin } return (sort { $a <=> $b } @s)[0] };
my $many = $clock->($planned);
is(sql($near), '64', 'a query that needs none of 10,000 objects');
is(sql($far), '64', 'one that needs three');
sql(q{DELETE FROM prom.tier_object WHERE key ~ '^none'});
sql('VACUUM ANALYZE prom.tier_object');
my $few = $clock->($planned);
cmp_ok(($many - $few) / 2000, '<', 0.002, sprintf '10,000 objects add %.3f ms to the translation of a query', ($many - $few) / 2);

# --- a standby

sql('ALTER SYSTEM RESET promgres.tier_cache_size');
sql('SELECT pg_reload_conf()');
sql($far);
ok(-e $node->data_dir . '/pgsql_tmp.promgres_tier', 'the cache of the primary');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
configure($standby);
$standby->start;
ok(!-e $standby->data_dir . '/pgsql_tmp.promgres_tier', 'is not in a backup');
foreach my $question (@questions[ 0 .. 4 ], $questions[9])
{
	is(join("\n", sort split /\n/, $standby->safe_psql('postgres', $question)), $before->{"postgres: $question"}, "on a standby: $question");
}
$proxy->rules({ do => 'answer', status => 403, code => 'AccessDenied' });
is($standby->safe_psql('postgres', $far), '64', 'from its own cache, too');
$standby->stop;
$node->stop;
done_testing();

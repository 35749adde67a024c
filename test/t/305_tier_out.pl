# Old samples move to a bucket and come back, equal sample for sample; what is left over is collected; nothing local goes
# while the bucket fails.

use strict;
use warnings;

use Bucket;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

plan skip_all => bucket_missing() if bucket_missing();

my $s3 = start_radosgw(QUOTA => 50_000);
my $proxy = start_proxy($s3->{port});
my $node = start_node(new_node('primary', 'promgres.merge_age' => '1s', 'promgres.compact_delay' => '-1', 'promgres.rollup_delay' => '-1',
	'promgres.tier_after' => '-1', 'promgres.tier_rollups_after' => '-1', 'promgres.tier_object_size' => '64kB', 'promgres.series_grace' => '-1'));
my $day_ms = 1_700_006_400_000;    # a midnight
my $end = "to_timestamp(($day_ms + 4 * 86400000) / 1000)";
my $from = "to_timestamp(($day_ms - 86400000) / 1000)";    # a sample at midnight is in rollups of the day before
my $all = "CALL prom.tier($from, $end)";

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub error_of
{
	my ($sql) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', '\set VERBOSITY verbose' . "\n" . $sql);
	return $ret == 0 ? "no error: $out" : $err;
}

sub notice_of
{
	my ($sql) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', $sql);
	return $err;
}

sub set
{
	my (%setting) = @_;
	sql("ALTER SYSTEM SET promgres.$_ = '$setting{$_}'") foreach sort keys %setting;
	$node->reload;
	return;
}

sub digest { return (split / /, held($node, $_[0]))[0] }

# Samples that are there more than once.
sub doubles { return (split / /, held($node))[1] }

sub local_rows { return sql('SELECT (SELECT count(*) FROM prom.warm) + (SELECT count(*) FROM prom.rollup)') }

# Whoever attaches the bucket finds no such objects of the first day, until they are there again.
sub hide
{
	my ($n, $which) = @_;
	$n->safe_psql('postgres', "CREATE TABLE hidden AS SELECT k, prom._bucket_get('b', k) AS bytes FROM (SELECT replace(key, '/data-0', '/manifest.json') AS k FROM prom.tier_object
	WHERE deleted IS NULL AND $which AND day = $day_ms) o");
	$n->safe_psql('postgres', "SELECT prom._bucket_delete('b', (SELECT array_agg(k) FROM hidden))");
	return;
}

sub unhide
{
	my ($n) = @_;
	$n->safe_psql('postgres', "SELECT prom._bucket_put('b', k, bytes) FROM hidden");
	$n->safe_psql('postgres', 'DROP TABLE hidden');
	return;
}

# Beside samples of its own a server reads what others have left of each day, raw or not.
sub answers_of_what_is_left
{
	my ($writer) = @_;
	my $range = "to_timestamp($day_ms / 1000 + 7200), to_timestamp($day_ms / 1000 + 36000), '1h'";
	my $query = "SELECT count(*), round(sum(value)::numeric, 6) FROM prom.query_range('max_over_time(m_1[1h])', $range)";
	my $own = "SELECT count(*) FROM prom.query('mine', to_timestamp($day_ms / 1000 + 60))";
	my $expected = $writer->safe_psql('postgres', $query);
	my %is_read = ('rollups are gone' => 'resolution > 0', 'raw samples are gone' => 'resolution = 0', 'some rollups and raw samples are gone' => 'resolution <> 3600');

	like($expected, qr/^180\|/, 'what the writer answers');
	foreach my $bounds ('as they are', 'complete', 'without raw samples')
	{
		settle() if $bounds eq 'complete';
		is(sql("SELECT count(*) FROM prom.level WHERE resolution > 0 AND from_ms < $day_ms AND until_ms > $day_ms + 86400000"), 2, 'with own rollups') if $bounds ne 'as they are';
		sql("SELECT prom._mark_dropped(0, $day_ms + 20 * 86400000)") if $bounds eq 'without raw samples';
		foreach my $gone (sort keys %is_read)
		{
			hide($writer, $is_read{$gone});
			sql("SELECT prom.attach_bucket('b')");
			foreach my $resolution ('raw', 'auto')
			{
				is(sql("SET promgres.max_source_resolution = '$resolution'; $query"), $expected, "$gone, own levels $bounds, $resolution: the same answer");
				is(sql("SET promgres.max_source_resolution = '$resolution'; $own"), 1, '… beside own samples');
			}
			unhide($writer);
		}
		cmp_ok(sql("SELECT prom.attach_bucket('b')"), '>', 0, 'all of it again');
		is(sql($query), $expected, '… answers as well');
	}
	sql("SELECT prom.detach_bucket('b')");
	is(sql('SELECT (SELECT count(*) FROM prom.attached_level), (SELECT count(*) FROM prom.attached_gap)'), '0|0', 'detached, nothing is known of its resolutions');
	is(sql($own), 1, '… and own samples are there');
	sql('DELETE FROM prom.level WHERE resolution = 0');
	return;
}

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
set(tier_server => 'mistyped');
ok(wait_for(sub { error_of('CALL prom.tier()') =~ /42704: server "mistyped" does not exist/ }, 'the setting is known'), 'a bucket that is not there is an error before a day is due');
like(error_of('CALL prom.tier()'), qr/\nHINT:  "promgres\.tier_server" names it/, 'with where it is named');
set(tier_server => 'b');
ok(wait_for(sub { error_of('CALL prom.tier()') =~ /no error/ }, 'the setting is known'), 'one that is there is none');
like(notice_of('CALL prom.tier()'), qr/NOTICE:  job "tier" is done: nothing to do \(no day is due\)/, 'nothing to do is told');
write_days([ 0 .. 2 ], 100, 300);
settle();
my $before = digest();
my $raw_before = digest(0);
my $rows = local_rows();
like(notice_of($all), qr/NOTICE:  job "tier" is done: rows moved and objects deleted: \d+ \(objects written: \d+, of \d+ \w+\)/, 'what was moved is told');
is(local_rows(), '0', 'all local rows are gone');
ok(wait_for(sub { return 1 if sql("SELECT count(*) FROM prom._parts() WHERE from_ms < $day_ms + 4 * 86400000::int8") eq '0'; sql($all); return 0 }, 'partitions are dropped'), 'and their partitions, when nobody reads them');
is(digest(), $before, 'objects hold every sample and point that was there');
is(doubles(), '0', 'once');
is(sql('SELECT count(*) FROM prom.tier_upload'), '0', 'nothing is left of uploads');
is(sql("SELECT count(DISTINCT resolution), count(*) > 6, bool_and(samples > 0 AND bytes > 100) FROM prom.tier_objects"), '3|t|t', 'of raw samples and both rollups');
is(sql("SELECT count(*), bool_and(d.directory = o.directory) FROM prom.tier_object o, prom._tier_directories(o.server, ARRAY[o.key], ARRAY[o.etag], ARRAY[o.bytes], ARRAY[NULL::int4]) d"), sql('SELECT count(*) FROM prom.tier_object') . '|t',
	'the directory in the object is the one here');
is(sql("SELECT count(*) FROM prom._bucket_list('b', 'promgres/v1/')"), 3 * sql('SELECT count(*) FROM prom.tier_object'), 'each has its manifest and series');
sql('CALL prom.collect_series(\'0 s\'); CALL prom.collect_series(\'0 s\')');
is(sql('SELECT count(*) FROM prom.series'), '100', 'series whose samples are all in the bucket are not collected');
sql("CALL prom.rehydrate($from, $end)");
is(digest(), $before, 'and come back as they were');
is(sql('SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL'), '0', 'the objects are not in use then');
cmp_ok(sql('SELECT sum(pg_total_relation_size(part)) FROM prom._parts()'), '>', 1024 * 1024, 'they are much');
set(retention_size => '1MB');
sql('CALL prom.retain()');
is(digest(), $before, 'a limit of the size is not for them: nobody else has them now');
sql('DELETE FROM prom.tier_hold; CALL prom.retain()');
is(digest(), $before, 'nor when their time here is over, until they are back there');
set(retention_size => '0');
sql("INSERT INTO prom.tier_hold SELECT DISTINCT day, day + 86399999, 'infinity'::timestamptz FROM prom.tier_object");
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
isnt($raw, $raw_before, 'and counts');
sql("CALL prom.downsample('0 s')");
is(sql('SELECT count(*) FROM prom.rollup'), '0', 'no rollup is made of it alone');
sql($all);
sql("CALL prom.downsample('0 s')");
is(sql('SELECT count(*) FROM prom.rollup_due'), '0', 'its block is brought back, and then it is');
is(digest(0), $raw, 'raw samples are what they were');
my $late = digest();
is(doubles(), '1', 'only the one that was overwritten has an older value beneath');
sql($all);
is(local_rows(), '0', 'a later run folds it into another object');
is(digest(), $late, 'which holds the same');
is(doubles(), '0', 'once');


# ---- both sides agree, and it is said where they do not

is(sql('SELECT * FROM prom.verify_bucket(read_all => true) WHERE problem <> \'nobody knows it\''), '', 'the bucket has what is known of it');
my ($one, $two, $three, $four) = split /\n/, sql("SELECT key FROM prom.tier_object WHERE deleted IS NULL AND resolution = 0 ORDER BY key LIMIT 4");
(my $manifest = $three) =~ s/data-0$/manifest.json/;
my %saved = map { $_ => sql("SELECT encode(prom._bucket_get('b', '$_'), 'hex')") } $one, $two, $manifest, $four;
sql("SELECT prom._bucket_delete('b', ARRAY['$one', '$manifest'])");
sql("SELECT prom._bucket_put('b', '$two', prom._bucket_get('b', '$two') || '\\x00')");
sql("SELECT prom._bucket_put('b', '$four', set_byte(prom._bucket_get('b', '$four'), 100, get_byte(prom._bucket_get('b', '$four'), 100) # 1))");
sql("SELECT prom._bucket_put('b', regexp_replace('$one', '[^/]*/data-0', '0-1/data-0'), 'x')");
is(sql("SELECT replace(object, '$one', '1'), problem FROM prom.verify_bucket() WHERE object <> '$four'") =~ s/^promgres\S+0-1\/data-0/stranger/mr,
	"1|it is missing\n$two|it has " . (length($saved{$two}) / 2 + 1) . ' bytes instead of ' . length($saved{$two}) / 2 . "\n$three|it has no manifest\nstranger|nobody knows it",
	'missing, altered and strange objects are found') or diag(sql('SELECT * FROM prom.verify_bucket()'));
is(sql("SELECT count(*) FROM prom.verify_bucket(read_all => true) WHERE object = '$four'"), '1', 'and a byte that is another one');
like(error_of("CALL prom.rehydrate($from, $end)"), qr/object "[^"]*\/data-0"/, 'what is damaged does not come back, and the error names it');
sql("SELECT prom._bucket_put('b', '$_', decode('$saved{$_}', 'hex'))") foreach keys %saved;
sql("SELECT prom._bucket_delete('b', ARRAY[regexp_replace('$one', '[^/]*/data-0', '0-1/data-0')])");
is(digest(), $late, 'all is well again');

# ---- nothing local goes while the bucket fails

sql("CALL prom.rehydrate($from, $end)");
sql('DELETE FROM prom.tier_hold');
is(sql('SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL'), '0', 'all is here');
$rows = local_rows();
set(tier_server => 'far');
foreach my $fault ([ { method => 'PUT', path => '/promgres/v1/', do => 'answer', status => 503, code => 'SlowDown' }, qr/SlowDown/ ], [ { method => 'PUT', path => '/promgres/v1/', do => 'reset' }, qr/could not put|reset|no answer/i ],
	[ { method => 'PUT', path => '/promgres/v1/', do => 'lose' }, qr/could not put/ ], [ { method => 'PUT', path => '/promgres/v1/', do => 'spoil', at => 50 }, qr/could not put/ ],
	[ { method => 'GET', path => '/data-0', do => 'truncate', at => 100 }, qr/could not get|data-0/ ], [ { method => 'GET', path => '/data-0', do => 'alter', at => 100 }, qr/data-0/ ],
	[ { method => 'GET', path => 'series', do => 'alter', at => 10 }, qr/series/ ], [ { method => 'PUT', path => 'manifest', do => 'answer', status => 403, code => 'AccessDenied' }, qr/manifest/ ])
{
	my ($rule, $like) = @$fault;
	$proxy->rules($rule);
	my $error = error_of($all);
	like($error, $like, "$rule->{method} $rule->{do}: an error") or diag($error);
	is(local_rows(), $rows, '… and nothing local is gone');
}
$proxy->rules();
set(tier_server => 'tight', tier_object_size => '64MB');
like(error_of($all), qr/bucket "full"/, 'a full bucket: an error');
is(local_rows(), $rows, '… and nothing local is gone');
is(digest(), $late, '… all is as it was');
set(tier_server => 'b', tier_object_size => '64kB');

# ---- leftovers

cmp_ok(sql('SELECT count(*) FROM prom.tier_upload'), '>', 5, 'what was begun is noted');
sql("INSERT INTO prom.tier_upload (server, key, cluster, resolution, shard, day, seq) VALUES ('b', 'promgres/v1/x/0/2023/20231115/0-7/data-0', gen_random_uuid(), 0, 0, 0, 7)");
sql("SELECT prom._upload_begin('b', 'promgres/v1/x/0/2023/20231115/0-7/data-0')");
sql("SELECT prom._bucket_put('b', 'promgres/v1/x/0/2023/20231115/0-7/series', 'x')");
sql('CALL prom.tier()');
is(sql("SELECT count(*) FROM prom._bucket_uploads('b', 'promgres/v1/x/')"), '1', 'leftovers stay while they are young');
sql("UPDATE prom.tier_upload SET started = started - interval '2 days'");
sql('CALL prom.tier()');
is(sql("SELECT (SELECT count(*) FROM prom._bucket_uploads('b', 'promgres/v1/')), (SELECT count(*) FROM prom._bucket_list('b', 'promgres/v1/x/'))"), '0|0', 'and go when they are old');

# ---- objects that are not needed go, after a time

my $known = sql("SELECT count(*) FROM prom.tier_object WHERE server = 'b'");
cmp_ok($known, '>', 20, 'objects that were brought back are still in the bucket');
set(tier_delete_after => '0');
sql('CALL prom.tier()');
is(sql("SELECT count(*) FROM prom.tier_object WHERE server = 'b'"), '0', 'they go when their time is over');
is(sql("SELECT count(*) FROM prom._bucket_list('b', 'promgres/v1/')"), '0', 'with all that belongs to them');
set(tier_delete_after => '2d');

# ---- another server

sql($all);
my $other = new_node('other', 'promgres.merge_age' => '1s', 'promgres.tier_after' => '-1', 'promgres.tier_rollups_after' => '-1', 'promgres.series_grace' => '-1', 'promgres.rollup_delay' => '-1');
start_node($other);
make_server($other, 'b', endpoint => "http://127.0.0.1:$s3->{port}", prefix => 'p');
# Where only rollups are left, they answer there too.
hide($node, 'resolution = 0');
$other->safe_psql('postgres', 'CREATE DATABASE taken');
$other->safe_psql('taken', "CREATE EXTENSION promgres; CREATE SERVER b FOREIGN DATA WRAPPER promgres_s3 OPTIONS (endpoint 'http://127.0.0.1:$s3->{port}', bucket 'metrics', prefix 'p');
	CREATE USER MAPPING FOR CURRENT_USER SERVER b OPTIONS (access_key_id 'AK', secret_access_key 'SK'); SELECT prom.attach_bucket('b', read_only => false)");
is($other->safe_psql('taken', "SELECT count(*) FROM prom.query_range('max_over_time(m_1[1h])', to_timestamp($day_ms / 1000 + 7200), to_timestamp($day_ms / 1000 + 36000), '1h')"), 9 * 20,
	'rollups stand for raw samples that are gone');
$other->safe_psql('postgres', 'DROP DATABASE taken WITH (FORCE)');
unhide($node);
is($other->safe_psql('postgres', "SELECT prom.attach_bucket('b', read_only => false)"), sql('SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL'), 'an empty server takes a bucket over');
my $same = sub { $_[0]->safe_psql('postgres', 'SELECT md5(string_agg(concat_ws(\' \', shard, sid, labels), \',\' ORDER BY shard, sid)) FROM prom.series') };
is($same->($other), $same->($node), 'with all series');
{
	my $keep = $node;
	$node = $other;
	is(digest(), $late, 'and all samples');
	is(sql('SELECT count(*) FROM prom.label_value WHERE name = \'i\''), '20', 'labels are known');
	set(tier_server => 'b');
	sql("CALL prom.rehydrate($from, $end)");
	is(digest(), $late, 'which can be brought to it');
	$node = $keep;
}
$other->stop;
my $third = start_node(new_node('third', 'promgres.merge_age' => '1s', 'promgres.tier_after' => '-1', 'promgres.tier_rollups_after' => '-1', 'promgres.series_grace' => '-1'));
make_server($third, 'b', endpoint => "http://127.0.0.1:$s3->{port}", prefix => 'p');
remote_write($third, [ { __name__ => 'mine', i => 1 }, [ $day_ms, 1 ] ]);
{
	my $keep = $node;
	$node = $third;
	answers_of_what_is_left($keep);
	like(error_of("SELECT prom.attach_bucket('b', read_only => false)"), qr/55000: bucket "b" cannot become that of this database/, 'a server with samples of its own does not take it over');
	sql("SELECT prom.attach_bucket('b')");
	is(sql('SELECT string_agg(shard || \' \' || series, \', \' ORDER BY shard) FROM prom.shard'), '0 1, 1 100', 'but reads it, in a shard of its own');
	is(sql("SELECT prom.attach_bucket('b')"), '0', 'nothing is new the second time');
	make_server($third, 'again', endpoint => "http://127.0.0.1:$s3->{port}", prefix => 'p');
	sql("SELECT prom._bucket_put('again', 'promgres/v1/stranger/x', 'x')");
	is(sql("SELECT prom.attach_bucket('again')"), '0', 'nor under another name; folders that are none of ours are passed over');
	sql("SELECT prom._bucket_delete('again', ARRAY['promgres/v1/stranger/x'])");
	like(error_of("CALL prom.rehydrate($from, $end)"), qr/55000: .*attached read-only/, 'nothing of it is brought here');
	cmp_ok(sql("SELECT prom.detach_bucket('b')"), '>', 10, 'it is detached');
	is(sql('SELECT string_agg(shard || \' \' || series, \', \' ORDER BY shard) FROM prom.shard'), '0 1', 'and its series are gone');
	$node = $keep;
}
$third->stop;
like(error_of($all), qr/55000: bucket "b" has another owner/, 'who has lost the bucket to another server does not move samples there');
sql(q{SELECT prom.claim_bucket('b')});
make_server($node, 'again', endpoint => "http://127.0.0.1:$s3->{port}", prefix => 'p');
is(sql("SELECT prom.attach_bucket('again')"), '0', 'nor does who has written it know it twice');
is(digest(), $late, 'and it holds the same');

# ---- an object of several parts

set(tier_object_size => '64MB');
my $big_ms = $day_ms + 10 * 86_400_000;
sql("SELECT setseed(0.1); SELECT prom._make_day($big_ms)");
sql(<<"SQL");
INSERT INTO prom.warm SELECT 0, d.sid >> 6, $big_ms, nextval('prom.store_seq'), $big_ms + 79990000, 0, 8000,
	prom.chunk_build(0::int2, d.sid, ARRAY(SELECT $big_ms + n * 10000 FROM generate_series(0, 7999) n), ARRAY(SELECT random() + d.sid FROM generate_series(1, 8000)))
FROM generate_series(1, 240) i, prom.series_id(prom.labels(jsonb_build_object('__name__', 'big', 'i', i::text))) d
SQL
my $big = digest(0);
sql("CALL prom.tier(to_timestamp($big_ms / 1000), to_timestamp($big_ms / 1000 + 86400))");
is(sql("SELECT count(*), sum(samples), min(bytes) > 8 * 1024 * 1024 FROM prom.tier_object WHERE day = $big_ms AND resolution = 0"), '1|1920000|t', 'it is sent in parts');
is(sql("SELECT count(*) FROM prom.warm WHERE t_min >= $big_ms"), '0', 'its rows are gone');
is(digest(0), $big, 'and it has all of them');
is(sql("SELECT count(*) FROM prom.verify_bucket(read_all => true) WHERE object LIKE '%/20231125/%'"), '0', 'as was written');

# ---- retention

sql("SELECT prom.set_retention(NULL, raw => '30 days')");
sql('CALL prom.retain()');
is(sql('SELECT resolution, count(*) > 0, count(*) = count(deleted) FROM prom.tier_object GROUP BY 1 ORDER BY 1'), "0|t|t\n300|t|f\n3600|t|f", 'objects of raw samples whose time is over are not read any more')
  or diag(sql('SELECT resolution, count(*), count(deleted) FROM prom.tier_object GROUP BY 1'));

done_testing();

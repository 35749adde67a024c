# An upload that was killed in the middle is gone on with: parts that are in the bucket, with the bytes that they should have,
# are not sent again; whatever else is there is not believed; an object is never written twice; what nobody goes on with is
# collected by age, and told by prom.verify_bucket.
#
# PROM_ROUNDS: how often it is killed at any moment (4; with LONG=1 50).  PROM_SEED: when.

use strict;
use warnings;

use Bucket;
use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => bucket_missing() if bucket_missing();

my $rounds = $ENV{PROM_ROUNDS} // ($ENV{LONG} ? 50 : 4);
my $seed = $ENV{PROM_SEED} // ($ENV{LONG} ? int(time) ^ $$ : 1);
note("PROM_SEED=$seed");
srand($seed);

my $s3 = start_radosgw();
my $proxy = start_proxy($s3->{port});
my $node = start_node(new_node('primary', 'promgres.merge_age' => '1s', 'promgres.compact_delay' => '-1', 'promgres.rollup_delay' => '-1',
	'promgres.tier_after' => '-1', 'promgres.tier_rollups_after' => '-1', 'promgres.rollup_resolutions' => '', 'promgres.tier_server' => 'b'));
make_server($node, 'b', endpoint => "http://127.0.0.1:$proxy->{port}", prefix => 'p', request_timeout => '60s', operation_timeout => '60s');

sub sql { return $node->safe_psql('postgres', $_[0]) }

# All samples, here or in the bucket; one that was there twice, or overwritten, would count.
sub all_of
{
	return sql(<<'SQL');
SET jit = off;
SELECT count(*) || ' ' || sum(hashfloat8extended(s.value, s.t_ms * 1000 + s.sid))
FROM (SELECT c.data FROM prom.tier_object o, prom._tier_chunks(o.server, o.key, o.etag, o.directory, ARRAY(SELECT e.block FROM prom._tier_entries(o.directory) e)) c
		WHERE o.deleted IS NULL
	UNION ALL SELECT data FROM prom.warm UNION ALL SELECT data FROM prom.fresh) h, prom.samples(h.data) s
SQL
}

# ---- a day of random samples: an object of three parts

my $day_ms = 1_700_006_400_000;    # a midnight
my $move = "CALL prom.tier(to_timestamp($day_ms / 1000), to_timestamp($day_ms / 1000 + 86400))";
remote_write($node, map { [ { __name__ => 'm', i => $_ }, [ $day_ms + 86_399_000, 1 ] ] } 1 .. 320)->{status} == 204 or die 'not stored';
sql('CALL prom.merge()');
sql(<<"SQL");
SELECT setseed(0.1);
INSERT INTO prom.warm SELECT 0, s.sid >> 6, $day_ms, nextval('prom.store_seq'), $day_ms + 79990000, 0, 8000,
	prom.chunk_build(0::int2, s.sid, ARRAY(SELECT $day_ms + n * 10000 FROM generate_series(0, 7999) n), ARRAY(SELECT random() + 0 * s.sid FROM generate_series(1, 8000)))
FROM prom.series s ORDER BY s.sid
SQL
my $before = all_of();

# PUTs of parts and of whole objects since the last look, as "1 2 3" and names
sub puts
{
	my @put = map { $_->{path} =~ /partNumber=(\d+)/ ? $1 : $_->{path} =~ m{/([^/?]+)$} ? $1 : $_->{path} }
	  grep { $_->{method} eq 'PUT' && $_->{path} !~ m{/promgres/owner/} } @{ $proxy->log->{requests} };
	return join ' ', sort @put;
}

# Move, and kill it when the bucket has what the condition says and hangs by this rule.
sub kill_when
{
	my ($rule, $condition) = @_;
	$proxy->rules({ do => 'hang', seconds => 60, %$rule });
	my $mover = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $mover->query('SELECT pg_backend_pid()');
	my $seen = '';
	$mover->{stdin} .= "$move;\n";
	$mover->{run}->pump_nb;
	ok(wait_for(sub { $seen .= ' ' . join ' ', map { "$_->{method} $_->{path}" . ($_->{rule} ? ' hangs' : '') } @{ $proxy->log->{requests} }; $seen =~ /hangs/ && (!$condition || $condition->()) },
		'it hangs'), 'it is killed in the middle');
	kill_backend($node, $pid);
	$mover->{run}->kill_kill;
	$proxy->rules();
	return;
}

my $upload = sub { return sql("SELECT key || ' ' || id FROM prom._bucket_uploads('b', 'promgres/v1/')") };
my $parts = sub { my ($key, $id) = split / /, $upload->(); return sql("SELECT string_agg(part::text, ' ' ORDER BY part) FROM prom._upload_parts('b', '$key', '$id')") };
my $noted = sub { return sql('SELECT count(*) FROM prom.tier_upload') };
my $bring_back = sub {
	sql("CALL prom.rehydrate(to_timestamp($day_ms / 1000), to_timestamp($day_ms / 1000 + 86400), NULL, '0 s'); UPDATE prom.tier_object SET deleted = now() - interval '9 days' WHERE deleted IS NOT NULL");
	sql('CALL prom.tier()');    # which deletes the object
	is(sql("SELECT (SELECT count(*) FROM prom.tier_object) || ' ' || (SELECT sum(samples) > 2500000 FROM prom.warm)"), '0 true', 'all is here again');
	return;
};

# ---- killed while the third part is sent

kill_when({ method => 'PUT', path => 'partNumber=3' }, sub { $parts->() eq '1 2' });
my ($key, $id) = split / /, $upload->();
is($noted->(), '1', 'it is noted');
is($parts->(), '1 2', 'two parts are there');
is(all_of(), $before, 'nothing is gone here');
$proxy->rules();
sql($move);
my $sent = puts();
is($sent, '3 manifest.json series', "the next run sends what is not there: $sent");
is(sql('SELECT key FROM prom.tier_object'), $key, 'as the object that was begun');
is($noted->() . $upload->(), '0', 'nothing is left of it');
is(sql('SELECT count(*) FROM prom.warm'), '0', 'the rows are gone');
is(all_of(), $before, 'and all is in it');
is(sql('SELECT * FROM prom.verify_bucket(read_all => true)'), '', 'byte for byte');

# ---- what is there is another thing

$bring_back->();
kill_when({ method => 'PUT', path => 'partNumber=3' }, sub { $parts->() eq '1 2' });
($key, $id) = split / /, $upload->();
sql("SELECT prom._upload_put('b', '$key', '$id', 1, decode(repeat('00', 8 * 1024 * 1024), 'hex'))");
$proxy->rules();
sql($move);
is(puts(), '1 3 manifest.json series', 'a part that has other bytes is sent again');
is(sql('SELECT key FROM prom.tier_object WHERE deleted IS NULL'), $key, 'for the object that was begun');
is(all_of(), $before, 'and all is in it');

$bring_back->();
kill_when({ method => 'PUT', path => 'partNumber=3' }, sub { $parts->() eq '1 2' });
($key, $id) = split / /, $upload->();
remote_write($node, [ { __name__ => 'm', i => 1 }, [ $day_ms + 86_398_000, 2 ] ]);
sql('CALL prom.merge()');
my $late = all_of();
isnt($late, $before, 'a sample comes late, for what was sent');
$proxy->rules();
sql($move);
is(puts(), '1 2 3 manifest.json series', 'all is other now, and sent again');
is(sql('SELECT key FROM prom.tier_object WHERE deleted IS NULL'), $key, 'for the object that was begun');
is(all_of(), $late, 'and all is in it');
$before = $late;

# ---- the upload is gone, or has become an object

$bring_back->();
kill_when({ method => 'PUT', path => 'partNumber=3' }, sub { $parts->() =~ /1/ });
($key, $id) = split / /, $upload->();
sql("SELECT prom._upload_abort('b', '$key', '$id')");
$proxy->rules();
sql($move);
is(puts(), '1 2 3 manifest.json series', 'an upload that somebody has aborted is begun anew');
isnt(sql('SELECT key FROM prom.tier_object WHERE deleted IS NULL'), $key, 'under another name');
is(all_of(), $before, 'and all is in it');

$bring_back->();
kill_when({ method => 'GET', path => '/data-0$' });
my $object = sql("SELECT string_agg(key, ' ') FROM prom._bucket_list('b', '') WHERE key LIKE '%/data-0'");
my $etag = sql("SELECT etag FROM prom._bucket_head('b', '$object')");
sql($move);
isnt(sql('SELECT key FROM prom.tier_object WHERE deleted IS NULL'), $object, 'an object that was complete when its sender was killed is not written again');
is(sql("SELECT etag FROM prom._bucket_head('b', '$object')"), $etag, 'and stays as it is');
is(all_of(), $before, 'all is in the other one');
sql("SELECT prom._bucket_delete('b', ARRAY['$object']); DELETE FROM prom.tier_upload");

# ---- what is gone on with, and what is not

my $begin = "SELECT prom._tier_begin('b', 0, $day_ms, 0::int2)";
$bring_back->();
$key = sql($begin);
isnt(sql($begin), $key, 'what was noted only is begun under another name');
$id = sql("SELECT prom._upload_begin('b', '$key')");
is(sql($begin), $key, 'an upload in parts is gone on with');
is(sql("SELECT upload FROM prom.tier_upload WHERE key = '$key'"), $id, '… by its id, which is noted');
isnt(sql("SELECT prom._tier_begin('b', 300, $day_ms, 0::int2)"), $key, '… not for another resolution');
isnt(sql("SELECT prom._tier_begin('b', 0, $day_ms + 86400000, 0::int2)"), $key, '… nor for another day');
isnt(sql("SELECT prom._tier_begin('b', 0, $day_ms, 1::int2)"), $key, '… nor for another shard');
sql("SELECT prom._bucket_put('b', '$key', 'x')");
isnt(sql($begin), $key, '… nor when there is an object of the name');
sql("SELECT prom._bucket_delete('b', ARRAY['$key'])");
is(sql($begin), $key, '… which is looked at');
sql("UPDATE prom.tier_upload SET source = '{}' WHERE key = '$key'");
isnt(sql($begin), $key, '… nor what waits for its commit');
sql("UPDATE prom.tier_upload SET source = NULL WHERE key = '$key'");
sql("DELETE FROM prom.tier_upload WHERE key <> '$key'");
is(sql($begin), $key, '… of any time');
$proxy->rules({ method => 'GET', path => 'uploads', do => 'answer', status => 200, body => '<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>' });
isnt(sql($begin), $key, 'a listing that is stale costs no more than beginning anew');
$proxy->rules();
sql("DELETE FROM prom.tier_upload WHERE key <> '$key'");
sql($move);
is(sql('SELECT key FROM prom.tier_object WHERE deleted IS NULL'), $key, 'and then all of it is sent');
is(sql('SELECT seq FROM prom.tier_object WHERE deleted IS NULL'), ($key =~ m{-(\d+)/data})[0], 'in its place in the order');
sql("INSERT INTO prom.tier_upload (server, key, cluster, resolution, shard, day, seq) SELECT server, key || 'x', cluster, resolution, shard, day, seq - 1 FROM prom.tier_object WHERE deleted IS NULL");
sql("SELECT prom._upload_begin('b', '${key}x')");
isnt(sql($begin), "${key}x", 'what would be older than an object of the day is not gone on with');

# ---- leftovers

is(sql("SELECT count(*) FROM prom.verify_bucket() WHERE problem ~ 'left over'"), '0', 'an upload that is noted is no problem');
sql("DELETE FROM prom.tier_upload");
is(sql('SELECT * FROM prom.verify_bucket()'), "${key}x|an upload of it is left over, that nobody knows", 'one that nobody knows is told');
sql('CALL prom.tier()');
is(sql("SELECT count(*) FROM prom._bucket_uploads('b', '')"), '1', 'it stays while it is young');
is(sql("SELECT prom._tier_tidy('b', '0 s')"), '1', 'and is aborted');
is(sql("SELECT count(*) FROM prom._bucket_uploads('b', '')"), '0', 'when it is old');
is(sql('SELECT * FROM prom.verify_bucket()'), '', 'all is well');
$key = sql("SELECT prom._tier_begin('b', 0, $day_ms, 0::int2)");
sql("SELECT prom._upload_begin('b', '$key'), prom._bucket_put('b', replace('$key', 'data-0', 'series'), 'x')");
is(sql("SELECT prom._tier_tidy('b', '1 hour')"), '0', 'what is noted stays while it is young');
sql("UPDATE prom.tier_upload SET started = started - interval '1 day'");
is(sql("SELECT prom._tier_tidy('b', '1 hour')"), '1', 'and goes when it is old');
is($noted->() . sql("SELECT (SELECT count(*) FROM prom._bucket_uploads('b', '')), (SELECT count(*) FROM prom._bucket_list('b', replace('$key', 'data-0', '')))"), '00|0', 'with all that belongs to it');

# ---- kill -9 at any moment of it

$bring_back->();
my ($killed, $wrong, $puts, $takes) = (0, 0, 0, 1);
my $began = time;
foreach my $round (1 .. $rounds)
{
	$bring_back->() if sql('SELECT count(*) FROM prom.warm') eq '0';
	$proxy->rules();
	my $mover = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $mover->query('SELECT pg_backend_pid()');
	$mover->{stdin} .= "$move;\n";
	$mover->{run}->pump_nb;
	sleep rand $takes;
	kill_backend($node, $pid);
	$mover->{run}->kill_kill;
	my $hit = sql('SELECT count(*) FROM prom.warm') ne '0';
	$killed += $hit;
	$takes *= $hit ? 1.2 : 0.7;
	$puts += () = puts() =~ /\b\d\b/g;
	my $now = all_of();
	next if $now eq $before;
	$wrong++;
	diag("round $round: $now instead of $before");
}
sql($move);
$puts += () = puts() =~ /\b\d\b/g;
note(sprintf 'measured: %d rounds in %d s with PROM_SEED=%d: killed %d, %d PUTs of parts', $rounds, time - $began, $seed, $killed, $puts);
is($wrong, 0, 'killed at any moment: all samples were there each time, once');
is(sql('SELECT count(*) FROM prom.warm'), '0', 'at the end all is in the bucket');
is(all_of(), $before, '… equal, and once');
is(sql("SELECT * FROM prom.verify_bucket(read_all => true) WHERE problem <> 'nobody knows it'"), '', '… and the bucket agrees');
done_testing();

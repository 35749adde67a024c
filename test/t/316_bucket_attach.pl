# A bucket that more than one database has to do with.  Whoever attaches it reads many objects at a time, within bounds, and can be
# stopped; what is wrong in it is told by name.  Of two copies of one database only one changes it, and the other says why not.

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

my $s3 = start_radosgw();
my $proxy = start_proxy($s3->{port});
my %setting = ('promgres.merge_age' => '1s', 'promgres.compact_delay' => '-1', 'promgres.rollup_delay' => '-1', 'promgres.tier_after' => '-1',
	'promgres.tier_rollups_after' => '-1', 'promgres.series_grace' => '-1');
my $node = start_node(new_node('primary', %setting, 'promgres.tier_server' => 'b'));
my $reader = start_node(new_node('reader', %setting));
my $first_ms = 1_700_006_400_000;    # a midnight
my $days = 8;

make_server($node, 'b', endpoint => "http://127.0.0.1:$s3->{port}", prefix => 'p');
make_server($reader, 'b', endpoint => "http://127.0.0.1:$proxy->{port}", prefix => 'p', transfers => 5);

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub other { return $reader->safe_psql('postgres', $_[0]) }
sub at { my ($day) = @_; return sprintf 'to_timestamp(%d)', $first_ms / 1000 + $day * 86_400 }

# The error, or what else came, with its notices and warnings.
sub told
{
	my ($of, $sql) = @_;
	my ($ret, $out, $err) = $of->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	return $ret == 0 ? "no error: $out\n$err" : $err;
}

my $move = 'CALL prom.tier(' . at(-1) . ', ' . at($days + 1) . ')';
my $attach = q{SELECT prom.attach_bucket('b')};

# --- days of three blocks of series

foreach my $day (0 .. $days - 1)
{
	# One in ten is of this day only, so that each object has labels of its own.
	my @series = map { my $i = $_; [ { __name__ => 'm', i => $i % 10 ? $i : "$i of $day" }, map { [ $first_ms + $day * 86_400_000 + $_ * 7_200_000 + $i, sqrt($_ * $i + $day) ] } 0 .. 11 ] } 1 .. 180;
	remote_write($node, @series)->{status} == 204 or die 'not stored';
}
sql("CALL prom.merge(); CALL prom.downsample('0 s')");
my $before = held($node);
sql($move);
is(held($node), $before, 'all of it is in the bucket or here');
my $objects = sql('SELECT count(*) FROM prom.tier_object WHERE deleted IS NULL');
cmp_ok($objects, '>=', 3 * $days, "$objects objects");

# --- how it is read

my $session = $reader->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query('SELECT pg_backend_pid()');
my $canceller = $reader->background_psql('postgres');

# Ask; when so many requests hang, cancel.  How many there were, and how long it took until the bucket saw their connections close, in ms.
sub hanging
{
	my ($sql, $expected) = @_;
	$proxy->rules({ do => 'hang', seconds => 60, path => '(manifest\.json|data-0)$' });
	$session->{stdin} .= "$sql;\n";
	$session->{run}->pump_nb;
	my ($requests, @closed) = (0);
	my $look = sub { my $log = $proxy->log; $requests += grep { $_->{rule} } @{ $log->{requests} }; push @closed, @{ $log->{closed} }; return };
	wait_for(sub { $look->(); $requests >= $expected }, "$expected requests hang") or return ($requests, 1e9);
	my $since = $canceller->query("SELECT extract(epoch FROM clock_timestamp()) FROM (SELECT pg_cancel_backend($pid) OFFSET 0) c");
	wait_for(sub { $look->(); @closed >= $requests }, 'their connections are closed') or return ($requests, 1e9);
	my ($last) = sort { $b <=> $a } @closed;
	return ($requests, ($last - $since) * 1000);
}

my @hung = map { [ hanging($attach, 5) ] } 1 .. 5;
is(join(' ', map { $_->[0] } @hung), '5 5 5 5 5', 'as many requests are on their way as the bucket allows');
my ($best) = sort { $a <=> $b } map { $_->[1] } @hung;
note(sprintf 'measured: cancelled, connections closed after %.1f ms', $best);
cmp_ok($best, '<', 100, 'one that is cancelled closes its connections within 100 ms');
is(other('SELECT (SELECT count(*) FROM prom.tier_object) + (SELECT count(*) FROM prom.tier_cluster) + (SELECT count(*) FROM prom.series)'), '0', 'and nothing is attached');
$session->query('SET promgres.tier_read_memory = 1024');
my $many = q{FROM (SELECT array_agg(l.key) AS k FROM prom._bucket_list('b', 'promgres/v1/') l WHERE l.key LIKE '%/manifest.json') x, prom._tier_get_many('b', k, array_fill};
is((hanging("SELECT count(*) $many(400000::int8, ARRAY[cardinality(k)]))", 2))[0], 2, 'fewer if they could take more than promgres.tier_read_memory');
is((hanging("SELECT count(*) $many(4000000::int8, ARRAY[cardinality(k)]))", 1))[0], 1, '… but one at least');
$session->quit;
$canceller->quit;
$proxy->rules();
is(other("SELECT bool_and(g.body = prom._bucket_get('b', k[g.n])), count(DISTINCT g.n) = cardinality(k) $many(65536::int8, ARRAY[cardinality(k)])) g GROUP BY k"), 't|t',
	'objects are told apart by their places');
is(other(q{SELECT n, body FROM prom._tier_get_many('b', '{none,none/either}', '{1,1}') ORDER BY n}), "1|\n2|", 'one that is not there is none');
like(told($reader, q{SELECT * FROM prom._tier_get_many('b', ARRAY[(SELECT min(key) FROM prom._bucket_list('b', 'promgres/v1/'))], '{10}')}),
	qr/XX001: could not get object "p\/promgres\/.*longer than it may be/s, 'one that is too long is not read');

# --- all of it

$proxy->rules();
like(told($reader, "BEGIN; $attach; SELECT 'locks ' || count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock'; COMMIT"), qr/no error: $objects\nlocks 0\n/,
	'an object of labels takes no lock of its own');
my @asked = map { $_->{path} } grep { $_->{path} =~ m{/promgres/v1/.*/(manifest.json|series|data-0)$} } @{ $proxy->log->{requests} };
my $labels = sql(q{SELECT count(DISTINCT sha256(prom._bucket_get('b', replace(key, '/data-0', '/series')))) FROM prom.tier_object WHERE deleted IS NULL});
cmp_ok($labels, '>=', $days, "$labels objects of labels differ");
is(scalar(@asked), 2 * $objects + $labels, 'each manifest, the end of each object, and each of the labels are read once');
my $same = 'SELECT count(*), md5(string_agg(concat_ws(\' \', resolution, day, seq, t_min, t_max, block_min, block_max, chunks, samples, series, bytes, etag, encode(sha256, \'hex\'), md5(directory)), \',\' ORDER BY key)) FROM prom.tier_object WHERE deleted IS NULL';
is(other($same), sql($same), 'objects are known as where they were written');
my $series = q{SELECT count(*), md5(string_agg(sid || ' ' || labels, ',' ORDER BY sid)) FROM prom.series};
is(other($series), sql($series), 'so are series');
my $blocks = 'SELECT string_agg(block || \' \' || series, \',\' ORDER BY block) FROM prom.tier_series';
is(other($blocks), sql($blocks), 'and which of them objects hold');
my $answer = sprintf q{SELECT md5(string_agg(concat_ws(' ', s.time, s.value), ',' ORDER BY s.time)) FROM prom.query_range('count(m) + sum(m)', %s, %s, '1h') s}, at(0), at($days);
is(other($answer), sql($answer), 'and what a query answers');
is(other($attach), '0', 'the second time nothing is new');
is(other(q{SELECT prom.detach_bucket('b')}), $objects, 'detached');

# --- what is wrong

my ($key) = split /\n/, sql(q{SELECT key FROM prom.tier_object WHERE deleted IS NULL ORDER BY key});
(my $manifest = $key) =~ s/data-0/manifest.json/;
$proxy->rules({ do => 'alter', at => -60, times => 3, path => 'data-0$' });
is(other($attach), $objects, 'a directory that came otherwise is asked for again');
other(q{SELECT prom.detach_bucket('b')});
$proxy->rules({ do => 'alter', at => -60, path => "$key\$" });
like(told($reader, $attach), qr/XX001: could not get object "p\/\Q$key\E".*tried/s, 'one that is otherwise again and again is named');
$proxy->rules({ do => 'answer', status => 404, code => 'NoSuchKey', path => "$key\$" });
like(told($reader, $attach), qr/XX001: object "\Q$key\E" of bucket "b" is not what its manifest says\nDETAIL:  It is missing/, 'one that is missing');
$proxy->rules({ do => 'answer', status => 404, code => 'NoSuchKey', path => "$manifest\$", times => 1 });
is(other($attach), $objects - 1, 'one that left the bucket after it was listed is none');
is(other($attach), '1', 'and is taken if it is there after all');
other(q{SELECT prom.detach_bucket('b')});
$proxy->rules({ do => 'answer', status => 404, code => 'NoSuchKey', path => "$key\$" }, { do => 'answer', status => 404, code => 'NoSuchKey', path => "$manifest\$", skip => 1 });
is(other($attach), $objects - 1, 'one that leaves the bucket while it is read');
$proxy->rules({ do => 'answer', status => 404, code => 'NoSuchKey', path => "$manifest\$" });
like(told($reader, $attach), qr/no error: 0$/m, 'and that is none if it alone was new');
$proxy->rules();
is(other($attach), '1', '… until it is there');
like(told($reader, q{SELECT prom.attach_bucket('b', read_only => false)}), qr/55000: bucket "b" is attached read-only\nHINT:  .*detach_bucket\('b'\)/, 'who only reads a bucket does not take it over by the way');
other(q{SELECT prom.detach_bucket('b')});

# With a manifest that is changed, and put back.
sub spoiled
{
	my ($change) = @_;
	sql("CREATE TABLE m AS SELECT prom._bucket_get('b', '$manifest') AS was; SELECT prom._bucket_put('b', '$manifest', convert_to(($change)::text, 'UTF8')) FROM (SELECT convert_from(was, 'UTF8')::jsonb AS j FROM m) m");
	my $error = told($reader, $attach);
	sql("SELECT prom._bucket_put('b', '$manifest', was) FROM m; DROP TABLE m");
	return $error;
}
my $name = quotemeta $key;
like(spoiled(q{jsonb_set(j, '{objects,0,bytes}', to_jsonb((j->'objects'->0->'bytes')::int8 + 1))}), qr/XX001: .*$name/, 'a size that is not the object\'s, by one byte');
like(spoiled(q{jsonb_set(j, '{objects,0,bytes}', to_jsonb((j->'objects'->0->'bytes')::int8 - 1))}), qr/XX001: .*$name/, '… either way');
like(spoiled(q{jsonb_set(j, '{objects,0,bytes}', '99999999999')}), qr/(XX001|58030): .*$name/, '… by far');
like(spoiled(q{jsonb_set(j, '{objects,0,bytes}', '20')}), qr/XX001: object "$name" is too short/, '… or none');
like(spoiled(q{jsonb_set(j, '{series,sha256}', '"00"')}), qr/XX001: object ".*\/series" is not what its manifest says/, 'labels that are others');
like(spoiled(q{jsonb_set(j, '{series}', '{"name": "series", "bytes": 5, "sha256": "00"}')}), qr/XX001: could not get object ".*\/series"/, '… or longer');
like(spoiled(q{jsonb_set(j, '{shard}', '7')}), qr/XX001: manifest "\Q$manifest\E" is not where it belongs/, 'a shard that is not that of its key');
like(spoiled(q{'"x"'::jsonb}), qr/XX001: manifest "\Q$manifest\E" is of an unknown kind/, 'no manifest');
foreach my $change (q{'{cluster}', '"x"'}, q{'{shard}', '"x"'}, q{'{seq}', '1e30'}, q{'{day}', 'null'}, q{'{day}', '9e18'}, q{'{day}', (j->>'day')::int8 + 1}, q{'{objects,0,bytes}', '"1"'},
	q{'{objects,0,t_min}', 'null'}, q{'{objects,0,sha256}', '"00"'}, q{'{objects,0,name}', '"data-1"'}, q{'{objects,1}', '{}'}, q{'{series,bytes}', 'null'}, q{'{series,name}', '""'})
{
	(my $text = $change) =~ s/(\(j.*)/to_jsonb($1)/;
	like(spoiled("jsonb_set(j, $text)"), qr/XX001: manifest "\Q$manifest\E" is not understood\nDETAIL/, "what is no such thing: $change");
}
foreach my $change (q{'{resolution}', '300'}, q{'{day}', to_jsonb((j->>'day')::int8 + 86400000)}, q{'{seq}', '17'})
{
	like(spoiled("jsonb_set(j, $change)"), qr/XX001: manifest "\Q$manifest\E" is not where it belongs\nDETAIL/, "another place: $change");
}
like(spoiled(q{jsonb_set(j, '{objects,0,chunks}', '1')}), qr/no error: $objects/, 'of how many chunks there are it is no more than a hint');
other(q{SELECT prom.detach_bucket('b')});

# --- more than are read at a time

sql(<<"SQL");
DO \$\$
DECLARE
	m		jsonb;
	series	bytea;
	data	bytea;
	prefix	text;
	t		int8;
BEGIN
	SELECT convert_from(prom._bucket_get('b', '$manifest'), 'UTF8')::jsonb, prom._bucket_get('b', replace('$key', '/data-0', '/series')), prom._bucket_get('b', '$key') INTO m, series, data;
	FOR i IN 1 .. 503 LOOP
		t := $first_ms - i * 86400000::int8;
		-- Of two shards: pairs of numbers are not mixed up.
		prefix := format('promgres/v1/00000000-0000-4000-8000-000000000001/0/%s/%s-%s/', to_char(timestamp '1970-01-01' + t / 86400000 * interval '1 day', 'YYYY/YYYYMMDD'), i % 2, i);
		PERFORM prom._bucket_put('b', prefix || 'data-0', data), prom._bucket_put('b', prefix || 'series', series);
		PERFORM prom._bucket_put('b', prefix || 'manifest.json', convert_to((m || jsonb_build_object('cluster', '00000000-0000-4000-8000-000000000001', 'day', t, 'seq', i, 'shard', i % 2, 'resolution', 0))::text, 'UTF8'));
	END LOOP;
END \$\$
SQL
like(told($reader, $attach), qr/no error: @{[ $objects + 503 ]}\n.*bucket "b": 500 of 503 new objects\n.*bucket "b": 503 of 503 new objects/s, 'progress is told, 500 at a time');
is(other('SELECT cardinality(shards) FROM prom.tier_cluster ORDER BY 1'), "2\n4", 'each shard of each bucket is one here');
is(other('SELECT count(*), sum(s) FROM (SELECT count(*) AS s FROM prom.series GROUP BY shard) x'), '3|' . other(q{SELECT count(*) + 2 * (SELECT max(series) FROM prom.tier_object WHERE cluster = '00000000-0000-4000-8000-000000000001') FROM prom.series
	WHERE shard IN (SELECT unnest(shards) FROM prom.tier_cluster WHERE cardinality(shards) = 2 )}), 'with the series of each');
sql(q{SELECT prom._bucket_delete('b', array_agg(l.key)) FROM prom._bucket_list('b', 'promgres/v1/00000000-0000-4000-8000-000000000001/') l WHERE l.key LIKE '%manifest.json'});
other($attach);
is(other('SELECT count(*) FROM prom.tier_object'), $objects, 'what has left is forgotten, all at once');

# --- an object of which most was brought back, and moved again, is written anew

my $bytes = q{SELECT sum(bytes) FROM prom.tier_object WHERE deleted IS NULL AND resolution = 0};
my $was = sql($bytes);
my $rehydrate = sub { my ($selector, $hold) = @_; sql('CALL prom.rehydrate(' . at(0) . ', ' . at(1) . ", '$selector', '$hold')") };
$rehydrate->('{i=~"1|101"}', '1 hour');
is(sql(q{SELECT count(*) FROM prom.tier_object WHERE gone <> '{}' AND deleted IS NULL AND resolution = 0}), '1', 'two blocks of three are back');
sql($move);
is(sql(q{SELECT count(*) FROM prom.tier_object WHERE gone <> '{}' AND deleted IS NULL AND resolution = 0}), '1', 'while they are held the object stays: retention has to know of it');
sql('UPDATE prom.tier_hold SET until = clock_timestamp()');
sql($move);
is(sql(q{SELECT count(*) FROM prom.tier_object WHERE gone <> '{}' AND deleted IS NULL}), '0', 'once they have moved again it is written anew without them');
cmp_ok(sql($bytes), '<', 1.2 * $was, 'and has no bytes for them');
is(held($node), $before, 'all samples are there');
is(sql(q{SELECT string_agg(object || ': ' || problem, ',') FROM prom.verify_bucket(read_all => true)}), '', 'as they were written');

# --- copies of the database

my $word = q{SELECT convert_from(prom._bucket_get('b', 'promgres/owner/' || cluster), 'UTF8') FROM prom.tier_cluster WHERE own};
my $kept = sql($word);
is($kept, sql('SELECT word FROM prom.tier_owner'), 'the bucket has the word of its owner');
sql($move);
isnt(sql($word), $kept, 'which is another one after each run');
# Killed before the bucket had the next one, and after it.
sql('UPDATE prom.tier_owner SET next = gen_random_uuid()');
like(told($node, $move), qr/no error/, 'who was killed is not locked out');
sql('UPDATE prom.tier_owner SET next = gen_random_uuid()');
sql(q{SELECT prom._bucket_put('b', 'promgres/owner/' || cluster, convert_to(next::text, 'UTF8')) FROM prom.tier_cluster, prom.tier_owner WHERE own});
like(told($node, $move), qr/no error/, '… at no time');

# A full bucket.
make_server($node, 'direct', endpoint => "http://127.0.0.1:$s3->{port}", prefix => 'p');
like(told($node, q{SELECT prom.claim_bucket('direct')}), qr/55000: bucket "direct" holds no samples of this database/, 'a bucket by a name that nothing was moved to is not claimed');
$proxy->rules({ method => 'PUT', path => '/promgres/owner/', do => 'answer', status => 403, code => 'QuotaExceeded' });
sql("ALTER SERVER b OPTIONS (SET endpoint 'http://127.0.0.1:$proxy->{port}')");
$kept = sql($word);
like(told($node, $move), qr/no error/, 'who can put no word there goes on while it has its last one');
is(sql($word), $kept, '… which stays');
sql('UPDATE prom.tier_owner SET next = gen_random_uuid()');
sql(q{SELECT prom._bucket_put('direct', 'promgres/owner/' || cluster, convert_to(next::text, 'UTF8')) FROM prom.tier_cluster, prom.tier_owner WHERE own});
like(told($node, $move), qr/no error/, '… or its next one, if it was killed');
like(told($node, $move), qr/no error/, '… again and again');
$kept = sql($word);
$proxy->rules();
sql("ALTER SERVER b OPTIONS (SET endpoint 'http://127.0.0.1:$s3->{port}')");
like(told($node, $move), qr/no error/, '… until there is room');
isnt(sql($word), $kept, '… for another one');

$node->backup('base');
my $clone = PostgreSQL::Test::Cluster->new('clone');
$clone->init_from_backup($node, 'base', has_streaming => 1);
configure($clone, %setting, 'promgres.tier_server' => 'b', 'promgres.tier_delete_after' => '0');
$clone->start;
$node->wait_for_catchup($clone);
$kept = sql($word);
like(told($clone, q{SELECT prom.claim_bucket('b')}), qr/25006: /, 'a standby claims nothing before it is promoted');
is(sql($word), $kept, 'and has left the bucket as it was');
$clone->promote;
$clone->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
my $there = q{SELECT count(*) FROM prom._bucket_list('b', 'promgres/v1/')};
my $all = sql($there);
$clone->safe_psql('postgres', 'UPDATE prom.tier_object SET deleted = clock_timestamp()');
like(told($clone, 'CALL prom.tier()'), qr/no error.*WARNING: .*bucket "b" is left alone until .*HINT: .*prom\.claim_bucket\('b'\)/s, 'a promoted copy waits for the other to show itself');
like($clone->safe_psql('postgres', q{SELECT phase FROM prom.jobs WHERE name = 'tier'}), qr/^bucket "b" is left alone until /, '… as prom.jobs tells');
like(told($clone, $move), qr/55000: bucket "b" is left alone until/, '… by hand too');
is(sql($there), $all, 'and deletes nothing');
is($clone->safe_psql('postgres', q{SELECT count(*) FROM prom.tier_owner o WHERE o.due > o.renewed}), '1', 'it knows when the job of the other is to come');
$clone->safe_psql('postgres', q{UPDATE prom.tier_owner SET since = since - interval '4 hours', due = due + interval '1 day'});
like(told($clone, $move), qr/55000: bucket "b" is left alone until/, 'and waits for that, if it comes once a day');
sql('CALL prom.tier()');
$clone->safe_psql('postgres', q{UPDATE prom.tier_owner SET due = due - interval '1 day 4 hours'});
like(told($clone, $move), qr/55000: bucket "b" has another owner\nDETAIL:  Since .*HINT: .*promgres\.tier_server/s, 'it has: the copy refuses');
is(sql($there), $all, 'and deletes nothing');
like(told($node, $move), qr/no error/, 'the other goes on');
is(sql($there), $all, 'with all objects');

# A failover: nobody else comes.
sql(q{SELECT prom._bucket_put('b', 'promgres/owner/' || cluster, convert_to('} . $clone->safe_psql('postgres', 'SELECT word FROM prom.tier_owner') . q{', 'UTF8')) FROM prom.tier_cluster WHERE own});
$clone->safe_psql('postgres', 'UPDATE prom.tier_object SET deleted = NULL');
like(told($clone, $move), qr/no error/, 'a copy that has waited goes on by itself');
like(told($node, $move), qr/55000: bucket "b" has another owner/, 'and then the other one refuses');
sql(q{SELECT prom.claim_bucket('b')});
like(told($node, $move), qr/no error/, 'until it is told to be the owner');
like(told($clone, $move), qr/55000: bucket "b" has another owner/, 'so that it is one of them');
like(told($reader, q{SELECT prom.claim_bucket('b')}), qr/55000: bucket "b" holds no samples of this database/, 'a reader is none');
is(held($node), $before, 'all samples are there');
$clone->stop;

done_testing();

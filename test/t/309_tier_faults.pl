# What a bucket does wrong, seen by those who ask: a query that needs it has an error that names object and cause, or with
# partial_response what there is and a warning; one that does not goes on, and so do labels; nothing here is dropped and
# nothing there is forgotten.  A real S3, and before it a proxy for what that cannot be made to do.

use strict;
use warnings;

use Bucket;
use FindBin;
use IO::Socket::INET;
use IPC::Run qw(run);
use JSON::PP;
use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => bucket_missing() if bucket_missing();

my $s3 = start_radosgw(QUOTA => 1000);
my $proxy = start_proxy($s3->{port});
my $node = start_node(new_node('primary', 'promgres.merge_age' => '1s', 'promgres.compact_delay' => '-1', 'promgres.rollup_delay' => '-1',
	'promgres.tier_after' => '-1', 'promgres.tier_rollups_after' => '-1', 'promgres.tier_cache_size' => '0', 'promgres.tier_server' => 'b'));
my $url = "http://127.0.0.1:$proxy->{port}";
# (patient, so that a slow machine is no fault)
make_server($node, 'b', endpoint => $url, prefix => 'p', request_timeout => '30s', operation_timeout => '60s', retries => 1, transfers => 1);
make_server($node, 'tight', endpoint => "http://127.0.0.1:$s3->{port}", bucket => 'full', access_key_id => 'FULL');

sub sql { return $node->safe_psql('postgres', $_[0]) }

# The error, or what else came, with its warnings.
sub told
{
	my ($sql, $set) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n" . ($set // '') . $sql);
	return $ret == 0 ? "no error: $out\n$err" : $err;
}

sub http
{
	my ($path) = @_;
	my $answer = http_get($node, "/api/v1/$path");
	return ($answer->{status}, $answer->{content});
}

sub remote_read
{
	my ($from_ms, $to_ms) = @_;
	my $out = '';
	run([ 'python3', "$FindBin::Bin/../tools/remote_read.py", gateway_url($node, '/api/v1/read'), 'samples', $from_ms, $to_ms, '__name__=m' ], '>', \$out, '2>&1');
	return $out;
}

# ---- three days of eight series, two of them in the bucket

my $day_ms = 1_700_006_400_000;    # a midnight
my $second = $day_ms / 1000;
my $all_days = "to_timestamp($second - 86400), to_timestamp($second + 3 * 86400)";    # a sample at midnight is in rollups of the day before
remote_write($node, map { my $i = $_; [ { __name__ => 'm', i => $i }, map { [ $day_ms + $_ * 1_800_000, sqrt($_ * $i) ] } 0 .. 3 * 48 - 1 ] } 1 .. 8)->{status} == 204 or die 'not stored';
sql("CALL prom.merge(); CALL prom.downsample('0 s')");
my $before = held($node);
sql("CALL prom.tier(to_timestamp($second), to_timestamp($second + 2 * 86400))");
is(held($node), $before, 'all samples are there, in the bucket or here');
my $places = sub { return sql(<<'SQL') };
SELECT (SELECT count(*) || ' rows, ' || coalesce(sum(samples), 0) || ' samples here, ' FROM prom.warm) || (SELECT count(*) FROM prom.rollup) || ' of rollups, '
	|| (SELECT count(*) || ' objects ' || coalesce(sum(samples), 0) FROM prom.tier_object WHERE deleted IS NULL)
SQL
my $stays = $places->();
like($stays, qr/^[1-9]\d* rows, 384 samples here, [1-9]\d* of rollups, [1-9]\d* objects [1-9]/, "there are both: $stays");

my $range = sub { my ($from, $to) = @_; return sprintf q{to_timestamp(%d), to_timestamp(%d), '1h')}, $second + $from * 86400 + 10, $second + $to * 86400 - 10 };
my $far = q{SELECT count(*) FROM prom.query_range('m', } . $range->(0.5, 3);
my $near = q{SELECT count(*) FROM prom.query_range('m', } . $range->(2.5, 3);
my $samples = "SELECT count(*) FROM prom.samples_of('m', to_timestamp($second), to_timestamp($second + 3 * 86400))";
my $far_path = sprintf 'query_range?query=m&start=%d&end=%d&step=3600', $second + 43210, $second + 3 * 86400 - 10;
my $near_path = sprintf 'query_range?query=m&start=%d&end=%d&step=3600', $second + 216010, $second + 3 * 86400 - 10;
my $at_path = sprintf 'query?query=sum(m)&time=%d', $second + 43210;
my @label_paths = map { sprintf $_, $second + 10, $second + 86000 } ('series?match[]=m&start=%d&end=%d', 'labels?start=%d&end=%d', 'label/i/values?start=%d&end=%d');
my $answers = sub { return join ' ', sql($far), sql($near), sql($samples), (map { (http($_))[1] } $far_path, $near_path, $at_path, @label_paths), remote_read($day_ms, $day_ms + 3 * 86_400_000) };
$proxy->rules();
my $answered = $answers->();
my @labels = map { (http($_))[1] } @label_paths;
my ($near_answer) = sql($near);
like(join(' ', @labels), qr/"i":"8".*"__name__".*"8"/s, 'labels are told');
is(scalar(grep { $_->{path} =~ /list-type|uploads/ } @{ $proxy->log->{requests} }), 0, 'no query lists the bucket: that a listing is stale cannot matter');
unlike($answered, qr/FAILED|error/, 'all questions have answers');

# ---- what goes wrong, on the wire

my $s3_error = sub { my ($status, $code, %more) = @_; return { do => 'answer', status => $status, code => $code, %more } };
my $get = { method => 'GET', path => '/data-0' };
# name; what the proxy does; SQLSTATE; cause; status over HTTP; how often it is tried; what upload and bringing back say if it is something else
my @wire = (
	[ '500', $s3_error->(500, 'InternalError'), '08006', qr/500 InternalError/, 503, 2 ],
	[ '503 SlowDown', $s3_error->(503, 'SlowDown'), '08006', qr/503 SlowDown/, 503, 2 ],
	[ '503 for an hour', $s3_error->(503, 'SlowDown', headers => { 'Retry-After' => '3600' }), '08006', qr/503 SlowDown/, 503, 1 ],
	[ 'silence', { do => 'hang', seconds => 20 }, '08006', qr/timed out/i, 503, 2 ],
	[ 'a reset', { do => 'reset' }, '08006', qr/no whole answer/, 503, 2 ],
	[ 'a reset in the middle', { %$get, do => 'reset', at => 50 }, '08006', qr/no whole answer/, 503, 2 ],
	[ 'a body that is cut', { %$get, do => 'truncate', at => 50 }, '08006', qr/no whole answer/, 503, 2 ],
	[ 'a body that is shorter, and says so', { %$get, do => 'short', at => 50 }, 'XX001', qr/answered with bytes \d+ to \d+ of the object, of which 50 came/, 500, 2 ],
	[ 'a body that is altered', { %$get, do => 'alter', at => 50 }, 'XX001', qr/Its bytes are not what they should be/, 500, 2 ],
	[ 'another etag', { %$get, do => 'headers', headers => { ETag => '"other"' } }, '58030', qr/Its etag is "other" instead of/, 500, 2 ],
	[ 'an object that is missing', $s3_error->(404, 'NoSuchKey'), '58P01', qr/404 NoSuchKey/, 500, 1 ],
	[ 'no bucket', $s3_error->(404, 'NoSuchBucket'), '58030', qr/404 NoSuchBucket/, 500, 1 ],
	[ 'credentials that have expired', $s3_error->(400, 'ExpiredToken'), '58030', qr/400 ExpiredToken/, 500, 1 ],
	[ 'a clock that is wrong', $s3_error->(403, 'RequestTimeTooSkewed', headers => { Date => 'Sat, 01 Jan 2000 00:00:00 GMT' }), '58030', qr/403 RequestTimeTooSkewed.*Its clock says \d+ s less than ours/s, 500, 1 ],
	[ 'no permission', $s3_error->(403, 'AccessDenied'), '58030', qr/403 AccessDenied/, 500, 1 ]);

# ---- and what is real

my ($key) = split /\n/, sql("SELECT key FROM prom.tier_object WHERE resolution = 0 ORDER BY day LIMIT 1");
my $saved = sql("SELECT encode(prom._bucket_get('b', '$key'), 'hex')");
my $put_back = sub {
	# The bytes are the old ones, and so is their etag: it is their MD5.
	sql("SELECT prom._bucket_put('b', '$key', decode('$saved', 'hex'))");
};
my @real = (
	[ 'an object that was deleted', sub { sql("SELECT prom._bucket_delete('b', ARRAY['$key'])") }, $put_back, '58P01', qr/404 NoSuchKey/, 500 ],
	[ 'an object that was replaced', sub { sql("SELECT prom._bucket_put('b', '$key', set_byte(d, 50, get_byte(d, 50) # 255)) FROM prom._bucket_get('b', '$key') d") }, $put_back, '58030', qr/412|etag/, 500 ],
	[ 'an object that was cut', sub { sql("SELECT prom._bucket_put('b', '$key', substr(d, 1, 20)) FROM prom._bucket_get('b', '$key') d") }, $put_back, '58030|XX001', qr/412|etag|shorter/, 500 ],
	[ 'nobody who listens', sub { sql("ALTER SERVER b OPTIONS (SET endpoint 'http://127.0.0.1:@{[ free_port() ]}')") }, sub { sql("ALTER SERVER b OPTIONS (SET endpoint '$url')") },
		'08006', qr/no whole answer.*(connect|refused)/i, 503 ],
	[ 'a wrong secret', sub { sql("ALTER USER MAPPING FOR CURRENT_USER SERVER b OPTIONS (SET secret_access_key 'Zp9/unspeakable')") },
		sub { sql("ALTER USER MAPPING FOR CURRENT_USER SERVER b OPTIONS (SET secret_access_key 'SK')") }, '58030', qr/403 (?:SignatureDoesNotMatch|AccessDenied)/, 500 ],
	[ 'a bucket that is not there', sub { sql("ALTER SERVER b OPTIONS (SET bucket 'nowhere')") }, sub { sql("ALTER SERVER b OPTIONS (SET bucket 'metrics')") }, '58030|58P01', qr/404 NoSuchBucket/, 500 ]);

sub wrong
{
	my ($name, $state, $cause, $status) = @_;
	my $object = qr/could not get object "p\/promgres\/v1\/[^"]*\/data-0" of bucket "\w+" at [\w.:]+: /;

	foreach my $query ($far, $samples)
	{
		my $error = told($query);
		like($error, qr/(?:$state): $object.*$cause/s, "$name: the error names object and cause");
		like($error, qr/DETAIL:  It has samples of 2023-11-1[56] that the query reads.*HINT:  .*promgres\.partial_response/s, '… what is missing, and what to do');
	}
	foreach my $path ($far_path, $at_path)
	{
		my ($got, $content) = http($path);
		is($got, $status, "… over HTTP: $status");
		like(eval { decode_json($content)->{error} } // '', qr/$object/, '… with the object');
	}
	like(remote_read($day_ms, $day_ms + 3 * 86_400_000), qr/FAILED|HTTP Error $status|could not get/, '… remote read');
	is(sql($near), $near_answer, '… what is here is answered');
	is((http($near_path))[0], 200, '… over HTTP as well');
	is(join(' ', map { (http($_))[1] } @label_paths), join(' ', @labels), '… and labels are told');

	my $partial = told($far, "SET promgres.partial_response = on;\n");
	like($partial, qr/^no error: \d+\n.*WARNING:  01PRW: samples of 2023-11-1[56] are missing: $object.*$cause/s, '… partial_response: an answer with a warning in SQL');
	my ($got, $content) = http("$far_path&partial_response=true");
	my $answer = eval { decode_json($content) } // {};
	is("$got " . ($answer->{status} // '') . ' ' . @{ $answer->{data}{result} // [] }, '200 success 8', '… and over HTTP');
	like($answer->{warnings}[0] // '', qr/samples of 2023-11-1[56] are missing: $object/, '… with the warning');
	return;
}

sub nothing_moves
{
	my ($name, $cause) = @_;
	foreach my $call ("CALL prom.tier($all_days)", "CALL prom.rehydrate($all_days)")
	{
		# (What was brought back, or should have been, stays for a while.)
		sql('DELETE FROM prom.tier_hold');
		my $error = told($call);
		like($error, qr/ERROR:  \w{5}: could not (?:\w+ object "p\/promgres\/(?:v1|owner)\/[^"]+" of|list the uploads of) bucket "metrics" at /, "… $call: an error that names it");
		like($error, $cause, '… and the cause');
		is($places->(), $stays, '… and all stays where it is');
	}
	return;
}

foreach my $case (@wire)
{
	my ($name, $rule, $state, $cause, $status, $tries) = @$case;

	sql(q{ALTER SERVER b OPTIONS (SET request_timeout '500ms', SET operation_timeout '3s')}) if $name eq 'silence';
	# One query, to see what it asks for.
	$proxy->rules($rule);
	told($far);
	my %asked;
	$asked{"$_->{path} " . ($_->{headers}{range} // '')}++ foreach @{ $proxy->log->{requests} };
	is((sort { $b <=> $a } values %asked)[0], $tries, "$name: tried so often") or diag(explain \%asked);
	wrong($name, $state, $cause, $status);
	# Beyond the question whose bucket it is.
	$proxy->rules({ path => '/promgres/owner/', do => 'pass' }, $rule);
	nothing_moves($name, $cause);
	if ($tries > 1)
	{
		$proxy->rules({ %$rule, times => 1 });
		my ($got, $content) = http($far_path);
		is("$got " . @{ decode_json($content)->{data}{result} } . ' ' . (decode_json($content)->{warnings}[0] // ''), '200 8 ', '… that happens once is not noticed');
	}
	$proxy->rules();
	sql(q{ALTER SERVER b OPTIONS (SET request_timeout '30s', SET operation_timeout '60s')}) if $name eq 'silence';
}
foreach my $case (@real)
{
	my ($name, $do, $undo, $state, $cause, $status) = @$case;

	$do->();
	wrong($name, $state, $cause, $status);
	$undo->();
}
sql("DELETE FROM prom.tier_hold");
is(held($node), $before, 'nothing is lost of all that');
is($places->(), $stays, 'nor moved');
is($answers->(), $answered, 'and all questions have the answers that they had');

# ---- a full bucket

sql("ALTER SYSTEM SET promgres.tier_server = 'tight'");
$node->reload;
like(told("CALL prom.tier($all_days)"), qr/58030: could not put object "promgres\/(?:v1|owner)\/[^"]*" of bucket "full".*\nDETAIL:  It answered 40[39] QuotaExceeded.*\nHINT:  The bucket is full/, 'a full bucket: the error names object and cause');
is($places->(), $stays, '… and all stays where it is');
is($answers->(), $answered, '… and is answered');
sql("ALTER SYSTEM SET promgres.tier_server = 'b'");
$node->reload;

# ---- a listing that is stale

$proxy->rules({ path => 'list-type', do => 'keep' });
sql("SELECT * FROM prom._bucket_list('b', 'promgres/v1/')");
$proxy->rules({ path => 'list-type', do => 'stale' });
sql("CALL prom.tier($all_days)");
is(sql('SELECT count(*) FROM prom.warm'), '0', 'with a listing that is stale: days move');
is($answers->(), $answered, '… and are answered');
is(sql("SELECT * FROM prom.verify_bucket(read_all => true) WHERE problem <> 'nobody knows it'"), '', '… and what the listing lacks is not said to be missing');
$proxy->rules();
is(held($node), $before, '… equal');

# ---- queries that end: so do their transfers, as seen by the bucket

sql(q{ALTER SERVER b OPTIONS (SET operation_timeout '60s', SET request_timeout '60s')});
my $victim = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $victim->query('SELECT pg_backend_pid()');
my $other = $node->background_psql('postgres');

# Ask, and when the request hangs, do something; how long after that the bucket has seen the connection close, in ms.
sub closes_after
{
	my ($ask, $end) = @_;
	$proxy->rules({ do => 'hang', seconds => 60 });
	$ask->();
	my ($requests, @closed) = (0);
	my $look = sub { my $log = $proxy->log; $requests += @{ $log->{requests} }; push @closed, @{ $log->{closed} }; return };
	wait_for(sub { $look->(); $requests > 0 }, 'it asks the bucket') or return 1e9;
	my $since = $end->();
	wait_for(sub { $look->(); @closed >= $requests }, 'its connection is closed') or return 1e9;
	my ($last) = sort { $b <=> $a } @closed;
	return ($last - $since) * 1000;
}
my $psql_asks = sub { $victim->{stdin} .= "$far;\n"; $victim->{run}->pump_nb };
my $best = sub { return (sort { $a <=> $b } @_)[0] };
my $measured = sub { return join ', ', map { sprintf '%.1f', $_ } @_ };

my @took = map { closes_after($psql_asks, sub { $other->query("SELECT extract(epoch FROM clock_timestamp()) FROM (SELECT pg_cancel_backend($pid) OFFSET 0) c") }) } 1 .. 7;
note('measured: cancelled, connections closed after ' . $measured->(@took) . ' ms');
cmp_ok($best->(@took), '<', 100, 'a cancelled query closes its connections within 100 ms');
like($victim->query("SELECT 'alive'"), qr/alive/, 'and its session goes on');

my $client;
my $http_asks = sub {
	my ($more) = @_;
	$client = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port}) or die;
	print $client "GET /api/v1/$far_path" . ($more // '') . " HTTP/1.1\r\nHost: x\r\n\r\n";
	return;
};
@took = map { closes_after($http_asks, sub { my $now = time; close $client; return $now }) } 1 .. 5;
note('measured: client gone, connections closed after ' . $measured->(@took) . ' ms');
cmp_ok($best->(@took), '<', 1000, 'a client that hangs up ends them as well');
@took = map { my $begin; closes_after(sub { $begin = time; $http_asks->('&timeout=1s') }, sub { return $begin + 1 }) } 1 .. 3;
note('measured: timeout=1s, connections closed ' . $measured->(@took) . ' ms after it');
cmp_ok($best->(@took), '<', 1000, 'and so does the time limit of a request');

@took = (closes_after($psql_asks, sub { $other->query("SELECT extract(epoch FROM clock_timestamp()) FROM (SELECT pg_terminate_backend($pid) OFFSET 0) c") }));
note('measured: terminated, connections closed after ' . $measured->(@took) . ' ms');
cmp_ok($took[0], '<', 5000, 'a backend that is terminated closes them');
$victim->{run}->kill_kill;
$other->quit;
$proxy->rules();
is(sql($far), (split / /, $answered)[0], 'and the next query is answered');
ok(slurp_file($node->logfile) !~ /unspeakable(?!'\))|PANIC|terminated by signal/, 'no process crashed, and no secret is in the log');
done_testing();

# What a bucket can do wrong: errors, silence, resets, bodies cut and altered.  A proxy before a real S3 does it.

use strict;
use warnings;

use Bucket;
use IPC::Run qw(run);
use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(time sleep);

plan skip_all => bucket_missing() if bucket_missing();

my $s3 = start_radosgw();
my $proxy = start_proxy($s3->{port});
my $node = new_node('primary');
$node->append_conf('postgresql.conf', 'promgres.listen_addresses = \'\'');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION promgres');

my $url = "http://127.0.0.1:$proxy->{port}";
my $slow = $PostgreSQL::Test::Utils::timeout_default;
make_server($node, 'b', endpoint => $url, operation_timeout => '60s', storage_class => 'STANDARD');
make_server($node, 'once', endpoint => $url, retries => 0);
make_server($node, 'hasty', endpoint => $url, request_timeout => '300ms', operation_timeout => '2s');
make_server($node, 'keyed', endpoint => $url, encryption => 'aws:kms', kms_key_id => 'k-1', storage_class => 'COLD', retries => 0);

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub error_of
{
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n" . $_[0]);
	return $ret == 0 ? "no error: $out" : $err;
}

# The object "one" has 100,000 bytes, and each try of a rule is seen.
sql(q{SELECT prom._bucket_put('b', 'one', convert_to(string_agg(chr(97 + i % 26), '' ORDER BY i), 'UTF8')) FROM generate_series(0, 99999) i});
my $whole = q{SELECT length(d), md5(d) = (SELECT md5(string_agg(chr(97 + i % 26), '' ORDER BY i)) FROM generate_series(0, 99999) i) FROM prom._bucket_get('b', 'one') d};
my $range = q{SELECT convert_from(prom._bucket_get_range('b', 'one', NULL, 26, 5), 'UTF8')};
my $error = sub { my ($status, $code, %more) = @_; return { do => 'answer', status => $status, code => $code, %more } };
my $requests = sub { return scalar @{ $proxy->log->{requests} } };

# --- what is tried again

foreach my $case (
	[ '500', $error->(500, 'InternalError') ], [ '503 SlowDown', $error->(503, 'SlowDown') ], [ '503 without a body', { do => 'answer', status => 503 } ],
	[ '429', { do => 'answer', status => 429 } ], [ '400 RequestTimeout', $error->(400, 'RequestTimeout') ],
	[ 'reset before the answer', { do => 'reset' } ], [ 'reset in the middle of the body', { do => 'reset', at => 3 } ],
	[ 'a body that ends too early', { do => 'truncate', at => 3 } ], [ 'a body that is shorter, and says so', { do => 'short', at => 3 } ],
	[ 'another Content-Range', { do => 'headers', headers => { 'Content-Range' => 'bytes 0-4/100000' } } ],
	[ 'no Content-Range', { do => 'headers', headers => { 'Content-Range' => undef } } ],
	[ 'an answer that is no XML', { do => 'answer', status => 502, body => '<html><body>Bad gateway</html>' } ])
{
	$proxy->rules({ %{ $case->[1] }, times => 2 });
	is(sql($range), 'abcde', "a range after $case->[0]");
	is($requests->(), 3, 'at the third try');
}
foreach my $case ([ 'altered', { do => 'alter', at => 77777 } ], [ 'cut', { do => 'truncate', at => 77777 } ], [ 'shorter', { do => 'short', at => 77777 } ])
{
	$proxy->rules({ %{ $case->[1] }, times => 1 });
	is(sql($whole), '100000|t', "a body that was $case->[0] is asked for again");
	is($requests->(), 2, 'once');
}
$proxy->rules({ method => 'PUT', do => 'spoil', at => 5, times => 1 });
is(sql(q{SELECT convert_from(prom._bucket_get('b', 'two'), 'UTF8') FROM prom._bucket_put('b', 'two', 'what was written')}), 'what was written', 'an upload that was altered on its way');
$proxy->rules({ method => 'PUT', do => 'lose', times => 1 });
is(sql(q{SELECT convert_from(prom._bucket_get('b', 'two'), 'UTF8') FROM prom._bucket_put('b', 'two', 'and again')}), 'and again', 'an upload whose answer was lost');
$proxy->rules({ method => 'POST', path => 'uploadId', do => 'lose', times => 1 });
my $id = sql("SELECT prom._upload_begin('b', 'parts')");
sql("SELECT prom._upload_put('b', 'parts', '$id', 1, 'p')");
like(sql("SELECT prom._upload_complete('b', 'parts', '$id')"), qr/^".+"$/, 'an upload in parts whose completion was done, and its answer lost');
$proxy->rules({ method => 'POST', path => 'uploadId', times => 1, %{ $error->(200, 'InternalError') } });
$id = sql("SELECT prom._upload_begin('b', 'parts')");
sql("SELECT prom._upload_put('b', 'parts', '$id', 1, 'p')");
like(sql("SELECT prom._upload_complete('b', 'parts', '$id')"), qr/^".+"$/, 'one that failed with the status 200');

# --- what is not

foreach my $case (
	[ 'expired credentials', $error->(400, 'ExpiredToken', message => 'The provided token has expired.'), qr/58030: .*\nDETAIL:  It answered 400 ExpiredToken: "The provided token has expired\."\.\nHINT:  .*new credentials/ ],
	[ 'a clock that is wrong', $error->(403, 'RequestTimeTooSkewed', headers => { Date => 'Sat, 01 Jan 2000 00:00:00 GMT' }), qr/58030: .*\nDETAIL:  It answered 403 RequestTimeTooSkewed\. Its clock says \d+ s less than ours\.\nHINT:  Set the clock/ ],
	[ 'another region', $error->(301, 'PermanentRedirect', headers => { 'x-amz-bucket-region' => 'eu-west-7' }), qr/58030: .*\nDETAIL:  It answered 301 PermanentRedirect\.\nHINT:  Set the option "region" to "eu-west-7"/ ],
	[ 'an unknown key', $error->(403, 'InvalidAccessKeyId'), qr/58030: .*\nDETAIL:  It answered 403 InvalidAccessKeyId\.\nHINT:  .*access_key_id/ ],
	[ 'a wrong secret', $error->(403, 'SignatureDoesNotMatch'), qr/58030: .*\nDETAIL:  It answered 403 SignatureDoesNotMatch\.\nHINT:  .*secret_access_key/ ],
	[ 'a missing object', $error->(404, 'NoSuchKey'), qr/58P01: could not get object "one" of bucket "metrics" at 127\.0\.0\.1:\d+\nDETAIL:  It answered 404 NoSuchKey/ ],
	[ 'no permission', $error->(403, 'AccessDenied'), qr/58030: .*\nDETAIL:  It answered 403 AccessDenied\.\nHINT:  .*policies/ ],
	[ 'a full bucket', $error->(507, 'InsufficientStorage'), qr/58030: .*\nDETAIL:  It answered 507 InsufficientStorage\.\nHINT:  The bucket is full/ ])
{
	$proxy->rules($case->[1]);
	like(error_of($range), $case->[2], $case->[0]);
	is($requests->(), 1, 'is not tried again');
}
$proxy->rules($error->(403, 'AccessDenied', message => 'AK has the token AK'));
unlike(error_of($range), qr/\bAK\b/, 'a message with the access key is not shown');
$proxy->rules($error->(403, "Acc\x{1b}essDenied", message => "a\nb"));
unlike(error_of($range), qr/\x1b/, 'nor control characters');

# --- what stays wrong

foreach my $case (
	[ 'a wrong etag', q{SELECT prom._bucket_get_range('once', 'one', (SELECT etag FROM prom._bucket_head('b', 'one')), 0, 5)},
		{ method => 'GET', do => 'headers', headers => { ETag => '"other"' } }, qr/58030: .*\nDETAIL:  Its etag is "other" instead of / ],
	[ 'an altered body', q{SELECT prom._bucket_get('once', 'one')}, { do => 'alter', at => 5 }, qr/XX001: could not get object "one".*\nDETAIL:  Its bytes are not those of the SHA-256/ ],
	[ 'a body that is too long', q{SELECT prom._bucket_get_range('once', 'one', NULL, 0, 5)}, { do => 'answer', status => 206, body => 'x' x 100, headers => { 'Content-Range' => 'bytes 0-4/9' } },
		qr/XX001: .*\nDETAIL:  The answer is longer than it may be/ ],
	[ 'an answer to a range that is the whole', q{SELECT prom._bucket_get_range('once', 'one', NULL, 3, 5)}, { do => 'answer', status => 200, body => 'xxxxx' }, qr/XX001: .*\nDETAIL:  It answered with bytes 0 to 4/ ],
	[ 'a listing that is none', q{SELECT * FROM prom._bucket_list('once')}, { do => 'answer', status => 200, body => '<html/>' }, qr/58030: could not list bucket "metrics".*\nDETAIL:  Its answer is not what it should be/ ],
	[ 'a listing that is cut', q{SELECT * FROM prom._bucket_list('once')}, { do => 'answer', status => 200, body => '<ListBucketResult><Contents><Key>a' }, qr/58030: .*\nDETAIL:  Its answer is not what it should be/ ],
	[ 'a listing with a DOCTYPE', q{SELECT * FROM prom._bucket_list('once')}, { do => 'answer', status => 200, body => '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><ListBucketResult/>' }, qr/58030: .*\nDETAIL:  .*DOCTYPE/ ],
	[ 'a listing without end', q{SELECT * FROM prom._bucket_list('once')}, { do => 'answer', status => 200, body => '<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>' },
		qr/58030: .*\nDETAIL:  .*the same page comes again/ ],
	[ 'overload', q{SELECT prom._bucket_get('hasty', 'one')}, { do => 'answer', status => 503 }, qr/08006: .*\nDETAIL:  It answered 503\. It was tried \d times/ ],
	[ 'overload for an hour', q{SELECT prom._bucket_get('b', 'one')}, { do => 'answer', status => 503, headers => { 'Retry-After' => '3600' } }, qr/08006: .*\nDETAIL:  It answered 503\./ ])
{
	$proxy->rules($case->[2]);
	like(error_of($case->[1]), $case->[3], $case->[0]);
}
$proxy->rules({ path => 'list-type', do => 'keep', times => 1 }, { path => 'list-type', do => 'stale' });
is(sql("SELECT string_agg(key, ' ') FROM prom._bucket_list('b')"), 'one parts two', 'a listing');
sql("SELECT prom._bucket_put('b', 'three', '')");
is(sql("SELECT string_agg(key, ' ') FROM prom._bucket_list('b')"), 'one parts two', 'that is stale cannot be seen to be it');
is(sql("SELECT count(*) FROM prom._bucket_head('b', 'three')"), '1', 'but objects are looked at by name');
$proxy->rules({ method => 'PUT', path => '/n[0-9]', %{ $error->(501, 'NotImplemented') }, times => 1 });
is(sql("SELECT prom._bucket_put_new('b', 'n1', 'x'), prom._bucket_put_new('b', 'n1', 'y')"), 't|f', 'an S3 without conditional PUT is looked into first');

# --- deadlines

$proxy->rules({ do => 'hang' });
my $begin = time;
like(error_of(q{SELECT prom._bucket_get('hasty', 'one')}), qr/08006: .*\nDETAIL:  There was no whole answer: .*timed out.* It was tried \d times/i, 'silence ends at the deadline');
cmp_ok(time - $begin, '<', $slow / 2, 'and not much later');
$proxy->rules({ do => 'hang' });
like(error_of(q{SET statement_timeout = '200ms'; SELECT prom._bucket_get('b', 'one')}), qr/57014: canceling statement due to statement timeout/, 'statement_timeout holds');

# --- many at a time, and one that fails among them

$proxy->rules({ path => 'one', do => 'answer', status => 500, skip => 10, times => 30 }, { path => 'one', do => 'drip', seconds => 0.01 });
is(sql("SELECT count(*), count(body), sum(length(body)) FROM prom._bucket_get_ranges('b', 'one', "
		. '(SELECT array_agg(i * 100::int8 ORDER BY i) FROM generate_series(0, 99) i), array_fill(50, ARRAY[100]))'),
	'100|100|5000', '100 ranges, 30 answers of them errors');
is($requests->(), 130, 'each error costs one more');
$proxy->rules($error->(404, 'NoSuchKey', skip => 3, times => 1));
is(sql("SELECT count(*), count(body), count(*) FILTER (WHERE error ~ 'object \"one\" of bucket \"metrics\".*404') FROM prom._bucket_get_ranges('b', 'one', "
		. "'{0,1,2,3,4,5,6,7,8,9}', array_fill(5, ARRAY[10]))"), '10|9|1', 'one that fails does not end the others');
$proxy->rules();
is(sql("SELECT count(body) FROM prom._bucket_get_ranges('b', 'one', '{0}', '{5}')"), '1', 'and the next query goes on');
my $hashed = q{ARRAY[encode(sha256('abcde'), 'hex')]};
$proxy->rules({ do => 'alter', at => 2, times => 1 });
is(sql("SELECT convert_from(body, 'UTF8'), tries FROM prom._bucket_get_ranges('b', 'one', '{26}', '{5}', $hashed)"), 'abcde|2', 'a range that who knows its hash finds altered is asked for again');
$proxy->rules({ do => 'alter', at => 2 });
like(sql("SELECT error FROM prom._bucket_get_ranges('once', 'one', '{26}', '{5}', $hashed)"), qr/object "one".*Its bytes are not what they should be/, 'and not handed out');

# --- cancelling

$proxy->rules({ do => 'hang' });
my $psql = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $psql->query('SELECT pg_backend_pid()');
my @took;
my $seen = 0;
foreach my $n (1 .. 5)
{
	$psql->{stdin} .= q{SELECT count(*) FROM prom._bucket_get_ranges('b', 'one', array_fill(0::int8, ARRAY[20]), array_fill(5, ARRAY[20])) \g /dev/null} . "\n";
	$psql->{run}->pump_nb;
	$node->poll_query_until('postgres', "SELECT state = 'active' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid") or last;
	wait_for(sub { ($seen += $requests->()) >= 8 * $n }, 'its requests have come');
	my $canceller = "SELECT clock_timestamp() AS t, pg_cancel_backend($pid) \\gset\n"
	  . "DO \$\$ BEGIN WHILE (SELECT state FROM pg_stat_activity WHERE pid = $pid) = 'active' LOOP PERFORM pg_stat_clear_snapshot(), pg_sleep(0.001); END LOOP; END \$\$;\n"
	  . "SELECT extract(epoch FROM clock_timestamp() - :'t') * 1000;";
	push @took, sql($canceller);
}
note('measured: cancelled after ' . join(', ', map { sprintf '%.1f', $_ } @took) . ' ms');
is(scalar(@took), 5, 'a query that waits for a bucket can be cancelled');
my ($least) = sort { $a <=> $b } @took;
cmp_ok($least, '<', 100, 'within 100 ms');
is($seen + $requests->(), 5 * 8, 'eight requests were on their way at a time, of twenty');
$proxy->rules();
is($psql->query("SELECT count(body) FROM prom._bucket_get_ranges('b', 'one', '{0,1}', '{5,5}')"), '2', 'and its session goes on');
is($psql->query("DO \$\$ BEGIN PERFORM prom._bucket_get('wrong', 'x'); EXCEPTION WHEN OTHERS THEN END \$\$; SELECT count(body) FROM prom._bucket_get_ranges('b', 'one', '{0}', '{5}')"), '1', 'also after an error that was caught');
$psql->quit;

# --- what is sent

$proxy->rules($error->(403, 'AccessDenied'));
error_of(q{SELECT prom._bucket_put('keyed', 'x', 'y')});
my ($sent) = @{ $proxy->log->{requests} };
is(join(' ', map { $sent->{headers}{$_} // 'none' } qw(x-amz-storage-class x-amz-server-side-encryption x-amz-server-side-encryption-aws-kms-key-id)), 'COLD aws:kms k-1',
	'storage class and encryption');
like($sent->{headers}{authorization}, qr/SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-sha256;x-amz-server-side-encryption;x-amz-server-side-encryption-aws-kms-key-id;x-amz-storage-class,/,
	'are signed');

unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal/, 'no process crashed');
done_testing();

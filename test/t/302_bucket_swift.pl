# A bucket of an S3 of another make (Swift's s3api): what Ceph does not look at, or does otherwise.

use strict;
use warnings;

use Bucket;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

plan skip_all => 'no swift-proxy-server' unless grep { -x "$_/swift-proxy-server" } split /:/, $ENV{PATH};

my $port = start_swift();
my $node = new_node('primary');
$node->append_conf('postgresql.conf', 'promgres.listen_addresses = \'\'');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION promgres');

my %swift = (endpoint => "http://127.0.0.1:$port", access_key_id => 'test:tester', secret_access_key => 'testing');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub fails
{
	my ($sql, $like, $name) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	return like($ret == 0 ? "no error: $out" : $err, $like, $name);
}

make_server($node, 'b', %swift, prefix => 'p');
is(sql("SELECT string_agg(\"check\" || ' ' || ok, ', ') FROM prom.bucket_check('b')"),
	'credentials true, tls false, clock true, put true, put if new true, get true, get a range true, list true, delete true', 'the check');
is(sql("SELECT detail ~ 'not heeded' FROM prom.bucket_check('b') WHERE \"check\" = 'put if new'"), 't', 'there is no conditional PUT');
is(sql("SELECT prom._bucket_put_new('b', 'new', 'x'), prom._bucket_put_new('b', 'new', 'y'), convert_from(prom._bucket_get('b', 'new'), 'UTF8')"), 't|f|x',
	'and what is there is not written again all the same');

my $odd = join ', ', map { "E'$_'" } ('a b', 'a+b', 'a&b=c', "\xc3\xbc/%41~()*!\\':@,;?#\$[]{}|\\\\^`\"<>", 'a//b', 'tab\there', 'x%2Fy', 'a=1/b', '%');
is(sql("SELECT bool_and(prom._bucket_put('b', k, convert_to(k || k, 'UTF8')) <> '' AND prom._bucket_get('b', k) = convert_to(k || k, 'UTF8')) FROM unnest(ARRAY[$odd]) k"),
	't', 'keys with odd characters are written and read');
is(sql("SELECT array_agg(key ORDER BY key) = (SELECT array_agg(k ORDER BY k) FROM unnest(ARRAY[$odd, 'new']) k) FROM prom._bucket_list('b', page_size => 4)"),
	't', 'and listed');
is(sql("SELECT string_agg(key || ' ' || size, ', ') FROM prom._bucket_list('b', 'a', delimiter => '/')"), 'a b 6, a&b=c 10, a+b 6, a/ -1, a=1/ -1', 'a delimiter folds');
sql("SELECT prom._bucket_delete('b', ARRAY[$odd, 'new', 'not there'])");
is(sql("SELECT count(*) FROM prom._bucket_list('b')"), '0', 'several are deleted at once');

my $id = sql("SELECT prom._upload_begin('b', 'big')");
sql("SELECT prom._upload_put('b', 'big', '$id', 1, convert_to(repeat('a', 5 * 1024 * 1024), 'UTF8')), prom._upload_put('b', 'big', '$id', 2, 'b')");
is(sql("SELECT key, id = '$id' FROM prom._bucket_uploads('b', '')"), 'big|t', 'an upload that was begun is found');
is(sql("SELECT string_agg(part || ' ' || size, ', ') FROM prom._upload_parts('b', 'big', '$id')"), '1 5242880, 2 1', 'with its parts');
like(sql("SELECT prom._upload_complete('b', 'big', '$id')"), qr/^".+"$/, 'completed');
is(sql("SELECT convert_from(prom._bucket_get_range('b', 'big', h.etag, 5242879, 2), 'UTF8') FROM prom._bucket_head('b', 'big') h"), 'ab', 'it is an object');
fails("SELECT prom._bucket_get_range('b', 'big', NULL, 99999999, 5)", qr/XX001: .*\nDETAIL:  The object is shorter/, 'not more than there is');

make_server($node, 'wrong_region', %swift, region => 'eu-west-7');
make_server($node, 'wrong_key', %swift, access_key_id => 'test:nobody');
make_server($node, 'wrong_secret', %swift, secret_access_key => 'Zp9/unspeakable');
make_server($node, 'wrong_bucket', %swift, bucket => 'nowhere');
fails("SELECT prom._bucket_get('wrong_region', 'x')", qr/58030: .*\nDETAIL:  It answered 400 AuthorizationHeaderMalformed.*\nHINT:  Set the option "region" to "us-east-1"/, 'a wrong region');
fails("SELECT prom._bucket_get('wrong_key', 'x')", qr/58030: .*\nDETAIL:  It answered 403 .*\nHINT:  .*access_key_id/, 'a wrong key');
fails("SELECT prom._bucket_get('wrong_secret', 'x')", qr/58030: .*\nDETAIL:  It answered 403 SignatureDoesNotMatch.*\nHINT:  .*secret_access_key/, 'a wrong secret');
fails("SELECT prom._bucket_get('wrong_bucket', 'x')", qr/58030: .*\nDETAIL:  It answered 404 NoSuchBucket/, 'a wrong bucket');
ok(slurp_file($node->logfile) !~ /unspeakable/, 'no secret is in the log of the server');

done_testing();

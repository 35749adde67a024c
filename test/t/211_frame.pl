# What is around each answer: compression, origins, prefixes, methods, and hints of limits.

use strict;
use warnings;

use HTTP::Tiny;
use IO::Socket::INET;
use IO::Uncompress::Gunzip qw(gunzip);
use IO::Uncompress::Inflate qw(inflate);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary', 'promgres.path_prefix' => '/metrics-store'));
my $t = 1_700_000_000;
remote_write($node, map { [ { __name__ => 'wide', i => $_ }, [ $t * 1000, $_ / 3 ], [ ($t + 200) * 1000, $_ / 7 ] ] } 1 .. 60);
my $large = "/api/v1/query_range?query=wide&start=$t&end=@{[ $t + 400 ]}&step=50ms";
my $small = '/api/v1/query?query=1&time=1';

sub request
{
	my ($method, $path, %headers) = @_;
	return HTTP::Tiny->new(timeout => 180, keep_alive => 0)->request($method, gateway_url($node, $path), { headers => \%headers });
}

sub set
{
	my ($setting, $value) = @_;
	$node->append_conf('postgresql.conf', "$setting = '$value'");
	$node->reload;
	return;
}

# Compression.
my $plain = request('GET', $large);
is($plain->{headers}{'content-encoding'}, undef, 'who accepts no encoding gets none');
cmp_ok(length $plain->{content}, '>', 5_000_000, 'a large answer');
like($plain->{headers}{vary}, qr/Accept-Encoding/, 'caches know that there are others');
my %unpack = (gzip => \&gunzip, deflate => \&inflate);
foreach ([ 'gzip', 'gzip' ], [ 'deflate', 'deflate' ], [ 'br, deflate;q=0.1, gzip', 'deflate' ], [ 'snappy,GZIP;q=0.5', 'gzip' ])
{
	my ($accept, $encoding) = @$_;
	my $answer = request('GET', $large, 'Accept-Encoding' => $accept);
	is($answer->{headers}{'content-encoding'}, $encoding, "$accept: $encoding");
	cmp_ok(length $answer->{content}, '<', length($plain->{content}) / 5, 'which is smaller');
	$unpack{$encoding}->(\$answer->{content}, \my $content) or die 'not compressed';
	ok($content eq $plain->{content}, 'and the same');
}
is(request('GET', $large, 'Accept-Encoding' => $_)->{headers}{'content-encoding'}, undef, "Accept-Encoding: $_: none")
  foreach ('identity', 'br', 'xgzip', '');
is(request('GET', $small, 'Accept-Encoding' => 'gzip')->{headers}{'content-encoding'}, undef, 'what is small is sent as it is');

# All on one connection: a compressed answer has an end that clients see.
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port}) or die $!;
print $socket "GET $large HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
  . "GET $small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
my $all = do { local $/; <$socket> };
like($all, qr{^HTTP/1\.1 200 .*?\r\nTransfer-Encoding: chunked\r\n.*\r\n0\r\n\r\nHTTP/1\.1 200 .*\[1,"1"\]\}\}$}s, 'a connection goes on after a compressed answer');

# A client that goes away within a compressed answer is no trouble.
foreach my $i (1 .. 5)
{
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port}) or die $!;
	print $socket "GET $large HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
	sysread($socket, my $bytes, 1000);
	close $socket;
}
is(request('GET', $small)->{status}, 200, 'clients may go away within a compressed answer');

# Methods.
my $head = request('HEAD', $large);
is("$head->{status} $head->{content}", '200 ', 'HEAD has no body');
is($head->{headers}{'content-length'}, length $plain->{content}, 'but its length');
is(request('HEAD', $_)->{status}, 200, "HEAD $_") foreach ('/-/healthy', '/-/ready', '/api/v1/labels', '/api/v1/status/buildinfo');
is(request('HEAD', '/api/v1/write')->{status}, 405, 'HEAD of what cannot be read');
foreach ([ DELETE => '/api/v1/query', 'GET, HEAD, POST' ], [ POST => '/api/v1/metadata', 'GET, HEAD' ],
	[ GET => '/api/v1/admin/tsdb/snapshot', 'POST, PUT' ], [ GET => '/api/v1/receive', 'POST' ])
{
	my ($method, $path, $allow) = @$_;
	my $answer = request($method, $path);
	is("$answer->{status} $answer->{headers}{allow}", "405 $allow", "$method $path");
}
is(request('OPTIONS', $_)->{status}, 204, "OPTIONS $_") foreach ('/api/v1/query', '/api/v1/write', '/api/v1/anything');

# Parameters of the URL and of a form are one.
my $both = sub {
	my ($url, @form) = @_;
	return http_post($node, "/api/v1/$url", \@form)->{content};
};
like($both->('query?time=5', query => 'time()'), qr/\[5,"5"\]/, 'a parameter in the URL, another in the form');
like($both->('query?time=5&query=1', query => 'time()', time => 6), qr/\[6,"6"\]/, 'the form wins');
is($both->('series?match[]=wide{i="2"}', 'match[]' => 'wide{i="1"}'),
	'{"status":"success","data":[{"__name__":"wide","i":"1"},{"__name__":"wide","i":"2"}]}', 'repeated ones are joined');
is(http_post($node, '/api/v1/query?query=1&time=1', '{"query": "2"}', 'Content-Type' => 'application/json')->{content},
	'{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}', 'a body that is no form is passed over');

# Origins.
my $origin = 'https://grafana.example.com';
is(request('GET', $small)->{headers}{'access-control-allow-origin'}, undef, 'no origin, no word of it');
is(request('GET', $small, Origin => $origin)->{headers}{'access-control-allow-origin'}, '*', 'any origin is allowed at first');
set('promgres.cors_origin', 'https://(grafana|prom)[.]example[.]com');
ok( wait_for(
		sub { (request('GET', $small, Origin => $origin)->{headers}{'access-control-allow-origin'} // '') eq $origin }, 'the setting'),
	'then those of the setting');
foreach my $other ('https://evil.com', "$origin.evil.com", "x$origin", 'https://grafanaXexample.com')
{
	my $answer = request('OPTIONS', '/api/v1/query', Origin => $other);
	is($answer->{headers}{'access-control-allow-origin'}, undef, "not $other");
	like($answer->{headers}{vary}, qr/Origin/, 'and caches know');
}
my $options = request('OPTIONS', '/api/v1/query', Origin => $origin);
is($options->{headers}{'access-control-allow-origin'}, $origin, 'a browser may ask before');
is($options->{headers}{'access-control-allow-methods'}, 'GET, POST, OPTIONS', 'for methods');
is($options->{headers}{'access-control-allow-headers'}, 'Accept, Authorization, Content-Type, Origin', 'and headers');
is($options->{headers}{'access-control-expose-headers'}, 'Date', 'and may read the date');
isnt($node->psql('postgres', "ALTER SYSTEM SET promgres.cors_origin = '('"), 0, 'what is no regular expression is refused');
set('promgres.cors_origin', '');
ok(wait_for(sub { !defined request('GET', $small, Origin => $origin)->{headers}{'access-control-allow-origin'} }, 'none'), 'none, if it is empty');

# Prefixes.
foreach my $prefix ('', '/metrics-store', '/prometheus', '/metrics-store/prometheus', '/api/prom', '/select/42/prometheus')
{
	is(request('GET', "$prefix$small")->{status}, 200, "$prefix$small");
	is(request('GET', "$prefix/-/healthy")->{status}, 200, "$prefix/-/healthy");
}
is(request('GET', $_)->{status}, 404, "not $_") foreach ("/metrics-store2$small", "/metrics$small", '/metrics-store', "/select/prometheus$small");
isnt($node->psql('postgres', "ALTER SYSTEM SET promgres.path_prefix = '$_'"), 0, "\"$_\" is no prefix") foreach ('a', '/a/', '/', '/a?b');
set('promgres.path_prefix', '/other');
ok(wait_for(sub { request('GET', "/other$small")->{status} == 200 }, 'the prefix'), 'the prefix can change');
is(request('GET', "/metrics-store$small")->{status}, 404, 'the former is gone');

# Unknown paths are text: so clients know them.
foreach my $path ('/api/v1/nothing', '/api/v2/status', '/config/v1/rules')
{
	my $answer = request('GET', $path);
	is("$answer->{status} $answer->{content}", "404 404 page not found\n", $path);
	like($answer->{headers}{'content-type'}, qr{^text/plain}, 'as text');
}

# A limit names its setting.
set('promgres.query_max_samples', '10');
my $limited;
ok( wait_for(
		sub {
			$limited = request('GET', "/api/v1/query?query=wide&time=$t");
			$limited->{status} == 422;
		},
		'the limit'),
	'a limit on samples');
my $error = decode_json($limited->{content});
is_deeply([ sort keys %$error ], [qw(error errorType status)], 'is an error like others');
like($error->{error}, qr/^query processing would load too many samples into memory in query execution \(hint: .*"promgres\.query_max_samples"\.\)$/,
	'that begins as Prometheus\' and ends with the setting');

# So does what is offered only if that is set, wherever it is in the query.
foreach my $case ([ 'limitk(1, up)', '1:1: parse error: limitk() is experimental and not enabled' ],
	[ 'abs(mad_over_time(up[5m]))', '1:5: parse error: function "mad_over_time" is not enabled' ],
	[ 'rate(up[5m] smoothed)', '1:6: parse error: smoothed modifier is experimental and not enabled' ],
	[ 'up[step()]', '1:4: parse error: experimental duration expression is not enabled' ])
{
	my ($query, $text) = @$case;
	my $answer = request('GET', "/api/v1/query?time=$t&query=" . $query =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ger);
	is($answer->{status}, 400, "$query is bad data");
	is(decode_json($answer->{content})->{error},
		qq(invalid parameter "query": $text (hint: Turn on "promgres.promql_experimental".)), 'that names the setting');
}

done_testing();

# OTLP over HTTP: both formats, encodings, chunked bodies, and answers in the format of the request.

use strict;
use warnings;

use IO::Compress::Gzip qw(gzip $GzipError);
use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary', 'promgres.otlp_promote_resource_attributes' => 'host.name'));
my $t = time * 1000;
my $protobuf = 'application/x-protobuf';
my $json = 'application/json';

sub post
{
	my ($body, $type, %headers) = @_;
	return http_post($node, '/api/v1/otlp/v1/metrics', $body, 'Content-Type' => $type, %headers);
}

sub zipped
{
	my ($bytes) = @_;
	gzip(\$bytes => \my $out) or die $GzipError;
	return $out;
}

sub value_of
{
	my ($selector) = @_;
	return $node->safe_psql('postgres', "SELECT string_agg(value::text, ' ' ORDER BY labels, t_ms) FROM prom.samples_of('$selector')");
}

my %resource = ('service.name' => 'shop', 'service.instance.id' => 'i1', 'host.name' => 'h1');
my $good = otlp_body(\%resource, [ 'http.requests', 5, $t, { path => '/' } ]);
my $answer = post($good, $protobuf);
is($answer->{status}, 200, 'protobuf is stored');
is($answer->{content}, '', 'with an empty response');
is($answer->{headers}{'content-type'}, $protobuf, 'in protobuf');
is($node->safe_psql('postgres', q{SELECT labels || ' ' || value FROM prom.samples_of('http_requests_total')}),
	'{__name__="http_requests_total", host_name="h1", instance="i1", job="shop", path="/"} 5', 'named and labelled as Prometheus does');

my $number = 0;
foreach my $path ('/v1/metrics', '/opentelemetry/v1/metrics', '/opentelemetry/api/v1/push', '/insert/0/opentelemetry/v1/metrics')
{
	$number++;
	is(http_post($node, $path, otlp_body({}, [ "path.$number", 1, $t ]), 'Content-Type' => $protobuf)->{status}, 200, $path);
	is(value_of("path_${number}_total"), 1, 'the same');
}

# JSON, as OpenTelemetry's SDKs write it.
my $message = sub {
	my ($name, $temporality) = @_;
	return encode_json({ resourceMetrics => [ { resource => { attributes => [ { key => 'service.name', value => { stringValue => 'j' } } ] },
		scopeMetrics => [ { metrics => [ { name => $name, sum => { aggregationTemporality => $temporality, isMonotonic => JSON::PP::true,
			dataPoints => [ { timeUnixNano => $t . '000000', asInt => '9' } ] } } ] } ] } ] });
};
$answer = post($message->('json.sent', 2), "$json; charset=utf-8");
is($answer->{status}, 200, 'JSON is stored');
is($answer->{content}, '{}', 'with an empty response');
is($answer->{headers}{'content-type'}, $json, 'in JSON');
is(value_of('json_sent_total'), 9, 'it is there');

# Encodings.
is(post(zipped(otlp_body({}, [ 'zipped', 3, $t ])), $protobuf, 'Content-Encoding' => 'gzip')->{status}, 200, 'gzip');
is(post(zipped(otlp_body({}, [ 'zipped', 4, $t + 1 ])) . zipped(otlp_body({}, [ 'zipped', 5, $t + 2 ])), $protobuf, 'Content-Encoding' => 'gzip')->{status}, 200, 'two members');
is(post(zipped($message->('zipped', 2)), $json, 'Content-Encoding' => 'GZIP')->{status}, 200, 'gzip around JSON');
is(value_of('zipped_total'), '3 4 5 9', 'they are there');
is(post($good, $protobuf, 'Content-Encoding' => 'br')->{status}, 415, 'no other encoding');
is(post($good, $_)->{status}, 415, "content type $_") foreach ('text/plain', 'application/jsonx', '');
is(http_get($node, '/api/v1/otlp/v1/metrics')->{status}, 405, 'GET');


# A body in chunks.
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port}) or die $!;
my $chunked = otlp_body({}, map { [ 'chunked', $_, $t + $_ ] } 1 .. 200);
print $socket "POST /v1/metrics HTTP/1.1\r\nHost: a\r\nContent-Type: $protobuf\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
printf $socket "%x\r\n%s\r\n", length($_), $_ foreach unpack '(a700)*', $chunked;
print $socket "0\r\n\r\n";
$socket->flush;
like(do { local $/; readline $socket }, qr/^HTTP\/1\.1 200 /, 'chunks are put together');
is($node->safe_psql('postgres', q{SELECT count(*) FROM prom.samples_of('chunked_total')}), 200, 'all of them');

# Points that cannot be taken: the rest is stored, and the answer counts them.
$answer = post($message->('delta.sent', 1), $json);
is($answer->{status}, 200, 'delta: partial success');
my $partial = decode_json($answer->{content})->{partialSuccess};
is($partial->{rejectedDataPoints}, '1', 'counted');
like($partial->{errorMessage}, qr/metric "delta\.sent"/, 'and named');
$answer = post(otlp_body({}, [ 'far', 1, $t + 90_000_000_000 ], [ 'near', 2, $t ]), $protobuf);
is($answer->{status}, 200, 'partial success in protobuf');
like($answer->{content}, qr/^\x0a.\x08\x01\x12.out of bounds: timestamp \d+ ms is too far in the future; 1 other samples stored$/s, 'with number and reason');
is(value_of('near_total'), 2, 'the rest is stored');

# What is no message is refused for good, in the format of the request.
$answer = post('{"resourceMetrics":', $json);
is($answer->{status}, 400, 'bad JSON');
is_deeply(decode_json($answer->{content}), { code => 3, message => 'json: The input string ended unexpectedly.' }, 'a status in JSON');
$answer = post("\x0a\x7f", $protobuf);
is($answer->{status}, 400, 'bad protobuf');
like($answer->{content}, qr/^\x08\x03\x12.protobuf: /s, 'a status in protobuf');
is($answer->{headers}{'content-type'}, $protobuf, 'which says so');
is(post(substr(zipped($good), 0, 30), $protobuf, 'Content-Encoding' => 'gzip')->{status}, 400, 'a gzip body cut off');
is(post(zipped("\0" x (65 << 20)), $protobuf, 'Content-Encoding' => 'gzip')->{status}, 400, 'a gzip body that grows too large');

# Acknowledged is durable.
is(post(otlp_body({}, [ 'durable', 1, $t ]), $protobuf)->{status}, 200, 'sent before a crash');
kill_server($node);
ok(restart_killed($node), 'restart');
is(value_of('durable_total'), 1, 'it is there');

# What will pass is a reason to come again.
ok(wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is ready'), 'ready');
$node->safe_psql('postgres', 'ALTER FUNCTION prom.ingest(bytea[], text[]) RENAME TO away');
$answer = post($good, $protobuf);
is($answer->{status}, 503, 'without the extension: 503');
is($answer->{headers}{'retry-after'}, 1, 'and when to come again');
like($answer->{content}, qr/^\x08\x0e\x12/, 'a status that says unavailable');

$node->stop;
done_testing();

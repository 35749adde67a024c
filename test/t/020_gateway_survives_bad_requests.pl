# Requests that a client or a proxy could not have meant: each gets a clear answer, none gets a second
# request smuggled in, and the gateway goes on.

use strict;
use warnings;

use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary',
		'promgres.max_body_size' => '64kB', 'promgres.max_header_size' => '16kB'));
my $gateway = worker_pid($node, 'promgres gateway');
my $post = "POST /api/v1/write HTTP/1.1\r\nHost: a\r\n";
my $get = "GET /-/healthy HTTP/1.1\r\nHost: a\r\n";

# Send bytes on a connection of their own and read until the gateway closes it; all it said.
sub talk
{
	my ($bytes) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port},
		Timeout => $PostgreSQL::Test::Utils::timeout_default) or die "connect: $!";
	local $SIG{PIPE} = 'IGNORE';
	local $SIG{ALRM} = sub { die "timeout\n" };
	my $out = '';

	eval {
		alarm $PostgreSQL::Test::Utils::timeout_default;
		print $socket $bytes;
		$socket->flush;
		while (sysread($socket, my $part, 65536)) { $out .= $part }
		alarm 0;
	};
	alarm 0;
	return $@ ? "$out<$@>" : $out;
}

# The status, and that the connection was closed with nothing after the one answer but itself.
sub refused
{
	my ($bytes, $status, $what) = @_;
	my $said = talk($bytes);
	my ($got) = $said =~ m{^HTTP/1\.1 (\d+)};

	is($got, $status, "$what: $status");
	unlike($said, qr/Healthy|<timeout/, "$what: nothing else is answered, and the connection ends");
	return;
}

my $smuggled = "${get}\r\n";

refused("${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$smuggled", 400,
	'both Content-Length and Transfer-Encoding');
refused("${post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n$smuggled", 400,
	'the same the other way round');
refused("${post}Content-Length: 0\r\nContent-Length: 0\r\n\r\n$smuggled", 400, 'Content-Length twice');
refused("${post}Content-Length: 3\r\nContent-Length: 40\r\n\r\nabc$smuggled", 400, 'two different Content-Lengths');
refused("${post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n$smuggled", 400, 'two transfer encodings');
refused("${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n$smuggled", 400,
	'two Transfer-Encodings');
refused("${post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n$smuggled", 400, 'an unknown transfer encoding');
refused("${post}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n$smuggled", 400, 'a folded Transfer-Encoding');
refused("${get}X-Folded: a\r\n b\r\n\r\n", 400, 'a folded header');
refused("${post}Content-Length : 5\r\n\r\n$smuggled", 400, 'a blank before the colon');
refused("${post}X: a\rContent-Length: 5\r\n\r\n$smuggled", 400, 'a CR alone in a header');
refused("${post}X: a\r\r\nContent-Length: 5\r\n\r\n$smuggled", 400, 'two CRs at the end of a header');
refused("${post}Transfer-Encoding: chunked\0x\r\nX: a\r\n\r\n0\r\n\r\n$smuggled", 400, 'a zero byte in a header');
refused("${post}Transfer-Encoding: chunked\0x\r\n\r\n0\r\n\r\n$smuggled", 400, 'a zero byte in the last header');
refused("${post}: x\r\nX: a\r\n\r\n$smuggled", 400, 'a header without a name');
refused("${get}Host: b\r\n\r\n$smuggled", 400, 'two hosts');
refused("${get}Two words: 1\r\n\r\n", 400, 'a blank in a header name');
refused("${get}nonsense\r\n\r\n", 400, 'a header without a colon');
refused("${post}Content-Length: $_\r\n\r\n$smuggled", 400, "Content-Length: $_")
  foreach ('+5', '-1', '0x10', '5, 5', 'five');
refused("${post}Content-Length: 99999999999999999999\r\n\r\n", 413, 'a Content-Length beyond 64 bits');
refused("${post}Content-Length: 4294967296\r\n\r\n", 413, 'a body of 4 GiB');
refused("${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, 'a malformed chunk');
refused("GET /-/ready HTTP/1.1\r\n\r\n", 400, 'no Host');
refused("GET /-/ready\r\n\r\n", 400, 'no version');
refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, 'HTTP/2 without asking');
refused($get . 'X: ' . 'a' x 100_000 . "\r\n\r\n", 431, 'headers beyond promgres.max_header_size');
refused('GET /' . 'a' x 100_000 . " HTTP/1.1\r\nHost: a\r\n\r\n", 414, 'a path beyond promgres.max_header_size');

# The cap holds for a body that does not say its size, whether it ends or not.
my $chunk = "8000\r\n" . 'x' x 0x8000 . "\r\n";
refused("${post}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" . $chunk x 3 . "0\r\n\r\n", 413, 'a chunked body that is too large');
unlike(talk("${post}Transfer-Encoding: chunked\r\n\r\n" . $chunk x 100), qr/<timeout/, 'a body without end is cut');

like(talk("${post}Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n"), qr{^HTTP/1.1 413 (?!.*100 Continue)}s,
	'a body that is too large is not asked for');
like(talk("POST /api/v1/labels HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\n"
		. "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 8\r\n\r\nlimit=-1"),
	qr{^HTTP/1.1 100 .*HTTP/1.1 400 .*non-negative}s, 'Expect: 100-continue works');

# Many and long headers, up to the limit, are no reason to refuse a request.
foreach my $lines (1, 2, 7, 80)
{
	my $headers = join '', map { "X-$_: " . 'a' x int(8_000 / $lines - 9) . "\r\n" } 1 .. $lines;
	like(talk("${get}Cookie: a=b; c=d\r\n${headers}Connection: close\r\n\r\n"), qr{^HTTP/1.1 200 }, "$lines headers in 8 kB");
}
like(talk("GET /-/healthy HTTP/1.1\nHost: a\nX: b\nConnection: close\n\n"), qr{^HTTP/1.1 200 }, 'lines may end with LF alone');

# Requests that come at once are answered one after the other.
my @answers = talk($get . "\r\n" . "GET /api/v1/labels HTTP/1.1\r\nHost: a\r\n\r\n" x 3
	. $get . "Connection: close\r\n\r\n") =~ m{HTTP/1\.1 (\d+)}g;
is("@answers", '200 200 200 200 200', 'pipelined requests are answered in order');

# Paths and methods.
foreach ([ GET => '/nothing', 404 ], [ GET => '/api/v1/nothing', 404 ], [ GET => '/', 200 ],
	[ PUT => '/api/v1/query', 405, 'GET, HEAD, POST' ], [ GET => '/api/v1/write', 405, 'POST' ],
	[ POST => '/api/v1/label/a/values', 405, 'GET, HEAD' ], [ HEAD => '/-/healthy', 200 ],
	[ OPTIONS => '/api/v1/query', 204 ], [ GET => '/prometheus/api/v1/labels', 200 ],
	[ GET => '/api/v1/label/a/b/values', 404 ])
{
	my ($method, $path, $status, $allow) = @$_;
	my $answer = HTTP::Tiny->new->request($method, gateway_url($node, $path));
	is($answer->{status}, $status, "$method $path: $status");
	is($answer->{headers}{allow}, $allow, "$method $path: Allow") if defined $allow;
}

# Bytes that are no HTTP at all, from many connections that say nothing more.
srand 1;
my @silent = map {
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port});
	syswrite($socket, join '', map { chr int rand 256 } 1 .. 100);
	$socket
} 1 .. 50;
is(http_get($node, '/-/healthy')->{content}, "promgres is Healthy.\n", 'it answers beside garbage');
close $_ foreach @silent;

is(worker_pid($node, 'promgres gateway'), $gateway, 'the gateway is the same process as before');
is(http_get($node, '/-/ready')->{status}, 200, 'and is ready');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|exception/, 'nothing in the log');
done_testing();

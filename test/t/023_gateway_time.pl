# Slow clients, long queries, clients that hang up, too many of all: each has its limit.

use strict;
use warnings;

use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Socket qw(SO_RCVBUF inet_aton);
use Test::More;
use Time::HiRes qw(sleep time);

my $node = start_node(new_node('primary', 'promgres.request_timeout' => '1s', 'promgres.query_connections' => 2));
my $t = 1_700_000_000;
remote_write($node, map { [ { __name__ => 'm', i => $_ }, [ $t * 1000, 1 ] ] } 1 .. 10);

sub connect_gateway
{
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port}) // die "connect: $!";
}

# A client that sends a byte now and then is cut, wherever it is in its request.
foreach ([ 'request line', 'GET /-/healthy HT' ], [ headers => "GET /-/healthy HTTP/1.1\r\nHost: a\r\nX: " ],
	[ body => "POST /api/v1/write HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" ])
{
	my ($what, $begin) = @$_;
	my $socket = connect_gateway();
	local $SIG{PIPE} = 'IGNORE';

	print $socket $begin;
	$socket->flush;
	$socket->blocking(0);
	ok(wait_for(
			sub {
				syswrite($socket, 'x');
				my $got = sysread($socket, my $said, 1000);
				return defined $got ? $got == 0 : !$!{EAGAIN};
			},
			'the connection is closed'),
		"a client that is slow with its $what is cut");
}

# A query that takes long: a lock makes any query wait as long as we like.
my ($holder, $in, $out, $err);

sub lock_series
{
	$holder //= IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>', \$err);
	$in .= "BEGIN; LOCK TABLE prom.series IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n";
	IPC::Run::pump($holder) until $out =~ /locked/;
	$out = '';
	return;
}

sub unlock_series
{
	$in .= "ROLLBACK; SELECT 'unlocked';\n";
	IPC::Run::pump($holder) until $out =~ /unlocked/;
	$out = '';
	return;
}

sub waiting_queries
{
	return $node->safe_psql('postgres',
		q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'promgres query' AND state = 'active'});
}

my $ask = "GET /api/v1/query?query=m&time=$t HTTP/1.1\r\nHost: a\r\n\r\n";

# It has a connection by then: who waits for one is told otherwise.
is(http_get($node, "/api/v1/query?query=m&time=$t")->{status}, 200, 'a query');
lock_series();
my $answer = http_get($node, "/api/v1/query?query=m&timeout=300ms");
is($answer->{status}, 503, 'a query beyond its timeout');
is_deeply(decode_json($answer->{content}),
	{ status => 'error', errorType => 'timeout', error => 'query timed out in expression evaluation' }, 'is told so');

my $socket = connect_gateway();
print $socket $ask;
$socket->flush;
ok(wait_for(sub { waiting_queries() == 1 }, 'the query runs'), 'a query runs');
close $socket;
ok(wait_for(sub { waiting_queries() == 0 }, 'the query ends'), 'and ends when its client hangs up');

# Health does not wait behind queries, and what has no connection waits its time.
my @sockets = map { my $s = connect_gateway(); print $s $ask; $s->flush; $s } 1 .. 5;
ok(wait_for(sub { waiting_queries() == 2 }, 'two queries run'), 'promgres.query_connections run at once');
is(http_get($node, '/-/ready')->{status}, 200, 'ready while all query connections are busy');
$answer = http_get($node, '/api/v1/query?query=m&timeout=300ms');
is(decode_json($answer->{content})->{error}, 'query timed out in query queue', 'time in the queue counts');

$node->append_conf('postgresql.conf', 'promgres.query_connections = 4');
$node->reload;
ok(wait_for(sub { waiting_queries() == 4 }, 'four queries run'), 'promgres.query_connections takes effect on reload');
unlock_series();
foreach my $s (@sockets)
{
	my $said = '';
	while ($said !~ /\}\]\}\}$/) { sysread($s, $said, 65536, length $said) or last }
	like($said, qr{^HTTP/1\.1 200 }, 'a query that waited is answered');
}

# promgres.query_timeout, on reload.
$node->append_conf('postgresql.conf', "promgres.query_timeout = '200ms'");
$node->reload;
lock_series();
ok(wait_for(sub { HTTP::Tiny->new(timeout => 180)->get(gateway_url($node, '/api/v1/query?query=m'))->{status} == 503 },
		'queries time out'),
	'promgres.query_timeout takes effect on reload');
unlock_series();

$node->append_conf('postgresql.conf', "promgres.query_timeout = '1min'\npromgres.max_response_size = '64kB'");
$node->reload;
ok(wait_for(sub { http_get($node, "/api/v1/query_range?query=m&start=$t&end=@{[$t + 300]}&step=50ms")->{status} == 422 },
		'a large answer fails'),
	'an answer beyond promgres.max_response_size fails');
is(http_get($node, "/api/v1/query?query=m&time=$t")->{status}, 200, 'the next query works');

# Clients that ask for much and read none of it.
remote_write($node, map { [ { __name__ => 'many', i => $_ }, [ $t * 1000, 1 ] ] } 1 .. 40);
$node->append_conf('postgresql.conf', "promgres.request_timeout = '10min'\npromgres.max_response_size = '12MB'");
$node->reload;
my $much = "/api/v1/query_range?query=many&start=$t&end=@{[$t + 297]}&step=27ms";
ok(wait_for(sub { http_get($node, $much)->{status} == 200 }, 'the settings are read'), 'an answer of many megabytes');
my @greedy = map {
	my $socket = IO::Socket::INET->new(Proto => 'tcp') // die "socket: $!";
	$socket->sockopt(SO_RCVBUF, 4096);
	$socket->connect($node->{gateway_port}, inet_aton('127.0.0.1')) or die "connect: $!";
	syswrite($socket, "GET $much HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	$socket
} 1 .. 8;
my $refused;
ok(wait_for(sub { ($refused = http_get($node, $much))->{status} == 503 }, 'an answer is refused'),
	'answers that nobody reads have a limit together');
like($refused->{content}, qr/too many answers/, 'with the reason');
is($refused->{headers}{'retry-after'}, 1, 'and when to come again');
close $_ foreach @greedy;
ok(wait_for(sub { http_get($node, $much)->{status} == 200 }, 'an answer is given'), 'and when their clients have gone, all is well');
$node->append_conf('postgresql.conf', "promgres.request_timeout = '1s'");
$node->reload;

$in .= "\\q\n";
IPC::Run::finish($holder);
undef $holder;

# Clients beyond promgres.max_connections wait until there is room.
$node->append_conf('postgresql.conf', "promgres.max_connections = 10\npromgres.request_timeout = '3s'");
$node->restart;
ok(wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is ready'), 'restarted');
my $began = time;
my @silent = map { connect_gateway() } 1 .. 10;
is(http_get($node, '/-/healthy')->{status}, 200, 'one more client is served');
cmp_ok(time - $began, '>', 1, 'when the silent ones were cut');
close $_ foreach @silent;

# A server that stops tells those who wait to come again.
lock_series();
$socket = connect_gateway();
print $socket $ask;
$socket->flush;
ok(wait_for(sub { waiting_queries() == 1 }, 'the query runs'), 'a query runs while the server is stopped');
$node->stop;
like(join('', <$socket>), qr{^HTTP/1\.1 503 }, 'and is answered with 503');
done_testing();

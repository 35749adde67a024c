# Remote write over HTTP: what is refused, what is kept, and who may come again.

use strict;
use warnings;

use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary', 'promgres.max_body_size' => '1MB'));
my $t = 1_700_000_000_000;

sub write_bytes
{
	my ($body, %headers) = @_;
	return http_post($node, '/api/v1/write', $body, 'Content-Type' => 'application/x-protobuf', %headers);
}

sub count_samples
{
	return $node->safe_psql('postgres',
		q{SELECT count(*) FROM prom.samples_of('{__name__=~".+"}', '-infinity', 'infinity')});
}

my $good = write_body([ { __name__ => 'kept' }, [ $t, 1 ] ]);

my $answer = write_bytes($good);
is($answer->{status}, 204, 'a body is stored');
is($answer->{content} // '', '', 'and nothing said');
is(count_samples(), 1, 'and it is there when the answer is');

is(write_bytes($good, 'Content-Type' => $_)->{status}, 204, "content type $_")
  foreach ('application/x-protobuf;proto=prometheus.WriteRequest',
	'application/x-protobuf; proto=prometheus.WriteRequest', 'application/x-protobuf;a=b');
is(write_bytes($good, 'Content-Type' => $_)->{status}, 415, "content type $_")
  foreach ('application/json', 'application/x-protobuf;proto=Other', 'application/x-protobuf;proto', 'application/x-protobufs');
is(write_bytes($good, 'Content-Encoding' => 'snappy')->{status}, 204, 'encoding snappy');
is(write_bytes($good, 'Content-Encoding' => $_)->{status}, 415, "encoding $_") foreach ('gzip', 'identity');
is(http_post($node, '/api/v1/push', $good, 'Content-Type' => 'application/x-protobuf')->{status}, 204, '/api/v1/push is the same');
is(count_samples(), 1, 'a sample written again counts once');

is(write_bytes('')->{status}, 400, 'an empty body');
is(write_bytes('nonsense')->{status}, 400, 'nonsense');
is(write_bytes("\xff\xff\xff\xff\x0f")->{status}, 400, 'a body that claims 4 GiB');
like(write_bytes(substr($good, 0, length($good) - 3))->{content}, qr/\w/, 'a truncated body is told why');
is(write_bytes('x' x (2 << 20))->{status}, 413, 'a body over promgres.max_body_size');

# Many senders at once, one of them bad: it alone is refused.
my @sockets;
foreach my $i (0 .. 39)
{
	my $body = $i == 20 ? 'nonsense' : write_body([ { __name__ => 'many', i => $i }, [ $t, $i ] ]);
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port}) or die $!;
	print $socket "POST /api/v1/write HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
	  . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
	$socket->flush;
	push @sockets, $socket;
}
my @status = map { local $/; my $said = readline $_; $said =~ m{^HTTP/1\.1 (\d+)} ? $1 : 0 } @sockets;
is(join(' ', @status), join(' ', map { $_ == 20 ? 400 : 204 } 0 .. 39), 'one bad body harms no other');
is(count_samples(), 40, 'all the others are stored');

# What will pass is a reason to come again, not to give up.
$node->safe_psql('postgres', 'ALTER FUNCTION prom.ingest(bytea[], text[]) RENAME TO away');
$answer = write_bytes($good);
is($answer->{status}, 503, 'without the extension: 503');
like($answer->{content}, qr/extension promgres is missing/, 'and why');
is($answer->{headers}{'retry-after'}, 1, 'and when to come again');
$node->safe_psql('postgres', 'ALTER FUNCTION prom.away(bytea[], text[]) RENAME TO ingest');
is(write_bytes($good)->{status}, 204, 'with it, it works again');

$node->append_conf('postgresql.conf', 'default_transaction_read_only = on');
$node->reload;
ok(wait_for(sub { write_bytes($good)->{status} == 503 }, 'writes are refused'), 'a read-only server says 503');
$node->append_conf('postgresql.conf', 'default_transaction_read_only = off');
$node->reload;
ok(wait_for(sub { write_bytes($good)->{status} == 204 }, 'writes are taken'), 'and takes writes when it is not');

# A backend that goes takes no data along: the sender hears 503 or the next one works.
$node->safe_psql('postgres',
	q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'promgres ingest%'});
ok(wait_for(sub { write_bytes($good)->{status} == 204 }, 'writes are taken'), 'a terminated backend is replaced');

$node->append_conf('postgresql.conf', "promgres.database = 'nowhere'");
$node->reload;
ok(wait_for(sub { write_bytes($good)->{status} == 503 }, 'writes are refused'), 'a missing database: 503');
is(http_get($node, '/-/ready')->{status}, 503, 'and not ready');
is(http_get($node, '/-/healthy')->{status}, 200, 'but healthy');
is(http_post($node, '/api/v1/write?get_vm_proto_version=1', '')->{content}, '1', 'an agent of VictoriaMetrics hears that it may send zstd');
write_bytes($good) foreach 1 .. 20;
$node->append_conf('postgresql.conf', "promgres.database = 'postgres'");
$node->reload;
ok(wait_for(sub { write_bytes($good)->{status} == 204 }, 'writes are taken'), 'promgres.database takes effect on reload');
is(count_samples(), 40, 'nothing was lost or counted twice');

$node->stop;
my @said = slurp_file($node->logfile) =~ /LOG:  (promgres gateway cannot work .*nowhere.*)/g;
is(scalar @said, 1, 'a missing database is logged once');
done_testing();

# Limits over HTTP: who is refused hears which metric and which setting; nothing waits without bound.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary', 'promgres.max_body_size' => '1MB'));
my $t = 1_700_000_000_000;

sub write_series
{
	return http_post($node, '/api/v1/write', write_body(@_), 'Content-Type' => 'application/x-protobuf');
}

sub set
{
	my ($setting, $value) = @_;
	$node->append_conf('postgresql.conf', "$setting = $value");
	$node->reload;
	return;
}

sub series_of
{
	my ($metric) = @_;
	return $node->safe_psql('postgres',
		"SELECT count(*) FROM prom.series WHERE prom.label(labels, '__name__') = '$metric'");
}

# Series: the rest of the body is stored, and nobody needs to come again.
my @many = map { [ { __name__ => 'many', i => $_ }, [ $t, 1 ] ] } 1 .. 3;
is(write_series(@many[ 0, 1 ])->{status}, 204, 'two series of a metric');
set('promgres.max_series_per_metric', 2);
my $probes = 0;
wait_for(sub { write_series([ { __name__ => 'probe', i => $probes++ }, [ $t, 1 ] ])->{status} == 400 }, 'the limit is in force');
my $answer = write_series($many[2], [ { __name__ => 'other' }, [ $t, 1 ] ]);
is($answer->{status}, 400, 'a third is refused for good');
like($answer->{content}, qr/metric "many".*promgres\.max_series_per_metric = 2/, 'with the metric, the setting and its value');
unlike($answer->{content}, qr/\n./, 'in one line');
is($answer->{headers}{'retry-after'}, undef, 'and no word of coming again');
is(series_of('other'), 1, 'the other series of the body is stored');
is(write_series(@many[ 0, 1 ])->{status}, 204, 'the two go on');
is(series_of('many'), 2, 'and are two');
set('promgres.max_series_per_metric', 0);
ok(wait_for(sub { write_series(@many)->{status} == 204 }, 'the limit is gone'), 'without the limit all are taken');

# Rate: a burst is taken, then senders wait; they hear how long.
my $burst = [ { __name__ => 'burst' }, map { [ $t + $_, 1 ] } 1 .. 5000 ];
set('promgres.max_samples_per_second', 1000);
ok( wait_for(
		sub {
			$answer = write_series($burst);
			$answer->{status} == 429;
		},
		'the rate is limited'),
	'too many samples a second: 429');
like($answer->{content}, qr/promgres\.max_samples_per_second = 1000/, 'with the setting and its value');
like($answer->{headers}{'retry-after'}, qr/^[1-9]\d*$/, 'and when to come again');
cmp_ok($answer->{headers}{'retry-after'}, '<=', 10, 'which is when the debt is paid');
is(http_get($node, '/api/v1/query?query=1')->{status}, 200, 'queries are not concerned');
ok(wait_for(sub { write_series(@many)->{status} == 204 }, 'the debt is paid'), 'then samples are taken again');
set('promgres.max_samples_per_second', 0);
ok(wait_for(sub { write_series($burst)->{status} == 204 && write_series($burst)->{status} == 204 }, 'the limit is gone'),
	'without the limit all are taken');

# Send each body on a connection of its own, do not wait for the answers.
sub send_bodies
{
	my %socket;

	foreach my $i (0 .. $#_)
	{
		my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port}) or die $!;
		print $socket "POST /api/v1/write HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: "
		  . length($_[$i]) . "\r\n\r\n$_[$i]";
		$socket->flush;
		$socket{$i} = $socket;
	}
	return \%socket;
}

# Take the answers that are there out of the sockets.
sub answers
{
	my ($socket, $status, $retry) = @_;

	foreach my $i (keys %$socket)
	{
		next unless IO::Select->new($socket->{$i})->can_read(0);
		my $said = do { local $/; readline delete $socket->{$i} } // '';
		$status->{$i} = $said =~ m{^HTTP/1\.1 (\d+)} ? $1 : 0;
		$$retry++ if $said =~ /^Retry-After: [1-9]/m;
	}
	return scalar keys %$status;
}

sub gateway_kb
{
	my $pid = worker_pid($node, qr/promgres gateway/);
	return slurp_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : die 'no VmRSS';
}

# Storing hangs: bodies wait up to a bound, in number and in bytes, others come again.  Then it goes on,
# and what was acknowledged is there.
foreach my $case (
	[ 'number', 450, 60, sub { write_body([ { __name__ => 'number', i => $_[0] }, [ $t, 1 ] ]) } ],
	[ 'bytes', 80, 60, do
		{
			my $bulk = series_bytes([ { __name__ => 'bulk' }, map { [ $t + $_, $_ ] } 1 .. 40000 ]);
			sub { snappy(series_bytes([ { __name__ => 'bytes', i => $_[0] }, [ $t, 1 ] ]) . $bulk) }
		} ])
{
	my ($name, $sent, $refused, $body) = @$case;
	my @bodies = map { $body->($_) } 1 .. $sent;
	my $lock = $node->background_psql('postgres');
	my (%status, $retry);

	$lock->query_safe('BEGIN; LOCK TABLE prom.series IN SHARE ROW EXCLUSIVE MODE');
	my $before = gateway_kb();
	my $socket = send_bodies(@bodies);
	ok(wait_for(sub { answers($socket, \%status, \$retry) >= $refused }, 'bodies are refused'),
		"$name: what is too much is refused at once");
	is(join(' ', sort { $a <=> $b } keys %{ { reverse %status } }), '503', "$name: with status 503");
	is($retry, keys %status, "$name: and Retry-After");
	cmp_ok(gateway_kb() - $before, '<', 40_000, "$name: the gateway's memory is bounded");
	is(http_get($node, '/-/healthy')->{status}, 200, "$name: it answers others");
	$lock->query_safe('COMMIT');
	$lock->quit;
	ok(wait_for(sub { answers($socket, \%status, \$retry) == $sent }, 'all are answered'), "$name: those who waited are answered");
	my $acknowledged = join ' ', sort map { $_ + 1 } grep { $status{$_} == 204 } keys %status;
	is($acknowledged =~ tr/ // + 1, (grep { $_ != 503 } values %status), "$name: with 204");
	is( $node->safe_psql('postgres',
			qq{SELECT string_agg(i, ' ' ORDER BY i COLLATE "C") FROM (SELECT prom.label(labels, 'i') AS i FROM prom.series WHERE prom.label(labels, '__name__') = '$name') s}),
		$acknowledged, "$name: what was acknowledged is stored, nothing else is");
}

$node->stop;
done_testing();

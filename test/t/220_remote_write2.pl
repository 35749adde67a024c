# Remote write 2.0 over HTTP: which version a body is, what the sender is told was written, and that
# what was acknowledged stays.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use POSIX ();
use Test::More;

my $node = start_node(new_node('primary'));
my $t = 1_700_000_000_000;
my $type = 'application/x-protobuf;proto=io.prometheus.write.v2.Request';

sub send2
{
	my ($body, %headers) = @_;
	return http_post($node, '/api/v1/write', $body, 'Content-Type' => $type, 'Content-Encoding' => 'snappy',
		'X-Prometheus-Remote-Write-Version' => '2.0.0', %headers);
}

sub written
{
	my ($answer) = @_;
	return join ' ', map { $answer->{headers}{"x-prometheus-remote-write-$_-written"} // 'none' } qw(samples histograms exemplars);
}

my $good = write_body2([ { __name__ => 'two', job => 'a' }, [ $t, 1 ], [ $t + 1000, 2 ] ], [ { __name__ => 'two', job => 'b' }, [ $t, 3 ] ]);
my $answer = send2($good);
is($answer->{status}, 204, 'a body is stored');
is(written($answer), '3 0 0', 'and the sender is told how much');
is($node->safe_psql('postgres', q{SELECT string_agg(labels || ' ' || t_ms || ' ' || value, ',' ORDER BY labels, t_ms) FROM prom.samples_of('two')}),
	join(',', map { qq({__name__="two", job="$_->[0]"} $_->[1] $_->[2]) } [ 'a', $t, 1 ], [ 'a', $t + 1000, 2 ], [ 'b', $t, 3 ]), 'as it was sent');

is(written(send2($good)), '3 0 0', 'sent again it is acknowledged again');
is($node->safe_psql('postgres', q{SELECT count(*) FROM prom.samples_of('two')}), 3, 'and stored once');

# The type of the body decides, not the header of the version.
is(send2($good, 'X-Prometheus-Remote-Write-Version' => '0.1.0')->{status}, 204, 'the version is that of the content type');
is(send2($good, 'Content-Type' => 'application/x-protobuf; a=b ; proto=io.prometheus.write.v2.Request')->{status}, 204, 'blanks and other parameters');
is(send2($good, 'Content-Type' => $_)->{status}, 415, "content type $_")
  foreach ('application/x-protobuf;proto=io.prometheus.write.v3.Request', 'application/x-protobuf;proto=io.prometheus.write.v2.Requestx');
is(send2($good, 'Content-Encoding' => 'gzip')->{status}, 415, 'gzip is not in the protocol');
$answer = send2(write_body([ { __name__ => 'one' }, [ $t, 1 ] ]), 'Content-Type' => 'application/x-protobuf;proto=prometheus.WriteRequest');
is($answer->{status}, 204, 'version 1 as ever');
is(written($answer), 'none none none', 'without these headers');

# A part that is bad is refused for good, and the rest is told to be written.
$answer = send2(write_body2([ { job => 'nameless' }, [ $t, 1 ] ], [ { __name__ => 'three' }, [ $t, 1 ], [ $t + 90_000_000_000_000, 1 ] ]));
is($answer->{status}, 400, 'a bad part: 400');
is(written($answer), '1 0 0', 'with what was written');
like($answer->{content}, qr/^label set has no metric name: \{job="nameless"\} \(and 1 more refused\); 1 other samples stored$/, 'and why not all');
$answer = send2(snappy("\x22\x01x"));
is($answer->{status}, 400, 'malformed: 400');
is(written($answer), '0 0 0', 'and nothing written');

# Both versions and OTLP go into one call when they wait together, and each gets its own answer.
my $timestamp = time * 1000;
my @jobs = map {
	my $i = $_;
	my @kinds = (
		sub { http_post($node, '/api/v1/write', write_body([ { __name__ => 'mixed_total', i => $i }, [ $timestamp, $i ] ]), 'Content-Type' => 'application/x-protobuf')->{status} == 204 },
		sub { written(send2(write_body2([ { __name__ => 'mixed_total', i => $i }, [ $timestamp, $i ] ]))) eq '1 0 0' },
		sub { http_post($node, '/v1/metrics', otlp_body({}, [ 'mixed', $i, $timestamp, { i => $i } ]), 'Content-Type' => 'application/x-protobuf')->{status} == 200 });
	my $pid = fork // die $!;
	POSIX::_exit($kinds[$i % 3]->() ? 0 : 1) if $pid == 0;
	$pid;
} 0 .. 29;
my $failed = 0;
foreach my $pid (@jobs)
{
	waitpid $pid, 0;
	$failed++ if $?;
}
is($failed, 0, 'senders of all kinds at once');
is($node->safe_psql('postgres', q{SELECT count(DISTINCT labels) || ' ' || sum(value) FROM prom.samples_of('mixed_total')}), '30 435', 'all of it is there');

# What was acknowledged is there after the server was killed.
my $acknowledged = 0;
foreach my $round (1 .. 2)
{
	foreach (1 .. 50)
	{
		my $n = $acknowledged;
		last unless written(send2(write_body2([ { __name__ => 'durable' }, [ $t + 1000 * $n, $n ] ]))) eq '1 0 0';
		$acknowledged++;
	}
	kill_server($node);
	ok(restart_killed($node), "restart $round");
	ok(wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is ready'), 'ready');
	is($node->safe_psql('postgres', q{SELECT count(*) || ' ' || sum(value) FROM prom.samples_of('durable')}),
		$acknowledged . ' ' . $acknowledged * ($acknowledged - 1) / 2, 'acknowledged is durable');
}
is($acknowledged, 100, 'all were acknowledged');

# What will pass is a reason to come again.
$node->safe_psql('postgres', 'ALTER FUNCTION prom.ingest(bytea[], text[]) RENAME TO away');
$answer = send2($good);
is($answer->{status}, 503, 'without the extension: 503');
is(written($answer), 'none none none', 'and nothing is said to be written');

$node->stop;
done_testing();

# Remote read: both response types give every stored sample bit for bit; matchers, times, external labels and
# errors are as Prometheus has them; an answer is made no faster than its client takes it.

use strict;
use warnings;

use FindBin;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = start_node(new_node('primary'));
my ($first, $last) = ($Promgres::sample_end_ms - 10_800_000, $Promgres::sample_end_ms);
my $tool = "$FindBin::Bin/../tools/remote_read.py";

sub ask_at
{
	my ($path, @args) = @_;
	my $output = '';
	IPC::Run::run([ 'python3', $tool, gateway_url($node, $path), @args ], '>' => \$output, '2>&1')
	  or return "FAILED $output";
	return $output;
}

sub ask { return ask_at('/api/v1/read', @_) }

# What SQL says, in the words of the tool; ORDER BY that of label sets.
sub stored
{
	my ($selector, $from, $to, $query) = @_;
	return $node->safe_psql('postgres', <<"SQL") . "\n";
SET client_encoding = 'UTF8';
SELECT format('%s %s %s %s', @{[ $query // 0 ]}, labels::jsonb, t_ms, encode(float8send(value), 'hex'))
FROM prom.samples_of(\$s\$$selector\$s\$, 'epoch'::timestamptz + $from * interval '1 ms', 'epoch'::timestamptz + $to * interval '1 ms')
ORDER BY labels, t_ms
SQL
}

# JSON of the two has its keys in different orders.
sub canonical
{
	my ($text) = @_;
	return join "\n", map {
		my ($query, $json, $rest) = /^(\d+) (\{.*\}) (\S+ \S+)$/s or return "UNEXPECTED $_";
		"$query " . JSON::PP->new->canonical->encode(JSON::PP->new->decode($json)) . " $rest"
	} split /\n/, $text;
}

is(remote_write($node, sample_series())->{status}, 204, 'samples are written');
# as large as values and times may jump
is( remote_write($node,
		[ { __name__ => 'jumps' }, map { [ $_->[0], $_->[1] ] }
			[ 1000, 0 ], [ 1001, -0.0 ], [ 9193, 1 ], [ 9194, 5e-324 ], [ 74_731, -1.7976931348623157e308 ],
			[ 74_732, 'nan' ], [ 599_021, 9**9**9 ], [ 599_022, 'stale' ], [ 1_700_000_000_000, 3 ], [ 1_700_000_000_001, 3 ],
			[ 1_700_000_000_002, 1 / 3 ] ])->{status},
	204, 'and samples that jump');

foreach my $moment ('fresh', 'merged')
{
	foreach my $kind ('samples', 'chunks')
	{
		my $all = stored('{__name__=~".+"}', 0, $last);
		cmp_ok(length $all, '>', 1_000_000, "$moment: there is much") if $kind eq 'samples';
		ok(canonical(ask($kind, 0, $last, '__name__=~.+')) eq canonical($all), "$moment, $kind: every sample, bit for bit, in order");
		is(canonical(ask($kind, $last - 60_000, $last, '__name__=temperature', 'instance!=host2:9100', 'job=~a.p', 'instance!~host[34].*')),
			canonical(stored('temperature{instance!="host2:9100",job=~"a.p",instance!~"host[34].*"}', $last - 60_000, $last)),
			"$moment, $kind: matchers of all kinds, both ends included");
		is( canonical(ask($kind, 0, $last, '__name__=ends', '--', '__name__=nix', '--', '__name__=special')),
			canonical(stored('ends', 0, $last) . stored('special', 0, $last, 2)),
			"$moment, $kind: several queries, one of them empty; stale markers are told");
	}
	$node->safe_psql('postgres', 'CALL prom.merge()') if $moment eq 'fresh';
}
$node->append_conf('postgresql.conf', "work_mem = '64kB'\nlog_temp_files = 0");
$node->reload;
ok( wait_for(
		sub {
			canonical(ask('samples', 0, $last, '__name__=~.+')) eq canonical(stored('{__name__=~".+"}', 0, $last))
			  && slurp_file($node->logfile) =~ /temporary file:.*\n.*_api_read/;
		},
		'samples go through files'),
	'samples that work_mem does not hold: the same');
is(ask('chunks', $last, $first, '__name__=~.+'), '', 'a time that ends before it begins: nothing');
is(ask('samples', $last, $first, '__name__=~.+'), '', 'also as samples');
is(ask('chunks', '-9223372036854775808', '9223372036854775807', '__name__=ends'), ask('chunks', 0, $last, '__name__=ends'), 'all times there are');
is(ask_at('/api/v1/query', 'chunks', 0, $last, '__name__=ends'), ask('chunks', 0, $last, '__name__=ends'), 'the same where queries are asked');

# Errors: text, and 400 for what the client did.
like(ask('chunks', 0, $last, '__name__=~('), qr/^400 .*regular expression/, 'bad regular expression');
foreach my $case ([ 'nonsense', qr/snappy/ ], [ '', qr/snappy/ ], [ "\x02\x04\x12\x07", qr/truncated|length|malformed/ ], [ "\x02\x04\x10\x07", qr/response types/ ])
{
	my $answer = http_post($node, '/api/v1/read', $case->[0], 'Content-Type' => 'application/x-protobuf');
	is($answer->{status}, 400, 'a malformed request is refused');
	like($answer->{content}, $case->[1], 'and why is said');
	like($answer->{headers}{'content-type'}, qr{^text/plain}, 'as text');
}
is(http_post($node, '/api/v1/read', 'x', 'Content-Encoding' => 'gzip')->{status}, 415, 'another encoding');
is(http_get($node, '/api/v1/read')->{status}, 405, 'GET');
$node->safe_psql('postgres', 'ALTER SYSTEM SET promgres.query_max_samples = 100');
$node->reload;
ok(wait_for(sub { ask('samples', 0, $last, '__name__=~.+') =~ /^400 .*too many samples/ }, 'the limit holds'), 'the limit of samples: 400');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET promgres.query_max_samples');

# External labels: added where they lack, and matched.
$node->append_conf('postgresql.conf', q(promgres.external_labels = '{replica="a", job="x"}'));
$node->reload;
ok(wait_for(sub { ask('chunks', 0, $last, '__name__=ends') =~ /"replica": "a"/ }, 'external labels'), 'a series gets the external labels');
like(ask('samples', 0, $last, '__name__=ends'), qr/"job": "app", "replica": "a"/, 'that it lacks');
is(ask('chunks', 0, $last, '__name__=ends', 'replica=a'), ask('chunks', 0, $last, '__name__=ends'), 'and can be found by one');
is(ask('chunks', 0, $last, '__name__=ends', 'replica=b'), '', 'not by another value');
$node->append_conf('postgresql.conf', q(promgres.external_labels = 'nonsense{'));
$node->reload;
ok(wait_for(sub { slurp_file($node->logfile) =~ /invalid value for parameter "promgres.external_labels"/ }, 'the log'), 'a mistake is told in the log');
like(ask('chunks', 0, $last, '__name__=ends'), qr/"replica": "a"/, 'and the former labels stay');
$node->append_conf('postgresql.conf', q(promgres.external_labels = ''));
$node->reload;

# A client that does not read holds neither memory nor a backend for ever.
$node->safe_psql('postgres', 'ALTER SYSTEM SET promgres.request_timeout = 6000');
$node->reload;
foreach my $part (0 .. 19)
{
	my $body = [ { __name__ => 'big', part => $part }, map { [ $first + $_ * 100, sin($_ * 1.37 + $part) ] } 0 .. 49_999 ];
	remote_write($node, $body)->{status} == 204 or fail('a part is written');
}
my $memory = sub {
	my ($kb) = slurp_file('/proc/' . worker_pid($node, qr/promgres gateway/) . '/status') =~ /^VmRSS:\s+(\d+)/m;
	return $kb;
};
my $before = $memory->();
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port}) or die $!;
my $inner = "\x1a\x0f\x12\x08__name__\x1a\x03big";
my $query = "\x10" . Promgres::varint($last) . $inner;
my $message = "\x0a" . chr(length $query) . $query . "\x10\x01";
my $body = chr(length $message) . chr((length($message) - 1) << 2) . $message;
print $socket "POST /api/v1/read HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
my $running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%_api_read%' AND state = 'active' AND pid <> pg_backend_pid()";
ok(wait_for(sub { $node->safe_psql('postgres', $running) eq '1' }, 'it is read'), 'a large answer is under way');
ok(wait_for(sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND query LIKE '%_api_read%'") eq '1' },
		'the backend waits'), 'the backend waits for the client');
my $after = $memory->();
note "gateway: $before kB before, $after kB while the client does not read";
cmp_ok($after - $before, '<', 4_000, 'the gateway holds little of it');
is(http_get($node, '/api/v1/query?query=1')->{status}, 200, 'others are served');
ok(wait_for(sub { $node->safe_psql('postgres', $running) eq '0' }, 'the statement is gone'), 'a client that never reads is given up, its statement cancelled');
close $socket;
$node->safe_psql('postgres', 'ALTER SYSTEM RESET promgres.request_timeout');
reload_gateway($node);
my $whole = ask('chunks', 0, $last, '__name__=big');
is(scalar(() = $whole =~ /\n/g), 20 * 50_000, 'one that reads gets all');

# And one that goes in the middle.
$socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port}) or die $!;
print $socket "POST /api/v1/read HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
sysread $socket, my $some, 10_000;
close $socket;
ok(wait_for(sub { $node->safe_psql('postgres', $running) eq '0' }, 'the statement is gone'), 'a client that hangs up: its statement is cancelled');
is(http_get($node, '/-/ready')->{status}, 200, 'the gateway is well');
$node->stop;
done_testing();

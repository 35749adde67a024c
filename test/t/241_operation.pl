# Operation: a standby answers everything that reads; slow queries delay no write, their clients' going ends
# them; idle connections cost little; a reload drops none; after a crash all is back by itself.

use strict;
use warnings;

use FindBin;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = start_node(new_node('primary', 'promgres.request_timeout' => '60s'));
my $now_ms = int(time) * 1000;

sub value
{
	my ($server, $metric) = @_;
	my ($value) = http_get($server, '/metrics')->{content} =~ /^\Q$metric\E (\S+)$/m;
	return $value;
}

sub connect_gateway
{
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{gateway_port}) // die "connect: $!";
}

# One request on a connection that stays; its status, and the connection must be there for the next.
sub say_hello
{
	my ($socket, $path) = @_;
	my $got = '';

	print $socket "GET $path HTTP/1.1\r\nHost: a\r\n\r\n" or return 'closed';
	$socket->flush;
	until ($got =~ /\r\n\r\n/ && length($') >= ($got =~ /Content-Length: (\d+)/i ? $1 : 0))
	{
		sysread($socket, $got, 65536, length $got) or return 'closed';
	}
	return $got =~ m{^HTTP/1\.1 (\d+)} ? $1 : $got;
}

sub gateway_cost
{
	my $pid = worker_pid($node, qr/promgres gateway/);
	my ($rss) = slurp_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
	my @stat = split / /, (slurp_file("/proc/$pid/stat") =~ s/.*\) //sr);
	return ($rss, $stat[11] + $stat[12]);
}

is(remote_write($node, sample_series())->{status}, 204, 'samples are written');
is(remote_write($node, [ { __name__ => 'now' }, [ $now_ms, 1 ] ])->{status}, 204, 'one of now');
$node->safe_psql('postgres', 'CALL prom.merge()');

# ---- slow queries ----
cmp_ok(value($node, 'prometheus_tsdb_head_series'), '>', 30, 'sizes are known');
my ($in, $out) = ('', '');
my $holder = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out);
$in .= "BEGIN; LOCK TABLE prom.warm IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n";
IPC::Run::pump($holder) until $out =~ /locked/;
my @slow = map {
	my $socket = connect_gateway();
	print $socket "GET /api/v1/query?query=temperature&time=" . $Promgres::sample_end_ms / 1000 . " HTTP/1.1\r\nHost: a\r\n\r\n";
	$socket->flush;
	$socket
} 1 .. 20;
ok(wait_for(sub { value($node, 'promgres_query_queue_length') == 12 }, 'queries wait'), 'eight queries run and do not end, twelve wait');
is(value($node, 'prometheus_engine_queries'), 8, 'metrics tell of it');
my $slowest = 0;
foreach my $i (1 .. 30)
{
	my $begin = time;
	my $status = remote_write($node, [ { __name__ => 'while_slow' }, [ $now_ms + $i, $i ] ])->{status};
	$slowest = time - $begin if time - $begin > $slowest;
	is($status, 204, 'a write') if $status != 204;
}
note sprintf('slowest of 30 writes: %.0f ms', $slowest * 1000);
cmp_ok($slowest, '<', 5, 'writes do not wait for them');
is(value($node, 'promgres_up'), 1, 'nor does /metrics');
cmp_ok(value($node, 'promgres_storage_bytes{stage="warm"}'), '>', 0, 'which keeps the sizes');
close $_ foreach @slow;
my $running = q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'promgres query' AND state = 'active'};
ok(wait_for(sub { $node->safe_psql('postgres', $running) eq '0' && value($node, 'promgres_query_queue_length') == 0 }, 'the queries end'),
	'clients that hang up end their queries, running or waiting');
cmp_ok(value($node, 'prometheus_http_requests_total{code="499",handler="/api/v1/query"}') // 0, '==', 20, 'which are counted');

# ---- reload ----
my $kept = connect_gateway();
is(say_hello($kept, '/-/healthy'), 200, 'a connection that is kept');
my $waiting = connect_gateway();
print $waiting "GET /api/v1/query?query=temperature&time=" . $Promgres::sample_end_ms / 1000 . " HTTP/1.1\r\nHost: a\r\n\r\n";
$waiting->flush;
ok(wait_for(sub { $node->safe_psql('postgres', $running) eq '1' }, 'it runs'), 'a query runs');
$node->append_conf('postgresql.conf', "promgres.query_timeout = '77s'\npromgres.query_connections = 3");
$node->reload;
ok(wait_for(sub { value($node, 'prometheus_engine_queries_concurrent_max') == 3 }, 'the setting is read'), 'the server reloads');
is(say_hello($kept, '/-/healthy'), 200, 'the connection is still there');
$in .= "ROLLBACK; SELECT 'unlocked';\n";
IPC::Run::pump($holder) until $out =~ /unlocked/;
my $answer = '';
sysread($waiting, $answer, 65536, length $answer) or last until $answer =~ /\]\}\}$|^$/ && length $answer;
like($answer, qr/^HTTP.1.1 200.*"success"/s, 'and the query that ran is answered');
$in .= "\\q\n";
$holder->finish;

# ---- idle connections ----
my ($rss_before, $cpu_before) = gateway_cost();
my @idle = map { connect_gateway() } 1 .. 200;
is(scalar(grep { say_hello($_, '/-/healthy') == 200 } @idle), 200, '200 connections are served');
ok(wait_for(sub { value($node, 'promgres_http_connections') == 203 }, '203 are counted'), 'and stay, beside those from before and the one that asks');
my ($rss, $cpu_idle) = gateway_cost();
sleep 3;
my ($rss_after, $cpu_after) = gateway_cost();
note sprintf('200 idle connections: %d kB, %.1f%% of a core', $rss_after - $rss_before, ($cpu_after - $cpu_idle) / 3);
cmp_ok($rss_after - $rss_before, '<', 200 * 100, 'they take less than 100 kB each');
cmp_ok($cpu_after - $cpu_idle, '<', 30, 'and hardly any time');
is($node->safe_psql('postgres', q{SELECT count(*) < 12 FROM pg_stat_activity WHERE application_name LIKE 'promgres %'}), 't', 'none has a backend');
is(scalar(grep { say_hello($_, '/-/healthy') == 200 } @idle), 200, 'all are alive afterwards');
close $_ foreach @idle;

# ---- standby ----
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
configure($standby);
$standby->start;
ok(wait_for(sub { http_get($standby, '/-/ready')->{status} == 200 }, 'its gateway is ready'), 'a standby');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(sample_answers($standby), sample_answers($node), 'gives the same answers to queries');
is(value($standby, 'promgres_in_recovery'), 1, 'has metrics, and says what it is');
is(value($standby, 'promgres_up'), 1, 'it is well');
is(value($standby, 'prometheus_tsdb_head_series'), $node->safe_psql('postgres', 'SELECT count(*) FROM prom.series'), 'with sizes');
my $federated = http_get($standby, '/federate?match[]=now')->{content};
like($federated, qr/^now\{instance=""\} 1 $now_ms$/m, 'is federated from');
my @read = map {
	my ($server, $output) = ($_, '');
	IPC::Run::run([ 'python3', "$FindBin::Bin/../tools/remote_read.py", gateway_url($server, '/api/v1/read'), 'chunks', 0, $now_ms + 1000, '__name__=~temp.*' ],
		'>' => \$output, '2>&1');
	$output
} $node, $standby;
cmp_ok(length $read[0], '>', 100_000, 'remote read');
ok($read[0] eq $read[1], 'gives the same from both');
my $refused = remote_write($standby, [ { __name__ => 'refused' }, [ $now_ms, 1 ] ]);
is($refused->{status}, 503, 'a write to it: 503');
ok($refused->{headers}{'retry-after'}, 'and when to come again');
$standby->stop;

# ---- crash ----
my $pid = worker_pid($node, qr/promgres gateway/);
kill 'KILL', $pid;
ok(wait_for(sub { my $new = worker_pid($node, qr/promgres gateway/); $new && $new != $pid && http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is back'),
	'a gateway that was killed comes back');
ok(wait_for(sub { remote_write($node, [ { __name__ => 'after' }, [ $now_ms, 1 ] ])->{status} == 204 }, 'a write'), 'and takes writes');
is(http_get($node, '/api/v1/query?query=now&time=' . $now_ms / 1000)->{status}, 200, 'and queries');
cmp_ok(value($node, 'promgres_worker_starts_total{worker="gateway"}'), '>=', 1, 'metrics count its starts');
$node->stop;
done_testing();

# Reads and writes at once, for a while: no error, and no growth of the gateway or of the backends.  LOAD_SECONDS is
# how long (15; with LONG=1 300); half of it is the time to warm up.

use strict;
use warnings;

use HTTP::Tiny;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{LOAD_SECONDS} || ($ENV{LONG} ? 300 : 15);
my $node = start_node(new_node('primary'));
my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $begin = time;
my $deadline = $begin + $seconds;
my @reads = (
	sub { "/api/v1/query?query=sum by (job) (rate(load_total[1m]))" },
	sub { "/api/v1/query_range?query=avg(load_total)&start=" . int(time - 300) . '&end=' . int(time) . '&step=5' },
	sub { '/api/v1/series?match[]=load_total&limit=100' },
	sub { '/api/v1/labels' },
	sub { '/api/v1/label/instance/values?limit=50' },
	sub { '/federate?match[]=load_total' },
	sub { '/metrics' },
	sub { '/-/ready' });

# What one client did: a line of counts for the file of its number.
sub client
{
	my ($number, $work) = @_;
	my $pid = fork // die "fork: $!";

	return $pid if $pid;
	my $http = HTTP::Tiny->new(timeout => 180, keep_alive => 1);
	my (%counts, $bad);
	for (my $i = 0; time < $deadline; $i++)
	{
		my $answer = $work->($http, $number, $i);
		$counts{ $answer->{status} }++;
		$bad //= "$answer->{status} $answer->{content}" if $answer->{status} !~ /^2/;
	}
	append_to_file("$tmp/client$number", join(' ', map { "$_=$counts{$_}" } sort keys %counts) . "\n" . ($bad // ''));
	POSIX::_exit(0);
}

sub write_some
{
	my ($http, $number, $i) = @_;
	my $t = int(time * 1000);
	my $body = write_body(map { [ { __name__ => 'load_total', job => "j$number", instance => "host$_" }, [ $t, $i * $_ ] ] } 1 .. 200);
	my $answer = $http->post(gateway_url($node, '/api/v1/write'),
		{ content => $body, headers => { 'Content-Type' => 'application/x-protobuf', 'Content-Encoding' => 'snappy' } });
	sleep 0.02;
	return $answer;
}

sub read_some
{
	my ($http, $number, $i) = @_;
	my $path = $reads[ ($i + $number) % @reads ]->() =~ s/ /%20/gr;
	return $http->get(gateway_url($node, $path));
}

# kB: the gateway's resident memory; the private memory of the largest backend of a pool.
sub memory
{
	my ($gateway) = slurp_file('/proc/' . worker_pid($node, qr/promgres gateway/) . '/status') =~ /^RssAnon:\s+(\d+)/m;
	my $backend = 0;
	foreach my $pid (split /\n/, $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE application_name ~ '^promgres (ingest|query)'}))
	{
		my ($kb) = (eval { slurp_file("/proc/$pid/status") } // '') =~ /^RssAnon:\s+(\d+)/m;
		$backend = $kb if ($kb // 0) > $backend;
	}
	return ($gateway, $backend);
}

remote_write($node, [ { __name__ => 'load_total', job => 'j', instance => 'host' }, [ int(time * 1000), 1 ] ]);
my @pids = map { client($_, $_ <= 3 ? \&write_some : \&read_some) } 1 .. 7;
sleep $seconds / 2;
my @warm = memory();
sleep 0.5 while time < $deadline - 0.5;
my @end = memory();
waitpid $_, 0 foreach @pids;

my %sum;
foreach my $number (1 .. 7)
{
	my ($counts, $bad) = split /\n/, slurp_file("$tmp/client$number"), 2;
	$sum{$1} += $2 while $counts =~ /(\d+)=(\d+)/g;
	is($bad // '', '', "client $number had no error");
}
note 'answers: ' . join ', ', map { "$_: $sum{$_}" } sort keys %sum;
note "memory, kB: gateway $warm[0] -> $end[0], largest backend $warm[1] -> $end[1]";
cmp_ok($sum{200} // 0, '>', 20 * $seconds / 15, 'reads were answered');
cmp_ok($sum{204} // 0, '>', 20 * $seconds / 15, 'and writes');
cmp_ok($end[0] - $warm[0], '<', 8192, 'the gateway does not grow');
cmp_ok($end[1] - $warm[1], '<', 32_768, 'nor do backends');
my $missing = $node->safe_psql('postgres', q{SELECT count(*) FROM prom.samples_of('load_total')}) - ($sum{204} * 200 + 1);
cmp_ok($missing, '>=', -200 * 3 * 20, 'what was acknowledged is there, but for what has the same millisecond');
my ($ours) = http_get($node, '/metrics')->{content} =~ /^prometheus_http_requests_total\{code="204",handler="\/api\/v1\/write"\} (\d+)/m;
is($ours, $sum{204} + 1, 'and was counted');
# (autovacuum gives way to whoever waits for it)
unlike(slurp_file($node->logfile) =~ s/ERROR:  canceling autovacuum task//gr, qr/ (ERROR|PANIC|FATAL|WARNING): /, 'nothing is wrong in the log');
$node->stop;
done_testing();

# A real Prometheus scrapes itself and a node exporter every second and writes into promgres.  Then
# every sample of its own TSDB is in promgres, bit for bit, and both give the same answers.  All of it
# holds again after the server was killed with SIGKILL while Prometheus went on.

use strict;
use warnings;

use FindBin;
use HTTP::Tiny;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

foreach my $program (qw(prometheus prometheus-node-exporter python3))
{
	plan skip_all => "$program is not installed"
	  unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my $top = "$FindBin::Bin/../..";
my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $prometheus_port = free_port();
my $exporter_port = free_port();
my $prometheus_url = "http://127.0.0.1:$prometheus_port";

my $node = start_node(new_node('primary'));

# The configuration of docker-compose.yml and the demo, with our addresses.
my $config = slurp_file("$top/contrib/prometheus/prometheus.yml");
$config =~ s/prometheus:9090/127.0.0.1:$prometheus_port/;
$config =~ s/node-exporter:9100/127.0.0.1:$exporter_port/;
$config =~ s/promgres:9201/127.0.0.1:$node->{gateway_port}/g;
append_to_file("$tmp/prometheus.yml", $config);

# Values and label values that are easily spoilt on the way.
mkdir "$tmp/textfiles";
append_to_file("$tmp/textfiles/promgres_test.prom", <<'TEXT');
# TYPE promgres_test_value gauge
promgres_test_value{kind="nan"} NaN
promgres_test_value{kind="inf"} +Inf
promgres_test_value{kind="-inf"} -Inf
promgres_test_value{kind="-0"} -0
promgres_test_value{kind="denormal"} 5e-324
promgres_test_value{kind="max"} 1.7976931348623157e+308
promgres_test_value{kind="0.1"} 0.1
promgres_test_value{kind="quote \" backslash \\ line\nfeed"} 1
promgres_test_value{kind="žluťoučký kůň 🐎"} 2
TEXT

sub start_exporter
{
	return spawn('node_exporter', 'prometheus-node-exporter',
		"--web.listen-address=127.0.0.1:$exporter_port",
		"--collector.textfile.directory=$tmp/textfiles");
}

# The newest timestamp (s) of which Prometheus knows that it was sent.
sub sent_until
{
	my $text = HTTP::Tiny->new->get("$prometheus_url/metrics")->{content};
	my ($time) = $text =~ /^prometheus_remote_storage_queue_highest_sent_timestamp_seconds\{.*\} (\S+)$/m;
	return $time // 0;
}

sub compare
{
	my ($what, $start, $end, @more) = @_;
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGDATABASE} = 'postgres';
	my @command = ('python3', "$top/test/tools/compare_tsdb.py", $what,
		'--prometheus' => $prometheus_url, '--start' => $start, '--end' => $end, @more);
	my $output = '';
	my $equal = IPC::Run::run(\@command, '>' => \$output, '2>&1');
	($equal ? \&note : \&diag)->($output);
	return ($equal, $output);
}

sub compare_all
{
	my ($moment, $start, $end) = @_;

	ok(wait_for(sub { sent_until() > $end + 2 }, "Prometheus has sent what it has until $end"),
		"$moment: Prometheus has sent everything");
	my ($equal, $output) = compare('samples', $start, $end, '--wait' => $PostgreSQL::Test::Utils::timeout_default);
	ok($equal, "$moment: every sample of Prometheus is in promgres bit for bit, and no other");
	return $output;
}

sub compare_answers
{
	my ($moment, $start, $end) = @_;
	my ($equal) = compare('queries', $start, $end, '--promgres' => gateway_url($node),
		"$FindBin::Bin/100_queries.txt");
	ok($equal, "$moment: all queries have the same answer from both");
	return;
}

my $exporter = start_exporter();
my $prometheus = spawn('prometheus', 'prometheus',
	"--config.file=$tmp/prometheus.yml",
	"--storage.tsdb.path=$tmp/tsdb",
	"--web.listen-address=127.0.0.1:$prometheus_port",
	'--log.level=info');
ok(wait_for(sub { HTTP::Tiny->new->get("$prometheus_url/-/ready")->{status} == 200 },
		'Prometheus is ready'),
	'Prometheus is ready');
ok(wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) > 100 FROM prom.series') eq 't' },
		'the first samples have come'),
	'samples come in');

# A gap with stale markers, early, so that no counter begins within the windows of the queries.
sub is_up
{
	my $content = HTTP::Tiny->new(timeout => 180)->post_form("$prometheus_url/api/v1/query", { query => 'min(up{job="node"})' })->{content};
	return $content =~ /,"([01])"\]/ ? $1 : '';
}

my $start = time + 2;
sleep 4;
end_program($exporter);
ok(wait_for(sub { is_up() eq '0' }, 'a scrape fails'), 'a target is gone');
$exporter = start_exporter();
ok(wait_for(sub { is_up() eq '1' }, 'a scrape succeeds'), 'and back');

my $queries_start = time + 24;
my $end = $queries_start + 16;
sleep 1 while time < $end;

my $output = compare_all('live', $start, $end);
my ($stale) = $output =~ /(\d+) stale markers/;
cmp_ok($stale // 0, '>', 100, 'stale markers were among them');
my ($samples) = $output =~ /(\d+) samples/;
cmp_ok($samples // 0, '>', 10_000, 'and enough samples');
compare_answers('live', $queries_start, $end);

# Prometheus goes on while there is nobody to write to.
kill_server($node);
sleep 5;
ok(restart_killed($node), 'killed and started again');
ok(wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is ready'),
	'it came back by itself after the restart');
my $later = time + 5;
sleep 1 while time < $later;

compare_all('after kill -9', $start, $later);
compare_answers('after kill -9', $queries_start, $end);

# What went through the merge meanwhile is the same.
$node->safe_psql('postgres', 'CALL prom.merge()');
compare_all('after a merge', $start, $later);
compare_answers('after a merge', $queries_start, $end);

my $metrics = HTTP::Tiny->new->get("$prometheus_url/metrics")->{content};
like($metrics, qr/^prometheus_remote_storage_samples_failed_total\{.*\} 0$/m, 'Prometheus lost no sample');
like($metrics, qr/^prometheus_remote_storage_samples_dropped_total\{.*\} 0$/m, 'and dropped none');

end_program($prometheus);
end_program($exporter);
$node->stop;
done_testing();

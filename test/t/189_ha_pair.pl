# Two real Prometheus scrape the same target and write all they have to two servers: one keeps both replicas and merges
# them in queries, the other's HA tracker keeps what one of them sends.  Each Prometheus is killed with SIGKILL in its turn,
# always the one that is elected, and started again.  Neither server has a gap longer than its method allows, and no rate
# falls, dips or spikes.

use strict;
use warnings;

use HTTP::Tiny;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

foreach my $program (qw(prometheus prometheus-node-exporter))
{
	plan skip_all => "$program is not installed"
	  unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $exporter_port = free_port();
my %prometheus = map { $_ => { port => free_port() } } qw(a b);
my $failover = 5;
# of a rate: so long that a fail-over does not make it nothing
my $window = 4 * $failover;

my $merging = start_node(new_node('merging'));
my $tracking = start_node(new_node('tracking', 'promgres.ha_tracker' => 'on', 'promgres.ha_failover' => "${failover}s", 'promgres.ha_replica_label' => 'replica'));

# Names of metrics that are the same from both: not what a scrape itself is like.
my $exporter = spawn('node_exporter', 'prometheus-node-exporter', "--web.listen-address=127.0.0.1:$exporter_port",
	'--collector.disable-defaults', map { "--collector.$_" } qw(cpu time stat vmstat netdev));

sub start_prometheus
{
	my ($name) = @_;
	my $remotes = join '', map { "- url: http://127.0.0.1:$_->{gateway_port}/api/v1/write\n  queue_config: { batch_send_deadline: 500ms, min_shards: 2 }\n" } $merging, $tracking;

	unlink "$tmp/$name.yml";
	append_to_file("$tmp/$name.yml", <<"YAML");
global: { scrape_interval: 1s, scrape_timeout: 1s, external_labels: { cluster: c, replica: $name } }
scrape_configs:
- { job_name: node, static_configs: [ { targets: [ '127.0.0.1:$exporter_port' ] } ] }
remote_write:
$remotes
YAML
	$prometheus{$name}{pid} = spawn("prometheus_$name", 'prometheus', "--config.file=$tmp/$name.yml", "--storage.tsdb.path=$tmp/tsdb_$name",
		"--web.listen-address=127.0.0.1:$prometheus{$name}{port}", '--log.level=warn');
	return;
}

# From the first column of a row.
sub ask { my ($node, $sql) = @_; return $node->safe_psql('postgres', $sql) }
sub elected { return ask($tracking, 'SELECT elected FROM prom.ha_clusters') }

# How many samples of the target's clock this replica has written of the last seconds.
sub is_writing
{
	my ($name) = @_;
	return ask($merging, "SELECT count(*) > 0 FROM prom.samples_of('node_time_seconds{replica=\"$name\"}', now() - interval '5 s', now())") eq 't';
}

start_prometheus($_) foreach qw(a b);
ok(wait_for(sub { is_writing('a') && is_writing('b') && elected() ne '' }, 'both write'), 'two Prometheus scrape one target');
sleep 2;
my $start = time;
sleep 8;

# Twice, so that each is down once.
my @killed;
foreach my $round (1, 2)
{
	my $name = elected();
	my $other = $name eq 'a' ? 'b' : 'a';

	push @killed, $name;
	end_program($prometheus{$name}{pid}, 'KILL');
	ok(wait_for(sub { elected() eq $other }, "$other is elected"), "$name is killed, $other is elected");
	sleep 4;
	start_prometheus($name);
	ok(wait_for(sub { is_writing($name) }, "$name writes again"), "$name is back");
	sleep 4;
	is(elected(), $other, 'but not elected as long as the other one writes');
}
is(join(' ', sort @killed), 'a b', 'each was killed once');
is(ask($tracking, 'SELECT failovers FROM prom.ha_clusters'), 2, 'two fail-overs');
my $end = time - 4;
my $seconds = int($end - $start);
my $range = "to_timestamp($start), to_timestamp($end)";

# Distances of samples (s) of the target's clock in the result of a query; how many, and the longest.
sub distances
{
	my ($node, $settings) = @_;
	return split /\|/, ask($node, <<"SQL");
$settings
SELECT count(*), round(max(d)::numeric, 2) FROM (SELECT extract(epoch FROM "time" - lag("time") OVER (ORDER BY "time")) AS d
	FROM prom.query('node_time_seconds[${seconds}s]', to_timestamp($end))) x
SQL
}

# Steps of one second, those without a value, and the extremes of a rate that is 1 in truth: that of a clock.
sub clock_rate
{
	my ($node, $settings) = @_;
	return split /\|/, ask($node, <<"SQL");
$settings
SET client_min_messages = warning;
SELECT $seconds - $window + 1 - count(*), round(min(value)::numeric, 2), round(max(value)::numeric, 2)
FROM prom.query_range('rate(node_time_seconds[${window}s])', to_timestamp($start + $window), to_timestamp($start + $seconds), '1s')
SQL
}

my $resets = join ' + ', map { "sum(resets(${_}[${seconds}s]))" } qw(node_cpu_seconds_total node_context_switches_total node_intr_total node_time_seconds);
my $counters = 'count({__name__=~"node_.+_total"})';

# The truth about holes: those that neither server has a sample for.
my $union = ask($merging, qq{SELECT round(max(d)::numeric, 2) FROM (SELECT extract(epoch FROM "time" - lag("time") OVER (ORDER BY "time")) AS d
	FROM prom.samples_of('node_time_seconds', $range)) x});
note "longest distance of samples that either server has: $union s";

my ($raw) = ask($merging, "SELECT value FROM prom.query('count(node_time_seconds)', to_timestamp($end))");
is($raw, 2, 'without deduplication there are two series');
foreach my $algorithm (qw(penalty seamless))
{
	my $settings = "SET promgres.replica_labels = 'replica'; SET promgres.dedup_algorithm = $algorithm;";
	my ($n, $longest) = distances($merging, $settings);
	my ($missing, $least, $most) = clock_rate($merging, $settings);

	note "$algorithm: $n samples in $seconds s, the longest distance is $longest s; rate from $least to $most";
	is(ask($merging, "$settings SELECT labels FROM prom.query('node_time_seconds', to_timestamp($end))"),
		qq({__name__="node_time_seconds", cluster="c", instance="127.0.0.1:$exporter_port", job="node"}), "$algorithm: one series without a replica label");
	cmp_ok($n, '<=', $seconds * 1.25, "$algorithm: about one sample a second");
	# Thanos' own algorithm leaves a replica when three intervals have no sample; seamless fills that
	cmp_ok($longest, '<=', $algorithm eq 'penalty' ? 3.2 + $union : 1.7 + $union / 2, "$algorithm: longest distance of samples");
	is($missing, 0, "$algorithm: the rate has a value at each step");
	cmp_ok($least, '>=', $algorithm eq 'penalty' ? 0.65 : 0.85, "$algorithm: it does not dip");
	cmp_ok($most, '<=', 1.15, "$algorithm: it does not spike");
	is(ask($merging, "$settings SET client_min_messages = warning; SELECT value FROM prom.query('$resets', to_timestamp($end))"), 0, "$algorithm: no counter seems to be reset");
	is(ask($merging, "$settings SELECT value FROM prom.query('$counters', to_timestamp($end))"),
		ask($merging, "SELECT value / 2 FROM prom.query('$counters', to_timestamp($end))"), "$algorithm: half as many series");
}

# No instant is without a value, as a user of Thanos would ask for it.
my $url = "/api/v1/query_range?query=count(node_time_seconds)&start=$start&end=$end&step=1&replicaLabels[]=replica";
my ($result) = @{ http_json($merging, $url)->{data}{result} };
is(scalar(grep { $_->[1] == 1 } @{ $result->{values} }), int($end - $start) + 1, 'one series at each step of a range');

# What the tracker has stored: one replica at a time, and while there is a fail-over nothing.
my ($n, $longest) = distances($tracking, '');
my ($missing, $least, $most) = clock_rate($tracking, '');
note "tracker: $n samples in $seconds s, the longest distance is $longest s; rate from $least to $most";
is(ask($tracking, "SELECT labels FROM prom.query('node_time_seconds', to_timestamp($end))"),
	qq({__name__="node_time_seconds", cluster="c", instance="127.0.0.1:$exporter_port", job="node"}), 'tracker: one series without a replica label');
cmp_ok($n, '<=', $seconds * 1.25, 'tracker: about one sample a second');
# the time of the fail-over, what was not sent when the elected one died, and a scrape of the other
cmp_ok($longest, '<=', $failover + 3 + $union, 'tracker: no gap but that of the fail-over');
is($missing, 0, 'tracker: the rate has a value at each step');
cmp_ok($least, '>=', 0.4, 'tracker: it dips by the gap at most');
cmp_ok($most, '<=', 1.15, 'tracker: it does not spike');
is(ask($tracking, "SET client_min_messages = warning; SELECT value FROM prom.query('$resets', to_timestamp($end))"), 0, 'tracker: no counter seems to be reset');
cmp_ok(ask($tracking, 'SELECT replica_samples FROM prom.stat_ingest'), '>', 1000, 'tracker: what was dropped is counted');
foreach my $name (qw(a b))
{
	my $metrics = HTTP::Tiny->new->get("http://127.0.0.1:$prometheus{$name}{port}/metrics")->{content};
	unlike($metrics, qr/^prometheus_remote_storage_samples_failed_total\{.*\} [1-9]/m, "Prometheus $name does not know that anything was dropped");
}

end_program($prometheus{$_}{pid}) foreach qw(a b);
end_program($exporter);
$_->stop foreach $merging, $tracking;
done_testing();

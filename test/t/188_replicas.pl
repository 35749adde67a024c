# Replicas over HTTP: Thanos' parameters and the settings they stand for; what senders are told whose samples the HA
# tracker drops, in every protocol; that several connections and a restarted server know who is elected.

use strict;
use warnings;

use FindBin;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary'));
my $t = 1_700_000_000;
my @times = map { $t + 10 * $_ } 0 .. 30;

# b is three seconds behind a, which has a gap; rest has no replicas.
is(remote_write($node,
		[ { __name__ => 'c_total', job => 'x', replica => 'a' }, map { [ $_ * 1000, $_ - $t ] } grep { $_ < $t + 100 || $_ > $t + 180 } @times ],
		[ { __name__ => 'c_total', job => 'x', replica => 'b' }, map { [ $_ * 1000 + 3000, $_ - $t + 3 ] } @times ],
		[ { __name__ => 'c_total', job => 'y', rule_replica => 'a' }, map { [ $_ * 1000, $_ - $t ] } @times ],
		[ { __name__ => 'rest', job => 'z' }, map { [ $_ * 1000, 1 ] } @times ])->{status}, 204, 'samples of replicas');

my $json = JSON::PP->new->canonical;

sub data
{
	my ($path) = @_;
	my $answer = http_get($node, "/api/v1/$path");
	my $got = eval { decode_json($answer->{content}) } // {};
	my $data = $got->{data};
	return ($got->{status} // '') eq 'success' ? $json->encode(ref $data eq 'HASH' ? $data->{result} : $data) : "$answer->{status} $got->{error}";
}

sub metrics_of { my ($data) = @_; return join ' ', sort map { $json->encode($_->{metric}) } @{ decode_json($data) } }

my $query = "query?query=c_total&time=@{[ $t + 305 ]}";
my ($a, $b, $x, $y, $ya) = map { qq({"__name__":"c_total",$_}) } '"job":"x","replica":"a"', '"job":"x","replica":"b"', '"job":"x"', '"job":"y"', '"job":"y","rule_replica":"a"';

foreach my $way ('parameter', 'setting')
{
	my $with = $way eq 'parameter' ? '&replicaLabels[]=replica' : '';
	my $off = $way eq 'parameter' ? '' : '&dedup=false';

	is(metrics_of(data("$query$off")), "$a $b $ya", "$way: without it, all series");
	is(metrics_of(data("$query$with")), "$x $ya", "$way: replicas are one");
	is(metrics_of(data("$query&replicaLabels=replica&replicaLabels=rule_replica")), "$x $y", "$way: several labels, in the other spelling");
	is(metrics_of(data("$query&replicaLabels[]=")), "$a $b $ya", "$way: no label at all");
	is(metrics_of(data("$query$with&dedup=$_")), "$a $b $ya", "$way: dedup=$_") foreach qw(0 f false);
	is(metrics_of(data("$query$with&dedup=$_")), "$x $ya", "$way: dedup=$_") foreach qw(1 true);
	is(data("query?query=c_total{replica=\"b\"}&time=@{[ $t + 305 ]}$with"), qq([{"metric":$x,"value":[@{[ $t + 305 ]},"303"]}]), "$way: a matcher on the label selects what is stored");
	is(data("query?query=count%20by%20(replica)(c_total)&time=@{[ $t + 305 ]}$with"), qq([{"metric":{},"value":[@{[ $t + 305 ]},"2"]}]), "$way: there is nothing to group by");
	is(data("series?match[]=c_total$off"), "[$a,$b,$ya]", "$way: series without it");
	is(data("series?match[]=c_total$with"), "[$x,$ya]", "$way: series");
	is(data("series?match[]=c_total&start=$t&end=@{[ $t + 60 ]}&limit=1$with"), "[$x]", "$way: series, cut");
	is(data("labels?$with"), '["__name__","job","rule_replica"]', "$way: names");
	is(data("labels?match[]=c_total$with"), '["__name__","job","rule_replica"]', "$way: names of some series");
	is(data("label/replica/values?$with"), '["a","b"]', "$way: values that can be matched");
	my $range = "query_range?query=rate(c_total{job=\"x\"}[60s])&start=@{[ $t + 60 ]}&end=@{[ $t + 300 ]}&step=10$with";
	my @rates = map { @{ $_->{values} } } @{ decode_json(data($range)) };
	# two intervals without a sample in a window of six
	is(scalar(grep { $_->[1] > 0.6 && $_->[1] < 1.1 } @rates), 25, "$way: rate in the gap and around it");

	$node->append_conf('postgresql.conf', q(promgres.replica_labels = 'replica')) if $way eq 'parameter';
	$node->reload;
	ok(wait_for(sub { metrics_of(data($query)) eq ($way eq 'parameter' ? "$x $ya" : $way) || $way eq 'setting' }, 'the setting is in force'), 'the setting');
}

like(http_get($node, "/api/v1/explain?query=c_total&time=@{[ $t + 305 ]}$_->[0]")->{content}, $_->[1], "explain$_->[0]")
  foreach ([ '', qr/_deduplicated/ ], [ '&dedup=false', qr/"sql": *"(?!.*_deduplicated)/s ], [ '&replicaLabels[]=rule_replica', qr/rule_replica/ ], [ '&dedup=x', qr/invalid parameter .{1,2}dedup/ ]);
is(data("$query&dedup=perhaps"), '400 invalid parameter "dedup": strconv.ParseBool: parsing "perhaps": invalid syntax', 'bad value');
is(data("$_&replicaLabels[]=__name__"), '400 invalid parameter "replicaLabels[]": the name of a metric cannot be a replica label', "bad label: $_")
  foreach ('labels?', 'query?query=1', 'series?match[]=x');
is(metrics_of(data("$query&replicaLabels[]=a%22,%5Cb")), "$a $b $ya", 'a name that must be quoted');
is(metrics_of(data($query)), "$x $ya", 'parameters last for a request');

# Who reads from afar merges himself, unless he asks.
my $tool = "$FindBin::Bin/../tools/remote_read.py";
sub ask_tool
{
	my ($with, $kind) = @_;
	my $output = '';
	IPC::Run::run([ 'python3', $tool, gateway_url($node, "/api/v1/read$with"), $kind // 'samples', $t * 1000, ($t + 303) * 1000, '__name__=c_total', 'job=x' ], '>' => \$output, '2>&1') or return 'bad';
	return $output;
}
foreach my $kind (qw(samples chunks))
{
	foreach my $case ([ '', 2, 31 + 22 ], [ '?dedup=true', 1, 31 + 2 ], [ '?dedup=true&replicaLabels[]=none', 2, 31 + 22 ])
	{
		my ($with, $series, $samples) = @$case;
		my $output = ask_tool($with, $kind);
		my %seen;
		$seen{$1}++ while $output =~ /^\d+ (\{.*?\}) \d+ \w+$/mg;
		is(scalar(keys %seen), $series, "remote read$with: series as $kind");
		cmp_ok(eval { my $n = 0; $n += $_ foreach values %seen; $n }, $series == 1 ? '<=' : '==', $samples, "remote read$with: samples as $kind");
	}
}
like(ask_tool('?dedup=x'), qr{^400 .*invalid parameter}, 'remote read: bad value');

# ---- the HA tracker ----

$node->append_conf('postgresql.conf', "promgres.ha_tracker = on\npromgres.ha_failover = '1h'\npromgres.ha_cluster_label = 'team'\npromgres.replica_labels = ''");
$node->restart;
ok(wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is ready'), 'the tracker is on');

my $number = 0;

# Each protocol, as that replica; the answer in short.
sub send_all
{
	my ($replica) = @_;
	my %of = (__replica__ => $replica, team => 't');
	my $at = $t + ++$number;
	my $one = remote_write($node, [ { __name__ => 'one', %of }, [ $at * 1000, 1 ] ]);
	my $two = http_post($node, '/api/v1/write', write_body2([ { __name__ => 'two', %of }, [ $at * 1000, 1 ], [ $at * 1000 + 1, 2 ] ]),
		'Content-Type' => 'application/x-protobuf;proto=io.prometheus.write.v2.Request', 'Content-Encoding' => 'snappy');
	my $otlp = http_post($node, '/v1/metrics', otlp_body({}, [ 'three', 1, $at * 1000, \%of ]), 'Content-Type' => 'application/x-protobuf');
	return "$one->{status} $two->{status} $two->{headers}{'x-prometheus-remote-write-samples-written'} $otlp->{status} $otlp->{content}";
}

sub stored { return $node->safe_psql('postgres', q(SELECT string_agg(labels || ' ' || n, ', ' ORDER BY labels) FROM (SELECT labels, count(*) AS n FROM prom.samples_of('{team="t"}') GROUP BY 1) x)) }

my $ok = '204 204 2 200 ';
is(send_all('a'), $ok, 'the first replica is elected');
is(send_all('b'), $ok, 'the other is told the same');
is(send_all('a'), $ok, 'the first goes on');
is(stored(), '{__name__="one", team="t"} 2, {__name__="three_total", team="t"} 2, {__name__="two", team="t"} 4', 'one replica is stored, without its label');
like(http_get($node, '/metrics')->{content}, qr/^promgres_replica_samples_dropped_total 4$/m, 'what was dropped is counted');
is($node->safe_psql('postgres', 'SELECT cluster, elected, failovers FROM prom.ha_clusters'), 't|a|0', 'who is elected');
is(send_all($_), $ok, "$_ again") foreach qw(b a b);
$node->safe_psql('postgres', 'CALL prom.merge()');

kill_server($node);
ok(restart_killed($node), 'killed and started again');
ok(wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is ready'), 'the gateway is back');
is(send_all('b'), $ok, 'the other one is the first after the restart');
is(stored(), '{__name__="one", team="t"} 3, {__name__="three_total", team="t"} 3, {__name__="two", team="t"} 6', 'and not elected');

# Many senders at once, of a cluster that is new: whoever comes first, one replica of it is stored.
my @children;
foreach my $sender (1 .. 8)
{
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		my $replica = $sender % 2 ? 'a' : 'b';
		my $good = 0;
		foreach my $i (1 .. 25)
		{
			$good++ if remote_write($node, map { [ { __name__ => 'many', __replica__ => $replica, team => "new$_", from => $replica, i => $sender }, [ ($t + $i) * 1000, 1 ] ] } 1 .. 4)->{status} == 204;
		}
		POSIX::_exit($good == 25 ? 0 : 1);
	}
	push @children, $pid;
}
my $failed = 0;
foreach my $pid (@children)
{
	waitpid $pid, 0;
	$failed++ if $? != 0;
}
is($failed, 0, 'all senders are told that all is well');
is($node->safe_psql('postgres', q(SELECT count(*), bool_and(n = 100 AND replicas = 1 AND one = elected) FROM (SELECT labels::jsonb ->> 'team' AS team, count(*) AS n,
	count(DISTINCT labels::jsonb ->> 'from') AS replicas, min(labels::jsonb ->> 'from') AS one FROM prom.samples_of('many') GROUP BY 1) s JOIN prom.ha_clusters ON cluster = team)),
	'4|t', 'of each cluster the elected replica is stored, and all of it');

# A new election comes when the elected one was silent, whichever connection remembers it.
$node->append_conf('postgresql.conf', q(promgres.ha_failover = '100ms'));
$node->reload;
ok(wait_for(sub { send_all('b'); $node->safe_psql('postgres', q(SELECT elected, failovers FROM prom.ha_clusters WHERE cluster = 't')) eq 'b|1' }, 'b is elected'), 'fail-over');
$node->stop;
done_testing();

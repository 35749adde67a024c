# promtool and vmalert run against promgres: promtool's every query, its checks; vmalert evaluates recording
# and alerting rules, writes their results back, and restores the state of alerts when it starts again.

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

sub have { my ($program) = @_; return grep { -x "$_/$program" } split /:/, $ENV{PATH} }

my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $node = start_node(new_node('primary'));
my $url = gateway_url($node);
my $end = $Promgres::sample_end_ms / 1000;
is(remote_write($node, sample_series())->{status}, 204, 'samples are written');

sub run_program
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run(\@command, '<' => \undef, '>' => \$out, '2>' => \$err);
	return ($ok, $out, $err);
}

SKIP:
{
	skip 'promtool is not installed', 1 unless have('promtool');
	my @cases = (
		[ [ 'query', 'instant', $url, 'temperature', '--time', $end ], qr/^temperature\{instance="host1:9100", job="app"\} => \S+ @\[$end\]/m ],
		[ [ 'query', 'range', $url, 'sum(temperature)', '--start', $end - 600, '--end', $end, '--step', '60s' ], qr/@\[$end\]/ ],
		[ [ 'query', 'series', '--match=temperature', '--start', $end - 600, '--end', $end, $url ], qr/host5:9100/ ],
		[ [ 'query', 'labels', '--start', $end - 600, '--end', $end, $url, 'instance' ], qr/^host1:9100$/m ]);
	foreach my $case (@cases)
	{
		my ($ok, $out, $err) = run_program('promtool', @{ $case->[0] });
		ok($ok, "promtool @{$case->[0]}[0,1]") or diag($err);
		like($out, $case->[1], 'says what is there');
	}
	my ($ok, $out, $err) = run_program('promtool', 'query', 'instant', $url, 'sum(');
	ok(!$ok, 'promtool fails on a bad query');
	like($err, qr/parse error/, 'and tells why');
	# these are younger than some releases of it
	foreach my $check ('healthy', 'ready')
	{
		my ($help) = (run_program('promtool', 'check', '--help'))[2];
		next unless ($help . (run_program('promtool', 'check', '--help'))[1]) =~ /check $check/;
		($ok, $out, $err) = run_program('promtool', 'check', $check, "--url=$url");
		ok($ok, "promtool check $check") or diag($err);
	}
}

SKIP:
{
	skip 'vmalert is not installed', 1 unless have('vmalert');
	append_to_file("$tmp/rules.yml", <<'YML');
groups:
  - name: promgres
    interval: 1s
    rules:
      - record: job:load:sum
        expr: sum by (job) (load)
        labels: {made: by_rule}
      - alert: TooMuch
        expr: load > 5
        for: 1s
        labels: {severity: page}
        annotations: {summary: "{{ $labels.instance }} has {{ $value }}"}
YML
	my $writing = 1;
	my $write = sub {
		my $t = int(time * 1000);
		return remote_write($node, map { [ { __name__ => 'load', job => 'app', instance => "host$_" }, [ $t, $_ * 3 ] ] } 1 .. 3)->{status};
	};
	my $start = sub {
		my ($name) = @_;
		my $port = free_port();
		my $pid = spawn($name, 'vmalert', "-rule=$tmp/rules.yml", "-datasource.url=$url", "-remoteWrite.url=$url", "-remoteRead.url=$url",
			'-notifier.url=http://127.0.0.1:9', '-remoteWrite.flushInterval=1s', '-evaluationInterval=1s', "-httpListenAddr=127.0.0.1:$port");
		return ($pid, "http://127.0.0.1:$port");
	};
	is($write->(), 204, 'load');
	my ($pid, $vmalert) = $start->('vmalert');
	my $query = sub {
		my ($expr) = @_;
		$write->();
		return http_json($node, '/api/v1/query', { query => $expr })->{data}{result} // [];
	};
	ok(wait_for(sub { @{ $query->('job:load:sum') } > 0 }, 'the rule is recorded'), 'a recording rule is evaluated and written back');
	my $recorded = $query->('job:load:sum')->[0];
	is($recorded->{value}[1], 18, 'with its value');
	is_deeply($recorded->{metric}, { __name__ => 'job:load:sum', job => 'app', made => 'by_rule' }, 'and labels')
	  or note(explain($recorded));
	ok(wait_for(sub { @{ $query->('ALERTS{alertname="TooMuch",alertstate="firing"}') } == 2 }, 'the alerts fire'), 'alerts fire');
	my $since = $query->('min(ALERTS_FOR_STATE{alertname="TooMuch"})')->[0]{value}[1];
	end_program($pid);

	# It asks for the state with default_rollup(), which is not PromQL; see what becomes of it.
	($pid, $vmalert) = $start->('vmalert_again');
	ok(wait_for(sub { $write->(); HTTP::Tiny->new->get("$vmalert/api/v1/alerts")->{content} =~ /"state":"firing"/ }, 'they fire again'),
		'after its restart, too');
	end_program($pid);
	my $log = slurp_file("$PostgreSQL::Test::Utils::log_path/vmalert.log");
	my @errors = grep { !/127\.0\.0\.1:9\b|notifier|alertmanager/ } $log =~ /^.*\terror\t.*$/mg;
	is_deeply(\@errors, [], 'vmalert had no other error than the notifier that is not there');
	my ($restored) = slurp_file("$PostgreSQL::Test::Utils::log_path/vmalert_again.log") =~ /^(.*restor.*)$/m;
	note($restored // 'nothing is said of restoring');
}
$node->stop;
done_testing();

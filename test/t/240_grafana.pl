# Each request that Grafana sends gets what Grafana needs; every panel of our dashboards, and the examples in
# README.md, give something with the data of a real Prometheus and node exporter.

use strict;
use warnings;

use FindBin;
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

foreach my $program (qw(prometheus prometheus-node-exporter))
{
	plan skip_all => "$program is not installed" unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my $top = "$FindBin::Bin/../..";
my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $prometheus_port = free_port();
my $exporter_port = free_port();
my $node = start_node(new_node('primary'));
my $begin = time;

my $config = slurp_file("$top/contrib/prometheus/prometheus.yml");
$config =~ s/prometheus:9090/127.0.0.1:$prometheus_port/;
$config =~ s/node-exporter:9100/127.0.0.1:$exporter_port/;
$config =~ s/promgres:9201/127.0.0.1:$node->{gateway_port}/g;
# help and type come with the first samples, not a minute later
$config =~ s/^( *)- (url: .*write)$/$1- $2\n$1  metadata_config:\n$1    send_interval: 1s/m;
append_to_file("$tmp/prometheus.yml", $config);
spawn('node_exporter', 'prometheus-node-exporter', "--web.listen-address=127.0.0.1:$exporter_port");
spawn('prometheus', 'prometheus', "--config.file=$tmp/prometheus.yml", "--storage.tsdb.path=$tmp/tsdb",
	"--web.listen-address=127.0.0.1:$prometheus_port");

# Headers as the data proxy sends them.
my %headers = ('User-Agent' => 'Grafana/12.1.0', 'X-Grafana-Org-Id' => 1, 'X-Dashboard-Uid' => 'promgres-node', 'X-Panel-Id' => 3,
	FromAlert => 'true', traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'X-Scope-OrgID' => 'a');
my $http = HTTP::Tiny->new(timeout => 180);

# The answer, parsed: {http, status, data, ...}
sub parsed
{
	my ($answer) = @_;
	my $json = eval { decode_json($answer->{content}) };
	return { http => $answer->{status}, ref $json eq 'HASH' ? %$json : (text => $answer->{content}), %$answer{headers} };
}

sub get { return parsed($http->get(gateway_url($node, '/api/v1/' . $_[0]), { headers => \%headers })) }

# The settings of the data source add parameters to the URL of a POST.
sub post
{
	my ($path, $form, $url) = @_;
	return parsed($http->post_form(gateway_url($node, "/api/v1/$path" . ($url // '')), $form, { headers => \%headers }));
}

# Of these requests Grafana takes 404 for "has no such thing", anything else must be right.
sub optional
{
	my ($path, $name, $check) = @_;
	my $got = get($path);
	note("$path is not there") if $got->{http} == 404;
	ok($got->{http} == 404 || ($got->{http} == 200 && $got->{status} eq 'success' && $check->($got->{data})), $name);
	return;
}

# ---- Save & test ----
my $test = post('query', { query => '1+1', time => 4 });
is(JSON::PP->new->canonical->encode($test->{data}), '{"result":[4,"2"],"resultType":"scalar"}', 'save & test: 1+1 is 2');
my $build = get('status/buildinfo');
like($build->{data}{version}, qr/^\d+\.\d+\.\d+/, 'buildinfo: a semantic version');
cmp_ok((split /\./, $build->{data}{version})[0], '>=', 3, 'of a release with all endpoints');
ok(!exists $build->{data}{features}, 'without features, which mean Mimir');
is(get('status/config/v1/rules/test/test')->{http}, 404, 'rules of Mimir: not found');
is($http->get(gateway_url($node, '/config/v1/rules/test/test'))->{status}, 404, 'those of Cortex neither');

# ---- data, real and ours ----
ok(wait_for(sub { $node->safe_psql('postgres', "SELECT count(DISTINCT t_ms) > 14 FROM prom.samples_of('promgres_up')") eq 't' },
		'promgres has been scraped'), 'a quarter of a minute of data');
is(remote_write($node, sample_series())->{status}, 204, 'and samples of another time');
# A time until which all of it has come, from every target.
my $end = $node->safe_psql('postgres', 'SELECT min(t) / 1000.0 FROM (SELECT max(t_ms) AS t FROM prom.samples_of($$up$$) GROUP BY labels) x');
my ($from, $to) = ($Promgres::sample_end_ms / 1000 - 3600, $Promgres::sample_end_ms / 1000);

# ---- first use of the data source ----
optional('rules', 'rules: groups', sub { ref $_[0]{groups} eq 'ARRAY' });
optional("query_exemplars?query=test&start=${from}000&end=${to}000", 'exemplars: times in milliseconds pass', sub { ref $_[0] eq 'ARRAY' });
wait_for(sub { get('metadata?metric=node_load1')->{data}{node_load1} }, 'metadata has come');
optional('metadata?limit=5000', 'metadata: type and help',
	sub { ref $_[0] eq 'HASH' && $_[0]{node_load1}[0]{type} eq 'gauge' && $_[0]{node_load1}[0]{help} =~ /load/ });
optional('alerts', 'alerts', sub { ref $_[0]{alerts} eq 'ARRAY' });
optional('rules?type=alert&group_limit=40', 'alert rules', sub { ref $_[0]{groups} eq 'ARRAY' });
my $window = "start=$from&end=$to";
my $names = get("label/__name__/values?$window&limit=40000&match[]=%7B__name__!%3D%22%22%7D")->{data};
is_deeply($names, [qw(ends latency_bucket requests_total special temperature)], 'names of metrics of a time, sorted');
my $cut = get('label/__name__/values?limit=3');
is(scalar(@{ $cut->{data} }), 3, 'a limit is kept');
like($cut->{warnings}[0], qr/limit/, 'and told');
my %labels = map { $_ => 1 } @{ get("labels?$window&limit=40000")->{data} };
is_deeply([ grep { $labels{$_} } qw(__name__ instance job kind le) ], [qw(__name__ instance job kind le)], 'names of labels');
is_deeply(post('labels', { 'match[]' => 'temperature', start => $from, end => $to, limit => 40000 })->{data}, [qw(__name__ instance job)],
	'the same by POST, of one metric');
is_deeply(get('label/nix/values')->{data}, [], 'no values: an empty array, not null');
is_deeply(get('label/U__le/values?match[]=latency_bucket')->{data}, [ '+Inf', '0.1', '1', '10' ], 'an escaped name of a label');
is(scalar(@{ post('series', { 'match[]' => 'latency_bucket', start => $from, end => $to, limit => 40000 })->{data} }), 20, 'series by POST');

# ---- panels ----
my %range = (start => $from + 0.5, end => "$to.0", step => '15.000');
my $panel = post('query_range', { query => 'temperature', %range, timeout => '30s' }, '?max_source_resolution=auto&dedup=true');
is($panel->{data}{resultType}, 'matrix', 'a panel: matrix');
is(scalar(@{ $panel->{data}{result} }), 5, 'all series');
ok(!(grep { ref $_->[1] || JSON::PP->new->allow_nonref->encode($_->[1]) !~ /^"/ } map { @{ $_->{values} } } @{ $panel->{data}{result} }), 'values are strings');
is(post('query_range', { query => 'temperature', %range }, '?step=7200')->{data}{result}[0]{values}[1][0], $from + 15.5, 'the body wins over the URL');
is(post('query', { query => 'temperature', time => "$to.123" })->{data}{resultType}, 'vector', 'a table: vector');
is_deeply(post('query_range', { query => 'nix', %range })->{data}, { resultType => 'matrix', result => [] }, 'nothing is an empty array');
my $part = post('query_range', { query => 'rate(requests_total[1m])', start => $to - 600, end => $to, step => 15 })->{data}{result}[0]{values};
my $whole = post('query_range', { query => 'rate(requests_total[1m])', start => $to - 3600, end => $to, step => 15 })->{data}{result}[0]{values};
is_deeply($part, [ @$whole[ -41 .. -1 ] ], 'incremental: the last part alone is the same');
my $notes = post('query_range', { query => 'rate(temperature[5m])', %range });
like($notes->{infos}[0] // '', qr/might not be a counter/, 'notices of the panel');
my $bad = post('query_range', { query => 'sum(', %range });
is_deeply([ @$bad{qw(http status errorType)} ], [ 400, 'error', 'bad_data' ], 'an error is in the envelope');
is(get('query_range?query=up')->{http}, 400, 'GET after a POST that was refused');
my $stats = post('query', { query => '1', stats => 'all', max_samples_processed_warning_threshold => 1000 });
is($stats->{status}, 'success', 'stats and thresholds');

# ---- variables ----
is_deeply(get("label/instance/values?match[]=temperature&$window")->{data}, [ map { "host$_:9100" } 1 .. 5 ], 'label_values(metric, label)');
is_deeply(get('label/__name__/values?match[]=%7B__name__%3D~%22.*emper.*%22%7D')->{data}, ['temperature'], 'metrics(re)');
is(scalar(@{ get("series?match[]=temperature&$window")->{data} }), 5, 'a bare selector');
is(scalar(@{ get("query?query=temperature&time=$to")->{data}{result} }), 5, 'query_result(expr)');
is(get('query?query=temperature%7Bjob%3D~%22(app%7Cb%5C%5C.c)%22%7D&time=' . $to)->{data}{result}[0]{metric}{job}, 'app', 'several values, escaped');

# ---- annotations, alerts ----
is_deeply([ map { $_->{metric} } @{ post('query_range', { query => 'ends > 0', start => $from, end => $to, step => 60 })->{data}{result} } ],
	[ { __name__ => 'ends', job => 'app' } ], 'annotations: regions with their labels');
is_deeply(post('query', { query => 'nix > 0', time => $to })->{data}, { resultType => 'vector', result => [] }, 'no data is no error');

# ---- dashboards ----

# The macros and variables, replaced as text.
sub expand
{
	my ($text, $sql) = @_;
	my ($t_from, $t_to) = map { "'" . substr($node->safe_psql('postgres', "SELECT to_json(to_timestamp($_) AT TIME ZONE 'UTC')"), 1, -1) . "Z'" } $begin, $end;
	$text =~ s/\$__interval_ms/1000/g;
	$text =~ s/\$__interval/1s/g;
	$text =~ s/\$__rate_interval/8s/g;
	$text =~ s/\$job/.+/g;
	return $text unless $sql;
	$text =~ s/\$__timeFrom\(\)/$t_from/g;
	$text =~ s/\$__timeTo\(\)/$t_to/g;
	$text =~ s/\$__timeFilter\(([^)]*)\)/$1 BETWEEN $t_from AND $t_to/g;
	$text =~ s/\$__timeGroup\(([^,)]*),\s*'(\d+)s'\),/floor(extract(epoch from $1)\/$2)*$2 AS "time",/g;
	return $text;
}

sub run_sql
{
	my ($sql, $name, $series) = @_;
	my $text = expand($sql, 1);
	unlike($text, qr/\$\w+\(/, "$name: no macro that Grafana does not know");
	my ($status, $out, $err) = $node->psql('postgres', $text, extra_params => [ '-F', "\t" ]);
	is($status, 0, "$name: runs") or diag($err);
	cmp_ok(length $out, '>', 0, "$name: gives rows");
	return unless $series;
	my @times = map { (split /\t/)[0] } split /\n/, $out;
	is_deeply(\@times, [ sort @times ], "$name: times ascend");
	return;
}

$node->safe_psql('postgres', slurp_file("$top/contrib/demo/service.sql"), extra_params => [ '-v', 'password=secret' ]);
my %seen;
foreach my $file (sort glob "$top/contrib/grafana/dashboards/*.json")
{
	my $dashboard = decode_json(slurp_file($file));
	ok(!$seen{ $dashboard->{uid} }++, "$file: an identity of its own");
	foreach my $panel (@{ $dashboard->{panels} })
	{
		foreach my $target (@{ $panel->{targets} })
		{
			my $name = "$dashboard->{title} / $panel->{title} $target->{refId}";
			if ($target->{rawSql})
			{
				run_sql($target->{rawSql}, $name, ($target->{format} // 'time_series') eq 'time_series' && $panel->{type} eq 'timeseries');
				next;
			}
			my $got = $target->{instant}
			  ? post('query', { query => expand($target->{expr}), time => $end })
			  : post('query_range', { query => expand($target->{expr}), start => $begin, end => $end, step => 1 });
			is($got->{status}, 'success', "$name: runs") or diag($got->{error});
			cmp_ok(scalar(@{ $got->{data}{result} // [] }), '>', 0, "$name: shows something");
		}
	}
	foreach my $variable (@{ $dashboard->{templating}{list} // [] })
	{
		my ($metric, $label) = $variable->{query}{query} =~ /^label_values\((\w+), (\w+)\)$/;
		cmp_ok(scalar(@{ get("label/$label/values?match[]=$metric")->{data} }), '>', 0, "$dashboard->{title}: variable $variable->{name}");
	}
}

# ---- examples ----
my ($section) = slurp_file("$top/README.md") =~ /\n### Grafana\n(.*?)\n##/s;
my @examples = ($section =~ /```sql\n(.*?)```/sg, $section =~ /`(SELECT [^`]*)`/g);
cmp_ok(scalar(@examples), '>=', 5, 'README.md has examples');
run_sql($_, 'README: ' . (split /\n/)[0], /time/i) foreach @examples;
$node->stop;
done_testing();

# Every endpoint answers in the shape that clients of Prometheus read; Prometheus' own client is content.

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary'));
my $t = 1_700_000_000;
my $json = JSON::PP->new->canonical;

# Two days of one metric, and another that is only on the first.
my $day = 86_400;
remote_write($node,
	(map { my $i = $_; [ { __name__ => 'requests', job => 'web', instance => "i$i" }, map { [ ($t + 15 * $_) * 1000, $_ ] } 0 .. 20 ] } 1 .. 5),
	[ { __name__ => 'old', job => 'gone', era => 'first' }, [ ($t - 2 * $day) * 1000, 1 ] ])->{status} == 204
  or die 'write';
$node->safe_psql('postgres', <<'SQL');
INSERT INTO prom.metadata SELECT 0, f, pg_catalog.md5(f || y || h)::uuid, y, h, u
FROM (VALUES ('requests', 'counter', 'Requests "served".', ''), ('requests', 'gauge', 'Requests in work.', ''),
	('size', 'gauge', 'Size of it.', 'bytes')) AS m(f, y, h, u);
CALL prom.merge();
SQL

sub set
{
	my ($setting, $value) = @_;
	$node->append_conf('postgresql.conf', "$setting = '$value'");
	$node->reload;
	return;
}

sub get
{
	my ($path) = @_;
	my $answer = http_get($node, "/api/v1/$path");
	return ($answer->{status}, eval { decode_json($answer->{content}) } // $answer->{content});
}

# What is in "data", as canonical JSON.
sub data
{
	my ($path) = @_;
	my ($status, $answer) = get($path);
	return "$status $answer" unless ref $answer;
	return "$status $answer->{error}" if $answer->{status} ne 'success';
	return $json->encode($answer->{data});
}

# Those that need no data, and what is refused.
my @shapes = (
	[ 'targets', '{"activeTargets":[],"droppedTargetCounts":{},"droppedTargets":[]}' ],
	[ 'targets?state=active&scrapePool=a', '{"activeTargets":[],"droppedTargetCounts":{},"droppedTargets":[]}' ],
	[ 'targets/metadata', '[]' ],
	[ 'targets/metadata?match_target=%7Bjob=%22a%22%7D&metric=up&limit=3', '[]' ],
	[ 'targets/metadata?match_target=%7Bjob', qr/^400 invalid parameter "match_target": 1:5: parse error: / ],
	[ 'targets/metadata?limit=a', '400 invalid parameter "limit": strconv.Atoi: parsing "a": invalid syntax' ],
	[ 'scrape_pools', '{"scrapePools":[]}' ],
	[ 'rules', '{"groups":[]}' ],
	[ 'rules?type=alert&rule_name[]=a&rule_group[]=b&file[]=c&match[]=up&exclude_alerts=true&group_limit=3', '{"groups":[]}' ],
	[ 'rules?type=x', '400 invalid parameter "type": not supported value "x"' ],
	[ 'rules?exclude_alerts=x', qr/^400 invalid parameter "exclude_alerts": .*ParseBool: parsing "x"/ ],
	[ 'rules?match[]=%7B', qr/^400 invalid parameter "match\[\]": 1:2: parse error/ ],
	[ 'rules?group_limit=0', qr/^400 invalid parameter "group_limit": .*greater than 0/ ],
	[ 'rules?group_limit=a', qr/^400 invalid parameter "group_limit": .*valid number/ ],
	[ 'rules?group_limit=1&group_next_token=abc', qr/^400 .*invalid group_next_token 'abc'/ ],
	[ 'rules?group_next_token=abc', qr/^400 .*group_limit needs to be present/ ],
	[ 'alerts', '{"alerts":[]}' ],
	[ 'alertmanagers', '{"activeAlertmanagers":[],"droppedAlertmanagers":[]}' ],
	[ 'status/tsdb/blocks', '{"blocks":[]}' ],
	[ 'status/walreplay', '{"current":0,"max":0,"min":0}' ],
	[ 'notifications', '[]' ],
	[ 'notifications/live', '204 ' ],
	[ 'query_exemplars?query=test&start=1767225600000&end=1767229200000', '[]' ],
	[ 'query_exemplars?query=1', '204 ' ],
	[ 'query_exemplars?query=sum(', qr/^400 1:5: parse error: / ],
	[ 'query_exemplars?query=a&start=2&end=1', qr/^400 invalid parameter "end": / ],
	[ 'search/metric_names', "404 404 page not found\n" ],
	[ 'status/flags', "404 404 page not found\n" ]);
foreach (@shapes)
{
	my ($path, $expected) = @$_;
	ref $expected ? like(data($path), $expected, $path) : is(data($path), $expected, $path);
}

# Metadata.
my %entry = (
	counter => '{"help":"Requests \"served\".","type":"counter","unit":""}',
	gauge => '{"help":"Requests in work.","type":"gauge","unit":""}',
	size => '{"help":"Size of it.","type":"gauge","unit":"bytes"}');
is(data('metadata'), qq({"requests":[$entry{counter},$entry{gauge}],"size":[$entry{size}]}), 'metadata of all');
is(data('metadata?metric=size'), qq({"size":[$entry{size}]}), 'of one');
is(data('metadata?metric=none'), '{}', 'of one that is not there');
is(data('metadata?limit=1&limit_per_metric=1'), qq({"requests":[$entry{counter}]}), 'limited');
like(data('metadata?limit_per_metric=a'), qr/^400 invalid parameter "limit_per_metric"/, 'limits are checked');

# Cardinality.
my (undef, $tsdb) = get('status/tsdb');
is_deeply($tsdb->{data}{headStats},
	{ numSeries => 6, numLabelPairs => 10, chunkCount => $tsdb->{data}{headStats}{chunkCount}, minTime => ($t - 2 * $day) * 1000, maxTime => ($t + 300) * 1000 },
	'status/tsdb: head');
is_deeply($tsdb->{data}{seriesCountByMetricName}, [ { name => 'requests', value => 5 }, { name => 'old', value => 1 } ], 'series of metrics');
is_deeply($tsdb->{data}{labelValueCountByLabelName}[0], { name => 'instance', value => 5 }, 'values of labels');
is_deeply($tsdb->{data}{memoryInBytesByLabelName}[0], { name => 'instance', value => 50 }, 'their bytes');
is_deeply([ map { $_->{name} . ' ' . $_->{value} } @{ $tsdb->{data}{seriesCountByLabelValuePair} }[ 0 .. 2 ] ],
	[ '__name__=requests 5', 'job=web 5', '__name__=old 1' ], 'series of pairs');
is(scalar @{ (get('status/tsdb?limit=1'))[1]{data}{$_} }, 1, "limit of $_")
  foreach qw(seriesCountByMetricName labelValueCountByLabelName memoryInBytesByLabelName seriesCountByLabelValuePair);
like(data("status/tsdb?limit=$_"), qr/^400 invalid parameter "limit"/, "limit=$_") foreach (0, -1, 10001, 'a');

# Who may see some series does not hear how many there are.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE half;
GRANT USAGE ON SCHEMA prom TO half;
GRANT SELECT ON ALL TABLES IN SCHEMA prom TO half;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY part ON prom.series TO half USING (prom.label(labels, 'job') = 'web');
SQL
my (undef, undef, $err) = $node->psql('postgres', 'SET ROLE half; SELECT prom._api_tsdb(10)');
like($err, qr/figures about all series are not for those who may see some of them/, 'row security closes status/tsdb');
is($node->safe_psql('postgres', q(SET ROLE half; SELECT string_agg(f, '') FROM prom._api_label_values('job', '{}', 1, 9000000000000, 0) f)),
	'["web"]', 'and holds where a time narrows values');
$node->safe_psql('postgres', 'ALTER TABLE prom.series DISABLE ROW LEVEL SECURITY');

# The server.
my (undef, $build) = get('status/buildinfo');
is_deeply([ sort keys %{ $build->{data} } ], [qw(branch buildDate buildUser goVersion revision version)],
	'buildinfo, without "features": Grafana would take it for Mimir');
like($build->{data}{version}, qr/^[3-9]\.\d+\.\d+$/, 'its version is of Prometheus 3');
is_deeply(decode_json(http_get($node, '/version')->{content}), $build->{data}, '/version is the same');
my (undef, $runtime) = get('status/runtimeinfo');
like($runtime->{data}{$_}, qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, "runtimeinfo: $_") foreach qw(startTime serverTime lastConfigTime);
ok(exists $runtime->{data}{$_}, "runtimeinfo has $_")
  foreach qw(CWD hostname reloadConfigSuccess corruptionCount goroutineCount GOMAXPROCS GOMEMLIMIT GOGC GODEBUG storageRetention);
cmp_ok($runtime->{data}{startTime}, 'le', $runtime->{data}{serverTime}, 'it began before now');
is(data('status/config'), '{"yaml":"global:\n  external_labels: {}\n"}', 'no external labels');
set('promgres.external_labels', '{replica="a", region="eu \\\\"1\\\\""}');
ok(wait_for(sub { data('status/config') ne '{"yaml":"global:\n  external_labels: {}\n"}' }, 'labels'), 'external labels');
is(data('status/config'), $json->encode({ yaml => <<'YAML' }), 'which are valid YAML');
global:
  external_labels:
    "region": "eu \"1\""
    "replica": "a"
YAML
isnt($node->psql('postgres', q(ALTER SYSTEM SET promgres.external_labels = '{replica')), 0, 'nonsense is refused at once');
set('promgres.serve_flags', 'on');
ok(wait_for(sub { (get('status/flags'))[0] == 200 }, 'flags'), 'status/flags by a setting');
is_deeply([ @{ (get('status/flags'))[1]{data} }{qw(query.lookback-delta web.enable-admin-api query.timeout)} ], [qw(5m false 2m)],
	'has values as Prometheus writes them');
my (undef, $features) = get('features');
ok(JSON::PP::is_bool($features->{data}{promql}{subqueries}), 'features: category, name, bool');

# Stats.
my (undef, $stats) = get("query_range?query=requests&start=$t&end=@{[ $t + 300 ]}&step=15&stats=all");
is_deeply([ sort keys %{ $stats->{data}{stats}{timings} } ],
	[qw(evalTotalTime execQueueTime execTotalTime innerEvalTime queryPreparationTime resultSortTime)], 'stats: timings');
cmp_ok($stats->{data}{stats}{timings}{execTotalTime}, '>=', $stats->{data}{stats}{timings}{innerEvalTime}, 'the parts are not more than the whole');
cmp_ok($stats->{data}{stats}{timings}{innerEvalTime}, '>', 0, 'it took some time');
is($stats->{data}{stats}{samples}{samplesRead}, 105, 'samples that were read');
is($stats->{data}{stats}{seriesFetched}, '5', 'series, as vmalert reads them');
ok(!exists((get("query?query=requests&time=$t"))[1]{data}{stats}), 'no stats unless wanted');
like((get('query?query=1&stats=x'))[1]{warnings}[0], qr/deprecated/, 'other values of stats are deprecated');
is((get("query?query=%22a%22&time=$t&stats=true"))[1]{data}{resultType}, 'string', 'stats beside a string');

# Parameters of Thanos.
my $thanos = 'dedup=true&replicaLabels[]=replica&partial_response=0&max_source_resolution=auto&engine=thanos&analyze=false&storeMatch[]=x';
is(data("query?query=1&time=1&$thanos"), '{"result":[1,"1"],"resultType":"scalar"}', 'parameters of Thanos are accepted');
like(data("query?query=1&$_"), qr/^400 /, $_) foreach ('dedup=x', 'partial_response=yes', 'max_source_resolution=-1s', 'max_source_resolution=x');
like(data("labels?max_source_resolution=5m&dedup=x"), qr/^400 invalid parameter "dedup"/, 'on all endpoints');

# Times narrow what is there, without a selector too.
my $recent = "start=$t&end=@{[ $t + 300 ]}";
is(data('labels'), '["__name__","era","instance","job"]', 'all names');
is(data("labels?$recent"), '["__name__","instance","job"]', 'names of a time');
is(data("label/job/values?$recent"), '["web"]', 'values of a time');
is(data("label/job/values?start=@{[ $t - 3 * $day ]}&end=@{[ $t - $day ]}"), '["gone"]', 'of another');
is(data("label/job/values?end=@{[ $t - 9 * $day ]}"), '[]', 'of a time before all');
is(data('label/job/values?start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z'), '["gone","web"]', 'of all times');
remote_write($node, [ { __name__ => 'fresh', job => 'new' }, [ ($t + 100) * 1000, 1 ] ]);
is(data("label/job/values?$recent"), '["new","web"]', 'what has just come is there');

# Administration.
sub admin
{
	my ($path) = @_;
	my $answer = http_post($node, "/api/v1/admin/tsdb/$path", '');
	return "$answer->{status} $answer->{content}";
}
foreach my $path (qw(delete_series?match[]=old clean_tombstones snapshot))
{
	is(admin($path), '500 {"status":"error","errorType":"unavailable","error":"admin APIs disabled: promgres.admin_api is off"}', "$path is off");
}
set('promgres.admin_api', 'on');
ok(wait_for(sub { admin('clean_tombstones') eq '204 ' }, 'admin'), 'clean_tombstones when it is on');
like(admin('snapshot'), qr/^422 .*promgres\.snapshot_directory.*pg_basebackup/, 'snapshot says what it wants');
my $snapshots = PostgreSQL::Test::Utils::tempdir();
set('promgres.snapshot_directory', $snapshots);
my $taken;
ok(wait_for(sub { ($taken = admin('snapshot')) =~ /^200/ }, 'a snapshot'), 'snapshot');
like($taken, qr/^200 \{"status":"success","data":\{"name" ?: ?"\d{8}T\d{6}Z-[0-9a-f]{16}"\}\}/, 'and its name');
my ($taken_name) = $taken =~ /(\d{8}T\d{6}Z-[0-9a-f]{16})/;
like(`promtool tsdb list $snapshots/$taken_name 2>&1`, qr/^01[0-9A-Z]{24}/m, 'which Prometheus can read');
is(() = glob("$snapshots/$taken_name/*/meta.json"), 2, 'a block for each day');
like(admin('snapshot?skip_head=x'), qr/^400 invalid|^400 .*skip_head/, 'and checks its parameter');
like(admin('delete_series'), qr/^400 .*no match\[\] parameter provided/, 'delete_series wants a selector');
like(admin('delete_series?match[]=requests&match[]=%7B'), qr/^400 .*parse error/, 'well-formed ones');
is(data("query?query=count(requests)&time=@{[ $t + 300 ]}"), qq({"result":[{"metric":{},"value":[@{[ $t + 300 ]},"5"]}],"resultType":"vector"}),
	'and deletes nothing otherwise');
is(admin("delete_series?match[]=requests%7Binstance=%22i1%22%7D&match[]=old&end=" . ($t + 15)), '204 ', 'delete_series');
is($node->safe_psql('postgres', "SELECT count(*) FROM prom.samples_of('requests{instance=\"i1\"}')"), 19, 'of the times it names');
is(data('label/job/values'), '["new","web"]', 'series without samples are gone');
is(http_get($node, '/api/v1/admin/tsdb/delete_series')->{status}, 405, 'not by GET');

# Who watches.
foreach my $path (qw(healthy ready))
{
	my $answer = http_get($node, "/-/$path");
	like($answer->{content}, qr/^promgres is (Healthy|Ready)\.\n$/, "/-/$path");
}
foreach my $path (qw(reload quit))
{
	my $answer = http_post($node, "/-/$path", '');
	is("$answer->{status} $answer->{content}", '403 Lifecycle API is not enabled.', "/-/$path");
	is(http_get($node, "/-/$path")->{status}, 405, "/-/$path is for POST");
}

# What other systems call the write endpoint.
foreach my $path (
	qw(/api/v1/receive /api/v1/push /api/prom/push /write /prometheus/api/v1/write
	/push /insert/0/prometheus /insert/0/prometheus/api/v1/write /insert/1:2/prometheus/api/v1/push))
{
	(my $job = $path) =~ s/\W/_/g;
	is(http_post($node, $path, write_body([ { __name__ => 'alias', job => $job }, [ $t * 1000, 1 ] ]), 'Content-Type' => 'application/x-protobuf')->{status},
		204, "POST $path");
	is(data("query?query=alias%7Bjob=%22$job%22%7D&time=$t"),
		qq({"result":[{"metric":{"__name__":"alias","job":"$job"},"value":[$t,"1"]}],"resultType":"vector"}), "$path stores");
}
is(http_get($node, '/select/0/prometheus/api/v1/labels')->{status}, 200, 'VictoriaMetrics\' path for reading');

# Prometheus' own client.
SKIP:
{
	skip 'no promtool', 5 unless grep { -x "$_/promtool" } split /:/, $ENV{PATH};
	my $url = gateway_url($node);
	my $promtool = sub {
		my ($out, $err);
		my $ok = IPC::Run::run([ 'promtool', @_ ], '>', \$out, '2>', \$err);
		return $ok ? $out : "FAILED: $err$out";
	};
	like($promtool->('query', 'instant', '--time', $t, $url, 'sum(requests)'), qr/^\{\} => 0 @\[1700000000\]/, 'promtool query instant');
	like($promtool->('query', 'range', '--start', $t, '--end', $t + 30, '--step', '15s', $url, 'requests{instance="i2"}'),
		qr/instance="i2".*\n0 @\[1700000000\]\n1 @\[1700000015\]\n2 @\[1700000030\]/, 'promtool query range');
	like($promtool->('query', 'series', '--start', $t, '--end', $t + 300, '--match', 'requests{instance="i2"}', $url), qr/^\{__name__="requests", instance="i2", job="web"\}\n$/,
		'promtool query series');
	like($promtool->('query', 'labels', '--start', $t, '--end', $t + 300, $url, 'instance'), qr/^i1\ni2\ni3\ni4\ni5\n$/, 'promtool query labels');
	like($promtool->('query', 'instant', $url, 'sum('), qr/FAILED: .*bad_data.*parse error/s, 'promtool shows what is wrong');
}

done_testing();

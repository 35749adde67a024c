# A real Prometheus with an empty TSDB that reads from promgres answers as promgres does; and a real Prometheus
# that federates from promgres has the newest samples, their times and labels.

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

plan skip_all => 'prometheus is not installed' unless grep { -x "$_/prometheus" } split /:/, $ENV{PATH};

my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $node = start_node(new_node('primary', 'promgres.external_labels' => '{replica="a"}'));
my $json = JSON::PP->new->canonical;

sub start_prometheus
{
	my ($name, $config) = @_;
	my $port = free_port();
	append_to_file("$tmp/$name.yml", $config);
	spawn($name, 'prometheus', "--config.file=$tmp/$name.yml", "--storage.tsdb.path=$tmp/$name",
		"--web.listen-address=127.0.0.1:$port", '--storage.remote.read-sample-limit=0');
	ok(wait_for(sub { HTTP::Tiny->new->get("http://127.0.0.1:$port/-/ready")->{status} == 200 }, "$name is ready"), "$name is ready");
	return "http://127.0.0.1:$port";
}

sub ask
{
	my ($url, $path, $form) = @_;
	my $answer = HTTP::Tiny->new(timeout => 180)->post_form("$url/api/v1/$path", $form);
	my $got = eval { decode_json($answer->{content}) } // return "HTTP $answer->{status} $answer->{content}";
	return $json->encode($got) if $got->{status} ne 'success';
	my $result = ref $got->{data} eq 'HASH' ? $got->{data}{result} : $got->{data};
	# what Prometheus has read has our external labels
	delete $_->{metric}{replica} foreach grep { ref $_ eq 'HASH' } @$result;
	# sums may differ in their last digit, by the order of their terms
	my $text = join "\n", sort map { ref $_ ? $json->encode($_) : $_ } @$result;
	$text =~ s/"(-?\d[\d.]*\.\d+(?:e[-+]?\d+)?)"/sprintf '"%.12g"', $1/ge;
	return $text;
}

# Remote read: a Prometheus without any data.
is(remote_write($node, sample_series())->{status}, 204, 'samples are written');
$node->safe_psql('postgres', 'CALL prom.merge()');
# no sample at the edge of a window, which releases of Prometheus take differently
my $now_ms = int(time) * 1000 + 137;
is( remote_write($node,
		(map { [ { __name__ => 'recent', i => $_ }, map { [ $now_ms - 600_000 + 1000 * $_, $_ ] } 0 .. 590 ] } 1 .. 20),
		[ { __name__ => 'gone', i => 1 }, [ $now_ms - 90_000, 1 ], [ $now_ms - 60_000, 'stale' ] ])->{status},
	204, 'and some of now, not merged');

my $reader = start_prometheus('reader', <<"YML");
remote_read:
  - url: @{[ gateway_url($node, '/api/v1/read') ]}
    read_recent: true
YML
my $end = $Promgres::sample_end_ms / 1000 - 8;
my $now = int($now_ms / 1000);
foreach my $expr ('requests_total', 'special', 'ends', 'sum by (job) (rate(requests_total[5m]))',
	'avg without (instance) (temperature)', 'max_over_time(temperature[10m])', '{job="app",instance=~"host[12].*"}',
	'histogram_quantile(0.9, sum by (le) (rate(latency_bucket[5m])))', 'requests_total / on (instance, job) temperature',
	'temperature{instance!="host1:9100"} > 20', 'increase(requests_total[1h])', 'last_over_time(ends[3h])', 'nix')
{
	my $ours = ask(gateway_url($node), 'query', { query => $expr, time => $end });
	is(ask($reader, 'query', { query => $expr, time => $end }), $ours, "$expr: same answer");
	cmp_ok(length $ours, '>', 10, 'which says something') if $expr !~ /nix|^ends|^special/;
	my %range = (start => $end - 7200, end => $end, step => 60);
	is(ask($reader, 'query_range', { query => $expr, %range }), ask(gateway_url($node), 'query_range', { query => $expr, %range }),
		"$expr: over a range, too");
}
foreach my $expr ('recent', 'sum(rate(recent[1m]))', 'gone', 'count_over_time(gone[5m])')
{
	my %range = (start => $now - 300, end => $now - 20, step => 10);
	is(ask($reader, 'query_range', { query => $expr, %range }), ask(gateway_url($node), 'query_range', { query => $expr, %range }),
		"$expr: of now");
}
is(ask($reader, 'query', { query => 'recent{replica="a"}', time => $now - 20 }), ask(gateway_url($node), 'query', { query => 'recent', time => $now - 20 }),
	'a matcher of an external label');
like(ask($reader, 'series', { 'match[]' => 'temperature', start => $end - 600, end => $end }), qr/host5:9100/, 'series');

# Federation.
my $scraper = start_prometheus('scraper', <<"YML");
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: federate
    honor_labels: true
    metrics_path: /federate
    params:
      'match[]': ['{__name__="recent"}', '{i=~"1|2"}', 'fed']
    static_configs:
      - targets: ['127.0.0.1:$node->{gateway_port}']
  - job_name: promgres
    static_configs:
      - targets: ['127.0.0.1:$node->{gateway_port}']
YML
my $fed_ms = int(time * 1000) - 1234;
is( remote_write($node, [ { __name__ => 'fed', instance => 'host1:9100', job => 'app', path => "a \"quoted\\ one\nline" }, [ $fed_ms, 1 / 3 ] ],
		[ { __name__ => 'fed', job => 'ended' }, [ $fed_ms - 1000, 1 ], [ $fed_ms, 'stale' ] ])->{status},
	204, 'a sample to be federated');
my $got;
ok( wait_for(
		sub {
			$got = decode_json(HTTP::Tiny->new->post_form("$scraper/api/v1/query", { query => 'fed[5m]' })->{content})->{data}{result};
			@$got > 0;
		},
		'it is scraped'),
	'it arrives');
is($json->encode($got),
	$json->encode([ { metric => { __name__ => 'fed', instance => 'host1:9100', job => 'app', path => "a \"quoted\\ one\nline", replica => 'a' },
			values => [ [ $fed_ms / 1000, '0.3333333333333333' ] ] } ]),
	'with its own time, labels, and the external one; what has ended does not come');
my $recent = decode_json(HTTP::Tiny->new->post_form("$scraper/api/v1/query", { query => 'recent[20m]' })->{content})->{data}{result};
is(scalar(@$recent), 20, 'all series of another');
is(scalar(grep { $_->{values}[-1][0] * 1000 == $now_ms - 10_000 && exists $_->{metric}{replica} && !exists $_->{metric}{instance} } @$recent),
	20, 'each its newest sample, without an instance of the scrape');
ok(wait_for(sub { ask($scraper, 'query', { query => 'sum(up)' }) =~ /"2"/ }, 'both targets are up'), 'both scrapes are well');
ok(wait_for(sub { ask($scraper, 'query', { query => 'promgres_up' }) =~ /"1"\]/ }, 'metrics are scraped'), 'so is /metrics');
$node->stop;
done_testing();

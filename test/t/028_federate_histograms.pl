# /federate tells native histograms in protobuf, those with custom bounds as classic ones everywhere; text leaves the others
# out and tells the rest; a real Prometheus that asks for native histograms gets them as they are.

use strict;
use warnings;

use File::Basename;
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $node = start_node(new_node('primary'));
my $functions = dirname(__FILE__) . '/../lib/body.sql';
my $json = JSON::PP->new->canonical;
my $family = 'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited';

# Samples of now: the newest of each series is told.
sub write_now
{
	my $now = int(time * 1000);
	$node->safe_psql('postgres', <<"SQL");
\\i $functions
SELECT 1 / (refused = 0)::int FROM prom.ingest(ARRAY[pg_temp.body(
	pg_temp.series_of('{__name__,requests,instance,a,job,app}', pg_temp.histogram($now - 1000, 1, 1, '{0,1}', '{1}'),
		pg_temp.histogram($now, 12, 3.5, '{-2,1,3,2}', '{1,2,1}', schema => 3, zero => 6, width => 0.001, n_spans => '{4,1}', n_counts => '{2}')),
	pg_temp.series_of('{__name__,requests,job,float}', pg_temp.sample($now, float8send(4::float8))),
	pg_temp.series_of('{__name__,gauge,job,"an app"}', pg_temp.histogram($now, 4.5, -3, '{0,1}', '{2.5}', whole => false, hint => 3)),
	pg_temp.series_of('{__name__,void,job,app}', pg_temp.histogram($now, 0, 0)),
	pg_temp.series_of('{__name__,ended,job,app}', pg_temp.histogram($now - 1000, 0, 0), pg_temp.sample($now, decode('7ff0000000000002', 'hex'))),
	pg_temp.series_of('{__name__,sizes,job,app}', pg_temp.histogram($now, 9, 77.25, '{0,1,2,2}', '{2,3,4}', schema => -53, custom => '{-1,0.25,10,1e9}')))]);
SQL
	return $now;
}

sub federate
{
	my ($accept) = @_;
	return HTTP::Tiny->new->get(gateway_url($node, '/federate?match[]=%7B__name__%3D~%22.%2B%22%7D'), { headers => { Accept => $accept } });
}

my $now = write_now();
my $answer = federate('text/plain;version=0.0.4');
is($answer->{status}, 200, 'text');
is($answer->{content}, <<"TEXT", 'a histogram with custom bounds is a classic one, others are left out');
# TYPE requests untyped
requests{job="float",instance=""} 4 $now
# TYPE sizes histogram
sizes_bucket{job="app",le="-1.0",instance=""} 2 $now
sizes_bucket{job="app",le="0.25",instance=""} 2 $now
sizes_bucket{job="app",le="10.0",instance=""} 2 $now
sizes_bucket{job="app",le="1e+09",instance=""} 5 $now
sizes_bucket{job="app",le="+Inf",instance=""} 9 $now
sizes_sum{job="app",instance=""} 77.25 $now
sizes_count{job="app",instance=""} 9 $now
TEXT
like(federate('application/openmetrics-text;version=1.0.0')->{content}, qr/^# TYPE sizes histogram\nsizes_bucket.*# EOF\n\z/ms, 'OpenMetrics');
$answer = federate("$family;q=0.7,text/plain;version=0.0.4;q=0.5");
like($answer->{headers}{'content-type'}, qr{^application/vnd\.google\.protobuf; proto=io\.prometheus\.client\.MetricFamily; encoding=delimited; escaping=underscores$}, 'protobuf');

# The families of a stream, as [ name, type, [ label=value, ... ], { field => value } ].
sub fields
{
	my ($bytes) = @_;
	my ($at, @out) = (0);
	my $varint = sub {
		my ($n, $shift) = (0, 0);
		while (1)
		{
			my $c = ord substr $bytes, $at++, 1;
			$n |= ($c & 127) << $shift;
			$shift += 7;
			return $n if $c < 128;
		}
	};
	while ($at < length $bytes)
	{
		my $tag = $varint->();
		my $value = ($tag & 7) == 0 ? $varint->() : undef;
		my $len = defined $value ? 0 : ($tag & 7) == 1 ? 8 : $varint->();
		$value //= substr $bytes, $at, $len;
		$at += $len;
		push @out, [ $tag >> 3, ($tag & 7) == 1 ? unpack('d<', $value) : $value, ($tag & 7) == 2 ];
	}
	return @out;
}

sub families
{
	my ($bytes) = @_;
	my @out;
	# a stream is what a message with one field looks like without its tags
	while (length $bytes)
	{
		my ($len, $shift, $at) = (0, 0, 0);
		do { $len |= (ord(substr $bytes, $at) & 127) << $shift; $shift += 7 } while ord(substr $bytes, $at++) & 128;
		my @family = fields(substr $bytes, $at, $len);
		$bytes = substr $bytes, $at + $len;
		foreach my $metric (map { $_->[0] == 4 ? $_->[1] : () } @family)
		{
			my @parts = fields($metric);
			my ($inner) = map { $_->[0] == 5 || $_->[0] == 7 ? $_->[1] : () } @parts;
			push @out, join ' ', (map { $_->[0] < 4 ? $_->[1] : () } @family),
			  (map { $_->[0] == 1 ? join '=', map { $_->[1] } fields($_->[1]) : $_->[0] == 6 ? $_->[1] == $now ? 'now' : $_->[1] : () } @parts), '|',
			  map { $_->[0] . ':' . ($_->[2] ? '(' . join(' ', map { "$_->[0]:$_->[1]" } fields($_->[1])) . ')' : $_->[1]) } fields($inner);
		}
	}
	return join "\n", @out, '';
}
is(families($answer->{content}), <<'TEXT', 'every kind of histogram; what has ended is not told');
gauge 5 job=an app instance= now | 4:4.5 2:-3 5:0 6:0 8:0 12:(1:0 2:1) 14:2.5
requests 3 job=float instance= now | 1:4
requests 4 instance=a job=app now | 1:12 2:3.5 5:6 6:0.001 7:6 9:(1:8 2:1) 10:4 12:(1:3 2:1) 12:(1:6 2:2) 13:2 13:2 13:1
sizes 4 job=app instance= now | 1:9 2:77.25 3:(1:2 2:-1) 3:(1:2 2:0.25) 3:(1:2 2:10) 3:(1:5 2:1000000000)
void 4 job=app instance= now | 1:0 2:0 5:0 6:0 7:0 12:(1:0 2:0)
TEXT
like(federate('application/vnd.google.protobuf;proto=other;encoding=delimited,text/plain;version=0.0.4;q=0.5')->{headers}{'content-type'}, qr{^text/plain}, 'another message: text');
like(federate('application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily,text/plain;version=0.0.4;q=0.5')->{headers}{'content-type'}, qr{^text/plain}, 'and another encoding');

SKIP:
{
	skip 'prometheus is not installed', 1 unless grep { -x "$_/prometheus" } split /:/, $ENV{PATH};
	my $port = free_port();
	append_to_file("$tmp/scraper.yml", <<"YML");
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: federate
    honor_labels: true
    metrics_path: /federate
    params:
      'match[]': ['{__name__=~".+"}']
    static_configs:
      - targets: ['127.0.0.1:$node->{gateway_port}']
YML
	spawn('scraper', 'prometheus', "--config.file=$tmp/scraper.yml", "--storage.tsdb.path=$tmp/scraper",
		'--enable-feature=native-histograms', "--web.listen-address=127.0.0.1:$port");
	my $ask = sub {
		my ($url, $expr) = @_;
		my $got = decode_json(HTTP::Tiny->new->post_form("$url/api/v1/query", { query => $expr })->{content});
		return join "\n", sort map {
			delete $_->{metric}{instance} if ($_->{metric}{instance} // '') eq '';
			$_->{metric}{le} += 0 if ($_->{metric}{le} // '') =~ /^[-0-9.]+$/;
			$json->encode([ $_->{metric}, $_->{histogram}[1] // $_->{value}[1] ])
		} @{ $got->{data}{result} };
	};
	my $url = "http://127.0.0.1:$port";
	ok( wait_for(sub { write_now(); $ask->($url, 'requests') =~ /"count":"12".*\n.*float/s && $ask->($url, 'up') =~ /"1"/ }, 'it is scraped', 180),
		'a Prometheus scrapes native histograms and floats of one name');
	my $shown = sub { $ask->(@_) =~ s/"(-?\d+\.\d+)"/sprintf '"%.12g"', $1/ger };
	is($shown->($url, 'requests'), $shown->(gateway_url($node), 'requests'), 'as they are here');
	like($ask->($url, 'sizes_bucket'), qr/"le":(10|"10(\.0)?").*"2"/, 'custom bounds are classic there');
	is(scalar(() = $ask->($url, 'sizes_bucket') =~ /"le"/g), 5, 'with all their buckets');
}
$node->stop;
done_testing();

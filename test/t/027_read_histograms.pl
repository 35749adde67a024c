# Remote read tells native histograms as they were written, as samples and as chunks; Prometheus' own chunks, read
# by the same decoder, say that it knows the format; and a Prometheus that reads from promgres answers as it does.

use strict;
use warnings;

use File::Basename;
use FindBin;
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $node = start_node(new_node('primary'));
my $tool = "$FindBin::Bin/../tools/remote_read.py";
my $functions = dirname(__FILE__) . '/../lib/body.sql';
my $json = JSON::PP->new->canonical;
my ($first, $last) = (1_700_000_000_000, 1_700_010_000_000);

# Of every kind, each a series: a counter that is reset, gains and loses buckets; floats; a gauge; custom bounds;
# floats and histograms by turns, with a stale marker; very many buckets.
my @series = (
	[ 'counter', q{1, 400}, q{5 * (i % 250), i / 7.0, CASE WHEN i % 250 < 100 THEN '{-2,1,3,2}' ELSE '{-2,1,1,1,1,2}' END::int[],
		CASE WHEN i % 250 < 100 THEN ARRAY[i % 250, 2 * (i % 250), i % 250] ELSE ARRAY[i % 250, 0, 2 * (i % 250), i % 250] END::float8[],
		schema => 3, zero => i % 250, width => 0.001} ],
	[ 'floats', q{1, 200}, q{i * 2, 'NaN', '{0,2}', ARRAY[i * 0.5, i], whole => false, n_spans => '{1,1}', n_counts => ARRAY[i / 3.0]::float8[], width => 1, zero => 0} ],
	[ 'gauge', q{1, 200}, q{(i * 37) % 11 + 3, -i, '{0,1}', ARRAY[(i * 37) % 11], n_spans => '{5,2}', n_counts => '{1,2}', hint => 3} ],
	[ 'custom', q{1, 130}, q{3 * i, 7.5 * i, '{0,1,2,1}', ARRAY[i, 2 * i], schema => -53, custom => '{-1,0.0001,0.25,33554.431,1e9}'} ],
	[ 'wide', q{1, 150}, q{3000 * i, i, '{-1000,3000}', array_fill(i::float8, ARRAY[3000]), schema => 8} ]);
foreach my $series (@series)
{
	my ($name, $range, $arguments) = @$series;
	$node->safe_psql('postgres', <<"SQL");
\\i $functions
SELECT 1 / (refused = 0)::int FROM prom.ingest(ARRAY[(SELECT pg_temp.body(pg_temp.series_of('{__name__,$name}', VARIADIC array_agg(
	pg_temp.histogram($first + i * 15000, $arguments))))
FROM generate_series($range) i)]);
SQL
}
$node->safe_psql('postgres', <<"SQL");
\\i $functions
SELECT 1 / (refused = 0)::int FROM prom.ingest(ARRAY[(SELECT pg_temp.body(pg_temp.series_of('{__name__,mixed}', VARIADIC array_agg(
	CASE WHEN i % 7 < 4 THEN pg_temp.histogram($first + i * 1000, i, i, '{0,1}', ARRAY[i::float8])
	ELSE pg_temp.sample($first + i * 1000, CASE WHEN i % 7 = 5 THEN decode('7ff0000000000002', 'hex') ELSE float8send(i) END) END)))
FROM generate_series(1, 40) i)]);
SQL

sub ask
{
	my ($url, @args) = @_;
	my $output = '';
	IPC::Run::run([ 'python3', $tool, $url, @args ], '>' => \$output, '2>&1') or return "FAILED $output";
	return $output;
}

# What is stored, as the tool prints it.
sub stored
{
	my ($name) = @_;
	my @lines;
	foreach my $line (split /\n/, $node->safe_psql('postgres', <<"SQL"))
SELECT t_ms, coalesce(histogram::text, encode(float8send(value), 'hex')) FROM prom.samples_of('$name') ORDER BY t_ms
SQL
	{
		my ($t, $text) = split /\|/, $line;
		push @lines, qq(0 {"__name__": "$name"} $t ) . ($text =~ /^\{\{/ ? plain($text) : $text) . "\n";
	}
	return join '', @lines;
}

# The text of a histogram as what is in it: JSON of populated buckets by index, and the rest.
sub plain
{
	my ($text) = @_;
	my %field;
	$field{$1} = $2 while $text =~ /([a-z_]+):(\[[^\]]*\]|[^\s}]+)/g;
	my %out = (schema => 0 + ($field{schema} // 0), int => $field{int} ? 1 : 0, custom => [ map { 0 + $_ } ($field{custom_values} // '') =~ /[^\s\[\]]+/g ]);
	$out{$_->[0]} = 0 + ($field{ $_->[1] } // 0) foreach [ count => 'count' ], [ zero => 'z_bucket' ], [ width => 'z_bucket_w' ];
	$out{sum} = ($field{sum} // 0) =~ /nan/i ? 'nan' : 0 + ($field{sum} // 0);
	$out{gauge} = ($field{counter_reset_hint} // '') eq 'gauge' ? 1 : 0;
	foreach my $side ('', 'n_')
	{
		my @counts = ($field{"${side}buckets"} // '') =~ /[^\s\[\]]+/g;
		my @spans = ($field{"${side}spans"} // '') =~ /(-?\d+:\d+)/g;
		@spans = (($field{"${side}offset"} // 0) . ':' . scalar @counts) unless @spans;
		my $index = 0;
		my %bucket;
		foreach my $span (@spans)
		{
			my ($offset, $length) = split /:/, $span;
			$index += $offset;
			foreach (1 .. $length)
			{
				my $count = 0 + shift @counts;
				$bucket{$index} = $count if $count != 0;
				$index++;
			}
		}
		$out{"${side}buckets"} = \%bucket;
	}
	return canonical($json->encode(\%out));
}

# Numbers as Perl writes them, from whatever.
sub canonical
{
	my ($text) = @_;
	$text =~ s/(?<=[:,\[ ])(-?\d[-+.0-9e]*)(?=[,}\]])/sprintf '%.15g', $1/ge;
	$text =~ s/ //g;
	return $text;
}

sub told
{
	my ($text) = @_;
	return join "\n", map { /^(\d+ \{"__name__": "\w+"\} \d+) (\{.*)$/ ? "$1 " . canonical($2) : $_ } split /\n/, $text;
}

my $read = gateway_url($node, '/api/v1/read');
foreach my $moment ('fresh', 'merged')
{
	foreach my $kind ('samples', 'chunks')
	{
		foreach my $name ('mixed', map { $_->[0] } @series)
		{
			my $stored = stored($name);
			chomp $stored;
			my $told = told(ask($read, $kind, $first, $last, "__name__=$name"));
			ok($told eq $stored, "$moment, $kind: $name") or diag(substr($told, 0, 600), "\nstored\n", substr($stored, 0, 600));
			cmp_ok(length $stored, '>', 1000, 'there is much');
		}
	}
	$node->safe_psql('postgres', 'CALL prom.merge()') if $moment eq 'fresh';
}

SKIP:
{
	skip 'prometheus is not installed', 1 unless grep { -x "$_/prometheus" } split /:/, $ENV{PATH};
	my $start = sub {
		my ($name, $config) = @_;
		my $port = free_port();
		append_to_file("$tmp/$name.yml", $config);
		spawn($name, 'prometheus', "--config.file=$tmp/$name.yml", "--storage.tsdb.path=$tmp/$name", '--storage.tsdb.retention.time=100y',
			'--enable-feature=native-histograms', '--web.enable-remote-write-receiver', "--web.listen-address=127.0.0.1:$port");
		wait_for(sub { HTTP::Tiny->new->get("http://127.0.0.1:$port/-/ready")->{status} == 200 }, "$name is ready");
		return "http://127.0.0.1:$port";
	};

	# what Prometheus encodes, the decoder understands
	my $own = $start->('own', "global:\n  scrape_interval: 1h\n");
	foreach my $i (1, 0)
	{
		my ($name, $range, $arguments) = @{ $series[$i] };
		my $body = $node->safe_psql('postgres', <<"SQL");
\\i $functions
SELECT encode(pg_temp.body(pg_temp.series_of('{__name__,$name}', VARIADIC array_agg(pg_temp.histogram($first + i * 15000, $arguments)))), 'hex')
FROM generate_series($range) i
SQL
		my $answer = HTTP::Tiny->new->post("$own/api/v1/write", { content => pack('H*', $body =~ s/.*\n//sr),
			headers => { 'Content-Type' => 'application/x-protobuf', 'Content-Encoding' => 'snappy' } });
		is($answer->{status}, 204, "Prometheus stores $name") or diag($answer->{content});
		my $stored = stored($name);
		chomp $stored;
		my $told = told(ask("$own/api/v1/read", 'chunks-of-any-size', $first, $last, "__name__=$name"));
		ok($told eq $stored, "the decoder reads Prometheus' chunks of $name") or diag(substr($told, 0, 600), "\nstored\n", substr($stored, 0, 600));
	}

	# what we answer, Prometheus understands: if it does what another Prometheus answers
	my $range = sub {
		my ($url, $expr) = @_;
		my $got = decode_json(HTTP::Tiny->new(timeout => 120)->post_form("$url/api/v1/query_range",
				{ query => $expr, start => $first / 1000 + 307, end => $first / 1000 + 6000, step => 97 })->{content});
		my $text = $json->encode([ sort { $json->encode($a) cmp $json->encode($b) } @{ $got->{data}{result} // [$got] } ]);
		return $text =~ s/"(-?\d[\d.]*\.\d+(?:e[-+]?\d+)?)"/sprintf '"%.12g"', $1/ger;
	};
	my $of_own = $start->('of_own', "remote_read:\n  - url: $own/api/v1/read\n    read_recent: true\n");
	skip 'this release of Prometheus does not ask for native histograms', 1 if $range->($of_own, 'counter') eq '[]';
	my $reader = $start->('reader', "remote_read:\n  - url: $read\n    read_recent: true\n");
	foreach my $expr ('counter', 'sum(rate(counter[5m]))', 'histogram_quantile(0.9, rate(counter[10m]))', 'increase(floats[5m])', 'gauge',
		'histogram_sum(gauge)', 'histogram_count(rate(floats[2m]))')
	{
		my ($ours, $theirs) = map { $range->($_, $expr) } gateway_url($node), $reader;
		ok($theirs eq $ours, "$expr: Prometheus answers the same") or diag(substr($theirs, 0, 500), "\nours\n", substr($ours, 0, 500));
		cmp_ok(length $ours, '>', 200, 'which says something');
	}
}
$node->stop;
done_testing();

# Promgres.pm
#	  What the TAP tests share: a server with promgres, HTTP to its gateway, remote_write bodies, and
#	  real programs (Prometheus, node exporter) around it.
#
# A node is a PostgreSQL::Test::Cluster; its gateway's port is kept in $node->{gateway_port}.  Programs
# started by spawn() are ended when the test ends, however it ends.
package Promgres;

use strict;
use warnings;

use Exporter 'import';
use FindBin;
use HTTP::Tiny;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(new_node start_node kill_server restart_killed kill_backend is_running configure reload_gateway
  gateway_url http_get http_post http_json query_json
  write_body series_bytes remote_write write_body2 otlp_body varint message snappy wait_for free_port spawn end_program worker_pid
  sample_series sample_answers samples_of);

my %running;

# A port nobody listens on.
sub free_port
{
	my ($port) = `"$FindBin::Bin/../../contrib/setup/free_ports" 1` =~ /^(\d+)$/ or die "no free port\n";
	return $port;
}

# Settings that every server of the tests has.  Its gateway gets a port of its own.
sub configure
{
	my ($node, %setting) = @_;

	$node->{gateway_port} = free_port();
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'promgres'
promgres.ingest_max_age = 0
promgres.listen_addresses = '127.0.0.1'
promgres.port = $node->{gateway_port}
max_connections = 60
shared_buffers = 64MB
restart_after_crash = on
log_statement = none
CONF
	$node->append_conf('postgresql.conf', "$_ = '$setting{$_}'") foreach sort keys %setting;
	return;
}

# A new server, not yet started.
sub new_node
{
	my ($name, %setting) = @_;

	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 1, extra => [ '-E', 'UTF8', '--locale=C.UTF-8' ]);
	configure($node, %setting);
	return $node;
}

# Start it, make the extension, and wait until the gateway is ready.
sub start_node
{
	my ($node) = @_;

	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION IF NOT EXISTS promgres');
	wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is ready');
	return $node;
}

# Kill the postmaster with SIGKILL, wait until it is gone, and start the server again as soon as the
# orphaned backends let it.
sub kill_server
{
	my ($node) = @_;
	my $pid = $node->{_pid};

	$node->kill9;
	wait_for(sub { !is_running($pid) }, 'the postmaster is gone');
	return;
}

# A process that has ended and that nobody has asked for yet, as in a container whose first process asks for none, does not run.
sub is_running
{
	my ($pid) = @_;
	my $stat = eval { slurp_file("/proc/$pid/stat") } // return 0;
	return $stat !~ /.*\) [ZX]/s;
}

sub restart_killed
{
	my ($node) = @_;
	return wait_for(
		sub {
			$node->{_pid} = undef;
			$node->start(fail_ok => 1);
		},
		'the killed server has started again');
}

# Kill -9 a backend, and wait until the server has come back from it; false if it had ended before.
sub kill_backend
{
	my ($node, $pid) = @_;

	return 0 unless kill 9, $pid;
	# Once it is gone the postmaster knows, and lets nobody in before it has recovered.
	wait_for(sub { !kill 0, $pid }, 'the backend is gone');
	return wait_for(sub { ($node->psql('postgres', 'SELECT 1'))[0] == 0 }, 'the server has recovered');
}

# Reload, and wait until the gateway has: it then answers with an origin that only the new settings allow.
my $reloads = 0;

sub reload_gateway
{
	my ($node) = @_;
	my $origin = 'http://reload-' . ++$reloads;
	my $answer;

	$node->append_conf('postgresql.conf', "promgres.cors_origin = '$origin'");
	$node->reload;
	return wait_for(
		sub {
			$answer = http_request('OPTIONS', gateway_url($node, '/api/v1/query'), headers => { Origin => $origin });
			($answer->{headers}{'access-control-allow-origin'} // '') eq $origin;
		},
		'the gateway has read its settings');
}

sub gateway_url
{
	my ($node, $path) = @_;
	return "http://127.0.0.1:$node->{gateway_port}" . ($path // '');
}

# Each request has a connection of its own, so that a killed gateway is not seen through an old one.
sub http_request
{
	my ($method, $url, %options) = @_;
	return HTTP::Tiny->new(timeout => $PostgreSQL::Test::Utils::timeout_default, keep_alive => 0)->request($method, $url, \%options);
}

# The answer: {status, content, headers}; status 599 if there was none.
sub http_get
{
	my ($node, $path) = @_;
	return http_request('GET', gateway_url($node, $path));
}

# The same with a body: bytes, or a list of form fields.
sub http_post
{
	my ($node, $path, $body, %headers) = @_;

	if (ref $body)
	{
		$body = HTTP::Tiny->new->www_form_urlencode($body);
		$headers{'Content-Type'} = 'application/x-www-form-urlencoded';
	}
	return http_request('POST', gateway_url($node, $path), content => $body, headers => \%headers);
}

# The parsed answer to a form.
sub http_json
{
	my ($node, $path, $form) = @_;
	my $answer = http_post($node, $path, $form);
	my $json = eval { decode_json($answer->{content}) };
	return $json // { status => "HTTP $answer->{status}", error => $answer->{content} };
}

# The result part of a query, in an order that does not depend on the server, as canonical JSON.
sub query_json
{
	my ($node, $path, $form) = @_;
	my $answer = http_json($node, $path, $form);
	my $json = JSON::PP->new->canonical;

	return $json->encode($answer) if $answer->{status} ne 'success';
	my $result = $answer->{data}{result};
	return $json->encode($result) if $answer->{data}{resultType} eq 'scalar';
	return join "\n", sort map { $json->encode($_) } @$result;
}

sub varint
{
	my ($n) = @_;
	my $out = '';
	do
	{
		my $low = $n & 127;
		$n >>= 7;
		$out .= chr($n ? $low | 128 : $low);
	} while ($n);
	return $out;
}

sub message
{
	my ($number, $bytes) = @_;
	return varint($number << 3 | 2) . varint(length $bytes) . $bytes;
}

# A remote_write 1.0 body of [ \%labels, [ t_ms, value ], ... ] series.  The value 'stale' is a stale
# marker.
sub write_body { return snappy(series_bytes(@_)) }

# The same before it is compressed: such bytes of several lists of series, one after the other, are those of all.
sub series_bytes
{
	my @series = @_;
	my $request = '';

	foreach my $series (@series)
	{
		my ($labels, @samples) = @$series;
		my $bytes = '';
		foreach my $name (sort keys %$labels)
		{
			my ($n, $v) = ($name, $labels->{$name});
			utf8::encode($_) foreach ($n, $v);
			$bytes .= message(1, message(1, $n) . message(2, $v));
		}
		foreach my $sample (@samples)
		{
			my ($t, $value) = @$sample;
			my $bits = $value eq 'stale' ? pack('H*', '020000000000f07f') : pack('d<', $value);
			$bytes .= message(2, "\x09$bits\x10" . varint($t));
		}
		$request .= message(1, $bytes);
	}
	return $request;
}

# Snappy's block format, literals only.
sub snappy
{
	my ($bytes) = @_;
	my $out = varint(length $bytes);
	for (my $at = 0; $at < length $bytes; $at += 65536)
	{
		my $part = substr($bytes, $at, 65536);
		$out .= "\xf4" . pack('v', length($part) - 1) . $part;
	}
	return $out;
}

# The same series as a body of remote write 2.0, each text a symbol that stands once.
sub write_body2
{
	my @series = @_;
	my @symbols = ('');
	my %number = ('' => 0);
	my $request = '';

	foreach my $series (@series)
	{
		my ($labels, @samples) = @$series;
		my $refs = '';
		foreach my $text (map { ($_, $labels->{$_}) } sort keys %$labels)
		{
			push @symbols, $text unless exists $number{$text};
			$number{$text} //= $#symbols;
			$refs .= varint($number{$text});
		}
		my $bytes = message(1, $refs);
		$bytes .= message(2, "\x09" . pack('d<', $_->[1]) . "\x10" . varint($_->[0]) . "\x18" . varint($_->[0] - 1000)) foreach @samples;
		$request .= message(5, $bytes);
	}
	return snappy(join('', map { message(4, $_) } @symbols) . $request);
}

# An OTLP message, in protobuf, of cumulative sums: [ name, value, t_ms, \%attributes ], ...; all of one resource.
sub otlp_body
{
	my ($resource, @points) = @_;
	my $attributes = sub { my ($number, $pairs) = @_; join '', map { message($number, message(1, $_) . message(2, message(1, $pairs->{$_}))) } sort keys %$pairs };
	my $metrics = '';

	foreach my $point (@points)
	{
		my ($name, $value, $t, $pairs) = @$point;
		$metrics .= message(2, message(1, $name) . message(7, message(1, "\x19" . pack('Q<', $t * 1_000_000) . "\x21" . pack('d<', $value) . $attributes->(7, $pairs // {})) . "\x10\x02\x18\x01"));
	}
	return message(1, message(1, $attributes->(1, $resource)) . message(2, $metrics));
}

# Send series; the answer.
sub remote_write
{
	my ($node, @series) = @_;
	return http_post($node, '/api/v1/write', write_body(@series),
		'Content-Type' => 'application/x-protobuf',
		'Content-Encoding' => 'snappy',
		'X-Prometheus-Remote-Write-Version' => '0.1.0');
}

# A small data set of every kind the tests of copies need: counters with a reset, a classic histogram,
# special values, a series that ends, unusual labels.  Three hours at 15 s, ending at a fixed time.
our $sample_end_ms = 1_700_006_400_000;

sub sample_series
{
	my @times = map { $sample_end_ms - 15_000 * (720 - $_) } 0 .. 720;
	my $points = sub {
		my ($value) = @_;
		return map { [ $times[$_], $value->($_) ] } 0 .. $#times;
	};
	my @series;

	foreach my $instance (1 .. 5)
	{
		my %labels = (job => 'app', instance => "host$instance:9100");
		push @series,
		  [ { %labels, __name__ => 'requests_total' }, $points->(sub { ($_[0] % 400) * $instance }) ],
		  [ { %labels, __name__ => 'temperature' }, $points->(sub { 20 + sin($_[0] / 50) * $instance }) ];
		foreach my $le (0.1, 1, 10, '+Inf')
		{
			my $share = $le eq '+Inf' ? 1 : (0.3, 0.8, 0.95)[ $le < 1 ? 0 : $le < 10 ? 1 : 2 ];
			push @series, [ { %labels, __name__ => 'latency_bucket', le => $le },
				$points->(sub { int($_[0] * 10 * $share) }) ];
		}
	}
	push @series,
	  [ { __name__ => 'special', kind => 'nan' }, [ $sample_end_ms, 'nan' ] ],
	  [ { __name__ => 'special', kind => 'inf' }, [ $sample_end_ms, 9**9**9 ] ],
	  [ { __name__ => 'special', kind => 'denormal' }, [ $sample_end_ms, 5e-324 ] ],
	  [ { __name__ => 'special', kind => "quote \" backslash \\ \x{1f40e}" }, [ $sample_end_ms, 1 ] ],
	  [ { __name__ => 'ends', job => 'app' }, [ $sample_end_ms - 60_000, 1 ], [ $sample_end_ms - 30_000, 'stale' ] ];
	return @series;
}

# The answers to several questions about it, as text.
sub sample_answers
{
	my ($node) = @_;
	my %range = (start => $sample_end_ms / 1000 - 3600, end => $sample_end_ms / 1000, step => 60);
	my @answers;

	foreach my $expr ('requests_total', 'special', 'ends', 'sum by (job) (rate(requests_total[5m]))',
		'avg without (instance) (temperature)', 'max_over_time(temperature[10m])',
		'histogram_quantile(0.9, sum by (le) (rate(latency_bucket[5m])))',
		'requests_total / on (instance, job) temperature', 'temperature > 20')
	{
		push @answers, $expr,
		  query_json($node, '/api/v1/query', { query => $expr, time => $sample_end_ms / 1000 }),
		  query_json($node, '/api/v1/query_range', { query => $expr, %range });
	}
	return join "\n", @answers;
}

# All samples as text, one a line, bits and all: what must survive a dump, a crash, a standby.
sub samples_of
{
	my ($node, $database) = @_;
	return $node->safe_psql($database // 'postgres', <<'SQL');
SELECT labels, t_ms, encode(float8send(value), 'hex')
FROM prom.samples_of('{__name__=~".+"}', '-infinity', 'infinity')
ORDER BY labels::text COLLATE "C", t_ms
SQL
}

# Wait until the condition holds; false (and a note) if it does not within the time.
sub wait_for
{
	my ($condition, $what, $seconds) = @_;
	my $deadline = time + ($seconds // $PostgreSQL::Test::Utils::timeout_default);

	until (eval { $condition->() })
	{
		if (time > $deadline)
		{
			diag("timed out waiting until $what");
			return 0;
		}
		sleep 0.1;
	}
	return 1;
}

# The pid of a process of the server by its title, or undef.  Workers without a database are not in
# pg_stat_activity, so we look at the children of the postmaster.
sub worker_pid
{
	my ($node, $title) = @_;

	foreach my $file (glob '/proc/[0-9]*/stat')
	{
		my ($pid) = $file =~ m{(\d+)/stat$};
		my $stat = eval { slurp_file($file) } // next;
		my ($parent) = $stat =~ /.*\) \S (\d+)/s;
		next if $parent != $node->{_pid};
		my $shown = eval { slurp_file("/proc/$pid/cmdline") } // next;
		return $pid if $shown =~ $title;
	}
	return undef;
}

# Start a program with its output in the log directory; its pid.
sub spawn
{
	my ($name, @command) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/$name.log";
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $log;
		open STDERR, '>&', \*STDOUT;
		exec { $command[0] } @command or POSIX::_exit(127);
	}
	$running{$pid} = $name;
	return $pid;
}

# End a program and wait until it is gone.
sub end_program
{
	my ($pid, $signal) = @_;

	return unless delete $running{$pid};
	kill $signal // 'TERM', $pid;
	foreach (1 .. 100)
	{
		return if waitpid($pid, POSIX::WNOHANG()) != 0;
		sleep 0.1;
	}
	kill 'KILL', $pid;
	waitpid $pid, 0;
	return;
}

END
{
	# waitpid must not change the exit status of the test.
	my $status = $?;
	end_program($_) foreach keys %running;
	$? = $status;
}

1;

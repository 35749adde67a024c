# Blocks of Prometheus come in and go out: what is imported is what promtool dumps and what a real Prometheus
# answers, bit for bit, whatever is killed or damaged on the way; what is exported, promtool and a real Prometheus read.

use strict;
use warnings;

use FindBin;
use HTTP::Tiny;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep);

foreach my $program (qw(prometheus promtool python3))
{
	plan skip_all => "$program is not installed"
	  unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $functions = "$FindBin::Bin/../lib/body.sql";
my $node = start_node(new_node('primary', 'promgres.rollup_delay' => '-1'));

sub sql { return $node->safe_psql('postgres', $_[0]) }

# A call that fails: what it says.
sub sql_error
{
	my ($out, $err);
	$node->psql('postgres', $_[0], stderr => \$err);
	return $err;
}

sub run_tool
{
	my $output = '';
	IPC::Run::run(\@_, '>' => \$output, '2>&1') or diag("@_: $output");
	return $output;
}

# promtool wants a directory of a server.
sub dump_of
{
	my ($directory) = @_;
	mkdir "$directory/wal";
	my ($output, $errors) = ('', '');
	IPC::Run::run([ 'promtool', 'tsdb', 'dump', $directory ], '>' => \$output, '2>' => \$errors)
	  or diag($errors);
	return canonical($output);
}

# Lines of labels, value, time; a number is a number however it is written.
sub canonical
{
	return join "\n", sort map {
		my ($labels, $value, $t) = /^(\{.*\}) (\S+) (\d+)$/ or return "UNEXPECTED $_";
		$labels . ' ' . ($value =~ /nan/i ? 'nan' : $value =~ /^([+-]?)inf/i ? ($1 eq '-' ? '-inf' : 'inf') : unpack('H*', pack('d>', $value))) . " $t"
	} split /\n/, $_[0];
}

sub stored
{
	return canonical(sql(q{SELECT labels::text || ' ' || value || ' ' || t_ms FROM prom.samples_of('{__name__=~".+"}') WHERE value IS NOT NULL}));
}

my $histograms = q{SELECT count(*) || ' ' || count(histogram) || ' ' || coalesce(md5(string_agg(histogram::text, ' ' ORDER BY labels::text, t_ms)), '')
	FROM prom.samples_of('{__name__=~"native.*"}')};

sub remove_all
{
	sql(q{SELECT prom.delete_series('{__name__=~".+"}'); CALL prom.merge()});
	is(sql('SELECT count(*) FROM prom.series'), '0', 'all is removed');
	return;
}

sub remote_read
{
	my ($url, $kind) = @_;
	return join "\n", sort split /\n/, run_tool('python3', "$FindBin::Bin/../tools/remote_read.py", $url, $kind, 0, 2_000_000_000_000, '__name__!~native.*', '__name__=~.+');
}

sub start_prometheus
{
	my ($name, $directory) = @_;
	my $port = free_port();
	append_to_file("$tmp/$name.yml", "global:\n  scrape_interval: 1h\n");
	my $pid = spawn($name, 'prometheus', "--config.file=$tmp/$name.yml", "--storage.tsdb.path=$directory",
		'--storage.tsdb.retention.time=100y', "--web.listen-address=127.0.0.1:$port", '--web.enable-admin-api',
		'--web.enable-remote-write-receiver', '--enable-feature=native-histograms');
	my $url = "http://127.0.0.1:$port";
	ok(wait_for(sub { HTTP::Tiny->new->get("$url/-/ready")->{status} == 200 }, "$name is ready"), "$name is ready");
	return ($pid, $url);
}

# ---- from promtool's blocks

my $base = 1_699_920_000;	# beginning of a UTC day
{
	open my $file, '>', "$tmp/in.om" or die $!;
	foreach my $m (0 .. 9)
	{
		print $file "# TYPE metric_$m gauge\n";
		foreach my $i (0 .. 9)
		{
			foreach my $k (0 .. 399)
			{
				my $value = $k == 17 ? 'NaN' : $k == 18 ? '+Inf' : $k == 19 ? '-Inf' : $k == 20 ? '-0' : $k == 21 ? '5e-324' :
				  $k == 22 ? '1.7976931348623157e+308' : $m % 2 ? $k * $i : sprintf '%.17g', sin($k / 7) * $i;
				printf $file "metric_%d{instance=\"host%d\",path=\"quote \\\" backslash \\\\ \xc5\xbe\"} %s %d\n", $m, $i, $value, $base + 30 * $k;
			}
		}
	}
	print $file "# EOF\n";
	close $file;
}
my $data = "$tmp/data";
like(run_tool('promtool', 'tsdb', 'create-blocks-from', 'openmetrics', "$tmp/in.om", $data), qr/NUM SAMPLES/, 'promtool makes blocks');
my $dumped = dump_of($data);
is(scalar(split /\n/, $dumped), 40_000, 'of 40,000 samples');

like(sql_error("CALL prom.import_blocks('$data')"), qr/NOTICE:  blocks imported: 2 of 2, with 40000 samples/, 'what is imported is told');
ok(stored() eq $dumped, 'every sample is imported, as promtool dumps it');
is(sql(q{SELECT count(*), count(*) FILTER (WHERE state = 'done' AND progress = 1 AND finished > started), sum(samples), sum(refused_samples) FROM prom.block_import}),
	'2|2|40000|0', 'prom.block_import says so');
like(sql_error("CALL prom.import_blocks('$data')"), qr/NOTICE:  no block was imported: of 2 in .* each was taken in before/, 'that nothing was to do is told');
is(sql('SELECT sum(samples), max(id) FROM prom.block_import WHERE started < now()'), '40000|2', 'a block that was imported is passed over');
sql("CALL prom.import_blocks('$data', again => true)");
ok(stored() eq $dumped, 'imported again, each sample counts once');

remove_all();
sql(sprintf q{CALL prom.import_blocks('%s', '{__name__=~"metric_[12]",instance!="host0",site="x"}', to_timestamp(%d), to_timestamp(%d), '{site="x"}')}, $data, $base + 3000, $base + 9000);
my @wanted = grep { /metric_[12]"/ && !/host0/ && /(\d+)$/ && $1 >= ($base + 3000) * 1000 && $1 <= ($base + 9000) * 1000 } split /\n/, $dumped;
s/"\} /", site="x"} / foreach @wanted;
ok(stored() eq join("\n", sort @wanted) && @wanted > 1000, 'a selection by labels and time, with a label more');

# ---- killed on the way

remove_all();
# It stops on its way, to be met there.
sql(q{CREATE TABLE public.stop (samples int8);
	CREATE FUNCTION public.stop_there() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF (SELECT sum(i.samples) FROM prom.block_import i WHERE i.match = NEW.match) > (SELECT s.samples FROM public.stop s) THEN PERFORM pg_catalog.pg_sleep(3600); END IF;
		RETURN NEW; END $$;
	CREATE TRIGGER stop BEFORE UPDATE ON prom.block_import FOR EACH ROW EXECUTE FUNCTION public.stop_there()});
foreach my $round (1 .. 3)
{
	my $psql = $node->background_psql('postgres');
	$psql->query_safe('SET promgres.import_step_samples = 100');
	my $before = sql("SELECT coalesce(sum(samples), 0) FROM prom.block_import WHERE match = '{__name__!=\"\"}'");
	sql("DELETE FROM public.stop; INSERT INTO public.stop VALUES ($before + 2000)");
	$psql->{stdin} .= "CALL prom.import_blocks('$data', '{__name__!=\"\"}');\n";
	$psql->{run}->pump_nb;
	ok(wait_for(sub { sql("SELECT coalesce(sum(samples), 0) > $before + 1000 FROM prom.block_import WHERE match = '{__name__!=\"\"}'") eq 't' },
			'some of it is there'), "round $round: some of it is there");
	kill_server($node);
	eval { $psql->{run}->kill_kill };
	ok(restart_killed($node), "round $round: killed and started again");
	my $there = sql("SELECT coalesce(sum(samples), 0) FROM prom.block_import WHERE match = '{__name__!=\"\"}'");
	is(sql(q{SELECT count(*) FROM prom.samples_of('{__name__=~".+"}')}), $there, "round $round: prom.block_import says what is there, $there");
	cmp_ok($there, '<', 40_000, "round $round: which is not all");
}
sql('DROP FUNCTION public.stop_there CASCADE');
sql("CALL prom.import_blocks('$data', '{__name__!=\"\"}')");
ok(stored() eq $dumped, 'the next call goes on to the end');
is(sql(q{SELECT sum(samples), count(*) FILTER (WHERE state = 'done') FROM prom.block_import WHERE match = '{__name__!=""}'}), '40000|2', 'nothing was taken in twice');

# ---- damaged

remove_all();
my @blocks = sort map { m{([^/]+)$} } grep { m{/01[0-9A-Z]{24}$} } glob "$data/*";
sub spoil
{
	my ($path, $at, $with) = @_;
	open my $file, '+<:raw', $path or die "$path: $!";
	seek $file, $at, 0;
	read $file, my $was, length $with;
	seek $file, $at, 0;
	print $file $with;
	close $file;
	return $was;
}
my $segment = "$data/$blocks[0]/chunks/000001";
my $was = spoil($segment, 20_000, 'xxxx');
my $err = sql_error("CALL prom.import_blocks('$data', '{__name__=~\".+\"}')");
like($err, qr/block is damaged: chunk: (checksum is wrong|length|cut)/, 'a damaged chunk is refused');
like($err, qr/File "\Q$segment\E", byte \d+/, 'with file and place');
like($err, qr/1 of 2 blocks were not imported/, 'and in the end the call fails');
is(sql(q{SELECT string_agg(state, ' ' ORDER BY ulid) FROM prom.block_import WHERE match = '{__name__=~".+"}'}), 'failed done', 'the other block is there');
is(sql(q{SELECT error LIKE 'block is damaged%byte%' FROM prom.block_import WHERE state = 'failed'}), 't', 'prom.block_import tells');
spoil($segment, 20_000, $was);
my $index = "$data/$blocks[0]/index";
foreach my $at (0, 4, 30, (-s $index) - 20)
{
	$was = spoil($index, $at, "\x93");
	like(sql_error("CALL prom.import_blocks('$data/$blocks[0]', '{__name__=~\".+\"}', again => true)"), qr/block is damaged: .*\n.*File "\Q$index\E"/s, "index damaged at $at is refused");
	spoil($index, $at, $was);
}
sql("CALL prom.import_blocks('$data', '{__name__=~\".+\"}')");
ok(stored() eq $dumped, 'mended, the rest comes');
like(sql_error("CALL prom.import_blocks('$tmp')"), qr/there are no blocks in/, 'a directory without blocks');
like(sql_error("CALL prom.import_blocks('$tmp/none')"), qr/could not open directory/, 'no directory');

# ---- from a Prometheus, with tombstones, stale markers and histograms

my ($prometheus, $url) = start_prometheus('prometheus', $data);
my $post = sub {
	my ($body) = @_;
	my $answer = Promgres::http_request('POST', "$url/api/v1/write", content => $body,
		headers => { 'Content-Type' => 'application/x-protobuf', 'Content-Encoding' => 'snappy', 'X-Prometheus-Remote-Write-Version' => '0.1.0' });
	is($answer->{status}, 204, 'Prometheus takes samples') or diag($answer->{content});
};
my $histogram_body = sub {
	my ($name, $first, $last, $how) = @_;
	return pack 'H*', sql(<<"SQL");
\\i $functions
SELECT encode(pg_temp.body(pg_temp.series_of('{__name__,$name}', VARIADIC array_agg(p ORDER BY i))), 'hex') FROM (
	SELECT i, pg_temp.histogram(1699999200000 + i * 15000, $how) AS p FROM generate_series($first, $last) i) x;
SQL
};
my @kinds = (
	[ 'native_counter', q{5 * (i % 70), i / 7.0, '{-2,1,3,2}', ARRAY[i % 70, 2 * (i % 70), i % 70]::float8[], schema => 3, zero => i % 70, width => 0.001} ],
	[ 'native_growing', q{i * (i / 20 + 1), i, ARRAY[0, i / 20 + 1]::int[], array_fill(i::float8, ARRAY[i / 20 + 1]), schema => 0} ],
	[ 'native_float', q{1.5 * i, i / 3.0, '{-1,2}', ARRAY[i * 0.5, i]::float8[], schema => 2, whole => false} ]);
my @series = sample_series();
my $from = $Promgres::sample_end_ms - 10_800_000;
for (my $t = $from; $t <= $Promgres::sample_end_ms; $t += 1_800_000)
{
	my $body = write_body(grep { @$_ > 1 } map { my ($labels, @s) = @$_; [ $labels, grep { $_->[0] >= $t && $_->[0] < $t + 1_800_000 } @s ] } @series);
	$post->($body) if length $body > 10;
	next unless $t <= 1_699_999_200_000 && $t + 1_800_000 > 1_699_999_200_000;
	$post->($histogram_body->($_->[0], 1, 100, $_->[1])) foreach @kinds;
}
foreach my $delete ([ 'metric_3', $base + 600, $base + 900 ], [ 'metric_3', $base + 1200, $base + 1230 ], [ '{instance="host4"}', $base + 9000, $base + 20_000 ], [ 'metric_5', 0, 2_000_000_000 ])
{
	my $answer = Promgres::http_request('POST', "$url/api/v1/admin/tsdb/delete_series?" . HTTP::Tiny->new->www_form_urlencode([ 'match[]' => $delete->[0], start => $delete->[1], end => $delete->[2] ]));
	is($answer->{status}, 204, "$delete->[0] is deleted there");
}
my $snapshot = Promgres::http_request('POST', "$url/api/v1/admin/tsdb/snapshot");
my ($name) = $snapshot->{content} =~ /"name":"([^"]+)"/;
$snapshot = "$data/snapshots/$name";
ok((grep { -s $_ } glob "$snapshot/*/tombstones"), 'blocks have tombstones');
remove_all();
sql("CALL prom.import_blocks('$snapshot', again => true)");
is(sql('SELECT sum(refused_samples + refused_series) FROM prom.block_import'), '0', 'nothing is refused');
my ($ours, $theirs) = (remote_read(gateway_url($node, '/api/v1/read'), 'chunks'), remote_read("$url/api/v1/read", 'samples'));
cmp_ok(length $theirs, '>', 1_000_000, 'there is much to compare');
my $same = sub { my %seen; $seen{ normal($_) }++ foreach split /\n/, $_[0]; $seen{ normal($_) }-- foreach split /\n/, $_[1]; my @odd = grep { $seen{$_} } keys %seen; diag("differs: $_") foreach @odd[ 0 .. ($#odd > 3 ? 3 : $#odd) ]; return !@odd };
# the order of names in JSON is each writer's own, and Prometheus leaves the sign of a zero out where it is a field
sub normal
{
	my ($json, $rest) = $_[0] =~ /^\d+ (\{.*\}) (\S+ \S+)$/ or return "UNEXPECTED $_[0]";
	$rest =~ s/ 80{15}$/ 0000000000000000/;
	return JSON::PP->new->canonical->encode(JSON::PP->new->decode($json)) . " $rest";
}
ok($same->($ours, $theirs), 'what Prometheus has left of them, bit for bit, stale markers too');
ok(stored() eq dump_of($snapshot), 'which is what promtool dumps of the snapshot');

my @questions = ((map { "$_->[0]\[30m]" } @kinds), 'sum by (job) (rate(requests_total[5m]))', 'ends', 'special');
sub same_answers
{
	my ($what, $other) = @_;
	foreach my $question (@questions)
	{
		foreach my $time (1_700_000_000, 1_700_000_700, $Promgres::sample_end_ms / 1000 - 30)
		{
			my ($a, $b) = map { answer($_, $question, $time) } gateway_url($node), $other;
			is($a, $b, "$what: $question at $time");
		}
	}
	return;
}
sub answer
{
	my ($server, $question, $time) = @_;
	my $answer = Promgres::http_request('POST', "$server/api/v1/query", content => HTTP::Tiny->new->www_form_urlencode([ query => $question, time => $time ]),
		headers => { 'Content-Type' => 'application/x-www-form-urlencoded' });
	my $json = JSON::PP->new->decode($answer->{content});
	# the last digits of buckets' bounds are not the same in all versions of Prometheus
	return join "\n", sort map { my $one = JSON::PP->new->canonical->encode($_); $one =~ s/"(-?\d+\.\d+)"/sprintf '"%.12g"', $1/ge; $one } @{ $json->{data}{result} };
}
like(answer($url, 'native_counter', 1_700_000_000), qr/histogram/, 'Prometheus has native histograms');
same_answers('imported', $url);
end_program($prometheus);

# ---- out

my $out = "$tmp/out";
mkdir $out;
my $native_before = sql($histograms);
like($native_before, qr/^300 300 /, 'native histograms are here');
my $stored = stored();
my $twice = sub { my ($o, $e) = ('', ''); $node->psql('postgres', $_[0], stdout => \$o, stderr => \$e); return $e };
my $notes = $twice->("CALL prom.export_blocks('$out', block_range => '2h')");
like($notes, qr/NOTICE:  block 01[0-9A-Z]{24} of 2023-11-14 .*: \d+ series, \d+ samples/, 'blocks are written');
my @made = sort glob "$out/*";
is($twice->("CALL prom.export_blocks('$out', block_range => '2h')"), $notes, 'and again, the same ones');
is_deeply([ sort glob "$out/*" ], \@made, 'nothing else is there');
my $listed = run_tool('promtool', 'tsdb', 'list', $out);
my ($samples, $number) = (0, 0);
while ($listed =~ /^01\S+ +(\d+) +(\d+) +\S+ +(\d+) /mg)
{
	$samples += $3;
	$number++;
	is(int($1 / 7_200_000), int(($2 - 1) / 7_200_000), "block $number lies within two hours");
}
is($number, scalar @made, 'promtool lists them all');
is($samples, sql(q{SELECT count(*) FROM prom.samples_of('{__name__=~".+"}')}), 'with as many samples as we have');
like(run_tool('promtool', 'tsdb', 'analyze', $out), qr/Series: \d+\nLabel names: \d+/, 'promtool analyzes them');
ok(dump_of($out) eq $stored, 'promtool dumps what we hold');

($prometheus, $url) = start_prometheus('reader', $out);
($ours, $theirs) = (remote_read(gateway_url($node, '/api/v1/read'), 'chunks'), remote_read("$url/api/v1/read", 'samples'));
ok($same->($ours, $theirs), 'a Prometheus started on them has every sample, bit for bit');
same_answers('exported', $url);
my $count = sub { my $answer = answer($_[0], 'count({path=~".*backslash.*",instance=~"host[1-3]"})', $base + 500); return $answer };
is($count->($url), $count->(gateway_url($node)), 'its postings find the same series');
end_program($prometheus);

remove_all();
sql("CALL prom.import_blocks('$out')");
ok(stored() eq $stored, 'in again: every sample');
is(sql($histograms), $native_before, 'and every native histogram');

# Thanos' labels, and histograms that this Prometheus does not know.
sql(<<"SQL");
\\i $functions
SELECT prom.delete_series('{__name__=~".+"}');
SELECT * FROM prom.ingest(ARRAY[(SELECT pg_temp.body(pg_temp.series_of('{__name__,native_custom}', VARIADIC array_agg(p))) FROM (
	SELECT pg_temp.histogram(1700000000000 + i * 15000, 3 * i, i, '{0,3}', ARRAY[i, i, i]::float8[], schema => -53, custom => '{0.005,1,2.5}') AS p
	FROM generate_series(1, 300) i) x)]);
SQL
my $custom = sql($histograms);
like($custom, qr/^300 300 /, 'histograms with custom buckets are here');
mkdir "$tmp/thanos";
sql("CALL prom.export_blocks('$tmp/thanos', 'native_custom', labels => '{cluster=\"eu\"}')");
remove_all();
sql("CALL prom.import_blocks('$tmp/thanos')");
is(sql(q{SELECT labels FROM prom.series}), '{__name__="native_custom", cluster="eu"}', "Thanos' external labels are added");
is(sql($histograms), $custom, 'histograms with custom buckets come back');
remove_all();
sql("CALL prom.import_blocks('$tmp/thanos', external_labels => false)");
is(sql(q{SELECT labels FROM prom.series}), '{__name__="native_custom"}', 'or not');

$node->stop;
done_testing();

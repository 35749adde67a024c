# Blocks of several files of chunks, files that are sent in parts, files that are read ahead; and kill -9 at any moment of
# an export or import: a block is there whole or not at all, and what is stored of one is stored once.
#
# PROM_ROUNDS: how often they are killed (12; with LONG=1 300).  PROM_SEED: when.

use strict;
use warnings;

use Bucket;
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use List::Util qw(max sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => bucket_missing() if bucket_missing();
foreach my $program (qw(prometheus promtool python3))
{
	plan skip_all => "$program is not installed" unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my $rounds = $ENV{PROM_ROUNDS} // ($ENV{LONG} ? 300 : 12);
my $seed = $ENV{PROM_SEED} // ($ENV{LONG} ? int(time) ^ $$ : 1);
note("PROM_SEED=$seed");
srand($seed);

my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $s3 = start_radosgw();
my $proxy = start_proxy($s3->{port});
my $node = start_node(new_node('primary', 'promgres.compact_delay' => '-1', 'promgres.rollup_delay' => '-1'));
my $day = 1_700_006_400_000;
make_server($node, 'b', endpoint => "http://127.0.0.1:$proxy->{port}");
make_server($node, 'slow', endpoint => "http://127.0.0.1:$proxy->{port}", transfers => 1);

sub sql { return $node->safe_psql('postgres', "SET client_min_messages = warning;\n$_[0]") }

# Their samples, the order of which does not matter.
sub held_by
{
	my ($match) = @_;
	return sql("SELECT count(*) || ' ' || coalesce(sum(hashtextextended(labels::text, t_ms) # hashfloat8extended(value, t_ms)), 0) FROM prom.samples_of('$match')");
}

sub run_tool
{
	my $output = '';
	IPC::Run::run([@_], '>' => \$output, '2>&1') or diag("@_: $output");
	return $output;
}

# A statement on its way; {pid}.
sub begin
{
	my ($sql) = @_;
	my $call = { told => '', err => '' };
	$call->{psql} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT pg_backend_pid()', map { ('-c', $_) } split /;\n/, $sql ],
		'>', \$call->{told}, '2>', \$call->{err});
	$call->{psql}->pump until $call->{told} =~ /(\d+)\n/ || !$call->{psql}->pumpable;
	$call->{pid} = $1;
	return $call;
}

# Random values, which take 7 bytes each in a block: "wide" is longer than a part of an upload.
sql('SELECT setseed(0.25)');
foreach my $metric ([ 'wide', 340, 3840 ], [ 'narrow', 24, 960 ])
{
	my ($name, $series, $samples) = @$metric;
	sql("SELECT prom._make_day($day)");
	foreach my $first (grep { $_ % 960 == 0 } 0 .. $samples - 1)
	{
		sql(<<"SQL");
WITH s AS (SELECT (prom.series_id(prom.labels(jsonb_build_object('__name__', '$name', 'i', i::text, 'third', (i % 3)::text)))).* FROM generate_series(1, $series) i)
INSERT INTO prom.warm (shard, block, t_min, seq, t_max, gen, samples, data)
SELECT s.shard, s.sid >> 6, $day + $first * 15000 + 1, nextval('prom.store_seq'), $day + ($first + 959) * 15000 + 1, 0, count(*) * 960,
	prom.chunk_merge(prom.chunk_build(s.shard, s.sid, (SELECT array_agg($day + n * 15000 + 1 ORDER BY n) FROM generate_series($first, $first + 959) n),
		(SELECT array_agg(random() + s.sid * 0 ORDER BY n) FROM generate_series($first, $first + 959) n), 'warm'), 1)
FROM s GROUP BY s.shard, s.sid >> 6
SQL
	}
}
my $wide = held_by('wide');
my $narrow = held_by('narrow{copy=""}');
like($wide, qr/^1305600 /, 'many samples');
like($narrow, qr/^23040 /, 'and some');

# ---- segments

mkdir "$tmp/segments";
sql("SET promgres.export_segment_size = '64kB'; CALL prom.export_blocks('$tmp/segments', 'narrow')");
my @segments = sort glob "$tmp/segments/*/chunks/*";
cmp_ok(scalar @segments, '>=', 3, 'chunks go into several files');
like($segments[-1], qr{/0*@{[ scalar @segments ]}$}, 'which are numbered');
cmp_ok(max(map { -s } @segments), '<=', 65536, 'none is longer than it may be');
cmp_ok(sum(map { -s } @segments), '>', 23040 * 6, 'and all is there');
like(run_tool('promtool', 'tsdb', 'list', "$tmp/segments"), qr/^01\S+ .* 23040 /m, 'promtool lists the block');
like(run_tool('promtool', 'tsdb', 'analyze', "$tmp/segments"), qr/^Series: 24$/m, 'and analyzes it');
{
	mkdir "$tmp/segments/wal";
	my $dumped = run_tool('promtool', 'tsdb', 'dump', "$tmp/segments");
	sql('CREATE TABLE dumped (line text)');
	append_to_file("$tmp/dumped", $dumped);
	sql("COPY dumped FROM '$tmp/dumped'");
	is(sql(q!SELECT count(*) || ' ' || sum(hashtextextended(split_part(line, '} ', 1) || '}', split_part(line, ' ', -1)::int8)
		# hashfloat8extended(split_part(line, ' ', -2)::float8, split_part(line, ' ', -1)::int8)) FROM dumped!), $narrow, 'and dumps every sample');
}
{
	my $port = free_port();
	append_to_file("$tmp/prometheus.yml", "global:\n  scrape_interval: 1h\n");
	my $pid = spawn('prometheus', 'prometheus', "--config.file=$tmp/prometheus.yml", "--storage.tsdb.path=$tmp/segments",
		'--storage.tsdb.retention.time=100y', "--web.listen-address=127.0.0.1:$port");
	ok(wait_for(sub { HTTP::Tiny->new->get("http://127.0.0.1:$port/-/ready")->{status} == 200 }, 'Prometheus is ready'), 'a Prometheus starts on it');
	my $ask = sub {
		my $answer = Promgres::http_request('POST', "$_[0]/api/v1/query", content => HTTP::Tiny->new->www_form_urlencode([ query => 'sum by (third) (sum_over_time(narrow[1d]))', time => $day / 1000 + 86400 ]),
			headers => { 'Content-Type' => 'application/x-www-form-urlencoded' });
		return join ' ', sort map { sprintf '%s=%.9g', $_->{metric}{third}, $_->{value}[1] } @{ JSON::PP::decode_json($answer->{content})->{data}{result} };
	};
	like($ask->("http://127.0.0.1:$port"), qr/^0=\d+.* 1=.* 2=/, 'and answers');
	is($ask->("http://127.0.0.1:$port"), $ask->(gateway_url($node)), 'as we do');
	end_program($pid);
}
sql("CALL prom.import_blocks('$tmp/segments', labels => '{copy=\"1\"}')");
is(sql(q{SELECT count(*) FROM prom.samples_of('narrow{copy="1"}')}), '23040', 'and it comes in again');
sql(q{SELECT prom.delete_series('{copy="1"}'); CALL prom.merge(); DELETE FROM prom.block_import});

# ---- parts

# In the middle of a file, of which a part was sent: parts are sent one by one here, so the first has arrived.
$proxy->rules({ method => 'PUT', path => 'partNumber=2', do => 'hang' });
my $call = begin("CALL prom.export_blocks('s3://slow/large', 'wide')");
ok(wait_for(sub { state_of($proxy, qr/partNumber=2/) }, 'the second part is on its way'), 'a file of chunks is sent in parts');
sub state_of
{
	my ($from, $pattern) = @_;
	return grep { "$_->{method} $_->{path}" =~ $pattern } @{ $from->log->{requests} };
}
ok(kill_backend($node, $call->{pid}), 'the export is killed in the middle');
$call->{psql}->kill_kill;
is(sql(q{SELECT count(*) FROM prom._bucket_list('b', 'large/')}), '0', 'nothing of the block is to be seen');
is(sql(q{SELECT count(*) FROM prom._bucket_uploads('b', 'large/')}), '1', 'but the upload');
is(join('', glob $node->data_dir . '/base/pgsql_tmp/*'), '', 'what it was made in is gone');
$proxy->rules();
sql("CALL prom.export_blocks('s3://b/large', 'wide')");
my @sent = map { "$_->{method} $_->{path}" } @{ $proxy->log->{requests} };
is(scalar(grep { /^PUT .*partNumber=1\b/ } @sent), 0, 'the next one does not send the first part again');
is(scalar(grep { /^PUT .*partNumber=2\b/ } @sent), 1, 'but the second');
is(scalar(grep { /^POST .*uploads/ } @sent), 0, 'within the same upload');
is(sql(q{SELECT count(*) FROM prom._bucket_uploads('b', 'large/')}), '0', 'which is complete');
my ($ulid) = sql(q{SELECT key FROM prom._bucket_list('b', 'large/') LIMIT 1}) =~ m{/(01\w+)/};
is(sql(q{SELECT key FROM prom._bucket_list('b', 'large/')}), join("\n", map { "large/$ulid/$_" } qw(chunks/000001 index meta.json)), 'the block is there');
cmp_ok(sql(qq{SELECT size FROM prom._bucket_head('b', 'large/$ulid/chunks/000001')}), '>', 8 * 1024 * 1024, 'with a file of more than a part');

# Of a block without meta.json whatever is there stays.
sql(qq{SELECT prom._bucket_delete('b', ARRAY['large/$ulid/meta.json', 'large/$ulid/index'])});
$proxy->rules();
sql("CALL prom.export_blocks('s3://b/large', 'wide')");
is(join("\n", map { "$_->{method} $_->{path}" =~ m{^(PUT|POST) /\w+/(\S+?)(?:\?|$)} ? "$1 $2" : () } @{ $proxy->log->{requests} }), "PUT large/$ulid/index\nPUT large/$ulid/meta.json",
	'an export that was killed between files goes on with those that are not there');

# ---- ahead

# Far away: as long as all answers are late, what counts is how many of them are waited for one after the other.
my $wait = 0.15;
$proxy->rules({ do => 'wait', seconds => $wait, method => 'GET', path => 'chunks' });
sql("CALL prom.import_blocks('s3://b/large', labels => '{copy=\"1\"}')");
my @asked = grep { $_->{method} eq 'GET' && $_->{path} =~ /chunks/ } @{ $proxy->log->{requests} };
cmp_ok(scalar @asked, '<', 16, 'chunks of neighbours come with one request: ' . @asked);
is(sql(q{SELECT count(*) FROM prom.samples_of('wide{copy="1"}')}), '1305600', 'all of it comes in');
sql(q{SELECT prom.delete_series('{copy="1"}'); CALL prom.merge()});

my $bytes = sub {
	my ($first, $last) = $_[0]{headers}{range} =~ /bytes=(\d+)-(\d+)/ or return 0;
	return $last - $first + 1;
};
$proxy->rules({ do => 'wait', seconds => $wait, method => 'GET', path => 'chunks' });
sql(qq{CALL prom.import_blocks('s3://b/large', 'wide{i=~"[0-9]*7"}', labels => '{copy="2"}')});
@asked = grep { $_->{method} eq 'GET' && $_->{path} =~ /chunks/ } @{ $proxy->log->{requests} };
cmp_ok(scalar @asked, '>', 20, 'series here and there: ' . @asked . ' requests');
cmp_ok(sum(map { $bytes->($_) } @asked), '<', 0.8 * sql(qq{SELECT size FROM prom._bucket_head('b', 'large/$ulid/chunks/000001')}), 'for what is needed, not for all');
# Who asks again before an answer may have come does not wait for it.
my @came = sort { $a <=> $b } map { $_->{at} } @asked;
cmp_ok(scalar(grep { $came[$_] - $came[ $_ - 1 ] < $wait } 1 .. $#came), '>', 0, 'several at a time');
is(sql(q{SELECT count(*) FROM prom.samples_of('wide{copy="2"}')}), 34 * 3840, 'they are there');
$proxy->rules({ do => 'answer', status => 403, code => 'AccessDenied', method => 'GET', path => 'chunks', skip => 4 });
my ($out, $err) = ('', '');
$node->psql('postgres', qq{CALL prom.import_blocks('s3://b/large', 'wide{i=~"[0-9]*7"}', labels => '{copy="3"}')}, stdout => \$out, stderr => \$err);
like($err, qr/was not imported: could not get object "large\/$ulid\/chunks\/000001"/, 'what cannot be read is told');
$proxy->rules();
sql(q{SELECT prom.delete_series('{copy=~".+"}'); CALL prom.merge(); DELETE FROM prom.block_import});

# ---- killed anywhere

my %place = (directory => "$tmp/killed", bucket => 's3://b/killed');
mkdir $place{directory};
my $whole = sub {
	my %files;
	if ($_[0] eq 'directory') { m{/killed/([^/]+)/(.*)} && ($files{$1}{$2} = 1) foreach glob "$place{directory}/*/{index,meta.json,chunks/*}" }
	else { m{^killed/([^/]+)/(.*)} && ($files{$1}{$2} = 1) foreach split /\n/, sql(q{SELECT key FROM prom._bucket_list('b', 'killed/')}) }
	delete $files{$_} foreach grep { /\.tmp-for-creation$/ || ($_[0] eq 'bucket' && !$files{$_}{'meta.json'}) } keys %files;
	my @odd = grep { join(' ', sort keys %{ $files{$_} }) ne 'chunks/000001 index meta.json' } keys %files;
	return @odd ? "odd: @odd" : scalar keys %files;
};
my $left = sub { return scalar(my @tmp = glob "$place{directory}/*.tmp-for-creation") };
my $export = sub { return "CALL prom.export_blocks('$place{$_[0]}', 'narrow{copy=\"\"}', block_range => '1 hour')" };
my $import = sub { return "SET promgres.import_step_samples = 500;\nCALL prom.import_blocks('$place{$_[0]}', labels => '{copy=\"$_[0]\"}')" };
my %takes;
foreach my $kind (sort keys %place)
{
	foreach my $what ($export, $import)
	{
		my $begun = time;
		sql($what->($kind));
		$takes{$what}{$kind} = time - $begun;
	}
	is($whole->($kind), 4, "four blocks, $kind");
	is(sql(qq{SELECT count(*) FROM prom.samples_of('narrow{copy="$kind"}')}), '23040', 'and their samples');
}

sub remove_blocks
{
	my ($kind) = @_;
	if ($kind eq 'directory') { system_or_bail('rm', '-rf', glob "$place{directory}/01*") if glob "$place{directory}/01*" }
	else { sql(q{SELECT prom._bucket_delete('b', array_agg(key)) FROM prom._bucket_list('b', 'killed/') HAVING count(*) > 0}) }
	return;
}

# Kill it at some moment of the time that it takes.  (This machine may be faster or slower than it was.)
sub kill_within
{
	my ($what, $kind) = @_;
	my $one = begin($what->($kind));
	sleep rand $takes{$what}{$kind};
	my $hit = kill_backend($node, $one->{pid});
	$takes{$what}{$kind} *= $hit ? 1.1 : 0.5;
	eval { $one->{psql}->finish };
	return $hit ? 1 : 0;
}

my %killed = (export => 0, import => 0);
my @wrong;
remove_blocks($_) foreach keys %place;
foreach my $round (1 .. $rounds)
{
	my $kind = $round % 2 ? 'directory' : 'bucket';
	$killed{export} += kill_within($export, $kind);
	push @wrong, "round $round: $kind has " . $whole->($kind) if $whole->($kind) !~ /^[0-4]$/;
	push @wrong, "round $round: " . $left->() . ' directories are left over' if $left->() > 1;
	next if $round % 3;
	sql($export->($kind));
	push @wrong, "round $round: $kind has " . $whole->($kind) . ' of 4 in the end' if $whole->($kind) ne '4';
	push @wrong, "round $round: a directory is left over" if $kind eq 'directory' && $left->();
	push @wrong, "round $round: an upload is left over" if sql(q{SELECT count(*) FROM prom._bucket_uploads('b', 'killed/')});
	remove_blocks($kind);
}
foreach my $kind (keys %place)
{
	sql($export->($kind));
	sql(qq{SELECT prom.delete_series('{copy="$kind"}'); CALL prom.merge(); DELETE FROM prom.block_import});
}
foreach my $round (1 .. $rounds)
{
	my $kind = $round % 2 ? 'directory' : 'bucket';
	$killed{import} += kill_within($import, $kind);
	my $there = sql(qq{SELECT count(*) FROM prom.samples_of('narrow{copy="$kind"}')});
	my $said = sql(qq{SELECT coalesce(sum(samples), 0) FROM prom.block_import WHERE labels::text = '{copy="$kind"}'});
	push @wrong, "round $round: $there samples are there, and prom.block_import says $said" if $there ne $said;
	next if $round % 3;
	sql($import->($kind));
	push @wrong, "round $round: in the end " . held_by(qq{narrow{copy="$kind"}})
	  if sql(qq{SELECT count(*) || ' ' || count(DISTINCT (labels, t_ms)) FROM prom.samples_of('narrow{copy="$kind"}')}) ne '23040 23040';
	sql(qq{SELECT prom.delete_series('{copy="$kind"}'); CALL prom.merge(); DELETE FROM prom.block_import WHERE labels::text = '{copy="$kind"}'});
}
is(join("\n", @wrong), '', "$killed{export} exports and $killed{import} imports were killed, and nothing was lost or there twice");
cmp_ok($killed{export} + $killed{import}, '>=', $rounds / 2, 'many were killed in the middle');
is(held_by('narrow{copy=""}'), $narrow, 'what was exported is as it was');
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal (?!9:)/, 'no process crashed by itself');

$node->stop;
done_testing();

# Whatever way somebody asks, what is in a bucket is answered as if it were here: remote read, /federate, labels, series, SQL; who
# may see some series only gets none of the others from there.  And another server reads the bucket beside its own samples.

use strict;
use warnings;

use Bucket;
use FindBin;
use IPC::Run ();
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

plan skip_all => bucket_missing() if bucket_missing();

my $s3 = start_radosgw();
# (a lookback that reaches days that are over, for /federate, also if midnight comes)
my %setting = ('promgres.rollup_delay' => '-1', 'promgres.rollup_resolutions' => '', 'promgres.compact_delay' => '-1', 'promgres.tier_after' => '-1',
	'promgres.tier_rollups_after' => '-1', 'promgres.lookback_delta' => '6d', 'promgres.exemplar_max_age' => '3650d', 'promgres.series_grace' => '-1');
my $node = start_node(new_node('primary', %setting, 'promgres.tier_server' => 'b'));
my $twin = start_node(new_node('twin', %setting));
my $second = start_node(new_node('second', %setting));
my $tool = "$FindBin::Bin/../tools/remote_read.py";
my $functions = "$FindBin::Bin/../lib/body.sql";
my $blocks = "$FindBin::Bin/../lib/block.sql";
my $first_ms = int(time / 86_400 - 4) * 86_400_000;    # a midnight, four days ago
my @server = (endpoint => "http://127.0.0.1:$s3->{port}", prefix => 'p');

make_server($_, 'b', @server) foreach $node, $second;

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub run_sql
{
	my ($n, $role, $sql) = @_;
	my ($ret, $out, $err) = $n->psql('postgres', "\\set VERBOSITY verbose\n$sql", extra_params => [ '-U', $role ]);
	return $ret == 0 ? $out : "failed: $err";
}

sub sorted { return join "\n", sort split /\n/, $_[0] }

sub at { my ($s) = @_; return sprintf 'to_timestamp(%d)', $first_ms / 1000 + $s }

# --- the same in both: counters of two teams, native histograms, exemplars, on two days

sub fill
{
	my ($n) = @_;
	# Of a block of ids a bucket knows when it has samples, not of each series: the times of one must not be those of the other.
	$n->safe_psql('postgres', "\\i $blocks\nCALL pg_temp.own_block('both');");
	remote_write($n, (map { my $i = $_; [ { __name__ => 'requests_total', instance => "i$i", team => $i % 2 ? 'red' : 'blue' },
		map { [ $first_ms + $_ * 600_000 + $i, $_ * ($i + 1) ] } 1 .. 280 ] } 0 .. 69), [ { __name__ => 'both', team => 'red' }, [ $first_ms + 1000, 1 ] ])->{status} == 204 or die;
	$n->safe_psql('postgres', <<"SQL");
\\i $functions
SELECT 1 / (refused = 0)::int FROM prom.ingest(ARRAY[(SELECT pg_temp.body(pg_temp.series_of('{__name__,sizes,team,red}', VARIADIC array_agg(
	pg_temp.histogram($first_ms + i * 600000, 3 * i, i / 7.0, '{0,2}', ARRAY[i, 2 * i]::float8[])))) FROM generate_series(1, 200) i)]);
SELECT 1 / (refused = 0)::int FROM prom.ingest(ARRAY[pg_temp.body(pg_temp.series_of('{__name__,requests_total,instance,i1,team,red}',
	pg_temp.sample($first_ms + 1, float8send(0)), pg_temp.exemplar('{trace,abc}', 7, $first_ms + 1)))]);
CALL prom.merge();
CALL prom.downsample('0 s');
CREATE ROLE red LOGIN PASSWORD 'red';
GRANT prom_reader TO red;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY red ON prom.series TO red USING (labels['team'] = 'red');
SQL
	return;
}
fill($_) foreach $node, $twin;

sub move { return sql("CALL prom.tier(@{[ at(0) ]}, @{[ at(86_400 * 3) ]})") }

move();
is(sql('SELECT count(*) FROM prom.warm') . sql('SELECT count(*) FROM prom.fresh'), '00', 'all is in the bucket');

# --- ways to ask

sub http_as
{
	my ($n, $role, $path) = @_;
	my %headers;
	$headers{Authorization} = 'Basic ' . encode_base64('red:red', '') if $role eq 'red';
	$headers{Accept} = 'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited' if $path =~ /federate.*sizes/;
	my $answer = HTTP::Tiny->new(timeout => 180)->get(gateway_url($n, $path), { headers => \%headers });
	return "$answer->{status} " . ($answer->{content} =~ s/"(?:seriesCountByMetricName|lastTime)":\d+//gr);
}

sub read_remote
{
	my ($n, @args) = @_;
	my $output = '';
	IPC::Run::run([ 'python3', $tool, gateway_url($n, '/api/v1/read'), @args ], '>' => \$output, '2>&1') or return "FAILED $output";
	return $output;
}

my ($t0, $t1) = ($first_ms / 1000, $first_ms / 1000 + 86_400);
my @paths = ('/federate?match[]={__name__=~"requests_total|both"}', '/federate?match[]=sizes', (map { "/api/v1/$_" }
	"labels?start=$t0&end=@{[ $t0 + 3600 ]}", "labels?match[]=sizes&start=$t0&end=$t1", "label/instance/values?start=$t0&end=$t1", "label/team/values?match[]=both&start=$t0&end=$t1",
	"label/instance/values?start=@{[ $t1 + 86_400 ]}&end=@{[ $t1 + 90_000 ]}", "series?match[]=requests_total{instance=~\"i1.*\"}&start=$t0&end=$t1",
	"series?match[]=both&start=@{[ $t0 + 80_000 ]}&end=@{[ $t1 - 1 ]}", "query?query=sum(increase(requests_total[1d]))&time=$t1", "query?query=requests_total[1h]&time=$t1",
	"query_range?query=histogram_quantile(0.9,rate(sizes[2h]))&start=$t0&end=@{[ $t1 + 20_000 ]}&step=3600", "query_exemplars?query=requests_total&start=$t0&end=$t1"));
my @statements = ("SELECT * FROM prom.samples_of('{team=~\".+\"}')", "SELECT * FROM prom.query('sum by (team) (max_over_time(requests_total[2d]))', @{[ at(170_000) ]})",
	"SELECT * FROM prom.query_range('requests_total - requests_total offset 1d', @{[ at(90_000) ]}, @{[ at(160_000) ]}, '1h')",
	"SELECT * FROM prom.query('histogram_count(sizes)', @{[ at(100_000) ]})", "SELECT * FROM prom.exemplars('requests_total')",
	"SELECT * FROM prom.graph('sum(requests_total)', @{[ at(0) ]}, @{[ at(170_000) ]}, '2h')");

foreach my $role ('postgres', 'red')
{
	foreach my $path (@paths)
	{
		my $expected = http_as($twin, $role, $path);
		like($expected, $path =~ /90000/ ? qr/^200/ : qr/^200 .*[a-z]/s, "$role: an answer to $path");
		is(sorted(http_as($node, $role, $path)), sorted($expected), '… the same from the bucket');
	}
	foreach my $statement (@statements)
	{
		my $expected = run_sql($twin, $role, $statement);
		unlike($expected, qr/^(failed|$)/, "$role: an answer to $statement");
		is(sorted(run_sql($node, $role, $statement)), sorted($expected), '… the same from the bucket');
	}
}
like(http_as($twin, 'postgres', $paths[0]), qr/requests_total\{.*\} \d+ \d+/, '/federate looked back as far');
foreach my $kind ('samples', 'chunks')
{
	foreach my $case ([ '__name__=~requests_total|both' ], [ '__name__=sizes' ], [ '__name__=both', '--', 'instance=i3' ])
	{
		my $expected = read_remote($twin, $kind, $first_ms, $first_ms + 100_000_000, @$case);
		cmp_ok(length $expected, '>', 50, "remote read of @$case as $kind");
		is(read_remote($node, $kind, $first_ms, $first_ms + 100_000_000, @$case), $expected, '… the same from the bucket, bit for bit');
	}
}
my $told = decode_json(sql("SELECT prom.explain_json('requests_total', @{[ at(0) ]}, @{[ at(86_000) ]}, '1h')"))->{tier};
cmp_ok($told->{objects}, '>', 0, 'prom.explain tells of objects');

# --- blocks of Prometheus: of days that are nowhere but in the bucket, too

sub export_of
{
	my ($n, $role, @arguments) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir();
	my ($ret, $out, $err) = $n->psql('postgres', sprintf('CALL prom.export_blocks(%s)', join ', ', "'$directory'", @arguments), extra_params => [ '-U', $role ]);
	return join "\n", $err =~ /NOTICE:  (.*)/g;
}

is(sql("SELECT count(*) FROM prom._days() WHERE t_min < $first_ms + 2 * 86400000"), '0', 'no partition of these days is left');
$_->safe_psql('postgres', 'GRANT pg_write_server_files TO red') foreach $node, $twin;
foreach my $case ([ 'postgres' ], [ 'red' ], [ 'postgres', q{match => 'both'} ], [ 'postgres', 'start => ' . at(86_400), '"end" => ' . at(100_000) ], [ 'red', q{block_range => '2 hours'} ])
{
	my $expected = export_of($twin, @$case);
	like($expected, qr/^block 01\w{24} of/, "blocks: @$case");
	is(export_of($node, @$case), $expected, '… the same from the bucket');
}
like(export_of($node, 'postgres', q{match => 'nix'}), qr/^no block was written/, 'none of what is not there');
$_->safe_psql('postgres', 'REVOKE pg_write_server_files FROM red') foreach $node, $twin;

# --- breaking in: a user who sees the series of one team

my $all_sids = '(SELECT array_agg(g ORDER BY g) FROM generate_series(0, 1023) g)';
my $wanted = '(SELECT array_agg(g::int8 ORDER BY g) FROM generate_series(0, 1023) g)';
my $series_of = "SELECT count(DISTINCT s.sid) FROM prom._tier(0::int2, $all_sids, 0, '{}', 0, 9000000000000000000, $wanted) t, prom.samples(t.data) s";
is(run_sql($node, 'postgres', $series_of), '72', 'what reads buckets, with the ids of all series');
is(run_sql($node, 'red', $series_of), '37', '… gives samples of the visible ones');
is(run_sql($node, 'red', "SELECT count(*) FROM generate_series(0, 1023) g WHERE prom._tier_holds(0::int2, g, 0, 0, 9000000000000000000)"), '37', '… and tells of no others');
foreach my $try ('SELECT * FROM prom.tier_object', 'SELECT * FROM prom.tier_objects', 'SELECT * FROM prom.tier_series', q{SELECT prom._tier_rest(1)}, q{SELECT prom.attach_bucket('b')},
	q{SELECT * FROM prom._tier_chunks('b', 'x', 'x', '', '{}')}, q{SELECT prom._bucket_get('b', 'x')}, q{SELECT prom._tier_cut(1, '{0}', '{1}', 0, 1)}, q{SELECT prom._tier_delete(0::int2, '{1}', 0, 1)},
	q{CALL prom.rehydrate('-infinity', 'infinity')}, q{SELECT prom.delete_series('both')})
{
	like(run_sql($node, 'red', $try), qr/failed: .*42501: permission denied/s, "denied: $try");
}
# Functions of the caller are not called with the rights of the owner.
my $spy = "CREATE TEMP TABLE tier_rest (block int4, part int2, t_min int8, t_max int8, samples int4, data prom.chunk); CREATE TEMP TABLE tier_series_loaded (sid int4, labels prom.labels);";
is(run_sql($node, 'postgres', "$spy SELECT count(*) FROM prom.attach_bucket('b') n WHERE n = 0"), '1', 'temporary tables of the caller are not used');

# --- another server beside its own samples

sub other { return $second->safe_psql('postgres', $_[0]) }

sub settled_cluster { return other(q{SELECT (SELECT count(*) FROM prom.tier_object), (SELECT count(*) FROM prom.tier_cluster), (SELECT count(*) FROM prom.tier_series), (SELECT count(*) FROM prom.series), (SELECT count(*) FROM prom.shard), (SELECT count(*) FROM prom.label_value), (SELECT count(*) FROM prom.metric)}) }

cmp_ok(other(q{SELECT prom.attach_bucket('b')}), '>', 1, 'an empty server attaches the bucket');
is(sorted(other($statements[0])), sorted(run_sql($twin, 'postgres', $statements[0])), '… and knows all of it');
is(export_of($second, 'postgres'), export_of($twin, 'postgres'), '… and exports it as blocks');
cmp_ok(other(q{SELECT prom.detach_bucket('b')}), '>', 1, '… and no more');
is(settled_cluster(), '0|0|0|0|0|0|0', 'nothing is left of it');

remote_write($second, [ { __name__ => 'own', team => 'green' }, [ $first_ms + 1000, 5 ] ], [ { __name__ => 'both', team => 'red' }, [ $first_ms + 1000, 2 ], [ $first_ms + 2000, 3 ] ])->{status} == 204 or die;
other('CALL prom.merge()');
my $before = settled_cluster();
other(q{SELECT prom.attach_bucket('b')});
is(other("SELECT sum(value) FROM prom.query('sum(own) + scalar(count(requests_total))', @{[ at(80_000) ]})"), '75', 'one query over both');
is(sorted(other(q{SELECT t_ms - } . $first_ms . q{, value FROM prom.samples_of('both')})), "1000|1\n1000|2\n2000|3", 'equal label sets are two series, one here and one there');
is(other("SELECT sum(value) FROM prom.query('sum(both)', @{[ at(10) ]})"), '4', '… both of which are in a result');
is(other("SET promgres.replica_labels = 'replica'; SELECT count(*), max(value) FROM prom.query('both', @{[ at(10) ]})"), '1|3', '… unless replicas are merged');
like(run_sql($second, 'postgres', q{SELECT prom.delete_series('{team="red"}')}), qr/55000: some of these samples are in a bucket that is attached read-only.*HINT:  .*prom\.detach_bucket/s, 'what is attached is not deleted here');
is(other(q{SELECT prom.delete_series('own', '-infinity', '2000-01-01')}), '0', '… what is not, can be');

# The first goes on: deletes, and moves another day out.
sql(q{SELECT prom.delete_series('requests_total{team="blue"}')});
is(other(q{SELECT count(DISTINCT labels) FROM prom.samples_of('requests_total')}), '70', 'a deletion elsewhere is not known yet');
remote_write($node, [ { __name__ => 'later', team => 'red' }, [ $first_ms + 2 * 86_400_000 + 1000, 9 ] ])->{status} == 204 or die;
sql('CALL prom.merge()');
move();
cmp_ok(other(q{SELECT prom.attach_bucket('b')}), '>', 1, 'attached again: what is new');
is(other(q{SELECT count(DISTINCT labels) FROM prom.samples_of('requests_total')}), '35', '… and what was deleted is gone');
is(other(q{SELECT count(*) FROM prom.series WHERE labels['team'] = 'blue'}), '0', '… with its series');
is(other(q{SELECT value FROM prom.samples_of('later')}), '9', 'a new day');
is(other(q{SELECT count(*) FROM prom.verify_bucket('b', true) WHERE problem <> 'nobody knows it'}), '0', 'and all of it is as it should be');
other(q{SELECT prom.detach_bucket('b')});
is(settled_cluster(), $before, 'detached, all is as it was');
is(other(q{SELECT count(*) FROM prom.samples_of('{team=~".+"}')}), '3', 'with its own samples');

# --- bringing back what is not there keeps nothing from moving

sql("CALL prom.rehydrate('2001-01-01', '2001-02-01')");
sql("CALL prom.rehydrate(@{[ at(0) ]}, @{[ at(86_400) ]}, 'nix')");
is(sql('SELECT count(*) FROM prom.tier_hold'), '0', 'nothing came back, and no day is held');
sql("CALL prom.rehydrate('2001-01-01', @{[ at(80_000) ]}, 'both')");
is(sql('SELECT count(*), min(from_ms) = ' . $first_ms . ', max(to_ms) < ' . ($first_ms + 86_400_000) . ' FROM prom.tier_hold'), '1|t|t', 'a day came back, and this one is held');
sql("CALL prom.rehydrate(@{[ at(0) ]}, @{[ at(80_000) ]}, 'both', '30 days')");
is(sql(q{SELECT count(*), min(until) > now() + interval '29 days' FROM prom.tier_hold}), '1|t', '… for longer, if asked again');

$_->stop foreach $node, $twin, $second;
done_testing();

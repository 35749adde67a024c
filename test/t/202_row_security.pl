# Row security on prom.series: who sees some series only gets nothing of the others, however it asks.

use strict;
use warnings;

use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

# (what is written last stays fresh)
my $node = start_node(new_node('primary', 'promgres.merge_age' => '1h'));
my $t = 1_700_000_000_000;
my $late = $t / 1000 + 3600;

# The secrets: a metric, a label, values and samples of the other team; all have "hush" or 4711 in them.
sub series_at
{
	my ($at, $value) = @_;
	return (
		[ { __name__ => 'requests_total', team => 'red', path => '/a' }, [ $at, $value ] ],
		[ { __name__ => 'requests_total', team => 'blue', path => '/hush' }, [ $at, 4711 + $value ] ],
		[ { __name__ => 'hush_total', team => 'blue', hush => 'hush_value' }, [ $at, 4711 + $value ] ]);
}

is(http_post($node, '/api/v1/write', write_body(series_at($t, 1)), 'Content-Type' => 'application/x-protobuf')->{status}, 204, 'warm samples');
$node->safe_psql('postgres', 'CALL prom.merge()');
is(http_post($node, '/api/v1/write', write_body(series_at($t + 15000, 2)), 'Content-Type' => 'application/x-protobuf')->{status}, 204, 'fresh samples');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO prom.metadata SELECT s.shard, f, md5(f)::uuid, 'counter', 'Help of ' || f, ''
	FROM (SELECT DISTINCT shard FROM prom.series) s, unnest(ARRAY['requests_total', 'hush_total']) f;
CREATE ROLE red LOGIN PASSWORD 'red';
CREATE ROLE owner LOGIN SUPERUSER;
CREATE ROLE all_seeing LOGIN PASSWORD 'all';
CREATE ROLE greedy LOGIN PASSWORD 'greedy';
CREATE ROLE red_admin LOGIN PASSWORD 'admin';
GRANT prom_reader TO red, all_seeing, greedy;
GRANT prom_admin TO red_admin;
-- what somebody in a hurry writes
GRANT ALL ON ALL TABLES IN SCHEMA prom TO greedy;
GRANT CREATE ON SCHEMA public TO red, greedy, all_seeing;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY red ON prom.series TO red, greedy, red_admin USING (labels['team'] = 'red');
ALTER ROLE all_seeing BYPASSRLS;
VACUUM ANALYZE prom.series;
VACUUM ANALYZE prom.label_value;
VACUUM ANALYZE prom.warm;
SQL

# Output and errors of some SQL, as a role.
sub as
{
	my ($role, $sql) = @_;
	my ($out, $err);
	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err, on_error_stop => 0, extra_params => [ '-U', $role ]);
	return "$out\n$err";
}

sub http_as
{
	my ($role, $path) = @_;
	my $password = { red => 'red', all_seeing => 'all', greedy => 'greedy', red_admin => 'admin' }->{$role};
	return HTTP::Tiny->new(timeout => 180)->get(gateway_url($node, $path),
		{ headers => { Authorization => 'Basic ' . encode_base64("$role:$password", '') } })->{content};
}

my $day = $node->safe_psql('postgres', 'SELECT day FROM prom._days() ORDER BY 1 LIMIT 1');
my $to_sql = $node->safe_psql('postgres', "SELECT prom.to_sql('{team=~\".+\"}', to_timestamp($t / 1000), to_timestamp($t / 1000 + 60), '15s')");
my $foreign = $node->safe_psql('postgres', "SELECT string_agg(sid::text, ',' ORDER BY sid) FROM prom.series");
my $shard = $node->safe_psql('postgres', 'SELECT min(shard) FROM prom.series');

my $samples = "SELECT labels, t_ms, value FROM prom.samples_of('{team=~\".+\"}') ORDER BY 1, 2";
foreach my $role (qw(red greedy))
{
	is(as($role, $samples), qq[{__name__="requests_total", path="/a", team="red"}|$t|1\n{__name__="requests_total", path="/a", team="red"}|@{[ $t + 15000 ]}|2\n],
		"$role has its own samples, warm and fresh");
}
like(as('all_seeing', $samples), qr/hush_value.*4713/s, 'who sees all has all');
like(as('all_seeing', 'SELECT * FROM prom.label_values'), qr/hush_value/, 'and all labels');
like(as('all_seeing', 'SELECT * FROM prom.metrics'), qr/Help of hush_total/, 'and all metadata');
is(as('red', 'SELECT name FROM prom.metrics'), "requests_total\n", 'red has its metrics');
like(as('red', 'SELECT help FROM prom.metrics'), qr/Help of requests_total/, 'with their help');
is(as('red', 'SELECT name FROM prom.label_names ORDER BY 1'), "__name__\npath\nteam\n", 'its label names');
is(as('red', "SELECT value FROM prom.label_values WHERE name = 'path'"), "/a\n", 'its label values');

# Series are found by the index, which row security forbids to ask directly; of what it finds only what is shown gets out.
my $pairs = "SELECT count(*) FROM prom._visible_series(ARRAY[prom._label_pair('team', '%s')], %s)";
foreach my $every ('true', 'false')
{
	is(as('red', sprintf $pairs, 'red', $every), "1\n", 'candidates of its own');
	is(as('red', sprintf $pairs, 'blue', $every), "0\n", 'none of others');
	is(as('all_seeing', sprintf $pairs, 'blue', $every), "2\n", 'which are there');
}
like(as('red', q{SET enable_seqscan = off; EXPLAIN SELECT FROM prom.series s WHERE (s.shard, s.sid) IN (SELECT * FROM prom._visible_series('{1}', true))}), qr/series_pkey/,
	'series are read by their ids');
like(as('red', q{SELECT prom._selector_sql('requests_total', 's')}), qr/_visible_series/, 'a selector does so');

# Every attempt is made by one with the usual rights, by one with rights to all tables, and by an administrator.
my %attempt = (
	'the table of warm samples' => 'SELECT prom._sids(data), samples FROM prom.warm',
	'the table of fresh samples' => 'SELECT samples, data FROM prom.fresh',
	'a partition' => "SELECT samples, data FROM $day",
	'views of the tables' => 'SELECT samples FROM prom._warm_rows UNION ALL SELECT samples FROM prom._fresh_rows',
	'COPY' => 'COPY prom.warm TO STDOUT',
	'COPY of a partition' => "COPY $day TO STDOUT",
	'TABLE ONLY' => 'SELECT samples FROM ONLY prom.warm',
	'system columns' => "SELECT ctid FROM $day",
	'label values' => 'SELECT name, value FROM prom.label_value',
	'the view of label values' => 'SELECT name, value FROM prom._label_value UNION ALL SELECT name, name FROM prom._label_name',
	'metrics' => 'SELECT name FROM prom.metric UNION ALL SELECT name FROM prom._metric',
	'metadata' => 'SELECT family, help FROM prom.metadata',
	'the view of metadata' => 'SELECT family, help FROM prom._metadata WHERE family <> $$requests_total$$',
	'shards' => 'SELECT series FROM prom.shard UNION ALL SELECT series FROM prom._shard',
	'quarantine' => 'SELECT data FROM prom.quarantine',
	'the text of to_sql' => "SELECT * FROM ($to_sql) q WHERE q.labels['team'] <> 'red'",
	'PromQL' => "SELECT * FROM prom.query('hush_total', to_timestamp($late - 3500))",
	'PromQL with a regular expression' => "SELECT * FROM prom.query('{path=~\"/h.*\"}', to_timestamp($t / 1000 + 20))",
	'samples_of' => 'SELECT * FROM prom.samples_of($${hush=~".+"}$$)',
	'the planner, asked by a leaky function' => q{
		CREATE OR REPLACE FUNCTION pg_temp.leak(prom.labels) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS
			$$ BEGIN RAISE NOTICE 'leak %', $1; RETURN true; END $$;
		SELECT count(*) FROM prom.series WHERE pg_temp.leak(labels) AND labels['team'] = 'blue'},
	'a leaky operator on statistics' => q{
		CREATE OR REPLACE FUNCTION pg_temp.leak_lt(text, text) RETURNS bool LANGUAGE plpgsql AS
			$$ BEGIN RAISE NOTICE 'leak % %', $1, $2; RETURN $1 < $2; END $$;
		CREATE OPERATOR pg_temp.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.leak_lt, RESTRICT = scalarltsel);
		EXPLAIN SELECT FROM prom._label_value WHERE value OPERATOR(pg_temp.<<<) 'x';
		EXPLAIN SELECT FROM prom.label_values WHERE value OPERATOR(pg_temp.<<<) 'x'},
	'an error that quotes' => q{SELECT prom._label_re('{}', 'x', '(' || v.value) FROM prom._label_value v},
	'EXPLAIN' => "EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM prom.query('{team=\"blue\"}', to_timestamp($late - 3500))",
	'prom.explain' => "SELECT prom.explain('{team=~\".+\"}', to_timestamp($t / 1000 + 20), true)",
	'a cursor opened before' => 'BEGIN; DECLARE c CURSOR FOR SELECT samples, data FROM prom.warm; FETCH ALL FROM c; COMMIT',
	'row_security off' => 'SET row_security = off; SELECT labels FROM prom.series; SELECT samples, data FROM prom.warm; SELECT * FROM prom.samples_of($${team=~".+"}$$)',
	'a view of its own' => 'CREATE OR REPLACE VIEW public.mine AS SELECT samples, data FROM prom.warm; SELECT * FROM public.mine',
	'prom.stat_merge' => 'SELECT last_error FROM prom.stat_merge',
	'prom.stat_rows' => 'SELECT * FROM prom.stat_rows()',
	'deleting' => 'SELECT prom.delete_series($${team="blue"}$$)',
	'tokens' => 'SELECT hash FROM prom.token',
	'roles' => 'SELECT prom._enter($$all_seeing$$, 0); SELECT prom._login($$red$$, $$x$$)',
	'ids' => "SELECT prom.series_id('{__name__=\"hush_total\"}')",
);

# The lines that tell something of the other team.  What was asked is told again, by errors and plans.
sub told
{
	my ($role, $name) = @_;
	my @lines = split /\n/, as($role, $attempt{$name});
	return join "\n", grep { /hush|47\d\d|NOTICE:  leak|\bblue\b/ && !/Filter:|Function Call:|Output:|Cond:|^(?:LINE|QUERY|CONTEXT|SQL)|series=/ } @lines;
}

foreach my $role (qw(red greedy red_admin))
{
	is(told($role, $_), '', "$role hears nothing by: $_") foreach sort keys %attempt;
	my $answer = as($role, 'SELECT samples, data FROM prom.warm; SELECT samples FROM prom.fresh; SELECT 1 FROM prom.token');
	unlike($answer, qr/^\d/m, "$role reads no row of the tables");
}
foreach my $name ('the view of label values', 'the view of metadata', 'the text of to_sql', 'PromQL', 'PromQL with a regular expression',
	'samples_of', 'metrics', 'the planner, asked by a leaky function')
{
	isnt(told('all_seeing', $name) . told('owner', $name), '', "but there is something to hear by: $name");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM prom.series'), 3, 'nothing was deleted or made');

# Foreign ids, given to the functions that read with the rights of the owner
my $red_id = $node->safe_psql('postgres', "SELECT sid FROM prom.series WHERE labels['team'] = 'red'");
my $ids = "SELECT string_agg(DISTINCT u::text, ',' ORDER BY u::text) FROM prom._visible_warm(${shard}::int2, ARRAY[$foreign], 0, 9e15::int8) w, unnest(prom._sids(w.data)) u";
my $fresh_ids = "SELECT string_agg(DISTINCT u::text, ',' ORDER BY u::text) FROM unnest(prom._sids(prom._visible_fresh(${shard}::int2, ARRAY[$foreign], 0, 9e15::int8))) u";
foreach my $role (qw(red greedy red_admin))
{
	is(as($role, $_), "$red_id\n", "ids of others are but a wish of $role") foreach $ids, $fresh_ids;
}
is(join(',', sort split /[,\n]/, as('owner', $_)), join(',', sort split /,/, $foreign), 'and all there is for who sees all') foreach $ids, $fresh_ids;

# Which of them have samples is told of those alone that the role is shown; what was found out for another role, or
# another time, by the same expression is not taken.
my @asked = sort { $a <=> $b } split /,/, $foreign;
$node->safe_psql('postgres', <<"SQL");
CREATE FUNCTION public.has(sid int, t_from int8, t_to int8) RETURNS bool LANGUAGE plpgsql AS
	'BEGIN RETURN prom._visible_has(${shard}::int2, sid, 0, \$\${}\$\$, t_from, t_to); END';
SQL
sub has
{
	my ($from, $to) = @_;
	return "SELECT string_agg(s::text, ',' ORDER BY s) FILTER (WHERE public.has(s, $from, $to)) FROM unnest(ARRAY[$foreign]) s;";
}
foreach my $time ([ 'of all times', 0, 9_000_000_000_000_000 ], [ 'of merged rows', $t - 1, $t ], [ 'of fresh rows', $t, $t + 15000 ])
{
	my ($name, @range) = @$time;
	is(as($_, has(@range)), "$red_id\n", "of others nothing is told to $_, $name") foreach qw(red greedy red_admin);
	is(as('owner', has(@range)), join(',', @asked) . "\n", "but to who sees all, $name");
}
is(as('red', has($t + 15000, 9_000_000_000_000_000) . has(-5, $t - 1)), "\n\n", 'no sample is after the last and before the first');
is(as('owner', 'BEGIN; ' . has(0, 9_000_000_000_000_000) . 'SET LOCAL ROLE red;' . has(0, 9_000_000_000_000_000) . has($t + 15000, 9_000_000_000_000_000) . 'COMMIT'),
	join(',', @asked) . "\n$red_id\n\n", 'and what one role was told is not told to another');

# A view belongs to who made it: rights of its owner, and still not more than the caller's on samples.
$node->safe_psql('postgres', 'CREATE VIEW public.of_owner AS SELECT samples FROM prom._warm_rows; GRANT SELECT ON public.of_owner TO red');
is(as('red', 'SELECT * FROM public.of_owner'), "\n", 'a view of the superuser on what is for those who see all gives red nothing');

# A cursor, and a prepared plan, keep to the role that runs them.
$node->safe_psql('postgres', 'GRANT red TO all_seeing');
my $followed = as('all_seeing', qq[PREPARE p AS $samples; EXECUTE p; SET ROLE red; SELECT 'now red'; EXECUTE p; RESET ROLE; SELECT 'back'; EXECUTE p]);
my ($before, $during, $after) = split /now red|back/, $followed;
like($before, qr/hush_value/, 'a prepared statement sees all');
unlike($during, qr/hush|47\d\d/, 'and less under SET ROLE');
like($during, qr/requests_total/, 'but what is there to be seen');
like($after, qr/hush_value/, 'and all again after RESET ROLE');

# The same by HTTP.
my $range = 'start=' . ($t / 1000) . '&end=' . ($t / 1000 + 60);
my %path = (
	query => "/api/v1/query?query=%7Bteam%3D~%22.%2B%22%7D&time=" . ($t / 1000 + 20),
	'range query' => "/api/v1/query_range?query=%7Bteam%3D~%22.%2B%22%7D&$range&step=15",
	'samples' => "/api/v1/query?query=%7Bteam%3D~%22.%2B%22%7D%5B1h%5D&time=" . ($t / 1000 + 20),
	labels => '/api/v1/labels',
	'labels in time' => "/api/v1/labels?$range",
	'label values' => '/api/v1/label/path/values',
	'label values in time' => "/api/v1/label/path/values?$range",
	'names' => '/api/v1/label/__name__/values',
	series => '/api/v1/series?match[]=%7Bteam%3D~%22.%2B%22%7D',
	'series in time' => "/api/v1/series?match[]=%7Bteam%3D~%22.%2B%22%7D&$range");
foreach my $name (sort keys %path)
{
	my $answer = http_as('red', $path{$name});
	like($answer, qr/"status":"success".*(?:requests_total|path|\/a)/, "red gets an answer: $name");
	unlike($answer, qr/hush|47\d\d/, "and nothing of others: $name");
	like(http_as('all_seeing', $path{$name}), qr/hush/, "who sees all sees more: $name");
}

# All that depends on series is shut, also what later versions add.
is( $node->safe_psql('postgres', <<'SQL'), '', 'every table of the schema is shut for all but its owner, but prom.series');
SELECT c.oid::regclass FROM pg_class c
WHERE c.relnamespace = 'prom'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
	AND c.relname <> 'block_import' -- which blocks were imported from where, for administrators; no samples, no labels
SQL
is( $node->safe_psql('postgres', <<'SQL'), '', 'and what an administrator may call is shut for others');
SELECT p.oid::regprocedure FROM pg_proc p
WHERE p.pronamespace = 'prom'::regnamespace AND p.prosecdef AND has_function_privilege('red', p.oid, 'EXECUTE')
	AND p.proname NOT IN ('_quarantined', '_rolled_until', '_export_tier_days') -- a mere count, a mere time, mere days
SQL

$node->stop;
done_testing();

# Warnings and infos of a query are arrays of the answer: each text once, ten of a kind, and how many more.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary'));
my $t = 1_700_000_000;

remote_write($node,
	(map { [ { __name__ => "gauge$_", le => "x$_" }, map { [ ($t - 60 + 15 * $_) * 1000, $_ ] } 0 .. 4 ] } 1 .. 12),
	(map { [ { __name__ => 'many', i => $_ }, map { [ ($t - 60 + 15 * $_) * 1000, $_ ] } 0 .. 4 ] } 1 .. 2000));

sub ask
{
	my ($query, %more) = @_;
	my $path = $more{start} ? '/api/v1/query_range' : '/api/v1/query';
	my $answer = http_json($node, $path, { query => $query, $more{start} ? () : (time => $t), %more });

	is($answer->{status}, 'success', "$query succeeds") or diag($answer->{error});
	return $answer;
}

my $answer = ask('gauge1');
ok(!exists $answer->{warnings} && !exists $answer->{infos}, 'no annotations, no arrays');

$answer = ask('quantile(2, gauge1) + on () sum(rate(gauge2[1m]))');
is_deeply($answer->{warnings}, ['PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)'], 'a warning');
is_deeply(
	$answer->{infos},
	['PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "gauge2" (1:38)'],
	'and an info');

$answer = ask("quantile(2, gauge1)\n+ quantile(2, gauge1)");
is_deeply($answer->{warnings}, ['PromQL warning: quantile value should be between 0 and 1, got 2 (2:12)'],
	'a text that comes twice is there once, with its last place');

$answer = ask('sort(gauge1)', start => $t - 30, end => $t, step => 15);
is_deeply(
	$answer->{warnings},
	['PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)'],
	'a range query has them, too');

$answer = ask('histogram_quantile(0.5, {__name__=~"gauge.*"}) or sum(rate({__name__=~"gauge.*"}[1m]))');
is(scalar @{ $answer->{warnings} }, 11, 'ten warnings and a line');
is($answer->{warnings}[10], '2 more warning annotations omitted', 'which says how many there are');
is(scalar @{ $answer->{infos} }, 11, 'ten infos and a line');
is($answer->{infos}[10], '2 more info annotations omitted', 'which says so of infos');

$answer = http_json($node, '/api/v1/query', { query => 'quantile(2, gauge1) or topk(NaN, gauge1)', time => $t });
is($answer->{error}, 'Parameter value is NaN', 'a query that fails answers its error');
$answer = ask('gauge1');
ok(!exists $answer->{warnings}, 'and leaves nothing to the next one');

# What several processes say of one query is merged.
foreach my $setting ('parallel_setup_cost = 0', 'parallel_tuple_cost = 0', 'min_parallel_table_scan_size = 0',
	'max_parallel_workers_per_gather = 2')
{
	$node->safe_psql('postgres', "ALTER SYSTEM SET $setting");
}
$node->safe_psql('postgres', 'ALTER TABLE prom.series SET (parallel_workers = 2)');
$node->safe_psql('postgres', 'VACUUM ANALYZE prom.series');
$node->restart;
ok(wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is ready'), 'the gateway is ready again');
my $plan = $node->safe_psql('postgres',
	"SELECT prom.to_sql('sum(rate({i=~\".+\"}[1m]))', to_timestamp($t), to_timestamp($t), '1 min')");
like($node->safe_psql('postgres', "SET enable_sort = off; EXPLAIN (COSTS off) $plan"), qr/Gather/,
	'the query runs in several processes');
$answer = ask('sum(rate({i=~".+"}[1m]))');
is_deeply(
	$answer->{infos},
	['PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "many" (1:10)'],
	'workers do not repeat each other');

$node->stop;
done_testing();

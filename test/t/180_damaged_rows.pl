# The maintenance worker sets damaged rows aside, says so once, and merges everything else; a dump takes the
# rows that were set aside along, and a series without samples is collected.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary', 'promgres.merge_age' => '1h', 'promgres.series_grace' => '1s'));
my $start_ms = 1_700_000_000_000;

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Any bytes as a chunk: what no input function lets in.
sql(<<'SQL');
CREATE FUNCTION raw(bytea, bytea) RETURNS prom.chunk LANGUAGE internal IMMUTABLE STRICT AS 'byteacat';
SQL

foreach my $i (1 .. 9)
{
	my $answer = remote_write($node, [ { __name__ => 'm', n => $i }, [ $start_ms + $i, $i ] ]);
	is($answer->{status}, 204, "sample $i is written");
}
sql("SELECT sid FROM prom.series_id('{__name__=\"ended\"}')");
sql("UPDATE prom.fresh SET data = raw(substr(prom._chunk_send(data), 1, 9), '') WHERE t_min = $start_ms + 3");
sql("UPDATE prom.fresh SET data = raw('\\xff', '') WHERE t_min = $start_ms + 7");

like(query_json($node, '/api/v1/query', { query => 'm', time => $start_ms / 1000 + 1 }), qr/corrupt prom\.chunk/,
	'a query of a damaged row fails');

my $log = -s $node->logfile;
sql("ALTER SYSTEM SET promgres.merge_age = '1s'");
$node->reload;
ok(wait_for(sub { sql('SELECT count(*) FROM prom.fresh') == 0 }, 'the merge'), 'everything is merged or set aside');
is(sql("SELECT string_agg(source || ' ' || t_min - $start_ms, ', ' ORDER BY t_min) FROM prom.quarantine"), 'fresh 3, fresh 7',
	'the damaged rows are set aside');
is(sql("SELECT string_agg(value::text, ' ' ORDER BY t_ms) FROM prom.samples_of('m')"), '1 2 4 5 6 8 9', 'all others are there');
like(query_json($node, '/api/v1/query', { query => 'm', time => $start_ms / 1000 + 1 }), qr/"9"/, 'and can be queried');
my $said = () = slurp_file($node->logfile, $log) =~ /WARNING:\s+damaged row of prom\.fresh was set aside/g;
is($said, 2, 'the log tells each once');
is(sql('SELECT steps > 0, errors, rows_quarantined, quarantine_rows FROM prom.stat_merge'), 't|0|2|2', 'and so do the counters');
is(sql("SELECT samples, bodies, series_created >= 9, last_ingest > since FROM prom.stat_ingest"), '9|9|t|t', 'those of ingest, too');

# The worker looks once an hour, and when it has started; the first look marks, the second one removes.  There may have
# been one before.
foreach my $look ([ "(empty_since < clock_timestamp() - interval '1 second') IS NOT TRUE", 'a series without samples is marked' ], [ 'true', 'and removed by and by' ])
{
	my ($condition, $promise) = @$look;

	$node->restart;
	ok(wait_for(sub { remote_write($node, [ { __name__ => 'again' }, [ $start_ms, 1 ] ])->{status} == 204 }, 'a write'), 'something comes in');
	ok(wait_for(sub { sql("SELECT count(*) FROM prom.series WHERE prom.label(labels, '__name__') = 'ended' AND $condition") == 0 }, $promise), $promise);
}
is(sql("SELECT count(*) FROM prom.series WHERE prom.label(labels, 'n') IN ('3', '7')"), 2, 'but not those of rows that are set aside');

$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'sh', '-c', 'pg_dump -d "$1" | psql -qX -v ON_ERROR_STOP=1 -d "$2"', 'sh',
	$node->connstr('postgres'), $node->connstr('copy') ], 'dump and restore');
is($node->safe_psql('copy', 'SELECT count(*), count(data) FROM prom.quarantine'), '2|2', 'the rows that are set aside are in the dump');

$node->stop;
done_testing();

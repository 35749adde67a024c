# A query that wants too much ends with an error while its backend is still small, and one that is
# cancelled ends at once, whatever it is doing.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(time);

my $node = start_node(new_node('primary', 'promgres.merge_age' => '1h'));

# 3,000 series of 240 samples, and one of 80,000
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION pg_temp.fill(metric text, n int, samples int) RETURNS void LANGUAGE sql AS $$
	WITH s AS (SELECT (prom.series_id(prom.labels(jsonb_build_object('__name__', metric, 'i', 'value-' || i)))).* FROM generate_series(1, n) i)
	INSERT INTO prom.fresh (shard, sid_min, sid_max, t_min, t_max, samples, seq, data)
	SELECT shard, min(sid), max(sid), min(part) * 1000::int8, max(part + least(samples, 8000)) * 1000::int8, 0, nextval('prom.store_seq'),
		prom.chunk_merge(prom.chunk_build(shard, sid, (SELECT array_agg(t * 1000::int8 ORDER BY t) FROM generate_series(part, part + least(samples, 8000) - 1) t),
			(SELECT array_agg((sid * t)::float8 ORDER BY t) FROM generate_series(part, part + least(samples, 8000) - 1) t), 'fresh'), 1)
	FROM s, generate_series(0, samples - 1, 8000) part GROUP BY shard, sid >> 6, part;
$$;
SELECT pg_temp.fill('wide', 3000, 240);
SELECT pg_temp.fill('long', 1, 80000);
CALL prom.merge();
SQL

# ---- memory ----

# The most that the backend of a query has held, in MB, and what was said of an error.
sub peak
{
	my ($query, $limit) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', <<"SQL", on_error_stop => 0);
SET promgres.query_memory = '$limit';
SET promgres.promql_experimental = on;
SELECT count(*) FROM prom.query_range('$query', to_timestamp(0), to_timestamp(240), '50ms');
SELECT (regexp_match(pg_read_file('/proc/' || pg_backend_pid() || '/status'), 'VmHWM:\\s*(\\d+)'))[1]::int / 1024;
SQL
	return ((split /\n/, $out)[-1], $err);
}

# 3,000 series of 4,801 steps are 115 MB.  The shared buffers in use count as memory, too.
foreach my $query ('quantile(0.5, wide)', 'topk(3000, wide)', 'count_values("v", wide)', 'quantile(0.5, rate(wide[1m]))')
{
	my ($mb, $err) = peak($query, '16MB');

	like($err, qr/query needs more memory than it may use.*promgres\.query_memory/s, "$query fails with little memory");
	cmp_ok($mb, '<', 16 + 64 + 20, "its backend held $mb MB");
}
my ($mb, $err) = peak('quantile(0.5, wide)', '1GB');
is($err, '', 'with more it does not');
cmp_ok($mb, '>', 115, "and then held $mb MB");
is((peak('sum(wide)', '16MB'))[1], '', 'a sum needs little');

# What is put together at the end is counted as well: it is as large as what was gathered.
foreach my $query ('topk(3000, wide)', 'limitk(3000, wide)', 'quantile(0.5, wide)')
{
	my ($held, $said) = peak("$query", '400MB');
	cmp_ok($held, '<', 400 + 64 + 20, "$query may use 400 MB, and held $held MB");
}

my $answer = http_post($node, '/api/v1/query_range',
	[ query => 'quantile(0.5, wide)', start => 0, end => 240, step => '50ms' ]);
is($answer->{status}, 200, 'over HTTP the default is enough');
$node->safe_psql('postgres', q{ALTER SYSTEM SET promgres.query_memory = '16MB'});
$node->reload;
ok(wait_for(sub {
	my $json = http_json($node, '/api/v1/query_range', [ query => 'quantile(0.5, wide)', start => 0, end => 240, step => '50ms' ]);
	($json->{errorType} // '') eq 'execution' && $json->{error} =~ /more memory than it may use/;
}, 'HTTP queries have little memory'), 'over HTTP the setting takes effect on reload');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET promgres.query_memory});
$node->reload;

# ---- cancel ----

# Each of these runs far longer than it is allowed to: for 1 s on a fast machine, most of them for 3 s and more.
foreach my $call (
	q{prom.query_range('topk(2000, wide)', to_timestamp(0), to_timestamp(240), '50ms')},
	q{prom.query_range('quantile(0.5, wide)', to_timestamp(0), to_timestamp(240), '25ms')},
	q{prom.query_range('count_values("v", wide)', to_timestamp(0), to_timestamp(240), '50ms')},
	q{prom.query_range('limitk(2500, wide)', to_timestamp(0), to_timestamp(240), '50ms')},
	q{prom.query_range('label_replace(wide, "j", "$1", "i", "(.*)-.*") * on (i) group_left wide', to_timestamp(0), to_timestamp(240), '50ms')},
	q{prom.query_range('histogram_quantile(0.9, label_replace(wide, "le", "$1", "i", "value-(.*)"))', to_timestamp(0), to_timestamp(240), '50ms')},
	q{generate_series(1, 1000) g, prom.query('sort_by_label(sort(wide), "i")', to_timestamp(200 + g * 0.001))},
	q{(SELECT sum(length(j)) FROM generate_series(1, 20) g, prom._api_query_range('wide', 0, 240000 + g, 50, 300000, 0) j) j},
	q{generate_series(1, 1000) g, prom._api_series('{wide}', 0, g, 0)},
	q{(SELECT sum(length(j)) FROM generate_series(1, 1000) g, prom._api_query('long[23h]', 80000000 + g, 300000, 0) j) j},
	q{generate_series(1, 1000) g, prom.query('long[23h]', to_timestamp(80000 + g))},
	q{generate_series(1, 50) g, prom.query_range('sum_over_time(long[20h])', to_timestamp(70000 + g), to_timestamp(79000), '1s')},
	q{generate_series(1, 50) g, prom.query_range('quantile_over_time(0.5, long[20h])', to_timestamp(70000 + g), to_timestamp(79000), '1s')},
	q{generate_series(1, 50) g, prom.query_range('sum(max_over_time(wide[3m:50ms]))', to_timestamp(g), to_timestamp(240), '50ms')},
	q{generate_series(1, 100000) g, prom.query('count({i=~"(.*a.*)+(l|u|e)+-[0-9]*[13579]", i!~".*[0-4]$"})', to_timestamp(g))})
{
	# The machine may be busy with other things: what counts is the time that the backend has had of it.
	my ($ret, $out, $err) = $node->psql('postgres', <<"SQL", on_error_stop => 0);
SET promgres.promql_experimental = on;
SET promgres.query_max_samples = 2000000000;
SET promgres.query_memory = '4GB';
SET statement_timeout = '200ms';
SELECT count(*) FROM $call;
RESET statement_timeout;
SELECT 10 * (s[12]::int + s[13]::int) FROM string_to_array(regexp_replace(pg_read_file('/proc/self/stat'), '.*\\) ', ''), ' ') s;
SQL
	my $ms = (split /\n/, $out)[-1];

	like($err, qr/canceling statement due to statement timeout/, $call);
	cmp_ok($ms, '<', 200 + 2000, "ended after $ms ms");
}

$node->stop;
done_testing();

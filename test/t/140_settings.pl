# Settings that need no restart take effect on reload, in the workers and in what they run.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary', 'promgres.merge_age' => '1h'));
my $time = 1_700_000_000;

is($node->safe_psql('postgres',
		q{SELECT count(*), count(*) FILTER (WHERE short_desc = '') FROM pg_settings WHERE name LIKE 'promgres.%'})
		=~ s/^[1-9]\d*\|//r,
	'0', 'every setting has a description');

remote_write($node, [ { __name__ => 'looked_for' }, [ $time * 1000, 1 ] ]);
my $question = { query => 'looked_for', time => $time + 200 };
isnt(query_json($node, '/api/v1/query', $question), '', 'a sample of 200 s ago is found by default');

$node->append_conf('postgresql.conf', "promgres.lookback_delta = '2min'");
$node->reload;
ok(wait_for(sub { query_json($node, '/api/v1/query', $question) eq '' }, 'HTTP queries look back 2 min'),
	'promgres.lookback_delta takes effect on reload');
is($node->safe_psql('postgres', "SELECT count(*) FROM prom.query('looked_for', to_timestamp($time + 200))"),
	'0', 'in SQL too');
is($node->safe_psql('postgres',
		"SET promgres.lookback_delta = '10min'; SELECT count(*) FROM prom.query('looked_for', to_timestamp($time + 200))"),
	'1', 'and a session may have its own');

is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM prom.fresh'), 't', 'fresh rows wait for the merge');
$node->append_conf('postgresql.conf', "promgres.merge_age = '1s'");
$node->reload;
ok(wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM prom.fresh') eq '0' }, 'fresh rows are merged'),
	'promgres.merge_age takes effect on reload');

# The README tells of everything.
my $readme = slurp_file("$FindBin::Bin/../../README.md");
foreach my $name (split /\n/, $node->safe_psql('postgres', <<'SQL'))
SELECT name FROM pg_settings WHERE name LIKE 'promgres.%'
SQL
{
	ok($readme =~ /^\| `\Q$name\E` \|/m, "the README has $name");
}
foreach my $name (split /\n/, $node->safe_psql('postgres', <<'SQL'))
SELECT DISTINCT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE nspname = 'prom' AND proname !~ '^_|_(in|out|recv|send|subscript)$'
	AND NOT EXISTS (SELECT FROM pg_operator o WHERE o.oprcode = p.oid AND oprname <> '->>')
	AND NOT EXISTS (SELECT FROM pg_type t WHERE t.typsubscript = p.oid)
	AND NOT EXISTS (SELECT FROM pg_amproc a WHERE a.amproc = p.oid)
	AND NOT EXISTS (SELECT FROM pg_cast c WHERE c.castfunc = p.oid AND c.casttarget = 'jsonb'::regtype)
SQL
{
	ok($readme =~ /prom\.\Q$name\E\(/, "the README has prom.$name");
}

my ($ret, $out, $err) = $node->psql('postgres', 'SET promgres.no_such_setting = 1');
like($err, qr/invalid configuration parameter name "promgres.no_such_setting"/, 'the prefix is reserved');

$node->stop;
done_testing();

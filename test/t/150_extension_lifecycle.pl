# The extension can be dropped and made again under running workers, in a database of one's choice.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = new_node('primary', 'promgres.database' => 'metrics');
$node->start;
my $sample = [ { __name__ => 'lifecycle' }, [ 1_700_000_000_000, 1 ] ];

# Neither the database nor the extension is there: senders shall try again later.
ok(wait_for(sub { remote_write($node, $sample)->{status} =~ /^5\d\d$/ && remote_write($node, $sample)->{status} != 599 },
		'the gateway answers 5xx'),
	'without its database the gateway answers with a 5xx');

$node->safe_psql('postgres', 'CREATE DATABASE metrics');
$node->safe_psql('metrics', 'CREATE EXTENSION promgres');
ok(wait_for(sub { remote_write($node, $sample)->{status} == 204 }, 'a write succeeds'),
	'writes succeed as soon as the extension is there');
is($node->safe_psql('metrics', q{SELECT value FROM prom.query('lifecycle', to_timestamp(1700000000))}), '1', 'and are there');
$node->safe_psql('metrics', 'CALL prom.merge()');

$node->safe_psql('metrics', 'DROP EXTENSION promgres CASCADE');
is($node->safe_psql('metrics', q{SELECT count(*) FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid WHERE nspname = 'prom'}),
	'0', 'DROP EXTENSION leaves nothing');
like(remote_write($node, $sample)->{status}, qr/^5(?!99)/, 'then the gateway answers with a 5xx');

$node->safe_psql('metrics', 'DROP SCHEMA IF EXISTS prom; CREATE EXTENSION promgres');
ok(wait_for(sub { remote_write($node, $sample)->{status} == 204 }, 'a write succeeds'),
	'writes succeed after the extension was made anew');
is($node->safe_psql('metrics', q{SELECT count(*) FROM prom.samples_of('lifecycle', '-infinity', 'infinity')}),
	'1', 'nothing of the old samples came back');

# A server that does not preload the library has no workers, and all else.
my $plain = PostgreSQL::Test::Cluster->new('plain');
$plain->init(extra => [ '-E', 'UTF8', '--locale=C.UTF-8' ]);
$plain->start;
my ($ret, $out, $err) = $plain->psql('postgres', 'CREATE EXTENSION promgres');
like($err, qr/WARNING:  promgres is not preloaded\n.*HINT:  Add promgres to shared_preload_libraries/s, 'who has not preloaded it is told');
is($plain->safe_psql('postgres', q{SELECT value FROM prom.query('vector(1) + 1')}), '2', 'without preloading, queries are answered');
is($plain->safe_psql('postgres', q{SELECT count(*) FROM prom.stat_merge; SELECT count(*) > 0 FROM prom.jobs}),
	"1\nt", 'and views are there');
$plain->stop;
$node->stop;
done_testing();

# A hot standby answers queries with what the primary has, refuses writes in a way that makes senders
# try again, and takes them after its promotion.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $primary = start_node(new_node('primary'));
is(remote_write($primary, sample_series())->{status}, 204, 'written to the primary');
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
configure($standby);
$standby->start;
ok(wait_for(sub { http_get($standby, '/-/ready')->{status} == 200 }, 'its gateway is ready'),
	'the gateway of the standby is ready');

# Some more, and a merge, that arrive by replication.
is(remote_write($primary, [ { __name__ => 'later' }, [ 1_700_000_000_000, 1 ] ])->{status}, 204, 'written later');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is(sample_answers($standby), sample_answers($primary), 'the standby gives the same answers: fresh');
$primary->safe_psql('postgres', 'CALL prom.merge()');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is(sample_answers($standby), sample_answers($primary), 'the standby gives the same answers: merged');
is(samples_of($standby), samples_of($primary), 'the same samples, bit for bit');
is($standby->safe_psql('postgres', q{SELECT value FROM prom.query('later', '2023-11-14 22:13:20+00')}),
	'1', 'prom.query works there');

# Senders repeat what gets a 5xx and lose what gets a 4xx.
like(remote_write($standby, [ { __name__ => 'refused' }, [ 1_700_000_000_000, 1 ] ])->{status},
	qr/^5/, 'a write to the standby gets a 5xx');

$primary->stop;
$standby->promote;
ok(wait_for(sub { remote_write($standby, [ { __name__ => 'promoted' }, [ 1_700_000_000_000, 7 ] ])->{status} == 204 },
		'the promoted server takes writes'),
	'writes go to the promoted server');
is($standby->safe_psql('postgres', q{SELECT value FROM prom.query('promoted', '2023-11-14 22:13:20+00')}),
	'7', 'and are there');
$standby->safe_psql('postgres', 'CALL prom.merge()');
$standby->stop;
done_testing();

# The server stops in every mode, soon, though the gateway and the maintenance hold connections to it.  A
# smart shutdown waits for what runs, and nothing new begins meanwhile.

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(time);

my $node = start_node(new_node('primary'));
my $t = 1_700_000_000;

sub write_one { return remote_write($node, [ { __name__ => 'm' }, [ $t * 1000, 1 ] ])->{status} }

sub ask_one { return query_json($node, '/api/v1/query', { query => 'm', time => $t }) }

# Connections of every pool are there.
sub use_all
{
	is(write_one(), 204, 'a write');
	like(ask_one(), qr/"1"/, 'a query');
	return;
}

# How long it took.
sub stop
{
	my ($mode) = @_;
	my $begin = time;

	ok($node->stop($mode, fail_ok => 1, timeout => $PostgreSQL::Test::Utils::timeout_default), "$mode shutdown");
	return time - $begin;
}

foreach my $mode (qw(smart fast immediate))
{
	use_all();
	cmp_ok(stop($mode), '<', 45, "$mode shutdown is done soon");
	$node->start;
	wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is ready');
}

# A query waits for a lock that a client holds.
use_all();
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE prom.series');
my $child = fork // die "fork: $!";
if ($child == 0)
{
	my $answer = ask_one();
	POSIX::_exit($answer =~ /"1"/ ? 0 : 1);
}
my $waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'promgres%' AND wait_event_type = 'Lock'";
ok(wait_for(sub { $node->safe_psql('postgres', $waiting) eq '1' }, 'the query waits'), 'a query waits for a lock');

kill 'TERM', $node->{_pid};
my $left = sub {
	$holder->query_safe('SELECT pg_stat_clear_snapshot()');
	return $holder->query_safe("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'promgres%'");
};
ok(wait_for(sub { $left->() eq '1' }, 'all other connections are closed'),
	'of our connections only the one of the query is left');
is(write_one(), 503, 'a write is told to come again');
like(ask_one(), qr/shutting down/, 'and a query why it cannot be answered');
$holder->query_safe('COMMIT');
waitpid $child, 0;
is($?, 0, 'the query that ran is answered');
$holder->quit;
ok(wait_for(sub { !is_running($node->{_pid}) }, 'the server is gone'), 'then the server stops');
$node->{_pid} = undef;
done_testing();

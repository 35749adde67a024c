# Promgres among other databases of a server: DROP EXTENSION and CREATE again under load, a second
# database with promgres that no worker serves, and dropping the database that the workers are in.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('primary', 'promgres.database' => 'metrics', 'promgres.merge_age' => '1s');
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(metrics other);
$node->safe_psql($_, 'CREATE EXTENSION promgres') foreach qw(metrics other);
ok(wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is ready'), 'the gateway is ready');

my $start_ms = 1_700_000_000_000;

# ---- DROP EXTENSION under load

# Post and query until told to stop; a sender must see nothing but 2xx and 5xx.  Its pid.
sub start_load
{
	my ($sender) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	my ($go, $lost) = (1, 0);
	local $SIG{TERM} = sub { $go = 0 };
	for (my $n = 0; $go; $n++)
	{
		my $status = remote_write($node, map { [ { __name__ => 'load', sender => $sender, i => $_ }, [ $start_ms + 1000 * $n, $n ] ] } 1 .. 50)->{status};
		$lost++ if $status !~ /^(2..|5..)$/;
		http_get($node, '/api/v1/query?query=sum(load)&time=1700000000') if $n % 5 == 0;
	}
	POSIX::_exit($lost ? 1 : 0);
}

my @load = map { start_load($_) } 1 .. 3;
my ($slowest, @errors) = (0);
foreach my $round (1 .. 6)
{
	push @errors, "round $round: no samples came" unless wait_for(
		sub { $node->safe_psql('metrics', q{SELECT count(*) > 200 FROM prom.samples_of('load')}) eq 't' }, "samples come in round $round");
	sleep 0.1 * $round;
	my $begun = time;
	# In the way of a session that ingests, it may be chosen to end a deadlock, as any DDL.
	my ($status, $out, $err);
	foreach (1 .. 50)
	{
		($status, $out, $err) = $node->psql('metrics', 'DROP EXTENSION promgres CASCADE', timeout => $PostgreSQL::Test::Utils::timeout_default);
		last if $err !~ /deadlock detected/;
	}
	push @errors, "round $round: $err" if $status != 0;
	$slowest = time - $begun if time - $begun > $slowest;
	push @errors, "round $round: something is left"
	  if $node->safe_psql('metrics', q{SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('prom')}) ne '0';
	$node->safe_psql('metrics', 'CREATE EXTENSION promgres');
}
is_deeply(\@errors, [], 'the extension is dropped and made again under load');
cmp_ok($slowest, '<', $PostgreSQL::Test::Utils::timeout_default / 2, 'and nobody waits for long');
foreach my $pid (@load)
{
	kill 'TERM', $pid;
	waitpid $pid, 0;
	is($?, 0, 'a sender has seen nothing that makes it lose samples');
}
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC:|was terminated by signal/, 'no process of the server crashed');
diag(sprintf 'measured: DROP EXTENSION under load: %.1f s at most, %d deadlocks', $slowest, scalar(() = $log =~ /ERROR:  deadlock detected/g));
ok(worker_pid($node, qr/promgres maintenance/), 'the maintenance worker is there');
ok(wait_for(sub { $node->safe_psql('metrics', 'SELECT count(*) FROM prom.fresh') eq '0' }, 'all is merged'), 'and merges');

# ---- a second database

my $body = unpack 'H*', write_body(map { [ { __name__ => 'there', i => $_ }, map { [ $start_ms + 1000 * $_, $_ ] } 1 .. 10 ] } 1 .. 5);
is($node->safe_psql('other', "SELECT samples, error IS NULL FROM prom.ingest(ARRAY['\\x$body'::bytea])"), '50|t', 'SQL writes to the other database');
# Longer than merge_age, after which it would.
sleep 2;
is($node->safe_psql('other', 'SELECT count(*) > 0 FROM prom.fresh'), 't', 'where no worker merges');
my $before = samples_of($node, 'other');
$node->safe_psql('other', 'CALL prom.merge()');
is($node->safe_psql('other', 'SELECT count(*) FROM prom.fresh'), '0', 'CALL prom.merge() does');
is(samples_of($node, 'other'), $before, 'the samples stay the same');
unlike(samples_of($node, 'other'), qr/load/, 'they are its own');
unlike(samples_of($node, 'metrics'), qr/there/, 'and the other database has its own');
is($node->safe_psql('other', q{SELECT sum(value) FROM prom.query('count_over_time(there[1h])', to_timestamp(1700000100))}), '50', 'it can be queried');

# ---- dropping the database that the workers are in

is(remote_write($node, [ { __name__ => 'one' }, [ $start_ms, 1 ] ])->{status}, 204, 'the gateway is connected');
my $begun = time;
my ($status, $out, $err) = $node->psql('postgres', 'DROP DATABASE metrics', timeout => $PostgreSQL::Test::Utils::timeout_default);
cmp_ok(time - $begun, '<', $PostgreSQL::Test::Utils::timeout_default, 'DROP DATABASE does not hang');
SKIP:
{
	skip 'the workers were not connected then', 1 if $status == 0;
	like($err, qr/is being accessed by other users/, 'it says that others are connected');
}
$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS metrics WITH (FORCE)');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'metrics'}), '0', 'WITH (FORCE) drops it');
like(remote_write($node, [ { __name__ => 'one' }, [ $start_ms, 1 ] ])->{status}, qr/^5(?!99)/, 'then the gateway answers with a 5xx');

# The workers go where they are told to, and leave nothing behind.
$node->safe_psql('postgres', q{ALTER SYSTEM SET promgres.database = 'other'});
$node->reload;
ok(wait_for(sub { remote_write($node, [ { __name__ => 'one' }, [ $start_ms, 1 ] ])->{status} == 204 }, 'a write succeeds'),
	'they go to another database on reload');
like(samples_of($node, 'other'), qr/"?one"?/, 'and write there');
ok(wait_for(sub { $node->safe_psql('other', 'SELECT count(*) FROM prom.fresh') eq '0' }, 'it is merged'), 'and merge there');
$node->safe_psql('postgres', 'CREATE DATABASE third');
$node->safe_psql('postgres', q{ALTER SYSTEM SET promgres.database = 'third'});
$node->reload;
ok(wait_for(sub { ($node->psql('postgres', 'DROP DATABASE other', timeout => $PostgreSQL::Test::Utils::timeout_default))[0] == 0 }, 'it is dropped'),
	'a database that they have left can be dropped without FORCE');
$node->stop;
done_testing();

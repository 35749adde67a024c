# A small server, shared_buffers = 128MB and max_connections = 20, works under load: nobody is turned
# away, autovacuum keeps the tables small, and the age of their oldest transaction stays bounded.
#
# 8 seconds of load; LONG=1: 300.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{LONG} ? 300 : 8;
my $start_ms = 1_700_006_400_000;
my $freeze_max_age = 100_000;    # the least there is
my $node = start_node(new_node('primary', shared_buffers => '128MB', max_connections => 20,
	'promgres.merge_age' => '1s', autovacuum_naptime => '1s', autovacuum_freeze_max_age => $freeze_max_age,
	vacuum_freeze_min_age => 1000, autovacuum_vacuum_cost_delay => 0));

# Do something again and again until told to stop; ends with 1 if it failed once.
sub start_client
{
	my ($do) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	my ($go, $bad) = (1, 0);
	local $SIG{TERM} = sub { $go = 0 };
	for (my $n = 0; $go; $n++)
	{
		my $failure = $do->($n);
		next unless defined $failure;
		# An answer that the signal cut short is none.
		$bad = 1 if $go;
		print STDERR "# client: $failure\n" if $go;
	}
	POSIX::_exit($bad);
}

sub writer
{
	my ($sender) = @_;
	return sub {
		my ($n) = @_;
		my $answer = remote_write($node,
			map { [ { __name__ => "busy_" . $_ % 10, sender => $sender, i => $_ }, [ $start_ms + 1000 * $n, $n ] ] } 1 .. 100);
		return $answer->{status} == 204 ? undef : "write: $answer->{status} $answer->{content}";
	};
}

sub reader
{
	my $answer = http_get($node, '/api/v1/query?query=count(busy_1)&time=' . ($start_ms / 1000 + $_[0]));
	return $answer->{status} == 200 ? undef : "query: $answer->{status} $answer->{content}";
}

# Most connections that there may be: 8 writers and 16 readers stand in line at the gateway.
my @clients = ((map { start_client(writer($_)) } 1 .. 8), (map { start_client(\&reader) } 1 .. 16));

# Transaction ids are used up as by a busy neighbour, and faster than in any real life; where that is faster than
# autovacuum takes its turns, it is waited for, under the same load.
my $age_sql = <<'SQL';
SELECT max(age(c.relfrozenxid)), (SELECT pg_relation_size('prom.fresh'))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('prom', 'pg_toast') AND c.relfrozenxid <> '0';
SQL
my ($refused, $largest, $oldest, $burnt) = (0, 0, 0, 0);
my $end = time + $seconds;
while (time < $end || $burnt < 3 * $freeze_max_age)
{
	my ($status, $out, $err) = $node->psql('postgres', "DO 'BEGIN FOR i IN 1..10000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END'; $age_sql");
	$refused++, next if $status != 0;
	$burnt += 10_000;
	my ($age, $bytes) = split /\|/, $out;
	$oldest = $age if $age > $oldest;
	$largest = $bytes if $bytes > $largest;
	if ($age > $freeze_max_age + 10_000)
	{
		wait_for(sub { ($node->safe_psql('postgres', $age_sql) =~ /^(\d+)/)[0] < $freeze_max_age }, 'autovacuum has frozen what was old') or last;
	}
}
my $busy = q{SELECT count(*) FROM prom.samples_of('{__name__=~"busy.*"}', '-infinity', 'infinity')};
ok(wait_for(sub { $node->safe_psql('postgres', $busy) > 10_000 }, 'much was written'), 'there was load');
foreach my $pid (@clients)
{
	kill 'TERM', $pid;
	waitpid $pid, 0;
}
continue
{
	$refused++ if $? != 0;
}
is($refused, 0, 'every write, every query and every session had its turn');

# Autovacuum reacts to what it sees at its turns: what was burnt meanwhile comes on top.
cmp_ok($oldest, '<', 3 * $freeze_max_age, 'the age of relfrozenxid stayed bounded under load');
ok(wait_for(
		sub {
			$node->safe_psql('postgres', <<SQL) eq '0';
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('prom', 'pg_toast') AND c.relfrozenxid <> '0' AND age(c.relfrozenxid) > $freeze_max_age + 10000
SQL
		},
		'autovacuum has frozen what was old'),
	'and is below autovacuum_freeze_max_age soon after');
cmp_ok($largest, '<', 64 * 1024 * 1024, 'prom.fresh stayed small');

my $samples = $node->safe_psql('postgres', $busy);
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT labels, count(*) AS n, max(value) AS last FROM prom.samples_of('{__name__=~"busy.*"}', '-infinity', 'infinity') GROUP BY 1) x WHERE n <> last + 1}),
	'0', 'and every sample of it is there');
ok(wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM prom.fresh') eq '0' }, 'all is merged'), 'all is merged in the end');
diag("measured: $samples samples, $burnt transaction ids, oldest relfrozenxid $oldest, prom.fresh at most $largest bytes");
$node->stop;
done_testing();

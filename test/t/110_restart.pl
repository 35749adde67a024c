# What was answered with 2xx is there after any process was killed at any moment, once; and the gateway
# comes back by itself.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary'));
my $start_ms = 1_700_000_000_000;
my $next = 0;
my %acknowledged;

# Write a few samples, remembering which of them the server has acknowledged.  What got no answer may
# or may not be there, and is written again, as Prometheus would.
sub write_some
{
	my ($count) = @_;
	my $failures = 0;

	foreach (1 .. $count)
	{
		my $i = $next;
		my $answer;
		ok(0, 'the server does not come back'), return $failures
		  unless wait_for(
			sub {
				$answer = remote_write($node,
					[ { __name__ => 'restart_total', job => 'a' }, [ $start_ms + 1000 * $i, $i ] ],
					[ { __name__ => 'restart_total', job => 'b', n => $i % 7 }, [ $start_ms + 1000 * $i, -$i ] ]);
				$failures++ if $answer->{status} !~ /^2/;
				return $answer->{status} =~ /^2/;
			},
			"sample $i is acknowledged");
		$acknowledged{$i} = 1;
		$next++;
	}
	return $failures;
}

# Every acknowledged sample is there once.
sub check_all
{
	my ($moment) = @_;
	my $rows = $node->safe_psql('postgres', <<'SQL');
SELECT prom.label(labels, 'job'), t_ms, value
FROM prom.samples_of('restart_total', '-infinity', 'infinity') ORDER BY 1, 2
SQL
	my $expected = join "\n", map {
		my $sign = $_ eq 'a' ? 1 : -1;
		my $job = $_;
		map { join '|', $job, $start_ms + 1000 * $_, $sign * $_ || ($sign < 0 ? '-0' : '0') } 
		  sort { $a <=> $b } keys %acknowledged
	} qw(a b);
	$expected =~ s/\|-0$/|0/mg;
	$rows =~ s/\|-0$/|0/mg;
	is($rows, $expected, "$moment: every acknowledged sample is there, once");
	return;
}

write_some(20);
check_all('at first');

$node->restart;
write_some(5);
check_all('after a restart');

# A terminated worker is started again; other sessions do not notice.
foreach my $worker ('promgres gateway', 'promgres maintenance')
{
	my $pid = worker_pid($node, qr/$worker/);
	ok($pid, "there is a $worker") or next;
	kill 'TERM', $pid;
	ok(wait_for(sub { my $new = worker_pid($node, qr/$worker/); $new && $new != $pid }, "another $worker is there"),
		"the $worker comes back after being terminated");
	write_some(5);
	check_all("after termination of the $worker");
}

# SIGKILL of one process makes the server restart all of them.
foreach my $process ('promgres gateway', 'promgres maintenance', '\[local\]', 'walwriter')
{
	my $pid = worker_pid($node, qr/$process/);
	ok($pid, "there is a process $process") or next;
	kill 'KILL', $pid;
	write_some(5);
	ok(wait_for(sub { my $new = worker_pid($node, qr/$process/); $new && $new != $pid }, "another $process is there"),
		"the server recovers from the loss of $process");
	check_all("after kill -9 of $process");
}

# The postmaster, with a merge under way or just done.
foreach my $round (1 .. 3)
{
	write_some(20);
	$node->safe_psql('postgres', 'CALL prom.merge()') if $round == 2;
	kill_server($node);
	ok(restart_killed($node), "round $round: started after kill -9");
	check_all("after kill -9 of the postmaster, round $round");
}
ok(wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'ready'), 'the gateway is ready again');
$node->safe_psql('postgres', 'CALL prom.merge()');
check_all('after a merge');

$node->stop;
done_testing();

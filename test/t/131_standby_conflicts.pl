# Queries on a hot standby while the primary writes, merges and vacuums without a pause: they give a
# right answer or end with a conflict with recovery, never a wrong answer; with hot_standby_feedback
# no conflict is about rows.
#
# 6 seconds each way; LONG=1: 120.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{LONG} ? 120 : 6;
my $series = 30;
my $start_ms = 1_700_006_400_000;

my $primary = start_node(new_node('primary', 'promgres.merge_age' => '1s', autovacuum_naptime => '1s'));
is(body(0), 204, 'the first body is written');
$primary->backup('base');

# Body n has sample n of all series, with the value n: at every moment all have equally many samples,
# and their sum is known.
sub body
{
	my ($n) = @_;
	return remote_write($primary, map { [ { __name__ => 'steady', i => $_ }, [ $start_ms + 1000 * $n, $n ] ] } 1 .. $series)->{status};
}

# Write and merge until told to stop, in a process of its own; its pid.
sub start_load
{
	my ($from) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	my $go = 1;
	local $SIG{TERM} = sub { $go = 0 };
	my $bad = 0;
	for (my $n = $from; $go; $n++)
	{
		$bad++ if body($n) != 204;
		# A psql that is interrupted is no failure of the load.
		$primary->psql('postgres', 'CALL prom.merge(); VACUUM prom.fresh; VACUUM prom.warm') if $n % 10 == 0;
	}
	POSIX::_exit($bad ? 1 : 0);
}

# What a query may say: the number of samples per series, if it is right.
my $check = <<SQL;
SELECT count(*) = $series AND min(n) = max(n) AND min(s) = max(s) AND min(s) = min(n) * (min(n) - 1) / 2 AS fine, min(n) AS n
FROM (SELECT labels, count(*) AS n, sum(value) AS s FROM prom.samples_of('steady', '-infinity', 'infinity') GROUP BY labels) x
SQL

my $from = 1;
foreach my $feedback ('off', 'on')
{
	my $standby = PostgreSQL::Test::Cluster->new("standby_$feedback");
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	configure($standby, hot_standby_feedback => $feedback, wal_receiver_status_interval => '1s',
		max_standby_streaming_delay => '50ms');
	$standby->start;
	ok(wait_for(sub { $standby->safe_psql('postgres', 'SELECT count(*) FROM pg_stat_wal_receiver') eq '1' }, 'it streams'),
		"feedback $feedback: the standby streams");
	if ($feedback eq 'on')
	{
		ok(wait_for(sub { $primary->safe_psql('postgres', 'SELECT count(backend_xmin) FROM pg_stat_replication') eq '1' }, 'feedback arrives'),
			'the primary has had feedback');
	}
	# What was vacuumed before that is behind it.
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

	my $load = start_load($from);
	my ($right, $conflicts, $last, $turn) = (0, 0, 0, 0);
	my (@wrong, %reason);
	my $end = time + $seconds;
	# or longer, until it has seen what it is there for
	my $seen = sub { return $last > $from + 10 && ($feedback eq 'on' || $conflicts > 0) };
	while (time < $end || (!$seen->() && time < $end + $PostgreSQL::Test::Utils::timeout_default))
	{
		# A snapshot that is held, for nothing or for long, while rows that it sees are merged and vacuumed away.
		my $hold = (0, 0, 0.05, 0.5)[ $turn++ % 4 ];
		my ($status, $out, $err) = $standby->psql('postgres',
			"BEGIN ISOLATION LEVEL REPEATABLE READ; $check; SELECT pg_sleep($hold); $check; COMMIT;");
		if ($err =~ /conflict with recovery/)
		{
			$conflicts++;
			$reason{ $err =~ /DETAIL:  (.*)/ ? $1 : 'not told' }++;
			next;
		}
		my @lines = grep { /\|/ } split /\n/, $out;
		my $fine = $err eq '' && @lines == 2 && $lines[0] eq $lines[1] && $lines[0] =~ /^t\|(\d+)$/ && $1 >= $last;
		push @wrong, "$out $err" unless $fine;
		$last = $1 if $fine;
		$right++ if $fine;

		# And the way that PromQL goes.
		($status, $out, $err) = $standby->psql('postgres',
			"SELECT count(DISTINCT value), min(value) >= $last FROM prom.query('count_over_time(steady[1d])', to_timestamp($start_ms / 1000 + 80000))");
		push @wrong, "prom.query: $out $err" unless $out eq '1|t' || $err =~ /conflict with recovery/;
	}
	kill 'TERM', $load;
	waitpid $load, 0;
	is($?, 0, "feedback $feedback: every body was acknowledged");
	is_deeply(\@wrong, [], "feedback $feedback: no answer was wrong");
	cmp_ok($right, '>', 0, "feedback $feedback: there were answers");
	cmp_ok($last, '>', $from + 10, "feedback $feedback: while samples came");
	diag("measured: $reason{$_} conflicts: $_") foreach sort keys %reason;
	# Feedback keeps rows; it cannot help where VACUUM cuts the end of a table off, which takes a lock.
	if ($feedback eq 'on')
	{
		is_deeply([ grep { !/relation lock/ } sort keys %reason ], [], 'feedback on: no query lost rows that it needs');
		cmp_ok($conflicts, '<', $right, 'feedback on: conflicts are rare');
	}
	cmp_ok($conflicts, '>', 0, 'feedback off: there were conflicts') if $feedback eq 'off';
	$from = $primary->safe_psql('postgres', q{SELECT count(*) FROM prom.samples_of('steady{i="1"}', '-infinity', 'infinity')});
	diag("measured: hot_standby_feedback $feedback: $right right answers, $conflicts conflicts, $from bodies");

	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	is(samples_of($standby), samples_of($primary), "feedback $feedback: in the end both have the same samples");
	$standby->stop;
}
$primary->stop;
done_testing();

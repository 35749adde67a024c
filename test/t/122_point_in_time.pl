# A base backup and the archived log bring the server back to a named point: exactly what was
# acknowledged before it is there, whether it was fresh or merged then.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(has_archiving => 1, allows_streaming => 1, extra => [ '-E', 'UTF8', '--locale=C.UTF-8' ]);
configure($primary, 'promgres.merge_age' => '1h');
start_node($primary);

my $start_ms = 1_700_000_000_000;
my $next = 0;

# Bodies with lasting series, a new one each, and what is late by a day or is written anew.
sub write_bodies
{
	my ($count) = @_;
	my $bad = 0;

	foreach my $n ($next .. $next + $count - 1)
	{
		my $t = $start_ms + 15_000 * $n;
		my $answer = remote_write($primary,
			(map { [ { __name__ => 'lasting', i => $_ }, [ $t, $n + $_ / 8 ] ] } 1 .. 20),
			[ { __name__ => 'passing', n => $n }, [ $t, $n ] ],
			[ { __name__ => 'late' }, [ $t - 86_400_000 * ($n % 5), $n ] ],
			[ { __name__ => 'again' }, [ $start_ms, $n ] ]);
		$bad++ if $answer->{status} != 204;
	}
	$next += $count;
	is($bad, 0, "bodies until $next are acknowledged");
	return;
}

sub merge
{
	$primary->safe_psql('postgres', 'CALL prom.merge()');
	return;
}

write_bodies(20);
merge();
write_bodies(20);
$primary->backup('base');

# Replayed: merges of what was fresh and merged in the backup, new partitions and series, a deletion.
write_bodies(40);
merge();
write_bodies(40);
is($primary->safe_psql('postgres', q{SELECT prom.delete_series('passing{n=~"1."}')}), '10', 'some series are deleted');
write_bodies(20);
my %expected;
foreach my $point ('early', 'late')
{
	$primary->safe_psql('postgres', "SELECT pg_create_restore_point('$point')");
	$expected{$point} = samples_of($primary);
	write_bodies(20);
	merge();
	write_bodies(20);
}
isnt($expected{late}, $expected{early}, 'the two points differ');
isnt(samples_of($primary), $expected{late}, 'and something came after both');
my $segment = $primary->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
# The file alone tells nothing: it is there as soon as copying begins.
ok($primary->poll_query_until('postgres', "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver"),
	'the log is archived');
$primary->stop('immediate');

foreach my $point ('early', 'late')
{
	my $node = PostgreSQL::Test::Cluster->new("at_$point");
	$node->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
	configure($node, recovery_target_name => $point, recovery_target_action => 'promote', archive_mode => 'off');
	$node->start;
	ok(wait_for(sub { $node->safe_psql('postgres', 'SELECT pg_is_in_recovery()') eq 'f' }, 'recovery has ended'),
		"$point: recovery has ended");
	is(samples_of($node), $expected{$point}, "$point: exactly what was acknowledged before, bit for bit");

	# And it is a server like any other.
	ok(wait_for(sub { remote_write($node, [ { __name__ => 'after' }, [ $start_ms, 1 ] ],
					[ { __name__ => 'lasting', i => 1 }, [ $start_ms, -1 ] ])->{status} == 204 }, 'a write succeeds'),
		"$point: it takes writes");
	$node->safe_psql('postgres', 'CALL prom.merge()');
	my $after = samples_of($node);
	$after =~ s/^\{__name__="after"\}.*\n//mg;
	$after =~ s/^(\{__name__="lasting", ?i="1"\}\|$start_ms\|).*$/$1/mg;
	(my $before = $expected{$point}) =~ s/^(\{__name__="lasting", ?i="1"\}\|$start_ms\|).*$/$1/mg;
	is($after, $before, "$point: and merges them, with nothing else changed");
	is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT (shard, sid)), count(*) - count(DISTINCT labels) FROM prom.series'),
		'0|0', "$point: every series once");
	$node->stop;
}
done_testing();

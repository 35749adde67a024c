# Row security of prom.series survives pg_dump: policies are made again when the dump is restored, and what cannot be made
# lets nobody see more than before.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $roles = join ' ', map { "CREATE ROLE $_ LOGIN; GRANT prom_reader TO $_;" } 'red', '"Blue, too"', 'other';
my $old = start_node(new_node('old'));
is(remote_write($old, map { [ { __name__ => 'm', team => $_, secret => $_ eq 'blue' ? 'yes' : 'no' }, [ 1_700_000_000_000, 1 ] ] } qw(red blue green))->{status}, 204, 'series');
$old->safe_psql('postgres', <<"SQL");
$roles
CREATE TABLE public.team (role name, team text);
INSERT INTO public.team VALUES ('other', 'green');
GRANT SELECT ON public.team TO PUBLIC;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY red ON prom.series FOR SELECT TO red, "Blue, too" USING (labels['team'] IN ('red', 'blue'));
CREATE POLICY "by table" ON prom.series TO other USING (labels['team'] IN (SELECT t.team FROM public.team t WHERE t.role = current_user)) WITH CHECK (false);
CREATE POLICY never ON prom.series AS RESTRICTIVE FOR SELECT USING (labels['secret'] <> 'yes');
CREATE POLICY gone ON prom.series USING (true);
DROP POLICY gone ON prom.series;
ALTER POLICY red ON prom.series TO red USING (labels['team'] IN ('red', 'blue', 'x'));
SQL

my $policies = "SELECT polname, polpermissive, polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) FROM pg_policy ORDER BY 1";
my $security = "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = 'prom.series'::regclass";
my $before = $old->safe_psql('postgres', $policies);
is(scalar(() = $before =~ /^(?:red|never|by table)\|/mg), 3, 'three policies');
is($old->safe_psql('postgres', 'SELECT count(*) FROM prom.access_policy'), '4', 'which are kept, as is that row security is on');

sub teams
{
	my ($node, $role) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', q{SELECT string_agg(labels['team'], ' ' ORDER BY labels['team']) FROM prom.samples_of('m')},
		stdout => \$out, stderr => \$err, extra_params => [ '-U', $role ]);
	return "$out$err";
}
is_deeply([ map { teams($old, $_) } 'red', 'other', 'Blue, too' ], [ 'red', 'green', '' ], 'each sees its own');

foreach my $format ('plain', 'custom', 'directory')
{
	my $file = "$PostgreSQL::Test::Utils::tmp_check/dump.$format";
	$old->command_ok([ 'pg_dump', '-F', $format, '-f', $file, 'postgres' ], "$format: dump");
	my $new = new_node("new_$format");
	$new->start;
	$new->safe_psql('postgres', join ' ', map { "CREATE ROLE $_ LOGIN;" } 'red', '"Blue, too"', 'other');
	$new->command_ok(
		$format eq 'plain' ? [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $file, 'postgres' ]
		: [ 'pg_restore', '--exit-on-error', $format eq 'directory' ? ('-j', '2') : (), '-d', 'postgres', $file ],
		"$format: restore");
	$new->safe_psql('postgres', 'GRANT prom_reader TO red, "Blue, too", other');
	is($new->safe_psql('postgres', $policies), $before, "$format: the same policies");
	is($new->safe_psql('postgres', $security), 't|f', "$format: row security is on");
	is_deeply([ map { teams($new, $_) } 'red', 'other', 'Blue, too' ], [ 'red', 'green', '' ], "$format: each sees its own");
	if ($format eq 'plain')
	{
		# and go on as policies do
		$new->safe_psql('postgres', 'DROP POLICY never ON prom.series');
		is($new->safe_psql('postgres', q{SELECT string_agg(name, ',' ORDER BY name) FROM prom.access_policy}), ',by table,red', 'a change after it is kept, too');
		$new->safe_psql('postgres', 'DROP EXTENSION promgres CASCADE; CREATE EXTENSION promgres');
		is($new->safe_psql('postgres', 'SELECT count(*) FROM prom.access_policy'), '0', 'a new extension has none');
	}
	$new->stop;
}

# A role that is not there.
my $closed = new_node('closed');
$closed->start;
$closed->safe_psql('postgres', 'CREATE ROLE other LOGIN; CREATE ROLE late LOGIN');
my ($out, $err) = ('', '');
IPC::Run::run([ 'pg_restore', '-d', $closed->connstr('postgres'), "$PostgreSQL::Test::Utils::tmp_check/dump.custom" ], '>' => \$out, '2>' => \$err);
like($closed->safe_psql('postgres', "SELECT string_agg(polname::text, ',' ORDER BY polname) FROM pg_policy"), qr/^by table,never$/, 'what can be made is made');
like(slurp_file($closed->logfile), qr/WARNING:  policy "red" of prom.series could not be made again: role "red" does not exist/, 'what cannot is told');
$closed->safe_psql('postgres', 'GRANT prom_reader TO late');
is(teams($closed, 'late'), '', 'and nobody sees more');
$closed->stop;
$old->stop;
done_testing();

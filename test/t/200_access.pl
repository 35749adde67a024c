# Who a client of the gateway is, and what it may: passwords of roles, tokens, nobody; GRANTs decide.

use strict;
use warnings;

use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;

my $node = start_node(new_node('primary'));
my $t = 1_700_000_000_000;

sub basic { return 'Basic ' . encode_base64(join(':', @_), ''); }

sub ask
{
	my ($authorization, $path) = @_;
	return HTTP::Tiny->new(timeout => 180)->get(gateway_url($node, $path // '/api/v1/query?query=vector(1)'),
		{ headers => { defined $authorization ? (Authorization => $authorization) : () } });
}

sub push_sample
{
	my ($authorization, $name) = @_;
	return http_post($node, '/api/v1/write', write_body([ { __name__ => $name }, [ $t, 1 ] ]),
		'Content-Type' => 'application/x-protobuf', defined $authorization ? (Authorization => $authorization) : ());
}

sub set
{
	my ($setting, $value) = @_;
	$node->append_conf('postgresql.conf', "$setting = '$value'");
	reload();
	return;
}

# A reload forgets who has failed how often, and who was right.
sub reload
{
	reload_gateway($node);
	return;
}

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE reader LOGIN PASSWORD 'read:me';
CREATE ROLE writer LOGIN PASSWORD 'wörter';
CREATE ROLE admin LOGIN PASSWORD 'admin' IN ROLE prom_admin;
CREATE ROLE nobody LOGIN PASSWORD 'nothing';
CREATE ROLE locked NOLOGIN PASSWORD 'locked';
CREATE ROLE late LOGIN PASSWORD 'late' VALID UNTIL '2001-01-01' IN ROLE prom_reader;
SET password_encryption = md5;
CREATE ROLE "old one" LOGIN PASSWORD 'md5' IN ROLE prom_reader;
GRANT prom_reader TO reader;
GRANT prom_writer TO writer;
GRANT prom_reader TO locked;
CREATE TABLE who (name text);
SQL

# Nobody, on a gateway that only this machine reaches, is promgres.role: the first five lines of the README.
is(ask(undef)->{status}, 200, 'without a name, from this machine only');
is(push_sample(undef, 'first')->{status}, 204, 'also to write');
set('promgres.anonymous_role', '');
my $answer = ask(undef);
is($answer->{status}, 401, 'not if that is turned off');
is_deeply($answer->{headers}{'www-authenticate'}, [ 'Basic realm="promgres", charset="UTF-8"', 'Bearer realm="promgres"' ], 'and how it could');
is(push_sample(undef, 'second')->{status}, 401, 'nor to write');
is(ask(undef, "/-/$_")->{status}, 200, "but /-/$_ is for everybody") foreach qw(healthy ready);

# Names and passwords
is(ask(basic('reader', 'read:me'))->{status}, 200, 'a role with its password, which has a colon');
is(ask(basic('old one', 'md5'))->{status}, 200, 'one whose password is kept as MD5');
is(ask(basic('reader', 'wrong'))->{status}, 401, 'not with a wrong password');
is(ask(basic('reader', ''))->{status}, 401, 'nor an empty one');
is(ask(basic('locked', 'locked'))->{status}, 401, 'not a role that may not log in');
is(ask(basic('late', 'late'))->{status}, 401, 'not one whose password has expired');
is(ask(basic('unknown', 'x'))->{status}, 401, 'not one that is not');
is(ask($_)->{status}, 401, "not with \"$_\"")
  foreach ('Basic', 'Basic !!', 'Basic ' . encode_base64('nocolon', ''), 'Basic ' . encode_base64("a\0:b", ''), 'Digest x', 'Bearer', 'Bearer x y',
	'Basic ' . encode_base64("\xff\xfe:b", ''), 'Basic ' . encode_base64('reader:' . 'x' x 5000, ''));

# What roles may
reload();
is(ask(basic('reader', 'read:me'), '/api/v1/query?query=first')->{status}, 200, 'a reader reads');
is(push_sample(basic('reader', 'read:me'), 'x')->{status}, 403, 'and does not write');
like(push_sample(basic('reader', 'read:me'), 'x')->{content}, qr/permission denied for function ingest \(hint: .*prom_writer writes.*GRANT/, 'and hears why, and what to do');
is(push_sample(basic('writer', 'wörter'), 'from_writer')->{status}, 204, 'a writer writes');
$answer = ask(basic('writer', 'wörter'), '/api/v1/query?query=first');
is($answer->{status}, 403, 'and does not read');
like($answer->{content}, qr/"status":"error","errorType":"forbidden","error":"permission denied for [^"]*\(hint: prom_reader reads/, 'and hears why');
is(ask(basic('nobody', 'nothing'), '/api/v1/series?match[]=first')->{status}, 403, 'who is granted nothing reads nothing');
is(ask(basic('admin', 'admin'), '/api/v1/query?query=first')->{status}, 200, 'an administrator reads');
is(push_sample(basic('admin', 'admin'), 'from_admin')->{status}, 204, 'and writes');
is($node->safe_psql('postgres', "SELECT string_agg(n, ' ' ORDER BY n) FROM prom.series, prom.label(labels, '__name__') n"), 'first from_admin from_writer', 'what was written');
is($node->safe_psql('postgres', "SET ROLE admin; SELECT prom.delete_series('from_admin')"), '1', 'an administrator deletes');
is($node->psql('postgres', "SET ROLE admin; CALL prom.merge(); CALL prom.collect_series()"), 0, 'and merges');

# Senders of several roles at once: each group is of one role.
my @children;
foreach my $i (1 .. 8)
{
	my $pid = fork;
	if ($pid == 0)
	{
		my @who = $i % 2 ? ('writer', 'wörter') : ('reader', 'read:me');
		my %seen = map { $_ => 1 } map { push_sample(basic(@who), "group_$i")->{status} } 1 .. 20;
		POSIX::_exit(join(' ', sort keys %seen) eq ($i % 2 ? '204' : '403') ? 0 : 1);
	}
	push @children, $pid;
}
my $failed = grep { waitpid($_, 0); $? } @children;
is($failed, 0, 'writers and readers at once get each what they may');
is($node->safe_psql('postgres', "SELECT count(*) FROM prom.series WHERE prom.label(labels, '__name__') ~ '^group_[2468]'"), '0', 'no reader wrote along');

# Settings of roles, and nothing of them for the next.  Policies tell what is in force while a request runs.
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION tell() RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	RAISE LOG 'told: % % % % %', current_user, current_setting('work_mem'), current_setting('statement_timeout'),
		current_setting('promgres.query_max_series'), current_setting('search_path');
	RETURN true;
END $$;
ALTER TABLE prom.series ENABLE ROW LEVEL SECURITY;
CREATE POLICY tell ON prom.series USING (tell());
ALTER ROLE reader SET work_mem = '1MB';
ALTER ROLE reader SET statement_timeout = '7s';
ALTER ROLE reader IN DATABASE postgres SET promgres.query_max_series = 77;
ALTER ROLE reader SET search_path = 'nowhere';
GRANT prom_reader TO nobody;
SQL
sub told
{
	my ($authorization, $path) = @_;
	my $from = -s $node->logfile;
	ask($authorization, $path // '/api/v1/series?match[]=first');
	my ($line) = slurp_file($node->logfile, $from) =~ /told: (.*)/;
	return $line;
}
my $usual = $node->safe_psql('postgres', q{SELECT current_setting('work_mem') || ' 2min ' || current_setting('promgres.query_max_series')});
is(told(basic('reader', 'read:me')), 'reader 1MB 7s 77 pg_catalog,pg_temp', 'a request runs as the role with its limits');
is(told(basic('nobody', 'nothing')), "nobody $usual pg_catalog,pg_temp", 'and the next as another, with its own');
is(told(basic('reader', 'read:me'), '/api/v1/query?query=first&timeout=3s'), 'reader 1MB 3s 77 pg_catalog,pg_temp', 'a request may ask for less time');
is(told(basic('reader', 'read:me'), '/api/v1/query?query=first&timeout=1h'), 'reader 1MB 7s 77 pg_catalog,pg_temp', 'not for more');
# An error in between leaves nothing behind.
ask(basic('reader', 'read:me'), '/api/v1/query?query=' . 'first%5B5m%5D%20offset%20' . '9y%20%2F');
is(told(basic('nobody', 'nothing')), "nobody $usual pg_catalog,pg_temp", 'nor does an error');
# What looks like SQL is a string.
$answer = ask(basic('reader', 'read:me'), '/api/v1/query?query=%7Ba%3D%22%27%3B%20RESET%20ROLE%3B%20INSERT%20INTO%20who%20SELECT%20current_user%3B%20--%22%7D');
is($answer->{status}, 200, 'a matcher with SQL in it is a matcher');
is($node->safe_psql('postgres', 'SELECT count(*) FROM who'), '0', 'and runs nothing');
$node->safe_psql('postgres', 'DROP POLICY tell ON prom.series; ALTER TABLE prom.series DISABLE ROW LEVEL SECURITY; DROP FUNCTION tell');

# Right credentials are remembered: SCRAM is not paid for each request, and forgotten on reload.
sub checks { return $node->safe_psql('postgres', q{SELECT calls FROM pg_stat_user_functions WHERE funcname = '_login'}) || 0; }
set('track_functions', 'all');
wait_for(sub { reload(); ask(basic('reader', 'read:me')); checks() > 0 }, 'logins are counted');
my $before = checks();
my $began = time;
ask(basic('reader', 'read:me')) foreach 1 .. 20;
# the check of somebody else, which is counted behind theirs
ask(basic('old one', 'md5'));
ok(wait_for(sub { checks() > $before }, 'it is counted'), 'a check is counted');
# they are fresh for half a minute
cmp_ok(checks() - $before, '<=', 2 + (time - $began) / 25, 'twenty requests in a row check the password once at most');
$node->safe_psql('postgres', "ALTER ROLE reader PASSWORD 'new'");
reload();
is(ask(basic('reader', 'read:me'))->{status}, 401, 'after a reload an old password is none');
is(ask(basic('reader', 'new'))->{status}, 200, 'but the new one');

# Tokens
my $token = $node->safe_psql('postgres', "SET ROLE admin; SELECT prom.create_token('admin', 'ci')");
like($token, qr/^promgres_[0-9a-f]{64}$/, 'a token');
is(ask("Bearer $token")->{status}, 200, 'is who it was made for');
is(push_sample("Bearer $token", 'by_token')->{status}, 204, 'with its rights');
is($node->safe_psql('postgres', 'SELECT role, description, last_used IS NOT NULL FROM prom.tokens'), 'admin|ci|t', 'and is listed, with its use');
unlike(scalar $node->safe_psql('postgres', 'SELECT * FROM prom.token'), qr/\Q$token\E|@{[ substr $token, 9, 30 ]}/, 'but not itself');
is(ask('Bearer ' . substr($token, 0, -1) . 'g')->{status}, 401, 'not one that is like it');
my ($out, $err);
$node->psql('postgres', "SET ROLE admin; SELECT prom.create_token('reader')", stderr => \$err);
like($err, qr/permission denied to make a token of role "reader"/, 'an administrator makes none of roles it may not become');
$node->psql('postgres', "SET ROLE reader; SELECT prom.create_token('reader')", stderr => \$err);
like($err, qr/permission denied for function create_token/, 'a reader makes none');
$node->psql('postgres', "SET ROLE reader; $_", stdout => \$out, stderr => \$err), like($err, qr/permission denied/, "nor: $_")
  foreach ('SELECT * FROM prom.token', 'SELECT * FROM prom.tokens', 'SELECT prom.revoke_token(1)', "SELECT prom._login('admin', 'x')", "SELECT prom._enter('admin', 0)",
	"SELECT prom._use_token('x')", "SELECT prom._add_token('x', 'admin', '', NULL, '')");
my $gone = $node->safe_psql('postgres', "SELECT prom.create_token('reader', 'for a moment', now() + '1 hour')");
is(ask("Bearer $gone")->{status}, 200, 'a token with an end');
is($node->safe_psql('postgres', 'SELECT prom.revoke_token(id) FROM prom.tokens WHERE description = $$ci$$'), 't', 'a token is revoked');
is($node->safe_psql('postgres', q{UPDATE prom.token SET expires = now() - interval '1 s'; SELECT count(*), bool_and(expires < now()) FROM prom.tokens}), '1|t', 'the other ends');
reload();
is(ask("Bearer $token")->{status}, 401, 'the revoked one is nobody');
is(ask("Bearer $gone")->{status}, 401, 'nor is the other');
$token = $node->safe_psql('postgres', "SELECT prom.create_token('late')");
is(ask("Bearer $token")->{status}, 200, 'the end of a password is no end of tokens');
$node->safe_psql('postgres', 'ALTER ROLE late NOLOGIN');
reload();
is(ask("Bearer $token")->{status}, 401, 'but a role that may not log in may not by a token');

# A role that is dropped while it is remembered
$node->safe_psql('postgres', "CREATE ROLE leaver LOGIN PASSWORD 'x' IN ROLE prom_reader");
is(ask(basic('leaver', 'x'))->{status}, 200, 'a role');
$node->safe_psql('postgres', 'DROP ROLE leaver');
is(ask(basic('leaver', 'x'))->{status}, 403, 'is dropped, and nobody else in its place');
set('promgres.anonymous_role', 'mistyped');
like(ask(undef, '/api/v1/query?query=first')->{content}, qr/role \\"mistyped\\" does not exist \(hint: \\"promgres\.anonymous_role\\"/, 'one that never was is told with the setting');

# An anonymous role of its own
set('promgres.anonymous_role', 'nobody');
is(ask(undef, '/api/v1/query?query=first')->{status}, 200, 'nobody is a role');
is(push_sample(undef, 'x')->{status}, 403, 'with its rights');
is(ask(basic('reader', 'wrong'))->{status}, 401, 'which is not for those with wrong credentials');
like(slurp_file($node->logfile), qr/refused a client that is not who it says it is\n.*DETAIL:  It came from 127\.0\.0\.1 with the name "reader"\./, 'the log has where they came from');
set('promgres.anonymous_role', '');

# Failures are limited, and who was right goes on.
is(ask(basic('reader', 'new'))->{status}, 200, 'one who is right');
my %seen;
$began = time;
$seen{ ask(basic('reader', "guess $_"))->{status} }++ foreach 1 .. 30;
# one in six seconds is regained
my $allowed = 11 + (time - $began) / 6;
cmp_ok($seen{401}, '<=', $allowed, 'thirty guesses in a row are not all looked at');
cmp_ok($seen{429} // 0, '>=', 30 - $allowed, 'the rest is put off');
ok(wait_for(sub { ($answer = ask(basic('writer', 'wörter x')))->{status} == 429 }, 'it is put off'), 'so is somebody else from there');
ok($answer->{status} == 429 && $answer->{headers}{'retry-after'} > 0, 'with a time to come again');
is(ask(basic('reader', 'new'))->{status}, 200, 'who was right before is let in from the same address');

# Not only from this machine: nobody is nobody.
set('promgres.anonymous_role', 'local');
is(ask(undef)->{status}, 200, 'by default, again');
$node->append_conf('postgresql.conf', "promgres.listen_addresses = '0.0.0.0'");
$node->restart;
wait_for(sub { http_get($node, '/-/ready')->{status} == 200 }, 'the gateway is ready');
is(ask(undef)->{status}, 401, 'but not once others can reach it');
is(ask(basic('reader', 'new'))->{status}, 200, 'for whom there are passwords');
is(scalar(() = slurp_file($node->logfile) =~ /WARNING:  promgres gateway listens beyond this machine without TLS/g), 1, 'the log warns, once, that these can be read');

# The extension in two databases, dump and restore, and a second server's roles.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION promgres');
is($node->safe_psql('other', "SELECT has_function_privilege('writer', 'prom.ingest(bytea[], text[])', 'EXECUTE')"), 't', 'the roles are those of the server');
my $dump = $node->basedir . '/dump.sql';
$node->safe_psql('postgres', 'GRANT SELECT ON prom.stat_merge TO reader');
$node->safe_psql('postgres', "SELECT prom.create_token('writer', 'kept')");
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'a dump');
unlike(slurp_file($dump), qr/promgres_[0-9a-f]{64}/, 'has no token in it');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'and is restored without an error');
is($node->safe_psql('restored', "SELECT count(*) FROM prom.token WHERE description = 'kept'"), '1', 'with its tokens');
is($node->safe_psql('restored', "SELECT has_table_privilege('reader', 'prom.stat_merge', 'SELECT') AND NOT has_table_privilege('reader', 'prom.warm', 'SELECT')"), 't', 'and its grants');
is( $node->safe_psql('restored', "SELECT count(*) FROM pg_class WHERE relnamespace = 'prom'::regnamespace AND relname ~ '^warm_' AND relkind = 'r' AND NOT relrowsecurity"),
	'0', 'and days that are shut');
$node->safe_psql('other', 'DROP EXTENSION promgres CASCADE');

$node->stop;
done_testing();

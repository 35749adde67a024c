# Jobs: the maintenance worker runs them; with pg_cron, pg_cron does, also those of another database than its own,
# and the worker only when pg_cron does not; never two of one at once.  They show what they do, can be cancelled,
# and what fails is told in the view, in /metrics and once in the log.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Promgres;
use Test::More;
use Time::HiRes qw(sleep);

my $start_ms = 1_700_006_400_000;
my $all = q(string_agg(name, ' ' ORDER BY name COLLATE "C"));

# ---- without pg_cron

my $node = start_node(new_node('primary', 'promgres.merge_age' => '1s', 'promgres.database' => 'postgres'));

sub sql { return $node->safe_psql('postgres', $_[0]) }

is(remote_write($node, [ { __name__ => 'm' }, [ $start_ms, 1 ] ])->{status}, 204, 'a sample');
# All jobs run once when settings are read again; days are made as soon as there are samples.
$node->reload;
ok(wait_for(sub { sql("SELECT count(*) FROM prom.jobs WHERE schedule IS NOT NULL AND last_success IS NULL") == 0 }, 'all jobs'), 'the worker runs all jobs');
is(sql("SELECT $all FROM prom.jobs WHERE run_by = 'worker' AND \"by\" = 'worker' AND failures = 0 AND error IS NULL AND next_due > last_start AND duration >= '0'"),
	'collect_series downsample drop_exemplars make_days retain tier', 'and notes it');
ok(wait_for(sub { sql("SELECT count(*) FROM prom._days() WHERE t_min > prom._to_ms(now() - interval '1 day')") == 2 }, 'the days'), 'the days ahead are there');
my ($ret, $out, $err) = $node->psql('postgres', 'SELECT prom.schedule_jobs()');
like($err, qr/pg_cron is not loaded\n.*HINT:.*shared_preload_libraries/s, 'pg_cron is asked for where it is missing');
is(sql('SELECT prom.unschedule_jobs()'), 0, 'nothing to unschedule is no error');

# A job that is running, held up in the middle of a step; its hour does not come meanwhile.
sql("UPDATE prom.job SET schedule = '0 0 29 2 *', next_due = prom._cron_next('0 0 29 2 *', now() + interval '1 day') WHERE name = 'collect_series'");
my $runs = sql("SELECT runs FROM prom.jobs WHERE name = 'collect_series'");
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE prom.quarantine IN ACCESS EXCLUSIVE MODE; LOCK TABLE prom.series IN ACCESS EXCLUSIVE MODE');
my $caller = $node->background_psql('postgres', on_error_stop => 0);
$caller->query_until(qr/begun/, "\\echo begun\nCALL prom.collect_series();\n\\echo ended\n");
ok(wait_for(sub { sql("SELECT count(*) FROM prom.stat_progress_jobs WHERE job = 'collect_series' AND run_by = 'session' AND datname = 'postgres'") == 1 }, 'progress'),
	'a job that runs is in prom.stat_progress_jobs');
# Who calls it meanwhile waits; the worker does not.
my $second = $node->background_psql('postgres', on_error_stop => 0);
$second->query_until(qr/begun/, "\\echo begun\nCALL prom.collect_series();\n\\echo ended\n");
ok(wait_for(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL prom.collect_series%' AND wait_event = 'PgSleep'") == 1 }, 'the second'), 'a second one waits');
($ret, $out, $err) = $node->psql('postgres', "SET application_name = 'promgres jobs'; CALL prom.collect_series()");
like($err, qr/NOTICE:  job "collect_series" is running already$/m, 'the worker comes again later');
($ret, $out, $err) = $node->psql('postgres', "SET statement_timeout = '500ms'; CALL prom.collect_series()");
like($err, qr/NOTICE:  job "collect_series" is running already, waiting for it to end\nDETAIL:  Process \d+ runs it/, 'says for whom');
like($err, qr/canceling statement due to statement timeout/, 'and can be cancelled');
like(http_get($node, '/metrics')->{content}, qr/^promgres_job_running\{job_name="collect_series"\} 1$/m, '/metrics has it');
sql("SELECT pg_cancel_backend(pid) FROM prom.jobs WHERE name = 'collect_series'");
ok(wait_for(sub { sql("SELECT failures FROM prom.jobs WHERE name = 'collect_series'") == 1 }, 'the end'), 'it can be cancelled');
$holder->query_safe('COMMIT');
ok(wait_for(sub { sql("SELECT runs - $runs FROM prom.jobs WHERE name = 'collect_series'") == 2 }, 'the second run'), 'the second one runs then');
is(sql("SELECT error IS NULL, failures FROM prom.jobs WHERE name = 'collect_series'"), 't|1', 'and ends well');
$caller->quit;
$second->quit;
# Once more, alone.
$holder->query_safe('BEGIN; LOCK TABLE prom.series IN ACCESS EXCLUSIVE MODE');
$caller = $node->background_psql('postgres', on_error_stop => 0);
$caller->query_until(qr/begun/, "\\echo begun\nCALL prom.collect_series();\n\\echo ended\n");
ok(wait_for(sub { sql("SELECT count(*) FROM prom.stat_progress_jobs") == 1 }, 'progress'), 'a job that is alone');
sql("SELECT pg_cancel_backend(pid) FROM prom.jobs WHERE name = 'collect_series'");
ok(wait_for(sub { sql("SELECT count(*) FROM prom.stat_progress_jobs") == 0 }, 'the end'), 'is cancelled');
$holder->query_safe('COMMIT');
$holder->quit;
$caller->quit;
is(sql("SELECT runs - $runs, failures, run_by, error FROM prom.jobs WHERE name = 'collect_series'"), '3|2|session|canceling statement due to user request',
	'which is told');
like(http_get($node, '/metrics')->{content}, qr/^promgres_job_failed\{job_name="collect_series"\} 1$/m, 'in /metrics, too');
my $complaint = qr/LOG:  promgres maintenance: job "collect_series" failed: canceling statement due to user request/;
ok(wait_for(sub { slurp_file($node->logfile) =~ $complaint }, 'the log'), 'and in the log');
like(slurp_file($node->logfile), qr/$complaint\n.*DETAIL:  Job "collect_series" failed in its first step\.\n.*HINT:  The next run goes on there/, 'with where it was and what is to do');
# (after five seconds)
sleep 7;
is(scalar(() = slurp_file($node->logfile) =~ /$complaint/g), 1, 'once, though the worker has looked again');
$node->reload;
ok(wait_for(sub { sql("SELECT error IS NULL AND run_by = 'worker' FROM prom.jobs WHERE name = 'collect_series'") eq 't' }, 'the worker'), 'a run of the worker that ends well ends it');
like(http_get($node, '/metrics')->{content}, qr/^promgres_job_failed\{job_name="collect_series"\} 0$/m, 'in /metrics, too');

# The worker ends in the middle of one, and then the server: nothing is wrong with the job, which is begun anew.
my $logged = -s $node->logfile;
my $held = q(SELECT count(*) FROM prom.stat_progress_jobs WHERE job = 'collect_series' AND run_by = 'worker');
my $failures = sql("SELECT sum(failures) FROM prom.jobs");
$holder = $node->background_psql('postgres', on_error_stop => 0);
$holder->query_safe('BEGIN; LOCK TABLE prom.series IN ACCESS EXCLUSIVE MODE');
$node->reload;
ok(wait_for(sub { sql($held) == 1 }, 'the worker'), 'the worker runs a job');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'promgres maintenance'");
ok(wait_for(sub { sql("SELECT phase FROM prom.jobs WHERE name = 'collect_series'") =~ /^interrupted/ }, 'the cancelling'), 'which ends with it');
is(sql("SELECT error FROM prom.jobs WHERE name = 'collect_series'"), '', 'and is no failure');
ok(wait_for(sub { sql($held) == 1 }, 'the next worker'), 'the next worker begins it anew');
$node->restart;
ok(wait_for(sub { sql("SELECT bool_and(last_success >= pg_postmaster_start_time()) FROM prom.jobs WHERE schedule IS NOT NULL") eq 't' }, 'all jobs'), 'after a restart all run');
is(sql("SELECT sum(failures) - $failures, count(error) FROM prom.jobs"), '0|0', 'none of them has failed');
unlike(slurp_file($node->logfile, $logged), qr/job "\w+" failed|did not end/, 'and the log does not say so');
eval { $holder->quit };

# Its session is killed in the middle.
$holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE prom.series IN ACCESS EXCLUSIVE MODE');
$caller = $node->background_psql('postgres', on_error_stop => 0);
$caller->query_until(qr/begun/, "\\echo begun\nCALL prom.collect_series();\n");
ok(wait_for(sub { sql("SELECT count(*) FROM prom.stat_progress_jobs") == 1 }, 'progress'), 'again');
sql("SELECT pg_terminate_backend(pid) FROM prom.jobs WHERE name = 'collect_series'");
ok(wait_for(sub { sql("SELECT count(*) FROM prom.stat_progress_jobs") == 0 }, 'the end'), 'its lock is gone with the session');
like(sql("SELECT error FROM prom.jobs WHERE name = 'collect_series'"), qr/did not end/, 'and what is left is called what it is');
$holder->query_safe('COMMIT');
$holder->quit;
eval { $caller->quit };
$node->stop;

# ---- with pg_cron

my $cron = new_node('cron', 'promgres.merge_age' => '1s', 'promgres.database' => 'metrics', 'cron.database_name' => 'postgres', 'cron.use_background_workers' => 'on',
	max_worker_processes => 20);    # all jobs at once
$cron->append_conf('postgresql.conf', "shared_preload_libraries = 'promgres, pg_cron'");
$cron->start;
$cron->safe_psql('postgres', 'CREATE DATABASE metrics');
$cron->safe_psql('metrics', 'CREATE EXTENSION promgres');
($ret, $out, $err) = $cron->psql('metrics', 'SELECT prom.schedule_jobs()');
like($err, qr/pg_cron 1.4 or later is not in database "postgres"\n.*HINT:  CREATE EXTENSION pg_cron there/s, 'it is said where the extension has to be');
$cron->safe_psql('postgres', 'CREATE EXTENSION pg_cron');
($ret, $out, $err) = $cron->psql('metrics', q(SELECT prom.schedule_jobs('{"retain": "every day"}')));
like($err, qr/schedule "every day" is not understood/, 'a schedule that makes no sense is refused');
($ret, $out, $err) = $cron->psql('metrics', q(SELECT prom.schedule_jobs('{"retian": "* * * * *"}')));
like($err, qr/there is no job "retian"\n.*HINT:  Jobs are make_days, /s, 'so is a job that is not there');

my $minutely = q({"make_days": "* * * * *", "drop_exemplars": "* * * * *", "downsample": "* * * * *", "retain": "* * * * *", "collect_series": "* * * * *", "tier": "* * * * *"});
my $jobs = q(SELECT string_agg(concat_ws('|', jobname, schedule, command, database, username, active), E'\n' ORDER BY jobname) FROM cron.job);
is($cron->safe_psql('metrics', q(SELECT string_agg(job || ' ' || schedule, ', ' ORDER BY job COLLATE "C") FROM prom.schedule_jobs())),
	'collect_series 20 * * * *, downsample */10 * * * *, drop_exemplars */10 * * * *, make_days 1 * * * *, retain 5 * * * *, tier 35 * * * *', 'jobs are registered');
my $user = $cron->safe_psql('metrics', 'SELECT current_user');
is($cron->safe_psql('postgres', $jobs), join("\n", map { "promgres metrics $$_[0]|$$_[1]|CALL prom.$$_[0]()|metrics|$user|t" } [ 'collect_series', '20 * * * *' ],
		[ 'downsample', '*/10 * * * *' ], [ 'drop_exemplars', '*/10 * * * *' ], [ 'make_days', '1 * * * *' ], [ 'retain', '5 * * * *' ], [ 'tier', '35 * * * *' ]), 'in cron.job');
my $ids = $cron->safe_psql('postgres', 'SELECT array_agg(jobid ORDER BY jobid) FROM cron.job');
$cron->safe_psql('metrics', qq(SELECT prom.schedule_jobs('$minutely'))) foreach 1, 2;
is($cron->safe_psql('postgres', 'SELECT array_agg(jobid ORDER BY jobid) FROM cron.job'), $ids, 'again: the same jobs');
is($cron->safe_psql('postgres', "SELECT count(*) FROM cron.job WHERE schedule = '* * * * *'"), 6, 'with the schedules that are given');
is($cron->safe_psql('metrics', "SELECT count(*) FROM prom.jobs WHERE \"by\" = 'pg_cron' AND schedule = '* * * * *' AND next_due > now() - interval '1 minute'"), 6, 'prom.jobs knows them');

ok(wait_for(sub { remote_write($cron, [ { __name__ => 'm' }, [ $start_ms, 1 ] ])->{status} == 204 }, 'a write'), 'samples come');
ok(wait_for(sub { $cron->safe_psql('metrics', "SELECT count(*) FROM prom.jobs WHERE run_by = 'pg_cron' AND last_success IS NOT NULL AND failures = 0") == 6 }, 'pg_cron', 300),
	'pg_cron runs them in the other database');
is($cron->safe_psql('postgres', "SELECT string_agg(DISTINCT command || ' ' || database, ', ') FROM cron.job_run_details WHERE status = 'succeeded' AND command LIKE '%retain%'"),
	'CALL prom.retain() metrics', 'as cron.job_run_details says');
is($cron->safe_psql('postgres', "SELECT count(*) FROM cron.job_run_details WHERE status = 'failed'"), 0, 'without a failure');

# The worker comes in when pg_cron does not; and pg_cron and the worker at once are one.
$cron->safe_psql('postgres', 'SELECT cron.unschedule(jobid) FROM cron.job');
$cron->safe_psql('metrics', "UPDATE prom.job SET scheduled = now() - interval '1 day', next_due = now() - interval '1 hour' WHERE name = 'retain'");
ok(wait_for(sub { $cron->safe_psql('metrics', "SELECT run_by FROM prom.jobs WHERE name = 'retain'") eq 'worker' }, 'the worker'), 'the worker runs a job that pg_cron does not run');
ok(wait_for(sub { slurp_file($cron->logfile) =~ /LOG:  promgres maintenance: pg_cron does not run job "retain"\n.*HINT:/ }, 'the log'), 'and says so');
is($cron->safe_psql('metrics', "SELECT run_by FROM prom.jobs WHERE name = 'collect_series'"), 'pg_cron', 'others it leaves alone');
$cron->safe_psql('metrics', 'SELECT prom.schedule_jobs()');
is($cron->safe_psql('metrics', 'SELECT prom.unschedule_jobs()'), 6, 'jobs are unscheduled');
is($cron->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 0, 'cron.job has none');
is($cron->safe_psql('metrics', "SELECT count(*) FROM prom.jobs WHERE \"by\" = 'worker'"), 7, 'they are the worker\'s');
ok(wait_for(sub { $cron->safe_psql('metrics', "SELECT count(*) FROM prom.jobs WHERE run_by = 'worker' AND last_success IS NOT NULL") == 6 }, 'the worker'), 'which runs them again');
is(scalar(() = slurp_file($cron->logfile) =~ /pg_cron does not run job "retain"/g), 1, 'the log has said it once');
$cron->stop;
done_testing();

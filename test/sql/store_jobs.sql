-- Jobs: schedules, the frame, what it notes.  pg_cron itself is test 187_jobs.
\set SHOW_CONTEXT never
SET timezone = 'UTC';
-- runs are counted from here
DELETE FROM prom.job;

SELECT x, prom._cron_next(x, '2026-11-21 14:36:10Z') FROM unnest(ARRAY['* * * * *', '*/10 * * * *', '5 3 * * *', '0 0 29 2 *', '0 12 1 * 1',
	'59 23 31 12 7', '30 14 * * 6', '36 14 * * *', '0-20/10,40 15-16 * * *', '0 0 31 2 *']) x;
SELECT prom._cron_next('61 * * * *', now());
SELECT prom._cron_next('* * * *', now());
SELECT prom._cron_next('*/0 * * * *', now());
SELECT prom._cron_next('5-3 * * * *', now());
SELECT prom._cron_next('@hourly', now());

-- Each runs, by whoever calls it; without a worker and without samples there is nothing to do.
SET client_min_messages = warning;
CALL prom.make_days();
CALL prom.drop_exemplars();
CALL prom.downsample();
CALL prom.retain();
CALL prom.collect_series();
CALL prom.compact_days();
RESET client_min_messages;
SELECT name, schedule, "by", pid, last_end >= last_start AS ended, run_by, runs, failures, error, next_due > last_start AS due FROM prom.jobs;
SELECT count(*) FROM prom.stat_progress_jobs;
CALL prom._run_job('nonsense');
BEGIN;
CALL prom.retain();
ROLLBACK;

-- What fails is told, what its steps before have done stays, and the lock is given back.
ALTER FUNCTION prom._job_drop_exemplars(jsonb) RENAME TO _hidden;
CREATE FUNCTION prom._job_drop_exemplars(INOUT state jsonb, OUT rows int8, OUT phase text, OUT done int8, OUT total int8, OUT pause_ms int4)
LANGUAGE plpgsql STRICT AS $$ BEGIN
	IF state ? 'again' THEN
		RAISE disk_full USING MESSAGE = 'no room', HINT = 'Make some.';
	END IF;
	state := '{"again": true}'; rows := 7; phase := 'first'; done := 1; total := 2;
END $$;
CALL prom.drop_exemplars();
SELECT rows, phase, runs, failures, error FROM prom.jobs WHERE name = 'drop_exemplars';
UPDATE prom.job SET next_due = now() + interval '1 hour';
SELECT name, due, complaint, detail, hint FROM prom._jobs_for_worker('-infinity') WHERE name IN ('drop_exemplars', 'retain');
SELECT count(*) FROM pg_locks WHERE objid = 'prom.job'::regclass AND locktype = 'object';
SELECT labels, value FROM prom._metrics() WHERE name = 'promgres_job_failed' ORDER BY 1;

-- Who calls a job by hand is told what it did, unless he wants it quiet; the worker is not.
CREATE OR REPLACE FUNCTION prom._job_drop_exemplars(INOUT state jsonb, OUT rows int8, OUT phase text, OUT done int8, OUT total int8, OUT pause_ms int4)
LANGUAGE plpgsql STRICT AS $$ BEGIN
	phase := CASE WHEN state ? 'again' THEN 'some are being read' ELSE 'first' END;
	rows := 7;
	state := CASE WHEN NOT state ? 'again' THEN jsonb '{"again": true}' END;
END $$;
CALL prom.drop_exemplars();
SET client_min_messages = warning;
CALL prom.drop_exemplars();
CALL prom.merge();
RESET client_min_messages;
SET application_name = 'promgres jobs';
CALL prom.drop_exemplars();
SELECT rows, phase, run_by, runs, failures, error, detail, hint FROM prom.jobs WHERE name = 'drop_exemplars';
RESET application_name;
CALL prom.merge();
CALL prom.compact('1969-12-31');

-- Nor is it a failure that the worker ends, and its job with it; a time limit is.
CREATE OR REPLACE FUNCTION prom._job_drop_exemplars(INOUT state jsonb, OUT rows int8, OUT phase text, OUT done int8, OUT total int8, OUT pause_ms int4)
LANGUAGE plpgsql STRICT AS $$ BEGIN
	IF state ? 'again' THEN
		RAISE query_canceled USING MESSAGE = 'canceling statement due to user request';
	END IF;
	state := '{"again": true}'; rows := 7; phase := 'first';
END $$;
SET application_name = 'promgres jobs';
CALL prom.drop_exemplars();
SELECT rows, phase, runs, failures, error FROM prom.jobs WHERE name = 'drop_exemplars';
SET statement_timeout = '1h';
CALL prom.drop_exemplars();
RESET statement_timeout;
SELECT rows, phase, runs, failures, error, detail, hint FROM prom.jobs WHERE name = 'drop_exemplars';
RESET application_name;
-- What a stop of the server has ended is none either, and due; what has ended while it ran is.
UPDATE prom.job SET error = NULL, last_end = NULL, last_start = pg_postmaster_start_time() - interval '1 minute' WHERE name = 'drop_exemplars';
SELECT name, due, complaint FROM prom._jobs_for_worker(pg_postmaster_start_time()) WHERE name = 'drop_exemplars';
UPDATE prom.job SET last_start = pg_postmaster_start_time() WHERE name = 'drop_exemplars';
SELECT name, due, complaint FROM prom._jobs_for_worker(pg_postmaster_start_time()) WHERE name = 'drop_exemplars';

-- An overdue job of pg_cron is the worker's.
UPDATE prom.job SET scheduled = now() - interval '1 day', next_due = now() - interval '1 hour' WHERE name IN ('retain', 'downsample');
UPDATE prom.job SET next_due = now() + interval '1 hour' WHERE name = 'downsample';
SELECT name, due, complaint, hint FROM prom._jobs_for_worker('infinity') WHERE name IN ('retain', 'downsample') ORDER BY 1;
SELECT name, "by", lag > '59 minutes' AS late FROM prom.jobs WHERE name IN ('retain', 'downsample');

-- No rollups of a day that goes on.
CALL prom.downsample('-1 hour');
CALL prom.collect_series('-1 second');

-- Without pg_cron
SELECT prom.schedule_jobs('{"retain": "5 5 * *"}');
SELECT prom.schedule_jobs('{"retain_all": "5 5 * * *"}');
SELECT prom.schedule_jobs();
SELECT prom.unschedule_jobs();
SELECT DISTINCT "by" FROM prom.jobs;

DROP FUNCTION prom._job_drop_exemplars(jsonb);
ALTER FUNCTION prom._hidden(jsonb) RENAME TO _job_drop_exemplars;
DELETE FROM prom.job;

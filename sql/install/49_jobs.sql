-- 49_jobs: work that comes round: procedures that commit in steps, what they have done, and who runs them.
--
-- A job is a name, a schedule, and a function prom._job_NAME(state) that does some of the work and returns the
-- state for the next step, NULL at the end.  prom._run_job is the frame around all of them.  Jobs are run by the
-- maintenance worker, or by pg_cron once prom.schedule_jobs() has told it; a lock sees to it that none runs twice.
--
-- Steps are without JIT: they have many small statements that are estimated as if they had many rows, and compiling
-- those took nearly all of their time.

CREATE FUNCTION prom._jobs() RETURNS TABLE (number int4, name text, schedule text, does text, did text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	VALUES (1, 'make_days', '1 * * * *', 'makes the partitions of today and tomorrow', 'partitions made: %s'),
		(2, 'drop_exemplars', '*/10 * * * *', 'removes exemplars older than promgres.exemplar_max_age', 'exemplars removed: %s'),
		(3, 'downsample', '*/10 * * * *', 'makes rollups of days that are over, and again where samples have changed', 'rollups are up to date'),
		(4, 'retain', '5 * * * *', 'drops samples whose time is over, and what is beyond promgres.retention_size', 'partitions dropped and rows rewritten: %s'),
		(5, 'collect_series', '20 * * * *', 'removes series that have no samples left', 'series removed: %s'),
		(6, 'compact_days', NULL, 'compacts days that are over', 'rows were compacted'),
		(7, 'tier', '35 * * * *', 'moves old samples to the bucket of promgres.tier_server', 'rows moved and objects deleted: %s');
END;
COMMENT ON FUNCTION prom._jobs() IS
'The jobs there are. The number is for the lock; without a schedule (as of cron, UTC) a job is run by no clock; of what it did a message says how many, prom.job.rows.';

CREATE TABLE prom.job (
	name		text COLLATE "C" PRIMARY KEY,
	schedule	text,
	scheduled	timestamptz,
	missed		bool NOT NULL DEFAULT false,
	run_by		text,
	last_start	timestamptz,
	last_end	timestamptz,
	last_success timestamptz,
	step_at		timestamptz,
	phase		text,
	done		int8,
	total		int8,
	rows		int8 NOT NULL DEFAULT 0,
	runs		int8 NOT NULL DEFAULT 0,
	failures	int8 NOT NULL DEFAULT 0,
	error		text,
	detail		text,
	hint		text,
	error_at	timestamptz,
	next_due	timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE prom.job IS 'What jobs have done on this server; see prom.jobs. Not part of a dump.';
COMMENT ON COLUMN prom.job.schedule IS 'other than the usual one';
COMMENT ON COLUMN prom.job.scheduled IS 'since when pg_cron is to run it; NULL: the maintenance worker does';
COMMENT ON COLUMN prom.job.missed IS 'pg_cron was to run it and did not';
COMMENT ON COLUMN prom.job.step_at IS 'when a step was committed last';

-- ---- schedules

CREATE FUNCTION prom._cron_field(field text, low int4, high int4) RETURNS int4[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE WHEN bool_and(m IS NOT NULL AND (m[1] IS NOT NULL OR (m[2]::int4 >= low AND coalesce(m[3], m[2])::int4 BETWEEN m[2]::int4 AND high))
			AND coalesce(m[4]::int4, 1) > 0)
		THEN (SELECT array_agg(DISTINCT v ORDER BY v) FROM unnest(string_to_array(field, ',')) f,
			regexp_match(f, '^(?:(\*)|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?$') m,
			generate_series(coalesce(m[2]::int4, low), coalesce(m[3], m[2], high::text)::int4, coalesce(m[4]::int4, 1)) v) END
	FROM unnest(string_to_array(field, ',')) f
	LEFT JOIN LATERAL regexp_match(f, '^(?:(\*)|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?$') m ON true;
END;
COMMENT ON FUNCTION prom._cron_field(text, int4, int4) IS 'The numbers that a field of a cron schedule means; NULL: it is not understood.';

CREATE FUNCTION prom._cron_next(schedule text, after timestamptz) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	field	text[] := regexp_split_to_array(btrim(schedule), '\s+');
	minutes	int4[] := prom._cron_field(field[1], 0, 59);
	hours	int4[] := prom._cron_field(field[2], 0, 23);
	days	int4[] := prom._cron_field(field[3], 1, 31);
	months	int4[] := prom._cron_field(field[4], 1, 12);
	weekdays int4[] := prom._cron_field(field[5], 0, 7);
	first	timestamp := date_trunc('minute', after AT TIME ZONE 'UTC') + interval '1 minute';
	midnight timestamp;
	on_day	bool;
	of_week	bool;
	found	timestamp;
BEGIN
	IF cardinality(field) <> 5 OR minutes IS NULL OR hours IS NULL OR days IS NULL OR months IS NULL OR weekdays IS NULL THEN
		RAISE invalid_parameter_value USING MESSAGE = format('schedule "%s" is not understood', schedule),
			HINT = 'Five fields in UTC, minute, hour, day of month, month, day of week: numbers, ranges, lists, * and steps, such as "*/10 0-6 * * 1,3".';
	END IF;
	-- February 29 comes every eight years at least.
	FOR d IN 0 .. 366 * 8 LOOP
		midnight := date_trunc('day', first) + d * interval '1 day';
		CONTINUE WHEN NOT extract(month FROM midnight)::int4 = ANY (months);
		on_day := extract(day FROM midnight)::int4 = ANY (days);
		of_week := extract(dow FROM midnight)::int4 = ANY (weekdays) OR (extract(dow FROM midnight) = 0 AND 7 = ANY (weekdays));
		-- As cron has it: where both are restricted, one of them suffices.
		CONTINUE WHEN NOT CASE WHEN field[3] LIKE '*%' OR field[5] LIKE '*%' THEN on_day AND of_week ELSE on_day OR of_week END;
		SELECT min(midnight + make_interval(hours => h, mins => m)) INTO found FROM unnest(hours) h, unnest(minutes) m
		WHERE midnight + make_interval(hours => h, mins => m) >= first;
		EXIT WHEN found IS NOT NULL;
	END LOOP;
	RETURN found AT TIME ZONE 'UTC';
END
$$;
COMMENT ON FUNCTION prom._cron_next(text, timestamptz) IS 'The first time after this one of a schedule as of cron, in UTC; NULL: never.';

-- ---- the frame

CREATE FUNCTION prom._job_lock(number int4) RETURNS bool
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_job_lock';
COMMENT ON FUNCTION prom._job_lock(int4) IS
'The lock of a job, for the session until prom._job_unlock or an error; false: another session has it.';
CREATE FUNCTION prom._job_unlock(number int4) RETURNS void
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_job_unlock';
COMMENT ON FUNCTION prom._job_unlock(int4) IS 'Gives the lock of a job back.';

CREATE FUNCTION prom._job_pids() RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN (SELECT coalesce(jsonb_object_agg(j.name, l.pid), '{}') FROM pg_locks l JOIN prom._jobs() j ON j.number = l.objsubid
	WHERE l.locktype = 'object' AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
		AND l.classid = 'pg_class'::regclass AND l.objid = 'prom.job'::regclass AND l.mode = 'ExclusiveLock' AND l.granted);
COMMENT ON FUNCTION prom._job_pids() IS 'The server processes in which jobs run now, by name.';

CREATE FUNCTION prom._is_settled() RETURNS bool
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN (SELECT (s.is_called OR NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = 'prom.warm'::regclass))
		AND coalesce((SELECT max(f.seq) FROM (SELECT seq FROM prom.fresh LIMIT 1000) f) <= s.last_value, true)
	FROM prom.store_seq s);
COMMENT ON FUNCTION prom._is_settled() IS
'False while a dump is being restored: its partitions are there then, and numbers of rows which have not been drawn here. Jobs keep still until it is through.';

CREATE FUNCTION prom._job_number(job text) RETURNS int4
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n		int4 := (SELECT j.number FROM prom._jobs() j WHERE j.name = job);
BEGIN
	IF n IS NULL THEN
		RAISE undefined_object USING MESSAGE = format('there is no job "%s"', job),
			HINT = format('Jobs are %s.', (SELECT string_agg(j.name, ', ' ORDER BY j.number) FROM prom._jobs() j));
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._job_number(text) IS 'The number of a job; raises if there is none of this name.';

CREATE FUNCTION prom._job_begin(job text, waited bool) RETURNS bool
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	runner	text := prom._runner();
	other	int4;
BEGIN
	IF NOT prom._is_settled() THEN
		RAISE NOTICE 'job "%" does not run while a dump is being restored', job;
		RETURN false;
	END IF;
	IF NOT prom._job_lock(prom._job_number(job)) THEN
		-- Whoever calls it wants what is there now to be done, which the run under way may have passed.  Clocks come again.
		other := prom._job_pids() -> job;
		IF runner <> 'session' OR other = pg_backend_pid() THEN
			RAISE NOTICE 'job "%" is running already', job;
			RETURN false;
		END IF;
		IF NOT waited THEN
			RAISE NOTICE 'job "%" is running already, waiting for it to end', job
				USING DETAIL = format('Process %s runs it; see prom.stat_progress_jobs.', coalesce(other::text, 'that'));
		END IF;
		RETURN NULL;
	END IF;
	INSERT INTO prom.job (name) VALUES (job) ON CONFLICT DO NOTHING;
	UPDATE prom.job j SET run_by = runner, last_start = clock_timestamp(), last_end = NULL, step_at = clock_timestamp(),
		phase = NULL, done = NULL, total = NULL, rows = 0,
		missed = CASE runner WHEN 'worker' THEN j.scheduled IS NOT NULL WHEN 'pg_cron' THEN false ELSE j.missed END,
		next_due = prom._cron_next(coalesce(j.schedule, (SELECT d.schedule FROM prom._jobs() d WHERE d.name = job)), clock_timestamp())
	WHERE j.name = job;
	RETURN true;
END
$$;
COMMENT ON FUNCTION prom._job_begin(text, bool) IS
'A job begins: takes its lock and notes the time; false: it shall not, as it runs already; NULL: it runs already, and the caller, who has said so (waited) but once, is to wait.';

CREATE FUNCTION prom._job_step(job text, INOUT state jsonb, OUT pause_ms int4, OUT failure text[])
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
	did		record;
	code	text;
	message	text;
	detail	text;
	hint	text;
BEGIN
	PERFORM prom._job_number(job);
	BEGIN
		EXECUTE format('SELECT s.state, s.rows, s.phase, s.done, s.total, s.pause_ms FROM prom.%I($1) s', '_job_' || job)
		INTO did USING state;
	EXCEPTION WHEN query_canceled OR OTHERS THEN
		GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		state := NULL;
		-- What is known of the place is what the step before has said.
		failure := ARRAY[code, message,
			ltrim(detail || coalesce((SELECT format(' Job "%s" failed after the step "%s", which stays done.', job, j.phase)
				FROM prom.job j WHERE j.name = job AND j.phase IS NOT NULL), format(' Job "%s" failed in its first step.', job))),
			coalesce(nullif(hint, ''), 'The next run goes on there, when it is due or called; see prom.jobs.')];
		RETURN;
	END;
	state := did.state;
	pause_ms := did.pause_ms;
	UPDATE prom.job j SET rows = j.rows + coalesce(did.rows, 0), phase = did.phase, done = did.done, total = did.total, step_at = clock_timestamp()
	WHERE j.name = job;
END
$$;
COMMENT ON FUNCTION prom._job_step(text, jsonb) IS
'A step of a job, all of it or nothing: returns the state for the next one, NULL at the end, and why it failed (SQLSTATE, message, detail, hint).';

CREATE FUNCTION prom._job_yields(job text) RETURNS bool
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- Merges that do not run at all are not waited for.
	IF coalesce(prom._stat_time('merge_last') < clock_timestamp() - interval '1 minute', true)
		OR NOT prom._merge_due(20000, 3 * extract(epoch FROM current_setting('promgres.merge_age')::interval)::int4)
	THEN
		RETURN false;
	END IF;
	UPDATE prom.job j SET phase = 'yielding to merges', step_at = clock_timestamp() WHERE j.name = job;
	RETURN true;
END
$$;
COMMENT ON FUNCTION prom._job_yields(text) IS 'True while merges are behind, so that what is left of the machine is for them.';

CREATE FUNCTION prom._job_end(job text, failure text[]) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- The worker cancels its job when it ends, or somebody does who knows: nothing is wrong with the job.
	cancelled bool := coalesce(failure[1] = '57014' AND prom._runner() = 'worker' AND current_setting('statement_timeout') = '0', false);
	o		prom.job;
BEGIN
	UPDATE prom.job j SET last_end = clock_timestamp(), runs = j.runs + 1,
		last_success = CASE WHEN failure IS NULL THEN clock_timestamp() ELSE j.last_success END,
		phase = CASE WHEN cancelled THEN concat_ws(', after ', 'interrupted', j.phase) ELSE j.phase END
	WHERE j.name = job RETURNING j.* INTO o;
	IF cancelled THEN
		RETURN NULL;
	END IF;
	UPDATE prom.job j SET failures = j.failures + (failure IS NOT NULL)::int4, error = failure[2], detail = failure[3], hint = failure[4],
		error_at = CASE WHEN failure IS NOT NULL THEN clock_timestamp() ELSE j.error_at END
	WHERE j.name = job;
	RETURN CASE WHEN failure IS NULL THEN format('job "%s" is done: %s', job,
		CASE WHEN o.rows > 0 THEN (SELECT format(d.did, o.rows) FROM prom._jobs() d WHERE d.name = job) ELSE 'nothing to do' END
		|| coalesce(' (' || o.phase || ')', '')) END;
END
$$;
COMMENT ON FUNCTION prom._job_end(text, text[]) IS
'Notes the end of a job, and why it failed; returns what it has done, NULL if it failed.';

-- Names are qualified, operators too: a procedure that commits cannot have a search_path of its own.
CREATE PROCEDURE prom._run_job(job text, state jsonb DEFAULT '{}')
LANGUAGE plpgsql
AS $$
DECLARE
	number	int4 := prom._job_number(job);
	failure	text[];
	pause	int4;
	begun	bool;
	waited	bool := false;
	did		text;
BEGIN
	COMMIT;
	LOOP
		SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
		begun := prom._job_begin(job, waited);
		COMMIT;
		EXIT WHEN begun;
		IF NOT begun THEN
			RETURN;
		END IF;
		waited := true;
		-- No transaction is open for longer than this.
		PERFORM pg_catalog.pg_sleep(0.2);
		COMMIT;
	END LOOP;
	WHILE state IS NOT NULL LOOP
		SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
		SELECT s.state, s.pause_ms, s.failure INTO state, pause, failure FROM prom._job_step(job, state) s;
		COMMIT;
		-- No transaction is open for longer than this, so that nobody's VACUUM waits for us.
		FOR i IN 1..50 LOOP
			IF pause IS NULL THEN
				EXIT WHEN state IS NULL OR NOT prom._job_yields(job);
				COMMIT;
				pause := 200;
			END IF;
			PERFORM pg_catalog.pg_sleep(pause OPERATOR(pg_catalog./) 1000.0::pg_catalog.float8);
			COMMIT;
			pause := NULL;
		END LOOP;
	END LOOP;
	did := prom._job_end(job, failure);
	COMMIT;
	PERFORM prom._job_unlock(number);
	IF failure IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = failure[1], MESSAGE = failure[2], DETAIL = failure[3], HINT = failure[4];
	END IF;
	PERFORM prom._tell(did);
END
$$;
COMMENT ON PROCEDURE prom._run_job(text, jsonb) IS 'Runs a job: step after step, a transaction each, with pauses while merges are behind.';

-- ---- steps

CREATE FUNCTION prom._job_make_days(INOUT state jsonb, OUT rows int8, OUT phase text, OUT done int8, OUT total int8, OUT pause_ms int4)
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- Not before samples have come: until then a dump may be restored, which brings its days along.
	SELECT NULL::jsonb, count(*) FILTER (WHERE prom._make_day(prom._to_ms(clock_timestamp()) + d * 86400000)), NULL::text, NULL::int8, NULL::int8, NULL::int4
	FROM generate_series(0, 1) d WHERE (SELECT s.is_called FROM prom.store_seq s);
END;
COMMENT ON FUNCTION prom._job_make_days(jsonb) IS 'The job "make_days".';

CREATE FUNCTION prom._job_drop_exemplars(INOUT state jsonb, OUT rows int8, OUT phase text, OUT done int8, OUT total int8, OUT pause_ms int4)
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT NULL::jsonb, prom._drop_exemplars(), NULL::text, NULL::int8, NULL::int8, NULL::int4;
END;
COMMENT ON FUNCTION prom._job_drop_exemplars(jsonb) IS 'The job "drop_exemplars".';

CREATE FUNCTION prom._job_downsample(INOUT state jsonb, OUT rows int8, OUT phase text, OUT done int8, OUT total int8, OUT pause_ms int4)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	began	timestamptz := coalesce((state ->> 'began')::timestamptz, clock_timestamp());
	delay	interval := coalesce(state ->> 'delay', nullif(current_setting('promgres.rollup_delay'), '-1'))::interval;
	last	int8;
BEGIN
	rows := 0;
	IF state -> 'until' IS NULL THEN
		state := state || jsonb_build_object('until', coalesce((SELECT min(l.until_ms) FROM prom.level l WHERE l.resolution = ANY (prom._rollup_resolutions())), 0));
	END IF;
	-- What changes meanwhile waits for the next run.
	IF delay IS NOT NULL AND prom._downsample_step(delay + (clock_timestamp() - began)) THEN
		rows := 1;
		state := state || jsonb_build_object('began', began);
		last := floor(prom._to_ms(clock_timestamp() - delay) / 86400000.0) * 86400000;
		SELECT min(l.until_ms) / 86400000, last / 86400000,
			format('making rollups of %s', to_char(timestamp '1970-01-01' + min(l.until_ms) / 86400000 * interval '1 day', 'YYYY-MM-DD'))
		INTO done, total, phase FROM prom.level l WHERE l.resolution = ANY (prom._rollup_resolutions());
		-- Days from the first one that has samples on.
		SELECT greatest(done - d.first, 0), greatest(total - d.first, 0) INTO done, total FROM (SELECT min(t_min) / 86400000 AS first FROM prom._days()) d;
	ELSE
		SELECT min(l.until_ms) INTO last FROM prom.level l WHERE l.resolution = ANY (prom._rollup_resolutions());
		SELECT count(*) INTO done FROM prom._days() d WHERE d.t_min >= (state -> 'until')::int8 AND d.t_min < last;
		phase := CASE WHEN delay IS NULL THEN '"promgres.rollup_delay" is -1'
			WHEN prom._rollup_resolutions() = '{}' THEN '"promgres.rollup_resolutions" is empty'
			WHEN last > 0 THEN format('complete until %s, days that are new: %s', to_char(prom._from_ms(last) AT TIME ZONE 'UTC', 'YYYY-MM-DD'), done) END;
		total := done;
		state := NULL;
	END IF;
END
$$;
COMMENT ON FUNCTION prom._job_downsample(jsonb) IS 'A step of the job "downsample"; rows are steps, done and total count days.';

CREATE FUNCTION prom._job_collect_series(INOUT state jsonb, OUT rows int8, OUT phase text, OUT done int8, OUT total int8, OUT pause_ms int4)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	grace	interval := coalesce(state ->> 'grace', nullif(current_setting('promgres.series_grace'), '-1'))::interval;
	next	int4;
	before	int8 := (SELECT sum(h.series) FROM prom.shard h);
BEGIN
	IF grace IS NOT NULL THEN
		next := prom._collect_step(coalesce((state -> 'block')::int4, 0), 64, grace);
	END IF;
	total := (SELECT max(h.next_block) FROM prom.shard h);
	done := coalesce(next, total);
	rows := before - (SELECT sum(h.series) FROM prom.shard h);
	phase := CASE WHEN next IS NOT NULL THEN 'looking for series without samples' WHEN grace IS NULL THEN '"promgres.series_grace" is -1' END;
	state := CASE WHEN next IS NOT NULL THEN state || jsonb_build_object('block', next) END;
END
$$;
COMMENT ON FUNCTION prom._job_collect_series(jsonb) IS 'A step of the job "collect_series": some blocks of ids.';

CREATE FUNCTION prom._job_compact_days(INOUT state jsonb, OUT rows int8, OUT phase text, OUT done int8, OUT total int8, OUT pause_ms int4)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	next	record;
BEGIN
	SELECT n.* INTO next FROM prom._compact_next(extract(epoch FROM nullif(current_setting('promgres.compact_delay'), '-1')::interval)::int4) n;
	-- What is left to be vacuumed is the worker's, which may.
	IF next.work IS NULL OR next.work = 'end' THEN
		state := NULL;
		RETURN;
	END IF;
	IF next.work = 'begin' THEN
		PERFORM prom._compact_begin(next.day);
	END IF;
	PERFORM prom._compact_step(next.shard, next.day, false);
	rows := 1;
	phase := format('compacting %s', coalesce(next.part, 'a day that is gone'));
	SELECT m.next_block, h.next_block INTO done, total FROM prom.compaction m JOIN prom.shard h USING (shard)
	WHERE m.shard = next.shard AND m.day = next.day;
END
$$;
COMMENT ON FUNCTION prom._job_compact_days(jsonb) IS 'A step of the job "compact_days"; rows are steps.';

-- ---- the procedures

CREATE PROCEDURE prom.make_days() LANGUAGE plpgsql AS $$ BEGIN CALL prom._run_job('make_days'); END $$;
COMMENT ON PROCEDURE prom.make_days() IS 'Makes the partitions of today and tomorrow (UTC), so that no merge has to wait for them. A job.';
CREATE PROCEDURE prom.drop_exemplars() LANGUAGE plpgsql AS $$ BEGIN CALL prom._run_job('drop_exemplars'); END $$;
COMMENT ON PROCEDURE prom.drop_exemplars() IS 'Removes exemplars that are older than promgres.exemplar_max_age. A job.';
CREATE PROCEDURE prom.retain() LANGUAGE plpgsql AS $$ BEGIN CALL prom._run_job('retain'); END $$;
COMMENT ON PROCEDURE prom.retain() IS
'Removes the samples whose time is over (prom.set_retention), and the oldest ones while all take more than promgres.retention_size. A job.';
CREATE PROCEDURE prom.downsample(delay interval DEFAULT NULL) LANGUAGE plpgsql
AS $$
BEGIN
	IF delay OPERATOR(pg_catalog.<) '0'::pg_catalog.interval THEN
		RAISE invalid_parameter_value USING MESSAGE = 'delay must not be negative', HINT = 'Of a day that goes on there are no rollups yet.';
	END IF;
	CALL prom._run_job('downsample', pg_catalog.jsonb_build_object('delay', delay));
END
$$;
COMMENT ON PROCEDURE prom.downsample(interval) IS
'Makes the rollups (promgres.rollup_resolutions) of all days that have been over for a time (promgres.rollup_delay), and again of windows whose samples have changed since, one transaction per step. A job.';
CREATE PROCEDURE prom.compact_days() LANGUAGE plpgsql AS $$ BEGIN CALL prom._run_job('compact_days'); END $$;
COMMENT ON PROCEDURE prom.compact_days() IS
'Compacts the days that are due. A job, but the maintenance worker does the same in turns with merges; it does the vacuuming, too.';
CREATE PROCEDURE prom.collect_series(grace interval DEFAULT NULL) LANGUAGE plpgsql
AS $$
BEGIN
	IF grace OPERATOR(pg_catalog.<) '0'::pg_catalog.interval THEN
		RAISE invalid_parameter_value USING MESSAGE = 'grace must not be negative';
	END IF;
	CALL prom._run_job('collect_series', pg_catalog.jsonb_build_object('grace', grace));
END
$$;
COMMENT ON PROCEDURE prom.collect_series(interval) IS
'Removes series that have been without samples for a time (promgres.series_grace), and labels and metrics that no other series has; some series per transaction. A job.';

-- ---- what they do

CREATE FUNCTION prom._job_rows() RETURNS TABLE (name text, does text, schedule text, by text, pid int4, job prom.job, overdue bool, problem text)
LANGUAGE plpgsql VOLATILE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
	-- Before the table is read: what began between the two has begun since then.
	looked	timestamptz := clock_timestamp();
	pids	jsonb := prom._job_pids();
BEGIN
	RETURN QUERY SELECT x.*, CASE
			-- What a stop of the server has interrupted is begun anew, and nothing is wrong with it; a crash is no stop.
			WHEN x.pid IS NULL AND (x.job).last_end IS NULL AND (x.job).last_start < looked AND (x.job).last_start >= pg_postmaster_start_time()
				THEN 'it did not end: its session ended or was cancelled'
			ELSE (x.job).error END
	FROM (SELECT d.name, d.does, coalesce(j.schedule, d.schedule), CASE WHEN j.scheduled IS NULL THEN 'worker' ELSE 'pg_cron' END,
			(pids ->> d.name)::int4, j, NOT pids ? d.name AND greatest(j.next_due, j.scheduled) < looked - interval '15 minutes'
		FROM prom._jobs() d LEFT JOIN prom.job j ON j.name = d.name ORDER BY d.number) x (name, does, schedule, by, pid, job, overdue);
END
$$;
COMMENT ON FUNCTION prom._job_rows() IS 'Jobs as the view prom.jobs and the worker see them.';

CREATE VIEW prom.jobs AS
SELECT r.name, r.schedule, r.by, r.pid, (r.job).last_start, (r.job).last_end,
	(CASE WHEN r.pid IS NULL THEN (r.job).last_end ELSE pg_catalog.clock_timestamp() END) OPERATOR(pg_catalog.-) (r.job).last_start AS duration,
	(r.job).rows, (r.job).phase, (r.job).run_by, (r.job).runs, (r.job).failures, (r.job).last_success, r.problem AS error,
	CASE WHEN r.problem OPERATOR(pg_catalog.=) (r.job).error THEN (r.job).detail END AS detail,
	CASE WHEN r.problem OPERATOR(pg_catalog.=) (r.job).error THEN (r.job).hint END AS hint, (r.job).error_at, (r.job).next_due,
	CASE WHEN r.pid IS NULL THEN GREATEST(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) (r.job).next_due, '0'::pg_catalog.interval) END AS lag,
	r.does
FROM prom._job_rows() r;
COMMENT ON VIEW prom.jobs IS 'Jobs: when and how they ran, what went wrong, and when they are due.';
COMMENT ON COLUMN prom.jobs.schedule IS 'as of cron, UTC; NULL: by no clock';
COMMENT ON COLUMN prom.jobs.by IS 'who is to run it: worker, or pg_cron once prom.schedule_jobs() was called';
COMMENT ON COLUMN prom.jobs.pid IS 'server process in which it runs now';
COMMENT ON COLUMN prom.jobs.duration IS 'of the last run, or so far';
COMMENT ON COLUMN prom.jobs.rows IS 'what it did: partitions dropped and rows rewritten, series or exemplars removed, partitions made';
COMMENT ON COLUMN prom.jobs.phase IS 'what it does; of the last run, why there was nothing or not all to do, or after what it failed or was interrupted';
COMMENT ON COLUMN prom.jobs.run_by IS 'who ran it last: worker, pg_cron, or a session that called it';
COMMENT ON COLUMN prom.jobs.error IS 'of the last run; NULL: it was right';
COMMENT ON COLUMN prom.jobs.detail IS 'of this error: where the job was, and what else is known';
COMMENT ON COLUMN prom.jobs.hint IS 'of this error: what to do';
COMMENT ON COLUMN prom.jobs.error_at IS 'when a run failed last';
COMMENT ON COLUMN prom.jobs.lag IS 'how long it has been due';

CREATE VIEW prom.stat_progress_jobs AS
SELECT r.pid, pg_catalog.current_database() AS datname, r.name AS job, (r.job).phase, (r.job).done, (r.job).total, (r.job).rows, (r.job).run_by,
	(r.job).last_start AS started, (r.job).step_at
FROM prom._job_rows() r WHERE r.pid IS NOT NULL;
COMMENT ON VIEW prom.stat_progress_jobs IS 'Jobs that run now, as of their last step that was committed; pg_cancel_backend(pid) ends one, and keeps what its steps have done.';
COMMENT ON COLUMN prom.stat_progress_jobs.done IS 'how far it is: of partitions for retain and downsample, of blocks of ids for the others';

-- What the worker asks for: jobs that it is to run, and what is worth a line in the log.
CREATE FUNCTION prom._jobs_for_worker(since timestamptz, OUT name text, OUT due bool, OUT complaint text, OUT detail text, OUT hint text) RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
BEGIN ATOMIC
	SELECT r.name,
		r.schedule IS NOT NULL AND r.pid IS NULL AND CASE WHEN r.by = 'pg_cron' THEN r.overdue
			ELSE coalesce((r.job).next_due <= clock_timestamp() OR (r.job).last_start < since, true) END AND prom._is_settled(),
		CASE WHEN p.problem IS NOT NULL THEN format('job "%s" failed: %s', r.name, p.problem)
			WHEN (r.job).missed OR (r.overdue AND r.by = 'pg_cron') THEN format('pg_cron does not run job "%s"', r.name)
			WHEN r.overdue THEN format('job "%s" is late', r.name) END,
		CASE WHEN p.problem = (r.job).error THEN (r.job).detail END,
		CASE WHEN p.problem = (r.job).error THEN (r.job).hint WHEN p.problem IS NOT NULL THEN 'It runs again when it is due. See prom.jobs.'
			WHEN (r.job).missed OR (r.overdue AND r.by = 'pg_cron') THEN
				'The maintenance worker runs it instead. See cron.job and cron.job_run_details; prom.schedule_jobs() registers it anew, prom.unschedule_jobs() leaves it to the worker.'
			WHEN r.overdue THEN 'Another one takes long, see prom.stat_progress_jobs.' END
	-- What a run of before has left is not said again: the worker runs the job anew now.
	FROM prom._job_rows() r,
		LATERAL (SELECT CASE WHEN r.by <> 'worker' OR r.schedule IS NULL OR (r.job).last_start >= since THEN r.problem END AS problem) p;
END;
COMMENT ON FUNCTION prom._jobs_for_worker(timestamptz) IS 'For the maintenance worker, whose settings are of this time: which jobs are due, those that have not run since then among them, and what is wrong with them.';

-- ---- pg_cron

CREATE FUNCTION prom._cron(sql text) RETURNS text
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_cron';
COMMENT ON FUNCTION prom._cron(text) IS
'Runs statements in the database of pg_cron (cron.database_name), as promgres.role, in a transaction of its own; returns the first value of the last result.';

CREATE FUNCTION prom._cron_name(job text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN format('promgres %s %s', current_database(), job);
COMMENT ON FUNCTION prom._cron_name(text) IS 'What a job of this database is called in cron.job.';

CREATE FUNCTION prom._cron_there() RETURNS bool
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
RETURN current_setting('cron.database_name', true) IS NOT NULL
	AND prom._cron('SELECT pg_catalog.to_regprocedure(''cron.schedule_in_database(text,text,text,text,text,boolean)'') IS NOT NULL') = 't';
COMMENT ON FUNCTION prom._cron_there() IS 'True if pg_cron is loaded, and its extension, 1.4 or later, is in its database.';

CREATE FUNCTION prom._cron_forget(keep text[]) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN format('SELECT pg_catalog.count(cron.unschedule(j.jobid)) FROM cron.job AS j'
	' WHERE pg_catalog.starts_with(j.jobname, %L) AND NOT (j.jobname = ANY (%L::pg_catalog.text[]) AND j.username = %L);',
	prom._cron_name(''), keep, current_user);
COMMENT ON FUNCTION prom._cron_forget(text[]) IS 'SQL for the database of pg_cron: removes the jobs of this database but for these of the caller.';

CREATE FUNCTION prom.schedule_jobs(schedules jsonb DEFAULT '{}') RETURNS TABLE (job text, schedule text)
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given	record;
BEGIN
	FOR given IN SELECT e.key, e.value FROM jsonb_each_text(schedules) e LOOP
		PERFORM prom._job_number(given.key);
		PERFORM prom._cron_next(given.value, clock_timestamp());
	END LOOP;
	IF current_setting('cron.database_name', true) IS NULL THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = 'pg_cron is not loaded',
			HINT = 'Install it, add pg_cron to shared_preload_libraries, restart, and CREATE EXTENSION pg_cron in the database cron.database_name. Without it the maintenance worker runs the jobs.';
	END IF;
	IF NOT prom._cron_there() THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('pg_cron 1.4 or later is not in database "%s"', current_setting('cron.database_name')), HINT = 'CREATE EXTENSION pg_cron there.';
	END IF;
	PERFORM prom._cron((SELECT prom._cron_forget(array_agg(prom._cron_name(j.name))) ||
			string_agg(format('SELECT cron.schedule_in_database(%L, %L, %L, %L, %L);', prom._cron_name(j.name), coalesce(schedules ->> j.name, j.schedule),
				format('CALL prom.%I()', j.name), current_database(), current_user), ' ' ORDER BY j.number)
		FROM prom._jobs() j WHERE coalesce(schedules ->> j.name, j.schedule) IS NOT NULL));
	INSERT INTO prom.job AS o (name, schedule, scheduled, next_due)
	SELECT j.name, schedules ->> j.name, clock_timestamp(), prom._cron_next(coalesce(schedules ->> j.name, j.schedule), clock_timestamp())
	FROM prom._jobs() j WHERE coalesce(schedules ->> j.name, j.schedule) IS NOT NULL
	ON CONFLICT ON CONSTRAINT job_pkey DO UPDATE SET schedule = excluded.schedule, scheduled = excluded.scheduled, missed = false, next_due = excluded.next_due;
	UPDATE prom.job o SET schedule = NULL, scheduled = NULL, next_due = NULL
	FROM prom._jobs() j WHERE o.name = j.name AND coalesce(schedules ->> j.name, j.schedule) IS NULL;
	RETURN QUERY SELECT j.name, coalesce(schedules ->> j.name, j.schedule) FROM prom._jobs() j
		WHERE coalesce(schedules ->> j.name, j.schedule) IS NOT NULL ORDER BY j.number;
END
$$;
COMMENT ON FUNCTION prom.schedule_jobs(jsonb) IS
'Registers the jobs with pg_cron, whatever database this is, to be run as the caller; returns them. Schedules (UTC) may be given by name, as in {"retain": "30 3 * * *"}. Calling it again sets everything as if for the first time. The maintenance worker leaves these jobs alone then, unless pg_cron does not run them.';

CREATE FUNCTION prom.unschedule_jobs() RETURNS int8
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n		int8 := 0;
BEGIN
	IF prom._cron_there() THEN
		n := prom._cron(prom._cron_forget('{}'));
	END IF;
	UPDATE prom.job j SET scheduled = NULL, schedule = NULL, missed = false, next_due = NULL WHERE j.scheduled IS NOT NULL;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom.unschedule_jobs() IS
'Removes the jobs of this database from pg_cron, whoever registered them, and returns how many there were; the maintenance worker runs the jobs again.';

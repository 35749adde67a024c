-- 68_tier_job.sql: the job "tier", which does all of this step by step, and prom.tier that runs it at once.

CREATE FUNCTION prom._tier_fetch_due(delay interval) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	d		record;
	n		int8;
BEGIN
	-- Windows that late samples have changed are made again from local rows: all of the block has to be here.
	FOR d IN SELECT x.shard, x.day, array_agg(x.block) AS blocks FROM prom.rollup_due x
		WHERE x.since <= clock_timestamp() - delay AND prom._tier_has(x.shard, x.day, x.block) GROUP BY 1, 2 ORDER BY 2, 1
	LOOP
		SELECT prom._tier_restore(o, b.blocks) INTO n FROM prom.tier_object o,
			LATERAL (SELECT array_agg(u) AS blocks FROM unnest(d.blocks) u WHERE u BETWEEN o.block_min AND o.block_max AND NOT u = ANY (o.gone)) b
		WHERE o.deleted IS NULL AND NOT o.read_only AND o.shard = d.shard AND (o.day = d.day OR (o.day = d.day + 86400000 AND o.resolution = 0)) AND b.blocks IS NOT NULL
		ORDER BY o.seq DESC LIMIT 1;
		IF FOUND THEN
			RETURN n;
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION prom._tier_fetch_due(interval) IS
'Brings blocks back whose rollups are to be made again because samples came late, of one object; how many chunks, or NULL if there are none.';

CREATE FUNCTION prom._tier_said(forced bool) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE WHEN count(o.id) > 0 THEN format('objects written: %s, of %s', count(o.id), pg_size_pretty(sum(o.bytes)))
		WHEN max(j.rows) = 0 AND forced THEN 'no whole UTC day of this time has local samples that are in rollups'
		WHEN max(j.rows) = 0 THEN 'no day is due' END
	FROM prom.job j LEFT JOIN prom.tier_object o ON o.uploaded >= j.last_start AND NOT o.read_only
	WHERE j.name = 'tier';
END;
COMMENT ON FUNCTION prom._tier_said(bool) IS 'What the job "tier" has to say at its end, called for a time or not.';

-- The state: "after" is the resolution, day and shard that come next or are at hand; "block" the next block of them and
-- "seq" how far they are taken; "key" what is begun; "from", "to" if it was called for a time; "owner" once the bucket was found to be ours.
CREATE FUNCTION prom._job_tier(INOUT state jsonb, OUT rows int8, OUT phase text, OUT done int8, OUT total int8, OUT pause_ms int4)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	server	text := current_setting('promgres.tier_server');
	forced	bool := state -> 'from' IS NOT NULL;
	now_ms	int8 := prom._to_ms(clock_timestamp());
	raw_s	int8 := extract(epoch FROM nullif(current_setting('promgres.tier_after'), '-1')::interval);
	rollup_s int8 := extract(epoch FROM nullif(current_setting('promgres.tier_rollups_after'), '-1')::interval);
	u		prom.tier_upload;
	next	record;
	gone	int8;
	key		text;
	owns	text;
BEGIN
	rows := 0;
	IF server = '' THEN
		state := NULL;
		phase := '"promgres.tier_server" is not set';
		RETURN;
	END IF;
	-- Not only once a day is due: who has mistyped it shall know at once.
	IF NOT EXISTS (SELECT FROM pg_foreign_server f WHERE f.srvname = server) THEN
		RAISE undefined_object USING MESSAGE = format('server "%s" does not exist', server),
			HINT = format('"promgres.tier_server" names it. Make it with CREATE SERVER %I FOREIGN DATA WRAPPER promgres_s3; what is in its bucket is found by this name.', server);
	END IF;
	-- Another copy of this database may have taken the bucket over.
	owns := prom._tier_owns(server, state -> 'owner' IS NOT NULL, forced);
	IF owns NOT IN ('yes', 'asked') THEN
		phase := owns;
		state := NULL;
		RETURN;
	END IF;
	state := state || '{"owner": true}';
	IF owns = 'asked' THEN
		RETURN;
	END IF;

	-- What is uploaded and verified, also of a run that was killed.
	SELECT x.* INTO u FROM prom.tier_upload x WHERE x.source IS NOT NULL ORDER BY x.started LIMIT 1;
	IF FOUND THEN
		gone := prom._tier_commit(u.key);
		rows := greatest(gone, 0);
		phase := format(CASE WHEN u.replaces IS NULL THEN 'moved %s' ELSE 'wrote %s anew' END, prom._tier_name_day(u.resolution, u.day));
		IF u.key = state ->> 'key' THEN
			state := state - 'key';
			IF gone >= 0 AND (u.source -> 'more')::bool THEN
				state := state || jsonb_build_object('block', (u.object).block_max + 1);
			ELSE
				state := state - 'block' - 'seq' || jsonb_build_object('drop', jsonb_build_array(u.resolution, u.day));
			END IF;
		END IF;
		RETURN;
	END IF;
	IF state -> 'key' IS NOT NULL THEN
		phase := CASE WHEN state -> 'tidy' IS NULL THEN format('moving %s', prom._tier_name_day((state -> 'after' -> 0)::int4, (state -> 'after' -> 1)::int8))
			ELSE 'writing an object anew' END;
		IF NOT prom._tier_upload(state ->> 'key', coalesce((state -> 'block')::int4, 0), (state -> 'seq')::int8) THEN
			state := state - 'key' - 'block' - 'seq';
		END IF;
		RETURN;
	END IF;
	IF state -> 'drop' IS NOT NULL THEN
		-- Who reads now is not waited for; a partition that stays is dropped by a later run.
		PERFORM prom._tier_drop((state -> 'drop' -> 0)::int4, (state -> 'drop' -> 1)::int8);
		state := state - 'drop';
		RETURN;
	END IF;
	IF state -> 'tidy' IS NULL THEN
		IF state -> 'block' IS NOT NULL THEN
			-- The same day goes on.
			SELECT (state -> 'after' -> 0)::int4 AS resolution, (state -> 'after' -> 1)::int8 AS day, (state -> 'after' -> 2)::int2 AS shard INTO next;
		ELSE
			SELECT d.* INTO next FROM prom._tier_days(
					CASE WHEN forced THEN (state -> 'to')::int8 ELSE coalesce(now_ms - raw_s * 1000, -9223372036854775808) END,
					CASE WHEN forced THEN (state -> 'to')::int8 ELSE coalesce(now_ms - rollup_s * 1000, -9223372036854775808) END,
					coalesce((state -> 'from')::int8, -9223372036854775808)) d
			WHERE (state -> 'after' IS NULL OR (d.resolution, d.day, d.shard) > ((state -> 'after' -> 0)::int4, (state -> 'after' -> 1)::int8, (state -> 'after' -> 2)::int2))
				AND (NOT forced OR d.day >= (state -> 'from')::int8)
				AND prom._tier_ready(d.resolution, d.day, d.shard, forced)
			ORDER BY 1, 2, 3 LIMIT 1;
		END IF;
		IF next.day IS NULL THEN
			state := state || '{"tidy": 0}';
			RETURN;
		END IF;
		state := state || jsonb_build_object('after', jsonb_build_array(next.resolution, next.day, next.shard),
			'key', prom._tier_begin(server, next.resolution, next.day, next.shard),
			'seq', coalesce((state -> 'seq')::int8, (SELECT s.last_value FROM prom.store_seq s)));
		phase := format('moving %s', prom._tier_name_day(next.resolution, next.day));
		RETURN;
	END IF;

	-- Then what is to be undone, and what is over.
	CASE (state -> 'tidy')::int4
		WHEN 0 THEN
			phase := 'bringing back what late samples have changed';
			gone := prom._tier_fetch_due(greatest(current_setting('promgres.rollup_delay')::interval, '0'));
			IF gone IS NOT NULL THEN
				rows := gone;
				RETURN;
			END IF;
		WHEN 1 THEN
			PERFORM prom._tier_drop(p.resolution, p.from_ms) FROM prom._parts() p
			WHERE EXISTS (SELECT FROM prom.tier_object o WHERE o.resolution = p.resolution AND o.day >= p.from_ms AND o.day < p.to_ms AND o.deleted IS NULL);
			rows := prom._tier_expire();
			gone := prom._tier_expire_step();
			IF gone IS NOT NULL THEN
				phase := 'taking series out of objects';
				rows := gone;
				RETURN;
			END IF;
		WHEN 2 THEN
			phase := 'deleting objects';
			rows := prom._tier_remove(server);
			IF rows > 0 THEN
				state := state || '{"removed": true}';
				RETURN;
			END IF;
		WHEN 3 THEN
			phase := 'removing what is left of uploads';
			rows := prom._tier_tidy(server, '1 day');
			IF rows > 0 THEN
				RETURN;
			END IF;
		WHEN 4 THEN
			phase := 'withdrawing objects';
			rows := prom._tier_withdraw(server);
			IF rows > 0 THEN
				RETURN;
			END IF;
		WHEN 5 THEN
			key := prom._tier_rewrite(forced);
			IF key IS NOT NULL THEN
				phase := 'writing an object anew';
				-- Then it is withdrawn, and the next one comes.
				state := state || jsonb_build_object('key', key, 'seq', 0, 'tidy', 4);
				RETURN;
			END IF;
		WHEN 6 THEN
			IF state -> 'removed' IS NOT NULL THEN
				PERFORM prom._tier_forget_series();
			END IF;
		ELSE
			phase := prom._tier_said(forced);
			state := NULL;
			RETURN;
	END CASE;
	state := state || jsonb_build_object('tidy', (state -> 'tidy')::int4 + 1);
END
$$;
COMMENT ON FUNCTION prom._job_tier(jsonb) IS 'A step of the job "tier": an object is begun, written, or committed; or something is tidied up.';

CREATE PROCEDURE prom.tier(from_time timestamptz DEFAULT NULL, to_time timestamptz DEFAULT NULL) LANGUAGE plpgsql
AS $$
BEGIN
	IF (from_time IS NULL) OPERATOR(pg_catalog.<>) (to_time IS NULL) THEN
		RAISE null_value_not_allowed USING MESSAGE = 'give both times, or none';
	END IF;
	IF from_time OPERATOR(pg_catalog.>) to_time THEN
		RAISE invalid_parameter_value USING MESSAGE = 'end must not be before start';
	END IF;
	-- Who asks for a time is told; it is no failure of the job.
	IF from_time IS NOT NULL AND pg_catalog.current_setting('promgres.tier_server') OPERATOR(pg_catalog.=) '' THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = 'there is no bucket to move samples to',
			DETAIL = '"promgres.tier_server" is not set.', HINT = 'Make a server of promgres_s3 and set promgres.tier_server to its name.';
	END IF;
	CALL prom._run_job('tier', CASE WHEN from_time IS NULL THEN '{}' ELSE pg_catalog.jsonb_build_object('from', prom._to_ms(from_time), 'to', prom._to_ms(to_time)) END);
END $$;
COMMENT ON PROCEDURE prom.tier(timestamptz, timestamptz) IS
'Moves samples of days that are older than promgres.tier_after, and rollups older than promgres.tier_rollups_after, to the bucket of promgres.tier_server; or those of the whole UTC days between two times that are in rollups already. A job.';

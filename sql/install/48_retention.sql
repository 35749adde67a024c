-- 48_retention: how long samples are kept, and how they go.

CREATE TABLE prom.retention (
	selector	text COLLATE "C",
	resolution	int4 NOT NULL CHECK (resolution OPERATOR(pg_catalog.>=) 0),
	keep		interval CHECK (keep OPERATOR(pg_catalog.>) '0'::pg_catalog.interval),
	UNIQUE NULLS NOT DISTINCT (selector, resolution)
);
COMMENT ON TABLE prom.retention IS 'How long samples are kept, by resolution: the default, and rules for some series. See prom.set_retention.';
COMMENT ON COLUMN prom.retention.selector IS 'PromQL selector of the series that the rule is for; NULL: all that no rule is for';
COMMENT ON COLUMN prom.retention.resolution IS 'seconds; 0: raw samples';
COMMENT ON COLUMN prom.retention.keep IS 'NULL: for ever';

CREATE TABLE prom.expired (
	resolution	int4 NOT NULL,
	from_ms		int8 NOT NULL,
	rules		text NOT NULL,
	seq			int8 NOT NULL,
	PRIMARY KEY (resolution, from_ms)
);
COMMENT ON TABLE prom.expired IS 'Partitions out of which the samples of some series were taken, whose time was over.';
COMMENT ON COLUMN prom.expired.from_ms IS 'where the partition begins, ms since 1970';
COMMENT ON COLUMN prom.expired.rules IS 'of which series: what prom._expired_series says';
COMMENT ON COLUMN prom.expired.seq IS 'what prom.store_seq had come to: later rows have not been looked at';

SELECT pg_catalog.pg_extension_config_dump('prom.retention', '');

CREATE VIEW prom.retention_rules AS
	SELECT r.selector, pg_catalog.make_interval(secs => r.resolution) AS resolution, r.keep FROM prom.retention r
	WHERE NOT pg_catalog.row_security_active('prom.series'::pg_catalog.regclass);
COMMENT ON VIEW prom.retention_rules IS 'How long samples are kept, by selector and resolution. Nothing for whom row security shows some of the series only.';
COMMENT ON COLUMN prom.retention_rules.selector IS 'of the series that the rule is for; NULL: all that no rule is for';
COMMENT ON COLUMN prom.retention_rules.resolution IS 'width of a window; 0: raw samples';
COMMENT ON COLUMN prom.retention_rules.keep IS 'NULL: for ever';

-- ---- rules

CREATE FUNCTION prom._resolution_name(resolution int4) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN resolution = 0 THEN 'raw data' WHEN resolution % 3600 = 0 THEN format('rollups of %sh', resolution / 3600)
	WHEN resolution % 60 = 0 THEN format('rollups of %smin', resolution / 60) ELSE format('rollups of %ss', resolution) END;
COMMENT ON FUNCTION prom._resolution_name(int4) IS 'A resolution as messages call it.';

CREATE FUNCTION prom._duration_name(seconds float8) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN seconds = 'infinity' THEN 'for ever' ELSE 'for ' || justify_hours(make_interval(secs => seconds)) END;
COMMENT ON FUNCTION prom._duration_name(float8) IS 'A time for which something is kept as messages call it.';

CREATE FUNCTION prom._kept(OUT selector text, OUT resolution int4, OUT seconds float8) RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT s.selector, l.resolution,
		coalesce((SELECT coalesce(extract(epoch FROM r.keep)::float8, 'infinity') FROM prom.retention r
			WHERE r.resolution = l.resolution AND (r.selector IS NULL OR r.selector = s.selector)
			ORDER BY r.selector NULLS LAST LIMIT 1), 'infinity')
	FROM (SELECT NULL::text AS selector UNION SELECT r.selector FROM prom.retention r) s
	CROSS JOIN (SELECT 0 AS resolution UNION SELECT unnest(prom._rollup_resolutions()) UNION SELECT r.resolution FROM prom.retention r) l;
END;
COMMENT ON FUNCTION prom._kept() IS 'How many seconds each rule, and the default, keep each resolution; a rule that does not say it follows the default.';

CREATE FUNCTION prom._check_retention() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
	delay	interval := greatest(current_setting('promgres.rollup_delay')::interval, '0');
	bad		record;
BEGIN
	SELECT k.* INTO bad FROM prom._kept() k
	WHERE k.resolution = 0 AND k.seconds < 2 * 86400 + extract(epoch FROM delay) AND prom._rollup_resolutions() <> '{}'
	ORDER BY k.selector NULLS FIRST LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('raw data of %s would go before rollups are made of it', coalesce(bad.selector, 'all series')),
			DETAIL = format('It would be kept %s; a day is rolled up %s after its end.', prom._duration_name(bad.seconds), delay),
			HINT = format('Keep raw data for %s at least, or set promgres.rollup_resolutions to an empty string.', interval '2 days' + delay);
	END IF;
	SELECT f.selector, f.resolution AS fine, c.resolution AS coarse, f.seconds AS fine_s, c.seconds AS coarse_s INTO bad
	FROM prom._kept() f JOIN prom._kept() c ON c.selector IS NOT DISTINCT FROM f.selector AND c.resolution > f.resolution
	WHERE c.seconds < f.seconds ORDER BY f.selector NULLS FIRST, f.resolution, c.resolution LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('%s of %s would be kept shorter than %s',
				prom._resolution_name(bad.coarse), coalesce(bad.selector, 'all series'), prom._resolution_name(bad.fine)),
			DETAIL = format('They would be kept %s, %s %s.', prom._duration_name(bad.coarse_s), prom._resolution_name(bad.fine), prom._duration_name(bad.fine_s)),
			HINT = 'What is coarser takes less space and is what is left of old times: keep it as long at least. Levels that one call sets are looked at together.';
	END IF;
END
$$;
COMMENT ON FUNCTION prom._check_retention() IS 'Raises if the rules of prom.retention contradict each other.';

CREATE FUNCTION prom._set_keep(rule text, level int4, duration interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF duration IS NULL THEN
		RETURN;
	END IF;
	IF duration < interval '0' THEN
		RAISE invalid_parameter_value USING MESSAGE = format('%s cannot be kept for %s', prom._resolution_name(level), duration),
			HINT = 'Give a positive interval, or 0 for ever.';
	END IF;
	INSERT INTO prom.retention AS r (selector, resolution, keep) VALUES (rule, level, nullif(duration, interval '0'))
	ON CONFLICT (selector, resolution) DO UPDATE SET keep = excluded.keep;
END
$$;
COMMENT ON FUNCTION prom._set_keep(text, int4, interval) IS 'Sets one figure of prom.retention, unless it is NULL; 0: for ever.';

CREATE FUNCTION prom.set_retention(selector text, raw interval DEFAULT NULL, rollups jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	rule	text := prom.format(selector);
	level	record;
BEGIN
	-- Raises if it is anything but a selector.
	PERFORM prom._selector_sql(rule, 's');
	IF raw IS NULL AND (rollups IS NULL OR rollups = '{}') THEN
		RAISE invalid_parameter_value USING MESSAGE = 'nothing to set',
			HINT = 'Say raw => ''30 days'', or rollups => ''{"1h": "1 year"}''; prom.reset_retention removes a rule.';
	END IF;
	IF jsonb_typeof(rollups) <> 'object' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'rollups must be an object of resolutions and durations',
			HINT = 'Such as {"5min": "90 days", "1h": "1 year"}.';
	END IF;
	LOCK TABLE prom.retention IN SHARE ROW EXCLUSIVE MODE;
	PERFORM prom._set_keep(rule, 0, raw);
	FOR level IN SELECT e.key, extract(epoch FROM e.key::interval)::int4 AS resolution, e.value::interval AS keep FROM jsonb_each_text(rollups) e LOOP
		IF NOT level.resolution = ANY (prom._rollup_resolutions()) THEN
			RAISE invalid_parameter_value USING MESSAGE = format('there are no rollups of %s', level.key),
				HINT = format('promgres.rollup_resolutions is "%s".', current_setting('promgres.rollup_resolutions'));
		END IF;
		PERFORM prom._set_keep(rule, level.resolution, level.keep);
	END LOOP;
	PERFORM prom._check_retention();
END
$$;
COMMENT ON FUNCTION prom.set_retention(text, interval, jsonb) IS
'Sets how long samples of the series that a PromQL selector matches are kept, or (NULL) of all that no rule is for: raw ones, and rollups as in {"5min": "90 days"}; 0 is for ever, what is not given stays as it was. Of several rules that match a series the longest counts.';

CREATE FUNCTION prom.reset_retention(selector text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	rule	text := prom.format(selector);
BEGIN
	LOCK TABLE prom.retention IN SHARE ROW EXCLUSIVE MODE;
	DELETE FROM prom.retention r WHERE r.selector IS NOT DISTINCT FROM rule;
	IF NOT FOUND AND rule IS NOT NULL THEN
		RAISE undefined_object USING MESSAGE = format('there is no retention rule for %s', rule), HINT = 'See prom.retention_rules.';
	END IF;
	PERFORM prom._check_retention();
END
$$;
COMMENT ON FUNCTION prom.reset_retention(text) IS
'Removes what prom.set_retention has set for this selector: its series follow the default then. NULL: removes the default, and everything is kept that no rule is for.';

-- ---- what is over

CREATE FUNCTION prom._parts() RETURNS TABLE (resolution int4, part regclass, from_ms int8, to_ms int8)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT 0, d.day, d.t_min, d.t_min + 86400000 FROM prom._days() d
	UNION ALL
	SELECT l.resolution, c.oid::regclass, b[1]::int8, b[2]::int8
	FROM (SELECT i.inhrelid AS oid, (regexp_match(pg_get_expr(p.relpartbound, p.oid), '\((?:'')?([0-9]+)'))[1]::int4 AS resolution
		FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid WHERE i.inhparent = 'prom.rollup'::regclass) l
	JOIN pg_inherits i ON i.inhparent = l.oid JOIN pg_class c ON c.oid = i.inhrelid,
	regexp_match(pg_get_expr(c.relpartbound, c.oid), '\((?:'')?(-?[0-9]+)(?:'')?\) TO \((?:'')?(-?[0-9]+)') b;
END;
COMMENT ON FUNCTION prom._parts() IS 'Partitions of samples: raw (resolution 0) and rollups, and the days that they are for (ms since 1970).';

CREATE FUNCTION prom._expired_condition(rules jsonb) RETURNS text
LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	gone	text := (SELECT string_agg(prom._selector_sql(g, 's'), ') OR (') FROM jsonb_array_elements_text(nullif(rules -> 'gone', 'null')) g);
	stay	text := (SELECT string_agg(prom._selector_sql(g, 's'), ') OR (') FROM jsonb_array_elements_text(nullif(rules -> 'stay', 'null')) g);
BEGIN
	RETURN concat_ws(' AND ', CASE WHEN (rules -> 'all')::bool THEN 'true' ELSE '((' || gone || '))' END, 'NOT ((' || stay || '))');
END
$$;
COMMENT ON FUNCTION prom._expired_condition(jsonb) IS
'Which series rules as in prom.expired are about: a condition on the row s of prom.series (true: all).';

CREATE FUNCTION prom._expired_series(resolution int4, to_ms int8, OUT rules text, OUT condition text)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	age_s	float8 := extract(epoch FROM clock_timestamp()) - to_ms / 1000.0;
	whole	bool;
	gone	text[];
	stay	text[];
BEGIN
	SELECT age_s >= k.seconds INTO whole FROM prom._kept() k WHERE k.selector IS NULL AND k.resolution = _expired_series.resolution;
	SELECT array_agg(r.selector ORDER BY r.selector) FILTER (WHERE age_s >= extract(epoch FROM r.keep)),
		array_agg(r.selector ORDER BY r.selector) FILTER (WHERE coalesce(age_s < extract(epoch FROM r.keep), true))
	INTO gone, stay FROM prom.retention r WHERE r.resolution = _expired_series.resolution AND r.selector IS NOT NULL;
	IF NOT coalesce(whole, false) AND gone IS NULL THEN
		RETURN;
	END IF;
	rules := jsonb_build_object('all', coalesce(whole, false), 'gone', gone, 'stay', stay);
	condition := prom._expired_condition(rules::jsonb);
END
$$;
COMMENT ON FUNCTION prom._expired_series(int4, int8) IS
'Which series have no right to samples of a resolution any more that are older than this: the rules that say it, and a condition on the row s of prom.series (true: all). NULL: none.';

CREATE FUNCTION prom._expired_sids(shard int2, day int8, block int4) RETURNS int4[]
LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	condition	text := prom._expired_condition((SELECT e.rules::jsonb FROM prom.expired e WHERE e.resolution = 0 AND e.from_ms = day));
	sids		int4[];
BEGIN
	IF condition IS NOT NULL THEN
		EXECUTE 'SELECT array_agg(s.sid ORDER BY s.sid) FROM prom.series s WHERE s.shard = $1 AND s.sid BETWEEN $2 * 64 AND $2 * 64 + 63 AND ' || condition
		INTO sids USING shard, block;
	END IF;
	RETURN coalesce(sids, '{}');
END
$$;
COMMENT ON FUNCTION prom._expired_sids(int2, int8, int4) IS
'Series of a block whose raw samples of a day were taken out of its rows: what is there of them has come since.';

CREATE FUNCTION prom._may_drop(resolution int4, to_ms int8) RETURNS bool
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN resolution > 0 OR to_ms <= prom._rolled_until();
COMMENT ON FUNCTION prom._may_drop(int4, int8) IS 'Raw samples may go when rollups of them have been committed and nothing is left to be redone.';

-- ---- how it goes

CREATE FUNCTION prom._mark_dropped(level int4, until int8) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO prom.level AS l (resolution, from_ms) SELECT 0, until WHERE level = 0
	ON CONFLICT (resolution) DO UPDATE SET from_ms = excluded.from_ms WHERE l.from_ms IS NULL OR l.from_ms < excluded.from_ms;
	UPDATE prom.level l SET from_ms = until WHERE l.resolution = level AND level > 0 AND l.from_ms < until;
END;
COMMENT ON FUNCTION prom._mark_dropped(int4, int8) IS
'Tells queries that samples of a resolution that are older (ms since 1970) are gone, but for series with a rule of their own.';

CREATE FUNCTION prom._drop_part(level int4, part regclass, from_ms int8, to_ms int8) RETURNS bool
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
	-- No late sample comes to it meanwhile, and no rollup is made again.
	IF level = 0 THEN
		PERFORM prom._lock_merge(h.shard) FROM (SELECT shard FROM prom.shard ORDER BY 1) h;
	ELSE
		PERFORM prom._lock_rollup();
	END IF;
	IF NOT prom._may_drop(level, to_ms) THEN
		RETURN false;
	END IF;
	-- Whoever comes while we wait for those who read now waits behind us, and so this must be short.
	PERFORM set_config('lock_timeout', '50ms', true);
	EXECUTE format('DROP TABLE %s', part);
	IF level = 0 THEN
		DELETE FROM prom.compaction c WHERE c.day = _drop_part.from_ms;
	END IF;
	-- Those of objects stay: no rollup is made of what was taken out of them.
	DELETE FROM prom.expired e WHERE e.resolution = level AND e.from_ms = _drop_part.from_ms AND NOT EXISTS (
		SELECT FROM prom.tier_object o WHERE level = 0 AND o.resolution = 0 AND o.day = e.from_ms AND o.deleted IS NULL AND NOT o.read_only);
	DELETE FROM prom.slack k WHERE k.part = _drop_part.part;
	RETURN true;
EXCEPTION WHEN lock_not_available THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION prom._drop_part(int4, regclass, int8, int8) IS
'Drops a partition of samples; false if it may not be dropped, or somebody reads just now.';

CREATE FUNCTION prom._expire_part(level int4, part regclass, from_ms int8, to_ms int8) RETURNS bool
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT prom._drop_part(level, part, from_ms, to_ms) THEN
		RETURN false;
	END IF;
	PERFORM prom._mark_dropped(level, to_ms);
	DELETE FROM prom.exemplar e WHERE level = 0 AND e.t_ms < _expire_part.to_ms;
	RETURN true;
END
$$;
COMMENT ON FUNCTION prom._expire_part(int4, regclass, int8, int8) IS
'Drops a partition of samples with all that belongs to them, and tells queries that nothing older is left; false as prom._drop_part.';

CREATE FUNCTION prom._cut_part(level int4, part regclass, from_ms int8, to_ms int8, condition text, seq int8, after jsonb,
	OUT next jsonb, OUT rows int8)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	one		int2;
	blocks	int4[];
	sids	int4[];
	bytes	int8;
BEGIN
	rows := 0;
	EXECUTE format('SELECT b.shard, array_agg(b.block ORDER BY b.block) FROM (
			SELECT b.shard, b.block, first_value(b.shard) OVER w AS first, sum(b.size) OVER w AS read, row_number() OVER w AS n FROM (
				SELECT r.shard, r.block, sum(pg_column_size(r.data)) AS size FROM %s r
				WHERE (r.shard, r.block) > ($1, $2) AND r.seq > $3 GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 256) b
			WINDOW w AS (ORDER BY b.shard, b.block)) b
		WHERE b.shard = b.first AND (b.n = 1 OR b.read <= 8388608) GROUP BY 1', part)
	INTO one, blocks USING (after ->> 0)::int2, (after ->> 1)::int4, seq;
	IF one IS NULL THEN
		RETURN;
	END IF;
	next := jsonb_build_array(one, blocks[cardinality(blocks)]);
	IF level > 0 THEN
		PERFORM prom._lock_rollup();
	END IF;
	PERFORM prom._lock_merge(one);
	IF NOT prom._may_drop(level, to_ms) THEN
		next := NULL;
		rows := NULL;
		RETURN;
	END IF;
	EXECUTE 'SELECT array_agg(s.sid ORDER BY s.sid) FROM prom.series s WHERE s.shard = $1 AND s.sid >= $2 * 64::int8 AND s.sid < ($3 + 1) * 64::int8 AND ' || condition
	INTO sids USING one, blocks[1], blocks[cardinality(blocks)];
	IF sids IS NULL THEN
		RETURN;
	END IF;
	EXECUTE format('WITH hit AS MATERIALIZED (
			SELECT r.ctid AS tid, prom._taken(r.data, r.samples, x.rest) AS taken, x.rest
			FROM %1$s r CROSS JOIN LATERAL (SELECT prom._without(r.data, $3, -9223372036854775807, 9223372036854775807) AS rest OFFSET 0) x WHERE r.shard = $1 AND r.block = ANY ($2) AND r.seq > $4
				AND prom._hits(r.data, $3, -9223372036854775807, 9223372036854775807) <> ''{}''
		), gone AS (
			DELETE FROM %1$s r USING hit h WHERE r.ctid = h.tid AND h.rest IS NULL
		), less AS (
			UPDATE %1$s r SET data = h.rest, samples = (prom.chunk_info(h.rest)).samples %2$s FROM hit h WHERE r.ctid = h.tid AND h.rest IS NOT NULL
		)
		SELECT count(*), sum(h.taken) FROM hit h',
		part, CASE WHEN level = 0 THEN ', gen = least(r.gen, 127)' END)
	INTO rows, bytes USING one, blocks, sids, seq;
	IF level = 0 AND rows > 0 THEN
		DELETE FROM prom.exemplar e WHERE e.shard = one AND e.sid = ANY (sids) AND e.t_ms < _cut_part.to_ms;
		PERFORM prom._mark_compaction(one, _cut_part.from_ms);
	END IF;
	PERFORM prom._slack_add(ARRAY[part], ARRAY[bytes]);
EXCEPTION WHEN data_corrupted THEN
	-- They are set aside, and the next step begins where this one did.
	PERFORM prom._lock_merge(one);
	IF level > 0 OR prom._quarantine_range(one, from_ms, to_ms - 1) = 0 THEN
		RAISE;
	END IF;
	next := after;
	rows := 0;
END
$$;
COMMENT ON FUNCTION prom._cut_part(int4, regclass, int8, int8, text, int8, jsonb) IS
'Takes the series that the condition is true of out of some rows of a partition, those after a shard and block that were written after seq; returns where the next step begins (NULL: done) and what it took. Rows that are read and not touched cost as much, so only new ones are read again.';

CREATE FUNCTION prom._written_since(part regclass, seq int8) RETURNS bool
LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	written	bool;
BEGIN
	EXECUTE format('SELECT EXISTS (SELECT FROM %s r WHERE r.seq > $1)', part) INTO written USING seq;
	RETURN written;
END
$$;
COMMENT ON FUNCTION prom._written_since(regclass, int8) IS 'True if the partition has a row with a greater seq.';

CREATE FUNCTION prom._retain_next(resolution int4, from_ms int8)
RETURNS TABLE (resolution int4, part regclass, from_ms int8, to_ms int8, rules text, condition text, seq int8)
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE ROWS 1
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- One by one in order, so that the functions are called for no more of them than need be.
	SELECT p.resolution, p.part, p.from_ms, p.to_ms, x.rules, x.condition, d.seq
	FROM (SELECT p.* FROM prom._parts() p
		WHERE (p.resolution, p.from_ms) > (_retain_next.resolution, _retain_next.from_ms) ORDER BY p.resolution, p.from_ms) p
	CROSS JOIN LATERAL prom._expired_series(p.resolution, p.to_ms) x
	CROSS JOIN LATERAL (SELECT coalesce((SELECT e.seq FROM prom.expired e
		WHERE e.resolution = p.resolution AND e.from_ms = p.from_ms AND e.rules = x.rules), -9223372036854775808) AS seq OFFSET 0) d
	WHERE x.rules IS NOT NULL AND (x.condition = 'true' OR prom._written_since(p.part, d.seq))
	LIMIT 1;
END;
COMMENT ON FUNCTION prom._retain_next(int4, int8) IS
'The next partition with samples that are kept no longer, in order of resolution and time, and up to which row it was looked at.';

CREATE FUNCTION prom._retain_finish(level int4, part regclass, from_ms int8, to_ms int8, rules text, seq int8) RETURNS bool
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	empty	bool;
BEGIN
	IF (rules::jsonb -> 'all')::bool THEN
		PERFORM prom._mark_dropped(level, to_ms);
	END IF;
	EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', part) INTO empty;
	IF empty THEN
		RETURN prom._drop_part(level, part, from_ms, to_ms);
	END IF;
	INSERT INTO prom.expired AS e VALUES (level, from_ms, rules, seq)
	ON CONFLICT ON CONSTRAINT expired_pkey DO UPDATE SET rules = excluded.rules, seq = excluded.seq;
	RETURN true;
END
$$;
COMMENT ON FUNCTION prom._retain_finish(int4, regclass, int8, int8, text, int8) IS
'All rows of a partition have been looked at: it is dropped if none is left; false if that has to be tried again.';

-- The state of the job "retain".  First the partitions with samples whose time is over, in order: those of which
-- nothing is kept are dropped, the others are gone through some rows at a time.  Then the size.
CREATE FUNCTION prom._job_retain(INOUT state jsonb, OUT rows int8, OUT phase text, OUT done int8, OUT total int8, OUT pause_ms int4)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	next	record;
	cut		record;
	part	record;
	tries	int4 := coalesce((state -> 'tries')::int4, 0);
	gone	bool;
BEGIN
	rows := 0;
	IF coalesce((state -> 'size')::bool, false) THEN
		SELECT * INTO state, rows, phase, pause_ms FROM prom._retain_size(state);
		RETURN;
	END IF;
	SELECT count(*) FILTER (WHERE (p.resolution, p.from_ms) <= ((state -> 'resolution')::int4, (state -> 'after')::int8)), count(*)
	INTO done, total FROM prom._parts() p;
	SELECT n.* INTO next FROM prom._retain_next(coalesce((state -> 'resolution')::int4, 0), coalesce((state -> 'after')::int8, -9223372036854775808)) n;
	IF NOT FOUND THEN
		PERFORM prom._tier_expire();
		rows := prom._tier_expire_step();
		IF rows IS NOT NULL THEN
			phase := 'taking series out of objects';
			RETURN;
		END IF;
		rows := 0;
		state := jsonb_build_object('size', true, 'note', state -> 'note');
		phase := 'looking at the size';
		RETURN;
	END IF;
	-- A partition that is gone through: "row" is where, "seq" how far it reaches when that is done.
	IF next.condition = 'true' THEN
		phase := format('dropping %s', next.part);
		gone := prom._expire_part(next.resolution, next.part, next.from_ms, next.to_ms);
		rows := gone::int4;
	ELSE
		phase := format('taking series out of %s', next.part);
		SELECT c.* INTO cut FROM prom._cut_part(next.resolution, next.part, next.from_ms, next.to_ms, next.condition, next.seq,
			coalesce(state -> 'row', '[-32768, -1]')) c;
		IF cut.next IS NOT NULL THEN
			state := state || jsonb_build_object('row', cut.next,
				'seq', coalesce((state -> 'seq')::int8, (SELECT s.last_value FROM prom.store_seq s)));
			rows := cut.rows;
			RETURN;
		END IF;
		gone := cut.rows IS NULL OR prom._retain_finish(next.resolution, next.part, next.from_ms, next.to_ms, next.rules,
			CASE WHEN next.resolution = 0 THEN coalesce((state -> 'seq')::int8, (SELECT s.last_value FROM prom.store_seq s)) ELSE 9223372036854775807 END);
	END IF;
	-- Who reads now is not waited for: it is tried again a little later, and then in the next turn.
	IF NOT gone AND prom._may_drop(next.resolution, next.to_ms) AND tries < 20 THEN
		state := state || jsonb_build_object('tries', tries + 1);
		phase := format('waiting for readers of %s', next.part);
		pause_ms := 200;
		RETURN;
	END IF;
	IF NOT gone THEN
		phase := CASE WHEN prom._may_drop(next.resolution, next.to_ms) THEN format('%s is being read', next.part)
			ELSE format('%s waits for its rollups', next.part) END;
	END IF;
	state := jsonb_build_object('resolution', next.resolution, 'after', next.from_ms, 'tries', tries,
		'note', CASE WHEN gone THEN state -> 'note' ELSE coalesce(nullif(state -> 'note', 'null'), to_jsonb(phase)) END);
END
$$;
COMMENT ON FUNCTION prom._job_retain(jsonb) IS
'A step of the job "retain": drops a partition that is over, or takes series out of some of its rows, or drops what is beyond promgres.retention_size.';

CREATE FUNCTION prom._retain_size(INOUT state jsonb, OUT rows int8, OUT phase text, OUT pause_ms int4)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	allowed	int8 := pg_size_bytes(current_setting('promgres.retention_size'));
	used	int8;
	victim	record;
	tries	int4 := coalesce((state -> 'tries')::int4, 0);
BEGIN
	rows := 0;
	-- Of prom.fresh what it holds: after a burst its file is large and empty, which no old sample shall make up for.  Nor for what
	-- was brought back from a bucket, and is here for a while; it is the oldest, and does not go itself, as it is nowhere else now.
	used := coalesce((SELECT sum(pg_column_size(f.data)) FROM prom.fresh f), 0) + coalesce((SELECT sum(pg_total_relation_size(p.part)) FROM prom._parts() p
		WHERE NOT prom._tier_returned(p.resolution, p.from_ms, p.to_ms)), 0);
	IF allowed <= 0 OR used <= allowed THEN
		phase := state ->> 'note';
		state := NULL;
		RETURN;
	END IF;
	-- Raw samples first, as far as there are rollups of them; then rollups.  Yesterday stays.
	SELECT p.* INTO victim FROM prom._parts() p
	WHERE p.to_ms < prom._to_ms(clock_timestamp()) - 86400000 AND prom._may_drop(p.resolution, p.to_ms) 
		-- What lies in a bucket takes no room here, so it does not go; and nothing goes from behind it, which would hide it.
		AND NOT prom._tier_returned(p.resolution, p.from_ms, p.to_ms)
		AND NOT EXISTS (SELECT FROM prom.tier_object o
			WHERE o.resolution = p.resolution AND o.day < p.to_ms AND NOT o.read_only AND (o.deleted IS NULL OR o.gone <> '{}'))
	ORDER BY p.resolution > 0, p.from_ms, p.resolution LIMIT 1;
	IF NOT FOUND THEN
		RAISE configuration_limit_exceeded USING
			MESSAGE = format('samples take %s, more than promgres.retention_size allows, and none of them may go', pg_size_pretty(used)),
			DETAIL = format('The limit is %s. What is kept is of the last two days, younger than what a bucket has, or no rollups have been made of it yet.', pg_size_pretty(allowed)),
			HINT = 'Raise the limit, keep fewer series (prom.set_retention), let the bucket have it sooner (promgres.tier_after), or see in prom.jobs which job is behind.';
	END IF;
	phase := format('dropping %s, for the size', victim.part);
	IF prom._expire_part(victim.resolution, victim.part, victim.from_ms, victim.to_ms) THEN
		rows := 1;
		state := state - 'tries';
	ELSIF tries < 20 THEN
		state := state || jsonb_build_object('tries', tries + 1);
		phase := format('waiting for readers of %s', victim.part);
		pause_ms := 200;
	ELSE
		phase := format('%s is being read', victim.part);
		state := NULL;
	END IF;
END
$$;
COMMENT ON FUNCTION prom._retain_size(jsonb) IS 'Drops the oldest samples while all of them take more than promgres.retention_size.';

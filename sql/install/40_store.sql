-- 40_store: where samples live.  Fresh rows are what ingest calls wrote, as they came; the merge turns
-- them into warm rows, 64 series and up to a day at a time.

CREATE SEQUENCE prom.store_seq;
COMMENT ON SEQUENCE prom.store_seq IS 'Order in which rows of samples were written: of two samples with one timestamp the later counts.';

CREATE TABLE prom.fresh (
	shard	int2 NOT NULL,
	sid_min	int4 NOT NULL,
	sid_max	int4 NOT NULL,
	t_min	int8 NOT NULL,
	t_max	int8 NOT NULL,
	samples	int4 NOT NULL,
	seq		int8 NOT NULL,
	added	timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	data	prom.chunk NOT NULL,
	day		int8
) WITH (toast_tuple_target = 8160, vacuum_truncate = off, autovacuum_vacuum_threshold = 1000,
		autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE prom.fresh IS 'Samples as ingest calls wrote them, sorted by series and cut at stripes of ids; emptied by the merge.';
COMMENT ON COLUMN prom.fresh.day IS 'Of a late row, which the merge has put aside until it makes rows of this UTC day (its beginning, ms since 1970); NULL: the row is as it came.';

-- One entry per thousand samples: a query of few series opens only rows that may have them, and no page that a
-- merge has left empty.
CREATE INDEX fresh_sids_idx ON prom.fresh (shard, sid_max, sid_min, t_max);

CREATE TABLE prom.warm (
	shard	int2 NOT NULL,
	block	int4 NOT NULL,
	t_min	int8 NOT NULL,
	seq		int8 NOT NULL,
	t_max	int8 NOT NULL,
	gen		int2 NOT NULL,
	samples	int4 NOT NULL,
	data	prom.chunk NOT NULL
) PARTITION BY RANGE (t_min);
-- Each partition has a primary key of its own, made by prom._make_day.  One here would be made twice
-- for every partition when a dump is restored: by ATTACH PARTITION, and by the dump.
COMMENT ON TABLE prom.warm IS 'Merged samples: a row holds series of one block (sid >> 6) within one UTC day; one partition per day.';
COMMENT ON COLUMN prom.warm.gen IS 'How often the row was merged, eight rows of one generation making one of the next; 127: full, stays as it is until its day is compacted, 128: compacted.';

CREATE TABLE prom.metadata (
	shard	int2 NOT NULL,
	family	text COLLATE "C" NOT NULL,
	digest	uuid NOT NULL,
	type	text COLLATE "C" NOT NULL,
	help	text COLLATE "C" NOT NULL,
	unit	text COLLATE "C" NOT NULL,
	PRIMARY KEY (shard, family, digest)
);
COMMENT ON TABLE prom.metadata IS 'What senders told about metric families: type, help and unit; one row per distinct triple.';

-- For those who see all series; see prom._label_value.
CREATE VIEW prom._fresh_rows WITH (security_barrier) AS
SELECT f.* FROM prom.fresh AS f
WHERE NOT pg_catalog.row_security_active('prom.series'::pg_catalog.regclass);
COMMENT ON VIEW prom._fresh_rows IS 'prom.fresh, for those who see all series.';

CREATE VIEW prom._warm_rows WITH (security_barrier) AS
SELECT w.* FROM prom.warm AS w
WHERE NOT pg_catalog.row_security_active('prom.series'::pg_catalog.regclass);
COMMENT ON VIEW prom._warm_rows IS 'prom.warm, for those who see all series.';

CREATE VIEW prom._metadata WITH (security_barrier) AS
SELECT d.shard, d.family, d.type, d.help, d.unit FROM prom.metadata AS d
WHERE NOT pg_catalog.row_security_active('prom.series'::pg_catalog.regclass) OR prom._sees_family(d.family);
COMMENT ON VIEW prom._metadata IS 'prom.metadata of those families of which the caller sees a series.';

CREATE FUNCTION prom._to_ms(t timestamptz) RETURNS int8
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN t = '-infinity' THEN -9223372036854775807
	WHEN t = 'infinity' THEN 9223372036854775807
	ELSE pg_catalog.floor(pg_catalog.extract('epoch', t) * 1000)::pg_catalog.int8 END;
COMMENT ON FUNCTION prom._to_ms(timestamptz) IS 'Milliseconds since 1970; infinities become the ends of int8.';

CREATE TABLE prom.exemplar (
	shard	int2 NOT NULL,
	sid		int4 NOT NULL,
	t_ms	int8 NOT NULL,
	value	float8 NOT NULL,
	labels	prom.labels NOT NULL,
	PRIMARY KEY (shard, sid, t_ms, value, labels)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX exemplar_t_ms_idx ON prom.exemplar (t_ms);
COMMENT ON TABLE prom.exemplar IS 'Exemplars: single observations of a series, with labels of their own such as a trace id; removed when they are older than promgres.exemplar_max_age.';
COMMENT ON COLUMN prom.exemplar.t_ms IS 'milliseconds since 1970';

SELECT pg_catalog.pg_extension_config_dump('prom.exemplar', '');
SELECT pg_catalog.pg_extension_config_dump('prom.store_seq', '');
SELECT pg_catalog.pg_extension_config_dump('prom.fresh', '');
SELECT pg_catalog.pg_extension_config_dump('prom.warm', '');
SELECT pg_catalog.pg_extension_config_dump('prom.metadata', '');

-- Ingest

CREATE FUNCTION prom.ingest(bodies bytea[], formats text[] DEFAULT '{}')
RETURNS TABLE (body int4, samples int8, histograms int8, exemplars int8, refused int8, error text)
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'prom_ingest';
COMMENT ON FUNCTION prom.ingest(bytea[], text[]) IS
'Stores bodies of remote write and OTLP, all or none; a row per body with the samples, native histograms and exemplars that were stored (or dropped as those of a replica that is not the elected one, promgres.ha_tracker), how many parts were refused (null: the whole body) and why the first of them. A format is "remote_write_1", "remote_write_2", "otlp" or "otlp_json", with "+snappy", "+gzip" or "+zstd" if compressed; "remote_write_1+snappy" if it is not given.';

CREATE FUNCTION prom._drop_exemplars() RETURNS int8
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH gone AS (
		DELETE FROM prom.exemplar e
		WHERE e.t_ms < (pg_catalog.extract('epoch', clock_timestamp() - current_setting('promgres.exemplar_max_age')::interval) * 1000)::int8
		RETURNING 1)
	SELECT count(*) FROM gone;
END;
COMMENT ON FUNCTION prom._drop_exemplars() IS
'Removes exemplars older than promgres.exemplar_max_age; returns how many. The maintenance worker calls it.';

-- Merge

CREATE FUNCTION prom._make_day(t_ms int8) RETURNS bool
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	first	int8 := floor(t_ms / 86400000.0) * 86400000;
	part	text;
BEGIN
	IF t_ms < 0 OR t_ms >= 253402300800000 THEN
		RAISE datetime_field_overflow USING MESSAGE = 'day out of range',
			DETAIL = format('%s ms is before 1970 or after 9999.', t_ms);
	END IF;
	-- A day that is there must not be dropped before the caller has written to it.
	LOCK TABLE prom.warm IN ROW EXCLUSIVE MODE;
	part := 'warm_' || to_char(timestamp '1970-01-01' + first / 86400000 * interval '1 day', 'YYYYMMDD');
	IF (SELECT c.relispartition FROM pg_class c WHERE c.oid = to_regclass('prom.' || part)) THEN
		RETURN false;
	END IF;
	-- What ATTACH takes anyway; whoever makes the same day now has made it after this.
	LOCK TABLE prom.warm IN SHARE UPDATE EXCLUSIVE MODE;
	-- A day that was detached keeps its name; the new one gets another.
	IF EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
			WHERE i.inhparent = 'prom.warm'::regclass AND c.relname ~ ('^' || part || '(_[0-9]+)?$')) THEN
		RETURN false;
	END IF;
	FOR i IN 2..1000 LOOP
		EXIT WHEN to_regclass('prom.' || part) IS NULL;
		part := substr(part, 1, 13) || '_' || i;
	END LOOP;
	-- Attached rather than created in place: this takes no lock that a reader would wait for.
	EXECUTE format('CREATE TABLE prom.%I (LIKE prom.warm INCLUDING DEFAULTS INCLUDING CONSTRAINTS, CHECK (t_min >= %s AND t_min < %s)) '
		'WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05)', part, first, first + 86400000);
	EXECUTE format('ALTER TABLE prom.%I ADD PRIMARY KEY (shard, block, t_min, seq)', part);
	-- Whoever is granted this table itself gets nothing of it.
	EXECUTE format('ALTER TABLE prom.%I ENABLE ROW LEVEL SECURITY', part);
	EXECUTE format('ALTER TABLE prom.%I OWNER TO %I', part,
		(SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'prom.warm'::regclass));
	EXECUTE format('ALTER TABLE prom.warm ATTACH PARTITION prom.%I FOR VALUES FROM (%s) TO (%s)', part, first, first + 86400000);
	EXECUTE format('ALTER TABLE prom.%I DROP CONSTRAINT %I', part, part || '_t_min_check');
	RETURN true;
END
$$;
COMMENT ON FUNCTION prom._make_day(int8) IS
'Makes the partition of prom.warm for the UTC day of a time (ms since 1970), unless it is there; true if it was made.';

CREATE FUNCTION prom._merge_step(shard int2, max_rows int4) RETURNS int4
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'prom_merge_step';
COMMENT ON FUNCTION prom._merge_step(int2, int4) IS
'Merges the oldest fresh rows of a shard, about max_rows of them, into warm rows within the calling transaction; returns how many it took. Rows of 64 days at most are made, of the newest; what falls on others stays fresh for later steps. Damaged rows go to prom.quarantine. 0: none there, or another merge of this shard is under way.';

CREATE FUNCTION prom._lock_merge(shard int2) RETURNS void
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'prom_lock_merge';
COMMENT ON FUNCTION prom._lock_merge(int2) IS
'Waits for a merge of the shard to end and keeps others from beginning until the end of the transaction.';

CREATE FUNCTION prom._runner() RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
RETURN (SELECT CASE WHEN a.application_name = 'promgres jobs' THEN 'worker'
		WHEN a.backend_type LIKE 'pg_cron%' OR a.application_name LIKE 'pg_cron%' THEN 'pg_cron' ELSE 'session' END
	FROM pg_stat_activity a WHERE a.pid = pg_backend_pid());
COMMENT ON FUNCTION prom._runner() IS 'On whose behalf this server process works: worker, pg_cron, or a session, which wants to be told what was done.';

CREATE FUNCTION prom._tell(did text) RETURNS void
LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF prom._runner() = 'session' THEN
		RAISE NOTICE '%', did;
	END IF;
END
$$;
COMMENT ON FUNCTION prom._tell(text) IS 'Tells who has called a procedure by hand what it did.';

CREATE PROCEDURE prom.merge()
LANGUAGE plpgsql
AS $$
DECLARE
	one		int2;
	last	int8;
	taken	int4;
	total	int8 := 0;
BEGIN
	COMMIT;
	SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
	FOR one IN SELECT h.shard FROM prom._shard h ORDER BY 1 LOOP
		-- What comes in meanwhile waits for the next call: this one has an end, and merges no crumbs.
		last := (SELECT pg_catalog.max(f.seq) FROM prom._fresh_rows f WHERE f.shard OPERATOR(pg_catalog.=) one);
		LOOP
			-- Another merge may be under way, whose rows are among those that are to be merged.
			PERFORM prom._lock_merge(one);
			taken := prom._merge_step(one, 2000);
			total := total OPERATOR(pg_catalog.+) taken;
			COMMIT;
			SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
			EXIT WHEN taken OPERATOR(pg_catalog.=) 0 OR NOT EXISTS (
				SELECT FROM prom._fresh_rows f WHERE f.shard OPERATOR(pg_catalog.=) one AND f.seq OPERATOR(pg_catalog.<=) last);
		END LOOP;
	END LOOP;
	PERFORM prom._tell(CASE WHEN total OPERATOR(pg_catalog.>) 0 THEN pg_catalog.format('fresh rows merged: %s', total) ELSE 'there was nothing to merge' END);
END
$$;
COMMENT ON PROCEDURE prom.merge() IS
'Merges the fresh rows that are there into warm rows, one transaction per step. The maintenance worker does so by itself; call it to force a merge.';

CREATE FUNCTION prom._is_loaded() RETURNS bool
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN (SELECT coalesce(max(f.seq) <= (SELECT s.last_value FROM prom.store_seq s), false) FROM (SELECT seq FROM prom.fresh LIMIT 1000) f);
COMMENT ON FUNCTION prom._is_loaded() IS
'True when there are fresh rows and their numbers have been drawn here. While a dump is being restored they have not: its sequences are set after its tables are filled, and its partitions are attached before. The maintenance worker keeps still until then.';

CREATE FUNCTION prom._merge_due(max_rows int4, max_age_s int4) RETURNS bool
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN prom._is_loaded() AND
	(SELECT count(*) > max_rows OR min(f.added) < clock_timestamp() - make_interval(secs => max_age_s)
	FROM (SELECT added FROM prom.fresh LIMIT max_rows + 1) f);
COMMENT ON FUNCTION prom._merge_due(int4, int4) IS
'True when prom.fresh holds more rows than the first figure or one older than the second (seconds).';

-- Upkeep

CREATE FUNCTION prom._days() RETURNS TABLE (day regclass, t_min int8, age int4)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT c.oid::regclass, (regexp_match(pg_get_expr(c.relpartbound, c.oid), '\((?:'')?(-?[0-9]+)'))[1]::int8, age(c.relfrozenxid)
	FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'prom.warm'::regclass;
END;
COMMENT ON FUNCTION prom._days() IS 'Partitions of prom.warm, where their days begin (ms since 1970), and the age of their oldest transaction id.';

CREATE FUNCTION prom._day_to_freeze(min_age int4) RETURNS text
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN (SELECT d.day FROM prom._days() d
	WHERE d.age > min_age AND d.t_min < prom._to_ms(clock_timestamp()) - 2 * 86400000
	ORDER BY d.age DESC, d.t_min LIMIT 1)::text;
COMMENT ON FUNCTION prom._day_to_freeze(int4) IS
'The partition, over for a day at least, whose oldest transaction id is the oldest and older than this; NULL: none. What is merged no more is frozen before the server has to do so for all days at once.';

-- Scan

CREATE FUNCTION prom._fresh_step(internal, prom.chunk, int8, int4[], int8, int8) RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_fresh_step';
COMMENT ON FUNCTION prom._fresh_step(internal, prom.chunk, int8, int4[], int8, int8) IS 'Transition of prom._fresh.';
CREATE FUNCTION prom._fresh_final(internal) RETURNS prom.chunk
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_fresh_final';
COMMENT ON FUNCTION prom._fresh_final(internal) IS 'Final function of prom._fresh.';
CREATE AGGREGATE prom._fresh(data prom.chunk, seq int8, sids int4[], from_ms int8, to_ms int8) (
	SFUNC = prom._fresh_step, STYPE = internal, FINALFUNC = prom._fresh_final, PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._fresh(prom.chunk, int8, int4[], int8, int8) IS
'The samples of the wanted series (sids, in any order) with from_ms < t <= to_ms out of fresh rows, as one plain chunk; NULL if there are none.';

CREATE FUNCTION prom._sids(data prom.chunk) RETURNS int4[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_sids';
COMMENT ON FUNCTION prom._sids(prom.chunk) IS 'Ids of the series in the chunk, ascending.';

CREATE FUNCTION prom._block(sid int4) RETURNS int4
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_block';
COMMENT ON FUNCTION prom._block(int4) IS 'The block of 64 ids to which the id of a series belongs.';

CREATE FUNCTION prom._only(data prom.chunk, sids int4[], from_ms int8, to_ms int8) RETURNS prom.chunk
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_only';
COMMENT ON FUNCTION prom._only(prom.chunk, int4[], int8, int8) IS
'The samples of the series (sids, ascending) with from_ms < t <= to_ms as a plain chunk; NULL if there are none.';

CREATE FUNCTION prom._visible_series(pairs int4[], every bool, OUT shard int2, OUT sid int4) RETURNS SETOF record
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED ROWS 100 COST 1000 AS 'MODULE_PATHNAME', 'prom_visible_series';
COMMENT ON FUNCTION prom._visible_series(int4[], bool) IS
'Of series that have these hashes of labels, every one of them or any, those that prom.series shows the caller.';

CREATE FUNCTION prom._visible_exemplars(shard int2, sids int4[], from_ms int8, to_ms int8,
	OUT sid int4, OUT t_ms int8, OUT value float8, OUT labels prom.labels) RETURNS SETOF record
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED ROWS 100 COST 1000 AS 'MODULE_PATHNAME', 'prom_visible_exemplars';
COMMENT ON FUNCTION prom._visible_exemplars(int2, int4[], int8, int8) IS
'Exemplars with from_ms <= t <= to_ms of those of the series that prom.series shows the caller.';

CREATE FUNCTION prom._visible_warm(shard int2, sids int4[], from_ms int8, to_ms int8, OUT data prom.chunk, OUT ord int8) RETURNS SETOF record
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED ROWS 10 COST 1000 AS 'MODULE_PATHNAME', 'prom_visible_warm';
COMMENT ON FUNCTION prom._visible_warm(int2, int4[], int8, int8) IS
'Of warm rows, the samples with from_ms < t <= to_ms of those of the series that prom.series shows the caller.';

CREATE FUNCTION prom._visible_rollup(shard int2, sids int4[], resolution int4, parts int2[], from_ms int8, to_ms int8, OUT data prom.chunk, OUT ord int8)
RETURNS SETOF record
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED ROWS 10 COST 1000 AS 'MODULE_PATHNAME', 'prom_visible_rollup';
COMMENT ON FUNCTION prom._visible_rollup(int2, int4[], int4, int2[], int8, int8) IS
'The same of parts of rollups of a resolution in seconds.';

CREATE FUNCTION prom._visible_fresh(shard int2, sids int4[], from_ms int8, to_ms int8) RETURNS prom.chunk
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 1000 AS 'MODULE_PATHNAME', 'prom_visible_fresh';
COMMENT ON FUNCTION prom._visible_fresh(int2, int4[], int8, int8) IS 'The same of fresh rows, as one plain chunk; NULL if there are none.';

CREATE FUNCTION prom._visible_has(shard int2, sid int4, resolution int4, parts int2[], from_ms int8, to_ms int8) RETURNS bool
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 1000 AS 'MODULE_PATHNAME', 'prom_visible_has';
COMMENT ON FUNCTION prom._visible_has(int2, int4, int4, int2[], int8, int8) IS
'True if prom.series shows the caller the series, and it has a sample with from_ms < t <= to_ms; or, of a resolution in seconds that is not 0, a point in one of these parts of rollups.';

CREATE FUNCTION prom._hits(data prom.chunk, sids int4[], from_ms int8, to_ms int8) RETURNS int4[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_hits';
COMMENT ON FUNCTION prom._hits(prom.chunk, int4[], int8, int8) IS
'Those of the series (sids, in any order) that have a sample with from_ms <= t <= to_ms in the chunk.';

CREATE FUNCTION prom._without(data prom.chunk, sids int4[], from_ms int8, to_ms int8) RETURNS prom.chunk
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_without';
COMMENT ON FUNCTION prom._without(prom.chunk, int4[], int8, int8) IS
'The chunk without the samples of the series (sids, ascending) with from_ms <= t <= to_ms; NULL if nothing is left.';

CREATE FUNCTION prom._since(data prom.chunk, sids int4[], since int8[]) RETURNS prom.chunk
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_since';
COMMENT ON FUNCTION prom._since(prom.chunk, int4[], int8[]) IS
'The chunk without those samples of the series (sids, ascending) that are before a time, one for each (ms since 1970); all of it if sids is NULL, NULL if nothing is left.';

-- 42_quarantine: damaged rows of samples, set aside so that everything else goes on.

CREATE TABLE prom.quarantine (
	id			int8 PRIMARY KEY DEFAULT pg_catalog.nextval('prom.store_seq'),
	set_aside	timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	source		text NOT NULL CHECK (source OPERATOR(pg_catalog.=) ANY (ARRAY['fresh', 'warm'])),
	shard		int2 NOT NULL,
	sid_min		int4 NOT NULL,
	sid_max		int4 NOT NULL,
	t_min		int8 NOT NULL,
	t_max		int8 NOT NULL,
	samples		int4 NOT NULL,
	seq			int8 NOT NULL,
	gen			int2,
	data		bytea,
	sqlstate	text NOT NULL,
	reason		text NOT NULL
);
COMMENT ON TABLE prom.quarantine IS 'Damaged rows of prom.fresh and prom.warm, set aside so that everything else goes on. Look, mend, prom.quarantine_retry(); or delete.';
COMMENT ON COLUMN prom.quarantine.set_aside IS 'when the row was found damaged';
COMMENT ON COLUMN prom.quarantine.source IS 'where it was: fresh or warm';
COMMENT ON COLUMN prom.quarantine.sid_min IS 'least id of a series in it, as the row said';
COMMENT ON COLUMN prom.quarantine.sid_max IS 'greatest id of a series in it, as the row said; of a warm row, those of its block';
COMMENT ON COLUMN prom.quarantine.t_min IS 'earliest time in it, ms since 1970, as the row said';
COMMENT ON COLUMN prom.quarantine.t_max IS 'latest time in it, as the row said';
COMMENT ON COLUMN prom.quarantine.samples IS 'how many samples, as the row said';
COMMENT ON COLUMN prom.quarantine.gen IS 'generation of a warm row';
COMMENT ON COLUMN prom.quarantine.data IS 'bytes of the prom.chunk; NULL if they could not be read';
COMMENT ON COLUMN prom.quarantine.sqlstate IS 'of the error that reading it gave';
COMMENT ON COLUMN prom.quarantine.reason IS 'that error';

SELECT pg_catalog.pg_extension_config_dump('prom.quarantine', '');

CREATE FUNCTION prom._quarantine_range(shard int2, from_ms int8, to_ms int8) RETURNS int8
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'prom_quarantine_range';
COMMENT ON FUNCTION prom._quarantine_range(int2, int8, int8) IS
'Verifies the rows of a shard that have samples of this time, and sets damaged ones aside; returns how many. The caller holds the merge lock.';

CREATE FUNCTION prom._quarantine_retry_row(id int8) RETURNS bool
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'prom_quarantine_retry_row';
COMMENT ON FUNCTION prom._quarantine_retry_row(int8) IS
'Takes a row of prom.quarantine back into prom.warm if it can be read now; true if so. The caller holds the merge lock.';

CREATE FUNCTION prom.quarantine_damaged(start timestamptz DEFAULT '-infinity', "end" timestamptz DEFAULT 'infinity')
RETURNS int8
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	one		int2;
	n		int8 := 0;
BEGIN
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE feature_not_supported USING MESSAGE = 'rows cannot be set aside in a transaction that is REPEATABLE READ or SERIALIZABLE',
			HINT = 'Use READ COMMITTED.';
	END IF;
	FOR one IN SELECT h.shard FROM prom.shard h ORDER BY 1 LOOP
		PERFORM prom._lock_merge(one);
		n := n + prom._quarantine_range(one, prom._to_ms(start), prom._to_ms("end"));
	END LOOP;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom.quarantine_damaged(timestamptz, timestamptz) IS
'Reads all samples with start <= time <= end, and sets the rows aside that are damaged (prom.quarantine); returns how many. Merges wait meanwhile.';

CREATE FUNCTION prom.quarantine_retry(id int8 DEFAULT NULL) RETURNS int8
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	one		int2;
	row_id	int8;
	n		int8 := 0;
BEGIN
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE feature_not_supported USING MESSAGE = 'rows cannot be taken back in a transaction that is REPEATABLE READ or SERIALIZABLE',
			HINT = 'Use READ COMMITTED.';
	END IF;
	FOR one IN SELECT DISTINCT q.shard FROM prom.quarantine q WHERE q.id = quarantine_retry.id OR quarantine_retry.id IS NULL ORDER BY 1 LOOP
		PERFORM prom._lock_merge(one);
		FOR row_id IN SELECT q.id FROM prom.quarantine q
			WHERE q.shard = one AND (q.id = quarantine_retry.id OR quarantine_retry.id IS NULL) ORDER BY q.id DESC
		LOOP
			n := n + prom._quarantine_retry_row(row_id)::int4;
		END LOOP;
	END LOOP;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom.quarantine_retry(int8) IS
'Takes rows of prom.quarantine back that can be read now, the one of this id or all; returns how many. Where another sample of the same series and time has been stored, that one counts.';

CREATE FUNCTION prom._quarantined() RETURNS int8
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT count(*) FROM prom.quarantine;
END;
COMMENT ON FUNCTION prom._quarantined() IS 'How many damaged rows are set aside; for those, too, who may not see them.';

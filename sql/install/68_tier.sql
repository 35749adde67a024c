-- 68_tier.sql: old samples move to a bucket.  The way back is in 68_tier_back.sql.
--
-- One object holds the samples of one day, resolution and shard, of as many blocks of series as make about 64 MB.
-- The order, each step a transaction: prom.tier_upload says what is begun; the object, the labels of its series and its manifest
-- are written and read back; under the lock of merges, if the rows that were read are still there as they
-- were, prom.tier_object has the object and the rows go; the partition is dropped when it is empty.
-- Whatever is killed when, a sample is in local rows or in an object that prom.tier_object has, never in neither.

CREATE TABLE prom.tier_series (
	shard	int2 NOT NULL,
	block	int4 NOT NULL,
	series	int8 NOT NULL,
	PRIMARY KEY (shard, block)
);
COMMENT ON TABLE prom.tier_series IS 'Which series objects hold samples of, or did: they are not collected.';
COMMENT ON COLUMN prom.tier_series.series IS 'a bit for each series of the block';

CREATE TABLE prom.tier_hold (
	from_ms	int8 NOT NULL,
	to_ms	int8 NOT NULL,
	until	timestamptz NOT NULL
);
COMMENT ON TABLE prom.tier_hold IS 'Times that were brought back by prom.rehydrate and stay here for a while.';

SELECT pg_catalog.pg_extension_config_dump('prom.tier_series', '');
SELECT pg_catalog.pg_extension_config_dump('prom.tier_hold', '');

CREATE FUNCTION prom._row_mark(block int4, part int2, t_min int8, seq int8, samples int4, writer xid) RETURNS int8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.hashtextextended(pg_catalog.format('%s %s %s %s %s %s', block, part, t_min, seq, samples, writer), 0);
COMMENT ON FUNCTION prom._row_mark(int4, int2, int8, int8, int4, xid) IS 'A hash of what tells one row of samples, as somebody has written it, from all others.';

CREATE FUNCTION prom._tier_write(server text, key text, resolution int4, shard int2, day int8, first_block int4, max_seq int8, upload text, again bool,
	OUT block_min int4, OUT block_max int4, OUT more bool, OUT chunks int4, OUT samples int8, OUT series int4, OUT t_min int8, OUT t_max int8,
	OUT bytes int8, OUT etag text, OUT sha256 bytea, OUT directory bytea, OUT rows int8, OUT mark int8) RETURNS record
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'prom_tier_write';
COMMENT ON FUNCTION prom._tier_write(text, text, int4, int2, int8, int4, int8, text, bool) IS
'Writes local rows of a day, from a block of series on, as an object of a bucket, about 64 MB of them, and reads it back; all NULL if there are no rows. With the id of an upload in parts it goes on with that, and sends only parts that are not there. Again: what pg_temp.tier_rest has of another object, all of it.';

CREATE FUNCTION prom._tier_chunks(server text, key text, etag text, directory bytea, blocks int4[], holes int8[] DEFAULT '{}', resolution int4 DEFAULT 0,
	OUT block int4, OUT part int2, OUT t_min int8, OUT t_max int8, OUT samples int4, OUT data prom.chunk) RETURNS SETOF record
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'prom_tier_chunks';
COMMENT ON FUNCTION prom._tier_chunks(text, text, text, bytea, int4[], int8[], int4) IS 'The chunks of these blocks of an object, fetched from the bucket, without what lies in holes.';

CREATE FUNCTION prom._tier_get_many(server text, keys text[], max_bytes int8[], OUT n int4, OUT body bytea) RETURNS SETOF record
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'prom_tier_get_many';
COMMENT ON FUNCTION prom._tier_get_many(text, text[], int8[]) IS
'Objects of a bucket, none longer than it may be, several requests at a time, in the order in which they come: its place among the keys, and its bytes, NULL if it is not there.';

CREATE FUNCTION prom._tier_directories(server text, keys text[], etags text[], bytes int8[], chunks int4[],
	OUT n int4, OUT etag text, OUT modified timestamptz, OUT directory bytea) RETURNS SETOF record
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'prom_tier_directories';
COMMENT ON FUNCTION prom._tier_directories(text, text[], text[], int8[], int4[]) IS
'The directories of objects of these sizes, fetched from the bucket several at a time and checked; NULL of one that is not there. Etags may be NULL; so may chunks, which are a guess how long it is.';

CREATE FUNCTION prom._tier_entries(directory bytea, holes int8[] DEFAULT '{}', resolution int4 DEFAULT 0,
	OUT block int4, OUT part int2, OUT t_min int8, OUT t_max int8, OUT samples int4, OUT series int8, OUT "offset" int8, OUT length int4) RETURNS SETOF record
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE ROWS 1000
AS 'MODULE_PATHNAME', 'prom_tier_entries';
COMMENT ON FUNCTION prom._tier_entries(bytea, int8[], int4) IS 'What the directory of an object says of its chunks, without series that lie in holes, and without chunks of which nothing is left.';

CREATE FUNCTION prom._tier_directory_of(chunks prom.chunk[], blocks int4[], parts int4[]) RETURNS bytea
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'prom_tier_directory_of';
COMMENT ON FUNCTION prom._tier_directory_of(prom.chunk[], int4[], int4[]) IS 'The directory of an object that has these chunks, in this order; without their checksums.';

CREATE FUNCTION prom._tier_pack(bytes bytea) RETURNS bytea
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_tier_pack';
COMMENT ON FUNCTION prom._tier_pack(bytea) IS 'A zstd frame of the bytes, with a checksum.';
CREATE FUNCTION prom._tier_lines(packed bytea) RETURNS SETOF text
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE ROWS 1000
AS 'MODULE_PATHNAME', 'prom_tier_lines';
COMMENT ON FUNCTION prom._tier_lines(bytea) IS 'The lines of a text in UTF-8 that prom._tier_pack has packed.';

-- ---- what is there

CREATE VIEW prom.tier_objects AS
SELECT o.id, o.server, o.key, ('1970-01-01'::pg_catalog.date OPERATOR(pg_catalog.+) (o.day OPERATOR(pg_catalog./) 86400000)::pg_catalog.int4) AS day,
	pg_catalog.make_interval(secs => o.resolution) AS resolution, o.shard, o.series, o.samples, o.chunks, o.bytes,
	pg_catalog.to_timestamp(o.t_min::pg_catalog.float8 OPERATOR(pg_catalog./) 1000::pg_catalog.float8) AS first_sample,
	pg_catalog.to_timestamp(o.t_max::pg_catalog.float8 OPERATOR(pg_catalog./) 1000::pg_catalog.float8) AS last_sample,
	pg_catalog.cardinality(o.gone) AS blocks_gone, o.read_only, o.uploaded, o.deleted
FROM prom.tier_object o;
COMMENT ON VIEW prom.tier_objects IS 'Objects of samples in buckets.';
COMMENT ON COLUMN prom.tier_objects.resolution IS '0: raw samples';
COMMENT ON COLUMN prom.tier_objects.blocks_gone IS 'blocks of 64 series that were brought back since';
COMMENT ON COLUMN prom.tier_objects.deleted IS 'since when it is not needed; it is deleted promgres.tier_delete_after later';

CREATE FUNCTION prom._tier_has(one int2, day int8, block int4) RETURNS bool
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN EXISTS (SELECT FROM prom.tier_object o
	WHERE o.deleted IS NULL AND o.shard = one AND _tier_has.block BETWEEN o.block_min AND o.block_max AND NOT _tier_has.block = ANY (o.gone)
		-- A sample at midnight belongs to the windows of the day that ends.
		AND (o.day = _tier_has.day OR (o.day = _tier_has.day + 86400000 AND o.resolution = 0)));
COMMENT ON FUNCTION prom._tier_has(int2, int8, int4) IS
'True if rollups of a day (its beginning) cannot be made again of local rows alone: objects that are in use may have samples of this block, or rollups.';

CREATE FUNCTION prom._tier_returned(level int4, from_ms int8, to_ms int8) RETURNS bool
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN EXISTS (SELECT FROM prom.tier_hold h
		WHERE h.until > clock_timestamp() AND h.from_ms < _tier_returned.to_ms AND h.to_ms >= _tier_returned.from_ms)
	OR EXISTS (SELECT FROM prom.tier_object o
		WHERE o.resolution = level AND o.day >= _tier_returned.from_ms AND o.day < _tier_returned.to_ms AND NOT o.read_only AND o.gone <> '{}');
COMMENT ON FUNCTION prom._tier_returned(int4, int8, int8) IS
'True of a partition of these times if some of its rows have been brought back from the bucket: they are nowhere else, and will go there again.';

CREATE FUNCTION prom._tier_cluster() RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO prom.tier_cluster (cluster, server, own) VALUES (gen_random_uuid(), current_setting('promgres.tier_server'), true)
	ON CONFLICT DO NOTHING;
	RETURN (SELECT c.cluster FROM prom.tier_cluster c WHERE c.own);
END
$$;
COMMENT ON FUNCTION prom._tier_cluster() IS 'The name under which samples of this database are in the bucket; drawn when it is asked for first.';

-- ---- what is to be moved

CREATE FUNCTION prom._tier_days(raw_before int8, rollups_before int8, first int8) RETURNS TABLE (resolution int4, day int8, shard int2)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	rolled	int8 := prom._rolled_until();
	p		record;
BEGIN
	FOR p IN SELECT x.* FROM prom._parts() x
		WHERE x.to_ms > first AND x.from_ms < CASE x.resolution WHEN 0 THEN raw_before ELSE rollups_before END ORDER BY x.resolution, x.from_ms
	LOOP
		IF p.resolution = 0 AND p.to_ms <= least(raw_before, rolled) THEN
			RETURN QUERY EXECUTE format('SELECT 0, %s::int8, h.shard FROM prom.shard h WHERE EXISTS (SELECT FROM %s w WHERE w.shard = h.shard) ORDER BY 3',
				p.from_ms, p.part);
		ELSIF p.resolution > 0 THEN
			RETURN QUERY EXECUTE format('SELECT %s, r.day, r.shard FROM %s r WHERE r.day >= $1 AND r.day <= $2 - 86400000 GROUP BY 2, 3 ORDER BY 2, 3', p.resolution, p.part)
			USING first, least(rollups_before, (SELECT l.until_ms FROM prom.level l WHERE l.resolution = p.resolution),
				(SELECT min(d.day) FROM prom.rollup_due d), (SELECT min(o.day) FROM prom.rollup_open o));
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION prom._tier_days(int8, int8, int8) IS 'Days with local rows that are over, and are in rollups if they are raw: candidates for the bucket, in order.';

CREATE FUNCTION prom._tier_ready(level int4, day int8, one int2, forced bool) RETURNS bool
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN NOT EXISTS (SELECT FROM prom.tier_hold h WHERE h.until > clock_timestamp() AND h.from_ms < _tier_ready.day + 86400000 AND h.to_ms >= _tier_ready.day)
	AND (level > 0 OR NOT EXISTS (SELECT FROM prom.fresh f WHERE f.shard = one AND f.t_max >= _tier_ready.day AND f.t_min < _tier_ready.day + 86400000))
	AND (forced OR (
		-- Not before it is compacted; and what comes later, not more often than once a day.
		(level > 0 OR current_setting('promgres.compact_delay') = '-1'
			OR NOT EXISTS (SELECT FROM prom.compaction c WHERE c.shard = one AND c.day = _tier_ready.day))
		AND NOT EXISTS (SELECT FROM prom.tier_object o WHERE o.resolution = level AND o.shard = one AND o.day = _tier_ready.day AND o.deleted IS NULL
			AND o.uploaded > clock_timestamp() - interval '1 day' AND current_setting('promgres.tier_delete_after') <> '0')));
COMMENT ON FUNCTION prom._tier_ready(int4, int8, int2, bool) IS 'True if nothing speaks against moving the rows of a day now; less if it is by hand.';

CREATE FUNCTION prom._tier_name_day(level int4, day int8) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN format('%s of %s', prom._resolution_name(level), to_char(timestamp '1970-01-01' + day / 86400000 * interval '1 day', 'YYYY-MM-DD'));
COMMENT ON FUNCTION prom._tier_name_day(int4, int8) IS 'For what is told of progress.';

-- ---- moving

CREATE FUNCTION prom._tier_prefix(cluster uuid, level int4, day int8, one int2) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN format('promgres/v1/%s/%s/%s/%s-', cluster, level, to_char(timestamp '1970-01-01' + day / 86400000 * interval '1 day', 'YYYY/YYYYMMDD'), one);
COMMENT ON FUNCTION prom._tier_prefix(uuid, int4, int8, int2) IS 'How the keys of all objects of a day begin; behind it comes their seq.';

-- An object is never written twice: a PUT of the run that was killed may arrive late, and would replace it.  An upload in parts
-- that is neither complete nor aborted is none yet, and whoever completes it first ends it for all others.
CREATE FUNCTION prom._tier_resume(server name, level int4, day int8, one int2) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u		prom.tier_upload;
	id		text;
BEGIN
	FOR u IN SELECT x.* FROM prom.tier_upload x
		WHERE x.server = _tier_resume.server AND x.resolution = level AND x.shard = one AND x.day = _tier_resume.day AND x.source IS NULL AND x.replaces IS NULL
			AND x.seq > ALL (SELECT o.seq FROM prom.tier_object o WHERE o.resolution = level AND o.shard = one AND o.day = _tier_resume.day)
		ORDER BY x.seq DESC
	LOOP
		BEGIN
			-- (By the whole key: not every S3 lists by what it begins with.)
			SELECT p.id INTO id FROM prom._bucket_uploads(server, u.key) p WHERE p.key = u.key ORDER BY p.begun DESC, p.id LIMIT 1;
		EXCEPTION WHEN io_error THEN
			-- Who may not list uploads begins anew; that what is left cannot be found is told when it is to be removed.
			RETURN NULL;
		END;
		IF id IS NOT NULL AND NOT EXISTS (SELECT FROM prom._bucket_head(server, u.key)) THEN
			UPDATE prom.tier_upload x SET upload = id, started = clock_timestamp() WHERE x.server = u.server AND x.key = u.key;
			RETURN u.key;
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION prom._tier_resume(name, int4, int8, int2) IS
'The key of an object of this day whose upload in parts was killed and can be gone on with; NULL if there is none.';

CREATE FUNCTION prom._tier_begin(server name, level int4, day int8, one int2) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	cluster	uuid := prom._tier_cluster();
	seq		int8;
	key		text := prom._tier_resume(server, level, day, one);
BEGIN
	IF key IS NOT NULL THEN
		RETURN key;
	END IF;
	-- By the clock: a server that was restored from a backup must not write under a name that is taken.
	seq := greatest((extract(epoch FROM clock_timestamp()) * 1000000)::int8,
		(SELECT max(o.seq) + 1 FROM prom.tier_object o WHERE o.resolution = level AND o.shard = one AND o.day = _tier_begin.day));
	key := format('%s%s/data-0', prom._tier_prefix(cluster, level, day, one), seq);
	INSERT INTO prom.tier_upload (server, key, cluster, resolution, shard, day, seq) VALUES (server, key, cluster, level, one, day, seq);
	RETURN key;
END
$$;
COMMENT ON FUNCTION prom._tier_begin(name, int4, int8, int2) IS 'Notes that an object is begun, or gone on with; its key.';

CREATE FUNCTION prom._tier_put(server text, key text, data bytea) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM prom._bucket_put(server, key, data);
	IF prom._bucket_get(server, key) IS DISTINCT FROM data THEN
		RAISE io_error USING MESSAGE = format('object "%s" of bucket "%s" is not what was stored', key, server);
	END IF;
END
$$;
COMMENT ON FUNCTION prom._tier_put(text, text, bytea) IS 'Stores an object and reads it back.';

CREATE FUNCTION prom._tier_holes_mark(o prom.tier_object) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN md5(format('%s %s', (o).gone, (o).holes));
COMMENT ON FUNCTION prom._tier_holes_mark(prom.tier_object) IS 'Tells whether an object is to be read as it was when somebody looked.';

CREATE FUNCTION prom._tier_rest(id int8) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
	o		prom.tier_object;
BEGIN
	-- Not one that somebody else has made.
	DROP TABLE IF EXISTS pg_temp.tier_rest;
	CREATE TEMP TABLE tier_rest (block int4, part int2, t_min int8, t_max int8, samples int4, data prom.chunk) ON COMMIT DROP;
	SELECT x.* INTO o FROM prom.tier_object x WHERE x.id = _tier_rest.id AND x.deleted IS NULL;
	INSERT INTO pg_temp.tier_rest SELECT c.block, c.part, c.t_min, c.t_max, c.samples, c.data
	FROM prom._tier_chunks(o.server, o.key, o.etag, o.directory,
		ARRAY(SELECT DISTINCT e.block FROM prom._tier_entries(o.directory, o.holes, o.resolution) e WHERE NOT e.block = ANY (o.gone)), o.holes, o.resolution) c
	WHERE o.id IS NOT NULL;
	CREATE INDEX ON pg_temp.tier_rest (part, block);
	RETURN prom._tier_holes_mark(o);
END
$$;
COMMENT ON FUNCTION prom._tier_rest(int8) IS 'Fetches what is to be read of an object into pg_temp.tier_rest.';

CREATE FUNCTION prom._tier_upload(key text, first_block int4, max_seq int8) RETURNS bool
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u		prom.tier_upload;
	w		record;
	o		prom.tier_object;
	labels	bytea;
	prefix	text := left(key, -length('data-0'));
	rest	text;
BEGIN
	SELECT x.* INTO STRICT u FROM prom.tier_upload x WHERE x.key = _tier_upload.key;
	IF u.replaces IS NOT NULL THEN
		rest := prom._tier_rest(u.replaces);
	END IF;
	SELECT x.* INTO w FROM prom._tier_write(u.server, u.key, u.resolution, u.shard, u.day, first_block, max_seq, coalesce(u.upload, ''), u.replaces IS NOT NULL) x;
	IF w.block_min IS NULL THEN
		UPDATE prom.tier_object x SET deleted = clock_timestamp() WHERE x.id = u.replaces AND x.deleted IS NULL AND prom._tier_holes_mark(x) = rest;
		-- (With something in the bucket it is left over.)
		DELETE FROM prom.tier_upload x WHERE x.server = u.server AND x.key = u.key AND x.upload IS NULL;
		RETURN false;
	END IF;
	SELECT prom._tier_pack(coalesce(convert_to(string_agg(jsonb_build_array(s.sid, s.labels::jsonb)::text, E'\n' ORDER BY s.sid), 'UTF8'), '')) INTO labels
	FROM prom.series s
	JOIN (SELECT e.block, bit_or(e.series) AS mask FROM prom._tier_entries(w.directory) e GROUP BY 1) m ON s.sid >> 6 = m.block AND m.mask >> (s.sid & 63) & 1 = 1
	WHERE s.shard = u.shard AND s.sid >= w.block_min * 64::int8 AND s.sid < (w.block_max + 1) * 64::int8;
	PERFORM prom._tier_put(u.server, prefix || 'series', labels);
	PERFORM prom._tier_put(u.server, prefix || 'manifest.json', convert_to(jsonb_pretty(jsonb_build_object('format', 'promgres tier', 'version', 1,
		'cluster', u.cluster, 'resolution', u.resolution, 'shard', u.shard, 'day', u.day, 'seq', u.seq,
		'series', jsonb_build_object('name', 'series', 'bytes', length(labels), 'sha256', encode(sha256(labels), 'hex')),
		'objects', jsonb_build_array(jsonb_build_object('name', 'data-0', 'bytes', w.bytes, 'sha256', encode(w.sha256, 'hex'), 'chunks', w.chunks,
			'samples', w.samples, 'series', w.series, 't_min', w.t_min, 't_max', w.t_max, 'block_min', w.block_min, 'block_max', w.block_max)))), 'UTF8'));
	o.id := nextval('prom.tier_object_id');
	o.server := u.server; o.key := u.key; o.cluster := u.cluster; o.resolution := u.resolution; o.shard := u.shard; o.day := u.day; o.seq := u.seq;
	o.t_min := w.t_min; o.t_max := w.t_max; o.block_min := w.block_min; o.block_max := w.block_max; o.chunks := w.chunks; o.samples := w.samples;
	o.series := w.series; o.bytes := w.bytes; o.etag := w.etag; o.sha256 := w.sha256; o.directory := w.directory; o.gone := '{}'; o.read_only := false;
	o.uploaded := clock_timestamp(); o.holes := '{}'; o.manifest := true; o.rules := (SELECT x.rules FROM prom.tier_object x WHERE x.id = u.replaces);
	UPDATE prom.tier_upload x SET object = o, source = jsonb_build_object('rows', w.rows, 'mark', w.mark, 'max_seq', max_seq, 'more', w.more, 'rest', rest)
	WHERE x.server = u.server AND x.key = u.key;
	PERFORM prom._stat_count('offload_objects', 1), prom._stat_count('offload_bytes', w.bytes), prom._stat_count('offload_samples', w.samples);
	RETURN true;
END
$$;
COMMENT ON FUNCTION prom._tier_upload(text, int4, int8) IS
'Writes the object that was begun under this key, with rows from a block on that were written up to max_seq, or with what is left of the object that it replaces; false if there is nothing. The rows stay: prom._tier_commit removes them.';

CREATE FUNCTION prom._tier_add_series(ids int8[]) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO prom.tier_series AS t (shard, block, series)
	SELECT o.shard, e.block, bit_or(e.series) FROM prom.tier_object o, prom._tier_entries(o.directory) e WHERE o.id = ANY (ids) GROUP BY 1, 2 ORDER BY 1, 2
	ON CONFLICT (shard, block) DO UPDATE SET series = t.series | excluded.series WHERE t.series IS DISTINCT FROM t.series | excluded.series;
END;
COMMENT ON FUNCTION prom._tier_add_series(int8[]) IS 'Notes which series objects hold samples of.';

CREATE FUNCTION prom._tier_commit(key text) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u		prom.tier_upload;
	o		prom.tier_object;
	n		int8;
	mark	int8;
BEGIN
	SELECT x.* INTO STRICT u FROM prom.tier_upload x WHERE x.key = _tier_commit.key;
	IF u.replaces IS NOT NULL THEN
		RETURN prom._tier_swap(u);
	END IF;
	o := u.object;
	IF u.resolution > 0 THEN
		PERFORM prom._lock_rollup();
	END IF;
	-- What is written meanwhile is waited for, and then seen: no row of these may come, change, or go from here on.
	PERFORM prom._lock_merge(u.shard);
	IF u.resolution = 0 THEN
		SELECT count(*), bit_xor(prom._row_mark(w.block, 0::int2, w.t_min, w.seq, w.samples, w.xmin)) INTO n, mark FROM prom.warm w
		WHERE w.shard = u.shard AND w.t_min >= u.day AND w.t_min < u.day + 86400000 AND w.seq <= (u.source -> 'max_seq')::int8
			AND w.block BETWEEN o.block_min AND o.block_max;
	ELSE
		SELECT count(*), bit_xor(prom._row_mark(r.block, r.part, r.t_min, r.seq, r.samples, r.xmin)) INTO n, mark FROM prom.rollup r
		WHERE r.resolution = u.resolution AND r.shard = u.shard AND r.day = u.day AND r.block BETWEEN o.block_min AND o.block_max;
	END IF;
	-- Samples that came late make rollups of the day again, of local rows: these must be here for that.
	IF n <> (u.source -> 'rows')::int8 OR mark IS DISTINCT FROM (u.source -> 'mark')::int8
		OR EXISTS (SELECT FROM prom.rollup_due d WHERE d.shard = u.shard AND d.day IN (u.day, u.day - 86400000) AND d.block BETWEEN o.block_min AND o.block_max)
		OR EXISTS (SELECT FROM prom.rollup_open d WHERE d.shard = u.shard AND d.day IN (u.day, u.day - 86400000))
	THEN
		UPDATE prom.tier_upload x SET object = NULL, source = NULL WHERE x.server = u.server AND x.key = u.key;
		RETURN -1;
	END IF;
	IF u.resolution = 0 THEN
		DELETE FROM prom.warm w
		WHERE w.shard = u.shard AND w.t_min >= u.day AND w.t_min < u.day + 86400000 AND w.seq <= (u.source -> 'max_seq')::int8
			AND w.block BETWEEN o.block_min AND o.block_max;
	ELSE
		DELETE FROM prom.rollup r
		WHERE r.resolution = u.resolution AND r.shard = u.shard AND r.day = u.day AND r.block BETWEEN o.block_min AND o.block_max;
	END IF;
	GET DIAGNOSTICS n = ROW_COUNT;
	INSERT INTO prom.tier_object SELECT (o).*;
	PERFORM prom._tier_add_series(ARRAY[o.id]);
	DELETE FROM prom.tier_upload x WHERE x.server = u.server AND x.key = u.key;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._tier_commit(text) IS
'The rows that an object was made of go, and queries read the object, if these rows are still as they were: returns how many, or -1 if not. The object is left over then.';

CREATE FUNCTION prom._tier_swap(u prom.tier_upload) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c		prom.tier_object;
BEGIN
	IF (u).resolution > 0 THEN
		PERFORM prom._lock_rollup();
	END IF;
	-- Whoever deletes more of it, or brings it back, has done so, or waits.
	PERFORM prom._lock_merge((u).shard);
	SELECT x.* INTO c FROM prom.tier_object x WHERE x.id = (u).replaces FOR UPDATE;
	IF NOT FOUND OR c.deleted IS NOT NULL OR prom._tier_holes_mark(c) <> (u).source ->> 'rest' THEN
		UPDATE prom.tier_upload x SET object = NULL, source = NULL WHERE x.server = (u).server AND x.key = (u).key;
		RETURN -1;
	END IF;
	UPDATE prom.tier_object x SET deleted = clock_timestamp() WHERE x.id = c.id;
	INSERT INTO prom.tier_object SELECT ((u).object).*;
	DELETE FROM prom.tier_upload x WHERE x.server = (u).server AND x.key = (u).key;
	PERFORM prom._tier_forget_series(c.shard, ARRAY(SELECT DISTINCT e.block FROM prom._tier_entries(c.directory) e));
	RETURN c.samples - ((u).object).samples;
END
$$;
COMMENT ON FUNCTION prom._tier_swap(prom.tier_upload) IS
'An object that was written anew takes the place of the one that it was made of, if nothing was deleted of that since: returns how many samples fewer it has, or -1 if not.';

CREATE FUNCTION prom._tier_drop(level int4, day int8) RETURNS bool
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p		record;
	empty	bool;
BEGIN
	SELECT x.* INTO p FROM prom._parts() x WHERE x.resolution = level AND x.from_ms <= day AND x.to_ms > day;
	IF NOT FOUND OR p.to_ms > prom._to_ms(clock_timestamp()) - 2 * 86400000 THEN
		RETURN true;
	END IF;
	-- Its lock first: nobody writes between the look and the drop.
	PERFORM prom._lock_rollup(), prom._lock_merge(h.shard) FROM (SELECT s.shard FROM prom.shard s ORDER BY 1) h;
	EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', p.part) INTO empty;
	RETURN NOT empty OR prom._drop_part(level, p.part, p.from_ms, p.to_ms);
END
$$;
COMMENT ON FUNCTION prom._tier_drop(int4, int8) IS 'Drops the partition of a day if all of its rows are gone; false if somebody reads it just now.';

-- 68_tier: old samples move to a bucket, and back.
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

-- ---- back

CREATE FUNCTION prom._tier_restore(o prom.tier_object, blocks int4[]) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	data	record;
	chunks	prom.chunk[];
	c		prom.tier_object;
	n		int8;
	all_of	int4[];
BEGIN
	-- All that is fetched is here before anything is locked.
	SELECT array_agg(x.block ORDER BY x.n) AS block, array_agg(x.part ORDER BY x.n) AS part, array_agg(x.t_min ORDER BY x.n) AS t_min,
		array_agg(x.t_max ORDER BY x.n) AS t_max, array_agg(x.samples ORDER BY x.n) AS samples, array_agg(x.data ORDER BY x.n) AS data, count(*) AS n
	INTO data FROM prom._tier_chunks(o.server, o.key, o.etag, o.directory, blocks, o.holes, o.resolution) WITH ORDINALITY x (block, part, t_min, t_max, samples, data, n);
	chunks := data.data;
	PERFORM prom._lock_rollup(), prom._lock_merge(o.shard);
	SELECT x.* INTO c FROM prom.tier_object x WHERE x.id = o.id FOR UPDATE;
	IF NOT FOUND OR c.deleted IS NOT NULL OR c.gone && blocks OR c.holes <> o.holes THEN
		RAISE serialization_failure USING MESSAGE = format('object "%s" was changed by somebody else meanwhile', o.key), HINT = 'Try again.';
	END IF;
	IF o.resolution = 0 THEN
		PERFORM prom._make_day(o.day);
		-- Older than all that is here, as it was in the bucket.
		INSERT INTO prom.warm (shard, block, t_min, seq, t_max, gen, samples, data)
		SELECT o.shard, u.block, u.t_min, -nextval('prom.store_seq'), u.t_max, 128, u.samples, u.data
		FROM ROWS FROM (unnest(data.block), unnest(data.t_min), unnest(data.t_max), unnest(data.samples), unnest(chunks)) u (block, t_min, t_max, samples, data);
	ELSE
		PERFORM prom._make_rollup(o.resolution, o.day);
		INSERT INTO prom.rollup (resolution, shard, block, part, day, seq, t_min, t_max, samples, data)
		SELECT o.resolution, o.shard, u.block, u.part, o.day, coalesce((SELECT max(r.seq) + 1 FROM prom.rollup r
				WHERE r.resolution = o.resolution AND r.shard = o.shard AND r.day = o.day AND r.block = u.block AND r.part = u.part), 0)
			+ row_number() OVER (PARTITION BY u.block, u.part ORDER BY u.n), u.t_min, u.t_max, u.samples, u.data
		FROM ROWS FROM (unnest(data.block), unnest(data.part), unnest(data.t_min), unnest(data.t_max), unnest(data.samples), unnest(chunks))
			WITH ORDINALITY u (block, part, t_min, t_max, samples, data, n);
	END IF;
	GET DIAGNOSTICS n = ROW_COUNT;
	all_of := c.gone || blocks;
	UPDATE prom.tier_object x SET gone = all_of,
		deleted = CASE WHEN NOT EXISTS (SELECT FROM prom._tier_entries(x.directory) e WHERE NOT e.block = ANY (all_of)) THEN clock_timestamp() END
	WHERE x.id = o.id;
	PERFORM prom._stat_count('offload_returned', n);
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._tier_restore(prom.tier_object, int4[]) IS
'Brings blocks of an object back as local rows, and the object is not read for them any more; returns how many chunks.';

CREATE FUNCTION prom._tier_restore_step(level int4, one int2, from_ms int8, to_ms int8, blocks int4[]) RETURNS int8
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	o		prom.tier_object;
	few		int4[];
BEGIN
	-- The newest first: each is older than what is here already.
	FOR o IN SELECT x.* FROM prom.tier_object x
		WHERE x.deleted IS NULL AND (level IS NULL OR x.resolution = level) AND (one IS NULL OR x.shard = one) AND x.t_max >= from_ms AND x.t_min <= to_ms
		ORDER BY x.day, x.resolution, x.shard, x.seq DESC, x.id
	LOOP
		-- About 16 MB at a time.
		SELECT array_agg(b.block ORDER BY b.block) INTO few FROM (
			SELECT e.block, sum(sum(e.length)) OVER (ORDER BY e.block) - sum(e.length) AS before FROM prom._tier_entries(o.directory) e
			WHERE NOT e.block = ANY (o.gone) AND (blocks IS NULL OR e.block = ANY (blocks)) GROUP BY 1) b
		WHERE b.before < 16777216;
		CONTINUE WHEN few IS NULL;
		IF o.read_only THEN
			RAISE object_not_in_prerequisite_state USING MESSAGE = format('object "%s" belongs to a bucket that is attached read-only', o.key),
				HINT = 'Its samples can be queried, and not changed here.';
		END IF;
		RETURN prom._tier_restore(o, few);
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION prom._tier_restore_step(int4, int2, int8, int8, int4[]) IS
'Brings the next blocks back that have samples of a time (of these blocks, resolution, and shard; NULL: of all); how many chunks, or NULL if there are no more.';

CREATE PROCEDURE prom.rehydrate(from_time timestamptz, to_time timestamptz, selector text DEFAULT NULL, hold interval DEFAULT '7 days')
LANGUAGE plpgsql
AS $$
DECLARE
	from_ms	int8 := prom._to_ms(from_time);
	to_ms	int8 := prom._to_ms(to_time);
	one		int2;
	blocks	int4[];
	chunks	int8;
	total	int8 := 0;
BEGIN
	IF from_ms IS NULL OR to_ms IS NULL OR hold IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'times must not be null';
	END IF;
	IF from_ms OPERATOR(pg_catalog.>) to_ms THEN
		RAISE invalid_parameter_value USING MESSAGE = 'end must not be before start';
	END IF;
	COMMIT;
	FOR one IN SELECT DISTINCT o.shard FROM prom.tier_objects o ORDER BY 1 LOOP
		SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
		blocks := prom._tier_blocks(one, selector);
		PERFORM prom._tier_hold(one, blocks, from_ms, to_ms, hold);
		COMMIT;
		LOOP
			SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
			chunks := prom._tier_restore_step(NULL, one, from_ms, to_ms, blocks);
			EXIT WHEN chunks IS NULL;
			total := total OPERATOR(pg_catalog.+) chunks;
			COMMIT;
		END LOOP;
	END LOOP;
	PERFORM prom._tell(CASE WHEN total OPERATOR(pg_catalog.>) 0 THEN pg_catalog.format('chunks brought back from the bucket: %s', total)
		ELSE 'nothing was brought back: the bucket has no samples of this time and selector that are not here' END);
END
$$;
COMMENT ON PROCEDURE prom.rehydrate(timestamptz, timestamptz, text, interval) IS
'Brings samples and rollups with a time in this range back from the bucket as local rows, whole days of blocks of 64 series: of all series, or of those that a selector matches. The job "tier" leaves these days alone for so long.';

CREATE FUNCTION prom._tier_blocks(one int2, selector text) RETURNS int4[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	blocks	int4[];
BEGIN
	IF selector IS NOT NULL THEN
		EXECUTE 'SELECT coalesce(array_agg(DISTINCT s.sid >> 6), ''{}'') FROM prom.series s WHERE s.shard = $1 AND ' || prom._selector_sql(selector, 's')
		INTO blocks USING one;
	END IF;
	RETURN blocks;
END
$$;
COMMENT ON FUNCTION prom._tier_blocks(int2, text) IS 'Blocks of a shard that have series which a selector matches; NULL without one: all.';

CREATE FUNCTION prom._tier_hold(one int2, blocks int4[], from_ms int8, to_ms int8, hold interval) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	DELETE FROM prom.tier_hold h WHERE h.until <= clock_timestamp();
	-- Whoever asks again for what is here already wants it for longer.
	UPDATE prom.tier_hold h SET until = clock_timestamp() + hold WHERE h.from_ms <= _tier_hold.to_ms AND h.to_ms >= _tier_hold.from_ms AND h.until < clock_timestamp() + hold;
	INSERT INTO prom.tier_hold (from_ms, to_ms, until) SELECT DISTINCT o.day, o.day + 86399999, clock_timestamp() + hold FROM prom.tier_object o
	WHERE o.deleted IS NULL AND o.shard = one AND o.t_max >= _tier_hold.from_ms AND o.t_min <= _tier_hold.to_ms
		AND EXISTS (SELECT FROM prom._tier_entries(o.directory, o.holes, o.resolution) e WHERE NOT e.block = ANY (o.gone) AND (blocks IS NULL OR e.block = ANY (blocks)))
		AND NOT EXISTS (SELECT FROM prom.tier_hold h WHERE h.from_ms <= o.day AND h.to_ms >= o.day + 86399999 AND h.until >= clock_timestamp() + hold - interval '1 minute');
END;
COMMENT ON FUNCTION prom._tier_hold(int2, int4[], int8, int8, interval) IS
'Days of this time of which objects have samples of these blocks of a shard (NULL: of any), or which are held already, are not moved to the bucket for so long.';

-- ---- what goes

CREATE FUNCTION prom._tier_cut(id int8, blocks int4[], masks int8[], from_ms int8, to_ms int8) RETURNS int4[]
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	o		prom.tier_object;
	hit		record;
	window_ms int8 := greatest((SELECT max(l.resolution) FROM prom.level l), 3600) * 1000::int8;
BEGIN
	SELECT x.* INTO STRICT o FROM prom.tier_object x WHERE x.id = _tier_cut.id FOR UPDATE;
	-- What was brought back lies in the bucket still, and must not be found there.
	SELECT array_agg(h.block) AS block, array_agg(h.series) AS series, array_agg(h.t_min) AS t_min, array_agg(h.t_max) AS t_max INTO hit FROM (
		SELECT e.block, bit_or(e.series & w.mask) AS series, min(e.t_min) AS t_min, max(e.t_max) AS t_max
		FROM prom._tier_entries(o.directory, o.holes, o.resolution) e JOIN unnest(blocks, masks) w (block, mask) ON w.block = e.block
		WHERE e.series & w.mask <> 0 AND e.t_max >= from_ms AND e.t_min - o.resolution * 1000::int8 * (e.part > 2)::int4 <= to_ms GROUP BY 1 ORDER BY 1) h;
	IF hit.block IS NULL THEN
		RETURN '{}';
	END IF;
	WITH old AS (
		SELECT max(u.v) FILTER (WHERE u.n % 4 = 1) AS block, max(u.v) FILTER (WHERE u.n % 4 = 2) AS series,
			max(u.v) FILTER (WHERE u.n % 4 = 3) AS first, max(u.v) FILTER (WHERE u.n % 4 = 0) AS last
		FROM unnest(o.holes) WITH ORDINALITY u (v, n) GROUP BY (u.n - 1) / 4
	), merged AS (
		SELECT x.block, bit_or(x.series) AS series, x.first, x.last
		FROM (SELECT old.block, old.series, old.first, old.last FROM old
			UNION ALL SELECT h.block, h.series, from_ms, to_ms FROM unnest(hit.block, hit.series) h (block, series)) x GROUP BY 1, 3, 4
	)
	SELECT array_agg(v.v ORDER BY m.block, m.first, m.last, v.n) INTO o.holes
	FROM merged m, unnest(ARRAY[m.block, m.series, m.first, m.last]) WITH ORDINALITY v (v, n);
	UPDATE prom.tier_object x SET holes = o.holes,
		deleted = coalesce(x.deleted, CASE WHEN NOT EXISTS (
			SELECT FROM prom._tier_entries(o.directory, o.holes, o.resolution) e WHERE NOT e.block = ANY (o.gone)) THEN clock_timestamp() END)
	WHERE x.id = o.id;
	IF o.deleted IS NOT NULL THEN
		RETURN '{}';
	END IF;
	-- A window that is deleted as a whole goes from objects of rollups as well; one at the edge is made again of what is left.
	IF o.resolution = 0 THEN
		PERFORM prom._rollup_mark(o.shard, array_agg(m.block), array_agg(m.t), array_agg(m.t)) FROM (
			SELECT h.block, x.t FROM unnest(hit.block, hit.t_min, hit.t_max) h (block, t_min, t_max), unnest(ARRAY[from_ms, to_ms], ARRAY[greatest(from_ms, 0) - 1, to_ms]) x (t, edge)
			WHERE x.t BETWEEN h.t_min AND h.t_max AND x.edge % window_ms <> 0 AND NOT h.block = ANY (o.gone)) m
		HAVING count(*) > 0;
	END IF;
	RETURN ARRAY(SELECT h.block * 64 + bit FROM unnest(hit.block, hit.series) h (block, series), generate_series(0, 63) bit
		WHERE h.series >> bit & 1 = 1 AND NOT h.block = ANY (o.gone));
END
$$;
COMMENT ON FUNCTION prom._tier_cut(int8, int4[], int8[], int8, int8) IS
'Makes holes in an object: what it has of these series, blocks and a bit for each series of them, with from_ms <= t <= to_ms is not read from now on. Returns the ids of those that it may have had; the caller holds the lock of merges, and that of rollups.';

CREATE FUNCTION prom._tier_delete(one int2, sids int4[], from_ms int8, to_ms int8) RETURNS int4[]
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	o		record;
	wanted	record;
	hit		int4[] := '{}';
BEGIN
	SELECT array_agg(b.block ORDER BY b.block) AS blocks, array_agg(b.mask ORDER BY b.block) AS masks INTO wanted
	FROM (SELECT u >> 6 AS block, bit_or(1::int8 << (u & 63)) AS mask FROM unnest(sids) u GROUP BY 1) b;
	FOR o IN SELECT x.id, x.key, x.server, x.read_only FROM prom.tier_object x
		WHERE x.shard = one AND x.t_max >= from_ms AND x.t_min - x.resolution * 1000::int8 <= to_ms
			AND x.block_min <= wanted.blocks[cardinality(wanted.blocks)] AND x.block_max >= wanted.blocks[1]
		ORDER BY x.id
	LOOP
		hit := hit || prom._tier_cut(o.id, wanted.blocks, wanted.masks, from_ms, to_ms);
		IF o.read_only AND hit <> '{}' THEN
			RAISE object_not_in_prerequisite_state USING MESSAGE = 'some of these samples are in a bucket that is attached read-only',
				DETAIL = format('Object "%s" of bucket "%s" has some of them.', o.key, o.server),
				HINT = 'Delete them where they were written; prom.detach_bucket() removes all of that bucket from here.';
		END IF;
	END LOOP;
	IF hit <> '{}' THEN
		PERFORM prom._tier_forget_series(one, wanted.blocks);
	END IF;
	RETURN hit;
END
$$;
COMMENT ON FUNCTION prom._tier_delete(int2, int4[], int8, int8) IS
'What objects have of these series with from_ms <= t <= to_ms is not read from now on; returns which series they may have had samples of. The caller holds the lock of merges, and that of rollups.';

CREATE FUNCTION prom._tier_expire_step() RETURNS int8
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	next	record;
	here	record;
	wanted	record;
	n		int8 := 0;
BEGIN
	-- One by one in order, so that the functions are called for no more days than need be.
	SELECT d.resolution, d.day, x.rules, x.condition INTO next
	FROM (SELECT DISTINCT o.resolution, o.day FROM prom.tier_object o WHERE o.deleted IS NULL AND NOT o.read_only ORDER BY 1, 2) d
	CROSS JOIN LATERAL prom._expired_series(d.resolution, d.day + 86400000) x
	WHERE x.rules IS NOT NULL AND x.condition <> 'true' AND prom._may_drop(d.resolution, d.day + 86400000)
		AND EXISTS (SELECT FROM prom.tier_object o WHERE o.resolution = d.resolution AND o.day = d.day AND o.deleted IS NULL AND NOT o.read_only AND o.rules IS DISTINCT FROM x.rules)
	LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	PERFORM prom._lock_rollup();
	FOR here IN SELECT x.shard, array_agg(x.id ORDER BY x.id) AS ids FROM prom.tier_object x
		WHERE x.resolution = next.resolution AND x.day = next.day AND x.deleted IS NULL AND NOT x.read_only GROUP BY 1 ORDER BY 1
	LOOP
		PERFORM prom._lock_merge(here.shard);
		EXECUTE 'SELECT array_agg(b.block ORDER BY b.block) AS blocks, array_agg(b.mask ORDER BY b.block) AS masks
			FROM (SELECT s.sid >> 6 AS block, bit_or(1::int8 << (s.sid & 63)) AS mask FROM prom.series s WHERE s.shard = $1 AND ' || next.condition || ' GROUP BY 1) b'
		INTO wanted USING here.shard;
		IF wanted.blocks IS NOT NULL THEN
			DELETE FROM prom.exemplar e USING unnest(wanted.blocks, wanted.masks) w (block, mask)
			WHERE next.resolution = 0 AND e.shard = here.shard AND e.t_ms < next.day + 86400000 AND e.sid >> 6 = w.block AND w.mask >> (e.sid & 63) & 1 = 1;
			SELECT n + count(DISTINCT h) INTO n FROM unnest(here.ids) id, unnest(prom._tier_cut(id, wanted.blocks, wanted.masks, -9223372036854775807, 9223372036854775807)) h;
		END IF;
		UPDATE prom.tier_object x SET rules = next.rules WHERE x.id = ANY (here.ids);
	END LOOP;
	IF next.resolution = 0 THEN
		-- No rollup is made of what is gone; local rows have not been looked at.
		INSERT INTO prom.expired AS e (resolution, from_ms, rules, seq) VALUES (0, next.day, next.rules, -9223372036854775808)
		ON CONFLICT ON CONSTRAINT expired_pkey DO UPDATE SET rules = excluded.rules, seq = excluded.seq WHERE e.rules <> excluded.rules;
	END IF;
	IF (next.rules::jsonb -> 'all')::bool THEN
		PERFORM prom._mark_dropped(next.resolution, next.day + 86400000);
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._tier_expire_step() IS
'Takes series whose time is over, by rules for some of them, out of the objects of the next day that has any; how many series, or NULL if there is no such day.';

CREATE FUNCTION prom._tier_expire() RETURNS int8
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	level	int4;
	until	int8;
	n		int8 := 0;
	k		int8;
BEGIN
	FOR level, until IN
		SELECT d.resolution, max(d.day) + 86400000 FROM (SELECT DISTINCT o.resolution, o.day FROM prom.tier_object o WHERE o.deleted IS NULL AND NOT o.read_only) d
		CROSS JOIN LATERAL prom._expired_series(d.resolution, d.day + 86400000) x WHERE x.condition = 'true' AND prom._may_drop(d.resolution, d.day + 86400000) GROUP BY 1
	LOOP
		UPDATE prom.tier_object o SET deleted = clock_timestamp()
		WHERE o.resolution = level AND o.day < until AND o.deleted IS NULL AND NOT o.read_only;
		GET DIAGNOSTICS k = ROW_COUNT;
		n := n + k;
		PERFORM prom._mark_dropped(level, until);
		DELETE FROM prom.exemplar e WHERE level = 0 AND e.t_ms < until;
		DELETE FROM prom.expired e WHERE e.resolution = level AND e.from_ms < until
			AND NOT EXISTS (SELECT FROM prom._parts() p WHERE p.resolution = level AND p.from_ms = e.from_ms);
	END LOOP;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._tier_expire() IS
'Objects of days of which nothing is to be kept any more are not read from now on; returns how many. Rules for some series are for prom._tier_expire_step.';

CREATE FUNCTION prom._tier_erase(server text, keys text[]) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- What is without a manifest is no object.
	SELECT prom._bucket_delete(server, ARRAY(SELECT left(k, -length('data-0')) || 'manifest.json' FROM unnest(keys) k));
	SELECT prom._bucket_delete(server, keys || ARRAY(SELECT left(k, -length('data-0')) || 'series' FROM unnest(keys) k));
END;
COMMENT ON FUNCTION prom._tier_erase(text, text[]) IS 'Deletes objects of samples from the bucket, keys being those of their data: the manifests first, then the rest.';

CREATE FUNCTION prom._tier_remove(server name) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ids		int8[];
	keys	text[];
BEGIN
	SELECT array_agg(x.id), array_agg(x.key) INTO ids, keys FROM (SELECT o.id, o.key FROM prom.tier_object o
		WHERE o.server = _tier_remove.server AND NOT o.read_only AND o.deleted <= clock_timestamp() - current_setting('promgres.tier_delete_after')::interval
		ORDER BY o.deleted LIMIT 300) x;
	IF ids IS NULL THEN
		RETURN 0;
	END IF;
	PERFORM prom._tier_erase(server, keys);
	DELETE FROM prom.tier_object o WHERE o.id = ANY (ids);
	RETURN cardinality(ids);
END
$$;
COMMENT ON FUNCTION prom._tier_remove(name) IS 'Deletes some of the objects from the bucket that were not needed for promgres.tier_delete_after; returns how many.';

CREATE FUNCTION prom._tier_tidy(server name, age interval) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u		prom.tier_upload;
	stray	record;
	n		int8 := 0;
BEGIN
	-- What was begun and not committed; a request that was on its way when its sender was killed has arrived by now.
	FOR u IN SELECT x.* FROM prom.tier_upload x WHERE x.server = _tier_tidy.server AND x.source IS NULL AND x.started <= clock_timestamp() - age
		ORDER BY x.started LIMIT 100
	LOOP
		PERFORM prom._upload_abort(server, p.key, p.id) FROM prom._bucket_uploads(server, u.key) p;
		PERFORM prom._tier_erase(server, ARRAY[u.key]);
		DELETE FROM prom.tier_upload x WHERE x.server = u.server AND x.key = u.key;
		n := n + 1;
	END LOOP;
	-- The answer to their beginning was lost, or this database was restored from a backup.
	FOR stray IN SELECT x.* FROM prom.tier_cluster c, prom._bucket_uploads(_tier_tidy.server, format('promgres/v1/%s/', c.cluster)) x
		WHERE c.own AND x.begun <= clock_timestamp() - age
			AND NOT EXISTS (SELECT FROM prom.tier_upload k WHERE k.server = _tier_tidy.server AND k.key = x.key AND coalesce(k.upload, x.id) = x.id)
	LOOP
		PERFORM prom._upload_abort(server, stray.key, stray.id);
		n := n + 1;
	END LOOP;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._tier_tidy(name, interval) IS
'Removes what is left in the bucket of uploads that were begun so long ago and never committed, and uploads in parts that are as old and that nobody knows; returns how many.';

CREATE FUNCTION prom._tier_withdraw(server name) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ids		int8[];
	keys	text[];
BEGIN
	SELECT array_agg(x.id), array_agg(x.key) INTO ids, keys FROM (SELECT o.id, o.key FROM prom.tier_object o
		WHERE o.server = _tier_withdraw.server AND NOT o.read_only AND o.deleted IS NOT NULL AND o.holes <> '{}' AND o.manifest ORDER BY o.id LIMIT 300) x;
	IF ids IS NULL THEN
		RETURN 0;
	END IF;
	PERFORM prom._bucket_delete(server, (SELECT array_agg(left(k, -length('data-0')) || 'manifest.json') FROM unnest(keys) k));
	UPDATE prom.tier_object o SET manifest = false WHERE o.id = ANY (ids);
	RETURN cardinality(ids);
END
$$;
COMMENT ON FUNCTION prom._tier_withdraw(name) IS
'Deletes the manifests of some objects that are not needed any more and of which samples were deleted, so that nobody finds these who attaches the bucket; returns how many. The samples stay for promgres.tier_delete_after.';

CREATE FUNCTION prom._tier_rewrite(forced bool) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	o		prom.tier_object;
	key		text;
BEGIN
	-- Not more often than once a day: it is all of the object for each deletion.  What was brought back has gone to another object once
	-- its day has no local rows, and until then prom._tier_returned has to know of it.
	SELECT x.* INTO o FROM prom.tier_object x
	WHERE x.deleted IS NULL AND NOT x.read_only AND (forced OR x.uploaded <= clock_timestamp() - interval '1 day')
		AND CASE WHEN x.holes <> '{}' THEN true WHEN x.gone = '{}' THEN false
			WHEN EXISTS (SELECT FROM prom._parts() p WHERE p.resolution = x.resolution AND p.from_ms <= x.day AND p.to_ms > x.day) THEN false
			ELSE (SELECT 2 * sum(e.length) FILTER (WHERE e.block = ANY (x.gone)) > sum(e.length) FROM prom._tier_entries(x.directory) e) END
	ORDER BY x.day, x.resolution, x.shard, x.id LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	-- Of equal timestamps it counts as the one that it replaces.
	key := format('%s%s-%s/data-0', prom._tier_prefix(o.cluster, o.resolution, o.day, o.shard), o.seq, (extract(epoch FROM clock_timestamp()) * 1000000)::int8);
	INSERT INTO prom.tier_upload (server, key, cluster, resolution, shard, day, seq, replaces)
	VALUES (o.server, key, o.cluster, o.resolution, o.shard, o.day, o.seq, o.id);
	RETURN key;
END
$$;
COMMENT ON FUNCTION prom._tier_rewrite(bool) IS 'Notes that an object is begun that takes the place of the next one of which samples were deleted, or more than half was brought back and is elsewhere by now; its key, or NULL if there is none.';

CREATE FUNCTION prom._tier_forget_series(one int2 DEFAULT NULL, blocks int4[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- Of a shard the caller holds the lock of merges, as do all who add to it.
	IF one IS NULL THEN
		LOCK TABLE prom.tier_series IN SHARE ROW EXCLUSIVE MODE;
	END IF;
	DELETE FROM prom.tier_series t WHERE one IS NULL OR (t.shard = one AND t.block = ANY (blocks));
	INSERT INTO prom.tier_series (shard, block, series)
	SELECT o.shard, e.block, bit_or(e.series) FROM prom.tier_object o, prom._tier_entries(o.directory, o.holes, o.resolution) e
	WHERE o.deleted IS NULL AND NOT e.block = ANY (o.gone) AND (one IS NULL OR (o.shard = one AND e.block = ANY (blocks))) GROUP BY 1, 2;
END
$$;
COMMENT ON FUNCTION prom._tier_forget_series(int2, int4[]) IS
'Makes prom.tier_series anew from the objects that are in use; of these blocks of a shard, or all of it.';

CREATE FUNCTION prom._tier_keeps(one int2, sids int4[]) RETURNS int4[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN coalesce((SELECT array_agg(u ORDER BY u) FROM unnest(sids) u JOIN prom.tier_series t ON t.shard = one AND t.block = u >> 6 AND t.series >> (u & 63) & 1 = 1), '{}');
COMMENT ON FUNCTION prom._tier_keeps(int2, int4[]) IS 'Those of the series of which objects hold samples, or did.';

-- ---- the job

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
	CASE prom._tier_owns(server, state -> 'owner' IS NOT NULL, forced)
		WHEN 'asked' THEN
			state := state || '{"owner": true}';
			RETURN;
		WHEN 'wait' THEN
			state := NULL;
			RETURN;
		ELSE
			state := state || '{"owner": true}';
	END CASE;

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

-- 69_tier_bucket: a bucket on its own: found again by another database, compared with what is known of it.

CREATE FUNCTION prom._tier_manifest(server text, key text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	m		jsonb;
BEGIN
	BEGIN
		m := convert_from(prom._bucket_get(server, key), 'UTF8')::jsonb;
	EXCEPTION WHEN invalid_text_representation OR character_not_in_repertoire OR untranslatable_character THEN
		RAISE data_corrupted USING MESSAGE = format('manifest "%s" is not understood', key);
	END;
	IF m ->> 'format' IS DISTINCT FROM 'promgres tier' OR m ->> 'version' IS DISTINCT FROM '1' THEN
		RAISE data_corrupted USING MESSAGE = format('manifest "%s" is of an unknown kind', key),
			DETAIL = format('It says format %s, version %s.', coalesce(m ->> 'format', 'none'), coalesce(m ->> 'version', 'none')),
			HINT = 'A later version of promgres may be able to read it.';
	END IF;
	IF NOT coalesce(m ?& ARRAY['cluster', 'resolution', 'shard', 'day', 'seq', 'series', 'objects'] AND jsonb_typeof(m -> 'objects') = 'array'
		AND m -> 'objects' -> 0 ?& ARRAY['name', 'bytes', 'sha256', 'chunks', 'samples', 'series', 't_min', 't_max', 'block_min', 'block_max']
		AND m -> 'series' ?& ARRAY['name', 'bytes', 'sha256'], false)
	THEN
		RAISE data_corrupted USING MESSAGE = format('manifest "%s" is not complete', key);
	END IF;
	RETURN m;
END
$$;
COMMENT ON FUNCTION prom._tier_manifest(text, text) IS 'A manifest of a bucket, checked.';

CREATE FUNCTION prom._tier_load_series(server text, key text, sha256 text, one int2) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
	packed	bytea := prom._bucket_get(server, key);
	other	record;
	n		int8;
BEGIN
	IF packed IS NULL OR encode(sha256(packed), 'hex') <> sha256 THEN
		RAISE data_corrupted USING MESSAGE = format('object "%s" of bucket "%s" is not what its manifest says', key, server);
	END IF;
	-- Not one that somebody else has made.
	DROP TABLE IF EXISTS pg_temp.tier_series_loaded;
	CREATE TEMP TABLE tier_series_loaded (sid int4, labels prom.labels) ON COMMIT DROP;
	INSERT INTO pg_temp.tier_series_loaded SELECT (l::jsonb -> 0)::int4, (l::jsonb -> 1)::prom.labels
	FROM regexp_split_to_table(convert_from(prom._tier_unpack(packed), 'UTF8'), E'\n') l WHERE l <> '';
	SELECT s.sid INTO other FROM pg_temp.tier_series_loaded t JOIN prom.series s ON s.shard = one AND s.sid = t.sid WHERE s.labels::text <> t.labels::text LIMIT 1;
	IF FOUND THEN
		RAISE unique_violation USING MESSAGE = format('series %s of shard %s is another one here than in object "%s"', other.sid, one, key),
			HINT = 'The bucket and this database have gone separate ways.';
	END IF;
	INSERT INTO prom.series (shard, sid, labels) SELECT one, t.sid, t.labels FROM pg_temp.tier_series_loaded t
		WHERE NOT EXISTS (SELECT FROM prom.series s WHERE s.shard = one AND s.sid = t.sid);
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._tier_load_series(text, text, text, int2) IS 'Makes the series that an object of labels tells of, with their ids; returns how many were not there.';

CREATE FUNCTION prom._tier_register_series(one int2) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO prom.shard AS h (shard, next_block, series) SELECT one, max(s.sid >> 6) + 1, count(*) FROM prom.series s WHERE s.shard = one HAVING count(*) > 0
	ON CONFLICT (shard) DO UPDATE SET next_block = greatest(h.next_block, excluded.next_block), next_sid = 0, series = excluded.series;
	-- What is left of their blocks is given up.
	INSERT INTO prom.metric AS m (shard, name, next_sid, end_sid, series)
	SELECT one, prom._metric_key(s.labels), 0, 0, count(*) FROM prom.series s WHERE s.shard = one GROUP BY 2
	ON CONFLICT (shard, name) DO UPDATE SET next_sid = 0, end_sid = 0, series = excluded.series;
	INSERT INTO prom.label_value (shard, name, value, digest)
	SELECT DISTINCT one, p.key, p.value, prom._label_digest(p.value) FROM prom.series s, jsonb_each_text(s.labels::jsonb) p WHERE s.shard = one
	ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION prom._tier_register_series(int2) IS 'Counts series, metrics, and labels of a shard whose series came from a bucket.';

CREATE FUNCTION prom._tier_attach_object(server name, key text, of uuid, readonly bool, shards int2[], known text[]) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	prefix	text := left(key, -length('manifest.json'));
	m		jsonb := prom._tier_manifest(server, key);
	d		jsonb := m -> 'objects' -> 0;
	one		int2 := shards[array_position(shards, (m -> 'shard')::int2) + 1];
	head	record;
	o		prom.tier_object;
BEGIN
	IF (m ->> 'cluster')::uuid <> of OR one IS NULL THEN
		RAISE data_corrupted USING MESSAGE = format('manifest "%s" is not where it belongs', key);
	END IF;
	SELECT h.* INTO head FROM prom._bucket_head(server, prefix || (d ->> 'name')) h;
	IF NOT FOUND OR head.size <> (d -> 'bytes')::int8 THEN
		RAISE data_corrupted USING MESSAGE = format('object "%s" of bucket "%s" is not what its manifest says', prefix || (d ->> 'name'), server),
			DETAIL = coalesce(format('It has %s bytes, and should have %s.', head.size, d ->> 'bytes'), 'It is missing.');
	END IF;
	-- Day after day it is the same.
	IF (m -> 'series' ->> 'sha256') || one <> ALL (known) THEN
		PERFORM prom._tier_load_series(server, prefix || (m -> 'series' ->> 'name'), m -> 'series' ->> 'sha256', one);
	END IF;
	o.id := nextval('prom.tier_object_id');
	o.server := server; o.key := prefix || (d ->> 'name'); o.cluster := of; o.resolution := m -> 'resolution'; o.shard := one; o.day := m -> 'day'; o.seq := m -> 'seq';
	o.t_min := d -> 't_min'; o.t_max := d -> 't_max'; o.block_min := d -> 'block_min'; o.block_max := d -> 'block_max'; o.chunks := d -> 'chunks';
	o.samples := d -> 'samples'; o.series := d -> 'series'; o.bytes := head.size; o.etag := head.etag; o.sha256 := decode(d ->> 'sha256', 'hex');
	o.directory := prom._tier_directory(server, o.key, head.etag, head.size); o.gone := '{}'; o.read_only := readonly; o.uploaded := head.modified;
	o.holes := '{}'; o.manifest := true;
	INSERT INTO prom.tier_object SELECT (o).*;
	PERFORM prom._tier_add_series(o);
	RETURN (m -> 'series' ->> 'sha256') || one;
END
$$;
COMMENT ON FUNCTION prom._tier_attach_object(name, text, uuid, bool, int2[], text[]) IS
'Makes the object of a manifest one that queries read. Returns what its series are, a hash and the shard; these are not loaded if they are among those known.';

CREATE FUNCTION prom._tier_forget_objects(server name, of uuid, there text[]) RETURNS int8
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lost	int8[];
BEGIN
	-- A listing may be stale: what it lacks is asked for by name.
	WITH unlisted AS MATERIALIZED (
		SELECT o.id, left(o.key, -length('data-0')) || 'manifest.json' AS manifest FROM prom.tier_object o
		WHERE o.server = _tier_forget_objects.server AND o.cluster = of AND o.read_only
			AND NOT EXISTS (SELECT FROM unnest(there) t WHERE t = left(o.key, -length('data-0')) || 'manifest.json')
	)
	SELECT array_agg(u.id) INTO lost FROM unlisted u WHERE NOT EXISTS (SELECT FROM prom._bucket_head(_tier_forget_objects.server, u.manifest));
	IF lost IS NULL THEN
		RETURN 0;
	END IF;
	DELETE FROM prom.tier_object o WHERE o.id = ANY (lost);
	PERFORM prom._tier_forget_series();
	PERFORM prom._remove_series(array_agg(s.shard), array_agg(s.sid)) FROM prom.tier_cluster c, prom.series s
	WHERE c.cluster = of AND s.shard IN (SELECT c.shards[i] FROM generate_series(2, cardinality(c.shards), 2) i)
		AND NOT EXISTS (SELECT FROM prom.tier_series t WHERE t.shard = s.shard AND t.block = s.sid >> 6 AND t.series >> (s.sid & 63) & 1 = 1)
	HAVING count(*) > 0;
	RETURN cardinality(lost);
END
$$;
COMMENT ON FUNCTION prom._tier_forget_objects(name, uuid, text[]) IS
'Objects of an attached bucket that are there no more, by their manifests, are not read from now on, and series that no others have are gone; how many objects.';

CREATE FUNCTION prom._tier_attached() RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	DELETE FROM prom.attached_level;
	INSERT INTO prom.attached_level (resolution, from_ms, until_ms)
	SELECT o.resolution, min(o.day), max(o.day) + 86400000 FROM prom.tier_object o WHERE o.read_only AND o.deleted IS NULL GROUP BY 1;
	DELETE FROM prom.attached_gap;
	-- Where there are rollups, retention may have left raw samples of some series only.
	INSERT INTO prom.attached_gap (resolution, from_ms, to_ms)
	SELECT w.resolution, lower(r), upper(r)
	FROM (SELECT w.resolution, range_agg(int8range(d.day, d.day + 86400000)) AS days
		FROM (SELECT o.shard, o.day, array_agg(DISTINCT o.resolution) AS there FROM prom.tier_object o WHERE o.read_only AND o.deleted IS NULL GROUP BY 1, 2) d
		JOIN (SELECT 0 AS resolution UNION SELECT unnest(prom._rollup_resolutions()) UNION SELECT l.resolution FROM prom.level l
			UNION SELECT a.resolution FROM prom.attached_level a) w ON w.resolution <> ALL (d.there) OR (w.resolution = 0 AND d.there <> '{0}')
		GROUP BY 1) w
	CROSS JOIN LATERAL unnest(w.days) r;
END;
COMMENT ON FUNCTION prom._tier_attached() IS
'Notes anew of which days there are which resolutions in buckets that are attached read-only, for queries. The caller holds a lock of prom.tier_cluster.';

CREATE FUNCTION prom.attach_bucket(server text, read_only bool DEFAULT true) RETURNS int8
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	of		text;
	key		text;
	known	prom.tier_cluster;
	map		int2[];
	one		int2;
	there	text[];
	loaded	text[] := '{}';
	n		int8 := 0;
BEGIN
	PERFORM prom._check_sees_all();
	LOCK TABLE prom.tier_cluster IN SHARE ROW EXCLUSIVE MODE;
	FOR of IN SELECT d.name FROM prom._bucket_list(server, 'promgres/v1/', NULL, '/') l, split_part(l.key, '/', 3) d (name)
		WHERE l.size = -1 AND d.name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
	LOOP
		SELECT c.* INTO known FROM prom.tier_cluster c WHERE c.cluster = of::uuid;
		map := known.shards;
		IF known.cluster IS NULL THEN
			IF NOT read_only AND (EXISTS (SELECT FROM prom.series) OR EXISTS (SELECT FROM prom.tier_cluster c WHERE c.own)) THEN
				RAISE object_not_in_prerequisite_state USING MESSAGE = format('bucket "%s" cannot become that of this database, which has samples of its own', server),
					HINT = 'Attach it read-only, or to an empty database.';
			END IF;
			map := '{}';
			INSERT INTO prom.tier_cluster (cluster, server, own, read_only) VALUES (of::uuid, server, NOT read_only, read_only) RETURNING * INTO known;
		END IF;
		SELECT coalesce(array_agg(l.key ORDER BY l.key), '{}') INTO there FROM prom._bucket_list(server, format('promgres/v1/%s/', of)) l WHERE l.key LIKE '%/manifest.json';
		-- By whatever name of a server one is known: under a second it would be read twice, and be deleted behind the back of the first.
		FOR key IN SELECT t FROM unnest(there) t
			WHERE NOT EXISTS (SELECT FROM prom.tier_object o WHERE o.key = left(t, -length('manifest.json')) || 'data-0')
		LOOP
			one := split_part(split_part(key, '/', 7), '-', CASE WHEN split_part(key, '/', 7) LIKE '-%' THEN 2 ELSE 1 END)::int2;
			IF array_position(map, one) IS NULL THEN
				-- Series keep their ids within a shard: their own one, or one that nobody has.
				map := map || one || CASE WHEN known.own THEN one
					ELSE (SELECT max(x) + 1 FROM (SELECT h.shard FROM prom.shard h UNION SELECT 0 UNION SELECT unnest(c.shards) FROM prom.tier_cluster c
						UNION SELECT unnest(map)) y (x))::int2 END;
				UPDATE prom.tier_cluster c SET shards = map WHERE c.cluster = known.cluster;
			END IF;
			loaded := array_append(loaded, prom._tier_attach_object(server, key, known.cluster, known.read_only, map, loaded));
			n := n + 1;
		END LOOP;
		PERFORM prom._tier_forget_objects(server, known.cluster, there);
		PERFORM prom._tier_register_series(s.shard) FROM (SELECT DISTINCT o.shard FROM prom.tier_object o WHERE o.cluster = known.cluster) s;
	END LOOP;
	PERFORM prom._tier_attached();
	-- Queries have to know that there are rollups: of a database that had none, those of the bucket.
	INSERT INTO prom.level (resolution, from_ms, until_ms)
	SELECT o.resolution, min(o.day), max(o.day) + 86400000 FROM prom.tier_object o WHERE o.resolution > 0 AND o.deleted IS NULL AND NOT o.read_only
		AND NOT EXISTS (SELECT FROM prom.level l WHERE l.resolution = o.resolution) GROUP BY 1;
	-- And that they stand for raw samples where these are gone.
	INSERT INTO prom.level (resolution, from_ms)
	SELECT 0, r.from_ms FROM (SELECT min(o.day) AS first, coalesce(min(o.day) FILTER (WHERE o.resolution = 0), max(o.day) + 86400000) AS from_ms
		FROM prom.tier_object o WHERE o.deleted IS NULL AND NOT o.read_only) r
	WHERE r.first < r.from_ms AND NOT EXISTS (SELECT FROM prom._parts() p WHERE p.resolution = 0 AND p.from_ms < r.from_ms)
	ON CONFLICT DO NOTHING;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom.attach_bucket(text, bool) IS
'Makes what promgres has stored in a bucket readable here, and returns how many objects are new; to be called again when there are more, or fewer: what has left the bucket is forgotten. Read-only: its series stand beside those of this database, and nothing is changed in the bucket. Otherwise this database, which must be empty, continues the one that wrote it.';

CREATE FUNCTION prom.detach_bucket(server text) RETURNS int8
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c		prom.tier_cluster;
	n		int8;
	total	int8 := 0;
BEGIN
	LOCK TABLE prom.tier_cluster IN SHARE ROW EXCLUSIVE MODE;
	FOR c IN SELECT x.* FROM prom.tier_cluster x WHERE x.server = detach_bucket.server LOOP
		IF c.own AND EXISTS (SELECT FROM prom.tier_object o WHERE o.cluster = c.cluster) THEN
			RAISE object_not_in_prerequisite_state USING MESSAGE = format('bucket "%s" holds samples of this database', server),
				HINT = 'Bring them back with prom.rehydrate, and wait until promgres.tier_delete_after is over.';
		END IF;
		DELETE FROM prom.tier_object o WHERE o.cluster = c.cluster;
		GET DIAGNOSTICS n = ROW_COUNT;
		total := total + n;
		IF NOT c.own THEN
			PERFORM prom._remove_series(array_agg(s.shard), array_agg(s.sid)) FROM prom.series s
			WHERE s.shard IN (SELECT c.shards[i] FROM generate_series(2, cardinality(c.shards), 2) i) HAVING count(*) > 0;
			DELETE FROM prom.tier_series t WHERE t.shard IN (SELECT c.shards[i] FROM generate_series(2, cardinality(c.shards), 2) i);
			DELETE FROM prom.shard h WHERE h.shard IN (SELECT c.shards[i] FROM generate_series(2, cardinality(c.shards), 2) i);
		END IF;
		DELETE FROM prom.tier_cluster x WHERE x.cluster = c.cluster;
	END LOOP;
	PERFORM prom._tier_attached();
	RETURN total;
END
$$;
COMMENT ON FUNCTION prom.detach_bucket(text) IS
'Forgets a bucket that was attached read-only, with its series; returns how many objects it had. Nothing is changed in the bucket.';

CREATE FUNCTION prom.verify_bucket(server text DEFAULT NULL, read_all bool DEFAULT false) RETURNS TABLE (object text, problem text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name	text := coalesce(server, nullif(current_setting('promgres.tier_server'), ''));
	o		prom.tier_object;
	there	record;
	m		jsonb;
	damage	text;
	prefix	text;
	seen	jsonb;
	size	jsonb;
BEGIN
	IF name IS NULL THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = 'there is no bucket to verify', HINT = 'Give the name of a server, or set promgres.tier_server.';
	END IF;
	SELECT coalesce(jsonb_object_agg(l.key, l.size), '{}') INTO seen FROM prom._bucket_list(name, 'promgres/v1/') l;
	FOR o IN SELECT x.* FROM prom.tier_object x WHERE x.server = name ORDER BY x.key LOOP
		prefix := left(o.key, -length('data-0'));
		object := o.key;
		damage := NULL;
		-- A listing may be of a moment ago: what is not in it is asked for by name.
		SELECT jsonb_object_agg(k, coalesce((seen ->> k)::int8, (SELECT h.size FROM prom._bucket_head(name, k) h))) INTO size
		FROM unnest(ARRAY[o.key, prefix || 'manifest.json', prefix || 'series']) k;
		IF size ->> o.key IS NULL THEN
			damage := 'it is missing';
		ELSIF (size -> o.key)::int8 <> o.bytes THEN
			damage := format('it has %s bytes instead of %s', size -> o.key, o.bytes);
		ELSIF o.manifest AND size ->> (prefix || 'manifest.json') IS NULL THEN
			damage := 'it has no manifest';
		ELSIF size ->> (prefix || 'series') IS NULL THEN
			damage := 'it has no series';
		ELSE
			BEGIN
				m := CASE WHEN o.manifest THEN prom._tier_manifest(name, prefix || 'manifest.json') END;
				IF m -> 'objects' -> 0 ->> 'sha256' <> encode(o.sha256, 'hex') THEN
					damage := 'its manifest is that of another object';
				ELSIF prom._tier_directory(name, o.key, o.etag, o.bytes) <> o.directory THEN
					damage := 'its directory is another one';
				ELSIF read_all AND sha256(prom._bucket_get(name, o.key)) <> o.sha256 THEN
					damage := 'its bytes are not those that were written';
				ELSIF read_all AND encode(sha256(prom._bucket_get(name, prefix || 'series')), 'hex') <> m -> 'series' ->> 'sha256' THEN
					damage := 'its series are not those that were written';
				END IF;
			EXCEPTION WHEN data_corrupted OR io_error OR undefined_file THEN
				damage := SQLERRM;
			END;
		END IF;
		problem := damage;
		IF problem IS NOT NULL THEN
			RETURN NEXT;
		END IF;
	END LOOP;
	-- What is there and not known, of this database's and of attached ones.
	RETURN QUERY SELECT k, 'nobody knows it' FROM jsonb_object_keys(seen) k
		JOIN prom.tier_cluster c ON c.server = name AND c.cluster::text = split_part(k, '/', 3)
	WHERE NOT EXISTS (SELECT FROM prom.tier_object x WHERE x.server = name AND starts_with(x.key, regexp_replace(k, '[^/]*$', '')))
		AND NOT EXISTS (SELECT FROM prom.tier_upload x WHERE x.server = name AND starts_with(x.key, regexp_replace(k, '[^/]*$', '')))
	ORDER BY 1;
	RETURN QUERY SELECT DISTINCT p.key, 'an upload of it is left over, that nobody knows' FROM prom.tier_cluster c, prom._bucket_uploads(name, format('promgres/v1/%s/', c.cluster)) p
	WHERE c.server = name AND c.own
		AND NOT EXISTS (SELECT FROM prom.tier_upload x WHERE x.server = name AND x.key = p.key AND coalesce(x.upload, p.id) = p.id)
	ORDER BY 1;
END
$$;
COMMENT ON FUNCTION prom.verify_bucket(text, bool) IS
'Compares the objects of a bucket (NULL: that of promgres.tier_server) with what is known of them, both ways; a row for each that is wrong. With read_all every byte is read.';

-- ---- servers that go

-- Nothing is lost with a server but its options, and pg_restore --clean drops it to make it anew: so it is not refused, but told.
CREATE FUNCTION prom._tell_lost_servers() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lost	record;
BEGIN
	FOR lost IN
		SELECT o.server, count(*) AS objects FROM (SELECT x.server FROM prom.tier_object x UNION ALL SELECT u.server FROM prom.tier_upload u) o
		WHERE NOT EXISTS (SELECT FROM pg_foreign_server f WHERE f.srvname = o.server)
		GROUP BY 1 ORDER BY 1
	LOOP
		RAISE WARNING 'samples in the bucket of server "%" cannot be read: there is no such server any more', lost.server
			USING DETAIL = format('Objects that are found by its name: %s.', lost.objects),
				HINT = format('Use CREATE SERVER %I FOREIGN DATA WRAPPER promgres_s3 to make it anew. Before a server goes for good: prom.rehydrate brings samples back, prom.detach_bucket forgets those of an attached bucket.', lost.server);
	END LOOP;
END
$$;
COMMENT ON FUNCTION prom._tell_lost_servers() IS 'after a command that may have taken a server away, or its name: warns if there are objects of samples in its bucket';

CREATE EVENT TRIGGER promgres_servers ON ddl_command_end
	WHEN TAG IN ('DROP SERVER', 'ALTER SERVER', 'DROP OWNED')
	EXECUTE FUNCTION prom._tell_lost_servers();
COMMENT ON EVENT TRIGGER promgres_servers IS 'warns when the server of a bucket with samples goes';

REVOKE ALL ON FUNCTION prom._tell_lost_servers() FROM PUBLIC;

-- 69_tier_bucket: a bucket on its own: found again by another database, compared with what is known of it.

CREATE FUNCTION prom._tier_manifest(key text, body bytea) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	m		jsonb;
	d		jsonb;
	place	text;
	whole	bool;
BEGIN
	BEGIN
		m := convert_from(body, 'UTF8')::jsonb;
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
	d := m -> 'objects' -> 0;
	BEGIN
		place := prom._tier_prefix((m ->> 'cluster')::uuid, (m -> 'resolution')::int4, (m -> 'day')::int8, (m -> 'shard')::int2) || (m -> 'seq')::int8;
		whole := num_nulls((d -> 'bytes')::int8, (d -> 'chunks')::int4, (d -> 'samples')::int8, (d -> 'series')::int4, (d -> 't_min')::int8, (d -> 't_max')::int8,
				(d -> 'block_min')::int4, (d -> 'block_max')::int4, (m -> 'series' -> 'bytes')::int8) = 0
			AND (m -> 'day')::int8 % 86400000 = 0 AND d ->> 'sha256' ~ '^[0-9a-f]{64}$' AND jsonb_typeof(m -> 'series' -> 'sha256') = 'string'
			-- These are the names that version 1 has, and one object is all that there is.
			AND d ->> 'name' = 'data-0' AND m -> 'series' ->> 'name' = 'series' AND jsonb_array_length(m -> 'objects') = 1;
	EXCEPTION WHEN invalid_text_representation OR invalid_parameter_value OR numeric_value_out_of_range OR datetime_field_overflow OR interval_field_overflow THEN
		RAISE data_corrupted USING MESSAGE = format('manifest "%s" is not understood', key), DETAIL = format('Something in it is of a wrong type: %s.', SQLERRM);
	END;
	IF whole IS DISTINCT FROM true OR place IS NULL THEN
		RAISE data_corrupted USING MESSAGE = format('manifest "%s" is not understood', key), DETAIL = 'A name, a day, a size or a hash in it is none.';
	END IF;
	-- One that was written anew has the time behind its seq.
	IF NOT (starts_with(key, place || '/') OR starts_with(key, place || '-')) THEN
		RAISE data_corrupted USING MESSAGE = format('manifest "%s" is not where it belongs', key), DETAIL = format('Keys of what it tells of begin with %s.', place);
	END IF;
	RETURN m;
END
$$;
COMMENT ON FUNCTION prom._tier_manifest(text, bytea) IS 'A manifest of a bucket, checked.';

CREATE FUNCTION prom._tier_load_series(key text, packed bytea, hash text, one int2) RETURNS int8
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	other	int4;
	n		int8;
BEGIN
	IF packed IS NULL OR encode(sha256(packed), 'hex') <> hash THEN
		RAISE data_corrupted USING MESSAGE = format('object "%s" is not what its manifest says', key),
			DETAIL = CASE WHEN packed IS NULL THEN 'It is missing.' ELSE 'Its bytes are others.' END;
	END IF;
	WITH there AS MATERIALIZED (
		SELECT l.sid, l.labels, (SELECT s.labels FROM prom.series s WHERE s.shard = one AND s.sid = l.sid) AS here
		FROM (SELECT (x.j -> 0)::int4 AS sid, (x.j -> 1)::prom.labels AS labels FROM (SELECT l::jsonb AS j FROM prom._tier_lines(packed) l OFFSET 0) x OFFSET 0) l
	), made AS (
		INSERT INTO prom.series (shard, sid, labels) SELECT one, t.sid, t.labels FROM there t WHERE t.here IS NULL RETURNING 1
	)
	SELECT (SELECT count(*) FROM made), (SELECT min(t.sid) FROM there t WHERE t.here::text <> t.labels::text)
	INTO n, other;
	IF other IS NOT NULL THEN
		RAISE unique_violation USING MESSAGE = format('series %s of shard %s is another one here than in object "%s"', other, one, key),
			HINT = 'The bucket and this database have gone separate ways.';
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION prom._tier_load_series(text, bytea, text, int2) IS
'Makes the series that an object of labels tells of, with their ids, if it has this SHA-256; returns how many were not there.';

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

CREATE FUNCTION prom._tier_shard(shards int2[], there int2) RETURNS int2
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN (SELECT shards[i + 1] FROM generate_series(1, cardinality(shards), 2) i WHERE shards[i] = there);
COMMENT ON FUNCTION prom._tier_shard(int2[], int2) IS 'Which shard one of a bucket is here, by pairs as prom.tier_cluster has them; NULL if it is none yet.';

CREATE FUNCTION prom._tier_attach_objects(server name, manifests text[], of uuid, readonly bool, shards int2[], known text[], OUT series text[], OUT attached int8) RETURNS record
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	keys	text[];
	m		jsonb[];
	data	text[];
	sizes	int8[];
	guesses	int4[];
	ids		int8[];
	lost	text;
	w		record;
BEGIN
	-- A listing may be stale: what has left the bucket meanwhile is none of it.
	SELECT array_agg(left(manifests[g.n], -length('manifest.json')) ORDER BY g.n), array_agg(prom._tier_manifest(manifests[g.n], g.body) ORDER BY g.n) INTO keys, m
	FROM prom._tier_get_many(server, manifests, array_fill(65536::int8, ARRAY[cardinality(manifests)])) g WHERE g.body IS NOT NULL;
	IF keys IS NULL THEN
		series := known;
		attached := 0;
		RETURN;
	END IF;
	SELECT array_agg(keys[i] || (m[i] -> 'objects' -> 0 ->> 'name') ORDER BY i), array_agg((m[i] -> 'objects' -> 0 -> 'bytes')::int8 ORDER BY i),
		array_agg((m[i] -> 'objects' -> 0 -> 'chunks')::int4 ORDER BY i) INTO data, sizes, guesses FROM generate_series(1, cardinality(m)) i;
	WITH made AS (
		INSERT INTO prom.tier_object (id, server, key, cluster, resolution, shard, day, seq, t_min, t_max, block_min, block_max, chunks, samples, series,
			bytes, etag, sha256, directory, read_only, uploaded)
		SELECT nextval('prom.tier_object_id'), _tier_attach_objects.server, data[h.n], of, (o.j -> 'resolution')::int4,
			prom._tier_shard(shards, (o.j -> 'shard')::int2), (o.j -> 'day')::int8, (o.j -> 'seq')::int8, (o.d -> 't_min')::int8, (o.d -> 't_max')::int8,
			(o.d -> 'block_min')::int4, (o.d -> 'block_max')::int4, guesses[h.n], (o.d -> 'samples')::int8, (o.d -> 'series')::int4,
			sizes[h.n], h.etag, decode(o.d ->> 'sha256', 'hex'), h.directory, readonly, h.modified
		FROM prom._tier_directories(_tier_attach_objects.server, data, array_fill(NULL::text, ARRAY[cardinality(data)]), sizes, guesses) h
		CROSS JOIN LATERAL (SELECT m[h.n] AS j, m[h.n] -> 'objects' -> 0 AS d OFFSET 0) o
		WHERE h.directory IS NOT NULL
		RETURNING prom.tier_object.id
	)
	SELECT coalesce(array_agg(made.id), '{}') INTO ids FROM made;
	-- Day after day they are the same, and then not asked for again.
	SELECT array_agg(x.key) AS key, array_agg(x.bytes) AS bytes, array_agg(x.hash) AS hash, array_agg(x.shard) AS shard, array_agg(x.hash || x.shard) AS name INTO w
	FROM (SELECT DISTINCT ON (s ->> 'sha256', o.shard) keys[i] || (s ->> 'name') AS key, (s -> 'bytes')::int8 AS bytes, s ->> 'sha256' AS hash, o.shard
		FROM generate_series(1, cardinality(m)) i, LATERAL (SELECT m[i] -> 'series') l (s), prom.tier_object o
		WHERE o.id = ANY (ids) AND o.key = data[i] ORDER BY s ->> 'sha256', o.shard) x
	WHERE NOT EXISTS (SELECT FROM unnest(known) k WHERE k = x.hash || x.shard);
	PERFORM prom._tier_load_series(w.key[g.n], g.body, w.hash[g.n], w.shard[g.n]) FROM prom._tier_get_many(server, w.key, w.bytes) g;
	PERFORM prom._tier_add_series(ids);
	-- An object goes from the bucket after its manifest.
	FOR lost IN SELECT d FROM unnest(data) d EXCEPT SELECT o.key FROM prom.tier_object o WHERE o.id = ANY (ids) LOOP
		IF EXISTS (SELECT FROM prom._bucket_head(server, regexp_replace(lost, '[^/]*$', 'manifest.json'))) THEN
			RAISE data_corrupted USING MESSAGE = format('object "%s" of bucket "%s" is not what its manifest says', lost, server), DETAIL = 'It is missing.';
		END IF;
	END LOOP;
	series := known || w.name;
	attached := cardinality(ids);
END
$$;
COMMENT ON FUNCTION prom._tier_attach_objects(name, text[], uuid, bool, int2[], text[]) IS
'Makes the objects of some manifests ones that queries read; returns how many. Objects of labels, each named by a hash and the shard, are not loaded if they are among those known: returns these and the new ones.';

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
	SELECT array_agg(a.ids[g.n]) INTO lost FROM (SELECT array_agg(u.id) AS ids, array_agg(u.manifest) AS manifests, array_agg(65536::int8) AS bytes FROM unlisted u) a,
		LATERAL prom._tier_get_many(_tier_forget_objects.server, a.manifests, a.bytes) g WHERE g.body IS NULL;
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
	known	prom.tier_cluster;
	map		int2[];
	one		int2;
	there	text[];
	fresh	text[];
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
		IF known.read_only AND NOT read_only AND NOT EXISTS (SELECT FROM prom.tier_cluster c WHERE c.own) THEN
			RAISE object_not_in_prerequisite_state USING MESSAGE = format('bucket "%s" is attached read-only', server),
				HINT = format('Use SELECT prom.detach_bucket(%L) first.', known.server);
		END IF;
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
		SELECT coalesce(array_agg(t ORDER BY t), '{}') INTO fresh FROM unnest(there) t
		WHERE NOT EXISTS (SELECT FROM prom.tier_object o WHERE o.key = left(t, -length('manifest.json')) || 'data-0');
		FOR one IN SELECT DISTINCT (regexp_match(split_part(t, '/', 7), '^-?\d+'))[1]::int2 FROM unnest(fresh) t
			WHERE split_part(t, '/', 7) ~ '^-?\d+-' ORDER BY 1
		LOOP
			CONTINUE WHEN prom._tier_shard(map, one) IS NOT NULL;
			-- Series keep their ids within a shard: their own one, or one that nobody has.
			map := map || one || CASE WHEN known.own THEN one
				ELSE (SELECT max(x) + 1 FROM (SELECT h.shard FROM prom.shard h UNION SELECT 0 UNION SELECT unnest(c.shards) FROM prom.tier_cluster c
					UNION SELECT unnest(map)) y (x))::int2 END;
			UPDATE prom.tier_cluster c SET shards = map WHERE c.cluster = known.cluster;
		END LOOP;
		-- What is in memory at a time are manifests and names of so many.
		FOR i IN 1 .. cardinality(fresh) BY 500 LOOP
			SELECT a.series, n + a.attached INTO loaded, n FROM prom._tier_attach_objects(server, fresh[i:i + 499], known.cluster, known.read_only, map, loaded) a;
			IF cardinality(fresh) > 500 THEN
				RAISE NOTICE 'bucket "%": % of % new objects', server, least(i + 499, cardinality(fresh)), cardinality(fresh);
			END IF;
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
	-- Last: if anything fails, the owner is who it was.
	IF NOT read_only THEN
		PERFORM prom._tier_own(c.server, c.cluster, gen_random_uuid()) FROM prom.tier_cluster c WHERE c.own AND c.server = attach_bucket.server;
	END IF;
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
				m := CASE WHEN o.manifest THEN prom._tier_manifest(prefix || 'manifest.json', coalesce(prom._bucket_get(name, prefix || 'manifest.json'), '')) END;
				IF m -> 'objects' -> 0 ->> 'sha256' <> encode(o.sha256, 'hex') THEN
					damage := 'its manifest is that of another object';
				ELSIF (SELECT d.directory FROM prom._tier_directories(name, ARRAY[o.key], ARRAY[o.etag], ARRAY[o.bytes], ARRAY[o.chunks]) d) IS DISTINCT FROM o.directory THEN
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

-- 44_slack: files that got empty inside are made smaller.
--
-- Whoever takes much out of a table (retention by selector, prom.delete_series, the collection of series, the
-- compaction of a day) notes how much.  The maintenance worker vacuums it then, moves the rows at the end of its file, and
-- those whose chunks are at the end of the TOAST table, to where there is room in front, vacuums it again, which gives the
-- end back, and rebuilds indexes that got loose.  Nobody waits for that: rows are deleted and inserted again, some at a
-- time, under the locks of those who write samples, which readers do not take.
--
-- Of prom.series and prom.label_value the room is filled again by new series, and then there is nothing to move.  But new
-- ids go to the end of the primary key and leave its pages behind half empty, and a GIN index never forgets a key: so
-- indexes are looked at all the same.

CREATE TABLE prom.slack (
	part		regclass PRIMARY KEY,
	freed		int8 NOT NULL,
	since		timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	tries		int4 NOT NULL DEFAULT 0,
	next_page	int4,
	last_page	int4,
	last_toast	int4
) WITH (fillfactor = 50);
COMMENT ON TABLE prom.slack IS 'Tables, most of them partitions, out of which much was taken, whose files are to become smaller. Not part of a dump.';
COMMENT ON COLUMN prom.slack.freed IS 'about so many bytes';
COMMENT ON COLUMN prom.slack.since IS 'when the first of them were; or when to try again, less promgres.compact_delay, unless only indexes are left to do';
COMMENT ON COLUMN prom.slack.tries IS 'how often the space was not to be had, because of an old snapshot, or an error';
COMMENT ON COLUMN prom.slack.next_page IS 'rows in pages before this are still to be looked at; NULL: it has not begun, 0: all have been moved';
COMMENT ON COLUMN prom.slack.last_page IS 'where the file is to end';
COMMENT ON COLUMN prom.slack.last_toast IS 'where that of the TOAST table is to end';

CREATE FUNCTION prom._pages(part regclass, OUT pages int4, OUT free int8, OUT toast_pages int4, OUT toast_free int8)
LANGUAGE C VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_pages';
COMMENT ON FUNCTION prom._pages(regclass) IS
'The pages of a table and of its TOAST table, and how many bytes of them are free, as the last vacuum has noted it, and not too few for a row.';

CREATE FUNCTION prom._offer_pages(part regclass, page int4, toast_page int4, offered bool) RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_offer_pages';
COMMENT ON FUNCTION prom._offer_pages(regclass, int4, int4, bool) IS
'Offers the room in pages of a table from this one on, and of its TOAST table, to whoever writes rows, or does so no longer.';

CREATE FUNCTION prom._index_free(index regclass) RETURNS int8
LANGUAGE C VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_index_free';
COMMENT ON FUNCTION prom._index_free(regclass) IS 'How many bytes of the pages of an index hold no entries.';

CREATE FUNCTION prom._has_dead_rows(rel regclass) RETURNS bool
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT coalesce(bool_or(pg_stat_get_dead_tuples(u.oid) * 32 > pg_stat_get_live_tuples(u.oid)), false)
	FROM pg_class c, unnest(ARRAY[c.oid, c.reltoastrelid]) AS u(oid) WHERE c.oid = rel AND u.oid <> 0;
END;
COMMENT ON FUNCTION prom._has_dead_rows(regclass) IS
'Did the last vacuum of a table or of its TOAST table leave rows that are gone (not just a few), because an old snapshot sees them?';

CREATE FUNCTION prom._lies_behind(data prom.chunk, page int4) RETURNS bool
LANGUAGE C VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_lies_behind';
COMMENT ON FUNCTION prom._lies_behind(prom.chunk, int4) IS
'True of a column if it is kept in a TOAST table, some of it in this page or behind it.';

CREATE FUNCTION prom._taken(data prom.chunk, samples int4, rest prom.chunk) RETURNS int8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN ceil(pg_column_size(data) * (1 - coalesce((prom.chunk_info(rest)).samples, 0)::float8 / samples));
COMMENT ON FUNCTION prom._taken(prom.chunk, int4, prom.chunk) IS
'About how many bytes of a stored chunk of so many samples are not needed any more; by samples, as the rest is not compressed yet.';

CREATE FUNCTION prom._slack_add(parts regclass[], bytes int8[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO prom.slack AS k (part, freed)
	SELECT u.part, sum(u.bytes) FROM ROWS FROM (unnest(parts), unnest(bytes)) AS u(part, bytes)
	WHERE u.bytes > 0 GROUP BY 1 ORDER BY 1
	ON CONFLICT ON CONSTRAINT slack_pkey DO UPDATE SET freed = k.freed + excluded.freed, tries = 0;
END;
COMMENT ON FUNCTION prom._slack_add(regclass[], int8[]) IS
'Notes that so much was taken out of these tables. To be called after all locks of merges that a transaction takes.';

CREATE FUNCTION prom._slack_next(delay_s int4, OUT work text, OUT part text)
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- An eighth is worth it.  A day that is being compacted gets small that way.
	SELECT CASE WHEN k.next_page IS NULL THEN 'begin' WHEN k.next_page = 0 THEN 'end' ELSE 'go on' END, k.part::text
	FROM prom.slack k JOIN pg_class c ON c.oid = k.part
	WHERE (k.next_page IS NOT NULL AND k.since < clock_timestamp())
		OR (k.next_page IS NULL AND k.since < clock_timestamp() - make_interval(secs => delay_s) AND k.freed >= 65536 AND k.freed * 8 > pg_total_relation_size(k.part)
			AND NOT EXISTS (SELECT FROM prom._days() d JOIN prom.compaction m ON m.day = d.t_min
				WHERE d.day = k.part AND m.next_block IS DISTINCT FROM 0))
	ORDER BY k.next_page IS NULL, k.since LIMIT 1;
END;
COMMENT ON FUNCTION prom._slack_next(int4) IS
'What the maintenance worker is to do with a table: vacuum it and begin to move rows, go on, or vacuum it for the end; so many seconds after much was taken out of it.';

CREATE FUNCTION prom._room(rel regclass) RETURNS int8
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE WHEN prom._has_dead_rows(rel) THEN pg_total_relation_size(rel) ELSE p.free + p.toast_free END FROM prom._pages(rel) p;
END;
COMMENT ON FUNCTION prom._room(regclass) IS
'How many bytes of a table and its TOAST table are free after a vacuum; all, if an old snapshot has kept rows, as it is not known how much they are.';

CREATE FUNCTION prom._slack_retry(rel regclass) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF EXISTS (SELECT FROM prom.slack k WHERE k.part = rel AND k.tries >= 10) THEN
		BEGIN
			PERFORM prom._offer_pages(rel, k.last_page, k.last_toast, true) FROM prom.slack k WHERE k.part = rel;
		EXCEPTION WHEN OTHERS THEN
			-- A damaged page is one that nobody can write to.
			RAISE LOG USING MESSAGE = format('room in "%s" is not offered: %s', rel, SQLERRM);
		END;
		DELETE FROM prom.slack k WHERE k.part = rel;
		RETURN;
	END IF;
	UPDATE prom.slack k SET tries = k.tries + 1, next_page = NULL, since = clock_timestamp() + interval '10 seconds' * 2 ^ k.tries,
		freed = greatest(k.freed, (SELECT prom._room(rel) + coalesce(p.pages - k.last_page + coalesce(p.toast_pages - k.last_toast, 0), 0) * 8192::int8
			FROM prom._pages(rel) p))
	WHERE k.part = rel;
END
$$;
COMMENT ON FUNCTION prom._slack_retry(regclass) IS 'The space was not to be had, or there was an error: later, but not for ever.';

CREATE FUNCTION prom._slack_begin(rel regclass) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	size	record;
	loose	bool;
BEGIN
	PERFORM prom._offer_pages(rel, k.last_page, k.last_toast, true) FROM prom.slack k WHERE k.part = rel;
	SELECT * INTO size FROM prom._pages(rel) p;
	-- Having come so far, it is worth it for less.
	loose := (size.free + size.toast_free) * 16 >= (size.pages + size.toast_pages) * 8160::int8;
	IF NOT loose AND prom._has_dead_rows(rel) THEN
		PERFORM prom._slack_retry(rel);
		RETURN;
	END IF;
	-- Not all room can be filled.  What has been filled already is not to be had: the indexes are next.
	UPDATE prom.slack k SET freed = 0, since = clock_timestamp(), next_page = CASE WHEN loose THEN size.pages ELSE 0 END,
		last_page = size.pages - floor(size.free * 0.95 / 8160), last_toast = size.toast_pages - floor(size.toast_free * 0.95 / 8160)
	WHERE k.part = rel;
END
$$;
COMMENT ON FUNCTION prom._slack_begin(regclass) IS 'The table has been vacuumed: sets where its files are to end.';

CREATE FUNCTION prom._slack_hold(rel regclass) RETURNS void
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT prom._offer_pages(rel, k.last_page, k.last_toast, false) FROM prom.slack k WHERE k.part = rel AND k.next_page > 0;
END;
COMMENT ON FUNCTION prom._slack_hold(regclass) IS
'Rows that are moved are not to come to lie behind the end to be again. In a transaction after that which has set it: what happens to free space maps is not undone, and somebody has to know of it.';

CREATE FUNCTION prom._slack_step(rel regclass) RETURNS bool
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mark	prom.slack;
	first	int4;
	chunks	bool := EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = rel AND a.atttypid = 'prom.chunk'::regtype);
BEGIN
	-- Nobody changes samples, or looks for what is to be deleted, meanwhile.
	PERFORM prom._lock_rollup();
	PERFORM prom._lock_merge(h.shard) FROM (SELECT s.shard FROM prom.shard s ORDER BY 1) h;
	-- Whoever removes series would not find a row that is moved under his eyes.
	LOCK TABLE prom.shard IN ROW EXCLUSIVE MODE;
	SELECT k.* INTO mark FROM prom.slack k WHERE k.part = rel;
	IF coalesce(mark.next_page, 0) = 0 THEN
		RETURN false;
	END IF;
	-- Pages with 4 MB of rows and their chunks, about.
	SELECT greatest(mark.next_page - greatest(512 * s.rows / greatest(s.rows + s.beside, 1), 1), 0) INTO first
	FROM (SELECT pg_relation_size(c.oid) AS rows, coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0) AS beside FROM pg_class c WHERE c.oid = rel) s;
	IF NOT chunks AND first <= mark.last_page THEN
		first := 0;
	END IF;
	EXECUTE format('WITH gone AS (DELETE FROM %1$s r WHERE r.ctid >= %2$L AND r.ctid < %3$L AND (r.ctid >= %4$L %5$s) RETURNING r.*)
		INSERT INTO %1$s SELECT g.* FROM gone g', rel, format('(%s,0)', first), format('(%s,0)', mark.next_page), format('(%s,0)', mark.last_page),
		CASE WHEN chunks THEN format('OR prom._lies_behind(r.data, %s)', mark.last_toast) END);
	UPDATE prom.slack k SET next_page = first WHERE k.part = rel;
	RETURN first > 0;
END
$$;
COMMENT ON FUNCTION prom._slack_step(regclass) IS
'Moves rows of some pages of a table, if they or what they keep beside it are at the end of its files; true if there is more to do.';

CREATE FUNCTION prom._reindex(part regclass, every bool) RETURNS SETOF text
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE ROWS 1
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- A B-tree of keys that come in no order, as hashes do, is a third empty.  Made dense, all of its pages would be cut in
	-- halves by the next keys.  What a GIN index could forget does not show.
	-- (Half made by others, that is of no such name: maybe they are at it.)
	SELECT CASE WHEN i.indisvalid THEN 'REINDEX' ELSE 'DROP' END || ' INDEX CONCURRENTLY ' || i.indexrelid::regclass
	FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
	WHERE i.indrelid = part AND CASE WHEN NOT i.indisvalid THEN c.relname ~ '_cc(new|old)[0-9]*$' ELSE pg_relation_size(c.oid) > 65536
		AND CASE WHEN m.amname = 'btree' THEN prom._index_free(c.oid) * 2.5 > pg_relation_size(c.oid) ELSE every END END
	ORDER BY i.indisvalid, c.oid;
END;
COMMENT ON FUNCTION prom._reindex(regclass, bool) IS
'What makes indexes of a table smaller, those of which two fifths are free, and (every) those of which this cannot be told; and removes what was left when this could not be done.';

CREATE FUNCTION prom._slack_end(rel regclass) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	size	record;
BEGIN
	PERFORM prom._offer_pages(rel, k.last_page, k.last_toast, true) FROM prom.slack k WHERE k.part = rel;
	UPDATE prom.slack k SET last_page = NULL, last_toast = NULL WHERE k.part = rel;
	SELECT p.*, (p.free + p.toast_free) * 8 >= (p.pages + p.toast_pages) * 8160::int8 AS loose INTO size FROM prom._pages(rel) p;
	IF (size.loose OR prom._has_dead_rows(rel)) AND (size.pages + size.toast_pages) * 8192::int8 > 65536 THEN
		PERFORM prom._slack_retry(rel);
		RETURN;
	END IF;
	IF EXISTS (SELECT FROM prom._reindex(rel, false)) THEN
		-- What is half made costs whoever writes, and is not forgotten.
		UPDATE prom.slack k SET tries = k.tries + 1, since = clock_timestamp() + interval '10 seconds' * 2 ^ least(k.tries, 10)
		WHERE k.part = rel AND (k.tries < 10 OR EXISTS (SELECT FROM prom._reindex(rel, false) d WHERE d LIKE 'DROP%'));
		IF FOUND THEN
			RETURN;
		END IF;
	END IF;
	DELETE FROM prom.slack k WHERE k.part = rel AND k.freed = 0;
	UPDATE prom.slack k SET next_page = NULL WHERE k.part = rel;
END
$$;
COMMENT ON FUNCTION prom._slack_end(regclass) IS
'The table has been vacuumed again and its indexes rebuilt: removes its mark, or sets it back if the space is still there.';

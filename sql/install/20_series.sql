-- 20_series: who a series is.

DO $$
BEGIN
	IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
		RAISE EXCEPTION 'promgres needs a database with encoding UTF8'
			USING ERRCODE = 'feature_not_supported',
				  HINT = 'Create one with CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0 and name it in promgres.database.';
	END IF;
END
$$;

-- The type of label sets.

CREATE TYPE prom.labels;

CREATE FUNCTION prom.labels_in(cstring) RETURNS prom.labels
	AS 'MODULE_PATHNAME', 'prom_labels_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_in(cstring) IS 'input';

CREATE FUNCTION prom.labels_out(prom.labels) RETURNS cstring
	AS 'MODULE_PATHNAME', 'prom_labels_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_out(prom.labels) IS 'output';

CREATE FUNCTION prom.labels_recv(internal) RETURNS prom.labels
	AS 'MODULE_PATHNAME', 'prom_labels_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_recv(internal) IS 'binary input';

CREATE FUNCTION prom.labels_send(prom.labels) RETURNS bytea
	AS 'MODULE_PATHNAME', 'prom_labels_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_send(prom.labels) IS 'binary output';

CREATE FUNCTION prom.labels_subscript(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_labels_subscript' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_subscript(internal) IS 'subscripts: labels[''job''] is the value of a label';

CREATE TYPE prom.labels (
	INPUT = prom.labels_in,
	OUTPUT = prom.labels_out,
	RECEIVE = prom.labels_recv,
	SEND = prom.labels_send,
	SUBSCRIPT = prom.labels_subscript,
	STORAGE = main
);
COMMENT ON TYPE prom.labels IS 'set of Prometheus labels, the metric name included as __name__';

CREATE FUNCTION prom.labels(jsonb) RETURNS prom.labels
	AS 'MODULE_PATHNAME', 'prom_labels_from_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels(jsonb) IS 'label set of a JSON object of strings';

CREATE FUNCTION prom.labels_to_jsonb(prom.labels) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'prom_labels_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_to_jsonb(prom.labels) IS 'label set as a JSON object';

CREATE CAST (jsonb AS prom.labels) WITH FUNCTION prom.labels(jsonb);
CREATE CAST (prom.labels AS jsonb) WITH FUNCTION prom.labels_to_jsonb(prom.labels);

CREATE FUNCTION prom.label(labels prom.labels, name text) RETURNS text
	AS 'MODULE_PATHNAME', 'prom_label' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.label(prom.labels, text) IS 'value of a label, NULL if the set has none of that name';

CREATE OPERATOR prom.->> (LEFTARG = prom.labels, RIGHTARG = text, FUNCTION = prom.label);
COMMENT ON OPERATOR prom.->> (prom.labels, text) IS 'value of a label';

-- Comparison: name, value, name, ... bytewise, as Prometheus orders series.

CREATE FUNCTION prom.labels_eq(prom.labels, prom.labels) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_labels_eq' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_eq(prom.labels, prom.labels) IS 'implementation of = operator';

CREATE FUNCTION prom.labels_ne(prom.labels, prom.labels) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_labels_ne' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_ne(prom.labels, prom.labels) IS 'implementation of <> operator';

CREATE FUNCTION prom.labels_lt(prom.labels, prom.labels) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_labels_lt' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_lt(prom.labels, prom.labels) IS 'implementation of < operator';

CREATE FUNCTION prom.labels_le(prom.labels, prom.labels) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_labels_le' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_le(prom.labels, prom.labels) IS 'implementation of <= operator';

CREATE FUNCTION prom.labels_gt(prom.labels, prom.labels) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_labels_gt' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_gt(prom.labels, prom.labels) IS 'implementation of > operator';

CREATE FUNCTION prom.labels_ge(prom.labels, prom.labels) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_labels_ge' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_ge(prom.labels, prom.labels) IS 'implementation of >= operator';

CREATE FUNCTION prom.labels_compare(prom.labels, prom.labels) RETURNS int4
	AS 'MODULE_PATHNAME', 'prom_labels_compare' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_compare(prom.labels, prom.labels) IS 'less-equal-greater';

CREATE FUNCTION prom._labels_sortsupport(internal) RETURNS void
	AS 'MODULE_PATHNAME', 'prom_labels_sortsupport' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION prom._labels_sortsupport(internal) IS 'comparisons of a sort without the way through SQL';

CREATE FUNCTION prom.labels_hash4(prom.labels) RETURNS int4
	AS 'MODULE_PATHNAME', 'prom_labels_hash4' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_hash4(prom.labels) IS 'hash';

CREATE FUNCTION prom.labels_hash8(prom.labels, int8) RETURNS int8
	AS 'MODULE_PATHNAME', 'prom_labels_hash8' LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION prom.labels_hash8(prom.labels, int8) IS 'hash with a seed';

CREATE OPERATOR prom.= (
	LEFTARG = prom.labels, RIGHTARG = prom.labels, FUNCTION = prom.labels_eq,
	COMMUTATOR = OPERATOR(prom.=), NEGATOR = OPERATOR(prom.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR prom.= (prom.labels, prom.labels) IS 'equal';

CREATE OPERATOR prom.<> (
	LEFTARG = prom.labels, RIGHTARG = prom.labels, FUNCTION = prom.labels_ne,
	COMMUTATOR = OPERATOR(prom.<>), NEGATOR = OPERATOR(prom.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR prom.<> (prom.labels, prom.labels) IS 'not equal';

CREATE OPERATOR prom.< (
	LEFTARG = prom.labels, RIGHTARG = prom.labels, FUNCTION = prom.labels_lt,
	COMMUTATOR = OPERATOR(prom.>), NEGATOR = OPERATOR(prom.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR prom.< (prom.labels, prom.labels) IS 'less than';

CREATE OPERATOR prom.<= (
	LEFTARG = prom.labels, RIGHTARG = prom.labels, FUNCTION = prom.labels_le,
	COMMUTATOR = OPERATOR(prom.>=), NEGATOR = OPERATOR(prom.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR prom.<= (prom.labels, prom.labels) IS 'less than or equal';

CREATE OPERATOR prom.> (
	LEFTARG = prom.labels, RIGHTARG = prom.labels, FUNCTION = prom.labels_gt,
	COMMUTATOR = OPERATOR(prom.<), NEGATOR = OPERATOR(prom.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR prom.> (prom.labels, prom.labels) IS 'greater than';

CREATE OPERATOR prom.>= (
	LEFTARG = prom.labels, RIGHTARG = prom.labels, FUNCTION = prom.labels_ge,
	COMMUTATOR = OPERATOR(prom.<=), NEGATOR = OPERATOR(prom.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR prom.>= (prom.labels, prom.labels) IS 'greater than or equal';

CREATE OPERATOR CLASS prom.labels_btree DEFAULT FOR TYPE prom.labels USING btree AS
	OPERATOR 1 prom.<,
	OPERATOR 2 prom.<=,
	OPERATOR 3 prom.=,
	OPERATOR 4 prom.>=,
	OPERATOR 5 prom.>,
	FUNCTION 1 prom.labels_compare(prom.labels, prom.labels),
	FUNCTION 2 prom._labels_sortsupport(internal);
COMMENT ON OPERATOR CLASS prom.labels_btree USING btree IS 'label sets in the order of their pairs';

CREATE OPERATOR CLASS prom.labels_hash DEFAULT FOR TYPE prom.labels USING hash AS
	OPERATOR 1 prom.=,
	FUNCTION 1 prom.labels_hash4(prom.labels),
	FUNCTION 2 prom.labels_hash8(prom.labels, int8);
COMMENT ON OPERATOR CLASS prom.labels_hash USING hash IS 'label sets by hash';

-- What translated queries call.

CREATE FUNCTION prom._labels_keep(labels prom.labels, names text[]) RETURNS prom.labels
	AS 'MODULE_PATHNAME', 'prom_labels_keep' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._labels_keep(prom.labels, text[]) IS 'only the labels of these names';

CREATE FUNCTION prom._labels_drop(labels prom.labels, names text[]) RETURNS prom.labels
	AS 'MODULE_PATHNAME', 'prom_labels_drop' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._labels_drop(prom.labels, text[]) IS 'all labels but those of these names';

CREATE FUNCTION prom._in_order(labels prom.labels) RETURNS prom.labels
	AS 'MODULE_PATHNAME', 'prom_in_order' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._in_order(prom.labels) IS 'the label set itself: ordering by it is no reason for the planner to group by sorting';

CREATE FUNCTION prom._label_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_label_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._label_support(internal) IS 'tells the planner how many series a test of a label lets through';

-- All of one cost: the planner leaves them in the order in which prom_matchers_sql wrote them.
CREATE FUNCTION prom._label_eq(labels prom.labels, name text, value text) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_label_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5 SUPPORT prom._label_support;
COMMENT ON FUNCTION prom._label_eq(prom.labels, text, text) IS 'does the label have this value; an absent label has the empty one';

CREATE FUNCTION prom._label_re(labels prom.labels, name text, pattern text) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_label_re' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5 SUPPORT prom._label_support;
COMMENT ON FUNCTION prom._label_re(prom.labels, text, text) IS 'does the regular expression (RE2) match the whole value of the label; an absent label has the empty one';

CREATE FUNCTION prom._label_ne(labels prom.labels, name text, value text) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_label_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5 SUPPORT prom._label_support;
COMMENT ON FUNCTION prom._label_ne(prom.labels, text, text) IS 'the opposite of prom._label_eq';

CREATE FUNCTION prom._label_nre(labels prom.labels, name text, pattern text) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_label_nre' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5 SUPPORT prom._label_support;
COMMENT ON FUNCTION prom._label_nre(prom.labels, text, text) IS 'the opposite of prom._label_re';

CREATE FUNCTION prom._label_pair(name text, value text) RETURNS int4
	AS 'MODULE_PATHNAME', 'prom_label_pair' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._label_pair(text, text) IS 'hash of a label, one of prom._label_pairs';

CREATE FUNCTION prom._label_pairs(labels prom.labels) RETURNS int4[]
	AS 'MODULE_PATHNAME', 'prom_label_pairs' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION prom._label_pairs(prom.labels) IS 'hashes of all labels';

-- Tables.  Every key contains shard: the same tables can be spread over several servers.

-- A series costs what its labels cost and little more: what can be computed from them is in the indexes
-- alone.  Label sets are unique because they are made under the shard's lock; a hash of four bytes finds
-- them, and the labels decide.
CREATE TABLE prom.series (
	shard int2 NOT NULL,
	sid int4 NOT NULL,
	created timestamptz NOT NULL DEFAULT pg_catalog.now(),
	empty_since timestamptz,
	labels prom.labels NOT NULL,
	PRIMARY KEY (shard, sid)
);
CREATE INDEX series_hash_idx ON prom.series (shard, prom.labels_hash4(labels));
CREATE INDEX series_pairs_idx ON prom.series USING gin (prom._label_pairs(labels)) WITH (fastupdate = on, gin_pending_list_limit = 512);
COMMENT ON TABLE prom.series IS 'every series that has samples';
COMMENT ON COLUMN prom.series.shard IS 'part of the series that one server can hold; 0 while there is one server';
COMMENT ON COLUMN prom.series.sid IS 'number within the shard; the series of a metric have theirs from pieces of blocks of 64';
COMMENT ON COLUMN prom.series.empty_since IS 'when it was found to have no samples left; NULL: it had some at the last look';
COMMENT ON INDEX prom.series_pairs_idx IS 'hashes of the labels; the translation of a selector asks for them by the same expression';

CREATE TABLE prom.shard (
	shard int2 PRIMARY KEY,
	next_block int4 NOT NULL DEFAULT 0,
	next_sid int4 NOT NULL DEFAULT 0,
	series int4 NOT NULL DEFAULT 0,
	removals int8 NOT NULL DEFAULT 0
);
COMMENT ON TABLE prom.shard IS 'one row per shard, locked by whoever makes series in it';
COMMENT ON COLUMN prom.shard.next_block IS 'first block of 64 series ids that is not given out';
COMMENT ON COLUMN prom.shard.next_sid IS 'first id that is not given out of the block that metrics of few series share; a multiple of 64: they open another one next';
COMMENT ON COLUMN prom.shard.series IS 'how many series it has';
COMMENT ON COLUMN prom.shard.removals IS 'how often series were removed; backends compare it to know whether their caches hold';

CREATE TABLE prom.metric (
	shard int2 NOT NULL,
	name text COLLATE "C" NOT NULL,
	next_sid int4 NOT NULL,
	end_sid int4 NOT NULL,
	series int4 NOT NULL DEFAULT 0,
	PRIMARY KEY (shard, name)
);
COMMENT ON TABLE prom.metric IS 'how many series a metric has, and where the next one gets its id';
COMMENT ON COLUMN prom.metric.name IS 'metric name, cut to 1024 bytes';
COMMENT ON COLUMN prom.metric.next_sid IS 'the id that its next series gets';
COMMENT ON COLUMN prom.metric.end_sid IS 'end of its piece of ids, exclusive; equal to next_sid: it gets another piece first';
COMMENT ON COLUMN prom.metric.series IS 'how many series it has, for promgres.max_series_per_metric';

CREATE TABLE prom.label_value (
	shard int2 NOT NULL,
	name text COLLATE "C" NOT NULL,
	value text COLLATE "C" NOT NULL,
	digest uuid NOT NULL,
	PRIMARY KEY (name, digest, shard)
);
COMMENT ON TABLE prom.label_value IS 'distinct labels of all series';
COMMENT ON COLUMN prom.label_value.digest IS '128-bit hash of the value, which may be too long for a key';

SELECT pg_catalog.pg_extension_config_dump('prom.series', '');
SELECT pg_catalog.pg_extension_config_dump('prom.shard', '');
SELECT pg_catalog.pg_extension_config_dump('prom.metric', '');
SELECT pg_catalog.pg_extension_config_dump('prom.label_value', '');

-- Policies are made on prom.series, and only there.  What is derived from series cannot be told apart by
-- series row for row, so who is subject to policies gets nothing of it but by way of prom.series: tables
-- let nobody in but their owner (95_access), and these views only those who see all series.

CREATE VIEW prom._shard WITH (security_barrier) AS
SELECT h.shard, h.series FROM prom.shard AS h
WHERE NOT pg_catalog.row_security_active('prom.series'::pg_catalog.regclass);
COMMENT ON VIEW prom._shard IS 'prom.shard, for those who see all series.';

CREATE VIEW prom._metric WITH (security_barrier) AS
SELECT m.shard, m.name, m.series FROM prom.metric AS m
WHERE NOT pg_catalog.row_security_active('prom.series'::pg_catalog.regclass);
COMMENT ON VIEW prom._metric IS 'prom.metric, for those who see all series.';

CREATE VIEW prom._label_value WITH (security_barrier) AS
SELECT v.shard, v.name, v.value FROM prom.label_value AS v
WHERE NOT pg_catalog.row_security_active('prom.series'::pg_catalog.regclass);
COMMENT ON VIEW prom._label_value IS 'prom.label_value, for those who see all series.';

CREATE VIEW prom._label_name WITH (security_barrier) AS
WITH RECURSIVE n(name) AS (
	(SELECT v.name FROM prom.label_value AS v
	WHERE NOT pg_catalog.row_security_active('prom.series'::pg_catalog.regclass) ORDER BY v.name LIMIT 1)
	UNION ALL
	SELECT (SELECT v.name FROM prom.label_value AS v WHERE v.name OPERATOR(pg_catalog.>) n.name ORDER BY v.name LIMIT 1)
	FROM n WHERE n.name IS NOT NULL
)
SELECT n.name FROM n WHERE n.name IS NOT NULL;
COMMENT ON VIEW prom._label_name IS 'Names of labels in order, each one step in an index, for those who see all series.';

CREATE FUNCTION prom._sees_family(family text) RETURNS bool
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	RETURN EXISTS (
		SELECT FROM unnest(ARRAY[family, family || '_bucket', family || '_sum', family || '_count', family || '_total']) AS n(name)
		JOIN prom.series AS s ON prom._label_pairs(s.labels) @> ARRAY[prom._label_pair('__name__', n.name)]
			AND prom._label_eq(s.labels, '__name__', n.name));
COMMENT ON FUNCTION prom._sees_family(text) IS 'Does prom.series show the caller a series of this family of metrics?';

CREATE FUNCTION prom._check_sees_all() RETURNS void
	AS 'MODULE_PATHNAME', 'prom_check_sees_all' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION prom._check_sees_all() IS 'Raises if row security on prom.series shows the role that asks only some of the series.';

CREATE FUNCTION prom._series_where(ops text[], names text[], vals text[]) RETURNS text
	AS 'MODULE_PATHNAME', 'prom_series_where' LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._series_where(text[], text[], text[]) IS 'SQL condition on a row s of prom.series for the series that satisfy all matchers';

CREATE FUNCTION prom.series_id(labels prom.labels, OUT shard int2, OUT sid int4) RETURNS record
	AS 'MODULE_PATHNAME', 'prom_series_id' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION prom.series_id(prom.labels) IS 'id of a series, which is created if it is not there';

CREATE FUNCTION prom._metric_key(labels prom.labels) RETURNS text
	AS 'MODULE_PATHNAME', 'prom_metric_key' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._metric_key(prom.labels) IS 'the metric as prom.metric has it: its name, cut to 1024 bytes';

CREATE FUNCTION prom._series_removed() RETURNS void
	AS 'MODULE_PATHNAME', 'prom_series_removed' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._series_removed() IS 'tell every backend that series were removed';

CREATE FUNCTION prom._label_digest(value text) RETURNS uuid
	AS 'MODULE_PATHNAME', 'prom_label_digest' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._label_digest(text) IS 'The hash of a label''s value in prom.label_value.';

CREATE FUNCTION prom._unused_labels(one int2, first int4, series int8, INOUT names text[], INOUT vals text[]) RETURNS record
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
AS $$
DECLARE
	near	int8 := series + 4096;
	every	bool := near >= (SELECT h.series FROM prom.shard h WHERE h.shard = one);
BEGIN
	-- Most labels that are in use are so by series nearby, or these are all.
	SELECT array_agg(r.name), array_agg(r.value) INTO names, vals
	FROM (SELECT g.name, g.value FROM unnest(names, vals) AS g(name, value)
		EXCEPT SELECT p.key, p.value FROM prom.series s, jsonb_each_text(s.labels::jsonb) p
		WHERE s.shard = one AND (every OR s.sid BETWEEN first - near AND first + near)) r;
	IF every OR names IS NULL THEN
		RETURN;
	END IF;
	-- What the index has not sorted in yet is read as a whole by each look into it.
	IF cardinality(names) > 100 THEN
		PERFORM gin_clean_pending_list(c.oid) FROM pg_class c
		WHERE c.oid = 'prom.series_pairs_idx'::regclass AND pg_has_role(c.relowner, 'USAGE');
	END IF;
	-- Each of the others is looked up.  (No index but that of labels is good for this shard, whatever the planner may think of the others.)
	SELECT array_agg(g.name), array_agg(g.value) INTO names, vals FROM unnest(names, vals) AS g(name, value)
	WHERE NOT EXISTS (
		SELECT FROM prom.series s
		WHERE s.shard IS NOT DISTINCT FROM one
			AND prom._label_pairs(s.labels) @> ARRAY[prom._label_pair(g.name, g.value)]
			AND prom._label_eq(s.labels, g.name, g.value));
END
$$;
COMMENT ON FUNCTION prom._unused_labels(int2, int4, int8, text[], text[]) IS
'Those of the labels (all different) that no series of the shard has; they were labels of so many series from this id on, which are removed already. It takes time for what was removed, not for what is there.';

CREATE FUNCTION prom._remove_series(shards int2[], sids int4[]) RETURNS int8
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	removed	int8 := 0;
	n		int8;
	one		int2;
	ids		int4[];
	first	int4;
	last	int4;
	names	text[];
	vals	text[];
	bytes	int8;
	freed	int8[] := '{0,0}';
BEGIN
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE feature_not_supported USING MESSAGE = 'series cannot be removed in a transaction that is REPEATABLE READ or SERIALIZABLE',
			HINT = 'Use READ COMMITTED.';
	END IF;
	IF cardinality(sids) = 0 THEN
		RETURN 0;
	END IF;
	-- Whoever does not see all series cannot know which labels are left over.
	PERFORM prom._check_sees_all();
	-- Whoever ingests holds a lock that conflicts with this one until its samples are committed.  It is not prom.series that
	-- is locked: that would wait for who vacuums it or rebuilds its indexes, who may wait for us, and all senders behind.
	LOCK TABLE prom.shard IN SHARE ROW EXCLUSIVE MODE;
	FOR one, ids, first, last IN
		SELECT r.shard, array_agg(r.sid), min(r.sid), max(r.sid) FROM unnest(shards, sids) AS r(shard, sid) GROUP BY 1 ORDER BY 1
	LOOP
		-- (The range is for a table without statistics, of which all of the shard would be read otherwise.)
		WITH gone AS (
			DELETE FROM prom.series s USING unnest(ids) AS r(sid)
			WHERE s.shard = one AND s.sid = r.sid AND s.sid BETWEEN first AND last
			RETURNING s.labels
		), of_shard AS (
			UPDATE prom.shard h SET series = h.series - g.n, removals = h.removals + 1
			FROM (SELECT count(*) AS n FROM gone) g
			WHERE h.shard = one AND g.n > 0
		), of_metric AS (
			UPDATE prom.metric m SET series = m.series - g.n
			FROM (SELECT prom._metric_key(gone.labels) AS name, count(*) AS n FROM gone GROUP BY 1) g
			WHERE m.shard = one AND m.name = g.name
		), pair AS (
			SELECT DISTINCT p.key, p.value FROM gone g, jsonb_each_text(g.labels::jsonb) AS p
		)
		-- (A row has 40 bytes beside its labels, and 68 in indexes.)
		SELECT (SELECT count(*) FROM gone), (SELECT sum(pg_column_size(g.labels) + 108) FROM gone g), array_agg(pair.key), array_agg(pair.value)
		INTO n, bytes, names, vals FROM pair;
		CONTINUE WHEN n = 0;
		removed := removed + n;
		freed[1] := freed[1] + bytes;

		-- What is left of its piece of ids is given up with it.
		DELETE FROM prom.metric m
		WHERE m.shard = one AND m.series <= 0 AND m.name = ANY (ARRAY(SELECT g.value FROM unnest(names, vals) AS g(name, value) WHERE g.name = '__name__'));

		SELECT u.names, u.vals INTO names, vals
		FROM prom._unused_labels(one, first, n, names, vals) u;
		-- Each is looked up, however many the planner may think there are: all labels take longer to read.
		DELETE FROM prom.label_value l WHERE l.ctid = ANY (ARRAY(
			SELECT u.ctid FROM unnest(names, vals) AS g(name, value)
			CROSS JOIN LATERAL (SELECT v.ctid FROM prom.label_value v
				WHERE v.name = g.name AND v.digest = prom._label_digest(g.value) AND v.shard = one AND v.value = g.value OFFSET 0) u));
		-- (A row has 48 bytes beside its texts, and its key again as many and the name.)
		freed[2] := freed[2] + (SELECT coalesce(sum(2 * length(g.name) + octet_length(g.value) + 96), 0) FROM unnest(names, vals) AS g(name, value));
	END LOOP;
	IF removed = 0 THEN
		RETURN 0;
	END IF;
	PERFORM prom._series_removed();
	PERFORM prom._slack_add(ARRAY['prom.series', 'prom.label_value']::regclass[], freed);
	RETURN removed;
END
$$;
COMMENT ON FUNCTION prom._remove_series(int2[], int4[]) IS 'remove series, and labels that no other series has; the caller has removed their samples';

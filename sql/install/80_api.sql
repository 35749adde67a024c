-- 80_api: what the gateway's backends run.  Each function returns pieces of JSON that, put together in
-- order, are the value of "data" in an answer of Prometheus' HTTP API.

CREATE FUNCTION prom._api_thanos(dedup bool, replica_labels text, partial_response bool) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_api_thanos' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_thanos(bool, text, bool) IS
'Sets promgres.dedup, promgres.replica_labels and promgres.partial_response until the transaction ends, each unless it is NULL; true.';

CREATE FUNCTION prom._api_query(query text, time_ms int8, lookback_ms int8, lim int4, stats text DEFAULT '', submitted int8 DEFAULT 0,
	resolution_ms int8 DEFAULT 0) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'prom_api_query' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_query(text, int8, int8, int4, text, int8, int8) IS
'Instant query as JSON. time_ms: milliseconds since 1970, NULL for now. lookback_ms: 0 for promgres.lookback_delta. lim: series at most, 0 for all; if it cuts, a notice says so. stats: "true" or "all" tells what the query took. submitted: when it was, in the server''s microseconds, 0 for now. resolution_ms: of the coarsest rollups that may be read, 0 for promgres.max_source_resolution, -1 for none, -2 for auto.';

CREATE FUNCTION prom._api_query_range(query text, start_ms int8, end_ms int8, step_ms int8, lookback_ms int8, lim int4,
	stats text DEFAULT '', submitted int8 DEFAULT 0, resolution_ms int8 DEFAULT 0) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'prom_api_query_range' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_query_range(text, int8, int8, int8, int8, int4, text, int8, int8) IS 'Range query as JSON; arguments as those of prom._api_query.';

CREATE FUNCTION prom._api_labels(match text[], start_ms int8, end_ms int8, lim int4) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'prom_api_labels' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_labels(text[], int8, int8, int4) IS 'Sorted names of labels, as JSON, of the series that any of the selectors in match satisfies; of all if there is none.';

CREATE FUNCTION prom._api_label_values(name text, match text[], start_ms int8, end_ms int8, lim int4) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'prom_api_label_values' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_label_values(text, text[], int8, int8, int4) IS 'Sorted values of a label, as JSON; selectors as for prom._api_labels.';

CREATE FUNCTION prom._api_series(match text[], start_ms int8, end_ms int8, lim int4) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'prom_api_series' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_series(text[], int8, int8, int4) IS 'Label sets, as JSON, of the series that any of the selectors in match satisfies.';

-- What was sent beside samples.

CREATE FUNCTION prom._api_metadata(metric text, lim int4, lim_per_metric int4) RETURNS SETOF text
	LANGUAGE sql STRICT STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT '{' || coalesce(string_agg(f.entry, ',' ORDER BY f.family), '') || '}'
	FROM (SELECT d.family, to_json(d.family) || ':[' || string_agg(d.entry, ',' ORDER BY d.entry) || ']' AS entry
		FROM (SELECT t.family, format('{"type":%s,"help":%s,"unit":%s}', to_json(t.type), to_json(t.help), to_json(t.unit)) AS entry,
				row_number() OVER (PARTITION BY t.family ORDER BY t.type, t.help, t.unit) AS n
			FROM (SELECT DISTINCT m.family, m.type, m.help, m.unit FROM prom._metadata m WHERE metric IN ('', m.family)) t) d
		WHERE lim_per_metric = 0 OR d.n <= lim_per_metric
		GROUP BY d.family
		ORDER BY d.family LIMIT nullif(lim, 0)) f;
END;
COMMENT ON FUNCTION prom._api_metadata(text, int4, int4) IS
'Type, help and unit of metric families as JSON; of one, or with an empty name of all. Limits on families and on entries of each; 0 is none.';

CREATE FUNCTION prom._from_ms(ms int8) RETURNS timestamptz
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN ms OPERATOR(pg_catalog.<=) -210866803200000 THEN '-infinity'::pg_catalog.timestamptz
	WHEN ms OPERATOR(pg_catalog.>=) 9224318015999999 THEN 'infinity'::pg_catalog.timestamptz
	ELSE pg_catalog.to_timestamp(ms::pg_catalog.float8 OPERATOR(pg_catalog./) 1000) END;
COMMENT ON FUNCTION prom._from_ms(int8) IS 'The time of milliseconds since 1970; the least and the greatest that the gateway sends are the infinities.';

CREATE FUNCTION prom._api_value(value float8) RETURNS text
	AS 'MODULE_PATHNAME', 'prom_api_value' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._api_value(float8) IS 'A sample value as a string of JSON.';

CREATE FUNCTION prom._selectors(query text) RETURNS SETOF text
	LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT DISTINCT (SELECT '{' || string_agg(format('%s%s%s', to_json(m.m->>'name'), m.m->>'type', to_json(m.m->>'value')), ',' ORDER BY m.o) || '}'
		FROM jsonb_array_elements(n->'matchers') WITH ORDINALITY m(m, o))
	FROM jsonb_path_query(prom.parse(query), 'strict $.** ? (@.type == "vectorSelector" || @.type == "matrixSelector")') n;
END;
COMMENT ON FUNCTION prom._selectors(text) IS 'The selectors in a PromQL expression, without their times.';

CREATE FUNCTION prom._api_exemplars(query text, start_ms int8, end_ms int8) RETURNS SETOF text
	LANGUAGE plpgsql STRICT STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	selectors text[] := ARRAY(SELECT s FROM prom._selectors(query) s);
BEGIN
	IF cardinality(selectors) = 0 THEN
		RETURN;
	END IF;
	RETURN QUERY
		SELECT '[' || coalesce(string_agg(s.entry, ',' ORDER BY s.labels), '') || ']'
		FROM (SELECT e.labels, format('{"seriesLabels":%s,"exemplars":[%s]}', e.labels::jsonb,
				string_agg(format('{"labels":%s,"value":%s,"timestamp":%s}', e.exemplar::jsonb, prom._api_value(e.value),
					trim_scale(prom._to_ms(e."time") / 1000.0)), ',' ORDER BY e."time", e.exemplar)) AS entry
			FROM (SELECT DISTINCT x.* FROM unnest(selectors) AS m, LATERAL prom.exemplars(m, prom._from_ms(start_ms), prom._from_ms(end_ms)) AS x) AS e
			GROUP BY e.labels) AS s;
END
$$;
COMMENT ON FUNCTION prom._api_exemplars(text, int8, int8) IS
'Exemplars, as JSON, of the series that any selector in the expression matches; no row if it has no selector.';

CREATE FUNCTION prom._api_checked(match text[], data text) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT data FROM (SELECT count(prom._selector_sql(m, 's')) FROM unnest(match) m) AS checked(n) WHERE checked.n >= 0;
END;
COMMENT ON FUNCTION prom._api_checked(text[], text) IS 'The data as it is, if all selectors are well-formed.';

-- The server about itself.

CREATE FUNCTION prom._api_time(t timestamptz) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
COMMENT ON FUNCTION prom._api_time(timestamptz) IS 'A time as RFC 3339 has it.';

CREATE FUNCTION prom._api_runtimeinfo(hostname text, directory text, cpus int4) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
RETURN json_build_object(
	'startTime', prom._api_time(pg_postmaster_start_time()),
	'CWD', directory,
	'hostname', hostname,
	'serverTime', prom._api_time(clock_timestamp()),
	'reloadConfigSuccess', true,
	'lastConfigTime', prom._api_time(pg_conf_load_time()),
	'corruptionCount', prom._quarantined(),
	'goroutineCount', (SELECT count(*) FROM pg_stat_activity),
	'GOMAXPROCS', cpus,
	'GOMEMLIMIT', 9223372036854775807,
	'GOGC', '',
	'GODEBUG', '',
	'storageRetention', '')::text;
COMMENT ON FUNCTION prom._api_runtimeinfo(text, text, int4) IS
'Runtime information as JSON: damaged rows count as corruptions, server processes as goroutines.';

CREATE FUNCTION prom._api_config() RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN json_build_object('yaml', format(E'global:\n  external_labels:%s\n', (
	SELECT coalesce(string_agg(format(E'\n    %s: %s', to_json(e.key), to_json(e.value)), '' ORDER BY e.key COLLATE "C"), ' {}')
	FROM jsonb_each_text(coalesce(nullif(current_setting('promgres.external_labels'), ''), '{}')::prom.labels::jsonb) AS e)))::text;
COMMENT ON FUNCTION prom._api_config() IS 'What there is of a configuration in the sense of Prometheus, as JSON: the external labels.';

CREATE FUNCTION prom._api_tsdb(lim int4) RETURNS text
	LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	total	int8 := (SELECT coalesce(sum(h.series), 0) FROM prom._shard h);
	-- Pairs are counted in a part of many series, so that it takes no longer than this.
	part	float8 := least(100, 100 * 100000 / greatest(total, 1)::float8);
	day		int8;
	chunks	int8 := (SELECT coalesce(sum(greatest(c.reltuples, 0)), 0) FROM prom._days() d JOIN pg_class c ON c.oid = d.day);
	t_min	int8;
	t_max	int8;
	fresh	record;
	names	jsonb;
	bytes	jsonb;
	metrics	jsonb;
	pairs	jsonb;
	npairs	int8;
BEGIN
	IF row_security_active('prom.series') THEN
		RAISE insufficient_privilege USING MESSAGE = 'figures about all series are not for those who may see some of them';
	END IF;
	SELECT count(*) AS n, min(f.t_min) AS t_min, max(f.t_max) AS t_max INTO fresh FROM prom._fresh_rows f;
	-- Days are made ahead, and may have become empty: the first and the last that have something.
	FOR day IN SELECT d.t_min FROM prom._days() d ORDER BY 1 LOOP
		SELECT min(w.t_min) INTO t_min FROM prom._warm_rows w WHERE w.t_min >= day AND w.t_min < day + 86400000;
		EXIT WHEN t_min IS NOT NULL;
	END LOOP;
	FOR day IN SELECT d.t_min FROM prom._days() d ORDER BY 1 DESC LOOP
		SELECT max(w.t_max) INTO t_max FROM prom._warm_rows w WHERE w.t_min >= day AND w.t_min < day + 86400000;
		EXIT WHEN t_max IS NOT NULL;
	END LOOP;
	t_min := least(fresh.t_min, t_min);
	t_max := greatest(fresh.t_max, t_max);

	SELECT jsonb_agg(jsonb_build_object('name', m.name, 'value', m.n) ORDER BY m.n DESC, m.name) INTO metrics
	FROM (SELECT m.name, sum(m.series) AS n FROM prom._metric m GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT lim) m;

	WITH l AS MATERIALIZED (
		SELECT v.name, count(*) AS n, sum(octet_length(v.name) + octet_length(v.value)) AS size FROM prom._label_value v GROUP BY 1
	)
	SELECT (SELECT jsonb_agg(jsonb_build_object('name', x.name, 'value', x.n) ORDER BY x.n DESC, x.name)
			FROM (SELECT * FROM l ORDER BY l.n DESC, l.name LIMIT lim) x),
		(SELECT jsonb_agg(jsonb_build_object('name', x.name, 'value', x.size) ORDER BY x.size DESC, x.name)
			FROM (SELECT * FROM l ORDER BY l.size DESC, l.name LIMIT lim) x),
		(SELECT coalesce(sum(l.n), 0) FROM l)
	INTO names, bytes, npairs;

	SELECT jsonb_agg(jsonb_build_object('name', p.name, 'value', p.n) ORDER BY p.n DESC, p.name) INTO pairs
	FROM (SELECT v.name || '=' || v.value AS name, round(h.n * 100 / part)::int8 AS n
		FROM (SELECT u, count(*) AS n FROM prom.series s TABLESAMPLE SYSTEM (part) CROSS JOIN LATERAL unnest(prom._label_pairs(s.labels)) AS u
			GROUP BY u ORDER BY n DESC LIMIT lim + 100) AS h
		JOIN prom._label_value v ON prom._label_pair(v.name, v.value) = h.u
		ORDER BY n DESC, name LIMIT lim) AS p;

	RETURN jsonb_build_object(
		'headStats', jsonb_build_object('numSeries', total, 'numLabelPairs', npairs, 'chunkCount', chunks + fresh.n,
			'minTime', coalesce(t_min, 0), 'maxTime', coalesce(t_max, 0)),
		'seriesCountByMetricName', coalesce(metrics, '[]'),
		'labelValueCountByLabelName', coalesce(names, '[]'),
		'memoryInBytesByLabelName', coalesce(bytes, '[]'),
		'seriesCountByLabelValuePair', coalesce(pairs, '[]'));
END
$$;
COMMENT ON FUNCTION prom._api_tsdb(int4) IS
'Cardinality as JSON, of each kind the largest: series of metrics, values of labels and their bytes, series of label pairs, which beyond 100,000 series are counted in a sample. Rows that hold samples count as chunks, those of days that are over as of their last ANALYZE.';

-- Administration.

CREATE FUNCTION prom._api_delete_series(match text[], start_ms int8, end_ms int8) RETURNS SETOF text
	LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- Nothing is deleted unless all is right.
	PERFORM prom._api_checked(match, '');
	PERFORM prom.delete_series(m, prom._from_ms(start_ms), prom._from_ms(end_ms)) FROM unnest(match) m;
END
$$;
COMMENT ON FUNCTION prom._api_delete_series(text[], int8, int8) IS 'prom.delete_series for each selector; no rows.';

CREATE FUNCTION prom._api_snapshot(parent text) RETURNS SETOF text
	LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name	text := to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS"Z"') || '-' || substr(md5(random()::text), 1, 16);
	place	text := prom._export_directory(parent, name);
BEGIN
	PERFORM prom._export_block(place, want.ops, want.names, want.vals, r.after_ms, r.upto_ms, '{}')
	FROM prom._matchers('{__name__=~".+"}') want, prom._export_ranges(-9223372036854775807, 9223372036854775807, 86400000) r;
	RETURN NEXT json_build_object('name', name);
END
$$;
COMMENT ON FUNCTION prom._api_snapshot(text) IS 'Writes all samples that the caller sees as blocks of Prometheus into a new directory below this one, or a bucket; its name as JSON.';

-- The functions below return the pieces of an answer, bytes: first its content type and, after a line feed,
-- its content encoding; then the body.

CREATE FUNCTION prom._api_read(body bytea, dedup bool) RETURNS SETOF bytea
	AS 'MODULE_PATHNAME', 'prom_api_read' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_read(bytea, bool) IS 'Answer to a snappy-compressed prometheus.ReadRequest: samples, or frames of XOR chunks. dedup: of replicas merged as promgres.replica_labels says.';

CREATE FUNCTION prom._api_federate(match text[], at_ms int8, format text, escaping text) RETURNS SETOF bytea
	AS 'MODULE_PATHNAME', 'prom_api_federate' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_federate(text[], int8, text, text) IS
'The newest sample of each series that any of the selectors in match satisfies, to be scraped. at_ms: the time, ms since 1970. format: 0.0.4, 1.0.0, openmetrics or protobuf. escaping of names: allow-utf-8, underscores, dots or values.';

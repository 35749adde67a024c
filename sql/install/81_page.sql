-- 81_page: what the page asks of the gateway's backends, beyond the API of Prometheus.

CREATE FUNCTION prom._api_explain(query text, start_ms int8, end_ms int8, step_ms int8, instant bool, plan bool) RETURNS text
LANGUAGE plpgsql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_sort = off
SET enable_incremental_sort = off
AS $$
DECLARE
	start timestamptz := to_timestamp(start_ms / 1000.0);
	stop timestamptz := to_timestamp(end_ms / 1000.0);
	step interval := step_ms * interval '1 ms';
	statement text := prom.to_sql(query, start, stop, step);
	told jsonb := prom._explain(query, start_ms, end_ms, step_ms, instant);
	line text;
	lines text[] := '{}';
BEGIN
	IF plan THEN
		FOR line IN EXECUTE 'EXPLAIN (ANALYZE, BUFFERS) ' || statement LOOP
			lines := lines || line;
		END LOOP;
	END IF;
	RETURN told || jsonb_build_object('sql', statement, 'text', (SELECT jsonb_agg(t) FROM prom._explain_text(told) t),
		'plan', array_to_string(lines, E'\n'));
END
$$;
COMMENT ON FUNCTION prom._api_explain(text, int8, int8, int8, bool, bool) IS
'Runs a query and tells, as JSON, what prom.explain_json does, its SQL, and with "plan" PostgreSQL''s plan.';

CREATE FUNCTION prom._api_status(generations bool) RETURNS text
LANGUAGE sql STRICT VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT jsonb_build_object(
		'version', (SELECT extversion FROM pg_extension WHERE extname = 'promgres'),
		'server', current_setting('server_version'),
		'database', current_database(),
		'user', current_user,
		'now', extract(epoch FROM clock_timestamp()),
		'started', extract(epoch FROM pg_postmaster_start_time()),
		'standby', pg_is_in_recovery(),
		'ingest', (SELECT to_jsonb(i) FROM prom.stat_ingest i),
		'merge', (SELECT to_jsonb(m) || jsonb_build_object('oldest_age', extract(epoch FROM m.oldest_age)) FROM prom.stat_merge m),
		'series', (SELECT coalesce(sum(m.series), 0) FROM prom._metric m),
		'metrics', (SELECT count(*) FROM prom._metric m WHERE m.series > 0),
		'tables', (SELECT jsonb_agg(to_jsonb(t) ORDER BY t.bytes DESC, t.name)
			FROM (SELECT coalesce(i.inhparent, c.oid)::regclass::text AS name, count(*) AS parts,
					sum(pg_total_relation_size(c.oid)) AS bytes, sum(pg_indexes_size(c.oid)) AS index_bytes,
					sum(nullif(c.reltuples, -1)::int8) AS "rows"
				FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
				WHERE c.relnamespace = 'prom'::regnamespace AND c.relkind = 'r'
				GROUP BY 1) t),
		'workers', (SELECT coalesce(jsonb_agg(jsonb_build_object('pid', a.pid, 'name', a.kind, 'state', coalesce(a.state, a.wait_event),
				'since', extract(epoch FROM a.backend_start)) ORDER BY a.kind, a.pid), '[]')
			FROM (SELECT *, CASE WHEN backend_type LIKE 'promgres%' THEN backend_type ELSE application_name END AS kind FROM pg_stat_activity) a
			WHERE a.kind LIKE 'promgres%'),
		'settings', (SELECT jsonb_agg(jsonb_build_object('name', s.name, 'value', current_setting(s.name), 'default', s.setting = s.boot_val,
				'unit', s.unit, 'about', s.short_desc, 'context', s.context) ORDER BY s.name)
			FROM pg_settings s WHERE s.name LIKE 'promgres.%'),
		'rows', CASE WHEN generations THEN (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.day DESC NULLS FIRST, r.gen) FROM prom.stat_rows() r) END)::text;
END;
COMMENT ON FUNCTION prom._api_status(bool) IS
'What the server does and holds, as JSON: counters of ingest and merge, sizes of tables, workers, settings; with "generations" also prom.stat_rows(), which reads all rows.';

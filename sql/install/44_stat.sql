-- 44_stat: what ingest and merge do, to be watched.

CREATE FUNCTION prom._stat(name text) RETURNS int8
LANGUAGE C STRICT VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_stat';
COMMENT ON FUNCTION prom._stat(text) IS 'A counter of this server since its start; NULL if promgres is not preloaded.';

CREATE FUNCTION prom._stat_time(name text) RETURNS timestamptz
LANGUAGE C STRICT VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_stat_time';
COMMENT ON FUNCTION prom._stat_time(text) IS 'When something happened last on this server; NULL: not since its start, or promgres is not preloaded.';

CREATE FUNCTION prom._stat_merge_error() RETURNS text
LANGUAGE C STRICT VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_stat_merge_error';
COMMENT ON FUNCTION prom._stat_merge_error() IS 'Message of the last merge that failed; NULL: none since the start.';

CREATE FUNCTION prom._stat_count(name text, n int8) RETURNS void
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'prom_stat_count_sql';
COMMENT ON FUNCTION prom._stat_count(text, int8) IS 'Adds to a counter when the transaction commits.';

CREATE VIEW prom.stat_ingest AS
SELECT prom._stat_time('started') AS since,
	prom._stat('ingest_calls') AS calls,
	prom._stat('ingest_bodies') AS bodies,
	prom._stat('ingest_bytes') AS bytes,
	prom._stat('ingest_samples') AS samples,
	prom._stat('ingest_series') AS series_created,
	prom._stat('ingest_histograms') AS histograms,
	prom._stat('ingest_exemplars') AS exemplars,
	prom._stat('refused_bodies') AS bodies_refused,
	prom._stat('refused_labels') AS series_refused,
	prom._stat('refused_time') AS samples_out_of_bounds,
	prom._stat('refused_histograms') AS histograms_refused,
	prom._stat('refused_points') AS points_refused,
	prom._stat('refused_metadata') AS metadata_refused,
	prom._stat('replica_samples') AS replica_samples,
	prom._stat_time('ingest_last') AS last_ingest;
COMMENT ON VIEW prom.stat_ingest IS 'What prom.ingest has stored and refused since the start of the server, in all databases; what was rolled back is not counted. NULL if promgres is not preloaded.';
COMMENT ON COLUMN prom.stat_ingest.since IS 'when the server was started';
COMMENT ON COLUMN prom.stat_ingest.calls IS 'calls of prom.ingest; the gateway has one for all requests that wait';
COMMENT ON COLUMN prom.stat_ingest.bodies IS 'remote_write bodies: requests';
COMMENT ON COLUMN prom.stat_ingest.bytes IS 'bytes of the bodies, compressed as they come';
COMMENT ON COLUMN prom.stat_ingest.samples IS 'samples stored';
COMMENT ON COLUMN prom.stat_ingest.series_created IS 'series made';
COMMENT ON COLUMN prom.stat_ingest.histograms IS 'native histogram samples stored';
COMMENT ON COLUMN prom.stat_ingest.exemplars IS 'exemplars stored';
COMMENT ON COLUMN prom.stat_ingest.bodies_refused IS 'bodies refused because their bytes are malformed';
COMMENT ON COLUMN prom.stat_ingest.series_refused IS 'series refused because of their labels or a limit';
COMMENT ON COLUMN prom.stat_ingest.samples_out_of_bounds IS 'samples refused because of their time: before 1970, promgres.ingest_max_age, promgres.ingest_max_ahead';
COMMENT ON COLUMN prom.stat_ingest.histograms_refused IS 'native histogram samples that are not valid';
COMMENT ON COLUMN prom.stat_ingest.points_refused IS 'data points of OTLP refused for what they are, such as deltas';
COMMENT ON COLUMN prom.stat_ingest.metadata_refused IS 'metadata entries beyond what a body may have';
COMMENT ON COLUMN prom.stat_ingest.replica_samples IS 'samples and native histograms dropped, as they come from a replica that is not the elected one (promgres.ha_tracker)';
COMMENT ON COLUMN prom.stat_ingest.last_ingest IS 'when a call was committed last';

CREATE VIEW prom.stat_merge AS
SELECT prom._stat_time('started') AS since,
	pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) f.oldest AS oldest_age,
	f.rows AS fresh_rows,
	f.late AS late_rows,
	f.samples AS fresh_samples,
	f.bytes AS fresh_bytes,
	prom._stat('merge_steps') AS steps,
	prom._stat('merge_fresh_rows') AS fresh_rows_merged,
	prom._stat('merge_warm_rows') AS warm_rows_merged,
	prom._stat('merge_written_rows') AS rows_written,
	prom._stat('merge_samples') AS samples_written,
	prom._stat('merge_us') OPERATOR(pg_catalog./) 1e6::pg_catalog.float8 AS seconds,
	prom._stat_time('merge_last') AS last_merge,
	prom._stat('merge_errors') AS errors,
	prom._stat_time('merge_last_error') AS last_error_at,
	prom._stat_merge_error() AS last_error,
	prom._stat('quarantined_rows') AS rows_quarantined,
	(SELECT pg_catalog.count(*) FROM prom.quarantine) AS quarantine_rows,
	prom._stat('collected_series') AS series_collected,
	(SELECT pg_catalog.count(DISTINCT day) FROM prom.compaction) AS days_to_compact,
	prom._stat('compact_steps') AS compact_steps,
	prom._stat('compact_rows') AS rows_compacted,
	prom._stat('compact_us') OPERATOR(pg_catalog./) 1e6::pg_catalog.float8 AS compact_seconds,
	prom._stat_time('compact_last') AS last_compact
FROM (SELECT pg_catalog.min(added) AS oldest, pg_catalog.count(*) AS rows, pg_catalog.count(day) AS late,
		coalesce(pg_catalog.sum(samples), 0)::pg_catalog.int8 AS samples, coalesce(pg_catalog.sum(pg_catalog.pg_column_size(data)), 0)::pg_catalog.int8 AS bytes
	FROM prom.fresh) AS f;
COMMENT ON VIEW prom.stat_merge IS 'What waits for the merge in this database, and what merges have done since the start of the server, in all databases; what was rolled back is not counted. Counters are NULL if promgres is not preloaded.';
COMMENT ON COLUMN prom.stat_merge.since IS 'when the server was started';
COMMENT ON COLUMN prom.stat_merge.oldest_age IS 'age of the oldest fresh row that is not merged; NULL: there is none';
COMMENT ON COLUMN prom.stat_merge.fresh_rows IS 'rows that wait for the merge';
COMMENT ON COLUMN prom.stat_merge.late_rows IS 'rows among them that wait because a step makes rows of some days only';
COMMENT ON COLUMN prom.stat_merge.fresh_samples IS 'samples in rows that wait';
COMMENT ON COLUMN prom.stat_merge.fresh_bytes IS 'bytes of their chunks';
COMMENT ON COLUMN prom.stat_merge.steps IS 'merge steps, a transaction each';
COMMENT ON COLUMN prom.stat_merge.fresh_rows_merged IS 'fresh rows taken in';
COMMENT ON COLUMN prom.stat_merge.warm_rows_merged IS 'small warm rows taken in, to make larger ones';
COMMENT ON COLUMN prom.stat_merge.rows_written IS 'warm rows written';
COMMENT ON COLUMN prom.stat_merge.samples_written IS 'samples in them; one that was merged again counts again';
COMMENT ON COLUMN prom.stat_merge.seconds IS 'time spent in merge steps';
COMMENT ON COLUMN prom.stat_merge.last_merge IS 'when a step was committed last';
COMMENT ON COLUMN prom.stat_merge.errors IS 'steps that failed';
COMMENT ON COLUMN prom.stat_merge.last_error_at IS 'when one failed last';
COMMENT ON COLUMN prom.stat_merge.last_error IS 'and why';
COMMENT ON COLUMN prom.stat_merge.rows_quarantined IS 'damaged rows set aside since the start';
COMMENT ON COLUMN prom.stat_merge.quarantine_rows IS 'rows in prom.quarantine now';
COMMENT ON COLUMN prom.stat_merge.series_collected IS 'series removed because they had no samples left';
COMMENT ON COLUMN prom.stat_merge.days_to_compact IS 'days with rows that are not compacted, today among them';
COMMENT ON COLUMN prom.stat_merge.compact_steps IS 'steps of compactions, a transaction each';
COMMENT ON COLUMN prom.stat_merge.rows_compacted IS 'warm rows taken in by them; what they made counts as written';
COMMENT ON COLUMN prom.stat_merge.compact_seconds IS 'time spent in them';
COMMENT ON COLUMN prom.stat_merge.last_compact IS 'when one was committed last';

CREATE FUNCTION prom.stat_rows(start timestamptz DEFAULT '-infinity', "end" timestamptz DEFAULT 'infinity')
RETURNS TABLE (stage text, day date, gen int2, "rows" int8, samples int8, bytes int8)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT 'fresh', NULL::date, NULL::int2, count(*), sum(f.samples)::int8, sum(pg_column_size(f.data))::int8
	FROM prom._fresh_rows f WHERE f.t_max >= prom._to_ms(start) AND f.t_min <= prom._to_ms("end") HAVING count(*) > 0
	UNION ALL
	SELECT 'warm', date '1970-01-01' + (w.t_min / 86400000)::int4, w.gen, count(*), sum(w.samples)::int8, sum(pg_column_size(w.data))::int8
	FROM prom._warm_rows w
	WHERE w.t_max >= prom._to_ms(start) AND w.t_min <= prom._to_ms("end") AND w.t_min > greatest(prom._to_ms(start), 0) - 86400000
	GROUP BY 2, 3 ORDER BY 1, 2, 3;
END;
COMMENT ON FUNCTION prom.stat_rows(timestamptz, timestamptz) IS
'Rows that hold samples with start <= time <= end: how many of each stage, day and generation (127: full, 128: compacted), with their samples and bytes. Reads all of these rows, not their samples.';

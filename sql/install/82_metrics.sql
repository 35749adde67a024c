-- 82_metrics: what /metrics tells of the database; of itself the gateway tells more.

CREATE FUNCTION prom._stats() RETURNS TABLE (counter text, value float8)
LANGUAGE C VOLATILE PARALLEL SAFE ROWS 30
AS 'MODULE_PATHNAME', 'prom_stats';
COMMENT ON FUNCTION prom._stats() IS 'All counters of this server since its start, times as seconds since 1970 (0: never); nothing if promgres is not preloaded.';

-- No row here reads more than some pages of a table.
CREATE FUNCTION prom._metrics() RETURNS TABLE (name text, type text, help text, labels text, value float8)
LANGUAGE sql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	(SELECT m.name, m.type, m.help, m.labels, CASE WHEN m.counter = 'merge_us' THEN s.value / 1e6 ELSE s.value END
	FROM prom._stats() s JOIN (VALUES
		(1, 'ingest_samples', 'prometheus_tsdb_head_samples_appended_total', 'counter', 'Samples stored.', 'type="float"'),
		(2, 'ingest_series', 'prometheus_tsdb_head_series_created_total', 'counter', 'Series made.', ''),
		(3, 'collected_series', 'prometheus_tsdb_head_series_removed_total', 'counter', 'Series removed because they had no samples left.', ''),
		(4, 'refused_time', 'prometheus_tsdb_out_of_bound_samples_total', 'counter', 'Samples refused because of their time: too old, or too far in the future.', 'type="float"'),
		(5, 'ingest_calls', 'promgres_ingest_transactions_total', 'counter', 'Transactions that stored samples; one may store what many requests brought.', ''),
		(6, 'ingest_bodies', 'promgres_ingest_requests_total', 'counter', 'Remote write bodies stored.', ''),
		(7, 'ingest_bytes', 'promgres_ingest_bytes_total', 'counter', 'Bytes of these bodies, compressed as they came.', ''),
		(8, 'ingest_exemplars', 'promgres_ingest_exemplars_total', 'counter', 'Exemplars that came.', ''),
		(9, 'ingest_last', 'promgres_ingest_last_timestamp_seconds', 'gauge', 'When samples were stored last; 0: not since the server started.', ''),
		(10, 'refused_bodies', 'promgres_refused_total', 'counter', 'What was refused for good, by reason: malformed bodies, series with bad labels or above a limit, samples out of the time allowed, native histograms, metadata.', 'reason="body"'),
		(11, 'refused_labels', 'promgres_refused_total', 'counter', '', 'reason="series"'),
		(12, 'refused_time', 'promgres_refused_total', 'counter', '', 'reason="time"'),
		(13, 'refused_histograms', 'promgres_refused_total', 'counter', '', 'reason="histogram"'),
		(14, 'refused_metadata', 'promgres_refused_total', 'counter', '', 'reason="metadata"'),
		(15, 'merge_steps', 'promgres_merge_steps_total', 'counter', 'Merge steps, a transaction each.', ''),
		(16, 'merge_us', 'promgres_merge_seconds_total', 'counter', 'Time spent in merge steps.', ''),
		(17, 'merge_fresh_rows', 'promgres_merge_rows_total', 'counter', 'Rows that merges took in (fresh, warm) and wrote.', 'kind="fresh"'),
		(18, 'merge_warm_rows', 'promgres_merge_rows_total', 'counter', '', 'kind="warm"'),
		(19, 'merge_written_rows', 'promgres_merge_rows_total', 'counter', '', 'kind="written"'),
		(20, 'merge_samples', 'promgres_merge_samples_total', 'counter', 'Samples written by merges; one that is merged again counts again.', ''),
		(21, 'merge_errors', 'promgres_merge_errors_total', 'counter', 'Merge steps that failed.', ''),
		(22, 'merge_last', 'promgres_merge_last_timestamp_seconds', 'gauge', 'When a merge step was committed last; 0: not since the server started.', ''),
		(23, 'merge_last_error', 'promgres_merge_last_error_timestamp_seconds', 'gauge', 'When a merge step failed last; 0: not since the server started.', ''),
		(24, 'quarantined_rows', 'promgres_quarantined_rows_total', 'counter', 'Damaged rows set aside.', ''),
		(25, 'gateway_starts', 'promgres_worker_starts_total', 'counter', 'How often a worker has started since the server did; more than once: it crashed, or was told to.', 'worker="gateway"'),
		(26, 'maintenance_starts', 'promgres_worker_starts_total', 'counter', '', 'worker="maintenance"'),
		(27, 'replica_samples', 'promgres_replica_samples_dropped_total', 'counter', 'Samples dropped because their replica is not the elected one of its cluster.', ''),
		(28, 'tier_gets', 'promgres_tier_read_requests_total', 'counter', 'Requests for samples in a bucket, each try of them.', ''),
		(29, 'tier_bytes', 'promgres_tier_read_bytes_total', 'counter', 'Bytes of samples that came from a bucket.', ''),
		(30, 'tier_errors', 'promgres_tier_read_errors_total', 'counter', 'Requests for samples in a bucket that were given up.', ''),
		(31, 'tier_hits', 'promgres_tier_cache_chunks_total', 'counter', 'Chunks of a bucket that queries wanted: found in the local cache (hit), or not (miss).', 'kind="hit"'),
		(32, 'tier_misses', 'promgres_tier_cache_chunks_total', 'counter', '', 'kind="miss"'),
		(33, 'tier_evicted', 'promgres_tier_cache_evictions_total', 'counter', 'Chunks thrown out of the local cache.', ''),
		(34, 'offload_objects', 'promgres_tier_written_objects_total', 'counter', 'Objects written to a bucket, whether their rows went or not.', ''),
		(35, 'offload_bytes', 'promgres_tier_written_bytes_total', 'counter', 'Bytes of these objects.', ''),
		(36, 'offload_samples', 'promgres_tier_written_samples_total', 'counter', 'Samples in them.', ''),
		(37, 'offload_returned', 'promgres_tier_returned_chunks_total', 'counter', 'Chunks that were brought back from a bucket.', ''),
		(38, 'started', 'promgres_server_start_timestamp_seconds', 'gauge', 'When the server was started.', '')
	) AS m(n, counter, name, type, help, labels) ON m.counter = s.counter
	ORDER BY m.n)
	UNION ALL
	SELECT v.* FROM (SELECT count(*) AS n, min(f.added) AS oldest FROM (SELECT added FROM prom.fresh LIMIT 10000) f) f,
		LATERAL (VALUES
			('promgres_merge_backlog_rows', 'gauge', 'Rows that wait for the merge; counted up to 10000.', '', f.n::float8),
			('promgres_merge_backlog_age_seconds', 'gauge', 'Age of the oldest row that waits for the merge; 0: none does.', '',
				coalesce(extract(epoch FROM clock_timestamp() - f.oldest), 0)::float8)) v
	UNION ALL
	SELECT v.* FROM (SELECT d.* FROM pg_stat_database d WHERE d.datname = current_database()) d,
		LATERAL (VALUES
			('promgres_database_blocks_total', 'counter', 'Blocks that the database wanted: found in shared buffers (hit), or not (read).', 'kind="hit"', d.blks_hit::float8),
			('promgres_database_blocks_total', 'counter', '', 'kind="read"', d.blks_read::float8),
			('promgres_database_connections', 'gauge', 'Connections to the database.', '', d.numbackends::float8),
			('promgres_database_deadlocks_total', 'counter', 'Deadlocks in the database.', '', d.deadlocks::float8),
			('promgres_database_temp_bytes_total', 'counter', 'Bytes that queries wrote to temporary files.', '', d.temp_bytes::float8)) v
	UNION ALL
	(SELECT v.* FROM (VALUES
		(1, 'promgres_job_runs_total', 'counter', 'Runs of a job that have ended.'),
		(2, 'promgres_job_failures_total', 'counter', 'Those of them that failed.'),
		(3, 'promgres_job_failed', 'gauge', '1 if the last run of the job failed, by whomever it was called; the next one that ends well sets it to 0.'),
		(4, 'promgres_job_running', 'gauge', '1 if the job runs now.'),
		(5, 'promgres_job_duration_seconds', 'gauge', 'How long its last run took, or this one does so far.'),
		(6, 'promgres_job_lag_seconds', 'gauge', 'How long it has been due.'),
		(7, 'promgres_job_last_success_timestamp_seconds', 'gauge', 'When it ended well last; 0: never.')) AS m(n, name, type, help),
		prom.jobs j,
		LATERAL (VALUES (m.name, m.type, CASE WHEN j.name = 'make_days' THEN m.help ELSE '' END, format('job_name="%s"', j.name), CASE m.n
			WHEN 1 THEN coalesce(j.runs, 0)
			WHEN 2 THEN coalesce(j.failures, 0)
			WHEN 3 THEN (j.error IS NOT NULL)::int4
			WHEN 4 THEN (j.pid IS NOT NULL)::int4
			WHEN 5 THEN coalesce(extract(epoch FROM j.duration), 0)
			WHEN 6 THEN coalesce(extract(epoch FROM j.lag), 0)
			ELSE coalesce(extract(epoch FROM j.last_success), 0) END::float8)) v
	ORDER BY m.n, j.name <> 'make_days', j.name)
	UNION ALL
	SELECT 'promgres_in_recovery', 'gauge', '1 if the server is a standby: it answers queries and refuses writes.', '',
		pg_is_in_recovery()::int4::float8
	UNION ALL
	SELECT 'promgres_replay_lag_seconds', 'gauge', 'On a standby: how long ago the last transaction that it has replayed was committed.', '',
		extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
	WHERE pg_is_in_recovery() AND pg_last_xact_replay_timestamp() IS NOT NULL;
END;
COMMENT ON FUNCTION prom._metrics() IS 'Metrics of the database that cost nearly nothing, in the order in which /metrics tells them.';

CREATE FUNCTION prom._metrics_sizes() RETURNS TABLE (name text, type text, help text, labels text, value float8)
LANGUAGE sql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '200ms'
BEGIN ATOMIC
	WITH series AS (
		SELECT c.reltuples AS n, c.relpages AS pages, pg_relation_size(c.oid) / current_setting('block_size')::int8 AS pages_now
		FROM pg_class c WHERE c.oid = 'prom.series'::regclass
	), days AS (
		SELECT count(*) AS n, min(d.t_min) AS first, coalesce(sum(pg_total_relation_size(d.day)), 0)::float8 AS bytes FROM prom._days() d
	)
	SELECT 'prometheus_tsdb_head_series', 'gauge', 'Series there are; an estimate where they are many.', '',
		CASE WHEN s.n < 100000 THEN (SELECT count(*) FROM (SELECT FROM prom.series LIMIT 200000) l)::float8
			ELSE s.n::float8 * s.pages_now / greatest(s.pages, 1) END
	FROM series s
	UNION ALL
	SELECT 'promgres_storage_bytes', 'gauge', 'Bytes on disk, indexes included: samples as they came (fresh), merged samples (warm), rollups, exemplars, series, labels.',
		format('stage="%s"', b.stage), b.bytes
	FROM (
		SELECT 'fresh' AS stage, pg_total_relation_size('prom.fresh'::regclass)::float8 AS bytes
		UNION ALL
		SELECT 'warm', d.bytes FROM days d
		UNION ALL
		SELECT 'rollup', coalesce(sum(pg_total_relation_size(day.inhrelid)), 0)::float8
		FROM pg_inherits level JOIN pg_inherits day ON day.inhparent = level.inhrelid WHERE level.inhparent = 'prom.rollup'::regclass
		UNION ALL
		SELECT 'exemplar', pg_total_relation_size('prom.exemplar'::regclass)::float8
		UNION ALL
		SELECT 'series', pg_total_relation_size('prom.series'::regclass)::float8
		UNION ALL
		SELECT 'labels', pg_total_relation_size('prom.label_value'::regclass)::float8
	) b
	UNION ALL
	SELECT 'promgres_warm_partitions', 'gauge', 'Partitions of merged samples, one for each day that has some.', '', d.n::float8 FROM days d
	UNION ALL
	SELECT 'prometheus_tsdb_lowest_timestamp_seconds', 'gauge', 'Where the first day that has merged samples begins.', '', d.first / 1000.0 FROM days d WHERE d.n > 0
	UNION ALL
	SELECT 'promgres_tier_objects', 'gauge', 'Objects in buckets that queries read.', '', count(*)::float8 FROM prom.tier_object o WHERE o.deleted IS NULL
	UNION ALL
	SELECT 'promgres_tier_bytes', 'gauge', 'Bytes of these objects.', '', coalesce(sum(o.bytes), 0)::float8 FROM prom.tier_object o WHERE o.deleted IS NULL
	UNION ALL
	SELECT 'promgres_quarantine_rows', 'gauge', 'Damaged rows that were set aside and wait for somebody to look at them.', '', (SELECT count(*) FROM prom.quarantine)::float8;
END;
COMMENT ON FUNCTION prom._metrics_sizes() IS 'Metrics of the database that cost a look at each of its tables'' files; the gateway asks for them once a minute.';

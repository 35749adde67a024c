-- 95_access: who may do what.  Three roles, to be granted: prom_reader, prom_writer, and prom_admin, which
-- is both.  They belong to the server, other databases may have made them already, and they stay.

DO $$
DECLARE
	one		text;
BEGIN
	FOREACH one IN ARRAY ARRAY['prom_reader', 'prom_writer', 'prom_admin'] LOOP
		BEGIN
			IF to_regrole(one) IS NULL THEN
				EXECUTE format('CREATE ROLE %I NOLOGIN', one);
			END IF;
		EXCEPTION WHEN duplicate_object OR unique_violation THEN
			-- made at the same moment in another database
			NULL;
		END;
	END LOOP;
	IF NOT pg_has_role('prom_admin', 'prom_reader', 'MEMBER') OR NOT pg_has_role('prom_admin', 'prom_writer', 'MEMBER') THEN
		GRANT prom_reader, prom_writer TO prom_admin;
	END IF;
END
$$;

-- Reading: series themselves, what row security lets through of them; the rest by views and functions.
GRANT SELECT ON prom.series, prom._shard, prom._metric, prom._label_value, prom._label_name, prom._fresh_rows, prom._warm_rows, prom._rollup_rows, prom._metadata,
	prom.metrics, prom.label_names, prom.label_values, prom.stat_ingest, prom.stat_merge, prom.stat_rollup, prom.stat_tier, prom.levels, prom.ha_clusters TO prom_reader;
GRANT SELECT ON prom.stat_ingest, prom.stat_merge, prom.stat_rollup, prom.stat_tier, prom.levels TO pg_monitor;
GRANT SELECT ON prom.stat_merge, prom.tokens, prom.retention_rules, prom.block_import TO prom_admin;
GRANT SELECT ON prom.jobs, prom.stat_progress_jobs TO prom_admin, pg_monitor;
GRANT SELECT ON prom.tier_objects TO prom_admin;

-- Tables of samples and labels let in nobody but their owner, also if somebody is granted all tables of the
-- schema.
DO $$
DECLARE
	one		text;
BEGIN
	FOREACH one IN ARRAY ARRAY['shard', 'metric', 'label_value', 'fresh', 'warm', 'metadata', 'exemplar', 'quarantine', 'compaction', 'slack',
		'level', 'rollup', 'rollup_open', 'rollup_due', 'rollup_foreign', 'rollup_gap', 'expired', 'retention', 'job', 'token', 'ha_replica',
		'tier_cluster', 'tier_owner', 'tier_object', 'tier_upload', 'tier_series', 'tier_hold', 'attached_level', 'attached_gap'] LOOP
		EXECUTE format('ALTER TABLE prom.%I ENABLE ROW LEVEL SECURITY', one);
	END LOOP;
END
$$;

-- What changes something runs with the rights of its owner, and may be called by whom it is granted to.
-- By name, so that all forms of a function are meant.
DO $$
DECLARE
	f		record;
BEGIN
	FOR f IN
		SELECT p.oid::regprocedure AS call, p.prokind, g.definer, g.role
		FROM (VALUES
			('ingest', true, 'prom_writer'),
			('delete_series', true, 'prom_admin'),
			('quarantine_damaged', true, 'prom_admin'),
			('quarantine_retry', true, 'prom_admin'),
			('_quarantined', true, 'prom_reader'),
			('merge', false, 'prom_admin'),
			('_merge_step', true, 'prom_admin'),
			('collect_series', false, 'prom_admin'),
			('_collect_step', true, 'prom_admin'),
			('compact', false, NULL),
			('_compact_step', false, NULL),
			('_compact_begin', false, NULL),
			('_compact_end', false, NULL),
			('_compact_next', false, NULL),
			('_compact_retry', false, NULL),
			('_reindex', false, NULL),
			('_pages', false, NULL),
			('_lies_behind', false, NULL),
			('_offer_pages', false, NULL),
			('_room', false, NULL),
			('_index_free', false, NULL),
			('_has_dead_rows', false, NULL),
			('_slack_add', false, NULL),
			('_slack_next', false, NULL),
			('_slack_retry', false, NULL),
			('_slack_begin', false, NULL),
			('_slack_hold', false, NULL),
			('_slack_step', false, NULL),
			('_slack_end', false, NULL),
			('set_retention', true, 'prom_admin'),
			('reset_retention', true, 'prom_admin'),
			('_set_keep', false, NULL),
			('_mark_dropped', false, NULL),
			('_drop_part', false, NULL),
			('_expire_part', false, NULL),
			('_cut_part', false, NULL),
			('_retain_next', false, NULL),
			('_retain_finish', false, NULL),
			('_job_retain', false, NULL),
			('_retain_size', false, NULL),
			('_written_since', false, NULL),
			('_mark_compaction', false, NULL),
			('make_days', false, 'prom_admin'),
			('drop_exemplars', false, 'prom_admin'),
			('retain', false, 'prom_admin'),
			('compact_days', false, 'prom_admin'),
			('_run_job', false, 'prom_admin'),
			('_job_begin', true, 'prom_admin'),
			('_job_step', true, 'prom_admin'),
			('_job_yields', true, 'prom_admin'),
			('_job_end', true, 'prom_admin'),
			('_job_unlock', false, 'prom_admin'),
			('_job_rows', true, 'prom_admin'),
			('_job_rows', true, 'pg_monitor'),
			('_job_lock', false, NULL),
			('_job_make_days', false, NULL),
			('_job_drop_exemplars', false, NULL),
			('_job_collect_series', false, NULL),
			('_job_compact_days', false, NULL),
			('_jobs_for_worker', false, NULL),
			('schedule_jobs', false, NULL),
			('unschedule_jobs', false, NULL),
			('_cron', false, NULL),
			('_cron_there', false, NULL),
			('import_blocks', false, 'prom_admin'),
			('_import_list', false, 'prom_admin'),
			('_import_begin', true, 'prom_admin'),
			('_import_step', true, 'prom_admin'),
			('_import_failed', true, 'prom_admin'),
			('export_blocks', false, 'prom_reader'),
			('_export_block', false, 'prom_reader'),
			('_export_tier_days', true, 'prom_reader'),
			('_export_directory', false, 'prom_admin'),
			('_api_snapshot', false, 'prom_admin'),
			('create_token', false, 'prom_admin'),
			('revoke_token', false, 'prom_admin'),
			('_add_token', false, NULL),
			('_use_token', false, NULL),
			('_login', false, NULL),
			('_enter', false, NULL),
			('bucket_check', false, 'prom_admin'),
			('_bucket_put', false, NULL),
			('_bucket_put_new', false, NULL),
			('_bucket_get', false, NULL),
			('_bucket_get_range', false, NULL),
			('_bucket_get_ranges', false, NULL),
			('_bucket_head', false, NULL),
			('_bucket_list', false, NULL),
			('_bucket_delete', false, NULL),
			('_bucket_uploads', false, NULL),
			('_upload_begin', false, NULL),
			('_upload_put', false, NULL),
			('_upload_parts', false, NULL),
			('_upload_complete', false, NULL),
			('_upload_abort', false, NULL),
			('tier', false, 'prom_admin'),
			('rehydrate', false, 'prom_admin'),
			('attach_bucket', true, 'prom_admin'),
			('detach_bucket', true, 'prom_admin'),
			('verify_bucket', true, 'prom_admin'),
			('claim_bucket', true, 'prom_admin'),
			('_tier_own', false, NULL),
			('_tier_owns', false, NULL),
			('_tier_identity', false, NULL),
			('_tier_owner_key', false, NULL),
			('_tier_manifest', false, NULL),
			('_tier_load_series', false, NULL),
			('_tier_register_series', false, NULL),
			('_tier_attach_objects', false, NULL),
			('_tier_shard', false, NULL),
			('_tier_forget_objects', false, NULL),
			('_tier_attached', false, NULL),
			('_tier_returned', false, NULL),
			('_tier_cluster', false, NULL),
			('_tier_write', false, NULL),
			('_tier_chunks', false, NULL),
			('_tier_directories', false, NULL),
			('_tier_get_many', false, NULL),
			('_tier_days', false, NULL),
			('_tier_ready', false, NULL),
			('_tier_prefix', false, NULL),
			('_tier_resume', false, NULL),
			('_tier_begin', false, NULL),
			('_tier_put', false, NULL),
			('_tier_upload', false, NULL),
			('_tier_add_series', false, NULL),
			('_tier_commit', false, NULL),
			('_tier_drop', false, NULL),
			('_tier_restore', false, NULL),
			('_tier_restore_step', true, 'prom_admin'),
			('_tier_blocks', true, 'prom_admin'),
			('_tier_hold', true, 'prom_admin'),
			('_tier_expire', false, NULL),
			('_tier_expire_step', false, NULL),
			('_tier_cut', false, NULL),
			('_tier_delete', false, NULL),
			('_tier_rest', false, NULL),
			('_tier_swap', false, NULL),
			('_tier_withdraw', false, NULL),
			('_tier_rewrite', false, NULL),
			('_tier_erase', false, NULL),
			('_tier_remove', false, NULL),
			('_tier_tidy', false, NULL),
			('_tier_forget_series', false, NULL),
			('_tier_fetch_due', false, NULL),
			('_job_tier', false, NULL),
			('series_id', false, NULL),
			('_series_removed', false, NULL),
			('_remove_series', false, NULL),
			('_unused_labels', false, NULL),
			('_make_day', false, NULL),
			('_make_rollup', false, NULL),
			('downsample', false, 'prom_admin'),
			('_downsample_step', false, NULL),
			('_job_downsample', false, NULL),
			('_rollup_day_step', false, NULL),
			('_rollup_due_step', false, NULL),
			('_rollup_admit', false, NULL),
			('_rollup_begin', false, NULL),
			('_rollup_close', false, NULL),
			('_rollup_mark', false, NULL),
			('_expired_sids', false, NULL),
			('_rollup_is_loaded', false, NULL),
			('_rollup_last', false, NULL),
			('_downsample_due', false, NULL),
			('_rolled_until', true, 'prom_reader'),
			('_lock_rollup', false, NULL),
			('_cut_rollup', false, NULL),
			('_drop_exemplars', false, NULL),
			('_ha_elect', false, NULL),
			('_lock_merge', true, 'prom_admin'),
			('_empty_series', false, NULL),
			('_cut', false, NULL),
			('_stat_count', false, NULL),
			('_quarantine_range', false, NULL),
			('_quarantine_retry_row', false, NULL)) AS g(name, definer, role)
		JOIN pg_proc p ON p.proname = g.name AND p.pronamespace = 'prom'::regnamespace
	LOOP
		EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', f.call);
		IF f.role IS NOT NULL THEN
			EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', f.call, f.role);
		END IF;
		IF f.definer THEN
			EXECUTE format('ALTER ROUTINE %s SECURITY DEFINER', f.call);
		END IF;
	END LOOP;
END
$$;

GRANT EXECUTE ON FUNCTION prom._rolled_until() TO pg_monitor;	-- for prom.stat_rollup

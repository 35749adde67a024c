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
GRANT SELECT ON prom.series, prom._shard, prom._metric, prom._label_value, prom._label_name, prom._fresh_rows, prom._warm_rows, prom._metadata,
	prom.metrics, prom.label_names, prom.label_values, prom.stat_ingest, prom.stat_merge TO prom_reader;
GRANT SELECT ON prom.stat_ingest, prom.stat_merge TO pg_monitor;
GRANT SELECT ON prom.stat_merge, prom.tokens, prom.block_import TO prom_admin;

-- Tables of samples and labels let in nobody but their owner, also if somebody is granted all tables of the
-- schema.  There are no policies, as a dump would make those of an extension a second time.
DO $$
DECLARE
	one		text;
BEGIN
	FOREACH one IN ARRAY ARRAY['shard', 'metric', 'label_value', 'fresh', 'warm', 'metadata', 'exemplar', 'quarantine', 'compaction', 'token'] LOOP
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
			('_compact_index', false, NULL),
			('import_blocks', false, 'prom_admin'),
			('_import_list', false, 'prom_admin'),
			('_import_begin', true, 'prom_admin'),
			('_import_step', true, 'prom_admin'),
			('_import_failed', true, 'prom_admin'),
			('export_blocks', false, 'prom_reader'),
			('_export_block', false, 'prom_reader'),
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
			('_tier_stat', false, NULL),
			('series_id', false, NULL),
			('_series_removed', false, NULL),
			('_remove_series', false, NULL),
			('_make_day', false, NULL),
			('_drop_exemplars', false, NULL),
			('_lock_merge', false, NULL),
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

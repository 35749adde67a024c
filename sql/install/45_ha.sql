-- 45_ha: of the replicas of a cluster one is elected, whose samples are stored (promgres.ha_tracker).

CREATE TABLE prom.ha_replica (
	cluster		text COLLATE "C" NOT NULL PRIMARY KEY,
	elected		text COLLATE "C" NOT NULL,
	since_ms	int8 NOT NULL,
	seen_ms		int8 NOT NULL,
	failovers	int8 NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE prom.ha_replica IS 'Which replica of each cluster is elected, and when something came from it last (ms since 1970).';
SELECT pg_catalog.pg_extension_config_dump('prom.ha_replica', '');

CREATE FUNCTION prom._ha_elect(cluster text, replica text, now_ms int8, failover_ms int8, beat_ms int8,
	OUT elected text, OUT seen_ms int8, OUT written bool)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	LOOP
		SELECT h.elected, h.seen_ms, false INTO _ha_elect.elected, _ha_elect.seen_ms, _ha_elect.written
		FROM prom.ha_replica h WHERE h.cluster = _ha_elect.cluster;
		IF NOT FOUND THEN
			INSERT INTO prom.ha_replica AS h (cluster, elected, since_ms, seen_ms)
			VALUES (_ha_elect.cluster, replica, now_ms, now_ms)
			ON CONFLICT DO NOTHING;
		ELSIF _ha_elect.elected = replica AND _ha_elect.seen_ms <= now_ms - beat_ms THEN
			-- Whoever has locked it writes the same.
			PERFORM FROM prom.ha_replica h WHERE h.cluster = _ha_elect.cluster AND h.elected = replica FOR UPDATE SKIP LOCKED;
			EXIT WHEN NOT FOUND;
			UPDATE prom.ha_replica h SET seen_ms = greatest(h.seen_ms, now_ms) WHERE h.cluster = _ha_elect.cluster;
		ELSIF _ha_elect.elected <> replica AND _ha_elect.seen_ms <= now_ms - failover_ms THEN
			-- Waits for others, who may have elected it or heard of the elected one: then it is looked at again.
			UPDATE prom.ha_replica h SET elected = replica, since_ms = now_ms, seen_ms = now_ms, failovers = h.failovers + 1
			WHERE h.cluster = _ha_elect.cluster AND h.elected <> replica AND h.seen_ms <= now_ms - failover_ms;
		ELSE
			EXIT;
		END IF;
		IF FOUND THEN
			_ha_elect.elected := replica;
			_ha_elect.seen_ms := now_ms;
			_ha_elect.written := true;
			EXIT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION prom._ha_elect(text, text, int8, int8, int8) IS
'The elected replica of a cluster, to which a series of this replica has come now: it becomes the elected one if there is none or nothing came from that for failover_ms. seen_ms: when something did, written once per beat_ms. written: the row was changed.';

CREATE VIEW prom.ha_clusters WITH (security_barrier) AS
SELECT h.cluster, h.elected,
	pg_catalog.to_timestamp(h.since_ms OPERATOR(pg_catalog./) 1000::pg_catalog.float8) AS elected_since,
	pg_catalog.to_timestamp(h.seen_ms OPERATOR(pg_catalog./) 1000::pg_catalog.float8) AS last_seen,
	h.failovers
FROM prom.ha_replica AS h
WHERE NOT pg_catalog.row_security_active('prom.series'::pg_catalog.regclass);
COMMENT ON VIEW prom.ha_clusters IS 'Clusters of replicas that the tracker knows (promgres.ha_tracker).';
COMMENT ON COLUMN prom.ha_clusters.elected IS 'the replica whose samples are stored';
COMMENT ON COLUMN prom.ha_clusters.elected_since IS 'when it was elected';
COMMENT ON COLUMN prom.ha_clusters.last_seen IS 'when samples of it came last; up to a second older than that';
COMMENT ON COLUMN prom.ha_clusters.failovers IS 'how often another replica was elected in the place of a silent one';

-- 41_dedup: series of replicas become one, in queries.

CREATE FUNCTION prom._replicas(shards int2[], sids int4[], labels prom.labels[]) RETURNS int8[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_replicas';
COMMENT ON FUNCTION prom._replicas(int2[], int4[], prom.labels[]) IS
'Ids of the replicas of a series in order of their labels: shard << 32 | sid, all but the first complemented.';

CREATE AGGREGATE prom._replica_batch(ids int8[]) (
	SFUNC = pg_catalog.array_cat, STYPE = int8[], PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._replica_batch(int8[]) IS 'Replicas of several series (prom._replicas), one behind the other.';

CREATE FUNCTION prom._replica_blocks(ids int8[], OUT shard int2, OUT block int4, OUT sids int4[]) RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 4 AS 'MODULE_PATHNAME', 'prom_replica_blocks';
COMMENT ON FUNCTION prom._replica_blocks(int8[]) IS 'Where the replicas are: blocks, and the ids in each of them.';

CREATE FUNCTION prom._deduplicated_add(internal, prom.chunk, int8, int8[], int8, int8, text, bool) RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'prom_deduplicated_add';
COMMENT ON FUNCTION prom._deduplicated_add(internal, prom.chunk, int8, int8[], int8, int8, text, bool) IS 'Adds a row to prom._deduplicated.';
CREATE FUNCTION prom._deduplicated_done(internal) RETURNS prom.chunk
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'prom_deduplicated_done';
COMMENT ON FUNCTION prom._deduplicated_done(internal) IS 'Final function of prom._deduplicated.';
CREATE AGGREGATE prom._deduplicated(data prom.chunk, ord int8, ids int8[], from_ms int8, to_ms int8, method text, counter bool) (
	SFUNC = prom._deduplicated_add, STYPE = internal, SSPACE = 65536,
	FINALFUNC = prom._deduplicated_done, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._deduplicated(prom.chunk, int8, int8[], int8, int8, text, bool) IS
'The samples with from_ms < t <= to_ms of each series, those of its replicas merged, as one plain chunk; a series has the id of its first replica. Methods are the values of promgres.dedup_algorithm.';

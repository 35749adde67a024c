-- 45_tier_read: samples of objects in buckets (prom.tier_object), for the leaves of queries.

CREATE FUNCTION prom._tier(shard int2, sids int4[], resolution int4, parts int2[], from_ms int8, to_ms int8, wanted int8[],
	OUT data prom.chunk, OUT ord int8) RETURNS SETOF record
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED ROWS 10 COST 1000 AS 'MODULE_PATHNAME', 'prom_tier_rows';
COMMENT ON FUNCTION prom._tier(int2, int4[], int4, int2[], int8, int8, int8[]) IS
'What objects in buckets hold of the series that the caller may see; parts are those of a rollup, resolution 0 is raw. wanted: all series (shard << 32 | sid) that the query will ask for, so that they can be fetched ahead.';

CREATE FUNCTION prom._tier_holds(shard int2, sid int4, resolution int4, from_ms int8, to_ms int8) RETURNS bool
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED COST 10 AS 'MODULE_PATHNAME', 'prom_tier_holds';
COMMENT ON FUNCTION prom._tier_holds(int2, int4, int4, int8, int8) IS
'Whether the objects of that time in buckets hold samples of a series that the caller may see.';

CREATE FUNCTION prom._tier_cache_bytes() RETURNS int8
LANGUAGE C VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_tier_cache_bytes';
COMMENT ON FUNCTION prom._tier_cache_bytes() IS
'What the local cache takes of the disk, as far as it has been written to since the start of the server; NULL if promgres is not preloaded.';

CREATE VIEW prom.stat_tier AS
SELECT prom._stat_time('started') AS since,
	prom._stat('tier_gets') AS requests,
	prom._stat('tier_bytes') AS bytes_fetched,
	prom._stat('tier_errors') AS errors,
	prom._stat('tier_hits') AS cache_hits,
	prom._stat('tier_hit_bytes') AS cache_hit_bytes,
	prom._stat('tier_misses') AS cache_misses,
	prom._stat('tier_evicted') AS cache_evictions,
	prom._tier_cache_bytes() AS cache_bytes;
COMMENT ON VIEW prom.stat_tier IS 'What queries have read from buckets and from the local cache of them since the start of the server, in all databases. NULL if promgres is not preloaded.';
COMMENT ON COLUMN prom.stat_tier.since IS 'when the server was started';
COMMENT ON COLUMN prom.stat_tier.requests IS 'requests for samples, each try of them';
COMMENT ON COLUMN prom.stat_tier.bytes_fetched IS 'bytes of samples that came';
COMMENT ON COLUMN prom.stat_tier.errors IS 'requests that were given up';
COMMENT ON COLUMN prom.stat_tier.cache_hits IS 'chunks read from the local cache';
COMMENT ON COLUMN prom.stat_tier.cache_hit_bytes IS 'their bytes';
COMMENT ON COLUMN prom.stat_tier.cache_misses IS 'chunks that were not in it';
COMMENT ON COLUMN prom.stat_tier.cache_evictions IS 'chunks thrown out of it, as promgres.tier_cache_size was reached';
COMMENT ON COLUMN prom.stat_tier.cache_bytes IS 'what it takes of the disk, as far as it has been written to since the start';

-- 10_chunk: the type that all samples are stored in.

CREATE TYPE prom.chunk;

CREATE FUNCTION prom._chunk_in(cstring) RETURNS prom.chunk
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_chunk_in' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._chunk_in(cstring) IS 'input of prom.chunk: verifies every column';

CREATE FUNCTION prom._chunk_out(prom.chunk) RETURNS cstring
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_chunk_out' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._chunk_out(prom.chunk) IS 'output of prom.chunk';

CREATE FUNCTION prom._chunk_recv(internal) RETURNS prom.chunk
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_chunk_recv' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._chunk_recv(internal) IS 'binary input of prom.chunk: verifies every column';

CREATE FUNCTION prom._chunk_send(prom.chunk) RETURNS bytea
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_chunk_send' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._chunk_send(prom.chunk) IS 'binary output of prom.chunk';

-- Already compressed, hence external; plain chunks hold arrays of doubles, hence the alignment.
CREATE TYPE prom.chunk (
	INPUT = prom._chunk_in,
	OUTPUT = prom._chunk_out,
	RECEIVE = prom._chunk_recv,
	SEND = prom._chunk_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = external
);
COMMENT ON TYPE prom.chunk IS 'samples of one or many series of one shard, packed';

CREATE FUNCTION prom.samples(chunk prom.chunk)
RETURNS TABLE (shard int2, sid int4, t_ms int8, "time" timestamptz, value float8,
	histogram prom.histogram)
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_samples' IMMUTABLE STRICT PARALLEL SAFE ROWS 1000;
COMMENT ON FUNCTION prom.samples(prom.chunk) IS
	'samples of a chunk, by series and time; t_ms is in milliseconds since 1970; either value or histogram is null';

CREATE FUNCTION prom.chunk_build(shard int2, sid int4, t_ms int8[], value float8[], style text DEFAULT 'warm')
RETURNS prom.chunk
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_chunk_build' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.chunk_build(int2, int4, int8[], float8[], text) IS
	'chunk of one series; style is fresh, warm, cold (zstd, checksum) or plain (inside a query only)';

CREATE FUNCTION prom.chunk_build(shard int2, sid int4, t_ms int8[], value float8[], histogram prom.histogram[],
	style text DEFAULT 'warm')
RETURNS prom.chunk
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_chunk_build_mixed' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.chunk_build(int2, int4, int8[], float8[], prom.histogram[], text) IS
	'chunk of one series with native histograms; where an element of histogram is null the sample is the value';

CREATE FUNCTION prom.chunk_info(chunk prom.chunk, OUT format int4, OUT shard int2, OUT series int4,
	OUT samples int8, OUT t_min int8, OUT t_max int8, OUT bytes int8)
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_chunk_info' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.chunk_info(prom.chunk) IS
	'what is in a chunk, told from its head and directory; times are in milliseconds since 1970';

CREATE FUNCTION prom._chunk_hints(chunk prom.chunk) RETURNS text
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_chunk_hints' IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._chunk_hints(prom.chunk) IS
	'counter reset hints of the first series in a chunk as queries get them, blank between; float where a sample is one';

CREATE FUNCTION prom._chunk_merge_step(internal, prom.chunk, int8) RETURNS internal
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_chunk_merge_step' IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION prom._chunk_merge_step(internal, prom.chunk, int8) IS 'transition of prom.chunk_merge';

CREATE FUNCTION prom._chunk_merge_step(internal, prom.chunk, int8, text) RETURNS internal
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_chunk_merge_step' IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION prom._chunk_merge_step(internal, prom.chunk, int8, text) IS 'transition of prom.chunk_merge';

CREATE FUNCTION prom._chunk_merge_end(internal) RETURNS prom.chunk
LANGUAGE C AS 'MODULE_PATHNAME', 'prom_chunk_merge_end' IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION prom._chunk_merge_end(internal) IS 'end of prom.chunk_merge';

CREATE AGGREGATE prom.chunk_merge(chunk prom.chunk, ord int8) (
	SFUNC = prom._chunk_merge_step,
	STYPE = internal,
	FINALFUNC = prom._chunk_merge_end,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom.chunk_merge(prom.chunk, int8) IS
	'one warm chunk of many; of samples with equal series and time the one with the greatest ord stays';

CREATE AGGREGATE prom.chunk_merge(chunk prom.chunk, ord int8, style text) (
	SFUNC = prom._chunk_merge_step,
	STYPE = internal,
	FINALFUNC = prom._chunk_merge_end,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom.chunk_merge(prom.chunk, int8, text) IS
	'one chunk of the given style of many; of samples with equal series and time the one with the greatest ord stays';

-- 50_vals: the values of a series over the steps of a query, and what a translated query computes with them.
--
-- Everything here is in flight inside queries that promgres makes from PromQL; nothing is stored.
-- Costs are rough: a call touches tens to hundreds of steps.

-- The type.

CREATE TYPE prom.vals;

CREATE FUNCTION prom.vals_in(cstring) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_vals_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.vals_in(cstring) IS 'input';

CREATE FUNCTION prom.vals_out(prom.vals) RETURNS cstring
	AS 'MODULE_PATHNAME', 'prom_vals_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.vals_out(prom.vals) IS 'output';

CREATE FUNCTION prom.vals_recv(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_vals_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.vals_recv(internal) IS 'binary input';

CREATE FUNCTION prom.vals_send(prom.vals) RETURNS bytea
	AS 'MODULE_PATHNAME', 'prom_vals_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom.vals_send(prom.vals) IS 'binary output';

CREATE TYPE prom.vals (
	INPUT = prom.vals_in,
	OUTPUT = prom.vals_out,
	RECEIVE = prom.vals_recv,
	SEND = prom.vals_send,
	ALIGNMENT = double,
	STORAGE = extended
);
COMMENT ON TYPE prom.vals IS 'values of one series over all steps of a PromQL query';

CREATE TYPE prom.labeled_vals AS (labels prom.labels, vals prom.vals);
COMMENT ON TYPE prom.labeled_vals IS 'one series of the result of a PromQL expression';

CREATE FUNCTION prom._vals(value float8) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_vals' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._vals(float8) IS 'constant: the same value at every step';

CREATE FUNCTION prom._time(start_ms int8, step_ms int8, nsteps int4) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_time' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._time(int8, int8, int4) IS 'time of each step in seconds since 1970';

CREATE FUNCTION prom._vector(vals prom.vals, nsteps int4) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._vector(prom.vals, int4) IS 'a constant spread over all steps';

CREATE FUNCTION prom._scalar(vals prom.vals, nsteps int4) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_scalar' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION prom._scalar(prom.vals, int4) IS 'values over all steps, NaN where they are absent or if they are NULL; see prom._single';

CREATE FUNCTION prom._points(vals prom.vals, start_ms int8, step_ms int8, nsteps int4,
	OUT "time" timestamptz, OUT value float8, OUT histogram prom.histogram) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'prom_points' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10 ROWS 100;
COMMENT ON FUNCTION prom._points(prom.vals, int8, int8, int4) IS 'the steps that are present, as rows';

CREATE FUNCTION prom._floats(vals prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_floats' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._floats(prom.vals) IS 'values without the steps that have histograms; NULL if no other is left';

-- Operators.

CREATE FUNCTION prom._arith(op text, l prom.vals, r prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_arith' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._arith(text, prom.vals, prom.vals) IS 'l op r for + - * / % ^ atan2 </ >/; NULL if no step has both';

CREATE FUNCTION prom._compare(op text, l prom.vals, r prom.vals, returns_bool bool, keep_right bool) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_compare' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._compare(text, prom.vals, prom.vals, bool, bool) IS 'l op r for == != < <= > >=: 0 or 1, or a filter of l (or r)';

CREATE FUNCTION prom._negate(vals prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_negate' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._negate(prom.vals) IS 'unary minus';

-- Leaves: rows (data, ord) of a block of series, in any order, become an array of the values of each at all steps.

CREATE FUNCTION prom._window_done(internal) RETURNS prom.vals[]
	AS 'MODULE_PATHNAME', 'prom_window_done' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION prom._window_done(internal) IS 'final function of a leaf';

CREATE FUNCTION prom._window_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_window_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._window_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8) IS 'adds a row to prom._window';

CREATE AGGREGATE prom._window(fn text, data prom.chunk, ord int8, sids int4[], start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 65536,
	FINALFUNC = prom._window_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._window(text, prom.chunk, int8, int4[], int8, int8, int4, int8) IS 'a window function by its name, as in prom._window(rate, ...), of each of the series';

CREATE FUNCTION prom._window_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, prom.vals, int8, int8) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_window_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._window_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, prom.vals, int8, int8) IS 'adds a row to prom._window';

CREATE AGGREGATE prom._window(fn text, data prom.chunk, ord int8, sids int4[], start_ms int8, step_ms int8, nsteps int4, range_ms int8, scalar prom.vals, now_ms int8, now_step_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 65536,
	FINALFUNC = prom._window_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._window(text, prom.chunk, int8, int4[], int8, int8, int4, int8, prom.vals, int8, int8) IS 'a window function with a parameter';

CREATE FUNCTION prom._window_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, prom.vals, int8, int8, prom.vals) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_window_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._window_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, prom.vals, int8, int8, prom.vals) IS 'adds a row to prom._window';

CREATE AGGREGATE prom._window(fn text, data prom.chunk, ord int8, sids int4[], start_ms int8, step_ms int8, nsteps int4, range_ms int8, scalar prom.vals, now_ms int8, now_step_ms int8, second prom.vals) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 65536,
	FINALFUNC = prom._window_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._window(text, prom.chunk, int8, int4[], int8, int8, int4, int8, prom.vals, int8, int8, prom.vals) IS 'a window function with two parameters';

CREATE FUNCTION prom._extended_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8, int8) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_extended_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._extended_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8, int8) IS 'adds a row to prom._extended';

CREATE AGGREGATE prom._extended(fn text, data prom.chunk, ord int8, sids int4[], start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._extended_add,
	STYPE = internal,
	SSPACE = 65536,
	FINALFUNC = prom._window_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._extended(text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8, int8) IS 'a function of anchored or smoothed windows, which see so far beyond their range';

-- The same of samples of several resolutions: segments are pairs of an end (ms since 1970) and a resolution in
-- seconds; 0 is raw, a negative one raw for series that have raw samples, from the day of the first one on.

CREATE FUNCTION prom._stitched_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8[]) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_stitched_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._stitched_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8[]) IS 'adds a row to prom._stitched';

CREATE AGGREGATE prom._stitched(fn text, data prom.chunk, ord int8, sids int4[], start_ms int8, step_ms int8, nsteps int4, range_ms int8, segments int8[]) (
	SFUNC = prom._stitched_add,
	STYPE = internal,
	SSPACE = 65536,
	FINALFUNC = prom._window_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._stitched(text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8[]) IS 'a window function over raw samples and rollups';

CREATE FUNCTION prom._stitched_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8[], prom.vals, int8, int8) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_stitched_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._stitched_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8[], prom.vals, int8, int8) IS 'adds a row to prom._stitched';

CREATE AGGREGATE prom._stitched(fn text, data prom.chunk, ord int8, sids int4[], start_ms int8, step_ms int8, nsteps int4, range_ms int8, segments int8[], scalar prom.vals, now_ms int8, now_step_ms int8) (
	SFUNC = prom._stitched_add,
	STYPE = internal,
	SSPACE = 65536,
	FINALFUNC = prom._window_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._stitched(text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8[], prom.vals, int8, int8) IS 'likewise with a parameter';

CREATE FUNCTION prom._stitched_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8[], prom.vals, int8, int8, prom.vals) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_stitched_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._stitched_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8[], prom.vals, int8, int8, prom.vals) IS 'adds a row to prom._stitched';

CREATE AGGREGATE prom._stitched(fn text, data prom.chunk, ord int8, sids int4[], start_ms int8, step_ms int8, nsteps int4, range_ms int8, segments int8[], scalar prom.vals, now_ms int8, now_step_ms int8, second prom.vals) (
	SFUNC = prom._stitched_add,
	STYPE = internal,
	SSPACE = 65536,
	FINALFUNC = prom._window_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._stitched(text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8[], prom.vals, int8, int8, prom.vals) IS 'likewise with two parameters';

CREATE FUNCTION prom._stitched_extended_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8, int8, int8[]) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_stitched_extended_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._stitched_extended_add(internal, text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8, int8, int8[]) IS 'adds a row to prom._stitched_extended';

CREATE AGGREGATE prom._stitched_extended(fn text, data prom.chunk, ord int8, sids int4[], start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8, segments int8[]) (
	SFUNC = prom._stitched_extended_add,
	STYPE = internal,
	SSPACE = 65536,
	FINALFUNC = prom._window_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._stitched_extended(text, prom.chunk, int8, int4[], int8, int8, int4, int8, int8, int8, int8[]) IS 'a function of anchored or smoothed windows over raw samples and rollups';

CREATE FUNCTION prom._samples_done(internal) RETURNS prom.chunk[]
	AS 'MODULE_PATHNAME', 'prom_samples_done' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION prom._samples_done(internal) IS 'final function of a leaf';

CREATE FUNCTION prom._samples_add(internal, prom.chunk, int8, int4[], int8, int8) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_samples_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._samples_add(internal, prom.chunk, int8, int4[], int8, int8) IS 'adds a row to prom._samples';

CREATE AGGREGATE prom._samples(data prom.chunk, ord int8, sids int4[], from_ms int8, to_ms int8) (
	SFUNC = prom._samples_add,
	STYPE = internal,
	SSPACE = 65536,
	FINALFUNC = prom._samples_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._samples(prom.chunk, int8, int4[], int8, int8) IS 'the samples with from_ms < t <= to_ms, without those that say a series has ended';

CREATE FUNCTION prom._raw_done(internal) RETURNS prom.chunk[]
	AS 'MODULE_PATHNAME', 'prom_raw_done' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION prom._raw_done(internal) IS 'final function of a leaf';

CREATE AGGREGATE prom._raw(data prom.chunk, ord int8, sids int4[], from_ms int8, to_ms int8) (
	SFUNC = prom._samples_add,
	STYPE = internal,
	SSPACE = 65536,
	FINALFUNC = prom._raw_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._raw(prom.chunk, int8, int4[], int8, int8) IS 'the samples with from_ms < t <= to_ms as they were written, markers of a series'' end included';

CREATE FUNCTION prom._reached_samples_add(internal, prom.chunk, int8, int4[], int8, int8, int4, int8, int8, int8) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_reached_samples_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._reached_samples_add(internal, prom.chunk, int8, int4[], int8, int8, int4, int8, int8, int8) IS 'adds a row to prom._reached_samples';

CREATE AGGREGATE prom._reached_samples(data prom.chunk, ord int8, sids int4[], start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._reached_samples_add,
	STYPE = internal,
	SSPACE = 65536,
	FINALFUNC = prom._samples_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._reached_samples(prom.chunk, int8, int4[], int8, int8, int4, int8, int8, int8) IS 'the samples of an anchored or smoothed range of one step, those at its ends made up';

-- Aggregates over many series.

CREATE TYPE prom._agg_state;

CREATE FUNCTION prom._agg_state_in(cstring) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_agg_state_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._agg_state_in(cstring) IS 'input';

CREATE FUNCTION prom._agg_state_out(prom._agg_state) RETURNS cstring
	AS 'MODULE_PATHNAME', 'prom_agg_state_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._agg_state_out(prom._agg_state) IS 'output';

CREATE FUNCTION prom._agg_state_recv(internal) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_agg_state_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._agg_state_recv(internal) IS 'binary input';

CREATE FUNCTION prom._agg_state_send(prom._agg_state) RETURNS bytea
	AS 'MODULE_PATHNAME', 'prom_agg_state_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._agg_state_send(prom._agg_state) IS 'binary output';

CREATE TYPE prom._agg_state (
	INPUT = prom._agg_state_in,
	OUTPUT = prom._agg_state_out,
	RECEIVE = prom._agg_state_recv,
	SEND = prom._agg_state_send,
	ALIGNMENT = double,
	STORAGE = extended
);
COMMENT ON TYPE prom._agg_state IS 'state of an aggregate over prom.vals';

CREATE FUNCTION prom._agg_sum_add(prom._agg_state, prom.vals) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_agg_sum_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_sum_add(prom._agg_state, prom.vals) IS 'transition function of prom._agg_sum';

CREATE FUNCTION prom._agg_avg_add(prom._agg_state, prom.vals) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_agg_avg_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_avg_add(prom._agg_state, prom.vals) IS 'transition function of prom._agg_avg';

CREATE FUNCTION prom._agg_min_add(prom._agg_state, prom.vals) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_agg_min_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_min_add(prom._agg_state, prom.vals) IS 'transition function of prom._agg_min';

CREATE FUNCTION prom._agg_max_add(prom._agg_state, prom.vals) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_agg_max_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_max_add(prom._agg_state, prom.vals) IS 'transition function of prom._agg_max';

CREATE FUNCTION prom._agg_count_add(prom._agg_state, prom.vals) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_agg_count_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_count_add(prom._agg_state, prom.vals) IS 'transition function of prom._agg_count';

CREATE FUNCTION prom._single_add(prom._agg_state, prom.vals) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_single_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._single_add(prom._agg_state, prom.vals) IS 'transition function of prom._single';

CREATE FUNCTION prom._unique_add(prom._agg_state, prom.labels, prom.vals) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_unique_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._unique_add(prom._agg_state, prom.labels, prom.vals) IS 'transition function of prom._unique';

CREATE FUNCTION prom._only_add(prom.vals, prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_only_add' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._only_add(prom.vals, prom.vals) IS 'transition function of prom._only';

CREATE FUNCTION prom._agg_combine(prom._agg_state, prom._agg_state) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_agg_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_combine(prom._agg_state, prom._agg_state) IS 'combines two states';

CREATE FUNCTION prom._agg_final(prom._agg_state) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_agg_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_final(prom._agg_state) IS 'final function of the aggregates over prom.vals';

CREATE AGGREGATE prom._agg_sum(vals prom.vals) (
	SFUNC = prom._agg_sum_add,
	STYPE = prom._agg_state,
	SSPACE = 512,
	FINALFUNC = prom._agg_final,
	COMBINEFUNC = prom._agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_sum(prom.vals) IS 'PromQL sum over series, step by step';

CREATE AGGREGATE prom._agg_avg(vals prom.vals) (
	SFUNC = prom._agg_avg_add,
	STYPE = prom._agg_state,
	SSPACE = 512,
	FINALFUNC = prom._agg_final,
	COMBINEFUNC = prom._agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_avg(prom.vals) IS 'PromQL avg over series, step by step';

CREATE AGGREGATE prom._agg_min(vals prom.vals) (
	SFUNC = prom._agg_min_add,
	STYPE = prom._agg_state,
	SSPACE = 512,
	FINALFUNC = prom._agg_final,
	COMBINEFUNC = prom._agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_min(prom.vals) IS 'PromQL min over series, step by step';

CREATE AGGREGATE prom._agg_max(vals prom.vals) (
	SFUNC = prom._agg_max_add,
	STYPE = prom._agg_state,
	SSPACE = 512,
	FINALFUNC = prom._agg_final,
	COMBINEFUNC = prom._agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_max(prom.vals) IS 'PromQL max over series, step by step';

CREATE AGGREGATE prom._agg_count(vals prom.vals) (
	SFUNC = prom._agg_count_add,
	STYPE = prom._agg_state,
	SSPACE = 512,
	FINALFUNC = prom._agg_final,
	COMBINEFUNC = prom._agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_count(prom.vals) IS 'PromQL count over series, step by step';

CREATE AGGREGATE prom._single(vals prom.vals) (
	SFUNC = prom._single_add,
	STYPE = prom._agg_state,
	SSPACE = 512,
	FINALFUNC = prom._agg_final,
	COMBINEFUNC = prom._agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._single(prom.vals) IS 'the steps at which exactly one series is present; prom._scalar makes a scalar of them';

CREATE AGGREGATE prom._unique(labels prom.labels, vals prom.vals) (
	SFUNC = prom._unique_add,
	STYPE = prom._agg_state,
	SSPACE = 512,
	FINALFUNC = prom._agg_final,
	COMBINEFUNC = prom._agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._unique(prom.labels, prom.vals) IS 'merges rows of one label set; an error if two share a step';

CREATE AGGREGATE prom._only(vals prom.vals) (
	SFUNC = prom._only_add,
	STYPE = prom.vals,
	SSPACE = 512,
	COMBINEFUNC = prom._only_add,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._only(prom.vals) IS 'the only row of a label set; an error if there are more';

-- Vector matching, one to one: aggregates over the rows of one signature.

CREATE FUNCTION prom._match_arith_add(internal, text, prom.vals, prom.vals) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_match_arith_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._match_arith_add(internal, text, prom.vals, prom.vals) IS 'transition function of prom._match_arith';

CREATE FUNCTION prom._match_compare_add(internal, text, prom.vals, prom.vals, bool) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_match_compare_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._match_compare_add(internal, text, prom.vals, prom.vals, bool) IS 'transition function of prom._match_compare';

CREATE FUNCTION prom._match_final(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_match_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._match_final(internal) IS 'final function of prom._match_arith and prom._match_compare';

CREATE AGGREGATE prom._match_arith(op text, l prom.vals, r prom.vals) (
	SFUNC = prom._match_arith_add,
	STYPE = internal,
	SSPACE = 512,
	FINALFUNC = prom._match_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._match_arith(text, prom.vals, prom.vals) IS 'l op r over the left rows of a signature; an error if two of them meet the right side at one step';

CREATE AGGREGATE prom._match_compare(op text, l prom.vals, r prom.vals, returns_bool bool) (
	SFUNC = prom._match_compare_add,
	STYPE = internal,
	SSPACE = 512,
	FINALFUNC = prom._match_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._match_compare(text, prom.vals, prom.vals, bool) IS 'like prom._match_arith, for comparisons';

CREATE FUNCTION prom._match_filter_add(internal, text, prom.labels, prom.vals, prom.vals) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_match_filter_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._match_filter_add(internal, text, prom.labels, prom.vals, prom.vals) IS 'transition function of prom._match_filter';

CREATE FUNCTION prom._match_filter_final(internal) RETURNS prom.labeled_vals[]
	AS 'MODULE_PATHNAME', 'prom_match_filter_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._match_filter_final(internal) IS 'final function of prom._match_filter';

CREATE AGGREGATE prom._match_filter(op text, labels prom.labels, l prom.vals, r prom.vals) (
	SFUNC = prom._match_filter_add,
	STYPE = internal,
	SSPACE = 512,
	FINALFUNC = prom._match_filter_final,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._match_filter(text, prom.labels, prom.vals, prom.vals) IS 'like a filtering prom._match_compare, but every left series keeps its labels';

-- Histograms.

CREATE FUNCTION prom._histogram_add(internal, prom.labels, prom.vals, text, bool, int8, int8, prom.vals) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_histogram_add' LANGUAGE C STABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._histogram_add(internal, prom.labels, prom.vals, text, bool, int8, int8, prom.vals) IS 'transition function of prom._histogram_quantile';

CREATE FUNCTION prom._histogram_add(internal, prom.labels, prom.vals, text, bool, int8, int8, prom.vals, prom.vals) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_histogram_add' LANGUAGE C STABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._histogram_add(internal, prom.labels, prom.vals, text, bool, int8, int8, prom.vals, prom.vals) IS 'transition function of prom._histogram_fraction';

CREATE FUNCTION prom._histogram_quantile_final(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_histogram_quantile_final' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 200;
COMMENT ON FUNCTION prom._histogram_quantile_final(internal) IS 'final function of prom._histogram_quantile';

CREATE AGGREGATE prom._histogram_quantile(labels prom.labels, vals prom.vals, place text, has_name bool,
	start_ms int8, step_ms int8, phi prom.vals) (
	SFUNC = prom._histogram_add,
	STYPE = internal,
	SSPACE = 2048,
	FINALFUNC = prom._histogram_quantile_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._histogram_quantile(prom.labels, prom.vals, text, bool, int8, int8, prom.vals) IS 'PromQL histogram_quantile over one histogram: the buckets of a classic one, or native';

CREATE FUNCTION prom._histogram_fraction_final(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_histogram_fraction_final' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 200;
COMMENT ON FUNCTION prom._histogram_fraction_final(internal) IS 'final function of prom._histogram_fraction';

CREATE AGGREGATE prom._histogram_fraction(labels prom.labels, vals prom.vals, place text, has_name bool,
	start_ms int8, step_ms int8, lower prom.vals, upper prom.vals) (
	SFUNC = prom._histogram_add,
	STYPE = internal,
	SSPACE = 2048,
	FINALFUNC = prom._histogram_fraction_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._histogram_fraction(prom.labels, prom.vals, text, bool, int8, int8, prom.vals, prom.vals) IS 'PromQL histogram_fraction over one histogram: the buckets of a classic one, or native';

-- 54_merge: what needs several series of an expression: set operators, group_left, and the aggregations that
-- keep more than a few numbers per step.

-- Labels of results.

CREATE FUNCTION prom._labels_set(labels prom.labels, name text, value text) RETURNS prom.labels
	AS 'MODULE_PATHNAME', 'prom_labels_set' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._labels_set(prom.labels, text, text) IS 'the labels with one more or another value; an empty value removes it';

CREATE FUNCTION prom._labels_take(labels prom.labels, names text[], source prom.labels) RETURNS prom.labels
	AS 'MODULE_PATHNAME', 'prom_labels_take' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._labels_take(prom.labels, text[], prom.labels) IS 'the labels, those of these names as the source has them';

-- Variance, and whether there is anything at all.

CREATE FUNCTION prom._agg_group_add(prom._agg_state, prom.vals) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_agg_group_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_group_add(prom._agg_state, prom.vals) IS 'transition function of prom._agg_group';

CREATE AGGREGATE prom._agg_group(vals prom.vals) (
	SFUNC = prom._agg_group_add,
	STYPE = prom._agg_state,
	SSPACE = 512,
	FINALFUNC = prom._agg_final,
	COMBINEFUNC = prom._agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_group(prom.vals) IS 'PromQL group over series: 1 at the steps at which any is present';

CREATE FUNCTION prom._agg_stdvar_add(prom._agg_state, prom.vals) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_agg_stdvar_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_stdvar_add(prom._agg_state, prom.vals) IS 'transition function of prom._agg_stdvar';

CREATE AGGREGATE prom._agg_stdvar(vals prom.vals) (
	SFUNC = prom._agg_stdvar_add,
	STYPE = prom._agg_state,
	SSPACE = 512,
	FINALFUNC = prom._agg_final,
	COMBINEFUNC = prom._agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_stdvar(prom.vals) IS 'PromQL stdvar over series, step by step';

CREATE FUNCTION prom._agg_stddev_add(prom._agg_state, prom.vals) RETURNS prom._agg_state
	AS 'MODULE_PATHNAME', 'prom_agg_stddev_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_stddev_add(prom._agg_state, prom.vals) IS 'transition function of prom._agg_stddev';

CREATE AGGREGATE prom._agg_stddev(vals prom.vals) (
	SFUNC = prom._agg_stddev_add,
	STYPE = prom._agg_state,
	SSPACE = 512,
	FINALFUNC = prom._agg_final,
	COMBINEFUNC = prom._agg_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_stddev(prom.vals) IS 'PromQL stddev over series, step by step';

-- Set operators.

CREATE FUNCTION prom._and(l prom.vals, r prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_and' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._and(prom.vals, prom.vals) IS 'l at the steps at which r is present; NULL if there is none';

CREATE FUNCTION prom._unless(l prom.vals, r prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_unless' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._unless(prom.vals, prom.vals) IS 'l at the steps at which r is absent (or all, if r is NULL); NULL if there is none';

CREATE FUNCTION prom._or_add(internal, bool, prom.labels, prom.vals) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_or_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._or_add(internal, bool, prom.labels, prom.vals) IS 'transition function of prom._or';

CREATE FUNCTION prom._or_final(internal) RETURNS prom.labeled_vals[]
	AS 'MODULE_PATHNAME', 'prom_or_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._or_final(internal) IS 'final function of prom._or';

CREATE FUNCTION prom._fill(l prom.vals, r prom.vals, value float8) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_fill' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._fill(prom.vals, prom.vals, float8) IS 'the value at the steps of l at which r is absent (or all, if r is NULL); NULL if there is none';

CREATE FUNCTION prom._info_add(internal, bool, bool, prom.labels, prom.vals, text[], bool) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_info_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._info_add(internal, bool, bool, prom.labels, prom.vals, text[], bool) IS 'transition function of prom._info';

CREATE FUNCTION prom._info_final(internal) RETURNS prom.labeled_vals[]
	AS 'MODULE_PATHNAME', 'prom_info_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._info_final(internal) IS 'final function of prom._info';

CREATE AGGREGATE prom._info(is_info bool, is_lookup bool, labels prom.labels, vals prom.vals, wanted text[], required bool) (
	SFUNC = prom._info_add,
	STYPE = internal,
	SSPACE = 1024,
	FINALFUNC = prom._info_final,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._info(bool, bool, prom.labels, prom.vals, text[], bool) IS 'PromQL info for the series of one instance and job: with the labels of its info series';

CREATE AGGREGATE prom._or(is_left bool, labels prom.labels, vals prom.vals) (
	SFUNC = prom._or_add,
	STYPE = internal,
	SSPACE = 1024,
	FINALFUNC = prom._or_final,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._or(bool, prom.labels, prom.vals) IS 'the left series of a signature, and the right ones at steps without a left one';

-- The side of a matching that may have one series per signature and step only.

CREATE TYPE prom._duplicate_series AS (sig prom.labels, one prom.labels, other prom.labels, steps prom.vals);
COMMENT ON TYPE prom._duplicate_series IS 'two series of one signature, and the steps at which the signature has more than one';

CREATE FUNCTION prom._one_side_add(internal, prom.labels, prom.labels, prom.vals) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_one_side_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._one_side_add(internal, prom.labels, prom.labels, prom.vals) IS 'transition function of prom._one_side and its like';

CREATE FUNCTION prom._one_side_final(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_one_side_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._one_side_final(internal) IS 'final function of prom._one_side';

CREATE FUNCTION prom._one_side_rows_final(internal) RETURNS prom.labeled_vals[]
	AS 'MODULE_PATHNAME', 'prom_one_side_rows_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._one_side_rows_final(internal) IS 'final function of prom._one_side_rows';

CREATE FUNCTION prom._duplicate_final(internal) RETURNS prom._duplicate_series
	AS 'MODULE_PATHNAME', 'prom_duplicate_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._duplicate_final(internal) IS 'final function of prom._duplicate';

CREATE AGGREGATE prom._one_side(sig prom.labels, labels prom.labels, vals prom.vals) (
	SFUNC = prom._one_side_add,
	STYPE = internal,
	SSPACE = 512,
	FINALFUNC = prom._one_side_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._one_side(prom.labels, prom.labels, prom.vals) IS 'the values of all series of a signature; see prom._duplicate';

CREATE AGGREGATE prom._one_side_rows(sig prom.labels, labels prom.labels, vals prom.vals) (
	SFUNC = prom._one_side_add,
	STYPE = internal,
	SSPACE = 512,
	FINALFUNC = prom._one_side_rows_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._one_side_rows(prom.labels, prom.labels, prom.vals) IS 'the series of a signature; see prom._duplicate';

CREATE AGGREGATE prom._duplicate(sig prom.labels, labels prom.labels, vals prom.vals) (
	SFUNC = prom._one_side_add,
	STYPE = internal,
	SSPACE = 512,
	FINALFUNC = prom._duplicate_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._duplicate(prom.labels, prom.labels, prom.vals) IS 'two series of a signature that share a step, or NULL';

CREATE FUNCTION prom._alone(vals prom.vals, duplicates prom._duplicate_series[], side text) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_alone' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1;
COMMENT ON FUNCTION prom._alone(prom.vals, prom._duplicate_series[], text) IS 'true; an error if the values have a step at which the other side has duplicate series';

-- group_left and group_right: aggregates over the pairs of one signature that make one label set.

CREATE FUNCTION prom._group_arith_add(internal, text, prom.vals, prom.vals) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_group_arith_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._group_arith_add(internal, text, prom.vals, prom.vals) IS 'transition function of prom._group_arith';

CREATE FUNCTION prom._group_compare_add(internal, text, prom.vals, prom.vals, bool) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_group_compare_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._group_compare_add(internal, text, prom.vals, prom.vals, bool) IS 'transition function of prom._group_compare';

CREATE AGGREGATE prom._group_arith(op text, l prom.vals, r prom.vals) (
	SFUNC = prom._group_arith_add,
	STYPE = internal,
	SSPACE = 512,
	FINALFUNC = prom._match_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._group_arith(text, prom.vals, prom.vals) IS 'l op r; an error if two pairs share a step';

CREATE AGGREGATE prom._group_compare(op text, l prom.vals, r prom.vals, returns_bool bool) (
	SFUNC = prom._group_compare_add,
	STYPE = internal,
	SSPACE = 512,
	FINALFUNC = prom._match_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._group_compare(text, prom.vals, prom.vals, bool) IS 'like prom._group_arith, for comparisons';

-- Aggregations that need all values of a group.

CREATE TYPE prom._agg_rows;

CREATE FUNCTION prom._agg_rows_in(cstring) RETURNS prom._agg_rows
	AS 'MODULE_PATHNAME', 'prom_agg_rows_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._agg_rows_in(cstring) IS 'input';

CREATE FUNCTION prom._agg_rows_out(prom._agg_rows) RETURNS cstring
	AS 'MODULE_PATHNAME', 'prom_agg_rows_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._agg_rows_out(prom._agg_rows) IS 'output';

CREATE FUNCTION prom._agg_rows_recv(internal) RETURNS prom._agg_rows
	AS 'MODULE_PATHNAME', 'prom_agg_rows_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._agg_rows_recv(internal) IS 'binary input';

CREATE FUNCTION prom._agg_rows_send(prom._agg_rows) RETURNS bytea
	AS 'MODULE_PATHNAME', 'prom_agg_rows_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._agg_rows_send(prom._agg_rows) IS 'binary output';

CREATE TYPE prom._agg_rows (
	INPUT = prom._agg_rows_in,
	OUTPUT = prom._agg_rows_out,
	RECEIVE = prom._agg_rows_recv,
	SEND = prom._agg_rows_send,
	ALIGNMENT = double,
	STORAGE = extended
);
COMMENT ON TYPE prom._agg_rows IS 'state of an aggregate that keeps the values of all series of its group';

CREATE TYPE prom._value_count AS (value text, vals prom.vals);
COMMENT ON TYPE prom._value_count IS 'what belongs to this value at every step: how many series have it, or which quantile it is';

CREATE FUNCTION prom._agg_rows_combine(prom._agg_rows, prom._agg_rows) RETURNS prom._agg_rows
	AS 'MODULE_PATHNAME', 'prom_agg_rows_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_rows_combine(prom._agg_rows, prom._agg_rows) IS 'combines two states';

CREATE FUNCTION prom._agg_quantile_add(prom._agg_rows, prom.vals, prom.vals) RETURNS prom._agg_rows
	AS 'MODULE_PATHNAME', 'prom_agg_quantile_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_quantile_add(prom._agg_rows, prom.vals, prom.vals) IS 'transition function of prom._agg_quantile';

CREATE FUNCTION prom._agg_quantile_final(prom._agg_rows) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_agg_quantile_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION prom._agg_quantile_final(prom._agg_rows) IS 'final function of prom._agg_quantile';

CREATE AGGREGATE prom._agg_quantile(vals prom.vals, phi prom.vals) (
	SFUNC = prom._agg_quantile_add,
	STYPE = prom._agg_rows,
	SSPACE = 65536,
	FINALFUNC = prom._agg_quantile_final,
	COMBINEFUNC = prom._agg_rows_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_quantile(prom.vals, prom.vals) IS 'PromQL quantile over series, step by step';

CREATE FUNCTION prom._agg_topk_add(prom._agg_rows, prom.labels, prom.vals, prom.vals) RETURNS prom._agg_rows
	AS 'MODULE_PATHNAME', 'prom_agg_topk_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_topk_add(prom._agg_rows, prom.labels, prom.vals, prom.vals) IS 'transition function of prom._agg_topk';

CREATE FUNCTION prom._agg_bottomk_add(prom._agg_rows, prom.labels, prom.vals, prom.vals) RETURNS prom._agg_rows
	AS 'MODULE_PATHNAME', 'prom_agg_bottomk_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_bottomk_add(prom._agg_rows, prom.labels, prom.vals, prom.vals) IS 'transition function of prom._agg_bottomk';

CREATE FUNCTION prom._agg_limitk_add(prom._agg_rows, prom.labels, prom.vals, prom.vals) RETURNS prom._agg_rows
	AS 'MODULE_PATHNAME', 'prom_agg_limitk_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_limitk_add(prom._agg_rows, prom.labels, prom.vals, prom.vals) IS 'transition function of prom._agg_limitk';

CREATE FUNCTION prom._agg_topk_final(prom._agg_rows) RETURNS prom.labeled_vals[]
	AS 'MODULE_PATHNAME', 'prom_agg_topk_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION prom._agg_topk_final(prom._agg_rows) IS 'final function of prom._agg_topk, prom._agg_bottomk and prom._agg_limitk';

CREATE AGGREGATE prom._agg_topk(labels prom.labels, vals prom.vals, k prom.vals) (
	SFUNC = prom._agg_topk_add,
	STYPE = prom._agg_rows,
	SSPACE = 16384,
	FINALFUNC = prom._agg_topk_final,
	FINALFUNC_MODIFY = READ_WRITE,
	COMBINEFUNC = prom._agg_rows_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_topk(prom.labels, prom.vals, prom.vals) IS 'PromQL topk: the series that have the k greatest values, step by step';

CREATE AGGREGATE prom._agg_bottomk(labels prom.labels, vals prom.vals, k prom.vals) (
	SFUNC = prom._agg_bottomk_add,
	STYPE = prom._agg_rows,
	SSPACE = 16384,
	FINALFUNC = prom._agg_topk_final,
	FINALFUNC_MODIFY = READ_WRITE,
	COMBINEFUNC = prom._agg_rows_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_bottomk(prom.labels, prom.vals, prom.vals) IS 'PromQL bottomk: the series that have the k least values, step by step';

CREATE AGGREGATE prom._agg_limitk(labels prom.labels, vals prom.vals, k prom.vals) (
	SFUNC = prom._agg_limitk_add,
	STYPE = prom._agg_rows,
	SSPACE = 16384,
	FINALFUNC = prom._agg_topk_final,
	FINALFUNC_MODIFY = READ_WRITE,
	COMBINEFUNC = prom._agg_rows_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_limitk(prom.labels, prom.vals, prom.vals) IS 'PromQL limitk: any k series step by step, always the same ones';

CREATE FUNCTION prom._topk_limit(k prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_topk_limit' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._topk_limit(prom.vals) IS 'k, if it can be one: an error if it is no number; NULL if it is below 1 at all steps';

CREATE FUNCTION prom._limit_ratio(labels prom.labels, vals prom.vals, ratio prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_limit_ratio' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._limit_ratio(prom.labels, prom.vals, prom.vals) IS 'PromQL limit_ratio: the values at the steps whose ratio lets a series of this hash through; NULL if there is none';

CREATE FUNCTION prom._ratio_limit(ratio prom.vals, place text) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_ratio_limit' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._ratio_limit(prom.vals, text) IS 'the ratio, if it can be one: an error if it is no number; NULL if it is 0 at all steps';

CREATE FUNCTION prom._agg_count_values_add(prom._agg_rows, prom.vals) RETURNS prom._agg_rows
	AS 'MODULE_PATHNAME', 'prom_agg_count_values_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._agg_count_values_add(prom._agg_rows, prom.vals) IS 'transition function of prom._agg_count_values';

CREATE FUNCTION prom._agg_count_values_final(prom._agg_rows) RETURNS prom._value_count[]
	AS 'MODULE_PATHNAME', 'prom_agg_count_values_final' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION prom._agg_count_values_final(prom._agg_rows) IS 'final function of prom._agg_count_values';

CREATE AGGREGATE prom._agg_count_values(vals prom.vals) (
	SFUNC = prom._agg_count_values_add,
	STYPE = prom._agg_rows,
	SSPACE = 65536,
	FINALFUNC = prom._agg_count_values_final,
	COMBINEFUNC = prom._agg_rows_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._agg_count_values(prom.vals) IS 'PromQL count_values: each value with the number of series that have it';

CREATE FUNCTION prom._histogram_add(internal, prom.labels, prom.vals, text, bool, int8, int8, prom.vals[]) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_histogram_add' LANGUAGE C STABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._histogram_add(internal, prom.labels, prom.vals, text, bool, int8, int8, prom.vals[]) IS 'transition function of prom._histogram_quantiles';

CREATE FUNCTION prom._histogram_quantiles_final(internal) RETURNS prom._value_count[]
	AS 'MODULE_PATHNAME', 'prom_histogram_quantiles_final' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 200;
COMMENT ON FUNCTION prom._histogram_quantiles_final(internal) IS 'final function of prom._histogram_quantiles';

CREATE AGGREGATE prom._histogram_quantiles(labels prom.labels, vals prom.vals, place text, has_name bool,
	start_ms int8, step_ms int8, phis prom.vals[]) (
	SFUNC = prom._histogram_add,
	STYPE = internal,
	SSPACE = 2048,
	FINALFUNC = prom._histogram_quantiles_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._histogram_quantiles(prom.labels, prom.vals, text, bool, int8, int8, prom.vals[]) IS 'PromQL histogram_quantiles over one histogram: the buckets of a classic one, or native';

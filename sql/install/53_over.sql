-- 53_over: window functions beside those of 50_vals, and all of them over the values of a subquery.

-- Leaves with a parameter know the times of the steps themselves, too: a window under @ or an offset is elsewhere.

CREATE FUNCTION prom._window_add(internal, prom.chunk, int8, int4, int8, int8, int4, int8, prom.vals, int8, int8) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_window_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._window_add(internal, prom.chunk, int8, int4, int8, int8, int4, int8, prom.vals, int8, int8) IS 'adds a row to a leaf with a parameter';

CREATE FUNCTION prom._window_changes(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_changes' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_changes(internal) IS 'final function of prom._changes';

CREATE FUNCTION prom._window_resets(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_resets' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_resets(internal) IS 'final function of prom._resets';

CREATE FUNCTION prom._window_deriv(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_deriv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_deriv(internal) IS 'final function of prom._deriv';

CREATE FUNCTION prom._window_predict_linear(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_predict_linear' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_predict_linear(internal) IS 'final function of prom._predict_linear';

CREATE FUNCTION prom._window_stddev(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_stddev' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_stddev(internal) IS 'final function of prom._stddev_over_time';

CREATE FUNCTION prom._window_stdvar(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_stdvar' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_stdvar(internal) IS 'final function of prom._stdvar_over_time';

CREATE FUNCTION prom._window_quantile(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_quantile' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_quantile(internal) IS 'final function of prom._quantile_over_time';

CREATE FUNCTION prom._window_first(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_first' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_first(internal) IS 'final function of prom._first_over_time';

CREATE AGGREGATE prom._changes(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_changes,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._changes(prom.chunk, int8, int4, int8, int8, int4, int8) IS 'PromQL changes';

CREATE AGGREGATE prom._resets(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_resets,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._resets(prom.chunk, int8, int4, int8, int8, int4, int8) IS 'PromQL resets';

CREATE AGGREGATE prom._deriv(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_deriv,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._deriv(prom.chunk, int8, int4, int8, int8, int4, int8) IS 'PromQL deriv';

CREATE AGGREGATE prom._predict_linear(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, scalar prom.vals, now_ms int8, now_step_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_predict_linear,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._predict_linear(prom.chunk, int8, int4, int8, int8, int4, int8, prom.vals, int8, int8) IS 'PromQL predict_linear';

CREATE AGGREGATE prom._stddev_over_time(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_stddev,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._stddev_over_time(prom.chunk, int8, int4, int8, int8, int4, int8) IS 'PromQL stddev_over_time';

CREATE AGGREGATE prom._stdvar_over_time(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_stdvar,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._stdvar_over_time(prom.chunk, int8, int4, int8, int8, int4, int8) IS 'PromQL stdvar_over_time';

CREATE AGGREGATE prom._quantile_over_time(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, scalar prom.vals, now_ms int8, now_step_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_quantile,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._quantile_over_time(prom.chunk, int8, int4, int8, int8, int4, int8, prom.vals, int8, int8) IS 'PromQL quantile_over_time';

CREATE AGGREGATE prom._first_over_time(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_first,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._first_over_time(prom.chunk, int8, int4, int8, int8, int4, int8) IS 'PromQL first_over_time';

CREATE FUNCTION prom._window_mad(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_mad' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_mad(internal) IS 'final function of prom._mad_over_time';

CREATE AGGREGATE prom._mad_over_time(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_mad,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._mad_over_time(prom.chunk, int8, int4, int8, int8, int4, int8) IS 'PromQL mad_over_time';

CREATE FUNCTION prom._window_ts_of_first(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_ts_of_first' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_ts_of_first(internal) IS 'final function of prom._ts_of_first_over_time';

CREATE AGGREGATE prom._ts_of_first_over_time(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_ts_of_first,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._ts_of_first_over_time(prom.chunk, int8, int4, int8, int8, int4, int8) IS 'PromQL ts_of_first_over_time';

CREATE FUNCTION prom._window_ts_of_last(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_ts_of_last' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_ts_of_last(internal) IS 'final function of prom._ts_of_last_over_time';

CREATE AGGREGATE prom._ts_of_last_over_time(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_ts_of_last,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._ts_of_last_over_time(prom.chunk, int8, int4, int8, int8, int4, int8) IS 'PromQL ts_of_last_over_time';

CREATE FUNCTION prom._window_ts_of_min(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_ts_of_min' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_ts_of_min(internal) IS 'final function of prom._ts_of_min_over_time';

CREATE AGGREGATE prom._ts_of_min_over_time(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_ts_of_min,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._ts_of_min_over_time(prom.chunk, int8, int4, int8, int8, int4, int8) IS 'PromQL ts_of_min_over_time';

CREATE FUNCTION prom._window_ts_of_max(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_ts_of_max' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_ts_of_max(internal) IS 'final function of prom._ts_of_max_over_time';

CREATE AGGREGATE prom._ts_of_max_over_time(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_ts_of_max,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._ts_of_max_over_time(prom.chunk, int8, int4, int8, int8, int4, int8) IS 'PromQL ts_of_max_over_time';

CREATE FUNCTION prom._window_add(internal, prom.chunk, int8, int4, int8, int8, int4, int8, prom.vals, int8, int8, prom.vals) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_window_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._window_add(internal, prom.chunk, int8, int4, int8, int8, int4, int8, prom.vals, int8, int8, prom.vals) IS 'adds a row to a leaf with two parameters';

CREATE FUNCTION prom._window_double_exponential_smoothing(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_double_exponential_smoothing' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_double_exponential_smoothing(internal) IS 'final function of prom._double_exponential_smoothing';

CREATE AGGREGATE prom._double_exponential_smoothing(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, scalar prom.vals, now_ms int8, now_step_ms int8, second prom.vals) (
	SFUNC = prom._window_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_double_exponential_smoothing,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._double_exponential_smoothing(prom.chunk, int8, int4, int8, int8, int4, int8, prom.vals, int8, int8, prom.vals) IS 'PromQL double_exponential_smoothing';

-- Extended ranges: leaves whose windows see samples beyond their range.

CREATE FUNCTION prom._extended_add(internal, prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) RETURNS internal
	AS 'MODULE_PATHNAME', 'prom_extended_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION prom._extended_add(internal, prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) IS 'adds a row to a leaf of extended windows';

CREATE FUNCTION prom._window_anchored_rate(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_anchored_rate' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_anchored_rate(internal) IS 'final function of prom._anchored_rate';

CREATE AGGREGATE prom._anchored_rate(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._extended_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_anchored_rate,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._anchored_rate(prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) IS 'PromQL rate over an anchored range';

CREATE FUNCTION prom._window_anchored_increase(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_anchored_increase' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_anchored_increase(internal) IS 'final function of prom._anchored_increase';

CREATE AGGREGATE prom._anchored_increase(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._extended_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_anchored_increase,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._anchored_increase(prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) IS 'PromQL increase over an anchored range';

CREATE FUNCTION prom._window_anchored_delta(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_anchored_delta' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_anchored_delta(internal) IS 'final function of prom._anchored_delta';

CREATE AGGREGATE prom._anchored_delta(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._extended_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_anchored_delta,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._anchored_delta(prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) IS 'PromQL delta over an anchored range';

CREATE FUNCTION prom._window_anchored_changes(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_anchored_changes' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_anchored_changes(internal) IS 'final function of prom._anchored_changes';

CREATE AGGREGATE prom._anchored_changes(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._extended_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_anchored_changes,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._anchored_changes(prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) IS 'PromQL changes over an anchored range';

CREATE FUNCTION prom._window_anchored_resets(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_anchored_resets' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_anchored_resets(internal) IS 'final function of prom._anchored_resets';

CREATE AGGREGATE prom._anchored_resets(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._extended_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_anchored_resets,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._anchored_resets(prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) IS 'PromQL resets over an anchored range';

CREATE FUNCTION prom._window_smoothed_rate(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_smoothed_rate' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_smoothed_rate(internal) IS 'final function of prom._smoothed_rate';

CREATE AGGREGATE prom._smoothed_rate(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._extended_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_smoothed_rate,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._smoothed_rate(prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) IS 'PromQL rate over a smoothed range';

CREATE FUNCTION prom._window_smoothed_increase(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_smoothed_increase' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_smoothed_increase(internal) IS 'final function of prom._smoothed_increase';

CREATE AGGREGATE prom._smoothed_increase(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._extended_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_smoothed_increase,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._smoothed_increase(prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) IS 'PromQL increase over a smoothed range';

CREATE FUNCTION prom._window_smoothed_delta(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_smoothed_delta' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_smoothed_delta(internal) IS 'final function of prom._smoothed_delta';

CREATE AGGREGATE prom._smoothed_delta(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._extended_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_smoothed_delta,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._smoothed_delta(prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) IS 'PromQL delta over a smoothed range';

CREATE FUNCTION prom._window_smoothed_instant(internal) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_window_smoothed_instant' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._window_smoothed_instant(internal) IS 'final function of prom._smoothed_instant';

CREATE AGGREGATE prom._smoothed_instant(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._extended_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._window_smoothed_instant,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._smoothed_instant(prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) IS 'PromQL instant selector, smoothed';

CREATE FUNCTION prom._extended_samples_done(internal) RETURNS prom.chunk
	AS 'MODULE_PATHNAME', 'prom_extended_samples_done' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._extended_samples_done(internal) IS 'final function of prom._extended_samples';

CREATE AGGREGATE prom._extended_samples(data prom.chunk, ord int8, sid int4, start_ms int8, step_ms int8, nsteps int4, range_ms int8, before_ms int8, after_ms int8) (
	SFUNC = prom._extended_add,
	STYPE = internal,
	SSPACE = 4096,
	FINALFUNC = prom._extended_samples_done,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE prom._extended_samples(prom.chunk, int8, int4, int8, int8, int4, int8, int8, int8) IS 'the samples of an anchored or smoothed range, those at its edges included';

-- Subqueries.

CREATE FUNCTION prom._over(function text, vals prom.vals, inner_start_ms int8, inner_step_ms int8,
	start_ms int8, step_ms int8, nsteps int4, range_ms int8) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_over' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._over(text, prom.vals, int8, int8, int8, int8, int4, int8) IS 'a window function over values at inner steps; NULL if no step has a result';

CREATE FUNCTION prom._over(function text, vals prom.vals, inner_start_ms int8, inner_step_ms int8,
	start_ms int8, step_ms int8, nsteps int4, range_ms int8, scalar prom.vals, now_ms int8, now_step_ms int8) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_over' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._over(text, prom.vals, int8, int8, int8, int8, int4, int8, prom.vals, int8, int8) IS 'the same for a window function with a parameter';

CREATE FUNCTION prom._over(function text, vals prom.vals, inner_start_ms int8, inner_step_ms int8,
	start_ms int8, step_ms int8, nsteps int4, range_ms int8, scalar prom.vals, now_ms int8, now_step_ms int8, second prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_over' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._over(text, prom.vals, int8, int8, int8, int8, int4, int8, prom.vals, int8, int8, prom.vals) IS 'the same for a window function with two parameters';

CREATE FUNCTION prom._steps_chunk(vals prom.vals, start_ms int8, step_ms int8) RETURNS prom.chunk
	AS 'MODULE_PATHNAME', 'prom_steps_chunk' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._steps_chunk(prom.vals, int8, int8) IS 'the steps that are present, as samples';

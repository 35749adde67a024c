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

-- Subqueries.

CREATE FUNCTION prom._over(function text, vals prom.vals, inner_start_ms int8, inner_step_ms int8,
	start_ms int8, step_ms int8, nsteps int4, range_ms int8) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_over' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._over(text, prom.vals, int8, int8, int8, int8, int4, int8) IS 'a window function over values at inner steps; NULL if no step has a result';

CREATE FUNCTION prom._over(function text, vals prom.vals, inner_start_ms int8, inner_step_ms int8,
	start_ms int8, step_ms int8, nsteps int4, range_ms int8, scalar prom.vals, now_ms int8, now_step_ms int8) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_over' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION prom._over(text, prom.vals, int8, int8, int8, int8, int4, int8, prom.vals, int8, int8) IS 'the same for a window function with a parameter';

CREATE FUNCTION prom._steps_chunk(vals prom.vals, start_ms int8, step_ms int8) RETURNS prom.chunk
	AS 'MODULE_PATHNAME', 'prom_steps_chunk' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._steps_chunk(prom.vals, int8, int8) IS 'the steps that are present, as samples';

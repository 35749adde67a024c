-- 53_over: window functions over the values of a subquery.
-- Those with a parameter know the times of the steps themselves, too: a window under @ or an offset is elsewhere.

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

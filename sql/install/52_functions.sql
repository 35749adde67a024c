-- 52_functions: PromQL's functions of single values and of labels.

-- Of values.

CREATE FUNCTION prom._math(fn text, vals prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_math' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 40;
COMMENT ON FUNCTION prom._math(text, prom.vals) IS 'the PromQL function of that name (abs, ln, sin, ...) of each value; NULL if no step has one';

CREATE FUNCTION prom._math(fn text, vals prom.vals, a prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_math' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 40;
COMMENT ON FUNCTION prom._math(text, prom.vals, prom.vals) IS 'likewise, with a scalar: clamp_max, clamp_min, max_of, min_of, round, timestamp';

CREATE FUNCTION prom._math(fn text, vals prom.vals, a prom.vals, b prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_math' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 40;
COMMENT ON FUNCTION prom._math(text, prom.vals, prom.vals, prom.vals) IS 'likewise, with two scalars: clamp';

CREATE FUNCTION prom._date(field text, vals prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_date' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 40;
COMMENT ON FUNCTION prom._date(text, prom.vals) IS 'minute, hour, day_of_week, day_of_month, day_of_year, days_in_month, month or year of each value, seconds since 1970';

CREATE FUNCTION prom._absent(vals prom.vals, nsteps int4) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_absent' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION prom._absent(prom.vals, int4) IS '1 at the steps that have no value, all of them if vals is NULL; NULL if there is no such step';

CREATE FUNCTION prom._order(vals prom.vals, descending bool) RETURNS float8
	AS 'MODULE_PATHNAME', 'prom_order' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._order(prom.vals, bool) IS 'sort key of the value of the only step; NaN comes last both ways';

-- Of labels.

CREATE FUNCTION prom._label_replace(labels prom.labels, dst text, replacement text, src text, regex text) RETURNS prom.labels
	AS 'MODULE_PATHNAME', 'prom_label_replace' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._label_replace(prom.labels, text, text, text, text) IS 'if the value of src matches, dst becomes the replacement with its $1 and the like expanded';

CREATE FUNCTION prom._label_join(labels prom.labels, dst text, separator text, sources text[]) RETURNS prom.labels
	AS 'MODULE_PATHNAME', 'prom_label_join' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION prom._label_join(prom.labels, text, text, text[]) IS 'dst becomes the values of the sources, joined';

CREATE FUNCTION prom._labels_order(labels prom.labels, names text[]) RETURNS bytea
	AS 'MODULE_PATHNAME', 'prom_labels_order' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION prom._labels_order(prom.labels, text[]) IS 'sort key of the values of these labels in natural order, a2 before a10';

-- Of native histograms.

CREATE FUNCTION prom._histogram_value(fn text, vals prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_histogram_value' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION prom._histogram_value(text, prom.vals) IS 'PromQL histogram_count, _sum, _avg, _stddev, _stdvar of native histograms, step by step';

CREATE FUNCTION prom._has_histograms(vals prom.vals) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_has_histograms' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._has_histograms(prom.vals) IS 'does any step have a native histogram?';

CREATE FUNCTION prom._read_hints(vals prom.vals) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_read_hints' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._read_hints(prom.vals) IS 'samples whose counter reset hints, where unknown, are what comparing with the sample read before said';

-- 55_annotate: what a translated query tells beside its result, as notices with SQLSTATE 01PRW and 01PRI.
--
-- None of these may be computed while a query is planned, so none is immutable.  A place is "line:column" in
-- the text of the PromQL query.

CREATE FUNCTION prom._annotate(severity text, message text, place text) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_annotate_sql' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._annotate(text, text, text) IS 'annotates the query with a "warning" or an "info"; false';

CREATE FUNCTION prom._note(vals prom.vals, labels prom.labels, place text, typed bool) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_note_range' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._note(prom.vals, prom.labels, text, bool) IS 'vals, or NULL if no step has a value; what a range function noted in them is told, of the metric that labels name';

CREATE FUNCTION prom._note(vals prom.vals, operator text, place text) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_note_operator' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._note(prom.vals, text, text) IS 'likewise, of an operator';

CREATE FUNCTION prom._note_aggregate(vals prom.vals, aggregation text, metric text, place text) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_note_aggregate' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._note_aggregate(prom.vals, text, text, text) IS 'likewise, of an aggregation over series of that metric';

CREATE FUNCTION prom._note_quantile(vals prom.vals, phi prom.vals, place text) RETURNS prom.vals
	AS 'MODULE_PATHNAME', 'prom_note_quantile' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._note_quantile(prom.vals, prom.vals, text) IS 'vals; each phi not from 0 to 1 at a step that is present is told';

CREATE FUNCTION prom._check_quantile(phi prom.vals, extremes bool, place text) RETURNS bool
	AS 'MODULE_PATHNAME', 'prom_check_quantile' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION prom._check_quantile(prom.vals, bool, text) IS 'false; each phi not from 0 to 1 is told, or only the least and the greatest';

-- 80_api: what the gateway's backends run.  Each function returns pieces of JSON that, put together in
-- order, are the value of "data" in an answer of Prometheus' HTTP API.

CREATE FUNCTION prom._api_query(query text, time_ms int8, lookback_ms int8, lim int4) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'prom_api_query' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_query(text, int8, int8, int4) IS
'Instant query as JSON. time_ms: milliseconds since 1970, NULL for now. lookback_ms: 0 for promgres.lookback_delta. lim: series at most, 0 for all; if it cuts, a notice says so.';

CREATE FUNCTION prom._api_query_range(query text, start_ms int8, end_ms int8, step_ms int8, lookback_ms int8, lim int4) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'prom_api_query_range' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_query_range(text, int8, int8, int8, int8, int4) IS 'Range query as JSON; arguments as those of prom._api_query.';

CREATE FUNCTION prom._api_labels(match text[], start_ms int8, end_ms int8, lim int4) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'prom_api_labels' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_labels(text[], int8, int8, int4) IS 'Sorted names of labels, as JSON, of the series that any of the selectors in match satisfies; of all if there is none.';

CREATE FUNCTION prom._api_label_values(name text, match text[], start_ms int8, end_ms int8, lim int4) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'prom_api_label_values' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_label_values(text, text[], int8, int8, int4) IS 'Sorted values of a label, as JSON; selectors as for prom._api_labels.';

CREATE FUNCTION prom._api_series(match text[], start_ms int8, end_ms int8, lim int4) RETURNS SETOF text
	AS 'MODULE_PATHNAME', 'prom_api_series' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_series(text[], int8, int8, int4) IS 'Label sets, as JSON, of the series that any of the selectors in match satisfies.';

-- The functions below return the pieces of an answer, bytes: first its content type and, after a line feed,
-- its content encoding; then the body.

CREATE FUNCTION prom._api_read(body bytea) RETURNS SETOF bytea
	AS 'MODULE_PATHNAME', 'prom_api_read' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_read(bytea) IS 'Answer to a snappy-compressed prometheus.ReadRequest: samples, or frames of XOR chunks.';

CREATE FUNCTION prom._api_federate(match text[], at_ms int8, format text, escaping text) RETURNS SETOF bytea
	AS 'MODULE_PATHNAME', 'prom_api_federate' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION prom._api_federate(text[], int8, text, text) IS
'The newest sample of each series that any of the selectors in match satisfies, as text to be scraped. at_ms: the time, ms since 1970. format: 0.0.4, 1.0.0 or openmetrics. escaping of names: allow-utf-8, underscores, dots or values.';

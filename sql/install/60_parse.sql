-- 60_parse: PromQL as text.

CREATE FUNCTION prom.format(expr text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'prom_format';
COMMENT ON FUNCTION prom.format(text) IS
'The canonical form of a PromQL expression; what is wider than 100 characters is broken into lines. Raises what Prometheus'' parser would, with the place in the text.';

CREATE FUNCTION prom.parse(expr text) RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'prom_parse';
COMMENT ON FUNCTION prom.parse(text) IS
'The syntax tree of a PromQL expression, in the shape of Prometheus'' /api/v1/parse_query; times and durations are milliseconds. Raises what Prometheus'' parser would, with the place in the text.';

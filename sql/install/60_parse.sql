-- 60_parse: PromQL as text.

CREATE FUNCTION prom.format(expr text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'prom_format';
COMMENT ON FUNCTION prom.format(text) IS
'The canonical form of a PromQL expression, on one line. Raises what Prometheus'' parser would, with the place in the text.';

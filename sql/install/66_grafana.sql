-- 66_grafana: what makes a panel or a variable of Grafana's PostgreSQL data source one line.

CREATE FUNCTION prom.legend(labels prom.labels) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prom_legend';
COMMENT ON FUNCTION prom.legend(prom.labels) IS
'A label set as Prometheus writes it beside a graph: name{label="value", ...}, without braces if there is nothing to put in.';

CREATE FUNCTION prom.graph(expr text, start timestamptz, "end" timestamptz, step interval)
RETURNS TABLE ("time" timestamptz, metric text, value float8)
LANGUAGE plpgsql STRICT STABLE PARALLEL RESTRICTED ROWS 10000 COST 10000 SUPPORT prom._query_range_support
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY SELECT q."time", prom.legend(q.labels), q.value
		FROM prom.query_range(expr, start, "end", step) AS q ORDER BY 1, 2;
END
$$;
COMMENT ON FUNCTION prom.graph(text, timestamptz, timestamptz, interval) IS
'prom.query_range in the columns and the order that Grafana wants of a time series: time, metric (prom.legend of the labels) and value.';

CREATE VIEW prom.label_values WITH (security_invoker) AS
SELECT v.name, v.value FROM prom._label_value AS v
UNION
SELECT p.key, p.value FROM prom.series AS s CROSS JOIN LATERAL pg_catalog.jsonb_each_text(s.labels::pg_catalog.jsonb) AS p
WHERE pg_catalog.row_security_active('prom.series'::pg_catalog.regclass);
COMMENT ON VIEW prom.label_values IS 'Labels, name and value, of the series that the caller sees.';

CREATE VIEW prom.metrics WITH (security_invoker) AS
SELECT v.value AS name, m.type, m.help, m.unit
FROM (SELECT DISTINCT l.value FROM prom.label_values AS l WHERE l.name OPERATOR(pg_catalog.=) '__name__') AS v
LEFT JOIN LATERAL (
	-- parts of histograms, summaries and counters go by the name of their family
	SELECT d.type, d.help, d.unit FROM prom._metadata AS d
	WHERE d.family OPERATOR(pg_catalog.=) v.value
		OR d.family OPERATOR(pg_catalog.=) pg_catalog.regexp_replace(v.value, '_(bucket|sum|count|total)$', '')
	ORDER BY pg_catalog.length(d.family) DESC, d.type, d.help, d.unit LIMIT 1) AS m ON true;
COMMENT ON VIEW prom.metrics IS 'Names of metrics, with what senders told about them: type, help, unit.';

CREATE VIEW prom.label_names WITH (security_invoker) AS
SELECT n.name FROM prom._label_name AS n
UNION
SELECT k.name FROM prom.series AS s CROSS JOIN LATERAL pg_catalog.jsonb_object_keys(s.labels::pg_catalog.jsonb) AS k(name)
WHERE pg_catalog.row_security_active('prom.series'::pg_catalog.regclass);
COMMENT ON VIEW prom.label_names IS 'Names of the labels of the series that the caller sees.';


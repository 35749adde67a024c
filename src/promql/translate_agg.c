/*
 * translate_agg.c
 *	  Tree -> SQL: nodes that make few series of many, by grouping label sets.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "promql/sqlgen.h"

PromqlVector
promql_aggregate_sql(PromqlContext *cx, PromqlNode *node, int indent)
{
	PromqlVector x = {NULL, PROMQL_NAMES_SAME};
	char	   *pad = promql_tabs(indent);
	char	   *labels;
	ListCell   *lc;

	switch (node->agg)
	{
		case PROMQL_SUM:
		case PROMQL_AVG:
		case PROMQL_MIN:
		case PROMQL_MAX:
		case PROMQL_COUNT:
			break;
		default:
			promql_unsupported(cx->query->text, node->start, "aggregation \"%s\"", promql_agg_name(node->agg));
	}
	if (node->without)
		labels = psprintf("prom._labels_drop(x.labels, %s)", promql_text_array(node->labels, "__name__"));
	else
		labels = psprintf("prom._labels_keep(x.labels, %s)", promql_text_array(node->labels, NULL));
	if (!node->without)
	{
		foreach(lc, node->labels)
		{
			if (strcmp(lfirst(lc), "__name__") == 0)
				x.names = PROMQL_NAMES_MANY;
		}
	}
	x.sql = psprintf("%sSELECT g.labels, prom._agg_%s(g.vals) AS vals\n"
					 "%sFROM (\n"
					 "%s\tSELECT %s AS labels, x.vals\n"
					 "%s\tFROM (\n%s) AS x) AS g\n"
					 "%sGROUP BY g.labels",
					 pad, promql_agg_name(node->agg), pad, pad, labels, pad,
					 promql_vector_sql(cx, node->left, indent + 2).sql, pad);
	return x;
}

/* Buckets of one histogram are the series that differ in nothing but le. */
PromqlVector
promql_histogram_quantile_sql(PromqlContext *cx, PromqlNode *node, int indent)
{
	PromqlVector x = promql_vector_sql(cx, lsecond(node->args), indent + 6);
	char	   *phi = promql_scalar_sql(cx, linitial(node->args), indent + 4);
	char	   *pad = promql_tabs(indent + 2);

	x.sql = psprintf("%sSELECT prom._labels_drop(h.labels, ARRAY['__name__']::pg_catalog.text[]) AS labels, h.vals\n"
					 "%sFROM (\n"
					 "%s\tSELECT g.sig AS labels, prom._histogram_quantile(g.labels, g.vals, %s) AS vals\n"
					 "%s\tFROM (\n"
					 "%s\t\tSELECT prom._labels_drop(x.labels, ARRAY['le']::pg_catalog.text[]) AS sig, x.labels, x.vals\n"
					 "%s\t\tFROM (\n%s) AS x) AS g\n"
					 "%s\tGROUP BY g.sig) AS h\n"
					 "%sWHERE h.vals IS NOT NULL",
					 pad, pad, pad, phi, pad, pad, pad, x.sql, pad, pad);
	return promql_check_names(x, true, indent);
}

/*
 * translate_agg.c
 *	  Tree -> SQL: nodes that make few series of many, by grouping label sets.
 */
#include "postgres.h"

#include "promql/sqlgen.h"

PromqlVector
promql_aggregate_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x = {NULL, PROMQL_NAMES_SAME};
	char	   *labels;
	ListCell   *lc;

	switch (node->agg)
	{
		case PROMQL_SUM:
		case PROMQL_AVG:
		case PROMQL_MIN:
		case PROMQL_MAX:
		case PROMQL_COUNT:
		case PROMQL_GROUP:
		case PROMQL_STDVAR:
		case PROMQL_STDDEV:
			break;
		default:
			promql_unsupported(cx->query->text, node->start, "aggregation \"%s\"", promql_agg_name(node->agg));
	}
	if (node->without)
		labels = psprintf("prom._labels_drop(x.labels, %s)", promql_text_array(node->labels, "__name__"));
	else
		labels = psprintf("prom._labels_keep(x.labels, %s)", promql_text_array(node->labels, NULL));
	foreach(lc, node->labels)
	{
		if (!node->without && strcmp(lfirst(lc), "__name__") == 0)
			x.names = PROMQL_NAMES_MANY;
	}
	x.sql = psprintf("SELECT g.labels, prom._agg_%s(g.vals) AS vals\n"
					 "FROM (\n"
					 "SELECT %s AS labels, x.vals\n"
					 "FROM (\n%s) AS x) AS g\n"
					 "GROUP BY g.labels",
					 promql_agg_name(node->agg), labels, promql_vector_sql(cx, node->left).sql);
	return x;
}

/* Buckets of one histogram are the series that differ in nothing but le. */
PromqlVector
promql_histogram_quantile_sql(PromqlContext *cx, PromqlNode *node)
{
	char	   *phi = promql_scalar_sql(cx, linitial(node->args));
	PromqlVector x = promql_vector_sql(cx, lsecond(node->args));

	x.sql = psprintf("SELECT prom._labels_drop(h.labels, " PROMQL_NAME_LABELS ") AS labels, h.vals\n"
					 "FROM (\n"
					 "SELECT g.sig AS labels, prom._histogram_quantile(g.labels, g.vals, %s) AS vals\n"
					 "FROM (\n"
					 "SELECT prom._labels_drop(x.labels, '{le}'::pg_catalog.text[]) AS sig, x.labels, x.vals\n"
					 "FROM (\n%s) AS x) AS g\n"
					 "GROUP BY g.sig) AS h\n"
					 "WHERE h.vals IS NOT NULL",
					 phi, x.sql);
	return promql_check_names(x, true);
}

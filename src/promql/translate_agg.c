/*
 * translate_agg.c
 *	  Tree -> SQL: nodes that make few series of many, by grouping label sets.
 *
 * Most aggregations give one series per group.  topk, bottomk, limitk and count_values give several: an
 * array of them per group, which is unnested.  limit_ratio looks at each series by itself.
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"

#include "promql/sqlgen.h"
#include "promql/translate.h"

static PromqlVector one_per_group(PromqlContext *cx, PromqlNode *node);
static PromqlVector topk_sql(PromqlContext *cx, PromqlNode *node);
static PromqlVector limit_ratio_sql(PromqlContext *cx, PromqlNode *node);
static PromqlVector count_values_sql(PromqlContext *cx, PromqlNode *node);
static char *grouping_sql(const PromqlNode *node);
static const PromqlNode *inner(const PromqlNode *node);

PromqlVector
promql_aggregate_sql(PromqlContext *cx, PromqlNode *node)
{
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
		case PROMQL_QUANTILE:
			return one_per_group(cx, node);
		case PROMQL_TOPK:
		case PROMQL_BOTTOMK:
		case PROMQL_LIMITK:
			return topk_sql(cx, node);
		case PROMQL_COUNT_VALUES:
			return count_values_sql(cx, node);
		case PROMQL_LIMIT_RATIO:
			return limit_ratio_sql(cx, node);
	}
	elog(ERROR, "unknown aggregation %d", node->agg);
}

static PromqlVector
one_per_group(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x = {NULL, PROMQL_NAMES_SAME};
	const char *phi = node->param ? promql_scalar_sql(cx, node->param) : NULL;
	char	   *vals = psprintf("prom._agg_%s(g.vals%s)", promql_agg_name(node->agg), phi ? psprintf(", %s", phi) : "");
	ListCell   *lc;

	foreach(lc, node->labels)
	{
		if (!node->without && promql_is_name_label(lfirst(lc)))
			x.names = PROMQL_NAMES_MANY;
	}
	x.sql = promql_vector_sql(cx, node->left).sql;
	/* those that count take all there is */
	if (node->agg != PROMQL_COUNT && node->agg != PROMQL_GROUP)
		vals = promql_noted_aggregate_sql(cx, vals, node);
	x = promql_group_names(x, vals, grouping_sql(node));
	return phi ? promql_told_quantile_sql(cx, x, node->param, phi, true) : x;
}

/*
 * A k that is no plain number may be wrong, which is an error even if there is nothing to choose from:
 * then it comes first, and what there is to choose from is joined to it.
 */
static PromqlVector
topk_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x = promql_vector_sql(cx, node->left);
	const PromqlNode *param = inner(node->param);
	char	   *k = promql_scalar_sql(cx, node->param);
	bool		plain = param->tag == PROMQL_NUMBER && param->number >= 1 && param->number < 1e18;
	bool		in_order = cx->query->instant && (node->without || node->labels);

	x.sql = psprintf("SELECT u.labels, u.vals\n"
					 "FROM (\n"
					 "SELECT prom._agg_%s(g.labels, g.vals, g.k) AS found\n"
					 "FROM (\n"
					 "SELECT %s AS sig, x.labels, x.vals, %s AS k\n"
					 "FROM %s(\n%s) AS x%s) AS g\n"
					 "GROUP BY g.sig%s) AS f\n"
					 "CROSS JOIN LATERAL pg_catalog.unnest(f.found) AS u(labels, vals)",
					 promql_agg_name(node->agg), grouping_sql(node), plain ? k : "p.k",
					 plain ? "" : psprintf("(\nSELECT prom._topk_limit(%s) AS k\nOFFSET 0) AS p\nLEFT JOIN ", k),
					 x.sql, plain ? "" : " ON p.k IS NOT NULL", in_order ? "\nORDER BY g.sig" : "");
	if (node->agg == PROMQL_LIMITK)
		return x;
	return promql_map_sql(x, promql_noted_operator_sql(cx, "x.vals", promql_agg_name(node->agg), node), true);
}

/* Groups do not matter.  As with topk, a parameter that may be wrong comes first. */
static PromqlVector
limit_ratio_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x = promql_vector_sql(cx, node->left);
	const PromqlNode *param = inner(node->param);
	char	   *ratio = promql_scalar_sql(cx, node->param);

	char	   *labels = promql_keep_name_sql("x.labels");

	if (param->tag == PROMQL_NUMBER && fabs(param->number) <= 1)
		return promql_map_sql(x, psprintf("prom._limit_ratio(%s, x.vals, %s)", labels, ratio), true);
	x.sql = psprintf("SELECT y.labels, y.vals, p.ratio\n"
					 "FROM (\nSELECT prom._ratio_limit(%s, %s) AS ratio\nOFFSET 0) AS p\n"
					 "LEFT JOIN (\n%s) AS y ON p.ratio IS NOT NULL",
					 ratio, promql_place_sql(cx, param), x.sql);
	return promql_map_sql(x, psprintf("prom._limit_ratio(%s, x.vals, x.ratio)", labels), true);
}

/* The label of the value belongs to the groups, whatever it was before. */
static PromqlVector
count_values_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x = {NULL, PROMQL_NAMES_SAME};
	PromqlNode	group = *node;
	char	   *label = inner(node->param)->text;
	ListCell   *lc;

	if (node->without)
	{
		if (promql_is_listed(label, node->labels) || strcmp(label, "__name__") == 0)
		{
			group.agg = PROMQL_COUNT;
			group.param = NULL;
			return one_per_group(cx, &group);
		}
		group.labels = lappend(list_copy(node->labels), label);
	}
	else
	{
		group.labels = NIL;
		foreach(lc, node->labels)
		{
			if (strcmp(lfirst(lc), label) != 0)
				group.labels = lappend(group.labels, lfirst(lc));
		}
		if (promql_is_listed("__name__", node->labels) || strcmp(label, "__name__") == 0)
			x.names = PROMQL_NAMES_MANY;
	}
	x.sql = psprintf("SELECT prom._labels_set(f.labels, %s, u.value) AS labels, u.vals\n"
					 "FROM (\n"
					 "SELECT g.labels, prom._agg_count_values(g.vals) AS found\n"
					 "FROM (\n"
					 "SELECT %s AS labels, x.vals\n"
					 "FROM (\n%s) AS x) AS g\n"
					 "GROUP BY g.labels) AS f\n"
					 "CROSS JOIN LATERAL pg_catalog.unnest(f.found) AS u(value, vals)",
					 quote_literal_cstr(label), grouping_sql(&group), promql_vector_sql(cx, node->left).sql);
	return x;
}

/* The label set of a row's group. */
static char *
grouping_sql(const PromqlNode *node)
{
	if (node->without)
		return psprintf("prom._labels_drop(x.labels, %s)", promql_text_array(promql_without_name(node->labels), NULL));
	return psprintf("prom._labels_keep(x.labels, %s)", promql_text_array(node->labels, NULL));
}

static const PromqlNode *
inner(const PromqlNode *node)
{
	while (node->tag == PROMQL_PAREN)
		node = node->left;
	return node;
}

/*
 * Buckets of one classic histogram are the series that differ in nothing but le; a native one is a series, and if it
 * has that label keeps it.  (One that is a bucket at some steps and native at others counts as native.)
 * histogram_quantiles gives a series for each of its quantiles, and for each value that one takes.
 */
PromqlVector
promql_histogram_sql(PromqlContext *cx, PromqlNode *node)
{
	bool		several = node->function->kind == PROMQL_FN_HISTOGRAM_QUANTILES;
	PromqlVector x = {NULL};
	StringInfoData params;
	const char *separator = "";
	PromqlNode *vector = NULL;
	ListCell   *lc;

	initStringInfo(&params);
	foreach(lc, node->args)
	{
		PromqlNode *arg = lfirst(lc);

		if (arg->type == PROMQL_VECTOR)
		{
			vector = promql_without_parens(arg);
			x = promql_vector_sql(cx, arg);
		}
		if (arg->type != PROMQL_SCALAR)
			continue;
		appendStringInfo(&params, "%s%s", separator, promql_scalar_sql(cx, arg));
		separator = ", ";
	}
	x.sql = psprintf("SELECT g.sig AS labels, prom._%s(g.labels, g.vals, %s, %s, " INT64_FORMAT ", " INT64_FORMAT ", %s%s%s) AS %s\n"
					 "FROM (\n"
					 "SELECT CASE WHEN prom._has_histograms(x.vals) THEN %s ELSE prom._labels_drop(%s, '{le}'::pg_catalog.text[]) END AS sig, x.labels, x.vals\n"
					 "FROM (\n%s) AS x) AS g\n"
					 "GROUP BY g.sig",
					 node->function->sql, promql_place_sql(cx, vector), promql_delayed_names ? "true" : "false",
					 cx->steps.start_ms, cx->steps.step_ms, several ? "ARRAY[" : "", params.data, several ? "]" : "",
					 several ? "found" : "vals", promql_keep_name_sql("x.labels"), promql_keep_name_sql("x.labels"), x.sql);
	if (several)
	{
		const char *label = inner(lsecond(node->args))->text;

		if (label[0] == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid label name in histogram_quantiles(): %s", label)));
		x.sql = psprintf("SELECT prom._labels_set(%s, %s, u.value) AS labels, u.vals\n"
						 "FROM (\n%s) AS h\n"
						 "CROSS JOIN LATERAL pg_catalog.unnest(h.found) AS u(value, vals)",
						 promql_drop_name_sql("h.labels"), quote_literal_cstr(label), x.sql);
		/* the label may have told histograms apart, or two quantiles be one */
		x.names = PROMQL_NAMES_MANY;
	}
	else
		x.sql = psprintf("SELECT %s AS labels, h.vals\n"
						 "FROM (\n%s) AS h\n"
						 "WHERE h.vals IS NOT NULL", promql_drop_name_sql("h.labels"), x.sql);
	x = promql_check_names(x, true);
	foreach(lc, node->args)
	{
		PromqlNode *arg = lfirst(lc);

		if (arg->type == PROMQL_SCALAR && node->function->kind != PROMQL_FN_HISTOGRAM_FRACTION)
			x = promql_told_quantile_sql(cx, x, arg, promql_scalar_sql(cx, arg), false);
	}
	return x;
}

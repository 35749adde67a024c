/*
 * translate_name.c
 *	  Tree -> SQL: names that go where the meaning of values changes, now or at the end.
 *
 * Usually a name goes at once, and label sets that may coincide then are looked after there.  With delayed
 * removal (a setting) label sets are marked instead, with a label of a reserved name: functions, matching,
 * grouping and annotations still see the name.  At the end marked names go, and so does the mark, and that
 * is where label sets may coincide.  Whatever compares label sets has to leave the mark aside.
 *
 * Annotations of aggregations name the metric that the text of their operand does, as long as its series
 * keep that name.
 *
 * A group by name is marked if any of its members is; whether it is at all steps is not told apart.
 */
#include "postgres.h"

#include "promql/sqlgen.h"
#include "promql/translate.h"

#define MARK "__name_dropped__"

bool		promql_delayed_names = false;
bool		promql_typed = false;

/* The labels that go with a metric's name, as SQL: inside of an array */
#define NAME_LABELS "__name__,__type__,__unit__"

char *
promql_drop_name_sql(const char *labels)
{
	if (promql_delayed_names)
		return psprintf("prom._labels_set(%s, '" MARK "', '1')", labels);
	return psprintf("prom._labels_drop(%s, '{" NAME_LABELS "}'::pg_catalog.text[])", labels);
}

char *
promql_drop_name_now_sql(const char *labels)
{
	return psprintf("prom._labels_drop(%s, '{" NAME_LABELS "%s}'::pg_catalog.text[])", labels,
					promql_delayed_names ? "," MARK : "");
}

char *
promql_keep_name_sql(const char *labels)
{
	if (!promql_delayed_names)
		return pstrdup(labels);
	return psprintf("prom._labels_drop(%s, '{" MARK "}'::pg_catalog.text[])", labels);
}

char *
promql_set_name_sql(const char *labels, const char *src, const char *pattern)
{
	if (!promql_delayed_names)
		return pstrdup(labels);
	return psprintf("prom._label_replace(%s, '" MARK "', '', %s, %s)", labels, src, pattern);
}

List *
promql_without_name(List *labels)
{
	labels = lappend(list_copy(labels), "__name__");
	return promql_delayed_names ? lappend(labels, MARK) : labels;
}

bool
promql_is_name_label(const char *label)
{
	return strcmp(label, "__name__") == 0 || strcmp(label, "__type__") == 0 || strcmp(label, "__unit__") == 0;
}

/* Are results under the name of the metric that the function is given? */
static bool
keeps_names(const PromqlNode *call)
{
	switch ((PromqlFunctionKind) call->function->kind)
	{
		case PROMQL_FN_LABEL_REPLACE:
		case PROMQL_FN_LABEL_JOIN:
			return strcmp(promql_without_parens(lsecond(call->args))->text, "__name__") != 0;
		case PROMQL_FN_WINDOW_NAMED:
		case PROMQL_FN_SORT:
		case PROMQL_FN_SORT_DESC:
		case PROMQL_FN_SORT_LABEL:
		case PROMQL_FN_SORT_LABEL_DESC:
		case PROMQL_FN_INFO:
			return true;
		default:
			return promql_delayed_names;
	}
}

/* Of what keeps the names of its argument, which; NULL: names are gone, or not known. */
static PromqlNode *
named_argument(PromqlNode *node)
{
	ListCell   *lc;

	switch (node->tag)
	{
		case PROMQL_PAREN:
		case PROMQL_SUBQUERY:
			return node->left;
		case PROMQL_UNARY:
			return node->op == PROMQL_ADD || promql_delayed_names ? node->left : NULL;
		case PROMQL_BINARY:
			if (node->left->type == PROMQL_VECTOR && node->right->type == PROMQL_VECTOR)
				return promql_keeps_name(node) || node->card == PROMQL_MANY_TO_MANY ? node->left : NULL;
			if (!promql_keeps_name(node) && !promql_delayed_names)
				return NULL;
			return node->left->type == PROMQL_VECTOR ? node->left : node->right;
		case PROMQL_AGGREGATE:
			if (node->agg != PROMQL_TOPK && node->agg != PROMQL_BOTTOMK && node->agg != PROMQL_LIMITK &&
				node->agg != PROMQL_LIMIT_RATIO && (node->without || !promql_is_listed("__name__", node->labels)))
				return NULL;
			return node->left;
		case PROMQL_CALL:
			if (!keeps_names(node))
				return NULL;
			foreach(lc, node->args)
			{
				PromqlNode *arg = lfirst(lc);

				if (arg->type == PROMQL_VECTOR || arg->type == PROMQL_MATRIX)
					return arg;
			}
			return NULL;
		default:
			return NULL;
	}
}

const char *
promql_metric_name(PromqlNode *node)
{
	while (node->tag != PROMQL_SELECTOR)
	{
		node = named_argument(node);
		if (node == NULL)
			return "";
	}
	for (int i = 0; i < node->nmatchers; i++)
	{
		if (node->matchers[i].type == PROM_MATCH_EQ && strcmp(node->matchers[i].name, "__name__") == 0)
			return node->matchers[i].value;
	}
	return "";
}

PromqlVector
promql_group_names(PromqlVector x, const char *value, const char *group)
{
	bool		marks = promql_delayed_names && x.names == PROMQL_NAMES_MANY;
	const char *labels = "g.labels";

	if (marks)
		labels = "CASE WHEN pg_catalog.bool_or(g.dropped) THEN prom._labels_set(g.labels, '" MARK "', '1') ELSE g.labels END AS labels";
	x.sql = psprintf("SELECT %s, %s AS vals\n"
					 "FROM (\n"
					 "SELECT %s AS labels, x.vals%s\n"
					 "FROM (\n%s) AS x) AS g\n"
					 "GROUP BY g.labels",
					 labels, value, group,
					 marks ? ", prom._label_eq(x.labels, '" MARK "', '1') AS dropped" : "", x.sql);
	return x;
}

/* The same rows, of each label set one; those that coincide are joined, or an error if they share a step. */
PromqlVector
promql_check_names(PromqlVector x, bool per_step)
{
	if (x.names == PROMQL_NAMES_SAME || promql_delayed_names)
		return x;
	return promql_check_labels(x, per_step);
}

PromqlVector
promql_check_labels(PromqlVector x, bool per_step)
{
	x.sql = psprintf("SELECT u.labels, %s AS vals\n"
					 "FROM (\n%s) AS u\n"
					 "GROUP BY u.labels",
					 per_step ? "prom._unique(u.labels, u.vals)" : "prom._only(u.vals)", x.sql);
	x.names = PROMQL_NAMES_SAME;
	return x;
}

/* The rows stay in their order, which sort and topk gave them. */
PromqlVector
promql_final_names(PromqlVector x)
{
	if (!promql_delayed_names)
		return x;
	x.sql = psprintf("SELECT CASE WHEN prom._label_eq(x.labels, '" MARK "', '1') THEN %s ELSE x.labels END AS labels, x.vals\n"
					 "FROM (\n%s) AS x",
					 promql_drop_name_now_sql("x.labels"), x.sql);
	if (x.names == PROMQL_NAMES_MANY)
		x.sql = psprintf("SELECT u.labels, prom._unique(u.labels, u.vals) AS vals\n"
						 "FROM (\n"
						 "SELECT z.labels, z.vals, pg_catalog.row_number() OVER () AS n\n"
						 "FROM (\n%s) AS z) AS u\n"
						 "GROUP BY u.labels\n"
						 "ORDER BY pg_catalog.min(u.n)",
						 x.sql);
	return x;
}

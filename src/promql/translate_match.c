/*
 * translate_match.c
 *	  Tree -> SQL: operators between two vectors, one series to one.
 *
 * Both sides get a signature, the labels to match on.  The right side is folded to one row per
 * signature (two series of it at one step are an error), the left side joined to it, and an aggregate
 * per signature computes the result: it sees all left series of the signature and so can tell when two
 * of them would match at one step.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "promql/sqlgen.h"

static char *signature_sql(PromqlNode *node);
static char *sides_sql(PromqlContext *cx, PromqlNode *node, const char *left_labels, int indent);
static bool matches_on_name(PromqlNode *node);

PromqlVector
promql_match_sql(PromqlContext *cx, PromqlNode *node, int indent)
{
	PromqlVector x = {NULL, PROMQL_NAMES_SAME};
	bool		comparison = promql_op_is_comparison(node->op);
	const char *op = promql_op_literal(node->op);
	char	   *pad = promql_tabs(indent);

	if (node->card != PROMQL_ONE_TO_ONE)
		promql_unsupported(cx->query->text, node->op_start, node->card == PROMQL_MANY_TO_MANY ?
						   "operator \"%s\"" : "group_left and group_right with operator \"%s\"",
						   promql_op_name(node->op));
	if (node->op == PROMQL_TRIM_LOWER || node->op == PROMQL_TRIM_UPPER)
		promql_unsupported(cx->query->text, node->op_start, "operator \"%s\"", promql_op_name(node->op));

	if (comparison && !node->returns_bool && !node->on)
	{
		/* A filter: results keep the labels of the left side, but for those ignored. */
		char	   *labels = node->labels ? psprintf("prom._labels_drop(x.labels, %s)", promql_text_array(node->labels, NULL)) : "x.labels";

		x.sql = psprintf("%sSELECT u.labels, u.vals\n"
						 "%sFROM (\n"
						 "%s\tSELECT prom._match_filter(%s, l.labels, l.vals, r.vals) AS found\n"
						 "%s) AS m\n"
						 "%sCROSS JOIN LATERAL pg_catalog.unnest(m.found) AS u(labels, vals)",
						 pad, pad, pad, op, sides_sql(cx, node, labels, indent + 1), pad);
		x.names = PROMQL_NAMES_MANY;
		return x;
	}

	x.sql = psprintf("%sSELECT m.labels, m.vals\n"
					 "%sFROM (\n"
					 "%s\tSELECT l.sig AS labels, %s%s, l.vals, r.vals%s) AS vals\n"
					 "%s) AS m\n"
					 "%sWHERE m.vals IS NOT NULL",
					 pad, pad, pad,
					 comparison ? "prom._match_compare(" : "prom._match_arith(", op,
					 comparison ? (node->returns_bool ? ", true" : ", false") : "",
					 sides_sql(cx, node, NULL, indent + 1), pad);
	if (matches_on_name(node))
	{
		x.names = PROMQL_NAMES_MANY;
		if (!comparison || node->returns_bool)
		{
			x.sql = psprintf("%sSELECT prom._labels_drop(n.labels, ARRAY['__name__']::pg_catalog.text[]) AS labels, n.vals\n%sFROM (\n%s) AS n",
							 pad, pad, x.sql);
			x = promql_check_names(x, true, indent);
		}
	}
	return x;
}

/* "FROM left JOIN right GROUP BY signature"; left_labels: labels to carry along, or NULL. */
static char *
sides_sql(PromqlContext *cx, PromqlNode *node, const char *left_labels, int indent)
{
	PromqlVector l = promql_vector_sql(cx, node->left, indent + 2);
	PromqlVector r = promql_vector_sql(cx, node->right, indent + 3);
	char	   *sig = signature_sql(node);
	char	   *pad = promql_tabs(indent);

	return psprintf("%sFROM (\n"
					"%s\tSELECT %s AS sig, %s%sx.vals\n"
					"%s\tFROM (\n%s) AS x) AS l\n"
					"%sJOIN (\n"
					"%s\tSELECT y.sig, prom._one_side(y.sig, y.labels, y.vals) AS vals\n"
					"%s\tFROM (\n"
					"%s\t\tSELECT %s AS sig, x.labels, x.vals\n"
					"%s\t\tFROM (\n%s) AS x) AS y\n"
					"%s\tGROUP BY y.sig) AS r ON r.sig OPERATOR(prom.=) l.sig\n"
					"%sGROUP BY l.sig",
					pad, pad, sig, left_labels ? left_labels : "", left_labels ? " AS labels, " : "",
					pad, l.sql, pad, pad, pad, pad, sig, pad, r.sql, pad, pad);
}

static char *
signature_sql(PromqlNode *node)
{
	if (node->on)
		return psprintf("prom._labels_keep(x.labels, %s)", promql_text_array(node->labels, NULL));
	return psprintf("prom._labels_drop(x.labels, %s)", promql_text_array(node->labels, "__name__"));
}

static bool
matches_on_name(PromqlNode *node)
{
	ListCell   *lc;

	if (node->on)
	{
		foreach(lc, node->labels)
		{
			if (strcmp(lfirst(lc), "__name__") == 0)
				return true;
		}
	}
	return false;
}

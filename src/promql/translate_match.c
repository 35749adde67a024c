/*
 * translate_match.c
 *	  Tree -> SQL: operators between two vectors, one series to one.
 *
 * Both sides get a signature, the labels to match on.  The right side is folded to one row per
 * signature (two series of it at one step are an error), the left side joined to it, and an aggregate
 * per signature computes the result: it sees all left series of the signature and so can tell when two
 * of them would match at one step.  The left side is read twice, and materialized for that: where it is
 * empty, two series on the right are no error.  "OFFSET 0" keeps what is known of the left side's signatures from
 * choosing among those of the right: two series of one are an error even if nobody matches it.
 */
#include "postgres.h"

#include "promql/sqlgen.h"

static char *match_sql(PromqlContext *cx, PromqlNode *node, const char *result, const char *left_labels);
static char *signature_sql(PromqlNode *node);
static bool names_name(List *labels);

PromqlVector
promql_match_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x = {NULL, PROMQL_NAMES_SAME};
	const char *op = promql_op_name(node->op);
	const char *labels = "x.labels";

	if (node->card != PROMQL_ONE_TO_ONE)
		promql_unsupported(cx->query->text, node->op_start, node->card == PROMQL_MANY_TO_MANY ?
						   "operator \"%s\"" : "group_left and group_right with operator \"%s\"", op);

	if (promql_op_is_comparison(node->op) && !node->returns_bool && !node->on)
	{
		/* A filter: results keep the labels of the left side, but for those ignored. */
		if (node->labels)
			labels = psprintf("prom._labels_drop(x.labels, %s)", promql_text_array(node->labels, NULL));
		x.sql = psprintf("SELECT u.labels, u.vals\n"
						 "FROM (\n%s) AS m\n"
						 "CROSS JOIN LATERAL pg_catalog.unnest(m.found) AS u(labels, vals)",
						 match_sql(cx, node, psprintf("prom._match_filter('%s', l.labels, l.vals, r.vals) AS found", op),
								   labels));
		x.names = PROMQL_NAMES_MANY;
		return x;
	}

	if (promql_op_is_comparison(node->op))
		x.sql = psprintf("prom._match_compare('%s', l.vals, r.vals, %s) AS vals", op,
						 node->returns_bool ? "true" : "false");
	else
		x.sql = psprintf("prom._match_arith('%s', l.vals, r.vals) AS vals", op);
	x.sql = psprintf("SELECT m.labels, m.vals\n"
					 "FROM (\n%s) AS m\n"
					 "WHERE m.vals IS NOT NULL",
					 match_sql(cx, node, psprintf("%s AS labels, %s",
												  promql_keeps_name(node) ? "l.sig" : "prom._labels_drop(l.sig, " PROMQL_NAME_LABELS ")",
												  x.sql), NULL));
	if (node->on && names_name(node->labels))
		x.names = PROMQL_NAMES_MANY;
	return promql_keeps_name(node) ? x : promql_check_names(x, true);
}

/* Select "result" over l and r, joined and grouped by signature; left_labels: what l.labels is, or NULL. */
static char *
match_sql(PromqlContext *cx, PromqlNode *node, const char *result, const char *left_labels)
{
	char	   *sig = signature_sql(node);
	char	   *l = promql_vector_sql(cx, node->left).sql;
	char	   *r = promql_vector_sql(cx, node->right).sql;

	return psprintf("WITH l AS MATERIALIZED (\n"
					"SELECT %s AS sig, %s%sx.vals\n"
					"FROM (\n%s) AS x)\n"
					"SELECT %s\n"
					"FROM l\n"
					"JOIN (\n"
					"SELECT y.sig, prom._one_side(y.sig, y.labels, y.vals, (SELECT prom._agg_count(l.vals) FROM l)) AS vals\n"
					"FROM (\n"
					"SELECT %s AS sig, x.labels, x.vals\n"
					"FROM (\n%s) AS x) AS y\n"
					"GROUP BY y.sig\n"
					"OFFSET 0) AS r ON r.sig OPERATOR(prom.=) l.sig\n"
					"GROUP BY l.sig",
					sig, left_labels ? left_labels : "", left_labels ? " AS labels, " : "", l, result, sig, r);
}

static char *
signature_sql(PromqlNode *node)
{
	if (node->on)
		return psprintf("prom._labels_keep(x.labels, %s)", promql_text_array(node->labels, NULL));
	return psprintf("prom._labels_drop(x.labels, %s)", promql_text_array(node->labels, "__name__"));
}

static bool
names_name(List *labels)
{
	ListCell   *lc;

	foreach(lc, labels)
	{
		if (strcmp(lfirst(lc), "__name__") == 0)
			return true;
	}
	return false;
}

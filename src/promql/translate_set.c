/*
 * translate_set.c
 *	  Tree -> SQL: and, or, unless.
 *
 * Whether a signature is there is a matter of each step.  For "and" and "unless" the right side is
 * folded to the steps at which it has a signature, joined to the left side and masks its values.  For
 * "or" the rows of both sides go through one aggregate per signature, so neither side is read twice.  Both
 * sides are always evaluated, as translate_match.c says.
 */
#include "postgres.h"

#include "promql/sqlgen.h"

static PromqlVector mask_sql(PromqlContext *cx, PromqlNode *node, const char *function);
static PromqlVector or_sql(PromqlContext *cx, PromqlNode *node);

PromqlVector
promql_set_sql(PromqlContext *cx, PromqlNode *node)
{
	if (node->op == PROMQL_OR)
		return or_sql(cx, node);
	if (node->op == PROMQL_AND)
		return mask_sql(cx, node, "prom._and");
	return mask_sql(cx, node, "prom._unless");
}

static PromqlVector
mask_sql(PromqlContext *cx, PromqlNode *node, const char *function)
{
	PromqlVector x = promql_vector_sql(cx, node->left);
	PromqlVector right = promql_vector_sql(cx, node->right);
	char	   *mask = promql_signed_sql(node, right.sql);

	if (!promql_signature_is_unique(node, node->right, right.names))
		mask = psprintf("SELECT y.sig, prom._agg_group(y.vals) AS vals\n"
						"FROM (\n%s) AS y\n"
						"GROUP BY y.sig", mask);
	x.sql = psprintf("SELECT f.labels, f.vals\n"
					 "FROM (\n"
					 "SELECT l.labels, %s(l.vals, r.vals) AS vals\n"
					 "FROM (\n%s) AS l\n"
					 "FULL JOIN (\n%s) AS r ON r.sig OPERATOR(prom.=) l.sig\n"
					 "OFFSET 0) AS f\n"
					 "WHERE f.vals IS NOT NULL",
					 function, promql_signed_sql(node, x.sql), mask);
	return x;
}

static PromqlVector
or_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x = {NULL, PROMQL_NAMES_MANY};

	x.sql = psprintf("SELECT u.labels, u.vals\n"
					 "FROM (\n"
					 "SELECT prom._or(b.is_left, b.labels, b.vals) AS found\n"
					 "FROM (\n"
					 "SELECT true AS is_left, l.sig, l.labels, l.vals\n"
					 "FROM (\n%s) AS l\n"
					 "UNION ALL\n"
					 "SELECT false AS is_left, r.sig, r.labels, r.vals\n"
					 "FROM (\n%s) AS r) AS b\n"
					 "GROUP BY b.sig) AS f\n"
					 "CROSS JOIN LATERAL pg_catalog.unnest(f.found) AS u(labels, vals)",
					 promql_signed_sql(node, promql_vector_sql(cx, node->left).sql),
					 promql_signed_sql(node, promql_vector_sql(cx, node->right).sql));
	return x;
}

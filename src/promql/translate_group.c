/*
 * translate_group.c
 *	  Tree -> SQL: operators between two vectors with group_left or group_right.
 *
 * Each row of the many side meets the one side's row of its signature.  Results have the many side's
 * labels, with those to include taken from the one side.  Two results of a signature that come to have
 * the same labels may not share a step: an aggregate per signature and label set looks after that,
 * unless labels cannot become equal.
 */
#include "postgres.h"

#include "promql/sqlgen.h"

PromqlVector
promql_group_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlJoin	join = promql_join_sql(cx, node);
	PromqlVector x = {NULL, PROMQL_NAMES_SAME};
	bool		keeps_name = promql_keeps_name(node);
	const char *labels = promql_keep_name_sql("m.labels");

	if (!keeps_name)
		labels = node->returns_bool ? promql_drop_name_sql("m.labels") : promql_drop_name_now_sql("m.labels");
	if (node->include)
		labels = psprintf("prom._labels_take(%s, %s, o.labels)", labels, promql_text_array(node->include, NULL));

	if (node->include == NIL && !join.is_filled && (keeps_name || join.many_names == PROMQL_NAMES_SAME))
		x.sql = promql_pairs_sql(&join, labels, promql_pair_sql(cx, node, "prom._"));
	else
		x.sql = psprintf("SELECT g.labels, g.vals\n"
						 "FROM (\n"
						 "%sSELECT %s AS labels, %s AS vals\n"
						 "%s\n"
						 "GROUP BY m.sig, 1) AS g\n"
						 "WHERE g.vals IS NOT NULL",
						 join.with, labels, promql_pair_sql(cx, node, "prom._group_"), join.from);

	/* Results of different signatures are equal only if the name was in the signature and has gone. */
	if (keeps_name)
		x.names = join.many_names;
	else if (node->on && promql_is_listed("__name__", node->labels))
		x.names = PROMQL_NAMES_MANY;
	if (!keeps_name)
		x = promql_check_names(x, true);
	if (promql_is_listed("__name__", node->include))
		x.names = PROMQL_NAMES_MANY;
	return x;
}

/*
 * translate_sort.c
 *	  Tree -> SQL: functions that put an instant query's answer into an order.
 *
 * What is ordered by value is numbers; histograms are left out.
 * A range query has its own order, and so have the steps inside of a subquery: there they do nothing but
 * warn of that.
 * Label sets decide between equal ones, so that the order is always the same.
 */
#include "postgres.h"

#include "promql/sqlgen.h"

static PromqlVector ordered(PromqlContext *cx, PromqlNode *node, const char *keys, bool of_values);

PromqlVector
promql_sort_sql(PromqlContext *cx, PromqlNode *node, bool descending)
{
	return ordered(cx, node, descending ? "prom._order(x.vals, true), x.labels" : "prom._order(x.vals, false), x.labels",
				   true);
}

/* Label sets, too, are in falling order if that is asked for. */
PromqlVector
promql_sort_label_sql(PromqlContext *cx, PromqlNode *node, bool descending)
{
	const char *direction = descending ? " DESC" : "";
	const char *keys = psprintf("x.labels%s", direction);
	List	   *names = NIL;

	for (int i = 1; i < list_length(node->args); i++)
		names = lappend(names, promql_without_parens(list_nth(node->args, i))->text);
	if (names != NIL)
		keys = psprintf("prom._labels_order(x.labels, %s)%s, %s", promql_text_array(names, NULL), direction, keys);
	return ordered(cx, node, keys, false);
}

static PromqlVector
ordered(PromqlContext *cx, PromqlNode *node, const char *keys, bool of_values)
{
	PromqlVector x = promql_vector_sql(cx, linitial(node->args));

	if (of_values)
		x = promql_map_sql(x, "prom._floats(x.vals)", true);
	if (cx->steps.n > 1 || cx->query->start_ms != cx->query->end_ms)
		return promql_told_sql(x, psprintf("prom._annotate('warning', 'sort is ineffective for range queries since results are always ordered by labels', %s)",
										   promql_place_sql(cx, node)));
	if (!cx->query->instant)
		return x;
	x.sql = psprintf("SELECT x.labels, x.vals\n"
					 "FROM (\n%s) AS x\n"
					 "ORDER BY %s",
					 x.sql, keys);
	return x;
}

/*
 * translate_note.c
 *	  Tree -> SQL: where a query tells more than its result.
 *
 * What is computed is wrapped into prom._note, which says what was noted in the values.  What depends on a
 * parameter alone, or on nothing, is a further branch of a UNION ALL, which yields no row: it is told even if
 * there is nothing to compute with.  Nothing is told while a query is translated or explained.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "promql/sqlgen.h"

char *
promql_place_sql(PromqlContext *cx, const PromqlNode *node)
{
	int			line;
	int			column;

	promql_place(cx->query->text, node->start, &line, &column);
	return psprintf("'%d:%d'", line, column);
}

char *
promql_noted_sql(PromqlContext *cx, const char *vals, const char *labels, const PromqlNode *range)
{
	return psprintf("prom._note(%s, %s, %s, %s)", vals, labels,
					range->tag == PROMQL_SUBQUERY ? "'1:1'" : promql_place_sql(cx, range),
					promql_typed ? "true" : "false");
}

char *
promql_noted_operator_sql(PromqlContext *cx, const char *vals, const char *operator_name, const PromqlNode *node)
{
	return psprintf("prom._note(%s, %s, %s)", vals, quote_literal_cstr(operator_name), promql_place_sql(cx, node));
}

/* Of an aggregation over x, all series of which are of one metric, or their names have gone. */
char *
promql_noted_aggregate_sql(PromqlContext *cx, const char *vals, PromqlNode *node)
{
	PromqlNode *operand = promql_without_parens(node->left);

	return psprintf("prom._note_aggregate(%s, '%s', %s, %s)", vals, promql_agg_name(node->agg),
					quote_literal_cstr(promql_metric_name(operand)), promql_place_sql(cx, operand));
}

PromqlVector
promql_told_sql(PromqlVector x, const char *told)
{
	x.sql = psprintf("SELECT t.labels, t.vals\n"
					 "FROM (\n%s) AS t\n"
					 "UNION ALL\n"
					 "SELECT NULL::prom.labels, NULL::prom.vals\n"
					 "WHERE %s",
					 x.sql, told);
	return x;
}

bool
promql_is_quantile(PromqlNode *param)
{
	param = promql_without_parens(param);
	return param->tag == PROMQL_NUMBER && param->number >= 0 && param->number <= 1;
}

PromqlVector
promql_told_quantile_sql(PromqlContext *cx, PromqlVector x, PromqlNode *param, const char *phi, bool extremes)
{
	if (promql_is_quantile(param))
		return x;
	return promql_told_sql(x, psprintf("prom._check_quantile(%s, %s, %s)", phi, extremes ? "true" : "false",
									   promql_place_sql(cx, promql_without_parens(param))));
}

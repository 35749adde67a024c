/*
 * translate.c
 *	  Tree -> SQL: which family a node belongs to; scalars, operators with a scalar.
 *
 * Every node becomes one subquery.  "OFFSET 0" keeps the planner from pulling a subquery up where that
 * would evaluate a function on a wide value twice, once to filter and once to return it.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "promql/sqlgen.h"

static PromqlVector vector_sql(PromqlContext *cx, PromqlNode *node);
static PromqlVector scalar_operand_sql(PromqlContext *cx, PromqlNode *node);
static char *operator_sql(const PromqlNode *node, const char *l, const char *r, bool keep_right);

PromqlVector
promql_vector_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlTrace *trace = cx->query->trace;
	PromqlVector x;
	int			number;

	check_stack_depth();
	if (trace == NULL || node->tag == PROMQL_PAREN)
		return vector_sql(cx, node);
	number = promql_trace_begin(trace, node);
	x = vector_sql(cx, node);
	x.sql = promql_trace_end(trace, node, number, x.sql);
	return x;
}

static PromqlVector
vector_sql(PromqlContext *cx, PromqlNode *node)
{
	switch (node->tag)
	{
		case PROMQL_SELECTOR:
			return promql_selector_sql(cx, node, "instant");
		case PROMQL_PAREN:
			return promql_vector_sql(cx, node->left);
		case PROMQL_UNARY:
			if (node->op == PROMQL_ADD)
				return promql_vector_sql(cx, node->left);
			return promql_check_names(promql_map_sql(promql_vector_sql(cx, node->left), "prom._negate(x.vals)", false), true);
		case PROMQL_BINARY:
			if (node->left->type == PROMQL_SCALAR || node->right->type == PROMQL_SCALAR)
				return scalar_operand_sql(cx, node);
			return promql_match_sql(cx, node);
		case PROMQL_AGGREGATE:
			return promql_aggregate_sql(cx, node);
		case PROMQL_CALL:
			return promql_call_sql(cx, node);
		case PROMQL_SUBQUERY:
		case PROMQL_NUMBER:
		case PROMQL_TEXT:
			break;
	}
	elog(ERROR, "expression of tag %d is not an instant vector", node->tag);
}

char *
promql_scalar_sql(PromqlContext *cx, PromqlNode *node)
{
	char	   *x;

	check_stack_depth();
	switch (node->tag)
	{
		case PROMQL_NUMBER:
			return promql_number_sql(node->number);
		case PROMQL_PAREN:
			return promql_scalar_sql(cx, node->left);
		case PROMQL_UNARY:
			x = promql_scalar_sql(cx, node->left);
			return node->op == PROMQL_ADD ? x : psprintf("prom._negate(%s)", x);
		case PROMQL_BINARY:
			if (promql_is_trim(node->op))
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("operator \"%s\" not allowed for scalar operations", promql_op_name(node->op))));
			x = promql_scalar_sql(cx, node->left);
			return operator_sql(node, x, promql_scalar_sql(cx, node->right), false);
		case PROMQL_CALL:
			return promql_scalar_call_sql(cx, node);
		default:
			break;
	}
	elog(ERROR, "expression of tag %d is not a scalar", node->tag);
}

/* An operator between a vector and a scalar. */
static PromqlVector
scalar_operand_sql(PromqlContext *cx, PromqlNode *node)
{
	bool		left_scalar = node->left->type == PROMQL_SCALAR;
	PromqlContext inner = promql_is_trim(node->op) ? promql_with_buckets(cx) : *cx;
	char	   *scalar = promql_scalar_sql(cx, left_scalar ? node->left : node->right);
	PromqlVector x = promql_vector_sql(&inner, left_scalar ? node->right : node->left);
	char	   *vals = left_scalar ? operator_sql(node, scalar, "x.vals", true)
		: operator_sql(node, "x.vals", scalar, false);

	x = promql_map_sql(x, promql_noted_operator_sql(cx, vals, promql_op_name(node->op), node), promql_keeps_name(node));
	return promql_keeps_name(node) ? x : promql_check_names(x, true);
}

static char *
operator_sql(const PromqlNode *node, const char *l, const char *r, bool keep_right)
{
	if (promql_op_is_comparison(node->op))
		return psprintf("prom._compare('%s', %s, %s, %s, %s)", promql_op_name(node->op), l, r,
						node->returns_bool ? "true" : "false", keep_right ? "true" : "false");
	return psprintf("prom._arith('%s', %s, %s)", promql_op_name(node->op), l, r);
}

PromqlVector
promql_map_sql(PromqlVector x, const char *vals, bool keep_name)
{
	x.sql = psprintf("SELECT y.labels, y.vals\n"
					 "FROM (\n"
					 "SELECT %s AS labels, %s AS vals\n"
					 "FROM (\n%s) AS x\n"
					 "OFFSET 0) AS y\n"
					 "WHERE y.vals IS NOT NULL",
					 keep_name ? "x.labels" : promql_drop_name_sql("x.labels"), vals, x.sql);
	return x;
}

char *
promql_text_array(List *names, const char *extra)
{
	StringInfoData list;
	const char *separator = "";
	ListCell   *lc;

	initStringInfo(&list);
	appendStringInfoString(&list, "ARRAY[");
	foreach(lc, names)
	{
		appendStringInfo(&list, "%s%s", separator, quote_literal_cstr(lfirst(lc)));
		separator = ", ";
	}
	if (extra)
		appendStringInfo(&list, "%s%s", separator, quote_literal_cstr(extra));
	appendStringInfoString(&list, "]::pg_catalog.text[]");
	return list.data;
}

bool
promql_op_is_comparison(PromqlOp op)
{
	return op >= PROMQL_EQ && op <= PROMQL_GE;
}

bool
promql_keeps_name(const PromqlNode *node)
{
	if (promql_is_trim(node->op))
		return true;
	return promql_op_is_comparison(node->op) && !node->returns_bool;
}

bool
promql_is_trim(PromqlOp op)
{
	return op == PROMQL_TRIM_UPPER || op == PROMQL_TRIM_LOWER;
}

PromqlContext
promql_with_buckets(const PromqlContext *cx)
{
	PromqlContext inner = *cx;

	inner.wants_hints = false;
	inner.keeps_hints = true;
	return inner;
}

char *
promql_number_sql(double number)
{
	return psprintf("prom._vals(%s)", promql_float_sql(number));
}

char *
promql_float_sql(double number)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isnan(number))
		strlcpy(text, "NaN", sizeof(text));
	else if (isinf(number))
		strlcpy(text, number > 0 ? "Infinity" : "-Infinity", sizeof(text));
	else
		double_to_shortest_decimal_buf(number, text);
	return psprintf("'%s'::pg_catalog.float8", text);
}

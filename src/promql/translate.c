/*
 * translate.c
 *	  Tree -> SQL: selectors, functions over ranges, scalars, operators with a scalar.
 *
 * Every node becomes one subquery.  "OFFSET 0" keeps the planner from pulling a subquery up where that
 * would evaluate a function on a wide value twice, once to filter and once to return it.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "promql/sqlgen.h"
#include "promql/translate.h"
#include "store/store.h"

static PromqlVector window_sql(PromqlContext *cx, PromqlNode *node);
static PromqlVector scan_sql(PromqlContext *cx, PromqlNode *selector, int64 window_ms, const char *aggregate,
							 const char *labels);
static PromqlVector call_sql(PromqlContext *cx, PromqlNode *node);
static PromqlVector scalar_operand_sql(PromqlContext *cx, PromqlNode *node);
static PromqlVector map_sql(PromqlVector x, const char *vals, bool keep_name);
static char *scalar_call_sql(PromqlContext *cx, PromqlNode *node);
static char *operator_sql(const PromqlNode *node, const char *l, const char *r, bool keep_right);
static char *number_sql(double number);
static PromqlNames selector_names(const PromqlNode *node);
static PromqlNode *plain_selector(PromqlContext *cx, PromqlNode *node);
static int64 add_ms(int64 a, int64 b);

PromqlVector
promql_vector_sql(PromqlContext *cx, PromqlNode *node)
{
	check_stack_depth();
	switch (node->tag)
	{
		case PROMQL_SELECTOR:
			return scan_sql(cx, plain_selector(cx, node), cx->lookback_ms, "_instant", "s.labels");
		case PROMQL_PAREN:
			return promql_vector_sql(cx, node->left);
		case PROMQL_UNARY:
			if (node->op == PROMQL_ADD)
				return promql_vector_sql(cx, node->left);
			return promql_check_names(map_sql(promql_vector_sql(cx, node->left), "prom._negate(x.vals)", false), true);
		case PROMQL_BINARY:
			if (node->op == PROMQL_TRIM_LOWER || node->op == PROMQL_TRIM_UPPER)
				promql_unsupported(cx->query->text, node->op_start, "operator \"%s\"", promql_op_name(node->op));
			if (node->left->type == PROMQL_SCALAR || node->right->type == PROMQL_SCALAR)
				return scalar_operand_sql(cx, node);
			return promql_match_sql(cx, node);
		case PROMQL_AGGREGATE:
			return promql_aggregate_sql(cx, node);
		case PROMQL_CALL:
			return call_sql(cx, node);
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
			return number_sql(node->number);
		case PROMQL_PAREN:
			return promql_scalar_sql(cx, node->left);
		case PROMQL_UNARY:
			x = promql_scalar_sql(cx, node->left);
			return node->op == PROMQL_ADD ? x : psprintf("prom._negate(%s)", x);
		case PROMQL_BINARY:
			x = promql_scalar_sql(cx, node->left);
			return operator_sql(node, x, promql_scalar_sql(cx, node->right), false);
		case PROMQL_CALL:
			return scalar_call_sql(cx, node);
		default:
			break;
	}
	elog(ERROR, "expression of tag %d is not a scalar", node->tag);
}

static char *
scalar_call_sql(PromqlContext *cx, PromqlNode *node)
{
	if (node->function->kind == PROMQL_FN_TIME)
		return psprintf("prom._time(" INT64_FORMAT ", " INT64_FORMAT ", %d)", cx->steps.start_ms, cx->steps.step_ms,
						cx->steps.n);
	if (node->function->kind == PROMQL_FN_SCALAR)
		return psprintf("prom._scalar((SELECT prom._single(v.vals) FROM (\n%s) AS v), %d)",
						promql_vector_sql(cx, linitial(node->args)).sql, cx->steps.n);
	promql_unsupported(cx->query->text, node->start, "function \"%s\"", node->function->name);
}

/* A range selector as the whole query: its raw samples, sorted as every matrix is. */
char *
promql_matrix_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlNode *selector = plain_selector(cx, node);
	PromScanRange range;
	StringInfoData out;

	range.to_ms = add_ms(cx->steps.start_ms, -selector->offset_ms);
	range.from_ms = add_ms(range.to_ms, -selector->range_ms);
	initStringInfo(&out);
	appendStringInfoString(&out, "SELECT s.labels, l.out AS samples\nFROM ");
	prom_scan_sql(&out, selector->matchers, selector->nmatchers, range,
				  psprintf("prom._samples(c.data, c.ord, s.sid, " INT64_FORMAT ", " INT64_FORMAT ")",
						   range.from_ms, range.to_ms));
	appendStringInfoString(&out, "\nORDER BY s.labels");
	return out.data;
}

static PromqlVector
call_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x = {NULL, PROMQL_NAMES_SAME};

	switch ((PromqlFunctionKind) node->function->kind)
	{
		case PROMQL_FN_WINDOW:
			return window_sql(cx, node);
		case PROMQL_FN_VECTOR:
			x.sql = psprintf("SELECT '{}'::prom.labels AS labels, prom._vector(%s, %d) AS vals",
							 promql_scalar_sql(cx, linitial(node->args)), cx->steps.n);
			return x;
		case PROMQL_FN_HISTOGRAM_QUANTILE:
			return promql_histogram_quantile_sql(cx, node);
		case PROMQL_FN_NONE:
		case PROMQL_FN_TIME:
		case PROMQL_FN_SCALAR:
			break;
	}
	promql_unsupported(cx->query->text, node->start, "function \"%s\"", node->function->name);
}

static PromqlVector
window_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlNode *selector = plain_selector(cx, linitial(node->args));
	const char *aggregate = psprintf("_%s", node->function->sql);

	if (strcmp(node->function->name, "last_over_time") == 0)
		return scan_sql(cx, selector, selector->range_ms, aggregate, "s.labels");
	return promql_check_names(scan_sql(cx, selector, selector->range_ms, aggregate,
									   "prom._labels_drop(s.labels, " PROMQL_NAME_LABELS ")"), false);
}

/* The leaf: an aggregate over the samples of each series in (ref - window, ref] of every step. */
static PromqlVector
scan_sql(PromqlContext *cx, PromqlNode *selector, int64 window_ms, const char *aggregate, const char *labels)
{
	PromqlVector x = {NULL, selector_names(selector)};
	int64		start_ms = add_ms(cx->steps.start_ms, -selector->offset_ms);
	PromScanRange range;
	StringInfoData out;

	range.from_ms = add_ms(start_ms, -window_ms);
	range.to_ms = add_ms(start_ms, cx->steps.step_ms * (cx->steps.n - 1));
	initStringInfo(&out);
	appendStringInfo(&out, "SELECT %s AS labels, l.out AS vals\nFROM ", labels);
	prom_scan_sql(&out, selector->matchers, selector->nmatchers, range,
				  psprintf("prom.%s(c.data, c.ord, s.sid, " INT64_FORMAT ", " INT64_FORMAT ", %d, " INT64_FORMAT ")",
						   aggregate, start_ms, cx->steps.step_ms, cx->steps.n, window_ms));
	x.sql = out.data;
	return x;
}

/* An operator between a vector and a scalar. */
static PromqlVector
scalar_operand_sql(PromqlContext *cx, PromqlNode *node)
{
	bool		left_scalar = node->left->type == PROMQL_SCALAR;
	char	   *scalar = promql_scalar_sql(cx, left_scalar ? node->left : node->right);
	PromqlVector x = promql_vector_sql(cx, left_scalar ? node->right : node->left);
	char	   *vals = left_scalar ? operator_sql(node, scalar, "x.vals", true)
		: operator_sql(node, "x.vals", scalar, false);

	x = map_sql(x, vals, promql_keeps_name(node));
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

/* Apply an expression over x.vals to each series; rows that come out empty vanish. */
static PromqlVector
map_sql(PromqlVector x, const char *vals, bool keep_name)
{
	x.sql = psprintf("SELECT y.labels, y.vals\n"
					 "FROM (\n"
					 "SELECT %s AS labels, %s AS vals\n"
					 "FROM (\n%s) AS x\n"
					 "OFFSET 0) AS y\n"
					 "WHERE y.vals IS NOT NULL",
					 keep_name ? "x.labels" : "prom._labels_drop(x.labels, " PROMQL_NAME_LABELS ")", vals, x.sql);
	return x;
}

PromqlVector
promql_check_names(PromqlVector x, bool per_step)
{
	if (x.names == PROMQL_NAMES_SAME)
		return x;
	x.sql = psprintf("SELECT u.labels, %s AS vals\n"
					 "FROM (\n%s) AS u\n"
					 "GROUP BY u.labels",
					 per_step ? "prom._unique(u.labels, u.vals)" : "prom._only(u.vals)", x.sql);
	x.names = PROMQL_NAMES_SAME;
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
	return promql_op_is_comparison(node->op) && !node->returns_bool;
}

static char *
number_sql(double number)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isnan(number))
		strlcpy(text, "NaN", sizeof(text));
	else if (isinf(number))
		strlcpy(text, number > 0 ? "Infinity" : "-Infinity", sizeof(text));
	else
		double_to_shortest_decimal_buf(number, text);
	return psprintf("prom._vals('%s'::pg_catalog.float8)", text);
}

/* One name if the selector pins it by equality. */
static PromqlNames
selector_names(const PromqlNode *node)
{
	for (int i = 0; i < node->nmatchers; i++)
	{
		if (node->matchers[i].type == PROM_MATCH_EQ && strcmp(node->matchers[i].name, "__name__") == 0)
			return PROMQL_NAMES_SAME;
	}
	return PROMQL_NAMES_MANY;
}

/* The selector of a leaf, parentheses or not. */
static PromqlNode *
plain_selector(PromqlContext *cx, PromqlNode *node)
{
	while (node->tag == PROMQL_PAREN)
		node = node->left;
	if (node->tag == PROMQL_SUBQUERY)
		promql_unsupported(cx->query->text, node->start, "subquery");
	if (node->tag != PROMQL_SELECTOR)
		elog(ERROR, "expression of tag %d is not a selector", node->tag);
	if (node->at != PROMQL_AT_NONE)
		promql_unsupported(cx->query->text, node->start, "the @ modifier");
	return node;
}

/* a + b, within what an SQL literal of int8 can say: the least int64 cannot be written. */
static int64
add_ms(int64 a, int64 b)
{
	int64		sum;

	if (pg_add_s64_overflow(a, b, &sum) || sum == PG_INT64_MIN)
		return b < 0 ? -PG_INT64_MAX : PG_INT64_MAX;
	return sum;
}

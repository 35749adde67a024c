/*
 * translate.c
 *	  Tree -> SQL: selectors, functions over ranges, scalars, operators with a scalar.
 *
 * Every node becomes one subquery.  "OFFSET 0" keeps the planner from pulling a subquery up where that
 * would evaluate a function on a wide value twice (once to filter, once to return it).
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "promql/sqlgen.h"
#include "promql/translate.h"
#include "store/store.h"

#define NO_NAME "'{__name__}'::pg_catalog.text[]"

static PromqlVector selector_sql(PromqlContext *cx, PromqlNode *node, int indent);
static PromqlVector window_sql(PromqlContext *cx, PromqlNode *node, int indent);
static PromqlVector scan_sql(PromqlContext *cx, PromqlNode *selector, int64 window_ms,
							 const char *aggregate, bool keep_name, int indent);
static PromqlVector call_sql(PromqlContext *cx, PromqlNode *node, int indent);
static PromqlVector negate_sql(PromqlContext *cx, PromqlNode *node, int indent);
static PromqlVector binary_sql(PromqlContext *cx, PromqlNode *node, int indent);
static PromqlVector map_sql(PromqlVector x, const char *vals, bool keep_name, int indent);
static char *number_sql(double number);
static PromqlNames selector_names(const PromqlNode *node);
static PromqlNode *strip_parens(PromqlNode *node);

PromqlVector
promql_vector_sql(PromqlContext *cx, PromqlNode *node, int indent)
{
	check_stack_depth();
	switch (node->tag)
	{
		case PROMQL_SELECTOR:
			return selector_sql(cx, node, indent);
		case PROMQL_PAREN:
			return promql_vector_sql(cx, node->left, indent);
		case PROMQL_UNARY:
			if (node->op == PROMQL_ADD)
				return promql_vector_sql(cx, node->left, indent);
			return negate_sql(cx, node, indent);
		case PROMQL_BINARY:
			return binary_sql(cx, node, indent);
		case PROMQL_AGGREGATE:
			return promql_aggregate_sql(cx, node, indent);
		case PROMQL_CALL:
			return call_sql(cx, node, indent);
		case PROMQL_SUBQUERY:
		case PROMQL_NUMBER:
		case PROMQL_TEXT:
			break;
	}
	promql_unsupported(cx->query->text, node->start, "this expression as an instant vector");
}

char *
promql_scalar_sql(PromqlContext *cx, PromqlNode *node, int indent)
{
	check_stack_depth();
	switch (node->tag)
	{
		case PROMQL_NUMBER:
			return number_sql(node->number);
		case PROMQL_PAREN:
			return promql_scalar_sql(cx, node->left, indent);
		case PROMQL_UNARY:
			{
				char	   *x = promql_scalar_sql(cx, node->left, indent);

				return node->op == PROMQL_ADD ? x : psprintf("prom._negate(%s)", x);
			}
		case PROMQL_BINARY:
			{
				char	   *l = promql_scalar_sql(cx, node->left, indent);
				char	   *r = promql_scalar_sql(cx, node->right, indent);

				if (promql_op_is_comparison(node->op))
					return psprintf("prom._compare(%s, %s, %s, true, false)", promql_op_literal(node->op), l, r);
				return psprintf("prom._arith(%s, %s, %s)", promql_op_literal(node->op), l, r);
			}
		case PROMQL_CALL:
			if (node->function->kind == PROMQL_FN_TIME)
				return psprintf("prom._time(" INT64_FORMAT ", " INT64_FORMAT ", %d)", cx->steps.start_ms,
								cx->steps.step_ms, cx->steps.n);
			if (node->function->kind == PROMQL_FN_SCALAR)
			{
				PromqlVector x = promql_vector_sql(cx, linitial(node->args), indent + 1);

				return psprintf("prom._scalar((SELECT prom._single(v.vals) FROM (\n%s) AS v), %d)", x.sql,
								cx->steps.n);
			}
			promql_unsupported(cx->query->text, node->start, "function \"%s\"", node->function->name);
		default:
			break;
	}
	promql_unsupported(cx->query->text, node->start, "this expression as a scalar");
}

/* A range selector as the whole query: its raw samples. */
char *
promql_matrix_sql(PromqlContext *cx, PromqlNode *node, int indent)
{
	PromqlNode *selector = strip_parens(node);
	PromScanRange range;
	StringInfoData out;

	if (selector->tag != PROMQL_SELECTOR)
		promql_unsupported(cx->query->text, selector->start, "subquery");
	if (selector->at != PROMQL_AT_NONE)
		promql_unsupported(cx->query->text, selector->start, "the @ modifier");
	range.to_ms = promql_add_ms(cx->steps.start_ms, -selector->offset_ms);
	range.from_ms = promql_add_ms(range.to_ms, -selector->range_ms);
	initStringInfo(&out);
	appendStringInfo(&out, "%sSELECT s.labels, l.out AS samples\n%sFROM\n", promql_tabs(indent), promql_tabs(indent));
	prom_scan_sql(&out, selector->matchers, selector->nmatchers, range,
				  psprintf("prom._samples(c.data, c.ord, s.sid, " INT64_FORMAT ", " INT64_FORMAT ")",
						   range.from_ms, range.to_ms), indent + 1);
	appendStringInfo(&out, "%s\tAND l.out IS NOT NULL", promql_tabs(indent));
	return out.data;
}

static PromqlVector
selector_sql(PromqlContext *cx, PromqlNode *node, int indent)
{
	return scan_sql(cx, node, cx->lookback_ms, "_instant", true, indent);
}

static PromqlVector
window_sql(PromqlContext *cx, PromqlNode *node, int indent)
{
	PromqlNode *selector = strip_parens(linitial(node->args));
	bool		keep_name = strcmp(node->function->name, "last_over_time") == 0;
	PromqlVector x;

	if (selector->tag != PROMQL_SELECTOR)
		promql_unsupported(cx->query->text, selector->start, "subquery");
	x = scan_sql(cx, selector, selector->range_ms, psprintf("_%s", node->function->sql), keep_name,
				 indent + (keep_name ? 0 : 2));
	return keep_name ? x : promql_check_names(x, false, indent);
}

/*
 * The leaf: an aggregate over the samples of each series in (ref - window, ref] of every step.
 * Without keep_name the label sets lose __name__ and the caller looks after collisions.
 */
static PromqlVector
scan_sql(PromqlContext *cx, PromqlNode *selector, int64 window_ms, const char *aggregate,
		 bool keep_name, int indent)
{
	PromqlVector x = {NULL, selector_names(selector)};
	int64		start_ms = promql_add_ms(cx->steps.start_ms, -selector->offset_ms);
	PromScanRange range;
	StringInfoData out;

	if (selector->at != PROMQL_AT_NONE)
		promql_unsupported(cx->query->text, selector->start, "the @ modifier");
	if (!keep_name && x.names == PROMQL_NAMES_SAME)
		indent -= 2;			/* no check will be wrapped around it */
	range.from_ms = promql_add_ms(start_ms, -window_ms);
	range.to_ms = promql_add_ms(start_ms, cx->steps.step_ms * (cx->steps.n - 1));
	initStringInfo(&out);
	appendStringInfo(&out, "%sSELECT %s AS labels, l.out AS vals\n%sFROM\n", promql_tabs(indent),
					 keep_name ? "s.labels" : "prom._labels_drop(s.labels, " NO_NAME ")", promql_tabs(indent));
	prom_scan_sql(&out, selector->matchers, selector->nmatchers, range,
				  psprintf("prom.%s(c.data, c.ord, s.sid, " INT64_FORMAT ", " INT64_FORMAT ", %d, " INT64_FORMAT ")",
						   aggregate, start_ms, cx->steps.step_ms, cx->steps.n, window_ms), indent + 1);
	appendStringInfo(&out, "%s\tAND l.out IS NOT NULL", promql_tabs(indent));
	x.sql = out.data;
	return x;
}

static PromqlVector
call_sql(PromqlContext *cx, PromqlNode *node, int indent)
{
	switch ((PromqlFunctionKind) node->function->kind)
	{
		case PROMQL_FN_WINDOW:
			return window_sql(cx, node, indent);
		case PROMQL_FN_VECTOR:
			{
				PromqlVector x = {NULL, PROMQL_NAMES_SAME};

				x.sql = psprintf("%sSELECT '{}'::prom.labels AS labels, prom._vector(%s, %d) AS vals", promql_tabs(indent),
								 promql_scalar_sql(cx, linitial(node->args), indent + 1), cx->steps.n);
				return x;
			}
		case PROMQL_FN_HISTOGRAM_QUANTILE:
			return promql_histogram_quantile_sql(cx, node, indent);
		case PROMQL_FN_NONE:
		case PROMQL_FN_TIME:
		case PROMQL_FN_SCALAR:
			break;
	}
	promql_unsupported(cx->query->text, node->start, "function \"%s\"", node->function->name);
}

static PromqlVector
negate_sql(PromqlContext *cx, PromqlNode *node, int indent)
{
	PromqlVector x = promql_vector_sql(cx, node->left, indent + 3);

	return promql_check_names(map_sql(x, "prom._negate(x.vals)", false, indent + 2), true, indent);
}

/* Operators: with a scalar on one side here, between vectors in translate_match.c. */
static PromqlVector
binary_sql(PromqlContext *cx, PromqlNode *node, int indent)
{
	bool		left_scalar = node->left->type == PROMQL_SCALAR;
	bool		comparison = promql_op_is_comparison(node->op);
	bool		keep_name = comparison && !node->returns_bool;
	PromqlVector x;
	char	   *scalar;
	char	   *vals;
	const char *l;
	const char *r;

	if (!left_scalar && node->right->type != PROMQL_SCALAR)
		return promql_match_sql(cx, node, indent);
	if (node->op == PROMQL_TRIM_LOWER || node->op == PROMQL_TRIM_UPPER)
		promql_unsupported(cx->query->text, node->op_start, "operator \"%s\"", promql_op_name(node->op));

	x = promql_vector_sql(cx, left_scalar ? node->right : node->left, indent + (keep_name ? 2 : 4));
	scalar = promql_scalar_sql(cx, left_scalar ? node->left : node->right, indent + 4);
	l = left_scalar ? scalar : "x.vals";
	r = left_scalar ? "x.vals" : scalar;
	if (comparison)
		vals = psprintf("prom._compare(%s, %s, %s, %s, %s)", promql_op_literal(node->op), l, r,
						node->returns_bool ? "true" : "false", left_scalar ? "true" : "false");
	else
		vals = psprintf("prom._arith(%s, %s, %s)", promql_op_literal(node->op), l, r);
	x = map_sql(x, vals, keep_name, indent + (keep_name ? 0 : 2));
	return keep_name ? x : promql_check_names(x, true, indent);
}

/* Apply an expression over x.vals to each series; rows that come out empty vanish. */
static PromqlVector
map_sql(PromqlVector x, const char *vals, bool keep_name, int indent)
{
	char	   *pad = promql_tabs(indent);

	x.sql = psprintf("%sSELECT y.labels, y.vals\n%sFROM (\n%s\tSELECT %s AS labels, %s AS vals\n%s\tFROM (\n%s) AS x\n%s\tOFFSET 0) AS y\n%sWHERE y.vals IS NOT NULL",
					 pad, pad, pad, keep_name ? "x.labels" : "prom._labels_drop(x.labels, " NO_NAME ")",
					 vals, pad, x.sql, pad, pad);
	return x;
}

PromqlVector
promql_check_names(PromqlVector x, bool per_step, int indent)
{
	char	   *pad = promql_tabs(indent);

	if (x.names == PROMQL_NAMES_SAME)
		return x;
	x.sql = psprintf("%sSELECT u.labels, %s(u.vals) AS vals\n%sFROM (\n%s) AS u\n%sGROUP BY u.labels", pad,
					 per_step ? "prom._unique" : "prom._only", pad, x.sql, pad);
	x.names = PROMQL_NAMES_SAME;
	return x;
}

char *
promql_text_array(List *names, const char *extra)
{
	StringInfoData list;
	ListCell   *lc;

	initStringInfo(&list);
	appendStringInfoString(&list, "ARRAY[");
	foreach(lc, names)
		appendStringInfo(&list, "%s%s", foreach_current_index(lc) > 0 ? ", " : "",
						 quote_literal_cstr(lfirst(lc)));
	if (extra)
		appendStringInfo(&list, "%s%s", names == NIL ? "" : ", ", quote_literal_cstr(extra));
	appendStringInfoString(&list, "]::pg_catalog.text[]");
	return list.data;
}

const char *
promql_op_literal(PromqlOp op)
{
	return psprintf("'%s'", promql_op_name(op));
}

bool
promql_op_is_comparison(PromqlOp op)
{
	return op >= PROMQL_EQ && op <= PROMQL_GE;
}

int64
promql_add_ms(int64 a, int64 b)
{
	int64		sum;

	if (pg_add_s64_overflow(a, b, &sum))
		return b < 0 ? -PG_INT64_MAX : PG_INT64_MAX;
	return sum;
}

static char *
number_sql(double number)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isnan(number))
		return "prom._vals('NaN'::pg_catalog.float8)";
	if (isinf(number))
		return number > 0 ? "prom._vals('Infinity'::pg_catalog.float8)" : "prom._vals('-Infinity'::pg_catalog.float8)";
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

static PromqlNode *
strip_parens(PromqlNode *node)
{
	while (node->tag == PROMQL_PAREN)
		node = node->left;
	return node;
}

/* Indentation; deep nesting is cut short, it is for people only. */
char *
promql_tabs(int n)
{
	char	   *pad;

	n = Max(0, Min(n, 40));
	pad = palloc(n + 1);
	memset(pad, '\t', n);
	pad[n] = '\0';
	return pad;
}

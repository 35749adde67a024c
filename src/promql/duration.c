/*
 * duration.c
 *	  Durations that are computed: [5m * 2], offset -step(), [range() / 10:].
 *
 * They are made of nodes of scalars and known once the query's step and range are, before the translation.
 * All is done in seconds; the result is cut to whole milliseconds.  What cannot be a duration is an error
 * of execution, whose place is the byte range of the part that failed.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "promql/ast.h"
#include "promql/translate.h"

typedef struct PromqlTimes
{
	double		step_s;
	double		range_s;
} PromqlTimes;

static void resolve(PromqlNode *node, const PromqlTimes *times);
static int64 duration_ms(const PromqlNode *node, const PromqlTimes *times, bool may_be_negative);
static double seconds(const PromqlNode *node, const PromqlTimes *times);
static double operation(const PromqlNode *node, double left, double right);
static void fault(const PromqlNode *node, const char *message) pg_attribute_noreturn();

void
promql_resolve_durations(PromqlNode *node, const PromqlQuery *query)
{
	PromqlTimes times = {0, 0};

	if (!query->instant)
	{
		times.step_s = query->step_ms / 1000.0;
		times.range_s = ((double) query->end_ms - (double) query->start_ms) / 1000.0;
	}

	resolve(node, &times);
}

static void
resolve(PromqlNode *node, const PromqlTimes *times)
{
	ListCell   *lc;

	check_stack_depth();
	if (node->range_expr)
		node->range_ms = duration_ms(node->range_expr, times, false);
	if (node->step_expr)
		node->step_ms = duration_ms(node->step_expr, times, false);
	if (node->offset_expr)
		node->offset_ms = duration_ms(node->offset_expr, times, true);
	if (node->left)
		resolve(node->left, times);
	if (node->right)
		resolve(node->right, times);
	if (node->param)
		resolve(node->param, times);
	foreach(lc, node->args)
		resolve(lfirst(lc), times);
}

static int64
duration_ms(const PromqlNode *node, const PromqlTimes *times, bool may_be_negative)
{
	double		s = seconds(node, times);

	if (isnan(s) || isinf(s))
		fault(node, "duration is NaN or infinite");
	if (s <= 0 && !may_be_negative)
		fault(node, "duration must be greater than 0");
	/* Prometheus counts nanoseconds in an int64 */
	if (fabs(s) > PG_INT64_MAX / 1e9)
		fault(node, "duration is out of range");
	/* less than a millisecond is nothing, which no range or step can be */
	if ((int64) (s * 1000) == 0 && !may_be_negative)
		fault(node, "duration must be greater than 0");
	return (int64) (s * 1000);
}

static double
seconds(const PromqlNode *node, const PromqlTimes *times)
{
	double		a;
	double		b;

	check_stack_depth();
	switch (node->tag)
	{
		case PROMQL_NUMBER:
			return node->number;
		case PROMQL_PAREN:
			return seconds(node->left, times);
		case PROMQL_UNARY:
			a = seconds(node->left, times);
			return node->op == PROMQL_SUB ? -a : a;
		case PROMQL_BINARY:
			a = seconds(node->left, times);
			return operation(node, a, seconds(node->right, times));
		case PROMQL_CALL:
			if (node->function->kind == PROMQL_FN_STEP)
				return times->step_s;
			if (node->function->kind == PROMQL_FN_RANGE)
				return times->range_s;
			a = seconds(linitial(node->args), times);
			b = seconds(lsecond(node->args), times);
			if (isnan(a) || isnan(b))
				return (double) NAN;
			return strcmp(node->function->name, "min_of") == 0 ? Min(a, b) : Max(a, b);
		default:
			break;
	}
	elog(ERROR, "expression of tag %d is not a duration", node->tag);
}

static double
operation(const PromqlNode *node, double left, double right)
{
	switch (node->op)
	{
		case PROMQL_ADD:
			return left + right;
		case PROMQL_SUB:
			return left - right;
		case PROMQL_MUL:
			return left * right;
		case PROMQL_DIV:
			if (right == 0)
				fault(node, "division by zero");
			return left / right;
		case PROMQL_MOD:
			if (right == 0)
				fault(node, "modulo by zero");
			return fmod(left, right);
		case PROMQL_POW:
			return pow(left, right);
		default:
			break;
	}
	elog(ERROR, "operator %d is not one of durations", node->op);
}

static void
fault(const PromqlNode *node, const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%d:%d: %s", node->start, node->end, message)));
}

/*
 * estimate.c
 *	  How many rows prom.query and its like will return: what the planner asks when they stand in FROM.
 *
 * Series of a selector are what the planner itself expects of prom.series, whose pairs have statistics.
 * Above that each node makes more or fewer of them; groups cannot be more than the values of their labels
 * multiplied.  Nothing is read but prom.label_value, and of that not more than MAX_VALUES entries a label.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "common/clock.h"
#include "common/compat.h"
#include "promql/ast.h"

#define MAX_VALUES 10000
#define USUAL_INTERVAL_MS 15000		/* of scrapes */
#define USUAL_SAMPLES 1000			/* of a series over all time */

static double series_of(const PromqlNode *node);
static double series_of_aggregate(const PromqlNode *node);
static double series_of_selector(const PromqlNode *node);
static double values_of_label(const char *name);
static bool get_constant(PlannerInfo *root, List *args, int n, Datum *value);
static bool get_steps(PlannerInfo *root, List *args, double *steps);

PG_FUNCTION_INFO_V1(prom_query_support);
PG_FUNCTION_INFO_V1(prom_query_range_support);
PG_FUNCTION_INFO_V1(prom_samples_of_support);

/* The arguments of the call whose rows are asked for; NIL if something else is asked. */
static List *
call_arguments(Node *request)
{
	Node	   *node;

	if (!IsA(request, SupportRequestRows) || !ActiveSnapshotSet())
		return NIL;
	node = ((SupportRequestRows *) request)->node;
	return node != NULL && IsA(node, FuncExpr) ? ((FuncExpr *) node)->args : NIL;
}

/* query(expr, "time") */
Datum
prom_query_support(PG_FUNCTION_ARGS)
{
	SupportRequestRows *request = (SupportRequestRows *) PG_GETARG_POINTER(0);
	List	   *args = call_arguments((Node *) request);
	Datum		expr;
	PromqlNode *tree;

	if (args == NIL || !get_constant(request->root, args, 0, &expr))
		PG_RETURN_POINTER(NULL);
	tree = promql_parse(TextDatumGetCString(expr));
	request->rows = series_of(tree);
	if (tree->type == PROMQL_MATRIX)
		request->rows *= Max(1, tree->range_ms / (tree->step_ms > 0 ? tree->step_ms : USUAL_INTERVAL_MS));
	PG_RETURN_POINTER(request);
}

/* query_range(expr, start, "end", step), graph(...) */
Datum
prom_query_range_support(PG_FUNCTION_ARGS)
{
	SupportRequestRows *request = (SupportRequestRows *) PG_GETARG_POINTER(0);
	List	   *args = call_arguments((Node *) request);
	Datum		expr;
	double		steps;

	if (args == NIL || !get_constant(request->root, args, 0, &expr) || !get_steps(request->root, args, &steps))
		PG_RETURN_POINTER(NULL);
	request->rows = series_of(promql_parse(TextDatumGetCString(expr))) * steps;
	PG_RETURN_POINTER(request);
}

/* samples_of(selector, start, "end") */
Datum
prom_samples_of_support(PG_FUNCTION_ARGS)
{
	SupportRequestRows *request = (SupportRequestRows *) PG_GETARG_POINTER(0);
	List	   *args = call_arguments((Node *) request);
	PromqlNode	selector = {.tag = PROMQL_SELECTOR};
	double		samples = USUAL_SAMPLES;
	Datum		value[3];

	if (args == NIL || !get_constant(request->root, args, 0, &value[0]))
		PG_RETURN_POINTER(NULL);
	if (get_constant(request->root, args, 1, &value[1]) && get_constant(request->root, args, 2, &value[2]) &&
		!TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value[1])) && !TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value[2])))
		samples = ((double) DatumGetTimestampTz(value[2]) - DatumGetTimestampTz(value[1])) / 1000 / USUAL_INTERVAL_MS;
	selector.matchers = promql_parse_selector(TextDatumGetCString(value[0]), &selector.nmatchers);
	request->rows = series_of_selector(&selector) * Max(samples, 1);
	PG_RETURN_POINTER(request);
}

static double
series_of(const PromqlNode *node)
{
	double		left;
	double		right;

	check_stack_depth();
	if (node->type == PROMQL_SCALAR || node->type == PROMQL_STRING)
		return 1;
	switch (node->tag)
	{
		case PROMQL_SELECTOR:
			return series_of_selector(node);
		case PROMQL_AGGREGATE:
			return series_of_aggregate(node);
		case PROMQL_CALL:
			if (strncmp(node->function->name, "absent", 6) == 0)
				return 1;
			left = 1;
			for (int i = 0; i < list_length(node->args); i++)
				left = Max(left, series_of(list_nth(node->args, i)));
			return strcmp(node->function->name, "histogram_quantile") == 0 ? Max(left / values_of_label("le"), 1) : left;
		case PROMQL_BINARY:
			left = series_of(node->left);
			right = series_of(node->right);
			if (node->left->type == PROMQL_SCALAR || node->right->type == PROMQL_SCALAR)
				return Max(left, right);
			if (node->op == PROMQL_OR)
				return left + right;
			if (node->op == PROMQL_UNLESS || node->card == PROMQL_MANY_TO_ONE)
				return left;
			return node->card == PROMQL_ONE_TO_MANY ? right : Min(left, right);
		default:
			return node->left ? series_of(node->left) : 1;
	}
}

static double
series_of_aggregate(const PromqlNode *node)
{
	double		input = series_of(node->left);
	double		groups = node->without ? input / 2 : 1;
	ListCell   *lc;

	if (node->agg == PROMQL_LIMIT_RATIO)
		return input;
	if (!node->without)
		foreach(lc, node->labels)
			groups = Min(groups * values_of_label(lfirst(lc)), input);
	if (node->agg == PROMQL_COUNT_VALUES)
		groups *= 10;
	if ((node->agg == PROMQL_TOPK || node->agg == PROMQL_BOTTOMK || node->agg == PROMQL_LIMITK) && node->param)
		groups *= node->param->tag == PROMQL_NUMBER && node->param->number >= 1 ? Min(node->param->number, input) : 10;
	return Max(Min(groups, input), 1);
}

/* What the planner expects of prom.series. */
static double
series_of_selector(const PromqlNode *node)
{
	double		rows = 1;
	StringInfoData sql;
	SPIPlanPtr	plan;
	CachedPlan *cached;

	prom_series_check_reads();
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT FROM prom.series AS s WHERE ");
	prom_matchers_sql(&sql, "s", node->matchers, node->nmatchers);
	SPI_connect();
	plan = SPI_prepare(sql.data, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	cached = SPI_plan_get_cached_plan(plan);
	if (cached != NULL)
	{
		rows = linitial_node(PlannedStmt, cached->stmt_list)->planTree->plan_rows;
		ReleaseCachedPlan(cached, NULL);
	}
	SPI_finish();
	return Max(rows, 1);
}

static double
values_of_label(const char *name)
{
	Oid			type = TEXTOID;
	Datum		arg = CStringGetTextDatum(name);
	double		values;

	SPI_connect();
	if (SPI_execute_with_args("SELECT FROM prom._label_value AS v WHERE v.name OPERATOR(pg_catalog.=) $1", 1, &type, &arg,
							  NULL, true, MAX_VALUES) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args failed");
	values = Max(SPI_processed, 1);
	SPI_finish();
	return values;
}

/* The value of an argument if it is one now, as that of now() is. */
static bool
get_constant(PlannerInfo *root, List *args, int n, Datum *value)
{
	Node	   *node;

	if (n >= list_length(args))
		return false;
	node = estimate_expression_value(root, list_nth(args, n));
	if (!IsA(node, Const) || ((Const *) node)->constisnull)
		return false;
	*value = ((Const *) node)->constvalue;
	return true;
}

static bool
get_steps(PlannerInfo *root, List *args, double *steps)
{
	Datum		start;
	Datum		end;
	Datum		step;
	double		step_us;

	if (!get_constant(root, args, 1, &start) || !get_constant(root, args, 2, &end) || !get_constant(root, args, 3, &step))
		return false;
	step_us = (double) DatumGetIntervalP(step)->day * USECS_PER_DAY + DatumGetIntervalP(step)->time;
	if (step_us <= 0)
		return false;
	*steps = floor(((double) DatumGetTimestampTz(end) - DatumGetTimestampTz(start)) / step_us) + 1;
	*steps = Max(Min(*steps, PROMQL_MAX_POINTS + 1), 1);
	return true;
}

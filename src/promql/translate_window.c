/*
 * translate_window.c
 *	  Tree -> SQL: what looks at the samples of some time: selectors, subqueries, functions over ranges.
 *
 * Each of them looks at a reference time per step: the step's own or that of "@", less the offset.
 * Under "@" it is the same at all steps, which is a step of 0: windows know that they need to be
 * computed only once then.
 *
 * A subquery's expression is evaluated once, in a context of its own whose steps are the multiples of the
 * subquery's step in all windows together.  What it finds there are the samples that prom._over sees.
 */
#include "postgres.h"

#include "common/int.h"
#include "miscadmin.h"

#include "promql/sqlgen.h"
#include "promql/translate.h"
#include "store/store.h"

static PromqlVector leaf_sql(PromqlContext *cx, PromqlNode *selector, int64 window_ms, const char *name,
							 PromqlNode *scalar, bool keep_name);
static PromqlVector over_sql(PromqlContext *cx, PromqlNode *subquery, const char *name, PromqlNode *scalar,
							 bool keep_name);
static PromqlVector subquery_sql(PromqlContext *cx, PromqlNode *node, PromSteps *steps);
static char *noted_sql(PromqlContext *cx, char *vals, const char *labels, PromqlNode *range, const char *name,
					   PromqlNode *scalar, const char *scalar_sql);
static bool subquery_steps(PromqlContext *cx, PromqlNode *node, PromSteps *steps);
static PromqlNames selector_names(const PromqlNode *node);
static PromSteps reference_steps(const PromqlContext *cx, const PromqlNode *node);
static char *windows_sql(PromqlContext *cx, PromSteps steps, int64 range_ms, const char *scalar);
static int64 last_ms(PromSteps steps);
static int64 add_ms(int64 a, int64 b);

PromqlVector
promql_selector_sql(PromqlContext *cx, PromqlNode *node, const char *name)
{
	return leaf_sql(cx, node, cx->lookback_ms, name, NULL, true);
}

PromqlVector
promql_window_sql(PromqlContext *cx, PromqlNode *node)
{
	bool		keep_name = node->function->kind == PROMQL_FN_WINDOW_NAMED;
	PromqlNode *range = NULL;
	PromqlNode *scalar = NULL;
	PromqlVector x;
	ListCell   *lc;

	foreach(lc, node->args)
	{
		PromqlNode *arg = lfirst(lc);

		if (arg->type == PROMQL_MATRIX)
			range = arg;
		else
			scalar = promql_without_parens(arg);
	}
	x = promql_range_sql(cx, range, node->function->sql, scalar, keep_name);
	return keep_name ? x : promql_check_names(x, false);
}

PromqlVector
promql_range_sql(PromqlContext *cx, PromqlNode *range, const char *name, PromqlNode *scalar, bool keep_name)
{
	range = promql_without_parens(range);
	if (range->tag == PROMQL_SUBQUERY)
		return over_sql(cx, range, name, scalar, keep_name);
	return leaf_sql(cx, range, range->range_ms, name, scalar, keep_name);
}

char *
promql_matrix_sql(PromqlContext *cx, PromqlNode *node)
{
	PromSteps	steps;
	PromScanRange range;
	StringInfoData out;

	node = promql_without_parens(node);
	if (node->tag == PROMQL_SUBQUERY)
	{
		char	   *inner = promql_final_names(subquery_sql(cx, node, &steps)).sql;

		return psprintf("SELECT x.labels, prom._steps_chunk(x.vals, " INT64_FORMAT ", " INT64_FORMAT ") AS samples\n"
						"FROM (\n%s) AS x\n"
						"ORDER BY x.labels",
						steps.start_ms, steps.step_ms, inner);
	}
	range.to_ms = reference_steps(cx, node).start_ms;
	range.from_ms = add_ms(range.to_ms, -node->range_ms);
	initStringInfo(&out);
	appendStringInfoString(&out, "SELECT s.labels, l.out AS samples\nFROM ");
	prom_scan_sql(&out, node->matchers, node->nmatchers, range,
				  psprintf("prom._samples(c.data, c.ord, s.sid, " INT64_FORMAT ", " INT64_FORMAT ")",
						   range.from_ms, range.to_ms));
	appendStringInfoString(&out, "\nORDER BY s.labels");
	return out.data;
}

/* ---- selectors ---- */

/*
 * An aggregate over the samples of each series in (ref - window, ref] of every step.  The planner copies
 * the aggregate, to filter by it; so that it still is one aggregate, and its parameter computed once, a
 * parameter that is not a mere number comes from a row of its own.
 */
static PromqlVector
leaf_sql(PromqlContext *cx, PromqlNode *selector, int64 window_ms, const char *name, PromqlNode *scalar,
		 bool keep_name)
{
	PromqlVector x = {NULL, selector_names(selector)};
	PromSteps	steps = reference_steps(cx, selector);
	char	   *scalar_sql = scalar ? promql_scalar_sql(cx, scalar) : NULL;
	PromScanRange range;
	StringInfoData out;
	char	   *leaf;

	range.from_ms = add_ms(steps.start_ms, -window_ms);
	range.to_ms = last_ms(steps);
	initStringInfo(&out);
	appendStringInfo(&out, "SELECT %s AS labels, l.out AS vals\nFROM ",
					 keep_name ? "s.labels" : promql_drop_name_sql("s.labels"));
	if (scalar && scalar->tag != PROMQL_NUMBER)
	{
		appendStringInfo(&out, "(\nSELECT %s AS vals\nOFFSET 0) AS p\nCROSS JOIN ", scalar_sql);
		scalar_sql = "p.vals";
	}
	leaf = psprintf("prom._%s(c.data, c.ord, s.sid, %s)", name, windows_sql(cx, steps, window_ms, scalar_sql));
	if (!keep_name)
		leaf = noted_sql(cx, leaf, "s.labels", selector, name, scalar, scalar_sql);
	prom_scan_sql(&out, selector->matchers, selector->nmatchers, range, leaf);
	x.sql = out.data;
	return x;
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

/* ---- subqueries ---- */

/* A window function over what the subquery's expression is at its steps. */
static PromqlVector
over_sql(PromqlContext *cx, PromqlNode *subquery, const char *name, PromqlNode *scalar, bool keep_name)
{
	PromSteps	inner;
	PromqlVector x = subquery_sql(cx, subquery, &inner);
	char	   *over;
	char	   *scalar_sql = scalar ? promql_scalar_sql(cx, scalar) : NULL;

	/* as a subquery it is computed once, not once per row */
	if (scalar && scalar->tag != PROMQL_NUMBER)
		scalar_sql = psprintf("(\nSELECT %s)", scalar_sql);
	over = psprintf("prom._over('%s', x.vals, " INT64_FORMAT ", " INT64_FORMAT ", %s)", name, inner.start_ms, inner.step_ms,
					windows_sql(cx, reference_steps(cx, subquery), subquery->range_ms, scalar_sql));
	if (!keep_name)
		over = noted_sql(cx, over, "x.labels", subquery, name, scalar, scalar_sql);
	return promql_map_sql(x, over, keep_name);
}

/* The expression in all windows of the subquery; *steps: at which times. */
static PromqlVector
subquery_sql(PromqlContext *cx, PromqlNode *node, PromSteps *steps)
{
	PromqlVector nothing = {"SELECT '{}'::prom.labels AS labels, NULL::prom.vals AS vals\nWHERE false",
	PROMQL_NAMES_SAME};
	PromqlContext inner = *cx;

	check_stack_depth();
	if (!subquery_steps(cx, node, steps))
	{
		/* what is wrong with the expression, or not offered, is said all the same */
		(void) promql_vector_sql(&inner, node->left);
		return nothing;
	}
	inner.steps = *steps;
	return promql_vector_sql(&inner, node->left);
}

/* The multiples of the step in all windows together, from before the first to the last; false: none. */
static bool
subquery_steps(PromqlContext *cx, PromqlNode *node, PromSteps *steps)
{
	PromSteps	outer = reference_steps(cx, node);
	int64		step_ms = node->step_ms > 0 ? node->step_ms : promql_subquery_step_ms;
	int64		from_ms = add_ms(outer.start_ms, -node->range_ms);
	int64		to_ms = last_ms(outer);
	int64		first_ms = from_ms / step_ms * step_ms;
	int64		end_ms = to_ms / step_ms * step_ms;

	if (first_ms <= from_ms)
		first_ms = add_ms(first_ms, step_ms);
	if (end_ms > to_ms)
		end_ms = add_ms(end_ms, -step_ms);
	steps->start_ms = first_ms;
	steps->step_ms = step_ms;
	steps->n = 0;
	if (first_ms <= from_ms || first_ms > end_ms)
		return false;
	if (((uint64) end_ms - (uint64) first_ms) / (uint64) step_ms >= PROM_VALS_MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("exceeded maximum resolution of %d points per timeseries in subquery %s",
						PROM_VALS_MAX_STEPS, promql_print(node)),
				 errhint("Make its step longer, or its range or the time of the whole query shorter.")));
	steps->n = (int) (((uint64) end_ms - (uint64) first_ms) / (uint64) step_ms) + 1;
	return true;
}

/* ---- what they share ---- */

/* What a function of a range has computed, and what it tells beside that. */
static char *
noted_sql(PromqlContext *cx, char *vals, const char *labels, PromqlNode *range, const char *name, PromqlNode *scalar,
		  const char *scalar_sql)
{
	if (scalar && strcmp(name, "quantile_over_time") == 0 && !promql_is_quantile(scalar))
		vals = psprintf("prom._note_quantile(%s, %s, %s)", vals, scalar_sql, promql_place_sql(cx, scalar));
	return promql_noted_sql(cx, vals, labels, range);
}

PromqlNode *
promql_without_parens(PromqlNode *node)
{
	while (node->tag == PROMQL_PAREN)
		node = node->left;
	return node;
}

/* The times that a selector or subquery looks at; start() and end() are those of the whole query. */
static PromSteps
reference_steps(const PromqlContext *cx, const PromqlNode *node)
{
	PromSteps	steps = cx->steps;

	switch (node->at)
	{
		case PROMQL_AT_NONE:
			break;
		case PROMQL_AT_TIME:
			steps.start_ms = node->at_ms;
			break;
		case PROMQL_AT_START:
			steps.start_ms = cx->query->start_ms;
			break;
		case PROMQL_AT_END:
			steps.start_ms = cx->query->end_ms;
			break;
	}
	if (node->at != PROMQL_AT_NONE)
		steps.step_ms = 0;
	steps.start_ms = add_ms(steps.start_ms, -node->offset_ms);
	return steps;
}

/*
 * The arguments of a window function that say where its windows are; if it has a parameter then that, too,
 * and the times of the steps themselves.
 */
static char *
windows_sql(PromqlContext *cx, PromSteps steps, int64 range_ms, const char *scalar)
{
	char	   *windows = psprintf(INT64_FORMAT ", " INT64_FORMAT ", %d, " INT64_FORMAT, steps.start_ms, steps.step_ms,
								   steps.n, range_ms);

	if (scalar == NULL)
		return windows;
	return psprintf("%s, %s, " INT64_FORMAT ", " INT64_FORMAT, windows, scalar, cx->steps.start_ms, cx->steps.step_ms);
}

static int64
last_ms(PromSteps steps)
{
	return add_ms(steps.start_ms, steps.step_ms * (steps.n - 1));
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

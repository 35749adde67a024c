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
#include "select/select.h"

static PromqlVector leaf_sql(PromqlContext *cx, PromqlNode *selector, int64 window_ms, const char *name,
							 List *scalars, bool keep_name);
static PromqlVector scan_sql(PromqlContext *cx, PromqlNode *selector, PromScanRange range, const PromSegments *segments,
							 bool counter, const char *leaf, const char *before, bool keep_name, const char *noted);
static void append_scan(StringInfo out, const PromqlNode *selector, PromScanRange range, const PromSegments *segments,
						bool counter, const char *leaf);
static const char *hinted_name(const char *name);
static bool is_of_counters(const char *name);
static PromqlVector extended_sql(PromqlContext *cx, PromqlNode *selector, int64 window_ms, const char *name);
static char *reach_sql(const PromqlContext *cx, const PromqlNode *selector, int64 more_ms, PromScanRange *range);
static PromSegments *extended_segments(const PromqlContext *cx, const PromqlNode *selector, PromScanRange range,
									   const char *name, int64 window_ms);
static PromqlVector over_sql(PromqlContext *cx, PromqlNode *subquery, const char *name, List *scalars,
							 bool keep_name);
static List *scalars_sql(PromqlContext *cx, List *scalars, bool *constant);
static PromqlVector subquery_sql(PromqlContext *cx, PromqlNode *node, bool counter, PromSteps *steps);
static char *noted_sql(PromqlContext *cx, char *vals, const char *labels, PromqlNode *range, const char *name,
					   List *scalars, List *parameters);
static bool subquery_steps(PromqlContext *cx, PromqlNode *node, PromSteps *steps);
static PromqlNames selector_names(const PromqlNode *node);
static PromSteps reference_steps(const PromqlContext *cx, const PromqlNode *node);
static char *windows_sql(PromqlContext *cx, PromSteps steps, int64 range_ms, const PromSegments *segments, List *scalars);
static int64 last_ms(PromSteps steps);
static int64 add_ms(int64 a, int64 b);

PromqlVector
promql_selector_sql(PromqlContext *cx, PromqlNode *node, const char *name)
{
	PromqlVector x;

	if (node->smoothed && strcmp(name, "instant") == 0)
		return extended_sql(cx, node, cx->lookback_ms, name);
	x = leaf_sql(cx, node, cx->lookback_ms, name, NIL, true);
	return cx->wants_hints ? promql_map_sql(x, "prom._read_hints(x.vals)", true) : x;
}

PromqlVector
promql_window_sql(PromqlContext *cx, PromqlNode *node)
{
	bool		keep_name = node->function->kind == PROMQL_FN_WINDOW_NAMED;
	PromqlNode *range = NULL;
	List	   *scalars = NIL;
	PromqlVector x;
	ListCell   *lc;

	foreach(lc, node->args)
	{
		PromqlNode *arg = lfirst(lc);

		if (arg->type == PROMQL_MATRIX)
			range = arg;
		else
			scalars = lappend(scalars, promql_without_parens(arg));
	}
	x = promql_range_sql(cx, range, node->function->sql, scalars, keep_name);
	return keep_name ? x : promql_check_names(x, false);
}

PromqlVector
promql_range_sql(PromqlContext *cx, PromqlNode *range, const char *name, List *scalars, bool keep_name)
{
	range = promql_without_parens(range);
	if (range->tag == PROMQL_SUBQUERY)
		return over_sql(cx, range, name, scalars, keep_name);
	if (range->anchored || range->smoothed)
		return extended_sql(cx, range, range->range_ms, name);
	return leaf_sql(cx, range, range->range_ms, cx->wants_hints ? hinted_name(name) : name, scalars, keep_name);
}

/* The function that is told of counter resets, if it is one that looks at hints; rate and the like compare anyway. */
static const char *
hinted_name(const char *name)
{
	static const char *const names[] = {"avg_over_time", "first_over_time", "last_over_time", "sum_over_time"};

	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(name, names[i]) == 0)
			return psprintf("hinted_%s", name);
	}
	return name;
}

char *
promql_matrix_sql(PromqlContext *cx, PromqlNode *node)
{
	PromSteps	steps;
	PromScanRange range;
	PromSegments *segments;
	StringInfoData out;
	char	   *leaf;

	node = promql_without_parens(node);
	if (node->tag == PROMQL_SUBQUERY)
	{
		char	   *inner = promql_final_names(subquery_sql(cx, node, false, &steps)).sql;

		return psprintf("SELECT x.labels, prom._steps_chunk(x.vals, " INT64_FORMAT ", " INT64_FORMAT ") AS samples\n"
						"FROM (\n%s) AS x\n"
						"ORDER BY x.labels",
						steps.start_ms, steps.step_ms, inner);
	}
	range.to_ms = reference_steps(cx, node).start_ms;
	range.from_ms = add_ms(range.to_ms, -node->range_ms);
	leaf = psprintf("prom._samples(c.data, c.ord, b.sids, " INT64_FORMAT ", " INT64_FORMAT ")", range.from_ms, range.to_ms);
	segments = extended_segments(cx, node, range, NULL, node->range_ms);
	if (node->anchored || node->smoothed)
	{
		steps = reference_steps(cx, node);
		leaf = psprintf("prom._reached_samples(c.data, c.ord, b.sids, %s, %s)",
						windows_sql(cx, steps, node->range_ms, NULL, NIL),
						reach_sql(cx, node, segments ? segments->coarsest_s * INT64CONST(1000) : 0, &range));
		segments = extended_segments(cx, node, range, NULL, node->range_ms);
	}
	if (cx->query->trace)
		promql_trace_segments(cx->query->trace, segments);
	initStringInfo(&out);
	appendStringInfoString(&out, "SELECT r.labels, r.out AS samples\nFROM ");
	append_scan(&out, node, range, segments, false, leaf);
	appendStringInfoString(&out, "\nORDER BY r.labels");
	return out.data;
}

/* ---- selectors ---- */

/*
 * An aggregate over the samples of each series in (ref - window, ref] of every step.  Parameters that are not mere
 * numbers are computed once, in a row of their own.
 */
static PromqlVector
leaf_sql(PromqlContext *cx, PromqlNode *selector, int64 window_ms, const char *name, List *scalars,
		 bool keep_name)
{
	PromSteps	steps = reference_steps(cx, selector);
	bool		constant;
	List	   *parameters = scalars_sql(cx, scalars, &constant);
	PromScanRange range = {add_ms(steps.start_ms, -window_ms), last_ms(steps)};
	PromSegments *segments = promql_segments(cx, selector, range, name, selector->type == PROMQL_MATRIX ? window_ms : 0);
	const char *before = "";
	char	   *leaf;

	if (!constant)
	{
		bool		second = list_length(parameters) > 1;

		before = psprintf("(\nSELECT %s AS vals%s\nOFFSET 0) AS p\nCROSS JOIN LATERAL ", (char *) linitial(parameters),
						  second ? psprintf(", %s AS second", (char *) lsecond(parameters)) : "");
		parameters = second ? list_make2("p.vals", "p.second") : list_make1("p.vals");
	}
	leaf = psprintf("prom.%s('%s', c.data, c.ord, b.sids, %s)", segments ? "_stitched" : "_window", name,
					windows_sql(cx, steps, window_ms, segments, parameters));
	return scan_sql(cx, selector, range, segments, cx->counter || is_of_counters(name), leaf, before, keep_name,
					keep_name ? NULL : noted_sql(cx, "r.out", "r.labels", selector, name, scalars, parameters));
}

/* The same over windows that see beyond their range, of an anchored or smoothed selector. */
static PromqlVector
extended_sql(PromqlContext *cx, PromqlNode *selector, int64 window_ms, const char *name)
{
	PromSteps	steps = reference_steps(cx, selector);
	bool		instant = selector->type != PROMQL_MATRIX;
	PromScanRange range = {add_ms(steps.start_ms, -window_ms), last_ms(steps)};
	char	   *reach = reach_sql(cx, selector, 0, &range);
	char	   *extended = psprintf("%s_%s", selector->anchored ? "anchored" : "smoothed", name);
	PromSegments *segments = extended_segments(cx, selector, range, extended, instant ? 0 : window_ms);
	char	   *leaf;

	leaf = psprintf("prom.%s('%s', c.data, c.ord, b.sids, %s, %s%s%s)", segments ? "_stitched_extended" : "_extended",
					extended, windows_sql(cx, steps, window_ms, NULL, NIL), reach, segments ? ", " : "",
					segments ? prom_segments_sql(segments) : "");
	return scan_sql(cx, selector, range, segments, cx->counter || is_of_counters(name), leaf, "", instant,
					noted_sql(cx, "r.out", "r.labels", selector, name, NIL, NIL));
}

/*
 * The rows of a leaf, after what stands before it in FROM.  noted: their values, with what is to be told of them
 * told; NULL if that is nothing.
 */
static PromqlVector
scan_sql(PromqlContext *cx, PromqlNode *selector, PromScanRange range, const PromSegments *segments, bool counter,
		 const char *leaf, const char *before, bool keep_name, const char *noted)
{
	PromqlVector x = {NULL, selector_names(selector)};
	StringInfoData out;

	if (cx->query->trace)
		promql_trace_segments(cx->query->trace, segments);
	initStringInfo(&out);
	if (noted)
		appendStringInfo(&out, "SELECT n.labels, n.vals\nFROM (\nSELECT %s AS labels, %s AS vals\nFROM %s",
						 keep_name ? "r.labels" : promql_drop_name_sql("r.labels"), noted, before);
	else
		appendStringInfo(&out, "SELECT r.labels, r.out AS vals\nFROM %s", before);
	append_scan(&out, selector, range, segments, counter, leaf);
	if (noted)
		appendStringInfoString(&out, "\nOFFSET 0) AS n\nWHERE n.vals IS NOT NULL");
	x.sql = out.data;
	return x;
}

/* What is selected, the replicas of a series as one if they are to be. */
static void
append_scan(StringInfo out, const PromqlNode *selector, PromScanRange range, const PromSegments *segments, bool counter,
			const char *leaf)
{
	if (prom_dedup_labels() == NIL)
		prom_scan_sql(out, selector->matchers, selector->nmatchers, range, segments, leaf);
	else
		prom_dedup_scan_sql(out, selector->matchers, selector->nmatchers, range, segments, counter, leaf);
}

/* Does the window function take a drop for a reset? */
static bool
is_of_counters(const char *name)
{
	static const char *const names[] = {"increase", "irate", "rate", "resets"};

	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

/*
 * How far the windows of an anchored or smoothed selector see beyond it, which the range to be scanned is
 * stretched by.  An instant selector's window reaches back as far as it ever does.  more_ms: what samples are
 * further apart than they were written.
 */
static char *
reach_sql(const PromqlContext *cx, const PromqlNode *selector, int64 more_ms, PromScanRange *range)
{
	int64		before_ms = selector->type == PROMQL_MATRIX ? cx->lookback_ms + more_ms : 0;
	int64		after_ms = selector->smoothed ? cx->lookback_ms + more_ms : 0;

	range->from_ms = add_ms(range->from_ms, -before_ms);
	range->to_ms = add_ms(range->to_ms, after_ms);
	return psprintf(INT64_FORMAT ", " INT64_FORMAT, before_ms, after_ms);
}

/* What a leaf reads, which may have to see the sample after its range. */
static PromSegments *
extended_segments(const PromqlContext *cx, const PromqlNode *selector, PromScanRange range, const char *name,
				  int64 window_ms)
{
	PromSegments *segments = promql_segments(cx, selector, range, name, window_ms);

	if (segments == NULL || !selector->smoothed)
		return segments;
	range.to_ms = add_ms(range.to_ms, segments->coarsest_s * INT64CONST(1000));
	return promql_segments(cx, selector, range, name, window_ms);
}

/* Which functions know extended ranges; their leaves are there for these only. */
void
promql_check_extended(const PromqlNode *range, const char *name)
{
	static const char *const anchored[] = {"changes", "delta", "increase", "rate", "resets"};
	static const char *const smoothed[] = {"delta", "increase", "rate"};
	const char *const *allowed = range->anchored ? anchored : smoothed;
	int			n = range->anchored ? lengthof(anchored) : lengthof(smoothed);

	if (!range->anchored && !range->smoothed)
		return;
	for (int i = 0; i < n; i++)
	{
		if (strcmp(name, allowed[i]) == 0)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s modifier can only be used with: %s - not with %s", range->anchored ? "anchored" : "smoothed",
					range->anchored ? "changes, delta, increase, rate, resets" : "delta, increase, rate", name)));
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
over_sql(PromqlContext *cx, PromqlNode *subquery, const char *name, List *scalars, bool keep_name)
{
	PromSteps	inner;
	PromqlVector x = subquery_sql(cx, subquery, is_of_counters(name), &inner);
	bool		constant;
	List	   *parameters = scalars_sql(cx, scalars, &constant);
	char	   *over;
	ListCell   *lc;

	/* as subqueries they are computed once, not once per row */
	if (!constant)
	{
		foreach(lc, parameters)
			lfirst(lc) = psprintf("(\nSELECT %s)", (char *) lfirst(lc));
	}
	over = psprintf("prom._over('%s', x.vals, " INT64_FORMAT ", " INT64_FORMAT ", %s)", name, inner.start_ms, inner.step_ms,
					windows_sql(cx, reference_steps(cx, subquery), subquery->range_ms, NULL, parameters));
	if (!keep_name)
		over = noted_sql(cx, over, "x.labels", subquery, name, scalars, parameters);
	return promql_map_sql(x, over, keep_name);
}

/* The expression in all windows of the subquery, of which a function of counters is computed; *steps: at which times. */
static PromqlVector
subquery_sql(PromqlContext *cx, PromqlNode *node, bool counter, PromSteps *steps)
{
	PromqlContext inner = *cx;

	check_stack_depth();
	inner.counter = counter && promql_without_parens(node->left)->tag == PROMQL_SELECTOR;
	if (!subquery_steps(cx, node, steps))
	{
		/* what is wrong with the expression, or not offered, is said all the same */
		(void) promql_vector_sql(&inner, node->left);
		return promql_nothing();
	}
	inner.steps = *steps;
	promql_narrow_resolution(&inner);
	inner = promql_with_buckets(&inner);
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

PromqlVector
promql_nothing(void)
{
	PromqlVector nothing = {"SELECT '{}'::prom.labels AS labels, NULL::prom.vals AS vals\nWHERE false",
	PROMQL_NAMES_SAME};

	return nothing;
}

/* What a function of a range has computed, and what it tells beside that. */
static char *
noted_sql(PromqlContext *cx, char *vals, const char *labels, PromqlNode *range, const char *name, List *scalars,
		  List *parameters)
{
	if (strcmp(name, "quantile_over_time") == 0 && !promql_is_quantile(linitial(scalars)))
		vals = psprintf("prom._note_quantile(%s, %s, %s)", vals, (char *) linitial(parameters), promql_place_sql(cx, linitial(scalars)));
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

/* Parameters of a window function as SQL; *constant: they are mere numbers. */
static List *
scalars_sql(PromqlContext *cx, List *scalars, bool *constant)
{
	List	   *result = NIL;
	ListCell   *lc;

	*constant = true;
	foreach(lc, scalars)
	{
		PromqlNode *scalar = lfirst(lc);

		*constant = *constant && scalar->tag == PROMQL_NUMBER;
		result = lappend(result, promql_scalar_sql(cx, scalar));
	}
	return result;
}

/*
 * The arguments of a window function that say where its windows are, and the segments of its samples; if it has
 * parameters then the first, the times of the steps themselves, and the second.
 */
static char *
windows_sql(PromqlContext *cx, PromSteps steps, int64 range_ms, const PromSegments *segments, List *scalars)
{
	char	   *windows = psprintf(INT64_FORMAT ", " INT64_FORMAT ", %d, " INT64_FORMAT "%s%s", steps.start_ms,
								   steps.step_ms, steps.n, range_ms, segments ? ", " : "",
								   segments ? prom_segments_sql(segments) : "");

	if (scalars == NIL)
		return windows;
	windows = psprintf("%s, %s, " INT64_FORMAT ", " INT64_FORMAT, windows, (char *) linitial(scalars),
					   cx->steps.start_ms, cx->steps.step_ms);
	if (list_length(scalars) == 1)
		return windows;
	return psprintf("%s, %s", windows, (char *) lsecond(scalars));
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

/*
 * translate_call.c
 *	  Tree -> SQL: calls of functions, one case for each kind that translate.h tells apart.
 *
 * Functions of values map each series by itself.  Those that change labels, or drop the name, group
 * the rows again, as label sets may coincide afterwards: series that never share a step are joined.
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"

#include "promql/sqlgen.h"
#include "promql/translate.h"

static PromqlVector math_sql(PromqlContext *cx, PromqlNode *node);
static char *math_of(PromqlContext *cx, PromqlNode *node, const char *first);
static PromqlVector date_sql(PromqlContext *cx, PromqlNode *node);
static PromqlVector timestamp_sql(PromqlContext *cx, PromqlNode *node);
static PromqlVector absent_sql(PromqlContext *cx, PromqlNode *node);
static PromqlVector label_replace_sql(PromqlContext *cx, PromqlNode *node);
static PromqlVector label_join_sql(PromqlContext *cx, PromqlNode *node);
static PromqlVector relabel_sql(PromqlVector x, const char *labels, const char *dst);
static PromqlVector unlabelled(char *vals);
static char *time_sql(PromqlContext *cx);
static char *absent_labels(const PromqlNode *selector);
static const char *text_argument(PromqlNode *call, int n);

PromqlVector
promql_call_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x;
	PromqlContext inner;
	ListCell   *lc;

	foreach(lc, node->args)
	{
		const PromqlNode *arg = promql_without_parens(lfirst(lc));

		if (arg->type == PROMQL_MATRIX)
			promql_check_extended(arg, node->function->name);
	}
	switch ((PromqlFunctionKind) node->function->kind)
	{
		case PROMQL_FN_WINDOW:
		case PROMQL_FN_WINDOW_NAMED:
		case PROMQL_FN_WINDOW_SCALAR:
			return promql_window_sql(cx, node);
		case PROMQL_FN_MATH:
			return math_sql(cx, node);
		case PROMQL_FN_DATE:
			return date_sql(cx, node);
		case PROMQL_FN_TIMESTAMP:
			return timestamp_sql(cx, node);
		case PROMQL_FN_START_TIMESTAMP:
			/* samples are stored without: what Prometheus answers if it keeps none */
			(void) promql_vector_sql(cx, linitial(node->args));
			return promql_nothing();
		case PROMQL_FN_INFO:
			return promql_info_sql(cx, node);
		case PROMQL_FN_ABSENT:
			return absent_sql(cx, node);
		case PROMQL_FN_LABEL_REPLACE:
			return label_replace_sql(cx, node);
		case PROMQL_FN_LABEL_JOIN:
			return label_join_sql(cx, node);
		case PROMQL_FN_SORT:
			return promql_sort_sql(cx, node, false);
		case PROMQL_FN_SORT_DESC:
			return promql_sort_sql(cx, node, true);
		case PROMQL_FN_SORT_LABEL:
			return promql_sort_label_sql(cx, node, false);
		case PROMQL_FN_SORT_LABEL_DESC:
			return promql_sort_label_sql(cx, node, true);
		case PROMQL_FN_VECTOR:
			return unlabelled(psprintf("prom._vector(%s, %d)", promql_scalar_sql(cx, linitial(node->args)),
									   cx->steps.n));
		case PROMQL_FN_HISTOGRAM:
			inner = *cx;
			inner.wants_hints = !cx->keeps_hints && (strcmp(node->function->name, "histogram_count") == 0 ||
													 strcmp(node->function->name, "histogram_sum") == 0 ||
													 strcmp(node->function->name, "histogram_avg") == 0);
			x = promql_vector_sql(&inner, linitial(node->args));
			x = promql_map_sql(x, psprintf("prom._histogram_value('%s', x.vals)", node->function->sql), false);
			return promql_check_names(x, true);
		case PROMQL_FN_HISTOGRAM_QUANTILE:
		case PROMQL_FN_HISTOGRAM_QUANTILES:
		case PROMQL_FN_HISTOGRAM_FRACTION:
			inner = promql_with_buckets(cx);
			return promql_histogram_sql(&inner, node);
		case PROMQL_FN_TIME:
		case PROMQL_FN_START:
		case PROMQL_FN_END:
		case PROMQL_FN_RANGE:
		case PROMQL_FN_STEP:
		case PROMQL_FN_PI:
		case PROMQL_FN_SCALAR:
			break;
	}
	promql_unsupported(cx->query->text, node->start, "function \"%s\"", node->function->name);
}

char *
promql_scalar_call_sql(PromqlContext *cx, PromqlNode *node)
{
	const PromqlQuery *query = cx->query;

	switch ((PromqlFunctionKind) node->function->kind)
	{
		case PROMQL_FN_TIME:
			return time_sql(cx);
		case PROMQL_FN_START:
			return promql_number_sql(query->start_ms / 1000.0);
		case PROMQL_FN_END:
			return promql_number_sql(query->end_ms / 1000.0);
		case PROMQL_FN_RANGE:
			return promql_number_sql(((double) query->end_ms - (double) query->start_ms) / 1000.0);
		case PROMQL_FN_STEP:
			return promql_number_sql(query->instant ? 0 : query->step_ms / 1000.0);
		case PROMQL_FN_MATH:
			return math_of(cx, node, promql_scalar_sql(cx, linitial(node->args)));
		case PROMQL_FN_PI:
			return promql_number_sql(M_PI);
		case PROMQL_FN_SCALAR:
			return psprintf("prom._scalar((SELECT prom._single(v.vals) FROM (\n%s) AS v), %d)",
							promql_vector_sql(cx, linitial(node->args)).sql, cx->steps.n);
		default:
			break;
	}
	promql_unsupported(cx->query->text, node->start, "function \"%s\"", node->function->name);
}

static PromqlVector
math_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x = promql_vector_sql(cx, linitial(node->args));

	return promql_check_names(promql_map_sql(x, math_of(cx, node, "x.vals"), false), true);
}

/* The call with "first" as its first argument; the others are scalars. */
static char *
math_of(PromqlContext *cx, PromqlNode *node, const char *first)
{
	StringInfoData vals;

	initStringInfo(&vals);
	appendStringInfo(&vals, "prom._math('%s', %s", node->function->sql, first);
	for (int i = 1; i < list_length(node->args); i++)
		appendStringInfo(&vals, ", %s", promql_scalar_sql(cx, list_nth(node->args, i)));
	appendStringInfoChar(&vals, ')');
	return vals.data;
}

static PromqlVector
date_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x;

	if (node->args == NIL)
		return unlabelled(psprintf("prom._date('%s', %s)", node->function->sql, time_sql(cx)));
	x = promql_vector_sql(cx, linitial(node->args));
	return promql_check_names(promql_map_sql(x, psprintf("prom._date('%s', x.vals)", node->function->sql), false), true);
}

/* Of a selector's own samples; of anything else, the time of the step */
static PromqlVector
timestamp_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlNode *arg = promql_without_parens(linitial(node->args));
	PromqlVector x;

	if (arg->tag == PROMQL_SELECTOR)
		x = promql_map_sql(promql_selector_sql(cx, arg, "timestamp"), "x.vals", false);
	else
		x = promql_map_sql(promql_vector_sql(cx, arg),
						   psprintf("prom._math('timestamp', x.vals, %s)", time_sql(cx)), false);
	return promql_check_names(x, true);
}

/* absent_over_time(m) is absent(last_over_time(m)), but that m tells the labels. */
static PromqlVector
absent_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlNode *arg = promql_without_parens(linitial(node->args));
	PromqlVector result = {NULL, PROMQL_NAMES_SAME};
	PromqlVector x;

	if (node->function->sql)
		x = promql_range_sql(cx, arg, node->function->sql, NIL, true);
	else
		x = promql_vector_sql(cx, arg);
	result.sql = psprintf("SELECT a.labels, a.vals\n"
						  "FROM (\n"
						  "SELECT %s AS labels, prom._absent(prom._agg_count(x.vals), %d) AS vals\n"
						  "FROM (\n%s) AS x\n"
						  "OFFSET 0) AS a\n"
						  "WHERE a.vals IS NOT NULL",
						  absent_labels(arg), cx->steps.n, x.sql);
	return result;
}

/*
 * What a selector says by "=" about the labels of the series that is absent.  As Prometheus has it, a label
 * is not known once a second matcher of any kind names it, unless that is the first "=".
 */
static char *
absent_labels(const PromqlNode *selector)
{
	int			n = selector->tag == PROMQL_SELECTOR ? selector->nmatchers : 0;
	PromLabel  *pairs = palloc(Max(n, 1) * sizeof(PromLabel));
	int			npairs = 0;
	PromLabels *labels;
	StringInfoData text;
	char	   *reason;

	for (int i = 0; i < n; i++)
	{
		const PromMatcher *m = &selector->matchers[i];
		bool		first = m->type == PROM_MATCH_EQ && strcmp(m->name, "__name__") != 0;

		for (int k = 0; k < npairs; k++)
		{
			if (strcmp(pairs[k].name, m->name) != 0)
				continue;
			pairs[k].value_len = 0;
			first = false;
		}
		if (first)
		{
			PromLabel	pair = {m->name, m->value, strlen(m->name), strlen(m->value)};

			pairs[npairs++] = pair;
		}
	}
	labels = prom_labels_build(pairs, npairs, &reason);
	if (labels == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("invalid label set: %s", reason)));
	initStringInfo(&text);
	prom_labels_print(&text, labels);
	return psprintf("%s::prom.labels", quote_literal_cstr(text.data));
}

static PromqlVector
label_replace_sql(PromqlContext *cx, PromqlNode *node)
{
	const char *dst = text_argument(node, 1);
	const char *pattern = text_argument(node, 4);
	const char *labels;

	prom_check_label_replace(dst, pattern);
	labels = "x.labels";
	if (strcmp(dst, "__name__") == 0)
		labels = promql_set_name_sql(labels, quote_literal_cstr(text_argument(node, 3)), quote_literal_cstr(pattern));
	labels = psprintf("prom._label_replace(%s, %s, %s, %s, %s)", labels, quote_literal_cstr(dst),
					  quote_literal_cstr(text_argument(node, 2)), quote_literal_cstr(text_argument(node, 3)),
					  quote_literal_cstr(pattern));
	return relabel_sql(promql_vector_sql(cx, linitial(node->args)), labels, dst);
}

static PromqlVector
label_join_sql(PromqlContext *cx, PromqlNode *node)
{
	const char *dst = text_argument(node, 1);
	List	   *sources = NIL;
	const char *labels;

	for (int i = 3; i < list_length(node->args); i++)
		sources = lappend(sources, unconstify(char *, text_argument(node, i)));
	prom_check_label_join(dst, sources);
	labels = strcmp(dst, "__name__") == 0 ? promql_keep_name_sql("x.labels") : "x.labels";
	labels = psprintf("prom._label_join(%s, %s, %s, %s)", labels, quote_literal_cstr(dst),
					  quote_literal_cstr(text_argument(node, 2)), promql_text_array(sources, NULL));
	return relabel_sql(promql_vector_sql(cx, linitial(node->args)), labels, dst);
}

/* x with other labels, in which only dst differs */
static PromqlVector
relabel_sql(PromqlVector x, const char *labels, const char *dst)
{
	PromqlNames names = strcmp(dst, "__name__") == 0 ? PROMQL_NAMES_MANY : x.names;

	x.sql = psprintf("SELECT %s AS labels, x.vals\n"
					 "FROM (\n%s) AS x",
					 labels, x.sql);
	x = promql_check_labels(x, true);
	x.names = names;
	return x;
}

static PromqlVector
unlabelled(char *vals)
{
	PromqlVector x = {NULL, PROMQL_NAMES_SAME};

	x.sql = psprintf("SELECT '{}'::prom.labels AS labels, %s AS vals", vals);
	return x;
}

/* The time of each step, in seconds */
static char *
time_sql(PromqlContext *cx)
{
	return psprintf("prom._time(" INT64_FORMAT ", " INT64_FORMAT ", %d)", cx->steps.start_ms, cx->steps.step_ms,
					cx->steps.n);
}

static const char *
text_argument(PromqlNode *call, int n)
{
	return promql_without_parens(list_nth(call->args, n))->text;
}

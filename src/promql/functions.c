/*
 * functions.c
 *	  The functions of Prometheus 3, one row each, in the order of their names.
 *
 * Names are case-sensitive.  More arguments than there are types have the last one's.  Experimental ones are
 * known by name, so that the error can say so, and rejected unless the setting allows them.
 */
#include "postgres.h"

#include "promql/ast.h"
#include "promql/translate.h"

#define V PROMQL_VECTOR
#define M PROMQL_MATRIX
#define S PROMQL_SCALAR
#define T PROMQL_STRING

#define UNLIMITED (-1)

/* of one vector, of one range; those of a range are window functions of the same name */
#define OF_HISTOGRAM(name)		{name, 1, 1, {V}, V, false, PROMQL_FN_HISTOGRAM, name}
#define WINDOW_X(name)			{name, 1, 1, {M}, V, true, PROMQL_FN_WINDOW, name}
#define WINDOW(name)			{name, 1, 1, {M}, V, false, PROMQL_FN_WINDOW, name}
#define WINDOW_NAMED(name)		{name, 1, 1, {M}, V, false, PROMQL_FN_WINDOW_NAMED, name}
#define MATH(name)				{name, 1, 1, {V}, V, false, PROMQL_FN_MATH, name}
#define OF_DATE(name)			{name, 0, 1, {V}, V, false, PROMQL_FN_DATE, name}
#define OF_QUERY_X(name, kind)	{name, 0, 0, {S}, S, true, kind, NULL}

static const PromqlFunction functions[] =
{
	MATH("abs"),
	{"absent", 1, 1, {V}, V, false, PROMQL_FN_ABSENT, NULL},
	{"absent_over_time", 1, 1, {M}, V, false, PROMQL_FN_ABSENT, "last_over_time"},
	MATH("acos"),
	MATH("acosh"),
	MATH("asin"),
	MATH("asinh"),
	MATH("atan"),
	MATH("atanh"),
	WINDOW("avg_over_time"),
	MATH("ceil"),
	WINDOW("changes"),
	{"clamp", 3, 3, {V, S, S}, V, false, PROMQL_FN_MATH, "clamp"},
	{"clamp_max", 2, 2, {V, S}, V, false, PROMQL_FN_MATH, "clamp_max"},
	{"clamp_min", 2, 2, {V, S}, V, false, PROMQL_FN_MATH, "clamp_min"},
	MATH("cos"),
	MATH("cosh"),
	WINDOW("count_over_time"),
	OF_DATE("day_of_month"),
	OF_DATE("day_of_week"),
	OF_DATE("day_of_year"),
	OF_DATE("days_in_month"),
	MATH("deg"),
	WINDOW("delta"),
	WINDOW("deriv"),
	{"double_exponential_smoothing", 3, 3, {M, S, S}, V, true, PROMQL_FN_WINDOW_SCALAR, "double_exponential_smoothing"},
	OF_QUERY_X("end", PROMQL_FN_END),
	MATH("exp"),
	WINDOW_NAMED("first_over_time"),
	MATH("floor"),
	OF_HISTOGRAM("histogram_avg"),
	OF_HISTOGRAM("histogram_count"),
	{"histogram_fraction", 3, 3, {S, S, V}, V, false, PROMQL_FN_HISTOGRAM_FRACTION, "histogram_fraction"},
	{"histogram_quantile", 2, 2, {S, V}, V, false, PROMQL_FN_HISTOGRAM_QUANTILE, "histogram_quantile"},
	{"histogram_quantiles", 3, 12, {V, T, S, S, S, S}, V, true, PROMQL_FN_HISTOGRAM_QUANTILES, "histogram_quantiles"},
	OF_HISTOGRAM("histogram_stddev"),
	OF_HISTOGRAM("histogram_stdvar"),
	OF_HISTOGRAM("histogram_sum"),
	OF_DATE("hour"),
	WINDOW("idelta"),
	WINDOW("increase"),
	{"info", 1, 2, {V, V}, V, true, PROMQL_FN_INFO, "info"},
	WINDOW("irate"),
	{"label_join", 3, UNLIMITED, {V, T, T, T, T, T}, V, false, PROMQL_FN_LABEL_JOIN, NULL},
	{"label_replace", 5, 5, {V, T, T, T, T}, V, false, PROMQL_FN_LABEL_REPLACE, NULL},
	WINDOW_NAMED("last_over_time"),
	MATH("ln"),
	MATH("log10"),
	MATH("log2"),
	WINDOW_X("mad_over_time"),
	{"max_of", 2, 2, {S, S}, S, true, PROMQL_FN_MATH, "max_of"},
	WINDOW("max_over_time"),
	{"min_of", 2, 2, {S, S}, S, true, PROMQL_FN_MATH, "min_of"},
	WINDOW("min_over_time"),
	OF_DATE("minute"),
	OF_DATE("month"),
	{"pi", 0, 0, {S}, S, false, PROMQL_FN_PI, NULL},
	{"predict_linear", 2, 2, {M, S}, V, false, PROMQL_FN_WINDOW_SCALAR, "predict_linear"},
	WINDOW("present_over_time"),
	{"quantile_over_time", 2, 2, {S, M}, V, false, PROMQL_FN_WINDOW_SCALAR, "quantile_over_time"},
	MATH("rad"),
	OF_QUERY_X("range", PROMQL_FN_RANGE),
	WINDOW("rate"),
	WINDOW("resets"),
	{"round", 1, 2, {V, S}, V, false, PROMQL_FN_MATH, "round"},
	{"scalar", 1, 1, {V}, S, false, PROMQL_FN_SCALAR, "scalar"},
	MATH("sgn"),
	MATH("sin"),
	MATH("sinh"),
	{"sort", 1, 1, {V}, V, false, PROMQL_FN_SORT, NULL},
	{"sort_by_label", 1, UNLIMITED, {V, T, T, T, T, T}, V, true, PROMQL_FN_SORT_LABEL, NULL},
	{"sort_by_label_desc", 1, UNLIMITED, {V, T, T, T, T, T}, V, true, PROMQL_FN_SORT_LABEL_DESC, NULL},
	{"sort_desc", 1, 1, {V}, V, false, PROMQL_FN_SORT_DESC, NULL},
	MATH("sqrt"),
	OF_QUERY_X("start", PROMQL_FN_START),
	{"start_timestamp", 1, 1, {V}, V, true, PROMQL_FN_START_TIMESTAMP, NULL},
	WINDOW("stddev_over_time"),
	WINDOW("stdvar_over_time"),
	OF_QUERY_X("step", PROMQL_FN_STEP),
	WINDOW("sum_over_time"),
	MATH("tan"),
	MATH("tanh"),
	{"time", 0, 0, {S}, S, false, PROMQL_FN_TIME, "time"},
	{"timestamp", 1, 1, {V}, V, false, PROMQL_FN_TIMESTAMP, "timestamp"},
	WINDOW_X("ts_of_first_over_time"),
	WINDOW_X("ts_of_last_over_time"),
	WINDOW_X("ts_of_max_over_time"),
	WINDOW_X("ts_of_min_over_time"),
	{"vector", 1, 1, {S}, V, false, PROMQL_FN_VECTOR, "vector"},
	OF_DATE("year"),
};

static int	compare_names(const void *key, const void *function);

/* NULL if there is none of that name */
const PromqlFunction *
promql_function(const char *name)
{
	return bsearch(name, functions, lengthof(functions), sizeof(PromqlFunction), compare_names);
}

static int
compare_names(const void *key, const void *function)
{
	return strcmp(key, ((const PromqlFunction *) function)->name);
}

/*
 * translate.h
 *	  How a function of PromQL becomes SQL: the kinds that the translation tells apart.
 *
 * functions.c says for each function which kind it is; translate_call.c has one case for each kind.
 */
#ifndef PROMQL_TRANSLATE_H
#define PROMQL_TRANSLATE_H

typedef enum PromqlFunctionKind
{
	PROMQL_FN_WINDOW,			/* over the samples of a range: an aggregate over chunks */
	PROMQL_FN_WINDOW_NAMED,		/* the same, and series keep their names */
	PROMQL_FN_WINDOW_SCALAR,	/* the same with scalars, which may differ from step to step */
	PROMQL_FN_MATH,				/* of each value, and of scalars: prom._math */
	PROMQL_FN_DATE,				/* of each value or of the time of the step: prom._date */
	PROMQL_FN_TIMESTAMP,
	PROMQL_FN_START_TIMESTAMP,
	PROMQL_FN_ABSENT,			/* of a vector, or of what the named function makes one of */
	PROMQL_FN_LABEL_REPLACE,
	PROMQL_FN_LABEL_JOIN,
	PROMQL_FN_SORT,
	PROMQL_FN_SORT_DESC,
	PROMQL_FN_SORT_LABEL,
	PROMQL_FN_SORT_LABEL_DESC,
	PROMQL_FN_TIME,
	PROMQL_FN_START,			/* of the whole query, as are the next three */
	PROMQL_FN_END,
	PROMQL_FN_RANGE,
	PROMQL_FN_STEP,
	PROMQL_FN_PI,
	PROMQL_FN_VECTOR,
	PROMQL_FN_SCALAR,
	PROMQL_FN_INFO,
	PROMQL_FN_HISTOGRAM,		/* of native histograms: prom._histogram_value */
	PROMQL_FN_HISTOGRAM_QUANTILE,
	PROMQL_FN_HISTOGRAM_QUANTILES,
	PROMQL_FN_HISTOGRAM_FRACTION
} PromqlFunctionKind;

#endif							/* PROMQL_TRANSLATE_H */

/*
 * window.h
 *	  Windows of time over the samples of one series.  Private to this room.
 *
 * At each step a window holds the samples with ref - range < t <= ref.  Windows only move forward,
 * so their ends do too, and each sample enters and leaves once.
 */
#ifndef PROMQL_WINDOW_H
#define PROMQL_WINDOW_H

#include "promql/vals.h"

typedef struct PromqlWindow
{
	const int64 *t_ms;			/* all samples, ascending */
	const double *v;
	int64		range_ms;
	double		range_s;
	int64		ref_ms;			/* of the present step */
	int			first;			/* samples of the present step: [first, end), never empty */
	int			end;
	/* positions that a function remembers from step to step: [noted_first, noted_end) of noted */
	int		   *noted;
	int			noted_first;
	int			noted_end;
	int			seen;			/* samples [0, seen) were considered for it */
} PromqlWindow;

/* The value of the present window; false if there is none. */
typedef bool (*PromqlWindowFn) (PromqlWindow *w, double *result);

/*
 * The function over all steps; NULL if no step has a value.  O(n + steps) plus the function's own.
 * Neither the first step less the range nor the last step may overflow.
 */
extern PromVals *promql_window_eval(int n, const int64 *t_ms, const double *v, const PromSteps *steps,
									int64 range_ms, PromqlWindowFn fn);

extern bool promql_window_instant(PromqlWindow *w, double *result);
extern bool promql_window_timestamp(PromqlWindow *w, double *result);
extern bool promql_window_rate(PromqlWindow *w, double *result);
extern bool promql_window_increase(PromqlWindow *w, double *result);
extern bool promql_window_delta(PromqlWindow *w, double *result);
extern bool promql_window_irate(PromqlWindow *w, double *result);
extern bool promql_window_idelta(PromqlWindow *w, double *result);
extern bool promql_window_sum(PromqlWindow *w, double *result);
extern bool promql_window_avg(PromqlWindow *w, double *result);
extern bool promql_window_min(PromqlWindow *w, double *result);
extern bool promql_window_max(PromqlWindow *w, double *result);
extern bool promql_window_count(PromqlWindow *w, double *result);
extern bool promql_window_last(PromqlWindow *w, double *result);
extern bool promql_window_present(PromqlWindow *w, double *result);

#endif							/* PROMQL_WINDOW_H */

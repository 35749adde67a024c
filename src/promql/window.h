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
	int			n;
	int64		range_ms;
	double		range_s;
	int64		ref_ms;			/* of the present step */
	int			first;			/* samples of the present step: [first, end), never empty */
	int			end;
	double		scalar;			/* parameter of the function at the present step, if it has one; and then */
	int64		now_ms;			/* the step's own time, before any @ and offset */
	/* positions that a function remembers from step to step: [noted_first, noted_end) of noted */
	int		   *noted;
	int			noted_first;
	int			noted_end;
	int			seen;			/* samples [0, seen) were considered for it */
	double	   *scratch;		/* n values; NULL until a function makes it */
} PromqlWindow;

/* Of a function with a parameter: its values, and the times of the steps themselves. */
typedef struct PromqlWindowScalar
{
	const PromVals *vals;
	int64		now_ms;
	int64		now_step_ms;
} PromqlWindowScalar;

/* The value of the present window; false if there is none. */
typedef bool (*PromqlWindowFn) (PromqlWindow *w, double *result);

/* ---- window.c ---- */

/* (from, to] is the time that the windows touch; raises if steps or range are none or overflow. */
extern void promql_window_bounds(const PromSteps *steps, int64 range_ms, int64 *from_ms, int64 *to_ms);

/* The parameter of a function of so many steps: of an SQL function, in its arguments from "arg" on. */
extern PromqlWindowScalar promql_window_scalar(FunctionCallInfo fcinfo, int arg, int nsteps);

/* ---- window_fn.c ---- */

/*
 * The function over all steps; NULL if no step has a value.  O(n + steps) plus the function's own.
 * promql_window_bounds must have accepted steps and range.  scalar: NULL if the function takes none.
 */
extern PromVals *promql_window_eval(int n, const int64 *t_ms, const double *v, const PromSteps *steps,
									int64 range_ms, PromqlWindowFn fn, const PromqlWindowScalar *scalar);

extern bool promql_window_instant(PromqlWindow *w, double *result);
extern bool promql_window_timestamp(PromqlWindow *w, double *result);
extern bool promql_window_rate(PromqlWindow *w, double *result);
extern bool promql_window_increase(PromqlWindow *w, double *result);
extern bool promql_window_delta(PromqlWindow *w, double *result);
extern bool promql_window_irate(PromqlWindow *w, double *result);
extern bool promql_window_idelta(PromqlWindow *w, double *result);
extern bool promql_window_changes(PromqlWindow *w, double *result);
extern bool promql_window_resets(PromqlWindow *w, double *result);
extern bool promql_window_sum(PromqlWindow *w, double *result);
extern bool promql_window_avg(PromqlWindow *w, double *result);
extern bool promql_window_min(PromqlWindow *w, double *result);
extern bool promql_window_max(PromqlWindow *w, double *result);
extern bool promql_window_count(PromqlWindow *w, double *result);
extern bool promql_window_first(PromqlWindow *w, double *result);
extern bool promql_window_last(PromqlWindow *w, double *result);
extern bool promql_window_present(PromqlWindow *w, double *result);

/* ---- window_stat.c ---- */

extern bool promql_window_deriv(PromqlWindow *w, double *result);
extern bool promql_window_predict_linear(PromqlWindow *w, double *result);
extern bool promql_window_stddev(PromqlWindow *w, double *result);
extern bool promql_window_stdvar(PromqlWindow *w, double *result);
extern bool promql_window_quantile(PromqlWindow *w, double *result);

#endif							/* PROMQL_WINDOW_H */

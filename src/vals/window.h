/*
 * window.h
 *	  Windows of time over the samples of one series.  Private to this room.
 *
 * At each step a window holds the samples with ref - range < t <= ref.  Windows only move forward,
 * so their ends do too, and each sample enters and leaves once.
 */
#ifndef PROM_WINDOW_H
#define PROM_WINDOW_H

#include "chunk/chunk.h"
#include "select/select.h"
#include "store/store.h"
#include "vals/vals.h"

typedef struct PromRange
{
	const int64 *t_ms;			/* all samples, ascending */
	const double *v;
	int			n;
	int64		range_ms;
	double		range_s;
	int64		ref_ms;			/* of the present step */
	int			first;			/* samples of the present step: [first, end), never empty */
	int			end;
	double		scalar;			/* parameter of the function at the present step, if it has one; */
	double		second;			/* and the other, if it has two; with any */
	int64		now_ms;			/* the step's own time, before any @ and offset */
	/* positions that a function remembers from step to step: [noted_first, noted_end) of noted */
	int		   *noted;
	int			noted_first;
	int			noted_end;
	int			seen;			/* samples [0, seen) were considered for it */
	double	   *scratch;		/* n values; NULL until a function makes it */
	uint16		notes;			/* of the result; see annotate.h */
	/* of points of rollups */
	const double *weight;		/* how many samples each stands for; or NULL */
	double		share;			/* how much of the first one is within the window */
} PromRange;

/* Of a function with a parameter: its values, and the times of the steps themselves. */
typedef struct PromRangeScalar
{
	const PromVals *vals;
	const PromVals *second;		/* of a function with two; or NULL */
	int64		now_ms;
	int64		now_step_ms;
} PromRangeScalar;

/*
 * What an extended window (extended.c) sees besides its range: samples so long before its start, and so long
 * after its end.
 */
typedef struct PromRangeReach
{
	int64		before_ms;
	int64		after_ms;
} PromRangeReach;

/* ---- stitch.c: samples of several resolutions ---- */

/* Does a function see the sample before its range, where samples were thinned out? */
typedef enum PromRangeAnchor
{
	PROM_ANCHOR_NONE,
	PROM_ANCHOR_ALONE,			/* if it would see one only */
	PROM_ANCHOR_ALWAYS
} PromRangeAnchor;

typedef struct PromRangeStitch
{
	const PromRangeSegment *segment;	/* at least one */
	int			n;
	PromRangeAnchor anchor;
	const double *weight;		/* of points; or NULL */
} PromRangeStitch;

/* The value of the present window; false if there is none. */
typedef bool (*PromRangeFn) (PromRange *w, double *result);

/*
 * frames.c: the windows of all steps over samples at some times, kept for the next series, which mostly has
 * samples at the same times.
 */
typedef struct PromFrames
{
	PromSteps	steps;
	int64		range_ms;
	int			n;				/* samples, and their times */
	int64	   *t_ms;
	int			from;			/* outside of steps [from, to) no window has a sample */
	int			to;
	int		   *first;			/* samples of each step within: [first, end), maybe none */
	int		   *end;
	/* of functions that extrapolate, private to frames.c */
	bool		has_factors;
	bool		per_second;
	int			npairs;			/* steps with two samples and more: a bitmap like that of prom.vals */
	uint64	   *pairs;
	double	   *factor;			/* by what an increase is multiplied */
	double	   *zero;			/* a first value beyond so many increases was not zero within the range */
	int			size;			/* room for samples */
	MemoryContext cxt;
} PromFrames;

/* All steps at once; false if that cannot be done of these values: then nothing is written. */
typedef bool (*PromFramesFn) (PromFrames *f, const double *v, PromVals *out);

/* A function as translated SQL names it */
typedef struct PromRangeFunction
{
	const char *name;
	PromRangeFn fn;
	int			nscalars;
	bool		extended;		/* over windows that see beyond their range */
	bool		sees_stale;		/* markers that a series ended are samples to it */
	bool		needs_two;		/* has no value of one sample */
	int			parts;			/* what it reads of rollups */
	PromRangeAnchor anchor;
	PromRangeFn points;			/* the function over points and raw samples; NULL if it is the same */
	PromFramesFn all;			/* the function over plain windows of all steps; NULL if there is no such */
	bool		tells_hints;	/* an unknown hint of a histogram is what reading found out */
} PromRangeFunction;

/* ---- window_names.c ---- */

/* Raises if there is none of that name with so many parameters. */
extern const PromRangeFunction *prom_range_function(const text *name, int nscalars, bool extended);

/* ---- window.c ---- */

/* (from, to] is the time that the windows touch; raises if steps or range are none or overflow. */
extern void prom_range_bounds(const PromSteps *steps, int64 range_ms, int64 *from_ms, int64 *to_ms);

/* The parameter of a function of so many steps: of an SQL function, in its arguments from "arg" on. */
extern PromRangeScalar prom_range_scalar(FunctionCallInfo fcinfo, int arg, int nsteps);

/* ---- frames.c ---- */

extern PromFrames *prom_frames_new(MemoryContext cxt);

/* Windows of these steps, whose distance is not 0, over samples at these times, of which there are some. */
extern void prom_frames_set(PromFrames *f, const PromSteps *steps, int64 range_ms, int n, const int64 *t_ms);

/* The window of a step that is among [from, to). */
extern PromRange prom_frames_range(const PromFrames *f, const double *v, int i);

/* rate, increase or delta of all steps; false if a counter was reset: the windows must be looked at one by one then. */
extern bool prom_frames_extrapolate(PromFrames *f, const double *v, bool counter, bool per_second, PromVals *out);

/* ---- window_fn.c ---- */

/* The steps [*from, *to) outside of which no plain window has one of the samples between two times. */
extern void prom_range_touched(const PromSteps *steps, int64 t_first_ms, int64 t_last_ms, int64 range_ms,
							   int *from, int *to);

/*
 * A function over all steps, each with a window of its own and nothing else; steps must have a distance.  Frames
 * are the caller's, to be used again.
 */
extern PromVals *prom_range_eval_framed(PromFrames *f, int n, const int64 *t_ms, const double *v,
										const PromSteps *steps, int64 range_ms, const PromRangeFunction *function);

/*
 * The function over all steps; NULL if no step has a value and there are no notes.  O(n + steps) plus the
 * function's own.  prom_range_bounds must have accepted steps and range.  scalar: NULL if the function takes
 * none; reach: NULL unless windows are extended; stitch: NULL if all samples are raw.
 */
extern PromVals *prom_range_eval(int n, const int64 *t_ms, const double *v, const PromSteps *steps,
									int64 range_ms, PromRangeFn fn, const PromRangeScalar *scalar,
									const PromRangeReach *reach, const PromRangeStitch *stitch);

/*
 * How far the interval between first and last sample has to be stretched to stand for the range; "first" is
 * the first value, "increase" what was added to it since.
 */
extern double prom_range_stretch(const PromRange *w, double first, double increase, bool counter);

extern double prom_range_seconds(int64 ms);

extern bool prom_range_instant(PromRange *w, double *result);
extern bool prom_range_timestamp(PromRange *w, double *result);
extern bool prom_range_instant_all(PromFrames *f, const double *v, PromVals *out);
extern bool prom_range_rate_all(PromFrames *f, const double *v, PromVals *out);
extern bool prom_range_increase_all(PromFrames *f, const double *v, PromVals *out);
extern bool prom_range_sum_all(PromFrames *f, const double *v, PromVals *out);
extern bool prom_range_avg_all(PromFrames *f, const double *v, PromVals *out);
extern bool prom_range_delta_all(PromFrames *f, const double *v, PromVals *out);
extern bool prom_range_rate(PromRange *w, double *result);
extern bool prom_range_increase(PromRange *w, double *result);
extern bool prom_range_delta(PromRange *w, double *result);
extern bool prom_range_irate(PromRange *w, double *result);
extern bool prom_range_idelta(PromRange *w, double *result);
extern bool prom_range_changes(PromRange *w, double *result);
extern bool prom_range_resets(PromRange *w, double *result);
extern bool prom_range_sum(PromRange *w, double *result);
extern bool prom_range_avg(PromRange *w, double *result);
extern bool prom_range_min(PromRange *w, double *result);
extern bool prom_range_max(PromRange *w, double *result);
extern bool prom_range_count(PromRange *w, double *result);
extern bool prom_range_first(PromRange *w, double *result);
extern bool prom_range_last(PromRange *w, double *result);
extern bool prom_range_present(PromRange *w, double *result);
extern bool prom_range_ts_of_first(PromRange *w, double *result);
extern bool prom_range_ts_of_last(PromRange *w, double *result);
extern bool prom_range_ts_of_min(PromRange *w, double *result);
extern bool prom_range_ts_of_max(PromRange *w, double *result);

/* ---- window_stat.c ---- */

extern bool prom_range_deriv(PromRange *w, double *result);
extern bool prom_range_predict_linear(PromRange *w, double *result);
extern bool prom_range_stddev(PromRange *w, double *result);
extern bool prom_range_stdvar(PromRange *w, double *result);
extern bool prom_range_quantile(PromRange *w, double *result);
extern bool prom_range_mad(PromRange *w, double *result);
extern bool prom_range_double_exponential_smoothing(PromRange *w, double *result);

/* ---- extended.c: of windows with a reach ---- */

extern bool prom_range_anchored_rate(PromRange *w, double *result);
extern bool prom_range_anchored_increase(PromRange *w, double *result);
extern bool prom_range_anchored_delta(PromRange *w, double *result);
extern bool prom_range_anchored_changes(PromRange *w, double *result);
extern bool prom_range_anchored_resets(PromRange *w, double *result);
extern bool prom_range_smoothed_rate(PromRange *w, double *result);
extern bool prom_range_smoothed_increase(PromRange *w, double *result);
extern bool prom_range_smoothed_delta(PromRange *w, double *result);
extern bool prom_range_smoothed_instant(PromRange *w, double *result);

/*
 * Moves the window's first sample on to the last one at or before its start, if there is one: those before
 * it are of no use to later windows either.  False if no sample is newer than the start.
 */
extern bool prom_range_anchor(PromRange *w);

/* The first sample at or after the window's end, or else its last one. */
extern int	prom_range_smoothed_last(const PromRange *w);

/* The samples of one extended window (from, to], edges included; returns how many, in t_ms and v (n + 2). */
extern int	prom_range_extended(int n, const int64 *t_ms, const double *v, int64 from_ms, int64 to_ms,
								bool smoothed, int64 *out_ms, double *out_v);

/* ---- window_mixed.c ---- */

/*
 * The same over samples of which some are histograms (h[i] is not NULL, v[i] is NaN): what each function makes
 * of those, with notes.  NULL if there is neither a value nor a note.
 */
extern PromVals *prom_range_eval_mixed(int n, const int64 *t_ms, const double *v, const PromHistogram *const *h,
									   const PromSteps *steps, int64 range_ms, PromRangeFn fn,
									   const PromRangeScalar *scalar, const PromRangeReach *reach,
									   const PromRangeStitch *stitch);

/* ---- stitch.c ---- */

/* Moves a window, whose ref_ms is set, to its step. */
extern void prom_range_move_stitched(PromRange *w, const PromRangeStitch *s, const PromRangeReach *reach);

/* Raw samples and points of rollups, each of its segments */
typedef struct PromStitched
{
	int			n;
	int64	   *t_ms;
	double	   *v;
	const PromHistogram **h;	/* NULL if there are floats only */
	double	   *weight;
} PromStitched;

/* From finished gathers; counts: how many samples each point stands for; NULL: that is not asked for. */
extern PromStitched prom_range_stitch(const PromGather *raw, const PromGather *points, const PromGather *counts,
									  const PromRangeSegment *segment, int n);
extern void prom_range_stitched_free(PromStitched *s);

/* How many samples the window stands for */
extern double prom_range_weight(const PromRange *w);

extern bool prom_range_points_count(PromRange *w, double *result);
extern bool prom_range_points_sum(PromRange *w, double *result);
extern bool prom_range_points_avg(PromRange *w, double *result);

#endif							/* PROM_WINDOW_H */

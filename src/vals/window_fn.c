/*
 * window_fn.c
 *	  What range functions compute: from the samples of one series to its values at all steps.
 *
 * Knows neither chunks nor SQL.  The order of the arithmetic is Prometheus's, so results agree in
 * the last bit.  rate, increase and the like note the counter resets, min and max the samples that can still
 * win, so that their windows cost nothing per sample they share; sum and avg must add each window
 * anew, as rounding depends on where a sum begins.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "miscadmin.h"

#include "chunk/chunk.h"
#include "common/sum.h"
#include "select/select.h"
#include "vals/annotate.h"
#include "vals/window.h"

/* A duration in seconds, rounded as Go's Duration.Seconds does it. */
double
prom_range_seconds(int64 ms)
{
	return (double) (ms / 1000) + (double) (ms % 1000 * 1000000) / 1e9;
}

/* Steps that all look at one time have one value, which the first step found or not. */
static void
spread_first(PromVals *out)
{
	if (prom_vals_has(out, 0))
		for (int i = 1; i < out->nsteps; i++)
			prom_vals_set(out, i, out->v[0]);
}

/* a + b, or the end of int64 that it lies beyond: windows may reach out for ever. */
static int64
add_ms(int64 a, int64 b)
{
	int64		sum;

	return !pg_add_s64_overflow(a, b, &sum) ? sum : b < 0 ? PG_INT64_MIN : PG_INT64_MAX;
}

/*
 * The steps [*first, *end) outside of which no window has a sample: most of a year, where pods live for days.
 * Stitched windows are moved to stamps of rollups, by less than slack_ms, and reach out by no more.
 */
static void
find_steps(const PromSteps *steps, int64 t_first_ms, int64 t_last_ms, int64 slack_ms, int *first, int *end)
{
	int64		ahead_ms = add_ms(add_ms(t_first_ms, -slack_ms), -steps->start_ms);
	int64		left_ms = add_ms(add_ms(t_last_ms, 2 * slack_ms), -steps->start_ms);

	*first = ahead_ms > 0 ? (int) Min((ahead_ms - 1) / steps->step_ms + 1, steps->n) : 0;
	*end = left_ms > 0 ? (int) Min((left_ms - 1) / steps->step_ms + 1, steps->n) : 0;
}

void
prom_range_touched(const PromSteps *steps, int64 t_first_ms, int64 t_last_ms, int64 range_ms, int *from, int *to)
{
	find_steps(steps, t_first_ms, add_ms(t_last_ms, range_ms), 0, from, to);
}

/* The values if there are any, or notes. */
static PromVals *
values_or_null(PromVals *out)
{
	if (out->npresent > 0 || out->notes != 0)
		return out;
	pfree(out);
	return NULL;
}

/* Window by window, for functions that have no other way. */
static void
eval_each(const PromFrames *f, const double *v, PromRangeFn fn, PromVals *out)
{
	PromRange	w = prom_frames_range(f, v, f->from);

	w.noted = palloc(sizeof(int) * f->n);
	for (int i = f->from; i < f->to; i++)
	{
		double		result;

		CHECK_FOR_INTERRUPTS();
		w.ref_ms = f->steps.start_ms + f->steps.step_ms * i;
		w.first = f->first[i];
		w.end = f->end[i];
		if (w.first < w.end && fn(&w, &result))
			prom_vals_set(out, i, result);
	}
	pfree(w.noted);
	if (w.scratch)
		pfree(w.scratch);
	out->notes |= w.notes;
}

PromVals *
prom_range_eval_framed(PromFrames *f, int n, const int64 *t_ms, const double *v, const PromSteps *steps,
					   int64 range_ms, const PromRangeFunction *function)
{
	PromVals   *out;

	if (n == 0)
		return NULL;
	prom_frames_set(f, steps, range_ms, n, t_ms);
	if (f->from >= f->to)
		return NULL;
	out = prom_vals_new(steps->n);
	if (function->all == NULL || !function->all(f, v, out))
		eval_each(f, v, function->fn, out);
	return values_or_null(out);
}

PromVals *
prom_range_eval(int n, const int64 *t_ms, const double *v, const PromSteps *steps, int64 range_ms,
				   PromRangeFn fn, const PromRangeScalar *scalar, const PromRangeReach *reach,
				   const PromRangeStitch *stitch)
{
	PromRange w = {t_ms, v, n, range_ms, prom_range_seconds(range_ms)};
	bool		once = steps->step_ms == 0 && scalar == NULL;
	int64		before_ms = reach ? reach->before_ms : 0;
	int64		after_ms = reach ? reach->after_ms : 0;
	int			first = 0;
	int			end = once ? 1 : steps->n;
	PromVals   *out;

	if (n == 0)
		return NULL;
	if (steps->step_ms > 0)
		find_steps(steps, add_ms(t_ms[0], -after_ms), add_ms(add_ms(t_ms[n - 1], range_ms), before_ms),
				   stitch ? prom_range_coarsest(stitch->segment, stitch->n) : 0, &first, &end);
	out = prom_vals_new(steps->n);
	w.noted = palloc(sizeof(int) * n);
	w.weight = stitch ? stitch->weight : NULL;
	for (int i = first; i < end; i++)
	{
		double		result;

		CHECK_FOR_INTERRUPTS();
		w.ref_ms = steps->start_ms + steps->step_ms * i;
		if (unlikely(stitch != NULL))
			prom_range_move_stitched(&w, stitch, reach);
		else
		{
			while (w.end < n && t_ms[w.end] <= w.ref_ms + after_ms)
				w.end++;
			while (w.first < w.end && t_ms[w.first] <= w.ref_ms - range_ms - before_ms)
				w.first++;
		}
		if (scalar)
		{
			w.scalar = prom_vals_get(scalar->vals, i);
			w.second = scalar->second ? prom_vals_get(scalar->second, i) : 0;
			w.now_ms = scalar->now_ms + scalar->now_step_ms * i;
		}
		if (w.first < w.end && fn(&w, &result))
			prom_vals_set(out, i, result);
	}
	if (once)
		spread_first(out);
	pfree(w.noted);
	if (w.scratch)
		pfree(w.scratch);
	out->notes = w.notes;
	return values_or_null(out);
}

/* ---- counters and gauges ---- */

static inline bool
is_reset(double before, double v)
{
	return v < before;
}

static inline bool
is_change(double before, double v)
{
	return v != before && !(isnan(v) && isnan(before));
}

/* Notes the samples that are so after the one before them, and forgets those out of the window. */
static inline void
note(PromRange *w, bool (*is_so) (double before, double v))
{
	if (w->seen == 0)
		w->seen = 1;
	for (; w->seen < w->end; w->seen++)
		if (is_so(w->v[w->seen - 1], w->v[w->seen]))
			w->noted[w->noted_end++] = w->seen;
	while (w->noted_first < w->noted_end && w->noted[w->noted_first] <= w->first)
		w->noted_first++;
}

bool
prom_range_changes(PromRange *w, double *result)
{
	note(w, is_change);
	*result = w->noted_end - w->noted_first;
	return true;
}

bool
prom_range_resets(PromRange *w, double *result)
{
	note(w, is_reset);
	*result = w->noted_end - w->noted_first;
	return true;
}

/*
 * By how much the interval between first and last sample has to be stretched to stand for the range:
 * up to its ends, or half a gap further where the end is too far away to believe that, and for
 * counters not to before the moment at which they were zero.
 */
double
prom_range_stretch(const PromRange *w, double first, double increase, bool counter)
{
	int64		first_ms = w->t_ms[w->first];
	int64		last_ms = w->t_ms[w->end - 1];
	double		to_start = (double) (first_ms - (w->ref_ms - w->range_ms)) / 1000;
	double		to_end = (double) (w->ref_ms - last_ms) / 1000;
	double		span = (double) (last_ms - first_ms) / 1000;
	double		gap = span / (double) (w->end - w->first - 1);
	double		limit = gap * 1.1;

	if (to_start >= limit)
		to_start = gap / 2;
	if (counter && increase > 0 && first >= 0)
	{
		double		to_zero = span * (first / increase);

		if (to_zero < to_start)
			to_start = to_zero;
	}
	if (to_end >= limit)
		to_end = gap / 2;
	return (span + to_start + to_end) / span;
}

static bool
extrapolate(PromRange *w, bool counter, bool per_second, double *result)
{
	double		increase;
	double		factor;

	if (w->end - w->first < 2)
		return false;
	increase = w->v[w->end - 1] - w->v[w->first];
	if (counter)
	{
		note(w, is_reset);
		for (int i = w->noted_first; i < w->noted_end; i++)
			increase += w->v[w->noted[i] - 1];
	}
	factor = prom_range_stretch(w, w->v[w->first], increase, counter);
	if (per_second)
		factor /= w->range_s;
	*result = increase * factor;
	return true;
}

bool
prom_range_rate(PromRange *w, double *result)
{
	if (!extrapolate(w, true, true, result))
		return false;
	w->notes |= PROM_NOTE_COUNTER;
	return true;
}

bool
prom_range_increase(PromRange *w, double *result)
{
	if (!extrapolate(w, true, false, result))
		return false;
	w->notes |= PROM_NOTE_COUNTER;
	return true;
}

bool
prom_range_delta(PromRange *w, double *result)
{
	return extrapolate(w, false, false, result);
}

bool
prom_range_rate_all(PromFrames *f, const double *v, PromVals *out)
{
	if (!prom_frames_extrapolate(f, v, true, true, out))
		return false;
	if (out->npresent > 0)
		out->notes |= PROM_NOTE_COUNTER;
	return true;
}

bool
prom_range_increase_all(PromFrames *f, const double *v, PromVals *out)
{
	if (!prom_frames_extrapolate(f, v, true, false, out))
		return false;
	if (out->npresent > 0)
		out->notes |= PROM_NOTE_COUNTER;
	return true;
}

bool
prom_range_delta_all(PromFrames *f, const double *v, PromVals *out)
{
	return prom_frames_extrapolate(f, v, false, false, out);
}

bool
prom_range_irate(PromRange *w, double *result)
{
	int			i = w->end - 1;
	double		increase;

	if (w->end - w->first < 2)
		return false;
	/* after a reset the counter began at zero */
	increase = w->v[i] < w->v[i - 1] ? w->v[i] : w->v[i] - w->v[i - 1];
	*result = increase / ((double) (w->t_ms[i] - w->t_ms[i - 1]) / 1000);
	return true;
}

bool
prom_range_idelta(PromRange *w, double *result)
{
	if (w->end - w->first < 2)
		return false;
	*result = w->v[w->end - 1] - w->v[w->end - 2];
	return true;
}

/* ---- aggregation over time ---- */

bool
prom_range_sum(PromRange *w, double *result)
{
	double		sum;
	double		c;

	if (!prom_sum_finite(w->v + w->first, w->end - w->first, 0, &sum, &c))
	{
		sum = c = 0;
		for (int i = w->first; i < w->end; i++)
			prom_sum_add(&sum, &c, w->v[i]);
	}
	*result = sum + c;
	return true;
}

bool
prom_range_avg(PromRange *w, double *result)
{
	int			n = w->end - w->first;
	double		sum;
	double		c;
	bool		running = false;

	if (!prom_sum_finite(w->v + w->first, n, -0.0, &sum, &c))
	{
		sum = -0.0;
		c = 0;
		for (int i = 0; i < n; i++)
			prom_mean_add(&sum, &c, &running, i + 1, w->v[w->first + i]);
	}
	*result = prom_mean(sum, c, running, n);
	return true;
}

/* What the sum of a window's values comes to; one that overflowed is added again, with care. */
static double
added_value(const PromFrames *f, const double *v, int i, bool mean, double sum, double c)
{
	double		result = 0;
	PromRange	w;

	if (isfinite(sum) && isfinite(c))
		return mean ? prom_mean(sum, c, false, f->end[i] - f->first[i]) : sum + c;
	w = prom_frames_range(f, v, i);
	(void) (mean ? prom_range_avg(&w, &result) : prom_range_sum(&w, &result));
	return result;
}

/* The sums of n windows from step "step" on, at most PROM_SUMS, at a time. */
static void
add_windows(const PromFrames *f, const double *v, int step, int n, bool mean, PromVals *out)
{
	const double *at[PROM_SUMS] = {v};
	double		sum[PROM_SUMS] = {0};
	double		c[PROM_SUMS] = {0};
	int			common = n == PROM_SUMS ? f->n : 0;

	for (int i = 0; i < n; i++)
	{
		at[i] = v + f->first[step + i];
		sum[i] = mean ? -0.0 : 0.0;
		common = Min(common, f->end[step + i] - f->first[step + i]);
	}
	prom_sum_finite_some(at, common, sum, c);
	for (int i = 0; i < n; i++)
	{
		for (int j = f->first[step + i] + common; j < f->end[step + i]; j++)
			prom_sum_add_finite(&sum[i], &c[i], v[j]);
		if (f->first[step + i] < f->end[step + i])
			prom_vals_set(out, step + i, added_value(f, v, step + i, mean, sum[i], c[i]));
	}
}

static void
add_all(const PromFrames *f, const double *v, bool mean, PromVals *out)
{
	for (int i = f->from; i < f->to; i += PROM_SUMS)
	{
		CHECK_FOR_INTERRUPTS();
		add_windows(f, v, i, Min(PROM_SUMS, f->to - i), mean, out);
	}
}

bool
prom_range_sum_all(PromFrames *f, const double *v, PromVals *out)
{
	add_all(f, v, false, out);
	return true;
}

bool
prom_range_avg_all(PromFrames *f, const double *v, PromVals *out)
{
	add_all(f, v, true, out);
	return true;
}

/*
 * Position of the greatest (sign 1) or least (sign -1) value.  Noted are the samples that no later one
 * beats, best first; of equal ones (0 and -0) the earliest wins, or the latest.  NaN is found only among NaN
 * alone, the latest one.
 */
static int
extreme(PromRange *w, double sign, bool latest)
{
	for (; w->seen < w->end; w->seen++)
	{
		double		x = w->v[w->seen];

		if (isnan(x))
			continue;
		while (w->noted_end > w->noted_first &&
			   (sign * w->v[w->noted[w->noted_end - 1]] < sign * x ||
				(latest && w->v[w->noted[w->noted_end - 1]] == x)))
			w->noted_end--;
		w->noted[w->noted_end++] = w->seen;
	}
	while (w->noted_first < w->noted_end && w->noted[w->noted_first] < w->first)
		w->noted_first++;
	return w->noted_first < w->noted_end ? w->noted[w->noted_first] : w->end - 1;
}

bool
prom_range_min(PromRange *w, double *result)
{
	*result = w->v[extreme(w, -1, false)];
	return true;
}

bool
prom_range_max(PromRange *w, double *result)
{
	*result = w->v[extreme(w, 1, false)];
	return true;
}

bool
prom_range_count(PromRange *w, double *result)
{
	*result = w->end - w->first;
	return true;
}

bool
prom_range_first(PromRange *w, double *result)
{
	*result = w->v[w->first];
	return true;
}

bool
prom_range_last(PromRange *w, double *result)
{
	*result = w->v[w->end - 1];
	return true;
}

bool
prom_range_present(PromRange *w, double *result)
{
	*result = 1;
	return true;
}

/* ---- times of samples, in seconds ---- */

bool
prom_range_ts_of_first(PromRange *w, double *result)
{
	*result = (double) w->t_ms[w->first] / 1000;
	return true;
}

bool
prom_range_ts_of_last(PromRange *w, double *result)
{
	*result = (double) w->t_ms[w->end - 1] / 1000;
	return true;
}

bool
prom_range_ts_of_min(PromRange *w, double *result)
{
	*result = (double) w->t_ms[extreme(w, -1, true)] / 1000;
	return true;
}

bool
prom_range_ts_of_max(PromRange *w, double *result)
{
	*result = (double) w->t_ms[extreme(w, 1, true)] / 1000;
	return true;
}

/* ---- instant selectors ---- */

/* The newest sample, unless it says that the series has ended. */
bool
prom_range_instant(PromRange *w, double *result)
{
	*result = w->v[w->end - 1];
	return !prom_is_stale(*result);
}

bool
prom_range_instant_all(PromFrames *f, const double *v, PromVals *out)
{
	for (int i = f->from; i < f->to; i++)
	{
		int			end = f->end[i];

		if (f->first[i] < end && !prom_is_stale(v[end - 1]))
			prom_vals_set(out, i, v[end - 1]);
	}
	return true;
}

/* The time of what prom_range_instant takes, in seconds */
bool
prom_range_timestamp(PromRange *w, double *result)
{
	*result = (double) w->t_ms[w->end - 1] / 1000;
	return !prom_is_stale(w->v[w->end - 1]);
}

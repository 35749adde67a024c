/*
 * extended.c
 *	  Window functions of extended ranges: anchored and smoothed.
 *
 * Such a window sees samples beyond its range (PromRangeReach), and nothing is extrapolated from it.
 * Anchored, it begins with the last sample at or before its start, as if that were there, or with the first
 * one inside.  Smoothed, it has at both edges the value on the line between the neighbours there; if
 * there is none on one side, that of the nearest sample.  Neither has a value if no sample is newer than the
 * start.
 *
 * Knows neither chunks nor SQL, as window_fn.c does not.  The order of the arithmetic is Prometheus's.
 */
#include "postgres.h"

#include "vals/window.h"

bool
prom_range_anchor(PromRange *w)
{
	int64		start_ms = w->ref_ms - w->range_ms;

	if (w->t_ms[w->end - 1] <= start_ms)
		return false;
	while (w->first + 1 < w->end && w->t_ms[w->first + 1] <= start_ms)
		w->first++;
	return true;
}

/* The value at t_ms between samples i and i + 1; a counter that fell began at zero. */
static double
interpolate(const PromRange *w, int i, int64 t_ms, bool counter)
{
	double		left = w->v[i];
	double		right = w->v[i + 1];

	if (counter && right < left)
		left = 0;
	return left + (right - left) * (double) (t_ms - w->t_ms[i]) / (double) (w->t_ms[i + 1] - w->t_ms[i]);
}

int
prom_range_smoothed_last(const PromRange *w)
{
	int			i = w->end - 1;

	while (i > w->first && w->t_ms[i - 1] >= w->ref_ms)
		i--;
	return i;
}

/* Value at the start of an anchored or smoothed window, and at its end. */
static double
left_edge(const PromRange *w, bool smoothed, bool counter)
{
	int64		start_ms = w->ref_ms - w->range_ms;

	if (smoothed && w->t_ms[w->first] < start_ms)
		return interpolate(w, w->first, start_ms, counter);
	return w->v[w->first];
}

static double
right_edge(const PromRange *w, int last, bool smoothed, bool counter)
{
	if (smoothed && last > w->first && w->t_ms[last] > w->ref_ms)
		return interpolate(w, last - 1, w->ref_ms, counter);
	return w->v[last];
}

/* What lies between both edges; of a counter, with what it had before each fall. */
static bool
difference(PromRange *w, bool smoothed, bool counter, bool per_second, double *result)
{
	int64		start_ms = w->ref_ms - w->range_ms;
	double		before;
	double		right;
	int			last;

	if (!prom_range_anchor(w))
		return false;
	last = smoothed ? prom_range_smoothed_last(w) : w->end - 1;
	before = left_edge(w, smoothed, counter);
	right = right_edge(w, last, smoothed, counter);
	*result = right - before;
	if (counter)
	{
		double		correction = 0;

		for (int i = w->first; i <= last; i++)
		{
			if (w->t_ms[i] <= start_ms || w->t_ms[i] >= w->ref_ms)
				continue;
			if (w->v[i] < before)
				correction += before;
			before = w->v[i];
		}
		if (right < before)
			correction += before;
		*result += correction;
	}
	if (per_second)
		*result /= w->range_s;
	return true;
}

bool
prom_range_anchored_rate(PromRange *w, double *result)
{
	return difference(w, false, true, true, result);
}

bool
prom_range_anchored_increase(PromRange *w, double *result)
{
	return difference(w, false, true, false, result);
}

bool
prom_range_anchored_delta(PromRange *w, double *result)
{
	return difference(w, false, false, false, result);
}

bool
prom_range_anchored_changes(PromRange *w, double *result)
{
	return prom_range_anchor(w) && prom_range_changes(w, result);
}

bool
prom_range_anchored_resets(PromRange *w, double *result)
{
	return prom_range_anchor(w) && prom_range_resets(w, result);
}

bool
prom_range_smoothed_rate(PromRange *w, double *result)
{
	return difference(w, true, true, true, result);
}

bool
prom_range_smoothed_increase(PromRange *w, double *result)
{
	return difference(w, true, true, false, result);
}

bool
prom_range_smoothed_delta(PromRange *w, double *result)
{
	return difference(w, true, false, false, result);
}

/* An instant selector: the value at the step itself; none if all samples are newer. */
bool
prom_range_smoothed_instant(PromRange *w, double *result)
{
	int			last = prom_range_smoothed_last(w);

	if (last == w->first && w->t_ms[last] > w->ref_ms)
		return false;
	*result = right_edge(w, last, true, false);
	return true;
}

int
prom_range_extended(int n, const int64 *t_ms, const double *v, int64 from_ms, int64 to_ms, bool smoothed,
					int64 *out_ms, double *out_v)
{
	PromRange	w = {t_ms, v, n, to_ms - from_ms, 0, to_ms, 0, n};
	int			last;
	int			found = 0;

	if (n == 0 || !prom_range_anchor(&w))
		return 0;
	last = smoothed ? prom_range_smoothed_last(&w) : n - 1;
	out_ms[found] = from_ms;
	out_v[found++] = left_edge(&w, smoothed, false);
	for (int i = w.first; i <= last; i++)
	{
		if (t_ms[i] <= from_ms || t_ms[i] >= to_ms)
			continue;
		out_ms[found] = t_ms[i];
		out_v[found++] = v[i];
	}
	out_ms[found] = to_ms;
	out_v[found++] = right_edge(&w, last, smoothed, false);
	return found;
}

/*
 * extended_mixed.c
 *	  Functions of extended ranges (extended.c) where samples are native histograms, or some are.
 *
 * Histograms are interpolated and subtracted bucket by bucket.  A window that sees samples of both kinds, be they
 * beyond its range, has no value, which is noted; but events are counted from one kind to the other as well.
 */
#include "postgres.h"

#include "chunk/chunk.h"
#include "vals/annotate.h"
#include "vals/window_mixed.h"

static bool
is_mixed(PromMixedRange *m)
{
	if (!prom_mixed_has_floats(m) || !prom_mixed_has_histograms(m))
		return false;
	m->notes |= PROM_NOTE_MIX;
	return true;
}

/*
 * The histogram at t_ms between samples i and i + 1; a counter that was reset began with nothing.  NULL if they
 * cannot be subtracted from each other, which is noted.
 */
static PromHistogram *
interpolate(PromMixedRange *m, int i, int64 t_ms, bool counter)
{
	const PromHistogram *left = m->h[i];
	const PromHistogram *right = m->h[i + 1];
	double		passed = (double) (t_ms - m->w.t_ms[i]);
	double		gap = (double) (m->w.t_ms[i + 1] - m->w.t_ms[i]);
	PromHistogram *rise;
	int			happened = 0;

	if (counter && prom_histogram_is_reset(palloc, left, right))
		return prom_histogram_divide(palloc, prom_histogram_scale(palloc, right, passed), gap);
	rise = prom_histogram_plus(palloc, right, left, -1, &happened);
	if (rise == NULL)
	{
		m->notes |= PROM_NOTE_MIXED_SCHEMAS;
		return NULL;
	}
	if (happened & PROM_HISTOGRAM_REBOUNDED)
		m->notes |= PROM_NOTE_RECONCILED_SUB;
	rise = prom_histogram_divide(palloc, prom_histogram_scale(palloc, rise, passed), gap);
	return prom_histogram_plus(palloc, left, rise, 1, &happened);
}

/* What a window begins with, NULL if that does not matter; false if there is no telling. */
static bool
left_edge(PromMixedRange *m, bool smoothed, bool counter, const PromHistogram **h)
{
	int64		start_ms = m->w.ref_ms - m->w.range_ms;

	if (smoothed && m->w.t_ms[m->w.first] < start_ms)
		return (*h = interpolate(m, m->w.first, start_ms, counter)) != NULL;
	*h = counter && prom_mixed_first_is_empty(m) ? NULL : m->h[m->w.first];
	return true;
}

/* What it ends with; NULL if there is no telling. */
static const PromHistogram *
right_edge(PromMixedRange *m, bool smoothed, bool counter)
{
	int			last = m->w.end - 1;

	if (smoothed && last > m->w.first && m->w.t_ms[last] > m->w.ref_ms)
		return interpolate(m, last - 1, m->w.ref_ms, counter);
	return m->h[last];
}

/* What is between both edges of a window of histograms, of which its anchor is the first. */
static PromHistogram *
between_edges(PromMixedRange *m, bool smoothed, bool counter)
{
	const PromHistogram *begin;
	const PromHistogram *end;

	if (smoothed)
		m->w.end = prom_range_smoothed_last(&m->w) + 1;
	if (!prom_mixed_check(m, counter) || !left_edge(m, smoothed, counter, &begin))
		return NULL;
	end = right_edge(m, smoothed, counter);
	return end ? prom_mixed_difference(m, counter, begin, end) : NULL;
}

/* As the function of floats, where there are only those. */
static bool
difference(PromMixedRange *m, bool smoothed, bool counter, bool per_second, PromRangeFn of_floats, double *v,
		   const PromHistogram **h)
{
	PromRange	window = m->w;
	PromHistogram *rise = NULL;

	if (is_mixed(m))
		return false;
	if (!prom_mixed_has_histograms(m))
		return of_floats(&window, v);
	if (prom_range_anchor(&m->w))
		rise = between_edges(m, smoothed, counter);
	m->w = window;
	if (rise && per_second)
		rise = prom_histogram_divide(palloc, rise, m->w.range_s);
	*h = rise;
	return rise != NULL;
}

bool
prom_mixed_anchored_rate(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return difference(m, false, true, true, prom_range_anchored_rate, v, h);
}

bool
prom_mixed_anchored_increase(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return difference(m, false, true, false, prom_range_anchored_increase, v, h);
}

bool
prom_mixed_anchored_delta(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return difference(m, false, false, false, prom_range_anchored_delta, v, h);
}

bool
prom_mixed_smoothed_rate(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return difference(m, true, true, true, prom_range_smoothed_rate, v, h);
}

bool
prom_mixed_smoothed_increase(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return difference(m, true, true, false, prom_range_smoothed_increase, v, h);
}

bool
prom_mixed_smoothed_delta(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return difference(m, true, false, false, prom_range_smoothed_delta, v, h);
}

/* ---- events ---- */

static bool
anchored_events(PromMixedRange *m, PromMixedFn events, double *v, const PromHistogram **h)
{
	PromRange	window = m->w;
	bool		found = prom_range_anchor(&m->w) && events(m, v, h);

	m->w = window;
	return found;
}

bool
prom_mixed_anchored_changes(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return anchored_events(m, prom_mixed_changes, v, h);
}

bool
prom_mixed_anchored_resets(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return anchored_events(m, prom_mixed_resets, v, h);
}

/* ---- instant selectors ---- */

/* Histograms that are no gauges count, so they do not fall on the way either. */
bool
prom_mixed_smoothed_instant(PromMixedRange *m, double *v, const PromHistogram **h)
{
	int			last = prom_range_smoothed_last(&m->w);
	PromHistogram *between;
	bool		counter;

	if (is_mixed(m))
		return false;
	if (!prom_mixed_has_histograms(m))
		return prom_range_smoothed_instant(&m->w, v);
	if (m->w.t_ms[last] <= m->w.ref_ms)
	{
		*h = m->h[last];
		return true;
	}
	if (last == m->w.first)
		return false;
	counter = m->h[last - 1]->hint != PROM_HINT_GAUGE && m->h[last]->hint != PROM_HINT_GAUGE;
	between = interpolate(m, last - 1, m->w.ref_ms, counter);
	if (between)
		between->hint = counter ? PROM_HINT_UNKNOWN : PROM_HINT_GAUGE;
	*h = between;
	return between != NULL;
}

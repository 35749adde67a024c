/*
 * window_mixed.c
 *	  What range functions compute where samples are native histograms, or some are.
 *
 * Functions fall in three kinds.  Those that do not look at values take all samples.  Those that choose or
 * order them look at numbers only, and note that they ignored histograms.  The rest compute with histograms
 * as with numbers, bucket by bucket, but not with both in one window: there they have no result, which is
 * noted, too.  The order of the arithmetic is Prometheus's.
 *
 * Each step computes in a context of its own, that is reset after it.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "chunk/chunk.h"
#include "vals/annotate.h"
#include "vals/window_mixed.h"

static bool
is_custom(const PromHistogram *h)
{
	return h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA;
}

/* ---- samples as they are ---- */

static bool
sample_of(const PromMixedRange *m, int i, double *v, const PromHistogram **h)
{
	*h = m->h[i];
	*v = m->w.v[i];
	return *h != NULL || !prom_is_stale(*v);
}

static bool
mixed_newest(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return sample_of(m, m->w.end - 1, v, h);
}

static bool
mixed_first(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return sample_of(m, m->w.first, v, h);
}

/* ---- events from one sample to the next ---- */

static bool
is_change(const PromMixedRange *m, int i)
{
	double		before = m->w.v[i - 1];
	double		v = m->w.v[i];

	if (m->h[i] && m->h[i - 1])
		return !prom_histogram_equal(m->h[i - 1], m->h[i]);
	if (m->h[i] || m->h[i - 1])
		return true;
	return v != before && !(isnan(v) && isnan(before));
}

static bool
is_reset(const PromMixedRange *m, int i)
{
	if (m->h[i] && m->h[i - 1])
		return prom_histogram_is_reset(palloc, m->h[i - 1], m->h[i]);
	return m->h[i] || m->h[i - 1] || m->w.v[i] < m->w.v[i - 1];
}

/* For each sample, how many up to it are so after the one before them; counted once for all steps. */
static const int *
events(PromMixedRange *m, bool (*is_so) (const PromMixedRange *m, int i))
{
	if (m->events == NULL)
	{
		m->events = MemoryContextAllocHuge(GetMemoryChunkContext(m->before), sizeof(int) * m->w.n);
		m->events[0] = 0;
		for (int i = 1; i < m->w.n; i++)
			m->events[i] = m->events[i - 1] + is_so(m, i);
	}
	return m->events;
}

static int
count_events(PromMixedRange *m, bool (*is_so) (const PromMixedRange *m, int i))
{
	const int  *n = events(m, is_so);

	return n[m->w.end - 1] - n[m->w.first];
}

bool
prom_mixed_changes(PromMixedRange *m, double *v, const PromHistogram **h)
{
	*v = count_events(m, is_change);
	return true;
}

bool
prom_mixed_resets(PromMixedRange *m, double *v, const PromHistogram **h)
{
	*v = count_events(m, is_reset);
	return true;
}

/* ---- rate and the like ---- */

bool
prom_mixed_first_is_empty(PromMixedRange *m)
{
	const int  *resets = events(m, is_reset);

	return m->w.first + 1 < m->w.end && resets[m->w.first + 1] > resets[m->w.first];
}

static bool
check_counter(PromMixedRange *m)
{
	bool		custom = is_custom(m->h[m->w.end - 1]);
	bool		first_is_empty = prom_mixed_first_is_empty(m);

	for (int i = m->w.first; i < m->w.end; i++)
	{
		if (m->h[i]->hint == PROM_HINT_GAUGE)
			m->notes |= PROM_NOTE_NOT_COUNTER;
		if ((i > m->w.first || !first_is_empty) && is_custom(m->h[i]) != custom)
		{
			m->notes |= PROM_NOTE_MIXED_SCHEMAS;
			return false;
		}
	}
	return true;
}

static bool
check_gauge(PromMixedRange *m, int first, int last)
{
	if (m->h[first]->hint != PROM_HINT_GAUGE || m->h[last]->hint != PROM_HINT_GAUGE)
		m->notes |= PROM_NOTE_NOT_GAUGE;
	if (is_custom(m->h[first]) != is_custom(m->h[last]))
	{
		m->notes |= PROM_NOTE_MIXED_SCHEMAS;
		return false;
	}
	return true;
}

bool
prom_mixed_check(PromMixedRange *m, bool counter)
{
	return counter ? check_counter(m) : check_gauge(m, m->w.first, m->w.end - 1);
}

/* The coarsest schema that the window's samples have, so that the result does not depend on resets. */
static void
coarsen(const PromMixedRange *m, int from, PromHistogram *h)
{
	int			schema = h->schema;

	for (int i = from; i < m->w.end; i++)
		schema = Min(schema, m->h[i]->schema);
	if (schema < h->schema)
		prom_histogram_reduce(h, schema);
}

PromHistogram *
prom_mixed_difference(PromMixedRange *m, bool counter, const PromHistogram *begin, const PromHistogram *end)
{
	PromHistogramSum sum = {NULL, NULL};
	PromHistogram *h = prom_histogram_copy(palloc, end);
	int			first = m->w.first + (counter && prom_mixed_first_is_empty(m) ? 1 : 0);

	if (counter)
		coarsen(m, first, h);
	(void) prom_histogram_sum_add(palloc, &sum, h, 1);
	if (begin && (prom_histogram_sum_add(palloc, &sum, begin, -1) & PROM_HISTOGRAM_REBOUNDED))
		m->notes |= PROM_NOTE_RECONCILED_SUB;
	if (counter)
	{
		const int  *resets = events(m, is_reset);

		for (int i = first + 1; i < m->w.end; i++)
			if (resets[i] > resets[i - 1] &&
				(prom_histogram_sum_add(palloc, &sum, m->h[i - 1], 1) & PROM_HISTOGRAM_REBOUNDED))
				m->notes |= PROM_NOTE_RECONCILED_ADD;
	}
	h = prom_histogram_sum_done(palloc, &sum);
	h->hint = PROM_HINT_GAUGE;
	return h;
}

static bool
extrapolate(PromMixedRange *m, bool counter, bool per_second, const PromHistogram **result)
{
	const PromHistogram *begin = m->h[m->w.first];
	PromHistogram *h;
	double		factor;

	if (m->w.end - m->w.first < 2)
		return false;
	if (prom_mixed_has_floats(m))
	{
		m->notes |= PROM_NOTE_MIX;
		return false;
	}
	if (!prom_mixed_check(m, counter))
		return false;
	h = prom_mixed_difference(m, counter, counter && prom_mixed_first_is_empty(m) ? NULL : begin, m->h[m->w.end - 1]);
	factor = prom_range_stretch(&m->w, begin->count, h->count, counter);
	if (per_second)
		factor /= m->w.range_s;
	h = prom_histogram_scale(palloc, h, factor);
	h->hint = PROM_HINT_GAUGE;
	*result = h;
	return true;
}

static bool
mixed_rate(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return extrapolate(m, true, true, h);
}

static bool
mixed_increase(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return extrapolate(m, true, false, h);
}

static bool
mixed_delta(PromMixedRange *m, double *v, const PromHistogram **h)
{
	return extrapolate(m, false, false, h);
}

/* The last two samples; they are of one kind, floats if *is_floats. */
static bool
check_two(PromMixedRange *m, bool *is_floats)
{
	int			i = m->w.end - 1;

	if (m->w.end - m->w.first < 2)
		return false;
	*is_floats = m->h[i] == NULL;
	if ((m->h[i] == NULL) == (m->h[i - 1] == NULL))
		return true;
	m->notes |= PROM_NOTE_MIX;
	return false;
}

/* What the last histogram has more than the one before; of a counter that was reset, all of it. */
static PromHistogram *
last_difference(PromMixedRange *m, bool counter)
{
	const PromHistogram *before = m->h[m->w.end - 2];
	const PromHistogram *last = m->h[m->w.end - 1];
	PromHistogram *h;
	int			happened = 0;

	if (counter && (before->hint == PROM_HINT_GAUGE || last->hint == PROM_HINT_GAUGE))
		m->notes |= PROM_NOTE_NOT_COUNTER;
	if (!counter && !check_gauge(m, m->w.end - 2, m->w.end - 1))
		return NULL;
	if (counter && prom_histogram_is_reset(palloc, before, last))
		h = prom_histogram_compact(palloc, last);
	else if (is_custom(before) != is_custom(last))
	{
		m->notes |= PROM_NOTE_MIXED_SCHEMAS;
		return NULL;
	}
	else
		h = prom_histogram_plus(palloc, last, before, -1, &happened);
	if (happened & PROM_HISTOGRAM_REBOUNDED)
		m->notes |= PROM_NOTE_RECONCILED_SUB;
	h->hint = PROM_HINT_GAUGE;
	return h;
}

static bool
mixed_irate(PromMixedRange *m, double *v, const PromHistogram **h)
{
	int			i = m->w.end - 1;
	bool		is_floats;

	if (!check_two(m, &is_floats))
		return false;
	if (is_floats)
		return prom_range_irate(&m->w, v);
	*h = last_difference(m, true);
	if (*h)
		*h = prom_histogram_divide(palloc, *h, (double) (m->w.t_ms[i] - m->w.t_ms[i - 1]) / 1000);
	return *h != NULL;
}

static bool
mixed_idelta(PromMixedRange *m, double *v, const PromHistogram **h)
{
	bool		is_floats;

	if (!check_two(m, &is_floats))
		return false;
	if (is_floats)
		return prom_range_idelta(&m->w, v);
	*h = last_difference(m, false);
	return *h != NULL;
}

/* ---- sums ---- */

/* Adds up the window's histograms, for a mean if "running" is not NULL; false if they cannot be. */
static bool
add_up(PromMixedRange *m, PromHistogramSum *sum, bool *running)
{
	bool		seen[PROM_HINT_GAUGE + 1] = {false};

	if (prom_mixed_has_floats(m))
	{
		m->notes |= PROM_NOTE_MIX;
		return false;
	}
	for (int i = m->w.first; i < m->w.end; i++)
	{
		const PromHistogram *h = m->h[i];
		int			happened;

		if (i == m->w.first && m->w.weight && m->w.share < 1)
			h = prom_histogram_scale(palloc, prom_histogram_copy(palloc, h), m->w.share);
		if (running)
			happened = prom_histogram_mean_add(palloc, sum, running, i - m->w.first + 1, h);
		else
			happened = prom_histogram_sum_add(palloc, sum, h, 1);
		seen[m->h[i]->hint] = true;
		if (happened & PROM_HISTOGRAM_REBOUNDED)
			m->notes |= PROM_NOTE_RECONCILED_AGG;
		if (happened & PROM_HISTOGRAM_INCOMPATIBLE)
		{
			m->notes |= PROM_NOTE_MIXED_SCHEMAS;
			return false;
		}
	}
	if (seen[PROM_HINT_RESET] && seen[PROM_HINT_NOT_RESET])
		m->notes |= PROM_NOTE_RESETS_AGG;
	return true;
}

static bool
mixed_sum(PromMixedRange *m, double *v, const PromHistogram **h)
{
	PromHistogramSum sum = {NULL, NULL};

	if (!add_up(m, &sum, NULL))
		return false;
	*h = prom_histogram_sum_done(palloc, &sum);
	return true;
}

static bool
mixed_avg(PromMixedRange *m, double *v, const PromHistogram **h)
{
	PromHistogramSum sum = {NULL, NULL};
	bool		running = false;

	if (!add_up(m, &sum, &running))
		return false;
	*h = prom_histogram_mean_done(palloc, &sum, running, m->w.end - m->w.first);
	return true;
}

/* Of points, each a sum of histograms */
static bool
mixed_points_avg(PromMixedRange *m, double *v, const PromHistogram **h)
{
	double		count = prom_range_weight(&m->w);

	if (m->w.share == 1 && count == m->w.end - m->w.first)
		return mixed_avg(m, v, h);
	if (!mixed_sum(m, v, h))
		return false;
	*h = prom_histogram_divide(palloc, prom_histogram_copy(palloc, *h), count);
	return true;
}

/* ---- all steps ---- */

typedef struct MixedFunction
{
	PromRangeFn fn;				/* that of floats */
	PromMixedFn mixed;			/* NULL: the same, as it looks at no value */
	bool		always;			/* used for windows of floats, too */
	bool		makes;			/* its histograms are made in the step's memory, not those of samples */
} MixedFunction;

/* What is not here looks at floats only. */
static const MixedFunction functions[] = {
	{prom_range_instant, mixed_newest, true},
	{prom_range_timestamp, NULL, true},
	{prom_range_rate, mixed_rate, false, true},
	{prom_range_increase, mixed_increase, false, true},
	{prom_range_delta, mixed_delta, false, true},
	{prom_range_irate, mixed_irate, false, true},
	{prom_range_idelta, mixed_idelta, false, true},
	{prom_range_changes, prom_mixed_changes, true},
	{prom_range_resets, prom_mixed_resets, true},
	{prom_range_sum, mixed_sum, false, true},
	{prom_range_avg, mixed_avg, false, true},
	{prom_range_points_sum, mixed_sum, false, true},
	{prom_range_points_avg, mixed_points_avg, false, true},
	{prom_range_count, NULL, true},
	{prom_range_first, mixed_first, true},
	{prom_range_last, mixed_newest, true},
	{prom_range_present, NULL, true},
	{prom_range_ts_of_first, NULL, true},
	{prom_range_ts_of_last, NULL, true},
	{prom_range_anchored_rate, prom_mixed_anchored_rate, true, true},
	{prom_range_anchored_increase, prom_mixed_anchored_increase, true, true},
	{prom_range_anchored_delta, prom_mixed_anchored_delta, true, true},
	{prom_range_anchored_changes, prom_mixed_anchored_changes, true},
	{prom_range_anchored_resets, prom_mixed_anchored_resets, true},
	{prom_range_smoothed_rate, prom_mixed_smoothed_rate, true, true},
	{prom_range_smoothed_increase, prom_mixed_smoothed_increase, true, true},
	{prom_range_smoothed_delta, prom_mixed_smoothed_delta, true, true},
	{prom_range_smoothed_instant, prom_mixed_smoothed_instant, true, true},
};

static const MixedFunction *
find_function(PromRangeFn fn)
{
	for (int i = 0; i < lengthof(functions); i++)
		if (functions[i].fn == fn)
			return &functions[i];
	return NULL;
}

/* Moves the window to a step; false if it is empty. */
static bool
move(PromMixedRange *m, const PromSteps *steps, int i)
{
	PromRange  *w = &m->w;

	w->ref_ms = steps->start_ms + steps->step_ms * i;
	if (m->stitch)
	{
		prom_range_move_stitched(w, m->stitch, m->reach);
		return w->first < w->end;
	}
	while (w->end < w->n && w->t_ms[w->end] <= w->ref_ms + (m->reach ? m->reach->after_ms : 0))
		w->end++;
	while (w->first < w->end && w->t_ms[w->first] <= w->ref_ms - w->range_ms - (m->reach ? m->reach->before_ms : 0))
		w->first++;
	return w->first < w->end;
}

/* The function that looks at floats only, and whether it ignored anything in a window that has some. */
static PromVals *
eval_floats(PromMixedRange *m, const PromSteps *steps, PromRangeFn fn, const PromRangeScalar *scalar)
{
	int64	   *t_ms = palloc_extended(sizeof(int64) * m->w.n, MCXT_ALLOC_HUGE);
	double	   *v = palloc_extended(sizeof(double) * m->w.n, MCXT_ALLOC_HUGE);
	int			n = 0;
	PromVals   *out;

	for (int i = 0; i < m->w.n; i++)
	{
		if (m->h[i])
			continue;
		t_ms[n] = m->w.t_ms[i];
		v[n++] = m->w.v[i];
	}
	out = prom_range_eval(n, t_ms, v, steps, m->w.range_ms, fn, scalar, NULL, m->stitch);
	for (int i = 0; i < steps->n; i++)
		if (move(m, steps, i) && prom_mixed_has_floats(m) && prom_mixed_has_histograms(m))
			m->notes |= PROM_NOTE_IGNORED;
	pfree(t_ms);
	pfree(v);
	if (out == NULL && m->notes != 0)
		out = prom_vals_new(steps->n);
	if (out)
		out->notes |= m->notes;
	return out;
}

/* One step's result into out. */
static void
eval_step(PromMixedRange *m, const MixedFunction *f, MemoryContext work, PromMixed *out, int i)
{
	MemoryContext old = MemoryContextSwitchTo(work);
	const PromHistogram *h = NULL;
	double		v;
	bool		found;

	if (f->mixed && (f->always || prom_mixed_has_histograms(m)))
		found = f->mixed(m, &v, &h);
	else
		found = f->fn(&m->w, &v);
	MemoryContextSwitchTo(old);
	if (found && h == NULL)
		prom_mixed_set(out, i, v);
	else if (found)
		prom_mixed_set_histogram(out, i, f->makes ? prom_histogram_copy(palloc, h) : h);
	MemoryContextReset(work);
}

static PromVals *
eval_mixed(PromMixedRange *m, const MixedFunction *f, const PromSteps *steps)
{
	bool		once = steps->step_ms == 0;
	PromMixed	out = prom_mixed_new(steps->n);
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "histograms of a window",
											   ALLOCSET_DEFAULT_SIZES);

	m->w.noted = palloc_extended(sizeof(int) * m->w.n, MCXT_ALLOC_HUGE);
	for (int i = 0; i < (once ? 1 : steps->n); i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (move(m, steps, i))
			eval_step(m, f, work, &out, i);
	}
	if (once && prom_vals_has(out.vals, 0))
		for (int i = 1; i < steps->n; i++)
		{
			if (out.histograms)
				prom_mixed_set_histogram(&out, i, out.histograms[0]);
			else
				prom_mixed_set(&out, i, out.vals->v[0]);
		}
	MemoryContextDelete(work);
	out.vals->notes = m->notes;
	return prom_mixed_finish(&out);
}

PromVals *
prom_range_eval_mixed(int n, const int64 *t_ms, const double *v, const PromHistogram *const *h, const PromSteps *steps,
					  int64 range_ms, PromRangeFn fn, const PromRangeScalar *scalar, const PromRangeReach *reach,
					  const PromRangeStitch *stitch)
{
	PromMixedRange m = {{t_ms, v, n, range_ms, prom_range_seconds(range_ms)}, h, .reach = reach, .stitch = stitch};
	const MixedFunction *f = find_function(fn);
	PromVals   *out;

	if (n == 0)
		return NULL;
	m.w.weight = stitch ? stitch->weight : NULL;
	m.before = palloc_extended(sizeof(int) * ((size_t) n + 1), MCXT_ALLOC_HUGE);
	m.before[0] = 0;
	for (int i = 0; i < n; i++)
		m.before[i + 1] = m.before[i] + (h[i] != NULL);
	out = f ? eval_mixed(&m, f, steps) : eval_floats(&m, steps, fn, scalar);
	return out == NULL || (out->npresent == 0 && out->notes == 0) ? NULL : out;
}

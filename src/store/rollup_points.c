/*
 * rollup_points.c
 *	  Samples of one series become the points of windows.
 *
 * Windows are (k * width, (k + 1) * width], open on the left as the ranges of PromQL are, so that a range
 * of whole windows is answered exactly by their counts, sums, minima and maxima.
 *
 * last: of each window the last sample as it is, be it a stale marker, in which case the last one before
 * it too; and the first sample of the day.  A series with fewer samples, nothing else.
 *
 * reset: what a counter that was reset needs besides.  An increase is the difference of first and last
 * value, plus the value before each drop.  Of a window in which the value dropped only the last drop is
 * kept, as two points: the sample before it, with the values before the earlier drops of the window
 * added, and the sample after it as it is.  So last and reset together increase as the samples do, to the
 * bit where a window has one drop.  What "last" has anyway is not repeated; and of floats the second point is
 * left out where the window's last sample lies below the first, so that the drop is seen without it.  (What drops
 * in most windows is a gauge, and would take twice the space.)
 *
 * count, sum: of all samples but stale markers, as the functions of that name see them, at the end of the
 * window.  Of a window with floats and histograms the sum is that of neither.
 *
 * min, max: also at the end of the window, but where "last" says the same they are left out.  The minimum of
 * some windows is that of "last" and "min" together, the maximum likewise: "last" is one of the samples, and lies in
 * its window; where both have a point at one time, because the last sample is at the window's end, the
 * higher part counts.  So a counter has no "max", and what is constant neither.  Histograms have neither.
 */
#include "postgres.h"

#include "common/sum.h"
#include "store/rows.h"

/* Where a series comes from: its last sample that says something; both without: none is known. */
typedef struct Before
{
	bool		has_value;
	double		value;
	const PromHistogram *histogram;
} Before;

/* The window that is being looked at; samples by number, -1: none. */
typedef struct Window
{
	int64		end_ms;
	int			first_of_day;
	int			last_live;		/* the last that is no stale marker */
	int			before_drop;	/* the last drop's; -1 as well if the sample lies before the window */
	int			after_drop;
	double		dropped;		/* values before earlier drops */
	const PromHistogram *dropped_histogram;
	double		top;			/* the value before the last drop with those before earlier ones */
	const PromHistogram *kept_histogram;	/* histograms before drops but the last */
	int			floats;
	int			histograms;
	double		sum;
	double		sum_c;
	double		min;
	double		max;
	PromHistogramSum histogram_sum;
	bool		no_histogram_sum;
} Window;

static void keep_points(PromGather *to, const PromGather *from, int64 after_ms, int64 until_ms);
static Before last_live_until(const PromGather *last, int64 t_ms);
static void add_points(PromPoints *p, int64 window_ms, const PromGather *samples, int first, int end, Before before);
static void add_float(Window *w, int i, double v, const Before *before, int before_at);
static void add_histogram(Window *w, int i, PromHistogram *h, const Before *before, int before_at);
static bool is_reset(const PromHistogram *before, PromHistogram *h);
static void finish_window(PromPoints *p, const Window *w, const PromGather *samples, int last);
static void add_last(PromPoints *p, const Window *w, const PromGather *samples, int last);
static void add_reset(PromPoints *p, const Window *w, const PromGather *samples, int last);
static void copy_sample(PromGather *to, const PromGather *samples, int i);
static void add_value(PromGather *to, int64 t_ms, double value);
static void add_point(PromGather *to, int64 t_ms, double value, const PromHistogram *h);

void
prom_points_init(PromPoints *p, MemoryContext cxt)
{
	for (int part = 0; part < PROM_PARTS; part++)
		prom_gather_init(&p->part[part], cxt);
}

void
prom_points_reset(PromPoints *p)
{
	for (int part = 0; part < PROM_PARTS; part++)
		prom_gather_reset(&p->part[part]);
}

int
prom_points_replace(PromPoints *p, PromPoints *old, int64 window_ms, int64 from_ms, int64 to_ms, const PromGather *samples)
{
	int			first = prom_points_until(samples, from_ms);
	int			end = prom_points_until(samples, to_ms);
	bool		none = first == end;
	int			kept;
	int			made;

	for (int part = PROM_PART_LAST; part < PROM_PARTS; part++)
	{
		prom_gather_finish(&old->part[part]);
		keep_points(&p->part[part], &old->part[part], PG_INT64_MIN, none ? PG_INT64_MAX : from_ms);
	}
	if (none)
		return 0;
	kept = p->part[PROM_PART_COUNT].n;
	add_points(p, window_ms, samples, first, end, last_live_until(&old->part[PROM_PART_LAST], from_ms));
	made = p->part[PROM_PART_COUNT].n - kept;
	for (int part = PROM_PART_LAST; part < PROM_PARTS; part++)
		keep_points(&p->part[part], &old->part[part], to_ms, PG_INT64_MAX);
	return made;
}

/* Append points with after_ms < t <= until_ms. */
static void
keep_points(PromGather *to, const PromGather *from, int64 after_ms, int64 until_ms)
{
	int			first = prom_points_until(from, after_ms);
	int			n = prom_points_until(from, until_ms) - first;

	if (n > 0)
		prom_gather_mixed(to, n, from->t_ms + first, from->values + first, from->histograms ? from->histograms + first : NULL, 0);
}

static Before
last_live_until(const PromGather *last, int64 t_ms)
{
	Before	before = {0};

	for (int i = prom_points_until(last, t_ms) - 1; i >= 0; i--)
	{
		const PromHistogram *h = last->histograms ? last->histograms[i] : NULL;

		if (h == NULL && prom_is_stale(last->values[i]))
			continue;
		before.has_value = h == NULL;
		before.value = last->values[i];
		before.histogram = h;
		break;
	}
	return before;
}

int
prom_points_until(const PromGather *g, int64 t_ms)
{
	int			low = 0;
	int			high = g->n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (g->t_ms[middle] <= t_ms)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Append the points of samples "first" to "end" - 1, whole windows on one day, after "before". */
static void
add_points(PromPoints *p, int64 window_ms, const PromGather *samples, int first, int end, Before before)
{
	int			before_at = -1;

	for (int i = first, next; i < end; i = next)
	{
		Window		w = {.end_ms = prom_window_end(samples->t_ms[i], window_ms), .first_of_day = -1, .last_live = -1,
		.before_drop = -1, .after_drop = -1, .sum = -0.0};

		for (next = i; next < end && samples->t_ms[next] <= w.end_ms; next++)
		{
			PromHistogram *h = samples->histograms ? samples->slots[next] : NULL;
			double		v = samples->values[next];

			if (h == NULL && prom_is_stale(v))
				continue;
			if (!before.has_value && before.histogram == NULL)
				w.first_of_day = next;
			if (h)
				add_histogram(&w, next, h, &before, before_at);
			else
				add_float(&w, next, v, &before, before_at);
			before = (Before) {h == NULL, v, h};
			before_at = w.last_live = next;
		}
		finish_window(p, &w, samples, next - 1);
		before_at = -1;
	}
}

static void
add_float(Window *w, int i, double v, const Before *before, int before_at)
{
	if (before->has_value && v < before->value)
	{
		w->before_drop = before_at;
		w->after_drop = i;
		w->top = before->value + w->dropped;
		w->kept_histogram = NULL;
		w->dropped += before->value;
	}
	prom_sum_add(&w->sum, &w->sum_c, v);
	if (w->floats == 0 || v < w->min || isnan(w->min))
		w->min = v;
	if (w->floats == 0 || v > w->max || isnan(w->max))
		w->max = v;
	w->floats++;
}

static void
add_histogram(Window *w, int i, PromHistogram *h, const Before *before, int before_at)
{
	if (before->histogram && is_reset(before->histogram, h))
	{
		int			notes;

		w->before_drop = before_at;
		w->after_drop = i;
		w->kept_histogram = w->dropped_histogram;
		if (w->dropped_histogram)
			w->dropped_histogram = prom_histogram_plus(palloc, w->dropped_histogram, before->histogram, 1, &notes);
		else
			w->dropped_histogram = before->histogram;
	}
	if (prom_histogram_sum_add(palloc, &w->histogram_sum, h, 1) & PROM_HISTOGRAM_INCOMPATIBLE)
		w->no_histogram_sum = true;
	w->histograms++;
}

/* As a query finds out, which has only the values; a gauge is never reset. */
static bool
is_reset(const PromHistogram *before, PromHistogram *h)
{
	uint8		hint = h->hint;
	bool		reset;

	if (hint == PROM_HINT_GAUGE || before->hint == PROM_HINT_GAUGE)
		return false;
	h->hint = PROM_HINT_UNKNOWN;
	reset = prom_histogram_is_reset(palloc, before, h);
	h->hint = hint;
	return reset;
}

static void
finish_window(PromPoints *p, const Window *w, const PromGather *samples, int last)
{
	add_last(p, w, samples, last);
	if (w->after_drop >= 0)
		add_reset(p, w, samples, last);
	if (w->floats + w->histograms > 0)
		add_value(&p->part[PROM_PART_COUNT], w->end_ms, w->floats + w->histograms);
	if (w->floats > 0 && w->histograms == 0)
		add_value(&p->part[PROM_PART_SUM], w->end_ms, w->sum + w->sum_c);
	if (w->floats == 0 && w->histograms > 0 && !w->no_histogram_sum)
		add_point(&p->part[PROM_PART_SUM], w->end_ms, 0, prom_histogram_sum_done(palloc, &w->histogram_sum));
	if (w->floats > 0)
	{
		double		final = samples->values[w->last_live];

		if (!(final <= w->min) && !isnan(w->min))
			add_value(&p->part[PROM_PART_MIN], w->end_ms, w->min);
		if (!(final >= w->max) && !isnan(w->max))
			add_value(&p->part[PROM_PART_MAX], w->end_ms, w->max);
	}
}

static void
add_last(PromPoints *p, const Window *w, const PromGather *samples, int last)
{
	PromGather *to = &p->part[PROM_PART_LAST];

	if (w->first_of_day >= 0 && w->first_of_day < w->last_live)
		copy_sample(to, samples, w->first_of_day);
	if (w->last_live >= 0 && w->last_live < last)
		copy_sample(to, samples, w->last_live);
	copy_sample(to, samples, last);
}

static void
add_reset(PromPoints *p, const Window *w, const PromGather *samples, int last)
{
	PromGather *to = &p->part[PROM_PART_RESET];
	int			i = w->before_drop;

	if (i >= 0 && i != w->first_of_day)
	{
		const PromHistogram *h = samples->histograms ? samples->histograms[i] : NULL;

		if (h && w->kept_histogram)
		{
			int			notes;
			PromHistogram *sum = prom_histogram_plus(palloc, h, w->kept_histogram, 1, &notes);

			h = sum ? sum : h;
		}
		add_point(to, samples->t_ms[i], h ? 0 : w->top, h);
	}
	if (w->after_drop != w->last_live && (w->histograms > 0 || !(w->top > samples->values[w->last_live])))
		copy_sample(to, samples, w->after_drop);
}

static void
copy_sample(PromGather *to, const PromGather *samples, int i)
{
	add_point(to, samples->t_ms[i], samples->values[i], samples->histograms ? samples->histograms[i] : NULL);
}

static void
add_value(PromGather *to, int64 t_ms, double value)
{
	prom_gather_mixed(to, 1, &t_ms, &value, NULL, 0);
}

static void
add_point(PromGather *to, int64 t_ms, double value, const PromHistogram *h)
{
	prom_gather_mixed(to, 1, &t_ms, &value, h ? &h : NULL, 0);
}

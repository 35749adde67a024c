/*
 * frames.c
 *	  The windows of all steps at once, kept from one series to the next.
 *
 * Series of a block were mostly scraped together, so their samples have the same times, and so the windows of one
 * begin and end where those of the other do.  What follows from times alone is computed once: which samples
 * each window has, and by how much rate() and the like stretch what is between them.  Comparing the times costs next to
 * nothing beside unpacking them.
 */
#include "postgres.h"

#include <float.h>

#include "store/store.h"
#include "vals/window.h"

/* More than what rounding may take from a comparison of products */
#define SLACK	1e-7

PromFrames *
prom_frames_new(MemoryContext cxt)
{
	PromFrames *f = MemoryContextAllocZero(cxt, sizeof(PromFrames));

	f->cxt = cxt;
	return f;
}

static void *
resize(PromFrames *f, void *array, size_t n, size_t size)
{
	if (array)
		pfree(array);
	return MemoryContextAllocHuge(f->cxt, n * size);
}

/* For so many steps; the frames of others are forgotten. */
static void
set_steps(PromFrames *f, const PromSteps *steps, int64 range_ms)
{
	if (f->steps.start_ms == steps->start_ms && f->steps.step_ms == steps->step_ms && f->steps.n == steps->n &&
		f->range_ms == range_ms)
		return;
	if (f->steps.n != steps->n)
	{
		prom_store_need_memory((size_t) steps->n * (2 * sizeof(int) + 2 * sizeof(double)));
		f->first = resize(f, f->first, steps->n, sizeof(int));
		f->end = resize(f, f->end, steps->n, sizeof(int));
		f->factor = resize(f, f->factor, steps->n, sizeof(double));
		f->zero = resize(f, f->zero, steps->n, sizeof(double));
		f->pairs = resize(f, f->pairs, PROM_VALS_WORDS(steps->n), sizeof(uint64));
	}
	f->steps = *steps;
	f->range_ms = range_ms;
	f->n = 0;
}

static void
set_times(PromFrames *f, int n, const int64 *t_ms)
{
	if (n > f->size)
	{
		f->size = n + n / 4;
		f->t_ms = resize(f, f->t_ms, f->size, sizeof(int64));
	}
	memcpy(f->t_ms, t_ms, n * sizeof(int64));
	f->n = n;
	f->has_factors = false;
}

/* As prom_range_eval would move its window */
static void
find_windows(PromFrames *f)
{
	PromRange	w = {0};

	prom_range_touched(&f->steps, f->t_ms[0], f->t_ms[f->n - 1], f->range_ms, &f->from, &f->to);
	for (int i = f->from; i < f->to; i++)
	{
		int64		ref_ms = f->steps.start_ms + f->steps.step_ms * i;

		while (w.end < f->n && f->t_ms[w.end] <= ref_ms)
			w.end++;
		while (w.first < w.end && f->t_ms[w.first] <= ref_ms - f->range_ms)
			w.first++;
		f->first[i] = w.first;
		f->end[i] = w.end;
	}
}

void
prom_frames_set(PromFrames *f, const PromSteps *steps, int64 range_ms, int n, const int64 *t_ms)
{
	set_steps(f, steps, range_ms);
	if (f->n == n && memcmp(f->t_ms, t_ms, n * sizeof(int64)) == 0)
		return;
	set_times(f, n, t_ms);
	find_windows(f);
}

PromRange
prom_frames_range(const PromFrames *f, const double *v, int i)
{
	return (PromRange) {
		.t_ms = f->t_ms, .v = v, .n = f->n, .range_ms = f->range_ms, .range_s = prom_range_seconds(f->range_ms),
		.ref_ms = f->steps.start_ms + f->steps.step_ms * i, .first = f->first[i], .end = f->end[i]
	};
}

/* What prom_range_stretch says of a window of two samples and more if zero does not come into it, and when it may. */
static void
find_factors(PromFrames *f, bool per_second)
{
	f->npairs = 0;
	memset(f->pairs, 0, PROM_VALS_WORDS(f->steps.n) * sizeof(uint64));
	for (int i = f->from; i < f->to; i++)
	{
		PromRange	w = prom_frames_range(f, NULL, i);

		f->factor[i] = f->zero[i] = 0;
		if (w.end - w.first < 2)
			continue;
		f->pairs[i / 64] |= UINT64CONST(1) << (i % 64);
		f->npairs++;
		f->factor[i] = prom_range_stretch(&w, -1, 0, false);
		if (per_second)
			f->factor[i] /= w.range_s;
		f->zero[i] = (double) (w.t_ms[w.first] - (w.ref_ms - w.range_ms)) /
			(double) (w.t_ms[w.end - 1] - w.t_ms[w.first]) * (1 + SLACK);
	}
	f->has_factors = true;
	f->per_second = per_second;
}

static bool
has_reset(const double *v, int n)
{
	bool		found = false;

	for (int i = 1; i < n; i++)
		found |= v[i] < v[i - 1];
	return found;
}

/*
 * The increase of each window times its factor, which is not right if a counter would have been zero within the range
 * before its first sample: then its own is computed.  That is so if first / increase * span < to_start.
 */
static void
stretch_all(const PromFrames *f, const double *v, bool counter, double *out)
{
	for (int i = f->from; i < f->to; i++)
	{
		double		first = v[f->first[i]];
		double		increase;
		PromRange	w;

		if (f->end[i] - f->first[i] < 2)
			continue;
		increase = v[f->end[i] - 1] - first;
		out[i] = increase * f->factor[i];
		if (!counter || !(increase > 0) || first < 0 || first > f->zero[i] * increase + DBL_MIN)
			continue;
		w = prom_frames_range(f, v, i);
		out[i] = prom_range_stretch(&w, first, increase, true);
		if (f->per_second)
			out[i] /= w.range_s;
		out[i] *= increase;
	}
}

bool
prom_frames_extrapolate(PromFrames *f, const double *v, bool counter, bool per_second, PromVals *out)
{
	if (counter && has_reset(v, f->n))
		return false;
	if (!f->has_factors || f->per_second != per_second)
		find_factors(f, per_second);
	stretch_all(f, v, counter, out->v);
	memcpy(PROM_VALS_BITS(out), f->pairs, PROM_VALS_WORDS(f->steps.n) * sizeof(uint64));
	out->npresent = f->npairs;
	return true;
}

/*
 * run.c
 *	  Which histograms follow each other as those of one chunk in Prometheus do.  Plain C.
 *
 * A counter goes on while both are of one kind (integers or floats), schema, zero threshold and custom bounds,
 * neither is a gauge, and no count or bucket is less than before; buckets may come, and go if they were empty.
 */
#include "c.h"

#include "histogram/histogram.h"

PromHistogramWalk
prom_histogram_walk(const PromHistogram *h, PromHistogramSide side)
{
	PromHistogramWalk w = {prom_histogram_spans(h, side), prom_histogram_buckets(h, side), h->nspans[side], 0, 0};

	if (w.spans > 0)
	{
		w.index = w.span->offset;
		w.buckets = w.span->length;
	}
	return w;
}

bool
prom_histogram_walk_next(PromHistogramWalk *w, int64 *index, double *count)
{
	while (w->spans > 0 && w->buckets == 0)
	{
		if (--w->spans == 0)
			break;
		w->span++;
		w->index += w->span->offset;
		w->buckets = w->span->length;
	}
	if (w->spans == 0)
		return false;
	w->buckets--;
	*index = w->index++;
	*count = *w->count++;
	return true;
}

/* Has a bucket of the side fewer observations than before, or gone? */
static bool
side_fell(const PromHistogram *before, const PromHistogram *h, PromHistogramSide side)
{
	PromHistogramWalk a = prom_histogram_walk(before, side);
	PromHistogramWalk b = prom_histogram_walk(h, side);
	int64		i;
	int64		j = PG_INT64_MIN;
	double		x;
	double		y = 0;
	bool		more = true;

	while (prom_histogram_walk_next(&a, &i, &x))
	{
		while (more && j < i)
			more = prom_histogram_walk_next(&b, &j, &y);
		if (x > (more && j == i ? y : 0))
			return true;
	}
	return false;
}

bool
prom_histogram_same_kind(const PromHistogram *a, const PromHistogram *b)
{
	return (a->hint == PROM_HINT_GAUGE) == (b->hint == PROM_HINT_GAUGE) && a->is_int == b->is_int &&
		a->schema == b->schema && a->zero_threshold == b->zero_threshold && a->ncustom == b->ncustom &&
		memcmp(prom_histogram_custom(a), prom_histogram_custom(b), a->ncustom * sizeof(double)) == 0;
}

bool
prom_histogram_continues(const PromHistogram *before, const PromHistogram *h)
{
	if (before->hint == PROM_HINT_GAUGE || h->hint == PROM_HINT_RESET || !prom_histogram_same_kind(before, h))
		return false;
	return h->count >= before->count && h->zero_count >= before->zero_count &&
		!side_fell(before, h, PROM_POSITIVE) && !side_fell(before, h, PROM_NEGATIVE);
}

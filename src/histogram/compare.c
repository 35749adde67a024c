/*
 * compare.c
 *	  Are two histograms equal, and has a counter been reset between them?  Plain C.
 *
 * A counter that went on has in every bucket at least what it had before.  What cannot be told for a
 * layout that has become finer counts as a reset, for no client refines its buckets while it counts.
 */
#include "c.h"

#include "histogram/parts.h"

/* ---- equality ---- */

static bool
same_bits(double a, double b)
{
	return memcmp(&a, &b, sizeof(double)) == 0;
}

/* Empty spans do not count, though what is behind them lies further. */
static bool
next_span(const PromHistogramSpan *spans, uint32 n, uint32 *at, PromHistogramSpan *span)
{
	int32		skipped = 0;

	for (; *at < n; (*at)++)
	{
		skipped += spans[*at].offset;
		if (spans[*at].length > 0)
		{
			*span = (PromHistogramSpan) {skipped, spans[*at].length};
			(*at)++;
			return true;
		}
	}
	return false;
}

static bool
same_spans(const PromHistogram *a, const PromHistogram *b, PromHistogramSide side)
{
	uint32		i = 0;
	uint32		k = 0;

	for (;;)
	{
		PromHistogramSpan x;
		PromHistogramSpan y;
		bool		more = next_span(prom_histogram_spans(a, side), a->nspans[side], &i, &x);

		if (more != next_span(prom_histogram_spans(b, side), b->nspans[side], &k, &y))
			return false;
		if (!more)
			return true;
		if (x.offset != y.offset || x.length != y.length)
			return false;
	}
}

bool
prom_histogram_equal(const PromHistogram *a, const PromHistogram *b)
{
	uint32		nbuckets = a->nbuckets[PROM_POSITIVE] + a->nbuckets[PROM_NEGATIVE];

	return a->schema == b->schema && same_bits(a->count, b->count) && same_bits(a->sum, b->sum) &&
		same_bits(a->zero_threshold, b->zero_threshold) && same_bits(a->zero_count, b->zero_count) &&
		memcmp(a->nbuckets, b->nbuckets, sizeof(a->nbuckets)) == 0 && a->ncustom == b->ncustom &&
		memcmp(a->d, b->d, sizeof(double) * (nbuckets + a->ncustom)) == 0 &&
		same_spans(a, b, PROM_POSITIVE) && same_spans(a, b, PROM_NEGATIVE);
}

/* ---- resets ---- */

/* Has a bucket of "before" more in it than it has now? */
static bool
side_fell(const PromBuckets *before, const PromBuckets *now)
{
	int			k = 0;

	for (int i = 0; i < before->n; i++)
	{
		double		count = 0;

		while (k < now->n && now->b[k].index < before->b[i].index)
			k++;
		if (k < now->n && now->b[k].index == before->b[i].index)
			count = now->b[k].count.v;
		if (before->b[i].count.v > count)
			return true;
	}
	return false;
}

static bool
same_layout_fell(const PromHistogram *before, const PromHistogram *h)
{
	uint32		n = h->nbuckets[PROM_POSITIVE] + h->nbuckets[PROM_NEGATIVE];

	if (h->zero_count < before->zero_count)
		return true;
	for (uint32 i = 0; i < n; i++)
		if (h->d[i] < before->d[i])
			return true;
	return false;
}

bool
prom_histogram_is_reset(PromHistogramAlloc alloc, const PromHistogram *before, const PromHistogram *h)
{
	PromParts	p;
	PromParts	now;

	if (h->hint == PROM_HINT_RESET || h->hint == PROM_HINT_NOT_RESET)
		return h->hint == PROM_HINT_RESET;
	if (h->count < before->count || h->schema > before->schema)
		return true;
	if (prom_histogram_same_layout(before, h))
		return same_layout_fell(before, h);
	if (h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA && before->schema != PROM_HISTOGRAM_CUSTOM_SCHEMA)
		return true;
	prom_parts_take(alloc, &p, before, NULL);
	prom_parts_take(alloc, &now, h, NULL);
	if (h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA)
	{
		double	   *common = alloc(sizeof(double) * (p.ncustom + 1));
		int			n = prom_bounds_common(p.custom, p.ncustom, now.custom, now.ncustom, common);

		prom_parts_rebound(&p, common, n);
		prom_parts_rebound(&now, common, n);
		return side_fell(&p.side[PROM_POSITIVE], &now.side[PROM_POSITIVE]);
	}
	if (h->zero_threshold < before->zero_threshold)
		return true;
	prom_parts_widen(&p, h->zero_threshold);
	if (p.zero_threshold != h->zero_threshold || h->zero_count < p.zero_count.v)
		return true;
	prom_parts_reduce(&p, h->schema);
	return side_fell(&p.side[PROM_POSITIVE], &now.side[PROM_POSITIVE]) ||
		side_fell(&p.side[PROM_NEGATIVE], &now.side[PROM_NEGATIVE]);
}

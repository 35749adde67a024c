/*
 * reduce.c
 *	  A histogram in a coarser schema: 2^d neighbouring buckets become one.
 *
 * Bucket i of a schema is part of bucket ((i - 1) >> d) + 1 of the schema d levels below.  Buckets only
 * get fewer, and so do spans, so all is done where it lies and the rest is moved up.
 */
#include "c.h"

#include "histogram/histogram.h"

/* One side in place; returns how many buckets and spans are left. */
static void
reduce_side(double *buckets, PromHistogramSpan *spans, uint32 *nbuckets, uint32 *nspans, int shift)
{
	uint32		nb = 0;
	uint32		ns = 0;
	uint32		at = 0;
	int64		index = 0;
	int64		last = 0;		/* index of the bucket written last */
	uint32		n = *nspans;

	for (uint32 s = 0; s < n; s++)
	{
		uint32		length = spans[s].length;

		index += spans[s].offset;
		for (uint32 i = 0; i < length; i++, index++, at++)
		{
			int64		to = ((index - 1) >> shift) + 1;

			if (nb > 0 && to == last)
			{
				buckets[nb - 1] += buckets[at];
				continue;
			}
			/* written at or before the span that is being read */
			if (nb == 0 || to != last + 1)
			{
				spans[ns].offset = (int32) (nb == 0 ? to : to - last - 1);
				spans[ns++].length = 0;
			}
			spans[ns - 1].length++;
			buckets[nb++] = buckets[at];
			last = to;
		}
	}
	*nbuckets = nb;
	*nspans = ns;
}

void
prom_histogram_reduce(PromHistogram *h, int schema)
{
	int			shift = h->schema - schema;
	double	   *buckets[2] = {prom_histogram_buckets(h, PROM_POSITIVE), prom_histogram_buckets(h, PROM_NEGATIVE)};
	PromHistogramSpan *spans[2] = {prom_histogram_spans(h, PROM_POSITIVE), prom_histogram_spans(h, PROM_NEGATIVE)};

	if (shift <= 0 || h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA)
		return;
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
		reduce_side(buckets[side], spans[side], &h->nbuckets[side], &h->nspans[side], shift);
	h->schema = (int8) schema;
	memmove(prom_histogram_buckets(h, PROM_NEGATIVE), buckets[PROM_NEGATIVE],
			h->nbuckets[PROM_NEGATIVE] * sizeof(double));
	memmove(prom_histogram_spans(h, PROM_POSITIVE), spans[PROM_POSITIVE],
			h->nspans[PROM_POSITIVE] * sizeof(PromHistogramSpan));
	memmove(prom_histogram_spans(h, PROM_NEGATIVE), spans[PROM_NEGATIVE],
			h->nspans[PROM_NEGATIVE] * sizeof(PromHistogramSpan));
	h->size = (uint32) prom_histogram_size(h->nbuckets[PROM_POSITIVE], h->nbuckets[PROM_NEGATIVE], h->ncustom,
										   h->nspans[PROM_POSITIVE], h->nspans[PROM_NEGATIVE]);
}

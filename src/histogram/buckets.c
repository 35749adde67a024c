/*
 * buckets.c
 *	  The buckets of a histogram with their bounds.  Plain C.
 */
#include "c.h"

#include <float.h>
#include <math.h>

#include "histogram/histogram.h"

/* 2^1024 is no double: the bucket that would end there ends at the greatest one, the next at infinity. */
double
prom_histogram_bound(int32 index, int schema)
{
	int			exponent;
	int32		fraction;

	if (schema < 0)
	{
		int64		e = (int64) index << -schema;

		if (e == 1024)
			return DBL_MAX;
		return ldexp(1, (int) Max(Min(e, 2000), -2000));
	}
	exponent = index >> schema;
	fraction = index & ((1 << schema) - 1);
	if (fraction == 0 && exponent == 1024)
		return DBL_MAX;
	return ldexp(exp2((double) fraction / (1 << schema)), exponent);
}

static double
custom_bound(const PromHistogram *h, int64 index)
{
	if (index < 0)
		return -HUGE_VAL;
	return index < h->ncustom ? prom_histogram_custom(h)[index] : HUGE_VAL;
}

PromHistogramBucket
prom_histogram_bucket(const PromHistogram *h, PromHistogramSide side, int32 index, double count)
{
	PromHistogramBucket b = {.count = count};
	double		near;
	double		far;

	if (h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA)
	{
		b.kind = PROM_BUCKET_CUSTOM;
		b.lower = custom_bound(h, (int64) index - 1);
		b.upper = custom_bound(h, index);
		return b;
	}
	near = prom_histogram_bound(index - 1, h->schema);
	far = prom_histogram_bound(index, h->schema);
	near = Max(near, h->zero_threshold);
	b.kind = side == PROM_POSITIVE ? PROM_BUCKET_POSITIVE : PROM_BUCKET_NEGATIVE;
	b.lower = side == PROM_POSITIVE ? near : -far;
	b.upper = side == PROM_POSITIVE ? far : -near;
	return b;
}

/* Fills "out" from its start on, or from its end downwards; how many they are. */
static int
list_side(const PromHistogram *h, PromHistogramSide side, PromHistogramBucket *out, int direction)
{
	const PromHistogramSpan *spans = prom_histogram_spans(h, side);
	const double *counts = prom_histogram_buckets(h, side);
	int32		index = 0;
	int			n = 0;

	for (uint32 s = 0; s < h->nspans[side]; s++)
	{
		index += spans[s].offset;
		for (uint32 i = 0; i < spans[s].length; i++, index++, counts++)
			if (*counts != 0)
				out[direction * n++] = prom_histogram_bucket(h, side, index, *counts);
	}
	return n;
}

PromHistogramBucket *
prom_histogram_list(PromHistogramAlloc alloc, const PromHistogram *h, int *n)
{
	uint32		nnegative = h->nbuckets[PROM_NEGATIVE];
	PromHistogramBucket *all = alloc(sizeof(PromHistogramBucket) * (h->nbuckets[PROM_POSITIVE] + nnegative + 1));

	*n = 0;
	if (nnegative > 0)
	{
		*n = list_side(h, PROM_NEGATIVE, all + nnegative - 1, -1);
		memmove(all, all + nnegative - *n, sizeof(PromHistogramBucket) * *n);
	}
	if (h->zero_count != 0)
		all[(*n)++] = (PromHistogramBucket) {-h->zero_threshold, h->zero_threshold, h->zero_count, PROM_BUCKET_ZERO};
	*n += list_side(h, PROM_POSITIVE, all + *n, 1);
	return all;
}

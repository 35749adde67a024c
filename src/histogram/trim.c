/*
 * trim.c
 *	  The operators </ and >/: the observations of a histogram up to a value, or from it on.  Plain C.
 *
 * The bucket with the value in it is cut, its observations taken to be spread evenly, on the logarithmic
 * scale in an exponential one.  What a bucket without an end has is not known to be on either side: up
 * to a value it is left out, from it on it stays.  Once something was cut, count and sum are made anew
 * from what is left, each bucket's observations taken to be in its middle.
 */
#include "c.h"

#include <math.h>

#include "histogram/parts.h"

typedef struct Trim
{
	double		x;
	bool		keep_lower;
	bool		cut;			/* some bucket was */
	double		count;
	double		sum;
} Trim;

/* Where the observations of a bucket are, on average. */
static double
middle(const PromHistogramBucket *b)
{
	if (isinf(b->lower))
		return b->upper > 0 ? b->upper / 2 : b->upper;
	if (isinf(b->upper))
		return b->lower;
	if (b->kind == PROM_BUCKET_CUSTOM || b->kind == PROM_BUCKET_ZERO)
		return (b->lower + b->upper) / 2;
	return copysign(sqrt(b->lower * b->upper), b->upper);
}

/* The share of the bucket that is below x, which is in it. */
static double
share_below(const PromHistogramBucket *b, double x)
{
	double		low;
	double		high;
	double		at;

	if (b->kind == PROM_BUCKET_CUSTOM || b->kind == PROM_BUCKET_ZERO)
		return (x - b->lower) / (b->upper - b->lower);
	low = log2(fabs(b->lower));
	high = log2(fabs(b->upper));
	at = log2(fabs(x));
	return x > 0 ? (at - low) / (high - low) : 1 - (at - high) / (low - high);
}

/* Cuts the bucket, which x is in: what is left of its observations, and where they are. */
static double
cut_bucket(const Trim *t, const PromHistogramBucket *bucket, double *where)
{
	PromHistogramBucket b = *bucket;
	double		share;

	*where = t->x;
	if (isinf(b.upper))
		return t->keep_lower ? 0 : b.count;
	if (isinf(b.lower))
	{
		if (t->keep_lower && b.upper <= 0)
			return b.count;
		if (b.upper <= 0 || t->x < 0 || (t->keep_lower && t->x == 0))
			return 0;
		b.lower = 0;
	}
	share = share_below(&b, t->x);
	if (t->keep_lower)
		b.upper = t->x;
	else
		b.lower = t->x;
	*where = middle(&b);
	return b.count * (t->keep_lower ? share : 1 - share);
}

/* What is left of the bucket's count. */
static double
trim_bucket(Trim *t, PromHistogramBucket b)
{
	bool		below = b.upper <= t->x;
	bool		above = b.lower >= t->x;
	double		left = b.count;
	double		where;

	if (b.count == 0)
		return 0;
	if (below || above)
	{
		/* one at x alone, of width 0, is both */
		left = (t->keep_lower ? below : above) ? b.count : 0;
		where = middle(&b);
	}
	else
		left = cut_bucket(t, &b, &where);
	t->cut |= left != b.count;
	t->count += left;
	if (left != 0)
		t->sum += left * where;
	return left;
}

static PromHistogramBucket
zero_bucket(const PromParts *p)
{
	PromHistogramBucket b = {-p->zero_threshold, p->zero_threshold, p->zero_count.v, PROM_BUCKET_ZERO};
	bool		populated[2] = {false, false};

	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
		for (int i = 0; i < p->side[side].n; i++)
			populated[side] |= p->side[side].b[i].count.v != 0;
	if (populated[PROM_POSITIVE] && !populated[PROM_NEGATIVE])
		b.lower = 0;
	if (populated[PROM_NEGATIVE] && !populated[PROM_POSITIVE])
		b.upper = 0;
	return b;
}

PromHistogram *
prom_histogram_trim(PromHistogramAlloc alloc, const PromHistogram *h, double x, bool keep_lower)
{
	Trim		t = {x, keep_lower};
	PromParts	p;

	prom_parts_take(alloc, &p, h, NULL);
	p.zero_count.v = trim_bucket(&t, zero_bucket(&p));
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
		for (int i = 0; i < p.side[side].n; i++)
		{
			PromBucket *b = &p.side[side].b[i];

			b->count.v = trim_bucket(&t, prom_histogram_bucket(h, side, b->index, b->count.v));
		}
	if (t.cut)
	{
		p.count.v = t.count;
		p.sum.v = t.sum;
	}
	return prom_parts_join(alloc, &p, NULL);
}

/*
 * stats.c
 *	  What a histogram tells about its observations: variance, quantiles, fractions.  Plain C.
 *
 * Within a bucket observations are taken to be spread evenly, in an exponential one on the logarithmic
 * scale.  A zero bucket with buckets on one side of it only has its observations on that side.
 */
#include "c.h"

#include <math.h>

#include "common/sum.h"
#include "histogram/histogram.h"

/* ---- variance ---- */

static double
middle(const PromHistogramBucket *b)
{
	if (b->kind == PROM_BUCKET_CUSTOM)
		return (b->upper + b->lower) / 2;
	if (b->lower <= 0 && b->upper >= 0)
		return 0;
	return copysign(sqrt(b->upper * b->lower), b->upper);
}

double
prom_histogram_stdvar(PromHistogramAlloc alloc, const PromHistogram *h)
{
	double		mean = h->sum / h->count;
	double		squares = 0;
	double		c = 0;
	int			n;
	PromHistogramBucket *b = prom_histogram_list(alloc, h, &n);

	for (int i = 0; i < n; i++)
	{
		double		delta = middle(&b[i]) - mean;

		prom_sum_add(&squares, &c, b[i].count * delta * delta);
	}
	return (squares + c) / h->count;
}

/* ---- quantiles ---- */

/* A bucket around zero has observations on one side of it only, if the histogram has no other side. */
static void
narrow_zero(PromHistogramBucket *b, const PromHistogram *h)
{
	bool		positive = h->nbuckets[PROM_POSITIVE] > 0;
	bool		negative = h->nbuckets[PROM_NEGATIVE] > 0;

	if (b->lower > 0 || b->upper < 0)
		return;
	if (positive && !negative)
		b->lower = 0;
	else if (negative && !positive)
		b->upper = 0;
}

static bool
is_linear(const PromHistogramBucket *b)
{
	return b->kind == PROM_BUCKET_CUSTOM || (b->lower <= 0 && b->upper >= 0);
}

/* The value below which that share of the bucket lies. */
static double
value_at(const PromHistogramBucket *b, double share)
{
	double		low;
	double		high;

	if (is_linear(b))
		return b->lower + (b->upper - b->lower) * share;
	low = log2(fabs(b->lower));
	high = log2(fabs(b->upper));
	if (b->lower > 0)
		return exp2(low + (high - low) * share);
	return -exp2(high + (low - high) * (1 - share));
}

/* The bucket in which the rank is, counted from the lowest or from the highest; n: it is in none. */
static int
find_rank(const PromHistogramBucket *b, int n, double rank, bool upwards, double *count)
{
	*count = 0;
	for (int k = 0; k < n; k++)
	{
		int			i = upwards ? k : n - 1 - k;

		*count += b[i].count;
		if (*count >= rank)
			return i;
	}
	return n;
}

double
prom_histogram_quantile(PromHistogramAlloc alloc, double phi, const PromHistogram *h, int *notes)
{
	bool		upwards = isnan(h->sum) || phi < 0.5;
	double		rank = upwards ? phi * h->count : (1 - phi) * h->count;
	double		count;
	double		all = 0;
	int			n;
	int			at;
	PromHistogramBucket *list;
	PromHistogramBucket b;

	*notes = 0;
	if (phi < 0 || phi > 1)
		return phi < 0 ? -HUGE_VAL : HUGE_VAL;
	if (h->count == 0 || isnan(phi))
		return (double) NAN;
	list = prom_histogram_list(alloc, h, &n);
	for (int i = 0; i < n; i++)
		all += list[i].count;
	at = find_rank(list, n, rank, upwards, &count);
	if (at == n)
		at = upwards ? n - 1 : 0;
	b = n > 0 ? list[at] : (PromHistogramBucket) {0, 0, 0, PROM_BUCKET_ZERO};
	if (b.kind == PROM_BUCKET_CUSTOM && b.lower == -HUGE_VAL)
	{
		if (b.upper <= 0)
			return b.upper;
		b.lower = 0;
	}
	else if (b.kind == PROM_BUCKET_CUSTOM && b.upper == HUGE_VAL)
		return b.lower;
	else if (b.kind == PROM_BUCKET_ZERO)
		narrow_zero(&b, h);
	/* counts that were not integers may have added up to more than their total */
	count = Min(count, h->count);
	if (count < rank)
	{
		if (!isnan(h->sum))
			return b.upper;
		*notes = PROM_HISTOGRAM_NAN;
		return (double) NAN;
	}
	if (isnan(h->sum) && all < h->count)
		*notes = PROM_HISTOGRAM_SKEWED;
	rank = upwards ? rank - (count - b.count) : count - rank;
	return value_at(&b, rank / b.count);
}

/* ---- fractions ---- */

/* How many observations are below x. */
static double
rank_of(const PromHistogram *h, const PromHistogramBucket *list, int n, double x, double total)
{
	double		rank = 0;

	for (int i = 0; i < n; i++)
	{
		PromHistogramBucket b = list[i];
		double		share;

		narrow_zero(&b, h);
		if (b.upper <= x)
		{
			rank += b.count;
			continue;
		}
		if (b.lower >= x)
			return rank;
		if (b.lower == -HUGE_VAL)
			return rank + b.count;
		if (b.upper == HUGE_VAL)
			return rank;
		if (is_linear(&b))
			share = (x - b.lower) / (b.upper - b.lower);
		else
		{
			double		low = log2(fabs(b.lower));
			double		high = log2(fabs(b.upper));
			double		at = log2(fabs(x));

			share = x > 0 ? (at - low) / (high - low) : 1 - (at - high) / (low - high);
		}
		return rank + b.count * share;
	}
	return total;
}

double
prom_histogram_fraction(PromHistogramAlloc alloc, double lower, double upper, const PromHistogram *h, int *notes)
{
	double		total = 0;
	int			n;
	PromHistogramBucket *list;

	*notes = 0;
	if (h->count == 0 || isnan(lower) || isnan(upper))
		return (double) NAN;
	list = prom_histogram_list(alloc, h, &n);
	for (int i = 0; i < n; i++)
		total += list[i].count;
	if (isnan(h->sum) && total < h->count)
		*notes = PROM_HISTOGRAM_SKEWED;
	if (lower >= upper)
		return 0;
	if (!isnan(h->sum))
		total = h->count;
	return (rank_of(h, list, n, upper, total) - rank_of(h, list, n, lower, total)) / h->count;
}

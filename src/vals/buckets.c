/*
 * buckets.c
 *	  Quantiles and fractions of one classic histogram at one time.
 *
 * Observations are taken to be spread evenly in their bucket.  Knows neither SQL nor steps; the order of the
 * arithmetic is Prometheus'.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "vals/buckets.h"

/* Counts whose relative difference is below this are equal: rounding of rates and sums. */
#define SMALL_DELTA 1e-12

static bool
almost_equal(double a, double b)
{
	double		sum = fabs(a) + fabs(b);
	double		difference = fabs(a - b);

	if (a == b || (isnan(a) && isnan(b)))
		return true;
	if (a == 0 || b == 0 || sum < DBL_MIN)
		return difference < SMALL_DELTA * DBL_MIN;
	return difference / fmin(sum, DBL_MAX) < SMALL_DELTA;
}

/* Notes that the count of a bucket had to be lifted to the one before it. */
static void
note_fixed(PromFixed *fixed, const PromBucket *p, double before)
{
	if (fixed->count++ == 0)
		fixed->low = fixed->high = p->bound;
	fixed->low = Min(fixed->low, p->bound);
	fixed->high = Max(fixed->high, p->bound);
	fixed->max_diff = Max(fixed->max_diff, before - p->count);
}

/* Counts never fall from one bound to the next: what does is lifted to the count before it, and noted. */
static void
make_monotonic(PromBucket *p, int n, PromFixed *fixed)
{
	double		before = p[0].count;

	for (int i = 1; i < n; i++)
	{
		if (almost_equal(before, p[i].count))
			p[i].count = before;
		else if (p[i].count < before)
		{
			note_fixed(fixed, &p[i], before);
			p[i].count = before;
		}
		else
			before = p[i].count;
	}
}

/* First bucket but the last that reaches the rank, else the last. */
static int
find_bucket(const PromBucket *p, int n, double rank)
{
	int			low = 0;
	int			high = n - 1;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (p[middle].count >= rank)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

double
prom_buckets_quantile(double phi, PromBucket *p, int n, PromFixed *fixed)
{
	double		lower = 0;
	double		count;
	double		rank;
	int			b;

	if (isnan(phi))
		return phi;
	if (phi < 0)
		return -HUGE_VAL;
	if (phi > 1)
		return HUGE_VAL;
	if (n < 2 || p[n - 1].bound != HUGE_VAL)
		return (double) NAN;
	make_monotonic(p, n, fixed);
	if (p[n - 1].count == 0)
		return (double) NAN;
	rank = phi * p[n - 1].count;
	b = find_bucket(p, n, rank);
	if (b == n - 1)
		return p[n - 2].bound;
	if (b == 0 && p[0].bound <= 0)
		return p[0].bound;
	count = p[b].count;
	if (b > 0)
	{
		lower = p[b - 1].bound;
		count -= p[b - 1].count;
		rank -= p[b - 1].count;
	}
	return lower + (p[b].bound - lower) * (rank / count);
}

/* ---- fractions ---- */

/* Observations up to x, which is no NaN. */
static double
rank_of(double x, const PromBucket *p, int n)
{
	double		below = 0;

	for (int i = 0; i < n; i++)
	{
		double		lower = i > 0 ? p[i - 1].bound : p[0].bound > 0 ? 0 : -HUGE_VAL;

		if (lower >= x)
			return below;
		if (p[i].bound > x)
		{
			/* within infinity there is no part: of the first bucket all counts, of the last one nothing */
			if (isinf(lower))
				return p[i].count;
			return below + (p[i].count - below) * (x - lower) / (p[i].bound - lower);
		}
		below = p[i].count;
	}
	return p[n - 1].count;
}

double
prom_buckets_fraction(double lower, double upper, const PromBucket *p, int n)
{
	double		total = p[n - 1].count;

	if (p[n - 1].bound != HUGE_VAL || total == 0 || isnan(lower) || isnan(upper))
		return (double) NAN;
	if (lower >= upper)
		return 0;
	lower = rank_of(lower, p, n);
	upper = rank_of(upper, p, n);
	return ((upper > total ? total : upper) - (lower > total ? total : lower)) / total;
}

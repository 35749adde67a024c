/*
 * sum.h
 *	  Compensated sums and means.
 *
 * Neumaier's form of Kahan's sum: "c" gathers what each addition rounds away and is added at the end.
 * A sum that reaches infinity drops it, or the end would be NaN.  A mean is sum / n as long as the sum
 * stays finite; when it would not, it goes on as a running mean.  An empty sum is -0.0, the one
 * value that leaves every first summand as it is.
 */
#ifndef PROM_COMMON_SUM_H
#define PROM_COMMON_SUM_H

#include <math.h>

static inline void
prom_sum_add(double *sum, double *c, double x)
{
	double		s = *sum;
	double		t = s + x;
	bool		sum_is_greater = fabs(s) >= fabs(x);
	double		great = sum_is_greater ? s : x;
	double		small = sum_is_greater ? x : s;

	*c = isinf(t) ? 0 : *c + ((great - t) + small);
	*sum = t;
}

/*
 * One more summand for each of n sums: what prom_sum_add gives, without a branch (see below).  Only a sum that
 * reaches infinity drops what was gathered.
 */
static inline void
prom_sum_add_all(double *sum, double *c, const double *x, int n)
{
	for (int i = 0; i < n; i++)
	{
		double		s = sum[i];
		double		t = s + x[i];
		double		added = t - s;
		double		all = c[i] + ((s - (t - added)) + (x[i] - added));

		c[i] = isinf(t) ? 0 : all;
		sum[i] = t;
	}
}

/* One more summand, if nothing overflows. */
static inline void
prom_sum_add_finite(double *sum, double *c, double x)
{
	double		s = *sum;
	double		t = s + x;
	double		added = t - s;

	*c += (s - (t - added)) + (x - added);
	*sum = t;
}

/*
 * The sum of n values, from -0.0 or 0.0 on.  The common case, without a branch: the error of each
 * addition is found as Knuth's TwoSum does, which gives what prom_sum_add gives as long as nothing
 * overflows.  If something did (or NaN is among the values), returns false and all is to be redone.
 */
static inline bool
prom_sum_finite(const double *v, int n, double start, double *sum, double *c)
{
	double		s = start;
	double		errors = 0;

	for (int i = 0; i < n; i++)
		prom_sum_add_finite(&s, &errors, v[i]);
	*sum = s;
	*c = errors;
	return isfinite(s) && isfinite(errors);
}

#define PROM_SUMS	4

/* The same for some sums at a time, as far as all have values: an addition waits for the one before it, not for those of others. */
static inline void
prom_sum_finite_some(const double *const *v, int n, double *sum, double *c)
{
	double		s0 = sum[0],
				s1 = sum[1],
				s2 = sum[2],
				s3 = sum[3];
	double		c0 = c[0],
				c1 = c[1],
				c2 = c[2],
				c3 = c[3];

	for (int i = 0; i < n; i++)
	{
		prom_sum_add_finite(&s0, &c0, v[0][i]);
		prom_sum_add_finite(&s1, &c1, v[1][i]);
		prom_sum_add_finite(&s2, &c2, v[2][i]);
		prom_sum_add_finite(&s3, &c3, v[3][i]);
	}
	sum[0] = s0;
	sum[1] = s1;
	sum[2] = s2;
	sum[3] = s3;
	c[0] = c0;
	c[1] = c1;
	c[2] = c2;
	c[3] = c3;
}

/* One more value for a mean that had n - 1 of them (n >= 1); *running says what *sum holds. */
static inline void
prom_mean_add(double *sum, double *c, bool *running, double n, double x)
{
	double		q;

	if (!*running)
	{
		double		new_sum = *sum;
		double		new_c = *c;

		prom_sum_add(&new_sum, &new_c, x);
		if (n == 1 || !isinf(new_sum))
		{
			*sum = new_sum;
			*c = new_c;
			return;
		}
		*running = true;
		*sum /= n - 1;
		*c /= n - 1;
	}
	q = (n - 1) / n;
	*sum *= q;
	*c *= q;
	prom_sum_add(sum, c, x / n);
}

static inline double
prom_mean(double sum, double c, bool running, double n)
{
	return running ? sum + c : sum / n + c / n;
}

#endif							/* PROM_COMMON_SUM_H */

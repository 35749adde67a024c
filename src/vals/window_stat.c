/*
 * window_stat.c
 *	  Window functions that are statistics: least squares, deviation, quantiles.
 *
 * Like those of window_fn.c they know neither chunks nor SQL, and do their arithmetic in Prometheus'
 * order.  Each looks at all samples of each window.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/float.h"

#include "common/sum.h"
#include "vals/window.h"

/*
 * The line through the samples that has the least squares, time in seconds since origin_ms: its slope and
 * its value at the origin.  Equal values need no fit, which would only add rounding.
 */
static void
fit_line(const PromRange *w, int64 origin_ms, double *slope, double *intercept)
{
	double		n = w->end - w->first;
	double		initial = w->v[w->first];
	bool		constant = true;
	double		x = 0,
				x_c = 0;
	double		y = 0,
				y_c = 0;
	double		xy = 0,
				xy_c = 0;
	double		xx = 0,
				xx_c = 0;

	for (int i = w->first; i < w->end; i++)
	{
		double		at = (double) (w->t_ms[i] - origin_ms) / 1e3;

		constant = constant && (i == w->first || w->v[i] == initial);
		prom_sum_add(&x, &x_c, at);
		prom_sum_add(&y, &y_c, w->v[i]);
		prom_sum_add(&xy, &xy_c, at * w->v[i]);
		prom_sum_add(&xx, &xx_c, at * at);
	}
	if (constant)
	{
		*slope = isinf(initial) ? (double) NAN : 0;
		*intercept = isinf(initial) ? (double) NAN : initial;
		return;
	}
	x += x_c;
	y += y_c;
	xy += xy_c;
	xx += xx_c;
	*slope = (xy - x * y / n) / (xx - x * x / n);
	*intercept = y / n - *slope * x / n;
}

bool
prom_range_deriv(PromRange *w, double *result)
{
	double		intercept;

	if (w->end - w->first < 2)
		return false;
	fit_line(w, w->t_ms[w->first], result, &intercept);
	return true;
}

/* The line's value so many seconds after the step, wherever the window is. */
bool
prom_range_predict_linear(PromRange *w, double *result)
{
	double		slope;
	double		intercept;

	if (w->end - w->first < 2)
		return false;
	fit_line(w, w->now_ms, &slope, &intercept);
	*result = slope * w->scalar + intercept;
	return true;
}

/* Variance of the whole population, by Welford's recurrence with compensated sums. */
bool
prom_range_stdvar(PromRange *w, double *result)
{
	double		mean = 0;
	double		mean_c = 0;
	double		squares = 0;
	double		squares_c = 0;
	double		n = 0;

	for (int i = w->first; i < w->end; i++)
	{
		double		delta = w->v[i] - (mean + mean_c);

		n++;
		prom_sum_add(&mean, &mean_c, delta / n);
		prom_sum_add(&squares, &squares_c, delta * (w->v[i] - (mean + mean_c)));
	}
	*result = (squares + squares_c) / n;
	return true;
}

bool
prom_range_stddev(PromRange *w, double *result)
{
	prom_range_stdvar(w, result);
	*result = sqrt(*result);
	return true;
}

/* ---- quantiles ---- */

static inline void
swap(double *a, double *b)
{
	double		x = *a;

	*a = *b;
	*b = x;
}

/*
 * Moves the value of that rank (0 is the least) to its place in v, no greater ones before and no lesser
 * ones behind it.  Hoare's selection; none of the values is NaN.
 */
static void
select_rank(double *v, int n, int rank)
{
	int			low = 0;
	int			high = n - 1;

	while (low < high)
	{
		double		pivot = v[low + (high - low) / 2];
		int			i = low;
		int			j = high;

		CHECK_FOR_INTERRUPTS();
		while (i <= j)
		{
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i <= j)
				swap(&v[i++], &v[j--]);
		}
		if (rank <= j)
			high = j;
		else if (rank >= i)
			low = i;
		else
			return;
	}
}

/* The value of that rank, and the one of the next or the same if it is the last; NaN is less than all. */
static void
two_ranks(double *v, int n, int rank, double *at, double *next)
{
	int			nans = 0;

	for (int i = 0; i < n; i++)
		if (isnan(v[i]))
			swap(&v[i], &v[nans++]);
	v += nans;
	n -= nans;
	rank -= nans;
	if (rank >= 0)
	{
		select_rank(v, n, rank);
		*at = v[rank];
	}
	else
		*at = (double) NAN;
	if (rank + 1 < 0)
		*next = (double) NAN;
	else
	{
		*next = rank + 1 < n ? v[rank + 1] : *at;
		for (int i = rank + 2; i < n; i++)
			*next = Min(*next, v[i]);
	}
}

/* For 0 <= phi <= 1; changes the order of v. */
static double
quantile(double phi, double *v, int n)
{
	double		rank = phi * (n - 1);
	double		weight = rank - floor(rank);
	double		at;
	double		next;

	two_ranks(v, n, (int) floor(rank), &at, &next);
	return at * (1 - weight) + next * weight;
}

/* A copy of the window's values that may be changed. */
static double *
scratch_values(PromRange *w)
{
	if (w->scratch == NULL)
		w->scratch = palloc(sizeof(double) * w->n);
	memcpy(w->scratch, w->v + w->first, sizeof(double) * (w->end - w->first));
	return w->scratch;
}

bool
prom_range_quantile(PromRange *w, double *result)
{
	if (isnan(w->scalar))
		*result = (double) NAN;
	else if (w->scalar < 0)
		*result = -get_float8_infinity();
	else if (w->scalar > 1)
		*result = get_float8_infinity();
	else
		*result = quantile(w->scalar, scratch_values(w), w->end - w->first);
	return true;
}

/* The median of how far the values are from their median; NaN if any of them is. */
bool
prom_range_mad(PromRange *w, double *result)
{
	int			n = w->end - w->first;
	double	   *v = scratch_values(w);
	double		median;

	*result = (double) NAN;
	for (int i = 0; i < n; i++)
		if (isnan(v[i]))
			return true;
	median = quantile(0.5, v, n);
	for (int i = 0; i < n; i++)
		v[i] = fabs(v[i] - median);
	*result = quantile(0.5, v, n);
	return true;
}

/* ---- smoothing ---- */

/* A factor that is no number passes, as in Prometheus, and so does its result. */
static void
check_factor(const char *name, const char *symbol, double factor)
{
	if (factor <= 0 || factor >= 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid %s factor. Expected: 0 < %s < 1, got: %s", name, symbol,
						isinf(factor) ? (factor > 0 ? "+Inf" : "-Inf") : psprintf("%f", factor))));
}

/* Holt's linear method: the smoothed value and its trend, by the factors "scalar" and "second". */
bool
prom_range_double_exponential_smoothing(PromRange *w, double *result)
{
	double		before = 0;
	double		smooth = w->v[w->first];
	double		trend;

	check_factor("smoothing", "sf", w->scalar);
	check_factor("trend", "tf", w->second);
	if (w->end - w->first < 2)
		return false;
	trend = w->v[w->first + 1] - smooth;
	for (int i = w->first + 1; i < w->end; i++)
	{
		double		next;

		if (i > w->first + 1)
			trend = w->second * (smooth - before) + (1 - w->second) * trend;
		next = w->scalar * w->v[i] + (1 - w->scalar) * (smooth + trend);
		before = smooth;
		smooth = next;
	}
	*result = smooth;
	return true;
}

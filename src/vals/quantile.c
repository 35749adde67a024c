/*
 * quantile.c
 *	  quantile over series: the final function of prom._agg_quantile.
 *
 * At each step the present values are sorted, NaN first, and the one at rank phi * (n - 1) is taken,
 * between two ranks by their distance.  Beyond 0 .. 1 it is an infinity, for a NaN as phi NaN.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "common/compat.h"
#include "vals/rows.h"

PG_FUNCTION_INFO_V1(prom_agg_quantile_final);

static int
compare_values(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	CHECK_FOR_INTERRUPTS();
	if (isnan(x) || isnan(y))
		return isnan(y) - isnan(x);
	return (x > y) - (x < y);
}

/* v is sorted in place; n > 0. */
static double
get_quantile(double phi, double *v, int n)
{
	double		rank = phi * (n - 1);
	double		lower = floor(rank);
	double		weight = rank - lower;

	if (isnan(phi))
		return (double) NAN;
	if (phi < 0 || phi > 1)
		return phi < 0 ? -HUGE_VAL : HUGE_VAL;
	qsort(v, n, sizeof(double), compare_values);
	return v[(int) lower] * (1 - weight) + v[Min(n - 1, (int) lower + 1)] * weight;
}

Datum
prom_agg_quantile_final(PG_FUNCTION_ARGS)
{
	PromRows *s = PG_GETARG_PROM_ROWS_P(0);
	PromVals   *phi = prom_rows_param(s);
	PromRow  *rows = prom_rows_list(s);
	double	   *v = palloc_extended(sizeof(double) * Max(s->nrows, 1), MCXT_ALLOC_HUGE);
	PromVals   *out = prom_vals_new(s->nsteps);

	for (int i = 0; i < s->nsteps; i++)
	{
		int			n = 0;

		CHECK_FOR_INTERRUPTS();
		for (int k = 0; k < s->nrows; k++)
			if (prom_vals_has(rows[k].vals, i))
				v[n++] = rows[k].vals->v[i];
		if (n > 0 && prom_vals_has(phi, i))
			prom_vals_set(out, i, get_quantile(prom_vals_get(phi, i), v, n));
	}
	out->notes = s->notes;
	PROM_VALS_RETURN(out);
}

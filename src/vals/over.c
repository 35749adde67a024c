/*
 * over.c
 *	  Window functions over the values of an expression: what subqueries are made of.
 *
 * The present values of prom.vals, at the steps of the expression, are the samples of a series; the
 * windows over them are computed as the leaf aggregates do it (window_fn.c, window_stat.c).  Such samples
 * count as read by the query, too: a short step over a long range makes many of few.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "utils/builtins.h"

#include "chunk/chunk.h"
#include "store/store.h"
#include "vals/window.h"

PG_FUNCTION_INFO_V1(prom_over);
PG_FUNCTION_INFO_V1(prom_steps_chunk);

/* Steps may leave samples out, so what is known of one and the next is not known of steps. */
static const PromHistogram *
without_hint(const PromHistogram *h)
{
	PromHistogram *copy;

	if (h == NULL || h->hint == PROM_HINT_UNKNOWN || h->hint == PROM_HINT_GAUGE)
		return h;
	copy = prom_histogram_copy(palloc, h);
	copy->hint = PROM_HINT_UNKNOWN;
	return copy;
}

/*
 * The present values as samples; t_ms, v and h have room for them.  h is NULL if there are floats only.  Raises
 * if the steps make no sense.
 */
static void
read_samples(const PromVals *x, int64 start_ms, int64 step_ms, int64 *t_ms, double *v, const PromHistogram **h)
{
	PromSteps	steps = {start_ms, step_ms, x->nsteps};
	int64		from_ms;
	int64		to_ms;
	int			n = 0;

	prom_range_bounds(&steps, 0, &from_ms, &to_ms);
	if (step_ms == 0 || prom_vals_is_const(x))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("values of one time are no samples")));
	for (int i = 0; i < x->nsteps; i++)
	{
		if (!prom_vals_has(x, i))
			continue;
		t_ms[n] = start_ms + step_ms * i;
		v[n++] = x->v[i];
	}
	if (h == NULL)
		return;
	n = 0;
	for (int i = 0; i < x->nsteps; i++)
	{
		if (!prom_vals_has(x, i))
			continue;
		h[n] = without_hint(prom_vals_histogram(x, i));
		if (h[n])
			v[n] = (double) NAN;
		n++;
	}
}

/*
 * _over(function, vals, inner_start_ms, inner_step_ms, start_ms, step_ms, nsteps, range_ms
 * [, scalar, now_ms, now_step_ms [, second]])
 */
Datum
prom_over(PG_FUNCTION_ARGS)
{
	bool		has_scalar = PG_NARGS() > 8;
	PromRangeFn fn = prom_range_function(PG_GETARG_TEXT_PP(0), has_scalar ? PG_NARGS() - 10 : 0, false)->fn;
	PromVals   *x = PG_GETARG_PROM_VALS_P(1);
	PromSteps	steps = {PG_GETARG_INT64(4), PG_GETARG_INT64(5), PG_GETARG_INT32(6)};
	int64		range_ms = PG_GETARG_INT64(7);
	int64	   *t_ms = palloc(sizeof(int64) * x->nsteps);
	double	   *v = palloc(sizeof(double) * x->nsteps);
	const PromHistogram **h = prom_vals_is_mixed(x) ? palloc(sizeof(PromHistogram *) * x->nsteps) : NULL;
	PromRangeScalar scalar = {NULL};
	PromVals   *out;
	int64		from_ms;
	int64		to_ms;

	prom_range_bounds(&steps, range_ms, &from_ms, &to_ms);
	if (has_scalar)
		scalar = prom_range_scalar(fcinfo, 8, steps.n);
	read_samples(x, PG_GETARG_INT64(2), PG_GETARG_INT64(3), t_ms, v, h);
	prom_store_count_samples(x->npresent);
	if (h)
		out = prom_range_eval_mixed(x->npresent, t_ms, v, h, &steps, range_ms, fn, has_scalar ? &scalar : NULL, NULL, NULL);
	else
		out = prom_range_eval(x->npresent, t_ms, v, &steps, range_ms, fn, has_scalar ? &scalar : NULL, NULL, NULL);
	pfree(t_ms);
	pfree(v);
	if (out == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

/* _steps_chunk(vals, start_ms, step_ms) */
Datum
prom_steps_chunk(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_GETARG_PROM_VALS_P(0);
	int64	   *t_ms = palloc(sizeof(int64) * x->nsteps);
	double	   *v = palloc(sizeof(double) * x->nsteps);
	const PromHistogram **h = prom_vals_is_mixed(x) ? palloc(sizeof(PromHistogram *) * x->nsteps) : NULL;
	PromChunkBuilder *b;

	read_samples(x, PG_GETARG_INT64(1), PG_GETARG_INT64(2), t_ms, v, h);
	if (x->npresent == 0)
		PG_RETURN_NULL();
	b = prom_chunk_begin(PROM_CHUNK_PLAIN, 0);
	prom_chunk_add_mixed(b, 0, x->npresent, t_ms, v, h);
	PG_RETURN_POINTER(prom_chunk_finish(b));
}

/*
 * native.c
 *	  Functions of native histograms, step by step: prom._histogram_value, for which numbers have no result, and
 *	  what else is asked of them.
 */
#include "postgres.h"

#include <math.h>

#include "common/compat.h"
#include "vals/vals.h"

typedef struct NativeFunction
{
	const char *name;
	double		(*fn) (const PromHistogram *h);
} NativeFunction;

static double
count_of(const PromHistogram *h)
{
	return h->count;
}

static double
sum_of(const PromHistogram *h)
{
	return h->sum;
}

static double
avg_of(const PromHistogram *h)
{
	return h->sum / h->count;
}

static double
stdvar_of(const PromHistogram *h)
{
	return prom_histogram_stdvar(palloc, h);
}

static double
stddev_of(const PromHistogram *h)
{
	return sqrt(stdvar_of(h));
}

static const NativeFunction functions[] = {
	{"histogram_avg", avg_of},
	{"histogram_count", count_of},
	{"histogram_stddev", stddev_of},
	{"histogram_stdvar", stdvar_of},
	{"histogram_sum", sum_of},
};

PG_FUNCTION_INFO_V1(prom_histogram_value);
PG_FUNCTION_INFO_V1(prom_has_histograms);
PG_FUNCTION_INFO_V1(prom_read_hints);

static const NativeFunction *
find_function(const text *name)
{
	const char *s = VARDATA_ANY(name);
	size_t		len = VARSIZE_ANY_EXHDR(name);

	for (int i = 0; i < lengthof(functions); i++)
		if (strlen(functions[i].name) == len && memcmp(functions[i].name, s, len) == 0)
			return &functions[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown function of histograms: \"%.*s\"", (int) len, s)));
}

/* prom._histogram_value(fn, vals) */
Datum
prom_histogram_value(PG_FUNCTION_ARGS)
{
	const NativeFunction *f = find_function(PG_GETARG_TEXT_PP(0));
	PromVals   *x = PG_GETARG_PROM_VALS_P(1);
	PromVals   *out;

	if (!prom_vals_is_mixed(x))
		PG_RETURN_NULL();
	out = prom_vals_new(x->nsteps);
	for (int i = 0; i < x->nsteps; i++)
	{
		const PromHistogram *h = prom_vals_histogram(x, i);

		if (h)
			prom_vals_set(out, i, f->fn(h));
	}
	if (out->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

/* prom._has_histograms(vals) */
Datum
prom_has_histograms(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(prom_vals_is_mixed(PG_GETARG_PROM_VALS_P(0)));
}

/* prom._read_hints(vals): of samples as they were read */
Datum
prom_read_hints(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_GETARG_PROM_VALS_P(0);

	if (!prom_vals_is_mixed(x))
		PG_RETURN_POINTER(x);
	x = prom_vals_copy(x);
	for (int i = 0; i < x->nsteps; i++)
	{
		PromHistogram *h = unconstify(PromHistogram *, prom_vals_histogram(x, i));

		if (h && h->hint == PROM_HINT_UNKNOWN)
			h->hint = h->read_hint;
	}
	PG_RETURN_POINTER(x);
}

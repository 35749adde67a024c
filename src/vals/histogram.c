/*
 * histogram.c
 *	  Functions of histograms, as aggregates over the series of one: classic buckets, or a native one.
 *
 * A bucket is a series with the label le, its upper bound; its value counts all observations up to
 * there.  The state keeps the buckets sorted by bound, those with equal bounds added up, so the order
 * of rows does not matter.  Each step is computed over the buckets that are present at it.  A series
 * whose le is missing or not a number is passed over.  Native histograms are steps of any series; one that meets
 * classic buckets at a step has no result there, nor have they.  The buckets of one state count as samples of the
 * query, for their number has no other limit.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "common/compat.h"
#include "series/series.h"
#include "store/store.h"
#include "vals/annotate.h"
#include "vals/buckets.h"
#include "vals/vals.h"

typedef struct Bucket
{
	double		bound;
	PromVals   *counts;
} Bucket;

typedef struct HistogramState
{
	PromVals  **params;			/* of the function: quantiles, or two bounds */
	int			nparams;
	int			nsteps;
	PromVals   *native;			/* NULL while there is none */
	int			happened;		/* HAPPENED_... */
	Bucket	   *buckets;
	int			n;
	int			size;
	/* for annotations */
	text	   *place;
	char	   *subject;		/* ' for metric name "x"', or empty */
	int64		start_ms;
	int64		step_ms;
	PromFixed	fixed;
} HistogramState;

/* At some step: what there is to tell beside the result */
#define HAPPENED_MIX		0x01	/* classic and native */
#define HAPPENED_NAN		0x02	/* NaN was observed, and so is the quantile */
#define HAPPENED_SKEWED		0x04	/* NaN was observed, the quantile is of the rest */
#define HAPPENED_EXCLUDED	0x08	/* likewise a fraction */

PG_FUNCTION_INFO_V1(prom_histogram_add);
PG_FUNCTION_INFO_V1(prom_histogram_quantile_final);
PG_FUNCTION_INFO_V1(prom_histogram_quantiles_final);
PG_FUNCTION_INFO_V1(prom_histogram_fraction_final);

/* ---- gathering the buckets ---- */

/* A bound as Go reads a float: no blanks, no payload of a NaN, nothing beyond the range. */
static bool
parse_bound(const char *s, int len, double *bound)
{
	char		buf[64];
	char	   *end;

	if (len < 1 || len >= (int) sizeof(buf) || memchr(s, '\0', len) != NULL)
		return false;
	memcpy(buf, s, len);
	buf[len] = '\0';
	if (strchr("+-.0123456789iI", buf[0]) == NULL)
		return false;
	/* in hexadecimal Go wants the exponent */
	if (strpbrk(buf, "xX") != NULL && strpbrk(buf, "pP") == NULL)
		return false;
	errno = 0;
	*bound = strtod(buf, &end);
	if (*end != '\0' || isnan(*bound))
		return false;
	return errno != ERANGE || fabs(*bound) <= 1;
}

static void
add_counts(PromVals *sum, const PromVals *x)
{
	for (int i = 0; i < x->nsteps; i++)
		if (prom_vals_has(x, i))
			prom_vals_set(sum, i, prom_vals_has(sum, i) ? sum->v[i] + x->v[i] : x->v[i]);
}

static void
add_bucket(HistogramState *s, double bound, const PromVals *counts)
{
	int			at = s->n;

	while (at > 0 && s->buckets[at - 1].bound > bound)
		at--;
	if (at > 0 && s->buckets[at - 1].bound == bound)
	{
		add_counts(s->buckets[at - 1].counts, counts);
		return;
	}
	if (s->n == s->size)
	{
		s->size *= 2;
		s->buckets = repalloc(s->buckets, sizeof(Bucket) * s->size);
	}
	memmove(&s->buckets[at + 1], &s->buckets[at], sizeof(Bucket) * (s->n - at));
	prom_store_count_samples(counts->nsteps);
	s->buckets[at].bound = bound;
	s->buckets[at].counts = prom_vals_copy(counts);
	s->n++;
}

/* What a text about a histogram says of its name, which is gone already unless dropping it is delayed. */
static char *
name_subject(const PromLabels *labels, bool has_name)
{
	const char *name;
	int			len;

	if (!has_name || !prom_labels_get(labels, "__name__", 8, &name, &len))
		return pstrdup("");
	return psprintf(" for metric name \"%.*s\"", len, name);
}

/* The parameters are an array in the first of the arguments from "arg" on, or these themselves. */
static HistogramState *
new_histogram(FunctionCallInfo fcinfo, int arg, int nsteps)
{
	HistogramState *s = palloc0(sizeof(HistogramState));

	if (type_is_array(get_fn_expr_argtype(fcinfo->flinfo, arg)))
	{
		ArrayIterator next = array_create_iterator(PG_GETARG_ARRAYTYPE_P(arg), 0, NULL);
		Datum		param;
		bool		isnull;

		s->params = palloc(sizeof(PromVals *) * ArrayGetNItems(ARR_NDIM(PG_GETARG_ARRAYTYPE_P(arg)),
															   ARR_DIMS(PG_GETARG_ARRAYTYPE_P(arg))));
		while (array_iterate(next, &param, &isnull))
			if (!isnull)
				s->params[s->nparams++] = prom_vals_copy(DatumGetPromValsP(param));
	}
	else
	{
		s->params = palloc(sizeof(PromVals *) * (PG_NARGS() - arg));
		for (int i = arg; i < PG_NARGS(); i++)
			s->params[s->nparams++] = prom_vals_copy(PG_GETARG_PROM_VALS_P(i));
	}
	s->nsteps = nsteps;
	s->size = 16;
	s->buckets = palloc(sizeof(Bucket) * s->size);
	s->place = PG_GETARG_TEXT_P_COPY(3);
	s->subject = name_subject(PG_GETARG_PROM_LABELS_P(1), PG_GETARG_BOOL(4));
	s->start_ms = PG_GETARG_INT64(5);
	s->step_ms = PG_GETARG_INT64(6);
	return s;
}

static void
add_native(HistogramState *s, const PromVals *x)
{
	PromVals   *native = prom_vals_histograms(x);

	prom_store_count_samples(native->npresent);
	s->native = s->native ? prom_vals_union(s->native, native) : native;
}

static void
warn_of_bound(const PromLabels *labels, const char *le, int le_len, const text *place, bool has_name)
{
	StringInfoData value;

	initStringInfo(&value);
	prom_label_quote(&value, le, le_len);
	prom_annotate(PROM_WARNING, place, "bucket label \"le\" is missing or has a malformed value of %s%s", value.data,
				  name_subject(labels, has_name));
}

/*
 * prom._histogram_quantile(labels, v, place, has_name, start_ms, step_ms, phi); _histogram_quantiles ends with
 * an array of them, _histogram_fraction with the lower and the upper bound.
 */
Datum
prom_histogram_add(PG_FUNCTION_ARGS)
{
	HistogramState *s = PG_ARGISNULL(0) ? NULL : (HistogramState *) PG_GETARG_POINTER(0);
	bool		complete = true;
	MemoryContext cxt;

	if (!AggCheckCallContext(fcinfo, &cxt))
		elog(ERROR, "aggregate's function called outside of an aggregate");
	for (int i = 1; i < PG_NARGS(); i++)
		complete = complete && !PG_ARGISNULL(i);
	if (complete)
	{
		PromLabels *labels = PG_GETARG_PROM_LABELS_P(1);
		PromVals   *x = PG_GETARG_PROM_VALS_P(2);
		PromVals   *counts = prom_vals_floats(x);
		MemoryContext old = MemoryContextSwitchTo(cxt);
		const char *le = "";
		int			le_len = 0;
		double		bound;

		if (s == NULL)
			s = new_histogram(fcinfo, 7, x->nsteps);
		if (x->nsteps != s->nsteps)
			elog(ERROR, "histograms have %d and %d steps", s->nsteps, x->nsteps);
		if (prom_vals_is_mixed(x))
			add_native(s, x);
		if (counts->npresent > 0 && prom_labels_get(labels, "le", 2, &le, &le_len) &&
			parse_bound(le, le_len, &bound))
			add_bucket(s, bound, counts);
		else if (counts->npresent > 0)
			warn_of_bound(labels, le, le_len, s->place, PG_GETARG_BOOL(4));
		MemoryContextSwitchTo(old);
	}
	if (s == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(s);
}

/* ---- results ---- */

static int
count_steps(const HistogramState *s)
{
	int			nsteps = s->nsteps;

	for (int i = 0; i < s->nparams; i++)
		if (!prom_vals_is_const(s->params[i]) && s->params[i]->nsteps != nsteps)
			elog(ERROR, "histograms have %d steps, a parameter has %d", nsteps, s->params[i]->nsteps);
	return nsteps;
}

/* The buckets that are present at a step; returns how many. */
static int
step_buckets(const HistogramState *s, int step, PromBucket *p)
{
	int			n = 0;

	CHECK_FOR_INTERRUPTS();
	for (int k = 0; k < s->n; k++)
	{
		if (!prom_vals_has(s->buckets[k].counts, step))
			continue;
		p[n].bound = s->buckets[k].bound;
		p[n++].count = s->buckets[k].counts->v[step];
	}
	return n;
}

/* What there is at a step: a native histogram, or n > 0 classic buckets.  False if it is nothing, or both. */
static bool
step_histogram(HistogramState *s, int step, PromBucket *p, int *n, const PromHistogram **native)
{
	*n = step_buckets(s, step, p);
	*native = s->native ? prom_vals_histogram(s->native, step) : NULL;
	if (*n > 0 && *native)
		s->happened |= HAPPENED_MIX;
	return (*n > 0) != (*native != NULL);
}

/* One quantile of a step; a step whose counts were fixed counts once. */
static double
classic_quantile(HistogramState *s, int step, double phi, PromBucket *p, int n)
{
	PromFixed	fixed = {0};
	double		result = prom_buckets_quantile(phi, p, n, &fixed);

	if (fixed.count > 0)
	{
		fixed.count = 1;
		fixed.first_ms = fixed.last_ms = s->start_ms + s->step_ms * step;
		prom_annotate_merge(&s->fixed, &fixed);
	}
	return result;
}

static double
step_quantile(HistogramState *s, int step, double phi, PromBucket *p, int n, const PromHistogram *native)
{
	double		result;
	int			notes;

	if (native == NULL)
		return classic_quantile(s, step, phi, p, n);
	result = prom_histogram_quantile(palloc, phi, native, &notes);
	s->happened |= (notes & PROM_HISTOGRAM_NAN ? HAPPENED_NAN : 0) | (notes & PROM_HISTOGRAM_SKEWED ? HAPPENED_SKEWED : 0);
	return result;
}

static double
step_fraction(HistogramState *s, double lower, double upper, PromBucket *p, int n, const PromHistogram *native)
{
	double		result;
	int			notes;

	if (native == NULL)
		return prom_buckets_fraction(lower, upper, p, n);
	result = prom_histogram_fraction(palloc, lower, upper, native, &notes);
	s->happened |= notes != 0 ? HAPPENED_EXCLUDED : 0;
	return result;
}

/* Tells what happened at any step. */
static void
tell(const HistogramState *s)
{
	if (s->happened & HAPPENED_MIX)
		prom_annotate(PROM_WARNING, s->place, "vector contains a mix of classic and native histograms%s", s->subject);
	if (s->happened & HAPPENED_NAN)
		prom_annotate(PROM_INFO, s->place, "input to histogram_quantile has NaN observations, result is NaN%s", s->subject);
	if (s->happened & HAPPENED_SKEWED)
		prom_annotate(PROM_INFO, s->place, "input to histogram_quantile has NaN observations, result is skewed higher%s",
					  s->subject);
	if (s->happened & HAPPENED_EXCLUDED)
		prom_annotate(PROM_INFO, s->place, "input to histogram_fraction has NaN observations, which are excluded from all fractions%s",
					  s->subject);
	if (s->fixed.count > 0)
		prom_annotate_fixed(s->place, &s->fixed, "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)%s",
							s->subject);
}

Datum
prom_histogram_quantile_final(PG_FUNCTION_ARGS)
{
	HistogramState *s = (HistogramState *) PG_GETARG_POINTER(0);
	int			nsteps = count_steps(s);
	PromVals   *out = prom_vals_new(nsteps);
	PromBucket *p = palloc(sizeof(PromBucket) * Max(s->n, 1));

	for (int i = 0; i < nsteps; i++)
	{
		const PromHistogram *native;
		int			n;

		if (step_histogram(s, i, p, &n, &native) && prom_vals_has(s->params[0], i))
			prom_vals_set(out, i, step_quantile(s, i, prom_vals_get(s->params[0], i), p, n, native));
	}
	tell(s);
	if (out->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

Datum
prom_histogram_fraction_final(PG_FUNCTION_ARGS)
{
	HistogramState *s = (HistogramState *) PG_GETARG_POINTER(0);
	int			nsteps = count_steps(s);
	PromVals   *out = prom_vals_new(nsteps);
	PromBucket *p = palloc(sizeof(PromBucket) * Max(s->n, 1));

	for (int i = 0; i < nsteps; i++)
	{
		const PromHistogram *native;
		int			n;

		if (step_histogram(s, i, p, &n, &native) && prom_vals_has(s->params[0], i) && prom_vals_has(s->params[1], i))
			prom_vals_set(out, i, step_fraction(s, prom_vals_get(s->params[0], i), prom_vals_get(s->params[1], i), p, n,
												native));
	}
	tell(s);
	if (out->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

/* ---- several quantiles ---- */

typedef struct QuantileRow
{
	double		phi;
	PromVals   *vals;
} QuantileRow;

/*
 * As OpenMetrics writes a float: the shortest digits, with an exponent below 1e-4 and from 1e6 on, and
 * else with a point in it.
 */
static char *
quantile_text(double phi)
{
	char	   *scientific = NULL;
	char	   *plain;
	int			exponent;
	int			precision;

	if (isnan(phi))
		return pstrdup("NaN");
	if (isinf(phi))
		return pstrdup(phi > 0 ? "+Inf" : "-Inf");
	if (phi == 0)
		return pstrdup("0.0");
	/* the fewest digits that give the number back */
	for (precision = 0; precision < 17; precision++)
	{
		scientific = psprintf("%.*e", precision, phi);
		if (strtod(scientific, NULL) == phi)
			break;
	}
	exponent = atoi(strchr(scientific, 'e') + 1);
	if (exponent < -4 || exponent >= 6)
		return scientific;
	plain = psprintf("%.*f", Max(precision - exponent, 0), phi);
	return strchr(plain, '.') ? plain : psprintf("%s.0", plain);
}

/* The row of a quantile among those from "first" on, made if it is not there. */
static PromVals *
quantile_row(QuantileRow **rows, int *n, int *size, int first, double phi, int nsteps)
{
	for (int k = *n - 1; k >= first; k--)
		if ((*rows)[k].phi == phi || (isnan((*rows)[k].phi) && isnan(phi)))
			return (*rows)[k].vals;
	if (*n >= (int) (MaxAllocSize / PROM_VALS_SIZE(nsteps)))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("histogram_quantiles has too many different quantiles"),
				 errdetail("More than %d were found over %d steps.", *n, nsteps),
				 errhint("Ask for fewer steps, or for quantiles that stay the same.")));
	if (*n == *size)
	{
		*size *= 2;
		*rows = repalloc(*rows, sizeof(QuantileRow) * *size);
	}
	(*rows)[*n].phi = phi;
	(*rows)[*n].vals = prom_vals_new(nsteps);
	return (*rows)[(*n)++].vals;
}

/* The rows as prom._value_count[]: the text of the quantile, and its values. */
static Datum
quantile_array(FunctionCallInfo fcinfo, const QuantileRow *rows, int n)
{
	Oid			type = get_element_type(get_fn_expr_rettype(fcinfo->flinfo));
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	Datum	   *elements = palloc(sizeof(Datum) * n);

	for (int k = 0; k < n; k++)
	{
		Datum		values[2] = {CStringGetTextDatum(quantile_text(rows[k].phi)), PointerGetDatum(rows[k].vals)};
		bool		nulls[2] = {false, false};

		elements[k] = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	}
	ReleaseTupleDesc(desc);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, n, type, -1, false, TYPALIGN_DOUBLE));
}

/* One row for each value that a quantile takes; two quantiles never share one. */
Datum
prom_histogram_quantiles_final(PG_FUNCTION_ARGS)
{
	HistogramState *s = (HistogramState *) PG_GETARG_POINTER(0);
	int			nsteps = count_steps(s);
	PromBucket *p = palloc(sizeof(PromBucket) * Max(s->n, 1));
	int			size = Max(s->nparams, 1);
	QuantileRow *rows = palloc(sizeof(QuantileRow) * size);
	int			n = 0;

	for (int k = 0; k < s->nparams; k++)
	{
		int			first = n;

		for (int i = 0; i < nsteps; i++)
		{
			const PromHistogram *native;
			int			nbuckets;
			double		phi;

			if (!step_histogram(s, i, p, &nbuckets, &native) || !prom_vals_has(s->params[k], i))
				continue;
			phi = prom_vals_get(s->params[k], i);
			prom_vals_set(quantile_row(&rows, &n, &size, first, phi, nsteps), i,
						  step_quantile(s, i, phi, p, nbuckets, native));
		}
	}
	tell(s);
	if (n == 0)
		PG_RETURN_NULL();
	return quantile_array(fcinfo, rows, n);
}

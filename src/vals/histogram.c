/*
 * histogram.c
 *	  histogram_quantile over classic histograms, as an aggregate over the buckets of one histogram.
 *
 * A bucket is a series with the label le, its upper bound; its value counts all observations up to
 * there.  The state keeps the buckets sorted by bound, those with equal bounds added up, so the order
 * of rows does not matter.  Each step is computed over the buckets that are present at it.  A series
 * whose le is missing or not a number is passed over with a warning; that counts had to be made monotonic
 * is an info.  The buckets of one state count as samples of the query, for their number has no other limit.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"

#include "common/compat.h"
#include "vals/annotate.h"
#include "series/series.h"
#include "store/store.h"

typedef struct Bucket
{
	double		bound;
	PromVals   *counts;
} Bucket;

typedef struct HistogramState
{
	PromVals   *phi;
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

/* One step's buckets. */
typedef struct Point
{
	double		bound;
	double		count;
} Point;

/* Counts whose relative difference is below this are equal: rounding of rates and sums. */
#define SMALL_DELTA 1e-12

PG_FUNCTION_INFO_V1(prom_histogram_quantile_add);
PG_FUNCTION_INFO_V1(prom_histogram_quantile_final);

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

	if (s->n > 0 && s->buckets[0].counts->nsteps != counts->nsteps)
		elog(ERROR, "buckets have %d and %d steps", s->buckets[0].counts->nsteps, counts->nsteps);
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

static HistogramState *
new_histogram(FunctionCallInfo fcinfo)
{
	HistogramState *s = palloc0(sizeof(HistogramState));

	s->phi = prom_vals_copy(PG_GETARG_PROM_VALS_P(3));
	s->size = 16;
	s->buckets = palloc(sizeof(Bucket) * s->size);
	s->place = PG_GETARG_TEXT_P_COPY(4);
	s->subject = name_subject(PG_GETARG_PROM_LABELS_P(1), PG_GETARG_BOOL(5));
	s->start_ms = PG_GETARG_INT64(6);
	s->step_ms = PG_GETARG_INT64(7);
	return s;
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

/* prom._histogram_quantile(labels, v, phi, place, has_name, start_ms, step_ms) */
Datum
prom_histogram_quantile_add(PG_FUNCTION_ARGS)
{
	HistogramState *s = PG_ARGISNULL(0) ? NULL : (HistogramState *) PG_GETARG_POINTER(0);
	MemoryContext cxt;
	bool		complete = true;

	if (!AggCheckCallContext(fcinfo, &cxt))
		elog(ERROR, "aggregate's function called outside of an aggregate");
	for (int i = 1; i < PG_NARGS(); i++)
		complete &= !PG_ARGISNULL(i);
	if (complete)
	{
		PromLabels *labels = PG_GETARG_PROM_LABELS_P(1);
		PromVals   *counts = PG_GETARG_PROM_VALS_P(2);
		const char *le = "";
		int			le_len = 0;
		double		bound;

		if (prom_labels_get(labels, "le", 2, &le, &le_len) && parse_bound(le, le_len, &bound))
		{
			MemoryContext old = MemoryContextSwitchTo(cxt);

			if (s == NULL)
				s = new_histogram(fcinfo);
			add_bucket(s, bound, counts);
			MemoryContextSwitchTo(old);
		}
		else
			warn_of_bound(labels, le, le_len, PG_GETARG_TEXT_PP(4), PG_GETARG_BOOL(5));
	}
	if (s == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(s);
}

/* ---- the quantile ---- */

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
note_fixed(PromFixed *fixed, const Point *p, double before)
{
	if (fixed->count++ == 0)
		fixed->low = fixed->high = p->bound;
	fixed->low = Min(fixed->low, p->bound);
	fixed->high = Max(fixed->high, p->bound);
	fixed->max_diff = Max(fixed->max_diff, before - p->count);
}

/* Counts never fall from one bound to the next: what does is lifted to the count before it, and noted. */
static void
make_monotonic(Point *p, int n, PromFixed *fixed)
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
find_bucket(const Point *p, int n, double rank)
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

static double
quantile(double phi, Point *p, int n, PromFixed *fixed)
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

/* One step's quantile; a step whose counts were fixed counts once. */
static double
step_quantile(HistogramState *s, int step, Point *points, int n)
{
	PromFixed	fixed = {0};
	double		result = quantile(prom_vals_get(s->phi, step), points, n, &fixed);

	if (fixed.count > 0)
	{
		fixed.count = 1;
		fixed.first_ms = fixed.last_ms = s->start_ms + s->step_ms * step;
		prom_annotate_merge(&s->fixed, &fixed);
	}
	return result;
}

Datum
prom_histogram_quantile_final(PG_FUNCTION_ARGS)
{
	HistogramState *s = (HistogramState *) PG_GETARG_POINTER(0);
	int			nsteps = s->buckets[0].counts->nsteps;
	PromVals   *out = prom_vals_new(nsteps);
	Point	   *points = palloc(sizeof(Point) * s->n);

	if (!prom_vals_is_const(s->phi) && s->phi->nsteps != nsteps)
		elog(ERROR, "buckets have %d steps, the quantile has %d", nsteps, s->phi->nsteps);
	for (int i = 0; i < nsteps; i++)
	{
		int			n = 0;

		CHECK_FOR_INTERRUPTS();
		for (int k = 0; k < s->n; k++)
		{
			if (!prom_vals_has(s->buckets[k].counts, i))
				continue;
			points[n].bound = s->buckets[k].bound;
			points[n++].count = s->buckets[k].counts->v[i];
		}
		if (n > 0 && prom_vals_has(s->phi, i))
			prom_vals_set(out, i, step_quantile(s, i, points, n));
	}
	if (s->fixed.count > 0)
		prom_annotate_fixed(s->place, &s->fixed, "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)%s",
							s->subject);
	if (out->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

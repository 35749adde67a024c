/*
 * topk.c
 *	  topk, bottomk and limitk: which series of a group are the k first at each step.
 *
 * NaN comes behind every number.  Of equal values those with the lesser label set come first, so the
 * choice does not depend on the order of rows.  For limitk, which asks for any k, it is the hash of the
 * label set that decides, so that the same series are chosen each time.  A series keeps its labels, and
 * its values at the steps at which it is chosen.
 */
#include "postgres.h"

#include <math.h>

#include "lib/binaryheap.h"
#include "miscadmin.h"

#include "common/compat.h"
#include "vals/labeled.h"
#include "vals/rows.h"

PG_FUNCTION_INFO_V1(prom_topk_limit);
PG_FUNCTION_INFO_V1(prom_agg_topk_final);

/* One step, for the comparisons. */
typedef struct TopkStep
{
	const PromRow *rows;
	int			step;
	int			kind;
} TopkStep;

static int
compare_hashes(const PromLabels *a, const PromLabels *b)
{
	uint64		x = prom_labels_hash(a);
	uint64		y = prom_labels_hash(b);

	return x != y ? (x > y ? 1 : -1) : prom_labels_cmp(a, b);
}

/* Negative if row a comes before row b. */
static int
compare_at(const TopkStep *at, int a, int b)
{
	double		x = at->rows[a].vals->v[at->step];
	double		y = at->rows[b].vals->v[at->step];

	CHECK_FOR_INTERRUPTS();
	if (at->kind == PROM_ROWS_LIMITK)
		return compare_hashes(at->rows[a].labels, at->rows[b].labels);
	if (isnan(x) != isnan(y))
		return isnan(x) ? 1 : -1;
	if (x != y && !isnan(x))
		return (x > y) != (at->kind == PROM_ROWS_BOTTOMK) ? -1 : 1;
	return prom_labels_cmp(at->rows[a].labels, at->rows[b].labels);
}

/* For a heap with the last one on top. */
static int
compare_in_heap(Datum a, Datum b, void *arg)
{
	return compare_at(arg, DatumGetInt32(a), DatumGetInt32(b));
}

/* Takes this step from all rows that are not among the first k at it. */
static void
keep_first(const PromRow *rows, int nrows, int step, int k, int kind)
{
	TopkStep	at = {rows, step, kind};
	binaryheap *heap = binaryheap_allocate(k, compare_in_heap, &at);
	int			n = 0;

	for (int i = 0; i < nrows; i++)
	{
		PromVals   *vals = rows[i].vals;
		int			loser = i;

		if (!prom_vals_has(vals, step))
			continue;
		if (n < k)
		{
			binaryheap_add(heap, Int32GetDatum(i));
			n++;
			continue;
		}
		if (k > 0 && compare_at(&at, i, DatumGetInt32(binaryheap_first(heap))) < 0)
		{
			loser = DatumGetInt32(binaryheap_first(heap));
			binaryheap_replace_first(heap, Int32GetDatum(i));
		}
		prom_vals_clear(rows[loser].vals, step);
	}
	binaryheap_free(heap);
}

static int
get_k(const PromVals *k, int step, int nrows)
{
	double		value = prom_vals_has(k, step) ? trunc(prom_vals_get(k, step)) : 0;

	return value >= nrows ? nrows : value >= 1 ? (int) value : 0;
}

/* Leaves the chosen values. */
static void
choose(PromRows *s, const PromRow *rows)
{
	PromVals   *k = prom_rows_param(s);

	for (int i = 0; i < s->nsteps; i++)
	{
		int			n = get_k(k, i, s->nrows);

		CHECK_FOR_INTERRUPTS();
		if (n < s->nrows)
			keep_first(rows, s->nrows, i, n, s->kind);
	}
}

void
prom_topk_prune(PromRows *s)
{
	PromRow  *rows = prom_rows_list(s);
	char	   *end = s->data + MAXALIGN(VARSIZE(prom_rows_param(s)));
	int			nrows = 0;

	choose(s, rows);
	for (int i = 0; i < s->nrows; i++)
	{
		/* labels and values of a row are beside each other */
		char	   *row = (char *) rows[i].labels;
		size_t		size = (char *) rows[i].vals + MAXALIGN(VARSIZE(rows[i].vals)) - row;

		CHECK_FOR_INTERRUPTS();
		if (rows[i].vals->npresent == 0)
			continue;
		memmove(end, row, size);
		end += size;
		nrows++;
	}
	s->nrows = nrows;
	s->used = end - s->data;
	pfree(rows);
}

static int
compare_rows(const void *a, const void *b, void *arg)
{
	return compare_at(arg, *(const int *) a, *(const int *) b);
}

/*
 * The state, to be changed.  The aggregates say that their final function does so (FINALFUNC_MODIFY); called with a
 * state from elsewhere it must not.
 */
static PromRows *
own_rows(FunctionCallInfo fcinfo)
{
	return AggCheckCallContext(fcinfo, NULL) ? PG_GETARG_PROM_ROWS_P(0) :
		(PromRows *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0));
}

/* Notes have a row of their own, as there may be no other. */
static void
add_notes(PromLabeledList *list, const PromRows *s)
{
	char	   *reason;
	PromVals   *none = prom_vals_new(s->nsteps);

	none->notes = s->notes;
	prom_labeled_add(list, prom_labels_build(NULL, 0, &reason), none);
}

/* The chosen series as prom.labeled_vals[]; in order if there is but one step. */
Datum
prom_agg_topk_final(PG_FUNCTION_ARGS)
{
	PromRows *s = own_rows(fcinfo);
	PromRow  *rows;
	int		   *order;
	PromLabeledList list = {NULL, 0, 0};

	prom_topk_prune(s);
	rows = prom_rows_list(s);
	order = palloc_extended(sizeof(int) * Max(s->nrows, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < s->nrows; i++)
		order[i] = i;
	if (s->nsteps == 1)
		qsort_arg(order, s->nrows, sizeof(int), compare_rows,
				  &(TopkStep) {rows, 0, s->kind});
	for (int i = 0; i < s->nrows; i++)
	{
		rows[order[i]].vals->notes = 0;
		prom_labeled_refer(&list, rows[order[i]].labels, rows[order[i]].vals);
	}
	if (s->notes != 0)
		add_notes(&list, s);
	return prom_labeled_array(fcinfo, &list);
}

/* ---- the parameter ---- */

/* Go's text of a number in an error. */
static const char *
print_k(double k)
{
	return isinf(k) ? (k > 0 ? "+Inf" : "-Inf") : psprintf("%g", k);
}

/* prom._topk_limit(k): k; an error if it cannot be one; NULL if it never lets anything through. */
Datum
prom_topk_limit(PG_FUNCTION_ARGS)
{
	PromVals   *k = PG_GETARG_PROM_VALS_P(0);
	bool		chooses = false;

	for (int i = 0; i < k->nsteps; i++)
		chooses |= isnan(k->v[i]) || k->v[i] >= 1;
	for (int i = 0; i < k->nsteps; i++)
	{
		double		value = k->v[i];

		if (isnan(value))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("Parameter value is NaN")));
		if (!chooses)
			continue;
		if (value >= 9223372036854775808.0 || value <= -9223372036854775808.0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 value > 0 ? errmsg("Scalar value %s overflows int64", print_k(value)) :
					 errmsg("Scalar value %s underflows int64", print_k(value))));
	}
	if (!chooses)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(k);
}

/*
 * one_side.c
 *	  The side of a vector matching that may have one series per signature only: its rows merged.
 *
 * Aggregates over the rows of one signature share this state: prom._one_side is the values of all,
 * prom._one_side_rows the rows, for labels that group_left copies, and prom._duplicate says at which
 * steps two rows meet, NULL if at none.  That is an error only where the other side has any series at
 * all, so the rows of that one are shown what was found (prom._alone).
 */
#include "postgres.h"

#include "executor/executor.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/typcache.h"

#include "common/compat.h"
#include "vals/labeled.h"

PG_FUNCTION_INFO_V1(prom_one_side_add);
PG_FUNCTION_INFO_V1(prom_one_side_final);
PG_FUNCTION_INFO_V1(prom_one_side_rows_final);
PG_FUNCTION_INFO_V1(prom_duplicate_final);
PG_FUNCTION_INFO_V1(prom_alone);

typedef struct OneSide
{
	PromVals   *merged;			/* of two rows at one step, the value of the first */
	PromLabels **labels;		/* of the rows */
	int			nrows;
	int			size;
	int		   *owner;			/* row that gave each step its value; NULL while there is one row */
	PromVals   *twice;			/* steps with two rows; NULL while there is none */
	PromLabels *sig;
	PromLabels *one;			/* two rows that meet */
	PromLabels *other;
} OneSide;

static OneSide *
new_one_side(const PromLabels *labels, const PromVals *v)
{
	OneSide    *s = palloc0(sizeof(OneSide));

	s->merged = prom_vals_copy(v);
	s->size = 4;
	s->labels = palloc(sizeof(PromLabels *) * s->size);
	s->labels[s->nrows++] = prom_labeled_labels(labels);
	return s;
}

static void
note_duplicate(OneSide *s, const PromLabels *sig, PromLabels *one, PromLabels *other, int step)
{
	if (s->twice == NULL)
	{
		s->twice = prom_vals_new(s->merged->nsteps);
		s->sig = prom_labeled_labels(sig);
		s->one = one;
		s->other = other;
	}
	prom_vals_set(s->twice, step, 1);
}

static void
add_row(OneSide *s, const PromLabels *sig, const PromLabels *labels, const PromVals *v)
{
	prom_vals_check_equal(v->nsteps, s->merged->nsteps);
	if (s->owner == NULL)
		s->owner = palloc0(sizeof(int) * v->nsteps);
	if (s->nrows == s->size)
	{
		s->size *= 2;
		s->labels = repalloc(s->labels, sizeof(PromLabels *) * s->size);
	}
	s->labels[s->nrows] = prom_labeled_labels(labels);
	for (int i = 0; i < v->nsteps; i++)
	{
		if (!prom_vals_has(v, i))
			continue;
		if (prom_vals_has(s->merged, i))
		{
			note_duplicate(s, sig, s->labels[s->owner[i]], s->labels[s->nrows], i);
			continue;
		}
		s->owner[i] = s->nrows;
	}
	s->merged = prom_vals_union(s->merged, v);
	s->nrows++;
}

/* (state, sig, labels, v) */
Datum
prom_one_side_add(PG_FUNCTION_ARGS)
{
	MemoryContext cxt = prom_aggregate_context(fcinfo);
	OneSide    *s = PG_ARGISNULL(0) ? NULL : (OneSide *) PG_GETARG_POINTER(0);

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		elog(ERROR, "row of a vector without labels");
	if (!PG_ARGISNULL(3))
	{
		PromLabels *sig = PG_GETARG_PROM_LABELS_P(1);
		PromLabels *labels = PG_GETARG_PROM_LABELS_P(2);
		PromVals   *v = PG_GETARG_PROM_VALS_P(3);
		MemoryContext old = MemoryContextSwitchTo(cxt);

		if (s == NULL)
			s = new_one_side(labels, v);
		else
			add_row(s, sig, labels, v);
		MemoryContextSwitchTo(old);
	}
	if (s == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(s);
}

Datum
prom_one_side_final(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(prom_vals_copy(((OneSide *) PG_GETARG_POINTER(0))->merged));
}

/* The rows as prom.labeled_vals[]. */
Datum
prom_one_side_rows_final(PG_FUNCTION_ARGS)
{
	OneSide    *s = (OneSide *) PG_GETARG_POINTER(0);
	PromLabeledList list = {NULL, 0, 0};

	if (s->owner == NULL)
		prom_labeled_add(&list, s->labels[0], s->merged);
	else
	{
		PromMixed  *rows = palloc0(sizeof(PromMixed) * s->nrows);

		for (int i = 0; i < s->merged->nsteps; i++)
		{
			PromMixed  *row = &rows[s->owner[i]];

			if (!prom_vals_has(s->merged, i))
				continue;
			if (row->vals == NULL)
				*row = prom_mixed_new(s->merged->nsteps);
			prom_mixed_copy(row, i, s->merged);
		}
		for (int k = 0; k < s->nrows; k++)
			if (rows[k].vals != NULL)
				prom_labeled_add(&list, s->labels[k], prom_mixed_finish(&rows[k]));
	}
	return prom_labeled_array(fcinfo, &list);
}

/* What was found as prom._duplicate_series. */
Datum
prom_duplicate_final(PG_FUNCTION_ARGS)
{
	OneSide    *s = (OneSide *) PG_GETARG_POINTER(0);
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};

	if (s->twice == NULL)
		PG_RETURN_NULL();
	desc = lookup_rowtype_tupdesc(get_fn_expr_rettype(fcinfo->flinfo), -1);
	values[0] = PointerGetDatum(s->sig);
	values[1] = PointerGetDatum(s->one);
	values[2] = PointerGetDatum(s->other);
	values[3] = PointerGetDatum(s->twice);
	values[0] = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	ReleaseTupleDesc(desc);
	return values[0];
}

/* ---- the other side looks at it ---- */

static char *
print_labels(Datum labels)
{
	StringInfoData out;

	initStringInfo(&out);
	prom_labels_print(&out, DatumGetPromLabelsP(labels));
	return out.data;
}

static void
raise_duplicate(HeapTupleHeader duplicate, const char *side)
{
	bool		isnull;
	char	   *first = print_labels(GetAttributeByNum(duplicate, 2, &isnull));
	char	   *second = print_labels(GetAttributeByNum(duplicate, 3, &isnull));
	bool		swap = strcmp(first, second) > 0;

	ereport(ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg("found duplicate series for the match group %s on the %s hand-side of the operation: "
					"[%s, %s];many-to-many matching not allowed: matching labels must be unique on one side",
					print_labels(GetAttributeByNum(duplicate, 1, &isnull)), side,
					swap ? second : first, swap ? first : second)));
}

static bool
share_step(const PromVals *a, const PromVals *b)
{
	int			nsteps = prom_binary_steps(a, b);

	for (int i = 0; i < nsteps; i++)
		if (prom_vals_has(a, i) && prom_vals_has(b, i))
			return true;
	return false;
}

/* prom._alone(v, duplicates, side): true, or an error if v is at a step of a duplicate. */
Datum
prom_alone(PG_FUNCTION_ARGS)
{
	ArrayType  *array;
	ArrayIterator next;
	Datum		element;
	bool		isnull;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_BOOL(true);
	array = PG_GETARG_ARRAYTYPE_P(1);
	next = array_create_iterator(array, 0, NULL);
	while (array_iterate(next, &element, &isnull))
	{
		HeapTupleHeader duplicate = isnull ? NULL : DatumGetHeapTupleHeader(element);
		Datum		steps;

		if (duplicate == NULL)
			continue;
		steps = GetAttributeByNum(duplicate, 4, &isnull);
		if (!isnull && share_step(PG_GETARG_PROM_VALS_P(0), DatumGetPromValsP(steps)))
			raise_duplicate(duplicate, text_to_cstring(PG_GETARG_TEXT_PP(2)));
	}
	PG_RETURN_BOOL(true);
}

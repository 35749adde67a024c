/*
 * labeled.c
 *	  Lists of series that an aggregate gathers and gives back as an array.
 *
 * An aggregate has one result, some operators have several series: they return prom.labeled_vals[],
 * which the translated query unnests.  All that one state gathers counts as samples of the query, for
 * a signature that all series share would set no other limit to it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "common/compat.h"
#include "store/store.h"
#include "vals/labeled.h"

MemoryContext
prom_aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext cxt;

	if (!AggCheckCallContext(fcinfo, &cxt))
		elog(ERROR, "aggregate's function called outside of an aggregate");
	return cxt;
}

PromLabels *
prom_labeled_labels(const PromLabels *l)
{
	PromLabels *copy = palloc(VARSIZE_ANY(l));

	memcpy(copy, l, VARSIZE_ANY(l));
	return copy;
}

void
prom_labeled_refer(PromLabeledList *list, PromLabels *labels, PromVals *vals)
{
	if (list->n == list->size)
	{
		list->size = list->size == 0 ? 2 : list->size * 2;
		list->rows = list->rows == NULL ? palloc(sizeof(PromLabeled) * list->size)
			: repalloc_huge(list->rows, sizeof(PromLabeled) * list->size);
	}
	CHECK_FOR_INTERRUPTS();
	prom_store_count_samples(vals->nsteps);
	list->rows[list->n].labels = labels;
	list->rows[list->n].vals = vals;
	list->n++;
}

void
prom_labeled_add(PromLabeledList *list, const PromLabels *labels, const PromVals *vals)
{
	PromVals   *copy = prom_vals_copy(vals);

	prom_store_need_memory(VARSIZE_ANY(labels));
	copy->notes = vals->notes;
	prom_labeled_refer(list, prom_labeled_labels(labels), copy);
}

static int
compare_rows(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();
	return prom_labels_cmp(((const PromLabeled *) a)->labels, ((const PromLabeled *) b)->labels);
}

void
prom_labeled_merge(PromLabeledList *list)
{
	int			n = 0;

	if (list->n > 1)
		qsort(list->rows, list->n, sizeof(PromLabeled), compare_rows);
	for (int k = 0; k < list->n; k++)
	{
		PromLabeled *row = &list->rows[k];

		CHECK_FOR_INTERRUPTS();
		if (n == 0 || prom_labels_cmp(list->rows[n - 1].labels, row->labels) != 0)
		{
			list->rows[n++] = *row;
			continue;
		}
		list->rows[n - 1].vals = prom_vals_union(list->rows[n - 1].vals, row->vals);
	}
	list->n = n;
}

Datum
prom_labeled_array(FunctionCallInfo fcinfo, const PromLabeledList *list)
{
	Oid			type = get_element_type(get_fn_expr_rettype(fcinfo->flinfo));
	TupleDesc	desc;
	Datum	   *elements;
	size_t		bytes = 0;

	if (list->n == 0)
		PG_RETURN_NULL();
	for (int k = 0; k < list->n; k++)
		bytes += VARSIZE_ANY(list->rows[k].labels) + VARSIZE_ANY(list->rows[k].vals);
	/* as tuples, and as the array of them */
	prom_store_need_memory(bytes * 2);
	desc = lookup_rowtype_tupdesc(type, -1);
	elements = palloc(sizeof(Datum) * list->n);
	for (int k = 0; k < list->n; k++)
	{
		Datum		values[2] = {PointerGetDatum(list->rows[k].labels), PointerGetDatum(list->rows[k].vals)};
		bool		nulls[2] = {false, false};

		CHECK_FOR_INTERRUPTS();
		elements[k] = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	}
	ReleaseTupleDesc(desc);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, list->n, type, -1, false, TYPALIGN_DOUBLE));
}

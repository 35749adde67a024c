/*
 * labeled.h
 *	  Series as (labels, vals) pairs inside an aggregate, and as the SQL type prom.labeled_vals[].
 *	  Private to this room.
 */
#ifndef PROM_LABELED_H
#define PROM_LABELED_H

#include "series/series.h"
#include "vals/vals.h"

typedef struct PromLabeled
{
	PromLabels *labels;
	PromVals   *vals;
} PromLabeled;

typedef struct PromLabeledList
{
	PromLabeled *rows;		/* NULL as long as there is none */
	int			n;
	int			size;
} PromLabeledList;

extern PromLabels *prom_labeled_labels(const PromLabels *l);

/*
 * Adds a row of copies, notes included, allocated in the current context.  Rows count as samples of the query, for their
 * number has no other limit.
 */
extern void prom_labeled_add(PromLabeledList *list, const PromLabels *labels, const PromVals *vals);

/* The same without copying: labels and vals have to stay where they are. */
extern void prom_labeled_refer(PromLabeledList *list, PromLabels *labels, PromVals *vals);

/* Sorts by labels and makes one row of those with equal ones, which must not share a step. */
extern void prom_labeled_merge(PromLabeledList *list);

/* The rows as the array that the calling function returns; NULL if there are none. */
extern Datum prom_labeled_array(FunctionCallInfo fcinfo, const PromLabeledList *list);

/* The aggregate's context; raises outside of an aggregate. */
extern MemoryContext prom_aggregate_context(FunctionCallInfo fcinfo);

#endif							/* PROM_LABELED_H */

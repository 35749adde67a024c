/*
 * labeled.h
 *	  Series as (labels, vals) pairs inside an aggregate, and as the SQL type prom.labeled_vals[].
 *	  Private to this room.
 */
#ifndef PROMQL_LABELED_H
#define PROMQL_LABELED_H

#include "promql/vals.h"
#include "series/series.h"

typedef struct PromqlLabeled
{
	PromLabels *labels;
	PromVals   *vals;
} PromqlLabeled;

typedef struct PromqlLabeledList
{
	PromqlLabeled *rows;		/* NULL as long as there is none */
	int			n;
	int			size;
} PromqlLabeledList;

extern PromLabels *promql_copy_labels(const PromLabels *l);

/*
 * Adds a row of copies, allocated in the current context.  Rows count as samples of the query, for their
 * number has no other limit.
 */
extern void promql_labeled_add(PromqlLabeledList *list, const PromLabels *labels, const PromVals *vals);

/* Sorts by labels and makes one row of those with equal ones, which must not share a step. */
extern void promql_labeled_merge(PromqlLabeledList *list);

/* The rows as the array that the calling function returns; NULL if there are none. */
extern Datum promql_labeled_array(FunctionCallInfo fcinfo, const PromqlLabeledList *list);

/* The aggregate's context; raises outside of an aggregate. */
extern MemoryContext promql_aggregate_context(FunctionCallInfo fcinfo);

#endif							/* PROMQL_LABELED_H */

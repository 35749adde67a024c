/*
 * fragments.h
 *	  JSON that a backend prints for the gateway, as rows of text to be put together.
 */
#ifndef PROM_FRAGMENTS_H
#define PROM_FRAGMENTS_H

#include "postgres.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/tuplestore.h"

#include "series/series.h"

typedef struct PromFragments
{
	StringInfoData buf;			/* what is not a row yet; print into it */
	Tuplestorestate *store;
	TupleDesc	desc;
	int			limit;			/* of elements, 0: none */
	int			elements;
	bool		cut;
} PromFragments;

extern void prom_fragments_begin(PromFragments *f, FunctionCallInfo fcinfo, int limit);

/* Where to print the next element of an array, after a comma if need be; NULL beyond the limit. */
extern StringInfo prom_fragments_element(PromFragments *f);

/* Make a row of what is printed if it is much.  Call now and then. */
extern void prom_fragments_flush(PromFragments *f);

/* Also warns if elements were cut. */
extern void prom_fragments_end(PromFragments *f);

extern void prom_fragments_labels(StringInfo out, const PromLabels *labels);

#endif							/* PROM_FRAGMENTS_H */

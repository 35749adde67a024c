/*
 * equal.c
 *	  Are two values of prom.histogram the same, bit by bit?  So that rows with them can be told apart.
 *
 * This is stricter than PromQL's ==, which does not look at hints (compare.c).
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"

#include "histogram/type.h"

PG_FUNCTION_INFO_V1(prom_histogram_eq);
PG_FUNCTION_INFO_V1(prom_histogram_ne);
PG_FUNCTION_INFO_V1(prom_histogram_hash);

static bool
are_same(Datum a, Datum b)
{
	const PromHistogram *x = prom_histogram_from_datum(a);
	const PromHistogram *y = prom_histogram_from_datum(b);

	return x->size == y->size && memcmp(x, y, x->size) == 0;
}

Datum
prom_histogram_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(are_same(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

Datum
prom_histogram_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!are_same(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

Datum
prom_histogram_hash(PG_FUNCTION_ARGS)
{
	const PromHistogram *h = prom_histogram_from_datum(PG_GETARG_DATUM(0));

	return hash_any((const unsigned char *) h, h->size);
}

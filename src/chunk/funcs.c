/*
 * funcs.c
 *	  SQL functions over prom.chunk: take one apart, build one, say what is in one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "chunk/chunk.h"
#include "common/clock.h"
#include "histogram/type.h"

PG_FUNCTION_INFO_V1(prom_samples);
PG_FUNCTION_INFO_V1(prom_chunk_build);
PG_FUNCTION_INFO_V1(prom_chunk_build_mixed);
PG_FUNCTION_INFO_V1(prom_chunk_info);

PromChunkStyle
prom_chunk_style(text *name)
{
	static const char *const names[] = {"fresh", "warm", "cold", "plain"};
	char	   *s = text_to_cstring(name);

	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(s, names[i]) == 0)
			return (PromChunkStyle) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown style of chunk: \"%s\"", s),
			 errhint("Styles are \"fresh\", \"warm\", \"cold\" and \"plain\".")));
}

Datum
prom_samples(PG_FUNCTION_ARGS)
{
	PromChunk  *chunk = PG_GETARG_PROM_CHUNK_P(0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PromChunkReader r = {0};
	double	   *values = NULL;
	const PromHistogram **histograms = NULL;
	MemoryContext column_cxt;
	int			size = 0;

	InitMaterializedSRF(fcinfo, 0);
	prom_chunk_open(&r, chunk);
	column_cxt = AllocSetContextCreate(CurrentMemoryContext, "prom.samples column", ALLOCSET_DEFAULT_SIZES);
	for (int c = 0; c < r.nseries; c++)
	{
		int			n = prom_chunk_count(&r, c);
		const int64 *t_ms = prom_chunk_times(&r, c);
		MemoryContext old;

		if (n > size)
		{
			if (values)
			{
				pfree(values);
				pfree(histograms);
			}
			values = palloc_extended(n * sizeof(*values), MCXT_ALLOC_HUGE);
			histograms = palloc_extended(n * sizeof(*histograms), MCXT_ALLOC_HUGE);
			size = n;
		}
		old = MemoryContextSwitchTo(column_cxt);
		prom_chunk_values_mixed(&r, c, values, histograms);
		MemoryContextSwitchTo(old);
		for (int i = 0; i < n; i++)
		{
			const PromHistogram *h = histograms[i];
			Datum		row[6];
			bool		nulls[6] = {false, false, false, false, h != NULL, h == NULL};

			CHECK_FOR_INTERRUPTS();
			row[0] = Int16GetDatum(r.shard);
			row[1] = Int32GetDatum(r.sids[c]);
			row[2] = Int64GetDatum(t_ms[i]);
			row[3] = TimestampTzGetDatum(prom_clock_from_ms(t_ms[i]));
			row[4] = Float8GetDatum(values[i]);
			row[5] = h ? prom_histogram_to_datum(h) : (Datum) 0;
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row, nulls);
			if (h)
				pfree(DatumGetPointer(row[5]));
		}
		MemoryContextReset(column_cxt);
	}
	return (Datum) 0;
}

/* The elements of a one-dimensional array of 8-byte numbers without nulls. */
static void *
take_numbers(ArrayType *a, Oid type, const char *what, int *n)
{
	Assert(ARR_ELEMTYPE(a) == type);
	if (ARR_NDIM(a) > 1 || array_contains_nulls(a))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a one-dimensional array without nulls", what)));
	*n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
	return ARR_DATA_PTR(a);
}

/* The elements of a one-dimensional array of histograms, NULL where the array has a null. */
static const PromHistogram **
take_histograms(ArrayType *a, int *n)
{
	const PromHistogram **histograms;
	Datum	   *elements;
	bool	   *nulls;

	if (ARR_NDIM(a) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a one-dimensional array", "histogram")));
	deconstruct_array(a, ARR_ELEMTYPE(a), -1, false, TYPALIGN_DOUBLE, &elements, &nulls, n);
	histograms = palloc0(Max(*n, 1) * sizeof(*histograms));
	for (int i = 0; i < *n; i++)
	{
		const char *reason;

		if (nulls[i])
			continue;
		histograms[i] = prom_histogram_from_datum(elements[i]);
		reason = prom_histogram_check(histograms[i], histograms[i]->size);
		if (reason)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("histogram %d cannot be stored", i + 1),
					 errdetail_internal("%s", reason)));
	}
	return histograms;
}

static PromChunk *
build_chunk(PromChunkStyle style, int16 shard, int32 sid, int n, const int64 *t_ms, int nvalues,
			const double *values, const PromHistogram *const *histograms)
{
	PromChunkBuilder *b;

	if (n != nvalues || n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a chunk needs as many values as timestamps, and at least one"),
				 errdetail("There are %d timestamps and %d values.", n, nvalues)));
	for (int i = 1; i < n; i++)
		if (t_ms[i - 1] >= t_ms[i])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("timestamps must be ascending"),
					 errdetail("Element %d is not greater than the one before.", i + 1)));

	b = prom_chunk_begin(style, shard);
	prom_chunk_add_mixed(b, sid, n, t_ms, values, histograms);
	return prom_chunk_finish(b);
}

Datum
prom_chunk_build(PG_FUNCTION_ARGS)
{
	int			n;
	int			nvalues;
	int64	   *t_ms = take_numbers(PG_GETARG_ARRAYTYPE_P(2), INT8OID, "t_ms", &n);
	double	   *values = take_numbers(PG_GETARG_ARRAYTYPE_P(3), FLOAT8OID, "value", &nvalues);

	PG_RETURN_POINTER(build_chunk(prom_chunk_style(PG_GETARG_TEXT_PP(4)), PG_GETARG_INT16(0), PG_GETARG_INT32(1),
								  n, t_ms, nvalues, values, NULL));
}

Datum
prom_chunk_build_mixed(PG_FUNCTION_ARGS)
{
	int			n;
	int			nvalues;
	int			nhistograms;
	int64	   *t_ms = take_numbers(PG_GETARG_ARRAYTYPE_P(2), INT8OID, "t_ms", &n);
	double	   *values = take_numbers(PG_GETARG_ARRAYTYPE_P(3), FLOAT8OID, "value", &nvalues);
	const PromHistogram **histograms = take_histograms(PG_GETARG_ARRAYTYPE_P(4), &nhistograms);

	if (nhistograms != n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a chunk needs as many histograms as timestamps, null where a sample is a float"),
				 errdetail("There are %d timestamps and %d histograms.", n, nhistograms)));
	PG_RETURN_POINTER(build_chunk(prom_chunk_style(PG_GETARG_TEXT_PP(5)), PG_GETARG_INT16(0), PG_GETARG_INT32(1),
								  n, t_ms, nvalues, values, histograms));
}

Datum
prom_chunk_info(PG_FUNCTION_ARGS)
{
	PromChunk  *chunk = PG_GETARG_PROM_CHUNK_P(0);
	PromChunkReader r = {0};
	TupleDesc	desc;
	Datum		row[7];
	bool		nulls[7] = {false};
	int64		samples = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	prom_chunk_open(&r, chunk);
	for (int c = 0; c < r.nseries; c++)
		samples += prom_chunk_count(&r, c);

	row[0] = Int32GetDatum(*(uint8 *) VARDATA_ANY(chunk));
	row[1] = Int16GetDatum(r.shard);
	row[2] = Int32GetDatum(r.nseries);
	row[3] = Int64GetDatum(samples);
	row[4] = Int64GetDatum(r.t_min);
	row[5] = Int64GetDatum(r.t_max);
	row[6] = Int64GetDatum(VARSIZE_ANY_EXHDR(chunk));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), row, nulls)));
}

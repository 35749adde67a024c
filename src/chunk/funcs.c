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

PG_FUNCTION_INFO_V1(prom_samples);
PG_FUNCTION_INFO_V1(prom_chunk_build);
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
	double	   *samples = NULL;
	int			size = 0;

	InitMaterializedSRF(fcinfo, 0);
	prom_chunk_open(&r, chunk);
	for (int c = 0; c < r.nseries; c++)
	{
		int			n = prom_chunk_count(&r, c);
		const int64 *t_ms = prom_chunk_times(&r, c);

		if (n > size)
		{
			if (samples)
				pfree(samples);
			samples = palloc_extended(n * sizeof(double), MCXT_ALLOC_HUGE);
			size = n;
		}
		prom_chunk_values(&r, c, samples);
		for (int i = 0; i < n; i++)
		{
			Datum		row[5];
			bool		nulls[5] = {false};

			CHECK_FOR_INTERRUPTS();
			row[0] = Int16GetDatum(r.shard);
			row[1] = Int32GetDatum(r.sids[c]);
			row[2] = Int64GetDatum(t_ms[i]);
			row[3] = TimestampTzGetDatum(prom_clock_from_ms(t_ms[i]));
			row[4] = Float8GetDatum(samples[i]);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row, nulls);
		}
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

Datum
prom_chunk_build(PG_FUNCTION_ARGS)
{
	int16		shard = PG_GETARG_INT16(0);
	int32		sid = PG_GETARG_INT32(1);
	int			n;
	int			nvalues;
	int64	   *t_ms = take_numbers(PG_GETARG_ARRAYTYPE_P(2), INT8OID, "t_ms", &n);
	double	   *values = take_numbers(PG_GETARG_ARRAYTYPE_P(3), FLOAT8OID, "value", &nvalues);
	PromChunkStyle style = prom_chunk_style(PG_GETARG_TEXT_PP(4));
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
	prom_chunk_add(b, sid, n, t_ms, values);
	PG_RETURN_POINTER(prom_chunk_finish(b));
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

/*
 * object_fn.c
 *	  Objects of the tier made by hand, in SQL: for tests and measurements of what reads them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "port/pg_crc32c.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "store/object.h"
#include "store/private.h"

PG_FUNCTION_INFO_V1(prom_object_pack);

static uint32
crc32c(const void *bytes, size_t len)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, len);
	FIN_CRC32C(crc);
	return (uint32) crc;
}

/* What a chunk that lies at an offset is in the directory. */
static PromObjectEntry
entry_of(const PromChunk *chunk, int16 part, int64 offset)
{
	PromChunkReader r = {0};
	PromObjectEntry e = {.part = part,.offset = offset};

	prom_chunk_open(&r, chunk);
	e.t_min = r.t_min;
	e.t_max = r.t_max;
	e.block = r.nseries > 0 ? r.sids[0] >> PROM_BLOCK_BITS : 0;
	e.length = (int32) VARSIZE_ANY_EXHDR(chunk);
	e.crc = crc32c(VARDATA_ANY(chunk), e.length);
	for (int i = 0; i < r.nseries; i++)
	{
		e.series |= UINT64CONST(1) << (r.sids[i] & ((1 << PROM_BLOCK_BITS) - 1));
		e.samples += prom_chunk_count(&r, i);
	}
	return e;
}

/* _object_pack(chunks, parts, OUT body, OUT directory); both arrays in the order of the directory */
Datum
prom_object_pack(PG_FUNCTION_ARGS)
{
	ArrayType  *chunks = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *parts = PG_GETARG_ARRAYTYPE_P(1);
	int16		typlen;
	bool		typbyval;
	char		typalign;
	Datum	   *chunk;
	int			n;
	PromObjectEntry *entry;
	StringInfoData body;
	size_t		length;
	size_t		raw_length;
	void	   *directory;
	PromFooter	footer = {0};
	uint8		tail[PROM_OBJECT_FOOTER_BYTES];
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false};

	get_typlenbyvalalign(ARR_ELEMTYPE(chunks), &typlen, &typbyval, &typalign);
	deconstruct_array(chunks, ARR_ELEMTYPE(chunks), typlen, typbyval, typalign, &chunk, NULL, &n);
	if (n == 0 || n != ArrayGetNItems(ARR_NDIM(parts), ARR_DIMS(parts)) || ARR_HASNULL(parts))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("an object needs chunks, and a part for each")));
	entry = palloc(sizeof(*entry) * n);
	initStringInfo(&body);
	appendBinaryStringInfo(&body, PROM_OBJECT_MAGIC, PROM_OBJECT_HEAD_BYTES);
	for (int i = 0; i < n; i++)
	{
		PromChunk  *c = DatumGetPromChunkP(chunk[i]);

		entry[i] = entry_of(c, ((int16 *) ARR_DATA_PTR(parts))[i], body.len);
		appendBinaryStringInfo(&body, VARDATA_ANY(c), entry[i].length);
	}
	directory = prom_object_directory_pack(entry, n, &length, &raw_length);
	footer.offset = body.len;
	footer.length = length;
	footer.raw_length = raw_length;
	footer.crc = crc32c(directory, length);
	footer.chunks = n;
	prom_footer_encode(tail, &footer);
	footer.own_crc = crc32c(tail, PROM_FOOTER_CRC_AT);
	prom_footer_encode(tail, &footer);
	appendBinaryStringInfo(&body, directory, (int) length);
	appendBinaryStringInfo(&body, (char *) tail, sizeof(tail));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = PointerGetDatum(cstring_to_text_with_len(body.data, body.len));
	values[1] = PointerGetDatum(cstring_to_text_with_len(directory, (int) length));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

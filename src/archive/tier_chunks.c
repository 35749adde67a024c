/*
 * tier_chunks.c
 *	  What SQL does with objects of the tier: their directories, their chunks, packed texts.
 *
 * For moving samples out and back.  Queries read objects by themselves.
 */
#include "postgres.h"

#include <zstd.h>

#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "archive/hole.h"
#include "archive/object.h"
#include "common/compat.h"
#include "store/rows.h"
#include "tier/tier.h"

#define GET_BYTES		(4 * 1024 * 1024)	/* chunks that follow each other are fetched together, up to this */
#define GETS_IN_FLIGHT	4
#define PACK_LEVEL		9

/* Chunks that one request is for */
typedef struct Run
{
	const PromDirectory *directory;
	int		   *chunk;			/* their numbers */
	int			n;
} Run;

static bool is_whole(const PromTransfer *transfer, const void *data, size_t size, void *arg);
static void put_run(ReturnSetInfo *rsinfo, const Run *run, const char *bytes, PromHoles holes, int32 resolution_s);
static void put_chunk(ReturnSetInfo *rsinfo, const PromObjectEntry *e, const PromChunk *chunk);
static char *unpack(const bytea *packed, size_t *size);
static void put_line(ReturnSetInfo *rsinfo, const char *line, int len);
static bool is_among(const int32 *sorted, int n, int32 block);
static int	compare_int32(const void *a, const void *b);
static bytea *make_bytea(const void *data, size_t size);

PG_FUNCTION_INFO_V1(prom_tier_chunks);
PG_FUNCTION_INFO_V1(prom_tier_entries);
PG_FUNCTION_INFO_V1(prom_tier_pack);
PG_FUNCTION_INFO_V1(prom_tier_lines);
PG_FUNCTION_INFO_V1(prom_tier_directory_of);

/* _tier_chunks(server, key, etag, directory, blocks, holes, resolution): their chunks, as they lie in the object */
Datum
prom_tier_chunks(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *etag = text_to_cstring(PG_GETARG_TEXT_PP(2));
	bytea	   *packed = PG_GETARG_BYTEA_PP(3);
	PromDirectory *d = prom_object_directory_open(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
	int			nblocks;
	int32	   *given = prom_store_sids(PG_GETARG_ARRAYTYPE_P(4), &nblocks);
	PromHoles	holes = prom_holes_open(PG_GETARG_ARRAYTYPE_P(5));
	int32	   *blocks = palloc(sizeof(int32) * (nblocks + 1));
	int		   *chunk = palloc(sizeof(int) * (d->n + 1));
	Run		   *runs = palloc(sizeof(Run) * (d->n + 1));
	int			nruns = 0;
	int			n = 0;
	int			asked = 0;
	PromTransfers *transfers;

	memcpy(blocks, given, sizeof(int32) * nblocks);
	qsort(blocks, nblocks, sizeof(int32), compare_int32);
	for (int i = 0; i < d->n; i++)
	{
		Run		   *run = &runs[nruns - 1];

		if (!is_among(blocks, nblocks, d->entry[i].block))
			continue;
		if (nruns > 0 && run->chunk[run->n - 1] == i - 1 &&
			d->entry[i].offset + d->entry[i].length - d->entry[run->chunk[0]].offset <= GET_BYTES)
			run->n++;
		else
			runs[nruns++] = (Run) {d, chunk + n, 1};
		chunk[n++] = i;
	}
	InitMaterializedSRF(fcinfo, 0);
	if (nruns == 0)
		return (Datum) 0;
	transfers = prom_transfers_begin(prom_bucket_open(prom_bucket_server(text_to_cstring(PG_GETARG_TEXT_PP(0)))));
	for (int done = 0; done < nruns; done++)
	{
		PromTransfer *t;

		for (; asked < nruns && asked < done + GETS_IN_FLIGHT; asked++)
		{
			const PromObjectEntry *first = &d->entry[runs[asked].chunk[0]];
			const PromObjectEntry *last = &d->entry[runs[asked].chunk[runs[asked].n - 1]];
			PromTransfer request = {.verb = PROM_VERB_GET, .key = key, .etag = etag, .offset = first->offset,
				.length = last->offset + last->length - first->offset, .verify = is_whole, .arg = &runs[asked]};

			(void) prom_transfers_add(transfers, &request);
		}
		t = prom_transfers_next(transfers, true);
		if (t->status != PROM_TRANSFER_OK)
			prom_transfer_raise(t);
		put_run(rsinfo, t->arg, t->body, holes, PG_GETARG_INT32(6));
		prom_transfer_free(t);
	}
	prom_transfers_end(transfers);
	return (Datum) 0;
}

static bool
is_whole(const PromTransfer *transfer, const void *data, size_t size, void *arg)
{
	const Run  *run = arg;
	const PromObjectEntry *entry = run->directory->entry;

	for (int i = 0; i < run->n; i++)
	{
		const PromObjectEntry *e = &entry[run->chunk[i]];

		if (!prom_object_chunk_is_whole(e, (const char *) data + (e->offset - entry[run->chunk[0]].offset)))
			return false;
	}
	return true;
}

static void
put_run(ReturnSetInfo *rsinfo, const Run *run, const char *bytes, PromHoles holes, int32 resolution_s)
{
	const PromObjectEntry *entry = run->directory->entry;

	for (int i = 0; i < run->n; i++)
	{
		const PromObjectEntry *e = &entry[run->chunk[i]];
		PromChunk  *chunk = prom_object_chunk(e, bytes + (e->offset - entry[run->chunk[0]].offset));
		PromChunk  *rest = prom_holes_take(holes, resolution_s, e, chunk, PROM_CHUNK_WARM);

		if (rest != NULL)
			put_chunk(rsinfo, e, rest);
		if (rest != NULL && rest != chunk)
			pfree(rest);
		pfree(chunk);
	}
}

static void
put_chunk(ReturnSetInfo *rsinfo, const PromObjectEntry *e, const PromChunk *chunk)
{
	PromChunkReader reader = {0};
	int32		samples = 0;
	Datum		values[6] = {Int32GetDatum(e->block), Int16GetDatum(e->part)};
	bool		nulls[6] = {false};

	prom_chunk_open(&reader, chunk);
	for (int i = 0; i < reader.nseries; i++)
		samples += prom_chunk_count(&reader, i);
	values[2] = Int64GetDatum(reader.t_min);
	values[3] = Int64GetDatum(reader.t_max);
	values[4] = Int32GetDatum(samples);
	values[5] = PointerGetDatum(chunk);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* _tier_entries(directory, holes, resolution): a row per chunk of which something is left */
Datum
prom_tier_entries(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bytea	   *packed = PG_GETARG_BYTEA_PP(0);
	PromDirectory *d = prom_object_directory_open(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
	PromHoles	holes = prom_holes_open(PG_GETARG_ARRAYTYPE_P(1));

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < d->n; i++)
	{
		const PromObjectEntry *e = &d->entry[i];
		uint64		left = prom_holes_left(holes, PG_GETARG_INT32(2), e, (PromScanRange) {PG_INT64_MIN, PG_INT64_MAX});
		Datum		values[8] = {Int32GetDatum(e->block), Int16GetDatum(e->part), Int64GetDatum(e->t_min), Int64GetDatum(e->t_max),
		Int32GetDatum(e->samples), Int64GetDatum((int64) left), Int64GetDatum(e->offset), Int32GetDatum(e->length)};
		bool		nulls[8] = {false};

		CHECK_FOR_INTERRUPTS();
		if (left != 0)
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* _tier_directory_of(chunks, blocks, parts): that of an object of them, in this order; for tests */
Datum
prom_tier_directory_of(PG_FUNCTION_ARGS)
{
	Datum	   *chunks;
	int			n;
	int			nblocks;
	int			nparts;
	int32	   *blocks = prom_store_sids(PG_GETARG_ARRAYTYPE_P(1), &nblocks);
	int32	   *parts = prom_store_sids(PG_GETARG_ARRAYTYPE_P(2), &nparts);
	PromObjectEntry *entry;
	int64		offset = PROM_OBJECT_HEAD_BYTES;
	size_t		length;
	size_t		raw_length;
	void	   *directory;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), prom_store_type("chunk"), -1, false, TYPALIGN_DOUBLE, &chunks, NULL, &n);
	if (n != nblocks || n != nparts)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("there must be as many blocks and parts as chunks")));
	entry = palloc0(sizeof(PromObjectEntry) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		PromChunk  *chunk = DatumGetPromChunkP(chunks[i]);
		PromChunkReader r = {0};

		prom_chunk_open(&r, chunk);
		entry[i].block = blocks[i];
		entry[i].part = parts[i];
		entry[i].t_min = r.t_min;
		entry[i].t_max = r.t_max;
		entry[i].offset = offset;
		entry[i].length = VARSIZE_ANY_EXHDR(chunk);
		for (int k = 0; k < r.nseries; k++)
		{
			entry[i].samples += prom_chunk_count(&r, k);
			entry[i].series |= UINT64CONST(1) << (r.sids[k] & ((1 << PROM_BLOCK_BITS) - 1));
		}
		offset += entry[i].length;
	}
	directory = prom_object_directory_pack(entry, n, &length, &raw_length);
	PG_RETURN_BYTEA_P(make_bytea(directory, length));
}

/* _tier_pack(bytes): a zstd frame with its checksum */
Datum
prom_tier_pack(PG_FUNCTION_ARGS)
{
	bytea	   *raw = PG_GETARG_BYTEA_PP(0);
	size_t		room = ZSTD_compressBound(VARSIZE_ANY_EXHDR(raw));
	bytea	   *packed = palloc(VARHDRSZ + room);
	ZSTD_CCtx  *cctx = ZSTD_createCCtx();
	size_t		n;

	if (cctx == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, PACK_LEVEL);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1);
	n = ZSTD_compress2(cctx, VARDATA(packed), room, VARDATA_ANY(raw), VARSIZE_ANY_EXHDR(raw));
	ZSTD_freeCCtx(cctx);
	if (ZSTD_isError(n))
		elog(ERROR, "bytes cannot be packed: %s", ZSTD_getErrorName(n));
	SET_VARSIZE(packed, VARHDRSZ + n);
	PG_RETURN_BYTEA_P(packed);
}

/* _tier_lines(packed): the lines of a text that prom._tier_pack has packed, without their ends; empty ones are left out */
Datum
prom_tier_lines(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	size_t		size;
	char	   *text = unpack(PG_GETARG_BYTEA_PP(0), &size);
	const char *end = text + size;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	for (const char *line = text; line < end;)
	{
		const char *stop = memchr(line, '\n', end - line);
		int			len = (int) ((stop != NULL ? stop : end) - line);

		CHECK_FOR_INTERRUPTS();
		if (len > 0)
			put_line(rsinfo, line, len);
		line += len + 1;
	}
	pfree(text);
	return (Datum) 0;
}

static char *
unpack(const bytea *packed, size_t *size)
{
	unsigned long long length = ZSTD_getFrameContentSize(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
	char	   *raw = NULL;

	if (length < MaxAllocSize)	/* as are the codes for "unknown" and "error" not */
		raw = palloc(length + 1);
	if (raw == NULL || ZSTD_decompress(raw, length, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed)) != length)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("packed bytes of an object are damaged")));
	*size = length;
	return raw;
}

static void
put_line(ReturnSetInfo *rsinfo, const char *line, int len)
{
	char	   *own = pg_any_to_server(line, len, PG_UTF8);
	Datum		value = PointerGetDatum(cstring_to_text_with_len(own, own == line ? len : (int) strlen(own)));
	bool		isnull = false;

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	pfree(DatumGetPointer(value));
	if (own != line)
		pfree(own);
}

static bool
is_among(const int32 *sorted, int n, int32 block)
{
	return bsearch(&block, sorted, n, sizeof(int32), compare_int32) != NULL;
}

static int
compare_int32(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return (x > y) - (x < y);
}

static bytea *
make_bytea(const void *data, size_t size)
{
	bytea	   *b = palloc(VARHDRSZ + size);

	SET_VARSIZE(b, VARHDRSZ + size);
	memcpy(VARDATA(b), data, size);
	return b;
}

/*
 * tier_many.c
 *	  Many reads of a bucket at a time, for who takes over what is in it: whole objects, and directories.
 *
 * An object is asked for when those before it leave room: so many are on their way as the bucket's option "transfers" allows, with as many
 * again waiting for their turn, and together they take at most promgres.tier_read_memory, but for a single one
 * that is larger.  What came goes into a tuplestore, and so to disk beyond work_mem.  Answers come in any order; an
 * object that is not there is a row of NULLs, everything else that goes wrong an error that names it.
 *
 * The directory of an object lies at its end, in front of a footer that tells how long it is.  Both come with one request if
 * the caller has an idea how many chunks there are; if it was too small a second one fetches the directory.  Either is compared
 * with its checksum where it comes off the wire, so that bytes altered on their way are asked for again.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "archive/tier_read.h"
#include "common/compat.h"
#include "tier/tier.h"

/* What a chunk's entry takes of a directory, about: with less a second request would be needed */
#define ENTRY_BYTES		32

/* Something to be read, and how far that is. */
typedef struct Wanted
{
	int			n;				/* 1, 2, …, as the caller has numbered it */
	const char *key;
	const char *etag;			/* or NULL */
	int64		size;			/* of the object; of a whole one, at most */
	int64		offset;			/* of what is asked for next */
	int64		length;
	PromFooter	footer;			/* once it has come */
	bool		has_footer;
} Wanted;

typedef struct Reading Reading;

/* Takes what came (NULL: there is no such object); false: the item has changed, and is to be asked for again. */
typedef bool (*Take) (Reading *r, Wanted *item, PromTransfer *t);

struct Reading
{
	ReturnSetInfo *rsinfo;
	PromTransfers *transfers;
	Wanted	   *item;
	int			n;
	int			in_flight;
	int			at_most;
	int64		bytes;			/* of those in flight */
	bool		whole;			/* objects, and not ranges of them */
	Take		take;
	PromVerify	verify;
};

static void begin(FunctionCallInfo fcinfo, Reading *r);
static void read_all(Reading *r);
static bool may_ask(const Reading *r, const Wanted *item);
static void ask(Reading *r, Wanted *item);
static bool take_object(Reading *r, Wanted *item, PromTransfer *t);
static bool take_directory(Reading *r, Wanted *item, PromTransfer *t);
static void put_directory(Reading *r, const Wanted *item, const PromTransfer *t, const char *bytes);
static bool directory_is_whole(const PromTransfer *transfer, const void *data, size_t size, void *arg);
static Datum *array_of(FunctionCallInfo fcinfo, int arg, Oid type, int n, bool **nulls);
static bytea *make_bytea(const void *data, size_t size);

PG_FUNCTION_INFO_V1(prom_tier_get_many);
PG_FUNCTION_INFO_V1(prom_tier_directories);

/* _tier_get_many(server, keys, max_bytes): whole objects */
Datum
prom_tier_get_many(PG_FUNCTION_ARGS)
{
	Reading		r = {.whole = true,.take = take_object};
	Datum	   *sizes;
	bool	   *nulls;

	begin(fcinfo, &r);
	sizes = array_of(fcinfo, 2, INT8OID, r.n, &nulls);
	for (int i = 0; i < r.n; i++)
	{
		r.item[i].length = r.item[i].size = nulls[i] ? 0 : DatumGetInt64(sizes[i]);
		if (r.item[i].size <= 0 || r.item[i].size > (int64) (MaxAllocSize - VARHDRSZ))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("object \"%s\" cannot have " INT64_FORMAT " bytes", r.item[i].key, r.item[i].size)));
	}
	read_all(&r);
	return (Datum) 0;
}

/* _tier_directories(server, keys, etags, bytes, chunks): their directories, checked */
Datum
prom_tier_directories(PG_FUNCTION_ARGS)
{
	Reading		r = {.take = take_directory,.verify = directory_is_whole};
	Datum	   *etags;
	Datum	   *sizes;
	Datum	   *chunks;
	bool	   *no_etag;
	bool	   *no_size;
	bool	   *no_chunks;

	begin(fcinfo, &r);
	etags = array_of(fcinfo, 2, TEXTOID, r.n, &no_etag);
	sizes = array_of(fcinfo, 3, INT8OID, r.n, &no_size);
	chunks = array_of(fcinfo, 4, INT4OID, r.n, &no_chunks);
	for (int i = 0; i < r.n; i++)
	{
		Wanted	   *item = &r.item[i];
		int64		guess = no_chunks[i] ? 0 : Min(Max(DatumGetInt32(chunks[i]), 0), PROM_OBJECT_MAX_CHUNKS) * INT64CONST(1) * ENTRY_BYTES;

		item->etag = no_etag[i] ? NULL : TextDatumGetCString(etags[i]);
		item->size = no_size[i] ? 0 : DatumGetInt64(sizes[i]);
		if (item->size < PROM_OBJECT_HEAD_BYTES + PROM_OBJECT_FOOTER_BYTES)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("object \"%s\" is too short to be one of samples", item->key)));
		item->length = Min(item->size - PROM_OBJECT_HEAD_BYTES, guess + ENTRY_BYTES + PROM_OBJECT_FOOTER_BYTES);
		item->offset = item->size - item->length;
	}
	read_all(&r);
	return (Datum) 0;
}

/* The bucket and keys that a function was called with. */
static void
begin(FunctionCallInfo fcinfo, Reading *r)
{
	PromBucket *bucket = prom_bucket_open(prom_bucket_server(text_to_cstring(PG_GETARG_TEXT_PP(0))));
	bool	   *nulls;
	Datum	   *keys = array_of(fcinfo, 1, TEXTOID, -1, &nulls);

	r->n = ArrayGetNItems(ARR_NDIM(PG_GETARG_ARRAYTYPE_P(1)), ARR_DIMS(PG_GETARG_ARRAYTYPE_P(1)));
	r->item = palloc0(sizeof(Wanted) * (r->n + 1));
	for (int i = 0; i < r->n; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a key must not be null")));
		r->item[i].n = i + 1;
		r->item[i].key = TextDatumGetCString(keys[i]);
	}
	InitMaterializedSRF(fcinfo, 0);
	r->rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	r->transfers = prom_transfers_begin(bucket);
	r->at_most = 2 * prom_bucket_transfers(bucket);
}

static void
read_all(Reading *r)
{
	int			next = 0;

	for (;;)
	{
		PromTransfer *t;
		Wanted	   *item;
		int64		length;
		bool		missing;

		while (next < r->n && may_ask(r, &r->item[next]))
			ask(r, &r->item[next++]);
		t = prom_transfers_next(r->transfers, true);
		if (t == NULL)
			break;
		item = t->arg;
		length = item->length;
		missing = t->status == PROM_TRANSFER_NO_OBJECT;
		if (t->status != PROM_TRANSFER_OK && !missing)
			prom_transfer_raise(t);
		if (!r->take(r, item, missing ? NULL : t))
			ask(r, item);
		r->in_flight--;
		r->bytes -= length;
		prom_transfer_free(t);
	}
	prom_transfers_end(r->transfers);
}

static bool
may_ask(const Reading *r, const Wanted *item)
{
	return r->in_flight == 0 || (r->in_flight < r->at_most && r->bytes + item->length <= prom_tier_read_memory());
}

static void
ask(Reading *r, Wanted *item)
{
	PromTransfer get = {.verb = PROM_VERB_GET,.key = item->key,.etag = item->etag,.offset = item->offset,.length = item->length,
	.verify = r->verify,.arg = item};

	if (r->whole)
	{
		get.length = -1;
		get.max_size = item->size;
	}
	(void) prom_transfers_add(r->transfers, &get);
	r->in_flight++;
	r->bytes += item->length;
}

static bool
take_object(Reading *r, Wanted *item, PromTransfer *t)
{
	Datum		values[2] = {Int32GetDatum(item->n)};
	bool		nulls[2] = {false, t == NULL};

	if (t != NULL)
		values[1] = PointerGetDatum(make_bytea(t->body, t->body_size));
	tuplestore_putvalues(r->rsinfo->setResult, r->rsinfo->setDesc, values, nulls);
	if (t != NULL)
		pfree(DatumGetPointer(values[1]));
	return true;
}

static bool
take_directory(Reading *r, Wanted *item, PromTransfer *t)
{
	Datum		values[4] = {Int32GetDatum(item->n)};
	bool		nulls[4] = {false, true, true, true};
	int64		at;

	if (t == NULL)
	{
		tuplestore_putvalues(r->rsinfo->setResult, r->rsinfo->setDesc, values, nulls);
		return true;
	}
	if (t->object_size != item->size)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("object \"%s\" is not what its manifest says", item->key),
				 errdetail("It has " INT64_FORMAT " bytes, and should have " INT64_FORMAT ".", t->object_size, item->size)));
	if (!item->has_footer)
	{
		prom_object_footer_open(&item->footer, t->body + item->length - PROM_OBJECT_FOOTER_BYTES, item->size);
		item->has_footer = true;
		/* (A directory of no bytes is none, and is told to be none below.) */
		if ((int64) item->footer.offset < item->offset && item->footer.length > 0)
		{
			item->offset = item->footer.offset;
			item->length = item->footer.length;
			return false;
		}
	}
	at = (int64) item->footer.offset - item->offset;
	put_directory(r, item, t, t->body + at);
	return true;
}

static void
put_directory(Reading *r, const Wanted *item, const PromTransfer *t, const char *bytes)
{
	PromDirectory *d = prom_object_directory_open(bytes, item->footer.length);
	Datum		values[4] = {Int32GetDatum(item->n), CStringGetTextDatum(t->new_etag), TimestampTzGetDatum(t->modified),
	PointerGetDatum(make_bytea(bytes, item->footer.length))};
	bool		nulls[4] = {false, false, t->modified == 0, false};

	if (d->n != item->footer.chunks || d->end != item->footer.offset)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("object \"%s\" has a directory that does not agree with its footer", item->key)));
	tuplestore_putvalues(r->rsinfo->setResult, r->rsinfo->setDesc, values, nulls);
	pfree(DatumGetPointer(values[1]));
	pfree(DatumGetPointer(values[3]));
	pfree(d->entry);
	pfree(d);
}

/* What came may be the end of the object, with all of the directory or not, or the directory. */
static bool
directory_is_whole(const PromTransfer *transfer, const void *data, size_t size, void *arg)
{
	const Wanted *item = arg;
	const char *bytes = data;
	const uint8 *end = (const uint8 *) bytes + size - PROM_OBJECT_FOOTER_BYTES;
	PromFooter	footer = item->footer;
	int64		at = 0;

	if (!item->has_footer)
	{
		/* one that is understood and damaged, or is none */
		if (prom_footer_decode(end, &footer) != NULL || footer.own_crc != prom_object_crc(end, PROM_FOOTER_CRC_AT))
			return false;
		at = (int64) footer.offset - transfer->offset;
		if (at < 0)
			return true;
	}
	return at + footer.length <= size && prom_object_crc(bytes + at, footer.length) == footer.crc;
}

/* An array argument of so many elements (-1: whatever it has). */
static Datum *
array_of(FunctionCallInfo fcinfo, int arg, Oid type, int n, bool **nulls)
{
	Datum	   *values;
	int			has;

	if (type == TEXTOID)
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), TEXTOID, -1, false, TYPALIGN_INT, &values, nulls, &has);
	else if (type == INT4OID)
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), INT4OID, 4, true, TYPALIGN_INT, &values, nulls, &has);
	else
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &values, nulls, &has);
	if (n >= 0 && has != n)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("arrays must have as many elements as there are keys")));
	return values;
}

static bytea *
make_bytea(const void *data, size_t size)
{
	bytea	   *result = palloc(VARHDRSZ + size);

	SET_VARSIZE(result, VARHDRSZ + size);
	memcpy(VARDATA(result), data, size);
	return result;
}

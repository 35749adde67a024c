/*
 * funcs.c
 *	  The room's functions in SQL: for archive's scripts, for tests, and for who must look into a bucket by hand.
 *
 * They are the owner's only; prom.bucket_check is what an administrator uses.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/compat.h"
#include "tier/sigv4.h"
#include "tier/tier.h"

PG_FUNCTION_INFO_V1(prom_bucket_put_sql);
PG_FUNCTION_INFO_V1(prom_bucket_put_new_sql);
PG_FUNCTION_INFO_V1(prom_bucket_get_sql);
PG_FUNCTION_INFO_V1(prom_bucket_get_range_sql);
PG_FUNCTION_INFO_V1(prom_bucket_get_ranges_sql);
PG_FUNCTION_INFO_V1(prom_bucket_head_sql);
PG_FUNCTION_INFO_V1(prom_bucket_list_sql);
PG_FUNCTION_INFO_V1(prom_bucket_delete_sql);
PG_FUNCTION_INFO_V1(prom_bucket_uploads_sql);
PG_FUNCTION_INFO_V1(prom_upload_begin_sql);
PG_FUNCTION_INFO_V1(prom_upload_put_sql);
PG_FUNCTION_INFO_V1(prom_upload_parts_sql);
PG_FUNCTION_INFO_V1(prom_upload_complete_sql);
PG_FUNCTION_INFO_V1(prom_upload_abort_sql);

/* A range that is asked for. */
typedef struct Wanted
{
	int			n;
	const char *sha256;			/* what its bytes must have; NULL: anything */
} Wanted;

static bool has_hash(const PromTransfer *transfer, const void *data, size_t size, void *arg);
static PromBucket *open_arg(FunctionCallInfo fcinfo);
static char *text_arg(FunctionCallInfo fcinfo, int n);
static void put_object(ReturnSetInfo *rsinfo, const PromObject *object);
static bytea *make_bytea(const char *data, size_t size);

/* Most of what a bytea may have. */
#define MAX_BYTEA (1000 * 1000 * 1000)

Datum
prom_bucket_put_sql(PG_FUNCTION_ARGS)
{
	bytea	   *data = PG_GETARG_BYTEA_PP(2);

	PG_RETURN_TEXT_P(cstring_to_text(prom_bucket_put(open_arg(fcinfo), text_arg(fcinfo, 1), VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data))));
}

Datum
prom_bucket_put_new_sql(PG_FUNCTION_ARGS)
{
	bytea	   *data = PG_GETARG_BYTEA_PP(2);

	PG_RETURN_BOOL(prom_bucket_put_new(open_arg(fcinfo), text_arg(fcinfo, 1), VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data)));
}

Datum
prom_bucket_get_sql(PG_FUNCTION_ARGS)
{
	size_t		size;
	char	   *data = prom_bucket_get(open_arg(fcinfo), text_arg(fcinfo, 1), MAX_BYTEA, &size, NULL);

	if (data == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(make_bytea(data, size));
}

Datum
prom_bucket_get_range_sql(PG_FUNCTION_ARGS)
{
	int64		offset = PG_GETARG_INT64(3);
	int32		length = PG_GETARG_INT32(4);

	if (offset < 0 || length <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset must not be negative, length must be positive")));
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(make_bytea(prom_bucket_get_range(open_arg(fcinfo), text_arg(fcinfo, 1),
													   PG_ARGISNULL(2) ? NULL : text_arg(fcinfo, 2), offset, length), length));
}

/* Many ranges of one object at a time, in the order in which they come. */
Datum
prom_bucket_get_ranges_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *key = text_arg(fcinfo, 1);
	PromTransfers *transfers;
	PromTransfer *t;
	Datum	   *offsets;
	Datum	   *lengths;
	Datum	   *hashes;
	Wanted	   *wanted;
	int			noffsets;
	int			nlengths;
	int			nhashes;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &offsets, NULL, &noffsets);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), INT4OID, 4, true, TYPALIGN_INT, &lengths, NULL, &nlengths);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(4), TEXTOID, -1, false, TYPALIGN_INT, &hashes, NULL, &nhashes);
	if (noffsets != nlengths || (nhashes != 0 && nhashes != noffsets))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("there must be as many lengths, and hashes if any, as offsets")));
	wanted = palloc(Max(noffsets, 1) * sizeof(Wanted));
	InitMaterializedSRF(fcinfo, 0);
	transfers = prom_transfers_begin(open_arg(fcinfo));
	for (int i = 0; i < noffsets; i++)
	{
		PromTransfer get = {.verb = PROM_VERB_GET,.key = key,.offset = DatumGetInt64(offsets[i]),.length = DatumGetInt32(lengths[i]),
		.verify = nhashes > 0 ? has_hash : NULL,.arg = &wanted[i]};

		wanted[i].n = i + 1;
		wanted[i].sha256 = nhashes > 0 ? TextDatumGetCString(hashes[i]) : NULL;
		if (get.offset < 0 || get.length <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("offset must not be negative, length must be positive")));
		(void) prom_transfers_add(transfers, &get);
	}
	while ((t = prom_transfers_next(transfers, true)) != NULL)
	{
		Datum		values[4] = {Int32GetDatum(((Wanted *) t->arg)->n)};
		bool		nulls[4] = {false, t->status != PROM_TRANSFER_OK, t->status == PROM_TRANSFER_OK, false};

		if (t->status == PROM_TRANSFER_OK)
			values[1] = PointerGetDatum(make_bytea(t->body, t->body_size));
		else
			values[2] = CStringGetTextDatum(prom_transfer_error(t));
		values[3] = Int32GetDatum(t->tries);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		prom_transfer_free(t);
	}
	prom_transfers_end(transfers);
	return (Datum) 0;
}

Datum
prom_bucket_head_sql(PG_FUNCTION_ARGS)
{
	PromObject	object;

	InitMaterializedSRF(fcinfo, 0);
	if (prom_bucket_head(open_arg(fcinfo), text_arg(fcinfo, 1), &object))
		put_object((ReturnSetInfo *) fcinfo->resultinfo, &object);
	return (Datum) 0;
}

Datum
prom_bucket_list_sql(PG_FUNCTION_ARGS)
{
	PromListing *listing;
	PromObject	object;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(4))
		return (Datum) 0;
	listing = prom_bucket_list(open_arg(fcinfo), text_arg(fcinfo, 1), PG_ARGISNULL(2) ? NULL : text_arg(fcinfo, 2),
							   PG_ARGISNULL(3) ? NULL : text_arg(fcinfo, 3), PG_GETARG_INT32(4));
	while (prom_listing_next(listing, &object))
		put_object((ReturnSetInfo *) fcinfo->resultinfo, &object);
	prom_listing_end(listing);
	return (Datum) 0;
}

Datum
prom_bucket_delete_sql(PG_FUNCTION_ARGS)
{
	Datum	   *datums;
	int			n;
	const char **keys;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &datums, NULL, &n);
	keys = palloc(Max(n, 1) * sizeof(char *));
	for (int i = 0; i < n; i++)
		keys[i] = TextDatumGetCString(datums[i]);
	prom_bucket_delete_many(open_arg(fcinfo), keys, n);
	PG_RETURN_VOID();
}

Datum
prom_bucket_uploads_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PromUpload *uploads;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	uploads = prom_bucket_uploads(open_arg(fcinfo), text_arg(fcinfo, 1), &n);
	for (int i = 0; i < n; i++)
	{
		Datum		values[3] = {CStringGetTextDatum(uploads[i].key), CStringGetTextDatum(uploads[i].id), TimestampTzGetDatum(uploads[i].begun)};
		bool		nulls[3] = {false, false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

Datum
prom_upload_begin_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(prom_upload_begin(open_arg(fcinfo), text_arg(fcinfo, 1))->id));
}

Datum
prom_upload_put_sql(PG_FUNCTION_ARGS)
{
	PromUpload	upload = {.key = text_arg(fcinfo, 1),.id = text_arg(fcinfo, 2)};
	bytea	   *data = PG_GETARG_BYTEA_PP(4);

	PG_RETURN_TEXT_P(cstring_to_text(prom_upload_part(open_arg(fcinfo), &upload, PG_GETARG_INT32(3), VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data))));
}

Datum
prom_upload_parts_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PromUpload	upload = {.key = text_arg(fcinfo, 1),.id = text_arg(fcinfo, 2)};
	PromPart   *parts;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	parts = prom_upload_parts(open_arg(fcinfo), &upload, &n);
	for (int i = 0; i < n; i++)
	{
		Datum		values[3] = {Int32GetDatum(parts[i].number), CStringGetTextDatum(parts[i].etag), Int64GetDatum(parts[i].size)};
		bool		nulls[3] = {false, false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Of all parts that are there. */
Datum
prom_upload_complete_sql(PG_FUNCTION_ARGS)
{
	PromBucket *bucket = open_arg(fcinfo);
	PromUpload	upload = {.key = text_arg(fcinfo, 1),.id = text_arg(fcinfo, 2)};
	int			n;
	PromPart   *parts = prom_upload_parts(bucket, &upload, &n);

	if (n < 0)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(prom_upload_complete(bucket, &upload, parts, n)));
}

Datum
prom_upload_abort_sql(PG_FUNCTION_ARGS)
{
	PromUpload	upload = {.key = text_arg(fcinfo, 1),.id = text_arg(fcinfo, 2)};

	prom_upload_abort(open_arg(fcinfo), &upload);
	PG_RETURN_VOID();
}

static bool
has_hash(const PromTransfer *transfer, const void *data, size_t size, void *arg)
{
	char		hash[PROM_SIGV4_HASH_BYTES];

	return prom_sigv4_hash(data, size, hash) && strcmp(hash, ((Wanted *) arg)->sha256) == 0;
}

static PromBucket *
open_arg(FunctionCallInfo fcinfo)
{
	return prom_bucket_open(prom_bucket_server(text_arg(fcinfo, 0)));
}

static char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static void
put_object(ReturnSetInfo *rsinfo, const PromObject *object)
{
	Datum		values[4] = {CStringGetTextDatum(object->key)};
	bool		nulls[4] = {false, object->etag == NULL, false, object->modified == 0};

	if (object->etag != NULL)
		values[1] = CStringGetTextDatum(object->etag);
	values[2] = Int64GetDatum(object->size);
	values[3] = TimestampTzGetDatum(object->modified);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static bytea *
make_bytea(const char *data, size_t size)
{
	bytea	   *result = palloc(VARHDRSZ + size);

	SET_VARSIZE(result, VARHDRSZ + size);
	memcpy(VARDATA(result), data, size);
	return result;
}

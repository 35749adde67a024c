/*
 * offload.c
 *	  Samples of one day, of some blocks of series, become an object in the bucket.
 *
 * Rows are read block by block, merged, and cut into cold chunks; these are sent in parts of an upload
 * while the next blocks are read, so that no more than a few parts are in memory.  Then all of the object
 * is read back, part by part, and compared with what was sent: the caller deletes rows on the strength of it.
 *
 * Of the rows that were read a count and a hash are returned, over their keys and who wrote them: whoever deletes them
 * computes the same under the lock of merges, and knows that these rows are there as they were read, and no
 * others.  Rows that are written meanwhile have a greater seq than max_seq, and stay.
 *
 * The same rows become the same bytes.  So the next run goes on with an upload that was killed in the middle: parts
 * that the bucket has with the bytes that they have now are not sent again.  Nothing depends on it: what differs
 * is sent, and all is read back.
 *
 * No lock is held but that of having read the tables.  What is left of an upload that did not end is found by
 * prom.tier_upload; nobody having gone on with it for a day, it is removed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "archive/archive.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "archive/object.h"
#include "archive/tier_read.h"
#include "common/compat.h"
#include "store/rows.h"
#include "tier/tier.h"

static int	tier_after_s;
static int	tier_rollups_after_s;
static int	tier_delete_after_s;
static int	tier_object_kb;	/* blocks are added to an object until it has so many, about */

#define UPLOAD_PART_BYTES (8 * 1024 * 1024)
#define PARTS_IN_FLIGHT	3
#define CHUNK_BYTES		(64 * 1024) /* a chunk is cut at this size, before zstd */
#define SLICE_SAMPLES	4096	/* of one series in one chunk, about */

StaticAssertDecl(UPLOAD_PART_BYTES >= PROM_PART_MIN_BYTES, "S3 takes parts of this size");

/* A part that was sent. */
typedef struct SentPart
{
	int64		offset;
	size_t		size;
	uint32		crc;
	char	   *etag;
} SentPart;

typedef struct Offload
{
	/* what is wanted */
	int32		resolution_s;
	int16		shard;
	int64		day_ms;
	int64		max_seq;
	int32		first_block;
	bool		again;			/* of what pg_temp.tier_rest has of another object, and all of it */
	int32		last_block;		/* that goes into the object */
	bool		more;			/* there are blocks behind it */

	/* rows that were read */
	int64		rows;
	uint64		hash;

	/* the object */
	PromObjectEntry *entry;
	int			nentries;
	int			entries_size;
	int64		bytes;
	pg_cryptohash_ctx *sha;

	/* its upload */
	PromBucket *bucket;
	const char *key;
	PromUpload *upload;			/* NULL: all there is fits into the part at hand */
	PromTransfers *transfers;
	PromPart   *there;			/* parts that an earlier run has sent, by number */
	int			nthere;
	char	   *part;
	size_t		part_bytes;
	SentPart   *sent;
	int			nsent;
	const char *etag;
} Offload;

static bool choose_blocks(Offload *o);
static void write_object(Offload *o);
static void write_block(Offload *o, int32 block, int16 part, PromPieces *pieces, MemoryContext cxt);
static void set_slices(PromPieces *pieces, const int *samples, int64 t_min, int64 t_max);
static void add_chunk(Offload *o, const PromPiece *piece, int16 part);
static void add_bytes(Offload *o, const void *bytes, size_t n);
static void begin_upload(Offload *o, const char *id);
static void send_part(Offload *o);
static bool is_there(const Offload *o, SentPart *part, int number);
static void take_ended(Offload *o, bool wait);
static void finish_upload(Offload *o);
static void read_back(Offload *o);
static bool is_as_sent(const PromTransfer *transfer, const void *data, size_t size, void *arg);
static Datum column(uint64 row, int number);
static Datum result(FunctionCallInfo fcinfo, Offload *o, const void *directory, size_t directory_bytes);
static int	count_series(const Offload *o);

PG_FUNCTION_INFO_V1(prom_tier_write);

void
prom_archive_init(void)
{
	DefineCustomIntVariable("promgres.tier_after",
							"How long after its end (UTC) the samples of a day are moved to the bucket of promgres.tier_server; -1: never.",
							NULL, &tier_after_s, 30 * 86400, -1, PG_INT32_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.tier_rollups_after",
							"How long after its end (UTC) the rollups of a day are moved to the bucket; -1: never.",
							NULL, &tier_rollups_after_s, 365 * 86400, -1, PG_INT32_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.tier_delete_after",
							"How long objects stay in the bucket after they are needed no longer.",
							"So that a server that is restored from an older backup finds what it refers to.",
							&tier_delete_after_s, 2 * 86400, 0, PG_INT32_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.tier_object_size",
							"How large objects in the bucket become, about.",
							"What is moved is moved in transactions of one object.",
							&tier_object_kb, 64 * 1024, 16, 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	prom_tier_fetch_init();
	prom_tier_cache_init();
}

/* _tier_write(server, key, resolution, shard, day, first_block, max_seq, upload, again): no rows, no object: block_min is NULL. */
Datum
prom_tier_write(PG_FUNCTION_ARGS)
{
	Offload		o = {.resolution_s = PG_GETARG_INT32(2), .shard = PG_GETARG_INT16(3), .day_ms = PG_GETARG_INT64(4),
		.first_block = PG_GETARG_INT32(5), .max_seq = PG_GETARG_INT64(6), .again = PG_GETARG_BOOL(8)};
	PromFooter	footer = {0};
	uint8		end[PROM_OBJECT_FOOTER_BYTES];
	void	   *directory;
	size_t		length;
	size_t		raw_length;
	MemoryContext cxt = CurrentMemoryContext;

	o.key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	SPI_connect();
	MemoryContextSwitchTo(cxt);
	if (!choose_blocks(&o))
	{
		SPI_finish();
		return result(fcinfo, &o, NULL, 0);
	}
	o.bucket = prom_bucket_open(prom_bucket_server(text_to_cstring(PG_GETARG_TEXT_PP(0))));
	o.sha = pg_cryptohash_create(PG_SHA256);
	if (o.sha == NULL || pg_cryptohash_init(o.sha) < 0)
		elog(ERROR, "no SHA-256");
	o.part = palloc(UPLOAD_PART_BYTES);
	o.sent = palloc0(sizeof(SentPart) * PROM_PART_MAX_COUNT);
	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(7)) > 0)
		begin_upload(&o, text_to_cstring(PG_GETARG_TEXT_PP(7)));
	add_bytes(&o, PROM_OBJECT_MAGIC, PROM_OBJECT_HEAD_BYTES);
	write_object(&o);
	directory = prom_object_directory_pack(o.entry, o.nentries, &length, &raw_length);
	footer.offset = o.bytes;
	footer.length = length;
	footer.raw_length = raw_length;
	footer.crc = prom_object_crc(directory, length);
	footer.chunks = o.nentries;
	prom_footer_encode(end, &footer);
	footer.own_crc = prom_object_crc(end, PROM_FOOTER_CRC_AT);
	prom_footer_encode(end, &footer);
	add_bytes(&o, directory, length);
	add_bytes(&o, end, sizeof(end));
	finish_upload(&o);
	read_back(&o);
	SPI_finish();
	return result(fcinfo, &o, directory, length);
}

/* From the first block that has rows on, so many as make an object. */
static bool
choose_blocks(Offload *o)
{
	Oid			types[] = {INT2OID, INT8OID, INT8OID, INT8OID, INT4OID, INT4OID};
	Datum		args[] = {Int16GetDatum(o->shard), Int64GetDatum(o->day_ms), Int64GetDatum(o->day_ms + PROM_DAY_MS), Int64GetDatum(o->max_seq),
	Int32GetDatum(o->first_block), Int32GetDatum(o->resolution_s)};
	int64		bytes = 0;

	prom_store_execute(o->again ?
					   "SELECT t.block, pg_catalog.sum(pg_catalog.pg_column_size(t.data))::pg_catalog.int8 FROM pg_temp.tier_rest t "
					   "WHERE t.block >= $5 GROUP BY 1 ORDER BY 1" :
					   o->resolution_s == 0 ?
					   "SELECT w.block, pg_catalog.sum(pg_catalog.pg_column_size(w.data))::pg_catalog.int8 FROM prom.warm w "
					   "WHERE w.shard = $1 AND w.t_min >= $2 AND w.t_min < $3 AND w.seq <= $4 AND w.block >= $5 GROUP BY 1 ORDER BY 1" :
					   "SELECT r.block, pg_catalog.sum(pg_catalog.pg_column_size(r.data))::pg_catalog.int8 FROM prom.rollup r "
					   "WHERE r.shard = $1 AND r.day = $2 AND r.block >= $5 AND r.resolution = $6 GROUP BY 1 ORDER BY 1",
					   6, types, args, SPI_OK_SELECT);
	if (SPI_processed == 0)
		return false;
	o->first_block = DatumGetInt32(column(0, 1));
	for (uint64 i = 0; i < SPI_processed && !o->more; i++)
	{
		o->last_block = DatumGetInt32(column(i, 1));
		bytes += DatumGetInt64(column(i, 2));
		o->more = !o->again && bytes >= tier_object_kb * INT64CONST(1024) && i + 1 < SPI_processed;
	}
	SPI_freetuptable(SPI_tuptable);
	return true;
}

static void
write_object(Offload *o)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "promgres object block", ALLOCSET_DEFAULT_SIZES);
	int			first_part = o->resolution_s == 0 ? PROM_PART_RAW : PROM_PART_LAST;
	int			end_part = o->resolution_s == 0 ? PROM_PART_LAST : PROM_PARTS;
	PromPieces	pieces;

	prom_pieces_init(&pieces, o->shard, CurrentMemoryContext);
	pieces.style = PROM_CHUNK_COLD;
	pieces.row_bytes = CHUNK_BYTES;
	pieces.series_samples = PROM_CHUNK_MAX_SAMPLES;
	for (int part = first_part; part < end_part; part++)
	{
		Oid			types[] = {INT2OID, INT8OID, INT8OID, INT8OID, INT4OID, INT4OID, INT4OID, INT2OID};
		Datum		args[] = {Int16GetDatum(o->shard), Int64GetDatum(o->day_ms), Int64GetDatum(o->day_ms + PROM_DAY_MS), Int64GetDatum(o->max_seq),
			Int32GetDatum(o->first_block), Int32GetDatum(o->last_block), Int32GetDatum(o->resolution_s), Int16GetDatum(part)};
		int32	   *blocks;
		uint64		n;

		prom_store_execute(o->again ?
						   "SELECT DISTINCT t.block FROM pg_temp.tier_rest t WHERE t.part = $8 ORDER BY 1" :
						   o->resolution_s == 0 ?
						   "SELECT DISTINCT w.block FROM prom.warm w WHERE w.shard = $1 AND w.t_min >= $2 AND w.t_min < $3 AND w.seq <= $4 "
						   "AND w.block >= $5 AND w.block <= $6 ORDER BY 1" :
						   "SELECT DISTINCT r.block FROM prom.rollup r WHERE r.shard = $1 AND r.day = $2 "
						   "AND r.block >= $5 AND r.block <= $6 AND r.resolution = $7 AND r.part = $8 ORDER BY 1",
						   8, types, args, SPI_OK_SELECT);
		n = SPI_processed;
		blocks = palloc(sizeof(int32) * (n + 1));
		for (uint64 i = 0; i < n; i++)
			blocks[i] = DatumGetInt32(column(i, 1));
		SPI_freetuptable(SPI_tuptable);
		for (uint64 i = 0; i < n; i++)
		{
			write_block(o, blocks[i], part, &pieces, cxt);
			MemoryContextReset(cxt);
			if (o->transfers != NULL)
				take_ended(o, false);
		}
		pfree(blocks);
	}
	MemoryContextDelete(cxt);
}

/* One part of a block: its rows, merged and cut. */
static void
write_block(Offload *o, int32 block, int16 part, PromPieces *like, MemoryContext cxt)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Oid			types[] = {INT2OID, INT8OID, INT8OID, INT8OID, INT4OID, INT4OID, INT2OID};
	Datum		args[] = {Int16GetDatum(o->shard), Int64GetDatum(o->day_ms), Int64GetDatum(o->day_ms + PROM_DAY_MS), Int64GetDatum(o->max_seq),
	Int32GetDatum(block), Int32GetDatum(o->resolution_s), Int16GetDatum(part)};
	int			samples[1 << PROM_BLOCK_BITS] = {0};
	int64		t_min = PG_INT64_MAX;
	int64		t_max = PG_INT64_MIN;
	PromPieces	pieces;
	PromMerge	merge;
	SPITupleTable *rows;

	CHECK_FOR_INTERRUPTS();
	prom_pieces_init_like(&pieces, like, cxt);
	prom_merge_init(&merge, cxt);
	prom_store_execute(o->again ?
					   "SELECT 0::pg_catalog.int8, t.t_min, t.t_max, t.data, 0::pg_catalog.int8 FROM pg_temp.tier_rest t "
					   "WHERE t.block = $5 AND t.part = $7" :
					   o->resolution_s == 0 ?
					   "SELECT w.seq, w.t_min, w.t_max, w.data, prom._row_mark(w.block, 0::pg_catalog.int2, w.t_min, w.seq, w.samples, w.xmin) FROM prom.warm w "
					   "WHERE w.shard = $1 AND w.t_min >= $2 AND w.t_min < $3 AND w.seq <= $4 AND w.block = $5" :
					   "SELECT r.seq, r.t_min, r.t_max, r.data, prom._row_mark(r.block, r.part, r.t_min, r.seq, r.samples, r.xmin) FROM prom.rollup r "
					   "WHERE r.shard = $1 AND r.day = $2 AND r.block = $5 AND r.resolution = $6 AND r.part = $7",
					   7, types, args, SPI_OK_SELECT);
	rows = SPI_tuptable;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		PromChunk  *chunk = DatumGetPromChunkP(column(i, 4));
		PromRowBounds bounds = prom_warm_bounds(o->shard, block, DatumGetInt64(column(i, 2)), DatumGetInt64(column(i, 3)));
		const PromChunkReader *r = prom_merge_add(&merge, chunk, DatumGetInt64(column(i, 1)));

		prom_check_bounds(r, &bounds);
		for (int k = 0; k < r->nseries; k++)
			samples[r->sids[k] & ((1 << PROM_BLOCK_BITS) - 1)] += prom_chunk_count(r, k);
		t_min = Min(t_min, r->t_min);
		t_max = Max(t_max, r->t_max);
		o->rows++;
		o->hash ^= (uint64) DatumGetInt64(column(i, 5));
	}
	if (SPI_processed > 0)
	{
		set_slices(&pieces, samples, t_min, t_max);
		prom_pieces_cut(&pieces, &merge);
		MemoryContextSwitchTo(old);
		qsort(pieces.piece, pieces.n, sizeof(PromPiece), prom_compare_pieces);
		for (int i = 0; i < pieces.n; i++)
			add_chunk(o, &pieces.piece[i], part);
	}
	SPI_freetuptable(rows);
	MemoryContextSwitchTo(old);
}

/* Of raw samples chunks are parts of the day, if these are worth a request of their own. */
static void
set_slices(PromPieces *pieces, const int *samples, int64 t_min, int64 t_max)
{
	int			most = 0;
	int			slices;

	for (int i = 0; i < 1 << PROM_BLOCK_BITS; i++)
		most = Max(most, samples[i]);
	slices = Min(most / SLICE_SAMPLES + 1, PROM_MAX_SLICES);
	pieces->slice_from_ms = t_min;
	pieces->slice_ms = (t_max - t_min) / slices + 1;
}

static void
add_chunk(Offload *o, const PromPiece *piece, int16 part)
{
	PromChunkReader reader = {0};
	PromObjectEntry *e;

	if (o->nentries == o->entries_size)
	{
		o->entries_size = Max(1024, o->entries_size * 2);
		o->entry = o->entry ? repalloc_huge(o->entry, sizeof(PromObjectEntry) * o->entries_size) : palloc(sizeof(PromObjectEntry) * o->entries_size);
	}
	if (o->nentries == PROM_OBJECT_MAX_CHUNKS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("an object cannot have more than %d chunks", PROM_OBJECT_MAX_CHUNKS)));
	e = &o->entry[o->nentries++];
	e->part = part;
	e->block = piece->block;
	e->t_min = piece->t_min;
	e->t_max = piece->t_max;
	e->samples = piece->samples;
	e->offset = o->bytes;
	e->length = VARSIZE_ANY_EXHDR(piece->data);
	e->crc = prom_object_crc(VARDATA_ANY(piece->data), e->length);
	e->series = 0;
	prom_chunk_open(&reader, piece->data);
	for (int i = 0; i < reader.nseries; i++)
		e->series |= UINT64CONST(1) << (reader.sids[i] & ((1 << PROM_BLOCK_BITS) - 1));
	add_bytes(o, VARDATA_ANY(piece->data), e->length);
}

static void
add_bytes(Offload *o, const void *bytes, size_t n)
{
	const char *p = bytes;

	if (pg_cryptohash_update(o->sha, (const uint8 *) p, n) < 0)
		elog(ERROR, "no SHA-256");
	o->bytes += n;
	while (n > 0)
	{
		size_t		some = Min(n, UPLOAD_PART_BYTES - o->part_bytes);

		if (some == 0)
		{
			send_part(o);
			continue;
		}
		memcpy(o->part + o->part_bytes, p, some);
		o->part_bytes += some;
		p += some;
		n -= some;
	}
}

/* Goes on with that of an earlier run; id NULL: a new one. */
static void
begin_upload(Offload *o, const char *id)
{
	if (id == NULL)
		o->upload = prom_upload_begin(o->bucket, o->key);
	else
	{
		o->upload = palloc0(sizeof(PromUpload));
		o->upload->key = o->key;
		o->upload->id = id;
		o->there = prom_upload_parts(o->bucket, o->upload, &o->nthere);
	}
	o->transfers = prom_transfers_begin(o->bucket);
}

/* The part at hand is on its way, and there is another. */
static void
send_part(Offload *o)
{
	PromTransfer request = {.verb = PROM_VERB_PART, .key = o->key, .data = o->part, .size = o->part_bytes};
	SentPart   *part = &o->sent[o->nsent];

	if (o->upload == NULL)
		begin_upload(o, NULL);
	while (prom_transfers_left(o->transfers) >= PARTS_IN_FLIGHT)
		take_ended(o, true);
	part->offset = o->nsent > 0 ? part[-1].offset + part[-1].size : 0;
	part->size = o->part_bytes;
	part->crc = prom_object_crc(o->part, o->part_bytes);
	request.upload_id = o->upload->id;
	request.part = ++o->nsent;
	if (!is_there(o, part, request.part))
	{
		(void) prom_transfers_add(o->transfers, &request);
		o->part = palloc(UPLOAD_PART_BYTES);
	}
	o->part_bytes = 0;
}

/* Has an earlier run sent the part at hand? */
static bool
is_there(const Offload *o, SentPart *part, int number)
{
	for (int i = 0; i < o->nthere; i++)
		if (o->there[i].number == number && prom_upload_part_is(&o->there[i], o->part, o->part_bytes))
		{
			part->etag = pstrdup(o->there[i].etag);
			return true;
		}
	return false;
}

/* Parts that have arrived: one if it is waited for. */
static void
take_ended(Offload *o, bool wait)
{
	PromTransfer *t;

	while ((t = prom_transfers_next(o->transfers, wait)) != NULL)
	{
		if (t->status != PROM_TRANSFER_OK)
			prom_transfer_raise(t);
		o->sent[t->part - 1].etag = pstrdup(t->new_etag);
		pfree((void *) t->data);
		prom_transfer_free(t);
		if (wait)
			break;
	}
}

static void
finish_upload(Offload *o)
{
	PromPart   *parts;

	if (o->upload == NULL)
	{
		o->sent[0].size = o->part_bytes;
		o->sent[0].crc = prom_object_crc(o->part, o->part_bytes);
		o->nsent = 1;
		o->etag = prom_bucket_put(o->bucket, o->key, o->part, o->part_bytes);
		return;
	}
	send_part(o);
	while (prom_transfers_left(o->transfers) > 0)
		take_ended(o, true);
	prom_transfers_end(o->transfers);
	parts = palloc(sizeof(PromPart) * o->nsent);
	for (int i = 0; i < o->nsent; i++)
		parts[i] = (PromPart) {.number = i + 1, .etag = o->sent[i].etag, .size = o->sent[i].size};
	o->etag = prom_upload_complete(o->bucket, o->upload, parts, o->nsent);
}

/* What the bucket has is what was sent, or an error. */
static void
read_back(Offload *o)
{
	PromTransfers *transfers = prom_transfers_begin(o->bucket);
	int			asked = 0;

	for (int done = 0; done < o->nsent; done++)
	{
		PromTransfer *t;

		for (; asked < o->nsent && asked < done + PARTS_IN_FLIGHT; asked++)
		{
			PromTransfer request = {.verb = PROM_VERB_GET, .key = o->key, .etag = o->etag, .offset = o->sent[asked].offset,
				.length = o->sent[asked].size, .verify = is_as_sent, .arg = &o->sent[asked]};

			(void) prom_transfers_add(transfers, &request);
		}
		t = prom_transfers_next(transfers, true);
		if (t->status != PROM_TRANSFER_OK)
			prom_transfer_raise(t);
		if (t->object_size != o->bytes)
			ereport(ERROR,
					(errcode(ERRCODE_IO_ERROR),
					 errmsg("object \"%s\" of %s has another size than what was sent", o->key, prom_bucket_describe(o->bucket)),
					 errdetail("It has %lld bytes, and %lld were sent.", (long long) t->object_size, (long long) o->bytes)));
		prom_transfer_free(t);
	}
	prom_transfers_end(transfers);
}

static bool
is_as_sent(const PromTransfer *transfer, const void *data, size_t size, void *arg)
{
	const SentPart *part = arg;

	return size == part->size && prom_object_crc(data, size) == part->crc;
}

static Datum
column(uint64 row, int number)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &isnull);
}

/* (block_min, block_max, more, chunks, samples, series, t_min, t_max, bytes, etag, sha256, directory, rows, hash) */
static Datum
result(FunctionCallInfo fcinfo, Offload *o, const void *directory, size_t directory_bytes)
{
	TupleDesc	desc;
	Datum		values[14] = {0};
	bool		nulls[14];
	int64		samples = 0;
	int64		t_min = PG_INT64_MAX;
	int64		t_max = PG_INT64_MIN;
	bytea	   *sha;
	bytea	   *copy;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	memset(nulls, directory == NULL, sizeof(nulls));
	if (directory != NULL)
	{
		for (int i = 0; i < o->nentries; i++)
		{
			samples += o->entry[i].samples;
			t_min = Min(t_min, o->entry[i].t_min);
			t_max = Max(t_max, o->entry[i].t_max);
		}
		sha = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
		SET_VARSIZE(sha, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
		if (pg_cryptohash_final(o->sha, (uint8 *) VARDATA(sha), PG_SHA256_DIGEST_LENGTH) < 0)
			elog(ERROR, "no SHA-256");
		pg_cryptohash_free(o->sha);
		copy = palloc(VARHDRSZ + directory_bytes);
		SET_VARSIZE(copy, VARHDRSZ + directory_bytes);
		memcpy(VARDATA(copy), directory, directory_bytes);
		values[0] = Int32GetDatum(o->first_block);
		values[1] = Int32GetDatum(o->last_block);
		values[2] = BoolGetDatum(o->more);
		values[3] = Int32GetDatum(o->nentries);
		values[4] = Int64GetDatum(samples);
		values[5] = Int32GetDatum(count_series(o));
		values[6] = Int64GetDatum(t_min);
		values[7] = Int64GetDatum(t_max);
		values[8] = Int64GetDatum(o->bytes);
		values[9] = CStringGetTextDatum(o->etag);
		values[10] = PointerGetDatum(sha);
		values[11] = PointerGetDatum(copy);
		values[12] = Int64GetDatum(o->rows);
		values[13] = Int64GetDatum((int64) o->hash);
	}
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* Of the first part there is, which all series have. */
static int
count_series(const Offload *o)
{
	int			n = 0;

	for (int i = 0, next; i < o->nentries && o->entry[i].part == o->entry[0].part; i = next)
	{
		uint64		series = 0;

		for (next = i; next < o->nentries && o->entry[next].part == o->entry[i].part && o->entry[next].block == o->entry[i].block; next++)
			series |= o->entry[next].series;
		for (; series != 0; series &= series - 1)
			n++;
	}
	return n;
}

/*
 * quarantine.c
 *	  Damaged rows of samples are set aside, so that everything else goes on.
 *
 * A row is damaged if its chunk cannot be read, or holds what the row's columns do not say.  Such a row
 * moves from prom.fresh or prom.warm to prom.quarantine in one transaction, as bytes (the type
 * prom.chunk takes only what is whole), with the reason.  If what was wrong is mended, be it by a newer
 * release or by hand, the row can be taken back.
 *
 * A row that comes back is older than all rows of prom.warm: where both have a sample of one series and
 * time, what was stored all the while counts.  Of merges only a compaction takes it, with all rows of
 * its block and day: what they leave behind would be older than what they make.
 *
 * Verifying costs a subtransaction a row.  It happens only when something has failed, or on request.
 *
 * Locking: the caller holds the lock of the shard's merges.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "common/compat.h"
#include "store/rows.h"

#define FETCH_ROWS	100
#define TIME_END_MS INT64CONST(253402300800000) /* the year 10000, for which no partition can be made */

#define COLUMNS "r.shard, %s, r.t_min, r.t_max, r.samples, r.seq, %s, r.data"

/* A row of either table. */
typedef struct Row
{
	ItemPointerData tid;
	PromRowBounds bounds;
	Datum		data;			/* as stored, maybe toasted */
	bytea	   *bytes;			/* of the chunk, if they could be had */
} Row;

static bool is_whole(Row *row, ErrorData **error);
static void read_row(Row *row);
static void set_aside(const char *table, const Row *row, HeapTuple tuple, TupleDesc desc, const ErrorData *error);
static Datum column(HeapTuple tuple, TupleDesc desc, int number);
static PromChunk *without_strangers(const PromRowBounds *bounds, PromChunk *chunk);
static void write_back(int16 shard, PromChunk *chunk);

PG_FUNCTION_INFO_V1(prom_quarantine_range);
PG_FUNCTION_INFO_V1(prom_quarantine_retry_row);

PromRowBounds
prom_warm_bounds(int16 shard, int32 block, int64 t_min, int64 t_max)
{
	PromRowBounds b = {shard, block << PROM_BLOCK_BITS, (block << PROM_BLOCK_BITS) | ((1 << PROM_BLOCK_BITS) - 1),
	t_min, t_max};

	return b;
}

void
prom_check_bounds(const PromChunkReader *r, const PromRowBounds *b)
{
	if (r->shard != b->shard)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("row of samples contradicts its prom.chunk"),
				 errdetail("The row is of shard %d, the chunk of shard %d.", b->shard, r->shard)));
	if (r->nseries > 0 && (r->sids[0] < b->sid_min || r->sids[r->nseries - 1] > b->sid_max))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("row of samples contradicts its prom.chunk"),
				 errdetail("The row is of series %d to %d, the chunk of %d to %d.", b->sid_min, b->sid_max,
						   r->sids[0], r->sids[r->nseries - 1])));
	if (r->t_min < b->t_min || r->t_max > b->t_max || b->t_min < 0 || b->t_max >= TIME_END_MS)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("row of samples contradicts its prom.chunk"),
				 errdetail("The row is of times " INT64_FORMAT " to " INT64_FORMAT " ms, the chunk of " INT64_FORMAT
						   " to " INT64_FORMAT ".", b->t_min, b->t_max, r->t_min, r->t_max)));
}

/* Bytes that make no sense are mostly found out as such, but not always by the first who reads them. */
bool
prom_may_be_damage(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_DATA_CORRUPTED) || category == ERRCODE_DATA_EXCEPTION ||
		category == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

int64
prom_quarantine_rows(const char *table, const char *condition, int nargs, const Oid *types, const Datum *args)
{
	bool		fresh = strcmp(table, "fresh") == 0;
	char	   *sql = psprintf("SELECT r.ctid, " COLUMNS " FROM prom.%s r WHERE %s",
							   fresh ? "r.sid_min, r.sid_max" : "r.block << 6, r.block << 6 | 63",
							   fresh ? "NULL::pg_catalog.int2" : "r.gen", table, condition);
	Portal		portal = SPI_cursor_open_with_args(NULL, sql, nargs, (Oid *) types, (Datum *) args, NULL, false, 0);
	MemoryContext row_cxt = AllocSetContextCreate(CurrentMemoryContext, "promgres quarantine row", ALLOCSET_DEFAULT_SIZES);
	int64		n = 0;

	for (;;)
	{
		SPITupleTable *rows;
		uint64		nrows;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		rows = SPI_tuptable;
		nrows = SPI_processed;
		for (uint64 i = 0; i < nrows; i++)
		{
			HeapTuple	tuple = rows->vals[i];
			TupleDesc	desc = rows->tupdesc;
			MemoryContext old = MemoryContextSwitchTo(row_cxt);
			Row			row = {
				.tid = *(ItemPointer) DatumGetPointer(column(tuple, desc, 1)),
				.bounds = {DatumGetInt16(column(tuple, desc, 2)), DatumGetInt32(column(tuple, desc, 3)),
					DatumGetInt32(column(tuple, desc, 4)), DatumGetInt64(column(tuple, desc, 5)),
				DatumGetInt64(column(tuple, desc, 6))},
				.data = column(tuple, desc, 10)
			};
			ErrorData  *error;

			CHECK_FOR_INTERRUPTS();
			if (!is_whole(&row, &error))
			{
				set_aside(table, &row, tuple, desc, error);
				n++;
			}
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_cxt);
		}
		SPI_freetuptable(rows);
		if (nrows == 0)
			break;
	}
	SPI_cursor_close(portal);
	MemoryContextDelete(row_cxt);
	return n;
}

/* Reads all of the row's chunk; false, and what was wrong with it. */
static bool
is_whole(Row *row, ErrorData **error)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool whole = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		read_row(row);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		whole = false;
		MemoryContextSwitchTo(cxt);
		*error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
	if (!whole && !prom_may_be_damage((*error)->sqlerrcode))
		ReThrowError(*error);
	return whole;
}

/* As whoever verifies foreign bytes does, and as a merge does. */
static void
read_row(Row *row)
{
	const char *reason;
	PromMerge	merge;
	int32		sid;

	row->bytes = DatumGetByteaPP(row->data);
	reason = prom_chunk_verify((const uint8 *) VARDATA_ANY(row->bytes), VARSIZE_ANY_EXHDR(row->bytes));
	if (reason)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("corrupt prom.chunk"),
				 errdetail_internal("%s", reason)));
	prom_merge_init(&merge, CurrentMemoryContext);
	prom_check_bounds(prom_merge_add(&merge, (PromChunk *) row->bytes, 0), &row->bounds);
	while (prom_merge_next(&merge, &sid))
		;
}

static void
set_aside(const char *table, const Row *row, HeapTuple tuple, TupleDesc desc, const ErrorData *error)
{
	char	   *reason = error->detail ? psprintf("%s: %s", error->message, error->detail) : error->message;
	bool		no_gen;
	Datum		gen = SPI_getbinval(tuple, desc, 9, &no_gen);
	Oid			types[] = {TEXTOID, INT2OID, INT4OID, INT4OID, INT8OID, INT8OID, INT4OID, INT8OID, INT2OID, BYTEAOID,
	TEXTOID, TEXTOID};
	Datum		args[] = {CStringGetTextDatum(table), Int16GetDatum(row->bounds.shard),
		Int32GetDatum(row->bounds.sid_min), Int32GetDatum(row->bounds.sid_max),
		Int64GetDatum(row->bounds.t_min), Int64GetDatum(row->bounds.t_max), column(tuple, desc, 7),
		column(tuple, desc, 8), gen, PointerGetDatum(row->bytes),
	CStringGetTextDatum(unpack_sql_state(error->sqlerrcode)), CStringGetTextDatum(reason)};
	char		nulls[] = "            ";
	Oid			tid_type = TIDOID;
	Datum		tid = PointerGetDatum(&row->tid);
	Oid			key_types[] = {INT2OID, INT4OID, INT8OID, INT8OID};
	Datum		key[] = {args[1], Int32GetDatum(row->bounds.sid_min >> PROM_BLOCK_BITS), args[4], args[7]};
	MemoryContext old = CurrentMemoryContext;

	if (no_gen)
		nulls[8] = 'n';
	if (row->bytes == NULL)
		nulls[9] = 'n';
	if (SPI_execute_with_args("INSERT INTO prom.quarantine (source, shard, sid_min, sid_max, t_min, t_max, samples, seq, gen, data, sqlstate, reason) "
							  "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
							  lengthof(types), types, args, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write to prom.quarantine");
	MemoryContextSwitchTo(old);
	if (no_gen)
		prom_store_execute("DELETE FROM prom.fresh WHERE ctid = $1", 1, &tid_type, &tid, SPI_OK_DELETE);
	else
		prom_store_execute("DELETE FROM prom.warm WHERE shard = $1 AND block = $2 AND t_min = $3 AND seq = $4",
						   4, key_types, key, SPI_OK_DELETE);
	prom_stat_count(PROM_STAT_QUARANTINED_ROWS, 1);
	ereport(WARNING,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("damaged row of prom.%s was set aside", table),
			 errdetail("Series %d to %d of shard %d, times " INT64_FORMAT " to " INT64_FORMAT " ms: %s",
					   row->bounds.sid_min, row->bounds.sid_max, row->bounds.shard, row->bounds.t_min,
					   row->bounds.t_max, reason),
			 errhint("It is in prom.quarantine. When what was wrong is mended, prom.quarantine_retry() takes it back.")));
}

static Datum
column(HeapTuple tuple, TupleDesc desc, int number)
{
	bool		isnull;

	return SPI_getbinval(tuple, desc, number, &isnull);
}

/* _quarantine_range(shard, from_ms, to_ms); the caller has the merge lock */
Datum
prom_quarantine_range(PG_FUNCTION_ARGS)
{
	int64		from_ms = PG_GETARG_INT64(1);
	Oid			types[] = {INT2OID, INT8OID, INT8OID, INT8OID};
	Datum		args[] = {PG_GETARG_DATUM(0), Int64GetDatum(from_ms), PG_GETARG_DATUM(2),
	Int64GetDatum(prom_day_start(from_ms))};
	int64		n;

	SPI_connect();
	n = prom_quarantine_rows("fresh", "r.shard = $1 AND r.t_max >= $2 AND r.t_min <= $3", 3, types, args);
	n += prom_quarantine_rows("warm", "r.shard = $1 AND r.t_max >= $2 AND r.t_min <= $3 AND r.t_min >= $4", 4, types, args);
	SPI_finish();
	PG_RETURN_INT64(n);
}

/* _quarantine_retry_row(id); the caller has the merge lock of the row's shard.  True if it went back. */
Datum
prom_quarantine_retry_row(PG_FUNCTION_ARGS)
{
	Oid			type = INT8OID;
	Datum		id = PG_GETARG_DATUM(0);
	Row			row = {0};
	HeapTuple	tuple;
	TupleDesc	desc;
	PromChunk  *chunk;
	ErrorData  *error;

	/* No series may go while its samples come back. */
	prom_series_begin();
	SPI_connect();
	prom_store_execute("SELECT shard, sid_min, sid_max, t_min, t_max, data FROM prom.quarantine WHERE id = $1 AND data IS NOT NULL FOR UPDATE",
					   1, &type, &id, SPI_OK_SELECT);
	if (SPI_processed == 0)
	{
		SPI_finish();
		PG_RETURN_BOOL(false);
	}
	tuple = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	row.bounds = (PromRowBounds) {DatumGetInt16(column(tuple, desc, 1)), DatumGetInt32(column(tuple, desc, 2)),
		DatumGetInt32(column(tuple, desc, 3)), DatumGetInt64(column(tuple, desc, 4)),
	DatumGetInt64(column(tuple, desc, 5))};
	row.data = column(tuple, desc, 6);
	if (!is_whole(&row, &error))
	{
		SPI_finish();
		PG_RETURN_BOOL(false);
	}
	chunk = without_strangers(&row.bounds, (PromChunk *) row.bytes);
	if (chunk)
		write_back(row.bounds.shard, chunk);
	prom_store_execute("DELETE FROM prom.quarantine WHERE id = $1", 1, &type, &id, SPI_OK_DELETE);
	SPI_finish();
	PG_RETURN_BOOL(true);
}

/* The chunk without series that were deleted meanwhile; NULL if nothing is left. */
static PromChunk *
without_strangers(const PromRowBounds *bounds, PromChunk *chunk)
{
	Oid			types[] = {prom_store_type("chunk"), INT2OID};
	Datum		args[] = {PointerGetDatum(chunk), Int16GetDatum(bounds->shard)};
	bool		isnull;
	Datum		rest;

	prom_store_execute("SELECT prom._without($1, COALESCE((SELECT pg_catalog.array_agg(u ORDER BY u) "
					   "FROM pg_catalog.unnest(prom._sids($1)) u WHERE NOT EXISTS ("
					   "SELECT FROM prom.series s WHERE s.shard = $2 AND s.sid = u)), '{}'), "
					   "-9223372036854775807, 9223372036854775807)", 2, types, args, SPI_OK_SELECT);
	rest = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? NULL : DatumGetPromChunkP(rest);
}

/* Into rows of prom.warm that are older than all others and full. */
static void
write_back(int16 shard, PromChunk *chunk)
{
	PromMerge	merge;
	PromPieces	pieces;

	prom_merge_init(&merge, CurrentMemoryContext);
	(void) prom_merge_add(&merge, chunk, 0);
	prom_pieces_init(&pieces, shard, CurrentMemoryContext);
	prom_pieces_cut(&pieces, &merge);
	for (int i = 0; i < pieces.n; i++)
	{
		if (i == 0 || pieces.piece[i].day_ms != pieces.piece[i - 1].day_ms)
		{
			prom_make_day(pieces.piece[i].day_ms);
			prom_compaction_mark(shard, pieces.piece[i].day_ms);
		}
		pieces.piece[i].gen = PROM_GEN_FULL;
	}
	prom_rollup_mark(shard, pieces.piece, pieces.n);
	prom_pieces_write(&pieces, true);
}

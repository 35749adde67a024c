/*
 * compact.c
 *	  Rows of a day that is over become as few as possible, for good.
 *
 * Merging leaves up to seven small rows of each generation, and full rows that were made to be read
 * while the day went on.  A compaction takes all rows of a block of series and the day, and makes rows
 * that are larger than a page, with zstd and a checksum: these are kept beside the table, where they
 * leave no free space.  Rows are cut at slices of the day first, so that a query of an hour reads little
 * more than that, then by series.
 *
 * A step looks at some blocks of ids and takes in those that are worth it until it has read so many
 * bytes.  Late rows come to a compacted day by ordinary merges; a block's are taken in when they make
 * an eighth of what it has of the day, so that a late sample is written again eight times at most,
 * counting those that go with it.
 *
 * prom.compaction has a mark for each shard and day that is to be looked at, where the next step is to
 * begin, and whether rows have come since the first one: whoever writes rows of the day says so.
 *
 * Invariants.  Taking and writing are one transaction.  All rows of a block and day are taken, in the
 * order of seq, so that nothing is left that could be later or older than it should.
 *
 * Locking: the shard's (step.c).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "store/rows.h"

#define STEP_BLOCKS		256		/* ids of blocks that a step looks at, at most */
#define STEP_BYTES		(8 * 1024 * 1024)	/* it ends when it has read so many */
#define BLOCK_BYTES		(64 * 1024 * 1024)	/* a block with more in one day is left as it is */
#define ROW_COST		120		/* bytes of a row that are not its chunk: head, columns, index */
#define WORTH			8		/* what is not compacted must be one of so many parts */

#define ROW_BYTES		(24 * 1024) /* a row is cut at this size, before zstd */
#define SLICE_SAMPLES	2048	/* of one series in one slice, about, where the bytes allow it */

typedef struct Compaction
{
	int16		shard;
	int64		day_ms;
	bool		all;			/* take every block in that is not compacted */
	int32		first_block;
	int32		next_block;
	int32		block;			/* the one that is being read */
} Compaction;

static void run(void *arg);
static int64 set_aside(void *arg);
static bool is_due(const Compaction *c, uint64 row, int32 *block, int64 *bytes);
static void compact_block(Compaction *c, PromPieces *out);
static void take_rows(Compaction *c, PromMerge *merge, PromPieces *out);
static int	slices(int samples, int64 bytes);
static Datum column(uint64 row, int number);
static void advance(const Compaction *c);

PG_FUNCTION_INFO_V1(prom_compact_step);
PG_FUNCTION_INFO_V1(prom_mark_compaction);

void
prom_compaction_mark(int16 shard, int64 day_ms)
{
	Oid			types[] = {INT2OID, INT8OID};
	Datum		args[] = {Int16GetDatum(shard), Int64GetDatum(day_ms)};

	prom_store_execute("INSERT INTO prom.compaction AS c (shard, day, seq) SELECT $1, $2, s.last_value FROM prom.store_seq s "
					   "ON CONFLICT (shard, day) DO UPDATE SET again = true WHERE c.next_block IS DISTINCT FROM 0 AND NOT c.again", 2, types, args, SPI_OK_INSERT);
}

/* _mark_compaction(shard, day) */
Datum
prom_mark_compaction(PG_FUNCTION_ARGS)
{
	SPI_connect();
	prom_compaction_mark(PG_GETARG_INT16(0), PG_GETARG_INT64(1));
	SPI_finish();
	PG_RETURN_VOID();
}

/* _compact_step(shard, day, all) -> true if there is more to do */
Datum
prom_compact_step(PG_FUNCTION_ARGS)
{
	Compaction	c = {.shard = PG_GETARG_INT16(0), .day_ms = prom_day_start(PG_GETARG_INT64(1)), .all = PG_GETARG_BOOL(2)};
	PromStep	work = {run, set_aside, &c};
	instr_time	begin;
	instr_time	end;

	INSTR_TIME_SET_CURRENT(begin);
	(void) prom_step_run(&work, c.shard, PROM_STEP_WAIT);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	prom_stat_count(PROM_STAT_COMPACT_STEPS, 1);
	prom_stat_count(PROM_STAT_COMPACT_US, INSTR_TIME_GET_MICROSEC(end));
	prom_stat_stamp(PROM_STAT_COMPACT_LAST);
	PG_RETURN_BOOL(c.next_block > 0);
}

static void
run(void *arg)
{
	Compaction *c = arg;
	Oid			types[] = {INT2OID, INT8OID};
	Datum		args[] = {Int16GetDatum(c->shard), Int64GetDatum(c->day_ms)};
	int32		last_block;

	SPI_connect();
	c->next_block = 0;
	prom_store_execute("SELECT m.next_block, h.next_block FROM prom.compaction m JOIN prom.shard h USING (shard) "
					   "WHERE m.shard = $1 AND m.day = $2 AND m.next_block IS NOT NULL", 2, types, args, SPI_OK_SELECT);
	if (SPI_processed > 0)
	{
		SPITupleTable *found;
		PromPieces	out;
		int64		done = 0;
		Oid			block_types[] = {INT2OID, INT8OID, INT8OID, INT4OID, INT4OID};
		Datum		block_args[] = {args[0], args[1], Int64GetDatum(c->day_ms + PROM_DAY_MS), 0, 0};

		c->first_block = DatumGetInt32(column(0, 1));
		last_block = DatumGetInt32(column(0, 2));
		c->next_block = c->first_block + STEP_BLOCKS;
		block_args[3] = Int32GetDatum(c->first_block);
		block_args[4] = Int32GetDatum(c->next_block);
		prom_store_execute("SELECT w.block, pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE w.gen <> 128), "
						   "pg_catalog.sum(pg_catalog.pg_column_size(w.data))::pg_catalog.int8, "
						   "COALESCE(pg_catalog.sum(pg_catalog.pg_column_size(w.data)) FILTER (WHERE w.gen <> 128), 0)::pg_catalog.int8 "
						   "FROM prom.warm w WHERE w.shard = $1 AND w.t_min >= $2 AND w.t_min < $3 AND w.block >= $4 AND w.block < $5 "
						   "GROUP BY 1 ORDER BY 1", 5, block_types, block_args, SPI_OK_SELECT);
		found = SPI_tuptable;
		prom_pieces_init(&out, c->shard, CurrentMemoryContext);
		out.style = PROM_CHUNK_COLD;
		out.row_bytes = ROW_BYTES;
		out.series_samples = PROM_CHUNK_MAX_SAMPLES;
		out.gen = PROM_GEN_COMPACT;
		for (uint64 row = 0, n = SPI_processed; row < n; row++)
		{
			int64		bytes;

			SPI_tuptable = found;
			if (!is_due(c, row, &c->block, &bytes))
				continue;
			if (done > 0 && done + bytes > STEP_BYTES)
			{
				c->next_block = c->block;
				break;
			}
			compact_block(c, &out);
			done += bytes;
		}
		prom_pieces_write(&out, false);
		if (c->next_block >= last_block)
			c->next_block = 0;
		advance(c);
	}
	SPI_finish();
}

/* False if compacting the block of this row of the survey is not worth it. */
static bool
is_due(const Compaction *c, uint64 row, int32 *block, int64 *bytes)
{
	int64		rows = DatumGetInt64(column(row, 2));
	int64		loose_rows = DatumGetInt64(column(row, 3));
	int64		loose_bytes = DatumGetInt64(column(row, 5)) + loose_rows * ROW_COST;

	*block = DatumGetInt32(column(row, 1));
	*bytes = DatumGetInt64(column(row, 4)) + rows * ROW_COST;
	return loose_rows > 0 && *bytes <= BLOCK_BYTES && (c->all || loose_bytes * WORTH >= *bytes);
}

static void
compact_block(Compaction *c, PromPieces *out)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "promgres compaction block", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	SPITupleTable *rows;
	PromMerge	merge;

	CHECK_FOR_INTERRUPTS();
	prom_merge_init(&merge, cxt);
	take_rows(c, &merge, out);
	rows = SPI_tuptable;
	prom_pieces_cut(out, &merge);
	SPI_freetuptable(rows);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

/* Delete the rows of the block, with their chunks as input of the merge; set the slices they are cut at. */
static void
take_rows(Compaction *c, PromMerge *merge, PromPieces *out)
{
	Oid			types[] = {INT2OID, INT4OID, INT8OID, INT8OID};
	Datum		args[] = {Int16GetDatum(c->shard), Int32GetDatum(c->block), Int64GetDatum(c->day_ms),
	Int64GetDatum(c->day_ms + PROM_DAY_MS)};
	int			samples[1 << PROM_BLOCK_BITS] = {0};
	int			most = 0;
	int64		bytes = 0;
	int64		t_min = PG_INT64_MAX;
	int64		t_max = PG_INT64_MIN;

	prom_store_execute("DELETE FROM prom.warm w WHERE w.shard = $1 AND w.block = $2 AND w.t_min >= $3 AND w.t_min < $4 "
					   "RETURNING w.seq, w.t_min, w.t_max, w.data", 4, types, args, SPI_OK_DELETE_RETURNING);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		PromChunk  *chunk = DatumGetPromChunkP(column(i, 4));
		PromRowBounds bounds = prom_warm_bounds(c->shard, c->block, DatumGetInt64(column(i, 2)), DatumGetInt64(column(i, 3)));
		const PromChunkReader *r = prom_merge_add(merge, chunk, DatumGetInt64(column(i, 1)));

		prom_check_bounds(r, &bounds);
		for (int k = 0; k < r->nseries; k++)
		{
			int		   *n = &samples[r->sids[k] & ((1 << PROM_BLOCK_BITS) - 1)];

			*n += prom_chunk_count(r, k);
			most = Max(most, *n);
		}
		bytes += VARSIZE_ANY(chunk);
		t_min = Min(t_min, r->t_min);
		t_max = Max(t_max, r->t_max);
	}
	prom_stat_count(PROM_STAT_COMPACT_ROWS, SPI_processed);
	out->slice_from_ms = t_min;
	out->slice_ms = (t_max - t_min) / slices(most, bytes) + 1;
}

/*
 * So many that each makes a row, but does not part samples that are few; and never so few that a series
 * would need several rows in one slice, each of them its own.
 */
static int
slices(int samples, int64 bytes)
{
	int			needed = samples / (PROM_CHUNK_MAX_SAMPLES * 3 / 4) + 1;
	int			useful = samples / SLICE_SAMPLES + 1;

	return Min(PROM_MAX_SLICES, Max(needed, (int) Min(useful, bytes / ROW_BYTES)));
}

static Datum
column(uint64 row, int number)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &isnull);
}

/* The mark says where the next step begins; NULL: the day is through, unless rows have come meanwhile. */
static void
advance(const Compaction *c)
{
	Oid			types[] = {INT2OID, INT8OID, INT4OID};
	Datum		args[] = {Int16GetDatum(c->shard), Int64GetDatum(c->day_ms), Int32GetDatum(c->next_block)};

	prom_store_execute("UPDATE prom.compaction SET next_block = NULLIF($3, 0) WHERE shard = $1 AND day = $2",
					   3, types, args, SPI_OK_UPDATE);
}

/* Of the block that was being read. */
static int64
set_aside(void *arg)
{
	const Compaction *c = arg;
	Oid			types[] = {INT2OID, INT4OID, INT8OID, INT8OID};
	Datum		args[] = {Int16GetDatum(c->shard), Int32GetDatum(c->block), Int64GetDatum(c->day_ms),
	Int64GetDatum(c->day_ms + PROM_DAY_MS)};
	int64		n;

	SPI_connect();
	n = prom_quarantine_rows("warm", "r.shard = $1 AND r.block = $2 AND r.t_min >= $3 AND r.t_min < $4", 4, types, args);
	SPI_finish();
	return n;
}

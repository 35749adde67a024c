/*
 * merge.c
 *	  Fresh rows become warm rows, and small warm rows become larger ones.
 *
 * A step takes the oldest fresh rows of a shard and regroups their samples into pieces: one block of
 * 64 series on one day each, generation 0.  Where a block and day thereby comes to eight rows of one
 * generation, these and all of lower generations are taken in as well and make rows of the next.
 * A row that is full is never taken again; so that it cannot stand between an older small row and a
 * later merge of that, rows become full only where all small rows of the block and day are taken in.
 *
 * Each new day is a partition, so a step makes rows of so many days at most, the newest first.  What
 * belongs to others goes back to prom.fresh as late rows, of one day each.  A later step takes up some
 * of these days, the newest again; and a day that it makes rows of for another reason, with all late
 * rows of that day.  So today's samples do not wait for those of twenty thousand days gone by.
 *
 * Memory: what is taken is bounded by rows; days are written one by one, and rows that are merged
 * again in slices of so many bytes.
 *
 * Invariants.  A sample is visible at every moment through exactly one row: taking and writing are
 * one transaction.  Of two samples with one timestamp the later commit wins: a step takes fresh rows
 * in the order of their seq, so what it leaves is later than what it takes; late rows of a day are
 * older than all that is merged for this day after them, and are taken with it; and of a block and day
 * it takes all rows of a generation and below, so what it leaves there is older than what it takes.
 *
 * Damage: see step.c.
 *
 * Locking: the shard's (step.c); a second merge of the shard does nothing, a deletion waits.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "store/rows.h"

#define STEP_DAYS		64		/* days that get rows in one step */
#define LATE_DAYS		16		/* of them for late rows, if there are any */
#define FOREIGN_LATE_ROWS 2000	/* that are merged with samples from elsewhere */
#define FAN_IN			8		/* rows of one generation that make one of the next */
#define SLICE_BYTES		(32 * 1024 * 1024)	/* of warm rows that are taken in at a time */

/* A day with late rows. */
typedef struct LateDay
{
	int64		day_ms;
	int64		rows;
	bool		done;
} LateDay;

/* A step, and what it was reading when it failed: that outlives its subtransaction. */
typedef struct Step
{
	int16		shard;
	int			max_rows;
	MemoryContext cxt;
	int			taken;			/* fresh rows, late ones among them */
	void		(*fill) (PromPieces *pieces, void *arg);	/* NULL: from fresh rows; else what is written comes from here */
	void	   *fill_arg;

	enum
	{
		READS_FRESH,
		READS_LATE,
		READS_WARM
	}			reads;
	int64		day_ms;			/* late, warm */
	ArrayType  *blocks;			/* warm */
	ArrayType  *below;

	/* within the subtransaction */
	int64		last_seq;		/* of the fresh rows that were taken */
	PromPieces	pieces;
	LateDay    *late;			/* the newest first */
	int			nlate;
} Step;

/* A block whose rows of generations below "below" are merged with its pieces of the day. */
typedef struct Target
{
	int32		block;
	int16		below;			/* PROM_GEN_FULL: all small rows */
	bool		whole;			/* no small row is left */
	int64		bytes;
	PromMerge	merge;
} Target;

/* A block of the pieces of one day, and what prom.warm holds of it. */
typedef struct BlockState
{
	int32		block;
	int64		bytes;			/* of the pieces and of the rows that go with them */
	bool		full;			/* one of the pieces is */
	bool		rows;			/* it has small rows */
	bool		left;			/* some of them stay */
	int16		below;
} BlockState;

static int64 set_aside_damaged(void *arg);
static void run_step(void *arg);
static void cut_fresh(Step *step);
static void take_fresh(Step *step, PromMerge *merge);
static int64 add_fresh(Step *step, PromMerge *merge);
static Datum column(uint64 row, int number);
static void find_late_days(Step *step);
static void merge_days(Step *step);
static LateDay *late_day(Step *step, int64 day_ms);
static void merge_day(Step *step, int64 day_ms, PromPiece *first, int n);
static void take_late(Step *step, LateDay *late, PromMerge *merge);
static void put_back(Step *step, PromPiece *first, int n);
static void raise_generations(Step *step, PromPiece *first, int n, const PromPieces *like);
static int	find_targets(Step *step, const PromPiece *first, int n, Target *targets);
static int	survey_blocks(Step *step, const PromPiece *first, int n, BlockState *states);
static void merge_targets(Step *step, Target *targets, int ntargets, PromPiece *first, int n, const PromPieces *like);
static void take_warm(Step *step, Target *targets, int n);

PG_FUNCTION_INFO_V1(prom_merge_step);

Datum
prom_merge_step(PG_FUNCTION_ARGS)
{
	Step		step = {.shard = PG_GETARG_INT16(0), .max_rows = PG_GETARG_INT32(1), .cxt = CurrentMemoryContext};
	PromStep	work = {run_step, set_aside_damaged, &step};
	instr_time	begin;
	instr_time	end;

	INSTR_TIME_SET_CURRENT(begin);
	if (!prom_step_run(&work, step.shard, PROM_STEP_TRY))
		PG_RETURN_INT32(0);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	if (step.taken > 0)
	{
		prom_stat_count(PROM_STAT_MERGE_STEPS, 1);
		prom_stat_count(PROM_STAT_MERGE_US, INSTR_TIME_GET_MICROSEC(end));
		prom_stat_stamp(PROM_STAT_MERGE_LAST);
	}
	PG_RETURN_INT32(step.taken);
}

/*
 * Late rows of it have the seq 0: nothing in prom.fresh is older, as nothing of it was taken.
 */
void
prom_merge_foreign(int16 shard, void (*fill) (PromPieces *pieces, void *arg), void *arg)
{
	Step		step = {.shard = shard, .max_rows = FOREIGN_LATE_ROWS, .cxt = CurrentMemoryContext, .reads = READS_LATE, .fill = fill, .fill_arg = arg};
	PromStep	work = {run_step, set_aside_damaged, &step};

	(void) prom_step_run(&work, shard, PROM_STEP_WAIT);
}

/* Of the rows that the step was reading; returns how many. */
static int64
set_aside_damaged(void *arg)
{
	const Step *step = arg;
	Oid			types[] = {INT2OID, INT8OID, INT4ARRAYOID, INT2ARRAYOID, INT8OID};
	Datum		args[] = {Int16GetDatum(step->shard), Int64GetDatum(step->day_ms), PointerGetDatum(step->blocks),
		PointerGetDatum(step->below), Int64GetDatum(step->day_ms + PROM_DAY_MS)};
	int64		n = 0;

	SPI_connect();
	switch (step->reads)
	{
		case READS_FRESH:
			args[1] = Int64GetDatum(step->max_rows);
			n = prom_quarantine_rows("fresh", "r.shard = $1 AND r.day IS NULL AND r.seq <= (SELECT pg_catalog.max(o.seq) FROM ("
									 "SELECT seq FROM prom.fresh WHERE shard = $1 AND day IS NULL ORDER BY seq LIMIT $2) o)",
									 2, types, args);
			break;
		case READS_LATE:
			n = prom_quarantine_rows("fresh", "r.shard = $1 AND r.day = $2", 2, types, args);
			break;
		case READS_WARM:
			n = prom_quarantine_rows("warm", "r.shard = $1 AND r.t_min >= $2 AND r.t_min < $5 AND r.gen < 127 AND "
									 "(r.block, true) IN (SELECT x.block, r.gen < x.below FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4)) AS x(block, below))",
									 5, types, args);
			break;
	}
	SPI_finish();
	return n;
}

static void
run_step(void *arg)
{
	Step	   *step = arg;

	SPI_connect();
	step->taken = 0;
	prom_pieces_init(&step->pieces, step->shard, CurrentMemoryContext);
	step->pieces.may_be_full = true;
	if (step->fill)
		step->fill(&step->pieces, step->fill_arg);
	else
		cut_fresh(step);
	find_late_days(step);
	merge_days(step);
	SPI_finish();
}

/* The oldest fresh rows become pieces. */
static void
cut_fresh(Step *step)
{
	MemoryContext input = AllocSetContextCreate(CurrentMemoryContext, "promgres merge input", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(input);
	PromMerge	merge;

	step->reads = READS_FRESH;
	prom_merge_init(&merge, input);
	take_fresh(step, &merge);
	prom_pieces_cut(&step->pieces, &merge);
	MemoryContextSwitchTo(old);
	if (SPI_tuptable)
		SPI_freetuptable(SPI_tuptable);
	MemoryContextDelete(input);
}

/* Delete the oldest fresh rows, with their chunks as input of the merge. */
static void
take_fresh(Step *step, PromMerge *merge)
{
	Oid			types[] = {INT2OID, INT4OID};
	Datum		args[] = {Int16GetDatum(step->shard), Int32GetDatum(step->max_rows)};

	prom_store_execute("DELETE FROM prom.fresh f WHERE f.shard = $1 AND f.day IS NULL AND f.seq <= ("
					   "SELECT pg_catalog.max(o.seq) FROM (SELECT seq FROM prom.fresh WHERE shard = $1 AND day IS NULL ORDER BY seq LIMIT $2) o"
					   ") RETURNING f.sid_min, f.sid_max, f.t_min, f.t_max, f.seq, f.data", 2, types, args, SPI_OK_DELETE_RETURNING);
	step->last_seq = add_fresh(step, merge);
}

/* The rows just deleted become input of the merge; returns the greatest seq of them. */
static int64
add_fresh(Step *step, PromMerge *merge)
{
	int64		last_seq = 0;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int64		seq = DatumGetInt64(column(i, 5));
		PromRowBounds bounds = {step->shard, DatumGetInt32(column(i, 1)), DatumGetInt32(column(i, 2)),
		DatumGetInt64(column(i, 3)), DatumGetInt64(column(i, 4))};

		prom_check_bounds(prom_merge_add(merge, DatumGetPromChunkP(column(i, 6)), seq), &bounds);
		last_seq = Max(last_seq, seq);
	}
	step->taken += (int) SPI_processed;
	prom_stat_count(PROM_STAT_MERGE_FRESH_ROWS, SPI_processed);
	return last_seq;
}

static Datum
column(uint64 row, int number)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &isnull);
}

/* The days of late rows, the newest first. */
static void
find_late_days(Step *step)
{
	Oid			type = INT2OID;
	Datum		arg = Int16GetDatum(step->shard);

	prom_store_execute("SELECT f.day, pg_catalog.count(*) FROM prom.fresh f WHERE f.shard = $1 AND f.day IS NOT NULL "
					   "GROUP BY 1 ORDER BY 1 DESC", 1, &type, &arg, SPI_OK_SELECT);
	step->nlate = (int) SPI_processed;
	step->late = palloc0(sizeof(LateDay) * (step->nlate + 1));
	for (int i = 0; i < step->nlate; i++)
	{
		step->late[i].day_ms = DatumGetInt64(column(i, 1));
		step->late[i].rows = DatumGetInt64(column(i, 2));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* The newest days of the pieces, then the newest late ones. */
static void
merge_days(Step *step)
{
	PromPiece  *piece = step->pieces.piece;
	int			n = step->pieces.n;
	int			days = 0;

	if (n > 0)
		qsort(piece, n, sizeof(PromPiece), prom_compare_pieces);
	for (int first = 0, next; first < n; first = next)
	{
		int64		day_ms = piece[first].day_ms;
		LateDay    *late = late_day(step, day_ms);

		for (next = first; next < n && piece[next].day_ms == day_ms;)
			next++;
		if (days >= STEP_DAYS - Min(LATE_DAYS, step->nlate))
		{
			put_back(step, &piece[first], n - first);
			break;
		}
		/* More late rows than a step may take come first, and alone. */
		if (late && late->rows > step->max_rows)
			put_back(step, &piece[first], next - first);
		else
		{
			merge_day(step, day_ms, &piece[first], next - first);
			days++;
		}
	}
	for (int i = 0; i < step->nlate && days < STEP_DAYS; i++)
	{
		if (step->late[i].done)
			continue;
		merge_day(step, step->late[i].day_ms, NULL, 0);
		days++;
	}
}

static LateDay *
late_day(Step *step, int64 day_ms)
{
	int			low = 0;
	int			high = step->nlate;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (step->late[middle].day_ms > day_ms)
			low = middle + 1;
		else
			high = middle;
	}
	return low < step->nlate && step->late[low].day_ms == day_ms ? &step->late[low] : NULL;
}

/* Write the pieces of a day, its late rows and the small rows that go with them. */
static void
merge_day(Step *step, int64 day_ms, PromPiece *first, int n)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "promgres merge day", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	LateDay    *late = late_day(step, day_ms);
	PromPieces	pieces;

	CHECK_FOR_INTERRUPTS();
	step->day_ms = day_ms;
	prom_make_day(day_ms);
	prom_pieces_init_like(&pieces, &step->pieces, cxt);
	pieces.may_be_full = true;
	if (late)
	{
		PromMerge	merge;

		step->reads = READS_LATE;
		prom_merge_init(&merge, cxt);
		take_late(step, late, &merge);
		for (int i = 0; i < n; i++)
			(void) prom_merge_add(&merge, first[i].data, PROM_FRESH_ORDER);
		prom_pieces_cut(&pieces, &merge);
		SPI_freetuptable(SPI_tuptable);
		first = pieces.piece;
		n = pieces.n;
		qsort(first, n, sizeof(PromPiece), prom_compare_pieces);
	}
	if (n > 0)
	{
		prom_rollup_mark(step->shard, first, n);
		raise_generations(step, first, n, &pieces);
		pieces.piece = first;
		pieces.n = n;
		prom_pieces_write(&pieces, false);
		prom_compaction_mark(step->shard, day_ms);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

/* Late rows of one step share a number, but hold no two samples of one series and time. */
static void
take_late(Step *step, LateDay *late, PromMerge *merge)
{
	Oid			types[] = {INT2OID, INT8OID, INT4OID};
	Datum		args[] = {Int16GetDatum(step->shard), Int64GetDatum(late->day_ms), Int32GetDatum(step->max_rows)};

	prom_store_execute("DELETE FROM prom.fresh f WHERE f.ctid = ANY (ARRAY("
					   "SELECT o.ctid FROM prom.fresh o WHERE o.shard = $1 AND o.day = $2 ORDER BY o.seq LIMIT $3)) "
					   "RETURNING f.sid_min, f.sid_max, f.t_min, f.t_max, f.seq, f.data", 3, types, args, SPI_OK_DELETE_RETURNING);
	(void) add_fresh(step, merge);
	late->done = true;
}

/* Pieces become late rows; with the last seq that was taken they are older than what is left. */
static void
put_back(Step *step, PromPiece *first, int n)
{
	Relation	rel = prom_store_open_for_insert("fresh");

	for (int i = 0; i < n; i++)
	{
		PromPiece  *p = &first[i];
		PromFreshRow row = {.t_min = p->t_min, .t_max = p->t_max, .samples = p->samples, .seq = step->last_seq,
		.day_ms = p->day_ms, .late = true};
		PromChunkReader r = {0};

		CHECK_FOR_INTERRUPTS();
		prom_chunk_open(&r, p->data);
		row.sid_min = r.sids[0];
		row.sid_max = r.sids[r.nseries - 1];
		prom_store_insert_fresh(rel, step->shard, &row, p->data);
		p->data = NULL;
	}
	table_close(rel, NoLock);
}

/*
 * The pieces of one day, sorted by block: where rows of the day have piled up, or a piece is full,
 * pieces and rows are replaced by pieces of a higher generation, which are written.
 */
static void
raise_generations(Step *step, PromPiece *first, int n, const PromPieces *like)
{
	Target	   *targets = palloc(sizeof(Target) * n);
	int			ntargets = find_targets(step, first, n, targets);

	for (int begin = 0, end; begin < ntargets; begin = end)
	{
		int64		bytes = 0;

		for (end = begin; end < ntargets && (end == begin || bytes + targets[end].bytes <= SLICE_BYTES); end++)
			bytes += targets[end].bytes;
		merge_targets(step, &targets[begin], end - begin, first, n, like);
	}
}

/* Merge the pieces of these blocks with their rows, and write the result. */
static void
merge_targets(Step *step, Target *targets, int ntargets, PromPiece *first, int n, const PromPieces *like)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "promgres merge slice", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	SPITupleTable *rows;
	PromPieces	out;

	prom_pieces_init_like(&out, like, cxt);
	for (int i = 0; i < ntargets; i++)
		prom_merge_init(&targets[i].merge, cxt);
	take_warm(step, targets, ntargets);
	rows = SPI_tuptable;
	for (int t = 0, p = 0; t < ntargets; t++)
	{
		while (first[p].block < targets[t].block)
			p++;
		for (; p < n && first[p].block == targets[t].block; p++)
		{
			(void) prom_merge_add(&targets[t].merge, first[p].data, PROM_FRESH_ORDER);
			first[p].data = NULL;
		}
		out.gen = targets[t].below == PROM_GEN_FULL ? 0 : targets[t].below;
		out.may_be_full = targets[t].whole;
		prom_pieces_cut(&out, &targets[t].merge);
	}
	SPI_freetuptable(rows);
	prom_pieces_write(&out, false);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

/* Blocks of these pieces whose rows are to be taken in; ascending. */
static int
find_targets(Step *step, const PromPiece *first, int n, Target *targets)
{
	BlockState *states = palloc0(sizeof(BlockState) * n);
	int			nblocks = survey_blocks(step, first, n, states);
	int			ntargets = 0;

	for (int b = 0; b < nblocks; b++)
	{
		BlockState *state = &states[b];

		if (state->rows && (state->full || (state->below > 0 && state->bytes >= PROM_FULL_BYTES)))
		{
			state->below = PROM_GEN_FULL;
			state->left = false;
		}
		if (state->below == 0)
			continue;
		targets[ntargets].block = state->block;
		targets[ntargets].bytes = state->bytes;
		targets[ntargets].below = state->below;
		targets[ntargets++].whole = !state->left;
	}
	return ntargets;
}

/* The blocks of these pieces, ascending, and which generations of theirs come to eight rows. */
static int
survey_blocks(Step *step, const PromPiece *first, int n, BlockState *states)
{
	int			nblocks = 0;
	BlockState *state = states;
	Datum	   *blocks = palloc(sizeof(Datum) * n);
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT8OID, INT8OID};
	Datum		args[] = {Int16GetDatum(step->shard), 0, Int64GetDatum(first->day_ms),
	Int64GetDatum(first->day_ms + PROM_DAY_MS)};

	for (int i = 0; i < n; i++)
	{
		if (nblocks == 0 || states[nblocks - 1].block != first[i].block)
		{
			states[nblocks].block = first[i].block;
			blocks[nblocks++] = Int32GetDatum(first[i].block);
		}
		states[nblocks - 1].bytes += VARSIZE(first[i].data);
		states[nblocks - 1].full |= first[i].gen == PROM_GEN_FULL;
	}
	args[1] = PointerGetDatum(construct_array(blocks, nblocks, INT4OID, 4, true, TYPALIGN_INT));

	prom_store_execute("SELECT w.block, w.gen, pg_catalog.count(*)::pg_catalog.int4, pg_catalog.sum(pg_catalog.pg_column_size(w.data)) "
			"FROM prom.warm w "
			"WHERE w.shard = $1 AND w.block = ANY ($2) AND w.t_min >= $3 AND w.t_min < $4 AND w.gen < 127 "
			"GROUP BY 1, 2 ORDER BY 1, 2", 4, types, args, SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		int32		block = DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull));
		int16		gen = DatumGetInt16(SPI_getbinval(row, desc, 2, &isnull));
		int32		rows = DatumGetInt32(SPI_getbinval(row, desc, 3, &isnull));
		int64		bytes = DatumGetInt64(SPI_getbinval(row, desc, 4, &isnull));

		while (state->block < block)
			state++;
		/* One row more comes from below: the piece itself, or what the lower generations make. */
		state->rows = true;
		state->bytes += bytes;
		if (gen == state->below && rows + 1 >= FAN_IN)
			state->below = gen + 1;
		else
			state->left = true;
	}
	return nblocks;
}

/* Delete the small rows of the targets, with their chunks as input of the targets' merges. */
static void
take_warm(Step *step, Target *targets, int n)
{
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT2ARRAYOID, INT8OID, INT8OID};
	Datum	   *blocks = palloc(sizeof(Datum) * n);
	Datum	   *below = palloc(sizeof(Datum) * n);
	Datum		args[] = {Int16GetDatum(step->shard), 0, 0, Int64GetDatum(step->day_ms), Int64GetDatum(step->day_ms + PROM_DAY_MS)};
	MemoryContext old;

	for (int i = 0; i < n; i++)
	{
		blocks[i] = Int32GetDatum(targets[i].block);
		below[i] = Int16GetDatum(targets[i].below);
	}
	old = MemoryContextSwitchTo(step->cxt);
	if (step->blocks)
		pfree(step->blocks);
	if (step->below)
		pfree(step->below);
	step->blocks = construct_array(blocks, n, INT4OID, 4, true, TYPALIGN_INT);
	step->below = construct_array(below, n, INT2OID, 2, true, TYPALIGN_SHORT);
	MemoryContextSwitchTo(old);
	step->reads = READS_WARM;
	args[1] = PointerGetDatum(step->blocks);
	args[2] = PointerGetDatum(step->below);
	prom_store_execute("DELETE FROM prom.warm w USING ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS x(block, below) "
					   "WHERE w.shard = $1 AND w.block = x.block AND w.gen < x.below AND w.t_min >= $4 AND w.t_min < $5 "
					   "RETURNING w.block, w.seq, w.t_min, w.t_max, w.data", 5, types, args, SPI_OK_DELETE_RETURNING);
	prom_stat_count(PROM_STAT_MERGE_WARM_ROWS, SPI_processed);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int32		block = DatumGetInt32(column(i, 1));
		int64		seq = DatumGetInt64(column(i, 2));
		PromRowBounds bounds = prom_warm_bounds(step->shard, block, DatumGetInt64(column(i, 3)), DatumGetInt64(column(i, 4)));
		int			low = 0;
		int			high = n - 1;

		while (low < high)
		{
			int			middle = (low + high) / 2;

			if (targets[middle].block < block)
				low = middle + 1;
			else
				high = middle;
		}
		prom_check_bounds(prom_merge_add(&targets[low].merge, DatumGetPromChunkP(column(i, 5)), seq), &bounds);
	}
}

void
prom_make_day(int64 day_ms)
{
	Oid			type = INT8OID;
	Datum		arg = Int64GetDatum(day_ms);

	prom_store_execute("SELECT prom._make_day($1)", 1, &type, &arg, SPI_OK_SELECT);
	SPI_freetuptable(SPI_tuptable);
}

void
prom_store_execute(const char *sql, int nargs, const Oid *types, const Datum *args, int expected)
{
	MemoryContext old = CurrentMemoryContext;
	int			rc = SPI_execute_with_args(sql, nargs, (Oid *) types, (Datum *) args, NULL, false, 0);

	MemoryContextSwitchTo(old);
	if (rc != expected)
		elog(ERROR, "unexpected result %s of: %s", SPI_result_code_string(rc), sql);
}

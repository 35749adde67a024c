/*
 * merge.c
 *	  Fresh rows become warm rows, and small warm rows become larger ones.
 *
 * A step takes the oldest fresh rows of a shard and regroups their samples into pieces: one block of
 * 64 series on one day each, generation 0.  Where a block and day thereby comes to eight rows of one
 * generation, these and all of lower generations are taken in as well and make rows of the next.
 * A row that is full is never taken again; so that it cannot stand between an older small row and a
 * later merge of that, rows become full only where all small rows of the block and day are taken in.
 * Then the pieces are written as rows of prom.warm.  A step makes rows of so many days at most; what
 * belongs to others goes back to prom.fresh, for the next step: each new day is a partition, and a
 * transaction that made thousands would run out of locks, again and again.
 *
 * Invariants.  A sample is visible at every moment through exactly one row: taking and writing are
 * one transaction.  Of two samples with one timestamp the later commit wins: a step takes fresh rows
 * in the order of their seq, so what it leaves is later than what it takes; and of a block and day it
 * takes all rows of a generation and below, so what it leaves there is older than what it takes.
 *
 * Locking: a lock per shard, held to the end of the transaction; a second merge of the shard does
 * nothing, a deletion waits.  Readers are never blocked.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "store/private.h"

#define STEP_DAYS		64		/* days that get rows in one step */
#define FAN_IN			8		/* rows of one generation that make one of the next */
#define GEN_FULL		127		/* never merged again */
#define ROW_BYTES		7600	/* a row is cut at this size: it stays in the page */
#define FULL_BYTES		5000	/* from this size on another round of merging gains little */
#define SERIES_SAMPLES	4096	/* of one series in one row, at most */
#define RUN_BYTES		(256 * 1024)	/* of the histograms of one series in one row, unpacked */
#define MAX_FILLING		64		/* days of one block that are filled at a time */

/* A warm row to be. */
typedef struct Piece
{
	int32		block;
	int16		gen;
	int32		samples;
	int64		day_ms;
	int64		t_min;
	int64		t_max;
	PromChunk  *data;			/* NULL: went into another piece */
} Piece;

/* The row of one day that is being filled. */
typedef struct Filling
{
	PromChunkBuilder *builder;
	Piece		piece;
	int32		last_sid;
} Filling;

typedef struct Pieces
{
	Piece	   *piece;
	int			n;
	int			size;
	MemoryContext cxt;
	int16		gen;			/* of the pieces being made */
	bool		may_be_full;	/* may they? */
	Filling		filling[MAX_FILLING];	/* builders are large: kept from block to block */
} Pieces;

/* A block whose rows of generations below "below" are merged with its pieces of the day. */
typedef struct Target
{
	int32		block;
	int16		below;			/* GEN_FULL: all small rows */
	bool		whole;			/* no small row is left */
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

static bool lock_merge(int16 shard, bool wait);
static int	take_fresh(int16 shard, int max_rows, PromMerge *merge, int64 *last_seq);
static void merge_days(int16 shard, int64 last_seq, Pieces *pieces);
static void put_back(int16 shard, int64 seq, Piece *first, int n);
static void make_pieces(int16 shard, PromMerge *merge, Pieces *out);
static int	run_length(const PromGather *g, int first, int64 day_ms);
static void add_run(Filling *f, int16 shard, int32 sid, const PromGather *g, int first, int n, Pieces *out);
static void finish_piece(Filling *f, Pieces *out);
static int	compare_pieces(const void *a, const void *b);
static void raise_generations(int16 shard, Piece *first, int n, Pieces *out);
static int	find_targets(int16 shard, const Piece *first, int n, Target *targets);
static int	survey_blocks(int16 shard, const Piece *first, int n, BlockState *states);
static void take_warm(int16 shard, int64 day_ms, Target *targets, int n);
static void write_warm(int16 shard, const Pieces *pieces);
static void execute(const char *sql, int nargs, const Oid *types, const Datum *args, int expected);

PG_FUNCTION_INFO_V1(prom_merge_step);
PG_FUNCTION_INFO_V1(prom_lock_merge);

Datum
prom_merge_step(PG_FUNCTION_ARGS)
{
	int16		shard = PG_GETARG_INT16(0);
	int			max_rows = PG_GETARG_INT32(1);
	int			taken;
	int64		last_seq;
	PromMerge	merge;
	Pieces		pieces = {0};

	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a merge cannot run in a transaction that is REPEATABLE READ or SERIALIZABLE"),
				 errdetail("It must see what the merge before it has committed."),
				 errhint("Use READ COMMITTED.")));
	if (!lock_merge(shard, false))
		PG_RETURN_INT32(0);
	SPI_connect();
	prom_merge_init(&merge, CurrentMemoryContext);
	taken = take_fresh(shard, max_rows, &merge, &last_seq);
	if (taken > 0)
	{
		pieces.cxt = CurrentMemoryContext;
		pieces.may_be_full = true;
		make_pieces(shard, &merge, &pieces);
		qsort(pieces.piece, pieces.n, sizeof(Piece), compare_pieces);
		merge_days(shard, last_seq, &pieces);
		write_warm(shard, &pieces);
	}
	SPI_finish();
	PG_RETURN_INT32(taken);
}

Datum
prom_lock_merge(PG_FUNCTION_ARGS)
{
	(void) lock_merge(PG_GETARG_INT16(0), true);
	PG_RETURN_VOID();
}

/*
 * A lock on prom.warm and the shard.  Not an advisory one: anybody could take that, and merging would
 * stop without a word.
 */
static bool
lock_merge(int16 shard, bool wait)
{
	Oid			warm = prom_store_relid("warm");
	AclResult	acl = pg_class_aclcheck(warm, GetUserId(), ACL_INSERT | ACL_DELETE);
	LOCKTAG		tag;

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, "warm");
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, warm, (uint16) (shard - PG_INT16_MIN));
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* Delete the oldest fresh rows, with their chunks as input of the merge; returns how many. */
static int
take_fresh(int16 shard, int max_rows, PromMerge *merge, int64 *last_seq)
{
	Oid			types[] = {INT2OID, INT4OID};
	Datum		args[] = {Int16GetDatum(shard), Int32GetDatum(max_rows)};

	execute("DELETE FROM prom.fresh f WHERE f.shard = $1 AND f.seq <= ("
			"SELECT pg_catalog.max(o.seq) FROM (SELECT seq FROM prom.fresh WHERE shard = $1 ORDER BY seq LIMIT $2) o"
			") RETURNING f.seq, f.data", 2, types, args, SPI_OK_DELETE_RETURNING);
	*last_seq = 0;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		bool		isnull;
		int64		seq = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		Datum		data = SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull);

		prom_merge_add(merge, DatumGetPromChunkP(data), seq);
		*last_seq = Max(*last_seq, seq);
	}
	return (int) SPI_processed;
}

/* Day by day: the partition, then what there is to be merged further. */
static void
merge_days(int16 shard, int64 last_seq, Pieces *pieces)
{
	int			n = pieces->n;
	int			days = 0;

	for (int first = 0, next; first < n; first = next)
	{
		int64		day_ms = pieces->piece[first].day_ms;
		Oid			type = INT8OID;
		Datum		arg = Int64GetDatum(day_ms);

		if (days++ == STEP_DAYS)
		{
			put_back(shard, last_seq, &pieces->piece[first], n - first);
			break;
		}
		for (next = first; next < n && pieces->piece[next].day_ms == day_ms;)
			next++;
		execute("SELECT prom._make_day($1)", 1, &type, &arg, SPI_OK_SELECT);
		raise_generations(shard, &pieces->piece[first], next - first, pieces);
	}
}

/* Pieces become fresh rows again; with the last seq that was taken they are still the oldest. */
static void
put_back(int16 shard, int64 seq, Piece *first, int n)
{
	Relation	rel = prom_store_open_for_insert("fresh");

	for (int i = 0; i < n; i++)
	{
		Piece	   *p = &first[i];
		PromFreshRow row = {.t_min = p->t_min, .t_max = p->t_max, .samples = p->samples, .seq = seq};
		PromChunkReader r = {0};

		CHECK_FOR_INTERRUPTS();
		prom_chunk_open(&r, p->data);
		row.sid_min = r.sids[0];
		row.sid_max = r.sids[r.nseries - 1];
		prom_store_insert_fresh(rel, shard, &row, p->data);
		p->data = NULL;
	}
	table_close(rel, NoLock);
}

/* Cut what a merge yields into pieces: by block, by day, by size. */
static void
make_pieces(int16 shard, PromMerge *merge, Pieces *out)
{
	Filling    *filling = out->filling;
	int			nfilling = 0;
	int32		block = -1;
	int32		sid;

	while (prom_merge_next(merge, &sid))
	{
		PromGather *g = &merge->gather;

		CHECK_FOR_INTERRUPTS();
		if (sid >> PROM_BLOCK_BITS != block)
		{
			for (int i = 0; i < nfilling; i++)
				finish_piece(&filling[i], out);
			nfilling = 0;
			block = sid >> PROM_BLOCK_BITS;
		}
		for (int first = 0, next; first < g->n; first = next)
		{
			int64		day_ms = prom_day_start(g->t_ms[first]);
			int			f = 0;

			next = first + run_length(g, first, day_ms);
			while (f < nfilling && filling[f].piece.day_ms != day_ms)
				f++;
			if (f == MAX_FILLING)
			{
				for (int i = 0; i < nfilling; i++)
					finish_piece(&filling[i], out);
				f = nfilling = 0;
			}
			if (f == nfilling)
			{
				nfilling++;
				filling[f].piece.day_ms = day_ms;
			}
			add_run(&filling[f], shard, sid, g, first, next - first, out);
		}
	}
	for (int i = 0; i < nfilling; i++)
		finish_piece(&filling[i], out);
}

/* Samples from "first" on that may stand in one row: of one day, and not too many. */
static int
run_length(const PromGather *g, int first, int64 day_ms)
{
	int			end = Min(g->n, first + SERIES_SAMPLES);
	size_t		bytes = 0;
	int			i = first;

	do
	{
		if (g->histograms && g->histograms[i])
			bytes += g->histograms[i]->size;
		i++;
	} while (i < end && g->t_ms[i] < day_ms + PROM_DAY_MS && bytes < RUN_BYTES);
	return i - first;
}

/* Samples of one series within one day go into the row of that day, after it if they do not fit. */
static void
add_run(Filling *f, int16 shard, int32 sid, const PromGather *g, int first, int n, Pieces *out)
{
	const int64 *t_ms = g->t_ms + first;

	if (f->builder == NULL)
		f->builder = prom_chunk_begin(PROM_CHUNK_WARM, shard);
	if (prom_chunk_series(f->builder) > 0 &&
		(sid == f->last_sid || prom_chunk_bytes(f->builder) >= ROW_BYTES))
		finish_piece(f, out);
	if (prom_chunk_series(f->builder) == 0)
	{
		f->piece.block = sid >> PROM_BLOCK_BITS;
		f->piece.samples = 0;
		f->piece.t_min = t_ms[0];
		f->piece.t_max = t_ms[n - 1];
	}
	prom_chunk_add_mixed(f->builder, sid, n, t_ms, g->values + first, g->histograms ? g->histograms + first : NULL);
	f->last_sid = sid;
	f->piece.samples += n;
	f->piece.t_min = Min(f->piece.t_min, t_ms[0]);
	f->piece.t_max = Max(f->piece.t_max, t_ms[n - 1]);
}

static void
finish_piece(Filling *f, Pieces *out)
{
	MemoryContext old;

	if (f->builder == NULL || prom_chunk_series(f->builder) == 0)
		return;
	old = MemoryContextSwitchTo(out->cxt);
	if (out->n == out->size)
	{
		out->size = Max(out->size * 2, 1024);
		out->piece = out->piece ? repalloc_huge(out->piece, out->size * sizeof(Piece))
			: palloc(out->size * sizeof(Piece));
	}
	f->piece.data = prom_chunk_finish(f->builder);
	f->piece.gen = out->may_be_full && VARSIZE(f->piece.data) >= FULL_BYTES ? GEN_FULL : out->gen;
	out->piece[out->n++] = f->piece;
	MemoryContextSwitchTo(old);
}

static int
compare_pieces(const void *a, const void *b)
{
	const Piece *x = a;
	const Piece *y = b;

	if (x->day_ms != y->day_ms)
		return x->day_ms < y->day_ms ? -1 : 1;
	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return (x->t_min > y->t_min) - (x->t_min < y->t_min);
}

/*
 * The pieces of one day, sorted by block: where rows of the day have piled up, or a piece is full,
 * pieces and rows are replaced by pieces of a higher generation, appended to "out".  ("first" may move
 * with it.)
 */
static void
raise_generations(int16 shard, Piece *first, int n, Pieces *out)
{
	int			at = first - out->piece;
	int64		day_ms = first->day_ms;
	Target	   *targets = palloc(sizeof(Target) * n);
	int			ntargets = find_targets(shard, first, n, targets);

	if (ntargets == 0)
		return;
	for (int i = 0; i < ntargets; i++)
		prom_merge_init(&targets[i].merge, CurrentMemoryContext);
	take_warm(shard, day_ms, targets, ntargets);
	for (int t = 0, p = at; t < ntargets; t++)
	{
		while (out->piece[p].block < targets[t].block)
			p++;
		for (; p < at + n && out->piece[p].block == targets[t].block; p++)
		{
			prom_merge_add(&targets[t].merge, out->piece[p].data, PROM_FRESH_ORDER);
			out->piece[p].data = NULL;
		}
		out->gen = targets[t].below == GEN_FULL ? 0 : targets[t].below;
		out->may_be_full = targets[t].whole;
		make_pieces(shard, &targets[t].merge, out);
	}
}

/* Blocks of these pieces whose rows are to be taken in; ascending. */
static int
find_targets(int16 shard, const Piece *first, int n, Target *targets)
{
	BlockState *states = palloc0(sizeof(BlockState) * n);
	int			nblocks = survey_blocks(shard, first, n, states);
	int			ntargets = 0;

	for (int b = 0; b < nblocks; b++)
	{
		BlockState *state = &states[b];

		if (state->rows && (state->full || (state->below > 0 && state->bytes >= FULL_BYTES)))
		{
			state->below = GEN_FULL;
			state->left = false;
		}
		if (state->below == 0)
			continue;
		targets[ntargets].block = state->block;
		targets[ntargets].below = state->below;
		targets[ntargets++].whole = !state->left;
	}
	return ntargets;
}

/* The blocks of these pieces, ascending, and which generations of theirs come to eight rows. */
static int
survey_blocks(int16 shard, const Piece *first, int n, BlockState *states)
{
	int			nblocks = 0;
	BlockState *state = states;
	Datum	   *blocks = palloc(sizeof(Datum) * n);
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT8OID, INT8OID};
	Datum		args[] = {Int16GetDatum(shard), 0, Int64GetDatum(first->day_ms),
	Int64GetDatum(first->day_ms + PROM_DAY_MS)};

	for (int i = 0; i < n; i++)
	{
		if (nblocks == 0 || states[nblocks - 1].block != first[i].block)
		{
			states[nblocks].block = first[i].block;
			blocks[nblocks++] = Int32GetDatum(first[i].block);
		}
		states[nblocks - 1].bytes += VARSIZE(first[i].data);
		states[nblocks - 1].full |= first[i].gen == GEN_FULL;
	}
	args[1] = PointerGetDatum(construct_array(blocks, nblocks, INT4OID, 4, true, TYPALIGN_INT));

	execute("SELECT w.block, w.gen, pg_catalog.count(*)::pg_catalog.int4, pg_catalog.sum(pg_catalog.pg_column_size(w.data)) "
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
take_warm(int16 shard, int64 day_ms, Target *targets, int n)
{
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT2ARRAYOID, INT8OID, INT8OID};
	Datum	   *blocks = palloc(sizeof(Datum) * n);
	Datum	   *below = palloc(sizeof(Datum) * n);
	Datum		args[] = {Int16GetDatum(shard), 0, 0, Int64GetDatum(day_ms), Int64GetDatum(day_ms + PROM_DAY_MS)};

	for (int i = 0; i < n; i++)
	{
		blocks[i] = Int32GetDatum(targets[i].block);
		below[i] = Int16GetDatum(targets[i].below);
	}
	args[1] = PointerGetDatum(construct_array(blocks, n, INT4OID, 4, true, TYPALIGN_INT));
	args[2] = PointerGetDatum(construct_array(below, n, INT2OID, 2, true, TYPALIGN_SHORT));
	execute("DELETE FROM prom.warm w USING ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS x(block, below) "
			"WHERE w.shard = $1 AND w.block = x.block AND w.gen < x.below AND w.t_min >= $4 AND w.t_min < $5 "
			"RETURNING w.block, w.seq, w.data", 5, types, args, SPI_OK_DELETE_RETURNING);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		int32		block = DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull));
		int64		seq = DatumGetInt64(SPI_getbinval(row, desc, 2, &isnull));
		Datum		data = SPI_getbinval(row, desc, 3, &isnull);
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
		prom_merge_add(&targets[low].merge, DatumGetPromChunkP(data), seq);
	}
}

static void
write_warm(int16 shard, const Pieces *pieces)
{
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT2ARRAYOID, INT4ARRAYOID,
	get_array_type(prom_store_type("chunk"))};
	Datum		args[7] = {Int16GetDatum(shard)};
	Datum	   *columns[7];
	int			n = 0;

	for (int c = 1; c < 7; c++)
		columns[c] = palloc(sizeof(Datum) * pieces->n);
	for (int i = 0; i < pieces->n; i++)
	{
		const Piece *p = &pieces->piece[i];

		if (p->data == NULL)
			continue;
		columns[1][n] = Int32GetDatum(p->block);
		columns[2][n] = Int64GetDatum(p->t_min);
		columns[3][n] = Int64GetDatum(p->t_max);
		columns[4][n] = Int16GetDatum(p->gen);
		columns[5][n] = Int32GetDatum(p->samples);
		columns[6][n++] = PointerGetDatum(p->data);
	}
	args[1] = PointerGetDatum(construct_array(columns[1], n, INT4OID, 4, true, TYPALIGN_INT));
	args[2] = PointerGetDatum(construct_array(columns[2], n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[3] = PointerGetDatum(construct_array(columns[3], n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[4] = PointerGetDatum(construct_array(columns[4], n, INT2OID, 2, true, TYPALIGN_SHORT));
	args[5] = PointerGetDatum(construct_array(columns[5], n, INT4OID, 4, true, TYPALIGN_INT));
	args[6] = PointerGetDatum(construct_array(columns[6], n, prom_store_type("chunk"), -1, false, TYPALIGN_DOUBLE));
	execute("INSERT INTO prom.warm (shard, block, t_min, seq, t_max, gen, samples, data) "
			"SELECT $1, u.block, u.t_min, pg_catalog.nextval('prom.store_seq'), u.t_max, u.gen, u.samples, u.data "
			"FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),"
			" pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7)) AS u(block, t_min, t_max, gen, samples, data)",
			7, types, args, SPI_OK_INSERT);
}

static void
execute(const char *sql, int nargs, const Oid *types, const Datum *args, int expected)
{
	int			rc = SPI_execute_with_args(sql, nargs, (Oid *) types, (Datum *) args, NULL, false, 0);

	if (rc != expected)
		elog(ERROR, "unexpected result %s of: %s", SPI_result_code_string(rc), sql);
}

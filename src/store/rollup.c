/*
 * rollup.c
 *	  Raw samples of days that are over become rows of prom.rollup.
 *
 * A day is made block by block: raw rows of 64 series are read once, and of these samples come the points
 * of all resolutions that are due (rollup_points.c).  Days are made independently of each other, a
 * sample at midnight being the last of the day that ends; so a day can be made again at any time.
 *
 * When samples of a day change later, the block is marked with the hours (prom._rollup_mark), and only
 * windows of these hours are made again.  The points of others stay as they are, with one exception: whether the first
 * sample after such an hour is less than the one before it may have changed, so the windows go on to the first
 * one that has samples.  A series without raw samples in all this time keeps its points: its raw
 * samples are gone, as retention may have it; who deletes samples takes their points out himself.  So does one whose
 * raw samples were taken out of the day by a rule (prom.expired), even if some came late, which are not what its points
 * stand for.
 *
 * Invariants.  All rows of a resolution, block and day are written together, in the transaction that moves the
 * mark on or removes it.  Whoever writes raw rows of a day that is open or done leaves a mark with them
 * (levels and open days change under the merge lock, where he looks); a step takes its marks first, and
 * then the snapshot that it reads with, so it sees the rows of every mark that it removes.
 *
 * Damage: rows of samples are set aside, see step.c.  Of rollups that cannot be read the day is made
 * from raw samples as a whole.
 *
 * Locking: prom._lock_rollup, to the end of the transaction; then rows.  Merges go on meanwhile: they wait for a step
 * only to mark what it has just taken, and it never waits for them but to set damaged rows aside.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "store/rows.h"

#define STEP_BLOCKS		256		/* ids of blocks, or marks, that a step looks at, at most */
#define STEP_SAMPLES	(4 * 1000 * 1000)	/* it ends when it has read so many */
#define ROW_BYTES		(24 * 1024) /* a row is cut at this size, before zstd; as in compact.c */
#define HOUR_MS			INT64CONST(3600000)
#define ALL_HOURS		0xFFFFFF
#define BLOCK_SERIES	(1 << PROM_BLOCK_BITS)

/* One resolution. */
typedef struct Making
{
	int32		resolution_s;
	int64		window_ms;
	PromPieces	out[PROM_PARTS];	/* that of raw samples stays empty */
	PromPoints	points;			/* of the series at hand */
	PromPoints	kept;			/* what it had before */
	int64		from_ms;		/* windows of the block at hand that are made: (from_ms, to_ms] */
	int64		to_ms;
} Making;

/* A row that is read. */
typedef struct Source
{
	PromChunkReader reader;
	int64		order;			/* of raw ones */
	Making	   *making;			/* of others, and */
	int			part;
} Source;

/* A step. */
typedef struct Rollup
{
	int16		shard;
	int64		day_ms;
	int32		blocks;			/* that were made */
	int32		block;			/* the one that is being read */
	int32		afresh;			/* a block whose rollups are damaged; -1: none */

	/* within the subtransaction */
	Making	   *making;
	int			nmaking;
	PromGather	samples;
	int32	   *expired;		/* series of the block at hand whose raw samples are gone, in order */
	int			nexpired;
	int64		from_ms;		/* windows of the block at hand, of any resolution */
	int64		to_ms;
	int64		read;			/* samples */
	int64		windows;
} Rollup;

static Datum run_step(Rollup *r, void (*run) (void *arg), FunctionCallInfo fcinfo);
static void run_day(void *arg);
static void run_due(void *arg);
static int64 set_aside(void *arg);
static void begin_making(Rollup *r, ArrayType *resolutions);
static void make_block(Rollup *r, int32 block, int32 hours);
static Source *take_old(Rollup *r, bool forget, int *n);
static void choose_windows(Rollup *r, int32 hours, Source *old, int nold);
static int64 first_live_after(const Source *s, int64 t_ms);
static Source *read_raw(Rollup *r, int *n);
static void find_expired(Rollup *r);
static bool is_expired(const Rollup *r, int32 sid);
static void make_series(Rollup *r, int32 sid, Source *raw, int nraw, Source *old, int nold);
static void write_rows(const Rollup *r, Making *m);
static Datum column(uint64 row, int number);

PG_FUNCTION_INFO_V1(prom_lock_rollup);
PG_FUNCTION_INFO_V1(prom_rollup_day_step);
PG_FUNCTION_INFO_V1(prom_rollup_due_step);

void
prom_rollup_mark(int16 shard, const PromPiece *pieces, int n)
{
	Datum	   *blocks = palloc(sizeof(Datum) * n);
	Datum	   *t_min = palloc(sizeof(Datum) * n);
	Datum	   *t_max = palloc(sizeof(Datum) * n);
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID};
	Datum		args[] = {Int16GetDatum(shard), 0, 0, 0};

	for (int i = 0; i < n; i++)
	{
		blocks[i] = Int32GetDatum(pieces[i].block);
		t_min[i] = Int64GetDatum(pieces[i].t_min);
		t_max[i] = Int64GetDatum(pieces[i].t_max);
	}
	args[1] = PointerGetDatum(construct_array(blocks, n, INT4OID, 4, true, TYPALIGN_INT));
	args[2] = PointerGetDatum(construct_array(t_min, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[3] = PointerGetDatum(construct_array(t_max, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	prom_store_execute("SELECT prom._rollup_mark($1, $2, $3, $4)", 4, types, args, SPI_OK_SELECT);
	SPI_freetuptable(SPI_tuptable);
}

/* A lock on prom.rollup; not an advisory one, see prom_merge_lock. */
Datum
prom_lock_rollup(PG_FUNCTION_ARGS)
{
	Oid			rollup = prom_store_relid("rollup");
	AclResult	acl = pg_class_aclcheck(rollup, GetUserId(), ACL_INSERT | ACL_DELETE);
	LOCKTAG		tag;

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, "rollup");
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, rollup, 0);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	PG_RETURN_VOID();
}

/* _rollup_day_step(shard, day) */
Datum
prom_rollup_day_step(PG_FUNCTION_ARGS)
{
	Rollup		r = {0};

	(void) run_step(&r, run_day, fcinfo);
	PG_RETURN_VOID();
}

/* _rollup_due_step(shard, day) -> marks that were worked off */
Datum
prom_rollup_due_step(PG_FUNCTION_ARGS)
{
	Rollup		r = {0};

	return run_step(&r, run_due, fcinfo);
}

static Datum
run_step(Rollup *r, void (*run) (void *arg), FunctionCallInfo fcinfo)
{
	PromStep	work = {run, set_aside, r};
	instr_time	begin;
	instr_time	end;

	r->shard = PG_GETARG_INT16(0);
	r->day_ms = PG_GETARG_INT64(1);
	r->afresh = -1;
	INSTR_TIME_SET_CURRENT(begin);
	(void) prom_step_run(&work, r->shard, PROM_STEP_READS);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	prom_stat_count(PROM_STAT_ROLLUP_STEPS, 1);
	prom_stat_count(PROM_STAT_ROLLUP_BLOCKS, r->blocks);
	prom_stat_count(PROM_STAT_ROLLUP_SAMPLES, r->read);
	prom_stat_count(PROM_STAT_ROLLUP_WINDOWS, r->windows);
	prom_stat_count(PROM_STAT_ROLLUP_US, INSTR_TIME_GET_MICROSEC(end));
	prom_stat_stamp(PROM_STAT_ROLLUP_LAST);
	PG_RETURN_INT32(r->blocks);
}

/* Some blocks of a day that is open. */
static void
run_day(void *arg)
{
	Rollup	   *r = arg;
	Oid			types[] = {INT2OID, INT8OID, INT8OID, INT4OID, INT4OID};
	Datum		args[] = {Int16GetDatum(r->shard), Int64GetDatum(r->day_ms), Int64GetDatum(r->day_ms + PROM_DAY_MS), 0, 0};
	int32		next;
	int32		last_block;

	SPI_connect();
	prom_store_execute("SELECT o.next_block, h.next_block, o.resolutions FROM prom.rollup_open o JOIN prom.shard h USING (shard) "
					   "WHERE o.shard = $1 AND o.day = $2 AND o.next_block IS NOT NULL", 2, types, args, SPI_OK_SELECT);
	if (SPI_processed > 0)
	{
		SPITupleTable *found;

		args[3] = column(0, 1);
		last_block = DatumGetInt32(column(0, 2));
		next = DatumGetInt32(args[3]) + STEP_BLOCKS;
		args[4] = Int32GetDatum(next);
		begin_making(r, DatumGetArrayTypeP(column(0, 3)));
		prom_store_execute("SELECT w.block FROM prom.warm w WHERE w.shard = $1 AND w.t_min >= $2 AND w.t_min <= $3 AND w.t_max > $2 "
						   "AND w.block >= $4 AND w.block < $5 GROUP BY 1 ORDER BY 1", 5, types, args, SPI_OK_SELECT);
		found = SPI_tuptable;
		for (uint64 row = 0, n = SPI_processed; row < n; row++)
		{
			SPI_tuptable = found;
			if (r->read >= STEP_SAMPLES)
			{
				next = DatumGetInt32(column(row, 1));
				break;
			}
			make_block(r, DatumGetInt32(column(row, 1)), ALL_HOURS);
		}
		for (int i = 0; i < r->nmaking; i++)
			write_rows(r, &r->making[i]);
		types[2] = INT4OID;
		args[2] = Int32GetDatum(next >= last_block ? 0 : next);
		prom_store_execute("UPDATE prom.rollup_open SET next_block = NULLIF($3, 0) WHERE shard = $1 AND day = $2", 3, types, args, SPI_OK_UPDATE);
	}
	SPI_finish();
}

/*
 * Some blocks that are marked.  Their rows are locked, so that nobody adds hours to a mark that is going.  What is in a
 * bucket waits until the job "tier" has brought it back.
 */
static void
run_due(void *arg)
{
	Rollup	   *r = arg;
	Oid			types[] = {INT2OID, INT8OID, INT4OID};
	Datum		args[] = {Int16GetDatum(r->shard), Int64GetDatum(r->day_ms), Int32GetDatum(STEP_BLOCKS)};
	SPITupleTable *found;
	uint64		n;
	bool		isnull;
	Datum		resolutions;

	SPI_connect();
	prom_store_execute("SELECT d.block, d.hours FROM prom.rollup_due d WHERE d.shard = $1 AND d.day = $2 "
					   "AND NOT prom._tier_has(d.shard, d.day, d.block) ORDER BY 1 LIMIT $3 FOR UPDATE SKIP LOCKED",
					   3, types, args, SPI_OK_SELECT);
	found = SPI_tuptable;
	n = SPI_processed;
	prom_store_execute("SELECT pg_catalog.array_agg(x.resolution ORDER BY 1) FROM ("
					   "SELECT l.resolution FROM prom.level l WHERE l.resolution > 0 AND l.from_ms <= $2 AND l.until_ms > $2 "
					   "UNION SELECT pg_catalog.unnest(o.resolutions) FROM prom.rollup_open o WHERE o.shard = $1 AND o.day = $2) x",
					   2, types, args, SPI_OK_SELECT);
	resolutions = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	begin_making(r, isnull ? construct_empty_array(INT4OID) : DatumGetArrayTypeP(resolutions));
	for (uint64 row = 0; row < n && r->read < STEP_SAMPLES; row++)
	{
		SPI_tuptable = found;
		args[2] = column(row, 1);
		make_block(r, DatumGetInt32(column(row, 1)), DatumGetInt32(column(row, 2)));
		prom_store_execute("DELETE FROM prom.rollup_due WHERE shard = $1 AND day = $2 AND block = $3", 3, types, args, SPI_OK_DELETE);
	}
	for (int i = 0; i < r->nmaking; i++)
		write_rows(r, &r->making[i]);
	SPI_finish();
}

/* Of the block that was being read. */
static int64
set_aside(void *arg)
{
	Rollup	   *r = arg;
	Oid			types[] = {INT2OID, INT4OID, INT8OID, INT8OID};
	Datum		args[] = {Int16GetDatum(r->shard), Int32GetDatum(r->block), Int64GetDatum(r->day_ms),
	Int64GetDatum(r->day_ms + PROM_DAY_MS)};
	int64		n;

	SPI_connect();
	n = prom_quarantine_rows("warm", "r.shard = $1 AND r.block = $2 AND r.t_min >= $3 AND r.t_min <= $4", 4, types, args);
	SPI_finish();
	if (n == 0 && r->afresh != r->block)
	{
		r->afresh = r->block;
		n = 1;
	}
	return n;
}

/* ---- points that come from elsewhere ---- */

/* Add the points of a part of one day whose windows have no count. */
static void
add_missing(Making *m, const PromPoints *from, int part, int64 day_ms)
{
	const PromGather *counts = &m->kept.part[PROM_PART_COUNT];
	const PromGather *g = &from->part[part];
	int			ncounts = counts->n;
	int			at = 0;

	for (int i = prom_points_until(g, day_ms); i < g->n && g->t_ms[i] <= day_ms + PROM_DAY_MS; i++)
	{
		int64		end_ms = prom_window_end(g->t_ms[i], m->window_ms);

		while (at < ncounts && counts->t_ms[at] < end_ms)
			at++;
		if (at == ncounts || counts->t_ms[at] != end_ms)
			prom_gather_mixed(&m->kept.part[part], 1, &g->t_ms[i], &g->values[i], g->histograms ? &g->histograms[i] : NULL, 0);
	}
}

/* A series of the block: what it has, and what is added. */
static void
add_series(Rollup *r, int32 sid, Source *old, int nold, const PromSeriesPoints *added, int n)
{
	Making	   *m = r->making;

	prom_points_reset(&m->points);
	prom_points_reset(&m->kept);
	for (int i = 0; i < nold; i++)
	{
		int			k = prom_chunk_find(&old[i].reader, sid);

		if (k >= 0)
			prom_gather_column(&m->kept.part[old[i].part], &old[i].reader, k, PG_INT64_MIN, PG_INT64_MAX, 0);
	}
	for (int i = 0; i <= n; i++)
	{
		for (int part = PROM_PART_LAST; part < PROM_PARTS; part++)
			prom_gather_finish(&m->kept.part[part]);
		if (i == n)
			break;
		for (int part = PROM_PART_LAST; part < PROM_PARTS; part++)
			if (part != PROM_PART_COUNT)
				add_missing(m, added[i].points, part, r->day_ms);
		/* last, as the others go by it */
		add_missing(m, added[i].points, PROM_PART_COUNT, r->day_ms);
	}
	for (int part = PROM_PART_LAST; part < PROM_PARTS; part++)
		if (m->kept.part[part].n > 0)
			prom_pieces_add(&m->out[part], sid, &m->kept.part[part]);
}

void
prom_rollup_add(int16 shard, int32 resolution_s, int64 day_ms, const PromSeriesPoints *series, int n)
{
	Rollup		r = {.shard = shard, .day_ms = day_ms, .afresh = -1};
	Datum		resolution = Int32GetDatum(resolution_s);
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "promgres rollup import", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_cxt = MemoryContextSwitchTo(cxt);

	begin_making(&r, construct_array(&resolution, 1, INT4OID, 4, true, TYPALIGN_INT));
	for (int i = 0; i < n;)
	{
		Source	   *old;
		int			nold;

		r.block = series[i].sid >> PROM_BLOCK_BITS;
		old = take_old(&r, false, &nold);
		for (int k = 0; k < BLOCK_SERIES; k++)
		{
			int32		sid = r.block << PROM_BLOCK_BITS | k;
			int			first = i;

			CHECK_FOR_INTERRUPTS();
			while (i < n && series[i].sid == sid)
				i++;
			add_series(&r, sid, old, nold, series + first, i - first);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	write_rows(&r, &r.making[0]);
	MemoryContextSwitchTo(old_cxt);
	MemoryContextDelete(cxt);
}

/* ---- a block ---- */

static void
begin_making(Rollup *r, ArrayType *resolutions)
{
	int32	   *resolution_s = prom_store_sids(resolutions, &r->nmaking);

	r->blocks = 0;
	r->read = 0;
	r->windows = 0;
	prom_gather_init(&r->samples, CurrentMemoryContext);
	r->making = palloc0(sizeof(Making) * r->nmaking);
	for (int i = 0; i < r->nmaking; i++)
	{
		Making	   *m = &r->making[i];

		m->resolution_s = resolution_s[i];
		m->window_ms = resolution_s[i] * INT64CONST(1000);
		prom_points_init(&m->points, CurrentMemoryContext);
		prom_points_init(&m->kept, CurrentMemoryContext);
		for (int part = PROM_PART_LAST; part < PROM_PARTS; part++)
		{
			PromPieces *out = &m->out[part];

			prom_pieces_init(out, r->shard, CurrentMemoryContext);
			out->style = PROM_CHUNK_COLD;
			out->row_bytes = ROW_BYTES;
			out->series_samples = PROM_CHUNK_MAX_SAMPLES;
			out->slice_from_ms = r->day_ms + 1;
			out->slice_ms = PROM_DAY_MS;
		}
	}
}

/* Replace windows of these hours of a block's day. */
static void
make_block(Rollup *r, int32 block, int32 hours)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "promgres rollup block", ALLOCSET_DEFAULT_SIZES);
	MemoryContext series_cxt = AllocSetContextCreate(cxt, "promgres rollup series", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_cxt = MemoryContextSwitchTo(cxt);
	SPITupleTable *old_rows;
	SPITupleTable *raw_rows;
	Source	   *old;
	Source	   *raw;
	int			nold;
	int			nraw;

	r->block = block;
	if (block == r->afresh)
		hours = ALL_HOURS;
	old = take_old(r, block == r->afresh, &nold);
	old_rows = SPI_tuptable;
	choose_windows(r, hours, old, nold);
	raw = read_raw(r, &nraw);
	raw_rows = SPI_tuptable;
	r->nexpired = 0;
	if (nold > 0 && nraw > 0)
		find_expired(r);
	MemoryContextSwitchTo(series_cxt);
	for (int i = 0; i < BLOCK_SERIES; i++)
	{
		CHECK_FOR_INTERRUPTS();
		make_series(r, block << PROM_BLOCK_BITS | i, raw, nraw, old, nold);
		MemoryContextReset(series_cxt);
	}
	r->blocks++;
	SPI_freetuptable(old_rows);
	SPI_freetuptable(raw_rows);
	MemoryContextSwitchTo(old_cxt);
	MemoryContextDelete(cxt);
}

/* Delete what there is of the block and day, to be written anew; opened, unless it is to be forgotten. */
static Source *
take_old(Rollup *r, bool forget, int *n)
{
	Oid			types[] = {INT4ARRAYOID, INT2OID, INT4OID, INT8OID};
	Datum	   *resolutions = palloc(sizeof(Datum) * (r->nmaking + 1));
	Datum		args[] = {0, Int16GetDatum(r->shard), Int32GetDatum(r->block), Int64GetDatum(r->day_ms)};
	Source	   *old;

	for (int i = 0; i < r->nmaking; i++)
		resolutions[i] = Int32GetDatum(r->making[i].resolution_s);
	args[0] = PointerGetDatum(construct_array(resolutions, r->nmaking, INT4OID, 4, true, TYPALIGN_INT));
	prom_store_execute("DELETE FROM prom.rollup r WHERE r.resolution = ANY ($1) AND r.shard = $2 AND r.block = $3 AND r.day = $4 "
					   "RETURNING r.resolution, r.part, r.data", 4, types, args, SPI_OK_DELETE_RETURNING);
	*n = forget ? 0 : (int) SPI_processed;
	old = palloc0(sizeof(Source) * (*n + 1));
	for (int i = 0; i < *n; i++)
	{
		old[i].making = r->making;
		while (old[i].making->resolution_s != DatumGetInt32(column(i, 1)))
			old[i].making++;
		old[i].part = DatumGetInt16(column(i, 2));
		if (old[i].part < PROM_PART_LAST || old[i].part >= PROM_PARTS)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("row of prom.rollup has an unknown part"),
					 errdetail("It is %d.", old[i].part)));
		prom_chunk_open(&old[i].reader, DatumGetPromChunkP(column(i, 3)));
	}
	return old;
}

/* Which windows are made: those of the hours, from the first to the last, and up to the next one with samples. */
static void
choose_windows(Rollup *r, int32 hours, Source *old, int nold)
{
	int			first = 0;
	int			last = 23;

	while (first < 23 && !(hours & (1 << first)))
		first++;
	while (last > first && !(hours & (1 << last)))
		last--;
	r->from_ms = r->day_ms + PROM_DAY_MS;
	r->to_ms = r->day_ms;
	for (int i = 0; i < r->nmaking; i++)
	{
		Making	   *m = &r->making[i];
		int64		end_ms = prom_window_end((last + 1) * HOUR_MS, m->window_ms);

		m->from_ms = r->day_ms + first * HOUR_MS / m->window_ms * m->window_ms;
		m->to_ms = r->day_ms + end_ms;
		end_ms = m->to_ms;
		for (int k = 0; k < nold; k++)
		{
			if (old[k].making == m && old[k].part == PROM_PART_LAST)
				m->to_ms = Max(m->to_ms, prom_window_end(first_live_after(&old[k], end_ms), m->window_ms));
		}
		r->from_ms = Min(r->from_ms, m->from_ms);
		r->to_ms = Max(r->to_ms, m->to_ms);
	}
}

/* The latest of the times at which the series of a row have their first sample after this one that is no stale marker. */
static int64
first_live_after(const Source *s, int64 t_ms)
{
	PromChunkReader *reader = (PromChunkReader *) &s->reader;
	int64		found = t_ms;
	PromGather	g;

	if (reader->t_max <= t_ms)
		return found;
	prom_gather_init(&g, CurrentMemoryContext);
	for (int k = 0; k < reader->nseries; k++)
	{
		int			i = 0;

		prom_gather_reset(&g);
		prom_gather_column(&g, reader, k, t_ms, PG_INT64_MAX, 0);
		while (i < g.n && prom_is_stale(g.values[i]))
			i++;
		if (i < g.n)
			found = Max(found, g.t_ms[i]);
	}
	return found;
}

/* Rows with raw samples of the block in the time of these windows; that at its end may be one of the next day. */
static Source *
read_raw(Rollup *r, int *n)
{
	Oid			types[] = {INT2OID, INT4OID, INT8OID, INT8OID, INT8OID};
	Datum		args[] = {Int16GetDatum(r->shard), Int32GetDatum(r->block), Int64GetDatum(r->day_ms),
	Int64GetDatum(r->from_ms), Int64GetDatum(r->to_ms)};
	Source	   *raw;

	prom_store_execute("SELECT w.seq, w.t_min, w.t_max, w.data FROM prom.warm w WHERE w.shard = $1 AND w.block = $2 "
					   "AND w.t_min >= $3 AND w.t_min <= $5 AND w.t_max > $4", 5, types, args, SPI_OK_SELECT);
	*n = (int) SPI_processed;
	raw = palloc0(sizeof(Source) * (*n + 1));
	for (int i = 0; i < *n; i++)
	{
		PromRowBounds bounds = prom_warm_bounds(r->shard, r->block, DatumGetInt64(column(i, 2)), DatumGetInt64(column(i, 3)));

		raw[i].order = DatumGetInt64(column(i, 1));
		prom_chunk_open(&raw[i].reader, DatumGetPromChunkP(column(i, 4)));
		prom_check_bounds(&raw[i].reader, &bounds);
	}
	return raw;
}

/* Which series of the block keep the points that they have. */
static void
find_expired(Rollup *r)
{
	Oid			types[] = {INT2OID, INT8OID, INT4OID};
	Datum		args[] = {Int16GetDatum(r->shard), Int64GetDatum(r->day_ms), Int32GetDatum(r->block)};
	SPITupleTable *found;

	prom_store_execute("SELECT prom._expired_sids($1, $2, $3)", 3, types, args, SPI_OK_SELECT);
	found = SPI_tuptable;
	r->expired = prom_store_sids(DatumGetArrayTypePCopy(column(0, 1)), &r->nexpired);
	SPI_freetuptable(found);
}

static bool
is_expired(const Rollup *r, int32 sid)
{
	for (int i = 0; i < r->nexpired; i++)
	{
		if (r->expired[i] == sid)
			return true;
	}
	return false;
}

/* Add the points of one series to the rows. */
static void
make_series(Rollup *r, int32 sid, Source *raw, int nraw, Source *old, int nold)
{
	bool		expired = is_expired(r, sid);

	prom_gather_reset(&r->samples);
	for (int i = 0; i < r->nmaking; i++)
	{
		prom_points_reset(&r->making[i].points);
		prom_points_reset(&r->making[i].kept);
	}
	for (int i = 0; i < nraw && !expired; i++)
	{
		int			k = prom_chunk_find(&raw[i].reader, sid);

		if (k >= 0)
			prom_gather_column(&r->samples, &raw[i].reader, k, r->from_ms, r->to_ms, raw[i].order);
	}
	prom_gather_finish(&r->samples);
	r->read += r->samples.n;
	for (int i = 0; i < nold; i++)
	{
		int			k = prom_chunk_find(&old[i].reader, sid);

		if (k >= 0)
			prom_gather_column(&old[i].making->kept.part[old[i].part], &old[i].reader, k, PG_INT64_MIN, PG_INT64_MAX, 0);
	}
	for (int i = 0; i < r->nmaking; i++)
	{
		Making	   *m = &r->making[i];

		r->windows += prom_points_replace(&m->points, &m->kept, m->window_ms, m->from_ms, m->to_ms, &r->samples);
		for (int part = PROM_PART_LAST; part < PROM_PARTS; part++)
		{
			if (m->points.part[part].n > 0)
				prom_pieces_add(&m->out[part], sid, &m->points.part[part]);
		}
	}
}

/* Insert the rows of a resolution. */
static void
write_rows(const Rollup *r, Making *m)
{
	Oid			types[] = {INT4OID, INT2OID, INT8OID, INT4ARRAYOID, INT2ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
	get_array_type(prom_store_type("chunk"))};
	Datum		args[10] = {Int32GetDatum(m->resolution_s), Int16GetDatum(r->shard), Int64GetDatum(r->day_ms)};
	Datum	   *columns[10];
	int			n = 0;
	int			rows = 0;

	for (int part = PROM_PART_LAST; part < PROM_PARTS; part++)
	{
		prom_pieces_end(&m->out[part]);
		rows += m->out[part].n;
	}
	if (rows == 0)
		return;
	for (int c = 3; c < 10; c++)
		columns[c] = palloc(sizeof(Datum) * rows);
	for (int part = PROM_PART_LAST; part < PROM_PARTS; part++)
	{
		for (int i = 0, seq = 0; i < m->out[part].n; i++, n++)
		{
			const PromPiece *p = &m->out[part].piece[i];

			seq = i > 0 && p->block == p[-1].block ? seq + 1 : 0;
			columns[3][n] = Int32GetDatum(p->block);
			columns[4][n] = Int16GetDatum(part);
			columns[5][n] = Int64GetDatum(seq);
			columns[6][n] = Int64GetDatum(p->t_min);
			columns[7][n] = Int64GetDatum(p->t_max);
			columns[8][n] = Int32GetDatum(p->samples);
			columns[9][n] = PointerGetDatum(p->data);
		}
	}
	prom_store_execute("SELECT prom._make_rollup($1, $3)", 3, types, args, SPI_OK_SELECT);
	args[3] = PointerGetDatum(construct_array(columns[3], n, INT4OID, 4, true, TYPALIGN_INT));
	args[4] = PointerGetDatum(construct_array(columns[4], n, INT2OID, 2, true, TYPALIGN_SHORT));
	for (int c = 5; c < 8; c++)
		args[c] = PointerGetDatum(construct_array(columns[c], n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[8] = PointerGetDatum(construct_array(columns[8], n, INT4OID, 4, true, TYPALIGN_INT));
	args[9] = PointerGetDatum(construct_array(columns[9], n, prom_store_type("chunk"), -1, false, TYPALIGN_DOUBLE));
	prom_store_execute("INSERT INTO prom.rollup (resolution, shard, day, block, part, seq, t_min, t_max, samples, data) "
					   "SELECT $1, $2, $3, u.block, u.part, u.seq, u.t_min, u.t_max, u.samples, u.data "
					   "FROM ROWS FROM (pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),"
					   " pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10)) AS u(block, part, seq, t_min, t_max, samples, data)",
					   10, types, args, SPI_OK_INSERT);
	prom_stat_count(PROM_STAT_ROLLUP_ROWS, n);
}

static Datum
column(uint64 row, int number)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &isnull);
}

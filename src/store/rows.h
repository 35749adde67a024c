/*
 * rows.h
 *	  Rows of samples, for those who write, move or check them: this room, and those that bring samples or take them away.
 */
#ifndef PROM_STORE_ROWS_H
#define PROM_STORE_ROWS_H

#include "access/htup.h"
#include "utils/array.h"
#include "utils/relcache.h"

#include "chunk/chunk.h"
#include "store/store.h"

#define PROM_DAY_MS INT64CONST(86400000)

/* The UTC day of a time, in ms since 1970; times so early that their day would overflow stay. */
static inline int64
prom_day_start(int64 t_ms)
{
	int64		rest = t_ms % PROM_DAY_MS;

	if (t_ms < PG_INT64_MIN + PROM_DAY_MS)
		return t_ms;
	return t_ms - rest - (rest < 0 ? PROM_DAY_MS : 0);
}

/* promgres.store_max_ahead: samples further in the future than this are refused. */
extern int	prom_store_max_ahead_s;

/* promgres.exemplar_max_age: older exemplars are not kept; 0: none are. */
extern int	prom_store_exemplar_max_age_s;

/* promgres.ingest_max_age: samples older than this are refused; 0: none is too old. */
extern int	prom_store_max_age_s;

/* ---- scan.c ---- */

/* What a chunk has of some series (ascending) and time, as a chunk of that shard; NULL: nothing. */
extern PromChunk *prom_store_only(const PromChunk *chunk, int16 shard, const int32 *sids, int nsids, PromScanRange range);

/* A chunk without what some series (ascending) have with from_ms <= t <= to_ms; NULL: nothing is left. */
extern PromChunk *prom_store_without(const PromChunk *chunk, const int32 *sids, int nsids, int64 from_ms, int64 to_ms,
									 PromChunkStyle style);

/* The shard that a chunk says it is of. */
extern int16 prom_store_shard(const PromChunk *chunk);

/* ---- visible.c ---- */

/* Those of the series that prom.series shows the current user, ascending: as an array and its elements.  Needs SPI. */
extern int32 *prom_visible_sids(int16 shard, Datum sids, Datum *visible, int *n);

/* ---- budget.c ---- */

extern void prom_budget_init(void);

/* ---- fresh.c ---- */

/* The oid of a table or sequence of ours. */
extern Oid	prom_store_relid(const char *name);

/* The oid of a type of ours. */
extern Oid	prom_store_type(const char *name);

/* What a row of prom.fresh says of its chunk. */
typedef struct PromFreshRow
{
	int32		sid_min;
	int32		sid_max;
	int64		t_min;
	int64		t_max;
	int32		samples;
	int64		seq;
	int64		day_ms;			/* a late row: samples of this day only, which waits for its partition */
	bool		late;
} PromFreshRow;

/* Open a table of ours, locked for inserting; raises if the user may not insert. */
extern Relation prom_store_open_for_insert(const char *name);
extern int64 prom_store_next_seq(void);
extern void prom_store_insert_fresh(Relation fresh, int16 shard, const PromFreshRow *row,
									const PromChunk *chunk);

/* ---- pieces.c ---- */

#define PROM_GEN_FULL	127		/* not merged again but by a compaction */
#define PROM_GEN_COMPACT 128	/* made by one */
#define PROM_MAX_SLICES	64		/* of one block that are filled at a time */
#define PROM_FULL_BYTES	5000	/* from this size on another round of merging gains little */

/* A warm row to be. */
typedef struct PromPiece
{
	int32		block;
	int16		gen;
	int32		samples;
	int64		day_ms;
	int64		t_min;
	int64		t_max;
	PromChunk  *data;			/* NULL: went into another piece */
} PromPiece;

typedef struct PromPieces
{
	PromPiece  *piece;
	int			n;
	int			size;
	MemoryContext cxt;			/* of the pieces */
	int16		shard;
	int16		gen;			/* of the pieces being made */
	bool		may_be_full;	/* may they? */
	PromChunkStyle style;
	size_t		row_bytes;		/* a row of several series is no larger, before zstd */
	int			series_samples; /* of one series in one row, at most */
	int64		slice_from_ms;	/* if slice_ms > 0 rows hold a slice of this length, counted from here; else a day */
	int64		slice_ms;
	struct PromFilling *filling;	/* builders are large: kept from block to block */
	int			nfilling;		/* slices that are being filled */
	int32		block;			/* their series' */
	MemoryContext builders_cxt;
} PromPieces;

extern void prom_pieces_init(PromPieces *p, int16 shard, MemoryContext cxt);

/* Pieces of another context that are made with the builders of "with", which must live longer. */
extern void prom_pieces_init_like(PromPieces *p, const PromPieces *with, MemoryContext cxt);

/* Cut what a merge yields into pieces: by block, by day, by size. */
extern void prom_pieces_cut(PromPieces *out, PromMerge *merge);

/* The same with the samples of one series at a time, ids ascending; at the end of all that is there. */
extern void prom_pieces_add(PromPieces *out, int32 sid, const PromGather *g);
extern void prom_pieces_end(PromPieces *out);

/*
 * Write the pieces as rows of prom.warm, whose partitions are there: later than all that is there, or
 * older.  Needs SPI.
 */
extern void prom_pieces_write(const PromPieces *pieces, bool older);

/* qsort: by day, the newest first; by block; by time. */
extern int	prom_compare_pieces(const void *a, const void *b);

/* ---- quarantine.c ---- */

/* What the columns of a row say that its chunk holds. */
typedef struct PromRowBounds
{
	int16		shard;
	int32		sid_min;
	int32		sid_max;
	int64		t_min;
	int64		t_max;
} PromRowBounds;

extern PromRowBounds prom_warm_bounds(int16 shard, int32 block, int64 t_min, int64 t_max);

/* Raises DATA_CORRUPTED if a chunk holds what its row does not say. */
extern void prom_check_bounds(const PromChunkReader *r, const PromRowBounds *b);

/*
 * Moves the damaged ones among the rows r of prom.fresh or prom.warm that satisfy the condition to
 * prom.quarantine; returns how many.  Needs SPI.
 */
extern bool prom_may_be_damage(int sqlerrcode);

extern int64 prom_quarantine_rows(const char *table, const char *condition, int nargs, const Oid *types,
								  const Datum *args);

/* ---- step.c ---- */

/* Work on rows of a shard.  Both are called with "arg"; what run has done is undone if it fails. */
typedef struct PromStep
{
	void		(*run) (void *arg);
	int64		(*set_aside) (void *arg);	/* damaged rows among those that run was reading; how many */
	void	   *arg;
} PromStep;

typedef enum PromStepLock
{
	PROM_STEP_TRY,				/* do nothing if it is taken */
	PROM_STEP_WAIT,
	PROM_STEP_READS				/* moves no samples: only damaged rows are set aside under it */
} PromStepLock;

/* Does the work under the lock of the shard's merges; false: the lock is taken, nothing is done. */
extern bool prom_step_run(const PromStep *step, int16 shard, PromStepLock lock);

/* The lock of a shard's merges, to the end of the transaction; false: it is taken. */
extern bool prom_merge_lock(int16 shard, bool wait);

/* ---- compact.c ---- */

/* Rows of the day were written that a compaction may take in.  Needs SPI and the shard's lock. */
extern void prom_compaction_mark(int16 shard, int64 day_ms);

/* ---- jobs.c ---- */

struct pg_conn;

/* Starts a job that is due, unless one runs; never waits for it.  False: the connection tells why. */
extern bool prom_jobs_turn(struct pg_conn *conn);

/* Settings were read anew: each job is due once, and the one that runs ends if it should run elsewhere. */
extern void prom_jobs_reload(void);

/* Ends the job that runs. */
extern void prom_jobs_stop(void);

/* ---- level.c ---- */

extern void prom_level_init(void);

/* ---- rollup_points.c ---- */

/* The points that samples of one series make, part by part. */
typedef struct PromPoints
{
	PromGather	part[PROM_PARTS];	/* that of raw samples stays empty */
} PromPoints;

extern void prom_points_init(PromPoints *p, MemoryContext cxt);
extern void prom_points_reset(PromPoints *p);

/* The time at which the window of a sample ends. */
static inline int64
prom_window_end(int64 t_ms, int64 window_ms)
{
	int64		rest = t_ms % window_ms;

	return rest > 0 ? t_ms - rest + window_ms : t_ms - rest;
}

/*
 * Append the points of a series on one day: the old ones, but for windows in (from_ms, to_ms] those that its samples
 * make, if it has any there.  This time takes in the first window with samples after what has changed.
 * Returns how many windows were made.  Needs a memory context of its own for what it takes on the way.
 */
extern int	prom_points_replace(PromPoints *p, PromPoints *old, int64 window_ms, int64 from_ms, int64 to_ms,
								const PromGather *samples);

/* How many of the times of a gather are <= t. */
extern int	prom_points_until(const PromGather *g, int64 t_ms);

/* ---- rollup.c ---- */

typedef struct PromSeriesPoints
{
	int32		sid;
	const PromPoints *points;	/* finished */
} PromSeriesPoints;

/*
 * Add those points of a day, of series in order of ids, whose windows have none yet.  Of a series that is there
 * more than once the first counts.  Needs SPI; the caller holds the lock of rollups.
 */
extern void prom_rollup_add(int16 shard, int32 resolution_s, int64 day_ms, const PromSeriesPoints *series, int n);

/* Rows with these samples were written: days that are rolled up are to be looked at again.  Needs SPI. */
extern void prom_rollup_mark(int16 shard, const PromPiece *pieces, int n);

/* ---- merge.c ---- */

/* The partition of a day.  Needs SPI. */
extern void prom_make_day(int64 day_ms);

/*
 * Samples from elsewhere become warm rows, later than all that are there and older than fresh ones.  Waits
 * for the shard's merges.  "fill" puts them into pieces; it may be called again if damaged rows must be set
 * aside first.
 */
extern void prom_merge_foreign(int16 shard, void (*fill) (PromPieces *pieces, void *arg), void *arg);

/* SPI_execute_with_args in the current memory context; any other result than the expected raises. */
extern void prom_store_execute(const char *sql, int nargs, const Oid *types, const Datum *args,
							   int expected);

/* ---- stat.c ---- */

/* What the transaction has noted so far; for whoever rolls a subtransaction back. */
typedef struct PromStatMark
{
	uint64		pending[PROM_STAT_COUNTERS];
} PromStatMark;

extern void prom_stat_mark(PromStatMark *mark);
extern void prom_stat_back_to(const PromStatMark *mark);

extern void prom_stat_init(void);

#endif							/* PROM_STORE_ROWS_H */

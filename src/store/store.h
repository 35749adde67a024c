/*
 * store.h
 *	  Where samples live, from fresh to far.
 *
 * fresh: one row per ingest call and stripe of ids, as it came.  warm: rows of up to 64 series of one
 * block of ids, per day.  A sample is visible through fresh or warm, never both, never neither.
 *
 * Order of samples with one timestamp: any fresh row is later than any warm row; fresh rows by seq
 * (drawn when they are written), warm rows by seq (drawn when they are merged).
 *
 * Lock order: the lock of rollups, the merge lock (one per shard), then prom.shard (row exclusive: ingest; share
 * row exclusive: removal of series), then the shard's row in it, then rows of samples, then prom.slack.
 */
#ifndef PROM_STORE_H
#define PROM_STORE_H

#include "postgres.h"

#include "utils/array.h"
#include "utils/portal.h"

#include "series/series.h"

/* Fresh rows always win over warm ones: their order is seq + this. */
#define PROM_FRESH_ORDER (INT64CONST(1) << 62)

/* Points of rollups are older than anything raw: the order of a part is the part + this, a multiple of 8. */
#define PROM_ROLLUP_ORDER (-PROM_FRESH_ORDER)

/*
 * Samples in a bucket are older than local ones of their kind: raw samples of an object are PROM_TIER_ORDER + its seq,
 * points of rollups PROM_TIER_ROLLUP_ORDER + seq * 8 + part.
 */
#define PROM_TIER_ORDER (-(INT64CONST(1) << 61))
#define PROM_TIER_ROLLUP_ORDER (-(INT64CONST(1) << 62) - (INT64CONST(1) << 61))

/* Series of one warm row: sid >> PROM_BLOCK_BITS. */
#define PROM_BLOCK_BITS 6

struct PromLevel;

/* ---- scan.c ---- */

typedef struct PromScanRange
{
	int64		from_ms;		/* exclusive */
	int64		to_ms;			/* inclusive */
} PromScanRange;

/* The ids of an int4[] without NULLs; points into the array. */
extern int32 *prom_store_sids(ArrayType *a, int *n);

/* ---- level.c ---- */

/* A resolution of the samples; raw ones are complete where they were not dropped. */
typedef struct PromLevel
{
	int32		resolution_s;	/* width of a window; 0: raw samples */
	int64		own_from_ms;	/* rollups of this database are complete for stamps after this; of raw, the beginning
								 * of the oldest day that is kept, PG_INT64_MIN: nothing was dropped */
	int64		own_until_ms;	/* and up to this; of raw, PG_INT64_MAX */
	int64		from_ms;		/* some are there after this: own ones, or those of an attached bucket */
	int64		until_ms;		/* and up to this */
} PromLevel;

/* The levels as the active snapshot has them, the finest first: that is raw, which is always there. */
extern const PromLevel *prom_levels(int *n);

/* ---- rollup.c ---- */

/* prom.rollup.part; the samples of prom.warm and prom.fresh are part 0 */
typedef enum PromRollupPart
{
	PROM_PART_RAW,
	PROM_PART_LAST,				/* of each window the last raw sample, and the first one of a day */
	PROM_PART_RESET,			/* with these as well, a counter increases as it did */
	PROM_PART_COUNT,			/* this and what follows is at the end of the window */
	PROM_PART_SUM,
	PROM_PART_MIN,				/* together with PROM_PART_LAST; the higher part counts where both have a time */
	PROM_PART_MAX,				/* likewise */
	PROM_PARTS
} PromRollupPart;

/* The part that a row of this order is of. */
static inline PromRollupPart
prom_order_part(int64 order)
{
	return order > PROM_ROLLUP_ORDER + PROM_PARTS ? PROM_PART_RAW : (PromRollupPart) (order & 7);
}

/* ---- budget.c ---- */

/* What the current statement has read, in this process. */
typedef struct PromScanCounts
{
	int64		series;			/* that have a sample in the time asked for, or a row that could hold one */
	int64		chunks;			/* warm rows opened */
	int64		chunks_used;	/* those of them that had samples of the series and time */
	int64		fresh;			/* fresh rows opened */
	int64		samples;
	int64		tier_objects;	/* of buckets, in which chunks were found that are wanted */
	int64		tier_gets;		/* requests for these */
	int64		tier_bytes;		/* asked for with them */
	int64		tier_needed_bytes;	/* of it, chunks that are wanted */
	int64		tier_hits;		/* chunks that were in the local cache */
	int64		tier_hit_bytes;
} PromScanCounts;

extern PromScanCounts *prom_store_counts(void);

/*
 * Count samples that the current statement reads, or values that it holds for a single group; raises
 * CONFIGURATION_LIMIT_EXCEEDED when they are more than promgres.query_max_samples.
 */
extern void prom_store_count_samples(int64 n);

/* Count a series that a leaf reads; the same, with promgres.query_max_series. */
extern void prom_store_count_series(void);

/*
 * To be called before so many bytes of a query's data are allocated; raises CONFIGURATION_LIMIT_EXCEEDED if
 * the query would then hold more than promgres.query_memory.  Cheap; also if the memory is freed soon.
 */
extern void prom_store_need_memory(size_t bytes);

/* promgres.query_memory */
extern int	prom_store_query_memory_kb(void);

/* ---- stat.c ---- */

/* What is counted since the start of the server; times are set, not added. */
typedef enum PromStatCounter
{
	PROM_STAT_STARTED,			/* time */
	PROM_STAT_INGEST_CALLS,
	PROM_STAT_INGEST_BODIES,
	PROM_STAT_INGEST_BYTES,		/* of bodies, compressed */
	PROM_STAT_INGEST_SAMPLES,
	PROM_STAT_INGEST_SERIES,	/* made */
	PROM_STAT_INGEST_HISTOGRAMS,
	PROM_STAT_INGEST_EXEMPLARS,
	PROM_STAT_REPLICA_SAMPLES,	/* dropped, of replicas that are not elected */
	PROM_STAT_INGEST_LAST,		/* time */
	PROM_STAT_REFUSED_BODIES,	/* malformed */
	PROM_STAT_REFUSED_LABELS,	/* series */
	PROM_STAT_REFUSED_TIME,		/* samples too old, or too far in the future */
	PROM_STAT_REFUSED_HISTOGRAMS,
	PROM_STAT_REFUSED_POINTS,
	PROM_STAT_REFUSED_METADATA,
	PROM_STAT_MERGE_STEPS,
	PROM_STAT_MERGE_FRESH_ROWS, /* taken */
	PROM_STAT_MERGE_WARM_ROWS,	/* taken */
	PROM_STAT_MERGE_WRITTEN_ROWS,
	PROM_STAT_MERGE_SAMPLES,	/* written, each as often as it was */
	PROM_STAT_MERGE_US,
	PROM_STAT_MERGE_LAST,		/* time */
	PROM_STAT_MERGE_ERRORS,
	PROM_STAT_MERGE_LAST_ERROR, /* time */
	PROM_STAT_COMPACT_STEPS,
	PROM_STAT_COMPACT_ROWS,		/* taken */
	PROM_STAT_COMPACT_US,
	PROM_STAT_COMPACT_LAST,		/* time */
	PROM_STAT_ROLLUP_STEPS,
	PROM_STAT_ROLLUP_BLOCKS,	/* of series, on a day each, made or made again */
	PROM_STAT_ROLLUP_SAMPLES,	/* read */
	PROM_STAT_ROLLUP_WINDOWS,	/* made, of a series and resolution each */
	PROM_STAT_ROLLUP_ROWS,		/* written */
	PROM_STAT_ROLLUP_US,
	PROM_STAT_ROLLUP_LAST,		/* time */
	PROM_STAT_QUARANTINED_ROWS,
	PROM_STAT_COLLECTED_SERIES,
	PROM_STAT_TIER_GETS,		/* requests for samples in a bucket, each try of them */
	PROM_STAT_TIER_BYTES,		/* that came */
	PROM_STAT_TIER_ERRORS,		/* requests that were given up */
	PROM_STAT_TIER_HITS,		/* chunks read from the local cache */
	PROM_STAT_TIER_HIT_BYTES,
	PROM_STAT_TIER_MISSES,		/* chunks that were not there */
	PROM_STAT_TIER_EVICTED,		/* chunks thrown out of it */
	PROM_STAT_OFFLOAD_OBJECTS,	/* written to a bucket */
	PROM_STAT_OFFLOAD_BYTES,
	PROM_STAT_OFFLOAD_SAMPLES,
	PROM_STAT_OFFLOAD_RETURNED,	/* chunks brought back */
	PROM_STAT_GATEWAY_STARTS,
	PROM_STAT_MAINTENANCE_STARTS,
	PROM_STAT_COUNTERS
} PromStatCounter;

/* Add to a counter when the transaction commits; for a time, ms since 1970. */
extern void prom_stat_count(PromStatCounter c, uint64 n);

/* Add to a counter at once, outside of any transaction. */
extern void prom_stat_count_now(PromStatCounter c, uint64 n);

/* Set a time to now, when the transaction commits. */
extern void prom_stat_stamp(PromStatCounter c);

/* A merge has failed; told even though its transaction is rolled back. */
extern void prom_stat_merge_failed(const char *message);

extern void prom_store_init(void);

#endif							/* PROM_STORE_H */

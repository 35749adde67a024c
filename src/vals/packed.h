/*
 * packed.h
 *	  Rows of a block of series, kept packed until the samples of a series are asked for.  Private to this room.
 */
#ifndef PROM_PACKED_H
#define PROM_PACKED_H

#include "fmgr.h"
#include "utils/array.h"

#include "chunk/chunk.h"

/* A series of the block */
typedef struct PromPackedSeries
{
	int32		sid;
	int			place;			/* in the array of ids, and in that of results */
} PromPackedSeries;

typedef struct PromPacked
{
	int			n;
	PromPackedSeries *series;	/* by id */
	int16		shard;
	/* set by the caller before the first row */
	int64		from_ms;		/* samples wanted: (from, to] */
	int64		to_ms;
	bool		has_points;		/* rows of rollups are not samples, but points that stand for many */
	bool		has_counts;		/* and the counts among them go with others */
	int64		mixed_from_ms;	/* from here on the first raw sample is noted; PG_INT64_MAX: never */
	/* the rest belongs to packed.c */
	PromGather *fresh;			/* of each series; NULL until there are fresh samples */
	struct PromPackedRow *rows;
	int			nrows;
	int			size;
	struct PromPackedPool *pool;
	MemoryContext cxt;
	MemoryContextCallback release;	/* gives readers back to the pool */
} PromPacked;

/* No rows yet of the series with these ids.  "p" lives in cxt; "function" is the SQL function that adds rows. */
extern void prom_packed_init(PromPacked *p, FmgrInfo *function, MemoryContext cxt, ArrayType *sids);

/* Adds a row; it need not live on.  Raises if its head is corrupt. */
extern void prom_packed_add(PromPacked *p, struct varlena *data, int64 order);

/* No row will be added any more. */
extern void prom_packed_end(PromPacked *p);

/* What there is of a series, to be finished by the caller */
typedef struct PromPackedSamples
{
	PromGather	samples;
	PromGather	points;			/* of rollups: see has_points, has_counts */
	PromGather	counts;
	int64		first_raw_ms;	/* after mixed_from_ms; PG_INT64_MAX: there is none */
} PromPackedSamples;

/* Those of series[i], valid until the next is asked for.  Series are asked for once, in the order of their ids. */
extern PromPackedSamples *prom_packed_samples(PromPacked *p, int i);

#endif							/* PROM_PACKED_H */

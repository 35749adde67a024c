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
	int64		from_ms;		/* samples wanted: (from, to]; set by the caller before the first row */
	int64		to_ms;
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

/*
 * The samples of series[i], to be finished by the caller; valid until the next is asked for.  Series are asked
 * for once, in the order of their ids.
 */
extern PromGather *prom_packed_gather(PromPacked *p, int i);

#endif							/* PROM_PACKED_H */

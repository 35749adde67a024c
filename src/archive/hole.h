/*
 * hole.h
 *	  What was deleted of an object of the tier after it had been written; see hole.c.
 */
#ifndef PROM_STORE_HOLE_H
#define PROM_STORE_HOLE_H

#include "utils/array.h"

#include "archive/object.h"
#include "store/rows.h"

/* Samples with from_ms <= t <= to_ms of some series of a block; as it lies in an array of SQL. */
typedef struct PromHole
{
	int64		block;
	int64		series;			/* a bit for each */
	int64		from_ms;
	int64		to_ms;
} PromHole;

typedef struct PromHoles
{
	const PromHole *hole;		/* ascending by block */
	int			n;
} PromHoles;

/* Those of the column; they lie in the array.  Anything else raises. */
extern PromHoles prom_holes_open(ArrayType *a);

/* Which series of a chunk may have samples of the range left: a bit for each.  No series that has some is missing. */
extern uint64 prom_holes_left(PromHoles h, int32 resolution_s, const PromObjectEntry *e, PromScanRange range);

/* What is left of a chunk of an object: the chunk itself if it has no holes, or a new one, or NULL. */
extern PromChunk *prom_holes_take(PromHoles h, int32 resolution_s, const PromObjectEntry *e, PromChunk *chunk,
								  PromChunkStyle style);

#endif							/* PROM_STORE_HOLE_H */

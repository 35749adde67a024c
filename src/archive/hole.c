/*
 * hole.c
 *	  What was deleted of an object of the tier after it had been written.
 *
 * An object never changes.  A deletion makes holes in it, in its row of prom.tier_object: some series of a block, for some
 * time.  Whoever reads the object leaves out what lies in them, from the commit of the deletion on, and a later run of
 * the job "tier" writes the object anew without it.
 *
 * The column "holes" has four bigints for each, ascending by block: the block, a bit for each series of it, and the first
 * and last millisecond.  Of rollups, the parts that have one value for a whole window lose each window of which some is
 * deleted, as local rows do (prom._cut_rollup).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"

#include "archive/hole.h"

/* What is beyond this, in ms since 1970, is all time. */
#define END_OF_TIME INT64CONST(253402300800000)

PromHoles
prom_holes_open(ArrayType *a)
{
	PromHoles	h = {(const PromHole *) ARR_DATA_PTR(a), 0};
	int			n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));

	StaticAssertStmt(sizeof(PromHole) == 4 * sizeof(int64), "a hole is four bigints");
	if (ARR_ELEMTYPE(a) != INT8OID || ARR_NDIM(a) > 1 || ARR_HASNULL(a) || n % 4 != 0)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("holes must be a one-dimensional array without nulls, of four values each")));
	h.n = n / 4;
	for (int i = 1; i < h.n; i++)
		if (h.hole[i].block < h.hole[i - 1].block)
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
					 errmsg("holes must ascend by block")));
	return h;
}

/* The first hole of a block, or of one after it. */
static int
find_block(PromHoles h, int32 block)
{
	int			low = 0;
	int			high = h.n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (h.hole[middle].block < block)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The last millisecond that a hole takes from a part. */
static int64
hole_end(const PromHole *hole, int32 resolution_s, int16 part)
{
	if (part < PROM_PART_COUNT)
		return hole->to_ms;
	return Min(hole->to_ms, END_OF_TIME) + resolution_s * INT64CONST(1000) - 1;
}

uint64
prom_holes_left(PromHoles h, int32 resolution_s, const PromObjectEntry *e, PromScanRange range)
{
	uint64		left = e->series;
	int64		first_ms = Max(e->t_min, range.from_ms < PG_INT64_MAX ? range.from_ms + 1 : range.from_ms);
	int64		last_ms = Min(e->t_max, range.to_ms);

	for (int i = find_block(h, e->block); i < h.n && h.hole[i].block == e->block; i++)
	{
		if (h.hole[i].from_ms <= first_ms && hole_end(&h.hole[i], resolution_s, e->part) >= last_ms)
			left &= ~(uint64) h.hole[i].series;
	}
	return left;
}

PromChunk *
prom_holes_take(PromHoles h, int32 resolution_s, const PromObjectEntry *e, PromChunk *chunk, PromChunkStyle style)
{
	int32		sids[1 << PROM_BLOCK_BITS];

	for (int i = find_block(h, e->block); chunk != NULL && i < h.n && h.hole[i].block == e->block; i++)
	{
		const PromHole *hole = &h.hole[i];
		int64		last_ms = hole_end(hole, resolution_s, e->part);
		int			n = 0;

		CHECK_FOR_INTERRUPTS();
		if ((e->series & (uint64) hole->series) == 0 || e->t_max < hole->from_ms || e->t_min > last_ms)
			continue;
		for (int bit = 0; bit < 1 << PROM_BLOCK_BITS; bit++)
			if ((uint64) hole->series >> bit & 1)
				sids[n++] = e->block << PROM_BLOCK_BITS | bit;
		chunk = prom_store_without(chunk, sids, n, hole->from_ms, last_ms, style);
	}
	return chunk;
}

/*
 * level.c
 *	  Which resolutions there are of the samples, and of what time: prom.level.
 *
 * The table has a handful of rows and is read each time it is asked for, with the snapshot of the
 * statement that asks.  So a query never goes by a level that its snapshot does not have, as it would
 * by a cache that another snapshot has filled; and reading a page costs two microseconds.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/private.h"

static int	compare_levels(const void *a, const void *b);

const PromLevel *
prom_levels(int *n)
{
	Relation	rel = table_open(prom_store_relid("level"), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Snapshot	snapshot = RegisterSnapshot(ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	int			size = 8;
	PromLevel  *levels = palloc(sizeof(PromLevel) * size);

	levels[0] = (PromLevel) {0, PG_INT64_MIN, PG_INT64_MAX};
	*n = 1;
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		no_resolution;
		bool		no_from;
		bool		no_until;
		int32		resolution_s = DatumGetInt32(slot_getattr(slot, 1, &no_resolution));
		Datum		from_ms = slot_getattr(slot, 2, &no_from);
		Datum		until_ms = slot_getattr(slot, 3, &no_until);
		PromLevel	level = {resolution_s, no_from ? PG_INT64_MIN : DatumGetInt64(from_ms),
		no_until ? PG_INT64_MAX : DatumGetInt64(until_ms)};

		if (resolution_s == 0)
		{
			levels[0] = level;
			continue;
		}
		if (*n == size)
			levels = repalloc(levels, sizeof(PromLevel) * (size *= 2));
		levels[(*n)++] = level;
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	qsort(levels, *n, sizeof(PromLevel), compare_levels);
	return levels;
}

/* qsort: the finest first */
static int
compare_levels(const void *a, const void *b)
{
	return ((const PromLevel *) a)->resolution_s - ((const PromLevel *) b)->resolution_s;
}

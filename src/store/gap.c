/*
 * gap.c
 *	  Partitions out of which retention has taken the samples of some series: prom.expired.
 *
 * Read as prom.level is, with the snapshot of the statement that asks.  Where there are no rules for some
 * series only, the table has no pages, and that is all that is looked at.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/private.h"

PromGap *
prom_gaps(int *n)
{
	Relation	rel = table_open(prom_store_relid("expired"), AccessShareLock);
	int			size = 8;
	PromGap  *mixed = NULL;
	TupleTableSlot *slot;
	Snapshot	snapshot;
	TableScanDesc scan;

	*n = 0;
	if (RelationGetNumberOfBlocks(rel) == 0)
	{
		table_close(rel, AccessShareLock);
		return NULL;
	}
	mixed = palloc(sizeof(PromGap) * size);
	slot = table_slot_create(rel, NULL);
	snapshot = RegisterSnapshot(ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot());
	scan = table_beginscan(rel, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		int32		resolution_s = DatumGetInt32(slot_getattr(slot, 1, &isnull));
		int64		from_ms = DatumGetInt64(slot_getattr(slot, 2, &isnull));
		/* as prom._rollup_span has it */
		int64		days = resolution_s == 0 ? 1 : ((int64) resolution_s * 1000 + 86399) / 86400;

		if (*n == size)
			mixed = repalloc(mixed, sizeof(PromGap) * (size *= 2));
		mixed[(*n)++] = (PromGap) {resolution_s, from_ms, from_ms + days * PROM_DAY_MS,
		TextDatumGetCString(slot_getattr(slot, 3, &isnull))};
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return mixed;
}

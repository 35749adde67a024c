/*
 * gap.c
 *	  Times of which some series have no samples of a resolution: partitions out of which retention has taken
 *	  them (prom.expired), those of imported rollups (prom.rollup_gap), and of attached buckets (prom.attached_gap).
 *
 * Read as prom.level is, with the snapshot of the statement that asks.  Where there are no rules for some
 * series only, and nothing was imported or attached, the tables have no pages, and that is all that is looked at.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "select/select.h"
#include "store/rows.h"

typedef struct Gaps
{
	PromGap    *gap;
	int			n;
	int			size;
} Gaps;

/* prom.expired: resolution, from_ms, rules */
static PromGap
expired_gap(TupleTableSlot *slot)
{
	bool		isnull;
	int32		resolution_s = DatumGetInt32(slot_getattr(slot, 1, &isnull));
	int64		from_ms = DatumGetInt64(slot_getattr(slot, 2, &isnull));
	/* as prom._rollup_span has it */
	int64		days = resolution_s == 0 ? 1 : ((int64) resolution_s * 1000 + 86399) / 86400;

	return (PromGap) {resolution_s, from_ms, from_ms + days * PROM_DAY_MS,
		TextDatumGetCString(slot_getattr(slot, 3, &isnull)), true};
}

/* prom.rollup_gap: resolution, from_ms, to_ms, rules */
static PromGap
foreign_gap(TupleTableSlot *slot)
{
	bool		isnull;

	return (PromGap) {DatumGetInt32(slot_getattr(slot, 1, &isnull)), DatumGetInt64(slot_getattr(slot, 2, &isnull)),
		DatumGetInt64(slot_getattr(slot, 3, &isnull)), TextDatumGetCString(slot_getattr(slot, 4, &isnull)), false};
}

/* prom.attached_gap: resolution, from_ms, to_ms */
static PromGap
attached_gap(TupleTableSlot *slot)
{
	bool		isnull;

	return (PromGap) {DatumGetInt32(slot_getattr(slot, 1, &isnull)), DatumGetInt64(slot_getattr(slot, 2, &isnull)),
		DatumGetInt64(slot_getattr(slot, 3, &isnull)), NULL, false};
}

static void
add_gaps(Gaps *gaps, const char *table, PromGap (*read) (TupleTableSlot *slot))
{
	Relation	rel = table_open(prom_store_relid(table), AccessShareLock);
	TupleTableSlot *slot;
	Snapshot	snapshot;
	TableScanDesc scan;

	if (RelationGetNumberOfBlocks(rel) == 0)
	{
		table_close(rel, AccessShareLock);
		return;
	}
	slot = table_slot_create(rel, NULL);
	snapshot = RegisterSnapshot(ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot());
	scan = table_beginscan(rel, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (gaps->n == gaps->size)
		{
			gaps->size = Max(gaps->size * 2, 8);
			gaps->gap = gaps->gap ? repalloc(gaps->gap, sizeof(PromGap) * gaps->size) : palloc(sizeof(PromGap) * gaps->size);
		}
		gaps->gap[gaps->n++] = read(slot);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
}

PromGap *
prom_gaps(int *n)
{
	Gaps		gaps = {0};

	add_gaps(&gaps, "expired", expired_gap);
	add_gaps(&gaps, "rollup_gap", foreign_gap);
	add_gaps(&gaps, "attached_gap", attached_gap);
	*n = gaps.n;
	return gaps.gap;
}

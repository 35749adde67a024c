/*
 * tier_list.c
 *	  Which objects of a bucket hold samples of some time: prom.tier_object.
 *
 * Rows are found by the index (resolution, shard, day) with the snapshot of the statement that asks, every time: a
 * summary in the backend could miss what another has just committed, and a probe takes a few microseconds
 * however many objects there are.  Access is below the executor: readers need no rights on the table.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "archive/archive.h"
#include "archive/tier_read.h"

/* Columns of prom.tier_object. */
enum
{
	COLUMN_ID = 1,
	COLUMN_SERVER,
	COLUMN_KEY,
	COLUMN_CLUSTER,
	COLUMN_RESOLUTION,
	COLUMN_SHARD,
	COLUMN_DAY,
	COLUMN_SEQ,
	COLUMN_T_MIN,
	COLUMN_T_MAX,
	COLUMN_BLOCK_MIN,
	COLUMN_BLOCK_MAX,
	COLUMN_ETAG = 17,
	COLUMN_DIRECTORY = 19,
	COLUMN_GONE,
	COLUMN_DELETED = 23,
	COLUMN_HOLES
};

/* An open table with what a scan of it takes. */
typedef struct Table
{
	Relation	rel;
	Snapshot	snapshot;
	Oid			index;
} Table;

static Table
open_table(const char *index)
{
	Table		t;

	t.rel = table_open(prom_store_relid("tier_object"), AccessShareLock);
	t.index = prom_store_relid(index);
	t.snapshot = RegisterSnapshot(ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot());
	return t;
}

static void
close_table(Table *t)
{
	UnregisterSnapshot(t->snapshot);
	table_close(t->rel, AccessShareLock);
}

static Datum
column(const Table *t, HeapTuple tuple, int number)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, number, RelationGetDescr(t->rel), &isnull);

	if (isnull)
		elog(ERROR, "column %d of prom.tier_object is null", number);
	return value;
}

/* Is the object to be read, and does it have samples of the time? */
static bool
has_time(const Table *t, HeapTuple tuple, PromScanRange range)
{
	return heap_attisnull(tuple, COLUMN_DELETED, RelationGetDescr(t->rel)) &&
		DatumGetInt64(column(t, tuple, COLUMN_T_MAX)) > range.from_ms &&
		DatumGetInt64(column(t, tuple, COLUMN_T_MIN)) <= range.to_ms;
}

/* A scan over the objects of a shard on the days of a range: of rollups, a day ends with the midnight after it. */
static SysScanDesc
begin_scan(const Table *t, int32 resolution_s, int16 shard, PromScanRange range)
{
	ScanKeyData key[4];
	int64		first_ms = range.from_ms < PG_INT64_MAX ? range.from_ms + 1 : range.from_ms;

	if (resolution_s > 0)
		first_ms = range.from_ms;
	ScanKeyInit(&key[0], COLUMN_RESOLUTION, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(resolution_s));
	ScanKeyInit(&key[1], COLUMN_SHARD, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(shard));
	ScanKeyInit(&key[2], COLUMN_DAY, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(prom_day_start(first_ms)));
	ScanKeyInit(&key[3], COLUMN_DAY, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(range.to_ms));
	return systable_beginscan(t->rel, t->index, true, t->snapshot, lengthof(key), key);
}

/* The next shard after *shard that has an object of the resolution; false: there is none. */
static bool
next_shard(const Table *t, int32 resolution_s, int32 *shard)
{
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	if (*shard == PG_INT16_MAX)
		return false;
	ScanKeyInit(&key[0], COLUMN_RESOLUTION, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(resolution_s));
	ScanKeyInit(&key[1], COLUMN_SHARD, BTGreaterEqualStrategyNumber, F_INT2GE, Int16GetDatum((int16) (*shard + 1)));
	scan = systable_beginscan(t->rel, t->index, true, t->snapshot, lengthof(key), key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		*shard = DatumGetInt16(column(t, tuple, COLUMN_SHARD));
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

#define BEFORE_ALL_SHARDS (PG_INT16_MIN - 1)

bool
prom_tier_any(int32 resolution_s, PromScanRange range)
{
	Table		t = open_table("tier_object_day_idx");
	int32		shard = BEFORE_ALL_SHARDS;
	bool		any = false;

	while (!any && next_shard(&t, resolution_s, &shard))
	{
		SysScanDesc scan = begin_scan(&t, resolution_s, (int16) shard, range);
		HeapTuple	tuple;

		while (!any && HeapTupleIsValid(tuple = systable_getnext(scan)))
			any = has_time(&t, tuple, range);
		systable_endscan(scan);
	}
	close_table(&t);
	return any;
}

static PromTierObject
read_object(const Table *t, HeapTuple tuple)
{
	PromTierObject o;
	ArrayType  *gone = DatumGetArrayTypePCopy(column(t, tuple, COLUMN_GONE));

	o.id = DatumGetInt64(column(t, tuple, COLUMN_ID));
	o.server = pstrdup(NameStr(*DatumGetName(column(t, tuple, COLUMN_SERVER))));
	o.key = TextDatumGetCString(column(t, tuple, COLUMN_KEY));
	o.etag = TextDatumGetCString(column(t, tuple, COLUMN_ETAG));
	o.shard = DatumGetInt16(column(t, tuple, COLUMN_SHARD));
	o.resolution_s = DatumGetInt32(column(t, tuple, COLUMN_RESOLUTION));
	o.day_ms = DatumGetInt64(column(t, tuple, COLUMN_DAY));
	o.seq = DatumGetInt64(column(t, tuple, COLUMN_SEQ));
	o.block_min = DatumGetInt32(column(t, tuple, COLUMN_BLOCK_MIN));
	o.block_max = DatumGetInt32(column(t, tuple, COLUMN_BLOCK_MAX));
	o.gone = prom_store_sids(gone, &o.ngone);
	o.holes = prom_holes_open(DatumGetArrayTypePCopy(column(t, tuple, COLUMN_HOLES)));
	return o;
}

/* Appends the objects of a shard. */
static void
add_objects(const Table *t, int32 resolution_s, int16 shard, PromScanRange range, PromTierObject **objects, int *n,
			int *size)
{
	SysScanDesc scan = begin_scan(t, resolution_s, shard, range);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (!has_time(t, tuple, range))
			continue;
		if (*n == *size)
		{
			*size = Max(*size * 2, 16);
			prom_store_need_memory(*size * sizeof(PromTierObject) * 2);
			*objects = *objects ? repalloc(*objects, *size * sizeof(PromTierObject)) : palloc(*size * sizeof(PromTierObject));
		}
		(*objects)[(*n)++] = read_object(t, tuple);
	}
	systable_endscan(scan);
}

PromTierObject *
prom_tier_all_objects(int32 resolution_s, PromScanRange range, int *n)
{
	Table		t = open_table("tier_object_day_idx");
	PromTierObject *objects = NULL;
	int			size = 0;
	int32		shard = BEFORE_ALL_SHARDS;

	*n = 0;
	while (next_shard(&t, resolution_s, &shard))
		add_objects(&t, resolution_s, (int16) shard, range, &objects, n, &size);
	close_table(&t);
	return objects;
}

PromDirectory *
prom_tier_open_directory(int64 id)
{
	Table		t = open_table("tier_object_pkey");
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	PromDirectory *d;
	bytea	   *packed;

	ScanKeyInit(&key, COLUMN_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = systable_beginscan(t.rel, t.index, true, t.snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "no row " INT64_FORMAT " in prom.tier_object", id);
	packed = DatumGetByteaP(column(&t, tuple, COLUMN_DIRECTORY));
	d = prom_object_directory_open(VARDATA(packed), VARSIZE(packed) - VARHDRSZ);
	systable_endscan(scan);
	close_table(&t);
	return d;
}

bool
prom_tier_is_gone(const PromTierObject *o, int32 block)
{
	for (int i = 0; i < o->ngone; i++)
		if (o->gone[i] == block)
			return true;
	return false;
}

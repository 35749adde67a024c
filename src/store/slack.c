/*
 * slack.c
 *	  Where in its files a table has room, and which rows are at their end (sql/install/44_slack.sql).
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/toast_internals.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/freespace.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "common/compat.h"
#include "store/rows.h"

PG_FUNCTION_INFO_V1(prom_pages);
PG_FUNCTION_INFO_V1(prom_offer_pages);
PG_FUNCTION_INFO_V1(prom_index_free);
PG_FUNCTION_INFO_V1(prom_lies_behind);

/* The pages of a table; adds up what is free in them and can hold rows of the usual size. */
static BlockNumber
pages_of(Relation rel, int64 *free)
{
	BlockNumber pages = RelationGetNumberOfBlocks(rel);
	int64		all = 0;
	Size		row = 1;

	for (BlockNumber page = 0; page < pages; page++)
	{
		CHECK_FOR_INTERRUPTS();
		all += GetRecordedFreeSpace(rel, page);
	}
	if (rel->rd_rel->reltuples >= 1)
		row = Max((Size) (((int64) pages * BLCKSZ - all) / rel->rd_rel->reltuples), 1);
	*free = 0;
	for (BlockNumber page = 0; page < pages; page++)
	{
		Size		room = GetRecordedFreeSpace(rel, page);

		CHECK_FOR_INTERRUPTS();
		*free += room - room % row;
	}
	return pages;
}

/* _pages(part) */
Datum
prom_pages(PG_FUNCTION_ARGS)
{
	Relation	rel = table_open(PG_GETARG_OID(0), AccessShareLock);
	Oid			toast = rel->rd_rel->reltoastrelid;
	Datum		values[4] = {0};
	bool		nulls[4] = {0};
	int64		free;
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int32GetDatum((int32) pages_of(rel, &free));
	values[1] = Int64GetDatum(free);
	values[3] = Int64GetDatum(0);
	if (OidIsValid(toast))
	{
		Relation	beside = table_open(toast, AccessShareLock);

		values[2] = Int32GetDatum((int32) pages_of(beside, &free));
		values[3] = Int64GetDatum(free);
		table_close(beside, AccessShareLock);
	}
	table_close(rel, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* Offers the room in this page and those behind it to whoever writes rows, or no longer. */
static void
offer_pages(Relation rel, BlockNumber first, bool offered)
{
	BlockNumber pages = RelationGetNumberOfBlocks(rel);

	for (BlockNumber page = first; page < pages; page++)
	{
		Size		free = 0;

		CHECK_FOR_INTERRUPTS();
		if (offered)
		{
			Buffer		buffer = ReadBuffer(rel, page);

			LockBuffer(buffer, BUFFER_LOCK_SHARE);
			free = PageIsNew(BufferGetPage(buffer)) ? 0 : PageGetHeapFreeSpace(BufferGetPage(buffer));
			UnlockReleaseBuffer(buffer);
		}
		RecordPageWithFreeSpace(rel, page, free);
	}
	if (first < pages)
		FreeSpaceMapVacuumRange(rel, first, pages);
}

/* _offer_pages(part, page, toast_page, offered) */
Datum
prom_offer_pages(PG_FUNCTION_ARGS)
{
	Relation	rel = table_open(PG_GETARG_OID(0), RowExclusiveLock);
	Oid			toast = rel->rd_rel->reltoastrelid;

	offer_pages(rel, (BlockNumber) Max(PG_GETARG_INT32(1), 0), PG_GETARG_BOOL(3));
	if (OidIsValid(toast))
	{
		Relation	beside = table_open(toast, RowExclusiveLock);

		offer_pages(beside, (BlockNumber) Max(PG_GETARG_INT32(2), 0), PG_GETARG_BOOL(3));
		table_close(beside, RowExclusiveLock);
	}
	table_close(rel, RowExclusiveLock);
	PG_RETURN_VOID();
}

/* Bytes without entries in a page of an index; all of it, if it has been given back for another use. */
static Size
free_in_page(Relation index, BlockNumber number, BufferAccessStrategy strategy)
{
	Buffer		buffer;
	Page		page;
	Size		free = BLCKSZ;

	if (GetRecordedFreeSpace(index, number) > 0)
		return BLCKSZ;
	buffer = ReadBufferExtended(index, MAIN_FORKNUM, number, RBM_NORMAL, strategy);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	if (!PageIsNew(page))
		free = PageGetExactFreeSpace(page);
	UnlockReleaseBuffer(buffer);
	return free;
}

/* _index_free(index) */
Datum
prom_index_free(PG_FUNCTION_ARGS)
{
	Relation	index = index_open(PG_GETARG_OID(0), AccessShareLock);
	BlockNumber pages = RelationGetNumberOfBlocks(index);
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
	int64		free = 0;

	/* The first page tells where the others are. */
	for (BlockNumber page = 1; page < pages; page++)
	{
		CHECK_FOR_INTERRUPTS();
		free += free_in_page(index, page, strategy);
	}
	FreeAccessStrategy(strategy);
	index_close(index, AccessShareLock);
	PG_RETURN_INT64(free);
}

/* Has a value in a TOAST table a part in this page or behind it? */
static bool
lies_behind(const struct varatt_external *value, BlockNumber page)
{
	Relation	rel = table_open(value->va_toastrelid, AccessShareLock);
	Relation   *indexes;
	int			n;
	int			valid = toast_open_indexes(rel, AccessShareLock, &indexes, &n);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	part;
	bool		found = false;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value->va_valueid));
	/* Visible or not: the value is not read. */
	scan = systable_beginscan_ordered(rel, indexes[valid], SnapshotAny, 1, &key);
	while (!found && (part = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
		found = ItemPointerGetBlockNumber(&part->t_self) >= page;
	systable_endscan_ordered(scan);
	toast_close_indexes(indexes, n, AccessShareLock);
	table_close(rel, AccessShareLock);
	return found;
}

/* _lies_behind(data, page) */
Datum
prom_lies_behind(PG_FUNCTION_ARGS)
{
	struct varlena *data = (struct varlena *) PG_GETARG_POINTER(0);
	struct varatt_external value;

	if (!VARATT_IS_EXTERNAL_ONDISK(data))
		PG_RETURN_BOOL(false);
	VARATT_EXTERNAL_GET_POINTER(value, data);
	PG_RETURN_BOOL(lies_behind(&value, (BlockNumber) PG_GETARG_INT32(1)));
}

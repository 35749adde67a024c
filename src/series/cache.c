/*
 * cache.c
 *	  The backend's cache: hash of the sender's label bytes -> series id.
 *
 * An entry must name a row of prom.series that is there.  So what a transaction learns waits until it
 * commits, and is forgotten when it or one of its subtransactions aborts.  Removal of series needs a
 * lock on prom.shard that conflicts with ours, adds to prom.shard.removals and invalidates the relcache
 * entry of prom.series; taking our lock makes us see that.  The same message also comes when the table is
 * analyzed or vacuumed: then the table's identity and the count of removals are as before, and the
 * cache stays.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "series/cache.h"
#include "series/hashmap.h"

/* What the entries are true for. */
typedef struct CacheBasis
{
	Oid			table;
	Oid			file;			/* differs after TRUNCATE */
	int64		removals;
} CacheBasis;

static int	cache_limit;		/* promgres.series_cache_entries */

static PromHashMap cache;
static CacheBasis basis;
static bool basis_stale = true;
static bool basis_uncommitted;	/* read in the current transaction */

/* Learnt in the current transaction; the array lives in TopTransactionContext. */
static PromHashEntry *learnt;
static uint64 nlearnt;
static uint64 learnt_room;

static void empty_cache(void);
static void check_right(const RangeVar *table, Oid relid, Oid old_relid, void *arg);
static CacheBasis read_basis(Oid table);
static void note_invalidation(Datum arg, Oid relid);
static void end_transaction(XactEvent event, void *arg);
static void end_subtransaction(SubXactEvent event, SubTransactionId subid,
							   SubTransactionId parent, void *arg);
static void forget_learnt(void);
static void doubt_basis(void);

void
prom_series_cache_init(void)
{
	DefineCustomIntVariable("promgres.series_cache_entries",
							"Number of series ids that each backend which ingests remembers.",
							"An entry takes 48 to 96 bytes. When there are more, the backend forgets them all and learns again.",
							&cache_limit, 2000000, 1000, INT_MAX / 4, PGC_USERSET, 0,
							NULL, NULL, NULL);
	CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}

/* As LOCK TABLE asks. */
static void
check_right(const RangeVar *table, Oid relid, Oid old_relid, void *arg)
{
	AclResult	acl;

	if (!OidIsValid(relid))
		return;
	acl = pg_class_aclcheck(relid, GetUserId(), ACL_INSERT | ACL_UPDATE | ACL_DELETE);
	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, table->relname);
}

Oid
prom_series_lock(void)
{
	Oid			table = RangeVarGetRelidExtended(makeRangeVar("prom", "series", -1), RowExclusiveLock, 0,
												 check_right, NULL);

	(void) RangeVarGetRelid(makeRangeVar("prom", "shard", -1), RowExclusiveLock, false);
	return table;
}

void
prom_series_begin(void)
{
	Oid			table = prom_series_lock();

	if (cache.context == NULL)
		cache.context = AllocSetContextCreate(TopMemoryContext, "promgres series cache",
											  ALLOCSET_DEFAULT_SIZES);
	if (basis_stale || table != basis.table)
	{
		CacheBasis	now;

		/* A message that comes while we read makes it stale again, and so does an error. */
		basis_stale = false;
		basis_uncommitted = true;
		now = read_basis(table);
		if (now.table != basis.table || now.file != basis.file || now.removals != basis.removals)
		{
			/* This transaction may have removed what it has learnt. */
			nlearnt = 0;
			empty_cache();
		}
		basis = now;
	}
	if (cache.n >= cache_limit)
		empty_cache();
}

bool
prom_series_cached(PromSeriesHash raw, PromSeriesId *id)
{
	PromHashEntry *e = prom_hashmap_find(&cache, raw);

	if (e == NULL)
		return false;
	*id = e->id;
	return true;
}

void
prom_series_expect(PromSeriesHash raw)
{
	prom_hashmap_prefetch(&cache, raw);
}

PromSeriesHash
prom_series_raw_hash(const void *bytes, size_t len)
{
	XXH128_hash_t h = XXH3_128bits(bytes, len);
	PromSeriesHash hash = {h.low64, h.high64};

	return hash;
}

void
prom_series_learn(PromSeriesHash raw, PromSeriesId id)
{
	prom_hashmap_reserve(&cache, cache.n + nlearnt + 1);
	if (nlearnt == learnt_room)
	{
		uint64		room = Max(256, learnt_room * 2);
		Size		size = room * sizeof(PromHashEntry);

		learnt = learnt ? repalloc_huge(learnt, size)
			: MemoryContextAllocHuge(TopTransactionContext, size);
		learnt_room = room;
	}
	learnt[nlearnt].key = raw;
	learnt[nlearnt++].id = id;
}

/* What is learnt keeps the room that it was promised. */
static void
empty_cache(void)
{
	prom_hashmap_clear(&cache);
	if (nlearnt > 0)
		prom_hashmap_reserve(&cache, nlearnt);
}

static CacheBasis
read_basis(Oid table)
{
	CacheBasis	b = {table, InvalidOid, prom_series_removals()};
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", table);
	b.file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
	ReleaseSysCache(tuple);
	return b;
}

static void
note_invalidation(Datum arg, Oid relid)
{
	if (relid == basis.table || relid == InvalidOid)
		basis_stale = true;
}

static void
end_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			/* prom_series_learn made room: nothing is allocated here. */
			for (uint64 i = 0; i < nlearnt; i++)
				prom_hashmap_put(&cache, learnt[i].key, learnt[i].id);
			basis_uncommitted = false;
			forget_learnt();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			doubt_basis();
			basis_uncommitted = false;
			forget_learnt();
			break;
		default:
			break;
	}
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	doubt_basis();
	nlearnt = 0;
}

static void
forget_learnt(void)
{
	learnt = NULL;
	nlearnt = learnt_room = 0;
}

/* The count of removals may include one of ours that was just rolled back. */
static void
doubt_basis(void)
{
	if (basis_uncommitted)
	{
		basis.removals = -1;
		basis_stale = true;
	}
}

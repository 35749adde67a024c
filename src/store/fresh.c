/*
 * fresh.c
 *	  Rows of prom.fresh are written here, below the executor: one row is up to a thousand samples, and
 *	  an INSERT statement per row would cost as much as decoding it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "common/compat.h"
#include "store/rows.h"

Oid
prom_store_relid(const char *name)
{
	Oid			relid = get_relname_relid(name, get_namespace_oid("prom", false));

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"prom.%s\" does not exist", name),
				 errhint("Run \"CREATE EXTENSION promgres\" in this database.")));
	return relid;
}

Oid
prom_store_type(const char *name)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
						   ObjectIdGetDatum(get_namespace_oid("prom", false)));
}

Relation
prom_store_open_for_insert(const char *name)
{
	Oid			relid = prom_store_relid(name);
	AclResult	acl = pg_class_aclcheck(relid, GetUserId(), ACL_INSERT);

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, name);
	return table_open(relid, RowExclusiveLock);
}

/* Whoever may insert may also draw a number. */
int64
prom_store_next_seq(void)
{
	return nextval_internal(prom_store_relid("store_seq"), false);
}

void
prom_store_insert_fresh(Relation fresh, int16 shard, const PromFreshRow *row, const PromChunk *chunk)
{
	Datum		values[] = {
		Int16GetDatum(shard), Int32GetDatum(row->sid_min), Int32GetDatum(row->sid_max),
		Int64GetDatum(row->t_min), Int64GetDatum(row->t_max), Int32GetDatum(row->samples),
		Int64GetDatum(row->seq), TimestampTzGetDatum(GetCurrentTimestamp()), PointerGetDatum(chunk),
		Int64GetDatum(row->day_ms)
	};
	bool		nulls[lengthof(values)] = {0};
	HeapTuple	tuple;

	if (RelationGetNumberOfAttributes(fresh) != lengthof(values))
		elog(ERROR, "prom.fresh has %d columns, expected %zu", RelationGetNumberOfAttributes(fresh),
			 lengthof(values));
	nulls[lengthof(values) - 1] = !row->late;
	tuple = heap_form_tuple(RelationGetDescr(fresh), values, nulls);
	/* not of a catalog, but this is the one way below the executor to insert a row with its index entries */
	CatalogTupleInsert(fresh, tuple);
	heap_freetuple(tuple);
}

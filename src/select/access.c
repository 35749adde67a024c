/*
 * access.c
 *	  How the current user gets at samples: tables, views of them, or functions; and what their conditions are made of.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/rls.h"

#include "select/access.h"
#include "store/rows.h"

/* May the current user read a table as it is? */
static bool
reads_table(const char *name)
{
	Oid			table = prom_store_relid(name);

	return check_enable_rls(table, InvalidOid, true) != RLS_ENABLED &&
		pg_class_aclcheck(table, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

/* Their owner reads the tables themselves; others views, which show them to those who see all series. */
PromAccess
prom_find_access(void)
{
	PromAccess	a;

	a.restricted = prom_series_restricted();
	a.fresh = reads_table("fresh") ? "prom.fresh" : "prom._fresh_rows";
	a.warm = reads_table("warm") ? "prom.warm" : "prom._warm_rows";
	a.rollup = reads_table("rollup") ? "prom.rollup" : "prom._rollup_rows";
	return a;
}

char *
prom_parts_sql(int parts)
{
	StringInfoData out;
	const char *separator = "";

	initStringInfo(&out);
	appendStringInfoString(&out, "'{");
	for (int part = PROM_PART_LAST; part < PROM_PARTS; part++)
	{
		if ((parts & (1 << part)) == 0)
			continue;
		appendStringInfo(&out, "%s%d", separator, part);
		separator = ",";
	}
	appendStringInfoString(&out, "}'::pg_catalog.int2[]");
	return out.data;
}

int64
prom_day_end(int64 t_ms)
{
	int64		start_ms = prom_day_start(t_ms);

	return start_ms > PG_INT64_MAX - PROM_DAY_MS ? PG_INT64_MAX : start_ms + PROM_DAY_MS - 1;
}

/*
 * late.c
 *	  Raw samples of series that retention by selector has taken out of their day already.
 *
 * They are stored as any others, and go the next time that retention looks.  Until then they must not pass for
 * what there is of their series: rollups stand for much more of the day.  So queries take no notice of them, as
 * whoever makes rollups again does (prom._expired_sids).
 *
 * Rules get hold of ever younger days: a series that one has taken out of a day has no raw samples of older ones.
 * Hence one time for each series, before which its raw samples do not count.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "select/select.h"
#include "store/rows.h"

/* The condition on the row s of prom.series. */
static char *
condition(const char *rules)
{
	Oid			types[] = {TEXTOID};
	Datum		args[] = {CStringGetTextDatum(rules)};
	MemoryContext cxt = CurrentMemoryContext;
	bool		isnull;
	char	   *result;

	SPI_connect();
	if (SPI_execute_with_args("SELECT prom._expired_condition($1::pg_catalog.jsonb)", 1, types, args, NULL, true, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "condition of retention rules is missing");
	result = MemoryContextStrdup(cxt, TextDatumGetCString(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)));
	SPI_finish();
	return result;
}

void
prom_late_sql(StringInfo out, const PromSegments *segments, const char *which)
{
	appendStringInfoString(out, "(\n"
						   "SELECT pg_catalog.array_agg(s.sid ORDER BY s.sid) AS sids, pg_catalog.array_agg(s.since ORDER BY s.sid) AS since\n"
						   "FROM (\n"
						   "SELECT s.sid, CASE");
	for (int i = 0; i < segments->nexpired; i++)
		appendStringInfo(out, " WHEN %s THEN '" INT64_FORMAT "'::pg_catalog.int8",
						 condition(segments->expired[i].rules), segments->expired[i].to_ms);
	appendStringInfo(out, " END AS since\n"
					 "FROM prom.series AS s\n"
					 "WHERE %s) AS s\n"
					 "WHERE s.since IS NOT NULL) AS o",
					 which);
}

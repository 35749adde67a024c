/*
 * statement.c
 *	  The statements that find and make series, and their plans.
 *
 * They see what is committed now, also in a transaction with an older snapshot: an id that was removed
 * meanwhile would be worse than an early look.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "series/statement.h"

#define ANY_LABELS_ARRAY 0		/* stands for prom.labels[], whose oid is not constant */

static const struct
{
	const char *sql;
	int			nargs;
	Oid			args[6];
}			statements[PROM_NSTATEMENTS] =
{
	[PROM_FIND_SERIES] = {
		"SELECT w.i, s.sid, s.labels FROM unnest($1, $2) WITH ORDINALITY AS w(shard, hash, i),"
		" LATERAL (SELECT x.sid, x.labels FROM prom.series x WHERE x.shard OPERATOR(pg_catalog.=) w.shard"
		" AND prom.labels_hash4(x.labels) OPERATOR(pg_catalog.=) w.hash OFFSET 0) s",
		2, {INT2ARRAYOID, INT4ARRAYOID}
	},
/* Of the others without a look at the index entries of the one, which may be dead by the thousand. */
#define SERIES_OF(which) \
		"coalesce((SELECT pg_catalog.sum(o.series)::pg_catalog.int8 FROM prom.shard o" \
		" WHERE o.shard OPERATOR(pg_catalog." which ") $1), 0)"
#define SHARD_COLUMNS \
		"h.next_block, h.next_sid, CASE WHEN $2 THEN h.series OPERATOR(pg_catalog.+) " SERIES_OF("<") \
		" OPERATOR(pg_catalog.+) " SERIES_OF(">") " ELSE 0 END, h.ctid, h.xmin"
	[PROM_SEE_SHARD] = {
		"SELECT " SHARD_COLUMNS " FROM prom.shard h WHERE h.shard OPERATOR(pg_catalog.=) $1",
		2, {INT2OID, BOOLOID}
	},
	[PROM_SEE_SHARD_AT] = {
		"SELECT " SHARD_COLUMNS " FROM prom.shard h WHERE h.ctid OPERATOR(pg_catalog.=) $3"
		" AND h.shard OPERATOR(pg_catalog.=) $1",
		3, {INT2OID, BOOLOID, TIDOID}
	},
	[PROM_LOCK_SHARD] = {
		"SELECT " SHARD_COLUMNS " FROM prom.shard h WHERE h.shard OPERATOR(pg_catalog.=) $1 FOR UPDATE OF h",
		2, {INT2OID, BOOLOID}
	},
	[PROM_LOCK_SHARD_AT] = {
		"SELECT " SHARD_COLUMNS " FROM prom.shard h WHERE h.ctid OPERATOR(pg_catalog.=) $3"
		" AND h.shard OPERATOR(pg_catalog.=) $1 FOR UPDATE OF h",
		3, {INT2OID, BOOLOID, TIDOID}
	},
	[PROM_ADD_SHARD] = {
		"INSERT INTO prom.shard (shard) VALUES ($1) ON CONFLICT DO NOTHING",
		1, {INT2OID}
	},
	[PROM_FIND_METRICS] = {
		"SELECT w.i, m.next_sid, m.end_sid, m.series FROM unnest($2) WITH ORDINALITY AS w(name, i),"
		" LATERAL (SELECT x.next_sid, x.end_sid, x.series FROM prom.metric x WHERE x.shard OPERATOR(pg_catalog.=) $1"
		" AND x.name OPERATOR(pg_catalog.=) w.name OFFSET 0) m",
		2, {INT2OID, TEXTARRAYOID}
	},
	[PROM_FIND_METRIC_AT] = {
		"SELECT 1::pg_catalog.int8, x.next_sid, x.end_sid, x.series FROM prom.metric x WHERE x.ctid OPERATOR(pg_catalog.=) $3"
		" AND x.shard OPERATOR(pg_catalog.=) $1 AND x.name OPERATOR(pg_catalog.=) $2[1]",
		3, {INT2OID, TEXTARRAYOID, TIDOID}
	},
	[PROM_SAVE_METRICS] = {
		"INSERT INTO prom.metric (shard, name, next_sid, end_sid, series)"
		" SELECT $1, w.name, w.next_sid, w.end_sid, w.series"
		" FROM unnest($2, $3, $4, $5) AS w(name, next_sid, end_sid, series)"
		" ON CONFLICT (shard, name) DO UPDATE SET next_sid = EXCLUDED.next_sid, end_sid = EXCLUDED.end_sid,"
		" series = EXCLUDED.series RETURNING ctid",
		5, {INT2OID, TEXTARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID}
	},
	[PROM_SAVE_METRIC_AT] = {
		"UPDATE prom.metric SET next_sid = $3[1], end_sid = $4[1], series = $5[1] WHERE ctid OPERATOR(pg_catalog.=) $6"
		" AND shard OPERATOR(pg_catalog.=) $1 AND name OPERATOR(pg_catalog.=) $2[1] RETURNING ctid",
		6, {INT2OID, TEXTARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, TIDOID}
	},
	[PROM_SAVE_SHARD] = {
		"UPDATE prom.shard SET next_block = $2, next_sid = $3, series = series OPERATOR(pg_catalog.+) $4"
		" WHERE ctid OPERATOR(pg_catalog.=) $5 AND shard OPERATOR(pg_catalog.=) $1 RETURNING ctid",
		5, {INT2OID, INT4OID, INT4OID, INT4OID, TIDOID}
	},
	[PROM_ADD_SERIES] = {
		"INSERT INTO prom.series (shard, sid, labels)"
		" SELECT $1, w.sid, w.labels FROM unnest($2, $3) AS w(sid, labels)",
		3, {INT2OID, INT4ARRAYOID, ANY_LABELS_ARRAY}
	},
	[PROM_ADD_VALUES] = {
		"INSERT INTO prom.label_value (shard, name, value, digest)"
		" SELECT $1, w.name, w.value, w.digest FROM unnest($2, $3, $4) AS w(name, value, digest)"
		" ON CONFLICT DO NOTHING",
		4, {INT2OID, TEXTARRAYOID, TEXTARRAYOID, UUIDARRAYOID}
	},
	[PROM_SUM_REMOVALS] = {
		"SELECT pg_catalog.sum(removals)::pg_catalog.int8 FROM prom.shard",
		0, {0}
	},
};

/*
 * Settings under which the statements are planned: once, and to look up by index.  The plans are kept
 * while the tables grow from nothing; OFFSET 0 is there so that the planner cannot take what is good
 * for small tables only, which is to go through all metrics of the shard for each name.
 */
static const char *const plan_settings[][2] = {
	{"plan_cache_mode", "force_generic_plan"},
	{"enable_seqscan", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"jit", "off"},
};

static SPIPlanPtr plans[PROM_NSTATEMENTS];
static Oid	labels_type;		/* for which they were made */

int
prom_begin_statements(void)
{
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("labels"),
											  ObjectIdGetDatum(get_namespace_oid("prom", false)));
	int			nest_level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(plan_settings); i++)
		(void) set_config_option(plan_settings[i][0], plan_settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();

	/* The extension was dropped and made again. */
	for (int i = 0; i < PROM_NSTATEMENTS && type != labels_type; i++)
	{
		if (plans[i])
			SPI_freeplan(plans[i]);
		plans[i] = NULL;
	}
	labels_type = type;
	return nest_level;
}

void
prom_end_statements(int nest_level)
{
	SPI_finish();
	AtEOXact_GUC(true, nest_level);
}

void
prom_run_statement(PromStatement statement, Datum *args)
{
	int			status;

	if (plans[statement] == NULL)
	{
		Oid			types[lengthof(statements[0].args)];
		SPIPlanPtr	plan;

		for (int i = 0; i < statements[statement].nargs; i++)
		{
			types[i] = statements[statement].args[i];
			if (types[i] == ANY_LABELS_ARRAY)
				types[i] = get_array_type(labels_type);
		}
		plan = SPI_prepare(statements[statement].sql, statements[statement].nargs, types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare statement: %s", SPI_result_code_string(SPI_result));
		plans[statement] = plan;
	}
	status = SPI_execute_snapshot(plans[statement], args, NULL, GetLatestSnapshot(),
								  InvalidSnapshot, false, true, 0);
	if (status < 0)
		elog(ERROR, "could not run statement: %s", SPI_result_code_string(status));
}

int64
prom_result_int(uint64 row, int column)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	bool		isnull;
	Datum		d = SPI_getbinval(SPI_tuptable->vals[row], desc, column, &isnull);

	if (isnull)
		return 0;
	return TupleDescAttr(desc, column - 1)->atttypid == INT8OID ? DatumGetInt64(d) : DatumGetInt32(d);
}

Oid
prom_statement_labels_type(void)
{
	return labels_type;
}

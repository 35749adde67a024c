/*
 * leaf.c
 *	  How a query reaches the samples of its series: the SQL of a leaf of every translated expression.
 *
 * A leaf is SQL over the tables, so that it can be pasted, explained and planned like any other:
 *
 *	- g: prom.series, restricted by the matchers, by blocks of 64 ids: what a row of prom.warm is about.  It is a
 *	  WITH query, so that the catalog is read once for all that asks for it; as b the groups are gone through;
 *	- f: the fresh samples of all matched series, gathered once per shard into one plain chunk;
 *	- l: per block, an aggregate over its warm rows (an index scan) and over f, one result per series.
 *
 * Where segments (segment.c) say so, rows of prom.rollup take the place of warm rows: a branch of the union for
 * each.  A leaf without segments is as if there were no rollups.
 *
 * Where objects in a bucket have samples of the time, prom._tier (tier_scan.c) gives their rows: one more branch
 * for each segment.  Otherwise nothing of that is in the text.
 *
 * Who is subject to row security on prom.series reads no table of samples; for him both come from the
 * functions of visible.c.  Time bounds are constants, so partitions of other days are not even locked.
 * Operators are qualified as all names are: the text means the same under any search_path.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/rls.h"

#include "archive/archive.h"
#include "select/select.h"
#include "store/rows.h"

/* How the current user gets at samples. */
typedef struct Access
{
	bool		restricted;		/* not by tables */
	const char *fresh;
	const char *warm;
} Access;

/* May the current user read a table as it is? */
static bool
reads_table(const char *name)
{
	Oid			table = prom_store_relid(name);

	return check_enable_rls(table, InvalidOid, true) != RLS_ENABLED &&
		pg_class_aclcheck(table, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

/* Their owner reads the tables themselves; others views, which show them to those who see all series. */
static Access
find_access(void)
{
	Access		a;

	a.restricted = prom_series_restricted();
	a.fresh = reads_table("fresh") ? "prom.fresh" : "prom._fresh_rows";
	a.warm = reads_table("warm") ? "prom.warm" : "prom._warm_rows";
	return a;
}

char *
prom_leaf_matched_sql(const PromMatcher *m, int n)
{
	StringInfoData out;

	prom_series_check_reads();
	initStringInfo(&out);
	prom_matchers_sql(&out, "s", m, n);
	return out.data;
}

/* Where matched series are found: what follows FROM and yields a row s with their shard and sid. */
static char *
series_source(const char *matched)
{
	return psprintf("prom.series AS s\nWHERE %s", matched);
}

/* The same in the groups g. */
#define GROUPS_SOURCE "(SELECT g.shard, pg_catalog.unnest(g.sids) AS sid FROM g) AS s"

/* The matched series of each shard. */
static void
matched_sql(StringInfo out, const char *source)
{
	appendStringInfo(out, "SELECT s.shard, pg_catalog.array_agg(s.sid) AS sids, pg_catalog.min(s.sid) AS low, pg_catalog.max(s.sid) AS high\n"
					 "FROM %s\n"
					 "GROUP BY s.shard",
					 source);
}

/* The fresh samples of all matched series, one chunk per shard. */
static void
all_fresh_sql(StringInfo out, const Access *access, const char *source, PromScanRange range)
{
	if (access->restricted)
	{
		/* once, however many groups the planner does not expect */
		appendStringInfo(out, "WITH v AS MATERIALIZED (\n"
						 "SELECT m.shard, prom._visible_fresh(m.shard, m.sids, " INT64_FORMAT ", " INT64_FORMAT ") AS data\n"
						 "FROM (\n",
						 range.from_ms, range.to_ms);
		matched_sql(out, source);
		appendStringInfoString(out, ") AS m)\nSELECT v.shard, v.data FROM v");
		return;
	}
	/* Per shard, so that fresh rows are looked for by ids, however few of them the planner expects. */
	appendStringInfoString(out, "SELECT m.shard, o.data\n"
						   "FROM (\n");
	matched_sql(out, source);
	appendStringInfo(out, ") AS m\n"
					 "CROSS JOIN LATERAL (\n"
					 "SELECT prom._fresh(f.data, f.seq, m.sids, " INT64_FORMAT ", " INT64_FORMAT ") AS data\n"
					 "FROM %s AS f\n"
					 "WHERE f.shard OPERATOR(pg_catalog.=) m.shard\n"
					 "AND f.t_max OPERATOR(pg_catalog.>) " INT64_FORMAT " AND f.t_min OPERATOR(pg_catalog.<=) " INT64_FORMAT "\n"
					 "AND f.sid_max OPERATOR(pg_catalog.>=) m.low AND f.sid_min OPERATOR(pg_catalog.<=) m.high) AS o",
					 range.from_ms, range.to_ms, access->fresh, range.from_ms, range.to_ms);
}

/* The same without what came late. */
static void
fresh_sql(StringInfo out, const Access *access, const char *source, const char *matched, PromScanRange range,
		  const PromSegments *segments)
{
	if (segments == NULL || segments->nexpired == 0)
	{
		all_fresh_sql(out, access, source, range);
		return;
	}
	appendStringInfoString(out, "SELECT x.shard, prom._since(x.data, o.sids, o.since) AS data\nFROM (\n");
	all_fresh_sql(out, access, source, range);
	appendStringInfoString(out, ") AS x\nCROSS JOIN LATERAL ");
	prom_late_sql(out, segments, psprintf("s.shard OPERATOR(pg_catalog.=) x.shard AND %s", matched));
}

/* The last millisecond of a day. */
static int64
day_end(int64 t_ms)
{
	int64		start_ms = prom_day_start(t_ms);

	return start_ms > PG_INT64_MAX - PROM_DAY_MS ? PG_INT64_MAX : start_ms + PROM_DAY_MS - 1;
}

/*
 * The warm rows of the group b.  The days are quoted literals: their partitions are known when the query is
 * planned, even if plans are kept for other times of the same days.
 */
static void
warm_sql(StringInfo out, const Access *access, PromScanRange range)
{
	if (access->restricted)
		appendStringInfo(out, "SELECT w.data, w.ord\n"
						 "FROM prom._visible_warm(b.shard, b.sids, " INT64_FORMAT ", " INT64_FORMAT ") AS w",
						 range.from_ms, range.to_ms);
	else
		appendStringInfo(out, "SELECT w.data, w.seq AS ord\n"
						 "FROM %s AS w\n"
						 "WHERE w.shard OPERATOR(pg_catalog.=) b.shard AND w.block OPERATOR(pg_catalog.=) b.block\n"
						 "AND w.t_min OPERATOR(pg_catalog.>=) '" INT64_FORMAT "' AND w.t_min OPERATOR(pg_catalog.<=) '" INT64_FORMAT "'\n"
						 "AND w.t_min OPERATOR(pg_catalog.<=) " INT64_FORMAT " AND w.t_max OPERATOR(pg_catalog.>) " INT64_FORMAT,
						 access->warm, prom_day_start(Min(range.from_ms, PG_INT64_MAX - 1) + 1), day_end(range.to_ms),
						 range.to_ms, range.from_ms);
}

/* The same of a time that is mixed, without what came late. */
static void
mixed_warm_sql(StringInfo out, const Access *access, PromScanRange range, const PromSegments *segments)
{
	char	   *which = psprintf("s.shard OPERATOR(pg_catalog.=) b.shard AND s.sid OPERATOR(pg_catalog.>=) (b.block OPERATOR(pg_catalog.<<) %d)"
								 " AND s.sid OPERATOR(pg_catalog.<) ((b.block OPERATOR(pg_catalog.+) 1) OPERATOR(pg_catalog.<<) %d)",
								 PROM_BLOCK_BITS, PROM_BLOCK_BITS);

	appendStringInfoString(out, "SELECT prom._since(x.data, o.sids, o.since), x.ord\nFROM (\n");
	warm_sql(out, access, range);
	appendStringInfoString(out, ") AS x\nCROSS JOIN ");
	prom_late_sql(out, segments, which);
}

/* The parts of rollups as an array. */
static char *
parts_sql(int parts)
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

static const char *
rollup_table(void)
{
	return reads_table("rollup") ? "prom.rollup" : "prom._rollup_rows";
}

/* The rollups of the group b in a segment. */
static void
rollup_sql(StringInfo out, const Access *access, const PromSegment *s, int parts)
{
	if (access->restricted)
		appendStringInfo(out, "SELECT q.data, q.ord\n"
						 "FROM prom._visible_rollup(b.shard, b.sids, %d, %s, " INT64_FORMAT ", " INT64_FORMAT ") AS q",
						 s->resolution_s, parts_sql(parts), s->from_ms, s->to_ms);
	else
		appendStringInfo(out, "SELECT q.data, q.part OPERATOR(pg_catalog.-) " INT64_FORMAT " AS ord\n"
						 "FROM %s AS q\n"
						 "WHERE q.resolution OPERATOR(pg_catalog.=) %d AND q.shard OPERATOR(pg_catalog.=) b.shard"
						 " AND q.block OPERATOR(pg_catalog.=) b.block AND q.part OPERATOR(pg_catalog.=) ANY (%s)\n"
						 "AND q.day OPERATOR(pg_catalog.>=) '" INT64_FORMAT "' AND q.day OPERATOR(pg_catalog.<) '" INT64_FORMAT
						 "' AND q.t_max OPERATOR(pg_catalog.>) " INT64_FORMAT " AND q.t_min OPERATOR(pg_catalog.<=) " INT64_FORMAT,
						 -PROM_ROLLUP_ORDER, rollup_table(), s->resolution_s, parts_sql(parts),
						 prom_day_start(s->from_ms), s->to_ms, s->from_ms, s->to_ms);
}

/* A further branch: what objects in buckets have of the group b.  False: they have nothing of the time. */
static bool
tier_sql(StringInfo out, const char *source, PromScanRange range, int32 resolution_s, int parts)
{
	if (!prom_tier_any(resolution_s, range))
		return false;
	appendStringInfo(out, "\nUNION ALL SELECT t.data, t.ord\n"
					 "FROM prom._tier(b.shard, b.sids, %d, %s, " INT64_FORMAT ", " INT64_FORMAT ", ARRAY(\n"
					 "SELECT s.shard::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32 OPERATOR(pg_catalog.|) s.sid\n"
					 "FROM %s)) AS t",
					 resolution_s, parts_sql(parts), range.from_ms, range.to_ms, source);
	return true;
}

/* What is stored of the group b, but for fresh rows: the branches of a union.  True: some of it in buckets. */
static bool
stored_sql(StringInfo out, const Access *access, const char *source, PromScanRange range,
		   const PromSegments *segments)
{
	PromSegment raw = {range.from_ms, range.to_ms, 0};
	int			nsegments = segments ? segments->n : 1;
	bool		tier = false;

	for (int i = 0; i < nsegments; i++)
	{
		const PromSegment *s = segments ? &segments->segment[i] : &raw;
		PromScanRange part = {s->from_ms, s->to_ms};

		if (s->resolution_s > 0)
		{
			rollup_sql(out, access, s, segments->parts);
			tier |= tier_sql(out, source, part, s->resolution_s, segments->parts);
		}
		if (s->mixed)
			appendStringInfoString(out, "\nUNION ALL ");
		if (s->resolution_s == 0 || s->mixed)
		{
			if (s->mixed && segments->nexpired > 0)
				mixed_warm_sql(out, access, part, segments);
			else
				warm_sql(out, access, part);
			tier |= tier_sql(out, source, part, 0, 0);
		}
		if (i < nsegments - 1)
			appendStringInfoString(out, "\nUNION ALL ");
	}
	return tier;
}

static bool
reads_raw(const PromSegment *s)
{
	return s->resolution_s == 0 || s->mixed;
}

/* Narrow a range to the time of all raw segments together, of which fresh rows are read; false: there is none. */
static bool
narrow_to_raw(PromScanRange *range, const PromSegments *segments)
{
	int			first = 0;
	int			last = segments->n - 1;

	while (last >= 0 && !reads_raw(&segments->segment[last]))
		last--;
	if (last < 0)
		return false;
	while (!reads_raw(&segments->segment[first]))
		first++;
	range->from_ms = segments->segment[first].from_ms;
	range->to_ms = segments->segment[last].to_ms;
	return true;
}

bool
prom_leaf_fresh_sql(StringInfo out, const char *matched, PromScanRange range, const PromSegments *segments)
{
	Access		access = find_access();

	if (segments && !narrow_to_raw(&range, segments))
		return false;
	fresh_sql(out, &access, series_source(matched), matched, range, segments);
	return true;
}

void
prom_leaf_stored_sql(StringInfo out, const char *matched, PromScanRange range, const PromSegments *segments)
{
	Access		access = find_access();

	(void) stored_sql(out, &access, series_source(matched), range, segments);
}

/*
 * The rows of a leaf over groups of series: shard, block, sids and labels of each.  "ordered": in which they have to
 * stay; buckets are read block after block anyway.  Groups without an order are read once.
 */
static void
groups_sql(StringInfo out, const char *groups, bool ordered, const char *matched, PromScanRange range,
		   const PromSegments *segments, const char *leaf)
{
	Access		access = find_access();
	const char *source = ordered ? series_source(matched) : GROUPS_SOURCE;
	StringInfoData stored;
	bool		tier;
	PromScanRange raw = range;
	bool		has_raw = segments == NULL || narrow_to_raw(&raw, segments);

	initStringInfo(&stored);
	tier = stored_sql(&stored, &access, source, range, segments);
	if (ordered)
		appendStringInfo(out, "SELECT b.place, pg_catalog.unnest(b.labels) AS labels, pg_catalog.unnest(l.results) AS out\n"
						 "FROM (\n%s) AS b\n",
						 groups);
	else
		appendStringInfo(out, "WITH g AS (\n%s%s)\n"
						 "SELECT pg_catalog.unnest(b.labels) AS labels, pg_catalog.unnest(l.results) AS out\n"
						 "FROM g AS b\n",
						 groups, tier ? "\nORDER BY 1, 2" : "");
	if (has_raw)
	{
		appendStringInfoString(out, "LEFT JOIN (\n");
		fresh_sql(out, &access, source, matched, raw, segments);
		appendStringInfoString(out, ") AS f ON f.shard OPERATOR(pg_catalog.=) b.shard\n");
	}
	appendStringInfo(out, "CROSS JOIN LATERAL (\n"
					 "SELECT %s AS results\n"
					 "FROM (\n",
					 leaf);
	appendBinaryStringInfo(out, stored.data, stored.len);
	if (has_raw)
		appendStringInfo(out, "\nUNION ALL SELECT f.data, " INT64_FORMAT, PROM_FRESH_ORDER);
	appendStringInfoString(out, ") AS c) AS l) AS r\n"
						   "WHERE r.out IS NOT NULL");
}

void
prom_scan_sql(StringInfo out, const PromMatcher *m, int n, PromScanRange range, const PromSegments *segments,
			  const char *leaf)
{
	const char *matched = prom_leaf_matched_sql(m, n);
	StringInfoData groups;

	initStringInfo(&groups);
	appendStringInfo(&groups, "SELECT s.shard, s.sid OPERATOR(pg_catalog.>>) %d AS block,"
					 " pg_catalog.array_agg(s.sid) AS sids, pg_catalog.array_agg(s.labels) AS labels\n"
					 "FROM prom.series AS s\n"
					 "WHERE %s\n"
					 "GROUP BY 1, 2",
					 PROM_BLOCK_BITS, matched);
	appendStringInfoString(out, "(\n");
	groups_sql(out, groups.data, false, matched, range, segments, leaf);
}

/*
 * Each series is a group of its own, and they are sorted before anything is read of them: the planner would sort
 * their samples, too.
 */
void
prom_scan_sorted_sql(StringInfo out, const PromMatcher *m, int n, PromScanRange range, const PromSegments *segments,
					 const char *leaf)
{
	const char *matched = prom_leaf_matched_sql(m, n);
	StringInfoData groups;

	initStringInfo(&groups);
	appendStringInfo(&groups, "SELECT s.shard, s.sid OPERATOR(pg_catalog.>>) %d AS block, ARRAY[s.sid] AS sids, ARRAY[s.labels] AS labels,"
					 " s.labels AS place\n"
					 "FROM prom.series AS s\n"
					 "WHERE %s\n"
					 "ORDER BY s.labels OFFSET 0",
					 PROM_BLOCK_BITS, matched);
	appendStringInfoString(out, "(\n");
	groups_sql(out, groups.data, true, matched, range, segments, leaf);
	appendStringInfoString(out, "\nORDER BY r.place");
}

/*
 * The planner must keep the order in which it found the series: hashing loses it, and sorting
 * would hold all samples.
 */
Portal
prom_scan_sorted_open(const char *sql)
{
	int			nest_level = NewGUCNestLevel();
	Portal		portal;

	(void) set_config_option("enable_hashjoin", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("enable_sort", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("enable_incremental_sort", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	portal = SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL, true, 0);
	AtEOXact_GUC(true, nest_level);
	return portal;
}

/*
 * Of the time of which raw samples are gone, what remains of them in rollups: a branch of an OR for each segment.
 * "has" says whether the series itself has to have a sample in the row.
 */
static void
active_rollup_sql(StringInfo out, const char *alias, PromScanRange range, bool restricted, bool has)
{
	PromSegments *segments = prom_raw_segments(range);

	for (int i = 0; segments && i < segments->n; i++)
	{
		PromSegment s = segments->segment[i];

		if (s.resolution_s == 0 || s.from_ms >= s.to_ms)
			continue;
		if (restricted)
		{
			appendStringInfo(out, " OR prom._visible_has(%s.shard, %s.sid, %d, %s, " INT64_FORMAT ", " INT64_FORMAT ")",
							 alias, alias, s.resolution_s, parts_sql(segments->parts), s.from_ms, s.to_ms);
			continue;
		}
		if (has)
			appendStringInfo(out, " OR EXISTS (SELECT FROM %s AS q WHERE q.shard = %s.shard AND q.block = prom._block(%s.sid)"
							 " AND prom._has(q.data, %s.sid, " INT64_FORMAT ", " INT64_FORMAT ")",
							 rollup_table(), alias, alias, alias, s.from_ms + 1, s.to_ms);
		else
			appendStringInfo(out, " OR (%s.shard, prom._block(%s.sid)) IN (SELECT q.shard, q.block FROM %s AS q WHERE true",
							 alias, alias, rollup_table());
		appendStringInfo(out, " AND q.resolution = %d AND q.part = %d AND q.day >= " INT64_FORMAT " AND q.day < " INT64_FORMAT
						 " AND q.t_max > " INT64_FORMAT " AND q.t_min <= " INT64_FORMAT ")",
						 s.resolution_s, PROM_PART_LAST, prom_day_start(s.from_ms), s.to_ms, s.from_ms, s.to_ms);
	}
}

/* Of what is in buckets: true if an object of the time holds the series. */
static void
active_tier_sql(StringInfo out, const char *alias, PromScanRange range)
{
	PromSegments *segments = prom_raw_segments(range);
	PromSegment raw = {range.from_ms, range.to_ms, 0};

	for (int i = -1; i < (segments ? segments->n : 0); i++)
	{
		const PromSegment *s = i < 0 ? &raw : &segments->segment[i];

		if ((i >= 0 && s->resolution_s == 0) || !prom_tier_any(s->resolution_s, (PromScanRange) {s->from_ms, s->to_ms}))
			continue;
		appendStringInfo(out, " OR prom._tier_holds(%s.shard, %s.sid, %d, " INT64_FORMAT ", " INT64_FORMAT ")",
						 alias, alias, s->resolution_s, s->from_ms, s->to_ms);
	}
}

/* The half about fresh rows, and the closing parenthesis. */
static void
active_fresh_sql(StringInfo out, const Access *access, const char *alias, int64 first_ms, int64 to_ms)
{
	appendStringInfo(out, " OR (%s.shard, %s.sid) IN (SELECT f.shard, pg_catalog.unnest(prom._sids(f.data)) FROM %s AS f"
					 " WHERE f.t_max >= " INT64_FORMAT " AND f.t_min <= " INT64_FORMAT "))",
					 alias, alias, access->fresh, first_ms, to_ms);
}

/* The days are quoted as in warm_sql. */
void
prom_active_sql(StringInfo out, const char *alias, PromScanRange range)
{
	int64		first_ms = range.from_ms < PG_INT64_MAX ? range.from_ms + 1 : range.from_ms;
	Access		access = find_access();

	if (access.restricted)
	{
		appendStringInfo(out, "(prom._visible_has(%s.shard, %s.sid, 0, '{}', " INT64_FORMAT ", " INT64_FORMAT ")",
						 alias, alias, range.from_ms, range.to_ms);
		active_rollup_sql(out, alias, range, true, true);
		active_tier_sql(out, alias, range);
		appendStringInfoChar(out, ')');
		return;
	}
	appendStringInfo(out, "(EXISTS (SELECT FROM %s AS w WHERE w.shard = %s.shard AND w.block = prom._block(%s.sid)"
					 " AND w.t_min >= '" INT64_FORMAT "' AND w.t_min <= '" INT64_FORMAT "'"
					 " AND w.t_min <= " INT64_FORMAT " AND w.t_max >= " INT64_FORMAT
					 " AND prom._has(w.data, %s.sid, " INT64_FORMAT ", " INT64_FORMAT "))",
					 access.warm, alias, alias, prom_day_start(first_ms), day_end(range.to_ms), range.to_ms, first_ms,
					 alias, first_ms, range.to_ms);
	active_rollup_sql(out, alias, range, false, true);
	active_tier_sql(out, alias, range);
	active_fresh_sql(out, &access, alias, first_ms, range.to_ms);
}

void
prom_active_block_sql(StringInfo out, const char *alias, PromScanRange range)
{
	int64		first_ms = range.from_ms < PG_INT64_MAX ? range.from_ms + 1 : range.from_ms;
	Access		access = find_access();

	/* of others' rows nothing is to be seen, not even that they are there */
	if (access.restricted)
	{
		prom_active_sql(out, alias, range);
		return;
	}
	appendStringInfo(out, "((%s.shard, prom._block(%s.sid)) IN (SELECT w.shard, w.block FROM %s AS w"
					 " WHERE w.t_min >= '" INT64_FORMAT "' AND w.t_min <= '" INT64_FORMAT "'"
					 " AND w.t_min <= " INT64_FORMAT " AND w.t_max >= " INT64_FORMAT ")",
					 alias, alias, access.warm, prom_day_start(first_ms), day_end(range.to_ms), range.to_ms, first_ms);
	active_rollup_sql(out, alias, range, false, false);
	active_tier_sql(out, alias, range);
	active_fresh_sql(out, &access, alias, first_ms, range.to_ms);
}

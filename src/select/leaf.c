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
#include "utils/guc.h"

#include "archive/archive.h"
#include "select/access.h"
#include "store/rows.h"

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
all_fresh_sql(StringInfo out, const PromAccess *access, const char *source, PromScanRange range)
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
fresh_sql(StringInfo out, const PromAccess *access, const char *source, const char *matched, PromScanRange range,
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

/*
 * The warm rows of the group b.  The days are quoted literals: their partitions are known when the query is
 * planned, even if plans are kept for other times of the same days.
 */
static void
warm_sql(StringInfo out, const PromAccess *access, PromScanRange range)
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
						 access->warm, prom_day_start(Min(range.from_ms, PG_INT64_MAX - 1) + 1), prom_day_end(range.to_ms),
						 range.to_ms, range.from_ms);
}

/* The same of a time that is mixed, without what came late. */
static void
mixed_warm_sql(StringInfo out, const PromAccess *access, PromScanRange range, const PromSegments *segments)
{
	char	   *which = psprintf("s.shard OPERATOR(pg_catalog.=) b.shard AND s.sid OPERATOR(pg_catalog.>=) (b.block OPERATOR(pg_catalog.<<) %d)"
								 " AND s.sid OPERATOR(pg_catalog.<) ((b.block OPERATOR(pg_catalog.+) 1) OPERATOR(pg_catalog.<<) %d)",
								 PROM_BLOCK_BITS, PROM_BLOCK_BITS);

	appendStringInfoString(out, "SELECT prom._since(x.data, o.sids, o.since), x.ord\nFROM (\n");
	warm_sql(out, access, range);
	appendStringInfoString(out, ") AS x\nCROSS JOIN ");
	prom_late_sql(out, segments, which);
}

/* The rollups of the group b in a segment. */
static void
rollup_sql(StringInfo out, const PromAccess *access, const PromSegment *s, int parts)
{
	if (access->restricted)
		appendStringInfo(out, "SELECT q.data, q.ord\n"
						 "FROM prom._visible_rollup(b.shard, b.sids, %d, %s, " INT64_FORMAT ", " INT64_FORMAT ") AS q",
						 s->resolution_s, prom_parts_sql(parts), s->from_ms, s->to_ms);
	else
		appendStringInfo(out, "SELECT q.data, q.part OPERATOR(pg_catalog.-) " INT64_FORMAT " AS ord\n"
						 "FROM %s AS q\n"
						 "WHERE q.resolution OPERATOR(pg_catalog.=) %d AND q.shard OPERATOR(pg_catalog.=) b.shard"
						 " AND q.block OPERATOR(pg_catalog.=) b.block AND q.part OPERATOR(pg_catalog.=) ANY (%s)\n"
						 "AND q.day OPERATOR(pg_catalog.>=) '" INT64_FORMAT "' AND q.day OPERATOR(pg_catalog.<) '" INT64_FORMAT
						 "' AND q.t_max OPERATOR(pg_catalog.>) " INT64_FORMAT " AND q.t_min OPERATOR(pg_catalog.<=) " INT64_FORMAT,
						 -PROM_ROLLUP_ORDER, access->rollup, s->resolution_s, prom_parts_sql(parts),
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
					 resolution_s, prom_parts_sql(parts), range.from_ms, range.to_ms, source);
	return true;
}

/* What is stored of the group b, but for fresh rows: the branches of a union.  True: some of it in buckets. */
static bool
stored_sql(StringInfo out, const PromAccess *access, const char *source, PromScanRange range,
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
	PromAccess	access = prom_find_access();

	if (segments && !narrow_to_raw(&range, segments))
		return false;
	fresh_sql(out, &access, series_source(matched), matched, range, segments);
	return true;
}

void
prom_leaf_stored_sql(StringInfo out, const char *matched, PromScanRange range, const PromSegments *segments)
{
	PromAccess	access = prom_find_access();

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
	PromAccess	access = prom_find_access();
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

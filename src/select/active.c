/*
 * active.c
 *	  Which series have samples of a time: the SQL of /api/v1/series and of what else names series.
 *
 * Series are gone through by blocks of 64 ids, which is what a row of prom.warm or prom.rollup is about: its rows
 * are looked for and opened once, and tell which of the block's series they have samples of (hits).  The ids of fresh
 * rows are found once, for all series.
 *
 * Who is subject to row security on prom.series asks a function of visible.c, which does the same for what he sees.
 */
#include "postgres.h"

#include "archive/archive.h"
#include "select/access.h"
#include "store/rows.h"

/* The first millisecond of a range. */
static int64
first_of(PromScanRange range)
{
	return range.from_ms < PG_INT64_MAX ? range.from_ms + 1 : range.from_ms;
}

/* The condition on warm rows w of the time.  The days are quoted as those of a leaf. */
static void
warm_condition(StringInfo out, PromScanRange range)
{
	int64		first_ms = first_of(range);

	appendStringInfo(out, "w.t_min OPERATOR(pg_catalog.>=) '" INT64_FORMAT "' AND w.t_min OPERATOR(pg_catalog.<=) '" INT64_FORMAT "'"
					 " AND w.t_min OPERATOR(pg_catalog.<=) " INT64_FORMAT " AND w.t_max OPERATOR(pg_catalog.>=) " INT64_FORMAT,
					 prom_day_start(first_ms), prom_day_end(range.to_ms), range.to_ms, first_ms);
}

/* The same on rows q of rollups. */
static void
rollup_condition(StringInfo out, const PromSegment *s)
{
	appendStringInfo(out, "q.resolution OPERATOR(pg_catalog.=) %d AND q.part OPERATOR(pg_catalog.=) %d"
					 " AND q.day OPERATOR(pg_catalog.>=) " INT64_FORMAT " AND q.day OPERATOR(pg_catalog.<) " INT64_FORMAT
					 " AND q.t_max OPERATOR(pg_catalog.>) " INT64_FORMAT " AND q.t_min OPERATOR(pg_catalog.<=) " INT64_FORMAT,
					 s->resolution_s, PROM_PART_LAST, prom_day_start(s->from_ms), s->to_ms, s->from_ms, s->to_ms);
}

/* Of the time of which raw samples are gone, what remains of them in rollups: the first segment of them at *i or behind. */
static bool
next_rollup(const PromSegments *segments, int *i)
{
	for (; segments && *i < segments->n; (*i)++)
	{
		const PromSegment *s = &segments->segment[*i];

		if (s->resolution_s > 0 && s->from_ms < s->to_ms)
			return true;
	}
	return false;
}

/* The ids of those series of the block b that its rows have samples of. */
static void
hits_sql(StringInfo out, const PromAccess *access, PromScanRange range, const PromSegments *segments)
{
	appendStringInfo(out, "SELECT pg_catalog.unnest(prom._hits(w.data, b.sids, " INT64_FORMAT ", " INT64_FORMAT ")) FROM %s AS w"
					 " WHERE w.shard OPERATOR(pg_catalog.=) b.shard AND w.block OPERATOR(pg_catalog.=) b.block AND ",
					 first_of(range), range.to_ms, access->warm);
	warm_condition(out, range);
	for (int i = 0; next_rollup(segments, &i); i++)
	{
		const PromSegment *s = &segments->segment[i];

		appendStringInfo(out, " UNION ALL SELECT pg_catalog.unnest(prom._hits(q.data, b.sids, " INT64_FORMAT ", " INT64_FORMAT ")) FROM %s AS q"
						 " WHERE q.shard OPERATOR(pg_catalog.=) b.shard AND q.block OPERATOR(pg_catalog.=) b.block AND ",
						 s->from_ms + 1, s->to_ms, access->rollup);
		rollup_condition(out, s);
	}
}

/* Of what is in buckets: true if an object of the time holds the series. */
static void
tier_condition(StringInfo out, PromScanRange range, const PromSegments *segments)
{
	PromSegment raw = {range.from_ms, range.to_ms, 0};

	for (int i = -1; i < (segments ? segments->n : 0); i++)
	{
		const PromSegment *s = i < 0 ? &raw : &segments->segment[i];

		if ((i >= 0 && s->resolution_s == 0) || !prom_tier_any(s->resolution_s, (PromScanRange) {s->from_ms, s->to_ms}))
			continue;
		appendStringInfo(out, " OR prom._tier_holds(s.shard, s.sid, %d, " INT64_FORMAT ", " INT64_FORMAT ")",
						 s->resolution_s, s->from_ms, s->to_ms);
	}
}

/* Of fresh rows: one of the time has samples of the series, of whatever time. */
static void
fresh_condition(StringInfo out, const PromAccess *access, PromScanRange range)
{
	appendStringInfo(out, " OR (s.shard, s.sid) IN (SELECT f.shard, pg_catalog.unnest(prom._sids(f.data)) FROM %s AS f"
					 " WHERE f.t_max OPERATOR(pg_catalog.>=) " INT64_FORMAT " AND f.t_min OPERATOR(pg_catalog.<=) " INT64_FORMAT ")",
					 access->fresh, first_of(range), range.to_ms);
}

/* For those who are subject to row security. */
static void
visible_sql(StringInfo out, const char *condition, PromScanRange range, const PromSegments *segments)
{
	appendStringInfo(out, "prom.series AS s WHERE %s AND (prom._visible_has(s.shard, s.sid, 0, '{}', " INT64_FORMAT ", " INT64_FORMAT ")",
					 condition, range.from_ms, range.to_ms);
	for (int i = 0; next_rollup(segments, &i); i++)
	{
		const PromSegment *s = &segments->segment[i];

		appendStringInfo(out, " OR prom._visible_has(s.shard, s.sid, %d, %s, " INT64_FORMAT ", " INT64_FORMAT ")",
						 s->resolution_s, prom_parts_sql(segments->parts), s->from_ms, s->to_ms);
	}
	tier_condition(out, range, segments);
	appendStringInfoChar(out, ')');
}

void
prom_active_sql(StringInfo out, const char *condition, PromScanRange range)
{
	PromAccess	access = prom_find_access();
	PromSegments *segments = prom_raw_segments(range);

	if (access.restricted)
	{
		visible_sql(out, condition, range, segments);
		return;
	}
	appendStringInfoString(out, "(SELECT b.shard, pg_catalog.unnest(b.sids) AS sid, pg_catalog.unnest(b.labels) AS labels, b.hits"
						   " FROM (SELECT b.shard, b.sids, b.labels, ARRAY(");
	hits_sql(out, &access, range, segments);
	appendStringInfo(out, ") AS hits FROM (SELECT s.shard, prom._block(s.sid) AS block,"
					 " pg_catalog.array_agg(s.sid) AS sids, pg_catalog.array_agg(s.labels) AS labels"
					 " FROM prom.series AS s WHERE %s GROUP BY 1, 2) AS b OFFSET 0) AS b) AS s"
					 " WHERE (s.sid OPERATOR(pg_catalog.=) ANY (s.hits)",
					 condition);
	tier_condition(out, range, segments);
	fresh_condition(out, &access, range);
	appendStringInfoChar(out, ')');
}

void
prom_active_block_sql(StringInfo out, const char *condition, PromScanRange range)
{
	PromAccess	access = prom_find_access();
	PromSegments *segments = prom_raw_segments(range);

	/* of others' rows nothing is to be seen, not even that they are there */
	if (access.restricted)
	{
		visible_sql(out, condition, range, segments);
		return;
	}
	appendStringInfo(out, "prom.series AS s WHERE %s AND ((s.shard, prom._block(s.sid)) IN (SELECT w.shard, w.block FROM %s AS w WHERE ",
					 condition, access.warm);
	warm_condition(out, range);
	appendStringInfoChar(out, ')');
	for (int i = 0; next_rollup(segments, &i); i++)
	{
		appendStringInfo(out, " OR (s.shard, prom._block(s.sid)) IN (SELECT q.shard, q.block FROM %s AS q WHERE ", access.rollup);
		rollup_condition(out, &segments->segment[i]);
		appendStringInfoChar(out, ')');
	}
	tier_condition(out, range, segments);
	fresh_condition(out, &access, range);
	appendStringInfoChar(out, ')');
}

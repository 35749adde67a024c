/*
 * segment.c
 *	  Which resolution a query reads of which time.
 *
 * A level (prom.level) is whole within its bounds, which lie on UTC days.  So the time of a leaf is cut
 * there, into segments that each read one level and nothing else: no sample is missed or counted twice.
 * Of a segment (a, b] a level's windows stand for exactly the raw samples with a < t <= b.
 *
 * Wanted is the coarsest level that is allowed; where it is not, the next finer one, and raw samples after all
 * of them.  Where those are gone, too, the finest level that is there answers: better than nothing.
 */
#include "postgres.h"

#include "store/private.h"

/* Times at which what is there may change, ascending. */
typedef struct Cuts
{
	int64	   *t_ms;
	int			n;
} Cuts;

static Cuts cuts_within(const PromLevel *levels, int n, PromScanRange range);
static int32 choose(const PromLevel *levels, int n, int64 from_ms, int64 to_ms, int64 most_ms);
static PromSegments *cut(const PromLevel *levels, int n, PromScanRange range, int64 most_ms);

PromSegments *
prom_segments(const PromLevel *levels, int n, PromScanRange range, int64 most_ms, int parts)
{
	PromSegments *segments;
	int64		reach_ms;

	/* raw is there, and nothing else may be read */
	if (n <= 1 || (most_ms < levels[1].resolution_s * INT64CONST(1000) && levels[0].from_ms <= range.from_ms))
		return NULL;
	segments = cut(levels, n, range, most_ms);
	if (segments->coarsest_s == 0)
		return NULL;
	/* a step may look back to the stamp before it, its window begin in one before that, and a sample be needed before */
	reach_ms = segments->coarsest_s * INT64CONST(1000) * PROM_SEGMENT_REACH;
	range.from_ms = range.from_ms > PG_INT64_MIN + 1 + reach_ms ? range.from_ms - reach_ms : range.from_ms;
	segments = cut(levels, n, range, most_ms);
	segments->parts = parts;
	return segments;
}

PromSegments *
prom_raw_segments(PromScanRange range)
{
	int			n;
	const PromLevel *levels = prom_levels(&n);
	PromSegments *segments = prom_segments(levels, n, range, 0, 1 << PROM_PART_LAST);

	/* no step looks back to what was before */
	if (segments)
	{
		while (segments->segment->to_ms <= range.from_ms && segments->n > 1)
		{
			segments->segment++;
			segments->n--;
		}
		segments->segment->from_ms = range.from_ms;
		segments->range = range;
	}
	return segments;
}

char *
prom_segments_sql(const PromSegments *segments)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < segments->n; i++)
	{
		const PromSegment *s = &segments->segment[i];

		appendStringInfo(&out, "%s" INT64_FORMAT ",%d", i > 0 ? "," : "'{", s->to_ms, s->resolution_s);
	}
	appendStringInfoString(&out, "}'::pg_catalog.int8[]");
	return out.data;
}

/* The range in segments; neighbours differ. */
static PromSegments *
cut(const PromLevel *levels, int n, PromScanRange range, int64 most_ms)
{
	Cuts		cuts = cuts_within(levels, n, range);
	PromSegments *result = palloc0(sizeof(PromSegments));
	int64		from_ms = range.from_ms;

	result->segment = palloc(sizeof(PromSegment) * (cuts.n + 1));
	result->range = range;
	for (int i = 0; i <= cuts.n; i++)
	{
		int64		to_ms = i < cuts.n ? cuts.t_ms[i] : range.to_ms;
		int32		resolution_s = choose(levels, n, from_ms, to_ms, most_ms);
		PromSegment *last = result->n > 0 ? &result->segment[result->n - 1] : NULL;

		if (last && last->resolution_s == resolution_s)
			last->to_ms = to_ms;
		else
			result->segment[result->n++] = (PromSegment) {from_ms, to_ms, resolution_s};
		result->coarsest_s = Max(result->coarsest_s, resolution_s);
		from_ms = to_ms;
	}
	return result;
}

static int
compare_times(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

static Cuts
cuts_within(const PromLevel *levels, int n, PromScanRange range)
{
	Cuts		cuts = {palloc(sizeof(int64) * 2 * n), 0};
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		int64		bound[] = {levels[i].from_ms, levels[i].until_ms};

		for (int k = 0; k < 2; k++)
			if (bound[k] > range.from_ms && bound[k] < range.to_ms)
				cuts.t_ms[cuts.n++] = bound[k];
	}
	qsort(cuts.t_ms, cuts.n, sizeof(int64), compare_times);
	for (int i = 0; i < cuts.n; i++)
		if (i == 0 || cuts.t_ms[i] != cuts.t_ms[kept - 1])
			cuts.t_ms[kept++] = cuts.t_ms[i];
	cuts.n = kept;
	return cuts;
}

static bool
covers(const PromLevel *level, int64 from_ms, int64 to_ms)
{
	return level->from_ms <= from_ms && level->until_ms >= to_ms;
}

/* What to read of a time within which nothing changes: a resolution, 0 for raw.  Levels are ascending. */
static int32
choose(const PromLevel *levels, int n, int64 from_ms, int64 to_ms, int64 most_ms)
{
	for (int i = n - 1; i >= 0; i--)
		if (levels[i].resolution_s * INT64CONST(1000) <= most_ms && covers(&levels[i], from_ms, to_ms))
			return levels[i].resolution_s;
	for (int i = 0; i < n; i++)
		if (covers(&levels[i], from_ms, to_ms))
			return levels[i].resolution_s;
	return 0;
}

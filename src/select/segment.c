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
 *
 * Retention by selector makes times mixed (gap.c): some series have raw samples, others have not.  There both
 * are read, and it is decided for each series by itself; what came late of a series that a rule has taken out is
 * passed over (late.c).  A level that some series lack is not taken while another one is whole.
 *
 * So are times of which an attached bucket lacks a resolution, and those beyond the bounds that a level has here, where
 * it knows of the bucket's samples only.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "select/select.h"
#include "store/rows.h"

#define DAY_S 86400

/* Times at which what is there may change, ascending. */
typedef struct Cuts
{
	int64	   *t_ms;
	int			n;
} Cuts;

/* What there is. */
typedef struct Stock
{
	const PromLevel *levels;
	int			n;
	const PromGap *mixed;
	int			nmixed;
} Stock;

static Cuts cuts_within(const Stock *stock, PromScanRange range);
static PromSegment choose(const Stock *stock, int64 from_ms, int64 to_ms, int64 most_ms);
static PromSegments *cut(const Stock *stock, PromScanRange range, int64 most_ms);
static void pass_over(const Stock *stock, PromSegments *segments);

PromSegments *
prom_segments(const PromLevel *levels, int n, const PromGap *mixed, int nmixed, PromScanRange range, int64 most_ms,
			  int parts)
{
	Stock		stock = {levels, n, mixed, nmixed};
	PromSegments *segments;
	int64		reach_ms;

	/* raw is there, and nothing else may be read */
	if (n <= 1 ||
		(nmixed == 0 && most_ms < levels[1].resolution_s * INT64CONST(1000) && levels[0].own_from_ms <= range.from_ms))
		return NULL;
	segments = cut(&stock, range, most_ms);
	if (segments->coarsest_s == 0)
		return NULL;
	/* a step may look back to the stamp before it, its window begin in one before that, and a sample be needed before */
	reach_ms = segments->coarsest_s * INT64CONST(1000) * PROM_SEGMENT_REACH;
	range.from_ms = range.from_ms > PG_INT64_MIN + 1 + reach_ms ? range.from_ms - reach_ms : range.from_ms;
	segments = cut(&stock, range, most_ms);
	segments->parts = parts;
	pass_over(&stock, segments);
	return segments;
}

PromSegments *
prom_raw_segments(PromScanRange range)
{
	int			n;
	const PromLevel *levels = prom_levels(&n);
	int			nmixed;
	const PromGap *mixed = prom_gaps(&nmixed);
	PromSegments *segments = prom_segments(levels, n, mixed, nmixed, range, 0, 1 << PROM_PART_LAST);

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

		appendStringInfo(&out, "%s" INT64_FORMAT ",%d", i > 0 ? "," : "'{", s->to_ms,
						 s->mixed ? -s->resolution_s : s->resolution_s);
	}
	appendStringInfoString(&out, "}'::pg_catalog.int8[]");
	return out.data;
}

/* The range in segments; neighbours differ. */
static PromSegments *
cut(const Stock *stock, PromScanRange range, int64 most_ms)
{
	Cuts		cuts = cuts_within(stock, range);
	PromSegments *result = palloc0(sizeof(PromSegments));
	int64		from_ms = range.from_ms;

	result->segment = palloc(sizeof(PromSegment) * (cuts.n + 1));
	result->range = range;
	for (int i = 0; i <= cuts.n; i++)
	{
		int64		to_ms = i < cuts.n ? cuts.t_ms[i] : range.to_ms;
		PromSegment next = choose(stock, from_ms, to_ms, most_ms);
		PromSegment *last = result->n > 0 ? &result->segment[result->n - 1] : NULL;

		if (last && last->resolution_s == next.resolution_s && last->mixed == next.mixed)
			last->to_ms = to_ms;
		else
			result->segment[result->n++] = next;
		result->coarsest_s = Max(result->coarsest_s, next.resolution_s);
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

static void
add_cut(Cuts *cuts, PromScanRange range, int64 t_ms)
{
	if (t_ms > range.from_ms && t_ms < range.to_ms)
		cuts->t_ms[cuts->n++] = t_ms;
}

static Cuts
cuts_within(const Stock *stock, PromScanRange range)
{
	Cuts		cuts = {palloc(sizeof(int64) * (4 * stock->n + 2 * stock->nmixed)), 0};
	int			kept = 0;

	for (int i = 0; i < stock->n; i++)
	{
		add_cut(&cuts, range, stock->levels[i].from_ms);
		add_cut(&cuts, range, stock->levels[i].until_ms);
		add_cut(&cuts, range, stock->levels[i].own_from_ms);
		add_cut(&cuts, range, stock->levels[i].own_until_ms);
	}
	for (int i = 0; i < stock->nmixed; i++)
	{
		add_cut(&cuts, range, stock->mixed[i].from_ms);
		add_cut(&cuts, range, stock->mixed[i].to_ms);
	}
	qsort(cuts.t_ms, cuts.n, sizeof(int64), compare_times);
	for (int i = 0; i < cuts.n; i++)
		if (i == 0 || cuts.t_ms[i] != cuts.t_ms[kept - 1])
			cuts.t_ms[kept++] = cuts.t_ms[i];
	cuts.n = kept;
	return cuts;
}

static bool
is_mixed(const Stock *stock, int32 resolution_s, int64 from_ms, int64 to_ms)
{
	for (int i = 0; i < stock->nmixed; i++)
		if (stock->mixed[i].resolution_s == resolution_s && stock->mixed[i].from_ms < to_ms && stock->mixed[i].to_ms > from_ms)
			return true;
	return false;
}

static bool
covers(const PromLevel *level, int64 from_ms, int64 to_ms)
{
	return level->from_ms <= from_ms && level->until_ms >= to_ms;
}

static bool
is_own(const PromLevel *level, int64 from_ms, int64 to_ms)
{
	return level->own_from_ms <= from_ms && level->own_until_ms >= to_ms;
}

/* How many may lack a level that covers the time: 0: none, 1: some series, 2: those of this database, 3: both. */
static int
lack(const Stock *stock, const PromLevel *level, int64 from_ms, int64 to_ms)
{
	return (is_own(level, from_ms, to_ms) ? 0 : 2) + (is_mixed(stock, level->resolution_s, from_ms, to_ms) ? 1 : 0);
}

/* The finest rollups of a time within which nothing changes, of those that fewest lack; 0: there are none. */
static int32
finest(const Stock *stock, int64 from_ms, int64 to_ms)
{
	int32		best_s = 0;
	int			best_lack = 4;

	for (int i = 1; i < stock->n; i++)
	{
		int			l;

		if (!covers(&stock->levels[i], from_ms, to_ms))
			continue;
		l = lack(stock, &stock->levels[i], from_ms, to_ms);
		if (l < best_lack)
		{
			best_s = stock->levels[i].resolution_s;
			best_lack = l;
		}
	}
	return best_s;
}

/* What to read of such a time.  Levels are ascending, raw is the first of them. */
static PromSegment
choose(const Stock *stock, int64 from_ms, int64 to_ms, int64 most_ms)
{
	PromSegment s = {from_ms, to_ms, 0, false};

	for (int i = stock->n - 1; i > 0; i--)
	{
		s.resolution_s = stock->levels[i].resolution_s;
		if (s.resolution_s * INT64CONST(1000) <= most_ms && covers(&stock->levels[i], from_ms, to_ms) &&
			lack(stock, &stock->levels[i], from_ms, to_ms) == 0)
			return s;
	}
	s.mixed = is_mixed(stock, 0, from_ms, to_ms) ||
		(covers(&stock->levels[0], from_ms, to_ms) && !is_own(&stock->levels[0], from_ms, to_ms));
	s.resolution_s = covers(&stock->levels[0], from_ms, to_ms) && !s.mixed ? 0 : finest(stock, from_ms, to_ms);
	s.mixed = s.mixed && s.resolution_s > 0;
	return s;
}

/* ---- what came late ---- */

static bool
in_mixed_segment(const PromSegments *segments, const PromGap *gap)
{
	for (int i = 0; i < segments->n; i++)
	{
		const PromSegment *s = &segments->segment[i];

		if (s->mixed && s->from_ms < gap->to_ms && s->to_ms > gap->from_ms)
			return true;
	}
	return false;
}

static int
compare_ends(const void *a, const void *b)
{
	int64		x = ((const PromGap *) a)->to_ms;
	int64		y = ((const PromGap *) b)->to_ms;

	return (x < y) - (x > y);
}

/* Until when retention has taken raw samples, for each set of rules that says of which series. */
static void
pass_over(const Stock *stock, PromSegments *segments)
{
	segments->expired = palloc(sizeof(PromGap) * Max(stock->nmixed, 1));
	for (int i = 0; i < stock->nmixed; i++)
	{
		const PromGap *gap = &stock->mixed[i];
		int			k = 0;

		if (!gap->expired || gap->resolution_s != 0 || !in_mixed_segment(segments, gap))
			continue;
		while (k < segments->nexpired && strcmp(segments->expired[k].rules, gap->rules) != 0)
			k++;
		if (k == segments->nexpired)
			segments->expired[segments->nexpired++] = *gap;
		else
			segments->expired[k].to_ms = Max(segments->expired[k].to_ms, gap->to_ms);
	}
	qsort(segments->expired, segments->nexpired, sizeof(PromGap), compare_ends);
}

/* ---- as an array of SQL ---- */

PromRangeSegment *
prom_range_segments(ArrayType *a, int *n)
{
	const int64 *pairs = (const int64 *) ARR_DATA_PTR(a);
	int			length = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
	PromRangeSegment *segment = palloc(sizeof(PromRangeSegment) * (length / 2 + 1));

	if (ARR_ELEMTYPE(a) != INT8OID || ARR_NDIM(a) != 1 || ARR_HASNULL(a) || length % 2 != 0)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("segments must be pairs of an end and a resolution")));
	*n = length / 2;
	for (int i = 0; i < *n; i++)
	{
		segment[i] = (PromRangeSegment) {pairs[2 * i], Abs(pairs[2 * i + 1]) * 1000, pairs[2 * i + 1] < 0};
		if (pairs[2 * i + 1] < -DAY_S || pairs[2 * i + 1] > DAY_S || (i > 0 && segment[i].to_ms <= segment[i - 1].to_ms))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("segments must be ascending, of resolutions up to a day")));
	}
	return segment;
}

int64
prom_range_coarsest(const PromRangeSegment *segment, int n)
{
	int64		coarsest_ms = 0;

	for (int i = 0; i < n; i++)
		coarsest_ms = Max(coarsest_ms, segment[i].resolution_ms);
	return coarsest_ms;
}

int64
prom_range_mixed_from(const PromRangeSegment *segment, int n)
{
	for (int i = 0; i < n; i++)
		if (segment[i].mixed)
			return i > 0 ? segment[i - 1].to_ms : PG_INT64_MIN;
	return PG_INT64_MAX;
}

PromRangeSegment *
prom_range_unmix(const PromRangeSegment *segment, int *n, int64 first_raw_ms)
{
	PromRangeSegment *out = palloc(sizeof(PromRangeSegment) * *n * 2);
	int64		from_ms = PG_INT64_MIN;
	int64		day_ms = first_raw_ms - first_raw_ms % (DAY_S * 1000) - (first_raw_ms % (DAY_S * 1000) < 0 ? DAY_S * 1000 : 0);
	int			kept = 0;

	for (int i = 0; i < *n; i++)
	{
		PromRangeSegment s = segment[i];

		if (s.mixed && day_ms < s.to_ms && day_ms > from_ms)
			out[kept++] = (PromRangeSegment) {day_ms, s.resolution_ms, false};
		if (s.mixed && day_ms < s.to_ms)
			s.resolution_ms = 0;
		s.mixed = false;
		from_ms = s.to_ms;
		out[kept++] = s;
	}
	*n = kept;
	return out;
}

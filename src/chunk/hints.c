/*
 * hints.c
 *	  What a query is told of counter resets between the histograms of one series.
 *
 * Storage keeps the hint that the sender gave.  Queries get what Prometheus' storage delivers: gauge
 * where the sender said gauge; else unknown for the first histogram of a run, and not_reset for the
 * others.  A run goes on while each histogram could be appended to the chunk of the one before: both
 * of one kind (integers or floats), schema, zero threshold and custom bounds, none a gauge, nothing
 * between them (a float, a stale marker), and no count or bucket less than before.  Where a run ends
 * there may have been a reset: the next is unknown, and the query compares.
 * What comparing would say is in read_hint, for queries that count and have to know.
 *
 * Differences to Prometheus: its chunks also end after so many samples or bytes, and the first of the
 * next one is unknown; here the first of a series that a scan reads is, however chunks are cut.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "chunk/chunk.h"

PG_FUNCTION_INFO_V1(prom_chunk_hints);

/* The buckets of one side, one after the other, those between spans left out. */
typedef struct Walk
{
	const PromHistogramSpan *span;
	const double *count;
	uint32		spans;			/* left, the open one included */
	uint32		buckets;		/* left in the open span */
	int64		index;			/* of the next bucket */
} Walk;

static Walk
walk_begin(const PromHistogram *h, PromHistogramSide side)
{
	Walk		w = {prom_histogram_spans(h, side), prom_histogram_buckets(h, side), h->nspans[side], 0, 0};

	if (w.spans > 0)
	{
		w.index = w.span->offset;
		w.buckets = w.span->length;
	}
	return w;
}

/* The next bucket; false at the end. */
static bool
walk_next(Walk *w, int64 *index, double *count)
{
	while (w->spans > 0 && w->buckets == 0)
	{
		if (--w->spans == 0)
			break;
		w->span++;
		w->index += w->span->offset;
		w->buckets = w->span->length;
	}
	if (w->spans == 0)
		return false;
	w->buckets--;
	*index = w->index++;
	*count = *w->count++;
	return true;
}

/* Has a bucket of the side fewer observations than before, or gone? */
static bool
side_fell(const PromHistogram *before, const PromHistogram *h, PromHistogramSide side)
{
	Walk		a = walk_begin(before, side);
	Walk		b = walk_begin(h, side);
	int64		i;
	int64		j = PG_INT64_MIN;
	double		x;
	double		y = 0;
	bool		more = true;

	while (walk_next(&a, &i, &x))
	{
		while (more && j < i)
			more = walk_next(&b, &j, &y);
		if (x > (more && j == i ? y : 0))
			return true;
	}
	return false;
}

/* Could h be appended to the chunk that ends with "before", as a counter that went on? */
static bool
continues(const PromHistogram *before, const PromHistogram *h)
{
	if (before->hint == PROM_HINT_GAUGE || h->hint == PROM_HINT_RESET || before->is_int != h->is_int ||
		before->schema != h->schema || before->zero_threshold != h->zero_threshold ||
		before->ncustom != h->ncustom ||
		memcmp(prom_histogram_custom(before), prom_histogram_custom(h), h->ncustom * sizeof(double)) != 0)
		return false;
	return h->count >= before->count && h->zero_count >= before->zero_count &&
		!side_fell(before, h, PROM_POSITIVE) && !side_fell(before, h, PROM_NEGATIVE);
}

/* What comparing with the histogram that was read before this one says, whatever lies between them. */
static PromHint
compare_read(const PromGather *g, int i)
{
	for (int before = i - 1; before >= 0; before--)
		if (g->slots[before])
			return prom_histogram_is_reset(palloc, g->slots[before], g->slots[i]) ? PROM_HINT_RESET : PROM_HINT_NOT_RESET;
	return PROM_HINT_UNKNOWN;
}

void
prom_gather_hints(PromGather *g)
{
	/* from the end: each looks at the sender's hint of the one before */
	for (int i = g->histograms ? g->n - 1 : -1; i >= 0; i--)
	{
		PromHistogram *h = g->slots[i];

		if (h == NULL || h->hint == PROM_HINT_GAUGE)
			continue;
		h->hint = i > 0 && g->slots[i - 1] && continues(g->slots[i - 1], h) ? PROM_HINT_NOT_RESET : PROM_HINT_UNKNOWN;
		if (h->hint == PROM_HINT_UNKNOWN)
			h->read_hint = compare_read(g, i);
	}
}

/* _hints(data): of all histograms of the first series */
Datum
prom_chunk_hints(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"unknown", "reset", "not_reset", "gauge"};
	PromChunkReader r = {0};
	PromGather	g;
	StringInfoData out;

	prom_chunk_open(&r, PG_GETARG_PROM_CHUNK_P(0));
	prom_gather_init(&g, CurrentMemoryContext);
	if (r.nseries > 0)
		prom_gather_column(&g, &r, 0, PG_INT64_MIN, PG_INT64_MAX, 0);
	prom_gather_hints(&g);
	initStringInfo(&out);
	for (int i = 0; i < g.n; i++)
		appendStringInfo(&out, "%s%s", i > 0 ? " " : "", g.histograms && g.histograms[i] ?
						 names[g.histograms[i]->hint] : "float");
	PG_RETURN_DATUM(CStringGetTextDatum(out.data));
}

/*
 * hints.c
 *	  What a query is told of counter resets between the histograms of one series.
 *
 * Storage keeps the hint that the sender gave.  Queries get what Prometheus' storage delivers: gauge
 * where the sender said gauge; else unknown for the first histogram of a run, and not_reset for the
 * others.  A run goes on while each histogram continues the one before (histogram/run.c) and nothing lies
 * between them (a float, a stale marker).  Where a run ends there may have been a reset: the next is unknown,
 * and the query compares.
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
		h->hint = i > 0 && g->slots[i - 1] && prom_histogram_continues(g->slots[i - 1], h) ? PROM_HINT_NOT_RESET : PROM_HINT_UNKNOWN;
		if (h->hint == PROM_HINT_UNKNOWN)
			h->read_hint = compare_read(g, i);
	}
}

void
prom_gather_tell_hints(PromGather *g)
{
	for (int i = 0; g->histograms && i < g->n; i++)
		if (g->slots[i] && g->slots[i]->hint == PROM_HINT_UNKNOWN)
			g->slots[i]->hint = g->slots[i]->read_hint;
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

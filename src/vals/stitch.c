/*
 * stitch.c
 *	  Windows over samples of several resolutions: raw ones and what rollups keep of others.
 *
 * Each segment of time has one resolution.  Of a window (k*r, (k+1)*r] of a rollup is known what was at its end, the
 * stamp, and not how it went.  So a step within a segment of resolution r is answered as of the last stamp: for the
 * multiples of r the answer is that of raw samples.  For where a range begins between stamps:
 *
 *	- Points stand for all samples of their window.  The one that the beginning cuts counts with its share of
 *	  sums and counts, and wholly for the rest.
 *	- Thinned samples (the last of each window) are too far apart to tell what was added up to the first one
 *	  in the range.  Functions of differences see the one before as well: their anchor.
 */
#include "postgres.h"

#include "chunk/chunk.h"
#include "common/sum.h"
#include "select/select.h"
#include "vals/window.h"

/* ---- windows ---- */

/* The last stamp up to a time. */
static int64
stamp_until(int64 t_ms, int64 resolution_ms)
{
	int64		rest = resolution_ms > 0 ? t_ms % resolution_ms : 0;

	return t_ms - rest - (rest < 0 ? resolution_ms : 0);
}

/* The segment of a time, or of what comes right after it; the last one goes on for ever. */
static const PromRangeSegment *
segment_of(const PromRangeStitch *s, int64 t_ms, bool after)
{
	int			i = 0;

	while (i < s->n - 1 && (s->segment[i].to_ms < t_ms || (after && s->segment[i].to_ms == t_ms)))
		i++;
	return &s->segment[i];
}

void
prom_range_move_stitched(PromRange *w, const PromRangeStitch *s, const PromRangeReach *reach)
{
	int64		resolution_ms = segment_of(s, w->ref_ms, false)->resolution_ms;
	const PromRangeSegment *at_start;
	int64		start_ms;
	int64		before_ms = 0;
	int64		after_ms = 0;
	int			first = w->first;

	w->ref_ms = stamp_until(w->ref_ms, resolution_ms);
	start_ms = w->ref_ms - w->range_ms;
	at_start = segment_of(s, start_ms, true);
	if (reach)
	{
		before_ms = reach->before_ms + at_start->resolution_ms;
		after_ms = reach->after_ms > 0 ? reach->after_ms + resolution_ms : 0;
	}
	while (w->end < w->n && w->t_ms[w->end] <= w->ref_ms + after_ms)
		w->end++;
	while (w->first < w->end && w->t_ms[w->first] <= start_ms - before_ms)
		w->first++;
	if (w->first == w->end || at_start->resolution_ms == 0)
	{
		w->share = 1;
		return;
	}
	if (w->weight)
	{
		int64		cut_ms = start_ms - (w->t_ms[w->first] - at_start->resolution_ms);

		w->share = cut_ms > 0 && w->t_ms[w->first] <= at_start->to_ms ? 1 - (double) cut_ms / at_start->resolution_ms : 1;
	}
	/* windows only move forward: what an earlier one has left behind is gone */
	if ((s->anchor == PROM_ANCHOR_ALWAYS || (s->anchor == PROM_ANCHOR_ALONE && w->end - w->first < 2)) &&
		w->first > first &&
		w->t_ms[w->first - 1] > stamp_until(start_ms, at_start->resolution_ms) - at_start->resolution_ms)
		w->first--;
}

/* ---- a series ---- */

/* Raw samples, or points that have no counts: of weight 1. */
static void
append_all(PromStitched *out, const PromGather *g, int first, int end)
{
	memcpy(out->t_ms + out->n, g->t_ms + first, sizeof(int64) * (end - first));
	memcpy(out->v + out->n, g->values + first, sizeof(double) * (end - first));
	if (out->h && g->histograms)
		memcpy(out->h + out->n, g->histograms + first, sizeof(out->h[0]) * (end - first));
	else if (out->h)
		memset(out->h + out->n, 0, sizeof(out->h[0]) * (end - first));
	for (; first < end; first++)
		out->weight[out->n++] = 1;
}

/* Points that have one, and their counts. */
static void
append_counted(PromStitched *out, const PromGather *g, int first, int end, const PromGather *counts, int *at_count)
{
	for (; first < end; first++)
	{
		while (*at_count < counts->n && counts->t_ms[*at_count] < g->t_ms[first])
			(*at_count)++;
		if (*at_count == counts->n || counts->t_ms[*at_count] != g->t_ms[first])
			continue;
		out->t_ms[out->n] = g->t_ms[first];
		out->v[out->n] = g->values[first];
		if (out->h)
			out->h[out->n] = g->histograms ? g->histograms[first] : NULL;
		out->weight[out->n++] = counts->values[*at_count];
	}
}

/* Raw samples or points with from < t <= to, from *at on. */
static void
append(PromStitched *out, const PromGather *g, int *at, const PromGather *counts, int *at_count, int64 from_ms,
	   int64 to_ms)
{
	int			first;

	while (*at < g->n && g->t_ms[*at] <= from_ms)
		(*at)++;
	first = *at;
	while (*at < g->n && g->t_ms[*at] <= to_ms)
		(*at)++;
	if (first == *at)
		return;
	if (counts)
		append_counted(out, g, first, *at, counts, at_count);
	else
		append_all(out, g, first, *at);
}

PromStitched
prom_range_stitch(const PromGather *raw, const PromGather *points, const PromGather *counts,
				  const PromRangeSegment *segment, int n)
{
	int			room = raw->n + points->n;
	PromStitched out = {0};
	int64		from_ms = PG_INT64_MIN;
	int			at_raw = 0;
	int			at_point = 0;
	int			at_count = 0;

	prom_store_need_memory((size_t) room * 4 * 8);
	out.t_ms = palloc_extended(sizeof(int64) * Max(room, 1), MCXT_ALLOC_HUGE);
	out.v = palloc_extended(sizeof(double) * Max(room, 1), MCXT_ALLOC_HUGE);
	out.weight = palloc_extended(sizeof(double) * Max(room, 1), MCXT_ALLOC_HUGE);
	if (raw->histograms || points->histograms)
		out.h = palloc_extended(sizeof(PromHistogram *) * Max(room, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
	{
		int64		to_ms = i < n - 1 ? segment[i].to_ms : PG_INT64_MAX;

		if (segment[i].resolution_ms == 0)
			append(&out, raw, &at_raw, NULL, NULL, from_ms, to_ms);
		else
			append(&out, points, &at_point, counts, &at_count, from_ms, to_ms);
		from_ms = to_ms;
	}
	return out;
}

void
prom_range_stitched_free(PromStitched *s)
{
	pfree(s->t_ms);
	pfree(s->v);
	pfree(s->weight);
	if (s->h)
		pfree(s->h);
}

/* ---- functions of points ---- */

double
prom_range_weight(const PromRange *w)
{
	double		count = 0;

	for (int i = w->first; i < w->end; i++)
		count += i == w->first ? w->weight[i] * w->share : w->weight[i];
	return count;
}

bool
prom_range_points_count(PromRange *w, double *result)
{
	*result = prom_range_weight(w);
	return true;
}

bool
prom_range_points_sum(PromRange *w, double *result)
{
	double		sum = 0;
	double		c = 0;

	if (w->share == 1)
		return prom_range_sum(w, result);
	for (int i = w->first; i < w->end; i++)
		prom_sum_add(&sum, &c, i == w->first ? w->v[i] * w->share : w->v[i]);
	*result = sum + c;
	return true;
}

/* What stands for one sample each is averaged as samples are. */
bool
prom_range_points_avg(PromRange *w, double *result)
{
	double		count = prom_range_weight(w);

	if (w->share == 1 && count == w->end - w->first)
		return prom_range_avg(w, result);
	if (!prom_range_points_sum(w, result))
		return false;
	*result /= count;
	return true;
}

/*
 * dedup.c
 *	  The samples of two replicas of a series become those of one; plain C over arrays.
 *
 * Replicas are servers that scrape the same targets, each at its own moments.  The union of their samples
 * would have twice the frequency, and times that say little about either; so we stay with one replica as
 * long as it has samples.
 *
 *	- penalty: what Thanos does, from whose documentation of the querier this is taken.  Next is the earlier
 *	  of the next samples of both, but those of the replica that was not taken last only count from twice the
 *	  latest distance of samples on (5 s as long as there is none).  So we leave a replica when it has a gap of
 *	  more than about two intervals; then up to three intervals have no sample.
 *	- seamless: the same choice of replicas, made with all samples at hand.  Where one and a half intervals would
 *	  have no sample they are filled with what the other replica has there, as near as a tenth of an interval: so
 *	  none is longer than 1.1 intervals, up to which rate() takes samples for regular, if a replica has any.
 *	- chain: all samples, those of equal times once (those of a).  For copies of one origin.
 *
 * Counters: when the replica changes and the new one's value is lower than the last one, the difference is
 * added to it and to what follows of this replica: it is only behind, or has missed something, and would look
 * as if it had been reset.  Unlike in Thanos this ends where the replica itself is reset: from there on its own
 * values are right, and lifted ones would be an increase that never was; and if it was reset since the last sample
 * of the other it is not behind.  Chains are not lifted.
 *
 * Histograms take part and are not changed; staleness markers take part as samples and keep their bits.
 *
 * Windows (of rollups) are taken whole, with all that is kept of them, from one replica each: those of two are
 * never added up.  By the same choice: we stay with a replica until it lacks two scrapes, which is what a gap of
 * more than two intervals is, of what the other one has.  One fewer means nothing, for scrapes of one replica may
 * fall on the other side of a window's end; so two windows in succession have to lack one each.  (Taking the fuller one
 * of each two would count too many where the interval is no part of the window.)  The change is made where the lack
 * begins, for all windows are at hand: then the new replica's is a whole one.  Samples after windows go on with
 * the replica that these ended with.
 */
#include "select/dedup.h"

#include <math.h>

#define FIRST_PENALTY_MS 5000	/* while the interval is not known */
#define ENOUGH_SCRAPES	2		/* that the windows of a replica lack */

/* A replica on the way through its samples */
typedef struct Replica
{
	const PromDedupSamples *s;	/* of the series */
	const PromDedupSeries *series;
	int			next;
	int			taken;			/* samples [0, taken) are behind what was taken */
	int64		penalty_ms;
	double		before;			/* the last number of these, or -Infinity */
	double		lift;			/* added to its values */
} Replica;

typedef struct Walk
{
	Replica		replica[2];
	bool		counter;
	bool		seamless;
	int			current;		/* the replica taken last; -1: none */
	int64		last_ms;
	int64		interval_ms;	/* seamless: between samples of one replica; 0: not known */
	bool		doubtful;		/* was the last one of these no interval? */
	bool		has_number;		/* was a number put out, and which was the last? */
	double		last_number;
	PromDedupSeries *out;
} Walk;

static bool
is_number(const PromDedupSamples *s, int i)
{
	return (s->histograms == NULL || s->histograms[i] == NULL) && !isnan(s->values[i]);
}

static void
put(PromDedupSamples *out, const PromDedupSamples *from, int i, double lift)
{
	/* the bits of a NaN mean something */
	out->t_ms[out->n] = from->t_ms[i];
	out->values[out->n] = lift != 0 && is_number(from, i) ? from->values[i] + lift : from->values[i];
	if (out->histograms)
		out->histograms[out->n] = from->histograms ? from->histograms[i] : NULL;
	out->n++;
}

/* Passes what is before a time. */
static void
seek(Replica *r, int64 from_ms)
{
	while (r->next < r->s->n && r->s->t_ms[r->next] < from_ms)
		r->next++;
}

/*
 * The samples up to "end" are behind: a replica that was reset by itself among them is lifted no more.  Was it
 * after a time?
 */
static bool
pass(Replica *r, int end, int64 after_ms)
{
	bool		reset = false;

	for (int i = r->taken; i < end; i++)
	{
		if (!is_number(r->s, i))
			continue;
		if (r->s->values[i] < r->before)
		{
			r->lift = 0;
			reset = reset || r->s->t_ms[i] > after_ms;
		}
		r->before = r->s->values[i];
	}
	r->taken = end;
	return reset;
}

static void
take_sample(Walk *w, int which, int i)
{
	Replica    *r = &w->replica[which];
	const PromDedupSamples *out = &w->out->samples;
	bool		reset = pass(r, i + 1, out->n > 0 ? out->t_ms[out->n - 1] : PG_INT64_MIN);

	if (w->counter && is_number(r->s, i) && !reset)
	{
		double		v = r->s->values[i] + r->lift;

		if (w->current >= 0 && w->current != which && w->has_number && v < w->last_number)
			r->lift += w->last_number - v;
	}
	put(&w->out->samples, r->s, i, r->lift);
	if (is_number(r->s, i))
	{
		w->has_number = true;
		w->last_number = w->out->samples.values[w->out->samples.n - 1];
	}
	w->current = which;
}

/* Takes what the replica has between the last sample and another. */
static void
fill(Walk *w, int which, int64 end_ms)
{
	Replica    *r = &w->replica[which];
	int64		begin_ms = w->last_ms + w->interval_ms / 10;

	for (int i = r->taken; i < r->s->n && r->s->t_ms[i] < end_ms; i++)
	{
		if (r->s->t_ms[i] <= begin_ms)
			continue;
		take_sample(w, which, i);
		w->last_ms = r->s->t_ms[i];
	}
}

/*
 * Replica "which" has the next sample, at t_ms; seamless: what is missing before it is filled in, and its own
 * interval is noted.  After an outage that is none; if the next one is as long it may be.
 */
static void
approach(Walk *w, int which, int64 t_ms)
{
	const Replica *r = &w->replica[which];
	bool		stays = w->current == which;

	if (w->interval_ms > 0 && t_ms - w->last_ms > w->interval_ms + w->interval_ms / 2)
		fill(w, stays ? 1 - which : which, stays ? t_ms - w->interval_ms / 10 : t_ms);
	if (r->next > 0)
	{
		int64		own_ms = t_ms - r->s->t_ms[r->next - 1];
		bool		is_long = w->interval_ms > 0 && own_ms >= 2 * w->interval_ms;

		if (!is_long)
			w->interval_ms = own_ms;
		else if (w->doubtful)
			w->interval_ms *= 2;
		w->doubtful = is_long;
	}
}

/* The next sample of either replica; false: there is none up to to_ms. */
static bool
take_next(Walk *w, int64 to_ms)
{
	Replica    *a = &w->replica[0];
	Replica    *b = &w->replica[1];
	Replica    *r;
	int			which;
	int64		t_ms;

	if (w->current >= 0)
	{
		seek(a, w->last_ms + 1 + a->penalty_ms);
		seek(b, w->last_ms + 1 + b->penalty_ms);
	}
	if (a->next == a->s->n && b->next == b->s->n)
		return false;
	if (a->next < a->s->n && b->next < b->s->n)
		which = a->s->t_ms[a->next] <= b->s->t_ms[b->next] ? 0 : 1;
	else
		which = a->next < a->s->n ? 0 : 1;
	r = &w->replica[which];
	t_ms = r->s->t_ms[r->next];
	if (t_ms > to_ms)
		return false;
	if (w->seamless && w->current >= 0)
		approach(w, which, t_ms);
	if (w->interval_ms > 0)
		w->replica[1 - which].penalty_ms = 2 * w->interval_ms;
	else
		w->replica[1 - which].penalty_ms = w->current >= 0 ? 2 * (t_ms - w->last_ms) : FIRST_PENALTY_MS;
	r->penalty_ms = 0;
	take_sample(w, which, r->next);
	w->last_ms = t_ms;
	return true;
}

/* The next sample of a chain; false: there is none up to to_ms. */
static bool
take_link(Walk *w, int64 to_ms)
{
	Replica    *a = &w->replica[0];
	Replica    *b = &w->replica[1];
	int64		a_ms = a->next < a->s->n ? a->s->t_ms[a->next] : PG_INT64_MAX;
	int64		b_ms = b->next < b->s->n ? b->s->t_ms[b->next] : PG_INT64_MAX;

	if ((a->next == a->s->n || a_ms > to_ms) && (b->next == b->s->n || b_ms > to_ms))
		return false;
	if (a->next < a->s->n && a_ms <= b_ms)
		put(&w->out->samples, a->s, a->next, 0);
	else
		put(&w->out->samples, b->s, b->next, 0);
	a->next += a->next < a->s->n && a_ms <= b_ms;
	b->next += b->next < b->s->n && b_ms <= a_ms;
	return true;
}

/* ---- windows ---- */

/* The first one after a time. */
static int
first_after(const PromDedupSamples *s, int64 t_ms)
{
	int			low = 0;
	int			high = s->n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (s->t_ms[middle] <= t_ms)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* All that one replica has of some windows. */
static void
take_windows(Walk *w, int which, int64 from_ms, int64 to_ms)
{
	Replica    *r = &w->replica[which];

	if (from_ms >= to_ms)
		return;
	for (int i = first_after(r->s, from_ms); i < r->s->n && r->s->t_ms[i] <= to_ms; i++)
		take_sample(w, which, i);
	for (int k = 0; k < PROM_DEDUP_POINTS; k++)
	{
		const PromDedupSamples *s = &r->series->points[k];

		for (int i = first_after(s, from_ms); i < s->n && s->t_ms[i] <= to_ms; i++)
			put(&w->out->points[k], s, i, 0);
	}
	w->current = which;
}

/* Who has the first window after a time; a if there is none, unless only b has samples. */
static int
first_to_begin(const Walk *w, int64 from_ms)
{
	int64		begin_ms[2];

	for (int i = 0; i < 2; i++)
	{
		const PromDedupSamples *counts = &w->replica[i].series->points[PROM_DEDUP_COUNTS];
		const PromDedupSamples *s = counts->n > 0 ? counts : w->replica[i].s;
		int			first = first_after(s, from_ms);

		begin_ms[i] = first < s->n ? s->t_ms[first] : PG_INT64_MAX;
	}
	return begin_ms[0] <= begin_ms[1] ? 0 : 1;
}

/* A segment of windows, each of one replica. */
static void
merge_windows(Walk *w, int64 from_ms, const PromDedupSegment *segment, int enough)
{
	const PromDedupSamples *s[2];
	int			at[2];
	int			which = w->current >= 0 ? w->current : first_to_begin(w, from_ms);
	int64		lack_ms = from_ms;	/* since when does it lack samples, and how many? */
	double		lack = 0;
	int64		interval_ms = 0;

	for (int i = 0; i < 2; i++)
	{
		s[i] = &w->replica[i].series->points[PROM_DEDUP_COUNTS];
		at[i] = first_after(s[i], from_ms);
	}
	for (;;)
	{
		int64		t_ms[2];
		double		count[2];
		int64		end_ms;

		for (int i = 0; i < 2; i++)
			t_ms[i] = at[i] < s[i]->n ? s[i]->t_ms[at[i]] : PG_INT64_MAX;
		end_ms = t_ms[0] < t_ms[1] ? t_ms[0] : t_ms[1];
		if (end_ms > segment->to_ms || (at[0] == s[0]->n && at[1] == s[1]->n))
			break;
		for (int i = 0; i < 2; i++)
			count[i] = t_ms[i] == end_ms ? s[i]->values[at[i]++] : 0;
		interval_ms = (int64) (segment->window_ms / fmax(fmax(count[0], count[1]), 1));
		if (count[1 - which] <= count[which])
		{
			lack = 0;
			continue;
		}
		if (lack == 0)
			lack_ms = end_ms - segment->window_ms;
		lack += count[1 - which] - count[which];
		if (lack < enough)
			continue;
		take_windows(w, which, from_ms, lack_ms);
		from_ms = lack_ms > from_ms ? lack_ms : from_ms;
		which = 1 - which;
		lack = 0;
	}
	take_windows(w, which, from_ms, segment->to_ms);
	for (int i = 0; i < 2; i++)
	{
		seek(&w->replica[i], segment->to_ms < PG_INT64_MAX ? segment->to_ms + 1 : PG_INT64_MAX);
		w->replica[i].penalty_ms = i == which ? 0 : 2 * interval_ms;
	}
	w->last_ms = segment->to_ms;
	if (w->seamless && interval_ms > 0)
		w->interval_ms = interval_ms;
}

void
prom_dedup_merge(PromDedupMethod method, bool counter, const PromDedupSegment *segments, int nsegments,
				 const PromDedupSeries *a, const PromDedupSeries *b, PromDedupSeries *out)
{
	Walk		w = {.counter = counter, .current = -1, .out = out};
	int64		from_ms = PG_INT64_MIN;

	out->samples.n = 0;
	for (int k = 0; k < PROM_DEDUP_POINTS; k++)
		out->points[k].n = 0;
	w.replica[0] = (Replica) {.s = &a->samples, .series = a, .before = -INFINITY};
	w.replica[1] = (Replica) {.s = &b->samples, .series = b, .before = -INFINITY};
	w.seamless = method == PROM_DEDUP_SEAMLESS;
	for (int i = 0; i < nsegments; i++)
	{
		if (segments[i].window_ms > 0)
			merge_windows(&w, from_ms, &segments[i], method == PROM_DEDUP_CHAIN ? 1 : ENOUGH_SCRAPES);
		else
			while (method == PROM_DEDUP_CHAIN ? take_link(&w, segments[i].to_ms) : take_next(&w, segments[i].to_ms))
				;
		from_ms = segments[i].to_ms;
	}
}

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
 * values are right, and lifted ones would be an increase that never was.  Chains are not lifted.
 *
 * Histograms take part and are not changed; staleness markers take part as samples and keep their bits.
 */
#include "store/dedup.h"

#include <math.h>

#define FIRST_PENALTY_MS 5000	/* while the interval is not known */

/* A replica on the way through its samples */
typedef struct Replica
{
	const PromDedupSamples *s;
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
	bool		has_number;		/* was a number put out, and which was the last? */
	double		last_number;
	PromDedupSamples *out;
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

/* The samples up to "end" are behind: a replica that was reset by itself among them is lifted no more. */
static void
pass(Replica *r, int end)
{
	for (int i = r->taken; i < end; i++)
	{
		if (!is_number(r->s, i))
			continue;
		if (r->s->values[i] < r->before)
			r->lift = 0;
		r->before = r->s->values[i];
	}
	r->taken = end;
}

static void
take_sample(Walk *w, int which, int i)
{
	Replica    *r = &w->replica[which];

	pass(r, i + 1);
	if (w->counter && is_number(r->s, i))
	{
		double		v = r->s->values[i] + r->lift;

		if (w->current >= 0 && w->current != which && w->has_number && v < w->last_number)
			r->lift += w->last_number - v;
	}
	put(w->out, r->s, i, r->lift);
	if (is_number(r->s, i))
	{
		w->has_number = true;
		w->last_number = w->out->values[w->out->n - 1];
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
 * interval is noted.  (After an outage that is none, but twice the former is enough to find back.)
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

		w->interval_ms = w->interval_ms == 0 || own_ms < 2 * w->interval_ms ? own_ms : 2 * w->interval_ms;
	}
}

/* The next sample of either replica; false: there is none. */
static bool
take_next(Walk *w)
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

static void
merge_chain(const PromDedupSamples *a, const PromDedupSamples *b, PromDedupSamples *out)
{
	int			i = 0;
	int			j = 0;

	while (i < a->n || j < b->n)
	{
		bool		take_a = j == b->n || (i < a->n && a->t_ms[i] <= b->t_ms[j]);

		if (take_a && j < b->n && a->t_ms[i] == b->t_ms[j])
			j++;
		if (take_a)
			put(out, a, i++, 0);
		else
			put(out, b, j++, 0);
	}
}

void
prom_dedup_merge(PromDedupMethod method, bool counter, const PromDedupSamples *a, const PromDedupSamples *b,
				 PromDedupSamples *out)
{
	Walk		w = {.counter = counter, .current = -1, .out = out};

	out->n = 0;
	w.replica[0] = (Replica) {.s = a, .before = -INFINITY};
	w.replica[1] = (Replica) {.s = b, .before = -INFINITY};
	w.seamless = method == PROM_DEDUP_SEAMLESS;
	if (method == PROM_DEDUP_CHAIN)
		merge_chain(a, b, out);
	else
		while (take_next(&w))
			;
}

/*
 * agg_mixed.c
 *	  Native histograms in the aggregates that keep a few numbers per step (agg.h).
 *
 * A step has both a sum of floats and one of histograms, if it saw both kinds; it has no result then.
 * As long as histograms have one layout, sums change where they lie.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "vals/agg.h"
#include "vals/annotate.h"

/* ---- the part of the state ---- */

/* The state with room for so many bytes more behind what it uses ("used"). */
static PromAggState *
make_room(PromAggState *s, size_t used, size_t more)
{
	size_t		needed = used + more;
	size_t		size;
	PromAggState *moved;

	if (needed <= VARSIZE(s))
		return s;
	if (needed > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("histograms of one group are too many for one result"),
				 errdetail("They take more than %zu bytes over %d steps.", used, s->nsteps),
				 errhint("Ask for fewer steps.")));
	size = Min(needed * 2, MaxAllocSize);
	moved = palloc(size);
	memcpy(moved, s, used);
	SET_VARSIZE(moved, size);
	return moved;
}

static PromAggState *
add_part(PromAggState *s)
{
	size_t		at = MAXALIGN(VARSIZE(s));
	size_t		size = offsetof(PromAggHistograms, step) + sizeof(PromAggStep) * s->nsteps;
	size_t		old = VARSIZE(s);

	if (s->histograms != 0)
		return s;
	s = make_room(s, old, at - old + size);
	memset((char *) s + old, 0, at - old + size);
	s->histograms = at;
	prom_agg_histograms(s)->used = at + size;
	return s;
}

static PromHistogramSum
get_sum(PromAggState *s, int i)
{
	PromAggStep *step = &prom_agg_histograms(s)->step[i];
	PromHistogramSum sum = {NULL, NULL};

	if (step->place != 0)
	{
		sum.value = (PromHistogram *) ((char *) s + step->place);
		sum.comp = (PromHistogram *) ((char *) sum.value + sum.value->size);
	}
	return sum;
}

/* Puts a sum that is new, or has been computed elsewhere, where the step has it. */
static PromAggState *
put_sum(PromAggState *s, int i, const PromHistogramSum *sum)
{
	PromAggStep *step = &prom_agg_histograms(s)->step[i];
	size_t		size = (size_t) sum->value->size * 2;

	if (step->place != 0 && sum->value == (PromHistogram *) ((char *) s + step->place))
		return s;
	if (step->room < size)
	{
		uint32		used = prom_agg_histograms(s)->used;

		s = make_room(s, used, size);
		step = &prom_agg_histograms(s)->step[i];
		step->place = used;
		step->room = size;
		prom_agg_histograms(s)->used += size;
	}
	memcpy((char *) s + step->place, sum->value, sum->value->size);
	memcpy((char *) s + step->place + sum->value->size, sum->comp, sum->value->size);
	return s;
}

/* ---- adding ---- */

static void
note_sum(PromAggState *s, int i, int happened)
{
	if (happened & PROM_HISTOGRAM_INCOMPATIBLE)
		prom_agg_histograms(s)->step[i].seen |= PROM_AGG_SEEN_INCOMPATIBLE;
	if (happened & PROM_HISTOGRAM_REBOUNDED)
		s->notes |= PROM_NOTE_RECONCILED_AGG;
}

PromAggState *
prom_agg_add_histogram(PromAggState *s, int i, const PromHistogram *h)
{
	PromHistogramSum sum;
	PromAggStep *step;

	s = add_part(s);
	sum = get_sum(s, i);
	step = &prom_agg_histograms(s)->step[i];
	step->seen |= h->hint == PROM_HINT_RESET ? PROM_AGG_SEEN_RESET :
		h->hint == PROM_HINT_NOT_RESET ? PROM_AGG_SEEN_NOT_RESET : 0;
	if (s->kind == PROM_AGG_UNIQUE && (step->count > 0 || prom_agg_counts(s)[i] > 0))
		prom_agg_raise_same();
	if (s->kind == PROM_AGG_AVG)
	{
		bool		running = (step->count & PROM_AGG_RUNNING) != 0;
		uint32		n = (step->count & ~PROM_AGG_RUNNING) + 1;

		note_sum(s, i, prom_histogram_mean_add(palloc, &sum, &running, n, h));
		step->count = n | (running ? PROM_AGG_RUNNING : 0);
	}
	else
	{
		note_sum(s, i, prom_histogram_sum_add(palloc, &sum, h, 1));
		step->count++;
	}
	return put_sum(s, i, &sum);
}

/* Two means become one, weighted by their counts; sums stay sums. */
static void
combine_sums(bool mean, PromHistogramSum *sum, uint32 *count, const PromHistogramSum *sum2, uint32 count2, int *happened)
{
	uint32		n1 = *count & ~PROM_AGG_RUNNING;
	uint32		n2 = count2 & ~PROM_AGG_RUNNING;
	double		n = (double) n1 + n2;
	PromHistogram *other = prom_histogram_sum_done(palloc, sum2);

	if (!mean || ((*count | count2) & PROM_AGG_RUNNING) == 0)
	{
		*happened = prom_histogram_sum_add(palloc, sum, other, 1);
		*count += count2;
		return;
	}
	other = prom_histogram_mean_done(palloc, sum2, (count2 & PROM_AGG_RUNNING) != 0, n2);
	if (n1 > 0)
	{
		PromHistogram *mine = prom_histogram_mean_done(palloc, sum, (*count & PROM_AGG_RUNNING) != 0, n1);

		*sum = (PromHistogramSum) {NULL, NULL};
		(void) prom_histogram_sum_add(palloc, sum, prom_histogram_scale(palloc, mine, n1 / n), 1);
	}
	*happened = prom_histogram_sum_add(palloc, sum, prom_histogram_scale(palloc, other, n2 / n), 1);
	*count = (n1 + n2) | PROM_AGG_RUNNING;
}

PromAggState *
prom_agg_add_histograms(PromAggState *s, PromAggState *other)
{
	if (other->histograms == 0)
		return s;
	s = add_part(s);
	for (int i = 0; i < s->nsteps; i++)
	{
		PromAggStep *step2 = &prom_agg_histograms(other)->step[i];
		PromAggStep *step = &prom_agg_histograms(s)->step[i];
		PromHistogramSum sum;
		PromHistogramSum sum2;
		int			happened = 0;

		CHECK_FOR_INTERRUPTS();
		if (step2->count == 0)
			continue;
		if (s->kind == PROM_AGG_UNIQUE && (step->count > 0 || prom_agg_counts(s)[i] > 0))
			prom_agg_raise_same();
		sum = get_sum(s, i);
		sum2 = get_sum(other, i);
		step->seen |= step2->seen;
		combine_sums(s->kind == PROM_AGG_AVG, &sum, &step->count, &sum2, step2->count, &happened);
		note_sum(s, i, happened);
		s = put_sum(s, i, &sum);
	}
	return s;
}

/* ---- the result ---- */

static const PromHistogram *
final_histogram(PromAggState *s, int i)
{
	uint32		count = prom_agg_step_count(s, i);
	PromHistogramSum sum = get_sum(s, i);

	if (s->kind == PROM_AGG_UNIQUE)
		return sum.value;
	if (s->kind == PROM_AGG_AVG)
		return prom_histogram_mean_done(palloc, &sum, (count & PROM_AGG_RUNNING) != 0, count & ~PROM_AGG_RUNNING);
	return prom_histogram_sum_done(palloc, &sum);
}

PromVals *
prom_agg_final_mixed(PromAggState *s, PromVals *floats)
{
	PromMixed	m = {floats, NULL};

	for (int i = 0; i < s->nsteps; i++)
	{
		const uint32 conflict = PROM_AGG_SEEN_RESET | PROM_AGG_SEEN_NOT_RESET;
		uint32		seen;

		if (prom_agg_step_count(s, i) == 0)
			continue;
		seen = prom_agg_histograms(s)->step[i].seen;
		if ((seen & conflict) == conflict && s->kind != PROM_AGG_UNIQUE)
			floats->notes |= PROM_NOTE_RESETS_AGG;
		if (prom_agg_counts(s)[i] > 0)
		{
			if (prom_vals_has(floats, i))
				prom_vals_clear(floats, i);
			floats->notes |= PROM_NOTE_MIX;
		}
		else if (seen & PROM_AGG_SEEN_INCOMPATIBLE)
			floats->notes |= PROM_NOTE_MIXED_SCHEMAS;
		else
			prom_mixed_set_histogram(&m, i, final_histogram(s, i));
	}
	return prom_mixed_finish(&m);
}

/* ---- input and output: the steps that have histograms ---- */

void
prom_agg_send_histograms(PromAggState *s, StringInfo out)
{
	if (s->histograms == 0)
		return;
	for (int i = 0; i < s->nsteps; i++)
	{
		PromAggStep *step = &prom_agg_histograms(s)->step[i];
		PromHistogramSum sum = get_sum(s, i);

		if (step->count == 0)
			continue;
		pq_sendint32(out, i);
		pq_sendint32(out, step->count);
		pq_sendbyte(out, step->seen);
		pq_sendint32(out, sum.value->size);
		pq_sendbytes(out, (char *) sum.value, sum.value->size);
		pq_sendbytes(out, (char *) sum.comp, sum.value->size);
	}
}

#define STEP_HEAD_BYTES 13

PromAggState *
prom_agg_receive_histograms(PromAggState *s, StringInfo in)
{
	while (in->cursor < in->len)
	{
		uint32		i = s->nsteps;
		uint32		count = 0;
		int			seen = 0;
		uint32		size = 0;
		PromHistogramSum sum;

		if (in->len - in->cursor >= STEP_HEAD_BYTES)
		{
			i = pq_getmsgint(in, 4);
			count = pq_getmsgint(in, 4);
			seen = pq_getmsgbyte(in);
			size = pq_getmsgint(in, 4);
		}
		if (i >= s->nsteps || count == 0 || seen > 7 || (size_t) size * 2 > in->len - in->cursor ||
			prom_agg_step_count(s, i) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
					 errmsg("invalid state of an aggregate")));
		sum.value = prom_vals_receive_histogram(in, size);
		sum.comp = prom_vals_receive_histogram(in, size);
		if (!prom_histogram_same_layout(sum.value, sum.comp))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
					 errmsg("invalid state of an aggregate")));
		s = add_part(s);
		prom_agg_histograms(s)->step[i].count = count;
		prom_agg_histograms(s)->step[i].seen = seen;
		s = put_sum(s, i, &sum);
	}
	return s;
}

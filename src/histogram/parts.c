/*
 * parts.c
 *	  Takes histograms apart and joins them, and makes their layouts coarser in between.
 *
 * Nothing here fails: every histogram can be brought to fewer bounds.  Plain C.
 */
#include "c.h"

#include <math.h>

#include "common/sum.h"
#include "histogram/parts.h"

void
prom_parts_take(PromHistogramAlloc alloc, PromParts *p, const PromHistogram *h, const PromHistogram *comp)
{
	p->schema = h->schema;
	p->hint = (PromHint) h->hint;
	p->zero_threshold = h->zero_threshold;
	p->zero_count = (PromTerm) {h->zero_count, comp ? comp->zero_count : 0};
	p->count = (PromTerm) {h->count, comp ? comp->count : 0};
	p->sum = (PromTerm) {h->sum, comp ? comp->sum : 0};
	p->ncustom = h->ncustom;
	p->custom = prom_histogram_custom(h);
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
	{
		const PromHistogramSpan *spans = prom_histogram_spans(h, side);
		const double *counts = prom_histogram_buckets(h, side);
		const double *comps = comp ? prom_histogram_buckets(comp, side) : NULL;
		PromBucket *b = alloc(sizeof(PromBucket) * (h->nbuckets[side] + 1));
		int32		index = 0;
		uint32		n = 0;

		for (uint32 s = 0; s < h->nspans[side]; s++)
		{
			index += spans[s].offset;
			for (uint32 i = 0; i < spans[s].length; i++, n++)
			{
				b[n].index = index++;
				b[n].count = (PromTerm) {counts[n], comps ? comps[n] : 0};
			}
		}
		p->side[side] = (PromBuckets) {n, b};
	}
}

static bool
is_empty(const PromBucket *b)
{
	return b->count.v == 0 && b->count.c == 0;
}

/* How many buckets and spans it takes to write a side down. */
static void
count_side(const PromBuckets *side, uint32 *nbuckets, uint32 *nspans)
{
	const PromBucket *before = NULL;

	*nbuckets = *nspans = 0;
	for (int i = 0; i < side->n; i++)
	{
		const PromBucket *b = &side->b[i];

		if (is_empty(b))
			continue;
		(*nbuckets)++;
		if (before == NULL || b->index != before->index + 1)
			(*nspans)++;
		before = b;
	}
}

static void
write_side(const PromBuckets *side, double *counts, double *comps, PromHistogramSpan *spans)
{
	int32		next = 0;
	PromHistogramSpan *span = NULL;

	for (int i = 0; i < side->n; i++)
	{
		const PromBucket *b = &side->b[i];

		if (is_empty(b))
			continue;
		if (span == NULL || b->index != next)
		{
			span = spans++;
			*span = (PromHistogramSpan) {b->index - next, 0};
		}
		span->length++;
		next = b->index + 1;
		*counts++ = b->count.v;
		if (comps)
			*comps++ = b->count.c;
	}
}

PromHistogram *
prom_parts_join(PromHistogramAlloc alloc, const PromParts *p, PromHistogram **comp)
{
	PromHistogram head = {0};
	PromHistogram *h;

	head.schema = p->schema;
	head.hint = p->hint;
	head.ncustom = p->ncustom;
	head.zero_threshold = p->zero_threshold;
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
		count_side(&p->side[side], &head.nbuckets[side], &head.nspans[side]);
	head.size = prom_histogram_size(head.nbuckets[PROM_POSITIVE], head.nbuckets[PROM_NEGATIVE], head.ncustom,
									head.nspans[PROM_POSITIVE], head.nspans[PROM_NEGATIVE]);
	h = alloc(head.size);
	*h = head;
	h->zero_count = p->zero_count.v;
	h->count = p->count.v;
	h->sum = p->sum.v;
	if (p->ncustom > 0)
		memcpy(prom_histogram_custom(h), p->custom, sizeof(double) * p->ncustom);
	if (comp)
	{
		*comp = alloc(head.size);
		memcpy(*comp, h, head.size);
		(*comp)->zero_count = p->zero_count.c;
		(*comp)->count = p->count.c;
		(*comp)->sum = p->sum.c;
	}
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
		write_side(&p->side[side], prom_histogram_buckets(h, side), comp ? prom_histogram_buckets(*comp, side) : NULL,
				   prom_histogram_spans(h, side));
	if (comp)
		memcpy(prom_histogram_spans(*comp, PROM_POSITIVE), prom_histogram_spans(h, PROM_POSITIVE),
			   sizeof(PromHistogramSpan) * (h->nspans[PROM_POSITIVE] + h->nspans[PROM_NEGATIVE]));
	return h;
}

static void
add_term(PromTerm *sum, PromTerm x)
{
	prom_sum_add(&sum->v, &sum->c, x.v);
	if (!isinf(sum->v))
		sum->c += x.c;
}

/* Puts a bucket behind the first *n of a side, into the last of them if it has the same index. */
static void
put_bucket(PromBuckets *side, int *n, int32 index, PromTerm count)
{
	if (*n > 0 && side->b[*n - 1].index == index)
		add_term(&side->b[*n - 1].count, count);
	else
		side->b[(*n)++] = (PromBucket) {index, count};
}

void
prom_parts_reduce(PromParts *p, int schema)
{
	int			shift = p->schema - schema;

	if (shift <= 0)
		return;
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
	{
		PromBuckets *s = &p->side[side];
		int			n = 0;

		for (int i = 0; i < s->n; i++)
			put_bucket(s, &n, ((s->b[i].index - 1) >> shift) + 1, s->b[i].count);
		s->n = n;
	}
	p->schema = schema;
}

/*
 * Adds to *zero what is nearer to zero than the threshold; true if the threshold cut a populated bucket,
 * and had to be raised to its end.
 */
static bool
swallow(const PromParts *p, PromHistogramSide side, double *threshold, PromTerm *zero)
{
	for (int i = 0; i < p->side[side].n; i++)
	{
		const PromBucket *b = &p->side[side].b[i];
		double		end = prom_histogram_bound(b->index, p->schema);

		if (prom_histogram_bound(b->index - 1, p->schema) >= *threshold)
			break;
		add_term(zero, b->count);
		if (end > *threshold && !is_empty(b))
		{
			*threshold = end;
			return true;
		}
	}
	return false;
}

void
prom_parts_widen(PromParts *p, double threshold)
{
	PromTerm	zero;

	if (threshold <= p->zero_threshold)
		return;
	do
	{
		zero = p->zero_count;
		(void) swallow(p, PROM_POSITIVE, &threshold, &zero);
	} while (swallow(p, PROM_NEGATIVE, &threshold, &zero));
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
	{
		PromBuckets *s = &p->side[side];

		while (s->n > 0 && prom_histogram_bound(s->b[0].index - 1, p->schema) < threshold)
		{
			s->b++;
			s->n--;
		}
	}
	p->zero_count = zero;
	p->zero_threshold = threshold;
}

void
prom_parts_rebound(PromParts *p, const double *bounds, int n)
{
	PromBuckets *s = &p->side[PROM_POSITIVE];
	int			kept = 0;
	int			to = 0;

	for (int i = 0; i < s->n; i++)
	{
		int32		index = s->b[i].index;

		while (to < n && (index >= p->ncustom || bounds[to] < p->custom[index]))
			to++;
		put_bucket(s, &kept, to, s->b[i].count);
	}
	s->n = kept;
	p->custom = bounds;
	p->ncustom = n;
}

int
prom_bounds_common(const double *a, int na, const double *b, int nb, double *common)
{
	int			n = 0;

	for (int i = 0, k = 0; i < na && k < nb;)
	{
		if (a[i] == b[k])
		{
			common[n++] = a[i++];
			k++;
		}
		else if (a[i] < b[k])
			i++;
		else
			k++;
	}
	return n;
}

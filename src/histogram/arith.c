/*
 * arith.c
 *	  Sums, differences, multiples and means of histograms.
 *
 * Histograms of different layouts meet at the coarser one: the lower schema, the wider zero bucket, the
 * custom bounds that both have.  A sum keeps its compensations in a histogram of its own layout, so
 * that it lies flat in memory like any other; where the next one to be added has that layout, which is
 * the rule, it is a loop over two arrays.  Plain C.
 */
#include "c.h"

#include <math.h>

#include "common/sum.h"
#include "histogram/parts.h"

/* ---- layouts ---- */

static bool
is_custom(const PromHistogram *h)
{
	return h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA;
}

bool
prom_histogram_same_layout(const PromHistogram *a, const PromHistogram *b)
{
	return a->size == b->size && a->schema == b->schema && a->zero_threshold == b->zero_threshold &&
		memcmp(a->nbuckets, b->nbuckets, sizeof(a->nbuckets)) == 0 &&
		memcmp(a->nspans, b->nspans, sizeof(a->nspans)) == 0 && a->ncustom == b->ncustom &&
		memcmp(prom_histogram_custom(a), prom_histogram_custom(b),
			   (char *) a + a->size - (char *) prom_histogram_custom(a)) == 0;
}

static uint32
count_buckets(const PromHistogram *h)
{
	return h->nbuckets[PROM_POSITIVE] + h->nbuckets[PROM_NEGATIVE];
}

PromHistogram *
prom_histogram_copy(PromHistogramAlloc alloc, const PromHistogram *h)
{
	PromHistogram *copy = alloc(h->size);

	memcpy(copy, h, h->size);
	return copy;
}

/* Gauge wins; then "unknown"; a reset that meets none is in conflict, and unknown. */
static PromHint
join_hints(PromHint a, PromHint b, int *notes)
{
	if (a == b)
		return a;
	if (a == PROM_HINT_GAUGE || b == PROM_HINT_GAUGE)
		return PROM_HINT_GAUGE;
	if (a != PROM_HINT_UNKNOWN && b != PROM_HINT_UNKNOWN)
		*notes |= PROM_HISTOGRAM_RESETS;
	return PROM_HINT_UNKNOWN;
}

/* ---- multiples ---- */

static void
multiply(PromHistogram *h, double factor)
{
	uint32		n = count_buckets(h);

	h->zero_count *= factor;
	h->count *= factor;
	h->sum *= factor;
	for (uint32 i = 0; i < n; i++)
		h->d[i] *= factor;
}

static void
divide(PromHistogram *h, double divisor)
{
	uint32		n = count_buckets(h);

	h->zero_count /= divisor;
	h->count /= divisor;
	h->sum /= divisor;
	for (uint32 i = 0; i < n; i++)
		h->d[i] /= divisor;
}

void
prom_histogram_negate(PromHistogram *h)
{
	multiply(h, -1);
	h->is_int = 0;
	h->hint = PROM_HINT_GAUGE;
}

PromHistogram *
prom_histogram_scale(PromHistogramAlloc alloc, const PromHistogram *h, double factor)
{
	PromHistogram *out = prom_histogram_copy(alloc, h);

	multiply(out, factor);
	out->is_int = 0;
	if (factor < 0)
		out->hint = PROM_HINT_GAUGE;
	return out;
}

PromHistogram *
prom_histogram_divide(PromHistogramAlloc alloc, const PromHistogram *h, double divisor)
{
	PromHistogram *out = prom_histogram_copy(alloc, h);

	divide(out, divisor);
	out->is_int = 0;
	if (divisor < 0)
		out->hint = PROM_HINT_GAUGE;
	if (divisor == 0)
	{
		/* infinities and NaN in all buckets tell nothing */
		memset(out->d, 0, sizeof(double) * count_buckets(out));
		out = prom_histogram_compact(alloc, out);
	}
	return out;
}

PromHistogram *
prom_histogram_compact(PromHistogramAlloc alloc, const PromHistogram *h)
{
	PromParts	p;

	prom_parts_take(alloc, &p, h, NULL);
	return prom_parts_join(alloc, &p, NULL);
}

/* ---- sums ---- */

static void
begin_sum(PromHistogramAlloc alloc, PromHistogramSum *s, const PromHistogram *h, double sign)
{
	s->value = prom_histogram_copy(alloc, h);
	s->value->is_int = 0;
	if (sign != 1)
		multiply(s->value, sign);
	s->comp = prom_histogram_copy(alloc, h);
	s->comp->zero_count = s->comp->count = s->comp->sum = 0;
	memset(s->comp->d, 0, sizeof(double) * count_buckets(h));
}

static void
add_same(PromHistogramSum *s, const PromHistogram *h, double sign)
{
	uint32		n = count_buckets(h);

	prom_sum_add(&s->value->zero_count, &s->comp->zero_count, sign * h->zero_count);
	prom_sum_add(&s->value->count, &s->comp->count, sign * h->count);
	prom_sum_add(&s->value->sum, &s->comp->sum, sign * h->sum);
	for (uint32 i = 0; i < n; i++)
		prom_sum_add(&s->value->d[i], &s->comp->d[i], sign * h->d[i]);
}

static void
add_term(PromTerm *sum, PromTerm x, double sign)
{
	prom_sum_add(&sum->v, &sum->c, sign * x.v);
}

/* Both sides' buckets in one list. */
static PromBuckets
add_side(PromHistogramAlloc alloc, const PromBuckets *a, const PromBuckets *b, double sign)
{
	PromBuckets out = {0, alloc(sizeof(PromBucket) * (a->n + b->n + 1))};

	for (int i = 0, k = 0; i < a->n || k < b->n;)
	{
		PromBucket *to = &out.b[out.n++];

		if (k == b->n || (i < a->n && a->b[i].index <= b->b[k].index))
			*to = a->b[i++];
		else
			*to = (PromBucket) {b->b[k].index, {0, 0}};
		if (k < b->n && b->b[k].index == to->index)
			add_term(&to->count, b->b[k++].count, sign);
	}
	return out;
}

/* Makes the layouts of two coarse enough to have the same bounds; which notes there are to that. */
static int
reconcile(PromHistogramAlloc alloc, PromParts *a, PromParts *b)
{
	if (a->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA)
	{
		double	   *common;
		int			n;

		if (a->ncustom == b->ncustom && memcmp(a->custom, b->custom, sizeof(double) * a->ncustom) == 0)
			return 0;
		common = alloc(sizeof(double) * (a->ncustom + 1));
		n = prom_bounds_common(a->custom, a->ncustom, b->custom, b->ncustom, common);
		prom_parts_rebound(a, common, n);
		prom_parts_rebound(b, common, n);
		return PROM_HISTOGRAM_REBOUNDED;
	}
	/* widening one may take it beyond the other */
	while (a->zero_threshold != b->zero_threshold)
	{
		prom_parts_widen(b, a->zero_threshold);
		prom_parts_widen(a, b->zero_threshold);
	}
	prom_parts_reduce(a, b->schema);
	prom_parts_reduce(b, a->schema);
	return 0;
}

static int
add_parts(PromHistogramAlloc alloc, PromHistogramSum *s, const PromHistogram *h, double sign)
{
	PromParts	a;
	PromParts	b;
	int			notes;

	prom_parts_take(alloc, &a, s->value, s->comp);
	prom_parts_take(alloc, &b, h, NULL);
	notes = reconcile(alloc, &a, &b);
	add_term(&a.zero_count, b.zero_count, sign);
	add_term(&a.count, b.count, sign);
	add_term(&a.sum, b.sum, sign);
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
		a.side[side] = add_side(alloc, &a.side[side], &b.side[side], sign);
	s->value = prom_parts_join(alloc, &a, &s->comp);
	return notes;
}

int
prom_histogram_sum_add(PromHistogramAlloc alloc, PromHistogramSum *s, const PromHistogram *h, double sign)
{
	int			notes = 0;
	PromHint	hint;

	if (s->value == NULL)
	{
		begin_sum(alloc, s, h, sign);
		return 0;
	}
	if (is_custom(s->value) != is_custom(h))
		return PROM_HISTOGRAM_INCOMPATIBLE;
	hint = join_hints((PromHint) s->value->hint, (PromHint) h->hint, &notes);
	if (prom_histogram_same_layout(s->value, h))
		add_same(s, h, sign);
	else
		notes |= add_parts(alloc, s, h, sign);
	s->value->hint = hint;
	return notes;
}

PromHistogram *
prom_histogram_sum_done(PromHistogramAlloc alloc, const PromHistogramSum *s)
{
	PromParts	p;

	prom_parts_take(alloc, &p, s->value, s->comp);
	p.zero_count = (PromTerm) {p.zero_count.v + p.zero_count.c, 0};
	p.count = (PromTerm) {p.count.v + p.count.c, 0};
	p.sum = (PromTerm) {p.sum.v + p.sum.c, 0};
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
		for (int i = 0; i < p.side[side].n; i++)
		{
			PromTerm   *count = &p.side[side].b[i].count;

			*count = (PromTerm) {count->v + count->c, 0};
		}
	return prom_parts_join(alloc, &p, NULL);
}

PromHistogram *
prom_histogram_plus(PromHistogramAlloc alloc, const PromHistogram *a, const PromHistogram *b, double sign, int *notes)
{
	PromHistogramSum s = {NULL, NULL};

	(void) prom_histogram_sum_add(alloc, &s, a, 1);
	*notes = prom_histogram_sum_add(alloc, &s, b, sign);
	if (*notes & PROM_HISTOGRAM_INCOMPATIBLE)
		return NULL;
	return prom_histogram_sum_done(alloc, &s);
}

/* ---- means ---- */

static bool
has_infinity(const PromHistogram *h)
{
	uint32		n = count_buckets(h);

	if (isinf(h->zero_count) || isinf(h->count) || isinf(h->sum))
		return true;
	for (uint32 i = 0; i < n; i++)
		if (isinf(h->d[i]))
			return true;
	return false;
}

int
prom_histogram_mean_add(PromHistogramAlloc alloc, PromHistogramSum *s, bool *running, double n, const PromHistogram *h)
{
	int			notes;

	if (!*running)
	{
		PromHistogramSum before = *s;

		if (n > 1)
		{
			s->value = prom_histogram_copy(alloc, s->value);
			s->comp = prom_histogram_copy(alloc, s->comp);
		}
		notes = prom_histogram_sum_add(alloc, s, h, 1);
		if (n == 1 || !has_infinity(s->value))
			return notes;
		*running = true;
		*s = before;
		divide(s->value, n - 1);
		divide(s->comp, n - 1);
	}
	multiply(s->value, (n - 1) / n);
	multiply(s->comp, (n - 1) / n);
	return prom_histogram_sum_add(alloc, s, prom_histogram_divide(alloc, h, n), 1);
}

PromHistogram *
prom_histogram_mean_done(PromHistogramAlloc alloc, const PromHistogramSum *s, bool running, double n)
{
	PromHistogramSum mean = *s;

	if (!running)
	{
		mean.value = prom_histogram_divide(alloc, s->value, n);
		mean.comp = prom_histogram_divide(alloc, s->comp, n);
	}
	return prom_histogram_sum_done(alloc, &mean);
}

/*
 * check.c
 *	  What a histogram must be to be stored: Prometheus' rules, with its reasons.
 *
 * First come the sizes, so that nothing else reads beyond the end, then the layout of buckets, then
 * their counts.  Integers must add up to the count exactly; floats may have been rounded, so that of
 * them nothing is asked but to be finite and not negative.
 */
#include "c.h"

#include <math.h>

#include "histogram/histogram.h"

/* The greatest whole number up to which a double counts one by one. */
#define TWO53	9007199254740992.0

static const char *
check_sizes(const PromHistogram *h, size_t size)
{
	if (size < offsetof(PromHistogram, d) || h->size != size)
		return "histogram has a wrong size";
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
		if (h->nbuckets[side] > PROM_HISTOGRAM_MAX_BUCKETS || h->nspans[side] > PROM_HISTOGRAM_MAX_BUCKETS)
			return "histogram has too many buckets or spans";
	if (h->nbuckets[PROM_POSITIVE] + h->nbuckets[PROM_NEGATIVE] > PROM_HISTOGRAM_MAX_BUCKETS ||
		h->nspans[PROM_POSITIVE] + h->nspans[PROM_NEGATIVE] > PROM_HISTOGRAM_MAX_BUCKETS ||
		h->ncustom > PROM_HISTOGRAM_MAX_BUCKETS)
		return "histogram has too many buckets or spans";
	if (prom_histogram_size(h->nbuckets[PROM_POSITIVE], h->nbuckets[PROM_NEGATIVE], h->ncustom,
							h->nspans[PROM_POSITIVE], h->nspans[PROM_NEGATIVE]) != size)
		return "histogram has a wrong size";
	if (h->hint > PROM_HINT_GAUGE || h->is_int > 1 || h->read_hint > PROM_HINT_NOT_RESET || h->unused2 != 0)
		return "histogram has an unknown flag";
	return NULL;
}

/* Spans of one side: as many buckets as there are; *end is the index after the last one. */
static const char *
check_spans(const PromHistogram *h, PromHistogramSide side, int64 *end)
{
	const PromHistogramSpan *span = prom_histogram_spans(h, side);
	uint64		buckets = 0;

	*end = 0;
	for (uint32 i = 0; i < h->nspans[side]; i++)
	{
		if (i > 0 && span[i].offset < 0)
			return "histogram has a span whose offset is negative";
		*end += (int64) span[i].offset + span[i].length;
		buckets += span[i].length;
		if (*end > PG_INT32_MAX)
			return "histogram has a bucket whose index is out of range";
	}
	if (buckets != h->nbuckets[side])
		return "histogram spans specify different number of buckets than provided";
	return NULL;
}

static const char *
check_custom(const PromHistogram *h, int64 end)
{
	const double *bound = prom_histogram_custom(h);

	for (uint32 i = 0; i < h->ncustom; i++)
	{
		if (isnan(bound[i]))
			return "histogram custom bounds must not be NaN";
		if (isinf(bound[i]))
			return "histogram custom bounds must be finite";
		if (i > 0 && bound[i] <= bound[i - 1])
			return "histogram custom bounds must be in strictly increasing order";
	}
	if (h->zero_count != 0)
		return "custom buckets: must have zero count of 0";
	if (h->zero_threshold != 0)
		return "custom buckets: must have zero threshold of 0";
	if (h->nspans[PROM_NEGATIVE] > 0)
		return "custom buckets: must not have negative spans";
	if (h->nspans[PROM_POSITIVE] > 0 && prom_histogram_spans(h, PROM_POSITIVE)[0].offset < 0)
		return "histogram has a span whose offset is negative";
	if (end > (int64) h->ncustom + 1)
		return "histogram custom bounds are too few";
	return NULL;
}

const char *
prom_histogram_check_shape(const PromHistogram *h, size_t size)
{
	const char *reason = check_sizes(h, size);
	int64		end[2];

	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE && reason == NULL; side++)
		reason = check_spans(h, (PromHistogramSide) side, &end[side]);
	if (reason)
		return reason;
	if (h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA)
		return check_custom(h, end[PROM_POSITIVE]);
	if (h->schema < PROM_HISTOGRAM_MIN_SCHEMA || h->schema > PROM_HISTOGRAM_MAX_SCHEMA)
		return "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets";
	if (h->ncustom > 0)
		return "histogram with exponential schema must not have custom bounds";
	if (!(h->zero_threshold >= 0 && !isinf(h->zero_threshold)))
		return "histogram has a zero threshold that is negative or not finite";
	return NULL;
}

/* One count; whole, if the histogram is of integers. */
static inline bool
is_count(const PromHistogram *h, double v)
{
	return h->is_int ? v >= 0 && v <= TWO53 && v == floor(v) : v >= 0 && !isinf(v);
}

const char *
prom_histogram_check(const PromHistogram *h, size_t size)
{
	const char *reason = prom_histogram_check_shape(h, size);
	uint32		nbuckets;
	double		total;

	if (reason)
		return reason;
	nbuckets = h->nbuckets[PROM_POSITIVE] + h->nbuckets[PROM_NEGATIVE];
	if (!is_count(h, h->count) || !is_count(h, h->zero_count))
		return "histogram has an observation count that is negative or not finite";
	total = h->zero_count;
	for (uint32 i = 0; i < nbuckets; i++)
	{
		if (!is_count(h, h->d[i]))
			return "histogram has a bucket whose observation count is negative";
		total += h->d[i];
	}
	if (!h->is_int)
		return NULL;
	if (isnan(h->sum) && total > h->count)
		return "histogram's observation count should be at least the number of observations found in the buckets";
	if (!isnan(h->sum) && total != h->count)
		return "histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)";
	return NULL;
}

/*
 * family.c
 *	  Messages io.prometheus.client.MetricFamily, each behind its length: what a scraper of protobuf reads.
 *
 * Lengths are kept five bytes wide until what they are for is written.
 */
#include "c.h"

#include "wire/bits.h"
#include "wire/put.h"
#include "wire/wire.h"

/* Metric */
#define FIELD_LABEL			1
#define FIELD_UNTYPED		5
#define FIELD_TIMESTAMP		6
#define FIELD_HISTOGRAM		7

/* Histogram: fields of a side */
static const struct
{
	uint32		spans;
	uint32		deltas;
	uint32		counts;
}			side_fields[] = {[PROM_POSITIVE] = {12, 13, 14},[PROM_NEGATIVE] = {9, 10, 11}};

size_t
prom_family_begin(PromWireBuffer *out, PromFamilyType type, const char *name, size_t len)
{
	size_t		start;

	put_bytes(out, "\200\200\200\200\0", 5);
	start = out->len;
	put_text(out, 1, name, len);
	put_number(out, 3, type);
	return start;
}

void
prom_family_end(PromWireBuffer *out, size_t start)
{
	put_close(out, start);
}

/* proto2: repeated numbers are not packed. */
static void
put_side(PromWireBuffer *out, const PromHistogram *h, PromHistogramSide side)
{
	const double *bucket = prom_histogram_buckets(h, side);
	int64		before = 0;

	put_histogram_spans(out, side_fields[side].spans, h, side);
	for (uint32 i = 0; i < h->nbuckets[side]; i++)
	{
		if (!h->is_int)
		{
			put_double(out, side_fields[side].counts, bucket[i]);
			continue;
		}
		put_number(out, side_fields[side].deltas, prom_zigzag_encode((int64) bucket[i] - before));
		before = (int64) bucket[i];
	}
}

static void
put_exponential(PromWireBuffer *out, const PromHistogram *h)
{
	put_number(out, 5, (uint32) prom_zigzag_encode(h->schema));
	put_double(out, 6, h->zero_threshold);
	if (h->is_int)
		put_number(out, 7, (uint64) h->zero_count);
	else
		put_double(out, 8, h->zero_count);
	put_side(out, h, PROM_NEGATIVE);
	put_side(out, h, PROM_POSITIVE);
	/* without any span it would be taken for a classic one that has no buckets */
	if (h->nspans[PROM_POSITIVE] + h->nspans[PROM_NEGATIVE] == 0)
	{
		size_t		span = put_open(out, side_fields[PROM_POSITIVE].spans);

		put_number(out, 1, 0);
		put_number(out, 2, 0);
		put_close(out, span);
	}
}

static void
put_custom(PromWireBuffer *out, const PromHistogram *h)
{
	const double *bound = prom_histogram_custom(h);
	PromHistogramWalk walk = prom_histogram_walk(h, PROM_POSITIVE);
	int64		index = -1;
	double		count = 0;
	double		below = 0;
	bool		more = prom_histogram_walk_next(&walk, &index, &count);

	for (uint32 i = 0; i < h->ncustom; i++)
	{
		size_t		start = put_open(out, 3);

		if (more && index == i)
		{
			below += count;
			more = prom_histogram_walk_next(&walk, &index, &count);
		}
		if (h->is_int)
			put_number(out, 1, (uint64) below);
		else
			put_double(out, 4, below);
		put_double(out, 2, bound[i]);
		put_close(out, start);
	}
}

void
prom_family_metric(PromWireBuffer *out, const PromWriteLabel *labels, int nlabels, int64 t_ms, double value,
				   const PromHistogram *h)
{
	size_t		start = put_open(out, 4);
	size_t		inner;

	for (int i = 0; i < nlabels; i++)
		put_label(out, FIELD_LABEL, labels[i].name, labels[i].name_len, labels[i].value, labels[i].value_len);
	inner = put_open(out, h == NULL ? FIELD_UNTYPED : FIELD_HISTOGRAM);
	if (h == NULL)
		put_double(out, 1, value);
	else
	{
		if (h->is_int)
			put_number(out, 1, (uint64) h->count);
		else
			put_double(out, 4, h->count);
		put_double(out, 2, h->sum);
		if (h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA)
			put_custom(out, h);
		else
			put_exponential(out, h);
	}
	put_close(out, inner);
	put_number(out, FIELD_TIMESTAMP, (uint64) t_ms);
	put_close(out, start);
}

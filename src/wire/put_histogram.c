/*
 * put_histogram.c
 *	  A PromHistogram becomes a Histogram message, as remote write 1.0 and remote read have it.
 *
 * The inverse of write_histogram.c: of integers buckets are differences to the bucket before.
 */
#include "c.h"

#include "wire/bits.h"
#include "wire/put.h"
#include "wire/wire.h"

static const struct
{
	uint32		spans;
	uint32		deltas;
	uint32		counts;
}			side_fields[] = {[PROM_POSITIVE] = {11, 12, 13},[PROM_NEGATIVE] = {8, 9, 10}};

static void
put_side(PromWireBuffer *out, const PromHistogram *h, PromHistogramSide side)
{
	const double *bucket = prom_histogram_buckets(h, side);
	size_t		start;
	int64		before = 0;

	put_histogram_spans(out, side_fields[side].spans, h, side);
	if (h->nbuckets[side] == 0)
		return;
	start = put_open(out, h->is_int ? side_fields[side].deltas : side_fields[side].counts);
	for (uint32 i = 0; i < h->nbuckets[side]; i++)
	{
		if (!h->is_int)
		{
			put_fixed64(out, prom_double_bits(bucket[i]));
			continue;
		}
		put_varint(out, prom_zigzag_encode((int64) bucket[i] - before));
		before = (int64) bucket[i];
	}
	put_close(out, start);
}

static void
put_fields(PromWireBuffer *out, int64 t_ms, const PromHistogram *h)
{
	const double *custom = prom_histogram_custom(h);

	if (h->is_int)
		put_number(out, 1, (uint64) h->count);
	else
		put_double(out, 2, h->count);
	put_double(out, 3, h->sum);
	put_number(out, 4, (uint32) prom_zigzag_encode(h->schema));
	put_double(out, 5, h->zero_threshold);
	if (h->is_int)
		put_number(out, 6, (uint64) h->zero_count);
	else
		put_double(out, 7, h->zero_count);
	put_side(out, h, PROM_NEGATIVE);
	put_side(out, h, PROM_POSITIVE);
	put_number(out, 14, h->hint);
	put_number(out, 15, (uint64) t_ms);
	if (h->ncustom > 0)
	{
		put_tag(out, 16, WIRE_BYTES);
		put_varint(out, sizeof(double) * (uint64) h->ncustom);
		for (uint32 i = 0; i < h->ncustom; i++)
			put_fixed64(out, prom_double_bits(custom[i]));
	}
}

void
prom_wire_put_histogram(PromWireBuffer *out, uint32 number, int64 t_ms, const PromHistogram *h)
{
	size_t		start = put_open(out, number);

	put_fields(out, t_ms, h);
	put_close(out, start);
}

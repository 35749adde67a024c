/*
 * tsdb_histogram.c
 *	  Prometheus' chunks of native histograms, of integers and of floats.
 *
 * uint16 number of samples, a byte whose top two bits are the counter's reset hint, and then a stream of
 * bits: the layout that all of the chunk have, and the samples.
 *
 *	layout: zero threshold | schema | spans positive | spans negative | custom bounds, if the schema has them
 *	sample: time | count | zero count | sum | buckets positive | buckets negative
 *
 * Integers are numbers of varying size: those of the first sample as they are, of others how much their distance to
 * the one before has changed; buckets are differences to the bucket before.  Floats, and the sum of both
 * kinds, are the XOR with the one before (xor.c), each with a window of its own.  Of a stale marker only time,
 * counts and sum are there.
 *
 * Prometheus may also add buckets to a chunk, by writing all of it anew; here they begin a new chunk.
 */
#include "c.h"

#include <math.h>

#include "wire/bits.h"
#include "wire/wire.h"

#define HEAD_BYTES		3
#define TWO53			(INT64CONST(1) << 53)
#define STALE_BITS		UINT64CONST(0x7FF0000000000002)

/* Widths of numbers of varying size, by the ones in front. */
static const int widths[] = {0, 3, 6, 9, 12, 18, 25, 56, 64};

/* Of an integer: its value, and its distance to the one before. */
typedef struct Number
{
	uint64		value;
	uint64		distance;
} Number;

/* ---- numbers ---- */

static int64
get_signed(Bits *b)
{
	int			ones = bits_ones(b, 8);

	return ones == 0 ? 0 : bits_signed(b, widths[ones]);
}

static uint64
get_unsigned(Bits *b)
{
	return bits_get(b, widths[bits_ones(b, 8)]);
}

static void
put_prefix(BitWriter *w, int ones)
{
	if (ones == 8)
		put_bits(w, 0xff, 8);
	else
		put_bits(w, (UINT64CONST(1) << (ones + 1)) - 2, ones + 1);
}

static void
put_signed(BitWriter *w, int64 v)
{
	int			ones = 0;

	if (v != 0)
		for (ones = 1; ones < 8 && !fits_signed(v, widths[ones]);)
			ones++;
	put_prefix(w, ones);
	put_bits(w, (uint64) v, widths[ones]);
}

static void
put_unsigned(BitWriter *w, uint64 v)
{
	int			ones = 0;

	while (ones < 8 && v >> widths[ones] != 0)
		ones++;
	put_prefix(w, ones);
	put_bits(w, v, widths[ones]);
}

/* ---- layout ---- */

static double
get_threshold(Bits *b)
{
	uint32		code = bits_few(b, 8);

	if (code == 0)
		return 0;
	return code == 255 ? value_of_bits(bits_get(b, 64)) : ldexp(1, (int) code - 244);
}

static void
put_threshold(BitWriter *w, double threshold)
{
	int			exponent;

	if (value_bits(threshold) == 0)
		put_bits(w, 0, 8);
	else if (frexp(threshold, &exponent) == 0.5 && exponent >= -242 && exponent <= 11)
		put_bits(w, (uint64) (exponent + 243), 8);
	else
	{
		put_bits(w, 255, 8);
		put_bits(w, value_bits(threshold), 64);
	}
}

/* A bound in thousandths, if it is a whole number of them that is short. */
static void
put_bound(BitWriter *w, double bound)
{
	double		thousandths = bound * 1000;

	if (thousandths >= 0 && thousandths <= 33554430 && thousandths == floor(thousandths) &&
		value_bits(thousandths / 1000) == value_bits(bound))
		put_unsigned(w, (uint64) thousandths + 1);
	else
	{
		put_bits(w, 0, 1);
		put_bits(w, value_bits(bound), 64);
	}
}

static double
get_bound(Bits *b)
{
	uint64		code = get_unsigned(b);

	return code == 0 ? value_of_bits(bits_get(b, 64)) : (double) (code - 1) / 1000;
}

static bool
fail(PromTsdbHistograms *w, const char *reason, PromWireError *err)
{
	err->reason = reason;
	err->offset = w->bits_at - w->data;
	return false;
}

/* The spans of one side, the first PROM_HISTOGRAM_MAX_BUCKETS of them or fewer; false: more, or more buckets. */
static bool
get_spans(Bits *b, PromTsdbHistograms *w, PromHistogramSide side, PromHistogramAlloc alloc)
{
	uint64		n = get_unsigned(b);
	uint64		buckets = 0;

	/* each takes two bits at least */
	if (b->bad || n > PROM_HISTOGRAM_MAX_BUCKETS || n > w->len * 4)
		return false;
	w->nspans[side] = (uint32) n;
	w->spans[side] = alloc(sizeof(PromHistogramSpan) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		uint64		length = get_unsigned(b);
		int64		offset = get_signed(b);

		buckets += Min(length, PROM_HISTOGRAM_MAX_BUCKETS + 1);
		if (buckets > PROM_HISTOGRAM_MAX_BUCKETS || offset < PG_INT32_MIN || offset > PG_INT32_MAX)
			return false;
		w->spans[side][i].length = (uint32) length;
		w->spans[side][i].offset = (int32) offset;
	}
	w->nbuckets[side] = (uint32) buckets;
	return true;
}

bool
prom_tsdb_histograms_begin(PromTsdbHistograms *w, const void *data, size_t len, bool is_float, PromHistogramAlloc alloc,
						   PromWireError *err)
{
	static const PromHint hints[] = {PROM_HINT_UNKNOWN, PROM_HINT_NOT_RESET, PROM_HINT_RESET, PROM_HINT_GAUGE};
	Bits		b = bits_begin(data, len);
	int64		schema;

	memset(w, 0, sizeof(*w));
	w->data = w->bits_at = data;
	w->len = len;
	w->is_float = is_float;
	w->n = (int) bits_few(&b, 16);
	w->hint = hints[bits_few(&b, 8) >> 6];
	w->zero_threshold = get_threshold(&b);
	schema = get_signed(&b);
	if (b.bad || schema < PG_INT8_MIN || schema > PG_INT8_MAX)
		return fail(w, "head of a histogram chunk is malformed", err);
	w->schema = (int32) schema;
	if (!get_spans(&b, w, PROM_POSITIVE, alloc) || !get_spans(&b, w, PROM_NEGATIVE, alloc))
		return fail(w, "spans of a histogram chunk are malformed, or too many", err);
	if (schema == PROM_HISTOGRAM_CUSTOM_SCHEMA)
	{
		uint64		n = get_unsigned(&b);

		if (b.bad || n > PROM_HISTOGRAM_MAX_BUCKETS)
			return fail(w, "custom bounds of a histogram chunk are malformed, or too many", err);
		w->ncustom = (uint32) n;
		w->custom = alloc(sizeof(double) * Max(n, 1));
		for (uint64 i = 0; i < n; i++)
			w->custom[i] = get_bound(&b);
	}
	if (b.bad)
		return fail(w, "histogram chunk is cut off", err);
	w->state = alloc((sizeof(Number) + sizeof(XorValue)) * (w->nbuckets[0] + w->nbuckets[1] + 4));
	w->bits_at = b.at;
	w->held = b.held;
	w->nheld = b.n;
	return true;
}

/* ---- samples ---- */

/* The next value of an integer; "first": as it is. */
static int64
next_integer(Bits *b, Number *x, bool first, bool is_signed)
{
	if (first)
	{
		x->value = is_signed ? (uint64) get_signed(b) : get_unsigned(b);
		x->distance = 0;
	}
	else
	{
		x->distance += (uint64) get_signed(b);
		x->value += x->distance;
	}
	return (int64) x->value;
}

static double
next_float(Bits *b, XorValue *x, bool first)
{
	if (!first)
		return prom_xor_get(b, x);
	x->bits = bits_get(b, 64);
	x->leading = NO_WINDOW;
	return value_of_bits(x->bits);
}

static void
set_layout(const PromTsdbHistograms *w, PromHistogram *h)
{
	h->size = (uint32) prom_tsdb_histogram_size(w);
	h->zero_threshold = w->zero_threshold;
	h->ncustom = w->ncustom;
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
	{
		h->nbuckets[side] = w->nbuckets[side];
		h->nspans[side] = w->nspans[side];
	}
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
		memcpy(prom_histogram_spans(h, (PromHistogramSide) side), w->spans[side],
			   sizeof(PromHistogramSpan) * w->nspans[side]);
	if (w->ncustom > 0)
		memcpy(prom_histogram_custom(h), w->custom, sizeof(double) * w->ncustom);
}

size_t
prom_tsdb_histogram_size(const PromTsdbHistograms *w)
{
	return prom_histogram_size(w->nbuckets[0], w->nbuckets[1], w->ncustom, w->nspans[0], w->nspans[1]);
}

bool
prom_tsdb_histograms_next(PromTsdbHistograms *w, int64 *t_ms, PromHistogram *h, bool *stale, PromWireError *err)
{
	Bits		b = {w->bits_at, w->data + w->len, w->held, w->nheld, false};
	bool		first = w->done == 0;
	uint32		nbuckets = w->nbuckets[0] + w->nbuckets[1];
	Number	   *numbers = w->state;
	XorValue   *floats = (XorValue *) (numbers + nbuckets + 4);
	uint64		counts[2];		/* count, zero count */
	bool		exact = true;
	const char *reason = NULL;

	memset(h, 0, prom_tsdb_histogram_size(w));
	set_layout(w, h);
	*t_ms = next_integer(&b, &numbers[0], first, true);
	if (w->is_float)
	{
		h->count = next_float(&b, &floats[0], first);
		h->zero_count = next_float(&b, &floats[1], first);
	}
	else
	{
		for (int i = 0; i < 2; i++)
		{
			counts[i] = (uint64) next_integer(&b, &numbers[1 + i], first, false);
			exact &= counts[i] <= TWO53;
		}
		h->count = (double) counts[0];
		h->zero_count = (double) counts[1];
	}
	h->sum = next_float(&b, &floats[2], first);
	*stale = value_bits(h->sum) == STALE_BITS;
	for (uint32 i = 0; i < nbuckets && (!*stale || first); i++)
	{
		double	   *bucket = &prom_histogram_buckets(h, PROM_POSITIVE)[i];

		if (w->is_float)
			*bucket = next_float(&b, &floats[3 + i], first);
		else
		{
			int64		v = next_integer(&b, &numbers[3 + i], first, true);
			int64		before = i == 0 || i == w->nbuckets[PROM_POSITIVE] ? 0 : w->bucket;

			w->bucket = (int64) ((uint64) before + (uint64) v);
			exact &= w->bucket <= TWO53;
			*bucket = (double) w->bucket;
		}
	}
	w->bits_at = b.at;
	w->held = b.held;
	w->nheld = b.n;
	w->done++;
	if (b.bad)
		return fail(w, "samples of a histogram chunk are cut off or malformed", err);
	h->is_int = !w->is_float && exact;
	h->hint = (uint8) (w->hint == PROM_HINT_GAUGE ? PROM_HINT_GAUGE :
					   w->hint == PROM_HINT_RESET && first ? PROM_HINT_RESET : PROM_HINT_UNKNOWN);
	if (!*stale)
		reason = prom_wire_finish_histogram(h, w->schema);
	return reason ? fail(w, reason, err) : true;
}

/* ---- writing ---- */

size_t
prom_tsdb_histograms_room(int n, const PromHistogram *h)
{
	size_t		fields = 4 + (size_t) h->nbuckets[0] + h->nbuckets[1];

	return HEAD_BYTES + 64 + ((size_t) h->nspans[0] + h->nspans[1]) * 18 + (size_t) h->ncustom * 9 + (size_t) n * fields * 10;
}

static void
put_layout(BitWriter *w, const PromHistogram *h)
{
	put_threshold(w, h->zero_threshold);
	put_signed(w, h->schema);
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
	{
		const PromHistogramSpan *span = prom_histogram_spans(h, (PromHistogramSide) side);

		put_unsigned(w, h->nspans[side]);
		for (uint32 i = 0; i < h->nspans[side]; i++)
		{
			put_unsigned(w, span[i].length);
			put_signed(w, span[i].offset);
		}
	}
	if (h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA)
	{
		put_unsigned(w, h->ncustom);
		for (uint32 i = 0; i < h->ncustom; i++)
			put_bound(w, prom_histogram_custom(h)[i]);
	}
}

static void
put_integer(BitWriter *w, Number *x, int64 v, bool first, bool is_signed)
{
	uint64		distance = (uint64) v - x->value;

	if (!first)
		put_signed(w, (int64) (distance - x->distance));
	else if (is_signed)
		put_signed(w, v);
	else
		put_unsigned(w, (uint64) v);
	x->distance = first ? 0 : distance;
	x->value = (uint64) v;
}

static void
put_float(BitWriter *w, XorValue *x, double v, bool first)
{
	if (!first)
	{
		prom_xor_put(w, x, v);
		return;
	}
	x->bits = value_bits(v);
	x->leading = NO_WINDOW;
	put_bits(w, x->bits, 64);
}

size_t
prom_tsdb_histograms_encode(uint8 *out, int n, const int64 *t_ms, const PromHistogram *const *histograms,
							PromHistogramAlloc alloc)
{
	static const uint8 flags[] = {0x00, 0x80, 0x40, 0xc0};	/* by PromHint */
	const PromHistogram *layout = histograms[0];
	uint32		nbuckets = layout->nbuckets[0] + layout->nbuckets[1];
	Number	   *numbers = alloc((sizeof(Number) + sizeof(XorValue)) * (nbuckets + 4));
	XorValue   *floats = (XorValue *) (numbers + nbuckets + 4);
	BitWriter	w = bit_writer(out);

	memset(numbers, 0, (sizeof(Number) + sizeof(XorValue)) * (nbuckets + 4));
	put_bits(&w, (uint64) n, 16);
	put_bits(&w, flags[layout->hint], 8);
	put_layout(&w, layout);
	for (int i = 0; i < n; i++)
	{
		const PromHistogram *h = histograms[i];
		const double *bucket = prom_histogram_buckets(h, PROM_POSITIVE);
		bool		first = i == 0;

		put_integer(&w, &numbers[0], t_ms[i], first, true);
		if (layout->is_int)
		{
			put_integer(&w, &numbers[1], (int64) h->count, first, false);
			put_integer(&w, &numbers[2], (int64) h->zero_count, first, false);
		}
		else
		{
			put_float(&w, &floats[0], h->count, first);
			put_float(&w, &floats[1], h->zero_count, first);
		}
		put_float(&w, &floats[2], h->sum, first);
		for (uint32 k = 0; k < nbuckets; k++)
		{
			double		before = k == 0 || k == layout->nbuckets[PROM_POSITIVE] ? 0 : bucket[k - 1];

			if (layout->is_int)
				put_integer(&w, &numbers[3 + k], (int64) bucket[k] - (int64) before, first, true);
			else
				put_float(&w, &floats[3 + k], bucket[k], first);
		}
	}
	return bit_writer_end(&w) - out;
}

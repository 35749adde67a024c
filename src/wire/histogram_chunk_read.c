/*
 * histogram_chunk_read.c
 *	  Prometheus' chunks of native histograms, read; histogram_chunk.c draws them.
 *
 * What others wrote may have integers that no double has; those histograms become ones of floats.  Of a
 * stale marker that is not the first sample of its chunk only time, counts and sum are there.
 */
#include "c.h"

#include <math.h>

#include "wire/bits.h"
#include "wire/error.h"
#include "wire/wire.h"

#define TWO53			(INT64CONST(1) << 53)

/* Widths of numbers of varying size, by the ones in front. */
static const int widths[] = {0, 3, 6, 9, 12, 18, 25, 56, 64};

/* A number that samples have, and what is to be known of it for the next one. */
typedef struct Column
{
	uint64		last;			/* bits, of floats */
	uint64		change;
	BitWindow	window;
} Column;

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

/* ---- layout ---- */

static double
get_threshold(Bits *b)
{
	uint32		code = bits_few(b, 8);

	if (code == 0)
		return 0;
	return code == 255 ? prom_bits_double(bits_get(b, 64)) : ldexp(1, (int) code - 244);
}

static double
get_bound(Bits *b)
{
	uint64		code = get_unsigned(b);

	return code == 0 ? prom_bits_double(bits_get(b, 64)) : (double) (code - 1) / 1000;
}

static bool
fail(PromHistogramChunk *w, const char *reason, PromWireError *err)
{
	return wire_fail(err, reason, w->bits_at - w->data);
}

/* The spans of one side, the first PROM_HISTOGRAM_MAX_BUCKETS of them or fewer; false: more, or more buckets. */
static bool
get_spans(Bits *b, PromHistogramChunk *w, PromHistogramSide side, PromHistogramAlloc alloc)
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
prom_histogram_chunk_begin(PromHistogramChunk *w, const void *data, size_t len, bool is_float, PromHistogramAlloc alloc,
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
	w->columns = alloc(sizeof(Column) * (w->nbuckets[0] + w->nbuckets[1] + 4));
	memset(w->columns, 0, sizeof(Column) * (w->nbuckets[0] + w->nbuckets[1] + 4));
	w->bits_at = b.at;
	w->held = b.held;
	w->nheld = b.n;
	return true;
}

/* ---- samples ---- */

/* The next value of an integer; "first": as it is. */
static int64
next_integer(Bits *b, Column *c, bool first, bool is_signed)
{
	if (first)
		c->last = is_signed ? (uint64) get_signed(b) : get_unsigned(b);
	else
	{
		c->change += (uint64) get_signed(b);
		c->last += c->change;
	}
	return (int64) c->last;
}

static double
next_float(Bits *b, Column *c, bool first)
{
	if (first)
	{
		c->last = bits_get(b, 64);
		c->window = NO_BIT_WINDOW;
	}
	else
		c->last ^= get_xor(b, &c->window);
	return prom_bits_double(c->last);
}

static void
set_layout(const PromHistogramChunk *w, PromHistogram *h)
{
	h->size = (uint32) prom_histogram_chunk_size(w);
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
prom_histogram_chunk_size(const PromHistogramChunk *w)
{
	return prom_histogram_size(w->nbuckets[0], w->nbuckets[1], w->ncustom, w->nspans[0], w->nspans[1]);
}

bool
prom_histogram_chunk_next(PromHistogramChunk *w, int64 *t_ms, PromHistogram *h, bool *stale, PromWireError *err)
{
	Bits		b = {w->bits_at, w->data + w->len, w->held, w->nheld, false};
	bool		first = w->done == 0;
	uint32		nbuckets = w->nbuckets[0] + w->nbuckets[1];
	Column	   *column = w->columns;	/* time, count, zero count, sum, buckets */
	uint64		counts[2];		/* count, zero count */
	bool		exact = true;
	const char *reason = NULL;

	memset(h, 0, prom_histogram_chunk_size(w));
	set_layout(w, h);
	*t_ms = next_integer(&b, &column[0], first, true);
	if (w->is_float)
	{
		h->count = next_float(&b, &column[1], first);
		h->zero_count = next_float(&b, &column[2], first);
	}
	else
	{
		for (int i = 0; i < 2; i++)
		{
			counts[i] = (uint64) next_integer(&b, &column[1 + i], first, false);
			exact &= counts[i] <= TWO53;
		}
		h->count = (double) counts[0];
		h->zero_count = (double) counts[1];
	}
	h->sum = next_float(&b, &column[3], first);
	*stale = prom_is_stale(h->sum);
	for (uint32 i = 0; i < nbuckets && (!*stale || first); i++)
	{
		double	   *bucket = &prom_histogram_buckets(h, PROM_POSITIVE)[i];

		if (w->is_float)
			*bucket = next_float(&b, &column[4 + i], first);
		else
		{
			int64		v = next_integer(&b, &column[4 + i], first, true);
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

/*
 * histogram_chunk.c
 *	  Prometheus' chunks of native histograms: what remote read streams and blocks hold.
 *
 *	+----------------+-------+----------------+--------+-------+-------+---------+------------------
 *	| samples uint16 | flags | zero threshold | schema | spans | spans | customs | samples, bit by bit ...
 *	+----------------+-------+----------------+--------+-------+-------+---------+------------------
 *
 * The two high bits of the flags say what was before: 10 the counter was reset, 01 it was not, 00 nobody knows;
 * 11 says that these are gauges.  The zero threshold is a byte: 0; 1 .. 254 for 2^(byte - 244); 255, and the
 * float64 follows.  Each list of spans is a number and pairs of length and offset.  Custom bounds are there
 * for their schema only: a number, then each in thousandths plus 1 if that gives it back bit by bit, else
 * a 0 bit and the float64.
 *
 * All samples of a chunk have the buckets that the head tells; so the head has those of all samples, and
 * a sample that lacks one has 0 there.
 *
 * Numbers, unless they are uint16 or float64, are "varbits": as many 1 bits as it takes, a 0 bit, and the number:
 *
 *		0 alone is 0; 10: 3 bits; 110: 6; 1110: 9; 11110: 12; 111110: 18; 1111110: 25; 11111110: 56; 11111111: 64
 *
 * Samples of integers (encoding 2) are time, count, zero count, sum, and the buckets, each as its difference to
 * the bucket before.  All but the sum are varbits: of the first sample themselves, of the second the change
 * since the first, then the change of the change.  The sum is a float64, and then as in xor.c.
 *
 * Samples of floats (encoding 3) have the same time; the rest are absolute and as in xor.c, each in a
 * column of its own.
 */
#include "c.h"

#include <math.h>

#include "wire/bits.h"
#include "wire/put.h"
#include "wire/wire.h"

#define FLAG_RESET		0x80
#define FLAG_NOT_RESET	0x40
#define FLAG_GAUGE		0xc0

#define THRESHOLD_BIAS	244
#define THRESHOLD_RAW	255

/* A custom bound of so many thousandths is written as such. */
#define MAX_THOUSANDTHS 33554430.0

/* Bytes that a varbit, or a value as in xor.c, takes at most. */
#define NUMBER_ROOM		10

/* A side's buckets, those of all samples. */
typedef struct Side
{
	int64	   *index;			/* ascending */
	int			n;
} Side;

/* A number that samples have, and what is to be known of it for the next one. */
typedef struct Column
{
	uint64		last;			/* bits, of floats */
	uint64		change;
	BitWindow	window;
} Column;

typedef struct Encoder
{
	PromWireBuffer *out;
	BitWriter	w;
	Side		side[2];		/* by PromHistogramSide */
	bool		is_int;
	Column		t;
	Column		sum;
	Column		count;
	Column		zero_count;
	Column	   *bucket;			/* those of both sides */
} Encoder;

/* ---- numbers ---- */

static const int varbit_widths[] = {3, 6, 9, 12, 18, 25, 56, 64};

/* The number of width i. */
static void
put_varbit(BitWriter *w, uint64 v, int i)
{
	/* i + 1 ones, and a zero unless all eight are */
	put_bits(w, i == 7 ? 0xff : (UINT64CONST(1) << (i + 2)) - 2, Min(i + 2, 8));
	put_bits(w, v, varbit_widths[i]);
}

static void
put_signed(BitWriter *w, int64 v)
{
	int			i = 0;

	if (v == 0)
	{
		put_bits(w, 0, 1);
		return;
	}
	while (i < 7 && !fits_bits(v, varbit_widths[i]))
		i++;
	put_varbit(w, (uint64) v, i);
}

static void
put_unsigned(BitWriter *w, uint64 v)
{
	int			i = 0;

	if (v == 0)
	{
		put_bits(w, 0, 1);
		return;
	}
	while (prom_bit_length(v) > varbit_widths[i])
		i++;
	put_varbit(w, v, i);
}

/* ---- which samples, and which buckets they have ---- */

/* Adds the sample's buckets to those of the side; false if they would be too many. */
static bool
add_buckets(PromHistogramAlloc alloc, Side *s, const PromHistogram *h, PromHistogramSide side)
{
	PromHistogramWalk w = prom_histogram_walk(h, side);
	int64		index;
	double		count;
	int			at = 0;
	int			missing = 0;
	Side		all;

	while (prom_histogram_walk_next(&w, &index, &count))
	{
		while (at < s->n && s->index[at] < index)
			at++;
		missing += at == s->n || s->index[at] != index;
	}
	if (missing == 0)
		return true;
	if (s->n + missing > PROM_HISTOGRAM_MAX_BUCKETS)
		return false;
	all = (Side) {alloc(sizeof(int64) * (s->n + missing)), 0};
	w = prom_histogram_walk(h, side);
	at = 0;
	while (prom_histogram_walk_next(&w, &index, &count))
	{
		while (at < s->n && s->index[at] < index)
			all.index[all.n++] = s->index[at++];
		if (at < s->n && s->index[at] == index)
			at++;
		all.index[all.n++] = index;
	}
	while (at < s->n)
		all.index[all.n++] = s->index[at++];
	*s = all;
	return true;
}

/* How many of the samples can be in one chunk. */
static int
collect_run(PromHistogramAlloc alloc, Side side[2], int n, const PromHistogram *const *h)
{
	bool		gauge = h[0]->hint == PROM_HINT_GAUGE;
	int			run = 0;

	while (run < Min(n, PROM_XOR_SAMPLES) && h[run] != NULL)
	{
		Side		wider[2] = {side[0], side[1]};

		if (run > 0 && !(gauge ? prom_histogram_same_kind(h[run - 1], h[run]) :
						 prom_histogram_continues(h[run - 1], h[run])))
			break;
		if (!add_buckets(alloc, &wider[PROM_POSITIVE], h[run], PROM_POSITIVE) ||
			!add_buckets(alloc, &wider[PROM_NEGATIVE], h[run], PROM_NEGATIVE))
			break;
		memcpy(side, wider, sizeof(wider));
		run++;
	}
	return run;
}

/* ---- the head ---- */

/* Makes room for so many numbers. */
static bool
begin_numbers(Encoder *e, size_t numbers)
{
	size_t		at = e->out->len - 1;

	if (!put_room(e->out, numbers * NUMBER_ROOM + 2))
		return false;
	e->w.at = e->out->data + at;
	return true;
}

static void
end_numbers(Encoder *e)
{
	e->out->len = e->w.at - e->out->data + 1;
}

static uint8
flags_of(const PromHistogram *h)
{
	switch (h->hint)
	{
		case PROM_HINT_RESET:
			return FLAG_RESET;
		case PROM_HINT_NOT_RESET:
			return FLAG_NOT_RESET;
		case PROM_HINT_GAUGE:
			return FLAG_GAUGE;
	}
	return 0;
}

static void
put_threshold(BitWriter *w, double threshold)
{
	int			exponent;

	if (threshold == 0)
	{
		put_bits(w, 0, 8);
		return;
	}
	if (frexp(threshold, &exponent) == 0.5 && exponent - 1 >= 1 - THRESHOLD_BIAS &&
		exponent - 1 < THRESHOLD_RAW - THRESHOLD_BIAS)
	{
		put_bits(w, (uint64) (exponent - 1 + THRESHOLD_BIAS), 8);
		return;
	}
	put_bits(w, THRESHOLD_RAW, 8);
	put_bits(w, prom_double_bits(threshold), 64);
}

static bool
begins_span(const Side *s, int i)
{
	return i == 0 || s->index[i] != s->index[i - 1] + 1;
}

static void
put_spans(BitWriter *w, const Side *s)
{
	uint64		spans = 0;
	int64		end = 0;

	for (int i = 0; i < s->n; i++)
		spans += begins_span(s, i);
	put_unsigned(w, spans);
	for (int i = 0; i < s->n;)
	{
		int			length = 1;

		while (i + length < s->n && !begins_span(s, i + length))
			length++;
		put_unsigned(w, (uint64) length);
		put_signed(w, s->index[i] - end);
		i += length;
		end = s->index[i - 1] + 1;
	}
}

static void
put_customs(BitWriter *w, const PromHistogram *h)
{
	const double *bound = prom_histogram_custom(h);

	put_unsigned(w, h->ncustom);
	for (uint32 i = 0; i < h->ncustom; i++)
	{
		double		thousandths = rint(bound[i] * 1000);

		if (thousandths >= 0 && thousandths <= MAX_THOUSANDTHS &&
			prom_double_bits(thousandths / 1000) == prom_double_bits(bound[i]))
			put_unsigned(w, (uint64) thousandths + 1);
		else
		{
			put_bits(w, 0, 1);
			put_bits(w, prom_double_bits(bound[i]), 64);
		}
	}
}

/* All up to the first sample; the number of samples is left for the end. */
static bool
put_head_of(Encoder *e, const PromHistogram *h)
{
	uint8		head[4] = {0, 0, flags_of(h), 0};

	put_bytes(e->out, head, sizeof(head));
	e->w.free = 8;
	if (e->out->full ||
		!begin_numbers(e, 5 + 2 * ((size_t) e->side[0].n + e->side[1].n) + h->ncustom))
		return false;
	put_threshold(&e->w, h->zero_threshold);
	put_signed(&e->w, h->schema);
	put_spans(&e->w, &e->side[PROM_POSITIVE]);
	put_spans(&e->w, &e->side[PROM_NEGATIVE]);
	if (h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA)
		put_customs(&e->w, h);
	end_numbers(e);
	return true;
}

/* ---- samples ---- */

/* A whole number; of all but the first sample the change of its change. */
static void
put_whole(BitWriter *w, Column *c, uint64 v, bool first)
{
	uint64		change = v - c->last;

	if (first)
		put_signed(w, (int64) v);
	else
	{
		put_signed(w, (int64) (change - c->change));
		c->change = change;
	}
	c->last = v;
}

/* The first of a count is written without a sign. */
static void
put_count(BitWriter *w, Column *c, double v, bool first)
{
	if (!first)
	{
		put_whole(w, c, (uint64) v, false);
		return;
	}
	put_unsigned(w, (uint64) v);
	c->last = (uint64) v;
}

static void
put_float(BitWriter *w, Column *c, double v, bool first)
{
	uint64		bits = prom_double_bits(v);

	if (first)
	{
		put_bits(w, bits, 64);
		c->window = NO_BIT_WINDOW;
	}
	else
		put_xor(w, bits ^ c->last, &c->window);
	c->last = bits;
}

/* The buckets of a side, with 0 where the sample has none. */
static Column *
put_side(Encoder *e, const PromHistogram *h, PromHistogramSide side, Column *column, bool first)
{
	const Side *s = &e->side[side];
	PromHistogramWalk walk = prom_histogram_walk(h, side);
	int64		index = -1;
	double		count = 0;
	bool		more = prom_histogram_walk_next(&walk, &index, &count);
	int64		before = 0;

	for (int i = 0; i < s->n; i++, column++)
	{
		double		v = 0;

		if (more && index == s->index[i])
		{
			v = count;
			more = prom_histogram_walk_next(&walk, &index, &count);
		}
		if (e->is_int)
		{
			put_whole(&e->w, column, (uint64) ((int64) v - before), first);
			before = (int64) v;
		}
		else
			put_float(&e->w, column, v, first);
	}
	return column;
}

static bool
put_sample(Encoder *e, int64 t_ms, const PromHistogram *h, bool first)
{
	Column	   *column;

	if (!begin_numbers(e, 4 + (size_t) e->side[0].n + e->side[1].n))
		return false;
	put_whole(&e->w, &e->t, (uint64) t_ms, first);
	if (e->is_int)
	{
		put_count(&e->w, &e->count, h->count, first);
		put_count(&e->w, &e->zero_count, h->zero_count, first);
	}
	else
	{
		put_float(&e->w, &e->count, h->count, first);
		put_float(&e->w, &e->zero_count, h->zero_count, first);
	}
	put_float(&e->w, &e->sum, h->sum, first);
	column = put_side(e, h, PROM_POSITIVE, e->bucket, first);
	(void) put_side(e, h, PROM_NEGATIVE, column, first);
	end_numbers(e);
	return true;
}

int
prom_histogram_chunk_encode(PromWireBuffer *out, PromHistogramAlloc alloc, int n, const int64 *t_ms,
							const PromHistogram *const *h, PromChunkEncoding *encoding)
{
	Encoder		e = {.out = out, .is_int = h[0]->is_int};
	size_t		start = out->len;
	size_t		nbuckets;
	int			run = collect_run(alloc, e.side, n, h);
	int			done = 0;

	*encoding = e.is_int ? PROM_CHUNK_HISTOGRAM : PROM_CHUNK_FLOAT_HISTOGRAM;
	nbuckets = (size_t) e.side[0].n + e.side[1].n;
	e.bucket = alloc(sizeof(Column) * (nbuckets + 1));
	memset(e.bucket, 0, sizeof(Column) * (nbuckets + 1));
	if (!put_head_of(&e, h[0]))
		return run;
	while (done < run && (done == 0 || out->len - start < PROM_HISTOGRAM_CHUNK_BYTES))
	{
		if (!put_sample(&e, t_ms[done], h[done], done == 0))
			return run;
		done++;
	}
	if (e.w.free == 8)
		out->len--;
	out->data[start] = (uint8) (done >> 8);
	out->data[start + 1] = (uint8) done;
	return done;
}

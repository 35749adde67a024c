/*
 * bits.h
 *	  Streams of bits, the most significant first, as Prometheus' chunks are.  Private to this room.
 *
 * Numbers of varying size have a prefix of ones that says which of a list of widths follows; a field of k bits of
 * a signed one holds -(2^(k-1) - 1) .. 2^(k-1).
 */
#ifndef PROM_BITS_H
#define PROM_BITS_H

#include "c.h"

#include "common/bytes.h"

/* ---- reading ---- */

/* As PromBytes: past the end it is bad and stays so, and gives zeros. */
typedef struct Bits
{
	const uint8 *at;
	const uint8 *end;
	uint64		held;			/* bits that were taken from the bytes, the next one on top; zeros below them */
	int			n;				/* of them */
	bool		bad;
} Bits;

static inline Bits
bits_begin(const void *data, size_t len)
{
	Bits		b = {(const uint8 *) data, (const uint8 *) data + len, 0, 0, false};

	return b;
}

/* At most 32 of them. */
static inline uint32
bits_few(Bits *b, int n)
{
	uint32		v;

	if (n == 0)
		return 0;
	while (b->n < n)
	{
		if (b->at >= b->end)
		{
			b->bad = true;
			b->n = 0;
			b->held = 0;
			return 0;
		}
		b->held |= (uint64) *b->at++ << (56 - b->n);
		b->n += 8;
	}
	v = (uint32) (b->held >> (64 - n));
	b->held <<= n;
	b->n -= n;
	return v;
}

static inline uint64
bits_get(Bits *b, int n)
{
	uint64		high;

	if (n <= 32)
		return bits_few(b, n);
	high = bits_few(b, n - 32);
	return high << 32 | bits_few(b, 32);
}

/* LEB128 among the bits. */
static inline uint64
bits_varint(Bits *b)
{
	uint64		v = 0;

	for (int shift = 0; shift < 70; shift += 7)
	{
		uint32		c = bits_few(b, 8);

		if (b->bad || (shift == 63 && c > 1))
			break;
		v |= (uint64) (c & 0x7f) << shift;
		if (c < 0x80)
			return v;
	}
	b->bad = true;
	return 0;
}

/* Ones up to the first zero, which is taken, too; at most so many ones. */
static inline int
bits_ones(Bits *b, int most)
{
	int			n = 0;

	while (n < most && bits_few(b, 1) == 1)
		n++;
	return n;
}

/* A field of a signed number, of so many bits. */
static inline int64
bits_signed(Bits *b, int width)
{
	uint64		v = bits_get(b, width);

	if (width < 64 && v > UINT64CONST(1) << (width - 1))
		v -= UINT64CONST(1) << width;
	return (int64) v;
}

/* ---- writing; there must be room for a byte more than what is written ---- */

typedef struct BitWriter
{
	uint8	   *at;				/* the byte that has room */
	int			free;			/* bits of it */
} BitWriter;

static inline BitWriter
bit_writer(uint8 *out)
{
	BitWriter	w = {out, 8};

	*out = 0;
	return w;
}

static inline uint8 *
bit_writer_end(const BitWriter *w)
{
	return w->at + (w->free < 8 ? 1 : 0);
}

static inline void
put_bits(BitWriter *w, uint64 v, int n)
{
	while (n > 0)
	{
		int			take = Min(n, w->free);

		*w->at |= (uint8) (((v >> (n - take)) & ((1 << take) - 1)) << (w->free - take));
		n -= take;
		w->free -= take;
		if (w->free == 0)
		{
			*++w->at = 0;
			w->free = 8;
		}
	}
}

static inline bool
fits_signed(int64 v, int bits)
{
	return v >= -((INT64CONST(1) << (bits - 1)) - 1) && v <= INT64CONST(1) << (bits - 1);
}

/* ---- values: each as its XOR with the one before; see xor.c ---- */

typedef struct XorValue
{
	uint64		bits;			/* of the value before */
	uint8		leading;		/* of the window used last; none yet: NO_WINDOW */
	uint8		trailing;
} XorValue;

#define NO_WINDOW 0xff

static inline uint64
value_bits(double v)
{
	uint64		bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static inline double
value_of_bits(uint64 bits)
{
	double		v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

extern void prom_xor_put(BitWriter *w, XorValue *x, double value);
extern double prom_xor_get(Bits *b, XorValue *x);

#endif							/* PROM_BITS_H */

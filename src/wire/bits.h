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
#include "common/double.h"

/* The bits that differed last in a column of values: its next value may do with a look at these. */
typedef struct BitWindow
{
	int			leading;
	int			trailing;
} BitWindow;

#define NO_BIT_WINDOW ((BitWindow) {0xff, 0})

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
	PromBytes	bytes = prom_bytes(data, len);
	Bits		b = {bytes.at, bytes.end, 0, 0, false};

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

/* What put_xor wrote.  A window that reaches beyond 64 bits, or that there was none yet, makes the stream bad. */
static inline uint64
get_xor(Bits *b, BitWindow *window)
{
	if (bits_few(b, 1) == 0)
		return 0;
	if (bits_few(b, 1) == 1)
	{
		int			leading = (int) bits_few(b, 5);
		int			significant = (int) bits_few(b, 6);

		if (significant == 0)
			significant = 64;
		if (leading + significant > 64)
		{
			b->bad = true;
			return 0;
		}
		window->leading = leading;
		window->trailing = 64 - leading - significant;
	}
	else if (window->leading == 0xff)
	{
		b->bad = true;
		return 0;
	}
	return bits_get(b, 64 - window->leading - window->trailing) << window->trailing;
}

/* ---- writing; the caller sees to it that there is room for what is put, and for one byte more ---- */

typedef struct BitWriter
{
	uint8	   *at;				/* the byte that has room; its free bits are 0 */
	int			free;			/* bits of it */
} BitWriter;

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

/* Fields of k bits hold -(2^(k-1) - 1) .. 2^(k-1). */
static inline bool
fits_bits(int64 v, int bits)
{
	return v >= -((INT64CONST(1) << (bits - 1)) - 1) && v <= INT64CONST(1) << (bits - 1);
}

/*
 * What changed of a value, x being its XOR with the one before: 0 if nothing; 10 and the bits of the window,
 * if all that differs lies within; else 11, 5 bits number of leading zeros (31 at most), 6 bits number of bits
 * that follow (64 is written as 0), and these, which are the new window.
 */
static inline void
put_xor(BitWriter *w, uint64 x, BitWindow *window)
{
	int			leading;
	int			trailing;
	int			significant;

	if (x == 0)
	{
		put_bits(w, 0, 1);
		return;
	}
	leading = Min(64 - prom_bit_length(x), 31);
	trailing = prom_bit_length(x & (~x + 1)) - 1;
	if (window->leading != 0xff && leading >= window->leading && trailing >= window->trailing)
	{
		put_bits(w, 0x2, 2);
		put_bits(w, x >> window->trailing, 64 - window->leading - window->trailing);
		return;
	}
	window->leading = leading;
	window->trailing = trailing;
	significant = 64 - leading - trailing;
	put_bits(w, 0x3, 2);
	put_bits(w, (uint64) leading, 5);
	put_bits(w, (uint64) (significant & 63), 6);
	put_bits(w, x >> trailing, significant);
}

#endif							/* PROM_BITS_H */

/*
 * bits.h
 *	  Bits as Prometheus' chunks have them, the most significant first, written.  Private to this room.
 *
 * The caller sees to it that there is room for what is put, and for one byte more.
 */
#ifndef PROM_BITS_H
#define PROM_BITS_H

#include "c.h"

#include "common/bytes.h"

typedef struct BitWriter
{
	uint8	   *at;				/* the byte that has room; its free bits are 0 */
	int			free;			/* bits of it */
} BitWriter;

/* The bits that differed last in a column of values: its next value may do with a look at these. */
typedef struct BitWindow
{
	int			leading;
	int			trailing;
} BitWindow;

#define NO_BIT_WINDOW ((BitWindow) {0xff, 0})

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

static inline uint64
double_bits(double v)
{
	uint64		bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
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

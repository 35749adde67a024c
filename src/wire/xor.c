/*
 * xor.c
 *	  Prometheus' XOR chunk: what remote read streams.
 *
 * Bits, the most significant first: uint16 number of samples; the first time (zigzag varint) and value (64
 * bits); for the second sample the distance of the times (varint); for each further one how much that
 * distance has changed:
 *
 *		0				not at all
 *		10 + 14 bits	-8191 .. 8192
 *		110 + 17 bits	-65535 .. 65536
 *		1110 + 20 bits	-524287 .. 524288
 *		1111 + 64 bits
 *
 * and for each value its XOR with the one before: 0 if they are equal; 10 and the bits of the window used
 * last, if all that differs lies within; else 11, 5 bits number of leading zeros (31 at most), 6 bits number
 * of bits that follow (64 is written as 0), and these, which are the new window.
 */
#include "c.h"

#include "common/bytes.h"
#include "wire/wire.h"

#define NO_WINDOW 0xff

typedef struct BitWriter
{
	uint8	   *at;				/* the byte that has room */
	int			free;			/* bits of it */
} BitWriter;

typedef struct Window
{
	int			leading;
	int			trailing;
} Window;

static void
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

static void
put_bytes(BitWriter *w, const uint8 *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		put_bits(w, bytes[i], 8);
}

static bool
fits(int64 v, int bits)
{
	return v >= -((INT64CONST(1) << (bits - 1)) - 1) && v <= INT64CONST(1) << (bits - 1);
}

/* Distances wrap around as they do for readers. */
static void
put_change(BitWriter *w, int64 change)
{
	if (change == 0)
		put_bits(w, 0x0, 1);
	else if (fits(change, 14))
	{
		put_bits(w, 0x2, 2);
		put_bits(w, (uint64) change, 14);
	}
	else if (fits(change, 17))
	{
		put_bits(w, 0x6, 3);
		put_bits(w, (uint64) change, 17);
	}
	else if (fits(change, 20))
	{
		put_bits(w, 0xe, 4);
		put_bits(w, (uint64) change, 20);
	}
	else
	{
		put_bits(w, 0xf, 4);
		put_bits(w, (uint64) change, 64);
	}
}

static int
trailing_zeros(uint64 v)
{
	return prom_bit_length(v & (~v + 1)) - 1;
}

static void
put_value(BitWriter *w, uint64 x, Window *window)
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
	trailing = trailing_zeros(x);
	if (window->leading != NO_WINDOW && leading >= window->leading && trailing >= window->trailing)
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

static uint64
value_bits(double v)
{
	uint64		bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

size_t
prom_xor_encode(uint8 *out, int n, const int64 *t_ms, const double *values)
{
	BitWriter	w = {out, 8};
	Window		window = {NO_WINDOW, 0};
	uint64		distance = 0;
	uint8		varint[10];

	*out = 0;
	put_bits(&w, (uint64) n, 16);
	put_bytes(&w, varint, prom_put_varint(varint, prom_zigzag_encode(t_ms[0])) - varint);
	put_bits(&w, value_bits(values[0]), 64);
	for (int i = 1; i < n; i++)
	{
		uint64		d = (uint64) t_ms[i] - (uint64) t_ms[i - 1];

		if (i == 1)
			put_bytes(&w, varint, prom_put_varint(varint, d) - varint);
		else
			put_change(&w, (int64) (d - distance));
		distance = d;
		put_value(&w, value_bits(values[i]) ^ value_bits(values[i - 1]), &window);
	}
	return w.at - out + (w.free < 8 ? 1 : 0);
}

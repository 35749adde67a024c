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
 * and for each value its XOR with the one before, as bits.h tells.
 */
#include "c.h"

#include "wire/bits.h"
#include "wire/wire.h"

static void
put_bytes(BitWriter *w, const uint8 *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		put_bits(w, bytes[i], 8);
}

/* Distances wrap around as they do for readers. */
static void
put_change(BitWriter *w, int64 change)
{
	if (change == 0)
		put_bits(w, 0x0, 1);
	else if (fits_bits(change, 14))
	{
		put_bits(w, 0x2, 2);
		put_bits(w, (uint64) change, 14);
	}
	else if (fits_bits(change, 17))
	{
		put_bits(w, 0x6, 3);
		put_bits(w, (uint64) change, 17);
	}
	else if (fits_bits(change, 20))
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

size_t
prom_xor_encode(uint8 *out, int n, const int64 *t_ms, const double *values)
{
	BitWriter	w = {out, 8};
	BitWindow	window = NO_BIT_WINDOW;
	uint64		distance = 0;
	uint8		varint[10];

	*out = 0;
	put_bits(&w, (uint64) n, 16);
	put_bytes(&w, varint, prom_put_varint(varint, prom_zigzag_encode(t_ms[0])) - varint);
	put_bits(&w, double_bits(values[0]), 64);
	for (int i = 1; i < n; i++)
	{
		uint64		d = (uint64) t_ms[i] - (uint64) t_ms[i - 1];

		if (i == 1)
			put_bytes(&w, varint, prom_put_varint(varint, d) - varint);
		else
			put_change(&w, (int64) (d - distance));
		distance = d;
		put_xor(&w, double_bits(values[i]) ^ double_bits(values[i - 1]), &window);
	}
	return w.at - out + (w.free < 8 ? 1 : 0);
}

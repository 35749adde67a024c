/*
 * xor.c
 *	  Prometheus' XOR chunk: what remote read streams and blocks hold.
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

static const int change_widths[] = {14, 17, 20, 64};

/* ---- writing ---- */

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
	put_bits(&w, prom_double_bits(values[0]), 64);
	for (int i = 1; i < n; i++)
	{
		uint64		d = (uint64) t_ms[i] - (uint64) t_ms[i - 1];

		if (i == 1)
			put_bytes(&w, varint, prom_put_varint(varint, d) - varint);
		else
			put_change(&w, (int64) (d - distance));
		distance = d;
		put_xor(&w, prom_double_bits(values[i]) ^ prom_double_bits(values[i - 1]), &window);
	}
	return w.at - out + (w.free < 8 ? 1 : 0);
}

/* ---- reading ---- */

bool
prom_xor_decode(const void *data, size_t len, int64 *t_ms, double *values, int *n, PromWireError *err)
{
	Bits		b = bits_begin(data, len);
	BitWindow	window = NO_BIT_WINDOW;
	uint64		distance = 0;
	uint64		bits = 0;
	uint64		t = 0;

	*n = (int) bits_few(&b, 16);
	for (int i = 0; i < *n && !b.bad; i++)
	{
		if (i == 0)
		{
			t = (uint64) prom_zigzag_decode(bits_varint(&b));
			bits = bits_get(&b, 64);
		}
		else
		{
			int			width = i == 1 ? -1 : bits_ones(&b, 4) - 1;

			if (i == 1)
				distance = bits_varint(&b);
			else if (width >= 0)
				distance += (uint64) bits_signed(&b, change_widths[width]);
			t += distance;
			bits ^= get_xor(&b, &window);
		}
		t_ms[i] = (int64) t;
		values[i] = prom_bits_double(bits);
	}
	if (b.bad)
	{
		err->reason = "samples of an XOR chunk are cut off or malformed";
		err->offset = b.at - (const uint8 *) data;
	}
	return !b.bad;
}

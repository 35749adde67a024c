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
 * and for each value its XOR with the one before: 0 if they are equal; 10 and the bits of the window used
 * last, if all that differs lies within; else 11, 5 bits number of leading zeros (31 at most), 6 bits number
 * of bits that follow (64 is written as 0), and these, which are the new window.
 */
#include "c.h"

#include "common/bytes.h"
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
	else if (fits_signed(change, 14))
	{
		put_bits(w, 0x2, 2);
		put_bits(w, (uint64) change, 14);
	}
	else if (fits_signed(change, 17))
	{
		put_bits(w, 0x6, 3);
		put_bits(w, (uint64) change, 17);
	}
	else if (fits_signed(change, 20))
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

void
prom_xor_put(BitWriter *w, XorValue *x, double value)
{
	uint64		v = value_bits(value) ^ x->bits;
	int			leading;
	int			trailing;
	int			significant;

	x->bits ^= v;
	if (v == 0)
	{
		put_bits(w, 0, 1);
		return;
	}
	leading = Min(64 - prom_bit_length(v), 31);
	trailing = trailing_zeros(v);
	if (x->leading != NO_WINDOW && leading >= x->leading && trailing >= x->trailing)
	{
		put_bits(w, 0x2, 2);
		put_bits(w, v >> x->trailing, 64 - x->leading - x->trailing);
		return;
	}
	x->leading = (uint8) leading;
	x->trailing = (uint8) trailing;
	significant = 64 - leading - trailing;
	put_bits(w, 0x3, 2);
	put_bits(w, (uint64) leading, 5);
	put_bits(w, (uint64) (significant & 63), 6);
	put_bits(w, v >> trailing, significant);
}

size_t
prom_xor_encode(uint8 *out, int n, const int64 *t_ms, const double *values)
{
	BitWriter	w = bit_writer(out);
	XorValue	x = {value_bits(values[0]), NO_WINDOW, 0};
	uint64		distance = 0;
	uint8		varint[10];

	put_bits(&w, (uint64) n, 16);
	put_bytes(&w, varint, prom_put_varint(varint, prom_zigzag_encode(t_ms[0])) - varint);
	put_bits(&w, x.bits, 64);
	for (int i = 1; i < n; i++)
	{
		uint64		d = (uint64) t_ms[i] - (uint64) t_ms[i - 1];

		if (i == 1)
			put_bytes(&w, varint, prom_put_varint(varint, d) - varint);
		else
			put_change(&w, (int64) (d - distance));
		distance = d;
		prom_xor_put(&w, &x, values[i]);
	}
	return bit_writer_end(&w) - out;
}

/* ---- reading ---- */

/* A window that reaches beyond 64 bits makes the stream bad. */
double
prom_xor_get(Bits *b, XorValue *x)
{
	if (bits_few(b, 1) == 1)
	{
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
			x->leading = (uint8) leading;
			x->trailing = (uint8) (64 - leading - significant);
		}
		else if (x->leading == NO_WINDOW)
		{
			b->bad = true;
			return 0;
		}
		x->bits ^= bits_get(b, 64 - x->leading - x->trailing) << x->trailing;
	}
	return value_of_bits(x->bits);
}

bool
prom_xor_decode(const void *data, size_t len, int64 *t_ms, double *values, int *n, PromWireError *err)
{
	Bits		b = bits_begin(data, len);
	XorValue	x = {0, NO_WINDOW, 0};
	uint64		distance = 0;
	uint64		t = 0;

	*n = (int) bits_few(&b, 16);
	for (int i = 0; i < *n && !b.bad; i++)
	{
		if (i == 0)
		{
			t = (uint64) prom_zigzag_decode(bits_varint(&b));
			x.bits = bits_get(&b, 64);
			values[0] = value_of_bits(x.bits);
		}
		else
		{
			int			width = i == 1 ? -1 : bits_ones(&b, 4) - 1;

			if (i == 1)
				distance = bits_varint(&b);
			else if (width >= 0)
				distance += (uint64) bits_signed(&b, change_widths[width]);
			t += distance;
			values[i] = prom_xor_get(&b, &x);
		}
		t_ms[i] = (int64) t;
	}
	if (b.bad)
	{
		err->reason = "samples of an XOR chunk are cut off or malformed";
		err->offset = b.at - (const uint8 *) data;
	}
	return !b.bad;
}

/*
 * codec_mini.c
 *	  Mini blocks: up to 64 residuals of an integer column, packed to the bit.
 *
 * A mini block has one width.  What does not fit into it has its low bits there and its high bits in a
 * list of exceptions behind, so that one spike does not widen its neighbours.  Mini blocks of zeros are
 * one byte, runs of them as well.
 *
 * Residuals are unpacked by eights: eight of w bits are w bytes, so each eight begins at a byte, and one
 * load of eight bytes holds all of them, or four, or two.
 */
#include "c.h"

#include "chunk/codec.h"

#define MINI			PROM_INT_MINI
#define MINI_BYTES		(MINI * 8)
#define MAX_WIDTH		64

/* mini block headers: a width up to 64; 66..127 a run of 2..63 empty ones; or with exceptions: */
#define MINI_RUN		64
#define MINI_MAX_RUN	63
#define MINI_PATCHED	128

/* what unpacking may read behind the last byte */
#define MINI_PADDING	8

/* The mask of w bits. */
static inline uint64
low_bits(int w)
{
	return w == 64 ? ~UINT64CONST(0) : (UINT64CONST(1) << w) - 1;
}

/* ---- encoding ---- */

/*
 * The width that packs c residuals in the fewest bytes; *patches is how many do not fit into it: none if
 * it has to be quick.  Returns the bytes, header included.
 */
int
prom_mini_plan(const uint64 *u, int c, bool quick, int *width, int *patches)
{
	uint8		count[MAX_WIDTH + 1] = {0};
	uint16		high[MAX_WIDTH + 7];	/* bytes of all varints of high bits, by width */
	uint64		all = 0;
	int			top;
	int			best;
	int			over = 0;
	int			zeros = 0;

	for (int j = 0; j < c; j++)
		all |= u[j];
	top = prom_bit_length(all);
	*width = top;
	*patches = 0;
	best = 1 + (c * top + 7) / 8;
	if (top <= 1 || quick)
		return best;

	/* a zero as one, for that needs no branch */
	for (int j = 0; j < c; j++)
	{
		count[prom_bit_length(u[j] | 1)]++;
		zeros += u[j] == 0;
	}
	count[1] -= zeros;
	memset(high + top, 0, 7 * sizeof(high[0]));
	for (int w = top - 1; w >= 0; w--)
	{
		int			bytes;

		over += count[w + 1];
		if (over > c / 4)
			break;
		/* a byte each, and what seven bits more would leave */
		high[w] = over + high[w + 7];
		bytes = 2 + (c * w + 7) / 8 + over + high[w];
		if (bytes < best)
		{
			best = bytes;
			*width = w;
			*patches = over;
		}
	}
	return best;
}

static uint8 *
mini_pack(uint8 *out, const uint64 *u, int c, int w)
{
	uint8	   *end = out + (c * w + 7) / 8;
	uint64		mask = low_bits(w);
	uint64		acc = 0;
	int			fill = 0;

	if (w == 0)
		return out;
	for (int j = 0; j < c; j++)
	{
		uint64		v = u[j] & mask;

		acc |= v << fill;
		fill += w;
		if (fill >= 64)
		{
			out = prom_put_u64le(out, acc);
			fill -= 64;
			acc = fill ? v >> (w - fill) : 0;
		}
	}
	for (; out < end; acc >>= 8)
		*out++ = (uint8) acc;
	return out;
}

uint8 *
prom_mini_write(uint8 *out, const uint64 *u, int c, int width, int patches)
{
	if (patches == 0)
	{
		*out++ = (uint8) width;
		return mini_pack(out, u, c, width);
	}
	*out++ = (uint8) (MINI_PATCHED | width);
	*out++ = (uint8) patches;
	out = mini_pack(out, u, c, width);
	for (int j = 0; j < c; j++)
		if (u[j] >> width)
			*out++ = (uint8) j;
	for (int j = 0; j < c; j++)
		if (u[j] >> width)
			out = prom_put_varint(out, u[j] >> width);
	return out;
}

uint8 *
prom_mini_run_write(uint8 *out, int run)
{
	for (; run > 0; run -= MINI_MAX_RUN)
		*out++ = run == 1 ? 0 : (uint8) (MINI_RUN + Min(run, MINI_MAX_RUN));
	return out;
}


/* ---- decoding ---- */

/* Eights of numbers of 1 .. 8 bits: a load holds all of them. */
static void
unpack_narrow(const uint8 *p, int eights, int w, uint64 *u)
{
	uint64		mask = low_bits(w);

	for (; eights > 0; eights--, p += w)
	{
		uint64		v = prom_get_u64le(p);

		for (int j = 0; j < 8; j++, v >>= w)
			*u++ = v & mask;
	}
}

/* Of up to 15 bits: half of them, which begins at a byte or at the middle of one. */
static void
unpack_halves(const uint8 *p, int eights, int w, uint64 *u)
{
	uint64		mask = low_bits(w);

	for (; eights > 0; eights--, p += w)
	{
		uint64		v = prom_get_u64le(p);

		for (int j = 0; j < 4; j++, v >>= w)
			*u++ = v & mask;
		v = prom_get_u64le(p + w / 2) >> 4 * (w % 2);
		for (int j = 0; j < 4; j++, v >>= w)
			*u++ = v & mask;
	}
}

/* Of up to 29 bits: two of them, which begin at an even bit. */
static void
unpack_pairs(const uint8 *p, int eights, int w, uint64 *u)
{
	uint64		mask = low_bits(w);

	for (int at = 0; at < 8 * eights * w; at += 2 * w)
	{
		uint64		v = prom_get_u64le(p + (at >> 3)) >> (at & 7);

		*u++ = v & mask;
		*u++ = v >> w & mask;
	}
}

/* Numbers first .. c-1 of up to 64 bits: one, and of more than 57 maybe not all of it. */
static void
unpack_single(const uint8 *p, int first, int c, int w, uint64 *u)
{
	uint64		mask = low_bits(w);

	for (int j = first, at = first * w; j < c; j++, at += w)
	{
		int			shift = at & 7;
		uint64		v = prom_get_u64le(p + (at >> 3)) >> shift;

		if (shift > 64 - w)
			v |= (uint64) p[(at >> 3) + 8] << (64 - shift);
		u[j] = v & mask;
	}
}

/* c numbers of w bits; MINI_PADDING bytes may be read behind them. */
static void
unpack(const uint8 *p, int c, int w, uint64 *u)
{
	int			eights = c >> 3;

	if (w <= 8)
		unpack_narrow(p, eights, w, u);
	else if (w <= 15)
		unpack_halves(p, eights, w, u);
	else if (w <= 29)
		unpack_pairs(p, eights, w, u);
	else
		eights = 0;
	unpack_single(p, eights << 3, c, w, u);
}

static const char *
patch(PromBytes *in, int c, int w, int patches, uint64 *u)
{
	const uint8 *at = prom_bytes_take(in, patches);
	int			last = -1;

	if (at == NULL)
		return "integer column is truncated";
	for (int k = 0; k < patches; k++)
	{
		uint64		high = prom_bytes_varint(in);

		if (in->bad)
			return "integer column is truncated";
		if (at[k] >= c || at[k] <= last || prom_bit_length(high) + w > 64)
			return "integer column has an exception out of place";
		last = at[k];
		u[last] |= high << w;
	}
	return NULL;
}

const char *
prom_mini_read(PromBytes *in, int c, uint64 *u, int *run)
{
	uint8		padded[MINI_BYTES + MINI_PADDING];
	int			head = prom_bytes_u8(in);
	int			w = head & (MINI_PATCHED - 1);
	int			patches = 0;
	int			bytes;
	const uint8 *p;

	if (head > MINI_RUN + 1 && head < MINI_PATCHED)
	{
		*run = head - MINI_RUN - 1;
		memset(u, 0, c * sizeof(uint64));
		return NULL;
	}
	if (w > (head & MINI_PATCHED ? 63 : 64))
		return "integer column has an unknown mini block";
	if (head & MINI_PATCHED)
	{
		patches = prom_bytes_u8(in);
		if (!in->bad && (patches == 0 || patches > c))
			return "integer column has a wrong number of exceptions";
	}
	bytes = (c * w + 7) / 8;
	p = prom_bytes_take(in, bytes);
	if (p == NULL)
		return "integer column is truncated";
	if (w == 0)
		memset(u, 0, c * sizeof(uint64));
	else
	{
		if (prom_bytes_left(in) < MINI_PADDING)
		{
			memcpy(padded, p, bytes);
			memset(padded + bytes, 0, MINI_PADDING);
			p = padded;
		}
		unpack(p, c, w, u);
	}
	return patches ? patch(in, c, w, patches, u) : NULL;
}

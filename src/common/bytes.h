/*
 * bytes.h
 *	  A bounded cursor over bytes from strangers.
 *
 * Every read checks the end first.  A read past the end, or a varint that is too long, sets "bad"
 * and returns 0; the cursor then stays bad, so a caller may read a whole header and look once.
 * Plain C: needs no server header but c.h.
 */
#ifndef PROM_BYTES_H
#define PROM_BYTES_H

#include "c.h"

typedef struct PromBytes
{
	const uint8 *at;
	const uint8 *end;
	bool		bad;
} PromBytes;

static inline PromBytes
prom_bytes(const void *data, size_t len)
{
	PromBytes	b = {(const uint8 *) data, (const uint8 *) data, false};

	/* nothing may be at NULL, to which C adds not even 0 */
	if (len > 0)
		b.end += len;
	return b;
}

static inline size_t
prom_bytes_left(const PromBytes *b)
{
	return b->end - b->at;
}

static inline uint8
prom_bytes_u8(PromBytes *b)
{
	if (b->at >= b->end)
	{
		b->bad = true;
		return 0;
	}
	return *b->at++;
}

/* LEB128, at most 10 bytes. */
static inline uint64
prom_bytes_varint(PromBytes *b)
{
	uint64		v = 0;

	for (int shift = 0; shift < 70; shift += 7)
	{
		uint8		c = prom_bytes_u8(b);

		if (b->bad || (shift == 63 && c > 1))
			break;
		v |= (uint64) (c & 0x7f) << shift;
		if (c < 0x80)
			return v;
	}
	b->bad = true;
	return 0;
}

static inline int64
prom_zigzag_decode(uint64 v)
{
	return (int64) (v >> 1) ^ -(int64) (v & 1);
}

static inline uint64
prom_zigzag_encode(int64 v)
{
	return ((uint64) v << 1) ^ (uint64) (v >> 63);
}

/* Bits that a number needs; none for 0. */
static inline int
prom_bit_length(uint64 v)
{
#ifdef HAVE__BUILTIN_CLZ
	return v ? 64 - __builtin_clzll(v) : 0;
#else
	int			n = 0;

	for (; v; v >>= 1)
		n++;
	return n;
#endif
}

/* The next n bytes, or NULL (and bad) if there are fewer. */
static inline const uint8 *
prom_bytes_take(PromBytes *b, uint64 n)
{
	const uint8 *p = b->at;

	if (b->bad || n > prom_bytes_left(b))
	{
		b->bad = true;
		return NULL;
	}
	b->at += n;
	return p;
}

static inline uint64
prom_get_u64le(const uint8 *p)
{
	return (uint64) p[0] | (uint64) p[1] << 8 | (uint64) p[2] << 16 | (uint64) p[3] << 24 |
		(uint64) p[4] << 32 | (uint64) p[5] << 40 | (uint64) p[6] << 48 | (uint64) p[7] << 56;
}

static inline uint64
prom_bytes_u64le(PromBytes *b)
{
	const uint8 *p = prom_bytes_take(b, 8);

	return p ? prom_get_u64le(p) : 0;
}

static inline uint8 *
prom_put_u64le(uint8 *p, uint64 v)
{
	/* written out, this is one instruction */
	p[0] = (uint8) v;
	p[1] = (uint8) (v >> 8);
	p[2] = (uint8) (v >> 16);
	p[3] = (uint8) (v >> 24);
	p[4] = (uint8) (v >> 32);
	p[5] = (uint8) (v >> 40);
	p[6] = (uint8) (v >> 48);
	p[7] = (uint8) (v >> 56);
	return p + 8;
}

static inline uint32
prom_get_u32be(const uint8 *p)
{
	return (uint32) p[0] << 24 | (uint32) p[1] << 16 | (uint32) p[2] << 8 | (uint32) p[3];
}

static inline uint8 *
prom_put_u32be(uint8 *p, uint32 v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8) (v >> (24 - 8 * i));
	return p + 4;
}

/* Write a varint at p, which has room for 10 bytes; returns the byte after it. */
static inline uint8 *
prom_put_varint(uint8 *p, uint64 v)
{
	while (v >= 0x80)
	{
		*p++ = (uint8) v | 0x80;
		v >>= 7;
	}
	*p++ = (uint8) v;
	return p;
}

#endif							/* PROM_BYTES_H */

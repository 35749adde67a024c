/*
 * put.h
 *	  Protobuf fields written into a buffer that the caller lends.  Private to this room.
 *
 * When the buffer cannot grow it becomes "full" and takes no more; whoever writes may go on and look
 * once, at the end.
 */
#ifndef PROM_PUT_H
#define PROM_PUT_H

#include "c.h"

#include "common/bytes.h"
#include "common/double.h"
#include "wire/protobuf.h"
#include "wire/wire.h"

/* Room for n bytes more. */
static inline bool
put_room(PromWireBuffer *b, size_t n)
{
	if (likely(!b->full && b->size - b->len >= n))
		return true;
	if (b->full || !b->grow(b, n))
		b->full = true;
	return !b->full;
}

static inline void
put_bytes(PromWireBuffer *b, const void *bytes, size_t n)
{
	if (n == 0 || !put_room(b, n))
		return;
	memcpy(b->data + b->len, bytes, n);
	b->len += n;
}

static inline void
put_byte(PromWireBuffer *b, uint8 byte)
{
	if (put_room(b, 1))
		b->data[b->len++] = byte;
}

static inline void
put_varint(PromWireBuffer *b, uint64 v)
{
	if (put_room(b, 10))
		b->len = prom_put_varint(b->data + b->len, v) - b->data;
}

static inline void
put_tag(PromWireBuffer *b, uint32 number, WireType type)
{
	put_varint(b, (uint64) number << 3 | type);
}

static inline void
put_number(PromWireBuffer *b, uint32 number, uint64 v)
{
	put_tag(b, number, WIRE_VARINT);
	put_varint(b, v);
}

static inline void
put_fixed64(PromWireBuffer *b, uint64 bits)
{
	if (put_room(b, 8))
	{
		prom_put_u64le(b->data + b->len, bits);
		b->len += 8;
	}
}

static inline void
put_double(PromWireBuffer *b, uint32 number, double v)
{
	put_tag(b, number, WIRE_64BIT);
	put_fixed64(b, prom_double_bits(v));
}

static inline void
put_text(PromWireBuffer *b, uint32 number, const void *text, size_t len)
{
	put_tag(b, number, WIRE_BYTES);
	put_varint(b, len);
	put_bytes(b, text, len);
}

static inline size_t
varint_size(uint64 v)
{
	return v == 0 ? 1 : (prom_bit_length(v) + 6) / 7;
}

/* A Label message in field "number", as every sender of version 1 writes it. */
static inline void
put_label(PromWireBuffer *b, uint32 number, const char *name, size_t name_len, const char *value, size_t value_len)
{
	put_tag(b, number, WIRE_BYTES);
	put_varint(b, 2 + varint_size(name_len) + name_len + varint_size(value_len) + value_len);
	put_text(b, 1, name, name_len);
	put_text(b, 2, value, value_len);
}

/* A message whose length is known only when it is closed: five bytes are kept for it. */
static inline size_t
put_open(PromWireBuffer *b, uint32 number)
{
	put_tag(b, number, WIRE_BYTES);
	put_bytes(b, "\200\200\200\200\0", 5);
	return b->len;
}

static inline void
put_close(PromWireBuffer *b, size_t start)
{
	size_t		len = b->len - start;

	if (b->full)
		return;
	for (int i = 0; i < 5; i++)
		b->data[start - 5 + i] = (uint8) ((len >> (7 * i) & 0x7f) | (i < 4 ? 0x80 : 0));
}

/* The spans of a native histogram's side, each a message in field "number". */
static inline void
put_histogram_spans(PromWireBuffer *b, uint32 number, const PromHistogram *h, PromHistogramSide side)
{
	const PromHistogramSpan *span = prom_histogram_spans(h, side);

	for (uint32 i = 0; i < h->nspans[side]; i++)
	{
		uint64		offset = (uint32) prom_zigzag_encode(span[i].offset);

		put_tag(b, number, WIRE_BYTES);
		put_varint(b, 2 + varint_size(offset) + varint_size(span[i].length));
		put_number(b, 1, offset);
		put_number(b, 2, span[i].length);
	}
}

#endif							/* PROM_PUT_H */

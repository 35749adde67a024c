/*
 * protobuf.h
 *	  Fields of a protobuf message, one after the other.  Private to this room.
 *
 * Groups are refused.  Nothing is copied: bytes of a field point into the message.
 */
#ifndef PROM_PROTOBUF_H
#define PROM_PROTOBUF_H

#include "c.h"

#include "common/bytes.h"

typedef enum WireType
{
	WIRE_VARINT = 0,
	WIRE_64BIT = 1,
	WIRE_BYTES = 2,
	WIRE_GROUP = 3,
	WIRE_GROUP_END = 4,
	WIRE_32BIT = 5
} WireType;

#define WIRE_MAX_FIELD ((1 << 29) - 1)

typedef struct Field
{
	uint32		number;
	WireType	type;
	const uint8 *start;			/* its tag */
	const uint8 *bytes;			/* of WIRE_BYTES and the fixed ones */
	size_t		len;
	uint64		varint;
} Field;

/* Nearly all varints here are tags and lengths of one byte. */
static inline uint64
short_varint(PromBytes *b)
{
	if (likely(b->at < b->end && *b->at < 0x80))
		return *b->at++;
	return prom_bytes_varint(b);
}

/* Says what is wrong with a field; always false. */
static pg_noinline bool
malformed(const PromBytes *b, Field *f, const char **reason)
{
	if (f->number == 0)
		*reason = b->bad ? "truncated or overlong field tag" : "field number out of range";
	else if (f->type == WIRE_VARINT)
		*reason = "truncated or overlong varint";
	else if (f->type == WIRE_GROUP || f->type == WIRE_GROUP_END)
		*reason = "groups are not supported";
	else if (b->bad)
		*reason = "length is malformed or past the end of the message";
	else
		*reason = "unknown wire type";
	return false;
}

/*
 * The next field with its contents.  False with a reason if it is malformed; f->start says where it
 * begins in any case.
 */
static pg_attribute_always_inline bool
next_field(PromBytes *b, Field *f, const char **reason)
{
	uint64		tag;
	uint64		len;

	f->start = b->at;
	tag = short_varint(b);
	f->number = tag >> 3 > WIRE_MAX_FIELD ? 0 : (uint32) (tag >> 3);
	f->type = (WireType) (tag & 7);
	f->bytes = NULL;
	f->len = 0;
	f->varint = 0;
	if (unlikely(f->number == 0))
		return malformed(b, f, reason);
	if (f->type == WIRE_VARINT)
	{
		f->varint = prom_bytes_varint(b);
		return !b->bad || malformed(b, f, reason);
	}
	if (f->type == WIRE_BYTES)
		len = short_varint(b);
	else if (f->type == WIRE_64BIT)
		len = 8;
	else if (f->type == WIRE_32BIT)
		len = 4;
	else
		return malformed(b, f, reason);
	f->bytes = prom_bytes_take(b, len);
	f->len = (size_t) len;
	return f->bytes != NULL || malformed(b, f, reason);
}

#endif							/* PROM_PROTOBUF_H */

/*
 * remote_read.c
 *	  Walks a prometheus.ReadRequest without copying, and writes the fields that answers consist of.
 *
 * The request is checked wholly, every nested length, wire type and matcher of it; the iterators then read
 * the same bytes again and cannot fail.  Unknown fields, the hints among them, are skipped.  Of a field that
 * should come once the last one counts.
 *
 * Text is not looked at: names and values may be empty, not UTF-8, or hold zero bytes.
 */
#include "c.h"

#include "common/double.h"
#include "wire/error.h"
#include "wire/protobuf.h"
#include "wire/wire.h"

/* ReadRequest */
#define FIELD_QUERY			1
#define FIELD_RESPONSE		2

/* Query */
#define FIELD_START			1
#define FIELD_END			2
#define FIELD_MATCHER		3

/* LabelMatcher */
#define FIELD_MATCH_TYPE	1
#define FIELD_NAME			2
#define FIELD_VALUE			3

#define MATCH_MAX_TYPE		3

/* The first response type that is known, if none was before. */
typedef struct Accepted
{
	bool		any;
	bool		known;
	uint32		type;
} Accepted;

static bool check_query(const Field *message, Field *at, const char **reason);
static bool check_matcher(const Field *message, Field *at, const char **reason);
static bool take_response(const Field *f, Accepted *a, const char **reason);

bool
prom_read_check(const void *message, size_t len, uint32 *nqueries, uint32 *response, PromWireError *err)
{
	const uint8 *start = (const uint8 *) message;
	PromBytes	b = prom_bytes(message, len);
	Accepted	accepted = {false, false, PROM_READ_SAMPLES};

	*nqueries = 0;
	while (b.at < b.end)
	{
		Field		f;
		Field		at;
		const char *reason = NULL;
		bool		ok = next_field(&b, &f, &reason);

		at = f;
		if (ok && f.number == FIELD_QUERY)
		{
			(*nqueries)++;
			ok = check_query(&f, &at, &reason);
		}
		else if (ok && f.number == FIELD_RESPONSE)
			ok = take_response(&f, &accepted, &reason);
		if (!ok)
			return wire_fail(err, reason, at.start - start);
	}
	if (accepted.any && !accepted.known)
		return wire_fail(err, "none of the accepted response types is supported", 0);
	*response = accepted.type;
	return true;
}

bool
prom_read_query(const void *message, size_t len, size_t *pos, PromReadQuery *q)
{
	const uint8 *start = (const uint8 *) message;
	PromBytes	b = prom_bytes(start + *pos, len - *pos);
	Field		f;
	Field		inner;
	const char *reason;

	memset(q, 0, sizeof(*q));
	while (b.at < b.end && next_field(&b, &f, &reason))
	{
		if (f.number != FIELD_QUERY)
			continue;
		*pos = b.at - start;
		q->message = f.bytes;
		q->message_len = f.len;
		b = prom_bytes(f.bytes, f.len);
		while (b.at < b.end && next_field(&b, &inner, &reason))
		{
			if (inner.number == FIELD_START)
				q->start_ms = (int64) inner.varint;
			else if (inner.number == FIELD_END)
				q->end_ms = (int64) inner.varint;
			else if (inner.number == FIELD_MATCHER)
				q->nmatchers++;
		}
		return true;
	}
	return false;
}

bool
prom_read_matcher(const PromReadQuery *q, size_t *pos, PromReadMatcher *m)
{
	PromBytes	b = prom_bytes(q->message + *pos, q->message_len - *pos);
	Field		f;
	Field		inner;
	const char *reason;

	m->type = 0;
	m->name = m->value = "";
	m->name_len = m->value_len = 0;
	while (b.at < b.end && next_field(&b, &f, &reason))
	{
		if (f.number != FIELD_MATCHER)
			continue;
		*pos = b.at - q->message;
		b = prom_bytes(f.bytes, f.len);
		while (b.at < b.end && next_field(&b, &inner, &reason))
		{
			if (inner.number == FIELD_MATCH_TYPE)
				m->type = (uint32) inner.varint;
			else if (inner.number == FIELD_NAME)
			{
				m->name = (const char *) inner.bytes;
				m->name_len = inner.len;
			}
			else if (inner.number == FIELD_VALUE)
			{
				m->value = (const char *) inner.bytes;
				m->value_len = inner.len;
			}
		}
		return true;
	}
	return false;
}

static bool
want_type(const Field *f, WireType type, const char **reason)
{
	if (f->type == type)
		return true;
	*reason = "wrong wire type";
	return false;
}

static bool
check_query(const Field *message, Field *at, const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);

	if (!want_type(message, WIRE_BYTES, reason))
		return false;
	while (b.at < b.end)
	{
		Field		f;
		bool		ok = next_field(&b, at, reason);

		f = *at;
		if (ok && (f.number == FIELD_START || f.number == FIELD_END))
			ok = want_type(&f, WIRE_VARINT, reason);
		else if (ok && f.number == FIELD_MATCHER)
			ok = check_matcher(&f, at, reason);
		if (!ok)
			return false;
	}
	return true;
}

static bool
check_matcher(const Field *message, Field *at, const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);

	if (!want_type(message, WIRE_BYTES, reason))
		return false;
	while (b.at < b.end)
	{
		bool		ok = next_field(&b, at, reason);

		if (ok && at->number == FIELD_MATCH_TYPE)
		{
			ok = want_type(at, WIRE_VARINT, reason);
			if (ok && at->varint > MATCH_MAX_TYPE)
			{
				*reason = "unknown type of a matcher";
				ok = false;
			}
		}
		else if (ok && (at->number == FIELD_NAME || at->number == FIELD_VALUE))
			ok = want_type(at, WIRE_BYTES, reason);
		if (!ok)
			return false;
	}
	return true;
}

static void
accept_response(Accepted *a, uint64 type)
{
	a->any = true;
	if (a->known || (type != PROM_READ_SAMPLES && type != PROM_READ_CHUNKS))
		return;
	a->known = true;
	a->type = (uint32) type;
}

/* Repeated numbers come one by one, or packed. */
static bool
take_response(const Field *f, Accepted *a, const char **reason)
{
	PromBytes	b;

	if (f->type == WIRE_VARINT)
	{
		accept_response(a, f->varint);
		return true;
	}
	if (!want_type(f, WIRE_BYTES, reason))
		return false;
	b = prom_bytes(f->bytes, f->len);
	while (b.at < b.end)
	{
		uint64		type = prom_bytes_varint(&b);

		if (b.bad)
		{
			*reason = "truncated or overlong varint";
			return false;
		}
		accept_response(a, type);
	}
	return true;
}

/* ---- fields of answers; their numbers are below 16, so a tag is one byte ---- */

static size_t
varint_size(uint64 v)
{
	size_t		size = 1;

	while (v >= 0x80)
	{
		v >>= 7;
		size++;
	}
	return size;
}

size_t
prom_wire_bytes_size(size_t len)
{
	return 1 + varint_size(len) + len;
}

uint8 *
prom_wire_put_head(uint8 *out, uint32 number, size_t len)
{
	*out++ = (uint8) (number << 3 | WIRE_BYTES);
	return prom_put_varint(out, len);
}

uint8 *
prom_wire_put_bytes(uint8 *out, uint32 number, const void *bytes, size_t len)
{
	out = prom_wire_put_head(out, number, len);
	if (len > 0)
		memcpy(out, bytes, len);
	return out + len;
}

uint8 *
prom_wire_put_number(uint8 *out, uint32 number, uint64 v)
{
	*out++ = (uint8) (number << 3 | WIRE_VARINT);
	return prom_put_varint(out, v);
}

uint8 *
prom_wire_put_double(uint8 *out, uint32 number, double v)
{
	*out++ = (uint8) (number << 3 | WIRE_64BIT);
	return prom_put_u64le(out, prom_double_bits(v));
}

/*
 * write_histogram.c
 *	  A Histogram message of remote_write becomes a PromHistogram.
 *
 * It goes in three steps: the bytes are checked when the series around them is, then measured, so that
 * the caller knows how much memory the histogram takes, then read.  Repeated numbers may come packed or
 * not, in several runs.  Integer histograms give buckets as differences to the bucket before, float
 * histograms as they are; the fields of the other kind are passed over.
 */
#include "c.h"

#include "common/double.h"
#include "wire/protobuf.h"
#include "wire/wire.h"

/* Histogram */
#define FIELD_COUNT_INT			1
#define FIELD_COUNT_FLOAT		2
#define FIELD_SUM				3
#define FIELD_SCHEMA			4
#define FIELD_ZERO_THRESHOLD	5
#define FIELD_ZERO_COUNT_INT	6
#define FIELD_ZERO_COUNT_FLOAT	7
#define FIELD_NEGATIVE_SPANS	8
#define FIELD_NEGATIVE_DELTAS	9
#define FIELD_NEGATIVE_COUNTS	10
#define FIELD_POSITIVE_SPANS	11
#define FIELD_POSITIVE_DELTAS	12
#define FIELD_POSITIVE_COUNTS	13
#define FIELD_RESET_HINT		14
#define FIELD_TIMESTAMP			15
#define FIELD_CUSTOM_VALUES		16

/* BucketSpan */
#define FIELD_OFFSET			1
#define FIELD_LENGTH			2

/* Schemas that may be reduced to the finest we keep. */
#define FINEST_SCHEMA			52

#define TWO53					(UINT64CONST(1) << 53)

/* What a field of the message must look like. */
typedef enum FieldKind
{
	KIND_UNKNOWN, KIND_VARINT, KIND_DOUBLE, KIND_SPAN, KIND_VARINTS, KIND_DOUBLES
} FieldKind;

static const uint8 field_kinds[] = {
	KIND_UNKNOWN, KIND_VARINT, KIND_DOUBLE, KIND_DOUBLE, KIND_VARINT, KIND_DOUBLE, KIND_VARINT, KIND_DOUBLE,
	KIND_SPAN, KIND_VARINTS, KIND_DOUBLES, KIND_SPAN, KIND_VARINTS, KIND_DOUBLES, KIND_VARINT, KIND_VARINT,
	KIND_DOUBLES
};

static inline FieldKind
kind_of(const Field *f)
{
	return f->number < lengthof(field_kinds) ? (FieldKind) field_kinds[f->number] : KIND_UNKNOWN;
}

static bool
right_type(const Field *f)
{
	switch (kind_of(f))
	{
		case KIND_VARINT:
			return f->type == WIRE_VARINT;
		case KIND_DOUBLE:
			return f->type == WIRE_64BIT;
		case KIND_SPAN:
			return f->type == WIRE_BYTES;
		case KIND_VARINTS:
			return f->type == WIRE_VARINT || f->type == WIRE_BYTES;
		case KIND_DOUBLES:
			return f->type == WIRE_64BIT || f->type == WIRE_BYTES;
		case KIND_UNKNOWN:
			break;
	}
	return true;
}

static bool
check_span(const Field *message, Field *at, const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);

	while (b.at < b.end)
	{
		if (!next_field(&b, at, reason))
			return false;
		if ((at->number == FIELD_OFFSET || at->number == FIELD_LENGTH) && at->type != WIRE_VARINT)
		{
			*reason = "wrong wire type in a histogram";
			return false;
		}
	}
	return true;
}

bool
prom_wire_check_histogram(const Field *message, Field *at, const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);

	while (b.at < b.end)
	{
		Field		f;
		PromBytes	packed;

		if (!next_field(&b, at, reason))
			return false;
		f = *at;
		*reason = NULL;
		if (!right_type(&f))
			*reason = "wrong wire type in a histogram";
		else if (kind_of(&f) == KIND_SPAN)
			(void) check_span(&f, at, reason);
		else if (kind_of(&f) == KIND_DOUBLES && f.type == WIRE_BYTES && f.len % 8 != 0)
			*reason = "packed numbers of a histogram are truncated";
		else if (kind_of(&f) == KIND_VARINTS && f.type == WIRE_BYTES)
		{
			for (packed = prom_bytes(f.bytes, f.len); packed.at < packed.end && !packed.bad;)
				(void) prom_bytes_varint(&packed);
			if (packed.bad)
				*reason = "packed numbers of a histogram are truncated";
		}
		if (*reason)
			return false;
	}
	return true;
}

/* How many numbers the field of a repeated one has. */
static size_t
count_numbers(const Field *f)
{
	size_t		n = 0;

	if (f->type != WIRE_BYTES)
		return 1;
	if (kind_of(f) == KIND_DOUBLES)
		return f->len / 8;
	/* the last byte of each has its high bit clear */
	for (size_t i = 0; i < f->len; i++)
		n += f->bytes[i] < 0x80;
	return n;
}

/* The side of buckets that a histogram of this kind takes; -1 if the field is none of them. */
static inline int
bucket_side(const Field *f, bool is_int)
{
	if (f->number == (is_int ? FIELD_POSITIVE_DELTAS : FIELD_POSITIVE_COUNTS))
		return PROM_POSITIVE;
	if (f->number == (is_int ? FIELD_NEGATIVE_DELTAS : FIELD_NEGATIVE_COUNTS))
		return PROM_NEGATIVE;
	return -1;
}

void
prom_wire_measure_histogram(PromBytes message, PromWriteHistogram *h)
{
	PromBytes	b = message;
	Field		f;
	const char *reason;
	size_t		numbers[2][2] = {{0, 0}, {0, 0}};	/* by kind, then side */
	size_t		nspans[2] = {0, 0};
	size_t		ncustom = 0;

	memset(h, 0, sizeof(*h));
	h->message = message.at;
	h->message_len = prom_bytes_left(&message);
	h->is_int = true;
	while (b.at < b.end && next_field(&b, &f, &reason))
	{
		for (int is_int = 0; is_int < 2; is_int++)
		{
			int			side = bucket_side(&f, is_int);

			if (side >= 0)
				numbers[is_int][side] += count_numbers(&f);
		}
		if (f.number == FIELD_COUNT_INT || f.number == FIELD_COUNT_FLOAT)
			h->is_int = f.number == FIELD_COUNT_INT;
		else if (f.number == FIELD_POSITIVE_SPANS)
			nspans[PROM_POSITIVE]++;
		else if (f.number == FIELD_NEGATIVE_SPANS)
			nspans[PROM_NEGATIVE]++;
		else if (f.number == FIELD_CUSTOM_VALUES)
			ncustom += count_numbers(&f);
		else if (f.number == FIELD_TIMESTAMP)
			h->t_ms = (int64) f.varint;
	}
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
	{
		if (numbers[h->is_int][side] > PROM_HISTOGRAM_MAX_BUCKETS || nspans[side] > PROM_HISTOGRAM_MAX_BUCKETS)
			h->reason = "histogram has too many buckets or spans";
		h->nbuckets[side] = (uint32) numbers[h->is_int][side];
		h->nspans[side] = (uint32) nspans[side];
	}
	if (ncustom > PROM_HISTOGRAM_MAX_BUCKETS)
		h->reason = "histogram has too many buckets or spans";
	h->ncustom = (uint32) ncustom;
	if (h->reason == NULL)
		h->size = prom_histogram_size(h->nbuckets[0], h->nbuckets[1], h->ncustom, h->nspans[0], h->nspans[1]);
}

static inline double
get_double(const uint8 *p)
{
	return prom_bits_double(prom_get_u64le(p));
}

/* Append the doubles of a field; returns where the next one goes. */
static double *
read_doubles(const Field *f, double *to)
{
	size_t		n = count_numbers(f);

	for (size_t i = 0; i < n; i++)
		*to++ = get_double(f->bytes + 8 * i);
	return to;
}

/* The same for differences to the bucket before, which is *last. */
static double *
read_deltas(const Field *f, double *to, int64 *last, bool *exact)
{
	PromBytes	packed = prom_bytes(f->bytes, f->len);
	size_t		n = count_numbers(f);

	for (size_t i = 0; i < n; i++)
	{
		uint64		v = f->type == WIRE_BYTES ? prom_bytes_varint(&packed) : f->varint;

		*last = (int64) ((uint64) *last + (uint64) prom_zigzag_decode(v));
		*exact &= *last <= (int64) TWO53;
		*to++ = (double) *last;
	}
	return to;
}

static void
read_span(const Field *f, PromHistogramSpan *span)
{
	PromBytes	b = prom_bytes(f->bytes, f->len);
	Field		in;
	const char *reason;

	span->offset = 0;
	span->length = 0;
	while (b.at < b.end && next_field(&b, &in, &reason))
	{
		/* 32-bit numbers are cut to their size, as protobuf asks */
		if (in.number == FIELD_OFFSET)
			span->offset = (int32) prom_zigzag_decode((uint32) in.varint);
		else if (in.number == FIELD_LENGTH)
			span->length = (uint32) in.varint;
	}
}

const char *
prom_write_histogram_read(const PromWriteHistogram *w, PromHistogram *h)
{
	PromBytes	b = prom_bytes(w->message, w->message_len);
	Field		f;
	const char *reason;
	double	   *bucket[2];
	double	   *custom;
	PromHistogramSpan *span[2];
	int64		last[2] = {0, 0};
	int32		schema = 0;
	bool		exact = true;	/* no whole number was rounded */

	if (w->reason)
		return w->reason;
	memset(h, 0, w->size);
	h->size = (uint32) w->size;
	memcpy(h->nbuckets, w->nbuckets, sizeof(h->nbuckets));
	memcpy(h->nspans, w->nspans, sizeof(h->nspans));
	h->ncustom = w->ncustom;
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
	{
		bucket[side] = prom_histogram_buckets(h, (PromHistogramSide) side);
		span[side] = prom_histogram_spans(h, (PromHistogramSide) side);
	}
	custom = prom_histogram_custom(h);
	while (b.at < b.end && next_field(&b, &f, &reason))
	{
		int			side = bucket_side(&f, w->is_int);

		if (side >= 0)
			bucket[side] = w->is_int ? read_deltas(&f, bucket[side], &last[side], &exact) :
				read_doubles(&f, bucket[side]);
		switch (f.number)
		{
			case FIELD_COUNT_INT:
				h->count = (double) f.varint;
				exact &= f.varint <= TWO53;
				break;
			case FIELD_COUNT_FLOAT:
				h->count = get_double(f.bytes);
				break;
			case FIELD_ZERO_COUNT_INT:
				h->zero_count = (double) f.varint;
				exact &= f.varint <= TWO53;
				break;
			case FIELD_ZERO_COUNT_FLOAT:
				h->zero_count = get_double(f.bytes);
				break;
			case FIELD_SUM:
				h->sum = get_double(f.bytes);
				break;
			case FIELD_SCHEMA:
				schema = (int32) prom_zigzag_decode((uint32) f.varint);
				break;
			case FIELD_ZERO_THRESHOLD:
				h->zero_threshold = get_double(f.bytes);
				break;
			case FIELD_POSITIVE_SPANS:
				read_span(&f, span[PROM_POSITIVE]++);
				break;
			case FIELD_NEGATIVE_SPANS:
				read_span(&f, span[PROM_NEGATIVE]++);
				break;
			case FIELD_CUSTOM_VALUES:
				custom = read_doubles(&f, custom);
				break;
			case FIELD_RESET_HINT:
				h->hint = f.varint <= PROM_HINT_GAUGE ? (uint8) f.varint : PROM_HINT_UNKNOWN;
				break;
		}
	}
	h->is_int = w->is_int && exact;
	return prom_wire_finish_histogram(h, schema);
}

const char *
prom_wire_finish_histogram(PromHistogram *h, int32 schema)
{
	const char *reason;

	/* finer buckets are checked as if they were of the finest schema we have, and then merged to that */
	if (schema > PROM_HISTOGRAM_MAX_SCHEMA && schema <= FINEST_SCHEMA)
		h->schema = PROM_HISTOGRAM_MAX_SCHEMA;
	else
		h->schema = (int8) (schema < PG_INT8_MIN || schema > PG_INT8_MAX ? PG_INT8_MAX : schema);
	reason = prom_histogram_check(h, h->size);
	if (reason == NULL && schema > PROM_HISTOGRAM_MAX_SCHEMA)
	{
		h->schema = (int8) schema;
		prom_histogram_reduce(h, PROM_HISTOGRAM_MAX_SCHEMA);
	}
	return reason;
}

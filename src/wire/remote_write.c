/*
 * remote_write.c
 *	  Walks a prometheus.WriteRequest (version 1) without copying.
 *
 * A series is checked wholly, every nested length and wire type of it, before it is handed out; the
 * iterators then read the same bytes again and cannot fail.  Unknown fields are skipped, as protobuf
 * asks; groups are refused.  Of a field that should come once the last one counts.  What a
 * histogram contains is read in write_histogram.c.
 *
 * Text is not looked at: labels may be unsorted, repeated, empty or not UTF-8.
 */
#include "c.h"

#include "common/double.h"
#include "wire/error.h"
#include "wire/protobuf.h"
#include "wire/wire.h"

/* WriteRequest */
#define FIELD_TIMESERIES	1
#define FIELD_METADATA		3

/* TimeSeries */
#define FIELD_LABEL			1
#define FIELD_SAMPLE		2
#define FIELD_EXEMPLAR		3
#define FIELD_HISTOGRAM		4

/* Label */
#define FIELD_NAME			1
#define FIELD_VALUE			2

/* Sample */
#define FIELD_SAMPLE_VALUE	1
#define FIELD_TIMESTAMP		2

/* Exemplar; its labels have the number that those of a TimeSeries have */
#define FIELD_EXEMPLAR_VALUE 2
#define FIELD_EXEMPLAR_TIMESTAMP 3

/* MetricMetadata */
#define FIELD_TYPE			1
#define FIELD_FAMILY		2
#define FIELD_HELP			4
#define FIELD_UNIT			5


static bool check_series(const Field *message, PromWriteSeries *s, Field *at, const char **reason);
static bool check_label(const Field *message, Field *at, const char **reason);
static bool check_sample(const Field *message, Field *at, const char **reason);
static bool check_exemplar(const Field *message, Field *at, const char **reason);
static bool read_metadata(const Field *message, PromWriteMetadata *m, Field *at, const char **reason);
static bool next_known(const PromWriteSeries *s, size_t *pos, uint32 number, PromBytes *message);

void
prom_write_begin(PromWriteWalk *w, const void *message, size_t len)
{
	w->start = w->at = (const uint8 *) message;
	w->end = w->start + len;
}

PromWriteItem
prom_write_next(PromWriteWalk *w, PromWriteSeries *s, PromWriteMetadata *m, PromWireError *err)
{
	PromBytes	b = prom_bytes(w->at, w->end - w->at);
	PromWriteItem item = PROM_WRITE_END;
	const char *reason = NULL;
	Field		f;

	f.start = w->at;
	while (item == PROM_WRITE_END && b.at < b.end && next_field(&b, &f, &reason))
	{
		Field		message = f;

		if (f.number != FIELD_TIMESERIES && f.number != FIELD_METADATA)
			continue;
		if (f.type != WIRE_BYTES)
			reason = "wrong wire type of a series or metadata";
		else if (message.number == FIELD_TIMESERIES && check_series(&message, s, &f, &reason))
			item = PROM_WRITE_SERIES;
		else if (message.number == FIELD_METADATA && read_metadata(&message, m, &f, &reason))
			item = PROM_WRITE_METADATA;
		if (reason)
			break;
	}
	w->at = b.at;
	if (reason == NULL)
		return item;
	(void) wire_fail(err, reason, f.start - w->start);
	w->at = w->end;
	return PROM_WRITE_BAD;
}

bool
prom_write_series(const void *message, size_t len, PromWriteSeries *s, PromWireError *err)
{
	/* what has nothing may lie nowhere, but is walked as all others are */
	Field		whole = {.bytes = len > 0 ? message : (const uint8 *) "", .len = len};
	Field		at = whole;
	const char *reason = NULL;

	at.start = whole.bytes;
	return check_series(&whole, s, &at, &reason) || wire_fail(err, reason, at.start - whole.bytes);
}

const char *
prom_write_type_name(uint32 type)
{
	static const char *const names[] = {"unknown", "counter", "gauge", "histogram", "gaugehistogram",
	"summary", "info", "stateset"};

	return names[type <= PROM_WRITE_MAX_TYPE ? type : 0];
}

void
prom_write_trim_family(PromWriteMetadata *m)
{
	static const struct
	{
		const char *suffix;
		uint32		types;		/* bits */
	}			suffixes[] = {
		{"_bucket", 1 << 3 | 1 << 4}, {"_count", 1 << 3 | 1 << 5}, {"_sum", 1 << 3 | 1 << 5},
		{"_gcount", 1 << 4}, {"_gsum", 1 << 4}
	};

	for (int i = 0; i < lengthof(suffixes); i++)
	{
		size_t		len = strlen(suffixes[i].suffix);

		if ((suffixes[i].types >> m->type & 1) == 0 || m->family_len <= len ||
			memcmp(m->family + m->family_len - len, suffixes[i].suffix, len) != 0)
			continue;
		m->family_len -= len;
		return;
	}
}

/*
 * A label written as senders do: short, a name and then a value, nothing else.  Returns the bytes that it takes,
 * its tag included; 0: it is not such a label, or none, or the bytes end before it does.
 */
static inline size_t
plain_label(const uint8 *p, size_t left, PromWriteLabel *l)
{
	size_t		len;
	size_t		name_len;

	/* tag, length; tag, length, name; tag, length, value */
	if (left < 6 || p[0] != (FIELD_LABEL << 3 | WIRE_BYTES) || p[2] != (FIELD_NAME << 3 | WIRE_BYTES))
		return 0;
	len = p[1];
	name_len = p[3];
	if (len > 0x7F || len < 4 + name_len || left - 2 < len ||
		p[4 + name_len] != (FIELD_VALUE << 3 | WIRE_BYTES) || p[5 + name_len] != len - 4 - name_len)
		return 0;
	l->name = (const char *) p + 4;
	l->name_len = name_len;
	l->value = (const char *) p + 6 + name_len;
	l->value_len = len - 4 - name_len;
	return 2 + len;
}

/* The same of a sample: a value, unless it is 0, and then a time. */
static inline size_t
plain_sample(const uint8 *p, size_t left, int64 *t_ms, double *value)
{
	size_t		len;
	size_t		at = 2;
	uint64		bits = 0;
	uint64		t = 0;

	/* tag, length; tag, eight bytes; tag, varint */
	if (left < 4 || p[0] != (FIELD_SAMPLE << 3 | WIRE_BYTES) || p[1] > 0x7F || left - 2 < p[1])
		return 0;
	len = 2 + (size_t) p[1];
	if (len > at + 9 && p[at] == (FIELD_SAMPLE_VALUE << 3 | WIRE_64BIT))
	{
		bits = prom_get_u64le(p + at + 1);
		at += 9;
	}
	/* ten bytes, a time before 1970, are left to others */
	if (len < at + 2 || len > at + 10 || p[at] != (FIELD_TIMESTAMP << 3 | WIRE_VARINT))
		return 0;
	at++;
	for (int shift = 0; at < len; shift += 7, at++)
	{
		t |= (uint64) (p[at] & 0x7F) << shift;
		if ((p[at] < 0x80) != (at == len - 1))
			return 0;
	}
	*t_ms = (int64) t;
	*value = prom_bits_double(bits);
	return len;
}

bool
prom_write_label(const PromWriteSeries *s, size_t *pos, PromWriteLabel *l)
{
	PromBytes	b;
	Field		f;
	const char *reason;
	size_t		plain = plain_label(s->message + *pos, s->message_len - *pos, l);

	if (plain > 0)
	{
		*pos += plain;
		return true;
	}
	if (!next_known(s, pos, FIELD_LABEL, &b))
		return false;
	memset(l, 0, sizeof(*l));
	l->name = l->value = "";
	while (b.at < b.end && next_field(&b, &f, &reason))
	{
		if (f.number == FIELD_NAME)
		{
			l->name = (const char *) f.bytes;
			l->name_len = f.len;
		}
		else if (f.number == FIELD_VALUE)
		{
			l->value = (const char *) f.bytes;
			l->value_len = f.len;
		}
	}
	return true;
}

bool
prom_write_exemplar(const PromWriteSeries *s, size_t *pos, PromWriteSeries *e, int64 *t_ms, double *value)
{
	PromBytes	b;
	Field		f;
	const char *reason;
	uint64		bits = 0;

	if (!next_known(s, pos, FIELD_EXEMPLAR, &b))
		return false;
	memset(e, 0, sizeof(*e));
	e->message = b.at;
	e->message_len = prom_bytes_left(&b);
	*t_ms = 0;
	while (b.at < b.end && next_field(&b, &f, &reason))
	{
		if (f.number == FIELD_LABEL)
			e->nlabels++;
		else if (f.number == FIELD_EXEMPLAR_VALUE)
			bits = prom_get_u64le(f.bytes);
		else if (f.number == FIELD_EXEMPLAR_TIMESTAMP)
			*t_ms = (int64) f.varint;
	}
	*value = prom_bits_double(bits);
	return true;
}

bool
prom_write_histogram(const PromWriteSeries *s, size_t *pos, PromWriteHistogram *h)
{
	PromBytes	b;

	if (*pos == 0 && s->labels == s->message)
		*pos = s->labels_len;
	if (!next_known(s, pos, FIELD_HISTOGRAM, &b))
		return false;
	prom_wire_measure_histogram(b, h);
	return true;
}

bool
prom_write_sample(const PromWriteSeries *s, size_t *pos, int64 *t_ms, double *value)
{
	PromBytes	b;
	Field		f;
	const char *reason;
	uint64		bits = 0;
	size_t		plain;

	if (*pos == 0 && s->labels == s->message)
		*pos = s->labels_len;
	if (*pos == s->message_len)
		return false;
	plain = plain_sample(s->message + *pos, s->message_len - *pos, t_ms, value);
	if (plain > 0)
	{
		*pos += plain;
		return true;
	}
	if (!next_known(s, pos, FIELD_SAMPLE, &b))
		return false;
	*t_ms = 0;
	while (b.at < b.end && next_field(&b, &f, &reason))
	{
		if (f.number == FIELD_SAMPLE_VALUE)
			bits = prom_get_u64le(f.bytes);
		else if (f.number == FIELD_TIMESTAMP)
			*t_ms = (int64) f.varint;
	}
	*value = prom_bits_double(bits);
	return true;
}

/* One more label; "together" becomes false if something is between it and the one before. */
static inline void
note_label(PromWriteSeries *s, const uint8 *start, const uint8 *last_end, bool *together)
{
	if (s->nlabels++ == 0)
		s->labels = start;
	else if (start != last_end)
		*together = false;
}

/* On failure "at" is the field at fault; the same holds for the checks below. */
static bool
check_series(const Field *message, PromWriteSeries *s, Field *at, const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);
	const uint8 *labels_end = NULL;
	bool		together = true;

	memset(s, 0, sizeof(*s));
	s->message = message->bytes;
	s->message_len = message->len;
	while (b.at < b.end)
	{
		Field		f;
		bool		ok;
		PromWriteLabel label;
		int64		t_ms;
		double		value;
		size_t		plain = plain_label(b.at, prom_bytes_left(&b), &label);

		if (plain > 0)
		{
			note_label(s, b.at, labels_end, &together);
			labels_end = b.at += plain;
			continue;
		}
		plain = plain_sample(b.at, prom_bytes_left(&b), &t_ms, &value);
		if (plain > 0)
		{
			s->nsamples++;
			b.at += plain;
			continue;
		}
		if (!next_field(&b, at, reason))
			return false;
		f = *at;
		if (f.number < FIELD_LABEL || f.number > FIELD_HISTOGRAM)
			continue;
		if (f.type != WIRE_BYTES)
		{
			*reason = "wrong wire type of a label, sample, exemplar or histogram";
			return false;
		}
		switch (f.number)
		{
			case FIELD_LABEL:
				note_label(s, f.start, labels_end, &together);
				labels_end = b.at;
				ok = check_label(&f, at, reason);
				break;
			case FIELD_SAMPLE:
				s->nsamples++;
				ok = check_sample(&f, at, reason);
				break;
			case FIELD_EXEMPLAR:
				s->nexemplars++;
				ok = check_exemplar(&f, at, reason);
				break;
			default:
				s->nhistograms++;
				ok = prom_wire_check_histogram(&f, at, reason);
		}
		if (!ok)
			return false;
	}
	if (together && s->nlabels > 0)
		s->labels_len = labels_end - s->labels;
	return true;
}

static bool
check_label(const Field *message, Field *at, const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);

	while (b.at < b.end)
	{
		if (!next_field(&b, at, reason))
			return false;
		if ((at->number == FIELD_NAME || at->number == FIELD_VALUE) && at->type != WIRE_BYTES)
		{
			*reason = "wrong wire type of a label's name or value";
			return false;
		}
	}
	return true;
}

static bool
check_sample(const Field *message, Field *at, const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);

	while (b.at < b.end)
	{
		if (!next_field(&b, at, reason))
			return false;
		if ((at->number == FIELD_SAMPLE_VALUE && at->type != WIRE_64BIT) ||
			(at->number == FIELD_TIMESTAMP && at->type != WIRE_VARINT))
		{
			*reason = "wrong wire type of a sample's value or timestamp";
			return false;
		}
	}
	return true;
}

static bool
check_exemplar(const Field *message, Field *at, const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);

	while (b.at < b.end)
	{
		Field		f;

		if (!next_field(&b, at, reason))
			return false;
		f = *at;
		if ((f.number == FIELD_LABEL && f.type != WIRE_BYTES) ||
			(f.number == FIELD_EXEMPLAR_VALUE && f.type != WIRE_64BIT) ||
			(f.number == FIELD_EXEMPLAR_TIMESTAMP && f.type != WIRE_VARINT))
		{
			*reason = "wrong wire type in an exemplar";
			return false;
		}
		if (f.number == FIELD_LABEL && !check_label(&f, at, reason))
			return false;
	}
	return true;
}

/* An enum value of a later protocol is UNKNOWN. */
static bool
read_metadata(const Field *message, PromWriteMetadata *m, Field *at, const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);

	memset(m, 0, sizeof(*m));
	m->family = m->help = m->unit = "";
	while (b.at < b.end)
	{
		bool		is_text;

		if (!next_field(&b, at, reason))
			return false;
		is_text = at->number == FIELD_FAMILY || at->number == FIELD_HELP || at->number == FIELD_UNIT;
		if ((at->number == FIELD_TYPE && at->type != WIRE_VARINT) ||
			(is_text && at->type != WIRE_BYTES))
		{
			*reason = "wrong wire type in metadata";
			return false;
		}
		switch (at->number)
		{
			case FIELD_TYPE:
				m->type = at->varint <= PROM_WRITE_MAX_TYPE ? (uint32) at->varint : 0;
				break;
			case FIELD_FAMILY:
				m->family = (const char *) at->bytes;
				m->family_len = at->len;
				break;
			case FIELD_HELP:
				m->help = (const char *) at->bytes;
				m->help_len = at->len;
				break;
			case FIELD_UNIT:
				m->unit = (const char *) at->bytes;
				m->unit_len = at->len;
				break;
		}
	}
	return true;
}

/* The next nested message of a number in a checked series. */
static bool
next_known(const PromWriteSeries *s, size_t *pos, uint32 number, PromBytes *message)
{
	PromBytes	b = prom_bytes(s->message + *pos, s->message_len - *pos);
	const char *reason;
	Field		f;

	while (b.at < b.end && next_field(&b, &f, &reason))
	{
		if (f.number != number)
			continue;
		*pos = b.at - s->message;
		*message = prom_bytes(f.bytes, f.len);
		return true;
	}
	*pos = s->message_len;
	return false;
}

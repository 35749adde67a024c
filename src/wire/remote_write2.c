/*
 * remote_write2.c
 *	  Walks an io.prometheus.write.v2.Request and hands out its series in the form of version 1.
 *
 * In version 2 all text stands once in a table of symbols and is referred to by number.  Each series
 * is written anew as a TimeSeries message of version 1, labels spelled out, so that all that reads
 * series has one form to read and a series is known by the same bytes whichever version a sender has
 * chosen.  Samples and histograms are the same messages in both and are copied as they are, a start
 * timestamp, which version 1 does not know, among them.
 *
 * What is malformed as protobuf ends the walk, as in version 1.  A reference to a symbol that is not
 * there harms the series, exemplar or metadata it stands in, and that alone.
 */
#include "c.h"

#include "wire/error.h"
#include "wire/put.h"
#include "wire/wire.h"

/* Request */
#define FIELD_SYMBOL		4
#define FIELD_TIMESERIES	5

/* TimeSeries */
#define FIELD_LABEL_REFS	1
#define FIELD_SAMPLE		2
#define FIELD_HISTOGRAM		3
#define FIELD_EXEMPLAR		4
#define FIELD_METADATA		5

/* Exemplar: labels as in a series */
#define FIELD_EXEMPLAR_VALUE 2
#define FIELD_EXEMPLAR_TIME	3

/* Metadata */
#define FIELD_TYPE			1
#define FIELD_HELP_REF		3
#define FIELD_UNIT_REF		4

/* The same things in a TimeSeries of version 1, and in its exemplars */
#define V1_LABEL			1
#define V1_SAMPLE			2
#define V1_EXEMPLAR			3
#define V1_HISTOGRAM		4

typedef struct Symbol
{
	const char *text;
	size_t		len;
} Symbol;

static bool count_symbols(PromWrite2Walk *w, uint32 *n, PromWireError *err);
static bool write_series(PromWrite2Walk *w, const Field *message, PromWireBuffer *out, PromWrite2Series *s,
						 Field *at, const char **reason);
static bool write_part(PromWrite2Walk *w, const Field *part, PromWireBuffer *out, PromWrite2Series *s,
					   Field *at, const char **reason);
static bool write_labels(PromWrite2Walk *w, PromBytes message, PromWireBuffer *out, PromWrite2Series *s,
						 Field *at, const char **reason);
static bool write_exemplar(PromWrite2Walk *w, const Field *message, PromWireBuffer *out, PromWrite2Series *s,
						   Field *at, const char **reason);
static bool read_metadata(PromWrite2Walk *w, const Field *message, PromWrite2Series *s, Field *at,
						  const char **reason);
static bool get_symbol(const PromWrite2Walk *w, uint64 ref, Symbol *symbol);
static bool wrong_type(const char **reason);

bool
prom_write2_begin(PromWrite2Walk *w, const void *message, size_t len, bool type_and_unit, PromWireBuffer *symbols,
				  PromWireError *err)
{
	PromBytes	b = prom_bytes(message, len);
	uint32		n;
	uint32		offset;
	const char *reason;
	Field		f;

	memset(w, 0, sizeof(*w));
	w->start = w->at = (const uint8 *) message;
	w->end = w->start + len;
	w->type_and_unit = type_and_unit;
	if (!count_symbols(w, &n, err))
		return false;
	if (!put_room(symbols, (size_t) n * sizeof(offset)))
		return wire_fail(err, "too many symbols", 0);
	while (b.at < b.end && next_field(&b, &f, &reason))
	{
		if (f.number != FIELD_SYMBOL)
			continue;
		offset = (uint32) (f.start - w->start);
		put_bytes(symbols, &offset, sizeof(offset));
	}
	w->symbols = symbols->data;
	w->nsymbols = n;
	return true;
}

PromWriteItem
prom_write2_next(PromWrite2Walk *w, PromWireBuffer *out, PromWrite2Series *s, PromWireError *err)
{
	PromBytes	b = prom_bytes(w->at, w->end - w->at);
	PromWriteItem item = PROM_WRITE_END;
	const char *reason = NULL;
	Field		f;

	f.start = w->at;
	while (item == PROM_WRITE_END && b.at < b.end && next_field(&b, &f, &reason))
	{
		Field		message = f;

		if (f.number != FIELD_TIMESERIES)
			continue;
		if (f.type != WIRE_BYTES)
			(void) wrong_type(&reason);
		else if (write_series(w, &message, out, s, &f, &reason))
			item = PROM_WRITE_SERIES;
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

/* Looks at the outer framing of the whole message. */
static bool
count_symbols(PromWrite2Walk *w, uint32 *n, PromWireError *err)
{
	PromBytes	b = prom_bytes(w->start, w->end - w->start);
	const char *reason = NULL;
	Field		f;

	*n = 0;
	f.start = w->start;
	if (w->end - w->start > PG_INT32_MAX)
		reason = "message is too long";
	while (reason == NULL && b.at < b.end && next_field(&b, &f, &reason))
	{
		if (f.number != FIELD_SYMBOL)
			continue;
		if (f.type != WIRE_BYTES)
			reason = "wrong wire type of a symbol";
		else if ((*n)++ == 0 && f.len > 0)
			reason = "the first symbol is not the empty string";
	}
	return reason == NULL || wire_fail(err, reason, f.start - w->start);
}

/* On failure "at" is the field at fault; the same holds for all below. */
static bool
write_series(PromWrite2Walk *w, const Field *message, PromWireBuffer *out, PromWrite2Series *s, Field *at,
			 const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);
	PromWireError err;

	memset(s, 0, sizeof(*s));
	s->metadata.family = s->metadata.help = s->metadata.unit = "";
	/* Labels depend on metadata that stands behind them; what comes before all is read first. */
	while (b.at < b.end)
	{
		if (!next_field(&b, at, reason))
			return false;
		if (at->number == FIELD_METADATA)
		{
			Field		metadata = *at;

			if (metadata.type != WIRE_BYTES)
				return wrong_type(reason);
			if (!read_metadata(w, &metadata, s, at, reason))
				return false;
		}
	}

	out->len = 0;
	if (!write_labels(w, prom_bytes(message->bytes, message->len), out, s, at, reason))
		return false;
	b = prom_bytes(message->bytes, message->len);
	while (b.at < b.end && next_field(&b, at, reason))
	{
		Field		part = *at;

		if (!write_part(w, &part, out, s, at, reason))
			return false;
	}
	if (out->full)
	{
		*reason = "series takes too much memory";
		return false;
	}

	/* What it has become is checked as any series of version 1 is. */
	if (prom_write_series(out->data, out->len, &s->series, &err))
		return true;
	*at = *message;
	*reason = err.reason;
	return false;
}

static bool
write_part(PromWrite2Walk *w, const Field *part, PromWireBuffer *out, PromWrite2Series *s, Field *at,
		   const char **reason)
{
	if (part->number < FIELD_SAMPLE || part->number > FIELD_EXEMPLAR)
		return true;
	if (part->type != WIRE_BYTES)
		return wrong_type(reason);
	if (part->number == FIELD_EXEMPLAR)
		return write_exemplar(w, part, out, s, at, reason);
	put_text(out, part->number == FIELD_SAMPLE ? V1_SAMPLE : V1_HISTOGRAM, part->bytes, part->len);
	return true;
}

/* One reference more; when there are two, a name and its value, a label. */
static void
take_ref(PromWrite2Walk *w, PromWireBuffer *out, PromWrite2Series *s, uint64 ref, int *nrefs, Symbol *name,
		 bool *bad)
{
	Symbol		symbol;

	if (!get_symbol(w, ref, &symbol))
		*bad = true;
	if (*bad)
		return;
	if ((*nrefs)++ % 2 == 0)
	{
		*name = symbol;
		return;
	}
	if (s != NULL)
	{
		if (name->len == strlen("__name__") && memcmp(name->text, "__name__", name->len) == 0)
		{
			s->metadata.family = symbol.text;
			s->metadata.family_len = symbol.len;
		}
		/* they are of the series' metadata then */
		if (w->type_and_unit && (s->metadata.type != 0 || s->metadata.unit_len > 0) &&
			name->len == strlen("__type__") &&
			(memcmp(name->text, "__type__", name->len) == 0 || memcmp(name->text, "__unit__", name->len) == 0))
			return;
	}
	put_label(out, V1_LABEL, name->text, name->len, symbol.text, symbol.len);
}

/*
 * The labels that the references of a message spell; packed or not.  s: the series, whose labels they
 * are, or NULL for those of an exemplar.  False with no reason: a reference is bad.
 */
static bool
write_refs(PromWrite2Walk *w, PromBytes b, PromWireBuffer *out, PromWrite2Series *s, Field *at, const char **reason)
{
	int			nrefs = 0;
	bool		bad = false;
	Symbol		name = {0};

	while (b.at < b.end)
	{
		if (!next_field(&b, at, reason))
			return false;
		if (at->number != FIELD_LABEL_REFS)
			continue;
		if (at->type == WIRE_VARINT)
			take_ref(w, out, s, at->varint, &nrefs, &name, &bad);
		else if (at->type == WIRE_BYTES)
		{
			PromBytes	refs = prom_bytes(at->bytes, at->len);

			while (refs.at < refs.end && !refs.bad)
			{
				uint64		ref = short_varint(&refs);

				if (!refs.bad)
					take_ref(w, out, s, ref, &nrefs, &name, &bad);
			}
			if (refs.bad)
			{
				*reason = "truncated or overlong varint";
				return false;
			}
		}
		else
			return wrong_type(reason);
	}
	return !bad && nrefs % 2 == 0;
}

static bool
write_labels(PromWrite2Walk *w, PromBytes message, PromWireBuffer *out, PromWrite2Series *s, Field *at,
			 const char **reason)
{
	const PromWriteMetadata *m = &s->metadata;
	const char *type = prom_write_type_name(m->type);

	if (!write_refs(w, message, out, s, at, reason))
	{
		if (*reason)
			return false;
		s->refused = "labels refer to a symbol that is not there, or to a name without a value";
	}
	if (w->type_and_unit && m->type != 0)
		put_label(out, V1_LABEL, "__type__", strlen("__type__"), type, strlen(type));
	if (w->type_and_unit && m->unit_len > 0)
		put_label(out, V1_LABEL, "__unit__", strlen("__unit__"), m->unit, m->unit_len);
	prom_write_trim_family(&s->metadata);
	return true;
}

static bool
write_exemplar(PromWrite2Walk *w, const Field *message, PromWireBuffer *out, PromWrite2Series *s, Field *at,
			   const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);
	size_t		before = out->len;
	size_t		start = put_open(out, V1_EXEMPLAR);

	if (!write_refs(w, b, out, NULL, at, reason))
	{
		out->len = before;
		s->bad_exemplars++;
		return *reason == NULL;
	}
	while (b.at < b.end && next_field(&b, at, reason))
	{
		if (at->number == FIELD_EXEMPLAR_VALUE || at->number == FIELD_EXEMPLAR_TIME)
			put_bytes(out, at->start, b.at - at->start);
	}
	put_close(out, start);
	return true;
}

/* Without family, which its series names.  An enum value of a later protocol is none. */
static bool
read_metadata(PromWrite2Walk *w, const Field *message, PromWrite2Series *s, Field *at, const char **reason)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);
	PromWriteMetadata *m = &s->metadata;
	Symbol		symbol;

	while (b.at < b.end)
	{
		if (!next_field(&b, at, reason))
			return false;
		if (at->number != FIELD_TYPE && at->number != FIELD_HELP_REF && at->number != FIELD_UNIT_REF)
			continue;
		if (at->type != WIRE_VARINT)
			return wrong_type(reason);
		s->has_metadata = true;
		if (at->number == FIELD_TYPE)
			m->type = at->varint <= PROM_WRITE_MAX_TYPE ? (uint32) at->varint : 0;
		else if (!get_symbol(w, at->varint, &symbol))
			s->refused = "metadata refers to a symbol that is not there";
		else if (at->number == FIELD_HELP_REF)
		{
			m->help = symbol.text;
			m->help_len = symbol.len;
		}
		else
		{
			m->unit = symbol.text;
			m->unit_len = symbol.len;
		}
	}
	return true;
}

static bool
get_symbol(const PromWrite2Walk *w, uint64 ref, Symbol *symbol)
{
	uint32		offset;
	PromBytes	b;
	Field		f;
	const char *reason;

	if (ref >= w->nsymbols)
		return false;
	memcpy(&offset, w->symbols + ref * sizeof(offset), sizeof(offset));
	b = prom_bytes(w->start + offset, w->end - w->start - offset);
	if (!next_field(&b, &f, &reason))
		return false;
	symbol->text = (const char *) f.bytes;
	symbol->len = f.len;
	return true;
}

static bool
wrong_type(const char **reason)
{
	*reason = "wrong wire type of a part of a series";
	return false;
}

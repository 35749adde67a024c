/*
 * otlp_exemplar.c
 *	  Exemplars of OpenTelemetry: trace and span id in hexadecimal, attributes if there is room for them.
 */
#include "c.h"

#include "wire/otlp.h"

#define EXEMPLAR_CHARACTERS 128 /* of all its labels, by OpenMetrics */
#define ID_BYTES			16

/* Exemplar */
#define FIELD_EXEMPLAR_TIME	2
#define FIELD_EXEMPLAR_DOUBLE 3
#define FIELD_SPAN_ID		4
#define FIELD_TRACE_ID		5
#define FIELD_EXEMPLAR_INT	6
#define FIELD_FILTERED_ATTRIBUTES 7

bool
prom_otlp_exemplar(Otlp *o, const Field *message, OtlpExemplar *e)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);
	bool		bad = false;
	Field		f;

	e->value = 0;
	e->message = b;
	while (b.at < b.end && !bad)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (otlp_is_field(o, &f, FIELD_EXEMPLAR_DOUBLE, WIRE_64BIT, &bad))
			e->value = otlp_double(&f);
		else if (otlp_is_field(o, &f, FIELD_EXEMPLAR_INT, WIRE_64BIT, &bad))
			e->value = (double) (int64) prom_get_u64le(f.bytes);
		else if (!otlp_is_field(o, &f, FIELD_EXEMPLAR_TIME, WIRE_64BIT, &bad) &&
				 !otlp_is_field(o, &f, FIELD_SPAN_ID, WIRE_BYTES, &bad) &&
				 !otlp_is_field(o, &f, FIELD_TRACE_ID, WIRE_BYTES, &bad))
			(void) otlp_is_field(o, &f, FIELD_FILTERED_ATTRIBUTES, WIRE_BYTES, &bad);
	}
	return !bad;
}

static size_t
hex(char *text, const Field *id)
{
	if (id->len > ID_BYTES)
		return 0;
	for (size_t i = 0; i < id->len; i++)
	{
		text[2 * i] = "0123456789abcdef"[id->bytes[i] >> 4];
		text[2 * i + 1] = "0123456789abcdef"[id->bytes[i] & 15];
	}
	return 2 * id->len;
}

static int
count_characters(const char *s, size_t len)
{
	int			n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((uint8) s[i] & 0xC0) != 0x80;
	return n;
}

bool
prom_otlp_put_exemplar(Otlp *o, const OtlpExemplar *e)
{
	OtlpLevel  *level = &o->exemplar;
	PromBytes	b = e->message;
	char		trace[2 * ID_BYTES];
	char		span[2 * ID_BYTES];
	size_t		trace_len = 0;
	size_t		span_len = 0;
	int64		t_ms = 0;
	int			characters = 0;
	size_t		start;
	Field		f;

	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number == FIELD_EXEMPLAR_TIME)
			t_ms = otlp_ms(&f);
		else if (f.number == FIELD_SPAN_ID)
			span_len = hex(span, &f);
		else if (f.number == FIELD_TRACE_ID)
			trace_len = hex(trace, &f);
	}
	prom_otlp_level_reset(level);
	if (!prom_otlp_attributes(o, e->message, FIELD_FILTERED_ATTRIBUTES, "", OTLP_ALL, level))
		return false;
	prom_otlp_level_finish(level);
	for (int i = 0; i < level->n; i++)
		characters += count_characters(level->labels[i].name, level->labels[i].name_len) +
			count_characters(level->labels[i].value, level->labels[i].value_len);
	characters += span_len + (span_len ? strlen("span_id") : 0) + trace_len + (trace_len ? strlen("trace_id") : 0);
	if (characters > EXEMPLAR_CHARACTERS || level->too_many)
		prom_otlp_level_reset(level);
	if (span_len > 0)
		prom_otlp_set(level, "span_id", span, span_len);
	if (trace_len > 0)
		prom_otlp_set(level, "trace_id", trace, trace_len);

	start = put_open(o->out, V1_EXEMPLAR);
	prom_otlp_put_labels(o->out, level);
	put_double(o->out, 2, e->value);
	put_number(o->out, 3, (uint64) t_ms);
	put_close(o->out, start);
	return true;
}

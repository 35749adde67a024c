/*
 * otlp_value.c
 *	  Values of attributes as text.
 *
 * Text is taken as it is, numbers and booleans as JSON writes them, bytes in base64, arrays and maps as
 * JSON, in which text is quoted and bytes are base64 in quotes.
 */
#include "c.h"

#include <math.h>

#include "wire/otlp.h"

/* AnyValue */
#define FIELD_STRING	1
#define FIELD_BOOL		2
#define FIELD_INT		3
#define FIELD_DOUBLE	4
#define FIELD_ARRAY		5
#define FIELD_MAP		6
#define FIELD_BYTES		7

/* KeyValue */
#define FIELD_KEY		1
#define FIELD_VALUE		2

static bool put_value(Otlp *o, const Field *message, PromWireBuffer *text, int depth);
static bool put_items(Otlp *o, const Field *message, bool is_map, PromWireBuffer *text, int depth);
static void put_json_string(PromWireBuffer *text, const char *s, size_t len);
static void put_base64(PromWireBuffer *text, const uint8 *bytes, size_t len);
static void put_format(PromWireBuffer *text, const char *fmt,...) pg_attribute_printf(2, 3);

/* The field of a oneof that counts: the last.  Its number is 0 if there is none. */
static bool
find_value(Otlp *o, const Field *message, Field *value)
{
	static const WireType types[] = {WIRE_VARINT, WIRE_BYTES, WIRE_VARINT, WIRE_VARINT, WIRE_64BIT, WIRE_BYTES,
	WIRE_BYTES, WIRE_BYTES};
	PromBytes	b = prom_bytes(message->bytes, message->len);
	Field		f;

	memset(value, 0, sizeof(*value));
	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number > FIELD_BYTES)
			continue;
		if (!prom_otlp_expect(o, &f, types[f.number]))
			return false;
		*value = f;
	}
	return true;
}

bool
prom_otlp_value(Otlp *o, const Field *message, PromWireBuffer *text, OtlpValue *value)
{
	Field		f;

	if (!find_value(o, message, &f))
		return false;
	value->is_text = f.number == FIELD_STRING;
	value->text = (const char *) f.bytes;
	value->len = f.len;
	if (value->is_text)
		return true;
	if (f.number == FIELD_BYTES)
	{
		put_base64(text, f.bytes, f.len);
		return true;
	}
	/* of nothing, nothing; inside of arrays it is null */
	return f.number == 0 || put_value(o, message, text, 0);
}

static bool
put_value(Otlp *o, const Field *message, PromWireBuffer *text, int depth)
{
	Field		f;

	if (!find_value(o, message, &f))
		return false;
	switch (f.number)
	{
		case FIELD_STRING:
			put_json_string(text, (const char *) f.bytes, f.len);
			return true;
		case FIELD_BOOL:
			put_format(text, "%s", f.varint ? "true" : "false");
			return true;
		case FIELD_INT:
			put_format(text, "%lld", (long long) (int64) f.varint);
			return true;
		case FIELD_DOUBLE:
			prom_otlp_put_double(text, otlp_double(&f), false);
			return true;
		case FIELD_ARRAY:
		case FIELD_MAP:
			return put_items(o, &f, f.number == FIELD_MAP, text, depth + 1);
		case FIELD_BYTES:
			put_byte(text, '"');
			put_base64(text, f.bytes, f.len);
			put_byte(text, '"');
			return true;
	}
	put_format(text, "null");
	return true;
}

/* ArrayValue or KeyValueList: field 1 is repeated. */
static bool
put_items(Otlp *o, const Field *message, bool is_map, PromWireBuffer *text, int depth)
{
	PromBytes	b = prom_bytes(message->bytes, message->len);
	bool		first = true;
	Field		f;

	if (depth > OTLP_MAX_DEPTH)
		return prom_otlp_bad(o, message->start, "values are nested too deep");
	put_byte(text, is_map ? '{' : '[');
	while (b.at < b.end)
	{
		Field		value;

		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number != 1)
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_BYTES))
			return false;
		if (!first)
			put_byte(text, ',');
		first = false;
		value = f;
		if (is_map)
		{
			PromBytes	pair = prom_bytes(f.bytes, f.len);
			Field		key = {.number = 0};

			memset(&value, 0, sizeof(value));
			while (pair.at < pair.end)
			{
				if (!prom_otlp_next(o, &pair, &f))
					return false;
				if (f.number != FIELD_KEY && f.number != FIELD_VALUE)
					continue;
				if (!prom_otlp_expect(o, &f, WIRE_BYTES))
					return false;
				*(f.number == FIELD_KEY ? &key : &value) = f;
			}
			put_json_string(text, (const char *) key.bytes, key.len);
			put_byte(text, ':');
		}
		if (!put_value(o, &value, text, depth))
			return false;
	}
	put_byte(text, is_map ? '}' : ']');
	return true;
}

static void
put_json_string(PromWireBuffer *text, const char *s, size_t len)
{
	put_byte(text, '"');
	for (size_t i = 0; i < len; i++)
	{
		uint8		c = (uint8) s[i];

		if (c == '"' || c == '\\')
		{
			put_byte(text, '\\');
			put_byte(text, c);
		}
		else if (c < 0x20)
			put_format(text, c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : "\\u%04x", c);
		else
			put_byte(text, c);
	}
	put_byte(text, '"');
}

static void
put_base64(PromWireBuffer *text, const uint8 *bytes, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3)
	{
		uint32		v = (uint32) bytes[i] << 16 | (i + 1 < len ? (uint32) bytes[i + 1] << 8 : 0) |
			(i + 2 < len ? bytes[i + 2] : 0);

		put_byte(text, digits[v >> 18]);
		put_byte(text, digits[v >> 12 & 63]);
		put_byte(text, i + 1 < len ? digits[v >> 6 & 63] : '=');
		put_byte(text, i + 2 < len ? digits[v & 63] : '=');
	}
}

/*
 * The digits that read back as the same number; "plain": never with an exponent, as Prometheus writes
 * le and quantile.
 */
void
prom_otlp_put_double(PromWireBuffer *text, double v, bool plain)
{
	char		s[40];
	char		digits[24];
	int			ndigits = 0;
	int			exponent;
	char	   *e;

	if (isnan(v) || isinf(v))
	{
		put_format(text, "%s", isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
		return;
	}
	for (int precision = 14; precision <= 16; precision++)
	{
		snprintf(s, sizeof(s), "%.*e", precision, v);
		if (strtod(s, NULL) == v)
			break;
	}
	e = strchr(s, 'e');
	exponent = atoi(e + 1);
	for (char *p = s; p < e; p++)
	{
		if (*p >= '0' && *p <= '9')
			digits[ndigits++] = *p;
	}
	while (ndigits > 1 && digits[ndigits - 1] == '0')
		ndigits--;

	if (signbit(v))
		put_byte(text, '-');
	if (!plain && v != 0 && (exponent < -6 || exponent >= 21))
	{
		put_byte(text, digits[0]);
		if (ndigits > 1)
			put_byte(text, '.');
		put_bytes(text, digits + 1, ndigits - 1);
		put_format(text, "e%+d", exponent);
		return;
	}
	for (int i = Min(exponent, 0); i <= Max(exponent, ndigits - 1); i++)
	{
		if (i == exponent + 1 && i > 0)
			put_byte(text, '.');
		put_byte(text, i >= 0 && i < ndigits ? digits[i] : '0');
		if (exponent < 0 && i == exponent)
			put_byte(text, '.');
	}
}

static void
put_format(PromWireBuffer *text, const char *fmt,...)
{
	char		s[64];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(s, sizeof(s), fmt, args);
	va_end(args);
	put_bytes(text, s, strlen(s));
}

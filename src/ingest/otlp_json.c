/*
 * otlp_json.c
 *	  An OTLP message in JSON becomes the same message in protobuf.
 *
 * The server's JSON parser calls us for each object, field and scalar; tables say which field of which
 * message that is.  An open object has a buffer, and goes into that of the object around it when it ends.
 * Unknown names and null are passed over; numbers may come as text, ids are hexadecimal, other bytes base64.
 */
#include "postgres.h"

#include <math.h>

#include "common/base64.h"
#include "common/jsonapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "common/bytes.h"
#include "common/compat.h"
#include "ingest/batch.h"

#define MAX_DEPTH	64			/* of messages in messages */

typedef enum Kind
{
	TEXT, BOOLEAN, INTEGER, ZIGZAG, FIXED, DOUBLE, HEX, BASE64, MESSAGE
} Kind;

typedef struct MessageField
{
	const char *name;			/* NULL ends a table */
	uint32		number;
	Kind		kind;
	const struct MessageField *message;
} MessageField;

static const MessageField any_value[];

static const MessageField key_value[] = {{"key", 1, TEXT}, {"value", 2, MESSAGE, any_value}, {NULL}};
static const MessageField values[] = {{"values", 1, MESSAGE, any_value}, {NULL}};
static const MessageField pairs[] = {{"values", 1, MESSAGE, key_value}, {NULL}};
static const MessageField any_value[] = {
	{"stringValue", 1, TEXT}, {"boolValue", 2, BOOLEAN}, {"intValue", 3, INTEGER}, {"doubleValue", 4, DOUBLE},
	{"arrayValue", 5, MESSAGE, values}, {"kvlistValue", 6, MESSAGE, pairs}, {"bytesValue", 7, BASE64}, {NULL}
};
static const MessageField exemplar[] = {
	{"timeUnixNano", 2, FIXED}, {"asDouble", 3, DOUBLE}, {"spanId", 4, HEX}, {"traceId", 5, HEX}, {"asInt", 6, FIXED},
	{"filteredAttributes", 7, MESSAGE, key_value}, {NULL}
};
static const MessageField number_point[] = {
	{"timeUnixNano", 3, FIXED}, {"asDouble", 4, DOUBLE}, {"exemplars", 5, MESSAGE, exemplar}, {"asInt", 6, FIXED},
	{"attributes", 7, MESSAGE, key_value}, {"flags", 8, INTEGER}, {NULL}
};
static const MessageField histogram_point[] = {
	{"timeUnixNano", 3, FIXED}, {"count", 4, FIXED}, {"sum", 5, DOUBLE}, {"bucketCounts", 6, FIXED},
	{"explicitBounds", 7, DOUBLE}, {"exemplars", 8, MESSAGE, exemplar}, {"attributes", 9, MESSAGE, key_value},
	{"flags", 10, INTEGER}, {NULL}
};
static const MessageField buckets[] = {{"offset", 1, ZIGZAG}, {"bucketCounts", 2, INTEGER}, {NULL}};
static const MessageField exponential_point[] = {
	{"attributes", 1, MESSAGE, key_value}, {"timeUnixNano", 3, FIXED}, {"count", 4, FIXED}, {"sum", 5, DOUBLE},
	{"scale", 6, ZIGZAG}, {"zeroCount", 7, FIXED}, {"positive", 8, MESSAGE, buckets}, {"negative", 9, MESSAGE, buckets},
	{"flags", 10, INTEGER}, {"exemplars", 11, MESSAGE, exemplar}, {"zeroThreshold", 14, DOUBLE}, {NULL}
};
static const MessageField quantile[] = {{"quantile", 1, DOUBLE}, {"value", 2, DOUBLE}, {NULL}};
static const MessageField summary_point[] = {
	{"timeUnixNano", 3, FIXED}, {"count", 4, FIXED}, {"sum", 5, DOUBLE}, {"quantileValues", 6, MESSAGE, quantile},
	{"attributes", 7, MESSAGE, key_value}, {"flags", 8, INTEGER}, {NULL}
};
static const MessageField gauge[] = {{"dataPoints", 1, MESSAGE, number_point}, {NULL}};
static const MessageField sum[] = {
	{"dataPoints", 1, MESSAGE, number_point}, {"aggregationTemporality", 2, INTEGER}, {"isMonotonic", 3, BOOLEAN}, {NULL}
};
static const MessageField histogram[] = {
	{"dataPoints", 1, MESSAGE, histogram_point}, {"aggregationTemporality", 2, INTEGER}, {NULL}
};
static const MessageField exponential[] = {
	{"dataPoints", 1, MESSAGE, exponential_point}, {"aggregationTemporality", 2, INTEGER}, {NULL}
};
static const MessageField summary[] = {{"dataPoints", 1, MESSAGE, summary_point}, {NULL}};
static const MessageField metric[] = {
	{"name", 1, TEXT}, {"description", 2, TEXT}, {"unit", 3, TEXT}, {"gauge", 5, MESSAGE, gauge}, {"sum", 7, MESSAGE, sum},
	{"histogram", 9, MESSAGE, histogram}, {"exponentialHistogram", 10, MESSAGE, exponential},
	{"summary", 11, MESSAGE, summary}, {NULL}
};
static const MessageField scope[] = {
	{"name", 1, TEXT}, {"version", 2, TEXT}, {"attributes", 3, MESSAGE, key_value}, {NULL}
};
static const MessageField scope_metrics[] = {
	{"scope", 1, MESSAGE, scope}, {"metrics", 2, MESSAGE, metric}, {"schemaUrl", 3, TEXT}, {NULL}
};
static const MessageField resource[] = {{"attributes", 1, MESSAGE, key_value}, {NULL}};
static const MessageField resource_metrics[] = {
	{"resource", 1, MESSAGE, resource}, {"scopeMetrics", 2, MESSAGE, scope_metrics}, {NULL}
};
static const MessageField request[] = {{"resourceMetrics", 1, MESSAGE, resource_metrics}, {NULL}};

/* An object that is open. */
typedef struct Frame
{
	const MessageField *message;
	const MessageField *field;	/* the last that began; NULL: unknown */
	StringInfoData bytes;
} Frame;

typedef struct Converter
{
	int			depth;			/* of frames; 0: nothing has begun */
	int			skipping;		/* so many objects and arrays are open that nobody wants */
	bool		done;
	const char *reason;			/* static; what was wrong first */
	Frame		frames[MAX_DEPTH];
} Converter;

static PROM_JSON_ACTION object_start(void *state);
static PROM_JSON_ACTION object_end(void *state);
static PROM_JSON_ACTION array_start(void *state);
static PROM_JSON_ACTION array_end(void *state);
static PROM_JSON_ACTION field_start(void *state, char *name, bool isnull);
static PROM_JSON_ACTION scalar(void *state, char *token, JsonTokenType type);
static void put_scalar(Converter *c, Frame *f, const char *token, JsonTokenType type);

const void *
prom_otlp_from_json(const char *json, size_t json_len, size_t *len, char **reason)
{
	Converter  *c = palloc0(sizeof(Converter));
	JsonLexContext *lex = PromJsonLexer(unconstify(char *, json), (int) json_len);
	JsonSemAction actions = {
		.semstate = c,
		.object_start = object_start,
		.object_end = object_end,
		.array_start = array_start,
		.array_end = array_end,
		.object_field_start = field_start,
		.scalar = scalar
	};
	MemoryContext old = CurrentMemoryContext;
	JsonParseErrorType result;

	PG_TRY();
	{
		result = pg_parse_json(lex, &actions);
		if (result != JSON_SUCCESS)
			*reason = psprintf("json: %s", json_errdetail(result, lex));
	}
	PG_CATCH();
	{
		/* nested too deep for the stack: it has touched nothing but its own memory */
		if (geterrcode() != ERRCODE_STATEMENT_TOO_COMPLEX)
			PG_RE_THROW();
		MemoryContextSwitchTo(old);
		FlushErrorState();
		*reason = pstrdup("json: nested too deep");
		return NULL;
	}
	PG_END_TRY();
	if (result != JSON_SUCCESS)
		return NULL;
	if (c->reason == NULL && !c->done)
		c->reason = "not an object";
	if (c->reason)
	{
		*reason = psprintf("json: %s", c->reason);
		return NULL;
	}
	*len = c->frames[0].bytes.len;
	return c->frames[0].bytes.data;
}

static void
fail(Converter *c, const char *reason)
{
	if (c->reason == NULL)
		c->reason = reason;
}

static PROM_JSON_ACTION
object_start(void *state)
{
	Converter  *c = state;
	const MessageField *message = request;
	Frame	   *f;

	if (c->depth > 0)
	{
		const MessageField *field = c->frames[c->depth - 1].field;

		if (c->skipping == 0 && field && field->kind != MESSAGE)
			fail(c, "an object where a value belongs");
		if (c->skipping > 0 || field == NULL || field->kind != MESSAGE)
		{
			c->skipping++;
			PROM_JSON_GO_ON;
		}
		message = field->message;
	}
	if (c->depth == MAX_DEPTH || (c->depth == 0 && c->skipping > 0))
	{
		fail(c, c->depth == 0 ? "not an object" : "nested too deep");
		c->skipping++;
		PROM_JSON_GO_ON;
	}
	f = &c->frames[c->depth++];
	f->message = message;
	f->field = NULL;
	/* the memory of an object that ended is used again */
	if (f->bytes.data == NULL)
		initStringInfo(&f->bytes);
	resetStringInfo(&f->bytes);
	PROM_JSON_GO_ON;
}

static void
put_varint(StringInfo out, uint64 v)
{
	uint8		bytes[10];

	appendBinaryStringInfo(out, (char *) bytes, prom_put_varint(bytes, v) - bytes);
}

static void
put_bytes(StringInfo out, uint32 number, const char *bytes, int len)
{
	put_varint(out, number << 3 | 2);
	put_varint(out, len);
	appendBinaryStringInfo(out, bytes, len);
}

static PROM_JSON_ACTION
object_end(void *state)
{
	Converter  *c = state;
	Frame	   *f;

	if (c->skipping > 0)
	{
		c->skipping--;
		PROM_JSON_GO_ON;
	}
	f = &c->frames[--c->depth];
	if (c->depth == 0)
		c->done = true;
	else
		put_bytes(&f[-1].bytes, f[-1].field->number, f->bytes.data, f->bytes.len);
	PROM_JSON_GO_ON;
}

/* Elements of an array are values of the field that it belongs to; arrays in arrays are of nothing we know. */
static PROM_JSON_ACTION
array_start(void *state)
{
	Converter  *c = state;

	if (c->depth == 0)
		fail(c, "not an object");
	if (c->skipping > 0 || c->depth == 0 || c->frames[c->depth - 1].field == NULL)
		c->skipping++;
	PROM_JSON_GO_ON;
}

static PROM_JSON_ACTION
array_end(void *state)
{
	Converter  *c = state;

	if (c->skipping > 0)
		c->skipping--;
	PROM_JSON_GO_ON;
}

/* "asDouble" is also as_double: protobuf's own JSON allows both. */
static bool
same_name(const char *name, const char *given)
{
	for (; *name; name++, given++)
	{
		if (*name == *given)
			continue;
		if (given[0] != '_' || !(*name >= 'A' && *name <= 'Z') || given[1] != *name - 'A' + 'a')
			return false;
		given++;
	}
	return *given == '\0';
}

static PROM_JSON_ACTION
field_start(void *state, char *name, bool isnull)
{
	Converter  *c = state;
	Frame	   *f;

	if (c->skipping > 0)
		PROM_JSON_GO_ON;
	f = &c->frames[c->depth - 1];
	f->field = NULL;
	for (const MessageField *field = f->message; field->name; field++)
	{
		if (same_name(field->name, name))
			f->field = field;
	}
	PROM_JSON_GO_ON;
}

static PROM_JSON_ACTION
scalar(void *state, char *token, JsonTokenType type)
{
	Converter  *c = state;
	Frame	   *f;

	if (c->depth == 0)
		fail(c, "not an object");
	if (c->skipping > 0 || c->depth == 0 || type == JSON_TOKEN_NULL)
		PROM_JSON_GO_ON;
	f = &c->frames[c->depth - 1];
	if (f->field != NULL)
		put_scalar(c, f, token, type);
	PROM_JSON_GO_ON;
}

/* Whole numbers up to 2^64, as many senders write them as text. */
static bool
read_integer(const char *token, uint64 *v)
{
	static const char *const names[] = {"AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA",
	"AGGREGATION_TEMPORALITY_CUMULATIVE"};
	char	   *end;

	for (int i = 0; i < lengthof(names); i++)
	{
		if (strcmp(token, names[i]) == 0)
		{
			*v = i;
			return true;
		}
	}
	errno = 0;
	*v = *token == '-' ? (uint64) strtoll(token, &end, 10) : strtoull(token, &end, 10);
	return end > token && *end == '\0' && errno == 0;
}

static bool
read_double(const char *token, uint64 *bits)
{
	char	   *end;
	double		v;

	if (strcmp(token, "Infinity") == 0 || strcmp(token, "-Infinity") == 0)
		v = token[0] == '-' ? -INFINITY : INFINITY;
	else if (strcmp(token, "NaN") == 0)
		v = NAN;
	else
	{
		v = strtod(token, &end);
		if (end == token || *end != '\0' || !isfinite(v))
			return false;
	}
	memcpy(bits, &v, sizeof(v));
	return true;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool
put_hex(StringInfo out, uint32 number, const char *token)
{
	int			len = strlen(token);
	char	   *bytes = palloc(len / 2 + 1);

	for (int i = 0; i + 1 < len; i += 2)
	{
		int			high = hex_digit(token[i]);
		int			low = hex_digit(token[i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i / 2] = (char) (high << 4 | low);
	}
	put_bytes(out, number, bytes, len / 2);
	pfree(bytes);
	return len % 2 == 0;
}

static bool
put_base64(StringInfo out, uint32 number, const char *token)
{
	int			size = pg_b64_dec_len(strlen(token));
	void	   *bytes = palloc(size + 1);
	int			len = pg_b64_decode(token, strlen(token), bytes, size);

	if (len < 0)
		return false;
	put_bytes(out, number, bytes, len);
	pfree(bytes);
	return true;
}

static void
put_scalar(Converter *c, Frame *f, const char *token, JsonTokenType type)
{
	StringInfo	out = &f->bytes;
	uint32		number = f->field->number;
	bool		is_text = type == JSON_TOKEN_STRING;
	bool		is_number = is_text || type == JSON_TOKEN_NUMBER;
	bool		ok = false;
	uint64		v;
	uint8		bytes[8];

	switch (f->field->kind)
	{
		case TEXT:
			ok = is_text;
			if (ok)
				put_bytes(out, number, token, strlen(token));
			break;
		case HEX:
			ok = is_text && put_hex(out, number, token);
			break;
		case BASE64:
			ok = is_text && put_base64(out, number, token);
			break;
		case BOOLEAN:
			ok = type == JSON_TOKEN_TRUE || type == JSON_TOKEN_FALSE;
			put_varint(out, number << 3);
			put_varint(out, type == JSON_TOKEN_TRUE);
			break;
		case INTEGER:
		case ZIGZAG:
			ok = is_number && read_integer(token, &v);
			put_varint(out, number << 3);
			put_varint(out, !ok ? 0 : f->field->kind == ZIGZAG ? prom_zigzag_encode((int64) v) : v);
			break;
		case FIXED:
		case DOUBLE:
			ok = is_number && (f->field->kind == FIXED ? read_integer(token, &v) : read_double(token, &v));
			prom_put_u64le(bytes, ok ? v : 0);
			put_varint(out, number << 3 | 1);
			appendBinaryStringInfo(out, (char *) bytes, sizeof(bytes));
			break;
		case MESSAGE:
			break;
	}
	if (!ok)
		fail(c, f->field->kind == MESSAGE ? "a value where an object belongs" : "a value of a wrong type, or out of range");
}

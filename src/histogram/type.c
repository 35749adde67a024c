/*
 * type.c
 *	  The SQL type prom.histogram: in, out, receive, send.
 *
 * Text form is the notation of Prometheus' test scripts, {{schema:1 count:5 buckets:[2 3]}}, which has
 * one run of buckets a side, from "offset" on.  Where a histogram is laid out otherwise, "spans" and
 * "n_spans" give the layout, [offset:length ...]; "int:true" says that it came in integers; a NaN that
 * is not the ordinary one has its bits in parentheses.  So every histogram comes back as it was.
 *
 * The binary form is the flat bytes, little endian as they lie in memory.  What comes in is checked
 * for its shape; counts may be negative, as those of a difference are.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/float.h"

#include "common/double.h"
#include "histogram/type.h"

#ifdef WORDS_BIGENDIAN
#error "prom.histogram is sent as it lies in memory, little endian"
#endif

PG_FUNCTION_INFO_V1(prom_histogram_in);
PG_FUNCTION_INFO_V1(prom_histogram_out);
PG_FUNCTION_INFO_V1(prom_histogram_recv);
PG_FUNCTION_INFO_V1(prom_histogram_send);

/* The varlena header, padded so that the histogram is aligned. */
#define VALUE_HEAD	8

static const char *const hint_names[] = {"unknown", "reset", "not_reset", "gauge"};

/* The numbers between brackets; offsets and lengths of spans alternate. */
typedef struct NumberList
{
	double	   *v;
	int			n;
	int			size;
} NumberList;

typedef struct HistogramText
{
	const char *start;
	const char *at;
	double		schema;
	double		count;
	double		sum;
	double		zero_count;
	double		zero_threshold;
	double		offset[2];
	bool		is_int;
	bool		has_spans[2];
	int			hint;
	NumberList	custom;
	NumberList	buckets[2];
	NumberList	spans[2];
} HistogramText;

const PromHistogram *
prom_histogram_from_datum(Datum d)
{
	return (const PromHistogram *) ((char *) PG_DETOAST_DATUM(d) + VALUE_HEAD);
}

Datum
prom_histogram_to_datum(const PromHistogram *h)
{
	char	   *value = palloc(VALUE_HEAD + h->size);

	SET_VARSIZE(value, VALUE_HEAD + h->size);
	memset(value + VARHDRSZ, 0, VALUE_HEAD - VARHDRSZ);
	memcpy(value + VALUE_HEAD, h, h->size);
	((PromHistogram *) (value + VALUE_HEAD))->read_hint = PROM_HINT_UNKNOWN;
	return PointerGetDatum(value);
}

/* ---- text in ---- */

static pg_noinline void
syntax_error(const HistogramText *t, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"", "prom.histogram", t->start),
			 errdetail("%s, at character %d.", detail, (int) (t->at - t->start) + 1)));
}

static inline void
skip_blanks(HistogramText *t)
{
	while (*t->at == ' ' || *t->at == '\t' || *t->at == '\n' || *t->at == '\r')
		t->at++;
}

static bool
accept(HistogramText *t, const char *token)
{
	size_t		len = strlen(token);

	if (strncmp(t->at, token, len) != 0)
		return false;
	t->at += len;
	return true;
}

static double
parse_number(HistogramText *t)
{
	char	   *end;
	double		v;

	errno = 0;
	v = strtod(t->at, &end);
	if (end == t->at || (errno == ERANGE && (v == 0 || isinf(v))))
		syntax_error(t, "A number is expected here");
	t->at = end;
	if (isnan(v))
	{
		uint64		bits = PROM_NORMAL_NAN_BITS;

		if (end[-1] != ')' && accept(t, "("))
		{
			bits = strtoull(t->at, &end, 16);
			t->at = end;
			if (!accept(t, ")"))
				syntax_error(t, "A parenthesis is expected here");
		}
		else if (end[-1] == ')')
		{
			/* strtod knows of NaN(...) and took it */
			const char *open = end - 1;

			while (*open != '(')
				open--;
			bits = strtoull(open + 1, NULL, 16);
		}
		v = prom_bits_double(bits);
		if (!isnan(v))
			syntax_error(t, "The bits of a NaN are expected here");
	}
	return v;
}

static void
list_add(HistogramText *t, NumberList *list, double v)
{
	if (list->n == 2 * PROM_HISTOGRAM_MAX_BUCKETS)
		syntax_error(t, "There are too many numbers");
	if (list->n == list->size)
	{
		list->size = Max(16, 2 * list->size);
		list->v = list->v ? repalloc(list->v, list->size * sizeof(double)) : palloc(list->size * sizeof(double));
	}
	list->v[list->n++] = v;
}

/* [1 2 3], or [1:2 3:4] */
static void
parse_list(HistogramText *t, NumberList *list, bool pairs)
{
	list->n = 0;
	if (!accept(t, "["))
		syntax_error(t, "A bracket is expected here");
	for (skip_blanks(t); !accept(t, "]"); skip_blanks(t))
	{
		list_add(t, list, parse_number(t));
		if (!pairs)
			continue;
		if (!accept(t, ":"))
			syntax_error(t, "A colon and the length of a span are expected here");
		list_add(t, list, parse_number(t));
	}
}

static void
parse_hint(HistogramText *t)
{
	for (int i = lengthof(hint_names) - 1; i >= 0; i--)
		if (accept(t, hint_names[i]))
		{
			t->hint = i;
			return;
		}
	syntax_error(t, "\"unknown\", \"reset\", \"not_reset\" or \"gauge\" is expected here");
}

static void
parse_key(HistogramText *t)
{
	if (accept(t, "schema:"))
		t->schema = parse_number(t);
	else if (accept(t, "count:"))
		t->count = parse_number(t);
	else if (accept(t, "sum:"))
		t->sum = parse_number(t);
	else if (accept(t, "z_bucket:"))
		t->zero_count = parse_number(t);
	else if (accept(t, "z_bucket_w:"))
		t->zero_threshold = parse_number(t);
	else if (accept(t, "custom_values:"))
		parse_list(t, &t->custom, false);
	else if (accept(t, "buckets:"))
		parse_list(t, &t->buckets[PROM_POSITIVE], false);
	else if (accept(t, "n_buckets:"))
		parse_list(t, &t->buckets[PROM_NEGATIVE], false);
	else if (accept(t, "offset:"))
		t->offset[PROM_POSITIVE] = parse_number(t);
	else if (accept(t, "n_offset:"))
		t->offset[PROM_NEGATIVE] = parse_number(t);
	else if (accept(t, "spans:"))
	{
		parse_list(t, &t->spans[PROM_POSITIVE], true);
		t->has_spans[PROM_POSITIVE] = true;
	}
	else if (accept(t, "n_spans:"))
	{
		parse_list(t, &t->spans[PROM_NEGATIVE], true);
		t->has_spans[PROM_NEGATIVE] = true;
	}
	else if (accept(t, "int:true"))
		t->is_int = true;
	else if (accept(t, "counter_reset_hint:"))
		parse_hint(t);
	else
		syntax_error(t, "A field of a histogram is expected here");
}

/* A whole number within bounds. */
static int64
whole(const HistogramText *t, double v, int64 min, int64 max)
{
	if (!(v >= (double) min && v <= (double) max && v == floor(v)))
		syntax_error(t, "A schema, an offset or a length is no whole number within its range");
	return (int64) v;
}

static PromHistogram *
build_histogram(HistogramText *t)
{
	size_t		size;
	PromHistogram *h;

	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
		if (!t->has_spans[side] && t->buckets[side].n > 0)
		{
			list_add(t, &t->spans[side], t->offset[side]);
			list_add(t, &t->spans[side], t->buckets[side].n);
		}
	size = prom_histogram_size(t->buckets[0].n, t->buckets[1].n, t->custom.n, t->spans[0].n / 2, t->spans[1].n / 2);
	h = palloc0(size);
	h->size = size;
	h->schema = (int8) whole(t, t->schema, PG_INT8_MIN, PG_INT8_MAX);
	h->hint = t->hint;
	h->is_int = t->is_int;
	h->ncustom = t->custom.n;
	h->zero_threshold = t->zero_threshold;
	h->zero_count = t->zero_count;
	h->count = t->count;
	h->sum = t->sum;
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
	{
		h->nbuckets[side] = t->buckets[side].n;
		h->nspans[side] = t->spans[side].n / 2;
	}
	for (int side = PROM_POSITIVE; side <= PROM_NEGATIVE; side++)
	{
		PromHistogramSpan *span = prom_histogram_spans(h, side);

		if (t->buckets[side].n > 0)
			memcpy(prom_histogram_buckets(h, side), t->buckets[side].v, t->buckets[side].n * sizeof(double));
		for (uint32 i = 0; i < h->nspans[side]; i++)
		{
			span[i].offset = (int32) whole(t, t->spans[side].v[2 * i], PG_INT32_MIN, PG_INT32_MAX);
			span[i].length = (uint32) whole(t, t->spans[side].v[2 * i + 1], 0, PROM_HISTOGRAM_MAX_BUCKETS);
		}
	}
	if (t->custom.n > 0)
		memcpy(prom_histogram_custom(h), t->custom.v, t->custom.n * sizeof(double));
	return h;
}

static void
check_foreign(const PromHistogram *h, size_t size, int errcode_bad)
{
	const char *reason = prom_histogram_check_shape(h, size);

	if (reason)
		ereport(ERROR,
				(errcode(errcode_bad),
				 errmsg("invalid prom.histogram"),
				 errdetail_internal("%s", reason)));
}

Datum
prom_histogram_in(PG_FUNCTION_ARGS)
{
	HistogramText t = {0};
	PromHistogram *h;

	t.start = t.at = PG_GETARG_CSTRING(0);
	skip_blanks(&t);
	if (!accept(&t, "{{"))
		syntax_error(&t, "A histogram begins with {{");
	for (skip_blanks(&t); !accept(&t, "}}"); skip_blanks(&t))
		parse_key(&t);
	skip_blanks(&t);
	if (*t.at != '\0')
		syntax_error(&t, "Nothing is expected after }}");
	h = build_histogram(&t);
	check_foreign(h, h->size, ERRCODE_INVALID_TEXT_REPRESENTATION);
	PG_RETURN_DATUM(prom_histogram_to_datum(h));
}

/* ---- text out ---- */

static void
print_number(StringInfo out, double v)
{
	if (isinf(v))
		appendStringInfoString(out, v > 0 ? "Inf" : "-Inf");
	else if (!isnan(v))
	{
		char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

		double_to_shortest_decimal_buf(v, text);
		appendStringInfoString(out, text);
	}
	else if (prom_double_bits(v) == PROM_NORMAL_NAN_BITS)
		appendStringInfoString(out, "NaN");
	else
		appendStringInfo(out, "NaN(0x%016" INT64_MODIFIER "x)", prom_double_bits(v));
}

static void
print_field(StringInfo out, const char *name, double v)
{
	appendStringInfo(out, " %s:", name);
	print_number(out, v);
}

static void
print_list(StringInfo out, const char *name, const double *v, uint32 n)
{
	if (n == 0)
		return;
	appendStringInfo(out, " %s:", name);
	for (uint32 i = 0; i < n; i++)
	{
		appendStringInfoChar(out, i == 0 ? '[' : ' ');
		print_number(out, v[i]);
	}
	appendStringInfoChar(out, ']');
}

static void
print_side(StringInfo out, const PromHistogram *h, PromHistogramSide side)
{
	const PromHistogramSpan *span = prom_histogram_spans(h, side);
	const char *prefix = side == PROM_NEGATIVE ? "n_" : "";
	char		name[16];

	if (h->nspans[side] == 1 && h->nbuckets[side] > 0)
	{
		if (span[0].offset != 0)
			appendStringInfo(out, " %soffset:%d", prefix, span[0].offset);
	}
	else if (h->nspans[side] > 0)
	{
		appendStringInfo(out, " %sspans:", prefix);
		for (uint32 i = 0; i < h->nspans[side]; i++)
			appendStringInfo(out, "%c%d:%u", i == 0 ? '[' : ' ', span[i].offset, span[i].length);
		appendStringInfoChar(out, ']');
	}
	snprintf(name, sizeof(name), "%sbuckets", prefix);
	print_list(out, name, prom_histogram_buckets(h, side), h->nbuckets[side]);
}

Datum
prom_histogram_out(PG_FUNCTION_ARGS)
{
	const PromHistogram *h = prom_histogram_from_datum(PG_GETARG_DATUM(0));
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{{schema:%d", h->schema);
	print_field(&out, "count", h->count);
	print_field(&out, "sum", h->sum);
	/* not -0 either, which would come back as 0 */
	if (h->zero_count != 0 || signbit(h->zero_count))
		print_field(&out, "z_bucket", h->zero_count);
	if (h->zero_threshold != 0 || signbit(h->zero_threshold))
		print_field(&out, "z_bucket_w", h->zero_threshold);
	print_list(&out, "custom_values", prom_histogram_custom(h), h->ncustom);
	print_side(&out, h, PROM_POSITIVE);
	print_side(&out, h, PROM_NEGATIVE);
	if (h->is_int)
		appendStringInfoString(&out, " int:true");
	if (h->hint != PROM_HINT_UNKNOWN)
		appendStringInfo(&out, " counter_reset_hint:%s", hint_names[h->hint]);
	appendStringInfoString(&out, "}}");
	PG_RETURN_CSTRING(out.data);
}

/* ---- binary ---- */

Datum
prom_histogram_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			len = buf->len - buf->cursor;
	char	   *value = palloc(VALUE_HEAD + Max(len, (int) offsetof(PromHistogram, d)));

	SET_VARSIZE(value, VALUE_HEAD + len);
	memset(value + VARHDRSZ, 0, VALUE_HEAD - VARHDRSZ);
	pq_copymsgbytes(buf, value + VALUE_HEAD, len);
	check_foreign((PromHistogram *) (value + VALUE_HEAD), len, ERRCODE_INVALID_BINARY_REPRESENTATION);
	((PromHistogram *) (value + VALUE_HEAD))->read_hint = PROM_HINT_UNKNOWN;
	PG_RETURN_POINTER(value);
}

Datum
prom_histogram_send(PG_FUNCTION_ARGS)
{
	const PromHistogram *h = prom_histogram_from_datum(PG_GETARG_DATUM(0));
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbytes(&buf, (const char *) h, h->size);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * vals.c
 *	  The SQL type prom.vals: one series' values over all steps of a query.
 *
 * Text: "[1 2 _ NaN]", one word per step, "_" where the step is absent; "const(5)" for a constant.
 * Digits are the fewest that read back as the same float64; the payload of a NaN is not shown.  A native
 * histogram is in the form of prom.histogram, {{...}}.
 * Binary keeps every bit: format, flags, steps (int4), bitmap (int8 words), the present values; of the mixed
 * format each of these has ahead the size of a histogram (int4), which follows, or 0.
 * Both inputs accept exactly what the outputs can write, so a datum of this type is always sound:
 * npresent counts the bits, bits and values beyond the steps are zero, a constant has its value.
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "common/shortest_dec.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "port/pg_bitutils.h"
#include "utils/timestamp.h"

#include "common/clock.h"
#include "common/compat.h"
#include "histogram/type.h"
#include "store/store.h"
#include "vals/vals.h"

extern Datum prom_histogram_in(PG_FUNCTION_ARGS);
extern Datum prom_histogram_out(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(prom_vals_in);
PG_FUNCTION_INFO_V1(prom_vals_out);
PG_FUNCTION_INFO_V1(prom_vals_recv);
PG_FUNCTION_INFO_V1(prom_vals_send);
PG_FUNCTION_INFO_V1(prom_vals);
PG_FUNCTION_INFO_V1(prom_time);
PG_FUNCTION_INFO_V1(prom_floats);
PG_FUNCTION_INFO_V1(prom_vector);
PG_FUNCTION_INFO_V1(prom_scalar);
PG_FUNCTION_INFO_V1(prom_absent);
PG_FUNCTION_INFO_V1(prom_order);
PG_FUNCTION_INFO_V1(prom_points);

void
prom_vals_check_steps(int nsteps)
{
	if (nsteps < 1 || nsteps > PROM_VALS_MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("number of steps must be between 1 and %d", PROM_VALS_MAX_STEPS),
				 errdetail("%d steps were asked for.", nsteps)));
}

void
prom_vals_check_equal(int nsteps, int other)
{
	if (nsteps != other)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("operands have %d and %d steps", nsteps, other)));
}

PromVals *
prom_vals_new(int nsteps)
{
	PromVals   *x;

	prom_vals_check_steps(nsteps);
	prom_store_need_memory(PROM_VALS_SIZE(nsteps));
	x = palloc0(PROM_VALS_SIZE(nsteps));
	SET_VARSIZE(x, PROM_VALS_SIZE(nsteps));
	x->format = PROM_VALS_FORMAT;
	x->nsteps = nsteps;
	return x;
}

PromVals *
prom_vals_const(double v)
{
	PromVals   *x = prom_vals_new(1);

	x->flags = PROM_VALS_CONST;
	prom_vals_set(x, 0, v);
	return x;
}

PromVals *
prom_vals_copy(const PromVals *x)
{
	PromVals   *copy;

	prom_store_need_memory(VARSIZE(x));
	copy = palloc(VARSIZE(x));
	memcpy(copy, x, VARSIZE(x));
	copy->notes = 0;
	return copy;
}

/* ---- text ---- */

static void
append_value(StringInfo out, double v)
{
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isnan(v))
		appendStringInfoString(out, "NaN");
	else if (isinf(v))
		appendStringInfoString(out, v > 0 ? "+Inf" : "-Inf");
	else
	{
		double_to_shortest_decimal_buf(v, digits);
		appendStringInfoString(out, digits);
	}
}

static void
append_histogram(StringInfo out, const PromHistogram *h)
{
	appendStringInfoString(out, DatumGetCString(DirectFunctionCall1(prom_histogram_out, prom_histogram_to_datum(h))));
}

Datum
prom_vals_out(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_GETARG_PROM_VALS_P(0);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, prom_vals_is_const(x) ? "const(" : "[");
	for (int i = 0; i < x->nsteps; i++)
	{
		if (i > 0)
			appendStringInfoChar(&out, ' ');
		if (prom_vals_histogram(x, i))
			append_histogram(&out, prom_vals_histogram(x, i));
		else if (prom_vals_has(x, i))
			append_value(&out, x->v[i]);
		else
			appendStringInfoChar(&out, '_');
	}
	appendStringInfoChar(&out, prom_vals_is_const(x) ? ')' : ']');
	PG_RETURN_CSTRING(out.data);
}

static void
text_error(const char *text)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"", "prom.vals", text)));
}

static bool
ends_word(char c)
{
	return c == '\0' || c == ' ' || c == ']' || c == ')';
}

/* Reads one number at *at and moves behind it. */
static double
read_value(const char **at, const char *text)
{
	char	   *end;
	double		v;

	if (isspace((unsigned char) **at))
		text_error(text);
	v = strtod(*at, &end);
	if (end == *at || !ends_word(*end))
		text_error(text);
	*at = end;
	return v;
}

/* Reads "{{...}}" at *at and moves behind it. */
static const PromHistogram *
read_histogram(const char **at, const char *text)
{
	const char *end = strstr(*at, "}}");
	char	   *word;

	if (end == NULL || !ends_word(end[2]))
		text_error(text);
	word = pnstrdup(*at, end + 2 - *at);
	*at = end + 2;
	return prom_histogram_from_datum(DirectFunctionCall3(prom_histogram_in, CStringGetDatum(word),
														 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/* How many words there are; in those of histograms there are blanks, too. */
static int
count_words(const char *at)
{
	int			n = 1;
	bool		inside = false;

	for (; *at != '\0' && n <= PROM_VALS_MAX_STEPS; at++)
	{
		if (*at == '{' || *at == '}')
			inside = *at == '{';
		else if (*at == ' ' && !inside)
			n++;
	}
	return n;
}

/* Words up to "]", which is what a vector's text consists of; at is behind the "[". */
static PromVals *
read_vector(const char *at, const char *text)
{
	int			nsteps = count_words(at);
	PromMixed	m = prom_mixed_new(nsteps);

	for (int i = 0; i < nsteps; i++)
	{
		if (i > 0 && *at++ != ' ')
			text_error(text);
		if (at[0] == '_' && ends_word(at[1]))
			at++;
		else if (at[0] == '{')
			prom_mixed_set_histogram(&m, i, read_histogram(&at, text));
		else
			prom_mixed_set(&m, i, read_value(&at, text));
	}
	if (strcmp(at, "]") != 0)
		text_error(text);
	return prom_mixed_finish(&m);
}

Datum
prom_vals_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);
	const char *at = text;
	double		v;

	if (at[0] == '[')
		PG_RETURN_POINTER(read_vector(at + 1, text));
	if (strncmp(at, "const(", 6) != 0)
		text_error(text);
	at += 6;
	v = read_value(&at, text);
	if (strcmp(at, ")") != 0)
		text_error(text);
	PG_RETURN_POINTER(prom_vals_const(v));
}

/* ---- binary ---- */

Datum
prom_vals_send(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_GETARG_PROM_VALS_P(0);
	uint64	   *bits = PROM_VALS_BITS(x);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, x->format);
	pq_sendbyte(&buf, x->flags);
	pq_sendint32(&buf, x->nsteps);
	for (int i = 0; i < PROM_VALS_WORDS(x->nsteps); i++)
		pq_sendint64(&buf, bits[i]);
	for (int i = 0; i < x->nsteps; i++)
	{
		const PromHistogram *h = prom_vals_histogram(x, i);

		if (!prom_vals_has(x, i))
			continue;
		if (prom_vals_is_mixed(x))
			pq_sendint32(&buf, h ? h->size : 0);
		if (h)
			pq_sendbytes(&buf, (const char *) h, h->size);
		else
			pq_sendfloat8(&buf, x->v[i]);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

static void
binary_error(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid binary prom.vals"),
			 errdetail_internal("%s", detail)));
}

PromHistogram *
prom_vals_receive_histogram(StringInfo buf, uint32 size)
{
	PromHistogram *h;

	if (size > (size_t) (buf->len - buf->cursor))
		binary_error("A histogram is cut off.");
	h = palloc(size);
	memcpy(h, pq_getmsgbytes(buf, size), size);
	if (prom_histogram_check_shape(h, size) != NULL)
		binary_error(prom_histogram_check_shape(h, size));
	return h;
}

/* The values of the steps that are present in m's bitmap. */
static PromVals *
receive_mixed(StringInfo buf, PromMixed *m)
{
	for (int i = 0; i < m->vals->nsteps; i++)
	{
		uint32		size;

		if (!prom_vals_has(m->vals, i))
			continue;
		size = pq_getmsgint(buf, 4);
		if (size > 0)
			prom_mixed_set_histogram(m, i, prom_vals_receive_histogram(buf, size));
		else
			prom_mixed_set(m, i, pq_getmsgfloat8(buf));
	}
	return prom_mixed_finish(m);
}

Datum
prom_vals_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	PromVals   *x;
	int			format = pq_getmsgbyte(buf);
	int			flags = pq_getmsgbyte(buf);
	int			nsteps = pq_getmsgint(buf, 4);
	uint64	   *bits;
	uint64		npresent = 0;

	if ((format != PROM_VALS_FORMAT && format != PROM_VALS_MIXED) || (flags & ~PROM_VALS_CONST) != 0)
		binary_error("The format or a flag is not known.");
	if (nsteps < 1 || nsteps > PROM_VALS_MAX_STEPS ||
		PROM_VALS_WORDS(nsteps) * sizeof(uint64) > (size_t) (buf->len - buf->cursor))
		binary_error("The number of steps does not fit the message.");
	x = prom_vals_new(nsteps);
	x->flags = flags;
	bits = PROM_VALS_BITS(x);
	for (int i = 0; i < PROM_VALS_WORDS(nsteps); i++)
	{
		bits[i] = pq_getmsgint64(buf);
		npresent += pg_popcount64(bits[i]);
	}
	if (nsteps % 64 != 0 && bits[nsteps / 64] >> (nsteps % 64) != 0)
		binary_error("The bitmap has a bit beyond the last step.");
	if (npresent * sizeof(double) > (size_t) (buf->len - buf->cursor))
		binary_error("There are fewer values than steps that are present.");
	if (prom_vals_is_const(x) && (nsteps != 1 || npresent != 1 || format != PROM_VALS_FORMAT))
		binary_error("A constant has exactly one value.");
	x->npresent = npresent;
	if (format == PROM_VALS_MIXED)
		PG_RETURN_POINTER(receive_mixed(buf, &(PromMixed) {x, NULL}));
	for (int i = 0; i < nsteps; i++)
		if (prom_vals_has(x, i))
			x->v[i] = pq_getmsgfloat8(buf);
	PG_RETURN_POINTER(x);
}

/* ---- sources of values ---- */

/* prom._vals(float8): the constant. */
Datum
prom_vals(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(prom_vals_const(PG_GETARG_FLOAT8(0)));
}

/* prom._floats(v): without the steps that have histograms; NULL if no other is left. */
Datum
prom_floats(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_GETARG_PROM_FLOATS_P(0);

	if (x->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(x);
}

/* prom._time(start_ms, step_ms, nsteps): each step's own time, in seconds. */
Datum
prom_time(PG_FUNCTION_ARGS)
{
	int64		t_ms = PG_GETARG_INT64(0);
	int64		step_ms = PG_GETARG_INT64(1);
	int			nsteps = PG_GETARG_INT32(2);
	PromVals   *x = prom_vals_new(nsteps);

	for (int i = 0; i < nsteps; i++)
		prom_vals_set(x, i, (double) (int64) ((uint64) t_ms + (uint64) step_ms * i) / 1000);
	PG_RETURN_POINTER(x);
}

/* Every step takes x's value; a step without one takes "missing", if that is given. */
static PromVals *
spread(const PromVals *x, int nsteps, const double *missing)
{
	PromVals   *out = prom_vals_new(nsteps);

	if (x != NULL && !prom_vals_is_const(x))
		prom_vals_check_equal(x->nsteps, nsteps);
	for (int i = 0; i < nsteps; i++)
	{
		if (x != NULL && prom_vals_has(x, i))
			prom_vals_set(out, i, prom_vals_get(x, i));
		else if (missing != NULL)
			prom_vals_set(out, i, *missing);
	}
	return out;
}

/* prom._vector(v, nsteps): a scalar as the values of a series. */
Datum
prom_vector(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(spread(PG_GETARG_PROM_FLOATS_P(0), PG_GETARG_INT32(1), NULL));
}

/* prom._scalar(v, nsteps): values of a series as a scalar: NaN where absent, or if v is NULL. */
Datum
prom_scalar(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_ARGISNULL(0) ? NULL : PG_GETARG_PROM_FLOATS_P(0);
	double		missing = (double) NAN;

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(spread(x, PG_GETARG_INT32(1), &missing));
}

/* prom._absent(v, nsteps): 1 where v has no value, or everywhere if v is NULL. */
Datum
prom_absent(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_ARGISNULL(0) ? NULL : PG_GETARG_PROM_VALS_P(0);
	PromVals   *out;

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	out = prom_vals_new(PG_GETARG_INT32(1));
	if (x != NULL && !prom_vals_is_const(x))
		prom_vals_check_equal(x->nsteps, out->nsteps);
	for (int i = 0; i < out->nsteps; i++)
		if (x == NULL || !prom_vals_has(x, i))
			prom_vals_set(out, i, 1);
	if (out->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

/*
 * prom._order(v, descending): what the only step of an instant query is to be sorted by, ascending.
 * NaN, greater than all for SQL, comes last both ways.
 */
Datum
prom_order(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_GETARG_PROM_VALS_P(0);

	if (x->nsteps != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("values of %d steps have no order", x->nsteps)));
	PG_RETURN_FLOAT8(PG_GETARG_BOOL(1) ? -x->v[0] : x->v[0]);
}

/* ---- values as rows ---- */

typedef struct PointsState
{
	PromVals   *x;
	PromSteps	steps;
	int			next;
} PointsState;

static PointsState *
begin_points(FunctionCallInfo fcinfo, FuncCallContext *srf)
{
	MemoryContext old = MemoryContextSwitchTo(srf->multi_call_memory_ctx);
	PointsState *p = palloc0(sizeof(PointsState));

	if (get_call_result_type(fcinfo, NULL, &srf->tuple_desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	srf->tuple_desc = BlessTupleDesc(srf->tuple_desc);
	p->x = prom_vals_copy(PG_GETARG_PROM_VALS_P(0));
	p->steps.start_ms = PG_GETARG_INT64(1);
	p->steps.step_ms = PG_GETARG_INT64(2);
	p->steps.n = PG_GETARG_INT32(3);
	prom_vals_check_steps(p->steps.n);
	if (!prom_vals_is_const(p->x))
		prom_vals_check_equal(p->x->nsteps, p->steps.n);
	MemoryContextSwitchTo(old);
	return p;
}

/* prom._points(v, start_ms, step_ms, nsteps): the present points, each a value or a histogram. */
Datum
prom_points(PG_FUNCTION_ARGS)
{
	FuncCallContext *srf;
	PointsState *p;

	if (SRF_IS_FIRSTCALL())
	{
		srf = SRF_FIRSTCALL_INIT();
		srf->user_fctx = begin_points(fcinfo, srf);
	}
	srf = SRF_PERCALL_SETUP();
	p = srf->user_fctx;
	while (p->next < p->steps.n && !prom_vals_has(p->x, p->next))
		p->next++;
	if (p->next < p->steps.n)
	{
		int			i = p->next++;
		int64		t_ms = (int64) ((uint64) p->steps.start_ms + (uint64) p->steps.step_ms * i);
		const PromHistogram *h = prom_vals_histogram(p->x, i);
		Datum		values[3] = {0};
		bool		nulls[3] = {false, h != NULL, h == NULL};

		values[0] = TimestampTzGetDatum(prom_clock_from_ms(t_ms));
		if (h)
			values[2] = prom_histogram_to_datum(h);
		else
			values[1] = Float8GetDatum(prom_vals_get(p->x, i));
		SRF_RETURN_NEXT(srf, HeapTupleGetDatum(heap_form_tuple(srf->tuple_desc, values, nulls)));
	}
	SRF_RETURN_DONE(srf);
}

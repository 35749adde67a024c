/*
 * binary.c
 *	  Arithmetic and comparison of two operands, step by step.
 *
 * A step has a result where both operands are present; constants stand for every step, and two of
 * them make another.  Arithmetic is IEEE double and the C library's.  A comparison as a filter keeps
 * one operand's value where it holds; with "bool" it is 1 or 0.  No present step: NULL.  Where operands
 * have histograms, steps at which the operator does not take what it meets are absent, and noted.
 */
#include "postgres.h"

#include <math.h>

#include "common/compat.h"
#include "vals/annotate.h"
#include "vals/vals.h"

static const char *const operators[] = {
	"+", "-", "*", "/", "%", "^", "atan2", "</", ">/", "==", "!=", "<", "<=", ">", ">="
};

PG_FUNCTION_INFO_V1(prom_arith);
PG_FUNCTION_INFO_V1(prom_compare);
PG_FUNCTION_INFO_V1(prom_negate);

PromBinary
prom_binary_parse(const text *op, bool comparison)
{
	const char *s = VARDATA_ANY(op);
	size_t		len = VARSIZE_ANY_EXHDR(op);

	for (int i = 0; i < lengthof(operators); i++)
		if (strlen(operators[i]) == len && memcmp(operators[i], s, len) == 0 &&
			(comparison == (i >= PROM_BINARY_EQ) || i == PROM_BINARY_TRIM_UPPER || i == PROM_BINARY_TRIM_LOWER))
			return (PromBinary) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(comparison ? "unknown comparison operator: \"%.*s\""
					: "unknown arithmetic operator: \"%.*s\"", (int) len, s)));
}

int
prom_binary_steps(const PromVals *l, const PromVals *r)
{
	if (prom_vals_is_const(l))
		return r->nsteps;
	if (!prom_vals_is_const(r))
		prom_vals_check_equal(l->nsteps, r->nsteps);
	return l->nsteps;
}

static inline double
compute(PromBinary op, double l, double r)
{
	switch (op)
	{
		case PROM_BINARY_ADD:
			return l + r;
		case PROM_BINARY_SUB:
			return l - r;
		case PROM_BINARY_MUL:
			return l * r;
		case PROM_BINARY_DIV:
			return l / r;
		case PROM_BINARY_MOD:
			return fmod(l, r);
		case PROM_BINARY_POW:
			return pow(l, r);
		case PROM_BINARY_ATAN2:
			return atan2(l, r);
		case PROM_BINARY_TRIM_UPPER:
		case PROM_BINARY_TRIM_LOWER:
			break;				/* not of numbers */
		case PROM_BINARY_EQ:
			return l == r;
		case PROM_BINARY_NE:
			return l != r;
		case PROM_BINARY_LT:
			return l < r;
		case PROM_BINARY_LE:
			return l <= r;
		case PROM_BINARY_GT:
			return l > r;
		case PROM_BINARY_GE:
			return l >= r;
	}
	pg_unreachable();
}

bool
prom_binary_step(PromBinary op, double l, double r, bool returns_bool, bool keep_right,
				   double *result)
{
	double		x = compute(op, l, r);

	if (op >= PROM_BINARY_EQ && !returns_bool)
	{
		if (x == 0)
			return false;
		x = keep_right ? r : l;
	}
	*result = x;
	return true;
}

/* ---- histograms ---- */

/* The sum (sign 1) or difference (-1); NULL if there is none. */
static PromHistogram *
add_histograms(const PromHistogram *l, const PromHistogram *r, double sign, uint16 *notes)
{
	int			happened;
	PromHistogram *sum = prom_histogram_plus(palloc, l, r, sign, &happened);

	/* the gravest alone */
	if (happened & PROM_HISTOGRAM_INCOMPATIBLE)
		*notes |= PROM_NOTE_MIXED_SCHEMAS;
	else if (happened & PROM_HISTOGRAM_RESETS)
		*notes |= sign > 0 ? PROM_NOTE_RESETS_ADD : PROM_NOTE_RESETS_SUB;
	else if (happened & PROM_HISTOGRAM_REBOUNDED)
		*notes |= sign > 0 ? PROM_NOTE_RECONCILED_ADD : PROM_NOTE_RECONCILED_SUB;
	if (sum == NULL || (happened & PROM_HISTOGRAM_RESETS))
		return NULL;
	if (sign < 0)
		sum->hint = PROM_HINT_GAUGE;
	return sum;
}

/* The histogram that the operator makes of one and a number; NULL if it makes none. */
static PromHistogram *
scale_histogram(PromBinary op, const PromHistogram *h, double x, bool number_is_left)
{
	if (op == PROM_BINARY_MUL)
		return prom_histogram_scale(palloc, h, x);
	if (number_is_left)
		return NULL;
	switch (op)
	{
		case PROM_BINARY_DIV:
			return prom_histogram_divide(palloc, h, x);
		case PROM_BINARY_TRIM_UPPER:
		case PROM_BINARY_TRIM_LOWER:
			return prom_histogram_trim(palloc, h, x, op == PROM_BINARY_TRIM_UPPER);
		default:
			return NULL;
	}
}

bool
prom_binary_mixed(PromBinary op, const PromVals *l, const PromVals *r, int i, bool returns_bool, bool keep_right,
				  PromMixed *out)
{
	const PromHistogram *lh = prom_vals_histogram(l, i);
	const PromHistogram *rh = prom_vals_histogram(r, i);
	const PromHistogram *result = NULL;
	uint16		notes = 0;
	double		x;

	if (lh == NULL && rh == NULL)
	{
		if (op == PROM_BINARY_TRIM_UPPER || op == PROM_BINARY_TRIM_LOWER)
			notes = PROM_NOTE_FLOAT_FLOAT;
		else if (prom_binary_step(op, prom_vals_get(l, i), prom_vals_get(r, i), returns_bool, keep_right, &x))
			prom_mixed_set(out, i, x);
	}
	else if (lh == NULL || rh == NULL)
	{
		result = scale_histogram(op, lh ? lh : rh, prom_vals_get(lh ? r : l, i), lh == NULL);
		if (result == NULL)
			notes = lh ? PROM_NOTE_HISTOGRAM_FLOAT : PROM_NOTE_FLOAT_HISTOGRAM;
	}
	else if (op == PROM_BINARY_ADD || op == PROM_BINARY_SUB)
	{
		result = add_histograms(lh, rh, op == PROM_BINARY_ADD ? 1 : -1, &notes);
		out->vals->notes |= notes;
		notes = result ? 0 : notes;
	}
	else if (op == PROM_BINARY_EQ || op == PROM_BINARY_NE)
	{
		bool		holds = prom_histogram_equal(lh, rh) == (op == PROM_BINARY_EQ);

		if (returns_bool)
			prom_mixed_set(out, i, holds ? 1 : 0);
		else if (holds)
			result = keep_right ? rh : lh;
	}
	else
		notes = PROM_NOTE_HISTOGRAM_HISTOGRAM;
	if (result)
		prom_mixed_set_histogram(out, i, result);
	out->vals->notes |= notes;
	return notes == 0;
}

/* ---- SQL ---- */

static PromVals *
evaluate_mixed(PromBinary op, const PromVals *l, const PromVals *r, bool returns_bool, bool keep_right)
{
	PromMixed	m = prom_mixed_new(prom_binary_steps(l, r));

	m.vals->flags = l->flags & r->flags;
	for (int i = 0; i < m.vals->nsteps; i++)
		if (prom_vals_has(l, i) && prom_vals_has(r, i))
			(void) prom_binary_mixed(op, l, r, i, returns_bool, keep_right, &m);
	return prom_mixed_finish(&m);
}

static Datum
evaluate(FunctionCallInfo fcinfo, PromBinary op, bool returns_bool, bool keep_right)
{
	PromVals   *l = PG_GETARG_PROM_VALS_P(1);
	PromVals   *r = PG_GETARG_PROM_VALS_P(2);
	PromVals   *out;

	if (prom_binary_is_mixed(op, l, r))
	{
		out = evaluate_mixed(op, l, r, returns_bool, keep_right);
		PROM_VALS_RETURN(out);
	}
	out = prom_vals_new(prom_binary_steps(l, r));
	out->flags = l->flags & r->flags;
	for (int i = 0; i < out->nsteps; i++)
	{
		double		x;

		if (prom_vals_has(l, i) && prom_vals_has(r, i) &&
			prom_binary_step(op, prom_vals_get(l, i), prom_vals_get(r, i), returns_bool, keep_right, &x))
			prom_vals_set(out, i, x);
	}
	if (out->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

/* prom._arith(op, l, r) */
Datum
prom_arith(PG_FUNCTION_ARGS)
{
	return evaluate(fcinfo, prom_binary_parse(PG_GETARG_TEXT_PP(0), false), false, false);
}

/* prom._compare(op, l, r, returns_bool, keep_right) */
Datum
prom_compare(PG_FUNCTION_ARGS)
{
	return evaluate(fcinfo, prom_binary_parse(PG_GETARG_TEXT_PP(0), true), PG_GETARG_BOOL(3),
					PG_GETARG_BOOL(4));
}

Datum
prom_negate(PG_FUNCTION_ARGS)
{
	PromVals   *out = prom_vals_copy(PG_GETARG_PROM_VALS_P(0));

	for (int i = 0; i < out->nsteps; i++)
	{
		PromHistogram *h = unconstify(PromHistogram *, prom_vals_histogram(out, i));

		if (h)
			prom_histogram_negate(h);
		else if (prom_vals_has(out, i))
			out->v[i] = -out->v[i];
	}
	PG_RETURN_POINTER(out);
}

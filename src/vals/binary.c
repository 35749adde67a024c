/*
 * binary.c
 *	  Arithmetic and comparison of two operands, step by step.
 *
 * A step has a result where both operands are present; constants stand for every step, and two of
 * them make another.  Arithmetic is IEEE double and the C library's.  A comparison as a filter keeps
 * one operand's value where it holds; with "bool" it is 1 or 0.  No present step: NULL.
 */
#include "postgres.h"

#include <math.h>

#include "common/compat.h"
#include "vals/vals.h"

static const char *const operators[] = {
	"+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", "<=", ">", ">="
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
			comparison == (i >= PROM_BINARY_EQ))
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

static Datum
evaluate(FunctionCallInfo fcinfo, PromBinary op, bool returns_bool, bool keep_right)
{
	PromVals   *l = PG_GETARG_PROM_VALS_P(1);
	PromVals   *r = PG_GETARG_PROM_VALS_P(2);
	PromVals   *out = prom_vals_new(prom_binary_steps(l, r));

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
		if (prom_vals_has(out, i))
			out->v[i] = -out->v[i];
	PG_RETURN_POINTER(out);
}

/*
 * math.c
 *	  Functions of one number, step by step: prom._math.
 *
 * A table tells which C function computes what.  Some have one or two scalars beside the vector, which
 * have a value at every step.  Arithmetic is IEEE double and the C library's, so transcendental functions
 * may differ from Prometheus in the last digit; rules that are Go's are kept: the greater of two numbers,
 * one of them NaN, is NaN unless the other is +Inf.  A step at which the function has no result is absent;
 * no present step: NULL.
 */
#include "postgres.h"

#include <math.h>

#include "common/compat.h"
#include "vals/vals.h"

#define MATH_MAX_SCALARS 2

/* Exactly one of these is set. */
typedef struct MathFunction
{
	const char *name;
	double		(*plain) (double x);
	double		(*with_one) (double x, double a);
	bool		(*with_two) (double x, double a, double b, double *result);
} MathFunction;

static double sign(double x);
static double degrees(double x);
static double radians(double x);
static double binary_log(double x);
static double decimal_log(double x);
static double round_to_integer(double x);
static double round_to(double x, double to);
static double greater(double a, double b);
static double lesser(double a, double b);
static double clamp_max(double x, double max);
static double clamp_min(double x, double min);
static bool clamp(double x, double min, double max, double *result);
static double replace(double x, double a);

static const MathFunction functions[] =
{
	{"abs", fabs},
	{"acos", acos},
	{"acosh", acosh},
	{"asin", asin},
	{"asinh", asinh},
	{"atan", atan},
	{"atanh", atanh},
	{"ceil", ceil},
	{"clamp", .with_two = clamp},
	{"clamp_max", .with_one = clamp_max},
	{"clamp_min", .with_one = clamp_min},
	{"cos", cos},
	{"cosh", cosh},
	{"deg", degrees},
	{"exp", exp},
	{"floor", floor},
	{"ln", log},
	{"log10", decimal_log},
	{"log2", binary_log},
	{"max_of", .with_one = greater},
	{"min_of", .with_one = lesser},
	{"rad", radians},
	{"round", round_to_integer},
	{"round", .with_one = round_to},
	{"sgn", sign},
	{"sin", sin},
	{"sinh", sinh},
	{"sqrt", sqrt},
	{"tan", tan},
	{"tanh", tanh},
	{"timestamp", .with_one = replace},
};

static const MathFunction *find_function(const text *name, int nscalars);
static int	count_steps(PromVals *const *operands, int n);
static bool compute(const MathFunction *f, PromVals *const *operands, int n, int step, double *result);

PG_FUNCTION_INFO_V1(prom_math);

/* prom._math(fn, vals [, a [, b]]) */
Datum
prom_math(PG_FUNCTION_ARGS)
{
	int			n = PG_NARGS() - 1;
	const MathFunction *f = find_function(PG_GETARG_TEXT_PP(0), n - 1);
	PromVals   *operands[1 + MATH_MAX_SCALARS];
	PromVals   *out;

	for (int i = 0; i < n; i++)
		operands[i] = PG_GETARG_PROM_FLOATS_P(i + 1);
	out = prom_vals_new(count_steps(operands, n));
	out->flags = PROM_VALS_CONST;
	for (int i = 0; i < n; i++)
		out->flags &= operands[i]->flags;
	for (int i = 0; i < out->nsteps; i++)
	{
		double		x;

		if (compute(f, operands, n, i, &x))
			prom_vals_set(out, i, x);
	}
	if (out->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

static const MathFunction *
find_function(const text *name, int nscalars)
{
	const char *s = VARDATA_ANY(name);
	size_t		len = VARSIZE_ANY_EXHDR(name);

	for (int i = 0; i < lengthof(functions); i++)
	{
		const MathFunction *f = &functions[i];

		if (strlen(f->name) == len && memcmp(f->name, s, len) == 0 &&
			nscalars == (f->plain ? 0 : f->with_one ? 1 : 2))
			return f;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown function of a vector and %d scalars: \"%.*s\"", nscalars, (int) len, s)));
}

/* What the operands that are no constants agree upon */
static int
count_steps(PromVals *const *operands, int n)
{
	int			nsteps = 0;

	for (int i = 0; i < n; i++)
	{
		if (prom_vals_is_const(operands[i]))
			continue;
		if (nsteps != 0)
			prom_vals_check_equal(operands[i]->nsteps, nsteps);
		nsteps = operands[i]->nsteps;
	}
	return Max(nsteps, 1);
}

/* One step; false if it has no result. */
static bool
compute(const MathFunction *f, PromVals *const *operands, int n, int step, double *result)
{
	double		x[1 + MATH_MAX_SCALARS];

	for (int i = 0; i < n; i++)
	{
		if (!prom_vals_has(operands[i], step))
			return false;
		x[i] = prom_vals_get(operands[i], step);
	}
	if (f->with_two)
		return f->with_two(x[0], x[1], x[2], result);
	*result = f->plain ? f->plain(x[0]) : f->with_one(x[0], x[1]);
	return true;
}

/* ---- what the C library does not have, or computes otherwise ---- */

/* Zeros keep their sign, NaN stays. */
static double
sign(double x)
{
	return x < 0 ? -1 : x > 0 ? 1 : x;
}

static double
degrees(double x)
{
	return x * 180 / M_PI;
}

static double
radians(double x)
{
	return x * M_PI / 180;
}

/* By way of ln, as Prometheus does it: the last digit shows what way was taken. */
static double
binary_log(double x)
{
	int			exponent;
	double		fraction = frexp(x, &exponent);

	if (!isfinite(x) || x <= 0)
		return log(x);
	return fraction == 0.5 ? exponent - 1 : log(fraction) * M_LOG2E + exponent;
}

static double
decimal_log(double x)
{
	return log(x) * M_LOG10E;
}

static double
round_to_integer(double x)
{
	return round_to(x, 1);
}

/* Halves go up.  Dividing by the inverse is what keeps 0.1 and the like exact. */
static double
round_to(double x, double to)
{
	double		inverse = 1 / to;

	return floor(x * inverse + 0.5) / inverse;
}

/* Infinity beats NaN, NaN beats all else, and of two zeros the one with the sign is less. */
static double
greater(double a, double b)
{
	if (isinf(a) && a > 0)
		return a;
	if (isinf(b) && b > 0)
		return b;
	if (isnan(a) || isnan(b))
		return (double) NAN;
	if (a == 0 && b == 0)
		return signbit(a) ? b : a;
	return a > b ? a : b;
}

static double
lesser(double a, double b)
{
	return -greater(-a, -b);
}

static double
clamp_max(double x, double max)
{
	return lesser(max, x);
}

static double
clamp_min(double x, double min)
{
	return greater(min, x);
}

static bool
clamp(double x, double min, double max, double *result)
{
	if (min > max)
		return false;
	*result = greater(min, lesser(max, x));
	return true;
}

/* timestamp() of what is no selector: the time of the step in the place of its value */
static double
replace(double x, double a)
{
	return a;
}

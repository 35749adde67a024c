/*
 * vals.h
 *	  The values of one series over all steps of a query: the SQL type prom.vals.
 *
 * "present" is a bitmap: a step without a sample is absent, which is not NaN.  A vals with
 * PROM_VALS_CONST has one step that stands for every step (a literal); functions broadcast it.
 * The format byte leaves room for native histograms beside floats.  In flight only, never stored.
 */
#ifndef PROM_VALS_H
#define PROM_VALS_H

#include "postgres.h"
#include "fmgr.h"

typedef struct PromVals
{
	int32		vl_len_;		/* varlena header */
	uint8		format;			/* PROM_VALS_FORMAT */
	uint8		flags;
	uint16		notes;			/* PROM_NOTE_...: what happened in computing them; see annotate.h */
	int32		nsteps;
	int32		npresent;		/* steps that are present */
	/* nsteps doubles (absent ones are 0), then the bitmap, (nsteps + 63) / 64 words */
	double		v[FLEXIBLE_ARRAY_MEMBER];
} PromVals;

#define PROM_VALS_FORMAT	1
#define PROM_VALS_CONST		0x01
#define PROM_VALS_MAX_STEPS 1000000

#define PROM_VALS_WORDS(n)	(((n) + 63) / 64)
#define PROM_VALS_SIZE(n) \
	(offsetof(PromVals, v) + sizeof(double) * (size_t) (n) + sizeof(uint64) * PROM_VALS_WORDS(n))
#define PROM_VALS_BITS(x)	((uint64 *) ((x)->v + (x)->nsteps))

#define DatumGetPromValsP(d)	((PromVals *) PG_DETOAST_DATUM(d))
#define PG_GETARG_PROM_VALS_P(n) DatumGetPromValsP(PG_GETARG_DATUM(n))

/* ---- vals.c ---- */

/* Raises unless two operands have as many steps as each other. */
extern void prom_vals_check_equal(int nsteps, int other);

extern PromVals *prom_vals_new(int nsteps); /* all absent; palloc'd; checks the number */
extern PromVals *prom_vals_const(double v);
extern PromVals *prom_vals_copy(const PromVals *x); /* without notes */
extern void prom_vals_check_steps(int nsteps);	/* raises unless 1 .. PROM_VALS_MAX_STEPS */

/* ---- binary.c ---- */

typedef enum PromBinary
{
	PROM_BINARY_ADD, PROM_BINARY_SUB, PROM_BINARY_MUL, PROM_BINARY_DIV, PROM_BINARY_MOD,
	PROM_BINARY_POW, PROM_BINARY_ATAN2,
	/* from here on: comparisons */
	PROM_BINARY_EQ, PROM_BINARY_NE, PROM_BINARY_LT, PROM_BINARY_LE, PROM_BINARY_GT,
	PROM_BINARY_GE
} PromBinary;

/* The operator of a text; raises if it is none of the kind wanted. */
extern PromBinary prom_binary_parse(const text *op, bool comparison);

/* Number of steps of a result of two operands; raises if they disagree. */
extern int	prom_binary_steps(const PromVals *l, const PromVals *r);

/* One step; false if a filter comparison drops it (then nothing is written). */
extern bool prom_binary_step(PromBinary op, double l, double r, bool returns_bool, bool keep_right,
							   double *result);

static inline bool
prom_vals_is_const(const PromVals *x)
{
	return (x->flags & PROM_VALS_CONST) != 0;
}

static inline bool
prom_vals_has(const PromVals *x, int i)
{
	const uint64 *bits = (const uint64 *) (x->v + x->nsteps);

	if (x->flags & PROM_VALS_CONST)
		i = 0;
	return (bits[i / 64] >> (i % 64)) & 1;
}

static inline double
prom_vals_get(const PromVals *x, int i)
{
	return x->v[(x->flags & PROM_VALS_CONST) ? 0 : i];
}

static inline void
prom_vals_set(PromVals *x, int i, double v)
{
	uint64	   *bits = PROM_VALS_BITS(x);

	if (!((bits[i / 64] >> (i % 64)) & 1))
	{
		bits[i / 64] |= UINT64CONST(1) << (i % 64);
		x->npresent++;
	}
	x->v[i] = v;
}

/* What a function that computed x returns: NULL if there is neither a value nor a note. */
#define PROM_VALS_RETURN(x) \
	do { \
		if ((x)->npresent == 0 && (x)->notes == 0) \
			PG_RETURN_NULL(); \
		PG_RETURN_POINTER(x); \
	} while (0)

/*
 * The steps of a query: start, start + step, ... <= end, in ms.  An instant query has one step
 * (start = end, any step > 0).
 */
typedef struct PromSteps
{
	int64		start_ms;
	int64		step_ms;
	int			n;
} PromSteps;

#endif							/* PROM_VALS_H */

/*
 * vals.h
 *	  The values of one series over all steps of a query: the SQL type prom.vals.
 *
 * "present" is a bitmap: a step without a sample is absent, which is not NaN.  A vals with
 * PROM_VALS_CONST has one step that stands for every step (a literal); functions broadcast it.
 * In flight only, never stored.
 *
 * A step may have a native histogram instead of a number.  Values with one or more are of the mixed format,
 * which has, behind the bitmap, for each step where its histogram is, and then the histograms.  A step
 * that has one has the number 0, so who looks at numbers only must ask for those (prom_vals_floats).
 */
#ifndef PROM_VALS_H
#define PROM_VALS_H

#include "postgres.h"
#include "fmgr.h"

#include "histogram/histogram.h"

typedef struct PromVals
{
	int32		vl_len_;		/* varlena header */
	uint8		format;			/* PROM_VALS_FORMAT, PROM_VALS_MIXED */
	uint8		flags;
	uint16		notes;			/* PROM_NOTE_...: what happened in computing them; see annotate.h */
	int32		nsteps;
	int32		npresent;		/* steps that are present */
	/*
	 * nsteps doubles (absent ones are 0), then the bitmap, (nsteps + 63) / 64 words; if mixed, nsteps uint32,
	 * rounded up to an even number of them: 0 or the place of the step's histogram, in bytes from the start
	 * of all this; then the histograms, each aligned to 8
	 */
	double		v[FLEXIBLE_ARRAY_MEMBER];
} PromVals;

#define PROM_VALS_FORMAT	1
#define PROM_VALS_MIXED		2
#define PROM_VALS_CONST		0x01
#define PROM_VALS_MAX_STEPS 1000000

#define PROM_VALS_WORDS(n)	(((n) + 63) / 64)
#define PROM_VALS_SIZE(n) \
	(offsetof(PromVals, v) + sizeof(double) * (size_t) (n) + sizeof(uint64) * PROM_VALS_WORDS(n))
#define PROM_VALS_BITS(x)	((uint64 *) ((x)->v + (x)->nsteps))
#define PROM_VALS_PLACES(x)	((uint32 *) ((char *) (x) + PROM_VALS_SIZE((x)->nsteps)))

#define DatumGetPromValsP(d)	((PromVals *) PG_DETOAST_DATUM(d))
#define PG_GETARG_PROM_VALS_P(n) DatumGetPromValsP(PG_GETARG_DATUM(n))
#define PG_GETARG_PROM_FLOATS_P(n) prom_vals_floats(PG_GETARG_PROM_VALS_P(n))

/* ---- vals.c ---- */

/* Raises unless two operands have as many steps as each other. */
extern void prom_vals_check_equal(int nsteps, int other);

extern PromVals *prom_vals_new(int nsteps); /* all absent; palloc'd; checks the number */
extern PromVals *prom_vals_const(double v);
extern PromVals *prom_vals_copy(const PromVals *x); /* without notes */
extern void prom_vals_check_steps(int nsteps);	/* raises unless 1 .. PROM_VALS_MAX_STEPS */

/* The next "size" bytes of a message as a histogram; raises if they are none. */
extern PromHistogram *prom_vals_receive_histogram(struct StringInfoData *buf, uint32 size);

/* ---- mixed.c ---- */

/*
 * Values while they are put together: numbers go where they belong at once, histograms are pointed to and
 * must stay until the end.  A step that has been set may be set again.
 */
typedef struct PromMixed
{
	PromVals   *vals;
	const PromHistogram **histograms;	/* by step; NULL while there is none */
} PromMixed;

extern PromMixed prom_mixed_new(int nsteps);
extern void prom_mixed_set_histogram(PromMixed *m, int i, const PromHistogram *h);

/* The values; palloc'd, or the floats themselves if there is no histogram. */
extern PromVals *prom_mixed_finish(const PromMixed *m);

/* The same values without the steps that have histograms: x itself if there are none. */
extern PromVals *prom_vals_floats(PromVals *x);

/* The steps that have histograms; palloc'd. */
extern PromVals *prom_vals_histograms(const PromVals *x);

/* All steps of either; what both have is a's.  a itself, changed, if both have floats only. */
extern PromVals *prom_vals_union(PromVals *a, const PromVals *b);

/* ---- binary.c ---- */

typedef enum PromBinary
{
	PROM_BINARY_ADD, PROM_BINARY_SUB, PROM_BINARY_MUL, PROM_BINARY_DIV, PROM_BINARY_MOD,
	PROM_BINARY_POW, PROM_BINARY_ATAN2, PROM_BINARY_TRIM_UPPER, PROM_BINARY_TRIM_LOWER,
	/* from here on: comparisons */
	PROM_BINARY_EQ, PROM_BINARY_NE, PROM_BINARY_LT, PROM_BINARY_LE, PROM_BINARY_GT,
	PROM_BINARY_GE
} PromBinary;

/* The operator of a text; raises if it is none of the kind wanted.  Trimming is of both kinds. */
extern PromBinary prom_binary_parse(const text *op, bool comparison);

/* Number of steps of a result of two operands; raises if they disagree. */
extern int	prom_binary_steps(const PromVals *l, const PromVals *r);

/* One step of numbers; false if a filter comparison drops it (then nothing is written). */
extern bool prom_binary_step(PromBinary op, double l, double r, bool returns_bool, bool keep_right,
							   double *result);

/* Do l and r need the next function, or is the one above enough at all steps? */
static inline bool
prom_binary_is_mixed(PromBinary op, const PromVals *l, const PromVals *r)
{
	return l->format != PROM_VALS_FORMAT || r->format != PROM_VALS_FORMAT || op == PROM_BINARY_TRIM_UPPER ||
		op == PROM_BINARY_TRIM_LOWER;
}

/*
 * Step i of l and r, which have it, whatever they are there, as step i of out; nothing if a filter drops it.
 * False if the operator does not take that, or cannot compute it; notes why.
 */
extern bool prom_binary_mixed(PromBinary op, const PromVals *l, const PromVals *r, int i, bool returns_bool,
							  bool keep_right, PromMixed *out);

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

static inline bool
prom_vals_is_mixed(const PromVals *x)
{
	return x->format == PROM_VALS_MIXED;
}

/* NULL if the step has a number, or nothing. */
static inline const PromHistogram *
prom_vals_histogram(const PromVals *x, int i)
{
	uint32		place;

	if (x->format != PROM_VALS_MIXED)
		return NULL;
	place = PROM_VALS_PLACES(x)[(x->flags & PROM_VALS_CONST) ? 0 : i];
	return place == 0 ? NULL : (const PromHistogram *) ((const char *) x + place);
}

/* Makes a step absent, which is present. */
static inline void
prom_vals_clear(PromVals *x, int i)
{
	PROM_VALS_BITS(x)[i / 64] &= ~(UINT64CONST(1) << (i % 64));
	x->v[i] = 0;
	x->npresent--;
	if (x->format == PROM_VALS_MIXED)
		PROM_VALS_PLACES(x)[i] = 0;
}

static inline void
prom_mixed_set(PromMixed *m, int i, double v)
{
	prom_vals_set(m->vals, i, v);
	if (m->histograms)
		m->histograms[i] = NULL;
}

/* Step i of x, which has it, as step i. */
static inline void
prom_mixed_copy(PromMixed *m, int i, const PromVals *x)
{
	const PromHistogram *h = prom_vals_histogram(x, i);

	if (h)
		prom_mixed_set_histogram(m, i, h);
	else
		prom_mixed_set(m, i, prom_vals_get(x, i));
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

/* ---- window_names.c ---- */

/* Which parts of rollups (1 << PROM_PART_...) a window function reads, and whether one sample is not enough. */
extern int	prom_window_parts(const char *name, bool *needs_two);

#endif							/* PROM_VALS_H */

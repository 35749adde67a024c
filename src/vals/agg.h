/*
 * agg.h
 *	  State of the aggregates that keep a few numbers per step.  Private to this room.
 *
 * The SQL type prom._agg_state, flat and changed in place:
 *
 *	head | values | comps | counts | histograms
 *
 * values and comps are nsteps doubles each, as far as the kind has them, counts nsteps uint32.  The
 * histograms' part is there once there was one: PromAggHistograms, then those of each step, in any order, with
 * gaps, and room behind them to grow.  Then it is allocated twice as large as it has to be, so that copying
 * costs each byte a constant.
 */
#ifndef PROM_AGG_H
#define PROM_AGG_H

#include "lib/stringinfo.h"

#include "vals/vals.h"

typedef enum PromAggKind
{
	PROM_AGG_SUM,
	PROM_AGG_AVG,
	PROM_AGG_MIN,
	PROM_AGG_MAX,
	PROM_AGG_COUNT,
	PROM_AGG_SINGLE,			/* present where exactly one input was */
	PROM_AGG_UNIQUE,			/* two inputs at one step are an error */
	PROM_AGG_GROUP,				/* 1 */
	PROM_AGG_STDVAR,
	PROM_AGG_STDDEV
} PromAggKind;

#define PROM_AGG_KINDS		(PROM_AGG_STDDEV + 1)
#define PROM_AGG_VERSION	2

typedef struct PromAggState
{
	int32		vl_len_;		/* varlena header: all that is allocated */
	uint8		version;
	uint8		kind;
	uint16		notes;			/* as in PromVals */
	int32		nsteps;
	uint32		histograms;		/* where their part is, in bytes from the start; 0: there is none */
	double		values[FLEXIBLE_ARRAY_MEMBER];
} PromAggState;

/* In a count of PROM_AGG_AVG: the value is a running mean, not a sum. */
#define PROM_AGG_RUNNING	0x80000000U

/* The histograms of a step: their sum (or mean, or the one) and, behind it, its compensation. */
typedef struct PromAggStep
{
	uint32		place;			/* in bytes from the start of the state */
	uint32		room;			/* bytes that are its own there */
	uint32		count;			/* as counts of floats */
	uint32		seen;			/* PROM_AGG_SEEN_... */
} PromAggStep;

#define PROM_AGG_SEEN_INCOMPATIBLE	0x01	/* exponential and custom ones met */
#define PROM_AGG_SEEN_RESET			0x02	/* a hint said so */
#define PROM_AGG_SEEN_NOT_RESET		0x04

typedef struct PromAggHistograms
{
	uint32		used;			/* bytes of the state in use; behind them is room */
	uint32		unused;			/* 0 */
	PromAggStep step[FLEXIBLE_ARRAY_MEMBER];
} PromAggHistograms;

static inline PromAggHistograms *
prom_agg_histograms(PromAggState *s)
{
	return s->histograms == 0 ? NULL : (PromAggHistograms *) ((char *) s + s->histograms);
}

/* How many histograms there were at a step */
static inline uint32
prom_agg_step_count(PromAggState *s, int i)
{
	return s->histograms == 0 ? 0 : prom_agg_histograms(s)->step[i].count;
}

#define PG_GETARG_PROM_AGG_STATE_P(n) ((PromAggState *) PG_DETOAST_DATUM(PG_GETARG_DATUM(n)))

/* ---- agg.c ---- */

extern uint32 *prom_agg_counts(PromAggState *s);
extern void prom_agg_raise_same(void);

/* ---- agg_mixed.c: of sums, means and unique rows; states that grow are new ones in the current context ---- */

extern PromAggState *prom_agg_add_histogram(PromAggState *s, int i, const PromHistogram *h);
extern PromAggState *prom_agg_add_histograms(PromAggState *s, PromAggState *other);

/* The result of a state with histograms, "floats" being that of the rest. */
extern PromVals *prom_agg_final_mixed(PromAggState *s, PromVals *floats);

extern void prom_agg_send_histograms(PromAggState *s, StringInfo out);
extern PromAggState *prom_agg_receive_histograms(PromAggState *s, StringInfo in);

#endif							/* PROM_AGG_H */

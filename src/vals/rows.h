/*
 * rows.h
 *	  Aggregation state that keeps the values of all series of a group.  Private to this room.
 *
 * The SQL type prom._agg_rows, flat and changed in place: a header, the parameter if there is one, then
 * rows one behind the other.  It is allocated with room to grow, at least twice what it held, so that
 * copying costs each row a constant.
 */
#ifndef PROM_ROWS_H
#define PROM_ROWS_H

#include "series/series.h"
#include "vals/vals.h"

typedef enum PromRowsKind
{
	PROM_ROWS_QUANTILE,		/* parameter: phi */
	PROM_ROWS_TOPK,			/* parameter: k; rows have labels */
	PROM_ROWS_BOTTOMK,
	PROM_ROWS_COUNT_VALUES,	/* no parameter */
	PROM_ROWS_LIMITK		/* as topk */
} PromRowsKind;

#define PROM_ROWS_KINDS (PROM_ROWS_LIMITK + 1)

typedef struct PromRows
{
	int32		vl_len_;		/* varlena header: all that is allocated */
	uint8		version;
	uint8		kind;
	uint16		notes;			/* as in PromVals */
	int32		nsteps;
	int32		nrows;
	int32		pruned;			/* rows that the last pruning left */
	uint32		used;			/* bytes of data */
	/* parameter and rows, each part padded to 8 bytes */
	char		data[FLEXIBLE_ARRAY_MEMBER];
} PromRows;

typedef struct PromRow
{
	PromLabels *labels;			/* NULL unless the kind has them */
	PromVals   *vals;
} PromRow;

#define DatumGetPromRowsP(d) ((PromRows *) PG_DETOAST_DATUM(d))
#define PG_GETARG_PROM_ROWS_P(n) DatumGetPromRowsP(PG_GETARG_DATUM(n))

/* The parameter, or NULL. */
extern PromVals *prom_rows_param(PromRows *s);

/* The rows, pointing into the state; palloc'd. */
extern PromRow *prom_rows_list(PromRows *s);

/* ---- topk.c ---- */

/* Takes away what is not among the first k; in place. */
extern void prom_topk_prune(PromRows *s);

#endif							/* PROM_ROWS_H */

/*
 * rows.h
 *	  Aggregation state that keeps the values of all series of a group.  Private to this room.
 *
 * The SQL type prom._agg_rows, flat and changed in place: a header, the parameter if there is one, then
 * rows one behind the other.  It is allocated with room to grow, at least twice what it held, so that
 * copying costs each row a constant.
 */
#ifndef PROMQL_ROWS_H
#define PROMQL_ROWS_H

#include "promql/vals.h"
#include "series/series.h"

typedef enum PromqlRowsKind
{
	PROMQL_ROWS_QUANTILE,		/* parameter: phi */
	PROMQL_ROWS_TOPK,			/* parameter: k; rows have labels */
	PROMQL_ROWS_BOTTOMK,
	PROMQL_ROWS_COUNT_VALUES	/* no parameter */
} PromqlRowsKind;

#define PROMQL_ROWS_KINDS (PROMQL_ROWS_COUNT_VALUES + 1)

typedef struct PromqlRows
{
	int32		vl_len_;		/* varlena header: all that is allocated */
	uint8		version;
	uint8		kind;
	uint16		unused;			/* 0 */
	int32		nsteps;
	int32		nrows;
	int32		pruned;			/* rows that the last pruning left */
	uint32		used;			/* bytes of data */
	/* parameter and rows, each part padded to 8 bytes */
	char		data[FLEXIBLE_ARRAY_MEMBER];
} PromqlRows;

typedef struct PromqlRow
{
	PromLabels *labels;			/* NULL unless the kind has them */
	PromVals   *vals;
} PromqlRow;

#define DatumGetPromqlRowsP(d) ((PromqlRows *) PG_DETOAST_DATUM(d))
#define PG_GETARG_PROMQL_ROWS_P(n) DatumGetPromqlRowsP(PG_GETARG_DATUM(n))

/* The parameter, or NULL. */
extern PromVals *promql_rows_param(PromqlRows *s);

/* The rows, pointing into the state; palloc'd. */
extern PromqlRow *promql_rows_list(PromqlRows *s);

/* ---- topk.c ---- */

/* Takes away what is not among the first k; in place. */
extern void promql_topk_prune(PromqlRows *s);

#endif							/* PROMQL_ROWS_H */

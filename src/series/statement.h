/*
 * statement.h
 *	  The statements that find and make series, for series.c alone.
 */
#ifndef PROM_SERIES_STATEMENT_H
#define PROM_SERIES_STATEMENT_H

#include "postgres.h"

typedef enum PromStatement
{
	PROM_FIND_SERIES,
	PROM_SEE_SHARD,
	PROM_SEE_SHARD_AT,
	PROM_LOCK_SHARD,
	PROM_LOCK_SHARD_AT,
	PROM_ADD_SHARD,
	PROM_FIND_METRICS,
	PROM_FIND_METRIC_AT,
	PROM_SAVE_METRICS,
	PROM_SAVE_METRIC_AT,
	PROM_SAVE_SHARD,
	PROM_ADD_SERIES,
	PROM_ADD_VALUES,
	PROM_SUM_REMOVALS,
	PROM_NSTATEMENTS
} PromStatement;

/* Connect, and set what planning needs; returns the level to go back to. */
extern int	prom_begin_statements(void);
extern void prom_end_statements(int nest_level);

/* Its result is in SPI_tuptable and SPI_processed. */
extern void prom_run_statement(PromStatement statement, Datum *args);

/* An integer of the last result; NULL is 0. */
extern int64 prom_result_int(uint64 row, int column);

/* prom.labels, whose oid is not constant. */
extern Oid	prom_statement_labels_type(void);

#endif

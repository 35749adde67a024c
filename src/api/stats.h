/*
 * stats.h
 *	  What a query took, told with its result if stats= asks for it.  Private to this room.
 */
#ifndef PROM_STATS_H
#define PROM_STATS_H

#include "postgres.h"
#include "lib/stringinfo.h"
#include "portability/instr_time.h"
#include "utils/timestamp.h"

#include "store/store.h"

typedef struct PromQueryStats
{
	const char *wanted;			/* the parameter, "": nothing is told */
	TimestampTz submitted;		/* to the gateway's queue; 0: it came another way */
	instr_time	begin;
	instr_time	planned;
	PromScanCounts before;
} PromQueryStats;

extern void prom_stats_begin(PromQueryStats *s, const char *wanted, TimestampTz submitted);

/* The expression is parsed and translated, and will now be evaluated. */
extern void prom_stats_planned(PromQueryStats *s);

/* Append the member "stats" of an object that has others, if it is wanted. */
extern void prom_stats_print(PromQueryStats *s, StringInfo out);

#endif							/* PROM_STATS_H */

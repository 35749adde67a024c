/*
 * allot.h
 *	  Which ids new series get, for series.c alone.
 */
#ifndef PROM_SERIES_ALLOT_H
#define PROM_SERIES_ALLOT_H

#include "postgres.h"

#include "storage/itemptr.h"

#include "series/series.h"

typedef struct PromMetric
{
	Datum		name;			/* text, cut to METRIC_KEY_BYTES */
	int32		next_sid;		/* of its piece; end_sid: none is left */
	int32		end_sid;
	int32		series;			/* those that are being made are counted */
	int32		known;			/* those that are not */
	int32		given;			/* ids, to those that are being made */
} PromMetric;

/* What the row of a shard says, and what is in the other shards. */
typedef struct PromShard
{
	int16		shard;
	int32		next_block;
	int32		next_sid;		/* of the open block; at its end: there is none */
	int64		series;			/* of all shards, if there is a limit for them */
	ItemPointerData place;		/* invalid: there is no row */
	TransactionId xmin;
} PromShard;

/* The row of a shard without its lock; "count": with the series of all shards, if there is a limit for them. */
extern PromShard prom_shard_see(int16 shard, bool count);

/* The same, locked, and made when it is first needed. */
extern PromShard prom_shard_lock(int16 shard);

/* Is it the same version of the same row? */
extern bool prom_shard_same(PromShard a, PromShard b);

/* What was given out, to so many series. */
extern void prom_shard_save(const PromShard *locked, int made);

/* The metrics of these label sets, each once, with their pieces; which[i] is the one of labels[i]. */
extern PromMetric *prom_metrics_find(int16 shard, const PromLabels **labels, int n, int *which, int *nmetrics);

/* Those that have series. */
extern void prom_metrics_save(int16 shard, const PromMetric *metrics, int n);

/* An id for a series that is counted in it. */
extern int32 prom_metric_take(PromMetric *metric, PromShard *locked);

/* The name under which prom.metric counts a series. */
extern text *prom_metric_name(const PromLabels *l);

extern Datum prom_array_of(Datum *elements, int n, Oid type);

#endif

/*
 * buckets.h
 *	  Quantiles and fractions of one classic histogram at one time.  Private to this room.
 *
 * Buckets are sorted by their bounds, which are unique; each counts all observations up to its bound.  A
 * histogram has a last bucket to +Inf and is no histogram without it: the answer is NaN then.
 */
#ifndef PROM_BUCKETS_H
#define PROM_BUCKETS_H

#include "vals/annotate.h"

typedef struct PromBucket
{
	double		bound;
	double		count;
} PromBucket;

/* n > 0.  Lifts counts that are less than those before them, in place, and notes them in "fixed". */
extern double prom_buckets_quantile(double phi, PromBucket *p, int n, PromFixed *fixed);

/* How many of all observations are between the two; n > 0.  Counts are taken as they are. */
extern double prom_buckets_fraction(double lower, double upper, const PromBucket *p, int n);

#endif							/* PROM_BUCKETS_H */

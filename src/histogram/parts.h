/*
 * parts.h
 *	  A histogram taken apart, to be computed with.  Private to this room.
 *
 * Each side is a sorted list of buckets with their indexes, however far apart, so that histograms of
 * different layouts meet by merging lists.  Every number has beside it what rounding took away so far
 * (common/sum.h); it is 0 where nothing was added up.
 */
#ifndef PROM_PARTS_H
#define PROM_PARTS_H

#include "histogram/histogram.h"

typedef struct PromTerm
{
	double		v;
	double		c;
} PromTerm;

typedef struct PromBucket
{
	int32		index;
	PromTerm	count;
} PromBucket;

typedef struct PromBuckets
{
	int			n;
	PromBucket *b;
} PromBuckets;

typedef struct PromParts
{
	int			schema;
	PromHint	hint;
	double		zero_threshold;
	PromTerm	zero_count;
	PromTerm	count;
	PromTerm	sum;
	PromBuckets side[2];		/* by PromHistogramSide */
	int			ncustom;
	const double *custom;		/* of the histogram that was taken apart, or a list of its own */
} PromParts;

/* Compensations are in "comp", a histogram of the same layout, or all 0 if it is NULL. */
extern void prom_parts_take(PromHistogramAlloc alloc, PromParts *p, const PromHistogram *h, const PromHistogram *comp);

/* The histogram without its empty buckets; *comp (unless NULL) gets the compensations. */
extern PromHistogram *prom_parts_join(PromHistogramAlloc alloc, const PromParts *p, PromHistogram **comp);

/* To a coarser exponential schema; in place. */
extern void prom_parts_reduce(PromParts *p, int schema);

/*
 * Widens the zero bucket at least to the threshold: buckets that it reaches move into it, and if it would
 * end within a populated one it is widened to that one's end.  In place.
 */
extern void prom_parts_widen(PromParts *p, double threshold);

/* Custom buckets of fewer bounds, each of which p has, too; in place. */
extern void prom_parts_rebound(PromParts *p, const double *bounds, int n);

/* The bounds that two lists have in common, into "common", which has room for either; their number. */
extern int	prom_bounds_common(const double *a, int na, const double *b, int nb, double *common);

#endif							/* PROM_PARTS_H */

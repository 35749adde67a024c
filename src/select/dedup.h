/*
 * dedup.h
 *	  Samples of two replicas of a series become those of one.  Private to this room.
 */
#ifndef PROM_DEDUP_H
#define PROM_DEDUP_H

#include "c.h"

#include "histogram/histogram.h"

/* How replicas are merged; see dedup.c */
typedef enum PromDedupMethod
{
	PROM_DEDUP_PENALTY,
	PROM_DEDUP_SEAMLESS,
	PROM_DEDUP_CHAIN
} PromDedupMethod;

/* Samples in order of time, no two of one time. */
typedef struct PromDedupSamples
{
	int			n;
	int64	   *t_ms;
	double	   *values;
	const PromHistogram **histograms;	/* NULL: floats only; else where it is not NULL it is the sample */
} PromDedupSamples;

/* Points of windows: how many samples they have is the first of several kinds. */
#define PROM_DEDUP_POINTS 4
#define PROM_DEDUP_COUNTS 0

/* What there is of a series: of each time samples, or windows and whatever samples are kept beside them */
typedef struct PromDedupSeries
{
	PromDedupSamples samples;
	PromDedupSamples points[PROM_DEDUP_POINTS]; /* each at the end of its window */
} PromDedupSeries;

/* A time of either; it begins where the one before ends. */
typedef struct PromDedupSegment
{
	int64		to_ms;			/* inclusive */
	int64		window_ms;		/* 0: samples */
} PromDedupSegment;

/*
 * Merges a and b into "out", whose arrays have room for all samples of both, and histograms if one of them
 * has.  counter: values of a replica that is behind are lifted, so that they do not look like a reset.
 */
extern void prom_dedup_merge(PromDedupMethod method, bool counter, const PromDedupSegment *segments, int nsegments,
							 const PromDedupSeries *a, const PromDedupSeries *b, PromDedupSeries *out);

#endif							/* PROM_DEDUP_H */

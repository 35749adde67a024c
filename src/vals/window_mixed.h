/*
 * window_mixed.h
 *	  Windows over samples of which some are native histograms: what functions over extended ranges
 *	  (extended_mixed.c) share with the others (window_mixed.c).
 */
#ifndef PROM_WINDOW_MIXED_H
#define PROM_WINDOW_MIXED_H

#include "vals/window.h"

typedef struct PromMixedRange
{
	PromRange	w;				/* histograms are NaN in it */
	const PromHistogram *const *h;
	int		   *before;			/* of each sample, and of the end: how many histograms are before it */
	const PromRangeReach *reach;	/* NULL unless windows are extended */
	const PromRangeStitch *stitch;	/* NULL: all samples are raw */
	int		   *events;			/* changes or resets up to each sample; NULL until a function wants them */
	uint16		notes;
} PromMixedRange;

/* The result of a window is a number, if *h remains NULL.  It may be a sample's histogram. */
typedef bool (*PromMixedFn) (PromMixedRange *m, double *v, const PromHistogram **h);

static inline bool
prom_mixed_has_floats(const PromMixedRange *m)
{
	return m->before[m->w.end] - m->before[m->w.first] < m->w.end - m->w.first;
}

static inline bool
prom_mixed_has_histograms(const PromMixedRange *m)
{
	return m->before[m->w.end] > m->before[m->w.first];
}

/* ---- window_mixed.c: of windows that are not empty, and except for the first two of histograms alone ---- */

extern bool prom_mixed_changes(PromMixedRange *m, double *v, const PromHistogram **h);
extern bool prom_mixed_resets(PromMixedRange *m, double *v, const PromHistogram **h);

/* Was the counter reset right after the window's first sample?  Then that one does not matter. */
extern bool prom_mixed_first_is_empty(PromMixedRange *m);

/* Notes what is said of the samples of a counter or gauge; false if they cannot be subtracted from each other. */
extern bool prom_mixed_check(PromMixedRange *m, bool counter);

/*
 * What the window ends with less what it begins with, which is NULL if that is empty; of a counter, with what it
 * had before each reset.  A gauge, and palloc'd.
 */
extern PromHistogram *prom_mixed_difference(PromMixedRange *m, bool counter, const PromHistogram *begin,
											const PromHistogram *end);

/* ---- extended_mixed.c: of extended windows, of either kind ---- */

extern bool prom_mixed_anchored_rate(PromMixedRange *m, double *v, const PromHistogram **h);
extern bool prom_mixed_anchored_increase(PromMixedRange *m, double *v, const PromHistogram **h);
extern bool prom_mixed_anchored_delta(PromMixedRange *m, double *v, const PromHistogram **h);
extern bool prom_mixed_anchored_changes(PromMixedRange *m, double *v, const PromHistogram **h);
extern bool prom_mixed_anchored_resets(PromMixedRange *m, double *v, const PromHistogram **h);
extern bool prom_mixed_smoothed_rate(PromMixedRange *m, double *v, const PromHistogram **h);
extern bool prom_mixed_smoothed_increase(PromMixedRange *m, double *v, const PromHistogram **h);
extern bool prom_mixed_smoothed_delta(PromMixedRange *m, double *v, const PromHistogram **h);
extern bool prom_mixed_smoothed_instant(PromMixedRange *m, double *v, const PromHistogram **h);

#endif							/* PROM_WINDOW_MIXED_H */

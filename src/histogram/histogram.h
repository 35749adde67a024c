/*
 * histogram.h
 *	  A native histogram: one sample that is a whole distribution.
 *
 * A PromHistogram is one flat piece of memory without pointers, so it can be copied, kept in a prom.vals
 * and sent between processes as it is.  Buckets are absolute counts as float64 (whole numbers up to 2^53
 * if the sender counted in integers), laid out by spans as Prometheus does: the offset of the first span
 * of a side is the index of its first bucket, that of a later one the gap before it.
 *
 *	head | buckets of the positive side | of the negative side | custom bounds | spans positive | negative
 *
 * Exponential schemas -4 .. 8: bucket i covers (2^((i-1)/2^schema), 2^(i/2^schema)], mirrored on the
 * negative side; the zero bucket covers [-zero_threshold, zero_threshold].  Schema -53: bucket i ends at
 * custom bound i (inclusive), the last one at +Inf; no negative side, no zero bucket.
 *
 * Files without a server header compile into the fuzz harness: they never ereport.
 */
#ifndef PROM_HISTOGRAM_H
#define PROM_HISTOGRAM_H

#include "c.h"

#define PROM_HISTOGRAM_MIN_SCHEMA		(-4)
#define PROM_HISTOGRAM_MAX_SCHEMA		8
#define PROM_HISTOGRAM_CUSTOM_SCHEMA	(-53)
#define PROM_HISTOGRAM_MAX_BUCKETS		16384	/* of both sides; and of custom bounds, and of spans */

typedef enum PromHint
{
	PROM_HINT_UNKNOWN, PROM_HINT_RESET, PROM_HINT_NOT_RESET, PROM_HINT_GAUGE
} PromHint;

typedef struct PromHistogramSpan
{
	int32		offset;
	uint32		length;
} PromHistogramSpan;

typedef enum PromHistogramSide
{
	PROM_POSITIVE, PROM_NEGATIVE
} PromHistogramSide;

typedef struct PromHistogram
{
	uint32		size;			/* of all of it, in bytes; a multiple of 8 */
	int8		schema;
	uint8		hint;			/* PromHint */
	uint8		is_int;			/* came as integers */
	uint8		read_hint;		/* of a sample that was read: what an unknown hint is, see chunk/hints.c; not in SQL */
	uint32		nbuckets[2];	/* by PromHistogramSide */
	uint32		nspans[2];
	uint32		ncustom;
	uint32		unused2;		/* 0 */
	double		zero_threshold;
	double		zero_count;
	double		count;
	double		sum;
	double		d[FLEXIBLE_ARRAY_MEMBER];	/* buckets, custom bounds, then the spans */
} PromHistogram;

static inline size_t
prom_histogram_size(uint32 npos, uint32 nneg, uint32 ncustom, uint32 nspans_pos, uint32 nspans_neg)
{
	return offsetof(PromHistogram, d) + sizeof(double) * ((size_t) npos + nneg + ncustom) +
		sizeof(PromHistogramSpan) * ((size_t) nspans_pos + nspans_neg);
}

static inline double *
prom_histogram_buckets(const PromHistogram *h, PromHistogramSide side)
{
	return (double *) h->d + (side == PROM_NEGATIVE ? h->nbuckets[PROM_POSITIVE] : 0);
}

static inline double *
prom_histogram_custom(const PromHistogram *h)
{
	return (double *) h->d + h->nbuckets[PROM_POSITIVE] + h->nbuckets[PROM_NEGATIVE];
}

static inline PromHistogramSpan *
prom_histogram_spans(const PromHistogram *h, PromHistogramSide side)
{
	PromHistogramSpan *spans = (PromHistogramSpan *) (prom_histogram_custom(h) + h->ncustom);

	return spans + (side == PROM_NEGATIVE ? h->nspans[PROM_POSITIVE] : 0);
}

/* ---- check.c: plain C ---- */

/*
 * Is this a valid histogram in "size" bytes?  NULL, or a static reason, in Prometheus' words: sizes that
 * do not fit, spans that do not match the buckets, negative or non-finite counts, buckets that do not
 * add up to the count (of integers: floats may be rounded), a schema that is not known, custom bounds
 * that do not rise.  Nothing beyond h + size is read; h is aligned to 8.
 */
extern const char *prom_histogram_check(const PromHistogram *h, size_t size);

/* The same without a look at the counts: what a difference of histograms is may be negative. */
extern const char *prom_histogram_check_shape(const PromHistogram *h, size_t size);

/* Gives memory to results and to what they take on the way; palloc, say.  Nothing given is handed back. */
typedef void *(*PromHistogramAlloc) (size_t size);

/* ---- buckets.c: plain C ---- */

/* A bucket with its bounds; the zero bucket and the lowest custom one include both. */
typedef struct PromHistogramBucket
{
	double		lower;
	double		upper;
	double		count;
	enum PromBucketKind
	{
		PROM_BUCKET_POSITIVE,	/* (lower, upper] */
		PROM_BUCKET_NEGATIVE,	/* [lower, upper) */
		PROM_BUCKET_ZERO,		/* [lower, upper] */
		PROM_BUCKET_CUSTOM		/* (lower, upper] */
	}			kind;
} PromHistogramBucket;

/* The upper bound of a bucket of an exponential schema; that of index - 1 is its lower one. */
extern double prom_histogram_bound(int32 index, int schema);

/* The populated buckets, lowest first, and how many they are. */
extern PromHistogramBucket *prom_histogram_list(PromHistogramAlloc alloc, const PromHistogram *h, int *n);

extern PromHistogramBucket prom_histogram_bucket(const PromHistogram *h, PromHistogramSide side, int32 index,
												 double count);

/* ---- arith.c: plain C ---- */

/* What happened on the way; any of them. */
#define PROM_HISTOGRAM_RESETS		0x01	/* hints say both "reset" and "not reset" */
#define PROM_HISTOGRAM_REBOUNDED	0x02	/* custom bounds differ: those in common were left */
#define PROM_HISTOGRAM_INCOMPATIBLE	0x04	/* exponential and custom: nothing was done */

/* A compensated sum; {NULL, NULL} is the empty one.  What it points to changes in place or is replaced. */
typedef struct PromHistogramSum
{
	PromHistogram *value;
	PromHistogram *comp;		/* same layout: what rounding took away from each number */
} PromHistogramSum;

extern bool prom_histogram_same_layout(const PromHistogram *a, const PromHistogram *b);
extern PromHistogram *prom_histogram_copy(PromHistogramAlloc alloc, const PromHistogram *h);

/* Without empty buckets. */
extern PromHistogram *prom_histogram_compact(PromHistogramAlloc alloc, const PromHistogram *h);

extern void prom_histogram_negate(PromHistogram *h);	/* in place */
extern PromHistogram *prom_histogram_scale(PromHistogramAlloc alloc, const PromHistogram *h, double factor);
extern PromHistogram *prom_histogram_divide(PromHistogramAlloc alloc, const PromHistogram *h, double divisor);

/* Adds sign (1, -1) times h; what happened. */
extern int	prom_histogram_sum_add(PromHistogramAlloc alloc, PromHistogramSum *s, const PromHistogram *h, double sign);
extern PromHistogram *prom_histogram_sum_done(PromHistogramAlloc alloc, const PromHistogramSum *s);

/* a + sign * b; NULL if they are incompatible. */
extern PromHistogram *prom_histogram_plus(PromHistogramAlloc alloc, const PromHistogram *a, const PromHistogram *b,
										 double sign, int *notes);

/* One more for a mean that had n - 1; as prom_mean_add (common/sum.h) does it with numbers. */
extern int	prom_histogram_mean_add(PromHistogramAlloc alloc, PromHistogramSum *s, bool *running, double n,
									const PromHistogram *h);
extern PromHistogram *prom_histogram_mean_done(PromHistogramAlloc alloc, const PromHistogramSum *s, bool running,
											   double n);

/* ---- compare.c: plain C ---- */

/* The same numbers, bit by bit, in the same buckets; hints do not matter. */
extern bool prom_histogram_equal(const PromHistogram *a, const PromHistogram *b);

/* Has the counter been reset between these two?  Its own hint is believed if it is one or the other. */
extern bool prom_histogram_is_reset(PromHistogramAlloc alloc, const PromHistogram *before, const PromHistogram *h);

/* ---- run.c: plain C ---- */

/* The buckets of one side, one after the other, those between spans left out. */
typedef struct PromHistogramWalk
{
	const PromHistogramSpan *span;
	const double *count;
	uint32		spans;			/* left, the open one included */
	uint32		buckets;		/* left in the open span */
	int64		index;			/* of the next bucket */
} PromHistogramWalk;

extern PromHistogramWalk prom_histogram_walk(const PromHistogram *h, PromHistogramSide side);
extern bool prom_histogram_walk_next(PromHistogramWalk *w, int64 *index, double *count);	/* false at the end */

/* Are both integers or floats, gauges or not, of one schema, zero threshold and list of custom bounds? */
extern bool prom_histogram_same_kind(const PromHistogram *a, const PromHistogram *b);

/* Could h be appended to Prometheus' chunk that ends with "before", as a counter that went on? */
extern bool prom_histogram_continues(const PromHistogram *before, const PromHistogram *h);

/* ---- stats.c: plain C ---- */

extern double prom_histogram_stdvar(PromHistogramAlloc alloc, const PromHistogram *h);

/* *notes: PROM_HISTOGRAM_NAN or PROM_HISTOGRAM_SKEWED if NaN was among the observations. */
#define PROM_HISTOGRAM_NAN		0x01	/* the result is NaN for that */
#define PROM_HISTOGRAM_SKEWED	0x02
extern double prom_histogram_quantile(PromHistogramAlloc alloc, double phi, const PromHistogram *h, int *notes);
extern double prom_histogram_fraction(PromHistogramAlloc alloc, double lower, double upper, const PromHistogram *h,
									  int *notes);

/* ---- trim.c: plain C ---- */

/* The observations that are at most x, or at least x. */
extern PromHistogram *prom_histogram_trim(PromHistogramAlloc alloc, const PromHistogram *h, double x, bool keep_lower);

/* ---- reduce.c: plain C ---- */

/* Exponential buckets merged in place to those of a coarser schema, >= -4.  The size shrinks with them. */
extern void prom_histogram_reduce(PromHistogram *h, int schema);

#endif							/* PROM_HISTOGRAM_H */

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
	uint8		unused;			/* 0 */
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

/* ---- reduce.c: plain C ---- */

/* Exponential buckets merged in place to those of a coarser schema, >= -4.  The size shrinks with them. */
extern void prom_histogram_reduce(PromHistogram *h, int schema);

#endif							/* PROM_HISTOGRAM_H */

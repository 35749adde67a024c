/*
 * select.h
 *	  What a selector reads: which resolution of which time, from which rows and objects, of which replicas; as SQL.
 */
#ifndef PROM_SELECT_H
#define PROM_SELECT_H

#include "store/store.h"

/* ---- gap.c ---- */

/* A time of which some series have no samples of a resolution any more */
typedef struct PromGap
{
	int32		resolution_s;
	int64		from_ms;		/* a partition: of raw samples inclusive, of rollups exclusive */
	int64		to_ms;
	char	   *rules;			/* JSON: all but "stay", or "gone"; NULL: some, of whatever labels */
	bool		expired;		/* retention took them: what is there of them has come since, and goes, too */
} PromGap;

/* All of them as the active snapshot has them; NULL: none. */
extern PromGap *prom_gaps(int *n);

/* ---- segment.c ---- */

/* Samples of a time, all of one resolution */
typedef struct PromSegment
{
	int64		from_ms;		/* exclusive */
	int64		to_ms;			/* inclusive */
	int32		resolution_s;	/* 0: raw */
	bool		mixed;			/* raw of the series that have such samples, from the first one's day on */
} PromSegment;

/* What a leaf reads; not of raw samples alone. */
typedef struct PromSegments
{
	PromScanRange range;		/* of all of them together; longer than what was asked for */
	PromSegment *segment;		/* ascending, without gaps */
	int			n;
	int32		coarsest_s;
	int			parts;			/* of rollups: 1 << PROM_PART_... */
	PromGap    *expired;		/* latest end first: series whose raw samples before it are passed over (late.c) */
	int			nexpired;
} PromSegments;

/* By how many times the coarsest resolution the range is longer */
#define PROM_SEGMENT_REACH 3

/*
 * The segments of a range, in which resolutions up to most_ms are allowed and finer ones are taken where those are
 * not; NULL: raw samples only.
 */
extern PromSegments *prom_segments(const struct PromLevel *levels, int n, const PromGap *mixed, int nmixed,
								   PromScanRange range, int64 most_ms, int parts);

/* Of who wants samples as they were written: rollups stand in where those are gone. */
extern PromSegments *prom_raw_segments(PromScanRange range);

/* As an int8[] of SQL: end and resolution of each, which is negative if it is mixed. */
extern char *prom_segments_sql(const PromSegments *segments);

/* A time of which all samples have one resolution; it begins where the one before ends. */
typedef struct PromRangeSegment
{
	int64		to_ms;			/* inclusive */
	int64		resolution_ms;	/* 0: raw */
	bool		mixed;			/* raw for series that have raw samples, from the first one's day on */
} PromRangeSegment;

/* Segments as SQL has them (prom_segments_sql). */
extern PromRangeSegment *prom_range_segments(ArrayType *a, int *n);
extern int64 prom_range_coarsest(const PromRangeSegment *segment, int n);

/* The first time that is mixed, exclusive; PG_INT64_MAX: none is. */
extern int64 prom_range_mixed_from(const PromRangeSegment *segment, int n);

/* The segments of a series whose first raw sample of mixed times is known, PG_INT64_MAX: it has none; *n changes. */
extern PromRangeSegment *prom_range_unmix(const PromRangeSegment *segment, int *n, int64 first_raw_ms);

/* ---- leaf.c ---- */

/*
 * Append what follows FROM, up to and with the WHERE clause, to get one row per series that satisfies
 * the matchers: r.labels, and r.out, never NULL, its element of the result of "leaf", an aggregate call over
 * c.data, c.ord and b.sids, the ids of a block's series.  With segments their range is read, and of rollups
 * c.ord is PROM_ROLLUP_ORDER + part; NULL: raw samples only.
 */
extern void prom_scan_sql(StringInfo out, const PromMatcher *m, int n, PromScanRange range,
						  const PromSegments *segments, const char *leaf);

/* The same with rows in order of labels; needs no memory for samples if the planner may not hash or sort. */
extern void prom_scan_sorted_sql(StringInfo out, const PromMatcher *m, int n, PromScanRange range,
								 const PromSegments *segments, const char *leaf);

/* A cursor over a query whose rows come from that, and stay in this order.  Needs SPI. */
extern Portal prom_scan_sorted_open(const char *sql);

/* The condition on a row "s" of prom.series, made once for all parts of a leaf: finding it may read many values of labels. */
extern char *prom_leaf_matched_sql(const PromMatcher *m, int n);

/*
 * Append a SELECT of the fresh samples of the matched series: shard, data; one chunk per shard, or NULL.  False, and
 * nothing is appended, if no segment is of raw samples.
 */
extern bool prom_leaf_fresh_sql(StringInfo out, const char *matched, PromScanRange range,
								const PromSegments *segments);

/*
 * What is stored of b.sids, ids of the block b.block of b.shard, but for fresh rows: data, ord.  "matched" finds all
 * series that such blocks are made of.
 */
extern void prom_leaf_stored_sql(StringInfo out, const char *matched, PromScanRange range,
								 const PromSegments *segments);

/* ---- active.c ---- */

/*
 * Append what follows FROM, up to and with the WHERE clause, to get one row s of prom.series for each that satisfies the
 * condition on s and has a sample with from_ms < t <= to_ms, or shares a fresh row with samples of that time (a superset
 * is allowed where only names are asked for).
 */
extern void prom_active_sql(StringInfo out, const char *condition, PromScanRange range);

/* The same without a look into the rows: as well if another series of its block has such a sample. */
extern void prom_active_block_sql(StringInfo out, const char *condition, PromScanRange range);

/* ---- late.c ---- */

/*
 * Append a subquery o of one row: of the series s that the condition finds, in order, the sids of those whose raw
 * samples are passed over, and "since" when (ms) they count again; NULLs if there are none.
 */
extern void prom_late_sql(StringInfo out, const PromSegments *segments, const char *which);

/* ---- leaf_dedup.c ---- */

/* Names (char *) of the labels in which replicas differ; NIL: they are not to be merged. */
extern List *prom_dedup_labels(void);

/* Append a label set, SQL, without these. */
extern void prom_dedup_labels_sql(StringInfo out, const char *labels, List *names);

/*
 * As prom_scan_sql and prom_scan_sorted_sql, but r.labels are without replica labels, and r.out is about the
 * samples of all replicas merged.  counter: so that no change of replicas looks like the reset of a counter.
 * For when prom_dedup_labels() is not NIL.
 */
extern void prom_dedup_scan_sql(StringInfo out, const PromMatcher *m, int n, PromScanRange range,
								const PromSegments *segments, bool counter, const char *leaf);
extern void prom_dedup_scan_sorted_sql(StringInfo out, const PromMatcher *m, int n, PromScanRange range,
									   const PromSegments *segments, const char *leaf);

extern void prom_select_init(void);

#endif							/* PROM_SELECT_H */

/*
 * chunk.h
 *	  Samples of one or many series, packed: the SQL type prom.chunk.
 *
 * A chunk holds G >= 1 series of one shard.  Series with equal timestamps share one time column;
 * every series has a value column of its own; a directory in front lets a reader decode one series
 * and nothing else.  The bytes are told in README.md.  Knows no catalogs and no SPI.
 *
 * All results are palloc'd in the caller's current context.  Corrupt bytes raise
 * ERRCODE_DATA_CORRUPTED.  Values are float64 bit patterns and are never normalised.
 */
#ifndef PROM_CHUNK_H
#define PROM_CHUNK_H

#include "postgres.h"
#include "fmgr.h"

#include "common/double.h"
#include "histogram/histogram.h"

#define PROM_CHUNK_MAX_SERIES	1024
#define PROM_CHUNK_MAX_SAMPLES	8192	/* of one series */

typedef struct varlena PromChunk;

#define DatumGetPromChunkP(d)	((PromChunk *) PG_DETOAST_DATUM_PACKED(d))
#define PG_GETARG_PROM_CHUNK_P(n) DatumGetPromChunkP(PG_GETARG_DATUM(n))

/* ---- build.c ---- */

typedef enum PromChunkStyle
{
	PROM_CHUNK_FRESH,			/* few samples of each series: cheap to write */
	PROM_CHUNK_WARM,			/* many samples: each column gets the codec that suits it best */
	PROM_CHUNK_COLD,			/* as warm, and the values go through zstd if that helps */
	PROM_CHUNK_PLAIN			/* arrays as they are, in flight inside a query only: no limit on series
								 * and samples but memory; input functions refuse it, readers take it */
} PromChunkStyle;

typedef struct PromChunkBuilder PromChunkBuilder;

extern PromChunkBuilder *prom_chunk_begin(PromChunkStyle style, int16 shard);

/*
 * Append a series: sid greater than those before, times strictly ascending,
 * 1 <= n <= PROM_CHUNK_MAX_SAMPLES.  Columns are encoded here, so bytes() below is known.
 *
 * Histograms may be among the samples: where histograms[i] is not NULL it is sample i and
 * values[i] is not looked at.  NULL: floats only.  A stale histogram (by its sum) is stored as the float
 * that says so.  Histograms of one series: 32 MB at most.
 */
extern void prom_chunk_add_mixed(PromChunkBuilder *b, int32 sid, int n, const int64 *t_ms,
								 const double *values, const PromHistogram *const *histograms);
/* Without the series that was added last, once; not of plain chunks. */
extern void prom_chunk_take_back(PromChunkBuilder *b);
extern int	prom_chunk_series(const PromChunkBuilder *b);	/* series added so far */
extern size_t prom_chunk_bytes(const PromChunkBuilder *b);	/* at most this much if finished now */

/*
 * The chunk; the builder is empty again and can be used for the next one (same style, shard).  At least
 * one series must have been added, except to a plain chunk.
 */
extern PromChunk *prom_chunk_finish(PromChunkBuilder *b);

/* ---- read.c ---- */

typedef struct PromChunkReader
{
	/* what a caller may look at */
	int16		shard;
	int			nseries;
	int32	   *sids;			/* ascending, nseries of them */
	int64		t_min;
	int64		t_max;
	/* the rest belongs to read.c, which may add to it */
	struct PromChunkLayout *layout;
} PromChunkReader;

/*
 * Open a (detoasted) chunk, which must outlive the reader.  Checks the head and the series ids; the
 * directory is checked by the first count or read, columns when they are decoded.  The reader is
 * zeroed before its first open; opening it again reuses its memory (taken from the context current at
 * the first open).  O(1) for plain chunks.
 */
extern void prom_chunk_open(PromChunkReader *r, const PromChunk *chunk);

/* Column number of a series, or -1. */
extern int	prom_chunk_find(const PromChunkReader *r, int32 sid);

/* Number of samples in a column; then the samples themselves into arrays of at least that size. */
extern int	prom_chunk_count(const PromChunkReader *r, int column);
extern void prom_chunk_read(PromChunkReader *r, int column, int64 *t_ms, double *values);

/*
 * The same in two halves.  The times stay the reader's, until the next read or open; looking at them
 * first may spare the values.
 */
extern const int64 *prom_chunk_times(PromChunkReader *r, int column);
extern void prom_chunk_values(PromChunkReader *r, int column, double *values);

/*
 * Columns that have histograms: the two above raise for them, lest samples get lost on the way.  Where
 * histograms[i] is not NULL it is sample i and values[i] is NaN; they are palloc'd.  Works for all columns.
 */
extern bool prom_chunk_has_histograms(PromChunkReader *r, int column);
extern void prom_chunk_values_mixed(PromChunkReader *r, int column, double *values,
									const PromHistogram **histograms);

/*
 * Full check of foreign bytes: every column is decoded.  Returns NULL or a static reason.  Plain chunks
 * are foreign nowhere, so they do not pass.
 */
extern const char *prom_chunk_verify(const uint8 *bytes, size_t len);

/* ---- merge.c ---- */

/*
 * Gathers the samples of one series from several chunks and puts them in order of time.
 * Of samples with equal timestamps the one with the greatest "order" stays (the later commit
 * wins); with equal order the one added last.  Cheap when chunks arrive in order and do not overlap.
 */
typedef struct PromGather
{
	int			n;				/* samples; valid after finish */
	int64	   *t_ms;
	double	   *values;
	const PromHistogram **histograms;	/* NULL while the series has none; else parallel to values, which are
										 * NaN where it is not NULL; all of it lives to the next reset */
	/* private to merge.c below */
	PromHistogram **slots;		/* "histograms" when it is not NULL */
	MemoryContext histogram_cxt;
	int			size;
	bool		sorted;
	struct PromGatherRun *runs; /* which samples have which order */
	int			nruns;
	int			runs_size;
	MemoryContext cxt;
} PromGather;

extern void prom_gather_init(PromGather *g, MemoryContext cxt);
extern void prom_gather_reset(PromGather *g);	/* keeps the memory */

/* Add the samples of a column with from_ms < t <= to_ms. */
extern void prom_gather_column(PromGather *g, PromChunkReader *r, int column, int64 from_ms,
							   int64 to_ms, int64 order);

/* Add samples, with histograms among them, which are copied; see prom_chunk_add_mixed. */
extern void prom_gather_mixed(PromGather *g, int n, const int64 *t_ms, const double *values,
							  const PromHistogram *const *histograms, int64 order);

/* Before finish: remove samples with from_ms < t <= to_ms that came with an order up to this one. */
extern void prom_gather_drop(PromGather *g, int64 order, int64 from_ms, int64 to_ms);
extern void prom_gather_finish(PromGather *g);

/* ---- hints.c ---- */

/* After finish: hints of histograms as storage delivers them to queries.  Not for what is stored again. */
extern void prom_gather_hints(PromGather *g);

/* After that, for queries that only count: an unknown hint is what reading found out. */
extern void prom_gather_tell_hints(PromGather *g);

/* ---- merge.c ---- */

/*
 * Merges whole chunks: one sorted, unique run of samples per series, series by series.
 *
 *	prom_merge_init(&m, cxt); prom_merge_add(&m, chunk, order) ...;
 *	while (prom_merge_next(&m, &sid)) use m.gather.n, .t_ms, .values
 *
 * Chunks must stay in memory until the end.  All must be of one shard.  Adding returns the opened chunk,
 * for a look until the next is added.
 */
typedef struct PromMerge
{
	PromGather	gather;
	int16		shard;			/* of the chunks added */
	bool		shard_known;
	struct PromMergeInput *inputs;
	int			ninputs;
	int			size;
	struct binaryheap *heap;	/* of inputs; made by the first next */
	MemoryContext cxt;
} PromMerge;

extern void prom_merge_init(PromMerge *m, MemoryContext cxt);
extern const PromChunkReader *prom_merge_add(PromMerge *m, const PromChunk *chunk, int64 order);
extern bool prom_merge_next(PromMerge *m, int32 *sid);

/* ---- type.c ---- */

/* "fresh", "warm", "cold" or "plain"; anything else raises. */
extern PromChunkStyle prom_chunk_style(text *name);

#endif							/* PROM_CHUNK_H */

/*
 * codec.h
 *	  What the files of this room share: columns, blocks, plain chunks.  Bytes are told in README.md.
 *
 * Everything declared here but PromPlainChunk is plain C: no palloc, no ereport, no global state.
 * Encoders write into memory of at least the promised bound.  Decoders trust nothing: they return
 * NULL, or a static reason, and never read or write past what they were given.  Values travel as
 * bits, never as doubles, so that no NaN changes on the way.  Arithmetic is modulo 2^64.
 */
#ifndef PROM_CODEC_H
#define PROM_CODEC_H

#include "c.h"

#include <zstd.h>

#include "common/bytes.h"
#include "histogram/histogram.h"

#define PROM_BLOCK_FORMAT		0xC1
#define PROM_PLAIN_FORMAT		0xC2

#define PROM_BLOCK_MAX_SERIES	1024
#define PROM_BLOCK_MAX_SAMPLES	8192	/* of one series */

/* flags of a block */
#define PROM_BLOCK_ZSTD			1	/* values are one zstd frame */
#define PROM_BLOCK_CRC			2	/* crc32c over all before it at the end */
#define PROM_BLOCK_IDS			4	/* has series ids; always set */
#define PROM_BLOCK_FRESH		8	/* value columns are control bytes */
#define PROM_BLOCK_HISTOGRAMS	16	/* a value column has histograms */
#define PROM_BLOCK_FLAGS		31

#define PROM_BLOCK_CRC_BYTES	4

/* No encoder of n numbers writes more. */
#define PROM_INT_BOUND(n)		(64 + 9 * (size_t) (n))
#define PROM_VALUE_BOUND(n)		(96 + 9 * (size_t) (n))

/* ---- codec_mini.c: mini blocks, of which integer columns are made ---- */

#define PROM_INT_MINI 64		/* numbers in a mini block */

/*
 * The width that packs c residuals in the fewest bytes; *patches is how many do not fit into it: none if
 * it has to be quick.  Returns the bytes, header included; 1 says that they are all 0.
 */
extern int	prom_mini_plan(const uint64 *u, int c, bool quick, int *width, int *patches);
extern uint8 *prom_mini_write(uint8 *out, const uint64 *u, int c, int width, int patches);
extern uint8 *prom_mini_run_write(uint8 *out, int run);	/* so many of zeros */

/* The c residuals of a mini block.  *run is set if it begins one: how many mini blocks of zeros follow. */
extern const char *prom_mini_read(PromBytes *in, int c, uint64 *u, int *run);

/* ---- codec_int.c: columns of 64-bit integers ---- */

/* Encode x[0..n-1], n >= 1; returns the byte after.  Leaves x in ruins. */
extern uint8 *prom_int_encode(uint8 *out, uint64 *x, int n);

/* The same in about half the time and somewhat more bytes; within the same bound. */
extern uint8 *prom_int_encode_quick(uint8 *out, uint64 *x, int n);
extern const char *prom_int_decode(PromBytes *in, uint64 *x, int n);

/* True if all numbers of the column that comes next are the first one. */
extern bool prom_int_is_constant(const PromBytes *in);

/*
 * Grows with a column that is not encoded yet: an upper bound of what prom_int_encode will write
 * for the numbers added so far.
 */
typedef struct PromIntBound
{
	uint64		last;
	int			n;
	int			width;			/* greatest of the open mini block */
	size_t		closed;			/* bytes of the mini blocks that are full */
} PromIntBound;

/* As if the column were of steps without reference and gcd, which the encoder always tries. */
static inline void
prom_int_bound_add(PromIntBound *b, uint64 x)
{
	if (b->n > 0)
	{
		b->width = Max(b->width, prom_bit_length(prom_zigzag_encode((int64) (x - b->last))));
		if (b->n % PROM_INT_MINI == 0)
		{
			b->closed += 1 + b->width * PROM_INT_MINI / 8;
			b->width = 0;
		}
	}
	else
		b->closed = 1 + 10;
	b->last = x;
	b->n++;
}

static inline size_t
prom_int_bound_bytes(const PromIntBound *b)
{
	/* a gcd may cost ten bytes before it gains any */
	return b->closed + 10 + 1 + b->width * PROM_INT_MINI / 8;
}

/* ---- codec_time.c: timestamps of one column ---- */

/* Ascending times, relative to the first; no bytes at all if n is 1.  work holds n numbers. */
extern uint8 *prom_time_encode(uint8 *out, const int64 *t_ms, int n, uint64 *work);

/* Takes all of the bytes; the times are checked to be strictly ascending. */
extern const char *prom_time_decode(const uint8 *bytes, size_t len, int64 first, int64 *t_ms, int n);

/* ---- codec_value.c: values of one series ---- */

typedef struct PromValueWork
{
	uint64		a[PROM_BLOCK_MAX_SAMPLES];
	uint64		b[PROM_BLOCK_MAX_SAMPLES];
	/* one try of a column: two integer columns, or one and exceptions of 11 bytes each */
	uint8		bytes[160 + 20 * PROM_BLOCK_MAX_SAMPLES];
} PromValueWork;

extern uint8 *prom_value_encode(uint8 *out, const uint64 *bits, int n, PromValueWork *work);
extern uint8 *prom_value_encode_fresh(uint8 *out, const uint64 *bits, int n);

/* Takes all of the bytes.  work holds n numbers. */
extern const char *prom_value_decode(const uint8 *bytes, size_t len, uint64 *bits, int n, uint64 *work);
extern const char *prom_value_decode_fresh(const uint8 *bytes, size_t len, uint64 *bits, int n);

/* ---- codec_histogram.c: value columns that have histograms ---- */

/* Histograms of one column unpacked, and value columns of a block that has any, packed. */
#define PROM_MIXED_MAX_BYTES	(32 * 1024 * 1024)
#define PROM_BLOCK_MAX_VALUES	(64 * 1024 * 1024)

/* The value that stands where a histogram is: Prometheus' ordinary NaN. */
#define PROM_NORMAL_NAN_BITS	UINT64CONST(0x7FF8000000000001)

/* first byte of such a column, in a block of fresh values and in others */
#define PROM_MIXED_FRESH		0xF9
#define PROM_MIXED_KIND			(3 << 5)

typedef struct PromMixedWork
{
	PromValueWork value;
	uint64		x[PROM_HISTOGRAM_MAX_BUCKETS + 2];
	uint64		rest[PROM_BLOCK_MAX_SAMPLES];
	uint16		which[PROM_BLOCK_MAX_SAMPLES];	/* layout of each sample from 1; 0: a float */
	uint16		order[PROM_BLOCK_MAX_SAMPLES];	/* samples, by layout */
	uint16		start[PROM_BLOCK_MAX_SAMPLES + 2];	/* ends in order; see there */
	uint16		first[PROM_BLOCK_MAX_SAMPLES];	/* first sample of each layout */
	uint8		floats[PROM_BLOCK_MAX_SAMPLES]; /* of each layout: are its counts value columns? */
	uint8		flags[PROM_BLOCK_MAX_SAMPLES];	/* of each layout */
	uint8		hint[PROM_BLOCK_MAX_SAMPLES];	/* of each histogram */
} PromMixedWork;

/* What the encoder writes at most; *bytes: the histograms' own size, PROM_MIXED_MAX_BYTES at most. */
extern size_t prom_mixed_bound(const PromHistogram *const *h, int n, size_t *bytes);

/* Sample i is h[i], or bits[i] where that is NULL.  The column's first byte is the caller's. */
extern uint8 *prom_mixed_encode(uint8 *out, const uint64 *bits, const PromHistogram *const *h, int n,
								PromMixedWork *w);

/*
 * First how much memory its histograms take, then the column; h[i] points into memory (aligned to 8),
 * or is NULL where bits[i] is the sample.  Histograms are of valid shape; their counts are not checked
 * but that those of integers are whole numbers up to 2^53.
 */
extern const char *prom_mixed_measure(PromBytes in, int n, size_t *bytes, PromMixedWork *w);
extern const char *prom_mixed_decode(PromBytes in, uint64 *bits, PromHistogram **h, int n, void *memory,
									 PromMixedWork *w);

/* ---- block.c: columns and directory of one block ---- */

/* A block about to be written. */
typedef struct PromBlockParts
{
	uint8		flags;
	int16		shard;
	int			nseries;
	int			ntimes;
	const int32 *sids;			/* strictly ascending */
	const uint16 *time_of;		/* time column of each series */
	const uint32 *value_len;	/* bytes of each value column */
	const uint16 *time_n;		/* samples of each time column */
	const int64 *time_first;
	const uint32 *time_len;		/* bytes of each time column */
	int64		t_min;
	int64		t_max;
	const uint8 *times;			/* all time columns */
	size_t		times_len;
	const uint8 *values;		/* all value columns, or the frame that holds them */
	size_t		values_len;
} PromBlockParts;

/* Writes everything but the crc; returns the bytes written, which are no more than the bound. */
extern size_t prom_block_bound(const PromBlockParts *p);
extern size_t prom_block_write(uint8 *out, const PromBlockParts *p);

/* Compress into out (of len bytes); 0 if that gains nothing. */
extern size_t prom_block_deflate(ZSTD_CCtx *cctx, uint8 *out, const uint8 *values, size_t len);

/*
 * A block being read, in steps: head, ids, directory, (inflate,) columns.  Each needs the one before.
 * The arrays live in memory of prom_block_space() bytes that the caller gives with ids.
 */
typedef struct PromBlock
{
	uint8		flags;
	int16		shard;
	int			nseries;
	int			ntimes;
	int			nsamples;		/* of the longest series */
	int64		t_min;
	int64		t_max;
	/* from ids and directory on */
	int32	   *sids;
	uint16	   *time_of;
	uint32	   *value_at;		/* nseries + 1 offsets into values */
	uint16	   *time_n;
	int64	   *time_first;
	uint32	   *time_at;		/* ntimes + 1 offsets into times */
	const uint8 *times;
	const uint8 *values;		/* NULL until inflated */
	/* private */
	PromBytes	ids;
	PromBytes	rest;
} PromBlock;

extern const char *prom_block_head(PromBlock *b, const uint8 *bytes, size_t len);
extern size_t prom_block_space(const PromBlock *b);
extern const char *prom_block_ids(PromBlock *b, void *space);
extern const char *prom_block_directory(PromBlock *b);

/* Only if values is NULL after the directory: buffer of this size stays in use. */
extern size_t prom_block_inflate_space(const PromBlock *b);
extern const char *prom_block_inflate(PromBlock *b, ZSTD_DCtx *dctx, uint8 *buffer);

extern const char *prom_block_time(const PromBlock *b, int k, int64 *t_ms);
extern const char *prom_block_value(const PromBlock *b, int column, uint64 *bits, uint64 *work);

/*
 * A value column that has histograms: what follows its first byte, for codec_histogram.c.  False if it has none.
 */
extern bool prom_block_mixed(const PromBlock *b, int column, PromBytes *in);

/* Decode every column but those with histograms.  The three arrays hold b->nsamples numbers each. */
extern const char *prom_block_verify(const PromBlock *b, int64 *t_ms, uint64 *bits, uint64 *work);

/* ---- plain chunks: never leave the server, hence native byte order ---- */

typedef struct PromPlainChunk
{
	int32		vl_len_;
	uint8		format;
	uint8		unused;
	int16		shard;
	int64		nsamples;
	int64		nseries;
	int64		t_min;
	int64		t_max;
	int64		nwords;			/* of histograms */
	int64		data[FLEXIBLE_ARRAY_MEMBER];
	/*
	 * int64 t_ms[nsamples], float64 values[nsamples];
	 * if nwords > 0: int64 place[nsamples] in words, -1 where the sample is a float; words[nwords];
	 * uint32 offsets[nseries + 1], int32 sids[nseries]
	 */
} PromPlainChunk;

/* Words before the offsets. */
#define PROM_PLAIN_WORDS(nsamples, nwords) \
	((nwords) > 0 ? 3 * (uint64) (nsamples) + (uint64) (nwords) : 2 * (uint64) (nsamples))

#define PROM_PLAIN_BYTES(nseries, nsamples, nwords) \
	(offsetof(PromPlainChunk, data) + 8 * PROM_PLAIN_WORDS(nsamples, nwords) + 8 * (uint64) (nseries) + 4)

#endif							/* PROM_CODEC_H */

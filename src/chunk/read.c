/*
 * read.c
 *	  Reads chunks: open, find a series, read its samples.
 *
 * A reader is opened once per row of a query, so it does no more than it is asked for: opening
 * decodes the series ids, the first count or read decodes the directory, and a read decodes one value
 * column.  The time column decoded last is kept, for neighbours mostly share it.  Memory is kept from
 * one open to the next.  Plain chunks are used where they lie.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/memutils.h"

#include "chunk/chunk.h"
#include "chunk/codec.h"

/* Memory that is kept. */
typedef struct Kept
{
	void	   *data;
	size_t		size;
} Kept;

struct PromChunkLayout
{
	MemoryContext cxt;
	const PromPlainChunk *plain;	/* NULL: a block */
	PromBlock	block;
	bool		directory;		/* decoded */
	int			time_column;	/* in times; -1 if none */
	Kept		space;			/* arrays of the block */
	Kept		times;			/* int64s of time_column */
	Kept		work;
	Kept		inflated;
	Kept		mixed_work;
	Kept		copy;			/* of a plain chunk that lay crooked */
};

/* One for the process: making a context costs more than a chunk does. */
static ZSTD_DCtx *zstd_dctx = NULL;

static pg_noinline void
corrupt(const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("corrupt prom.chunk"),
			 errdetail_internal("%s", reason),
			 errhint("If it is a stored one, prom.quarantine_damaged() finds its row and sets it aside.")));
}

static inline void *
keep(struct PromChunkLayout *l, Kept *k, size_t size)
{
	if (size > k->size)
	{
		size = Max(size, 2 * k->size);
		if (k->data)
			pfree(k->data);
		k->data = NULL;
		k->size = 0;
		k->data = MemoryContextAlloc(l->cxt, size);
		k->size = size;
	}
	return k->data;
}

static const char *
check_crc(const uint8 *bytes, size_t len)
{
	pg_crc32c	crc;
	uint32		stored = 0;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, len - PROM_BLOCK_CRC_BYTES);
	FIN_CRC32C(crc);
	for (int i = 0; i < PROM_BLOCK_CRC_BYTES; i++)
		stored |= (uint32) bytes[len - PROM_BLOCK_CRC_BYTES + i] << (8 * i);
	return EQ_CRC32C(crc, stored) ? NULL : "checksum does not match";
}

static ZSTD_DCtx *
decompressor(void)
{
	if (zstd_dctx == NULL)
		zstd_dctx = ZSTD_createDCtx();
	if (zstd_dctx == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Could not create a decompression context.")));
	return zstd_dctx;
}

/* ---- plain chunks ---- */

static inline const uint32 *
plain_offsets(const PromPlainChunk *c)
{
	return (const uint32 *) (c->data + PROM_PLAIN_WORDS(c->nsamples, c->nwords));
}

static void
open_plain(PromChunkReader *r, const PromChunk *chunk)
{
	struct PromChunkLayout *l = r->layout;
	const PromPlainChunk *c = (const PromPlainChunk *) chunk;

	/* a short header, or none of the alignment that the type asks for */
	if (VARATT_IS_SHORT(chunk) || c != (const PromPlainChunk *) TYPEALIGN(sizeof(int64), c))
	{
		Size		len = VARSIZE_ANY_EXHDR(chunk);
		PromPlainChunk *copy = keep(l, &l->copy, VARHDRSZ + len);

		SET_VARSIZE(copy, VARHDRSZ + len);
		memcpy(VARDATA(copy), VARDATA_ANY(chunk), len);
		c = copy;
	}
	if (VARSIZE(c) < PROM_PLAIN_BYTES(0, 0, 0) || c->nseries < 0 || c->nseries > MaxAllocSize ||
		c->nsamples < 0 || c->nsamples > MaxAllocSize || c->nwords < 0 || c->nwords > MaxAllocSize ||
		VARSIZE(c) != PROM_PLAIN_BYTES(c->nseries, c->nsamples, c->nwords))
		corrupt("plain chunk has a wrong size");
	l->plain = c;
	r->shard = c->shard;
	r->nseries = (int) c->nseries;
	r->sids = unconstify(int32 *, (const int32 *) (plain_offsets(c) + c->nseries + 1));
	r->t_min = c->t_min;
	r->t_max = c->t_max;
}

/* Where the samples of a series begin; *n is how many. */
static inline uint32
plain_range(const PromPlainChunk *c, int column, int *n)
{
	const uint32 *at = plain_offsets(c) + column;

	if (at[1] < at[0] || at[1] > c->nsamples)
		corrupt("plain chunk has an offset out of range");
	*n = (int) (at[1] - at[0]);
	return at[0];
}

/* ---- blocks ---- */

static void
open_block(PromChunkReader *r, const uint8 *bytes, size_t len)
{
	struct PromChunkLayout *l = r->layout;
	PromBlock  *b = &l->block;
	const char *reason;

	l->plain = NULL;
	l->directory = false;
	l->time_column = -1;
	reason = prom_block_head(b, bytes, len);
	if (reason == NULL && b->flags & PROM_BLOCK_CRC)
		reason = check_crc(bytes, len);
	if (reason == NULL)
		reason = prom_block_ids(b, keep(l, &l->space, prom_block_space(b)));
	if (reason)
		corrupt(reason);
	r->shard = b->shard;
	r->nseries = b->nseries;
	r->sids = b->sids;
	r->t_min = b->t_min;
	r->t_max = b->t_max;
}

static inline void
need_directory(struct PromChunkLayout *l)
{
	const char *reason;

	if (l->directory)
		return;
	reason = prom_block_directory(&l->block);
	if (reason)
		corrupt(reason);
	l->directory = true;
}

static inline void
need_values(struct PromChunkLayout *l)
{
	PromBlock  *b = &l->block;
	const char *reason;

	if (b->values)
		return;
	reason = prom_block_inflate(b, decompressor(), keep(l, &l->inflated, prom_block_inflate_space(b)));
	if (reason)
		corrupt(reason);
}

/* ---- what the room offers ---- */

void
prom_chunk_open(PromChunkReader *r, const PromChunk *chunk)
{
	const uint8 *bytes = (const uint8 *) VARDATA_ANY(chunk);
	size_t		len = VARSIZE_ANY_EXHDR(chunk);

	if (r->layout == NULL)
	{
		r->layout = palloc0(sizeof(struct PromChunkLayout));
		r->layout->cxt = CurrentMemoryContext;
	}
	if (len > 0 && bytes[0] == PROM_PLAIN_FORMAT)
		open_plain(r, chunk);
	else
		open_block(r, bytes, len);
}

int
prom_chunk_find(const PromChunkReader *r, int32 sid)
{
	const int32 *sids = r->sids;
	int			low = 0;
	int			high = r->nseries - 1;
	int64		guess;

	if (r->nseries == 0 || sid < sids[0] || sid > sids[high])
		return -1;
	/* ids are given out in blocks, so chunks often have them without gaps */
	guess = (int64) sid - sids[0];
	if (guess <= high)
	{
		if (sids[guess] == sid)
			return (int) guess;
		high = (int) guess;
	}
	while (low <= high)
	{
		int			middle = low + (high - low) / 2;

		if (sids[middle] == sid)
			return middle;
		if (sids[middle] < sid)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return -1;
}

int
prom_chunk_count(const PromChunkReader *r, int column)
{
	struct PromChunkLayout *l = r->layout;
	int			n;

	Assert(column >= 0 && column < r->nseries);
	if (l->plain)
	{
		(void) plain_range(l->plain, column, &n);
		return n;
	}
	need_directory(l);
	return l->block.time_n[l->block.time_of[column]];
}

const int64 *
prom_chunk_times(PromChunkReader *r, int column)
{
	struct PromChunkLayout *l = r->layout;
	PromBlock  *b = &l->block;
	int			k;

	Assert(column >= 0 && column < r->nseries);
	if (l->plain)
	{
		int			n;

		return l->plain->data + plain_range(l->plain, column, &n);
	}
	need_directory(l);
	k = b->time_of[column];
	if (l->time_column != k)
	{
		int64	   *times = keep(l, &l->times, b->nsamples * sizeof(int64));
		const char *reason;

		l->time_column = -1;
		reason = prom_block_time(b, k, times);
		if (reason)
			corrupt(reason);
		l->time_column = k;
	}
	return l->times.data;
}

bool
prom_chunk_has_histograms(PromChunkReader *r, int column)
{
	struct PromChunkLayout *l = r->layout;
	PromBytes	in;
	int			n;
	uint32		at;

	Assert(column >= 0 && column < r->nseries);
	if (l->plain)
	{
		if (l->plain->nwords == 0)
			return false;
		at = plain_range(l->plain, column, &n);
		for (int i = 0; i < n; i++)
			if (l->plain->data[2 * l->plain->nsamples + at + i] >= 0)
				return true;
		return false;
	}
	if (!(l->block.flags & PROM_BLOCK_HISTOGRAMS))
		return false;
	need_directory(l);
	need_values(l);
	return prom_block_mixed(&l->block, column, &in);
}

void
prom_chunk_values(PromChunkReader *r, int column, double *values)
{
	struct PromChunkLayout *l = r->layout;
	PromBlock  *b = &l->block;
	const char *reason;

	Assert(column >= 0 && column < r->nseries);
	if (unlikely(prom_chunk_has_histograms(r, column)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("series %d has native histograms, which are not expected here", r->sids[column])));
	if (l->plain)
	{
		int			n;
		uint32		at = plain_range(l->plain, column, &n);

		memcpy(values, l->plain->data + l->plain->nsamples + at, n * sizeof(double));
		return;
	}
	need_directory(l);
	need_values(l);
	reason = prom_block_value(b, column, (uint64 *) values,
							  keep(l, &l->work, b->nsamples * sizeof(uint64)));
	if (reason)
		corrupt(reason);
}

/* Copies, for a plain chunk may be gone before they are. */
static void
plain_mixed(const PromPlainChunk *c, int column, double *values, const PromHistogram **histograms)
{
	int			n;
	uint32		at = plain_range(c, column, &n);
	const int64 *place = c->data + 2 * c->nsamples + at;
	const int64 *words = c->data + 3 * c->nsamples;

	memcpy(values, c->data + c->nsamples + at, n * sizeof(double));
	for (int i = 0; i < n; i++)
	{
		const PromHistogram *h;

		histograms[i] = NULL;
		if (place[i] < 0)
			continue;
		h = (const PromHistogram *) (words + place[i]);
		if (place[i] > c->nwords || c->nwords - place[i] < (int64) (offsetof(PromHistogram, d) / sizeof(int64)) ||
			h->size > (c->nwords - place[i]) * sizeof(int64) || h->size < offsetof(PromHistogram, d))
			corrupt("plain chunk has a histogram out of range");
		histograms[i] = memcpy(palloc(h->size), h, h->size);
	}
}

void
prom_chunk_values_mixed(PromChunkReader *r, int column, double *values, const PromHistogram **histograms)
{
	struct PromChunkLayout *l = r->layout;
	int			n = prom_chunk_count(r, column);
	PromBytes	in;
	size_t		bytes;
	PromMixedWork *work;
	const char *reason;

	if (!prom_chunk_has_histograms(r, column))
	{
		prom_chunk_values(r, column, values);
		memset(histograms, 0, n * sizeof(*histograms));
		return;
	}
	if (l->plain)
	{
		plain_mixed(l->plain, column, values, histograms);
		return;
	}
	(void) prom_block_mixed(&l->block, column, &in);
	work = keep(l, &l->mixed_work, sizeof(PromMixedWork));
	reason = prom_mixed_measure(in, n, &bytes, work);
	if (reason == NULL)
		reason = prom_mixed_decode(in, (uint64 *) values, (PromHistogram **) histograms, n,
								   palloc(Max(bytes, 1)), work);
	if (reason)
		corrupt(reason);
}

void
prom_chunk_read(PromChunkReader *r, int column, int64 *t_ms, double *values)
{
	int			n = prom_chunk_count(r, column);

	memcpy(t_ms, prom_chunk_times(r, column), n * sizeof(int64));
	prom_chunk_values(r, column, values);
}

/* Columns with histograms, all of which must be valid. */
static const char *
verify_histograms(const PromBlock *b)
{
	PromMixedWork *work = palloc(sizeof(PromMixedWork));
	uint64	   *bits = palloc(b->nsamples * sizeof(uint64));
	PromHistogram **histograms = palloc(b->nsamples * sizeof(PromHistogram *));
	const char *reason = "chunk has no histograms, and says it has";

	for (int column = 0; column < b->nseries; column++)
	{
		int			n = b->time_n[b->time_of[column]];
		PromBytes	in;
		size_t		bytes;
		void	   *memory;

		CHECK_FOR_INTERRUPTS();
		if (!prom_block_mixed(b, column, &in))
			continue;
		reason = prom_mixed_measure(in, n, &bytes, work);
		if (reason)
			break;
		memory = palloc(Max(bytes, 1));
		reason = prom_mixed_decode(in, bits, histograms, n, memory, work);
		for (int i = 0; i < n && reason == NULL; i++)
			if (histograms[i])
				reason = prom_histogram_check(histograms[i], histograms[i]->size);
		pfree(memory);
		if (reason)
			break;
	}
	pfree(histograms);
	pfree(bits);
	pfree(work);
	return reason;
}

const char *
prom_chunk_verify(const uint8 *bytes, size_t len)
{
	PromBlock	b;
	const char *reason = prom_block_head(&b, bytes, len);
	uint64	   *arrays;
	void	   *space;
	uint8	   *inflated = NULL;

	if (reason == NULL && b.flags & PROM_BLOCK_CRC)
		reason = check_crc(bytes, len);
	if (reason)
		return reason;
	space = palloc(prom_block_space(&b));
	reason = prom_block_ids(&b, space);
	if (reason == NULL)
		reason = prom_block_directory(&b);
	if (reason == NULL && b.values == NULL)
	{
		inflated = palloc(prom_block_inflate_space(&b));
		reason = prom_block_inflate(&b, decompressor(), inflated);
	}
	if (reason == NULL)
	{
		arrays = palloc(3 * b.nsamples * sizeof(uint64));
		reason = prom_block_verify(&b, (int64 *) arrays, arrays + b.nsamples, arrays + 2 * b.nsamples);
		pfree(arrays);
	}
	if (reason == NULL && b.flags & PROM_BLOCK_HISTOGRAMS)
		reason = verify_histograms(&b);
	if (inflated)
		pfree(inflated);
	pfree(space);
	return reason;
}

/*
 * build.c
 *	  Builds chunks: begin, add series by series, finish.
 *
 * Columns are encoded as they come, so the builder knows how large the chunk would be if it ended
 * now, and a caller can cut at a size.  A time column that was seen before is not stored again: the
 * one of the series before is compared first, then a hash table is asked.  Plain chunks only gather
 * arrays.  All memory belongs to a context of the builder, a child of the one current at begin.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "port/pg_crc32c.h"
#include "utils/memutils.h"

#include "chunk/chunk.h"
#include "chunk/codec.h"

StaticAssertDecl(PROM_CHUNK_MAX_SERIES == PROM_BLOCK_MAX_SERIES, "one limit of series");
StaticAssertDecl(PROM_CHUNK_MAX_SAMPLES == PROM_BLOCK_MAX_SAMPLES, "one limit of samples");

/* An array that grows. */
typedef struct Growing
{
	void	   *data;
	size_t		used;			/* bytes */
	size_t		size;
} Growing;

/* What prom_chunk_bytes() adds up besides the columns. */
typedef struct Bounds
{
	PromIntBound sid;
	PromIntBound time_of;
	PromIntBound value_len;
	PromIntBound time_n;
	PromIntBound time_first;
	PromIntBound time_len;
} Bounds;

/* A block as it was before the last series, to take that back. */
typedef struct Before
{
	int64		t_min;
	int64		t_max;
	size_t		values_used;
	bool		has_histograms;
	int			time_slot;		/* where the series' time column was entered; -1: it was there */
	Bounds		bound;
} Before;

/* At least twice PROM_CHUNK_MAX_SERIES, a power of two. */
#define TIME_SLOTS	2048

struct PromChunkBuilder
{
	PromChunkStyle style;
	int16		shard;
	MemoryContext cxt;
	int64		nseries;
	int64		nsamples;		/* plain: of all series */
	int64		t_min;
	int64		t_max;
	Growing		sids;			/* int32 of each series */
	Growing		offsets;		/* plain: uint32 of each series, where it begins */
	Growing		times;			/* plain: int64s; else encoded columns */
	Growing		values;			/* plain: float64s; else encoded columns */
	Growing		places;			/* plain: int64 of each sample, where its histogram is; empty if there is none */
	Growing		words;			/* plain: histograms */
	bool		has_histograms; /* blocks */
	/* blocks only: the directory */
	int			ntimes;
	Growing		raw_times;		/* int64s of all time columns, to compare with */
	uint16		time_slots[TIME_SLOTS]; /* hash table: 1 + number of a time column, 0 is free */
	uint16		time_of[PROM_CHUNK_MAX_SERIES];
	uint32		value_len[PROM_CHUNK_MAX_SERIES];
	uint16		time_n[PROM_CHUNK_MAX_SERIES];
	uint32		time_len[PROM_CHUNK_MAX_SERIES];
	uint32		time_hash[PROM_CHUNK_MAX_SERIES];
	int64		time_first[PROM_CHUNK_MAX_SERIES];
	size_t		time_raw_at[PROM_CHUNK_MAX_SERIES]; /* in numbers */
	Bounds		bound;
	Before		before;
	PromValueWork *work;
	PromMixedWork *mixed_work;	/* made when first needed */
};

static const uint64 normal_nan = PROM_NORMAL_NAN_BITS;

/* One for the process: making a context costs more than compressing a chunk. */
static ZSTD_CCtx *zstd_cctx = NULL;

/* Room for more bytes at the end; they are not used yet. */
static void *
growing_room(PromChunkBuilder *b, Growing *g, size_t more)
{
	if (g->used + more > g->size)
	{
		size_t		size = Max(g->size * 2, Max(g->used + more, (size_t) 1024));

		if (g->data == NULL)
			g->data = MemoryContextAllocHuge(b->cxt, size);
		else
			g->data = repalloc_huge(g->data, size);
		g->size = size;
	}
	return (char *) g->data + g->used;
}

static void
growing_append(PromChunkBuilder *b, Growing *g, const void *data, size_t len)
{
	memcpy(growing_room(b, g, len), data, len);
	g->used += len;
}

static void
builder_reset(PromChunkBuilder *b)
{
	b->nseries = 0;
	b->nsamples = 0;
	b->t_min = PG_INT64_MAX;
	b->t_max = PG_INT64_MIN;
	b->sids.used = b->offsets.used = b->times.used = b->values.used = b->raw_times.used = 0;
	b->places.used = b->words.used = 0;
	b->has_histograms = false;
	if (b->ntimes > 0)
		memset(b->time_slots, 0, sizeof(b->time_slots));
	b->ntimes = 0;
	memset(&b->bound, 0, sizeof(Bounds));
}

PromChunkBuilder *
prom_chunk_begin(PromChunkStyle style, int16 shard)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "prom chunk builder",
											  ALLOCSET_DEFAULT_SIZES);
	PromChunkBuilder *b = MemoryContextAllocZero(cxt, sizeof(PromChunkBuilder));

	b->cxt = cxt;
	b->style = style;
	b->shard = shard;
	if (style != PROM_CHUNK_PLAIN)
		b->work = MemoryContextAlloc(cxt, sizeof(PromValueWork));
	builder_reset(b);
	return b;
}

/* Number of the time column with exactly these times; made if there is none. */
static int
find_time_column(PromChunkBuilder *b, int n, const int64 *t_ms)
{
	size_t		bytes = n * sizeof(int64);
	int			k;
	uint32		hash;
	int			slot;
	uint8	   *out;

	if (b->nseries > 0)
	{
		const int64 *raw = b->raw_times.data;

		k = b->time_of[b->nseries - 1];
		if (b->time_n[k] == n && b->time_first[k] == t_ms[0] &&
			memcmp(raw + b->time_raw_at[k], t_ms, bytes) == 0)
			return k;
	}

	hash = n == 1 ? murmurhash32((uint32) t_ms[0] ^ (uint32) ((uint64) t_ms[0] >> 32)) :
		hash_bytes((const unsigned char *) t_ms, (int) bytes);
	for (slot = hash & (TIME_SLOTS - 1); b->time_slots[slot] != 0; slot = (slot + 1) & (TIME_SLOTS - 1))
	{
		const int64 *raw = b->raw_times.data;

		k = b->time_slots[slot] - 1;
		if (b->time_hash[k] == hash && b->time_n[k] == n &&
			memcmp(raw + b->time_raw_at[k], t_ms, bytes) == 0)
			return k;
	}

	k = b->ntimes++;
	b->time_slots[slot] = (uint16) (k + 1);
	b->before.time_slot = slot;
	b->time_hash[k] = hash;
	b->time_n[k] = (uint16) n;
	b->time_first[k] = t_ms[0];
	b->time_raw_at[k] = b->raw_times.used / sizeof(int64);
	growing_append(b, &b->raw_times, t_ms, bytes);
	out = growing_room(b, &b->times, PROM_INT_BOUND(n));
	b->time_len[k] = (uint32) (prom_time_encode(out, t_ms, n, b->work->a) - out);
	b->times.used += b->time_len[k];
	prom_int_bound_add(&b->bound.time_n, n);
	prom_int_bound_add(&b->bound.time_first, (uint64) t_ms[0]);
	prom_int_bound_add(&b->bound.time_len, b->time_len[k]);
	return k;
}

static pg_noinline uint8 *
add_histograms(PromChunkBuilder *b, int n, const double *values, const PromHistogram *const *histograms,
			   uint8 **end)
{
	size_t		bytes;
	size_t		bound = prom_mixed_bound(histograms, n, &bytes);
	uint8	   *out;

	if (b->mixed_work == NULL)
		b->mixed_work = MemoryContextAlloc(b->cxt, sizeof(PromMixedWork));
	if (bytes > PROM_MIXED_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too much for one chunk"),
				 errdetail("The histograms of one series take at most %d bytes.", PROM_MIXED_MAX_BYTES)));
	out = growing_room(b, &b->values, bound + 1);
	*out = b->style == PROM_CHUNK_FRESH ? PROM_MIXED_FRESH : PROM_MIXED_KIND;
	*end = prom_mixed_encode(out + 1, (const uint64 *) values, histograms, n, b->mixed_work);
	Assert(*end - out <= bound + 1);
	if (b->values.used + (*end - out) > PROM_BLOCK_MAX_VALUES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too much for one chunk"),
				 errdetail("Columns of a chunk with histograms take at most %d bytes.", PROM_BLOCK_MAX_VALUES)));
	b->has_histograms = true;
	return out;
}

static void
add_to_block(PromChunkBuilder *b, int32 sid, int n, const int64 *t_ms, const double *values,
			 const PromHistogram *const *histograms)
{
	int			i = (int) b->nseries;
	uint8	   *out;
	uint8	   *end;

	if (i >= PROM_CHUNK_MAX_SERIES || n > PROM_CHUNK_MAX_SAMPLES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too much for one chunk"),
				 errdetail("A chunk holds at most %d series of at most %d samples.",
						   PROM_CHUNK_MAX_SERIES, PROM_CHUNK_MAX_SAMPLES)));

	b->before = (Before) {b->t_min, b->t_max, b->values.used, b->has_histograms, -1, b->bound};
	b->time_of[i] = (uint16) find_time_column(b, n, t_ms);
	out = growing_room(b, &b->values, PROM_VALUE_BOUND(n));
	if (histograms)
		out = add_histograms(b, n, values, histograms, &end);
	else if (b->style == PROM_CHUNK_FRESH)
		end = prom_value_encode_fresh(out, (const uint64 *) values, n);
	else
		end = prom_value_encode(out, (const uint64 *) values, n, b->work);
	b->value_len[i] = (uint32) (end - out);
	b->values.used += b->value_len[i];
	prom_int_bound_add(&b->bound.sid, (uint64) (int64) sid);
	prom_int_bound_add(&b->bound.time_of, b->time_of[i]);
	prom_int_bound_add(&b->bound.value_len, b->value_len[i]);
}

static pg_noinline void
plain_too_large(uint64 bytes)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("samples do not fit into one value"),
			 errdetail("They would need " UINT64_FORMAT " bytes; the limit is %zu.",
					   bytes, (size_t) MaxAllocSize),
			 errhint("Narrow the time range or the label matchers.")));
}

static inline int64
plain_words(const PromChunkBuilder *b)
{
	return b->words.used / sizeof(int64);
}

/* Places of n samples, and their histograms; of no histogram if the array is NULL. */
static pg_noinline void
add_plain_places(PromChunkBuilder *b, int n, const PromHistogram *const *histograms)
{
	const int64 none = -1;

	/* the first histogram: none before it has one */
	while (b->places.used < b->nsamples * sizeof(int64))
		growing_append(b, &b->places, &none, sizeof(none));
	for (int i = 0; i < n; i++)
	{
		int64		place = plain_words(b);

		if (histograms == NULL || histograms[i] == NULL)
		{
			growing_append(b, &b->places, &none, sizeof(none));
			continue;
		}
		growing_append(b, &b->places, &place, sizeof(place));
		growing_append(b, &b->words, histograms[i], histograms[i]->size);
		memcpy((char *) b->values.data + (b->nsamples + i) * sizeof(double), &normal_nan, sizeof(double));
	}
}

static void
add_plain(PromChunkBuilder *b, int n, const int64 *t_ms, const double *values,
		  const PromHistogram *const *histograms)
{
	uint64		bytes = PROM_PLAIN_BYTES(b->nseries + 1, b->nsamples + n, plain_words(b));
	uint32		at = (uint32) b->nsamples;

	for (int i = 0; histograms && i < n; i++)
		bytes += histograms[i] ? histograms[i]->size : 0;
	if (bytes > MaxAllocSize)
		plain_too_large(bytes);
	growing_append(b, &b->offsets, &at, sizeof(at));
	growing_append(b, &b->times, t_ms, n * sizeof(int64));
	growing_append(b, &b->values, values, n * sizeof(double));
	if (histograms || b->words.used > 0)
		add_plain_places(b, n, histograms);
	b->nsamples += n;
}

/*
 * Histograms that only say that the series ended are told by a float, as everywhere; *histograms becomes
 * NULL if there is no other.
 */
static void
replace_stale(int n, const double **values, const PromHistogram *const **histograms)
{
	double	   *v;
	const PromHistogram **h;
	int			i = 0;
	int			left = 0;

	while (i < n && !((*histograms)[i] && prom_is_stale((*histograms)[i]->sum)))
		left += (*histograms)[i++] != NULL;
	if (i < n)
	{
		v = palloc(n * sizeof(double));
		h = palloc(n * sizeof(*h));
		memcpy(v, *values, n * sizeof(double));
		memcpy(h, *histograms, n * sizeof(*h));
		for (; i < n; i++)
		{
			if (h[i] && prom_is_stale(h[i]->sum))
			{
				v[i] = prom_bits_double(PROM_STALE_BITS);
				h[i] = NULL;
			}
			left += h[i] != NULL;
		}
		*values = v;
		*histograms = h;
	}
	if (left == 0)
		*histograms = NULL;
}

void
prom_chunk_add_mixed(PromChunkBuilder *b, int32 sid, int n, const int64 *t_ms, const double *values,
					 const PromHistogram *const *histograms)
{
	Assert(n >= 1);
	Assert(b->nseries == 0 || ((int32 *) b->sids.data)[b->nseries - 1] < sid);

	if (histograms)
		replace_stale(n, &values, &histograms);
	if (b->style == PROM_CHUNK_PLAIN)
		add_plain(b, n, t_ms, values, histograms);
	else
		add_to_block(b, sid, n, t_ms, values, histograms);
	growing_append(b, &b->sids, &sid, sizeof(sid));
	b->nseries++;
	b->t_min = Min(b->t_min, t_ms[0]);
	b->t_max = Max(b->t_max, t_ms[n - 1]);
}

void
prom_chunk_take_back(PromChunkBuilder *b)
{
	const Before *before = &b->before;

	Assert(b->style != PROM_CHUNK_PLAIN && b->nseries >= 1);
	b->nseries--;
	b->sids.used -= sizeof(int32);
	b->t_min = before->t_min;
	b->t_max = before->t_max;
	b->values.used = before->values_used;
	b->has_histograms = before->has_histograms;
	b->bound = before->bound;
	if (before->time_slot >= 0)
	{
		/* the last one that was entered: nothing was put past it */
		b->time_slots[before->time_slot] = 0;
		b->ntimes--;
		b->times.used -= b->time_len[b->ntimes];
		b->raw_times.used = b->time_raw_at[b->ntimes] * sizeof(int64);
	}
}

int
prom_chunk_series(const PromChunkBuilder *b)
{
	return (int) b->nseries;
}

size_t
prom_chunk_bytes(const PromChunkBuilder *b)
{
	/* head of a block: two bytes, seven varints, and the length of the ids */
	const size_t head = 2 + 3 + 2 + 2 + 2 + 10 + 10 + 3;

	if (b->style == PROM_CHUNK_PLAIN)
		return PROM_PLAIN_BYTES(b->nseries, b->nsamples, plain_words(b));
	return VARHDRSZ + head + b->times.used + b->values.used + PROM_BLOCK_CRC_BYTES +
		prom_int_bound_bytes(&b->bound.sid) + prom_int_bound_bytes(&b->bound.time_of) +
		prom_int_bound_bytes(&b->bound.value_len) + prom_int_bound_bytes(&b->bound.time_n) +
		prom_int_bound_bytes(&b->bound.time_first) + prom_int_bound_bytes(&b->bound.time_len);
}

static char *
put_array(char *p, const Growing *g)
{
	if (g->used > 0)
		memcpy(p, g->data, g->used);
	return p + g->used;
}

static PromChunk *
finish_plain(PromChunkBuilder *b)
{
	uint64		bytes = PROM_PLAIN_BYTES(b->nseries, b->nsamples, plain_words(b));
	PromPlainChunk *c = palloc(bytes);
	char	   *p = (char *) c->data;
	uint32		end = (uint32) b->nsamples;

	SET_VARSIZE(c, bytes);
	c->format = PROM_PLAIN_FORMAT;
	c->unused = 0;
	c->shard = b->shard;
	c->nsamples = b->nsamples;
	c->nseries = b->nseries;
	/* no series: a range that nothing is in */
	c->t_min = b->t_min;
	c->t_max = b->t_max;
	c->nwords = plain_words(b);
	growing_append(b, &b->offsets, &end, sizeof(end));
	p = put_array(p, &b->times);
	p = put_array(p, &b->values);
	p = put_array(p, &b->places);
	p = put_array(p, &b->words);
	p = put_array(p, &b->offsets);
	(void) put_array(p, &b->sids);
	return (PromChunk *) c;
}

/* Put the values through zstd if that makes them shorter; into the free end of their own array. */
static void
deflate_values(PromChunkBuilder *b, PromBlockParts *p)
{
	size_t		len = b->values.used;
	uint8	   *out = growing_room(b, &b->values, len);
	size_t		n;

	if (zstd_cctx == NULL)
		zstd_cctx = ZSTD_createCCtx();
	if (zstd_cctx == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Could not create a compression context.")));
	p->values = b->values.data;
	n = prom_block_deflate(zstd_cctx, out, p->values, len);
	if (n > 0)
	{
		p->flags |= PROM_BLOCK_ZSTD;
		p->values = out;
		p->values_len = n;
	}
}

static PromChunk *
finish_block(PromChunkBuilder *b)
{
	PromBlockParts p = {0};
	PromChunk  *chunk;
	uint8	   *out;
	size_t		len;

	p.shard = b->shard;
	p.nseries = (int) b->nseries;
	p.ntimes = b->ntimes;
	p.sids = b->sids.data;
	p.time_of = b->time_of;
	p.value_len = b->value_len;
	p.time_n = b->time_n;
	p.time_first = b->time_first;
	p.time_len = b->time_len;
	p.t_min = b->t_min;
	p.t_max = b->t_max;
	p.times = b->times.data;
	p.times_len = b->times.used;
	p.values = b->values.data;
	p.values_len = b->values.used;
	if (b->style == PROM_CHUNK_FRESH)
		p.flags = PROM_BLOCK_FRESH;
	else if (b->style == PROM_CHUNK_COLD)
	{
		p.flags = PROM_BLOCK_CRC;
		deflate_values(b, &p);
	}

	if (b->has_histograms)
		p.flags |= PROM_BLOCK_HISTOGRAMS;

	chunk = palloc(VARHDRSZ + prom_block_bound(&p));
	out = (uint8 *) VARDATA(chunk);
	len = prom_block_write(out, &p);
	if (p.flags & PROM_BLOCK_CRC)
	{
		pg_crc32c	crc;

		INIT_CRC32C(crc);
		COMP_CRC32C(crc, out, len);
		FIN_CRC32C(crc);
		for (int i = 0; i < PROM_BLOCK_CRC_BYTES; i++)
			out[len++] = (uint8) (crc >> (8 * i));
	}
	SET_VARSIZE(chunk, VARHDRSZ + len);
	return chunk;
}

PromChunk *
prom_chunk_finish(PromChunkBuilder *b)
{
	PromChunk  *chunk;
	size_t		limit PG_USED_FOR_ASSERTS_ONLY = prom_chunk_bytes(b);

	Assert(b->nseries > 0 || b->style == PROM_CHUNK_PLAIN);
	chunk = b->style == PROM_CHUNK_PLAIN ? finish_plain(b) : finish_block(b);
	Assert(VARSIZE(chunk) <= limit);
	builder_reset(b);
	return chunk;
}

/*
 * block_read.c
 *	  A block of Prometheus, read series by series.
 *
 * Of the index are kept: the place of every 32nd symbol, some pages, and the symbols used last.  Of chunks one
 * segment is open at a time: series lie in the order of their chunks.  All tombstones are in memory.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "block/block.h"

#define INDEX_BYTES			(64 * 1024 * 1024)	/* of pages that are kept */
#define INDEX_AHEAD_BYTES	(2 * 1024 * 1024)	/* of it, read before they are needed */
#define SEGMENT_BYTES		(16 * 1024 * 1024)
#define CHUNK_BYTES			4096	/* few chunks are longer, and none tells before it is read */
#define SYMBOLS_STEP		32	/* each so many-th has its place noted */
#define SYMBOLS_KEPT		8192	/* a power of 2 */
#define SYMBOLS_KEPT_BYTES	(8 * 1024 * 1024)
#define TOMBSTONES_BYTES	(256 * 1024 * 1024)

typedef struct Symbol
{
	uint32		number;
	int			len;
	const char *text;			/* NULL: none */
} Symbol;

struct PromBlock
{
	MemoryContext cxt;
	PromPlace  *place;
	PromBlockFile *index;
	PromTsdbToc toc;
	uint32		nsymbols;
	int64	   *symbol_places;
	Symbol	   *kept;
	MemoryContext kept_cxt;
	MemoryContext series_cxt;	/* reset for each */
	MemoryContext chunk_cxt;	/* aggregates of a chunk */
	PromTsdbTombstone *tombstones;	/* by series */
	int64		ntombstones;
	PromBlockFile *segment;
	uint32		segment_number;
	int64		segments_read;	/* bytes of those before */
	int64	   *t_ms;			/* of the chunk that is read */
	double	   *values;
};

static void read_symbols(PromBlock *b);
static void read_tombstones(PromBlock *b);

PromBlock *
prom_block_open(MemoryContext parent, PromPlace *place)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "promgres block", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	PromBlock  *b = palloc0(sizeof(PromBlock));
	PromWireError err;
	int64		size;

	b->cxt = cxt;
	b->place = place;
	b->index = prom_block_file_open(place, "index", INDEX_BYTES / (int) place->page_bytes);
	if (b->index == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("block has no index"),
				 errdetail("There is no file \"%s/index\".", place->name)));
	size = prom_block_file_size(b->index);
	if (!prom_tsdb_index_head(prom_block_file_bytes(b->index, 0, PROM_TSDB_INDEX_HEAD), &err))
		prom_block_file_fail(b->index, "head of the index", &err, 0);
	if (!prom_tsdb_toc(prom_block_file_bytes(b->index, size - PROM_TSDB_TOC_BYTES, PROM_TSDB_TOC_BYTES), size, &b->toc, &err))
		prom_block_file_fail(b->index, "table of contents", &err, 0);
	b->series_cxt = AllocSetContextCreate(cxt, "promgres block series", ALLOCSET_DEFAULT_SIZES);
	b->chunk_cxt = AllocSetContextCreate(cxt, "promgres block chunk", ALLOCSET_DEFAULT_SIZES);
	b->kept_cxt = AllocSetContextCreate(cxt, "promgres block symbols", ALLOCSET_DEFAULT_SIZES);
	b->kept = palloc0(sizeof(Symbol) * SYMBOLS_KEPT);
	b->t_ms = palloc(sizeof(int64) * PROM_XOR_MAX_SAMPLES);
	b->values = palloc(sizeof(double) * PROM_XOR_MAX_SAMPLES);
	read_symbols(b);
	read_tombstones(b);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(cxt, parent);	/* not before: an error would have left it there */
	return b;
}

void
prom_block_close(PromBlock *b)
{
	MemoryContextDelete(b->cxt);
}

int64
prom_block_bytes_read(const PromBlock *b)
{
	return prom_block_file_bytes_read(b->index) + b->segments_read + (b->segment ? prom_block_file_bytes_read(b->segment) : 0);
}

/* ---- symbols ---- */

/* One string of the table: where it begins, and its length. */
static int64
symbol_at(PromBlock *b, int64 place, size_t *len)
{
	size_t		have = Min(10, prom_block_file_size(b->index) - place);
	PromBytes	bytes = prom_bytes(prom_block_file_bytes(b->index, place, have), have);
	const uint8 *start = bytes.at;
	uint64		n = prom_bytes_varint(&bytes);

	if (bytes.bad || n > PROM_TSDB_MAX_FRAME)
	{
		PromWireError err = {"length is cut off or too large", 0};

		prom_block_file_fail(b->index, "table of symbols", &err, place);
	}
	*len = (size_t) n;
	return place + (bytes.at - start);
}

/* Walk through the table, noting places, and check its sum. */
static void
read_symbols(PromBlock *b)
{
	int64		start = b->toc.symbols;
	uint32		section = prom_get_u32be(prom_block_file_bytes(b->index, start, 4));
	int64		end = start + 4 + section;
	uint32		crc = 0;
	int64		place = start + 8;
	PromWireError err = {"it is cut off", 0};
	size_t		len;

	if (section < 4 || end > prom_block_file_size(b->index) - 4)
		prom_block_file_fail(b->index, "table of symbols", &err, start);
	b->nsymbols = prom_get_u32be(prom_block_file_bytes(b->index, start + 4, 4));
	if (b->nsymbols > section - 4)
		prom_block_file_fail(b->index, "table of symbols", &err, start + 4);
	b->symbol_places = palloc_extended(sizeof(int64) * (b->nsymbols / SYMBOLS_STEP + 1), MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < b->nsymbols; i++)
	{
		if (i % SYMBOLS_STEP == 0)
		{
			CHECK_FOR_INTERRUPTS();
			b->symbol_places[i / SYMBOLS_STEP] = place;
			(void) prom_block_file_ahead(b->index, place, Min(INDEX_AHEAD_BYTES, end - place));
		}
		place = symbol_at(b, place, &len);
		place += len;
		if (place > end)
			prom_block_file_fail(b->index, "table of symbols", &err, end);
	}
	for (int64 at = start + 4; at < end;)
	{
		size_t		n = Min(end - at, 65536);

		crc = prom_crc32c(crc, prom_block_file_bytes(b->index, at, n), n);
		at += n;
	}
	if (crc != prom_get_u32be(prom_block_file_bytes(b->index, end, 4)))
	{
		err.reason = "checksum is wrong";
		prom_block_file_fail(b->index, "table of symbols", &err, end);
	}
}

/* Good until the next series. */
static const Symbol *
get_symbol(PromBlock *b, uint32 number, int64 series)
{
	Symbol	   *kept = &b->kept[number & (SYMBOLS_KEPT - 1)];
	int64		place;
	size_t		len;

	if (kept->text != NULL && kept->number == number)
		return kept;
	if (number >= b->nsymbols)
	{
		PromWireError err = {"it refers to a symbol that is not there", 0};

		prom_block_file_fail(b->index, "entry of a series", &err, series);
	}
	place = symbol_at(b, b->symbol_places[number / SYMBOLS_STEP], &len);
	for (uint32 i = number % SYMBOLS_STEP; i > 0; i--)
		place = symbol_at(b, place + len, &len);
	kept->text = NULL;
	kept->text = memcpy(MemoryContextAlloc(b->kept_cxt, Max(len, 1)), prom_block_file_bytes(b->index, place, len), len);
	kept->number = number;
	kept->len = (int) len;
	return kept;
}

/* ---- tombstones ---- */

static int
compare_tombstones(const void *a, const void *b)
{
	const PromTsdbTombstone *x = a;
	const PromTsdbTombstone *y = b;

	return (x->series > y->series) - (x->series < y->series);
}

static void
read_tombstones(PromBlock *b)
{
	size_t		len;
	char	   *bytes = prom_place_file(b->place, "tombstones", TOMBSTONES_BYTES, &len);
	PromBytes	walk;
	PromWireError err;
	int64		size = 0;
	PromTsdbTombstone t;

	if (bytes == NULL)
		return;
	if (!prom_tsdb_tombstones_begin(&walk, bytes, len, &err))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("block is damaged: %s", err.reason),
				 errdetail("File \"%s/tombstones\", byte %zu.", b->place->name, err.offset)));
	while (prom_tsdb_tombstone(&walk, &t))
	{
		if (b->ntombstones == size)
		{
			size = Max(size * 2, 64);
			b->tombstones = b->tombstones ? repalloc_huge(b->tombstones, size * sizeof(t)) : palloc(size * sizeof(t));
		}
		b->tombstones[b->ntombstones++] = t;
	}
	if (walk.bad)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("block is damaged: tombstone is cut off"),
				 errdetail("File \"%s/tombstones\", byte %zu.", b->place->name, (size_t) ((char *) walk.at - bytes))));
	pfree(bytes);
	if (b->ntombstones > 0)
		qsort(b->tombstones, b->ntombstones, sizeof(PromTsdbTombstone), compare_tombstones);
}

/* The first one of a series; its others follow. */
static const PromTsdbTombstone *
find_tombstones(const PromBlock *b, uint64 series)
{
	int64		low = 0;
	int64		high = b->ntombstones;

	while (low < high)
	{
		int64		middle = (low + high) / 2;

		if (b->tombstones[middle].series < series)
			low = middle + 1;
		else
			high = middle;
	}
	return b->tombstones + low;
}

/* ---- series ---- */

int64
prom_block_first(const PromBlock *b)
{
	return b->toc.series;
}

int64
prom_block_end(const PromBlock *b)
{
	return b->toc.series_end;
}

bool
prom_block_series(PromBlock *b, int64 place, PromBlockSeries *s)
{
	MemoryContext old;
	PromTsdbSeries entry;
	PromTsdbChunk chunk;
	PromWireError err;
	const uint8 *body;
	uint8	   *copy;
	size_t		len;
	uint32		name;
	uint32		value;
	int			size;

	/* labels of the series before are not needed any more */
	if (MemoryContextMemAllocated(b->kept_cxt, false) > SYMBOLS_KEPT_BYTES)
	{
		memset(b->kept, 0, sizeof(Symbol) * SYMBOLS_KEPT);
		MemoryContextReset(b->kept_cxt);
	}
	MemoryContextReset(b->series_cxt);
	/* the section begins with padding, too, and may end with zeros */
	s->place = (place + PROM_TSDB_ALIGNMENT - 1) / PROM_TSDB_ALIGNMENT * PROM_TSDB_ALIGNMENT;
	if (s->place >= (int64) b->toc.series_end)
		return false;
	(void) prom_block_file_ahead(b->index, s->place, Min(INDEX_AHEAD_BYTES, (int64) b->toc.series_end - s->place));
	body = prom_block_file_frame(b->index, s->place, 0, "entry of a series", &len, &s->next);
	old = MemoryContextSwitchTo(b->series_cxt);
	copy = memcpy(palloc(Max(len, 1)), body, len);	/* symbols are on other pages */
	if (!prom_tsdb_series_begin(&entry, copy, len, &err))
		prom_block_file_fail(b->index, "entry of a series", &err, s->place);
	s->nlabels = 0;
	size = 32;
	s->labels = palloc(sizeof(PromLabel) * size);
	while (prom_tsdb_series_label(&entry, &name, &value))
	{
		PromLabel  *l;
		const Symbol *symbol;

		if (s->nlabels == size)
			s->labels = repalloc_huge(s->labels, sizeof(PromLabel) * (size *= 2));
		l = &s->labels[s->nlabels++];
		symbol = get_symbol(b, name, s->place);
		l->name = symbol->text;
		l->name_len = symbol->len;
		symbol = get_symbol(b, value, s->place);
		l->value = symbol->text;
		l->value_len = symbol->len;
	}
	s->nchunks = 0;
	size = 32;
	s->chunks = palloc(sizeof(PromTsdbChunk) * size);
	while (prom_tsdb_series_chunk(&entry, &chunk))
	{
		if (s->nchunks == size)
			s->chunks = repalloc_huge(s->chunks, sizeof(PromTsdbChunk) * (size *= 2));
		s->chunks[s->nchunks++] = chunk;
	}
	MemoryContextSwitchTo(old);
	return true;
}

/* ---- chunks ---- */

static void
open_segment(PromBlock *b, uint32 number)
{
	MemoryContext old;
	PromWireError err;
	char	   *path;

	if (b->segment != NULL && b->segment_number == number)
		return;
	if (b->segment != NULL)
	{
		b->segments_read += prom_block_file_bytes_read(b->segment);
		prom_block_file_close(b->segment);
		b->segment = NULL;
	}
	old = MemoryContextSwitchTo(b->cxt);
	path = psprintf("chunks/%06u", number + 1);
	b->segment = prom_block_file_open(b->place, path, SEGMENT_BYTES / (int) b->place->page_bytes);
	MemoryContextSwitchTo(old);
	if (b->segment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("block lacks a segment of chunks"),
				 errdetail("There is no file \"%s/%s\".", b->place->name, path)));
	b->segment_number = number;
	if (!prom_tsdb_segment_head(prom_block_file_bytes(b->segment, 0, PROM_TSDB_SEGMENT_HEAD), &err))
	{
		b->segment_number = PG_UINT32_MAX;
		prom_block_file_fail(b->segment, "head of the segment", &err, 0);
	}
}

bool
prom_block_ahead(PromBlock *b, const PromTsdbChunk *chunk)
{
	return b->segment != NULL && b->segment_number == chunk->segment &&
		prom_block_file_ahead(b->segment, chunk->offset, CHUNK_BYTES);
}

void
prom_block_settle(PromBlock *b)
{
	prom_block_file_settle(b->index);
	if (b->segment)
		prom_block_file_settle(b->segment);
}

/* Is the sample at this time wanted? */
static bool
is_wanted(const PromBlock *b, int64 t_ms, int64 from_ms, int64 to_ms, const PromTsdbTombstone *deleted, uint64 series)
{
	if (t_ms < from_ms || t_ms > to_ms)
		return false;
	for (; deleted < b->tombstones + b->ntombstones && deleted->series == series; deleted++)
		if (t_ms >= deleted->t_min && t_ms <= deleted->t_max)
			return false;
	return true;
}

static void
add_sample(PromSamples *out, int64 t_ms, double value, const PromHistogram *h)
{
	if (out->n == out->size)
	{
		out->size = Max(out->size * 2, 65536);
		out->t_ms = out->t_ms ? repalloc_huge(out->t_ms, sizeof(int64) * out->size)
			: MemoryContextAllocHuge(out->cxt, sizeof(int64) * out->size);
		out->values = out->values ? repalloc_huge(out->values, sizeof(double) * out->size)
			: MemoryContextAllocHuge(out->cxt, sizeof(double) * out->size);
		if (out->histograms)
			out->histograms = repalloc_huge(out->histograms, sizeof(*out->histograms) * out->size);
	}
	if (h != NULL && out->histograms == NULL)
	{
		out->histograms = MemoryContextAllocHuge(out->cxt, sizeof(*out->histograms) * out->size);
		memset(out->histograms, 0, sizeof(*out->histograms) * out->n);
	}
	out->t_ms[out->n] = t_ms;
	out->values[out->n] = value;
	if (out->histograms)
		out->histograms[out->n] = h;
	out->n++;
}

static void
read_histograms(PromBlock *b, const PromTsdbChunk *chunk, const uint8 *data, size_t len, bool is_float, int64 from_ms,
				int64 to_ms, const PromTsdbTombstone *deleted, uint64 series, PromSamples *out)
{
	PromHistogramChunk walk;
	PromWireError err;
	int64		base = chunk->offset;

	if (!prom_histogram_chunk_begin(&walk, data, len, is_float, palloc, &err))
		prom_block_file_fail(b->segment, "chunk", &err, base);
	for (int i = 0; i < walk.n; i++)
	{
		PromHistogram *h = MemoryContextAlloc(out->cxt, prom_histogram_chunk_size(&walk));
		bool		stale;
		int64		t_ms;

		CHECK_FOR_INTERRUPTS();
		if (!prom_histogram_chunk_next(&walk, &t_ms, h, &stale, &err))
			prom_block_file_fail(b->segment, "chunk", &err, base);
		if (!is_wanted(b, t_ms, from_ms, to_ms, deleted, series))
			pfree(h);
		else if (stale)
		{
			add_sample(out, t_ms, prom_bits_double(PROM_STALE_BITS), NULL);
			pfree(h);
		}
		else
		{
			add_sample(out, t_ms, 0, h);
			out->histogram_bytes += h->size;
		}
	}
}

void
prom_block_chunk(PromBlock *b, int64 place, const PromTsdbChunk *chunk, int64 from_ms, int64 to_ms, PromSamples *out)
{
	uint64		series = place / PROM_TSDB_ALIGNMENT;
	const PromTsdbTombstone *deleted = find_tombstones(b, series);
	PromWireError err = {"encoding is not known", 0};
	const uint8 *body;
	size_t		len;
	int64		next;
	int			n;

	open_segment(b, chunk->segment);
	body = prom_block_file_frame(b->segment, chunk->offset, 1, "chunk", &len, &next);
	switch (body[0])
	{
		case PROM_CHUNK_XOR:
			if (!prom_xor_decode(body + 1, len - 1, b->t_ms, b->values, &n, &err))
				prom_block_file_fail(b->segment, "chunk", &err, chunk->offset);
			for (int i = 0; i < n; i++)
				if (is_wanted(b, b->t_ms[i], from_ms, to_ms, deleted, series))
					add_sample(out, b->t_ms[i], b->values[i], NULL);
			break;
		case PROM_CHUNK_HISTOGRAM:
		case PROM_CHUNK_FLOAT_HISTOGRAM:
			read_histograms(b, chunk, body + 1, len - 1, body[0] == PROM_CHUNK_FLOAT_HISTOGRAM, from_ms, to_ms, deleted,
							series, out);
			break;
		default:
			prom_block_file_fail(b->segment, "chunk", &err, chunk->offset);
	}
}

/* A column of a downsampled chunk. */
static PromBlockColumn
read_column(PromBlock *b, const PromTsdbAggregate *aggregate, int64 base)
{
	PromBlockColumn c = {0};
	PromWireError err = {"encoding is not known", 0};

	if (aggregate->data == NULL)
		return c;
	if (aggregate->encoding != PROM_CHUNK_XOR)
		prom_block_file_fail(b->segment, "chunk", &err, base);
	if (!prom_xor_decode(aggregate->data, aggregate->len, b->t_ms, b->values, &c.n, &err))
		prom_block_file_fail(b->segment, "chunk", &err, base);
	err.reason = "times of an aggregate do not ascend, or are before 1970";
	for (int i = 0; i < c.n; i++)
		if (b->t_ms[i] < 0 || (i > 0 && b->t_ms[i] < b->t_ms[i - 1]))
			prom_block_file_fail(b->segment, "chunk", &err, base);
	c.t_ms = memcpy(palloc(sizeof(int64) * (c.n + 1)), b->t_ms, sizeof(int64) * c.n);
	c.values = memcpy(palloc(sizeof(double) * (c.n + 1)), b->values, sizeof(double) * c.n);
	return c;
}

void
prom_block_aggregates(PromBlock *b, int64 place, const PromTsdbChunk *chunk, int64 from_ms, int64 to_ms,
					  PromBlockAggregates *out)
{
	PromTsdbAggregate found[PROM_TSDB_AGGREGATES];
	PromWireError err = {"it is not a downsampled one", 0};
	MemoryContext old = CurrentMemoryContext;
	const uint8 *body;
	size_t		len;
	int64		next;

	open_segment(b, chunk->segment);
	body = prom_block_file_frame(b->segment, chunk->offset, 1, "chunk", &len, &next);
	if (body[0] != PROM_CHUNK_AGGREGATE || !prom_tsdb_aggregates(body + 1, len - 1, found, &err))
		prom_block_file_fail(b->segment, "chunk", &err, chunk->offset);
	MemoryContextReset(b->chunk_cxt);
	MemoryContextSwitchTo(b->chunk_cxt);
	memset(out, 0, sizeof(*out));
	out->block = b;
	out->series = place / PROM_TSDB_ALIGNMENT;
	out->from_ms = from_ms;
	out->to_ms = to_ms;
	for (int i = 0; i < PROM_TSDB_AGGREGATES; i++)
		out->has_histograms |= found[i].data != NULL &&
			(found[i].encoding == PROM_CHUNK_HISTOGRAM || found[i].encoding == PROM_CHUNK_FLOAT_HISTOGRAM);
	for (int i = 0; i < PROM_TSDB_AGGREGATES && !out->has_histograms; i++)
		out->column[i] = read_column(b, &found[i], chunk->offset);
	MemoryContextSwitchTo(old);
}

bool
prom_block_wants(const PromBlockAggregates *a, int64 t_ms)
{
	return is_wanted(a->block, t_ms, a->from_ms, a->to_ms, find_tombstones(a->block, a->series), a->series);
}

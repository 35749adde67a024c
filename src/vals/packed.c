/*
 * packed.c
 *	  Rows of a block of series, kept packed until the samples of a series are asked for.
 *
 * A row is opened once for all of the block's series that are asked for: finding it and reading its directory
 * cost more than one series' samples.  Its samples are unpacked series by series, at the end: what is held is the
 * rows as they are, and the samples of one series.  Fresh samples come unpacked and few, so they are gathered
 * at once.
 *
 * Readers and the gather live as long as the query and go from block to block.  Several blocks may be under
 * way, for a hashed aggregate has many states: readers come back when a state's memory goes.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "store/store.h"
#include "vals/packed.h"

/* Samples that are read between two checks for a cancelled query */
#define INTERRUPT_SAMPLES 65536

/* A row with samples of the series */
typedef struct PromPackedRow
{
	PromChunkReader *reader;
	int64		order;
	int			column;			/* the first whose series was not passed yet */
	bool		used;
} PromPackedRow;

/* What is used again for each block of a query. */
typedef struct PromPackedPool
{
	MemoryContext cxt;
	PromChunkReader **free;
	int			nfree;
	int			nreaders;		/* with those in use; there is room for all in "free" */
	int			size;
	PromPackedSamples samples;
} PromPackedPool;

static int
compare_series(const void *a, const void *b)
{
	const PromPackedSeries *x = a;
	const PromPackedSeries *y = b;

	return (x->sid > y->sid) - (x->sid < y->sid);
}

/* The series with these ids. */
static void
set_series(PromPacked *p, ArrayType *sids, MemoryContext cxt)
{
	const int32 *sid = prom_store_sids(sids, &p->n);
	bool		sorted = true;

	p->series = MemoryContextAlloc(cxt, sizeof(PromPackedSeries) * Max(p->n, 1));
	for (int i = 0; i < p->n; i++)
	{
		prom_store_count_series();
		p->series[i].sid = sid[i];
		p->series[i].place = i;
		sorted = sorted && (i == 0 || sid[i - 1] < sid[i]);
	}
	if (!sorted)
		qsort(p->series, p->n, sizeof(PromPackedSeries), compare_series);
}

static PromPackedPool *
get_pool(FmgrInfo *function)
{
	PromPackedPool *pool = function->fn_extra;

	if (pool == NULL)
	{
		pool = MemoryContextAllocZero(function->fn_mcxt, sizeof(PromPackedPool));
		pool->cxt = function->fn_mcxt;
		prom_gather_init(&pool->samples.samples, pool->cxt);
		prom_gather_init(&pool->samples.points, pool->cxt);
		prom_gather_init(&pool->samples.counts, pool->cxt);
		function->fn_extra = pool;
	}
	return pool;
}

/* A reader; its memory is the pool's. */
static PromChunkReader *
take_reader(PromPackedPool *pool)
{
	if (pool->nfree > 0)
		return pool->free[--pool->nfree];
	if (pool->nreaders >= pool->size)
	{
		pool->size = Max(16, 2 * pool->size);
		pool->free = pool->free ? repalloc(pool->free, sizeof(*pool->free) * pool->size) :
			MemoryContextAlloc(pool->cxt, sizeof(*pool->free) * pool->size);
	}
	pool->nreaders++;
	return MemoryContextAllocZero(pool->cxt, sizeof(PromChunkReader));
}

/* The state's memory goes. */
static void
release_readers(void *arg)
{
	PromPacked *p = arg;

	while (p->nrows > 0)
		p->pool->free[p->pool->nfree++] = p->rows[--p->nrows].reader;
}

static void
open_reader(PromPackedPool *pool, PromChunkReader *reader, const PromChunk *chunk)
{
	MemoryContext old = MemoryContextSwitchTo(pool->cxt);

	prom_chunk_open(reader, chunk);
	MemoryContextSwitchTo(old);
}

/* The next column that a series of the state has, from "column" on; or -1.  *i: the series, likewise. */
static int
next_column(const PromPacked *p, const PromChunkReader *reader, int *i, int column)
{
	if (p->n < reader->nseries / 8)
	{
		for (; *i < p->n; (*i)++)
		{
			int			found = prom_chunk_find(reader, p->series[*i].sid);

			if (found >= column)
				return found;
		}
		return -1;
	}
	while (*i < p->n && column < reader->nseries)
	{
		if (p->series[*i].sid < reader->sids[column])
			(*i)++;
		else if (p->series[*i].sid > reader->sids[column])
			column++;
		else
			return column;
	}
	return -1;
}

/* Adds the wanted samples of one column; returns how many. */
static int
add_column(PromPacked *p, PromGather *g, PromChunkReader *reader, int column, int64 order)
{
	int			before = g->n;
	int			count = prom_chunk_count(reader, column);

	/* 8 bytes each for time and value; the gather doubles its room */
	if (g->n + count > g->size)
		prom_store_need_memory(((size_t) g->size * 2 + count) * 2 * 8);
	prom_gather_column(g, reader, column, p->from_ms, p->to_ms, order);
	return g->n - before;
}

static void
add_fresh(PromPacked *p, PromChunkReader *reader, int64 order)
{
	int			column = -1;

	if (p->fresh == NULL)
	{
		p->fresh = MemoryContextAlloc(p->cxt, sizeof(PromGather) * p->n);
		for (int i = 0; i < p->n; i++)
			prom_gather_init(&p->fresh[i], p->cxt);
	}
	for (int i = 0; (column = next_column(p, reader, &i, column + 1)) >= 0; i++)
		(void) add_column(p, &p->fresh[i], reader, column, order);
}

static void
keep_row(PromPacked *p, PromChunkReader *reader, int64 order)
{
	PromPackedRow *row;

	if (p->nrows >= p->size)
	{
		p->size = Max(8, 2 * p->size);
		p->rows = p->rows ? repalloc(p->rows, sizeof(PromPackedRow) * p->size) :
			MemoryContextAlloc(p->cxt, sizeof(PromPackedRow) * p->size);
	}
	row = &p->rows[p->nrows++];
	row->reader = reader;
	row->order = order;
	row->column = 0;
	row->used = false;
}

void
prom_packed_init(PromPacked *p, FmgrInfo *function, MemoryContext cxt, ArrayType *sids)
{
	memset(p, 0, sizeof(*p));
	p->mixed_from_ms = PG_INT64_MAX;
	p->cxt = cxt;
	p->pool = get_pool(function);
	p->release.func = release_readers;
	p->release.arg = p;
	MemoryContextRegisterResetCallback(cxt, &p->release);
	set_series(p, sids, cxt);
}

void
prom_packed_add(PromPacked *p, struct varlena *data, int64 order)
{
	MemoryContext old = MemoryContextSwitchTo(p->cxt);
	PromChunk  *chunk = DatumGetPromChunkP(PointerGetDatum(data));
	bool		is_fresh = order >= PROM_FRESH_ORDER;
	PromChunkReader *reader = take_reader(p->pool);
	int			first = 0;
	bool		wanted;

	CHECK_FOR_INTERRUPTS();
	/* mostly it will be kept; one that was in a page has to be copied for that */
	if (!is_fresh)
		prom_store_need_memory(VARSIZE_ANY(chunk));
	if (!is_fresh && chunk == data)
		chunk = memcpy(palloc(VARSIZE_ANY(data)), data, VARSIZE_ANY(data));
	open_reader(p->pool, reader, chunk);
	p->shard = reader->shard;
	wanted = reader->t_max > p->from_ms && reader->t_min <= p->to_ms && next_column(p, reader, &first, 0) >= 0;
	if (!is_fresh)
		prom_store_counts()->chunks++;
	if (wanted && !is_fresh)
		keep_row(p, reader, order);
	else
	{
		if (wanted)
			add_fresh(p, reader, order);
		p->pool->free[p->pool->nfree++] = reader;
		if (chunk != data)
			pfree(chunk);
	}
	MemoryContextSwitchTo(old);
}

static int
compare_rows(const void *a, const void *b)
{
	const PromPackedRow *x = a;
	const PromPackedRow *y = b;

	if (x->reader->t_min != y->reader->t_min)
		return x->reader->t_min < y->reader->t_min ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

/* Rows by time: then samples mostly come in order. */
void
prom_packed_end(PromPacked *p)
{
	for (int i = 1; i < p->nrows; i++)
		if (p->rows[i].reader->t_min < p->rows[i - 1].reader->t_min)
		{
			qsort(p->rows, p->nrows, sizeof(PromPackedRow), compare_rows);
			return;
		}
}

static bool
is_raw(int64 order)
{
	return prom_order_part(order) == PROM_PART_RAW;
}

/* Where samples or points of this order go */
static PromGather *
gather_of(const PromPacked *p, PromPackedSamples *s, int64 order)
{
	if (likely(!p->has_points) || is_raw(order))
		return &s->samples;
	return p->has_counts && prom_order_part(order) == PROM_PART_COUNT ? &s->counts : &s->points;
}

/* Notes the first raw sample, if it is among those from g->t_ms[from] on, which are ascending. */
static void
note_raw(const PromPacked *p, PromPackedSamples *s, int from)
{
	const PromGather *g = &s->samples;

	if (likely(p->mixed_from_ms == PG_INT64_MAX))
		return;
	while (from < g->n && g->t_ms[from] <= p->mixed_from_ms)
		from++;
	if (from < g->n)
		s->first_raw_ms = Min(s->first_raw_ms, g->t_ms[from]);
}

/* The column of a series in a row, or -1; what is in front of it is passed for good. */
static int
pass_to(PromPackedRow *row, int32 sid)
{
	const PromChunkReader *reader = row->reader;

	while (row->column < reader->nseries && reader->sids[row->column] < sid)
		row->column++;
	return row->column < reader->nseries && reader->sids[row->column] == sid ? row->column : -1;
}

PromPackedSamples *
prom_packed_samples(PromPacked *p, int i)
{
	PromPackedSamples *s = &p->pool->samples;
	int			added = 0;

	prom_gather_reset(&s->samples);
	prom_gather_reset(&s->points);
	prom_gather_reset(&s->counts);
	s->first_raw_ms = PG_INT64_MAX;
	for (int r = 0; r < p->nrows; r++)
	{
		PromPackedRow *row = &p->rows[r];
		PromGather *g = gather_of(p, s, row->order);
		int			before = g->n;
		int			column = pass_to(row, p->series[i].sid);

		if (column < 0 || add_column(p, g, row->reader, column, row->order) == 0)
			continue;
		if (is_raw(row->order))
			note_raw(p, s, before);
		if (!row->used)
			prom_store_counts()->chunks_used++;
		row->used = true;
		added += g->n - before;
		if (added >= INTERRUPT_SAMPLES)
		{
			CHECK_FOR_INTERRUPTS();
			prom_store_count_samples(added);
			added = 0;
		}
	}
	prom_store_count_samples(added);
	if (p->fresh && p->fresh[i].n > 0)
	{
		PromGather *f = &p->fresh[i];
		int			before = s->samples.n;

		prom_gather_finish(f);
		prom_gather_mixed(&s->samples, f->n, f->t_ms, f->values, f->histograms, PROM_FRESH_ORDER);
		note_raw(p, s, before);
	}
	return s;
}

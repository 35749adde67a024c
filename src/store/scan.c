/*
 * scan.c
 *	  What the SQL of a leaf (leaf.c) calls on chunks: fresh rows gathered into one, and what a row holds.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "store/rows.h"

/* Samples that are looked at between two checks for a cancelled query */
#define INTERRUPT_SAMPLES 65536

/* A chunk, and room for one of its columns. */
typedef struct Column
{
	PromChunkReader reader;
	int64	   *t_ms;
	double	   *values;
	const PromHistogram **histograms;	/* NULL if the column read last has none */
	const PromHistogram **slots;
	int			room;
} Column;
/* Samples of the wanted series, as they come. */
typedef struct Fresh
{
	int32	   *sids;
	int			nsids;
	int16		shard;
	struct FreshSample
	{
		int64		t_ms;
		double		value;
		int64		order;
		int32		series;		/* index into sids */
	}		   *samples;
	const PromHistogram **histograms;	/* NULL while there is none; else parallel to samples */
	size_t		n;
	size_t		size;
	Column		column;
} Fresh;

static Fresh *fresh_begin(MemoryContext cxt, ArrayType *sids);
static void fresh_column(Fresh *f, int column, int series, int64 order, int64 from_ms, int64 to_ms);
static PromChunk *fresh_finish(Fresh *f);
static Column open_columns(const PromChunk *chunk);
static int	read_column(Column *c, int column);
static bool column_has(Column *c, int column, int64 from_ms, int64 to_ms);
static int	first_wanted(const Column *c, const int32 *sids, int nsids);

int32 *
prom_store_sids(ArrayType *a, int *n)
{
	if (ARR_ELEMTYPE(a) != INT4OID || ARR_NDIM(a) > 1 || ARR_HASNULL(a))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("series ids must be a one-dimensional array without nulls")));
	*n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
	return (int32 *) ARR_DATA_PTR(a);
}

PG_FUNCTION_INFO_V1(prom_fresh_step);
PG_FUNCTION_INFO_V1(prom_fresh_final);
PG_FUNCTION_INFO_V1(prom_sids);
PG_FUNCTION_INFO_V1(prom_hits);
PG_FUNCTION_INFO_V1(prom_without);
PG_FUNCTION_INFO_V1(prom_since);
PG_FUNCTION_INFO_V1(prom_only);
PG_FUNCTION_INFO_V1(prom_block);

/* _fresh_step(state, data, seq, sids, from_ms, to_ms) */
Datum
prom_fresh_step(PG_FUNCTION_ARGS)
{
	MemoryContext cxt;
	MemoryContext old;
	const PromChunk *chunk;
	Fresh	   *f;
	int64		seq;
	int64		from_ms;
	int64		to_ms;
	const PromChunkReader *r;

	if (!AggCheckCallContext(fcinfo, &cxt))
		elog(ERROR, "prom._fresh_step called outside an aggregate");
	if (PG_ARGISNULL(3))
		PG_RETURN_NULL();
	f = PG_ARGISNULL(0) ? fresh_begin(cxt, PG_GETARG_ARRAYTYPE_P(3)) : (Fresh *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(1))
		PG_RETURN_POINTER(f);
	seq = PG_GETARG_INT64(2);
	from_ms = PG_GETARG_INT64(4);
	to_ms = PG_GETARG_INT64(5);

	chunk = PG_GETARG_PROM_CHUNK_P(1);

	old = MemoryContextSwitchTo(cxt);
	prom_chunk_open(&f->column.reader, chunk);
	r = &f->column.reader;
	f->shard = r->shard;
	prom_store_counts()->fresh++;
	if (f->nsids < r->nseries / 8)
	{
		for (int s = 0; s < f->nsids; s++)
		{
			int			column = prom_chunk_find(r, f->sids[s]);

			if (column >= 0)
				fresh_column(f, column, s, seq, from_ms, to_ms);
		}
	}
	else
	{
		for (int s = 0, column = 0; s < f->nsids && column < r->nseries;)
		{
			if (f->sids[s] < r->sids[column])
				s++;
			else if (f->sids[s] > r->sids[column])
				column++;
			else
				fresh_column(f, column++, s++, seq, from_ms, to_ms);
		}
	}
	MemoryContextSwitchTo(old);
	PG_RETURN_POINTER(f);
}

Datum
prom_fresh_final(PG_FUNCTION_ARGS)
{
	Fresh	   *f = PG_ARGISNULL(0) ? NULL : (Fresh *) PG_GETARG_POINTER(0);

	if (f == NULL || f->n == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(fresh_finish(f));
}

static int
compare_sids(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return (x > y) - (x < y);
}

static Fresh *
fresh_begin(MemoryContext cxt, ArrayType *sids)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Fresh	   *f = palloc0(sizeof(Fresh));
	int32	   *given = prom_store_sids(sids, &f->nsids);

	f->sids = palloc(sizeof(int32) * Max(f->nsids, 1));
	memcpy(f->sids, given, sizeof(int32) * f->nsids);
	qsort(f->sids, f->nsids, sizeof(int32), compare_sids);
	f->size = 1024;
	f->samples = palloc(f->size * sizeof(*f->samples));
	MemoryContextSwitchTo(old);
	return f;
}

static void
fresh_column(Fresh *f, int column, int series, int64 order, int64 from_ms, int64 to_ms)
{
	Column	   *c = &f->column;
	int			n = read_column(c, column);

	prom_store_count_samples(n);
	if (f->n + n > f->size)
	{
		f->size = Max(f->size * 2, f->n + n);
		prom_store_need_memory(f->size * sizeof(*f->samples));
		f->samples = repalloc_huge(f->samples, f->size * sizeof(*f->samples));
		if (f->histograms)
			f->histograms = repalloc_huge(f->histograms, f->size * sizeof(*f->histograms));
	}
	if (c->histograms && f->histograms == NULL)
		f->histograms = palloc_extended(f->size * sizeof(*f->histograms), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < n; i++)
	{
		struct FreshSample *s = &f->samples[f->n];

		if (c->t_ms[i] <= from_ms || c->t_ms[i] > to_ms)
			continue;
		s->t_ms = c->t_ms[i];
		s->value = c->values[i];
		s->order = order;
		s->series = series;
		if (f->histograms)
			f->histograms[f->n] = c->histograms ? c->histograms[i] : NULL;
		f->n++;
	}
}

/* Regroup by series with a counting sort, then let the gather put each series in order. */
static PromChunk *
fresh_finish(Fresh *f)
{
	size_t	   *start;
	struct FreshSample **by_series;
	PromChunkBuilder *b;
	PromGather	g;
	size_t		at = 0;

	/* the pointers, and the chunk while it is built and when it is finished */
	prom_store_need_memory(f->n * (sizeof(*by_series) + 2 * (sizeof(int64) + sizeof(double))));
	start = palloc0(sizeof(size_t) * (f->nsids + 1));
	by_series = MemoryContextAllocHuge(CurrentMemoryContext, f->n * sizeof(*by_series));
	b = prom_chunk_begin(PROM_CHUNK_PLAIN, f->shard);
	for (size_t i = 0; i < f->n; i++)
		start[f->samples[i].series + 1]++;
	for (int s = 0; s < f->nsids; s++)
		start[s + 1] += start[s];
	for (size_t i = 0; i < f->n; i++)
	{
		if (i % INTERRUPT_SAMPLES == 0)
			CHECK_FOR_INTERRUPTS();
		by_series[start[f->samples[i].series]++] = &f->samples[i];
	}

	/* start[s] is now the end of series s */
	prom_gather_init(&g, CurrentMemoryContext);
	for (int s = 0; s < f->nsids; s++)
	{
		CHECK_FOR_INTERRUPTS();
		if (at == start[s])
			continue;
		prom_gather_reset(&g);
		for (; at < start[s]; at++)
		{
			const PromHistogram **h = f->histograms ? &f->histograms[by_series[at] - f->samples] : NULL;

			prom_gather_mixed(&g, 1, &by_series[at]->t_ms, &by_series[at]->value, h && *h ? h : NULL,
							  by_series[at]->order);
		}
		prom_gather_finish(&g);
		prom_chunk_add_mixed(b, f->sids[s], g.n, g.t_ms, g.values, g.histograms);
	}
	return prom_chunk_finish(b);
}

/* _sids(data) */
Datum
prom_sids(PG_FUNCTION_ARGS)
{
	Column		c = open_columns(PG_GETARG_PROM_CHUNK_P(0));
	Datum	   *sids = palloc(sizeof(Datum) * Max(c.reader.nseries, 1));

	for (int i = 0; i < c.reader.nseries; i++)
		sids[i] = Int32GetDatum(c.reader.sids[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(sids, c.reader.nseries, INT4OID, 4, true, TYPALIGN_INT));
}

/* The ids in order; a copy if they are not. */
static int32 *
in_order(int32 *sids, int n)
{
	for (int i = 1; i < n; i++)
	{
		if (sids[i - 1] <= sids[i])
			continue;
		sids = memcpy(palloc(sizeof(int32) * n), sids, sizeof(int32) * n);
		qsort(sids, n, sizeof(int32), compare_sids);
		break;
	}
	return sids;
}

/* _hits(data, sids, from_ms, to_ms) */
Datum
prom_hits(PG_FUNCTION_ARGS)
{
	Column		c = open_columns(PG_GETARG_PROM_CHUNK_P(0));
	int			nsids;
	int32	   *given = prom_store_sids(PG_GETARG_ARRAYTYPE_P(1), &nsids);
	int32	   *sids = in_order(given, nsids);
	Datum	   *hits = palloc(sizeof(Datum) * Max(Min(nsids, c.reader.nseries), 1));
	int			nhits = 0;

	for (int s = first_wanted(&c, sids, nsids), column = 0; s < nsids && column < c.reader.nseries;)
	{
		CHECK_FOR_INTERRUPTS();
		if (sids[s] < c.reader.sids[column])
			s++;
		else if (sids[s] > c.reader.sids[column])
			column++;
		else if (column_has(&c, column++, PG_GETARG_INT64(2), PG_GETARG_INT64(3)))
			hits[nhits++] = Int32GetDatum(sids[s]);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(hits, nhits, INT4OID, 4, true, TYPALIGN_INT));
}

/*
 * The samples of a chunk but for those of some series (ascending) with from_ms <= t <= to_ms, which is to_ms[0] for all
 * of them or one for each; NULL if nothing is left.
 */
static PromChunk *
without(Column *c, PromChunkStyle style, const int32 *sids, int nsids, int64 from_ms, const int64 *to_ms, bool each)
{
	PromChunkBuilder *b = prom_chunk_begin(style, c->reader.shard);

	for (int column = 0, s = first_wanted(c, sids, nsids); column < c->reader.nseries; column++)
	{
		int			n = read_column(c, column);
		int			kept = 0;
		bool		found;

		CHECK_FOR_INTERRUPTS();
		while (s < nsids && sids[s] < c->reader.sids[column])
			s++;
		found = s < nsids && sids[s] == c->reader.sids[column];
		for (int i = 0; i < n; i++)
		{
			if (found && c->t_ms[i] >= from_ms && c->t_ms[i] <= to_ms[each ? s : 0])
				continue;
			c->t_ms[kept] = c->t_ms[i];
			if (c->histograms)
				c->histograms[kept] = c->histograms[i];
			c->values[kept++] = c->values[i];
		}
		if (kept > 0)
			prom_chunk_add_mixed(b, c->reader.sids[column], kept, c->t_ms, c->values, c->histograms);
	}
	return prom_chunk_series(b) > 0 ? prom_chunk_finish(b) : NULL;
}

PromChunk *
prom_store_without(const PromChunk *chunk, const int32 *sids, int nsids, int64 from_ms, int64 to_ms, PromChunkStyle style)
{
	Column		c = open_columns(chunk);

	return without(&c, style, sids, nsids, from_ms, &to_ms, false);
}

/* _without(data, sids, from_ms, to_ms) */
Datum
prom_without(PG_FUNCTION_ARGS)
{
	int			nsids;
	int32	   *sids = prom_store_sids(PG_GETARG_ARRAYTYPE_P(1), &nsids);
	PromChunk  *left = prom_store_without(PG_GETARG_PROM_CHUNK_P(0), sids, nsids, PG_GETARG_INT64(2), PG_GETARG_INT64(3),
										  PROM_CHUNK_WARM);

	if (left == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(left);
}

/* Does a chunk hold a sample that is to be left out?  Nearly none does. */
static bool
has_before(Column *c, const int32 *sids, int nsids, const int64 *until_ms)
{
	for (int s = 0; s < nsids; s++)
	{
		int			column = c->reader.t_min <= until_ms[s] ? prom_chunk_find(&c->reader, sids[s]) : -1;

		if (column >= 0 && column_has(c, column, PG_INT64_MIN, until_ms[s]))
			return true;
	}
	return false;
}

/* _since(data, sids, since) */
Datum
prom_since(PG_FUNCTION_ARGS)
{
	PromChunk  *chunk;
	PromChunk  *left;
	Column		c;
	int32	   *sids;
	int64	   *until_ms;
	int			nsids;
	ArrayType  *since;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	chunk = PG_GETARG_PROM_CHUNK_P(0);
	sids = prom_store_sids(PG_GETARG_ARRAYTYPE_P(1), &nsids);
	since = PG_GETARG_ARRAYTYPE_P(2);
	if (ARR_ELEMTYPE(since) != INT8OID || ARR_HASNULL(since) || ArrayGetNItems(ARR_NDIM(since), ARR_DIMS(since)) != nsids)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("there must be a time for each series")));
	c = open_columns(chunk);
	until_ms = palloc(sizeof(int64) * Max(nsids, 1));
	for (int s = 0; s < nsids; s++)
	{
		int64		since_ms = ((int64 *) ARR_DATA_PTR(since))[s];

		until_ms[s] = since_ms > PG_INT64_MIN ? since_ms - 1 : since_ms;
	}
	if (!has_before(&c, sids, nsids, until_ms))
		PG_RETURN_POINTER(chunk);
	left = without(&c, PROM_CHUNK_PLAIN, sids, nsids, PG_INT64_MIN, until_ms, true);
	if (left == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(left);
}

int16
prom_store_shard(const PromChunk *chunk)
{
	return open_columns(chunk).reader.shard;
}

PromChunk *
prom_store_only(const PromChunk *chunk, int16 shard, const int32 *sids, int nsids, PromScanRange range)
{
	Column		c = open_columns(chunk);
	PromChunkBuilder *b = prom_chunk_begin(PROM_CHUNK_PLAIN, shard);

	for (int s = 0, column = 0; s < nsids && column < c.reader.nseries;)
	{
		int			kept = 0;
		int			n;

		CHECK_FOR_INTERRUPTS();
		if (sids[s] < c.reader.sids[column])
		{
			s++;
			continue;
		}
		if (sids[s] > c.reader.sids[column])
		{
			column++;
			continue;
		}
		n = read_column(&c, column++);
		for (int i = 0; i < n; i++)
		{
			if (c.t_ms[i] <= range.from_ms || c.t_ms[i] > range.to_ms)
				continue;
			c.t_ms[kept] = c.t_ms[i];
			if (c.histograms)
				c.histograms[kept] = c.histograms[i];
			c.values[kept++] = c.values[i];
		}
		if (kept > 0)
			prom_chunk_add_mixed(b, sids[s], kept, c.t_ms, c.values, c.histograms);
		s++;
	}
	return prom_chunk_series(b) > 0 ? prom_chunk_finish(b) : NULL;
}

/* _only(data, sids, from_ms, to_ms) */
Datum
prom_only(PG_FUNCTION_ARGS)
{
	int			nsids;
	int32	   *sids = prom_store_sids(PG_GETARG_ARRAYTYPE_P(1), &nsids);
	PromChunk  *chunk = PG_GETARG_PROM_CHUNK_P(0);
	PromChunk  *only = prom_store_only(chunk, prom_store_shard(chunk), sids, nsids,
									   (PromScanRange) {PG_GETARG_INT64(2), PG_GETARG_INT64(3)});

	if (only == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(only);
}

/* _block(sid) */
Datum
prom_block(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(PG_GETARG_INT32(0) >> PROM_BLOCK_BITS);
}

static Column
open_columns(const PromChunk *chunk)
{
	Column		c = {0};

	prom_chunk_open(&c.reader, chunk);
	return c;
}

/* The first of the ids (ascending) that the chunk may have; there may be a million, of series elsewhere. */
static int
first_wanted(const Column *c, const int32 *sids, int nsids)
{
	int			low = 0;
	int			high = c->reader.nseries > 0 ? nsids : 0;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (sids[middle] < c->reader.sids[0])
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Decode a column into t_ms, values and histograms; returns the number of samples. */
static int
read_column(Column *c, int column)
{
	int			n = prom_chunk_count(&c->reader, column);

	if (n > c->room)
	{
		c->room = Max(n, 256);
		c->t_ms = palloc(sizeof(int64) * c->room);
		c->values = palloc(sizeof(double) * c->room);
		c->slots = NULL;
	}
	c->histograms = NULL;
	if (likely(!prom_chunk_has_histograms(&c->reader, column)))
	{
		prom_chunk_read(&c->reader, column, c->t_ms, c->values);
		return n;
	}
	if (c->slots == NULL)
		c->slots = palloc(sizeof(*c->slots) * c->room);
	c->histograms = c->slots;
	memcpy(c->t_ms, prom_chunk_times(&c->reader, column), n * sizeof(int64));
	prom_chunk_values_mixed(&c->reader, column, c->values, c->histograms);
	return n;
}

static bool
column_has(Column *c, int column, int64 from_ms, int64 to_ms)
{
	int			n = prom_chunk_count(&c->reader, column);
	const int64 *t_ms;

	/* all of the chunk is within */
	if (c->reader.t_min >= from_ms && c->reader.t_max <= to_ms)
		return n > 0;
	t_ms = prom_chunk_times(&c->reader, column);
	for (int i = 0; i < n; i++)
	{
		if (t_ms[i] >= from_ms && t_ms[i] <= to_ms)
			return true;
	}
	return false;
}

/*
 * merge.c
 *	  Samples of one series from several chunks, in order of time, each timestamp once.
 *
 * The one rule for equal timestamps lives here: the greatest order stays, with equal orders the one
 * added last.  Chunks mostly arrive in order and do not overlap, then gathering is appending; runs
 * that overlap are merged by a natural merge sort, which is stable and linear in sorted runs.
 */
#include "postgres.h"

#include "lib/binaryheap.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "chunk/chunk.h"
#include "chunk/codec.h"

#define FIRST_SIZE	512
#define INTERRUPT_SAMPLES 65536	/* merged between two checks for a cancelled query */

/* ---- gathering one series ---- */

void
prom_gather_init(PromGather *g, MemoryContext cxt)
{
	memset(g, 0, sizeof(*g));
	g->cxt = cxt;
	g->sorted = true;
}

void
prom_gather_reset(PromGather *g)
{
	g->n = 0;
	g->sorted = true;
	g->mixed = false;
	if (g->histograms)
		MemoryContextReset(g->histogram_cxt);
	g->histograms = NULL;
}

static void *
resize(PromGather *g, void *old, int size, size_t width)
{
	if (old == NULL)
		return MemoryContextAllocHuge(g->cxt, size * width);
	return repalloc_huge(old, size * width);
}

/* Room for more samples at the end. */
static void
need_room(PromGather *g, int more)
{
	int64		need = (int64) g->n + more;
	int64		size;

	if (need <= g->size)
		return;
	if (need > PG_INT32_MAX / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many samples of one series"),
				 errdetail("At most %d can be handled at once.", PG_INT32_MAX / 2)));
	size = Max(FIRST_SIZE, Max(need, 2 * (int64) g->size));
	g->t_ms = resize(g, g->t_ms, size, sizeof(int64));
	g->values = resize(g, g->values, size, sizeof(double));
	if (g->order)
		g->order = resize(g, g->order, size, sizeof(int64));
	if (g->slots)
	{
		g->slots = resize(g, g->slots, size, sizeof(*g->slots));
		if (g->histograms)
			g->histograms = (const PromHistogram **) g->slots;
	}
	g->size = size;
}

/* There will be histograms: the samples so far are none. */
static void
need_histograms(PromGather *g)
{
	if (g->histograms)
		return;
	if (g->slots == NULL)
	{
		g->slots = resize(g, NULL, g->size, sizeof(*g->slots));
		g->histogram_cxt = AllocSetContextCreate(g->cxt, "prom gather histograms", ALLOCSET_DEFAULT_SIZES);
	}
	memset(g->slots, 0, g->n * sizeof(*g->slots));
	g->histograms = (const PromHistogram **) g->slots;
}

/* The last n samples were just put in place; note their order and whether all is still sorted. */
static void
appended(PromGather *g, int n, int64 order)
{
	int			from = g->n;

	if (from == 0)
		g->only_order = order;
	else
	{
		if (g->t_ms[from] <= g->t_ms[from - 1])
			g->sorted = false;
		if (!g->mixed && order != g->only_order)
		{
			if (g->order == NULL)
				g->order = resize(g, NULL, g->size, sizeof(int64));
			for (int i = 0; i < from; i++)
				g->order[i] = g->only_order;
			g->mixed = true;
		}
	}
	if (g->mixed)
		for (int i = from; i < from + n; i++)
			g->order[i] = order;
	g->n += n;
}

/* How many of n ascending times are <= t. */
static int
count_until(const int64 *t_ms, int n, int64 t)
{
	int			low = 0;

	/* mostly all or none */
	if (n == 0 || t_ms[n - 1] <= t)
		return n;
	while (low < n)
	{
		int			middle = low + (n - low) / 2;

		if (t_ms[middle] <= t)
			low = middle + 1;
		else
			n = middle;
	}
	return low;
}

/* Add samples begin .. end-1 of a column. */
static void
gather_range(PromGather *g, PromChunkReader *r, int column, int begin, int end, int64 order)
{
	int			n = prom_chunk_count(r, column);

	if (begin >= end)
		return;
	need_room(g, n);
	memcpy(g->t_ms + g->n, prom_chunk_times(r, column) + begin, (end - begin) * sizeof(int64));
	if (unlikely(prom_chunk_has_histograms(r, column)))
	{
		MemoryContext old;

		need_histograms(g);
		old = MemoryContextSwitchTo(g->histogram_cxt);
		prom_chunk_values_mixed(r, column, g->values + g->n, g->histograms + g->n);
		MemoryContextSwitchTo(old);
		memmove(g->slots + g->n, g->slots + g->n + begin, (end - begin) * sizeof(*g->slots));
	}
	else
	{
		prom_chunk_values(r, column, g->values + g->n);
		if (g->histograms)
			memset(g->slots + g->n, 0, (end - begin) * sizeof(*g->slots));
	}
	if (begin > 0)
		memmove(g->values + g->n, g->values + g->n + begin, (end - begin) * sizeof(double));
	appended(g, end - begin, order);
}

void
prom_gather_column(PromGather *g, PromChunkReader *r, int column, int64 from_ms, int64 to_ms,
				   int64 order)
{
	const int64 *t_ms;
	int			begin;
	int			end;

	if (r->t_max <= from_ms || r->t_min > to_ms)
		return;
	t_ms = prom_chunk_times(r, column);
	end = count_until(t_ms, prom_chunk_count(r, column), to_ms);
	begin = end > 0 && t_ms[0] > from_ms ? 0 : count_until(t_ms, end, from_ms);
	gather_range(g, r, column, begin, end, order);
}

/* Copies of histograms for the next n samples; NULL: they have none. */
static void
copy_histograms(PromGather *g, int n, const PromHistogram *const *histograms)
{
	need_histograms(g);
	for (int i = 0; i < n; i++)
	{
		const PromHistogram *h = histograms ? histograms[i] : NULL;
		uint64		nan = PROM_NORMAL_NAN_BITS;

		g->slots[g->n + i] = NULL;
		if (h == NULL)
			continue;
		g->slots[g->n + i] = memcpy(MemoryContextAlloc(g->histogram_cxt, h->size), h, h->size);
		memcpy(&g->values[g->n + i], &nan, sizeof(double));
	}
}

void
prom_gather_mixed(PromGather *g, int n, const int64 *t_ms, const double *values,
				  const PromHistogram *const *histograms, int64 order)
{
	int			at = g->n;

	if (n == 0)
		return;
	need_room(g, n);
	memcpy(g->t_ms + at, t_ms, n * sizeof(int64));
	memcpy(g->values + at, values, n * sizeof(double));
	if (unlikely(histograms || g->histograms))
		copy_histograms(g, n, histograms);
	for (int i = 1; i < n && g->sorted; i++)
		g->sorted = t_ms[i - 1] < t_ms[i];
	appended(g, n, order);
}

/* A sample being sorted. */
typedef struct Item
{
	int64		t_ms;
	int64		order;
	uint64		value;			/* bits of a float; of a series with histograms the sample's number */
} Item;

static inline bool
item_before(const Item *a, const Item *b)
{
	return a->t_ms != b->t_ms ? a->t_ms < b->t_ms : a->order < b->order;
}

/* Stable merge of from[a..b) and from[b..c) into to[a..c). */
static void
merge_runs(const Item *from, Item *to, int a, int b, int c)
{
	int			i = a;
	int			j = b;

	for (int k = a; k < c; k++)
	{
		if (k % INTERRUPT_SAMPLES == 0)
			CHECK_FOR_INTERRUPTS();
		to[k] = i < b && (j >= c || !item_before(&from[j], &from[i])) ? from[i++] : from[j++];
	}
}

/* End of the ascending run that begins at i. */
static inline int
run_end(const Item *items, int n, int i)
{
	for (i++; i < n && !item_before(&items[i], &items[i - 1]); i++)
		;
	return i;
}

/* Sorts n items, using spare; returns the one of both that holds the result. */
static Item *
sort_items(Item *items, Item *spare, int n)
{
	for (;;)
	{
		Item	   *swap;
		int			runs = 0;

		for (int a = 0, b, c; a < n; a = c, runs++)
		{
			CHECK_FOR_INTERRUPTS();
			b = run_end(items, n, a);
			if (a == 0 && b == n)
				return items;
			c = b < n ? run_end(items, n, b) : n;
			merge_runs(items, spare, a, b, c);
		}
		swap = items;
		items = spare;
		spare = swap;
		if (runs <= 1)
			return items;
	}
}

/* The samples that are kept, numbered by "sorted", move to their places. */
static void
pick_histograms(PromGather *g, const Item *sorted, int n)
{
	double	   *values = MemoryContextAllocHuge(g->cxt, g->size * sizeof(double));
	PromHistogram **slots = MemoryContextAllocHuge(g->cxt, g->size * sizeof(*slots));

	for (int i = 0; i < n; i++)
	{
		memcpy(&values[i], &g->values[sorted[i].value], sizeof(double));
		slots[i] = g->slots[sorted[i].value];
	}
	pfree(g->values);
	pfree(g->slots);
	g->values = values;
	g->slots = slots;
	g->histograms = (const PromHistogram **) slots;
}

void
prom_gather_drop(PromGather *g, int64 order, int64 from_ms, int64 to_ms)
{
	int			kept = 0;

	if (!g->mixed && g->only_order > order)
		return;
	for (int i = 0; i < g->n; i++)
	{
		if (g->t_ms[i] > from_ms && g->t_ms[i] <= to_ms && (g->mixed ? g->order[i] : g->only_order) <= order)
			continue;
		g->t_ms[kept] = g->t_ms[i];
		g->values[kept] = g->values[i];
		if (g->histograms)
			g->slots[kept] = g->slots[i];
		if (g->mixed)
			g->order[kept] = g->order[i];
		kept++;
	}
	g->n = kept;
}

void
prom_gather_finish(PromGather *g)
{
	Item	   *items;
	Item	   *spare;
	Item	   *sorted;
	int			kept = 0;

	if (g->sorted)
		return;
	items = MemoryContextAllocHuge(g->cxt, g->n * sizeof(Item));
	spare = MemoryContextAllocHuge(g->cxt, g->n * sizeof(Item));
	for (int i = 0; i < g->n; i++)
	{
		items[i].t_ms = g->t_ms[i];
		items[i].order = g->mixed ? g->order[i] : 0;
		if (g->histograms)
			items[i].value = i;
		else
			memcpy(&items[i].value, &g->values[i], sizeof(double));
	}
	sorted = sort_items(items, spare, g->n);
	for (int i = 0; i < g->n; i++)
	{
		if (i + 1 < g->n && sorted[i].t_ms == sorted[i + 1].t_ms)
			continue;
		g->t_ms[kept] = sorted[i].t_ms;
		if (g->histograms)
			sorted[kept].value = sorted[i].value;
		else
			memcpy(&g->values[kept], &sorted[i].value, sizeof(double));
		kept++;
	}
	if (g->histograms)
		pick_histograms(g, sorted, kept);
	g->n = kept;
	g->sorted = true;
	g->mixed = false;
	pfree(items);
	pfree(spare);
}

/* ---- merging whole chunks ---- */

/* Inputs wait in a heap, the one with the least series first. */
typedef struct PromMergeInput
{
	PromChunkReader reader;
	int			column;			/* next to be taken */
	int64		order;
} PromMergeInput;

static int32
input_sid(const PromMergeInput *in)
{
	return in->reader.sids[in->column];
}

/* By series, then as they were added; the heap has its greatest first. */
static int
compare_inputs(Datum a, Datum b, void *arg)
{
	PromMerge  *m = arg;
	int			i = DatumGetInt32(a);
	int			j = DatumGetInt32(b);
	int32		x = input_sid(&m->inputs[i]);
	int32		y = input_sid(&m->inputs[j]);

	if (x != y)
		return x < y ? 1 : -1;
	return i < j ? 1 : -1;
}

void
prom_merge_init(PromMerge *m, MemoryContext cxt)
{
	memset(m, 0, sizeof(*m));
	prom_gather_init(&m->gather, cxt);
	m->cxt = cxt;
}

const PromChunkReader *
prom_merge_add(PromMerge *m, const PromChunk *chunk, int64 order)
{
	MemoryContext old = MemoryContextSwitchTo(m->cxt);
	PromMergeInput *in;

	Assert(m->heap == NULL);
	if (m->ninputs >= m->size)
	{
		m->size = Max(16, 2 * m->size);
		m->inputs = m->inputs ? repalloc_huge(m->inputs, m->size * sizeof(PromMergeInput)) :
			palloc(m->size * sizeof(PromMergeInput));
	}
	in = &m->inputs[m->ninputs];
	memset(in, 0, sizeof(*in));
	in->order = order;
	prom_chunk_open(&in->reader, chunk);
	if (m->shard_known && in->reader.shard != m->shard)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("chunks of different shards cannot be merged"),
				 errdetail("One is of shard %d, another of shard %d.", m->shard, in->reader.shard)));
	m->shard = in->reader.shard;
	m->shard_known = true;
	if (in->reader.nseries > 0)
		m->ninputs++;
	MemoryContextSwitchTo(old);
	return &in->reader;
}

static void
build_heap(PromMerge *m)
{
	MemoryContext old = MemoryContextSwitchTo(m->cxt);

	m->heap = binaryheap_allocate(m->ninputs, compare_inputs, m);
	for (int i = 0; i < m->ninputs; i++)
		binaryheap_add_unordered(m->heap, Int32GetDatum(i));
	binaryheap_build(m->heap);
	MemoryContextSwitchTo(old);
}

bool
prom_merge_next(PromMerge *m, int32 *sid)
{
	if (m->heap == NULL)
		build_heap(m);
	if (binaryheap_empty(m->heap))
		return false;

	CHECK_FOR_INTERRUPTS();
	prom_gather_reset(&m->gather);
	*sid = input_sid(&m->inputs[DatumGetInt32(binaryheap_first(m->heap))]);
	while (!binaryheap_empty(m->heap))
	{
		int			i = DatumGetInt32(binaryheap_first(m->heap));
		PromMergeInput *in = &m->inputs[i];

		if (input_sid(in) != *sid)
			break;
		gather_range(&m->gather, &in->reader, in->column, 0,
					 prom_chunk_count(&in->reader, in->column), in->order);
		if (++in->column < in->reader.nseries)
			binaryheap_replace_first(m->heap, Int32GetDatum(i));
		else
			(void) binaryheap_remove_first(m->heap);
	}
	prom_gather_finish(&m->gather);
	return true;
}

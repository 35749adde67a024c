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

/* Samples that were added one after the other and have one order: to the next run, or to the end. */
struct PromGatherRun
{
	int			begin;
	int64		order;
};

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
	g->nruns = 0;
	g->sorted = true;
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

	if (from > 0 && g->t_ms[from] <= g->t_ms[from - 1])
		g->sorted = false;
	if (g->nruns == 0 || g->runs[g->nruns - 1].order != order)
	{
		if (g->nruns >= g->runs_size)
		{
			g->runs_size = Max(16, 2 * g->runs_size);
			g->runs = resize(g, g->runs, g->runs_size, sizeof(*g->runs));
		}
		g->runs[g->nruns].begin = from;
		g->runs[g->nruns++].order = order;
	}
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

		g->slots[g->n + i] = NULL;
		if (h == NULL)
			continue;
		g->slots[g->n + i] = memcpy(MemoryContextAlloc(g->histogram_cxt, h->size), h, h->size);
		g->values[g->n + i] = prom_bits_double(PROM_NORMAL_NAN_BITS);
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
	int			at;				/* the sample's place */
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

/* Where sorting has to begin: every sample before has its place, and none from there on belongs before it. */
static int
unsorted_from(const PromGather *g)
{
	int			first = g->n;
	int64		least = PG_INT64_MAX;

	for (int i = g->n - 1; i > 0; i--)
	{
		if (g->t_ms[i] > g->t_ms[i - 1])
			continue;
		first = i;
		least = Min(least, g->t_ms[i]);
	}
	return least > PG_INT64_MIN ? count_until(g->t_ms, first, least - 1) : 0;
}

/* Samples [begin, end), which ascend and were added with one order. */
typedef struct Ascent
{
	int64		first_ms;
	int64		order;
	int			begin;
	int			end;
} Ascent;

static int
compare_ascents(const void *a, const void *b)
{
	const Ascent *x = a;
	const Ascent *y = b;

	if (x->first_ms != y->first_ms)
		return x->first_ms < y->first_ms ? -1 : 1;
	return x->begin < y->begin ? -1 : 1;
}

static int
compare_places(const void *a, const void *b)
{
	return ((const Ascent *) a)->begin < ((const Ascent *) b)->begin ? -1 : 1;
}

/* What ascends from "begin" on, as it was added; palloc'd. */
static Ascent *
find_ascents(const PromGather *g, int begin, int *n)
{
	int			size = 64;
	Ascent	   *ascents = MemoryContextAlloc(g->cxt, size * sizeof(Ascent));
	int			run = 0;

	*n = 0;
	for (int i = begin; i < g->n; (*n)++)
	{
		int			end;

		while (run + 1 < g->nruns && g->runs[run + 1].begin <= i)
			run++;
		end = run + 1 < g->nruns ? g->runs[run + 1].begin : g->n;
		if (*n >= size)
		{
			size *= 2;
			ascents = repalloc_huge(ascents, size * sizeof(Ascent));
		}
		ascents[*n].first_ms = g->t_ms[i];
		ascents[*n].order = g->runs[run].order;
		ascents[*n].begin = i;
		for (i++; i < end && g->t_ms[i] > g->t_ms[i - 1]; i++)
			;
		ascents[*n].end = i;
	}
	return ascents;
}

/* Samples in order, on their way back to the gather. */
typedef struct Ordered
{
	int64	   *t_ms;
	double	   *values;
	PromHistogram **slots;		/* NULL: there are no histograms */
	int			n;
} Ordered;

static void
take_ascent(Ordered *o, const PromGather *g, const Ascent *a)
{
	int			n = a->end - a->begin;

	memcpy(o->t_ms + o->n, g->t_ms + a->begin, n * sizeof(*o->t_ms));
	memcpy(o->values + o->n, g->values + a->begin, n * sizeof(*o->values));
	if (o->slots)
		memcpy(o->slots + o->n, g->slots + a->begin, n * sizeof(*o->slots));
	o->n += n;
}

/* Ascents that overlap: sample by sample, one of each time. */
static void
take_overlapping(Ordered *o, const PromGather *g, Ascent *ascents, int nascents)
{
	Item	   *items;
	Item	   *spare;
	Item	   *sorted;
	int			n = 0;

	for (int i = 0; i < nascents; i++)
		n += ascents[i].end - ascents[i].begin;
	items = MemoryContextAllocHuge(g->cxt, n * sizeof(Item));
	spare = MemoryContextAllocHuge(g->cxt, n * sizeof(Item));
	n = 0;
	qsort(ascents, nascents, sizeof(Ascent), compare_places);
	for (int i = 0; i < nascents; i++)
		for (int at = ascents[i].begin; at < ascents[i].end; at++)
			items[n++] = (Item) {g->t_ms[at], ascents[i].order, at};
	sorted = sort_items(items, spare, n);
	for (int i = 0; i < n; i++)
	{
		if (i + 1 < n && sorted[i].t_ms == sorted[i + 1].t_ms)
			continue;
		o->t_ms[o->n] = sorted[i].t_ms;
		memcpy(&o->values[o->n], &g->values[sorted[i].at], sizeof(double));
		if (o->slots)
			o->slots[o->n] = g->slots[sorted[i].at];
		o->n++;
	}
	pfree(items);
	pfree(spare);
}

void
prom_gather_drop(PromGather *g, int64 order, int64 from_ms, int64 to_ms)
{
	int			kept = 0;

	for (int run = 0; run < g->nruns; run++)
	{
		int			begin = g->runs[run].begin;
		int			end = run + 1 < g->nruns ? g->runs[run + 1].begin : g->n;
		bool		drops = g->runs[run].order <= order;

		g->runs[run].begin = kept;
		for (int i = begin; i < end; i++)
		{
			if (drops && g->t_ms[i] > from_ms && g->t_ms[i] <= to_ms)
				continue;
			g->t_ms[kept] = g->t_ms[i];
			memcpy(&g->values[kept], &g->values[i], sizeof(double));
			if (g->histograms)
				g->slots[kept] = g->slots[i];
			kept++;
		}
	}
	g->n = kept;
}

/*
 * Whole pieces are put in order first: pieces of a series seldom overlap, even if the chunks that they
 * are from do.
 */
void
prom_gather_finish(PromGather *g)
{
	Ordered		o = {NULL, NULL, NULL, 0};
	Ascent	   *ascents;
	int			nascents;
	int			begin;

	if (g->sorted)
		return;
	begin = unsorted_from(g);
	ascents = find_ascents(g, begin, &nascents);
	qsort(ascents, nascents, sizeof(Ascent), compare_ascents);
	o.t_ms = resize(g, NULL, g->n - begin, sizeof(*o.t_ms));
	o.values = resize(g, NULL, g->n - begin, sizeof(*o.values));
	if (g->histograms)
		o.slots = resize(g, NULL, g->n - begin, sizeof(*o.slots));
	for (int i = 0, next; i < nascents; i = next)
	{
		int64		end_ms = g->t_ms[ascents[i].end - 1];

		CHECK_FOR_INTERRUPTS();
		for (next = i + 1; next < nascents && ascents[next].first_ms <= end_ms; next++)
			end_ms = Max(end_ms, g->t_ms[ascents[next].end - 1]);
		if (next == i + 1)
			take_ascent(&o, g, &ascents[i]);
		else
			take_overlapping(&o, g, &ascents[i], next - i);
	}
	memcpy(g->t_ms + begin, o.t_ms, o.n * sizeof(*o.t_ms));
	memcpy(g->values + begin, o.values, o.n * sizeof(*o.values));
	if (o.slots)
	{
		memcpy(g->slots + begin, o.slots, o.n * sizeof(*o.slots));
		pfree(o.slots);
	}
	g->n = begin + o.n;
	g->sorted = true;
	pfree(o.t_ms);
	pfree(o.values);
	pfree(ascents);
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

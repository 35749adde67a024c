/*
 * dedup_fn.c
 *	  What the SQL of a deduplicating leaf (leaf_dedup.c) calls: ids of replicas, and the merge of their samples.
 *
 * Replicas of a series are an int8[], in order of their labels: shard << 32 | sid, and all but the first
 * complemented.  So a series begins at each element that is not negative, and arrays of several series can
 * be put behind one another.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "store/dedup.h"
#include "store/private.h"

/* A series as one server wrote it */
typedef struct Member
{
	int16		shard;
	int32		sid;
	int			series;			/* number in the batch */
	PromGather	gather;
} Member;

typedef struct Dedup
{
	PromDedupMethod method;
	bool		counter;
	int64		from_ms;		/* samples wanted: (from, to] */
	int64		to_ms;
	int			n;
	Member	   *member;			/* in the order given, which is that of merging */
	Member	  **by_id;			/* the same by shard and sid */
	int			nseries;
	PromChunkReader reader;
} Dedup;

PG_FUNCTION_INFO_V1(prom_replicas);
PG_FUNCTION_INFO_V1(prom_replica_blocks);
PG_FUNCTION_INFO_V1(prom_deduplicated_add);
PG_FUNCTION_INFO_V1(prom_deduplicated_done);

/* ---- ids ---- */

static const int64 *
read_ids(ArrayType *a, int *n)
{
	if (ARR_ELEMTYPE(a) != INT8OID || ARR_NDIM(a) > 1 || ARR_HASNULL(a))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("ids of replicas must be a one-dimensional array without nulls")));
	*n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
	return (int64 *) ARR_DATA_PTR(a);
}

static Member
member_of(int64 id)
{
	Member		m = {0};

	if (id < 0)
		id = ~id;
	m.shard = (int16) (id >> 32);
	m.sid = (int32) (id & 0xFFFFFFFF);
	return m;
}

typedef struct Replica
{
	int64		id;
	const PromLabels *labels;
} Replica;

static int
compare_replicas(const void *a, const void *b)
{
	return prom_labels_cmp(((const Replica *) a)->labels, ((const Replica *) b)->labels);
}

static void
read_column(ArrayType *a, int16 typlen, bool byval, char align, Datum **elements, int *n)
{
	bool	   *nulls;

	deconstruct_array(a, ARR_ELEMTYPE(a), typlen, byval, align, elements, &nulls, n);
	if (ARR_NDIM(a) > 1 || ARR_HASNULL(a))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("columns of replicas must be one-dimensional arrays without nulls")));
}

/* _replicas(shards, sids, labels) */
Datum
prom_replicas(PG_FUNCTION_ARGS)
{
	Datum	   *shards;
	Datum	   *sids;
	Datum	   *labels;
	int			n[3];
	Replica    *r;
	Datum	   *ids;

	read_column(PG_GETARG_ARRAYTYPE_P(0), sizeof(int16), true, TYPALIGN_SHORT, &shards, &n[0]);
	read_column(PG_GETARG_ARRAYTYPE_P(1), sizeof(int32), true, TYPALIGN_INT, &sids, &n[1]);
	read_column(PG_GETARG_ARRAYTYPE_P(2), -1, false, TYPALIGN_INT, &labels, &n[2]);
	if (n[0] != n[1] || n[0] != n[2])
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("columns of replicas must have the same length")));
	r = palloc(sizeof(Replica) * Max(n[0], 1));
	ids = palloc(sizeof(Datum) * Max(n[0], 1));
	for (int i = 0; i < n[0]; i++)
	{
		r[i].id = (int64) DatumGetInt16(shards[i]) << 32 | (uint32) DatumGetInt32(sids[i]);
		r[i].labels = DatumGetPromLabelsP(labels[i]);
	}
	qsort(r, n[0], sizeof(Replica), compare_replicas);
	for (int i = 0; i < n[0]; i++)
		ids[i] = Int64GetDatum(i == 0 ? r[i].id : ~r[i].id);
	PG_RETURN_ARRAYTYPE_P(construct_array(ids, n[0], INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static int
compare_members(const void *a, const void *b)
{
	const Member *x = *(Member *const *) a;
	const Member *y = *(Member *const *) b;

	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	return (x->sid > y->sid) - (x->sid < y->sid);
}

/* The members that the ids name, and a list of them by shard and sid. */
static Member *
make_members(ArrayType *ids, int *n, Member ***by_id, int *nseries)
{
	const int64 *id = read_ids(ids, n);
	Member	   *m = palloc(sizeof(Member) * Max(*n, 1));

	*by_id = palloc(sizeof(Member *) * Max(*n, 1));
	*nseries = 0;
	for (int i = 0; i < *n; i++)
	{
		if (id[i] >= 0 || i == 0)
			(*nseries)++;
		m[i] = member_of(id[i]);
		m[i].series = *nseries - 1;
		(*by_id)[i] = &m[i];
	}
	qsort(*by_id, *n, sizeof(Member *), compare_members);
	return m;
}

/* _replica_blocks(ids, OUT shard, OUT block, OUT sids) */
Datum
prom_replica_blocks(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Member	  **by_id;
	int			nseries;
	int			n;
	Datum	   *sids;

	InitMaterializedSRF(fcinfo, 0);
	(void) make_members(PG_GETARG_ARRAYTYPE_P(0), &n, &by_id, &nseries);
	sids = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0, end; i < n; i = end)
	{
		int32		block = by_id[i]->sid >> PROM_BLOCK_BITS;
		Datum		values[3] = {Int16GetDatum(by_id[i]->shard), Int32GetDatum(block)};
		bool		nulls[3] = {false};

		for (end = i; end < n && by_id[end]->shard == by_id[i]->shard && by_id[end]->sid >> PROM_BLOCK_BITS == block; end++)
			sids[end] = Int32GetDatum(by_id[end]->sid);
		values[2] = PointerGetDatum(construct_array(sids + i, end - i, INT4OID, sizeof(int32), true, TYPALIGN_INT));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ---- samples ---- */

static PromDedupMethod
read_method(const text *name)
{
	static const char *const names[] = {
		[PROM_DEDUP_PENALTY] = "penalty",[PROM_DEDUP_SEAMLESS] = "seamless",[PROM_DEDUP_CHAIN] = "chain"
	};

	for (int i = 0; i < lengthof(names); i++)
		if (strlen(names[i]) == VARSIZE_ANY_EXHDR(name) && memcmp(names[i], VARDATA_ANY(name), strlen(names[i])) == 0)
			return (PromDedupMethod) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown method of deduplication: \"%s\"", text_to_cstring(name))));
}

/* Made by the first row; arguments as those of prom_deduplicated_add. */
static Dedup *
begin(FunctionCallInfo fcinfo, MemoryContext cxt)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Dedup	   *d = palloc0(sizeof(Dedup));

	d->member = make_members(PG_GETARG_ARRAYTYPE_P(3), &d->n, &d->by_id, &d->nseries);
	d->from_ms = PG_GETARG_INT64(4);
	d->to_ms = PG_GETARG_INT64(5);
	d->method = read_method(PG_GETARG_TEXT_PP(6));
	d->counter = PG_GETARG_BOOL(7);
	for (int i = 0; i < d->n; i++)
	{
		prom_gather_init(&d->member[i].gather, cxt);
		/* the leaf's own aggregate counts one of each series */
		if (i > 0 && d->member[i].series == d->member[i - 1].series)
			prom_store_count_series();
	}
	MemoryContextSwitchTo(old);
	return d;
}

/* Adds the wanted samples of a column; returns how many. */
static int
add_column(Dedup *d, PromGather *g, int column, int64 order)
{
	int			before = g->n;
	int			count = prom_chunk_count(&d->reader, column);

	if (g->n + count > g->size)
		prom_store_need_memory(((size_t) g->size * 2 + count) * 3 * 8);
	prom_gather_column(g, &d->reader, column, d->from_ms, d->to_ms, order);
	return g->n - before;
}

/* Adds what the opened chunk has of the members. */
static int
add_chunk(Dedup *d, int64 order)
{
	int			added = 0;

	for (int i = 0; i < d->n; i++)
	{
		Member	   *m = d->by_id[i];
		int			column = m->shard == d->reader.shard ? prom_chunk_find(&d->reader, m->sid) : -1;

		if (column >= 0)
			added += add_column(d, &m->gather, column, order);
	}
	return added;
}

/* (state, data, ord, ids, from_ms, to_ms, method, counter) */
Datum
prom_deduplicated_add(PG_FUNCTION_ARGS)
{
	MemoryContext cxt;
	MemoryContext old;
	const PromChunk *chunk;
	Dedup	   *d;
	int64		order;
	int			added = 0;

	if (!AggCheckCallContext(fcinfo, &cxt))
		elog(ERROR, "prom._deduplicated_add called outside of an aggregate");
	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_POINTER(PG_GETARG_POINTER(0));
	}
	for (int i = 2; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument %d of prom._deduplicated must not be null", i)));
	d = PG_ARGISNULL(0) ? begin(fcinfo, cxt) : (Dedup *) PG_GETARG_POINTER(0);
	chunk = PG_GETARG_PROM_CHUNK_P(1);
	order = PG_GETARG_INT64(2);
	CHECK_FOR_INTERRUPTS();
	old = MemoryContextSwitchTo(cxt);
	prom_chunk_open(&d->reader, chunk);
	MemoryContextSwitchTo(old);
	if (d->reader.t_max > d->from_ms && d->reader.t_min <= d->to_ms)
		added = add_chunk(d, order);
	if (order < PROM_FRESH_ORDER)
	{
		PromScanCounts *counts = prom_store_counts();

		counts->chunks++;
		counts->chunks_used += added > 0;
		prom_store_count_samples(added);
	}
	PG_RETURN_POINTER(d);
}

static PromDedupSamples
samples_of(PromGather *g)
{
	PromDedupSamples s;

	if (!g->sorted)
		prom_store_need_memory((size_t) g->n * 2 * 3 * 8);
	prom_gather_finish(g);
	s.n = g->n;
	s.t_ms = g->t_ms;
	s.values = g->values;
	s.histograms = g->histograms;
	return s;
}

/* Room for all samples of two. */
static PromDedupSamples
make_room(const PromDedupSamples *a, const PromDedupSamples *b)
{
	PromDedupSamples s = {0};
	size_t		n = (size_t) a->n + b->n;

	prom_store_need_memory(n * 3 * 8);
	s.t_ms = palloc_extended(n * sizeof(int64), MCXT_ALLOC_HUGE);
	s.values = palloc_extended(n * sizeof(double), MCXT_ALLOC_HUGE);
	if (a->histograms || b->histograms)
		s.histograms = palloc_extended(n * sizeof(*s.histograms), MCXT_ALLOC_HUGE);
	return s;
}

/* One after the other: what the first two came to with the third, and so on. */
static PromDedupSamples
merge_members(const Dedup *d, int first, int end)
{
	PromDedupSamples all = samples_of(&d->member[first].gather);

	for (int i = first + 1; i < end; i++)
	{
		PromDedupSamples next = samples_of(&d->member[i].gather);
		PromDedupSamples both;

		if (next.n == 0)
			continue;
		if (all.n == 0)
		{
			all = next;
			continue;
		}
		both = make_room(&all, &next);
		prom_dedup_merge(d->method, d->counter, &all, &next, &both);
		all = both;
	}
	return all;
}

/* The first member of each series, by id: the order in which a chunk has them. */
static int *
first_members(const Dedup *d)
{
	int		   *first = palloc(sizeof(int) * Max(d->nseries, 1));
	int			n = 0;

	for (int i = 0; i < d->n; i++)
	{
		int			m = (int) (d->by_id[i] - d->member);

		if (m == 0 || d->member[m - 1].series != d->member[m].series)
			first[n++] = m;
	}
	return first;
}

/* A plain chunk of the series, each under the id of its first replica; their blocks are of one shard. */
Datum
prom_deduplicated_done(PG_FUNCTION_ARGS)
{
	Dedup	   *d;
	PromChunkBuilder *b;
	MemoryContext one;
	int		   *first;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "prom._deduplicated_done called outside of an aggregate");
	d = (Dedup *) PG_GETARG_POINTER(0);
	if (d->n == 0)
		PG_RETURN_NULL();
	first = first_members(d);
	b = prom_chunk_begin(PROM_CHUNK_PLAIN, d->member[0].shard);
	one = AllocSetContextCreate(CurrentMemoryContext, "replicas of a series", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < d->nseries; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(one);
		PromDedupSamples s;
		int			end = first[i];

		CHECK_FOR_INTERRUPTS();
		while (end < d->n && d->member[end].series == d->member[first[i]].series)
			end++;
		s = merge_members(d, first[i], end);
		MemoryContextSwitchTo(old);
		if (s.n > 0)
			prom_chunk_add_mixed(b, d->member[first[i]].sid, s.n, s.t_ms, s.values, s.histograms);
		MemoryContextReset(one);
	}
	MemoryContextDelete(one);
	if (prom_chunk_series(b) == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(prom_chunk_finish(b));
}

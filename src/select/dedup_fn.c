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
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "select/dedup.h"
#include "select/select.h"
#include "store/rows.h"

/* A series as one server wrote it */
typedef struct Member
{
	int16		shard;
	int32		sid;
	int			series;			/* number in the batch */
	PromGather	gather;			/* raw samples */
	PromGather *parts;			/* of rollups, by part, those of PROM_PART_RESET among the last samples; NULL: raw only */
} Member;

typedef struct Dedup
{
	PromDedupMethod method;
	bool		counter;
	int64		from_ms;		/* samples wanted: (from, to] */
	int64		to_ms;
	PromRangeSegment *segment;	/* NULL: raw only */
	int			nsegments;
	int			n;
	Member	   *member;			/* in the order given, which is that of merging */
	Member	  **by_id;			/* the same by shard and sid */
	int			nseries;
	PromChunkReader reader;
} Dedup;

StaticAssertDecl(PROM_PART_COUNT + PROM_DEDUP_POINTS == PROM_PARTS, "points of windows are what follows their counts");

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
	if (ARR_NDIM(PG_GETARG_ARRAYTYPE_P(8)) > 0)
		d->segment = prom_range_segments(PG_GETARG_ARRAYTYPE_P(8), &d->nsegments);
	for (int i = 0; i < d->n; i++)
	{
		prom_gather_init(&d->member[i].gather, cxt);
		if (d->segment)
			d->member[i].parts = palloc(sizeof(PromGather) * PROM_PARTS);
		for (int part = PROM_PART_LAST; d->segment && part < PROM_PARTS; part++)
			prom_gather_init(&d->member[i].parts[part], cxt);
		/* the leaf's own aggregate counts one of each series */
		if (i > 0 && d->member[i].series == d->member[i - 1].series)
			prom_store_count_series();
	}
	MemoryContextSwitchTo(old);
	return d;
}

static PromGather *
gather_of(Member *m, int64 order)
{
	int			part = prom_order_part(order);

	if (m->parts == NULL || part == PROM_PART_RAW)
		return &m->gather;
	return &m->parts[part == PROM_PART_RESET ? PROM_PART_LAST : part];
}

/* Adds the wanted samples of a column; returns how many. */
static int
add_column(Dedup *d, Member *m, int column, int64 order)
{
	PromGather *g = gather_of(m, order);
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
			added += add_column(d, m, column, order);
	}
	return added;
}

/* (state, data, ord, ids, from_ms, to_ms, method, counter, segments) */
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

	if (n == 0)
		return s;
	prom_store_need_memory(n * 3 * 8);
	s.t_ms = palloc_extended(n * sizeof(int64), MCXT_ALLOC_HUGE);
	s.values = palloc_extended(n * sizeof(double), MCXT_ALLOC_HUGE);
	if (a->histograms || b->histograms)
		s.histograms = palloc_extended(n * sizeof(*s.histograms), MCXT_ALLOC_HUGE);
	return s;
}

/* Appends those with from_ms < t <= to_ms. */
static void
append(PromDedupSamples *to, const PromDedupSamples *from, int64 from_ms, int64 to_ms)
{
	for (int i = 0; i < from->n && from->t_ms[i] <= to_ms; i++)
	{
		if (from->t_ms[i] <= from_ms)
			continue;
		to->t_ms[to->n] = from->t_ms[i];
		to->values[to->n] = from->values[i];
		if (to->histograms)
			to->histograms[to->n] = from->histograms ? from->histograms[i] : NULL;
		to->n++;
	}
}

/* What a replica has: raw samples in segments of raw ones, and in others the last ones of windows. */
static PromDedupSeries
series_of(Member *m, const PromDedupSegment *segments, int n)
{
	PromDedupSeries s = {samples_of(&m->gather)};
	PromDedupSamples raw = s.samples;
	PromDedupSamples last;
	int64		from_ms = PG_INT64_MIN;

	if (m->parts == NULL)
		return s;
	for (int k = 0; k < PROM_DEDUP_POINTS; k++)
		s.points[k] = samples_of(&m->parts[PROM_PART_COUNT + k]);
	last = samples_of(&m->parts[PROM_PART_LAST]);
	s.samples = make_room(&raw, &last);
	for (int i = 0; i < n; i++)
	{
		append(&s.samples, segments[i].window_ms > 0 ? &last : &raw, from_ms, segments[i].to_ms);
		from_ms = segments[i].to_ms;
	}
	return s;
}

static bool
is_empty(const PromDedupSeries *s)
{
	int			n = s->samples.n;

	for (int k = 0; k < PROM_DEDUP_POINTS; k++)
		n += s->points[k].n;
	return n == 0;
}

/* One after the other: what the first two came to with the third, and so on. */
static PromDedupSeries
merge_members(const Dedup *d, int first, int end, const PromDedupSegment *segments, int n)
{
	PromDedupSeries all = series_of(&d->member[first], segments, n);

	for (int i = first + 1; i < end; i++)
	{
		PromDedupSeries next = series_of(&d->member[i], segments, n);
		PromDedupSeries both;

		if (is_empty(&next))
			continue;
		if (is_empty(&all))
		{
			all = next;
			continue;
		}
		both.samples = make_room(&all.samples, &next.samples);
		for (int k = 0; k < PROM_DEDUP_POINTS; k++)
			both.points[k] = make_room(&all.points[k], &next.points[k]);
		prom_dedup_merge(d->method, d->counter, segments, n, &all, &next, &both);
		all = both;
	}
	return all;
}

/* The first raw sample in mixed times that any of the members has. */
static int64
first_raw(const Dedup *d, int first, int end)
{
	int64		after_ms = prom_range_mixed_from(d->segment, d->nsegments);
	int64		first_ms = PG_INT64_MAX;

	for (int i = first; i < end && after_ms < PG_INT64_MAX; i++)
	{
		const PromGather *g = &d->member[i].gather;

		for (int k = 0; k < g->n; k++)
			if (g->t_ms[k] > after_ms)
				first_ms = Min(first_ms, g->t_ms[k]);
	}
	return first_ms;
}

/* The segments of a series; where they are mixed one replica that has raw samples is enough. */
static PromDedupSegment *
segments_of(const Dedup *d, int first, int end, int *n)
{
	PromRangeSegment *unmixed = NULL;
	PromDedupSegment *segments;

	*n = d->nsegments;
	if (d->segment)
		unmixed = prom_range_unmix(d->segment, n, first_raw(d, first, end));
	else
		*n = 1;
	segments = palloc(sizeof(PromDedupSegment) * *n);
	for (int i = 0; i < *n; i++)
	{
		segments[i].to_ms = i < *n - 1 ? unmixed[i].to_ms : PG_INT64_MAX;
		segments[i].window_ms = unmixed ? unmixed[i].resolution_ms : 0;
	}
	return segments;
}

/* ---- chunks ---- */

static void
add_part(PromChunkBuilder **b, const Member *m, const PromDedupSamples *s)
{
	if (s->n == 0)
		return;
	if (*b == NULL)
		*b = prom_chunk_begin(PROM_CHUNK_PLAIN, m->shard);
	prom_chunk_add_mixed(*b, m->sid, s->n, s->t_ms, s->values, s->histograms);
}

/* Of a merged series, what is of windows is told apart again: *last, the samples kept of these. */
static void
split_samples(PromDedupSeries *s, PromDedupSamples *last, const PromDedupSegment *segments, int n)
{
	static const PromDedupSamples none = {0};
	PromDedupSamples of[2];		/* raw samples, last ones */
	int64		from_ms = PG_INT64_MIN;

	*last = none;
	if (n == 1 && segments->window_ms == 0)
		return;
	of[0] = make_room(&s->samples, &none);
	of[1] = make_room(&s->samples, &none);
	for (int i = 0; i < n; i++)
	{
		append(&of[segments[i].window_ms > 0], &s->samples, from_ms, segments[i].to_ms);
		from_ms = segments[i].to_ms;
	}
	s->samples = of[0];
	*last = of[1];
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

/* An array of chunks; NULL where there is none. */
static Datum
finish_parts(PromChunkBuilder **parts, Oid array_type)
{
	Datum		chunks[PROM_PARTS];
	bool		nulls[PROM_PARTS];
	int			dims[1] = {PROM_PARTS};
	int			lbs[1] = {1};
	Oid			type = get_element_type(array_type);
	int16		typlen;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &typlen, &byval, &align);
	for (int part = 0; part < PROM_PARTS; part++)
	{
		nulls[part] = parts[part] == NULL;
		chunks[part] = nulls[part] ? (Datum) 0 : PointerGetDatum(prom_chunk_finish(parts[part]));
	}
	return PointerGetDatum(construct_md_array(chunks, nulls, 1, dims, lbs, type, typlen, byval, align));
}

/* By part plain chunks of the series, each under the id of its first replica; their blocks are of one shard. */
Datum
prom_deduplicated_done(PG_FUNCTION_ARGS)
{
	Dedup	   *d;
	PromChunkBuilder *parts[PROM_PARTS] = {NULL};
	MemoryContext one;
	int		   *first;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "prom._deduplicated_done called outside of an aggregate");
	d = (Dedup *) PG_GETARG_POINTER(0);
	first = first_members(d);
	one = AllocSetContextCreate(CurrentMemoryContext, "replicas of a series", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < d->nseries; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(one);
		PromDedupSegment *segments;
		PromDedupSeries s;
		PromDedupSamples last;
		const Member *m = &d->member[first[i]];
		int			end = first[i];
		int			n;

		CHECK_FOR_INTERRUPTS();
		while (end < d->n && d->member[end].series == m->series)
			end++;
		segments = segments_of(d, first[i], end, &n);
		s = merge_members(d, first[i], end, segments, n);
		split_samples(&s, &last, segments, n);
		MemoryContextSwitchTo(old);
		add_part(&parts[PROM_PART_RAW], m, &s.samples);
		add_part(&parts[PROM_PART_LAST], m, &last);
		for (int k = 0; k < PROM_DEDUP_POINTS; k++)
			add_part(&parts[PROM_PART_COUNT + k], m, &s.points[k]);
		MemoryContextReset(one);
	}
	MemoryContextDelete(one);
	PG_RETURN_DATUM(finish_parts(parts, get_fn_expr_rettype(fcinfo->flinfo)));
}

/*
 * tier_scan.c
 *	  What the SQL of a leaf reads from buckets: the chunks of a block of series, with those to come on their way.
 *
 * prom._tier is called for one block after another, and knows all series that the leaf is about ("wanted").  So it
 * plans ahead: of the next blocks it looks up which chunks in which objects hold their samples (the objects'
 * directories are rows of prom.tier_object: no request is made for that), and puts chunks that lie near each
 * other in an object together into spans, one request each.  A plan is of a window of blocks, which does not depend on
 * the one that is asked for first.
 *
 * The order of the blocks is the executor's: ascending, descending if it was a hash join that emitted them, or that of
 * the labels if each series is asked for by itself.  So spans are asked for ahead from the block that is read now
 * on, upwards or downwards as the last steps went, and a span is used up when all series of its chunks
 * were asked for.  As long as memory holds what is needed again, each span is fetched once.
 *
 * Memory: a plan has about MAX_PLANNED chunks, then the next blocks are planned; the bytes are tier_fetch.c's.
 * What is between the chunks of a span is at most a quarter of them.
 *
 * All of it lives as long as the executor's node, in fn_mcxt.  Who is subject to row security, or may not read all
 * of prom.series, gets samples of the series that prom.series shows him, as in visible.c.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "archive/tier_read.h"

#define MAX_PLANNED		65536
#define MAX_GAP			(64 * 1024)
#define MAX_SEQ			(INT64CONST(1) << 56)

/* A block of which series are wanted. */
typedef struct Target
{
	int16		shard;
	int32		block;
	uint64		series;			/* bit i: the one of block << PROM_BLOCK_BITS | i */
	uint64		left;			/* those not asked for yet, while it is planned */
} Target;

/* A chunk that is wanted. */
typedef struct Want
{
	PromObjectEntry entry;
	const PromTierObject *object;
	PromSpan   *span;
	int			target;			/* index */
} Want;

typedef struct TierScan
{
	MemoryContext context;
	bool		restricted;
	int32		resolution_s;
	int			parts;			/* 1 << PromRollupPart */
	PromScanRange range;
	PromTierObject *object;		/* of all shards that are wanted */
	int			nobjects;
	bool	   *counted;		/* by object: some of its chunks were planned */
	Target	   *target;			/* ascending */
	int			ntargets;
	PromFetch  *fetch;
	/* the plan: of targets from "first" to before "end" */
	MemoryContext plan_cxt;
	int			first;
	int			end;
	Want	   *want;			/* by target */
	int			nwants;
	PromSpan  **up;				/* spans in the order of their use, upwards */
	PromSpan  **down;			/* and downwards */
	int			nspans;
	/* where it is read */
	int			now;			/* the target */
	bool		descending;
	int			ahead;			/* where in up or down what comes next begins; it goes round */
	int			passed;			/* how many from there need not be asked for */
} TierScan;

static TierScan *begin_scan(FunctionCallInfo fcinfo);
static bool is_restricted(void);
static int	parts_of(ArrayType *a);
static void set_targets(TierScan *s, ArrayType *wanted);
static void make_plan(TierScan *s, int first);
static void find_wants(TierScan *s);
static void make_spans(TierScan *s);
static void read_block(TierScan *s, const Target *t, const int32 *sids, int nsids, ReturnSetInfo *rsinfo);
static int	find_target(const TierScan *s, const Target *t);
static void begin_pass(TierScan *s, int target);
static void follow(TierScan *s, int target);
static void ask_ahead(TierScan *s);
static void finish_target(TierScan *s, int target);
static void put_row(TierScan *s, const Want *w, const int32 *sids, int nsids, ReturnSetInfo *rsinfo);

PG_FUNCTION_INFO_V1(prom_tier_rows);
PG_FUNCTION_INFO_V1(prom_tier_holds);

/* qsort: ids */
static int
compare_sids(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return (x > y) - (x < y);
}

/* _tier(shard, sids, resolution, parts, from_ms, to_ms, wanted, OUT data, OUT ord) */
Datum
prom_tier_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TierScan   *s = fcinfo->flinfo->fn_extra;
	int16		shard = PG_GETARG_INT16(0);
	Datum		array = PG_GETARG_DATUM(1);
	int32	   *sids;
	int			nsids;

	InitMaterializedSRF(fcinfo, 0);
	if (s == NULL)
		s = fcinfo->flinfo->fn_extra = begin_scan(fcinfo);
	if (s->nobjects == 0)
		return (Datum) 0;
	if (s->restricted)
		SPI_connect();
	/* in a copy, ascending: a leaf has them in the order of its rows */
	sids = s->restricted ? prom_visible_sids(shard, array, &array, &nsids) : prom_store_sids(DatumGetArrayTypePCopy(array), &nsids);
	qsort(sids, nsids, sizeof(int32), compare_sids);
	for (int i = 0; i < nsids;)
	{
		Target		t = {shard, sids[i] >> PROM_BLOCK_BITS};
		int			begin = i;

		for (; i < nsids && sids[i] >> PROM_BLOCK_BITS == t.block; i++)
			t.series |= UINT64CONST(1) << (sids[i] & ((1 << PROM_BLOCK_BITS) - 1));
		read_block(s, &t, &sids[begin], i - begin, rsinfo);
	}
	if (s->restricted)
		SPI_finish();
	return (Datum) 0;
}

static TierScan *
begin_scan(FunctionCallInfo fcinfo)
{
	MemoryContext context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "promgres tier scan", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TierScan   *s = palloc0(sizeof(TierScan));

	s->context = context;
	s->restricted = is_restricted();
	s->resolution_s = PG_GETARG_INT32(2);
	s->parts = s->resolution_s > 0 ? parts_of(PG_GETARG_ARRAYTYPE_P(3)) : 1 << PROM_PART_RAW;
	s->range = (PromScanRange) {PG_GETARG_INT64(4), PG_GETARG_INT64(5)};
	s->object = prom_tier_all_objects(s->resolution_s, s->range, &s->nobjects);
	s->counted = palloc0(sizeof(bool) * Max(s->nobjects, 1));
	set_targets(s, PG_GETARG_ARRAYTYPE_P(6));
	s->plan_cxt = AllocSetContextCreate(context, "promgres tier plan", ALLOCSET_DEFAULT_SIZES);
	s->fetch = prom_fetch_begin();
	MemoryContextSwitchTo(old);
	return s;
}

/* Is the current user to get samples of some series only? */
static bool
is_restricted(void)
{
	return prom_series_restricted() || pg_class_aclcheck(prom_store_relid("series"), GetUserId(), ACL_SELECT) != ACLCHECK_OK;
}

static int
parts_of(ArrayType *a)
{
	int			n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
	int			parts = 0;

	if (ARR_ELEMTYPE(a) != INT2OID || ARR_NDIM(a) > 1 || ARR_HASNULL(a))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("parts must be a one-dimensional array without nulls")));
	for (int i = 0; i < n; i++)
	{
		int16		part = ((int16 *) ARR_DATA_PTR(a))[i];

		if (part > PROM_PART_RAW && part < PROM_PARTS)
			parts |= 1 << part;
	}
	return parts;
}

/* ---- what is wanted ---- */

/* qsort: shard << 32 | sid */
static int
compare_keys(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* From the ids of all series that the leaf is about, each with its shard. */
static void
set_targets(TierScan *s, ArrayType *wanted)
{
	int			n = ArrayGetNItems(ARR_NDIM(wanted), ARR_DIMS(wanted));
	int64	   *keys;

	if (ARR_ELEMTYPE(wanted) != INT8OID || ARR_NDIM(wanted) > 1 || ARR_HASNULL(wanted))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("series must be a one-dimensional array without nulls")));
	prom_store_need_memory(n * (sizeof(int64) + sizeof(Target)));
	keys = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * Max(n, 1));
	memcpy(keys, ARR_DATA_PTR(wanted), sizeof(int64) * n);
	qsort(keys, n, sizeof(int64), compare_keys);
	s->target = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Target) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		Target		t = {(int16) (keys[i] >> 32), (int32) (keys[i] & PG_UINT32_MAX) >> PROM_BLOCK_BITS};
		Target	   *last = s->ntargets > 0 ? &s->target[s->ntargets - 1] : NULL;

		if (last == NULL || last->shard != t.shard || last->block != t.block)
			s->target[s->ntargets++] = t;
		s->target[s->ntargets - 1].series |= UINT64CONST(1) << (keys[i] & ((1 << PROM_BLOCK_BITS) - 1));
	}
	pfree(keys);
}

/* The index of a block among the targets, or of the first after it. */
static int
find_target(const TierScan *s, const Target *t)
{
	int			low = 0;
	int			high = s->ntargets;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		const Target *x = &s->target[middle];

		if (x->shard < t->shard || (x->shard == t->shard && x->block < t->block))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Make sure that a block is among the targets: its index. */
static int
add_target(TierScan *s, const Target *t)
{
	int			i = find_target(s, t);

	if (i < s->ntargets && s->target[i].shard == t->shard && s->target[i].block == t->block)
	{
		/* more of its series than were foretold? */
		if ((t->series & ~s->target[i].series) != 0)
		{
			s->target[i].series |= t->series;
			s->end = s->first;
		}
		return i;
	}
	s->target = repalloc_huge(s->target, sizeof(Target) * (s->ntargets + 1));
	memmove(&s->target[i + 1], &s->target[i], sizeof(Target) * (s->ntargets - i));
	s->target[i] = *t;
	s->ntargets++;
	s->end = s->first;
	return i;
}

/* ---- the plan ---- */

/* Of the window that a target is in: of as many as there is room for. */
static void
make_plan(TierScan *s, int target)
{
	MemoryContext old;
	int			nparts = pg_popcount32((uint32) s->parts);
	int			width = Max(1, MAX_PLANNED / Max(s->nobjects * nparts, 1));

	prom_fetch_reset(s->fetch);
	MemoryContextReset(s->plan_cxt);
	old = MemoryContextSwitchTo(s->plan_cxt);
	s->first = target - target % width;
	s->end = Min(s->ntargets, s->first + width);
	s->nwants = s->nspans = 0;
	find_wants(s);
	make_spans(s);
	begin_pass(s, target);
	MemoryContextSwitchTo(old);
}

/* Does it hold samples of the target's series and of the time? */
static bool
is_wanted(const TierScan *s, const Target *t, const PromTierObject *o, const PromObjectEntry *e)
{
	return (e->series & t->series) != 0 && e->t_max > s->range.from_ms && e->t_min <= s->range.to_ms &&
		(prom_holes_left(o->holes, o->resolution_s, e, s->range) & t->series) != 0;
}

static void
add_want(TierScan *s, int *size, const PromTierObject *o, const PromObjectEntry *e, int target)
{
	if (s->nwants == *size)
	{
		*size *= 2;
		prom_store_need_memory(*size * (sizeof(Want) + sizeof(PromSpan)));
		s->want = repalloc_huge(s->want, *size * sizeof(Want));
	}
	s->want[s->nwants++] = (Want) {*e, o, NULL, target};
}

/* The wanted chunks of an object, ascending as they lie in it. */
static void
find_in_object(TierScan *s, int *size, const PromTierObject *o)
{
	PromDirectory *d = NULL;

	for (int part = 0; part < PROM_PARTS; part++)
	{
		if ((s->parts & (1 << part)) == 0)
			continue;
		for (int i = s->first; i < s->end; i++)
		{
			const Target *t = &s->target[i];

			if (t->shard != o->shard || t->block < o->block_min || t->block > o->block_max || prom_tier_is_gone(o, t->block))
				continue;
			if (d == NULL)
				d = prom_tier_open_directory(o->id);
			for (int k = prom_object_directory_find(d, (int16) part, t->block);
				 k < d->n && d->entry[k].part == part && d->entry[k].block == t->block; k++)
			{
				if (is_wanted(s, t, o, &d->entry[k]))
					add_want(s, size, o, &d->entry[k], i);
			}
		}
	}
}

static void
find_wants(TierScan *s)
{
	MemoryContext plan = CurrentMemoryContext;
	MemoryContext once = AllocSetContextCreate(plan, "promgres directory", ALLOCSET_DEFAULT_SIZES);
	int			size = 64;

	s->want = palloc(sizeof(Want) * size);
	for (int i = 0; i < s->nobjects; i++)
	{
		int			before = s->nwants;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(once);
		find_in_object(s, &size, &s->object[i]);
		MemoryContextReset(once);
		if (s->nwants > before && !s->counted[i])
		{
			prom_store_counts()->tier_objects++;
			s->counted[i] = true;
		}
	}
	MemoryContextSwitchTo(plan);
	MemoryContextDelete(once);
}

/* qsort: when spans are needed first, upwards */
static int
compare_up(const void *a, const void *b)
{
	const PromSpan *x = *(PromSpan *const *) a;
	const PromSpan *y = *(PromSpan *const *) b;

	if (x->first_use != y->first_use)
		return x->first_use < y->first_use ? -1 : 1;
	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

/* qsort: the same downwards */
static int
compare_down(const void *a, const void *b)
{
	const PromSpan *x = *(PromSpan *const *) a;
	const PromSpan *y = *(PromSpan *const *) b;

	if (x->last_use != y->last_use)
		return x->last_use > y->last_use ? -1 : 1;
	return compare_up(a, b);
}

/* qsort: by target, then as found: objects by time, each as it lies */
static int
compare_wants(const void *a, const void *b)
{
	const Want *x = a;
	const Want *y = b;

	if (x->target != y->target)
		return x->target - y->target;
	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	return (x->entry.offset > y->entry.offset) - (x->entry.offset < y->entry.offset);
}

/* May the chunk join the span, which then has so many bytes of wanted chunks? */
static bool
joins(const PromSpan *span, const Want *w, int64 needed, int64 most)
{
	int64		length = w->entry.offset + w->entry.length - span->offset;
	int64		gap = w->entry.offset - span->offset - span->length;

	return span->object == w->object && gap >= 0 && gap <= MAX_GAP && length <= most && length - needed <= needed / 4;
}

/* Chunks that lie near each other become a span. */
static void
make_spans(TierScan *s)
{
	PromObjectEntry *chunk = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(*chunk) * Max(s->nwants, 1));
	int64		most = prom_fetch_span_bytes(s->nobjects * pg_popcount32((uint32) s->parts));
	PromSpan   *span = NULL;
	int64		needed = 0;

	s->up = palloc(sizeof(PromSpan *) * Max(s->nwants, 1));
	for (int i = 0; i < s->nwants; i++)
	{
		Want	   *w = &s->want[i];

		if (span == NULL || !joins(span, w, needed + w->entry.length, most))
		{
			span = s->up[s->nspans++] = palloc0(sizeof(PromSpan));
			span->object = w->object;
			span->offset = w->entry.offset;
			span->chunk = &chunk[i];
			span->first_use = w->target;
			needed = 0;
		}
		w->span = span;
		chunk[i] = w->entry;
		needed += w->entry.length;
		span->length = (int32) (w->entry.offset + w->entry.length - span->offset);
		span->nchunks++;
		span->first_use = Min(span->first_use, w->target);
		span->last_use = Max(span->last_use, w->target);
	}
	s->down = palloc(sizeof(PromSpan *) * Max(s->nspans, 1));
	memcpy(s->down, s->up, sizeof(PromSpan *) * s->nspans);
	qsort(s->up, s->nspans, sizeof(PromSpan *), compare_up);
	qsort(s->down, s->nspans, sizeof(PromSpan *), compare_down);
	qsort(s->want, s->nwants, sizeof(Want), compare_wants);
}

/* ---- reading ---- */

/* The first wanted chunk of a target. */
static int
find_want(const TierScan *s, int target)
{
	int			low = 0;
	int			high = s->nwants;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (s->want[middle].target < target)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* What is used at a target, and then on, in the direction of reading, comes next. */
static void
look_ahead(TierScan *s, int target)
{
	int			low = 0;
	int			high = s->nspans;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (s->descending ? s->down[middle]->last_use > target : s->up[middle]->first_use < target)
			low = middle + 1;
		else
			high = middle;
	}
	s->ahead = low;
	s->passed = 0;
}

/* All that is planned is to be read, from a target on: who does not begin with the first goes down. */
static void
begin_pass(TierScan *s, int target)
{
	for (int i = s->first; i < s->end; i++)
		s->target[i].left = s->target[i].series;
	for (int i = 0; i < s->nspans; i++)
	{
		s->up[i]->nleft = s->up[i]->nchunks;
		s->up[i]->asked = false;
	}
	s->now = target;
	s->descending = target > s->first;
	look_ahead(s, target);
}

/* A target is read now.  A single step tells the direction; after a leap it goes on there as it went before. */
static void
follow(TierScan *s, int target)
{
	int			step = target - s->now;

	s->now = target;
	if (step == 0 || step == (s->descending ? -1 : 1))
		return;
	if (step == 1 || step == -1)
		s->descending = step < 0;
	look_ahead(s, target);
}

/* Once each: what had to make room is not fetched again before somebody waits for it. */
static void
ask_ahead(TierScan *s)
{
	for (; s->passed < s->nspans; s->passed++)
	{
		PromSpan   *span = (s->descending ? s->down : s->up)[(s->ahead + s->passed) % s->nspans];

		if (!span->asked && span->nleft > 0 && !prom_fetch_ahead(s->fetch, span))
			break;
	}
}

/* All of its series were asked for. */
static void
finish_target(TierScan *s, int target)
{
	for (int i = find_want(s, target); i < s->nwants && s->want[i].target == target; i++)
		s->want[i].span->nleft--;
}

static void
read_block(TierScan *s, const Target *t, const int32 *sids, int nsids, ReturnSetInfo *rsinfo)
{
	MemoryContext old = MemoryContextSwitchTo(s->context);
	int			target = add_target(s, t);
	int			begin;

	if (target < s->first || target >= s->end)
		make_plan(s, target);
	else if ((t->series & ~s->target[target].left) != 0)
		begin_pass(s, target);	/* the executor begins anew */
	else
		follow(s, target);
	MemoryContextSwitchTo(old);
	begin = find_want(s, target);
	/* what is waited for comes together */
	for (int i = begin; i < s->nwants && s->want[i].target == target; i++)
		if (is_wanted(s, t, s->want[i].object, &s->want[i].entry) && !prom_fetch_ahead(s->fetch, s->want[i].span))
			break;
	for (int i = begin; i < s->nwants && s->want[i].target == target; i++)
	{
		const Want *w = &s->want[i];

		CHECK_FOR_INTERRUPTS();
		if (!is_wanted(s, t, w->object, &w->entry))
			continue;
		ask_ahead(s);
		if (prom_fetch_wait(s->fetch, w->span, target))
			put_row(s, w, sids, nsids, rsinfo);
	}
	s->target[target].left &= ~t->series;
	if (s->target[target].left == 0)
		finish_target(s, target);
}

static void
put_row(TierScan *s, const Want *w, const int32 *sids, int nsids, ReturnSetInfo *rsinfo)
{
	PromChunk  *chunk = prom_object_chunk(&w->entry, w->span->body + (w->entry.offset - w->span->offset));
	PromChunk  *given = prom_holes_take(w->object->holes, w->object->resolution_s, &w->entry, chunk, PROM_CHUNK_PLAIN);
	int64		seq = Min(Max(w->object->seq, 0), MAX_SEQ);
	Datum		values[2] = {0,
	Int64GetDatum(s->resolution_s > 0 ? PROM_TIER_ROLLUP_ORDER + seq * 8 + w->entry.part : PROM_TIER_ORDER + seq)};
	bool		nulls[2] = {false};

	/* what somebody else has written may be of another shard there */
	if (given != NULL && (s->restricted || prom_store_shard(given) != w->object->shard))
		given = prom_store_only(given, w->object->shard, sids, nsids, s->range);
	values[0] = PointerGetDatum(given);
	if (given != NULL)
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	if (given != NULL && given != chunk)
		pfree(given);
	pfree(chunk);
}

/* ---- which series there are ---- */

typedef struct HeldKey
{
	int32		shard;
	int32		block;
} HeldKey;

typedef struct Held
{
	HeldKey		key;
	uint64		series;
} Held;

typedef struct Holdings
{
	HTAB	   *blocks;
	bool		restricted;
} Holdings;

/* What all objects of the time hold, by their directories. */
static Holdings *
begin_holdings(MemoryContext context, int32 resolution_s, PromScanRange range)
{
	HASHCTL		control = {.keysize = sizeof(HeldKey),.entrysize = sizeof(Held),.hcxt = context};
	MemoryContext once = AllocSetContextCreate(CurrentMemoryContext, "promgres directory", ALLOCSET_DEFAULT_SIZES);
	Holdings   *h = MemoryContextAllocZero(context, sizeof(Holdings));
	int			n;
	PromTierObject *objects = prom_tier_all_objects(resolution_s, range, &n);

	h->restricted = is_restricted();
	h->blocks = hash_create("promgres tier holdings", 1024, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(once);
		PromDirectory *d = prom_tier_open_directory(objects[i].id);

		CHECK_FOR_INTERRUPTS();
		for (int k = 0; k < d->n; k++)
		{
			const PromObjectEntry *e = &d->entry[k];
			HeldKey		key = {objects[i].shard, e->block};
			Held	   *held;
			bool		found;

			if (e->part > PROM_PART_LAST || e->t_max <= range.from_ms || e->t_min > range.to_ms ||
				prom_tier_is_gone(&objects[i], e->block))
				continue;
			held = hash_search(h->blocks, &key, HASH_ENTER, &found);
			held->series = (found ? held->series : 0) | prom_holes_left(objects[i].holes, resolution_s, e, range);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(once);
	}
	MemoryContextDelete(once);
	return h;
}

/* Does prom.series show the current user a series? */
static bool
shows(int16 shard, int32 sid)
{
	Datum		one = Int32GetDatum(sid);
	Datum		array = PointerGetDatum(construct_array(&one, 1, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	int			n;

	SPI_connect();
	(void) prom_visible_sids(shard, array, &array, &n);
	SPI_finish();
	return n > 0;
}

/* _tier_holds(shard, sid, resolution, from_ms, to_ms) */
Datum
prom_tier_holds(PG_FUNCTION_ARGS)
{
	Holdings   *h = fcinfo->flinfo->fn_extra;
	int32		sid = PG_GETARG_INT32(1);
	HeldKey		key = {PG_GETARG_INT16(0), sid >> PROM_BLOCK_BITS};
	const Held *held;

	if (h == NULL)
		h = fcinfo->flinfo->fn_extra = begin_holdings(fcinfo->flinfo->fn_mcxt, PG_GETARG_INT32(2),
													  (PromScanRange) {PG_GETARG_INT64(3), PG_GETARG_INT64(4)});
	held = hash_search(h->blocks, &key, HASH_FIND, NULL);
	if (held == NULL || (held->series >> (sid & ((1 << PROM_BLOCK_BITS) - 1)) & 1) == 0)
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(!h->restricted || shows((int16) key.shard, sid));
}

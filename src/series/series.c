/*
 * series.c
 *	  Label set -> id: find or create, many at a time.
 *
 * A series is found by 32 bits of the hash of its canonical bytes, which then are compared.  Those not
 * found are made while the row of their shard in prom.shard is locked: only its holder creates, and writes that row, so
 * after another look, unless the row is as it was before the first, the ids can be given out and all rows inserted without meeting anyone.  That
 * lock is what keeps label sets unique.  Shards are locked in ascending order and before any row is
 * written, hence two senders of the same new series wait but do not deadlock.
 *
 * Ids are given out in pieces of blocks of 64, a piece to one metric name; rows hold samples of one block.
 * A piece is three times as long as what the metric has, or as many as it gets now if that is more: of what was given out
 * a quarter is in use at least, and a metric that grows one by one is in four pieces when it has filled 64.
 * From 64 on it is a block of the metric's own.  Shorter ones are cut from one open block in the order in which they
 * are asked for: most metrics of a small fleet have a few series, which would leave blocks, and with them rows, nearly
 * empty; cut in that order a block holds what was scraped together, whose times are the same.  A piece ends
 * with its block, and what is missing comes from the next one, so that no gap is left.
 *
 * Whoever makes many series one by one in a transaction leaves as many versions of the rows that count them, and none of
 * them can go before its end.  So the last version is remembered by its place, where it is looked for first: what is
 * seen there with the right key is the row, whoever has written it.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "series/cache.h"
#include "series/hashmap.h"
#include "series/labels.h"
#include "series/limits.h"
#include "series/statement.h"

#define BLOCK_SLOTS			64
#define PIECE_GROWTH		3		/* ids of a piece for each series that the metric has */
#define MAX_BLOCK			(PG_INT32_MAX / BLOCK_SLOTS - 1)
#define METRIC_KEY_BYTES	1024

/* So many series are looked up and made with one statement each. */
#define SLICE_SERIES		8192

/* One wanted label set of a slice, however often it is wanted. */
typedef struct Wanted
{
	PromSeriesWant *want;		/* the first */
	PromSeriesId id;			/* sid is PROM_HASHMAP_FREE while it is unknown */
	int32		hash;			/* by which prom.series is searched */
	int			metric;			/* index in the list of metrics, while it is made */
	char	   *refused;		/* why it is not made */
} Wanted;

typedef struct Metric
{
	Datum		name;			/* text, cut to METRIC_KEY_BYTES */
	int32		next_sid;		/* of its piece; end_sid: none is left */
	int32		end_sid;
	int32		series;			/* those that are being made are counted */
	int32		known;			/* those that are not */
	int32		given;			/* ids, to those that are being made */
} Metric;

/* What the row of a shard says, and what is in the other shards. */
typedef struct Shard
{
	int16		shard;
	int32		next_block;
	int32		next_sid;		/* of the open block; at its end: there is none */
	int64		series;			/* of all shards, if there is a limit for them */
	ItemPointerData place;		/* invalid: there is no row */
	TransactionId xmin;
} Shard;

/* Where the row of a shard, or of one of its metrics, was written last; a guess. */
typedef struct Place
{
	int16		shard;
	ItemPointerData tid;		/* invalid: none */
} Place;

static Place last_shard;
static Place last_metric;

PG_FUNCTION_INFO_V1(prom_series_id);
PG_FUNCTION_INFO_V1(prom_metric_key);
PG_FUNCTION_INFO_V1(prom_label_digest);
PG_FUNCTION_INFO_V1(prom_series_removed);

static int	resolve_slice(PromSeriesWant *want, int n, MemoryContext caller);
static int16 shard_of(const PromLabels *l);
static int	find_series(Wanted **list, int n);
static int	make_series(Wanted **list, int n, Shard seen);
static int	refuse_hopeless(Wanted **list, int n);
static void find_shard(int16 shard, bool count, PromStatement at, PromStatement anywhere);
static Shard see_shard(int16 shard, bool count);
static Shard lock_shard(int16 shard);
static bool same_version(Shard a, Shard b);
static Shard shard_result(int16 shard);
static bool is_place_of(const Place *p, int16 shard);
static void set_place(Place *p, int16 shard, int column);
static void make_in_shard(int16 shard, Wanted **list, int n);
static Metric *find_metrics(int16 shard, Wanted **list, int n, int *nmetrics);
static text *metric_key(const PromLabels *l);
static int	admit(Wanted **list, int n, Metric *metrics, int64 series);
static void save_metrics(int16 shard, const Metric *metrics, int n);
static void take_piece(Metric *metric, Shard *locked);
static int32 take_block(Shard *locked);
static void add_series(int16 shard, Wanted **list, int n);
static void add_values(int16 shard, Wanted **list, int n);
static Datum array_of(Datum *elements, int n, Oid type);
static Datum uuid_of(PromSeriesHash hash);

void
prom_series_init(void)
{
	prom_series_cache_init();
	prom_limits_init();
}

int
prom_series_resolve(PromSeriesWant *want, int n)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext slice_context = AllocSetContextCreate(caller, "promgres series",
														ALLOCSET_DEFAULT_SIZES);
	int			made = 0;

	for (int done = 0; done < n; done += SLICE_SERIES)
	{
		MemoryContext old;
		int			nest_level;

		CHECK_FOR_INTERRUPTS();
		nest_level = prom_begin_statements();
		old = MemoryContextSwitchTo(slice_context);
		made += resolve_slice(want + done, Min(n - done, SLICE_SERIES), caller);
		MemoryContextSwitchTo(old);
		prom_end_statements(nest_level);
		MemoryContextReset(slice_context);
	}
	MemoryContextDelete(slice_context);
	return made;
}

int64
prom_series_removals(void)
{
	int			nest_level = prom_begin_statements();
	int64		removals;

	prom_run_statement(PROM_SUM_REMOVALS, NULL);
	removals = prom_result_int(0, 1);
	prom_end_statements(nest_level);
	return removals;
}

Datum
prom_series_id(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	PromSeriesWant want = {prom_series_raw_hash(VARDATA_ANY(l), VARSIZE_ANY_EXHDR(l)), l, {0, 0}, NULL};
	TupleDesc	tupdesc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	prom_series_begin();
	if (!prom_series_cached(want.raw, &want.id))
		prom_series_resolve(&want, 1);
	if (want.refused)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("%s", want.refused)));
	values[0] = Int16GetDatum(want.id.shard);
	values[1] = Int32GetDatum(want.id.sid);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

/* The name under which prom.metric counts a series. */
Datum
prom_metric_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(metric_key(PG_GETARG_PROM_LABELS_P(0)));
}

/* To be called by whoever removed series: every backend looks at prom.shard.removals again. */
Datum
prom_series_removed(PG_FUNCTION_ARGS)
{
	CacheInvalidateRelcacheByRelid(prom_series_lock());
	PG_RETURN_VOID();
}

/* Returns how many series were made. */
static int
resolve_slice(PromSeriesWant *want, int n, MemoryContext caller)
{
	PromHashMap seen = {CurrentMemoryContext};
	Wanted	   *wanted = palloc(n * sizeof(Wanted));
	Wanted	  **list = palloc(n * sizeof(Wanted *));
	int		   *which = palloc(n * sizeof(int));
	int			nwanted = 0;
	int			nlist;
	int			made = 0;
	Shard		seen_shard;

	prom_hashmap_reserve(&seen, n);
	for (int i = 0; i < n; i++)
	{
		PromLabels *l = want[i].labels;
		PromSeriesHash key = prom_series_raw_hash(VARDATA_ANY(l), VARSIZE_ANY_EXHDR(l));
		PromHashEntry *e = prom_hashmap_find(&seen, key);
		Wanted	   *w = &wanted[nwanted];

		which[i] = e ? e->id.sid : nwanted;
		if (e)
			continue;
		w->want = &want[i];
		w->id = (PromSeriesId) {shard_of(l), PROM_HASHMAP_FREE};
		w->refused = NULL;
		w->hash = (int32) (uint32) prom_labels_hash(l);
		prom_hashmap_put(&seen, key, (PromSeriesId) {0, nwanted});
		list[nwanted++] = w;
	}

	seen_shard = see_shard(list[0]->id.shard, false);
	nlist = find_series(list, nwanted);
	if (nlist > 0)
		made = make_series(list, nlist, seen_shard);
	for (int i = 0; i < n; i++)
	{
		const Wanted *w = &wanted[which[i]];

		want[i].id = w->id;
		want[i].refused = NULL;
		if (w->refused == NULL)
			prom_series_learn(want[i].raw, want[i].id);
		else
			want[i].refused = MemoryContextStrdup(caller, w->refused);
	}
	return made;
}

/* One server holds one shard. */
static int16
shard_of(const PromLabels *l)
{
	return 0;
}

/* In the order of the index on hashes: neighbours find their pages in the processor's cache. */
static int
compare_keys(const void *a, const void *b)
{
	const Wanted *wa = *(Wanted *const *) a;
	const Wanted *wb = *(Wanted *const *) b;

	if (wa->id.shard != wb->id.shard)
		return wa->id.shard < wb->id.shard ? -1 : 1;
	return (wa->hash > wb->hash) - (wa->hash < wb->hash);
}

/* Fills in the ids that exist; those without stay in the list, in their order.  Returns how many. */
static int
find_series(Wanted **list, int n)
{
	Wanted	  **by_key = palloc(n * sizeof(Wanted *));
	Datum	   *shards = palloc(n * sizeof(Datum));
	Datum	   *hashes = palloc(n * sizeof(Datum));
	Datum		args[2];
	int			unknown = 0;

	memcpy(by_key, list, n * sizeof(Wanted *));
	qsort(by_key, n, sizeof(Wanted *), compare_keys);
	for (int i = 0; i < n; i++)
	{
		shards[i] = Int16GetDatum(by_key[i]->id.shard);
		hashes[i] = Int32GetDatum(by_key[i]->hash);
	}
	args[0] = array_of(shards, n, INT2OID);
	args[1] = array_of(hashes, n, INT4OID);
	prom_run_statement(PROM_FIND_SERIES, args);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		Wanted	   *w = by_key[prom_result_int(row, 1) - 1];
		bool		isnull;
		Datum		labels = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 3, &isnull);

		if (prom_labels_cmp(DatumGetPromLabelsP(labels), w->want->labels) == 0)
			w->id.sid = (int32) prom_result_int(row, 2);
	}
	SPI_freetuptable(SPI_tuptable);

	for (int i = 0; i < n; i++)
	{
		if (list[i]->id.sid == PROM_HASHMAP_FREE)
			list[unknown++] = list[i];
	}
	return unknown;
}

/* By shard, then in the order in which they came. */
static int
compare_wanted(const void *a, const void *b)
{
	const Wanted *wa = *(Wanted *const *) a;
	const Wanted *wb = *(Wanted *const *) b;

	if (wa->id.shard != wb->id.shard)
		return wa->id.shard < wb->id.shard ? -1 : 1;
	return (wa > wb) - (wa < wb);
}

/*
 * Returns how many were made: not refused, and not there when the lock was got.  "seen" is a shard as it was before
 * the series were looked for.
 */
static int
make_series(Wanted **list, int n, Shard seen)
{
	int			made = 0;
	bool		unchanged = true;

	qsort(list, n, sizeof(Wanted *), compare_wanted);
	n = refuse_hopeless(list, n);
	for (int i = 0; i < n; i++)
	{
		if (i == 0 || list[i]->id.shard != list[i - 1]->id.shard)
			unchanged &= same_version(lock_shard(list[i]->id.shard), seen);
	}

	/* Somebody may have made them meanwhile, and has then written the row of the shard. */
	if (n > 0 && !unchanged)
		n = find_series(list, n);
	for (int i = 0, end; i < n; i = end)
	{
		int16		shard = list[i]->id.shard;

		for (end = i + 1; end < n && list[end]->id.shard == shard;)
			end++;
		make_in_shard(shard, list + i, end - i);
	}
	for (int i = 0; i < n; i++)
		made += list[i]->refused == NULL;
	return made;
}

/*
 * Refuse what a limit forbids as far as that is seen without the lock, which senders of series that are
 * refused again and again must not keep from others.  Those left stay in the list; returns how many.
 */
static int
refuse_hopeless(Wanted **list, int n)
{
	int			kept = 0;
	int			admitted = 0;

	for (int i = 0; i < n; i++)
	{
		list[i]->refused = prom_limits_labels_fault(list[i]->want->labels);
		if (list[i]->refused == NULL)
			list[kept++] = list[i];
	}
	if (!prom_limits_count())
		return kept;
	for (int i = 0, end; i < kept; i = end)
	{
		int16		shard = list[i]->id.shard;
		int			nmetrics;
		Shard		seen;
		int			here;

		for (end = i + 1; end < kept && list[end]->id.shard == shard;)
			end++;
		seen = see_shard(shard, true);
		here = admit(list + i, end - i, find_metrics(shard, list + i, end - i, &nmetrics), seen.series);
		memmove(list + admitted, list + i, here * sizeof(Wanted *));
		admitted += here;
	}
	return admitted;
}

/*
 * Find the row of a shard, at its place if that is known, by a statement for either; "count": with the series of all
 * shards, if there is a limit for them.
 */
static void
find_shard(int16 shard, bool count, PromStatement at, PromStatement anywhere)
{
	Datum		args[] = {Int16GetDatum(shard), BoolGetDatum(count && prom_limits_count()), PointerGetDatum(&last_shard.tid)};

	SPI_processed = 0;
	if (is_place_of(&last_shard, shard))
		prom_run_statement(at, args);
	if (SPI_processed != 1)
		prom_run_statement(anywhere, args);
}

/* The row of a shard without its lock. */
static Shard
see_shard(int16 shard, bool count)
{
	find_shard(shard, count, PROM_SEE_SHARD_AT, PROM_SEE_SHARD);
	return shard_result(shard);
}

/* Is it the same version of the same row? */
static bool
same_version(Shard a, Shard b)
{
	return a.shard == b.shard && ItemPointerIsValid(&a.place) && ItemPointerIsValid(&b.place) &&
		ItemPointerEquals(&a.place, &b.place) && TransactionIdEquals(a.xmin, b.xmin);
}

/* Lock the row of a shard, which is made when it is first needed. */
static Shard
lock_shard(int16 shard)
{
	find_shard(shard, true, PROM_LOCK_SHARD_AT, PROM_LOCK_SHARD);
	if (SPI_processed == 0)
	{
		Datum		args[] = {Int16GetDatum(shard)};

		prom_run_statement(PROM_ADD_SHARD, args);
		find_shard(shard, true, PROM_LOCK_SHARD_AT, PROM_LOCK_SHARD);
	}
	if (SPI_processed != 1)
		elog(ERROR, "shard %d is missing", shard);
	return shard_result(shard);
}

/* The last result; a shard that is not there is empty. */
static Shard
shard_result(int16 shard)
{
	Shard		s = {.shard = shard};
	Place		p;

	ItemPointerSetInvalid(&s.place);
	if (SPI_processed > 0)
	{
		bool		isnull;

		s.next_block = (int32) prom_result_int(0, 1);
		s.next_sid = (int32) prom_result_int(0, 2);
		s.series = prom_result_int(0, 3);
		set_place(&p, shard, 4);
		s.place = p.tid;
		s.xmin = DatumGetTransactionId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 5, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return s;
}

static bool
is_place_of(const Place *p, int16 shard)
{
	return p->shard == shard && ItemPointerIsValid(&p->tid);
}

/* Take the place from the only row of the last result, if it has one. */
static void
set_place(Place *p, int16 shard, int column)
{
	bool		isnull;

	p->shard = shard;
	ItemPointerSetInvalid(&p->tid);
	if (SPI_processed == 1)
		p->tid = *(ItemPointer) DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull));
}

static void
make_in_shard(int16 shard, Wanted **list, int n)
{
	Shard		locked = lock_shard(shard);
	int			nmetrics;
	Metric	   *metrics = find_metrics(shard, list, n, &nmetrics);
	Datum		args[5];

	n = admit(list, n, metrics, locked.series);
	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		Metric	   *m = &metrics[list[i]->metric];

		if (m->next_sid == m->end_sid)
			take_piece(m, &locked);
		list[i]->id.sid = m->next_sid++;
		m->given++;
	}
	save_metrics(shard, metrics, nmetrics);
	args[0] = Int16GetDatum(shard);
	args[1] = Int32GetDatum(locked.next_block);
	args[2] = Int32GetDatum(locked.next_sid);
	args[3] = Int32GetDatum(n);
	args[4] = PointerGetDatum(&locked.place);
	prom_run_statement(PROM_SAVE_SHARD, args);
	if (SPI_processed != 1)
		elog(ERROR, "shard %d has gone while it was locked", shard);
	set_place(&last_shard, shard, 1);
	add_series(shard, list, n);
	add_values(shard, list, n);
}

/* Count those that the limits leave room for, refuse the others; returns how many stay in the list. */
static int
admit(Wanted **list, int n, Metric *metrics, int64 series)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		Metric	   *m = &metrics[list[i]->metric];

		list[i]->refused = prom_limits_count_fault(list[i]->want->labels, series, m->series);
		if (list[i]->refused)
			continue;
		m->series++;
		series++;
		list[kept++] = list[i];
	}
	return kept;
}

/* The metrics of the list, each once, with their pieces. */
static Metric *
find_metrics(int16 shard, Wanted **list, int n, int *nmetrics)
{
	PromHashMap seen = {CurrentMemoryContext};
	Metric	   *metrics = palloc(n * sizeof(Metric));
	Datum	   *names = palloc(n * sizeof(Datum));
	Datum		args[3];

	*nmetrics = 0;
	prom_hashmap_reserve(&seen, n);
	for (int i = 0; i < n; i++)
	{
		text	   *name = metric_key(list[i]->want->labels);
		PromSeriesHash hash = prom_series_raw_hash(VARDATA(name), VARSIZE(name) - VARHDRSZ);
		PromHashEntry *e = prom_hashmap_find(&seen, hash);

		list[i]->metric = e ? e->id.sid : *nmetrics;
		if (e)
			continue;
		prom_hashmap_put(&seen, hash, (PromSeriesId) {0, *nmetrics});
		names[*nmetrics] = PointerGetDatum(name);
		metrics[*nmetrics] = (Metric) {names[*nmetrics]};
		(*nmetrics)++;
	}

	args[0] = Int16GetDatum(shard);
	args[1] = array_of(names, *nmetrics, TEXTOID);
	args[2] = PointerGetDatum(&last_metric.tid);
	SPI_processed = 0;
	if (*nmetrics == 1 && is_place_of(&last_metric, shard))
		prom_run_statement(PROM_FIND_METRIC_AT, args);
	if (SPI_processed == 0)
		prom_run_statement(PROM_FIND_METRICS, args);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		Metric	   *m = &metrics[prom_result_int(row, 1) - 1];

		m->next_sid = (int32) prom_result_int(row, 2);
		m->end_sid = (int32) prom_result_int(row, 3);
		m->known = m->series = (int32) prom_result_int(row, 4);
	}
	SPI_freetuptable(SPI_tuptable);
	return metrics;
}

static text *
metric_key(const PromLabels *l)
{
	const char *name = "";
	int			len = 0;

	(void) prom_labels_get(l, "__name__", 8, &name, &len);
	return cstring_to_text_with_len(name, pg_encoding_mbcliplen(PG_UTF8, name, len, METRIC_KEY_BYTES));
}

static void
save_metrics(int16 shard, const Metric *metrics, int n)
{
	Datum	   *names = palloc(n * sizeof(Datum));
	Datum	   *next_sids = palloc(n * sizeof(Datum));
	Datum	   *end_sids = palloc(n * sizeof(Datum));
	Datum	   *series = palloc(n * sizeof(Datum));
	Datum		args[6];
	int			changed = 0;

	for (int i = 0; i < n; i++)
	{
		/* All of its series were refused, and it may be new. */
		if (metrics[i].series == 0)
			continue;
		names[changed] = metrics[i].name;
		next_sids[changed] = Int32GetDatum(metrics[i].next_sid);
		end_sids[changed] = Int32GetDatum(metrics[i].end_sid);
		series[changed++] = Int32GetDatum(metrics[i].series);
	}
	args[0] = Int16GetDatum(shard);
	args[1] = array_of(names, changed, TEXTOID);
	args[2] = array_of(next_sids, changed, INT4OID);
	args[3] = array_of(end_sids, changed, INT4OID);
	args[4] = array_of(series, changed, INT4OID);
	args[5] = PointerGetDatum(&last_metric.tid);
	SPI_processed = 0;
	if (changed == 1 && is_place_of(&last_metric, shard))
		prom_run_statement(PROM_SAVE_METRIC_AT, args);
	if (SPI_processed == 0)
		prom_run_statement(PROM_SAVE_METRICS, args);
	set_place(&last_metric, shard, 1);
}

/* The ids that the metric gets next. */
static void
take_piece(Metric *metric, Shard *locked)
{
	int64		ids = Max(PIECE_GROWTH * (int64) metric->known, metric->series - metric->known) - metric->given;

	if (ids >= BLOCK_SLOTS)
	{
		metric->next_sid = take_block(locked);
		metric->end_sid = metric->next_sid + BLOCK_SLOTS;
		return;
	}
	if (locked->next_sid % BLOCK_SLOTS == 0)
		locked->next_sid = take_block(locked);
	metric->next_sid = locked->next_sid;
	metric->end_sid = metric->next_sid + (int32) Min(ids, BLOCK_SLOTS - metric->next_sid % BLOCK_SLOTS);
	locked->next_sid = metric->end_sid;
}

/* The first id of a block that is not given out yet. */
static int32
take_block(Shard *locked)
{
	if (locked->next_block > MAX_BLOCK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("shard has no series ids left"),
				 errdetail("A shard has %d blocks of %d ids.", MAX_BLOCK + 1, BLOCK_SLOTS)));
	return locked->next_block++ * BLOCK_SLOTS;
}

static void
add_series(int16 shard, Wanted **list, int n)
{
	Datum	   *sids = palloc(n * sizeof(Datum));
	Datum	   *labels = palloc(n * sizeof(Datum));
	Datum		args[3];

	for (int i = 0; i < n; i++)
	{
		sids[i] = Int32GetDatum(list[i]->id.sid);
		labels[i] = PointerGetDatum(list[i]->want->labels);
	}
	args[0] = Int16GetDatum(shard);
	args[1] = array_of(sids, n, INT4OID);
	args[2] = array_of(labels, n, prom_statement_labels_type());
	prom_run_statement(PROM_ADD_SERIES, args);
}

/* The distinct labels of the list into prom.label_value. */
static void
add_values(int16 shard, Wanted **list, int n)
{
	PromHashMap seen = {CurrentMemoryContext};
	Datum	   *names;
	Datum	   *values;
	Datum	   *digests;
	Datum		args[4];
	int			nlabels = 0;
	int			nvalues = 0;

	for (int i = 0; i < n; i++)
		nlabels += prom_label_walk(list[i]->want->labels).left;
	names = palloc_extended((nlabels + 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	values = palloc_extended((nlabels + 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	digests = palloc_extended((nlabels + 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
	{
		PromLabelWalk w = prom_label_walk(list[i]->want->labels);
		PromLabel	label;

		while (prom_label_next(&w, &label))
		{
			XXH64_hash_t seed = XXH3_64bits(label.name, label.name_len);
			XXH128_hash_t h = XXH3_128bits_withSeed(label.value, label.value_len, seed);
			PromSeriesHash key = {h.low64, h.high64};

			prom_hashmap_reserve(&seen, seen.n + 1);
			if (prom_hashmap_find(&seen, key))
				continue;
			prom_hashmap_put(&seen, key, (PromSeriesId) {0, 0});
			names[nvalues] = PointerGetDatum(cstring_to_text_with_len(label.name, label.name_len));
			values[nvalues] = PointerGetDatum(cstring_to_text_with_len(label.value, label.value_len));
			digests[nvalues++] = uuid_of(prom_series_raw_hash(label.value, label.value_len));
		}
	}
	if (nvalues == 0)
		return;
	args[0] = Int16GetDatum(shard);
	args[1] = array_of(names, nvalues, TEXTOID);
	args[2] = array_of(values, nvalues, TEXTOID);
	args[3] = array_of(digests, nvalues, UUIDOID);
	prom_run_statement(PROM_ADD_VALUES, args);
}

static Datum
array_of(Datum *elements, int n, Oid type)
{
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &len, &byval, &align);
	return PointerGetDatum(construct_array(elements, n, type, len, byval, align));
}

static Datum
uuid_of(PromSeriesHash hash)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));
	XXH128_hash_t h = {hash.low, hash.high};

	XXH128_canonicalFromHash((XXH128_canonical_t *) uuid->data, h);
	return UUIDPGetDatum(uuid);
}

/* _label_digest(value) -> prom.label_value.digest */
Datum
prom_label_digest(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);

	return uuid_of(prom_series_raw_hash(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

/*
 * series.c
 *	  Label set -> id: find or create, many at a time.
 *
 * A series is found by 32 bits of the hash of its canonical bytes, which then are compared.  Those not
 * found are made while the row of their shard in prom.shard is locked: only its holder creates, and writes that row, so
 * after another look, unless the row is as it was before the first, the ids can be given out and all rows
 * inserted without meeting anyone.  That lock is what keeps label sets unique.  Shards are locked in
 * ascending order and before any row is written, hence two senders of the same new series wait but do not deadlock.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "series/allot.h"
#include "series/cache.h"
#include "series/hashmap.h"
#include "series/labels.h"
#include "series/limits.h"
#include "series/statement.h"

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

PG_FUNCTION_INFO_V1(prom_series_id);
PG_FUNCTION_INFO_V1(prom_metric_key);
PG_FUNCTION_INFO_V1(prom_label_digest);
PG_FUNCTION_INFO_V1(prom_series_removed);

static int	resolve_slice(PromSeriesWant *want, int n, MemoryContext caller);
static int16 shard_of(const PromLabels *l);
static int	find_series(Wanted **list, int n);
static int	make_series(Wanted **list, int n, PromShard seen);
static int	refuse_hopeless(Wanted **list, int n);
static PromMetric *metrics_of(int16 shard, Wanted **list, int n, int *nmetrics);
static void make_in_shard(int16 shard, Wanted **list, int n);
static int	admit(Wanted **list, int n, PromMetric *metrics, int64 series);
static void add_series(int16 shard, Wanted **list, int n);
static void add_values(int16 shard, Wanted **list, int n);
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
	PG_RETURN_TEXT_P(prom_metric_name(PG_GETARG_PROM_LABELS_P(0)));
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
	PromShard	seen_shard;

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

	seen_shard = prom_shard_see(list[0]->id.shard, false);
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
	args[0] = prom_array_of(shards, n, INT2OID);
	args[1] = prom_array_of(hashes, n, INT4OID);
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
make_series(Wanted **list, int n, PromShard seen)
{
	int			made = 0;
	bool		unchanged = true;

	qsort(list, n, sizeof(Wanted *), compare_wanted);
	n = refuse_hopeless(list, n);
	for (int i = 0; i < n; i++)
	{
		if (i == 0 || list[i]->id.shard != list[i - 1]->id.shard)
			unchanged &= prom_shard_same(prom_shard_lock(list[i]->id.shard), seen);
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
		PromShard	seen;
		int			here;

		for (end = i + 1; end < kept && list[end]->id.shard == shard;)
			end++;
		seen = prom_shard_see(shard, true);
		here = admit(list + i, end - i, metrics_of(shard, list + i, end - i, &nmetrics), seen.series);
		memmove(list + admitted, list + i, here * sizeof(Wanted *));
		admitted += here;
	}
	return admitted;
}

/* The metrics of the list, each once, which know nothing of the list yet. */
static PromMetric *
metrics_of(int16 shard, Wanted **list, int n, int *nmetrics)
{
	const PromLabels **labels = palloc(n * sizeof(PromLabels *));
	int		   *which = palloc(n * sizeof(int));
	PromMetric *metrics;

	for (int i = 0; i < n; i++)
		labels[i] = list[i]->want->labels;
	metrics = prom_metrics_find(shard, labels, n, which, nmetrics);
	for (int i = 0; i < n; i++)
		list[i]->metric = which[i];
	return metrics;
}

static void
make_in_shard(int16 shard, Wanted **list, int n)
{
	PromShard	locked = prom_shard_lock(shard);
	int			nmetrics;
	PromMetric *metrics = metrics_of(shard, list, n, &nmetrics);

	n = admit(list, n, metrics, locked.series);
	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
		list[i]->id.sid = prom_metric_take(&metrics[list[i]->metric], &locked);
	prom_metrics_save(shard, metrics, nmetrics);
	prom_shard_save(&locked, n);
	add_series(shard, list, n);
	add_values(shard, list, n);
}

/* Count those that the limits leave room for, refuse the others; returns how many stay in the list. */
static int
admit(Wanted **list, int n, PromMetric *metrics, int64 series)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		PromMetric *m = &metrics[list[i]->metric];

		list[i]->refused = prom_limits_count_fault(list[i]->want->labels, series, m->series);
		if (list[i]->refused)
			continue;
		m->series++;
		series++;
		list[kept++] = list[i];
	}
	return kept;
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
	args[1] = prom_array_of(sids, n, INT4OID);
	args[2] = prom_array_of(labels, n, prom_statement_labels_type());
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
	args[1] = prom_array_of(names, nvalues, TEXTOID);
	args[2] = prom_array_of(values, nvalues, TEXTOID);
	args[3] = prom_array_of(digests, nvalues, UUIDOID);
	prom_run_statement(PROM_ADD_VALUES, args);
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

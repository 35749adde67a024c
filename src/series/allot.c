/*
 * allot.c
 *	  Which ids new series get: the rows of prom.shard and prom.metric.
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

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "series/allot.h"
#include "series/cache.h"
#include "series/hashmap.h"
#include "series/limits.h"
#include "series/statement.h"

#define BLOCK_SLOTS			64
#define PIECE_GROWTH		3		/* ids of a piece for each series that the metric has */
#define MAX_BLOCK			(PG_INT32_MAX / BLOCK_SLOTS - 1)
#define METRIC_KEY_BYTES	1024

/* Where the row of a shard, or of one of its metrics, was written last; a guess. */
typedef struct Place
{
	int16		shard;
	ItemPointerData tid;		/* invalid: none */
} Place;

static Place last_shard;
static Place last_metric;

static PromShard shard_result(int16 shard);
static bool is_place_of(const Place *p, int16 shard);
static void set_place(Place *p, int16 shard, int column);
static void take_piece(PromMetric *metric, PromShard *locked);
static int32 take_block(PromShard *locked);

/*
 * Find the row of a shard, at its place if that is known, by a statement for either; "count": with the series of all
 * shards, if there is a limit for them.
 */
static void
find_row(int16 shard, bool count, PromStatement at, PromStatement anywhere)
{
	Datum		args[] = {Int16GetDatum(shard), BoolGetDatum(count && prom_limits_count()), PointerGetDatum(&last_shard.tid)};

	SPI_processed = 0;
	if (is_place_of(&last_shard, shard))
		prom_run_statement(at, args);
	if (SPI_processed != 1)
		prom_run_statement(anywhere, args);
}

PromShard
prom_shard_see(int16 shard, bool count)
{
	find_row(shard, count, PROM_SEE_SHARD_AT, PROM_SEE_SHARD);
	return shard_result(shard);
}

bool
prom_shard_same(PromShard a, PromShard b)
{
	return a.shard == b.shard && ItemPointerIsValid(&a.place) && ItemPointerIsValid(&b.place) &&
		ItemPointerEquals(&a.place, &b.place) && TransactionIdEquals(a.xmin, b.xmin);
}

PromShard
prom_shard_lock(int16 shard)
{
	find_row(shard, true, PROM_LOCK_SHARD_AT, PROM_LOCK_SHARD);
	if (SPI_processed == 0)
	{
		Datum		args[] = {Int16GetDatum(shard)};

		prom_run_statement(PROM_ADD_SHARD, args);
		find_row(shard, true, PROM_LOCK_SHARD_AT, PROM_LOCK_SHARD);
	}
	if (SPI_processed != 1)
		elog(ERROR, "shard %d is missing", shard);
	return shard_result(shard);
}

/* The last result; a shard that is not there is empty. */
static PromShard
shard_result(int16 shard)
{
	PromShard	s = {.shard = shard};
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

void
prom_shard_save(const PromShard *locked, int made)
{
	Datum		args[] = {Int16GetDatum(locked->shard), Int32GetDatum(locked->next_block), Int32GetDatum(locked->next_sid),
	Int32GetDatum(made), PointerGetDatum(&locked->place)};

	prom_run_statement(PROM_SAVE_SHARD, args);
	if (SPI_processed != 1)
		elog(ERROR, "shard %d has gone while it was locked", locked->shard);
	set_place(&last_shard, locked->shard, 1);
}

PromMetric *
prom_metrics_find(int16 shard, const PromLabels **labels, int n, int *which, int *nmetrics)
{
	PromHashMap seen = {CurrentMemoryContext};
	PromMetric *metrics = palloc(n * sizeof(PromMetric));
	Datum	   *names = palloc(n * sizeof(Datum));
	Datum		args[3];

	*nmetrics = 0;
	prom_hashmap_reserve(&seen, n);
	for (int i = 0; i < n; i++)
	{
		text	   *name = prom_metric_name(labels[i]);
		PromSeriesHash hash = prom_series_raw_hash(VARDATA(name), VARSIZE(name) - VARHDRSZ);
		PromHashEntry *e = prom_hashmap_find(&seen, hash);

		which[i] = e ? e->id.sid : *nmetrics;
		if (e)
			continue;
		prom_hashmap_put(&seen, hash, (PromSeriesId) {0, *nmetrics});
		names[*nmetrics] = PointerGetDatum(name);
		metrics[*nmetrics] = (PromMetric) {names[*nmetrics]};
		(*nmetrics)++;
	}

	args[0] = Int16GetDatum(shard);
	args[1] = prom_array_of(names, *nmetrics, TEXTOID);
	args[2] = PointerGetDatum(&last_metric.tid);
	SPI_processed = 0;
	if (*nmetrics == 1 && is_place_of(&last_metric, shard))
		prom_run_statement(PROM_FIND_METRIC_AT, args);
	if (SPI_processed == 0)
		prom_run_statement(PROM_FIND_METRICS, args);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		PromMetric *m = &metrics[prom_result_int(row, 1) - 1];

		m->next_sid = (int32) prom_result_int(row, 2);
		m->end_sid = (int32) prom_result_int(row, 3);
		m->known = m->series = (int32) prom_result_int(row, 4);
	}
	SPI_freetuptable(SPI_tuptable);
	return metrics;
}

text *
prom_metric_name(const PromLabels *l)
{
	const char *name = "";
	int			len = 0;

	(void) prom_labels_get(l, "__name__", 8, &name, &len);
	return cstring_to_text_with_len(name, pg_encoding_mbcliplen(PG_UTF8, name, len, METRIC_KEY_BYTES));
}

void
prom_metrics_save(int16 shard, const PromMetric *metrics, int n)
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
	args[1] = prom_array_of(names, changed, TEXTOID);
	args[2] = prom_array_of(next_sids, changed, INT4OID);
	args[3] = prom_array_of(end_sids, changed, INT4OID);
	args[4] = prom_array_of(series, changed, INT4OID);
	args[5] = PointerGetDatum(&last_metric.tid);
	SPI_processed = 0;
	if (changed == 1 && is_place_of(&last_metric, shard))
		prom_run_statement(PROM_SAVE_METRIC_AT, args);
	if (SPI_processed == 0)
		prom_run_statement(PROM_SAVE_METRICS, args);
	set_place(&last_metric, shard, 1);
}

int32
prom_metric_take(PromMetric *metric, PromShard *locked)
{
	if (metric->next_sid == metric->end_sid)
		take_piece(metric, locked);
	metric->given++;
	return metric->next_sid++;
}

/* The ids that the metric gets next. */
static void
take_piece(PromMetric *metric, PromShard *locked)
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
take_block(PromShard *locked)
{
	if (locked->next_block > MAX_BLOCK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("shard has no series ids left"),
				 errdetail("A shard has %d blocks of %d ids.", MAX_BLOCK + 1, BLOCK_SLOTS)));
	return locked->next_block++ * BLOCK_SLOTS;
}

Datum
prom_array_of(Datum *elements, int n, Oid type)
{
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &len, &byval, &align);
	return PointerGetDatum(construct_array(elements, n, type, len, byval, align));
}

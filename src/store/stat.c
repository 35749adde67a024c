/*
 * stat.c
 *	  What ingest and merge have done since the server started, counted in shared memory.
 *
 * A counter is a number that only grows, or a time that is set ("last ...", milliseconds since 1970).
 * What a transaction has done is noted in its backend and added when it commits, so that work that
 * was rolled back is never told; a failure is noted at once.  Counters belong to the server: where two
 * databases have the extension they share them.  A new one is a line in store/store.h and a name here.
 *
 * The struct is there only if the library is preloaded.  Without it nothing is counted, and the SQL
 * functions return NULL.
 *
 * Locking: counters are atomic, one by one; the text of the last error has a spinlock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/clock.h"
#include "store/rows.h"

#define ERROR_BYTES 512

typedef struct Stat
{
	pg_atomic_uint64 counter[PROM_STAT_COUNTERS];
	slock_t		lock;
	char		error[ERROR_BYTES]; /* of the last merge that failed */
} Stat;

static const char *const names[] = {
	[PROM_STAT_STARTED] = "started",
	[PROM_STAT_INGEST_CALLS] = "ingest_calls",
	[PROM_STAT_INGEST_BODIES] = "ingest_bodies",
	[PROM_STAT_INGEST_BYTES] = "ingest_bytes",
	[PROM_STAT_INGEST_SAMPLES] = "ingest_samples",
	[PROM_STAT_INGEST_SERIES] = "ingest_series",
	[PROM_STAT_INGEST_HISTOGRAMS] = "ingest_histograms",
	[PROM_STAT_INGEST_EXEMPLARS] = "ingest_exemplars",
	[PROM_STAT_REPLICA_SAMPLES] = "replica_samples",
	[PROM_STAT_INGEST_LAST] = "ingest_last",
	[PROM_STAT_REFUSED_BODIES] = "refused_bodies",
	[PROM_STAT_REFUSED_LABELS] = "refused_labels",
	[PROM_STAT_REFUSED_TIME] = "refused_time",
	[PROM_STAT_REFUSED_HISTOGRAMS] = "refused_histograms",
	[PROM_STAT_REFUSED_POINTS] = "refused_points",
	[PROM_STAT_REFUSED_METADATA] = "refused_metadata",
	[PROM_STAT_MERGE_STEPS] = "merge_steps",
	[PROM_STAT_MERGE_FRESH_ROWS] = "merge_fresh_rows",
	[PROM_STAT_MERGE_WARM_ROWS] = "merge_warm_rows",
	[PROM_STAT_MERGE_WRITTEN_ROWS] = "merge_written_rows",
	[PROM_STAT_MERGE_SAMPLES] = "merge_samples",
	[PROM_STAT_MERGE_US] = "merge_us",
	[PROM_STAT_MERGE_LAST] = "merge_last",
	[PROM_STAT_MERGE_ERRORS] = "merge_errors",
	[PROM_STAT_MERGE_LAST_ERROR] = "merge_last_error",
	[PROM_STAT_COMPACT_STEPS] = "compact_steps",
	[PROM_STAT_COMPACT_ROWS] = "compact_rows",
	[PROM_STAT_COMPACT_US] = "compact_us",
	[PROM_STAT_COMPACT_LAST] = "compact_last",
	[PROM_STAT_ROLLUP_STEPS] = "rollup_steps",
	[PROM_STAT_ROLLUP_BLOCKS] = "rollup_blocks",
	[PROM_STAT_ROLLUP_SAMPLES] = "rollup_samples",
	[PROM_STAT_ROLLUP_WINDOWS] = "rollup_windows",
	[PROM_STAT_ROLLUP_ROWS] = "rollup_rows",
	[PROM_STAT_ROLLUP_US] = "rollup_us",
	[PROM_STAT_ROLLUP_LAST] = "rollup_last",
	[PROM_STAT_QUARANTINED_ROWS] = "quarantined_rows",
	[PROM_STAT_COLLECTED_SERIES] = "collected_series",
	[PROM_STAT_TIER_GETS] = "tier_gets",
	[PROM_STAT_TIER_BYTES] = "tier_bytes",
	[PROM_STAT_TIER_ERRORS] = "tier_errors",
	[PROM_STAT_TIER_HITS] = "tier_hits",
	[PROM_STAT_TIER_HIT_BYTES] = "tier_hit_bytes",
	[PROM_STAT_TIER_MISSES] = "tier_misses",
	[PROM_STAT_TIER_EVICTED] = "tier_evicted",
	[PROM_STAT_OFFLOAD_OBJECTS] = "offload_objects",
	[PROM_STAT_OFFLOAD_BYTES] = "offload_bytes",
	[PROM_STAT_OFFLOAD_SAMPLES] = "offload_samples",
	[PROM_STAT_OFFLOAD_RETURNED] = "offload_returned",
	[PROM_STAT_GATEWAY_STARTS] = "gateway_starts",
	[PROM_STAT_MAINTENANCE_STARTS] = "maintenance_starts",
};

StaticAssertDecl(lengthof(names) == PROM_STAT_COUNTERS, "every counter has a name");

static Stat *stat = NULL;

/* What the current transaction has done. */
static uint64 pending[PROM_STAT_COUNTERS];
static bool any_pending = false;

static shmem_request_hook_type next_request_hook = NULL;
static shmem_startup_hook_type next_startup_hook = NULL;

static bool
is_time(PromStatCounter c)
{
	return c == PROM_STAT_STARTED || c == PROM_STAT_INGEST_LAST || c == PROM_STAT_MERGE_LAST ||
		c == PROM_STAT_MERGE_LAST_ERROR || c == PROM_STAT_COMPACT_LAST || c == PROM_STAT_ROLLUP_LAST;
}

static void
request_shmem(void)
{
	if (next_request_hook)
		next_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(Stat)));
}

static void
start_shmem(void)
{
	bool		found;

	if (next_startup_hook)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	stat = ShmemInitStruct("promgres counters", sizeof(Stat), &found);
	if (!found)
	{
		for (int c = 0; c < PROM_STAT_COUNTERS; c++)
			pg_atomic_init_u64(&stat->counter[c], 0);
		pg_atomic_write_u64(&stat->counter[PROM_STAT_STARTED], prom_clock_to_ms(GetCurrentTimestamp()));
		SpinLockInit(&stat->lock);
		stat->error[0] = '\0';
	}
	LWLockRelease(AddinShmemInitLock);
}

static void
add_now(PromStatCounter c, uint64 n)
{
	if (is_time(c))
		pg_atomic_write_u64(&stat->counter[c], n);
	else
		pg_atomic_fetch_add_u64(&stat->counter[c], n);
}

static void
end_transaction(XactEvent event, void *arg)
{
	if (!any_pending || event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE ||
		event == XACT_EVENT_PARALLEL_PRE_COMMIT)
		return;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
	{
		for (int c = 0; c < PROM_STAT_COUNTERS; c++)
		{
			if (pending[c] != 0)
				add_now(c, pending[c]);
		}
	}
	memset(pending, 0, sizeof(pending));
	any_pending = false;
}

void
prom_stat_count(PromStatCounter c, uint64 n)
{
	if (stat == NULL || n == 0)
		return;
	if (is_time(c))
		pending[c] = n;
	else
		pending[c] += n;
	any_pending = true;
}

void
prom_stat_count_now(PromStatCounter c, uint64 n)
{
	if (stat != NULL)
		add_now(c, n);
}

void
prom_stat_stamp(PromStatCounter c)
{
	prom_stat_count(c, prom_clock_to_ms(GetCurrentTimestamp()));
}

void
prom_stat_mark(PromStatMark *mark)
{
	memcpy(mark->pending, pending, sizeof(pending));
}

void
prom_stat_back_to(const PromStatMark *mark)
{
	memcpy(pending, mark->pending, sizeof(pending));
}

void
prom_stat_merge_failed(const char *message)
{
	if (stat == NULL)
		return;
	add_now(PROM_STAT_MERGE_ERRORS, 1);
	add_now(PROM_STAT_MERGE_LAST_ERROR, prom_clock_to_ms(GetCurrentTimestamp()));
	SpinLockAcquire(&stat->lock);
	strlcpy(stat->error, message, sizeof(stat->error));
	SpinLockRelease(&stat->lock);
}

PG_FUNCTION_INFO_V1(prom_stat);
PG_FUNCTION_INFO_V1(prom_stats);
PG_FUNCTION_INFO_V1(prom_stat_time);
PG_FUNCTION_INFO_V1(prom_stat_count_sql);
PG_FUNCTION_INFO_V1(prom_stat_merge_error);

static PromStatCounter
find_counter(text *wanted)
{
	char	   *name = text_to_cstring(wanted);

	for (PromStatCounter c = 0; c < PROM_STAT_COUNTERS; c++)
	{
		if (strcmp(names[c], name) == 0)
			return c;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("counter \"%s\" does not exist", name)));
}

/* _stat(name) */
Datum
prom_stat(PG_FUNCTION_ARGS)
{
	PromStatCounter c = find_counter(PG_GETARG_TEXT_PP(0));

	if (stat == NULL)
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) pg_atomic_read_u64(&stat->counter[c]));
}

/* _stats(): all of them; times in seconds since 1970 */
Datum
prom_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (PromStatCounter c = 0; stat != NULL && c < PROM_STAT_COUNTERS; c++)
	{
		double		v = (double) pg_atomic_read_u64(&stat->counter[c]);
		Datum		values[2] = {CStringGetTextDatum(names[c]), Float8GetDatum(is_time(c) ? v / 1000 : v)};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* _stat_time(name): NULL as long as it has not happened */
Datum
prom_stat_time(PG_FUNCTION_ARGS)
{
	PromStatCounter c = find_counter(PG_GETARG_TEXT_PP(0));
	int64		t_ms = stat ? (int64) pg_atomic_read_u64(&stat->counter[c]) : 0;

	if (t_ms == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(prom_clock_from_ms(t_ms));
}

/* _stat_count(name, n) */
Datum
prom_stat_count_sql(PG_FUNCTION_ARGS)
{
	prom_stat_count(find_counter(PG_GETARG_TEXT_PP(0)), Max(PG_GETARG_INT64(1), 0));
	PG_RETURN_VOID();
}

/* _stat_merge_error() */
Datum
prom_stat_merge_error(PG_FUNCTION_ARGS)
{
	char		error[ERROR_BYTES];

	/* it may name series */
	if (stat == NULL || prom_series_restricted())
		PG_RETURN_NULL();
	SpinLockAcquire(&stat->lock);
	memcpy(error, stat->error, sizeof(error));
	SpinLockRelease(&stat->lock);
	if (error[0] == '\0')
		PG_RETURN_NULL();
	/* It may have been cut within a character, or come from a database of another encoding. */
	error[pg_mbcliplen(error, strlen(error), ERROR_BYTES - 4)] = '\0';
	PG_RETURN_TEXT_P(cstring_to_text(error));
}

void
prom_stat_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	next_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = start_shmem;
	RegisterXactCallback(end_transaction, NULL);
}

/*
 * budget.c
 *	  What one query may use of this backend, and what it has used: samples, series, memory.
 *
 * A query is a statement of the client; all that PromQL does within it counts together.  The counters are
 * this process's own and begin anew with each statement.  Parallel workers count for themselves, so
 * memory, which they take from one machine, is divided among them.
 *
 * Memory is not added up here: the server knows what its contexts hold, whoever allocated it.  Summing
 * that up takes microseconds, so it is done once per CHECK_BYTES that our functions are about to take.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "optimizer/optimizer.h"
#include "optimizer/cost.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "store/rows.h"

#define CHECK_BYTES (256 * 1024)

static int	max_samples = 50000000;
static int	max_series = 0;
static int	max_memory_kb = 1024 * 1024;

static PromScanCounts counts;
static size_t unchecked_bytes;

static void begin_statement(void);
static size_t memory_in_use(void);

PromScanCounts *
prom_store_counts(void)
{
	begin_statement();
	return &counts;
}

void
prom_store_count_samples(int64 n)
{
	begin_statement();
	counts.samples += n;
	if (counts.samples > max_samples)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("query processing would load too many samples into memory in query execution"),
				 errdetail("It has more than %d samples.", max_samples),
				 errhint("Narrow the time range or the label matchers, or raise \"promgres.query_max_samples\".")));
}

void
prom_store_count_series(void)
{
	begin_statement();
	counts.series++;
	if (max_series > 0 && counts.series > max_series)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("query would read too many series"),
				 errdetail("Its selectors find more than %d.", max_series),
				 errhint("Narrow the label matchers, or raise \"promgres.query_max_series\".")));
}

void
prom_store_need_memory(size_t bytes)
{
	size_t		limit = (size_t) max_memory_kb * 1024;

	unchecked_bytes += bytes;
	if (unchecked_bytes < CHECK_BYTES)
		return;
	unchecked_bytes = 0;
	if (IsInParallelMode())
		limit /= 1 + max_parallel_workers_per_gather;
	if (bytes > limit || memory_in_use() > limit - bytes)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("query needs more memory than it may use"),
				 errdetail("It may use %d kB.", max_memory_kb),
				 errhint("Ask for fewer steps, narrow the time range or the label matchers, or raise \"promgres.query_memory\".")));
}

int
prom_store_query_memory_kb(void)
{
	return max_memory_kb;
}

static void
begin_statement(void)
{
	static TimestampTz statement = 0;

	if (statement == GetCurrentStatementStartTimestamp())
		return;
	statement = GetCurrentStatementStartTimestamp();
	memset(&counts, 0, sizeof(counts));
}

/* All that the present transaction and its present portal hold: executor, aggregates, results. */
static size_t
memory_in_use(void)
{
	size_t		used = 0;

	if (TopTransactionContext != NULL)
		used += MemoryContextMemAllocated(TopTransactionContext, true);
	if (PortalContext != NULL)
		used += MemoryContextMemAllocated(PortalContext, true);
	return used;
}

void
prom_budget_init(void)
{
	DefineCustomIntVariable("promgres.query_max_samples",
							"Samples that one query may read.",
							"A query that needs more ends with an error. Parallel workers count for themselves.",
							&max_samples, 50000000, 1, PG_INT32_MAX, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.query_max_series",
							"Series that one query may read; 0 is any number.",
							"A query that needs more ends with an error. Parallel workers count for themselves.",
							&max_series, 0, 0, PG_INT32_MAX, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.query_memory",
							"Memory that one query may use.",
							"A query that needs more ends with an error. What the executor can write to temporary files, it does before.",
							&max_memory_kb, 1024 * 1024, 1024, MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

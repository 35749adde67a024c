/*
 * level.c
 *	  Which resolutions there are of the samples, and of what time: prom.level, and prom.attached_level of those
 *	  of attached buckets; and which are to be made.
 *
 * The tables have a handful of rows and are read each time they are asked for, with the snapshot of the
 * statement that asks.  So a query never goes by a level that its snapshot does not have, as it would
 * by a cache that another snapshot has filled; and reading a page costs two microseconds.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/rows.h"

#define MAX_RESOLUTIONS 8
#define DAY_S			86400

static char *resolutions = NULL;

typedef struct Levels
{
	PromLevel  *level;
	int			n;
	int			size;
} Levels;

static void read_levels(Levels *levels, const char *table, void (*add) (PromLevel *level, int64 from_ms, int64 until_ms));
static PromLevel *level_of(Levels *levels, int32 resolution_s);
static void add_own(PromLevel *level, int64 from_ms, int64 until_ms);
static void add_attached(PromLevel *level, int64 from_ms, int64 until_ms);
static int	compare_levels(const void *a, const void *b);
static bool check_resolutions(char **value, void **extra, GucSource source);
static const char *read_resolutions(const char *list, int32 *resolution_s, int *n);
static const char *read_resolution(const char *text, size_t length, int32 *resolution_s);

PG_FUNCTION_INFO_V1(prom_rollup_resolutions);

const PromLevel *
prom_levels(int *n)
{
	Levels		levels = {palloc(sizeof(PromLevel) * 8), 1, 8};

	levels.level[0] = (PromLevel) {0, PG_INT64_MIN, PG_INT64_MAX, PG_INT64_MIN, PG_INT64_MAX};
	read_levels(&levels, "level", add_own);
	read_levels(&levels, "attached_level", add_attached);
	qsort(levels.level, levels.n, sizeof(PromLevel), compare_levels);
	*n = levels.n;
	return levels.level;
}

/* Of a table with resolution, from_ms, until_ms. */
static void
read_levels(Levels *levels, const char *table, void (*add) (PromLevel *level, int64 from_ms, int64 until_ms))
{
	Relation	rel = table_open(prom_store_relid(table), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Snapshot	snapshot = RegisterSnapshot(ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		no_resolution;
		bool		no_from;
		bool		no_until;
		int32		resolution_s = DatumGetInt32(slot_getattr(slot, 1, &no_resolution));
		Datum		from_ms = slot_getattr(slot, 2, &no_from);
		Datum		until_ms = slot_getattr(slot, 3, &no_until);

		add(level_of(levels, resolution_s), no_from ? PG_INT64_MIN : DatumGetInt64(from_ms),
			no_until ? PG_INT64_MAX : DatumGetInt64(until_ms));
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
}

/* That of a resolution; a new one holds nothing. */
static PromLevel *
level_of(Levels *levels, int32 resolution_s)
{
	for (int i = 0; i < levels->n; i++)
		if (levels->level[i].resolution_s == resolution_s)
			return &levels->level[i];
	if (levels->n == levels->size)
		levels->level = repalloc(levels->level, sizeof(PromLevel) * (levels->size *= 2));
	levels->level[levels->n] = (PromLevel) {resolution_s, PG_INT64_MAX, PG_INT64_MIN, PG_INT64_MAX, PG_INT64_MIN};
	return &levels->level[levels->n++];
}

static void
add_own(PromLevel *level, int64 from_ms, int64 until_ms)
{
	level->own_from_ms = level->from_ms = from_ms;
	level->own_until_ms = level->until_ms = until_ms;
}

static void
add_attached(PromLevel *level, int64 from_ms, int64 until_ms)
{
	level->from_ms = Min(level->from_ms, from_ms);
	level->until_ms = Max(level->until_ms, until_ms);
}

/* qsort: the finest first */
static int
compare_levels(const void *a, const void *b)
{
	return ((const PromLevel *) a)->resolution_s - ((const PromLevel *) b)->resolution_s;
}

/* _rollup_resolutions() -> seconds, ascending */
Datum
prom_rollup_resolutions(PG_FUNCTION_ARGS)
{
	int32		resolution_s[MAX_RESOLUTIONS];
	Datum		elements[MAX_RESOLUTIONS];
	int			n;

	(void) read_resolutions(resolutions, resolution_s, &n);
	for (int i = 0; i < n; i++)
		elements[i] = Int32GetDatum(resolution_s[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

static bool
check_resolutions(char **value, void **extra, GucSource source)
{
	int32		resolution_s[MAX_RESOLUTIONS];
	int			n;
	const char *reason = read_resolutions(*value, resolution_s, &n);

	if (reason)
	{
		GUC_check_errdetail("%s", reason);
		GUC_check_errhint("Valid are times such as \"5min\" or \"1h\", separated by commas, the shortest first.");
	}
	return reason == NULL;
}

/* A list of times; NULL, or what is wrong with it. */
static const char *
read_resolutions(const char *list, int32 *resolution_s, int *n)
{
	*n = 0;
	list += strspn(list, " ");
	while (*list)
	{
		size_t		length = strcspn(list, ",");
		const char *reason;

		if (*n == MAX_RESOLUTIONS)
			return "There can be 8 resolutions at most.";
		reason = read_resolution(list, length, &resolution_s[*n]);
		if (reason)
			return reason;
		if (*n > 0 && resolution_s[*n] <= resolution_s[*n - 1])
			return "Resolutions must ascend.";
		(*n)++;
		list += length;
		if (*list == ',' && *(list += 1 + strspn(list + 1, " ")) == '\0')
			return "A resolution is missing after the last comma.";
	}
	return NULL;
}

static const char *
read_resolution(const char *text, size_t length, int32 *resolution_s)
{
	char		buf[32];
	const char *hint;
	double		seconds;

	if (length >= sizeof(buf))
		return "A resolution is too long.";
	memcpy(buf, text, length);
	buf[length] = '\0';
	if (!parse_real(buf, &seconds, GUC_UNIT_S, &hint))
		return "A resolution is no time.";
	if (seconds < 1 || seconds > DAY_S || seconds != (int32) seconds || DAY_S % (int32) seconds != 0)
		return "A resolution must be whole seconds that divide a day.";
	*resolution_s = (int32) seconds;
	return NULL;
}

void
prom_level_init(void)
{
	DefineCustomStringVariable("promgres.rollup_resolutions",
							   "Widths of the windows in which samples are kept besides as they came.",
							   "Empty: none are made.", &resolutions, "5min, 1h", PGC_SUSET, 0, check_resolutions, NULL, NULL);
}

/*
 * leaf_dedup.c
 *	  Replica deduplication at query time: its settings, and the SQL of a leaf whose series are without replica labels.
 *
 * A series of such a leaf is a label set without the replica labels, and its replicas are the series that
 * become equal without them.  They are of one metric, but may lie in several blocks and shards.  Blocks are still
 * what is read, so series are taken together in batches: all whose first replica is of one block.
 *
 *	- k: the series, each with the ids of its replicas in order of their labels;
 *	- b: batches of them;
 *	- f: the fresh samples of all matched series, as in any leaf;
 *	- u: all rows of a batch: those of the blocks that its replicas are in (an index scan each), and f;
 *	- c: one row, a plain chunk: the samples of the batch's series (dedup_fn.c).  The leaf's own aggregate
 *	  sees it and nothing else, as if the first replica's block had been written by one server.  With segments
 *	  (segment.c) one more for each part of the rollups that the leaf asks for.  How many samples the windows
 *	  have (PROM_PART_COUNT) is read in any case: it tells whose windows are whole (dedup.c).
 *
 * Servers with the same configuration make their series in about the same order, so a batch has few blocks more
 * than there are replicas, a row is opened about once, and what is in memory is one batch with its replicas.
 *
 * Matchers look at what is stored: replica="a" selects that replica's series, which lose the label then.  The
 * matched series are read under the caller's row security, and so are their rows (leaf.c).
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include "select/dedup.h"
#include "select/select.h"
#include "store/rows.h"

static const struct config_enum_entry methods[] = {
	{"penalty", PROM_DEDUP_PENALTY, false},
	{"seamless", PROM_DEDUP_SEAMLESS, false},
	{"chain", PROM_DEDUP_CHAIN, false},
	{NULL, 0, false}
};

static bool enabled = true;
static char *replica_labels = NULL;
static int	method = PROM_DEDUP_SEAMLESS;

static bool check_labels(char **text, void **extra, GucSource source);

void
prom_select_init(void)
{
	DefineCustomStringVariable("promgres.replica_labels",
							   "Labels in which the series of replicas differ: queries show one series for all of them.",
							   "Names with commas between. Thanos' flag --query.replica-label.",
							   &replica_labels, "", PGC_USERSET, GUC_LIST_INPUT, check_labels, NULL, NULL);
	DefineCustomBoolVariable("promgres.dedup",
							 "Merges the series of replicas in queries, if promgres.replica_labels names any label.",
							 NULL, &enabled, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("promgres.dedup_algorithm",
							 "How the samples of replicas are merged.",
							 "seamless stays with one replica until it has a gap, and fills it with what others have; penalty leaves it open, as Thanos does; chain takes all samples.",
							 &method, PROM_DEDUP_SEAMLESS, methods, PGC_USERSET, 0, NULL, NULL, NULL);
}

/* The names in a list, or false. */
static bool
split_labels(const char *text, List **names)
{
	return SplitGUCList(pstrdup(text), ',', names);
}

static bool
check_labels(char **text, void **extra, GucSource source)
{
	List	   *names = NIL;
	ListCell   *lc;

	if (*text == NULL)
		return true;
	if (!split_labels(*text, &names))
	{
		GUC_check_errdetail("It is not a list of names with commas between.");
		return false;
	}
	foreach(lc, names)
	{
		if (strcmp(lfirst(lc), "__name__") == 0)
		{
			GUC_check_errdetail("The name of a metric cannot be a replica label.");
			return false;
		}
	}
	return true;
}

List *
prom_dedup_labels(void)
{
	List	   *names = NIL;

	if (enabled && replica_labels != NULL && replica_labels[0] != '\0')
		(void) split_labels(replica_labels, &names);
	return names;
}

/* ARRAY['a', 'b']::text[] */
static void
labels_array_sql(StringInfo out, List *names)
{
	ListCell   *lc;

	appendStringInfoString(out, "ARRAY[");
	foreach(lc, names)
		appendStringInfo(out, "%s%s", foreach_current_index(lc) > 0 ? ", " : "", quote_literal_cstr(lfirst(lc)));
	appendStringInfoString(out, "]::pg_catalog.text[]");
}

void
prom_dedup_labels_sql(StringInfo out, const char *labels, List *names)
{
	appendStringInfo(out, "prom._labels_drop(%s, ", labels);
	labels_array_sql(out, names);
	appendStringInfoChar(out, ')');
}

/* The series, each with its replicas. */
static void
series_sql(StringInfo out, const char *matched, List *names)
{
	appendStringInfoString(out, "SELECT ");
	prom_dedup_labels_sql(out, "s.labels", names);
	appendStringInfo(out, " AS labels,"
					 " prom._replicas(pg_catalog.array_agg(s.shard), pg_catalog.array_agg(s.sid), pg_catalog.array_agg(s.labels)) AS ids\n"
					 "FROM prom.series AS s\n"
					 "WHERE %s\n"
					 "GROUP BY 1",
					 matched);
}

/* Without segments all is raw, part 0. */
static void
segments_sql(StringInfo out, const PromSegments *segments)
{
	appendStringInfoString(out, segments ? prom_segments_sql(segments) : "'{}'::pg_catalog.int8[]");
}

/* The rows of a batch, raw and of rollups. */
static void
rows_sql(StringInfo out, const char *matched, PromScanRange range, const PromSegments *segments, bool has_raw)
{
	PromSegments counted;

	if (segments)
	{
		counted = *segments;
		counted.parts |= 1 << PROM_PART_COUNT;
		segments = &counted;
	}
	appendStringInfoString(out, "SELECT w.*\n"
						   "FROM prom._replica_blocks(b.ids) AS b\n"
						   "CROSS JOIN LATERAL (\n");
	prom_leaf_stored_sql(out, matched, range, segments);
	appendStringInfoString(out, "\nOFFSET 0) AS w");
	if (has_raw)
		appendStringInfo(out, "\nUNION ALL SELECT pg_catalog.unnest(f.data), " INT64_FORMAT, PROM_FRESH_ORDER);
}

/* These rows, and what becomes of them; blocks are called b as the groups of any leaf. */
static void
batch_sql(StringInfo out, const char *matched, PromScanRange range, const PromSegments *segments, bool has_raw,
		  bool counter, const char *leaf)
{
	appendStringInfo(out, "SELECT %s AS results\n"
					 "FROM (\n"
					 "SELECT p.data, CASE WHEN p.part OPERATOR(pg_catalog.=) 1 THEN " INT64_FORMAT
					 " ELSE p.part OPERATOR(pg_catalog.-) " INT64_FORMAT " END AS ord\n"
					 "FROM (\n"
					 "SELECT prom._deduplicated(u.data, u.ord, b.ids, " INT64_FORMAT ", " INT64_FORMAT ", '%s', %s, ",
					 leaf, PROM_FRESH_ORDER, 1 - PROM_ROLLUP_ORDER, range.from_ms, range.to_ms, methods[method].name,
					 counter ? "true" : "false");
	segments_sql(out, segments);
	appendStringInfoString(out, ") AS parts\n"
						   "FROM (\n");
	rows_sql(out, matched, range, segments, has_raw);
	appendStringInfoString(out, ") AS u) AS d\n"
						   "CROSS JOIN LATERAL pg_catalog.unnest(d.parts) WITH ORDINALITY AS p(data, part)");
	if (segments && (segments->parts & 1 << PROM_PART_COUNT) == 0)
		appendStringInfo(out, "\nWHERE p.part OPERATOR(pg_catalog.<>) %d", PROM_PART_COUNT + 1);
	appendStringInfoString(out, ") AS c");
}

/* What follows "SELECT" and, if there is one, the column for the order. */
static void
batches_sql(StringInfo out, const char *batches, const char *matched, PromScanRange range,
			const PromSegments *segments, bool counter, const char *leaf)
{
	StringInfoData fresh;
	bool		has_raw;

	if (segments)
		range = segments->range;
	initStringInfo(&fresh);
	has_raw = prom_leaf_fresh_sql(&fresh, matched, range, segments);
	appendStringInfo(out, "pg_catalog.unnest(b.labels) AS labels, pg_catalog.unnest(l.results) AS out\n"
					 "FROM (\n%s) AS b\n",
					 batches);
	if (has_raw)
		appendStringInfo(out, "CROSS JOIN (\n"
						 "SELECT pg_catalog.array_agg(f.data) AS data\n"
						 "FROM (\n%s) AS f) AS f\n",
						 fresh.data);
	appendStringInfoString(out, "CROSS JOIN LATERAL (\n");
	batch_sql(out, matched, range, segments, has_raw, counter, leaf);
	appendStringInfoString(out, ") AS l) AS r\n"
						   "WHERE r.out IS NOT NULL");
}

#define FIRST_SID "(k.ids[1] OPERATOR(pg_catalog.&) 4294967295)::pg_catalog.int4"

void
prom_dedup_scan_sql(StringInfo out, const PromMatcher *m, int n, PromScanRange range, const PromSegments *segments,
					bool counter, const char *leaf)
{
	const char *matched = prom_leaf_matched_sql(m, n);
	StringInfoData batches;

	initStringInfo(&batches);
	appendStringInfoString(&batches, "SELECT pg_catalog.array_agg(k.labels) AS labels, pg_catalog.array_agg(" FIRST_SID ") AS sids,"
						   " prom._replica_batch(k.ids) AS ids\n"
						   "FROM (\n");
	series_sql(&batches, matched, prom_dedup_labels());
	appendStringInfo(&batches, ") AS k\n"
					 "GROUP BY k.ids[1] OPERATOR(pg_catalog.>>) %d",
					 PROM_BLOCK_BITS);
	appendStringInfoString(out, "(\nSELECT ");
	batches_sql(out, batches.data, matched, range, segments, counter, leaf);
}

void
prom_dedup_scan_sorted_sql(StringInfo out, const PromMatcher *m, int n, PromScanRange range,
						   const PromSegments *segments, const char *leaf)
{
	const char *matched = prom_leaf_matched_sql(m, n);
	StringInfoData batches;

	initStringInfo(&batches);
	appendStringInfoString(&batches, "SELECT ARRAY[k.labels] AS labels, ARRAY[" FIRST_SID "] AS sids, k.ids, k.labels AS place\n"
						   "FROM (\n");
	series_sql(&batches, matched, prom_dedup_labels());
	appendStringInfoString(&batches, ") AS k\n"
						   "ORDER BY k.labels OFFSET 0");
	appendStringInfoString(out, "(\nSELECT b.place, ");
	batches_sql(out, batches.data, matched, range, segments, false, leaf);
	appendStringInfoString(out, "\nORDER BY r.place");
}

/*
 * federate.c
 *	  /federate: the newest sample of each selected series, for another Prometheus to scrape.
 *
 * In the gateway: the format is chosen by the header Accept.  In the backend: each selector is a scan of
 * the last lookback; what it yields is sorted by name, kind and labels, and a series that several selectors
 * match is told once (newest.c).  Series that have ended, and those without a name, are left out, and so are
 * native histograms where the format has none.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "api/external.h"
#include "api/gateway.h"
#include "api/newest.h"
#include "chunk/chunk.h"
#include "common/clock.h"
#include "promql/promql.h"
#include "select/select.h"
#include "store/store.h"

#define FETCH_SERIES 1000
#define FAMILY_MESSAGE "io.prometheus.client.MetricFamily"

/* ---- in the gateway ---- */

typedef struct Format
{
	const char *name;			/* as _api_federate takes it */
	const char *type;
	const char *version;		/* NULL: any */
} Format;

/* The first is what is sent if nothing fits. */
static const Format formats[] = {
	{"0.0.4", "text/plain", "0.0.4"},
	{"1.0.0", "text/plain", "1.0.0"},
	{"0.0.4", "text/plain", NULL},
	{"openmetrics", "application/openmetrics-text", "1.0.0"},
	{"openmetrics", "application/openmetrics-text", "0.0.1"},
	{"openmetrics", "application/openmetrics-text", NULL},
	{"protobuf", "application/vnd.google.protobuf", NULL},
	{"0.0.4", "text/*", NULL},
	{"0.0.4", "*/*", NULL},
};

typedef struct Choice
{
	const char *format;
	const char *escaping;
	double		q;
} Choice;

/* The next part of a list up to the separator, blanks cut off, as a string of its own; NULL at the end. */
static char *
next_part(const char **at, char separator)
{
	const char *p = *at;
	const char *end;

	if (*p == '\0')
		return NULL;
	end = strchrnul(p, separator);
	*at = *end == '\0' ? end : end + 1;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return pnstrdup(p, end - p);
}

/* One entry of Accept. */
static void
weigh(const char *entry, Choice *best)
{
	const char *type = next_part(&entry, ';');
	const char *version = NULL;
	const char *escaping = "underscores";
	double		q = 1;
	bool		is_family = false;
	bool		is_delimited = false;
	char	   *param;

	if (type == NULL)
		return;
	while ((param = next_part(&entry, ';')) != NULL)
	{
		if (strncmp(param, "version=", 8) == 0)
			version = param + 8;
		else if (strncmp(param, "q=", 2) == 0)
			q = strtod(param + 2, NULL);
		else if (strncmp(param, "escaping=", 9) == 0)
		{
			if (prom_newest_escaping(param + 9) >= 0)
				escaping = param + 9;
		}
		else if (strncmp(param, "proto=", 6) == 0)
			is_family = strcmp(param + 6, FAMILY_MESSAGE) == 0;
		else if (strncmp(param, "encoding=", 9) == 0)
			is_delimited = strcmp(param + 9, "delimited") == 0;
	}
	for (int i = 0; i < lengthof(formats); i++)
	{
		if (pg_strcasecmp(formats[i].type, type) != 0 ||
			(version == NULL ? formats[i].version != NULL :
			 formats[i].version == NULL || strcmp(formats[i].version, version) != 0))
			continue;
		if (strcmp(formats[i].name, "protobuf") == 0 && !(is_family && is_delimited))
			return;
		if (q > best->q)
			*best = (Choice) {formats[i].name, escaping, q};
		return;
	}
}

void
prom_federate_run(PromRequest *r)
{
	const char *accept = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Accept");
	Choice		best = {formats[0].name, "underscores", 0};
	int			nmatches;
	char	   *matches = prom_param_array(r, "match[]", &nmatches);
	char	   *entry;

	while (accept != NULL && (entry = next_part(&accept, ',')) != NULL)
		weigh(entry, &best);
	r->job.sql = "SELECT prom._api_federate($1, $2, $3, $4)";
	prom_job_param(&r->job, TEXTARRAYOID, matches);
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, prom_clock_to_ms(GetCurrentTimestamp())));
	prom_job_param(&r->job, TEXTOID, best.format);
	prom_job_param(&r->job, TEXTOID, best.escaping);
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	prom_stream_ask(r, prom_pool_query);
}

/* ---- in the backend ---- */

PG_FUNCTION_INFO_V1(prom_api_federate);

typedef struct NewestList
{
	PromNewest *items;
	size_t		n;
	size_t		room;
	PromLabels *external;
	bool		(*takes) (const PromHistogram *h);	/* does the format? */
	MemoryContext context;		/* of labels and items */
} NewestList;

static void
add_newest(NewestList *list, Datum labels_datum, Datum chunk)
{
	PromLabels *labels = DatumGetPromLabelsP(labels_datum);
	PromChunkReader reader = {0};
	const PromHistogram **histograms;
	double	   *values;
	int			n;
	PromNewest	one;
	MemoryContext old;

	if (!prom_labels_get(labels, "__name__", strlen("__name__"), &one.name, &one.name_len))
		return;
	prom_chunk_open(&reader, DatumGetPromChunkP(chunk));
	n = prom_chunk_count(&reader, 0);
	if (n == 0)
		return;
	one.t_ms = prom_chunk_times(&reader, 0)[n - 1];
	values = palloc(n * sizeof(double));
	histograms = palloc0(n * sizeof(PromHistogram *));
	prom_chunk_values_mixed(&reader, 0, values, histograms);
	one.value = values[n - 1];
	one.histogram = histograms[n - 1];
	if ((one.histogram == NULL && prom_is_stale(one.value)) || (one.histogram != NULL && !list->takes(one.histogram)))
		return;
	old = MemoryContextSwitchTo(list->context);
	prom_store_need_memory(VARSIZE_ANY(labels) + sizeof(PromNewest) + (one.histogram ? one.histogram->size : 0));
	if (one.histogram != NULL)
		one.histogram = prom_histogram_copy(palloc, one.histogram);
	one.labels = prom_external_add(labels, list->external);
	(void) prom_labels_get(one.labels, "__name__", strlen("__name__"), &one.name, &one.name_len);
	if (list->n == list->room)
	{
		list->room = Max(list->room * 2, 64);
		list->items = list->items == NULL ? palloc(list->room * sizeof(PromNewest)) :
			repalloc_huge(list->items, list->room * sizeof(PromNewest));
	}
	list->items[list->n++] = one;
	MemoryContextSwitchTo(old);
}

/* All that one selector matches. */
static void
add_matches(NewestList *list, const char *selector, PromScanRange range)
{
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "promgres federate", ALLOCSET_DEFAULT_SIZES);
	StringInfoData sql;
	PromMatcher *matchers;
	int			n;
	Portal		portal;

	matchers = promql_parse_selector(selector, &n);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT r.labels, r.out FROM ");
	prom_scan_sql(&sql, matchers, n, range, prom_raw_segments(range),
				  psprintf("prom._raw(c.data, c.ord, b.sids, " INT64_FORMAT ", " INT64_FORMAT ")", range.from_ms, range.to_ms));
	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL, sql.data, 0, NULL, NULL, NULL, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_SERIES);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTuple	tuple = SPI_tuptable->vals[i];
			TupleDesc	desc = SPI_tuptable->tupdesc;
			bool		isnull;
			MemoryContext old = MemoryContextSwitchTo(row);

			CHECK_FOR_INTERRUPTS();
			add_newest(list, SPI_getbinval(tuple, desc, 1, &isnull), SPI_getbinval(tuple, desc, 2, &isnull));
			MemoryContextSwitchTo(old);
			MemoryContextReset(row);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
	MemoryContextDelete(row);
}

static bool
takes_all(const PromHistogram *h)
{
	return true;
}

/* Such become classic ones. */
static bool
takes_custom(const PromHistogram *h)
{
	return h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA;
}

/* _api_federate(match, at_ms, format, escaping) */
Datum
prom_api_federate(PG_FUNCTION_ARGS)
{
	int64		at_ms = PG_GETARG_INT64(1);
	PromScanRange range = {at_ms - promql_lookback_ms - 1, at_ms};
	NewestList	list = {.context = CurrentMemoryContext};
	char	   *format = text_to_cstring(PG_GETARG_TEXT_PP(2));
	Datum	   *matches;
	bool	   *nulls;
	int			n;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	list.external = prom_external_labels();
	list.takes = strcmp(format, "protobuf") == 0 ? takes_all : takes_custom;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &matches, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			add_matches(&list, TextDatumGetCString(matches[i]), range);
	}
	prom_newest_print((ReturnSetInfo *) fcinfo->resultinfo, format, text_to_cstring(PG_GETARG_TEXT_PP(3)), list.items, list.n);
	return (Datum) 0;
}

/*
 * federate.c
 *	  /federate: the newest sample of each selected series, for another Prometheus to scrape.
 *
 * In the gateway: the format is chosen by the header Accept.  In the backend: each selector is a scan of
 * the last lookback; what it yields is sorted by name and labels, and a series that several selectors match
 * is told once.  Series that have ended, and those without a name, are left out.
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

#include "api/expose.h"
#include "api/external.h"
#include "api/gateway.h"
#include "chunk/chunk.h"
#include "common/clock.h"
#include "promql/promql.h"
#include "store/store.h"

#define ROW_BYTES 32768
#define FETCH_SERIES 1000

static const char *const escapings[] = {
	[PROM_ESCAPE_NOTHING] = "allow-utf-8",
	[PROM_ESCAPE_UNDERSCORES] = "underscores",
	[PROM_ESCAPE_DOTS] = "dots",
	[PROM_ESCAPE_VALUES] = "values",
};

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
	const char *escaping = escapings[PROM_ESCAPE_UNDERSCORES];
	double		q = 1;
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
			for (int i = 0; i < lengthof(escapings); i++)
			{
				if (strcmp(param + 9, escapings[i]) == 0)
					escaping = escapings[i];
			}
		}
	}
	for (int i = 0; i < lengthof(formats); i++)
	{
		if (pg_strcasecmp(formats[i].type, type) != 0 ||
			(version == NULL ? formats[i].version != NULL :
			 formats[i].version == NULL || strcmp(formats[i].version, version) != 0))
			continue;
		if (q > best->q)
			*best = (Choice) {formats[i].name, escaping, q};
		return;
	}
}

void
prom_federate_run(PromRequest *r)
{
	const char *accept = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Accept");
	Choice		best = {formats[0].name, escapings[PROM_ESCAPE_UNDERSCORES], 0};
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

typedef struct Newest
{
	PromLabels *labels;			/* external ones included */
	const char *name;
	int			name_len;
	int64		t_ms;
	double		value;
} Newest;

typedef struct NewestList
{
	Newest	   *items;
	size_t		n;
	size_t		room;
	PromLabels *external;
	MemoryContext context;		/* of labels and items */
} NewestList;

static void
add_newest(NewestList *list, Datum labels_datum, Datum chunk)
{
	PromLabels *labels = DatumGetPromLabelsP(labels_datum);
	PromChunkReader reader = {0};
	const int64 *t_ms;
	double	   *values;
	int			n;
	Newest		one;
	MemoryContext old;

	if (!prom_labels_get(labels, "__name__", strlen("__name__"), &one.name, &one.name_len))
		return;
	prom_chunk_open(&reader, DatumGetPromChunkP(chunk));
	n = prom_chunk_count(&reader, 0);
	if (n == 0)
		return;
	t_ms = prom_chunk_times(&reader, 0);
	values = palloc(n * sizeof(double));
	prom_chunk_values(&reader, 0, values);
	if (prom_is_stale(values[n - 1]))
		return;

	one.t_ms = t_ms[n - 1];
	one.value = values[n - 1];
	old = MemoryContextSwitchTo(list->context);
	prom_store_need_memory(VARSIZE_ANY(labels) + sizeof(Newest));
	one.labels = prom_external_add(labels, list->external);
	(void) prom_labels_get(one.labels, "__name__", strlen("__name__"), &one.name, &one.name_len);
	if (list->n == list->room)
	{
		list->room = Max(list->room * 2, 64);
		list->items = list->items == NULL ? palloc(list->room * sizeof(Newest)) :
			repalloc_huge(list->items, list->room * sizeof(Newest));
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

static int
compare_names(const Newest *a, const Newest *b)
{
	int			c = memcmp(a->name, b->name, Min(a->name_len, b->name_len));

	return c != 0 ? c : a->name_len - b->name_len;
}

static int
compare_newest(const void *a, const void *b)
{
	int			c = compare_names(a, b);

	return c != 0 ? c : prom_labels_cmp(((const Newest *) a)->labels, ((const Newest *) b)->labels);
}

typedef struct Printer
{
	ReturnSetInfo *rsinfo;
	StringInfoData out;
	bool		openmetrics;
	PromEscaping escaping;
} Printer;

static void
put_row(Printer *p)
{
	Datum		value = PointerGetDatum(cstring_to_text_with_len(p->out.data, p->out.len));
	bool		isnull = false;

	tuplestore_putvalues(p->rsinfo->setResult, p->rsinfo->setDesc, &value, &isnull);
	pfree(DatumGetPointer(value));
	resetStringInfo(&p->out);
}

static void
print_newest(Printer *p, const Newest *one, bool new_name)
{
	if (new_name)
	{
		appendStringInfoString(&p->out, "# TYPE ");
		prom_expose_name(&p->out, one->name, one->name_len, p->escaping);
		appendStringInfoString(&p->out, p->openmetrics ? " unknown\n" : " untyped\n");
	}
	prom_expose_series(&p->out, one->labels, p->escaping, true);
	appendStringInfoCharMacro(&p->out, ' ');
	prom_expose_number(&p->out, one->value);
	appendStringInfoCharMacro(&p->out, ' ');
	if (p->openmetrics)
		prom_json_time(&p->out, one->t_ms);
	else
		appendStringInfo(&p->out, INT64_FORMAT, one->t_ms);
	appendStringInfoCharMacro(&p->out, '\n');
	if (p->out.len >= ROW_BYTES)
		put_row(p);
}

static void
print_head(Printer *p, const char *format, const char *escaping)
{
	p->openmetrics = strcmp(format, "openmetrics") == 0;
	for (int i = 0; i < lengthof(escapings); i++)
	{
		if (strcmp(escaping, escapings[i]) == 0)
			p->escaping = i;
	}
	initStringInfo(&p->out);
	if (p->openmetrics)
		appendStringInfo(&p->out, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=%s", escaping);
	else if (strcmp(format, "1.0.0") == 0)
		appendStringInfo(&p->out, "text/plain; version=1.0.0; charset=utf-8; escaping=%s", escaping);
	else
		appendStringInfoString(&p->out, "text/plain; version=0.0.4; charset=utf-8");
	put_row(p);
}

/* _api_federate(match, at_ms, format, escaping) */
Datum
prom_api_federate(PG_FUNCTION_ARGS)
{
	int64		at_ms = PG_GETARG_INT64(1);
	PromScanRange range = {at_ms - promql_lookback_ms - 1, at_ms};
	NewestList	list = {.context = CurrentMemoryContext};
	Printer		p = {(ReturnSetInfo *) fcinfo->resultinfo};
	const Newest *last = NULL;
	Datum	   *matches;
	bool	   *nulls;
	int			n;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	print_head(&p, text_to_cstring(PG_GETARG_TEXT_PP(2)), text_to_cstring(PG_GETARG_TEXT_PP(3)));
	list.external = prom_external_labels();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &matches, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			add_matches(&list, TextDatumGetCString(matches[i]), range);
	}
	if (list.n > 1)
		qsort(list.items, list.n, sizeof(Newest), compare_newest);
	for (size_t i = 0; i < list.n; i++)
	{
		const Newest *one = &list.items[i];

		CHECK_FOR_INTERRUPTS();
		if (last == NULL || compare_newest(last, one) != 0)
			print_newest(&p, one, last == NULL || compare_names(last, one) != 0);
		last = one;
	}
	if (p.openmetrics)
		appendStringInfoString(&p.out, "# EOF\n");
	if (p.out.len > 0)
		put_row(&p);
	return (Datum) 0;
}

/*
 * annotate.c
 *	  Annotations of the running query: gathered, merged and sent as notices; prom._annotate.
 *
 * Texts are told apart without their place, and the rightmost place is the one shown, as the evaluation
 * from left to right would have it.  The list lives in a context of the caller of the query, which takes
 * it away on errors.  A parallel worker has no list: PostgreSQL carries its notices to the leader, and
 * what several workers say is merged by the gateway.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "vals/annotate.h"

#define MAX_KEPT 1000			/* texts of a query; what comes after them is dropped */
#define MAX_AT_ONCE 10			/* of each severity, per statement, without a list */

typedef struct Annotation
{
	PromSeverity severity;
	uint64		hash;
	char	   *text;
	int			line;
	int			column;
	PromFixed	fixed;			/* count 0: none */
} Annotation;

typedef struct AnnotationList
{
	MemoryContext context;
	Annotation *items;
	int			n;
	int			size;
	struct AnnotationList *outer;
} AnnotationList;

static AnnotationList *current = NULL;

static const char *const kinds[] = {[PROM_WARNING] = "warning", [PROM_INFO] = "info"};

PG_FUNCTION_INFO_V1(prom_annotate_sql);

/* ---- sending ---- */

static char *
print_time(int64 ms)
{
	pg_time_t	seconds = (pg_time_t) (ms / 1000 - (ms % 1000 < 0));
	struct pg_tm *tm = pg_gmtime(&seconds);
	char		buf[64];

	if (tm == NULL)
		return pstrdup("?");
	pg_strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", tm);
	return pstrdup(buf);
}

/* To the client alone: the server's log is not for what dashboards ask again and again. */
static void
send_notice(PromSeverity severity, const char *text)
{
	ereport(severity == PROM_WARNING ? WARNING_CLIENT_ONLY : NOTICE,
			(errcode(severity == PROM_WARNING ? MAKE_SQLSTATE('0', '1', 'P', 'R', 'W')
					 : MAKE_SQLSTATE('0', '1', 'P', 'R', 'I')),
			 errmsg_internal("%s", text),
			 errhidecontext(true)));
}

static void
send_annotation(const Annotation *a)
{
	const char *fixed = "";

	if (a->fixed.count > 0)
		fixed = psprintf(", from buckets %s to %s, with a max diff of %.2g, over " INT64_FORMAT " samples from %s to %s",
						 prom_annotate_number(a->fixed.low), prom_annotate_number(a->fixed.high), a->fixed.max_diff,
						 a->fixed.count, print_time(a->fixed.first_ms), print_time(a->fixed.last_ms));
	send_notice(a->severity, psprintf("PromQL %s: %s%s (%d:%d)", kinds[a->severity], a->text, fixed, a->line, a->column));
}

/* Without a list: the first time in a statement that the text comes. */
static void
send_once(const Annotation *a)
{
	static TimestampTz statement = 0;
	static uint64 sent[2][MAX_AT_ONCE];
	static int	nsent[2];
	uint64	   *hashes = sent[a->severity];
	int		   *n = &nsent[a->severity];

	if (statement != GetCurrentStatementStartTimestamp())
	{
		statement = GetCurrentStatementStartTimestamp();
		nsent[0] = nsent[1] = 0;
	}
	for (int i = 0; i < *n; i++)
		if (hashes[i] == a->hash)
			return;
	if (*n == MAX_AT_ONCE)
		return;
	hashes[(*n)++] = a->hash;
	send_annotation(a);
}

/* ---- the list ---- */

void
prom_annotate_merge(PromFixed *sum, const PromFixed *x)
{
	if (sum->count == 0)
	{
		*sum = *x;
		return;
	}
	sum->low = Min(sum->low, x->low);
	sum->high = Max(sum->high, x->high);
	sum->max_diff = Max(sum->max_diff, x->max_diff);
	sum->first_ms = Min(sum->first_ms, x->first_ms);
	sum->last_ms = Max(sum->last_ms, x->last_ms);
	sum->count += x->count;
}

static void
keep(AnnotationList *list, const Annotation *a)
{
	Annotation *item;

	for (int i = 0; i < list->n; i++)
	{
		item = &list->items[i];
		if (item->hash != a->hash || item->severity != a->severity || strcmp(item->text, a->text) != 0)
			continue;
		if (a->line > item->line || (a->line == item->line && a->column > item->column))
		{
			item->line = a->line;
			item->column = a->column;
		}
		if (a->fixed.count > 0)
			prom_annotate_merge(&item->fixed, &a->fixed);
		return;
	}
	if (list->n == MAX_KEPT)
		return;
	if (list->n == list->size)
	{
		list->size *= 2;
		list->items = repalloc(list->items, sizeof(Annotation) * list->size);
	}
	item = &list->items[list->n++];
	*item = *a;
	item->text = MemoryContextStrdup(list->context, a->text);
}

static void
drop_list(void *arg)
{
	AnnotationList *list = arg;

	current = list->outer;
}

void
prom_annotations_begin(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "PromQL annotations",
												  ALLOCSET_DEFAULT_SIZES);
	AnnotationList *list = MemoryContextAllocZero(context, sizeof(AnnotationList));
	MemoryContextCallback *callback = MemoryContextAllocZero(context, sizeof(MemoryContextCallback));

	list->context = context;
	list->size = 8;
	list->items = MemoryContextAlloc(context, sizeof(Annotation) * list->size);
	list->outer = current;
	callback->func = drop_list;
	callback->arg = list;
	MemoryContextRegisterResetCallback(context, callback);
	current = list;
}

/* In the order of the query's text, whatever the order of evaluation was. */
static int
compare_annotations(const void *a, const void *b)
{
	const Annotation *x = a;
	const Annotation *y = b;

	if (x->line != y->line)
		return x->line - y->line;
	return x->column != y->column ? x->column - y->column : strcmp(x->text, y->text);
}

void
prom_annotations_end(int limit)
{
	AnnotationList *list = current;

	Assert(list != NULL);
	qsort(list->items, list->n, sizeof(Annotation), compare_annotations);
	for (PromSeverity severity = PROM_WARNING; severity <= PROM_INFO; severity++)
	{
		int			n = 0;

		for (int i = 0; i < list->n; i++)
			if (list->items[i].severity == severity && (n++ < limit || limit == 0))
				send_annotation(&list->items[i]);
		if (limit > 0 && n > limit)
			send_notice(severity, psprintf("%d more %s annotations omitted", n - limit, kinds[severity]));
	}
	MemoryContextDelete(list->context);
}

/* ---- what others call ---- */

static void
annotate(PromSeverity severity, const text *place, const PromFixed *fixed, char *text)
{
	Annotation	a = {.severity = severity, .text = text, .line = 1, .column = 1};

	(void) sscanf(text_to_cstring(place), "%d:%d", &a.line, &a.column);
	a.hash = hash_bytes_extended((const unsigned char *) text, strlen(text), 0);
	if (fixed != NULL)
		a.fixed = *fixed;
	if (current != NULL)
		keep(current, &a);
	else
		send_once(&a);
}

static char * pg_attribute_printf(1, 0)
print_va(const char *fmt, va_list args)
{
	StringInfoData out;
	va_list		again;
	int			needed;

	initStringInfo(&out);
	for (;;)
	{
		va_copy(again, args);
		needed = appendStringInfoVA(&out, fmt, again);
		va_end(again);
		if (needed == 0)
			return out.data;
		enlargeStringInfo(&out, needed);
	}
}

void
prom_annotate(PromSeverity severity, const text *place, const char *fmt,...)
{
	va_list		args;
	char	   *text;

	va_start(args, fmt);
	text = print_va(fmt, args);
	va_end(args);
	annotate(severity, place, NULL, text);
	pfree(text);
}

void
prom_annotate_fixed(const text *place, const PromFixed *fixed, const char *fmt,...)
{
	va_list		args;
	char	   *text;

	va_start(args, fmt);
	text = print_va(fmt, args);
	va_end(args);
	annotate(PROM_INFO, place, fixed, text);
	pfree(text);
}

char *
prom_annotate_number(double v)
{
	int			digits = 0;
	char	   *text;
	int			exponent;

	if (isnan(v))
		return pstrdup("NaN");
	if (isinf(v))
		return pstrdup(v > 0 ? "+Inf" : "-Inf");
	do
		text = psprintf("%.*e", digits, v);
	while (strtod(text, NULL) != v && digits++ < 17);
	exponent = atoi(strchr(text, 'e') + 1);
	if (exponent < -4 || exponent >= 6)
		return text;
	return psprintf("%.*f", Max(digits - exponent, 0), v);
}

/* prom._annotate(severity, message, place): false */
Datum
prom_annotate_sql(PG_FUNCTION_ARGS)
{
	char	   *severity = text_to_cstring(PG_GETARG_TEXT_PP(0));
	PromSeverity kind = PROM_WARNING;

	if (strcmp(severity, "info") == 0)
		kind = PROM_INFO;
	else if (strcmp(severity, "warning") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("severity must be \"warning\" or \"info\", not \"%s\"", severity)));
	prom_annotate(kind, PG_GETARG_TEXT_PP(2), "%s", text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_BOOL(false);
}

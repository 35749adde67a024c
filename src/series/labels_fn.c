/*
 * labels_fn.c
 *	  label_replace and label_join: one label of a set is made from others.
 *
 * An absent label is the empty text, and a label that becomes empty is removed.  The arguments are the
 * same for all series and Prometheus checks them even if there is none: so does the translation, and
 * the functions themselves do as they may be called by anybody.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "series/series.h"

/* A text of bytes not ended by zero */
typedef struct Bytes
{
	const char *at;
	int			len;
} Bytes;

static void check_name(const char *name, const char *place, const char *function);
static PromRegex *compile(const char *pattern, int len);
static Bytes get_label(const PromLabels *l, Bytes name);
static PromLabels *set_label(const PromLabels *l, Bytes name, Bytes value);
static void raise_too_long(Bytes name);

PG_FUNCTION_INFO_V1(prom_in_order);
PG_FUNCTION_INFO_V1(prom_label_replace);
PG_FUNCTION_INFO_V1(prom_label_join);

void
prom_check_label_replace(const char *dst, const char *pattern)
{
	(void) compile(pattern, strlen(pattern));
	check_name(dst, "destination", "label_replace");
}

void
prom_check_label_join(const char *dst, List *sources)
{
	ListCell   *lc;

	foreach(lc, sources)
		check_name(lfirst(lc), "source", "label_join");
	check_name(dst, "destination", "label_join");
}

static Bytes
text_argument(FunctionCallInfo fcinfo, int n)
{
	text	   *t = PG_GETARG_TEXT_PP(n);
	Bytes		b = {VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t)};

	return b;
}

/* prom._label_replace(labels, dst, replacement, src, regex) */
Datum
prom_label_replace(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	Bytes		dst = text_argument(fcinfo, 1);
	Bytes		replacement = text_argument(fcinfo, 2);
	Bytes		pattern = text_argument(fcinfo, 4);
	Bytes		value = get_label(l, text_argument(fcinfo, 3));
	char	   *result = palloc(PROM_LABEL_VALUE_MAX);
	PromRegex  *re = compile(pattern.at, pattern.len);
	Bytes		made = {result};

	if (dst.len == 0)
		check_name("", "destination", "label_replace");
	if (!prom_regex_expand(re, value.at, value.len, replacement.at, replacement.len, result,
						   PROM_LABEL_VALUE_MAX, &made.len))
		PG_RETURN_POINTER(l);
	if (made.len > PROM_LABEL_VALUE_MAX)
		raise_too_long(dst);
	l = set_label(l, dst, made);
	pfree(result);
	PG_RETURN_POINTER(l);
}

/* prom._label_join(labels, dst, separator, sources) */
Datum
prom_label_join(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	Bytes		dst = text_argument(fcinfo, 1);
	Bytes		separator = text_argument(fcinfo, 2);
	ArrayType  *sources = PG_GETARG_ARRAYTYPE_P(3);
	StringInfoData joined;
	Bytes		made;
	Datum	   *names;
	int			n;

	if (array_contains_nulls(sources))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("label names must not be null")));
	if (dst.len == 0)
		check_name("", "destination", "label_join");
	deconstruct_array(sources, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &n);
	initStringInfo(&joined);
	for (int i = 0; i < n; i++)
	{
		text	   *name = DatumGetTextPP(names[i]);
		Bytes		source = {VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)};
		Bytes		value;

		if (source.len == 0)
			check_name("", "source", "label_join");
		value = get_label(l, source);
		if (i > 0)
			appendBinaryStringInfo(&joined, separator.at, separator.len);
		appendBinaryStringInfo(&joined, value.at, value.len);
		if (joined.len > PROM_LABEL_VALUE_MAX)
			raise_too_long(dst);
	}
	made.at = joined.data;
	made.len = joined.len;
	PG_RETURN_POINTER(set_label(l, dst, made));
}

static void
check_name(const char *name, const char *place, const char *function)
{
	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid %s label name in %s(): %s", place, function, name)));
}

static PromRegex *
compile(const char *pattern, int len)
{
	char	   *reason;
	PromRegex  *re = prom_regex_get(pattern, len, &reason);

	if (re == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
				 errmsg("invalid regular expression in label_replace(): %.*s", len, pattern),
				 errdetail_internal("%s", reason)));
	return re;
}

static Bytes
get_label(const PromLabels *l, Bytes name)
{
	Bytes		value = {"", 0};

	(void) prom_labels_get(l, name.at, name.len, &value.at, &value.len);
	return value;
}

/* The set with that label, or without it if the value is empty */
static PromLabels *
set_label(const PromLabels *l, Bytes name, Bytes value)
{
	PromLabel	pair = {name.at, value.at, name.len, value.len};

	return prom_labels_with(l, pair);
}

static void
raise_too_long(Bytes name)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("value of label \"%.*s\" is longer than %d bytes",
					pg_mbcliplen(name.at, name.len, 100), name.at, PROM_LABEL_VALUE_MAX)));
}

Datum
prom_in_order(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

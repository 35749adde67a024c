/*
 * labels_order.c
 *	  Natural order of label sets, as sort keys: prom._labels_order.
 *
 * A value is a list of runs, of digits and of other characters in turn.  Two runs of digits compare as
 * numbers, any others bytewise; the shorter list comes first.  The key is made such that its bytes
 * compare like that: a run of digits is "0" and the number's digits with their count ahead, another run
 * is itself, ended by a zero; the value ends with one more.  Only the first runs of two values can be of
 * different kinds when all before is equal, and there "0" stands for any digit, for it compares with
 * what is no digit as they all do.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "series/series.h"

static const char *append_number(StringInfo key, const char *at, const char *end);
static const char *append_text(StringInfo key, const char *at, const char *end);

PG_FUNCTION_INFO_V1(prom_labels_order);

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* prom._labels_order(labels, names): the values of these labels, one behind the other */
Datum
prom_labels_order(PG_FUNCTION_ARGS)
{
	PromLabels *labels = PG_GETARG_PROM_LABELS_P(0);
	Datum	   *names;
	bool	   *nulls;
	int			n;
	StringInfoData key;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &n);
	pq_begintypsend(&key);
	for (int i = 0; i < n; i++)
	{
		text	   *name = nulls[i] ? NULL : DatumGetTextPP(names[i]);
		const char *at;
		int			len;

		if (name && prom_labels_get(labels, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), &at, &len))
			for (const char *end = at + len; at < end;)
				at = is_digit(*at) ? append_number(&key, at, end) : append_text(&key, at, end);
		appendStringInfoChar(&key, '\0');
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&key));
}

/* Leading zeros do not count. */
static const char *
append_number(StringInfo key, const char *at, const char *end)
{
	const char *digits;

	while (at < end && *at == '0')
		at++;
	digits = at;
	while (at < end && is_digit(*at))
		at++;
	appendStringInfoChar(key, '0');
	pq_sendint32(key, at - digits);
	appendBinaryStringInfo(key, digits, at - digits);
	return at;
}

/* A byte of 0 or 1 becomes two, so that it is not taken for an end. */
static const char *
append_text(StringInfo key, const char *at, const char *end)
{
	for (; at < end && !is_digit(*at); at++)
	{
		if ((unsigned char) *at <= 1)
			appendStringInfoChar(key, '\1');
		appendStringInfoChar(key, *at);
	}
	appendStringInfoChar(key, '\0');
	return at;
}

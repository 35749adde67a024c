/*
 * labels_set.c
 *	  Label sets of results that take labels from somewhere else.
 *
 * A value that is empty or absent removes the label.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "series/series.h"

PG_FUNCTION_INFO_V1(prom_labels_set);
PG_FUNCTION_INFO_V1(prom_labels_take);

/* Replaces a pair of the same name or adds one at [*n]. */
static void
set_pair(PromLabel *pairs, int *n, PromLabel pair)
{
	int			at = 0;

	while (at < *n && (pairs[at].name_len != pair.name_len ||
					   memcmp(pairs[at].name, pair.name, pair.name_len) != 0))
		at++;
	pairs[at] = pair;
	*n = Max(*n, at + 1);
}

static PromLabels *
build_or_raise(const PromLabel *pairs, int n)
{
	char	   *reason;
	PromLabels *l = prom_labels_build(pairs, n, &reason);

	if (l == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("result has an invalid label set"),
				 errdetail_internal("%s", reason)));
	return l;
}

/* The pairs of a set, with room for "more" of them. */
static PromLabel *
unpack_with_room(const PromLabels *labels, int *n, int more)
{
	PromLabel  *pairs = prom_labels_unpack(labels, n);
	PromLabel  *out = palloc(sizeof(PromLabel) * (*n + more));

	memcpy(out, pairs, sizeof(PromLabel) * *n);
	pfree(pairs);
	return out;
}

PromLabels *
prom_labels_with(const PromLabels *labels, PromLabel pair)
{
	int			n;
	PromLabel  *pairs = unpack_with_room(labels, &n, 1);
	PromLabels *result;

	set_pair(pairs, &n, pair);
	result = build_or_raise(pairs, n);
	pfree(pairs);
	return result;
}

/* prom._labels_set(labels, name, value) */
Datum
prom_labels_set(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(1);
	text	   *value = PG_GETARG_TEXT_PP(2);
	PromLabel	pair = {VARDATA_ANY(name), VARDATA_ANY(value), VARSIZE_ANY_EXHDR(name), VARSIZE_ANY_EXHDR(value)};

	PG_RETURN_POINTER(prom_labels_with(PG_GETARG_PROM_LABELS_P(0), pair));
}

/* prom._labels_take(labels, names, source): labels, those of these names as source has them */
Datum
prom_labels_take(PG_FUNCTION_ARGS)
{
	PromLabels *source = PG_GETARG_PROM_LABELS_P(2);
	Datum	   *names;
	bool	   *nulls;
	int			nnames;
	int			n;
	PromLabel  *pairs;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &nnames);
	pairs = unpack_with_room(PG_GETARG_PROM_LABELS_P(0), &n, nnames);
	for (int i = 0; i < nnames; i++)
	{
		text	   *name = nulls[i] ? cstring_to_text("") : DatumGetTextPP(names[i]);
		PromLabel	pair = {VARDATA_ANY(name), "", VARSIZE_ANY_EXHDR(name), 0};

		if (pair.name_len == 0)
			continue;
		(void) prom_labels_get(source, pair.name, pair.name_len, &pair.value, &pair.value_len);
		set_pair(pairs, &n, pair);
	}
	PG_RETURN_POINTER(build_or_raise(pairs, n));
}

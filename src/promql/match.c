/*
 * match.c
 *	  One-to-one vector matching, as aggregates over the rows of one signature.
 *
 * First the right side's rows are merged (prom._one_side), then each row of the left side meets the
 * merged right side (prom._match_arith, _match_compare, _match_filter).  At each step at most one row
 * of either side may be there.  A second row on the right is an error unless the left side, of whatever
 * signature, has nothing at that step; on the left only if the right has a partner for it, and before a
 * comparison is looked at.  States are "internal" and live
 * in the aggregate's context; results do not depend on the order of rows, only the choice of the two
 * series that an error names does.  The rows that one state keeps count as samples of the
 * query, for their number has no other limit.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "common/compat.h"
#include "promql/vals.h"
#include "series/series.h"
#include "store/store.h"

PG_FUNCTION_INFO_V1(prom_one_side_add);
PG_FUNCTION_INFO_V1(prom_one_side_final);
PG_FUNCTION_INFO_V1(prom_match_arith_add);
PG_FUNCTION_INFO_V1(prom_match_compare_add);
PG_FUNCTION_INFO_V1(prom_match_final);
PG_FUNCTION_INFO_V1(prom_match_filter_add);
PG_FUNCTION_INFO_V1(prom_match_filter_final);

static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext cxt;

	if (!AggCheckCallContext(fcinfo, &cxt))
		elog(ERROR, "aggregate's function called outside of an aggregate");
	return cxt;
}

static PromLabels *
copy_labels(const PromLabels *l)
{
	PromLabels *copy = palloc(VARSIZE_ANY(l));

	memcpy(copy, l, VARSIZE_ANY(l));
	return copy;
}

/* ---- the right side ---- */

typedef struct OneSide
{
	PromVals   *merged;
	PromLabels **labels;		/* of the rows */
	int			nrows;
	int			size;
	int		   *owner;			/* row that gave each step its value; NULL while there is one row */
} OneSide;

static char *
print_labels(const PromLabels *l)
{
	StringInfoData out;

	initStringInfo(&out);
	prom_labels_print(&out, l);
	return out.data;
}

static void
raise_right_duplicate(const PromLabels *sig, const PromLabels *a, const PromLabels *b)
{
	char	   *first = print_labels(a);
	char	   *second = print_labels(b);

	if (strcmp(first, second) > 0)
	{
		char	   *swap = first;

		first = second;
		second = swap;
	}
	ereport(ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg("found duplicate series for the match group %s on the right hand-side of the operation: "
					"[%s, %s];many-to-many matching not allowed: matching labels must be unique on one side",
					print_labels(sig), first, second)));
}

static OneSide *
new_one_side(const PromLabels *labels, const PromVals *v)
{
	OneSide    *s = palloc0(sizeof(OneSide));

	s->merged = prom_vals_copy(v);
	s->size = 4;
	s->labels = palloc(sizeof(PromLabels *) * s->size);
	s->labels[s->nrows++] = copy_labels(labels);
	return s;
}

static void
add_right(OneSide *s, const PromLabels *sig, const PromLabels *labels, const PromVals *v, const PromVals *left)
{
	if (v->nsteps != s->merged->nsteps)
		elog(ERROR, "operands have %d and %d steps", s->merged->nsteps, v->nsteps);
	if (left != NULL && left->nsteps != v->nsteps)
		elog(ERROR, "operands have %d and %d steps", left->nsteps, v->nsteps);
	if (s->owner == NULL)
		s->owner = palloc0(sizeof(int) * v->nsteps);
	if (s->nrows == s->size)
	{
		s->size *= 2;
		s->labels = repalloc(s->labels, sizeof(PromLabels *) * s->size);
	}
	s->labels[s->nrows] = copy_labels(labels);
	for (int i = 0; i < v->nsteps; i++)
	{
		if (!prom_vals_has(v, i))
			continue;
		if (prom_vals_has(s->merged, i) && left != NULL && prom_vals_has(left, i))
			raise_right_duplicate(sig, s->labels[s->owner[i]], labels);
		prom_vals_set(s->merged, i, v->v[i]);
		s->owner[i] = s->nrows;
	}
	s->nrows++;
}

/* prom._one_side(sig, labels, v, left): "left" is present where any row of the left side is, or NULL. */
Datum
prom_one_side_add(PG_FUNCTION_ARGS)
{
	MemoryContext cxt = aggregate_context(fcinfo);
	OneSide    *s = PG_ARGISNULL(0) ? NULL : (OneSide *) PG_GETARG_POINTER(0);

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		elog(ERROR, "row of a vector without labels");
	if (!PG_ARGISNULL(3))
	{
		PromLabels *sig = PG_GETARG_PROM_LABELS_P(1);
		PromLabels *labels = PG_GETARG_PROM_LABELS_P(2);
		PromVals   *v = PG_GETARG_PROM_VALS_P(3);
		MemoryContext old = MemoryContextSwitchTo(cxt);

		if (s == NULL)
			s = new_one_side(labels, v);
		else
			add_right(s, sig, labels, v, PG_ARGISNULL(4) ? NULL : PG_GETARG_PROM_VALS_P(4));
		MemoryContextSwitchTo(old);
	}
	if (s == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(s);
}

Datum
prom_one_side_final(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(prom_vals_copy(((OneSide *) PG_GETARG_POINTER(0))->merged));
}

/* ---- left rows meet the right side ---- */

typedef struct MatchRow
{
	PromLabels *labels;
	PromVals   *vals;
} MatchRow;

typedef struct MatchState
{
	int			nsteps;
	uint64	   *matched;		/* steps at which a left row had its partner */
	PromVals   *vals;			/* the result, unless rows keep their labels */
	MatchRow   *rows;
	int			nrows;
	int			size;
} MatchState;

static MatchState *
get_match(FunctionCallInfo fcinfo, int nsteps)
{
	MatchState *s;
	MemoryContext old;

	if (!PG_ARGISNULL(0))
	{
		s = (MatchState *) PG_GETARG_POINTER(0);
		if (s->nsteps != nsteps)
			elog(ERROR, "operands have %d and %d steps", s->nsteps, nsteps);
		return s;
	}
	old = MemoryContextSwitchTo(aggregate_context(fcinfo));
	prom_vals_check_steps(nsteps);
	s = palloc0(sizeof(MatchState));
	s->nsteps = nsteps;
	s->matched = palloc0(sizeof(uint64) * PROM_VALS_WORDS(nsteps));
	MemoryContextSwitchTo(old);
	return s;
}

/* Puts the results of one left row into out. */
static void
match_row(MatchState *s, PromqlBinary op, const PromVals *l, const PromVals *r, bool returns_bool,
		  PromVals *out)
{
	for (int i = 0; i < s->nsteps; i++)
	{
		uint64		bit = UINT64CONST(1) << (i % 64);
		double		x;

		if (!prom_vals_has(l, i) || !prom_vals_has(r, i))
			continue;
		if (s->matched[i / 64] & bit)
			ereport(ERROR,
					(errcode(ERRCODE_CARDINALITY_VIOLATION),
					 errmsg("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")));
		s->matched[i / 64] |= bit;
		if (promql_binary_step(op, prom_vals_get(l, i), prom_vals_get(r, i), returns_bool, false, &x))
			prom_vals_set(out, i, x);
	}
}

/* Transition of the two that merge all rows: (state, op, l, r [, returns_bool]). */
static Datum
add_match(FunctionCallInfo fcinfo, bool comparison, bool returns_bool)
{
	MemoryContext cxt = aggregate_context(fcinfo);

	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2) && !PG_ARGISNULL(3))
	{
		PromVals   *l = PG_GETARG_PROM_VALS_P(2);
		PromVals   *r = PG_GETARG_PROM_VALS_P(3);
		MatchState *s = get_match(fcinfo, promql_binary_steps(l, r));

		if (s->vals == NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(cxt);

			s->vals = prom_vals_new(s->nsteps);
			MemoryContextSwitchTo(old);
		}
		match_row(s, promql_binary_parse(PG_GETARG_TEXT_PP(1), comparison), l, r, returns_bool, s->vals);
		PG_RETURN_POINTER(s);
	}
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(PG_GETARG_POINTER(0));
}

Datum
prom_match_arith_add(PG_FUNCTION_ARGS)
{
	return add_match(fcinfo, false, false);
}

Datum
prom_match_compare_add(PG_FUNCTION_ARGS)
{
	return add_match(fcinfo, true, !PG_ARGISNULL(4) && PG_GETARG_BOOL(4));
}

Datum
prom_match_final(PG_FUNCTION_ARGS)
{
	MatchState *s = (MatchState *) PG_GETARG_POINTER(0);

	if (s->vals->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(prom_vals_copy(s->vals));
}

/* ---- filters: left rows keep their labels ---- */

static void
keep_row(MatchState *s, const PromLabels *labels, const PromVals *vals)
{
	if (s->nrows == s->size)
	{
		s->size = s->size == 0 ? 2 : s->size * 2;
		s->rows = s->rows == NULL ? palloc(sizeof(MatchRow) * s->size)
			: repalloc(s->rows, sizeof(MatchRow) * s->size);
	}
	prom_store_count_samples(vals->nsteps);
	s->rows[s->nrows].labels = copy_labels(labels);
	s->rows[s->nrows].vals = prom_vals_copy(vals);
	s->nrows++;
}

/* prom._match_filter(op, labels, l, r) */
Datum
prom_match_filter_add(PG_FUNCTION_ARGS)
{
	MemoryContext cxt = aggregate_context(fcinfo);
	MatchState *s = PG_ARGISNULL(0) ? NULL : (MatchState *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2) && !PG_ARGISNULL(3) && !PG_ARGISNULL(4))
	{
		PromLabels *labels = PG_GETARG_PROM_LABELS_P(2);
		PromVals   *l = PG_GETARG_PROM_VALS_P(3);
		PromVals   *r = PG_GETARG_PROM_VALS_P(4);
		PromVals   *out;

		s = get_match(fcinfo, promql_binary_steps(l, r));
		out = prom_vals_new(s->nsteps);
		match_row(s, promql_binary_parse(PG_GETARG_TEXT_PP(1), true), l, r, false, out);
		if (out->npresent > 0)
		{
			MemoryContext old = MemoryContextSwitchTo(cxt);

			keep_row(s, labels, out);
			MemoryContextSwitchTo(old);
		}
	}
	if (s == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(s);
}

static int
compare_rows(const void *a, const void *b)
{
	return prom_labels_cmp(((const MatchRow *) a)->labels, ((const MatchRow *) b)->labels);
}

/* Sorts the rows by their labels and makes one of those with equal ones, which never share a step. */
static void
merge_rows(MatchState *s)
{
	int			n = 0;

	qsort(s->rows, s->nrows, sizeof(MatchRow), compare_rows);
	for (int k = 0; k < s->nrows; k++)
	{
		MatchRow   *row = &s->rows[k];

		CHECK_FOR_INTERRUPTS();
		if (n == 0 || prom_labels_cmp(s->rows[n - 1].labels, row->labels) != 0)
		{
			s->rows[n++] = *row;
			continue;
		}
		for (int i = 0; i < s->nsteps; i++)
			if (prom_vals_has(row->vals, i))
				prom_vals_set(s->rows[n - 1].vals, i, row->vals->v[i]);
	}
	s->nrows = n;
}

/* The rows as prom.labeled_vals[]. */
Datum
prom_match_filter_final(PG_FUNCTION_ARGS)
{
	MatchState *s = (MatchState *) PG_GETARG_POINTER(0);
	Oid			type = get_element_type(get_fn_expr_rettype(fcinfo->flinfo));
	TupleDesc	desc;
	Datum	   *elements;

	if (s->nrows == 0)
		PG_RETURN_NULL();
	merge_rows(s);
	desc = lookup_rowtype_tupdesc(type, -1);
	elements = palloc(sizeof(Datum) * s->nrows);
	for (int k = 0; k < s->nrows; k++)
	{
		Datum		values[2] = {PointerGetDatum(s->rows[k].labels), PointerGetDatum(s->rows[k].vals)};
		bool		nulls[2] = {false, false};

		elements[k] = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	}
	ReleaseTupleDesc(desc);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, s->nrows, type, -1, false, TYPALIGN_DOUBLE));
}

/*
 * match.c
 *	  Vector matching: pairs of rows that have the same signature become results.
 *
 * One to one (prom._match_arith, _match_compare, _match_filter) an aggregate sees all left rows of a
 * signature, each beside the right side as one_side.c merged it.  With group_left or group_right
 * (prom._group_arith, _group_compare) it sees the pairs that make one result label set.  Either way
 * two pairs at one step are an error, before a comparison is looked at.  States are "internal" and
 * live in the aggregate's context; results do not depend on the order of rows.
 */
#include "postgres.h"

#include "common/compat.h"
#include "vals/labeled.h"

PG_FUNCTION_INFO_V1(prom_match_arith_add);
PG_FUNCTION_INFO_V1(prom_match_compare_add);
PG_FUNCTION_INFO_V1(prom_group_arith_add);
PG_FUNCTION_INFO_V1(prom_group_compare_add);
PG_FUNCTION_INFO_V1(prom_match_final);
PG_FUNCTION_INFO_V1(prom_match_filter_add);
PG_FUNCTION_INFO_V1(prom_match_filter_final);

/* ---- left rows meet the right side ---- */

typedef struct MatchState
{
	int			nsteps;
	uint64	   *matched;		/* steps at which a left row had its partner */
	PromVals   *vals;			/* the result, unless rows keep their labels */
	PromLabeledList kept;		/* also rows with notes alone */
} MatchState;

static MatchState *
get_match(FunctionCallInfo fcinfo, int nsteps)
{
	MatchState *s;
	MemoryContext old;

	if (!PG_ARGISNULL(0))
	{
		s = (MatchState *) PG_GETARG_POINTER(0);
		prom_vals_check_equal(s->nsteps, nsteps);
		return s;
	}
	old = MemoryContextSwitchTo(prom_aggregate_context(fcinfo));
	prom_vals_check_steps(nsteps);
	s = palloc0(sizeof(MatchState));
	s->nsteps = nsteps;
	s->matched = palloc0(sizeof(uint64) * PROM_VALS_WORDS(nsteps));
	MemoryContextSwitchTo(old);
	return s;
}

static const char one_to_one[] = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
static const char grouped[] = "multiple matches for labels: grouping labels must ensure unique matches";

/* The step has a result: an error if it has had one before. */
static inline void
mark_matched(MatchState *s, int i, const char *twice)
{
	uint64		bit = UINT64CONST(1) << (i % 64);

	if (s->matched[i / 64] & bit)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg_internal("%s", twice)));
	s->matched[i / 64] |= bit;
}

/* Puts the results of one pair of rows into out; "twice" is what is wrong if a step has had some before. */
static void
match_floats(MatchState *s, PromBinary op, const PromVals *l, const PromVals *r, bool returns_bool,
		  const char *twice, PromVals *out)
{
	for (int i = 0; i < s->nsteps; i++)
	{
		double		x;

		if (!prom_vals_has(l, i) || !prom_vals_has(r, i))
			continue;
		mark_matched(s, i, twice);
		if (prom_binary_step(op, prom_vals_get(l, i), prom_vals_get(r, i), returns_bool, false, &x))
			prom_vals_set(out, i, x);
	}
}

/* The same where there are histograms; pairs that the operator does not take are none. */
static PromVals *
match_mixed(MatchState *s, PromBinary op, const PromVals *l, const PromVals *r, bool returns_bool, const char *twice)
{
	PromMixed	m = prom_mixed_new(s->nsteps);

	for (int i = 0; i < s->nsteps; i++)
		if (prom_vals_has(l, i) && prom_vals_has(r, i) &&
			prom_binary_mixed(op, l, r, i, returns_bool, false, &m))
			mark_matched(s, i, twice);
	return prom_mixed_finish(&m);
}

/* The results of one pair of rows, beside what is in "vals", which is of the context. */
static PromVals *
match_row(MatchState *s, PromVals *vals, PromBinary op, const PromVals *l, const PromVals *r, bool returns_bool,
		  const char *twice, MemoryContext cxt)
{
	MemoryContext old;
	PromVals   *row = NULL;

	if (prom_binary_is_mixed(op, l, r))
		row = match_mixed(s, op, l, r, returns_bool, twice);
	old = MemoryContextSwitchTo(cxt);
	if (vals == NULL)
		vals = prom_vals_new(s->nsteps);
	if (row)
		vals = prom_vals_union(vals, row);
	MemoryContextSwitchTo(old);
	if (row == NULL)
		match_floats(s, op, l, r, returns_bool, twice, vals);
	return vals;
}

/* Transition of the two that merge all rows: (state, op, l, r [, returns_bool]). */
static Datum
add_match(FunctionCallInfo fcinfo, bool comparison, bool returns_bool, const char *twice)
{
	MemoryContext cxt = prom_aggregate_context(fcinfo);

	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2) && !PG_ARGISNULL(3))
	{
		PromVals   *l = PG_GETARG_PROM_VALS_P(2);
		PromVals   *r = PG_GETARG_PROM_VALS_P(3);
		MatchState *s = get_match(fcinfo, prom_binary_steps(l, r));

		s->vals = match_row(s, s->vals, prom_binary_parse(PG_GETARG_TEXT_PP(1), comparison), l, r, returns_bool,
							twice, cxt);
		PG_RETURN_POINTER(s);
	}
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(PG_GETARG_POINTER(0));
}

Datum
prom_match_arith_add(PG_FUNCTION_ARGS)
{
	return add_match(fcinfo, false, false, one_to_one);
}

Datum
prom_match_compare_add(PG_FUNCTION_ARGS)
{
	return add_match(fcinfo, true, !PG_ARGISNULL(4) && PG_GETARG_BOOL(4), one_to_one);
}

Datum
prom_group_arith_add(PG_FUNCTION_ARGS)
{
	return add_match(fcinfo, false, false, grouped);
}

Datum
prom_group_compare_add(PG_FUNCTION_ARGS)
{
	return add_match(fcinfo, true, !PG_ARGISNULL(4) && PG_GETARG_BOOL(4), grouped);
}

Datum
prom_match_final(PG_FUNCTION_ARGS)
{
	MatchState *s = (MatchState *) PG_GETARG_POINTER(0);

	PROM_VALS_RETURN(s->vals);
}

/* ---- filters: left rows keep their labels ---- */

/* prom._match_filter(op, labels, l, r) */
Datum
prom_match_filter_add(PG_FUNCTION_ARGS)
{
	MemoryContext cxt = prom_aggregate_context(fcinfo);
	MatchState *s = PG_ARGISNULL(0) ? NULL : (MatchState *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2) && !PG_ARGISNULL(3) && !PG_ARGISNULL(4))
	{
		PromLabels *labels = PG_GETARG_PROM_LABELS_P(2);
		PromVals   *l = PG_GETARG_PROM_VALS_P(3);
		PromVals   *r = PG_GETARG_PROM_VALS_P(4);
		PromVals   *out;

		s = get_match(fcinfo, prom_binary_steps(l, r));
		out = match_row(s, NULL, prom_binary_parse(PG_GETARG_TEXT_PP(1), true), l, r, false, one_to_one,
						CurrentMemoryContext);
		if (out->npresent > 0 || out->notes != 0)
		{
			MemoryContext old = MemoryContextSwitchTo(cxt);

			prom_labeled_add(&s->kept, labels, out);
			MemoryContextSwitchTo(old);
		}
	}
	if (s == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(s);
}

/* The rows as prom.labeled_vals[]. */
Datum
prom_match_filter_final(PG_FUNCTION_ARGS)
{
	MatchState *s = (MatchState *) PG_GETARG_POINTER(0);

	prom_labeled_merge(&s->kept);
	return prom_labeled_array(fcinfo, &s->kept);
}

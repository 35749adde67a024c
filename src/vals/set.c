/*
 * set.c
 *	  What set operators do to values: steps are kept or dropped, values never change.
 *
 * "and" and "unless" mask the left rows with the steps at which the right side has the signature.
 * "or" (an aggregate over the rows of both sides that have one signature) keeps the left rows and what
 * the right ones have at steps without any left row; a label set of both sides becomes one series.
 */
#include "postgres.h"

#include "common/compat.h"
#include "vals/labeled.h"

PG_FUNCTION_INFO_V1(prom_and);
PG_FUNCTION_INFO_V1(prom_unless);
PG_FUNCTION_INFO_V1(prom_fill);
PG_FUNCTION_INFO_V1(prom_or_add);
PG_FUNCTION_INFO_V1(prom_or_final);

/* x at the steps where mask is present (or absent, if "present" is false). */
static PromVals *
mask_steps(const PromVals *x, const PromVals *mask, bool present)
{
	PromMixed	m = prom_mixed_new(prom_binary_steps(x, mask));

	m.vals->flags = x->flags & mask->flags;
	if (!prom_vals_is_mixed(x))
	{
		for (int i = 0; i < m.vals->nsteps; i++)
			if (prom_vals_has(x, i) && prom_vals_has(mask, i) == present)
				prom_vals_set(m.vals, i, prom_vals_get(x, i));
		return m.vals;
	}
	for (int i = 0; i < m.vals->nsteps; i++)
		if (prom_vals_has(x, i) && prom_vals_has(mask, i) == present)
			prom_mixed_copy(&m, i, x);
	return prom_mixed_finish(&m);
}

Datum
prom_and(PG_FUNCTION_ARGS)
{
	PromVals   *out = mask_steps(PG_GETARG_PROM_VALS_P(0), PG_GETARG_PROM_VALS_P(1), true);

	if (out->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

/* prom._unless(l, r): r NULL masks nothing. */
Datum
prom_unless(PG_FUNCTION_ARGS)
{
	PromVals   *out;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(1))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	out = mask_steps(PG_GETARG_PROM_VALS_P(0), PG_GETARG_PROM_VALS_P(1), false);
	if (out->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

/* prom._fill(l, r, value): the value where r is missing. */
Datum
prom_fill(PG_FUNCTION_ARGS)
{
	PromVals   *out;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(1))
		out = prom_vals_copy(PG_GETARG_PROM_VALS_P(0));
	else
		out = mask_steps(PG_GETARG_PROM_VALS_P(0), PG_GETARG_PROM_VALS_P(1), false);
	if (out->npresent == 0)
		PG_RETURN_NULL();
	for (int i = 0; i < out->nsteps; i++)
		if (prom_vals_has(out, i))
			out->v[i] = PG_GETARG_FLOAT8(2);
	PG_RETURN_POINTER(out);
}

/* ---- or ---- */

typedef struct OrState
{
	PromVals   *mask;			/* steps with a left row; NULL while there is none */
	PromLabeledList left;
	PromLabeledList right;
} OrState;

static void
add_mask(OrState *s, const PromVals *vals)
{
	if (s->mask == NULL)
		s->mask = prom_vals_new(vals->nsteps);
	prom_vals_check_equal(s->mask->nsteps, vals->nsteps);
	for (int i = 0; i < vals->nsteps; i++)
		if (prom_vals_has(vals, i))
			prom_vals_set(s->mask, i, 1);
}

/* prom._or(is_left, labels, v) */
Datum
prom_or_add(PG_FUNCTION_ARGS)
{
	MemoryContext old = MemoryContextSwitchTo(prom_aggregate_context(fcinfo));
	OrState    *s = PG_ARGISNULL(0) ? palloc0(sizeof(OrState)) : (OrState *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2) && !PG_ARGISNULL(3))
	{
		PromLabels *labels = PG_GETARG_PROM_LABELS_P(2);
		PromVals   *vals = PG_GETARG_PROM_VALS_P(3);

		if (PG_GETARG_BOOL(1))
			add_mask(s, vals);
		prom_labeled_add(PG_GETARG_BOOL(1) ? &s->left : &s->right, labels, vals);
	}
	MemoryContextSwitchTo(old);
	PG_RETURN_POINTER(s);
}

/* The series as prom.labeled_vals[]. */
Datum
prom_or_final(PG_FUNCTION_ARGS)
{
	OrState    *s = (OrState *) PG_GETARG_POINTER(0);

	if (s->mask == NULL)
		return prom_labeled_array(fcinfo, &s->right);
	for (int k = 0; k < s->right.n; k++)
	{
		PromVals   *vals = mask_steps(s->right.rows[k].vals, s->mask, false);

		if (vals->npresent > 0)
			prom_labeled_add(&s->left, s->right.rows[k].labels, vals);
	}
	prom_labeled_merge(&s->left);
	return prom_labeled_array(fcinfo, &s->left);
}

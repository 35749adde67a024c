/*
 * limit_ratio.c
 *	  limit_ratio: the share of the series whose hash is below a ratio.
 *
 * The hash of a label set, divided by the greatest one, is its place between 0 and 1.  A ratio of at
 * least 0 lets through what lies below it, a negative one what lies at 1 + ratio or above: r and r - 1
 * complement each other.  It is the hash that Prometheus computes, so the same series are chosen.
 */
#include "postgres.h"

#include <math.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/compat.h"
#include "series/series.h"
#include "vals/annotate.h"

static double place_of(const PromLabels *labels);
static void warn_of_ratio(double ratio, double cap, const text *place);
static void hash_text(XXH64_state_t *state, const char *text, int len);

PG_FUNCTION_INFO_V1(prom_limit_ratio);
PG_FUNCTION_INFO_V1(prom_ratio_limit);

/* prom._limit_ratio(labels, vals, ratio) */
Datum
prom_limit_ratio(PG_FUNCTION_ARGS)
{
	double		place = place_of(PG_GETARG_PROM_LABELS_P(0));
	PromVals   *x = PG_GETARG_PROM_VALS_P(1);
	PromVals   *ratio = PG_GETARG_PROM_VALS_P(2);
	PromMixed	m = prom_mixed_new(x->nsteps);
	PromVals   *out;

	if (!prom_vals_is_const(ratio))
		prom_vals_check_equal(x->nsteps, ratio->nsteps);
	for (int i = 0; i < x->nsteps; i++)
	{
		double		r = prom_vals_get(ratio, i);

		/* a ratio beyond 1 or -1 is taken for that */
		r = Max(Min(r, 1), -1);
		if (prom_vals_has(x, i) && (r >= 0 ? place < r : place >= 1 + r))
			prom_mixed_copy(&m, i, x);
	}
	out = prom_mixed_finish(&m);
	if (out->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

/*
 * prom._ratio_limit(ratio, place): the ratio; an error if it cannot be one; a warning if it is beyond 1 or -1;
 * NULL if it never lets anything through
 */
Datum
prom_ratio_limit(PG_FUNCTION_ARGS)
{
	PromVals   *ratio = PG_GETARG_PROM_VALS_P(0);
	bool		chooses = false;
	double		low = 0;
	double		high = 0;

	for (int i = 0; i < ratio->nsteps; i++)
	{
		if (isnan(ratio->v[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("Ratio value is NaN")));
		chooses |= ratio->v[i] != 0;
		low = Min(low, ratio->v[i]);
		high = Max(high, ratio->v[i]);
	}
	if (high > 1)
		warn_of_ratio(high, 1, PG_GETARG_TEXT_PP(1));
	if (low < -1)
		warn_of_ratio(low, -1, PG_GETARG_TEXT_PP(1));
	if (!chooses)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(ratio);
}

static void
warn_of_ratio(double ratio, double cap, const text *place)
{
	prom_annotate(PROM_WARNING, place, "ratio value should be between -1 and 1, got %s, capping to %s",
				  prom_annotate_number(ratio), prom_annotate_number(cap));
}

static double
place_of(const PromLabels *labels)
{
	int			n;
	PromLabel  *pairs = prom_labels_unpack(labels, &n);
	XXH64_state_t state;

	XXH64_reset(&state, 0);
	for (int i = 0; i < n; i++)
	{
		hash_text(&state, pairs[i].name, pairs[i].name_len);
		hash_text(&state, pairs[i].value, pairs[i].value_len);
	}
	pfree(pairs);
	return (double) XXH64_digest(&state) / (double) PG_UINT64_MAX;
}

/* With its length ahead, in one byte or in three after one of 255 */
static void
hash_text(XXH64_state_t *state, const char *text, int len)
{
	uint8		length[4] = {255, len & 0xff, len >> 8 & 0xff, len >> 16 & 0xff};

	if (len < 255)
		length[0] = len;
	XXH64_update(state, length, len < 255 ? 1 : 4);
	XXH64_update(state, text, len);
}

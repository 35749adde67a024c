/*
 * agg.c
 *	  Aggregates over the values of many series that keep a few numbers per step, and checked merges.
 *
 * The state is the SQL type prom._agg_state, a flat value that is changed in place; not "internal", so
 * that states may travel between servers as well as between parallel workers.  It holds, per step, how
 * many inputs were present (counts), what they made (values), and for sums what rounding took away
 * (comps); for variances the mean (values) and the squares around it (comps).  All inputs have the same number of steps.  Final and combine functions are the same for
 * all aggregates: the state knows its kind.
 *
 * Native histograms have a part of their own at the state's end (agg_mixed.c).  A compensated sum depends on the order of its inputs, in the last bits only.
 */
#include "postgres.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "common/sum.h"
#include "vals/agg.h"
#include "vals/annotate.h"
#include "vals/state.h"

PG_FUNCTION_INFO_V1(prom_agg_state_in);
PG_FUNCTION_INFO_V1(prom_agg_state_out);
PG_FUNCTION_INFO_V1(prom_agg_state_recv);
PG_FUNCTION_INFO_V1(prom_agg_state_send);
PG_FUNCTION_INFO_V1(prom_agg_sum_add);
PG_FUNCTION_INFO_V1(prom_agg_avg_add);
PG_FUNCTION_INFO_V1(prom_agg_min_add);
PG_FUNCTION_INFO_V1(prom_agg_max_add);
PG_FUNCTION_INFO_V1(prom_agg_count_add);
PG_FUNCTION_INFO_V1(prom_agg_group_add);
PG_FUNCTION_INFO_V1(prom_agg_stdvar_add);
PG_FUNCTION_INFO_V1(prom_agg_stddev_add);
PG_FUNCTION_INFO_V1(prom_single_add);
PG_FUNCTION_INFO_V1(prom_unique_add);
PG_FUNCTION_INFO_V1(prom_only_add);
PG_FUNCTION_INFO_V1(prom_agg_combine);
PG_FUNCTION_INFO_V1(prom_agg_final);

/* ---- layout ---- */

/* Arrays of doubles that a kind has: values, comps. */
static int
double_arrays(PromAggKind kind)
{
	switch (kind)
	{
		case PROM_AGG_SUM:
		case PROM_AGG_AVG:
		case PROM_AGG_STDVAR:
		case PROM_AGG_STDDEV:
			return 2;
		case PROM_AGG_COUNT:
		case PROM_AGG_GROUP:
			return 0;
		default:
			return 1;
	}
}

static double *
get_comps(PromAggState *s)
{
	return s->values + s->nsteps;
}

uint32 *
prom_agg_counts(PromAggState *s)
{
	return (uint32 *) (s->values + (size_t) double_arrays(s->kind) * s->nsteps);
}

static PromAggState *
new_state(PromAggKind kind, int nsteps)
{
	size_t		size;
	PromAggState   *s;

	prom_vals_check_steps(nsteps);
	size = offsetof(PromAggState, values) +
		(sizeof(double) * double_arrays(kind) + sizeof(uint32)) * (size_t) nsteps;
	s = palloc0(size);
	SET_VARSIZE(s, size);
	s->version = PROM_AGG_VERSION;
	s->kind = kind;
	s->nsteps = nsteps;
	if (kind == PROM_AGG_SUM || kind == PROM_AGG_AVG)
		for (int i = 0; i < nsteps; i++)
			s->values[i] = -0.0;
	return s;
}

/* ---- one step ---- */

void
prom_agg_raise_same(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg("vector cannot contain metrics with the same labelset")));
}

static inline void
add_mean(double *value, double *comp, uint32 *count, double x)
{
	bool		running = (*count & PROM_AGG_RUNNING) != 0;
	uint32		n = (*count & ~PROM_AGG_RUNNING) + 1;

	prom_mean_add(value, comp, &running, n, x);
	*count = n | (running ? PROM_AGG_RUNNING : 0);
}

/* Two means become one: as sums if that stays finite, else as means weighted by their counts. */
static void
combine_mean(double *value, double *comp, uint32 *count, double value2, double comp2, uint32 count2)
{
	double		n1 = *count & ~PROM_AGG_RUNNING;
	double		n2 = count2 & ~PROM_AGG_RUNNING;
	double		n = n1 + n2;
	double		sum = *value;
	double		c = *comp;

	if (n1 == 0 || n2 == 0)
	{
		if (n1 == 0)
		{
			*value = value2;
			*comp = comp2;
			*count = count2;
		}
		return;
	}
	if (((*count | count2) & PROM_AGG_RUNNING) == 0)
	{
		prom_sum_add(&sum, &c, value2);
		if (!isinf(sum))
		{
			*value = sum;
			*comp = c + comp2;
			*count += count2;
			return;
		}
	}
	*value = prom_mean(*value, *comp, (*count & PROM_AGG_RUNNING) != 0, n1) * (n1 / n);
	*comp = 0;
	prom_sum_add(value, comp,
				   prom_mean(value2, comp2, (count2 & PROM_AGG_RUNNING) != 0, n2) * (n2 / n));
	*count = (uint32) n | PROM_AGG_RUNNING;
}

/* x replaces the extreme so far if it is beyond it, or if that is NaN or nothing. */
static inline void
add_extreme(PromAggKind kind, double *value, uint32 *count, double x)
{
	if (*count == 0 || isnan(*value) || (kind == PROM_AGG_MIN ? x < *value : x > *value))
		*value = x;
}

/* Welford's running form; one infinity or NaN makes all NaN. */
static inline void
add_square(double *mean, double *squares, uint32 n, double x)
{
	double		delta = x - *mean;

	*mean += delta / n;
	*squares += delta * (x - *mean);
}

static void
combine_squares(double *mean, double *squares, double n, double mean2, double squares2, double n2)
{
	double		delta = mean2 - *mean;

	if (n == 0)
	{
		*mean = mean2;
		*squares = squares2;
		return;
	}
	*mean += delta * (n2 / (n + n2));
	*squares += squares2 + delta * delta * (n * n2 / (n + n2));
}

/* ---- many steps ---- */

/* A row that has a value at each step; false if that makes no difference to the kind. */
static bool
add_full(PromAggState *s, const PromVals *x)
{
	uint32	   *counts = prom_agg_counts(s);

	if (s->kind == PROM_AGG_SUM)
		prom_sum_add_all(s->values, get_comps(s), x->v, x->nsteps);
	else if (s->kind != PROM_AGG_COUNT && s->kind != PROM_AGG_GROUP)
		return false;
	for (int i = 0; i < x->nsteps; i++)
		counts[i]++;
	return true;
}

static void
add_vals(PromAggState *s, const PromVals *x)
{
	double	   *values = s->values;
	double	   *comps = get_comps(s);
	uint32	   *counts = prom_agg_counts(s);

	if (x->npresent == x->nsteps && add_full(s, x))
		return;
	for (int i = 0; i < x->nsteps; i++)
	{
		double		v = x->v[i];

		if (!prom_vals_has(x, i))
			continue;
		switch ((PromAggKind) s->kind)
		{
			case PROM_AGG_SUM:
				prom_sum_add(&values[i], &comps[i], v);
				counts[i]++;
				break;
			case PROM_AGG_AVG:
				add_mean(&values[i], &comps[i], &counts[i], v);
				break;
			case PROM_AGG_MIN:
			case PROM_AGG_MAX:
				add_extreme(s->kind, &values[i], &counts[i], v);
				counts[i]++;
				break;
			case PROM_AGG_COUNT:
			case PROM_AGG_GROUP:
				counts[i]++;
				break;
			case PROM_AGG_STDVAR:
			case PROM_AGG_STDDEV:
				add_square(&values[i], &comps[i], ++counts[i], v);
				break;
			case PROM_AGG_UNIQUE:
				if (counts[i] > 0 || prom_agg_step_count(s, i) > 0)
					prom_agg_raise_same();
				/* FALLTHROUGH */
			case PROM_AGG_SINGLE:
				values[i] = v;
				counts[i]++;
				break;
		}
	}
}

/* What becomes of a histogram at step i; the state, moved if it has grown. */
static PromAggState *
add_histogram(PromAggState *s, int i, const PromHistogram *h)
{
	switch ((PromAggKind) s->kind)
	{
		case PROM_AGG_SUM:
		case PROM_AGG_AVG:
		case PROM_AGG_UNIQUE:
			return prom_agg_add_histogram(s, i, h);
		case PROM_AGG_COUNT:
		case PROM_AGG_GROUP:
			prom_agg_counts(s)[i]++;
			break;
		case PROM_AGG_SINGLE:
			break;
		case PROM_AGG_MIN:
		case PROM_AGG_MAX:
		case PROM_AGG_STDVAR:
		case PROM_AGG_STDDEV:
			s->notes |= PROM_NOTE_IGNORED;
			break;
	}
	return s;
}

/* One row; the state, moved if it has grown. */
static PromAggState *
add_row(PromAggState *s, PromVals *x)
{
	PromVals   *floats;

	if (prom_vals_is_const(x))
		elog(ERROR, "input of an aggregate is a constant");
	if (x->nsteps != s->nsteps)
		elog(ERROR, "input of an aggregate has %d steps, not %d", x->nsteps, s->nsteps);
	floats = prom_vals_floats(x);
	add_vals(s, floats);
	if (floats == x)
		return s;
	pfree(floats);
	for (int i = 0; i < x->nsteps; i++)
	{
		const PromHistogram *h = prom_vals_histogram(x, i);

		if (h)
			s = add_histogram(s, i, h);
	}
	return s;
}

/* Adds what another state of the same kind has seen of floats. */
static void
add_state(PromAggState *s, PromAggState *other)
{
	double	   *values = s->values;
	double	   *comps = get_comps(s);
	uint32	   *counts = prom_agg_counts(s);
	double	   *values2 = other->values;
	double	   *comps2 = get_comps(other);
	uint32	   *counts2 = prom_agg_counts(other);

	if (other->kind != s->kind || other->nsteps != s->nsteps)
		elog(ERROR, "states of different aggregates cannot be combined");
	for (int i = 0; i < s->nsteps; i++)
	{
		if (counts2[i] == 0)
			continue;
		switch ((PromAggKind) s->kind)
		{
			case PROM_AGG_SUM:
				prom_sum_add(&values[i], &comps[i], values2[i]);
				if (!isinf(values[i]))
					comps[i] += comps2[i];
				break;
			case PROM_AGG_AVG:
				combine_mean(&values[i], &comps[i], &counts[i], values2[i], comps2[i], counts2[i]);
				continue;
			case PROM_AGG_MIN:
			case PROM_AGG_MAX:
				add_extreme(s->kind, &values[i], &counts[i], values2[i]);
				break;
			case PROM_AGG_COUNT:
			case PROM_AGG_GROUP:
				break;
			case PROM_AGG_STDVAR:
			case PROM_AGG_STDDEV:
				combine_squares(&values[i], &comps[i], counts[i], values2[i], comps2[i], counts2[i]);
				break;
			case PROM_AGG_UNIQUE:
				if (counts[i] > 0 || prom_agg_step_count(s, i) > 0)
					prom_agg_raise_same();
				/* FALLTHROUGH */
			case PROM_AGG_SINGLE:
				values[i] = values2[i];
				break;
		}
		counts[i] += counts2[i];
	}
}

/* ---- transition, combine, final ---- */

/*
 * Transition with argument n as input.  A new state is made in the current context: the executor
 * copies it into the aggregate's, once.
 */
static Datum
add_argument(FunctionCallInfo fcinfo, PromAggKind kind, int n)
{
	PromAggState   *s = NULL;
	PromVals   *x;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "aggregate's function called outside of an aggregate");
	if (!PG_ARGISNULL(0))
	{
		s = PG_GETARG_PROM_AGG_STATE_P(0);
		if (s->kind != kind)
			elog(ERROR, "state belongs to another aggregate");
	}
	if (!PG_ARGISNULL(n))
	{
		x = PG_GETARG_PROM_VALS_P(n);
		if (s == NULL)
			s = new_state(kind, x->nsteps);
		s = add_row(s, x);
		if ((Pointer) x != PG_GETARG_POINTER(n))
			pfree(x);
	}
	if (s == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(s);
}

Datum
prom_agg_sum_add(PG_FUNCTION_ARGS)
{
	return add_argument(fcinfo, PROM_AGG_SUM, 1);
}

Datum
prom_agg_avg_add(PG_FUNCTION_ARGS)
{
	return add_argument(fcinfo, PROM_AGG_AVG, 1);
}

Datum
prom_agg_min_add(PG_FUNCTION_ARGS)
{
	return add_argument(fcinfo, PROM_AGG_MIN, 1);
}

Datum
prom_agg_max_add(PG_FUNCTION_ARGS)
{
	return add_argument(fcinfo, PROM_AGG_MAX, 1);
}

Datum
prom_agg_count_add(PG_FUNCTION_ARGS)
{
	return add_argument(fcinfo, PROM_AGG_COUNT, 1);
}

Datum
prom_agg_group_add(PG_FUNCTION_ARGS)
{
	return add_argument(fcinfo, PROM_AGG_GROUP, 1);
}

Datum
prom_agg_stdvar_add(PG_FUNCTION_ARGS)
{
	return add_argument(fcinfo, PROM_AGG_STDVAR, 1);
}

Datum
prom_agg_stddev_add(PG_FUNCTION_ARGS)
{
	return add_argument(fcinfo, PROM_AGG_STDDEV, 1);
}

Datum
prom_single_add(PG_FUNCTION_ARGS)
{
	return add_argument(fcinfo, PROM_AGG_SINGLE, 1);
}

/* prom._unique(labels, v): rows of one label set, which must not share a step. */
Datum
prom_unique_add(PG_FUNCTION_ARGS)
{
	return add_argument(fcinfo, PROM_AGG_UNIQUE, 2);
}

/* prom._only(v): strict, so that it is called for the second row only. */
Datum
prom_only_add(PG_FUNCTION_ARGS)
{
	prom_agg_raise_same();
	PG_RETURN_NULL();
}

Datum
prom_agg_combine(PG_FUNCTION_ARGS)
{
	PromAggState   *s;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "aggregate's function called outside of an aggregate");
	if (PG_ARGISNULL(0))
	{
		if (PG_ARGISNULL(1))
			PG_RETURN_NULL();
		PG_RETURN_POINTER(PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(1)));
	}
	s = PG_GETARG_PROM_AGG_STATE_P(0);
	if (!PG_ARGISNULL(1))
	{
		PromAggState *other = PG_GETARG_PROM_AGG_STATE_P(1);

		add_state(s, other);
		s = prom_agg_add_histograms(s, other);
		s->notes |= other->notes;
	}
	PG_RETURN_POINTER(s);
}

static double
final_value(PromAggState *s, int i, uint32 count)
{
	switch ((PromAggKind) s->kind)
	{
		case PROM_AGG_SUM:
			return s->values[i] + get_comps(s)[i];
		case PROM_AGG_AVG:
			return prom_mean(s->values[i], get_comps(s)[i], (count & PROM_AGG_RUNNING) != 0,
							   count & ~PROM_AGG_RUNNING);
		case PROM_AGG_COUNT:
			return count;
		case PROM_AGG_GROUP:
			return 1;
		case PROM_AGG_STDVAR:
			return get_comps(s)[i] / count;
		case PROM_AGG_STDDEV:
			return sqrt(get_comps(s)[i] / count);
		default:
			return s->values[i];
	}
}

Datum
prom_agg_final(PG_FUNCTION_ARGS)
{
	PromAggState   *s = PG_GETARG_PROM_AGG_STATE_P(0);
	PromVals   *out = prom_vals_new(s->nsteps);
	uint32	   *counts = prom_agg_counts(s);

	for (int i = 0; i < s->nsteps; i++)
		if (counts[i] > 0 && (s->kind != PROM_AGG_SINGLE || counts[i] == 1))
			prom_vals_set(out, i, final_value(s, i, counts[i]));
	out->notes = s->notes;
	if (s->histograms != 0)
		out = prom_agg_final_mixed(s, out);
	PROM_VALS_RETURN(out);
}

/* ---- input and output ---- */

Datum
prom_agg_state_send(PG_FUNCTION_ARGS)
{
	PromAggState   *s = PG_GETARG_PROM_AGG_STATE_P(0);
	uint32	   *counts = prom_agg_counts(s);
	int			ndoubles = double_arrays(s->kind) * s->nsteps;
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, s->version);
	pq_sendbyte(&buf, s->kind);
	pq_sendint16(&buf, s->notes);
	pq_sendint32(&buf, s->nsteps);
	for (int i = 0; i < ndoubles; i++)
		pq_sendfloat8(&buf, s->values[i]);
	for (int i = 0; i < s->nsteps; i++)
		pq_sendint32(&buf, counts[i]);
	prom_agg_send_histograms(s, &buf);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

#define STATE_HEAD_BYTES 8		/* version, kind, notes, nsteps */

static PromAggState *
receive_state(StringInfo buf)
{
	size_t		left = buf->len - buf->cursor;
	int			version = 0;
	int			kind = 0;
	int			notes = 0;
	int			nsteps = 0;
	PromAggState   *s;
	uint32	   *counts;

	if (left >= STATE_HEAD_BYTES)
	{
		version = pq_getmsgbyte(buf);
		kind = pq_getmsgbyte(buf);
		notes = pq_getmsgint(buf, 2);
		nsteps = pq_getmsgint(buf, 4);
		left -= STATE_HEAD_BYTES;
	}
	if (version != PROM_AGG_VERSION || kind >= PROM_AGG_KINDS || nsteps < 1 || nsteps > PROM_VALS_MAX_STEPS ||
		left < (sizeof(double) * double_arrays(kind) + sizeof(uint32)) * (size_t) nsteps)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid state of an aggregate")));
	s = new_state(kind, nsteps);
	for (int i = 0; i < double_arrays(kind) * nsteps; i++)
		s->values[i] = pq_getmsgfloat8(buf);
	counts = prom_agg_counts(s);
	for (int i = 0; i < nsteps; i++)
		counts[i] = pq_getmsgint(buf, 4);
	s->notes = notes;
	return prom_agg_receive_histograms(s, buf);
}

Datum
prom_agg_state_recv(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(receive_state((StringInfo) PG_GETARG_POINTER(0)));
}

Datum
prom_agg_state_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(prom_state_text(DirectFunctionCall1(prom_agg_state_send, PG_GETARG_DATUM(0))));
}

Datum
prom_agg_state_in(PG_FUNCTION_ARGS)
{
	StringInfoData buf;

	prom_state_bytes(PG_GETARG_CSTRING(0), &buf);
	PG_RETURN_POINTER(receive_state(&buf));
}

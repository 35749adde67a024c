/*
 * window.c
 *	  The leaf aggregates: chunk rows of one series in, its values at all steps out.
 *
 * Called once per series over rows (data, ord), whose order does not matter: the gather sorts the
 * samples and "ord" decides between equal times.  All share one transition, which collects the samples
 * that some window can see; they differ in the final function.  The state is "internal" and lives in
 * the aggregate's context; the chunk reader lives as long as the query, as thousands of series are
 * read through it.  Rows with NULL data (of an outer join) are skipped.  No sample: no result.
 */
#include "postgres.h"

#include "common/int.h"

#include "chunk/chunk.h"
#include "common/compat.h"
#include "vals/window.h"
#include "store/store.h"

typedef struct LeafState
{
	PromGather	gather;
	PromSteps	steps;
	int64		range_ms;
	bool		has_scalar;
	PromRangeScalar scalar;
	bool		has_reach;		/* extended windows */
	PromRangeReach reach;
	int64		from_ms;		/* samples wanted: (from, to] */
	int64		to_ms;
	int32		sid;
	int16		shard;
} LeafState;

PG_FUNCTION_INFO_V1(prom_window_add);
PG_FUNCTION_INFO_V1(prom_extended_add);
PG_FUNCTION_INFO_V1(prom_samples_add);
PG_FUNCTION_INFO_V1(prom_samples_done);
PG_FUNCTION_INFO_V1(prom_extended_samples_done);
PG_FUNCTION_INFO_V1(prom_raw_done);

/* The leaf's arguments must be there; only the data of a row may be NULL. */
static void
check_arguments(FunctionCallInfo fcinfo)
{
	for (int i = 2; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument %d of a leaf aggregate must not be null", i)));
}

/* The aggregate's state, made if this is its first row. */
static LeafState *
get_state(FunctionCallInfo fcinfo, bool *is_new)
{
	MemoryContext cxt;
	LeafState  *s;

	if (!AggCheckCallContext(fcinfo, &cxt))
		elog(ERROR, "leaf aggregate's function called outside of an aggregate");
	*is_new = PG_ARGISNULL(0);
	if (!*is_new)
		return (LeafState *) PG_GETARG_POINTER(0);
	prom_store_count_series();
	s = MemoryContextAllocZero(cxt, sizeof(LeafState));
	prom_gather_init(&s->gather, cxt);
	return s;
}

void
prom_range_bounds(const PromSteps *steps, int64 range_ms, int64 *from_ms, int64 *to_ms)
{
	int64		length_ms;

	prom_vals_check_steps(steps->n);
	if (steps->step_ms < 0 || range_ms < 0 ||
		pg_mul_s64_overflow(steps->step_ms, steps->n - 1, &length_ms) ||
		pg_add_s64_overflow(steps->start_ms, length_ms, to_ms) ||
		pg_sub_s64_overflow(steps->start_ms, range_ms, from_ms))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("steps or range out of range")));
}

PromRangeScalar
prom_range_scalar(FunctionCallInfo fcinfo, int arg, int nsteps)
{
	PromRangeScalar s = {PG_GETARG_PROM_VALS_P(arg), NULL, PG_GETARG_INT64(arg + 1), PG_GETARG_INT64(arg + 2)};
	PromSteps	now = {s.now_ms, s.now_step_ms, nsteps};
	int64		from_ms;
	int64		to_ms;

	prom_range_bounds(&now, 0, &from_ms, &to_ms);
	if (!prom_vals_is_const(s.vals))
		prom_vals_check_equal(s.vals->nsteps, nsteps);
	if (PG_NARGS() > arg + 3)
		s.second = PG_GETARG_PROM_VALS_P(arg + 3);
	if (s.second && !prom_vals_is_const(s.second))
		prom_vals_check_equal(s.second->nsteps, nsteps);
	return s;
}

/* Where the windows of a new state are. */
static void
set_windows(FunctionCallInfo fcinfo, LeafState *s)
{
	s->sid = PG_GETARG_INT32(3);
	s->steps.start_ms = PG_GETARG_INT64(4);
	s->steps.step_ms = PG_GETARG_INT64(5);
	s->steps.n = PG_GETARG_INT32(6);
	s->range_ms = PG_GETARG_INT64(7);
	prom_range_bounds(&s->steps, s->range_ms, &s->from_ms, &s->to_ms);
}

/* The function's parameters, if it has any. */
static void
set_scalar(FunctionCallInfo fcinfo, LeafState *s)
{
	MemoryContext cxt;
	MemoryContext old;

	s->has_scalar = PG_NARGS() > 8;
	if (!s->has_scalar)
		return;
	s->scalar = prom_range_scalar(fcinfo, 8, s->steps.n);
	(void) AggCheckCallContext(fcinfo, &cxt);
	old = MemoryContextSwitchTo(cxt);
	s->scalar.vals = prom_vals_copy(s->scalar.vals);
	if (s->scalar.second)
		s->scalar.second = prom_vals_copy(s->scalar.second);
	MemoryContextSwitchTo(old);
}

/* Adds the wanted samples of the row's chunk. */
static void
add_row(FunctionCallInfo fcinfo, LeafState *s)
{
	PromChunk  *chunk = PG_GETARG_PROM_CHUNK_P(1);
	PromChunkReader *reader = fcinfo->flinfo->fn_extra;
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	int64		order = PG_GETARG_INT64(2);
	int			before = s->gather.n;
	PromScanCounts *counts = prom_store_counts();
	int			column;

	if (reader == NULL)
	{
		reader = palloc0(sizeof(PromChunkReader));
		fcinfo->flinfo->fn_extra = reader;
	}
	prom_chunk_open(reader, chunk);
	MemoryContextSwitchTo(old);
	s->shard = reader->shard;
	column = prom_chunk_find(reader, s->sid);
	if (column >= 0)
	{
		int			count = prom_chunk_count(reader, column);

		/* 8 bytes each for time, value and order; the gather doubles its room */
		if (s->gather.n + count > s->gather.size)
			prom_store_need_memory(((size_t) s->gather.size * 2 + count) * 3 * 8);
		prom_gather_column(&s->gather, reader, column, s->from_ms, s->to_ms, order);
	}
	if (order < PROM_FRESH_ORDER)
	{
		counts->chunks++;
		counts->chunks_used += s->gather.n > before;
		prom_store_count_samples(s->gather.n - before);
	}
}

/* How far the windows of a new state see beyond their range. */
static void
set_reach(FunctionCallInfo fcinfo, LeafState *s)
{
	s->has_reach = true;
	s->reach.before_ms = PG_GETARG_INT64(8);
	s->reach.after_ms = PG_GETARG_INT64(9);
	if (s->reach.before_ms < 0 || s->reach.after_ms < 0 ||
		pg_sub_s64_overflow(s->from_ms, s->reach.before_ms, &s->from_ms) ||
		pg_add_s64_overflow(s->to_ms, s->reach.after_ms, &s->to_ms))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("steps or range out of range")));
}

/* One row; "set" reads what the arguments of the first row have beside the windows. */
static Datum
window_add(FunctionCallInfo fcinfo, void (*set) (FunctionCallInfo fcinfo, LeafState *s))
{
	LeafState  *s;
	bool		is_new;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_POINTER(PG_GETARG_POINTER(0));
	}
	check_arguments(fcinfo);
	s = get_state(fcinfo, &is_new);
	if (is_new)
	{
		set_windows(fcinfo, s);
		set(fcinfo, s);
	}
	add_row(fcinfo, s);
	PG_RETURN_POINTER(s);
}

/* (state, data, ord, sid, start_ms, step_ms, nsteps, range_ms [, scalar, now_ms, now_step_ms [, second]]) */
Datum
prom_window_add(PG_FUNCTION_ARGS)
{
	return window_add(fcinfo, set_scalar);
}

/* (state, data, ord, sid, start_ms, step_ms, nsteps, range_ms, before_ms, after_ms) */
Datum
prom_extended_add(PG_FUNCTION_ARGS)
{
	return window_add(fcinfo, set_reach);
}

/* Takes the markers that a series ended out of the samples. */
static void
remove_stale(PromGather *g)
{
	int			n = 0;

	while (n < g->n && !prom_is_stale(g->values[n]))
		n++;
	for (int i = n; i < g->n; i++)
	{
		if (prom_is_stale(g->values[i]))
			continue;
		if (g->histograms)
			g->histograms[n] = g->histograms[i];
		g->t_ms[n] = g->t_ms[i];
		g->values[n++] = g->values[i];
	}
	g->n = n;
}

/* Puts the samples in order. */
static void
finish_gather(PromGather *g, bool keep_stale)
{
	/* what sorting takes: two arrays of samples with time, value and order */
	if (!g->sorted)
		prom_store_need_memory((size_t) g->n * 2 * 3 * 8);
	prom_gather_finish(g);
	if (!keep_stale)
		remove_stale(g);
}

static Datum
finish_window(FunctionCallInfo fcinfo, PromRangeFn fn, bool keep_stale)
{
	LeafState  *s;
	PromVals   *out;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "leaf aggregate's function called outside of an aggregate");
	s = (LeafState *) PG_GETARG_POINTER(0);
	finish_gather(&s->gather, keep_stale);
	prom_gather_hints(&s->gather);
	if (s->gather.histograms && s->has_reach)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s modifier is not supported with histograms", s->reach.after_ms > 0 ? "smoothed" : "anchored")));
	if (s->gather.histograms)
		out = prom_range_eval_mixed(s->gather.n, s->gather.t_ms, s->gather.values, s->gather.histograms, &s->steps,
									s->range_ms, fn, s->has_scalar ? &s->scalar : NULL);
	else
		out = prom_range_eval(s->gather.n, s->gather.t_ms, s->gather.values, &s->steps, s->range_ms, fn,
							  s->has_scalar ? &s->scalar : NULL, s->has_reach ? &s->reach : NULL);
	if (out == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

/* The final functions, prom_window_NAME for the aggregate prom._NAME or prom._NAME_over_time. */
#define WINDOW_FINAL(name, keep_stale) \
	extern PGDLLEXPORT Datum prom_window_##name(PG_FUNCTION_ARGS); \
	Datum \
	prom_window_##name(PG_FUNCTION_ARGS) \
	{ \
		return finish_window(fcinfo, prom_range_##name, keep_stale); \
	} \
	PG_FUNCTION_INFO_V1(prom_window_##name)

WINDOW_FINAL(instant, true);
WINDOW_FINAL(timestamp, true);
WINDOW_FINAL(rate, false);
WINDOW_FINAL(increase, false);
WINDOW_FINAL(delta, false);
WINDOW_FINAL(irate, false);
WINDOW_FINAL(idelta, false);
WINDOW_FINAL(changes, false);
WINDOW_FINAL(resets, false);
WINDOW_FINAL(deriv, false);
WINDOW_FINAL(predict_linear, false);
WINDOW_FINAL(sum, false);
WINDOW_FINAL(avg, false);
WINDOW_FINAL(min, false);
WINDOW_FINAL(max, false);
WINDOW_FINAL(count, false);
WINDOW_FINAL(stddev, false);
WINDOW_FINAL(stdvar, false);
WINDOW_FINAL(quantile, false);
WINDOW_FINAL(first, false);
WINDOW_FINAL(last, false);
WINDOW_FINAL(present, false);
WINDOW_FINAL(mad, false);
WINDOW_FINAL(ts_of_first, false);
WINDOW_FINAL(ts_of_last, false);
WINDOW_FINAL(ts_of_min, false);
WINDOW_FINAL(ts_of_max, false);
WINDOW_FINAL(double_exponential_smoothing, false);
WINDOW_FINAL(anchored_rate, false);
WINDOW_FINAL(anchored_increase, false);
WINDOW_FINAL(anchored_delta, false);
WINDOW_FINAL(anchored_changes, false);
WINDOW_FINAL(anchored_resets, false);
WINDOW_FINAL(smoothed_rate, false);
WINDOW_FINAL(smoothed_increase, false);
WINDOW_FINAL(smoothed_delta, false);
WINDOW_FINAL(smoothed_instant, false);

/* ---- the samples themselves ---- */

/* (state, data, ord, sid, from_ms, to_ms) */
Datum
prom_samples_add(PG_FUNCTION_ARGS)
{
	LeafState  *s;
	bool		is_new;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_POINTER(PG_GETARG_POINTER(0));
	}
	check_arguments(fcinfo);
	s = get_state(fcinfo, &is_new);
	if (is_new)
	{
		s->sid = PG_GETARG_INT32(3);
		s->from_ms = PG_GETARG_INT64(4);
		s->to_ms = PG_GETARG_INT64(5);
	}
	add_row(fcinfo, s);
	PG_RETURN_POINTER(s);
}

static Datum
finish_samples(FunctionCallInfo fcinfo, bool keep_stale)
{
	LeafState  *s;
	PromChunkBuilder *b;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "leaf aggregate's function called outside of an aggregate");
	s = (LeafState *) PG_GETARG_POINTER(0);
	finish_gather(&s->gather, keep_stale);
	if (s->gather.n == 0)
		PG_RETURN_NULL();
	b = prom_chunk_begin(PROM_CHUNK_PLAIN, s->shard);
	prom_chunk_add_mixed(b, s->sid, s->gather.n, s->gather.t_ms, s->gather.values, s->gather.histograms);
	PG_RETURN_POINTER(prom_chunk_finish(b));
}

/* The state is that of an extended window of one step, which makes smoothed of those that see what follows. */
Datum
prom_extended_samples_done(PG_FUNCTION_ARGS)
{
	LeafState  *s;
	PromChunkBuilder *b;
	int64	   *t_ms;
	double	   *v;
	int			n;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "leaf aggregate's function called outside of an aggregate");
	s = (LeafState *) PG_GETARG_POINTER(0);
	prom_gather_finish(&s->gather);
	remove_stale(&s->gather);
	t_ms = palloc_extended(sizeof(int64) * (s->gather.n + 2), MCXT_ALLOC_HUGE);
	v = palloc_extended(sizeof(double) * (s->gather.n + 2), MCXT_ALLOC_HUGE);
	n = prom_range_extended(s->gather.n, s->gather.t_ms, s->gather.values, s->steps.start_ms - s->range_ms,
							s->steps.start_ms, s->reach.after_ms > 0, t_ms, v);
	if (n == 0)
		PG_RETURN_NULL();
	b = prom_chunk_begin(PROM_CHUNK_PLAIN, s->shard);
	prom_chunk_add(b, s->sid, n, t_ms, v);
	PG_RETURN_POINTER(prom_chunk_finish(b));
}

Datum
prom_samples_done(PG_FUNCTION_ARGS)
{
	return finish_samples(fcinfo, false);
}

Datum
prom_raw_done(PG_FUNCTION_ARGS)
{
	return finish_samples(fcinfo, true);
}

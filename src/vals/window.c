/*
 * window.c
 *	  The leaf aggregates: chunk rows of a block of series in, the values of each at all steps out.
 *
 * Called once per block over rows (data, ord), whose order does not matter: a gather sorts the samples of each
 * series, and "ord" decides between equal times.  The result is an array with an element per series, in the order
 * of the ids given; NULL for a series that has nothing.
 *
 * A leaf that is stitched of several resolutions (stitch.c) has points of rollups among its rows, which are
 * gathered apart from samples.  Thinned samples are samples.
 *
 * All share one transition, which keeps the rows (packed.c); a state knows the window function (window_names.c) to
 * finish with, series by series.  The state is "internal" and lives in the aggregate's context.  Rows with NULL data
 * (of an outer join) are skipped.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "chunk/chunk.h"
#include "common/compat.h"
#include "select/select.h"
#include "store/store.h"
#include "vals/packed.h"
#include "vals/window.h"

typedef struct LeafState
{
	const PromRangeFunction *function;	/* NULL: the samples themselves are wanted */
	PromSteps	steps;
	int64		range_ms;
	bool		has_scalar;
	PromRangeScalar scalar;
	bool		has_reach;		/* extended windows */
	PromRangeReach reach;
	PromRangeStitch stitch;		/* no segments: all samples are raw */
	PromPacked	rows;			/* with the time that samples are wanted of */
} LeafState;

PG_FUNCTION_INFO_V1(prom_window_add);
PG_FUNCTION_INFO_V1(prom_stitched_add);
PG_FUNCTION_INFO_V1(prom_extended_add);
PG_FUNCTION_INFO_V1(prom_stitched_extended_add);
PG_FUNCTION_INFO_V1(prom_window_done);
PG_FUNCTION_INFO_V1(prom_samples_add);
PG_FUNCTION_INFO_V1(prom_reached_samples_add);
PG_FUNCTION_INFO_V1(prom_samples_done);
PG_FUNCTION_INFO_V1(prom_raw_done);

/*
 * The aggregate's state, made if this is its first row.  "data" is the number of the argument that is the
 * row's chunk; only that may be NULL.  The ids are two further.
 */
static LeafState *
get_state(FunctionCallInfo fcinfo, int data, bool *is_new)
{
	MemoryContext cxt;
	LeafState  *s;

	if (!AggCheckCallContext(fcinfo, &cxt))
		elog(ERROR, "leaf aggregate's function called outside of an aggregate");
	for (int i = 1; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument %d of a leaf aggregate must not be null", i)));
	*is_new = PG_ARGISNULL(0);
	if (!*is_new)
		return (LeafState *) PG_GETARG_POINTER(0);
	s = MemoryContextAllocZero(cxt, sizeof(LeafState));
	prom_packed_init(&s->rows, fcinfo->flinfo, cxt, PG_GETARG_ARRAYTYPE_P(data + 2));
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

/* Where the windows of a new state are: four arguments. */
static void
set_windows(FunctionCallInfo fcinfo, LeafState *s, int arg)
{
	s->steps.start_ms = PG_GETARG_INT64(arg);
	s->steps.step_ms = PG_GETARG_INT64(arg + 1);
	s->steps.n = PG_GETARG_INT32(arg + 2);
	s->range_ms = PG_GETARG_INT64(arg + 3);
	prom_range_bounds(&s->steps, s->range_ms, &s->rows.from_ms, &s->rows.to_ms);
}

/* The function's parameters, if it has any, from argument "arg" on. */
static void
set_scalar(FunctionCallInfo fcinfo, LeafState *s, int arg)
{
	MemoryContext cxt;
	MemoryContext old;

	s->has_scalar = PG_NARGS() > arg;
	if (!s->has_scalar)
		return;
	s->scalar = prom_range_scalar(fcinfo, arg, s->steps.n);
	(void) AggCheckCallContext(fcinfo, &cxt);
	old = MemoryContextSwitchTo(cxt);
	s->scalar.vals = prom_vals_copy(s->scalar.vals);
	if (s->scalar.second)
		s->scalar.second = prom_vals_copy(s->scalar.second);
	MemoryContextSwitchTo(old);
}

/* How far the windows of a new state see beyond their range: two arguments. */
static void
set_reach(FunctionCallInfo fcinfo, LeafState *s, int arg)
{
	s->has_reach = true;
	s->reach.before_ms = PG_GETARG_INT64(arg);
	s->reach.after_ms = PG_GETARG_INT64(arg + 1);
	if (s->reach.before_ms < 0 || s->reach.after_ms < 0 ||
		pg_sub_s64_overflow(s->rows.from_ms, s->reach.before_ms, &s->rows.from_ms) ||
		pg_add_s64_overflow(s->rows.to_ms, s->reach.after_ms, &s->rows.to_ms))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("steps or range out of range")));
}

/* The segments of a new state, which reach further back than its windows: argument "arg". */
static void
set_segments(FunctionCallInfo fcinfo, LeafState *s, int arg)
{
	const int	parts = s->function->parts;
	MemoryContext cxt;
	MemoryContext old;
	int64		reach_ms;

	(void) AggCheckCallContext(fcinfo, &cxt);
	old = MemoryContextSwitchTo(cxt);
	s->stitch.segment = prom_range_segments(PG_GETARG_ARRAYTYPE_P(arg), &s->stitch.n);
	MemoryContextSwitchTo(old);
	s->stitch.anchor = s->function->anchor;
	reach_ms = prom_range_coarsest(s->stitch.segment, s->stitch.n) * PROM_SEGMENT_REACH;
	if (pg_sub_s64_overflow(s->rows.from_ms, reach_ms, &s->rows.from_ms))
		s->rows.from_ms = PG_INT64_MIN;
	s->rows.mixed_from_ms = prom_range_mixed_from(s->stitch.segment, s->stitch.n);
	s->rows.has_points = (parts & ~(1 << PROM_PART_LAST | 1 << PROM_PART_RESET)) != 0;
	s->rows.has_counts = s->rows.has_points && (parts & (1 << PROM_PART_COUNT)) != 0 && parts != 1 << PROM_PART_COUNT;
}

/*
 * A row whose chunk is argument "data"; without one it leaves the state as it is.  "set" reads what the first
 * row's arguments behind the ids say.
 */
static Datum
leaf_add(FunctionCallInfo fcinfo, int data, void (*set) (FunctionCallInfo fcinfo, LeafState *s))
{
	LeafState  *s;
	bool		is_new;

	if (PG_ARGISNULL(data))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_POINTER(PG_GETARG_POINTER(0));
	}
	s = get_state(fcinfo, data, &is_new);
	if (is_new)
		set(fcinfo, s);
	prom_packed_add(&s->rows, (struct varlena *) PG_GETARG_POINTER(data), PG_GETARG_INT64(data + 1));
	PG_RETURN_POINTER(s);
}

static void
set_window(FunctionCallInfo fcinfo, LeafState *s)
{
	s->function = prom_range_function(PG_GETARG_TEXT_PP(1), Max(PG_NARGS() - 9 - 2, 0), false);
	set_windows(fcinfo, s, 5);
	set_scalar(fcinfo, s, 9);
}

static void
set_stitched(FunctionCallInfo fcinfo, LeafState *s)
{
	s->function = prom_range_function(PG_GETARG_TEXT_PP(1), Max(PG_NARGS() - 10 - 2, 0), false);
	set_windows(fcinfo, s, 5);
	set_segments(fcinfo, s, 9);
	set_scalar(fcinfo, s, 10);
}

static void
set_extended(FunctionCallInfo fcinfo, LeafState *s)
{
	s->function = prom_range_function(PG_GETARG_TEXT_PP(1), 0, true);
	set_windows(fcinfo, s, 5);
	set_reach(fcinfo, s, 9);
}

static void
set_stitched_extended(FunctionCallInfo fcinfo, LeafState *s)
{
	set_extended(fcinfo, s);
	set_segments(fcinfo, s, 11);
	/* it may see as far as a window further on, too */
	if (s->reach.after_ms > 0 &&
		pg_add_s64_overflow(s->rows.to_ms, prom_range_coarsest(s->stitch.segment, s->stitch.n), &s->rows.to_ms))
		s->rows.to_ms = PG_INT64_MAX;
}

static void
set_samples(FunctionCallInfo fcinfo, LeafState *s)
{
	s->rows.from_ms = PG_GETARG_INT64(4);
	s->rows.to_ms = PG_GETARG_INT64(5);
}

static void
set_reached_samples(FunctionCallInfo fcinfo, LeafState *s)
{
	set_windows(fcinfo, s, 4);
	set_reach(fcinfo, s, 8);
}

/* (state, function, data, ord, sids, start_ms, step_ms, nsteps, range_ms [, scalar, now_ms, now_step_ms [, second]]) */
Datum
prom_window_add(PG_FUNCTION_ARGS)
{
	return leaf_add(fcinfo, 2, set_window);
}

/* (state, function, data, ord, sids, start_ms, step_ms, nsteps, range_ms, segments [, scalar, now_ms, now_step_ms [, second]]) */
Datum
prom_stitched_add(PG_FUNCTION_ARGS)
{
	return leaf_add(fcinfo, 2, set_stitched);
}

/* (state, function, data, ord, sids, start_ms, step_ms, nsteps, range_ms, before_ms, after_ms, segments) */
Datum
prom_stitched_extended_add(PG_FUNCTION_ARGS)
{
	return leaf_add(fcinfo, 2, set_stitched_extended);
}

/* (state, function, data, ord, sids, start_ms, step_ms, nsteps, range_ms, before_ms, after_ms) */
Datum
prom_extended_add(PG_FUNCTION_ARGS)
{
	return leaf_add(fcinfo, 2, set_extended);
}

/* (state, data, ord, sids, from_ms, to_ms) */
Datum
prom_samples_add(PG_FUNCTION_ARGS)
{
	return leaf_add(fcinfo, 1, set_samples);
}

/* (state, data, ord, sids, start_ms, step_ms, nsteps, range_ms, before_ms, after_ms) */
Datum
prom_reached_samples_add(PG_FUNCTION_ARGS)
{
	return leaf_add(fcinfo, 1, set_reached_samples);
}

/* ---- results ---- */

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

/* The samples of a series in order */
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

/* The same of a series of which there are points. */
static Datum
points_result(const LeafState *s, PromPackedSamples *one, PromRangeStitch stitch)
{
	const PromRangeFunction *function = s->function;
	PromRangeFn fn = function->points ? function->points : function->fn;
	PromGather *values = &one->points;
	PromGather *counts = &one->counts;
	bool		counts_only = function->parts == 1 << PROM_PART_COUNT;
	PromStitched all;
	PromVals   *result;

	finish_gather(&one->samples, false);
	/* least and greatest are kept only where the last sample, which is among the points, does not say it */
	finish_gather(values, false);
	finish_gather(counts, true);
	if (counts_only)
		counts = values;
	else if (!s->rows.has_counts)
		counts = NULL;
	all = prom_range_stitch(&one->samples, values, counts, stitch.segment, stitch.n);
	stitch.weight = all.weight;
	if (all.h && !counts_only)
		result = prom_range_eval_mixed(all.n, all.t_ms, all.v, all.h, &s->steps, s->range_ms, fn, NULL, NULL, &stitch);
	else
		result = prom_range_eval(all.n, all.t_ms, all.v, &s->steps, s->range_ms, fn, NULL, NULL, &stitch);
	prom_range_stitched_free(&all);
	return PointerGetDatum(result);
}

/* Where a series has raw samples of mixed times, they alone count: points may have been made elsewhere, of other ones. */
static void
drop_points(PromGather *g, const PromRangeStitch *stitch)
{
	int64		from_ms = PG_INT64_MIN;

	for (int i = 0; i < stitch->n; i++)
	{
		if (stitch->segment[i].resolution_ms == 0)
			prom_gather_drop(g, PROM_ROLLUP_ORDER + PROM_PARTS, from_ms, stitch->segment[i].to_ms);
		from_ms = stitch->segment[i].to_ms;
	}
}

/* Frames that live as long as the query, of the function that makes results. */
static PromFrames *
get_frames(FmgrInfo *function)
{
	if (function->fn_extra == NULL)
		function->fn_extra = prom_frames_new(function->fn_mcxt);
	return function->fn_extra;
}

/* The window function over one series; NULL if there is nothing. */
static Datum
window_result(LeafState *s, int i, PromFrames *frames)
{
	const PromRangeFunction *function = s->function;
	const PromRangeScalar *scalar = s->has_scalar ? &s->scalar : NULL;
	const PromRangeReach *reach = s->has_reach ? &s->reach : NULL;
	PromRangeStitch own = s->stitch;
	const PromRangeStitch *stitch = s->stitch.segment ? &own : NULL;
	PromPackedSamples *all = prom_packed_samples(&s->rows, i);
	PromGather *g = &all->samples;

	if (stitch && s->rows.mixed_from_ms < PG_INT64_MAX)
	{
		own.segment = prom_range_unmix(own.segment, &own.n, all->first_raw_ms);
		if (all->first_raw_ms < PG_INT64_MAX)
			drop_points(g, &own);
	}
	if (s->rows.has_points)
		return points_result(s, all, own);
	finish_gather(g, function->sees_stale);
	prom_gather_hints(g);
	if (function->tells_hints)
		prom_gather_tell_hints(g);
	if (g->histograms)
		return PointerGetDatum(prom_range_eval_mixed(g->n, g->t_ms, g->values, g->histograms, &s->steps, s->range_ms,
													 function->fn, scalar, reach, stitch));
	if (!scalar && !reach && !stitch && s->steps.step_ms > 0)
		return PointerGetDatum(prom_range_eval_framed(frames, g->n, g->t_ms, g->values, &s->steps, s->range_ms, function));
	return PointerGetDatum(prom_range_eval(g->n, g->t_ms, g->values, &s->steps, s->range_ms, function->fn, scalar,
										   reach, stitch));
}

static Datum
chunk_of(PromChunkBuilder *b, int32 sid, int n, const int64 *t_ms, const double *v, const PromHistogram *const *histograms)
{
	if (n == 0)
		return PointerGetDatum(NULL);
	/* in the builder and in the chunk */
	prom_store_need_memory((size_t) n * 2 * (sizeof(int64) + sizeof(double)));
	prom_chunk_add_mixed(b, sid, n, t_ms, v, histograms);
	return PointerGetDatum(prom_chunk_finish(b));
}

/* The samples of an anchored or smoothed range of one step: those at its ends are made up.  They are numbers. */
static Datum
reached_samples(const LeafState *s, PromChunkBuilder *b, int32 sid, const PromGather *g)
{
	int64	   *t_ms;
	double	   *v;
	int			n;

	if (g->histograms)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s modifier is not supported with histograms", s->reach.after_ms > 0 ? "smoothed" : "anchored")));
	t_ms = palloc_extended(sizeof(int64) * (g->n + 2), MCXT_ALLOC_HUGE);
	v = palloc_extended(sizeof(double) * (g->n + 2), MCXT_ALLOC_HUGE);
	n = prom_range_extended(g->n, g->t_ms, g->values, s->steps.start_ms - s->range_ms, s->steps.start_ms,
							s->reach.after_ms > 0, t_ms, v);
	return chunk_of(b, sid, n, t_ms, v, NULL);
}

static LeafState *
final_state(FunctionCallInfo fcinfo)
{
	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "leaf aggregate's function called outside of an aggregate");
	return (LeafState *) PG_GETARG_POINTER(0);
}

/* The results in the order of the ids given, as an array of the function's type; NULL if there is none at all. */
static Datum
result_array(FunctionCallInfo fcinfo, const LeafState *s, const Datum *result)
{
	Oid			type = get_element_type(get_fn_expr_rettype(fcinfo->flinfo));
	Datum	   *elements = palloc(sizeof(Datum) * Max(s->rows.n, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(s->rows.n, 1));
	int			lower = 1;
	bool		any = false;
	size_t		bytes = 0;

	for (int i = 0; i < s->rows.n; i++)
	{
		int			place = s->rows.series[i].place;

		elements[place] = result[i];
		nulls[place] = DatumGetPointer(result[i]) == NULL;
		if (nulls[place])
			continue;
		any = true;
		bytes += VARSIZE_ANY(DatumGetPointer(result[i]));
	}
	if (!any)
		PG_RETURN_NULL();
	prom_store_need_memory(bytes);
	PG_RETURN_ARRAYTYPE_P(construct_md_array(elements, nulls, 1, (int *) &s->rows.n, &lower, type, -1, false, TYPALIGN_DOUBLE));
}

Datum
prom_window_done(PG_FUNCTION_ARGS)
{
	LeafState  *s = final_state(fcinfo);
	PromFrames *frames = get_frames(fcinfo->flinfo);
	Datum	   *result = palloc(sizeof(Datum) * Max(s->rows.n, 1));

	prom_packed_end(&s->rows);
	for (int i = 0; i < s->rows.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		result[i] = window_result(s, i, frames);
	}
	return result_array(fcinfo, s, result);
}

static Datum
finish_samples(FunctionCallInfo fcinfo, bool keep_stale)
{
	LeafState  *s = final_state(fcinfo);
	Datum	   *result = palloc(sizeof(Datum) * Max(s->rows.n, 1));
	PromChunkBuilder *b = prom_chunk_begin(PROM_CHUNK_PLAIN, s->rows.shard);

	prom_packed_end(&s->rows);
	for (int i = 0; i < s->rows.n; i++)
	{
		int32		sid = s->rows.series[i].sid;
		PromGather *g;

		CHECK_FOR_INTERRUPTS();
		g = &prom_packed_samples(&s->rows, i)->samples;
		finish_gather(g, keep_stale);
		result[i] = s->has_reach ? reached_samples(s, b, sid, g) :
			chunk_of(b, sid, g->n, g->t_ms, g->values, g->histograms);
	}
	return result_array(fcinfo, s, result);
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

/*
 * aggs.c
 *	  The aggregate prom.chunk_merge: many chunks of one shard become one.
 *
 * The state keeps copies of the chunks until the end, when they are merged series by series.  Where
 * two have a sample of the same series and timestamp, the one with the greater "ord" stays.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datum.h"

#include "chunk/chunk.h"

PG_FUNCTION_INFO_V1(prom_chunk_merge_step);
PG_FUNCTION_INFO_V1(prom_chunk_merge_end);

typedef struct MergeState
{
	PromMerge	merge;
	PromChunkStyle style;
} MergeState;

Datum
prom_chunk_merge_step(PG_FUNCTION_ARGS)
{
	MergeState *state = PG_ARGISNULL(0) ? NULL : (MergeState *) PG_GETARG_POINTER(0);
	MemoryContext cxt;
	MemoryContext old;

	if (!AggCheckCallContext(fcinfo, &cxt))
		elog(ERROR, "prom.chunk_merge called outside of an aggregate");
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}

	old = MemoryContextSwitchTo(cxt);
	if (state == NULL)
	{
		state = palloc(sizeof(MergeState));
		prom_merge_init(&state->merge, cxt);
		state->style = PROM_CHUNK_WARM;
		if (PG_NARGS() > 3 && !PG_ARGISNULL(3))
			state->style = prom_chunk_style(PG_GETARG_TEXT_PP(3));
	}
	prom_merge_add(&state->merge, (PromChunk *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(1)),
				   PG_GETARG_INT64(2));
	MemoryContextSwitchTo(old);
	PG_RETURN_POINTER(state);
}

Datum
prom_chunk_merge_end(PG_FUNCTION_ARGS)
{
	MergeState *state = PG_ARGISNULL(0) ? NULL : (MergeState *) PG_GETARG_POINTER(0);
	PromChunkBuilder *b = NULL;
	int32		sid;

	if (state == NULL)
		PG_RETURN_NULL();
	while (prom_merge_next(&state->merge, &sid))
	{
		PromGather *g = &state->merge.gather;

		if (b == NULL)
			b = prom_chunk_begin(state->style, state->merge.shard);
		prom_chunk_add_mixed(b, sid, g->n, g->t_ms, g->values, g->histograms);
	}
	if (b == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(prom_chunk_finish(b));
}

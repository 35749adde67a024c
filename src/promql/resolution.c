/*
 * resolution.c
 *	  How coarse the data may be that a query reads: promgres.max_source_resolution, and what a request says.
 *
 * Raw samples are the default, as PromQL promises to be exact.  "auto" is a fifth of the step, as Thanos has it:
 * the steps of a picture are further apart than the points it is made of.  A function of a range never reads
 * windows longer than its range, and one that needs two samples none longer than half of it.
 *
 * All this says what may be read where there is a choice.  Where raw samples are gone there is none (segment.c).
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"

#include "promql/sqlgen.h"

#define STEPS_OF_AUTO 5			/* windows of a step, at least */

static char *resolution_setting = NULL;
static int64 resolution_ms = PROMQL_RESOLUTION_RAW;
static int	instant_resolution_s = 3600;

void
promql_set_resolution(PromqlContext *cx)
{
	const PromqlQuery *q = cx->query;

	cx->levels = prom_levels(&cx->nlevels);
	cx->resolution_ms = q->resolution_ms == PROMQL_RESOLUTION_SETTING ? resolution_ms : q->resolution_ms;
	if (cx->resolution_ms == PROMQL_RESOLUTION_AUTO)
		cx->resolution_ms = q->instant ? instant_resolution_s * INT64CONST(1000) : q->step_ms / STEPS_OF_AUTO;
	cx->resolution_ms = Max(cx->resolution_ms, 0);
}

/* Steps are not closer than what they are to show. */
void
promql_narrow_resolution(PromqlContext *cx)
{
	bool		is_auto = cx->query->resolution_ms == PROMQL_RESOLUTION_AUTO ||
		(cx->query->resolution_ms == PROMQL_RESOLUTION_SETTING && resolution_ms == PROMQL_RESOLUTION_AUTO);

	if (is_auto)
		cx->resolution_ms = cx->steps.step_ms / STEPS_OF_AUTO;
	else
		cx->resolution_ms = Min(cx->resolution_ms, cx->steps.step_ms);
}

PromSegments *
promql_segments(const PromqlContext *cx, PromScanRange range, const char *name, int64 range_ms)
{
	int64		most_ms = cx->resolution_ms;
	int			parts = 1 << PROM_PART_LAST;
	bool		needs_two = false;

	/* (replicas are merged as they were sent) */
	if (cx->nlevels <= 1 || prom_dedup_labels() != NIL)
		return NULL;
	if (name)
		parts = prom_window_parts(name, &needs_two);
	if (range_ms > 0)
		most_ms = Min(most_ms, needs_two ? range_ms / 2 : range_ms);
	return prom_segments(cx->levels, cx->nlevels, range, most_ms, parts);
}

/* ---- settings ---- */

static bool
check_resolution(char **value, void **extra, GucSource source)
{
	int64	   *ms = malloc(sizeof(int64));
	int			seconds;
	const char *hint = NULL;

	if (ms == NULL)
		return false;
	if (pg_strcasecmp(*value, "raw") == 0)
		*ms = PROMQL_RESOLUTION_RAW;
	else if (pg_strcasecmp(*value, "auto") == 0)
		*ms = PROMQL_RESOLUTION_AUTO;
	else if (parse_int(*value, &seconds, GUC_UNIT_S, &hint) && seconds >= 0)
		*ms = seconds > 0 ? seconds * INT64CONST(1000) : PROMQL_RESOLUTION_RAW;
	else
	{
		free(ms);
		GUC_check_errdetail("It must be \"raw\", \"auto\" or a time such as \"5min\" or \"1h\".");
		return false;
	}
	*extra = ms;
	return true;
}

static void
assign_resolution(const char *value, void *extra)
{
	resolution_ms = *(int64 *) extra;
}

void
promql_resolution_init(void)
{
	DefineCustomStringVariable("promgres.max_source_resolution",
							   "How coarse the rollups are at most that a query reads: raw, auto or a time.",
							   "auto is a fifth of the step. Where raw samples are gone, rollups are read in any case.",
							   &resolution_setting, "raw", PGC_USERSET, 0, check_resolution, assign_resolution, NULL);
	DefineCustomIntVariable("promgres.max_source_resolution_instant",
							"The same for an instant query under auto.",
							"0 is raw.",
							&instant_resolution_s, 3600, 0, 86400, PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
}

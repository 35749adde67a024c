/*
 * stats.c
 *	  What a query took, told with its result if stats= asks for it.
 *
 * Evaluation is the executor's, which sorts as it goes: no time is told for sorting by itself.  A
 * sample is counted once for each selector that reads it, whatever the number of steps it is used
 * for, so totalQueryableSamples is samplesRead; and that is also the most that can have been in memory
 * at once.  Counts per step are not kept.
 */
#include "postgres.h"

#include "access/xact.h"

#include "api/gateway.h"
#include "api/stats.h"

void
prom_stats_begin(PromQueryStats *s, const char *wanted, TimestampTz submitted)
{
	s->wanted = wanted;
	s->submitted = submitted;
	s->before = *prom_store_counts();
	INSTR_TIME_SET_CURRENT(s->begin);
}

void
prom_stats_planned(PromQueryStats *s)
{
	INSTR_TIME_SET_CURRENT(s->planned);
}

static double
seconds_between(instr_time from, instr_time to)
{
	INSTR_TIME_SUBTRACT(to, from);
	return INSTR_TIME_GET_DOUBLE(to);
}

void
prom_stats_print(PromQueryStats *s, StringInfo out)
{
	const PromScanCounts *counts = prom_store_counts();
	int64		samples = counts->samples - s->before.samples;
	instr_time	end;
	double		total;
	double		queued = 0;

	if (s->wanted[0] == '\0')
		return;
	if (strcmp(s->wanted, "true") != 0 && strcmp(s->wanted, "all") != 0)
		ereport(NOTICE,
				(errcode(MAKE_SQLSTATE('0', '1', 'P', 'R', 'W')),
				 errmsg("stats=%s is deprecated: use stats=true or stats=all", s->wanted)));
	INSTR_TIME_SET_CURRENT(end);
	total = seconds_between(s->begin, end);
	if (s->submitted != 0)
		queued = Max((GetCurrentStatementStartTimestamp() - s->submitted) / 1e6, 0);
	appendStringInfo(out,
					 ",\"stats\":{\"timings\":{\"evalTotalTime\":%.6f,\"resultSortTime\":0,\"queryPreparationTime\":%.6f,"
					 "\"innerEvalTime\":%.6f,\"execQueueTime\":%.6f,\"execTotalTime\":%.6f},"
					 "\"samples\":{\"totalQueryableSamples\":" INT64_FORMAT ",\"samplesRead\":" INT64_FORMAT
					 ",\"peakSamples\":" INT64_FORMAT "},\"seriesFetched\":\"" INT64_FORMAT "\"}",
					 total, seconds_between(s->begin, s->planned), seconds_between(s->planned, end), queued, queued + total,
					 samples, samples, samples, counts->series - s->before.series);
}

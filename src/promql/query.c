/*
 * query.c
 *	  The SQL functions around PromQL: prom.query, prom.query_range, prom.to_sql and what selects series.
 */
#include "postgres.h"

#include "common/int.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/clock.h"
#include "promql/sqlgen.h"
#include "select/select.h"
#include "store/store.h"

static int64 time_argument(TimestampTz t, const char *name);
static int64 step_argument(const Interval *step);

PG_FUNCTION_INFO_V1(prom_query);
PG_FUNCTION_INFO_V1(prom_query_range);
PG_FUNCTION_INFO_V1(prom_to_sql);
PG_FUNCTION_INFO_V1(prom_selector_sql);
PG_FUNCTION_INFO_V1(prom_scan_text);

/* query(expr, "time") */
Datum
prom_query(PG_FUNCTION_ARGS)
{
	PromqlQuery q = {.text = text_to_cstring(PG_GETARG_TEXT_PP(0)), .instant = true};

	q.start_ms = q.end_ms = time_argument(PG_GETARG_TIMESTAMPTZ(1), "time");
	InitMaterializedSRF(fcinfo, 0);
	promql_store_rows(promql_plan(&q), ((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	return (Datum) 0;
}

/* query_range(expr, start, "end", step) */
Datum
prom_query_range(PG_FUNCTION_ARGS)
{
	PromqlQuery q = {.text = text_to_cstring(PG_GETARG_TEXT_PP(0))};

	q.start_ms = time_argument(PG_GETARG_TIMESTAMPTZ(1), "start");
	q.end_ms = time_argument(PG_GETARG_TIMESTAMPTZ(2), "end");
	q.step_ms = step_argument(PG_GETARG_INTERVAL_P(3));
	InitMaterializedSRF(fcinfo, 0);
	promql_store_rows(promql_plan(&q), ((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	return (Datum) 0;
}

/* to_sql(expr, start, "end", step): start = end asks for an instant query */
Datum
prom_to_sql(PG_FUNCTION_ARGS)
{
	PromqlTrace trace = {0};
	PromqlQuery q = {.text = text_to_cstring(PG_GETARG_TEXT_PP(0))};

	q.start_ms = time_argument(PG_GETARG_TIMESTAMPTZ(1), "start");
	q.end_ms = time_argument(PG_GETARG_TIMESTAMPTZ(2), "end");
	q.step_ms = step_argument(PG_GETARG_INTERVAL_P(3));
	q.instant = q.start_ms == q.end_ms;
	initStringInfo(&trace.nodes);
	initStringInfo(&trace.reads);
	q.trace = &trace;
	PG_RETURN_TEXT_P(cstring_to_text(promql_layout(promql_rows_sql(promql_plan(&q)))));
}

/* _selector_sql(selector, alias): the condition on a row of prom.series */
Datum
prom_selector_sql(PG_FUNCTION_ARGS)
{
	char	   *selector = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *alias = quote_identifier(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	StringInfoData out;
	PromMatcher *matchers;
	int			n;

	matchers = promql_parse_selector(selector, &n);
	initStringInfo(&out);
	prom_matchers_sql(&out, alias, matchers, n);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* _scan_sql(selector, from_ms, to_ms): every stored sample, stale markers too */
Datum
prom_scan_text(PG_FUNCTION_ARGS)
{
	PromScanRange range = {PG_GETARG_INT64(1), PG_GETARG_INT64(2)};
	StringInfoData out;
	PromMatcher *matchers;
	int			n;

	matchers = promql_parse_selector(text_to_cstring(PG_GETARG_TEXT_PP(0)), &n);
	initStringInfo(&out);
	appendStringInfoString(&out, "SELECT q.labels, p.\"time\", p.t_ms, p.value, p.histogram\nFROM (\nSELECT r.labels, r.out AS samples\nFROM ");
	prom_scan_sql(&out, matchers, n, range, prom_raw_segments(range),
				  psprintf("prom._raw(c.data, c.ord, b.sids, " INT64_FORMAT ", " INT64_FORMAT ")", range.from_ms,
						   range.to_ms));
	appendStringInfoString(&out, ") AS q\nCROSS JOIN LATERAL prom.samples(q.samples) AS p");
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

static int64
time_argument(TimestampTz t, const char *name)
{
	if (TIMESTAMP_NOT_FINITE(t))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("\"%s\" must be a finite time", name)));
	return prom_clock_to_ms(t);
}

static int64
step_argument(const Interval *step)
{
	int64		us;

	if (step->month != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step must not have months or years"),
				 errdetail("Their length varies."),
				 errhint("Use days, hours, minutes or seconds.")));
	if (pg_mul_s64_overflow(step->day, USECS_PER_DAY, &us) || pg_add_s64_overflow(us, step->time, &us))
		ereport(ERROR,
				(errcode(ERRCODE_INTERVAL_FIELD_OVERFLOW),
				 errmsg("step is out of range")));
	return us / 1000;
}

/*
 * query.c
 *	  /api/v1/query and /api/v1/query_range: from parameters to a statement, from series to JSON.
 *
 * In the gateway: parameters are checked in Prometheus' order, and the statement calls one of the
 * functions below.  In the backend: these run the PromQL and print fragments of JSON that, put
 * together, are the value of "data".
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "api/fragments.h"
#include "api/gateway.h"
#include "common/clock.h"
#include "promql/promql.h"

#define NS_PER_MS INT64CONST(1000000)

/* ---- in the gateway ---- */

static bool
read_options(PromRequest *r, int *timeout_ms, int64 *lookback_ms)
{
	return prom_param_timeout(r, timeout_ms) && prom_param_lookback(r, lookback_ms);
}

static void
ask(PromRequest *r, int timeout_ms)
{
	r->job.timeout_ms = timeout_ms;
	r->job.parameter = "query";
	prom_request_ask(r, prom_pool_query);
}

void
prom_query_run(PromRequest *r)
{
	int			limit;
	int			timeout_ms;
	int64		time_ms;
	int64		lookback_ms;

	/* some clients send their reads to the address of queries */
	if (prom_read_is_sent(r))
	{
		if (prom_read_check_headers(r))
			prom_read_run(r);
		return;
	}
	if (!prom_param_limit(r, &limit) ||
		!prom_param_time_or(r, "time", prom_clock_to_ms(GetCurrentTimestamp()), &time_ms) ||
		!read_options(r, &timeout_ms, &lookback_ms))
		return;

	r->job.sql = "SELECT prom._api_query($1, $2, $3, $4)";
	prom_job_param(&r->job, TEXTOID, prom_request_param(r, "query"));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, time_ms));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, lookback_ms));
	prom_job_param(&r->job, INT4OID, psprintf("%d", limit));
	ask(r, timeout_ms);
}

/* The steps of a range query; on bad ones answers. */
static bool
read_steps(PromRequest *r, int64 *start_ms, int64 *end_ms, int64 *step_ns)
{
	int64		span_ms;

	if (!prom_param_time(r, "start", start_ms) || !prom_param_time(r, "end", end_ms))
		return false;
	if (*end_ms < *start_ms)
	{
		prom_answer_error(r, 400, "bad_data",
						  "invalid parameter \"end\": end timestamp must not be before start time");
		return false;
	}
	if (!prom_param_duration(r, "step", step_ns))
		return false;
	if (*step_ns < NS_PER_MS)
	{
		prom_answer_error(r, 400, "bad_data",
						  "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer");
		return false;
	}
	span_ms = Min(*end_ms - *start_ms, PG_INT64_MAX / NS_PER_MS);
	if (span_ms * NS_PER_MS / *step_ns > PROMQL_MAX_POINTS)
	{
		prom_answer_error(r, 400, "bad_data",
						  "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)");
		return false;
	}
	return true;
}

void
prom_query_range_run(PromRequest *r)
{
	int			limit;
	int			timeout_ms;
	int64		start_ms;
	int64		end_ms;
	int64		step_ns;
	int64		lookback_ms;

	if (!prom_param_limit(r, &limit) ||
		!read_steps(r, &start_ms, &end_ms, &step_ns) ||
		!read_options(r, &timeout_ms, &lookback_ms))
		return;

	r->job.sql = "SELECT prom._api_query_range($1, $2, $3, $4, $5, $6)";
	prom_job_param(&r->job, TEXTOID, prom_request_param(r, "query"));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, start_ms));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, end_ms));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, step_ns / NS_PER_MS));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, lookback_ms));
	prom_job_param(&r->job, INT4OID, psprintf("%d", limit));
	ask(r, timeout_ms);
}

/* ---- in the backend ---- */

PG_FUNCTION_INFO_V1(prom_api_query);
PG_FUNCTION_INFO_V1(prom_api_query_range);

static void
print_point(StringInfo out, int64 t_ms, double v)
{
	appendStringInfoCharMacro(out, '[');
	prom_json_time(out, t_ms);
	appendStringInfoCharMacro(out, ',');
	prom_json_value(out, v);
	appendStringInfoCharMacro(out, ']');
}

/* An element of a vector or, with all its points, of a matrix. */
typedef struct SeriesPrinter
{
	PromFragments *out;
	bool		matrix;
} SeriesPrinter;

static void
print_series(void *arg, const PromLabels *labels, int n, const int64 *t_ms, const double *values)
{
	SeriesPrinter *printer = arg;
	StringInfo	out = prom_fragments_element(printer->out);

	if (out == NULL)
		return;
	appendStringInfoString(out, "{\"metric\":");
	prom_fragments_labels(out, labels);
	appendStringInfoString(out, printer->matrix ? ",\"values\":[" : ",\"value\":");
	for (int i = 0; i < (printer->matrix ? n : 1); i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		print_point(out, t_ms[i], values[i]);
		prom_fragments_flush(printer->out);
	}
	appendStringInfoString(out, printer->matrix ? "]}" : "}");
}

static void
print_scalar(void *arg, const PromLabels *labels, int n, const int64 *t_ms, const double *values)
{
	print_point(arg, t_ms[0], values[0]);
}

/* The object that is the value of "data". */
static void
print_result(PromFragments *f, const PromqlPlan *plan, bool instant)
{
	SeriesPrinter printer = {f, !instant || plan->type == PROMQL_MATRIX};
	StringInfo	out = &f->buf;

	if (instant && plan->type == PROMQL_STRING)
	{
		appendStringInfoString(out, "{\"resultType\":\"string\",\"result\":[");
		prom_json_time(out, plan->start_ms);
		appendStringInfoCharMacro(out, ',');
		prom_json_string(out, plan->string, strlen(plan->string));
		appendStringInfoString(out, "]}");
	}
	else if (instant && plan->type == PROMQL_SCALAR)
	{
		appendStringInfoString(out, "{\"resultType\":\"scalar\",\"result\":");
		promql_run(plan, print_scalar, out);
		appendStringInfoString(out, "}");
	}
	else
	{
		appendStringInfo(out, "{\"resultType\":\"%s\",\"result\":[", printer.matrix ? "matrix" : "vector");
		promql_run(plan, print_series, &printer);
		appendStringInfoString(out, "]}");
	}
}

static Datum
run_query(FunctionCallInfo fcinfo, PromqlQuery *q, int limit)
{
	PromFragments f;

	prom_fragments_begin(&f, fcinfo, limit);
	print_result(&f, promql_plan(q), q->instant);
	prom_fragments_end(&f);
	return (Datum) 0;
}

Datum
prom_api_query(PG_FUNCTION_ARGS)
{
	PromqlQuery q = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("only the time of a query may be null")));
	q.text = text_to_cstring(PG_GETARG_TEXT_PP(0));
	q.start_ms = PG_ARGISNULL(1) ? prom_clock_to_ms(GetCurrentTimestamp()) : PG_GETARG_INT64(1);
	q.end_ms = q.start_ms;
	q.step_ms = 1;
	q.lookback_ms = PG_GETARG_INT64(2);
	q.instant = true;
	return run_query(fcinfo, &q, PG_GETARG_INT32(3));
}

Datum
prom_api_query_range(PG_FUNCTION_ARGS)
{
	PromqlQuery q = {0};

	q.text = text_to_cstring(PG_GETARG_TEXT_PP(0));
	q.start_ms = PG_GETARG_INT64(1);
	q.end_ms = PG_GETARG_INT64(2);
	q.step_ms = PG_GETARG_INT64(3);
	q.lookback_ms = PG_GETARG_INT64(4);
	if (q.step_ms <= 0 || q.end_ms < q.start_ms)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step must be positive and end must not be before start")));
	return run_query(fcinfo, &q, PG_GETARG_INT32(5));
}

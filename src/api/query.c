/*
 * query.c
 *	  /api/v1/query and /api/v1/query_range: from parameters to a statement, from series to JSON.
 *
 * In the gateway: parameters are checked in Prometheus' order, and the statement calls one of the
 * functions below.  In the backend: these run the PromQL and print fragments of JSON that, put
 * together, are the value of "data".
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "api/fragments.h"
#include "api/gateway.h"
#include "api/stats.h"
#include "common/clock.h"
#include "promql/promql.h"

#define NS_PER_MS INT64CONST(1000000)

/* ---- in the gateway ---- */

static bool
read_options(PromRequest *r, int *timeout_ms, int64 *lookback_ms, int64 *resolution_ms)
{
	return prom_param_timeout(r, timeout_ms) && prom_param_lookback(r, lookback_ms) &&
		prom_param_resolution(r, resolution_ms);
}

/* The last arguments of both functions tell what stats= asks for, since when the query waits, and how coarse it may be. */
static void
ask(PromRequest *r, int timeout_ms, int64 resolution_ms)
{
	prom_job_param(&r->job, TEXTOID, prom_request_param(r, "stats"));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, GetCurrentTimestamp()));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, resolution_ms));
	r->job.timeout_ms = timeout_ms;
	r->job.parameter = "query";
	prom_thanos_add(r);
	prom_request_ask(r, prom_pool_query);
}

void
prom_query_run(PromRequest *r)
{
	int			limit;
	int			timeout_ms;
	int64		time_ms;
	int64		lookback_ms;
	int64		resolution_ms;

	/* some clients send their reads to the address of queries */
	if (prom_read_is_sent(r))
	{
		if (prom_read_check_headers(r))
			prom_read_run(r);
		return;
	}
	if (!prom_param_limit(r, "limit", &limit) ||
		!prom_param_time_or(r, "time", prom_clock_to_ms(GetCurrentTimestamp()), &time_ms) ||
		!read_options(r, &timeout_ms, &lookback_ms, &resolution_ms))
		return;

	r->job.sql = "SELECT prom._api_query($1, $2, $3, $4, $5, $6, $7)";
	r->job.kept = true;
	prom_job_param(&r->job, TEXTOID, prom_request_param(r, "query"));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, time_ms));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, lookback_ms));
	prom_job_param(&r->job, INT4OID, psprintf("%d", limit));
	ask(r, timeout_ms, resolution_ms);
}

bool
prom_query_steps(PromRequest *r, int64 *start_ms, int64 *end_ms, int64 *step_ns)
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
	int64		resolution_ms;

	if (!prom_param_limit(r, "limit", &limit) ||
		!prom_query_steps(r, &start_ms, &end_ms, &step_ns) ||
		!read_options(r, &timeout_ms, &lookback_ms, &resolution_ms))
		return;

	r->job.sql = "SELECT prom._api_query_range($1, $2, $3, $4, $5, $6, $7, $8, $9)";
	r->job.kept = true;
	prom_job_param(&r->job, TEXTOID, prom_request_param(r, "query"));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, start_ms));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, end_ms));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, step_ns / NS_PER_MS));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, lookback_ms));
	prom_job_param(&r->job, INT4OID, psprintf("%d", limit));
	ask(r, timeout_ms, resolution_ms);
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

/* Which bounds a bucket includes: 0 the upper one, 1 the lower one, 3 both. */
static int
bucket_rule(const PromHistogramBucket *b)
{
	switch (b->kind)
	{
		case PROM_BUCKET_NEGATIVE:
			return 1;
		case PROM_BUCKET_ZERO:
			return 3;
		case PROM_BUCKET_CUSTOM:
			return isinf(b->lower) ? 3 : 0;
		case PROM_BUCKET_POSITIVE:
			break;
	}
	return 0;
}

static void
print_buckets(StringInfo out, const PromHistogramBucket *b, int n)
{
	for (int i = 0; i < n; i++)
	{
		appendStringInfo(out, "%s[%d,", i == 0 ? ",\"buckets\":[" : ",", bucket_rule(&b[i]));
		prom_json_value(out, b[i].lower);
		appendStringInfoCharMacro(out, ',');
		prom_json_value(out, b[i].upper);
		appendStringInfoCharMacro(out, ',');
		prom_json_value(out, b[i].count);
		appendStringInfoCharMacro(out, ']');
	}
	if (n > 0)
		appendStringInfoCharMacro(out, ']');
}

static void
print_histogram(StringInfo out, int64 t_ms, const PromHistogram *h)
{
	int			n;
	PromHistogramBucket *buckets = prom_histogram_list(palloc, h, &n);

	appendStringInfoCharMacro(out, '[');
	prom_json_time(out, t_ms);
	appendStringInfoString(out, ",{\"count\":");
	prom_json_value(out, h->count);
	appendStringInfoString(out, ",\"sum\":");
	prom_json_value(out, h->sum);
	print_buckets(out, buckets, n);
	appendStringInfoString(out, "}]");
	pfree(buckets);
}

/* An element of a vector or, with all its points, of a matrix. */
typedef struct SeriesPrinter
{
	PromFragments *out;
	bool		matrix;
} SeriesPrinter;

static void
print_either(StringInfo out, int64 t_ms, double v, const PromHistogram *h)
{
	if (h)
		print_histogram(out, t_ms, h);
	else
		print_point(out, t_ms, v);
}

/* The points of one kind under a key, which is missing if there are none. */
static void
print_points(SeriesPrinter *printer, StringInfo out, bool want_histograms, int n, const int64 *t_ms,
			 const double *values, const PromHistogram *const *histograms)
{
	bool		first = true;

	for (int i = 0; i < n; i++)
	{
		const PromHistogram *h = histograms ? histograms[i] : NULL;

		if ((h != NULL) != want_histograms)
			continue;
		if (first)
			appendStringInfoString(out, want_histograms ? ",\"histograms\":[" : ",\"values\":[");
		else
			appendStringInfoCharMacro(out, ',');
		first = false;
		print_either(out, t_ms[i], values[i], h);
		prom_fragments_flush(printer->out);
	}
	if (!first)
		appendStringInfoCharMacro(out, ']');
}

static void
print_series(void *arg, const PromLabels *labels, int n, const int64 *t_ms, const double *values,
			 const PromHistogram *const *histograms)
{
	SeriesPrinter *printer = arg;
	StringInfo	out = prom_fragments_element(printer->out);

	if (out == NULL)
		return;
	appendStringInfoString(out, "{\"metric\":");
	prom_fragments_labels(out, labels);
	if (printer->matrix)
	{
		print_points(printer, out, false, n, t_ms, values, histograms);
		if (histograms)
			print_points(printer, out, true, n, t_ms, values, histograms);
	}
	else
	{
		const PromHistogram *h = histograms ? histograms[0] : NULL;

		appendStringInfoString(out, h ? ",\"histogram\":" : ",\"value\":");
		print_either(out, t_ms[0], values[0], h);
	}
	appendStringInfoCharMacro(out, '}');
}

static void
print_scalar(void *arg, const PromLabels *labels, int n, const int64 *t_ms, const double *values,
			 const PromHistogram *const *histograms)
{
	print_point(arg, t_ms[0], values[0]);
}

/* What is in the object that is the value of "data". */
static void
print_result(PromFragments *f, const PromqlPlan *plan, bool instant)
{
	SeriesPrinter printer = {f, !instant || plan->type == PROMQL_MATRIX};
	StringInfo	out = &f->buf;

	if (instant && plan->type == PROMQL_STRING)
	{
		appendStringInfoString(out, "\"resultType\":\"string\",\"result\":[");
		prom_json_time(out, plan->start_ms);
		appendStringInfoCharMacro(out, ',');
		prom_json_string(out, plan->string, strlen(plan->string));
		appendStringInfoCharMacro(out, ']');
	}
	else if (instant && plan->type == PROMQL_SCALAR)
	{
		appendStringInfoString(out, "\"resultType\":\"scalar\",\"result\":");
		promql_run(plan, print_scalar, out);
	}
	else
	{
		appendStringInfo(out, "\"resultType\":\"%s\",\"result\":[", printer.matrix ? "matrix" : "vector");
		promql_run(plan, print_series, &printer);
		appendStringInfoCharMacro(out, ']');
	}
}

static Datum
run_query(FunctionCallInfo fcinfo, PromqlQuery *q, int limit, const char *wanted, TimestampTz submitted)
{
	PromFragments f;
	PromQueryStats stats;
	PromqlPlan *plan;

	prom_fragments_begin(&f, fcinfo, limit);
	prom_stats_begin(&stats, wanted, submitted);
	plan = promql_plan(q);
	prom_stats_planned(&stats);
	appendStringInfoCharMacro(&f.buf, '{');
	print_result(&f, plan, q->instant);
	prom_stats_print(&stats, &f.buf);
	appendStringInfoCharMacro(&f.buf, '}');
	prom_fragments_end(&f);
	return (Datum) 0;
}

Datum
prom_api_query(PG_FUNCTION_ARGS)
{
	PromqlQuery q = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2) || PG_ARGISNULL(3) || PG_ARGISNULL(4) || PG_ARGISNULL(5) || PG_ARGISNULL(6))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("only the time of a query may be null")));
	q.text = text_to_cstring(PG_GETARG_TEXT_PP(0));
	q.start_ms = PG_ARGISNULL(1) ? prom_clock_to_ms(GetCurrentTimestamp()) : PG_GETARG_INT64(1);
	q.end_ms = q.start_ms;
	q.step_ms = 1;
	q.lookback_ms = PG_GETARG_INT64(2);
	q.resolution_ms = PG_GETARG_INT64(6);
	q.instant = true;
	return run_query(fcinfo, &q, PG_GETARG_INT32(3), text_to_cstring(PG_GETARG_TEXT_PP(4)), PG_GETARG_INT64(5));
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
	q.resolution_ms = PG_GETARG_INT64(8);
	if (q.step_ms <= 0 || q.end_ms < q.start_ms)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step must be positive and end must not be before start")));
	return run_query(fcinfo, &q, PG_GETARG_INT32(5), text_to_cstring(PG_GETARG_TEXT_PP(6)), PG_GETARG_INT64(7));
}

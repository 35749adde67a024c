/*
 * exemplars.c
 *	  /api/v1/query_exemplars: what was stored beside the samples of the series that a query reads.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "api/gateway.h"
#include "common/clock.h"

/* An expression without a selector has nothing to say: no rows, which is status 204. */
void
prom_query_exemplars_run(PromRequest *r)
{
	int64		start_ms;
	int64		end_ms;

	if (!prom_param_time_or(r, "start", PROM_MIN_TIMESTAMP_MS, &start_ms) ||
		!prom_param_time_or(r, "end", PROM_MAX_TIMESTAMP_MS, &end_ms))
		return;
	if (end_ms < start_ms)
	{
		prom_answer_error(r, 400, "bad_data", "invalid parameter \"end\": end timestamp must not be before start timestamp");
		return;
	}
	r->job.sql = "SELECT prom._api_exemplars($1, $2, $3)";
	prom_job_param(&r->job, TEXTOID, prom_request_param(r, "query"));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, start_ms));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, end_ms));
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	prom_request_ask(r, prom_pool_query);
}

/* ---- in the backend ---- */

PG_FUNCTION_INFO_V1(prom_api_value);

/* _api_value(value): a sample value as the API has it, a JSON string */
Datum
prom_api_value(PG_FUNCTION_ARGS)
{
	StringInfoData out;

	initStringInfo(&out);
	prom_json_value(&out, PG_GETARG_FLOAT8(0));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

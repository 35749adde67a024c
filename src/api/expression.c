/*
 * expression.c
 *	  /api/v1/format_query and /api/v1/parse_query: an expression itself, not what it evaluates to.
 *
 * Both are run by a backend, as queries are: the parser needs one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "api/gateway.h"

static void
ask(PromRequest *r, const char *sql)
{
	r->job.sql = sql;
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	r->job.parameter = "query";
	prom_job_param(&r->job, TEXTOID, prom_request_param(r, "query"));
	prom_request_ask(r, prom_pool_query);
}

void
prom_format_query_run(PromRequest *r)
{
	ask(r, "SELECT pg_catalog.to_json(prom.format($1))::pg_catalog.text");
}

void
prom_parse_query_run(PromRequest *r)
{
	ask(r, "SELECT prom.parse($1)::pg_catalog.text");
}

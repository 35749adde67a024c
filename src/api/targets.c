/*
 * targets.c
 *	  Targets and scrape pools: promgres is written to and scrapes nothing, so there are none.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "api/gateway.h"

/* Whatever the filters state= and scrapePool= ask for. */
void
prom_targets_run(PromRequest *r)
{
	prom_answer_data(r, "{\"activeTargets\":[],\"droppedTargets\":[],\"droppedTargetCounts\":{}}");
}

void
prom_targets_metadata_run(PromRequest *r)
{
	int			limit;
	const char *selector = prom_request_param(r, "match_target");

	if (!prom_param_limit(r, "limit", &limit))
		return;
	if (selector[0] == '\0')
	{
		prom_answer_data(r, "[]");
		return;
	}
	r->job.sql = "SELECT prom._api_checked(ARRAY[$1], '[]')";
	prom_job_param(&r->job, TEXTOID, selector);
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	r->job.parameter = "match_target";
	prom_request_ask(r, prom_pool_query);
}

void
prom_scrape_pools_run(PromRequest *r)
{
	prom_answer_data(r, "{\"scrapePools\":[]}");
}

/*
 * rules.c
 *	  Rules and alerts: promgres evaluates none, so there are none; but what asks for them is checked.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "api/gateway.h"

#define NO_GROUPS "{\"groups\":[]}"

/* Pages of groups: a token names where the next page begins, and without groups none is right. */
static bool
check_paging(PromRequest *r)
{
	const char *limit = prom_request_param(r, "group_limit");
	const char *token = prom_request_param(r, "group_next_token");
	const char *digits = limit + (limit[0] == '-' || limit[0] == '+');

	if (limit[0] == '\0' && token[0] == '\0')
		return true;
	if (limit[0] == '\0')
		prom_answer_error(r, 400, "bad_data",
						  "invalid parameter \"group_next_token\": group_limit needs to be present in order to paginate over the groups");
	else if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
		prom_answer_error(r, 400, "bad_data",
						  "invalid parameter \"group_limit\": group_limit needs to be a valid number: strconv.ParseInt: parsing %s: invalid syntax",
						  prom_param_quote(limit));
	else if (strtoll(limit, NULL, 10) <= 0)
		prom_answer_error(r, 400, "bad_data",
						  "invalid parameter \"group_limit\": group_limit needs to be greater than 0");
	else if (token[0] != '\0')
		prom_answer_error(r, 400, "bad_data",
						  "invalid parameter \"group_next_token\": invalid group_next_token '%s'. were rule groups changed?",
						  token);
	else
		return true;
	return false;
}

void
prom_rules_run(PromRequest *r)
{
	const char *type = prom_request_param(r, "type");
	bool		exclude_alerts;
	int			nmatches;
	char	   *matches = prom_param_array(r, "match[]", &nmatches);

	if (type[0] != '\0' && strcmp(type, "alert") != 0 && strcmp(type, "record") != 0)
	{
		prom_answer_error(r, 400, "bad_data", "invalid parameter \"type\": not supported value %s",
						  prom_param_quote(type));
		return;
	}
	if (!prom_param_bool(r, "exclude_alerts", &exclude_alerts) || !check_paging(r))
		return;
	if (nmatches == 0)
	{
		prom_answer_data(r, NO_GROUPS);
		return;
	}
	r->job.sql = "SELECT prom._api_checked($1, '" NO_GROUPS "')";
	prom_job_param(&r->job, TEXTARRAYOID, matches);
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	r->job.parameter = "match[]";
	prom_request_ask(r, prom_pool_query);
}

void
prom_alerts_run(PromRequest *r)
{
	prom_answer_data(r, "{\"alerts\":[]}");
}

void
prom_alertmanagers_run(PromRequest *r)
{
	prom_answer_data(r, "{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}");
}

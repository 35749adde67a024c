/*
 * admin.c
 *	  /api/v1/admin/tsdb: off unless promgres.admin_api is on, because whoever reaches it can delete.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/guc.h"

#include "api/gateway.h"
#include "common/clock.h"

bool		prom_admin_enabled = false;

static char *snapshot_directory = NULL;

static bool
check_enabled(PromRequest *r)
{
	if (!prom_admin_enabled)
		prom_answer_error(r, 500, "unavailable", "admin APIs disabled: promgres.admin_api is off");
	return prom_admin_enabled;
}

void
prom_delete_series_run(PromRequest *r)
{
	int			nmatches;
	char	   *matches = prom_param_array(r, "match[]", &nmatches);
	int64		start_ms;
	int64		end_ms;

	if (!check_enabled(r))
		return;
	if (nmatches == 0)
	{
		prom_answer_error(r, 400, "bad_data", "no match[] parameter provided");
		return;
	}
	if (!prom_param_time_or(r, "start", PROM_MIN_TIMESTAMP_MS, &start_ms) ||
		!prom_param_time_or(r, "end", PROM_MAX_TIMESTAMP_MS, &end_ms))
		return;
	r->job.sql = "SELECT prom._api_delete_series($1, $2, $3)";
	prom_job_param(&r->job, TEXTARRAYOID, matches);
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, start_ms));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, end_ms));
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	r->job.parameter = "match[]";
	prom_request_ask(r, prom_pool_query);
}

/* Deleted samples are gone already: there is nothing between them and the bytes. */
void
prom_clean_tombstones_run(PromRequest *r)
{
	if (check_enabled(r))
		prom_answer_empty(r, 204);
}

/* What is fresh is not apart from what is merged, so skip_head changes nothing. */
void
prom_snapshot_run(PromRequest *r)
{
	bool		skip_head = false;

	if (!check_enabled(r) || !prom_param_bool(r, "skip_head", &skip_head))
		return;
	if (snapshot_directory[0] == '\0')
	{
		prom_answer_error(r, 422, "execution",
						  "no directory for snapshots: set promgres.snapshot_directory, or take a backup with pg_basebackup or pg_dump");
		return;
	}
	r->job.sql = "SELECT prom._api_snapshot($1)";
	prom_job_param(&r->job, TEXTOID, snapshot_directory);
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	prom_request_ask(r, prom_pool_query);
}

void
prom_admin_init(void)
{
	DefineCustomBoolVariable("promgres.admin_api",
							 "Offers /api/v1/admin/tsdb over HTTP, which can delete series.",
							 "Prometheus' flag --web.enable-admin-api.",
							 &prom_admin_enabled,
							 false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("promgres.snapshot_directory",
							   "Where /api/v1/admin/tsdb/snapshot writes blocks of Prometheus.",
							   "A directory of the server, or s3://server/prefix; empty: there are no snapshots.",
							   &snapshot_directory,
							   "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
}

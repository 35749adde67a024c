/*
 * health.c
 *	  /-/healthy and /-/ready for who starts and watches the gateway; /-/reload and /-/quit for nobody.
 */
#include "postgres.h"

#include "api/gateway.h"
#include "common/remote.h"
#include "common/worker.h"

void
prom_healthy_run(PromRequest *r)
{
	prom_answer_text(r, 200, "promgres is Healthy.\n");
}

static void
ready_rows(PromJob *job, PGresult *rows)
{
	((PromRequest *) job->owner)->has_extension = true;
}

static void
ready_done(PromJob *job)
{
	PromRequest *r = job->owner;

	if (!job->outcome.ok || !r->has_extension)
		prom_answer_header(r, "X-Prometheus-Stopping", prom_worker_server_drains() ? "true" : "false");
	if (job->outcome.ok && r->has_extension)
		prom_answer_text(r, 200, "promgres is Ready.\n");
	else if (job->outcome.ok)
		prom_answer_text(r, 503, "Service Unavailable: " PROM_MISSING_TEXT "\n", prom_remote_database);
	else
		prom_answer_text(r, 503, "Service Unavailable: %s\n", job->outcome.message);
}

/* Ready is who can reach the database and finds the extension there. */
void
prom_ready_run(PromRequest *r)
{
	r->job.sql = "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'promgres'";
	r->job.timeout_ms = prom_gateway_request_timeout_ms;
	r->job.rows = ready_rows;
	r->job.done = ready_done;
	prom_request_ask(r, prom_pool_control);
}

/* The server's operator has pg_reload_conf() and pg_ctl for that. */
void
prom_lifecycle_run(PromRequest *r)
{
	prom_answer_text(r, 403, "Lifecycle API is not enabled.");
}

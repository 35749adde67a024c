/*
 * thanos.c
 *	  Parameters of Thanos that stand for settings: dedup, replicaLabels[] or replicaLabels, partial_response.
 *
 * The settings promgres.dedup, promgres.replica_labels and promgres.partial_response are in force during one request.  A
 * request is one transaction: a function in the FROM clause of its statement sets them to its end, before anything
 * is planned.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "api/gateway.h"

/* ---- in the gateway ---- */

static bool
is_replica_labels(const PromRequest *r, int i)
{
	/* the documentation has one spelling, the code the other */
	return strcmp(r->params[i].name, "replicaLabels[]") == 0 || strcmp(r->params[i].name, "replicaLabels") == 0;
}

bool
prom_thanos_check(PromRequest *r)
{
	bool		ignored;

	for (int i = 0; i < r->nparams; i++)
	{
		if (!is_replica_labels(r, i) || strcmp(r->params[i].value, "__name__") != 0)
			continue;
		prom_answer_error(r, 400, "bad_data", "invalid parameter \"%s\": the name of a metric cannot be a replica label",
						  r->params[i].name);
		return false;
	}
	return prom_param_bool(r, "dedup", &ignored) && prom_param_bool(r, "partial_response", &ignored);
}

/* The labels as the setting is written; NULL: there is no such parameter. */
static char *
labels_text(const PromRequest *r)
{
	StringInfoData out;
	bool		given = false;

	initStringInfo(&out);
	for (int i = 0; i < r->nparams; i++)
	{
		if (!is_replica_labels(r, i))
			continue;
		given = true;
		/* empty: no label at all */
		if (r->params[i].value[0] == '\0')
			continue;
		appendStringInfoString(&out, out.len > 0 ? ",\"" : "\"");
		for (const char *p = r->params[i].value; *p != '\0'; p++)
		{
			if (*p == '"')
				appendStringInfoCharMacro(&out, '"');
			appendStringInfoCharMacro(&out, *p);
		}
		appendStringInfoChar(&out, '"');
	}
	return given ? out.data : NULL;
}

void
prom_thanos_add(PromRequest *r)
{
	const char *partial = prom_request_param(r, "partial_response");
	const char *dedup = prom_request_param(r, "dedup");
	char	   *labels = labels_text(r);

	if (dedup[0] == '\0' && labels == NULL && partial[0] == '\0')
		return;
	r->job.sql = psprintf("%s FROM prom._api_thanos($%d, $%d, $%d)", r->job.sql, r->job.nparams + 1, r->job.nparams + 2,
						  r->job.nparams + 3);
	prom_job_param(&r->job, BOOLOID, dedup[0] == '\0' ? NULL : dedup);
	prom_job_param(&r->job, TEXTOID, labels);
	prom_job_param(&r->job, BOOLOID, partial[0] == '\0' ? NULL : partial);
}

/* ---- in the backend ---- */

PG_FUNCTION_INFO_V1(prom_api_thanos);

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/* _api_thanos(dedup, replica_labels, partial_response) */
Datum
prom_api_thanos(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(0))
		set_local("promgres.dedup", PG_GETARG_BOOL(0) ? "on" : "off");
	if (!PG_ARGISNULL(1))
		set_local("promgres.replica_labels", text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (!PG_ARGISNULL(2))
		set_local("promgres.partial_response", PG_GETARG_BOOL(2) ? "on" : "off");
	PG_RETURN_BOOL(true);
}

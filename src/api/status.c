/*
 * status.c
 *	  /api/v1/status and the like: the server about itself.
 *
 * Grafana reads from these what it talks to.  buildinfo must have no "features", by which it knows
 * Mimir; flags, if there are any, make it believe in Thanos, so they are offered by a setting.
 */
#include "postgres.h"

#include <ctype.h>
#include <unistd.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "api/gateway.h"
#include "promql/promql.h"

/* The Prometheus release whose API this is; clients decide by it what they may ask. */
#define BUILDINFO \
	"{\"version\":\"3.5.0\",\"revision\":\"\",\"branch\":\"promgres\",\"buildUser\":\"\",\"buildDate\":\"\",\"goVersion\":\"\"}"

#define TSDB_LIMIT		10
#define TSDB_MAX_LIMIT	10000

static bool serve_flags = false;

void
prom_buildinfo_run(PromRequest *r)
{
	prom_answer_data(r, BUILDINFO);
}

/* The same without an envelope. */
void
prom_version_run(PromRequest *r)
{
	prom_answer_text(r, 200, "%s", BUILDINFO);
	r->content_type = "application/json";
}

static void
ask(PromRequest *r, const char *sql)
{
	r->job.sql = sql;
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	prom_request_ask(r, prom_pool_query);
}

void
prom_runtimeinfo_run(PromRequest *r)
{
	char		hostname[256] = "";

	(void) gethostname(hostname, sizeof(hostname) - 1);
	prom_job_param(&r->job, TEXTOID, pstrdup(hostname));
	prom_job_param(&r->job, TEXTOID, DataDir);
	prom_job_param(&r->job, INT4OID, psprintf("%ld", sysconf(_SC_NPROCESSORS_ONLN)));
	ask(r, "SELECT prom._api_runtimeinfo($1, $2, $3)");
}

void
prom_config_run(PromRequest *r)
{
	ask(r, "SELECT prom._api_config()");
}

/* ---- flags ---- */

typedef struct Flag
{
	const char *name;
	const char *setting;		/* or */
	const char *value;
} Flag;

static const Flag flags[] = {
	{"query.lookback-delta", "promgres.lookback_delta"},
	{"query.max-concurrency", "promgres.query_connections"},
	{"query.max-samples", "promgres.query_max_samples"},
	{"query.timeout", "promgres.query_timeout"},
	{"web.cors.origin", "promgres.cors_origin"},
	{"web.enable-admin-api", "promgres.admin_api"},
	{"web.enable-lifecycle", NULL, "false"},
	{"web.enable-remote-write-receiver", NULL, "true"},
	{"web.max-connections", "promgres.max_connections"},
	{"web.read-timeout", "promgres.request_timeout"},
	{"web.route-prefix", "promgres.path_prefix"},
};

/* A setting as a flag of Prometheus would be written. */
static char *
flag_value(const Flag *flag)
{
	char	   *value;
	size_t		len;

	if (flag->setting == NULL)
		return pstrdup(flag->value);
	value = GetConfigOptionByName(flag->setting, NULL, false);
	len = strlen(value);
	if (strcmp(value, "on") == 0 || strcmp(value, "off") == 0)
		return pstrdup(value[1] == 'n' ? "true" : "false");
	/* minutes are min here and m there */
	if (len > 3 && strcmp(value + len - 3, "min") == 0 && isdigit((unsigned char) value[len - 4]))
		value[len - 2] = '\0';
	return value;
}

void
prom_flags_run(PromRequest *r)
{
	StringInfoData out;

	if (!serve_flags)
	{
		prom_answer_text(r, 404, "404 page not found\n");
		return;
	}
	initStringInfo(&out);
	for (int i = 0; i < lengthof(flags); i++)
	{
		char	   *value = flag_value(&flags[i]);

		appendStringInfo(&out, "%c\"%s\":", i == 0 ? '{' : ',', flags[i].name);
		prom_json_string(&out, value, strlen(value));
	}
	appendStringInfoChar(&out, '}');
	prom_answer_data(r, out.data);
}

/* ---- storage ---- */

void
prom_tsdb_run(PromRequest *r)
{
	int			limit = TSDB_LIMIT;

	if (prom_request_param(r, "limit")[0] != '\0' && !prom_param_limit(r, "limit", &limit))
		return;
	if (limit < 1 || limit > TSDB_MAX_LIMIT)
	{
		prom_answer_error(r, 400, "bad_data", "invalid parameter \"limit\": limit must be between 1 and %d",
						  TSDB_MAX_LIMIT);
		return;
	}
	prom_job_param(&r->job, INT4OID, psprintf("%d", limit));
	ask(r, "SELECT prom._api_tsdb($1)");
}

/* Samples are in tables, not in blocks. */
void
prom_tsdb_blocks_run(PromRequest *r)
{
	prom_answer_data(r, "{\"blocks\":[]}");
}

/* PostgreSQL replays its log before the gateway is there. */
void
prom_walreplay_run(PromRequest *r)
{
	prom_answer_data(r, "{\"min\":0,\"max\":0,\"current\":0}");
}

/* ---- features and notifications ---- */

#define FEATURE(yes) ((yes) ? "true" : "false")

void
prom_features_run(PromRequest *r)
{
	prom_answer_data(r,
					 psprintf("{\"api\":{\"admin\":%s,\"exclude_alerts\":true,\"label_values_match\":true,\"lifecycle\":false,"
							  "\"query_stats\":true,\"query_warnings\":true,\"remote_write_receiver\":true,\"rules_pagination\":true},"
							  "\"promql\":{\"at_modifier\":true,\"delayed_name_removal\":%s,\"experimental_functions\":%s,"
							  "\"negative_offset\":true,\"subqueries\":true,\"type_and_unit_labels\":%s}}",
							  FEATURE(prom_admin_enabled), FEATURE(promql_delayed_names), FEATURE(promql_experimental),
							  FEATURE(promql_typed)));
}

void
prom_notifications_run(PromRequest *r)
{
	prom_answer_data(r, "[]");
}

/* As if there were too many listeners: nothing would ever be sent to one. */
void
prom_notifications_live_run(PromRequest *r)
{
	prom_answer_empty(r, 204);
}

void
prom_status_init(void)
{
	DefineCustomBoolVariable("promgres.serve_flags",
							 "Offers /api/v1/status/flags over HTTP.",
							 "Thanos asks for it; Grafana takes whoever has it for Thanos.",
							 &serve_flags,
							 false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
}

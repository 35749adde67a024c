/*
 * routes.c
 *	  Method and path to handler; SQLSTATE to status.
 *
 * Paths are compared as they were sent, before percent-decoding: a slash inside of a label name is
 * %2F.  What stands before /api/v1 or another of these paths has been taken off (prefix.c).  Two tables
 * decide everything; a new endpoint or error is a new row.
 */
#include "postgres.h"

#include "api/gateway.h"
#include "common/remote.h"

static const PromRoute routes[] = {
	/* writing; then what Thanos, Cortex and Mimir, Promscale and others call the same thing */
	{"POST", "/api/v1/write", prom_write_check, prom_write_run},
	{"POST", "/api/v1/receive", prom_write_check, prom_write_run},
	{"POST", "/api/v1/push", prom_write_check, prom_write_run},
	{"POST", "/push", prom_write_check, prom_write_run},
	{"POST", "/write", prom_write_check, prom_write_run},
	{"POST", "/insert/*/prometheus", prom_write_check, prom_write_run},
	{"POST", "/api/v1/otlp/v1/metrics", prom_write_check_otlp, prom_write_run},
	{"POST", "/v1/metrics", prom_write_check_otlp, prom_write_run},
	{"POST", "/opentelemetry/v1/metrics", prom_write_check_otlp, prom_write_run},
	{"POST", "/opentelemetry/api/v1/push", prom_write_check_otlp, prom_write_run},
	{"POST", "/insert/*/opentelemetry/v1/metrics", prom_write_check_otlp, prom_write_run},

	/* PromQL */
	{"GET, POST", "/api/v1/query", NULL, prom_query_run},
	{"GET, POST", "/api/v1/query_range", NULL, prom_query_range_run},
	{"GET, POST", "/api/v1/query_exemplars", NULL, prom_query_exemplars_run},
	{"GET, POST", "/api/v1/format_query", NULL, prom_format_query_run},
	{"GET, POST", "/api/v1/parse_query", NULL, prom_parse_query_run},

	/* what there is */
	{"GET, POST", "/api/v1/labels", NULL, prom_labels_run},
	{"GET", "/api/v1/label/*/values", NULL, prom_label_values_run},
	{"GET, POST", "/api/v1/series", NULL, prom_series_run},
	{"POST", "/api/v1/read", prom_read_check_headers, prom_read_run},
	{"GET", "/federate", NULL, prom_federate_run},
	{"GET", "/metrics", NULL, prom_metrics_run},
	{"GET", "/api/v1/metadata", NULL, prom_metadata_run},

	/* what Prometheus scrapes and evaluates, and promgres does not */
	{"GET", "/api/v1/targets", NULL, prom_targets_run},
	{"GET", "/api/v1/targets/metadata", NULL, prom_targets_metadata_run},
	{"GET", "/api/v1/scrape_pools", NULL, prom_scrape_pools_run},
	{"GET", "/api/v1/rules", NULL, prom_rules_run},
	{"GET", "/api/v1/alerts", NULL, prom_alerts_run},
	{"GET", "/api/v1/alertmanagers", NULL, prom_alertmanagers_run},

	/* about the server */
	{"GET", "/api/v1/status/buildinfo", NULL, prom_buildinfo_run},
	{"GET", "/api/v1/status/runtimeinfo", NULL, prom_runtimeinfo_run},
	{"GET", "/api/v1/status/config", NULL, prom_config_run},
	{"GET", "/api/v1/status/flags", NULL, prom_flags_run},
	{"GET", "/api/v1/status/tsdb", NULL, prom_tsdb_run},
	{"GET", "/api/v1/status/tsdb/blocks", NULL, prom_tsdb_blocks_run},
	{"GET", "/api/v1/status/walreplay", NULL, prom_walreplay_run},
	{"GET", "/api/v1/features", NULL, prom_features_run},
	{"GET", "/api/v1/notifications", NULL, prom_notifications_run},
	{"GET", "/api/v1/notifications/live", NULL, prom_notifications_live_run},
	{"GET", "/version", NULL, prom_version_run},

	{"POST, PUT", "/api/v1/admin/tsdb/delete_series", NULL, prom_delete_series_run},
	{"POST, PUT", "/api/v1/admin/tsdb/clean_tombstones", NULL, prom_clean_tombstones_run},
	{"POST, PUT", "/api/v1/admin/tsdb/snapshot", NULL, prom_snapshot_run},

	{"GET", "/-/healthy", NULL, prom_healthy_run, true},
	{"GET", "/-/ready", NULL, prom_ready_run, true},
	{"POST, PUT", "/-/reload", NULL, prom_lifecycle_run},
	{"POST, PUT", "/-/quit", NULL, prom_lifecycle_run},

	/* the page */
	{"GET, POST", "/api/v1/explain", NULL, prom_explain_run},
	{"GET", "/api/v1/status/promgres", NULL, prom_page_status_run},
	{"GET", "/", NULL, prom_page_run},
	{"GET", "/graph", NULL, prom_page_run},
	{"GET", "/query", NULL, prom_page_run},
	{"GET", "/explore", NULL, prom_page_run},
	{"GET", "/status", NULL, prom_page_run},
	{"GET", "/assets/*", NULL, prom_page_file_run},
};

/* What a failed statement means to who asked; the first row that fits counts. */
typedef struct PromStatus
{
	const char *sqlstate;		/* its beginning */
	int			status;
	const char *type;
	bool		transient;		/* the same thing may work later */
} PromStatus;

static const PromStatus statuses[] = {
	{"08", 503, "unavailable", true},	/* connection */
	{"22021", 400, "bad_data", false},	/* not a character of the encoding */
	{"25006", 503, "unavailable", true},	/* read-only: a standby */
	{"28", 403, "forbidden", false},	/* the role is no more */
	{"42501", 403, "forbidden", false}, /* the role may not */
	{"40", 503, "unavailable", true},	/* deadlock, conflict with recovery */
	{"42601", 400, "bad_data", false},	/* PromQL that does not parse */
	{"42804", 400, "bad_data", false},	/* PromQL of a wrong type */
	{"42883", 400, "bad_data", false},	/* unknown PromQL function */
	{"53300", 503, "unavailable", true},	/* no connection is free */
	{"55P03", 503, "unavailable", true},	/* lock not available */
	{"57", 503, "unavailable", true},	/* shutdown, not yet started */
	{"58", 500, "internal", true},	/* files */
	{"XX", 500, "internal", false},
	{"", 422, "execution", false},
};

static bool allows(const char *methods, const char *method);
static const char *allowed(const char *methods);
static bool path_fits(const char *pattern, const char *path);
static const PromStatus *find_status(const char *sqlstate);
static bool has_place(const char *message);

const PromRoute *
prom_route_number(int i)
{
	return i < lengthof(routes) ? &routes[i] : NULL;
}

const PromRoute *
prom_route(PromRequest *r, const char *method)
{
	if (r->is_api && strcmp(method, "OPTIONS") == 0)
	{
		prom_answer_empty(r, 204);
		return NULL;
	}
	for (int i = 0; i < lengthof(routes); i++)
	{
		if (!path_fits(routes[i].path, r->path))
			continue;
		if (allows(routes[i].methods, method))
			return &routes[i];
		r->allow = allowed(routes[i].methods);
		prom_answer_text(r, 405, "Method Not Allowed\n");
		return NULL;
	}
	prom_answer_text(r, 404, "404 page not found\n");
	return NULL;
}

/* Is the method one of a list like "GET, POST"?  Whoever may GET may ask for the head alone. */
static bool
allows(const char *methods, const char *method)
{
	size_t		len;

	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	len = strlen(method);
	for (const char *p = methods; (p = strstr(p, method)) != NULL; p += len)
	{
		if ((p == methods || p[-1] == ' ') && (p[len] == ',' || p[len] == '\0'))
			return true;
	}
	return false;
}

/* The list as the header Allow has it. */
static const char *
allowed(const char *methods)
{
	return strncmp(methods, "GET", 3) == 0 ? psprintf("GET, HEAD%s", methods + 3) : methods;
}

void
prom_answer_outcome(PromRequest *r, const PromOutcome *o, const char *parameter)
{
	const PromStatus *s = find_status(o->sqlstate);

	if (o->cancelled)
		prom_answer_error(r, 499, "canceled", "query was canceled in %s",
						  o->queued ? "query queue" : "expression evaluation");
	else if (o->timed_out)
		prom_answer_error(r, 503, "timeout", "query timed out in %s",
						  o->queued ? "query queue" : "expression evaluation");
	else if (strcmp(o->sqlstate, "57014") == 0)
		prom_answer_error(r, 499, "canceled", "query was canceled in expression evaluation");
	else if (prom_outcome_is_missing(o))
	{
		r->retry_later = true;
		prom_answer_error(r, 503, "unavailable", "%s", o->message);
	}
	else
	{
		r->retry_later = s->status == 503;
		if (strcmp(s->type, "bad_data") == 0 && parameter != NULL)
			prom_answer_error(r, s->status, s->type, "invalid parameter \"%s\": %s", parameter, o->message);
		else
			prom_answer_error(r, s->status, s->type, "%s", o->message);
	}
}

/*
 * The message of an error.  One about a limit, about a query that needs what is not turned on, or about a role that is
 * not there, says with it what to do, which names the setting, and one about missing rights which roles have them:
 * clients show the text as it is and nothing beside it.
 */
char *
prom_outcome_text(const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);

	if (message == NULL)
		return pstrdup(PQresultErrorMessage(result));
	if (sqlstate != NULL && strcmp(sqlstate, "42501") == 0)
		hint = hint != NULL ? hint : "prom_reader reads, prom_writer writes, prom_admin does both and deletes: GRANT one of them to the role";
	else if (hint == NULL || sqlstate == NULL ||
			 (strcmp(sqlstate, PROM_SQLSTATE_LIMIT) != 0 && strcmp(sqlstate, PROM_SQLSTATE_SYNTAX) != 0 && strcmp(sqlstate, "28000") != 0))
		return pstrdup(message);
	return psprintf("%s (hint: %s)", message, hint);
}

void
prom_answer_outcome_text(PromRequest *r, const PromOutcome *o)
{
	const PromStatus *s = find_status(o->sqlstate);

	if (o->cancelled)
		prom_answer_text(r, 499, "canceled\n");
	else if (o->timed_out)
		prom_answer_text(r, 503, "the query timed out\n");
	else
	{
		int			status = prom_outcome_is_missing(o) ? 503 : s->status;

		/* what a query asks for too much of, or wrongly, will not be better the next time */
		r->retry_later = status == 503;
		prom_answer_text(r, status == 422 ? 400 : status, "%s\n", o->message);
	}
}

bool
prom_outcome_is_transient(const PromOutcome *o)
{
	/* out of disk, of memory, of connections */
	return !o->ok &&
		(find_status(o->sqlstate)->transient || strncmp(o->sqlstate, "53", 2) == 0 ||
		 prom_outcome_is_missing(o));
}

/* Who asked may not do what it asked for. */
bool
prom_outcome_is_forbidden(const PromOutcome *o)
{
	return !o->ok && find_status(o->sqlstate)->status == 403;
}

/* Errors of PromQL share SQLSTATEs with the absence of our functions, but begin with a place. */
bool
prom_outcome_is_missing(const PromOutcome *o)
{
	return (strcmp(o->sqlstate, "3F000") == 0 || strcmp(o->sqlstate, "42P01") == 0 ||
			strcmp(o->sqlstate, "42883") == 0) &&
		!has_place(o->message);
}

static bool
path_fits(const char *pattern, const char *path)
{
	while (*pattern != '\0')
	{
		if (*pattern == '*')
		{
			pattern++;
			path += strcspn(path, "/");
		}
		else if (*pattern++ != *path++)
			return false;
	}
	return *path == '\0';
}

static const PromStatus *
find_status(const char *sqlstate)
{
	const PromStatus *s = statuses;

	while (strncmp(s->sqlstate, sqlstate, strlen(s->sqlstate)) != 0)
		s++;
	return s;
}

/* Does it begin like "1:5: "? */
static bool
has_place(const char *message)
{
	size_t		line;
	size_t		column;

	if (message == NULL)
		return false;
	line = strspn(message, "0123456789");
	if (line == 0 || message[line] != ':')
		return false;
	column = strspn(message + line + 1, "0123456789");
	return column > 0 && message[line + 1 + column] == ':';
}

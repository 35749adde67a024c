/*
 * routes.c
 *	  Method and path to handler; SQLSTATE to status.
 *
 * Paths are compared as they were sent, before percent-decoding: a slash inside of a label name is
 * %2F.  Two tables decide everything; a new endpoint or error is a new row.
 */
#include "postgres.h"

#include "api/gateway.h"
#include "common/remote.h"

static const PromRoute routes[] = {
	{"POST", "/api/v1/write", prom_write_check, prom_write_run},
	{"POST", "/api/v1/push", prom_write_check, prom_write_run},
	{"GET, POST", "/api/v1/query", NULL, prom_query_run},
	{"GET, POST", "/api/v1/query_range", NULL, prom_query_range_run},
	{"GET, POST", "/api/v1/format_query", NULL, prom_format_query_run},
	{"GET, POST", "/api/v1/parse_query", NULL, prom_parse_query_run},
	{"GET, POST", "/api/v1/labels", NULL, prom_labels_run},
	{"GET", "/api/v1/label/*/values", NULL, prom_label_values_run},
	{"GET, POST", "/api/v1/series", NULL, prom_series_run},
	{"GET", "/api/v1/status/buildinfo", NULL, prom_buildinfo_run},
	{"GET, HEAD", "/-/healthy", NULL, prom_healthy_run, true},
	{"GET, HEAD", "/-/ready", NULL, prom_ready_run, true},
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
	{"0A000", 400, "bad_data", false},	/* PromQL that is not supported yet */
	{"53300", 503, "unavailable", true},	/* no connection is free */
	{"55P03", 503, "unavailable", true},	/* lock not available */
	{"57", 503, "unavailable", true},	/* shutdown, not yet started */
	{"58", 500, "internal", true},	/* files */
	{"XX", 500, "internal", false},
	{"", 422, "execution", false},
};

static bool path_fits(const char *pattern, const char *path);
static const PromStatus *find_status(const char *sqlstate);
static bool has_place(const char *message);

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
		if (prom_route_allows(routes[i].methods, method))
			return &routes[i];
		r->allow = routes[i].methods;
		prom_answer_text(r, 405, "Method Not Allowed\n");
		return NULL;
	}
	prom_answer_text(r, 404, "404 page not found\n");
	return NULL;
}

/* Is the method one of a list like "GET, POST"? */
bool
prom_route_allows(const char *methods, const char *method)
{
	size_t		len = strlen(method);

	for (const char *p = methods; (p = strstr(p, method)) != NULL; p += len)
	{
		if ((p == methods || p[-1] == ' ') && (p[len] == ',' || p[len] == '\0'))
			return true;
	}
	return false;
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
		if (strcmp(s->type, "bad_data") == 0)
			prom_answer_error(r, s->status, s->type, "invalid parameter \"%s\": %s", parameter, o->message);
		else
			prom_answer_error(r, s->status, s->type, "%s", o->message);
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

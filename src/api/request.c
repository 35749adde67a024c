/*
 * request.c
 *	  One request: its headers checked, its body under a cap, its time limited, its answer sent.
 *
 * libmicrohttpd reads and writes; it calls us when the request line is there, when the headers are
 * complete, for each part of the body, and at the end.  What it lets pass and two readers of one
 * connection could understand differently is refused here, and ends the connection.
 *
 * Nothing raises through libmicrohttpd: an error inside of a callback is logged and closes the
 * connection.  Everything of a request lives in its memory context, which goes when the answer is sent.
 */
#include "postgres.h"

#include <gnutls/abstract.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "api/gateway.h"
#include "wire/wire.h"

#define SHOWN_ANNOTATIONS 10		/* of each kind, in an answer */
#define MAX_ANNOTATIONS 1000	/* that are told apart */
#define PROM_REQUEST_MAX_PARAMS 10000
#define PROM_BODY_FIRST_ROOM	16384
/* bodies of all requests together, in units of promgres.max_body_size */
#define PROM_BODIES_MAX			8
/* answers of all queries together, in units of promgres.max_response_size */
#define PROM_ANSWERS_MAX		4
#define BODY_TOO_LARGE			"the body is larger than promgres.max_body_size, %d kB\n"
#define PROM_ENVELOPE			"{\"status\":\"success\",\"data\":"

static dlist_head clients = DLIST_STATIC_INIT(clients);
static int	nclients = 0;
static size_t bodies_size = 0;
static size_t answers_size = 0;

static void *on_uri(void *arg, const char *uri, struct MHD_Connection *connection);
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
								  const char *method, const char *version, const char *upload,
								  size_t *upload_size, void **con_cls);
static void on_completed(void *arg, struct MHD_Connection *connection, void **con_cls,
						 enum MHD_RequestTerminationCode why);
static void on_connection(void *arg, struct MHD_Connection *connection, void **socket_context,
						  enum MHD_ConnectionNotificationCode what);
static PromRequest *make_request(struct MHD_Connection *connection, const char *uri);
static enum MHD_Result step(PromRequest *r, const char *method, const char *upload, size_t *upload_size);
static void begin(PromRequest *r, const char *method);
static const char *check_headers(PromRequest *r, PromBodyHeaders *h);
static enum MHD_Result take_body(PromRequest *r, const char *upload, size_t size);
static void run(PromRequest *r);
static void client_ready(void *owner, uint32 events);

/* libmicrohttpd wants to have a certificate, or somebody to ask; each connection has one from tls.c. */
static int
no_certificate(gnutls_session_t session, const gnutls_datum_t *names, int nnames,
			   const gnutls_pk_algorithm_t *algorithms, int nalgorithms, gnutls_pcert_st **certificates,
			   unsigned int *ncertificates, gnutls_privkey_t *key)
{
	return -1;
}

/* The HTTP side of the gateway: it accepts nothing by itself, connections are added to it. */
struct MHD_Daemon *
prom_request_daemon(void)
{
	unsigned int flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME;

	if (prom_tls_enabled())
		flags |= MHD_USE_TLS;
	return MHD_start_daemon(flags, 0,
							NULL, NULL, on_request, NULL,
							MHD_OPTION_URI_LOG_CALLBACK, on_uri, NULL,
							MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
							MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL,
							MHD_OPTION_STRICT_FOR_CLIENT, 1,
							MHD_OPTION_CONNECTION_LIMIT, (unsigned int) PG_INT32_MAX,
							MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) prom_gateway_max_header_kb * 1024,
							prom_tls_enabled() ? MHD_OPTION_HTTPS_CERT_CALLBACK : MHD_OPTION_END, no_certificate,
							MHD_OPTION_END);
}

int
prom_request_clients(void)
{
	return nclients;
}

int
prom_request_working(void)
{
	int			working = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &clients)
		working += dlist_container(PromClient, node, iter.cur)->working;
	return working;
}

void
prom_request_memory(size_t *bodies, size_t *answers)
{
	*bodies = bodies_size;
	*answers = answers_size;
}

/*
 * A client has promgres.request_timeout to send a request, counted from its connection or from the
 * answer before, and as long to take the answer's next bytes (which libmicrohttpd watches).
 */
void
prom_request_tick(void)
{
	TimestampTz now = GetCurrentTimestamp();
	dlist_iter	iter;

	dlist_foreach(iter, &clients)
	{
		PromClient *client = dlist_container(PromClient, node, iter.cur);

		if (!client->working &&
			TimestampDifferenceExceeds(client->since, now, prom_gateway_request_timeout_ms))
			shutdown(client->fd, SHUT_RDWR);
	}
}

/* ---- what libmicrohttpd calls ---- */

/* Log an error that must not pass; the state of the server's error handling is clean afterwards. */
static void
swallow_error(MemoryContext context)
{
	MemoryContextSwitchTo(context);
	EmitErrorReport();
	FlushErrorState();
}

static void *
on_uri(void *arg, const char *uri, struct MHD_Connection *connection)
{
	MemoryContext old = CurrentMemoryContext;
	PromRequest *volatile r = NULL;

	PG_TRY();
	{
		r = make_request(connection, uri);
	}
	PG_CATCH();
	{
		swallow_error(old);
	}
	PG_END_TRY();
	return r;
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
		   const char *version, const char *upload, size_t *upload_size, void **con_cls)
{
	MemoryContext old = CurrentMemoryContext;
	PromRequest *r = *con_cls;
	volatile enum MHD_Result result = MHD_NO;

	if (r == NULL)
		return MHD_NO;
	PG_TRY();
	{
		MemoryContextSwitchTo(r->context);
		result = step(r, method, upload, upload_size);
		MemoryContextSwitchTo(old);
	}
	PG_CATCH();
	{
		swallow_error(old);
		result = MHD_NO;
	}
	PG_END_TRY();
	return result;
}

static void
on_completed(void *arg, struct MHD_Connection *connection, void **con_cls,
			 enum MHD_RequestTerminationCode why)
{
	PromRequest *r = *con_cls;

	*con_cls = NULL;
	if (r == NULL)
		return;
	prom_metrics_count(r);
	bodies_size -= r->body_room;
	answers_size -= r->answer_room;
	if (r->client != NULL)
	{
		r->client->request = NULL;
		r->client->working = false;
		r->client->since = GetCurrentTimestamp();
	}
	if (!prom_stream_abandon(r))
		MemoryContextDelete(r->context);
}

static void
on_connection(void *arg, struct MHD_Connection *connection, void **socket_context,
			  enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
	{
		PromClient *client = MemoryContextAllocExtended(prom_gateway_context, sizeof(PromClient),
														MCXT_ALLOC_ZERO | MCXT_ALLOC_NO_OOM);

		*socket_context = client;
		if (client == NULL)
			return;
		client->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
		client->since = GetCurrentTimestamp();
		if (!prom_tls_begin(connection, &client->tls))
			shutdown(client->fd, SHUT_RDWR);
		client->watch.ready = client_ready;
		client->watch.owner = client;
		dlist_push_tail(&clients, &client->node);
		nclients++;
	}
	else if (*socket_context != NULL)
	{
		PromClient *client = *socket_context;

		dlist_delete(&client->node);
		prom_tls_end(client->tls);
		nclients--;
		pfree(client);
		*socket_context = NULL;
	}
}

/* ---- from the request line to the answer ---- */

static PromRequest *
make_request(struct MHD_Connection *connection, const char *uri)
{
	MemoryContext context = AllocSetContextCreate(prom_gateway_context, "promgres request",
												  ALLOCSET_SMALL_SIZES);
	PromRequest *r = MemoryContextAllocZero(context, sizeof(PromRequest));
	const char *query;
	size_t		path_len;

	/* the absolute form, as sent to a proxy, is ours too */
	if (pg_strncasecmp(uri, "http://", strlen("http://")) == 0)
	{
		uri += strlen("http://");
		uri += strcspn(uri, "/?");
	}
	query = strchr(uri, '?');
	path_len = query ? (size_t) (query - uri) : strlen(uri);
	r->context = context;
	r->begun = GetCurrentTimestamp();
	r->connection = connection;
	r->client = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	r->url_query = MemoryContextStrdup(context, query ? query + 1 : "");
	r->path = MemoryContextAllocZero(context, path_len + 1);
	memcpy(r->path, uri, path_len);
	r->path = prom_prefix_skip(r->path);
	r->is_api = strncmp(r->path, "/api/v1/", strlen("/api/v1/")) == 0;
	return r;
}

/* libmicrohttpd has something new of the request. */
static enum MHD_Result
step(PromRequest *r, const char *method, const char *upload, size_t *upload_size)
{
	size_t		size = *upload_size;

	switch (r->state)
	{
		case PROM_REQUEST_NEW:
			begin(r, method);
			if (r->state != PROM_REQUEST_ANSWERED)
				return MHD_YES;
			/* an answer ahead of the body ends the connection, and may be lost in its ruins */
			if (r->close)
				return prom_answer_send(r);
			r->state = PROM_REQUEST_REFUSED;
			return MHD_YES;

		case PROM_REQUEST_BODY:
		case PROM_REQUEST_REFUSED:
			if (size > 0)
			{
				*upload_size = 0;
				return take_body(r, upload, size);
			}
			if (r->client != NULL)
			{
				r->client->working = true;
				r->client->since = GetCurrentTimestamp();
				r->client->request = r;
			}
			if (r->state == PROM_REQUEST_BODY)
				prom_auth_run(r, run);
			/* once suspended, libmicrohttpd takes the answer only when it has resumed */
			return r->suspended ? MHD_YES : prom_answer_send(r);

		case PROM_REQUEST_SUSPENDED:
			return MHD_YES;

		case PROM_REQUEST_ANSWERED:
			return prom_answer_send(r);
	}
	return MHD_NO;
}

/* The headers are complete: go on to the body, or answer. */
static void
begin(PromRequest *r, const char *method)
{
	PromBodyHeaders h = {0};
	const char *reason = check_headers(r, &h);
	size_t		max = (size_t) prom_gateway_max_body_kb * 1024;

	/* a refusal waits for the end of the body, unless that is far or the client waits for it */
	r->close = reason != NULL || h.length > 2 * max ||
		MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Expect") != NULL;
	if (r->client == NULL)
	{
		prom_answer_text(r, 503, "out of memory\n");
		return;
	}
	MHD_set_connection_option(r->connection, MHD_CONNECTION_OPTION_TIMEOUT,
							  (unsigned int) (prom_gateway_request_timeout_ms + 999) / 1000);
	if (reason != NULL)
	{
		prom_answer_text(r, 400, "%s\n", reason);
		return;
	}
	r->route = prom_route(r, method);
	if (r->route == NULL)
		return;
	if (!r->route->open && !prom_auth_check(r))
		return;
	if (r->route->check != NULL && !r->route->check(r))
		return;
	if (h.length > max)
	{
		prom_answer_text(r, 413, BODY_TOO_LARGE, prom_gateway_max_body_kb);
		return;
	}
	r->close = false;
	r->state = PROM_REQUEST_BODY;
}

typedef struct HeaderWalk
{
	PromBodyHeaders *body;
	const char *end;			/* of the value before */
	bool		folded;
	bool		torn;
} HeaderWalk;

/*
 * libmicrohttpd gives strings that lie in the buffer as they were received, which tells two things more.
 * A header continued on a second line (obs-fold) has been joined, and its value moved to other memory;
 * a value in one line follows its name and blanks.  And a name follows the value before it and one end
 * of line, LF or CR LF: otherwise that value had a zero byte in it, or a line between was passed over.
 */
static enum MHD_Result
see_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	HeaderWalk *walk = arg;
	const char *p;

	prom_body_header(walk->body, name, value ? value : "");
	if (walk->end != NULL && name != walk->end + 1 && name != walk->end + 2)
		walk->torn = true;
	walk->end = NULL;
	if (value != NULL)
	{
		p = name + strlen(name) + 1;
		if (value < p || value > p + prom_gateway_max_header_kb * 1024)
			walk->folded = true;
		else if (strspn(p, " \t") < (size_t) (value - p))
			walk->folded = true;
		/* a CR alone ends a line for some readers */
		if (strchr(value, '\r') != NULL)
			walk->torn = true;
		walk->end = value + strlen(value);
	}
	return MHD_YES;
}

/* Why the request is refused, or NULL. */
static const char *
check_headers(PromRequest *r, PromBodyHeaders *h)
{
	HeaderWalk	walk = {h, NULL, false, false};

	MHD_get_connection_values(r->connection, MHD_HEADER_KIND, see_header, &walk);
	if (walk.folded)
		return "folded header";
	/* behind the last one comes an empty line, of which nothing but zero bytes is left */
	if (walk.end != NULL && walk.end[1] != '\0')
		walk.torn = true;
	return walk.torn ? "malformed header line" : prom_body_check(h);
}

/*
 * Once the body has begun, an answer must wait for its end.  What is too much is thrown away, and
 * when that too is too much, the connection is cut.
 */
static enum MHD_Result
take_body(PromRequest *r, const char *upload, size_t size)
{
	size_t		max = (size_t) prom_gateway_max_body_kb * 1024;

	r->body_received += size;
	if (r->body_received > 2 * max)
		return MHD_NO;
	if (r->state == PROM_REQUEST_REFUSED)
		return MHD_YES;
	if (r->body_received > max)
	{
		prom_answer_text(r, 413, BODY_TOO_LARGE, prom_gateway_max_body_kb);
		r->state = PROM_REQUEST_REFUSED;
		return MHD_YES;
	}
	if (r->body_len + size + 1 > r->body_room)
	{
		size_t		room = Max(Max(r->body_room * 2, PROM_BODY_FIRST_ROOM), r->body_len + size + 1);
		char	   *body = NULL;

		room = Min(room, max + 1);
		if (bodies_size - r->body_room + room <= (max + 1) * PROM_BODIES_MAX)
			body = MemoryContextAllocExtended(r->context, room, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
		if (body == NULL)
		{
			r->retry_later = true;
			prom_answer_text(r, 503, "too many bodies are waiting\n");
			r->state = PROM_REQUEST_REFUSED;
			return MHD_YES;
		}
		if (r->body != NULL)
		{
			memcpy(body, r->body, r->body_len);
			pfree(r->body);
		}
		bodies_size += room - r->body_room;
		r->body = body;
		r->body_room = room;
	}
	memcpy(r->body + r->body_len, upload, size);
	r->body_len += size;
	return MHD_YES;
}

/* The request is complete. */
static void
run(PromRequest *r)
{
	if (r->route->check == NULL && (!prom_request_read_params(r) || (r->is_api && !prom_param_thanos(r))))
		return;
	r->route->run(r);
}

static bool
is_form(PromRequest *r)
{
	static const char form[] = "application/x-www-form-urlencoded";
	const char *type = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Content-Type");
	size_t		len = strlen(form);

	return type != NULL && pg_strncasecmp(type, form, len) == 0 &&
		(type[len] == '\0' || type[len] == ';' || type[len] == ' ');
}

static bool
is_utf8(const char *s)
{
	int			len = strlen(s);

	return pg_encoding_verifymbstr(PG_UTF8, s, len) == len;
}

/* Append the parameters of one source; false and an answer if it is malformed. */
static bool
read_form(PromRequest *r, char *form, size_t len)
{
	PromWireError err = {0};
	size_t		pos = 0;
	char	   *name;
	char	   *value;
	int			rc;

	while ((rc = prom_form_next(form, len, &pos, &name, &value, &err)) > 0)
	{
		if (r->nparams >= PROM_REQUEST_MAX_PARAMS)
		{
			prom_answer_error(r, 400, "bad_data", "more than %d parameters", PROM_REQUEST_MAX_PARAMS);
			return false;
		}
		if (!is_utf8(name) || !is_utf8(value))
		{
			prom_answer_error(r, 400, "bad_data", "invalid parameter %s: invalid UTF-8",
							  is_utf8(name) ? prom_param_quote(name) : "name");
			return false;
		}
		if (r->nparams % 16 == 0)
			r->params = r->nparams == 0 ? palloc(16 * sizeof(PromParam)) :
				repalloc(r->params, (r->nparams + 16) * sizeof(PromParam));
		r->params[r->nparams].name = name;
		r->params[r->nparams].value = value;
		r->nparams++;
	}
	if (rc < 0)
		prom_answer_error(r, 400, "bad_data", "malformed parameters: %s at byte %zu", err.reason, err.offset);
	return rc == 0;
}

bool
prom_request_read_params(PromRequest *r)
{
	if (r->body_len > 0 && is_form(r) && !read_form(r, r->body, r->body_len))
		return false;
	return read_form(r, r->url_query, strlen(r->url_query));
}

const char *
prom_request_param(const PromRequest *r, const char *name)
{
	for (int i = 0; i < r->nparams; i++)
	{
		if (strcmp(r->params[i].name, name) == 0)
			return r->params[i].value;
	}
	return "";
}

/* ---- while a backend works ---- */

/* The client has closed its side; nobody will read the answer of a query. */
static void
client_ready(void *owner, uint32 events)
{
	PromClient *client = owner;
	PromRequest *r = client->request;

	prom_gateway_unwatch(client->fd);
	if (r == NULL || r->job.pool == NULL)
		return;
	if (r->state == PROM_REQUEST_SUSPENDED)
		prom_pool_cancel(&r->job);
	else if (r->stream != NULL)
		prom_stream_hung_up(r);
}

/* Clients that read slowly must not make all answers together take more than their share. */
static void
receive_rows(PromJob *job, PGresult *rows)
{
	PromRequest *r = job->owner;
	size_t		max = (size_t) prom_gateway_max_response_kb * 1024;
	int			len = PQgetlength(rows, 0, 0);

	if (r->answer.data == NULL)
		return;
	r->retry_later = answers_size + len > max * PROM_ANSWERS_MAX;
	if ((size_t) r->answer.len + len > max || r->retry_later)
	{
		pfree(r->answer.data);
		r->answer.data = NULL;
		answers_size -= r->answer_room;
		r->answer_room = 0;
		prom_pool_cancel(job);
		return;
	}
	appendBinaryStringInfo(&r->answer, PQgetvalue(rows, 0, 0), len);
	answers_size += r->answer.maxlen - r->answer_room;
	r->answer_room = r->answer.maxlen;
}

/* Length of the text before its place, " (line:column)", if it has one; *place: a number that grows with it. */
static int
text_length(const char *text, int64 *place)
{
	const char *open = strrchr(text, '(');
	int			line;
	int			column;
	int			end = 0;

	*place = 0;
	if (open == NULL || open == text || open[-1] != ' ' ||
		sscanf(open, "(%d:%d)%n", &line, &column, &end) != 2 || end == 0 || open[end] != '\0')
		return strlen(text);
	*place = (int64) line << 32 | column;
	return open - 1 - text;
}

/* Of equal texts the one with the last place in the query stays; several processes may send one. */
static List *
add_annotation(List *texts, const char *text)
{
	int64		place;
	int			len = text_length(text, &place);
	ListCell   *lc;

	foreach(lc, texts)
	{
		int64		other_place;

		if (text_length(lfirst(lc), &other_place) != len || strncmp(lfirst(lc), text, len) != 0)
			continue;
		if (place > other_place)
			lfirst(lc) = pstrdup(text);
		return texts;
	}
	return list_length(texts) < MAX_ANNOTATIONS ? lappend(texts, pstrdup(text)) : texts;
}

/* Warnings and infos of a query come as notices with an SQLSTATE of their own; see vals/annotate.h. */
static void
receive_notice(PromJob *job, const PGresult *notice)
{
	PromRequest *r = job->owner;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	const char *sqlstate = PQresultErrorField(notice, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);

	if (sqlstate != NULL && message != NULL && strcmp(sqlstate, PROM_SQLSTATE_WARNING) == 0)
		r->warnings = add_annotation(r->warnings, message);
	else if (sqlstate != NULL && message != NULL && strcmp(sqlstate, PROM_SQLSTATE_INFO) == 0)
		r->infos = add_annotation(r->infos, message);
	MemoryContextSwitchTo(old);
}

static void
append_texts(StringInfo out, const char *key, const char *kind, List *texts)
{
	int			more = list_length(texts) - SHOWN_ANNOTATIONS;
	ListCell   *lc;

	if (texts == NIL)
		return;
	appendStringInfo(out, ",\"%s\":[", key);
	foreach(lc, texts)
	{
		const char *text = lfirst(lc);

		if (foreach_current_index(lc) == SHOWN_ANNOTATIONS)
			break;
		if (lc != list_head(texts))
			appendStringInfoChar(out, ',');
		prom_json_string(out, text, strlen(text));
	}
	if (more > 0)
		appendStringInfo(out, ",\"%d more %s annotations omitted\"", more, kind);
	appendStringInfoChar(out, ']');
}

static void
receive_end(PromJob *job)
{
	PromRequest *r = job->owner;
	MemoryContext old = MemoryContextSwitchTo(r->context);

	if (r->answer.data == NULL && r->retry_later)
		prom_answer_error(r, 503, "unavailable", "too many answers wait for their clients to read them");
	else if (r->answer.data == NULL)
		prom_answer_error(r, 422, "execution", "the answer is larger than promgres.max_response_size, %d kB",
						  prom_gateway_max_response_kb);
	else if (!job->outcome.ok)
		prom_answer_outcome(r, &job->outcome, job->parameter);
	else if (r->answer.len == strlen(PROM_ENVELOPE))
		prom_answer_empty(r, 204);
	else
	{
		append_texts(&r->answer, "warnings", "warning", r->warnings);
		append_texts(&r->answer, "infos", "info", r->infos);
		appendStringInfoChar(&r->answer, '}');
		prom_answer_ready(r, 200, "application/json");
	}
	MemoryContextSwitchTo(old);
}

void
prom_request_ask(PromRequest *r, PromPool *pool)
{
	r->job.owner = r;
	r->job.role = r->role;
	if (r->job.rows == NULL)
	{
		r->job.rows = receive_rows;
		r->job.notice = receive_notice;
		r->job.done = receive_end;
		initStringInfo(&r->answer);
		appendStringInfoString(&r->answer, PROM_ENVELOPE);
	}
	prom_request_suspend(r);
	(void) prom_gateway_watch(r->client->fd, EPOLLRDHUP | EPOLLONESHOT, &r->client->watch);
	if (!prom_pool_submit(pool, &r->job))
	{
		r->retry_later = true;
		prom_answer_error(r, 503, "unavailable", "too many queries are waiting");
	}
}

void
prom_request_suspend(PromRequest *r)
{
	if (r->state == PROM_REQUEST_SUSPENDED)
		return;
	r->state = PROM_REQUEST_SUSPENDED;
	r->suspended = true;
	MHD_suspend_connection(r->connection);
}

/*
 * answer.c
 *	  Answers of the gateway: texts, data and errors in the envelope of the API, headers.
 *
 * An answer is filled in once, from libmicrohttpd's callbacks or from those of a pool, and sent when
 * libmicrohttpd next asks for it.  Its bytes stay in the request's memory until they are sent.
 */
#include "postgres.h"

#include "api/gateway.h"

#define PROM_RETRY_AFTER_S 1
/* a shorter answer is one packet anyway */
#define PROM_COMPRESS_MIN 512

void
prom_answer_ready(PromRequest *r, int status, const char *content_type)
{
	bool		suspended = r->state == PROM_REQUEST_SUSPENDED;

	r->status = status;
	r->content_type = content_type;
	r->state = PROM_REQUEST_ANSWERED;
	if (suspended)
	{
		prom_gateway_unwatch(r->client->fd);
		MHD_resume_connection(r->connection);
	}
}

static void
begin_answer(PromRequest *r)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);

	initStringInfo(&r->answer);
	MemoryContextSwitchTo(old);
}

static void pg_attribute_printf(2, 0)
append_va(StringInfo out, const char *fmt, va_list args)
{
	va_list		again;
	int			needed;

	for (;;)
	{
		va_copy(again, args);
		needed = appendStringInfoVA(out, fmt, again);
		va_end(again);
		if (needed == 0)
			return;
		enlargeStringInfo(out, needed);
	}
}

void
prom_answer_static(PromRequest *r, const char *content_type, const char *bytes, size_t len)
{
	/* never appended to: it has no room */
	r->answer.data = unconstify(char *, bytes);
	r->answer.len = r->answer.maxlen = len;
	prom_answer_ready(r, 200, content_type);
}

void
prom_answer_text(PromRequest *r, int status, const char *fmt,...)
{
	va_list		args;

	begin_answer(r);
	va_start(args, fmt);
	append_va(&r->answer, fmt, args);
	va_end(args);
	prom_answer_ready(r, status, "text/plain; charset=utf-8");
}

void
prom_answer_error(PromRequest *r, int status, const char *type, const char *fmt,...)
{
	StringInfoData text;
	va_list		args;

	begin_answer(r);
	initStringInfo(&text);
	va_start(args, fmt);
	append_va(&text, fmt, args);
	va_end(args);
	appendStringInfo(&r->answer, "{\"status\":\"error\",\"errorType\":\"%s\",\"error\":", type);
	prom_json_string(&r->answer, text.data, text.len);
	appendStringInfoChar(&r->answer, '}');
	pfree(text.data);
	prom_answer_ready(r, status, "application/json");
}

void
prom_answer_data(PromRequest *r, const char *json)
{
	begin_answer(r);
	appendStringInfo(&r->answer, "{\"status\":\"success\",\"data\":%s}", json);
	prom_answer_ready(r, 200, "application/json");
}

void
prom_answer_bytes(PromRequest *r, int status, const char *content_type, const char *bytes, int len)
{
	begin_answer(r);
	appendBinaryStringInfo(&r->answer, bytes, len);
	prom_answer_ready(r, status, content_type);
}

void
prom_answer_header(PromRequest *r, const char *name, const char *value)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);

	r->headers = lappend(lappend(r->headers, unconstify(char *, name)), unconstify(char *, value));
	MemoryContextSwitchTo(old);
}

void
prom_answer_empty(PromRequest *r, int status)
{
	begin_answer(r);
	prom_answer_ready(r, status, NULL);
}

/* A page from elsewhere may read answers of the API, if promgres.cors_origin says so. */
static void
add_cors_headers(PromRequest *r, struct MHD_Response *response)
{
	const char *origin = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Origin");
	const char *allowed;

	if (origin == NULL || origin[0] == '\0')
		return;
	allowed = prom_cors_allowed(origin);
	if (allowed != NULL)
		MHD_add_response_header(response, "Access-Control-Allow-Origin", allowed);
	MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
	MHD_add_response_header(response, "Access-Control-Allow-Headers",
							"Accept, Authorization, Content-Type, Origin");
	MHD_add_response_header(response, "Access-Control-Expose-Headers", "Date");
}

static void
add_headers(PromRequest *r, struct MHD_Response *response)
{
	if (r->content_type != NULL)
		MHD_add_response_header(response, "Content-Type", r->content_type);
	if (r->content_encoding != NULL)
		MHD_add_response_header(response, "Content-Encoding", r->content_encoding);
	if (r->allow != NULL)
		MHD_add_response_header(response, "Allow", r->allow);
	for (int i = 0; i < list_length(r->headers); i += 2)
		MHD_add_response_header(response, list_nth(r->headers, i), list_nth(r->headers, i + 1));
	if (r->retry_later)
	{
		char		seconds[12];

		snprintf(seconds, sizeof(seconds), "%d", r->retry_after_s > 0 ? r->retry_after_s : PROM_RETRY_AFTER_S);
		MHD_add_response_header(response, "Retry-After", seconds);
	}
	if (r->status == 401)
	{
		MHD_add_response_header(response, "WWW-Authenticate", "Basic realm=\"promgres\", charset=\"UTF-8\"");
		MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"promgres\"");
	}
	if (r->close)
		MHD_add_response_header(response, "Connection", "close");
	MHD_add_response_header(response, "Vary", r->is_api ? "Origin, Accept-Encoding" : "Accept-Encoding");
	if (r->is_api)
		add_cors_headers(r, response);
}

/* How the answer will be compressed while it is sent; NULL: not at all, it may be already. */
static const char *
choose_encoding(PromRequest *r)
{
	if (r->content_encoding != NULL || r->content_type == NULL || r->answer.len < PROM_COMPRESS_MIN ||
		(strncmp(r->content_type, "text/", 5) != 0 && strcmp(r->content_type, "application/json") != 0))
		return NULL;
	return prom_encoding_accepted(MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Accept-Encoding"));
}

enum MHD_Result
prom_answer_send(PromRequest *r)
{
	const char *encoding = choose_encoding(r);
	struct MHD_Response *response;
	enum MHD_Result result;

	if (prom_stream_begun(r))
		response = prom_stream_response(r);
	else if (encoding != NULL)
		response = prom_encoding_response(encoding, r->answer.data, r->answer.len);
	else
		response = MHD_create_response_from_buffer(r->answer.len, r->answer.data, MHD_RESPMEM_PERSISTENT);
	if (response == NULL)
		return MHD_NO;
	if (encoding != NULL)
		r->content_encoding = encoding;
	add_headers(r, response);
	result = MHD_queue_response(r->connection, r->status, response);
	MHD_destroy_response(response);
	return result;
}

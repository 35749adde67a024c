/*
 * answer.c
 *	  Answers of the gateway: texts, errors in the envelope of the API, headers.
 *
 * An answer is filled in once, from libmicrohttpd's callbacks or from those of a pool, and sent when
 * libmicrohttpd next asks for it.  Its bytes stay in the request's memory until they are sent.
 */
#include "postgres.h"

#include "api/gateway.h"

#define PROM_RETRY_AFTER_S 1

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
prom_answer_empty(PromRequest *r, int status)
{
	begin_answer(r);
	prom_answer_ready(r, status, NULL);
}

static void
add_headers(PromRequest *r, struct MHD_Response *response)
{
	if (r->content_type != NULL)
		MHD_add_response_header(response, "Content-Type", r->content_type);
	if (r->allow != NULL)
		MHD_add_response_header(response, "Allow", r->allow);
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
	if (!r->is_api)
		return;
	MHD_add_response_header(response, "Vary", "Origin");
	if (MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Origin") == NULL)
		return;
	MHD_add_response_header(response, "Access-Control-Allow-Origin", "*");
	MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
	MHD_add_response_header(response, "Access-Control-Allow-Headers",
							"Accept, Authorization, Content-Type, Origin");
	MHD_add_response_header(response, "Access-Control-Expose-Headers", "Date");
}

enum MHD_Result
prom_answer_send(PromRequest *r)
{
	struct MHD_Response *response;
	enum MHD_Result result;

	response = MHD_create_response_from_buffer(r->answer.len, r->answer.data, MHD_RESPMEM_PERSISTENT);
	if (response == NULL)
		return MHD_NO;
	add_headers(r, response);
	result = MHD_queue_response(r->connection, r->status, response);
	MHD_destroy_response(response);
	return result;
}

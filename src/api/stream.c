/*
 * stream.c
 *	  Answers that are sent while the backend still makes them, in memory that is bounded.
 *
 * The statement's rows have one column of bytes.  The first row is the head of the answer: its content
 * type and, after a line feed, its content encoding if it has one.  All others are the body.  When more
 * than STREAM_HIGH bytes wait for the client, the backend's connection is not read any more, so that the
 * backend waits too; it goes on when STREAM_LOW is left.  libmicrohttpd's connection is suspended while
 * there is nothing to send.
 *
 * A statement that fails before its first row is answered with a status and a line of text.  One that
 * fails later cuts the connection: chunked encoding then lacks its end, which clients notice.
 *
 * When the client goes in the middle, the request lives on, without libmicrohttpd, until the statement has
 * been cancelled.
 */
#include "postgres.h"

#include <sys/epoll.h>

#include "utils/memutils.h"

#include "api/gateway.h"

#define STREAM_HIGH		(1024 * 1024)
#define STREAM_LOW		(256 * 1024)
#define STREAM_BLOCK	32768

struct PromStream
{
	StringInfoData pending;
	int			at;				/* of pending, the byte that is sent next */
	uint64		sent;
	char	   *encoding;
	bool		begun;			/* the head has come */
	bool		running;		/* the statement is */
	bool		failed;
	bool		waiting;		/* libmicrohttpd's connection is suspended for want of bytes */
	bool		gone;			/* the client is */
};

static void stream_rows(PromJob *job, PGresult *rows);
static void stream_done(PromJob *job);
static void begin(PromRequest *r, const char *head, int len);
static void wake(PromRequest *r);

void
prom_stream_ask(PromRequest *r, PromPool *pool)
{
	PromStream *s = palloc0(sizeof(PromStream));

	initStringInfo(&s->pending);
	s->running = true;
	r->stream = s;
	r->job.binary = true;
	r->job.rows = stream_rows;
	r->job.done = stream_done;
	prom_request_ask(r, pool);
}

bool
prom_stream_begun(const PromRequest *r)
{
	return r->stream != NULL && r->stream->begun;
}

uint64
prom_stream_sent(const PromRequest *r)
{
	return r->stream->sent;
}

void
prom_stream_hung_up(PromRequest *r)
{
	if (r->stream->running)
		prom_pool_cancel(&r->job);
}

bool
prom_stream_abandon(PromRequest *r)
{
	if (r->stream == NULL || !r->stream->running)
		return false;
	if (r->client != NULL)
		prom_gateway_unwatch(r->client->fd);
	r->client = NULL;
	r->stream->gone = true;
	prom_pool_cancel(&r->job);
	return true;
}

static void
stream_rows(PromJob *job, PGresult *rows)
{
	PromRequest *r = job->owner;
	PromStream *s = r->stream;
	const char *data = PQgetvalue(rows, 0, 0);
	int			len = PQgetlength(rows, 0, 0);

	if (s->gone)
		return;
	if (!s->begun)
	{
		begin(r, data, len);
		return;
	}
	if (s->at > 0 && s->at == s->pending.len)
	{
		resetStringInfo(&s->pending);
		s->at = 0;
	}
	appendBinaryStringInfo(&s->pending, data, len);
	job->full = s->pending.len - s->at > STREAM_HIGH;
	wake(r);
}

static void
stream_done(PromJob *job)
{
	PromRequest *r = job->owner;
	PromStream *s = r->stream;
	MemoryContext old;

	s->running = false;
	if (s->gone)
	{
		MemoryContextDelete(r->context);
		return;
	}
	s->failed = !job->outcome.ok;
	if (s->begun)
	{
		if (r->client != NULL)
			prom_gateway_unwatch(r->client->fd);
		wake(r);
		return;
	}
	old = MemoryContextSwitchTo(r->context);
	if (s->failed)
		prom_answer_outcome_text(r, &job->outcome);
	else
		prom_answer_empty(r, 200);
	MemoryContextSwitchTo(old);
}

/* The answer begins; the client is still watched, for it may hang up. */
static void
begin(PromRequest *r, const char *head, int len)
{
	PromStream *s = r->stream;
	char	   *type = MemoryContextAlloc(r->context, len + 1);
	char	   *end;

	memcpy(type, head, len);
	type[len] = '\0';
	end = strchr(type, '\n');
	if (end != NULL)
	{
		*end = '\0';
		s->encoding = end + 1;
	}
	s->begun = true;
	prom_answer_ready(r, 200, type);
	(void) prom_gateway_watch(r->client->fd, EPOLLRDHUP | EPOLLONESHOT, &r->client->watch);
}

static void
wake(PromRequest *r)
{
	if (!r->stream->waiting)
		return;
	r->stream->waiting = false;
	MHD_resume_connection(r->connection);
}

/* There is room again; nothing may raise through libmicrohttpd. */
static void
go_on(PromRequest *r)
{
	MemoryContext old = CurrentMemoryContext;

	PG_TRY();
	{
		prom_pool_resume(&r->job);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		EmitErrorReport();
		FlushErrorState();
		r->stream->failed = true;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

/* libmicrohttpd wants up to "max" bytes of the body. */
static ssize_t
read_stream(void *arg, uint64_t pos, char *buf, size_t max)
{
	PromRequest *r = arg;
	PromStream *s = r->stream;
	size_t		left = s->pending.len - s->at;

	if (s->failed)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (left > 0)
	{
		left = Min(left, max);
		memcpy(buf, s->pending.data + s->at, left);
		s->at += (int) left;
		s->sent += left;
		if (s->running && r->job.full && s->pending.len - s->at < STREAM_LOW)
			go_on(r);
		return (ssize_t) left;
	}
	if (!s->running)
		return MHD_CONTENT_READER_END_OF_STREAM;
	s->waiting = true;
	MHD_suspend_connection(r->connection);
	return 0;
}

struct MHD_Response *
prom_stream_response(PromRequest *r)
{
	struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
																	  read_stream, r, NULL);

	if (response != NULL && r->stream->encoding != NULL)
		MHD_add_response_header(response, "Content-Encoding", r->stream->encoding);
	return response;
}

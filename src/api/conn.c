/*
 * conn.c
 *	  One libpq connection of a pool: connecting, preparing the session for a job, the job itself.
 *
 * Nothing here blocks: libpq is asked for what it can do at once, and its socket is watched for the
 * rest.  A job is done when the backend is ready for the next command, so its transaction has
 * committed.  It runs as a role of its own, but for that transaction only: see conn_send().
 */
#include "postgres.h"

#include <sys/epoll.h>

#include "catalog/pg_type.h"

#include "api/pool.h"
#include "common/remote.h"

#define PROM_CONN_MESSAGE_BYTES 256

static void connect_step(PromConn *conn);
static bool conn_watch(PromConn *conn, uint32 events);
static void conn_ready(void *owner, uint32 events);
static void conn_send(PromConn *conn);
static void conn_read(PromConn *conn);
static void conn_looked(PromConn *conn);
static void conn_done(PromConn *conn);
static void conn_lost(PromConn *conn);
static void take_result(PromConn *conn, PGresult *result);
static void receive_notice(void *arg, const PGresult *notice);

static void
set_since(PromConn *conn, PromConnState state)
{
	conn->state = state;
	conn->since = GetCurrentTimestamp();
}

/* libpq's message without its line feeds. */
static void
copy_message(char *to, size_t size, const char *from)
{
	strlcpy(to, from, size);
	for (char *p = to; *p != '\0'; p++)
	{
		if (*p == '\n')
			*p = p[1] == '\0' ? '\0' : ' ';
	}
}

void
prom_conn_init(PromConn *conn, PromPool *pool)
{
	conn->pool = pool;
	conn->watch.ready = conn_ready;
	conn->watch.owner = conn;
}

void
prom_conn_open(PromConn *conn)
{
	const char **keywords;
	const char **values;

	prom_remote_params(conn->pool->application_name, prom_remote_database, &keywords, &values);
	conn->pg = PQconnectStartParams(keywords, values, 0);
	conn->stale = false;
	conn->cancelling = false;
	while (conn->nstatements > 0)
		pfree(conn->statements[--conn->nstatements].sql);
	conn->has_extension = conn->pool == prom_pool_control;
	set_since(conn, CONN_CONNECTING);
	if (conn->pg == NULL || PQstatus(conn->pg) == CONNECTION_BAD)
		prom_conn_fail(conn, conn->pg ? PQerrorMessage(conn->pg) : "out of memory");
	else if (!conn_watch(conn, EPOLLOUT))
		prom_conn_fail(conn, strerror(errno));
}

static void
connect_step(PromConn *conn)
{
	switch (PQconnectPoll(conn->pg))
	{
		case PGRES_POLLING_READING:
			if (!conn_watch(conn, EPOLLIN))
				prom_conn_fail(conn, strerror(errno));
			break;
		case PGRES_POLLING_WRITING:
			if (!conn_watch(conn, EPOLLOUT))
				prom_conn_fail(conn, strerror(errno));
			break;
		case PGRES_POLLING_OK:
			PQsetnonblocking(conn->pg, 1);
			PQsetNoticeReceiver(conn->pg, receive_notice, conn);
			prom_pool_reached(conn->pool);
			if (!conn_watch(conn, EPOLLIN))
				prom_conn_fail(conn, strerror(errno));
			else
				prom_conn_free(conn);
			break;
		default:
			prom_conn_fail(conn, PQerrorMessage(conn->pg));
	}
}

/* Work that waits goes on waiting only if another connection is there to do it. */
void
prom_conn_fail(PromConn *conn, const char *why)
{
	char		message[PROM_CONN_MESSAGE_BYTES];

	copy_message(message, sizeof(message), why);
	prom_pool_unreachable(conn->pool, message);
	prom_conn_close(conn);
	prom_pool_dispatch(conn->pool);
}

void
prom_conn_close(PromConn *conn)
{
	if (conn->pg != NULL)
	{
		if (PQsocket(conn->pg) >= 0)
			prom_gateway_unwatch(PQsocket(conn->pg));
		PQfinish(conn->pg);
	}
	conn->pg = NULL;
	set_since(conn, CONN_CLOSED);
}

static bool
conn_watch(PromConn *conn, uint32 events)
{
	return prom_gateway_watch(PQsocket(conn->pg), events, &conn->watch);
}

/* The kernel says that something has happened on the connection's socket. */
static void
conn_ready(void *owner, uint32 events)
{
	PromConn   *conn = owner;

	/* an event from before this connection's state changed in the same turn */
	if (conn->pg == NULL)
		return;
	if (conn->state == CONN_CONNECTING)
		connect_step(conn);
	else if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) && !PQconsumeInput(conn->pg))
		conn_lost(conn);
	else if (conn->state == CONN_BUSY || conn->state == CONN_LOOKING)
		conn_read(conn);
}

void
prom_conn_begin(PromConn *conn, PromJob *job)
{
	conn->job = job;
	job->conn = conn;
	if (conn->has_extension)
	{
		conn_send(conn);
		return;
	}
	/* looked for first, because a call of what is missing would be an error in the server's log */
	set_since(conn, CONN_LOOKING);
	conn->nsteps = 0;
	if (!PQsendQuery(conn->pg, "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'promgres'"))
		conn_lost(conn);
	else
		conn_read(conn);
}

/* The place of a statement that is kept prepared; NULL: there is none left. */
static PromConnStatement *
find_statement(PromConn *conn, const char *sql)
{
	PromConnStatement *s = conn->statements;
	PromConnStatement *end = s + conn->nstatements;

	while (s < end && strcmp(s->sql, sql) != 0)
		s++;
	if (s == conn->statements + PROM_CONN_STATEMENTS)
		return NULL;
	if (s == end)
	{
		*s = (PromConnStatement) {MemoryContextStrdup(prom_gateway_context, sql), false};
		conn->nstatements++;
	}
	return s;
}

/* A statement into the pipeline, to be parsed and planned each time. */
static bool
send_once(PromConn *conn, const PromJob *job)
{
	conn->steps[conn->nsteps++] = NULL;
	return PQsendQueryParams(conn->pg, job->sql, job->nparams, job->types, job->values, job->lengths, job->formats,
							 job->binary ? 1 : 0);
}

/* The same, but if it is kept, parsed the first time only, and planned until the plan is seen to be as good as any. */
static bool
send_statement(PromConn *conn, const PromJob *job)
{
	PromConnStatement *s = job->kept ? find_statement(conn, job->sql) : NULL;
	char		name[12];

	if (s == NULL)
		return send_once(conn, job);
	snprintf(name, sizeof(name), "p%d", (int) (s - conn->statements));
	if (!s->prepared)
	{
		conn->steps[conn->nsteps++] = s;
		if (!PQsendPrepare(conn->pg, name, job->sql, job->nparams, job->types))
			return false;
	}
	conn->steps[conn->nsteps++] = NULL;
	return PQsendQueryPrepared(conn->pg, name, job->nparams, job->values, job->lengths, job->formats, job->binary ? 1 : 0);
}

/*
 * Two statements in one pipeline, which is one transaction: who the job runs as, with his limits; and the
 * job.  What the first sets is local to the transaction, so nothing of it is left for the next job.
 */
static void
conn_send(PromConn *conn)
{
	PromJob    *job = conn->job;
	PromJob		enter = {.sql = "SELECT prom._enter($1, $2)", .kept = true};
	char		timeout[12];

	if (conn->pool == prom_pool_control)
		enter.sql = "SELECT pg_catalog.set_config('statement_timeout', $2::pg_catalog.text, true) WHERE $1 IS NULL";
	snprintf(timeout, sizeof(timeout), "%d", job->timeout_ms);
	prom_job_param(&enter, TEXTOID, job->role);
	prom_job_param(&enter, INT4OID, timeout);
	set_since(conn, CONN_BUSY);
	conn->nsteps = conn->results = 0;
	if (!PQenterPipelineMode(conn->pg) || !send_statement(conn, &enter) || !send_statement(conn, job) ||
		!PQpipelineSync(conn->pg))
		conn_lost(conn);
	else
		conn_read(conn);
}

/* Write what is left to write, read what is there to read. */
static void
conn_read(PromConn *conn)
{
	int			unsent = PQflush(conn->pg);

	if (unsent < 0 || !conn_watch(conn, unsent ? EPOLLIN | EPOLLOUT : EPOLLIN))
	{
		conn_lost(conn);
		return;
	}
	while (!PQisBusy(conn->pg))
	{
		PGresult   *result;
		bool		synced;

		if (conn->job->full && !conn->job->cancelled)
		{
			prom_gateway_unwatch(PQsocket(conn->pg));
			return;
		}
		result = PQgetResult(conn->pg);
		synced = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
		if (result != NULL && !synced)
		{
			take_result(conn, result);
			PQclear(result);
			continue;
		}
		PQclear(result);
		if (PQstatus(conn->pg) == CONNECTION_BAD)
			conn_lost(conn);
		else if (conn->state == CONN_LOOKING)
			conn_looked(conn);
		else if (!synced)
		{
			/* a step is through; if the job's statement is next, libpq wants to hear so before its first row */
			if (++conn->results == conn->nsteps - 1)
				PQsetSingleRowMode(conn->pg);
			continue;
		}
		else if (!PQexitPipelineMode(conn->pg))
			conn_lost(conn);
		else
			conn_done(conn);
		return;
	}
}

void
prom_conn_resume(PromConn *conn)
{
	conn_read(conn);
}

/* It is known whether the extension is there. */
static void
conn_looked(PromConn *conn)
{
	PromJob    *job = conn->job;

	if (conn->has_extension && job->outcome.sqlstate[0] == '\0' && !job->cancelled)
	{
		conn_send(conn);
		return;
	}
	if (!conn->has_extension)
		prom_job_set_outcome(job, "3F000", "");
	conn_done(conn);
}

static void
conn_done(PromConn *conn)
{
	PromJob    *job = conn->job;

	conn->job = NULL;
	if (prom_outcome_is_missing(&job->outcome))
		conn->has_extension = false;
	/* what is prepared has columns of other types since an upgrade */
	if (job->kept && strcmp(job->outcome.sqlstate, "0A000") == 0)
		conn->stale = true;
	/* the job's end may be a new job's beginning, so the connection must be free by then */
	if (conn->cancelling)
		set_since(conn, CONN_HELD);
	else
		prom_conn_free(conn);
	prom_job_done(job);
}

static void
take_result(PromConn *conn, PGresult *result)
{
	PromJob    *job = conn->job;
	PromOutcome *o = &job->outcome;

	switch (PQresultStatus(result))
	{
		case PGRES_SINGLE_TUPLE:
			if (o->sqlstate[0] == '\0' && !job->cancelled)
				job->rows(job, result);
			break;
		case PGRES_TUPLES_OK:
			if (conn->state == CONN_LOOKING && PQntuples(result) > 0)
				conn->has_extension = true;
			break;
		case PGRES_COMMAND_OK:
			if (conn->results < conn->nsteps && conn->steps[conn->results])
				conn->steps[conn->results]->prepared = true;
			break;
		case PGRES_PIPELINE_ABORTED:	/* the statement before has told why */
			break;
		default:
			{
				const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
				char	   *message = prom_outcome_text(result);

				prom_job_set_outcome(job, state ? state : "08006", message);
				pfree(message);
				o->timed_out = strcmp(o->sqlstate, "57014") == 0 && job->timeout_ms > 0 &&
					TimestampDifferenceExceeds(conn->since, GetCurrentTimestamp(), job->timeout_ms);
			}
	}
}

/* The connection broke; so did its job. */
static void
conn_lost(PromConn *conn)
{
	PromJob    *job = conn->job;
	char		message[PROM_CONN_MESSAGE_BYTES];

	copy_message(message, sizeof(message), PQerrorMessage(conn->pg));
	conn->job = NULL;
	prom_conn_close(conn);
	if (job != NULL)
	{
		/* if the server said why, "terminating connection ...", that has been taken already */
		prom_job_fail(job, "08006", psprintf("the connection to the database was lost: %s", message));
	}
	prom_pool_dispatch(conn->pool);
}

/* The connection has nothing to do any more. */
void
prom_conn_free(PromConn *conn)
{
	if (conn->stale || PQstatus(conn->pg) == CONNECTION_BAD)
		prom_conn_close(conn);
	else
		set_since(conn, CONN_IDLE);
	prom_pool_dispatch(conn->pool);
}

static void
receive_notice(void *arg, const PGresult *notice)
{
	PromConn   *conn = arg;

	if (conn->state == CONN_BUSY && conn->job->notice != NULL)
		conn->job->notice(conn->job, notice);
}

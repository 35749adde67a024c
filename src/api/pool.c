/*
 * pool.c
 *	  libpq connections to backends: ingest, query and control, each with a bounded queue.
 *
 * A pool opens connections as work asks for them, up to its size, and closes those that stood idle
 * for long.  A connection is connecting, idle or has one job; a job is done when the backend is ready
 * for the next command, so its transaction has committed.  While the server cannot be reached, work
 * fails at once, and one attempt a second is made to connect.  What is wrong is logged when it
 * begins to be wrong and when it has ended, not for each request.
 *
 * A job is cancelled by pg_cancel_backend() on a control connection, because PQcancel() would block
 * the event loop.  The connection is not used again before that call has returned, so the signal
 * cannot hit the next job.
 */
#include "postgres.h"

#include <sys/epoll.h>

#include "catalog/pg_type.h"
#include "postmaster/postmaster.h"
#include "utils/memutils.h"

#include "api/gateway.h"
#include "common/remote.h"
#include "common/worker.h"

#define PROM_POOL_MAX_SIZE		100
#define PROM_POOL_RETRY_MS		1000
#define PROM_POOL_CONNECT_MS	10000
#define PROM_POOL_IDLE_MS		300000
#define PROM_QUERY_QUEUE_MAX	256
#define PROM_CONTROL_QUEUE_MAX	64

typedef enum PromConnState
{
	CONN_CLOSED,
	CONN_CONNECTING,
	CONN_IDLE,
	CONN_SETTING,				/* prepares the session for its job */
	CONN_BUSY,
	CONN_HELD					/* its job is done, but a cancel request is still under way */
} PromConnState;

struct PromConn
{
	PromPool   *pool;
	PromConnState state;
	PGconn	   *pg;
	PromWatch	watch;
	PromJob    *job;
	int			timeout_ms;		/* what the backend's statement_timeout is */
	bool		has_extension;	/* it was seen, or is not needed */
	bool		cancelling;
	bool		stale;			/* of former settings: close it when it is free */
	TimestampTz since;			/* of the state */
};

struct PromPool
{
	const char *application_name;
	int			size;
	int			queue_max;
	int			queued;
	dlist_head	queue;
	TimestampTz retry_at;
	char		failure[512];	/* why the last attempt to connect failed */
	PromConn	conns[PROM_POOL_MAX_SIZE];
};

PromPool   *prom_pool_ingest;
PromPool   *prom_pool_query;
PromPool   *prom_pool_control;

/* What is wrong with the database at the moment, as it was logged; "": nothing. */
static char unreachable[512];
static char incomplete[512];

static PromPool *make_pool(const char *application_name, int size, int queue_max);
static void retire_conns(PromPool *pool);
static void drain(PromPool *pool);
static bool has_work(PromPool *pool);
static PromJob *next_job(PromPool *pool);
static void connect_start(PromConn *conn);
static void connect_step(PromConn *conn);
static void connect_failed(PromConn *conn, const char *why);
static void conn_close(PromConn *conn);
static void conn_ready(void *owner, uint32 events);
static bool conn_watch(PromConn *conn, uint32 events);
static void conn_start_job(PromConn *conn, PromJob *job);
static void conn_send(PromConn *conn);
static void conn_lost(PromConn *conn);
static void conn_free(PromConn *conn);
static void conn_read(PromConn *conn);
static void take_result(PromConn *conn, PGresult *result);
static void job_done(PromJob *job);
static void set_outcome(PromJob *job, const char *sqlstate, const char *message);
static void fail_job(PromJob *job, const char *sqlstate, const char *message);
static void fail_queue(PromPool *pool, const char *sqlstate, const char *message);
static void receive_notice(void *arg, const PGresult *notice);
static void send_cancel(PromJob *job);
static void note_trouble(char *known, const char *what);
static void clean_message(char *to, size_t size, const char *from);

static void
set_since(PromConn *conn, PromConnState state)
{
	conn->state = state;
	conn->since = GetCurrentTimestamp();
}

void
prom_pool_start(void)
{
	prom_pool_ingest = make_pool("promgres ingest", 2, 0);
	prom_pool_query = make_pool("promgres query", prom_gateway_query_connections, PROM_QUERY_QUEUE_MAX);
	prom_pool_control = make_pool("promgres control", 2, PROM_CONTROL_QUEUE_MAX);
}

bool
prom_pool_submit(PromPool *pool, PromJob *job)
{
	if (pool->queued >= pool->queue_max)
		return false;
	job->pool = pool;
	job->conn = NULL;
	job->submitted = GetCurrentTimestamp();
	dlist_push_tail(&pool->queue, &job->node);
	pool->queued++;
	prom_pool_dispatch(pool);
	return true;
}

void
prom_pool_cancel(PromJob *job)
{
	if (job->cancelled)
		return;
	job->cancelled = true;
	if (job->conn == NULL)
	{
		dlist_delete(&job->node);
		job->pool->queued--;
		job->outcome.queued = true;
		fail_job(job, "57014", "canceled");
	}
	else if (job->pool != prom_pool_control)
	{
		send_cancel(job);
		/* a backend that waits for us to read does not see that it is cancelled */
		if (job->full)
			prom_pool_resume(job);
	}
	/* what runs on a control connection is short, and there may be no other to cancel it from */
}

void
prom_pool_resume(PromJob *job)
{
	job->full = false;
	if (job->conn != NULL)
		conn_read(job->conn);
}

/* Bring work and free connections together; connect if there are not enough. */
void
prom_pool_dispatch(PromPool *pool)
{
	PromConn   *closed = NULL;
	bool		any = false;

	for (int i = 0; i < pool->size && has_work(pool); i++)
	{
		PromConn   *conn = &pool->conns[i];

		if (conn->state == CONN_IDLE)
			conn_start_job(conn, next_job(pool));
		if (conn->state == CONN_CLOSED)
			closed = closed ? closed : conn;
		else
			any = true;
	}
	if (!has_work(pool))
		return;
	if (closed != NULL && GetCurrentTimestamp() >= pool->retry_at)
		connect_start(closed);
	else if (!any)
		fail_queue(pool, "08001", pool->failure);
}

/* Time passes: jobs wait too long, connections hang or have nothing to do. */
void
prom_pool_tick(void)
{
	PromPool   *pools[] = {prom_pool_ingest, prom_pool_query, prom_pool_control};
	TimestampTz now = GetCurrentTimestamp();

	if (prom_worker_server_drains())
	{
		for (int p = 0; p < lengthof(pools); p++)
			drain(pools[p]);
	}
	for (int p = 0; p < lengthof(pools); p++)
	{
		dlist_mutable_iter iter;

		for (int i = 0; i < PROM_POOL_MAX_SIZE; i++)
		{
			PromConn   *conn = &pools[p]->conns[i];

			if (conn->state == CONN_CONNECTING &&
				TimestampDifferenceExceeds(conn->since, now, PROM_POOL_CONNECT_MS))
				connect_failed(conn, "timeout while connecting");
			else if (conn->state == CONN_IDLE &&
					 (i >= pools[p]->size ||
					  TimestampDifferenceExceeds(conn->since, now, PROM_POOL_IDLE_MS)))
				conn_close(conn);
		}
		dlist_foreach_modify(iter, &pools[p]->queue)
		{
			PromJob    *job = dlist_container(PromJob, node, iter.cur);

			if (job->timeout_ms == 0 || !TimestampDifferenceExceeds(job->submitted, now, job->timeout_ms))
				continue;
			dlist_delete(&job->node);
			pools[p]->queued--;
			job->outcome.timed_out = true;
			job->outcome.queued = true;
			fail_job(job, "57014", "timeout while waiting for a connection");
		}
		prom_pool_dispatch(pools[p]);
	}
}

void
prom_pool_reload(void)
{
	static char *settings = NULL;
	PromPool   *pools[] = {prom_pool_ingest, prom_pool_query, prom_pool_control};
	char	   *now = psprintf("%s\n%s", prom_remote_database, prom_remote_role);

	prom_pool_query->size = prom_gateway_query_connections;
	if (settings != NULL && strcmp(settings, now) == 0)
		return;
	for (int p = 0; settings != NULL && p < lengthof(pools); p++)
	{
		pools[p]->retry_at = 0;
		retire_conns(pools[p]);
		prom_pool_dispatch(pools[p]);
	}
	if (settings != NULL)
		pfree(settings);
	settings = MemoryContextStrdup(prom_gateway_context, now);
}

PromPoolLook
prom_pool_look(const PromPool *pool)
{
	PromPoolLook look = {pool->queued, 0, 0, pool->size};

	for (int i = 0; i < PROM_POOL_MAX_SIZE; i++)
	{
		look.open += pool->conns[i].state != CONN_CLOSED;
		look.busy += pool->conns[i].job != NULL;
	}
	return look;
}

void
prom_pool_stop(void)
{
	PromPool   *pools[] = {prom_pool_query, prom_pool_control, prom_pool_ingest};

	for (int p = 0; p < lengthof(pools); p++)
	{
		pools[p]->retry_at = DT_NOEND;
		clean_message(pools[p]->failure, sizeof(pools[p]->failure), "the server is shutting down");
		for (int i = 0; i < PROM_POOL_MAX_SIZE; i++)
		{
			PromConn   *conn = &pools[p]->conns[i];
			PromJob    *job = conn->job;

			conn->job = NULL;
			conn_close(conn);
			if (job != NULL)
				fail_job(job, "57P01", "the server is shutting down");
		}
		fail_queue(pools[p], "57P01", "the server is shutting down");
	}
}

void
prom_job_param(PromJob *job, Oid type, const char *value)
{
	Assert(job->nparams < PROM_JOB_MAX_PARAMS);
	job->types[job->nparams] = type;
	job->values[job->nparams] = value;
	job->nparams++;
}

/* Close the connections, those with a job when it is done. */
static void
retire_conns(PromPool *pool)
{
	for (int i = 0; i < PROM_POOL_MAX_SIZE; i++)
	{
		PromConn   *conn = &pool->conns[i];

		if (conn->state == CONN_IDLE || conn->state == CONN_CONNECTING)
			conn_close(conn);
		else if (conn->state != CONN_CLOSED)
			conn->stale = true;
	}
}

/* The server lets what runs come to its end, but nothing new begin. */
static void
drain(PromPool *pool)
{
	pool->retry_at = DT_NOEND;
	strlcpy(pool->failure, "the server is shutting down", sizeof(pool->failure));
	retire_conns(pool);
	fail_queue(pool, "57P01", pool->failure);
}

static PromPool *
make_pool(const char *application_name, int size, int queue_max)
{
	PromPool   *pool = MemoryContextAllocZero(prom_gateway_context, sizeof(PromPool));

	pool->application_name = application_name;
	pool->size = size;
	pool->queue_max = queue_max;
	dlist_init(&pool->queue);
	for (int i = 0; i < PROM_POOL_MAX_SIZE; i++)
	{
		pool->conns[i].pool = pool;
		pool->conns[i].watch.ready = conn_ready;
		pool->conns[i].watch.owner = &pool->conns[i];
	}
	return pool;
}

static bool
has_work(PromPool *pool)
{
	return pool == prom_pool_ingest ? prom_write_pending() : pool->queued > 0;
}

static PromJob *
next_job(PromPool *pool)
{
	PromJob    *job;

	if (pool == prom_pool_ingest)
	{
		job = prom_write_group();
		job->pool = pool;
		job->submitted = GetCurrentTimestamp();
		return job;
	}
	pool->queued--;
	return dlist_container(PromJob, node, dlist_pop_head_node(&pool->queue));
}

static void
connect_start(PromConn *conn)
{
	const char **keywords;
	const char **values;

	prom_remote_params(conn->pool->application_name, &keywords, &values);
	conn->pg = PQconnectStartParams(keywords, values, 0);
	conn->stale = false;
	conn->cancelling = false;
	conn->timeout_ms = -1;
	conn->has_extension = conn->pool == prom_pool_control;
	set_since(conn, CONN_CONNECTING);
	if (conn->pg == NULL || PQstatus(conn->pg) == CONNECTION_BAD)
		connect_failed(conn, conn->pg ? PQerrorMessage(conn->pg) : "out of memory");
	else if (!conn_watch(conn, EPOLLOUT))
		connect_failed(conn, strerror(errno));
}

static void
connect_step(PromConn *conn)
{
	switch (PQconnectPoll(conn->pg))
	{
		case PGRES_POLLING_READING:
			if (!conn_watch(conn, EPOLLIN))
				connect_failed(conn, strerror(errno));
			break;
		case PGRES_POLLING_WRITING:
			if (!conn_watch(conn, EPOLLOUT))
				connect_failed(conn, strerror(errno));
			break;
		case PGRES_POLLING_OK:
			PQsetnonblocking(conn->pg, 1);
			PQsetNoticeReceiver(conn->pg, receive_notice, conn);
			note_trouble(unreachable, "");
			if (!conn_watch(conn, EPOLLIN))
				connect_failed(conn, strerror(errno));
			else
				conn_free(conn);
			break;
		default:
			connect_failed(conn, PQerrorMessage(conn->pg));
	}
}

/* Work that waits goes on waiting only if another connection is there to do it. */
static void
connect_failed(PromConn *conn, const char *why)
{
	PromPool   *pool = conn->pool;
	char		message[sizeof(pool->failure)];

	clean_message(message, sizeof(message), why);
	snprintf(pool->failure, sizeof(pool->failure), "the database cannot be reached: %s", message);
	pool->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PROM_POOL_RETRY_MS);
	note_trouble(unreachable, message);
	conn_close(conn);
	prom_pool_dispatch(pool);
}

static void
conn_close(PromConn *conn)
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
	else if (conn->state == CONN_BUSY || conn->state == CONN_SETTING)
		conn_read(conn);
}

static void
conn_start_job(PromConn *conn, PromJob *job)
{
	conn->job = job;
	job->conn = conn;
	if (job->timeout_ms != conn->timeout_ms || !conn->has_extension)
	{
		char		sql[256];

		/* looked for first, because a call of what is missing would be an error in the server's log */
		snprintf(sql, sizeof(sql), "SET statement_timeout = %d;%s", job->timeout_ms,
				 conn->has_extension ? "" :
				 "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'promgres'");
		set_since(conn, CONN_SETTING);
		if (!PQsendQuery(conn->pg, sql))
			conn_lost(conn);
		else
			conn_read(conn);
	}
	else
		conn_send(conn);
}

static void
conn_send(PromConn *conn)
{
	PromJob    *job = conn->job;

	set_since(conn, CONN_BUSY);
	if (!PQsendQueryParams(conn->pg, job->sql, job->nparams, job->types, job->values, job->lengths,
						   job->formats, job->binary ? 1 : 0) ||
		!PQsetSingleRowMode(conn->pg))
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
		PromJob    *job = conn->job;
		PGresult   *result;

		if (job->full && !job->cancelled)
		{
			prom_gateway_unwatch(PQsocket(conn->pg));
			return;
		}
		result = PQgetResult(conn->pg);
		if (result != NULL)
		{
			take_result(conn, result);
			PQclear(result);
			continue;
		}
		if (PQstatus(conn->pg) == CONNECTION_BAD)
			conn_lost(conn);
		else if (conn->state == CONN_SETTING && conn->has_extension &&
				 job->outcome.sqlstate[0] == '\0' && !job->cancelled)
		{
			conn->timeout_ms = job->timeout_ms;
			conn_send(conn);
		}
		else
		{
			conn->job = NULL;
			if (!conn->has_extension)
				set_outcome(job, "3F000", "");
			else if (prom_outcome_is_missing(&job->outcome))
				conn->has_extension = false;
			/* the job's end may be a new job's beginning, so the connection must be free by then */
			if (conn->cancelling)
				set_since(conn, CONN_HELD);
			else
				conn_free(conn);
			job_done(job);
		}
		return;
	}
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
			if (conn->state == CONN_SETTING && PQntuples(result) > 0)
				conn->has_extension = true;
			break;
		case PGRES_COMMAND_OK:
			break;
		default:
			{
				const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
				char	   *message = prom_outcome_text(result);

				set_outcome(job, state ? state : "08006", message);
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
	char		message[256];

	clean_message(message, sizeof(message), PQerrorMessage(conn->pg));
	conn->job = NULL;
	conn_close(conn);
	if (job != NULL)
	{
		/* if the server said why, "terminating connection ...", that has been taken already */
		fail_job(job, "08006", psprintf("the connection to the database was lost: %s", message));
	}
	prom_pool_dispatch(conn->pool);
}

/* The connection has nothing to do any more. */
static void
conn_free(PromConn *conn)
{
	if (conn->stale || PQstatus(conn->pg) == CONNECTION_BAD)
		conn_close(conn);
	else
		set_since(conn, CONN_IDLE);
	prom_pool_dispatch(conn->pool);
}

static void
job_done(PromJob *job)
{
	PromOutcome *o = &job->outcome;
	char	   *message = unconstify(char *, o->message);

	job->conn = NULL;
	o->cancelled = job->cancelled;
	o->ok = o->sqlstate[0] == '\0' && !job->cancelled;
	if (prom_outcome_is_missing(o))
	{
		note_trouble(incomplete, "the extension is missing; run CREATE EXTENSION promgres there");
		o->message = psprintf(PROM_MISSING_TEXT, prom_remote_database);
	}
	else if (o->ok && job->pool != prom_pool_control)
		note_trouble(incomplete, "");
	if (message == NULL)
		o->message = "";
	job->done(job);
	/* the job itself may be gone now */
	if (message != NULL)
		pfree(message);
}

static void
fail_job(PromJob *job, const char *sqlstate, const char *message)
{
	set_outcome(job, sqlstate, message);
	job_done(job);
}

/* The first failure is the one that tells. */
static void
set_outcome(PromJob *job, const char *sqlstate, const char *message)
{
	if (job->outcome.sqlstate[0] != '\0')
		return;
	strlcpy(job->outcome.sqlstate, sqlstate, sizeof(job->outcome.sqlstate));
	job->outcome.message = MemoryContextStrdup(prom_gateway_context, message);
}

static void
fail_queue(PromPool *pool, const char *sqlstate, const char *message)
{
	while (has_work(pool))
		fail_job(next_job(pool), sqlstate, message);
}

static void
receive_notice(void *arg, const PGresult *notice)
{
	PromConn   *conn = arg;

	if (conn->state == CONN_BUSY && conn->job->notice != NULL)
		conn->job->notice(conn->job, notice);
}

/* ---- cancel ---- */

typedef struct Cancel
{
	PromJob		job;
	PromConn   *target;
	PGconn	   *target_pg;		/* to see whether it is still the same connection */
	char		pid[16];
} Cancel;

static void
ignore_rows(PromJob *job, PGresult *rows)
{
}

static void
cancel_done(PromJob *job)
{
	Cancel	   *cancel = (Cancel *) job->owner;
	PromConn   *target = cancel->target;

	if (target->pg == cancel->target_pg)
	{
		target->cancelling = false;
		if (target->state == CONN_HELD)
			conn_free(target);
	}
	pfree(cancel);
}

static void
send_cancel(PromJob *job)
{
	Cancel	   *cancel = MemoryContextAllocZero(prom_gateway_context, sizeof(Cancel));

	cancel->target = job->conn;
	cancel->target_pg = job->conn->pg;
	snprintf(cancel->pid, sizeof(cancel->pid), "%d", PQbackendPID(job->conn->pg));
	cancel->job.sql = "SELECT pg_catalog.pg_cancel_backend($1)";
	cancel->job.timeout_ms = PROM_POOL_CONNECT_MS;
	cancel->job.rows = ignore_rows;
	cancel->job.done = cancel_done;
	cancel->job.owner = cancel;
	prom_job_param(&cancel->job, INT4OID, cancel->pid);

	job->conn->cancelling = true;
	if (!prom_pool_submit(prom_pool_control, &cancel->job))
		cancel_done(&cancel->job);
}

/* ---- what is wrong ---- */

/* Log what has become wrong, or right (""), if that is news. */
static void
note_trouble(char *known, const char *what)
{
	if (strncmp(what, known, sizeof(unreachable) - 1) == 0)
		return;
	strlcpy(known, what, sizeof(unreachable));
	if (what[0] != '\0')
		ereport(LOG,
				(errmsg("promgres gateway cannot work with database \"%s\": %s",
						prom_remote_database, what)));
	else
		ereport(LOG,
				(errmsg("promgres gateway works with database \"%s\" again", prom_remote_database)));
}

/* libpq's message without its line feeds. */
static void
clean_message(char *to, size_t size, const char *from)
{
	strlcpy(to, from, size);
	for (char *p = to; *p != '\0'; p++)
	{
		if (*p == '\n')
			*p = p[1] == '\0' ? '\0' : ' ';
	}
}

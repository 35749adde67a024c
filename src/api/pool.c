/*
 * pool.c
 *	  Pools of connections to backends: ingest, query, login and control, each with a bounded queue.
 *
 * A pool opens connections as work asks for them, up to its size, and closes those that stood idle
 * for long.  While the server cannot be reached, work fails at once, and one attempt a second is made
 * to connect.  What is wrong is logged when it begins to be wrong and when it has ended, not for each
 * request.
 *
 * A job is cancelled by pg_cancel_backend() on a control connection, because PQcancel() would block
 * the event loop.  The connection is not used again before that call has returned, so the signal
 * cannot hit the next job.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "postmaster/postmaster.h"
#include "utils/memutils.h"

#include "api/pool.h"
#include "common/remote.h"
#include "common/worker.h"

#define PROM_POOL_RETRY_MS		1000
#define PROM_POOL_CONNECT_MS	10000
#define PROM_POOL_IDLE_MS		300000
#define PROM_QUERY_QUEUE_MAX	256
#define PROM_LOGIN_QUEUE_MAX	64
#define PROM_CONTROL_QUEUE_MAX	64

PromPool   *prom_pool_ingest;
PromPool   *prom_pool_query;
PromPool   *prom_pool_login;
PromPool   *prom_pool_control;

/* What is wrong with the database at the moment, as it was logged; "": nothing. */
static char unreachable[512];
static char incomplete[512];

static PromPool *make_pool(const char *application_name, int size, int queue_max);
static void retire_conns(PromPool *pool);
static void drain(PromPool *pool);
static bool has_work(PromPool *pool);
static PromJob *next_job(PromPool *pool);
static void fail_queue(PromPool *pool, const char *sqlstate, const char *message);
static void send_cancel(PromJob *job);
static void note_trouble(char *known, const char *what);

void
prom_pool_start(void)
{
	prom_pool_ingest = make_pool("promgres ingest", 2, 0);
	prom_pool_query = make_pool("promgres query", prom_gateway_query_connections, PROM_QUERY_QUEUE_MAX);
	prom_pool_login = make_pool("promgres login", 1, PROM_LOGIN_QUEUE_MAX);
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
		prom_job_fail(job, "57014", "canceled");
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
		prom_conn_resume(job->conn);
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
			prom_conn_begin(conn, next_job(pool));
		if (conn->state == CONN_CLOSED)
			closed = closed ? closed : conn;
		else
			any = true;
	}
	if (!has_work(pool))
		return;
	if (closed != NULL && GetCurrentTimestamp() >= pool->retry_at)
		prom_conn_open(closed);
	else if (!any)
		fail_queue(pool, "08001", pool->failure);
}

/* Time passes: jobs wait too long, connections hang or have nothing to do. */
void
prom_pool_tick(void)
{
	PromPool   *pools[] = {prom_pool_ingest, prom_pool_query, prom_pool_login, prom_pool_control};
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
				prom_conn_fail(conn, "timeout while connecting");
			else if (conn->state == CONN_IDLE &&
					 (i >= pools[p]->size ||
					  TimestampDifferenceExceeds(conn->since, now, PROM_POOL_IDLE_MS)))
				prom_conn_close(conn);
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
			prom_job_fail(job, "57014", "timeout while waiting for a connection");
		}
		prom_pool_dispatch(pools[p]);
	}
}

void
prom_pool_reload(void)
{
	static char *settings = NULL;
	PromPool   *pools[] = {prom_pool_ingest, prom_pool_query, prom_pool_login, prom_pool_control};
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
	PromPool   *pools[] = {prom_pool_query, prom_pool_login, prom_pool_control, prom_pool_ingest};

	for (int p = 0; p < lengthof(pools); p++)
	{
		pools[p]->retry_at = DT_NOEND;
		strlcpy(pools[p]->failure, "the server is shutting down", sizeof(pools[p]->failure));
		for (int i = 0; i < PROM_POOL_MAX_SIZE; i++)
		{
			PromConn   *conn = &pools[p]->conns[i];
			PromJob    *job = conn->job;

			conn->job = NULL;
			prom_conn_close(conn);
			if (job != NULL)
				prom_job_fail(job, "57P01", "the server is shutting down");
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
			prom_conn_close(conn);
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
		prom_conn_init(&pool->conns[i], pool);
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

void
prom_job_done(PromJob *job)
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

void
prom_job_fail(PromJob *job, const char *sqlstate, const char *message)
{
	prom_job_set_outcome(job, sqlstate, message);
	prom_job_done(job);
}

void
prom_job_set_outcome(PromJob *job, const char *sqlstate, const char *message)
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
		prom_job_fail(next_job(pool), sqlstate, message);
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
			prom_conn_free(target);
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

void
prom_pool_reached(PromPool *pool)
{
	note_trouble(unreachable, "");
}

void
prom_pool_unreachable(PromPool *pool, const char *why)
{
	snprintf(pool->failure, sizeof(pool->failure), "the database cannot be reached: %s", why);
	pool->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PROM_POOL_RETRY_MS);
	note_trouble(unreachable, why);
}

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

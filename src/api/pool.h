/*
 * pool.h
 *	  What pool.c and conn.c share: a pool, its queue and its connections.  Private to the two.
 *
 * A connection belongs to a pool.  It is connecting, idle or has one job, and tells its pool when it
 * has come free, failed or got lost; the pool gives it work and decides when it is opened and closed.
 */
#ifndef PROM_POOL_H
#define PROM_POOL_H

#include "postgres.h"

#include "api/gateway.h"

#define PROM_POOL_MAX_SIZE		100

typedef enum PromConnState
{
	CONN_CLOSED,
	CONN_CONNECTING,
	CONN_IDLE,
	CONN_LOOKING,				/* for the extension, ahead of its first job */
	CONN_BUSY,
	CONN_HELD					/* its job is done, but a cancel request is still under way */
} PromConnState;

#define PROM_CONN_STATEMENTS	16
#define PROM_CONN_STEPS			4	/* of a job: two statements, and before each that it is prepared */

/* A statement that was sent to be prepared under the name of its place. */
typedef struct PromConnStatement
{
	char	   *sql;
	bool		prepared;		/* the server has said so */
} PromConnStatement;

struct PromConn
{
	PromPool   *pool;
	PromConnState state;
	PGconn	   *pg;
	PromWatch	watch;
	PromJob    *job;
	PromConnStatement statements[PROM_CONN_STATEMENTS];
	int			nstatements;
	PromConnStatement *steps[PROM_CONN_STEPS];	/* what each step of the job prepares, NULL: it is run */
	int			nsteps;			/* the last one is the job's statement */
	int			results;		/* how many of them are complete */
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

/* ---- conn.c ---- */

extern void prom_conn_init(PromConn *conn, PromPool *pool);
extern void prom_conn_open(PromConn *conn); /* begins to connect */
extern void prom_conn_close(PromConn *conn);	/* whatever it does; says nothing to its job */
extern void prom_conn_fail(PromConn *conn, const char *why);	/* gives up connecting */
extern void prom_conn_begin(PromConn *conn, PromJob *job);	/* of an idle connection */

/* The job's rows are wanted again: go on reading. */
extern void prom_conn_resume(PromConn *conn);

/* It has nothing to do any more: it waits for work, or is closed. */
extern void prom_conn_free(PromConn *conn);

/* ---- pool.c ---- */

/* What the connections learn of the server. */
extern void prom_pool_reached(PromPool *pool);
extern void prom_pool_unreachable(PromPool *pool, const char *why);

/* The first outcome that is set is the one that tells. */
extern void prom_job_set_outcome(PromJob *job, const char *sqlstate, const char *message);

/* The job has its outcome, and may be gone when this returns. */
extern void prom_job_done(PromJob *job);
extern void prom_job_fail(PromJob *job, const char *sqlstate, const char *message);

#endif							/* PROM_POOL_H */

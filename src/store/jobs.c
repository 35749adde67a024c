/*
 * jobs.c
 *	  How the maintenance worker runs jobs: procedures that come round and may take long.
 *
 * What a job is, when it is due and what it has done is SQL (sql/install/49_jobs.sql).  The worker asks
 * every few seconds which one is due, and gives it a connection of its own, one job at a time, so that
 * merges go on meanwhile; nothing here waits for it to end.  The same answer tells what is wrong with
 * jobs, whoever has run them: that is logged once, until it changes or is over.
 *
 * Locking: a job holds a lock for its session, which outlives the transactions of its steps.  It is of the
 * kind that an error gives back, and on an object of ours: not an advisory lock, which anybody could take.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "common/compat.h"
#include "common/remote.h"
#include "store/rows.h"

#define LOOK_MS			5000	/* from one look for jobs that are due to the next */
#define RETRY_MS		60000	/* after a job could not even begin */
#define MAX_NOTED		32

/* What was said of a job. */
typedef struct Noted
{
	char		name[NAMEDATALEN];
	char		text[256];
	bool		of_call;		/* it could not begin: over when it can */
	TimestampTz failed_at;
} Noted;

static Noted noted[MAX_NOTED];
static int	nnoted = 0;

static TimestampTz settled_at = 0;	/* when the worker was started, or its settings were read again */

static PGconn *runner = NULL;	/* where a job runs, or NULL */
static char *runner_target = NULL;	/* database and role that it is connected to */
static Noted *running;

static Noted *find_noted(const char *name);
static void say_once(Noted *job, const char *text, const char *detail, const char *hint);
static void start_job(Noted *job);
static bool job_ended(void);
static bool is_interrupted(const PGresult *res);
static void hang_up(void);
static char *target(MemoryContext cxt);
static LOCKTAG job_tag(int32 number);

PG_FUNCTION_INFO_V1(prom_job_lock);
PG_FUNCTION_INFO_V1(prom_job_unlock);

/* ---- the worker's side ---- */

bool
prom_jobs_turn(PGconn *conn)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	bool		ended = runner != NULL && job_ended();
	char		sql[128];
	PGresult   *res;
	bool		ok;

	if (settled_at == 0)
		settled_at = now;
	if (!ended && last != 0 && !TimestampDifferenceExceeds(last, now, LOOK_MS))
		return true;
	last = now;
	snprintf(sql, sizeof(sql), "SELECT name, due, complaint, detail, hint FROM prom._jobs_for_worker('%s')", timestamptz_to_str(settled_at));
	res = prom_remote_exec(conn, sql);
	ok = PQresultStatus(res) == PGRES_TUPLES_OK;
	for (int i = 0; ok && i < PQntuples(res); i++)
	{
		Noted	   *job = find_noted(PQgetvalue(res, i, 0));

		if (job == NULL)
			continue;
		if (!PQgetisnull(res, i, 2))
			say_once(job, PQgetvalue(res, i, 2), PQgetvalue(res, i, 3), PQgetvalue(res, i, 4));
		else if (!job->of_call)
			job->text[0] = '\0';
		if (runner == NULL && PQgetvalue(res, i, 1)[0] == 't' &&
			(job->failed_at == 0 || TimestampDifferenceExceeds(job->failed_at, now, RETRY_MS)))
			start_job(job);
	}
	PQclear(res);
	return ok;
}

void
prom_jobs_reload(void)
{
	settled_at = GetCurrentTimestamp();
	if (runner && strcmp(target(CurrentMemoryContext), runner_target) != 0)
		prom_jobs_stop();
}

void
prom_jobs_stop(void)
{
	PGcancel   *cancel;
	char		error[256];

	if (runner == NULL)
		return;
	cancel = PQgetCancel(runner);
	if (cancel)
	{
		(void) PQcancel(cancel, error, sizeof(error));
		PQfreeCancel(cancel);
	}
	hang_up();
}

static Noted *
find_noted(const char *name)
{
	for (int i = 0; i < nnoted; i++)
	{
		if (strcmp(noted[i].name, name) == 0)
			return &noted[i];
	}
	if (nnoted == MAX_NOTED)
		return NULL;
	strlcpy(noted[nnoted].name, name, NAMEDATALEN);
	return &noted[nnoted++];
}

static void
say_once(Noted *job, const char *text, const char *detail, const char *hint)
{
	if (strncmp(text, job->text, sizeof(job->text) - 1) == 0)
		return;
	strlcpy(job->text, text, sizeof(job->text));
	ereport(LOG,
			(errmsg("promgres maintenance: %s", text),
			 detail[0] ? errdetail_internal("%s", detail) : 0,
			 errhint("%s", hint)));
}

static void
ignore_notice(void *arg, const char *message)
{
}

static void
start_job(Noted *job)
{
	char		sql[NAMEDATALEN + 20];

	running = job;
	runner = prom_remote_connect("promgres jobs", prom_remote_database);
	if (runner == NULL)
		return;
	PQsetNoticeProcessor(runner, ignore_notice, NULL);
	runner_target = target(TopMemoryContext);
	snprintf(sql, sizeof(sql), "CALL prom.%s()", job->name);
	if (PQstatus(runner) == CONNECTION_OK && PQsendQuery(runner, sql))
		return;
	job->of_call = true;
	job->failed_at = GetCurrentTimestamp();
	say_once(job, psprintf("job \"%s\" failed: %s", job->name, pchomp(PQerrorMessage(runner))), "", "It is tried again.");
	hang_up();
}

/* Never waits.  What a job fails of it has noted itself; this is for one that could not. */
static bool
job_ended(void)
{
	PGresult   *res;

	(void) PQconsumeInput(runner);
	while (!PQisBusy(runner))
	{
		res = PQgetResult(runner);
		if (res == NULL)
		{
			hang_up();
			return true;
		}
		running->of_call = PQresultStatus(res) == PGRES_FATAL_ERROR;
		running->failed_at = running->of_call ? GetCurrentTimestamp() : 0;
		if (running->of_call && !is_interrupted(res))
		{
			const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
			const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
			const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);

			say_once(running, psprintf("job \"%s\" failed: %s", running->name, message ? message : pchomp(PQresultErrorMessage(res))),
					 detail ? detail : "", hint ? hint : "It runs again when it is due. See prom.jobs.");
		}
		PQclear(res);
	}
	return false;
}

/* Cancelled, or ended with the server: nothing is wrong with the job, or its row in prom.job tells what. */
static bool
is_interrupted(const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	return state && (strcmp(state, "57014") == 0 || strcmp(state, "57P01") == 0);
}

static void
hang_up(void)
{
	PQfinish(runner);
	runner = NULL;
	if (runner_target)
		pfree(runner_target);
	runner_target = NULL;
}

static char *
target(MemoryContext cxt)
{
	return MemoryContextStrdup(cxt, psprintf("%s\n%s", prom_remote_database, prom_remote_role));
}

/* ---- the lock ---- */

static LOCKTAG
job_tag(int32 number)
{
	LOCKTAG		tag;

	if (number < 1 || number > PG_UINT16_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("number of a job is out of range: %d", number)));
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, prom_store_relid("job"), (uint16) number);
	return tag;
}

/* _job_lock(number) */
Datum
prom_job_lock(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag = job_tag(PG_GETARG_INT32(0));

	/* A session that has it is in the middle of this job: it may not begin another one. */
	if (PromLockHeldByMe(&tag, ExclusiveLock))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL);
}

/* _job_unlock(number) */
Datum
prom_job_unlock(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag = job_tag(PG_GETARG_INT32(0));

	if (PromLockHeldByMe(&tag, ExclusiveLock))
		(void) LockRelease(&tag, ExclusiveLock, true);
	PG_RETURN_VOID();
}

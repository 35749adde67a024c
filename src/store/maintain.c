/*
 * maintain.c
 *	  The maintenance worker: merges when it is due and vacuums what the merge leaves behind.
 *
 * It works through an ordinary backend, over libpq: VACUUM cannot run inside a function, and what it
 * does shows in pg_stat_activity, can be cancelled, and fails without harm to the worker.  One turn a
 * second.  It makes and moves nothing while a dump is being restored: see prom._is_loaded.  It is started when recovery has ended, so that a promoted standby gets one too.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "common/remote.h"
#include "common/worker.h"
#include "store/private.h"

#define TURN_MS			1000
#define RETRY_MS		5000	/* after a failure */
#define MERGE_ROWS		2000
#define EXEMPLAR_MS		60000	/* how often exemplars that are too old are removed */
#define PARTITION_MS	3600000	/* how often the next day's partition is looked after */

int			prom_store_max_ahead_s = 86400;
int			prom_store_max_samples = 50000000;
int			prom_store_exemplar_max_age_s = 86400;

static int	merge_age_s = 30;

static bool turn(PGconn *conn);
static bool command(PGconn *conn, const char *sql);
static bool answer(PGconn *conn, const char *sql, bool *yes);
static bool make_days(PGconn *conn);
static bool drop_exemplars(PGconn *conn);
static void complain(const char *message);

/* The last complaint: each is logged once until it changes or the trouble ends. */
static char last_complaint[256];

PGDLLEXPORT void prom_maintain_main(Datum arg);

void
prom_maintain_main(Datum arg)
{
	PGconn	   *conn = NULL;
	bool		reloaded = false;

	prom_worker_begin("promgres maintenance");
	while (!prom_worker_turn(&reloaded))
	{
		bool		drains = prom_worker_server_drains();
		bool		ok;

		if (conn && (reloaded || drains || PQstatus(conn) != CONNECTION_OK))
		{
			PQfinish(conn);
			conn = NULL;
		}
		if (conn == NULL && !drains)
			conn = prom_remote_connect("promgres maintenance");
		ok = conn && PQstatus(conn) == CONNECTION_OK && turn(conn);
		if (ok)
			last_complaint[0] = '\0';
		else if (conn)
		{
			complain(PQerrorMessage(conn));
			PQfinish(conn);
			conn = NULL;
		}
		prom_worker_wait(ok ? TURN_MS : RETRY_MS);
	}
	if (conn)
		PQfinish(conn);
	prom_worker_end();
}

/* False if something failed; the connection tells what. */
static bool
turn(PGconn *conn)
{
	bool		installed;
	bool		loaded;
	bool		due;
	char		sql[100];

	if (!answer(conn, "SELECT pg_catalog.to_regprocedure('prom._is_loaded()') IS NOT NULL", &installed))
		return false;
	if (!installed)
		return true;
	if (!answer(conn, "SELECT prom._is_loaded()", &loaded))
		return false;
	if (!loaded)
		return true;
	if (!make_days(conn) || !drop_exemplars(conn))
		return false;
	snprintf(sql, sizeof(sql), "SELECT prom._merge_due(%d, %d)", MERGE_ROWS, merge_age_s);
	if (!answer(conn, sql, &due))
		return false;
	return !due || (command(conn, "CALL prom.merge()") && command(conn, "VACUUM prom.fresh"));
}

/* Today's and tomorrow's partitions, so that no merge has to wait for them. */
static bool
make_days(PGconn *conn)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (last != 0 && !TimestampDifferenceExceeds(last, now, PARTITION_MS))
		return true;
	last = now;
	return command(conn, "SELECT prom._make_day((pg_catalog.extract('epoch', pg_catalog.now()) * 1000)::pg_catalog.int8 + d * 86400000)"
				   " FROM pg_catalog.generate_series(0, 1) d");
}

/* Exemplars beyond their age; now and then, for nobody counts on their end. */
static bool
drop_exemplars(PGconn *conn)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (last != 0 && !TimestampDifferenceExceeds(last, now, EXEMPLAR_MS))
		return true;
	last = now;
	return command(conn, "SELECT prom._drop_exemplars()");
}

static bool
command(PGconn *conn, const char *sql)
{
	PGresult   *res = prom_remote_exec(conn, sql);
	ExecStatusType status = PQresultStatus(res);

	PQclear(res);
	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static bool
answer(PGconn *conn, const char *sql, bool *yes)
{
	PGresult   *res = prom_remote_exec(conn, sql);
	bool		ok = PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1;

	*yes = ok && PQgetvalue(res, 0, 0)[0] == 't';
	PQclear(res);
	return ok;
}

static void
complain(const char *message)
{
	if (strncmp(message, last_complaint, sizeof(last_complaint) - 1) == 0)
		return;
	strlcpy(last_complaint, message, sizeof(last_complaint));
	ereport(LOG,
			(errmsg("promgres maintenance cannot work: %s", last_complaint),
			 errhint("It goes on trying. Check \"promgres.database\" and \"promgres.role\".")));
}

void
prom_store_init(void)
{
	DefineCustomIntVariable("promgres.merge_age",
							"Age of fresh samples at which they are merged into compressed rows.",
							NULL, &merge_age_s, 30, 1, 3600, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.ingest_max_ahead",
							"Samples further in the future than this are refused.",
							"Guards against senders with a wrong clock: such samples would sit in partitions of their own for long.",
							&prom_store_max_ahead_s, 86400, 0, 366 * 86400, PGC_USERSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.exemplar_max_age",
							"Exemplars older than this are not stored, and removed.",
							"0 stores none.", &prom_store_exemplar_max_age_s, 86400, 0, PG_INT32_MAX, PGC_SIGHUP,
							GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.query_max_samples",
							"Samples that one query may read.",
							"A query that needs more ends with an error. Parallel workers count for themselves.", &prom_store_max_samples, 50000000, 1, PG_INT32_MAX, PGC_USERSET, 0,
							NULL, NULL, NULL);
	prom_worker_register("promgres maintenance", "prom_maintain_main", BgWorkerStart_RecoveryFinished);
}

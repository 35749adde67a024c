/*
 * maintain.c
 *	  The maintenance worker: merges when it is due, vacuums what the merge leaves behind, compacts days
 *	  that are over, makes files smaller that got empty inside, and runs the jobs (jobs.c).
 *
 * It works through an ordinary backend, over libpq: VACUUM cannot run inside a function, and what it
 * does shows in pg_stat_activity, can be cancelled, and fails without harm to the worker.  One turn a
 * second.  It makes and moves nothing while a dump is being restored: see prom._is_loaded.  It is started
 * when recovery has ended, so that a promoted standby gets one too.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "common/remote.h"
#include "common/worker.h"
#include "store/rows.h"

#define TURN_MS			1000
#define RETRY_MS		5000	/* after a failure */
#define MERGE_ROWS		2000
#define COMPACT_MS		500		/* how long a turn compacts before the next merge has its turn */
#define FREEZE_MS		600000	/* how often an old day is looked for that is not frozen yet */
#define FREEZE_AGE		10000000	/* transactions */
#define FRESH_BYTES		(16 * 1024 * 1024) /* a file of this size is made smaller when it is empty again: queries read all of it */

/* What few rows leave in pages is left to them by default, and a page with that in it is not cut off. */
#define VACUUM_END		"VACUUM (FREEZE, INDEX_CLEANUP on) "

int			prom_store_max_ahead_s = 86400;
int			prom_store_max_age_s = 315360000;
int			prom_store_exemplar_max_age_s = 86400;

static int	merge_age_s = 30;
static int	series_grace_s = 86400;
static double retention_mb = 0;
static int	compact_delay_s = 3600;
static int	rollup_delay_s = 3600;

static void ignore_notice(void *arg, const char *message);
static bool turn(PGconn *conn);
static bool command(PGconn *conn, const char *sql);
static bool commands(PGconn *conn, const char *sql, bool *done);
static bool answer(PGconn *conn, const char *sql, bool *yes);
static bool vacuum_fresh(PGconn *conn);
static bool clean_pending(PGconn *conn);
static bool compact_day(PGconn *conn);
static bool compact(PGconn *conn, const PGresult *next);
static bool begin_day(PGconn *conn, const char *part, const char *day);
static bool end_day(PGconn *conn, const char *part, const char *day);
static bool reindex(PGconn *conn, const char *part, bool every);
static bool take_up_slack(PGconn *conn);
static bool take_up_slack_of(PGconn *conn, const char *work, const char *part);
static bool set_aside(PGconn *conn, const char *sql);
static bool freeze_day(PGconn *conn);
static void complain(const char *message);
static bool check_retention_size(double *mb, void **extra, GucSource source);

/* The last complaint: each is logged once until it changes or the trouble ends. */
static char last_complaint[256];

PGDLLEXPORT void prom_maintain_main(Datum arg);

void
prom_maintain_main(Datum arg)
{
	PGconn	   *conn = NULL;
	bool		reloaded = false;

	prom_worker_begin("promgres maintenance");
	prom_stat_count_now(PROM_STAT_MAINTENANCE_STARTS, 1);
	while (!prom_worker_turn(&reloaded))
	{
		bool		drains = prom_worker_server_drains();
		bool		ok;

		if (conn && (reloaded || drains || PQstatus(conn) != CONNECTION_OK))
		{
			PQfinish(conn);
			conn = NULL;
		}
		if (drains)
			prom_jobs_stop();
		else if (reloaded)
			prom_jobs_reload();
		if (conn == NULL && !drains)
		{
			conn = prom_remote_connect("promgres maintenance", prom_remote_database);
			if (conn)
				PQsetNoticeProcessor(conn, ignore_notice, NULL);
		}
		ok = conn && PQstatus(conn) == CONNECTION_OK && turn(conn);
		if (ok)
			last_complaint[0] = '\0';
		else if (conn)
		{
			complain(pchomp(PQerrorMessage(conn)));
			PQfinish(conn);
			conn = NULL;
		}
		prom_worker_wait(ok ? TURN_MS : RETRY_MS);
	}
	prom_jobs_stop();
	if (conn)
		PQfinish(conn);
	prom_worker_end();
}

/* The backend has logged it; libpq would write it to the log again. */
static void
ignore_notice(void *arg, const char *message)
{
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
	if (!prom_jobs_turn(conn))
		return false;
	if (!loaded)
		return compact_day(conn) && take_up_slack(conn);
	snprintf(sql, sizeof(sql), "SELECT prom._merge_due(%d, %d)", MERGE_ROWS, merge_age_s);
	if (!answer(conn, sql, &due))
		return false;
	if (due && !(command(conn, "CALL prom.merge()") && vacuum_fresh(conn)))
		return false;
	return clean_pending(conn) && compact_day(conn) && take_up_slack(conn) && freeze_day(conn);
}

/*
 * New series wait in a list of their index before they become part of it.  Every selector reads that list, so it is
 * not left there until it is full or the table is vacuumed.
 */
static bool
clean_pending(PGconn *conn)
{
	return command(conn, "SELECT pg_catalog.gin_clean_pending_list(c.oid) FROM pg_catalog.pg_class c "
				   "WHERE c.oid = pg_catalog.to_regclass('prom.series_pairs_idx') AND pg_catalog.pg_has_role(c.relowner, 'USAGE')");
}

/*
 * After each merge, so that ingest finds room.  Truncation takes a lock that queries feel, here and on
 * standbys, so it is left to the case that a large backlog was worked off: the file would be read over
 * and over.
 */
static bool
vacuum_fresh(PGconn *conn)
{
	bool		large;
	char		sql[200];

	snprintf(sql, sizeof(sql), "SELECT pg_catalog.pg_relation_size('prom.fresh') > %d AND NOT EXISTS (SELECT FROM prom.fresh OFFSET %d)",
			 FRESH_BYTES, MERGE_ROWS);
	if (!answer(conn, sql, &large))
		return false;
	return command(conn, large ? "VACUUM (TRUNCATE) prom.fresh" : "VACUUM prom.fresh");
}

/* What a compaction needs next, for a while. */
static bool
compact_day(PGconn *conn)
{
	char		sql[100];
	PGresult   *res;
	bool		ok = true;

	if (compact_delay_s < 0)
		return true;
	snprintf(sql, sizeof(sql), "SELECT work, shard, day, part FROM prom._compact_next(%d)", compact_delay_s);
	res = prom_remote_exec(conn, sql);
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		ok = false;
	else if (PQntuples(res) > 0 && !PQgetisnull(res, 0, 0) && !compact(conn, res))
	{
		snprintf(sql, sizeof(sql), "SELECT prom._compact_retry(%s::pg_catalog.int2, %s)", PQgetvalue(res, 0, 1), PQgetvalue(res, 0, 2));
		ok = set_aside(conn, sql);
	}
	PQclear(res);
	return ok;
}

/* What cannot be done now, a damaged page is in its way, say, is tried again later, and the rest goes on.  The log has the error. */
static bool
set_aside(PGconn *conn, const char *sql)
{
	return PQstatus(conn) == CONNECTION_OK && command(conn, "RESET lock_timeout") && command(conn, sql);
}

static bool
compact(PGconn *conn, const PGresult *next)
{
	const char *work = PQgetvalue(next, 0, 0);
	const char *shard = PQgetvalue(next, 0, 1);
	const char *day = PQgetvalue(next, 0, 2);
	const char *part = PQgetisnull(next, 0, 3) ? NULL : PQgetvalue(next, 0, 3);	/* NULL: dropped */
	TimestampTz begin = GetCurrentTimestamp();
	bool		more = true;
	char		sql[100];

	if (strcmp(work, "end") == 0)
		return end_day(conn, part, day);
	if (part && strcmp(work, "begin") == 0 && !begin_day(conn, part, day))
		return false;
	snprintf(sql, sizeof(sql), "SELECT prom._compact_step(%s::pg_catalog.int2, %s, false)", shard, day);
	while (more && !TimestampDifferenceExceeds(begin, GetCurrentTimestamp(), COMPACT_MS))
	{
		if (!answer(conn, sql, &more))
			return false;
	}
	return true;
}

/* Makes room in front, so that the vacuum at the end finds free pages behind and can give them back. */
static bool
begin_day(PGconn *conn, const char *part, const char *day)
{
	char		sql[200];

	snprintf(sql, sizeof(sql), "VACUUM (TRUNCATE off) %s", part);
	if (!command(conn, sql))
		return false;
	snprintf(sql, sizeof(sql), "SELECT prom._compact_begin(%s)", day);
	return command(conn, sql);
}

/* Freezes as well: rows of the day will hardly change any more. */
static bool
end_day(PGconn *conn, const char *part, const char *day)
{
	char		sql[200];

	snprintf(sql, sizeof(sql), VACUUM_END "%s", part ? part : "");
	if (part && !(command(conn, sql) && reindex(conn, part, false)))
		return false;
	snprintf(sql, sizeof(sql), "SELECT prom._compact_end(%s)", day);
	return command(conn, sql);
}

/*
 * Much of an index is left from rows that are gone.  Nobody waits for this, but it waits for whoever has an old
 * snapshot, and so it gives up after a while, and removes what it has begun: that would cost whoever writes.
 */
static bool
reindex(PGconn *conn, const char *part, bool every)
{
	char		sql[200];
	bool		done;

	if (!command(conn, "SET lock_timeout = '1s'"))
		return false;
	snprintf(sql, sizeof(sql), "SELECT prom._reindex('%s', %s)", part, every ? "true" : "false");
	if (!commands(conn, sql, &done))
		return false;
	snprintf(sql, sizeof(sql), "SELECT d FROM prom._reindex('%s', false) d WHERE d LIKE 'DROP%%'", part);
	if (!done && !commands(conn, sql, &done))
		return false;
	return command(conn, "RESET lock_timeout");
}

/* ---- files that got empty inside ---- */

/* What a partition needs next, for a while. */
static bool
take_up_slack(PGconn *conn)
{
	char		sql[200];
	PGresult   *res;
	bool		ok = true;

	if (compact_delay_s < 0)
		return true;
	snprintf(sql, sizeof(sql), "SELECT work, part FROM prom._slack_next(%d)", compact_delay_s);
	res = prom_remote_exec(conn, sql);
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		ok = false;
	else if (PQntuples(res) > 0 && !PQgetisnull(res, 0, 0) && !take_up_slack_of(conn, PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1)))
	{
		snprintf(sql, sizeof(sql), "SELECT prom._slack_retry('%s')", PQgetvalue(res, 0, 1));
		ok = set_aside(conn, sql);
	}
	PQclear(res);
	return ok;
}

static bool
take_up_slack_of(PGconn *conn, const char *work, const char *part)
{
	TimestampTz begin = GetCurrentTimestamp();
	bool		more = true;
	char		sql[200];

	if (strcmp(work, "end") == 0)
	{
		snprintf(sql, sizeof(sql), VACUUM_END "%s", part);
		if (!command(conn, sql) || !reindex(conn, part, true))
			return false;
		snprintf(sql, sizeof(sql), "SELECT prom._slack_end('%s')", part);
		return command(conn, sql);
	}
	if (strcmp(work, "begin") == 0)
	{
		/* rows that are moved find the room in front first */
		snprintf(sql, sizeof(sql), "VACUUM (TRUNCATE off) %s", part);
		if (!command(conn, sql))
			return false;
		snprintf(sql, sizeof(sql), "SELECT prom._slack_begin('%s')", part);
		if (!command(conn, sql))
			return false;
		snprintf(sql, sizeof(sql), "SELECT prom._slack_hold('%s')", part);
		if (!command(conn, sql))
			return false;
	}
	snprintf(sql, sizeof(sql), "SELECT prom._slack_step('%s')", part);
	while (more && !TimestampDifferenceExceeds(begin, GetCurrentTimestamp(), COMPACT_MS))
	{
		if (!answer(conn, sql, &more))
			return false;
	}
	return true;
}

/* Days that are over are frozen one by one, before autovacuum has to do so for all of them at once. */
static bool
freeze_day(PGconn *conn)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	char		sql[100];
	PGresult   *res;
	bool		ok;

	if (last != 0 && !TimestampDifferenceExceeds(last, now, FREEZE_MS))
		return true;
	last = now;
	snprintf(sql, sizeof(sql), "SELECT 'VACUUM (FREEZE) ' || prom._day_to_freeze(%d)", FREEZE_AGE);
	res = prom_remote_exec(conn, sql);
	ok = PQresultStatus(res) == PGRES_TUPLES_OK;
	if (ok && !PQgetisnull(res, 0, 0))
		ok = command(conn, PQgetvalue(res, 0, 0));
	PQclear(res);
	return ok;
}

static bool
command(PGconn *conn, const char *sql)
{
	PGresult   *res = prom_remote_exec(conn, sql);
	ExecStatusType status = PQresultStatus(res);

	PQclear(res);
	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

/* Runs the commands that a query tells.  Not done: one of them failed. */
static bool
commands(PGconn *conn, const char *sql, bool *done)
{
	PGresult   *res = prom_remote_exec(conn, sql);
	bool		ok = PQresultStatus(res) == PGRES_TUPLES_OK;

	*done = ok;
	for (int i = 0; ok && i < PQntuples(res); i++)
		*done &= command(conn, PQgetvalue(res, i, 0));
	PQclear(res);
	return ok;
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

/* Not a figure that would be rounded to none, which means that everything stays, nor one in the wrong unit. */
static bool
check_retention_size(double *mb, void **extra, GucSource source)
{
	if (*mb == 0 || *mb >= 1)
		return true;
	GUC_check_errmsg("promgres.retention_size must be 0, for no limit, or 1MB at least: %.0f kB is too little", *mb * 1024);
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	return false;
}

void
prom_store_init(void)
{
	DefineCustomIntVariable("promgres.merge_age",
							"Age of fresh samples at which they are merged into compressed rows.",
							NULL, &merge_age_s, 30, 1, 3600, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.compact_delay",
							"How long after its end (UTC), and after samples came for it, a day is compacted; -1: never.",
							NULL, &compact_delay_s, 3600, -1, PG_INT32_MAX / 1000, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.rollup_delay",
							"How long after its end (UTC) rollups of a day are made, and after its samples changed, made again; -1: never.",
							NULL, &rollup_delay_s, 3600, -1, PG_INT32_MAX / 1000, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.series_grace",
							"How long a series stays after its last sample is gone; -1 keeps it.",
							NULL, &series_grace_s, 86400, -1, PG_INT32_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomRealVariable("promgres.retention_size",
							 "How much samples and rollups may take on disk before the oldest go; 0: no limit.",
							 "Raw samples go first, as far as there are rollups of them.",
							 &retention_mb, 0, 0, PG_INT32_MAX, PGC_SIGHUP, GUC_UNIT_MB, check_retention_size, NULL, NULL);
	DefineCustomIntVariable("promgres.ingest_max_ahead",
							"Samples further in the future than this are refused.",
							"Guards against senders with a wrong clock: such samples would sit in partitions of their own for long.",
							&prom_store_max_ahead_s, 86400, 0, 366 * 86400, PGC_USERSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.ingest_max_age",
							"Samples older than this are refused; 0 takes all.",
							"Every day that has samples is a partition.",
							&prom_store_max_age_s, 315360000, 0, PG_INT32_MAX, PGC_USERSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.exemplar_max_age",
							"Exemplars older than this are not stored, and removed.",
							"0 stores none.", &prom_store_exemplar_max_age_s, 86400, 0, PG_INT32_MAX, PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);
	prom_level_init();
	prom_budget_init();
	prom_stat_init();
	prom_worker_register("promgres maintenance", "prom_maintain_main", BgWorkerStart_RecoveryFinished);
}

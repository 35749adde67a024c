/*
 * cron.c
 *	  The way to pg_cron, whose functions and tables exist in one database of the server only.
 *
 * A backend of any other database asks there over a connection of its own, as the workers do: local, as
 * promgres.role.  It is the one way, also in that database itself; so it takes effect at once, whatever
 * becomes of the caller's transaction.  What pg_cron refuses is the caller's error, with its SQLSTATE.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "common/remote.h"

static void raise_remote(PGconn *conn, const PGresult *res, const char *database);

PG_FUNCTION_INFO_V1(prom_cron);

/* _cron(sql) -> the first value of the last result */
Datum
prom_cron(PG_FUNCTION_ARGS)
{
	char	   *sql = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *database = GetConfigOption("cron.database_name", true, false);
	PGconn	   *conn;
	PGresult   *volatile res = NULL;
	text	   *volatile value = NULL;

	if (database == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron is not loaded"),
				 errhint("Add pg_cron to shared_preload_libraries and restart.")));
	conn = prom_remote_connect("promgres schedule", pstrdup(database));
	PG_TRY();
	{
		if (conn != NULL && PQstatus(conn) == CONNECTION_OK)
			res = prom_remote_exec(conn, sql);
		if (PQresultStatus(res) != PGRES_TUPLES_OK)
			raise_remote(conn, res, database);
		if (PQntuples(res) > 0 && PQnfields(res) > 0 && !PQgetisnull(res, 0, 0))
			value = cstring_to_text(PQgetvalue(res, 0, 0));
	}
	PG_FINALLY();
	{
		PQclear(res);
		PQfinish(conn);
	}
	PG_END_TRY();
	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(value);
}

static void
raise_remote(PGconn *conn, const PGresult *res, const char *database)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	if (message == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				 errmsg("could not connect to database \"%s\", where pg_cron is", database),
				 errdetail_internal("%s", pchomp(PQerrorMessage(conn))),
				 errhint("The server connects to itself as the workers do: check \"promgres.role\" and pg_hba.conf.")));
	ereport(ERROR,
			(errcode(state ? MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]) : ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("pg_cron refused: %s", message),
			 errhint("Jobs are registered as \"promgres.role\" in database \"%s\", to be run as the caller.", database)));
}

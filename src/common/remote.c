/*
 * remote.c
 *	  How our workers reach an ordinary backend of their own server: libpq over the local socket.
 *
 * An ordinary backend has a role, a statement_timeout and a line in pg_stat_activity, can be cancelled,
 * and takes nobody along when it fails.  The price is a login: pg_hba.conf must let promgres.role in
 * without a question (peer, trust, or a password in the server account's password file).
 */
#include "postgres.h"

#include <pwd.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "postmaster/postmaster.h"
#include "utils/guc.h"

#include "common/compat.h"
#include "common/remote.h"

/* What we wait for on a socket at most, before we look again. */
#define PROM_REMOTE_WAIT_MS 10000
#define PROM_REMOTE_PARAMS 12

char	   *prom_remote_database = NULL;
char	   *prom_remote_role = NULL;

static char *local_host(void);
static char *os_account(void);
static bool wait_for(PGconn *conn, int event);

void
prom_remote_init(void)
{
	DefineCustomStringVariable("promgres.database",
							   "Sets the database that holds the metrics.",
							   "The workers of promgres connect to it. The extension must have been created there.",
							   &prom_remote_database,
							   "postgres",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("promgres.role",
							   "Sets the role under which the workers of promgres connect.",
							   "Empty: the role named like the operating system account of the server.",
							   &prom_remote_role,
							   "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
}

void
prom_remote_params(const char *application_name, const char *database, const char ***keywords, const char ***values)
{
	const char **k = palloc0(PROM_REMOTE_PARAMS * sizeof(char *));
	const char **v = palloc0(PROM_REMOTE_PARAMS * sizeof(char *));
	int			n = 0;

	/* everything is said here, so that the environment of the postmaster decides nothing */
	k[n] = "host", v[n++] = local_host();
	k[n] = "port", v[n++] = psprintf("%d", PostPortNumber);
	k[n] = "dbname", v[n++] = database;
	k[n] = "user", v[n++] = prom_remote_role[0] != '\0' ? prom_remote_role : os_account();
	k[n] = "application_name", v[n++] = application_name;
	k[n] = "client_encoding", v[n++] = "UTF8";
	/* compiling a call of a function gains nothing, takes half a second, and cannot be cancelled */
	k[n] = "options", v[n++] = "-c search_path=pg_catalog,pg_temp -c jit=off";
	k[n] = "sslmode", v[n++] = "disable";
	k[n] = "gssencmode", v[n++] = "disable";
	Assert(n < PROM_REMOTE_PARAMS);

	*keywords = k;
	*values = v;
}

PGconn *
prom_remote_connect(const char *application_name, const char *database)
{
	const char **keywords;
	const char **values;
	PGconn	   *conn;
	volatile PostgresPollingStatusType poll = PGRES_POLLING_WRITING;

	prom_remote_params(application_name, database, &keywords, &values);
	/* dbname is a name, never a connection string */
	conn = PQconnectStartParams(keywords, values, 0);
	if (conn == NULL || PQstatus(conn) == CONNECTION_BAD)
		return conn;
	PG_TRY();
	{
		while (poll != PGRES_POLLING_OK && poll != PGRES_POLLING_FAILED)
		{
			if (!wait_for(conn, poll == PGRES_POLLING_READING ? WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE))
				break;
			poll = PQconnectPoll(conn);
		}
	}
	PG_CATCH();
	{
		PQfinish(conn);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (poll == PGRES_POLLING_OK || poll == PGRES_POLLING_FAILED)
		return conn;
	PQfinish(conn);
	return NULL;
}

PGresult *
prom_remote_exec(PGconn *conn, const char *sql)
{
	PGresult   *last = NULL;
	PGresult   *next;

	if (!PQsendQuery(conn, sql))
		return PQmakeEmptyPGresult(conn, PGRES_FATAL_ERROR);
	for (;;)
	{
		while (PQisBusy(conn))
		{
			if (!wait_for(conn, WL_SOCKET_READABLE))
			{
				PQclear(last);
				return NULL;
			}
			if (!PQconsumeInput(conn))
				break;
		}
		next = PQgetResult(conn);
		if (next == NULL)
			return last ? last : PQmakeEmptyPGresult(conn, PGRES_FATAL_ERROR);
		/* the first failure is the one that tells */
		if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR)
			PQclear(next);
		else
		{
			PQclear(last);
			last = next;
		}
	}
}

/* Wait until the connection's socket is ready.  False when the worker is to stop. */
static bool
wait_for(PGconn *conn, int event)
{
	while (!ShutdownRequestPending)
	{
		int			rc = WaitLatchOrSocket(MyLatch,
										   WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | event,
										   PQsocket(conn), PROM_REMOTE_WAIT_MS, PG_WAIT_EXTENSION);

		if (rc & WL_LATCH_SET)
			ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (rc & event)
			return true;
	}
	return false;
}

/* The first socket directory; without one, the first listen address, or loopback for a wildcard. */
static char *
local_host(void)
{
	const char *list = Unix_socket_directories;
	char	   *host;
	size_t		len;

	if (list == NULL || list[strspn(list, " ")] == '\0')
		list = ListenAddresses ? ListenAddresses : "";
	list += strspn(list, " \"");
	len = strcspn(list, ",\"");
	while (len > 0 && list[len - 1] == ' ')
		len--;
	host = pnstrdup(list, len);
	if (host[0] == '\0' || strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0)
		return pstrdup("127.0.0.1");
	return strcmp(host, "::") == 0 ? pstrdup("::1") : host;
}

static char *
os_account(void)
{
	struct passwd *account = getpwuid(geteuid());

	return pstrdup(account ? account->pw_name : "postgres");
}

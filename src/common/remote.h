/*
 * remote.h
 *	  How our workers reach an ordinary backend of their own server: libpq over the local socket.
 */
#ifndef PROM_REMOTE_H
#define PROM_REMOTE_H

#include "postgres.h"
#include "libpq-fe.h"

/* promgres.database and promgres.role; the latter empty: the server's own account. */
extern char *prom_remote_database;
extern char *prom_remote_role;

/*
 * Keywords and values for PQconnectStartParams: local socket (or listen address), port, database,
 * user, application_name.  NULL-terminated arrays in the current memory context.
 */
extern void prom_remote_params(const char *application_name, const char *database, const char ***keywords,
							   const char ***values);

/*
 * Blocking helpers that wait on the latch, and end early when the worker is told to stop (returns NULL).
 * In a worker they never raise; in a backend they do when the query is cancelled, and leave nothing behind
 * but the caller's connection.  The caller frees what it gets with PQfinish and PQclear.
 */
extern PGconn *prom_remote_connect(const char *application_name, const char *database);
extern PGresult *prom_remote_exec(PGconn *conn, const char *sql);

extern void prom_remote_init(void);	/* defines the settings */

#endif							/* PROM_REMOTE_H */

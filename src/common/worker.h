/*
 * worker.h
 *	  What our background workers share: registration, signals, reload, a turn.
 */
#ifndef PROM_WORKER_H
#define PROM_WORKER_H

#include "postgres.h"
#include "postmaster/bgworker.h"

/* Register a worker that is restarted by the postmaster after a crash; call from _PG_init only. */
extern void prom_worker_register(const char *name, const char *entry_function, BgWorkerStartTime start);

/* First call of a worker's entry function: signal handlers, and the context of the turn becomes current. */
extern void prom_worker_begin(const char *name);

/*
 * A new turn: empties its memory context.  True when SIGTERM came.  Reloads the configuration when
 * SIGHUP came (and says so in *reloaded).
 */
extern bool prom_worker_turn(bool *reloaded);

/* Wait for the latch or the time; 0: do not wait. */
extern void prom_worker_wait(long timeout_ms);

/*
 * Does the server only wait until its clients have left?  Then connections to it must be given up, for
 * they count as clients, and no new one is let in.
 */
extern bool prom_worker_server_drains(void);

/*
 * Last call of a worker's entry function, once prom_worker_turn has said true: the postmaster starts the
 * worker again unless it stops itself.  (It would not after a plain return.)
 */
extern void prom_worker_end(void) pg_attribute_noreturn();

#endif							/* PROM_WORKER_H */

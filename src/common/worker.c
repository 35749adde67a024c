/*
 * worker.c
 *	  What our background workers share: registration, signals, reload, a turn.
 *
 * A worker is attached to no database; whatever it wants of one it asks an ordinary backend for, over
 * libpq.  It is connected to the server all the same, so that pg_stat_activity shows it and it takes
 * part in what all processes must take notice of.  It never exits with 0, because the postmaster takes
 * that for "do not start me again".
 *
 * The current memory context of a worker is that of its turn, which prom_worker_turn() empties.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/sinval.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pidfile.h"
#include "utils/timestamp.h"

#include "common/compat.h"
#include "common/worker.h"

#define PROM_WORKER_RESTART_S 5
#define PROM_WORKER_LOOK_MS 500

static MemoryContext turn_context = NULL;

void
prom_worker_register(const char *name, const char *entry_function, BgWorkerStartTime start)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = start;
	worker.bgw_restart_time = PROM_WORKER_RESTART_S;
	strlcpy(worker.bgw_library_name, "promgres", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, entry_function, BGW_MAXLEN);
	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	strlcpy(worker.bgw_type, name, BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

void
prom_worker_begin(const char *name)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	/* there is no statement to cancel */
	pqsignal(SIGINT, SIG_IGN);
	/* a peer that hangs up is an error of write(), not our end */
	pqsignal(SIGPIPE, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	turn_context = AllocSetContextCreate(TopMemoryContext, "promgres turn", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSetIdentifier(turn_context, name);
	MemoryContextSwitchTo(turn_context);
}

bool
prom_worker_turn(bool *reloaded)
{
	CHECK_FOR_INTERRUPTS();
	if (catchupInterruptPending)
		ProcessCatchupInterrupt();
	MemoryContextSwitchTo(turn_context);
	MemoryContextReset(turn_context);

	*reloaded = false;
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		*reloaded = true;
	}
	return ShutdownRequestPending;
}

/*
 * In a smart shutdown the postmaster waits for all clients to leave before it stops its workers, and
 * tells nobody.  But it writes so into its lock file, for pg_ctl to see.
 */
bool
prom_worker_server_drains(void)
{
	static TimestampTz last = 0;
	static bool drains = false;
	TimestampTz now = GetCurrentTimestamp();
	char		line[MAXPGPATH];
	FILE	   *file;

	if (drains || (last != 0 && !TimestampDifferenceExceeds(last, now, PROM_WORKER_LOOK_MS)))
		return drains;
	last = now;
	file = AllocateFile("postmaster.pid", "r");
	if (file == NULL)
		return false;
	for (int i = 1; fgets(line, sizeof(line), file) != NULL; i++)
	{
		if (i == LOCK_FILE_LINE_PM_STATUS)
			drains = strncmp(line, PM_STATUS_STOPPING, strlen(PM_STATUS_STOPPING)) == 0;
	}
	FreeFile(file);
	return drains;
}

void
prom_worker_wait(long timeout_ms)
{
	if (timeout_ms > 0 && !ShutdownRequestPending && !ConfigReloadPending)
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 timeout_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

void
prom_worker_end(void)
{
	proc_exit(1);
}

/*
 * gateway.c
 *	  The listening worker: its settings and its event loop.
 *
 * One thread waits in one WaitEventSet on four things: its latch, the death of the postmaster, the
 * epoll of libmicrohttpd and an epoll of our own.  The latter holds the sockets of libpq, the
 * listening sockets and the clients that might hang up while a backend works for them; it is nested
 * because a WaitEventSet cannot remove what was added.
 */
#include "postgres.h"

#include <sys/epoll.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "api/api.h"
#include "api/gateway.h"
#include "common/compat.h"
#include "common/worker.h"
#include "store/store.h"

#define PROM_GATEWAY_TICK_MS	200
#define PROM_GATEWAY_BIND_MS	5000
#define PROM_GATEWAY_EVENTS		64
/* turns of libmicrohttpd to send out the last answers when the server stops */
#define PROM_GATEWAY_LAST_TURNS	20

int			prom_gateway_port = 9201;
char	   *prom_gateway_listen_addresses = NULL;
int			prom_gateway_max_connections = 512;
int			prom_gateway_max_header_kb = 64;
int			prom_gateway_max_body_kb = 32 * 1024;
int			prom_gateway_max_response_kb = 256 * 1024;
int			prom_gateway_request_timeout_ms = 30000;
int			prom_gateway_query_timeout_ms = 120000;
int			prom_gateway_query_connections = 8;

MemoryContext prom_gateway_context;

static int	epoll_fd = -1;

extern PGDLLEXPORT void prom_gateway_main(Datum arg);

static void define_start_settings(void);
static void define_settings(void);
static WaitEventSet *make_wait_set(struct MHD_Daemon *mhd);
static void tick(struct MHD_Daemon *mhd);
static void dispatch_events(void);
static void stop(struct MHD_Daemon *mhd);

void
prom_api_init(void)
{
	define_settings();
	prom_rate_init();
	prom_prefix_init();
	prom_cors_init();
	prom_status_init();
	prom_admin_init();
	prom_external_init();
	prom_auth_init();
	prom_tls_init();
	if (!process_shared_preload_libraries_in_progress)
		return;
	define_start_settings();
	if (prom_gateway_listen_addresses[0] != '\0')
		prom_worker_register("promgres gateway", "prom_gateway_main", BgWorkerStart_ConsistentState);
}

void
prom_gateway_main(Datum arg)
{
	struct MHD_Daemon *mhd;
	WaitEventSet *set;
	bool		reloaded;

	prom_worker_begin("promgres gateway turn");
	prom_stat_count_now(PROM_STAT_GATEWAY_STARTS, 1);
	prom_gateway_context = AllocSetContextCreate(TopMemoryContext, "promgres gateway",
												 ALLOCSET_DEFAULT_SIZES);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	mhd = prom_request_daemon();
	if (epoll_fd < 0 || mhd == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("promgres gateway could not start: %m")));
	set = make_wait_set(mhd);
	prom_pool_start();
	prom_pool_reload();
	prom_auth_reload();
	prom_tls_reload();

	while (!prom_worker_turn(&reloaded))
	{
		MHD_UNSIGNED_LONG_LONG mhd_timeout;
		long		timeout = PROM_GATEWAY_TICK_MS;
		WaitEvent	events[4];
		int			n;

		if (reloaded)
		{
			prom_pool_reload();
			prom_auth_reload();
			prom_tls_reload();
		}
		tick(mhd);
		if (MHD_get_timeout(mhd, &mhd_timeout) == MHD_YES)
			timeout = Min(timeout, (long) mhd_timeout);
		n = WaitEventSetWait(set, timeout, events, lengthof(events), PG_WAIT_EXTENSION);
		for (int i = 0; i < n; i++)
		{
			if (events[i].events & WL_LATCH_SET)
				ResetLatch(MyLatch);
		}
		dispatch_events();
		MHD_run(mhd);
	}

	stop(mhd);
	prom_worker_end();
}

bool
prom_gateway_watch(int fd, uint32 events, PromWatch *watch)
{
	struct epoll_event e = {0};

	e.events = events;
	e.data.ptr = watch;
	/* libpq may have closed a socket, which the kernel forgot, and opened another of that number */
	return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &e) == 0 ||
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0;
}

void
prom_gateway_unwatch(int fd)
{
	(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static WaitEventSet *
make_wait_set(struct MHD_Daemon *mhd)
{
	WaitEventSet *set = PromCreateWaitEventSet(4);
	int			mhd_fd = MHD_get_daemon_info(mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;

	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(set, WL_SOCKET_READABLE, mhd_fd, NULL, NULL);
	AddWaitEventToSet(set, WL_SOCKET_READABLE, epoll_fd, NULL, NULL);
	return set;
}

/* What is done because time passes. */
static void
tick(struct MHD_Daemon *mhd)
{
	static TimestampTz last = 0;
	static TimestampTz last_bind = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (TimestampDifferenceExceeds(last_bind, now, PROM_GATEWAY_BIND_MS))
	{
		last_bind = now;
		prom_listen_open(mhd);
	}
	if (TimestampDifferenceExceeds(last, now, PROM_GATEWAY_TICK_MS))
	{
		last = now;
		prom_pool_tick();
		prom_request_tick();
	}
	prom_listen_tick(prom_request_clients());
}

static void
dispatch_events(void)
{
	struct epoll_event events[PROM_GATEWAY_EVENTS];
	int			n = epoll_wait(epoll_fd, events, lengthof(events), 0);

	for (int i = 0; i < n; i++)
	{
		PromWatch  *watch = events[i].data.ptr;

		watch->ready(watch->owner, events[i].events);
	}
}

/* Everybody who waits is told to come again. */
static void
stop(struct MHD_Daemon *mhd)
{
	prom_listen_close();
	prom_pool_stop();
	for (int i = 0; i < PROM_GATEWAY_LAST_TURNS; i++)
		MHD_run(mhd);
}

/* ---- settings ---- */

static void
define_settings(void)
{
	DefineCustomIntVariable("promgres.max_body_size",
							"Sets the size up to which the gateway takes the body of a request.",
							"A larger one is answered with status 413.",
							&prom_gateway_max_body_kb,
							32 * 1024, 64, 512 * 1024,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.max_response_size",
							"Sets the size up to which the gateway gives the answer of a query.",
							"The answer is collected in the gateway's memory before it is sent. A query with a larger one fails.",
							&prom_gateway_max_response_kb,
							256 * 1024, 64, 1000 * 1024,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.request_timeout",
							"Sets the time in which a client must have sent a request to the gateway.",
							"It runs from the connection or from the answer before, and closes idle connections as well.",
							&prom_gateway_request_timeout_ms,
							30000, 100, 3600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.query_timeout",
							"Sets the time that a query over HTTP may take.",
							"It is the statement_timeout of the query; a request may ask for less. 0 turns it off.",
							&prom_gateway_query_timeout_ms,
							120000, 0, PG_INT32_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.query_connections",
							"Sets how many queries over HTTP can run at once.",
							"Each takes a connection of the server; more of them wait.",
							&prom_gateway_query_connections,
							8, 1, 100,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* These are fixed when the gateway starts, and exist only if it could. */
static void
define_start_settings(void)
{
	prom_tls_init_start();
	DefineCustomStringVariable("promgres.listen_addresses",
							   "Sets the host names or addresses on which the gateway listens for HTTP.",
							   "A list with commas; * is every address; empty: no gateway.",
							   &prom_gateway_listen_addresses,
							   "localhost",
							   PGC_POSTMASTER, GUC_LIST_INPUT, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.port",
							"Sets the TCP port on which the gateway listens for HTTP.",
							NULL,
							&prom_gateway_port,
							9201, 1, 65535,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.max_connections",
							"Sets how many HTTP clients the gateway serves at once.",
							"Further ones wait until it accepts them.",
							&prom_gateway_max_connections,
							512, 1, 100000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.max_header_size",
							"Sets the size up to which the gateway takes the request line and headers of a request.",
							"It is the buffer that each connection has. More is answered with status 431 or 414.",
							&prom_gateway_max_header_kb,
							64, 4, 1024,
							PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
}

/*
 * listen.c
 *	  The sockets on which the gateway accepts clients.
 *
 * libmicrohttpd can listen on one address only, "localhost" is two; so we listen and accept, and hand
 * it connections.  An address that cannot be bound is logged once and tried again: another server
 * may still be going down.  While there are too many clients, or no file descriptors, nothing is
 * accepted and new clients wait in the kernel's queue.
 */
#include "postgres.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "utils/varlena.h"

#include "api/gateway.h"

#define PROM_LISTEN_MAX 64
#define PROM_LISTEN_BACKLOG 256
#define PROM_ACCEPT_BATCH 64

typedef struct Listener
{
	int			fd;
	struct sockaddr_storage address;
	socklen_t	address_len;
	PromWatch	watch;
	bool		watched;
} Listener;

static Listener listeners[PROM_LISTEN_MAX];
static int	nlisteners = 0;
static struct MHD_Daemon *mhd;
static bool short_of_files = false;
static char failure[256];		/* what was logged last */

static bool open_name(const char *name, char *why, size_t why_size);
static int	bind_address(const struct addrinfo *a);
static void accept_clients(void *owner, uint32 events);
static void warn_of_readers(void);

void
prom_listen_open(struct MHD_Daemon *daemon)
{
	char	   *list = pstrdup(prom_gateway_listen_addresses);
	char		why[sizeof(failure)] = "";
	List	   *names;
	ListCell   *lc;

	mhd = daemon;
	if (!SplitGUCList(list, ',', &names))
	{
		snprintf(why, sizeof(why), "\"promgres.listen_addresses\" is not a list of names");
		names = NIL;
	}
	foreach(lc, names)
		(void) open_name(lfirst(lc), why, sizeof(why));

	if (strcmp(why, failure) != 0 && why[0] != '\0')
		ereport(LOG,
				(errmsg("promgres gateway could not listen: %s", why),
				 errhint("Is another server on port %d, and is \"promgres.listen_addresses\" right? The gateway tries again every few seconds.",
						 prom_gateway_port)));
	strlcpy(failure, why, sizeof(failure));
	warn_of_readers();
}

/* Once: what clients say to who they are can be read where it passes. */
static void
warn_of_readers(void)
{
	static bool warned = false;

	if (warned || prom_tls_enabled() || prom_listen_is_local())
		return;
	warned = true;
	ereport(WARNING,
			(errmsg("promgres gateway listens beyond this machine without TLS"),
			 errdetail("Passwords and tokens of its clients, and all samples, can be read on the way."),
			 errhint("Set \"promgres.ssl\" to on, or listen on localhost behind a proxy that has TLS.")));
}

void
prom_listen_close(void)
{
	for (int i = 0; i < nlisteners; i++)
	{
		prom_gateway_unwatch(listeners[i].fd);
		close(listeners[i].fd);
	}
	nlisteners = 0;
}

void
prom_listen_tick(int nclients)
{
	bool		accepting = nclients < prom_gateway_max_connections && !short_of_files;

	short_of_files = false;
	for (int i = 0; i < nlisteners; i++)
	{
		Listener   *l = &listeners[i];

		if (accepting && !l->watched)
			l->watched = prom_gateway_watch(l->fd, EPOLLIN, &l->watch);
		else if (!accepting && l->watched)
		{
			prom_gateway_unwatch(l->fd);
			l->watched = false;
		}
	}
}

bool
prom_listen_is_local(void)
{
	for (int i = 0; i < nlisteners; i++)
	{
		const struct sockaddr_storage *a = &listeners[i].address;

		if (a->ss_family == AF_INET
			? (ntohl(((const struct sockaddr_in *) a)->sin_addr.s_addr) >> 24) != IN_LOOPBACKNET
			: !IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *) a)->sin6_addr))
			return false;
	}
	return true;
}

static bool
is_open(const struct addrinfo *a)
{
	for (int i = 0; i < nlisteners; i++)
	{
		if (listeners[i].address_len == a->ai_addrlen &&
			memcmp(&listeners[i].address, a->ai_addr, a->ai_addrlen) == 0)
			return true;
	}
	return false;
}

/* Every address of a name; one that works is enough, as for the server's own listen_addresses. */
static bool
open_name(const char *name, char *why, size_t why_size)
{
	struct addrinfo hints = {0};
	struct addrinfo *all;
	char		port[16];
	int			rc;
	int			saved_errno = 0;
	bool		any = false;

	hints.ai_family = AF_UNSPEC;
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_flags = AI_PASSIVE;
	snprintf(port, sizeof(port), "%d", prom_gateway_port);
	rc = getaddrinfo(strcmp(name, "*") == 0 ? NULL : name, port, &hints, &all);
	if (rc != 0)
	{
		snprintf(why, why_size, "could not translate \"%s\" to an address: %s", name, gai_strerror(rc));
		return false;
	}
	for (struct addrinfo *a = all; a != NULL; a = a->ai_next)
	{
		Listener   *l = &listeners[nlisteners];

		if (is_open(a))
		{
			any = true;
			continue;
		}
		if (nlisteners == PROM_LISTEN_MAX)
			break;
		l->fd = bind_address(a);
		if (l->fd < 0)
		{
			saved_errno = errno;
			continue;
		}
		memcpy(&l->address, a->ai_addr, a->ai_addrlen);
		l->address_len = a->ai_addrlen;
		l->watch.ready = accept_clients;
		l->watch.owner = l;
		l->watched = false;
		nlisteners++;
		any = true;
		ereport(LOG,
				(errmsg("promgres gateway is listening on \"%s\" (%s), port %d", name,
						a->ai_family == AF_INET6 ? "IPv6" : "IPv4", prom_gateway_port)));
	}
	freeaddrinfo(all);
	if (!any)
		snprintf(why, why_size, "could not bind \"%s\", port %d: %s", name, prom_gateway_port,
				 strerror(saved_errno));
	return any;
}

/* A listening socket, or -1 and errno. */
static int
bind_address(const struct addrinfo *a)
{
	int			fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int			one = 1;
	int			saved_errno;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
		(a->ai_family != AF_INET6 ||
		 setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == 0) &&
		bind(fd, a->ai_addr, a->ai_addrlen) == 0 &&
		listen(fd, PROM_LISTEN_BACKLOG) == 0)
		return fd;
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return -1;
}

static void
accept_clients(void *owner, uint32 events)
{
	Listener   *l = owner;

	for (int i = 0; i < PROM_ACCEPT_BATCH; i++)
	{
		struct sockaddr_storage peer;
		socklen_t	peer_len = sizeof(peer);
		int			one = 1;
		int			fd;

		if (prom_request_clients() >= prom_gateway_max_connections)
			break;
		fd = accept4(l->fd, (struct sockaddr *) &peer, &peer_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
		{
			short_of_files = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
			break;
		}
		(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		/* libmicrohttpd owns the socket from here on, and closes it when it refuses */
		(void) MHD_add_connection(mhd, fd, (struct sockaddr *) &peer, peer_len);
	}
}

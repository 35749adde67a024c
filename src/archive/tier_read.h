/*
 * tier_read.h
 *	  Reading samples back from a bucket: what the files tier_*.c share.
 *
 * tier_list.c knows which objects there are, tier_scan.c which of their chunks a query wants and when,
 * tier_fetch.c brings their bytes, tier_cache.c keeps them on disk.
 */
#ifndef PROM_STORE_TIER_READ_H
#define PROM_STORE_TIER_READ_H

#include "lib/ilist.h"

#include "archive/hole.h"
#include "archive/object.h"
#include "store/rows.h"

/* ---- tier_list.c ---- */

/* A row of prom.tier_object, but for its directory. */
typedef struct PromTierObject
{
	int64		id;
	const char *server;
	const char *key;
	const char *etag;
	int16		shard;
	int32		resolution_s;
	int64		day_ms;
	int64		seq;
	int32		block_min;
	int32		block_max;
	int32	   *gone;			/* blocks that are not to be read from it */
	int			ngone;
	PromHoles	holes;			/* nor these samples */
} PromTierObject;

/* The objects in use with samples of a time and resolution, of all shards, as the active snapshot has them. */
extern PromTierObject *prom_tier_all_objects(int32 resolution_s, PromScanRange range, int *n);

/* Where its chunks are; in the current memory context. */
extern PromDirectory *prom_tier_open_directory(int64 id);

extern bool prom_tier_is_gone(const PromTierObject *o, int32 block);

/* ---- tier_fetch.c ---- */

/* Bytes of an object that are fetched with one request: wanted chunks, and little between them. */
typedef struct PromSpan
{
	const PromTierObject *object;
	int64		offset;
	int32		length;
	const PromObjectEntry *chunk;	/* the wanted ones, ascending */
	int			nchunks;
	int			first_use;		/* places of what it is wanted for, the first and the last */
	int			last_use;
	int			nleft;			/* chunks that somebody will still ask for; 0: it is used up */
	bool		asked;			/* at least once, of prom_fetch_ahead or prom_fetch_wait */
	/* of tier_fetch.c */
	char	   *body;			/* NULL: not here */
	struct PromTransfer *transfer;	/* that brings or has brought it; NULL: from the cache */
	bool		failed;
	dlist_node	node;			/* of those that take memory */
} PromSpan;

typedef struct PromFetch PromFetch;

/* A place for spans in a child of the current memory context, which takes transfers with it when it goes. */
extern PromFetch *prom_fetch_begin(void);

/* Forget all that was asked for. */
extern void prom_fetch_reset(PromFetch *f);

/* How long a span may be if so many of them are wanted at a time. */
extern int64 prom_fetch_span_bytes(int at_a_time);

/* Ask for a span, unless it would take more memory than there is for those not yet used; false: it would. */
extern bool prom_fetch_ahead(PromFetch *f, PromSpan *span);

/*
 * Wait for a span: true, and span->body has its bytes until the next call of these functions.  now: the place that
 * is read, in whose vicinity spans are kept longest.  False: it cannot be read, and promgres.partial_response lets the query go on; that was told.
 * Otherwise an error names the object.
 */
extern bool prom_fetch_wait(PromFetch *f, PromSpan *span, int now);

/* promgres.tier_read_memory, in bytes. */
extern int64 prom_tier_read_memory(void);

extern void prom_tier_fetch_init(void);

/* ---- tier_cache.c ---- */

/* Read a chunk into "bytes", checked; false: it is not there. */
extern bool prom_tier_cache_get(const PromTierObject *o, const PromObjectEntry *chunk, char *bytes);

/* Keep it, if there is room to be made.  Never raises for what the file system says. */
extern void prom_tier_cache_put(const PromTierObject *o, const PromObjectEntry *chunk, const char *bytes);

extern void prom_tier_cache_init(void);

#endif							/* PROM_STORE_TIER_READ_H */

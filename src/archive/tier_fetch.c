/*
 * tier_fetch.c
 *	  Brings the bytes of spans, from the local cache or with requests of which several are on their way.
 *
 * A span is here, on its way, or neither.  What takes memory is in a list, in the order in which it was asked
 * for; all of it together is at most promgres.tier_read_memory, but for one span that is waited for and longer.
 * To make room those go first that are used up, and only for a span that is waited for those whose use lies
 * farthest from what is read now.
 *
 * Bytes that are no whole chunks are asked for again by the room tier, as the fault may be on the way.  All that
 * is here goes with the memory context, transfers on the wire too.
 */
#include "postgres.h"

#include <limits.h>

#include "foreign/foreign.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "archive/tier_read.h"
#include "common/compat.h"
#include "tier/tier.h"

/* A longer span would have nothing else in flight while it comes, and nothing be read of it */
#define MAX_SPAN_BYTES (512 * 1024)

/* Warnings about objects that cannot be read, of one place for spans */
#define MAX_TOLD 5

/* A bucket that spans come from. */
typedef struct Source
{
	const char *server;
	PromBucket *bucket;
	PromTransfers *transfers;
	bool		broken;			/* it does not answer: it is not asked again */
} Source;

struct PromFetch
{
	MemoryContext context;
	MemoryContext spans_cxt;	/* all below, gone with a reset */
	Source	   *source;
	int			nsources;
	dlist_head	held;			/* spans that take memory, the first asked for first */
	int64		held_bytes;
	int			now;
	int			told;
};

static int	read_memory_kb = 32 * 1024;
static bool partial_response = false;

static Source *find_source(PromFetch *f, const char *server);
static void start(PromFetch *f, PromSpan *span);
static bool read_cached(PromFetch *f, PromSpan *span);
static bool is_whole(const PromTransfer *transfer, const void *data, size_t size, void *arg);
static void land(PromFetch *f, PromTransfer *t);
static void release(PromFetch *f, PromSpan *span);
static void drop(PromFetch *f, PromSpan *span);
static bool make_room(PromFetch *f, int64 bytes, const PromSpan *but);
static void fail(PromFetch *f, PromSpan *span);
static const char *advice(PromTransferStatus status);
static const char *day_text(int64 day_ms);

int64
prom_tier_read_memory(void)
{
	return read_memory_kb * INT64CONST(1024);
}

PromFetch *
prom_fetch_begin(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "promgres tier read", ALLOCSET_SMALL_SIZES);
	PromFetch  *f = MemoryContextAllocZero(context, sizeof(PromFetch));

	f->context = context;
	f->spans_cxt = AllocSetContextCreate(context, "promgres tier spans", ALLOCSET_DEFAULT_SIZES);
	dlist_init(&f->held);
	return f;
}

void
prom_fetch_reset(PromFetch *f)
{
	MemoryContextReset(f->spans_cxt);
	f->source = NULL;
	f->nsources = 0;
	f->held_bytes = 0;
	dlist_init(&f->held);
}

int64
prom_fetch_span_bytes(int at_a_time)
{
	return Min(prom_tier_read_memory() / 2 / Max(at_a_time, 1), MAX_SPAN_BYTES);
}

bool
prom_fetch_ahead(PromFetch *f, PromSpan *span)
{
	if (span->body != NULL || span->transfer != NULL || span->failed)
		return true;
	if (f->held_bytes + span->length > prom_tier_read_memory() && !make_room(f, span->length, NULL))
		return false;
	start(f, span);
	return true;
}

bool
prom_fetch_wait(PromFetch *f, PromSpan *span, int now)
{
	f->now = now;
	if (span->body == NULL && span->transfer == NULL && !span->failed)
	{
		(void) make_room(f, span->length, span);
		start(f, span);
	}
	while (span->body == NULL && !span->failed)
	{
		Source	   *s = find_source(f, span->object->server);
		PromTransfer *t = prom_transfers_next(s->transfers, true);

		if (t == NULL)
			elog(ERROR, "a transfer of the tier is lost");
		land(f, t);
	}
	/* what else has come meanwhile makes place on the wire */
	for (int i = 0; i < f->nsources; i++)
	{
		PromTransfer *t;

		while ((t = prom_transfers_next(f->source[i].transfers, false)) != NULL)
			land(f, t);
	}
	if (span->failed)
		fail(f, span);
	return !span->failed;
}

static Source *
find_source(PromFetch *f, const char *server)
{
	MemoryContext old;
	Source	   *s;

	for (int i = 0; i < f->nsources; i++)
		if (strcmp(f->source[i].server, server) == 0)
			return &f->source[i];
	old = MemoryContextSwitchTo(f->spans_cxt);
	f->source = f->source ? repalloc(f->source, sizeof(Source) * (f->nsources + 1)) : palloc(sizeof(Source));
	s = &f->source[f->nsources];
	s->server = pstrdup(server);
	s->bucket = prom_bucket_open(prom_bucket_find(server));
	s->transfers = prom_transfers_begin(s->bucket);
	s->broken = false;
	f->nsources++;
	MemoryContextSwitchTo(old);
	return s;
}

/* From now on the span takes memory. */
static void
start(PromFetch *f, PromSpan *span)
{
	PromTransfer request = {.verb = PROM_VERB_GET,.key = span->object->key,.etag = span->object->etag,
		.offset = span->offset,.length = span->length,.verify = is_whole,.arg = span};
	PromScanCounts *counts = prom_store_counts();
	Source	   *s;

	span->asked = true;
	dlist_push_tail(&f->held, &span->node);
	f->held_bytes += span->length;
	if (read_cached(f, span))
		return;
	s = find_source(f, span->object->server);
	if (s->broken)
	{
		span->failed = true;
		release(f, span);
		return;
	}
	prom_store_need_memory(span->length);
	span->transfer = prom_transfers_add(s->transfers, &request);
	counts->tier_gets++;
	counts->tier_bytes += span->length;
	for (int i = 0; i < span->nchunks; i++)
		counts->tier_needed_bytes += span->chunk[i].length;
	prom_stat_count_now(PROM_STAT_TIER_MISSES, span->nchunks);
}

/* All chunks of the span, or none. */
static bool
read_cached(PromFetch *f, PromSpan *span)
{
	char	   *body = MemoryContextAllocExtended(f->spans_cxt, span->length, MCXT_ALLOC_HUGE);
	int64		bytes = 0;

	for (int i = 0; i < span->nchunks; i++)
	{
		const PromObjectEntry *c = &span->chunk[i];

		CHECK_FOR_INTERRUPTS();
		if (!prom_tier_cache_get(span->object, c, body + (c->offset - span->offset)))
		{
			pfree(body);
			return false;
		}
		bytes += c->length;
	}
	span->body = body;
	prom_store_counts()->tier_hits += span->nchunks;
	prom_store_counts()->tier_hit_bytes += bytes;
	prom_stat_count_now(PROM_STAT_TIER_HITS, span->nchunks);
	prom_stat_count_now(PROM_STAT_TIER_HIT_BYTES, bytes);
	return true;
}

/* PromVerify */
static bool
is_whole(const PromTransfer *transfer, const void *data, size_t size, void *arg)
{
	const PromSpan *span = arg;

	for (int i = 0; i < span->nchunks; i++)
	{
		const PromObjectEntry *c = &span->chunk[i];

		if (!prom_object_chunk_is_whole(c, (const char *) data + (c->offset - span->offset)))
			return false;
	}
	return true;
}

/* A transfer is over. */
static void
land(PromFetch *f, PromTransfer *t)
{
	PromSpan   *span = t->arg;

	prom_stat_count_now(PROM_STAT_TIER_GETS, t->tries);
	if (t->status != PROM_TRANSFER_OK)
	{
		prom_stat_count_now(PROM_STAT_TIER_ERRORS, 1);
		span->failed = true;
		release(f, span);
		return;
	}
	prom_stat_count_now(PROM_STAT_TIER_BYTES, t->body_size);
	span->body = t->body;
	for (int i = 0; i < span->nchunks; i++)
		prom_tier_cache_put(span->object, &span->chunk[i], span->body + (span->chunk[i].offset - span->offset));
}

static void
release(PromFetch *f, PromSpan *span)
{
	dlist_delete(&span->node);
	f->held_bytes -= span->length;
}

/* A span that is not on its way takes no memory any more. */
static void
drop(PromFetch *f, PromSpan *span)
{
	release(f, span);
	if (span->transfer != NULL)
		prom_transfer_free(span->transfer);
	else
		pfree(span->body);
	span->transfer = NULL;
	span->body = NULL;
}

/* How far is its use from what is read now? */
static int
distance(const PromFetch *f, const PromSpan *span)
{
	return Max(Max(span->first_use - f->now, f->now - span->last_use), 0);
}

/*
 * Room for more bytes.  but: the span that is waited for, for which others go that were to be used; NULL: only those go
 * that are used up.
 */
static bool
make_room(PromFetch *f, int64 bytes, const PromSpan *but)
{
	dlist_mutable_iter at;

	dlist_foreach_modify(at, &f->held)
	{
		PromSpan   *span = dlist_container(PromSpan, node, at.cur);

		if (f->held_bytes + bytes <= prom_tier_read_memory())
			return true;
		if (span->body != NULL && span->nleft == 0)
			drop(f, span);
	}
	while (but != NULL && f->held_bytes + bytes > prom_tier_read_memory())
	{
		PromSpan   *farthest = NULL;

		dlist_foreach_modify(at, &f->held)
		{
			PromSpan   *span = dlist_container(PromSpan, node, at.cur);

			if (span->body != NULL && (farthest == NULL || distance(f, span) >= distance(f, farthest)))
				farthest = span;
		}
		if (farthest == NULL)
			break;
		drop(f, farthest);
	}
	return f->held_bytes + bytes <= prom_tier_read_memory();
}

/* Raises why a span cannot be read, or tells it. */
static void
fail(PromFetch *f, PromSpan *span)
{
	PromTransfer *t = span->transfer;

	if (!partial_response)
	{
		if (t == NULL)
			elog(ERROR, "a span of the tier has failed without a reason");
		ereport(ERROR,
				(errcode(prom_transfer_sqlstate(t)),
				 errmsg("%s", prom_transfer_error(t)),
				 errdetail("It has samples of %s that the query reads.", day_text(span->object->day_ms)),
				 errhint("%s To leave out what cannot be read, set promgres.partial_response.", advice(t->status))));
	}
	if (t == NULL)
		return;
	if (t->status == PROM_TRANSFER_SILENT || t->status == PROM_TRANSFER_DENIED || t->status == PROM_TRANSFER_REFUSED)
		find_source(f, span->object->server)->broken = true;
	if (f->told++ < MAX_TOLD)
		ereport(WARNING_CLIENT_ONLY,
				(errcode(MAKE_SQLSTATE('0', '1', 'P', 'R', 'W')),
				 errmsg_internal("samples of %s are missing: %s", day_text(span->object->day_ms),
								 prom_transfer_error(t)),
				 errhidecontext(true)));
	prom_transfer_free(t);
	span->transfer = NULL;
}

/* What to do about it */
static const char *
advice(PromTransferStatus status)
{
	switch (status)
	{
		case PROM_TRANSFER_NO_OBJECT:
		case PROM_TRANSFER_CHANGED:
		case PROM_TRANSFER_DAMAGED:
			return "Compare with prom.verify_bucket(), and bring the object back from a copy of the bucket.";
		default:
			return "Try prom.bucket_check().";
	}
}

/* A day as messages have it. */
static const char *
day_text(int64 day_ms)
{
	pg_time_t	seconds = (pg_time_t) (day_ms / 1000);
	struct pg_tm *tm = pg_gmtime(&seconds);
	char		buf[64];

	if (tm == NULL)
		return "?";
	pg_strftime(buf, sizeof(buf), "%Y-%m-%d", tm);
	return pstrdup(buf);
}

void
prom_tier_fetch_init(void)
{
	DefineCustomIntVariable("promgres.tier_read_memory",
							"Memory for what a leaf of a query fetches from a bucket ahead of its use.",
							NULL, &read_memory_kb, 32 * 1024, 1024, MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomBoolVariable("promgres.partial_response",
							 "Queries leave out samples in a bucket that cannot be read, with a warning, instead of failing.",
							 NULL, &partial_response, false, PGC_USERSET, 0, NULL, NULL, NULL);
}

/*
 * transfer.c
 *	  Many requests at a time: when each is tried, tried again, given up, handed out.
 *
 * A flight (a transfer with all that belongs to it) is in one of four lists of its owner: queued, on the
 * wire, pausing before its next try, landed.  One multi handle of libcurl carries the flights of the
 * whole backend, and keeps its connections from one query to the next; it is made at the first request,
 * in the backend, never in the postmaster.
 *
 * Waiting is curl_multi_poll, in slices: between two of them interrupts are looked at.  A signal ends
 * a slice at once.  libcurl looks up names in a thread of its own; all signals are blocked while it may
 * start one, so that ours keep coming to us.
 *
 * Errors can leave from here at any moment but from within libcurl.  What is then on the wire is taken off
 * it by the reset callback of the flight's memory context, a child of its owner's, before the buffers go.
 */
#include "postgres.h"

#include <signal.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "tier/request.h"

#define SLICE_MS			50
#define PAUSE_FIRST_MS		100
#define PAUSE_MAX_MS		5000
#define KEPT_CONNECTIONS	64L

/* A slow line may take its time for what it carries, on top of the timeouts. */
#define BYTES_PER_MS		128

struct PromTransfers
{
	MemoryContext context;
	PromBucket *bucket;
	dlist_head	queued;
	dlist_head	on_wire;
	dlist_head	pausing;
	dlist_head	landed;
	int			wire_count;		/* how many on_wire has */
	int			nleft;			/* not handed out */
};

static CURLM *multi;

static CURLM *get_multi(void);
static void take_off(void *flight);
static PromFlight *add_request(PromTransfers *transfers, const PromTransfer *transfer, const PromRequest *request);
static void turn(PromTransfers *transfers);
static void start(PromTransfers *transfers);
static void launch(PromFlight *flight);
static void perform(void);
static void land(PromFlight *flight, CURLcode result);
static void finish(PromFlight *flight);
static void wait_slice(PromTransfers *transfers);
static int64 allowance_ms(const PromFlight *flight);
static int64 since_begun_ms(const PromFlight *flight);
static PromFlight *first_of(dlist_head *list);
static int	errcode_of(PromTransferStatus status);
static const char *what_failed(const PromFlight *flight);

PromTransfers *
prom_transfers_begin(PromBucket *bucket)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "promgres transfers", ALLOCSET_SMALL_SIZES);
	PromTransfers *t = MemoryContextAllocZero(context, sizeof(PromTransfers));

	t->context = context;
	t->bucket = bucket;
	dlist_init(&t->queued);
	dlist_init(&t->on_wire);
	dlist_init(&t->pausing);
	dlist_init(&t->landed);
	return t;
}

PromTransfer *
prom_transfers_add(PromTransfers *transfers, const PromTransfer *transfer)
{
	PromRequest request;

	prom_request_of(transfers->bucket, transfer, &request);
	return &add_request(transfers, transfer, &request)->transfer;
}

/* As prom_transfers_add, for whatever is requested. */
static PromFlight *
add_request(PromTransfers *transfers, const PromTransfer *transfer, const PromRequest *request)
{
	MemoryContext context = AllocSetContextCreate(transfers->context, "promgres transfer", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	PromFlight *flight = palloc0(sizeof(PromFlight));

	flight->transfer = *transfer;
	flight->request = *request;
	if (transfer->verb == PROM_VERB_GET && transfer->length > 0)
		flight->transfer.max_size = transfer->length;
	flight->owner = transfers;
	flight->bucket = transfers->bucket;
	flight->context = context;
	flight->body_context = transfers->context;
	flight->gone.func = take_off;
	flight->gone.arg = flight;
	MemoryContextRegisterResetCallback(context, &flight->gone);
	if (request->key != NULL)
		flight->transfer.key = flight->request.key = pstrdup(request->key);
	if (transfer->etag != NULL)
		flight->transfer.etag = pstrdup(transfer->etag);
	if (transfer->upload_id != NULL)
		flight->transfer.upload_id = pstrdup(transfer->upload_id);
	for (int i = 0; i < request->nquery; i++)
		flight->request.query[i].value = pstrdup(request->query[i].value);
	for (int i = 0; i < request->nheaders; i++)
		flight->request.headers[i].value = pstrdup(request->headers[i].value);
	dlist_push_tail(&transfers->queued, &flight->node);
	transfers->nleft++;
	MemoryContextSwitchTo(old);
	return flight;
}

PromTransfer *
prom_transfers_next(PromTransfers *transfers, bool wait)
{
	for (;;)
	{
		PromFlight *flight;

		CHECK_FOR_INTERRUPTS();
		turn(transfers);
		flight = first_of(&transfers->landed);
		if (flight != NULL)
		{
			dlist_delete(&flight->node);
			flight->taken = true;
			transfers->nleft--;
			return &flight->transfer;
		}
		if (!wait || transfers->nleft == 0)
			return NULL;
		wait_slice(transfers);
	}
}

int
prom_transfers_left(const PromTransfers *transfers)
{
	return transfers->nleft;
}

void
prom_transfer_free(PromTransfer *transfer)
{
	PromFlight *flight = (PromFlight *) transfer;

	Assert(flight->taken);
	if (transfer->body != NULL)
		pfree(transfer->body);
	MemoryContextDelete(flight->context);
}

void
prom_transfers_end(PromTransfers *transfers)
{
	MemoryContextDelete(transfers->context);
}

PromTransfer *
prom_request_run(PromBucket *bucket, const PromTransfer *transfer, const PromRequest *request)
{
	PromTransfers *transfers = prom_transfers_begin(bucket);

	(void) add_request(transfers, transfer, request);
	return prom_transfers_next(transfers, true);
}

/* --- errors --- */

void
prom_transfer_raise(const PromTransfer *transfer)
{
	const PromFlight *flight = (const PromFlight *) transfer;

	ereport(ERROR,
			(errcode(errcode_of(transfer->status)),
			 errmsg("could not %s", what_failed(flight)),
			 errdetail("%s%s", flight->cause, transfer->tries > 1 ? psprintf(" It was tried %d times.", transfer->tries) : ""),
			 flight->hint != NULL ? errhint("%s", flight->hint) : 0));
}

int
prom_transfer_sqlstate(const PromTransfer *transfer)
{
	return errcode_of(transfer->status);
}

const char *
prom_transfer_error(const PromTransfer *transfer)
{
	const PromFlight *flight = (const PromFlight *) transfer;

	return psprintf("could not %s: %s", what_failed(flight), flight->cause);
}

static const char *
what_failed(const PromFlight *flight)
{
	if (flight->request.key == NULL)
		return psprintf("%s %s", flight->request.doing, flight->bucket->description);
	return psprintf("%s object \"%s%s\" of %s", flight->request.doing, flight->bucket->prefix, flight->request.key,
					flight->bucket->description);
}

static int
errcode_of(PromTransferStatus status)
{
	switch (status)
	{
		case PROM_TRANSFER_NO_OBJECT:
			return ERRCODE_UNDEFINED_FILE;
		case PROM_TRANSFER_DAMAGED:
			return ERRCODE_DATA_CORRUPTED;
		case PROM_TRANSFER_SILENT:
			return ERRCODE_CONNECTION_FAILURE;
		case PROM_TRANSFER_OK:
		case PROM_TRANSFER_CHANGED:
		case PROM_TRANSFER_DENIED:
		case PROM_TRANSFER_REFUSED:
			break;
	}
	return ERRCODE_IO_ERROR;
}

/* --- turns --- */

static void
turn(PromTransfers *transfers)
{
	start(transfers);
	perform();
	/* what has landed makes room */
	start(transfers);
}

/* Put on the wire what may be there: those whose pause is over, then the queued ones. */
static void
start(PromTransfers *transfers)
{
	dlist_mutable_iter i;

	dlist_foreach_modify(i, &transfers->pausing)
	{
		PromFlight *flight = dlist_container(PromFlight, node, i.cur);

		if (transfers->wire_count < transfers->bucket->transfers && since_begun_ms(flight) >= flight->retry_ms)
			launch(flight);
	}
	while (transfers->wire_count < transfers->bucket->transfers && !dlist_is_empty(&transfers->queued))
	{
		PromFlight *flight = first_of(&transfers->queued);

		INSTR_TIME_SET_CURRENT(flight->begun);
		flight->deadline_ms = transfers->bucket->operation_timeout_ms + allowance_ms(flight);
		launch(flight);
	}
}

static void
launch(PromFlight *flight)
{
	PromTransfers *transfers = flight->owner;
	CURLM	   *m = get_multi();
	int64		timeout_ms = flight->bucket->request_timeout_ms + allowance_ms(flight);

	prom_request_prepare(flight, (long) Max(Min(timeout_ms, flight->deadline_ms - since_begun_ms(flight)), 1));
	if (curl_multi_add_handle(m, flight->wire->curl) != CURLM_OK)
	{
		prom_request_release(flight);
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	}
	flight->transfer.tries++;
	dlist_delete(&flight->node);
	dlist_push_tail(&transfers->on_wire, &flight->node);
	transfers->wire_count++;
}

/* libcurl goes on with all that is on the wire, whoever the owner is; none of it can raise here. */
static void
perform(void)
{
	sigset_t	all;
	sigset_t	old;
	int			running;
	int			rest;
	CURLMsg    *message;

	if (multi == NULL)
		return;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	(void) curl_multi_perform(multi, &running);
	sigprocmask(SIG_SETMASK, &old, NULL);

	while ((message = curl_multi_info_read(multi, &rest)) != NULL)
	{
		CURLcode	result = message->data.result;
		PromFlight *flight = NULL;

		if (message->msg == CURLMSG_DONE && curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &flight) == CURLE_OK)
			land(flight, result);
	}
}

static void
land(PromFlight *flight, CURLcode result)
{
	PromTransfers *transfers = flight->owner;
	PromBucket *bucket = flight->bucket;
	int64		least_ms;
	int64		pause_ms;
	bool		again;

	/* First of all, as judging allocates and could raise. */
	curl_multi_remove_handle(multi, flight->wire->curl);
	transfers->wire_count--;
	dlist_delete(&flight->node);
	dlist_push_tail(&transfers->landed, &flight->node);

	flight->transfer.status = PROM_TRANSFER_SILENT;
	flight->cause = "Its answer was not looked at.";

	again = prom_request_judge(flight, result, &least_ms);
	prom_request_release(flight);

	pause_ms = Min(PAUSE_FIRST_MS << Min(flight->transfer.tries - 1, 10), PAUSE_MAX_MS);
	/* all who met the same trouble shall not come back at the same moment */
	pause_ms = Max(pause_ms / 2 + (int64) (pg_prng_double(&pg_global_prng_state) * (pause_ms / 2)), least_ms);
	flight->retry_ms = since_begun_ms(flight) + pause_ms;
	if (again && flight->transfer.tries <= bucket->retries && flight->retry_ms < flight->deadline_ms)
	{
		dlist_delete(&flight->node);
		dlist_push_tail(&transfers->pausing, &flight->node);
	}
	else
		finish(flight);
}

static void
finish(PromFlight *flight)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, flight->begun);
	flight->transfer.micros = (int64) INSTR_TIME_GET_MICROSEC(now);
}

static void
wait_slice(PromTransfers *transfers)
{
	int			wait_ms = SLICE_MS;
	dlist_iter	i;

	dlist_foreach(i, &transfers->pausing)
	{
		PromFlight *flight = dlist_container(PromFlight, node, i.cur);

		wait_ms = Max(Min(wait_ms, flight->retry_ms - since_begun_ms(flight)), 1);
	}
	pgstat_report_wait_start(PG_WAIT_EXTENSION);
	(void) curl_multi_poll(get_multi(), NULL, 0, wait_ms, NULL);
	pgstat_report_wait_end();
	if (!PostmasterIsAlive())
		proc_exit(1);
}

/* --- beginning and end --- */

static CURLM *
get_multi(void)
{
	if (multi == NULL)
	{
		if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (multi = curl_multi_init()) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
					 errmsg("could not start libcurl")));
		(void) curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS);
	}
	return multi;
}

/* The memory of a flight goes: it may not stay on the wire. */
static void
take_off(void *arg)
{
	PromFlight *flight = arg;

	if (flight->wire != NULL && flight->wire->curl != NULL)
		curl_multi_remove_handle(multi, flight->wire->curl);
	prom_request_release(flight);
}

static int64
allowance_ms(const PromFlight *flight)
{
	return (flight->request.size + Max(flight->transfer.length, 0)) / BYTES_PER_MS;
}

static int64
since_begun_ms(const PromFlight *flight)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, flight->begun);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

static PromFlight *
first_of(dlist_head *list)
{
	return dlist_is_empty(list) ? NULL : dlist_container(PromFlight, node, dlist_head_node(list));
}

/*
 * check.c
 *	  Can this bucket be used?  Tries each verb with an object of its own, and says what is wrong.
 *
 * Nothing raises but what must stop it: a failure is a row.  After one that is no answer at all the rest is
 * left out, for it would only take time.
 */
#include "postgres.h"

#include <time.h>

#include "common/pg_prng.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "tier/request.h"

#define SIZE			65536
#define RANGE_FIRST		1000
#define RANGE_LENGTH	100
#define SKEW_TOLERATED_S 60

typedef struct Check
{
	ReturnSetInfo *rsinfo;
	PromBucket *bucket;
	char	   *key;
	char	   *data;
	bool		silent;			/* there was no answer */
} Check;

PG_FUNCTION_INFO_V1(prom_bucket_check);

static void say(Check *check, const char *what, bool ok, const char *detail);
static PromTransfer *try(Check *check, const char *what, const PromTransfer *transfer, const PromRequest *request);
static void check_clock(Check *check, const PromTransfer *answer);
static void check_put(Check *check);
static void check_condition(Check *check);
static void check_get(Check *check);
static void check_list(Check *check);
static void check_delete(Check *check);

Datum
prom_bucket_check(PG_FUNCTION_ARGS)
{
	Check		check = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};
	Oid			server = PG_ARGISNULL(0) ? prom_tier_server() : prom_bucket_server(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PromBucket *bucket;

	if (!OidIsValid(server))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no bucket"),
				 errhint("Name a foreign server, or set \"promgres.tier_server\".")));
	InitMaterializedSRF(fcinfo, 0);
	check.bucket = bucket = prom_bucket_open(server);
	check.key = psprintf("promgres-check-%016llx", (unsigned long long) pg_prng_uint64(&pg_global_prng_state));
	check.data = palloc(SIZE);
	for (int i = 0; i < SIZE; i++)
		check.data[i] = (char) (i * 7 + i / 251);

	say(&check, "credentials", true, psprintf("from: %s", bucket->credentials.source));
	say(&check, "tls", bucket->tls && bucket->verify_tls,
		!bucket->tls ? "what is sent can be read and altered on its way: the endpoint is http://" :
		!bucket->verify_tls ? "certificates are not verified: tls_verify is off" : "certificates are verified");
	check_put(&check);
	check_condition(&check);
	check_get(&check);
	check_list(&check);
	check_delete(&check);
	return (Datum) 0;
}

static void
say(Check *check, const char *what, bool ok, const char *detail)
{
	Datum		values[3] = {CStringGetTextDatum(what), BoolGetDatum(ok), CStringGetTextDatum(detail)};
	bool		nulls[3] = {false, false, false};

	tuplestore_putvalues(check->rsinfo->setResult, check->rsinfo->setDesc, values, nulls);
}

/* NULL if it failed, and then that is said. */
static PromTransfer *
try(Check *check, const char *what, const PromTransfer *transfer, const PromRequest *request)
{
	PromRequest usual;
	PromTransfer *answer;
	PromFlight *flight;

	if (check->silent)
		return NULL;
	if (request == NULL)
	{
		prom_request_of(check->bucket, transfer, &usual);
		request = &usual;
	}
	answer = prom_request_run(check->bucket, transfer, request);
	flight = (PromFlight *) answer;
	if (answer->status == PROM_TRANSFER_OK)
		return answer;
	check->silent = flight->http == 0;
	say(check, what, false, psprintf("%s%s%s", prom_transfer_error(answer), flight->hint != NULL ? " " : "",
									 flight->hint != NULL ? flight->hint : ""));
	return NULL;
}

static void
check_clock(Check *check, const PromTransfer *answer)
{
	int64		date = ((const PromFlight *) answer)->date;
	int64		skew = date - time(NULL);

	if (date >= 0)
		say(check, "clock", skew >= -SKEW_TOLERATED_S && skew <= SKEW_TOLERATED_S,
			skew >= -2 && skew <= 2 ? "agrees with ours" :
			psprintf("%lld s %s ours", (long long) (skew < 0 ? -skew : skew), skew < 0 ? "behind" : "ahead of"));
}

static void
check_put(Check *check)
{
	PromTransfer put = {.verb = PROM_VERB_PUT,.key = check->key,.data = check->data,.size = SIZE};
	PromTransfer *answer = try(check, "put", &put, NULL);

	if (answer == NULL)
		return;
	check_clock(check, answer);
	say(check, "put", true, psprintf("%d bytes in %.1f ms", SIZE, answer->micros / 1000.0));
}

/* No failure: it is done without where it cannot be done. */
static void
check_condition(Check *check)
{
	PromTransfer put = {.verb = PROM_VERB_PUT,.key = check->key,.data = check->data,.size = SIZE};
	PromTransfer *answer;
	PromRequest request;

	if (check->silent)
		return;
	prom_request_of(check->bucket, &put, &request);
	prom_request_header(&request, "if-none-match", "*");
	answer = prom_request_run(check->bucket, &put, &request);
	say(check, "put if new", true, answer->status == PROM_TRANSFER_CHANGED ? "is heeded" :
		"is not heeded: of two that write the same object at a time, the later wins");
}

static void
check_get(Check *check)
{
	PromTransfer get = {.verb = PROM_VERB_GET,.key = check->key,.length = -1,.max_size = 2 * SIZE};
	PromTransfer range = {.verb = PROM_VERB_GET,.key = check->key,.offset = RANGE_FIRST,.length = RANGE_LENGTH};
	PromTransfer *answer = try(check, "get", &get, NULL);

	if (answer != NULL)
	{
		bool		same = answer->body_size == SIZE && memcmp(answer->body, check->data, SIZE) == 0;

		say(check, "get", same, same ? psprintf("%d bytes in %.1f ms", SIZE, answer->micros / 1000.0) : "other bytes than were put");
	}
	answer = try(check, "get a range", &range, NULL);
	if (answer != NULL)
	{
		bool		same = memcmp(answer->body, check->data + RANGE_FIRST, RANGE_LENGTH) == 0;

		say(check, "get a range", same, same ? psprintf("%d bytes in %.1f ms", RANGE_LENGTH, answer->micros / 1000.0) :
			"other bytes than were put");
	}
}

/* One page that must have one object; as text, for a listing raises its errors. */
static void
check_list(Check *check)
{
	PromTransfer get = {.verb = PROM_VERB_GET,.length = -1,.max_size = 1024 * 1024};
	PromRequest request = {.method = "GET",.doing = "list",.wants_body = true,.xml_answer = true};
	PromTransfer *answer;
	bool		found;

	prom_request_query(&request, "list-type", "2");
	prom_request_query(&request, "prefix", prom_bucket_full_key(check->bucket, check->key));
	answer = try(check, "list", &get, &request);
	if (answer == NULL)
		return;
	found = answer->body_size > 0;
	if (found)
	{
		answer->body[answer->body_size] = '\0';
		found = strstr(answer->body, "<Contents>") != NULL && strstr(answer->body, check->key) != NULL;
	}
	say(check, "list", found, found ? psprintf("found it in %.1f ms", answer->micros / 1000.0) : "what was just put is not listed");
}

static void
check_delete(Check *check)
{
	PromTransfer delete = {.verb = PROM_VERB_DELETE,.key = check->key};
	PromTransfer head = {.verb = PROM_VERB_HEAD,.key = check->key};
	PromTransfer *answer = try(check, "delete", &delete, NULL);
	PromRequest request;

	if (answer == NULL)
		return;
	prom_request_of(check->bucket, &head, &request);
	answer = prom_request_run(check->bucket, &head, &request);
	say(check, "delete", answer->status == PROM_TRANSFER_NO_OBJECT,
		answer->status == PROM_TRANSFER_NO_OBJECT ? "it is gone" : "it is still there");
}

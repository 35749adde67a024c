/*
 * check.c
 *	  Can this bucket be used?  Tries each verb with an object of its own, and says what is wrong.
 *
 * Nothing raises but what must stop it: a failure is a row.  What cannot be found out after one is a row too, which is
 * neither right nor wrong: after no answer at all nothing more is asked, for it would only take time, and of an
 * object that could not be put nothing can be told.
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
	bool		put;			/* the object is there */
} Check;

PG_FUNCTION_INFO_V1(prom_bucket_check);

static void say(Check *check, const char *what, bool ok, const char *detail);
static void say_unknown(Check *check, const char *what, const char *why);
static bool may_try(Check *check, const char *what, bool needs_object);
static PromTransfer *ask(Check *check, const PromTransfer *transfer, const PromRequest *request);
static bool succeeded(Check *check, const char *what, const PromTransfer *answer);
static const char *failure_of(const PromTransfer *answer);
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

static void
say_unknown(Check *check, const char *what, const char *why)
{
	Datum		values[3] = {CStringGetTextDatum(what), (Datum) 0, CStringGetTextDatum(why)};
	bool		nulls[3] = {false, true, false};

	tuplestore_putvalues(check->rsinfo->setResult, check->rsinfo->setDesc, values, nulls);
}

/* If not, that is said. */
static bool
may_try(Check *check, const char *what, bool needs_object)
{
	if (check->silent)
		say_unknown(check, what, "not tried, as there was no answer before");
	else if (needs_object && !check->put)
		say_unknown(check, what, "not tried, as nothing could be put");
	else
		return true;
	return false;
}

static PromTransfer *
ask(Check *check, const PromTransfer *transfer, const PromRequest *request)
{
	PromRequest usual;
	PromTransfer *answer;

	if (request == NULL)
	{
		prom_request_of(check->bucket, transfer, &usual);
		request = &usual;
	}
	answer = prom_request_run(check->bucket, transfer, request);
	if (answer->status != PROM_TRANSFER_OK)
		check->silent = ((PromFlight *) answer)->http == 0;
	return answer;
}

/* If not, that is said. */
static bool
succeeded(Check *check, const char *what, const PromTransfer *answer)
{
	if (answer->status == PROM_TRANSFER_OK)
		return true;
	say(check, what, false, failure_of(answer));
	return false;
}

static const char *
failure_of(const PromTransfer *answer)
{
	const char *hint = ((const PromFlight *) answer)->hint;

	return psprintf("%s%s%s", prom_transfer_error(answer), hint != NULL ? " " : "", hint != NULL ? hint : "");
}

static void
check_clock(Check *check, const PromTransfer *answer)
{
	int64		date = ((const PromFlight *) answer)->date;
	int64		skew = date - time(NULL);

	if (date < 0)
		say_unknown(check, "clock", check->silent ? "there was no answer to take the time from" : "the answer does not tell the time");
	else
		say(check, "clock", skew >= -SKEW_TOLERATED_S && skew <= SKEW_TOLERATED_S,
			skew >= -2 && skew <= 2 ? "agrees with ours" :
			psprintf("%lld s %s ours", (long long) (skew < 0 ? -skew : skew), skew < 0 ? "behind" : "ahead of"));
}

static void
check_put(Check *check)
{
	PromTransfer put = {.verb = PROM_VERB_PUT,.key = check->key,.data = check->data,.size = SIZE};
	PromTransfer *answer = ask(check, &put, NULL);

	check_clock(check, answer);
	check->put = succeeded(check, "put", answer);
	if (check->put)
		say(check, "put", true, psprintf("%d bytes in %.1f ms", SIZE, answer->micros / 1000.0));
}

/* Not to heed it, or not to know it, is no failure: it is done without where it cannot be done. */
static void
check_condition(Check *check)
{
	const char *what = "put if new";
	PromTransfer put = {.verb = PROM_VERB_PUT,.key = check->key,.data = check->data,.size = SIZE};
	PromTransfer *answer;
	PromRequest request;

	if (!may_try(check, what, true))
		return;
	prom_request_of(check->bucket, &put, &request);
	prom_request_header(&request, "if-none-match", "*");
	answer = ask(check, &put, &request);
	if (answer->status == PROM_TRANSFER_CHANGED)
		say(check, what, true, "is heeded");
	else if (answer->status == PROM_TRANSFER_OK || ((PromFlight *) answer)->http == PROM_HTTP_NOT_IMPLEMENTED)
		say(check, what, true, "is not heeded: of two that write the same object at a time, the later wins");
	else
		say(check, what, false, failure_of(answer));
}

static void
check_get(Check *check)
{
	PromTransfer get = {.verb = PROM_VERB_GET,.key = check->key,.length = -1,.max_size = 2 * SIZE};
	PromTransfer range = {.verb = PROM_VERB_GET,.key = check->key,.offset = RANGE_FIRST,.length = RANGE_LENGTH};
	PromTransfer *answer;

	if (may_try(check, "get", true) && succeeded(check, "get", answer = ask(check, &get, NULL)))
	{
		bool		same = answer->body_size == SIZE && memcmp(answer->body, check->data, SIZE) == 0;

		say(check, "get", same, same ? psprintf("%d bytes in %.1f ms", SIZE, answer->micros / 1000.0) : "other bytes than were put");
	}
	if (may_try(check, "get a range", true) && succeeded(check, "get a range", answer = ask(check, &range, NULL)))
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

	if (!may_try(check, "list", true))
		return;
	prom_request_query(&request, "list-type", "2");
	prom_request_query(&request, "prefix", prom_bucket_full_key(check->bucket, check->key));
	answer = ask(check, &get, &request);
	if (!succeeded(check, "list", answer))
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
	PromTransfer *answer;

	if (!may_try(check, "delete", true) || !succeeded(check, "delete", ask(check, &delete, NULL)))
		return;
	answer = ask(check, &head, NULL);
	if (answer->status == PROM_TRANSFER_NO_OBJECT)
		say(check, "delete", true, "it is gone");
	else if (answer->status == PROM_TRANSFER_OK)
		say(check, "delete", false, "it is still there");
	else
		say_unknown(check, "delete", psprintf("whether it is gone could not be found out: %s", failure_of(answer)));
}

/*
 * plans.c
 *	  Plans of translated queries that a backend is asked again and again, as dashboards do.
 *
 * Planning costs a small query more than running it, and what changes from one refresh of a dashboard to the next
 * is times.  Numbers too large for an int4 are taken out of the SQL and become parameters: they are of type int8
 * as the literals were, so the meaning stays, whatever they stand for.  What the planner needs to know, the days
 * whose partitions are read, the translation writes as quoted literals: those stay in the text, and the next day has
 * another plan.
 *
 * A text is planned for keeping when it is seen again; what comes once is planned with its numbers and forgotten.
 * A plan lives a minute, for it was chosen for tables of some size; that of tables that change their definition
 * or statistics is made anew by PostgreSQL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "promql/sqlgen.h"

#define MOST_KEPT_PLANS 1000
#define SEEN_TEXTS		256
#define PLAN_LIFE_MS	60000
#define MAX_TAKEN		16		/* numbers; more are left where they are */

/* SQL whose large numbers are parameters */
typedef struct Template
{
	StringInfoData text;
	uint64		hash;
	int			n;
	Datum		values[MAX_TAKEN];
	Oid			types[MAX_TAKEN];
} Template;

typedef struct Kept
{
	char	   *text;			/* NULL: the place is free */
	uint64		hash;
	SPIPlanPtr	plan;
	TimestampTz made;
	uint64		used;			/* the greater the later */
} Kept;

int			promql_kept_plans = 32;

static Kept *kept = NULL;		/* MOST_KEPT_PLANS; made when it is needed */
static int	nkept = 0;			/* places ever used */
static uint64 uses = 0;
static uint64 seen[SEEN_TEXTS];

/* The number of a parameter with this value. */
static int
take_number(Template *t, int64 value)
{
	for (int i = 0; i < t->n; i++)
	{
		if (DatumGetInt64(t->values[i]) == value)
			return i + 1;
	}
	if (t->n == MAX_TAKEN)
		return 0;
	t->types[t->n] = INT8OID;
	t->values[t->n] = Int64GetDatum(value);
	return ++t->n;
}

/* The end of what is quoted from *at on; a quote within is doubled, which looks like two texts in a row. */
static const char *
quoted_end(const char *at)
{
	char		quote = *at;

	for (at++; *at != '\0' && *at != quote; at++)
		;
	return *at == '\0' ? at : at + 1;
}

/* The end of a word or number, in which digits are no number of their own. */
static const char *
word_end(const char *at)
{
	while (isalnum((unsigned char) *at) || *at == '_' || *at == '.' || *at == '$' || IS_HIGHBIT_SET(*at))
		at++;
	return at;
}

/* Is [at, end) an integer that is a literal of type int8? */
static bool
is_large(const char *at, const char *end, int64 *value)
{
	*value = 0;
	if (end - at > 18)
		return false;
	for (; at < end; at++)
	{
		if (!isdigit((unsigned char) *at))
			return false;
		*value = *value * 10 + (*at - '0');
	}
	return *value > PG_INT32_MAX;
}

static void
make_template(Template *t, const char *sql)
{
	const char *end;

	t->n = 0;
	initStringInfo(&t->text);
	for (const char *at = sql; *at != '\0'; at = end)
	{
		int64		value;
		int			number = 0;

		if (*at == '\'' || *at == '"')
			end = quoted_end(at);
		else if (isalnum((unsigned char) *at) || *at == '_' || IS_HIGHBIT_SET(*at))
			end = word_end(at);
		else
			end = at + 1;
		/* the minus of a negative number belongs to the literal */
		if (is_large(at, end, &value) && !(at > sql && at[-1] == '-'))
			number = take_number(t, value);
		if (number > 0)
			appendStringInfo(&t->text, "$%d", number);
		else
			appendBinaryStringInfo(&t->text, at, end - at);
	}
	t->hash = hash_bytes_extended((const unsigned char *) t->text.data, t->text.len, 0);
}

static void
forget(Kept *k)
{
	char	   *text = k->text;

	if (text == NULL)
		return;
	k->text = NULL;
	pfree(text);
	SPI_freeplan(k->plan);
}

/* The plan of the text, if one is kept and young. */
static Kept *
find_plan(const Template *t)
{
	for (int i = 0; i < nkept; i++)
	{
		Kept	   *k = &kept[i];

		if (k->text == NULL || k->hash != t->hash || strcmp(k->text, t->text.data) != 0)
			continue;
		if (!TimestampDifferenceExceeds(k->made, GetCurrentTimestamp(), PLAN_LIFE_MS))
			return k;
		forget(k);
	}
	return NULL;
}

/* A free place; what has not been used for longest goes if there are too many. */
static Kept *
find_place(void)
{
	Kept	   *place = NULL;

	if (kept == NULL)
		kept = MemoryContextAllocZero(TopMemoryContext, sizeof(Kept) * MOST_KEPT_PLANS);
	if (nkept < promql_kept_plans)
		return &kept[nkept++];
	for (; nkept > promql_kept_plans; nkept--)
		forget(&kept[nkept - 1]);
	for (int i = 0; i < nkept; i++)
	{
		if (kept[i].text == NULL)
			return &kept[i];
		if (place == NULL || kept[i].used < place->used)
			place = &kept[i];
	}
	forget(place);
	return place;
}

static bool
was_seen(const Template *t)
{
	uint64	   *place = &seen[t->hash % SEEN_TEXTS];
	bool		result = *place == t->hash;

	*place = t->hash;
	return result;
}

/* Prepared now, planned when it is first run. */
static Kept *
keep_plan(Template *t)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(t->text.data, t->n, t->types, CURSOR_OPT_GENERIC_PLAN);
	Kept	   *k;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	k = find_place();
	SPI_keepplan(plan);
	k->plan = plan;
	k->hash = t->hash;
	k->made = GetCurrentTimestamp();
	k->text = MemoryContextStrdup(TopMemoryContext, t->text.data);
	return k;
}

Portal
promql_open_portal(const char *sql)
{
	Template	t;
	Kept	   *k = NULL;
	Portal		portal;

	if (promql_kept_plans > 0)
	{
		make_template(&t, sql);
		k = find_plan(&t);
		if (k == NULL && was_seen(&t))
			k = keep_plan(&t);
	}
	if (k == NULL)
		return SPI_cursor_parse_open(NULL, sql, &(SPIParseOpenOptions) {.read_only = true});
	k->used = ++uses;
	portal = SPI_cursor_open(NULL, k->plan, t.values, NULL, true);
	if (portal == NULL)
		elog(ERROR, "SPI_cursor_open failed: %s", SPI_result_code_string(SPI_result));
	return portal;
}

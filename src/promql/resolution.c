/*
 * resolution.c
 *	  How coarse the data may be that a query reads: promgres.max_source_resolution, and what a request says.
 *
 * Raw samples are the default, as PromQL promises to be exact.  "auto" is a fifth of the step, as Thanos has it:
 * the steps of a picture are further apart than the points it is made of.  A function of a range never reads
 * windows longer than its range, and one that needs two samples none longer than half of it.
 *
 * All this says what may be read where there is a choice.  Where raw samples are gone there is none (segment.c).  Which
 * series retention by selector leaves without samples of a level is told by the rules; a leaf that no rule can mean
 * reads as if there were none.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"

#include "promql/sqlgen.h"
#include "select/select.h"

#define STEPS_OF_AUTO 5			/* windows of a step, at least */

static char *resolution_setting = NULL;
static int64 resolution_ms = PROMQL_RESOLUTION_RAW;
static int	instant_resolution_s = 3600;

/* A time of which some series have none of a level: those that the rules match, or all others. */
typedef struct MixedTime
{
	PromGap	time;
	List	   *rules;			/* Rule * */
} MixedTime;

typedef struct Rule
{
	PromMatcher *matchers;
	int			n;
} Rule;

static List *read_mixed(void);

void
promql_set_resolution(PromqlContext *cx)
{
	const PromqlQuery *q = cx->query;

	cx->levels = prom_levels(&cx->nlevels);
	cx->mixed = cx->nlevels > 1 ? read_mixed() : NIL;
	cx->resolution_ms = q->resolution_ms == PROMQL_RESOLUTION_SETTING ? resolution_ms : q->resolution_ms;
	if (cx->resolution_ms == PROMQL_RESOLUTION_AUTO)
		cx->resolution_ms = q->instant ? instant_resolution_s * INT64CONST(1000) : q->step_ms / STEPS_OF_AUTO;
	cx->resolution_ms = Max(cx->resolution_ms, 0);
}

/* Steps are not closer than what they are to show. */
void
promql_narrow_resolution(PromqlContext *cx)
{
	bool		is_auto = cx->query->resolution_ms == PROMQL_RESOLUTION_AUTO ||
		(cx->query->resolution_ms == PROMQL_RESOLUTION_SETTING && resolution_ms == PROMQL_RESOLUTION_AUTO);

	if (is_auto)
		cx->resolution_ms = cx->steps.step_ms / STEPS_OF_AUTO;
	else
		cx->resolution_ms = Min(cx->resolution_ms, cx->steps.step_ms);
}

/* ---- retention by selector ---- */

/* The selectors in an array of JSON under a key. */
static List *
read_rules(Jsonb *told, const char *key)
{
	JsonbValue	value;
	List	   *rules = NIL;

	if (getKeyJsonValueFromContainer(&told->root, key, strlen(key), &value) == NULL || value.type != jbvBinary)
		return NIL;
	for (uint32 i = 0; i < JsonContainerSize(value.val.binary.data); i++)
	{
		JsonbValue *one = getIthJsonbValueFromContainer(value.val.binary.data, i);
		Rule	   *rule = palloc(sizeof(Rule));

		if (one->type != jbvString)
			continue;
		rule->matchers = promql_parse_selector(pnstrdup(one->val.string.val, one->val.string.len), &rule->n);
		rules = lappend(rules, rule);
	}
	return rules;
}

static List *
read_mixed(void)
{
	int			n;
	PromGap  *mixed = prom_gaps(&n);
	List	   *times = NIL;

	for (int i = 0; i < n; i++)
	{
		MixedTime  *last = times == NIL ? NULL : llast(times);
		MixedTime  *t = palloc(sizeof(MixedTime));
		JsonbValue	all;
		Jsonb	   *told;

		t->time = mixed[i];
		times = lappend(times, t);
		if (t->time.rules == NULL)
		{
			t->rules = NIL;
			continue;
		}
		/* mostly the rules are the same for all */
		if (last && last->time.rules && strcmp(last->time.rules, mixed[i].rules) == 0)
		{
			t->rules = last->rules;
			continue;
		}
		told = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(mixed[i].rules)));
		t->rules = getKeyJsonValueFromContainer(&told->root, "all", 3, &all) && all.type == jbvBool && all.val.boolean ?
			read_rules(told, "stay") : read_rules(told, "gone");
	}
	return times;
}

/* False if what one of them asks of a label is not what the other one asks. */
static bool
may_match_both(const PromqlNode *selector, const Rule *rule)
{
	for (int i = 0; i < selector->nmatchers; i++)
		for (int k = 0; k < rule->n; k++)
		{
			const PromMatcher *a = &selector->matchers[i];
			const PromMatcher *b = &rule->matchers[k];

			if (strcmp(a->name, b->name) != 0)
				continue;
			if ((a->type == PROM_MATCH_EQ && !prom_matcher_test(b, a->value, strlen(a->value))) ||
				(b->type == PROM_MATCH_EQ && !prom_matcher_test(a, b->value, strlen(b->value))))
				return false;
		}
	return true;
}

/* The times that are mixed for a selector; *n of them. */
static PromGap *
mixed_for(const PromqlContext *cx, const PromqlNode *selector, int *n)
{
	PromGap  *mixed = cx->mixed == NIL ? NULL : palloc(sizeof(PromGap) * list_length(cx->mixed));
	ListCell   *lc;

	*n = 0;
	foreach(lc, cx->mixed)
	{
		const MixedTime *t = lfirst(lc);
		ListCell   *rule;

		if (t->time.rules == NULL)
			mixed[(*n)++] = t->time;
		foreach(rule, t->rules)
		{
			if (!may_match_both(selector, lfirst(rule)))
				continue;
			mixed[(*n)++] = t->time;
			break;
		}
	}
	return mixed;
}

/* ---- leaves ---- */

PromSegments *
promql_segments(const PromqlContext *cx, const PromqlNode *selector, PromScanRange range, const char *name, int64 range_ms)
{
	int64		most_ms = cx->resolution_ms;
	int			parts = 1 << PROM_PART_LAST;
	bool		needs_two = false;
	PromGap  *mixed;
	int			nmixed;

	if (cx->nlevels <= 1)
		return NULL;
	if (name)
		parts = prom_window_parts(name, &needs_two);
	if (range_ms > 0)
		most_ms = Min(most_ms, needs_two ? range_ms / 2 : range_ms);
	mixed = mixed_for(cx, selector, &nmixed);
	return prom_segments(cx->levels, cx->nlevels, mixed, nmixed, range, most_ms, parts);
}

/* ---- settings ---- */

/* False if it is none. */
static bool
parse_resolution(const char *value, int64 *ms)
{
	int			seconds;
	const char *hint = NULL;

	*ms = PROMQL_RESOLUTION_RAW;
	if (pg_strcasecmp(value, "raw") == 0)
		return true;
	*ms = PROMQL_RESOLUTION_AUTO;
	if (pg_strcasecmp(value, "auto") == 0)
		return true;
	if (!parse_int(value, &seconds, GUC_UNIT_S, &hint) || seconds < 0)
		return false;
	*ms = seconds > 0 ? seconds * INT64CONST(1000) : PROMQL_RESOLUTION_RAW;
	return true;
}

static bool
check_resolution(char **value, void **extra, GucSource source)
{
	int64		ms;

	if (parse_resolution(*value, &ms))
		return true;
	GUC_check_errdetail("It must be \"raw\", \"auto\" or a time such as \"5min\" or \"1h\".");
	return false;
}

static void
assign_resolution(const char *value, void *extra)
{
	(void) parse_resolution(value, &resolution_ms);
}

void
promql_resolution_init(void)
{
	DefineCustomStringVariable("promgres.max_source_resolution",
							   "How coarse the rollups are at most that a query reads: raw, auto or a time.",
							   "auto is a fifth of the step. Where raw samples are gone, rollups are read in any case.",
							   &resolution_setting, "raw", PGC_USERSET, 0, check_resolution, assign_resolution, NULL);
	DefineCustomIntVariable("promgres.max_source_resolution_instant",
							"The same for an instant query under auto.",
							"0 is raw.",
							&instant_resolution_s, 3600, 0, 86400, PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
}

/*
 * matcher.c
 *	  PromQL's label matchers: = != =~ !~, tested on a value and translated to SQL.
 *
 * An absent label is the empty string, so a matcher that accepts the empty string holds for series
 * without the label.  Regexes match the whole value.
 *
 * In SQL a set of matchers becomes two kinds of conditions on a row of prom.series.  The first kind is
 * for the GIN index on prom._label_pairs(labels): hashes of (name, value) as constants, from which the
 * planner also estimates well.  Equalities and regexes that merely list values give them at once, the others are
 * looked up in prom.label_value now.  Hashes may collide, and a matcher that accepts the empty string
 * or too many values gives none: the second kind tests every matcher on the labels themselves.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/supportnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "common/compat.h"
#include "series/labels.h"

/* More values than this of one label are left to the recheck. */
#define MATCHER_MAX_HASHES 1000

#define MATCHER_FETCH_ROWS 1000

/* That there were too many is remembered, of so many sets of matchers and for so long: looking cost as much as all else. */
#define MATCHER_REMEMBERED 256
#define MATCHER_REMEMBERED_MS 60000

/* Hashes of the values of one label that its matchers accept. */
typedef struct HashList
{
	int32		hash[MATCHER_MAX_HASHES];
	int			n;
	bool		too_many;
} HashList;

/* Matchers of one label that accept too many values */
typedef struct Unselective
{
	uint64		hash;
	TimestampTz found;
} Unselective;

static Unselective unselective[MATCHER_REMEMBERED];

/* What a matcher comes down to when its regex is taken apart. */
typedef enum MatchPlan
{
	PLAN_ALL,					/* holds for every series */
	PLAN_NONE,
	PLAN_IS,					/* label = value, '' included */
	PLAN_IS_NOT,
	PLAN_ONE_OF,				/* a regex that lists non-empty values */
	PLAN_REGEX,
	PLAN_NOT_REGEX
} MatchPlan;

typedef struct PlannedMatcher
{
	const PromMatcher *matcher;
	MatchPlan	plan;
	const char *value;			/* of PLAN_IS and PLAN_IS_NOT */
	List	   *values;			/* of PLAN_ONE_OF: char * */
	bool		resolved;		/* its label has had its turn in the index conditions */
	bool		indexed;		/* and one of them lets no other series through, but for collisions */
} PlannedMatcher;

PG_FUNCTION_INFO_V1(prom_label_eq);
PG_FUNCTION_INFO_V1(prom_label_re);
PG_FUNCTION_INFO_V1(prom_label_ne);
PG_FUNCTION_INFO_V1(prom_label_nre);
PG_FUNCTION_INFO_V1(prom_label_support);
PG_FUNCTION_INFO_V1(prom_series_where);

static PromMatchType match_type(const char *op);
static PromRegex *compile(const char *pattern, int len);
static PlannedMatcher plan_matcher(const PromMatcher *m);
static bool listed_values(const char *pattern, List **values);
static bool append_index_conditions(StringInfo out, const char *alias, PlannedMatcher *p, int n);
static bool accepts_absent(const PlannedMatcher *p);
static void collect_hashes(const PlannedMatcher *p, int n, const char *name, HashList *list);
static void look_up_hashes(const PlannedMatcher *p, int n, const char *name, HashList *list);
static bool all_accept(const PlannedMatcher *p, int n, const char *name, const char *value, int len);
static void add_hash(HashList *list, const char *name, const char *value, int value_len);
static void append_hashes(StringInfo out, const char *alias, const char *op, HashList *list);
static void append_recheck(StringInfo out, const char *alias, const PlannedMatcher *p);
static void append_and(StringInfo out, int start);

bool
prom_matcher_accepts_empty(const PromMatcher *m)
{
	return prom_matcher_test(m, "", 0);
}

bool
prom_matcher_test(const PromMatcher *m, const char *value, int value_len)
{
	int			len = strlen(m->value);

	switch (m->type)
	{
		case PROM_MATCH_EQ:
			return len == value_len && memcmp(m->value, value, len) == 0;
		case PROM_MATCH_NE:
			return len != value_len || memcmp(m->value, value, len) != 0;
		case PROM_MATCH_RE:
			return prom_regex_match(compile(m->value, len), value, value_len);
		case PROM_MATCH_NRE:
			return !prom_regex_match(compile(m->value, len), value, value_len);
	}
	elog(ERROR, "unknown matcher type %d", (int) m->type);
}

void
prom_matchers_sql(StringInfo out, const char *alias, const PromMatcher *m, int n)
{
	PlannedMatcher *p = palloc(Max(n, 1) * sizeof(PlannedMatcher));
	int			start = out->len;
	bool		possible = true;

	for (int i = 0; i < n; i++)
	{
		p[i] = plan_matcher(&m[i]);
		possible &= p[i].plan != PLAN_NONE;
	}
	if (possible)
		possible = append_index_conditions(out, alias, p, n);
	if (!possible)
	{
		out->len = start;
		appendStringInfoString(out, "false");
		return;
	}
	/* tests that tell series apart come first: the planner keeps this order */
	for (int i = 0; i < 2 * n; i++)
	{
		const PlannedMatcher *one = &p[i % n];

		if (one->plan == PLAN_ALL || one->indexed != (i >= n))
			continue;
		append_and(out, start);
		append_recheck(out, alias, one);
	}
	if (out->len == start)
		appendStringInfoString(out, "true");
}

Datum
prom_label_eq(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	text	   *name = PG_GETARG_TEXT_PP(1);
	text	   *wanted = PG_GETARG_TEXT_PP(2);
	const char *value = "";
	int			len = 0;

	(void) prom_labels_get(l, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), &value, &len);
	PG_RETURN_BOOL(len == VARSIZE_ANY_EXHDR(wanted) && memcmp(value, VARDATA_ANY(wanted), len) == 0);
}

Datum
prom_label_re(PG_FUNCTION_ARGS)
{
	PromLabels *l = PG_GETARG_PROM_LABELS_P(0);
	text	   *name = PG_GETARG_TEXT_PP(1);
	text	   *pattern = PG_GETARG_TEXT_PP(2);
	PromRegex  *re = compile(VARDATA_ANY(pattern), VARSIZE_ANY_EXHDR(pattern));
	const char *value = "";
	int			len = 0;

	(void) prom_labels_get(l, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), &value, &len);
	PG_RETURN_BOOL(prom_regex_match(re, value, len));
}

Datum
prom_label_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!DatumGetBool(prom_label_eq(fcinfo)));
}

Datum
prom_label_nre(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!DatumGetBool(prom_label_re(fcinfo)));
}

/*
 * What the planner is told of these tests.  How many series have a label is known from the condition on
 * pairs, for which there are statistics; the test behind it takes away next to none.  Those without such a
 * condition mostly let most through.
 */
Datum
prom_label_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (!IsA(request, SupportRequestSelectivity))
		PG_RETURN_POINTER(NULL);
	((SupportRequestSelectivity *) request)->selectivity = 0.9;
	PG_RETURN_POINTER(request);
}

PromMatcher *
prom_matchers_from_arrays(ArrayType *ops, ArrayType *names, ArrayType *values, int *count)
{
	ArrayType  *arrays[] = {ops, names, values};
	Datum	   *fields[3];
	int			n[3];
	PromMatcher *m;

	for (int i = 0; i < 3; i++)
	{
		if (array_contains_nulls(arrays[i]))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("matchers must not be null")));
		deconstruct_array(arrays[i], TEXTOID, -1, false, TYPALIGN_INT, &fields[i], NULL, &n[i]);
	}
	if (n[0] != n[1] || n[0] != n[2])
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("arrays of matchers must have the same length")));
	m = palloc(Max(n[0], 1) * sizeof(PromMatcher));
	for (int i = 0; i < n[0]; i++)
	{
		m[i].type = match_type(TextDatumGetCString(fields[0][i]));
		m[i].name = TextDatumGetCString(fields[1][i]);
		m[i].value = TextDatumGetCString(fields[2][i]);
	}
	*count = n[0];
	return m;
}

/* The condition of prom_matchers_sql on a row "s", for matchers given as three arrays. */
Datum
prom_series_where(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	PromMatcher *m;
	int			n;

	m = prom_matchers_from_arrays(PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_ARRAYTYPE_P(1), PG_GETARG_ARRAYTYPE_P(2), &n);
	initStringInfo(&out);
	prom_matchers_sql(&out, "s", m, n);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

static PromMatchType
match_type(const char *op)
{
	static const char *const ops[] = {
		[PROM_MATCH_EQ] = "=", [PROM_MATCH_NE] = "!=", [PROM_MATCH_RE] = "=~", [PROM_MATCH_NRE] = "!~"
	};

	for (int i = 0; i < lengthof(ops); i++)
	{
		if (strcmp(op, ops[i]) == 0)
			return (PromMatchType) i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown matcher operator \"%s\"", op),
			 errhint("Operators are =, !=, =~ and !~.")));
}

static PromRegex *
compile(const char *pattern, int len)
{
	char	   *reason;
	PromRegex  *re = prom_regex_get(pattern, len, &reason);

	if (re == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
				 errmsg("invalid regular expression: %s", reason)));
	return re;
}

static PlannedMatcher
plan_matcher(const PromMatcher *m)
{
	PlannedMatcher p = {m, PLAN_REGEX, m->value, NIL, false, false};
	bool		negative = m->type == PROM_MATCH_NE || m->type == PROM_MATCH_NRE;

	if (m->type == PROM_MATCH_EQ || m->type == PROM_MATCH_NE)
		p.plan = negative ? PLAN_IS_NOT : PLAN_IS;
	else if (strcmp(m->value, ".*") == 0)
		p.plan = negative ? PLAN_NONE : PLAN_ALL;
	else if (strcmp(m->value, ".+") == 0)
	{
		p.plan = negative ? PLAN_IS : PLAN_IS_NOT;
		p.value = "";
	}
	else
	{
		(void) compile(m->value, strlen(m->value));
		p.plan = negative ? PLAN_NOT_REGEX : PLAN_REGEX;
		if (!listed_values(m->value, &p.values))
			p.values = NIL;
		else if (list_length(p.values) == 1)
		{
			p.plan = negative ? PLAN_IS_NOT : PLAN_IS;
			p.value = linitial(p.values);
		}
		else if (!negative && !prom_matcher_accepts_empty(m))
			p.plan = PLAN_ONE_OF;
	}
	return p;
}

/* The values of a pattern like "a|b\.c", in one pair of parentheses or none; false if it is not one. */
static bool
listed_values(const char *pattern, List **values)
{
	int			len = strlen(pattern);
	StringInfoData value;

	*values = NIL;
	if (len >= 2 && pattern[0] == '(' && pattern[len - 1] == ')')
	{
		bool		plain_group = strncmp(pattern, "(?:", 3) == 0;

		len -= plain_group ? 4 : 2;
		pattern += plain_group ? 3 : 1;
	}
	initStringInfo(&value);
	for (int i = 0; i <= len; i++)
	{
		char		c = pattern[i];

		if (i == len || c == '|')
		{
			*values = lappend(*values, pnstrdup(value.data, value.len));
			resetStringInfo(&value);
		}
		else if (c == '\\')
		{
			/* An escaped mark is itself; letters and digits mean something else. */
			if (++i >= len || IS_HIGHBIT_SET(pattern[i]) || !ispunct((unsigned char) pattern[i]))
				return false;
			appendStringInfoChar(&value, pattern[i]);
		}
		else if (strchr(".+*?()[]{}^$", c))
			return false;
		else
			appendStringInfoChar(&value, c);
	}
	return true;
}

/*
 * Conditions on the hashed pairs: one for all equalities, one per label of the other matchers that need the label
 * to be there.  False if no series can satisfy them.
 */
static bool
append_index_conditions(StringInfo out, const char *alias, PlannedMatcher *p, int n)
{
	HashList   *list = palloc(sizeof(HashList));
	int			start = out->len;

	list->n = 0;
	list->too_many = false;
	for (int i = 0; i < n; i++)
	{
		const char *name = p[i].matcher->name;

		if (p[i].plan != PLAN_IS || p[i].value[0] == '\0')
			continue;
		add_hash(list, name, p[i].value, strlen(p[i].value));
		p[i].indexed = true;
		for (int j = 0; j < n; j++)
			p[j].resolved |= strcmp(p[j].matcher->name, name) == 0;
	}
	if (list->n > 0 && !list->too_many)
		append_hashes(out, alias, "@>", list);

	for (int i = 0; i < n; i++)
	{
		const char *name = p[i].matcher->name;

		if (p[i].resolved || accepts_absent(&p[i]))
			continue;
		for (int j = 0; j < n; j++)
			p[j].resolved |= strcmp(p[j].matcher->name, name) == 0;
		collect_hashes(p, n, name, list);
		if (list->too_many)
			continue;
		if (list->n == 0)
			return false;
		for (int j = 0; j < n; j++)
			p[j].indexed |= strcmp(p[j].matcher->name, name) == 0;
		append_and(out, start);
		append_hashes(out, alias, "&&", list);
	}
	pfree(list);
	return true;
}

static bool
accepts_absent(const PlannedMatcher *p)
{
	if (p->plan == PLAN_ALL)
		return true;
	return prom_matcher_accepts_empty(p->matcher);
}

/* The values of one label that satisfy all its matchers, at least one of which needs it to be there. */
static void
collect_hashes(const PlannedMatcher *p, int n, const char *name, HashList *list)
{
	list->n = 0;
	list->too_many = false;
	for (int i = 0; i < n; i++)
	{
		ListCell   *lc;

		if (p[i].plan != PLAN_ONE_OF || strcmp(p[i].matcher->name, name) != 0)
			continue;
		foreach(lc, p[i].values)
		{
			const char *value = lfirst(lc);

			if (all_accept(p, n, name, value, strlen(value)))
				add_hash(list, name, value, strlen(value));
		}
		return;
	}
	/* what labels there are is known only to those who see all series */
	if (prom_series_restricted())
		list->too_many = true;
	else
		look_up_hashes(p, n, name, list);
}

/* The place of what is remembered of a label and all its matchers, and their hash. */
static Unselective *
find_unselective(const PlannedMatcher *p, int n, const char *name, uint64 *hash)
{
	*hash = hash_bytes_extended((const unsigned char *) name, strlen(name), 0);
	for (int i = 0; i < n; i++)
	{
		const PromMatcher *m = p[i].matcher;

		if (strcmp(m->name, name) == 0)
			*hash = hash_bytes_extended((const unsigned char *) m->value, strlen(m->value), *hash + m->type);
	}
	return &unselective[*hash % MATCHER_REMEMBERED];
}

static void
look_up_hashes(const PlannedMatcher *p, int n, const char *name, HashList *list)
{
	Oid			types[] = {TEXTOID};
	Datum		args[] = {CStringGetTextDatum(name)};
	Portal		portal;
	uint64		hash;
	Unselective *known = find_unselective(p, n, name, &hash);

	if (known->hash == hash && !TimestampDifferenceExceeds(known->found, GetCurrentTimestamp(), MATCHER_REMEMBERED_MS))
	{
		list->too_many = true;
		return;
	}
	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL,
									   "SELECT value FROM prom._label_value WHERE name OPERATOR(pg_catalog.=) $1",
									   1, types, args, NULL, true, 0);
	do
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, MATCHER_FETCH_ROWS);
		for (uint64 i = 0; i < SPI_processed && !list->too_many; i++)
		{
			bool		isnull;
			Datum		d = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
			text	   *value = DatumGetTextPP(d);

			if (all_accept(p, n, name, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)))
				add_hash(list, name, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
		}
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0 && !list->too_many);
	SPI_cursor_close(portal);
	SPI_finish();
	if (list->too_many)
		*known = (Unselective) {hash, GetCurrentTimestamp()};
}

static bool
all_accept(const PlannedMatcher *p, int n, const char *name, const char *value, int len)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(p[i].matcher->name, name) == 0 && !prom_matcher_test(p[i].matcher, value, len))
			return false;
	}
	return true;
}

static void
add_hash(HashList *list, const char *name, const char *value, int value_len)
{
	if (list->n == MATCHER_MAX_HASHES)
		list->too_many = true;
	else
		list->hash[list->n++] = prom_pair_hash(name, strlen(name), value, value_len);
}

static int
compare_hashes(const void *a, const void *b)
{
	int32		ha = *(const int32 *) a;
	int32		hb = *(const int32 *) b;

	return (ha > hb) - (ha < hb);
}

/*
 * In order and once each: the same matchers give the same text.  Who is subject to row security cannot use the
 * index, as its operators might tell of rows before the policy has let them through; a function uses it for him.
 */
static void
append_hashes(StringInfo out, const char *alias, const char *op, HashList *list)
{
	bool		restricted = prom_series_restricted();

	qsort(list->hash, list->n, sizeof(int32), compare_hashes);
	if (restricted)
		appendStringInfo(out, "(%s.shard, %s.sid) IN (SELECT v.shard, v.sid FROM prom._visible_series('{", alias, alias);
	else
		appendStringInfo(out, "prom._label_pairs(%s.labels) OPERATOR(pg_catalog.%s) '{", alias, op);
	for (int i = 0; i < list->n; i++)
	{
		if (i == 0 || list->hash[i] != list->hash[i - 1])
			appendStringInfo(out, "%s%d", i > 0 ? "," : "", list->hash[i]);
	}
	appendStringInfoString(out, "}'::pg_catalog.int4[]");
	if (restricted)
		appendStringInfo(out, ", %s) AS v)", strcmp(op, "@>") == 0 ? "true" : "false");
}

static void
append_recheck(StringInfo out, const char *alias, const PlannedMatcher *p)
{
	bool		is_regex = p->plan >= PLAN_ONE_OF;
	bool		negative = p->plan == PLAN_IS_NOT || p->plan == PLAN_NOT_REGEX;
	const char *operand = is_regex ? p->matcher->value : p->value;

	appendStringInfo(out, "prom.%s(%s.labels, %s, %s)",
					 is_regex ? (negative ? "_label_nre" : "_label_re") : (negative ? "_label_ne" : "_label_eq"), alias,
					 quote_literal_cstr(p->matcher->name), quote_literal_cstr(operand));
}

static void
append_and(StringInfo out, int start)
{
	if (out->len > start)
		appendStringInfoString(out, " AND ");
}

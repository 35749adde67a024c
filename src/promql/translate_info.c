/*
 * translate_info.c
 *	  Tree -> SQL: info, which adds labels of info series to the series of a vector.
 *
 * Info series are looked up as an instant selector does it, at the times of the first selector in the vector;
 * of their samples only the times matter.  They meet the vector's series where instance and job are equal,
 * in one aggregate for each such pair of values.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "promql/sqlgen.h"

#define IDENTITY "'{instance,job}'::pg_catalog.text[]"

static PromqlNode *info_selector(const PromqlNode *vector, const PromqlNode *labels);
static const PromqlNode *first_selector(const PromqlNode *node);
static char *is_info_sql(const PromqlNode *info);

PromqlVector
promql_info_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlNode *vector = linitial(node->args);
	PromqlNode *labels = list_length(node->args) > 1 ? lsecond(node->args) : NULL;
	PromqlNode *info = info_selector(vector, labels);
	PromqlVector x = promql_vector_sql(cx, vector);
	PromqlNames names = x.names;
	List	   *wanted = NIL;
	bool		required = false;

	for (int i = 0; labels && i < labels->nmatchers; i++)
	{
		const PromMatcher *m = &labels->matchers[i];

		if (strcmp(m->name, "__name__") == 0)
			continue;
		wanted = lappend(wanted, m->name);
		required = required || !prom_matcher_accepts_empty(m);
	}
	x.sql = psprintf("SELECT u.labels, u.vals\n"
					 "FROM (\n"
					 "SELECT prom._info(b.is_info, b.is_lookup, b.labels, b.vals, %s, %s) AS found\n"
					 "FROM (\n"
					 "SELECT %s AS is_info, false AS is_lookup, prom._labels_keep(x.labels, " IDENTITY ") AS sig, x.labels, x.vals\n"
					 "FROM (\n%s) AS x\n"
					 "UNION ALL\n"
					 "SELECT true AS is_info, true AS is_lookup, prom._labels_keep(i.labels, " IDENTITY ") AS sig, i.labels, i.vals\n"
					 "FROM (\n%s) AS i) AS b\n"
					 "GROUP BY b.sig) AS f\n"
					 "CROSS JOIN LATERAL pg_catalog.unnest(f.found) AS u(labels, vals)",
					 promql_text_array(wanted, NULL), required ? "true" : "false", is_info_sql(info), x.sql,
					 promql_selector_sql(cx, info, "timestamp").sql);
	x.names = PROMQL_NAMES_MANY;
	x = promql_check_names(x, true);
	x.names = names;
	return x;
}

/* Of target_info, unless the labels name others; to say only what they are not leaves all that end in _info. */
static PromqlNode *
info_selector(const PromqlNode *vector, const PromqlNode *labels)
{
	const PromqlNode *first = first_selector(vector);
	PromqlNode *info = palloc0(sizeof(PromqlNode));
	PromMatcher *name;
	bool		named = false;
	bool		positive = false;

	info->tag = PROMQL_SELECTOR;
	info->type = PROMQL_VECTOR;
	if (first)
	{
		info->at = first->at;
		info->at_ms = first->at_ms;
		info->offset_ms = first->offset_ms;
	}
	info->matchers = palloc_array(PromMatcher, (labels ? labels->nmatchers : 0) + 1);
	name = &info->matchers[info->nmatchers++];
	for (int i = 0; labels && i < labels->nmatchers; i++)
	{
		const PromMatcher *m = &labels->matchers[i];

		info->matchers[info->nmatchers++] = *m;
		if (strcmp(m->name, "__name__") != 0)
			continue;
		named = true;
		positive = positive || m->type == PROM_MATCH_EQ || m->type == PROM_MATCH_RE;
	}
	name->name = "__name__";
	name->type = named ? PROM_MATCH_RE : PROM_MATCH_EQ;
	name->value = !named ? "target_info" : positive ? ".+" : ".+_info";
	return info;
}

static const PromqlNode *
first_selector(const PromqlNode *node)
{
	const PromqlNode *found = NULL;
	ListCell   *lc;

	check_stack_depth();
	if (node == NULL || node->tag == PROMQL_SELECTOR)
		return node;
	foreach(lc, node->args)
	{
		found = first_selector(lfirst(lc));
		if (found)
			return found;
	}
	found = first_selector(node->left);
	return found ? found : first_selector(node->right);
}

/* Is a row of the vector a series of the info metrics themselves? */
static char *
is_info_sql(const PromqlNode *info)
{
	StringInfoData out;
	const char *separator = "";

	initStringInfo(&out);
	for (int i = 0; i < info->nmatchers; i++)
	{
		const PromMatcher *m = &info->matchers[i];
		bool		regex = m->type == PROM_MATCH_RE || m->type == PROM_MATCH_NRE;

		if (strcmp(m->name, "__name__") != 0)
			continue;
		appendStringInfo(&out, "%s%sprom._label_%s(x.labels, '__name__', %s)", separator,
						 m->type == PROM_MATCH_NE || m->type == PROM_MATCH_NRE ? "NOT " : "", regex ? "re" : "eq",
						 quote_literal_cstr(m->value));
		separator = " AND ";
	}
	return out.data;
}

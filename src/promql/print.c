/*
 * print.c
 *	  Tree -> canonical text, on one line; parsing it gives the same tree.
 *
 * Parentheses are nodes, so none are added.  A name that would not be read back as one stands in
 * quotes inside the braces.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/float.h"

#include "promql/parse.h"

static void print(StringInfo out, const PromqlNode *node);
static void print_selector(StringInfo out, const PromqlNode *node);
static void print_modifiers(StringInfo out, const PromqlNode *node);
static void print_binary(StringInfo out, const PromqlNode *node);
static void print_fill(StringInfo out, const PromqlNode *node);
static void print_call(StringInfo out, const PromqlNode *node);
static void print_aggregate(StringInfo out, const PromqlNode *node);
static void print_labels(StringInfo out, const char *keyword, const List *labels);
static void print_text(StringInfo out, const char *text);
static void print_number(StringInfo out, double number);
static void print_duration(StringInfo out, int64 ms);
static void print_range(StringInfo out, int64 ms, const PromqlNode *expr);
static bool is_label_name(const char *name);
static bool is_metric_name(const char *name);
static bool is_number(const char *name);

char *
promql_print(const PromqlNode *node)
{
	StringInfoData out;

	initStringInfo(&out);
	print(&out, node);
	return out.data;
}

const char *
promql_op_name(PromqlOp op)
{
	static const char *const names[] =
	{
		"+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", "<=", ">", ">=", "</", ">/",
		"and", "or", "unless"
	};

	return names[op];
}

const char *
promql_agg_name(PromqlAgg agg)
{
	static const char *const names[] =
	{
		"sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk",
		"count_values", "quantile", "limitk", "limit_ratio"
	};

	return names[agg];
}

const char *
promql_type_name(PromqlType type)
{
	static const char *const names[] = {"scalar", "instant vector", "range vector", "string"};

	return names[type];
}

static void
print(StringInfo out, const PromqlNode *node)
{
	check_stack_depth();

	switch (node->tag)
	{
		case PROMQL_NUMBER:
			if (node->is_duration)
				print_duration(out, (int64) round(node->number * 1000));
			else
				print_number(out, node->number);
			break;
		case PROMQL_TEXT:
			print_text(out, node->text);
			break;
		case PROMQL_SELECTOR:
			print_selector(out, node);
			print_modifiers(out, node);
			break;
		case PROMQL_SUBQUERY:
			print(out, node->left);
			promql_print_window(out, node);
			break;
		case PROMQL_UNARY:
			appendStringInfoString(out, promql_op_name(node->op));
			print(out, node->left);
			break;
		case PROMQL_BINARY:
			print_binary(out, node);
			break;
		case PROMQL_CALL:
			print_call(out, node);
			break;
		case PROMQL_AGGREGATE:
			print_aggregate(out, node);
			break;
		case PROMQL_PAREN:
			appendStringInfoChar(out, '(');
			print(out, node->left);
			appendStringInfoChar(out, ')');
			break;
	}
}

static void
print_selector(StringInfo out, const PromqlNode *node)
{
	static const char *const operators[] = {"=", "!=", "=~", "!~"};
	bool		outside = node->name && is_metric_name(node->name);
	bool		named = false;
	int			printed = 0;

	if (outside)
		appendStringInfoString(out, node->name);
	for (int i = 0; i < node->nmatchers; i++)
	{
		const PromMatcher *m = &node->matchers[i];
		bool		is_name = false;

		if (node->name && !named && m->type == PROM_MATCH_EQ && strcmp(m->name, "__name__") == 0 &&
			strcmp(m->value, node->name) == 0)
			is_name = named = true;
		if (is_name && outside)
			continue;

		appendStringInfoChar(out, printed++ ? ',' : '{');
		if (!is_name)
		{
			if (is_label_name(m->name))
				appendStringInfoString(out, m->name);
			else
				print_text(out, m->name);
			appendStringInfoString(out, operators[m->type]);
		}
		print_text(out, m->value);
	}
	if (printed)
		appendStringInfoChar(out, '}');
	else if (!outside)
		appendStringInfoString(out, "{}");
	if (node->type == PROMQL_MATRIX)
	{
		appendStringInfoChar(out, '[');
		print_range(out, node->range_ms, node->range_expr);
		appendStringInfoChar(out, ']');
	}
}

/* What follows the expression of a subquery. */
void
promql_print_window(StringInfo out, const PromqlNode *node)
{
	appendStringInfoChar(out, '[');
	print_range(out, node->range_ms, node->range_expr);
	appendStringInfoChar(out, ':');
	if (node->step_ms || node->step_expr)
		print_range(out, node->step_ms, node->step_expr);
	appendStringInfoChar(out, ']');
	print_modifiers(out, node);
}

static void
print_modifiers(StringInfo out, const PromqlNode *node)
{
	if (node->anchored || node->smoothed)
		appendStringInfoString(out, node->anchored ? " anchored" : " smoothed");
	switch (node->at)
	{
		case PROMQL_AT_NONE:
			break;
		case PROMQL_AT_TIME:
			appendStringInfo(out, " @ %.3f", node->at_ms / 1000.0);
			break;
		case PROMQL_AT_START:
			appendStringInfoString(out, " @ start()");
			break;
		case PROMQL_AT_END:
			appendStringInfoString(out, " @ end()");
			break;
	}
	if (node->offset_ms || node->offset_expr)
	{
		appendStringInfoString(out, " offset ");
		print_range(out, node->offset_ms, node->offset_expr);
	}
}

static void
print_binary(StringInfo out, const PromqlNode *node)
{
	print(out, node->left);
	appendStringInfoChar(out, ' ');
	promql_print_operator(out, node);
	appendStringInfoChar(out, ' ');
	print(out, node->right);
}

/* A binary operator and how it matches. */
void
promql_print_operator(StringInfo out, const PromqlNode *node)
{
	bool		grouped = node->card == PROMQL_MANY_TO_ONE || node->card == PROMQL_ONE_TO_MANY;

	appendStringInfoString(out, promql_op_name(node->op));
	if (node->returns_bool)
		appendStringInfoString(out, " bool");
	/* ignoring nothing is what happens without it */
	if (node->has_matching && (node->on || node->labels || grouped))
	{
		appendStringInfoChar(out, ' ');
		print_labels(out, node->on ? "on" : "ignoring", node->labels);
	}
	if (grouped)
	{
		appendStringInfoChar(out, ' ');
		print_labels(out, node->card == PROMQL_MANY_TO_ONE ? "group_left" : "group_right", node->include);
	}
	print_fill(out, node);
}

static void
print_fill(StringInfo out, const PromqlNode *node)
{
	if (node->has_fill_left && node->has_fill_right && float8_eq(node->fill_left, node->fill_right))
	{
		appendStringInfoString(out, " fill (");
		print_number(out, node->fill_left);
		appendStringInfoString(out, ")");
		return;
	}
	if (node->has_fill_left)
	{
		appendStringInfoString(out, " fill_left (");
		print_number(out, node->fill_left);
		appendStringInfoString(out, ")");
	}
	if (node->has_fill_right)
	{
		appendStringInfoString(out, " fill_right (");
		print_number(out, node->fill_right);
		appendStringInfoString(out, ")");
	}
}

static void
print_call(StringInfo out, const PromqlNode *node)
{
	ListCell   *lc;

	appendStringInfo(out, "%s(", node->function->name);
	foreach(lc, node->args)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(out, ", ");
		print(out, lfirst(lc));
	}
	appendStringInfoChar(out, ')');
}

/* An aggregation up to its parenthesis. */
void
promql_print_grouping(StringInfo out, const PromqlNode *node)
{
	appendStringInfoString(out, promql_agg_name(node->agg));
	if (node->without || node->labels)
	{
		appendStringInfoChar(out, ' ');
		print_labels(out, node->without ? "without" : "by", node->labels);
		appendStringInfoChar(out, ' ');
	}
}

static void
print_aggregate(StringInfo out, const PromqlNode *node)
{
	promql_print_grouping(out, node);
	appendStringInfoChar(out, '(');
	if (node->param)
	{
		print(out, node->param);
		appendStringInfoString(out, ", ");
	}
	print(out, node->left);
	appendStringInfoChar(out, ')');
}

static void
print_labels(StringInfo out, const char *keyword, const List *labels)
{
	ListCell   *lc;

	appendStringInfo(out, "%s (", keyword);
	foreach(lc, labels)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(out, ", ");
		if (is_label_name(lfirst(lc)) && !is_number(lfirst(lc)))
			appendStringInfoString(out, lfirst(lc));
		else
			print_text(out, lfirst(lc));
	}
	appendStringInfoChar(out, ')');
}

static void
print_text(StringInfo out, const char *text)
{
	appendStringInfoString(out, promql_quote(text, strlen(text)));
}

/* The shortest digits that give the number back, never with an exponent */
static void
print_number(StringInfo out, double number)
{
	char		buf[DOUBLE_SHORTEST_DECIMAL_LEN];
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];
	int			ndigits = 0;
	int			point = -1;		/* digits before the decimal point */
	int			exponent = 0;

	if (isnan(number))
	{
		appendStringInfoString(out, "NaN");
		return;
	}
	if (isinf(number))
	{
		appendStringInfoString(out, number > 0 ? "+Inf" : "-Inf");
		return;
	}

	double_to_shortest_decimal_buf(fabs(number), buf);
	for (char *p = buf; *p; p++)
	{
		if (*p == 'e')
		{
			exponent = atoi(p + 1);
			break;
		}
		if (*p == '.')
			point = ndigits;
		else
			digits[ndigits++] = *p;
	}
	point = (point < 0 ? ndigits : point) + exponent;

	if (signbit(number))
		appendStringInfoChar(out, '-');
	if (point <= 0)
	{
		appendStringInfoString(out, "0.");
		for (int i = point; i < 0; i++)
			appendStringInfoChar(out, '0');
	}
	for (int i = 0; i < Max(ndigits, point); i++)
	{
		if (i == point && i > 0)
			appendStringInfoChar(out, '.');
		appendStringInfoChar(out, i < ndigits ? digits[i] : '0');
	}
}

/* A duration as it is known, or how it is computed */
static void
print_range(StringInfo out, int64 ms, const PromqlNode *expr)
{
	if (expr)
		print(out, expr);
	else
		print_duration(out, ms);
}

/* Years and weeks only if nothing is left of them: 90d reads better than 12w6d. */
static void
print_duration(StringInfo out, int64 ms)
{
	static const struct
	{
		const char *unit;
		int64		ms;
		bool		exact;
	}			units[] =
	{
		{"y", INT64CONST(365) * 24 * 3600 * 1000, true},
		{"w", INT64CONST(7) * 24 * 3600 * 1000, true},
		{"d", INT64CONST(24) * 3600 * 1000, false},
		{"h", INT64CONST(3600) * 1000, false},
		{"m", INT64CONST(60) * 1000, false},
		{"s", INT64CONST(1000), false},
		{"ms", INT64CONST(1), false},
	};

	if (ms < 0)
	{
		appendStringInfoChar(out, '-');
		ms = -ms;
	}
	if (ms == 0)
		appendStringInfoString(out, "0s");
	for (int i = 0; i < lengthof(units); i++)
	{
		if (ms < units[i].ms || (units[i].exact && ms % units[i].ms != 0))
			continue;
		appendStringInfo(out, INT64_FORMAT "%s", ms / units[i].ms, units[i].unit);
		ms %= units[i].ms;
	}
}

static bool
is_label_name(const char *name)
{
	if (*name == '\0' || (*name >= '0' && *name <= '9'))
		return false;
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == '\0';
}

/* Would the scanner and the grammar take it for one? */
static bool
is_metric_name(const char *name)
{
	static const char *const reserved[] =
	{
		"bool", "on", "ignoring", "group_left", "group_right", "atan2"
	};

	if (*name == '\0' || (*name >= '0' && *name <= '9') || is_number(name))
		return false;
	for (int i = 0; i < lengthof(reserved); i++)
	{
		if (pg_strcasecmp(name, reserved[i]) == 0)
			return false;
	}
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:")] == '\0';
}

/* A name that is none outside of braces */
static bool
is_number(const char *name)
{
	return pg_strcasecmp(name, "inf") == 0 || pg_strcasecmp(name, "nan") == 0;
}

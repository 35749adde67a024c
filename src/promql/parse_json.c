/*
 * parse_json.c
 *	  Tree -> JSON, in the shape of Prometheus' /api/v1/parse_query.
 *
 * Times and durations are milliseconds.  What the tree does not have is null, never left out; lists that
 * are empty are empty.  Vector matching is told of operators between two vectors only.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/json.h"

#include "promql/ast.h"

static void append(StringInfo out, const PromqlNode *node);
static void append_selector(StringInfo out, const PromqlNode *node);
static void append_matchers(StringInfo out, const PromqlNode *node);
static void append_when(StringInfo out, const PromqlNode *node);
static void append_time(StringInfo out, const char *key, int64 ms, const PromqlNode *expr);
static void append_duration(StringInfo out, const PromqlNode *node, bool wrapped);
static void append_binary(StringInfo out, const PromqlNode *node);
static void append_matching(StringInfo out, const PromqlNode *node);
static void append_fill(StringInfo out, bool has_fill, double fill);
static void append_call(StringInfo out, const PromqlNode *node);
static void append_aggregate(StringInfo out, const PromqlNode *node);
static void append_list(StringInfo out, const List *texts);
static const char *bool_text(bool b);

char *
promql_json(const PromqlNode *node)
{
	StringInfoData out;

	initStringInfo(&out);
	append(&out, node);
	return out.data;
}

/* An object {"type":..., ...}, or null. */
static void
append(StringInfo out, const PromqlNode *node)
{
	PromqlNode	plain;

	check_stack_depth();
	if (node == NULL)
	{
		appendStringInfoString(out, "null");
		return;
	}
	switch (node->tag)
	{
		case PROMQL_NUMBER:
			plain = *node;
			plain.is_duration = false;
			appendStringInfo(out, "{\"type\":\"numberLiteral\",\"val\":\"%s\"}", promql_print(&plain));
			break;
		case PROMQL_TEXT:
			appendStringInfoString(out, "{\"type\":\"stringLiteral\",\"val\":");
			escape_json(out, node->text);
			appendStringInfoChar(out, '}');
			break;
		case PROMQL_SELECTOR:
			append_selector(out, node);
			break;
		case PROMQL_SUBQUERY:
			appendStringInfoString(out, "{\"type\":\"subquery\",\"expr\":");
			append(out, node->left);
			append_time(out, "range", node->range_ms, node->range_expr);
			append_time(out, "step", node->step_ms, node->step_expr);
			append_when(out, node);
			appendStringInfoChar(out, '}');
			break;
		case PROMQL_UNARY:
			appendStringInfo(out, "{\"type\":\"unaryExpr\",\"op\":\"%s\",\"expr\":", promql_op_name(node->op));
			append(out, node->left);
			appendStringInfoChar(out, '}');
			break;
		case PROMQL_BINARY:
			append_binary(out, node);
			break;
		case PROMQL_CALL:
			append_call(out, node);
			break;
		case PROMQL_AGGREGATE:
			append_aggregate(out, node);
			break;
		case PROMQL_PAREN:
			appendStringInfoString(out, "{\"type\":\"parenExpr\",\"expr\":");
			append(out, node->left);
			appendStringInfoChar(out, '}');
			break;
	}
}

static void
append_selector(StringInfo out, const PromqlNode *node)
{
	bool		is_range = node->range_ms || node->range_expr;

	appendStringInfo(out, "{\"type\":\"%s\",\"name\":", is_range ? "matrixSelector" : "vectorSelector");
	escape_json(out, node->name ? node->name : "");
	if (is_range)
		append_time(out, "range", node->range_ms, node->range_expr);
	append_when(out, node);
	append_matchers(out, node);
	appendStringInfo(out, ",\"anchored\":%s,\"smoothed\":%s}", bool_text(node->anchored), bool_text(node->smoothed));
}

static void
append_matchers(StringInfo out, const PromqlNode *node)
{
	static const char *const operators[] = {"=", "!=", "=~", "!~"};

	appendStringInfoString(out, ",\"matchers\":[");
	for (int i = 0; i < node->nmatchers; i++)
	{
		const PromMatcher *m = &node->matchers[i];

		appendStringInfoString(out, i > 0 ? ",{\"name\":" : "{\"name\":");
		escape_json(out, m->name);
		appendStringInfoString(out, ",\"value\":");
		escape_json(out, m->value);
		appendStringInfo(out, ",\"type\":\"%s\"}", operators[m->type]);
	}
	appendStringInfoChar(out, ']');
}

/* A duration, and the expression that it is computed by. */
static void
append_time(StringInfo out, const char *key, int64 ms, const PromqlNode *expr)
{
	appendStringInfo(out, ",\"%s\":" INT64_FORMAT ",\"%sExpr\":", key, ms, key);
	append_duration(out, expr, false);
}

static void
append_duration(StringInfo out, const PromqlNode *node, bool wrapped)
{
	check_stack_depth();
	if (node != NULL && node->tag == PROMQL_PAREN)
		append_duration(out, node->left, true);
	else if (node != NULL && (node->tag == PROMQL_BINARY || node->tag == PROMQL_UNARY))
	{
		bool		unary = node->tag == PROMQL_UNARY;

		appendStringInfo(out, "{\"type\":\"durationExpr\",\"op\":\"%s\",\"lhs\":", promql_op_name(node->op));
		append_duration(out, unary ? NULL : node->left, false);
		appendStringInfoString(out, ",\"rhs\":");
		append_duration(out, unary ? node->left : node->right, false);
		appendStringInfo(out, ",\"wrapped\":%s}", bool_text(wrapped));
	}
	else
		append(out, node);
}

/* The offset and "@" of a selector or subquery. */
static void
append_when(StringInfo out, const PromqlNode *node)
{
	append_time(out, "offset", node->offset_ms, node->offset_expr);
	if (node->at == PROMQL_AT_TIME)
		appendStringInfo(out, ",\"timestamp\":" INT64_FORMAT, node->at_ms);
	else
		appendStringInfoString(out, ",\"timestamp\":null");
	appendStringInfo(out, ",\"startOrEnd\":%s",
					 node->at == PROMQL_AT_START ? "\"start\"" : node->at == PROMQL_AT_END ? "\"end\"" : "null");
}

static void
append_binary(StringInfo out, const PromqlNode *node)
{
	appendStringInfo(out, "{\"type\":\"binaryExpr\",\"op\":\"%s\",\"lhs\":", promql_op_name(node->op));
	append(out, node->left);
	appendStringInfoString(out, ",\"rhs\":");
	append(out, node->right);
	appendStringInfoString(out, ",\"matching\":");
	if (node->left->type == PROMQL_VECTOR && node->right->type == PROMQL_VECTOR)
		append_matching(out, node);
	else
		appendStringInfoString(out, "null");
	appendStringInfo(out, ",\"bool\":%s}", bool_text(node->returns_bool));
}

static void
append_matching(StringInfo out, const PromqlNode *node)
{
	static const char *const cards[] = {"one-to-one", "many-to-one", "one-to-many", "many-to-many"};

	appendStringInfo(out, "{\"card\":\"%s\",\"labels\":", cards[node->card]);
	append_list(out, node->labels);
	appendStringInfo(out, ",\"on\":%s,\"include\":", bool_text(node->on));
	append_list(out, node->include);
	appendStringInfoString(out, ",\"fillValues\":{\"lhs\":");
	append_fill(out, node->has_fill_left, node->fill_left);
	appendStringInfoString(out, ",\"rhs\":");
	append_fill(out, node->has_fill_right, node->fill_right);
	appendStringInfoString(out, "}}");
}

/* A number, or null; JSON has no numbers that are not finite, so those are texts. */
static void
append_fill(StringInfo out, bool has_fill, double fill)
{
	PromqlNode	number = {.tag = PROMQL_NUMBER, .number = fill};

	if (has_fill)
		appendStringInfo(out, isfinite(fill) ? "%s" : "\"%s\"", promql_print(&number));
	else
		appendStringInfoString(out, "null");
}

/*
 * Prometheus lists the types of all arguments if their number is fixed.  Else it lists those that must be
 * there and one more, and "variadic" says how many may follow the former; -1 is any number.
 */
static void
append_call(StringInfo out, const PromqlNode *node)
{
	static const char *const types[] = {"scalar", "vector", "matrix", "string"};
	const PromqlFunction *f = node->function;
	bool		fixed = f->min_args == f->max_args;
	ListCell   *lc;

	appendStringInfo(out, "{\"type\":\"call\",\"func\":{\"name\":\"%s\",\"argTypes\":[", f->name);
	for (int i = 0; i < (fixed ? f->min_args : f->min_args + 1); i++)
		appendStringInfo(out, "%s\"%s\"", i > 0 ? "," : "", types[f->arg_types[Min(i, lengthof(f->arg_types) - 1)]]);
	appendStringInfo(out, "],\"variadic\":%d,\"returnType\":\"%s\"},\"args\":[",
					 fixed ? 0 : f->max_args < 0 ? -1 : f->max_args - f->min_args, types[f->result]);
	foreach(lc, node->args)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoChar(out, ',');
		append(out, lfirst(lc));
	}
	appendStringInfoString(out, "]}");
}

static void
append_aggregate(StringInfo out, const PromqlNode *node)
{
	appendStringInfo(out, "{\"type\":\"aggregation\",\"op\":\"%s\",\"expr\":", promql_agg_name(node->agg));
	append(out, node->left);
	appendStringInfoString(out, ",\"param\":");
	append(out, node->param);
	appendStringInfoString(out, ",\"grouping\":");
	append_list(out, node->labels);
	appendStringInfo(out, ",\"without\":%s}", bool_text(node->without));
}

static void
append_list(StringInfo out, const List *texts)
{
	ListCell   *lc;

	appendStringInfoChar(out, '[');
	foreach(lc, texts)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoChar(out, ',');
		escape_json(out, lfirst(lc));
	}
	appendStringInfoChar(out, ']');
}

static const char *
bool_text(bool b)
{
	return b ? "true" : "false";
}

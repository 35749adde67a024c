/*
 * analyse.c
 *	  Types and arity: every error that needs the operands to be known.
 *
 * Walks the finished tree once and sets the type of each node.  Operands come before their operator
 * and the checks of a node in Prometheus' order, since only the first error is seen.  The walk also
 * limits the depth, so later walks may recurse.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "promql/parse.h"
#include "promql/translate.h"

static void analyse(const char *text, PromqlNode *node, int depth);
static void check_durations(const char *text, const PromqlNode *node, int depth);
static void check_depth(const char *text, const PromqlNode *node, int depth);
static void check_text(const char *text, const PromqlNode *node);
static void check_call(const char *text, PromqlNode *node, int depth);
static void check_label_selector(const char *text, PromqlNode *node, int depth);
static void check_aggregate(const char *text, PromqlNode *node, int depth);
static void check_binary(const char *text, PromqlNode *node, int depth);
static void check_matching(const char *text, PromqlNode *node);
static void expect(const char *text, PromqlNode *node, PromqlType type, const char *where, int depth);
static bool is_comparison(PromqlOp op);
static bool is_set_operator(PromqlOp op);
static bool is_scalar_or_vector(const PromqlNode *node);

#define type_error(at, ...) promql_error_code(text, at, ERRCODE_DATATYPE_MISMATCH, __VA_ARGS__)

void
promql_analyse(const char *text, PromqlNode *node)
{
	analyse(text, node, 1);
}

static void
analyse(const char *text, PromqlNode *node, int depth)
{
	static const char *const short_names[] = {"scalar", "vector", "matrix", "string"};

	check_depth(text, node, depth);
	check_durations(text, node->range_expr, depth + 1);
	check_durations(text, node->step_expr, depth + 1);
	check_durations(text, node->offset_expr, depth + 1);
	switch (node->tag)
	{
		case PROMQL_NUMBER:
			break;
		case PROMQL_TEXT:
			check_text(text, node);
			break;
		case PROMQL_SELECTOR:
			promql_check_selector(text, node);
			break;
		case PROMQL_SUBQUERY:
			analyse(text, node->left, depth + 1);
			if (node->left->type != PROMQL_VECTOR)
				type_error(node->start, "subquery is only allowed on instant vector, got %s instead",
						   short_names[node->left->type]);
			break;
		case PROMQL_UNARY:
			analyse(text, node->left, depth + 1);
			if (!is_scalar_or_vector(node->left))
				type_error(node->start,
						   "unary expression only allowed on expressions of type scalar or instant vector, got \"%s\"",
						   promql_type_name(node->left->type));
			node->type = node->left->type;
			break;
		case PROMQL_BINARY:
			check_binary(text, node, depth);
			break;
		case PROMQL_CALL:
			check_call(text, node, depth);
			break;
		case PROMQL_AGGREGATE:
			check_aggregate(text, node, depth);
			break;
		case PROMQL_PAREN:
			analyse(text, node->left, depth + 1);
			node->type = node->left->type;
			break;
	}
}

static void
check_depth(const char *text, const PromqlNode *node, int depth)
{
	check_stack_depth();
	if (depth > PROMQL_MAX_DEPTH)
		promql_error_code(text, node->start, ERRCODE_STATEMENT_TOO_COMPLEX,
						  "expression is nested too deeply");
}

/* Their grammar leaves nothing to be said of types. */
static void
check_durations(const char *text, const PromqlNode *node, int depth)
{
	ListCell   *lc;

	if (node == NULL)
		return;
	check_depth(text, node, depth);
	check_durations(text, node->left, depth + 1);
	check_durations(text, node->right, depth + 1);
	foreach(lc, node->args)
		check_durations(text, lfirst(lc), depth + 1);
}

/* A string of PromQL is bytes, one of PostgreSQL is not. */
static void
check_text(const char *text, const PromqlNode *node)
{
	if (pg_encoding_verifymbstr(PG_UTF8, node->text, strlen(node->text)) != strlen(node->text))
		promql_error(text, node->start, "string literal is not valid UTF-8: %s",
					 promql_quote(node->text, strlen(node->text)));
}

/* One name at most, and not every series there is. */
void
promql_check_selector(const char *text, const PromqlNode *node)
{
	bool		named = text[node->start] != '{';
	const char *name = named ? node->name : NULL;
	bool		selects = false;

	for (int i = named ? 1 : 0; i < node->nmatchers; i++)
	{
		const PromMatcher *m = &node->matchers[i];

		if (strcmp(m->name, "__name__") != 0 || (!named && m->type != PROM_MATCH_EQ))
			continue;
		if (name)
			promql_error(text, node->start, "metric name must not be set twice: %s or %s",
						 promql_quote(name, strlen(name)), promql_quote(m->value, strlen(m->value)));
		if (m->value[0] != '\0')
			name = m->value;
	}
	for (int i = 0; i < node->nmatchers && !selects; i++)
		selects = !prom_matcher_accepts_empty(&node->matchers[i]);
	if (!selects)
		promql_error(text, node->start,
					 "vector selector must contain at least one non-empty matcher");
}

static void
check_call(const char *text, PromqlNode *node, int depth)
{
	const PromqlFunction *f = node->function;
	int			nargs = list_length(node->args);
	char	   *where = psprintf("call to function \"%s\"", f->name);

	if (f->min_args == f->max_args && nargs != f->min_args)
		promql_error(text, node->start, "expected %d argument(s) in call to \"%s\", got %d",
					 f->min_args, f->name, nargs);
	if (nargs < f->min_args)
		promql_error(text, node->start, "expected at least %d argument(s) in call to \"%s\", got %d",
					 f->min_args, f->name, nargs);
	if (f->max_args >= 0 && nargs > f->max_args)
		promql_error(text, node->start, "expected at most %d argument(s) in call to \"%s\", got %d",
					 f->max_args, f->name, nargs);

	for (int i = 0; i < nargs; i++)
	{
		PromqlNode *arg = list_nth(node->args, i);

		if (f->kind == PROMQL_FN_INFO && i == 1 && arg->tag == PROMQL_SELECTOR && arg->type == PROMQL_VECTOR)
			check_label_selector(text, arg, depth);
		else
			expect(text, arg, f->arg_types[Min(i, lengthof(f->arg_types) - 1)], where, depth);
		if (f->kind == PROMQL_FN_INFO && i == 1 && arg->tag != PROMQL_SELECTOR)
			promql_error(text, arg->start, "expected label selectors only");
	}
}

/* The second argument of info: matchers alone, which may select every series there is. */
static void
check_label_selector(const char *text, PromqlNode *node, int depth)
{
	check_durations(text, node->offset_expr, depth + 1);
	if (node->name)
		promql_error(text, node->start, "expected label selectors only, got vector selector instead");
}

static void
check_aggregate(const char *text, PromqlNode *node, int depth)
{
	PromqlNode *param = node->param;

	expect(text, node->left, PROMQL_VECTOR, "aggregation expression", depth);
	if (node->agg == PROMQL_COUNT_VALUES)
	{
		/* the text of a label name that cannot be one has its own error */
		if (param->tag == PROMQL_TEXT &&
			(param->text[0] == '\0' ||
			 pg_encoding_verifymbstr(PG_UTF8, param->text, strlen(param->text)) != strlen(param->text)))
			promql_error(text, param->start, "invalid label name %s",
						 promql_quote(param->text, strlen(param->text)));
		expect(text, param, PROMQL_STRING, "aggregation parameter", depth);
	}
	else if (param)
		expect(text, param, PROMQL_SCALAR, "aggregation parameter", depth);
}

static void
check_binary(const char *text, PromqlNode *node, int depth)
{
	bool		scalars;

	analyse(text, node->left, depth + 1);
	analyse(text, node->right, depth + 1);
	scalars = node->left->type == PROMQL_SCALAR && node->right->type == PROMQL_SCALAR;

	if (node->returns_bool && !is_comparison(node->op))
		promql_error(text, node->op_start, "bool modifier can only be used on comparison operators");
	if (is_comparison(node->op) && !node->returns_bool && scalars)
		type_error(node->op_start, "comparisons between scalars must use BOOL modifier");
	check_matching(text, node);
	node->type = scalars ? PROMQL_SCALAR : PROMQL_VECTOR;
}

/* Types of the operands, and whether their series can be matched as asked */
static void
check_matching(const char *text, PromqlNode *node)
{
	ListCell   *on;
	ListCell   *include;

	if (is_set_operator(node->op) && node->card == PROMQL_ONE_TO_ONE)
		node->card = PROMQL_MANY_TO_MANY;
	foreach(on, node->on ? node->labels : NIL)
	{
		foreach(include, node->include)
		{
			if (strcmp(lfirst(on), lfirst(include)) == 0)
				promql_error(text, node->op_start,
							 "label %s must not occur in ON and GROUP clause at once",
							 promql_quote(lfirst(on), strlen(lfirst(on))));
		}
	}

	if (!is_scalar_or_vector(node->left))
		type_error(node->left->start, "binary expression must contain only scalar and instant vector types");
	if (!is_scalar_or_vector(node->right))
		type_error(node->right->start, "binary expression must contain only scalar and instant vector types");

	if (node->left->type != PROMQL_VECTOR || node->right->type != PROMQL_VECTOR)
	{
		if (node->labels)
			type_error(node->start, "vector matching only allowed between instant vectors");
		if (node->has_fill_left || node->has_fill_right)
			type_error(node->start, "filling in missing series only allowed between instant vectors");
		/* Prometheus forgets about empty lists, so scalar + on() vector is allowed */
		node->has_matching = node->on = false;
		node->card = PROMQL_ONE_TO_ONE;
		node->include = NIL;
		if (is_set_operator(node->op))
			type_error(node->start, "set operator \"%s\" not allowed in binary scalar expression",
					   promql_op_name(node->op));
	}
	else if (is_set_operator(node->op) && node->card != PROMQL_MANY_TO_MANY)
		promql_error(text, node->start, "no grouping allowed for \"%s\" operation",
					 promql_op_name(node->op));
	else if (is_set_operator(node->op) && (node->has_fill_left || node->has_fill_right))
		promql_error(text, node->start, "filling in missing series not allowed for set operators");
}

static void
expect(const char *text, PromqlNode *node, PromqlType type, const char *where, int depth)
{
	analyse(text, node, depth + 1);
	if (node->type != type)
		type_error(node->start, "expected type %s in %s, got %s", promql_type_name(type), where,
				   promql_type_name(node->type));
}

static bool
is_comparison(PromqlOp op)
{
	return op >= PROMQL_EQ && op <= PROMQL_GE;
}

static bool
is_set_operator(PromqlOp op)
{
	return op == PROMQL_AND || op == PROMQL_OR || op == PROMQL_UNLESS;
}

static bool
is_scalar_or_vector(const PromqlNode *node)
{
	return node->type == PROMQL_SCALAR || node->type == PROMQL_VECTOR;
}

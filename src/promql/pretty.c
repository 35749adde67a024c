/*
 * pretty.c
 *	  Tree -> canonical text, broken into lines where it is wide.
 *
 * A node that fits in a line of 100 characters stays on one; of a wider one the operands go to lines of
 * their own, indented by two spaces.  The rules are those of Prometheus' formatter.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "promql/ast.h"

#define LINE_BYTES 100

static void pretty(StringInfo out, const PromqlNode *node, int level);
static void pretty_call(StringInfo out, const PromqlNode *node, int level);
static void pretty_aggregate(StringInfo out, const PromqlNode *node, int level);
static void indent(StringInfo out, int level);

char *
promql_pretty(const PromqlNode *node)
{
	StringInfoData out;

	initStringInfo(&out);
	pretty(&out, node, 0);
	return out.data;
}

/* Appends the node on one line if it fits or cannot be broken. */
static bool
append_line(StringInfo out, const PromqlNode *node, int level)
{
	bool		leaf = node->tag == PROMQL_NUMBER || node->tag == PROMQL_TEXT || node->tag == PROMQL_SELECTOR;
	char	   *line = promql_print(node);
	bool		fits = leaf || strlen(line) <= LINE_BYTES;

	if (fits)
	{
		indent(out, level);
		appendStringInfoString(out, line);
	}
	pfree(line);
	return fits;
}

static void
pretty(StringInfo out, const PromqlNode *node, int level)
{
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	if (append_line(out, node, level))
		return;
	switch (node->tag)
	{
		case PROMQL_BINARY:
			pretty(out, node->left, level + 1);
			appendStringInfoChar(out, '\n');
			indent(out, level);
			promql_print_operator(out, node);
			appendStringInfoChar(out, '\n');
			pretty(out, node->right, level + 1);
			break;
		case PROMQL_CALL:
			pretty_call(out, node, level);
			break;
		case PROMQL_AGGREGATE:
			pretty_aggregate(out, node, level);
			break;
		case PROMQL_PAREN:
			indent(out, level);
			appendStringInfoString(out, "(\n");
			pretty(out, node->left, level + 1);
			appendStringInfoChar(out, '\n');
			indent(out, level);
			appendStringInfoChar(out, ')');
			break;
		case PROMQL_SUBQUERY:
			pretty(out, node->left, level);
			promql_print_window(out, node);
			break;
		case PROMQL_UNARY:
			{
				StringInfoData operand;

				initStringInfo(&operand);
				pretty(&operand, node->left, level);
				indent(out, level);
				appendStringInfo(out, "%s%s", promql_op_name(node->op),
								 operand.data + strspn(operand.data, " "));
				pfree(operand.data);
			}
			break;
		case PROMQL_NUMBER:
		case PROMQL_TEXT:
		case PROMQL_SELECTOR:
			break;				/* always on one line */
	}
}

static void
pretty_call(StringInfo out, const PromqlNode *node, int level)
{
	ListCell   *lc;

	indent(out, level);
	appendStringInfo(out, "%s(\n", node->function->name);
	foreach(lc, node->args)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(out, ",\n");
		pretty(out, lfirst(lc), level + 1);
	}
	appendStringInfoChar(out, '\n');
	indent(out, level);
	appendStringInfoChar(out, ')');
}

static void
pretty_aggregate(StringInfo out, const PromqlNode *node, int level)
{
	indent(out, level);
	promql_print_grouping(out, node);
	appendStringInfoString(out, "(\n");
	if (node->param)
	{
		pretty(out, node->param, level + 1);
		appendStringInfoString(out, ",\n");
	}
	pretty(out, node->left, level + 1);
	appendStringInfoChar(out, '\n');
	indent(out, level);
	appendStringInfoChar(out, ')');
}

static void
indent(StringInfo out, int level)
{
	appendStringInfoSpaces(out, 2 * level);
}

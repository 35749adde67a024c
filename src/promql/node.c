/*
 * node.c
 *	  Makes the nodes of a tree, for the grammar's actions.
 *
 * What can be told without knowing the types of operands is checked here, in the order of the text:
 * functions that do not exist, numbers of an aggregation's arguments, bad regexes, modifiers given
 * twice or to an expression that takes none.
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"

#include "promql/parse.h"

/* Prometheus counts durations in int64 nanoseconds. */
#define MAX_DURATION_SECONDS 9223372036.0

static int64 duration_ms(PromqlParser *parser, PromqlNode *number);
static void set_positive(PromqlParser *parser, PromqlNode *duration, int64 *ms, PromqlNode **expr);
static void check_duration(PromqlParser *parser, const PromqlNode *operand);
static bool takes_modifiers(const PromqlNode *node);
static bool is_utf8(const char *s);
static char *regexp_reason(const char *pattern, const char *reason);

PromqlNode *
promql_node(PromqlTag tag, PromqlSpan span)
{
	PromqlNode *node = palloc0(sizeof(PromqlNode));

	node->tag = tag;
	node->start = span.start;
	node->end = span.end;
	return node;
}

PromqlNode *
promql_make_number(PromqlSpan span, double number)
{
	PromqlNode *node = promql_node(PROMQL_NUMBER, span);

	node->type = PROMQL_SCALAR;
	node->number = number;
	return node;
}

PromqlNode *
promql_make_duration(PromqlSpan span, int64 ms)
{
	PromqlNode *node = promql_make_number(span, ms / 1000.0);

	node->is_duration = true;
	return node;
}

PromqlNode *
promql_make_text(PromqlSpan span, char *text)
{
	PromqlNode *node = promql_node(PROMQL_TEXT, span);

	node->type = PROMQL_STRING;
	node->text = text;
	return node;
}

/* A selector of the metric "name", unless that is NULL; the matchers may hold a quoted name. */
PromqlNode *
promql_make_selector(PromqlParser *parser, PromqlSpan span, char *name, List *matchers)
{
	PromqlNode *node = promql_node(PROMQL_SELECTOR, span);
	ListCell   *lc;

	node->type = PROMQL_VECTOR;
	node->name = name;
	node->matchers = palloc_array(PromMatcher, list_length(matchers) + 1);
	if (name)
	{
		PromMatcher *m = &node->matchers[node->nmatchers++];

		m->type = PROM_MATCH_EQ;
		m->name = pstrdup("__name__");
		m->value = name;
	}
	foreach(lc, matchers)
	{
		PromMatcher *m = lfirst(lc);

		if (m->name == NULL)
		{
			m->name = pstrdup("__name__");
			if (node->name == NULL && m->value[0] != '\0')
				node->name = m->value;
		}
		node->matchers[node->nmatchers++] = *m;
	}
	return node;
}

/* name NULL: a metric name in quotes */
PromMatcher *
promql_make_matcher(PromqlParser *parser, PromqlSpan span, PromMatchType type, char *name, char *value)
{
	PromMatcher *m = palloc(sizeof(PromMatcher));

	if (name && (name[0] == '\0' || !is_utf8(name)))
		promql_error(parser->text, span.start, "invalid label name %s", promql_quote(name, strlen(name)));
	if (!is_utf8(value))
		promql_error(parser->text, span.start, "%s is not valid UTF-8: %s",
					 name ? "label value" : "metric name", promql_quote(value, strlen(value)));
	if (type == PROM_MATCH_RE || type == PROM_MATCH_NRE)
	{
		char	   *reason;

		if (prom_regex_get(value, strlen(value), &reason) == NULL)
			promql_error(parser->text, span.start, "error parsing regexp: %s",
						 regexp_reason(value, reason));
	}
	m->type = type;
	m->name = name;
	m->value = value;
	return m;
}

/* The sign of a number becomes part of it. */
PromqlNode *
promql_make_unary(PromqlSpan span, PromqlOp op, PromqlNode *operand)
{
	PromqlNode *node;

	if (operand->tag == PROMQL_NUMBER)
	{
		if (op == PROMQL_SUB)
			operand->number = -operand->number;
		operand->start = span.start;
		return operand;
	}
	node = promql_node(PROMQL_UNARY, span);
	node->op = op;
	node->op_start = span.start;
	node->left = operand;
	return node;
}

/* Turns the node that carries the modifiers into the operator's. */
PromqlNode *
promql_make_binary(PromqlSpan span, PromqlOp op, PromqlSpan op_span, PromqlNode *modifiers,
				   PromqlNode *left, PromqlNode *right)
{
	PromqlNode *node = modifiers;

	node->start = span.start;
	node->end = span.end;
	node->op = op;
	node->op_start = op_span.start;
	node->left = left;
	node->right = right;
	return node;
}

PromqlNode *
promql_make_call(PromqlParser *parser, PromqlSpan span, PromqlSpan name, List *args)
{
	PromqlNode *node = promql_node(PROMQL_CALL, span);
	char	   *word = promql_word(parser, name);

	node->function = promql_function(word);
	if (node->function == NULL)
		promql_error_code(parser->text, name.start, ERRCODE_UNDEFINED_FUNCTION,
						  "unknown function with name %s", promql_quote(word, strlen(word)));
	if (node->function->experimental && !promql_experimental)
		promql_experimental_error(parser->text, name.start, "function \"%s\" is not enabled", word);
	node->type = node->function->result;
	node->args = args;
	return node;
}

/* modifiers: the node that carries by or without, or NULL */
PromqlNode *
promql_make_aggregate(PromqlParser *parser, PromqlSpan span, PromqlAgg agg, PromqlNode *modifiers,
					  List *args)
{
	PromqlNode *node = modifiers ? modifiers : promql_node(PROMQL_AGGREGATE, span);
	int			wanted = 1;

	node->start = span.start;
	node->end = span.end;
	node->type = PROMQL_VECTOR;
	node->agg = agg;

	if (args == NIL)
		promql_error(parser->text, span.start, "no arguments for aggregate expression provided");
	switch (agg)
	{
		case PROMQL_LIMITK:
		case PROMQL_LIMIT_RATIO:
			if (!promql_experimental)
				promql_experimental_error(parser->text, span.start, "%s() is experimental and not enabled", promql_agg_name(agg));
			/* FALLTHROUGH */
		case PROMQL_TOPK:
		case PROMQL_BOTTOMK:
		case PROMQL_COUNT_VALUES:
		case PROMQL_QUANTILE:
			wanted = 2;
			node->param = linitial(args);
			break;
		default:
			break;
	}
	if (list_length(args) != wanted)
		promql_error(parser->text, span.start,
					 "wrong number of arguments for aggregate expression provided, expected %d, got %d",
					 wanted, list_length(args));
	node->left = llast(args);
	return node;
}

/* A label of by, without, on, ignoring, group_left or group_right */
char *
promql_make_label(PromqlParser *parser, PromqlSpan span, char *name)
{
	if (name[0] == '\0' || !is_utf8(name))
		promql_error(parser->text, span.start, "invalid label name for grouping: %s",
					 promql_quote(name, strlen(name)));
	return name;
}

void
promql_set_offset(PromqlParser *parser, PromqlNode *node, PromqlNode *duration)
{
	bool		literal = duration->tag == PROMQL_NUMBER;
	int64		ms = literal ? duration_ms(parser, duration) : 0;

	if (!takes_modifiers(node))
		promql_error(parser->text, node->start,
					 "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery");
	if (node->offset_ms != 0 || node->offset_expr)
		promql_error(parser->text, node->start, "offset may not be set multiple times");
	node->offset_ms = ms;
	node->offset_expr = literal ? NULL : duration;
}

void
promql_set_at(PromqlParser *parser, PromqlNode *node, PromqlAt at, double seconds)
{
	/* in milliseconds it has to be an int64 as well */
	if (!(fabs(seconds) < (double) PG_INT64_MAX / 1000))
		promql_error(parser->text, node->start, "timestamp out of bounds for @ modifier: %s",
					 isnan(seconds) ? "NaN" : isinf(seconds) ? (seconds > 0 ? "+Inf" : "-Inf") :
					 psprintf("%f", seconds));
	if (!takes_modifiers(node))
		promql_error(parser->text, node->start,
					 "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery");
	if (node->at != PROMQL_AT_NONE)
		promql_error(parser->text, node->start, "@ <timestamp> may not be set multiple times");
	node->at = at;
	node->at_ms = (int64) round(seconds * 1000);
}

PromqlNode *
promql_set_range(PromqlParser *parser, PromqlNode *node, PromqlNode *range, PromqlSpan brackets)
{
	int64		ms;
	PromqlNode *expr;

	set_positive(parser, range, &ms, &expr);
	if (node->tag != PROMQL_SELECTOR || node->type == PROMQL_MATRIX)
		promql_error(parser->text, brackets.start, "ranges only allowed for vector selectors");
	if (node->offset_ms != 0 || node->offset_expr)
		promql_error(parser->text, brackets.start, "no offset modifiers allowed before range");
	/* as in Prometheus, start() and end() do not count */
	if (node->at == PROMQL_AT_TIME)
		promql_error(parser->text, brackets.start, "no @ modifiers allowed before range");
	node->type = PROMQL_MATRIX;
	node->range_ms = ms;
	node->range_expr = expr;
	node->end = brackets.end;
	return node;
}

/* step NULL: the default one */
PromqlNode *
promql_make_subquery(PromqlParser *parser, PromqlSpan span, PromqlNode *operand, PromqlNode *range,
					 PromqlNode *step)
{
	PromqlNode *node = promql_node(PROMQL_SUBQUERY, span);

	node->type = PROMQL_MATRIX;
	node->left = operand;
	set_positive(parser, range, &node->range_ms, &node->range_expr);
	if (step)
		set_positive(parser, step, &node->step_ms, &node->step_expr);
	return node;
}

/* anchored, else smoothed */
void
promql_set_extended(PromqlParser *parser, PromqlNode *node, bool anchored)
{
	const char *name = anchored ? "anchored" : "smoothed";

	if (!promql_experimental)
		promql_experimental_error(parser->text, node->start, "%s modifier is experimental and not enabled", name);
	if (node->tag == PROMQL_SUBQUERY)
		promql_error(parser->text, node->start, "%s modifier is not supported for subqueries", name);
	if (node->tag != PROMQL_SELECTOR || (anchored && node->type != PROMQL_MATRIX))
		promql_error(parser->text, node->start, "%s modifier not implemented", name);
	if (anchored ? node->smoothed : node->anchored)
		promql_error(parser->text, node->start, "anchored and smoothed modifiers cannot be used together");
	if (anchored)
		node->anchored = true;
	else
		node->smoothed = true;
}

/* fill: what is set; the node carries the modifiers of an operator */
void
promql_set_fill(PromqlParser *parser, PromqlNode *modifiers, PromqlSpan span, PromqlFill fill, double value)
{
	if (!promql_experimental)
		promql_experimental_error(parser->text, span.start, "binop fill modifiers are experimental and not enabled");
	if (fill & PROMQL_FILL_LEFT)
	{
		modifiers->has_fill_left = true;
		modifiers->fill_left = value;
	}
	if (fill & PROMQL_FILL_RIGHT)
	{
		modifiers->has_fill_right = true;
		modifiers->fill_right = value;
	}
}

/* ---- durations ---- */

/* Durations that are computed are experimental; the place is where the error is to point. */
void
promql_check_computed(PromqlParser *parser, PromqlSpan span)
{
	if (!promql_experimental)
		promql_experimental_error(parser->text, span.start, "experimental duration expression is not enabled");
}

/* As nodes of a duration serve those of scalars: PROMQL_NUMBER (seconds), UNARY, BINARY, PAREN, CALL. */
PromqlNode *
promql_make_duration_op(PromqlParser *parser, PromqlSpan span, PromqlOp op, PromqlSpan op_span,
						PromqlNode *left, PromqlNode *right)
{
	PromqlNode *node;

	promql_check_computed(parser, (PromqlSpan) {left->start, left->end});
	check_duration(parser, left);
	check_duration(parser, right);
	if ((op == PROMQL_DIV || op == PROMQL_MOD) && right->tag == PROMQL_NUMBER && right->number == 0)
		promql_error(parser->text, op_span.start, op == PROMQL_DIV ? "division by zero" : "modulo by zero");
	node = promql_make_binary(span, op, op_span, promql_node(PROMQL_BINARY, span), left, right);
	node->type = PROMQL_SCALAR;
	return node;
}

PromqlNode *
promql_make_duration_parens(PromqlParser *parser, PromqlSpan span, PromqlNode *inner)
{
	PromqlNode *node;

	check_duration(parser, inner);
	if (inner->tag == PROMQL_NUMBER)
		return inner;
	node = promql_node(PROMQL_PAREN, span);
	node->type = PROMQL_SCALAR;
	node->left = inner;
	return node;
}

/* step(), range(), min_of(a, b), max_of(a, b) */
PromqlNode *
promql_make_duration_call(PromqlParser *parser, PromqlSpan span, PromqlSpan name, List *args)
{
	PromqlNode *node = promql_node(PROMQL_CALL, span);
	char	   *word = promql_word(parser, name);
	ListCell   *lc;

	foreach(lc, args)
		check_duration(parser, lfirst(lc));
	for (char *c = word; *c; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	node->function = promql_function(word);
	node->type = PROMQL_SCALAR;
	node->args = args;
	return node;
}

static void
check_duration(PromqlParser *parser, const PromqlNode *operand)
{
	if (operand->tag == PROMQL_NUMBER && !(fabs(operand->number) <= MAX_DURATION_SECONDS))
		promql_error(parser->text, operand->start, "duration out of range");
}

static int64
duration_ms(PromqlParser *parser, PromqlNode *number)
{
	check_duration(parser, number);
	return (int64) round(number->number * 1000);
}

/*
 * Of a literal its milliseconds, which are rounded: a fraction of one is nothing.  Of what is computed the
 * expression, as the time of the query is not known here.
 */
static void
set_positive(PromqlParser *parser, PromqlNode *duration, int64 *ms, PromqlNode **expr)
{
	*expr = NULL;
	*ms = 0;
	if (duration->tag != PROMQL_NUMBER)
		*expr = duration;
	else if ((*ms = duration_ms(parser, duration)) <= 0)
		promql_error(parser->text, duration->start, "duration must be greater than 0");
}

static bool
takes_modifiers(const PromqlNode *node)
{
	return node->tag == PROMQL_SELECTOR || node->tag == PROMQL_SUBQUERY;
}

static bool
is_utf8(const char *s)
{
	return pg_encoding_verifymbstr(PG_UTF8, s, strlen(s)) == strlen(s);
}

/*
 * RE2's reason in the words of Go's regexp, which Prometheus' users know.  Prometheus compiles the
 * pattern with its anchors, and they show where the pattern fails to end.
 */
static char *
regexp_reason(const char *pattern, const char *reason)
{
	static const struct
	{
		const char *re2;
		const char *go;
		bool		whole;		/* quotes all of the pattern, not RE2's part of it */
		const char *suffix;		/* what that part goes on with */
	}			reasons[] =
	{
		{"missing ]", "missing closing ]", false, ")$"},
		{"missing )", "missing closing )", true, ""},
		{"trailing \\", "missing closing )", true, ""},
		{"unexpected )", "unexpected )", true, ""},
		{"no argument for repetition operator", "missing argument to repetition operator", false, ""},
		{"invalid repetition size", "invalid repeat count", false, ""},
		{"bad repetition operator", "invalid nested repetition operator", false, ""},
		{"invalid perl operator", "invalid or unsupported Perl syntax", false, ""},
		{"invalid named capture group", "invalid named capture", false, ")$"},
		{"invalid escape sequence", "invalid escape sequence", false, ""},
		{"invalid character class range", "invalid character class range", false, ""},
		{"invalid character class", "invalid character class", false, ""},
	};

	for (int i = 0; i < lengthof(reasons); i++)
	{
		size_t		len = strlen(reasons[i].re2);

		if (strncmp(reason, reasons[i].re2, len) != 0)
			continue;
		if (reasons[i].whole)
			return psprintf("%s: `^(?s:%s)$`", reasons[i].go, pattern);
		if (strncmp(reason + len, ": ", 2) == 0)
			return psprintf("%s: `%s%s`", reasons[i].go, reason + len + 2, reasons[i].suffix);
		return pstrdup(reasons[i].go);
	}
	return pstrdup(reason);
}

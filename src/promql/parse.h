/*
 * parse.h
 *	  What scanner, grammar and the makers of nodes share.  Private to the front end of this room.
 *
 * A parse has all of its state in a PromqlParser; nothing is static.  Errors are raised where they
 * are found, so the one reported is the first that Prometheus would have recorded.
 */
#ifndef PROMQL_PARSE_H
#define PROMQL_PARSE_H

#include "promql/ast.h"

#define PROMQL_MAX_TEXT		(1024 * 1024)	/* bytes of an expression */
#define PROMQL_MAX_TOKENS	100000	/* what bounds the memory of a parse */
#define PROMQL_MAX_DEPTH	1000	/* levels of an expression's tree */

/* A place in the text: bytes [start, end). */
typedef struct PromqlSpan
{
	int			start;
	int			end;
} PromqlSpan;

/* bison: a nonterminal reaches from its first to its last symbol; an empty one lies before the next token */
#define YYLLOC_DEFAULT(Current, Rhs, N) \
	do { \
		(Current).start = (N) ? YYRHSLOC(Rhs, 1).start : YYRHSLOC(Rhs, 0).end; \
		(Current).end = YYRHSLOC(Rhs, N).end; \
	} while (0)

/* Which side of an operator a fill modifier names */
typedef enum PromqlFill
{
	PROMQL_FILL_LEFT = 1,
	PROMQL_FILL_RIGHT = 2,
	PROMQL_FILL_BOTH = PROMQL_FILL_LEFT | PROMQL_FILL_RIGHT
} PromqlFill;

typedef struct PromqlParser
{
	const char *text;
	int			first_token;	/* handed to the grammar before the text: what is to be parsed */
	int			ntokens;
	int			pos;			/* bytes the scanner has consumed */
	int			open_parens;
	bool		seen_duration;	/* in the brackets being read */
	bool		seen_colon;
	int			token;			/* the last one read, */
	PromqlSpan	token_span;		/* and its place */
	void	   *scanner;
	PromqlNode *result;
} PromqlParser;

/* ---- parse.c ---- */
extern void promql_unexpected(PromqlParser *parser, const char *context, const char *expected) pg_attribute_noreturn();

/* ---- literal.c: tokens -> values; raise with place ---- */
extern double promql_number(PromqlParser *parser, PromqlSpan span);
extern int64 promql_duration_ms(PromqlParser *parser, PromqlSpan span);
extern char *promql_string(PromqlParser *parser, PromqlSpan span);
extern char *promql_word(PromqlParser *parser, PromqlSpan span);
extern char *promql_rune(const char *p);	/* the first character of p as 'x', escaped */
extern char *promql_quote(const char *p, int len);	/* as a string literal of PromQL */

/* ---- node.c: makes and changes nodes, with the checks that need no types ---- */
extern PromqlNode *promql_node(PromqlTag tag, PromqlSpan span);
extern PromqlNode *promql_make_number(PromqlSpan span, double number);
extern PromqlNode *promql_make_duration(PromqlSpan span, int64 ms);
extern PromqlNode *promql_make_text(PromqlSpan span, char *text);
extern PromqlNode *promql_make_selector(PromqlParser *parser, PromqlSpan span, char *name, List *matchers);
extern PromMatcher *promql_make_matcher(PromqlParser *parser, PromqlSpan span, PromMatchType type,
										char *name, char *value);
extern PromqlNode *promql_make_unary(PromqlSpan span, PromqlOp op, PromqlNode *operand);
extern PromqlNode *promql_make_binary(PromqlSpan span, PromqlOp op, PromqlSpan op_span,
									  PromqlNode *modifiers, PromqlNode *left, PromqlNode *right);
extern PromqlNode *promql_make_call(PromqlParser *parser, PromqlSpan span, PromqlSpan name, List *args);
extern PromqlNode *promql_make_aggregate(PromqlParser *parser, PromqlSpan span, PromqlAgg agg,
										 PromqlNode *modifiers, List *args);
extern char *promql_make_label(PromqlParser *parser, PromqlSpan span, char *name);
extern void promql_set_offset(PromqlParser *parser, PromqlNode *node, PromqlNode *duration);
extern void promql_set_at(PromqlParser *parser, PromqlNode *node, PromqlAt at, double seconds);
extern PromqlNode *promql_set_range(PromqlParser *parser, PromqlNode *node, PromqlNode *range,
									PromqlSpan brackets);
extern void promql_set_extended(PromqlParser *parser, PromqlNode *node, bool anchored);
extern void promql_check_computed(PromqlParser *parser, PromqlSpan span);
extern PromqlNode *promql_make_duration_op(PromqlParser *parser, PromqlSpan span, PromqlOp op, PromqlSpan op_span,
										   PromqlNode *left, PromqlNode *right);
extern PromqlNode *promql_make_duration_call(PromqlParser *parser, PromqlSpan span, PromqlSpan name, List *args);
extern PromqlNode *promql_make_duration_parens(PromqlParser *parser, PromqlSpan span, PromqlNode *inner);
extern void promql_set_fill(PromqlParser *parser, PromqlNode *modifiers, PromqlSpan span, PromqlFill fill,
							double value);
extern PromqlNode *promql_make_subquery(PromqlParser *parser, PromqlSpan span, PromqlNode *operand,
										PromqlNode *range, PromqlNode *step);

/* ---- analyse.c: types, arity, every error that needs the whole tree ---- */
extern void promql_analyse(const char *text, PromqlNode *node);
extern void promql_check_selector(const char *text, const PromqlNode *node);

/* ---- scan.l ---- */
extern void promql_scan_begin(PromqlParser *parser);
extern void promql_scan_end(PromqlParser *parser);

#endif							/* PROMQL_PARSE_H */

/*
 * ast.h
 *	  The tree of a PromQL expression.  Private to this room.
 *
 * Every node keeps its place in the text (byte offsets, end exclusive), so that errors found late can
 * still point.  Nodes are palloc'd in the context the parser ran in and never freed one by one.
 */
#ifndef PROMQL_AST_H
#define PROMQL_AST_H

#include "postgres.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "promql/promql.h"

typedef enum PromqlTag
{
	PROMQL_NUMBER,
	PROMQL_TEXT,				/* string literal */
	PROMQL_SELECTOR,			/* m{a="b"}, with range_ms: m{a="b"}[5m] */
	PROMQL_SUBQUERY,
	PROMQL_UNARY,
	PROMQL_BINARY,
	PROMQL_CALL,
	PROMQL_AGGREGATE,
	PROMQL_PAREN
} PromqlTag;

typedef enum PromqlOp
{
	PROMQL_ADD, PROMQL_SUB, PROMQL_MUL, PROMQL_DIV, PROMQL_MOD, PROMQL_POW, PROMQL_ATAN2,
	PROMQL_EQ, PROMQL_NE, PROMQL_LT, PROMQL_LE, PROMQL_GT, PROMQL_GE,
	PROMQL_TRIM_UPPER, PROMQL_TRIM_LOWER,
	PROMQL_AND, PROMQL_OR, PROMQL_UNLESS
} PromqlOp;

typedef enum PromqlAgg
{
	PROMQL_SUM, PROMQL_AVG, PROMQL_COUNT, PROMQL_MIN, PROMQL_MAX, PROMQL_GROUP, PROMQL_STDDEV,
	PROMQL_STDVAR, PROMQL_TOPK, PROMQL_BOTTOMK, PROMQL_COUNT_VALUES, PROMQL_QUANTILE, PROMQL_LIMITK,
	PROMQL_LIMIT_RATIO
} PromqlAgg;

typedef enum PromqlCard
{
	PROMQL_ONE_TO_ONE,
	PROMQL_MANY_TO_ONE,			/* group_left */
	PROMQL_ONE_TO_MANY,			/* group_right */
	PROMQL_MANY_TO_MANY			/* set operators */
} PromqlCard;

/* "@" of a selector or subquery */
typedef enum PromqlAt
{
	PROMQL_AT_NONE, PROMQL_AT_TIME, PROMQL_AT_START, PROMQL_AT_END
} PromqlAt;

typedef struct PromqlNode
{
	PromqlTag	tag;
	PromqlType	type;			/* set by the parser for leaves, by analyse for all */
	int			start;			/* place in the text: bytes [start, end) */
	int			end;

	/* PROMQL_NUMBER */
	double		number;
	bool		is_duration;	/* written as 5m: printed back so */
	/* PROMQL_TEXT */
	char	   *text;

	/* PROMQL_SELECTOR */
	char	   *name;			/* metric name as written before or quoted in the braces, or NULL */
	PromMatcher *matchers;		/* includes the one for __name__ when name is set */
	int			nmatchers;
	/* PROMQL_SELECTOR, PROMQL_SUBQUERY */
	int64		range_ms;		/* 0: instant selector */
	int64		offset_ms;
	PromqlAt	at;
	int64		at_ms;
	bool		anchored;
	bool		smoothed;
	int64		step_ms;		/* subquery: 0 = default */
	/* durations that are computed, or NULL; promql_resolve_durations sets the above by them */
	struct PromqlNode *range_expr;
	struct PromqlNode *offset_expr;
	struct PromqlNode *step_expr;

	/* operands: PAREN, UNARY, SUBQUERY, AGGREGATE use left; BINARY both */
	struct PromqlNode *left;
	struct PromqlNode *right;

	/* PROMQL_UNARY (ADD or SUB), PROMQL_BINARY */
	PromqlOp	op;
	int			op_start;		/* place of the operator */
	bool		returns_bool;
	bool		has_matching;	/* on or ignoring was written */
	bool		on;				/* labels are those to match on; else to ignore */
	List	   *labels;			/* char *: of on/ignoring, or by/without */
	PromqlCard	card;
	List	   *include;		/* char *: of group_left/group_right */
	bool		has_fill_left;
	bool		has_fill_right;
	double		fill_left;
	double		fill_right;

	/* PROMQL_AGGREGATE */
	PromqlAgg	agg;
	bool		without;
	bool		has_grouping;	/* by (...) was written, even empty */
	struct PromqlNode *param;	/* topk, quantile, count_values */

	/* PROMQL_CALL */
	const struct PromqlFunction *function;
	List	   *args;			/* PromqlNode * */
} PromqlNode;

/* functions.c: one row per function of Prometheus 3 */
typedef struct PromqlFunction
{
	const char *name;
	int			min_args;
	int			max_args;		/* -1: any number */
	PromqlType	arg_types[6];	/* of those beyond: the sixth */
	PromqlType	result;
	bool		experimental;
	/* how it is translated: what translate.c needs to know */
	int			kind;			/* PromqlFunctionKind of translate.h */
	const char *sql;			/* suffix of the SQL function or the name of the window function */
} PromqlFunction;

extern const PromqlFunction *promql_function(const char *name);

/* parse.c, scan.l, gram.y: raises with place; result is analysed (types, arity, every semantic error) */
extern PromqlNode *promql_parse(const char *text);

/*
 * duration.c: sets range, offset and step of all nodes whose durations are computed, for the step and range of
 * this query; raises with the place "start byte:end byte: ".
 */
extern void promql_resolve_durations(PromqlNode *node, const PromqlQuery *query);

/* print.c: canonical text; parsing it gives the same tree */
extern char *promql_print(const PromqlNode *node);
extern void promql_print_window(StringInfo out, const PromqlNode *node);	/* of a subquery: [5m:] offset 1h */
extern void promql_print_operator(StringInfo out, const PromqlNode *node);	/* == bool on (a) group_left () */
extern void promql_print_grouping(StringInfo out, const PromqlNode *node);	/* sum by (a) */
extern const char *promql_op_name(PromqlOp op);
extern const char *promql_agg_name(PromqlAgg agg);
extern const char *promql_type_name(PromqlType type);	/* "instant vector", ... */

/* pretty.c: canonical text for people, broken where it is wide */
extern char *promql_pretty(const PromqlNode *node);

/* parse_json.c: the tree as Prometheus' /api/v1/parse_query gives it */
extern char *promql_json(const PromqlNode *node);

/*
 * errors with place: "line:col: parse error: message"; at is a byte offset, -1 if there is no place.
 * promql_error is ERRCODE_SYNTAX_ERROR, promql_unsupported says "line:col: not supported yet: message".
 * promql_experimental_error is promql_error with a hint at the setting that allows what is experimental.
 */
extern void promql_error(const char *query, int at, const char *fmt, ...) pg_attribute_printf(3, 4) pg_attribute_noreturn();
extern void promql_error_code(const char *query, int at, int code, const char *fmt, ...) pg_attribute_printf(4, 5) pg_attribute_noreturn();
extern void promql_experimental_error(const char *query, int at, const char *fmt, ...) pg_attribute_printf(3, 4) pg_attribute_noreturn();
extern void promql_unsupported(const char *query, int at, const char *fmt, ...) pg_attribute_printf(3, 4) pg_attribute_noreturn();


/* Line and byte column of a place, both from 1. */
extern void promql_place(const char *query, int at, int *line, int *column);

#endif							/* PROMQL_AST_H */

/*
 * sqlgen.h
 *	  What the files of the translation share.  Private to this room.
 *
 * A vector expression becomes a SELECT with the columns labels and vals, one row per series and never
 * a row without values; a scalar expression becomes an SQL expression of type prom.vals.  All names
 * are schema-qualified, so the text means the same under any search_path.
 */
#ifndef PROMQL_SQLGEN_H
#define PROMQL_SQLGEN_H

#include "lib/stringinfo.h"
#include "utils/tuplestore.h"

#include "promql/ast.h"
#include "promql/vals.h"

/* What is known of __name__ in the rows of a vector, i.e. what dropping it may do. */
typedef enum PromqlNames
{
	PROMQL_NAMES_SAME,			/* one name or none: without it label sets stay distinct */
	PROMQL_NAMES_MANY			/* may differ: label sets may collide */
} PromqlNames;

typedef struct PromqlVector
{
	char	   *sql;			/* SELECT ..., lines indented by the given depth, no newline at the end */
	PromqlNames names;
} PromqlVector;

typedef struct PromqlContext
{
	const PromqlQuery *query;
	PromSteps	steps;
	int64		lookback_ms;
} PromqlContext;

/* ---- translate.c ---- */
extern PromqlVector promql_vector_sql(PromqlContext *cx, PromqlNode *node, int indent);
extern char *promql_scalar_sql(PromqlContext *cx, PromqlNode *node, int indent);
extern char *promql_matrix_sql(PromqlContext *cx, PromqlNode *node, int indent);

/* '{a,b}'::pg_catalog.text[] of a list of char *, with "extra" (or NULL) added */
extern char *promql_text_array(List *names, const char *extra);

/*
 * Replace x by rows without __name__, where that may make label sets collide.  per_step: sets that
 * never share a step are joined, as operators do; else any two are an error, as functions over ranges do.
 */
extern PromqlVector promql_check_names(PromqlVector x, bool per_step, int indent);

/* a + b, staying within what an SQL literal of int8 can say: the least int64 cannot be written */
extern int64 promql_add_ms(int64 a, int64 b);

/* That many tabs, for indentation; deep nesting is cut short. */
extern char *promql_tabs(int n);

/* Names of the operators in SQL text, "'+'" */
extern const char *promql_op_literal(PromqlOp op);
extern bool promql_op_is_comparison(PromqlOp op);

/* ---- translate_agg.c ---- */
extern PromqlVector promql_aggregate_sql(PromqlContext *cx, PromqlNode *node, int indent);
extern PromqlVector promql_histogram_quantile_sql(PromqlContext *cx, PromqlNode *node, int indent);

/* ---- translate_match.c ---- */
extern PromqlVector promql_match_sql(PromqlContext *cx, PromqlNode *node, int indent);

/* ---- eval.c ---- */

/* The rows (labels, "time", value) of a plan, into the result of a set-returning function. */
extern void promql_store_rows(const PromqlPlan *p, Tuplestorestate *store);

#endif							/* PROMQL_SQLGEN_H */

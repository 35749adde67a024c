/*
 * sqlgen.h
 *	  What the files of the translation share.  Private to this room.
 *
 * A vector expression becomes a SELECT with the columns labels and vals, one row per series and never
 * a row without values; a scalar expression becomes an SQL expression of type prom.vals.  All names
 * are schema-qualified, so the text means the same under any search_path.  Lines are broken but not
 * indented; layout.c does that at the end.
 */
#ifndef PROMQL_SQLGEN_H
#define PROMQL_SQLGEN_H

#include "lib/stringinfo.h"
#include "utils/tuplestore.h"

#include "promql/ast.h"
#include "select/select.h"
#include "store/store.h"
#include "vals/vals.h"

/*
 * What is known of __name__ in the rows of a vector, i.e. what dropping it may do.  (That series of one
 * name differ in nothing but type or unit is not looked for.)
 */
typedef enum PromqlNames
{
	PROMQL_NAMES_SAME,			/* one name or none: without it label sets stay distinct */
	PROMQL_NAMES_MANY			/* may differ: label sets may collide */
} PromqlNames;

typedef struct PromqlVector
{
	char	   *sql;			/* SELECT ..., no newline at the end */
	PromqlNames names;
} PromqlVector;

typedef struct PromqlContext
{
	const PromqlQuery *query;
	PromSteps	steps;
	int64		lookback_ms;
	const struct PromLevel *levels; /* what there is beside raw samples */
	int			nlevels;
	List	   *mixed;			/* MixedTime *: when some series have none of a level */
	int64		resolution_ms;	/* the coarsest that may be read; 0: raw only */
	bool		wants_hints;	/* below what only counts histograms: hints are told, not unknown */
	bool		keeps_hints;	/* below what needs the buckets: never */
	bool		counter;		/* this very node is a selector below a subquery of a function of counters */
} PromqlContext;

/* ---- translate.c ---- */
extern PromqlVector promql_vector_sql(PromqlContext *cx, PromqlNode *node);
extern char *promql_scalar_sql(PromqlContext *cx, PromqlNode *node);

/* A constant as prom.vals. */
extern char *promql_number_sql(double number);

/* A constant as float8. */
extern char *promql_float_sql(double number);

/* ARRAY['a', 'b']::text[] of a list of char *, with "extra" (or NULL) added */
extern char *promql_text_array(List *names, const char *extra);

/* Apply an expression over x.vals to each series; rows that come out empty vanish. */
extern PromqlVector promql_map_sql(PromqlVector x, const char *vals, bool keep_name);

extern bool promql_op_is_comparison(PromqlOp op);

/* The operators that cut histograms off */
extern bool promql_is_trim(PromqlOp op);

/* The context of operands whose buckets are looked at, wherever they are below this node */
extern PromqlContext promql_with_buckets(const PromqlContext *cx);

/* A comparison that filters leaves __name__ alone, and so does trimming; other operators drop it. */
extern bool promql_keeps_name(const PromqlNode *node);

/* ---- translate_name.c ---- */

/* Label sets (SQL) whose names go: where a value's meaning changes; at once even if removal is delayed. */
extern char *promql_drop_name_sql(const char *labels);
extern char *promql_drop_name_now_sql(const char *labels);

/* Label sets whose names stay, even those that were to go: all, or those of which a label (SQL) matches. */
extern char *promql_keep_name_sql(const char *labels);
extern char *promql_set_name_sql(const char *labels, const char *src, const char *pattern);

/* What "without" and "ignoring" leave aside: these labels and the name. */
extern List *promql_without_name(List *labels);
extern bool promql_is_name_label(const char *label);

/* The name that the series of a vector or range have as far as the text tells, or "". */
extern const char *promql_metric_name(PromqlNode *node);

/* One row per group of x; x.names is about the groups. */
extern PromqlVector promql_group_names(PromqlVector x, const char *value, const char *group);

/*
 * x, whose label sets have lost their names, with a check where they may collide.  per_step: sets that
 * never share a step are joined, as operators do; else any two are an error, as functions over ranges do.
 */
extern PromqlVector promql_check_names(PromqlVector x, bool per_step);

/* The same whatever became of the names. */
extern PromqlVector promql_check_labels(PromqlVector x, bool per_step);

/* The result of a query: names that were to go have gone. */
extern PromqlVector promql_final_names(PromqlVector x);

/* ---- translate_note.c ---- */

/* "line:column" of a node, an SQL literal */
extern char *promql_place_sql(PromqlContext *cx, const PromqlNode *node);

/* Values that a function of a range, or an operator or aggregation computed: their notes are told. */
extern char *promql_noted_sql(PromqlContext *cx, const char *vals, const char *labels, const PromqlNode *range);
extern char *promql_noted_operator_sql(PromqlContext *cx, const char *vals, const char *operator_name,
									   const PromqlNode *node);

extern char *promql_noted_aggregate_sql(PromqlContext *cx, const char *vals, PromqlNode *node);

/* x; "told", an SQL expression that is false, is computed even if x has no rows. */
extern PromqlVector promql_told_sql(PromqlVector x, const char *told);
extern PromqlVector promql_told_quantile_sql(PromqlContext *cx, PromqlVector x, PromqlNode *param,
											 const char *phi, bool extremes);

/* Is it a number from 0 to 1? */
extern bool promql_is_quantile(PromqlNode *param);

/* ---- translate_call.c ---- */
extern PromqlVector promql_call_sql(PromqlContext *cx, PromqlNode *node);
extern char *promql_scalar_call_sql(PromqlContext *cx, PromqlNode *node);

/* ---- translate_sort.c ---- */

/* sort and sort_desc; sort_by_label and sort_by_label_desc */
extern PromqlVector promql_sort_sql(PromqlContext *cx, PromqlNode *node, bool descending);
extern PromqlVector promql_sort_label_sql(PromqlContext *cx, PromqlNode *node, bool descending);

/* ---- translate_window.c ---- */

/* An instant selector: its newest samples by the leaf aggregate prom._NAME. */
extern PromqlVector promql_selector_sql(PromqlContext *cx, PromqlNode *node, const char *name);

/* A call of a function over a range. */
extern PromqlVector promql_window_sql(PromqlContext *cx, PromqlNode *node);

/*
 * The window function "name" over a range, which is a selector or a subquery; "scalars" are its parameters.
 * Without keep_name label sets lose their names, which is not checked yet.
 */
extern PromqlVector promql_range_sql(PromqlContext *cx, PromqlNode *range, const char *name, List *scalars,
									 bool keep_name);

extern PromqlNode *promql_without_parens(PromqlNode *node);

/* Raises if the range is anchored or smoothed and the function of that name knows no such ranges. */
extern void promql_check_extended(const PromqlNode *range, const char *name);

/* No series at all */
extern PromqlVector promql_nothing(void);

/* A range vector as the whole query: its samples. */
extern char *promql_matrix_sql(PromqlContext *cx, PromqlNode *node);

/* ---- resolution.c ---- */

/* Which resolutions the query may read. */
extern void promql_set_resolution(PromqlContext *cx);

/* The same for the steps of a subquery. */
extern void promql_narrow_resolution(PromqlContext *cx);

/*
 * What the leaf of a selector reads of a time for a window function, for windows of so many ms; NULL: raw samples
 * only.  NULL as the name: the samples themselves.
 */
extern PromSegments *promql_segments(const PromqlContext *cx, const PromqlNode *selector, PromScanRange range,
									 const char *name, int64 range_ms);

extern void promql_resolution_init(void);

/* ---- translate_agg.c ---- */
extern PromqlVector promql_aggregate_sql(PromqlContext *cx, PromqlNode *node);
extern PromqlVector promql_histogram_sql(PromqlContext *cx, PromqlNode *node);

/* ---- translate_info.c ---- */
extern PromqlVector promql_info_sql(PromqlContext *cx, PromqlNode *node);

/* ---- translate_match.c ---- */

/* Two vectors joined by signature: a prefix and a FROM clause, of the aliases m (many) and o (one) */
typedef struct PromqlJoin
{
	char	   *with;			/* WITH ... before the SELECT, or empty */
	char	   *from;
	PromqlNames many_names;
	bool		many_is_unique; /* at most one row per signature */
	bool		one_is_unique;
	bool		is_filled;		/* rows were added for signatures that one side lacks */
} PromqlJoin;

extern PromqlVector promql_match_sql(PromqlContext *cx, PromqlNode *node);
extern PromqlJoin promql_join_sql(PromqlContext *cx, PromqlNode *node);
extern char *promql_pairs_sql(const PromqlJoin *join, const char *labels, const char *vals);
extern char *promql_pair_sql(PromqlContext *cx, const PromqlNode *node, const char *prefix);
extern char *promql_signed_sql(const PromqlNode *node, const char *vector);
extern bool promql_signature_is_unique(const PromqlNode *node, const PromqlNode *vector, PromqlNames names);
extern bool promql_is_listed(const char *label, List *labels);

/* ---- translate_group.c ---- */
extern PromqlVector promql_group_sql(PromqlContext *cx, PromqlNode *node);

/* ---- translate_set.c ---- */
extern PromqlVector promql_set_sql(PromqlContext *cx, PromqlNode *node);

/* ---- explain.c ---- */

/* The nodes that were translated, as the beginning of a JSON array */
typedef struct PromqlTrace
{
	StringInfoData nodes;
	bool		measured;		/* the planner is to leave the nodes alone */
	int			n;
	int			depth;			/* of the node that is being translated */
	List	   *open;			/* char *: the names of that node and of those it is in */
	StringInfoData reads;		/* what leaves read of rollups, the same */
} PromqlTrace;

/* Note a node and give it a number; when it is translated, make its SQL a subquery that bears its name and number. */
extern int	promql_trace_begin(PromqlTrace *trace, const PromqlNode *node);
extern char *promql_trace_end(PromqlTrace *trace, const PromqlNode *node, int number, const char *sql);

/* Note what a leaf of the node that is being translated reads; NULL: raw samples only, which is not told. */
extern void promql_trace_segments(PromqlTrace *trace, const PromSegments *segments);

/* ---- layout.c ---- */

/* The same SQL, indented: one tab per open parenthesis. */
extern char *promql_layout(const char *sql);

/* ---- eval.c ---- */

/* The rows (labels, "time", value, histogram) of a plan, into the result of a set-returning function. */
extern void promql_store_rows(const PromqlPlan *p, Tuplestorestate *store);

#endif							/* PROMQL_SQLGEN_H */

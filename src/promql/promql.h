/*
 * promql.h
 *	  PromQL: text -> tree -> SQL -> rows.
 *
 * Errors: ERRCODE_SYNTAX_ERROR with message "1:5: parse error: ..." (line and byte column from 1) for
 * everything Prometheus rejects before execution; ERRCODE_FEATURE_NOT_SUPPORTED with
 * "1:5: not supported yet: ..." for what promgres does not offer; ERRCODE_CARDINALITY_VIOLATION for
 * errors of execution that Prometheus has too (duplicate series, many-to-many), in its wording.
 */
#ifndef PROMQL_H
#define PROMQL_H

#include "postgres.h"

#include "histogram/histogram.h"
#include "series/series.h"

#define PROMQL_MAX_POINTS 11000

extern int	promql_lookback_ms;	/* promgres.lookback_delta */
extern bool promql_experimental;	/* promgres.promql_experimental */
extern bool promql_delayed_names;	/* promgres.promql_delayed_name_removal */
extern bool promql_typed;			/* promgres.promql_type_and_unit_labels */
extern int	promql_subquery_step_ms;	/* promgres.subquery_step */
extern int	promql_kept_plans;	/* promgres.promql_kept_plans */

typedef enum PromqlType
{
	PROMQL_SCALAR,
	PROMQL_VECTOR,				/* instant vector */
	PROMQL_MATRIX,				/* range vector */
	PROMQL_STRING
} PromqlType;

#define PROMQL_RESOLUTION_SETTING 0	/* promgres.max_source_resolution */
#define PROMQL_RESOLUTION_RAW (-1)
#define PROMQL_RESOLUTION_AUTO (-2) /* by the step */

typedef struct PromqlQuery
{
	const char *text;
	int64		start_ms;
	int64		end_ms;
	int64		step_ms;
	int64		lookback_ms;	/* 0: the setting */
	int64		resolution_ms;	/* the coarsest that may be read, or PROMQL_RESOLUTION_ */
	bool		instant;		/* start = end; a range vector or a string may be the result */
	struct PromqlTrace *trace;	/* names the nodes; NULL where nobody looks */
} PromqlQuery;

typedef struct PromqlPlan
{
	PromqlType	type;			/* of the whole expression */
	int64		start_ms;
	int64		step_ms;
	int			nsteps;
	char	   *string;			/* PROMQL_STRING: the value; no SQL then */
	char	   *sql;			/* rows (labels prom.labels, vals prom.vals), ordered by labels for range
								 * queries; for PROMQL_MATRIX (labels, samples prom.chunk) */
} PromqlPlan;

/* Parse, analyse, translate.  SPI must not be connected. */
extern PromqlPlan *promql_plan(const PromqlQuery *q);

/* The SQL that yields (labels, "time", value, histogram): what prom.to_sql returns and prom.query runs. */
extern char *promql_rows_sql(const PromqlPlan *p);

/*
 * Run the plan under the caller's role; fn gets one series at a time with its points in order of
 * time (never zero of them).  Where histograms is not NULL and has one, that is the point and not the value.
 * Memory of the arguments is reset after each call.
 */
typedef void (*PromqlSeriesFn) (void *arg, const PromLabels *labels, int n, const int64 *t_ms,
								const double *values, const PromHistogram *const *histograms);
extern void promql_run(const PromqlPlan *p, PromqlSeriesFn fn, void *arg);

/* A lone instant selector (match[], delete_series): its matchers; raises like promql_plan. */
extern PromMatcher *promql_parse_selector(const char *text, int *n);

/* A portal that runs the SQL, read-only, by a plan that is kept if it is asked again and again; SPI is connected. */
extern struct PortalData *promql_open_portal(const char *sql);

extern void promql_init(void);

#endif							/* PROMQL_H */

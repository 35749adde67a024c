/*
 * eval.c
 *	  Runs PromQL: plan (parse, translate), then the SQL through the executor under the caller's role.
 *
 * HTTP, SQL functions and whatever comes later take this one path.  No read path writes or takes an
 * xid, so it works on a standby.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "chunk/chunk.h"
#include "common/compat.h"
#include "promql/sqlgen.h"

#define FETCH_ROWS 500

int			promql_lookback_ms = 300000;
bool		promql_experimental = false;
int			promql_subquery_step_ms = 60000;

static PromqlContext plan_context(const PromqlQuery *q);
static Portal open_cursor(const char *sql);
static int	begin_execution(void);
static void end_execution(int nest_level);
static void run_row(const PromqlPlan *p, HeapTuple row, TupleDesc desc, PromqlSeriesFn fn, void *arg);

PromqlPlan *
promql_plan(const PromqlQuery *q)
{
	PromqlPlan *p = palloc0(sizeof(PromqlPlan));
	PromqlNode *tree = promql_parse(q->text);
	PromqlContext cx = plan_context(q);

	p->type = tree->type;
	p->start_ms = cx.steps.start_ms;
	p->step_ms = cx.steps.step_ms;
	p->nsteps = cx.steps.n;
	if (!q->instant && (p->type == PROMQL_MATRIX || p->type == PROMQL_STRING))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("invalid expression type \"%s\" for range query, must be Scalar or instant Vector",
						promql_type_name(p->type))));
	switch (p->type)
	{
		case PROMQL_STRING:
			while (tree->tag == PROMQL_PAREN)
				tree = tree->left;
			p->string = tree->text;
			break;
		case PROMQL_MATRIX:
			p->sql = promql_matrix_sql(&cx, tree);
			break;
		case PROMQL_SCALAR:
			p->sql = psprintf("SELECT '{}'::prom.labels AS labels, prom._vector(%s, %d) AS vals",
							  promql_scalar_sql(&cx, tree), p->nsteps);
			break;
		case PROMQL_VECTOR:
			if (q->instant)
				p->sql = promql_vector_sql(&cx, tree).sql;
			else
				p->sql = psprintf("SELECT v.labels, v.vals\nFROM (\n%s) AS v\nORDER BY v.labels",
								  promql_vector_sql(&cx, tree).sql);
			break;
	}
	return p;
}

/* Checks the times and counts the steps. */
static PromqlContext
plan_context(const PromqlQuery *q)
{
	PromqlContext cx = {q};

	cx.lookback_ms = q->lookback_ms > 0 ? q->lookback_ms : promql_lookback_ms;
	cx.steps.start_ms = q->start_ms;
	cx.steps.step_ms = q->instant ? 1 : q->step_ms;
	cx.steps.n = 1;
	if (q->instant)
		return cx;
	if (q->step_ms <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("zero or negative query resolution step widths are not accepted. Try a positive integer")));
	if (q->end_ms < q->start_ms)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("end timestamp must not be before start time")));
	if (((uint64) q->end_ms - (uint64) q->start_ms) / (uint64) q->step_ms > PROMQL_MAX_POINTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")));
	cx.steps.n = (int) (((uint64) q->end_ms - (uint64) q->start_ms) / (uint64) q->step_ms) + 1;
	return cx;
}

char *
promql_rows_sql(const PromqlPlan *p)
{
	if (p->type == PROMQL_STRING)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a string literal has no rows")));
	if (p->type == PROMQL_MATRIX)
		return psprintf("SELECT q.labels, p.\"time\", p.value, p.histogram\nFROM (\n%s) AS q\nCROSS JOIN LATERAL prom.samples(q.samples) AS p",
						p->sql);
	return psprintf("SELECT q.labels, p.\"time\", p.value, p.histogram\nFROM (\n%s) AS q\nCROSS JOIN LATERAL prom._points(q.vals, "
					INT64_FORMAT ", " INT64_FORMAT ", %d) AS p",
					p->sql, p->start_ms, p->step_ms, p->nsteps);
}

void
promql_run(const PromqlPlan *p, PromqlSeriesFn fn, void *arg)
{
	int			nest_level = begin_execution();
	MemoryContext row_cxt = AllocSetContextCreate(CurrentMemoryContext, "PromQL result row",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = CurrentMemoryContext;
	Portal		portal;

	SPI_connect();
	portal = open_cursor(p->sql);
	do
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextSwitchTo(row_cxt);
			run_row(p, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, fn, arg);
			MemoryContextReset(row_cxt);
		}
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	SPI_finish();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(row_cxt);
	end_execution(nest_level);
}

static Portal
open_cursor(const char *sql)
{
	return SPI_cursor_parse_open(NULL, sql, &(SPIParseOpenOptions) {.read_only = true});
}

static void
run_row(const PromqlPlan *p, HeapTuple row, TupleDesc desc, PromqlSeriesFn fn, void *arg)
{
	bool		isnull;
	PromLabels *labels = DatumGetPromLabelsP(SPI_getbinval(row, desc, 1, &isnull));
	Datum		result = SPI_getbinval(row, desc, 2, &isnull);
	int64	   *t_ms;
	double	   *values;
	const PromHistogram **histograms = NULL;
	int			n = 0;

	/* an aggregate of nothing but what it does not take */
	if (isnull)
		return;
	if (p->type == PROMQL_MATRIX)
	{
		PromChunkReader r = {0};

		prom_chunk_open(&r, DatumGetPromChunkP(result));
		n = prom_chunk_count(&r, 0);
		t_ms = palloc(sizeof(int64) * n);
		values = palloc(sizeof(double) * n);
		memcpy(t_ms, prom_chunk_times(&r, 0), sizeof(int64) * n);
		if (prom_chunk_has_histograms(&r, 0))
			histograms = palloc(sizeof(PromHistogram *) * n);
		if (histograms)
			prom_chunk_values_mixed(&r, 0, values, histograms);
		else
			prom_chunk_values(&r, 0, values);
	}
	else
	{
		PromVals   *vals = DatumGetPromValsP(result);

		t_ms = palloc(sizeof(int64) * vals->nsteps);
		values = palloc(sizeof(double) * vals->nsteps);
		if (prom_vals_is_mixed(vals))
			histograms = palloc(sizeof(PromHistogram *) * vals->nsteps);
		for (int i = 0; i < vals->nsteps; i++)
		{
			if (!prom_vals_has(vals, i))
				continue;
			t_ms[n] = p->start_ms + i * p->step_ms;
			if (histograms)
				histograms[n] = prom_vals_histogram(vals, i);
			values[n++] = prom_vals_get(vals, i);
		}
	}
	if (n > 0)
		fn(arg, labels, n, t_ms, values, histograms);
}

/*
 * Planner settings while a translated query runs.  Estimates of how many groups labels make are far
 * too high, and would choose sorting wide rows over hashing them; compiling never pays here.
 */
static int
begin_execution(void)
{
	int			nest_level = NewGUCNestLevel();

	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("enable_sort", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

static void
end_execution(int nest_level)
{
	AtEOXact_GUC(true, nest_level);
}

/* Rows of the plan into a set-returning function's result. */
void
promql_store_rows(const PromqlPlan *p, Tuplestorestate *store)
{
	int			nest_level = begin_execution();
	char	   *sql = promql_rows_sql(p);
	Portal		portal;

	SPI_connect();
	portal = open_cursor(sql);
	do
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS * 10);
		for (uint64 i = 0; i < SPI_processed; i++)
			tuplestore_puttuple(store, SPI_tuptable->vals[i]);
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	SPI_finish();
	end_execution(nest_level);
}

void
promql_init(void)
{
	DefineCustomBoolVariable("promgres.promql_experimental",
							 "Offers the functions that Prometheus calls experimental.",
							 "Prometheus' flag --enable-feature=promql-experimental-functions. They may change with it.",
							 &promql_experimental, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.lookback_delta",
							"How far an instant selector looks back for the newest sample.",
							"Prometheus' flag --query.lookback-delta.",
							&promql_lookback_ms, 300000, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.subquery_step",
							"Distance of the steps of a subquery that does not say it.",
							"Prometheus takes its global evaluation interval.",
							&promql_subquery_step_ms, 60000, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
}

/*
 * eval.c
 *	  Runs PromQL: plan (parse, translate), then the SQL through the executor under the caller's role.
 *
 * HTTP, SQL functions and whatever comes later take this one path.  No read path writes or takes an
 * xid, so it works on a standby.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "chunk/chunk.h"
#include "common/compat.h"
#include "promql/sqlgen.h"
#include "store/store.h"
#include "vals/annotate.h"

#define USUAL_WORK_MEM_KB	4096	/* PostgreSQL's default */
#define MOST_WORK_MEM_KB	65536	/* of one node of a plan */
#define SHOWN_ANNOTATIONS 10	/* of each kind, as Prometheus shows; HTTP's gateway counts itself */

/* Gives each row of a result to fn. */
typedef struct Receiver
{
	DestReceiver pub;
	const PromqlPlan *plan;
	PromqlSeriesFn fn;
	void	   *arg;
	MemoryContext row_cxt;
} Receiver;

int			promql_lookback_ms = 300000;
bool		promql_experimental = false;
int			promql_subquery_step_ms = 60000;

static PromqlContext plan_context(const PromqlQuery *q);
static void execute(const char *sql, DestReceiver *receiver, int shown_annotations);
static void receive_start(DestReceiver *self, int operation, TupleDesc desc);
static void receive_nothing(DestReceiver *self);
static bool receive_row(TupleTableSlot *slot, DestReceiver *self);
static int	begin_execution(void);
static void end_execution(int nest_level);
static void run_row(const PromqlPlan *p, Datum labels_datum, Datum result, PromqlSeriesFn fn, void *arg);

PromqlPlan *
promql_plan(const PromqlQuery *q)
{
	PromqlPlan *p = palloc0(sizeof(PromqlPlan));
	PromqlNode *tree = promql_parse(q->text);
	PromqlContext cx = plan_context(q);

	promql_resolve_durations(tree, q);
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
				p->sql = promql_final_names(promql_vector_sql(&cx, tree)).sql;
			else
				p->sql = psprintf("SELECT v.labels, v.vals\nFROM (\n%s) AS v\nORDER BY prom._in_order(v.labels)",
								  promql_final_names(promql_vector_sql(&cx, tree)).sql);
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
	promql_set_resolution(&cx);
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
	Receiver	receiver = {{receive_row, receive_start, receive_nothing, receive_nothing, DestNone}, p, fn, arg};

	receiver.row_cxt = AllocSetContextCreate(CurrentMemoryContext, "PromQL result row", ALLOCSET_DEFAULT_SIZES);
	execute(p->sql, &receiver.pub, 0);
	MemoryContextDelete(receiver.row_cxt);
}

/*
 * Rows go to the receiver one by one as the executor makes them: nothing is kept of them here.  A portal
 * is run rather than a statement of SPI, which would show the whole SQL as the context of each error.
 * (That workers are not used then is no loss: a leaf is a lateral subquery, which no worker runs.)
 */
static void
execute(const char *sql, DestReceiver *receiver, int shown_annotations)
{
	int			nest_level = begin_execution();
	Portal		portal;

	prom_annotations_begin();
	SPI_connect();
	portal = promql_open_portal(sql);
	(void) PortalRunFetch(portal, FETCH_FORWARD, FETCH_ALL, receiver);
	SPI_cursor_close(portal);
	SPI_finish();
	end_execution(nest_level);
	prom_annotations_end(shown_annotations);
}

static void
receive_start(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
receive_nothing(DestReceiver *self)
{
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver   *r = (Receiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->row_cxt);

	CHECK_FOR_INTERRUPTS();
	slot_getallattrs(slot);
	/* NULL: an aggregate of nothing but what it does not take */
	if (!slot->tts_isnull[1])
		run_row(r->plan, slot->tts_values[0], slot->tts_values[1], r->fn, r->arg);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row_cxt);
	return true;
}

static void
run_row(const PromqlPlan *p, Datum labels_datum, Datum result, PromqlSeriesFn fn, void *arg)
{
	PromLabels *labels = DatumGetPromLabelsP(labels_datum);
	int64	   *t_ms;
	double	   *values;
	const PromHistogram **histograms = NULL;
	int			n = 0;

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
 * too high, and would choose sorting wide rows over hashing them; where rows must be sorted none of its ways is the better
 * one, or it would read all series in the order of their ids rather than sort the few that match.  Compiling never pays here.  Several
 * nodes of a plan may each take work_mem: unless somebody has set it, it is a share of promgres.query_memory,
 * which is the limit here.
 */
static int
begin_execution(void)
{
	int			nest_level = NewGUCNestLevel();
	int			share_kb = Max(Min(prom_store_query_memory_kb() / 8, MOST_WORK_MEM_KB), 64);

	/* who has set it, for the server or a role, has a reason */
	if (work_mem > share_kb || work_mem == USUAL_WORK_MEM_KB)
		(void) set_config_option("work_mem", psprintf("%d", share_kb), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("enable_sort", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("enable_incremental_sort", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

static void
end_execution(int nest_level)
{
	AtEOXact_GUC(true, nest_level);
}

/* Rows of the plan into a set-returning function's result: the only place where they are kept. */
void
promql_store_rows(const PromqlPlan *p, Tuplestorestate *store)
{
	DestReceiver *receiver = CreateDestReceiver(DestTuplestore);

	SetTuplestoreDestReceiverParams(receiver, store, CurrentMemoryContext, false, NULL, NULL);
	execute(promql_rows_sql(p), receiver, SHOWN_ANNOTATIONS);
	receiver->rDestroy(receiver);
}

void
promql_init(void)
{
	DefineCustomBoolVariable("promgres.promql_experimental",
							 "Offers the functions that Prometheus calls experimental.",
							 "Prometheus' flag --enable-feature=promql-experimental-functions. They may change with it.",
							 &promql_experimental, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("promgres.promql_delayed_name_removal",
							 "Drops the names of metrics at the end of a query, not where they lose their meaning.",
							 "Prometheus' flag --enable-feature=promql-delayed-name-removal.",
							 &promql_delayed_names, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("promgres.promql_type_and_unit_labels",
							 "Goes by the label __type__, not by the name, to tell whether a metric is a counter.",
							 "Prometheus' flag --enable-feature=type-and-unit-labels.",
							 &promql_typed, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.lookback_delta",
							"How far an instant selector looks back for the newest sample.",
							"Prometheus' flag --query.lookback-delta.",
							&promql_lookback_ms, 300000, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.subquery_step",
							"Distance of the steps of a subquery that does not say it.",
							"Prometheus takes its global evaluation interval.",
							&promql_subquery_step_ms, 60000, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	promql_resolution_init();
	DefineCustomIntVariable("promgres.promql_kept_plans",
							"Plans of queries that a backend keeps for the next time they are asked.",
							"One is kept when a query is asked again, whatever its times, and lives a minute. 0 keeps none.",
							&promql_kept_plans, 32, 0, 1000, PGC_USERSET, 0, NULL, NULL, NULL);
}

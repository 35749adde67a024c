/*
 * explain.c
 *	  SQL that tells of the nodes of the expression, for people (prom.to_sql) and for prom.explain.
 *
 * Each node that is an instant vector becomes a subquery under an alias like "rate 2": the name of the node and its
 * number.  For people that is all, and the planner makes the same of it.  To be measured a node must be left alone
 * by the planner: then its rows and its time can be read from what EXPLAIN says.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "promql/sqlgen.h"
#include "select/select.h"

static const char *node_name(const PromqlNode *node);

PG_FUNCTION_INFO_V1(prom_explain_sql);
PG_FUNCTION_INFO_V1(prom_scan_counts);
PG_FUNCTION_INFO_V1(prom_is_passed);

int
promql_trace_begin(PromqlTrace *trace, const PromqlNode *node)
{
	char	   *name;

	appendStringInfo(&trace->nodes, "%s{\"node\":", trace->n > 0 ? "," : "[");
	trace->n++;
	name = psprintf("%s %d", node_name(node), trace->n);
	trace->open = lappend(trace->open, name);
	escape_json(&trace->nodes, name);
	appendStringInfoString(&trace->nodes, ",\"expr\":");
	escape_json(&trace->nodes, promql_print(node));
	appendStringInfo(&trace->nodes, ",\"depth\":%d}", trace->depth);
	trace->depth++;
	return trace->n;
}

char *
promql_trace_end(PromqlTrace *trace, const PromqlNode *node, int number, const char *sql)
{
	const char *alias = quote_identifier(psprintf("%s %d", node_name(node), number));

	trace->depth--;
	trace->open = list_delete_last(trace->open);
	if (!trace->measured)
		return psprintf("SELECT %s.labels, %s.vals\nFROM (\n%s) AS %s", alias, alias, sql, alias);
	return psprintf("SELECT %s.labels, %s.vals\n"
					"FROM (\n"
					"SELECT x.labels, x.vals\n"
					"FROM (\n%s) AS x\n"
					"OFFSET 0) AS %s\n"
					"WHERE prom._is_passed(%s.vals)", alias, alias, sql, alias, alias);
}

void
promql_trace_segments(PromqlTrace *trace, const PromSegments *segments)
{
	for (int i = 0; segments && i < segments->n; i++)
	{
		const PromSegment *s = &segments->segment[i];

		appendStringInfo(&trace->reads, "%s{\"node\":", trace->reads.len > 0 ? "," : "[");
		escape_json(&trace->reads, trace->open == NIL ? "" : (char *) llast(trace->open));
		appendStringInfo(&trace->reads, ",\"resolution\":%d,\"from_ms\":" INT64_FORMAT ",\"until_ms\":" INT64_FORMAT "%s}",
						 s->resolution_s, s->from_ms, s->to_ms, s->mixed ? ",\"mixed\":true" : "");
	}
}

static const char *
node_name(const PromqlNode *node)
{
	switch (node->tag)
	{
		case PROMQL_SELECTOR:
			return "selector";
		case PROMQL_CALL:
			return node->function->name;
		case PROMQL_AGGREGATE:
			return promql_agg_name(node->agg);
		case PROMQL_UNARY:
		case PROMQL_BINARY:
			return promql_op_name(node->op);
		default:
			return "node";
	}
}

/* _explain_sql(expr, start_ms, end_ms, step_ms, instant): the SQL; the nodes, and what they read, as JSON arrays */
Datum
prom_explain_sql(PG_FUNCTION_ARGS)
{
	PromqlTrace trace = {.measured = true};
	PromqlQuery q = {.text = text_to_cstring(PG_GETARG_TEXT_PP(0))};
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	initStringInfo(&trace.nodes);
	initStringInfo(&trace.reads);
	q.start_ms = PG_GETARG_INT64(1);
	q.end_ms = PG_GETARG_INT64(2);
	q.step_ms = PG_GETARG_INT64(3);
	q.instant = PG_GETARG_BOOL(4);
	q.trace = &trace;
	values[0] = CStringGetTextDatum(promql_rows_sql(promql_plan(&q)));
	appendStringInfoString(&trace.nodes, trace.n > 0 ? "]" : "[]");
	values[1] = DirectFunctionCall1(jsonb_in, CStringGetDatum(trace.nodes.data));
	appendStringInfoString(&trace.reads, trace.reads.len > 0 ? "]" : "[]");
	values[2] = DirectFunctionCall1(jsonb_in, CStringGetDatum(trace.reads.data));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* _scan_counts(): what the present statement has read in this process */
Datum
prom_scan_counts(PG_FUNCTION_ARGS)
{
	PromScanCounts *counts = prom_store_counts();
	TupleDesc	desc;
	Datum		values[11];
	bool		nulls[11] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(counts->series);
	values[1] = Int64GetDatum(counts->chunks);
	values[2] = Int64GetDatum(counts->chunks_used);
	values[3] = Int64GetDatum(counts->fresh);
	values[4] = Int64GetDatum(counts->samples);
	values[5] = Int64GetDatum(counts->tier_objects);
	values[6] = Int64GetDatum(counts->tier_gets);
	values[7] = Int64GetDatum(counts->tier_bytes);
	values[8] = Int64GetDatum(counts->tier_needed_bytes);
	values[9] = Int64GetDatum(counts->tier_hits);
	values[10] = Int64GetDatum(counts->tier_hit_bytes);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* _is_passed(vals): true; a condition keeps the subquery that it stands in */
Datum
prom_is_passed(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(true);
}

/*
 * subscript.c
 *	  labels['job']: the value of a label, NULL if the set has none of that name.
 *
 * The same as the operator ->>, but found without prom in the search_path.  Label sets are values: a
 * label cannot be assigned to.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/execExpr.h"
#include "nodes/nodeFuncs.h"
#include "nodes/subscripting.h"
#include "parser/parse_coerce.h"
#include "parser/parse_expr.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "series/series.h"

PG_FUNCTION_INFO_V1(prom_labels_subscript);

static void transform(SubscriptingRef *ref, List *indirection, ParseState *pstate, bool is_slice,
					  bool is_assignment);
static void exec_setup(const SubscriptingRef *ref, SubscriptingRefState *state, SubscriptExecSteps *steps);
static void fetch(ExprState *state, ExprEvalStep *op, ExprContext *econtext);

Datum
prom_labels_subscript(PG_FUNCTION_ARGS)
{
	static const SubscriptRoutines routines = {
		.transform = transform,
		.exec_setup = exec_setup,
		.fetch_strict = true,
		.fetch_leakproof = true
	};

	PG_RETURN_POINTER(&routines);
}

static void
transform(SubscriptingRef *ref, List *indirection, ParseState *pstate, bool is_slice, bool is_assignment)
{
	A_Indices  *index = linitial_node(A_Indices, indirection);
	Node	   *given;
	Node	   *name;

	if (is_slice || list_length(indirection) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a label set takes one subscript, the name of a label"),
				 parser_errposition(pstate, exprLocation((Node *) indirection))));
	if (is_assignment)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a label cannot be assigned to"),
				 errhint("Make a new label set, for example from jsonb.")));
	given = transformExpr(pstate, index->uidx, pstate->p_expr_kind);
	name = coerce_to_target_type(pstate, given, exprType(given), TEXTOID, -1, COERCION_ASSIGNMENT,
								 COERCE_IMPLICIT_CAST, -1);
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the subscript of a label set must have type text"),
				 parser_errposition(pstate, exprLocation(given))));
	ref->refupperindexpr = list_make1(name);
	ref->reflowerindexpr = NIL;
	ref->refrestype = TEXTOID;
	ref->reftypmod = -1;
}

static void
exec_setup(const SubscriptingRef *ref, SubscriptingRefState *state, SubscriptExecSteps *steps)
{
	steps->sbs_check_subscripts = NULL;
	steps->sbs_fetch = fetch;
	steps->sbs_assign = NULL;
	steps->sbs_fetch_old = NULL;
}

static void
fetch(ExprState *state, ExprEvalStep *op, ExprContext *econtext)
{
	SubscriptingRefState *ref = op->d.sbsref.state;
	PromLabels *labels = DatumGetPromLabelsP(*op->resvalue);
	text	   *name;
	const char *value;
	int			len;

	*op->resnull = true;
	if (ref->upperindexnull[0])
		return;
	name = DatumGetTextPP(ref->upperindex[0]);
	if (!prom_labels_get(labels, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), &value, &len))
		return;
	*op->resvalue = PointerGetDatum(cstring_to_text_with_len(value, len));
	*op->resnull = false;
}

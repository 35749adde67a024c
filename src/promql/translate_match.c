/*
 * translate_match.c
 *	  Tree -> SQL: operators between two vectors, one series to one; and what all matching shares.
 *
 * Both sides get a signature, the labels to match on.  One side ("o", the right one, unless
 * group_right says otherwise) has one row per signature, the other side ("m") is joined to it.  Where
 * label sets alone tell that signatures are unique, that is all.  Else the one side is folded first and
 * what it has twice is told to the other side, and an aggregate per signature computes the result: it
 * sees all its rows of "m" and so can tell when two of them would match at one step.
 *
 * Fill modifiers add rows to the side where a signature is missing, at the steps at which the other has it;
 * after that all is the same.  fill_left is about "m", even if that is the right side: so is Prometheus.
 */
#include "postgres.h"

#include "promql/sqlgen.h"

static char *filled_sql(const char *side, const char *other, double value);
static bool aggregate_is_unique(const PromqlNode *node, const PromqlNode *vector);
static bool list_within(List *inner, List *outer);

PromqlVector
promql_match_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlVector x = {NULL, PROMQL_NAMES_SAME};
	const char *op = promql_op_name(node->op);
	PromqlContext inner;
	PromqlJoin	join;
	const char *labels;

	if (promql_is_trim(node->op))
	{
		inner = promql_with_buckets(cx);
		cx = &inner;
	}
	if (node->card == PROMQL_MANY_TO_MANY)
		return promql_set_sql(cx, node);
	if (node->card != PROMQL_ONE_TO_ONE)
		return promql_group_sql(cx, node);

	join = promql_join_sql(cx, node);
	if (promql_keeps_name(node) && !node->on)
	{
		/* A filter: results keep the labels of the left side, but for those ignored. */
		x.names = join.many_names;
		labels = promql_keep_name_sql("m.labels");
		if (node->labels)
			labels = psprintf("prom._labels_drop(%s, %s)", labels, promql_text_array(node->labels, NULL));
	}
	else
		labels = promql_keeps_name(node) ? "m.sig" : promql_drop_name_now_sql("m.sig");

	if (join.many_is_unique)
		x.sql = promql_pairs_sql(&join, labels, promql_pair_sql(cx, node, "prom._"));
	else if (promql_keeps_name(node) && !node->on)
	{
		x.sql = psprintf("SELECT u.labels, u.vals\n"
						 "FROM (\n"
						 "%sSELECT prom._match_filter('%s', %s, m.vals, o.vals) AS found\n"
						 "%s\n"
						 "GROUP BY m.sig) AS f\n"
						 "CROSS JOIN LATERAL pg_catalog.unnest(f.found) AS u(labels, vals)",
						 join.with, op, labels, join.from);
		x = promql_map_sql(x, promql_noted_operator_sql(cx, "x.vals", op, node), true);
		x.names = PROMQL_NAMES_MANY;
	}
	else
		x.sql = psprintf("SELECT f.labels, f.vals\n"
						 "FROM (\n"
						 "%sSELECT %s AS labels, %s AS vals\n"
						 "%s\n"
						 "GROUP BY m.sig) AS f\n"
						 "WHERE f.vals IS NOT NULL",
						 join.with, labels, promql_pair_sql(cx, node, "prom._match_"), join.from);
	if (node->on && promql_is_listed("__name__", node->labels))
		x.names = PROMQL_NAMES_MANY;
	return promql_keeps_name(node) ? x : promql_check_names(x, true);
}

/* One result per joined pair of rows; pairs that come out empty vanish. */
char *
promql_pairs_sql(const PromqlJoin *join, const char *labels, const char *vals)
{
	return psprintf("SELECT f.labels, f.vals\n"
					"FROM (\n"
					"%sSELECT %s AS labels, %s AS vals\n"
					"%s\n"
					"OFFSET 0) AS f\n"
					"WHERE f.vals IS NOT NULL",
					join->with, labels, vals, join->from);
}

/* The operator on a pair: "prefix" and arith or compare are the function or aggregate. */
char *
promql_pair_sql(PromqlContext *cx, const PromqlNode *node, const char *prefix)
{
	bool		right_is_many = node->card == PROMQL_ONE_TO_MANY;
	const char *operands = right_is_many ? "o.vals, m.vals" : "m.vals, o.vals";
	const char *op = promql_op_name(node->op);
	char	   *vals;

	if (promql_op_is_comparison(node->op))
		vals = psprintf("%scompare('%s', %s, %s%s)", prefix, op, operands, node->returns_bool ? "true" : "false",
						strcmp(prefix, "prom._") == 0 ? ", false" : "");
	else
		vals = psprintf("%sarith('%s', %s)", prefix, op, operands);
	return promql_noted_operator_sql(cx, vals, op, node);
}

/*
 * Both sides joined by signature: columns sig, labels and vals of "m" and "o".  Of "o" there is one row
 * per signature, or with labels to include one for each series; labels are there in that case only.
 * "OFFSET 0" keeps the join from sparing the check rows that have no partner.  The join is a FULL one because
 * an inner join is done as soon as one side turns out empty, and the errors and annotations of the other side
 * were lost; of rows without a partner nothing comes, as what is computed on them is NULL.
 */
PromqlJoin
promql_join_sql(PromqlContext *cx, PromqlNode *node)
{
	PromqlJoin	join = {"", NULL, PROMQL_NAMES_SAME, false, false};
	bool		right_is_many = node->card == PROMQL_ONE_TO_MANY;
	PromqlNode *many_node = right_is_many ? node->right : node->left;
	PromqlNode *one_node = right_is_many ? node->left : node->right;
	PromqlVector many = promql_vector_sql(cx, many_node);
	PromqlVector one = promql_vector_sql(cx, one_node);
	char	   *many_rows = promql_signed_sql(node, many.sql);
	char	   *one_rows = promql_signed_sql(node, one.sql);

	if (node->has_fill_left || node->has_fill_right)
	{
		join.with = psprintf("WITH all_many AS MATERIALIZED (\n%s),\nall_one AS MATERIALIZED (\n%s)\n", many_rows, one_rows);
		many_rows = node->has_fill_left ? filled_sql("all_many", "all_one", node->fill_left)
			: "SELECT x.sig, x.labels, x.vals\nFROM all_many AS x";
		one_rows = node->has_fill_right ? filled_sql("all_one", "all_many", node->fill_right)
			: "SELECT x.sig, x.labels, x.vals\nFROM all_one AS x";
		/* a filled row has no name, whatever the others have */
		many.names = one.names = PROMQL_NAMES_MANY;
		join.is_filled = true;
	}
	join.many_names = many.names;
	join.many_is_unique = !join.is_filled && promql_signature_is_unique(node, many_node, many.names);
	join.one_is_unique = !join.is_filled && promql_signature_is_unique(node, one_node, one.names);
	if (!join.one_is_unique)
	{
		join.with = psprintf("%s one AS MATERIALIZED (\n"
							 "SELECT y.sig, prom._one_side%s(y.sig, y.labels, y.vals) AS %s, prom._duplicate(y.sig, y.labels, y.vals) AS duplicate\n"
							 "FROM (\n%s) AS y\n"
							 "GROUP BY y.sig)\n",
							 join.is_filled ? psprintf("%s,", join.with) : "WITH",
							 node->include ? "_rows" : "", node->include ? "found" : "vals", one_rows);
		one_rows = "SELECT one.sig, one.vals\n"
			"FROM one";
		if (node->include)
			one_rows = "SELECT one.sig, u.labels, u.vals\n"
				"FROM one\n"
				"CROSS JOIN LATERAL pg_catalog.unnest(one.found) AS u(labels, vals)";
		many_rows = psprintf("%s\nWHERE prom._alone(x.vals, (SELECT pg_catalog.array_agg(one.duplicate) FROM one WHERE one.duplicate IS NOT NULL), '%s')\nOFFSET 0",
							 many_rows, right_is_many ? "left" : "right");
	}
	join.from = psprintf("FROM (\n%s) AS m\n"
						 "FULL JOIN (\n%s) AS o ON o.sig OPERATOR(prom.=) m.sig",
						 many_rows, one_rows);
	return join;
}

/* The rows of one side, and those that it lacks of the other side's signatures: their labels are these. */
static char *
filled_sql(const char *side, const char *other, double value)
{
	return psprintf("SELECT x.sig, x.labels, x.vals\n"
					"FROM (\n"
					"SELECT a.sig, a.labels, a.vals\n"
					"FROM %s AS a\n"
					"UNION ALL\n"
					"SELECT f.sig, f.sig AS labels, f.vals\n"
					"FROM (\n"
					"SELECT p.sig, prom._fill(p.vals, q.vals, %s) AS vals\n"
					"FROM (\n"
					"SELECT y.sig, prom._agg_group(y.vals) AS vals\n"
					"FROM %s AS y\n"
					"GROUP BY y.sig) AS p\n"
					"LEFT JOIN (\n"
					"SELECT y.sig, prom._agg_group(y.vals) AS vals\n"
					"FROM %s AS y\n"
					"GROUP BY y.sig) AS q ON q.sig OPERATOR(prom.=) p.sig\n"
					"OFFSET 0) AS f\n"
					"WHERE f.vals IS NOT NULL) AS x",
					side, promql_float_sql(value), other, side);
}

/* The rows of a vector with their signature. */
char *
promql_signed_sql(const PromqlNode *node, const char *vector)
{
	const char *sig = node->on ? psprintf("prom._labels_keep(x.labels, %s)", promql_text_array(node->labels, NULL))
		: psprintf("prom._labels_drop(x.labels, %s)", promql_text_array(promql_without_name(node->labels), NULL));

	return psprintf("SELECT %s AS sig, x.labels, x.vals\n"
					"FROM (\n%s) AS x", sig, vector);
}

/* Do any two series of this operand have different signatures, going by what labels they can have? */
bool
promql_signature_is_unique(const PromqlNode *node, const PromqlNode *vector, PromqlNames names)
{
	while (vector->tag == PROMQL_PAREN)
		vector = vector->left;
	if (vector->tag == PROMQL_AGGREGATE && aggregate_is_unique(node, vector))
		return true;
	return !node->on && node->labels == NIL && names == PROMQL_NAMES_SAME;
}

static bool
aggregate_is_unique(const PromqlNode *node, const PromqlNode *vector)
{
	ListCell   *lc;

	/* results have labels of their input, or one more */
	if (vector->agg == PROMQL_TOPK || vector->agg == PROMQL_BOTTOMK || vector->agg == PROMQL_LIMITK ||
		vector->agg == PROMQL_LIMIT_RATIO || vector->agg == PROMQL_COUNT_VALUES)
		return false;
	if (vector->without)
		return !node->on && list_within(node->labels, vector->labels);
	if (node->on)
		return list_within(vector->labels, node->labels);
	foreach(lc, vector->labels)
	{
		if (promql_is_listed(lfirst(lc), node->labels) || strcmp(lfirst(lc), "__name__") == 0)
			return false;
	}
	return true;
}

static bool
list_within(List *inner, List *outer)
{
	ListCell   *lc;

	foreach(lc, inner)
	{
		if (!promql_is_listed(lfirst(lc), outer))
			return false;
	}
	return true;
}

bool
promql_is_listed(const char *label, List *labels)
{
	ListCell   *lc;

	foreach(lc, labels)
	{
		if (strcmp(lfirst(lc), label) == 0)
			return true;
	}
	return false;
}

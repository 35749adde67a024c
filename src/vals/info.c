/*
 * info.c
 *	  info(): the series of one instance and job get the labels of its info series.
 *
 * An aggregate sees all series of such an identity: those of the vector, and the info series, whose values
 * are the times of their samples.  At each step the newest series of every info metric counts.  What a series
 * of the vector is called may so differ from step to step: it becomes a row for each label set it gets.
 * Label sets of two rows may coincide; the translation looks after that.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "vals/labeled.h"

typedef struct InfoState
{
	PromLabeledList series;		/* of the vector */
	bool	   *is_info;		/* of these: itself an info series, which stays as it is */
	int			size;
	PromLabeledList infos;
	bool		required;		/* without an info series there is no result */
	int			nwanted;		/* labels that may be added; none: all */
	char	  **wanted;
} InfoState;

/* Which info series count at each step. */
typedef struct Chosen
{
	int			nmetrics;
	int		   *metric;			/* of each info series: number of its name */
	int		   *series;			/* [step * nmetrics + metric]: number of the series, or -1 */
} Chosen;

PG_FUNCTION_INFO_V1(prom_info_add);
PG_FUNCTION_INFO_V1(prom_info_final);

static InfoState *
new_state(ArrayType *wanted, bool required)
{
	InfoState  *s = palloc0(sizeof(InfoState));
	Datum	   *names;

	deconstruct_array(wanted, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &s->nwanted);
	s->wanted = palloc(sizeof(char *) * Max(s->nwanted, 1));
	for (int i = 0; i < s->nwanted; i++)
		s->wanted[i] = TextDatumGetCString(names[i]);
	s->required = required;
	s->size = 4;
	s->is_info = palloc(sizeof(bool) * s->size);
	return s;
}

/* prom._info(is_info, is_lookup, labels, vals, wanted, required) */
Datum
prom_info_add(PG_FUNCTION_ARGS)
{
	MemoryContext old = MemoryContextSwitchTo(prom_aggregate_context(fcinfo));
	InfoState  *s = PG_ARGISNULL(0) ? NULL : (InfoState *) PG_GETARG_POINTER(0);

	for (int i = 1; i <= 6; i++)
		if (PG_ARGISNULL(i))
			elog(ERROR, "argument %d of prom._info must not be null", i);
	if (s == NULL)
		s = new_state(PG_GETARG_ARRAYTYPE_P(5), PG_GETARG_BOOL(6));
	if (PG_GETARG_BOOL(2))
		prom_labeled_add(&s->infos, PG_GETARG_PROM_LABELS_P(3), PG_GETARG_PROM_VALS_P(4));
	else
	{
		if (s->series.n == s->size)
		{
			s->size *= 2;
			s->is_info = repalloc(s->is_info, sizeof(bool) * s->size);
		}
		s->is_info[s->series.n] = PG_GETARG_BOOL(1);
		prom_labeled_add(&s->series, PG_GETARG_PROM_LABELS_P(3), PG_GETARG_PROM_VALS_P(4));
	}
	MemoryContextSwitchTo(old);
	PG_RETURN_POINTER(s);
}

/* ---- which info series count ---- */

static int
compare_labels(const void *a, const void *b)
{
	return prom_labels_cmp(((const PromLabeled *) a)->labels, ((const PromLabeled *) b)->labels);
}

static bool
same_name(const PromLabels *a, const PromLabels *b)
{
	const char *x = "";
	const char *y = "";
	int			x_len = 0;
	int			y_len = 0;

	(void) prom_labels_get(a, "__name__", 8, &x, &x_len);
	(void) prom_labels_get(b, "__name__", 8, &y, &y_len);
	return x_len == y_len && memcmp(x, y, x_len) == 0;
}

static void
raise_duplicate(const PromLabels *existing, const PromLabels *new, double time)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, "existing ");
	prom_labels_print(&text, existing);
	appendStringInfo(&text, " @ %.0f, new ", time * 1000);
	prom_labels_print(&text, new);
	appendStringInfo(&text, " @ %.0f", time * 1000);
	ereport(ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg("found duplicate series for info metric: %s", text.data)));
}

/* Sorts the info series, so that those of one metric are together and results depend on no order of rows. */
static Chosen
choose(PromLabeledList *infos, int nsteps)
{
	Chosen		c = {0, palloc(sizeof(int) * Max(infos->n, 1)), NULL};
	PromLabeled *rows = infos->rows;

	if (infos->n > 1)
		qsort(rows, infos->n, sizeof(PromLabeled), compare_labels);
	for (int k = 0; k < infos->n; k++)
	{
		if (k == 0 || !same_name(rows[k - 1].labels, rows[k].labels))
			c.nmetrics++;
		c.metric[k] = c.nmetrics - 1;
	}
	c.series = palloc_extended(sizeof(int) * Max((Size) nsteps * c.nmetrics, 1), MCXT_ALLOC_HUGE);
	for (Size i = 0; i < (Size) nsteps * c.nmetrics; i++)
		c.series[i] = -1;
	for (int k = 0; k < infos->n; k++)
	{
		CHECK_FOR_INTERRUPTS();
		prom_vals_check_equal(rows[k].vals->nsteps, nsteps);
		for (int i = 0; i < nsteps; i++)
		{
			int		   *at = &c.series[(Size) i * c.nmetrics + c.metric[k]];

			if (!prom_vals_has(rows[k].vals, i))
				continue;
			if (*at >= 0 && rows[*at].vals->v[i] == rows[k].vals->v[i])
				raise_duplicate(rows[*at].labels, rows[k].labels, rows[k].vals->v[i]);
			if (*at < 0 || rows[*at].vals->v[i] < rows[k].vals->v[i])
				*at = k;
		}
	}
	return c;
}

/* ---- labels ---- */

static bool
is_wanted(const InfoState *s, PromLabel label)
{
	for (int i = 0; i < s->nwanted; i++)
		if (strlen(s->wanted[i]) == label.name_len && memcmp(s->wanted[i], label.name, label.name_len) == 0)
			return true;
	return s->nwanted == 0;
}

/* Those of the series, and of the info series what it has not; two of these must agree. */
static PromLabels *
join_labels(const InfoState *s, PromLabels *labels, const int *chosen, int nmetrics)
{
	PromLabels *result = labels;

	for (int k = 0; k < nmetrics; k++)
	{
		PromLabel  *pairs;
		int			n;

		if (chosen[k] < 0)
			continue;
		pairs = prom_labels_unpack(s->infos.rows[chosen[k]].labels, &n);
		for (int i = 0; i < n; i++)
		{
			const char *value;
			int			len;

			if ((pairs[i].name_len == 8 && memcmp(pairs[i].name, "__name__", 8) == 0) || !is_wanted(s, pairs[i]) ||
				prom_labels_get(labels, pairs[i].name, pairs[i].name_len, &value, &len))
				continue;
			if (prom_labels_get(result, pairs[i].name, pairs[i].name_len, &value, &len) &&
				(len != pairs[i].value_len || memcmp(value, pairs[i].value, len) != 0))
				ereport(ERROR,
						(errcode(ERRCODE_CARDINALITY_VIOLATION),
						 errmsg("conflicting label: %.*s", pairs[i].name_len, pairs[i].name)));
			result = prom_labels_with(result, pairs[i]);
		}
	}
	return result;
}

/* The row of these labels among those from "first" on, made if it is not there. */
static PromVals *
find_row(PromLabeledList *out, int first, const PromLabels *labels, int nsteps)
{
	for (int k = out->n - 1; k >= first; k--)
		if (prom_labels_cmp(out->rows[k].labels, labels) == 0)
			return out->rows[k].vals;
	prom_labeled_add(out, labels, prom_vals_new(nsteps));
	return out->rows[out->n - 1].vals;
}

/* Adds what becomes of one series of the vector. */
static void
add_series(const InfoState *s, const Chosen *c, const PromLabeled *series, PromLabeledList *out)
{
	int			first = out->n;
	const int  *before = NULL;
	PromVals   *row = NULL;

	for (int i = 0; i < series->vals->nsteps; i++)
	{
		const int  *chosen = &c->series[(Size) i * c->nmetrics];
		bool		found = false;

		if (!prom_vals_has(series->vals, i))
			continue;
		for (int k = 0; k < c->nmetrics && !found; k++)
			found = chosen[k] >= 0;
		if (!found && s->required)
			continue;
		/* labels are those of the step before if that had the same info series */
		if (row == NULL || memcmp(chosen, before, sizeof(int) * c->nmetrics) != 0)
			row = find_row(out, first, join_labels(s, series->labels, chosen, c->nmetrics), series->vals->nsteps);
		before = chosen;
		prom_vals_set(row, i, series->vals->v[i]);
	}
}

static bool
has_identity(const PromLabels *labels)
{
	const char *value;
	int			len;

	return prom_labels_get(labels, "instance", 8, &value, &len) || prom_labels_get(labels, "job", 3, &value, &len);
}

/* The series as prom.labeled_vals[]; constant values do not come here. */
Datum
prom_info_final(PG_FUNCTION_ARGS)
{
	InfoState  *s = (InfoState *) PG_GETARG_POINTER(0);
	PromLabeledList out = {NULL, 0, 0};
	PromLabeledList none = {NULL, 0, 0};
	Chosen		c = {0};
	bool		looked = false;

	for (int k = 0; k < s->series.n; k++)
	{
		PromLabeled *series = &s->series.rows[k];

		CHECK_FOR_INTERRUPTS();
		if (s->is_info[k])
		{
			prom_labeled_add(&out, series->labels, series->vals);
			continue;
		}
		if (!looked)
			c = choose(has_identity(series->labels) ? &s->infos : &none, series->vals->nsteps);
		looked = true;
		add_series(s, &c, series, &out);
	}
	return prom_labeled_array(fcinfo, &out);
}

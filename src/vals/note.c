/*
 * note.c
 *	  What prom._note says about values that carry notes, and about quantiles out of range.
 *
 * A row of the table is one note: what it says of a range function, where %s is the name of the metric, and
 * what it says of an operator or an aggregation, where it is that one's name.  The mix of schemas is told of an
 * aggregation as of a range function.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "utils/builtins.h"

#include "common/compat.h"
#include "series/series.h"
#include "vals/annotate.h"

typedef struct Note
{
	uint16		bit;
	PromSeverity severity;
	const char *of_range;		/* NULL: cannot be */
	const char *of_operator;
} Note;

static const Note notes[] = {
	{PROM_NOTE_MIX, PROM_WARNING, "encountered a mix of histograms and floats for metric name \"%s\"",
	"encountered a mix of histograms and floats for aggregation"},
	{PROM_NOTE_MIXED_SCHEMAS, PROM_WARNING,
		"vector contains a mix of histograms with exponential and custom buckets schemas for metric name \"%s\"",
	"incompatible bucket layout encountered for binary operator %s"},
	{PROM_NOTE_NOT_COUNTER, PROM_WARNING, "this native histogram metric is not a counter: \"%s\"", NULL},
	{PROM_NOTE_NOT_GAUGE, PROM_WARNING, "this native histogram metric is not a gauge: \"%s\"", NULL},
	{PROM_NOTE_IGNORED, PROM_INFO,
		"ignored histograms in a range containing both floats and histograms for metric name \"%s\"",
	"ignored histogram in %s aggregation"},
	{PROM_NOTE_RESETS_ADD, PROM_WARNING, "conflicting counter resets during histogram addition",
	"conflicting counter resets during histogram addition"},
	{PROM_NOTE_RESETS_SUB, PROM_WARNING, "conflicting counter resets during histogram subtraction",
	"conflicting counter resets during histogram subtraction"},
	{PROM_NOTE_RESETS_AGG, PROM_WARNING, "conflicting counter resets during histogram aggregation",
	"conflicting counter resets during histogram aggregation"},
	{PROM_NOTE_RECONCILED_ADD, PROM_INFO, "mismatched custom buckets were reconciled during addition",
	"mismatched custom buckets were reconciled during addition"},
	{PROM_NOTE_RECONCILED_SUB, PROM_INFO, "mismatched custom buckets were reconciled during subtraction",
	"mismatched custom buckets were reconciled during subtraction"},
	{PROM_NOTE_RECONCILED_AGG, PROM_INFO, "mismatched custom buckets were reconciled during aggregation",
	"mismatched custom buckets were reconciled during aggregation"},
	{PROM_NOTE_FLOAT_FLOAT, PROM_INFO, NULL,
	"incompatible sample types encountered for binary operator \"%s\": float %s float"},
	{PROM_NOTE_FLOAT_HISTOGRAM, PROM_INFO, NULL,
	"incompatible sample types encountered for binary operator \"%s\": float %s histogram"},
	{PROM_NOTE_HISTOGRAM_FLOAT, PROM_INFO, NULL,
	"incompatible sample types encountered for binary operator \"%s\": histogram %s float"},
	{PROM_NOTE_HISTOGRAM_HISTOGRAM, PROM_INFO, NULL,
	"incompatible sample types encountered for binary operator \"%s\": histogram %s histogram"},
};

PG_FUNCTION_INFO_V1(prom_note_range);
PG_FUNCTION_INFO_V1(prom_note_operator);
PG_FUNCTION_INFO_V1(prom_note_aggregate);
PG_FUNCTION_INFO_V1(prom_note_quantile);
PG_FUNCTION_INFO_V1(prom_check_quantile);

/* ---- notes ---- */

/* The texts of a label, "" if it is absent. */
static char *
label_text(const PromLabels *labels, const char *name)
{
	const char *value;
	int			len;

	if (!prom_labels_get(labels, name, strlen(name), &value, &len))
		return pstrdup("");
	return pnstrdup(value, len);
}

static bool
ends_with(const char *s, const char *end)
{
	size_t		len = strlen(s);
	size_t		end_len = strlen(end);

	return len >= end_len && strcmp(s + len - end_len, end) == 0;
}

/* Is this metric a counter, going by its name, or by its type where there are labels for that? */
static void
check_counter(const PromLabels *labels, const char *name, const text *place, bool typed)
{
	if (name[0] == '\0')
		return;
	if (typed)
	{
		char	   *type = label_text(labels, "__type__");

		if (strcmp(type, "counter") != 0 && strcmp(type, "histogram") != 0)
			prom_annotate(PROM_INFO, place,
						  "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got \"%s\": \"%s\"",
						  type, name);
	}
	else if (!ends_with(name, "_total") && !ends_with(name, "_sum") && !ends_with(name, "_count") &&
			 !ends_with(name, "_bucket"))
		prom_annotate(PROM_INFO, place,
					  "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"%s\"", name);
}

/* The text with each "%s" replaced by the subject. */
static char *
fill_in(const char *template_text, const char *subject)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *p = template_text; *p != '\0'; p++)
	{
		if (p[0] != '%')
		{
			appendStringInfoCharMacro(&out, *p);
			continue;
		}
		appendStringInfoString(&out, subject);
		p++;
	}
	return out.data;
}

static void
say_notes(uint16 bits, bool of_range, const char *subject, const text *place)
{
	for (int i = 0; i < lengthof(notes); i++)
	{
		const char *template_text = of_range ? notes[i].of_range : notes[i].of_operator;

		if ((bits & notes[i].bit) != 0 && template_text != NULL)
			prom_annotate(notes[i].severity, place, "%s", fill_in(template_text, subject));
	}
}

/* prom._note(vals, labels, place, typed) */
Datum
prom_note_range(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_GETARG_PROM_VALS_P(0);

	if (x->notes != 0)
	{
		PromLabels *labels = PG_GETARG_PROM_LABELS_P(1);
		text	   *place = PG_GETARG_TEXT_PP(2);
		char	   *name = label_text(labels, "__name__");

		if (x->notes & PROM_NOTE_COUNTER)
			check_counter(labels, name, place, PG_GETARG_BOOL(3));
		say_notes(x->notes, true, name, place);
	}
	if (x->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(x);
}

/* prom._note_aggregate(vals, aggregation, metric, place) */
Datum
prom_note_aggregate(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_GETARG_PROM_VALS_P(0);

	if (x->notes != 0)
	{
		text	   *place = PG_GETARG_TEXT_PP(3);

		say_notes(x->notes & PROM_NOTE_MIXED_SCHEMAS, true, text_to_cstring(PG_GETARG_TEXT_PP(2)), place);
		say_notes(x->notes & ~PROM_NOTE_MIXED_SCHEMAS, false, text_to_cstring(PG_GETARG_TEXT_PP(1)), place);
	}
	if (x->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(x);
}

/* prom._note(vals, operator, place) */
Datum
prom_note_operator(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_GETARG_PROM_VALS_P(0);

	if (x->notes != 0)
		say_notes(x->notes, false, text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_TEXT_PP(2));
	if (x->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(x);
}

/* ---- quantiles ---- */

static void
check_quantile(double phi, const text *place)
{
	if (!(phi >= 0 && phi <= 1))
		prom_annotate(PROM_WARNING, place, "quantile value should be between 0 and 1, got %s",
					  prom_annotate_number(phi));
}

/* prom._note_quantile(vals, phi, place): vals; a phi that is out of range where they are present is told */
Datum
prom_note_quantile(PG_FUNCTION_ARGS)
{
	PromVals   *x = PG_GETARG_PROM_VALS_P(0);
	PromVals   *phi = PG_GETARG_PROM_VALS_P(1);

	for (int i = 0; i < x->nsteps; i++)
		if (prom_vals_has(x, i) && (prom_vals_is_const(phi) || i < phi->nsteps))
			check_quantile(prom_vals_get(phi, i), PG_GETARG_TEXT_PP(2));
	PG_RETURN_POINTER(x);
}

/* prom._check_quantile(phi, extremes, place): false; the least and the greatest phi, or each, is told if out of range */
Datum
prom_check_quantile(PG_FUNCTION_ARGS)
{
	PromVals   *phi = PG_GETARG_PROM_VALS_P(0);
	double		low = HUGE_VAL;
	double		high = -HUGE_VAL;

	for (int i = 0; i < phi->nsteps; i++)
	{
		double		v = prom_vals_get(phi, i);

		if (!PG_GETARG_BOOL(1) || isnan(v))
			check_quantile(v, PG_GETARG_TEXT_PP(2));
		else
		{
			low = Min(low, v);
			high = Max(high, v);
		}
	}
	if (high > 1)
		check_quantile(high, PG_GETARG_TEXT_PP(2));
	if (low < 0)
		check_quantile(low, PG_GETARG_TEXT_PP(2));
	PG_RETURN_BOOL(false);
}

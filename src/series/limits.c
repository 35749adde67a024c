/*
 * limits.c
 *	  Limits on new series: how many there may be, and what their labels may look like.
 *
 * They are asked when a series is made, so a series that is there is taken for ever, whatever the
 * settings say later.  A reason begins with the metric, for it is what the owner of a sender looks
 * for, and ends with the setting and its value.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/guc.h"

#include "series/labels.h"
#include "series/limits.h"

#define SHOWN_BYTES 100			/* of a name in a reason */

static int	max_series;
static int	max_series_per_metric;
static int	max_labels;
static int	max_label_name;
static int	max_label_value;

static char *shown(const char *name, int len);
static char *metric_of(const PromLabels *l);

void
prom_limits_init(void)
{
	DefineCustomIntVariable("promgres.max_series",
							"Sets how many series there may be.",
							"New ones above it are refused. 0 is no limit.",
							&max_series, 0, 0, PG_INT32_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.max_series_per_metric",
							"Sets how many series one metric name may have.",
							"New ones above it are refused. 0 is no limit.",
							&max_series_per_metric, 0, 0, PG_INT32_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.max_labels_per_series",
							"Sets how many labels a new series may have, its name included.",
							"0 is no limit but that of the format, which is 1024.",
							&max_labels, 100, 0, PROM_LABELS_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.max_label_name_length",
							"Sets how long the label names of a new series may be.",
							"0 is no limit but that of the format, which is 1024 bytes.",
							&max_label_name, 0, 0, PROM_LABEL_NAME_MAX, PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.max_label_value_length",
							"Sets how long the label values of a new series may be.",
							"0 is no limit but that of the format, which is 65535 bytes.",
							&max_label_value, 8192, 0, PROM_LABEL_VALUE_MAX, PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
}

bool
prom_limits_count(void)
{
	return max_series > 0 || max_series_per_metric > 0;
}

char *
prom_limits_labels_fault(const PromLabels *l)
{
	PromLabelWalk w = prom_label_walk(l);
	PromLabel	label;

	if (max_labels > 0 && w.left > max_labels)
		return psprintf("metric \"%s\": %u labels are more than promgres.max_labels_per_series = %d",
						metric_of(l), w.left, max_labels);
	while (prom_label_next(&w, &label))
	{
		if (max_label_name > 0 && label.name_len > max_label_name)
			return psprintf("metric \"%s\": name of label \"%s\" has %d bytes, more than promgres.max_label_name_length = %d",
							metric_of(l), shown(label.name, label.name_len), label.name_len, max_label_name);
		if (max_label_value > 0 && label.value_len > max_label_value)
			return psprintf("metric \"%s\": value of label \"%s\" has %d bytes, more than promgres.max_label_value_length = %d",
							metric_of(l), shown(label.name, label.name_len), label.value_len, max_label_value);
	}
	return NULL;
}

char *
prom_limits_count_fault(const PromLabels *l, int64 series, int64 of_metric)
{
	if (max_series_per_metric > 0 && of_metric >= max_series_per_metric)
		return psprintf("metric \"%s\": no new series, it has as many as promgres.max_series_per_metric = %d allows",
						metric_of(l), max_series_per_metric);
	if (max_series > 0 && series >= max_series)
		return psprintf("metric \"%s\": no new series, there are as many as promgres.max_series = %d allows",
						metric_of(l), max_series);
	return NULL;
}

/* A name for a message: not longer than people read. */
static char *
shown(const char *name, int len)
{
	return pnstrdup(name, pg_encoding_mbcliplen(PG_UTF8, name, len, SHOWN_BYTES));
}

static char *
metric_of(const PromLabels *l)
{
	const char *name = "";
	int			len = 0;

	(void) prom_labels_get(l, "__name__", 8, &name, &len);
	return shown(name, len);
}

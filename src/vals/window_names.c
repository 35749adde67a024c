/*
 * window_names.c
 *	  The window functions by the names that translated SQL calls them by.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "store/store.h"
#include "vals/window.h"

#define LAST	(1 << PROM_PART_LAST)
#define COUNTER	(1 << PROM_PART_LAST | 1 << PROM_PART_RESET)
#define COUNT	(1 << PROM_PART_COUNT)
#define SUM		(1 << PROM_PART_SUM)
#define MIN		(1 << PROM_PART_MIN)
#define MAX		(1 << PROM_PART_MAX)

static const PromRangeFunction functions[] = {
	/*
	 * name, function, parameters, extended windows, sees staleness markers; needs two samples, parts of rollups,
	 * anchor, function of points, function of all steps; whether hints are told
	 */
	{"anchored_changes", prom_range_anchored_changes, 0, true, false, true, LAST, PROM_ANCHOR_NONE},
	{"anchored_delta", prom_range_anchored_delta, 0, true, false, true, LAST, PROM_ANCHOR_NONE},
	{"anchored_increase", prom_range_anchored_increase, 0, true, false, true, COUNTER, PROM_ANCHOR_NONE},
	{"anchored_rate", prom_range_anchored_rate, 0, true, false, true, COUNTER, PROM_ANCHOR_NONE},
	{"anchored_resets", prom_range_anchored_resets, 0, true, false, true, COUNTER, PROM_ANCHOR_NONE},
	{"avg_over_time", prom_range_avg, 0, false, false, false, SUM | COUNT, PROM_ANCHOR_NONE, prom_range_points_avg,
	.all = prom_range_avg_all},
	{"changes", prom_range_changes, 0, false, false, true, LAST, PROM_ANCHOR_ALWAYS},
	{"count_over_time", prom_range_count, 0, false, false, false, COUNT, PROM_ANCHOR_NONE, prom_range_points_count},
	{"delta", prom_range_delta, 0, false, false, true, LAST, PROM_ANCHOR_ALWAYS, .all = prom_range_delta_all},
	{"deriv", prom_range_deriv, 0, false, false, true, LAST, PROM_ANCHOR_ALONE},
	{"double_exponential_smoothing", prom_range_double_exponential_smoothing, 2, false, false, true, LAST, PROM_ANCHOR_ALONE},
	{"first_over_time", prom_range_first, 0, false, false, false, LAST, PROM_ANCHOR_NONE},
	/* below histogram_count and the like, which are told of resets: see read_hint */
	{"hinted_avg_over_time", prom_range_avg, 0, false, false, false, SUM | COUNT, PROM_ANCHOR_NONE, prom_range_points_avg, .tells_hints = true},
	{"hinted_first_over_time", prom_range_first, 0, false, false, false, LAST, PROM_ANCHOR_NONE, .tells_hints = true},
	{"hinted_last_over_time", prom_range_last, 0, false, false, false, LAST, PROM_ANCHOR_NONE, .tells_hints = true},
	{"hinted_sum_over_time", prom_range_sum, 0, false, false, false, SUM, PROM_ANCHOR_NONE, prom_range_points_sum, .tells_hints = true},
	{"idelta", prom_range_idelta, 0, false, false, true, LAST, PROM_ANCHOR_ALONE},
	{"increase", prom_range_increase, 0, false, false, true, COUNTER, PROM_ANCHOR_ALWAYS, .all = prom_range_increase_all},
	{"instant", prom_range_instant, 0, false, true, false, LAST, PROM_ANCHOR_NONE, .all = prom_range_instant_all},
	{"irate", prom_range_irate, 0, false, false, true, COUNTER, PROM_ANCHOR_ALONE},
	{"last_over_time", prom_range_last, 0, false, false, false, LAST, PROM_ANCHOR_NONE},
	{"mad_over_time", prom_range_mad, 0, false, false, false, LAST, PROM_ANCHOR_NONE},
	{"max_over_time", prom_range_max, 0, false, false, false, LAST | MAX, PROM_ANCHOR_NONE},
	{"min_over_time", prom_range_min, 0, false, false, false, LAST | MIN, PROM_ANCHOR_NONE},
	{"predict_linear", prom_range_predict_linear, 1, false, false, true, LAST, PROM_ANCHOR_ALONE},
	{"present_over_time", prom_range_present, 0, false, false, false, COUNT, PROM_ANCHOR_NONE},
	{"quantile_over_time", prom_range_quantile, 1, false, false, false, LAST, PROM_ANCHOR_NONE},
	{"rate", prom_range_rate, 0, false, false, true, COUNTER, PROM_ANCHOR_ALWAYS, .all = prom_range_rate_all},
	{"resets", prom_range_resets, 0, false, false, true, COUNTER, PROM_ANCHOR_NONE},
	{"smoothed_delta", prom_range_smoothed_delta, 0, true, false, true, LAST, PROM_ANCHOR_NONE},
	{"smoothed_increase", prom_range_smoothed_increase, 0, true, false, true, COUNTER, PROM_ANCHOR_NONE},
	{"smoothed_instant", prom_range_smoothed_instant, 0, true, false, false, LAST, PROM_ANCHOR_NONE},
	{"smoothed_rate", prom_range_smoothed_rate, 0, true, false, true, COUNTER, PROM_ANCHOR_NONE},
	{"stddev_over_time", prom_range_stddev, 0, false, false, false, LAST, PROM_ANCHOR_NONE},
	{"stdvar_over_time", prom_range_stdvar, 0, false, false, false, LAST, PROM_ANCHOR_NONE},
	{"sum_over_time", prom_range_sum, 0, false, false, false, SUM, PROM_ANCHOR_NONE, prom_range_points_sum, .all = prom_range_sum_all},
	{"timestamp", prom_range_timestamp, 0, false, true, false, LAST, PROM_ANCHOR_NONE},
	{"ts_of_first_over_time", prom_range_ts_of_first, 0, false, false, false, LAST, PROM_ANCHOR_NONE},
	{"ts_of_last_over_time", prom_range_ts_of_last, 0, false, false, false, LAST, PROM_ANCHOR_NONE},
	{"ts_of_max_over_time", prom_range_ts_of_max, 0, false, false, false, LAST, PROM_ANCHOR_NONE},
	{"ts_of_min_over_time", prom_range_ts_of_min, 0, false, false, false, LAST, PROM_ANCHOR_NONE},
};

/* NULL if there is none of that name */
static const PromRangeFunction *
find(const char *name, size_t len)
{
	for (int i = 0; i < lengthof(functions); i++)
		if (strlen(functions[i].name) == len && memcmp(functions[i].name, name, len) == 0)
			return &functions[i];
	return NULL;
}

const PromRangeFunction *
prom_range_function(const text *name, int nscalars, bool extended)
{
	const PromRangeFunction *f = find(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));

	if (f && f->nscalars == nscalars && f->extended == extended)
		return f;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(nscalars > 0 ? "unknown window function with a parameter: \"%s\"" : "unknown window function: \"%s\"",
					text_to_cstring(name))));
}

int
prom_window_parts(const char *name, bool *needs_two)
{
	const PromRangeFunction *f = find(name, strlen(name));

	if (f == NULL)
		elog(ERROR, "unknown window function: \"%s\"", name);
	*needs_two = f->needs_two;
	return f->parts;
}

/*
 * window_names.c
 *	  The window functions by the names that translated SQL calls them by.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "vals/window.h"

static const PromRangeFunction functions[] = {
	/* name, function, parameters, extended windows, sees staleness markers */
	{"anchored_changes", prom_range_anchored_changes, 0, true, false},
	{"anchored_delta", prom_range_anchored_delta, 0, true, false},
	{"anchored_increase", prom_range_anchored_increase, 0, true, false},
	{"anchored_rate", prom_range_anchored_rate, 0, true, false},
	{"anchored_resets", prom_range_anchored_resets, 0, true, false},
	{"avg_over_time", prom_range_avg, 0, false, false},
	{"changes", prom_range_changes, 0, false, false},
	{"count_over_time", prom_range_count, 0, false, false},
	{"delta", prom_range_delta, 0, false, false},
	{"deriv", prom_range_deriv, 0, false, false},
	{"double_exponential_smoothing", prom_range_double_exponential_smoothing, 2, false, false},
	{"first_over_time", prom_range_first, 0, false, false},
	{"idelta", prom_range_idelta, 0, false, false},
	{"increase", prom_range_increase, 0, false, false},
	{"instant", prom_range_instant, 0, false, true},
	{"irate", prom_range_irate, 0, false, false},
	{"last_over_time", prom_range_last, 0, false, false},
	{"mad_over_time", prom_range_mad, 0, false, false},
	{"max_over_time", prom_range_max, 0, false, false},
	{"min_over_time", prom_range_min, 0, false, false},
	{"predict_linear", prom_range_predict_linear, 1, false, false},
	{"present_over_time", prom_range_present, 0, false, false},
	{"quantile_over_time", prom_range_quantile, 1, false, false},
	{"rate", prom_range_rate, 0, false, false},
	{"resets", prom_range_resets, 0, false, false},
	{"smoothed_delta", prom_range_smoothed_delta, 0, true, false},
	{"smoothed_increase", prom_range_smoothed_increase, 0, true, false},
	{"smoothed_instant", prom_range_smoothed_instant, 0, true, false},
	{"smoothed_rate", prom_range_smoothed_rate, 0, true, false},
	{"stddev_over_time", prom_range_stddev, 0, false, false},
	{"stdvar_over_time", prom_range_stdvar, 0, false, false},
	{"sum_over_time", prom_range_sum, 0, false, false},
	{"timestamp", prom_range_timestamp, 0, false, true},
	{"ts_of_first_over_time", prom_range_ts_of_first, 0, false, false},
	{"ts_of_last_over_time", prom_range_ts_of_last, 0, false, false},
	{"ts_of_max_over_time", prom_range_ts_of_max, 0, false, false},
	{"ts_of_min_over_time", prom_range_ts_of_min, 0, false, false},
};

const PromRangeFunction *
prom_range_function(const text *name, int nscalars, bool extended)
{
	for (int i = 0; i < lengthof(functions); i++)
		if (strlen(functions[i].name) == VARSIZE_ANY_EXHDR(name) &&
			memcmp(functions[i].name, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)) == 0 &&
			functions[i].nscalars == nscalars && functions[i].extended == extended)
			return &functions[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(nscalars > 0 ? "unknown window function with a parameter: \"%s\"" : "unknown window function: \"%s\"",
					text_to_cstring(name))));
}

/*
 * import_rollup.c
 *	  Blocks that Thanos has downsampled become rollups.
 *
 * Of a window Thanos keeps count, sum, minimum, maximum and the counter: a total that goes on rising where the
 * samples dropped.  Its windows are [k * width, (k + 1) * width), stamped a millisecond before their end, ours
 * (k * width, (k + 1) * width]: a sample at exactly k * width is counted one window late, and that is all of the
 * difference.  Count, sum, min and max go over as they are.
 *
 * There is no last sample, which "last" (rollup_points.c) is made of.  A window's last value is
 *
 *		the maximum, if the total has risen by just what lies between the value before and the maximum;
 *		the maximum of the next window less what the total rises there, if that is possible;
 *		in the last window of a chunk, the value that Thanos writes there;
 *		else, as Thanos takes it, the mean.
 *
 * The first two are the last sample itself wherever the value dropped in no two windows running, as counters do, and in
 * gauges that rise.  The mean is at least one of the values that the window may have had.  Where last
 * values alone do not rise as the total does, "reset" gets two points, before and after a drop, that make it so.
 *
 * Chunks of coarser windows may end within one, and the next one begins there: then both are one window here.
 *
 * What there is of a window already stays: it was made of raw samples here, or is of the same block.
 */
#include "postgres.h"

#include <math.h>

#include "utils/float.h"

#include "block/block.h"

/* Totals are sums, and off by their rounding. */
#define TOLERANCE 1e-9

typedef struct Window
{
	int64		t_ms;			/* its stamp, or that of the last sample */
	double		value[PROM_TSDB_AGGREGATES];	/* NaN: there is none */
} Window;

typedef struct Chunk
{
	int64		first_ms;		/* of the sample that the total begins with */
	double		first;
	double		last;			/* the value of the last sample */
	Window	   *w;
	int			n;
} Chunk;

static bool
is_near(double a, double b)
{
	return fabs(a - b) <= TOLERANCE * Max(fabs(a), fabs(b));
}

/* The value of a window in another column, which is walked along; NaN if it has none. */
static double
find_value(const PromBlockColumn *c, int end, int *at, int64 t_ms, int64 window_ms)
{
	while (*at < end && c->t_ms[*at] / window_ms < t_ms / window_ms)
		(*at)++;
	return *at < end && c->t_ms[*at] / window_ms == t_ms / window_ms ? c->values[(*at)++] : get_float8_nan();
}

/* Windows are those that have a count.  The counter has two values more: the first sample before them, the last behind. */
static Chunk
read_chunk(const PromBlockAggregates *a, int64 window_ms)
{
	const PromBlockColumn *counts = &a->column[PROM_TSDB_COUNT];
	const PromBlockColumn *counter = &a->column[PROM_TSDB_COUNTER];
	Chunk		c = {0, get_float8_nan(), get_float8_nan(), palloc(sizeof(Window) * (counts->n + 1)), counts->n};
	bool		framed = counter->n >= 3;
	int			at[PROM_TSDB_AGGREGATES] = {0};

	if (framed)
	{
		c.first_ms = counter->t_ms[0];
		c.first = counter->values[0];
		c.last = counter->values[counter->n - 1];
		at[PROM_TSDB_COUNTER] = 1;
	}
	for (int i = 0; i < c.n; i++)
	{
		c.w[i].t_ms = counts->t_ms[i];
		for (int k = 0; k < PROM_TSDB_AGGREGATES; k++)
			c.w[i].value[k] = find_value(&a->column[k], a->column[k].n - (k == PROM_TSDB_COUNTER && framed ? 1 : 0), &at[k],
										 c.w[i].t_ms, window_ms);
	}
	return c;
}

/* The last value of window i, whose total has risen by so much; "before" is that of the window before, NaN if it is not known. */
static double
last_value(const Chunk *c, int i, double before, double rise, bool *known)
{
	const Window *w = &c->w[i];
	double		min = w->value[PROM_TSDB_MIN];
	double		max = w->value[PROM_TSDB_MAX];

	*known = true;
	if (i == c->n - 1 && !isnan(c->last))
		return c->last;
	if (is_near(before + rise, max) && !(min < before))
		return max;
	if (i < c->n - 1)
	{
		const Window *next = w + 1;
		double		value = next->value[PROM_TSDB_MAX] - (next->value[PROM_TSDB_COUNTER] - w->value[PROM_TSDB_COUNTER]);

		/* rounding does not lead out of the window */
		if ((value >= min && value <= max && value <= next->value[PROM_TSDB_MIN]) || is_near(value, min) || is_near(value, max))
			return Min(Max(value, min), max);
	}
	*known = false;
	return w->value[PROM_TSDB_SUM] / w->value[PROM_TSDB_COUNT];
}

static void
add(PromPoints *p, int part, int64 t_ms, double value)
{
	prom_gather_mixed(&p->part[part], 1, &t_ms, &value, NULL, 0);
}

/* The value of the window's part, if the chunk before had some of this window, or NULL. */
static double *
begun(PromPoints *p, int part, int64 end_ms)
{
	PromGather *g = &p->part[part];

	return g->n > 0 && g->t_ms[g->n - 1] == end_ms ? &g->values[g->n - 1] : NULL;
}

/* From "before" at before_ms to "value" it is to rise by so much. */
static void
add_reset(PromPoints *p, const Window *w, int64 before_ms, double before, double value, double rise, int64 window_ms)
{
	double		seen = value < before ? value : value - before;
	double		top = rise + before - value;
	double		low = w->value[PROM_TSDB_MIN];
	int64		start_ms = Max(before_ms, w->t_ms / window_ms * window_ms);
	int64		middle_ms = start_ms + (w->t_ms - start_ms) / 2;

	if (isnan(seen) || isnan(rise) || is_near(seen, rise) || value < 0 || top < before || middle_ms <= start_ms ||
		middle_ms + 1 >= w->t_ms)
		return;
	if (!(low < top && low <= value))
		low = 0;
	if (low >= top)
		return;
	add(p, PROM_PART_RESET, middle_ms, top);
	/* where the last value lies below, the drop is seen without */
	if (value >= top)
		add(p, PROM_PART_RESET, middle_ms + 1, low);
}

static void
add_window(PromPoints *p, const Window *w, double last, int64 window_ms)
{
	int64		end_ms = (w->t_ms / window_ms + 1) * window_ms;
	double	   *value;

	add(p, PROM_PART_LAST, w->t_ms, last);
	if ((value = begun(p, PROM_PART_COUNT, end_ms)) != NULL)
		*value += w->value[PROM_TSDB_COUNT];
	else
		add(p, PROM_PART_COUNT, end_ms, w->value[PROM_TSDB_COUNT]);
	if ((value = begun(p, PROM_PART_SUM, end_ms)) != NULL)
		*value += w->value[PROM_TSDB_SUM];
	else if (!isnan(w->value[PROM_TSDB_SUM]))
		add(p, PROM_PART_SUM, end_ms, w->value[PROM_TSDB_SUM]);
	if ((value = begun(p, PROM_PART_MIN, end_ms)) != NULL)
		*value = Min(*value, w->value[PROM_TSDB_MIN]);
	else if (last > w->value[PROM_TSDB_MIN])
		add(p, PROM_PART_MIN, end_ms, w->value[PROM_TSDB_MIN]);
	if ((value = begun(p, PROM_PART_MAX, end_ms)) != NULL)
		*value = Max(*value, w->value[PROM_TSDB_MAX]);
	else if (last < w->value[PROM_TSDB_MAX])
		add(p, PROM_PART_MAX, end_ms, w->value[PROM_TSDB_MAX]);
}

int
prom_points_import(PromPoints *p, const PromBlockAggregates *a, int64 window_ms)
{
	Chunk		c = read_chunk(a, window_ms);
	double		before = c.first;
	double		total = c.first;
	int64		before_ms = c.first_ms;
	bool		known = true;
	int			made = 0;

	/* it is the first of the chunk, and a sample as it was */
	if (c.n > 0 && c.first_ms < c.w[0].t_ms && !isnan(c.first) && prom_block_wants(a, c.first_ms))
		add(p, PROM_PART_LAST, c.first_ms, c.first);
	for (int i = 0; i < c.n; i++)
	{
		double		rise = c.w[i].value[PROM_TSDB_COUNTER] - total;
		double		last = last_value(&c, i, known ? before : get_float8_nan(), rise, &known);

		if (prom_block_wants(a, c.w[i].t_ms))
		{
			add_reset(p, &c.w[i], before_ms, before, last, rise, window_ms);
			add_window(p, &c.w[i], last, window_ms);
			made++;
		}
		total = c.w[i].value[PROM_TSDB_COUNTER];
		before = last;
		before_ms = c.w[i].t_ms;
	}
	pfree(c.w);
	return made;
}

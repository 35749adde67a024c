/*
 * annotate.h
 *	  Annotations: what Prometheus tells beside the result of a query, as warnings and infos.
 *
 * Wherever a text and a place are at hand, prom_annotate tells them with one call.  Where values are
 * computed neither is: there a bit of "notes" in the values tells what happened, and the query wraps the
 * computation into prom._note(vals, labels or operator, place), which says it.  A function that sets notes
 * returns its values even if no step has one (PROM_VALS_RETURN); prom._note makes NULL of those.
 *
 * "place" is "line:column" in the text of the query, or "1:1" if it is not known better.
 */
#ifndef PROM_ANNOTATE_H
#define PROM_ANNOTATE_H

#include "vals/vals.h"

typedef enum PromSeverity
{
	PROM_WARNING,
	PROM_INFO
} PromSeverity;

/* The bits of PromVals.notes */
#define PROM_NOTE_COUNTER			0x0001	/* was taken for a counter: its name should say so */
#define PROM_NOTE_MIX				0x0002	/* floats and histograms where only one kind may be */
#define PROM_NOTE_MIXED_SCHEMAS		0x0004	/* exponential and custom buckets */
#define PROM_NOTE_NOT_COUNTER		0x0008	/* gauge histograms where counters are expected */
#define PROM_NOTE_NOT_GAUGE			0x0010
#define PROM_NOTE_IGNORED			0x0020	/* histograms were passed over */
#define PROM_NOTE_RESETS_ADD		0x0040	/* counter reset hints in conflict */
#define PROM_NOTE_RESETS_SUB		0x0080
#define PROM_NOTE_RESETS_AGG		0x0100
#define PROM_NOTE_RECONCILED_ADD	0x0200	/* different custom buckets */
#define PROM_NOTE_RECONCILED_SUB	0x0400
#define PROM_NOTE_RECONCILED_AGG	0x0800
#define PROM_NOTE_FLOAT_FLOAT		0x1000	/* kinds of operands that the operator does not take */
#define PROM_NOTE_FLOAT_HISTOGRAM	0x2000
#define PROM_NOTE_HISTOGRAM_FLOAT	0x4000
#define PROM_NOTE_HISTOGRAM_HISTOGRAM 0x8000

/* Counts of classic histograms that had to be made monotonic; merged over all of one text. */
typedef struct PromFixed
{
	double		low;			/* bounds of the buckets concerned */
	double		high;
	double		max_diff;
	int64		first_ms;
	int64		last_ms;
	int64		count;
} PromFixed;

/* ---- annotate.c ---- */

/*
 * Annotate the running query.  Between begin and end texts are kept, equal ones once with the last
 * place in the query, and end sends them; elsewhere (a parallel worker, translated SQL run by hand) a
 * text is sent at once, and only the first few.  Warnings have SQLSTATE 01PRW, infos 01PRI.
 */
extern void prom_annotate(PromSeverity severity, const text *place, const char *fmt,...) pg_attribute_printf(3, 4);
extern void prom_annotate_fixed(const text *place, const PromFixed *fixed, const char *fmt,...) pg_attribute_printf(3, 4);

extern void prom_annotations_begin(void);	/* nests; an error ends it */
extern void prom_annotations_end(int limit);	/* so many of each, and how many more there are; 0: all */

extern void prom_annotate_merge(PromFixed *sum, const PromFixed *x);

/* Go's %g; palloc'd */
extern char *prom_annotate_number(double v);

#endif							/* PROM_ANNOTATE_H */

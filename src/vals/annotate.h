/*
 * annotate.h
 *	  What happened in computing values: the bits of PromVals.notes.
 */
#ifndef PROM_ANNOTATE_H
#define PROM_ANNOTATE_H

#include "vals/vals.h"

typedef enum PromSeverity
{
	PROM_WARNING,
	PROM_INFO
} PromSeverity;

/* Tells the user of the query.  There is nobody yet to tell it to. */
static inline void
prom_annotate(PromSeverity severity, const text *place, const char *fmt,...)
{
}

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

#endif							/* PROM_ANNOTATE_H */

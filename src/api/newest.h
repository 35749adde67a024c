/*
 * newest.h
 *	  The newest samples of series, told family by family to whom scrapes them.
 */
#ifndef PROM_NEWEST_H
#define PROM_NEWEST_H

#include "postgres.h"
#include "nodes/execnodes.h"

#include "histogram/histogram.h"
#include "series/series.h"

typedef struct PromNewest
{
	PromLabels *labels;
	const char *name;			/* points into them */
	int			name_len;
	int64		t_ms;
	double		value;
	const PromHistogram *histogram; /* NULL: the value counts */
} PromNewest;

/* A PromEscaping by its name, -1 if there is none. */
extern int	prom_newest_escaping(const char *name);

/*
 * Put the samples, which are sorted for that, as rows of bytea into the result; the first is the content type.
 * format: 0.0.4, 1.0.0, openmetrics or protobuf; in all but the last histograms must have custom bounds.
 */
extern void prom_newest_print(ReturnSetInfo *rsinfo, const char *format, const char *escaping, PromNewest *items, size_t n);

#endif							/* PROM_NEWEST_H */

/*
 * expose.h
 *	  Text that a Prometheus scrapes: names, labels, numbers.
 */
#ifndef PROM_EXPOSE_H
#define PROM_EXPOSE_H

#include "postgres.h"
#include "lib/stringinfo.h"

#include "series/series.h"

typedef enum PromEscaping
{
	PROM_ESCAPE_NOTHING,		/* allow-utf-8: such names are quoted */
	PROM_ESCAPE_UNDERSCORES,
	PROM_ESCAPE_DOTS,
	PROM_ESCAPE_VALUES
} PromEscaping;

extern void prom_expose_number(StringInfo out, double v);

/* A metric's name as it stands in a TYPE line. */
extern void prom_expose_name(StringInfo out, const char *name, int len, PromEscaping escaping);

/* A name by itself, escaped if it has to be and never quoted. */
extern void prom_expose_bare(StringInfo out, const char *name, int len, PromEscaping escaping, bool metric);

/* name{label="value", ...}; with "instance", an empty one if the set has none */
extern void prom_expose_series(StringInfo out, const PromLabels *labels, PromEscaping escaping, bool instance);

#endif							/* PROM_EXPOSE_H */

/*
 * type.h
 *	  prom.histogram, the SQL type: a PromHistogram behind a varlena header.
 */
#ifndef PROM_HISTOGRAM_TYPE_H
#define PROM_HISTOGRAM_TYPE_H

#include "postgres.h"

#include "histogram/histogram.h"

/* The flat histogram in a value; a copy if the value is toasted or packed. */
extern const PromHistogram *prom_histogram_from_datum(Datum d);

/* A value with a copy of the histogram, in the current context. */
extern Datum prom_histogram_to_datum(const PromHistogram *h);

#endif							/* PROM_HISTOGRAM_TYPE_H */

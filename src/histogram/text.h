/*
 * text.h
 *	  Histograms and numbers as Prometheus prints them in texts.
 */
#ifndef PROM_HISTOGRAM_TEXT_H
#define PROM_HISTOGRAM_TEXT_H

#include "postgres.h"
#include "lib/stringinfo.h"

#include "histogram/histogram.h"

/* {count:3, sum:1.5, [-0.001,0.001]:1, (1,2]:2}: the populated buckets, lowest first */
extern void prom_histogram_print(StringInfo out, const PromHistogram *h);

/* A number as Go's %g does it: the fewest digits, an exponent below 0.0001 and from 1000000 on. */
extern void prom_histogram_print_number(StringInfo out, double v);

#endif							/* PROM_HISTOGRAM_TEXT_H */

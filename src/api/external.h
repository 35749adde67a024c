/*
 * external.h
 *	  The labels that tell this server from others: promgres.external_labels.
 */
#ifndef PROM_EXTERNAL_H
#define PROM_EXTERNAL_H

#include "postgres.h"

#include "series/series.h"

/* They themselves, in the current context. */
extern PromLabels *prom_external_labels(void);

/* The series' labels and those of the external ones whose names it lacks. */
extern PromLabels *prom_external_add(const PromLabels *labels, const PromLabels *external);

#endif							/* PROM_EXTERNAL_H */

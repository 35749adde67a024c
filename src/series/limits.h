/*
 * limits.h
 *	  Which new series are refused, private to this room.
 */
#ifndef PROM_LIMITS_H
#define PROM_LIMITS_H

#include "series/series.h"

extern void prom_limits_init(void);

/* Is there a limit on the number of series? */
extern bool prom_limits_count(void);

/* Why these labels are not taken, naming metric, label and setting, palloc'd; or NULL. */
extern char *prom_limits_labels_fault(const PromLabels *l);

/* The same of one series more than there are in all and of its metric. */
extern char *prom_limits_count_fault(const PromLabels *l, int64 series, int64 of_metric);

#endif							/* PROM_LIMITS_H */

/*
 * cache.h
 *	  What this backend knows of series ids, private to this room.
 */
#ifndef PROM_SERIES_CACHE_H
#define PROM_SERIES_CACHE_H

#include "series/series.h"

/* Remember an id once the current transaction commits. */
extern void prom_series_learn(PromSeriesHash raw, PromSeriesId id);

/* The oid of prom.series, locked against removal of series; raises if the user may not write to it. */
extern Oid	prom_series_lock(void);

extern void prom_series_cache_init(void);

/* series.c: how often series were removed, as of now. */
extern int64 prom_series_removals(void);

#endif							/* PROM_SERIES_CACHE_H */

/*
 * archive.h
 *	  What of the samples lies in a bucket: moved there, and read back.
 */
#ifndef PROM_ARCHIVE_H
#define PROM_ARCHIVE_H

#include "store/store.h"

/* ---- tier_list.c ---- */

/* Is there an object in a bucket with samples of the time and resolution (0: raw)?  As the active snapshot has it. */
extern bool prom_tier_any(int32 resolution_s, PromScanRange range);

extern void prom_archive_init(void);

#endif							/* PROM_ARCHIVE_H */

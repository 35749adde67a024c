/*
 * ingest.h
 *	  What comes in becomes fresh rows.
 */
#ifndef PROM_INGEST_H
#define PROM_INGEST_H

extern void prom_ingest_init(void);

#endif							/* PROM_INGEST_H */

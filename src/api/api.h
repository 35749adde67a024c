/*
 * api.h
 *	  HTTP in, JSON out: the gateway worker and the functions its backends run.
 */
#ifndef PROM_API_H
#define PROM_API_H

#include "postgres.h"

extern void prom_api_init(void);	/* settings, and registers the gateway worker */

#endif							/* PROM_API_H */

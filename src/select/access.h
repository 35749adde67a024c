/*
 * access.h
 *	  How the current user gets at samples, private to this room.
 */
#ifndef PROM_ACCESS_H
#define PROM_ACCESS_H

#include "select/select.h"

typedef struct PromAccess
{
	bool		restricted;		/* not by tables */
	const char *fresh;
	const char *warm;
	const char *rollup;
} PromAccess;

extern PromAccess prom_find_access(void);

/* Parts of rollups, a set of bits, as the text of an array. */
extern char *prom_parts_sql(int parts);

/* The last millisecond of a day. */
extern int64 prom_day_end(int64 t_ms);

#endif							/* PROM_ACCESS_H */

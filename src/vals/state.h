/*
 * state.h
 *	  Text form of the states of aggregates: their binary form in base64.  Private to this room.
 */
#ifndef PROM_STATE_H
#define PROM_STATE_H

#include "postgres.h"
#include "lib/stringinfo.h"

/* The text of what a send function returned. */
extern char *prom_state_text(Datum sent);

/* What a receive function reads, of such a text; raises if it is not base64. */
extern void prom_state_bytes(const char *text, StringInfo out);

#endif							/* PROM_STATE_H */

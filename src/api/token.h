/*
 * token.h
 *	  What a token is kept as.  Private to token.c and login.c.
 */
#ifndef PROM_TOKEN_H
#define PROM_TOKEN_H

#include "postgres.h"

extern Datum prom_token_hash(const char *token);	/* bytea */

#endif							/* PROM_TOKEN_H */

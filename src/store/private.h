/*
 * private.h
 *	  What the files of this room share.
 */
#ifndef PROM_STORE_PRIVATE_H
#define PROM_STORE_PRIVATE_H

#include "utils/relcache.h"

#include "chunk/chunk.h"
#include "store/store.h"

#define PROM_DAY_MS INT64CONST(86400000)

/* The UTC day of a time, in ms since 1970; times so early that their day would overflow stay. */
static inline int64
prom_day_start(int64 t_ms)
{
	int64		rest = t_ms % PROM_DAY_MS;

	if (t_ms < PG_INT64_MIN + PROM_DAY_MS)
		return t_ms;
	return t_ms - rest - (rest < 0 ? PROM_DAY_MS : 0);
}

/* promgres.store_max_ahead: samples further in the future than this are refused. */
extern int	prom_store_max_ahead_s;

/* promgres.exemplar_max_age: older exemplars are not kept; 0: none are. */
extern int	prom_store_exemplar_max_age_s;

/* promgres.query_max_samples */
extern int	prom_store_max_samples;

/* ---- fresh.c ---- */

/* The oid of a table or sequence of ours. */
extern Oid	prom_store_relid(const char *name);

/* The oid of a type of ours. */
extern Oid	prom_store_type(const char *name);

/* What a row of prom.fresh says of its chunk. */
typedef struct PromFreshRow
{
	int32		sid_min;
	int32		sid_max;
	int64		t_min;
	int64		t_max;
	int32		samples;
	int64		seq;
} PromFreshRow;

/* Open a table of ours, locked for inserting; raises if the user may not insert. */
extern Relation prom_store_open_for_insert(const char *name);
extern int64 prom_store_next_seq(void);
extern void prom_store_insert_fresh(Relation fresh, int16 shard, const PromFreshRow *row,
									const PromChunk *chunk);

#endif							/* PROM_STORE_PRIVATE_H */

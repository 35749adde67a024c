/*
 * hashmap.h
 *	  An open-addressing table from 128-bit hashes to series ids, private to this room.
 *
 * The keys are hashes already, so a slot is their low bits; at most half of the slots are taken and
 * entries are never removed one by one.  Adding never allocates: room is reserved before, because the
 * cache of ids is filled when a transaction has committed and nothing may fail any more.
 */
#ifndef PROM_HASHMAP_H
#define PROM_HASHMAP_H

#include "series/series.h"
#include "utils/memutils.h"

#define PROM_HASHMAP_FREE (-1)	/* sid of a free slot */

typedef struct PromHashEntry
{
	PromSeriesHash key;
	PromSeriesId id;			/* or any number >= 0 in id.sid */
} PromHashEntry;

typedef struct PromHashMap
{
	MemoryContext context;
	PromHashEntry *slots;
	uint64		nslots;			/* a power of two, or 0 */
	uint64		n;
} PromHashMap;

static inline PromHashEntry *
prom_hashmap_slot(const PromHashMap *map, PromSeriesHash key)
{
	uint64		mask = map->nslots - 1;
	uint64		at = key.low & mask;

	while (map->slots[at].id.sid != PROM_HASHMAP_FREE &&
		   (map->slots[at].key.low != key.low || map->slots[at].key.high != key.high))
		at = (at + 1) & mask;
	return &map->slots[at];
}

/* The entry of a key, or NULL. */
static inline PromHashEntry *
prom_hashmap_find(const PromHashMap *map, PromSeriesHash key)
{
	PromHashEntry *e;

	if (map->nslots == 0)
		return NULL;
	e = prom_hashmap_slot(map, key);
	return e->id.sid == PROM_HASHMAP_FREE ? NULL : e;
}

/* Begin to bring the slot of a key into the processor's cache. */
static inline void
prom_hashmap_prefetch(const PromHashMap *map, PromSeriesHash key)
{
	if (map->nslots > 0)
		__builtin_prefetch(&map->slots[key.low & (map->nslots - 1)]);
}

/* Room for n entries in all must have been reserved. */
static inline void
prom_hashmap_put(PromHashMap *map, PromSeriesHash key, PromSeriesId id)
{
	PromHashEntry *e = prom_hashmap_slot(map, key);

	if (e->id.sid == PROM_HASHMAP_FREE)
		map->n++;
	e->key = key;
	e->id = id;
}

extern void prom_hashmap_reserve(PromHashMap *map, uint64 n);
extern void prom_hashmap_clear(PromHashMap *map);

#endif							/* PROM_HASHMAP_H */

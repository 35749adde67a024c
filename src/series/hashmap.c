/*
 * hashmap.c
 *	  Growing and emptying the table of hashmap.h.
 */
#include "postgres.h"

#include "series/hashmap.h"

#define HASHMAP_MIN_SLOTS 1024

void
prom_hashmap_reserve(PromHashMap *map, uint64 n)
{
	PromHashMap grown = *map;

	if (2 * n <= map->nslots)
		return;
	grown.n = 0;
	grown.nslots = Max(map->nslots, HASHMAP_MIN_SLOTS);
	while (grown.nslots < 2 * n)
		grown.nslots *= 2;
	grown.slots = MemoryContextAllocHuge(map->context, grown.nslots * sizeof(PromHashEntry));
	memset(grown.slots, 0xff, grown.nslots * sizeof(PromHashEntry));
	for (uint64 i = 0; i < map->nslots; i++)
	{
		if (map->slots[i].id.sid != PROM_HASHMAP_FREE)
			prom_hashmap_put(&grown, map->slots[i].key, map->slots[i].id);
	}
	if (map->slots)
		pfree(map->slots);
	*map = grown;
}

void
prom_hashmap_clear(PromHashMap *map)
{
	if (map->slots)
		pfree(map->slots);
	map->slots = NULL;
	map->nslots = map->n = 0;
}

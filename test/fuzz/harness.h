/*
 * harness.h
 *	  What the harnesses share: random numbers from a seed that is told, rounds until the time is over, a check
 *	  that ends the run, and a reader of bits that is not the one under test.
 *
 * To be included behind the headers of the room; a harness is one file, so all of it is static.
 */
#ifndef PROM_FUZZ_HARNESS_H
#define PROM_FUZZ_HARNESS_H

#include "c.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#undef printf					/* the server's own is not linked */

static uint64 random_state;
static long rounds;

static inline uint64
next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static inline uint64
below(uint64 n)
{
	return next_random() % n;
}

/* NAME_fuzz [SECONDS [SEED]]: when it is to end */
static inline time_t
fuzz_begin(int argc, char **argv)
{
	uint64		seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64) time(NULL);

	printf("seed %llu\n", (unsigned long long) seed);
	random_state = seed * UINT64CONST(0x9E3779B97F4A7C15) | 1;
	return time(NULL) + (argc > 1 ? atol(argv[1]) : 10);
}

static inline void fail(const char *what) pg_attribute_noreturn();

static inline void
fail(const char *what)
{
	printf("round %ld: %s\n%ld passed, 1 failed\n", rounds, what, rounds);
	exit(1);
}

static inline void
expect(bool condition, const char *what)
{
	if (!condition)
		fail(what);
}

/* One round after the other; the exit status. */
static inline int
fuzz_rounds(time_t end, void (*one_round) (void))
{
	do
	{
		one_round();
		rounds++;
	} while (time(NULL) < end);
	printf("%ld passed, 0 failed\n", rounds);
	return 0;
}

/* A copy in a block of just its size, cut at times, and some bytes of it others. */
static inline uint8 *
damaged_copy(const uint8 *bytes, size_t *len)
{
	size_t		size = below(4) == 0 ? below(*len + 1) : *len;
	uint8	   *copy = malloc(Max(size, 1));

	memcpy(copy, bytes, size);
	for (uint64 k = size > 0 ? below(4) : 0; k > 0; k--)
		copy[below(size)] = (uint8) next_random();
	*len = size;
	return copy;
}

/* Bits from the highest on, never past the end. */
typedef struct BitReader
{
	const uint8 *bytes;
	size_t		len;
	size_t		at;				/* bits */
} BitReader;

static inline uint64
get_bits(BitReader *r, int n)
{
	uint64		v = 0;

	for (; n > 0; n--, r->at++)
	{
		expect(r->at / 8 < r->len, "bits past the end");
		v = v << 1 | (r->bytes[r->at / 8] >> (7 - r->at % 8) & 1);
	}
	return v;
}

#endif							/* PROM_FUZZ_HARNESS_H */

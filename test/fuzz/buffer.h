/*
 * buffer.h
 *	  Memory that a harness lends to what writes: exactly as much as is asked for, elsewhere each time, so that
 *	  the sanitizer sees a byte too far and a pointer kept too long.
 */
#ifndef PROM_FUZZ_BUFFER_H
#define PROM_FUZZ_BUFFER_H

#include "wire/wire.h"

#include "harness.h"

static bool stubborn;			/* buffers refuse to grow at times */

static bool
grow(PromWireBuffer *b, size_t more)
{
	uint8	   *data;

	if (stubborn && below(16) == 0)
		return false;
	data = malloc(b->len + more);
	if (b->len > 0)
		memcpy(data, b->data, b->len);
	free(b->data);
	b->data = data;
	b->size = b->len + more;
	return true;
}

#endif							/* PROM_FUZZ_BUFFER_H */

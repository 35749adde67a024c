/*
 * error.h
 *	  Saying what is wrong with the input, and where.  Private to this room.
 */
#ifndef PROM_WIRE_ERROR_H
#define PROM_WIRE_ERROR_H

#include "c.h"

#include "wire/wire.h"

/* Always false, for whoever has nothing more to say. */
static inline bool
wire_fail(PromWireError *err, const char *reason, size_t offset)
{
	err->reason = reason;
	err->offset = offset;
	return false;
}

#endif							/* PROM_WIRE_ERROR_H */

/*
 * double.h
 *	  A float64 and its bits, and the NaNs that mean something.
 *
 * A NaN may change on its way through a register of the processor or an operator; bits do not.  So
 * whoever compares or stores values bit for bit does it by these.  Plain C: needs no server header
 * but c.h.
 */
#ifndef PROM_DOUBLE_H
#define PROM_DOUBLE_H

#include "c.h"

/* "This series ended here." */
#define PROM_STALE_BITS			UINT64CONST(0x7FF0000000000002)

/* The NaN that Prometheus writes. */
#define PROM_NORMAL_NAN_BITS	UINT64CONST(0x7FF8000000000001)

static inline uint64
prom_double_bits(double v)
{
	uint64		bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static inline double
prom_bits_double(uint64 bits)
{
	double		v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

static inline bool
prom_is_stale(double v)
{
	return prom_double_bits(v) == PROM_STALE_BITS;
}

#endif							/* PROM_DOUBLE_H */

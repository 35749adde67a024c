/*
 * clock.h
 *	  Milliseconds since 1970 (Prometheus) <-> TimestampTz (PostgreSQL).
 *
 * The only place that converts between the two.
 */
#ifndef PROM_CLOCK_H
#define PROM_CLOCK_H

#include "datatype/timestamp.h"

/* milliseconds between 1970-01-01 and 2000-01-01 */
#define PROM_EPOCH_DIFF_MS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (USECS_PER_DAY / 1000))

/* The milliseconds that a TimestampTz can express. */
#define PROM_MIN_TIMESTAMP_MS (MIN_TIMESTAMP / 1000 + PROM_EPOCH_DIFF_MS)
#define PROM_MAX_TIMESTAMP_MS ((END_TIMESTAMP - 1) / 1000 + PROM_EPOCH_DIFF_MS)

/* Milliseconds beyond what a TimestampTz can hold become -infinity or infinity. */
static inline TimestampTz
prom_clock_from_ms(int64 t_ms)
{
	if (t_ms < PROM_MIN_TIMESTAMP_MS)
		return DT_NOBEGIN;
	if (t_ms > PROM_MAX_TIMESTAMP_MS)
		return DT_NOEND;
	return (t_ms - PROM_EPOCH_DIFF_MS) * 1000;
}

/* Rounds towards the past; -infinity and infinity become the least and greatest int64. */
static inline int64
prom_clock_to_ms(TimestampTz t)
{
	if (TIMESTAMP_IS_NOBEGIN(t))
		return PG_INT64_MIN;
	if (TIMESTAMP_IS_NOEND(t))
		return PG_INT64_MAX;
	return (t >= 0 ? t / 1000 : -((999 - t) / 1000)) + PROM_EPOCH_DIFF_MS;
}

#endif							/* PROM_CLOCK_H */

/*
 * codec_time.c
 *	  The timestamps of one column.
 *
 * They are an integer column relative to the first timestamp, which the directory of the block keeps.
 * Any int64 may occur; differences are taken modulo 2^64.
 */
#include "c.h"

#include "chunk/codec.h"

uint8 *
prom_time_encode(uint8 *out, const int64 *t_ms, int n, uint64 *work)
{
	if (n == 1)
		return out;
	for (int i = 0; i < n; i++)
		work[i] = (uint64) t_ms[i] - (uint64) t_ms[0];
	return prom_int_encode(out, work, n);
}

const char *
prom_time_decode(const uint8 *bytes, size_t len, int64 first, int64 *t_ms, int n)
{
	PromBytes	in = prom_bytes(bytes, len);
	const char *reason;
	bool		ascending = true;

	t_ms[0] = first;
	if (n > 1)
	{
		reason = prom_int_decode(&in, (uint64 *) t_ms, n);
		if (reason)
			return reason;
		for (int i = 0; i < n; i++)
			t_ms[i] = (int64) ((uint64) t_ms[i] + (uint64) first);
		for (int i = 1; i < n; i++)
			ascending &= t_ms[i - 1] < t_ms[i];
		if (!ascending || t_ms[0] != first)
			return "timestamps are not ascending";
	}
	if (prom_bytes_left(&in) > 0)
		return "time column has bytes left over";
	return NULL;
}

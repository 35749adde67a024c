/*
 * snappy.c
 *	  libsnappy's block format behind a cap.
 *
 * The size that a block claims is looked at before anything is allocated for it; libsnappy itself
 * never writes past that size.
 */
#include "c.h"

#include <snappy-c.h>

#include "wire/wire.h"

bool
prom_snappy_size(const void *in, size_t len, size_t cap, size_t *out_len, PromWireError *err)
{
	err->offset = 0;
	if (snappy_uncompressed_length((const char *) in, len, out_len) != SNAPPY_OK)
		err->reason = "malformed length of a snappy block";
	else if (*out_len > cap)
		err->reason = "snappy block claims more bytes than allowed";
	else
		return true;
	return false;
}

bool
prom_snappy_decode(const void *in, size_t len, void *out, size_t out_len, PromWireError *err)
{
	size_t		written = out_len;

	if (snappy_uncompress((const char *) in, len, (char *) out, &written) == SNAPPY_OK &&
		written == out_len)
		return true;
	err->reason = "malformed snappy block";
	err->offset = 0;
	return false;
}

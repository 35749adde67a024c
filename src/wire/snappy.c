/*
 * snappy.c
 *	  libsnappy's block format behind a cap.
 *
 * The size that a block claims is looked at before anything is allocated for it; libsnappy itself
 * never writes past that size.
 *
 * A compressor looks back 64 kB at most, and libsnappy begins anew after as much: so pieces of that
 * size, each compressed by itself and without the length in front, are one block when put together.
 */
#include "c.h"

#include <snappy-c.h>

#include "common/bytes.h"
#include "wire/error.h"
#include "wire/wire.h"

bool
prom_snappy_size(const void *in, size_t len, size_t cap, size_t *out_len, PromWireError *err)
{
	if (snappy_uncompressed_length((const char *) in, len, out_len) != SNAPPY_OK)
		return wire_fail(err, "malformed length of a snappy block", 0);
	if (*out_len > cap)
		return wire_fail(err, "snappy block claims more bytes than allowed", 0);
	return true;
}

bool
prom_snappy_decode(const void *in, size_t len, void *out, size_t out_len, PromWireError *err)
{
	size_t		written = out_len;

	if (snappy_uncompress((const char *) in, len, (char *) out, &written) == SNAPPY_OK &&
		written == out_len)
		return true;
	return wire_fail(err, "malformed snappy block", 0);
}

size_t
prom_snappy_head(uint8 out[10], uint64 len)
{
	return prom_put_varint(out, len) - out;
}

/* out has PROM_SNAPPY_ROOM bytes */
size_t
prom_snappy_piece(const void *in, size_t len, uint8 *out)
{
	uint8		head[10];
	size_t		head_len = prom_put_varint(head, len) - head;
	size_t		written = PROM_SNAPPY_ROOM;

	/* it fails only for want of room */
	(void) snappy_compress((const char *) in, len, (char *) out, &written);
	memmove(out, out + head_len, written - head_len);
	return written - head_len;
}

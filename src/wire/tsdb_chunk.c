/*
 * tsdb_chunk.c
 *	  How chunks lie in the segment files of a Prometheus block, and what a chunk that Thanos has downsampled is
 *	  made of.
 *
 *	segment: magic (4) | version (1) | 0 (3) | chunks
 *	chunk: length of the data, uvarint | encoding (1) | data | CRC-32C of encoding and data (4)
 */
#include "c.h"

#include "common/bytes.h"
#include "wire/error.h"
#include "wire/wire.h"

#define SEGMENT_MAGIC	0x85BD40DD

bool
prom_tsdb_segment_head(const uint8 head[PROM_TSDB_SEGMENT_HEAD], PromWireError *err)
{
	if (prom_get_u32be(head) != SEGMENT_MAGIC)
		return wire_fail(err, "not a segment of chunks", 0);
	if (head[4] != 1)
		return wire_fail(err, "version of the segment of chunks is not 1", 4);
	return true;
}

void
prom_tsdb_put_segment_head(uint8 head[PROM_TSDB_SEGMENT_HEAD])
{
	memset(head, 0, PROM_TSDB_SEGMENT_HEAD);
	(void) prom_put_u32be(head, SEGMENT_MAGIC);
	head[4] = 1;
}

bool
prom_tsdb_frame(const void *bytes, size_t have, size_t extra, uint64 *size, PromWireError *err)
{
	PromBytes	b = prom_bytes(bytes, have);
	uint64		len = prom_bytes_varint(&b);

	if (b.bad || len > PROM_TSDB_MAX_FRAME)
		return wire_fail(err, "length is cut off or too large", 0);
	*size = (b.at - (const uint8 *) bytes) + extra + len + 4;
	return true;
}

bool
prom_tsdb_unframe(const void *bytes, size_t size, size_t extra, const uint8 **body, size_t *len, PromWireError *err)
{
	PromBytes	b = prom_bytes(bytes, size);

	*len = (size_t) prom_bytes_varint(&b) + extra;
	*body = prom_bytes_take(&b, *len);
	if (*body == NULL || prom_bytes_left(&b) != 4)
		return wire_fail(err, "cut off", size);
	if (prom_crc32c(0, *body, *len) != prom_get_u32be(b.at))
		return wire_fail(err, "checksum is wrong", b.at - (const uint8 *) bytes);
	return true;
}

bool
prom_tsdb_aggregates(const void *data, size_t len, PromTsdbAggregate out[PROM_TSDB_AGGREGATES], PromWireError *err)
{
	PromBytes	b = prom_bytes(data, len);

	for (int i = 0; i < PROM_TSDB_AGGREGATES; i++)
	{
		uint64		n = prom_bytes_varint(&b);

		memset(&out[i], 0, sizeof(out[i]));
		if (n > 0 && !b.bad)
		{
			out[i].encoding = prom_bytes_u8(&b);
			out[i].data = prom_bytes_take(&b, n);
			out[i].len = (size_t) n;
		}
		if (b.bad)
			return wire_fail(err, "aggregates of a downsampled chunk are cut off", b.at - (const uint8 *) data);
	}
	return true;
}

/*
 * directory.c
 *	  Directory and footer of an object of the tier, as bytes; see object.h.  Plain C.
 *
 * Sums are checked before they are made: what is decoded can be used without a further look, but for the
 * lengths, which the caller compares with the object's.
 */
#include "c.h"

#include "archive/object.h"
#include "common/bytes.h"

#define ENTRY_MAX_BYTES	(10 * 7 + 4)

static bool add_overflows(int64 a, int64 b, int64 *sum);
static uint32 get_u32le(const uint8 *p);
static uint8 *put_u32le(uint8 *p, uint32 v);

const char *
prom_footer_decode(const uint8 *bytes, PromFooter *footer)
{
	if (memcmp(bytes + PROM_OBJECT_FOOTER_BYTES - 8, PROM_OBJECT_END, 8) != 0)
		return "it does not end as an object of samples";
	footer->offset = prom_get_u64le(bytes);
	footer->length = prom_get_u64le(bytes + 8);
	footer->raw_length = prom_get_u64le(bytes + 16);
	footer->crc = get_u32le(bytes + 24);
	footer->chunks = get_u32le(bytes + 28);
	footer->own_crc = get_u32le(bytes + PROM_FOOTER_CRC_AT);
	if (get_u32le(bytes + 32) != PROM_OBJECT_VERSION)
		return "its version is unknown";
	if (footer->chunks > PROM_OBJECT_MAX_CHUNKS || footer->raw_length > PROM_DIRECTORY_MAX_BYTES ||
		footer->length > PROM_DIRECTORY_MAX_BYTES || footer->offset < PROM_OBJECT_HEAD_BYTES ||
		footer->offset > (uint64) PG_INT64_MAX - PROM_DIRECTORY_MAX_BYTES - PROM_OBJECT_FOOTER_BYTES)
		return "its footer has impossible lengths";
	return NULL;
}

void
prom_footer_encode(uint8 *bytes, const PromFooter *footer)
{
	uint8	   *p = bytes;

	p = prom_put_u64le(p, footer->offset);
	p = prom_put_u64le(p, footer->length);
	p = prom_put_u64le(p, footer->raw_length);
	p = put_u32le(p, footer->crc);
	p = put_u32le(p, footer->chunks);
	p = put_u32le(p, PROM_OBJECT_VERSION);
	p = put_u32le(p, footer->own_crc);
	memcpy(p, PROM_OBJECT_END, 8);
}

const char *
prom_directory_count(const uint8 *raw, size_t len, int *n)
{
	PromBytes	b = prom_bytes(raw, len);
	uint64		version = prom_bytes_varint(&b);
	uint64		count = prom_bytes_varint(&b);

	*n = 0;
	if (b.bad || version != PROM_OBJECT_VERSION)
		return "the directory's version is unknown";
	/* Each takes a byte of each column, and four for the checksum. */
	if (count > PROM_OBJECT_MAX_CHUNKS || count * 11 > prom_bytes_left(&b))
		return "the directory claims more chunks than it has bytes for";
	*n = (int) count;
	return NULL;
}

const char *
prom_directory_decode(const uint8 *raw, size_t len, PromObjectEntry *entry, int n)
{
	PromBytes	b = prom_bytes(raw, len);
	int64		offset = PROM_OBJECT_HEAD_BYTES;
	uint64		t = 0;
	int64		part = 0;
	int64		block = 0;
	uint64		series = 0;

	(void) prom_bytes_varint(&b);
	(void) prom_bytes_varint(&b);
	for (int i = 0; i < n; i++)
	{
		uint64		d = prom_bytes_varint(&b);

		if (d > PG_INT16_MAX || (part += (int64) d) > PG_INT16_MAX)
			return "the directory has an impossible part";
		entry[i].part = (int16) part;
	}
	for (int i = 0; i < n; i++)
	{
		if (add_overflows(block, prom_zigzag_decode(prom_bytes_varint(&b)), &block) || block < 0 || block > PG_INT32_MAX >> 6)
			return "the directory has an impossible block";
		entry[i].block = (int32) block;
		if (i > 0 && entry[i].part == entry[i - 1].part && entry[i].block < entry[i - 1].block)
			return "the directory is not in order";
	}
	for (int i = 0; i < n; i++)
	{
		t += (uint64) prom_zigzag_decode(prom_bytes_varint(&b));	/* as it was written: round and round */
		entry[i].t_min = (int64) t;
	}
	for (int i = 0; i < n; i++)
	{
		uint64		d = prom_bytes_varint(&b);

		if (d > PG_INT64_MAX || add_overflows(entry[i].t_min, (int64) d, &entry[i].t_max))
			return "the directory has an impossible time";
	}
	for (int i = 0; i < n; i++)
	{
		uint64		d = prom_bytes_varint(&b);

		if (d == 0 || d > PG_INT32_MAX)
			return "the directory has an impossible number of samples";
		entry[i].samples = (int32) d;
	}
	for (int i = 0; i < n; i++)
	{
		uint64		d = prom_bytes_varint(&b);

		if (d == 0 || d > PG_INT32_MAX / 2)
			return "the directory has an impossible length";
		entry[i].length = (int32) d;
		entry[i].offset = offset;
		offset += (int64) d;
	}
	for (int i = 0; i < n; i++)
	{
		const uint8 *p = prom_bytes_take(&b, 4);

		entry[i].crc = p ? get_u32le(p) : 0;
	}
	for (int i = 0; i < n; i++)
	{
		series ^= prom_bytes_varint(&b);
		entry[i].series = series;
		if (series == 0)
			return "the directory has a chunk without series";
	}
	if (b.bad || prom_bytes_left(&b) > 0)
		return "the directory ends in the wrong place";
	return NULL;
}

size_t
prom_directory_room(int n)
{
	return 20 + (size_t) n * ENTRY_MAX_BYTES;
}

size_t
prom_directory_encode(uint8 *raw, const PromObjectEntry *entry, int n)
{
	uint8	   *p = raw;

	p = prom_put_varint(p, PROM_OBJECT_VERSION);
	p = prom_put_varint(p, n);
	for (int i = 0; i < n; i++)
		p = prom_put_varint(p, entry[i].part - (i > 0 ? entry[i - 1].part : 0));
	for (int i = 0; i < n; i++)
		p = prom_put_varint(p, prom_zigzag_encode((int64) entry[i].block - (i > 0 ? entry[i - 1].block : 0)));
	for (int i = 0; i < n; i++)
		p = prom_put_varint(p, prom_zigzag_encode((int64) ((uint64) entry[i].t_min - (uint64) (i > 0 ? entry[i - 1].t_min : 0))));
	for (int i = 0; i < n; i++)
		p = prom_put_varint(p, (uint64) entry[i].t_max - (uint64) entry[i].t_min);
	for (int i = 0; i < n; i++)
		p = prom_put_varint(p, entry[i].samples);
	for (int i = 0; i < n; i++)
		p = prom_put_varint(p, entry[i].length);
	for (int i = 0; i < n; i++)
		p = put_u32le(p, entry[i].crc);
	for (int i = 0; i < n; i++)
		p = prom_put_varint(p, entry[i].series ^ (i > 0 ? entry[i - 1].series : 0));
	return p - raw;
}

static bool
add_overflows(int64 a, int64 b, int64 *sum)
{
	if (b > 0 ? a > PG_INT64_MAX - b : a < PG_INT64_MIN - b)
		return true;
	*sum = a + b;
	return false;
}

static uint32
get_u32le(const uint8 *p)
{
	return (uint32) p[0] | (uint32) p[1] << 8 | (uint32) p[2] << 16 | (uint32) p[3] << 24;
}

static uint8 *
put_u32le(uint8 *p, uint32 v)
{
	for (int i = 0; i < 4; i++)
		*p++ = (uint8) (v >> (8 * i));
	return p;
}

/*
 * object.c
 *	  Objects of the tier: their directory and chunks, checked; see object.h.
 */
#include "postgres.h"

#include <zstd.h>

#include "port/pg_crc32c.h"

#include "archive/object.h"

#define ZSTD_LEVEL		9

static void damaged(const char *reason) pg_attribute_noreturn();

uint32
prom_object_crc(const void *bytes, size_t len)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, len);
	FIN_CRC32C(crc);
	return (uint32) crc;
}

PromDirectory *
prom_object_directory_open(const void *bytes, size_t len)
{
	PromDirectory *d = palloc0(sizeof(PromDirectory));
	unsigned long long raw_length = ZSTD_getFrameContentSize(bytes, len);
	const char *reason;
	uint8	   *raw;

	if (raw_length == ZSTD_CONTENTSIZE_ERROR || raw_length == ZSTD_CONTENTSIZE_UNKNOWN || raw_length > PROM_DIRECTORY_MAX_BYTES)
		damaged("the directory does not say how long it is");
	raw = palloc(raw_length + 1);
	if (ZSTD_decompress(raw, raw_length, bytes, len) != raw_length)
		damaged("the directory cannot be unpacked");
	reason = prom_directory_count(raw, raw_length, &d->n);
	if (reason == NULL)
	{
		d->entry = palloc_extended(sizeof(PromObjectEntry) * (d->n + 1), MCXT_ALLOC_HUGE);
		reason = prom_directory_decode(raw, raw_length, d->entry, d->n);
	}
	if (reason != NULL)
		damaged(reason);
	pfree(raw);
	d->end = d->n > 0 ? d->entry[d->n - 1].offset + d->entry[d->n - 1].length : PROM_OBJECT_HEAD_BYTES;
	return d;
}

int
prom_object_directory_find(const PromDirectory *d, int16 part, int32 block)
{
	int			low = 0;
	int			high = d->n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		const PromObjectEntry *e = &d->entry[middle];

		if (e->part < part || (e->part == part && e->block < block))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void *
prom_object_directory_pack(const PromObjectEntry *entry, int n, size_t *length, size_t *raw_length)
{
	uint8	   *raw = palloc_extended(prom_directory_room(n), MCXT_ALLOC_HUGE);
	size_t		room;
	void	   *packed;

	*raw_length = prom_directory_encode(raw, entry, n);
	room = ZSTD_compressBound(*raw_length);
	packed = palloc_extended(room, MCXT_ALLOC_HUGE);
	*length = ZSTD_compress(packed, room, raw, *raw_length, ZSTD_LEVEL);
	if (ZSTD_isError(*length))
		elog(ERROR, "a directory cannot be packed: %s", ZSTD_getErrorName(*length));
	pfree(raw);
	return packed;
}

bool
prom_object_chunk_is_whole(const PromObjectEntry *entry, const void *bytes)
{
	return prom_object_crc(bytes, entry->length) == entry->crc;
}

struct varlena *
prom_object_chunk(const PromObjectEntry *entry, const void *bytes)
{
	struct varlena *chunk;

	if (!prom_object_chunk_is_whole(entry, bytes))
		damaged("a chunk's bytes are not those that were written");
	chunk = palloc(VARHDRSZ + entry->length);
	SET_VARSIZE(chunk, VARHDRSZ + entry->length);
	memcpy(VARDATA(chunk), bytes, entry->length);
	return chunk;
}

void
prom_object_footer_open(PromFooter *footer, const void *bytes, int64 object_size)
{
	const char *reason = prom_footer_decode(bytes, footer);

	if (reason == NULL && footer->own_crc != prom_object_crc(bytes, PROM_FOOTER_CRC_AT))
		reason = "its footer's bytes are not those that were written";
	if (reason == NULL && (int64) (footer->offset + footer->length) != object_size - PROM_OBJECT_FOOTER_BYTES)
		reason = "its footer does not agree with its size";
	if (reason != NULL)
		damaged(reason);
}

static void
damaged(const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("object of the tier is damaged"),
			 errdetail_internal("%s", reason)));
}

/*
 * block_out.c
 *	  A file of a block that is written from its beginning to its end; and the names of blocks.
 *
 * What is written is hashed on its way, so that a block can be named by what is in it: the same samples give
 * the same name.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"

#include "block/block.h"
#include "common/bytes.h"

#define BUFFER_BYTES	(256 * 1024)
#define HASH_BYTES		sizeof(PromSeriesHash)	/* in front of the buffer: the hash of what was before */

void
prom_block_out_open(PromBlockOut *out, const char *path)
{
	memset(out, 0, sizeof(*out));
	out->path = path;
	out->buffer = (uint8 *) palloc0(HASH_BYTES + BUFFER_BYTES) + HASH_BYTES;
	out->fd = OpenTransientFile(path, O_CREAT | O_EXCL | O_WRONLY | PG_BINARY);
	if (out->fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", path)));
}

static void
flush_buffer(PromBlockOut *out)
{
	memcpy(out->buffer - HASH_BYTES, &out->hash, HASH_BYTES);
	out->hash = prom_series_raw_hash(out->buffer - HASH_BYTES, HASH_BYTES + out->used);
	for (size_t done = 0; done < out->used;)
	{
		ssize_t		n = write(out->fd, out->buffer + done, out->used - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			/* a write that is short does not always say why */
			if (n == 0)
				errno = ENOSPC;
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not write file \"%s\": %m", out->path)));
		}
		done += n;
	}
	out->used = 0;
}

void
prom_block_out_put(PromBlockOut *out, const void *bytes, size_t len)
{
	const uint8 *at = bytes;

	out->crc = prom_crc32c(out->crc, bytes, len);
	out->written += len;
	while (len > 0)
	{
		size_t		n = Min(len, BUFFER_BYTES - out->used);

		memcpy(out->buffer + out->used, at, n);
		out->used += n;
		at += n;
		len -= n;
		if (out->used == BUFFER_BYTES)
			flush_buffer(out);
	}
}

void
prom_block_out_u32(PromBlockOut *out, uint32 v)
{
	uint8		bytes[4];

	(void) prom_put_u32be(bytes, v);
	prom_block_out_put(out, bytes, sizeof(bytes));
}

void
prom_block_out_varint(PromBlockOut *out, uint64 v)
{
	uint8		bytes[10];

	prom_block_out_put(out, bytes, prom_put_varint(bytes, v) - bytes);
}

void
prom_block_out_pad(PromBlockOut *out, int alignment)
{
	static const uint8 zeros[16] = {0};

	if (out->written % alignment != 0)
		prom_block_out_put(out, zeros, alignment - out->written % alignment);
}

void
prom_block_out_close(PromBlockOut *out)
{
	flush_buffer(out);
	if (pg_fsync(out->fd) != 0)
		ereport(data_sync_elevel(ERROR),
				(errcode_for_file_access(),
				 errmsg("could not fsync file \"%s\": %m", out->path)));
	if (CloseTransientFile(out->fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not close file \"%s\": %m", out->path)));
	pfree(out->buffer - HASH_BYTES);
}

void
prom_remove_directory(const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0)
		(void) rmtree(path, true);	/* it warns of what it cannot remove */
}

/* Crockford's base 32, the highest bits first; the first letter has but three of them. */
char *
prom_ulid(int64 t_ms, const uint8 rest[10])
{
	static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	uint8		bits[17] = {0};
	char	   *ulid = palloc(PROM_ULID_LENGTH + 1);

	for (int i = 0; i < 6; i++)
		bits[i] = (uint8) ((uint64) t_ms >> (40 - 8 * i));
	memcpy(bits + 6, rest, 10);
	for (int i = 0; i < PROM_ULID_LENGTH; i++)
	{
		int			at = 5 * i - 2;	/* 130 places for 128 bits */
		int			letter = 0;

		for (int k = at; k < at + 5; k++)
			letter = letter << 1 | (k < 0 ? 0 : bits[k / 8] >> (7 - k % 8) & 1);
		ulid[i] = letters[letter];
	}
	ulid[PROM_ULID_LENGTH] = '\0';
	return ulid;
}

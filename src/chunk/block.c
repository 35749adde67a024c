/*
 * block.c
 *	  The container: head, series ids, directory, time columns, value columns.
 *
 * Reading goes in steps, so that whoever only asks which series are inside decodes their ids and no
 * more, and so that no memory is asked for before the head has said, within the caps of the format,
 * how much.  Every length in the directory is checked against the bytes that are there before a
 * column is touched; a column must use up its bytes exactly.
 */
#include "c.h"

#include "chunk/codec.h"

/* format, flags, and seven varints at their longest */
#define HEAD_BOUND	80

/* a zstd frame begins with these; they are not stored */
static const uint8 zstd_magic[] = {0x28, 0xB5, 0x2F, 0xFD};

#define ZSTD_LEVEL	3

/* ---- writing ---- */

size_t
prom_block_bound(const PromBlockParts *p)
{
	return HEAD_BOUND + 3 * PROM_INT_BOUND(p->nseries) + 3 * PROM_INT_BOUND(p->ntimes) +
		p->times_len + p->values_len + PROM_BLOCK_CRC_BYTES;
}

static uint8 *
write_head(uint8 *out, const PromBlockParts *p)
{
	int			longest = 0;

	for (int k = 0; k < p->ntimes; k++)
		longest = Max(longest, p->time_n[k]);
	*out++ = PROM_BLOCK_FORMAT;
	*out++ = p->flags | PROM_BLOCK_IDS;
	out = prom_put_varint(out, prom_zigzag_encode(p->shard));
	out = prom_put_varint(out, p->nseries);
	out = prom_put_varint(out, p->ntimes);
	out = prom_put_varint(out, longest);
	out = prom_put_varint(out, prom_zigzag_encode(p->t_min));
	return prom_put_varint(out, (uint64) p->t_max - (uint64) p->t_min);
}

/* Fresh blocks are written once and read a few times: quick goes before small. */
static uint8 *
write_ints(uint8 *out, const PromBlockParts *p, uint64 *x, int n)
{
	return p->flags & PROM_BLOCK_FRESH ? prom_int_encode_quick(out, x, n) : prom_int_encode(out, x, n);
}

static uint8 *
write_ids(uint8 *out, const PromBlockParts *p)
{
	uint64		x[PROM_BLOCK_MAX_SERIES];
	uint8		ids[PROM_INT_BOUND(PROM_BLOCK_MAX_SERIES)];
	size_t		len;

	for (int i = 0; i < p->nseries; i++)
		x[i] = (uint64) (int64) p->sids[i];
	len = write_ints(ids, p, x, p->nseries) - ids;
	out = prom_put_varint(out, len);
	memcpy(out, ids, len);
	return out + len;
}

static uint8 *
write_directory(uint8 *out, const PromBlockParts *p)
{
	uint64		x[PROM_BLOCK_MAX_SERIES];

	for (int k = 0; k < p->ntimes; k++)
		x[k] = p->time_n[k];
	out = write_ints(out, p, x, p->ntimes);
	for (int k = 0; k < p->ntimes; k++)
		x[k] = (uint64) p->time_first[k] - (uint64) p->t_min;
	out = write_ints(out, p, x, p->ntimes);
	for (int k = 0; k < p->ntimes; k++)
		x[k] = p->time_len[k];
	out = write_ints(out, p, x, p->ntimes);
	for (int i = 0; i < p->nseries; i++)
		x[i] = p->time_of[i];
	out = write_ints(out, p, x, p->nseries);
	for (int i = 0; i < p->nseries; i++)
		x[i] = p->value_len[i];
	return write_ints(out, p, x, p->nseries);
}

size_t
prom_block_write(uint8 *out, const PromBlockParts *p)
{
	uint8	   *start = out;

	out = write_head(out, p);
	out = write_ids(out, p);
	out = write_directory(out, p);
	memcpy(out, p->times, p->times_len);
	out += p->times_len;
	memcpy(out, p->values, p->values_len);
	return out + p->values_len - start;
}

size_t
prom_block_deflate(ZSTD_CCtx *cctx, uint8 *out, const uint8 *values, size_t len)
{
	size_t		n;

	/* too short to gain anything, and the magic bytes must fit */
	if (len < 64)
		return 0;
	ZSTD_CCtx_reset(cctx, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, ZSTD_LEVEL);
	ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0);
	n = ZSTD_compress2(cctx, out, len, values, len);
	if (ZSTD_isError(n) || n <= sizeof(zstd_magic) || memcmp(out, zstd_magic, sizeof(zstd_magic)) != 0)
		return 0;
	memmove(out, out + sizeof(zstd_magic), n - sizeof(zstd_magic));
	return n - sizeof(zstd_magic);
}

/* ---- reading ---- */

const char *
prom_block_head(PromBlock *b, const uint8 *bytes, size_t len)
{
	PromBytes	in = prom_bytes(bytes, len);
	uint64		nseries;
	uint64		ntimes;
	uint64		nsamples;
	uint64		span;
	uint64		ids_len;
	int64		shard;
	const uint8 *ids;

	memset(b, 0, sizeof(*b));
	if (len == 0)
		return "chunk is empty";
	if (prom_bytes_u8(&in) != PROM_BLOCK_FORMAT)
		return "chunk is of unknown format";
	b->flags = prom_bytes_u8(&in);
	if (in.bad)
		return "chunk is truncated";
	if (b->flags & ~PROM_BLOCK_FLAGS || !(b->flags & PROM_BLOCK_IDS))
		return "chunk has unknown flags";
	if (b->flags & PROM_BLOCK_CRC)
	{
		if (prom_bytes_left(&in) < PROM_BLOCK_CRC_BYTES)
			return "chunk is truncated";
		in.end -= PROM_BLOCK_CRC_BYTES;
	}
	shard = prom_zigzag_decode(prom_bytes_varint(&in));
	nseries = prom_bytes_varint(&in);
	ntimes = prom_bytes_varint(&in);
	nsamples = prom_bytes_varint(&in);
	b->t_min = prom_zigzag_decode(prom_bytes_varint(&in));
	span = prom_bytes_varint(&in);
	ids_len = prom_bytes_varint(&in);
	ids = prom_bytes_take(&in, ids_len);
	if (in.bad)
		return "chunk is truncated";
	if (shard < PG_INT16_MIN || shard > PG_INT16_MAX)
		return "chunk has a shard out of range";
	if (nseries < 1 || nseries > PROM_BLOCK_MAX_SERIES)
		return "chunk has a number of series out of range";
	if (ntimes < 1 || ntimes > nseries)
		return "chunk has a number of time columns out of range";
	if (nsamples < 1 || nsamples > PROM_BLOCK_MAX_SAMPLES)
		return "chunk has a number of samples out of range";
	if (span > (uint64) PG_INT64_MAX - (uint64) b->t_min)
		return "chunk has a time range out of range";
	b->shard = (int16) shard;
	b->nseries = (int) nseries;
	b->ntimes = (int) ntimes;
	b->nsamples = (int) nsamples;
	b->t_max = (int64) ((uint64) b->t_min + span);
	b->ids = prom_bytes(ids, ids_len);
	b->rest = in;
	return NULL;
}

size_t
prom_block_space(const PromBlock *b)
{
	return b->ntimes * (sizeof(int64) + sizeof(uint32) + sizeof(uint16)) +
		b->nseries * (sizeof(int32) + sizeof(uint32) + sizeof(uint16)) + 2 * sizeof(uint32);
}

const char *
prom_block_ids(PromBlock *b, void *space)
{
	uint64		x[PROM_BLOCK_MAX_SERIES];
	PromBytes	in = b->ids;
	int			nseries = b->nseries;
	int32	   *sids;
	const char *reason;

	b->time_first = (int64 *) space;
	b->sids = (int32 *) (b->time_first + b->ntimes);
	b->value_at = (uint32 *) (b->sids + b->nseries);
	b->time_at = b->value_at + b->nseries + 1;
	b->time_of = (uint16 *) (b->time_at + b->ntimes + 1);
	b->time_n = b->time_of + b->nseries;

	reason = prom_int_decode(&in, x, nseries);
	if (reason)
		return reason;
	if (prom_bytes_left(&in) > 0)
		return "series ids have bytes left over";
	sids = b->sids;
	for (int i = 0; i < nseries; i++)
	{
		int64		sid = (int64) x[i];

		if (sid < PG_INT32_MIN || sid > PG_INT32_MAX)
			return "chunk has a series id out of range";
		if (i > 0 && sid <= sids[i - 1])
			return "series ids are not ascending";
		sids[i] = (int32) sid;
	}
	return NULL;
}

/* Counts, first times and places of the time columns. */
static const char *
read_time_directory(PromBlock *b, PromBytes *in, uint64 *x)
{
	uint64		span = (uint64) b->t_max - (uint64) b->t_min;
	const char *reason;
	uint64		longest = 0;

	reason = prom_int_decode(in, x, b->ntimes);
	if (reason)
		return reason;
	for (int k = 0; k < b->ntimes; k++)
	{
		if (x[k] < 1 || x[k] > (uint64) b->nsamples)
			return "time column has a number of samples out of range";
		longest = Max(longest, x[k]);
		b->time_n[k] = (uint16) x[k];
	}
	if (longest != (uint64) b->nsamples)
		return "chunk has a number of samples out of range";

	reason = prom_int_decode(in, x, b->ntimes);
	if (reason)
		return reason;
	for (int k = 0; k < b->ntimes; k++)
	{
		if (x[k] > span)
			return "time column begins outside the range of the chunk";
		b->time_first[k] = (int64) ((uint64) b->t_min + x[k]);
	}

	reason = prom_int_decode(in, x, b->ntimes);
	if (reason)
		return reason;
	b->time_at[0] = 0;
	for (int k = 0; k < b->ntimes; k++)
	{
		if (x[k] > PROM_INT_BOUND(b->time_n[k]))
			return "time column has a length out of range";
		b->time_at[k + 1] = b->time_at[k] + (uint32) x[k];
	}
	return NULL;
}

/* Time column and place of the values of each series. */
static const char *
read_series_directory(PromBlock *b, PromBytes *in, uint64 *x)
{
	/* what is written below could be a part of b, as far as a compiler knows */
	int			nseries = b->nseries;
	uint16	   *time_of = b->time_of;
	const uint16 *time_n = b->time_n;
	uint32	   *value_at = b->value_at;
	bool		histograms = (b->flags & PROM_BLOCK_HISTOGRAMS) != 0;
	const char *reason;
	uint64		last = 0;
	uint32		at = 0;

	reason = prom_int_decode(in, x, nseries);
	if (reason)
		return reason;
	for (int i = 0; i < nseries; i++)
	{
		last = Max(last, x[i]);
		time_of[i] = (uint16) x[i];
	}
	if (last >= (uint64) b->ntimes)
		return "series names a time column that is not there";

	reason = prom_int_decode(in, x, nseries);
	if (reason)
		return reason;
	value_at[0] = 0;
	for (int i = 0; i < nseries; i++)
	{
		if (x[i] > (histograms ? PROM_BLOCK_MAX_VALUES - at : PROM_VALUE_BOUND(time_n[time_of[i]])))
			return "value column has a length out of range";
		at += (uint32) x[i];
		value_at[i + 1] = at;
	}
	return NULL;
}

const char *
prom_block_directory(PromBlock *b)
{
	uint64		x[PROM_BLOCK_MAX_SERIES];
	PromBytes	in = b->rest;
	const char *reason;

	reason = read_time_directory(b, &in, x);
	if (reason == NULL)
		reason = read_series_directory(b, &in, x);
	if (reason)
		return reason;
	b->times = prom_bytes_take(&in, b->time_at[b->ntimes]);
	if (in.bad)
		return "chunk is truncated";
	b->rest = in;
	if (!(b->flags & PROM_BLOCK_ZSTD))
	{
		if (prom_bytes_left(&in) < b->value_at[b->nseries])
			return "chunk is truncated";
		if (prom_bytes_left(&in) > b->value_at[b->nseries])
			return "chunk has bytes left over";
		b->values = in.at;
	}
	return NULL;
}

size_t
prom_block_inflate_space(const PromBlock *b)
{
	return b->value_at[b->nseries] + sizeof(zstd_magic) + prom_bytes_left(&b->rest);
}

const char *
prom_block_inflate(PromBlock *b, ZSTD_DCtx *dctx, uint8 *buffer)
{
	size_t		raw_len = b->value_at[b->nseries];
	size_t		len = prom_bytes_left(&b->rest);
	uint8	   *frame = buffer + raw_len;
	size_t		n;

	memcpy(frame, zstd_magic, sizeof(zstd_magic));
	memcpy(frame + sizeof(zstd_magic), b->rest.at, len);
	n = ZSTD_decompressDCtx(dctx, buffer, raw_len, frame, sizeof(zstd_magic) + len);
	if (ZSTD_isError(n) || n != raw_len)
		return "compressed values are broken";
	b->values = buffer;
	return NULL;
}

const char *
prom_block_time(const PromBlock *b, int k, int64 *t_ms)
{
	int			n = b->time_n[k];
	const char *reason = prom_time_decode(b->times + b->time_at[k], b->time_at[k + 1] - b->time_at[k],
										  b->time_first[k], t_ms, n);

	if (reason == NULL && t_ms[n - 1] > b->t_max)
		return "time column ends outside the range of the chunk";
	return reason;
}

const char *
prom_block_value(const PromBlock *b, int column, uint64 *bits, uint64 *work)
{
	int			n = b->time_n[b->time_of[column]];
	const uint8 *bytes = b->values + b->value_at[column];
	size_t		len = b->value_at[column + 1] - b->value_at[column];

	if (b->flags & PROM_BLOCK_FRESH)
		return prom_value_decode_fresh(bytes, len, bits, n);
	return prom_value_decode(bytes, len, bits, n, work);
}

bool
prom_block_mixed(const PromBlock *b, int column, PromBytes *in)
{
	*in = prom_bytes(b->values + b->value_at[column], b->value_at[column + 1] - b->value_at[column]);
	return b->flags & PROM_BLOCK_HISTOGRAMS && prom_bytes_left(in) > 0 &&
		prom_bytes_u8(in) == (b->flags & PROM_BLOCK_FRESH ? PROM_MIXED_FRESH : PROM_MIXED_KIND);
}

const char *
prom_block_verify(const PromBlock *b, int64 *t_ms, uint64 *bits, uint64 *work)
{
	int64		t_min = PG_INT64_MAX;
	int64		t_max = PG_INT64_MIN;
	const char *reason;

	for (int k = 0; k < b->ntimes; k++)
	{
		reason = prom_block_time(b, k, t_ms);
		if (reason)
			return reason;
		t_min = Min(t_min, t_ms[0]);
		t_max = Max(t_max, t_ms[b->time_n[k] - 1]);
	}
	if (t_min != b->t_min || t_max != b->t_max)
		return "chunk has a time range that its timestamps do not have";
	for (int i = 0; i < b->nseries; i++)
	{
		PromBytes	mixed;

		if (prom_block_mixed(b, i, &mixed))
			continue;
		reason = prom_block_value(b, i, bits, work);
		if (reason)
			return reason;
	}
	return NULL;
}

/*
 * tsdb_index.c
 *	  The index of a Prometheus block, as far as reading its samples needs it: table of contents, series; and
 *	  its tombstones.
 *
 * The caller brings the bytes, piece by piece: an index can be larger than memory.  The postings are
 * not looked at, as all series are read one after the other.  Numbers of fixed size are big-endian.
 */
#include "c.h"

#include "common/bytes.h"
#include "wire/error.h"
#include "wire/wire.h"

#define INDEX_MAGIC			0xBAAAD700
#define TOMBSTONES_MAGIC	0x0130BA30
#define TOMBSTONES_HEAD		5	/* magic, version */

bool
prom_tsdb_index_head(const uint8 head[PROM_TSDB_INDEX_HEAD], PromWireError *err)
{
	if (prom_get_u32be(head) != INDEX_MAGIC)
		return wire_fail(err, "not an index of a block", 0);
	if (head[4] != 2)
		return wire_fail(err, "version of the index is not 2", 4);
	return true;
}

/* Sections lie in this order; the label indices and their table may be empty or missing. */
bool
prom_tsdb_toc(const uint8 *bytes, uint64 file_size, PromTsdbToc *toc, PromWireError *err)
{
	uint64		end = file_size - PROM_TSDB_TOC_BYTES;
	uint64		section[6];

	if (prom_crc32c(0, bytes, PROM_TSDB_TOC_BYTES - 4) != prom_get_u32be(bytes + PROM_TSDB_TOC_BYTES - 4))
		return wire_fail(err, "checksum of the table of contents is wrong", end);
	for (int i = 0; i < 6; i++)
	{
		section[i] = (uint64) prom_get_u32be(bytes + 8 * i) << 32 | prom_get_u32be(bytes + 8 * i + 4);
		if (section[i] > end)
			return wire_fail(err, "section lies beyond the end of the index", end + 8 * i);
	}
	toc->symbols = section[0];
	toc->series = section[1];
	if (toc->symbols < PROM_TSDB_INDEX_HEAD || (toc->series != 0 && toc->series < toc->symbols))
		return wire_fail(err, "sections of the index are missing or out of order", end);
	toc->series_end = toc->series == 0 ? 0 : end;
	for (int i = 2; i < 6; i++)
		if (section[i] >= toc->series && section[i] < toc->series_end)
			toc->series_end = section[i];
	return true;
}

/* ---- series ---- */

bool
prom_tsdb_series_begin(PromTsdbSeries *s, const void *body, size_t len, PromWireError *err)
{
	PromTsdbSeries walk;
	PromTsdbChunk chunk = {0};
	uint32		name;
	uint32		value;

	s->bytes = prom_bytes(body, len);
	s->labels_left = -1;
	walk = *s;
	while (prom_tsdb_series_label(&walk, &name, &value))
		;
	while (prom_tsdb_series_chunk(&walk, &chunk))
	{
		if (chunk.t_max < chunk.t_min)
			break;
	}
	if (walk.bytes.bad || chunk.t_max < chunk.t_min || walk.bytes.at != walk.bytes.end)
		return wire_fail(err, "entry of a series is malformed", walk.bytes.at - (const uint8 *) body);
	return true;
}

/* How many there are, but no more than there are bytes. */
static int64
get_number(PromBytes *b)
{
	uint64		n = prom_bytes_varint(b);

	if (n > prom_bytes_left(b))
		b->bad = true;
	return b->bad ? 0 : (int64) n;
}

bool
prom_tsdb_series_label(PromTsdbSeries *s, uint32 *name, uint32 *value)
{
	uint64		symbol[2];

	if (s->labels_left < 0)
		s->labels_left = get_number(&s->bytes);
	if (s->labels_left == 0 || s->bytes.bad)
	{
		s->labels_left = 0;
		s->chunks_left = get_number(&s->bytes);
		s->first = true;
		return false;
	}
	s->labels_left--;
	for (int i = 0; i < 2; i++)
	{
		symbol[i] = prom_bytes_varint(&s->bytes);
		s->bytes.bad |= symbol[i] > PG_UINT32_MAX;
	}
	*name = (uint32) symbol[0];
	*value = (uint32) symbol[1];
	return !s->bytes.bad;
}

bool
prom_tsdb_series_chunk(PromTsdbSeries *s, PromTsdbChunk *chunk)
{
	uint64		t_min;
	uint64		length;
	uint64		ref;

	if (s->chunks_left == 0 || s->bytes.bad)
		return false;
	s->chunks_left--;
	if (s->first)
	{
		t_min = (uint64) prom_zigzag_decode(prom_bytes_varint(&s->bytes));
		length = prom_bytes_varint(&s->bytes);
		ref = prom_bytes_varint(&s->bytes);
	}
	else
	{
		t_min = (uint64) s->t_max + prom_bytes_varint(&s->bytes);
		length = prom_bytes_varint(&s->bytes);
		ref = s->ref + (uint64) prom_zigzag_decode(prom_bytes_varint(&s->bytes));
	}
	s->first = false;
	chunk->t_min = (int64) t_min;
	chunk->t_max = s->t_max = (int64) (t_min + length);
	chunk->segment = (uint32) (ref >> 32);
	chunk->offset = (uint32) ref;
	s->ref = ref;
	return !s->bytes.bad;
}

/* ---- tombstones ---- */

bool
prom_tsdb_tombstones_begin(PromBytes *walk, const void *data, size_t len, PromWireError *err)
{
	const uint8 *p = data;

	if (len < TOMBSTONES_HEAD + 4)
		return wire_fail(err, "file of tombstones is too short", len);
	if (prom_get_u32be(p) != TOMBSTONES_MAGIC)
		return wire_fail(err, "not a file of tombstones", 0);
	if (p[4] != 1)
		return wire_fail(err, "version of the tombstones is not 1", 4);
	if (prom_crc32c(0, p + TOMBSTONES_HEAD, len - TOMBSTONES_HEAD - 4) != prom_get_u32be(p + len - 4))
		return wire_fail(err, "checksum of the tombstones is wrong", len - 4);
	*walk = prom_bytes(p + TOMBSTONES_HEAD, len - TOMBSTONES_HEAD - 4);
	return true;
}

bool
prom_tsdb_tombstone(PromBytes *walk, PromTsdbTombstone *t)
{
	if (walk->at >= walk->end)
		return false;
	t->series = prom_bytes_varint(walk);
	t->t_min = prom_zigzag_decode(prom_bytes_varint(walk));
	t->t_max = prom_zigzag_decode(prom_bytes_varint(walk));
	return !walk->bad;
}

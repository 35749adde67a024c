/*
 * object.h
 *	  The data object of the tier: chunks back to back, then a directory that tells where each lies.
 *
 *	+----------+-------+-------+-- --+-----------------------+------------------+
 *	| PROMOBJ1 | chunk | chunk | ... | directory (zstd)      | footer, 48 bytes |
 *	+----------+-------+-------+-- --+-----------------------+------------------+
 *
 * A chunk is a prom.chunk without its length word: one part of one block of 64 series, some of the day's
 * samples, cold.  They lie in the order of (part, block, t_min), without gaps.
 *
 * The directory, unpacked, is varints: version (1), number of chunks n, then column after column of n
 * values: part and block as what they add to the one before (block: zigzag), t_min likewise (zigzag),
 * t_max - t_min, samples, length; crc32c of the chunk's bytes (4 bytes, little-endian); and the bit mask of the
 * block's series that the chunk holds, XOR the one before.  Offsets follow from lengths.
 *
 * The footer, all little-endian: u64 offset of the directory, u64 its length, u64 its length unpacked, u32 crc32c of its
 * bytes as they lie, u32 chunks, u32 version (1), u32 crc32c of the footer so far, magic PROMEND1.
 *
 * directory.c is plain C and reads bytes from strangers; object.c raises.
 */
#ifndef PROM_STORE_OBJECT_H
#define PROM_STORE_OBJECT_H

#include "c.h"

#define PROM_OBJECT_MAGIC		"PROMOBJ1"
#define PROM_OBJECT_END			"PROMEND1"
#define PROM_OBJECT_HEAD_BYTES	8
#define PROM_OBJECT_FOOTER_BYTES 48
#define PROM_OBJECT_VERSION		1
#define PROM_OBJECT_MAX_CHUNKS	(1 << 20)
#define PROM_DIRECTORY_MAX_BYTES (64 * 1024 * 1024) /* unpacked */

/* Where a chunk lies, and what it holds. */
typedef struct PromObjectEntry
{
	int64		t_min;
	int64		t_max;
	int64		offset;			/* from the object's first byte */
	uint64		series;			/* bit i: it has samples of the series block << PROM_BLOCK_BITS | i */
	int32		length;			/* bytes */
	int32		block;
	int32		samples;
	uint32		crc;			/* crc32c of the bytes */
	int16		part;			/* PromRollupPart */
} PromObjectEntry;

typedef struct PromFooter
{
	uint64		offset;			/* of the directory */
	uint64		length;			/* of it as it lies */
	uint64		raw_length;		/* of it unpacked */
	uint32		crc;			/* crc32c of it as it lies */
	uint32		chunks;
	uint32		own_crc;		/* of the footer before this figure */
} PromFooter;

/* ---- directory.c: plain C ---- */

/* Both return NULL or a static reason. */
extern const char *prom_footer_decode(const uint8 *bytes, PromFooter *footer);
extern const char *prom_directory_count(const uint8 *raw, size_t len, int *n);

/* n as prom_directory_count says. */
extern const char *prom_directory_decode(const uint8 *raw, size_t len, PromObjectEntry *entry, int n);

/* Room for the bytes of a directory of n entries; what it takes at most, and writing it: returns its length. */
extern size_t prom_directory_room(int n);
extern size_t prom_directory_encode(uint8 *raw, const PromObjectEntry *entry, int n);

/* own_crc is what the caller has computed over the first PROM_FOOTER_CRC_AT bytes; see object.c. */
#define PROM_FOOTER_CRC_AT		36
extern void prom_footer_encode(uint8 *bytes, const PromFooter *footer);

/* ---- object.c ---- */

/* crc32c, by the server's instructions; that of wire.h is for plain C. */
extern uint32 prom_object_crc(const void *bytes, size_t len);

typedef struct PromDirectory
{
	int			n;
	PromObjectEntry *entry;		/* by (part, block, t_min) */
	int64		end;			/* where the last chunk ends, and the directory begins */
} PromDirectory;

/*
 * A directory as it lies in an object, and in prom.tier_object.directory.  In the current memory context; bytes that
 * are none raise DATA_CORRUPTED.
 */
extern PromDirectory *prom_object_directory_open(const void *bytes, size_t len);

/* The first entry with at least this part and block; n if there is none. */
extern int	prom_object_directory_find(const PromDirectory *d, int16 part, int32 block);

/* The bytes of a chunk, as a prom.chunk in the current memory context; raises DATA_CORRUPTED unless their crc is right. */
extern struct varlena *prom_object_chunk(const PromObjectEntry *entry, const void *bytes);

/* The same as a test; may be called where nothing may be raised or allocated. */
extern bool prom_object_chunk_is_whole(const PromObjectEntry *entry, const void *bytes);

/* The check of a footer's own bytes; raises DATA_CORRUPTED. */
extern void prom_object_footer_open(PromFooter *footer, const void *bytes, int64 object_size);

/* Packs a directory; *raw_length is its length unpacked. */
extern void *prom_object_directory_pack(const PromObjectEntry *entry, int n, size_t *length, size_t *raw_length);

#endif							/* PROM_STORE_OBJECT_H */

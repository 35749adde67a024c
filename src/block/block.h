/*
 * block.h
 *	  Blocks of Prometheus and Thanos, read and written: what the files of this room share.
 *
 * A place is where blocks lie: a directory of the server, or a prefix in a bucket.  A file of it is named by its
 * path within.
 */
#ifndef PROM_BLOCK_H
#define PROM_BLOCK_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "store/rows.h"
#include "wire/wire.h"

#define PROM_ULID_LENGTH 26

/* ---- block_place.c ---- */

/* Where bytes of blocks come from.  All functions raise what goes wrong. */
typedef struct PromPlace
{
	const char *name;			/* as the user gave it, for messages */
	size_t		page_bytes;		/* what is read at a time, at least */
	List	   *(*list) (struct PromPlace *place, const char *folder);	/* names (char *) of what is in it, in no order */
	int64		(*size) (struct PromPlace *place, const char *path);	/* of a file; -1: it is not there */
	void		(*read) (struct PromPlace *place, const char *path, int64 offset, void *to, size_t len);
	struct PromBucket *bucket;	/* or NULL; from there it can be read ahead, */
	const char *prefix;			/* of keys that begin with this: "" or with a slash at its end */
} PromPlace;

/* Where blocks are written to. */
typedef struct PromBlockTarget
{
	const char *name;
	const char *directory;		/* in which they are made, and, unless there is a bucket, stay */
	struct PromBucket *bucket;	/* or NULL */
	const char *prefix;			/* of keys in it */
} PromBlockTarget;

/* A directory, or s3://server/prefix; raises unless the user who has called may read (write) there. */
extern PromPlace *prom_place_to_read(const char *name);
extern PromBlockTarget *prom_place_to_write(const char *name);

/* Why such a directory fails, mostly. */
#define PROM_HINT_WRITABLE \
	errhint("It must exist on the machine of the server, and belong to the server's operating system account.")

/* Whoever asks. */
extern PromPlace *prom_place_of_directory(const char *path);

/* A whole file of at most so many bytes, with a zero byte behind; NULL: it is not there. */
extern char *prom_place_file(PromPlace *place, const char *path, size_t most, size_t *len);

/* The name of a block? */
extern bool prom_is_ulid(const char *name);

/* ---- block_bucket.c ---- */

extern bool prom_is_bucket(const char *name);
extern PromPlace *prom_bucket_place(const char *name);
extern PromBlockTarget *prom_bucket_target(const char *name);
extern bool prom_bucket_has_block(const PromBlockTarget *t, const char *ulid);

/* Upload a block that was made in the target's directory. */
extern void prom_bucket_take_block(const PromBlockTarget *t, const char *ulid, int segments);

/* ---- block_file.c ---- */

/* A file that is read here and there, through pages that are kept; of a bucket, some of them before they are needed. */
typedef struct PromBlockFile PromBlockFile;

/*
 * NULL if it is not there.  Lives in the current context; "pages" of them are kept, at most half of which are those that were
 * asked for ahead.
 */
extern PromBlockFile *prom_block_file_open(PromPlace *place, const char *path, int pages);
extern void prom_block_file_close(PromBlockFile *f);
extern int64 prom_block_file_size(const PromBlockFile *f);
extern int64 prom_block_file_bytes_read(const PromBlockFile *f);

/* So many bytes at that place, until the next call; raises DATA_CORRUPTED if the file ends before. */
extern const uint8 *prom_block_file_bytes(PromBlockFile *f, int64 offset, size_t len);

/*
 * These bytes will be needed, after those that this was called for before: begin to read them, if that saves time.  False: not
 * now, ask again when more was read.  What cannot be read is told when it is needed.
 */
extern bool prom_block_file_ahead(PromBlockFile *f, int64 offset, size_t len);

/* Wait for what is on its way, because for a while nobody will look after it. */
extern void prom_block_file_settle(PromBlockFile *f);

/* The file is damaged: raises DATA_CORRUPTED with its name and the place. */
extern void prom_block_file_fail(const PromBlockFile *f, const char *what, const PromWireError *err, int64 base)
			pg_attribute_noreturn();

/* A frame (see prom_tsdb_frame) at that place: its body, until the next call; *next: the place after it. */
extern const uint8 *prom_block_file_frame(PromBlockFile *f, int64 offset, size_t extra, const char *what, size_t *len,
										  int64 *next);

/* ---- block_read.c ---- */

typedef struct PromBlock PromBlock;

/* One series of a block. */
typedef struct PromBlockSeries
{
	int64		place;			/* of its entry in the index */
	int64		next;			/* place behind it */
	int			nlabels;
	PromLabel  *labels;			/* all of it until the next series */
	int			nchunks;
	PromTsdbChunk *chunks;
} PromBlockSeries;

/* Samples that were read; arrays grow in "cxt". */
typedef struct PromSamples
{
	int			n;
	int			size;
	int64	   *t_ms;
	double	   *values;
	const PromHistogram **histograms;	/* NULL while there is none */
	size_t		histogram_bytes;
	MemoryContext cxt;
} PromSamples;

/* The block that a place is; in a context of its own below "parent", in which the place is, too. */
extern PromBlock *prom_block_open(MemoryContext parent, PromPlace *place);
extern void prom_block_close(PromBlock *b);

/* Where its series begin and end in the index: of these places one goes on. */
extern int64 prom_block_first(const PromBlock *b);
extern int64 prom_block_end(const PromBlock *b);

/* The series at a place or behind it; false: there is none. */
extern bool prom_block_series(PromBlock *b, int64 place, PromBlockSeries *s);

/* The chunk will be read, after those that this was called for before; see prom_block_file_ahead. */
extern bool prom_block_ahead(PromBlock *b, const PromTsdbChunk *chunk);

/* Nothing of the block will be read for a while. */
extern void prom_block_settle(PromBlock *b);

/* Append the samples of a chunk, of the series at a place, with from_ms <= t <= to_ms that no tombstone covers. */
extern void prom_block_chunk(PromBlock *b, int64 place, const PromTsdbChunk *chunk, int64 from_ms, int64 to_ms,
							 PromSamples *out);

/* What Thanos has made of a series' chunk, until the next one is read. */
typedef struct PromBlockColumn
{
	int			n;
	int64	   *t_ms;
	double	   *values;
} PromBlockColumn;

typedef struct PromBlockAggregates
{
	PromBlockColumn column[PROM_TSDB_AGGREGATES];
	bool		has_histograms; /* which are not read */
	const PromBlock *block;
	uint64		series;
	int64		from_ms;
	int64		to_ms;
} PromBlockAggregates;

extern void prom_block_aggregates(PromBlock *b, int64 place, const PromTsdbChunk *chunk, int64 from_ms, int64 to_ms,
								  PromBlockAggregates *out);

/* Is the time within the bounds, and does no tombstone cover it? */
extern bool prom_block_wants(const PromBlockAggregates *a, int64 t_ms);

extern int64 prom_block_bytes_read(const PromBlock *b);

/* ---- import_series.c ---- */

/* What is wanted of a block. */
typedef struct PromBlockWanted
{
	int64		from_ms;
	int64		to_ms;
	PromLabel  *extra;			/* labels that all series get, in place of their own */
	int			nextra;
	PromMatcher *matchers;
	int			nmatchers;
} PromBlockWanted;

/* A series of which something is wanted. */
typedef struct PromUpcoming
{
	int64		place;			/* of its entry in the index */
	int64		next;			/* where the next one of which something is wanted may be */
	PromLabels *labels;			/* with those that all get; NULL: it cannot be stored, */
	char	   *reason;			/* and why */
	int			nchunks;		/* wanted or not */
	PromTsdbChunk *chunks;
} PromUpcoming;

typedef struct PromUpcomingQueue PromUpcomingQueue;

/* Series at a place and behind it, the first from a chunk on; "most" series are looked at.  In the current context. */
extern PromUpcomingQueue *prom_upcoming_begin(PromBlock *b, const PromBlockWanted *wanted, int64 place, int chunk, int most);

/* The one that is read, until it is dropped; NULL: none is left. */
extern const PromUpcoming *prom_upcoming_first(PromUpcomingQueue *q);
extern void prom_upcoming_drop(PromUpcomingQueue *q);

/* To be called before each chunk is read: asks for later ones, if that saves time. */
extern void prom_upcoming_ahead(PromUpcomingQueue *q);

/* Where one goes on when none is left; *at_end: there are no more in the block. */
extern int64 prom_upcoming_end(const PromUpcomingQueue *q, bool *at_end);

/* Has the chunk no sample of that time? */
extern bool prom_block_is_outside(const PromBlockWanted *wanted, const PromTsdbChunk *chunk);

/* ---- import_rollup.c ---- */

/* Append the points of such a chunk's windows; returns how many windows. */
extern int	prom_points_import(PromPoints *p, const PromBlockAggregates *a, int64 window_ms);

/* ---- export_index.c ---- */

typedef struct PromIndexWriter PromIndexWriter;
typedef struct PromBlockOut PromBlockOut;

/* Series in order of labels, each with its chunks, which are written already. */
extern PromIndexWriter *prom_index_begin(void);
extern void prom_index_add(PromIndexWriter *w, const PromLabels *labels, const PromTsdbChunk *chunks, int n);
extern void prom_index_write(PromIndexWriter *w, PromBlockOut *out);

/* ---- block_out.c ---- */

/* A file that is written from its beginning to its end. */
struct PromBlockOut
{
	const char *path;
	int			fd;
	int64		written;		/* bytes, those in the buffer included */
	PromSeriesHash hash;		/* of what has left the buffer */
	uint32		crc;			/* of what was put since it was set to 0 */
	size_t		used;
	uint8	   *buffer;
};

extern void prom_block_out_open(PromBlockOut *out, const char *path);
extern void prom_block_out_put(PromBlockOut *out, const void *bytes, size_t len);
extern void prom_block_out_u32(PromBlockOut *out, uint32 v);
extern void prom_block_out_varint(PromBlockOut *out, uint64 v);
extern void prom_block_out_pad(PromBlockOut *out, int alignment);

/* Written to the disk. */
extern void prom_block_out_close(PromBlockOut *out);

/* With all that is in it, if it is there. */
extern void prom_remove_directory(const char *path);

/* 26 characters of 48 bits of time and 80 others. */
extern char *prom_ulid(int64 t_ms, const uint8 rest[10]);

/* ---- import.c ---- */

extern void prom_block_init(void);

/* ---- export.c ---- */

extern void prom_export_init(void);

#endif							/* PROM_BLOCK_H */

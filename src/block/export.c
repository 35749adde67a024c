/*
 * export.c
 *	  Samples become a block of Prometheus.
 *
 * Series come from a cursor in order of labels, as for remote read: fresh, warm and whatever else a query sees, and
 * for the caller's eyes.  Each becomes chunks, which go to segment files at once; the index follows at the end.
 * All of it happens in a directory that Prometheus removes if it finds it when it starts; renaming it
 * makes the block, whole or not at all.  Until then it is locked, so that the next export can tell a directory whose maker
 * was killed from one that is being filled, and remove it; a mark in its name tells that it is none of Prometheus'.
 *
 * The block is named by its content: 48 bits of time are that of its last sample, 80 bits a hash of
 * chunks and index.  What is exported again unchanged is there already.
 */
#include "postgres.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "common/file_perm.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "block/block.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "select/select.h"

#define SEGMENT_KB		(512 * 1024)	/* what Prometheus makes, and at most maps at once */
#define TEMPORARY		".tmp-for-creation"	/* Prometheus' own, too */
#define MARK			"PR0MGRES"	/* in names of our temporary directories, */
#define MARK_AT			10			/* behind their time */

typedef struct Export
{
	const char *temporary;		/* directory */
	int			lock;			/* its descriptor, while it is temporary */
	PromBlockOut segment;
	bool		segment_open;
	uint32		nsegments;
	PromIndexWriter *index;
	MemoryContext series_cxt;
	PromWireBuffer data;		/* the chunk that is being written; of the series */
	PromTsdbChunk *chunks;		/* of the series */
	int			nchunks;
	int			chunks_size;
	PromSeriesHash hash;		/* of all files */
	int64		t_min;
	int64		t_max;
	int64		series;
	int64		floats;
	int64		histograms;
	int64		all_chunks;
	int64		bytes;			/* of chunks and index */
} Export;

static int	segment_kb = SEGMENT_KB;

static void export_series(Export *ex, const PromLabels *labels, const PromChunk *samples);
static void finish_block(Export *ex, const PromLabels *external, const PromBlockTarget *target, char **ulid);

PG_FUNCTION_INFO_V1(prom_export_block);
PG_FUNCTION_INFO_V1(prom_export_directory);

void
prom_export_init(void)
{
	DefineCustomIntVariable("promgres.export_segment_size",
							"Size at which prom.export_blocks() goes on with the next file of chunks of a block.",
							NULL, &segment_kb, SEGMENT_KB, 64, SEGMENT_KB, PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

/* ---- files ---- */

static void
make_directory(const char *path)
{
	if (MakePGDirectory(path) != 0)
	{
		bool		denied = errno == EACCES || errno == EPERM || errno == ENOENT;

		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", path),
				 denied ? errhint("The directory that it is made in must exist on the machine of the server, and belong to the server's operating system account.") : 0));
	}
}

/* The hash of a file that is closed goes into that of all. */
static void
close_file(Export *ex, PromBlockOut *out)
{
	PromSeriesHash both[2];

	prom_block_out_close(out);
	both[0] = ex->hash;
	both[1] = out->hash;
	ex->hash = prom_series_raw_hash(both, sizeof(both));
	ex->bytes += out->written;
}

static void
next_segment(Export *ex)
{
	uint8		head[PROM_TSDB_SEGMENT_HEAD];
	MemoryContext old;

	if (ex->segment_open)
		close_file(ex, &ex->segment);
	old = MemoryContextSwitchTo(GetMemoryChunkContext(ex));
	prom_block_out_open(&ex->segment, psprintf("%s/chunks/%06u", ex->temporary, ++ex->nsegments));
	MemoryContextSwitchTo(old);
	ex->segment_open = true;
	prom_tsdb_put_segment_head(head);
	prom_block_out_put(&ex->segment, head, sizeof(head));
}

/* ---- chunks ---- */

static void
put_chunk(Export *ex, uint8 encoding, const uint8 *data, size_t len, int64 t_min, int64 t_max)
{
	PromTsdbChunk *chunk;

	if (!ex->segment_open || ex->segment.written + (int64) len + 15 > segment_kb * INT64CONST(1024))
		next_segment(ex);
	if (ex->nchunks == ex->chunks_size)
	{
		ex->chunks_size = Max(ex->chunks_size * 2, 256);
		ex->chunks = ex->chunks ? repalloc_huge(ex->chunks, sizeof(PromTsdbChunk) * ex->chunks_size)
			: MemoryContextAlloc(GetMemoryChunkContext(ex), sizeof(PromTsdbChunk) * ex->chunks_size);
	}
	chunk = &ex->chunks[ex->nchunks++];
	chunk->t_min = t_min;
	chunk->t_max = t_max;
	chunk->segment = ex->nsegments - 1;
	chunk->offset = (uint32) ex->segment.written;
	prom_block_out_varint(&ex->segment, len);
	ex->segment.crc = 0;
	prom_block_out_put(&ex->segment, &encoding, 1);
	prom_block_out_put(&ex->segment, data, len);
	prom_block_out_u32(&ex->segment, ex->segment.crc);
	ex->all_chunks++;
}

/* Memory for what wire/ writes: of the series. */
static bool
grow(PromWireBuffer *b, size_t more)
{
	b->size = Max(b->size * 2, b->len + more);
	b->data = b->data == NULL ? palloc_extended(b->size, MCXT_ALLOC_HUGE) : repalloc_huge(b->data, b->size);
	return true;
}

/* As many of the samples from the first on as make a chunk; returns how many. */
static int
export_chunk(Export *ex, const int64 *t_ms, const double *values, const PromHistogram *const *histograms, int n)
{
	PromWireBuffer *data = &ex->data;
	PromChunkEncoding encoding = PROM_CHUNK_XOR;
	int			k = 1;

	data->len = 0;
	if (histograms && histograms[0])
	{
		k = prom_histogram_chunk_encode(data, palloc, n, t_ms, histograms, &encoding);
		ex->histograms += k;
	}
	else
	{
		while (k < Min(n, PROM_XOR_SAMPLES) && (histograms == NULL || histograms[k] == NULL))
			k++;
		if (data->size < PROM_XOR_ROOM)
			(void) grow(data, PROM_XOR_ROOM);
		data->len = prom_xor_encode(data->data, k, t_ms, values);
		ex->floats += k;
	}
	put_chunk(ex, encoding, data->data, data->len, t_ms[0], t_ms[k - 1]);
	return k;
}

static void
export_series(Export *ex, const PromLabels *labels, const PromChunk *samples)
{
	PromChunkReader reader = {0};
	const PromHistogram **histograms = NULL;
	int64	   *t_ms;
	double	   *values;
	int			n;

	prom_chunk_open(&reader, samples);
	n = prom_chunk_count(&reader, 0);
	t_ms = palloc_extended(n * sizeof(int64), MCXT_ALLOC_HUGE);
	values = palloc_extended(n * sizeof(double), MCXT_ALLOC_HUGE);
	memcpy(t_ms, prom_chunk_times(&reader, 0), n * sizeof(int64));
	if (prom_chunk_has_histograms(&reader, 0))
	{
		histograms = palloc_extended(n * sizeof(*histograms), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		prom_chunk_values_mixed(&reader, 0, values, histograms);
	}
	else
		prom_chunk_values(&reader, 0, values);
	ex->nchunks = 0;
	ex->data = (PromWireBuffer) {.grow = grow};
	for (int i = 0; i < n;)
	{
		CHECK_FOR_INTERRUPTS();
		i += export_chunk(ex, t_ms + i, values + i, histograms ? histograms + i : NULL, n - i);
	}
	ex->t_min = Min(ex->t_min, t_ms[0]);
	ex->t_max = Max(ex->t_max, t_ms[n - 1]);
	ex->series++;
	prom_index_add(ex->index, labels, ex->chunks, ex->nchunks);
}

/* ---- the block ---- */

static void
export_all(Export *ex, const char *sql)
{
	Portal		portal;

	SPI_connect();
	portal = prom_scan_sorted_open(sql);
	for (;;)
	{
		MemoryContext old;
		bool		isnull;

		SPI_cursor_fetch(portal, true, 1);	/* each may be large */
		if (SPI_processed == 0)
			break;
		MemoryContextReset(ex->series_cxt);
		old = MemoryContextSwitchTo(ex->series_cxt);
		export_series(ex, DatumGetPromLabelsP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)),
					  DatumGetPromChunkP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull)));
		MemoryContextSwitchTo(old);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
}

/* 80 bits of a hash, as they follow the time in a name. */
static char *
name_block(int64 t_ms, PromSeriesHash hash)
{
	uint8		rest[10];

	(void) prom_put_u64le(rest, hash.low);
	rest[8] = (uint8) hash.high;
	rest[9] = (uint8) (hash.high >> 8);
	return prom_ulid(t_ms, rest);
}

static void
write_meta(Export *ex, const char *ulid, const PromLabels *external)
{
	PromBlockOut out;
	StringInfoData text;
	int			n;
	PromLabel  *label = prom_labels_unpack(external, &n);

	initStringInfo(&text);
	appendStringInfo(&text, "{\"ulid\":\"%s\",\"minTime\":" INT64_FORMAT ",\"maxTime\":" INT64_FORMAT ","
					 "\"stats\":{\"numSamples\":" INT64_FORMAT ",\"numFloatSamples\":" INT64_FORMAT ",\"numHistogramSamples\":" INT64_FORMAT
					 ",\"numSeries\":" INT64_FORMAT ",\"numChunks\":" INT64_FORMAT "},"
					 "\"compaction\":{\"level\":1,\"sources\":[\"%s\"]},\"version\":1",
					 ulid, ex->t_min, ex->t_max + 1, ex->floats + ex->histograms, ex->floats, ex->histograms, ex->series,
					 ex->all_chunks, ulid);
	if (n > 0)
	{
		appendStringInfoString(&text, ",\"thanos\":{\"version\":1,\"labels\":{");
		for (int i = 0; i < n; i++)
		{
			appendStringInfoString(&text, i > 0 ? "," : "");
			escape_json(&text, pnstrdup(label[i].name, label[i].name_len));
			appendStringInfoChar(&text, ':');
			escape_json(&text, pnstrdup(label[i].value, label[i].value_len));
		}
		appendStringInfoString(&text, "},\"downsample\":{\"resolution\":0},\"source\":\"promgres\"}");
	}
	appendStringInfoString(&text, "}\n");
	prom_block_out_open(&out, psprintf("%s/meta.json", ex->temporary));
	prom_block_out_put(&out, text.data, text.len);
	prom_block_out_close(&out);
}

static bool
is_there(const PromBlockTarget *target, const char *path, const char *ulid)
{
	struct stat st;

	return target->bucket ? prom_bucket_has_block(target, ulid) : stat(path, &st) == 0;
}

/* The block gets its files, its name and its place. */
static void
finish_block(Export *ex, const PromLabels *external, const PromBlockTarget *target, char **ulid)
{
	PromSeriesHash both[2];
	PromBlockOut out;
	char	   *path;

	close_file(ex, &ex->segment);
	ex->segment_open = false;
	prom_block_out_open(&out, psprintf("%s/index", ex->temporary));
	prom_index_write(ex->index, &out);
	close_file(ex, &out);
	both[0] = ex->hash;
	both[1] = prom_series_raw_hash(VARDATA_ANY(external), VARSIZE_ANY_EXHDR(external));
	*ulid = name_block(ex->t_max, prom_series_raw_hash(both, sizeof(both)));
	path = psprintf("%s/%s", target->directory, *ulid);
	if (is_there(target, path, *ulid))
	{
		prom_remove_directory(ex->temporary);
		return;
	}
	write_meta(ex, *ulid, external);
	fsync_fname(psprintf("%s/chunks", ex->temporary), true);
	fsync_fname(ex->temporary, true);
	if (rename(ex->temporary, path) != 0)
	{
		/* somebody who has exported the same was faster */
		if (errno == ENOTEMPTY || errno == EEXIST)
		{
			prom_remove_directory(ex->temporary);
			return;
		}
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rename directory \"%s\" to \"%s\": %m", ex->temporary, path)));
	}
	fsync_fname(target->directory, true);
	if (target->bucket)
		prom_bucket_take_block(target, *ulid, (int) ex->nsegments);
}

/* Lock the temporary directory; false: somebody has taken it for one that was left, and removes it. */
static bool
lock_directory(Export *ex)
{
	struct stat st;

	ex->lock = OpenTransientFile(ex->temporary, O_RDONLY | PG_BINARY);
	if (ex->lock < 0)
	{
		if (errno == ENOENT)
			return false;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open directory \"%s\": %m", ex->temporary)));
	}
	/* where there are no locks nobody removes anything */
	if ((flock(ex->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) && stat(ex->temporary, &st) == 0)
		return true;
	CloseTransientFile(ex->lock);
	return false;
}

/* The directory in the meantime; Prometheus knows from its name that it is left over. */
static void
make_temporary(Export *ex, const char *directory)
{
	uint8		rest[10];
	char	   *name;

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!pg_strong_random(rest, sizeof(rest)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate a random name")));
		name = prom_ulid(prom_clock_to_ms(GetCurrentTimestamp()), rest);
		memcpy(name + MARK_AT, MARK, strlen(MARK));
		ex->temporary = psprintf("%s/%s" TEMPORARY, directory, name);
		make_directory(ex->temporary);
	} while (!lock_directory(ex));
}

/* Remove a directory, unless it is being filled; nobody takes the lock meanwhile. */
static void
remove_unlocked(const char *path)
{
	int			fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);

	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		prom_remove_directory(path);
	CloseTransientFile(fd);
}

/* What exports that were killed have left. */
static void
remove_left(const char *directory)
{
	DIR		   *dir = AllocateDir(directory);
	struct dirent *entry;

	while ((entry = ReadDir(dir, directory)) != NULL)
	{
		size_t		len = strlen(entry->d_name);

		CHECK_FOR_INTERRUPTS();
		if (len == PROM_ULID_LENGTH + strlen(TEMPORARY) && strcmp(entry->d_name + PROM_ULID_LENGTH, TEMPORARY) == 0 &&
			strncmp(entry->d_name + MARK_AT, MARK, strlen(MARK)) == 0)
			remove_unlocked(psprintf("%s/%s", directory, entry->d_name));
	}
	FreeDir(dir);
}

/* _export_block(directory, ops, names, vals, from_ms, to_ms, labels) */
Datum
prom_export_block(PG_FUNCTION_ARGS)
{
	PromBlockTarget *target = prom_place_to_write(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PromScanRange range = {PG_GETARG_INT64(4), PG_GETARG_INT64(5)};
	PromLabels *external = PG_GETARG_PROM_LABELS_P(6);
	Export	   *ex = palloc0(sizeof(Export));
	char	   *ulid = NULL;
	PromMatcher *matchers;
	StringInfoData sql;
	TupleDesc	desc;
	Datum		values[5];
	bool		isnull[5] = {false};
	int			n;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	ex->t_min = PG_INT64_MAX;
	ex->t_max = PG_INT64_MIN;
	ex->series_cxt = AllocSetContextCreate(CurrentMemoryContext, "promgres export series", ALLOCSET_DEFAULT_SIZES);
	/* SPI must not be connected for the matchers */
	matchers = prom_matchers_from_arrays(PG_GETARG_ARRAYTYPE_P(1), PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3), &n);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT r.labels, r.out FROM ");
	prom_scan_sorted_sql(&sql, matchers, n, range, NULL,
						 psprintf("prom._raw(c.data, c.ord, b.sids, " INT64_FORMAT ", " INT64_FORMAT ")",
								  range.from_ms, range.to_ms));
	remove_left(target->directory);
	make_temporary(ex, target->directory);
	PG_TRY();
	{
		make_directory(psprintf("%s/chunks", ex->temporary));
		ex->index = prom_index_begin();
		export_all(ex, sql.data);
		if (ex->series > 0)
			finish_block(ex, external, target, &ulid);
		else
			prom_remove_directory(ex->temporary);
		CloseTransientFile(ex->lock);
	}
	PG_CATCH();
	{
		prom_remove_directory(target->bucket ? target->directory : ex->temporary);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (target->bucket)
		prom_remove_directory(target->directory);
	if (ulid == NULL)
		PG_RETURN_NULL();
	values[0] = CStringGetTextDatum(ulid);
	values[1] = Int64GetDatum(ex->series);
	values[2] = Int64GetDatum(ex->floats + ex->histograms);
	values[3] = Int64GetDatum(ex->all_chunks);
	values[4] = Int64GetDatum(ex->bytes);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}

/* _export_directory(parent, name): a directory to be made, or a place in a bucket, where there are none */
Datum
prom_export_directory(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	PromBlockTarget *parent = prom_place_to_write(name);
	char	   *path = psprintf("%s/%s", prom_is_bucket(name) ? name : parent->directory, text_to_cstring(PG_GETARG_TEXT_PP(1)));

	if (!prom_is_bucket(name))
		make_directory(path);
	PG_RETURN_TEXT_P(cstring_to_text(path));
}

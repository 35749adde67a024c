/*
 * import.c
 *	  Blocks of Prometheus become warm rows.
 *
 * A block is taken in steps, each a transaction: it reads series from where the step before ended, up to so
 * many samples, in memory; then, under the shard's merge lock, finds the ids of the series and writes the samples as
 * merging does (merge.c).  prom.block_import says how far the block has come, and is written in the same
 * transaction: whatever is killed when, the next step goes on where the last one that was committed has ended.
 *
 * Nothing is read while locks are held that others wait for.  The block stays open from step to step, for as long as
 * the statement that was given lasts.
 *
 * What was looked up ahead (import_series.c) and not reached when a step ends is forgotten, but for the bytes.
 *
 * Of a block that Thanos has downsampled (import_rollup.c) the points of rollups are written in the same way, day by day,
 * under the lock of rollups.
 *
 * Samples may be as old as they like: promgres.ingest_max_age is against clients that send nonsense now, and here
 * somebody has asked for just these.  Limits on series hold; what they refuse is counted.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "block/block.h"
#include "common/clock.h"
#include "common/compat.h"

#define STEP_HISTOGRAMS		(32 * 1024 * 1024)	/* a step ends when it has so many bytes of histograms, */
#define STEP_SERIES			65536	/* or has looked at so many series */
#define SAMPLES_OF_WINDOW	4	/* a window takes as much memory as so many samples */
#define META_BYTES			(16 * 1024 * 1024)

/* Samples of one series that a step has read. */
typedef struct Run
{
	int			want;			/* the series */
	int32		sid;			/* -1: refused */
	int			first;
	int			n;
	PromPoints *points;			/* of a downsampled block, in place of samples; n: windows */
} Run;

/* A step; begins with what prom.block_import says. */
typedef struct Import
{
	int64		id;
	char	   *source;
	int32		resolution_s;	/* of a downsampled block; 0: raw */
	PromBlockWanted wanted;
	int64		next;			/* place of the next series, */
	int			next_chunk;		/* and its chunk */
	int64		begun;			/* where they were when the step began */
	int			begun_chunk;

	PromSamples samples;
	int			windows;		/* the same of a downsampled block */
	Run		   *runs;
	int			nruns;
	PromSeriesWant *wants;
	int			nwants;
	bool		done;
	int64		series;			/* that were looked at and have ended in this step, and match */
	int64		chunks;
	int64		bytes;
	int64		stored;
	int64		refused_series;
	int64		refused_samples;
	char	   *refused;		/* the first reason */
} Import;

static int	step_samples = 1024 * 1024;

/* The block that this statement reads. */
static PromBlock *open_block;
static char *open_source;

static bool read_row(Import *im);
static bool lock_row(const Import *im);
static void lock_rollup(void);
static PromBlock *find_block(Import *im);
static void read_step(Import *im, PromBlock *b);
static bool read_series(Import *im, PromBlock *b, PromUpcomingQueue *queue, const PromUpcoming *u, int64 latest_ms);
static void find_ids(Import *im);
static void fill_pieces(PromPieces *pieces, void *arg);
static void write_points(const Import *im);
static void write_row(const Import *im);

PG_FUNCTION_INFO_V1(prom_import_list);
PG_FUNCTION_INFO_V1(prom_import_step);

void
prom_block_init(void)
{
	DefineCustomIntVariable("promgres.import_step_samples",
							"Samples of a block that prom.import_blocks() takes in one transaction.",
							"About 50 bytes of memory are needed for each.",
							&step_samples, 1024 * 1024, 1, 100000000, PGC_USERSET, 0, NULL, NULL, NULL);
	prom_export_init();
}

/* ---- which blocks ---- */

static void
put_block(ReturnSetInfo *rsinfo, PromPlace *place, const char *folder)
{
	size_t		len = 0;
	char	   *meta = prom_place_file(place, folder[0] ? psprintf("%s/meta.json", folder) : "meta.json", META_BYTES, &len);
	Datum		values[2] = {CStringGetTextDatum(folder[0] ? psprintf("%s/%s", place->name, folder) : place->name),
	PointerGetDatum(NULL)};
	bool		isnull[2] = {false, meta == NULL};

	if (meta != NULL)
	{
		(void) pg_verifymbstr(meta, len, false);
		values[1] = PointerGetDatum(cstring_to_text_with_len(meta, len));
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
}

/* _import_list(source) -> (source, meta): the blocks in a place, or the one that it is */
Datum
prom_import_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PromPlace  *place = prom_place_to_read(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	if (place->size(place, "meta.json") >= 0)
	{
		put_block(rsinfo, place, "");
		return (Datum) 0;
	}
	foreach(cell, place->list(place, ""))
	{
		CHECK_FOR_INTERRUPTS();
		if (prom_is_ulid(lfirst(cell)))
			put_block(rsinfo, place, lfirst(cell));
	}
	return (Datum) 0;
}

/* ---- a step ---- */

/* _import_step(id, ops, names, vals) -> true if there is more to do */
Datum
prom_import_step(PG_FUNCTION_ARGS)
{
	Import		im = {.id = PG_GETARG_INT64(0)};

	PreventCommandIfReadOnly("prom.import_blocks()");
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("blocks cannot be imported in a transaction that is REPEATABLE READ or SERIALIZABLE"),
				 errhint("Use READ COMMITTED.")));
	im.wanted.matchers = prom_matchers_from_arrays(PG_GETARG_ARRAYTYPE_P(1), PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3),
											&im.wanted.nmatchers);
	im.samples.cxt = CurrentMemoryContext;
	if (!read_row(&im))
		PG_RETURN_BOOL(false);
	read_step(&im, find_block(&im));
	if (!lock_row(&im))
		PG_RETURN_BOOL(true);
	if (im.nruns > 0)
	{
		if (im.resolution_s > 0)
			lock_rollup();
		(void) prom_merge_lock(0, true);
		find_ids(&im);
		if (im.resolution_s > 0)
			write_points(&im);
		else
			prom_merge_foreign(0, fill_pieces, &im);
	}
	write_row(&im);
	PG_RETURN_BOOL(!im.done);
}

static void
lock_rollup(void)
{
	SPI_connect();
	prom_store_execute("SELECT prom._lock_rollup()", 0, NULL, NULL, SPI_OK_SELECT);
	SPI_finish();
}

static Datum
column(int number)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, &isnull);
}

/* What the step is about; false: the block is done. */
static bool
read_row(Import *im)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(im->id);
	MemoryContext cxt = CurrentMemoryContext;
	MemoryContext old;
	bool		found;

	SPI_connect();
	prom_store_execute("SELECT source, from_ms, to_ms, labels, next_series, next_chunk, resolution FROM prom.block_import "
					   "WHERE id = $1 AND state <> 'done'", 1, &type, &id, SPI_OK_SELECT);
	found = SPI_processed > 0;
	if (found)
	{
		old = MemoryContextSwitchTo(cxt);
		im->source = TextDatumGetCString(column(1));
		im->wanted.from_ms = DatumGetInt64(column(2));
		im->wanted.to_ms = DatumGetInt64(column(3));
		im->wanted.extra = prom_labels_unpack((PromLabels *) PG_DETOAST_DATUM_COPY(column(4)), &im->wanted.nextra);
		im->next = DatumGetInt64(column(5));
		im->next_chunk = DatumGetInt32(column(6));
		im->resolution_s = DatumGetInt32(column(7));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return found;
}

/* False: somebody else who imports the same has done this step meanwhile.  No lock was held while bytes were read. */
static bool
lock_row(const Import *im)
{
	Oid			types[] = {INT8OID, INT8OID, INT4OID};
	Datum		args[] = {Int64GetDatum(im->id), Int64GetDatum(im->begun), Int32GetDatum(im->begun_chunk)};
	bool		found;

	SPI_connect();
	prom_store_execute("SELECT FROM prom.block_import WHERE id = $1 AND next_series = $2 AND next_chunk = $3 AND state <> 'done' FOR UPDATE",
					   3, types, args, SPI_OK_SELECT);
	found = SPI_processed > 0;
	SPI_finish();
	return found;
}

static void
forget_block(void *arg)
{
	open_block = NULL;
	open_source = NULL;
}

/* Open, from the step before or now.  It goes with the statement that was given, whose memory outlasts its commits. */
static PromBlock *
find_block(Import *im)
{
	PromPlace  *place = prom_place_to_read(im->source);
	MemoryContext cxt;
	MemoryContext old;
	MemoryContextCallback *callback;

	if (open_block != NULL && im->next > 0 && strcmp(open_source, place->name) == 0)
		return open_block;
	if (open_block != NULL)
		prom_block_close(open_block);
	forget_block(NULL);
	old = MemoryContextSwitchTo(PortalContext);
	place = prom_place_to_read(im->source);
	open_block = prom_block_open(PortalContext, place);
	open_source = pstrdup(place->name);
	cxt = GetMemoryChunkContext(open_block);
	callback = MemoryContextAllocZero(cxt, sizeof(MemoryContextCallback));
	callback->func = forget_block;
	MemoryContextRegisterResetCallback(cxt, callback);
	MemoryContextSwitchTo(old);
	return open_block;
}

static bool
is_full(const Import *im)
{
	return im->samples.n >= step_samples || im->samples.histogram_bytes >= STEP_HISTOGRAMS ||
		im->windows >= Max(step_samples / SAMPLES_OF_WINDOW, 1);
}

static void
read_step(Import *im, PromBlock *b)
{
	int64		latest_ms = prom_clock_to_ms(GetCurrentTimestamp()) + (int64) prom_store_max_ahead_s * 1000;
	int64		bytes = prom_block_bytes_read(b);
	PromUpcomingQueue *queue;

	im->runs = palloc(sizeof(Run) * STEP_SERIES);
	im->wants = palloc0(sizeof(PromSeriesWant) * STEP_SERIES);
	im->begun = im->next;
	im->begun_chunk = im->next_chunk;
	queue = prom_upcoming_begin(b, &im->wanted, Max(im->next, prom_block_first(b)), im->next_chunk, STEP_SERIES);
	while (!is_full(im))
	{
		const PromUpcoming *u = prom_upcoming_first(queue);

		CHECK_FOR_INTERRUPTS();
		if (u == NULL)
		{
			im->next = prom_upcoming_end(queue, &im->done);
			im->next_chunk = 0;
			break;
		}
		if (!read_series(im, b, queue, u, latest_ms))
			break;
		im->next = u->next;
		im->next_chunk = 0;
		prom_upcoming_drop(queue);
	}
	prom_block_settle(b);
	im->bytes = prom_block_bytes_read(b) - bytes;
}

/* ---- reading ---- */

static void
refuse(Import *im, char *reason)
{
	if (im->refused == NULL)
		im->refused = reason;
}

/* What cannot be a time here goes. */
static void
drop_bad_times(Import *im, int first, int64 latest_ms)
{
	PromSamples *s = &im->samples;
	int			kept = first;

	for (int i = first; i < s->n; i++)
	{
		if (s->t_ms[i] < 0 || s->t_ms[i] > latest_ms)
		{
			im->refused_samples++;
			refuse(im, psprintf("out of bounds: timestamp " INT64_FORMAT " ms is %s", s->t_ms[i],
								s->t_ms[i] < 0 ? "before 1970" : "too far in the future"));
			continue;
		}
		s->t_ms[kept] = s->t_ms[i];
		s->values[kept] = s->values[i];
		if (s->histograms)
			s->histograms[kept] = s->histograms[i];
		kept++;
	}
	s->n = kept;
}

/* What a series has that is wanted. */
static void
add_run(Import *im, PromLabels *labels, int first, int n, PromPoints *points)
{
	if (n == 0)
		return;
	im->runs[im->nruns++] = (Run) {im->nwants, 0, first, n, points};
	im->wants[im->nwants].labels = labels;
	im->wants[im->nwants++].raw = prom_series_raw_hash(VARDATA_ANY(labels), VARSIZE_ANY_EXHDR(labels));
}

/* The chunks of a series from number k on, until the step is full; returns where it ended. */
static int
read_samples(Import *im, PromBlock *b, PromUpcomingQueue *queue, const PromUpcoming *u, int k, int64 latest_ms)
{
	int			first = im->samples.n;

	for (; k < u->nchunks && !is_full(im); k++)
	{
		CHECK_FOR_INTERRUPTS();
		if (prom_block_is_outside(&im->wanted, &u->chunks[k]))
			continue;
		prom_upcoming_ahead(queue);
		prom_block_chunk(b, u->place, &u->chunks[k], im->wanted.from_ms, im->wanted.to_ms, &im->samples);
		im->chunks++;
	}
	drop_bad_times(im, first, latest_ms);
	add_run(im, u->labels, first, im->samples.n - first, NULL);
	return k;
}

/* The same of a downsampled block. */
static int
read_points(Import *im, PromBlock *b, PromUpcomingQueue *queue, const PromUpcoming *u, int k, int64 latest_ms)
{
	PromPoints *points = palloc(sizeof(PromPoints));
	int			n = 0;

	prom_points_init(points, CurrentMemoryContext);
	for (; k < u->nchunks && !is_full(im); k++)
	{
		PromBlockAggregates a;
		int			made;

		CHECK_FOR_INTERRUPTS();
		if (prom_block_is_outside(&im->wanted, &u->chunks[k]))
			continue;
		prom_upcoming_ahead(queue);
		prom_block_aggregates(b, u->place, &u->chunks[k], im->wanted.from_ms, Min(im->wanted.to_ms, latest_ms), &a);
		if (a.has_histograms)
		{
			im->refused_series++;
			refuse(im, "native histograms of downsampled blocks are not supported");
			k = u->nchunks;
			break;
		}
		made = prom_points_import(points, &a, im->resolution_s * INT64CONST(1000));
		n += made;
		im->windows += made;
		im->chunks++;
	}
	for (int part = PROM_PART_LAST; part < PROM_PARTS; part++)
		prom_gather_finish(&points->part[part]);
	add_run(im, u->labels, 0, n, points);
	return k;
}

/* The chunks of a series; false: the step is full before its end. */
static bool
read_series(Import *im, PromBlock *b, PromUpcomingQueue *queue, const PromUpcoming *u, int64 latest_ms)
{
	int			k = im->next_chunk;

	if (u->labels == NULL)
	{
		im->refused_series++;
		refuse(im, u->reason);
		return true;
	}
	k = im->resolution_s > 0 ? read_points(im, b, queue, u, k, latest_ms) : read_samples(im, b, queue, u, k, latest_ms);
	if (k < u->nchunks)
	{
		im->next = u->place;
		im->next_chunk = k;
		return false;
	}
	im->series++;
	return true;
}

/* ---- writing ---- */

static int
compare_runs(const void *a, const void *b)
{
	const Run  *x = a;
	const Run  *y = b;

	if (x->sid != y->sid)
		return x->sid < y->sid ? -1 : 1;
	return (x->first > y->first) - (x->first < y->first);
}

/* Sort the runs by the ids of their series. */
static void
find_ids(Import *im)
{
	PromSeriesWant *unknown = palloc(sizeof(PromSeriesWant) * im->nwants);
	int		   *number = palloc(sizeof(int) * im->nwants);
	int			n = 0;

	prom_series_begin();
	for (int i = 0; i < im->nwants; i++)
	{
		if (prom_series_cached(im->wants[i].raw, &im->wants[i].id))
			continue;
		number[n] = i;
		unknown[n++] = im->wants[i];
	}
	if (n > 0)
		prom_stat_count(PROM_STAT_INGEST_SERIES, prom_series_resolve(unknown, n));
	for (int i = 0; i < n; i++)
	{
		im->wants[number[i]] = unknown[i];
		if (unknown[i].refused)
		{
			im->wants[number[i]].id.sid = -1;
			im->refused_series++;
			refuse(im, unknown[i].refused);
		}
	}
	for (int i = 0; i < im->nruns; i++)
	{
		im->runs[i].sid = im->wants[im->runs[i].want].id.sid;
		if (im->runs[i].sid >= 0)
			im->stored += im->runs[i].n;
	}
	qsort(im->runs, im->nruns, sizeof(Run), compare_runs);
}

static void
fill_pieces(PromPieces *pieces, void *arg)
{
	Import	   *im = arg;
	const PromSamples *s = &im->samples;
	PromGather	gather;

	prom_gather_init(&gather, CurrentMemoryContext);
	for (int i = 0; i < im->nruns;)
	{
		int32		sid = im->runs[i].sid;

		prom_gather_reset(&gather);
		/* labels that were replaced may have made one series of several */
		for (; i < im->nruns && im->runs[i].sid == sid; i++)
		{
			int			first = im->runs[i].first;

			if (sid >= 0)
				prom_gather_mixed(&gather, im->runs[i].n, s->t_ms + first, s->values + first,
								  s->histograms ? s->histograms + first : NULL, 0);
		}
		if (sid < 0)
			continue;
		prom_gather_finish(&gather);
		prom_pieces_add(pieces, sid, &gather);
	}
	prom_pieces_end(pieces);
}

/* Day by day; a point at midnight is of the day that ends. */
static void
write_points(const Import *im)
{
	PromSeriesPoints *series = palloc(sizeof(PromSeriesPoints) * im->nruns);
	PromSeriesPoints *of_day = palloc(sizeof(PromSeriesPoints) * im->nruns);
	int64		first_ms = PG_INT64_MAX;
	int64		last_ms = PG_INT64_MIN;
	int			n = 0;

	for (int i = 0; i < im->nruns; i++)
	{
		const PromGather *last = &im->runs[i].points->part[PROM_PART_LAST];

		if (im->runs[i].sid < 0)
			continue;
		series[n++] = (PromSeriesPoints) {im->runs[i].sid, im->runs[i].points};
		first_ms = Min(first_ms, prom_day_start(last->t_ms[0] - 1));
		last_ms = Max(last_ms, last->t_ms[last->n - 1]);
	}
	SPI_connect();
	for (int64 day_ms = first_ms; n > 0 && day_ms < last_ms; day_ms += PROM_DAY_MS)
	{
		int			found = 0;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			const PromGather *last = &series[i].points->part[PROM_PART_LAST];

			if (prom_points_until(last, day_ms) < prom_points_until(last, day_ms + PROM_DAY_MS))
				of_day[found++] = series[i];
		}
		if (found > 0)
			prom_rollup_add(0, im->resolution_s, day_ms, of_day, found);
	}
	SPI_finish();
}

static void
write_row(const Import *im)
{
	Oid			types[] = {INT8OID, INT8OID, INT4OID, BOOLOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID, FLOAT8OID};
	int64		first = prom_block_first(open_block);
	int64		end = prom_block_end(open_block);
	Datum		args[] = {Int64GetDatum(im->id), Int64GetDatum(im->next), Int32GetDatum(im->next_chunk),
		BoolGetDatum(im->done), Int64GetDatum(im->series), Int64GetDatum(im->stored), Int64GetDatum(im->chunks),
		Int64GetDatum(im->bytes), Int64GetDatum(im->refused_series), Int64GetDatum(im->refused_samples),
		im->refused ? CStringGetTextDatum(im->refused) : CStringGetTextDatum(""),
	Float8GetDatum(end > first ? (double) (im->next - first) / (end - first) : 1)};

	SPI_connect();
	prom_store_execute("UPDATE prom.block_import SET next_series = $2, next_chunk = $3, state = CASE WHEN $4 THEN 'done' ELSE 'running' END,"
					   " series = series + $5, samples = samples + $6, chunks = chunks + $7, bytes = bytes + $8,"
					   " refused_series = refused_series + $9, refused_samples = refused_samples + $10,"
					   " refused = COALESCE(refused, NULLIF($11, '')), progress = $12, error = NULL,"
					   " finished = CASE WHEN $4 THEN pg_catalog.clock_timestamp() END "
					   "WHERE id = $1", lengthof(types), types, args, SPI_OK_UPDATE);
	SPI_finish();
}

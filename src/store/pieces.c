/*
 * pieces.c
 *	  Samples cut into rows of prom.warm: one block of 64 series on one UTC day, or a slice of it, each.
 *
 * What a merge of chunks yields, series by series, is put into the rows of as many days, or slices, as it has
 * at a time; a row is finished when its block ends or it is full.  Finished rows, pieces, are kept until
 * they are written or merged further.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "store/rows.h"

#define ROW_BYTES		8000	/* it stays in the page, whose tuples have 8160 at most */
#define SERIES_SAMPLES	4096	/* of one series in one row, at most */
#define RUN_BYTES		(256 * 1024)	/* of the histograms of one series in one row, unpacked */

/* The row of one slice of time that is being filled. */
struct PromFilling
{
	int64		slice_ms;		/* where the slice begins */
	PromChunkBuilder *builder;
	PromPiece	piece;
	int32		last_sid;
};

static int64 slice_start(const PromPieces *out, int64 t_ms);
static int	run_length(const PromPieces *out, const PromGather *g, int first, int64 end_ms);
static void add_run(struct PromFilling *f, int32 sid, const PromGather *g, int first, int n, PromPieces *out);
static void finish_piece(struct PromFilling *f, PromPieces *out);

void
prom_pieces_init(PromPieces *p, int16 shard, MemoryContext cxt)
{
	memset(p, 0, sizeof(*p));
	p->shard = shard;
	p->cxt = cxt;
	p->builders_cxt = cxt;
	p->style = PROM_CHUNK_WARM;
	p->row_bytes = ROW_BYTES;
	p->series_samples = SERIES_SAMPLES;
	p->filling = MemoryContextAllocZero(cxt, sizeof(struct PromFilling) * PROM_MAX_SLICES);
}

void
prom_pieces_init_like(PromPieces *p, const PromPieces *with, MemoryContext cxt)
{
	memset(p, 0, sizeof(*p));
	p->shard = with->shard;
	p->cxt = cxt;
	p->builders_cxt = with->builders_cxt;
	p->style = with->style;
	p->row_bytes = with->row_bytes;
	p->series_samples = with->series_samples;
	p->filling = with->filling;
}

void
prom_pieces_cut(PromPieces *out, PromMerge *merge)
{
	int32		sid;

	while (prom_merge_next(merge, &sid))
		prom_pieces_add(out, sid, &merge->gather);
	prom_pieces_end(out);
}

void
prom_pieces_add(PromPieces *out, int32 sid, const PromGather *g)
{
	struct PromFilling *filling = out->filling;

	CHECK_FOR_INTERRUPTS();
	if (sid >> PROM_BLOCK_BITS != out->block)
	{
		prom_pieces_end(out);
		out->block = sid >> PROM_BLOCK_BITS;
	}
	for (int first = 0, next; first < g->n; first = next)
	{
		int64		slice_ms = slice_start(out, g->t_ms[first]);
		int			f = 0;

		next = first + run_length(out, g, first, slice_ms + (out->slice_ms > 0 ? out->slice_ms : PROM_DAY_MS));
		while (f < out->nfilling && filling[f].slice_ms != slice_ms)
			f++;
		if (f == PROM_MAX_SLICES)
		{
			prom_pieces_end(out);
			f = 0;
		}
		if (f == out->nfilling)
		{
			out->nfilling++;
			filling[f].slice_ms = slice_ms;
			filling[f].piece.day_ms = prom_day_start(slice_ms);
		}
		add_run(&filling[f], sid, g, first, next - first, out);
	}
}

void
prom_pieces_end(PromPieces *out)
{
	for (int i = 0; i < out->nfilling; i++)
		finish_piece(&out->filling[i], out);
	out->nfilling = 0;
}

static int64
slice_start(const PromPieces *out, int64 t_ms)
{
	if (out->slice_ms == 0)
		return prom_day_start(t_ms);
	return t_ms - (t_ms - out->slice_from_ms) % out->slice_ms;
}

/* Samples from "first" on that may stand in one row: before "end_ms", and not too many. */
static int
run_length(const PromPieces *out, const PromGather *g, int first, int64 end_ms)
{
	int			end = Min(g->n, first + out->series_samples);
	size_t		bytes = 0;
	int			i = first;

	do
	{
		if (g->histograms && g->histograms[i])
			bytes += g->histograms[i]->size;
		i++;
	} while (i < end && g->t_ms[i] < end_ms && bytes < RUN_BYTES);
	return i - first;
}

/*
 * Samples of one series within one slice go into its row, after it if they do not fit: a row that did not stay in the page
 * would leave a gap in the TOAST table when it is merged.
 */
static void
add_run(struct PromFilling *f, int32 sid, const PromGather *g, int first, int n, PromPieces *out)
{
	const int64 *t_ms = g->t_ms + first;
	const PromHistogram *const *histograms = g->histograms ? g->histograms + first : NULL;

	if (f->builder == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(out->builders_cxt);

		f->builder = prom_chunk_begin(out->style, out->shard);
		MemoryContextSwitchTo(old);
	}
	if (prom_chunk_series(f->builder) > 0 && sid == f->last_sid)
		finish_piece(f, out);
	prom_chunk_add_mixed(f->builder, sid, n, t_ms, g->values + first, histograms);
	if (prom_chunk_series(f->builder) > 1 && prom_chunk_bytes(f->builder) > out->row_bytes)
	{
		prom_chunk_take_back(f->builder);
		finish_piece(f, out);
		prom_chunk_add_mixed(f->builder, sid, n, t_ms, g->values + first, histograms);
	}
	if (prom_chunk_series(f->builder) == 1)
	{
		f->piece.block = sid >> PROM_BLOCK_BITS;
		f->piece.samples = 0;
		f->piece.t_min = t_ms[0];
		f->piece.t_max = t_ms[n - 1];
	}
	f->last_sid = sid;
	f->piece.samples += n;
	f->piece.t_min = Min(f->piece.t_min, t_ms[0]);
	f->piece.t_max = Max(f->piece.t_max, t_ms[n - 1]);
}

static void
finish_piece(struct PromFilling *f, PromPieces *out)
{
	MemoryContext old;

	if (f->builder == NULL || prom_chunk_series(f->builder) == 0)
		return;
	old = MemoryContextSwitchTo(out->cxt);
	if (out->n == out->size)
	{
		out->size = Max(out->size * 2, 1024);
		out->piece = out->piece ? repalloc_huge(out->piece, out->size * sizeof(PromPiece))
			: palloc(out->size * sizeof(PromPiece));
	}
	f->piece.data = prom_chunk_finish(f->builder);
	f->piece.gen = out->may_be_full && VARSIZE(f->piece.data) >= PROM_FULL_BYTES ? PROM_GEN_FULL : out->gen;
	out->piece[out->n++] = f->piece;
	MemoryContextSwitchTo(old);
}

void
prom_pieces_write(const PromPieces *pieces, bool older)
{
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT2ARRAYOID, INT4ARRAYOID,
	get_array_type(prom_store_type("chunk")), BOOLOID};
	Datum		args[8] = {Int16GetDatum(pieces->shard)};
	Datum	   *columns[7];
	int			n = 0;
	int64		samples = 0;

	for (int c = 1; c < 7; c++)
		columns[c] = palloc(sizeof(Datum) * pieces->n);
	for (int i = 0; i < pieces->n; i++)
	{
		const PromPiece *p = &pieces->piece[i];

		if (p->data == NULL)
			continue;
		columns[1][n] = Int32GetDatum(p->block);
		columns[2][n] = Int64GetDatum(p->t_min);
		columns[3][n] = Int64GetDatum(p->t_max);
		columns[4][n] = Int16GetDatum(p->gen);
		columns[5][n] = Int32GetDatum(p->samples);
		columns[6][n++] = PointerGetDatum(p->data);
		samples += p->samples;
	}
	if (n == 0)
		return;
	args[1] = PointerGetDatum(construct_array(columns[1], n, INT4OID, 4, true, TYPALIGN_INT));
	args[2] = PointerGetDatum(construct_array(columns[2], n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[3] = PointerGetDatum(construct_array(columns[3], n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[4] = PointerGetDatum(construct_array(columns[4], n, INT2OID, 2, true, TYPALIGN_SHORT));
	args[5] = PointerGetDatum(construct_array(columns[5], n, INT4OID, 4, true, TYPALIGN_INT));
	args[6] = PointerGetDatum(construct_array(columns[6], n, prom_store_type("chunk"), -1, false, TYPALIGN_DOUBLE));
	args[7] = BoolGetDatum(older);
	prom_store_execute("INSERT INTO prom.warm (shard, block, t_min, seq, t_max, gen, samples, data) "
			"SELECT $1, u.block, u.t_min, CASE WHEN $8 THEN -1 ELSE 1 END * pg_catalog.nextval('prom.store_seq'), u.t_max, u.gen, u.samples, u.data "
			"FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),"
			" pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7)) AS u(block, t_min, t_max, gen, samples, data)",
			8, types, args, SPI_OK_INSERT);
	prom_stat_count(PROM_STAT_MERGE_WRITTEN_ROWS, n);
	prom_stat_count(PROM_STAT_MERGE_SAMPLES, samples);
}

int
prom_compare_pieces(const void *a, const void *b)
{
	const PromPiece *x = a;
	const PromPiece *y = b;

	if (x->day_ms != y->day_ms)
		return x->day_ms > y->day_ms ? -1 : 1;
	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return (x->t_min > y->t_min) - (x->t_min < y->t_min);
}

/*
 * ingest.c
 *	  prom.ingest: bodies become fresh rows, all in one transaction.
 *
 * The samples of all bodies of a call are collected, sorted by series and time, and written as rows
 * of prom.fresh that stay below a page, so that they are not toasted.  Rows are cut at fixed stripes of
 * series ids: a reader can skip rows by their id range however senders mix their series.
 *
 * Native histograms are samples of their series like floats are; their memory belongs to the batch.
 * Exemplars are collected beside and go into a table of their own.
 *
 * Bodies are decoded one after the other (decode.c).  Of two samples with one timestamp in a call the
 * later in the order of bodies counts.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "chunk/chunk.h"
#include "common/clock.h"
#include "common/compat.h"
#include "ingest/batch.h"
#include "ingest/ingest.h"

#define STRIPE_BITS		12
#define ROW_BYTES		7400	/* a row is cut at this size: with its header it stays in the page */
#define ROW_MAX_BYTES	7800	/* and before this, should the next series take the most it can */
#define RUN_SAMPLES		256		/* of one series in one row */
#define RUN_BYTES		(ROW_BYTES / 2) /* with histograms fewer than that, if they may take more than this */
#define SEQ_ROWS		500		/* that share a number: the merge takes all rows of a number at once */

static void resolve_series(PromBatch *batch, PromIngested *outcomes, int nbodies);
static size_t sort_samples(PromBatch *batch);
static void write_fresh(Relation rel, const PromBatch *batch, size_t n);
static int	take_run(const PromBatch *batch, size_t first, size_t n, size_t *most_bytes);
static void insert_row(Relation rel, PromChunkBuilder *b, const PromFreshRow *row);
static void write_exemplars(PromBatch *batch);
static void execute_insert(const char *sql, int nargs, Oid *types, Datum *args);
static char *outcome_text(const PromIngested *out);
static void count_outcome(const PromIngested *out, size_t bytes);

PG_FUNCTION_INFO_V1(prom_ingest);

void
prom_ingest_init(void)
{
	DefineCustomIntVariable("promgres.max_samples_per_request",
							"Sets how many samples one remote write body may have.",
							"A larger body is refused whole. 0 is no limit but that of the size.",
							&prom_batch_max_samples, 0, 0, PG_INT32_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("promgres.ingest_type_and_unit_labels",
							 "Makes labels __type__ and __unit__ of the metadata that comes with a series.",
							 "Remote write 2.0 and OTLP send it so.",
							 &prom_batch_type_and_unit, false, PGC_USERSET, 0, NULL, NULL, NULL);
	prom_otlp_init();
	prom_ha_init();
}

/* What each body is; none said: remote write 1.0 as it comes from Prometheus. */
static PromBodyKind *
read_kinds(ArrayType *formats, int nbodies)
{
	PromBodyKind *kinds = palloc(sizeof(PromBodyKind) * Max(nbodies, 1));
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	deconstruct_array(formats, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	if (n != 0 && n != nbodies)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("there are %d formats for %d bodies", n, nbodies)));
	for (int i = 0; i < nbodies; i++)
		kinds[i] = prom_body_kind(i < n && !nulls[i] ? TextDatumGetCString(elems[i]) : "remote_write_1+snappy");
	return kinds;
}

Datum
prom_ingest(PG_FUNCTION_ARGS)
{
	ArrayType  *bodies = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *formats = PG_GETARG_ARRAYTYPE_P(1);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum	   *elems;
	bool	   *nulls;
	int			nbodies;
	PromBodyKind *kinds;
	PromBatch		batch = {0};
	PromIngested    *outcomes;
	Relation	fresh;
	size_t		kept;

	PreventCommandIfReadOnly("prom.ingest()");
	PreventCommandIfParallelMode("prom.ingest()");
	PreventCommandDuringRecovery("prom.ingest()");
	InitMaterializedSRF(fcinfo, 0);

	deconstruct_array(bodies, BYTEAOID, -1, false, TYPALIGN_INT, &elems, &nulls, &nbodies);
	kinds = read_kinds(formats, nbodies);
	outcomes = palloc0(sizeof(PromIngested) * Max(nbodies, 1));

	/* The right to insert comes before any lock that others would feel. */
	fresh = prom_store_open_for_insert("fresh");
	prom_series_begin();
	prom_ha_begin();
	batch.t_latest = prom_clock_to_ms(GetCurrentTimestamp()) + (int64) prom_store_max_ahead_s * 1000;
	if (prom_store_max_age_s > 0)
		batch.t_earliest = Max(0, prom_clock_to_ms(GetCurrentTimestamp()) - (int64) prom_store_max_age_s * 1000);
	batch.t_exemplars = prom_store_exemplar_max_age_s == 0 ? PG_INT64_MAX :
		prom_clock_to_ms(GetCurrentTimestamp()) - (int64) prom_store_exemplar_max_age_s * 1000;
	initStringInfo(&batch.metadata);
	batch.body_cxt = AllocSetContextCreate(CurrentMemoryContext, "prom.ingest body",
										   ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < nbodies; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
		{
			outcomes[i].malformed = true;
			outcomes[i].error = pstrdup("body is NULL");
		}
		else
			prom_batch_decode(&batch, kinds[i], DatumGetByteaPP(elems[i]), &outcomes[i]);
		outcomes[i].end = batch.n;
		outcomes[i].wants_end = batch.nwants;
		outcomes[i].exemplars_end = batch.nexemplars;
		MemoryContextReset(batch.body_cxt);
	}

	resolve_series(&batch, outcomes, nbodies);
	kept = sort_samples(&batch);
	if (kept > 0)
		write_fresh(fresh, &batch, kept);
	table_close(fresh, NoLock);
	if (batch.nmetadata > 0)
		prom_batch_write_metadata(&batch);
	if (batch.nexemplars > 0)
		write_exemplars(&batch);

	for (int i = 0; i < nbodies; i++)
	{
		char	   *error = outcome_text(&outcomes[i]);
		Datum		values[6] = {Int32GetDatum(i + 1), Int64GetDatum(outcomes[i].samples + outcomes[i].other_samples),
			Int64GetDatum(outcomes[i].histograms + outcomes[i].other_histograms),
			Int64GetDatum(outcomes[i].exemplars + outcomes[i].other_exemplars),
		Int64GetDatum(outcomes[i].refused)};
		bool		isnull[6] = {false, false, false, false, outcomes[i].malformed, error == NULL};

		if (error)
			values[5] = CStringGetTextDatum(error);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
		count_outcome(&outcomes[i], nulls[i] ? 0 : toast_raw_datum_size(elems[i]) - VARHDRSZ);
	}
	prom_stat_count(PROM_STAT_INGEST_CALLS, 1);
	prom_stat_stamp(PROM_STAT_INGEST_LAST);
	return (Datum) 0;
}

/* Give every pending series its id; those that are refused lose their samples, and their body hears why. */
static void
resolve_series(PromBatch *batch, PromIngested *outcomes, int nbodies)
{
	size_t		kept = 0;
	size_t		i = 0;
	int			w = 0;
	int			e = 0;
	int			exemplars = 0;

	if (batch->nwants == 0)
		return;
	prom_stat_count(PROM_STAT_INGEST_SERIES, prom_series_resolve(batch->wants, batch->nwants));
	for (int body = 0; body < nbodies; body++)
	{
		PromIngested    *out = &outcomes[body];

		for (; w < out->wants_end; w++)
		{
			if (batch->wants[w].refused)
			{
				out->bad_labels++;
				prom_batch_refuse(out, batch->wants[w].refused);
			}
		}
		for (; i < out->end; i++)
		{
			PromSample	   *s = &batch->samples[i];

			if (s->sid < 0)
			{
				const PromSeriesWant *want = &batch->wants[~s->sid];

				if (want->id.sid < 0)
				{
					if (batch->histograms && batch->histograms[s->number])
						out->histograms--;
					else
						out->samples--;
					continue;
				}
				s->sid = want->id.sid;
			}
			batch->samples[kept++] = *s;
		}
		for (; e < out->exemplars_end; e++)
		{
			PromExemplar   *x = &batch->exemplars[e];

			if (x->sid < 0)
				x->sid = batch->wants[~x->sid].id.sid;
			if (x->sid < 0)
				out->exemplars--;
			else
				batch->exemplars[exemplars++] = *x;
		}
	}
	batch->nexemplars = exemplars;
	batch->n = kept;
}

static int
compare_samples(const void *a, const void *b)
{
	const PromSample *x = a;
	const PromSample *y = b;

	if (x->sid != y->sid)
		return x->sid < y->sid ? -1 : 1;
	if (x->t_ms != y->t_ms)
		return x->t_ms < y->t_ms ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

/* By series and time, the last one of each pair kept; returns how many are left. */
static size_t
sort_samples(PromBatch *batch)
{
	PromSample	   *s = batch->samples;
	bool		sorted = true;
	size_t		kept = 0;

	for (size_t i = 1; i < batch->n && sorted; i++)
		sorted = s[i - 1].sid < s[i].sid || (s[i - 1].sid == s[i].sid && s[i - 1].t_ms < s[i].t_ms);
	if (sorted)
		return batch->n;
	qsort(s, batch->n, sizeof(PromSample), compare_samples);
	for (size_t i = 0; i < batch->n; i++)
	{
		if (kept > 0 && s[kept - 1].sid == s[i].sid && s[kept - 1].t_ms == s[i].t_ms)
			kept--;
		s[kept++] = s[i];
	}
	return kept;
}

/* How many samples from "first" on are of one series and fit into a row, and the most they can take. */
static int
take_run(const PromBatch *batch, size_t first, size_t n, size_t *most_bytes)
{
	const PromSample *s = batch->samples + first;
	int			k = 0;

	*most_bytes = 160;
	do
	{
		const PromHistogram *h = batch->histograms ? batch->histograms[s[k].number] : NULL;

		/* of a histogram this much at most in all likelihood; else the row is toasted */
		*most_bytes += h ? 100 + h->size / 4 : 18;
		k++;
	} while (first + k < n && s[k].sid == s[0].sid && k < RUN_SAMPLES && *most_bytes < RUN_BYTES);
	return k;
}

/* May the next series, of so many bytes at most, go into the row that is being filled? */
static bool
fits(const PromChunkBuilder *b, const PromFreshRow *row, int32 sid, size_t most_bytes)
{
	size_t		bytes;

	if (sid >> STRIPE_BITS != row->sid_min >> STRIPE_BITS || sid == row->sid_max ||
		prom_chunk_series(b) == PROM_CHUNK_MAX_SERIES)
		return false;
	bytes = prom_chunk_bytes(b);
	return bytes <= ROW_BYTES && bytes + most_bytes <= ROW_MAX_BYTES;
}

/* Rows of prom.fresh: cut where the stripe of ids changes and before a page is full. */
static void
write_fresh(Relation rel, const PromBatch *batch, size_t n)
{
	PromChunkBuilder *b = prom_chunk_begin(PROM_CHUNK_FRESH, 0);
	const PromSample *samples = batch->samples;
	int64		t_ms[RUN_SAMPLES];
	double		values[RUN_SAMPLES];
	const PromHistogram *histograms[RUN_SAMPLES];
	PromFreshRow row = {.seq = prom_store_next_seq()};
	int			nrows = 0;
	int			k;

	for (size_t i = 0; i < n; i += k)
	{
		int32		sid = samples[i].sid;
		size_t		most_bytes;

		k = take_run(batch, i, n, &most_bytes);
		for (int j = 0; j < k; j++)
		{
			t_ms[j] = samples[i + j].t_ms;
			values[j] = samples[i + j].value;
			if (batch->histograms)
				histograms[j] = batch->histograms[samples[i + j].number];
		}
		if (prom_chunk_series(b) > 0 && !fits(b, &row, sid, most_bytes))
		{
			insert_row(rel, b, &row);
			if (++nrows % SEQ_ROWS == 0)
				row.seq = prom_store_next_seq();
		}
		if (prom_chunk_series(b) == 0)
		{
			row.sid_min = sid;
			row.t_min = t_ms[0];
			row.t_max = t_ms[k - 1];
			row.samples = 0;
		}
		prom_chunk_add_mixed(b, sid, k, t_ms, values, batch->histograms ? histograms : NULL);
		row.sid_max = sid;
		row.t_min = Min(row.t_min, t_ms[0]);
		row.t_max = Max(row.t_max, t_ms[k - 1]);
		row.samples += k;
		CHECK_FOR_INTERRUPTS();
	}
	insert_row(rel, b, &row);
}

static void
insert_row(Relation rel, PromChunkBuilder *b, const PromFreshRow *row)
{
	PromChunk  *chunk = prom_chunk_finish(b);

	prom_store_insert_fresh(rel, 0, row, chunk);
	pfree(chunk);
}

/* Duplicates, of this call and of what is there, are left out. */
static void
write_exemplars(PromBatch *batch)
{
	Oid			labels_type = prom_store_type("labels");
	Oid			types[4] = {INT4ARRAYOID, INT8ARRAYOID, FLOAT8ARRAYOID, get_array_type(labels_type)};
	int			n = batch->nexemplars;
	Datum	   *columns[4];
	Datum		args[4];

	for (int c = 0; c < 4; c++)
		columns[c] = palloc(sizeof(Datum) * n);
	for (int i = 0; i < n; i++)
	{
		columns[0][i] = Int32GetDatum(batch->exemplars[i].sid);
		columns[1][i] = Int64GetDatum(batch->exemplars[i].t_ms);
		columns[2][i] = Float8GetDatum(batch->exemplars[i].value);
		columns[3][i] = PointerGetDatum(batch->exemplars[i].labels);
	}
	args[0] = PointerGetDatum(construct_array(columns[0], n, INT4OID, 4, true, TYPALIGN_INT));
	args[1] = PointerGetDatum(construct_array(columns[1], n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[2] = PointerGetDatum(construct_array(columns[2], n, FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[3] = PointerGetDatum(construct_array(columns[3], n, labels_type, -1, false, TYPALIGN_INT));
	execute_insert("INSERT INTO prom.exemplar (shard, sid, t_ms, value, labels) "
				   "SELECT 0::pg_catalog.int2, e.sid, e.t_ms, e.value, e.labels "
				   "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) AS e(sid, t_ms, value, labels) "
				   "ORDER BY 2, 3, 4, 5 ON CONFLICT DO NOTHING", 4, types, args);
}

static void
execute_insert(const char *sql, int nargs, Oid *types, Datum *args)
{
	int			rc;

	SPI_connect();
	rc = SPI_execute_with_args(sql, nargs, types, args, NULL, false, 0);
	if (rc != SPI_OK_INSERT)
		elog(ERROR, "unexpected result %s of: %s", SPI_result_code_string(rc), sql);
	SPI_finish();
}

/* What the sender is told, or NULL if everything was taken. */
static char *
outcome_text(const PromIngested *out)
{
	StringInfoData text;

	if (out->malformed)
		return out->error;
	if (out->refused == 0)
		return NULL;
	initStringInfo(&text);
	appendStringInfoString(&text, out->error);
	if (out->refused > 1)
		appendStringInfo(&text, " (and " INT64_FORMAT " more refused)", out->refused - 1);
	if (out->samples + out->histograms > 0)
		appendStringInfo(&text, "; " INT64_FORMAT " other samples stored", out->samples + out->histograms);
	return text.data;
}

static void
count_outcome(const PromIngested *out, size_t bytes)
{
	prom_stat_count(PROM_STAT_INGEST_BODIES, 1);
	prom_stat_count(PROM_STAT_INGEST_BYTES, bytes);
	prom_stat_count(PROM_STAT_INGEST_SAMPLES, out->samples);
	prom_stat_count(PROM_STAT_INGEST_HISTOGRAMS, out->histograms);
	prom_stat_count(PROM_STAT_INGEST_EXEMPLARS, out->exemplars);
	prom_stat_count(PROM_STAT_REFUSED_HISTOGRAMS, out->bad_histograms);
	prom_stat_count(PROM_STAT_REFUSED_TIME, out->out_of_bounds);
	prom_stat_count(PROM_STAT_REFUSED_LABELS, out->bad_labels);
	prom_stat_count(PROM_STAT_REFUSED_METADATA, out->too_much_metadata);
	prom_stat_count(PROM_STAT_REFUSED_POINTS, out->bad_points);
	prom_stat_count(PROM_STAT_REPLICA_SAMPLES, out->other_samples + out->other_histograms);
	prom_stat_count(PROM_STAT_REFUSED_BODIES, out->malformed ? 1 : 0);
}

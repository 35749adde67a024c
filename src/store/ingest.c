/*
 * ingest.c
 *	  prom.ingest: remote_write bodies become fresh rows, all in one transaction.
 *
 * The samples of all bodies of a call are collected, sorted by series and time, and written as rows
 * of prom.fresh that stay below a page, so that they are not toasted.  Rows are cut at fixed stripes of
 * series ids: a reader can skip rows by their id range however senders mix their series.
 *
 * A body with malformed bytes leaves nothing behind.  In a well-formed body the bad series and samples,
 * and new series above a limit, are refused one by one and the rest is kept.  Of two samples with one
 * timestamp in a call the later in the order of bodies counts.
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
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "chunk/chunk.h"
#include "common/clock.h"
#include "common/compat.h"
#include "store/private.h"
#include "wire/wire.h"

#define BODY_CAP		(32 * 1024 * 1024)	/* bytes, after snappy */
#define METADATA_MAX	50000	/* of one body: each takes much more memory than its bytes */
#define STRIPE_BITS		12
#define ROW_BYTES		7400	/* a row is cut at this size: with its header it stays in the page */
#define ROW_MAX_BYTES	7800	/* and before this, should the next series take the most it can */
#define MOST_BYTES(n)	(160 + 18 * (n))	/* which is this much for n samples */
#define SEQ_ROWS		500		/* that share a number: the merge takes all rows of a number at once */
#define NOTE_INTERVAL_MS 600000

static int	max_samples;		/* promgres.max_samples_per_request */

/* So many series of a body are read ahead, so that memory is fetched while others are worked on. */
#define READ_AHEAD		16

typedef struct Sample
{
	int64		t_ms;
	double		value;
	int32		sid;			/* or, while pending, ~index of the wanted series */
	uint32		number;			/* position in the call: later ones win */
} Sample;

/* All bodies of one call. */
typedef struct Batch
{
	Sample	   *samples;
	size_t		n;
	size_t		size;
	PromSeriesWant *wants;		/* series this backend does not know yet */
	int			nwants;
	int			wants_size;
	StringInfoData metadata;	/* PromWriteMetadata structs; their texts are copies */
	int			nmetadata;
	int64		t_earliest;		/* samples before this are out of bounds, */
	int64		t_latest;		/* and those after this */
	MemoryContext body_cxt;		/* reset per body */
} Batch;

/* What one body came to. */
typedef struct Outcome
{
	int64		samples;
	int64		exemplars;
	int64		histograms;
	int64		refused;		/* series, samples and metadata; or the body */
	int64		out_of_bounds;	/* samples among them, */
	int64		bad_labels;		/* series, */
	int64		too_much_metadata;
	char	   *error;			/* the first reason */
	size_t		end;			/* of its samples in the batch */
	int			wants_end;		/* of its series */
} Outcome;

static void decode_body(Batch *batch, const bytea *body, Outcome *out);
static void add_series(Batch *batch, const PromWriteSeries *s, PromSeriesHash raw, Outcome *out);
static bool find_series(Batch *batch, const PromWriteSeries *s, PromSeriesHash raw, int32 *sid, Outcome *out);
static PromLabels *series_labels(const PromWriteSeries *s, char **reason);
static void add_metadata(Batch *batch, const PromWriteMetadata *m, int before, Outcome *out);
static void resolve_series(Batch *batch, Outcome *outcomes, int nbodies);
static void forget_body(Batch *batch, const Batch *before, Outcome *out);
static size_t sort_samples(Batch *batch);
static void write_fresh(Relation rel, const Sample *samples, size_t n);
static void insert_row(Relation rel, PromChunkBuilder *b, const PromFreshRow *row);
static void write_metadata(Batch *batch);
static void refuse(Outcome *out, char *reason);
static char *outcome_text(const Outcome *out);
static void note_unsupported(int64 exemplars, int64 histograms);
static void count_outcome(const Outcome *out, size_t bytes);

PG_FUNCTION_INFO_V1(prom_ingest);

void
prom_store_ingest_init(void)
{
	DefineCustomIntVariable("promgres.max_samples_per_request",
							"Sets how many samples one remote write body may have.",
							"A larger body is refused whole. 0 is no limit but that of the size.",
							&max_samples, 0, 0, PG_INT32_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
}

Datum
prom_ingest(PG_FUNCTION_ARGS)
{
	ArrayType  *bodies = PG_GETARG_ARRAYTYPE_P(0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum	   *elems;
	bool	   *nulls;
	int			nbodies;
	Batch		batch = {0};
	Outcome    *outcomes;
	Relation	fresh;
	size_t		kept;

	PreventCommandIfReadOnly("prom.ingest()");
	PreventCommandIfParallelMode("prom.ingest()");
	PreventCommandDuringRecovery("prom.ingest()");
	InitMaterializedSRF(fcinfo, 0);

	deconstruct_array(bodies, BYTEAOID, -1, false, TYPALIGN_INT, &elems, &nulls, &nbodies);
	outcomes = palloc0(sizeof(Outcome) * Max(nbodies, 1));

	/* The right to insert comes before any lock that others would feel. */
	fresh = prom_store_open_for_insert("fresh");
	prom_series_begin();
	batch.t_latest = prom_clock_to_ms(GetCurrentTimestamp()) + (int64) prom_store_max_ahead_s * 1000;
	if (prom_store_max_age_s > 0)
		batch.t_earliest = Max(0, prom_clock_to_ms(GetCurrentTimestamp()) - (int64) prom_store_max_age_s * 1000);
	initStringInfo(&batch.metadata);
	batch.body_cxt = AllocSetContextCreate(CurrentMemoryContext, "prom.ingest body",
										   ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < nbodies; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			refuse(&outcomes[i], pstrdup("body is NULL"));
		else
			decode_body(&batch, DatumGetByteaPP(elems[i]), &outcomes[i]);
		outcomes[i].end = batch.n;
		outcomes[i].wants_end = batch.nwants;
		MemoryContextReset(batch.body_cxt);
	}

	resolve_series(&batch, outcomes, nbodies);
	kept = sort_samples(&batch);
	if (kept > 0)
		write_fresh(fresh, batch.samples, kept);
	table_close(fresh, NoLock);
	if (batch.nmetadata > 0)
		write_metadata(&batch);

	for (int i = 0; i < nbodies; i++)
	{
		char	   *error = outcome_text(&outcomes[i]);
		Datum		values[4] = {Int32GetDatum(i + 1), Int64GetDatum(outcomes[i].samples),
			Int64GetDatum(outcomes[i].exemplars)};
		bool		isnull[4] = {false, false, false, error == NULL};

		if (error)
			values[3] = CStringGetTextDatum(error);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
		note_unsupported(outcomes[i].exemplars, outcomes[i].histograms);
		count_outcome(&outcomes[i], nulls[i] ? 0 : toast_raw_datum_size(elems[i]) - VARHDRSZ);
	}
	prom_stat_count(PROM_STAT_INGEST_CALLS, 1);
	prom_stat_stamp(PROM_STAT_INGEST_LAST);
	return (Datum) 0;
}

/* Unpack one body into the batch; if its bytes are malformed the batch is as it was before. */
static void
decode_body(Batch *batch, const bytea *body, Outcome *out)
{
	const void *in = VARDATA_ANY(body);
	size_t		in_len = VARSIZE_ANY_EXHDR(body);
	size_t		len;
	void	   *message;
	PromWireError err;
	PromWriteWalk walk;
	PromWriteItem item;
	PromWriteSeries series[READ_AHEAD];
	PromSeriesHash raw[READ_AHEAD];
	PromWriteMetadata metadata;
	size_t		nsamples = 0;
	int			nseries = 0;
	const Batch before = *batch;

	if (!prom_snappy_size(in, in_len, BODY_CAP, &len, &err))
	{
		refuse(out, psprintf("snappy: %s at byte %zu", err.reason, err.offset));
		return;
	}
	message = MemoryContextAlloc(batch->body_cxt, len + 1);
	if (!prom_snappy_decode(in, in_len, message, len, &err))
	{
		refuse(out, psprintf("snappy: %s at byte %zu", err.reason, err.offset));
		return;
	}

	prom_write_begin(&walk, message, len);
	do
	{
		CHECK_FOR_INTERRUPTS();
		item = prom_write_next(&walk, &series[nseries], &metadata, &err);
		if (item == PROM_WRITE_SERIES)
		{
			raw[nseries] = prom_series_raw_hash(series[nseries].labels, series[nseries].labels_len);
			prom_series_expect(raw[nseries]);
			nsamples += series[nseries++].nsamples;
		}
		else if (item == PROM_WRITE_METADATA)
			add_metadata(batch, &metadata, before.nmetadata, out);
		else if (item != PROM_WRITE_END)
		{
			forget_body(batch, &before, out);
			refuse(out, psprintf("protobuf: %s at byte %zu of the uncompressed body", err.reason,
								 err.offset));
			return;
		}
		if (max_samples > 0 && nsamples > (size_t) max_samples)
		{
			forget_body(batch, &before, out);
			refuse(out, psprintf("the body has more samples than promgres.max_samples_per_request = %d allows",
								 max_samples));
			return;
		}
		if (nseries == READ_AHEAD || item == PROM_WRITE_END)
		{
			for (int i = 0; i < nseries; i++)
				add_series(batch, &series[i], raw[i], out);
			nseries = 0;
		}
	} while (item != PROM_WRITE_END);
}

/* Everything of it; only the room it made stays. */
static void
forget_body(Batch *batch, const Batch *before, Outcome *out)
{
	batch->n = before->n;
	batch->nwants = before->nwants;
	batch->nmetadata = before->nmetadata;
	batch->metadata.len = before->nmetadata * sizeof(PromWriteMetadata);
	memset(out, 0, sizeof(*out));
}

static void
add_series(Batch *batch, const PromWriteSeries *s, PromSeriesHash raw, Outcome *out)
{
	size_t		pos = 0;
	int64		t_ms;
	double		value;
	int32		sid;

	out->exemplars += s->nexemplars;
	out->histograms += s->nhistograms;
	if (s->nsamples == 0 || !find_series(batch, s, raw, &sid, out))
		return;

	if (batch->n + s->nsamples > batch->size)
	{
		batch->size = Max(batch->size * 2, Max(batch->n + s->nsamples, 4096));
		batch->samples = batch->samples
			? repalloc_huge(batch->samples, batch->size * sizeof(Sample))
			: MemoryContextAllocHuge(CurrentMemoryContext, batch->size * sizeof(Sample));
	}
	while (prom_write_sample(s, &pos, &t_ms, &value))
	{
		Sample	   *sample;

		if (t_ms < batch->t_earliest || t_ms > batch->t_latest)
		{
			out->out_of_bounds++;
			refuse(out, psprintf("out of bounds: timestamp " INT64_FORMAT " ms is %s", t_ms,
								 t_ms < 0 ? "before 1970" :
								 t_ms < batch->t_earliest ? "older than promgres.ingest_max_age" :
								 "too far in the future"));
			continue;
		}
		sample = &batch->samples[batch->n];
		sample->t_ms = t_ms;
		sample->value = value;
		sample->sid = sid;
		sample->number = (uint32) batch->n++;
		out->samples++;
	}
}

/* The series' id, or ~index into wants; false (and refused) if its labels are bad. */
static bool
find_series(Batch *batch, const PromWriteSeries *s, PromSeriesHash raw, int32 *sid, Outcome *out)
{
	PromSeriesId id;
	PromSeriesWant *want;
	PromLabels *labels;
	char	   *reason;

	/* Scattered labels have no bytes to be known by. */
	if (s->labels_len > 0 && prom_series_cached(raw, &id))
	{
		*sid = id.sid;
		return true;
	}
	labels = series_labels(s, &reason);
	if (labels == NULL)
	{
		out->bad_labels++;
		refuse(out, reason);
		return false;
	}
	if (batch->nwants == batch->wants_size)
	{
		batch->wants_size = Max(batch->wants_size * 2, 256);
		batch->wants = batch->wants
			? repalloc_huge(batch->wants, sizeof(PromSeriesWant) * batch->wants_size)
			: palloc(sizeof(PromSeriesWant) * batch->wants_size);
	}
	want = &batch->wants[batch->nwants];
	want->labels = labels;
	want->raw = raw;
	*sid = ~batch->nwants++;
	return true;
}

static PromLabels *
series_labels(const PromWriteSeries *s, char **reason)
{
	PromLabel  *pairs = palloc(sizeof(PromLabel) * Max(s->nlabels, 1));
	PromWriteLabel l;
	PromLabels *labels;
	const char *name;
	int			name_len;
	size_t		pos = 0;
	int			n = 0;

	while (prom_write_label(s, &pos, &l))
	{
		pairs[n].name = l.name;
		pairs[n].name_len = (int) l.name_len;
		pairs[n].value = l.value;
		pairs[n].value_len = (int) l.value_len;
		n++;
	}
	labels = prom_labels_build(pairs, n, reason);
	pfree(pairs);
	if (labels && !prom_labels_get(labels, "__name__", 8, &name, &name_len))
	{
		StringInfoData text;

		initStringInfo(&text);
		appendStringInfoString(&text, "label set has no metric name: ");
		prom_labels_print(&text, labels);
		*reason = text.data;
		return NULL;
	}
	return labels;
}

/* "before": how many there were before this body. */
static void
add_metadata(Batch *batch, const PromWriteMetadata *m, int before, Outcome *out)
{
	PromWriteMetadata copy = *m;

	if (batch->nmetadata - before >= METADATA_MAX)
	{
		out->too_much_metadata++;
		refuse(out, psprintf("more than %d metadata entries in one body", METADATA_MAX));
		return;
	}
	if (m->family_len == 0 || !pg_verify_mbstr(PG_UTF8, m->family, m->family_len, true) ||
		!pg_verify_mbstr(PG_UTF8, m->help, m->help_len, true) ||
		!pg_verify_mbstr(PG_UTF8, m->unit, m->unit_len, true))
		return;
	copy.family = pnstrdup(m->family, m->family_len);
	copy.help = pnstrdup(m->help, m->help_len);
	copy.unit = pnstrdup(m->unit, m->unit_len);
	appendBinaryStringInfo(&batch->metadata, (char *) &copy, sizeof(copy));
	batch->nmetadata++;
}

/* Give every pending series its id; those that are refused lose their samples, and their body hears why. */
static void
resolve_series(Batch *batch, Outcome *outcomes, int nbodies)
{
	size_t		kept = 0;
	size_t		i = 0;
	int			w = 0;

	if (batch->nwants == 0)
		return;
	prom_stat_count(PROM_STAT_INGEST_SERIES, prom_series_resolve(batch->wants, batch->nwants));
	for (int body = 0; body < nbodies; body++)
	{
		Outcome    *out = &outcomes[body];

		for (; w < out->wants_end; w++)
		{
			if (batch->wants[w].refused)
			{
				out->bad_labels++;
				refuse(out, batch->wants[w].refused);
			}
		}
		for (; i < out->end; i++)
		{
			Sample	   *s = &batch->samples[i];

			if (s->sid < 0)
			{
				const PromSeriesWant *want = &batch->wants[~s->sid];

				if (want->id.sid < 0)
				{
					out->samples--;
					continue;
				}
				s->sid = want->id.sid;
			}
			batch->samples[kept++] = *s;
		}
	}
	batch->n = kept;
}

static int
compare_samples(const void *a, const void *b)
{
	const Sample *x = a;
	const Sample *y = b;

	if (x->sid != y->sid)
		return x->sid < y->sid ? -1 : 1;
	if (x->t_ms != y->t_ms)
		return x->t_ms < y->t_ms ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

/* By series and time, the last one of each pair kept; returns how many are left. */
static size_t
sort_samples(Batch *batch)
{
	Sample	   *s = batch->samples;
	bool		sorted = true;
	size_t		kept = 0;

	for (size_t i = 1; i < batch->n && sorted; i++)
		sorted = s[i - 1].sid < s[i].sid || (s[i - 1].sid == s[i].sid && s[i - 1].t_ms < s[i].t_ms);
	if (sorted)
		return batch->n;
	qsort(s, batch->n, sizeof(Sample), compare_samples);
	for (size_t i = 0; i < batch->n; i++)
	{
		if (kept > 0 && s[kept - 1].sid == s[i].sid && s[kept - 1].t_ms == s[i].t_ms)
			kept--;
		s[kept++] = s[i];
	}
	return kept;
}

/* Rows of prom.fresh: cut where the stripe of ids changes and before a page is full. */
static void
write_fresh(Relation rel, const Sample *samples, size_t n)
{
	PromChunkBuilder *b = prom_chunk_begin(PROM_CHUNK_FRESH, 0);
	int64		t_ms[256];
	double		values[256];
	PromFreshRow row = {.seq = prom_store_next_seq()};
	int			nrows = 0;

	for (size_t i = 0; i < n;)
	{
		int32		sid = samples[i].sid;
		int			k = 0;

		while (i < n && samples[i].sid == sid && k < lengthof(t_ms))
		{
			t_ms[k] = samples[i].t_ms;
			values[k++] = samples[i++].value;
		}
		if (prom_chunk_series(b) > 0 &&
			(sid >> STRIPE_BITS != row.sid_min >> STRIPE_BITS || sid == row.sid_max ||
			 prom_chunk_series(b) == PROM_CHUNK_MAX_SERIES || prom_chunk_bytes(b) > ROW_BYTES ||
			 prom_chunk_bytes(b) + MOST_BYTES(k) > ROW_MAX_BYTES))
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
		prom_chunk_add(b, sid, k, t_ms, values);
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

static void
write_metadata(Batch *batch)
{
	static const char *const types[] = {"unknown", "counter", "gauge", "histogram", "gaugehistogram",
	"summary", "info", "stateset"};
	PromWriteMetadata *m = (PromWriteMetadata *) batch->metadata.data;
	Datum	   *columns[4];
	Datum		args[4];
	Oid			types_oid[4] = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID};

	for (int c = 0; c < 4; c++)
		columns[c] = palloc(sizeof(Datum) * batch->nmetadata);
	for (int i = 0; i < batch->nmetadata; i++)
	{
		columns[0][i] = CStringGetTextDatum(m[i].family);
		columns[1][i] = CStringGetTextDatum(types[m[i].type < lengthof(types) ? m[i].type : 0]);
		columns[2][i] = CStringGetTextDatum(m[i].help);
		columns[3][i] = CStringGetTextDatum(m[i].unit);
	}
	for (int c = 0; c < 4; c++)
		args[c] = PointerGetDatum(construct_array(columns[c], batch->nmetadata, TEXTOID, -1, false,
												  TYPALIGN_INT));

	/* In a fixed order, so that two senders of the same news cannot deadlock. */
	SPI_connect();
	if (SPI_execute_with_args("INSERT INTO prom.metadata (shard, family, digest, type, help, unit) "
							  "SELECT DISTINCT 0::pg_catalog.int2, f, pg_catalog.md5(t || E'\\n' || h || E'\\n' || u)::pg_catalog.uuid, t, h, u "
							  "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) AS m(f, t, h, u) ORDER BY 2, 3 "
							  "ON CONFLICT DO NOTHING", 4, types_oid, args, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not store metadata");
	SPI_finish();
}

/* The first reason is kept, the others are counted. */
static void
refuse(Outcome *out, char *reason)
{
	if (out->refused++ == 0)
		out->error = reason;
	else
		pfree(reason);
}

/* What the sender is told, or NULL if everything was taken. */
static char *
outcome_text(const Outcome *out)
{
	StringInfoData text;

	if (out->refused == 0 && out->histograms == 0)
		return NULL;
	initStringInfo(&text);
	if (out->refused > 0)
		appendStringInfoString(&text, out->error);
	if (out->refused > 1)
		appendStringInfo(&text, " (and " INT64_FORMAT " more refused)", out->refused - 1);
	if (out->histograms > 0)
		appendStringInfo(&text, "%s" INT64_FORMAT " native histogram samples refused: not supported yet",
						 out->refused > 0 ? "; " : "", out->histograms);
	if (out->samples > 0)
		appendStringInfo(&text, "; " INT64_FORMAT " other samples stored", out->samples);
	return text.data;
}

/* What is not stored yet is said in the log, but not for every request. */
static void
note_unsupported(int64 exemplars, int64 histograms)
{
	static int64 total_exemplars = 0;
	static int64 total_histograms = 0;
	static TimestampTz last = 0;
	TimestampTz now;

	if (exemplars + histograms == 0)
		return;
	total_exemplars += exemplars;
	total_histograms += histograms;
	now = GetCurrentTimestamp();
	if (last != 0 && !TimestampDifferenceExceeds(last, now, NOTE_INTERVAL_MS))
		return;
	last = now;
	ereport(LOG,
			(errmsg("skipped " INT64_FORMAT " exemplars and refused " INT64_FORMAT " native histogram samples so far: they are not supported yet",
					total_exemplars, total_histograms),
			 errhint("Remove \"send_exemplars\" and \"send_native_histograms\" from the sender's remote_write section.")));
}

static void
count_outcome(const Outcome *out, size_t bytes)
{
	/* What has a reason of its own is a part of a body; else the body was refused. */
	int64		parts = out->out_of_bounds + out->bad_labels + out->too_much_metadata;

	prom_stat_count(PROM_STAT_INGEST_BODIES, 1);
	prom_stat_count(PROM_STAT_INGEST_BYTES, bytes);
	prom_stat_count(PROM_STAT_INGEST_SAMPLES, out->samples);
	prom_stat_count(PROM_STAT_INGEST_EXEMPLARS, out->exemplars);
	prom_stat_count(PROM_STAT_REFUSED_HISTOGRAMS, out->histograms);
	prom_stat_count(PROM_STAT_REFUSED_TIME, out->out_of_bounds);
	prom_stat_count(PROM_STAT_REFUSED_LABELS, out->bad_labels);
	prom_stat_count(PROM_STAT_REFUSED_METADATA, out->too_much_metadata);
	prom_stat_count(PROM_STAT_REFUSED_BODIES, out->refused - parts);
}

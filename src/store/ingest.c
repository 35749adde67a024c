/*
 * ingest.c
 *	  prom.ingest: remote_write bodies become fresh rows, all in one transaction.
 *
 * The samples of all bodies of a call are collected, sorted by series and time, and written as rows
 * of prom.fresh that stay below a page, so that they are not toasted.  Rows are cut at fixed stripes of
 * series ids: a reader can skip rows by their id range however senders mix their series.
 *
 * Native histograms are samples of their series like floats are; their memory belongs to the batch.
 * Exemplars are collected beside and go into a table of their own.
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
#include "utils/lsyscache.h"
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
#define RUN_SAMPLES		256		/* of one series in one row */
#define RUN_BYTES		(ROW_BYTES / 2) /* with histograms fewer than that, if they may take more than this */
#define HISTOGRAM_BYTES	(256 * 1024 * 1024) /* of one body, unpacked; an empty message is two bytes on the wire */
#define EXEMPLAR_CHARACTERS 128 /* of all labels of an exemplar: what OpenMetrics allows */
#define SEQ_ROWS		500		/* that share a number: the merge takes all rows of a number at once */

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

typedef struct Exemplar
{
	int64		t_ms;
	double		value;
	int32		sid;			/* as in a sample */
	PromLabels *labels;
} Exemplar;

/* All bodies of one call. */
typedef struct Batch
{
	Sample	   *samples;
	size_t		n;
	size_t		size;
	const PromHistogram **histograms;	/* by number of the sample; NULL while there is none */
	Exemplar   *exemplars;
	int			nexemplars;
	int			exemplars_size;
	PromSeriesWant *wants;		/* series this backend does not know yet */
	int			nwants;
	int			wants_size;
	StringInfoData metadata;	/* PromWriteMetadata structs; their texts are copies */
	int			nmetadata;
	int64		t_earliest;		/* samples before this are out of bounds, */
	int64		t_latest;		/* and those after this */
	int64		t_exemplars;	/* exemplars before this are not kept */
	MemoryContext body_cxt;		/* reset per body */
} Batch;

/* What one body came to. */
typedef struct Outcome
{
	int64		samples;
	int64		exemplars;
	int64		histograms;
	size_t		histogram_bytes;
	int64		refused;		/* series, samples and metadata; or the body */
	int64		out_of_bounds;	/* samples among them, */
	int64		bad_labels;		/* series, */
	int64		bad_histograms;
	int64		too_much_metadata;
	char	   *error;			/* the first reason */
	size_t		end;			/* of its samples in the batch */
	int			wants_end;		/* of its series */
	int			exemplars_end;
} Outcome;

static void decode_body(Batch *batch, const bytea *body, Outcome *out);
static void add_series(Batch *batch, const PromWriteSeries *s, PromSeriesHash raw, Outcome *out);
static void add_histograms(Batch *batch, const PromWriteSeries *s, int32 sid, Outcome *out);
static void add_exemplars(Batch *batch, const PromWriteSeries *s, int32 sid, Outcome *out);
static Sample *add_sample(Batch *batch, int32 sid, int64 t_ms, Outcome *out);
static bool find_series(Batch *batch, const PromWriteSeries *s, PromSeriesHash raw, int32 *sid, Outcome *out);
static PromLabels *read_labels(const PromWriteSeries *s, char **reason);
static PromLabels *series_labels(const PromWriteSeries *s, char **reason);
static void add_metadata(Batch *batch, const PromWriteMetadata *m, int before, Outcome *out);
static void resolve_series(Batch *batch, Outcome *outcomes, int nbodies);
static void forget_body(Batch *batch, const Batch *before, Outcome *out);
static size_t sort_samples(Batch *batch);
static void write_fresh(Relation rel, const Batch *batch, size_t n);
static int	take_run(const Batch *batch, size_t first, size_t n, size_t *most_bytes);
static void insert_row(Relation rel, PromChunkBuilder *b, const PromFreshRow *row);
static void write_metadata(Batch *batch);
static void write_exemplars(Batch *batch);
static void execute_insert(const char *sql, int nargs, Oid *types, Datum *args);
static void refuse(Outcome *out, char *reason);
static char *outcome_text(const Outcome *out);
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
	batch.t_exemplars = prom_store_exemplar_max_age_s == 0 ? PG_INT64_MAX :
		prom_clock_to_ms(GetCurrentTimestamp()) - (int64) prom_store_exemplar_max_age_s * 1000;
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
		outcomes[i].exemplars_end = batch.nexemplars;
		MemoryContextReset(batch.body_cxt);
	}

	resolve_series(&batch, outcomes, nbodies);
	kept = sort_samples(&batch);
	if (kept > 0)
		write_fresh(fresh, &batch, kept);
	table_close(fresh, NoLock);
	if (batch.nmetadata > 0)
		write_metadata(&batch);
	if (batch.nexemplars > 0)
		write_exemplars(&batch);

	for (int i = 0; i < nbodies; i++)
	{
		char	   *error = outcome_text(&outcomes[i]);
		Datum		values[5] = {Int32GetDatum(i + 1), Int64GetDatum(outcomes[i].samples),
			Int64GetDatum(outcomes[i].histograms), Int64GetDatum(outcomes[i].exemplars)};
		bool		isnull[5] = {false, false, false, false, error == NULL};

		if (error)
			values[4] = CStringGetTextDatum(error);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
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
			nsamples += series[nseries].nsamples + series[nseries].nhistograms;
			nseries++;
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
	batch->nexemplars = before->nexemplars;
	batch->nmetadata = before->nmetadata;
	batch->metadata.len = before->nmetadata * sizeof(PromWriteMetadata);
	memset(out, 0, sizeof(*out));
}

static void
add_series(Batch *batch, const PromWriteSeries *s, PromSeriesHash raw, Outcome *out)
{
	size_t		pos = 0;
	size_t		more = (size_t) s->nsamples + s->nhistograms;
	int64		t_ms;
	double		value;
	int32		sid;

	if (more == 0 && (s->nexemplars == 0 || batch->t_exemplars == PG_INT64_MAX))
		return;
	if (!find_series(batch, s, raw, &sid, out))
		return;

	if (batch->n + more > batch->size)
	{
		batch->size = Max(batch->size * 2, Max(batch->n + more, 4096));
		batch->samples = batch->samples
			? repalloc_huge(batch->samples, batch->size * sizeof(Sample))
			: MemoryContextAllocHuge(CurrentMemoryContext, batch->size * sizeof(Sample));
		if (batch->histograms)
			batch->histograms = repalloc_huge(batch->histograms, batch->size * sizeof(*batch->histograms));
	}
	while (prom_write_sample(s, &pos, &t_ms, &value))
	{
		Sample	   *sample = add_sample(batch, sid, t_ms, out);

		if (sample == NULL)
			continue;
		sample->value = value;
		out->samples++;
	}
	if (s->nhistograms > 0)
		add_histograms(batch, s, sid, out);
	if (s->nexemplars > 0)
		add_exemplars(batch, s, sid, out);
}

/* One more sample, for which there is room; NULL, and refused, if its time is out of bounds. */
static Sample *
add_sample(Batch *batch, int32 sid, int64 t_ms, Outcome *out)
{
	Sample	   *sample = &batch->samples[batch->n];

	if (t_ms < batch->t_earliest || t_ms > batch->t_latest)
	{
		out->out_of_bounds++;
		refuse(out, psprintf("out of bounds: timestamp " INT64_FORMAT " ms is %s", t_ms,
							 t_ms < 0 ? "before 1970" :
							 t_ms < batch->t_earliest ? "older than promgres.ingest_max_age" :
							 "too far in the future"));
		return NULL;
	}
	if (batch->histograms)
		batch->histograms[batch->n] = NULL;
	sample->t_ms = t_ms;
	sample->sid = sid;
	sample->number = (uint32) batch->n++;
	return sample;
}

/* With the series, if it is the first: its labels are only found by a walk over all of it. */
static void
refuse_histogram(Outcome *out, const PromWriteSeries *s, const char *reason)
{
	StringInfoData text;
	char	   *no_name;

	initStringInfo(&text);
	if (out->refused == 0)
	{
		appendStringInfo(&text, "%s for series ", reason);
		prom_labels_print(&text, series_labels(s, &no_name));
	}
	out->bad_histograms++;
	refuse(out, text.data);
}

static void
add_histograms(Batch *batch, const PromWriteSeries *s, int32 sid, Outcome *out)
{
	PromWriteHistogram w;
	size_t		pos = 0;

	if (batch->histograms == NULL)
		batch->histograms = MemoryContextAllocExtended(CurrentMemoryContext, batch->size * sizeof(*batch->histograms),
													   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	while (prom_write_histogram(s, &pos, &w))
	{
		PromHistogram *h = NULL;
		const char *reason = w.reason;
		Sample	   *sample;

		CHECK_FOR_INTERRUPTS();
		if (reason == NULL && out->histogram_bytes > HISTOGRAM_BYTES)
			reason = "too many histograms in one body";
		if (reason == NULL)
		{
			h = palloc(w.size);
			reason = prom_write_histogram_read(&w, h);
		}
		if (reason)
			refuse_histogram(out, s, reason);
		sample = reason ? NULL : add_sample(batch, sid, w.t_ms, out);
		if (sample == NULL)
		{
			if (h)
				pfree(h);
			continue;
		}
		out->histogram_bytes += w.size + sizeof(void *);
		sample->value = 0;
		batch->histograms[sample->number] = h;
		out->histograms++;
	}
}

/* Of UTF-8 that was not looked at yet. */
static int
count_characters(const char *s, size_t len)
{
	int			n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((uint8) s[i] & 0xC0) != 0x80;
	return n;
}

/* Exemplars that are too old, too long or otherwise bad are passed over, as Prometheus does. */
static void
add_exemplars(Batch *batch, const PromWriteSeries *s, int32 sid, Outcome *out)
{
	PromWriteSeries found;
	Exemplar	e = {.sid = sid};
	size_t		pos = 0;

	while (prom_write_exemplar(s, &pos, &found, &e.t_ms, &e.value))
	{
		size_t		at = 0;
		int			characters = 0;
		PromWriteLabel l;
		char	   *reason;

		if (e.t_ms < batch->t_exemplars || e.t_ms < 0 || e.t_ms > batch->t_latest)
			continue;
		while (prom_write_label(&found, &at, &l))
			characters += count_characters(l.name, l.name_len) + count_characters(l.value, l.value_len);
		if (characters > EXEMPLAR_CHARACTERS)
			continue;
		e.labels = read_labels(&found, &reason);
		if (e.labels == NULL)
			continue;
		if (batch->nexemplars == batch->exemplars_size)
		{
			batch->exemplars_size = Max(batch->exemplars_size * 2, 256);
			batch->exemplars = batch->exemplars
				? repalloc_huge(batch->exemplars, sizeof(Exemplar) * batch->exemplars_size)
				: palloc(sizeof(Exemplar) * batch->exemplars_size);
		}
		batch->exemplars[batch->nexemplars++] = e;
		out->exemplars++;
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

/* The label set of a series or exemplar; NULL with a reason. */
static PromLabels *
read_labels(const PromWriteSeries *s, char **reason)
{
	PromLabel  *pairs = palloc(sizeof(PromLabel) * Max(s->nlabels, 1));
	PromWriteLabel l;
	PromLabels *labels;
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
	return labels;
}

static PromLabels *
series_labels(const PromWriteSeries *s, char **reason)
{
	PromLabels *labels = read_labels(s, reason);
	const char *name;
	int			name_len;

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
	int			e = 0;
	int			exemplars = 0;

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
			Exemplar   *x = &batch->exemplars[e];

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

/* How many samples from "first" on are of one series and fit into a row, and the most they can take. */
static int
take_run(const Batch *batch, size_t first, size_t n, size_t *most_bytes)
{
	const Sample *s = batch->samples + first;
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

/* Rows of prom.fresh: cut where the stripe of ids changes and before a page is full. */
static void
write_fresh(Relation rel, const Batch *batch, size_t n)
{
	PromChunkBuilder *b = prom_chunk_begin(PROM_CHUNK_FRESH, 0);
	const Sample *samples = batch->samples;
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
		if (prom_chunk_series(b) > 0 &&
			(sid >> STRIPE_BITS != row.sid_min >> STRIPE_BITS || sid == row.sid_max ||
			 prom_chunk_series(b) == PROM_CHUNK_MAX_SERIES || prom_chunk_bytes(b) > ROW_BYTES ||
			 prom_chunk_bytes(b) + most_bytes > ROW_MAX_BYTES))
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
	execute_insert("INSERT INTO prom.metadata (shard, family, digest, type, help, unit) "
							  "SELECT DISTINCT 0::pg_catalog.int2, f, pg_catalog.md5(t || E'\\n' || h || E'\\n' || u)::pg_catalog.uuid, t, h, u "
							  "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) AS m(f, t, h, u) ORDER BY 2, 3 "
							  "ON CONFLICT DO NOTHING", 4, types_oid, args);
}

/* Duplicates, of this call and of what is there, are left out. */
static void
write_exemplars(Batch *batch)
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
count_outcome(const Outcome *out, size_t bytes)
{
	/* What has a reason of its own is a part of a body; else the body was refused. */
	int64		parts = out->out_of_bounds + out->bad_labels + out->bad_histograms + out->too_much_metadata;

	prom_stat_count(PROM_STAT_INGEST_BODIES, 1);
	prom_stat_count(PROM_STAT_INGEST_BYTES, bytes);
	prom_stat_count(PROM_STAT_INGEST_SAMPLES, out->samples);
	prom_stat_count(PROM_STAT_INGEST_HISTOGRAMS, out->histograms);
	prom_stat_count(PROM_STAT_INGEST_EXEMPLARS, out->exemplars);
	prom_stat_count(PROM_STAT_REFUSED_HISTOGRAMS, out->bad_histograms);
	prom_stat_count(PROM_STAT_REFUSED_TIME, out->out_of_bounds);
	prom_stat_count(PROM_STAT_REFUSED_LABELS, out->bad_labels);
	prom_stat_count(PROM_STAT_REFUSED_METADATA, out->too_much_metadata);
	prom_stat_count(PROM_STAT_REFUSED_BODIES, out->refused - parts);
}

/*
 * decode.c
 *	  Bodies of all formats into the batch of a call.
 *
 * Whatever a body is written in comes here as series of remote write 1.0, so what follows knows no
 * formats.  A body with malformed bytes leaves nothing behind.  In a well-formed body the bad series,
 * samples and data points are refused one by one and the rest is kept.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "ingest/batch.h"

#define HISTOGRAM_BYTES	(256 * 1024 * 1024) /* of one body, unpacked; an empty message is two bytes on the wire */
#define EXEMPLAR_CHARACTERS 128 /* of all labels of an exemplar: what OpenMetrics allows */

/* So many series of a body are read ahead, so that memory is fetched while others are worked on. */
#define READ_AHEAD		16

int			prom_batch_max_samples;
bool		prom_batch_type_and_unit;

/* A walk over remote write, of either version. */
typedef struct Reader
{
	bool		is_2;
	PromWriteWalk walk;
	PromWrite2Walk walk2;
	PromWireBuffer symbols;
	PromWireBuffer slots[READ_AHEAD];	/* series of version 2 as they are in version 1 */
} Reader;

static bool decode_write(PromBatch *batch, bool is_2, const void *message, size_t len, size_t *nsamples,
						 PromIngested *out, PromWireError *err);
static PromWriteItem next_series(PromBatch *batch, Reader *r, int slot, PromWriteSeries *s, int metadata_before,
								 PromIngested *out, PromWireError *err);
static bool take_series2(PromBatch *batch, const PromWrite2Series *s, int metadata_before, PromIngested *out);
static void forget_body(PromBatch *batch, const PromBatch *before, PromIngested *out);
static void add_histograms(PromBatch *batch, const PromWriteSeries *s, int32 sid, PromIngested *out);
static void add_exemplars(PromBatch *batch, const PromWriteSeries *s, int32 sid, PromIngested *out);
static PromSample *add_sample(PromBatch *batch, int32 sid, int64 t_ms, PromIngested *out);
static bool find_series(PromBatch *batch, const PromWriteSeries *s, PromSeriesHash raw, bool of_replica, int32 *sid,
						PromIngested *out);
static PromLabels *read_labels(const PromWriteSeries *s, bool of_replica, char **reason);
static PromLabels *series_labels(const PromWriteSeries *s, bool of_replica, char **reason);

void
prom_batch_decode(PromBatch *batch, PromBodyKind kind, const bytea *body, PromIngested *out)
{
	const PromBatch before = *batch;
	MemoryContext old = MemoryContextSwitchTo(batch->body_cxt);
	PromWireError err = {NULL, 0};
	size_t		nsamples = 0;
	size_t		len;
	char	   *reason = NULL;
	const void *message = prom_body_unpack(kind, body, &len, &reason);
	bool		ok;

	if (message && kind.format == PROM_BODY_OTLP_JSON)
		message = prom_otlp_from_json(message, len, &len, &reason);
	MemoryContextSwitchTo(old);
	if (message)
	{
		ok = kind.format >= PROM_BODY_OTLP ? prom_otlp_decode(batch, message, len, &nsamples, out, &err) :
			decode_write(batch, kind.format == PROM_BODY_WRITE_2, message, len, &nsamples, out, &err);
		if (ok && (prom_batch_max_samples == 0 || nsamples <= (size_t) prom_batch_max_samples))
			return;
		reason = ok ? psprintf("the body has more samples than promgres.max_samples_per_request = %d allows", prom_batch_max_samples) :
			psprintf("protobuf: %s at byte %zu of the uncompressed body", err.reason, err.offset);
		forget_body(batch, &before, out);
	}
	else
		reason = pstrdup(reason);
	out->malformed = true;
	out->error = reason;
}

static bool
decode_write(PromBatch *batch, bool is_2, const void *message, size_t len, size_t *nsamples, PromIngested *out,
			 PromWireError *err)
{
	Reader	   *r = MemoryContextAllocZero(batch->body_cxt, sizeof(Reader));
	PromWriteSeries series[READ_AHEAD];
	PromSeriesHash raw[READ_AHEAD];
	PromHaVerdict verdict[READ_AHEAD];
	PromWriteItem item;
	int			nseries = 0;
	int			metadata_before = batch->nmetadata;

	r->is_2 = is_2;
	if (is_2)
	{
		r->symbols = prom_body_buffer(batch->body_cxt);
		for (int i = 0; i < READ_AHEAD; i++)
			r->slots[i] = prom_body_buffer(batch->body_cxt);
	}
	if (!is_2)
		prom_write_begin(&r->walk, message, len);
	else if (!prom_write2_begin(&r->walk2, message, len, prom_batch_type_and_unit, &r->symbols, err))
		return false;
	do
	{
		CHECK_FOR_INTERRUPTS();
		item = next_series(batch, r, nseries, &series[nseries], metadata_before, out, err);
		if (item == PROM_WRITE_BAD)
			return false;
		if (item == PROM_WRITE_SERIES)
		{
			raw[nseries] = prom_series_raw_hash(series[nseries].labels, series[nseries].labels_len);
			verdict[nseries] = prom_ha_verdict(&series[nseries], &raw[nseries]);
			prom_series_expect(raw[nseries]);
			*nsamples += (size_t) series[nseries].nsamples + series[nseries].nhistograms;
			nseries++;
		}
		if (prom_batch_max_samples > 0 && *nsamples > (size_t) prom_batch_max_samples)
			return true;
		if (nseries == READ_AHEAD || item == PROM_WRITE_END)
		{
			for (int i = 0; i < nseries; i++)
				prom_batch_add_series(batch, &series[i], raw[i], verdict[i], out);
			nseries = 0;
		}
	} while (item != PROM_WRITE_END);
	return true;
}

/* The next series that can be taken, or none but maybe metadata (PROM_WRITE_METADATA). */
static PromWriteItem
next_series(PromBatch *batch, Reader *r, int slot, PromWriteSeries *s, int metadata_before, PromIngested *out,
			PromWireError *err)
{
	PromWriteMetadata metadata;
	PromWrite2Series series;
	PromWriteItem item;

	if (!r->is_2)
	{
		item = prom_write_next(&r->walk, s, &metadata, err);
		if (item == PROM_WRITE_METADATA)
			prom_batch_add_metadata(batch, &metadata, metadata_before, out);
		return item;
	}
	item = prom_write2_next(&r->walk2, &r->slots[slot], &series, err);
	if (item != PROM_WRITE_SERIES)
		return item;
	*s = series.series;
	return take_series2(batch, &series, metadata_before, out) ? PROM_WRITE_SERIES : PROM_WRITE_METADATA;
}

/* What version 2 asks of a series; false, and refused, if it has not got it. */
static bool
take_series2(PromBatch *batch, const PromWrite2Series *s, int metadata_before, PromIngested *out)
{
	StringInfoData text;
	PromLabels *labels;
	char	   *reason;

	if (s->refused)
	{
		out->bad_labels++;
		prom_batch_refuse(out, pstrdup(s->refused));
		return false;
	}
	for (uint32 i = 0; i < s->bad_exemplars; i++)
	{
		out->bad_labels++;
		prom_batch_refuse(out, pstrdup("exemplar whose labels refer to a symbol that is not there, or to a name without a value"));
	}
	if (s->series.nsamples == 0 && s->series.nhistograms == 0)
	{
		labels = series_labels(&s->series, false, &reason);
		initStringInfo(&text);
		appendStringInfoString(&text, labels ? "TimeSeries must contain at least one sample or histogram for series " : reason);
		if (labels)
			prom_labels_print(&text, labels);
		out->bad_labels++;
		prom_batch_refuse(out, text.data);
		return false;
	}
	if (s->has_metadata)
		prom_batch_add_metadata(batch, &s->metadata, metadata_before, out);
	return true;
}

/* Everything of it; only the room it made stays. */
static void
forget_body(PromBatch *batch, const PromBatch *before, PromIngested *out)
{
	batch->n = before->n;
	batch->nwants = before->nwants;
	batch->nexemplars = before->nexemplars;
	prom_batch_forget_metadata(batch, before->nmetadata);
	memset(out, 0, sizeof(*out));
}

void
prom_batch_add_series(PromBatch *batch, const PromWriteSeries *s, PromSeriesHash raw, PromHaVerdict verdict,
					  PromIngested *out)
{
	size_t		pos = 0;
	size_t		more = (size_t) s->nsamples + s->nhistograms;
	int64		t_ms;
	double		value;
	int32		sid;

	if (more == 0 && (s->nexemplars == 0 || batch->t_exemplars == PG_INT64_MAX))
		return;
	if (verdict == PROM_HA_OTHER)
	{
		out->other_samples += s->nsamples;
		out->other_histograms += s->nhistograms;
		out->other_exemplars += s->nexemplars;
		return;
	}
	if (verdict == PROM_HA_REFUSED)
	{
		out->bad_labels++;
		prom_batch_refuse(out, prom_ha_refusal(s));
		return;
	}
	if (!find_series(batch, s, raw, verdict == PROM_HA_ELECTED, &sid, out))
		return;

	if (batch->n + more > batch->size)
	{
		batch->size = Max(batch->size * 2, Max(batch->n + more, 4096));
		batch->samples = batch->samples
			? repalloc_huge(batch->samples, batch->size * sizeof(PromSample))
			: MemoryContextAllocHuge(CurrentMemoryContext, batch->size * sizeof(PromSample));
		if (batch->histograms)
			batch->histograms = repalloc_huge(batch->histograms, batch->size * sizeof(*batch->histograms));
	}
	while (prom_write_sample(s, &pos, &t_ms, &value))
	{
		PromSample	   *sample = add_sample(batch, sid, t_ms, out);

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
static PromSample *
add_sample(PromBatch *batch, int32 sid, int64 t_ms, PromIngested *out)
{
	PromSample	   *sample = &batch->samples[batch->n];

	if (t_ms < batch->t_earliest || t_ms > batch->t_latest)
	{
		out->out_of_bounds++;
		prom_batch_refuse(out, psprintf("out of bounds: timestamp " INT64_FORMAT " ms is %s", t_ms,
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
refuse_histogram(PromIngested *out, const PromWriteSeries *s, const char *reason)
{
	StringInfoData text;
	char	   *no_name;

	initStringInfo(&text);
	if (out->refused == 0)
	{
		appendStringInfo(&text, "%s for series ", reason);
		prom_labels_print(&text, series_labels(s, false, &no_name));
	}
	out->bad_histograms++;
	prom_batch_refuse(out, text.data);
}

static void
add_histograms(PromBatch *batch, const PromWriteSeries *s, int32 sid, PromIngested *out)
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
		PromSample	   *sample;

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
add_exemplars(PromBatch *batch, const PromWriteSeries *s, int32 sid, PromIngested *out)
{
	PromWriteSeries found;
	PromExemplar	e = {.sid = sid};
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
		e.labels = read_labels(&found, false, &reason);
		if (e.labels == NULL)
			continue;
		if (batch->nexemplars == batch->exemplars_size)
		{
			batch->exemplars_size = Max(batch->exemplars_size * 2, 256);
			batch->exemplars = batch->exemplars
				? repalloc_huge(batch->exemplars, sizeof(PromExemplar) * batch->exemplars_size)
				: palloc(sizeof(PromExemplar) * batch->exemplars_size);
		}
		batch->exemplars[batch->nexemplars++] = e;
		out->exemplars++;
	}
}

/* The series' id, or ~index into wants; false (and refused) if its labels are bad. */
static bool
find_series(PromBatch *batch, const PromWriteSeries *s, PromSeriesHash raw, bool of_replica, int32 *sid,
			PromIngested *out)
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
	labels = series_labels(s, of_replica, &reason);
	if (labels == NULL)
	{
		out->bad_labels++;
		prom_batch_refuse(out, reason);
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

/* The label set of a series or exemplar, of a replica's series without the replica label; NULL with a reason. */
static PromLabels *
read_labels(const PromWriteSeries *s, bool of_replica, char **reason)
{
	PromLabel  *pairs = palloc(sizeof(PromLabel) * Max(s->nlabels, 1));
	PromWriteLabel l;
	PromLabels *labels;
	size_t		pos = 0;
	int			n = 0;

	while (prom_write_label(s, &pos, &l))
	{
		if (of_replica && prom_ha_is_replica_label(&l))
			continue;
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
series_labels(const PromWriteSeries *s, bool of_replica, char **reason)
{
	PromLabels *labels = read_labels(s, of_replica, reason);
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

void
prom_batch_refuse(PromIngested *out, char *reason)
{
	if (out->refused++ == 0)
		out->error = reason;
	else
		pfree(reason);
}

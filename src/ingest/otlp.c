/*
 * otlp.c
 *	  Metrics of OpenTelemetry into the batch of a call, and the settings of how they are named.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "ingest/batch.h"

static const struct config_enum_entry strategies[] = {
	{"underscores_with_suffixes", PROM_OTLP_UNDERSCORES_WITH_SUFFIXES, false},
	{"underscores_without_suffixes", PROM_OTLP_UNDERSCORES_WITHOUT_SUFFIXES, false},
	{"utf8_with_suffixes", PROM_OTLP_UTF8_WITH_SUFFIXES, false},
	{"none", PROM_OTLP_NO_TRANSLATION, false},
	{NULL, 0, false}
};

static int	strategy = PROM_OTLP_UNDERSCORES_WITH_SUFFIXES;
static char *promote = NULL;
static bool scope_labels = false;
static bool keep_identifying = false;
static bool custom_buckets = false;

#define LOOKBACK_MS	300000		/* Prometheus' default: queries may look back less, not more */

/* Where the walk puts series. */
typedef struct Sink
{
	PromBatch  *batch;
	PromIngested *out;
	int			metadata_before;
	size_t		nsamples;
	int64		refused;		/* when the last data point ended */
} Sink;

static void take_series(void *arg, const PromWriteSeries *s, uint32 points);
static void take_metadata(void *arg, const PromWriteMetadata *m);
static void refuse_points(void *arg, uint32 points, const char *reason, const char *metric, size_t metric_len);

void
prom_otlp_init(void)
{
	DefineCustomEnumVariable("promgres.otlp_translation",
							 "How OTLP names of metrics and labels become Prometheus' names.",
							 "With suffixes, names end in units and _total.",
							 &strategy, PROM_OTLP_UNDERSCORES_WITH_SUFFIXES, strategies, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("promgres.otlp_promote_resource_attributes",
							   "Resource attributes that become labels of all series of the resource.",
							   "Names with commas between; * is all. The others are labels of target_info.",
							   &promote, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("promgres.otlp_scope_labels",
							 "Makes labels otel_scope_... of name, version and attributes of the instrumentation scope.",
							 NULL, &scope_labels, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("promgres.otlp_keep_identifying_attributes",
							 "Keeps service.name, service.namespace and service.instance.id in target_info.",
							 "They are in job and instance anyway.",
							 &keep_identifying, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("promgres.otlp_custom_buckets",
							 "Stores OTLP histograms as native histograms with custom buckets.",
							 "Off: as classic series _bucket, _sum and _count.",
							 &custom_buckets, false, PGC_USERSET, 0, NULL, NULL, NULL);
}

bool
prom_otlp_decode(PromBatch *batch, const void *message, size_t len, size_t *nsamples, PromIngested *out,
				 PromWireError *err)
{
	PromOtlpOptions options = {
		.strategy = (PromOtlpStrategy) strategy,
		.promote = promote ? promote : "",
		.scope_labels = scope_labels,
		.keep_identifying = keep_identifying,
		.custom_buckets = custom_buckets,
		.type_and_unit = prom_batch_type_and_unit,
		.lookback_ms = LOOKBACK_MS
	};
	Sink		sink = {.batch = batch, .out = out, .metadata_before = batch->nmetadata};
	PromOtlpSink functions = {&sink, take_series, take_metadata, refuse_points};
	PromWireBuffer lent[PROM_OTLP_BUFFERS];
	bool		ok;

	for (int i = 0; i < PROM_OTLP_BUFFERS; i++)
		lent[i] = prom_body_buffer(batch->body_cxt);
	ok = prom_otlp_walk(message, len, &options, &functions, lent, err);
	*nsamples = sink.nsamples;
	return ok;
}

static void
take_series(void *arg, const PromWriteSeries *s, uint32 points)
{
	Sink	   *sink = arg;
	PromSeriesHash raw;
	PromHaVerdict verdict;

	CHECK_FOR_INTERRUPTS();
	sink->nsamples += (size_t) s->nsamples + s->nhistograms;
	/* enough to know that the body is refused */
	if (prom_batch_max_samples > 0 && sink->nsamples > (size_t) prom_batch_max_samples)
		return;
	raw = prom_series_raw_hash(s->labels, s->labels_len);
	verdict = prom_ha_verdict(s, &raw);
	prom_batch_add_series(sink->batch, s, raw, verdict, sink->out);
	/* a data point is refused once, however many of its series are */
	if (points > 0)
	{
		sink->out->refused = Min(sink->out->refused, sink->refused + points);
		sink->refused = sink->out->refused;
	}
}

static void
take_metadata(void *arg, const PromWriteMetadata *m)
{
	Sink	   *sink = arg;

	prom_batch_add_metadata(sink->batch, m, sink->metadata_before, sink->out);
}

static void
refuse_points(void *arg, uint32 points, const char *reason, const char *metric, size_t metric_len)
{
	Sink	   *sink = arg;

	sink->out->bad_points += points;
	prom_batch_refuse(sink->out, psprintf("%s metric \"%s\"", reason, prom_label_shown(metric, (int) Min(metric_len, 200))));
	sink->out->refused += (int64) points - 1;
	sink->refused = sink->out->refused;
}

/*
 * otlp.c
 *	  Walks an ExportMetricsServiceRequest of OpenTelemetry: resources, their scopes, their metrics.
 *
 * What comes out are series as remote write 1.0 has them, named and labelled as Prometheus does with
 * OTLP; who stores them sees no difference.  A metric whose data points cannot be taken is refused by
 * itself; bytes that are no protobuf end the walk.
 *
 * Attributes of a resource become job and instance and, once per resource, a series target_info.
 */
#include "c.h"

#include "wire/error.h"
#include "wire/otlp.h"

/* ExportMetricsServiceRequest */
#define FIELD_RESOURCE_METRICS 1

/* ResourceMetrics */
#define FIELD_RESOURCE		1
#define FIELD_SCOPE_METRICS 2

/* ScopeMetrics */
#define FIELD_SCOPE			1
#define FIELD_METRIC		2
#define FIELD_SCHEMA_URL	3

/* InstrumentationScope */
#define FIELD_SCOPE_NAME	1
#define FIELD_SCOPE_VERSION 2
#define FIELD_SCOPE_ATTRIBUTES 3

/* Metric */
#define FIELD_NAME			1
#define FIELD_DESCRIPTION	2
#define FIELD_UNIT			3
#define FIELD_GAUGE			5
#define FIELD_SUM			7
#define FIELD_HISTOGRAM		9
#define FIELD_EXPONENTIAL	10
#define FIELD_SUMMARY		11

/* Gauge, Sum, Histogram, ExponentialHistogram, Summary */
#define FIELD_DATA_POINT	1
#define FIELD_TEMPORALITY	2
#define FIELD_IS_MONOTONIC	3

#define CUMULATIVE			2

/* Types of metadata */
#define TYPE_COUNTER		1
#define TYPE_GAUGE			2
#define TYPE_HISTOGRAM		3
#define TYPE_SUMMARY		5

static bool walk_resource(Otlp *o, PromBytes message);
static bool walk_scope(Otlp *o, PromBytes message);
static bool read_scope(Otlp *o, PromBytes message);
static bool walk_metric(Otlp *o, PromBytes message);
static bool walk_data(Otlp *o, const Field *data, OtlpKind kind);

bool
prom_otlp_walk(const void *message, size_t len, const PromOtlpOptions *options, const PromOtlpSink *sink,
			   PromWireBuffer lent[PROM_OTLP_BUFFERS], PromWireError *err)
{
	Otlp		o;
	PromBytes	b = prom_bytes(message, len);
	Field		f;

	/* not the labels: they are many, and counted */
	o.options = options;
	o.sink = sink;
	o.start = message;
	o.err = err;
	o.promoted.text = &lent[0];
	o.info.text = &lent[1];
	o.scope.text = &lent[2];
	o.point.text = &lent[3];
	o.identity = &lent[4];
	o.names = &lent[5];
	o.counts = &lent[6];
	o.bounds = &lent[7];
	o.exemplar.text = &lent[8];
	o.out = &lent[9];
	while (b.at < b.end)
	{
		if (!prom_otlp_next(&o, &b, &f))
			return false;
		if (f.number != FIELD_RESOURCE_METRICS)
			continue;
		if (!prom_otlp_expect(&o, &f, WIRE_BYTES) || !walk_resource(&o, prom_bytes(f.bytes, f.len)))
			return false;
	}
	for (int i = 0; i < PROM_OTLP_BUFFERS; i++)
	{
		if (lent[i].full)
			return prom_otlp_bad(&o, message, "labels take too much memory");
	}
	return true;
}

bool
prom_otlp_bad(Otlp *o, const uint8 *at, const char *reason)
{
	return wire_fail(o->err, reason, at - o->start);
}

bool
prom_otlp_next(Otlp *o, PromBytes *b, Field *f)
{
	const char *reason;

	return next_field(b, f, &reason) || prom_otlp_bad(o, f->start, reason);
}

bool
prom_otlp_expect(Otlp *o, const Field *f, WireType type)
{
	return f->type == type || prom_otlp_bad(o, f->start, "wrong wire type of a field");
}

static bool
walk_resource(Otlp *o, PromBytes message)
{
	PromBytes	b = message;
	PromBytes	resource = prom_bytes(message.at, 0);
	Field		f;

	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number != FIELD_RESOURCE)
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_BYTES))
			return false;
		resource = prom_bytes(f.bytes, f.len);
	}
	prom_otlp_level_reset(&o->promoted);
	if (!prom_otlp_identity(o, resource) ||
		!prom_otlp_attributes(o, resource, 1, "", OTLP_PROMOTED, &o->promoted))
		return false;
	prom_otlp_level_finish(&o->promoted);
	prom_otlp_level_reset(&o->info);
	if (!prom_otlp_attributes(o, resource, 1, "", OTLP_INFO, &o->info))
		return false;
	prom_otlp_level_finish(&o->info);

	o->earliest_ms = PG_INT64_MAX;
	o->latest_ms = PG_INT64_MIN;
	b = message;
	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number != FIELD_SCOPE_METRICS)
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_BYTES) || !walk_scope(o, prom_bytes(f.bytes, f.len)))
			return false;
	}
	if (o->latest_ms >= o->earliest_ms)
		prom_otlp_target_info(o);
	return true;
}

static bool
walk_scope(Otlp *o, PromBytes message)
{
	PromBytes	b = message;
	Field		f;

	if (!read_scope(o, message))
		return false;
	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number != FIELD_METRIC)
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_BYTES) || !walk_metric(o, prom_bytes(f.bytes, f.len)))
			return false;
	}
	return true;
}

/* Labels of the scope, if they are wanted. */
static bool
read_scope(Otlp *o, PromBytes b)
{
	OtlpLevel  *level = &o->scope;
	Field		scope = {.number = 0};
	Field		name = {.number = 0};
	Field		version = {.number = 0};
	Field		url = {.number = 0};
	Field		f;

	prom_otlp_level_reset(level);
	if (!o->options->scope_labels)
		return true;
	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number != FIELD_SCOPE && f.number != FIELD_SCHEMA_URL)
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_BYTES))
			return false;
		*(f.number == FIELD_SCOPE ? &scope : &url) = f;
	}
	b = prom_bytes(scope.bytes, scope.len);
	if (!prom_otlp_attributes(o, b, FIELD_SCOPE_ATTRIBUTES, "otel_scope_", OTLP_ALL, level))
		return false;
	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number != FIELD_SCOPE_NAME && f.number != FIELD_SCOPE_VERSION)
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_BYTES))
			return false;
		*(f.number == FIELD_SCOPE_NAME ? &name : &version) = f;
	}
	prom_otlp_level_finish(level);
	prom_otlp_set(level, "otel_scope_name", (const char *) name.bytes, name.len);
	prom_otlp_set(level, "otel_scope_version", (const char *) version.bytes, version.len);
	prom_otlp_set(level, "otel_scope_schema_url", (const char *) url.bytes, url.len);
	return true;
}

static bool
kind_of(uint32 number, OtlpKind *kind)
{
	switch (number)
	{
		case FIELD_GAUGE:
			*kind = OTLP_GAUGE;
			return true;
		case FIELD_SUM:
			*kind = OTLP_SUM;
			return true;
		case FIELD_HISTOGRAM:
			*kind = OTLP_HISTOGRAM;
			return true;
		case FIELD_EXPONENTIAL:
			*kind = OTLP_EXPONENTIAL;
			return true;
		case FIELD_SUMMARY:
			*kind = OTLP_SUMMARY;
			return true;
	}
	return false;
}

static bool
walk_metric(Otlp *o, PromBytes message)
{
	OtlpMetric *m = &o->metric;
	PromBytes	b = message;
	OtlpKind	kind;
	Field		f;

	memset(m, 0, sizeof(*m));
	m->name = m->help = m->unit = "";
	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number < FIELD_NAME || f.number > FIELD_UNIT)
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_BYTES))
			return false;
		if (f.number == FIELD_NAME)
		{
			m->name = (const char *) f.bytes;
			m->name_len = f.len;
		}
		else if (f.number == FIELD_DESCRIPTION)
		{
			m->help = (const char *) f.bytes;
			m->help_len = f.len;
		}
		else
		{
			m->unit = (const char *) f.bytes;
			m->unit_len = f.len;
		}
	}
	b = message;
	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (!kind_of(f.number, &kind))
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_BYTES) || !walk_data(o, &f, kind))
			return false;
	}
	return true;
}

/* The data of a metric: what holds for all its points, and how many there are. */
static bool
read_data(Otlp *o, PromBytes b, OtlpKind kind, uint32 *npoints, uint64 *temporality, bool *monotonic)
{
	bool		is_gauge = kind == OTLP_GAUGE || kind == OTLP_SUMMARY;
	Field		f;

	*npoints = 0;
	*temporality = is_gauge ? CUMULATIVE : 0;
	*monotonic = false;
	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number == FIELD_DATA_POINT)
		{
			if (!prom_otlp_expect(o, &f, WIRE_BYTES))
				return false;
			(*npoints)++;
		}
		else if (is_gauge)
			continue;
		else if (f.number == FIELD_TEMPORALITY || (f.number == FIELD_IS_MONOTONIC && kind == OTLP_SUM))
		{
			if (!prom_otlp_expect(o, &f, WIRE_VARINT))
				return false;
			if (f.number == FIELD_TEMPORALITY)
				*temporality = f.varint;
			else
				*monotonic = f.varint != 0;
		}
	}
	return true;
}

static bool
walk_data(Otlp *o, const Field *data, OtlpKind kind)
{
	OtlpMetric *m = &o->metric;
	PromBytes	b = prom_bytes(data->bytes, data->len);
	PromWriteMetadata metadata;
	uint64		temporality;
	uint32		npoints;
	bool		monotonic;
	const char *reason = NULL;
	Field		f;

	if (!read_data(o, b, kind, &npoints, &temporality, &monotonic))
		return false;
	if (npoints == 0)
		return true;
	m->type = kind == OTLP_SUMMARY ? TYPE_SUMMARY : kind == OTLP_HISTOGRAM || kind == OTLP_EXPONENTIAL ? TYPE_HISTOGRAM :
		monotonic ? TYPE_COUNTER : TYPE_GAUGE;
	prom_otlp_name(o, kind == OTLP_GAUGE);
	if (o->names->full)
		return prom_otlp_bad(o, data->start, "name takes too much memory");
	if (temporality != CUMULATIVE)
		reason = "invalid temporality and type combination, only cumulative data is taken,";
	else if (m->family_len == 0)
		reason = "invalid or empty name";
	if (reason)
	{
		o->sink->refuse(o->sink->arg, npoints, reason, m->name, m->name_len);
		return true;
	}

	metadata.type = m->type;
	metadata.family = (const char *) o->names->data + m->family_at;
	metadata.family_len = m->family_len;
	metadata.help = m->help;
	metadata.help_len = m->help_len;
	metadata.unit = (const char *) o->names->data + m->unit_at;
	metadata.unit_len = m->unit_words_len;
	o->sink->metadata(o->sink->arg, &metadata);
	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number == FIELD_DATA_POINT && !prom_otlp_point(o, &f, kind))
			return false;
	}
	return true;
}

/*
 * otlp_point.c
 *	  Data points of OpenTelemetry become series of remote write 1.0, with one sample each.
 *
 * A histogram is as many series as it has buckets, and _count and _sum; or, if that is wanted, one
 * native histogram with custom buckets.  An exponential histogram is a native one of the same scale:
 * OpenTelemetry's bucket i ends at base^(i+1), Prometheus' at base^i, so numbers are shifted by one.
 * A point without a recorded value is a staleness marker.
 */
#include "c.h"

#include <math.h>

#include "wire/otlp.h"

#define NO_RECORDED_VALUE	1	/* bit of flags */
#define DEFAULT_ZERO_THRESHOLD 1e-128
#define MIN_SCALE			(-4)
#define MAX_SCALE			52	/* finer ones cannot be told apart by a double */
#define CUSTOM_BUCKETS		(-53)
#define LONGEST_GAP			2	/* of empty buckets, within a span */
#define TARGET_INFO_SAMPLES 300 /* of one resource in one message, at most */

/* Numbers of the fields of a data point, by kind; 0: it has none such. */
typedef struct PointFields
{
	uint8		attributes;
	uint8		time;
	uint8		flags;
	uint8		exemplars;
	uint8		as_double;
	uint8		as_int;
	uint8		count;
	uint8		sum;
	uint8		counts;			/* of buckets */
	uint8		bounds;
	uint8		scale;
	uint8		zero_count;
	uint8		positive;
	uint8		negative;
	uint8		zero_threshold;
	uint8		quantiles;
} PointFields;

static const PointFields point_fields[] = {
	[OTLP_GAUGE] = {.attributes = 7, .time = 3, .flags = 8, .exemplars = 5, .as_double = 4, .as_int = 6},
	[OTLP_SUM] = {.attributes = 7, .time = 3, .flags = 8, .exemplars = 5, .as_double = 4, .as_int = 6},
	[OTLP_HISTOGRAM] = {.attributes = 9, .time = 3, .flags = 10, .exemplars = 8, .count = 4, .sum = 5, .counts = 6, .bounds = 7},
	[OTLP_EXPONENTIAL] = {.attributes = 1, .time = 3, .flags = 10, .exemplars = 11, .count = 4, .sum = 5, .scale = 6,
	.zero_count = 7, .positive = 8, .negative = 9, .zero_threshold = 14},
	[OTLP_SUMMARY] = {.attributes = 7, .time = 3, .flags = 8, .count = 4, .sum = 5, .quantiles = 6}
};

/* Buckets of an exponential histogram */
#define FIELD_OFFSET		1
#define FIELD_BUCKET_COUNTS	2

/* A value at a quantile */
#define FIELD_QUANTILE		1
#define FIELD_VALUE			2

/* A data point as it was read; what it does not have is 0. */
typedef struct Point
{
	OtlpKind	kind;
	PromBytes	message;
	int64		t_ms;
	bool		stale;
	double		value;
	uint64		count;
	double		sum;
	bool		has_sum;
	int64		scale;
	uint64		zero_count;
	double		zero_threshold;
	PromBytes	sides[2];		/* positive, negative */
	int			nexemplars;
	OtlpExemplar exemplars[OTLP_MAX_EXEMPLARS];
} Point;

static bool read_point(Otlp *o, const Field *message, OtlpKind kind, Point *p);
static bool read_labels(Otlp *o, const Point *p);
static bool number_point(Otlp *o, const Point *p);
static bool histogram_point(Otlp *o, const Point *p);
static bool custom_histogram(Otlp *o, const Point *p, size_t nbounds);
static bool exponential_point(Otlp *o, const Point *p);
static bool summary_point(Otlp *o, const Point *p);
static bool put_side(Otlp *o, PromBytes buckets, uint32 spans_field, const char **refused);
static void put_buckets(Otlp *o, const PromWireBuffer *counts, int64 first, uint32 spans_field);
static bool put_exemplars(Otlp *o, const Point *p, double above, double up_to);
static void begin_series(Otlp *o, const char *suffix, const char *label, const char *value, size_t value_len);
static void put_sample(Otlp *o, int64 t_ms, double value, bool stale);
static void end_series(Otlp *o, uint32 points);

/* Of a buffer that is large enough for any number. */
static bool
stay(PromWireBuffer *b, size_t more)
{
	return false;
}

static void
refuse_point(Otlp *o, const char *reason)
{
	o->sink->refuse(o->sink->arg, 1, reason, o->metric.name, o->metric.name_len);
}

bool
prom_otlp_point(Otlp *o, const Field *message, OtlpKind kind)
{
	Point		p;

	if (!read_point(o, message, kind, &p) || !read_labels(o, &p))
		return false;
	if (o->point.text->full)
		return prom_otlp_bad(o, message->start, "labels take too much memory");
	if (o->point.too_many)
	{
		refuse_point(o, "too many attributes");
		return true;
	}
	o->earliest_ms = Min(o->earliest_ms, p.t_ms);
	o->latest_ms = Max(o->latest_ms, p.t_ms);
	switch (kind)
	{
		case OTLP_GAUGE:
		case OTLP_SUM:
			return number_point(o, &p);
		case OTLP_HISTOGRAM:
			return histogram_point(o, &p);
		case OTLP_EXPONENTIAL:
			return exponential_point(o, &p);
		case OTLP_SUMMARY:
			return summary_point(o, &p);
	}
	return true;
}

static bool
read_point(Otlp *o, const Field *message, OtlpKind kind, Point *p)
{
	const PointFields *n = &point_fields[kind];
	PromBytes	b = prom_bytes(message->bytes, message->len);
	bool		bad = false;
	Field		f;

	memset(p, 0, offsetof(Point, exemplars));
	p->kind = kind;
	p->message = b;
	while (b.at < b.end && !bad)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (otlp_is_field(o, &f, n->time, WIRE_64BIT, &bad))
			p->t_ms = otlp_ms(&f);
		else if (otlp_is_field(o, &f, n->flags, WIRE_VARINT, &bad))
			p->stale = (f.varint & NO_RECORDED_VALUE) != 0;
		else if (otlp_is_field(o, &f, n->as_double, WIRE_64BIT, &bad))
			p->value = otlp_double(&f);
		else if (otlp_is_field(o, &f, n->as_int, WIRE_64BIT, &bad))
			p->value = (double) (int64) prom_get_u64le(f.bytes);
		else if (otlp_is_field(o, &f, n->count, WIRE_64BIT, &bad))
			p->count = prom_get_u64le(f.bytes);
		else if (otlp_is_field(o, &f, n->sum, WIRE_64BIT, &bad))
		{
			p->sum = otlp_double(&f);
			p->has_sum = true;
		}
		else if (otlp_is_field(o, &f, n->scale, WIRE_VARINT, &bad))
			p->scale = prom_zigzag_decode(f.varint);
		else if (otlp_is_field(o, &f, n->zero_count, WIRE_64BIT, &bad))
			p->zero_count = prom_get_u64le(f.bytes);
		else if (otlp_is_field(o, &f, n->zero_threshold, WIRE_64BIT, &bad))
			p->zero_threshold = otlp_double(&f);
		else if (otlp_is_field(o, &f, n->positive, WIRE_BYTES, &bad))
			p->sides[0] = prom_bytes(f.bytes, f.len);
		else if (otlp_is_field(o, &f, n->negative, WIRE_BYTES, &bad))
			p->sides[1] = prom_bytes(f.bytes, f.len);
		else if (otlp_is_field(o, &f, n->exemplars, WIRE_BYTES, &bad))
		{
			OtlpExemplar e;

			if (!prom_otlp_exemplar(o, &f, &e))
				return false;
			if (p->nexemplars < OTLP_MAX_EXEMPLARS)
				p->exemplars[p->nexemplars++] = e;
		}
	}
	return !bad;
}

/* All labels of the series of a point but name and bucket, sorted. */
static bool
read_labels(Otlp *o, const Point *p)
{
	OtlpLevel  *level = &o->point;

	prom_otlp_level_reset(level);
	if (!prom_otlp_attributes(o, p->message, point_fields[p->kind].attributes, "", OTLP_ALL, level))
		return false;
	prom_otlp_level_finish(level);
	prom_otlp_add_level(level, &o->scope);
	prom_otlp_add_level(level, &o->promoted);
	if (o->job)
		prom_otlp_set(level, "job", o->job, o->job_len);
	if (o->instance)
		prom_otlp_set(level, "instance", o->instance, o->instance_len);
	if (o->options->type_and_unit)
	{
		const char *type = prom_write_type_name(o->metric.type);

		prom_otlp_set(level, "__type__", type, strlen(type));
		prom_otlp_set(level, "__unit__", (const char *) o->names->data + o->metric.unit_at, o->metric.unit_words_len);
	}
	return true;
}

static bool
number_point(Otlp *o, const Point *p)
{
	begin_series(o, "", NULL, NULL, 0);
	put_sample(o, p->t_ms, p->value, p->stale);
	if (!put_exemplars(o, p, -INFINITY, INFINITY))
		return false;
	end_series(o, 1);
	return true;
}

/* The numbers of a repeated field, packed or not, eight bytes each, into a buffer. */
static bool
gather(Otlp *o, PromBytes b, uint32 number, WireType type, PromWireBuffer *out)
{
	Field		f;

	out->len = 0;
	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number != number)
			continue;
		if (f.type == type && type == WIRE_VARINT)
			put_fixed64(out, f.varint);
		else if (f.type == type)
			put_bytes(out, f.bytes, 8);
		else if (!prom_otlp_expect(o, &f, WIRE_BYTES))
			return false;
		else if (type == WIRE_64BIT && f.len % 8 == 0)
			put_bytes(out, f.bytes, f.len);
		else if (type == WIRE_64BIT)
			return prom_otlp_bad(o, f.start, "packed numbers are cut off");
		else
		{
			PromBytes	run = prom_bytes(f.bytes, f.len);

			while (run.at < run.end && !run.bad)
			{
				uint64		v = prom_bytes_varint(&run);

				if (!run.bad)
					put_fixed64(out, v);
			}
			if (run.bad)
				return prom_otlp_bad(o, f.start, "truncated or overlong varint");
		}
	}
	return !out->full || prom_otlp_bad(o, b.end, "histogram takes too much memory");
}

static double
double_at(const PromWireBuffer *b, size_t i)
{
	return prom_bits_double(prom_get_u64le(b->data + i * 8));
}

static bool
histogram_point(Otlp *o, const Point *p)
{
	const PointFields *n = &point_fields[OTLP_HISTOGRAM];
	size_t		nbounds;
	size_t		ncounts;
	uint64		count = 0;
	double		below = -INFINITY;

	if (!gather(o, p->message, n->counts, WIRE_64BIT, o->counts) ||
		!gather(o, p->message, n->bounds, WIRE_64BIT, o->bounds))
		return false;
	nbounds = o->bounds->len / 8;
	ncounts = o->counts->len / 8;
	if (ncounts == 0 && !p->stale)
		nbounds = 0;
	else if (ncounts != nbounds + 1 && !p->stale)
	{
		refuse_point(o, "histogram with a number of buckets that does not fit its bounds,");
		return true;
	}
	for (size_t i = 1; i < nbounds; i++)
	{
		if (!(double_at(o->bounds, i - 1) < double_at(o->bounds, i)))
		{
			refuse_point(o, "histogram with bounds that do not rise,");
			return true;
		}
	}
	if (o->options->custom_buckets)
		return custom_histogram(o, p, nbounds);

	for (size_t i = 0; i < nbounds; i++)
	{
		double		bound = double_at(o->bounds, i);
		uint8		le[400];
		PromWireBuffer text = {.data = le, .size = sizeof(le), .grow = stay};

		prom_otlp_put_double(&text, bound, true);
		if (!p->stale)
			count += prom_get_u64le(o->counts->data + i * 8);
		begin_series(o, "_bucket", "le", (const char *) le, text.len);
		put_sample(o, p->t_ms, (double) count, p->stale);
		if (!put_exemplars(o, p, below, bound))
			return false;
		end_series(o, 0);
		below = bound;
	}
	begin_series(o, "_bucket", "le", "+Inf", 4);
	put_sample(o, p->t_ms, (double) p->count, p->stale);
	if (!put_exemplars(o, p, below, INFINITY))
		return false;
	end_series(o, 0);
	if (p->has_sum)
	{
		begin_series(o, "_sum", NULL, NULL, 0);
		put_sample(o, p->t_ms, p->sum, p->stale);
		end_series(o, 0);
	}
	begin_series(o, "_count", NULL, NULL, 0);
	put_sample(o, p->t_ms, (double) p->count, p->stale);
	end_series(o, 1);
	return true;
}

/* Field numbers of a Histogram of remote write */
#define V1_COUNT_INT		1
#define V1_SUM				3
#define V1_SCHEMA			4
#define V1_ZERO_THRESHOLD	5
#define V1_ZERO_COUNT_INT	6
#define V1_NEGATIVE_SPANS	8	/* deltas follow */
#define V1_POSITIVE_SPANS	11
#define V1_TIMESTAMP		15
#define V1_CUSTOM_VALUES	16

/* Begins the Histogram message of a series; a stale one has no more than its sum. */
static size_t
begin_histogram(Otlp *o, const Point *p, int64 schema)
{
	size_t		start;

	begin_series(o, "", NULL, NULL, 0);
	start = put_open(o->out, V1_HISTOGRAM);
	put_number(o->out, V1_COUNT_INT, p->stale ? 0 : p->count);
	put_double(o->out, V1_SUM, p->stale ? prom_bits_double(PROM_STALE_BITS) : p->sum);
	put_number(o->out, V1_SCHEMA, prom_zigzag_encode(schema));
	put_number(o->out, V1_TIMESTAMP, (uint64) p->t_ms);
	return start;
}

static bool
custom_histogram(Otlp *o, const Point *p, size_t nbounds)
{
	size_t		start = begin_histogram(o, p, CUSTOM_BUCKETS);

	put_tag(o->out, V1_CUSTOM_VALUES, WIRE_BYTES);
	put_varint(o->out, nbounds * 8);
	put_bytes(o->out, o->bounds->data, nbounds * 8);
	if (!p->stale)
		put_buckets(o, o->counts, 0, V1_POSITIVE_SPANS);
	put_close(o->out, start);
	if (!put_exemplars(o, p, -INFINITY, INFINITY))
		return false;
	end_series(o, 1);
	return true;
}

static bool
exponential_point(Otlp *o, const Point *p)
{
	const char *refused = NULL;
	int64		scale = p->stale ? 0 : p->scale;
	size_t		start;

	if (scale < MIN_SCALE || scale > MAX_SCALE)
	{
		refuse_point(o, scale < MIN_SCALE ? "exponential histogram with a scale below -4," :
					 "exponential histogram with a scale above 52,");
		return true;
	}
	start = begin_histogram(o, p, scale);
	put_double(o->out, V1_ZERO_THRESHOLD, p->zero_threshold == 0 ? DEFAULT_ZERO_THRESHOLD : p->zero_threshold);
	put_number(o->out, V1_ZERO_COUNT_INT, p->stale ? 0 : p->zero_count);
	if (!p->stale && (!put_side(o, p->sides[1], V1_NEGATIVE_SPANS, &refused) ||
					  !put_side(o, p->sides[0], V1_POSITIVE_SPANS, &refused)))
		return false;
	if (refused)
	{
		refuse_point(o, refused);
		return true;
	}
	put_close(o->out, start);
	if (!put_exemplars(o, p, -INFINITY, INFINITY))
		return false;
	end_series(o, 1);
	return true;
}

static bool
put_side(Otlp *o, PromBytes buckets, uint32 spans_field, const char **refused)
{
	PromBytes	b = buckets;
	int64		offset = 0;
	Field		f;

	while (b.at < b.end)
	{
		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number != FIELD_OFFSET)
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_VARINT))
			return false;
		offset = prom_zigzag_decode(f.varint);
	}
	if (!gather(o, buckets, FIELD_BUCKET_COUNTS, WIRE_VARINT, o->counts))
		return false;
	if (offset < PG_INT32_MIN || offset + (int64) (o->counts->len / 8) >= PG_INT32_MAX)
		*refused = "exponential histogram with buckets out of range,";
	else
		put_buckets(o, o->counts, offset + 1, spans_field);
	return true;
}

/*
 * Spans and deltas of gathered counts, the first of which is bucket number "first".  Long runs of empty
 * buckets are left out, as are those at both ends.
 */
static void
put_buckets(Otlp *o, const PromWireBuffer *counts, int64 first, uint32 spans_field)
{
	size_t		n = counts->len / 8;
	size_t		end = 0;		/* of the span before */
	uint64		before = 0;
	size_t		deltas;

	for (size_t i = 0; i < n;)
	{
		size_t		last;
		size_t		span;

		if (prom_get_u64le(counts->data + i * 8) == 0)
		{
			i++;
			continue;
		}
		last = i;
		for (size_t k = i + 1; k < n && k - last <= LONGEST_GAP + 1; k++)
		{
			if (prom_get_u64le(counts->data + k * 8) != 0)
				last = k;
		}
		span = put_open(o->out, spans_field);
		put_number(o->out, 1, prom_zigzag_encode(end == 0 ? first + (int64) i : (int64) (i - end)));
		put_number(o->out, 2, last + 1 - i);
		put_close(o->out, span);
		deltas = put_open(o->out, spans_field + 1);
		for (size_t k = i; k <= last; k++)
		{
			uint64		count = prom_get_u64le(counts->data + k * 8);

			put_varint(o->out, prom_zigzag_encode((int64) (count - before)));
			before = count;
		}
		put_close(o->out, deltas);
		i = end = last + 1;
	}
}

static bool
summary_point(Otlp *o, const Point *p)
{
	PromBytes	b = p->message;
	Field		f;

	while (b.at < b.end)
	{
		PromBytes	item;
		double		quantile = 0;
		double		value = 0;
		bool		bad = false;
		uint8		digits[400];
		PromWireBuffer text = {.data = digits, .size = sizeof(digits), .grow = stay};

		if (!prom_otlp_next(o, &b, &f))
			return false;
		if (f.number != point_fields[OTLP_SUMMARY].quantiles)
			continue;
		if (!prom_otlp_expect(o, &f, WIRE_BYTES))
			return false;
		item = prom_bytes(f.bytes, f.len);
		while (item.at < item.end && !bad)
		{
			if (!prom_otlp_next(o, &item, &f))
				return false;
			if (otlp_is_field(o, &f, FIELD_QUANTILE, WIRE_64BIT, &bad))
				quantile = otlp_double(&f);
			else if (otlp_is_field(o, &f, FIELD_VALUE, WIRE_64BIT, &bad))
				value = otlp_double(&f);
		}
		if (bad)
			return false;
		prom_otlp_put_double(&text, quantile, true);
		begin_series(o, "", "quantile", (const char *) digits, text.len);
		put_sample(o, p->t_ms, value, p->stale);
		end_series(o, 0);
	}
	begin_series(o, "_sum", NULL, NULL, 0);
	put_sample(o, p->t_ms, p->sum, p->stale);
	end_series(o, 0);
	begin_series(o, "_count", NULL, NULL, 0);
	put_sample(o, p->t_ms, (double) p->count, p->stale);
	end_series(o, 1);
	return true;
}

/* Those of a bucket: above < value <= up_to.  What is no number goes to the last. */
static bool
put_exemplars(Otlp *o, const Point *p, double above, double up_to)
{
	for (int i = 0; i < p->nexemplars; i++)
	{
		double		v = p->exemplars[i].value;

		if (((v > above || isinf(above)) && v <= up_to) || (isnan(v) && isinf(up_to)))
		{
			if (!prom_otlp_put_exemplar(o, &p->exemplars[i]))
				return false;
		}
	}
	return true;
}

/* Labels of a series: those of the point, its name, and one more that replaces what has its name. */
static void
begin_series(Otlp *o, const char *suffix, const char *label, const char *value, size_t value_len)
{
	const OtlpMetric *m = &o->metric;
	OtlpLevel  *level = &o->point;
	PromWireBuffer *names = o->names;

	/* behind what stands there: it moves nothing that was measured before */
	names->len = m->family_at + m->family_len;
	put_bytes(names, suffix, strlen(suffix));
	o->out->len = 0;
	if (names->full)
		return;
	prom_otlp_set(level, "__name__", (const char *) names->data + m->family_at, names->len - m->family_at);
	if (label)
		prom_otlp_set(level, label, value, value_len);
	prom_otlp_put_labels(o->out, level);
	/* the next series has another, or none; an empty value is an absent label */
	if (label)
		prom_otlp_set(level, label, "", 0);
}

static void
put_sample(Otlp *o, int64 t_ms, double value, bool stale)
{
	size_t		start = put_open(o->out, V1_SAMPLE);

	put_double(o->out, 1, stale ? prom_bits_double(PROM_STALE_BITS) : value);
	put_number(o->out, 2, (uint64) t_ms);
	put_close(o->out, start);
}

/* Hands the series out; "points": so many are complete with it. */
static void
end_series(Otlp *o, uint32 points)
{
	PromWriteSeries s;
	PromWireError err;

	if (o->out->full || !prom_write_series(o->out->data, o->out->len, &s, &err))
		return;
	o->sink->series(o->sink->arg, &s, points);
}

void
prom_otlp_target_info(Otlp *o)
{
	OtlpLevel  *level = &o->info;
	int64		step_ms = Max(o->options->lookback_ms / 2, 1);

	if ((!o->job && !o->instance) || level->n == 0)
		return;
	/* two times that have little to do with each other are not filled in */
	if ((uint64) o->latest_ms - (uint64) o->earliest_ms > (uint64) step_ms * TARGET_INFO_SAMPLES)
		step_ms = PG_INT64_MAX / 2;
	if (o->job)
		prom_otlp_set(level, "job", o->job, o->job_len);
	if (o->instance)
		prom_otlp_set(level, "instance", o->instance, o->instance_len);
	prom_otlp_set(level, "__name__", "target_info", strlen("target_info"));
	if (level->too_many)
	{
		o->sink->refuse(o->sink->arg, 0, "too many attributes", "target_info", strlen("target_info"));
		return;
	}
	o->out->len = 0;
	prom_otlp_put_labels(o->out, level);
	for (int64 t_ms = o->earliest_ms; t_ms < o->latest_ms - step_ms / 2; t_ms += step_ms)
		put_sample(o, t_ms, 1, false);
	put_sample(o, o->latest_ms, 1, false);
	end_series(o, 0);
}

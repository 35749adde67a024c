/*
 * otlp.h
 *	  What the files of the OpenTelemetry decoder share.  Private to this room.
 *
 * Labels are collected level by level: resource, scope, data point.  Each level has a buffer of its
 * own for texts that do not stand in the message, and its labels are sorted by name, each name once.
 */
#ifndef PROM_OTLP_H
#define PROM_OTLP_H

#include "wire/put.h"

#define OTLP_MAX_LABELS		256 /* of one level */
#define OTLP_MAX_EXEMPLARS	64	/* of one data point; further ones are passed over */
#define OTLP_MAX_DEPTH		16	/* of values in values */

typedef struct OtlpLabel
{
	const char *name;
	size_t		name_len;
	const char *value;
	size_t		value_len;
	uint32		order;			/* as they came */
	/* while text is still written: where it begins, if the pointer is NULL */
	size_t		name_at;
	size_t		name_text_len;
	size_t		value_at;
} OtlpLabel;

typedef struct OtlpLevel
{
	PromWireBuffer *text;
	int			n;
	bool		too_many;
	OtlpLabel	labels[OTLP_MAX_LABELS];
} OtlpLevel;

typedef struct OtlpMetric
{
	const char *name;			/* as it was sent */
	size_t		name_len;
	const char *help;
	size_t		help_len;
	const char *unit;
	size_t		unit_len;
	uint32		type;			/* as in PromWriteMetadata */
	/* in Otlp.names: */
	size_t		family_at;		/* translated name */
	size_t		family_len;
	size_t		unit_at;		/* translated unit */
	size_t		unit_words_len;
} OtlpMetric;

typedef struct Otlp
{
	const PromOtlpOptions *options;
	const PromOtlpSink *sink;
	const uint8 *start;
	PromWireError *err;

	OtlpLevel	promoted;		/* of the resource */
	OtlpLevel	info;			/* of target_info */
	OtlpLevel	scope;
	OtlpLevel	exemplar;
	OtlpLevel	point;			/* all of a series but name, le and quantile */
	const char *job;			/* in text of "identity", NULL: there is none */
	size_t		job_len;
	const char *instance;
	size_t		instance_len;
	PromWireBuffer *identity;
	PromWireBuffer *names;
	PromWireBuffer *counts;		/* uint64 each */
	PromWireBuffer *bounds;		/* bits of a double each */
	PromWireBuffer *out;		/* the series that is written */
	int64		earliest_ms;	/* of the points of the resource */
	int64		latest_ms;
	OtlpMetric	metric;
} Otlp;

/* Which attributes of a resource a level takes. */
typedef enum OtlpFilter
{
	OTLP_ALL, OTLP_PROMOTED, OTLP_INFO
} OtlpFilter;

/* All functions that return bool: false if the message is malformed; o->err says where and why. */
extern bool prom_otlp_bad(Otlp *o, const uint8 *at, const char *reason);
extern bool prom_otlp_next(Otlp *o, PromBytes *b, Field *f);
extern bool prom_otlp_expect(Otlp *o, const Field *f, WireType type);

/* TimeSeries of remote write 1.0 */
#define V1_LABEL			1
#define V1_SAMPLE			2
#define V1_EXEMPLAR			3
#define V1_HISTOGRAM		4

static inline double
otlp_double(const Field *f)
{
	return prom_bits_double(prom_get_u64le(f->bytes));
}

static inline int64
otlp_ms(const Field *f)
{
	return (int64) (prom_get_u64le(f->bytes) / 1000000);
}

/* Is the field of this number, and of the right type?  *bad: it is of a wrong one. */
static inline bool
otlp_is_field(Otlp *o, const Field *f, uint8 number, WireType type, bool *bad)
{
	if (number == 0 || f->number != number)
		return false;
	*bad |= !prom_otlp_expect(o, f, type);
	return !*bad;
}

/* ---- otlp_value.c ---- */

typedef struct OtlpValue
{
	bool		is_text;		/* then text stands in the message */
	const char *text;
	size_t		len;
} OtlpValue;

/* An AnyValue; what is not text is written to a buffer. */
extern bool prom_otlp_value(Otlp *o, const Field *message, PromWireBuffer *text, OtlpValue *value);
extern void prom_otlp_put_double(PromWireBuffer *text, double v, bool plain);

/* ---- otlp_labels.c ---- */

/* Empties a level. */
extern void prom_otlp_level_reset(OtlpLevel *level);

/* The attributes (field "number") of a message, names translated and prefixed. */
extern bool prom_otlp_attributes(Otlp *o, PromBytes message, uint32 number, const char *prefix, OtlpFilter filter,
								 OtlpLevel *level);

/* Sorts; labels of one name become one with all their values.  To be called before what follows. */
extern void prom_otlp_level_finish(OtlpLevel *level);

/* Adds a label in its place; what has its name already stays, or is replaced.  Texts are not copied. */
extern void prom_otlp_add(OtlpLevel *level, const char *name, size_t name_len, const char *value, size_t value_len,
						  bool replace);

/* The same of a constant name, in place of what has it. */
#define prom_otlp_set(level, name, value, value_len) \
	prom_otlp_add((level), (name), strlen(name), (value), (value_len), true)

extern void prom_otlp_add_level(OtlpLevel *level, const OtlpLevel *more);
extern bool prom_otlp_identity(Otlp *o, PromBytes resource);

extern void prom_otlp_put_labels(PromWireBuffer *out, const OtlpLevel *level);

/* ---- otlp_exemplar.c ---- */

typedef struct OtlpExemplar
{
	double		value;
	PromBytes	message;
} OtlpExemplar;

/* Checks all of an exemplar but its attributes. */
extern bool prom_otlp_exemplar(Otlp *o, const Field *message, OtlpExemplar *e);

/* Writes one in the form of remote write.  Its attributes are left out if with them it is too long. */
extern bool prom_otlp_put_exemplar(Otlp *o, const OtlpExemplar *e);

/* ---- otlp_name.c ---- */

/* Writes metric.family and its unit words into o->names. */
extern void prom_otlp_name(Otlp *o, bool is_gauge);

/* ---- otlp_point.c ---- */

typedef enum OtlpKind
{
	OTLP_GAUGE, OTLP_SUM, OTLP_HISTOGRAM, OTLP_EXPONENTIAL, OTLP_SUMMARY
} OtlpKind;

extern bool prom_otlp_point(Otlp *o, const Field *message, OtlpKind kind);
extern void prom_otlp_target_info(Otlp *o);

#endif							/* PROM_OTLP_H */

/*
 * wire.h
 *	  Bytes from strangers: snappy, the protobufs of remote write and remote read, forms.
 *
 * Plain C: no server header but c.h, no global state, never raises.  Functions return false and fill
 * a PromWireError; offsets count from the start of the (uncompressed) input.
 */
#ifndef PROM_WIRE_H
#define PROM_WIRE_H

#include "c.h"

#include "histogram/histogram.h"

typedef struct PromWireError
{
	const char *reason;			/* static text, "truncated varint" */
	size_t		offset;			/* where, in bytes */
} PromWireError;

/*
 * Memory that the caller lends to what writes.  grow() makes room for at least so many bytes more, and
 * may move the data; or it returns false.  It may also raise: whoever writes owns nothing.
 */
typedef struct PromWireBuffer
{
	uint8	   *data;
	size_t		len;
	size_t		size;
	bool		full;			/* could not grow */
	bool		(*grow) (struct PromWireBuffer *b, size_t more);
} PromWireBuffer;

/* ---- snappy.c ---- */

/* The size that a snappy block claims, false if it is malformed or over "cap". */
extern bool prom_snappy_size(const void *in, size_t len, size_t cap, size_t *out_len, PromWireError *err);
extern bool prom_snappy_decode(const void *in, size_t len, void *out, size_t out_len, PromWireError *err);

/*
 * A block may be made piece by piece: the length of all, as prom_snappy_head writes it, and then each
 * piece of at most PROM_SNAPPY_PIECE bytes compressed by itself.  Both return the bytes they wrote.
 */
#define PROM_SNAPPY_PIECE	65536
#define PROM_SNAPPY_ROOM	(32 + PROM_SNAPPY_PIECE + PROM_SNAPPY_PIECE / 6)
#define PROM_SNAPPY_MAX		UINT64CONST(0xFFFFFFFF)		/* what a block can hold */

extern size_t prom_snappy_head(uint8 out[10], uint64 len);
extern size_t prom_snappy_piece(const void *in, size_t len, uint8 *out);

/* ---- inflate.c ---- */

/* Appends to "out"; false if malformed, if it comes to more than "cap" bytes, or if "out" cannot grow. */
extern bool prom_gzip_decode(const void *in, size_t len, size_t cap, PromWireBuffer *out, PromWireError *err);
extern bool prom_zstd_decode(const void *in, size_t len, size_t cap, PromWireBuffer *out, PromWireError *err);

/* ---- remote_write.c: prometheus.WriteRequest, version 1 ---- */

/*
 * A walk hands out one TimeSeries after the other, then metadata.  A series is checked wholly
 * before it is handed out, so the iterators over its labels and samples cannot fail.
 */
typedef struct PromWriteSeries
{
	const uint8 *message;		/* the TimeSeries message */
	size_t		message_len;
	const uint8 *labels;		/* all label fields, when they stand together (always, from real senders) */
	size_t		labels_len;		/* 0: they do not; read them with the iterator */
	uint32		nlabels;
	uint32		nsamples;
	uint32		nexemplars;
	uint32		nhistograms;
} PromWriteSeries;

typedef struct PromWriteMetadata
{
	uint32		type;			/* 0..7, UNKNOWN COUNTER GAUGE HISTOGRAM GAUGEHISTOGRAM SUMMARY INFO STATESET */
	const char *family;
	size_t		family_len;
	const char *help;
	size_t		help_len;
	const char *unit;
	size_t		unit_len;
} PromWriteMetadata;

typedef struct PromWriteLabel
{
	const char *name;
	size_t		name_len;
	const char *value;
	size_t		value_len;
} PromWriteLabel;

typedef struct PromWriteWalk
{
	const uint8 *start;
	const uint8 *at;
	const uint8 *end;
} PromWriteWalk;

typedef enum PromWriteItem
{
	PROM_WRITE_END,
	PROM_WRITE_SERIES,
	PROM_WRITE_METADATA,
	PROM_WRITE_BAD				/* err is filled */
} PromWriteItem;

extern void prom_write_begin(PromWriteWalk *w, const void *message, size_t len);
extern PromWriteItem prom_write_next(PromWriteWalk *w, PromWriteSeries *s, PromWriteMetadata *m,
									 PromWireError *err);

/* A series by itself: the TimeSeries message. */
extern bool prom_write_series(const void *message, size_t len, PromWriteSeries *s, PromWireError *err);

/* A name of a type of metric as it is told, "counter". */
#define PROM_WRITE_MAX_TYPE 7
extern const char *prom_write_type_name(uint32 type);

/* The name of a series becomes that of the family: without _bucket, _count or _sum, where the type has them. */
extern void prom_write_trim_family(PromWriteMetadata *m);

/* A histogram that was found; read it with prom_write_histogram_read. */
typedef struct PromWriteHistogram
{
	int64		t_ms;
	const char *reason;			/* NULL, or why it cannot be read */
	size_t		size;			/* bytes that reading takes at most */
	/* private to write_histogram.c */
	const uint8 *message;
	size_t		message_len;
	bool		is_int;
	uint32		nbuckets[2];	/* by PromHistogramSide */
	uint32		nspans[2];
	uint32		ncustom;
} PromWriteHistogram;

/* Iterators: start with *pos = 0; false at the end. */
extern bool prom_write_label(const PromWriteSeries *s, size_t *pos, PromWriteLabel *l);
extern bool prom_write_sample(const PromWriteSeries *s, size_t *pos, int64 *t_ms, double *value);
extern bool prom_write_histogram(const PromWriteSeries *s, size_t *pos, PromWriteHistogram *h);

/* The labels of an exemplar are read as those of a series, from e. */
extern bool prom_write_exemplar(const PromWriteSeries *s, size_t *pos, PromWriteSeries *e, int64 *t_ms,
								double *value);

/* ---- write_histogram.c ---- */

/*
 * Into w->size bytes, aligned to 8.  NULL, or a static reason why it is not valid; where the buckets are
 * finer than schema 8 they are merged, so h->size may be less.  Numbers beyond 2^53 make a histogram of
 * floats of one of integers.
 */
extern const char *prom_write_histogram_read(const PromWriteHistogram *w, PromHistogram *h);

/* ---- remote_read.c: prometheus.ReadRequest, and what answers are made of ---- */

/* Values of the enum ResponseType. */
#define PROM_READ_SAMPLES		0
#define PROM_READ_CHUNKS		1

typedef struct PromReadQuery
{
	int64		start_ms;		/* both inclusive */
	int64		end_ms;
	const uint8 *message;		/* the Query message */
	size_t		message_len;
	uint32		nmatchers;
} PromReadQuery;

typedef struct PromReadMatcher
{
	uint32		type;			/* 0..3: = != =~ !~ */
	const char *name;
	size_t		name_len;
	const char *value;
	size_t		value_len;
} PromReadMatcher;

/*
 * What the request as a whole says.  All of it is checked, so the iterators cannot fail.  *response is
 * the first response type that the sender accepts and we have, PROM_READ_SAMPLES if it names none.
 */
extern bool prom_read_check(const void *message, size_t len, uint32 *nqueries, uint32 *response,
							PromWireError *err);

/* Iterators: start with *pos = 0; false at the end. */
extern bool prom_read_query(const void *message, size_t len, size_t *pos, PromReadQuery *q);
extern bool prom_read_matcher(const PromReadQuery *q, size_t *pos, PromReadMatcher *m);

/* Bytes that a field of some kind takes, and the writing of it; "out" has the room. */
extern size_t prom_wire_bytes_size(size_t len);		/* of a field number below 16 */
extern uint8 *prom_wire_put_bytes(uint8 *out, uint32 number, const void *bytes, size_t len);
extern uint8 *prom_wire_put_head(uint8 *out, uint32 number, size_t len);	/* the bytes follow */
extern uint8 *prom_wire_put_number(uint8 *out, uint32 number, uint64 v);
extern uint8 *prom_wire_put_double(uint8 *out, uint32 number, double v);

/* ---- put_histogram.c ---- */

/* Appends a Histogram message as a field. */
extern void prom_wire_put_histogram(PromWireBuffer *out, uint32 number, int64 t_ms, const PromHistogram *h);

/* ---- xor.c: Prometheus' chunk of samples ---- */

#define PROM_XOR_SAMPLES	120 /* what a chunk ideally holds */
/* that many samples fit, whatever they are */
#define PROM_XOR_ROOM		(2 + 10 + 8 + PROM_XOR_SAMPLES * 19)

/*
 * Write 1 <= n <= PROM_XOR_SAMPLES samples, their times strictly ascending, into out, which has
 * PROM_XOR_ROOM bytes; returns how many it took.
 */
extern size_t prom_xor_encode(uint8 *out, int n, const int64 *t_ms, const double *values);

/* ---- histogram_chunk.c: Prometheus' chunks of native histograms ---- */

/* How a chunk is encoded, as blocks and remote read say it. */
typedef enum PromChunkEncoding
{
	PROM_CHUNK_XOR = 1,
	PROM_CHUNK_HISTOGRAM,		/* of integers */
	PROM_CHUNK_FLOAT_HISTOGRAM
} PromChunkEncoding;

/* A chunk that is longer takes no further sample. */
#define PROM_HISTOGRAM_CHUNK_BYTES 65536

/*
 * Appends one chunk (its data alone) with as many of the n >= 1 histograms from the first on as one chunk can
 * have, at most PROM_XOR_SAMPLES of them, and returns how many; their times are strictly ascending.  It ends
 * before a NULL, a reset of the counter, or a histogram of another kind, but not where buckets come.  h[0]
 * must not be NULL; by its hint the chunk says whether the counter was reset before it.  If the buffer cannot
 * grow it is "full".
 */
extern int	prom_histogram_chunk_encode(PromWireBuffer *out, PromHistogramAlloc alloc, int n, const int64 *t_ms,
										const PromHistogram *const *h, PromChunkEncoding *encoding);

/* ---- family.c: io.prometheus.client.MetricFamily ---- */

typedef enum PromFamilyType
{
	PROM_FAMILY_UNTYPED = 3,
	PROM_FAMILY_HISTOGRAM,
	PROM_FAMILY_GAUGE_HISTOGRAM
} PromFamilyType;

/* Appends a family; what lies between is its metrics.  The end takes what the begin gave. */
extern size_t prom_family_begin(PromWireBuffer *out, PromFamilyType type, const char *name, size_t len);
extern void prom_family_end(PromWireBuffer *out, size_t start);

/* A sample: of the histogram, as a classic one if it has custom bounds, or of the value if that is NULL. */
extern void prom_family_metric(PromWireBuffer *out, const PromWriteLabel *labels, int nlabels, int64 t_ms,
							   double value, const PromHistogram *h);

/* ---- remote_write2.c: io.prometheus.write.v2.Request ---- */

typedef struct PromWrite2Walk
{
	const uint8 *start;
	const uint8 *at;
	const uint8 *end;
	const uint8 *symbols;		/* uint32 each: where its field begins */
	uint32		nsymbols;
	bool		type_and_unit;	/* labels __type__ and __unit__ are made of the metadata */
} PromWrite2Walk;

/* A series as one of version 1, in the buffer that was lent for it. */
typedef struct PromWrite2Series
{
	PromWriteSeries series;
	const char *refused;		/* NULL, or why it cannot be taken */
	uint32		bad_exemplars;	/* left out */
	bool		has_metadata;
	PromWriteMetadata metadata; /* points into the message */
} PromWrite2Series;

/* Takes the framing of the whole message apart; the table of symbols goes to a buffer, to be kept. */
extern bool prom_write2_begin(PromWrite2Walk *w, const void *message, size_t len, bool type_and_unit,
							  PromWireBuffer *symbols, PromWireError *err);

/* Overwrites "out".  There is no item but PROM_WRITE_SERIES. */
extern PromWriteItem prom_write2_next(PromWrite2Walk *w, PromWireBuffer *out, PromWrite2Series *s,
									  PromWireError *err);

/* ---- otlp.c: ExportMetricsServiceRequest of OpenTelemetry ---- */

typedef enum PromOtlpStrategy
{
	PROM_OTLP_UNDERSCORES_WITH_SUFFIXES,
	PROM_OTLP_UNDERSCORES_WITHOUT_SUFFIXES,
	PROM_OTLP_UTF8_WITH_SUFFIXES,
	PROM_OTLP_NO_TRANSLATION
} PromOtlpStrategy;

typedef struct PromOtlpOptions
{
	PromOtlpStrategy strategy;
	const char *promote;		/* resource attributes that become labels: names with commas between, "*" for all */
	bool		scope_labels;	/* otel_scope_... */
	bool		keep_identifying;	/* service.name and such in target_info, too */
	bool		custom_buckets; /* histograms become native ones with custom buckets */
	bool		type_and_unit;	/* labels __type__ and __unit__ */
	int64		lookback_ms;	/* target_info comes at least twice as often */
} PromOtlpOptions;

/* Where its series go, one by one; each, and what it points to, is gone after the call. */
typedef struct PromOtlpSink
{
	void	   *arg;
	void		(*series) (void *arg, const PromWriteSeries *s, uint32 points);
	void		(*metadata) (void *arg, const PromWriteMetadata *m);
	/* so many data points of a metric cannot be taken */
	void		(*refuse) (void *arg, uint32 points, const char *reason, const char *metric, size_t metric_len);
} PromOtlpSink;

#define PROM_OTLP_BUFFERS 10

/* Walks all of a message.  False if it is malformed: what came out of it is to be forgotten then. */
extern bool prom_otlp_walk(const void *message, size_t len, const PromOtlpOptions *options, const PromOtlpSink *sink,
						   PromWireBuffer lent[PROM_OTLP_BUFFERS], PromWireError *err);

/* ---- form.c ---- */

/*
 * One "name=value" of a query string or urlencoded body, percent-decoded in place (buf is written,
 * up to and including buf[len], where the last value's zero byte may stand).
 * Start with *pos = 0; 1: a pair, 0: end, -1: malformed escape or a zero byte (err is filled).
 */
extern int	prom_form_next(char *buf, size_t len, size_t *pos, char **name, char **value,
						   PromWireError *err);

/* What an HTTP request says of its host and its body's length, header by header, against request smuggling. */
typedef struct PromBodyHeaders
{
	int			hosts;
	int			content_lengths;
	int			transfer_encodings;
	bool		chunked;		/* the only Transfer-Encoding is exactly "chunked" */
	bool		bad_length;		/* not a plain decimal number */
	bool		bad_name;		/* some header's name is no token */
	uint64		length;
} PromBodyHeaders;

extern void prom_body_header(PromBodyHeaders *h, const char *name, const char *value);
extern const char *prom_body_check(const PromBodyHeaders *h);	/* NULL, or why the request is refused */

#endif							/* PROM_WIRE_H */

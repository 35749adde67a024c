/*
 * batch.h
 *	  What one call of prom.ingest collects before it writes.  Private to this room.
 */
#ifndef PROM_BATCH_H
#define PROM_BATCH_H

#include "store/rows.h"
#include "wire/wire.h"

typedef struct PromSample
{
	int64		t_ms;
	double		value;
	int32		sid;			/* or, while pending, ~index of the wanted series */
	uint32		number;			/* position in the call: later ones win */
} PromSample;

typedef struct PromExemplar
{
	int64		t_ms;
	double		value;
	int32		sid;			/* as in a sample */
	PromLabels *labels;
} PromExemplar;

/* All bodies of one call. */
typedef struct PromBatch
{
	PromSample *samples;
	size_t		n;
	size_t		size;
	const PromHistogram **histograms;	/* by number of the sample; NULL while there is none */
	PromExemplar *exemplars;
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
} PromBatch;

/* What one body came to. */
typedef struct PromIngested
{
	int64		samples;
	int64		exemplars;
	int64		histograms;
	size_t		histogram_bytes;
	int64		refused;		/* parts: series, samples, data points, metadata */
	int64		out_of_bounds;	/* samples among them, */
	int64		bad_labels;		/* series, */
	int64		bad_histograms;
	int64		bad_points;		/* of OTLP, */
	int64		too_much_metadata;
	int64		other_samples;	/* of replicas that are not elected: dropped, but as good as stored */
	int64		other_histograms;
	int64		other_exemplars;
	bool		malformed;		/* all of it is refused */
	char	   *error;			/* the first reason */
	size_t		end;			/* of its samples in the batch */
	int			wants_end;		/* of its series */
	int			exemplars_end;
} PromIngested;

/* ---- body.c ---- */

typedef enum PromBodyFormat
{
	PROM_BODY_WRITE_1, PROM_BODY_WRITE_2, PROM_BODY_OTLP, PROM_BODY_OTLP_JSON
} PromBodyFormat;

typedef enum PromBodyEncoding
{
	PROM_BODY_PLAIN, PROM_BODY_SNAPPY, PROM_BODY_GZIP, PROM_BODY_ZSTD
} PromBodyEncoding;

typedef struct PromBodyKind
{
	PromBodyFormat format;
	PromBodyEncoding encoding;
} PromBodyKind;

/* "otlp+gzip"; raises if there is no such. */
extern PromBodyKind prom_body_kind(const char *text);

/* The bytes of a body, decompressed; NULL with a reason.  In the current context, or the body itself. */
extern const void *prom_body_unpack(PromBodyKind kind, const bytea *body, size_t *len, char **reason);

/* A buffer for the plain C of wire/, which grows in this context. */
extern PromWireBuffer prom_body_buffer(MemoryContext cxt);

/* ---- ha.c ---- */

/* promgres.ha_tracker */
extern bool prom_ha_tracker;

typedef enum PromHaVerdict
{
	PROM_HA_NONE,				/* of no cluster: stored as it is */
	PROM_HA_ELECTED,			/* of the elected replica: stored without the replica label */
	PROM_HA_OTHER,				/* dropped */
	PROM_HA_REFUSED				/* of a cluster too many */
} PromHaVerdict;

extern void prom_ha_init(void);

/* A call of prom.ingest begins. */
extern void prom_ha_begin(void);

/* What the tracker, which is on, says of a series; if it is of the elected replica *raw is made the hash of what is stored. */
extern PromHaVerdict prom_ha_judge(const PromWriteSeries *s, PromSeriesHash *raw);

static inline PromHaVerdict
prom_ha_verdict(const PromWriteSeries *s, PromSeriesHash *raw)
{
	return prom_ha_tracker ? prom_ha_judge(s, raw) : PROM_HA_NONE;
}

/* Why a series is refused, palloc'd. */
extern char *prom_ha_refusal(const PromWriteSeries *s);

extern bool prom_ha_is_replica_label(const PromWriteLabel *l);

/* ---- decode.c ---- */

/* Unpack one body into the batch; if it is malformed the batch is as it was before. */
extern void prom_batch_decode(PromBatch *batch, PromBodyKind kind, const bytea *body, PromIngested *out);

/* One series, all of which is copied; "raw" is what prom_ha_verdict has made of the hash of its labels. */
extern void prom_batch_add_series(PromBatch *batch, const PromWriteSeries *s, PromSeriesHash raw, PromHaVerdict verdict,
								  PromIngested *out);

/* A part is refused: the first reason is kept, the others are counted. */
extern void prom_batch_refuse(PromIngested *out, char *reason);

/* promgres.max_samples_per_request and promgres.ingest_type_and_unit_labels */
extern int	prom_batch_max_samples;
extern bool prom_batch_type_and_unit;

/* ---- metadata.c ---- */

/* "before": how many there were before this body.  What was stored a while ago is passed over. */
extern void prom_batch_add_metadata(PromBatch *batch, const PromWriteMetadata *m, int before, PromIngested *out);
extern void prom_batch_forget_metadata(PromBatch *batch, int before);
extern void prom_batch_write_metadata(PromBatch *batch);

/* ---- otlp.c ---- */

extern void prom_otlp_init(void);

/* False if the message is malformed; samples, counted up to one more than are allowed, in *nsamples. */
extern bool prom_otlp_decode(PromBatch *batch, const void *message, size_t len, size_t *nsamples, PromIngested *out,
							 PromWireError *err);

/* ---- otlp_json.c ---- */

/* A message in JSON becomes one in protobuf; NULL with a reason. */
extern const void *prom_otlp_from_json(const char *json, size_t json_len, size_t *len, char **reason);

#endif							/* PROM_BATCH_H */

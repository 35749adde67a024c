/*
 * read.c
 *	  Remote read: a ReadRequest in, samples or XOR chunks out.
 *
 * In the gateway: the body, as it came, to a statement whose rows are the answer (stream.c).
 *
 * In the backend a value-per-call function makes these rows, so nobody ever holds all of a streamed answer.
 * Queries are answered one after the other, each from a cursor over its series in order of labels.  These are the
 * series as they are stored, since who reads them (Thanos' sidecar, a Prometheus) merges replicas himself; the
 * parameter dedup=true asks for merged ones.
 *
 *	- Chunks: a row is a frame: the length of a ChunkedReadResponse, its CRC-32C and itself, with one series
 *	  and at most FRAME_BYTES of it; a longer series goes on in the next frame.  A chunk has either floats or
 *	  native histograms.
 *	- Samples: one ReadResponse in one block of snappy.  The block begins with the length of what it
 *	  holds, so its pieces wait in a tuplestore, which goes to a file when it is large.  The response itself
 *	  says how long each result is before its series, so those of one query wait in another.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "api/external.h"
#include "api/gateway.h"
#include "chunk/chunk.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "select/select.h"
#include "store/store.h"
#include "wire/wire.h"

#define READ_MAX_BYTES		(32 * 1024 * 1024)	/* of a request, decoded */
#define FRAME_BYTES			(1024 * 1024)
#define FETCH_SERIES		1	/* each may be large */
#define CHUNK_HEAD_BYTES	64	/* of a chunk without its data, at most */

/* ---- in the gateway ---- */

bool
prom_read_is_sent(const PromRequest *r)
{
	const char *type = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Content-Type");

	return r->body_len > 0 && type != NULL &&
		pg_strncasecmp(type, "application/x-protobuf", strlen("application/x-protobuf")) == 0;
}

bool
prom_read_check_headers(PromRequest *r)
{
	const char *encoding = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Content-Encoding");

	if (encoding == NULL || encoding[0] == '\0' || pg_strcasecmp(encoding, "snappy") == 0)
		return true;
	prom_answer_text(r, 415, "%s encoding is not supported, only snappy is\n", prom_param_quote(encoding));
	return false;
}

void
prom_read_run(PromRequest *r)
{
	bool		dedup = false;

	/* at the address of queries they have been read */
	if ((r->nparams == 0 && !prom_request_read_params(r)) || !prom_thanos_check(r) || !prom_param_bool(r, "dedup", &dedup))
		return;
	r->job.sql = "SELECT prom._api_read($1, $2)";
	r->job.kept = true;
	r->job.nparams = 1;
	r->job.types[0] = BYTEAOID;
	r->job.values[0] = r->body_len > 0 ? r->body : "";
	r->job.lengths[0] = (int) r->body_len;
	r->job.formats[0] = 1;
	prom_job_param(&r->job, BOOLOID, dedup ? "t" : "f");
	prom_thanos_add(r);
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	prom_stream_ask(r, prom_pool_query);
}

/* ---- in the backend ---- */

PG_FUNCTION_INFO_V1(prom_api_read);

/* What lasts from one call of the function to the next. */
typedef struct Read
{
	const uint8 *message;
	size_t		len;
	size_t		pos;			/* of the next query */
	bool		dedup;			/* replicas are merged */
	int64		query_index;	/* of the one that is answered */
	PromLabels *external;
	MemoryContext row;			/* reset for each row */

	/* the query that is answered, if there is a portal */
	char	   *portal;			/* its name */

	/* the series that is answered: points into row */
	uint8	   *labels;			/* as fields of the message */
	size_t		labels_len;
	PromGather	samples;
	int			next;			/* the sample that is next */
	PromWireBuffer chunk;		/* the next of its chunks, as fields of the message; empty if there is none */

	/* of samples only */
	Tuplestorestate *pieces;	/* compressed */
	TupleTableSlot *slot;
	TupleDesc	desc;
	StringInfoData raw;			/* not compressed yet */
	uint64		total;
} Read;

static void encode_chunk(Read *read);

/* ---- what is asked for ---- */

static bytea *
make_head(const char *text)
{
	return (bytea *) cstring_to_text(text);
}

static char *
checked_text(const char *bytes, size_t len)
{
	char	   *text = pnstrdup(bytes, len);

	if (strlen(text) != len || pg_encoding_verifymbstr(PG_UTF8, text, (int) len) != (int) len)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("a matcher's name or value is not valid UTF-8")));
	return text;
}

/* An equality with an external label's very value is true of all series here. */
static bool
is_external(const PromMatcher *m, const PromLabels *external)
{
	const char *value;
	int			len;

	return m->type == PROM_MATCH_EQ &&
		prom_labels_get(external, m->name, strlen(m->name), &value, &len) &&
		len == strlen(m->value) && memcmp(value, m->value, len) == 0;
}

static PromMatcher *
read_matchers(const PromReadQuery *q, const PromLabels *external, int *n)
{
	static const PromMatchType types[] = {PROM_MATCH_EQ, PROM_MATCH_NE, PROM_MATCH_RE, PROM_MATCH_NRE};
	PromMatcher *matchers = palloc((q->nmatchers + 1) * sizeof(PromMatcher));
	PromReadMatcher m;
	size_t		pos = 0;

	*n = 0;
	while (prom_read_matcher(q, &pos, &m))
	{
		PromMatcher *to = &matchers[(*n)++];

		to->type = types[m.type];
		to->name = checked_text(m.name, m.name_len);
		to->value = checked_text(m.value, m.value_len);
		/* stored series lack it, unless they have one of their own */
		if (is_external(to, external))
			to->value = pstrdup("");
	}
	return matchers;
}

/* The cursor of the next query; false if there is none. */
static bool
open_query(Read *read)
{
	PromReadQuery q;
	PromScanRange range;
	StringInfoData sql;
	PromMatcher *matchers;
	char	   *leaf;
	int			n;

	if (!prom_read_query(read->message, read->len, &read->pos, &q))
		return false;
	read->query_index++;
	range.from_ms = Max(q.start_ms, PROM_MIN_TIMESTAMP_MS) - 1;
	range.to_ms = Min(q.end_ms, PROM_MAX_TIMESTAMP_MS);
	if (range.to_ms <= range.from_ms)
		return true;			/* the portal stays NULL: nothing to read */
	/* SPI must not be connected for the matchers */
	matchers = read_matchers(&q, read->external, &n);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT r.labels, r.out FROM ");
	leaf = psprintf("prom._raw(c.data, c.ord, b.sids, " INT64_FORMAT ", " INT64_FORMAT ")", range.from_ms, range.to_ms);
	if (read->dedup && prom_dedup_labels() != NIL)
		prom_dedup_scan_sorted_sql(&sql, matchers, n, range, prom_raw_segments(range), leaf);
	else
		prom_scan_sorted_sql(&sql, matchers, n, range, prom_raw_segments(range), leaf);
	SPI_connect();
	read->portal = MemoryContextStrdup(GetMemoryChunkContext(read), prom_scan_sorted_open(sql.data)->name);
	SPI_finish();
	return true;
}

/* ---- one series after the other ---- */

static uint8 *
put_labels(const PromLabels *labels, size_t *len)
{
	int			n;
	PromLabel  *label = prom_labels_unpack(labels, &n);
	size_t		size = 0;
	uint8	   *start;
	uint8	   *out;

	for (int i = 0; i < n; i++)
		size += prom_wire_bytes_size(prom_wire_bytes_size(label[i].name_len) + prom_wire_bytes_size(label[i].value_len));
	start = out = palloc(size + 1);
	for (int i = 0; i < n; i++)
	{
		out = prom_wire_put_head(out, 1,
								 prom_wire_bytes_size(label[i].name_len) + prom_wire_bytes_size(label[i].value_len));
		out = prom_wire_put_bytes(out, 1, label[i].name, label[i].name_len);
		out = prom_wire_put_bytes(out, 2, label[i].value, label[i].value_len);
	}
	*len = out - start;
	return start;
}

/* Memory for what wire/ writes: of the row. */
static bool
grow(PromWireBuffer *b, size_t more)
{
	b->size = Max(b->size * 2, b->len + more);
	b->data = b->data == NULL ? palloc_extended(b->size, MCXT_ALLOC_HUGE) : repalloc_huge(b->data, b->size);
	return true;
}

static void
take_series(Read *read, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	PromLabels *labels = DatumGetPromLabelsP(SPI_getbinval(tuple, desc, 1, &isnull));
	PromChunk  *chunk = DatumGetPromChunkP(SPI_getbinval(tuple, desc, 2, &isnull));
	PromChunkReader reader = {0};

	prom_chunk_open(&reader, chunk);
	read->next = 0;
	read->chunk = (PromWireBuffer) {.grow = grow};
	prom_gather_init(&read->samples, read->row);
	prom_gather_column(&read->samples, &reader, 0, PG_INT64_MIN, PG_INT64_MAX, 0);
	prom_gather_finish(&read->samples);
	prom_gather_hints(&read->samples);
	read->labels = put_labels(prom_external_add(labels, read->external), &read->labels_len);
}

/* The next series of the query; false, and no portal, if there is none. */
static bool
fetch_series(Read *read)
{
	Portal		portal;
	bool		found;

	if (read->portal == NULL)
		return false;
	MemoryContextReset(read->row);
	SPI_connect();
	portal = SPI_cursor_find(read->portal);
	SPI_cursor_fetch(portal, true, FETCH_SERIES);
	found = SPI_processed > 0;
	if (found)
	{
		MemoryContext old = MemoryContextSwitchTo(read->row);

		take_series(read, SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
		if (read->pieces == NULL)
			encode_chunk(read);
		MemoryContextSwitchTo(old);
	}
	else
	{
		SPI_cursor_close(portal);
		read->portal = NULL;
	}
	SPI_finish();
	return found;
}

/* ---- chunks ---- */

/* How many of the next samples, up to those of a chunk, are floats. */
static int
count_floats(const Read *read)
{
	const PromGather *g = &read->samples;
	int			end = Min(g->n, read->next + PROM_XOR_SAMPLES);
	int			i = read->next;

	while (i < end && (g->histograms == NULL || g->histograms[i] == NULL))
		i++;
	return i - read->next;
}

/* Encode the next chunk of the series, as the fields of a Chunk. */
static void
encode_chunk(Read *read)
{
	const PromGather *g = &read->samples;
	const int64 *t_ms = g->t_ms + read->next;
	PromWireBuffer data = {.grow = grow};
	PromWireBuffer *out = &read->chunk;
	PromChunkEncoding encoding = PROM_CHUNK_XOR;
	int			n = g->n - read->next;

	out->len = 0;
	if (n == 0)
		return;
	if (g->histograms != NULL && g->histograms[read->next] != NULL)
		n = prom_histogram_chunk_encode(&data, palloc, n, t_ms, g->histograms + read->next, &encoding);
	else
	{
		n = count_floats(read);
		(void) grow(&data, PROM_XOR_ROOM);
		data.len = prom_xor_encode(data.data, n, t_ms, g->values + read->next);
	}
	if (out->size < data.len + CHUNK_HEAD_BYTES)
		(void) grow(out, data.len + CHUNK_HEAD_BYTES);
	out->len = prom_wire_put_number(out->data, 1, (uint64) t_ms[0]) - out->data;
	out->len = prom_wire_put_number(out->data + out->len, 2, (uint64) t_ms[n - 1]) - out->data;
	out->len = prom_wire_put_number(out->data + out->len, 3, encoding) - out->data;
	out->len = prom_wire_put_bytes(out->data + out->len, 4, data.data, data.len) - out->data;
	pfree(data.data);
	read->next += n;
}

/* As many chunks of the series as a frame may have, at least one. */
static bytea *
make_frame(Read *read)
{
	StringInfoData series;
	uint8		tail[12];
	uint8	   *at = tail;
	size_t		series_size;
	size_t		len;
	bytea	   *frame;
	uint8	   *out;
	uint8	   *message;
	pg_crc32c	crc;

	initStringInfo(&series);
	appendBinaryStringInfo(&series, (char *) read->labels, read->labels_len);
	do
	{
		uint8		head[12];

		appendBinaryStringInfo(&series, (char *) head, prom_wire_put_head(head, 2, read->chunk.len) - head);
		appendBinaryStringInfo(&series, (char *) read->chunk.data, read->chunk.len);
		encode_chunk(read);
	}
	while (read->chunk.len > 0 && series.len + read->chunk.len + CHUNK_HEAD_BYTES < FRAME_BYTES);

	/* protobuf leaves zeros out */
	if (read->query_index > 0)
		at = prom_wire_put_number(tail, 2, (uint64) read->query_index);
	series_size = prom_wire_bytes_size(series.len);
	len = series_size + (at - tail);
	frame = palloc(VARHDRSZ + 10 + sizeof(uint32) + len);
	out = prom_put_varint((uint8 *) VARDATA(frame), len);
	message = out + sizeof(uint32);
	(void) prom_wire_put_bytes(message, 1, series.data, series.len);
	memcpy(message + series_size, tail, at - tail);
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, message, len);
	FIN_CRC32C(crc);
	for (int i = 0; i < 4; i++)
		out[i] = (uint8) (crc >> (24 - 8 * i));
	SET_VARSIZE(frame, message + len - (uint8 *) frame);
	pfree(series.data);
	return frame;
}

static bytea *
next_frame(Read *read)
{
	while (read->chunk.len == 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (!fetch_series(read) && read->portal == NULL && !open_query(read))
			return NULL;
	}
	return make_frame(read);
}

/* ---- samples ---- */

static void
put_piece(Tuplestorestate *store, TupleDesc desc, const void *bytes, size_t len)
{
	bytea	   *piece = palloc(VARHDRSZ + len);
	Datum		value = PointerGetDatum(piece);
	bool		isnull = false;

	SET_VARSIZE(piece, VARHDRSZ + len);
	memcpy(VARDATA(piece), bytes, len);
	tuplestore_putvalues(store, desc, &value, &isnull);
	pfree(piece);
}

static void
compress_raw(Read *read)
{
	uint8		out[PROM_SNAPPY_ROOM];

	if (read->raw.len > 0)
		put_piece(read->pieces, read->desc, out, prom_snappy_piece(read->raw.data, read->raw.len, out));
	resetStringInfo(&read->raw);
}

/* Bytes of the response, cut into pieces of snappy's. */
static void
append_raw(Read *read, const void *bytes, size_t len)
{
	const char *at = bytes;

	read->total += len;
	if (read->total > PROM_SNAPPY_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a response with samples is larger than its format allows"),
				 errhint("Ask for STREAMED_XOR_CHUNKS, or for a shorter time.")));
	while (len > 0)
	{
		size_t		take = Min(len, PROM_SNAPPY_PIECE - (size_t) read->raw.len);

		appendBinaryStringInfo(&read->raw, at, (int) take);
		at += take;
		len -= take;
		if (read->raw.len == PROM_SNAPPY_PIECE)
			compress_raw(read);
	}
}

/* Write the fields of a sample: 1 value, 2 time. */
static size_t
put_sample(uint8 *out, int64 t_ms, double value)
{
	uint8	   *end = prom_wire_put_double(out, 1, value);

	return prom_wire_put_number(end, 2, (uint64) t_ms) - out;
}

/* The samples of the series as fields of a TimeSeries. */
static void
append_samples(PromWireBuffer *out, const PromGather *g)
{
	for (int i = 0; i < g->n; i++)
	{
		uint8		sample[32];
		size_t		len;

		if (g->histograms != NULL && g->histograms[i] != NULL)
		{
			prom_wire_put_histogram(out, 4, g->t_ms[i], g->histograms[i]);
			continue;
		}
		len = put_sample(sample, g->t_ms[i], g->values[i]);
		if (out->size - out->len < len + 2)
			(void) grow(out, len + 2);
		out->len = prom_wire_put_bytes(out->data + out->len, 2, sample, len) - out->data;
	}
}

/* Keep the series, as a field of a QueryResult; its size. */
static uint64
keep_series(Read *read, Tuplestorestate *all)
{
	PromWireBuffer samples = {.grow = grow};
	uint8		head[12];
	size_t		head_len;

	append_samples(&samples, &read->samples);
	read->next = read->samples.n;
	head_len = prom_wire_put_head(head, 1, read->labels_len + samples.len) - head;
	put_piece(all, read->desc, head, head_len);
	put_piece(all, read->desc, read->labels, read->labels_len);
	put_piece(all, read->desc, samples.data, samples.len);
	return head_len + read->labels_len + samples.len;
}

/* One query's result: its series wait until its length is known. */
static void
collect_result(Read *read)
{
	Tuplestorestate *all = tuplestore_begin_heap(false, false, work_mem);
	uint64		size = 0;
	uint8		head[12];

	while (fetch_series(read))
	{
		MemoryContext old = MemoryContextSwitchTo(read->row);

		CHECK_FOR_INTERRUPTS();
		size += keep_series(read, all);
		MemoryContextSwitchTo(old);
	}
	append_raw(read, head, prom_wire_put_head(head, 1, size) - head);
	tuplestore_rescan(all);
	while (tuplestore_gettupleslot(all, true, false, read->slot))
	{
		bool		isnull;
		bytea	   *one = DatumGetByteaPP(slot_getattr(read->slot, 1, &isnull));

		CHECK_FOR_INTERRUPTS();
		append_raw(read, VARDATA_ANY(one), VARSIZE_ANY_EXHDR(one));
	}
	ExecClearTuple(read->slot);
	tuplestore_end(all);
}

static void
collect_samples(Read *read)
{
	read->desc = CreateTemplateTupleDesc(1);
	TupleDescInitEntry(read->desc, 1, "data", BYTEAOID, -1, 0);
	read->slot = MakeSingleTupleTableSlot(read->desc, &TTSOpsMinimalTuple);
	read->pieces = tuplestore_begin_heap(false, false, work_mem);
	initStringInfo(&read->raw);
	while (open_query(read))
		collect_result(read);
	compress_raw(read);
	tuplestore_rescan(read->pieces);
}

static bytea *
next_piece(Read *read)
{
	/* the slot keeps what comes from a file until the next call, and frees it then */
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(read));
	bool		found = tuplestore_gettupleslot(read->pieces, true, false, read->slot);
	bool		isnull;
	bytea	   *piece;

	MemoryContextSwitchTo(old);
	if (!found)
	{
		ExecDropSingleTupleTableSlot(read->slot);
		tuplestore_end(read->pieces);
		return NULL;
	}
	piece = DatumGetByteaPP(slot_getattr(read->slot, 1, &isnull));
	return (bytea *) cstring_to_text_with_len(VARDATA_ANY(piece), VARSIZE_ANY_EXHDR(piece));
}

/* ---- the function ---- */

static void pg_attribute_noreturn()
refuse(const char *what, const PromWireError *err)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("malformed remote read request: %s at byte %zu of %s", err->reason, err->offset, what)));
}

static Read *
begin_read(bytea *body, bool dedup, uint32 *response)
{
	Read	   *read = palloc0(sizeof(Read));
	PromWireError err = {0};
	uint32		nqueries;
	uint8	   *message;

	if (!prom_snappy_size(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), READ_MAX_BYTES, &read->len, &err))
		refuse("the body", &err);
	message = palloc(read->len + 1);
	if (!prom_snappy_decode(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), message, read->len, &err))
		refuse("the body", &err);
	if (!prom_read_check(message, read->len, &nqueries, response, &err))
		refuse("the message", &err);
	read->message = message;
	read->query_index = -1;
	read->dedup = dedup;
	read->external = prom_external_labels();
	read->row = AllocSetContextCreate(CurrentMemoryContext, "promgres remote read", ALLOCSET_DEFAULT_SIZES);
	return read;
}

/* _api_read(body, dedup) */
Datum
prom_api_read(PG_FUNCTION_ARGS)
{
	FuncCallContext *cxt;
	Read	   *read;
	bytea	   *row;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;
		uint32		response;

		cxt = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(cxt->multi_call_memory_ctx);
		cxt->user_fctx = read = begin_read(PG_GETARG_BYTEA_PP(0), PG_GETARG_BOOL(1), &response);
		/* what is wrong with the first query is told before anything is sent */
		if (response == PROM_READ_SAMPLES)
			collect_samples(read);
		else if (open_query(read))
			(void) fetch_series(read);
		MemoryContextSwitchTo(old);
		SRF_RETURN_NEXT(cxt, PointerGetDatum(make_head(response == PROM_READ_SAMPLES ?
													   "application/x-protobuf\nsnappy" :
													   "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")));
	}
	cxt = SRF_PERCALL_SETUP();
	read = cxt->user_fctx;
	if (read->pieces != NULL && cxt->call_cntr == 1)
	{
		uint8		head[10];
		size_t		len = prom_snappy_head(head, read->total);

		row = (bytea *) cstring_to_text_with_len((char *) head, len);
	}
	else
		row = read->pieces != NULL ? next_piece(read) : next_frame(read);
	if (row == NULL)
		SRF_RETURN_DONE(cxt);
	SRF_RETURN_NEXT(cxt, PointerGetDatum(row));
}

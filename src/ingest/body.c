/*
 * body.c
 *	  What a body is written in and how it is compressed.
 *
 * The name of a kind is that of a format, and after a plus sign that of an encoding if it has one:
 * "remote_write_1+snappy".
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ingest/batch.h"

/* bytes of a body once it is decompressed */
#define WRITE_CAP	(32 * 1024 * 1024)
#define OTLP_CAP	(64 * 1024 * 1024)

#define FIRST_BYTES	512			/* of a buffer that will grow */

static const char *const formats[] = {
	[PROM_BODY_WRITE_1] = "remote_write_1",
	[PROM_BODY_WRITE_2] = "remote_write_2",
	[PROM_BODY_OTLP] = "otlp",
	[PROM_BODY_OTLP_JSON] = "otlp_json"
};

static const char *const encodings[] = {
	[PROM_BODY_PLAIN] = "",
	[PROM_BODY_SNAPPY] = "+snappy",
	[PROM_BODY_GZIP] = "+gzip",
	[PROM_BODY_ZSTD] = "+zstd"
};

PromBodyKind
prom_body_kind(const char *text)
{
	PromBodyKind kind;

	for (int f = 0; f < lengthof(formats); f++)
	{
		size_t		len = strlen(formats[f]);

		if (strncmp(text, formats[f], len) != 0)
			continue;
		for (int e = 0; e < lengthof(encodings); e++)
		{
			if (strcmp(text + len, encodings[e]) != 0)
				continue;
			kind.format = (PromBodyFormat) f;
			kind.encoding = (PromBodyEncoding) e;
			return kind;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown format of a body: \"%s\"", text),
			 errhint("Formats are \"remote_write_1\", \"remote_write_2\", \"otlp\" and \"otlp_json\", with \"+snappy\", \"+gzip\" or \"+zstd\" if compressed.")));
}

static bool
grow(PromWireBuffer *b, size_t more)
{
	size_t		size = b->size * 2;
	uint8	   *data;

	while (size - b->len < more)
		size *= 2;
	if (size > MaxAllocHugeSize / 4)
		return false;
	data = MemoryContextAllocExtended(GetMemoryChunkContext(b->data), size, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	if (data == NULL)
		return false;
	memcpy(data, b->data, b->len);
	pfree(b->data);
	b->data = data;
	b->size = size;
	return true;
}

PromWireBuffer
prom_body_buffer(MemoryContext cxt)
{
	PromWireBuffer b = {.data = MemoryContextAlloc(cxt, FIRST_BYTES), .size = FIRST_BYTES, .grow = grow};

	return b;
}

const void *
prom_body_unpack(PromBodyKind kind, const bytea *body, size_t *len, char **reason)
{
	const void *in = VARDATA_ANY(body);
	size_t		in_len = VARSIZE_ANY_EXHDR(body);
	size_t		cap = kind.format >= PROM_BODY_OTLP ? OTLP_CAP : WRITE_CAP;
	PromWireBuffer out;
	PromWireError err = {NULL, 0};
	void	   *message;

	*len = in_len;
	switch (kind.encoding)
	{
		case PROM_BODY_PLAIN:
			if (in_len <= cap)
				return in;
			err.reason = "more bytes than allowed";
			break;
		case PROM_BODY_SNAPPY:
			if (!prom_snappy_size(in, in_len, cap, len, &err))
				break;
			message = palloc(*len + 1);
			if (prom_snappy_decode(in, in_len, message, *len, &err))
				return message;
			break;
		case PROM_BODY_GZIP:
		case PROM_BODY_ZSTD:
			out = prom_body_buffer(CurrentMemoryContext);
			if (kind.encoding == PROM_BODY_GZIP ? prom_gzip_decode(in, in_len, cap, &out, &err) :
				prom_zstd_decode(in, in_len, cap, &out, &err))
			{
				*len = out.len;
				return out.data;
			}
			break;
	}
	*reason = psprintf("%s: %s at byte %zu", kind.encoding == PROM_BODY_PLAIN ? "body" : encodings[kind.encoding] + 1,
					   err.reason, err.offset);
	return NULL;
}

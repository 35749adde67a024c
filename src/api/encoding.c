/*
 * encoding.c
 *	  Answers compressed by zlib, a piece at a time, while they are sent.
 *
 * The gateway has one thread: a large answer is compressed as libmicrohttpd asks for bytes, and fast
 * rather than small, so that others get their turn between two pieces.  What zlib needs comes from
 * malloc, because nothing may raise in here; libmicrohttpd says when it has done with it.
 */
#include "postgres.h"

#include <zlib.h>

#include "api/gateway.h"

#define PIECE_IN	(64 * 1024)	/* compressed between two looks at what came out */
#define PIECE_OUT	(32 * 1024)	/* of libmicrohttpd's buffer */
#define WINDOW_BITS 15
#define GZIP_BITS	(WINDOW_BITS + 16)
#define MEM_LEVEL	8

typedef struct Encoder
{
	z_stream	z;
	size_t		left;			/* of the input, beyond what z was given */
	bool		finished;
} Encoder;

/* The first that is known counts, weights do not: as in Prometheus. */
const char *
prom_encoding_accepted(const char *accept_encoding)
{
	static const char *const known[] = {"gzip", "deflate"};
	const char *p = accept_encoding;

	while (p != NULL && *p != '\0')
	{
		size_t		len;

		p += strspn(p, ", \t");
		len = strcspn(p, ",; \t");
		for (int i = 0; i < lengthof(known); i++)
		{
			if (len == strlen(known[i]) && pg_strncasecmp(p, known[i], len) == 0)
				return known[i];
		}
		p += strcspn(p, ",");
	}
	return NULL;
}

static ssize_t
read_encoded(void *arg, uint64_t pos, char *buf, size_t max)
{
	Encoder    *e = arg;
	size_t		room = Min(max, PG_INT32_MAX);

	if (e->finished)
		return MHD_CONTENT_READER_END_OF_STREAM;
	e->z.next_out = (Bytef *) buf;
	e->z.avail_out = room;
	/* no bytes at all would be taken for an answer that is not yet there */
	while (e->z.avail_out == room && !e->finished)
	{
		int			rc;

		if (e->z.avail_in == 0)
		{
			e->z.avail_in = Min(e->left, PIECE_IN);
			e->left -= e->z.avail_in;
		}
		rc = deflate(&e->z, e->left == 0 ? Z_FINISH : Z_NO_FLUSH);
		if (rc == Z_STREAM_END)
			e->finished = true;
		else if (rc != Z_OK && rc != Z_BUF_ERROR)
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	return room - e->z.avail_out;
}

static void
free_encoder(void *arg)
{
	Encoder    *e = arg;

	deflateEnd(&e->z);
	free(e);
}

struct MHD_Response *
prom_encoding_response(const char *encoding, const char *data, size_t len)
{
	Encoder    *e = calloc(1, sizeof(Encoder));
	struct MHD_Response *response;

	if (e == NULL)
		return NULL;
	if (deflateInit2(&e->z, Z_BEST_SPEED, Z_DEFLATED, strcmp(encoding, "gzip") == 0 ? GZIP_BITS : WINDOW_BITS,
					 MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
	{
		free(e);
		return NULL;
	}
	e->z.next_in = (z_const Bytef *) data;
	e->left = len;
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE_OUT, read_encoded, e, free_encoder);
	if (response == NULL)
		free_encoder(e);
	return response;
}

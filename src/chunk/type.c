/*
 * type.c
 *	  The SQL type prom.chunk: in, out, receive, send.
 *
 * Text form is that of bytea in hex, \xc104...  Bytes that come in are verified down to the last
 * column, so that everything stored can be decoded later.  Plain chunks belong to the server that
 * made them: they go out, to be looked at, but not in.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "chunk/chunk.h"
#include "chunk/codec.h"

PG_FUNCTION_INFO_V1(prom_chunk_in);
PG_FUNCTION_INFO_V1(prom_chunk_out);
PG_FUNCTION_INFO_V1(prom_chunk_recv);
PG_FUNCTION_INFO_V1(prom_chunk_send);

/* Raises if the bytes are not a chunk that may come from outside. */
static void
check_foreign(const PromChunk *chunk, int errcode_bad)
{
	const uint8 *bytes = (const uint8 *) VARDATA_ANY(chunk);
	size_t		len = VARSIZE_ANY_EXHDR(chunk);
	const char *reason;

	if (len > 0 && bytes[0] == PROM_PLAIN_FORMAT)
		ereport(ERROR,
				(errcode(errcode_bad),
				 errmsg("plain prom.chunk cannot be read back"),
				 errdetail("Chunks of this style exist only inside a query of one server."),
				 errhint("Build the chunk in another style.")));
	reason = prom_chunk_verify(bytes, len);
	if (reason)
		ereport(ERROR,
				(errcode(errcode_bad),
				 errmsg("invalid prom.chunk"),
				 errdetail_internal("%s", reason)));
}

Datum
prom_chunk_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	bytea	   *bytes;
	size_t		len = strlen(text);

	if (text[0] != '\\' || text[1] != 'x')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s", "prom.chunk"),
				 errdetail("A chunk is written as \\x and its bytes in hexadecimal.")));
	bytes = palloc(VARHDRSZ + len / 2);
	SET_VARSIZE(bytes, VARHDRSZ + hex_decode(text + 2, len - 2, VARDATA(bytes)));
	check_foreign(bytes, ERRCODE_INVALID_TEXT_REPRESENTATION);
	PG_RETURN_POINTER(bytes);
}

Datum
prom_chunk_out(PG_FUNCTION_ARGS)
{
	PromChunk  *chunk = PG_GETARG_PROM_CHUNK_P(0);
	size_t		len = VARSIZE_ANY_EXHDR(chunk);
	char	   *text;

	if (2 * (uint64) len + 3 > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("prom.chunk is too large for its text form")));
	text = palloc(2 * len + 3);
	text[0] = '\\';
	text[1] = 'x';
	text[2 + hex_encode(VARDATA_ANY(chunk), len, text + 2)] = '\0';
	PG_RETURN_CSTRING(text);
}

Datum
prom_chunk_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			len = buf->len - buf->cursor;
	PromChunk  *chunk = palloc(VARHDRSZ + len);

	SET_VARSIZE(chunk, VARHDRSZ + len);
	pq_copymsgbytes(buf, VARDATA(chunk), len);
	check_foreign(chunk, ERRCODE_INVALID_BINARY_REPRESENTATION);
	PG_RETURN_POINTER(chunk);
}

Datum
prom_chunk_send(PG_FUNCTION_ARGS)
{
	PromChunk  *chunk = PG_GETARG_PROM_CHUNK_P(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbytes(&buf, VARDATA_ANY(chunk), VARSIZE_ANY_EXHDR(chunk));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

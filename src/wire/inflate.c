/*
 * inflate.c
 *	  gzip and zstd bodies behind a cap.
 *
 * Neither says reliably how long it will be, so the output grows with what comes out of it, and stops
 * at the cap.  Several gzip members, or zstd frames, may follow one another.
 */
#include "c.h"

#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "wire/error.h"
#include "wire/put.h"

#define PIECE	(64 * 1024)
#define TOO_LONG "more bytes than allowed"

/* Room for a piece, none beyond the cap; false with a reason. */
static bool
make_room(PromWireBuffer *out, size_t cap, size_t *room, PromWireError *err)
{
	*room = Min(PIECE, cap + 1 - out->len);
	if (out->len > cap)
		err->reason = TOO_LONG;
	else if (!put_room(out, *room))
		err->reason = "out of memory";
	else
		return true;
	return false;
}

bool
prom_gzip_decode(const void *in, size_t len, size_t cap, PromWireBuffer *out, PromWireError *err)
{
	z_stream	z = {0};
	int			rc = Z_STREAM_END;
	size_t		room;

	if (len > PG_UINT32_MAX || inflateInit2(&z, 15 + 16) != Z_OK)
		return wire_fail(err, "out of memory", 0);
	err->reason = NULL;
	z.next_in = in;
	z.avail_in = (uInt) len;
	while (err->reason == NULL && (z.avail_in > 0 || rc != Z_STREAM_END))
	{
		if (rc == Z_STREAM_END && z.total_in > 0)
			(void) inflateReset(&z);
		if (!make_room(out, cap, &room, err))
			break;
		z.next_out = out->data + out->len;
		z.avail_out = (uInt) room;
		rc = inflate(&z, Z_NO_FLUSH);
		out->len += room - z.avail_out;
		if (rc == Z_BUF_ERROR)
			err->reason = "truncated";
		else if (rc != Z_OK && rc != Z_STREAM_END)
			err->reason = "malformed";
	}
	if (err->reason == NULL && len == 0)
		err->reason = "truncated";
	if (err->reason == NULL && out->len > cap)
		err->reason = TOO_LONG;
	err->offset = len - z.avail_in;
	(void) inflateEnd(&z);
	return err->reason == NULL;
}

bool
prom_zstd_decode(const void *in, size_t len, size_t cap, PromWireBuffer *out, PromWireError *err)
{
	ZSTD_DCtx  *z = ZSTD_createDCtx();
	ZSTD_inBuffer input = {in, len, 0};
	size_t		rc = 1;
	size_t		room = 0;
	bool		stuck = false;

	err->reason = z == NULL ? "out of memory" : NULL;
	while (err->reason == NULL && (input.pos < len || (rc != 0 && !stuck)))
	{
		ZSTD_outBuffer output = {NULL, 0, 0};
		size_t		before = input.pos;

		if (!make_room(out, cap, &room, err))
			break;
		output.dst = out->data + out->len;
		output.size = room;
		rc = ZSTD_decompressStream(z, &output, &input);
		if (ZSTD_isError(rc))
			err->reason = "malformed";
		out->len += output.pos;
		stuck = output.pos < room && input.pos == before;
	}
	if (err->reason == NULL && rc != 0)
		err->reason = "truncated";
	if (err->reason == NULL && out->len > cap)
		err->reason = TOO_LONG;
	err->offset = input.pos;
	ZSTD_freeDCtx(z);
	return err->reason == NULL;
}

/*
 * block_bucket.c
 *	  Blocks in a bucket: s3://SERVER/PREFIX, where SERVER is a foreign server as the room tier has them.
 *
 * Who reads or writes needs USAGE on the server, by the role that has called, as with directories.
 *
 * A block is made in a directory of temporary files, which goes when the server starts again, and uploaded
 * with meta.json last: without that nobody, Thanos included, takes it for a block.
 *
 * The name of a block is a hash of what is in it.  So an object that is there under the key of a file was sent by somebody who
 * exported the same, and so were the parts of an upload that has not ended: an export that was killed, or is
 * on its way yet.  Whatever is there already is not sent again.
 */
#include "postgres.h"

#include <unistd.h>

#include "catalog/objectaddress.h"
#include "common/file_perm.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/memutils.h"

#include "block/block.h"
#include "common/compat.h"
#include "tier/tier.h"

#define SCHEME		"s3://"
#define PAGE_BYTES	(128 * 1024)	/* several that follow each other are one request */
#define PART_BYTES	(8 * 1024 * 1024)	/* what is larger is uploaded in parts, */
#define PARTS_IN_FLIGHT	3	/* several at a time */

bool
prom_is_bucket(const char *name)
{
	return strncmp(name, SCHEME, strlen(SCHEME)) == 0;
}

/* The bucket of a name, and what keys in it begin with. */
static PromBucket *
open_bucket(const char *name, const char **prefix)
{
	char	   *server = pstrdup(name + strlen(SCHEME));
	char	   *path = strchr(server, '/');
	Oid			oid;

	if (path)
		*path++ = '\0';
	while (path && path[0] && path[strlen(path) - 1] == '/')
		path[strlen(path) - 1] = '\0';
	if (server[0] == '\0' || (path && path[0] == '/'))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" does not name a place in a bucket", name),
				 errhint("Write it as s3://server/prefix, with the name of a foreign server.")));
	oid = prom_bucket_server(server);
	/* SET ROLE counts, SECURITY DEFINER does not */
	if (!PromMayUseServer(oid, GetOuterUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, server);
	*prefix = path && path[0] ? psprintf("%s/", path) : "";
	return prom_bucket_open(oid);
}

/* ---- reading ---- */

static List *
list_bucket(PromPlace *place, const char *folder)
{
	const char *prefix = folder[0] ? psprintf("%s%s/", place->prefix, folder) : place->prefix;
	PromListing *listing = prom_bucket_list(place->bucket, prefix, NULL, "/", 0);
	PromObject	object;
	List	   *names = NIL;

	while (prom_listing_next(listing, &object))
	{
		char	   *name = pstrdup(object.key + strlen(prefix));

		if (name[0] && name[strlen(name) - 1] == '/')
			name[strlen(name) - 1] = '\0';
		names = lappend(names, name);
	}
	prom_listing_end(listing);
	return names;
}

static int64
object_size(PromPlace *place, const char *path)
{
	PromObject	object;

	return prom_bucket_head(place->bucket, psprintf("%s%s", place->prefix, path), &object) ? object.size : -1;
}

static void
read_object(PromPlace *place, const char *path, int64 offset, void *to, size_t len)
{
	char	   *key = psprintf("%s%s", place->prefix, path);
	void	   *bytes;

	if (len == 0)
		return;
	bytes = prom_bucket_get_range(place->bucket, key, NULL, offset, len);
	memcpy(to, bytes, len);
	pfree(bytes);
	pfree(key);
}

PromPlace *
prom_bucket_place(const char *name)
{
	PromPlace  *place = palloc0(sizeof(PromPlace));
	char	   *shown = pstrdup(name);

	place->bucket = open_bucket(name, &place->prefix);
	while (shown[strlen(shown) - 1] == '/')
		shown[strlen(shown) - 1] = '\0';
	place->name = shown;
	place->page_bytes = PAGE_BYTES;
	place->list = list_bucket;
	place->size = object_size;
	place->read = read_object;
	return place;
}

/* ---- writing ---- */

PromBlockTarget *
prom_bucket_target(const char *name)
{
	PromBlockTarget *t = palloc0(sizeof(PromBlockTarget));

	t->name = name;
	t->bucket = open_bucket(name, &t->prefix);
	(void) MakePGDirectory("base/" PG_TEMP_FILES_DIR);	/* mostly it is there */
	t->directory = psprintf("base/%s/%s_blocks%d", PG_TEMP_FILES_DIR, PG_TEMP_FILE_PREFIX, MyProcPid);
	prom_remove_directory(t->directory);
	if (MakePGDirectory(t->directory) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", t->directory)));
	return t;
}

bool
prom_bucket_has_block(const PromBlockTarget *t, const char *ulid)
{
	PromObject	object;

	return prom_bucket_head(t->bucket, psprintf("%s%s/meta.json", t->prefix, ulid), &object);
}

/* Parts of a file on their way. */
typedef struct Sending
{
	const PromBlockTarget *target;
	PromUpload *upload;
	PromPart   *there;			/* parts that somebody has sent before */
	int			nthere;
	PromTransfers *transfers;
	PromPart   *parts;
	int			nparts;
} Sending;

static void
begin_upload(Sending *s, const char *key)
{
	int			n;
	PromUpload *left = prom_bucket_uploads(s->target->bucket, key, &n);

	for (int i = 0; i < n && s->upload == NULL; i++)
	{
		if (strcmp(left[i].key, key) != 0)
			continue;
		s->there = prom_upload_parts(s->target->bucket, &left[i], &s->nthere);
		if (s->nthere >= 0)
			s->upload = &left[i];
	}
	if (s->upload == NULL)
		s->upload = prom_upload_begin(s->target->bucket, key);
}

static const char *
part_there(const Sending *s, const PromPart *part, const void *bytes)
{
	for (int i = 0; i < s->nthere; i++)
		if (s->there[i].number == part->number && prom_upload_part_is(&s->there[i], bytes, part->size))
			return s->there[i].etag;
	return NULL;
}

/* Wait for one part that was sent. */
static void
take_part(Sending *s)
{
	PromTransfer *t = prom_transfers_next(s->transfers, true);

	if (t->status != PROM_TRANSFER_OK)
		prom_transfer_raise(t);
	s->parts[t->part - 1].etag = pstrdup(t->new_etag);
	pfree((void *) t->data);
	prom_transfer_free(t);
}

static void
send_parts(Sending *s, PromPlace *files, const char *file, int64 size)
{
	for (int64 at = 0; at < size; at += PART_BYTES)
	{
		PromPart   *part = &s->parts[s->nparts++];
		uint8	   *bytes = palloc(PART_BYTES);
		PromTransfer request = {.verb = PROM_VERB_PART, .key = s->upload->key, .upload_id = s->upload->id, .data = bytes};

		CHECK_FOR_INTERRUPTS();
		request.part = part->number = s->nparts;
		request.size = part->size = Min(PART_BYTES, size - at);
		files->read(files, file, at, bytes, part->size);
		part->etag = part_there(s, part, bytes);
		if (part->etag)
		{
			pfree(bytes);
			continue;
		}
		while (prom_transfers_left(s->transfers) >= PARTS_IN_FLIGHT)
			take_part(s);
		(void) prom_transfers_add(s->transfers, &request);
	}
	while (prom_transfers_left(s->transfers) > 0)
		take_part(s);
}

/* After an error, which is the one to be told, whatever becomes of this. */
static void
abort_upload(const PromBlockTarget *t, const PromUpload *upload)
{
	PG_TRY();
	{
		prom_upload_abort(t->bucket, upload);
	}
	PG_CATCH();
	{
		FlushErrorState();
	}
	PG_END_TRY();
}

static void
upload_parts(const PromBlockTarget *t, PromPlace *files, const char *file, const char *key, int64 size)
{
	Sending		s = {.target = t};

	s.parts = palloc(sizeof(PromPart) * (size / PART_BYTES + 1));
	s.transfers = prom_transfers_begin(t->bucket);
	begin_upload(&s, key);
	PG_TRY();
	{
		send_parts(&s, files, file, size);
		(void) prom_upload_complete(t->bucket, s.upload, s.parts, s.nparts);
	}
	PG_CATCH();
	{
		MemoryContext cxt = CurrentMemoryContext;
		ErrorData  *error;

		MemoryContextSwitchTo(TopTransactionContext);
		error = CopyErrorData();
		FlushErrorState();
		prom_transfers_end(s.transfers);
		/* the parts are for the next export, if it is not for ever that the bucket refuses */
		if (error->sqlerrcode == ERRCODE_IO_ERROR)
			abort_upload(t, s.upload);
		MemoryContextSwitchTo(cxt);
		ReThrowError(error);
	}
	PG_END_TRY();
	prom_transfers_end(s.transfers);
	pfree(s.parts);
}

static void
upload_file(const PromBlockTarget *t, PromPlace *files, const char *file, const char *ulid)
{
	const char *key = psprintf("%s%s/%s", t->prefix, ulid, file);
	int64		size = files->size(files, file);
	PromObject	object;
	uint8	   *bytes;

	if (prom_bucket_head(t->bucket, key, &object) && object.size == size)
		return;
	if (size > PART_BYTES)
	{
		upload_parts(t, files, file, key, size);
		return;
	}
	bytes = palloc(size);
	files->read(files, file, 0, bytes, size);
	(void) prom_bucket_put(t->bucket, key, bytes, size);
	pfree(bytes);
}

void
prom_bucket_take_block(const PromBlockTarget *t, const char *ulid, int segments)
{
	PromPlace  *files = prom_place_of_directory(psprintf("%s/%s", t->directory, ulid));

	for (int i = 1; i <= segments; i++)
		upload_file(t, files, psprintf("chunks/%06d", i), ulid);
	upload_file(t, files, "index", ulid);
	upload_file(t, files, "meta.json", ulid);
}

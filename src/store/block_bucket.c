/*
 * block_bucket.c
 *	  Blocks in a bucket: s3://SERVER/PREFIX, where SERVER is a foreign server as the room tier has them.
 *
 * Who reads or writes needs USAGE on the server, by the role that has called, as with directories.
 *
 * A block is made in a directory of temporary files, which goes when the server starts again, and uploaded
 * with meta.json last: without that nobody, Thanos included, takes it for a block.
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

#include "common/compat.h"
#include "store/block.h"
#include "tier/tier.h"

#define SCHEME		"s3://"
#define PAGE_BYTES	(1024 * 1024)
#define PART_BYTES	(16 * 1024 * 1024)	/* what is larger is uploaded in parts */

typedef struct BucketPlace
{
	PromPlace	place;
	PromBucket *bucket;
	const char *prefix;			/* of keys; "" or with a slash at its end */
} BucketPlace;

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
	BucketPlace *b = (BucketPlace *) place;
	const char *prefix = folder[0] ? psprintf("%s%s/", b->prefix, folder) : b->prefix;
	PromListing *listing = prom_bucket_list(b->bucket, prefix, NULL, "/", 0);
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
	BucketPlace *b = (BucketPlace *) place;
	PromObject	object;

	return prom_bucket_head(b->bucket, psprintf("%s%s", b->prefix, path), &object) ? object.size : -1;
}

static void
read_object(PromPlace *place, const char *path, int64 offset, void *to, size_t len)
{
	BucketPlace *b = (BucketPlace *) place;
	char	   *key = psprintf("%s%s", b->prefix, path);
	void	   *bytes;

	if (len == 0)
		return;
	bytes = prom_bucket_get_range(b->bucket, key, NULL, offset, len);
	memcpy(to, bytes, len);
	pfree(bytes);
	pfree(key);
}

PromPlace *
prom_bucket_place(const char *name)
{
	BucketPlace *b = palloc0(sizeof(BucketPlace));
	char	   *shown = pstrdup(name);

	b->bucket = open_bucket(name, &b->prefix);
	while (shown[strlen(shown) - 1] == '/')
		shown[strlen(shown) - 1] = '\0';
	b->place.name = shown;
	b->place.page_bytes = PAGE_BYTES;
	b->place.list = list_bucket;
	b->place.size = object_size;
	b->place.read = read_object;
	return &b->place;
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

static void
upload_file(const PromBlockTarget *t, PromPlace *files, const char *file, const char *ulid, uint8 *buffer)
{
	const char *key = psprintf("%s%s/%s", t->prefix, ulid, file);
	int64		size = files->size(files, file);
	PromUpload *upload;
	PromPart   *parts;
	int			nparts = 0;

	if (size <= PART_BYTES)
	{
		files->read(files, file, 0, buffer, size);
		(void) prom_bucket_put(t->bucket, key, buffer, size);
		return;
	}
	upload = prom_upload_begin(t->bucket, key);
	parts = palloc(sizeof(PromPart) * (size / PART_BYTES + 1));
	PG_TRY();
	{
		for (int64 at = 0; at < size; at += PART_BYTES)
		{
			PromPart   *part = &parts[nparts++];

			part->number = nparts;
			part->size = Min(PART_BYTES, size - at);
			CHECK_FOR_INTERRUPTS();
			files->read(files, file, at, buffer, part->size);
			part->etag = prom_upload_part(t->bucket, upload, part->number, buffer, part->size);
		}
		(void) prom_upload_complete(t->bucket, upload, parts, nparts);
	}
	PG_CATCH();
	{
		MemoryContext cxt = CurrentMemoryContext;
		ErrorData  *error;

		MemoryContextSwitchTo(TopTransactionContext);
		error = CopyErrorData();
		FlushErrorState();
		/* a bucket that is silent keeps the parts; whoever cleans it up sees the upload */
		if (error->sqlerrcode != ERRCODE_CONNECTION_FAILURE && error->sqlerrcode != ERRCODE_QUERY_CANCELED)
			prom_upload_abort(t->bucket, upload);
		MemoryContextSwitchTo(cxt);
		ReThrowError(error);
	}
	PG_END_TRY();
}

void
prom_bucket_take_block(const PromBlockTarget *t, const char *ulid, int segments)
{
	PromPlace  *files = prom_place_of_directory(psprintf("%s/%s", t->directory, ulid));
	uint8	   *buffer = palloc(PART_BYTES);

	for (int i = 1; i <= segments; i++)
		upload_file(t, files, psprintf("chunks/%06d", i), ulid, buffer);
	upload_file(t, files, "index", ulid, buffer);
	upload_file(t, files, "meta.json", ulid, buffer);
	pfree(buffer);
}

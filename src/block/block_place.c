/*
 * block_place.c
 *	  Where blocks lie: directories of the server; for buckets see block_bucket.c.
 *
 * The rights are those of COPY: whoever reads must be a member of pg_read_server_files, whoever writes of
 * pg_write_server_files.  Looked at is the role that has called, not the owner of the function that runs: storing
 * samples takes the owner's rights, reading any file takes one's own.
 */
#include "postgres.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"

#include "block/block.h"

#define DIRECTORY_PAGE_BYTES (256 * 1024)

static void
check_directory(const char *name, Oid role, const char *role_name, const char *verb)
{
	/* SET ROLE counts, SECURITY DEFINER does not */
	if (!has_privs_of_role(GetOuterUserId(), role) || !has_privs_of_role(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to %s directory \"%s\"", verb, name),
				 errdetail("Only members of the role %s may %s files of the server.", role_name, verb)));
	if (!is_absolute_path(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" is not an absolute path", name)));
}

static char *
file_path(const PromPlace *place, const char *path)
{
	return path[0] ? psprintf("%s/%s", place->name, path) : pstrdup(place->name);
}

static List *
list_directory(PromPlace *place, const char *folder)
{
	char	   *path = file_path(place, folder);
	DIR		   *dir = AllocateDir(path);
	struct dirent *entry;
	List	   *names = NIL;

	if (dir == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open directory \"%s\": %m", path),
				 errhint("It must exist on the machine of the server, whose operating system account must be able to read it.")));
	while ((entry = ReadDir(dir, path)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			names = lappend(names, pstrdup(entry->d_name));
	FreeDir(dir);
	return names;
}

static int64
file_size(PromPlace *place, const char *path)
{
	char	   *name = file_path(place, path);
	struct stat st;

	if (stat(name, &st) != 0)
	{
		if (errno == ENOENT || errno == ENOTDIR)
			return -1;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", name)));
	}
	if (!S_ISREG(st.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a file", name)));
	return st.st_size;
}

/* Opened each time: a transaction's end would close it anyway, and a page is large. */
static void
read_file(PromPlace *place, const char *path, int64 offset, void *to, size_t len)
{
	char	   *name = file_path(place, path);
	int			fd = OpenTransientFile(name, O_RDONLY | PG_BINARY);
	size_t		done = 0;

	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", name)));
	while (done < len)
	{
		ssize_t		n = pg_pread(fd, (char *) to + done, len - done, offset + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read file \"%s\": %m", name)));
		if (n == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("file \"%s\" has become shorter while it was read", name)));
		done += n;
	}
	if (CloseTransientFile(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not close file \"%s\": %m", name)));
	pfree(name);
}

PromPlace *
prom_place_of_directory(const char *path)
{
	PromPlace  *place = palloc0(sizeof(PromPlace));

	place->name = path;
	place->page_bytes = DIRECTORY_PAGE_BYTES;
	place->list = list_directory;
	place->size = file_size;
	place->read = read_file;
	return place;
}

PromPlace *
prom_place_to_read(const char *name)
{
	char	   *path;

	if (prom_is_bucket(name))
		return prom_bucket_place(name);
	path = pstrdup(name);
	canonicalize_path(path);
	check_directory(path, ROLE_PG_READ_SERVER_FILES, "pg_read_server_files", "read");
	return prom_place_of_directory(path);
}

PromBlockTarget *
prom_place_to_write(const char *name)
{
	PromBlockTarget *t;
	struct stat st;
	char	   *path;

	if (prom_is_bucket(name))
		return prom_bucket_target(name);
	path = pstrdup(name);
	canonicalize_path(path);
	check_directory(path, ROLE_PG_WRITE_SERVER_FILES, "pg_write_server_files", "write");
	if (stat(path, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat directory \"%s\": %m", path),
				 PROM_HINT_WRITABLE));
	t = palloc0(sizeof(PromBlockTarget));
	t->name = t->directory = path;
	return t;
}

char *
prom_place_file(PromPlace *place, const char *path, size_t most, size_t *len)
{
	int64		size = place->size(place, path);
	char	   *bytes;

	if (size < 0)
		return NULL;
	if (size > (int64) most)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("file \"%s/%s\" is too large", place->name, path),
				 errdetail("It has " INT64_FORMAT " bytes, the limit is %zu.", size, most)));
	bytes = palloc_extended(size + 1, MCXT_ALLOC_HUGE);
	place->read(place, path, 0, bytes, size);
	bytes[size] = '\0';
	*len = size;
	return bytes;
}

bool
prom_is_ulid(const char *name)
{
	return strlen(name) == PROM_ULID_LENGTH && strspn(name, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == PROM_ULID_LENGTH;
}

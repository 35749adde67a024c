/*
 * tier_cache.c
 *	  Chunks that were fetched from a bucket, kept in files of this server for all backends.
 *
 * A file per chunk, in one of 256 directories:  DIRECTORY/c4/0123456789abcdef0123456789abcdef.  Its name is a hash of the
 * object's key and etag and of the chunk's place; what is in it is believed only if its checksum is the one that
 * the object's directory has for the chunk.  So nothing has to be written in any order, nothing is synced, files may
 * be cut short, altered or removed at any time, and a crash leaves at worst some that are of no use.
 *
 * Each directory may hold its part of promgres.tier_cache_size.  How much it holds is counted in shared memory, and
 * found out when it is first written to after the start of the server.  Bytes are added to the count before a file
 * is written, and if there are too many those not used for longest go (by their modification time, which reading
 * renews), until a tenth is free; that also corrects the count.  One backend does that at a time; others go without
 * storing meanwhile.
 *
 * The directory's name begins as those of temporary files do, by which base backups and pg_rewind leave it out.
 * Without shared memory, that is, if promgres is not preloaded, nothing is kept.
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "postmaster/postmaster.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "archive/tier_read.h"

#define SHARES			256
#define UNKNOWN			PG_UINT64_MAX
#define RENEW_S			60		/* a file used again that soon is not touched */
#define FILE_COST		4096	/* what a file takes beside its bytes: half a block, its inode */
#define DEFAULT_DIRECTORY "pgsql_tmp.promgres_tier"

typedef struct Share
{
	pg_atomic_uint64 bytes;		/* UNKNOWN: not looked at since the start of the server */
	pg_atomic_flag sweeping;
} Share;

/* A file that may be thrown out. */
typedef struct Candidate
{
	char		name[40];
	time_t		used;
	uint64		bytes;
} Candidate;

typedef struct Path
{
	int			share;
	char		file[MAXPGPATH];
} Path;

static int	cache_size_mb = 1024;
static char *cache_directory = NULL;

static Share *shares = NULL;
static shmem_request_hook_type next_request_hook = NULL;
static shmem_startup_hook_type next_startup_hook = NULL;

static Path path_of(const PromTierObject *o, const PromObjectEntry *chunk);
static const char *share_directory(int share);
static bool reserve(int share, uint64 bytes);
static void sweep(int share, uint64 most);
static void store(const Path *p, const char *bytes, size_t length);

PG_FUNCTION_INFO_V1(prom_tier_cache_bytes);

static uint64
share_limit(void)
{
	return (uint64) cache_size_mb * 1024 * 1024 / SHARES;
}

static uint64
cost(uint64 length)
{
	return length + FILE_COST;
}

bool
prom_tier_cache_get(const PromTierObject *o, const PromObjectEntry *chunk, char *bytes)
{
	Path		p;
	struct stat st;
	bool		whole;
	int			fd;

	if (shares == NULL || cache_size_mb == 0)
		return false;
	p = path_of(o, chunk);
	fd = OpenTransientFile(p.file, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return false;
	whole = fstat(fd, &st) == 0 && st.st_size == chunk->length && read(fd, bytes, chunk->length) == chunk->length &&
		prom_object_chunk_is_whole(chunk, bytes);
	if (whole && time(NULL) - st.st_mtime > RENEW_S)
		(void) futimens(fd, NULL);
	CloseTransientFile(fd);
	/* it stays counted until the next sweep, or is replaced */
	if (!whole)
		(void) unlink(p.file);
	return whole;
}

void
prom_tier_cache_put(const PromTierObject *o, const PromObjectEntry *chunk, const char *bytes)
{
	Path		p;

	if (shares == NULL || cache_size_mb == 0)
		return;
	p = path_of(o, chunk);
	if (access(p.file, F_OK) == 0 || !reserve(p.share, cost(chunk->length)))
		return;
	store(&p, bytes, chunk->length);
}

static const char *
top_directory(void)
{
	return cache_directory != NULL && cache_directory[0] != '\0' ? cache_directory : DEFAULT_DIRECTORY;
}

static const char *
share_directory(int share)
{
	static char directory[MAXPGPATH];

	snprintf(directory, sizeof(directory), "%s/%02x", top_directory(), share);
	return directory;
}

static Path
path_of(const PromTierObject *o, const PromObjectEntry *chunk)
{
	Path		p;
	uint64		a = hash_bytes_extended((const unsigned char *) o->key, strlen(o->key), chunk->offset);
	uint64		b = hash_bytes_extended((const unsigned char *) o->etag, strlen(o->etag), a ^ chunk->crc);

	p.share = (int) (b % SHARES);
	snprintf(p.file, sizeof(p.file), "%s/%016" INT64_MODIFIER "x%016" INT64_MODIFIER "x", share_directory(p.share), a, b);
	return p;
}

/* Count bytes that are going to be written; false: there is no room for them. */
static bool
reserve(int share, uint64 bytes)
{
	Share	   *s = &shares[share];
	uint64		limit = share_limit();

	if (bytes > limit)
		return false;
	if (pg_atomic_read_u64(&s->bytes) == UNKNOWN || pg_atomic_read_u64(&s->bytes) + bytes > limit)
		sweep(share, limit - Max(limit / 10, bytes));
	if (pg_atomic_read_u64(&s->bytes) == UNKNOWN)
		return false;
	if (pg_atomic_fetch_add_u64(&s->bytes, bytes) + bytes <= limit)
		return true;
	(void) pg_atomic_fetch_sub_u64(&s->bytes, bytes);
	return false;
}

/* qsort: the one used longest ago first */
static int
compare_candidates(const void *a, const void *b)
{
	time_t		x = ((const Candidate *) a)->used;
	time_t		y = ((const Candidate *) b)->used;

	return (x > y) - (x < y);
}

/* The files of a directory; what a backend has left half written before the server was started goes. */
static Candidate *
list_files(const char *directory, int *n, uint64 *bytes)
{
	Candidate  *files = palloc(sizeof(Candidate) * 64);
	int			size = 64;
	DIR		   *dir = AllocateDir(directory);
	struct dirent *de;

	*n = 0;
	*bytes = 0;
	while (dir != NULL && (de = ReadDirExtended(dir, directory, DEBUG1)) != NULL)
	{
		char		file[MAXPGPATH * 2];
		struct stat st;

		snprintf(file, sizeof(file), "%s/%s", directory, de->d_name);
		if (stat(file, &st) != 0 || !S_ISREG(st.st_mode))
			continue;
		if (strlen(de->d_name) != 32)
		{
			if (st.st_mtime < timestamptz_to_time_t(PgStartTime))
				(void) unlink(file);
			continue;
		}
		if (*n == size)
			files = repalloc_huge(files, sizeof(Candidate) * (size *= 2));
		strlcpy(files[*n].name, de->d_name, sizeof(files[*n].name));
		files[*n].used = st.st_mtime;
		files[*n].bytes = cost(st.st_size);
		*bytes += files[(*n)++].bytes;
	}
	if (dir != NULL)
		FreeDir(dir);
	return files;
}

/* Unlink the files used longest ago, until there are at most so many bytes; returns what is left. */
static uint64
throw_out(const char *directory, uint64 most)
{
	uint64		bytes;
	int			n;
	Candidate  *files = list_files(directory, &n, &bytes);
	int			gone = 0;

	qsort(files, n, sizeof(Candidate), compare_candidates);
	for (; gone < n && bytes > most; gone++)
	{
		char		file[MAXPGPATH * 2];

		snprintf(file, sizeof(file), "%s/%s", directory, files[gone].name);
		(void) unlink(file);
		bytes -= files[gone].bytes;
	}
	pfree(files);
	prom_stat_count_now(PROM_STAT_TIER_EVICTED, gone);
	return bytes;
}

/* Throw files out and correct the count, to which others may add meanwhile if it is known. */
static void
sweep(int share, uint64 most)
{
	Share	   *s = &shares[share];
	uint64		before;

	if (!pg_atomic_test_set_flag(&s->sweeping))
		return;
	before = pg_atomic_read_u64(&s->bytes);
	PG_TRY();
	{
		uint64		bytes = throw_out(share_directory(share), most);

		if (before == UNKNOWN)
			pg_atomic_write_u64(&s->bytes, bytes);
		else
			(void) pg_atomic_fetch_add_u64(&s->bytes, (int64) (bytes - before));
	}
	PG_CATCH();
	{
		pg_atomic_clear_flag(&s->sweeping);
		PG_RE_THROW();
	}
	PG_END_TRY();
	pg_atomic_clear_flag(&s->sweeping);
}

/* A file appears as a whole, or not. */
static void
store(const Path *p, const char *bytes, size_t length)
{
	char		file[MAXPGPATH * 2];
	bool		whole;
	int			fd;

	snprintf(file, sizeof(file), "%s.%d", p->file, MyProcPid);
	fd = OpenTransientFile(file, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY);
	if (fd < 0 && errno == ENOENT)
	{
		(void) MakePGDirectory(top_directory());
		(void) MakePGDirectory(share_directory(p->share));
		fd = OpenTransientFile(file, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY);
	}
	if (fd >= 0)
	{
		whole = write(fd, bytes, length) == (ssize_t) length;
		whole = CloseTransientFile(fd) == 0 && whole;
		if (whole && rename(file, p->file) == 0)
			return;
		(void) unlink(file);
	}
	(void) pg_atomic_fetch_sub_u64(&shares[p->share].bytes, cost(length));
}

/* _tier_cache_bytes(): what the cache takes, as far as it has been written to since the start of the server */
Datum
prom_tier_cache_bytes(PG_FUNCTION_ARGS)
{
	uint64		sum = 0;

	if (shares == NULL)
		PG_RETURN_NULL();
	for (int i = 0; i < SHARES; i++)
	{
		uint64		bytes = pg_atomic_read_u64(&shares[i].bytes);

		if (bytes != UNKNOWN)
			sum += bytes;
	}
	PG_RETURN_INT64((int64) sum);
}

/* ---- shared memory, settings ---- */

static void
request_shmem(void)
{
	if (next_request_hook)
		next_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(Share) * SHARES));
}

static void
start_shmem(void)
{
	bool		found;

	if (next_startup_hook)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shares = ShmemInitStruct("promgres tier cache", sizeof(Share) * SHARES, &found);
	for (int i = 0; i < SHARES && !found; i++)
	{
		pg_atomic_init_u64(&shares[i].bytes, UNKNOWN);
		pg_atomic_init_flag(&shares[i].sweeping);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
prom_tier_cache_init(void)
{
	/* a library that is loaded later may not define what is set at the start alone */
	GucContext	fixed = process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP;

	DefineCustomIntVariable("promgres.tier_cache_size",
							"Disk space for samples that were fetched from a bucket; 0 keeps none.",
							NULL, &cache_size_mb, 1024, 0, PG_INT32_MAX, PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomStringVariable("promgres.tier_cache_directory",
							   "Where they are kept; empty is a directory of the data directory that backups leave out.",
							   NULL, &cache_directory, "", fixed, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	next_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = start_shmem;
}

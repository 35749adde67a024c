/*
 * tier.h
 *	  The room tier: named objects in a bucket, over S3's protocol.
 *
 * A bucket is a foreign server of the foreign data wrapper promgres_s3; its options say where and how,
 * a user mapping (or the environment, or a file of the server account) with which credentials.  The room
 * knows neither chunks nor tables: keys and bytes go in, keys and bytes come out.
 *
 * Keys given here are relative to the bucket's prefix, and so are those in answers.  They are UTF-8, not
 * empty, at most 1,024 bytes with the prefix.  Etags are opaque, kept with their quotes as the bucket
 * gave them.  An upload's checksum is always sent (and signed), so that the bucket refuses a body that
 * was altered on its way; what the bucket says of a body that comes back is compared with what was asked.
 *
 * Two ways to call it:
 *
 * - prom_bucket_put, _get, _head, …: one request, waited for; an error is raised.
 * - transfers: many requests in flight; each ends by itself, and the caller decides what a failed one
 *   means.
 *
 * Both are tried again, with growing pauses, when the bucket is overloaded or silent, up to the option
 * "retries" and until "operation_timeout" is over, and both are ended by a cancelled query: at most 50 ms
 * pass between two looks at interrupts.  Nothing is held but memory: whoever leaves by an error has nothing
 * to clean up, because connections of a PromTransfers end with the memory context that it was made in.
 *
 * No function here may be called while a lock on rows, pages or LWLocks is held.
 */
#ifndef PROM_TIER_H
#define PROM_TIER_H

#include "postgres.h"

#include "utils/timestamp.h"

/* The least size of a part of an upload, but for the last; and the most parts. */
#define PROM_PART_MIN_BYTES		(5 * 1024 * 1024)
#define PROM_PART_MAX_COUNT		10000

/* What one prom_bucket_delete_many takes. */
#define PROM_DELETE_MAX			1000

/* --- bucket.c: which bucket --- */

typedef struct PromBucket PromBucket;

/* The foreign server that promgres.tier_server names; InvalidOid if it is empty.  An error if there is none such. */
extern Oid	prom_tier_server(void);

/* A foreign server by its name; an error, which says what to do, if there is none. */
extern Oid	prom_bucket_find(const char *name);

/* The same for a name that a user gives: the current user must have USAGE on it. */
extern Oid	prom_bucket_server(const char *name);

/*
 * Read options and credentials; no network.  Credentials are those of the server's owner (or of PUBLIC),
 * whoever asks: readers need no mapping.  Permissions are not looked at: who takes a server's name from a
 * user calls prom_bucket_server.  Lives in the current memory context.
 */
extern PromBucket *prom_bucket_open(Oid server);

/* 'bucket "name" at host:port', for messages and reports; never has a secret. */
extern const char *prom_bucket_describe(const PromBucket *bucket);

/* How many transfers the bucket's options allow at a time. */
extern int	prom_bucket_transfers(const PromBucket *bucket);

/* --- s3.c: one request, waited for --- */

typedef struct PromObject
{
	const char *key;
	const char *etag;
	int64		size;			/* bytes, of the whole object */
	TimestampTz modified;
} PromObject;

/*
 * Store an object, replacing what has the key.  Returns its etag.  The SHA-256 of the bytes is kept beside
 * the object, and prom_bucket_get compares it.
 */
extern const char *prom_bucket_put(PromBucket *bucket, const char *key, const void *data, size_t size);

/*
 * The same, only if there is no such object.  False: there was one (or an earlier try of this very call
 * has stored it).  Not every S3 can: for those that refuse, a look is taken first, and of two who store
 * at the same moment the later wins.
 */
extern bool prom_bucket_put_new(PromBucket *bucket, const char *key, const void *data, size_t size);

/*
 * A whole object of at most max_size bytes, in the current memory context; NULL if there is none.
 * *object (may be NULL) gets what the bucket says of it.
 */
extern void *prom_bucket_get(PromBucket *bucket, const char *key, size_t max_size, size_t *size, PromObject *object);

/* The bytes [offset, offset + length) of an object; it must have them all.  etag: see PromTransfer. */
extern void *prom_bucket_get_range(PromBucket *bucket, const char *key, const char *etag, int64 offset, size_t length);

/* False: no such object. */
extern bool prom_bucket_head(PromBucket *bucket, const char *key, PromObject *object);

/* Deleting what is not there is no error. */
extern void prom_bucket_delete(PromBucket *bucket, const char *key);
extern void prom_bucket_delete_many(PromBucket *bucket, const char *const *keys, int nkeys);

/* --- list.c: what is there, in the order of the keys' bytes --- */

typedef struct PromListing PromListing;

/*
 * Objects whose keys begin with prefix (may be ""), come after `after` (NULL: from the first), page_size
 * of them per request (0: as many as the bucket gives, usually 1000).  With a delimiter (NULL: none), keys
 * that have it behind the prefix are folded into one, which ends with it and has the size -1.
 * Memory: one page at a time, in a child of the current context.
 */
extern PromListing *prom_bucket_list(PromBucket *bucket, const char *prefix, const char *after, const char *delimiter,
									 int page_size);

/* The next, until false; *object lives until the next call. */
extern bool prom_listing_next(PromListing *listing, PromObject *object);
extern void prom_listing_end(PromListing *listing);

/* --- upload.c: large objects in parts, which survive whoever sent them --- */

typedef struct PromUpload
{
	const char *key;
	const char *id;				/* the bucket's name for it; keep it to go on after a crash */
	TimestampTz begun;			/* of those that were listed */
} PromUpload;

typedef struct PromPart
{
	int			number;			/* 1 to PROM_PART_MAX_COUNT */
	const char *etag;
	int64		size;
} PromPart;

extern PromUpload *prom_upload_begin(PromBucket *bucket, const char *key);

/* Parts that are there already, by number; *nparts is -1 if there is no such upload (any more). */
extern PromPart *prom_upload_parts(PromBucket *bucket, const PromUpload *upload, int *nparts);

/* One part, waited for; its etag.  Several at a time: PROM_VERB_PART. */
extern const char *prom_upload_part(PromBucket *bucket, const PromUpload *upload, int number, const void *data, size_t size);

/*
 * Are these the bytes of a part that the bucket has?  By its etag, which is their MD5, but where the bucket encrypts with
 * keys of its own: false if it cannot be told.
 */
extern bool prom_upload_part_is(const PromPart *part, const void *data, size_t size);

/* The parts become the object.  Returns its etag. */
extern const char *prom_upload_complete(PromBucket *bucket, const PromUpload *upload, const PromPart *parts, int nparts);

/* No error if it is gone. */
extern void prom_upload_abort(PromBucket *bucket, const PromUpload *upload);

/* Uploads that were begun and neither completed nor aborted, of keys with this prefix. */
extern PromUpload *prom_bucket_uploads(PromBucket *bucket, const char *prefix, int *nuploads);

/* --- transfer.c: many at a time --- */

typedef enum PromVerb
{
	PROM_VERB_GET,				/* offset, length; length < 0: to the end, which then is at most max_size */
	PROM_VERB_PUT,				/* data, size */
	PROM_VERB_PART,				/* data, size, upload_id, part */
	PROM_VERB_HEAD,
	PROM_VERB_DELETE
} PromVerb;

typedef enum PromTransferStatus
{
	PROM_TRANSFER_OK,
	PROM_TRANSFER_NO_OBJECT,	/* there is no such object (or upload) */
	PROM_TRANSFER_CHANGED,		/* the object is not that of the etag, or exists already */
	PROM_TRANSFER_DENIED,		/* credentials, permissions, clock */
	PROM_TRANSFER_REFUSED,		/* the bucket refuses for another reason: no such bucket, quota, … */
	PROM_TRANSFER_DAMAGED,		/* it answers with other bytes than it should, again and again */
	PROM_TRANSFER_SILENT		/* no answer in time, no connection, overloaded, for all tries */
} PromTransferStatus;

typedef struct PromTransfer PromTransfer;

/*
 * Looks at the bytes of a GET.  False: they are not what they should be, and are asked for again.  Called
 * in the middle of libcurl's work: may neither raise, nor allocate, nor start transfers.
 */
typedef bool (*PromVerify) (const PromTransfer *transfer, const void *data, size_t size, void *arg);

/*
 * One request and what became of it.  The caller fills in the first part (zeroed before); strings are
 * copied, bytes are not and must stay until the transfer is over.
 */
struct PromTransfer
{
	/* what is asked */
	PromVerb	verb;
	const char *key;
	const char *etag;			/* GET: only if the object has this etag; NULL: whatever it has */
	int64		offset;
	int64		length;
	size_t		max_size;
	const void *data;			/* PUT, PART */
	size_t		size;
	const char *upload_id;
	int			part;
	PromVerify	verify;
	void	   *arg;			/* the caller's, for verify and for itself */

	/* what came back */
	PromTransferStatus status;
	char	   *body;			/* GET: the bytes, in the context of the PromTransfers; the caller may pfree it */
	size_t		body_size;
	const char *new_etag;		/* of the object or part, as far as it was told */
	int64		object_size;	/* GET, HEAD: of the whole object */
	TimestampTz modified;		/* HEAD, GET */
	int			tries;			/* requests made, 1 and more */
	int64		micros;			/* from the first try to the end */
};

typedef struct PromTransfers PromTransfers;

/*
 * A place for transfers, in a child of the current memory context; the bucket must live as long.  At most as
 * many as the server's option "transfers" says are on the wire at a time, the others wait in the order in which they were given.
 */
extern PromTransfers *prom_transfers_begin(PromBucket *bucket);

/* Give it one; it is on its way when the next of these functions is called.  Does not wait. */
extern PromTransfer *prom_transfers_add(PromTransfers *transfers, const PromTransfer *request);

/*
 * The next one that has ended, in the order in which they end; NULL if none is left.  Waits for it unless
 * told otherwise, and then NULL can mean that none has ended yet: prom_transfers_left tells.
 */
extern PromTransfer *prom_transfers_next(PromTransfers *transfers, bool wait);

/* Not yet handed out by prom_transfers_next. */
extern int	prom_transfers_left(const PromTransfers *transfers);

/* Give up one that was handed out, with its body (unless that was taken: body = NULL). */
extern void prom_transfer_free(PromTransfer *transfer);

/* Give up all of them; those on the wire are ended.  Resetting the memory context does the same. */
extern void prom_transfers_end(PromTransfers *transfers);

/* Raise what went wrong as an error that names object and cause; the transfer must not be OK. */
extern void prom_transfer_raise(const PromTransfer *transfer) pg_attribute_noreturn();

/* The same as one line of text, for warnings: 'object "k" of bucket "b" at host: 503 SlowDown'. */
extern const char *prom_transfer_error(const PromTransfer *transfer);

/* The SQLSTATE that prom_transfer_raise has. */
extern int	prom_transfer_sqlstate(const PromTransfer *transfer);

/* Defines the settings; called once, when the library is loaded. */
extern void prom_tier_init(void);

#endif							/* PROM_TIER_H */

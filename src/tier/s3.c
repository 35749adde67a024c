/*
 * s3.c
 *	  The verbs: what is requested for each, and the form of it that waits.
 *
 * Conditional PUT is not in every S3 (Swift answers 501).  Who refuses it once is not asked again by the
 * same PromBucket; a look before the PUT then takes its place.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "tier/request.h"

#define MAX_ANSWER (1024 * 1024)

static PromTransfer *run(PromBucket *bucket, const PromTransfer *transfer);
static bool store(PromBucket *bucket, const char *key, const void *data, size_t size, bool is_new, const char **etag);
static bool describe(const PromTransfer *answer, PromObject *object);
static void delete_some(PromBucket *bucket, const char *const *keys, int nkeys);
static bool fits_xml(const char *key);
static const char *content_md5(const char *data, size_t size);

const char *
prom_bucket_put(PromBucket *bucket, const char *key, const void *data, size_t size)
{
	const char *etag;

	(void) store(bucket, key, data, size, false, &etag);
	return etag;
}

bool
prom_bucket_put_new(PromBucket *bucket, const char *key, const void *data, size_t size)
{
	const char *etag;

	if (!bucket->no_conditions)
		return store(bucket, key, data, size, true, &etag);
	if (prom_bucket_head(bucket, key, NULL))
		return false;
	return store(bucket, key, data, size, false, &etag);
}

void *
prom_bucket_get(PromBucket *bucket, const char *key, size_t max_size, size_t *size, PromObject *object)
{
	PromTransfer get = {.verb = PROM_VERB_GET,.key = key,.length = -1,.max_size = max_size};
	PromTransfer *answer = run(bucket, &get);

	if (!describe(answer, object))
		return NULL;
	*size = answer->body_size;
	return answer->body != NULL ? answer->body : palloc(1);
}

void *
prom_bucket_get_range(PromBucket *bucket, const char *key, const char *etag, int64 offset, size_t length)
{
	PromTransfer get = {.verb = PROM_VERB_GET,.key = key,.etag = etag,.offset = offset,.length = length};
	PromTransfer *answer = run(bucket, &get);

	if (answer->status != PROM_TRANSFER_OK)
		prom_transfer_raise(answer);
	return answer->body;
}

bool
prom_bucket_head(PromBucket *bucket, const char *key, PromObject *object)
{
	PromTransfer head = {.verb = PROM_VERB_HEAD,.key = key};

	return describe(run(bucket, &head), object);
}

void
prom_bucket_delete(PromBucket *bucket, const char *key)
{
	PromTransfer delete = {.verb = PROM_VERB_DELETE,.key = key};

	(void) describe(run(bucket, &delete), NULL);
}

void
prom_bucket_delete_many(PromBucket *bucket, const char *const *keys, int nkeys)
{
	for (int i = 0; i < nkeys; i += PROM_DELETE_MAX)
		delete_some(bucket, keys + i, Min(nkeys - i, PROM_DELETE_MAX));
}

/* --- what is requested --- */

void
prom_request_of(const PromBucket *bucket, const PromTransfer *transfer, PromRequest *request)
{
	static const struct
	{
		const char *method;
		const char *doing;
	}			verbs[] = {
		[PROM_VERB_GET] = {"GET", "get"},
		[PROM_VERB_PUT] = {"PUT", "put"},
		[PROM_VERB_PART] = {"PUT", "put a part of"},
		[PROM_VERB_HEAD] = {"HEAD", "look at"},
		[PROM_VERB_DELETE] = {"DELETE", "delete"},
	};
	char	   *hash;

	memset(request, 0, sizeof(PromRequest));
	request->method = verbs[transfer->verb].method;
	request->doing = verbs[transfer->verb].doing;
	request->key = transfer->key;
	(void) prom_bucket_full_key(bucket, transfer->key);
	switch (transfer->verb)
	{
		case PROM_VERB_GET:
			Assert(transfer->length != 0);
			request->wants_body = true;
			if (transfer->length > 0)
				prom_request_header(request, "range", psprintf("bytes=%lld-%lld", (long long) transfer->offset,
															   (long long) (transfer->offset + transfer->length - 1)));
			else if (transfer->offset > 0)
				prom_request_header(request, "range", psprintf("bytes=%lld-", (long long) transfer->offset));
			if (transfer->etag != NULL)
				prom_request_header(request, "if-match", transfer->etag);
			break;
		case PROM_VERB_PUT:
			prom_request_object_headers(bucket, request);
			hash = palloc(PROM_SIGV4_HASH_BYTES);
			if (prom_sigv4_hash(transfer->size > 0 ? transfer->data : "", transfer->size, hash))
				prom_request_header(request, "x-amz-meta-sha256", hash);
			break;
		case PROM_VERB_PART:
			prom_request_query(request, "partNumber", psprintf("%d", transfer->part));
			prom_request_query(request, "uploadId", transfer->upload_id);
			break;
		case PROM_VERB_HEAD:
		case PROM_VERB_DELETE:
			break;
	}
	if (transfer->verb == PROM_VERB_PUT || transfer->verb == PROM_VERB_PART)
	{
		request->data = transfer->data;
		request->size = transfer->size;
	}
}

void
prom_request_query(PromRequest *request, const char *name, const char *value)
{
	Assert(request->nquery < PROM_REQUEST_MAX_PAIRS);
	request->query[request->nquery++] = (PromPair) {name, value};
}

void
prom_request_header(PromRequest *request, const char *name, const char *value)
{
	Assert(request->nheaders < PROM_REQUEST_MAX_PAIRS);
	request->headers[request->nheaders++] = (PromPair) {name, value};
}

void
prom_request_object_headers(const PromBucket *bucket, PromRequest *request)
{
	if (bucket->storage_class != NULL)
		prom_request_header(request, "x-amz-storage-class", bucket->storage_class);
	if (bucket->encryption != NULL)
		prom_request_header(request, "x-amz-server-side-encryption", bucket->encryption);
	if (bucket->kms_key_id != NULL)
		prom_request_header(request, "x-amz-server-side-encryption-aws-kms-key-id", bucket->kms_key_id);
}

const char *
prom_bucket_full_key(const PromBucket *bucket, const char *key)
{
	size_t		len = strlen(key);

	if (len == 0 || len + strlen(bucket->prefix) > PROM_REQUEST_MAX_KEY || !pg_verify_mbstr(PG_UTF8, key, len, true))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid key of an object"),
				 errdetail("A key has 1 to %d bytes of UTF-8, the prefix included.", PROM_REQUEST_MAX_KEY)));
	return psprintf("%s%s", bucket->prefix, key);
}

/* --- each of them --- */

static PromTransfer *
run(PromBucket *bucket, const PromTransfer *transfer)
{
	PromRequest request;

	prom_request_of(bucket, transfer, &request);
	return prom_request_run(bucket, transfer, &request);
}

/* False: no such object.  Another failure is raised. */
static bool
describe(const PromTransfer *answer, PromObject *object)
{
	if (answer->status == PROM_TRANSFER_NO_OBJECT)
		return false;
	if (answer->status != PROM_TRANSFER_OK)
		prom_transfer_raise(answer);
	if (object != NULL)
	{
		object->key = answer->key;
		object->etag = answer->new_etag;
		object->size = answer->object_size;
		object->modified = answer->modified;
	}
	return true;
}

static bool
store(PromBucket *bucket, const char *key, const void *data, size_t size, bool is_new, const char **etag)
{
	PromTransfer put = {.verb = PROM_VERB_PUT,.key = key,.data = data,.size = size};
	PromTransfer *answer;
	PromRequest request;

	prom_request_of(bucket, &put, &request);
	if (is_new)
		prom_request_header(&request, "if-none-match", "*");
	answer = prom_request_run(bucket, &put, &request);
	if (is_new && answer->status == PROM_TRANSFER_CHANGED)
		return false;
	if (is_new && ((PromFlight *) answer)->http == PROM_HTTP_NOT_IMPLEMENTED)
	{
		bucket->no_conditions = true;
		return prom_bucket_put_new(bucket, key, data, size);
	}
	if (answer->status != PROM_TRANSFER_OK)
		prom_transfer_raise(answer);
	*etag = answer->new_etag;
	return true;
}

/* --- many at once --- */

typedef struct Refused
{
	char		key[256];		/* as much of it as fits */
	char		code[64];
	bool		any;
} Refused;

static bool
take_refused(const char *parent, const char *name, const char *text, void *arg)
{
	Refused    *r = arg;

	if (strcmp(parent, "Error") == 0 && text != NULL && !r->any)
	{
		if (strcmp(name, "Key") == 0)
			strlcpy(r->key, text, pg_encoding_mbcliplen(PG_UTF8, text, strlen(text), sizeof(r->key) - 1) + 1);
		else if (strcmp(name, "Code") == 0)
			strlcpy(r->code, text, sizeof(r->code));
	}
	if (text != NULL && strcmp(name, "Error") == 0)
		r->any = r->any || strcmp(r->code, "NoSuchKey") != 0;
	return true;
}

static void
delete_some(PromBucket *bucket, const char *const *keys, int nkeys)
{
	PromTransfer post = {.verb = PROM_VERB_GET,.length = -1,.max_size = MAX_ANSWER};
	PromRequest request = {.method = "POST",.doing = "delete objects of",.wants_body = true,.xml_answer = true};
	PromTransfer *answer;
	StringInfoData xml;
	Refused		refused = {.any = false};
	const char *reason;
	int			n = 0;

	initStringInfo(&xml);
	appendStringInfoString(&xml, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");
	for (int i = 0; i < nkeys; i++)
	{
		if (!fits_xml(keys[i]))
		{
			prom_bucket_delete(bucket, keys[i]);
			continue;
		}
		appendStringInfoString(&xml, "<Object><Key>");
		prom_xml_escape(&xml, prom_bucket_full_key(bucket, keys[i]));
		appendStringInfoString(&xml, "</Key></Object>");
		n++;
	}
	appendStringInfoString(&xml, "</Delete>");
	if (n == 0)
		return;
	prom_request_query(&request, "delete", "");
	prom_request_header(&request, "content-md5", content_md5(xml.data, xml.len));
	request.data = xml.data;
	request.size = xml.len;
	answer = prom_request_run(bucket, &post, &request);
	if (answer->status != PROM_TRANSFER_OK)
		prom_transfer_raise(answer);
	if (answer->body_size > 0 && !prom_xml_read(answer->body, answer->body_size, take_refused, &refused, &reason))
		prom_answer_malformed(bucket, request.doing, reason);
	if (refused.any)
		ereport(ERROR,
				(errcode(ERRCODE_IO_ERROR),
				 errmsg("could not delete object \"%s\" of %s", prom_bucket_redact(bucket, refused.key), bucket->description),
				 errdetail("It answered %s.", prom_bucket_redact(bucket, refused.code))));
}

/* XML has no way to write most control characters. */
static bool
fits_xml(const char *key)
{
	for (const char *p = key; *p != '\0'; p++)
		if ((unsigned char) *p < ' ')
			return false;
	return true;
}

/* S3 wants this one of a body that names what is to be deleted. */
static const char *
content_md5(const char *data, size_t size)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len;
	char	   *text = palloc(2 * EVP_MAX_MD_SIZE);

	if (EVP_Digest(data, size, digest, &len, EVP_md5(), NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not compute an MD5 hash"),
				 errdetail("S3 wants one of each request that deletes several objects.")));
	EVP_EncodeBlock((unsigned char *) text, digest, len);
	return text;
}

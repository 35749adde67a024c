/*
 * upload.c
 *	  Large objects in parts: begin, put parts, complete; or abort, or find again what was left.
 *
 * Between begin and complete the parts belong to the bucket and are known by the upload's id: whoever
 * keeps that can go on after a crash with the parts that are missing.  Nothing of it is an object until
 * it is complete, and then all of it is.
 */
#include "postgres.h"

#include "common/md5.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "tier/request.h"

#define MAX_ANSWER (8 * 1024 * 1024)

/* What a reader of an answer is filling. */
typedef struct Reader
{
	PromBucket *bucket;
	PromGrowing parts;
	PromGrowing uploads;
	PromPart	part;
	PromUpload	upload;
	char	   *upload_id;
	char	   *etag;
	bool		encoded;
	bool		truncated;
	char	   *next_part;
	char	   *next_key;
	char	   *next_upload;
} Reader;

static PromTransfer *ask(PromBucket *bucket, const PromRequest *request, Reader *reader);
static bool take_element(const char *parent, const char *name, const char *text, void *arg);
static bool keep(char **target, PromGrowing *list, const char *text);
static int	compare_parts(const void *a, const void *b);

PromUpload *
prom_upload_begin(PromBucket *bucket, const char *key)
{
	PromRequest request = {.method = "POST",.doing = "begin the upload of",.key = key};
	PromUpload *upload = palloc0(sizeof(PromUpload));
	Reader		reader;
	PromTransfer *answer;

	(void) prom_bucket_full_key(bucket, key);
	prom_request_query(&request, "uploads", "");
	prom_request_object_headers(bucket, &request);
	answer = ask(bucket, &request, &reader);
	if (answer->status != PROM_TRANSFER_OK)
		prom_transfer_raise(answer);
	if (reader.upload_id == NULL)
		prom_answer_malformed(bucket, request.doing, "it has no UploadId");
	upload->key = pstrdup(key);
	upload->id = reader.upload_id;
	return upload;
}

PromPart *
prom_upload_parts(PromBucket *bucket, const PromUpload *upload, int *nparts)
{
	PromGrowing all = {.context = CurrentMemoryContext,.item_size = sizeof(PromPart)};
	Reader		reader;
	char	   *after = NULL;

	do
	{
		PromRequest request = {.method = "GET",.doing = "list the parts of",.key = upload->key};
		PromTransfer *answer;

		prom_request_query(&request, "uploadId", upload->id);
		if (after != NULL)
			prom_request_query(&request, "part-number-marker", after);
		answer = ask(bucket, &request, &reader);
		if (answer->status == PROM_TRANSFER_NO_OBJECT)
		{
			*nparts = -1;
			return NULL;
		}
		if (answer->status != PROM_TRANSFER_OK)
			prom_transfer_raise(answer);
		for (int i = 0; i < reader.parts.n; i++)
		{
			PromPart   *part = prom_growing_add(&all);

			if (part == NULL)
				ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
			*part = ((PromPart *) reader.parts.items)[i];
		}
		if (reader.truncated && (reader.next_part == NULL || (after != NULL && strcmp(after, reader.next_part) == 0)))
			prom_answer_malformed(bucket, request.doing, "it says that there is more, and not where");
		after = reader.next_part;
	} while (reader.truncated);
	if (all.n > 1)
		qsort(all.items, all.n, sizeof(PromPart), compare_parts);
	*nparts = all.n;
	return all.items;
}

const char *
prom_upload_part(PromBucket *bucket, const PromUpload *upload, int number, const void *data, size_t size)
{
	PromTransfer put = {.verb = PROM_VERB_PART,.key = upload->key,.upload_id = upload->id,.part = number,.data = data,.size = size};
	PromRequest request;
	PromTransfer *answer;

	prom_request_of(bucket, &put, &request);
	answer = prom_request_run(bucket, &put, &request);
	if (answer->status != PROM_TRANSFER_OK)
		prom_transfer_raise(answer);
	return answer->new_etag;
}

bool
prom_upload_part_is(const PromPart *part, const void *data, size_t size)
{
	char		etag[MD5_PASSWD_LEN];
	const char *reason;

	etag[0] = '"';
	if (part->size != size || !pg_md5_hash(data, size, etag + 1, &reason))
		return false;
	strcat(etag, "\"");
	return strcmp(part->etag, etag) == 0;
}

/*
 * It may be that the bucket has done it and its answer was lost: then the upload is gone, and the object there.
 * And Ceph 16 answers with an empty etag.
 */
const char *
prom_upload_complete(PromBucket *bucket, const PromUpload *upload, const PromPart *parts, int nparts)
{
	PromRequest request = {.method = "POST",.doing = "complete the upload of",.key = upload->key};
	Reader		reader;
	PromTransfer *answer;
	PromObject	object;
	StringInfoData xml;

	initStringInfo(&xml);
	appendStringInfoString(&xml, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (int i = 0; i < nparts; i++)
	{
		appendStringInfo(&xml, "<Part><PartNumber>%d</PartNumber><ETag>", parts[i].number);
		prom_xml_escape(&xml, parts[i].etag);
		appendStringInfoString(&xml, "</ETag></Part>");
	}
	appendStringInfoString(&xml, "</CompleteMultipartUpload>");
	prom_request_query(&request, "uploadId", upload->id);
	request.data = xml.data;
	request.size = xml.len;
	answer = ask(bucket, &request, &reader);
	if (answer->status == PROM_TRANSFER_NO_OBJECT && answer->tries > 1 && prom_bucket_head(bucket, upload->key, &object))
		return object.etag;
	if (answer->status != PROM_TRANSFER_OK)
		prom_transfer_raise(answer);
	if (reader.etag != NULL && reader.etag[0] != '\0')
		return reader.etag;
	if (!prom_bucket_head(bucket, upload->key, &object))
		prom_answer_malformed(bucket, request.doing, "the object is not there");
	return object.etag;
}

void
prom_upload_abort(PromBucket *bucket, const PromUpload *upload)
{
	PromTransfer none = {.verb = PROM_VERB_DELETE,.key = upload->key};
	PromRequest request = {.method = "DELETE",.doing = "abort the upload of",.key = upload->key};
	PromTransfer *answer;

	prom_request_query(&request, "uploadId", upload->id);
	answer = prom_request_run(bucket, &none, &request);
	if (answer->status != PROM_TRANSFER_OK && answer->status != PROM_TRANSFER_NO_OBJECT)
		prom_transfer_raise(answer);
}

PromUpload *
prom_bucket_uploads(PromBucket *bucket, const char *prefix, int *nuploads)
{
	PromGrowing all = {.context = CurrentMemoryContext,.item_size = sizeof(PromUpload)};
	const char *full = psprintf("%s%s", bucket->prefix, prefix);
	Reader		reader = {.truncated = false};

	do
	{
		PromRequest request = {.method = "GET",.doing = "list the uploads of"};
		char	   *key = reader.next_key;
		char	   *id = reader.next_upload;
		PromTransfer *answer;

		prom_request_query(&request, "uploads", "");
		prom_request_query(&request, "encoding-type", "url");
		if (full[0] != '\0')
			prom_request_query(&request, "prefix", full);
		if (reader.truncated)
		{
			prom_request_query(&request, "key-marker", key);
			prom_request_query(&request, "upload-id-marker", id);
		}
		answer = ask(bucket, &request, &reader);
		if (answer->status != PROM_TRANSFER_OK)
			prom_transfer_raise(answer);
		for (int i = 0; i < reader.uploads.n; i++)
		{
			PromUpload	one = ((PromUpload *) reader.uploads.items)[i];
			PromUpload *upload;

			if (reader.encoded)
				prom_xml_unquote((char *) one.key);
			/* not every S3 heeds the prefix */
			if (strncmp(one.key, full, strlen(full)) != 0)
				continue;
			upload = prom_growing_add(&all);
			if (upload == NULL)
				ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
			one.key += strlen(bucket->prefix);
			*upload = one;
		}
		if (reader.encoded && reader.next_key != NULL)
			prom_xml_unquote(reader.next_key);
		if (reader.truncated && (reader.next_key == NULL || reader.next_upload == NULL ||
								 (id != NULL && strcmp(id, reader.next_upload) == 0 && strcmp(key, reader.next_key) == 0)))
			prom_answer_malformed(bucket, request.doing, "it says that there is more, and not where");
	} while (reader.truncated);
	*nuploads = all.n;
	return all.items;
}

/* --- answers --- */

/* Request and read the XML; the caller looks at the status first. */
static PromTransfer *
ask(PromBucket *bucket, const PromRequest *what, Reader *reader)
{
	PromTransfer get = {.verb = PROM_VERB_GET,.length = -1,.max_size = MAX_ANSWER};
	PromRequest request = *what;
	PromTransfer *answer;
	const char *reason;

	memset(reader, 0, sizeof(Reader));
	reader->bucket = bucket;
	reader->parts = (PromGrowing) {.context = CurrentMemoryContext,.item_size = sizeof(PromPart)};
	reader->uploads = (PromGrowing) {.context = CurrentMemoryContext,.item_size = sizeof(PromUpload)};
	request.wants_body = request.xml_answer = true;
	answer = prom_request_run(bucket, &get, &request);
	if (answer->status == PROM_TRANSFER_OK &&
		!prom_xml_read(answer->body != NULL ? answer->body : "", answer->body_size, take_element, reader, &reason))
		prom_answer_malformed(bucket, request.doing, reason);
	return answer;
}

static bool
take_element(const char *parent, const char *name, const char *text, void *arg)
{
	Reader	   *r = arg;
	PromGrowing *list = &r->uploads;

	if (parent[0] == '\0')
		return strcmp(name, "Error") != 0;
	if (text == NULL)
		return true;
	if (strcmp(parent, "Part") == 0)
	{
		if (strcmp(name, "PartNumber") == 0)
			r->part.number = atoi(text);
		else if (strcmp(name, "Size") == 0)
			r->part.size = strtoll(text, NULL, 10);
		else if (strcmp(name, "ETag") == 0)
			return (r->part.etag = prom_growing_etag(list, text)) != NULL;
	}
	else if (strcmp(parent, "Upload") == 0)
	{
		if (strcmp(name, "Key") == 0)
			return (r->upload.key = prom_growing_text(list, text)) != NULL;
		if (strcmp(name, "UploadId") == 0)
			return (r->upload.id = prom_growing_text(list, text)) != NULL;
		if (strcmp(name, "Initiated") == 0)
			r->upload.begun = prom_xml_time(text);
	}
	else if (strcmp(name, "Part") == 0)
	{
		PromPart   *part = prom_growing_add(&r->parts);

		if (part == NULL || r->part.etag == NULL || r->part.number < 1 || r->part.number > PROM_PART_MAX_COUNT)
			return false;
		*part = r->part;
		memset(&r->part, 0, sizeof(PromPart));
	}
	else if (strcmp(name, "Upload") == 0)
	{
		PromUpload *upload = prom_growing_add(&r->uploads);

		if (upload == NULL || r->upload.key == NULL || r->upload.id == NULL)
			return false;
		*upload = r->upload;
		memset(&r->upload, 0, sizeof(PromUpload));
	}
	else if (strcmp(name, "EncodingType") == 0)
		r->encoded = strcmp(text, "url") == 0;
	else if (strcmp(name, "IsTruncated") == 0)
		r->truncated = strcmp(text, "true") == 0;
	else if (strcmp(name, "UploadId") == 0)
		return keep(&r->upload_id, list, text);
	else if (strcmp(name, "ETag") == 0)
		return (r->etag = prom_growing_etag(list, text)) != NULL;
	else if (strcmp(name, "NextPartNumberMarker") == 0)
		return keep(&r->next_part, list, text);
	else if (strcmp(name, "NextKeyMarker") == 0)
		return keep(&r->next_key, list, text);
	else if (strcmp(name, "NextUploadIdMarker") == 0)
		return keep(&r->next_upload, list, text);
	return true;
}

static bool
keep(char **target, PromGrowing *list, const char *text)
{
	*target = prom_growing_text(list, text);
	return *target != NULL;
}

static int
compare_parts(const void *a, const void *b)
{
	return ((const PromPart *) a)->number - ((const PromPart *) b)->number;
}

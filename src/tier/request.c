/*
 * request.c
 *	  One try of a request: how it is put on libcurl, and what its answer means.
 *
 * libcurl is the transport only: addresses and headers are finished when it gets them, it follows no
 * redirect, asks no .netrc and no proxy of the environment.  Its callbacks below write into the wire and
 * into memory that is asked for without raising; what they find is judged when libcurl has returned.
 *
 * Nothing of an answer is believed: its length, range and etag are compared with what was asked, a whole
 * object with the hash that was stored beside it, and text of strangers is cleaned before it gets into a
 * message.
 */
#include "postgres.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "common/clock.h"
#include "tier/request.h"

#define MAX_URL			(4 * PROM_REQUEST_MAX_KEY + 8192)
#define MAX_SCRATCH		(MAX_URL + 16384)
#define BODY_FIRST		16384

static char *make_url(const PromFlight *flight, char **path, char **query);
static void sign(PromFlight *flight, const char *path, const char *query);
static int	compare_headers(const void *a, const void *b);
static void add_header(PromWire *wire, const char *name, const char *value);
static void set_up(PromFlight *flight, const char *url, long timeout_ms);
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address);
static int	close_socket(void *arg, curl_socket_t fd);
static size_t take_header(char *line, size_t size, size_t n, void *arg);
static bool header_is(const char *line, size_t len, const char *name, const char **value, size_t *value_len);
static size_t take_body(char *data, size_t size, size_t n, void *arg);
static bool make_room(PromFlight *flight, size_t more);
static bool take_error(const char *parent, const char *name, const char *text, void *arg);
static bool judge_transport(PromFlight *flight, CURLcode result);
static bool judge_success(PromFlight *flight, long http);
static bool judge_failure(PromFlight *flight, long http);
static bool code_is(const PromWire *wire, const char *codes);
static bool ends_early(const PromTransfer *transfer, const PromWire *wire, long http);
static bool body_is_right(PromFlight *flight, long http);
static bool blame(PromFlight *flight, PromTransferStatus status, const char *cause);

void
prom_request_prepare(PromFlight *flight, long timeout_ms)
{
	MemoryContext old = MemoryContextSwitchTo(flight->context);
	PromWire   *wire = palloc0(sizeof(PromWire));
	char	   *url;
	char	   *path;
	char	   *query;

	wire->length = wire->range_first = wire->range_last = wire->range_total = -1;
	wire->modified = wire->date = wire->retry_after_s = -1;
	flight->wire = wire;
	flight->transfer.body_size = 0;
	wire->body_space = 0;
	url = make_url(flight, &path, &query);
	sign(flight, path, query);
	set_up(flight, url, timeout_ms);
	pfree(url);
	pfree(path);
	pfree(query);
	MemoryContextSwitchTo(old);
}

void
prom_request_release(PromFlight *flight)
{
	PromWire   *wire = flight->wire;

	if (wire == NULL)
		return;
	flight->wire = NULL;
	if (wire->curl != NULL)
		curl_easy_cleanup(wire->curl);
	curl_slist_free_all(wire->headers);
	pfree(wire);
}

/* --- on the wire --- */

static char *
make_url(const PromFlight *flight, char **path, char **query)
{
	const PromBucket *bucket = flight->bucket;
	PromRequest request = flight->request;
	PromText	text = {.data = palloc(MAX_URL), .size = MAX_URL};
	char	   *url;

	prom_text_put(&text, bucket->base_path, strlen(bucket->base_path));
	if (request.key != NULL || bucket->virtual_host)
		prom_text_put(&text, "/", 1);
	if (request.key != NULL)
		prom_sigv4_encode(&text, prom_bucket_full_key(bucket, request.key), true);
	prom_text_put(&text, "", 1);
	*path = text.full ? NULL : pstrdup(text.data);

	text.len = 0;
	prom_sigv4_query(&text, request.query, request.nquery);
	prom_text_put(&text, "", 1);
	if (text.full)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("address of a request to the bucket is too long")));
	*query = text.data;
	url = psprintf("%s://%s%s%s%s", bucket->tls ? "https" : "http", bucket->host, *path, **query != '\0' ? "?" : "", *query);
	return url;
}

static void
sign(PromFlight *flight, const char *path, const char *query)
{
	PromBucket *bucket = flight->bucket;
	const PromRequest *request = &flight->request;
	PromWire   *wire = flight->wire;
	PromPair	headers[PROM_REQUEST_MAX_PAIRS + 4];
	PromText	scratch = {.size = MAX_SCRATCH};
	PromText	authorization = {.size = 1024};
	PromSigV4	s = {.method = request->method,.path = path,.query = query,.headers = headers,
	.region = bucket->region,.service = "s3",.access_key = bucket->credentials.access_key,
	.secret_key = bucket->credentials.secret_key};
	char		hash[PROM_SIGV4_HASH_BYTES];
	char		now[PROM_SIGV4_TIME_BYTES];
	time_t		seconds = time(NULL);
	struct tm	tm;
	int			n = 0;
	bool		ok;

	ok = gmtime_r(&seconds, &tm) != NULL && strftime(now, sizeof(now), "%Y%m%dT%H%M%SZ", &tm) != 0 &&
		prom_sigv4_hash(request->size > 0 ? request->data : "", request->size, hash);

	memcpy(headers, request->headers, request->nheaders * sizeof(PromPair));
	n = request->nheaders;
	headers[n++] = (PromPair) {"host", bucket->host};
	headers[n++] = (PromPair) {"x-amz-content-sha256", hash};
	headers[n++] = (PromPair) {"x-amz-date", now};
	if (bucket->credentials.session_token != NULL)
		headers[n++] = (PromPair) {"x-amz-security-token", bucket->credentials.session_token};
	qsort(headers, n, sizeof(PromPair), compare_headers);
	s.nheaders = n;
	s.payload_hash = hash;
	s.time = now;

	scratch.data = palloc(scratch.size);
	authorization.data = palloc(authorization.size);
	ok = ok && prom_sigv4_sign(&s, &scratch, &authorization);
	if (ok)
	{
		for (int i = 0; i < n; i++)
			add_header(wire, headers[i].name, headers[i].value);
		add_header(wire, "authorization", authorization.data);
		/* an upload shall not wait for a "go on" that some servers never say */
		add_header(wire, "expect", "");
		if (request->size > 0)
			add_header(wire, "content-type", "application/octet-stream");
	}
	pfree(scratch.data);
	pfree(authorization.data);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not sign a request to the bucket")));
}

static int
compare_headers(const void *a, const void *b)
{
	return strcmp(((const PromPair *) a)->name, ((const PromPair *) b)->name);
}

/* With an empty value, libcurl leaves out the header that it would send. */
static void
add_header(PromWire *wire, const char *name, const char *value)
{
	char	   *line = psprintf("%s:%s%s", name, value[0] != '\0' ? " " : "", value);
	struct curl_slist *more = curl_slist_append(wire->headers, line);

	pfree(line);
	if (more == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	wire->headers = more;
}

static void
set_up(PromFlight *flight, const char *url, long timeout_ms)
{
	PromBucket *bucket = flight->bucket;
	const PromRequest *request = &flight->request;
	PromWire   *wire = flight->wire;
	CURL	   *curl = curl_easy_init();
	bool		ok = curl != NULL;

	wire->curl = curl;
#define SET(option, value) (ok = ok && curl_easy_setopt(curl, option, value) == CURLE_OK)
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
	SET(CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* whoever leaves does not wait for a name server */
	SET(CURLOPT_QUICK_EXIT, 1L);
#endif
	SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_PROXY, bucket->proxy != NULL ? bucket->proxy : "");
	SET(CURLOPT_USERAGENT, "promgres/" PROM_VERSION);
	SET(CURLOPT_HTTPHEADER, wire->headers);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long) Min(bucket->connect_timeout_ms, timeout_ms));
	SET(CURLOPT_TIMEOUT_MS, timeout_ms);
	SET(CURLOPT_ERRORBUFFER, wire->curl_error);
	SET(CURLOPT_PRIVATE, flight);
	SET(CURLOPT_HEADERFUNCTION, take_header);
	SET(CURLOPT_HEADERDATA, flight);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, flight);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	if (bucket->tls)
	{
		SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
		SET(CURLOPT_SSL_VERIFYPEER, bucket->verify_tls ? 1L : 0L);
		SET(CURLOPT_SSL_VERIFYHOST, bucket->verify_tls ? 2L : 0L);
		if (bucket->ca_file != NULL)
			SET(CURLOPT_CAINFO, bucket->ca_file);
	}
	if (strcmp(request->method, "HEAD") == 0)
		SET(CURLOPT_NOBODY, 1L);
	else if (strcmp(request->method, "GET") != 0)
		SET(CURLOPT_CUSTOMREQUEST, request->method);
	if (strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0)
	{
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->size);
		SET(CURLOPT_POSTFIELDS, request->size > 0 ? request->data : "");
	}
#undef SET
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not prepare a request to the bucket")));
}

/* Sockets are counted among the server's open files, so that these two keep their common bound. */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	curl_socket_t fd;

	if (!AcquireExternalFD())
		return CURL_SOCKET_BAD;
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd == CURL_SOCKET_BAD)
		ReleaseExternalFD();
	return fd;
}

static int
close_socket(void *arg, curl_socket_t fd)
{
	ReleaseExternalFD();
	return close(fd);
}

static size_t
take_header(char *line, size_t size, size_t n, void *arg)
{
	PromFlight *flight = arg;
	PromWire   *wire = flight->wire;
	size_t		len = size * n;
	char		text[256];
	const char *value;
	size_t		value_len;

#define COPY(target) (value_len < sizeof(target) ? (memcpy(target, value, value_len), (target)[value_len] = '\0') : 0)
	text[0] = '\0';
	if (header_is(line, len, "etag", &value, &value_len))
		COPY(wire->etag);
	else if (header_is(line, len, "x-amz-meta-sha256", &value, &value_len))
		COPY(wire->sha256);
	else if (header_is(line, len, "x-amz-bucket-region", &value, &value_len))
		COPY(wire->region);
	else if (header_is(line, len, "content-length", &value, &value_len) && COPY(text) == '\0')
		wire->length = strtoll(text, NULL, 10);
	else if (header_is(line, len, "last-modified", &value, &value_len) && COPY(text) == '\0')
		wire->modified = curl_getdate(text, NULL);
	else if (header_is(line, len, "date", &value, &value_len) && COPY(text) == '\0')
		wire->date = curl_getdate(text, NULL);
	else if (header_is(line, len, "retry-after", &value, &value_len) && COPY(text) == '\0')
		wire->retry_after_s = strtoll(text, NULL, 10);
	else if (header_is(line, len, "content-range", &value, &value_len) && COPY(text) == '\0')
	{
		long long	first,
					last,
					total;

		if (sscanf(text, "bytes %lld-%lld/%lld", &first, &last, &total) == 3)
		{
			wire->range_first = first;
			wire->range_last = last;
			wire->range_total = total;
		}
	}
#undef COPY
	return len;
}

static bool
header_is(const char *line, size_t len, const char *name, const char **value, size_t *value_len)
{
	size_t		name_len = strlen(name);

	if (len <= name_len || line[name_len] != ':' || pg_strncasecmp(line, name, name_len) != 0)
		return false;
	line += name_len + 1;
	len -= name_len + 1;
	while (len > 0 && (*line == ' ' || *line == '\t'))
		line++, len--;
	while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL)
		len--;
	*value = line;
	*value_len = len;
	return true;
}

static size_t
take_body(char *data, size_t size, size_t n, void *arg)
{
	PromFlight *flight = arg;
	PromTransfer *transfer = &flight->transfer;
	PromWire   *wire = flight->wire;
	size_t		len = size * n;
	long		http = 0;

	(void) curl_easy_getinfo(wire->curl, CURLINFO_RESPONSE_CODE, &http);
	if (http / 100 != 2 || !flight->request.wants_body)
	{
		size_t		room = Min(len, PROM_REQUEST_MAX_ERROR - wire->error_size);

		memcpy(wire->error_body + wire->error_size, data, room);
		wire->error_size += room;
		return len;
	}
	if (len > transfer->max_size - transfer->body_size)
	{
		wire->too_long = true;
		return 0;
	}
	if (!make_room(flight, len))
	{
		wire->out_of_memory = true;
		return 0;
	}
	memcpy(transfer->body + transfer->body_size, data, len);
	transfer->body_size += len;
	return len;
}

/* For bytes that follow; the first time for all that are to come.  Never raises. */
static bool
make_room(PromFlight *flight, size_t more)
{
	PromTransfer *transfer = &flight->transfer;
	PromWire   *wire = flight->wire;
	size_t		need = transfer->body_size + more;
	size_t		space = wire->body_space > 0 ? 2 * wire->body_space : BODY_FIRST;
	char	   *body;

	if (need <= wire->body_space)
		return true;
	if (wire->body_space == 0 && wire->length > 0)
		space = wire->length;
	space = Max(Min(space, transfer->max_size), need);
	/* one byte more: callers may end it with a zero */
	body = MemoryContextAllocExtended(flight->body_context, space + 1, MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
	if (body == NULL)
		return false;
	if (transfer->body != NULL)
	{
		memcpy(body, transfer->body, transfer->body_size);
		pfree(transfer->body);
	}
	transfer->body = body;
	wire->body_space = space;
	return true;
}

/* --- what came back --- */

bool
prom_request_judge(PromFlight *flight, CURLcode result, int64 *pause_ms)
{
	PromTransfer *transfer = &flight->transfer;
	PromWire   *wire = flight->wire;
	MemoryContext old = MemoryContextSwitchTo(flight->context);
	const char *ignored;
	long		http = 0;
	bool		again;

	(void) curl_easy_getinfo(wire->curl, CURLINFO_RESPONSE_CODE, &http);
	flight->http = http;
	flight->date = wire->date;
	flight->cause = NULL;
	flight->hint = NULL;
	*pause_ms = wire->retry_after_s > 0 ? Min(wire->retry_after_s, 3600) * 1000 : 0;
	if (wire->error_size > 0)
		(void) prom_xml_read(wire->error_body, wire->error_size, take_error, wire, &ignored);
	else if (flight->request.xml_answer && transfer->body_size > 0)
		(void) prom_xml_read(transfer->body, transfer->body_size, take_error, wire, &ignored);

	if (result != CURLE_OK)
		again = judge_transport(flight, result);
	else if (http / 100 == 2 && (wire->code[0] == '\0' || !flight->request.xml_answer))
		again = judge_success(flight, http);
	else
		again = judge_failure(flight, http);

	if (transfer->status != PROM_TRANSFER_OK && transfer->body != NULL)
	{
		pfree(transfer->body);
		transfer->body = NULL;
		transfer->body_size = 0;
	}
	MemoryContextSwitchTo(old);
	return again;
}

/* Only Error elements at the top, so that a listing has no errors in it. */
static bool
take_error(const char *parent, const char *name, const char *text, void *arg)
{
	PromWire   *wire = arg;

	if (text == NULL || strcmp(parent, "Error") != 0)
		return true;
	if (strcmp(name, "Code") == 0)
		strlcpy(wire->code, text, sizeof(wire->code));
	else if (strcmp(name, "Message") == 0)
	{
		/* not in the middle of a character */
		size_t		len = pg_mbcliplen(text, strlen(text), sizeof(wire->message) - 1);

		memcpy(wire->message, text, len);
		wire->message[len] = '\0';
	}
	else if (strcmp(name, "Region") == 0)
		strlcpy(wire->region, text, sizeof(wire->region));
	return true;
}

static bool
judge_transport(PromFlight *flight, CURLcode result)
{
	PromWire   *wire = flight->wire;
	const char *what = wire->curl_error[0] != '\0' ? wire->curl_error : curl_easy_strerror(result);

	if (wire->too_long)
		return blame(flight, PROM_TRANSFER_DAMAGED, "The answer is longer than it may be.");
	if (wire->out_of_memory)
		return blame(flight, PROM_TRANSFER_SILENT, "There is not enough memory for the answer.");
	blame(flight, PROM_TRANSFER_SILENT, psprintf("There was no whole answer: %s.", prom_bucket_redact(flight->bucket, what)));
	switch (result)
	{
		case CURLE_PEER_FAILED_VERIFICATION:
			flight->hint = "If the certificate is of an authority of your own, name it in the option \"ca_file\".";
			return false;
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_URL_MALFORMAT:
		case CURLE_UNSUPPORTED_PROTOCOL:
			return false;
		case CURLE_SSL_CONNECT_ERROR:
			flight->hint = "Does the endpoint speak TLS? If not, it is \"http://...\".";
			return true;
		default:
			return true;
	}
}

static bool
judge_success(PromFlight *flight, long http)
{
	PromTransfer *transfer = &flight->transfer;
	PromWire   *wire = flight->wire;

	if (transfer->verb == PROM_VERB_GET && flight->request.wants_body && !flight->request.xml_answer &&
		!body_is_right(flight, http))
		return !ends_early(transfer, wire, http);
	if (flight->request.key != NULL && transfer->etag != NULL && strcmp(transfer->etag, wire->etag) != 0)
	{
		blame(flight, PROM_TRANSFER_CHANGED,
			  psprintf("Its etag is %s instead of %s.", prom_bucket_redact(flight->bucket, wire->etag), transfer->etag));
		return true;
	}
	transfer->status = PROM_TRANSFER_OK;
	transfer->new_etag = pstrdup(wire->etag);
	transfer->object_size = http == 206 ? wire->range_total : flight->request.wants_body ? transfer->body_size : wire->length;
	transfer->modified = wire->modified >= 0 ? prom_clock_from_ms(wire->modified * 1000) : 0;
	return false;
}

/* Is the answer to a range what there is of it, because the object ends before? */
static bool
ends_early(const PromTransfer *transfer, const PromWire *wire, long http)
{
	return http == 206 && transfer->length > 0 && wire->range_first == transfer->offset &&
		wire->range_last + 1 == wire->range_total && wire->range_total < transfer->offset + transfer->length;
}

static bool
body_is_right(PromFlight *flight, long http)
{
	PromTransfer *transfer = &flight->transfer;
	PromWire   *wire = flight->wire;
	bool		part = transfer->length >= 0 || transfer->offset > 0;
	int64		first = http == 206 ? wire->range_first : 0;
	int64		end = http == 206 ? wire->range_last + 1 : transfer->body_size;
	char		hash[PROM_SIGV4_HASH_BYTES];

	if (ends_early(transfer, wire, http))
		blame(flight, PROM_TRANSFER_DAMAGED,
			  psprintf("The object is shorter than it should be: it has %lld bytes.", (long long) wire->range_total));
	else if (first != transfer->offset || end - first != transfer->body_size || (transfer->length >= 0 && transfer->length != transfer->body_size))
		blame(flight, PROM_TRANSFER_DAMAGED,
			  psprintf("It answered with bytes %lld to %lld of the object, of which %lld came; asked for were %lld from %lld.",
					   (long long) first, (long long) end - 1, (long long) transfer->body_size,
					   (long long) transfer->length, (long long) transfer->offset));
	else if (!part && wire->sha256[0] != '\0' &&
			 (!prom_sigv4_hash(transfer->body_size > 0 ? transfer->body : "", transfer->body_size, hash) || strcmp(hash, wire->sha256) != 0))
		blame(flight, PROM_TRANSFER_DAMAGED, "Its bytes are not those of the SHA-256 that was stored with it.");
	else if (transfer->verify != NULL && !transfer->verify(transfer, transfer->body, transfer->body_size, transfer->arg))
		blame(flight, PROM_TRANSFER_DAMAGED, "Its bytes are not what they should be.");
	else
		return true;
	return false;
}

static bool
judge_failure(PromFlight *flight, long http)
{
	PromBucket *bucket = flight->bucket;
	PromWire   *wire = flight->wire;
	const char *region = wire->region[0] != '\0' ? prom_bucket_redact(bucket, wire->region) : NULL;
	StringInfoData cause;
	bool		late = http / 100 == 2;

	initStringInfo(&cause);
	appendStringInfo(&cause, "It answered %ld", http);
	if (wire->code[0] != '\0')
		appendStringInfo(&cause, " %s", prom_bucket_redact(bucket, wire->code));
	if (wire->message[0] != '\0')
		appendStringInfo(&cause, ": \"%s\"", prom_bucket_redact(bucket, wire->message));
	appendStringInfoChar(&cause, '.');

	if (code_is(wire, "RequestTimeTooSkewed"))
	{
		if (wire->date >= 0)
			appendStringInfo(&cause, " Its clock says %lld s %s than ours.", (long long) labs((long) (wire->date - time(NULL))),
							 wire->date > time(NULL) ? "more" : "less");
		flight->hint = "Set the clock of this machine right.";
	}
	else if (code_is(wire, "InvalidAccessKeyId"))
		flight->hint = "The bucket does not know the access key; look at access_key_id.";
	else if (code_is(wire, "SignatureDoesNotMatch"))
		flight->hint = "Look at access_key_id and secret_access_key; if they are right, at the option \"region\".";
	else if (code_is(wire, "ExpiredToken TokenRefreshRequired InvalidToken"))
		flight->hint = "The session token is not valid any more: get new credentials.";
	else if (code_is(wire, "AccessDenied") || (http == 403 && wire->code[0] == '\0'))
		flight->hint = "Look at access_key_id and secret_access_key; if they are right, at the policies of user and bucket.";
	else if (code_is(wire, "NoSuchBucket"))
		flight->hint = "Look at the option \"bucket\", or make the bucket: promgres does not.";
	else if (code_is(wire, "AuthorizationHeaderMalformed PermanentRedirect TemporaryRedirect IllegalLocationConstraintException") || http / 100 == 3)
		flight->hint = region != NULL ? psprintf("Set the option \"region\" to \"%s\", and \"endpoint\" to that region's.", region) :
			"Look at the options \"region\" and \"endpoint\".";
	else if (code_is(wire, "QuotaExceeded InsufficientStorage EntityTooLarge StorageFull"))
		flight->hint = "The bucket is full; make room there.";

	/* Nothing that trying again would change, last. */
	if (http == 404 && !code_is(wire, "NoSuchBucket"))
		return blame(flight, PROM_TRANSFER_NO_OBJECT, cause.data);
	if (http == 412)
		return blame(flight, PROM_TRANSFER_CHANGED, cause.data);
	if (http == 416)
		return blame(flight, PROM_TRANSFER_DAMAGED, "The object is shorter than it should be.");
	if (code_is(wire, "QuotaExceeded InsufficientStorage StorageFull") || http == 501 || http == 507)
		return blame(flight, PROM_TRANSFER_REFUSED, cause.data);
	if (http == 401 || http == 403 ||
		code_is(wire, "AuthorizationHeaderMalformed ExpiredToken InvalidToken TokenRefreshRequired RequestExpired"))
		return blame(flight, PROM_TRANSFER_DENIED, cause.data);
	if (late || http / 100 == 5 || http == 408 || http == 429 || http == 0 ||
		code_is(wire, "SlowDown RequestTimeout ConditionalRequestConflict OperationAborted"))
	{
		blame(flight, PROM_TRANSFER_SILENT, cause.data);
		return true;
	}
	/* our bytes were altered on their way */
	if (code_is(wire, "BadDigest XAmzContentSHA256Mismatch IncompleteBody InvalidDigest"))
	{
		blame(flight, PROM_TRANSFER_DAMAGED, cause.data);
		return true;
	}
	return blame(flight, PROM_TRANSFER_REFUSED, cause.data);
}

/* Is the error's code one of these, which blanks separate? */
static bool
code_is(const PromWire *wire, const char *codes)
{
	size_t		len = strlen(wire->code);

	for (const char *p = codes; len > 0 && p != NULL; p = strchr(p, ' '))
	{
		p += *p == ' ';
		if (strncmp(p, wire->code, len) == 0 && (p[len] == '\0' || p[len] == ' '))
			return true;
	}
	return false;
}

static bool
blame(PromFlight *flight, PromTransferStatus status, const char *cause)
{
	flight->transfer.status = status;
	flight->cause = cause;
	return false;
}

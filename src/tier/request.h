/*
 * request.h
 *	  One HTTP request of the room: what it is made of, and how it travels.  Private to the room.
 *
 * request.c puts one try of a request on libcurl and judges what came back; transfer.c says when it is
 * tried; s3.c, list.c and upload.c say what is requested.
 */
#ifndef PROM_TIER_REQUEST_H
#define PROM_TIER_REQUEST_H

#include <curl/curl.h>

#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "portability/instr_time.h"

#include "tier/bucket.h"
#include "tier/sigv4.h"
#include "tier/tier.h"
#include "tier/xml.h"

#define PROM_REQUEST_MAX_PAIRS	8
#define PROM_REQUEST_MAX_KEY	1024
#define PROM_REQUEST_MAX_ERROR	8192

#define PROM_HTTP_NOT_IMPLEMENTED	501

/* What is requested; strings must live as long as the flight. */
typedef struct PromRequest
{
	const char *method;
	const char *doing;			/* for messages: "get", "list", … */
	const char *key;			/* relative to the prefix; NULL: the bucket itself */
	PromPair	query[PROM_REQUEST_MAX_PAIRS];
	int			nquery;
	PromPair	headers[PROM_REQUEST_MAX_PAIRS];	/* names in lower case */
	int			nheaders;
	const void *data;
	size_t		size;
	bool		wants_body;		/* an answer's body is for the caller, at most transfer.max_size bytes */
	bool		xml_answer;		/* it is XML, and may be an error though the status is 200 */
} PromRequest;

/* What one try needs; freed when it has landed. */
typedef struct PromWire
{
	CURL	   *curl;
	struct curl_slist *headers;
	char		curl_error[CURL_ERROR_SIZE];

	/* headers of the answer, -1 or "" if it had none */
	char		etag[256];
	char		sha256[PROM_SIGV4_HASH_BYTES];
	char		region[64];
	int64		length;
	int64		range_first;
	int64		range_last;
	int64		range_total;
	int64		modified;		/* seconds since 1970 */
	int64		date;
	int64		retry_after_s;

	/* its body */
	size_t		body_space;
	bool		too_long;
	bool		out_of_memory;
	size_t		error_size;
	char		error_body[PROM_REQUEST_MAX_ERROR];

	/* what an error's XML says */
	char		code[64];
	char		message[512];
} PromWire;

typedef struct PromFlight
{
	PromTransfer transfer;		/* first, so that one is the other */
	PromRequest request;
	PromTransfers *owner;
	PromBucket *bucket;
	MemoryContext context;		/* the flight itself and its strings */
	MemoryContext body_context;
	dlist_node	node;			/* in one of the lists of owner */
	PromWire   *wire;			/* while it is on the wire, and while its landing is judged */
	bool		taken;			/* handed out */
	instr_time	begun;
	int64		deadline_ms;	/* since begun */
	int64		retry_ms;		/* since begun: not before */
	long		http;			/* status of the last answer, 0: none */
	int64		date;			/* its header Date in seconds since 1970, -1: none */
	const char *cause;			/* of a failure: a full sentence without a secret */
	const char *hint;
	MemoryContextCallback gone;
} PromFlight;

/* --- request.c --- */

/* Make the wire of the next try, signed, and ready for libcurl; it has timeout_ms. */
extern void prom_request_prepare(PromFlight *flight, long timeout_ms);

/* Judge what came back.  Sets status, cause and hint.  True: it may be tried again; pause at least so long. */
extern bool prom_request_judge(PromFlight *flight, CURLcode result, int64 *pause_ms);

/* Give up the wire; it must not be in a multi handle any more. */
extern void prom_request_release(PromFlight *flight);

/* --- transfer.c --- */

/*
 * One request, waited for.  In the current memory context; the caller may look at the status, and call
 * prom_transfer_raise.
 */
extern PromTransfer *prom_request_run(PromBucket *bucket, const PromTransfer *transfer, const PromRequest *request);

/* --- s3.c --- */

extern void prom_request_of(const PromBucket *bucket, const PromTransfer *transfer, PromRequest *request);
extern void prom_request_query(PromRequest *request, const char *name, const char *value);
extern void prom_request_header(PromRequest *request, const char *name, const char *value);

/* The headers of an object that is made: storage class, encryption. */
extern void prom_request_object_headers(const PromBucket *bucket, PromRequest *request);

/* Key with the bucket's prefix; an error if it cannot be one. */
extern const char *prom_bucket_full_key(const PromBucket *bucket, const char *key);

/* --- list.c --- */

/* A list of things that a callback of XML or of libcurl makes grow: never raises, but says false. */
typedef struct PromGrowing
{
	MemoryContext context;
	void	   *items;
	size_t		item_size;
	int			n;
	int			space;
} PromGrowing;

/* A new item at the end, zeroed; NULL: no memory. */
extern void *prom_growing_add(PromGrowing *list);

/* The same of a text. */
extern char *prom_growing_text(PromGrowing *list, const char *text);

/* And of an etag: with the quotes that headers have and XML may lack.  One that is empty stays so. */
extern char *prom_growing_etag(PromGrowing *list, const char *text);

extern void prom_xml_escape(StringInfo out, const char *text);

/* Percent-decoding in place, "+" being a blank. */
extern void prom_xml_unquote(char *text);

/* 2013-05-24T00:00:00.000Z; 0 if it is no time */
extern TimestampTz prom_xml_time(const char *text);

/* Raise that an answer is not what it should be. */
extern void prom_answer_malformed(const PromBucket *bucket, const char *doing, const char *reason) pg_attribute_noreturn();

#endif							/* PROM_TIER_REQUEST_H */

/*
 * sigv4.h
 *	  AWS Signature Version 4: what a request to S3 is signed with.  Plain C over OpenSSL's hashes.
 */
#ifndef PROM_TIER_SIGV4_H
#define PROM_TIER_SIGV4_H

#include "c.h"

/* Hexadecimal SHA-256 with its zero byte; the time as YYYYMMDDTHHMMSSZ. */
#define PROM_SIGV4_HASH_BYTES	65
#define PROM_SIGV4_TIME_BYTES	17

/* Text into a buffer that does not grow: what does not fit sets full. */
typedef struct PromText
{
	char	   *data;
	size_t		size;
	size_t		len;
	bool		full;
} PromText;

/* A header (its name in lower case) or a parameter of the query, neither encoded. */
typedef struct PromPair
{
	const char *name;
	const char *value;
} PromPair;

typedef struct PromSigV4
{
	const char *method;
	const char *path;			/* encoded, from the first slash on; signed as it stands */
	const char *query;			/* as prom_sigv4_query wrote it */
	const PromPair *headers;	/* all that are to be signed, in the order of their names; host among them */
	int			nheaders;
	const char *payload_hash;
	const char *time;
	const char *region;
	const char *service;
	const char *access_key;
	const char *secret_key;
} PromSigV4;

extern void prom_text_put(PromText *text, const char *data, size_t len);

/* Percent-encode everything but letters, digits and "-._~"; and slashes if they are to stay. */
extern void prom_sigv4_encode(PromText *text, const char *raw, bool keep_slash);

/* The query: pairs sorted (in place) and encoded, name=value joined by "&". */
extern void prom_sigv4_query(PromText *text, PromPair *pairs, int npairs);

/* False: OpenSSL refuses. */
extern bool prom_sigv4_hash(const void *data, size_t size, char hash[PROM_SIGV4_HASH_BYTES]);

/*
 * The value of the header Authorization, zero-terminated.  False: it does not fit, or OpenSSL refuses.
 * Scratch is overwritten with zeros before this returns; it must hold the whole of method, path, query
 * and headers, and 1,024 bytes more.
 */
extern bool prom_sigv4_sign(const PromSigV4 *request, PromText *scratch, PromText *authorization);

#endif							/* PROM_TIER_SIGV4_H */

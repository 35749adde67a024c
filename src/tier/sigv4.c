/*
 * sigv4.c
 *	  AWS Signature Version 4: what a request to S3 is signed with.
 *
 * What is signed is the "canonical request": method, path, query, headers and the hash of the body, a line
 * each.  Its hash, with time and scope, is the "string to sign"; the key for that is derived from the
 * secret by four rounds of HMAC.
 *
 * S3 differs from Amazon's other services: the path is encoded once, and "//", "/./" and "/../" are parts
 * of it like any other.  So the path that is signed is the very text that is sent.  libcurl has a signer
 * of its own, whose treatment of path and query changes between releases; this one does not.
 */
#include "c.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "tier/sigv4.h"

#define SHA256_BYTES 32

static const char hex[] = "0123456789abcdef";

static void put(PromText *text, const char *string);
static int	compare_pairs(const void *a, const void *b);
static void to_hex(const unsigned char *bytes, char *out);
static bool hmac(const unsigned char *key, size_t key_len, const char *data, size_t len, unsigned char out[SHA256_BYTES]);
static bool signing_key(const PromSigV4 *request, unsigned char key[SHA256_BYTES]);
static void canonical_request(const PromSigV4 *request, PromText *text);
static void signed_headers(const PromSigV4 *request, PromText *text);
static void scope(const PromSigV4 *request, PromText *text);

bool
prom_sigv4_sign(const PromSigV4 *request, PromText *scratch, PromText *authorization)
{
	unsigned char key[SHA256_BYTES];
	unsigned char signature[SHA256_BYTES];
	char		hash[PROM_SIGV4_HASH_BYTES];
	char		text[PROM_SIGV4_HASH_BYTES];
	bool		ok;

	scratch->len = 0;
	scratch->full = false;
	canonical_request(request, scratch);
	ok = !scratch->full && prom_sigv4_hash(scratch->data, scratch->len, hash);

	scratch->len = 0;
	put(scratch, "AWS4-HMAC-SHA256\n");
	put(scratch, request->time);
	put(scratch, "\n");
	scope(request, scratch);
	put(scratch, "\n");
	put(scratch, ok ? hash : "");
	ok = ok && !scratch->full && signing_key(request, key) &&
		hmac(key, SHA256_BYTES, scratch->data, scratch->len, signature);
	OPENSSL_cleanse(key, sizeof(key));
	/* it may have held a session token */
	OPENSSL_cleanse(scratch->data, scratch->size);
	if (!ok)
		return false;
	to_hex(signature, text);

	put(authorization, "AWS4-HMAC-SHA256 Credential=");
	put(authorization, request->access_key);
	put(authorization, "/");
	scope(request, authorization);
	put(authorization, ",SignedHeaders=");
	signed_headers(request, authorization);
	put(authorization, ",Signature=");
	put(authorization, text);
	prom_text_put(authorization, "", 1);
	return !authorization->full;
}

void
prom_sigv4_encode(PromText *text, const char *raw, bool keep_slash)
{
	for (const unsigned char *p = (const unsigned char *) raw; *p != '\0'; p++)
	{
		char		escaped[3] = {'%', "0123456789ABCDEF"[*p >> 4], "0123456789ABCDEF"[*p & 15]};

		if ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') ||
			*p == '-' || *p == '.' || *p == '_' || *p == '~' || (keep_slash && *p == '/'))
			prom_text_put(text, (const char *) p, 1);
		else
			prom_text_put(text, escaped, 3);
	}
}

void
prom_sigv4_query(PromText *text, PromPair *pairs, int npairs)
{
	/* Names are not encoded when they are sorted: ours have nothing that encoding would move. */
	if (npairs > 1)
		qsort(pairs, npairs, sizeof(PromPair), compare_pairs);
	for (int i = 0; i < npairs; i++)
	{
		if (i > 0)
			put(text, "&");
		prom_sigv4_encode(text, pairs[i].name, false);
		put(text, "=");
		prom_sigv4_encode(text, pairs[i].value, false);
	}
}

bool
prom_sigv4_hash(const void *data, size_t size, char hash[PROM_SIGV4_HASH_BYTES])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len;

	if (EVP_Digest(data, size, digest, &len, EVP_sha256(), NULL) != 1 || len != SHA256_BYTES)
		return false;
	to_hex(digest, hash);
	return true;
}

void
prom_text_put(PromText *text, const char *data, size_t len)
{
	if (text->full || len > text->size - text->len)
	{
		text->full = true;
		return;
	}
	memcpy(text->data + text->len, data, len);
	text->len += len;
}

static void
canonical_request(const PromSigV4 *request, PromText *text)
{
	put(text, request->method);
	put(text, "\n");
	put(text, request->path);
	put(text, "\n");
	put(text, request->query);
	put(text, "\n");
	for (int i = 0; i < request->nheaders; i++)
	{
		put(text, request->headers[i].name);
		put(text, ":");
		put(text, request->headers[i].value);
		put(text, "\n");
	}
	put(text, "\n");
	signed_headers(request, text);
	put(text, "\n");
	put(text, request->payload_hash);
}

static void
signed_headers(const PromSigV4 *request, PromText *text)
{
	for (int i = 0; i < request->nheaders; i++)
	{
		if (i > 0)
			put(text, ";");
		put(text, request->headers[i].name);
	}
}

static void
scope(const PromSigV4 *request, PromText *text)
{
	prom_text_put(text, request->time, 8);
	put(text, "/");
	put(text, request->region);
	put(text, "/");
	put(text, request->service);
	put(text, "/aws4_request");
}

static bool
signing_key(const PromSigV4 *request, unsigned char key[SHA256_BYTES])
{
	char		seed[260];
	size_t		secret_len = strlen(request->secret_key);
	bool		ok;

	if (secret_len > sizeof(seed) - 4)
		return false;
	memcpy(seed, "AWS4", 4);
	memcpy(seed + 4, request->secret_key, secret_len);
	ok = hmac((unsigned char *) seed, 4 + secret_len, request->time, 8, key) &&
		hmac(key, SHA256_BYTES, request->region, strlen(request->region), key) &&
		hmac(key, SHA256_BYTES, request->service, strlen(request->service), key) &&
		hmac(key, SHA256_BYTES, "aws4_request", 12, key);
	OPENSSL_cleanse(seed, sizeof(seed));
	return ok;
}

static bool
hmac(const unsigned char *key, size_t key_len, const char *data, size_t len, unsigned char out[SHA256_BYTES])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int digest_len;

	if (HMAC(EVP_sha256(), key, (int) key_len, (const unsigned char *) data, len, digest, &digest_len) == NULL ||
		digest_len != SHA256_BYTES)
		return false;
	memcpy(out, digest, SHA256_BYTES);
	return true;
}

static void
put(PromText *text, const char *string)
{
	prom_text_put(text, string, strlen(string));
}

static int
compare_pairs(const void *a, const void *b)
{
	const PromPair *x = a;
	const PromPair *y = b;
	int			order = strcmp(x->name, y->name);

	return order != 0 ? order : strcmp(x->value, y->value);
}

static void
to_hex(const unsigned char *bytes, char *out)
{
	for (int i = 0; i < SHA256_BYTES; i++)
	{
		out[2 * i] = hex[bytes[i] >> 4];
		out[2 * i + 1] = hex[bytes[i] & 15];
	}
	out[2 * SHA256_BYTES] = '\0';
}

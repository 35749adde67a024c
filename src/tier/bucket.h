/*
 * bucket.h
 *	  What only the room knows of a bucket: its options, its credentials.
 */
#ifndef PROM_TIER_BUCKET_H
#define PROM_TIER_BUCKET_H

#include "foreign/foreign.h"

#include "tier/tier.h"

typedef struct PromCredentials
{
	char	   *access_key;
	char	   *secret_key;
	char	   *session_token;	/* or NULL */
	const char *source;			/* where they are from, for people */
} PromCredentials;

struct PromBucket
{
	char	   *server;			/* name of the foreign server */
	Oid			owner;			/* of the foreign server */

	/* options; NULL: not given */
	char	   *endpoint;		/* as given */
	char	   *bucket;
	char	   *prefix;			/* "" or "…/" */
	char	   *region;
	char	   *profile;
	char	   *ca_file;
	char	   *proxy;
	char	   *storage_class;
	char	   *encryption;
	char	   *kms_key_id;
	bool		virtual_host;	/* url_style */
	bool		verify_tls;
	int			connect_timeout_ms;
	int			request_timeout_ms;
	int			operation_timeout_ms;
	int			retries;
	int			transfers;

	/* made of them */
	bool		tls;
	char	   *host;			/* what goes into the header Host: with the port if it is not the scheme's */
	char	   *base_path;		/* encoded: "" or "/bucket" */
	const char *description;
	bool		no_conditions;	/* it has refused a conditional PUT */

	PromCredentials credentials;
};

/* credentials.c: an error if there are none. */
extern void prom_credentials_find(PromBucket *bucket, Oid server);
extern void prom_credentials_init(void);

/* Text of strangers for a message: what could be a credential, or is not printable, is left out. */
extern const char *prom_bucket_redact(const PromBucket *bucket, const char *text);

#endif							/* PROM_TIER_BUCKET_H */

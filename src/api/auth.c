/*
 * auth.c
 *	  Who a client is: HTTP Basic, Bearer tokens, client certificates, or nobody.
 *
 * A request is looked at twice.  When its headers are there, what can be told without the database is
 * told: nobody, malformed credentials, too many failures.  When its body is there too, credentials
 * that are not remembered are checked by a backend, prom._login(), while the request is suspended.
 *
 * Right credentials are remembered for a short time, under a keyed hash of them, since checking a SCRAM
 * password costs milliseconds of a processor.  Each address may fail a few times in a row and then some
 * times a minute; who was right lately is checked again regardless, so that nobody can lock out others
 * behind the same proxy.  Both tables are bounded, and forgotten on reload.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <gnutls/crypto.h>
#include <netinet/in.h>

#include "catalog/pg_type.h"
#include "common/base64.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "api/gateway.h"

#define AUTH_FRESH_MS		30000	/* remembered credentials are not checked again */
#define AUTH_KNOWN_MS		3600000	/* they are, but whatever their address did */
#define AUTH_MAX_KNOWN		1024
#define AUTH_ADDRESSES		4096
#define AUTH_FAILURES		10		/* in a row */
#define AUTH_REGAIN_MS		6000	/* and then one in this time */
#define AUTH_TIMEOUT_MS		10000
#define AUTH_MAX_SECRET		1024
#define AUTH_KEY_BYTES		32		/* of SHA-256 */

/* The value of promgres.anonymous_role that is no role. */
#define AUTH_LOCAL "local"

typedef struct Key
{
	uint8		bytes[AUTH_KEY_BYTES];
} Key;

/* Credentials that were right. */
typedef struct Known
{
	Key			key;
	TimestampTz checked;
	char		role[NAMEDATALEN];
} Known;

/* How often the clients of an address (or of several, in the same slot) may still fail. */
typedef struct Address
{
	double		left;
	TimestampTz at;
} Address;

/* What a client says who it is. */
struct PromCredentials
{
	const char *name;			/* NULL: the secret is a token */
	const char *secret;			/* NULL: a certificate has proved the name */
	Key			key;
	Address    *address;
	char		role[NAMEDATALEN];
};

static char *anonymous_role;
static uint8 hash_key[AUTH_KEY_BYTES];
static HTAB *known;
static Address addresses[AUTH_ADDRESSES];

static bool read_header(PromRequest *r, const char *header);
static bool read_basic(PromRequest *r, const char *base64);
static bool be_anonymous(PromRequest *r);
static bool make_key(PromCredentials *c);
static Known *find_known(const Key *key);
static void remember(const PromCredentials *c);
static Address *find_address(PromRequest *r);
static const char *address_text(PromRequest *r);
static bool may_try(PromRequest *r);
static void login_rows(PromJob *job, PGresult *rows);
static void login_done(PromJob *job);
static bool refuse(PromRequest *r, const char *why);

void
prom_auth_init(void)
{
	DefineCustomStringVariable("promgres.anonymous_role",
							   "Sets the role of clients of the gateway that do not say who they are.",
							   "Empty: they are refused. \"local\": they are promgres.role if the gateway listens on loopback addresses only, and refused otherwise.",
							   &anonymous_role,
							   AUTH_LOCAL,
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
}

void
prom_auth_reload(void)
{
	HASHCTL		ctl = {0};

	if (known != NULL)
		hash_destroy(known);
	ctl.keysize = sizeof(Key);
	ctl.entrysize = sizeof(Known);
	ctl.hcxt = prom_gateway_context;
	known = hash_create("promgres credentials", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (!pg_strong_random(hash_key, sizeof(hash_key)))
		ereport(FATAL,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random key")));
	memset(addresses, 0, sizeof(addresses));
}

/* ---- when the headers are there ---- */

bool
prom_auth_check(PromRequest *r)
{
	const char *header = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Authorization");
	PromCredentials *c;
	const Known *k;

	c = r->credentials = palloc0(sizeof(PromCredentials));
	if (header != NULL)
	{
		if (!read_header(r, header))
			return refuse(r, "the Authorization header is neither \"Basic\" nor \"Bearer\" credentials");
	}
	else if ((c->name = prom_tls_role(r)) == NULL)
	{
		r->credentials = NULL;
		return be_anonymous(r) || refuse(r, "authentication is required");
	}
	if (!make_key(c))
		return refuse(r, "the credentials could not be read");
	k = find_known(&c->key);
	if (k != NULL && !TimestampDifferenceExceeds(k->checked, GetCurrentTimestamp(), AUTH_FRESH_MS))
	{
		r->role = pstrdup(k->role);
		r->credentials = NULL;
		return true;
	}
	c->address = k != NULL ? NULL : find_address(r);
	return may_try(r);
}

static bool
is_clean(const char *s, int len)
{
	return len <= AUTH_MAX_SECRET && strlen(s) == len && pg_encoding_verifymbstr(PG_UTF8, s, len) == len;
}

static bool
read_header(PromRequest *r, const char *header)
{
	static const char basic[] = "Basic ";
	static const char bearer[] = "Bearer ";

	if (pg_strncasecmp(header, basic, strlen(basic)) == 0)
		return read_basic(r, header + strlen(basic));
	if (pg_strncasecmp(header, bearer, strlen(bearer)) != 0)
		return false;
	header += strlen(bearer);
	header += strspn(header, " ");
	r->credentials->secret = pstrdup(header);
	return is_clean(header, strlen(header));
}

static bool
read_basic(PromRequest *r, const char *base64)
{
	int			len;
	int			room;
	char	   *text;
	char	   *colon;

	base64 += strspn(base64, " ");
	len = strlen(base64);
	if (len > 4 * AUTH_MAX_SECRET)
		return false;
	room = pg_b64_dec_len(len);
	text = palloc0(room + 1);
	len = pg_b64_decode(base64, len, text, room);
	if (len < 0 || !is_clean(text, len) || (colon = strchr(text, ':')) == NULL)
		return false;
	*colon = '\0';
	r->credentials->name = text;
	r->credentials->secret = colon + 1;
	return true;
}

static bool
be_anonymous(PromRequest *r)
{
	if (strcmp(anonymous_role, AUTH_LOCAL) == 0)
		return prom_listen_is_local();
	if (anonymous_role[0] == '\0')
		return false;
	r->role = pstrdup(anonymous_role);
	return true;
}

/* ---- when the body is there ---- */

void
prom_auth_run(PromRequest *r, void (*run) (PromRequest *r))
{
	PromCredentials *c = r->credentials;

	r->run = run;
	if (c == NULL)
	{
		run(r);
		return;
	}
	r->job.sql = "SELECT prom._login($1, $2)";
	prom_job_param(&r->job, TEXTOID, c->name);
	prom_job_param(&r->job, TEXTOID, c->secret);
	r->job.timeout_ms = AUTH_TIMEOUT_MS;
	r->job.rows = login_rows;
	r->job.done = login_done;
	prom_request_ask(r, prom_pool_login);
}

static void
login_rows(PromJob *job, PGresult *rows)
{
	PromRequest *r = job->owner;

	if (!PQgetisnull(rows, 0, 0))
		strlcpy(r->credentials->role, PQgetvalue(rows, 0, 0), NAMEDATALEN);
}

static void
login_done(PromJob *job)
{
	PromRequest *r = job->owner;
	PromCredentials *c = r->credentials;
	MemoryContext old = MemoryContextSwitchTo(r->context);

	if (!job->outcome.ok)
	{
		if (c->address != NULL)
			c->address->left += 1;
		prom_answer_outcome(r, &job->outcome, "");
	}
	else if (c->role[0] == '\0')
	{
		hash_search(known, &c->key, HASH_REMOVE, NULL);
		ereport(LOG,
				(errmsg("promgres gateway refused a client that is not who it says it is"),
				 c->name != NULL ?
				 errdetail("It came from %s with the name \"%s\".", address_text(r), c->name) :
				 errdetail("It came from %s with a token.", address_text(r)),
				 errhint("prom.tokens lists the tokens there are; names and passwords are those of roles that may log in.")));
		refuse(r, "unknown user, wrong password or unknown token");
	}
	else
	{
		if (c->address != NULL)
			c->address->left += 1;
		remember(c);
		r->role = c->role;
		/* the request's own job comes now */
		memset(&r->job, 0, sizeof(r->job));
		r->run(r);
	}
	MemoryContextSwitchTo(old);
}

/* ---- what is remembered ---- */

static bool
make_key(PromCredentials *c)
{
	StringInfoData text;

	/* the name is told from the secret by the zero byte behind it */
	initStringInfo(&text);
	appendStringInfoChar(&text, c->name ? 'n' : 't');
	appendStringInfoChar(&text, c->secret ? 's' : 'c');
	appendStringInfoString(&text, c->name ? c->name : "");
	appendStringInfoChar(&text, '\0');
	appendStringInfoString(&text, c->secret ? c->secret : "");
	return gnutls_hmac_fast(GNUTLS_MAC_SHA256, hash_key, sizeof(hash_key), text.data, text.len, c->key.bytes) >= 0;
}

static Known *
find_known(const Key *key)
{
	Known	   *k = hash_search(known, key, HASH_FIND, NULL);

	if (k != NULL && TimestampDifferenceExceeds(k->checked, GetCurrentTimestamp(), AUTH_KNOWN_MS))
		return NULL;
	return k;
}

static void
remember(const PromCredentials *c)
{
	TimestampTz now = GetCurrentTimestamp();
	Known	   *k;

	if (hash_get_num_entries(known) >= AUTH_MAX_KNOWN)
	{
		HASH_SEQ_STATUS seq;
		long		spare = AUTH_MAX_KNOWN / 2;

		/* those that must be checked again anyway; then some */
		hash_seq_init(&seq, known);
		while ((k = hash_seq_search(&seq)) != NULL)
		{
			if (TimestampDifferenceExceeds(k->checked, now, AUTH_FRESH_MS) || --spare < 0)
				hash_search(known, &k->key, HASH_REMOVE, NULL);
		}
	}
	k = hash_search(known, &c->key, HASH_ENTER, NULL);
	k->checked = now;
	strlcpy(k->role, c->role, sizeof(k->role));
}

/* ---- who may try ---- */

/* Of IPv6, a network of 64 bits is one address: its owner has them all. */
static Address *
find_address(PromRequest *r)
{
	const struct sockaddr *a = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
	uint64		seed;
	uint64		hash = 0;

	memcpy(&seed, hash_key, sizeof(seed));
	if (a != NULL && a->sa_family == AF_INET)
		hash = hash_bytes_extended((const unsigned char *) &((const struct sockaddr_in *) a)->sin_addr, 4, seed);
	else if (a != NULL && a->sa_family == AF_INET6)
		hash = hash_bytes_extended((const unsigned char *) &((const struct sockaddr_in6 *) a)->sin6_addr, 8, seed);
	return &addresses[hash % AUTH_ADDRESSES];
}

static const char *
address_text(PromRequest *r)
{
	const struct sockaddr *a = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
	char		text[INET6_ADDRSTRLEN];

	if (a != NULL && a->sa_family == AF_INET && inet_ntop(AF_INET, &((const struct sockaddr_in *) a)->sin_addr, text, sizeof(text)))
		return pstrdup(text);
	if (a != NULL && a->sa_family == AF_INET6 && inet_ntop(AF_INET6, &((const struct sockaddr_in6 *) a)->sin6_addr, text, sizeof(text)))
		return pstrdup(text);
	return "an unknown address";
}

/* A try counts as a failure until it is none. */
static bool
may_try(PromRequest *r)
{
	Address    *a = r->credentials->address;
	TimestampTz now = GetCurrentTimestamp();

	if (a == NULL)
		return true;
	if (a->at == 0)
		a->left = AUTH_FAILURES;
	else
		a->left = Min(a->left + (double) (now - a->at) / 1000 / AUTH_REGAIN_MS, AUTH_FAILURES);
	a->at = now;
	if (a->left >= 1)
	{
		a->left -= 1;
		return true;
	}
	r->retry_later = true;
	r->retry_after_s = (int) ((1 - a->left) * AUTH_REGAIN_MS / 1000) + 1;
	prom_answer_text(r, 429, "too many failed logins from this address\n");
	return false;
}

static bool
refuse(PromRequest *r, const char *why)
{
	prom_answer_text(r, 401, "Unauthorized: %s\n", why);
	return false;
}

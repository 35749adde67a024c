/*
 * tls.c
 *	  TLS of the gateway: certificate, key, versions, client certificates; read again on reload.
 *
 * libmicrohttpd can be given a certificate when it starts, and no other later.  But it tells of each
 * connection before its handshake begins, so each gets the credentials that are current then; a reload
 * makes new ones, and the old go with the last connection that has them.  Files that cannot be read
 * leave those in force that are.
 */
#include "postgres.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb/pg_wchar.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "api/gateway.h"

typedef enum ClientCertificates
{
	CLIENT_NONE,
	CLIENT_REQUIRED,
	CLIENT_ROLE
} ClientCertificates;

typedef enum MinVersion
{
	TLS_1_2,
	TLS_1_3
} MinVersion;

typedef struct Credentials
{
	int			users;			/* connections, and one if they are the current ones */
	gnutls_certificate_credentials_t files;
	gnutls_priority_t priority;
	ClientCertificates clients;
} Credentials;

static const struct config_enum_entry client_options[] = {
	{"none", CLIENT_NONE, false},
	{"required", CLIENT_REQUIRED, false},
	{"role", CLIENT_ROLE, false},
	{NULL, 0, false}
};

static const struct config_enum_entry version_options[] = {
	{"TLSv1.2", TLS_1_2, false},
	{"TLSv1.3", TLS_1_3, false},
	{NULL, 0, false}
};

static bool enabled = false;
static char *cert_file;
static char *key_file;
static char *ca_file;
static int	min_version = TLS_1_2;
static int	client_certificates = CLIENT_NONE;

static Credentials *current;

static Credentials *load(void);
static bool load_files(Credentials *c, const char **what, const char **why);
static bool key_is_private(const char *path);
static void release(Credentials *c);

void
prom_tls_init_start(void)
{
	DefineCustomBoolVariable("promgres.ssl",
							 "Sets whether the gateway speaks HTTPS, and nothing else.",
							 NULL,
							 &enabled,
							 false,
							 PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

void
prom_tls_init(void)
{
	DefineCustomStringVariable("promgres.ssl_cert_file",
							   "Sets the file with the gateway's certificate, and those between it and its CA.",
							   "PEM; relative to the data directory.",
							   &cert_file,
							   "server.crt",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("promgres.ssl_key_file",
							   "Sets the file with the private key of the gateway's certificate.",
							   "PEM; nobody else may read it.",
							   &key_file,
							   "server.key",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("promgres.ssl_ca_file",
							   "Sets the file with the CAs that certificates of the gateway's clients are checked against.",
							   NULL,
							   &ca_file,
							   "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("promgres.ssl_min_protocol_version",
							 "Sets the oldest version of TLS that the gateway speaks.",
							 NULL,
							 &min_version,
							 TLS_1_2, version_options,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("promgres.ssl_client_certificates",
							 "Sets what certificates of clients are for.",
							 "none: not asked for. required: clients without one are turned away. role: the same, and the common name is the client's role if it does not say another.",
							 &client_certificates,
							 CLIENT_NONE, client_options,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
}

bool
prom_tls_enabled(void)
{
	return enabled;
}

void
prom_tls_reload(void)
{
	Credentials *now = enabled ? load() : NULL;

	if (now == NULL)
		return;
	if (current != NULL)
		release(current);
	current = now;
}

bool
prom_tls_begin(struct MHD_Connection *connection, void **tls)
{
	gnutls_session_t session;

	if (!enabled)
		return true;
	if (current == NULL)
		return false;
	session = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
	if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, current->files) < 0 ||
		gnutls_priority_set(session, current->priority) < 0)
		return false;
	if (current->clients != CLIENT_NONE)
	{
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
		/* the handshake fails unless it is valid and one of our CAs has signed it */
		gnutls_session_set_verify_cert(session, NULL, 0);
	}
	current->users++;
	*tls = current;
	return true;
}

void
prom_tls_end(void *tls)
{
	if (tls != NULL)
		release(tls);
}

char *
prom_tls_role(PromRequest *r)
{
	const Credentials *c = r->client->tls;
	gnutls_session_t session;
	const gnutls_datum_t *certificates;
	unsigned int n = 0;
	gnutls_x509_crt_t certificate;
	char		name[NAMEDATALEN];
	size_t		len = sizeof(name);
	char	   *role = NULL;

	if (c == NULL || c->clients != CLIENT_ROLE)
		return NULL;
	session = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
	certificates = gnutls_certificate_get_peers(session, &n);
	if (certificates == NULL || n == 0 || gnutls_x509_crt_init(&certificate) < 0)
		return NULL;
	if (gnutls_x509_crt_import(certificate, &certificates[0], GNUTLS_X509_FMT_DER) >= 0 &&
		gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &len) >= 0 &&
		len > 0 && len < sizeof(name) && strnlen(name, len) == len &&
		pg_encoding_verifymbstr(PG_UTF8, name, len) == len)
		role = pnstrdup(name, len);
	gnutls_x509_crt_deinit(certificate);
	return role;
}

/* NULL when something is wrong, which is logged. */
static Credentials *
load(void)
{
	Credentials *c = MemoryContextAllocZero(prom_gateway_context, sizeof(Credentials));
	const char *what = NULL;
	const char *why = NULL;

	c->users = 1;
	c->clients = client_certificates;
	if (load_files(c, &what, &why))
		return c;
	ereport(LOG,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("promgres gateway could not load %s: %s", what, why),
			 current != NULL ? errdetail("The certificate that was loaded before stays in force.") :
			 errdetail("Clients are turned away until it can; reload then.")));
	release(c);
	return NULL;
}

static bool
load_files(Credentials *c, const char **what, const char **why)
{
	int			rc;

	*what = psprintf("its private key \"%s\"", key_file);
	if (!key_is_private(key_file))
	{
		*why = "it must be a file that nobody else may read: of the server's account with mode 0600 or less, or of root with 0640 or less";
		return false;
	}
	*what = psprintf("its certificate \"%s\" and private key \"%s\"", cert_file, key_file);
	rc = gnutls_certificate_allocate_credentials(&c->files);
	if (rc >= 0)
		rc = gnutls_certificate_set_x509_key_file2(c->files, cert_file, key_file, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (rc >= 0 && c->clients != CLIENT_NONE)
	{
		*what = psprintf("its CAs of clients, \"%s\"", ca_file);
		rc = gnutls_certificate_set_x509_trust_file(c->files, ca_file, GNUTLS_X509_FMT_PEM);
		if (rc == 0)
			rc = GNUTLS_E_NO_CERTIFICATE_FOUND;
	}
	if (rc >= 0)
		rc = gnutls_priority_init(&c->priority, min_version == TLS_1_3 ? "NORMAL:-VERS-ALL:+VERS-TLS1.3" :
								  "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2", NULL);
	*why = rc < 0 ? gnutls_strerror(rc) : NULL;
	return rc >= 0;
}

/* As the server asks of its own key. */
static bool
key_is_private(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	if (st.st_uid == geteuid())
		return (st.st_mode & (S_IRWXG | S_IRWXO)) == 0;
	return st.st_uid == 0 && (st.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) == 0;
}

static void
release(Credentials *c)
{
	if (--c->users > 0)
		return;
	if (c->files != NULL)
		gnutls_certificate_free_credentials(c->files);
	if (c->priority != NULL)
		gnutls_priority_deinit(c->priority);
	pfree(c);
}

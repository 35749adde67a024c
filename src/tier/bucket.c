/*
 * bucket.c
 *	  Which bucket: a foreign server of the wrapper promgres_s3, its options and what is made of them.
 *
 * The wrapper has no handler: nothing can be selected from such a server.  It is a place where
 * PostgreSQL keeps a name, an owner, options and user mappings, dumps them, and hides from ordinary
 * roles what they may not see.  Options are a table below; the validator and the reader both follow it.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "common/compat.h"
#include "tier/bucket.h"
#include "tier/sigv4.h"

#define WRAPPER "promgres_s3"

typedef enum OptionType
{
	OPTION_TEXT,
	OPTION_ENDPOINT,
	OPTION_BUCKET,
	OPTION_PREFIX,
	OPTION_FILE,
	OPTION_BOOL,
	OPTION_MS,
	OPTION_RETRIES,
	OPTION_TRANSFERS,
	OPTION_URL_STYLE,
	OPTION_ENCRYPTION
} OptionType;

typedef struct Option
{
	const char *name;
	OptionType	type;
	Oid			catalog;
	size_t		offset;			/* of its field in PromBucket */
} Option;

#define SERVER_OPTION(name, type, field) {name, type, ForeignServerRelationId, offsetof(PromBucket, field)}
#define MAPPING_OPTION(name, field) {name, OPTION_TEXT, UserMappingRelationId, offsetof(PromBucket, credentials.field)}

static const Option options[] = {
	SERVER_OPTION("endpoint", OPTION_ENDPOINT, endpoint),
	SERVER_OPTION("bucket", OPTION_BUCKET, bucket),
	SERVER_OPTION("prefix", OPTION_PREFIX, prefix),
	SERVER_OPTION("region", OPTION_TEXT, region),
	SERVER_OPTION("url_style", OPTION_URL_STYLE, virtual_host),
	SERVER_OPTION("tls_verify", OPTION_BOOL, verify_tls),
	SERVER_OPTION("ca_file", OPTION_FILE, ca_file),
	SERVER_OPTION("proxy", OPTION_TEXT, proxy),
	SERVER_OPTION("profile", OPTION_TEXT, profile),
	SERVER_OPTION("storage_class", OPTION_TEXT, storage_class),
	SERVER_OPTION("encryption", OPTION_ENCRYPTION, encryption),
	SERVER_OPTION("kms_key_id", OPTION_TEXT, kms_key_id),
	SERVER_OPTION("connect_timeout", OPTION_MS, connect_timeout_ms),
	SERVER_OPTION("request_timeout", OPTION_MS, request_timeout_ms),
	SERVER_OPTION("operation_timeout", OPTION_MS, operation_timeout_ms),
	SERVER_OPTION("retries", OPTION_RETRIES, retries),
	SERVER_OPTION("transfers", OPTION_TRANSFERS, transfers),
	MAPPING_OPTION("access_key_id", access_key),
	MAPPING_OPTION("secret_access_key", secret_key),
	MAPPING_OPTION("session_token", session_token),
};

static char *tier_server;

PG_FUNCTION_INFO_V1(prom_s3_options);

static void check_option(const Option *option, const char *value, void *target);
static void check_text(const char *name, const char *value);
static void check_endpoint(const char *value);
static void check_bucket_name(const char *value);
static void check_file(const char *name);
static bool read_choice(const char *name, const char *value, const char *yes, const char *no);
static int	read_int(const char *name, const char *value, int flags, int min, int max);
static const Option *find_option(const char *name, Oid catalog);
static void refuse_option(const char *name, Oid catalog) pg_attribute_noreturn();
static void read_options(PromBucket *bucket, List *list, Oid catalog);
static void derive(PromBucket *bucket);
static void require(const PromBucket *bucket, const char *name, const char *value);

void
prom_tier_init(void)
{
	DefineCustomStringVariable("promgres.tier_server",
							   "Sets the foreign server that is the bucket of old samples.",
							   "A server of the foreign data wrapper promgres_s3. Empty: there is no bucket.",
							   &tier_server,
							   "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	prom_credentials_init();
}

Oid
prom_tier_server(void)
{
	return tier_server[0] == '\0' ? InvalidOid : prom_bucket_find(tier_server);
}

Oid
prom_bucket_find(const char *name)
{
	Oid			server = get_foreign_server_oid(name, true);

	if (!OidIsValid(server))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("server \"%s\" does not exist", name),
				 strcmp(name, tier_server) == 0 ?
				 errhint("\"promgres.tier_server\" names it. Make it with CREATE SERVER %s FOREIGN DATA WRAPPER %s; what is in its bucket is found by this name.",
						 quote_identifier(name), WRAPPER) :
				 errhint("Make it with CREATE SERVER %s FOREIGN DATA WRAPPER %s; what is in its bucket is found by this name.",
						 quote_identifier(name), WRAPPER)));
	return server;
}

Oid
prom_bucket_server(const char *name)
{
	Oid			server = prom_bucket_find(name);

	if (!PromMayUseServer(server, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, name);
	return server;
}

PromBucket *
prom_bucket_open(Oid serverid)
{
	ForeignServer *server = GetForeignServer(serverid);
	ForeignDataWrapper *wrapper = GetForeignDataWrapper(server->fdwid);
	PromBucket *bucket = palloc0(sizeof(PromBucket));

	if (strcmp(wrapper->fdwname, WRAPPER) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("server \"%s\" is not a bucket", server->servername),
				 errdetail("Its foreign data wrapper is \"%s\".", wrapper->fdwname),
				 errhint("Make one with CREATE SERVER ... FOREIGN DATA WRAPPER %s.", WRAPPER)));
	bucket->server = server->servername;
	bucket->owner = server->owner;
	bucket->prefix = "";
	bucket->region = "us-east-1";
	bucket->verify_tls = true;
	bucket->connect_timeout_ms = 5000;
	bucket->request_timeout_ms = 30000;
	bucket->operation_timeout_ms = 120000;
	bucket->retries = 5;
	bucket->transfers = 8;
	read_options(bucket, server->options, ForeignServerRelationId);
	require(bucket, "endpoint", bucket->endpoint);
	require(bucket, "bucket", bucket->bucket);
	derive(bucket);
	prom_credentials_find(bucket, serverid);
	return bucket;
}

const char *
prom_bucket_describe(const PromBucket *bucket)
{
	return bucket->description;
}

int
prom_bucket_transfers(const PromBucket *bucket)
{
	return bucket->transfers;
}

const char *
prom_bucket_redact(const PromBucket *bucket, const char *text)
{
	const PromCredentials *c = &bucket->credentials;
	char	   *clean;

	if (!pg_verifymbstr(text, strlen(text), true))
		return "(not UTF-8)";
	if (strstr(text, c->access_key) || strstr(text, c->secret_key) || (c->session_token && strstr(text, c->session_token)))
		return "(left out, as it has a credential)";
	clean = pstrdup(text);
	for (char *p = clean; *p != '\0'; p++)
		if ((unsigned char) *p < ' ' || *p == 0x7f)
			*p = ' ';
	return clean;
}

/* Called for CREATE and ALTER of the wrapper, its servers and user mappings. */
Datum
prom_s3_options(PG_FUNCTION_ARGS)
{
	List	   *list = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	ListCell   *cell;

	foreach(cell, list)
	{
		DefElem    *def = lfirst(cell);
		const Option *option = find_option(def->defname, catalog);
		PromBucket	ignored;

		if (option == NULL)
			refuse_option(def->defname, catalog);
		check_option(option, defGetString(def), (char *) &ignored + option->offset);
		/* not in check_option: who reads the option later need not be who has set it */
		if (option->type == OPTION_FILE)
			check_file(option->name);
	}
	PG_RETURN_VOID();
}

static void
read_options(PromBucket *bucket, List *list, Oid catalog)
{
	ListCell   *cell;

	foreach(cell, list)
	{
		DefElem    *def = lfirst(cell);
		const Option *option = find_option(def->defname, catalog);

		if (option == NULL)
			refuse_option(def->defname, catalog);
		check_option(option, defGetString(def), (char *) bucket + option->offset);
	}
}

/* Check the value and put it where target says. */
static void
check_option(const Option *option, const char *value, void *target)
{
	const char *name = option->name;

	switch (option->type)
	{
		case OPTION_BOOL:
			if (!parse_bool(value, (bool *) target))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("option \"%s\" needs a Boolean value", name)));
			return;
		case OPTION_MS:
			*(int *) target = read_int(name, value, GUC_UNIT_MS, 1, 24 * 3600 * 1000);
			return;
		case OPTION_RETRIES:
			*(int *) target = read_int(name, value, 0, 0, 100);
			return;
		case OPTION_TRANSFERS:
			*(int *) target = read_int(name, value, 0, 1, 64);
			return;
		case OPTION_URL_STYLE:
			*(bool *) target = read_choice(name, value, "virtual", "path");
			return;
		case OPTION_ENCRYPTION:
			(void) read_choice(name, value, "AES256", "aws:kms");
			break;
		case OPTION_ENDPOINT:
			check_endpoint(value);
			break;
		case OPTION_BUCKET:
			check_bucket_name(value);
			break;
		case OPTION_PREFIX:
			check_text(name, value);
			if (value[0] == '/')
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("option \"%s\" must not begin with a slash", name)));
			break;
		case OPTION_TEXT:
		case OPTION_FILE:
			check_text(name, value);
			break;
	}
	*(char **) target = pstrdup(value);
}

/* Values become headers or parts of an address: no control characters, and a bound.  Never shown: it may be a secret. */
static void
check_text(const char *name, const char *value)
{
	bool		fine = value[0] != '\0' && strlen(value) <= (strcmp(name, "session_token") == 0 ? 4096 : 256);

	for (const char *p = value; *p != '\0'; p++)
		fine = fine && (unsigned char) *p >= ' ' && *p != 0x7f;
	if (!fine)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value of option \"%s\"", name),
				 errdetail("It is empty, too long, or has control characters.")));
}

static void
check_endpoint(const char *value)
{
	const char *host = strncmp(value, "https://", 8) == 0 ? value + 8 : strncmp(value, "http://", 7) == 0 ? value + 7 : NULL;

	if (host == NULL || host[0] == '\0' ||
		host[strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]")] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value of option \"endpoint\""),
				 errhint("Write it as https://host or https://host:port, without a path.")));
}

static void
check_bucket_name(const char *value)
{
	if (value[0] == '\0' || strlen(value) > 255 ||
		value[strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_")] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value of option \"bucket\""),
				 errdetail("A name of a bucket has letters, digits, \".\", \"-\" and \"_\".")));
}

/* The server's account opens the file: as with COPY, not everybody may say which. */
static void
check_file(const char *name)
{
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set option \"%s\"", name),
				 errhint("A superuser or a member of pg_read_server_files may set it.")));
}

static bool
read_choice(const char *name, const char *value, const char *yes, const char *no)
{
	bool		is_yes = strcmp(value, yes) == 0;

	if (!is_yes && strcmp(value, no) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value of option \"%s\"", name),
				 errhint("It can be \"%s\" or \"%s\".", no, yes)));
	return is_yes;
}

static int
read_int(const char *name, const char *value, int flags, int min, int max)
{
	int			result;
	const char *hint = NULL;

	if (!parse_int(value, &result, flags, &hint))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value of option \"%s\"", name),
				 hint ? errhint("%s", hint) : 0));
	if (result < min || result > max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("value of option \"%s\" is out of range", name),
				 errdetail("It can be %d to %d%s.", min, max, flags == GUC_UNIT_MS ? " ms" : "")));
	return result;
}

static const Option *
find_option(const char *name, Oid catalog)
{
	for (int i = 0; i < lengthof(options); i++)
		if (options[i].catalog == catalog && strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

static void
refuse_option(const char *name, Oid catalog)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (int i = 0; i < lengthof(options); i++)
		if (options[i].catalog == catalog)
			appendStringInfo(&valid, "%s%s", valid.len > 0 ? ", " : "", options[i].name);
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 valid.len > 0 ? errhint("Valid options here are: %s.", valid.data) : errhint("There are no options here.")));
}

static void
require(const PromBucket *bucket, const char *name, const char *value)
{
	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("server \"%s\" has no option \"%s\"", bucket->server, name),
				 errhint("Set it with ALTER SERVER ... OPTIONS (ADD %s '...').", name)));
}

/* What a request is made of: scheme, host, beginning of the path. */
static void
derive(PromBucket *bucket)
{
	const char *host = strstr(bucket->endpoint, "://") + 3;
	const char *port;
	size_t		len = strlen(bucket->prefix);

	bucket->tls = strncmp(bucket->endpoint, "https", 5) == 0;

	/* Host is signed, and libcurl leaves out the port of the scheme. */
	port = bucket->tls ? ":443" : ":80";
	host = pstrdup(host);
	if (strlen(host) > strlen(port) && strcmp(host + strlen(host) - strlen(port), port) == 0)
		host = pnstrdup(host, strlen(host) - strlen(port));
	bucket->host = bucket->virtual_host ? psprintf("%s.%s", bucket->bucket, host) : pstrdup(host);
	bucket->base_path = bucket->virtual_host ? "" : psprintf("/%s", bucket->bucket);
	if (len > 0 && bucket->prefix[len - 1] != '/')
		bucket->prefix = psprintf("%s/", bucket->prefix);
	bucket->description = psprintf("bucket \"%s\" at %s", bucket->bucket, host);
}

/*
 * credentials.c
 *	  Whose keys sign the requests.
 *
 * In this order: the user mapping of the server's owner, or that of PUBLIC; the environment of the server
 * account (AWS_ACCESS_KEY_ID and its like); a file in the form of ~/.aws/credentials.  The latter two belong
 * to the server account, so only servers that a superuser owns may use them: otherwise everybody who may make
 * a server could sign what he likes with them.  They are the way that never shows up in a dump.
 *
 * All are read anew each time a bucket is opened, so that exchanged keys need no restart.  The environment
 * is the postmaster's.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "common/compat.h"
#include "tier/bucket.h"

#define MAX_LINE 8192

static char *credentials_file;

static bool from_mapping(PromCredentials *c, Oid owner, Oid server);
static bool from_environment(PromCredentials *c);
static bool from_file(PromBucket *bucket);
static int	name_file(void);
static void read_profile(FILE *file, const char *profile, PromCredentials *c);
static char *trim(char *text);
static bool complete(const PromCredentials *c);

void
prom_credentials_init(void)
{
	DefineCustomStringVariable("promgres.s3_credentials_file",
							   "Sets the file of the server account that has the keys of buckets.",
							   "In the form of ~/.aws/credentials. It is used for buckets without a user mapping that a superuser owns.",
							   &credentials_file,
							   "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
}

void
prom_credentials_find(PromBucket *bucket, Oid server)
{
	PromCredentials *c = &bucket->credentials;

	if (from_mapping(c, bucket->owner, server))
		return;
	if (!superuser_arg(bucket->owner))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there are no credentials for server \"%s\"", bucket->server),
				 errdetail("Its owner has no user mapping, and is not a superuser, for whom environment and file would be looked at."),
				 errhint("Use CREATE USER MAPPING FOR %s SERVER %s OPTIONS (access_key_id '...', secret_access_key '...').",
						 quote_identifier(GetUserNameFromId(bucket->owner, false)), quote_identifier(bucket->server))));
	if (!from_environment(c) && !from_file(bucket))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there are no credentials for server \"%s\"", bucket->server),
				 errdetail("There is no user mapping for its owner, no AWS_ACCESS_KEY_ID in the environment of the server, and no credentials file."),
				 errhint("Put them into a file and set \"promgres.s3_credentials_file\" to its path.")));
}

/* GetUserMapping would raise if there is none. */
static bool
from_mapping(PromCredentials *c, Oid owner, Oid server)
{
	UserMapping *mapping;
	ListCell   *cell;

	if (!SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(owner), ObjectIdGetDatum(server)) &&
		!SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid), ObjectIdGetDatum(server)))
		return false;
	mapping = GetUserMapping(owner, server);
	foreach(cell, mapping->options)
	{
		DefElem    *def = lfirst(cell);
		char	   *value = defGetString(def);

		if (strcmp(def->defname, "access_key_id") == 0)
			c->access_key = value;
		else if (strcmp(def->defname, "secret_access_key") == 0)
			c->secret_key = value;
		else if (strcmp(def->defname, "session_token") == 0)
			c->session_token = value;
	}
	if (!complete(c))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the user mapping for server \"%s\" is incomplete", GetForeignServer(server)->servername),
				 errhint("It needs the options \"access_key_id\" and \"secret_access_key\".")));
	c->source = "user mapping";
	return true;
}

static bool
from_environment(PromCredentials *c)
{
	const char *key = getenv("AWS_ACCESS_KEY_ID");
	const char *secret = getenv("AWS_SECRET_ACCESS_KEY");
	const char *token = getenv("AWS_SESSION_TOKEN");

	if (key == NULL || secret == NULL || key[0] == '\0' || secret[0] == '\0')
		return false;
	c->access_key = pstrdup(key);
	c->secret_key = pstrdup(secret);
	c->session_token = token != NULL && token[0] != '\0' ? pstrdup(token) : NULL;
	c->source = "environment";
	return true;
}

static bool
from_file(PromBucket *bucket)
{
	const char *profile = bucket->profile != NULL ? bucket->profile : "default";
	struct stat st;
	FILE	   *file;

	if (credentials_file[0] == '\0')
		return false;
	file = AllocateFile(credentials_file, "r");
	if (file == NULL || fstat(fileno(file), &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read the file of \"promgres.s3_credentials_file\": %m"),
				 name_file(),
				 errhint("It must exist, and the operating system's account of the server must be able to read it.")));
	if ((st.st_mode & (S_IWGRP | S_IRWXO)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the file of \"promgres.s3_credentials_file\" is open to others"),
				 name_file(),
				 errhint("Its mode should be 0600, or 0640 if its group is to read it.")));
	read_profile(file, profile, &bucket->credentials);
	FreeFile(file);
	if (!complete(&bucket->credentials))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the file of \"promgres.s3_credentials_file\" has no keys for profile \"%s\"", profile),
				 name_file(),
				 errhint("It needs the lines [%s], aws_access_key_id = ... and aws_secret_access_key = ....", profile)));
	bucket->credentials.source = psprintf("credentials file, profile \"%s\"", profile);
	return true;
}

/* The path is for those who may see the setting, and for the log. */
static int
name_file(void)
{
	bool		visible = has_privs_of_role(GetOuterUserId(), ROLE_PG_READ_ALL_SETTINGS) &&
		has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_SETTINGS);

	return visible ? errdetail("The file is \"%s\".", credentials_file) : errdetail_log("The file is \"%s\".", credentials_file);
}

/* Sections [profile], lines "name = value", comments behind # or ; at the beginning of a line. */
static void
read_profile(FILE *file, const char *profile, PromCredentials *c)
{
	char		line[MAX_LINE];
	bool		ours = false;

	while (fgets(line, sizeof(line), file) != NULL)
	{
		char	   *name = trim(line);
		char	   *value;

		if (name[0] == '[')
		{
			name[strcspn(name, "]")] = '\0';
			ours = strcmp(trim(name + 1), profile) == 0;
			continue;
		}
		value = strchr(name, '=');
		if (!ours || name[0] == '#' || name[0] == ';' || value == NULL)
			continue;
		*value++ = '\0';
		name = trim(name);
		value = pstrdup(trim(value));
		if (strcmp(name, "aws_access_key_id") == 0)
			c->access_key = value;
		else if (strcmp(name, "aws_secret_access_key") == 0)
			c->secret_key = value;
		else if (strcmp(name, "aws_session_token") == 0)
			c->session_token = value;
	}
	explicit_bzero(line, sizeof(line));
}

/* Without white space around it; in place. */
static char *
trim(char *text)
{
	size_t		len;

	text += strspn(text, " \t\r\n");
	len = strlen(text);
	while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
		text[--len] = '\0';
	return text;
}

static bool
complete(const PromCredentials *c)
{
	return c->access_key != NULL && c->secret_key != NULL && c->access_key[0] != '\0' && c->secret_key[0] != '\0';
}

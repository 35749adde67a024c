/*
 * token.c
 *	  Tokens: secrets with which a client of the gateway is a role, without its password.
 *
 * A token is 32 random bytes, told once, when it is made.  Kept is its SHA-256, by which it is found;
 * for what is random already, that is as good as any slower hash.  Whoever may SET ROLE to a role may
 * make and revoke tokens of it: a token gives nothing that its maker does not have.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "api/token.h"
#include "common/compat.h"

#define TOKEN_PREFIX "promgres_"	/* so that scanners for leaked secrets know it */
#define TOKEN_BYTES 32

static bool may_become(const char *role);
static uint64 run_as_owner(const char *sql, int nargs, Oid *types, Datum *args, const char *nulls);

PG_FUNCTION_INFO_V1(prom_create_token);
PG_FUNCTION_INFO_V1(prom_revoke_token);
PG_FUNCTION_INFO_V1(prom_may_become);

Datum
prom_token_hash(const char *token)
{
	bytea	   *hash = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	pg_cryptohash_ctx *cxt = pg_cryptohash_create(PG_SHA256);

	SET_VARSIZE(hash, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	if (cxt == NULL || pg_cryptohash_init(cxt) < 0 ||
		pg_cryptohash_update(cxt, (const uint8 *) token, strlen(token)) < 0 ||
		pg_cryptohash_final(cxt, (uint8 *) VARDATA(hash), PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute SHA-256");
	pg_cryptohash_free(cxt);
	return PointerGetDatum(hash);
}

/* create_token(role, description, expires) */
Datum
prom_create_token(PG_FUNCTION_ARGS)
{
	Oid			types[] = {BYTEAOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID};
	char		nulls[] = {' ', ' ', ' ', ' ', ' ', '\0'};
	Datum		args[5];
	uint8		random[TOKEN_BYTES];
	char		token[sizeof(TOKEN_PREFIX) + 2 * TOKEN_BYTES];
	char	   *role;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("role and description of a token must not be null")));
	role = text_to_cstring(PG_GETARG_TEXT_PP(0));
	(void) get_role_oid(role, false);
	if (!may_become(role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to make a token of role \"%s\"", role),
				 errdetail("Only roles that may SET ROLE to it can.")));
	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random token")));
	strcpy(token, TOKEN_PREFIX);
	hex_encode((const char *) random, sizeof(random), token + strlen(TOKEN_PREFIX));
	token[sizeof(token) - 1] = '\0';

	args[0] = prom_token_hash(token);
	args[1] = PG_GETARG_DATUM(0);
	args[2] = PG_GETARG_DATUM(1);
	args[3] = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	nulls[3] = PG_ARGISNULL(2) ? 'n' : ' ';
	args[4] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	(void) run_as_owner("SELECT prom._add_token($1, $2, $3, $4, $5)", lengthof(args), types, args, nulls);
	PG_RETURN_TEXT_P(cstring_to_text(token));
}

/* revoke_token(id): whether there is one is decided by the view, as the caller */
Datum
prom_revoke_token(PG_FUNCTION_ARGS)
{
	Oid			type = INT4OID;
	Datum		id = PG_GETARG_DATUM(0);
	bool		found;

	SPI_connect();
	if (SPI_execute_with_args("SELECT FROM prom.tokens AS t WHERE t.id OPERATOR(pg_catalog.=) $1", 1, &type, &id,
							  NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args failed");
	found = SPI_processed > 0;
	SPI_finish();
	if (found)
		found = run_as_owner("DELETE FROM prom.token AS t WHERE t.id OPERATOR(pg_catalog.=) $1", 1, &type, &id, NULL) > 0;
	PG_RETURN_BOOL(found);
}

/* _may_become(role) */
Datum
prom_may_become(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(may_become(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

static bool
may_become(const char *role)
{
	Oid			id = strlen(role) < NAMEDATALEN ? get_role_oid(role, true) : InvalidOid;

	return OidIsValid(id) && PromMayBecome(GetUserId(), id);
}

/* As the owner of prom.token; returns the number of rows. */
static uint64
run_as_owner(const char *sql, int nargs, Oid *types, Datum *args, const char *nulls)
{
	Oid			table = get_relname_relid("token", get_namespace_oid("prom", false));
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid			user;
	int			context;
	uint64		n;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for prom.token");
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(((Form_pg_class) GETSTRUCT(tuple))->relowner,
						   context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	ReleaseSysCache(tuple);
	SPI_connect();
	if (SPI_execute_with_args(sql, nargs, types, args, nulls, false, 0) < 0)
		elog(ERROR, "SPI_execute_with_args failed");
	n = SPI_processed;
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	return n;
}

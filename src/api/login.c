/*
 * login.c
 *	  In a backend: who a client is, and becoming that role for one transaction.
 *
 * Passwords are those of the server's roles, checked by the server's own functions against what
 * pg_authid has; nothing is copied.  A name that has no password costs as much as a wrong password.
 * The gateway calls both functions on connections of its own role, nobody else may.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "libpq/crypt.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "api/token.h"

/* Nobody's: the work that is done for it is what counts. */
#define NOBODYS_SECRET \
	"SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$" \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

/* Of a role's settings, those that limit what its queries take; and all of ours. */
static const char *const limits[] = {
	"statement_timeout", "work_mem", "hash_mem_multiplier", "temp_file_limit", "max_parallel_workers_per_gather",
};

static bool check_password(const char *name, const char *password);
static char *token_role(const char *token);
static bool may_log_in(const char *role);
static void apply_settings(Oid database, Oid role);
static void apply_setting(const char *setting);
static void set_local(const char *name, const char *value, int elevel);

PG_FUNCTION_INFO_V1(prom_login);
PG_FUNCTION_INFO_V1(prom_enter);

/* _login(name, secret): a token without a name; a name without a secret has been proved otherwise */
Datum
prom_login(PG_FUNCTION_ARGS)
{
	char	   *role;

	if (PG_ARGISNULL(0) && PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(0))
		role = token_role(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	else
	{
		role = text_to_cstring(PG_GETARG_TEXT_PP(0));
		if (!PG_ARGISNULL(1) && !check_password(role, text_to_cstring(PG_GETARG_TEXT_PP(1))))
			PG_RETURN_NULL();
	}
	if (role == NULL || !may_log_in(role))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(role));
}

/* The password is right, and not expired. */
static bool
check_password(const char *name, const char *password)
{
	const char *detail = NULL;
	char	   *secret = strlen(name) < NAMEDATALEN ? get_role_password(name, &detail) : NULL;

	if (secret != NULL)
		return plain_crypt_verify(name, secret, password, &detail) == STATUS_OK;
	(void) plain_crypt_verify(name, NOBODYS_SECRET, password, &detail);
	return false;
}

static char *
token_role(const char *token)
{
	Oid			type = BYTEAOID;
	Datum		hash = prom_token_hash(token);
	char	   *role;

	SPI_connect();
	if (SPI_execute_with_args("SELECT prom._use_token($1)", 1, &type, &hash, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args failed");
	role = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (role != NULL)
	{
		char	   *copy = SPI_palloc(strlen(role) + 1);

		role = strcpy(copy, role);
	}
	SPI_finish();
	return role;
}

static bool
may_log_in(const char *role)
{
	HeapTuple	tuple;
	bool		may;

	if (strlen(role) >= NAMEDATALEN)
		return false;
	tuple = SearchSysCache1(AUTHNAME, CStringGetDatum(role));
	if (!HeapTupleIsValid(tuple))
		return false;
	may = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	return may;
}

/* _enter(role, timeout_ms) */
Datum
prom_enter(PG_FUNCTION_ARGS)
{
	char	   *role = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			timeout_ms = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);

	if (role != NULL)
	{
		Oid			id = strlen(role) < NAMEDATALEN ? get_role_oid(role, true) : InvalidOid;

		if (!OidIsValid(id))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
					 errmsg("role \"%s\" does not exist", role),
					 errhint("\"promgres.anonymous_role\" names that of clients which do not say who they are.")));
		/* the same order as at a login: what is said for this database counts */
		apply_settings(InvalidOid, id);
		apply_settings(MyDatabaseId, id);
	}
	if (StatementTimeout > 0 && (timeout_ms == 0 || timeout_ms > StatementTimeout))
		timeout_ms = StatementTimeout;
	set_local("statement_timeout", psprintf("%d", timeout_ms), ERROR);
	if (role != NULL)
		set_local("role", role, ERROR);
	PG_RETURN_VOID();
}

static void
apply_settings(Oid database, Oid role)
{
	Relation	table = table_open(DbRoleSettingRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	ScanKeyInit(&key[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	scan = systable_beginscan(table, DbRoleSettingDatidRolidIndexId, true, NULL, lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		config = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig, RelationGetDescr(table), &isnull);
		Datum	   *settings;
		int			n = 0;

		if (!isnull)
			deconstruct_array(DatumGetArrayTypeP(config), TEXTOID, -1, false, TYPALIGN_INT, &settings, NULL, &n);
		for (int i = 0; i < n; i++)
			apply_setting(TextDatumGetCString(settings[i]));
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
}

/* "name=value", as an administrator has allowed it. */
static void
apply_setting(const char *setting)
{
	char	   *name;
	char	   *value;
	bool		wanted;

	ParseLongOption(setting, &name, &value);
	wanted = value != NULL && pg_strncasecmp(name, "promgres.", strlen("promgres.")) == 0;
	for (int i = 0; value != NULL && i < lengthof(limits); i++)
		wanted |= pg_strcasecmp(name, limits[i]) == 0;
	if (wanted)
		set_local(name, value, WARNING);
}

/* Until the end of the transaction. */
static void
set_local(const char *name, const char *value, int elevel)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, elevel, false);
}

/*
 * sight.c
 *	  Whether somebody sees all series, or only those that row security lets through.
 *
 * Policies are the administrator's, on prom.series alone.  Everything that is derived from series, their
 * samples, labels and metadata, must hold to them: whoever is subject to policies there is "restricted",
 * and gets what he asks for by way of prom.series.  Having a policy that lets all through is no matter.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "series/series.h"

PG_FUNCTION_INFO_V1(prom_check_sees_all);

static bool
is_restricted(Oid user)
{
	Oid			table = get_relname_relid("series", get_namespace_oid("prom", false));

	return OidIsValid(table) && check_enable_rls(table, user, true) == RLS_ENABLED;
}

bool
prom_series_restricted(void)
{
	return is_restricted(InvalidOid);
}

void
prom_series_check_reads(void)
{
	Oid			table = get_relname_relid("series", get_namespace_oid("prom", false));

	if (OidIsValid(table) && pg_class_aclcheck(table, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(table, GetUserId(), ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for samples"),
				 errhint("prom_reader reads them: GRANT prom_reader TO %s.",
						 quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

/*
 * _check_sees_all(): raises if the role that asks, by SET ROLE or session, is restricted.  For functions
 * that run with the rights of their owner, who is not.
 */
Datum
prom_check_sees_all(PG_FUNCTION_ARGS)
{
	if (is_restricted(GetOuterUserId()) || is_restricted(InvalidOid))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied: row security shows role \"%s\" only some of the series",
						GetUserNameFromId(GetOuterUserId(), false)),
				 errdetail("This would touch series that the role does not see."),
				 errhint("Use a role that is not subject to policies on prom.series.")));
	PG_RETURN_VOID();
}

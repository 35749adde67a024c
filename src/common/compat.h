/*
 * compat.h
 *	  Differences between PostgreSQL 15 and 18, all in one place.
 *
 * Include it after postgres.h; nothing else in the tree looks at PG_VERSION_NUM.
 */
#ifndef PROM_COMPAT_H
#define PROM_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "promgres needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#include "storage/latch.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif

#if PG_VERSION_NUM >= 170000
#define PromCreateWaitEventSet(n) CreateWaitEventSet(NULL, (n))
#else
#define PromCreateWaitEventSet(n) CreateWaitEventSet(TopMemoryContext, (n))
#endif

/* Needs storage/lock.h. */
#if PG_VERSION_NUM >= 170000
#define PromLockHeldByMe(tag, mode) LockHeldByMe((tag), (mode), false)
#else
#define PromLockHeldByMe(tag, mode) LockHeldByMe((tag), (mode))
#endif

/* Actions of the JSON parser may end it since 16. */
#if PG_VERSION_NUM >= 160000
#define PROM_JSON_ACTION JsonParseErrorType
#define PROM_JSON_GO_ON return JSON_SUCCESS
#else
#define PROM_JSON_ACTION void
#define PROM_JSON_GO_ON return
#endif

#if PG_VERSION_NUM >= 170000
#define PromJsonLexer(json, len) makeJsonLexContextCstringLen(NULL, (json), (len), PG_UTF8, true)
#else
#define PromJsonLexer(json, len) makeJsonLexContextCstringLen((json), (len), PG_UTF8, true)
#endif

/* May a role SET ROLE to another?  Needs utils/acl.h. */
#if PG_VERSION_NUM >= 160000
#define PromMayBecome(member, role) member_can_set_role((member), (role))
#else
#define PromMayBecome(member, role) is_member_of_role((member), (role))
#endif

/* May a role use a foreign server?  Needs utils/acl.h and catalog/pg_foreign_server.h. */
#if PG_VERSION_NUM >= 160000
#define PromMayUseServer(server, role) \
	(object_aclcheck(ForeignServerRelationId, (server), (role), ACL_USAGE) == ACLCHECK_OK)
#else
#define PromMayUseServer(server, role) (pg_foreign_server_aclcheck((server), (role), ACL_USAGE) == ACLCHECK_OK)
#endif

#endif							/* PROM_COMPAT_H */

/*
 * step.c
 *	  A step of merging, compacting or rolling up: all of it or nothing, and damage does not stop it.
 *
 * A step runs in a subtransaction.  If it fails, the rows that it was reading are verified one by one,
 * those that are damaged go to prom.quarantine, and the step is tried again without them.
 *
 * Locking: a lock per shard, held to the end of the transaction.  Readers are never blocked, and what
 * only reads samples, as rollups do, takes the lock to set rows aside alone.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "common/compat.h"
#include "store/rows.h"

static ErrorData *try_step(const PromStep *step);

PG_FUNCTION_INFO_V1(prom_lock_merge);

bool
prom_step_run(const PromStep *step, int16 shard, PromStepLock lock)
{
	ErrorData  *error;

	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a merge cannot run in a transaction that is REPEATABLE READ or SERIALIZABLE"),
				 errdetail("It must see what the merge before it has committed."),
				 errhint("Use READ COMMITTED.")));
	if (lock != PROM_STEP_READS && !prom_merge_lock(shard, lock == PROM_STEP_WAIT))
		return false;
	while ((error = try_step(step)) != NULL)
	{
		bool		damage = prom_may_be_damage(error->sqlerrcode);

		if (damage && lock == PROM_STEP_READS)
			(void) prom_merge_lock(shard, true);
		if (!damage || step->set_aside(step->arg) == 0)
		{
			prom_stat_merge_failed(error->message);
			ReThrowError(error);
		}
		FreeErrorData(error);
	}
	return true;
}

/* NULL; or, if it fails, the error, which is all that is left of it. */
static ErrorData *
try_step(const PromStep *step)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;
	PromStatMark mark;

	prom_stat_mark(&mark);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		step->run(step->arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		prom_stat_back_to(&mark);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
	return error;
}

Datum
prom_lock_merge(PG_FUNCTION_ARGS)
{
	(void) prom_merge_lock(PG_GETARG_INT16(0), true);
	PG_RETURN_VOID();
}

/*
 * A lock on prom.warm and the shard.  Not an advisory one: anybody could take that, and merging would
 * stop without a word.
 */
bool
prom_merge_lock(int16 shard, bool wait)
{
	Oid			warm = prom_store_relid("warm");
	AclResult	acl = pg_class_aclcheck(warm, GetUserId(), ACL_INSERT | ACL_DELETE);
	LOCKTAG		tag;

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, "warm");
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, warm, (uint16) (shard - PG_INT16_MIN));
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * main.c
 *	  Loads the extension: each room defines its settings, then "promgres" is reserved.
 *
 * Must be in shared_preload_libraries for the gateway and the maintenance worker.  Loaded later, by
 * a function call, everything works but those two.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "api/api.h"
#include "archive/archive.h"
#include "block/block.h"
#include "common/remote.h"
#include "ingest/ingest.h"
#include "promql/promql.h"
#include "select/select.h"
#include "series/series.h"
#include "store/store.h"
#include "tier/tier.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	prom_remote_init();
	prom_series_init();
	prom_tier_init();
	prom_store_init();
	prom_ingest_init();
	prom_archive_init();
	prom_select_init();
	prom_block_init();
	promql_init();
	prom_api_init();
	MarkGUCPrefixReserved("promgres");
}

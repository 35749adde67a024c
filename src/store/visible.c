/*
 * visible.c
 *	  Samples for those whom row security on prom.series shows only some of the series.
 *
 * Such users read no table of samples themselves: a row holds samples of many series, and its policy
 * gives them none.  They get samples by the functions here, which may be called by anybody with any
 * ids, in two steps:
 *
 *	1. under the caller's role, which of the series does prom.series show?  The ids that were asked
 *	   for are but a wish.
 *	2. under the role that owns the samples, their rows; what belongs to other series is taken out of
 *	   each chunk before anything of it is returned.
 *
 * Whether a series has samples at all (prom._visible_has) is found out for all series of its block at once, which are 64,
 * and remembered for as long as the expression that asks: one look per block and not per series.
 *
 * Which series match a selector goes the other way round, as no index may be asked before a policy has let a row
 * through: the index gives candidates under the owner's role, and prom.series shows the caller some of them.
 *
 * No expression of the caller is evaluated under the owner's role: neither a condition, which could tell of
 * rows it sees, nor a function found by the caller's search_path, as all names are qualified.  An error
 * restores the role with the (sub)transaction that ends.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/syscache.h"

#include "store/rows.h"

#define BLOCK_SERIES (1 << PROM_BLOCK_BITS)

#define SERIES_SQL \
	"SELECT pg_catalog.array_agg(s.sid ORDER BY s.sid) FROM prom.series AS s" \
	" WHERE s.shard OPERATOR(pg_catalog.=) $1 AND s.sid OPERATOR(pg_catalog.=) ANY ($2)"

#define CANDIDATES_SQL(op) \
	"SELECT s.shard, pg_catalog.array_agg(s.sid) FROM prom.series AS s" \
	" WHERE prom._label_pairs(s.labels) OPERATOR(pg_catalog." op ") $1 GROUP BY s.shard"

#define WARM_SQL \
	"SELECT o.data, o.seq FROM (" \
	"SELECT prom._only(w.data, $2, $3, $4) AS data, w.seq FROM prom.warm AS w" \
	" WHERE w.shard OPERATOR(pg_catalog.=) $1 AND w.block OPERATOR(pg_catalog.=) ANY ($5)" \
	" AND w.t_min OPERATOR(pg_catalog.>=) $6 AND w.t_min OPERATOR(pg_catalog.<=) $4" \
	" AND w.t_max OPERATOR(pg_catalog.>) $3 OFFSET 0) AS o WHERE o.data IS NOT NULL"

#define ROLLUP_SQL \
	"SELECT o.data, o.part OPERATOR(pg_catalog.+) $9 FROM (" \
	"SELECT prom._only(q.data, $2, $3, $4) AS data, q.part FROM prom.rollup AS q" \
	" WHERE q.shard OPERATOR(pg_catalog.=) $1 AND q.block OPERATOR(pg_catalog.=) ANY ($5)" \
	" AND q.resolution OPERATOR(pg_catalog.=) $6 AND q.part OPERATOR(pg_catalog.=) ANY ($7)" \
	" AND q.day OPERATOR(pg_catalog.>=) $8 AND q.day OPERATOR(pg_catalog.<) $4" \
	" AND q.t_max OPERATOR(pg_catalog.>) $3 AND q.t_min OPERATOR(pg_catalog.<=) $4 OFFSET 0) AS o WHERE o.data IS NOT NULL"

#define FRESH_SQL \
	"SELECT prom._fresh(f.data, f.seq, $2, $3, $4) FROM prom.fresh AS f" \
	" WHERE f.shard OPERATOR(pg_catalog.=) $1" \
	" AND f.t_max OPERATOR(pg_catalog.>) $3 AND f.t_min OPERATOR(pg_catalog.<=) $4" \
	" AND f.sid_max OPERATOR(pg_catalog.>=) $5 AND f.sid_min OPERATOR(pg_catalog.<=) $6"

#define EXEMPLARS_SQL \
	"SELECT e.sid, e.t_ms, e.value, e.labels FROM prom.exemplar AS e" \
	" WHERE e.shard OPERATOR(pg_catalog.=) $1 AND e.sid OPERATOR(pg_catalog.=) ANY ($2)" \
	" AND e.t_ms OPERATOR(pg_catalog.>=) $3 AND e.t_ms OPERATOR(pg_catalog.<=) $4"

/* Ids of series that have samples: those of a block in its rows, and those of a shard in its fresh rows, of which each has many. */
#define WARM_HITS_SQL \
	"SELECT pg_catalog.unnest(prom._hits(w.data, $2, $3, $4)) FROM prom.warm AS w" \
	" WHERE w.shard OPERATOR(pg_catalog.=) $1 AND w.block OPERATOR(pg_catalog.=) $5" \
	" AND w.t_min OPERATOR(pg_catalog.>=) $6 AND w.t_min OPERATOR(pg_catalog.<=) $4" \
	" AND w.t_max OPERATOR(pg_catalog.>=) $3"

#define ROLLUP_HITS_SQL \
	"SELECT pg_catalog.unnest(prom._hits(q.data, $2, $3, $4)) FROM prom.rollup AS q" \
	" WHERE q.shard OPERATOR(pg_catalog.=) $1 AND q.block OPERATOR(pg_catalog.=) $5" \
	" AND q.resolution OPERATOR(pg_catalog.=) $7 AND q.part OPERATOR(pg_catalog.=) ANY ($8)" \
	" AND q.day OPERATOR(pg_catalog.>=) $6 AND q.day OPERATOR(pg_catalog.<) $4" \
	" AND q.t_max OPERATOR(pg_catalog.>=) $3 AND q.t_min OPERATOR(pg_catalog.<=) $4"

#define FRESH_HITS_SQL \
	"SELECT pg_catalog.unnest(prom._hits(f.data, prom._sids(f.data), $2, $3)) FROM prom.fresh AS f" \
	" WHERE f.shard OPERATOR(pg_catalog.=) $1" \
	" AND f.t_max OPERATOR(pg_catalog.>=) $2 AND f.t_min OPERATOR(pg_catalog.<=) $3"

/* What prom._visible_has knows of a block; a bit per series. */
typedef struct BlockHits
{
	uint64		key;			/* shard and block; block -1: fresh rows of the shard were looked through */
	uint64		fresh;			/* have samples in fresh rows, whoever may see them */
	uint64		visible;		/* have samples, and the caller is shown them */
	bool		is_known;		/* visible is */
} BlockHits;

/* Of which calls that is; others may follow with the same expression, in PL/pgSQL. */
typedef struct Known
{
	Oid			role;
	int32		resolution;
	int64		from_ms;
	int64		to_ms;
	ArrayType  *parts;
	HTAB	   *blocks;			/* BlockHits */
} Known;

static void run(const char *sql, int nargs, Oid *types, Datum *args);
static void run_as_owner(const char *sql, int nargs, Oid *types, Datum *args);
static void put_rows(ReturnSetInfo *rsinfo);
static Datum blocks_of(const int32 *sids, int n);
static HTAB *known_blocks(FunctionCallInfo fcinfo);
static BlockHits *block_hits(HTAB *blocks, int16 shard, int32 block);
static void look_at_fresh(HTAB *blocks, int16 shard, int64 from_ms, int64 to_ms);
static uint64 visible_hits(FunctionCallInfo fcinfo, int32 block, uint64 fresh);
static int64 first_ms(int64 from_ms);
static uint64 series_bit(int32 sid);
static int32 result_sid(uint64 row);
static Datum sids_of_block(int32 block);

PG_FUNCTION_INFO_V1(prom_visible_series);
PG_FUNCTION_INFO_V1(prom_visible_warm);
PG_FUNCTION_INFO_V1(prom_visible_rollup);
PG_FUNCTION_INFO_V1(prom_visible_fresh);
PG_FUNCTION_INFO_V1(prom_visible_exemplars);
PG_FUNCTION_INFO_V1(prom_visible_has);

/* Those of the shard's candidates that the caller is shown, as rows of the result. */
static void
put_visible(ReturnSetInfo *rsinfo, Datum shard, Datum candidates)
{
	Datum		visible;
	Datum		values[2] = {shard};
	bool		nulls[2] = {false, false};
	int			n;
	int32	   *sids = prom_visible_sids(DatumGetInt16(shard), candidates, &visible, &n);

	for (int i = 0; i < n; i++)
	{
		values[1] = Int32GetDatum(sids[i]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/* _visible_series(pairs, every, OUT shard, OUT sid) */
Datum
prom_visible_series(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			types[] = {INT4ARRAYOID};
	Datum		args[] = {PG_GETARG_DATUM(0)};
	SPITupleTable *shards;
	uint64		n;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	run_as_owner(PG_GETARG_BOOL(1) ? CANDIDATES_SQL("@>") : CANDIDATES_SQL("&&"), lengthof(args), types, args);
	shards = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		put_visible(rsinfo, SPI_getbinval(shards->vals[i], shards->tupdesc, 1, &isnull),
					SPI_getbinval(shards->vals[i], shards->tupdesc, 2, &isnull));
	}
	SPI_finish();
	return (Datum) 0;
}

/* _visible_warm(shard, sids, from_ms, to_ms, OUT data, OUT ord) */
Datum
prom_visible_warm(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		from_ms = PG_GETARG_INT64(2);
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT8OID, INT8OID, INT4ARRAYOID, INT8OID};
	Datum		args[] = {PG_GETARG_DATUM(0), 0, PG_GETARG_DATUM(2), PG_GETARG_DATUM(3), 0, 0};
	int			n;
	int32	   *sids;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	sids = prom_visible_sids(PG_GETARG_INT16(0), PG_GETARG_DATUM(1), &args[1], &n);
	if (n > 0)
	{
		args[4] = blocks_of(sids, n);
		args[5] = Int64GetDatum(prom_day_start(Min(from_ms, PG_INT64_MAX - 1) + 1));
		run_as_owner(WARM_SQL, lengthof(args), types, args);
		put_rows(rsinfo);
	}
	SPI_finish();
	return (Datum) 0;
}

/* _visible_rollup(shard, sids, resolution, parts, from_ms, to_ms, OUT data, OUT ord) */
Datum
prom_visible_rollup(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		from_ms = PG_GETARG_INT64(4);
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT8OID, INT8OID, INT4ARRAYOID, INT4OID, INT2ARRAYOID, INT8OID, INT8OID};
	Datum		args[] = {PG_GETARG_DATUM(0), 0, PG_GETARG_DATUM(4), PG_GETARG_DATUM(5), 0, PG_GETARG_DATUM(2),
	PG_GETARG_DATUM(3), Int64GetDatum(prom_day_start(from_ms)), Int64GetDatum(PROM_ROLLUP_ORDER)};
	int			n;
	int32	   *sids;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	sids = prom_visible_sids(PG_GETARG_INT16(0), PG_GETARG_DATUM(1), &args[1], &n);
	if (n > 0)
	{
		args[4] = blocks_of(sids, n);
		run_as_owner(ROLLUP_SQL, lengthof(args), types, args);
		put_rows(rsinfo);
	}
	SPI_finish();
	return (Datum) 0;
}

/* _visible_exemplars(shard, sids, from_ms, to_ms, OUT sid, OUT t_ms, OUT value, OUT labels); both times inclusive */
Datum
prom_visible_exemplars(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT8OID, INT8OID};
	Datum		args[] = {PG_GETARG_DATUM(0), 0, PG_GETARG_DATUM(2), PG_GETARG_DATUM(3)};
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	(void) prom_visible_sids(PG_GETARG_INT16(0), PG_GETARG_DATUM(1), &args[1], &n);
	if (n > 0)
	{
		run_as_owner(EXEMPLARS_SQL, lengthof(args), types, args);
		put_rows(rsinfo);
	}
	SPI_finish();
	return (Datum) 0;
}

/* _visible_fresh(shard, sids, from_ms, to_ms) */
Datum
prom_visible_fresh(PG_FUNCTION_ARGS)
{
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT8OID, INT8OID, INT4OID, INT4OID};
	Datum		args[] = {PG_GETARG_DATUM(0), 0, PG_GETARG_DATUM(2), PG_GETARG_DATUM(3), 0, 0};
	bool		isnull = true;
	Datum		chunk = (Datum) 0;
	int			n;
	int32	   *sids;

	SPI_connect();
	sids = prom_visible_sids(PG_GETARG_INT16(0), PG_GETARG_DATUM(1), &args[1], &n);
	if (n > 0)
	{
		args[4] = Int32GetDatum(sids[0]);
		args[5] = Int32GetDatum(sids[n - 1]);
		run_as_owner(FRESH_SQL, lengthof(args), types, args);
		chunk = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		if (!isnull)
			chunk = SPI_datumTransfer(chunk, false, -1);
	}
	SPI_finish();
	if (isnull)
		PG_RETURN_NULL();
	return chunk;
}

/* _visible_has(shard, sid, resolution, parts, from_ms, to_ms) */
Datum
prom_visible_has(PG_FUNCTION_ARGS)
{
	int16		shard = PG_GETARG_INT16(0);
	int32		sid = PG_GETARG_INT32(1);
	HTAB	   *blocks = known_blocks(fcinfo);
	BlockHits  *b;

	if (PG_GETARG_INT32(2) == 0 && !block_hits(blocks, shard, -1)->is_known)
	{
		look_at_fresh(blocks, shard, first_ms(PG_GETARG_INT64(4)), PG_GETARG_INT64(5));
		block_hits(blocks, shard, -1)->is_known = true;
	}
	b = block_hits(blocks, shard, sid >> PROM_BLOCK_BITS);
	if (!b->is_known)
	{
		b->visible = visible_hits(fcinfo, sid >> PROM_BLOCK_BITS, b->fresh);
		b->is_known = true;
	}
	PG_RETURN_BOOL((b->visible & series_bit(sid)) != 0);
}

/* What is known of blocks from earlier calls; nothing if they were of another role, or about other things. */
static HTAB *
known_blocks(FunctionCallInfo fcinfo)
{
	Known	   *k = fcinfo->flinfo->fn_extra;
	HASHCTL		info = {.keysize = sizeof(uint64), .entrysize = sizeof(BlockHits), .hcxt = fcinfo->flinfo->fn_mcxt};
	ArrayType  *parts = PG_GETARG_ARRAYTYPE_P(3);

	if (k != NULL && k->role == GetUserId() && k->resolution == PG_GETARG_INT32(2) && k->from_ms == PG_GETARG_INT64(4) &&
		k->to_ms == PG_GETARG_INT64(5) && VARSIZE(k->parts) == VARSIZE(parts) && memcmp(k->parts, parts, VARSIZE(parts)) == 0)
		return k->blocks;
	fcinfo->flinfo->fn_extra = NULL;
	if (k != NULL)
	{
		hash_destroy(k->blocks);
		pfree(k->parts);
		pfree(k);
	}
	k = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(Known));
	k->role = GetUserId();
	k->resolution = PG_GETARG_INT32(2);
	k->from_ms = PG_GETARG_INT64(4);
	k->to_ms = PG_GETARG_INT64(5);
	k->parts = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, VARSIZE(parts));
	memcpy(k->parts, parts, VARSIZE(parts));
	k->blocks = hash_create("promgres visible blocks", 256, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	fcinfo->flinfo->fn_extra = k;
	return k->blocks;
}

static BlockHits *
block_hits(HTAB *blocks, int16 shard, int32 block)
{
	uint64		key = (uint64) (uint16) shard << 32 | (uint32) block;
	bool		found;
	BlockHits  *b = hash_search(blocks, &key, HASH_ENTER, &found);

	if (!found)
	{
		b->fresh = 0;
		b->visible = 0;
		b->is_known = false;
	}
	return b;
}

/* Note which series of the shard have samples in fresh rows. */
static void
look_at_fresh(HTAB *blocks, int16 shard, int64 from_ms, int64 to_ms)
{
	Oid			types[] = {INT2OID, INT8OID, INT8OID};
	Datum		args[] = {Int16GetDatum(shard), Int64GetDatum(from_ms), Int64GetDatum(to_ms)};

	SPI_connect();
	run_as_owner(FRESH_HITS_SQL, lengthof(args), types, args);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int32		sid = result_sid(i);

		block_hits(blocks, shard, sid >> PROM_BLOCK_BITS)->fresh |= series_bit(sid);
	}
	SPI_finish();
}

/* Of a block, those series that the caller is shown and that are among these or have samples in merged rows. */
static uint64
visible_hits(FunctionCallInfo fcinfo, int32 block, uint64 fresh)
{
	int32		resolution = PG_GETARG_INT32(2);
	int64		from_ms = first_ms(PG_GETARG_INT64(4));
	Oid			types[] = {INT2OID, INT4ARRAYOID, INT8OID, INT8OID, INT4OID, INT8OID, INT4OID, INT2ARRAYOID};
	Datum		args[] = {PG_GETARG_DATUM(0), sids_of_block(block), Int64GetDatum(from_ms), PG_GETARG_DATUM(5),
	Int32GetDatum(block), 0, PG_GETARG_DATUM(2), PG_GETARG_DATUM(3)};
	uint64		visible = 0;
	uint64		hits = fresh;
	int			n;
	int32	   *sids;

	/* a point at midnight is one of the day that ends there */
	args[5] = Int64GetDatum(prom_day_start(resolution == 0 ? from_ms : PG_GETARG_INT64(4)));
	SPI_connect();
	sids = prom_visible_sids(PG_GETARG_INT16(0), args[1], &args[1], &n);
	for (int i = 0; i < n; i++)
		visible |= series_bit(sids[i]);
	if ((visible & ~hits) != 0)
	{
		run_as_owner(resolution == 0 ? WARM_HITS_SQL : ROLLUP_HITS_SQL, resolution == 0 ? 6 : 8, types, args);
		for (uint64 i = 0; i < SPI_processed; i++)
			hits |= series_bit(result_sid(i));
	}
	SPI_finish();
	return hits & visible;
}

/* The first of the times that are after this. */
static int64
first_ms(int64 from_ms)
{
	return from_ms < PG_INT64_MAX ? from_ms + 1 : from_ms;
}

static uint64
series_bit(int32 sid)
{
	return UINT64CONST(1) << (sid & (BLOCK_SERIES - 1));
}

/* The id in a row of a result. */
static int32
result_sid(uint64 row)
{
	bool		isnull;

	return DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &isnull));
}

/* All ids that a block can have. */
static Datum
sids_of_block(int32 block)
{
	Datum		sids[BLOCK_SERIES];

	for (int i = 0; i < BLOCK_SERIES; i++)
		sids[i] = Int32GetDatum((int32) ((uint32) block << PROM_BLOCK_BITS | i));
	return PointerGetDatum(construct_array(sids, BLOCK_SERIES, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

int32 *
prom_visible_sids(int16 shard, Datum sids, Datum *visible, int *n)
{
	Oid			types[] = {INT2OID, INT4ARRAYOID};
	Datum		args[] = {Int16GetDatum(shard), sids};
	bool		isnull;

	run(SERIES_SQL, lengthof(args), types, args);
	*n = 0;
	*visible = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? NULL : prom_store_sids(DatumGetArrayTypeP(*visible), n);
}

/* The blocks of series that are ascending. */
static Datum
blocks_of(const int32 *sids, int n)
{
	Datum	   *blocks = palloc(sizeof(Datum) * n);
	int			nblocks = 0;

	for (int i = 0; i < n; i++)
	{
		if (i == 0 || sids[i] >> PROM_BLOCK_BITS != sids[i - 1] >> PROM_BLOCK_BITS)
			blocks[nblocks++] = Int32GetDatum(sids[i] >> PROM_BLOCK_BITS);
	}
	return PointerGetDatum(construct_array(blocks, nblocks, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

/* Planned each time: the times decide which partitions are looked at, and locked. */
static void
run(const char *sql, int nargs, Oid *types, Datum *args)
{
	if (SPI_execute_with_args(sql, nargs, types, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(SPI_result));
}

/* The same as the owner of the samples, whom their own policies do not bind. */
static void
run_as_owner(const char *sql, int nargs, Oid *types, Datum *args)
{
	Oid			saved_user;
	int			saved_context;
	HeapTuple	table = SearchSysCache1(RELOID, ObjectIdGetDatum(prom_store_relid("warm")));

	if (!HeapTupleIsValid(table))
		elog(ERROR, "cache lookup failed for prom.warm");
	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(((Form_pg_class) GETSTRUCT(table))->relowner,
						   saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	ReleaseSysCache(table);
	run(sql, nargs, types, args);
	SetUserIdAndSecContext(saved_user, saved_context);
}

/* The rows of the last result are those of the function. */
static void
put_rows(ReturnSetInfo *rsinfo)
{
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
}

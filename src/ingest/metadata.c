/*
 * metadata.c
 *	  Type, help and unit of metrics, into prom.metadata.
 *
 * Version 2 of remote write and OTLP send them with every series, so a backend remembers for a while
 * what it has stored.  It forgets everything when a transaction fails that may have stored some of it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/compat.h"
#include "ingest/batch.h"

#define METADATA_MAX	50000	/* of one body: each takes much more memory than its bytes */
#define SEEN_SLOTS		8192
#define SEEN_MS			600000	/* for so long, lest what was deleted stays away for ever */

static struct
{
	uint64		hash;
	TimestampTz at;
}			seen[SEEN_SLOTS];
static bool unsettled = false;	/* something was remembered in the running transaction */

static bool is_new(const PromWriteMetadata *m);

/* "before": how many there were before this body. */
void
prom_batch_add_metadata(PromBatch *batch, const PromWriteMetadata *m, int before, PromIngested *out)
{
	PromWriteMetadata copy = *m;

	if (batch->nmetadata - before >= METADATA_MAX)
	{
		out->too_much_metadata++;
		prom_batch_refuse(out, psprintf("more than %d metadata entries in one body", METADATA_MAX));
		return;
	}
	if (m->family_len == 0 || !pg_verify_mbstr(PG_UTF8, m->family, m->family_len, true) ||
		!pg_verify_mbstr(PG_UTF8, m->help, m->help_len, true) ||
		!pg_verify_mbstr(PG_UTF8, m->unit, m->unit_len, true))
		return;
	if (!is_new(m))
		return;
	copy.family = pnstrdup(m->family, m->family_len);
	copy.help = pnstrdup(m->help, m->help_len);
	copy.unit = pnstrdup(m->unit, m->unit_len);
	appendBinaryStringInfo(&batch->metadata, (char *) &copy, sizeof(copy));
	batch->nmetadata++;
}

static void
forget_seen(void)
{
	if (unsettled)
		memset(seen, 0, sizeof(seen));
	unsettled = false;
}

static void
transaction_ends(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		forget_seen();
	else if (event == XACT_EVENT_COMMIT)
		unsettled = false;
}

static void
subtransaction_ends(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_seen();
}

/* Not met lately; it is remembered then. */
static bool
is_new(const PromWriteMetadata *m)
{
	static bool registered = false;
	Oid			table = prom_store_relid("metadata");
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	uint64		hash = hash_bytes_extended((const unsigned char *) m->family, (int) m->family_len, table);
	int			slot;

	hash = hash_bytes_extended((const unsigned char *) m->help, (int) m->help_len, hash);
	hash = hash_bytes_extended((const unsigned char *) m->unit, (int) m->unit_len, hash);
	hash = hash_bytes_extended((const unsigned char *) &m->type, sizeof(m->type), hash);
	slot = hash % SEEN_SLOTS;
	if (seen[slot].hash == hash && seen[slot].at != 0 && !TimestampDifferenceExceeds(seen[slot].at, now, SEEN_MS))
		return false;
	if (!registered)
	{
		RegisterXactCallback(transaction_ends, NULL);
		RegisterSubXactCallback(subtransaction_ends, NULL);
		registered = true;
	}
	unsettled = true;
	seen[slot].hash = hash;
	seen[slot].at = now;
	return true;
}

void
prom_batch_forget_metadata(PromBatch *batch, int before)
{
	forget_seen();
	batch->nmetadata = before;
	batch->metadata.len = before * sizeof(PromWriteMetadata);
}

void
prom_batch_write_metadata(PromBatch *batch)
{
	PromWriteMetadata *m = (PromWriteMetadata *) batch->metadata.data;
	Datum	   *columns[4];
	Datum		args[4];
	Oid			types_oid[4] = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID};

	for (int c = 0; c < 4; c++)
		columns[c] = palloc(sizeof(Datum) * batch->nmetadata);
	for (int i = 0; i < batch->nmetadata; i++)
	{
		columns[0][i] = CStringGetTextDatum(m[i].family);
		columns[1][i] = CStringGetTextDatum(prom_write_type_name(m[i].type));
		columns[2][i] = CStringGetTextDatum(m[i].help);
		columns[3][i] = CStringGetTextDatum(m[i].unit);
	}
	for (int c = 0; c < 4; c++)
		args[c] = PointerGetDatum(construct_array(columns[c], batch->nmetadata, TEXTOID, -1, false,
												  TYPALIGN_INT));

	SPI_connect();
	/* In a fixed order, so that two senders of the same news cannot deadlock. */
	prom_store_execute("INSERT INTO prom.metadata (shard, family, digest, type, help, unit) "
							  "SELECT DISTINCT 0::pg_catalog.int2, f, pg_catalog.md5(t || E'\\n' || h || E'\\n' || u)::pg_catalog.uuid, t, h, u "
							  "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) AS m(f, t, h, u) ORDER BY 2, 3 "
							  "ON CONFLICT DO NOTHING", 4, types_oid, args, SPI_OK_INSERT);
	SPI_finish();
}

/*
 * ha.c
 *	  The tracker of highly available pairs: of the replicas of a cluster one is elected, and its series alone are stored.
 *
 * Two servers scrape the same targets and write all they have, with the same label "cluster" and different labels
 * "__replica__" (promgres.ha_cluster_label, promgres.ha_replica_label).  What the elected one sends is stored
 * without the replica label; what others send is dropped, and they are told that all is well.  When nothing has
 * come from the elected one for promgres.ha_failover, the first other one that sends is elected.  Series that have not
 * both labels are stored as they are.  This is how Cortex and Mimir do it, but for each series rather than by the
 * first one of a body, which may therefore hold those of several clusters.
 *
 * Who is elected, and when something came from it last, is a row of prom.ha_replica: it lasts over restarts, goes to
 * standbys, and is one truth for all backends that ingest.  prom._ha_elect reads and changes it, in the transaction
 * that stores the samples, so an election that is rolled back never was.  Backends remember what they have read;
 * they look again
 *
 *	- after BEAT_MS (a quarter of the fail-over time if that is less), which is also how seldom "last seen" is
 *	  written, so that it may be so much older than the truth;
 *	- when what they remember would elect another replica;
 *	- after a call that has changed the row, since it may be rolled back.
 *
 * How many clusters there may be is bounded (promgres.ha_max_clusters), since whoever may write can name new ones: the series
 * of one too many are refused, with its name.  Those of which nothing came for a week are forgotten when a new one comes.
 *
 * Locks: a row is locked when it is changed, to the end of the transaction.  Nobody waits to write "last seen": who
 * finds the row locked leaves it.  Elections wait; two calls that elect in several clusters in different order may
 * deadlock, which ends one of them, and its senders repeat their bodies.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "common/clock.h"
#include "ingest/batch.h"

#define BEAT_MS			1000
#define MOST_CLUSTERS	10000	/* that a backend remembers */

#define REMEMBERED_BYTES 128	/* of the labels of the last series */

#define ELECT_SQL "SELECT e.elected, e.seen_ms, e.written FROM prom._ha_elect($1, $2, $3, $4, $5, $6) AS e"

bool		prom_ha_tracker = false;
static char *cluster_label = NULL;
static char *replica_label = NULL;
static int	failover_ms;
static int	max_clusters;

/* What this backend knows of a cluster. */
typedef struct Cluster
{
	PromSeriesHash key;			/* of its name */
	PromSeriesHash elected;		/* of the replica's */
	int64		seen_ms;		/* when something came from it last */
	int64		read_ms;		/* when we read this; 0: it is not to be relied on in another call */
	uint64		call;			/* in which it was read or looked at last */
	bool		refused;		/* it is new, and there are too many */
} Cluster;

/* The series of a body are of one replica most often: what the last one was, in this call. */
typedef struct Last
{
	size_t		cluster_len;	/* 0: there is none */
	size_t		replica_len;
	char		cluster[REMEMBERED_BYTES];
	char		replica[REMEMBERED_BYTES];
	PromHaVerdict verdict;
} Last;

static HTAB *clusters = NULL;
static uint64 call = 0;
static int64 now_ms;
static PromSeriesHash label_hash;	/* of the name of the replica label */
static size_t cluster_label_len;
static size_t replica_label_len;
static Last last;

static int64 beat_ms(void);
static bool find_labels(const PromWriteSeries *s, PromWriteLabel *cluster, PromWriteLabel *replica);
static bool is_last(const PromWriteLabel *cluster, const PromWriteLabel *replica);
static void remember(const PromWriteLabel *cluster, const PromWriteLabel *replica, PromHaVerdict verdict);
static PromHaVerdict look_up(const PromWriteLabel *cluster, const PromWriteLabel *replica);
static bool is_text(const PromWriteLabel *l);
static void read_cluster(Cluster *c, const PromWriteLabel *cluster, const PromWriteLabel *replica);

void
prom_ha_init(void)
{
	DefineCustomBoolVariable("promgres.ha_tracker",
							 "Stores what one replica of each cluster sends and drops what the others do.",
							 "For pairs of Prometheus that scrape the same targets.",
							 &prom_ha_tracker, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("promgres.ha_cluster_label",
							   "Label that tells the cluster, which replicas have in common.",
							   NULL, &cluster_label, "cluster", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("promgres.ha_replica_label",
							   "Label that tells the replica; it is not stored.",
							   NULL, &replica_label, "__replica__", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.ha_failover",
							"How long nothing must have come from the elected replica before another is elected.",
							NULL, &failover_ms, 30000, 100, PG_INT32_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("promgres.ha_max_clusters",
							"Sets how many clusters of replicas there may be.",
							"The series of new ones above it are refused. Those that were silent for a week do not count. 0 is no limit.",
							&max_clusters, 1000, 0, PG_INT32_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
}

/* Forgets all that this backend knows of clusters. */
static void
reset_clusters(void)
{
	HASHCTL		ctl = {0};

	if (clusters != NULL)
		hash_destroy(clusters);
	clusters = NULL;
	ctl.keysize = sizeof(PromSeriesHash);
	ctl.entrysize = sizeof(Cluster);
	clusters = hash_create("promgres clusters", 16, &ctl, HASH_ELEM | HASH_BLOBS);
}

void
prom_ha_begin(void)
{
	if (!prom_ha_tracker)
		return;
	call++;
	last.cluster_len = 0;
	cluster_label_len = strlen(cluster_label);
	replica_label_len = strlen(replica_label);
	label_hash = prom_series_raw_hash(replica_label, replica_label_len);
	now_ms = prom_clock_to_ms(GetCurrentTimestamp());
	if (clusters == NULL)
		reset_clusters();
}

/* Does what we remember do for a series of this replica? */
static bool
is_known(const Cluster *c, bool elected)
{
	if (c->call != call && c->read_ms + beat_ms() <= now_ms)
		return false;
	if (c->refused)
		return true;
	/* what has been read in this call is all that there is to know */
	return c->call == call || (elected ? c->seen_ms + beat_ms() > now_ms : c->seen_ms + failover_ms > now_ms);
}

PromHaVerdict
prom_ha_judge(const PromWriteSeries *s, PromSeriesHash *raw)
{
	PromWriteLabel cluster;
	PromWriteLabel replica;

	if (!find_labels(s, &cluster, &replica))
		return PROM_HA_NONE;
	if (!is_last(&cluster, &replica))
		remember(&cluster, &replica, look_up(&cluster, &replica));
	if (last.verdict == PROM_HA_ELECTED)
	{
		/* the bytes stand for another series than where nothing is tracked */
		raw->low ^= label_hash.low;
		raw->high ^= label_hash.high;
	}
	return last.verdict;
}

bool
prom_ha_is_replica_label(const PromWriteLabel *l)
{
	return l->name_len == replica_label_len && memcmp(l->name, replica_label, l->name_len) == 0;
}

char *
prom_ha_refusal(const PromWriteSeries *s)
{
	PromWriteLabel cluster;
	PromWriteLabel replica;

	(void) find_labels(s, &cluster, &replica);
	return psprintf("cluster of replicas \"%.*s\": no new cluster, there are as many as promgres.ha_max_clusters = %d allows",
					pg_encoding_mbcliplen(PG_UTF8, cluster.value, (int) cluster.value_len, REMEMBERED_BYTES),
					cluster.value, max_clusters);
}

static int64
beat_ms(void)
{
	return Min(BEAT_MS, failover_ms / 4);
}

/* Both labels, which must not be empty. */
static bool
find_labels(const PromWriteSeries *s, PromWriteLabel *cluster, PromWriteLabel *replica)
{
	PromWriteLabel l;
	size_t		pos = 0;

	*cluster = *replica = (PromWriteLabel) {0};
	while (prom_write_label(s, &pos, &l))
	{
		if (l.name_len == cluster_label_len && memcmp(l.name, cluster_label, cluster_label_len) == 0)
			*cluster = l;
		else if (l.name_len == replica_label_len && memcmp(l.name, replica_label, replica_label_len) == 0)
			*replica = l;
		else
			continue;
		if (cluster->value_len > 0 && replica->value_len > 0)
			return true;
	}
	return false;
}

static bool
is_last(const PromWriteLabel *cluster, const PromWriteLabel *replica)
{
	return cluster->value_len == last.cluster_len && replica->value_len == last.replica_len &&
		memcmp(cluster->value, last.cluster, last.cluster_len) == 0 &&
		memcmp(replica->value, last.replica, last.replica_len) == 0;
}

/* The verdict in any case, what it is about if there is room. */
static void
remember(const PromWriteLabel *cluster, const PromWriteLabel *replica, PromHaVerdict verdict)
{
	last.verdict = verdict;
	last.cluster_len = 0;
	if (cluster->value_len > REMEMBERED_BYTES || replica->value_len > REMEMBERED_BYTES)
		return;
	memcpy(last.cluster, cluster->value, cluster->value_len);
	memcpy(last.replica, replica->value, replica->value_len);
	last.cluster_len = cluster->value_len;
	last.replica_len = replica->value_len;
}

static PromHaVerdict
look_up(const PromWriteLabel *cluster, const PromWriteLabel *replica)
{
	PromSeriesHash key = prom_series_raw_hash(cluster->value, cluster->value_len);
	PromSeriesHash mine = prom_series_raw_hash(replica->value, replica->value_len);
	bool		found;
	Cluster    *c;

	if (hash_get_num_entries(clusters) >= MOST_CLUSTERS)
		reset_clusters();
	c = hash_search(clusters, &key, HASH_ENTER, &found);
	if (!found)
		memset((char *) c + sizeof(key), 0, sizeof(Cluster) - sizeof(key));
	found = found && c->elected.low == mine.low && c->elected.high == mine.high;
	if (!is_known(c, found))
	{
		/* the series is refused for such a label */
		if (!is_text(cluster) || !is_text(replica))
			return PROM_HA_NONE;
		read_cluster(c, cluster, replica);
		found = c->elected.low == mine.low && c->elected.high == mine.high;
	}
	if (c->refused)
		return PROM_HA_REFUSED;
	return found ? PROM_HA_ELECTED : PROM_HA_OTHER;
}

static bool
is_text(const PromWriteLabel *l)
{
	return pg_encoding_verifymbstr(PG_UTF8, l->value, (int) l->value_len) == (int) l->value_len;
}

/* Asks the table, which may elect the replica. */
static void
read_cluster(Cluster *c, const PromWriteLabel *cluster, const PromWriteLabel *replica)
{
	Oid			types[] = {TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT4OID};
	Datum		args[6];
	bool		isnull;
	bool		written;
	char	   *elected;

	SPI_connect();
	args[0] = PointerGetDatum(cstring_to_text_with_len(cluster->value, (int) cluster->value_len));
	args[1] = PointerGetDatum(cstring_to_text_with_len(replica->value, (int) replica->value_len));
	args[2] = Int64GetDatum(now_ms);
	args[3] = Int64GetDatum(failover_ms);
	args[4] = Int64GetDatum(beat_ms());
	args[5] = Int32GetDatum(max_clusters);
	prom_store_execute(ELECT_SQL, lengthof(types), types, args, SPI_OK_SELECT);
	elected = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	c->refused = elected == NULL;
	c->elected = prom_series_raw_hash(elected ? elected : "", elected ? strlen(elected) : 0);
	c->seen_ms = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	written = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull));
	/* an earlier call of this transaction may have written it */
	c->read_ms = written || TransactionIdIsValid(GetTopTransactionIdIfAny()) ? 0 : now_ms;
	c->call = call;
	SPI_finish();
}

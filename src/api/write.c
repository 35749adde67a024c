/*
 * write.c
 *	  Bodies of samples wait in a queue, and a group of them becomes one call of prom.ingest().
 *
 * A group has one commit, so the more senders there are the less each body costs.  A sender is
 * answered when the commit is done, with what was refused for good (protocol.c).  When a call fails
 * for a reason that will pass, all its senders get 503 and keep their data.  When it fails for
 * another reason, its bodies are tried again one by one, so that one body cannot harm the others.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "api/gateway.h"

#define PROM_WRITE_GROUP_BODIES	64
#define PROM_WRITE_GROUP_BYTES	(4 * 1024 * 1024)
#define PROM_WRITE_QUEUE_MAX	256
/* failures that will pass are logged this often at most */
#define PROM_WRITE_LOG_MS		10000

/* Bodies that go to one call. */
typedef struct Group
{
	MemoryContext context;
	PromJob		job;
	int64		samples;		/* that were stored */
	int			n;
	bool		answered[PROM_WRITE_GROUP_BODIES];
	PromRequest *requests[PROM_WRITE_GROUP_BODIES];
} Group;

static dlist_head queue = DLIST_STATIC_INIT(queue);
static int	queued = 0;
static size_t queued_bytes = 0;

static bool same_role(const PromRequest *a, const PromRequest *b);
static void pack_array(Group *g, int param, Oid type, void (*element) (const PromRequest *r, const char **data, size_t *len));
static void get_body(const PromRequest *r, const char **data, size_t *len);
static void get_format(const PromRequest *r, const char **data, size_t *len);
static void group_rows(PromJob *job, PGresult *rows);
static void group_done(PromJob *job);
static void retry_alone(Group *g);
static void log_failure(const PromOutcome *o, int bodies);

void
prom_write_run(PromRequest *r)
{
	const char *probe = MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, "get_vm_proto_version");

	/* an agent of VictoriaMetrics asks whether it may send zstd; its body is empty */
	if (probe != NULL && r->body_len == 0)
	{
		prom_answer_text(r, 200, "1");
		return;
	}
	if (queued >= PROM_WRITE_QUEUE_MAX)
	{
		r->retry_later = true;
		prom_write_answer_failed(r, 503, "too many bodies are waiting");
		return;
	}
	dlist_push_tail(&queue, &r->node);
	queued++;
	queued_bytes += r->body_len;
	prom_request_suspend(r);
	prom_pool_dispatch(prom_pool_ingest);
}

bool
prom_write_pending(void)
{
	return !dlist_is_empty(&queue);
}

int
prom_write_queue(size_t *bytes)
{
	*bytes = queued_bytes;
	return queued;
}

/* All that waits of one role, up to the limits of a group; a body that must be alone is. */
PromJob *
prom_write_group(void)
{
	MemoryContext context = AllocSetContextCreate(prom_gateway_context, "promgres bodies",
												  ALLOCSET_DEFAULT_SIZES);
	Group	   *g = MemoryContextAllocZero(context, sizeof(Group));
	size_t		size = 0;

	g->context = context;
	while (!dlist_is_empty(&queue) && g->n < PROM_WRITE_GROUP_BODIES)
	{
		PromRequest *r = dlist_head_element(PromRequest, node, &queue);

		if (g->n > 0 && (r->alone || g->requests[0]->alone || !same_role(r, g->requests[0]) ||
						 size + r->body_len > PROM_WRITE_GROUP_BYTES))
			break;
		dlist_pop_head_node(&queue);
		queued--;
		queued_bytes -= r->body_len;
		size += r->body_len;
		g->requests[g->n++] = r;
	}

	g->job.sql = "SELECT body, samples, histograms, exemplars, coalesce(refused, -1), error FROM prom.ingest($1, $2)";
	g->job.kept = true;
	g->job.nparams = 2;
	g->job.role = g->requests[0]->role;
	g->job.types[0] = BYTEAARRAYOID;
	g->job.types[1] = TEXTARRAYOID;
	pack_array(g, 0, BYTEAOID, get_body);
	pack_array(g, 1, TEXTOID, get_format);
	g->job.rows = group_rows;
	g->job.done = group_done;
	g->job.owner = g;
	return &g->job;
}

static bool
same_role(const PromRequest *a, const PromRequest *b)
{
	return a->role == NULL || b->role == NULL ? a->role == b->role : strcmp(a->role, b->role) == 0;
}

static char *
put_int32(char *p, int32 v)
{
	uint32		big = pg_hton32((uint32) v);

	memcpy(p, &big, sizeof(big));
	return p + sizeof(big);
}

static void
get_body(const PromRequest *r, const char **data, size_t *len)
{
	*data = r->body;
	*len = r->body_len;
}

static void
get_format(const PromRequest *r, const char **data, size_t *len)
{
	*data = r->body_format;
	*len = strlen(r->body_format);
}

/* A parameter in the binary form of an array: dimensions, nulls, element type, length, lower bound; elements. */
static void
pack_array(Group *g, int param, Oid type, void (*element) (const PromRequest *r, const char **data, size_t *len))
{
	size_t		size = 5 * sizeof(int32);
	const char *data;
	size_t		len;
	char	   *array;
	char	   *p;

	for (int i = 0; i < g->n; i++)
	{
		element(g->requests[i], &data, &len);
		size += sizeof(int32) + len;
	}
	array = MemoryContextAllocHuge(g->context, size);
	p = put_int32(array, 1);
	p = put_int32(p, 0);
	p = put_int32(p, (int32) type);
	p = put_int32(p, g->n);
	p = put_int32(p, 1);
	for (int i = 0; i < g->n; i++)
	{
		element(g->requests[i], &data, &len);
		p = put_int32(p, (int32) len);
		if (len > 0)
			memcpy(p, data, len);
		p += len;
	}
	g->job.values[param] = array;
	g->job.lengths[param] = (int) size;
	g->job.formats[param] = 1;
}

/* What was refused is kept until the commit. */
static void
group_rows(PromJob *job, PGresult *rows)
{
	Group	   *g = job->owner;
	int			i = atoi(PQgetvalue(rows, 0, 0)) - 1;
	PromRequest *r;

	if (i < 0 || i >= g->n)
		return;
	r = g->requests[i];
	g->answered[i] = true;
	for (int k = 0; k < PROM_WRITTEN; k++)
		r->written[k] = strtoll(PQgetvalue(rows, 0, 1 + k), NULL, 10);
	g->samples += r->written[PROM_WRITTEN_SAMPLES] + r->written[PROM_WRITTEN_HISTOGRAMS];
	r->refused = strtoll(PQgetvalue(rows, 0, 1 + PROM_WRITTEN), NULL, 10);
	if (!PQgetisnull(rows, 0, 2 + PROM_WRITTEN))
		r->refusal = MemoryContextStrdup(r->context, PQgetvalue(rows, 0, 2 + PROM_WRITTEN));
}

static void
group_done(PromJob *job)
{
	Group	   *g = job->owner;
	const PromOutcome *o = &job->outcome;

	if (o->ok)
	{
		prom_rate_charge(g->samples);
		for (int i = 0; i < g->n; i++)
		{
			PromRequest *r = g->requests[i];

			if (g->answered[i])
				prom_write_answer(r);
			else
				prom_write_answer_failed(r, 500, "prom.ingest said nothing of this body");
		}
	}
	else if (prom_outcome_is_transient(o))
	{
		log_failure(o, g->n);
		for (int i = 0; i < g->n; i++)
		{
			g->requests[i]->retry_later = true;
			prom_write_answer_failed(g->requests[i], 503, o->message);
		}
	}
	else if (prom_outcome_is_forbidden(o))
	{
		for (int i = 0; i < g->n; i++)
			prom_write_answer_failed(g->requests[i], 403, o->message);
	}
	else if (g->n > 1)
		retry_alone(g);
	else
	{
		log_failure(o, 1);
		prom_write_answer_failed(g->requests[0], strncmp(o->sqlstate, "22", 2) == 0 ? 400 : 500, o->message);
	}
	MemoryContextDelete(g->context);
}

/* Back to the head of the queue, in the same order. */
static void
retry_alone(Group *g)
{
	for (int i = g->n - 1; i >= 0; i--)
	{
		PromRequest *r = g->requests[i];

		r->alone = true;
		r->refusal = NULL;
		dlist_push_head(&queue, &r->node);
		queued++;
		queued_bytes += r->body_len;
	}
	prom_pool_dispatch(prom_pool_ingest);
}

static void
log_failure(const PromOutcome *o, int bodies)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	/* the pools log what is wrong with the database as such */
	if (prom_outcome_is_missing(o) || strncmp(o->sqlstate, "08001", 5) == 0 ||
		!TimestampDifferenceExceeds(last, now, PROM_WRITE_LOG_MS))
		return;
	last = now;
	ereport(LOG,
			(errmsg("promgres gateway could not store %d remote write bodies: %s", bodies, o->message)));
}

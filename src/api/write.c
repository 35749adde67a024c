/*
 * write.c
 *	  Remote write: bodies wait in a queue, and a group of them becomes one call of prom.ingest().
 *
 * A group has one commit, so the more senders there are the less each body costs.  A sender is
 * answered when the commit is done: 204, or 400 with what was refused for good.  When a call fails
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

static bool same_role(const PromRequest *a, const PromRequest *b);
static bool is_version_1(const char *content_type);
static char *pack_bodies(Group *g, int *len);
static void group_rows(PromJob *job, PGresult *rows);
static void group_done(PromJob *job);
static void retry_alone(Group *g);
static void log_failure(const PromOutcome *o, int bodies);

bool
prom_write_check(PromRequest *r)
{
	const char *encoding = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Content-Encoding");
	const char *type = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Content-Type");

	if (encoding != NULL && encoding[0] != '\0' && pg_strcasecmp(encoding, "snappy") != 0)
		prom_answer_text(r, 415, "%s encoding is not supported, only snappy is\n", prom_param_quote(encoding));
	else if (!is_version_1(type))
		prom_answer_text(r, 415, "content type %s is not supported, only remote write 1.0 is: "
						 "application/x-protobuf;proto=prometheus.WriteRequest\n", prom_param_quote(type));
	else
		return prom_rate_check(r);
	return false;
}

void
prom_write_run(PromRequest *r)
{
	if (queued >= PROM_WRITE_QUEUE_MAX)
	{
		r->retry_later = true;
		prom_answer_text(r, 503, "too many bodies are waiting\n");
		return;
	}
	dlist_push_tail(&queue, &r->node);
	queued++;
	prom_request_suspend(r);
	prom_pool_dispatch(prom_pool_ingest);
}

bool
prom_write_pending(void)
{
	return !dlist_is_empty(&queue);
}

/* All that waits of one role, up to the limits of a group; a body that must be alone is. */
PromJob *
prom_write_group(void)
{
	MemoryContext context = AllocSetContextCreate(prom_gateway_context, "promgres bodies",
												  ALLOCSET_DEFAULT_SIZES);
	Group	   *g = MemoryContextAllocZero(context, sizeof(Group));
	size_t		size = 0;
	int			len;

	g->context = context;
	while (!dlist_is_empty(&queue) && g->n < PROM_WRITE_GROUP_BODIES)
	{
		PromRequest *r = dlist_head_element(PromRequest, node, &queue);

		if (g->n > 0 && (r->alone || g->requests[0]->alone || !same_role(r, g->requests[0]) ||
						 size + r->body_len > PROM_WRITE_GROUP_BYTES))
			break;
		dlist_pop_head_node(&queue);
		queued--;
		size += r->body_len;
		g->requests[g->n++] = r;
	}

	g->job.sql = "SELECT body, samples, error FROM prom.ingest($1)";
	g->job.role = g->requests[0]->role;
	g->job.nparams = 1;
	g->job.types[0] = BYTEAARRAYOID;
	g->job.values[0] = pack_bodies(g, &len);
	g->job.lengths[0] = len;
	g->job.formats[0] = 1;
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

/* Content types that mean prometheus.WriteRequest. */
static bool
is_version_1(const char *type)
{
	static const char protobuf[] = "application/x-protobuf";
	const char *p;

	if (type == NULL || type[0] == '\0')
		return true;
	if (strncmp(type, protobuf, strlen(protobuf)) != 0)
		return false;
	p = type + strlen(protobuf);
	while (*p != '\0')
	{
		const char *name;
		const char *value;
		int			name_len;
		int			value_len;

		p += strspn(p, " \t");
		if (*p == '\0')
			break;
		if (*p++ != ';')
			return false;
		p += strspn(p, " \t");
		name = p;
		name_len = strcspn(p, "=; \t");
		p += name_len;
		if (*p++ != '=')
			return false;
		value = p;
		value_len = strcspn(p, "; \t");
		p += value_len;
		if (name_len == 5 && strncmp(name, "proto", 5) == 0 &&
			(value_len != strlen("prometheus.WriteRequest") ||
			 strncmp(value, "prometheus.WriteRequest", value_len) != 0))
			return false;
	}
	return true;
}

static char *
put_int32(char *p, int32 v)
{
	uint32		big = pg_hton32((uint32) v);

	memcpy(p, &big, sizeof(big));
	return p + sizeof(big);
}

/* The binary form of a bytea[]: dimensions, nulls, element type, length, lower bound; elements. */
static char *
pack_bodies(Group *g, int *len)
{
	size_t		size = 5 * sizeof(int32);
	char	   *array;
	char	   *p;

	for (int i = 0; i < g->n; i++)
		size += sizeof(int32) + g->requests[i]->body_len;
	array = MemoryContextAllocHuge(g->context, size);
	p = put_int32(array, 1);
	p = put_int32(p, 0);
	p = put_int32(p, BYTEAOID);
	p = put_int32(p, g->n);
	p = put_int32(p, 1);
	for (int i = 0; i < g->n; i++)
	{
		PromRequest *r = g->requests[i];

		p = put_int32(p, (int32) r->body_len);
		if (r->body_len > 0)
			memcpy(p, r->body, r->body_len);
		p += r->body_len;
	}
	*len = (int) size;
	return array;
}

/* What was refused is kept until the commit. */
static void
group_rows(PromJob *job, PGresult *rows)
{
	Group	   *g = job->owner;
	int			i = atoi(PQgetvalue(rows, 0, 0)) - 1;

	if (i < 0 || i >= g->n)
		return;
	g->answered[i] = true;
	g->samples += strtoll(PQgetvalue(rows, 0, 1), NULL, 10);
	if (!PQgetisnull(rows, 0, 2))
		g->requests[i]->refusal = MemoryContextStrdup(g->requests[i]->context, PQgetvalue(rows, 0, 2));
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

			if (!g->answered[i])
				prom_answer_text(r, 500, "prom.ingest said nothing of this body\n");
			else if (r->refusal != NULL)
				prom_answer_text(r, 400, "%s\n", r->refusal);
			else
				prom_answer_empty(r, 204);
		}
	}
	else if (prom_outcome_is_transient(o))
	{
		log_failure(o, g->n);
		for (int i = 0; i < g->n; i++)
		{
			g->requests[i]->retry_later = true;
			prom_answer_text(g->requests[i], 503, "%s\n", o->message);
		}
	}
	else if (prom_outcome_is_forbidden(o))
	{
		for (int i = 0; i < g->n; i++)
			prom_answer_text(g->requests[i], 403, "%s\n", o->message);
	}
	else if (g->n > 1)
		retry_alone(g);
	else
	{
		log_failure(o, 1);
		prom_answer_text(g->requests[0], strncmp(o->sqlstate, "22", 2) == 0 ? 400 : 500, "%s\n", o->message);
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

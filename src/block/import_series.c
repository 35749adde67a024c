/*
 * import_series.c
 *	  Which series of a block are wanted, looked up ahead of those that are read.
 *
 * A queue of series in the order of the block.  From a bucket, chunks of all of them can be on their way at a time:
 * whoever reads calls prom_upcoming_ahead before each chunk, which asks for later ones (block_file.c) as long as there is
 * room for them, and looks up more series when it has asked for all of those in the queue.  In a directory nothing is gained by
 * that, and the queue has one series.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "block/block.h"

#define QUEUE_SERIES	1024	/* a power of 2 */
#define QUEUE_CHUNKS	65536	/* with more than these, no series are looked up ahead */

struct PromUpcomingQueue
{
	PromBlock  *block;
	const PromBlockWanted *wanted;
	uint64		first;			/* of the ring */
	uint64		end;
	int64		place;			/* of the next series that is looked up, */
	int			chunk;			/* and of its chunks the first that is not read yet */
	int			left;			/* so many may be looked up */
	int64		nchunks;		/* of all in the queue */
	bool		at_end;			/* there is none any more */
	uint64		asked;			/* the series, */
	int			asked_chunk;	/* and its chunk, that are next to be asked for */
	PromUpcoming ring[QUEUE_SERIES];
};

static bool look_up(PromUpcomingQueue *q);
static PromLabels *wanted_labels(const PromBlockWanted *wanted, const PromBlockSeries *s, int k, char **reason);
static PromLabels *make_labels(const PromBlockWanted *wanted, const PromBlockSeries *s, char **reason);
static bool matches(const PromBlockWanted *wanted, const PromLabels *labels);

PromUpcomingQueue *
prom_upcoming_begin(PromBlock *b, const PromBlockWanted *wanted, int64 place, int chunk, int most)
{
	PromUpcomingQueue *q = palloc0(sizeof(PromUpcomingQueue));

	q->block = b;
	q->wanted = wanted;
	q->place = place;
	q->chunk = q->asked_chunk = chunk;
	q->left = most;
	return q;
}

static PromUpcoming *
entry(PromUpcomingQueue *q, uint64 number)
{
	return &q->ring[number & (QUEUE_SERIES - 1)];
}

const PromUpcoming *
prom_upcoming_first(PromUpcomingQueue *q)
{
	if (q->first == q->end && !look_up(q))
		return NULL;
	return entry(q, q->first);
}

void
prom_upcoming_drop(PromUpcomingQueue *q)
{
	PromUpcoming *u = entry(q, q->first++);

	q->nchunks -= u->nchunks;
	pfree(u->chunks);
}

int64
prom_upcoming_end(const PromUpcomingQueue *q, bool *at_end)
{
	*at_end = q->at_end;
	return q->at_end ? prom_block_end(q->block) : q->place;
}

void
prom_upcoming_ahead(PromUpcomingQueue *q)
{
	if (q->asked < q->first)
	{
		q->asked = q->first;
		q->asked_chunk = 0;
	}
	for (;;)
	{
		for (; q->asked < q->end; q->asked++, q->asked_chunk = 0)
		{
			const PromUpcoming *u = entry(q, q->asked);

			for (; q->asked_chunk < u->nchunks; q->asked_chunk++)
				if (!prom_block_is_outside(q->wanted, &u->chunks[q->asked_chunk]) &&
					!prom_block_ahead(q->block, &u->chunks[q->asked_chunk]))
					return;
		}
		if (q->end - q->first == QUEUE_SERIES || q->nchunks > QUEUE_CHUNKS || !look_up(q))
			return;
	}
}

/* The next series that is wanted goes to the end of the queue; false: no more are looked up. */
static bool
look_up(PromUpcomingQueue *q)
{
	while (!q->at_end && q->left > 0)
	{
		PromBlockSeries s;
		PromUpcoming *u;
		PromLabels *labels;
		char	   *reason;

		CHECK_FOR_INTERRUPTS();
		q->at_end = !prom_block_series(q->block, q->place, &s);
		if (q->at_end)
			break;
		q->left--;
		labels = wanted_labels(q->wanted, &s, q->chunk, &reason);
		q->place = s.next;
		q->chunk = 0;
		if (labels == NULL && reason == NULL)
		{
			/* who has read the one before it need not look at it again */
			if (q->first < q->end)
				entry(q, q->end - 1)->next = s.next;
			continue;
		}
		u = entry(q, q->end++);
		*u = (PromUpcoming) {s.place, s.next, labels, reason, labels ? s.nchunks : 0};
		u->chunks = palloc_extended(sizeof(PromTsdbChunk) * (u->nchunks + 1), MCXT_ALLOC_HUGE);
		memcpy(u->chunks, s.chunks, sizeof(PromTsdbChunk) * u->nchunks);
		q->nchunks += u->nchunks;
		return true;
	}
	return false;
}

/* ---- what is wanted ---- */

bool
prom_block_is_outside(const PromBlockWanted *wanted, const PromTsdbChunk *chunk)
{
	return chunk->t_max < wanted->from_ms || chunk->t_min > wanted->to_ms;
}

/*
 * The labels of a series of which something is wanted, in chunks from number k on, as they are stored; NULL: there is nothing,
 * or, with a reason, it cannot be stored.
 */
static PromLabels *
wanted_labels(const PromBlockWanted *wanted, const PromBlockSeries *s, int k, char **reason)
{
	PromLabels *labels;

	*reason = NULL;
	while (k < s->nchunks && prom_block_is_outside(wanted, &s->chunks[k]))
		k++;
	if (k >= s->nchunks)
		return NULL;
	labels = make_labels(wanted, s, reason);
	if (labels != NULL && !matches(wanted, labels))
	{
		pfree(labels);
		return NULL;
	}
	return labels;
}

static bool
is_extra(const PromBlockWanted *wanted, const PromLabel *l)
{
	for (int i = 0; i < wanted->nextra; i++)
		if (wanted->extra[i].name_len == l->name_len && memcmp(wanted->extra[i].name, l->name, l->name_len) == 0)
			return true;
	return false;
}

/* As they are stored; NULL with a reason. */
static PromLabels *
make_labels(const PromBlockWanted *wanted, const PromBlockSeries *s, char **reason)
{
	PromLabel  *pairs = palloc(sizeof(PromLabel) * (s->nlabels + wanted->nextra));
	PromLabels *labels;
	const char *name;
	int			name_len;
	int			n = 0;

	for (int i = 0; i < s->nlabels; i++)
		if (!is_extra(wanted, &s->labels[i]))
			pairs[n++] = s->labels[i];
	for (int i = 0; i < wanted->nextra; i++)
		pairs[n++] = wanted->extra[i];
	labels = prom_labels_build(pairs, n, reason);
	pfree(pairs);
	if (labels && !prom_labels_get(labels, "__name__", 8, &name, &name_len))
	{
		StringInfoData text;

		initStringInfo(&text);
		appendStringInfoString(&text, "label set has no metric name: ");
		prom_labels_print(&text, labels);
		*reason = text.data;
		return NULL;
	}
	return labels;
}

static bool
matches(const PromBlockWanted *wanted, const PromLabels *labels)
{
	for (int i = 0; i < wanted->nmatchers; i++)
	{
		const PromMatcher *m = &wanted->matchers[i];
		const char *value = "";
		int			len = 0;

		if (!prom_labels_get(labels, m->name, strlen(m->name), &value, &len))
		{
			value = "";
			len = 0;
		}
		if (!prom_matcher_test(m, value, len))
			return false;
	}
	return true;
}

/*
 * block_file.c
 *	  A file of a block, read here and there.
 *
 * An index can be larger than memory, and symbols are looked up all over it; so pages of it are kept, and the one
 * that was not used for longest gives way.  What lies across pages is put together in a buffer.
 *
 * A bucket answers late, but many requests at a time.  So whoever reads tells, in order, what comes later
 * (prom_block_file_ahead).  Pages of it that follow each other become one request, a run; when it has landed its pages are
 * kept as others are, and rather than others until they were used.  Pages asked for and not used yet, wherever
 * they are, are counted, and not more than half of those that can be kept.
 */
#include "postgres.h"

#include "lib/ilist.h"

#include "block/block.h"
#include "tier/tier.h"

#define RUN_PAGES	8			/* at most, in one request */

typedef struct FilePage
{
	int64		number;			/* -1: none */
	uint64		used;			/* when */
	bool		ahead;			/* was asked for ahead and not used yet */
	uint8	   *bytes;
} FilePage;

/* Pages that are one request. */
typedef struct FileRun
{
	dlist_node	node;
	int64		first;
	int			n;
} FileRun;

struct PromBlockFile
{
	PromPlace  *place;
	const char *path;
	int64		size;
	int64		bytes_read;
	uint64		clock;
	int			npages;
	FilePage	   *pages;
	FilePage	   *last;			/* the one used last */
	int64		next;			/* the first page that was not asked for ahead */
	int			nahead;			/* pages asked for and not used yet: gathered, on their way, kept */
	FileRun    *gathered;		/* not yet sent; or NULL */
	dlist_head	runs;			/* on their way */
	PromTransfers *transfers;	/* NULL: none was sent */
	uint8	   *across;
	size_t		across_size;
	MemoryContext cxt;
};

PromBlockFile *
prom_block_file_open(PromPlace *place, const char *path, int pages)
{
	int64		size = place->size(place, path);
	PromBlockFile *f;

	if (size < 0)
		return NULL;
	f = palloc0(sizeof(PromBlockFile));
	f->place = place;
	f->path = pstrdup(path);
	f->size = size;
	f->npages = pages;
	f->pages = palloc0(sizeof(FilePage) * pages);
	for (int i = 0; i < pages; i++)
		f->pages[i].number = -1;
	f->last = f->pages;
	f->cxt = CurrentMemoryContext;
	dlist_init(&f->runs);
	return f;
}

void
prom_block_file_close(PromBlockFile *f)
{
	if (f->transfers)
		prom_transfers_end(f->transfers);
	for (int i = 0; i < f->npages; i++)
		if (f->pages[i].bytes)
			pfree(f->pages[i].bytes);
	if (f->across)
		pfree(f->across);
	pfree(f->pages);
	pfree(f);
}

int64
prom_block_file_size(const PromBlockFile *f)
{
	return f->size;
}

int64
prom_block_file_bytes_read(const PromBlockFile *f)
{
	return f->bytes_read;
}

void
prom_block_file_fail(const PromBlockFile *f, const char *what, const PromWireError *err, int64 base)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("block is damaged: %s: %s", what, err->reason),
			 errdetail("File \"%s/%s\", byte " INT64_FORMAT ".", f->place->name, f->path, base + (int64) err->offset)));
}

/* ---- pages ---- */

static FilePage *
find_page(PromBlockFile *f, int64 number)
{
	for (int i = 0; i < f->npages; i++)
		if (f->pages[i].number == number)
			return &f->pages[i];
	return NULL;
}

/* It is used, or never will be. */
static void
forget_ahead(PromBlockFile *f, FilePage *page)
{
	if (page->ahead)
	{
		page->ahead = false;
		f->nahead--;
	}
}

/* Room for a page: that of one that was not used for longest, rather than of one that is still to be used. */
static FilePage *
take_page(PromBlockFile *f)
{
	FilePage   *page = &f->pages[0];

	for (int i = 1; i < f->npages; i++)
		if (f->pages[i].ahead < page->ahead || (f->pages[i].ahead == page->ahead && f->pages[i].used < page->used))
			page = &f->pages[i];
	forget_ahead(f, page);
	page->number = -1;
	if (page->bytes == NULL)
		page->bytes = MemoryContextAlloc(f->cxt, f->place->page_bytes);
	return page;
}

static size_t
page_length(const PromBlockFile *f, int64 number)
{
	return Min((int64) f->place->page_bytes, f->size - number * (int64) f->place->page_bytes);
}

/* ---- reading ahead ---- */

static void
land(PromBlockFile *f, PromTransfer *t)
{
	FileRun    *run = t->arg;
	const char *from = t->body;

	dlist_delete(&run->node);
	f->nahead -= run->n;
	for (int i = 0; i < run->n && t->status == PROM_TRANSFER_OK; i++)
	{
		FilePage   *page = take_page(f);
		size_t		len = page_length(f, run->first + i);

		memcpy(page->bytes, from, len);
		from += len;
		f->bytes_read += len;
		page->number = run->first + i;
		page->used = ++f->clock;
		page->ahead = true;
		f->nahead++;
	}
	prom_transfer_free(t);
	pfree(run);
}

/* What has come makes place on the wire for others. */
static void
land_all(PromBlockFile *f, bool wait)
{
	PromTransfer *t;

	if (f->transfers)
		while ((t = prom_transfers_next(f->transfers, wait)) != NULL)
			land(f, t);
}

/* Ask for the pages that were gathered. */
static void
send_run(PromBlockFile *f)
{
	FileRun    *run = f->gathered;
	PromTransfer request = {.verb = PROM_VERB_GET, .arg = run};
	MemoryContext old;

	if (run == NULL)
		return;
	old = MemoryContextSwitchTo(f->cxt);
	request.key = psprintf("%s%s", f->place->prefix, f->path);
	request.offset = run->first * (int64) f->place->page_bytes;
	request.length = Min(run->n * (int64) f->place->page_bytes, f->size - request.offset);
	if (f->transfers == NULL)
		f->transfers = prom_transfers_begin(f->place->bucket);
	(void) prom_transfers_add(f->transfers, &request);
	MemoryContextSwitchTo(old);
	dlist_push_tail(&f->runs, &run->node);
	f->gathered = NULL;
	land_all(f, false);
}

bool
prom_block_file_ahead(PromBlockFile *f, int64 offset, size_t len)
{
	int64		page_bytes = f->place->page_bytes;
	int64		end = Min(offset + (int64) len, f->size);

	if (f->place->bucket == NULL)
		return false;
	if (offset < 0)
		return true;
	for (int64 number = Max(offset / page_bytes, f->next); number * page_bytes < end; number++)
	{
		/* a run that is not full stays: there will be room for its other pages */
		if (f->nahead >= f->npages / 2)
			return false;
		f->next = number + 1;
		if (find_page(f, number))
			continue;
		if (f->gathered && (f->gathered->first + f->gathered->n != number || f->gathered->n == RUN_PAGES))
			send_run(f);
		if (f->gathered == NULL)
		{
			f->gathered = MemoryContextAlloc(f->cxt, sizeof(FileRun));
			f->gathered->first = number;
			f->gathered->n = 0;
		}
		f->gathered->n++;
		f->nahead++;
	}
	return true;
}

void
prom_block_file_settle(PromBlockFile *f)
{
	send_run(f);
	land_all(f, true);
}

/* The page is on its way: wait for it.  False: it is not. */
static bool
wait_for_page(PromBlockFile *f, int64 number)
{
	dlist_iter	at;

	/* while one waits others can come */
	send_run(f);
	dlist_foreach(at, &f->runs)
	{
		FileRun    *run = dlist_container(FileRun, node, at.cur);
		PromTransfer *t;

		if (number < run->first || number >= run->first + run->n)
			continue;
		while ((t = prom_transfers_next(f->transfers, true)) != NULL)
		{
			bool		found = t->arg == run;

			if (found && t->status != PROM_TRANSFER_OK)
			{
				dlist_delete(&run->node);
				f->nahead -= run->n;
				prom_transfer_raise(t);
			}
			land(f, t);
			if (found)
				return true;
		}
		elog(ERROR, "a transfer of a block is lost");
	}
	return false;
}

/* ---- reading ---- */

static FilePage *
read_page(PromBlockFile *f, int64 number)
{
	FilePage   *page = take_page(f);
	size_t		len = page_length(f, number);

	f->place->read(f->place, f->path, number * (int64) f->place->page_bytes, page->bytes, len);
	f->bytes_read += len;
	page->number = number;
	return page;
}

static const FilePage *
get_page(PromBlockFile *f, int64 number)
{
	FilePage   *page = f->last;

	f->clock++;
	if (page->number != number)
	{
		page = find_page(f, number);
		if (page == NULL && wait_for_page(f, number))
			page = find_page(f, number);
		if (page == NULL)
			page = read_page(f, number);
		/* what lies before it was passed over */
		for (int i = 0; i < f->npages && f->nahead > 0; i++)
			if (f->pages[i].number <= number)
				forget_ahead(f, &f->pages[i]);
		f->last = page;
	}
	page->used = f->clock;
	return page;
}

const uint8 *
prom_block_file_bytes(PromBlockFile *f, int64 offset, size_t len)
{
	size_t		page_bytes = f->place->page_bytes;
	int64		number = offset / (int64) page_bytes;
	size_t		skip = offset % (int64) page_bytes;
	size_t		done = 0;

	if (offset < 0 || offset > f->size || (int64) len > f->size - offset)
	{
		PromWireError err = {"it ends too early", 0};

		prom_block_file_fail(f, "file is cut off", &err, f->size);
	}
	if (len == 0)
		return (const uint8 *) "";
	if (skip + len <= page_bytes)
		return get_page(f, number)->bytes + skip;
	if (f->across_size < len)
	{
		if (f->across)
			pfree(f->across);
		f->across = NULL;
		f->across_size = 0;
		f->across = MemoryContextAlloc(f->cxt, len);
		f->across_size = len;
	}
	while (done < len)
	{
		size_t		n = Min(len - done, page_bytes - skip);

		memcpy(f->across + done, get_page(f, number++)->bytes + skip, n);
		done += n;
		skip = 0;
	}
	return f->across;
}

const uint8 *
prom_block_file_frame(PromBlockFile *f, int64 offset, size_t extra, const char *what, size_t *len, int64 *next)
{
	size_t		have = offset < 0 || offset > f->size ? 0 : Min(10, f->size - offset);
	const uint8 *bytes = prom_block_file_bytes(f, offset, have);
	const uint8 *body;
	PromWireError err;
	uint64		size;

	if (!prom_tsdb_frame(bytes, have, extra, &size, &err))
		prom_block_file_fail(f, what, &err, offset);
	bytes = prom_block_file_bytes(f, offset, size);
	if (!prom_tsdb_unframe(bytes, size, extra, &body, len, &err))
		prom_block_file_fail(f, what, &err, offset);
	*next = offset + (int64) size;
	return body;
}

/*
 * block_file.c
 *	  A file of a block, read here and there.
 *
 * An index can be larger than memory, and symbols are looked up all over it; so pages of it are kept, and the one
 * that was not used for longest gives way.  What lies across pages is put together in a buffer.
 */
#include "postgres.h"

#include "store/block.h"

typedef struct FilePage
{
	int64		number;			/* -1: none */
	uint64		used;			/* when */
	uint8	   *bytes;
} FilePage;

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
	return f;
}

void
prom_block_file_close(PromBlockFile *f)
{
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

static const FilePage *
get_page(PromBlockFile *f, int64 number)
{
	FilePage	   *page = f->last;

	f->clock++;
	if (page->number != number)
	{
		size_t		len = Min((int64) f->place->page_bytes, f->size - number * (int64) f->place->page_bytes);

		for (int i = 0; i < f->npages; i++)
		{
			if (f->pages[i].number == number)
			{
				page = &f->pages[i];
				break;
			}
			if (f->pages[i].used < page->used)
				page = &f->pages[i];
		}
		if (page->number != number)
		{
			page->number = -1;
			if (page->bytes == NULL)
				page->bytes = MemoryContextAlloc(f->cxt, f->place->page_bytes);
			f->place->read(f->place, f->path, number * (int64) f->place->page_bytes, page->bytes, len);
			f->bytes_read += len;
			page->number = number;
		}
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

/*
 * export_index.c
 *	  The index of a block that is written.
 *
 * Symbols come first in the file, sorted, but are known only when all series are.  So series wait in a
 * tuplestore, which goes to disk when it is large, with the numbers that their strings got when they were seen first;
 * then strings and pairs are sorted, and the index is written from its beginning to its end.
 *
 * In memory are the strings, once each; the pairs; and 4 bytes for each label of each series, the postings.  All
 * of it counts as memory of a query (promgres.query_memory).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "block/block.h"
#include "common/bytes.h"

#define INDEX_MAGIC		0xBAAAD700
#define MAX_INDEX_BYTES (INT64CONST(64) * 1024 * 1024 * 1024)

/* A string that stands somewhere as name or value. */
typedef struct Text
{
	const char *bytes;
	uint32		len;
	uint32		number;			/* by first sight */
} Text;

/* A label with its value. */
typedef struct Pair
{
	uint64		key;			/* numbers of name and value */
	uint32		number;
	char		status;
} Pair;

static inline uint32
hash_text(const Text *t)
{
	return hash_bytes((const unsigned char *) t->bytes, (int) t->len);
}

static inline bool
equal_text(const Text *a, const Text *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/* A key is a Text of which only bytes and length are set. */
#define SH_PREFIX texts
#define SH_ELEMENT_TYPE struct TextEntry
#define SH_KEY_TYPE Text
#define SH_KEY text
#define SH_HASH_KEY(tb, key) hash_text(&(key))
#define SH_EQUAL(tb, a, b) equal_text(&(a), &(b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
struct TextEntry
{
	Text		text;
	char		status;
};
#include "lib/simplehash.h"

#define SH_PREFIX pairs
#define SH_ELEMENT_TYPE Pair
#define SH_KEY_TYPE uint64
#define SH_KEY key
#define SH_HASH_KEY(tb, key) ((uint32) ((key) * UINT64CONST(0x9E3779B97F4A7C15) >> 32))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Of a pair, when all are known. */
typedef struct Posting
{
	uint64		key;			/* places of name and value among the sorted strings */
	uint32		number;
	uint32		series;			/* that have it */
	uint64		first;			/* of them among all postings */
	uint64		place;			/* of its list in the file */
} Posting;

struct PromIndexWriter
{
	MemoryContext cxt;
	texts_hash *texts;
	pairs_hash *pairs;
	uint32		ntexts;
	uint32		npairs;
	uint32	   *pair_series;	/* how many series have each */
	uint32		pair_series_size;
	uint64		nlabels;		/* of all series */
	uint32		nseries;
	Tuplestorestate *series;
	TupleDesc	desc;
	TupleTableSlot *slot;

	/* while it is written */
	const Text **sorted;
	uint32	   *text_places;	/* by number */
	Posting    *postings;		/* sorted */
	uint32	   *posting_of;		/* by number of the pair */
	uint32	   *ids;			/* of series, list after list */
	uint32	   *all;			/* of all series */
};

PromIndexWriter *
prom_index_begin(void)
{
	PromIndexWriter *w = palloc0(sizeof(PromIndexWriter));

	w->cxt = CurrentMemoryContext;
	w->texts = texts_create(w->cxt, 1024, NULL);
	w->pairs = pairs_create(w->cxt, 1024, NULL);
	w->desc = CreateTemplateTupleDesc(1);
	TupleDescInitEntry(w->desc, 1, "data", BYTEAOID, -1, 0);
	w->slot = MakeSingleTupleTableSlot(w->desc, &TTSOpsMinimalTuple);
	w->series = tuplestore_begin_heap(false, false, work_mem);
	return w;
}

static uint32
text_number(PromIndexWriter *w, const char *bytes, int len)
{
	Text		key = {bytes, (uint32) len, 0};
	struct TextEntry *entry;
	bool		found;

	entry = texts_insert(w->texts, key, &found);
	if (!found)
	{
		prom_store_need_memory(len + sizeof(struct TextEntry));
		entry->text.bytes = memcpy(MemoryContextAlloc(w->cxt, Max(len, 1)), bytes, len);
		entry->text.number = w->ntexts++;
	}
	return entry->text.number;
}

static uint32
pair_number(PromIndexWriter *w, uint32 name, uint32 value)
{
	Pair	   *pair;
	bool		found;

	pair = pairs_insert(w->pairs, (uint64) name << 32 | value, &found);
	if (!found)
	{
		prom_store_need_memory(sizeof(Pair) + sizeof(Posting) + 4 * sizeof(uint32));
		pair->number = w->npairs++;
		if (w->npairs > w->pair_series_size)
		{
			w->pair_series_size = Max(w->pair_series_size * 2, 1024);
			w->pair_series = w->pair_series ? repalloc_huge(w->pair_series, sizeof(uint32) * w->pair_series_size)
				: MemoryContextAlloc(w->cxt, sizeof(uint32) * w->pair_series_size);
		}
		w->pair_series[pair->number] = 0;
	}
	return pair->number;
}

/* What waits: labels (numbers of name, value and pair), then the chunks as the entry has them. */
void
prom_index_add(PromIndexWriter *w, const PromLabels *labels, const PromTsdbChunk *chunks, int n)
{
	int			nlabels;
	PromLabel  *label = prom_labels_unpack(labels, &nlabels);
	uint8	   *bytes = palloc(VARHDRSZ + 20 + 15 * (size_t) nlabels + 30 * (size_t) n);
	uint8	   *at = (uint8 *) bytes + VARHDRSZ;
	Datum		value = PointerGetDatum(bytes);
	bool		isnull = false;
	uint64		ref = 0;

	at = prom_put_varint(at, nlabels);
	for (int i = 0; i < nlabels; i++)
	{
		uint32		numbers[3];

		numbers[0] = text_number(w, label[i].name, label[i].name_len);
		numbers[1] = text_number(w, label[i].value, label[i].value_len);
		numbers[2] = pair_number(w, numbers[0], numbers[1]);
		w->pair_series[numbers[2]]++;
		for (int k = 0; k < 3; k++)
			at = prom_put_varint(at, numbers[k]);
	}
	at = prom_put_varint(at, n);
	for (int i = 0; i < n; i++)
	{
		uint64		this_ref = (uint64) chunks[i].segment << 32 | chunks[i].offset;

		at = prom_put_varint(at, i == 0 ? prom_zigzag_encode(chunks[i].t_min) :
							 (uint64) chunks[i].t_min - (uint64) chunks[i - 1].t_max);
		at = prom_put_varint(at, (uint64) chunks[i].t_max - (uint64) chunks[i].t_min);
		at = prom_put_varint(at, i == 0 ? this_ref : prom_zigzag_encode((int64) (this_ref - ref)));
		ref = this_ref;
	}
	SET_VARSIZE(bytes, at - bytes);
	tuplestore_putvalues(w->series, w->desc, &value, &isnull);
	w->nseries++;
	w->nlabels += nlabels;
	pfree(bytes);
	pfree(label);
}

/* ---- sorting ---- */

static int
compare_texts(const void *a, const void *b)
{
	const Text *x = *(const Text *const *) a;
	const Text *y = *(const Text *const *) b;
	int			cmp = memcmp(x->bytes, y->bytes, Min(x->len, y->len));

	return cmp != 0 ? cmp : (x->len > y->len) - (x->len < y->len);
}

static int
compare_postings(const void *a, const void *b)
{
	const Posting *x = a;
	const Posting *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

static void
sort_all(PromIndexWriter *w)
{
	texts_iterator texts;
	pairs_iterator pairs;
	struct TextEntry *entry;
	Pair	   *pair;
	uint32		n = 0;
	uint64		first = 0;

	w->sorted = MemoryContextAllocHuge(w->cxt, sizeof(Text *) * Max(w->ntexts, 1));
	w->text_places = MemoryContextAllocHuge(w->cxt, sizeof(uint32) * Max(w->ntexts, 1));
	texts_start_iterate(w->texts, &texts);
	while ((entry = texts_iterate(w->texts, &texts)) != NULL)
		w->sorted[n++] = &entry->text;
	qsort(w->sorted, n, sizeof(Text *), compare_texts);
	for (uint32 i = 0; i < n; i++)
		w->text_places[w->sorted[i]->number] = i;

	w->postings = MemoryContextAllocHuge(w->cxt, sizeof(Posting) * Max(w->npairs, 1));
	w->posting_of = MemoryContextAllocHuge(w->cxt, sizeof(uint32) * Max(w->npairs, 1));
	n = 0;
	pairs_start_iterate(w->pairs, &pairs);
	while ((pair = pairs_iterate(w->pairs, &pairs)) != NULL)
	{
		Posting    *p = &w->postings[n++];

		p->key = (uint64) w->text_places[pair->key >> 32] << 32 | w->text_places[(uint32) pair->key];
		p->number = pair->number;
		p->series = 0;
	}
	qsort(w->postings, n, sizeof(Posting), compare_postings);
	for (uint32 i = 0; i < n; i++)
	{
		w->postings[i].first = first;
		first += w->pair_series[w->postings[i].number];
		w->posting_of[w->postings[i].number] = i;
	}
	prom_store_need_memory(sizeof(uint32) * (w->nlabels + w->nseries));
	w->ids = MemoryContextAllocHuge(w->cxt, sizeof(uint32) * Max(w->nlabels, 1));
	w->all = MemoryContextAllocHuge(w->cxt, sizeof(uint32) * Max(w->nseries, 1));
}

/* ---- writing ---- */

static void
write_symbols(PromIndexWriter *w, PromBlockOut *out)
{
	uint64		len = 4;

	for (uint32 i = 0; i < w->ntexts; i++)
	{
		uint8		varint[10];

		len += (prom_put_varint(varint, w->sorted[i]->len) - varint) + w->sorted[i]->len;
	}
	if (len > PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("labels of a block are larger than its format allows"),
				 errhint("Export a shorter time, or fewer series.")));
	prom_block_out_u32(out, (uint32) len);
	out->crc = 0;
	prom_block_out_u32(out, w->ntexts);
	for (uint32 i = 0; i < w->ntexts; i++)
	{
		prom_block_out_varint(out, w->sorted[i]->len);
		prom_block_out_put(out, w->sorted[i]->bytes, w->sorted[i]->len);
	}
	prom_block_out_u32(out, out->crc);
}

/* The entry of a series that has waited; its id goes to the postings of its labels. */
static void
write_series(PromIndexWriter *w, PromBlockOut *out, PromBytes waited, uint32 number)
{
	uint64		nlabels = prom_bytes_varint(&waited);
	uint8	   *body = palloc(20 + 10 * nlabels + prom_bytes_left(&waited));
	uint8	   *at = prom_put_varint(body, nlabels);
	uint32		id;

	prom_block_out_pad(out, PROM_TSDB_ALIGNMENT);
	if (out->written > MAX_INDEX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index of a block is larger than its format allows"),
				 errhint("Export a shorter time, or fewer series.")));
	id = (uint32) (out->written / PROM_TSDB_ALIGNMENT);
	w->all[number] = id;
	for (uint64 i = 0; i < nlabels; i++)
	{
		Posting    *p;

		for (int k = 0; k < 2; k++)
			at = prom_put_varint(at, w->text_places[prom_bytes_varint(&waited)]);
		p = &w->postings[w->posting_of[prom_bytes_varint(&waited)]];
		w->ids[p->first + p->series++] = id;
	}
	memcpy(at, waited.at, prom_bytes_left(&waited));
	at += prom_bytes_left(&waited);
	prom_block_out_varint(out, at - body);
	out->crc = 0;
	prom_block_out_put(out, body, at - body);
	prom_block_out_u32(out, out->crc);
	pfree(body);
}

static void
write_all_series(PromIndexWriter *w, PromBlockOut *out)
{
	uint32		n = 0;

	tuplestore_rescan(w->series);
	while (tuplestore_gettupleslot(w->series, true, false, w->slot))
	{
		bool		isnull;
		bytea	   *waited = DatumGetByteaPP(slot_getattr(w->slot, 1, &isnull));

		CHECK_FOR_INTERRUPTS();
		write_series(w, out, prom_bytes(VARDATA_ANY(waited), VARSIZE_ANY_EXHDR(waited)), n++);
	}
	ExecDropSingleTupleTableSlot(w->slot);
	tuplestore_end(w->series);
}

static uint64
write_posting(PromBlockOut *out, const uint32 *ids, uint32 n)
{
	uint64		place;

	CHECK_FOR_INTERRUPTS();
	prom_block_out_pad(out, 4);
	place = out->written;
	prom_block_out_u32(out, 4 + 4 * n);
	out->crc = 0;
	prom_block_out_u32(out, n);
	for (uint32 i = 0; i < n; i++)
		prom_block_out_u32(out, ids[i]);
	prom_block_out_u32(out, out->crc);
	return place;
}

static uint8 *
put_text(uint8 *at, const Text *t)
{
	at = prom_put_varint(at, t->len);
	memcpy(at, t->bytes, t->len);
	return at + t->len;
}

/* One entry of the table of postings, into "entry"; NULL: all series. */
static size_t
make_entry(const PromIndexWriter *w, StringInfo entry, const Posting *p, uint64 place)
{
	static const Text none = {"", 0, 0};
	const Text *name = p ? w->sorted[p->key >> 32] : &none;
	const Text *value = p ? w->sorted[(uint32) p->key] : &none;
	uint8	   *at;

	resetStringInfo(entry);
	enlargeStringInfo(entry, (int) (name->len + value->len + 40));
	at = prom_put_varint((uint8 *) entry->data, 2);
	at = put_text(put_text(at, name), value);
	at = prom_put_varint(at, place);
	return entry->len = (int) (at - (uint8 *) entry->data);
}

static void
write_table(PromIndexWriter *w, PromBlockOut *out, uint64 all_place)
{
	StringInfoData entry;
	uint64		len = 4;

	initStringInfo(&entry);
	len += make_entry(w, &entry, NULL, all_place);
	for (uint32 i = 0; i < w->npairs; i++)
		len += make_entry(w, &entry, &w->postings[i], w->postings[i].place);
	if (len > PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("labels of a block are larger than its format allows"),
				 errhint("Export a shorter time, or fewer series.")));
	prom_block_out_u32(out, (uint32) len);
	out->crc = 0;
	prom_block_out_u32(out, w->npairs + 1);
	(void) make_entry(w, &entry, NULL, all_place);
	prom_block_out_put(out, entry.data, entry.len);
	for (uint32 i = 0; i < w->npairs; i++)
	{
		(void) make_entry(w, &entry, &w->postings[i], w->postings[i].place);
		prom_block_out_put(out, entry.data, entry.len);
	}
	prom_block_out_u32(out, out->crc);
}

static void
put_u64(PromBlockOut *out, uint64 v)
{
	prom_block_out_u32(out, (uint32) (v >> 32));
	prom_block_out_u32(out, (uint32) v);
}

void
prom_index_write(PromIndexWriter *w, PromBlockOut *out)
{
	uint64		symbols;
	uint64		series;
	uint64		postings;
	uint64		table;
	uint64		all_place;

	sort_all(w);
	prom_block_out_u32(out, INDEX_MAGIC);
	prom_block_out_put(out, "\002", 1);
	symbols = out->written;
	write_symbols(w, out);
	series = out->written;
	write_all_series(w, out);
	prom_block_out_pad(out, 4);
	postings = out->written;
	all_place = write_posting(out, w->all, w->nseries);
	for (uint32 i = 0; i < w->npairs; i++)
	{
		Posting    *p = &w->postings[i];

		p->place = write_posting(out, w->ids + p->first, p->series);
	}
	table = out->written;
	write_table(w, out, all_place);
	out->crc = 0;
	put_u64(out, symbols);
	put_u64(out, series);
	put_u64(out, postings);		/* label indices: none */
	put_u64(out, table);		/* their table: none */
	put_u64(out, postings);
	put_u64(out, table);
	prom_block_out_u32(out, out->crc);
}

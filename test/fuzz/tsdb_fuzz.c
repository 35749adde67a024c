/*
 * tsdb_fuzz.c
 *	  Throws bytes at the readers of Prometheus' blocks, outside the server.
 *
 *		tsdb_fuzz SECONDS [SEED]
 *
 * Each round writes chunks of samples and of histograms whose contents are known, reads them back and compares
 * bits; the same with entries of series, tables of contents, tombstones, frames and downsampled chunks.  Then it
 * damages them, and mends the checksums so that they do not stand in the way: whatever comes, nothing is read or
 * written outside, and a reason is given.
 */
#include "c.h"

#include "common/bytes.h"
#include "wire/wire.h"

#include "buffer.h"

#define DAMAGED_COPIES 20
#define MAX_SAMPLES 130

/* What the readers allocate is freed at the end of each attempt. */
static void *given[65536];
static int	ngiven;

static void *
give(size_t size)
{
	expect(ngiven < lengthof(given) && size < 64 * 1024 * 1024, "what is asked for is bounded");
	return given[ngiven++] = malloc(Max(size, 1));
}

static void
take_back(void)
{
	while (ngiven > 0)
		free(given[--ngiven]);
}

/* A copy that ends where its memory ends, cut or spoiled if "damage". */
static uint8 *
copy_of(const uint8 *bytes, size_t *len, bool damage)
{
	size_t		size = damage && *len > 0 && next_random() % 3 == 0 ? next_random() % *len : *len;
	uint8	   *copy = malloc(Max(size, 1));

	memcpy(copy, bytes, size);
	for (uint64 k = damage ? next_random() % 4 : 0; size > 0 && k > 0; k--)
		copy[next_random() % (next_random() % 2 ? size : Min(size, 24))] = (uint8) next_random();
	*len = size;
	return copy;
}

static void
expect_reason(const PromWireError *err, size_t len)
{
	expect(err->reason != NULL && err->offset <= len, "a reason and its place");
}

static int
make_times(int64 *t_ms)
{
	int			n = 1 + (int) (next_random() % MAX_SAMPLES);
	bool		wild = next_random() % 4 == 0;

	for (int i = 0; i < n; i++)
	{
		uint64		step = 1 + (wild ? next_random() >> (20 + next_random() % 40) : 15000 + next_random() % 3);

		t_ms[i] = i == 0 ? (int64) (next_random() >> 2) * (next_random() % 2 ? 1 : -1) : t_ms[i - 1];
		if (i > 0 && t_ms[i] < PG_INT64_MAX - (int64) step)
			t_ms[i] += (int64) step;
	}
	return n;
}

/* ---- XOR chunks ---- */

static void
one_xor(void)
{
	int64		t_ms[MAX_SAMPLES];
	double		values[MAX_SAMPLES];
	static int64 read_t[PROM_XOR_MAX_SAMPLES];
	static double read_values[PROM_XOR_MAX_SAMPLES];
	int			n = Min(make_times(t_ms), PROM_XOR_SAMPLES);
	int			shift = (int) (next_random() % 64);
	uint8		out[PROM_XOR_ROOM];
	size_t		len;
	PromWireError err;
	int			read;

	for (int i = 0; i < n; i++)
	{
		uint64		bits = next_random() % 3 == 0 ? UINT64CONST(0x7FF0000000000002) : next_random() << shift;

		memcpy(&values[i], &bits, sizeof(double));
	}
	len = prom_xor_encode(out, n, t_ms, values);
	for (int i = 0; i < DAMAGED_COPIES; i++)
	{
		size_t		size = len;
		uint8	   *copy = copy_of(out, &size, i > 0);

		err.reason = NULL;
		if (!prom_xor_decode(copy, size, read_t, read_values, &read, &err))
			expect_reason(&err, size);
		else
			expect(read <= (int) size * 8, "samples take bits");
		if (i == 0)
			expect(err.reason == NULL && read == n && memcmp(read_t, t_ms, n * sizeof(int64)) == 0 &&
				   memcmp(read_values, values, n * sizeof(double)) == 0, "samples come back");
		free(copy);
	}
}

/* ---- chunks of histograms ---- */

static double
random_count(bool is_int)
{
	double		v = (double) (next_random() >> (20 + next_random() % 44));

	return is_int ? v : v / 8;
}

static void
fill_counts(PromHistogram *h, const PromHistogram *before)
{
	uint32		nbuckets = h->nbuckets[0] + h->nbuckets[1];
	uint64		bits = next_random();
	bool		rises = before && next_random() % 20 > 0;

	h->zero_count = h->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA ? 0 : random_count(h->is_int) + (rises ? before->zero_count : 0);
	h->count = h->zero_count;
	for (uint32 i = 0; i < nbuckets; i++)
	{
		h->d[i] = random_count(h->is_int) / 64;
		if (h->is_int)
			h->d[i] = (double) (int64) h->d[i];
		if (rises)
			h->d[i] = next_random() % 3 == 0 ? before->d[i] : before->d[i] + h->d[i];
		h->count += h->d[i];
	}
	memcpy(&h->sum, &bits, sizeof(bits));
	if (h->sum != h->sum)
		h->sum = 0.5;
}

static PromHistogram *
make_layout(void)
{
	bool		custom = next_random() % 4 == 0;
	uint32		nspans[2] = {next_random() % 4, custom ? 0 : next_random() % 4};
	uint32		lengths[2][4];
	uint32		nbuckets[2] = {0, 0};
	PromHistogram *h;
	uint32		ncustom;
	size_t		size;

	for (int side = 0; side < 2; side++)
		for (uint32 i = 0; i < nspans[side]; i++)
			nbuckets[side] += lengths[side][i] = 1 + next_random() % 5;
	ncustom = custom ? 40 : 0;
	size = prom_histogram_size(nbuckets[0], nbuckets[1], ncustom, nspans[0], nspans[1]);
	h = give(size);
	memset(h, 0, size);
	h->size = (uint32) size;
	h->schema = custom ? PROM_HISTOGRAM_CUSTOM_SCHEMA : (int8) (next_random() % 13) - 4;
	h->is_int = next_random() % 2;
	h->hint = (uint8) (next_random() % 4);
	h->ncustom = ncustom;
	if (!custom)
		h->zero_threshold = next_random() % 3 == 0 ? 0 : next_random() % 2 ? 0.001 : 2.938735877055719e-39;
	for (int side = 0; side < 2; side++)
	{
		h->nspans[side] = nspans[side];
		h->nbuckets[side] = nbuckets[side];
	}
	for (int side = 0; side < 2; side++)
		for (uint32 i = 0; i < nspans[side]; i++)
		{
			PromHistogramSpan *span = &prom_histogram_spans(h, (PromHistogramSide) side)[i];

			span->length = lengths[side][i];
			span->offset = (int32) (next_random() % (custom ? 4 : 9)) - (i == 0 && !custom ? 4 : 0);
		}
	for (uint32 i = 0; i < ncustom; i++)
		prom_histogram_custom(h)[i] = (double) i * (next_random() % 2 ? 1 : 1.0000001) + 1;
	return h;
}

/* Buckets are the same; those that a chunk has for the sake of other samples are empty. */
static bool
same_buckets(const PromHistogram *a, const PromHistogram *b, PromHistogramSide side)
{
	PromHistogramWalk walk[2] = {prom_histogram_walk(a, side), prom_histogram_walk(b, side)};
	int64		index[2] = {0, 0};
	double		count[2] = {0, 0};
	bool		more[2] = {true, true};

	while (more[0] || more[1])
	{
		for (int k = 0; k < 2; k++)
			while ((more[k] = prom_histogram_walk_next(&walk[k], &index[k], &count[k])) && count[k] == 0)
				;
		if (more[0] != more[1] || (more[0] && (index[0] != index[1] || count[0] != count[1])))
			return false;
	}
	return true;
}

static bool
same_histogram(const PromHistogram *a, const PromHistogram *b)
{
	return a->schema == b->schema && a->is_int == b->is_int && a->count == b->count && a->zero_count == b->zero_count &&
		memcmp(&a->sum, &b->sum, sizeof(double)) == 0 && a->zero_threshold == b->zero_threshold && a->ncustom == b->ncustom &&
		memcmp(prom_histogram_custom(a), prom_histogram_custom(b), sizeof(double) * a->ncustom) == 0 &&
		same_buckets(a, b, PROM_POSITIVE) && same_buckets(a, b, PROM_NEGATIVE);
}

static void
read_histograms(const uint8 *bytes, size_t len, bool is_float, int n, const int64 *t_ms, const PromHistogram *const *wanted)
{
	PromHistogramChunk walk;
	PromWireError err = {NULL, 0};
	int			done = 0;

	if (!prom_histogram_chunk_begin(&walk, bytes, len, is_float, give, &err))
	{
		expect(wanted == NULL, "a good chunk begins");
		expect_reason(&err, len);
		return;
	}
	for (; done < walk.n && done < 1000; done++)
	{
		PromHistogram *h = give(prom_histogram_chunk_size(&walk));
		int64		t;
		bool		stale;

		if (!prom_histogram_chunk_next(&walk, &t, h, &stale, &err))
		{
			expect(wanted == NULL, err.reason);
			expect_reason(&err, len);
			return;
		}
		expect(stale || prom_histogram_check(h, h->size) == NULL, "what is read is valid");
		if (wanted == NULL)
			continue;
		expect(!stale && t == t_ms[done], "a time");
		expect((h->hint == PROM_HINT_GAUGE) == (wanted[0]->hint == PROM_HINT_GAUGE) &&
			   (h->hint == PROM_HINT_RESET) == (done == 0 && wanted[0]->hint == PROM_HINT_RESET), "a hint");
		expect(same_histogram(h, wanted[done]), "a histogram");
	}
	expect(wanted == NULL || done == n, "number of histograms");
}

/* Chunks that histograms of one layout make; counters rise, so that a chunk has some of them. */
static void
one_histogram_chunk(void)
{
	int64		t_ms[MAX_SAMPLES];
	const PromHistogram *h[MAX_SAMPLES];
	int			n = make_times(t_ms);
	PromHistogram *layout = make_layout();
	PromWireBuffer out = {.grow = grow};

	for (int i = 0; i < n; i++)
	{
		PromHistogram *one = give(layout->size);

		memcpy(one, layout, layout->size);
		if (i > 0)
			one->hint = layout->hint == PROM_HINT_GAUGE ? PROM_HINT_GAUGE : PROM_HINT_UNKNOWN;
		fill_counts(one, i > 0 ? h[i - 1] : NULL);
		expect(prom_histogram_check(one, one->size) == NULL, prom_histogram_check(one, one->size));
		h[i] = one;
	}
	for (int at = 0; at < n;)
	{
		PromChunkEncoding encoding;
		int			took;

		out.len = 0;
		took = prom_histogram_chunk_encode(&out, give, n - at, t_ms + at, h + at, &encoding);
		for (int i = 0; i < (at == 0 ? DAMAGED_COPIES : 1); i++)
		{
			size_t		size = out.len;
			uint8	   *copy = copy_of(out.data, &size, i > 0);
			bool		is_float = encoding == PROM_CHUNK_FLOAT_HISTOGRAM;

			if (i > 0 && next_random() % 8 == 0)
				is_float = !is_float;
			read_histograms(copy, size, is_float, took, t_ms + at, i == 0 ? h + at : NULL);
			free(copy);
		}
		at += took;
	}
	take_back();
	free(out.data);
}

/* ---- series ---- */

static void
read_series(const uint8 *bytes, size_t len, uint64 nlabels, uint64 nchunks, const PromTsdbChunk *wanted)
{
	PromTsdbSeries s;
	PromTsdbChunk chunk;
	PromWireError err = {NULL, 0};
	uint32		name;
	uint32		value;
	uint64		n = 0;

	if (!prom_tsdb_series_begin(&s, bytes, len, &err))
	{
		expect(wanted == NULL, "a good entry");
		expect_reason(&err, len);
		return;
	}
	for (; prom_tsdb_series_label(&s, &name, &value); n++)
		expect(wanted == NULL || (name == n * 7 && value == PG_UINT32_MAX - n), "a label");
	expect(wanted == NULL || n == nlabels, "number of labels");
	for (n = 0; prom_tsdb_series_chunk(&s, &chunk); n++)
	{
		expect(chunk.t_min <= chunk.t_max, "times of a chunk");
		expect(wanted == NULL || memcmp(&chunk, &wanted[n], sizeof(chunk)) == 0, "a chunk");
	}
	expect(wanted == NULL || n == nchunks, "number of chunks");
}

static void
one_series(void)
{
	PromTsdbChunk chunks[20];
	uint8		body[1000];
	uint8	   *at = body;
	uint64		nlabels = next_random() % 10;
	uint64		nchunks = next_random() % 20;
	int64		t = -(int64) (next_random() >> 30);
	uint64		ref = 8;

	memset(chunks, 0, sizeof(chunks));
	at = prom_put_varint(at, nlabels);
	for (uint64 i = 0; i < nlabels; i++)
	{
		at = prom_put_varint(at, i * 7);
		at = prom_put_varint(at, PG_UINT32_MAX - i);
	}
	at = prom_put_varint(at, nchunks);
	for (uint64 i = 0; i < nchunks; i++)
	{
		uint64		next = next_random() % 5 == 0 ? (ref & ~UINT64CONST(0xffffffff)) + (UINT64CONST(1) << 32) + 8 : ref + next_random() % 1000;
		uint64		gap = next_random() % 60000;

		chunks[i].t_min = t + (int64) gap;
		chunks[i].t_max = chunks[i].t_min + (int64) (next_random() % 10000000);
		chunks[i].segment = (uint32) (next >> 32);
		chunks[i].offset = (uint32) next;
		at = prom_put_varint(at, i == 0 ? prom_zigzag_encode(chunks[i].t_min) : gap);
		at = prom_put_varint(at, (uint64) (chunks[i].t_max - chunks[i].t_min));
		at = prom_put_varint(at, i == 0 ? next : prom_zigzag_encode((int64) (next - ref)));
		t = chunks[i].t_max;
		ref = next;
	}
	for (int i = 0; i < DAMAGED_COPIES; i++)
	{
		size_t		size = at - body;
		uint8	   *copy = copy_of(body, &size, i > 0);

		read_series(copy, size, nlabels, nchunks, i == 0 ? chunks : NULL);
		free(copy);
	}
}

/* ---- frames, contents, tombstones, aggregates ---- */

static void
one_frame(void)
{
	uint8		out[400];
	uint8	   *at;
	size_t		extra = next_random() % 2;
	size_t		len = next_random() % 300;
	size_t		start;

	at = prom_put_varint(out, len);
	start = at - out;
	for (size_t i = 0; i < len + extra; i++)
		*at++ = (uint8) next_random();
	at = prom_put_u32be(at, prom_crc32c(0, out + start, len + extra));
	for (int i = 0; i < DAMAGED_COPIES; i++)
	{
		size_t		size = at - out;
		uint8	   *copy = copy_of(out, &size, i > 0);
		PromWireError err;
		uint64		all;
		const uint8 *body;
		size_t		body_len;

		if (!prom_tsdb_frame(copy, Min(size, 10), extra, &all, &err))
			expect_reason(&err, size);
		else if (all <= size)
		{
			if (!prom_tsdb_unframe(copy, all, extra, &body, &body_len, &err))
				expect_reason(&err, size);
			else
				expect(body >= copy && body + body_len + 4 == copy + all, "a body lies in its frame");
		}
		if (i == 0)
			expect(all == size && prom_tsdb_unframe(copy, all, extra, &body, &body_len, &err) && body_len == len + extra &&
				   body == copy + start, "a good frame");
		free(copy);
	}
}

static void
one_toc(void)
{
	uint8		bytes[PROM_TSDB_TOC_BYTES];
	uint64		size = 1000 + next_random() % 1000000;
	PromTsdbToc toc;
	PromWireError err;
	uint64		section = 5;

	for (int i = 0; i < 6; i++)
	{
		if (next_random() % 8 == 0)
			section = next_random() >> (next_random() % 64);
		else
			section += next_random() % ((size - PROM_TSDB_TOC_BYTES) / 8);
		(void) prom_put_u32be(bytes + 8 * i, (uint32) (section >> 32));
		(void) prom_put_u32be(bytes + 8 * i + 4, (uint32) section);
	}
	(void) prom_put_u32be(bytes + 48, prom_crc32c(0, bytes, 48) + (next_random() % 8 == 0));
	if (!prom_tsdb_toc(bytes, size, &toc, &err))
		expect_reason(&err, size);
	else
		expect(toc.symbols < size && toc.series <= toc.series_end && toc.series_end <= size - PROM_TSDB_TOC_BYTES, "sections");
}

static void
one_tombstones(void)
{
	uint8		out[1000];
	uint8	   *at = prom_put_u32be(out, 0x0130BA30);
	int			n = (int) (next_random() % 20);

	*at++ = 1;
	for (int i = 0; i < n; i++)
	{
		at = prom_put_varint(at, i);
		at = prom_put_varint(at, prom_zigzag_encode(-i));
		at = prom_put_varint(at, prom_zigzag_encode((int64) i << 40));
	}
	at = prom_put_u32be(at, prom_crc32c(0, out + 5, at - out - 5));
	for (int i = 0; i < DAMAGED_COPIES; i++)
	{
		size_t		size = at - out;
		uint8	   *copy = copy_of(out, &size, i > 0);
		PromTsdbTombstone t;
		PromWireError err;
		PromBytes	walk;
		int			found = 0;

		/* so that what comes behind the checksum is seen */
		if (size >= 9)
			(void) prom_put_u32be(copy + size - 4, prom_crc32c(0, copy + 5, size - 9));
		if (!prom_tsdb_tombstones_begin(&walk, copy, size, &err))
			expect_reason(&err, size);
		else
		{
			while (prom_tsdb_tombstone(&walk, &t))
			{
				expect(i > 0 || ((int) t.series == found && t.t_min == -found && t.t_max == (int64) found << 40), "a tombstone");
				found++;
			}
			expect(i > 0 || (!walk.bad && found == n), "all tombstones");
		}
		free(copy);
	}
}

static void
one_downsampled(void)
{
	uint8		out[1000];
	uint8	   *at = out;
	size_t		lens[PROM_TSDB_AGGREGATES];

	for (int k = 0; k < PROM_TSDB_AGGREGATES; k++)
	{
		lens[k] = next_random() % 3 == 0 ? 0 : next_random() % 100;
		at = prom_put_varint(at, lens[k]);
		if (lens[k] > 0)
			*at++ = PROM_CHUNK_XOR;
		for (size_t i = 0; i < lens[k]; i++)
			*at++ = (uint8) next_random();
	}
	for (int i = 0; i < DAMAGED_COPIES; i++)
	{
		size_t		size = at - out;
		uint8	   *copy = copy_of(out, &size, i > 0);
		PromTsdbAggregate found[PROM_TSDB_AGGREGATES];
		PromWireError err;

		if (!prom_tsdb_aggregates(copy, size, found, &err))
		{
			expect(i > 0, "good aggregates");
			expect_reason(&err, size);
		}
		else
			for (int k = 0; k < PROM_TSDB_AGGREGATES; k++)
			{
				expect(found[k].data == NULL || found[k].data + found[k].len <= copy + size, "an aggregate lies in its chunk");
				expect(i > 0 || (found[k].len == lens[k] && (lens[k] == 0 || found[k].encoding == PROM_CHUNK_XOR)), "an aggregate");
			}
		free(copy);
	}
}

static void
one_round(void)
{
	for (int i = 0; i < 20; i++)
	{
		one_xor();
		one_histogram_chunk();
		one_series();
		one_frame();
		one_toc();
		one_tombstones();
		one_downsampled();
	}
}

int
main(int argc, char **argv)
{
	time_t		end = fuzz_begin(argc, argv);

	/* the check value of CRC-32C */
	expect(prom_crc32c(prom_crc32c(0, "1234", 4), "56789", 5) == 0xE3069283, "CRC-32C");
	return fuzz_rounds(end, one_round);
}

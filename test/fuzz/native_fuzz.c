/*
 * native_fuzz.c
 *	  Sends native histograms through Prometheus' chunks, outside the server.
 *
 *		native_fuzz SECONDS [SEED]
 *
 * Each round makes a series of histograms: integers or floats, buckets that come and go, resets, gauges, custom
 * bounds, gaps.  It is encoded chunk by chunk, and decoded with a decoder of this file, which knows nothing
 * of the encoder: all samples must come back, bucket by bucket, no counter may fall within a chunk, and a
 * chunk must not end before it has to.
 */
#include "c.h"

#include <math.h>

#include "common/bytes.h"
#include "wire/wire.h"

#include "buffer.h"

#define MAX_SAMPLES 300
#define MAX_WIDTH	40			/* bucket indexes of a side: -10 .. */

/* ---- memory: of one round ---- */

static void *taken[4 * MAX_SAMPLES * 4];
static int	ntaken;

static void *
take(size_t size)
{
	expect(ntaken < lengthof(taken), "too much memory");
	return taken[ntaken++] = malloc(size);
}

/* ---- histograms ---- */

/* One as this file thinks of it: counts by index, with those that are present. */
typedef struct Plain
{
	double		count[2][MAX_WIDTH];
	bool		present[2][MAX_WIDTH];
	double		zero;
	double		total;
	double		sum;
} Plain;

typedef struct Kind
{
	int8		schema;
	bool		is_int;
	bool		gauge;
	double		threshold;
	int			ncustom;
	double		custom[MAX_WIDTH];
} Kind;

static int
first_index(const Kind *k)
{
	return k->ncustom > 0 ? 0 : -10;
}

static Kind
any_kind(void)
{
	static const double thresholds[] = {0, 1e-128, 0.5, 1, 1024, 2048, 0.001, 2.938735877055719e-39};
	Kind		k = {0};

	k.schema = (int8) ((int) (next_random() % 13) - 4);
	k.is_int = next_random() % 2;
	k.gauge = next_random() % 4 == 0;
	k.threshold = thresholds[next_random() % lengthof(thresholds)];
	if (next_random() % 4 == 0)
	{
		double		at = next_random() % 2 ? -5 : 0;

		k.schema = PROM_HISTOGRAM_CUSTOM_SCHEMA;
		k.threshold = 0;
		k.ncustom = 1 + (int) (next_random() % (MAX_WIDTH - 1));
		for (int i = 0; i < k.ncustom; i++)
			k.custom[i] = at += next_random() % 3 == 0 ? (double) next_random() / 1e12 : (1 + (double) (next_random() % 5000)) / 1000;
	}
	return k;
}

static PromHistogram *
make(const Kind *k, const Plain *p, PromHint hint)
{
	uint32		nbuckets[2] = {0, 0};
	PromHistogram *h;
	double	   *d;

	for (int side = 0; side < 2; side++)
		for (int i = 0; i < MAX_WIDTH; i++)
			nbuckets[side] += p->present[side][i];
	/* a span for each bucket, and one with nothing in it in front */
	h = take(prom_histogram_size(nbuckets[0], nbuckets[1], k->ncustom, nbuckets[0] + 1, nbuckets[1] + 1));
	memset(h, 0, sizeof(*h));
	h->size = (uint32) prom_histogram_size(nbuckets[0], nbuckets[1], k->ncustom, nbuckets[0] + 1, nbuckets[1] + 1);
	h->schema = k->schema;
	h->hint = k->gauge ? PROM_HINT_GAUGE : hint;
	h->is_int = k->is_int;
	h->ncustom = k->ncustom;
	h->zero_threshold = k->threshold;
	h->zero_count = p->zero;
	h->count = p->total;
	h->sum = p->sum;
	memcpy(h->nbuckets, nbuckets, sizeof(nbuckets));
	h->nspans[0] = nbuckets[0] + 1;
	h->nspans[1] = nbuckets[1] + 1;
	d = h->d;
	for (int side = 0; side < 2; side++)
	{
		PromHistogramSpan *span = prom_histogram_spans(h, side);
		int			end = first_index(k);

		*span++ = (PromHistogramSpan) {end, 0};
		for (int i = 0; i < MAX_WIDTH; i++)
		{
			if (!p->present[side][i])
				continue;
			*span++ = (PromHistogramSpan) {i + first_index(k) - end, 1};
			end = i + first_index(k) + 1;
			*d++ = p->count[side][i];
		}
	}
	memcpy(d, k->custom, sizeof(double) * k->ncustom);
	return h;
}

static double
any_number(const Kind *k)
{
	uint64		r = next_random() >> (11 + next_random() % 53);

	return k->is_int ? (double) r : (double) r / 7;
}

/* The next one: mostly a counter that went on. */
static void
change(const Kind *k, Plain *p)
{
	bool		reset = next_random() % 50 == 0;
	int			width = k->ncustom > 0 ? k->ncustom + 1 : MAX_WIDTH;

	p->total = 0;
	for (int side = 0; side < (k->ncustom > 0 ? 1 : 2); side++)
		for (int i = 0; i < width; i++)
		{
			double	   *count = &p->count[side][i];

			if (next_random() % 40 == 0)
				p->present[side][i] = true;
			else if (*count == 0 && next_random() % 10 == 0)
				p->present[side][i] = false;
			if (reset || (k->gauge && next_random() % 5 == 0))
				*count = 0;
			if (p->present[side][i] && next_random() % 2)
				*count += any_number(k);
			if (!p->present[side][i])
				*count = 0;
			/* beyond 2^53 there are no integers */
			if (k->is_int && *count > 1e13)
				*count = 1;
			p->total += *count;
		}
	if (k->ncustom == 0 && next_random() % 3 == 0)
		p->zero = reset ? 0 : p->zero + (k->is_int ? (double) (next_random() % 100) : 0.25);
	p->total += p->zero;
	p->sum = next_random() % 20 == 0 ? NAN : any_number(k) - 5;
}

/* ---- the decoder ---- */

static double
get_double(BitReader *r)
{
	uint64		bits = get_bits(r, 64);
	double		v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

static int
get_width(BitReader *r)
{
	static const int widths[] = {0, 3, 6, 9, 12, 18, 25, 56, 64};
	int			i = 0;

	while (i < 8 && get_bits(r, 1) == 1)
		i++;
	return widths[i];
}

static int64
get_signed(BitReader *r)
{
	int			width = get_width(r);
	uint64		v = get_bits(r, width);

	if (width > 0 && width < 64 && v > UINT64CONST(1) << (width - 1))
		v -= UINT64CONST(1) << width;
	return (int64) v;
}

static uint64
get_unsigned(BitReader *r)
{
	return get_bits(r, get_width(r));
}

typedef struct Column
{
	uint64		v;
	uint64		change;
	int			leading;
	int			width;
} Column;

static double
get_float(BitReader *r, Column *c, int sample)
{
	double		v;

	if (sample == 0)
		c->v = get_bits(r, 64);
	else if (get_bits(r, 1) == 1)
	{
		if (get_bits(r, 1) == 1)
		{
			c->leading = (int) get_bits(r, 5);
			c->width = (int) get_bits(r, 6);
			c->width = c->width == 0 ? 64 : c->width;
		}
		c->v ^= get_bits(r, c->width) << (64 - c->leading - c->width);
	}
	memcpy(&v, &c->v, sizeof(v));
	return v;
}

static uint64
get_whole(BitReader *r, Column *c, int sample, bool is_unsigned)
{
	if (sample == 0)
		c->v = is_unsigned ? get_unsigned(r) : (uint64) get_signed(r);
	else
	{
		c->change += (uint64) get_signed(r);
		c->v += c->change;
	}
	return c->v;
}

static double
get_threshold(BitReader *r)
{
	int			b = (int) get_bits(r, 8);

	return b == 0 ? 0 : b == 255 ? get_double(r) : ldexp(1, b - 244);
}

static bool
same(double a, double b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

/* One chunk; how many samples it has.  Each must be the plain one. */
static int
check_chunk(const uint8 *data, size_t len, PromChunkEncoding encoding, const Kind *k, const int64 *t_ms,
			const Plain *p, const PromHistogram *const *h, bool *any_bucket)
{
	BitReader	r = {data, len, 0};
	int			n = (int) get_bits(&r, 16);
	int			flags = (int) get_bits(&r, 8);
	bool		in_layout[2][MAX_WIDTH] = {{false}};
	Column		column[2 * MAX_WIDTH + 4] = {{0}};

	expect(encoding == (k->is_int ? PROM_CHUNK_HISTOGRAM : PROM_CHUNK_FLOAT_HISTOGRAM), "encoding");
	expect(flags == (k->gauge ? 0xc0 : h[0]->hint == PROM_HINT_RESET ? 0x80 : h[0]->hint == PROM_HINT_NOT_RESET ? 0x40 : 0),
		   "flags");
	expect(same(get_threshold(&r), k->threshold), "zero threshold");
	expect(get_signed(&r) == k->schema, "schema");
	for (int side = 0; side < 2; side++)
	{
		uint64		spans = get_unsigned(&r);
		int64		index = -first_index(k);

		while (spans-- > 0)
		{
			uint64		length = get_unsigned(&r);

			index += get_signed(&r);
			expect(length > 0 && index >= 0 && index + (int64) length <= MAX_WIDTH, "a span");
			while (length-- > 0)
				in_layout[side][index++] = true;
		}
	}
	if (k->ncustom > 0)
	{
		expect(get_unsigned(&r) == k->ncustom, "number of bounds");
		for (int i = 0; i < k->ncustom; i++)
		{
			uint64		v = get_unsigned(&r);

			expect(same(v == 0 ? get_double(&r) : (double) (v - 1) / 1000, k->custom[i]), "a bound");
		}
	}
	for (int i = 0; i < n; i++)
	{
		Column	   *c = column;

		expect((int64) get_whole(&r, c++, i, false) == t_ms[i], "a time");
		expect(same(k->is_int ? (double) get_whole(&r, c, i, true) : get_float(&r, c, i), p[i].total), "a count");
		c++;
		expect(same(k->is_int ? (double) get_whole(&r, c, i, true) : get_float(&r, c, i), p[i].zero), "a zero count");
		c++;
		expect(same(get_float(&r, c++, i), p[i].sum), "a sum");
		for (int side = 0; side < 2; side++)
		{
			uint64		before = 0;

			for (int b = 0; b < MAX_WIDTH; b++)
			{
				double		count = 0;

				if (in_layout[side][b])
				{
					if (k->is_int)
						count = (double) (int64) (before += get_whole(&r, c++, i, false));
					else
						count = get_float(&r, c++, i);
					*any_bucket = true;
				}
				expect(same(count, p[i].count[side][b]), "a bucket");
				expect(k->gauge || i == 0 || count >= p[i - 1].count[side][b], "a counter that falls in a chunk");
			}
		}
		expect(i == 0 || h[i]->hint != PROM_HINT_RESET, "a reset in a chunk");
	}
	expect((r.at + 7) / 8 == len, "length of the chunk");
	return n;
}

static bool
must_end(const Plain *before, const Plain *now, const Kind *k, const PromHistogram *h)
{
	if (k->gauge)
		return false;
	if (h->hint == PROM_HINT_RESET || now->total < before->total || now->zero < before->zero)
		return true;
	for (int side = 0; side < 2; side++)
		for (int b = 0; b < MAX_WIDTH; b++)
			if (now->count[side][b] < before->count[side][b])
				return true;
	return false;
}

static void
one_series(void)
{
	static Plain p[MAX_SAMPLES];
	int64		t_ms[MAX_SAMPLES];
	const PromHistogram *h[MAX_SAMPLES];
	Kind		k = any_kind();
	int			n = 1 + (int) (next_random() % MAX_SAMPLES);
	bool		any_bucket = false;
	PromWireBuffer out = {.grow = grow};

	memset(p, 0, sizeof(p));
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			p[i] = p[i - 1];
		change(&k, &p[i]);
		t_ms[i] = i == 0 ? (int64) next_random() / 2 : t_ms[i - 1] + 1 + (int64) (next_random() % 3 ? 15000 : next_random() >> 24);
		h[i] = make(&k, &p[i], (PromHint) (next_random() % 60 == 0 ? PROM_HINT_RESET : next_random() % 2 ? PROM_HINT_NOT_RESET : PROM_HINT_UNKNOWN));
	}
	for (int at = 0; at < n;)
	{
		/* a float lies behind some of them */
		int			end = next_random() % 3 == 0 ? at + 1 + (int) (next_random() % (n - at)) : n;
		const PromHistogram *behind = end < n ? h[end] : NULL;
		PromChunkEncoding encoding;
		size_t		before = out.len;
		int			took;

		if (end < n)
			h[end] = NULL;
		took = prom_histogram_chunk_encode(&out, take, n - at, t_ms + at, h + at, &encoding);
		if (end < n)
			h[end] = behind;
		expect(took >= 1 && took <= Min(end - at, PROM_XOR_SAMPLES) && !out.full, "how many were taken");
		expect(check_chunk(out.data + before, out.len - before, encoding, &k, t_ms + at, p + at, h + at, &any_bucket) == took,
			   "how many are there");
		at += took;
		expect(at == end || took == PROM_XOR_SAMPLES || must_end(&p[at - 1], &p[at], &k, h[at]) ||
			   out.len - before >= PROM_HISTOGRAM_CHUNK_BYTES, "a chunk that ends early");
	}
	free(out.data);
	while (ntaken > 0)
		free(taken[--ntaken]);
}

int
main(int argc, char **argv)
{
	return fuzz_rounds(fuzz_begin(argc, argv), one_series);
}

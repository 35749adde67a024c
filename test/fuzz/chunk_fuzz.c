/*
 * chunk_fuzz.c
 *	  Attacks the codecs and the block format of prom.chunk without a server.
 *
 *	  chunk_fuzz [seconds [seed]]
 *
 * Each turn does one of: a round trip of one column, with histograms or not; a round trip of a block of many series, in any of
 * its styles; a valid block with bits flipped, cut, repeated or spliced; a head that fits, followed by
 * noise.  What was encoded must come back bit for bit; what is foreign may be refused or taken, but
 * what the verifier takes must be readable, and nothing may touch memory that is not its own: build
 * it with the address and undefined sanitizers.  Buffers are exactly as large as the format promises.
 */
#include "c.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "chunk/codec.h"

/* the server's own would have to be linked */
#undef printf

#define MAX_N		PROM_BLOCK_MAX_SAMPLES

static uint64 state;
static uint64 passed;
static uint64 failed;

static PromValueWork work;
static PromMixedWork mixed_work;
static ZSTD_CCtx *cctx;
static ZSTD_DCtx *dctx;

/* ---- random numbers ---- */

static uint64
next_random(void)
{
	uint64		z = (state += UINT64CONST(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

static int
below(int n)
{
	return (int) (next_random() % (uint64) n);
}

/* Uniform in the number of bits. */
static uint64
any_magnitude(void)
{
	int			bits = below(65);

	return bits == 0 ? 0 : next_random() >> (64 - bits);
}

/* Mostly short columns, sometimes the longest, often at the edges of mini blocks. */
static int
any_length(int max)
{
	int			n;

	switch (below(8))
	{
		case 0:
			n = 1;
			break;
		case 1:
			n = 64 * (1 + below(6)) + below(5) - 2;
			break;
		case 2:
			n = 1 + below(600);
			break;
		case 3:
			n = below(20) == 0 ? max - below(70) : 1 + below(1000);
			break;
		default:
			n = 1 + below(80);
	}
	return Max(1, Min(n, max));
}

static uint64
to_bits(double v)
{
	uint64		u;

	memcpy(&u, &v, sizeof(u));
	return u;
}

static uint64
any_special(void)
{
	static const uint64 bits[] = {
		UINT64CONST(0x7FF0000000000002), UINT64CONST(0x7FF8000000000001),
		UINT64CONST(0x7FF8000000000000), UINT64CONST(0xFFF8000000000000),
		UINT64CONST(0x7FF0000000000001), UINT64CONST(0xFFF0000000000003),
		UINT64CONST(0x7FFFFFFFFFFFFFFF), UINT64CONST(0xFFFFFFFFFFFFFFFF),
		UINT64CONST(0x7FF0000000000000), UINT64CONST(0xFFF0000000000000),
		UINT64CONST(0x8000000000000000), 0, 1, UINT64CONST(0x8000000000000001),
		UINT64CONST(0x000FFFFFFFFFFFFF), UINT64CONST(0x0010000000000000),
		UINT64CONST(0x7FEFFFFFFFFFFFFF), UINT64CONST(0xFFEFFFFFFFFFFFFF),
		UINT64CONST(0x4340000000000000), UINT64CONST(0x433FFFFFFFFFFFFF),
		UINT64CONST(0x4340000000000001), UINT64CONST(0xC340000000000000),
		UINT64CONST(0x4330000000000001), UINT64CONST(0x43E0000000000000),
	};

	return bits[below(lengthof(bits))];
}

/* ---- what columns look like ---- */

/* Strictly ascending; n times of which the last does not pass the end of int64. */
static void
any_times(int64 *t, int n)
{
	int			kind = below(7);
	uint64		step = kind == 0 ? 1 + any_magnitude() / MAX_N / 2 : 1 + below(60000);
	uint64		at = kind == 1 ? (uint64) PG_INT64_MIN : kind == 2 ? (uint64) PG_INT64_MAX - MAX_N :
		kind == 3 ? next_random() >> 20 : UINT64CONST(1700000000000) + next_random() % 100000000;

	for (int i = 0; i < n; i++)
	{
		uint64		room = (uint64) PG_INT64_MAX - at - (uint64) (n - 1 - i);
		uint64		add = step;

		t[i] = (int64) at;
		if (kind == 2)
			add = 1;
		else if (kind == 4)
			add = step + below(5) - Min(step - 1, 2);
		else if (kind == 5 && below(30) == 0)
			add = step * (2 + below(50));
		else if (kind == 6)
			add = 1 + any_magnitude() / (4 * MAX_N);
		at += Min(Max(add, 1), room);
	}
}

static void
any_values(uint64 *bits, int n)
{
	static const double tens[] = {1, 10, 100, 1e3, 1e6, 1e9, 1e12, 1e15, 1e18, 1e22};
	int			kind = below(16);
	double		ten = tens[below(lengthof(tens))];
	double		v = (double) (int64) any_magnitude();
	uint64		word = kind == 15 ? any_special() : next_random();
	uint64		odd = 1 + below(200);

	for (int i = 0; i < n; i++)
	{
		switch (kind)
		{
			case 0:				/* constant */
				break;
			case 1:				/* counter */
				v += below(100);
				break;
			case 2:				/* gauge in pages */
				v += 4096.0 * (below(9) - 4);
				break;
			case 3:				/* resets */
				v = below(60) == 0 ? 0 : v + below(1000);
				break;
			case 4:				/* decimals */
				v = (double) below(100000000) / ten;
				break;
			case 5:				/* sums of decimals */
				v += (double) below(10000) / ten;
				break;
			case 6:				/* full mantissas, walking */
				v += (double) (int64) next_random() * 1e-19;
				break;
			case 7:				/* any bits at all */
				word = next_random();
				break;
			case 8:				/* special ones only */
				word = any_special();
				break;
			case 9:				/* bits that walk */
				word += any_magnitude() >> 40;
				break;
			case 10:			/* a few levels */
				v = below(4) * 0.25;
				break;
			case 11:			/* small and negative */
				v = below(2001) - 1000;
				break;
			case 12:			/* around 2^53 */
				v = 9007199254740992.0 + below(64) - 32;
				break;
			case 13:			/* tiny */
				word = any_magnitude();
				break;
			case 14:			/* magnitudes */
				v = (double) (int64) any_magnitude() / ten;
				break;
		}
		bits[i] = (kind >= 7 && kind <= 9) || kind == 13 || kind == 15 ? word : to_bits(v);
		if (odd <= 20 && below((int) odd * 3) == 0)
			bits[i] = below(2) ? any_special() : next_random();
	}
}

/* ---- judging ---- */

static void
report(const char *what, bool good, const char *detail)
{
	if (good)
	{
		passed++;
		return;
	}
	failed++;
	if (failed <= 20)
		printf("failed: %s: %s\n", what, detail ? detail : "wrong result");
}

static void *
need(size_t size)
{
	void	   *p = malloc(Max(size, 1));

	if (p == NULL)
		abort();
	return p;
}

/* A copy of just these bytes, so that a sanitizer sees every step past them. */
static uint8 *
exact_copy(const uint8 *bytes, size_t len)
{
	uint8	   *copy = need(len);

	memcpy(copy, bytes, len);
	return copy;
}

static void
trip_ints(void)
{
	int			n = any_length(MAX_N);
	int			kind = below(5);
	uint64	   *x = need(n * sizeof(uint64));
	uint64	   *y = need(n * sizeof(uint64));
	uint8	   *out = need(PROM_INT_BOUND(n));
	PromIntBound bound = {0};
	uint64		gcd = below(3) ? 1 : 1 + any_magnitude();
	uint64		at = next_random();
	size_t		len;
	uint8	   *copy;
	PromBytes	in;
	const char *reason;

	for (int i = 0; i < n; i++)
	{
		at = kind == 0 ? next_random() : kind == 1 ? at + gcd * below(50) :
			kind == 2 ? at + gcd * (any_magnitude() >> 30) :
			kind == 3 ? (below(50) ? at : any_magnitude()) : (uint64) i * gcd + below(9);
		x[i] = at;
		prom_int_bound_add(&bound, at);
	}
	memcpy(y, x, n * sizeof(uint64));
	len = prom_int_encode(out, y, n) - out;
	copy = exact_copy(out, len);
	in = prom_bytes(copy, len);
	reason = prom_int_decode(&in, y, n);
	report("integers", reason == NULL && prom_bytes_left(&in) == 0 &&
		   memcmp(x, y, n * sizeof(uint64)) == 0, reason);
	if (n <= PROM_BLOCK_MAX_SERIES)
		report("bound of integers", len <= prom_int_bound_bytes(&bound), NULL);
	free(copy);
	free(out);
	free(x);
	free(y);
}

/* Decimals of any integers, also such as no encoder writes, are what the processor makes of them. */
static void
trip_decimals(void)
{
	int			n = any_length(MAX_N);
	int			e = below(19);
	uint64	   *x = need(n * sizeof(uint64));
	uint64	   *y = need(n * sizeof(uint64));
	uint8	   *out = need(PROM_VALUE_BOUND(n));
	double		p = 1;
	size_t		len;
	const char *reason;
	bool		same = true;

	for (int k = 0; k < e; k++)
		p *= 10;
	for (int i = 0; i < n; i++)
		x[i] = below(4) ? any_magnitude() : next_random();
	memcpy(y, x, n * sizeof(uint64));
	out[0] = (uint8) e;
	len = prom_int_encode(out + 1, y, n) - out;
	reason = prom_value_decode(out, len, y, n, NULL);
	for (int i = 0; i < n && reason == NULL; i++)
	{
		double		v = e == 0 ? (double) (int64) x[i] : (double) (int64) x[i] / p;

		same &= memcmp(&v, &y[i], sizeof(v)) == 0;
	}
	report("decimals", reason == NULL && same, reason);
	free(out);
	free(x);
	free(y);
}

static void
trip_values(void)
{
	int			n = any_length(MAX_N);
	bool		fresh = below(3) == 0;
	uint64	   *x = need(n * sizeof(uint64));
	uint64	   *y = need(n * sizeof(uint64));
	uint64	   *scratch = need(n * sizeof(uint64));
	uint8	   *out = need(PROM_VALUE_BOUND(n));
	size_t		len;
	uint8	   *copy;
	const char *reason;

	any_values(x, n);
	len = (fresh ? prom_value_encode_fresh(out, x, n) : prom_value_encode(out, x, n, &work)) - out;
	copy = exact_copy(out, len);
	reason = fresh ? prom_value_decode_fresh(copy, len, y, n) :
		prom_value_decode(copy, len, y, n, scratch);
	report("values", reason == NULL && memcmp(x, y, n * sizeof(uint64)) == 0, reason);
	free(copy);
	free(out);
	free(x);
	free(y);
	free(scratch);
}

/* ---- columns with histograms ---- */

/* Of valid shape; counts of any kind. */
static PromHistogram *
any_histogram(void)
{
	bool		custom = below(5) == 0;
	uint32		nbuckets[2] = {below(100) == 0 ? 5000 : below(30), custom ? 0 : below(8)};
	uint32		nspans[2] = {nbuckets[0] ? 1 + below(4) : below(2), nbuckets[1] ? 1 + below(3) : 0};
	uint32		ncustom = custom ? nbuckets[0] + 4 * nspans[0] : 0;
	size_t		size = prom_histogram_size(nbuckets[0], nbuckets[1], ncustom, nspans[0], nspans[1]);
	PromHistogram *h = calloc(1, size);

	if (h == NULL)
		abort();
	h->size = (uint32) size;
	h->schema = (int8) (custom ? PROM_HISTOGRAM_CUSTOM_SCHEMA : below(13) - 4);
	h->ncustom = ncustom;
	memcpy(h->nbuckets, nbuckets, sizeof(nbuckets));
	memcpy(h->nspans, nspans, sizeof(nspans));
	for (int side = 0; side < 2; side++)
	{
		PromHistogramSpan *span = prom_histogram_spans(h, (PromHistogramSide) side);
		uint32		left = nbuckets[side];

		for (uint32 i = 0; i < nspans[side]; i++)
		{
			span[i].length = i + 1 == nspans[side] ? left : (uint32) below((int) left + 1);
			span[i].offset = custom ? below(4) : i == 0 ? below(200) - 100 : below(10);
			left -= span[i].length;
		}
	}
	if (!custom)
		h->zero_threshold = below(3) == 0 ? 1e-3 : below(2) ? 0 : 2.938735877055719e-39;
	for (uint32 i = 0; i < ncustom; i++)
		prom_histogram_custom(h)[i] = i * 0.3;
	return h;
}

/* Other counts, or of a counter that goes on. */
static void
any_counts(PromHistogram *h, int kind)
{
	uint32		n = h->nbuckets[0] + h->nbuckets[1];
	double		total;

	h->hint = (uint8) below(4);
	h->is_int = kind < 3;
	h->sum = kind == 0 ? h->sum + below(1000) / 64.0 : (double) below(100000) / 100;
	if (below(50) == 0)
	{
		uint64		special = any_special();

		memcpy(&h->sum, &special, sizeof(special));
	}
	if (h->schema != PROM_HISTOGRAM_CUSTOM_SCHEMA)
		h->zero_count = kind == 0 ? h->zero_count + below(3) : kind == 4 ? (double) below(1000) / 8 : below(9);
	total = h->zero_count;
	for (uint32 i = 0; i < n; i++)
	{
		if (kind == 0)
			h->d[i] += below(4) == 0 ? below(100) : 0;
		else if (kind < 3)
			h->d[i] = (double) (any_magnitude() >> 20);
		else if (kind == 3)
			h->d[i] = below(20) * 0.5;
		else
		{
			uint64		bits = below(10) ? next_random() >> 2 : any_special();

			memcpy(&h->d[i], &bits, sizeof(bits));
		}
		total += h->d[i];
	}
	h->count = kind == 1 ? total + below(5) : kind == 4 ? (double) next_random() : total;
}

static int
any_mixed(PromHistogram **h, uint64 *bits, int max)
{
	int			n = any_length(max);
	int			kind = below(5);
	PromHistogram *last = any_histogram();

	any_values(bits, n);
	for (int i = 0; i < n; i++)
	{
		h[i] = NULL;
		if (below(30) == 0)
			continue;
		if (below(25) == 0)
		{
			free(last);
			last = any_histogram();
		}
		any_counts(last, below(20) ? kind : below(5));
		h[i] = need(last->size);
		memcpy(h[i], last, last->size);
	}
	free(last);
	return n;
}

/* Both steps of decoding, in memory as large as was measured. */
static const char *
read_mixed(const uint8 *bytes, size_t len, int n, uint64 *bits, PromHistogram **h, void **memory)
{
	size_t		size = 0;
	const char *reason = prom_mixed_measure(prom_bytes(bytes, len), n, &size, &mixed_work);

	*memory = NULL;
	if (reason)
		return reason;
	*memory = need(size);
	return prom_mixed_decode(prom_bytes(bytes, len), bits, h, n, *memory, &mixed_work);
}

static void
trip_mixed(void)
{
	enum
	{
		MAX_MIXED = 300
	};
	PromHistogram *h[MAX_MIXED];
	PromHistogram *got[MAX_MIXED];
	uint64		bits[MAX_MIXED];
	uint64		got_bits[MAX_MIXED];
	int			n = any_mixed(h, bits, MAX_MIXED);
	size_t		size;
	size_t		bound = prom_mixed_bound((const PromHistogram *const *) h, n, &size);
	uint8	   *out = need(bound);
	size_t		len = prom_mixed_encode(out, bits, (const PromHistogram *const *) h, n, &mixed_work) - out;
	uint8	   *copy = exact_copy(out, len);
	void	   *memory;
	const char *reason = read_mixed(copy, len, n, got_bits, got, &memory);

	report("bound of histograms", len <= bound, NULL);
	for (int i = 0; i < n && reason == NULL; i++)
	{
		if (h[i] ? got[i] == NULL || got[i]->size != h[i]->size || memcmp(got[i], h[i], h[i]->size) != 0 :
			got[i] != NULL || got_bits[i] != bits[i])
			reason = "samples differ";
	}
	report("histograms", reason == NULL, reason);
	free(copy);
	free(memory);
	for (int turn = 0; turn < 20; turn++)
	{
		size_t		at = next_random() % len;
		size_t		left = below(4) ? len : at;

		copy = exact_copy(out, left);
		for (int blows = below(3); blows >= 0 && left > 0; blows--)
		{
			size_t		reach = below(2) ? left : Min(left, 40);

			copy[next_random() % reach] = below(3) ? (uint8) next_random() : 0xFF;
		}
		reason = read_mixed(copy, left, n, got_bits, got, &memory);
		for (int i = 0; i < n && reason == NULL; i++)
			if (got[i] && prom_histogram_check_shape(got[i], got[i]->size) != NULL)
				reason = "shape";
		report("spoiled histograms", reason == NULL || strcmp(reason, "shape") != 0, reason);
		free(copy);
		free(memory);
	}
	for (int i = 0; i < n; i++)
		free(h[i]);
	free(out);
}

/* ---- blocks ---- */

typedef struct Made
{
	PromBlockParts p;
	int32		sids[PROM_BLOCK_MAX_SERIES];
	uint16		time_of[PROM_BLOCK_MAX_SERIES];
	uint32		value_len[PROM_BLOCK_MAX_SERIES];
	uint16		time_n[PROM_BLOCK_MAX_SERIES];
	int64		time_first[PROM_BLOCK_MAX_SERIES];
	uint32		time_len[PROM_BLOCK_MAX_SERIES];
	int64	   *t[PROM_BLOCK_MAX_SERIES];	/* of time columns */
	uint64	   *v[PROM_BLOCK_MAX_SERIES];	/* of series */
	uint8	   *times;
	uint8	   *values;
	uint8	   *bytes;
	size_t		len;
} Made;

static void
make_times(Made *m, int longest)
{
	PromBlockParts *p = &m->p;

	m->times = need(p->ntimes * PROM_INT_BOUND(longest));
	p->t_min = PG_INT64_MAX;
	p->t_max = PG_INT64_MIN;
	for (int k = 0; k < p->ntimes; k++)
	{
		int			n = below(3) ? longest : any_length(longest);
		int64	   *t = need(n * sizeof(int64));

		any_times(t, n);
		m->t[k] = t;
		m->time_n[k] = (uint16) n;
		m->time_first[k] = t[0];
		m->time_len[k] = (uint32) (prom_time_encode(m->times + p->times_len, t, n, work.a) -
								   (m->times + p->times_len));
		p->times_len += m->time_len[k];
		p->t_min = Min(p->t_min, t[0]);
		p->t_max = Max(p->t_max, t[n - 1]);
	}
	p->times = m->times;
}

static void
make_values(Made *m, int longest)
{
	PromBlockParts *p = &m->p;
	int64		sid = below(4) ? below(100000) : (int64) PG_INT32_MIN + below(1000);

	/* twice as large, for a frame of zstd behind */
	m->values = need(2 * p->nseries * PROM_VALUE_BOUND(longest));
	for (int i = 0; i < p->nseries; i++)
	{
		int			k = i < p->ntimes ? i : below(p->ntimes);
		int			n = m->time_n[k];
		uint8	   *out = m->values + p->values_len;

		m->v[i] = need(n * sizeof(uint64));
		any_values(m->v[i], n);
		m->time_of[i] = (uint16) k;
		m->sids[i] = (int32) sid;
		sid += 1 + (below(3) ? 0 : below(1000));
		m->value_len[i] = (uint32) ((p->flags & PROM_BLOCK_FRESH ?
									 prom_value_encode_fresh(out, m->v[i], n) :
									 prom_value_encode(out, m->v[i], n, &work)) - out);
		p->values_len += m->value_len[i];
	}
	p->values = m->values;
}

static Made *
make_block(bool small)
{
	Made	   *m = calloc(1, sizeof(Made));
	PromBlockParts *p = &m->p;
	int			longest;

	p->flags = below(3) == 0 ? PROM_BLOCK_FRESH : 0;
	p->shard = (int16) next_random();
	p->nseries = below(40) == 0 && !small ? PROM_BLOCK_MAX_SERIES - below(3) : 1 + below(small ? 6 : 70);
	p->ntimes = below(2) ? 1 : 1 + below(p->nseries);
	longest = any_length(small ? 80 : p->nseries > 100 ? 20 : 600);
	p->sids = m->sids;
	p->time_of = m->time_of;
	p->value_len = m->value_len;
	p->time_n = m->time_n;
	p->time_first = m->time_first;
	p->time_len = m->time_len;
	make_times(m, longest);
	make_values(m, longest);
	if (below(3) == 0)
	{
		uint8	   *frame = m->values + p->values_len;
		size_t		n = prom_block_deflate(cctx, frame, m->values, p->values_len);

		if (n > 0)
		{
			p->flags |= PROM_BLOCK_ZSTD;
			p->values = frame;
			p->values_len = n;
		}
	}
	m->bytes = need(prom_block_bound(p));
	m->len = prom_block_write(m->bytes, p);
	return m;
}

static void
free_block(Made *m)
{
	for (int k = 0; k < m->p.ntimes; k++)
		free(m->t[k]);
	for (int i = 0; i < m->p.nseries; i++)
		free(m->v[i]);
	free(m->times);
	free(m->values);
	free(m->bytes);
	free(m);
}

/* All steps of reading; compares with what was made unless that is NULL. */
static const char *
read_block(const uint8 *bytes, size_t len, const Made *m)
{
	PromBlock	b;
	const char *reason = prom_block_head(&b, bytes, len);
	void	   *space = NULL;
	uint8	   *inflated = NULL;
	int64	   *t = NULL;
	uint64	   *v = NULL;
	uint64	   *scratch = NULL;

	if (reason)
		return reason;
	space = need(prom_block_space(&b));
	t = need(b.nsamples * sizeof(int64));
	v = need(b.nsamples * sizeof(uint64));
	scratch = need(b.nsamples * sizeof(uint64));
	reason = prom_block_ids(&b, space);
	if (reason == NULL)
		reason = prom_block_directory(&b);
	if (reason == NULL && b.values == NULL)
	{
		inflated = need(prom_block_inflate_space(&b));
		reason = prom_block_inflate(&b, dctx, inflated);
	}
	if (reason == NULL)
		reason = prom_block_verify(&b, t, v, scratch);
	if (reason == NULL && m)
	{
		if (b.shard != m->p.shard || b.nseries != m->p.nseries || b.t_min != m->p.t_min ||
			b.t_max != m->p.t_max || memcmp(b.sids, m->sids, b.nseries * sizeof(int32)) != 0)
			reason = "head differs";
		for (int i = 0; i < b.nseries && reason == NULL; i++)
		{
			int			k = b.time_of[i];
			int			n = b.time_n[k];

			if (n != m->time_n[m->time_of[i]] || prom_block_time(&b, k, t) != NULL ||
				memcmp(t, m->t[m->time_of[i]], n * sizeof(int64)) != 0)
				reason = "times differ";
			else if (prom_block_value(&b, i, v, scratch) != NULL ||
					 memcmp(v, m->v[i], n * sizeof(uint64)) != 0)
				reason = "values differ";
		}
	}
	free(space);
	free(t);
	free(v);
	free(scratch);
	free(inflated);
	return reason;
}

static void
trip_block(void)
{
	Made	   *m = make_block(false);
	uint8	   *copy = exact_copy(m->bytes, m->len);
	const char *reason = read_block(copy, m->len, m);

	report("block", reason == NULL, reason);
	free(copy);
	free_block(m);
}

/* Spoil a valid block in many ways; none may do harm. */
static void
attack_block(void)
{
	Made	   *m = make_block(true);

	for (int turn = 0; turn < 50; turn++)
	{
		size_t		len = m->len;
		uint8	   *bytes = need(len + 16);
		uint8	   *copy;
		int			blows = 1 + below(4);

		memcpy(bytes, m->bytes, len);
		for (int k = 0; k < blows && len > 0; k++)
		{
			/* the directory is what is worth hitting */
			size_t		at = next_random() % (below(2) ? len : Min(len, 60));

			switch (below(6))
			{
				case 0:
					len = at;
					break;
				case 1:
					bytes[at] ^= (uint8) (1 << below(8));
					break;
				case 2:
					bytes[at] = (uint8) next_random();
					break;
				case 3:
					bytes[at] = below(2) ? 0xFF : 0x80;
					break;
				case 4:
					bytes[at] = m->bytes[next_random() % m->len];
					break;
				case 5:
					if (len < m->len + 16)
						bytes[len++] = (uint8) next_random();
					break;
			}
		}
		copy = exact_copy(bytes, len);
		(void) read_block(copy, len, NULL);
		passed++;
		free(copy);
		free(bytes);
	}
	free_block(m);
}

/* A head that fits, then noise. */
static void
attack_noise(void)
{
	int			len = below(200);
	uint8	   *bytes = need(len);

	for (int i = 0; i < len; i++)
		bytes[i] = (uint8) (below(3) ? below(8) : next_random());
	if (len > 1 && below(8))
	{
		bytes[0] = PROM_BLOCK_FORMAT;
		bytes[1] = (uint8) (PROM_BLOCK_IDS | (below(16) & PROM_BLOCK_FLAGS));
	}
	(void) read_block(bytes, len, NULL);
	passed++;
	free(bytes);
}

/* Noise as a column: the decoders themselves, deeper than a block lets noise come. */
static void
attack_column(void)
{
	int			len = below(100);
	int			n = any_length(MAX_N);
	uint8	   *bytes = need(len);
	uint64	   *x = need(n * sizeof(uint64));
	uint64	   *scratch = need(n * sizeof(uint64));
	PromBytes	in = prom_bytes(bytes, len);

	for (int i = 0; i < len; i++)
		bytes[i] = (uint8) next_random();
	if (len > 0)
		bytes[0] &= below(4) ? 0xE7 : 0xFF;
	if (len > 1)
		bytes[1] &= 0x37;
	(void) prom_value_decode(bytes, len, x, n, scratch);
	(void) prom_value_decode_fresh(bytes, len, x, n);
	(void) prom_time_decode(bytes, len, (int64) next_random(), (int64 *) x, n);
	(void) prom_int_decode(&in, x, n);
	passed++;
	free(bytes);
	free(x);
	free(scratch);
}

int
main(int argc, char **argv)
{
	int			seconds = argc > 1 ? atoi(argv[1]) : 10;
	time_t		end = time(NULL) + seconds;

	state = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64) time(NULL);
	printf("seed %llu\n", (unsigned long long) state);
	cctx = ZSTD_createCCtx();
	dctx = ZSTD_createDCtx();
	if (cctx == NULL || dctx == NULL)
		return 2;
	do
	{
		for (int i = 0; i < 20; i++)
		{
			trip_ints();
			trip_values();
			trip_decimals();
			attack_noise();
			attack_column();
		}
		trip_mixed();
		trip_block();
		attack_block();
	} while (time(NULL) < end);
	ZSTD_freeCCtx(cctx);
	ZSTD_freeDCtx(dctx);
	printf("%llu passed, %llu failed\n", (unsigned long long) passed, (unsigned long long) failed);
	return failed > 0;
}

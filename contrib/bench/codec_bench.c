/*
 * codec_bench.c
 *	  Bytes and nanoseconds per sample of prom.chunk's codecs on recorded series.
 *
 *	  codec_bench FILE [samples [every]]
 *
 * FILE (uncompressed): "PMDS0001" | u32 sets | char name[16] | u32 nseries | nseries * { u32 target |
 * u32 metric | u32 len | labels | u32 n | i64 t_ms[n] | u64 bits[n] }, series sorted by target and
 * metric.  Cuts blocks of 64 series of one target and "samples" (480) samples, taking every n-th
 * sample only, and prints all of them, then those series alone that change within the block; then one
 * fresh block per 1000 series with one sample each.  Every block is read back and compared.  The time of
 * a block is the least of a few, for whatever else runs on the machine only adds to it.
 *
 * Build, with the flags that the Makefile has for these files:
 *	  cc -O2 -ftree-vectorize -funroll-loops -Isrc -I`pg_config --includedir-server` \
 *		  contrib/bench/codec_bench.c src/chunk/codec_*.c src/chunk/block.c src/histogram/check.c -lzstd -o codec_bench
 */
#include "c.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "chunk/codec.h"

/* the server's own would have to be linked */
#undef printf
#undef fprintf
#undef snprintf

#define GROUP	64
#define FRESH	1000
#define REPEAT	9
#define ONES	5				/* columns read alone */

typedef struct Series
{
	uint32		target;
	int			n;
	int64	   *t;
	uint64	   *v;
} Series;

typedef struct Sums
{
	uint64		samples;
	uint64		blocks;
	uint64		bytes;
	uint64		zstd_bytes;
	uint64		time_bytes;
	double		encode_ns;
	double		decode_ns;
	double		one_ns;			/* one series out of a block */
} Sums;

static PromValueWork work;
static ZSTD_CCtx *cctx;
static uint8 out[64 * 1024 * 1024];
static uint8 values[32 * 1024 * 1024];
static uint8 frame[32 * 1024 * 1024];
static uint8 times[1024 * 1024];

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void
die(const char *why)
{
	fprintf(stderr, "codec_bench: %s\n", why);
	exit(1);
}

static uint32
take_u32(const uint8 **p)
{
	uint32		v;

	memcpy(&v, *p, 4);
	*p += 4;
	return v;
}

/* The series of the file, every n-th sample. */
static Series *
load(const char *path, int every, int *count)
{
	FILE	   *f = fopen(path, "rb");
	long		size;
	uint8	   *all;
	const uint8 *p;
	Series	   *s;

	if (f == NULL || fseek(f, 0, SEEK_END) != 0)
		die("cannot open the file");
	size = ftell(f);
	rewind(f);
	all = malloc(size);
	if (all == NULL || fread(all, 1, size, f) != (size_t) size || memcmp(all, "PMDS0001", 8) != 0)
		die("not such a file");
	fclose(f);
	p = all + 8 + 4 + 16;
	*count = take_u32(&p);
	s = calloc(*count, sizeof(Series));
	for (int i = 0; i < *count; i++)
	{
		int			n;

		s[i].target = take_u32(&p);
		(void) take_u32(&p);
		p += take_u32(&p);
		n = take_u32(&p);
		s[i].t = malloc(n * sizeof(int64));
		s[i].v = malloc(n * sizeof(uint64));
		for (int j = 0; j < n; j += every, s[i].n++)
		{
			memcpy(&s[i].t[s[i].n], p + 8 * (size_t) j, 8);
			memcpy(&s[i].v[s[i].n], p + 8 * ((size_t) n + j), 8);
		}
		p += 16 * (size_t) n;
	}
	free(all);
	return s;
}

/* One block of g series, samples from .. from+n-1 of each, as build.c makes it. */
static size_t
encode(Series **s, int g, int from, int n, uint8 flags, PromBlockParts *p)
{
	static int32 sids[PROM_BLOCK_MAX_SERIES];
	static uint16 time_of[PROM_BLOCK_MAX_SERIES];
	static uint16 time_n[PROM_BLOCK_MAX_SERIES];
	static int64 time_first[PROM_BLOCK_MAX_SERIES];
	static uint32 value_len[PROM_BLOCK_MAX_SERIES];
	static uint32 time_len[PROM_BLOCK_MAX_SERIES];
	static const int64 *column[PROM_BLOCK_MAX_SERIES];
	uint8	   *v = values;
	uint8	   *t = times;

	memset(p, 0, sizeof(*p));
	p->flags = flags;
	p->nseries = g;
	p->t_min = PG_INT64_MAX;
	p->t_max = PG_INT64_MIN;
	for (int i = 0; i < g; i++)
	{
		const int64 *ts = s[i]->t + from;
		uint8	   *start = v;
		int			k;

		sids[i] = 1000 + i;
		k = i > 0 ? time_of[i - 1] : -1;
		if (k < 0 || memcmp(column[k], ts, n * sizeof(int64)) != 0)
			for (k = p->ntimes - 1; k >= 0; k--)
				if (memcmp(column[k], ts, n * sizeof(int64)) == 0)
					break;
		if (k < 0)
		{
			start = t;
			k = p->ntimes++;
			column[k] = ts;
			time_n[k] = n;
			time_first[k] = ts[0];
			t = prom_time_encode(t, ts, n, work.a);
			time_len[k] = t - start;
			p->t_min = Min(p->t_min, ts[0]);
			p->t_max = Max(p->t_max, ts[n - 1]);
		}
		time_of[i] = k;
		start = v;
		v = flags & PROM_BLOCK_FRESH ? prom_value_encode_fresh(v, s[i]->v + from, n) :
			prom_value_encode(v, s[i]->v + from, n, &work);
		value_len[i] = v - start;
	}
	p->sids = sids;
	p->time_of = time_of;
	p->time_n = time_n;
	p->time_first = time_first;
	p->value_len = value_len;
	p->time_len = time_len;
	p->times = times;
	p->times_len = t - times;
	p->values = values;
	p->values_len = v - values;
	return prom_block_write(out, p);
}

/* Decode columns first .. last-1 of the block; compare if there is something to compare with. */
static void
decode(size_t len, int first, int last, Series **s, int from)
{
	static uint64 space[PROM_BLOCK_MAX_SERIES * 8];
	static int64 t[PROM_BLOCK_MAX_SAMPLES];
	static uint64 bits[PROM_BLOCK_MAX_SAMPLES];
	PromBlock	b;
	int			have = -1;

	if (prom_block_head(&b, out, len) || prom_block_ids(&b, space) || prom_block_directory(&b))
		die("block is broken");
	for (int i = first; i < last; i++)
	{
		int			n = b.time_n[b.time_of[i]];

		if (have != b.time_of[i] && prom_block_time(&b, b.time_of[i], t))
			die("times are broken");
		have = b.time_of[i];
		if (prom_block_value(&b, i, bits, work.b))
			die("values are broken");
		if (s && (memcmp(t, s[i]->t + from, n * 8) != 0 || memcmp(bits, s[i]->v + from, n * 8) != 0))
			die("samples differ");
	}
}

static void
measure(Series **s, int g, int from, int n, uint8 flags, Sums *sums)
{
	PromBlockParts p;
	size_t		len = 0;
	size_t		zstd;
	double		encode_ns = DBL_MAX;
	double		decode_ns = DBL_MAX;
	double		one_ns = 0;

	for (int r = 0; r < REPEAT; r++)
	{
		double		t0 = now_ns();

		len = encode(s, g, from, n, flags, &p);
		encode_ns = Min(encode_ns, now_ns() - t0);
	}
	decode(len, 0, g, s, from);
	for (int r = 0; r < REPEAT; r++)
	{
		double		t0 = now_ns();

		decode(len, 0, g, NULL, from);
		decode_ns = Min(decode_ns, now_ns() - t0);
	}
	for (int k = 0; k < ONES; k++)
	{
		int			column = k * 17 % g;
		double		least = DBL_MAX;

		for (int r = 0; r < REPEAT; r++)
		{
			double		t0 = now_ns();

			decode(len, column, column + 1, NULL, from);
			least = Min(least, now_ns() - t0);
		}
		one_ns += least / ONES;
	}
	sums->encode_ns += encode_ns;
	sums->decode_ns += decode_ns;
	sums->one_ns += one_ns;
	zstd = prom_block_deflate(cctx, frame, values, p.values_len);
	sums->bytes += len;
	sums->zstd_bytes += zstd ? len - p.values_len + zstd : len;
	sums->time_bytes += p.times_len;
	sums->samples += (uint64) g * n;
	sums->blocks++;
}

static void
print_sums(const char *what, const Sums *s)
{
	double		n = (double) Max(s->samples, 1);

	printf("%-22s %9llu samples  %.3f B/sample (times %.3f), zstd %.3f  encode %.1f ns, decode %.2f ns, one series %.2f us\n",
		   what, (unsigned long long) s->samples, s->bytes / n, s->time_bytes / n, s->zstd_bytes / n,
		   s->encode_ns / n, s->decode_ns / n, s->one_ns / 1000 / Max(s->blocks, 1));
}

static bool
changes(const Series *s, int from, int n)
{
	return memcmp(s->v + from, s->v + from + 1, (n - 1) * sizeof(uint64)) != 0;
}

static void
bench_blocks(Series *s, int count, int n, bool changing, const char *what)
{
	Sums		sums = {0};
	Series	   *group[GROUP];

	for (int from = 0;; from += n)
	{
		int			g = 0;
		bool		any = false;

		for (int i = 0; i < count; i++)
		{
			if (g > 0 && (g == GROUP || group[0]->target != s[i].target))
			{
				measure(group, g, from, n, 0, &sums);
				g = 0;
			}
			if (from + n > s[i].n)
				continue;
			any = true;
			if (!changing || changes(&s[i], from, n))
				group[g++] = &s[i];
		}
		if (g > 0)
			measure(group, g, from, n, 0, &sums);
		if (!any)
			break;
	}
	print_sums(what, &sums);
}

static void
bench_fresh(Series *s, int count, int n)
{
	Sums		sums = {0};
	Series	   *group[FRESH];
	char		what[32];

	for (int from = 0; from < 20 * n; from += n)
		for (int i = 0; i < count; i += FRESH)
		{
			int			g = 0;

			for (int j = i; j < count && g < FRESH; j++)
				if (from + n <= s[j].n)
					group[g++] = &s[j];
			measure(group, g, from, n, PROM_BLOCK_FRESH, &sums);
		}
	snprintf(what, sizeof(what), "fresh, %d a series", n);
	print_sums(what, &sums);
}

int
main(int argc, char **argv)
{
	int			n = argc > 2 ? atoi(argv[2]) : 480;
	int			every = argc > 3 ? atoi(argv[3]) : 1;
	int			count;
	Series	   *s;

	if (argc < 2 || n < 2 || n > PROM_BLOCK_MAX_SAMPLES || every < 1)
		die("usage: codec_bench FILE [samples [every]]");
	cctx = ZSTD_createCCtx();
	s = load(argv[1], every, &count);
	bench_blocks(s, count, n, false, "all series");
	bench_blocks(s, count, n, true, "changing series");
	bench_fresh(s, count, 1);
	bench_fresh(s, count, 4);
	return 0;
}

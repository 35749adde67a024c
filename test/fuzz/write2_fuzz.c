/*
 * write2_fuzz.c
 *	  Throws bytes at the walk over remote write 2.0, and at gzip and zstd, outside the server.
 *
 *		write2_fuzz SECONDS [SEED]
 *
 * Each round builds a request whose contents are known, reads it back and compares; then damages it and
 * reads again: whatever comes, each series handed out must be one of version 1 that its iterators
 * agree with.  Buffers are exactly as long as they must be, and at times refuse to grow.
 */
#include "c.h"

#include <zlib.h>
#include <zstd.h>

#include "wire/put.h"

#include "buffer.h"

#define MAX_SYMBOLS		12
#define MAX_SERIES		6
#define MAX_ITEMS		5
#define DAMAGED_COPIES	20

typedef struct Expected
{
	int			nlabels;
	int			refs[2 * MAX_ITEMS];
	int			nsamples;
	int64		t_ms[MAX_ITEMS];
	double		values[MAX_ITEMS];
	int			nexemplars;
	uint32		type;
	bool		bad;			/* a reference is out of range */
} Expected;


static void
put_series(PromWireBuffer *out, Expected *e, int nsymbols)
{
	size_t		series = put_open(out, 5);
	size_t		refs;

	memset(e, 0, sizeof(*e));
	e->nlabels = 1 + (int) below(MAX_ITEMS - 1);
	e->bad = below(10) == 0;
	for (int i = 0; i < 2 * e->nlabels; i++)
		e->refs[i] = 1 + (int) below(nsymbols - 1);
	if (e->bad)
		e->refs[below(2 * e->nlabels)] = nsymbols + (int) below(1000);
	if (below(2) == 0)
	{
		refs = put_open(out, 1);
		for (int i = 0; i < 2 * e->nlabels; i++)
			put_varint(out, e->refs[i]);
		put_close(out, refs);
	}
	else
	{
		for (int i = 0; i < 2 * e->nlabels; i++)
			put_number(out, 1, e->refs[i]);
	}
	e->nsamples = (int) below(MAX_ITEMS);
	for (int i = 0; i < e->nsamples; i++)
	{
		size_t		sample = put_open(out, 2);

		e->t_ms[i] = (int64) next_random();
		e->values[i] = (double) (int64) next_random();
		put_double(out, 1, e->values[i]);
		put_number(out, 2, (uint64) e->t_ms[i]);
		put_number(out, 3, next_random());
		put_close(out, sample);
	}
	e->nexemplars = (int) below(3);
	for (int i = 0; i < e->nexemplars; i++)
	{
		size_t		exemplar = put_open(out, 4);

		put_number(out, 1, below(nsymbols));
		put_number(out, 1, below(nsymbols));
		put_double(out, 2, 1);
		put_number(out, 3, 5);
		put_close(out, exemplar);
	}
	if (below(2) == 0)
	{
		size_t		metadata = put_open(out, 5);

		e->type = (uint32) below(8);
		put_number(out, 1, e->type);
		put_number(out, 3, below(nsymbols));
		put_number(out, 4, 0);
		put_close(out, metadata);
	}
	put_close(out, series);
}

static void
check_series(const PromWrite2Series *s, const Expected *e, char symbols[][16])
{
	size_t		pos = 0;
	PromWriteLabel l;
	int64		t_ms;
	double		value;
	int			n = 0;

	expect((s->refused != NULL) == e->bad, "a bad reference is told");
	expect(s->series.nsamples == e->nsamples, "as many samples");
	expect(s->series.nexemplars == e->nexemplars && s->bad_exemplars == 0, "as many exemplars");
	expect(s->metadata.type == e->type, "type");
	while (prom_write_sample(&s->series, &pos, &t_ms, &value))
	{
		expect(n < e->nsamples && t_ms == e->t_ms[n] && value == e->values[n], "sample");
		n++;
	}
	if (e->bad)
		return;
	expect(s->series.nlabels == e->nlabels, "as many labels");
	pos = 0;
	for (n = 0; prom_write_label(&s->series, &pos, &l); n++)
	{
		const char *name = symbols[e->refs[2 * n]];
		const char *text = symbols[e->refs[2 * n + 1]];

		expect(l.name_len == strlen(name) && memcmp(l.name, name, l.name_len) == 0 &&
			  l.value_len == strlen(text) && memcmp(l.value, text, l.value_len) == 0, "label");
	}
}

/* Reads whatever it is; "expected" may be NULL. */
static void
read_all(const uint8 *bytes, size_t len, const Expected *expected, int nseries, char symbols[][16])
{
	uint8	   *copy = malloc(Max(len, 1));
	PromWireBuffer table = {.grow = grow};
	PromWireBuffer out = {.grow = grow};
	PromWrite2Walk walk;
	PromWrite2Series s;
	PromWireError err = {NULL, 0};
	PromWriteItem item = PROM_WRITE_BAD;
	int			n = 0;

	memcpy(copy, bytes, len);
	if (prom_write2_begin(&walk, copy, len, expected == NULL && below(2) == 0, &table, &err))
	{
		while ((item = prom_write2_next(&walk, &out, &s, &err)) == PROM_WRITE_SERIES)
		{
			PromWriteSeries again;
			PromWriteSeries exemplar;
			PromWriteLabel l;
			size_t		pos = 0;
			uint32		count = 0;
			int64		t_ms;
			double		value;

			expect(prom_write_series(out.data, out.len, &again, &err), "a series of version 1");
			while (prom_write_label(&s.series, &pos, &l))
				count++;
			expect(count == s.series.nlabels, "labels are as many as counted");
			for (pos = 0, count = 0; prom_write_exemplar(&s.series, &pos, &exemplar, &t_ms, &value);)
				count++;
			expect(count == s.series.nexemplars, "exemplars are as many as counted");
			if (expected && n < nseries)
				check_series(&s, &expected[n], symbols);
			n++;
		}
	}
	if (item == PROM_WRITE_BAD)
		expect(err.reason != NULL && err.offset <= len, "a reason and a place within");
	if (expected)
		expect(item == PROM_WRITE_END && n == nseries, "all series");
	free(table.data);
	free(out.data);
	free(copy);
}

/* Through an encoder and back; then damaged. */
static void
check_encodings(const uint8 *bytes, size_t len)
{
	size_t		room = compressBound(len) + ZSTD_compressBound(len) + 64;
	uint8	   *packed = malloc(room);
	PromWireError err;

	for (int zstd = 0; zstd < 2; zstd++)
	{
		size_t		n;

		if (zstd)
			n = ZSTD_compress(packed, room, bytes, len, 1);
		else
		{
			z_stream	z = {0};

			deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
			z.next_in = (uint8 *) bytes;
			z.avail_in = len;
			z.next_out = packed;
			z.avail_out = room;
			deflate(&z, Z_FINISH);
			n = room - z.avail_out;
			deflateEnd(&z);
		}
		for (int i = 0; i < 6; i++)
		{
			PromWireBuffer out = {.grow = grow};
			size_t		cap = i == 1 ? len - 1 : len;
			uint8	   *copy = malloc(n);
			bool		ok;

			memcpy(copy, packed, n);
			if (i > 1)
				copy[below(n)] ^= 1 << below(8);
			ok = zstd ? prom_zstd_decode(copy, n, cap, &out, &err) : prom_gzip_decode(copy, n, cap, &out, &err);
			if (i == 0)
				expect(ok && out.len == len && memcmp(out.data, bytes, len) == 0, "decoded as it was encoded");
			else if (i == 1)
				expect(!ok, "a byte over the cap");
			else
				expect(out.len <= cap + 1, "never over the cap");
			free(out.data);
			free(copy);
		}
	}
	free(packed);
}

static void
one_round(void)
{
	PromWireBuffer b = {.grow = grow};
	char		symbols[MAX_SYMBOLS][16] = {""};
	Expected	expected[MAX_SERIES];
	int			nsymbols = 3 + (int) below(MAX_SYMBOLS - 2);
	int			nseries = (int) below(MAX_SERIES);

	stubborn = false;
	put_text(&b, 4, "", 0);
	for (int i = 1; i < nsymbols; i++)
	{
		snprintf(symbols[i], sizeof(symbols[i]), "%.*s%d", (int) below(8), "__name__", i);
		if (i == 1)
			strcpy(symbols[i], "__name__");
		put_text(&b, 4, symbols[i], strlen(symbols[i]));
	}
	for (int i = 0; i < nseries; i++)
		put_series(&b, &expected[i], nsymbols);
	read_all(b.data, b.len, expected, nseries, symbols);
	check_encodings(b.data, b.len);
	for (int i = 0; i < DAMAGED_COPIES; i++)
	{
		size_t		len = b.len;
		uint8	   *copy = damaged_copy(b.data, &len);

		stubborn = below(2) == 0;
		read_all(copy, len, NULL, 0, NULL);
		stubborn = false;
		free(copy);
	}
	free(b.data);
}

int
main(int argc, char **argv)
{
	return fuzz_rounds(fuzz_begin(argc, argv), one_round);
}

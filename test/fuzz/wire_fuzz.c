/*
 * wire_fuzz.c
 *	  Throws bytes at the remote_write walk and at snappy, outside the server.
 *
 *		wire_fuzz SECONDS [SEED]
 *
 * Each round builds a WriteRequest whose contents are known, reads it back and compares; then damages
 * it and reads again: whatever comes, every pointer handed out must lie inside the message, and the
 * iterators must yield as many labels and samples as the walk counted.  Inputs are copied into blocks
 * of exactly their size, so that the address sanitizer sees the first byte read too far.
 *
 * Compile with
 *		cc -g -O1 -fsanitize=address,undefined -Isrc -I$(pg_config --includedir-server)
 *			test/fuzz/wire_fuzz.c src/wire/remote_write.c src/wire/snappy.c -lsnappy
 */
#include "c.h"

#include <snappy-c.h>
#include <time.h>

#include "common/bytes.h"
#include "wire/wire.h"

#undef printf					/* the server's own is not linked */

#define MAX_MESSAGE		(1 << 16)
#define MAX_SERIES		8
#define MAX_ITEMS		6
#define DAMAGED_COPIES	20

typedef struct Buffer
{
	uint8		bytes[MAX_MESSAGE];
	size_t		len;
} Buffer;

typedef struct Expected
{
	int			nlabels;
	int			nsamples;
	char		text[2 * MAX_ITEMS][24];	/* name, value, name, ... */
	int64		t_ms[MAX_ITEMS];
	uint64		bits[MAX_ITEMS];
	bool		together;
} Expected;

static uint64 random_state;
static long passed;
static long failed;

static uint64
next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64
below(uint64 n)
{
	return next_random() % n;
}

static void
check(bool ok, const char *what)
{
	if (ok)
		passed++;
	else if (failed++ < 20)
		printf("failed: %s\n", what);
}

static void
put_varint(Buffer *b, uint64 v)
{
	b->len = prom_put_varint(b->bytes + b->len, v) - b->bytes;
}

static void
put_bytes(Buffer *b, int field, const void *bytes, size_t len)
{
	put_varint(b, (uint64) field << 3 | 2);
	put_varint(b, len);
	if (len > 0)
		memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
}

static void
put_fixed(Buffer *b, int field, uint64 v, int bytes)
{
	put_varint(b, (uint64) field << 3 | (bytes == 8 ? 1 : 5));
	for (int i = 0; i < bytes; i++)
		b->bytes[b->len++] = (uint8) (v >> 8 * i);
}

/* Fields that a later protocol might have. */
static void
put_unknown(Buffer *b)
{
	int			field = 16 + (int) below(1000);

	switch (below(12))
	{
		case 0:
			put_varint(b, (uint64) field << 3);
			put_varint(b, next_random());
			break;
		case 1:
			put_fixed(b, field, next_random(), 8);
			break;
		case 2:
			put_fixed(b, field, next_random(), 4);
			break;
		case 3:
			put_bytes(b, field, "\xff\xff\xff", below(4));
			break;
	}
}

static void
put_label(Buffer *b, Expected *e)
{
	Buffer		label = {.len = 0};
	int			n = e->nlabels++;

	for (int i = 0; i < 2; i++)
	{
		int			len = (int) below(sizeof(e->text[0]));

		for (int j = 0; j < len; j++)
			e->text[2 * n + i][j] = (char) ('a' + below(26));
		e->text[2 * n + i][len] = '\0';
		put_unknown(&label);
		if (len > 0 || below(2))
			put_bytes(&label, i + 1, e->text[2 * n + i], len);
	}
	put_bytes(b, 1, label.bytes, label.len);
}

static void
put_sample(Buffer *b, Expected *e)
{
	Buffer		sample = {.len = 0};
	int			n = e->nsamples++;

	e->t_ms[n] = below(3) ? (int64) (next_random() >> 20) : (int64) next_random();
	e->bits[n] = below(4) ? next_random() : 0;
	put_unknown(&sample);
	if (e->bits[n] != 0 || below(2))
		put_fixed(&sample, 1, e->bits[n], 8);
	put_varint(&sample, 2 << 3);
	put_varint(&sample, (uint64) e->t_ms[n]);
	put_bytes(b, 2, sample.bytes, sample.len);
}

static void
put_series(Buffer *b, Expected *e)
{
	Buffer		series = {.len = 0};
	int			nlabels = (int) below(MAX_ITEMS);
	int			nsamples = (int) below(MAX_ITEMS);
	bool		scattered = below(4) == 0;

	memset(e, 0, sizeof(*e));
	e->together = true;
	for (int i = 0; i < nlabels; i++)
	{
		size_t		before = series.len;

		if (scattered && i > 0)
			put_unknown(&series);
		e->together &= series.len == before;
		put_label(&series, e);
	}
	put_unknown(&series);
	for (int i = 0; i < nsamples; i++)
		put_sample(&series, e);
	if (below(4) == 0)
		put_bytes(&series, 3 + (int) below(2), NULL, 0);
	put_bytes(b, 1, series.bytes, series.len);
}

static void
check_series(const PromWriteSeries *s, const Expected *e)
{
	PromWriteLabel l;
	size_t		pos = 0;
	int64		t_ms;
	double		value;
	uint64		bits;

	check(s->nlabels == (uint32) e->nlabels, "number of labels");
	check(s->nsamples == (uint32) e->nsamples, "number of samples");
	check((s->labels_len > 0) == (e->together && e->nlabels > 0), "labels stand together");
	for (int i = 0; i < e->nlabels; i++)
	{
		const char *name = e->text[2 * i];
		const char *text = e->text[2 * i + 1];

		check(prom_write_label(s, &pos, &l) &&
			  l.name_len == strlen(name) && memcmp(l.name, name, l.name_len) == 0 &&
			  l.value_len == strlen(text) && memcmp(l.value, text, l.value_len) == 0, "label");
	}
	check(!prom_write_label(s, &pos, &l), "end of labels");
	pos = 0;
	for (int i = 0; i < e->nsamples; i++)
	{
		bool		got = prom_write_sample(s, &pos, &t_ms, &value);

		memcpy(&bits, &value, sizeof(bits));
		check(got && t_ms == e->t_ms[i] && bits == e->bits[i], "sample");
	}
	check(!prom_write_sample(s, &pos, &t_ms, &value), "end of samples");
}

static void
check_whole(const Buffer *b, const Expected *e, int nseries, int nmetadata)
{
	PromWriteWalk w;
	PromWriteSeries s;
	PromWriteMetadata m;
	PromWireError err;
	PromWriteItem item;
	int			series = 0;
	int			metadata = 0;

	prom_write_begin(&w, b->bytes, b->len);
	while ((item = prom_write_next(&w, &s, &m, &err)) != PROM_WRITE_END && item != PROM_WRITE_BAD)
	{
		if (item == PROM_WRITE_METADATA)
			check(++metadata <= nmetadata && m.family_len == 6 && memcmp(m.family, "family", 6) == 0 &&
				  m.type == 1, "metadata");
		else if (series < nseries)
			check_series(&s, &e[series++]);
		else
			check(false, "too many series");
	}
	check(item == PROM_WRITE_END && series == nseries && metadata == nmetadata, "whole message");
}

static bool
inside(const void *p, size_t len, const uint8 *start, size_t total)
{
	return len == 0 ||
		((const uint8 *) p >= start && (const uint8 *) p + len <= start + total);
}

/* Whatever the bytes are: stay inside, keep the promised counts, and end. */
static void
check_any(const uint8 *bytes, size_t len)
{
	uint8	   *copy = malloc(Max(len, 1));
	PromWriteWalk w;
	PromWriteSeries s;
	PromWriteMetadata m;
	PromWireError err = {NULL, 0};
	PromWriteItem item;
	bool		ok = true;

	memcpy(copy, bytes, len);
	prom_write_begin(&w, copy, len);
	while ((item = prom_write_next(&w, &s, &m, &err)) != PROM_WRITE_END && item != PROM_WRITE_BAD)
	{
		PromWriteLabel l;
		size_t		pos = 0;
		uint32		n = 0;
		int64		t_ms;
		double		value;

		if (item == PROM_WRITE_METADATA)
		{
			ok &= inside(m.family, m.family_len, copy, len) &&
				inside(m.help, m.help_len, copy, len) && inside(m.unit, m.unit_len, copy, len);
			continue;
		}
		for (; prom_write_label(&s, &pos, &l); n++)
			ok &= inside(l.name, l.name_len, copy, len) && inside(l.value, l.value_len, copy, len);
		ok &= n == s.nlabels && inside(s.labels, s.labels_len, copy, len);
		for (n = 0, pos = 0; prom_write_sample(&s, &pos, &t_ms, &value);)
			n++;
		ok &= n == s.nsamples;
	}
	if (item == PROM_WRITE_BAD)
		ok &= err.reason != NULL && err.offset <= len &&
			prom_write_next(&w, &s, &m, &err) == PROM_WRITE_END;
	check(ok, "damaged message");
	free(copy);
}

/* Known bad messages: what is said of them, and where. */
static void
check_refused(void)
{
	static const struct
	{
		const char *bytes;
		size_t		len;
		size_t		offset;
		const char *reason;
	}			bad[] =
	{
		{"\x0a", 1, 0, "length is malformed or past the end of the message"},
		{"\x0a\xff\xff\xff\xff\x0f", 6, 0, "length is malformed or past the end of the message"},
		{"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, 0, "length is malformed or past the end of the message"},
		{"\x0a\x00\x80", 3, 2, "truncated or overlong field tag"},
		{"\x02\x00", 2, 0, "field number out of range"},
		{"\x82\x80\x80\x80\x20\x00", 6, 0, "field number out of range"},
		{"\x08\x01", 2, 0, "wrong wire type of a series or metadata"},
		{"\x23\x24", 2, 0, "groups are not supported"},
		{"\x26\x00", 2, 0, "unknown wire type"},
		{"\x20\x80", 2, 0, "truncated or overlong varint"},
		{"\x0a\x02\x0d\x00", 4, 2, "length is malformed or past the end of the message"},
		{"\x0a\x02\x08\x00", 4, 2, "wrong wire type of a label, sample, exemplar or histogram"},
		{"\x0a\x04\x0a\x02\x08\x01", 6, 4, "wrong wire type of a label's name or value"},
		{"\x0a\x06\x0a\x04\x0a\x01\x61\x12", 8, 7, "length is malformed or past the end of the message"},
		{"\x0a\x04\x12\x02\x08\x01", 6, 4, "wrong wire type of a sample's value or timestamp"},
		{"\x0a\x05\x12\x03\x09\x01\x02", 7, 4, "length is malformed or past the end of the message"},
		{"\x0a\x04\x22\x02\x0b\x0c", 6, 4, "groups are not supported"},
		{"\x1a\x02\x10\x01", 4, 2, "wrong wire type in metadata"},
	};

	for (int i = 0; i < lengthof(bad); i++)
	{
		PromWriteWalk w;
		PromWriteSeries s;
		PromWriteMetadata m;
		PromWireError err;
		PromWriteItem item;

		prom_write_begin(&w, bad[i].bytes, bad[i].len);
		while ((item = prom_write_next(&w, &s, &m, &err)) == PROM_WRITE_SERIES)
			;
		check(item == PROM_WRITE_BAD && err.offset == bad[i].offset &&
			  strcmp(err.reason, bad[i].reason) == 0, bad[i].reason);
	}
}

static size_t
damage(uint8 *bytes, size_t len)
{
	for (int n = 1 + (int) below(4); n > 0 && len > 0; n--)
	{
		size_t		at = below(len);

		switch (below(4))
		{
			case 0:
				bytes[at] ^= 1 << below(8);
				break;
			case 1:
				bytes[at] = below(2) ? 0xff : (uint8) next_random();
				break;
			case 2:
				len = at;
				break;
			default:
				memmove(bytes + at, bytes + at + 1, len - at - 1);
				len--;
		}
	}
	return len;
}

static void
check_snappy(const Buffer *b)
{
	size_t		packed_len = snappy_max_compressed_length(b->len);
	uint8	   *packed = malloc(packed_len);
	size_t		len = 0;
	PromWireError err;
	uint8	   *out;

	snappy_compress((const char *) b->bytes, b->len, (char *) packed, &packed_len);
	check(prom_snappy_size(packed, packed_len, MAX_MESSAGE, &len, &err) && len == b->len, "snappy size");
	check(b->len == 0 || !prom_snappy_size(packed, packed_len, b->len - 1, &len, &err), "snappy cap");
	out = malloc(Max(b->len, 1));
	check(prom_snappy_decode(packed, packed_len, out, b->len, &err) &&
		  memcmp(out, b->bytes, b->len) == 0, "snappy round trip");
	free(out);

	for (int i = 0; i < DAMAGED_COPIES; i++)
	{
		uint8	   *copy = malloc(packed_len);
		size_t		copy_len;

		memcpy(copy, packed, packed_len);
		copy_len = damage(copy, packed_len);
		if (prom_snappy_size(copy, copy_len, MAX_MESSAGE, &len, &err))
		{
			out = malloc(Max(len, 1));
			if (prom_snappy_decode(copy, copy_len, out, len, &err))
				check_any(out, len);
			free(out);
		}
		passed++;
		free(copy);
	}
	free(packed);
}

static void
one_round(void)
{
	static Buffer message;
	static Buffer damaged;
	Expected	expected[MAX_SERIES];
	int			nseries = (int) below(MAX_SERIES);
	int			nmetadata = (int) below(3);

	message.len = 0;
	for (int i = 0; i < nseries; i++)
	{
		put_unknown(&message);
		put_series(&message, &expected[i]);
	}
	for (int i = 0; i < nmetadata; i++)
		put_bytes(&message, 3, "\x08\x01\x12\x06" "family", 10);
	check_whole(&message, expected, nseries, nmetadata);
	check_snappy(&message);
	for (int i = 0; i < DAMAGED_COPIES; i++)
	{
		memcpy(damaged.bytes, message.bytes, message.len);
		damaged.len = damage(damaged.bytes, message.len);
		check_any(damaged.bytes, damaged.len);
	}
}

int
main(int argc, char **argv)
{
	double		seconds = argc > 1 ? atof(argv[1]) : 1;
	uint64		seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64) time(NULL);
	clock_t		start = clock();

	printf("seed %llu\n", (unsigned long long) seed);
	random_state = seed * UINT64CONST(0x9E3779B97F4A7C15) + 1;
	check_refused();
	do
		one_round();
	while ((double) (clock() - start) / CLOCKS_PER_SEC < seconds);
	printf("%ld passed, %ld failed\n", passed, failed);
	return failed > 0;
}

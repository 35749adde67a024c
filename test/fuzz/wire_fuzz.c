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
 */
#include "c.h"

#include <snappy-c.h>

#include "common/bytes.h"
#include "wire/wire.h"

#include "harness.h"

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
	int			nhistograms;
	PromHistogram *histogram[MAX_ITEMS];	/* each in a block of its own */
	int64		histogram_ms[MAX_ITEMS];
	int			nexemplars;
	int64		exemplar_ms[MAX_ITEMS];
	uint64		exemplar_bits[MAX_ITEMS];
} Expected;


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

/* A valid histogram, of integers or floats. */
static PromHistogram *
any_histogram(void)
{
	bool		custom = below(4) == 0;
	uint32		nbuckets[2] = {(uint32) below(9), custom ? 0 : (uint32) below(5)};
	uint32		nspans[2] = {nbuckets[0] ? 1 + (uint32) below(nbuckets[0]) : (uint32) below(2),
	nbuckets[1] ? 1 + (uint32) below(nbuckets[1]) : 0};
	uint32		ncustom = custom ? nbuckets[0] + 3 * nspans[0] : 0;
	size_t		size = prom_histogram_size(nbuckets[0], nbuckets[1], ncustom, nspans[0], nspans[1]);
	PromHistogram *h = calloc(1, size);

	h->size = (uint32) size;
	h->schema = (int8) (custom ? PROM_HISTOGRAM_CUSTOM_SCHEMA : (int) below(13) - 4);
	h->is_int = (uint8) below(2);
	h->hint = (uint8) below(4);
	h->ncustom = ncustom;
	h->zero_threshold = custom ? 0 : below(2) * 0.001;
	h->zero_count = custom ? 0 : (double) below(100);
	h->sum = (double) below(100000) / 7;
	h->count = h->zero_count;
	for (int side = 0; side < 2; side++)
	{
		h->nbuckets[side] = nbuckets[side];
		h->nspans[side] = nspans[side];
	}
	for (uint32 i = 0; i < nbuckets[0] + nbuckets[1]; i++)
	{
		h->d[i] = h->is_int ? (double) (next_random() >> (20 + below(44))) : (double) below(1000) / 8;
		h->count += h->d[i];
	}
	for (int side = 0; side < 2; side++)
	{
		uint32		left = nbuckets[side];
		PromHistogramSpan *span = prom_histogram_spans(h, (PromHistogramSide) side);

		for (uint32 i = 0; i < nspans[side]; i++)
		{
			span[i].length = i + 1 == nspans[side] ? left : 1;
			span[i].offset = (int32) below(4) - (i == 0 && !custom ? 2 : 0);
			left -= span[i].length;
		}
	}
	for (uint32 i = 0; i < ncustom; i++)
		prom_histogram_custom(h)[i] = i * 0.25 - 1;
	return h;
}

static uint64
bits_of(double v)
{
	uint64		bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

/* Buckets packed or not, or in two runs. */
static void
put_buckets(Buffer *b, int field, const PromHistogram *h, PromHistogramSide side)
{
	const double *v = prom_histogram_buckets(h, side);
	bool		packed = below(2);
	Buffer		run = {.len = 0};

	for (uint32 i = 0; i < h->nbuckets[side]; i++)
	{
		uint64		delta = prom_zigzag_encode((int64) (v[i] - (i > 0 ? v[i - 1] : 0)));

		if (packed && h->is_int)
			put_varint(&run, delta);
		else if (packed)
		{
			uint64		bits = bits_of(v[i]);

			for (int k = 0; k < 8; k++)
				run.bytes[run.len++] = (uint8) (bits >> 8 * k);
		}
		else if (h->is_int)
		{
			put_varint(b, (uint64) field << 3);
			put_varint(b, delta);
		}
		else
			put_fixed(b, field + 1, bits_of(v[i]), 8);
		if (packed && (i + 1 == h->nbuckets[side] || below(8) == 0))
		{
			put_bytes(b, h->is_int ? field : field + 1, run.bytes, run.len);
			run.len = 0;
		}
	}
}

static void
put_histogram(Buffer *b, Expected *e)
{
	static Buffer message;
	PromHistogram *h = any_histogram();
	int			n = e->nhistograms++;

	e->histogram[n] = h;
	e->histogram_ms[n] = (int64) (next_random() >> 20);
	message.len = 0;
	if (h->is_int)
	{
		put_varint(&message, 1 << 3);
		put_varint(&message, (uint64) h->count);
		put_varint(&message, 6 << 3);
		put_varint(&message, (uint64) h->zero_count);
	}
	else
	{
		put_fixed(&message, 2, bits_of(h->count), 8);
		put_fixed(&message, 7, bits_of(h->zero_count), 8);
	}
	put_fixed(&message, 3, bits_of(h->sum), 8);
	put_varint(&message, 4 << 3);
	put_varint(&message, prom_zigzag_encode(h->schema));
	put_fixed(&message, 5, bits_of(h->zero_threshold), 8);
	for (int side = 0; side < 2; side++)
	{
		const PromHistogramSpan *span = prom_histogram_spans(h, (PromHistogramSide) side);

		for (uint32 i = 0; i < h->nspans[side]; i++)
		{
			Buffer		s = {.len = 0};

			put_varint(&s, 1 << 3);
			put_varint(&s, prom_zigzag_encode(span[i].offset));
			put_varint(&s, 2 << 3);
			put_varint(&s, span[i].length);
			put_bytes(&message, side == PROM_POSITIVE ? 11 : 8, s.bytes, s.len);
		}
		put_buckets(&message, side == PROM_POSITIVE ? 12 : 9, h, (PromHistogramSide) side);
	}
	put_varint(&message, 14 << 3);
	put_varint(&message, h->hint);
	put_varint(&message, 15 << 3);
	put_varint(&message, (uint64) e->histogram_ms[n]);
	for (uint32 i = 0; i < h->ncustom; i++)
		put_fixed(&message, 16, bits_of(prom_histogram_custom(h)[i]), 8);
	put_bytes(b, 4, message.bytes, message.len);
}

static void
put_exemplar(Buffer *b, Expected *e)
{
	Buffer		message = {.len = 0};
	int			n = e->nexemplars++;

	e->exemplar_ms[n] = (int64) next_random();
	e->exemplar_bits[n] = next_random();
	put_bytes(&message, 1, "\x0a\x01t\x12\x01v", 6);
	put_fixed(&message, 2, e->exemplar_bits[n], 8);
	put_varint(&message, 3 << 3);
	put_varint(&message, (uint64) e->exemplar_ms[n]);
	put_bytes(b, 3, message.bytes, message.len);
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
	for (int i = (int) below(4); i > 0; i--)
		put_histogram(&series, e);
	for (int i = (int) below(3); i > 0; i--)
		put_exemplar(&series, e);
	put_bytes(b, 1, series.bytes, series.len);
}

/* It comes back as it was, unless it is not valid: then it is refused for what the check says. */
static void
check_histogram(const PromWriteSeries *s, size_t *pos, const PromHistogram *h, int64 t_ms)
{
	PromWriteHistogram w;
	PromHistogram *got;
	const char *valid = prom_histogram_check(h, h->size);
	const char *reason;

	if (!prom_write_histogram(s, pos, &w) || w.t_ms != t_ms || w.reason || w.size != h->size)
	{
		expect(false, "histogram measured");
		return;
	}
	got = malloc(w.size);
	reason = prom_write_histogram_read(&w, got);
	expect(valid ? reason && strcmp(valid, reason) == 0 : reason == NULL && memcmp(got, h, h->size) == 0, "histogram");
	free(got);
}

static void
check_series(const PromWriteSeries *s, const Expected *e)
{
	PromWriteLabel l;
	size_t		pos = 0;
	int64		t_ms;
	double		value;
	uint64		bits;

	expect(s->nlabels == (uint32) e->nlabels, "number of labels");
	expect(s->nsamples == (uint32) e->nsamples, "number of samples");
	expect((s->labels_len > 0) == (e->together && e->nlabels > 0), "labels stand together");
	for (int i = 0; i < e->nlabels; i++)
	{
		const char *name = e->text[2 * i];
		const char *text = e->text[2 * i + 1];

		expect(prom_write_label(s, &pos, &l) &&
			  l.name_len == strlen(name) && memcmp(l.name, name, l.name_len) == 0 &&
			  l.value_len == strlen(text) && memcmp(l.value, text, l.value_len) == 0, "label");
	}
	expect(!prom_write_label(s, &pos, &l), "end of labels");
	pos = 0;
	for (int i = 0; i < e->nsamples; i++)
	{
		bool		got = prom_write_sample(s, &pos, &t_ms, &value);

		memcpy(&bits, &value, sizeof(bits));
		expect(got && t_ms == e->t_ms[i] && bits == e->bits[i], "sample");
	}
	expect(!prom_write_sample(s, &pos, &t_ms, &value), "end of samples");
	expect(s->nhistograms == (uint32) e->nhistograms && s->nexemplars == (uint32) e->nexemplars, "numbers of others");
	pos = 0;
	for (int i = 0; i < e->nhistograms; i++)
		check_histogram(s, &pos, e->histogram[i], e->histogram_ms[i]);
	pos = 0;
	for (int i = 0; i < e->nexemplars; i++)
	{
		PromWriteSeries x;
		size_t		at = 0;
		bool		got = prom_write_exemplar(s, &pos, &x, &t_ms, &value);

		memcpy(&bits, &value, sizeof(bits));
		expect(got && t_ms == e->exemplar_ms[i] && bits == e->exemplar_bits[i] && x.nlabels == 1 &&
			  prom_write_label(&x, &at, &l) && l.name_len == 1 && l.name[0] == 't' && l.value_len == 1, "exemplar");
	}
}

static void
free_expected(Expected *e)
{
	for (int i = 0; i < e->nhistograms; i++)
		free(e->histogram[i]);
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
			expect(++metadata <= nmetadata && m.family_len == 6 && memcmp(m.family, "family", 6) == 0 &&
				  m.type == 1, "metadata");
		else if (series < nseries)
			check_series(&s, &e[series++]);
		else
			expect(false, "too many series");
	}
	expect(item == PROM_WRITE_END && series == nseries && metadata == nmetadata, "whole message");
}

static bool
inside(const void *p, size_t len, const uint8 *start, size_t total)
{
	return len == 0 ||
		((const uint8 *) p >= start && (const uint8 *) p + len <= start + total);
}

/* Histograms and exemplars of any series: what is read is valid, whatever it is. */
static bool
check_others(const PromWriteSeries *s, const uint8 *start, size_t len)
{
	PromWriteHistogram w;
	PromWriteSeries x;
	PromWriteLabel l;
	size_t		pos = 0;
	uint32		n = 0;
	int64		t_ms;
	double		value;
	bool		ok = true;

	for (; prom_write_histogram(s, &pos, &w); n++)
	{
		PromHistogram *h = malloc(Max(w.size, 1));

		if (prom_write_histogram_read(&w, h) == NULL)
			ok &= h->size <= w.size && prom_histogram_check(h, h->size) == NULL;
		free(h);
	}
	ok &= n == s->nhistograms;
	for (pos = 0, n = 0; prom_write_exemplar(s, &pos, &x, &t_ms, &value); n++)
	{
		size_t		at = 0;
		uint32		labels = 0;

		for (; prom_write_label(&x, &at, &l); labels++)
			ok &= inside(l.name, l.name_len, start, len) && inside(l.value, l.value_len, start, len);
		ok &= labels == x.nlabels;
	}
	return ok && n == s->nexemplars;
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
		ok &= check_others(&s, copy, len);
	}
	if (item == PROM_WRITE_BAD)
		ok &= err.reason != NULL && err.offset <= len &&
			prom_write_next(&w, &s, &m, &err) == PROM_WRITE_END;
	expect(ok, "damaged message");
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
		{"\x0a\x04\x22\x02\x0a\x00", 6, 4, "wrong wire type in a histogram"},
		{"\x0a\x06\x22\x04\x5a\x02\x0a\x00", 8, 6, "wrong wire type in a histogram"},
		{"\x0a\x05\x22\x03\x62\x01\x80", 7, 4, "packed numbers of a histogram are truncated"},
		{"\x0a\x05\x22\x03\x6a\x01\x00", 7, 4, "packed numbers of a histogram are truncated"},
		{"\x0a\x04\x1a\x02\x10\x00", 6, 4, "wrong wire type in an exemplar"},
		{"\x0a\x06\x1a\x04\x0a\x02\x08\x00", 8, 6, "wrong wire type of a label's name or value"},
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
		expect(item == PROM_WRITE_BAD && err.offset == bad[i].offset &&
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
	expect(prom_snappy_size(packed, packed_len, MAX_MESSAGE, &len, &err) && len == b->len, "snappy size");
	expect(b->len == 0 || !prom_snappy_size(packed, packed_len, b->len - 1, &len, &err), "snappy cap");
	out = malloc(Max(b->len, 1));
	expect(prom_snappy_decode(packed, packed_len, out, b->len, &err) &&
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
	for (int i = 0; i < nseries; i++)
		free_expected(&expected[i]);
}

int
main(int argc, char **argv)
{
	time_t		end = fuzz_begin(argc, argv);

	check_refused();
	return fuzz_rounds(end, one_round);
}

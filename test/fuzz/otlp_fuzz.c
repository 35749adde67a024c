/*
 * otlp_fuzz.c
 *	  Throws bytes at the OTLP walk, outside the server.
 *
 *		otlp_fuzz SECONDS [SEED]
 *
 * Each round makes a well-formed request of random depth and contents, with random settings, reads it
 * and damages it.  Whatever comes, each series handed out must be one of remote write 1.0 that its
 * iterators agree with, and its histograms must be readable or refused.  Of gauges and sums what went
 * in is compared with what comes out.
 */
#include "c.h"

#include <math.h>

#include "wire/put.h"

#include "buffer.h"

#define DAMAGED_COPIES	20
#define MAX_POINTS		4096


/* Of the numbers that are sent, in order. */
static double sent[MAX_POINTS];
static int	nsent;
static int	nseen;
static bool comparing;

static void
put_any_text(PromWireBuffer *b, uint32 number)
{
	static const char *const texts[] = {"a", "http.requests", "service.name", "service.instance.id", "service.namespace",
		"le", "a_b", "a.b", "__x__", "0", "\xc3\xa9t\xc3\xa9", "", "job", "x.total", "ratio", "\xff\xfe", "a\0b", "..", "s", "By/s"};
	int			i = (int) below(lengthof(texts));

	put_text(b, number, texts[i], i == 16 ? 3 : strlen(texts[i]));
}

static void
put_value(PromWireBuffer *b, uint32 number, int depth)
{
	size_t		start = put_open(b, number);
	size_t		items;

	switch (below(depth > 3 ? 6 : 8))
	{
		case 0:
			break;
		case 1:
		case 2:
			put_any_text(b, 1);
			break;
		case 3:
			put_number(b, 2 + (uint32) below(2), next_random());
			break;
		case 4:
			put_double(b, 4, below(2) ? (double) below(1000) / 8 : (double) next_random());
			break;
		case 5:
			put_any_text(b, 7);
			break;
		case 6:
			items = put_open(b, 5);
			for (int i = (int) below(4); i > 0; i--)
				put_value(b, 1, depth + 1);
			put_close(b, items);
			break;
		case 7:
			items = put_open(b, 6);
			for (int i = (int) below(3); i > 0; i--)
			{
				size_t		pair = put_open(b, 1);

				put_any_text(b, 1);
				put_value(b, 2, depth + 1);
				put_close(b, pair);
			}
			put_close(b, items);
			break;
	}
	put_close(b, start);
}

static void
put_attributes(PromWireBuffer *b, uint32 number)
{
	for (int i = (int) below(below(50) == 0 ? 400 : 6); i > 0; i--)
	{
		size_t		start = put_open(b, number);

		put_any_text(b, 1);
		put_value(b, 2, 0);
		put_close(b, start);
	}
}

static void
put_fixed(PromWireBuffer *b, uint32 number, uint64 v)
{
	put_tag(b, number, WIRE_64BIT);
	put_fixed64(b, v);
}

static void
put_exemplars(PromWireBuffer *b, uint32 number)
{
	for (int i = (int) below(3); i > 0; i--)
	{
		size_t		start = put_open(b, number);

		put_fixed(b, 2, next_random());
		put_double(b, 3, (double) below(100));
		put_text(b, 4, "12345678", below(9));
		put_text(b, 5, "1234567890123456", below(17));
		put_attributes(b, 7);
		put_close(b, start);
	}
}

static void
put_number_point(PromWireBuffer *b)
{
	bool		stale = below(20) == 0;
	double		value = (double) below(1000);

	put_fixed(b, 3, next_random() >> 4);
	if (below(2) == 0)
		put_double(b, 4, value);
	else
		put_fixed(b, 6, (uint64) value);
	put_attributes(b, 7);
	put_exemplars(b, 5);
	put_number(b, 8, stale);
	if (nsent < MAX_POINTS)
		sent[nsent++] = stale ? NAN : value;
}

static void
put_histogram_point(PromWireBuffer *b)
{
	int			n = (int) below(6);
	size_t		run;

	put_fixed(b, 3, next_random() >> 4);
	put_fixed(b, 4, below(100));
	if (below(2) == 0)
		put_double(b, 5, (double) below(100));
	run = put_open(b, 6);
	for (int i = 0; i < n + (below(5) > 0); i++)
		put_fixed64(b, below(10));
	put_close(b, run);
	for (int i = 0; i < n; i++)
		put_double(b, 7, below(10) ? i * 1.7 : (double) (int64) next_random());
	put_exemplars(b, 8);
	put_attributes(b, 9);
	put_number(b, 10, below(10) == 0);
}

static void
put_exponential_point(PromWireBuffer *b)
{
	put_attributes(b, 1);
	put_fixed(b, 3, next_random() >> 4);
	put_fixed(b, 4, below(100));
	put_double(b, 5, (double) below(100));
	put_number(b, 6, prom_zigzag_encode((int64) below(70) - 10));
	put_fixed(b, 7, below(3));
	for (int side = 8; side <= 9; side++)
	{
		size_t		start = put_open(b, side);
		size_t		run;

		put_number(b, 1, prom_zigzag_encode(below(10) ? (int64) below(100) - 50 : (int64) next_random()));
		run = put_open(b, 2);
		for (int i = (int) below(12); i > 0; i--)
			put_varint(b, below(3) ? 0 : below(10) ? below(100) : next_random());
		put_close(b, run);
		put_close(b, start);
	}
	put_exemplars(b, 11);
	put_number(b, 10, below(10) == 0);
	put_double(b, 14, below(2) ? 0 : 0.25);
}

static void
put_summary_point(PromWireBuffer *b)
{
	put_fixed(b, 3, next_random() >> 4);
	put_fixed(b, 4, below(100));
	put_double(b, 5, 3);
	for (int i = (int) below(4); i > 0; i--)
	{
		size_t		start = put_open(b, 6);

		put_double(b, 1, (double) below(1000) / 999);
		put_double(b, 2, (double) below(1000));
		put_close(b, start);
	}
	put_attributes(b, 7);
}

static void
put_metric(PromWireBuffer *b)
{
	static const uint32 fields[] = {5, 7, 9, 10, 11};
	int			kind = (int) below(comparing ? 2 : 5);
	bool		name_first = below(2) == 0;
	size_t		start = put_open(b, 2);
	size_t		data;

	if (name_first && !comparing)
		put_any_text(b, 1);
	if (comparing)
		put_text(b, 1, "m", 1);
	put_any_text(b, 2);
	put_any_text(b, 3);
	data = put_open(b, fields[kind]);
	for (int i = (int) below(4); i > 0; i--)
	{
		size_t		point = put_open(b, 1);

		if (kind < 2)
			put_number_point(b);
		else if (kind == 2)
			put_histogram_point(b);
		else if (kind == 3)
			put_exponential_point(b);
		else
			put_summary_point(b);
		put_close(b, point);
	}
	if (kind > 0 && kind < 4)
		put_number(b, 2, comparing || below(8) ? 2 : below(3));
	if (kind == 1)
		put_number(b, 3, below(2));
	put_close(b, data);
	if (!name_first && !comparing)
		put_any_text(b, 1);
	put_close(b, start);
}

static void
put_request(PromWireBuffer *b)
{
	for (int r = (int) below(3); r > 0; r--)
	{
		size_t		resource_metrics = put_open(b, 1);
		size_t		resource = put_open(b, 1);

		put_attributes(b, 1);
		put_close(b, resource);
		for (int s = (int) below(3); s > 0; s--)
		{
			size_t		scope_metrics = put_open(b, 2);
			size_t		scope = put_open(b, 1);

			put_any_text(b, 1);
			put_any_text(b, 2);
			put_attributes(b, 3);
			put_close(b, scope);
			for (int m = (int) below(4); m > 0; m--)
				put_metric(b);
			put_any_text(b, 3);
			put_close(b, scope_metrics);
		}
		put_close(b, resource_metrics);
	}
}

static bool
is_target_info(const PromWriteSeries *s)
{
	size_t		pos = 0;
	PromWriteLabel l;

	while (prom_write_label(s, &pos, &l))
	{
		if (l.name_len == 8 && memcmp(l.name, "__name__", 8) == 0)
			return l.value_len == 11 && memcmp(l.value, "target_info", 11) == 0;
	}
	return false;
}

static void
take_series(void *arg, const PromWriteSeries *s, uint32 points)
{
	size_t		pos = 0;
	uint32		n = 0;
	PromWriteLabel l;
	PromWriteSeries exemplar;
	PromWriteHistogram h;
	int64		t_ms;
	double		value = 0;

	while (prom_write_label(s, &pos, &l))
		n++;
	expect(n == s->nlabels, "labels are as many as counted");
	for (pos = 0, n = 0; prom_write_sample(s, &pos, &t_ms, &value);)
		n++;
	expect(n == s->nsamples, "samples are as many as counted");
	for (pos = 0, n = 0; prom_write_exemplar(s, &pos, &exemplar, &t_ms, &value);)
		n++;
	expect(n == s->nexemplars, "exemplars are as many as counted");
	for (pos = 0; prom_write_histogram(s, &pos, &h);)
	{
		if (h.reason == NULL && h.size < 1 << 20)
		{
			PromHistogram *into = malloc(h.size);

			(void) prom_write_histogram_read(&h, into);
			free(into);
		}
	}
	if (!comparing || is_target_info(s))
		return;
	pos = 0;
	expect(prom_write_sample(s, &pos, &t_ms, &value), "a number");
	expect(nseen < nsent && (isnan(sent[nseen]) ? isnan(value) : value == sent[nseen]), "the number that was sent");
	nseen++;
}

static void
take_metadata(void *arg, const PromWriteMetadata *m)
{
	volatile size_t sum = 0;

	for (size_t i = 0; i < m->family_len; i++)
		sum += (uint8) m->family[i];
	for (size_t i = 0; i < m->unit_len; i++)
		sum += (uint8) m->unit[i];
	for (size_t i = 0; i < m->help_len; i++)
		sum += (uint8) m->help[i];
	expect(m->type <= PROM_WRITE_MAX_TYPE, "type of metadata");
}

static void
refuse(void *arg, uint32 points, const char *reason, const char *metric, size_t metric_len)
{
	expect(reason != NULL, "a reason");
	nseen += comparing ? points : 0;
}

static bool
walk(const uint8 *bytes, size_t len)
{
	static const char *const promoted[] = {"", "*", "a.b, job ,x", ",,"};
	PromOtlpOptions options = {
		.strategy = (PromOtlpStrategy) below(4), .promote = promoted[below(lengthof(promoted))], .scope_labels = below(2) == 0,
		.keep_identifying = below(2) == 0, .custom_buckets = below(2) == 0, .type_and_unit = below(2) == 0, .lookback_ms = 300000
	};
	PromOtlpSink sink = {NULL, take_series, take_metadata, refuse};
	PromWireBuffer lent[PROM_OTLP_BUFFERS];
	PromWireError err = {NULL, 0};
	uint8	   *copy = malloc(Max(len, 1));
	bool		ok;

	if (len > 0)
		memcpy(copy, bytes, len);
	memset(lent, 0, sizeof(lent));
	for (int i = 0; i < PROM_OTLP_BUFFERS; i++)
		lent[i].grow = grow;
	ok = prom_otlp_walk(copy, len, &options, &sink, lent, &err);
	expect(ok || (err.reason != NULL && err.offset <= len), "a reason and a place within");
	for (int i = 0; i < PROM_OTLP_BUFFERS; i++)
		free(lent[i].data);
	free(copy);
	return ok;
}

static void
one_round(void)
{
	PromWireBuffer b = {.grow = grow};

	stubborn = false;
	comparing = below(3) == 0;
	nsent = nseen = 0;
	put_request(&b);
	expect(walk(b.data, b.len), "a well-formed request");
	if (comparing)
		expect(nseen == nsent, "all numbers");
	comparing = false;
	for (int i = 0; i < DAMAGED_COPIES && b.len > 0; i++)
	{
		size_t		len = b.len;
		uint8	   *copy = damaged_copy(b.data, &len);

		stubborn = below(2) == 0;
		(void) walk(copy, len);
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

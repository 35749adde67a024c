/*
 * newest.c
 *	  Prints the newest samples of series for whom scrapes them: text, OpenMetrics or protobuf.
 *
 * A family has one name and one kind: floats are untyped; histograms are native in protobuf, and classic
 * everywhere if their bounds are custom.  Text goes out in rows of about ROW_BYTES; protobuf begins a new
 * message of the same family there.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "api/expose.h"
#include "api/gateway.h"
#include "api/newest.h"
#include "histogram/text.h"
#include "wire/wire.h"

#define ROW_BYTES 32768

static const char *const escapings[] = {
	[PROM_ESCAPE_NOTHING] = "allow-utf-8",
	[PROM_ESCAPE_UNDERSCORES] = "underscores",
	[PROM_ESCAPE_DOTS] = "dots",
	[PROM_ESCAPE_VALUES] = "values",
};

typedef enum Kind
{
	KIND_FLOAT, KIND_CLASSIC, KIND_NATIVE, KIND_NATIVE_GAUGE
} Kind;

typedef struct Printer
{
	ReturnSetInfo *rsinfo;
	StringInfoData out;			/* text */
	PromWireBuffer bytes;		/* protobuf */
	size_t		family;			/* of the message that is open, 0 if there is none */
	bool		openmetrics;
	PromEscaping escaping;
} Printer;

int
prom_newest_escaping(const char *name)
{
	for (int i = 0; i < lengthof(escapings); i++)
	{
		if (strcmp(escapings[i], name) == 0)
			return i;
	}
	return -1;
}

static Kind
kind_of(const PromNewest *one)
{
	if (one->histogram == NULL)
		return KIND_FLOAT;
	if (one->histogram->schema == PROM_HISTOGRAM_CUSTOM_SCHEMA)
		return KIND_CLASSIC;
	return one->histogram->hint == PROM_HINT_GAUGE ? KIND_NATIVE_GAUGE : KIND_NATIVE;
}

static int
compare_families(const PromNewest *a, const PromNewest *b)
{
	int			c = memcmp(a->name, b->name, Min(a->name_len, b->name_len));

	if (c == 0)
		c = a->name_len - b->name_len;
	return c != 0 ? c : (int) kind_of(a) - (int) kind_of(b);
}

static int
compare_newest(const void *a, const void *b)
{
	int			c = compare_families(a, b);

	return c != 0 ? c : prom_labels_cmp(((const PromNewest *) a)->labels, ((const PromNewest *) b)->labels);
}

static void
put_row(Printer *p, const void *bytes, size_t len)
{
	Datum		value = PointerGetDatum(cstring_to_text_with_len(bytes, (int) len));
	bool		isnull = false;

	tuplestore_putvalues(p->rsinfo->setResult, p->rsinfo->setDesc, &value, &isnull);
	pfree(DatumGetPointer(value));
}

static void
put_text(Printer *p)
{
	put_row(p, p->out.data, p->out.len);
	resetStringInfo(&p->out);
}

/* ---- text ---- */

static void
print_sample(Printer *p, const PromLabels *labels, double value, int64 t_ms)
{
	prom_expose_series(&p->out, labels, p->escaping, true);
	appendStringInfoCharMacro(&p->out, ' ');
	prom_expose_number(&p->out, value);
	appendStringInfoCharMacro(&p->out, ' ');
	if (p->openmetrics)
		prom_json_time(&p->out, t_ms);
	else
		appendStringInfo(&p->out, INT64_FORMAT, t_ms);
	appendStringInfoCharMacro(&p->out, '\n');
}

/* A series that makes up a classic histogram: with a suffix, and "le" unless that is NULL. */
static void
print_part(Printer *p, const PromNewest *one, const char *suffix, const char *le, double value)
{
	int			n;
	PromLabel  *label = prom_labels_unpack(one->labels, &n);
	PromLabel  *all = palloc((n + 1) * sizeof(PromLabel));
	PromLabels *labels;
	char	   *name = psprintf("%.*s%s", one->name_len, one->name, suffix);
	char	   *reason;
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		if (label[i].name_len == 2 && memcmp(label[i].name, "le", 2) == 0)
			continue;
		all[kept] = label[i];
		if (label[i].name_len == 8 && memcmp(label[i].name, "__name__", 8) == 0)
		{
			all[kept].value = name;
			all[kept].value_len = (int) strlen(name);
		}
		kept++;
	}
	if (le != NULL)
		all[kept++] = (PromLabel) {.name = "le",.name_len = 2,.value = le,.value_len = (int) strlen(le)};
	labels = prom_labels_build(all, kept, &reason);
	if (labels == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a histogram cannot be told as a classic one: %s", reason)));
	print_sample(p, labels, value, one->t_ms);
	pfree(labels);
	pfree(all);
	pfree(label);
	pfree(name);
}

static void
print_classic(Printer *p, const PromNewest *one)
{
	const PromHistogram *h = one->histogram;
	const double *bound = prom_histogram_custom(h);
	PromHistogramWalk walk = prom_histogram_walk(h, PROM_POSITIVE);
	int64		index = -1;
	double		count = 0;
	double		below = 0;
	bool		more = prom_histogram_walk_next(&walk, &index, &count);

	for (uint32 i = 0; i < h->ncustom; i++)
	{
		StringInfoData le;

		if (more && index == i)
		{
			below += count;
			more = prom_histogram_walk_next(&walk, &index, &count);
		}
		initStringInfo(&le);
		/* as Prometheus 3 writes them */
		prom_histogram_print_number(&le, bound[i]);
		if (strspn(le.data, "-0123456789") == le.len)
			appendStringInfoString(&le, ".0");
		print_part(p, one, "_bucket", le.data, below);
		pfree(le.data);
	}
	print_part(p, one, "_bucket", "+Inf", h->count);
	print_part(p, one, "_sum", NULL, h->sum);
	print_part(p, one, "_count", NULL, h->count);
}

static void
print_text(Printer *p, const PromNewest *one, bool new_family)
{
	Kind		kind = kind_of(one);

	if (new_family)
	{
		appendStringInfoString(&p->out, "# TYPE ");
		prom_expose_name(&p->out, one->name, one->name_len, p->escaping);
		appendStringInfoString(&p->out, kind == KIND_CLASSIC ? " histogram\n" : p->openmetrics ? " unknown\n" : " untyped\n");
	}
	if (kind == KIND_CLASSIC)
		print_classic(p, one);
	else
		print_sample(p, one->labels, one->value, one->t_ms);
	if (p->out.len >= ROW_BYTES)
		put_text(p);
}

/* ---- protobuf ---- */

static bool
grow(PromWireBuffer *b, size_t more)
{
	b->size = Max(b->size * 2, b->len + more);
	b->data = b->data == NULL ? palloc_extended(b->size, MCXT_ALLOC_HUGE) : repalloc_huge(b->data, b->size);
	return true;
}

static void
end_family(Printer *p)
{
	if (p->family == 0)
		return;
	prom_family_end(&p->bytes, p->family);
	put_row(p, p->bytes.data, p->bytes.len);
	p->bytes.len = 0;
	p->family = 0;
}

/* Labels as they are escaped, without the name, and an empty "instance" if there is none. */
static void
print_metric(Printer *p, const PromNewest *one)
{
	int			n;
	PromLabel  *label = prom_labels_unpack(one->labels, &n);
	PromWriteLabel *out = palloc((n + 1) * sizeof(PromWriteLabel));
	StringInfoData names;
	bool		instance = false;
	int			kept = 0;
	int			at = 0;

	initStringInfo(&names);
	for (int i = 0; i < n; i++)
	{
		if (label[i].name_len == 8 && memcmp(label[i].name, "__name__", 8) == 0)
			continue;
		instance |= label[i].name_len == 8 && memcmp(label[i].name, "instance", 8) == 0;
		prom_expose_bare(&names, label[i].name, label[i].name_len, p->escaping, false);
		out[kept].name_len = names.len - at;
		out[kept].value = label[i].value;
		out[kept].value_len = label[i].value_len;
		at = names.len;
		kept++;
	}
	/* now they do not move any more */
	at = 0;
	for (int i = 0; i < kept; i++)
	{
		out[i].name = names.data + at;
		at += (int) out[i].name_len;
	}
	if (!instance)
		out[kept++] = (PromWriteLabel) {.name = "instance",.name_len = 8,.value = "",.value_len = 0};
	prom_family_metric(&p->bytes, out, kept, one->t_ms, one->value, one->histogram);
	pfree(names.data);
	pfree(out);
	pfree(label);
}

static void
print_protobuf(Printer *p, const PromNewest *one, bool new_family)
{
	static const PromFamilyType types[] = {
		[KIND_FLOAT] = PROM_FAMILY_UNTYPED,
		[KIND_CLASSIC] = PROM_FAMILY_HISTOGRAM,
		[KIND_NATIVE] = PROM_FAMILY_HISTOGRAM,
		[KIND_NATIVE_GAUGE] = PROM_FAMILY_GAUGE_HISTOGRAM,
	};

	if (new_family || p->bytes.len >= ROW_BYTES)
		end_family(p);
	if (p->family == 0)
	{
		StringInfoData name;

		initStringInfo(&name);
		prom_expose_bare(&name, one->name, one->name_len, p->escaping, true);
		p->family = prom_family_begin(&p->bytes, types[kind_of(one)], name.data, name.len);
		pfree(name.data);
	}
	print_metric(p, one);
}

/* ---- all ---- */

static void
print_head(Printer *p, const char *format, const char *escaping)
{
	p->openmetrics = strcmp(format, "openmetrics") == 0;
	p->escaping = Max(prom_newest_escaping(escaping), 0);
	initStringInfo(&p->out);
	if (p->openmetrics)
		appendStringInfo(&p->out, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=%s", escaping);
	else if (strcmp(format, "1.0.0") == 0)
		appendStringInfo(&p->out, "text/plain; version=1.0.0; charset=utf-8; escaping=%s", escaping);
	else if (strcmp(format, "protobuf") == 0)
		appendStringInfo(&p->out, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=%s", escaping);
	else
		appendStringInfoString(&p->out, "text/plain; version=0.0.4; charset=utf-8");
	put_text(p);
}

void
prom_newest_print(ReturnSetInfo *rsinfo, const char *format, const char *escaping, PromNewest *items, size_t n)
{
	Printer		p = {.rsinfo = rsinfo,.bytes = {.grow = grow}};
	bool		protobuf = strcmp(format, "protobuf") == 0;
	const PromNewest *last = NULL;

	print_head(&p, format, escaping);
	if (n > 1)
		qsort(items, n, sizeof(PromNewest), compare_newest);
	for (size_t i = 0; i < n; i++)
	{
		const PromNewest *one = &items[i];
		bool		new_family = last == NULL || compare_families(last, one) != 0;

		CHECK_FOR_INTERRUPTS();
		if (last != NULL && compare_newest(last, one) == 0)
			continue;
		if (protobuf)
			print_protobuf(&p, one, new_family);
		else
			print_text(&p, one, new_family);
		last = one;
	}
	end_family(&p);
	if (p.openmetrics)
		appendStringInfoString(&p.out, "# EOF\n");
	if (p.out.len > 0)
		put_text(&p);
}

/*
 * otlp_name.c
 *	  Names of metrics with their units, as Prometheus names them.
 *
 * A name is cut into words at what is neither letter, digit nor colon; words of the unit follow unless
 * the name has them, then "total" for counters or "ratio" for gauges without unit.  Where names are
 * kept as they are, the same words are appended unless they are the end already.
 */
#include "c.h"

#include "wire/otlp.h"

#define MAX_WORDS	128

typedef struct Word
{
	const char *text;
	size_t		len;
} Word;

typedef struct Abbreviation
{
	const char *unit;
	const char *words;
} Abbreviation;

static const Abbreviation units[] = {
	{"d", "days"}, {"h", "hours"}, {"min", "minutes"}, {"s", "seconds"}, {"ms", "milliseconds"},
	{"us", "microseconds"}, {"ns", "nanoseconds"},
	{"By", "bytes"}, {"KiBy", "kibibytes"}, {"MiBy", "mebibytes"}, {"GiBy", "gibibytes"}, {"TiBy", "tibibytes"},
	{"KBy", "kilobytes"}, {"MBy", "megabytes"}, {"GBy", "gigabytes"}, {"TBy", "terabytes"},
	{"m", "meters"}, {"V", "volts"}, {"A", "amperes"}, {"J", "joules"}, {"W", "watts"}, {"g", "grams"},
	{"Cel", "celsius"}, {"Hz", "hertz"}, {"1", ""}, {"%", "percent"}, {NULL, NULL}
};

static const Abbreviation per_units[] = {
	{"s", "second"}, {"m", "minute"}, {"h", "hour"}, {"d", "day"}, {"w", "week"}, {"mo", "month"},
	{"y", "year"}, {NULL, NULL}
};

static bool
is_word_char(uint8 c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ':';
}

/* Half of a unit in words: those of its abbreviation, or itself with underscores for what is no letter. */
static void
put_unit(PromWireBuffer *out, const char *text, size_t len, const Abbreviation *table)
{
	size_t		start;
	bool		gap = false;

	while (len > 0 && (*text == ' ' || *text == '\t'))
		text++, len--;
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	if (memchr(text, '{', len) || memchr(text, '}', len))
		return;
	for (; table->unit; table++)
	{
		if (strlen(table->unit) == len && memcmp(table->unit, text, len) == 0)
		{
			put_bytes(out, table->words, strlen(table->words));
			return;
		}
	}
	start = out->len;
	for (size_t i = 0; i < len; i++)
	{
		if (!is_word_char((uint8) text[i]))
		{
			gap = true;
			continue;
		}
		if (gap && out->len > start)
			put_byte(out, '_');
		gap = false;
		put_byte(out, (uint8) text[i]);
	}
}

static bool
has_word(const Word *words, int n, Word w)
{
	for (int i = 0; i < n; i++)
	{
		if (words[i].len == w.len && memcmp(words[i].text, w.text, w.len) == 0)
			return true;
	}
	return false;
}

static int
remove_word(Word *words, int n, const char *text)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		if (words[i].len != strlen(text) || memcmp(words[i].text, text, words[i].len) != 0)
			words[kept++] = words[i];
	}
	return kept;
}

/* The words of a name; 0 if there are none, or too many. */
static int
cut(const char *name, size_t len, Word *words)
{
	int			n = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (!is_word_char((uint8) name[i]))
			continue;
		if (n == MAX_WORDS)
			return 0;
		words[n].text = name + i;
		while (i < len && is_word_char((uint8) name[i]))
			i++;
		words[n].len = name + i - words[n].text;
		n++;
	}
	return n;
}

static void
put_words(PromWireBuffer *out, const Word *words, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (i == 0 && words[0].text[0] >= '0' && words[0].text[0] <= '9')
			put_byte(out, '_');
		if (i > 0)
			put_byte(out, '_');
		put_bytes(out, words[i].text, words[i].len);
	}
}

/* Only what is no character of a name becomes an underscore. */
static void
put_escaped(PromWireBuffer *out, const char *name, size_t len)
{
	bool		gap = false;
	bool		any = false;

	for (size_t i = 0; i < len; i++)
	{
		uint8		c = (uint8) name[i];

		if (!is_word_char(c) && c != '_')
		{
			gap = true;
			continue;
		}
		if ((gap && any) || (!any && c >= '0' && c <= '9'))
			put_byte(out, '_');
		gap = false;
		any = true;
		put_byte(out, c);
	}
}

/* A name without a word at its end and what parts them. */
static size_t
without_suffix(const char *name, size_t len, Word w)
{
	if (w.len == 0 || len < w.len || memcmp(name + len - w.len, w.text, w.len) != 0)
		return len;
	len -= w.len;
	if (len > 0 && !is_word_char((uint8) name[len - 1]))
		len--;
	return len;
}

static void
put_suffixed(PromWireBuffer *out, const OtlpMetric *m, Word unit, Word per, Word last)
{
	size_t		len = without_suffix(m->name, m->name_len, last);

	len = without_suffix(m->name, len, per);
	len = without_suffix(m->name, len, unit);
	if (len == 0)
		len = m->name_len;
	put_bytes(out, m->name, len);
	if (unit.len > 0)
	{
		put_byte(out, '_');
		put_bytes(out, unit.text, unit.len);
	}
	if (per.len > 0)
	{
		put_bytes(out, "_per_", 5);
		put_bytes(out, per.text, per.len);
	}
	if (last.len > 0)
	{
		put_byte(out, '_');
		put_bytes(out, last.text, last.len);
	}
}

void
prom_otlp_name(Otlp *o, bool is_gauge)
{
	OtlpMetric *m = &o->metric;
	PromWireBuffer *out = o->names;
	PromOtlpStrategy strategy = o->options->strategy;
	const char *slash = memchr(m->unit, '/', m->unit_len);
	size_t		main_len = slash ? slash - m->unit : m->unit_len;
	Word		words[MAX_WORDS + 4];
	Word		unit;
	Word		per;
	Word		last = {"", 0};
	size_t		per_at;
	size_t		name_at;
	int			n;

	if (m->type == 1)
		last.text = "total";
	else if (is_gauge && m->unit_len == 1 && *m->unit == '1')
		last.text = "ratio";
	last.len = strlen(last.text);

	/* The unit first; nothing may move the texts that words point to. */
	out->len = 0;
	if (!put_room(out, 4 * (m->name_len + m->unit_len) + 1024))
		return;
	put_unit(out, m->unit, main_len, units);
	unit.text = (const char *) out->data;
	unit.len = out->len;
	if (slash)
		put_bytes(out, "_per_", 5);
	per_at = out->len;
	if (slash)
		put_unit(out, slash + 1, m->unit_len - main_len - 1, per_units);
	per.text = (const char *) out->data + per_at;
	per.len = out->len - per_at;
	m->unit_at = unit.len == 0 && per.len > 0 ? 1 : 0;
	m->unit_words_len = per.len > 0 ? out->len - m->unit_at : unit.len;

	name_at = out->len;
	if (strategy == PROM_OTLP_NO_TRANSLATION)
		put_bytes(out, m->name, m->name_len);
	else if (strategy == PROM_OTLP_UTF8_WITH_SUFFIXES)
		put_suffixed(out, m, unit, per, last);
	else if (strategy == PROM_OTLP_UNDERSCORES_WITHOUT_SUFFIXES)
		put_escaped(out, m->name, m->name_len);
	else
	{
		n = cut(m->name, m->name_len, words);
		if (n == 0)
		{
			m->family_len = 0;
			return;
		}
		if (unit.len > 0 && !has_word(words, n, unit))
			words[n++] = unit;
		if (per.len > 0 && !has_word(words, n, per))
		{
			words[n++] = (Word) {"per", 3};
			words[n++] = per;
		}
		if (last.len > 0)
		{
			n = remove_word(words, n, last.text);
			words[n++] = last;
		}
		put_words(out, words, n);
	}
	m->family_at = name_at;
	m->family_len = out->len - name_at;
}

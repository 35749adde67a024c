/*
 * expose.c
 *	  Text that a Prometheus scrapes: names, labels, numbers.
 *
 * A name that older readers do not take is quoted, or escaped as the reader asks: each character it may not
 * have becomes "_" (underscores); or "." becomes "_dot_" and "_" becomes "__" (dots); or it is written as
 * its code point, "_2e_", behind "U__" (values).
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"

#include "api/expose.h"

void
prom_expose_number(StringInfo out, double v)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isnan(v) || isinf(v))
	{
		appendStringInfoString(out, isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
		return;
	}
	double_to_shortest_decimal_buf(v, text);
	appendStringInfoString(out, text);
}

/* With its quotes. */
static void
put_value(StringInfo out, const char *value, int len)
{
	appendStringInfoCharMacro(out, '"');
	for (int i = 0; i < len; i++)
	{
		if (value[i] == '\n')
			appendStringInfoString(out, "\\n");
		else
		{
			if (value[i] == '"' || value[i] == '\\')
				appendStringInfoCharMacro(out, '\\');
			appendStringInfoCharMacro(out, value[i]);
		}
	}
	appendStringInfoCharMacro(out, '"');
}

static bool
is_legal_char(char c, bool first, bool metric)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (metric && c == ':') ||
		(!first && c >= '0' && c <= '9');
}

static bool
is_legal(const char *name, int len, bool metric)
{
	for (int i = 0; i < len; i++)
	{
		if (!is_legal_char(name[i], i == 0, metric))
			return false;
	}
	return len > 0;
}

static void
escape_char(StringInfo out, const char *c, int len, bool legal, PromEscaping escaping)
{
	if (escaping == PROM_ESCAPE_UNDERSCORES)
		appendStringInfoCharMacro(out, legal ? *c : '_');
	else if (*c == '_')
		appendStringInfoString(out, "__");
	else if (legal)
		appendStringInfoCharMacro(out, *c);
	else if (escaping == PROM_ESCAPE_DOTS)
		appendStringInfoString(out, *c == '.' ? "_dot_" : "__");
	else
		appendStringInfo(out, "_%x_", (unsigned) utf8_to_unicode((const unsigned char *) c));
}

/* True if it was written as a plain name; false: it must be quoted, and nothing is written. */
static bool
put_plain(StringInfo out, const char *name, int len, PromEscaping escaping, bool metric)
{
	bool		legal = is_legal(name, len, metric);

	if (!legal && escaping == PROM_ESCAPE_NOTHING)
		return false;
	if (legal && escaping != PROM_ESCAPE_DOTS)
	{
		appendBinaryStringInfo(out, name, len);
		return true;
	}
	if (escaping == PROM_ESCAPE_VALUES)
		appendStringInfoString(out, "U__");
	for (int i = 0; i < len;)
	{
		int			n = Min(pg_utf_mblen((const unsigned char *) name + i), len - i);

		escape_char(out, name + i, n, is_legal_char(name[i], i == 0 && escaping != PROM_ESCAPE_VALUES, metric), escaping);
		i += n;
	}
	return true;
}

void
prom_expose_name(StringInfo out, const char *name, int len, PromEscaping escaping)
{
	if (!put_plain(out, name, len, escaping, true))
		put_value(out, name, len);
}

void
prom_expose_bare(StringInfo out, const char *name, int len, PromEscaping escaping, bool metric)
{
	if (!put_plain(out, name, len, escaping, metric))
		appendBinaryStringInfo(out, name, len);
}

static bool
is_named(const PromLabel *label, const char *name)
{
	return label->name_len == (int) strlen(name) && memcmp(label->name, name, label->name_len) == 0;
}

void
prom_expose_series(StringInfo out, const PromLabels *labels, PromEscaping escaping, bool instance)
{
	int			n;
	PromLabel  *label = prom_labels_unpack(labels, &n);
	const char *separator = "{";

	for (int i = 0; i < n; i++)
	{
		if (!is_named(&label[i], "__name__"))
			continue;
		if (!put_plain(out, label[i].value, label[i].value_len, escaping, true))
		{
			appendStringInfoCharMacro(out, '{');
			put_value(out, label[i].value, label[i].value_len);
			separator = ",";
		}
	}
	for (int i = 0; i < n; i++)
	{
		if (is_named(&label[i], "__name__"))
			continue;
		instance &= !is_named(&label[i], "instance");
		appendStringInfoString(out, separator);
		if (!put_plain(out, label[i].name, label[i].name_len, escaping, false))
			put_value(out, label[i].name, label[i].name_len);
		appendStringInfoCharMacro(out, '=');
		put_value(out, label[i].value, label[i].value_len);
		separator = ",";
	}
	if (instance)
	{
		appendStringInfo(out, "%sinstance=\"\"", separator);
		separator = ",";
	}
	if (separator[0] == ',')
		appendStringInfoCharMacro(out, '}');
	pfree(label);
}

/*
 * labels_text.c
 *	  Label sets as text: {__name__="up", job="x"}.
 *
 * Printed is always that form.  Read is whatever selects one series in PromQL: a metric name before
 * the braces or as a string of its own inside them, quoted label names, the three kinds of quotes, a
 * comma at the end.  Strings have Go's escapes.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "common/compat.h"
#include "series/labels.h"

typedef struct LabelText
{
	const char *text;
	const char *at;
	PromLabel  *pairs;
	int			n;
	int			room;
} LabelText;

static void add_pair(LabelText *t, const char *name, int name_len, const char *value, int value_len);
static void read_inside(LabelText *t);
static inline bool is_name_char(char c, bool first);
static bool read_name(LabelText *t, bool metric, const char **name, int *len);
static bool read_string(LabelText *t, const char **bytes, int *len);
static void read_escape(LabelText *t, StringInfo out);
static uint32 read_code(LabelText *t, int digits, int base);
static void skip_blanks(LabelText *t);
static bool skip_char(LabelText *t, char c);
static void print_name(StringInfo out, const char *name, int len);
static void syntax_error(LabelText *t, const char *expected) pg_attribute_noreturn();

PromLabel *
prom_labels_parse(const char *text, int *n)
{
	LabelText	t = {text, text, palloc(16 * sizeof(PromLabel)), 0, 16};
	const char *name;
	int			len;

	skip_blanks(&t);
	if (read_name(&t, true, &name, &len))
	{
		add_pair(&t, "__name__", 8, name, len);
		skip_blanks(&t);
	}
	if (skip_char(&t, '{'))
		read_inside(&t);
	else if (t.n == 0)
		syntax_error(&t, "a metric name or \"{\"");
	skip_blanks(&t);
	if (*t.at != '\0')
		syntax_error(&t, "the end");
	*n = t.n;
	return t.pairs;
}

void
prom_labels_print(StringInfo out, const PromLabels *l)
{
	PromLabelWalk w = prom_label_walk(l);
	PromLabel	label;
	const char *between = "";

	appendStringInfoChar(out, '{');
	while (prom_label_next(&w, &label))
	{
		appendStringInfoString(out, between);
		print_name(out, label.name, label.name_len);
		appendStringInfoChar(out, '=');
		prom_label_quote(out, label.value, label.value_len);
		between = ", ";
	}
	appendStringInfoChar(out, '}');
}

static void
add_pair(LabelText *t, const char *name, int name_len, const char *value, int value_len)
{
	if (t->n == t->room)
	{
		t->room *= 2;
		t->pairs = repalloc_huge(t->pairs, t->room * sizeof(PromLabel));
	}
	t->pairs[t->n++] = (PromLabel) {name, value, name_len, value_len};
}

/* The pairs up to and with the closing brace. */
static void
read_inside(LabelText *t)
{
	for (;;)
	{
		const char *name,
				   *value;
		int			name_len,
					value_len;
		bool		quoted = false;

		skip_blanks(t);
		if (skip_char(t, '}'))
			return;
		if (!read_name(t, false, &name, &name_len))
		{
			quoted = read_string(t, &name, &name_len);
			if (!quoted)
				syntax_error(t, "a label name or \"}\"");
		}
		skip_blanks(t);
		if (skip_char(t, '='))
		{
			skip_blanks(t);
			if (!read_string(t, &value, &value_len))
				syntax_error(t, "a quoted value");
			add_pair(t, name, name_len, value, value_len);
		}
		else if (quoted)
			add_pair(t, "__name__", 8, name, name_len);
		else
			syntax_error(t, "\"=\"");
		skip_blanks(t);
		if (skip_char(t, '}'))
			return;
		if (!skip_char(t, ','))
			syntax_error(t, "\",\" or \"}\"");
	}
}

void
prom_labels_print_legend(StringInfo out, const PromLabels *l)
{
	PromLabelWalk w = prom_label_walk(l);
	PromLabel	label;
	const char *name;
	int			len = 0;
	int			plain = 0;
	int			start;
	bool		named = prom_labels_get(l, "__name__", 8, &name, &len);

	while (plain < len && (is_name_char(name[plain], plain == 0) || name[plain] == ':'))
		plain++;
	if (!named || plain < len)
	{
		prom_labels_print(out, l);
		return;
	}
	appendBinaryStringInfo(out, name, len);
	start = out->len;
	while (prom_label_next(&w, &label))
	{
		if (label.name_len == 8 && memcmp(label.name, "__name__", 8) == 0)
			continue;
		appendStringInfoString(out, out->len == start ? "{" : ", ");
		print_name(out, label.name, label.name_len);
		appendStringInfoChar(out, '=');
		prom_label_quote(out, label.value, label.value_len);
	}
	if (out->len > start)
		appendStringInfoChar(out, '}');
}

static inline bool
is_name_char(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		(c >= '0' && c <= '9' && !first);
}

/* An unquoted name, which points into the text; colons are for metrics only. */
static bool
read_name(LabelText *t, bool metric, const char **name, int *len)
{
	*name = t->at;
	while (is_name_char(*t->at, t->at == *name) || (metric && *t->at == ':'))
		t->at++;
	*len = t->at - *name;
	return *len > 0;
}

static bool
read_string(LabelText *t, const char **bytes, int *len)
{
	char		quote = *t->at;
	StringInfoData out;

	if (quote != '"' && quote != '\'' && quote != '`')
		return false;
	t->at++;
	initStringInfo(&out);
	while (*t->at != quote)
	{
		if (*t->at == '\0' || (*t->at == '\n' && quote != '`'))
			syntax_error(t, "the closing quote");
		if (*t->at == '\\' && quote != '`')
			read_escape(t, &out);
		else
			appendStringInfoChar(&out, *t->at++);
	}
	t->at++;
	*bytes = out.data;
	*len = out.len;
	return true;
}

static void
read_escape(LabelText *t, StringInfo out)
{
	static const char letters[] = "abfnrtv\\\"'";
	static const char meant[] = "\a\b\f\n\r\t\v\\\"'";
	unsigned char utf8[8];
	char		c = *++t->at;
	const char *letter = c == '\0' ? NULL : strchr(letters, c);
	uint32		code;

	if (letter)
	{
		appendStringInfoChar(out, meant[letter - letters]);
		t->at++;
	}
	else if (c == 'x' || (c >= '0' && c <= '7'))
	{
		if (c == 'x')
			t->at++;
		code = c == 'x' ? read_code(t, 2, 16) : read_code(t, 3, 8);
		if (code > 255)
			syntax_error(t, "an escaped byte of at most \\377");
		appendStringInfoChar(out, (char) code);
	}
	else if (c == 'u' || c == 'U')
	{
		t->at++;
		code = read_code(t, c == 'u' ? 4 : 8, 16);
		if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
			syntax_error(t, "an escaped Unicode character");
		unicode_to_utf8(code, utf8);
		appendBinaryStringInfo(out, (char *) utf8, pg_utf_mblen(utf8));
	}
	else
		syntax_error(t, "an escape sequence of Go");
}

static uint32
read_code(LabelText *t, int digits, int base)
{
	uint32		code = 0;

	for (int i = 0; i < digits; i++, t->at++)
	{
		char		c = *t->at;
		int			digit = c >= '0' && c <= '9' ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10 : base;

		if (digit >= base)
			syntax_error(t, "a digit of an escape sequence");
		code = code * base + digit;
	}
	return code;
}

static void
skip_blanks(LabelText *t)
{
	while (*t->at == ' ' || *t->at == '\t' || *t->at == '\n' || *t->at == '\r')
		t->at++;
}

static bool
skip_char(LabelText *t, char c)
{
	if (*t->at != c)
		return false;
	t->at++;
	return true;
}

static void
print_name(StringInfo out, const char *name, int len)
{
	int			plain = 0;

	while (plain < len && is_name_char(name[plain], plain == 0))
		plain++;
	if (plain == len)
		appendBinaryStringInfo(out, name, len);
	else
		prom_label_quote(out, name, len);
}

void
prom_label_quote(StringInfo out, const char *s, int len)
{
	static const char letters[] = "abtnvfr";	/* \a is 7, \r is 13 */

	appendStringInfoChar(out, '"');
	for (const char *end = s + len; s < end; s++)
	{
		unsigned char c = *s;

		if (c == '"' || c == '\\')
			appendStringInfo(out, "\\%c", c);
		else if (c >= 7 && c <= 13)
			appendStringInfo(out, "\\%c", letters[c - 7]);
		else if (c < ' ' || c == 0x7f)
			appendStringInfo(out, "\\x%02x", c);
		else if (c == 0xc2 && (unsigned char) s[1] < 0xa0)
			appendStringInfo(out, "\\u%04x", (unsigned char) *++s);
		else
			appendStringInfoChar(out, c);
	}
	appendStringInfoChar(out, '"');
}

static void
syntax_error(LabelText *t, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"", "prom.labels", t->text),
			 errdetail("Expected %s at character %d.", expected,
					   pg_mbstrlen_with_len(t->text, t->at - t->text) + 1)));
}

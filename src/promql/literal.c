/*
 * literal.c
 *	  Numbers, durations, strings and words of PromQL: from their text to values, and quoting.
 *
 * The scanner has seen to it that the text has roughly the right shape; what is left to check here
 * are ranges, the order of units and the escapes.  Decoded strings never hold a zero byte, but may be
 * invalid UTF-8, since \xff is a byte: whoever gives them to PostgreSQL checks.
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "promql/parse.h"

#define NS_PER_MS UINT64CONST(1000000)

typedef struct Unit
{
	const char *name;
	uint64		ms;
} Unit;

/* in the order in which a duration must have them */
static const Unit units[] =
{
	{"y", UINT64CONST(365) * 24 * 3600 * 1000},
	{"w", UINT64CONST(7) * 24 * 3600 * 1000},
	{"d", UINT64CONST(24) * 3600 * 1000},
	{"h", UINT64CONST(3600) * 1000},
	{"m", UINT64CONST(60) * 1000},
	{"s", UINT64CONST(1000)},
	{"ms", UINT64CONST(1)},
};

static void read_escape(PromqlParser *parser, PromqlSpan span, const char **p, const char *end,
						char quote, StringInfo out);
static char *code_point(const char *p, const char *end);
static void append_escaped(StringInfo out, const char *p, int len, char quote);

char *
promql_word(PromqlParser *parser, PromqlSpan span)
{
	return pnstrdup(parser->text + span.start, span.end - span.start);
}

/* Go's rules: integers may be hexadecimal or, after a leading 0, octal; _ may stand between digits. */
double
promql_number(PromqlParser *parser, PromqlSpan span)
{
	char	   *text = promql_word(parser, span);
	char	   *digits = palloc(strlen(text) + 1);
	int			n = 0;
	char	   *end;
	int64		integer;
	double		number;

	for (char *p = text; *p; p++)
	{
		if (*p != '_')
			digits[n++] = *p;
	}
	digits[n] = '\0';

	if (digits[0] == '0' && n > 1 && strspn(digits, "01234567xX") >= 2)
	{
		bool		hex = digits[1] == 'x' || digits[1] == 'X';

		errno = 0;
		integer = strtoi64(digits + (hex ? 2 : 1), &end, hex ? 16 : 8);
		if (errno == 0 && *end == '\0' && !(hex && n == 2))
			return (double) integer;
		if (hex)
			promql_error(parser->text, span.start,
						 "error parsing number: strconv.ParseFloat: parsing %s: invalid syntax",
						 promql_quote(text, strlen(text)));
	}

	number = strtod(digits, &end);
	if (isinf(number))
		promql_error(parser->text, span.start,
					 "error parsing number: strconv.ParseFloat: parsing %s: value out of range",
					 promql_quote(text, strlen(text)));
	return number;
}

int64
promql_duration_ms(PromqlParser *parser, PromqlSpan span)
{
	char	   *text = promql_word(parser, span);
	int			last = -1;
	uint64		total_ns = 0;
	char	   *p = text;

	while (*p)
	{
		char		unit[3] = {0};
		uint64		count;
		int			i;
		char	   *end;

		errno = 0;
		count = strtou64(p, &end, 10);
		for (i = 0; *end && !isdigit((unsigned char) *end) && i < 2; i++)
			unit[i] = *end++;
		if (errno != 0)
			promql_error(parser->text, span.start, "not a valid duration string: %s",
						 promql_quote(text, strlen(text)));
		p = end;

		for (i = 0; i < lengthof(units); i++)
		{
			if (strcmp(unit, units[i].name) == 0)
				break;
		}
		if (i == lengthof(units))
			promql_error(parser->text, span.start, "unknown unit \"%s\" in duration %s", unit,
						 promql_quote(text, strlen(text)));
		if (i <= last)
			promql_error(parser->text, span.start, "not a valid duration string: %s",
						 promql_quote(text, strlen(text)));
		last = i;

		if (count > (uint64) PG_INT64_MAX / (units[i].ms * NS_PER_MS))
			promql_error(parser->text, span.start, "duration out of range");
		total_ns += count * units[i].ms * NS_PER_MS;
		if (total_ns > PG_INT64_MAX)
			promql_error(parser->text, span.start, "duration out of range");
	}
	return total_ns / NS_PER_MS;
}

/*
 * The value of a string with its quotes.  The closing one may be missing: then only the escapes
 * matter, and the caller knows.
 */
char *
promql_string(PromqlParser *parser, PromqlSpan span)
{
	const char *p = parser->text + span.start;
	const char *end = parser->text + span.end;
	char		quote = *p++;
	StringInfoData out;

	initStringInfo(&out);
	while (p < end && *p != quote)
	{
		if (*p == '\\' && quote != '`')
		{
			p++;
			read_escape(parser, span, &p, end, quote, &out);
		}
		else
			appendStringInfoCharMacro(&out, *p++);
	}
	return out.data;
}

/* Decode the escape after a backslash and move past it. */
static void
read_escape(PromqlParser *parser, PromqlSpan span, const char **p, const char *end, char quote,
			StringInfo out)
{
	static const char letters[] = "abfnrtv\\";
	static const char meanings[] = "\a\b\f\n\r\t\v\\";
	uint32		code = 0;
	uint32		limit = 255;
	int			base = 16;
	int			ndigits;
	char		c;

	if (*p >= end)
		promql_error(parser->text, span.start, "escape sequence not terminated");
	c = **p;
	if (c == quote || strchr(letters, c))
	{
		appendStringInfoChar(out, c == quote ? c : meanings[strchr(letters, c) - letters]);
		(*p)++;
		return;
	}

	if (c >= '0' && c <= '7')
	{
		base = 8;
		ndigits = 3;
	}
	else if (c == 'x' || c == 'u' || c == 'U')
	{
		ndigits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
		if (c != 'x')
			limit = 0x10ffff;
		(*p)++;
	}
	else
		promql_error(parser->text, span.start, "unknown escape sequence %s", code_point(*p, end));

	for (int i = 0; i < ndigits; i++, (*p)++)
	{
		int			digit = base;

		if (*p >= end)
			promql_error(parser->text, span.start, "escape sequence not terminated");
		if (isxdigit((unsigned char) **p))
			digit = isdigit((unsigned char) **p) ? **p - '0' : (**p | 0x20) - 'a' + 10;
		if (digit >= base)
			promql_error(parser->text, span.start, "illegal character %s in escape sequence",
						 code_point(*p, end));
		code = code * base + digit;
	}
	if (code > limit || (code >= 0xd800 && code < 0xe000))
		promql_error(parser->text, span.start, "escape sequence is an invalid Unicode code point");
	if (code == 0)
		promql_error(parser->text, span.start, "string literal contains a zero byte");

	if (limit == 255)
		appendStringInfoChar(out, (char) code);
	else
	{
		unsigned char utf8[8];

		unicode_to_utf8(code, utf8);
		appendBinaryStringInfo(out, (char *) utf8, pg_utf_mblen(utf8));
	}
}

/* U+0064 'd' */
static char *
code_point(const char *p, const char *end)
{
	uint32		code = utf8_to_unicode((const unsigned char *) p);

	if (code < 0x20 || (code >= 0x7f && code < 0xa0))
		return psprintf("U+%04X", code);
	return psprintf("U+%04X '%.*s'", code, (int) Min(pg_utf_mblen((const unsigned char *) p), end - p), p);
}

char *
promql_rune(const char *p)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '\'');
	if (*p)
		append_escaped(&out, p, pg_utf_mblen((const unsigned char *) p), '\'');
	else
		appendStringInfoString(&out, "\xef\xbf\xbd");
	appendStringInfoChar(&out, '\'');
	return out.data;
}

char *
promql_quote(const char *p, int len)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '"');
	append_escaped(&out, p, len, '"');
	appendStringInfoChar(&out, '"');
	return out.data;
}

/* Go's escapes, for what is not printable: controls, the quote, the backslash, bytes that are no UTF-8 */
static void
append_escaped(StringInfo out, const char *p, int len, char quote)
{
	static const char letters[] = "abfnrtv";
	static const char meanings[] = "\a\b\f\n\r\t\v";
	const char *end = p + len;

	while (p < end)
	{
		unsigned char c = *p;
		const char *known = c ? strchr(meanings, c) : NULL;
		int			n = pg_utf_mblen((const unsigned char *) p);

		if (n > end - p || pg_encoding_verifymbchar(PG_UTF8, p, end - p) < 0)
			n = 0;

		if (c == quote || c == '\\')
			appendStringInfo(out, "\\%c", c);
		else if (known)
			appendStringInfo(out, "\\%c", letters[known - meanings]);
		else if (n == 0 || c < 0x20 || c == 0x7f)
			appendStringInfo(out, "\\x%02x", c);
		else if (n == 2 && c == 0xc2 && (unsigned char) p[1] < 0xa0)
			appendStringInfo(out, "\\u00%02x", (unsigned char) p[1]);
		else
			appendBinaryStringInfo(out, p, n);
		p += Max(n, 1);
	}
}

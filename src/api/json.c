/*
 * json.c
 *	  JSON as Prometheus writes it: strings, sample values, times.
 *
 * Sample values are strings with the shortest decimal that reads back as the same float64.  The
 * server's own shortest output has the right digits but turns to exponents at other limits, so its
 * digits are laid out again: plain from 1e-6 up to 1e21, with exponent beyond.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "utils/builtins.h"

#include "api/gateway.h"

/* digits of a double at most, and some */
#define PROM_JSON_MAX_DIGITS 32

/* Well within the limits at which the server turns to exponents */
#define MIN_PLAIN	1e-3
#define MAX_PLAIN	1e14

void
prom_json_string(StringInfo out, const char *s, int len)
{
	int			plain = 0;

	appendStringInfoCharMacro(out, '"');
	for (int i = 0; i < len; i++)
	{
		unsigned char c = s[i];

		if (c >= ' ' && c != '"' && c != '\\')
			continue;
		appendBinaryStringInfo(out, s + plain, i - plain);
		plain = i + 1;
		switch (c)
		{
			case '"':
				appendStringInfoString(out, "\\\"");
				break;
			case '\\':
				appendStringInfoString(out, "\\\\");
				break;
			case '\n':
				appendStringInfoString(out, "\\n");
				break;
			case '\r':
				appendStringInfoString(out, "\\r");
				break;
			case '\t':
				appendStringInfoString(out, "\\t");
				break;
			default:
				appendStringInfo(out, "\\u%04x", c);
		}
	}
	appendBinaryStringInfo(out, s + plain, len - plain);
	appendStringInfoCharMacro(out, '"');
}

/*
 * Take the server's text of a finite double apart: its digits without leading and trailing zeros,
 * and the power of ten of the first one.  Zero has no digits.
 */
static int
take_digits(const char *text, char *digits, int *power)
{
	int			n = 0;
	int			point = 0;		/* digits before the point, counted from the first that is not 0 */
	bool		after_point = false;
	const char *p;

	for (p = text; *p != '\0' && *p != 'e'; p++)
	{
		if (*p == '.')
			after_point = true;
		else if (*p != '-')
		{
			if (n > 0 || *p != '0')
				digits[n++] = *p;
			if (!after_point && n > 0)
				point++;
			else if (after_point && n == 0)
				point--;
		}
	}
	*power = point - 1 + (*p == 'e' ? atoi(p + 1) : 0);
	while (n > 0 && digits[n - 1] == '0')
		n--;
	return n;
}

static void
append_zeros(StringInfo out, int n)
{
	while (n-- > 0)
		appendStringInfoCharMacro(out, '0');
}

/* What both lay out in the same way: no exponent anywhere near.  False of other values. */
static bool
append_plain(StringInfo out, double v)
{
	char	   *at;

	if (v != 0 && !(fabs(v) >= MIN_PLAIN && fabs(v) < MAX_PLAIN))
		return false;
	enlargeStringInfo(out, DOUBLE_SHORTEST_DECIMAL_LEN + 2);
	at = out->data + out->len;
	*at++ = '"';
	at += double_to_shortest_decimal_bufn(v, at);
	*at++ = '"';
	*at = '\0';
	out->len = at - out->data;
	return true;
}

void
prom_json_value(StringInfo out, double v)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];
	char		digits[PROM_JSON_MAX_DIGITS];
	int			n;
	int			power;

	if (append_plain(out, v))
		return;
	if (isnan(v) || isinf(v))
	{
		appendStringInfoString(out, isnan(v) ? "\"NaN\"" : v > 0 ? "\"+Inf\"" : "\"-Inf\"");
		return;
	}
	double_to_shortest_decimal_buf(v, text);
	n = take_digits(text, digits, &power);

	appendStringInfoString(out, signbit(v) ? "\"-" : "\"");
	if (n == 0)
		appendStringInfoCharMacro(out, '0');
	else if (power < -6 || power > 20)
	{
		appendStringInfoCharMacro(out, digits[0]);
		if (n > 1)
			appendStringInfoCharMacro(out, '.');
		appendBinaryStringInfo(out, digits + 1, n - 1);
		appendStringInfo(out, "e%c%02d", power < 0 ? '-' : '+', abs(power));
	}
	else if (power < 0)
	{
		appendStringInfoString(out, "0.");
		append_zeros(out, -power - 1);
		appendBinaryStringInfo(out, digits, n);
	}
	else
	{
		int			whole = Min(n, power + 1);

		appendBinaryStringInfo(out, digits, whole);
		append_zeros(out, power + 1 - whole);
		if (n > whole)
		{
			appendStringInfoCharMacro(out, '.');
			appendBinaryStringInfo(out, digits + whole, n - whole);
		}
	}
	appendStringInfoCharMacro(out, '"');
}

void
prom_json_time(StringInfo out, int64 t_ms)
{
	uint64		abs_ms = t_ms < 0 ? -(uint64) t_ms : (uint64) t_ms;

	enlargeStringInfo(out, MAXINT8LEN + 5);
	if (t_ms < 0)
		appendStringInfoCharMacro(out, '-');
	out->len += pg_ulltoa_n(abs_ms / 1000, out->data + out->len);
	out->data[out->len] = '\0';
	if (abs_ms % 1000 != 0)
	{
		appendStringInfoCharMacro(out, '.');
		(void) pg_ultostr_zeropad(out->data + out->len, abs_ms % 1000, 3);
		out->len += 3;
		out->data[out->len] = '\0';
	}
}

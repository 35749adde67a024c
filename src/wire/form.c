/*
 * form.c
 *	  Query strings and urlencoded bodies; the header checks that stop request smuggling.
 *
 * A form is cut at '&' and each part at its first '='.  Decoding shrinks text, so it happens in place
 * and the closing zero byte takes the place of the separator: the caller's buffer needs one byte of
 * room after its end.  A zero byte, plain or as %00, is refused, for all that follows works on C
 * strings.
 *
 * The header checks count what a request says of its body's length.  Whoever stands between a client
 * and us (a proxy) must read the same length as we do, so everything that two readers could
 * understand in two ways is refused.
 */
#include "c.h"

#include "wire/error.h"
#include "wire/wire.h"

static int	hex_digit(char c);
static bool decode(char *from, char *to, const char *start, PromWireError *err);
static bool same_name(const char *a, const char *b);
static bool is_token(const char *name);

int
prom_form_next(char *buf, size_t len, size_t *pos, char **name, char **value, PromWireError *err)
{
	char	   *from;
	char	   *to;
	char	   *eq;

	/* empty parts, as in "a=1&&b=2", say nothing */
	while (*pos < len && buf[*pos] == '&')
		(*pos)++;
	if (*pos >= len)
		return 0;

	from = buf + *pos;
	to = memchr(from, '&', len - *pos);
	if (to == NULL)
		to = buf + len;
	*pos = (to - buf) + (to < buf + len ? 1 : 0);

	eq = memchr(from, '=', to - from);
	if (eq != NULL && !decode(eq + 1, to, buf, err))
		return -1;
	if (!decode(from, eq ? eq : to, buf, err))
		return -1;
	*name = from;
	*value = eq ? eq + 1 : to;
	/* without "=" the value is the empty string */
	if (eq == NULL)
		*to = '\0';
	return 1;
}

void
prom_body_header(PromBodyHeaders *h, const char *name, const char *value)
{
	if (!is_token(name))
		h->bad_name = true;
	else if (same_name(name, "host"))
		h->hosts++;
	else if (same_name(name, "content-length"))
	{
		const char *p = value;

		h->content_lengths++;
		h->length = 0;
		while (*p >= '0' && *p <= '9' && p - value < 18)
			h->length = h->length * 10 + (*p++ - '0');
		if (p == value || *p != '\0')
			h->bad_length = true;
	}
	else if (same_name(name, "transfer-encoding"))
	{
		h->transfer_encodings++;
		h->chunked = h->transfer_encodings == 1 && same_name(value, "chunked");
	}
}

const char *
prom_body_check(const PromBodyHeaders *h)
{
	if (h->bad_name)
		return "malformed header name";
	if (h->hosts > 1)
		return "more than one Host";
	if (h->content_lengths > 1)
		return "more than one Content-Length";
	if (h->transfer_encodings > 1)
		return "more than one Transfer-Encoding";
	if (h->content_lengths > 0 && h->transfer_encodings > 0)
		return "both Content-Length and Transfer-Encoding";
	if (h->transfer_encodings > 0 && !h->chunked)
		return "unsupported Transfer-Encoding";
	if (h->bad_length)
		return "malformed Content-Length";
	return NULL;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Decode [from, to) in place, "+" being a blank, and end it with a zero byte, at "to" at the latest. */
static bool
decode(char *from, char *to, const char *start, PromWireError *err)
{
	char	   *out = from;

	for (char *in = from; in < to; in++)
	{
		const char *at = in;
		char		c = *in;

		if (c == '+')
			c = ' ';
		else if (c == '%')
		{
			int			high = to - in > 2 ? hex_digit(in[1]) : -1;
			int			low = to - in > 2 ? hex_digit(in[2]) : -1;

			if (high < 0 || low < 0)
				return wire_fail(err, "malformed percent escape", at - start);
			c = (char) (high << 4 | low);
			in += 2;
		}
		if (c == '\0')
			return wire_fail(err, "zero byte", at - start);
		*out++ = c;
	}
	*out = '\0';
	return true;
}

/* Equal but for the case of ASCII letters; b is in lower case. */
static bool
same_name(const char *a, const char *b)
{
	while (*a != '\0' && (*a >= 'A' && *a <= 'Z' ? *a + ('a' - 'A') : *a) == *b)
	{
		a++;
		b++;
	}
	return *a == '\0' && *b == '\0';
}

/* A "token" of RFC 9110, 5.6.2: all that a header name may be. */
static bool
is_token(const char *name)
{
	if (*name == '\0')
		return false;
	for (; *name != '\0'; name++)
	{
		unsigned char c = *name;

		if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c) != NULL)
			return false;
	}
	return true;
}

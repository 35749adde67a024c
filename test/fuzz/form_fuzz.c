/*
 * form_fuzz.c
 *	  Throws forms and headers at form.c, outside the server.
 *
 *		form_fuzz SECONDS [SEED]
 *
 * Each round encodes known pairs, some bytes percent-escaped for no reason, reads them back and
 * compares; then does the same with random bytes, where all that is handed out must lie inside the
 * buffer and end with a zero byte.  Buffers have exactly the size of the contract, so that the
 * address sanitizer sees the first byte too far.
 */
#include "c.h"

#include "wire/wire.h"

#include "harness.h"

#define MAX_PAIRS		8
#define MAX_TEXT		12
#define MAX_FORM		4096

/* Text without zero bytes, and its encoding appended to the form. */
static void
make_text(char *text, char *form, size_t *len)
{
	int			n = next_random() % MAX_TEXT;

	for (int i = 0; i < n; i++)
	{
		unsigned char c = 1 + next_random() % 255;
		bool		plain = (c >= 'a' && c <= 'z') || c == '.';

		text[i] = (char) c;
		if (c == ' ' && next_random() % 2 == 0)
			form[(*len)++] = '+';
		else if (plain && next_random() % 4 != 0)
			form[(*len)++] = (char) c;
		else
		{
			const char *digits = next_random() % 2 == 0 ? "0123456789abcdef" : "0123456789ABCDEF";

			form[(*len)++] = '%';
			form[(*len)++] = digits[c >> 4];
			form[(*len)++] = digits[c & 15];
		}
	}
	text[n] = '\0';
}

static char *
exact_copy(const char *form, size_t len)
{
	char	   *copy = malloc(len + 1);

	memcpy(copy, form, len);
	copy[len] = 'x';			/* need not be a zero byte */
	return copy;
}

static void
round_trip(void)
{
	char		names[MAX_PAIRS][MAX_TEXT + 1];
	char		values[MAX_PAIRS][MAX_TEXT + 1];
	char		form[MAX_FORM] = "";
	size_t		len = 0;
	size_t		pos = 0;
	int			n = next_random() % (MAX_PAIRS + 1);
	char	   *copy;
	char	   *name;
	char	   *value;
	PromWireError err = {0};

	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			form[len++] = '&';
		make_text(names[i], form, &len);
		form[len++] = '=';
		make_text(values[i], form, &len);
	}
	copy = exact_copy(form, len);
	for (int i = 0; i < n; i++)
	{
		if (prom_form_next(copy, len, &pos, &name, &value, &err) != 1)
			fail("a pair is missing");
		if (strcmp(name, names[i]) != 0 || strcmp(value, values[i]) != 0)
			fail("a pair is different");
	}
	if (prom_form_next(copy, len, &pos, &name, &value, &err) != 0)
		fail("a pair too many");
	free(copy);
}

static void
random_form(void)
{
	static const char bytes[] = "ab=&%+0f\0";
	char		form[64];
	size_t		len = next_random() % sizeof(form);
	size_t		pos = 0;
	char	   *copy;
	char	   *name;
	char	   *value;
	PromWireError err = {0};
	int			rc;

	for (size_t i = 0; i < len; i++)
		form[i] = next_random() % 8 == 0 ? (char) next_random() : bytes[next_random() % (sizeof(bytes) - 1)];
	copy = exact_copy(form, len);
	while ((rc = prom_form_next(copy, len, &pos, &name, &value, &err)) == 1)
	{
		if (name < copy || name + strlen(name) > copy + len ||
			value < copy || value + strlen(value) > copy + len || pos > len)
			fail("a pair lies outside of the form");
	}
	if (rc == -1 && (err.reason == NULL || err.offset >= len))
		fail("an error without reason or place");
	free(copy);
}

static void
random_headers(void)
{
	static const char *const names[] = {"Content-Length", "content-length", "Transfer-Encoding", "X", "a b", ""};
	static const char *const values[] = {"0", "17", "+5", "1, 1", "chunked", "Chunked", "gzip, chunked", "",
	"99999999999999999999"};
	PromBodyHeaders h = {0};
	int			n = next_random() % 4;
	int			lengths = 0;
	int			encodings = 0;

	for (int i = 0; i < n; i++)
	{
		int			name = next_random() % lengthof(names);

		prom_body_header(&h, names[name], values[next_random() % lengthof(values)]);
		lengths += name < 2;
		encodings += name == 2;
	}
	if ((lengths > 1 || encodings > 1 || lengths + encodings > 1) && prom_body_check(&h) == NULL)
		fail("a body with two lengths was accepted");
}

static void
one_round(void)
{
	for (int i = 0; i < 1000; i++)
	{
		round_trip();
		random_form();
		random_headers();
	}
}

int
main(int argc, char **argv)
{
	return fuzz_rounds(fuzz_begin(argc, argv), one_round);
}

/*
 * text.c
 *	  Histograms and numbers as Prometheus prints them in texts.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"

#include "histogram/text.h"

/* Digits d.ddd and the decimal exponent of a number that is finite. */
static int
read_digits(double v, char *digits, int *ndigits)
{
	char		printed[DOUBLE_SHORTEST_DECIMAL_LEN];
	char	   *e;
	int			exponent = -1;
	bool		leading = true;
	bool		point = false;

	double_to_shortest_decimal_buf(fabs(v), printed);
	e = strchr(printed, 'e');
	*ndigits = 0;
	for (char *c = printed; *c != '\0' && c != e; c++)
	{
		if (*c == '.')
			point = true;
		else if (leading && *c == '0')
			exponent -= point ? 1 : 0;
		else
		{
			leading = false;
			digits[(*ndigits)++] = *c;
			exponent += point ? 0 : 1;
		}
	}
	while (*ndigits > 1 && digits[*ndigits - 1] == '0')
		(*ndigits)--;
	if (*ndigits == 0)
	{
		digits[(*ndigits)++] = '0';
		return 0;
	}
	return exponent + (e ? atoi(e + 1) : 0);
}

void
prom_histogram_print_number(StringInfo out, double v)
{
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];
	int			n;
	int			exponent;

	if (isnan(v) || isinf(v))
	{
		appendStringInfoString(out, isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
		return;
	}
	if (signbit(v))
		appendStringInfoChar(out, '-');
	exponent = read_digits(v, digits, &n);
	if (exponent < -4 || exponent >= 6)
	{
		appendStringInfoChar(out, digits[0]);
		if (n > 1)
			appendStringInfo(out, ".%.*s", n - 1, digits + 1);
		appendStringInfo(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
		return;
	}
	if (exponent < 0)
		appendStringInfo(out, "0.%.*s", -exponent - 1, "000");
	for (int i = 0; i < n || i <= exponent; i++)
	{
		if (i == exponent + 1 && exponent >= 0)
			appendStringInfoChar(out, '.');
		appendStringInfoChar(out, i < n ? digits[i] : '0');
	}
}

static void
print_bucket(StringInfo out, const PromHistogramBucket *b)
{
	bool		lower_included = b->kind == PROM_BUCKET_NEGATIVE || b->kind == PROM_BUCKET_ZERO ||
		(b->kind == PROM_BUCKET_CUSTOM && isinf(b->lower));

	appendStringInfoString(out, lower_included ? ", [" : ", (");
	prom_histogram_print_number(out, b->lower);
	appendStringInfoChar(out, ',');
	prom_histogram_print_number(out, b->upper);
	appendStringInfoString(out, b->kind == PROM_BUCKET_NEGATIVE ? "):" : "]:");
	prom_histogram_print_number(out, b->count);
}

void
prom_histogram_print(StringInfo out, const PromHistogram *h)
{
	int			n;
	PromHistogramBucket *b = prom_histogram_list(palloc, h, &n);

	appendStringInfoString(out, "{count:");
	prom_histogram_print_number(out, h->count);
	appendStringInfoString(out, ", sum:");
	prom_histogram_print_number(out, h->sum);
	for (int i = 0; i < n; i++)
		print_bucket(out, &b[i]);
	appendStringInfoChar(out, '}');
	pfree(b);
}

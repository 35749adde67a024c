/*
 * params.c
 *	  Values of request parameters: times, durations, limits, in Prometheus' notation and wording.
 *
 * Each prom_param_ function reads one parameter; a bad one is answered here, and false returned.
 * Times are clamped to what a timestamp can express, so that arithmetic on them cannot overflow.
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "mb/pg_wchar.h"
#include "utils/datetime.h"

#include "api/gateway.h"
#include "common/clock.h"
#include "promql/promql.h"

/* How clients print the least and the greatest time when they mean "all". */
#define PROM_TIME_LEAST "-292273086-05-16T16:47:06Z"
#define PROM_TIME_GREATEST "292277025-08-18T07:12:54.999999999Z"

static bool parse_time(const char *text, int64 *t_ms);
static bool parse_number(const char *text, double *v);
static bool parse_rfc3339(const char *text, int64 *t_ms);
static bool parse_duration(const char *text, int64 *ns, bool *overflow);
static bool parse_units(const char *text, int64 *ns);

bool
prom_param_time(PromRequest *r, const char *name, int64 *t_ms)
{
	const char *text = prom_request_param(r, name);

	if (parse_time(text, t_ms))
		return true;
	prom_answer_error(r, 400, "bad_data", "invalid parameter \"%s\": cannot parse %s to a valid timestamp",
					  name, prom_param_quote(text));
	return false;
}

bool
prom_param_time_or(PromRequest *r, const char *name, int64 fallback, int64 *t_ms)
{
	const char *text = prom_request_param(r, name);

	*t_ms = fallback;
	if (text[0] == '\0' || parse_time(text, t_ms))
		return true;
	prom_answer_error(r, 400, "bad_data",
					  "invalid parameter \"%s\": invalid time value for '%s': cannot parse %s to a valid timestamp",
					  name, name, prom_param_quote(text));
	return false;
}

bool
prom_param_duration(PromRequest *r, const char *name, int64 *ns)
{
	const char *text = prom_request_param(r, name);
	bool		overflow;

	if (parse_duration(text, ns, &overflow))
		return true;
	prom_answer_error(r, 400, "bad_data", "invalid parameter \"%s\": cannot parse %s to a valid duration%s",
					  name, prom_param_quote(text), overflow ? ". It overflows int64" : "");
	return false;
}

/* Absent, zero and negative mean the server's default, which is 0. */
bool
prom_param_lookback(PromRequest *r, int64 *lookback_ms)
{
	const char *text = prom_request_param(r, "lookback_delta");
	bool		overflow;
	int64		ns = 0;

	if (text[0] != '\0' && !parse_duration(text, &ns, &overflow))
	{
		prom_answer_error(r, 400, "bad_data",
						  "error parsing lookback delta duration: cannot parse %s to a valid duration%s",
						  prom_param_quote(text), overflow ? ". It overflows int64" : "");
		return false;
	}
	*lookback_ms = Max(ns / 1000000, 0);
	return true;
}

/* The request's own limit of time, but never more than the setting. */
bool
prom_param_timeout(PromRequest *r, int *timeout_ms)
{
	int64		ns;

	*timeout_ms = prom_gateway_query_timeout_ms;
	if (prom_request_param(r, "timeout")[0] == '\0')
		return true;
	if (!prom_param_duration(r, "timeout", &ns))
		return false;
	/* a statement_timeout of 0 would mean none */
	ns = Max(ns / 1000000, 1);
	if (*timeout_ms == 0 || ns < *timeout_ms)
		*timeout_ms = (int) Min(ns, PG_INT32_MAX);
	return true;
}

bool
prom_param_limit(PromRequest *r, const char *name, int *limit)
{
	const char *text = prom_request_param(r, name);
	const char *digits = text + (text[0] == '-' || text[0] == '+');
	long long	v;

	*limit = 0;
	if (text[0] == '\0')
		return true;
	if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
	{
		prom_answer_error(r, 400, "bad_data",
						  "invalid parameter \"%s\": strconv.Atoi: parsing %s: invalid syntax",
						  name, prom_param_quote(text));
		return false;
	}
	errno = 0;
	v = strtoll(text, NULL, 10);
	if (errno != 0 || v < 0)
	{
		if (errno != 0)
			prom_answer_error(r, 400, "bad_data",
							  "invalid parameter \"%s\": strconv.Atoi: parsing %s: value out of range",
							  name, prom_param_quote(text));
		else
			prom_answer_error(r, 400, "bad_data",
							  "invalid parameter \"%s\": %s must be non-negative", name, name);
		return false;
	}
	*limit = (int) Min(v, PG_INT32_MAX);
	return true;
}

/* As Go's strconv.ParseBool reads them. */
static bool
parse_bool(const char *text, bool *value)
{
	static const char *const words[] = {
		"1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"
	};

	for (int i = 0; i < lengthof(words); i++)
	{
		if (strcmp(text, words[i]) == 0)
		{
			*value = i < lengthof(words) / 2;
			return true;
		}
	}
	return false;
}

bool
prom_param_bool(PromRequest *r, const char *name, bool *value)
{
	const char *text = prom_request_param(r, name);

	if (text[0] == '\0' || parse_bool(text, value))
		return true;
	prom_answer_error(r, 400, "bad_data",
					  "invalid parameter \"%s\": strconv.ParseBool: parsing %s: invalid syntax",
					  name, prom_param_quote(text));
	return false;
}

/* "auto", or how coarse the data may be; absent, the setting decides. */
bool
prom_param_resolution(PromRequest *r, int64 *resolution_ms)
{
	const char *text = prom_request_param(r, "max_source_resolution");
	int64		ns;

	*resolution_ms = PROMQL_RESOLUTION_SETTING;
	if (text[0] == '\0')
		return true;
	*resolution_ms = PROMQL_RESOLUTION_AUTO;
	if (strcmp(text, "auto") == 0)
		return true;
	if (!prom_param_duration(r, "max_source_resolution", &ns))
		return false;
	*resolution_ms = ns >= 1000000 ? ns / 1000000 : PROMQL_RESOLUTION_RAW;
	if (ns >= 0)
		return true;
	prom_answer_error(r, 400, "bad_data", "negative 'max_source_resolution' is not accepted. Try a positive integer");
	return false;
}

/*
 * What Thanos knows and Prometheus does not.  Replicas, partial_response: see thanos.c.  max_source_resolution is taken by queries (prom_param_resolution), and checked everywhere.  The rest
 * (storeMatch[], engine, ...) has no value that would be wrong.
 */
bool
prom_param_thanos(PromRequest *r)
{
	int64		resolution_ms;

	return prom_thanos_check(r) && prom_param_resolution(r, &resolution_ms);
}

char *
prom_param_array(PromRequest *r, const char *name, int *n)
{
	StringInfoData out;

	*n = 0;
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int i = 0; i < r->nparams; i++)
	{
		if (strcmp(r->params[i].name, name) != 0)
			continue;
		appendStringInfoString(&out, (*n)++ > 0 ? ",\"" : "\"");
		for (const char *p = r->params[i].value; *p != '\0'; p++)
		{
			if (*p == '"' || *p == '\\')
				appendStringInfoCharMacro(&out, '\\');
			appendStringInfoCharMacro(&out, *p);
		}
		appendStringInfoChar(&out, '"');
	}
	appendStringInfoChar(&out, '}');
	return out.data;
}

bool
prom_param_segment(char *segment)
{
	char	   *out = segment;

	for (const char *in = segment; *in != '\0'; in++)
	{
		char		c = *in;

		if (c == '%')
		{
			char		hex[3] = {0};

			if (!isxdigit((unsigned char) in[1]) || !isxdigit((unsigned char) in[2]))
				return false;
			memcpy(hex, in + 1, 2);
			c = (char) strtol(hex, NULL, 16);
			in += 2;
		}
		if (c == '\0')
			return false;
		*out++ = c;
	}
	*out = '\0';
	return pg_encoding_verifymbstr(PG_UTF8, segment, out - segment) == out - segment;
}

/* In double quotes, with Go's escapes of what would be unreadable; always UTF-8. */
char *
prom_param_quote(const char *s)
{
	StringInfoData out;
	int			len;

	initStringInfo(&out);
	appendStringInfoChar(&out, '"');
	for (; *s != '\0'; s += len)
	{
		unsigned char c = *s;

		len = 1;
		if (c == '"' || c == '\\')
			appendStringInfo(&out, "\\%c", c);
		else if (c == '\n')
			appendStringInfoString(&out, "\\n");
		else if (c >= ' ' && c < 0x7f)
			appendStringInfoChar(&out, c);
		else if ((len = pg_encoding_verifymbchar(PG_UTF8, s, strlen(s))) > 1)
			appendBinaryStringInfo(&out, s, len);
		else
		{
			appendStringInfo(&out, "\\x%02x", c);
			len = 1;
		}
	}
	appendStringInfoChar(&out, '"');
	return out.data;
}

static int64
clamp_ms(double ms)
{
	if (ms <= (double) PROM_MIN_TIMESTAMP_MS)
		return PROM_MIN_TIMESTAMP_MS;
	if (ms >= (double) PROM_MAX_TIMESTAMP_MS)
		return PROM_MAX_TIMESTAMP_MS;
	return (int64) ms;
}

static bool
parse_time(const char *text, int64 *t_ms)
{
	double		seconds;

	if (parse_number(text, &seconds))
	{
		double		whole;
		double		fraction = modf(seconds, &whole);

		if (!isfinite(seconds))
			return false;
		*t_ms = clamp_ms(whole * 1000 + round(fraction * 1000));
		return true;
	}
	if (strcmp(text, PROM_TIME_LEAST) == 0)
		*t_ms = PROM_MIN_TIMESTAMP_MS;
	else if (strcmp(text, PROM_TIME_GREATEST) == 0)
		*t_ms = PROM_MAX_TIMESTAMP_MS;
	else
		return parse_rfc3339(text, t_ms);
	return true;
}

/* A float as Go reads it, who wants the exponent of a hexadecimal one. */
static bool
parse_number(const char *text, double *v)
{
	char	   *end;

	if (text[0] == '\0' || isspace((unsigned char) text[0]) ||
		(strpbrk(text, "xX") != NULL && strpbrk(text, "pP") == NULL))
		return false;
	*v = strtod(text, &end);
	return *end == '\0';
}

/* Exactly n digits at *p. */
static bool
take_number(const char **p, int n, int *v)
{
	*v = 0;
	while (n-- > 0)
	{
		if (**p < '0' || **p > '9')
			return false;
		*v = *v * 10 + (*(*p)++ - '0');
	}
	return true;
}

static bool
take_char(const char **p, const char *any)
{
	if (**p == '\0' || strchr(any, **p) == NULL)
		return false;
	(*p)++;
	return true;
}

/* 2006-01-02T15:04:05.999999999Z or with a zone like +01:00. */
static bool
parse_rfc3339(const char *p, int64 *t_ms)
{
	int			year,
				month,
				day,
				hour,
				minute,
				second;
	int			zone_hour = 0;
	int			zone_minute = 0;
	int			ms = 0;
	int64		days;
	int64		seconds;

	if (!take_number(&p, 4, &year) || !take_char(&p, "-") ||
		!take_number(&p, 2, &month) || !take_char(&p, "-") ||
		!take_number(&p, 2, &day) || !take_char(&p, "T") ||
		!take_number(&p, 2, &hour) || !take_char(&p, ":") ||
		!take_number(&p, 2, &minute) || !take_char(&p, ":") ||
		!take_number(&p, 2, &second))
		return false;
	if (month < 1 || month > 12 || day < 1 || day > day_tab[isleap(year)][month - 1] ||
		hour > 23 || minute > 59 || second > 59)
		return false;
	if (take_char(&p, "."))
	{
		int			scale = 100;

		if (*p < '0' || *p > '9')
			return false;
		for (; *p >= '0' && *p <= '9'; p++, scale /= 10)
			ms += (*p - '0') * scale;
	}
	if (*p == '+' || *p == '-')
	{
		int			sign = *p++ == '-' ? -1 : 1;

		if (!take_number(&p, 2, &zone_hour) || !take_char(&p, ":") ||
			!take_number(&p, 2, &zone_minute) || zone_hour > 23 || zone_minute > 59)
			return false;
		zone_hour *= sign;
		zone_minute *= sign;
	}
	else if (!take_char(&p, "Z"))
		return false;
	if (*p != '\0')
		return false;

	days = date2j(year, month, day) - UNIX_EPOCH_JDATE;
	seconds = ((days * 24 + hour - zone_hour) * 60 + minute - zone_minute) * 60 + second;
	*t_ms = seconds * 1000 + ms;
	return true;
}

static bool
parse_duration(const char *text, int64 *ns, bool *overflow)
{
	double		seconds;

	*overflow = false;
	if (!parse_number(text, &seconds))
		return parse_units(text, ns);
	if (isnan(seconds))
		return false;
	if (fabs(seconds * 1e9) >= 9223372036854775807.0)
	{
		*overflow = true;
		return false;
	}
	*ns = (int64) (seconds * 1e9);
	return true;
}

/* 1h30m: units from great to small, each once at most. */
static bool
parse_units(const char *p, int64 *ns)
{
	static const struct
	{
		const char *name;
		int64		ms;
	}			units[] = {
		{"y", INT64CONST(365) * 86400000}, {"w", 7 * 86400000}, {"d", 86400000}, {"h", 3600000},
		{"m", 60000}, {"s", 1000}, {"ms", 1}
	};
	int			next = 0;		/* the unit that may come next */
	int64		total_ms = 0;

	if (*p == '\0')
		return false;
	while (*p != '\0')
	{
		int64		count = 0;
		const char *name;
		int			len;

		if (*p < '0' || *p > '9')
			return false;
		for (; *p >= '0' && *p <= '9'; p++)
		{
			if (count > PG_INT64_MAX / 10 - 1)
				return false;
			count = count * 10 + (*p - '0');
		}
		name = p;
		len = strspn(p, "ywdhms");
		while (next < lengthof(units) &&
			   (strlen(units[next].name) != len || strncmp(units[next].name, name, len) != 0))
			next++;
		if (next == lengthof(units))
			return false;
		if (count > (PG_INT64_MAX / 1000000 - total_ms) / units[next].ms)
			return false;
		total_ms += count * units[next].ms;
		next++;
		p += len;
	}
	*ns = total_ms * 1000000;
	return true;
}

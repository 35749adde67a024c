/*
 * dates.c
 *	  Fields of a date, step by step: prom._date.
 *
 * Values are seconds since 1970, cut to an integer; dates are Gregorian and UTC at all times.  Days are
 * counted from a 1st of March far enough in the past that all of int64 lies behind it or wraps around
 * to what does: so years begin with their longest months and end with the leap day, and the arithmetic
 * is unsigned.
 */
#include "postgres.h"

#include "common/compat.h"
#include "vals/vals.h"

#define DAYS_PER_ERA	146097	/* 400 years */
#define DAY_SECONDS		86400
/* the first year that is counted, a multiple of 400, and its days to 1970-01-01 */
#define FIRST_YEAR		INT64CONST(-292277022400)
#define FIRST_DAYS		(UINT64CONST(292277022400) / 400 * DAYS_PER_ERA + 719468)

typedef struct Date
{
	int64		year;
	int			month;			/* 1 .. 12 */
	int			day;			/* 1 .. 31 */
	int			day_of_year;	/* 1 .. 366 */
	int			day_of_week;	/* 0 is Sunday */
	int			second;			/* of the day */
	bool		leap;			/* the year is one */
} Date;

typedef struct DateField
{
	const char *name;
	double		(*get) (const Date *d);
} DateField;

static Date split(double seconds);
static int64 to_integer(double seconds);
static bool is_leap(int64 year);
static double days_in_month(const Date *d);
static const DateField *find_field(const text *name);

static double
minute(const Date *d)
{
	return d->second / 60 % 60;
}

static double
hour(const Date *d)
{
	return d->second / 3600;
}

static double
day_of_week(const Date *d)
{
	return d->day_of_week;
}

static double
day_of_month(const Date *d)
{
	return d->day;
}

static double
day_of_year(const Date *d)
{
	return d->day_of_year;
}

static double
month(const Date *d)
{
	return d->month;
}

static double
year(const Date *d)
{
	return d->year;
}

static const DateField fields[] =
{
	{"day_of_month", day_of_month},
	{"day_of_week", day_of_week},
	{"day_of_year", day_of_year},
	{"days_in_month", days_in_month},
	{"hour", hour},
	{"minute", minute},
	{"month", month},
	{"year", year},
};

PG_FUNCTION_INFO_V1(prom_date);

/* prom._date(field, vals) */
Datum
prom_date(PG_FUNCTION_ARGS)
{
	const DateField *field = find_field(PG_GETARG_TEXT_PP(0));
	PromVals   *out = prom_vals_copy(PG_GETARG_PROM_FLOATS_P(1));

	for (int i = 0; i < out->nsteps; i++)
	{
		Date		d;

		if (!prom_vals_has(out, i))
			continue;
		d = split(out->v[i]);
		out->v[i] = field->get(&d);
	}
	if (out->npresent == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(out);
}

static const DateField *
find_field(const text *name)
{
	const char *s = VARDATA_ANY(name);
	size_t		len = VARSIZE_ANY_EXHDR(name);

	for (int i = 0; i < lengthof(fields); i++)
	{
		if (strlen(fields[i].name) == len && memcmp(fields[i].name, s, len) == 0)
			return &fields[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown field of a date: \"%.*s\"", (int) len, s)));
}

static Date
split(double seconds)
{
	uint64		since = (uint64) to_integer(seconds) + FIRST_DAYS * DAY_SECONDS;
	uint64		days = since / DAY_SECONDS;
	int			era_day = days % DAYS_PER_ERA;
	int			era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
	int			day = era_day - (era_year * 365 + era_year / 4 - era_year / 100);
	int			month_from_march = (day * 5 + 2) / 153;
	Date		d;

	d.second = since % DAY_SECONDS;
	d.day_of_week = (days + 3) % 7;
	d.day = day - (month_from_march * 153 + 2) / 5 + 1;
	d.month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
	d.year = FIRST_YEAR + (int64) (days / DAYS_PER_ERA) * 400 + era_year + (d.month <= 2);
	d.leap = is_leap(d.year);
	/* January and February are the last 59 or 60 days from March on, of which 306 come before. */
	d.day_of_year = d.month <= 2 ? day - 306 + 1 : day + 59 + d.leap + 1;
	return d;
}

/* Towards zero; what does not fit, NaN too, is the least one as on Prometheus' usual machine. */
static int64
to_integer(double seconds)
{
	return FLOAT8_FITS_IN_INT64(seconds) ? (int64) seconds : PG_INT64_MIN;
}

static bool
is_leap(int64 year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static double
days_in_month(const Date *d)
{
	if (d->month == 2)
		return d->leap ? 29 : 28;
	return 30 + ((d->month + d->month / 8) & 1);
}

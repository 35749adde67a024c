/*
 * cors.c
 *	  Which pages in a browser may read answers of the API.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "api/gateway.h"
#include "series/series.h"

#define ANY_ORIGIN ".*"

static char *cors_origin = NULL;

const char *
prom_cors_allowed(const char *origin)
{
	char	   *reason;
	PromRegex  *re;

	if (strcmp(cors_origin, ANY_ORIGIN) == 0)
		return "*";
	re = prom_regex_get(cors_origin, strlen(cors_origin), &reason);
	return re != NULL && prom_regex_match(re, origin, strlen(origin)) ? origin : NULL;
}

static bool
check_origin(char **newval, void **extra, GucSource source)
{
	char	   *reason = NULL;

	if (prom_regex_get(*newval, strlen(*newval), &reason) != NULL)
		return true;
	GUC_check_errdetail("%s", reason);
	return false;
}

void
prom_cors_init(void)
{
	DefineCustomStringVariable("promgres.cors_origin",
							   "Sets which origins a browser lets read answers over HTTP.",
							   "A regular expression (RE2) that matches the whole of it, such as https://.*[.]example[.]com; .* is any, empty is none.",
							   &cors_origin,
							   ANY_ORIGIN,
							   PGC_SIGHUP, 0, check_origin, NULL, NULL);
}

/*
 * prefix.c
 *	  What may stand before the paths of the API: a proxy's prefix, and those of other systems.
 *
 * A path is served with and without a prefix, so a proxy may leave promgres.path_prefix or take it off.
 * Systems with tenants have them in the path; here the database is the tenant, and they are passed over.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "api/gateway.h"

char	   *prom_prefix_setting = NULL;

/* One "*" stands for one segment. */
static const char *const aliases[] = {
	"/prometheus",				/* Mimir, VictoriaMetrics */
	"/api/prom",				/* Cortex */
	"/select/*/prometheus",		/* VictoriaMetrics' cluster: reading */
	"/insert/*/prometheus",		/* and writing */
};

/* Length of the prefix, if the path goes on behind it with a slash; 0 otherwise. */
static size_t
match_prefix(const char *prefix, const char *path)
{
	const char *p = path;

	for (; *prefix != '\0'; prefix++)
	{
		if (*prefix == '*')
			p += strcspn(p, "/");
		else if (*prefix != *p++)
			return 0;
	}
	return *p == '/' ? p - path : 0;
}

char *
prom_prefix_skip(char *path)
{
	path += match_prefix(prom_prefix_setting, path);
	for (int i = 0; i < lengthof(aliases); i++)
	{
		size_t		len = match_prefix(aliases[i], path);

		if (len > 0)
			return path + len;
	}
	return path;
}

static bool
check_prefix(char **newval, void **extra, GucSource source)
{
	size_t		len = strlen(*newval);

	if (len == 0 ||
		((*newval)[0] == '/' && (*newval)[len - 1] != '/' && strpbrk(*newval, "?#* ") == NULL))
		return true;
	GUC_check_errdetail("A prefix begins with a slash and does not end with one.");
	return false;
}

void
prom_prefix_init(void)
{
	DefineCustomStringVariable("promgres.path_prefix",
							   "Sets a prefix that paths of HTTP requests may have.",
							   "For a proxy that passes them on as they came, such as /metrics-store. Paths are served without it, too.",
							   &prom_prefix_setting,
							   "",
							   PGC_SIGHUP, 0, check_prefix, NULL, NULL);
}

/*
 * external_labels.c
 *	  promgres.external_labels: what tells this server from others, where it is one of many.
 *
 * Backends read the setting when they need it; here it is defined, and refused if it is no label set.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "api/gateway.h"

static char *external_labels = NULL;

extern Datum prom_labels_in(PG_FUNCTION_ARGS);

/* Empty, or what the type prom.labels takes. */
static bool
check_labels(char **newval, void **extra, GucSource source)
{
	MemoryContext old = CurrentMemoryContext;
	volatile bool ok = true;

	if ((*newval)[0] == '\0')
		return true;
	PG_TRY();
	{
		(void) DirectFunctionCall1(prom_labels_in, CStringGetDatum(*newval));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		FlushErrorState();
		GUC_check_errdetail("%s", error->message);
		FreeErrorData(error);
		ok = false;
	}
	PG_END_TRY();
	return ok;
}

void
prom_external_labels_init(void)
{
	DefineCustomStringVariable("promgres.external_labels",
							   "Sets the labels that tell this server from others, such as {replica=\"a\"}.",
							   "/api/v1/status/config tells them. Stored series do not have them.",
							   &external_labels,
							   "",
							   PGC_SIGHUP, 0, check_labels, NULL, NULL);
}

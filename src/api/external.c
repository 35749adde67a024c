/*
 * external.c
 *	  The labels that tell this server from others: promgres.external_labels.
 *
 * They are not stored; what leaves by /federate or remote read gets them.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "api/external.h"
#include "api/gateway.h"

static char *external_text = NULL;

static bool check_text(char **text, void **extra, GucSource source);

PromLabels *
prom_external_labels(void)
{
	return prom_labels_from_text(external_text[0] == '\0' ? "{}" : external_text);
}

PromLabels *
prom_external_add(const PromLabels *labels, const PromLabels *external)
{
	int			n;
	int			nexternal;
	PromLabel  *mine = prom_labels_unpack(labels, &n);
	PromLabel  *more = prom_labels_unpack(external, &nexternal);
	PromLabel  *all = palloc((n + nexternal + 1) * sizeof(PromLabel));
	PromLabels *sum;
	char	   *reason;
	const char *value;
	int			len;

	memcpy(all, mine, n * sizeof(PromLabel));
	for (int i = 0; i < nexternal; i++)
	{
		if (!prom_labels_get(labels, more[i].name, more[i].name_len, &value, &len))
			all[n++] = more[i];
	}
	sum = prom_labels_build(all, n, &reason);
	if (sum == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a series cannot have the labels of promgres.external_labels: %s", reason)));
	return sum;
}

/* A mistake in a file must not end the process that reads it. */
static bool
check_text(char **text, void **extra, GucSource source)
{
	MemoryContext old = CurrentMemoryContext;
	volatile bool ok = true;

	if (*text == NULL || (*text)[0] == '\0')
		return true;
	PG_TRY();
	{
		(void) prom_labels_from_text(*text);
	}
	PG_CATCH();
	{
		ErrorData  *e;

		MemoryContextSwitchTo(old);
		e = CopyErrorData();
		FlushErrorState();
		GUC_check_errdetail("%s.", e->message);
		GUC_check_errhint("Write it as a selector of one series: {cluster=\"a\", replica=\"1\"}.");
		ok = false;
	}
	PG_END_TRY();
	return ok;
}

void
prom_external_init(void)
{
	DefineCustomStringVariable("promgres.external_labels",
							   "Sets the labels that tell this server from others.",
							   "Written {name=\"value\", ...}. Series that leave by /federate or remote read get those they lack.",
							   &external_text,
							   "",
							   PGC_SIGHUP, 0, check_text, NULL, NULL);
}

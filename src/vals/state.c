/*
 * state.c
 *	  States of aggregates travel as text where a server ships partial results through a type's text form.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "common/compat.h"
#include "vals/state.h"

char *
prom_state_text(Datum sent)
{
	return TextDatumGetCString(DirectFunctionCall2(binary_encode, sent, CStringGetTextDatum("base64")));
}

void
prom_state_bytes(const char *text, StringInfo out)
{
	bytea	   *bytes = DatumGetByteaPP(DirectFunctionCall2(binary_decode, CStringGetTextDatum(text),
															CStringGetTextDatum("base64")));

	initStringInfo(out);
	appendBinaryStringInfo(out, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
}
